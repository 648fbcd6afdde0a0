"""Vector code of a plane of a depthwise convolution: lanes are results side by side.

A strip of results is as wide as a vector and goes down the plane. What a row of X gives to it, its
taps, stays in registers while a 3 x 3 window passes over the row, so every row is loaded once;
there are too few registers for larger windows. Outside of the plane nothing is read: masked lanes
are 0.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numba
from llvmlite import ir
from numba.extending import intrinsic

from caffe2py.kernels.emit import Lanes, data_address
from caffe2py.kernels.emit_strip import Strip, count_loop

_I64 = ir.IntType(64)


def _sum(lanes: Lanes, factors: Sequence[Any], rows: Sequence[Sequence[Any]], start: Any) -> Any:
    """A sum of its own for every row, which makes shorter chains; then these together."""
    total, size = None, len(rows)
    for i, taps in enumerate(rows):
        part = lanes.zero if i else start
        for factor, tap in zip(factors[size * i : size * (i + 1)], taps, strict=True):
            part = lanes.multiply_add(factor, tap, part)
        total = lanes.builder.fadd(total, part) if i else part
    return total


def _come_in(rows: Sequence[Sequence[Any]], values: Sequence[Sequence[Any]], block: Any) -> None:
    """Let rows of taps have these values when a block is left."""
    for taps, others in zip(rows, values, strict=True):
        for phi, value in zip(taps, others, strict=True):
            phi.add_incoming(value, block)


def _plane(size: int, step: int) -> Any:
    kept = size - step if size == 3 else 0  # rows that the next window shares

    @intrinsic
    def plane(typing, x, at, high, wide, top, left, w, w_at, y, y_at, rows, columns, bias, low):
        whole, one = numba.types.int64, x.dtype

        def emit(context: Any, builder: Any, signature: Any, args: Any) -> Any:
            lanes = Lanes(builder, signature.args[0])

            def address(index: int) -> Any:
                start = data_address(context, builder, signature.args[index], args[index])
                return builder.add(start, lanes.step(args[index + 1]))

            source, weights, target = address(0), address(6), address(8)
            high, wide, top, left = args[2:6]
            rows, columns = args[10:12]
            start, least = lanes.splat(args[12]), lanes.splat(args[13])
            places = [lanes.at(weights, k) for k in range(size * size)]
            factors = [lanes.splat(lanes.scalar(place)) for place in places]
            pitch, y_pitch = lanes.step(wide), lanes.step(columns)

            j, j_head, j_body, j_after = count_loop(builder, "strip")
            builder.cbranch(builder.icmp_signed("<", j, columns), j_body, j_after)
            builder.position_at_end(j_body)
            strip = Strip(lanes, step, builder.sub(builder.mul(j, _I64(step)), left), wide)
            strip.prepare(size)
            mask = lanes.mask(builder.sub(columns, j))
            down = builder.add(target, lanes.step(j))

            def taps(row: Any, beyond: int) -> list[Any]:
                here = builder.sub(builder.add(row, _I64(beyond)), top)
                return strip.taps(size, source, here, high, pitch)

            first = [taps(_I64(0), k) for k in range(kept)]
            before = builder.block
            i, i_head, i_body, i_after = count_loop(builder, "row")
            carried = [[builder.phi(lanes.type) for _ in range(size)] for _ in first]
            _come_in(carried, first, before)
            builder.cbranch(builder.icmp_signed("<", i, rows), i_body, i_after)
            builder.position_at_end(i_body)
            fresh = [taps(builder.mul(i, _I64(step)), k) for k in range(kept, size)]
            window = [*carried, *fresh]
            total = lanes.at_least(_sum(lanes, factors, window, start), least)
            lanes.store(total, builder.add(down, builder.mul(i, y_pitch)), mask)
            _come_in(carried, window[step:] if kept else [], builder.block)
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

    return plane


EMITTED: dict[str, Callable[[], Any]] = {
    "three1": lambda: _plane(3, 1),
    "three2": lambda: _plane(3, 2),
    "five1": lambda: _plane(5, 1),
    "five2": lambda: _plane(5, 2),
}
