"""The first elements of rows or columns on devices: sums, the largest, with gradients."""

from __future__ import annotations

from typing import Any

import numpy as np

from caffe2py.kernels.cuda.form import device_kernel, form
from caffe2py.kernels.cuda.rows import elements
from caffe2py.kernels.cuda.sums import ChannelSums, shares
from caffe2py.kernels.cuda.teams import blocks_for_items
from caffe2py.kernels.cuda.threads import BLOCK, MOST_BLOCKS, cuda
from caffe2py.tensor.tensor import Array


@device_kernel(blocks=lambda lengths, most: blocks_for_items(lengths.size))
def CHECK(lengths: Any, most: Any) -> Any:
    """The status for the first length that is negative or more than `most`."""
    for k in range(cuda.grid(1), lengths.size, cuda.gridsize(1)):
        if lengths[k] < 0 or lengths[k] > most:
            return k + 1
    return 0


def _of_row(n: Any, o: Any, r: Any, i: Any, x: Any, lengths: Any) -> Any:
    return np.float64(x[r, i]) if i < lengths[r] else 0.0, 0.0


def _of_column(n: Any, o: Any, c: Any, i: Any, x: Any, lengths: Any) -> Any:
    return np.float64(x[o, c]) if o < lengths[c] else 0.0, 0.0


def _weighted(n: Any, o: Any, c: Any, i: Any, x: Any, weights: Any) -> Any:
    return np.float64(weights[o] * x[o, c]), 0.0


def _put(k: Any, a: Any, b: Any, y: Any) -> None:
    y[k] = a


#: Sums of the first elements of rows (1, 1, rows, columns) and columns (1, rows, columns, 1), and
#: of all rows with weights.
ROWS = ChannelSums("sum_starts_of_rows", _of_row, _put)
COLUMNS = ChannelSums("sum_starts_of_columns", _of_column, _put)
WEIGHTED = ChannelSums("weighted_rows", _weighted, _put)


def _spread_shape(dy: Any, lengths: Any, dx: Any) -> Any:
    return dx.shape


def _length_of_row(r: Any, dy: Any, lengths: Any, dx: Any) -> Any:
    return r + 1 if lengths[r] < 0 or lengths[r] > dx.shape[1] else 0


def _spread_row(r: Any, c: Any, dy: Any, lengths: Any, dx: Any) -> None:
    dx[r, c] = dy[r] if c < lengths[r] else dx.dtype.type(0)


spread_over_rows = elements("_spread_over_rows", _spread_shape, _spread_row, _length_of_row)


def _columns_shape(dy: Any, lengths: Any, dx: Any) -> Any:
    return dx.shape[1], max(dx.shape[0], 1)


def _length_of_column(c: Any, dy: Any, lengths: Any, dx: Any) -> Any:
    return c + 1 if lengths[c] < 0 or lengths[c] > dx.shape[0] else 0


def _spread_column(c: Any, k: Any, dy: Any, lengths: Any, dx: Any) -> None:
    if k < dx.shape[0]:
        dx[k, c] = dy[c] if k < lengths[c] else dx.dtype.type(0)


spread_over_columns = elements(
    "_spread_over_columns", _columns_shape, _spread_column, _length_of_column
)


def _outer_shape(weights: Any, row: Any, y: Any) -> Any:
    return weights.size, row.size


def _outer_at(r: Any, i: Any, weights: Any, row: Any, y: Any) -> None:
    y[r, i] = weights[r] * row[i]


#: For `_outer`.
outer = elements("_outer", _outer_shape, _outer_at)

# ---------------------------------------------------------------- the largest


def _shape_of(columns: Any, rows: Any, width: Any) -> Any:
    """[outer, reduced, inner] of what a maximum is taken over."""
    return (1, rows, width) if columns else (rows, width, 1)


def _max_blocks(x: Array, lengths: Array, columns: bool, y: Array) -> int:
    outer_, size, inner = _shape_of(columns, *x.shape)
    across, down = shares(size, inner, BLOCK)
    items = -(-outer_ // (BLOCK // (across * down))) * -(-inner // across)
    return int(max(1, min(items, 4 * MOST_BLOCKS)))


@form(blocks=_max_blocks)
def max_starts(x: Any, lengths: Any, columns: bool, y: Any) -> Any:
    """A NaN is passed over, except as the first element; of no elements it is 0."""
    rows, width = x.shape
    outer_, size, inner = _shape_of(columns, rows, width)
    across, down = shares(size, inner, cuda.blockDim.x)
    group = across * down
    high = cuda.blockDim.x // group
    wide = (inner + across - 1) // across
    me = cuda.threadIdx.x
    column, line, own = me & (across - 1), (me & (group - 1)) // across, me // group
    parts = cuda.shared.array(BLOCK, x.dtype)
    status = 0
    item = cuda.blockIdx.x
    while item < (outer_ + high - 1) // high * wide:
        i = item % wide * across + column
        o = item // wide * high + own
        inside = i < inner and o < outer_
        k = i if columns else o
        length = 0
        if inside:
            length = lengths[k] if lengths.size > 0 else size
            if length < 0 or length > size:
                status = k + 1 if status == 0 else status
                length = 0
        best = x.dtype.type(0)
        if length > 0:
            best = x[0, k] if columns else x[k, 0]
        r = line
        while r < length:
            value = x[r, k] if columns else x[k, r]
            best = value if value > best else best
            r += down
        parts[me] = best
        cuda.syncthreads()
        half = group // 2
        while half >= across:
            if me & (group - 1) < half and parts[me + half] > parts[me]:
                parts[me] = parts[me + half]
            cuda.syncthreads()
            half //= 2
        if inside and line == 0:
            y[k] = parts[me]
        cuda.syncthreads()
        item += cuda.gridDim.x
    return status


def _gradient_shape(dy: Any, x: Any, y: Any, lengths: Any, columns: Any, dx: Any) -> Any:
    return dx.shape


def _no_status(r: Any, dy: Any, x: Any, y: Any, lengths: Any, columns: Any, dx: Any) -> Any:
    """The status for the first wrong length, found by whoever looks at the first row."""
    most = x.shape[0] if columns else x.shape[1]
    if r == 0:
        for k in range(lengths.size):
            if lengths[k] < 0 or lengths[k] > most:
                return k + 1
    return 0


def _gradient_at(
    r: Any, c: Any, dy: Any, x: Any, y: Any, lengths: Any, columns: Any, dx: Any
) -> None:
    place, at = (c, r) if columns else (r, c)
    inside = lengths.size == 0 or at < lengths[place]
    dx[r, c] = dy[place] if inside and x[r, c] == y[place] else dx.dtype.type(0)


max_starts_gradient = elements("_max_starts_gradient", _gradient_shape, _gradient_at, _no_status)
