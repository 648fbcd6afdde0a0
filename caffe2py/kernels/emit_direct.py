"""Vector code of 3 x 3 windows over few channels: lanes are results side by side.

As in `emit_depthwise`, strips of results go down the plane; but a row of one is summed for several
filters at once, so that each element of X that is loaded meets all of them: for n filters 9 n
multiply-adds for 9 loads of X and 9 n of single weights, without unfolding anything.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numba
from llvmlite import ir
from numba.extending import intrinsic

from caffe2py.kernels.emit import Lanes, data_address
from caffe2py.kernels.emit_strip import Strip, counted

_I64 = ir.IntType(64)
_SIDE = 3


def _direct(filters: int, step: int) -> Any:
    @intrinsic
    def direct(
        typing, x, at, across, channels, high, wide, top, left,
        w, w_at, w_step, bias, bias_at, y, y_at, y_step, rows, columns, low,
    ):  # fmt: skip
        whole = numba.types.int64

        def emit(context: Any, builder: Any, signature: Any, args: Any) -> Any:
            lanes = Lanes(builder, signature.args[0])

            def address(index: int) -> Any:
                start = data_address(context, builder, signature.args[index], args[index])
                return builder.add(start, lanes.step(args[index + 1]))

            source, weights, shifts, target = (address(k) for k in (0, 8, 11, 13))
            across, w_step, y_step = (lanes.step(args[k]) for k in (2, 10, 15))
            channels, high, wide, top, left = args[3:8]
            rows, columns = args[16:18]
            least, pitch, y_pitch = lanes.splat(args[18]), lanes.step(wide), lanes.step(columns)
            starts = [lanes.splat(lanes.scalar(lanes.at(shifts, q))) for q in range(filters)]

            with counted(builder, columns, lanes.count, "strip") as beside:
                j = beside.i
                strip = Strip(lanes, step, builder.sub(builder.mul(j, _I64(step)), left), wide)
                strip.prepare(_SIDE)
                mask = lanes.mask(builder.sub(columns, j))

                with counted(builder, rows, 1, "row") as down:
                    first = builder.sub(builder.mul(down.i, _I64(step)), top)

                    with counted(builder, channels, 1, "channel", starts) as deep:
                        plane = builder.add(source, builder.mul(deep.i, across))
                        own = builder.mul(deep.i, lanes.step(_I64(_SIDE * _SIDE)))
                        own, totals = builder.add(weights, own), list(deep.carried)
                        for k in range(_SIDE):
                            row = builder.add(first, _I64(k))
                            taps = strip.taps(_SIDE, plane, row, high, pitch)
                            for m, tap in enumerate(taps):
                                place = lanes.at(own, _SIDE * k + m)
                                for q in range(filters):
                                    factor = lanes.splat(lanes.scalar(place))
                                    totals[q] = lanes.multiply_add(factor, tap, totals[q])
                                    place = builder.add(place, w_step)
                        deep.next = totals

                    place = builder.add(target, lanes.step(j))
                    place = builder.add(place, builder.mul(down.i, y_pitch))
                    for total in deep.carried:
                        lanes.store(lanes.at_least(total, least), place, mask)
                        place = builder.add(place, y_step)
            return context.get_dummy_value()

        kinds = [x, *[whole] * 7, w, whole, whole, bias, whole, y, *[whole] * 4, x.dtype]
        return numba.types.void(*kinds), emit

    return direct


EMITTED: dict[str, Callable[[], Any]] = {
    "direct4_1": lambda: _direct(4, 1),
    "direct4_2": lambda: _direct(4, 2),
    "direct8_1": lambda: _direct(8, 1),
    "direct8_2": lambda: _direct(8, 2),
}
