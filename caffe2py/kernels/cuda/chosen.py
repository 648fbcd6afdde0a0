"""What indices choose, for devices: gathered rows, checks, one-hot rows, the largest elements."""

from __future__ import annotations

from typing import Any

from caffe2py.kernels.cuda.teams import (
    PIECE,
    blocks_for_items,
    blocks_for_rows,
    piece,
    pieces_of,
    team,
)
from caffe2py.kernels.cuda.threads import BLOCK, cuda

_LAST_STATUS = 2**31 - 1


def _status(place: Any) -> Any:
    return min(place + 1, _LAST_STATUS)


# ---------------------------------------------------------------- rows


def _gather(
    x: Any, indices: Any, step: int, wrap: bool, y: Any, first_row: int, end_row: int
) -> Any:
    _, size, inner = x.shape
    count = y.shape[1]
    first, stride, lane, lanes = team(inner)
    for k in range(first, pieces_of(end_row - first_row, inner), stride):
        row, begin, end = piece(k, inner)
        o = (first_row + row) // count
        place = first_row + row - o * count
        index = indices[o * step + place]
        if wrap and index < 0:
            index += size
        if not 0 <= index < size:
            return _status(o * step + place)
        for i in range(begin + lane, end, lanes):
            y[o, place, i] = x[o, index, i]
    return 0


def _check(indices: Any, size: int) -> Any:
    for k in range(cuda.grid(1), indices.size, cuda.gridsize(1)):
        if not 0 <= indices[k] < size:
            return _status(k)
    return 0


def _one_hot(indices: Any, y: Any) -> Any:
    width = y.shape[1]
    first, stride, lane, lanes = team(width)
    for k in range(first, pieces_of(indices.size, width), stride):
        row, begin, end = piece(k, width)
        index = indices[row]
        if not 0 <= index < width:
            return _status(row)
        for c in range(begin + lane, end, lanes):
            y[row, c] = 1 if c == index else 0
    return 0


# ---------------------------------------------------------------- the largest elements


def _before(a: Any, i: Any, b: Any, j: Any) -> Any:
    """Whether element a at place i comes before b at j, where a place of -1 is behind all."""
    if i < 0 or j < 0:
        return i >= 0
    if a > b:
        return True
    if a < b:
        return False
    if (a != a) != (b != b):
        return b != b
    return i < j


def _next_of_block(x: Any, o: Any, begin: Any, size: Any, i: Any, last: Any, place: Any) -> Any:
    """(value, place) of the element that comes next after the last one taken; place -1: none.

    All threads of a block look together at x[o, begin : begin + size, i].
    """
    values = cuda.shared.array(BLOCK, x.dtype)
    places = cuda.shared.array(BLOCK, "int64")
    me = cuda.threadIdx.x
    best, at = last, -1
    for k in range(me, size, cuda.blockDim.x):
        value = x[o, begin + k, i]
        later = place < 0 or _before(last, place, value, k)
        if later and _before(value, k, best, at):
            best, at = value, k
    values[me], places[me] = best, at
    cuda.syncthreads()
    half = cuda.blockDim.x // 2
    while half > 0:
        if me < half and _before(values[me + half], places[me + half], values[me], places[me]):
            values[me], places[me] = values[me + half], places[me + half]
        cuda.syncthreads()
        half //= 2
    best, at = values[0], places[0]
    cuda.syncthreads()
    return best, at


def _top(
    x: Any, values: Any, places: Any, y: Any, indices: Any, flat: Any, with_flat: bool
) -> None:
    """A block finds one after the other of the elements that are wanted."""
    outer, size, inner = x.shape
    wanted = y.shape[1]
    for row in range(cuda.blockIdx.x, outer * inner, cuda.gridDim.x):
        o = row // inner
        i = row - o * inner
        last, place = x.dtype.type(0), -1
        for k in range(wanted):
            if k < size:
                last, place = _next_of_block(x, o, 0, size, i, last, place)
            if cuda.threadIdx.x == 0:
                y[o, k, i] = last if k < size else x.dtype.type(0)
                indices[o, k, i] = place if k < size else -1
                if with_flat:
                    at = (o * size + place) * inner + i
                    flat[(o * wanted + k) * inner + i] = at if k < size else -1


