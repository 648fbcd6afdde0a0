"""Trains small models on the real Caffe2 and on caffe2py, from the same weights and batches.

    python tools/training_parity.py run lstm --steps 100 > real.json     # Python of the real Caffe2
    python tools/training_parity.py run lstm --steps 100 > ours.json     # Python with caffe2py
    python tools/training_parity.py compare real.json ours.json
    python tools/training_parity.py golden --oracle PYTHON   # tests/golden/training.json, made anew

A case is run on whichever `caffe2.python` can be imported, else on caffe2py; the file is written
for Python 3.8, which the last wheel of Caffe2 (torch==1.8.1) needs. Sizes: "full", and "small",
which is what the tests repeat.
"""

from __future__ import annotations

import argparse
import json
import math
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace

import numpy as np

ROOT = Path(__file__).resolve().parents[1]
GOLDEN = ROOT / "tests" / "golden" / "training.json"
GOLDEN_STEPS = 20

#: The largest relative difference of two losses that counts as the same.
TOLERANCE = 1e-4


def modules():
    """The modules that models are built with."""
    try:
        from caffe2.python import brew, core, model_helper, optimizer, rnn_cell, workspace
    except ImportError:
        sys.path.insert(0, str(ROOT))
        from caffe2py import brew, core, model_helper, optimizer, rnn_cell, workspace
    return SimpleNamespace(
        brew=brew,
        core=core,
        model_helper=model_helper,
        optimizer=optimizer,
        rnn_cell=rnn_cell,
        workspace=workspace,
    )


# ---------------------------------------------------------------- models


def images(rng, batch, channels, size, classes=10):
    """Noise with a bright stripe whose place is the class, and the classes."""
    labels = rng.randint(0, classes, batch).astype(np.int32)
    pixels = rng.standard_normal((batch, channels, size, size)).astype(np.float32)
    for number, label in enumerate(labels):
        pixels[number, :, 2 * label % size] += 2
    return {"data": pixels, "label": labels}


class Lstm:
    """Tells at each step which column has the largest sum over three steps."""

    full = {"rate": 0.5, "steps": 24, "batch": 16, "width": 8, "units": 32, "classes": 8}
    small = {"rate": 0.5, "steps": 5, "batch": 4, "width": 3, "units": 6, "classes": 3}

    @staticmethod
    def batch(rng, size):
        inputs = rng.standard_normal((size["steps"], size["batch"], size["width"]))
        before = sum(np.roll(inputs, k, 0) for k in range(3))
        labels = np.argmax(before[..., : size["classes"]], -1).astype(np.int32)
        lengths = rng.randint(1, size["steps"] + 1, size["batch"]).astype(np.int32)
        return {"data": inputs.astype(np.float32), "label": labels.reshape(-1), "lengths": lengths}

    @staticmethod
    def build(c2, model, size):
        units = size["units"]
        states = [
            model.param_init_net.ConstantFill([], name, shape=[1, size["batch"], units])
            for name in ("h0", "c0")
        ]
        outputs = c2.rnn_cell.LSTM(
            model, "data", "lengths", states, size["width"], units, "lstm", outputs_with_grads=(0,)
        )
        scores = c2.brew.fc(model, outputs[0], "scores", units, size["classes"], axis=2)
        return model.net.Reshape(
            scores, ["rows", "scores_shape"], shape=[size["steps"] * size["batch"], -1]
        )[0]


