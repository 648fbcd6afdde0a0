#!/usr/bin/env python3
"""caffe2py beside other engines on the same nets: median times, and how many times faster it is.

    tools/bench_nets.py                                  own small workloads, engines found here
    tools/bench_nets.py --peer-python PY --caffe2 PY38   engines of other environments
    tools/bench_nets.py --workloads DIR --select A_resnet50 D_      those of a folder
    tools/bench_nets.py --threads 2 --rounds 5 --seconds 0.5 --json found.jsonl

Every engine is a process of its own, all of them on the same core (with one thread; on the same
cores otherwise), and only one works at a time: round by round, each gets its turn on a workload
before the next round begins, so what disturbs the machine disturbs all. A time is the median over
rounds of the median of a round. Outputs are compared first: an engine that does not agree with
caffe2py is marked with "!" and its ratio is not counted. A ratio above 1 means that caffe2py is
faster. Caffe2 is that of the last wheel, torch==1.8.1 for Python 3.8, whose interpreter --caffe2
names. The format of DIR is described in tools/peers/workloads.py.
"""

import argparse
import json
import math
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))  # this tree, whatever is installed

from caffe2py.cli.common import table  # noqa: E402
from tools.peers.workloads import Workload, chosen, own, read_folder  # noqa: E402

PEERS = ("onnxruntime", "openvino", "torch")
OURS = "caffe2py"
WORKER = ROOT / "tools" / "peers" / "worker.py"
#: Largest error over largest result that counts as the same.
TOLERANCE = 1e-3


class Engine:
    """The process of an engine."""

    def __init__(self, name: str, python: str, threads: int, cores: str, log: Path) -> None:
        self.name = name
        self.log = log.open("a")
        self._python, self._threads, self._cores = python, threads, cores
        self._start()

    def _start(self) -> None:
        variables = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")
        own_path = {"PYTHONPATH": str(ROOT)} if self.name == OURS else {}
        environment = {k: v for k, v in os.environ.items() if k != "PYTHONPATH"}
        environment |= dict.fromkeys(variables, str(self._threads)) | own_path
        self.process = subprocess.Popen(
            [self._python, str(WORKER), self.name, str(self._threads), self._cores],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self.log,
            text=True,
            env=environment,
        )
        self.hello = self._answer()

    def ask(self, do: str, **more: Any) -> dict[str, Any]:
        """What the engine answers; {"error": ...} if it has died."""
        stdin = self.process.stdin
        try:
            if stdin is not None:
                stdin.write(json.dumps({"do": do, **more}) + "\n")
                stdin.flush()
        except OSError:  # it has died: reading will tell
            pass
        return self._answer()

    def load(self, folder: Path, outputs: Path) -> dict[str, Any]:
        """Let it read a workload and run it once, in a new process if the last one has died."""
        if self.process.poll() is not None:
            self._start()
        return self.ask("load", folder=str(folder), outputs=str(outputs))

    def _answer(self) -> dict[str, Any]:
        line = self.process.stdout.readline() if self.process.stdout else ""
        if line:
            answer: dict[str, Any] = json.loads(line)
            return answer
        status = self.process.wait()
        lines = Path(self.log.name).read_text(errors="replace").strip().splitlines()
        return {"error": f"the process ended with status {status}: {lines[-1] if lines else ''}"}

    def end(self) -> None:
        """End the process, which stops when nobody talks to it any more."""
        self.process.communicate()
        self.log.close()


# ---------------------------------------------------------------- one workload


def measure(
    work: Workload, engines: list[Engine], folder: Path, rounds: int, seconds: float
) -> dict[str, Any]:
    """Outputs compared, then rounds of timing: what was found, by engine."""
    work.write(folder)
    found: dict[str, dict[str, Any]] = {}
    ready: list[Engine] = []
    for engine in engines:
        outputs = folder / f"{engine.name}.npz"
        answer = engine.load(folder, outputs)
        found[engine.name] = answer
        if "ok" in answer:
            answer["error_of_output"] = _largest_error(folder / f"{OURS}.npz", outputs)
            ready.append(engine)
    medians: dict[str, list[float]] = {engine.name: [] for engine in ready}
    for k in range(rounds):
        for engine in ready[k % max(len(ready), 1) :] + ready[: k % max(len(ready), 1)]:
            answer = engine.ask("time", seconds=seconds)
            if "samples" in answer:
                medians[engine.name].append(statistics.median(answer["samples"]))
            else:
                found[engine.name] = answer
    for engine in ready:
        if medians[engine.name] and "ok" in found[engine.name]:
            found[engine.name]["seconds"] = statistics.median(medians[engine.name])
            found[engine.name]["rounds"] = medians[engine.name]
        engine.ask("drop")
    return {"workload": work.name, "group": work.group, "engines": found}