def _top_gradient(dy: Any, indices: Any, dx: Any) -> Any:
    """A block for each piece of columns: it clears them, then each thread writes to its own."""
    outer, size, inner = dx.shape
    status = _LAST_STATUS
    slices = (inner + cuda.blockDim.x - 1) // cuda.blockDim.x
    for part in range(cuda.blockIdx.x, outer * slices, cuda.gridDim.x):
        o = part // slices
        left = (part - o * slices) * cuda.blockDim.x
        width = min(inner - left, cuda.blockDim.x)
        for e in range(cuda.threadIdx.x, size * width, cuda.blockDim.x):
            s = e // width
            dx[o, s, left + e - s * width] = 0
        cuda.syncthreads()
        if cuda.threadIdx.x < width:
            i = left + cuda.threadIdx.x
            for k in range(dy.shape[1]):
                index = indices[o, k, i]
                if 0 <= index < size:
                    dx[o, index, i] = dy[o, k, i]
                elif index != -1:
                    status = min(status, _status((o * dy.shape[1] + k) * inner + i))
        cuda.syncthreads()
    return 0 if status == _LAST_STATUS else status


def _sum_before(counts: Any, r: Any) -> Any:
    """The sum of the counts before one, by all threads of a block alike."""
    total = 0
    for k in range(r):
        total += counts[k]
    return total


def _flexible_top(x: Any, counts: Any, values: Any, places: Any, y: Any, indices: Any) -> None:
    for r in range(cuda.blockIdx.x, x.shape[0], cuda.gridDim.x):
        at = _sum_before(counts, r)
        last, place = x.dtype.type(0), -1
        for k in range(counts[r]):
            last, place = _next_of_block(x, r, 0, x.shape[1], 0, last, place)
            if cuda.threadIdx.x == 0:
                y[at + k], indices[at + k] = last, place


def _flexible_top_gradient(dy: Any, counts: Any, indices: Any, dx: Any) -> Any:
    status = _LAST_STATUS
    for r in range(cuda.blockIdx.x, dx.shape[0], cuda.gridDim.x):
        for c in range(cuda.threadIdx.x, dx.shape[1], cuda.blockDim.x):
            dx[r, c] = 0
        cuda.syncthreads()
        if cuda.threadIdx.x == 0:
            at = _sum_before(counts, r)
            for k in range(at, at + counts[r]):
                if 0 <= indices[k] < dx.shape[1]:
                    dx[r, indices[k]] = dy[k]
                else:
                    status = min(status, _status(k))
        cuda.syncthreads()
    return 0 if status == _LAST_STATUS else status


def _blocks(count: int) -> int:
    return max(1, min(PIECE, count))


def _columns(dy: Any, indices: Any, dx: Any) -> int:
    return _blocks(dx.shape[0] * -(-dx.shape[2] // BLOCK))


GATHER = (
    _gather,
    lambda x, indices, step, wrap, y, first, end: blocks_for_rows(end - first, x.shape[2]),
)
CHECK = _check, lambda indices, size: blocks_for_items(indices.size)
ONE_HOT = _one_hot, lambda indices, y: blocks_for_rows(indices.size, y.shape[1])
TOP = _top, lambda x, *_: _blocks(x.shape[0] * x.shape[2])
TOP_GRADIENT = _top_gradient, _columns
FLEXIBLE_TOP = _flexible_top, lambda x, *_: _blocks(x.shape[0])
FLEXIBLE_TOP_GRADIENT = _flexible_top_gradient, lambda dy, counts, indices, dx: _blocks(len(dx))
