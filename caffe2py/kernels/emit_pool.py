"""Vector code of the largest elements of square windows: lanes are results side by side.

A strip of results goes down the plane, as in `emit_depthwise`. What is largest along a row stays in
registers while windows pass over the row, so every row is loaded once. Outside of the plane, where
nothing is read, all is -inf.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numba
from llvmlite import ir
from numba.extending import intrinsic

from caffe2py.kernels.emit import Lanes, data_address
from caffe2py.kernels.emit_strip import Strip, counted

_I64 = ir.IntType(64)


def _larger(lanes: Lanes, values: Sequence[Any]) -> Any:
    """The largest of some vectors, NaN where one of them is."""
    builder, most = lanes.builder, values[0]
    for value in values[1:]:
        larger = builder.select(builder.fcmp_ordered(">", most, value), most, value)
        # a comparison and a choice that are one instruction each; the one above is one together
        most = builder.select(builder.fcmp_ordered("==", most, most), larger, most)
    return most


def _top(size: int, step: int) -> Any:
    kept = size - step  # rows that the next window shares

    @intrinsic
    def top(typing, x, at, high, wide, above, left, y, y_at, rows, columns):
        whole = numba.types.int64

        def emit(context: Any, builder: Any, signature: Any, args: Any) -> Any:
            lanes = Lanes(builder, signature.args[0])
            lanes.zero = lanes.repeat(float("-inf"))  # what masked lanes hold

            def address(index: int) -> Any:
                start = data_address(context, builder, signature.args[index], args[index])
                return builder.add(start, lanes.step(args[index + 1]))

            source, target = address(0), address(6)
            high, wide, above, left = args[2:6]
            rows, columns = args[8:10]
            pitch, y_pitch = lanes.step(wide), lanes.step(columns)

            with counted(builder, columns, lanes.count, "strip") as across:
                j = across.i
                strip = Strip(lanes, step, builder.sub(builder.mul(j, _I64(step)), left), wide)
                strip.prepare(size)
                mask = lanes.mask(builder.sub(columns, j))
                place = builder.add(target, lanes.step(j))

                def along(row: Any, beyond: int) -> Any:
                    """The largest elements of a row under each window."""
                    here = builder.sub(builder.add(row, _I64(beyond)), above)
                    return _larger(lanes, strip.taps(size, source, here, high, pitch))

                first = [along(_I64(0), k) for k in range(kept)]
                with counted(builder, rows, 1, "row", first) as down:
                    row = builder.mul(down.i, _I64(step))
                    window = [*down.carried, *(along(row, k) for k in range(kept, size))]
                    here = builder.add(place, builder.mul(down.i, y_pitch))
                    lanes.store(_larger(lanes, window), here, mask)
                    down.next = window[step:]
            return context.get_dummy_value()

        return numba.types.void(x, *[whole] * 5, y, *[whole] * 3), emit

    return top


EMITTED: dict[str, Callable[[], Any]] = {
    "top2_2": lambda: _top(2, 2),
    "top3_1": lambda: _top(3, 1),
    "top3_2": lambda: _top(3, 2),
}
