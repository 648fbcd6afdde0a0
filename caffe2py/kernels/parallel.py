"""Large launches in parts that may run at the same time."""

from __future__ import annotations

import itertools
from collections.abc import Callable

import numpy as np

from caffe2py.errors import Error
from caffe2py.kernels.workers import MOST_PARTS
from caffe2py.registry.context import Launch
from caffe2py.registry.threads import thread_count
from caffe2py.tensor.late import late
from caffe2py.tensor.tensor import Array

#: Nanoseconds of work that are worth a part: some times what it takes to share them out.
WORTH = 6_000

#: Nanoseconds that a multiply-add of float32 takes, within a factor of three.
MULTIPLY_ADD = 0.02

#: Nanoseconds that it takes to read or write a byte of a large array, within a factor of three.
_BYTE = 0.02

#: Sums over rows are of so many rows at least, and of so many blocks of them at most.
_BLOCK, _MOST_BLOCKS = 64, 32

#: Parts of flat arrays begin at multiples of so many elements, so that no line has two writers.
CHUNK = 1024


def parts_of(work: float, count: int) -> int:
    """In how many parts to cut `count` things that take `work` nanoseconds together."""
    return max(1, min(thread_count(), MOST_PARTS, count, int(work / WORTH)))


def split(
    count: int, work: float, make: Callable[[int, int], Launch], multiple: int = 1
) -> list[Launch]:
    """Launches for `count` things, `make(first, end)` for a range of them.

    The ranges begin at multiples of `multiple`, and the last takes what is left of one besides.
    Results must not depend on where they begin.
    """
    whole = count // multiple
    parts = parts_of(work, whole)
    bounds = [*(whole * k // parts * multiple for k in range(parts)), count]
    launches = [make(first, end) for first, end in itertools.pairwise(bounds)]
    if on_device(launches[0]):
        return [_spread(make(0, count), count, make)]
    return together(launches)


def on_device(launch: Launch) -> bool:
    """Whether a launch is one of a CUDA device."""
    return launch.work is not None


def is_on_device(array: Array) -> bool:
    """Whether an array is one of a CUDA device."""
    return not isinstance(array, np.ndarray)


def _spread(launch: Launch, count: int, make: Callable[[int, int], Launch]) -> Launch:
    spread_out: Launch = late("kernels.cuda.work", "spread")(launch, count, make)
    return spread_out


def together(launches: list[Launch]) -> list[Launch]:
    """Let launches run at the same time."""
    for launch in launches[1:]:
        launch.beside = True
    return launches


def blocks_of(rows: int) -> int:
    """In how many blocks to take sums over rows, each by itself and then of all.

    It depends on the number of rows alone, so the sums do not depend on who takes them.
    """
    return max(1, min(_MOST_BLOCKS, rows // _BLOCK))


def divisible(
    count: int, work: float, make: Callable[[int, int], Launch], multiple: int = 1
) -> Launch:
    """The launch for all of `count` things, which a plan may replace by what `split` makes."""
    launch = make(0, count)
    if on_device(launch):
        return _spread(launch, count, make)
    if parts_of(work, count // multiple) > 1:
        launch.parts = lambda: split(count, work, make, multiple)
    return launch


def moving(*arrays: Array) -> float:
    """Nanoseconds that it takes to read or write arrays."""
    return _BYTE * sum(array.nbytes for array in arrays)


def by_rows(
    run: Callable[..., Launch],
    *arrays: Array,
    effort: float = 1,
    multiple: int = 1,
    explain: Callable[[int], Error] | None = None,
) -> Launch:
    """The launch run(*arrays), or such of ranges along their first axis, which all have in common.

    It takes `effort` times as long as to read or write the arrays. A status s is what is wrong with
    row s - 1, which `explain` knows.
    """

    def part(first: int, end: int) -> Launch:
        rows = (array[first:end] for array in arrays)
        if explain is None:
            return run(*rows)
        return run(*rows, explain=lambda status: explain(status + first))

    return divisible(len(arrays[0]), effort * moving(*arrays), part, multiple)
