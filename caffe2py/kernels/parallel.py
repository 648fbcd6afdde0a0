"""Large launches in parts that may run at the same time."""

from __future__ import annotations

import itertools
from collections.abc import Callable

from caffe2py.kernels.workers import MOST_PARTS
from caffe2py.registry.context import Launch
from caffe2py.registry.threads import thread_count

#: Nanoseconds of work that are worth a part: some hundred times what it takes to share them out.
WORTH = 30_000


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
    return together(launches)


def together(launches: list[Launch]) -> list[Launch]:
    """Let launches run at the same time."""
    for launch in launches[1:]:
        launch.beside = True
    return launches
