"""Vector code that walks down a plane of X in strips; outside of the plane nothing is read."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from llvmlite import ir

from caffe2py.kernels.emit import Lanes
from caffe2py.kernels.emit_winograd import apart

_I1, _I64 = ir.IntType(1), ir.IntType(64)


class Strip:
    """Elements `step` apart, as many as a vector has, from a column of each row of a plane on."""

    def __init__(self, lanes: Lanes, step: int, first: Any, wide: Any) -> None:
        """`first`: the column of tap 0 of the first result, which may be outside of the plane."""
        self.lanes, self.builder, self.step, self.first = lanes, lanes.builder, step, first
        self._wide = wide
        self._masks: dict[int, Any] = {}

    def prepare(self, taps: int) -> None:
        """Compute, at this place of the code, what the first `taps` taps need in every row."""
        for start in self._starts(taps):
            column = self.builder.add(self.first, _I64(start))
            below = self.lanes.mask(self.builder.sub(self._wide, column))
            before = self.lanes.mask(self.builder.sub(_I64(0), column))
            self._masks[start] = self.builder.and_(below, self.builder.not_(before))

    def _starts(self, taps: int) -> list[int]:
        """The columns, from the first on, from which vectors are loaded."""
        if self.step == 1:
            return [*range(taps)]
        return [first + part for first in range(0, taps, 2) for part in (0, self.lanes.count)]

    def places(self, taps: int, plane: Any, row: Any, high: Any, pitch: Any) -> list[Any]:
        """Where the vectors for the first taps lie in a row, each with which lanes are there."""
        exists = self.builder.icmp_unsigned("<", row, high)
        kind = ir.VectorType(_I1, self.lanes.count)
        flag = self.builder.insert_element(ir.Constant(kind, ir.Undefined), exists, _I64(0))
        zeros = ir.Constant(ir.VectorType(ir.IntType(32), self.lanes.count), None)
        flags = self.builder.shuffle_vector(flag, ir.Constant(kind, ir.Undefined), zeros)
        begin = self.builder.add(self.builder.mul(row, pitch), self.lanes.step(self.first))
        place = self.builder.add(plane, begin)
        return [
            (self.lanes.at(place, start), self.builder.and_(self._masks[start], flags))
            for start in self._starts(taps)
        ]

    def taps(self, count: int, plane: Any, row: Any, high: Any, pitch: Any) -> list[Any]:
        """The first elements of every window in a row; zeros if there is no such row."""
        places = self.places(count, plane, row, high, pitch)
        loaded = [self.lanes.load(place, mask) for place, mask in places]
        if self.step == 1:
            return loaded
        pairs = zip(loaded[::2], loaded[1::2], strict=True)
        return [tap for pair in pairs for tap in apart(self.lanes, pair)][:count]


class Loop:
    """A loop that is being written: its counter, and values that are carried from turn to turn."""

    def __init__(self, counter: Any, carried: list[Any]) -> None:
        self.i = counter
        self.carried = carried
        #: What the carried values are in the next turn.
        self.next = carried


@contextmanager
def counted(
    builder: Any, end: Any, step: int, name: str, carried: Sequence[Any] = ()
) -> Iterator[Loop]:
    """Write a loop from 0 below `end`; what is written inside is its body.

    `carried` are values before the first turn; afterwards `loop.carried` are those after the last.
    """
    before = builder.block
    head, body, after = (builder.append_basic_block(f"{name}.{part}") for part in "hba")
    builder.branch(head)
    builder.position_at_end(head)
    loop = Loop(builder.phi(_I64), [builder.phi(value.type) for value in carried])
    for phi, value in zip((loop.i, *loop.carried), (_I64(0), *carried), strict=True):
        phi.add_incoming(value, before)
    builder.cbranch(builder.icmp_signed("<", loop.i, end), body, after)
    builder.position_at_end(body)
    yield loop
    following = builder.add(loop.i, _I64(step))
    for phi, value in zip((loop.i, *loop.carried), (following, *loop.next), strict=True):
        phi.add_incoming(value, builder.block)
    builder.branch(head)
    builder.position_at_end(after)
