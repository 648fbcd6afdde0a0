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
from caffe2py.kernels.emit_strip import Strip, count_loop
from caffe2py.kernels.emit_winograd import apart

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

            j, j_head, j_body, j_after = count_loop(builder, "strip")
            builder.cbranch(builder.icmp_signed("<", j, columns), j_body, j_after)
            builder.position_at_end(j_body)
            strip = Strip(lanes, step, builder.sub(builder.mul(j, _I64(step)), left), wide)
            strip.prepare(size)
            mask = lanes.mask(builder.sub(columns, j))
            down = builder.add(target, lanes.step(j))

            def along(row: Any, beyond: int) -> Any:
                """The largest elements of a row under each window."""
                here = builder.sub(builder.add(row, _I64(beyond)), above)
                places = strip.places(size, source, here, high, pitch)
                found = [lanes.load(place, live) for place, live in places]
                if step == 2:
                    pairs = zip(found[::2], found[1::2], strict=True)
                    found = [tap for pair in pairs for tap in apart(lanes, pair)][:size]
                return _larger(lanes, found)

            first = [along(_I64(0), k) for k in range(kept)]
            before = builder.block
            i, i_head, i_body, i_after = count_loop(builder, "row")
            carried = [builder.phi(lanes.type) for _ in first]
            for phi, value in zip(carried, first, strict=True):
                phi.add_incoming(value, before)
            builder.cbranch(builder.icmp_signed("<", i, rows), i_body, i_after)
            builder.position_at_end(i_body)
            fresh = [along(builder.mul(i, _I64(step)), k) for k in range(kept, size)]
            window = [*carried, *fresh]
            lanes.store(_larger(lanes, window), builder.add(down, builder.mul(i, y_pitch)), mask)
            for phi, value in zip(carried, window[step:], strict=True):
                phi.add_incoming(value, builder.block)
            i.add_incoming(builder.add(i, _I64(1)), builder.block)
            builder.branch(i_head)
            builder.position_at_end(i_after)
            j.add_incoming(builder.add(j, _I64(lanes.count)), builder.block)
            builder.branch(j_head)
            builder.position_at_end(j_after)
            return context.get_dummy_value()

        return numba.types.void(x, *[whole] * 5, y, *[whole] * 3), emit

    return top


EMITTED: dict[str, Callable[[], Any]] = {
    "top2_2": lambda: _top(2, 2),
    "top3_1": lambda: _top(3, 1),
    "top3_2": lambda: _top(3, 2),
}
