"""Vector code that moves elements: squares transposed in registers, lines asked for early."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numba
from llvmlite import ir
from numba.extending import intrinsic

from caffe2py.kernels.emit import Lanes, data_address

_I64 = ir.IntType(64)
_I32 = ir.IntType(32)


def _flipped(lanes: Lanes, rows: Sequence[Any]) -> list[Any]:
    """The columns of a square of rows.

    Squares of half the size change places, then those of a quarter within each, down to single
    elements: log2(n) steps of n shuffles.
    """
    rows = list(rows)
    count = lanes.count
    far = count // 2
    while far:
        low = [k if not k & far else count + k - far for k in range(count)]
        high = [k + far if not k & far else count + k for k in range(count)]
        for i in range(count):
            if not i & far:
                a, b = rows[i], rows[i + far]
                rows[i], rows[i + far] = lanes.shuffle(a, b, low), lanes.shuffle(a, b, high)
        far //= 2
    return rows


def _flip() -> Any:
    @intrinsic
    def flip(typing, x, x_at, x_step, y, y_at, y_step):
        whole = numba.types.int64

        def emit(context: Any, builder: Any, signature: Any, args: Any) -> Any:
            lanes = Lanes(builder, signature.args[0])
            places = []
            for k in (0, 3):
                start = data_address(context, builder, signature.args[k], args[k])
                places.append(
                    (builder.add(start, lanes.step(args[k + 1])), lanes.step(args[k + 2]))
                )
            (x_now, x_row), (y_now, y_row) = places
            rows = []
            for _ in range(lanes.count):
                rows.append(lanes.load(x_now))
                x_now = builder.add(x_now, x_row)
            for row in _flipped(lanes, rows):
                lanes.store(row, y_now)
                y_now = builder.add(y_now, y_row)
            return context.get_dummy_value()

        return numba.types.void(x, whole, whole, y, whole, whole), emit

    return flip


def fetch(builder: Any, place: Any) -> None:
    """Ask for the cache line at an address; any address will do."""
    pointer = ir.IntType(8).as_pointer()
    module, name = builder.module, "llvm.prefetch.p0"
    kind = ir.FunctionType(ir.VoidType(), [pointer, _I32, _I32, _I32])
    function = module.globals.get(name) or ir.Function(module, kind, name=name)
    read, near, data = _I32(0), _I32(3), _I32(1)
    builder.call(function, [builder.inttoptr(place, pointer), read, near, data])


EMITTED: dict[str, Callable[[], Any]] = {"flip": _flip}
