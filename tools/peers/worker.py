"""The process of one engine: `worker.py ENGINE THREADS CORES`, told on stdin what to do.

One JSON object a line. {"do": "load", "folder": F, "outputs": FILE} reads a workload and runs it
once; {"do": "time", "seconds": S} runs it for about so long; {"do": "drop"} forgets it. The answer
is a line too: {"ok": true, ...}, {"refused": why} or {"error": what}. Python 3.8 or later.
"""

from __future__ import annotations

import json
import os
import sys
import time
from pathlib import Path

#: A sample is at least this long, so that the clock costs little of it.
_SAMPLE_SECONDS = 1e-3
_MOST_SAMPLES = 200


class RefusedError(Exception):
    """The engine cannot express the workload; the text says why."""


def bench(run, seconds):
    """Seconds of one run, in samples of k runs, for about `seconds`."""
    clock = time.perf_counter
    count = 1
    while True:
        start = clock()
        run(count)
        took = clock() - start
        if took >= _SAMPLE_SECONDS or count >= 1 << 16:
            break
        count = max(count * 2, min(count * 16, int(count * _SAMPLE_SECONDS / max(took, 1e-9))))
    samples = []
    end = clock() + seconds
    while len(samples) < 3 or (clock() < end and len(samples) < _MOST_SAMPLES):
        start = clock()
        run(count)
        samples.append((clock() - start) / count)
    return {"samples": samples, "runs": count}


class Worker:
    """Carries out what is asked for."""

    def __init__(self, name, threads):
        module = __import__("engine_" + name)
        self.kind = lambda: module.Engine(threads)
        self.engine = None
        self.version = module.version()

    def load(self, request):
        import numpy as np

        self.engine = None
        engine = self.kind()
        folder = Path(request["folder"])
        net = json.loads((folder / "net.json").read_text())
        with np.load(folder / "arrays.npz") as stored:
            arrays = {name[2:]: stored[name] for name in stored.files}
        engine.load(request["folder"], net, arrays)
        start = time.perf_counter()
        engine.run(1)
        first = time.perf_counter() - start
        found = engine.outputs()
        np.savez(request["outputs"], **{"a/" + n: np.asarray(a) for n, a in found.items()})
        self.engine = engine
        return {"first": first}

    def time(self, request):
        return bench(self.engine.run, request["seconds"])

    def drop(self, request):
        self.engine = None
        return {}


def answer(worker, line):
    """The answer to one line."""
    try:
        request = json.loads(line)
        return {"ok": True, **getattr(worker, request["do"])(request)}
    except RefusedError as error:
        return {"refused": str(error)}
    except Exception as error:
        return {"error": f"{type(error).__name__}: {str(error)[:300]}"}


def main():
    name, threads, cores = sys.argv[1], int(sys.argv[2]), sys.argv[3]
    if cores and hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, {int(core) for core in cores.split(",")})
    # what libraries print must not come between the answers
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    try:
        worker = Worker(name, threads)
        hello = {"ok": True, "version": worker.version}
    except Exception as error:
        hello = {"error": f"{type(error).__name__}: {error}"}
    answers.write(json.dumps(hello) + "\n")
    answers.flush()
    if "error" in hello:
        return
    for line in sys.stdin:
        answers.write(json.dumps(answer(worker, line)) + "\n")
        answers.flush()


if __name__ == "__main__":
    sys.modules["worker"] = sys.modules["__main__"]  # RefusedError must be one class
    main()
