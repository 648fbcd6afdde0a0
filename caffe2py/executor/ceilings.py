"""What this machine can do at most: multiply-adds, and moving memory.

Both are measured here and now, with operators of our own and whatever threads these use, so that
the figures of a net can be read as shares of them.

* `gflops`: MatMul of float32 matrices of 256 x 256 for each thread. Three of them are 768 KiB, at
  home in a second-level cache, and 2 * 256 operations an element make it a question of arithmetic.
* `gigabytes`: Copy of 128 MiB to another 128 MiB, which no cache holds; bytes read plus bytes
  written. What a cache line costs that is fetched only to be overwritten is not counted.

The best of some short rounds counts: a ceiling is what is possible, not what is usual.
"""

from __future__ import annotations

import time
from dataclasses import dataclass

import numpy as np

from caffe2py.executor.net import CreatedNet
from caffe2py.executor.workspace import Workspace
from caffe2py.proto.caffe2_pb2 import NetDef

_SIDE = 256
_COPIED = 1 << 27
_ROUNDS = 7
_ROUND_SECONDS = 0.01


@dataclass(frozen=True)
class Ceilings:
    """10^9 floating-point operations a second (two a multiply-add), 10^9 bytes a second."""

    gflops: float
    gigabytes: float


def measure_ceilings(threads: int = 1) -> Ceilings:
    """Measure both; takes about a quarter of a second and 256 MiB. Needs the operators."""
    return Ceilings(_arithmetic(max(threads, 1)), _memory())


def _arithmetic(threads: int) -> float:
    rows = _SIDE * threads
    rng = np.random.default_rng(0)
    net = _net("MatMul", a=rng.random((rows, _SIDE), np.float32), b=_square(rng))
    return 2 * rows * _SIDE * _SIDE / _best(net) / 1e9


def _square(rng: np.random.Generator) -> np.ndarray[tuple[int, ...], np.dtype[np.float32]]:
    return rng.random((_SIDE, _SIDE), np.float32)


def _memory() -> float:
    net = _net("Copy", x=np.ones(_COPIED // 4, np.float32))
    return 2 * _COPIED / _best(net) / 1e9


def _net(operator: str, **inputs: np.ndarray[tuple[int, ...], np.dtype[np.float32]]) -> CreatedNet:
    """A net of one operator, in a workspace of its own."""
    net = NetDef(name=f"ceiling of {operator}", external_output=["y"])
    net.op.add(type=operator, input=list(inputs), output=["y"])
    workspace = Workspace()
    for name, array in inputs.items():
        workspace.feed(name, array)
    return workspace.net(workspace.create_net(net))


def _best(net: CreatedNet) -> float:
    """Seconds of one run in the best round."""
    net.run()  # compiles, and touches the memory
    start = time.perf_counter()
    net.run()
    count = max(1, int(_ROUND_SECONDS / max(time.perf_counter() - start, 1e-9)))
    best = float("inf")
    for _ in range(_ROUNDS):
        start = time.perf_counter()
        net.run(count)
        best = min(best, (time.perf_counter() - start) / count)
    return best
