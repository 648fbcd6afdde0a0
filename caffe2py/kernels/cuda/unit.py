"""Vectors divided by their norms, on devices: along an axis, and rows that indices name."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from caffe2py.kernels.cuda.form import form
from caffe2py.kernels.cuda.sums import shares
from caffe2py.kernels.cuda.threads import (
    BLOCK,
    MOST_BLOCKS,
    block_sum_double,
    cuda,
    group_sum_double,
)
from caffe2py.kernels.losses import status_at
from caffe2py.kernels.norms import LEAST_NORM
from caffe2py.tensor.tensor import Array


def _unit_blocks(x: Array, *_: Any) -> int:
    outer, size, inner = x.shape
    across, down = shares(size, inner, BLOCK)
    items = -(-outer // (BLOCK // (across * down))) * -(-inner // across)
    return int(max(1, min(items, 4 * MOST_BLOCKS)))


@form(blocks=_unit_blocks)
def unit(x: Any, first: bool, y: Any) -> None:
    """y[o, :, i] = x[o, :, i] / its norm: the sum of magnitudes (first), or the Euclidean one."""
    outer, size, inner = x.shape
    across, down = shares(size, inner, cuda.blockDim.x)
    group = across * down
    high = cuda.blockDim.x // group
    wide = (inner + across - 1) // across
    me = cuda.threadIdx.x
    column, line, own = me & (across - 1), (me & (group - 1)) // across, me // group
    item = cuda.blockIdx.x
    while item < (outer + high - 1) // high * wide:
        i = item % wide * across + column
        o = item // wide * high + own
        end = size if i < inner and o < outer else 0
        total = 0.0
        k = line
        while k < end:
            value = np.float64(x[o, k, i])
            total += abs(value) if first else value * value
            k += down
        total = group_sum_double(total, group, across)
        of_squares = max(math.sqrt(total), LEAST_NORM)
        of_magnitudes = total if total > 0.0 else 1.0
        norm = of_magnitudes if first else of_squares
        k = line
        while k < end:
            y[o, k, i] = np.float64(x[o, k, i]) / norm
            k += down
        item += cuda.gridDim.x


@form(blocks=_unit_blocks)
def unit_gradient(x: Any, dy: Any, dx: Any) -> None:
    """Of the Euclidean norm."""
    outer, size, inner = x.shape
    across, down = shares(size, inner, cuda.blockDim.x)
    group = across * down
    high = cuda.blockDim.x // group
    wide = (inner + across - 1) // across
    me = cuda.threadIdx.x
    column, line, own = me & (across - 1), (me & (group - 1)) // across, me // group
    item = cuda.blockIdx.x
    while item < (outer + high - 1) // high * wide:
        i = item % wide * across + column
        o = item // wide * high + own
        end = size if i < inner and o < outer else 0
        total = 0.0
        product = 0.0
        k = line
        while k < end:
            value = np.float64(x[o, k, i])
            total += value * value
            product += value * np.float64(dy[o, k, i])
            k += down
        norm = math.sqrt(group_sum_double(total, group, across))
        product = group_sum_double(product, group, across)
        slope = product / (norm * norm * norm) if norm > LEAST_NORM else 0.0
        inverse = 1.0 / max(norm, LEAST_NORM)
        k = line
        while k < end:
            dx[o, k, i] = np.float64(dy[o, k, i]) * inverse - np.float64(x[o, k, i]) * slope
            k += down
        item += cuda.gridDim.x


# ---------------------------------------------------------------- chosen rows


def _first_outside(indices: Any, rows: Any) -> Any:
    """The status for the first index that is no row; every thread looks at all of them."""
    for k in range(indices.size):
        if not 0 <= indices[k] < rows:
            return status_at(k)
    return 0


@form(blocks=lambda *_: 1)
def normalize_rows(x: Any, indices: Any, norm: Any, only_longer: bool) -> Any:
    """One block, row after row: an index may be there several times."""
    status = _first_outside(indices, x.shape[0])
    count = indices.size if status == 0 else 0
    me, threads, columns = cuda.threadIdx.x, cuda.blockDim.x, x.shape[1]
    for k in range(count):
        r = indices[k]
        total = 0.0
        i = me
        while i < columns:
            total += np.float64(x[r, i]) * np.float64(x[r, i])
            i += threads
        length = math.sqrt(block_sum_double(total))
        if length > norm or not only_longer:
            factor = norm / (length + LEAST_NORM)
            i = me
            while i < columns:
                x[r, i] = x[r, i] * factor
                i += threads
    return status


def _column_blocks(x: Array, *_: Any) -> int:
    return int(max(1, min(-(-x.shape[1] // BLOCK), MOST_BLOCKS)))


@form(blocks=_column_blocks)
def shrink_rows(x: Any, indices: Any, amount: Any, first: bool) -> Any:
    """A thread for each column, row after row: an index may be there several times."""
    status = _first_outside(indices, x.shape[0])
    count = indices.size if status == 0 else 0
    zero, by = x.dtype.type(0), amount[0]
    for i in range(cuda.grid(1), x.shape[1], cuda.gridsize(1)):
        for k in range(count):
            r = indices[k]
            value = x[r, i]
            if not first:
                x[r, i] = value * (x.dtype.type(1) - by)
            elif value < -by:
                x[r, i] = value + by
            elif value > by:
                x[r, i] = value - by
            elif value == value:
                x[r, i] = zero
    return status
