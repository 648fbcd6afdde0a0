"""Vector code that moves matrices about: windows of planes into rows, and blocks on their sides."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numba
from llvmlite import ir
from numba.extending import intrinsic

from caffe2py.kernels import objects
from caffe2py.kernels.emit import Lanes, data_address
from caffe2py.kernels.emit_strip import Strip, counted

_I64 = ir.IntType(64)


def _unfold(step: int, *, back: bool = False) -> Any:
    """Rows of a plane to rows of y; or `back`, which adds."""

    @intrinsic
    def unfold(typing, x, at, row, high, wide, top, down, left, y, to, pitch, rows, columns):
        whole = numba.types.int64

        def emit(context: Any, builder: Any, signature: Any, args: Any) -> Any:
            lanes = Lanes(builder, signature.args[0])
            plane, target = (
                builder.add(
                    data_address(context, builder, signature.args[index], args[index]),
                    lanes.step(args[index + 1]),
                )
                for index in (0, 8)
            )
            x_pitch = lanes.step(args[2])
            high, wide, top, down, left = args[3:8]
            pitch, rows, columns = args[10:]

            with counted(builder, columns, lanes.count, "strip") as across:
                j = across.i
                strip = Strip(lanes, step, builder.add(left, builder.mul(j, _I64(step))), wide)
                strip.prepare(1)
                mask = lanes.mask(builder.sub(columns, j))
                place = builder.add(target, lanes.step(j))

                with counted(builder, rows, 1, "row") as over:
                    line = builder.add(top, builder.mul(over.i, down))
                    there = builder.add(place, lanes.step(builder.mul(over.i, pitch)))
                    if back:
                        ((here, live),) = strip.places(1, plane, line, high, x_pitch)
                        live = builder.and_(live, mask)
                        total = builder.fadd(lanes.load(here, live), lanes.load(there, live))
                        lanes.store(total, here, live)
                    else:
                        lanes.store(strip.taps(1, plane, line, high, x_pitch)[0], there, mask)
            return context.get_dummy_value()

        return numba.types.void(x, *[whole] * 7, y, *[whole] * 4), emit

    return unfold


def _on_its_side(lanes: Lanes, rows: Sequence[Any]) -> list[Any]:
    """The columns of a square of vectors: interleave the two halves, once for every power of 2."""
    half, places = lanes.count // 2, range(lanes.count)
    low = [i // 2 + i % 2 * lanes.count for i in places]
    high = [place + half for place in low]
    for _ in range(lanes.count.bit_length() - 1):
        pairs = zip(rows[:half], rows[half:], strict=True)
        rows = [lanes.shuffle(a, b, order) for a, b in pairs for order in (low, high)]
    return list(rows)


def _turn(by_lines: bool) -> Any:
    @intrinsic
    def turn(typing, x, at, across, y, to, width, blocks):
        whole = numba.types.int64

        def emit(context: Any, builder: Any, signature: Any, args: Any) -> Any:
            count = objects.tile_lines() if by_lines else 0
            lanes = Lanes(builder, signature.args[0], count)
            source, target = (
                builder.add(
                    data_address(context, builder, signature.args[index], args[index]),
                    lanes.step(args[index + 1]),
                )
                for index in (0, 3)
            )
            across, width, blocks = lanes.step(args[2]), lanes.step(args[5]), args[6]

            with counted(builder, blocks, 1, "turn") as loop:
                first = builder.mul(loop.i, _I64(lanes.count))
                place = builder.add(source, lanes.step(first))
                rows = []
                for _ in range(lanes.count):
                    rows.append(lanes.load(place))
                    place = builder.add(place, across)
                place = builder.add(target, builder.mul(first, width))
                for column in _on_its_side(lanes, rows):
                    lanes.store(column, place)
                    place = builder.add(place, width)
            return context.get_dummy_value()

        return numba.types.void(x, whole, whole, y, whole, whole, whole), emit

    return turn


EMITTED: dict[str, Callable[[], Any]] = {
    "unfold1": lambda: _unfold(1),
    "unfold2": lambda: _unfold(2),
    "fold1": lambda: _unfold(1, back=True),
    "turn_lanes": lambda: _turn(False),
    "turn_lines": lambda: _turn(True),
}
