"""Vector code of Winograd's transforms: lanes are tiles side by side."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numba
from numba.extending import intrinsic

from caffe2py.kernels.emit import Lanes, data_address
from caffe2py.kernels.winograd_matrices import MATRICES


def _combine(lanes: Lanes, factors: Sequence[float], vectors: Sequence[Any]) -> Any:
    """The sum of factor times vector; factors of 0, 1 and -1 cost no product."""
    terms = [(f, v) for f, v in zip(factors, vectors, strict=True) if f]
    terms.sort(key=lambda term: (abs(term[0]) != 1, term[0] < 0))
    total = None
    for factor, vector in terms:
        if total is None:
            total = vector if factor == 1 else lanes.builder.fmul(vector, lanes.repeat(factor))
        elif factor == 1:
            total = lanes.builder.fadd(total, vector)
        elif factor == -1:
            total = lanes.builder.fsub(total, vector)
        else:
            total = lanes.multiply_add(vector, lanes.repeat(factor), total)
    return total


def _both_sides(lanes: Lanes, matrix: Any, square: Sequence[Sequence[Any]]) -> list[list[Any]]:
    """matrix square matrix^T"""
    columns = list(zip(*square, strict=True))
    half = [[_combine(lanes, row, column) for column in columns] for row in matrix]
    return [[_combine(lanes, row, line) for row in matrix] for line in half]


def apart(lanes: Lanes, vectors: Sequence[Any]) -> list[Any]:
    """Every m-th element of m vectors in a row, from each of the first m elements on."""
    if len(vectors) == 1:
        return list(vectors)
    pairs = list(zip(vectors[::2], vectors[1::2], strict=True))
    count = lanes.count
    even = [lanes.shuffle(a, b, [2 * i for i in range(count)]) for a, b in pairs]
    odd = [lanes.shuffle(a, b, [2 * i + 1 for i in range(count)]) for a, b in pairs]
    both = zip(apart(lanes, even), apart(lanes, odd), strict=True)
    return [vector for pair in both for vector in pair]


def together(lanes: Lanes, vectors: Sequence[Any]) -> list[Any]:
    """The inverse of `apart`."""
    if len(vectors) == 1:
        return list(vectors)
    even, odd = together(lanes, vectors[::2]), together(lanes, vectors[1::2])
    half = lanes.count // 2
    low = [x for i in range(half) for x in (i, i + lanes.count)]
    high = [x + half for x in low]
    return [
        lanes.shuffle(a, b, mask) for a, b in zip(even, odd, strict=True) for mask in (low, high)
    ]


def _spread(lanes: Lanes, size: int, x: Any, x_row: Any, v: Any, v_plane: Any) -> None:
    tile = []
    for _ in range(size + 2):
        row: list[Any] = []
        for shift in (0, size):
            places = [lanes.at(x, shift + i * lanes.count) for i in range(size)]
            row += apart(lanes, [lanes.load(place) for place in places])
        tile.append(row[: size + 2])
        x = lanes.builder.add(x, x_row)
    for line in _both_sides(lanes, MATRICES[size].data, tile):
        for vector in line:
            lanes.store(vector, v)
            v = lanes.builder.add(v, v_plane)


def _gather(lanes: Lanes, size: int, p: Any, p_plane: Any, y: Any, y_row: Any) -> None:
    tile = []
    for _ in range(size + 2):
        row = []
        for _ in range(size + 2):
            row.append(lanes.load(p))
            p = lanes.builder.add(p, p_plane)
        tile.append(row)
    for line in _both_sides(lanes, MATRICES[size].result, tile):
        for i, vector in enumerate(together(lanes, line)):
            lanes.store(vector, lanes.at(y, i * lanes.count))
        y = lanes.builder.add(y, y_row)


def transform(write: Callable[..., None], size: int) -> Any:
    """An intrinsic (source, at, step, target, at, step) around one of the two transforms."""

    @intrinsic
    def run(typing, source, source_at, source_step, target, target_at, target_step):
        whole = numba.types.int64

        def emit(context: Any, builder: Any, signature: Any, args: Any) -> Any:
            lanes = Lanes(builder, signature.args[0])
            places = []
            for k in (0, 3):
                start = data_address(context, builder, signature.args[k], args[k])
                places.append(builder.add(start, lanes.step(args[k + 1])))
                places.append(lanes.step(args[k + 2]))
            write(lanes, size, *places)
            return context.get_dummy_value()

        return numba.types.void(source, whole, whole, target, whole, whole), emit

    return run


EMITTED: dict[str, Callable[[], Any]] = {
    "spread2": lambda: transform(_spread, 2),
    "spread4": lambda: transform(_spread, 4),
    "gather2": lambda: transform(_gather, 2),
    "gather4": lambda: transform(_gather, 4),
}
