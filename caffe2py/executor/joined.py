"""The steps of a net as one table, for runs between which nobody can change anything."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

from caffe2py.executor.bind import BoundOperator
from caffe2py.executor.branches import Row
from caffe2py.executor.chains import join_maps
from caffe2py.executor.queued import Owner
from caffe2py.registry.context import Launch
from caffe2py.registry.operator import service
from caffe2py.registry.threads import thread_count
from caffe2py.tensor.place import overlap


class Segment(Protocol):
    """Operators of a net that are a table."""

    @property
    def settled(self) -> bool:
        """Whether the next run would repeat the launches of the last one, all of them compiled."""

    @property
    def operators(self) -> Sequence[BoundOperator]:
        """The operators, in order."""

    @property
    def launches(self) -> Sequence[Launch]:
        """Their launches: the same object as long as they are the same."""

    def rows(self) -> Sequence[Row]:
        """What stands in a table for them, each with its owner."""


Step = Segment | BoundOperator


class JoinedSteps:
    """All steps as one table; none if a dynamic one depends on what the net itself computes.

    A dynamic operator on its own takes some microseconds of Python in every run, to look whether
    its launches are still the right ones; a row of a table takes nanoseconds.
    """

    def __init__(self, steps: Sequence[Step]) -> None:
        self._steps = steps
        self._made_of: list[object] = []
        self._owners: list[Owner] = []
        self._table: Any = None

    def run(self, times: int) -> int:
        """Run so many times after a run of the steps, if that does the same; how often."""
        if not all(step.settled for step in self._steps):
            return 0
        parts: list[object] = [thread_count(), *(step.launches for step in self._steps)]
        pairs = zip(parts, self._made_of, strict=False)
        if len(parts) != len(self._made_of) or not all(a is b for a, b in pairs):
            self._made_of = parts
            self._tabulate()
        if self._table is None:
            return 0
        status = self._table.run(times)
        if status:
            row = self._table.stopped
            raise self._owners[row].failure(self._table.launches[row], status)
        return times

    def _tabulate(self) -> None:
        self._table = None
        operators = [o for step in self._steps for o in step.operators]
        written = [b.array for o in operators for b in o.output_blobs if b.array is not None]
        rows: list[Row] = []
        for step in self._steps:
            if isinstance(step, BoundOperator):
                if any(overlap(x, y) for x in step.read_arrays() for y in written):
                    return
                rows += join_maps([(step, launch) for launch in step.launches])
            else:
                rows += step.rows()
        self._owners = [owner for owner, _ in rows]
        self._table = service("table")([launch for _, launch in rows])
