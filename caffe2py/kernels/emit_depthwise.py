"""Vector code of a plane of a depthwise convolution: lanes are results side by side.

A strip of results is as wide as a vector and goes down the plane. What a row of X gives to it, its
taps, stays in registers while a 3 x 3 window passes over the row, so every row is loaded once;
there are too few registers for larger windows. Outside of the plane nothing is read: masked lanes
are 0.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import numba
from llvmlite import ir
from numba.extending import intrinsic

from caffe2py.kernels.emit import Lanes, data_address
from caffe2py.kernels.emit_strip import Strip, counted

_I64 = ir.IntType(64)


def _sum(lanes: Lanes, factors: Sequence[Any], taps: Sequence[Any], start: Any) -> Any:
    """A sum of its own for every row, which makes shorter chains; then these together."""
    total, size = None, math.isqrt(len(taps))
    for i in range(size):
        part = lanes.zero if i else start
        for k in range(size * i, size * (i + 1)):
            part = lanes.multiply_add(factors[k], taps[k], part)
        total = lanes.builder.fadd(total, part) if i else part
    return total


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

            with counted(builder, columns, lanes.count, "strip") as across:
                j = across.i
                strip = Strip(lanes, step, builder.sub(builder.mul(j, _I64(step)), left), wide)
                strip.prepare(size)
                mask = lanes.mask(builder.sub(columns, j))
                place = builder.add(target, lanes.step(j))

                def taps(row: Any, beyond: int) -> list[Any]:
                    here = builder.sub(builder.add(row, _I64(beyond)), top)
                    return strip.taps(size, source, here, high, pitch)

                first = [tap for k in range(kept) for tap in taps(_I64(0), k)]
                with counted(builder, rows, 1, "row", first) as down:
                    row = builder.mul(down.i, _I64(step))
                    fresh = [tap for k in range(kept, size) for tap in taps(row, k)]
                    window = [*down.carried, *fresh]
                    total = lanes.at_least(_sum(lanes, factors, window, start), least)
                    lanes.store(total, builder.add(place, builder.mul(down.i, y_pitch)), mask)
                    down.next = window[step * size :] if kept else []
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
