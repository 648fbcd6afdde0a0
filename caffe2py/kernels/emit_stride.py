"""Vector code that takes every second element of a row."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numba
from llvmlite import ir
from numba.extending import intrinsic

from caffe2py.kernels.emit import Lanes, data_address
from caffe2py.kernels.emit_winograd import apart

_I64 = ir.IntType(64)


@intrinsic
def _take_second(typing, x, at, y, to, count):
    def emit(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        lanes = Lanes(builder, signature.args[0])

        def address(index: int) -> Any:
            start = data_address(context, builder, signature.args[index], args[index])
            return builder.add(start, lanes.step(args[index + 1]))

        source, target, count = address(0), address(2), args[4]

        def move(j: Any, left: Any) -> None:
            """A vector of results; all of it if `left` is None."""
            place = builder.add(source, lanes.step(builder.add(j, j)))
            whole = low_mask = high_mask = None
            if left is not None:
                reach = builder.sub(builder.add(left, left), _I64(1))
                whole, low_mask = lanes.mask(left), lanes.mask(reach)
                high_mask = lanes.mask(builder.sub(reach, _I64(lanes.count)))
            low = lanes.load(place, low_mask)
            high = lanes.load(lanes.at(place, lanes.count), high_mask)
            even, _ = apart(lanes, [low, high])
            lanes.store(even, builder.add(target, lanes.step(j)), whole)

        before = builder.block
        head, body, rest, tail, after = (builder.append_basic_block(n) for n in "hbrta")
        builder.branch(head)
        builder.position_at_end(head)
        j = builder.phi(_I64)
        j.add_incoming(_I64(0), before)
        left = builder.sub(count, j)
        # the element after the last one may not be there
        builder.cbranch(builder.icmp_signed(">", left, _I64(lanes.count)), body, rest)
        builder.position_at_end(body)
        move(j, None)
        j.add_incoming(builder.add(j, _I64(lanes.count)), builder.block)
        builder.branch(head)
        builder.position_at_end(rest)
        builder.cbranch(builder.icmp_signed(">", left, _I64(0)), tail, after)
        builder.position_at_end(tail)
        move(j, left)
        builder.branch(after)
        builder.position_at_end(after)
        return context.get_dummy_value()

    whole = numba.types.int64
    return numba.types.void(x, whole, y, whole, whole), emit


EMITTED: dict[str, Callable[[], Any]] = {"take_second": lambda: _take_second}
