"""Vector code of a plane of a 3 x 3 depthwise convolution: lanes are results side by side.

A strip of results is as wide as a vector and goes down the plane. What a row of X gives to it, its
three taps, stays in registers while the window passes over the row, so every row is loaded once.
Outside of the plane nothing is read: masked lanes are 0.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numba
from llvmlite import ir
from numba.extending import intrinsic

from caffe2py.kernels.emit import Lanes, data_address
from caffe2py.kernels.emit_winograd import apart

_I1, _I64 = ir.IntType(1), ir.IntType(64)


class _Strip:
    """Where a strip of results finds its taps in a row of X."""

    def __init__(self, lanes: Lanes, step: int, first: Any, wide: Any) -> None:
        """`first`: the column of tap 0 of the first result, which may be outside of the plane."""
        self.lanes, self.builder, self.step, self.first = lanes, lanes.builder, step, first
        starts = (0, 1, 2) if step == 1 else (0, lanes.count, 2, lanes.count + 2)
        self.places = [(start, self._inside(start, wide)) for start in starts]

    def _inside(self, start: int, wide: Any) -> Any:
        """Which lanes from column first + start on are columns of the plane."""
        column = self.builder.add(self.first, _I64(start))
        below = self.lanes.mask(self.builder.sub(wide, column))
        before = self.lanes.mask(self.builder.sub(_I64(0), column))
        return self.builder.and_(below, self.builder.not_(before))

    def taps(self, plane: Any, row: Any, high: Any, pitch: Any) -> list[Any]:
        """The elements 0, 1 and 2 of every window in a row; zeros if there is no such row."""
        exists = self.builder.icmp_unsigned("<", row, high)
        kind = ir.VectorType(_I1, self.lanes.count)
        flag = self.builder.insert_element(ir.Constant(kind, ir.Undefined), exists, _I64(0))
        zeros = ir.Constant(ir.VectorType(ir.IntType(32), self.lanes.count), None)
        flags = self.builder.shuffle_vector(flag, ir.Constant(kind, ir.Undefined), zeros)
        begin = self.builder.add(self.builder.mul(row, pitch), self.lanes.step(self.first))
        place = self.builder.add(plane, begin)
        loaded = [
            self.lanes.load(self.lanes.at(place, start), self.builder.and_(inside, flags))
            for start, inside in self.places
        ]
        if self.step == 1:
            return loaded
        return [*apart(self.lanes, loaded[:2]), apart(self.lanes, loaded[2:])[0]]


def _sum(lanes: Lanes, factors: Sequence[Any], rows: Sequence[Sequence[Any]], start: Any) -> Any:
    """A sum of its own for every row, which makes shorter chains; then these together."""
    total = None
    for i, taps in enumerate(rows):
        part = lanes.zero if i else start
        for factor, tap in zip(factors[3 * i : 3 * i + 3], taps, strict=True):
            part = lanes.multiply_add(factor, tap, part)
        total = lanes.builder.fadd(total, part) if i else part
    return total


def _loop(builder: Any, name: str) -> tuple[Any, Any, Any, Any]:
    """A loop that counts from 0: counter, head, body, block after it; it stands in the head."""
    before = builder.block
    head, body, after = (builder.append_basic_block(f"{name}.{part}") for part in "hba")
    builder.branch(head)
    builder.position_at_end(head)
    counter = builder.phi(_I64)
    counter.add_incoming(_I64(0), before)
    return counter, head, body, after


def _come_in(rows: Sequence[Sequence[Any]], values: Sequence[Sequence[Any]], block: Any) -> None:
    """Let rows of taps have these values when a block is left."""
    for taps, others in zip(rows, values, strict=True):
        for phi, value in zip(taps, others, strict=True):
            phi.add_incoming(value, block)


def _nine(step: int) -> Any:
    @intrinsic
    def nine(typing, x, at, high, wide, top, left, w, w_at, y, y_at, rows, columns, bias, low):
        whole, one = numba.types.int64, x.dtype

        def emit(context: Any, builder: Any, signature: Any, args: Any) -> Any:
            lanes = Lanes(builder, signature.args[0])

            def address(index: int) -> Any:
                start = data_address(context, builder, signature.args[index], args[index])
                return builder.add(start, lanes.step(args[index + 1]))

            plane, weights, target = address(0), address(6), address(8)
            high, wide, top, left = args[2:6]
            rows, columns = args[10:12]
            start, least = lanes.splat(args[12]), lanes.splat(args[13])
            factors = [lanes.splat(lanes.scalar(lanes.at(weights, k))) for k in range(9)]
            pitch, y_pitch = lanes.step(wide), lanes.step(columns)

            j, j_head, j_body, j_after = _loop(builder, "strip")
            builder.cbranch(builder.icmp_signed("<", j, columns), j_body, j_after)
            builder.position_at_end(j_body)
            strip = _Strip(lanes, step, builder.sub(builder.mul(j, _I64(step)), left), wide)
            mask = lanes.mask(builder.sub(columns, j))
            down = builder.add(target, lanes.step(j))

            def taps(row: Any, beyond: int) -> list[Any]:
                here = builder.sub(builder.add(row, _I64(beyond)), top)
                return strip.taps(plane, here, high, pitch)

            first = [taps(_I64(0), k) for k in range(3 - step)]
            before = builder.block
            i, i_head, i_body, i_after = _loop(builder, "row")
            carried = [[builder.phi(lanes.type) for _ in range(3)] for _ in first]
            _come_in(carried, first, before)
            builder.cbranch(builder.icmp_signed("<", i, rows), i_body, i_after)
            builder.position_at_end(i_body)
            fresh = [taps(builder.mul(i, _I64(step)), k) for k in range(3 - step, 3)]
            window = [*carried, *fresh]
            total = lanes.at_least(_sum(lanes, factors, window, start), least)
            lanes.store(total, builder.add(down, builder.mul(i, y_pitch)), mask)
            _come_in(carried, window[step:], builder.block)
            i.add_incoming(builder.add(i, _I64(1)), builder.block)
            builder.branch(i_head)
            builder.position_at_end(i_after)
            j.add_incoming(builder.add(j, _I64(lanes.count)), builder.block)
            builder.branch(j_head)
            builder.position_at_end(j_after)
            return context.get_dummy_value()

        sizes = [whole] * 2
        kinds = [x, whole, *sizes, *sizes, w, whole, y, whole, *sizes, one, one]
        return numba.types.void(*kinds), emit

    return nine


EMITTED: dict[str, Callable[[], Any]] = {"nine1": lambda: _nine(1), "nine2": lambda: _nine(2)}
