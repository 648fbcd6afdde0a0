#!/usr/bin/env python3
"""caffe2py on a GPU beside PyTorch on the same GPU, and beside what the GPU can do.

    tools/bench_cuda.py                              all workloads, five rounds
    tools/bench_cuda.py --select chain resnet50      those whose names contain one of these
    tools/bench_cuda.py --tiny                       small sizes: proves the script, not the speed

Both run in one process, in turns, round by round; a time is the median over rounds of the mean of
so many runs as take some tenths of a second, each waited for. `memory` is the bytes that have to be
read and written over the time, and its share of what copying a large array reached in this process;
`rate` the multiply-adds (twice) over the time, and its share of a large product's. PyTorch runs
eagerly, with float32 as float32 (TF32 off), as caffe2py does. A ratio above 1 means that caffe2py
is faster. Results are compared first: "!" marks those that do not agree.

Needs torch with CUDA beside `pip install caffe2py[cuda13]`; without torch there are no ratios.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT), str(ROOT / "tools" / "peers"), str(ROOT / "nets")]

import caffe2py.core as core  # noqa: E402
from caffe2py.cli.common import table  # noqa: E402
from caffe2py.executor.passes.pipeline import optimize  # noqa: E402
from caffe2py.executor.workspace import Workspace  # noqa: E402
from caffe2py.predictor.placing import place  # noqa: E402
from caffe2py.proto.analysis import clone  # noqa: E402
from caffe2py.proto.caffe2_pb2 import NetDef  # noqa: E402
from caffe2py.tensor.device import Device  # noqa: E402
from tools.peers.workloads import Builder, Workload  # noqa: E402

#: Largest error over largest result that counts as the same.
TOLERANCE = 1e-3
SECONDS = 0.2


@dataclass
class Task:
    """A workload, and the least that it has to move (bytes) or compute (multiply-adds, twice)."""

    workload: Workload
    moved: float = 0
    computed: float = 0
    operators: int = 0
    train: bool = False
    times: dict[str, list[float]] = field(default_factory=dict)
    agrees: bool = True


# ---------------------------------------------------------------- what is measured


def tasks(tiny: bool) -> list[Callable[[], Task]]:
    """The workloads of the table, made one by one: together they do not fit."""
    elements = 1 << 10 if tiny else 1 << 26
    pixels = 4 if tiny else 56
    made: list[Callable[[], Task]] = []
    for type_, args in [("Relu", {}), ("Negative", {}), ("Exp", {}), ("Sigmoid", {}), ("Tanh", {})]:
        made.append(lambda t=type_, a=args: _unary(t, elements, **a))
    made += [
        lambda: _binary("Add", elements),
        lambda: _binary("Mul", elements),
        lambda: _chain("chain_20_64M", ("Negative", "Scale", "Abs", "Clip"), 20, elements),
        lambda: _chain("chain_100_relu_10", ("Relu",), 100, 10),
        lambda: _sum("sum_all", (elements,), (0,)),
        lambda: _sum("sum_rows", (elements // 1024 or 1, 1024), (1,)),
        lambda: _sum("sum_columns", (elements // 1024 or 1, 1024), (0,)),
        lambda: _softmax(elements // 1024 or 1, 1024 if not tiny else 8),
    ]
    shapes = [(8, 16, 8)] if tiny else [(64, 2048, 1000), (256, 1024, 1024), (4096, 4096, 4096)]
    made += [lambda s=shape: _fc(*s) for shape in shapes]
    layers = [(64, 64, 3, pixels)]
    if not tiny:
        layers += [(64, 256, 1, 56), (128, 128, 3, 28), (256, 256, 3, 14), (512, 512, 3, 7)]
    batch = 1 if tiny else 64
    made += [lambda c=layer: _conv(batch, *c) for layer in layers]
    made += [lambda b=b: _resnet(b, tiny) for b in ((1,) if tiny else (1, 64))]
    made.append(lambda: _resnet(1 if tiny else 64, tiny, train=True))
    return made


def _unary(type_: str, size: int, **args: Any) -> Task:
    make = Builder(f"{type_.lower()}_{size}", "op")
    make.op(type_, make.array("x", size), "y", **args)
    return Task(make.done("y", "x"), moved=8 * size)


def _binary(type_: str, size: int) -> Task:
    make = Builder(f"{type_.lower()}_{size}", "op")
    make.op(type_, f"{make.array('a', size)} {make.array('b', size)}", "y")
    return Task(make.done("y", "a", "b"), moved=12 * size)


def _chain(name: str, types: Sequence[str], count: int, size: int) -> Task:
    make = Builder(name, "chain")
    args = {"Scale": {"scale": 0.99}, "Clip": {"min": -2.0, "max": 2.0}}
    x = make.array("x0", size)
    for k in range(count):
        type_ = types[k % len(types)]
        x = make.op(type_, x, f"x{k + 1}", **args.get(type_, {}))
    return Task(make.done(x, "x0"), moved=8 * size, operators=count)


def _sum(name: str, shape: tuple[int, ...], axes: tuple[int, ...]) -> Task:
    make = Builder(name, "op")
    make.op("ReduceSum", make.array("x", *shape), "y", axes=list(axes), keepdims=0)
    return Task(make.done("y", "x"), moved=4 * float(np.prod(shape)))


def _softmax(rows: int, columns: int) -> Task:
    make = Builder(f"softmax_{rows}x{columns}", "op")
    make.op("Softmax", make.array("x", rows, columns), "y")
    return Task(make.done("y", "x"), moved=8 * rows * columns)


def _fc(rows: int, deep: int, columns: int) -> Task:
    make = Builder(f"fc_{rows}x{deep}x{columns}", "op")
    make.fc(make.array("x", rows, deep), "y", deep, columns)
    return Task(make.done("y", "x"), computed=2.0 * rows * deep * columns)


def _conv(batch: int, depth: int, count: int, kernel: int, pixels: int) -> Task:
    make = Builder(f"conv{kernel}x{kernel}_{depth}_{count}_{pixels}_b{batch}", "op")
    x = make.array("x", batch, depth, pixels, pixels)
    make.conv(x, "y", depth, count, kernel, pad=kernel // 2)
    work = 2.0 * batch * count * depth * kernel**2 * pixels**2
    return Task(make.done("y", "x"), computed=work)


def _resnet(batch: int, tiny: bool, *, train: bool = False) -> Task:
    import resnet50  # the net of this repository

    side = 8 if tiny else 224
    if tiny:
        resnet50.STAGES = [("res2", 1, 2, 1)]
    init, predict = (net.Proto() for net in resnet50.build())
    workspace = Workspace()
    workspace.run_net_once(init)
    arrays = {n: workspace.fetch_array(n) for n in predict.external_input if workspace.has_blob(n)}
    rng = np.random.default_rng(0)
    arrays["data"] = rng.standard_normal((batch, 3, side, side), dtype=np.float32)
    name = f"resnet50_{'train_' if train else ''}b{batch}"
    net = clone(predict, name)
    work = 2 * 4.1e9 * batch * (side / 224) ** 2 * (3 if train else 1)
    outputs = list(net.external_output)
    workload = Workload(name, "net", net, arrays, ["data"], outputs)
    return Task(workload, computed=work, train=train)


# ---------------------------------------------------------------- engines


class Ours:
    """The net on a device, its chains fused and its storage shared where nobody looks."""

    def __init__(self, task: Task, device: Device) -> None:
        load = task.workload
        net = clone(load.net, load.name)
        net = _training_net(net) if task.train else optimize(net, load.outputs)
        placed, where = place(net, device)
        self.workspace = Workspace()
        for name, array in load.arrays.items():
            self.workspace.feed(name, array, where.get(name, device))
        for name, array in _extra_inputs(load, task.train).items():
            self.workspace.feed(name, array, where.get(name, device))
        keep = None if task.train else load.outputs
        self.name = self.workspace.create_net(placed, overwrite=True, keep=keep)

    def run(self) -> None:
        self.workspace.run_net(self.name)

    def output(self, name: str) -> np.ndarray:
        return self.workspace.fetch_array(name)


def _training_net(predict: NetDef) -> NetDef:
    """Forward with batch statistics, loss, gradients, and a step of plain descent."""
    net = core.Net(predict)
    ops = net.Proto().op
    for op in ops:
        if op.type == "SpatialBN":
            for arg in op.arg:
                if arg.name == "is_test":
                    arg.i = 0
            mean, var = op.input[3:5]
            del op.output[1:]
            op.output.extend([mean, var, f"{mean}_saved", f"{var}_saved"])
    output = predict.external_output[0]
    loss = net.AveragedLoss(net.LabelCrossEntropy([output, "label"], "losses"), "loss")
    grads = net.AddGradientOperators([loss])
    for name in predict.external_input:
        if name in grads and name != "data":
            net.WeightedSum([name, "one", str(grads[name]), "rate"], name)
    return net.Proto()


def _extra_inputs(load: Workload, train: bool) -> dict[str, np.ndarray]:
    if not train:
        return {}
    batch = len(load.arrays["data"])
    return {
        "label": (np.arange(batch) % 10).astype(np.int32),
        "one": np.ones(1, np.float32),
        "rate": np.full(1, -1e-4, np.float32),
    }


class Torch:
    """The same operators as calls of torch on its device; gradients by autograd."""

    def __init__(self, task: Task, device: str) -> None:
        import engine_torch
        import torch

        self.torch, self.task, self.device = torch, task, device
        torch.backends.cuda.matmul.allow_tf32 = False
        torch.backends.cudnn.allow_tf32 = False
        load = task.workload
        self.blobs = {n: torch.from_numpy(a).to(device) for n, a in load.arrays.items()}
        described = load.described()
        if task.train:
            engine_torch._MAKERS["SpatialBN"] = _learning_norm
            label = _extra_inputs(load, True)["label"].astype(np.int64)
            self.label = torch.from_numpy(label).to(device)
            self.weights = [
                n for n in self.blobs if n != "data" and not n.endswith(("_mean", "_var"))
            ]
            for name in self.weights:
                self.blobs[name].requires_grad_()
        step = engine_torch.Engine.step
        self.steps = [step(None, op) for op in described["ops"]]

    def _forward(self) -> dict[str, Any]:
        blobs = dict(self.blobs)
        for function, inputs, output in self.steps:
            blobs[output] = function(*[blobs[name] for name in inputs])
        return blobs

    def run(self) -> None:
        torch = self.torch
        if not self.task.train:
            with torch.inference_mode():
                self.found = self._forward()
        else:
            prob = self._forward()[self.task.workload.outputs[0]]
            loss = -prob.gather(1, self.label[:, None]).log().mean()
            loss.backward()
            with torch.no_grad():
                for name in self.weights:
                    weight = self.blobs[name]
                    if weight.grad is not None:
                        weight.add_(weight.grad, alpha=-1e-4)
                        weight.grad = None
        if self.device != "cpu":
            torch.cuda.synchronize()

    def output(self, name: str) -> np.ndarray:
        return self.found[name].cpu().numpy()


def _learning_norm(op: dict[str, Any]) -> Callable[..., Any]:
    from torch.nn import functional

    epsilon = op["args"].get("epsilon", 1e-5)
    return lambda x, scale, shift, mean, var: functional.batch_norm(
        x, mean, var, scale, shift, True, 0.1, epsilon
    )


# ---------------------------------------------------------------- measuring


def time_of(run: Callable[[], None]) -> float:
    """Seconds of a run: the mean of some tenths of a second, after one that is not counted."""
    run()
    start = time.perf_counter()
    run()
    once = time.perf_counter() - start
    count = max(1, int(SECONDS / (once + 1e-9)))
    start = time.perf_counter()
    for _ in range(count):
        run()
    return (time.perf_counter() - start) / count


def ceilings(tiny: bool, device: Device) -> tuple[float, float]:
    """Bytes a second of a large copy, and multiply-adds (twice) a second of a large product."""
    size = 1 << 10 if tiny else 1 << 26
    make = Builder("ceiling_copy", "op")
    make.op("Copy", make.array("x", size), "y")
    copy = time_of(Ours(Task(make.done("y", "x")), device).run)
    side = 8 if tiny else 8192
    make = Builder("ceiling_product", "op")
    make.op("MatMul", f"{make.array('a', side, side)} {make.array('b', side, side)}", "c")
    product = time_of(Ours(Task(make.done("c", "a", "b")), device).run)
    return 8 * size / copy, 2 * side**3 / product


def measure(task: Task, device: Device, torch_device: str, rounds: int) -> None:
    """Both in turns; the times go into the task."""
    engines: dict[str, Any] = {"caffe2py": Ours(task, device)}
    if torch_device:
        engines["torch"] = Torch(task, torch_device)
    for engine in engines.values():
        engine.run()
    if torch_device and not task.train:
        for name in task.workload.outputs:
            a, b = (engines[e].output(name) for e in ("caffe2py", "torch"))
            worst = np.abs(a.reshape(-1) - b.reshape(-1)).max() / (np.abs(b).max() + 1e-9)
            task.agrees &= bool(worst < TOLERANCE)
    for _ in range(rounds):
        for name, engine in engines.items():
            task.times.setdefault(name, []).append(time_of(engine.run))


def row_of(task: Task, copy: float, product: float) -> list[str]:
    """A line of the table."""
    ours = statistics.median(task.times["caffe2py"])
    theirs = statistics.median(task.times["torch"]) if "torch" in task.times else None
    mark = "" if task.agrees else "!"
    memory, rate = "", ""
    if task.moved:
        memory = f"{task.moved / ours / 1e9:.0f} GB/s {task.moved / ours / copy:.2f}"
    if task.computed:
        rate = f"{task.computed / ours / 1e12:.2f} TF/s {task.computed / ours / product:.2f}"
    each = f"{ours / task.operators * 1e6:.2f} us" if task.operators else ""
    shown = "" if theirs is None else f"{theirs * 1e3:.4g}"
    ratio = "" if theirs is None else f"{theirs / ours:.2f}{mark}"
    return [task.workload.name, f"{ours * 1e3:.4g}", shown, ratio, memory, rate, each]


def _torch_device(tiny: bool) -> str:
    try:
        import torch
    except ImportError:
        return ""
    return "cuda" if torch.cuda.is_available() else "cpu" if tiny else ""


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--select", nargs="*", default=[])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--tiny", action="store_true")
    parser.add_argument("--device", default="cuda:0")
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    device, torch_device = Device.parse(options.device), _torch_device(options.tiny)
    copy, product = ceilings(options.tiny, device)
    print(f"copy {copy / 1e9:.1f} GB/s, product {product / 1e12:.2f} TF/s; torch: {torch_device}")
    rows, found = [], []
    for make in tasks(options.tiny):
        task = make()
        if options.select and not any(part in task.workload.name for part in options.select):
            continue
        measure(task, device, torch_device, options.rounds)
        rows.append(row_of(task, copy, product))
        found.append({"name": task.workload.name, "times": task.times, "agrees": task.agrees})
        print("  ".join(rows[-1]), flush=True)
    head = ["workload", "caffe2py ms", "torch ms", "ratio", "memory", "rate", "an operator"]
    print(table(head, rows))
    if options.json:
        facts = {"copy": copy, "product": product, "tasks": found}
        options.json.write_text(json.dumps(facts, indent=1))
    return 0


if __name__ == "__main__":
    sys.exit(main())
