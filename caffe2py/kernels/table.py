"""The loop that runs a net: one indirect call for each launch, without Python in between."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from caffe2py.kernels.jit import callable_at, kernel
from caffe2py.kernels.params import call_kernel
from caffe2py.kernels.workers import (
    MOST_PARTS,
    finish,
    publish,
    status_of,
    take_parts,
    workers,
)
from caffe2py.registry.context import Launch
from caffe2py.registry.operator import provide


@kernel()
def run_rows(functions: Any, blocks: Any, times: Any, stopped: Any) -> Any:
    """Run kernels in order, so many times; at a status other than 0, note the row and return."""
    for _ in range(times[0]):
        for i in range(functions.size):
            status = call_kernel(functions[i], blocks[i])
            if status != 0:
                stopped[0] = i
                return status
    return 0


@kernel()
def run_groups(
    functions: Any, blocks: Any, groups: Any, shared: Any, times: Any, stopped: Any
) -> Any:
    """The same with help: groups[i] launches from i on may run at the same time."""
    for _ in range(times[0]):
        i = 0
        while i < functions.size:
            count = groups[i]
            if count == 1:
                status = call_kernel(functions[i], blocks[i])
                if status != 0:
                    stopped[0] = i
                    return status
            else:
                publish(shared, functions, blocks, i, count)
                take_parts(shared)
                failed = finish(shared, count)
                if failed >= 0:
                    stopped[0] = i + failed
                    return status_of(shared, failed)
            i += count
    return 0


class Table:
    """Launches as rows of (kernel address, block address); `run` returns a status.

    About 6 ns a row on top of the kernels themselves; the GIL is released throughout. Launches that
    stand `beside` the one before them are shared out among threads.
    """

    def __init__(self, launches: Sequence[Launch]) -> None:
        self.launches = tuple(launches)
        functions = np.array([launch.address for launch in launches], np.int64)
        blocks = np.array([launch.block.ctypes.data for launch in launches], np.int64)
        self._stopped = np.zeros(1, np.int64)
        self._times = np.ones(1, np.int64)
        self._rows = functions, blocks
        self._launch = run_rows(functions, blocks, self._times, self._stopped)
        self._call = callable_at(self._launch.address)
        self._block = self._launch.block.ctypes.data
        groups = list(_groups(self.launches))
        self._groups = np.array(groups, np.int64) if any(n > 1 for n in groups) else None
        self._shared: Any = None

    def as_launch(self, *, beside: bool) -> Launch:
        """The rows, in order, as one row of another table."""
        return Launch(self._launch.address, self._launch.block, (self,), beside=beside)

    def run(self, times: int = 1) -> int:
        """0, or the status of the launch that failed (its number is then `stopped`)."""
        self._times[0] = times
        if self._groups is None:
            return self._call(self._block)
        pool = workers()
        if not pool.borrow():
            return self._call(self._block)
        try:
            return self._run_shared(pool)
        finally:
            pool.release()

    def _run_shared(self, pool: Any) -> int:
        if self._shared is None or self._shared[0] is not pool:
            launch = run_groups(*self._rows, self._groups, pool.shared, self._times, self._stopped)
            self._shared = pool, launch, callable_at(launch.address)
        _, launch, call = self._shared
        return int(call(launch.block.ctypes.data))

    @property
    def stopped(self) -> int:
        """The row that returned the last status other than 0."""
        return int(self._stopped[0])


def _groups(launches: Sequence[Launch]) -> Iterator[int]:
    """For every row, how many from it on may run at the same time; 1 for those after a first."""
    i = 0
    while i < len(launches):
        end = i + 1
        while end < len(launches) and launches[end].beside and end - i < MOST_PARTS:
            end += 1
        yield end - i
        yield from (1 for _ in range(i + 1, end))
        i = end


provide("table", lambda: Table)
provide("callable_at", lambda: callable_at)
