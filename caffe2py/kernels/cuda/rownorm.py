"""Rows and groups that are normalised, on devices: sums in float64, as on the CPU."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from caffe2py.kernels.cuda.form import form
from caffe2py.kernels.cuda.rows import blocks_of_first, elements, my_row, row_blocks
from caffe2py.kernels.cuda.sums import ChannelSums
from caffe2py.kernels.cuda.threads import group_sum_double
from caffe2py.tensor.tensor import Array


def _moments_of_row(x: Any, r: Any, width: Any, columns: Any, lane: Any, group: Any) -> Any:
    """Mean and variance of a row, for all its threads; `width` is 0 where there is no row.

    From differences to the first element, so that a large mean costs no digits.
    """
    first = np.float64(x[r, 0]) if width > 0 else 0.0
    total = 0.0
    c = lane
    while c < width:
        total += np.float64(x[r, c]) - first
        c += group
    count = np.float64(max(columns, 1))
    mean = first + group_sum_double(total, group, 1) / count
    total = 0.0
    c = lane
    while c < width:
        d = np.float64(x[r, c]) - mean
        total += d * d
        c += group
    return mean, group_sum_double(total, group, 1) / count


@form(blocks=blocks_of_first)
def normalize_columns(
    x: Any, epsilon: Any, scale: Any, bias: Any, mean: Any, deviation: Any, y: Any
) -> None:
    """One scale and bias a column."""
    rows, columns = x.shape
    first, own, step, lane, group = my_row(columns)
    number = x.dtype.type
    while first < rows:
        r = first + own
        width = columns if r < rows else 0
        m, variance = _moments_of_row(x, r, width, columns, lane, group)
        d = math.sqrt(variance + epsilon)
        middle, inverse = number(m), number(1.0 / d)
        if lane == 0 and r < rows:
            mean[r] = m
            deviation[r] = d
        c = lane
        while c < width:
            z = (x[r, c] - middle) * inverse
            y[r, c] = z * scale[c] + bias[c] if scale.size > 0 else z
            c += group
        first += step


@form(blocks=blocks_of_first)
def normalize_rows(
    x: Any, epsilon: Any, scale: Any, bias: Any, mean: Any, inverse: Any, y: Any, start: int
) -> None:
    """One scale and bias a row, from number `start` on."""
    rows, columns = x.shape
    first, own, step, lane, group = my_row(columns)
    number = x.dtype.type
    while first < rows:
        r = first + own
        width = columns if r < rows else 0
        m, variance = _moments_of_row(x, r, width, columns, lane, group)
        i = 1.0 / math.sqrt(variance + epsilon)
        if r < rows:
            channel = (start + r) % scale.size
            middle, factor, term = number(m), number(i) * scale[channel], bias[channel]
            if lane == 0:
                mean[r] = m
                inverse[r] = i
            c = lane
            while c < width:
                y[r, c] = (x[r, c] - middle) * factor + term
                c += group
        first += step


@form(blocks=blocks_of_first)
def rows_moments(x: Any, epsilon: Any, mean: Any, inverse: Any) -> None:
    """The mean and 1 / sqrt(variance + epsilon) of each row."""
    rows, columns = x.shape
    first, own, step, lane, group = my_row(columns)
    while first < rows:
        r = first + own
        width = columns if r < rows else 0
        m, variance = _moments_of_row(x, r, width, columns, lane, group)
        if lane == 0 and r < rows:
            mean[r] = m
            inverse[r] = 1.0 / math.sqrt(variance + epsilon)
        first += step


# ---------------------------------------------------------------- gradients


@form(blocks=blocks_of_first)
def columns_gradient(
    dy: Any, mean: Any, deviation: Any, x: Any, scale: Any, dx: Any, sums: Any, start: int, end: int
) -> None:
    """Dx alone: the sums for each column are those of COLUMNS."""
    rows, columns = x.shape
    first, own, step, lane, group = my_row(columns)
    number = x.dtype.type
    while first < rows:
        r = first + own
        width = columns if r < rows else 0
        m = mean[r] if width > 0 else number(0)
        total = 0.0
        slope = 0.0
        c = lane
        while c < width:
            g = dy[r, c] * scale[c] if scale.size > 0 else dy[r, c]
            total += g
            slope += np.float64(g) * (x[r, c] - m)
            c += group
        total = group_sum_double(total, group, 1) / max(columns, 1)
        slope = group_sum_double(slope, group, 1) / max(columns, 1)
        if width > 0:
            inverse = number(1) / deviation[r]
            a, b = number(total), number(slope * inverse * inverse)
            c = lane
            while c < width:
                g = dy[r, c] * scale[c] if scale.size > 0 else dy[r, c]
                dx[r, c] = (g - a - (x[r, c] - m) * b) * inverse
                c += group
        first += step


def _put_pair(k: Any, a: Any, b: Any, first: Any, second: Any) -> None:
    first[k] = a
    second[k] = b


def _by_deviation(
    n: Any, o: Any, c: Any, i: Any, dy: Any, x: Any, mean: Any, deviation: Any
) -> Any:
    g = dy[o, c]
    z = (x[o, c] - mean[o]) * (x.dtype.type(1) / deviation[o])
    return np.float64(g * z), np.float64(g)


def _by_inverse(n: Any, o: Any, c: Any, i: Any, dy: Any, x: Any, inverse: Any) -> Any:
    g = np.float64(dy[o, c])
    return g * x[o, c] * inverse[o], g


#: dscale and dbias of rows (1, rows, columns, 1), by mean and deviation, or by the inverse alone.
COLUMNS = ChannelSums("columns_gradient", _by_deviation, _put_pair)
MEAN_SQUARES = ChannelSums("mean_square_gradient", _by_inverse, _put_pair)


@form(blocks=blocks_of_first)
def rows_gradient(
    x: Any, scale: Any, dy: Any, mean: Any, inverse: Any, dx: Any, sums: Any, start: int, end: int
) -> None:
    """Dx alone: the sums for each channel are those of CHANNELS."""
    rows, columns = x.shape
    first, own, step, lane, group = my_row(columns)
    number = x.dtype.type
    while first < rows:
        r = first + own
        width = columns if r < rows else 0
        m = mean[r] if width > 0 else number(0)
        total = 0.0
        slope = 0.0
        c = lane
        while c < width:
            g = np.float64(dy[r, c])
            total += g
            slope += g * (x[r, c] - m)
            c += group
        total = group_sum_double(total, group, 1)
        slope = group_sum_double(slope, group, 1)
        if width > 0:
            i = inverse[r]
            factor = scale[r % scale.size] * i
            a, b = number(total / columns), number(slope * i * i / columns)
            c = lane
            while c < width:
                dx[r, c] = (dy[r, c] - a - (x[r, c] - m) * b) * factor
                c += group
        first += step


def _of_channel(
    n: Any, o: Any, c: Any, i: Any, dy: Any, x: Any, mean: Any, inverse: Any, channels: Any
) -> Any:
    r = o * channels + c
    g = np.float64(dy[r, i])
    return g * (x[r, i] - mean[r]) * inverse[r], g


#: dscale and dbias of rows (1, items, channels, columns), one row for each item and channel.
CHANNELS = ChannelSums("rows_gradient", _of_channel, _put_pair)


# ---------------------------------------------------------------- root mean squares


@form(blocks=blocks_of_first)
def mean_square(x: Any, epsilon: Any, scale: Any, bias: Any, y: Any, inverse: Any) -> None:
    """Rows divided by the root of their mean square."""
    rows, columns = x.shape
    first, own, step, lane, group = my_row(columns)
    number = x.dtype.type
    while first < rows:
        r = first + own
        width = columns if r < rows else 0
        total = 0.0
        c = lane
        while c < width:
            total += np.float64(x[r, c]) * np.float64(x[r, c])
            c += group
        total = group_sum_double(total, group, 1)
        factor = number(1.0 / math.sqrt(total / max(columns, 1) + epsilon))
        if lane == 0 and r < rows:
            inverse[r] = factor
        c = lane
        while c < width:
            y[r, c] = x[r, c] * factor * scale[c] + bias[c]
            c += group
        first += step


def _blocks_of_second(dy: Array, x: Array, *_: Any) -> int:
    return row_blocks(x.shape[0], x.shape[1])


@form(blocks=_blocks_of_second)
def mean_square_gradient(
    dy: Any, x: Any, scale: Any, inverse: Any, dx: Any, sums: Any, start: int, end: int
) -> None:
    """Dx alone: the sums for each column are those of MEAN_SQUARES."""
    rows, columns = x.shape
    first, own, step, lane, group = my_row(columns)
    number = x.dtype.type
    while first < rows:
        r = first + own
        width = columns if r < rows else 0
        slope = 0.0
        c = lane
        while c < width:
            slope += np.float64(dy[r, c]) * scale[c] * x[r, c]
            c += group
        slope = group_sum_double(slope, group, 1)
        if width > 0:
            factor = np.float64(inverse[r])
            slope = slope * factor * factor * factor / columns
            c = lane
            while c < width:
                value = np.float64(dy[r, c]) * scale[c] * factor - x[r, c] * slope
                dx[r, c] = number(value)
                c += group
        first += step


# ---------------------------------------------------------------- groups of channels


def _from_first(n: Any, o: Any, g: Any, i: Any, x: Any) -> Any:
    d = np.float64(x[n, o, g, i]) - np.float64(x[n, 0, g, 0])
    return d, d * d


def _use_moments(
    k: Any, a: Any, b: Any, x: Any, count: Any, epsilon: Any, mean: Any, inverse: Any
) -> None:
    average = a / max(count, 1)
    variance = b / max(count, 1) - average * average
    first = np.float64(x[k // x.shape[2], 0, k % x.shape[2], 0]) if count > 0 else 0.0
    mean[k] = first + average
    inverse[k] = 1.0 / math.sqrt(max(variance, 0.0) + epsilon)


#: Mean and inverse deviation of groups: x is (items, outer, groups, elements).
GROUPS = ChannelSums("group_moments", _from_first, _use_moments)


def _channel_rows(x: Any) -> Any:
    """The rows that a loop over (items, outer, channels, inner) shares out: pixels, or channels."""
    items, outer, channels, inner = x.shape
    if inner == 1:
        return items * outer, channels
    return items * outer * channels, inner


def _place(r: Any, k: Any, x: Any) -> Any:
    """(item, outer, channel, inner) of such a row and column."""
    _, outer, channels, inner = x.shape
    if inner == 1:
        return r // outer, r % outer, k, 0
    return r // (outer * channels), r // channels % outer, r % channels, k


def _normalize_shape(
    x: Any, width: Any, scale: Any, bias: Any, mean: Any, inverse: Any, y: Any, start: Any, end: Any
) -> Any:
    return _channel_rows(x)


def _normalize_at(
    r: Any, k: Any, x: Any, width: Any, scale: Any, bias: Any, mean: Any, inverse: Any, y: Any,
    start: Any, end: Any,
) -> None:  # fmt: skip
    n, o, c, i = _place(r, k, x)
    g = c // width
    y[n, o, c, i] = (x[n, o, c, i] - mean[n, g]) * (inverse[n, g] * scale[c]) + bias[c]


group_normalize = elements("_group_normalize", _normalize_shape, _normalize_at)


def _product_of_group(
    n: Any, o: Any, c: Any, i: Any, dy: Any, x: Any, width: Any, mean: Any, inverse: Any
) -> Any:
    g = np.float64(dy[n, o, c, i])
    return g * (np.float64(x[n, o, c, i]) - mean[n, c // width]), g


def _put_group(k: Any, a: Any, b: Any, width: Any, inverse: Any, sums: Any) -> None:
    n, c = k // sums.shape[2], k % sums.shape[2]
    sums[0, n, c] = a * inverse[n, c // width]
    sums[1, n, c] = b


#: sums[0] = that of dy * (x - mean) * inverse, sums[1] = that of dy, for each item and channel.
GROUP_SUMS = ChannelSums("group_sums", _product_of_group, _put_group)


def _level_of_group(n: Any, o: Any, g: Any, i: Any, sums: Any, scale: Any, width: Any) -> Any:
    c = g * width + i
    return sums[0, n, c] * scale[c], sums[1, n, c] * scale[c]


def _put_level(k: Any, a: Any, b: Any, count: Any, inverse: Any, levels: Any) -> None:
    n, g = k // inverse.shape[1], k % inverse.shape[1]
    levels[0, n, g] = a / max(count, 1) * np.float64(inverse[n, g])
    levels[1, n, g] = b / max(count, 1)


#: What each element's gradient loses for its distance from the mean, and for all alike.
GROUP_LEVELS = ChannelSums("group_levels", _level_of_group, _put_level)


def _gradient_shape(
    dy: Any, x: Any, width: Any, scale: Any, mean: Any, inverse: Any, levels: Any, dx: Any,
    start: Any, end: Any,
) -> Any:  # fmt: skip
    return _channel_rows(x)


def _gradient_at(
    r: Any, k: Any, dy: Any, x: Any, width: Any, scale: Any, mean: Any, inverse: Any, levels: Any,
    dx: Any, start: Any, end: Any,
) -> None:  # fmt: skip
    n, o, c, i = _place(r, k, x)
    g = c // width
    d = np.float64(x[n, o, c, i]) - mean[n, g]
    value = np.float64(dy[n, o, c, i]) * scale[c] - levels[1, n, g] - d * levels[0, n, g]
    dx[n, o, c, i] = value * inverse[n, g]


#: For `_group_gradient`, which devices give the levels instead of the sums.
group_gradient = elements("_group_gradient", _gradient_shape, _gradient_at)


def _of_items(n: Any, o: Any, c: Any, i: Any, sums: Any) -> Any:
    return sums[0, o, c], sums[1, o, c]


#: dscale and dbias from the sums of items.
ITEMS = ChannelSums("sum_items", _of_items, _put_pair)
