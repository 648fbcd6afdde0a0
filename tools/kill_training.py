"""Kill a training at random times, resume it each time, and compare what comes out.

    python tools/kill_training.py --kills 200

A small net with dropout and momentum is trained by `caffe2py train` and `caffe2py resume`, each in
a process of its own, with a checkpoint after every step. `kill -9` hits it at a random time, while
it starts, computes or writes. Then it is resumed. Once a run has come to its end, its state must be
that of a run that was never killed, bit for bit, and its folder must hold nothing else.

Exit status 0 if all of that is so.
"""

import argparse
import random
import re
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

from caffe2py import brew, core, model_helper, optimizer
from caffe2py.proto.caffe2_pb2 import NetDef
from caffe2py.proto.files import write_message
from caffe2py.training.checkpoint import read_checkpoint, saved

KEPT = re.compile(r"\.lock|checkpoint-\d{10}\.npz|(init|train)_net\.pb|log\.jsonl|run\.json")


def write_files(folder):
    model = model_helper.ModelHelper("learn")
    h = brew.relu(model, brew.fc(model, "x", "hidden", 6, 16), "hidden")
    h = brew.dropout(model, h, "dropped", ratio=0.25, is_test=0)
    h = brew.fc(model, h, "found", 16, 1)
    loss = model.net.AveragedLoss(model.net.SquaredL2Distance([h, "wanted"], "distance"), "loss")
    model.AddGradientOperators([loss])
    optimizer.build_sgd(model, 0.05, momentum=0.9)
    for name, net in (("init", model.param_init_net), ("train", model.net)):
        proto = NetDef()
        proto.CopyFrom(net.Proto())
        proto.name = name
        write_message(folder / f"{name}.pb", proto)
    x = np.random.default_rng(0).random((64, 6)).astype(np.float32)
    np.savez(folder / "rows.npz", x=x, wanted=x.sum(axis=1, keepdims=True))


def start(*arguments):
    command = [sys.executable, "-m", "caffe2py", *map(str, arguments)]
    return subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)


def training(folder, run, steps):
    return start(
        *("train", folder / "init.pb", folder / "train.pb", "--data", folder / "rows.npz"),
        *("--iterations", steps, "--batch", 8, "--every", 1, "--save", run, "-q"),
    )


def state(run):
    return read_checkpoint(saved(run)[0])


def differences(found, expected):
    if (found.iteration, found.random) != (expected.iteration, expected.random):
        return ["iteration or random numbers"]
    if list(found.values) != list(expected.values):
        return ["which blobs there are"]
    pairs = ((n, found.values[n], expected.values[n]) for n in expected.values)
    return [n for n, a, b in pairs if np.asarray(a).tobytes() != np.asarray(b).tobytes()]


def one_run(folder, run, args, rng, most):
    """Train to the end; kills, and the milliseconds after the start of each process's death."""
    kills, spent = 0, 0.0
    process = training(folder, run, args.steps)
    while True:
        delay = rng.uniform(0, args.longest) if kills < most else None
        try:
            process.wait(delay)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
            kills, spent = kills + 1, spent + delay
        else:
            if process.returncode:
                return kills, f"exit {process.returncode}: {process.stderr.read().strip()}"
            return kills, ""
        begun = (run / "run.json").exists()
        process = start("resume", run, "-q") if begun else training(folder, run, args.steps)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--kills", type=int, default=200)
    parser.add_argument("--steps", type=int, default=8000, help="of one training")
    parser.add_argument("--longest", type=float, default=2.0, help="seconds that a process lives")
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    rng, began = random.Random(args.seed), time.time()
    core.GlobalInit([""])
    failures, kills, runs = [], 0, 0
    with tempfile.TemporaryDirectory(prefix="caffe2py-kill-") as name:
        folder = Path(name)
        write_files(folder)
        process = training(folder, folder / "whole", args.steps)
        if process.wait():
            sys.exit(process.stderr.read())
        expected = state(folder / "whole")
        while kills < args.kills and not failures:
            run = folder / f"run{runs}"
            more, failure = one_run(folder, run, args, rng, args.kills - kills)
            kills, runs = kills + more, runs + 1
            if failure:
                failures.append(f"run {runs}: {failure}")
                continue
            failures += [f"run {runs}: differs: {n}" for n in differences(state(run), expected)]
            litter = [p.name for p in run.iterdir() if not KEPT.fullmatch(p.name)]
            failures += [f"run {runs}: left over: {name}" for name in litter]
            print(f"{kills} kills, {runs} runs to the end, {time.time() - began:.0f} s", flush=True)
    for failure in failures:
        print(failure)
    print(f"{kills} kills, {runs} runs: {'all equal' if not failures else 'FAILED'}")
    sys.exit(bool(failures))


if __name__ == "__main__":
    main()
