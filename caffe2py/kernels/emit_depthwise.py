"""Vector code of a row of a 3 x 3 depthwise convolution: lanes are results side by side."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numba
from llvmlite import ir
from numba.extending import intrinsic

from caffe2py.kernels.emit import Lanes, data_address
from caffe2py.kernels.emit_winograd import apart

_I64 = ir.IntType(64)


def _taps(lanes: Lanes, place: Any, step: int) -> list[Any]:
    """The elements 0, 1 and 2 of every window along a row of X."""
    if step == 1:
        return [lanes.load(lanes.at(place, k)) for k in range(3)]
    here, beyond = (
        apart(lanes, [lanes.load(lanes.at(place, k + part * lanes.count)) for part in range(2)])
        for k in (0, 2)
    )
    return [*here, beyond[0]]


def _nine(step: int) -> Any:
    @intrinsic
    def nine(typing, x, at, wide, w, w_at, y, y_at, count, bias, low):
        whole, one = numba.types.int64, x.dtype

        def emit(context: Any, builder: Any, signature: Any, args: Any) -> Any:
            lanes = Lanes(builder, signature.args[0])

            def address(index: int) -> Any:
                start = data_address(context, builder, signature.args[index], args[index])
                return builder.add(start, lanes.step(args[index + 1]))

            x_now, weights, y_now = address(0), address(3), address(5)
            row, count, low = lanes.step(args[2]), args[7], lanes.splat(args[9])
            start, factors = (
                lanes.splat(args[8]),
                [lanes.splat(lanes.scalar(lanes.at(weights, k))) for k in range(9)],
            )
            before = builder.block
            head, body, after = (builder.append_basic_block(f"nine.{n}") for n in "hba")
            builder.branch(head)
            builder.position_at_end(head)
            j = builder.phi(_I64)
            j.add_incoming(_I64(0), before)
            builder.cbranch(builder.icmp_signed("<", j, count), body, after)
            builder.position_at_end(body)
            place = builder.add(x_now, lanes.step(builder.mul(j, _I64(step))))
            total = start
            for i in range(3):  # a sum of its own for every row: shorter chains
                part = lanes.zero if i else start
                for factor, tap in zip(
                    factors[3 * i : 3 * i + 3], _taps(lanes, place, step), strict=True
                ):
                    part = lanes.multiply_add(factor, tap, part)
                total = builder.fadd(total, part) if i else part
                place = builder.add(place, row)
            mask = lanes.mask(builder.sub(count, j))
            lanes.store(lanes.at_least(total, low), builder.add(y_now, lanes.step(j)), mask)
            j.add_incoming(builder.add(j, _I64(lanes.count)), builder.block)
            builder.branch(head)
            builder.position_at_end(after)
            return context.get_dummy_value()

        return numba.types.void(x, whole, whole, w, whole, y, whole, whole, one, one), emit

    return nine


EMITTED: dict[str, Callable[[], Any]] = {"nine1": lambda: _nine(1), "nine2": lambda: _nine(2)}
