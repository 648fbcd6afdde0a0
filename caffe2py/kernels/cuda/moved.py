"""Copies for devices: columns, rows and tiles in another order, repeated rows, boxes, constants."""

from __future__ import annotations

from typing import Any

from caffe2py.kernels.cuda.teams import blocks_for_items, blocks_for_rows, piece, pieces_of, team
from caffe2py.kernels.cuda.threads import cuda

#: Sides of the squares that transpositions go by.
_SIDE = 32

#: Elements from one row of a square to the next in shared memory, so that columns have no bank in
#: common.
_PITCH = 33


def _copy(x: Any, y: Any) -> None:
    for i in range(cuda.grid(1), y.size, cuda.gridsize(1)):
        y[i] = x[i]


def _copy_columns(
    x: Any, x_first: int, x_width: int, y: Any, y_first: int, y_width: int, rows: int, width: int
) -> None:
    first, step, lane, lanes = team(width)
    for k in range(first, pieces_of(rows, width), step):
        row, begin, end = piece(k, width)
        source, target = row * x_width + x_first, row * y_width + y_first
        for i in range(begin + lane, end, lanes):
            y[target + i] = x[source + i]


def _start(row: Any, sizes: Any, steps: Any) -> Any:
    """Where the walk over the axes of these sizes is at its step `row`."""
    start = 0
    for axis in range(sizes.size - 1, -1, -1):
        rest = row // sizes[axis]
        start += (row - rest * sizes[axis]) * steps[axis]
        row = rest
    return start


def _copy_rows(
    x: Any, y: Any, sizes: Any, steps: Any, count: int, step: int, width: int, first: int, end: int
) -> None:
    start, stride, lane, lanes = team(width)
    for k in range(start, pieces_of(end - first, width), stride):
        row, begin, stop = piece(k, width)
        block = (first + row) // count
        source = _start(block, sizes, steps) + (first + row - block * count) * step
        target = (first + row) * width
        for i in range(begin + lane, stop, lanes):
            y[target + i] = x[source + i]


def _copy_tiles(
    x: Any, y: Any, sizes: Any, x_steps: Any, y_steps: Any, square: Any, tile: int
) -> None:
    """Squares go through shared memory, so that both sides are read and written along lines."""
    part = cuda.shared.array((_SIDE, _PITCH), x.dtype)
    tall, y_step, wide, x_step = square[0], square[1], square[2], square[3]
    down, across = (tall + _SIDE - 1) // _SIDE, (wide + _SIDE - 1) // _SIDE
    blocks = x.size // (tall * wide)
    for k in range(cuda.blockIdx.x, blocks * down * across, cuda.gridDim.x):
        block = k // (down * across)
        rest = k - block * down * across
        top = rest // across
        left = (rest - top * across) * _SIDE
        top *= _SIDE
        from_x, from_y = _start(block, sizes, x_steps), _start(block, sizes, y_steps)
        for e in range(cuda.threadIdx.x, _SIDE * _SIDE, cuda.blockDim.x):
            j, i = e // _SIDE, e % _SIDE
            if left + j < wide and top + i < tall:
                part[j, i] = x[from_x + (left + j) * x_step + top + i]
        cuda.syncthreads()
        for e in range(cuda.threadIdx.x, _SIDE * _SIDE, cuda.blockDim.x):
            i, j = e // _SIDE, e % _SIDE
            if left + j < wide and top + i < tall:
                y[from_y + (top + i) * y_step + left + j] = part[j, i]
        cuda.syncthreads()


def _copy_repeated(
    x: Any, y: Any, sizes: Any, steps: Any, width: int, step: int, first: int
) -> None:
    start, stride, lane, lanes = team(width)
    for k in range(start, pieces_of(y.size // width, width), stride):
        row, begin, end = piece(k, width)
        source = _start(first + row, sizes, steps)
        for i in range(begin + lane, end, lanes):
            y[row * width + i] = x[source + i * step]


def _from_box(big: Any, sizes: Any, steps: Any, width: int, small: Any) -> None:
    start, stride, lane, lanes = team(width)
    for k in range(start, pieces_of(small.size // width, width), stride):
        row, begin, end = piece(k, width)
        source = _start(row, sizes, steps)
        for i in range(begin + lane, end, lanes):
            small[row * width + i] = big[source + i]


def _into_box(big: Any, first: int, sizes: Any, steps: Any, width: int, small: Any) -> None:
    start, stride, lane, lanes = team(width)
    for k in range(start, pieces_of(small.size // width, width), stride):
        row, begin, end = piece(k, width)
        target = first + _start(row, sizes, steps)
        for i in range(begin + lane, end, lanes):
            big[target + i] = small[row * width + i]


def _select_rows(condition: Any, x: Any, y: Any, out: Any) -> None:
    width = out.shape[1]
    start, stride, lane, lanes = team(width)
    for k in range(start, pieces_of(out.shape[0], width), stride):
        row, begin, end = piece(k, width)
        chosen = condition[row] != 0
        for i in range(begin + lane, end, lanes):
            out[row, i] = x[row, i] if chosen else y[row, i]


def _tiles(x: Any, y: Any, sizes: Any, x_steps: Any, y_steps: Any, square: Any, tile: int) -> int:
    tall, wide = int(square[0]), int(square[2])
    squares = -(-tall // _SIDE) * -(-wide // _SIDE)
    count: int = x.size // (tall * wide) * squares
    return max(1, min(1 << 16, count))


COPY = _copy, lambda x, y: blocks_for_items(y.size)
COPY_COLUMNS = _copy_columns, lambda *a: blocks_for_rows(a[6], a[7])
COPY_ROWS = _copy_rows, lambda *a: blocks_for_rows(a[8] - a[7], a[6])
COPY_TILES = _copy_tiles, _tiles
COPY_REPEATED = (
    _copy_repeated,
    lambda x, y, sizes, steps, width, *_: blocks_for_rows(y.size // width, width),
)
FROM_BOX = (
    _from_box,
    lambda big, sizes, steps, width, small: blocks_for_rows(small.size // width, width),
)
INTO_BOX = (
    _into_box,
    lambda big, first, sizes, steps, width, small: blocks_for_rows(small.size // width, width),
)
SELECT_ROWS = _select_rows, lambda condition, x, y, out: blocks_for_rows(*out.shape)