def _largest_error(ours: Path, theirs: Path) -> float | None:
    """The largest difference over the largest value, of all outputs; None if we gave none."""
    if not ours.is_file():
        return None
    worst = 0.0
    with np.load(ours) as a, np.load(theirs) as b:
        for name in a.files:
            x, y = (np.asarray(f[name], np.float64) for f in (a, b))
            if x.size != y.size:
                return math.inf
            scale = max(float(np.abs(y).max(initial=0.0)), 1e-30)
            gap = float(np.abs(x.reshape(-1) - y.reshape(-1)).max(initial=0.0))
            worst = max(worst, gap / scale if math.isfinite(gap) else math.inf)
    return worst


# ---------------------------------------------------------------- what is shown


def ratio(record: dict[str, Any], peer: str) -> float | None:
    """How many times longer the peer takes; None where that says nothing."""
    ours, theirs = (record["engines"].get(name, {}) for name in (OURS, peer))
    if "seconds" not in ours or "seconds" not in theirs or not agrees(theirs):
        return None
    return float(theirs["seconds"] / ours["seconds"])


def agrees(answer: dict[str, Any]) -> bool:
    """Whether an engine's outputs are ours."""
    error = answer.get("error_of_output")
    return error is not None and error <= TOLERANCE


def row(record: dict[str, Any], names: list[str]) -> list[str]:
    """One line of the table."""
    cells = [record["workload"]]
    for name in names:
        answer = record["engines"].get(name, {})
        if "seconds" not in answer:
            cells.append("-" if "refused" in answer else "failed")
            continue
        mark = "" if agrees(answer) else "!"
        cells.append(f"{mark}{answer['seconds'] * 1e3:.4g}")
    ratios = [ratio(record, name) for name in names if name != OURS]
    cells += ["" if r is None else f"{r:.2f}" for r in ratios]
    errors = [a["error_of_output"] for a in record["engines"].values() if agrees(a)]
    count = len(errors) - 1
    cells.append(f"{count} agree ({max(errors):.0e})" if count > 0 else "nobody to compare with")
    return cells


def means(records: list[dict[str, Any]], names: list[str]) -> list[list[str]]:
    """Geometric means of the ratios, by group and in all, and beside the best peer of each."""
    peers = [name for name in names if name != OURS]
    groups = list(dict.fromkeys(record["group"] for record in records))
    rows = []
    for group in [*groups, "all"] if len(groups) > 1 else groups:
        of = [r for r in records if group in (r["group"], "all")]
        columns = [[x for r in of if (x := ratio(r, p)) is not None] for p in peers]
        known = [[x for p in peers if (x := ratio(r, p)) is not None] for r in of]
        columns.append([min(found) for found in known if found])
        rows.append([group, *(_mean(column) for column in columns)])
    return rows


def _mean(ratios: list[float]) -> str:
    return f"{statistics.geometric_mean(ratios):.2f} ({len(ratios)})" if ratios else ""


