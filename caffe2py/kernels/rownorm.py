"""Rows normalised by their own mean and deviation: one factor a column, or one a row."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from caffe2py.kernels.channels import Pair
from caffe2py.kernels.device import launch_by_channel
from caffe2py.kernels.jit import kernel
from caffe2py.kernels.parallel import blocks_of, by_rows, divisible, is_on_device, moving
from caffe2py.registry.context import Call, Launch
from caffe2py.tensor.tensor import Array


def _row_mean(row: Any) -> Any:
    """The mean as float64, from differences to the first element: a large mean costs no digits."""
    if row.size == 0:
        return 0.0
    first = np.float64(row[0])
    total = 0.0
    for i in range(row.size):
        total += np.float64(row[i]) - first
    return first + total / row.size


def _row_variance(row: Any, mean: Any) -> Any:
    if row.size == 0:
        return 0.0
    total = 0.0
    for i in range(row.size):
        d = np.float64(row[i]) - mean
        total += d * d
    return total / row.size


@kernel("reassoc", "contract")
def _normalize_columns(
    x: Any, epsilon: Any, scale: Any, bias: Any, mean: Any, deviation: Any, y: Any
) -> None:
    number = x.dtype.type
    for r in range(x.shape[0]):
        row = x[r]
        m = _row_mean(row)
        d = math.sqrt(_row_variance(row, m) + epsilon)
        mean[r] = m
        deviation[r] = d
        middle, inverse = number(m), number(1 / d)
        if scale.size:
            for i in range(row.size):
                y[r, i] = (row[i] - middle) * inverse * scale[i] + bias[i]
        else:
            for i in range(row.size):
                y[r, i] = (row[i] - middle) * inverse


_normalize_columns.form_from("rownorm", "normalize_columns")


def launch_normalize_columns(
    x: Array, epsilon: float, affine: Pair | None, moments: Pair, y: Array
) -> Launch:
    """y = (x - mean) / deviation * scale + bias for x (rows, columns), one scale a column.

    `moments` takes each row's mean and sqrt(variance + epsilon); affine of None means 1 and 0.
    """
    scales = affine or _nothing(x)
    return by_rows(
        lambda a, mean, deviation, b: _normalize_columns(a, epsilon, *scales, mean, deviation, b),
        *(x, *moments, y),
        effort=2,
    )


def _nothing(x: Array) -> Pair:
    return np.empty(0, x.dtype), np.empty(0, x.dtype)


@kernel("reassoc")
def _normalize_rows(
    x: Any, epsilon: Any, scale: Any, bias: Any, mean: Any, inverse: Any, y: Any, first: int
) -> None:
    """Of rows from number `first` on."""
    number = x.dtype.type
    for r in range(x.shape[0]):
        row = x[r]
        m = _row_mean(row)
        i = 1 / math.sqrt(_row_variance(row, m) + epsilon)
        mean[r] = m
        inverse[r] = i
        channel = (first + r) % scale.size
        middle, factor, term = number(m), number(i) * scale[channel], bias[channel]
        for k in range(row.size):
            y[r, k] = (row[k] - middle) * factor + term


_normalize_rows.form_from("rownorm", "normalize_rows")


def launch_normalize_rows(
    x: Array, epsilon: float, affine: Pair, moments: Pair, y: Array
) -> Launch:
    """The same with one scale and bias a row, those of row r modulo their number.

    `moments` takes each row's mean and 1 / sqrt(variance + epsilon). y may be x.
    """
    mean, inverse = moments

    def part(first: int, end: int) -> Launch:
        own = (mean[first:end], inverse[first:end], y[first:end])
        return _normalize_rows(x[first:end], epsilon, *affine, *own, first)

    return divisible(len(x), 2 * moving(x, y), part)


# ---------------------------------------------------------------- gradients


@kernel("reassoc", "contract")
def _columns_gradient(
    dy: Any, mean: Any, deviation: Any, x: Any, scale: Any, dx: Any, sums: Any, first: int, end: int
) -> None:
    """Dx; sums[b] takes the sums of dy * (x - mean) / deviation and dy over block b of the rows.

    These are for each column, and of the blocks `first` to `end` alone.
    """
    for b in range(first, end):
        from_, to = x.shape[0] * b // sums.shape[0], x.shape[0] * (b + 1) // sums.shape[0]
        _block_gradient(dy, mean, deviation, x, scale, dx, sums[b], from_, to)


def _block_gradient(
    dy: Any, mean: Any, deviation: Any, x: Any, scale: Any, dx: Any, sums: Any, first: Any, end: Any
) -> None:
    number = x.dtype.type
    one = number(1)
    for k in range(sums.shape[0]):
        for i in range(sums.shape[1]):
            sums[k, i] = 0
    for r in range(first, end):
        m, inverse = mean[r], one / deviation[r]
        total = 0.0
        slope = 0.0
        for i in range(x.shape[1]):
            g = dy[r, i] * scale[i] if scale.size else dy[r, i]
            total += g
            slope += np.float64(g) * (x[r, i] - m)
        total = total / x.shape[1]
        slope = slope / x.shape[1] * inverse * inverse
        a, b = number(total), number(slope)
        for i in range(x.shape[1]):
            g = dy[r, i] * scale[i] if scale.size else dy[r, i]
            dx[r, i] = (g - a - (x[r, i] - m) * b) * inverse
        for i in range(sums.shape[1]):
            sums[0, i] += dy[r, i] * (x[r, i] - m) * inverse
            sums[1, i] += dy[r, i]


@kernel()
def _add_blocks(sums: Any, first: Any, second: Any) -> None:
    """The sums of blocks, added up in their order."""
    for b in range(1, sums.shape[0]):
        for k in range(2):
            for i in range(first.size):
                sums[0, k, i] += sums[b, k, i]
    for i in range(first.size):
        first[i] = sums[0, 0, i]
        second[i] = sums[0, 1, i]


def launch_add_blocks(sums: Array, out: Pair) -> Launch:
    """Both of `out` = the sums over b of sums[b, 0] and sums[b, 1], rounded; sums[0] changes."""
    return _add_blocks(sums, *out)


def launch_columns_gradient(
    call: Call, dy: Array, moments: Pair, x: Array, scale: Array | None, dx: Array, out: Pair | None
) -> list[Launch]:
    """dx of `launch_normalize_columns` and, into `out`, dscale and dbias where there is a scale."""
    blocks = 1 if is_on_device(x) else blocks_of(len(x))
    sums = call.scratch((blocks, 2, x.shape[1] if out else 0), np.float64)
    factors = np.empty(0, x.dtype) if scale is None else scale
    arrays = (dy, *moments, x, factors, dx, sums)
    gradient = divisible(
        blocks, 3 * moving(x, dy, dx), lambda first, end: _columns_gradient(*arrays, first, end)
    )
    if out is None:
        return [gradient]
    if is_on_device(x):
        rows, columns = x.shape
        shape = (1, rows, columns, 1)
        return [gradient, *launch_by_channel("rownorm.COLUMNS", shape, (dy, x, *moments), out)]
    return [gradient, launch_add_blocks(sums, out)]


_columns_gradient.form_from("rownorm", "columns_gradient")


@kernel("reassoc")
def _rows_gradient(
    x: Any, scale: Any, dy: Any, mean: Any, inverse: Any, dx: Any, sums: Any, first: int, end: int
) -> None:
    """Dx; rows of `sums` take, for each channel, the sums of dy * (x - mean) * inverse and dy.

    Of the channels `first` to `end`.
    """
    number = x.dtype.type
    for k in range(2):
        for c in range(first, end):
            sums[0, k, c] = 0
    for start in range(0, x.shape[0], scale.size):
        for channel in range(first, end):
            r = start + channel
            m, i = mean[r], inverse[r]
            total = 0.0
            slope = 0.0
            for k in range(x.shape[1]):
                g = np.float64(dy[r, k])
                total += g
                slope += g * (x[r, k] - m)
            slope = slope * i
            sums[0, 0, channel] += slope
            sums[0, 1, channel] += total
            factor = scale[channel] * i
            a, b = number(total / x.shape[1]), number(slope * i / x.shape[1])
            for k in range(x.shape[1]):
                dx[r, k] = (dy[r, k] - a - (x[r, k] - m) * b) * factor


@kernel("reassoc")
def _rows_moments(x: Any, epsilon: Any, mean: Any, inverse: Any) -> None:
    for r in range(x.shape[0]):
        m = _row_mean(x[r])
        mean[r] = m
        inverse[r] = 1 / math.sqrt(_row_variance(x[r], m) + epsilon)


_rows_gradient.form_from("rownorm", "rows_gradient")
_rows_moments.form_from("rownorm", "rows_moments")


def launch_rows_moments(x: Array, epsilon: float, moments: Pair) -> Launch:
    """The mean and 1 / sqrt(variance + epsilon) of each row."""
    return by_rows(
        lambda a, mean, inverse: _rows_moments(a, epsilon, mean, inverse), x, *moments, effort=3
    )


def launch_rows_gradient(
    call: Call, x: Array, scale: Array, dy: Array, moments: Pair, dx: Array, out: Pair
) -> list[Launch]:
    """dx of `launch_normalize_rows`, and dscale and dbias, for each scale over its rows.

    x has as many rows as there are scales, or several times as many.
    """
    sums = call.scratch((1, 2, scale.size), np.float64)
    arrays = (x, scale, dy, *moments, dx, sums)
    gradient = divisible(
        scale.size, 2 * moving(x, dy, dx), lambda first, end: _rows_gradient(*arrays, first, end)
    )
    if is_on_device(x):
        shape = (1, len(x) // max(scale.size, 1), scale.size, x.shape[1])
        return [
            gradient,
            *launch_by_channel("rownorm.CHANNELS", shape, (dy, x, *moments, scale.size), out),
        ]
    return [gradient, launch_add_blocks(sums, out)]
