"""Branches of a net that do not touch each other, as parts that several threads share out.

A stretch of neighbouring operators falls into branches if no operator of one branch writes what
one of another reads or writes: blobs, views of them, scratch memory. Each branch runs in the order
of the net, so results are what they always are. Operators that are cut into parts themselves stay
alone: their parts are more equal than branches are.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from caffe2py.errors import Error
from caffe2py.executor.bind import BoundOperator
from caffe2py.executor.queued import Owner
from caffe2py.executor.spans import Spans, meet, spans_of
from caffe2py.registry.context import Launch
from caffe2py.registry.operator import service

#: A branch that moves fewer bytes than this is done before another thread has begun.
_LEAST = 1 << 17

#: Operators that are looked at together.
_MOST = 256

_Own = tuple[BoundOperator, Launch]


Row = tuple[Owner, Launch]


@dataclass(frozen=True)
class _Branch:
    """Rows of a table that is a row of another one."""

    rows: Sequence[_Own]
    table: Any

    def failure(self, launch: Launch, status: int) -> Error:
        """The error of the row that stopped."""
        owner, stopped = self.rows[self.table.stopped]
        error: Error = owner.failure(stopped, status)
        return error


def part_branches(rows: Sequence[_Own]) -> list[Row]:
    """The rows, with branches side by side made into one row each."""
    result: list[Row] = []
    steps = list(_steps(rows))
    i = 0
    while i < len(steps):
        branches = _branches(steps[i : i + _MOST])
        if len(branches) < 2 or sorted(sum(s.bytes for s in b) for b in branches)[-2] < _LEAST:
            result += steps[i].rows
            i += 1
            continue
        for number, branch in enumerate(branches):
            own = [row for step in branch for row in step.rows]
            table = service("table")([launch for _, launch in own])
            result.append((_Branch(own, table), table.as_launch(beside=number > 0)))
        i += sum(len(branch) for branch in branches)
    return result


@dataclass(frozen=True)
class _Step:
    """The launches of one operator, and the memory that they read and write."""

    rows: tuple[_Own, ...]
    spans: Spans
    alone: bool

    @property
    def bytes(self) -> int:
        """What passes through the processor."""
        return self.spans.bytes


def _steps(rows: Sequence[_Own]) -> Iterator[_Step]:
    start = 0
    for end in range(1, len(rows) + 1):
        if end < len(rows) and rows[end][0] is rows[start][0]:
            continue
        yield _step(tuple(rows[start:end]))
        start = end


def _step(rows: tuple[_Own, ...]) -> _Step:
    launches = [launch for _, launch in rows]
    alone = any(x.python or x.beside or x.work is not None for x in launches)
    return _Step(rows, spans_of(rows[0][0], launches), alone)


def _branches(steps: Sequence[_Step]) -> list[list[_Step]]:
    """The branches of the longest stretch from the first step on in which none of them join."""
    branches: list[list[_Step]] = []
    for step in steps:
        met = [
            branch for branch in branches if any(meet(step.spans, other.spans) for other in branch)
        ]
        if step.alone or len(met) > 1:
            break
        if met:
            met[0].append(step)
        else:
            branches.append([step])
    return branches