def report(records: list[dict[str, Any]], names: list[str]) -> str:
    """Both tables, and a line for each refusal or failure."""
    peers = [name for name in names if name != OURS]
    header = ["milliseconds", *names, *(f"vs {p}" for p in peers), "outputs"]
    lines = [table(header, [row(r, names) for r in records], right=range(1, len(header) - 1)), ""]
    title = ["ratio > 1: caffe2py is faster", *(f"vs {p}" for p in peers), "vs the best of them"]
    lines += [table(title, means(records, names), right=range(1, len(title))), ""]
    refused: dict[str, list[str]] = {}
    for record in records:
        for name, answer in record["engines"].items():
            if "refused" in answer:
                text = f"{name} cannot express it: {answer['refused']}"
                refused.setdefault(text, []).append(record["workload"])
            elif "error" in answer:
                lines.append(f"{record['workload']}: {name} failed: {answer['error']}")
            elif not agrees(answer):
                error = answer.get("error_of_output")
                lines.append(f"{record['workload']}: {name} does not agree: error {error}")
    lines += [f"{', '.join(which)}: {text}" for text, which in refused.items()]
    return "\n".join(lines).rstrip()


# ---------------------------------------------------------------- the program


def workloads(args: argparse.Namespace) -> Iterator[Workload]:
    """Those asked for."""
    if args.workloads is not None:
        yield from read_folder(args.workloads, args.select)
        return
    for name, make in own().items():
        if chosen(name, args.select):
            yield make()


def start(args: argparse.Namespace, folder: Path) -> list[Engine]:
    """The processes of all engines that are installed; those that are not are named."""
    wanted = {OURS: sys.executable, **dict.fromkeys(PEERS, args.peer_python)}
    if args.caffe2:
        wanted["caffe2"] = args.caffe2
    engines = []
    for name, python in wanted.items():
        if args.peers is not None and name not in (OURS, *args.peers):
            continue
        engine = Engine(name, python, args.threads, args.cores, folder / f"{name}.log")
        if "error" in engine.hello:
            print(f"{name}: {engine.hello['error']}", file=sys.stderr)
            engine.end()
        else:
            print(f"{name} {engine.hello['version']}", file=sys.stderr)
            engines.append(engine)
    return engines


def cores(count: int) -> str:
    """The cores to use: the last ones, which the system's own work likes least."""
    if not hasattr(os, "sched_getaffinity"):
        return ""
    return ",".join(str(core) for core in sorted(os.sched_getaffinity(0))[-count:])


def parsed(arguments: list[str] | None = None) -> argparse.Namespace:
    """The command line."""
    first, _, rest = (__doc__ or "").partition("\n\n")
    form = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(description=first, epilog=rest, formatter_class=form)
    parser.add_argument("--workloads", type=Path, metavar="DIR", help="a folder of workloads")
    parser.add_argument("--select", nargs="*", default=[], metavar="NAME", help='or "A_" for A_*')
    parser.add_argument("--peers", nargs="*", metavar="NAME", help="instead of all installed")
    parser.add_argument("--peer-python", default=sys.executable, metavar="PYTHON")
    parser.add_argument("--caffe2", metavar="PYTHON", help="which has Caffe2")
    parser.add_argument("--threads", type=int, default=1, metavar="N")
    parser.add_argument("--cores", metavar="0,1", help="run on these cores")
    parser.add_argument("--rounds", type=int, default=3, metavar="N")
    parser.add_argument("--seconds", type=float, default=0.3, help="per workload, engine and round")
    parser.add_argument("--json", type=Path, metavar="FILE", help="one object a workload")
    args = parser.parse_args(arguments)
    args.cores = cores(args.threads) if args.cores is None else args.cores
    return args


def main(arguments: list[str] | None = None) -> int:
    """Measure and print; 1 if an engine failed or does not agree."""
    args = parsed(arguments)
    records: list[dict[str, Any]] = []
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        engines = start(args, folder)
        names = [engine.name for engine in engines]
        try:
            for index, work in enumerate(workloads(args)):
                began = time.perf_counter()
                found = measure(work, engines, folder / str(index), args.rounds, args.seconds)
                records.append(found)
                took = time.perf_counter() - began
                print(f"{work.name}: {took:.1f} s", file=sys.stderr)
                for path in (folder / str(index)).iterdir():
                    path.unlink()
        finally:
            for engine in engines:
                engine.end()
    if args.json is not None:
        args.json.write_text("".join(json.dumps(record) + "\n" for record in records))
    print(report(records, names))
    answers = [a for record in records for a in record["engines"].values()]
    return int(any("error" in a or ("ok" in a and not agrees(a)) for a in answers))


if __name__ == "__main__":
    sys.exit(main())