class LeNet:
    """Two convolutions with pools, two fully connected layers."""

    full = {"rate": 0.0002, "batch": 32, "image": 28, "channels": (20, 50), "units": 500}
    small = {"rate": 0.001, "batch": 4, "image": 16, "channels": (3, 4), "units": 10}

    @staticmethod
    def batch(rng, size):
        return images(rng, size["batch"], 1, size["image"])

    @staticmethod
    def build(c2, model, size):
        brew, (first, second) = c2.brew, size["channels"]
        side = ((size["image"] - 4) // 2 - 4) // 2
        y = brew.conv(model, "data", "conv1", 1, first, 5)
        y = brew.max_pool(model, y, "pool1", kernel=2, stride=2)
        y = brew.conv(model, y, "conv2", first, second, 5)
        y = brew.max_pool(model, y, "pool2", kernel=2, stride=2)
        y = brew.fc(model, y, "fc3", second * side * side, size["units"])
        y = brew.relu(model, y, y)
        return brew.fc(model, y, "pred", size["units"], 10)


class ResNet20:
    """Residual blocks with batch normalization, for images of 32 x 32."""

    full = {"rate": 0.00005, "batch": 32, "image": 32, "blocks": 3, "channels": 16}
    small = {"rate": 0.002, "batch": 4, "image": 8, "blocks": 1, "channels": 3}

    @staticmethod
    def batch(rng, size):
        return images(rng, size["batch"], 3, size["image"])

    @classmethod
    def build(cls, c2, model, size):
        width = size["channels"]
        y = cls.normalized(c2, model, "data", "first", 3, width, relu=True)
        wide = width
        for stage in range(3):
            for block in range(size["blocks"]):
                stride = 2 if stage and not block else 1
                narrow, wide = wide, width * 2**stage
                y = cls.block(c2, model, y, f"s{stage}_b{block}", narrow, wide, stride)
        y = c2.brew.average_pool(model, y, "pooled", global_pooling=True)
        return c2.brew.fc(model, y, "pred", wide, 10)

    @classmethod
    def block(cls, c2, model, x, name, narrow, wide, stride):
        y = cls.normalized(c2, model, x, name + "_1", narrow, wide, stride, relu=True)
        y = cls.normalized(c2, model, y, name + "_2", wide, wide)
        if narrow != wide:
            x = cls.normalized(c2, model, x, name + "_x", narrow, wide, stride, kernel=1)
        y = c2.brew.sum(model, [y, x], name + "_sum")
        return c2.brew.relu(model, y, y)

    @staticmethod
    def normalized(c2, model, x, name, narrow, wide, stride=1, kernel=3, relu=False):
        pad = kernel // 2
        y = c2.brew.conv(model, x, name, narrow, wide, kernel, stride=stride, pad=pad, no_bias=True)
        y = c2.brew.spatial_bn(model, y, name + "_bn", wide, is_test=False)
        return c2.brew.relu(model, y, y) if relu else y


CASES = {"lstm": Lstm, "lenet": LeNet, "resnet20": ResNet20}


# ---------------------------------------------------------------- training


def weights(rng, shape):
    """Random values in the scale that keeps a layer's outputs like its inputs."""
    scale = math.sqrt(1.0 / max(1, int(np.prod(shape[1:]))))
    return (scale * rng.standard_normal(shape)).astype(np.float32)


def start(c2, model, rng, nudge):
    """Initialize, and give parameters of several axes the same random values everywhere.

    `nudge` changes each by that much, relatively, to see how far training amplifies rounding.
    """
    c2.workspace.RunNetOnce(model.param_init_net)
    for name in sorted(str(param) for param in model.params):
        value = c2.workspace.FetchBlob(name)
        if value.ndim > 1:
            sign = np.where(np.arange(value.size).reshape(value.shape) % 2, nudge, -nudge)
            c2.workspace.FeedBlob(name, weights(rng, value.shape) * (1 + sign).astype(np.float32))


def losses(name, steps, size="full", nudge=0.0):
    """The loss of each step of training a case; seconds for all of them."""
    c2 = modules()
    case = CASES[name]
    chosen = getattr(case, size)
    rng = np.random.RandomState(7)
    c2.workspace.ResetWorkspace()
    model = c2.model_helper.ModelHelper(name, arg_scope={"order": "NCHW"})
    scores = case.build(c2, model, chosen)
    loss = model.net.SoftmaxWithLoss([scores, "label"], ["softmax", "loss"])[1]
    model.AddGradientOperators([loss])
    c2.optimizer.build_sgd(model, base_learning_rate=chosen["rate"], policy="fixed", momentum=0.9)
    start(c2, model, rng, nudge)
    found, began = [], None
    for step in range(steps):
        for blob, value in case.batch(rng, chosen).items():
            c2.workspace.FeedBlob(blob, value)
        if step == 0:
            c2.workspace.CreateNet(model.net)
        c2.workspace.RunNet(model.net)
        began = began or time.perf_counter()  # the first run may compile
        found.append(float(c2.workspace.FetchBlob("loss")))
    return found, time.perf_counter() - began


def largest_difference(a, b):
    """The largest relative difference, and the step where it is."""
    if len(a) != len(b):
        raise SystemExit(f"{len(a)} losses cannot be compared with {len(b)}")
    relative = [abs(x - b[k]) / max(abs(x), abs(b[k]), 1e-12) for k, x in enumerate(a)]
    return max((error, step) for step, error in enumerate(relative))


# ---------------------------------------------------------------- commands


def run(options):
    found, seconds = losses(options.case, options.steps, options.size, options.nudge)
    answer = {"case": options.case, "size": options.size, "losses": found, "seconds": seconds}
    print(json.dumps(answer))


def compare(options):
    first, second = (json.loads(Path(path).read_text("utf-8")) for path in options.files)
    error, step = largest_difference(first["losses"], second["losses"])
    a, b = first["losses"], second["losses"]
    print(f"{first['case']}: {len(a)} steps, loss {a[0]:.6f} to {a[-1]:.6f}")
    print(f"largest relative difference {error:.2g} at step {step}: {a[step]}, {b[step]}")
    print(f"seconds: {first['seconds']:.2f}, {second['seconds']:.2f}")
    if not error <= options.tolerance:
        raise SystemExit(f"more than the tolerance {options.tolerance}")


def golden(options):
    answers = {}
    for name in CASES:
        command = [options.oracle, __file__, "run", name, "--size", "small"]
        command += ["--steps", str(GOLDEN_STEPS)]
        done = subprocess.run(command, check=True, stdout=subprocess.PIPE)
        answers[name] = json.loads(done.stdout.decode().splitlines()[-1])["losses"]
    GOLDEN.write_text(json.dumps(answers, indent=1) + "\n", "utf-8")


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    commands = parser.add_subparsers(dest="command", required=True)
    one = commands.add_parser("run", help="train one case, print its losses as JSON")
    one.add_argument("case", choices=list(CASES))
    one.add_argument("--steps", type=int, default=100)
    one.add_argument("--size", choices=["full", "small"], default="full")
    one.add_argument("--nudge", type=float, default=0.0, help="change the weights by this much")
    one.set_defaults(do=run)
    two = commands.add_parser("compare", help="compare the losses of two runs")
    two.add_argument("files", nargs=2)
    two.add_argument("--tolerance", type=float, default=TOLERANCE)
    two.set_defaults(do=compare)
    three = commands.add_parser("golden", help="what tests/nets/test_training.py expects")
    three.add_argument("--oracle", required=True, metavar="PYTHON")
    three.set_defaults(do=golden)
    options = parser.parse_args()
    options.do(options)


if __name__ == "__main__":
    main()
