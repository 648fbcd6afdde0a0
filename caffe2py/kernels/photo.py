"""Loops over photos: a part of a resized image, and colors that are moved.

Photos are (height, width, channels), uint8 as they are decoded and float32 afterwards. A resized
pixel is the mean of those that it covers, each by the share that is covered.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from caffe2py.kernels.jit import kernel
from caffe2py.registry.context import Launch
from caffe2py.tensor.tensor import Array

#: The shares of blue, green and red in the luminance.
_BLUE, _GREEN, _RED = np.float32(0.114), np.float32(0.587), np.float32(0.299)

#: What `Tint.order` holds.
SATURATION, BRIGHTNESS, CONTRAST = range(3)

#: Shares of a pixel below this are dropped: they come from rounding.
_LEAST = 1e-3


class Taps(NamedTuple):
    """For each place of a resized axis the elements that it takes: from `first` on, by weight.

    int64 (count,) and float32 (count, most taps); weights that are not used are 0.
    """

    first: Array
    weights: Array


def covered(size: int, count: int, begin: int, end: int) -> Taps:
    """For places begin to end of an axis of `size` that is resized to `count`: what they cover."""
    step = size / count
    low = np.arange(begin, end) * step
    high = np.minimum(low + step, size)
    first = np.minimum(np.floor(low).astype(np.int64), size - 1)
    most = int(np.max(np.ceil(high).astype(np.int64) - first, initial=1))
    at = first[:, None] + np.arange(most)
    shares = np.minimum(high[:, None], at + 1) - np.maximum(low[:, None], at)
    shares = np.where(shares > min(_LEAST, step / 2), shares, 0)
    return Taps(first, (shares / shares.sum(1, keepdims=True)).astype(np.float32))


def two_neighbours(size: int, count: int, begin: int, end: int) -> Taps:
    """The same where an axis grows, from two neighbours at most; so does OpenCV, step by step.

    Where it has one axis grow and the other shrink, it takes two neighbours along both.
    """
    growth = count / size
    place = np.arange(begin, end)
    first = np.minimum(np.floor(place * (1 / growth)).astype(np.int64), size - 1)
    share = ((place + 1) - (first + 1) * growth).astype(np.float32)
    share = np.where((share > 0) & (first < size - 1), share - np.floor(share), 0)
    return Taps(first, np.stack([1 - share, share], 1).astype(np.float32))


@kernel("contract")
def _take(
    x: Any, rows: Any, row_weights: Any, columns: Any, column_weights: Any, begin: Any, line: Any,
    smooth: Any, y: Any,
) -> None:  # fmt: skip
    """x is flat but for its rows; `line` holds a row's part from element `begin` on."""
    channels = y.shape[2]
    end = min(begin + line.shape[0], x.shape[1])
    for i in range(y.shape[0]):
        for e in range(line.shape[0]):
            line[e] = 0
        for k in range(row_weights.shape[1]):
            weight = row_weights[i, k]
            if weight != 0:
                source = x[rows[i] + k, begin:end]
                for e in range(source.shape[0]):
                    line[e] += weight * np.float32(source[e])
        for j in range(y.shape[1]):
            first = columns[j] * channels - begin
            for c in range(channels):
                total = np.float32(0)
                for m in range(column_weights.shape[1]):
                    total += column_weights[j, m] * line[first + m * channels + c]
                y[i, j, c] = np.rint(total) if smooth else total  # Caffe2 has bytes in between


def launch_take(x: Array, rows: Taps, columns: Taps, y: Array) -> Launch:
    """y[i, j] = the mean of the pixels of x that rows[i] and columns[j] name, rounded."""
    taps = columns.weights.shape[1]
    channels = x.shape[2]
    low, high = int(columns.first.min()), int(columns.first.max()) + taps
    line = np.empty((high - low) * channels, np.float32)
    smooth = rows.weights.shape[1] > 1 or taps > 1
    flat = x.reshape(len(x), -1)
    return _take(flat, *rows, *columns, low * channels, line, smooth, y)


# ---------------------------------------------------------------- colors


class Tint(NamedTuple):
    """How colors (blue, green, red) are moved, in this order.

    `order`: int64, of SATURATION, BRIGHTNESS and CONTRAST, with `factors` each: 1 leaves them as
    they are. Then `shift` is added and `mean` subtracted, and the rest multiplied by `scale`.
    """

    order: Array
    factors: Array
    shift: Array
    mean: Array
    scale: Array


@kernel()
def _tint(order: Any, factors: Any, shift: Any, mean: Any, scale: Any, y: Any) -> None:
    one = np.float32(1)
    count = y.shape[0] * y.shape[1]
    for n in range(order.shape[0]):
        factor, mixed = factors[n], one
        if order[n] == CONTRAST:
            total = 0.0
            for i in range(y.shape[0]):
                for j in range(y.shape[1]):
                    p = y[i, j]
                    total += p[0] * _BLUE + p[1] * _GREEN + p[2] * _RED
            mixed = np.float32(total / count) * (one - factor)
        for i in range(y.shape[0]):
            for j in range(y.shape[1]):
                p = y[i, j]
                if order[n] == BRIGHTNESS:
                    mixed = np.float32(0)
                elif order[n] == SATURATION:
                    gray = p[0] * _BLUE + p[1] * _GREEN + p[2] * _RED
                    mixed = gray * (one - factor)
                for c in range(3):
                    p[c] = p[c] * factor + mixed
    for i in range(y.shape[0]):
        for j in range(y.shape[1]):
            for c in range(y.shape[2]):
                y[i, j, c] = (y[i, j, c] + shift[c] - mean[c]) * scale[c]


def launch_tint(tint: Tint, y: Array) -> Launch:
    """Move the colors of y, in place; an `order` that is not empty needs three channels."""
    return _tint(*tint, y)
