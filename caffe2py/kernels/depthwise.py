"""Correlation where every channel has filters of its own: no product, but a sum of shifted rows.

An element of X meets only the elements of one filter, so there is nothing to reuse but the rows
themselves. A row of Y is summed in one pass over the rows of X under the window; windows of three
by three, which networks use, take nine multiply-adds for nine loads from the first-level cache.
"""

from __future__ import annotations

import numpy as np

from caffe2py.kernels.block import up
from caffe2py.kernels.jit import kernel
from caffe2py.kernels.panels import counts
from caffe2py.kernels.parallel import split
from caffe2py.kernels.vector import nine1, nine2, vector_lanes
from caffe2py.kernels.window import BEGIN, DILATION, IMAGE, KERNEL, OUT, STRIDE, Window
from caffe2py.registry.context import Call, Launch
from caffe2py.tensor.tensor import Array

#: Nanoseconds that a multiply-add takes, within a factor of three.
_NS = 0.03


def _surround(image, table, wide, padded):
    """Copy a plane of X to where it lies between zeros that stay."""
    size_x = table[IMAGE, 2]
    for y in range(table[IMAGE, 1]):
        at = (table[BEGIN, 1] + y) * wide + table[BEGIN, 2]
        source, target = image[y * size_x : (y + 1) * size_x], padded[at : at + size_x]
        for j in range(size_x):
            target[j] = source[j]


def _nine(target, rows, wide, weights, step, bias, low):
    """target[j] = max(low, bias + weights times three elements from j * step on of three rows)."""
    for j in range(target.size):
        total = bias
        for i in range(3):
            for k in range(3):
                total += weights[3 * i + k] * rows[i * wide + j * step + k]
        target[j] = low if total < low else total


def _plane_of_nine(padded, wide, w, w_at, y, y_at, table, bias, low):
    """A plane of Y, from a surrounded plane of X, for a window of 3 x 3 without dilation."""
    out_x, step = table[OUT, 2], table[STRIDE, 2]
    for line in range(table[OUT, 1]):
        at, to = line * table[STRIDE, 1] * wide, y_at + line * out_x
        if step == 1:
            nine1(padded, at, wide, w, w_at, y, to, out_x, bias, low)
        elif step == 2:
            nine2(padded, at, wide, w, w_at, y, to, out_x, bias, low)
        else:
            _nine(y[to : to + out_x], padded[at:], wide, w[w_at : w_at + 9], step, bias, low)


def _plane(image, weights, plane, table):
    """A plane of Y, from a plane of X, one element of the window at a time."""
    size_z, size_y, size_x = table[IMAGE]
    out_z, out_y, out_x = table[OUT]
    taps_z, taps_y, taps_x = table[KERNEL]
    step = table[STRIDE, 2]
    for tap in range(taps_z * taps_y * taps_x):
        weight = weights[tap]
        begin = tap % taps_x * table[DILATION, 2] - table[BEGIN, 2]
        low = min(out_x, max(0, up(-begin, step)))
        count = max(0, min(out_x, up(size_x - begin, step)) - low)
        for oz in range(out_z):
            z = oz * table[STRIDE, 0] + tap // taps_x // taps_y * table[DILATION, 0]
            z -= table[BEGIN, 0]
            for oy in range(out_y):
                y = oy * table[STRIDE, 1] + tap // taps_x % taps_y * table[DILATION, 1]
                y -= table[BEGIN, 1]
                if not (0 <= z < size_z and 0 <= y < size_y):
                    continue
                line = plane[(oz * out_y + oy) * out_x + low :]
                source = image[(z * size_y + y) * size_x + low * step + begin :]
                for j in range(count):
                    line[j] += weight * source[np.uintp(j * step)]


@kernel("contract")
def _depthwise(x, w, bias, y, padded, table, size, low):
    """Planes size[4] to size[5] of X."""
    channels, filters, biased, wide = size[0], size[1], size[2], size[3]
    image, out, taps = counts(table)
    for n in range(size[4], size[5]):
        source = x[n * image : (n + 1) * image]
        if wide > 0:
            _surround(source, table, wide, padded)
        for m in range(filters):
            f = n % channels * filters + m
            to = (n * filters + m) * out
            shift = bias[f] if biased else y.dtype.type(0)
            if wide > 0:
                _plane_of_nine(padded, wide, w, f * taps, y, to, table, shift, low)
                continue
            plane, weights = y[to : to + out], w[f * taps : (f + 1) * taps]
            for i in range(out):
                plane[i] = shift
            _plane(source, weights, plane, table)
            for i in range(out):
                plane[i] = low if plane[i] < low else plane[i]


def _padded_size(table: Array) -> tuple[int, int]:
    """Rows and columns of a surrounded plane; 0, 0 where the window is no plain one of 3 x 3."""
    plain = [*table[KERNEL], *table[DILATION, 1:]] == [1, 3, 3, 1, 1]
    if (
        not plain
        or table[IMAGE, 0] != table[OUT, 0]
        or table[IMAGE, 0] > 1
        or table[BEGIN].min() < 0
    ):
        return 0, 0
    reach = (table[OUT] - 1) * table[STRIDE] + 3
    size = np.maximum(reach, table[BEGIN] + table[IMAGE])
    return int(size[1]), int(size[2])


def launch_depthwise(
    call: Call,
    x: Array,
    w: Array,
    bias: Array | None,
    y: Array,
    window: Window,
    low: float = -np.inf,
) -> list[Launch]:
    """Y = max(low, every channel of X correlated with its own filters, plus a bias of each).

    X is (N, C, *image), W (C * M, 1, *kernel), Y (N, C * M, *positions).
    """
    table = window.table(x.shape[2:])
    rows, wide = _padded_size(table)
    channels = x.shape[1]
    filters = len(w) // channels if channels else 0
    flat = [a.reshape(-1) for a in (x, w, w if bias is None else bias, y)]
    limit = y.dtype.type(low)

    def part(first: int, end: int) -> Launch:
        # rows are read in whole vectors, so the last one goes on beyond its end
        padded = call.scratch((rows * wide + 3 * vector_lanes(x.dtype),), x.dtype)
        padded.fill(0)
        size = np.array([channels, filters, bias is not None, wide, first, end], np.int64)
        return _depthwise(*flat, padded, table, size, limit)

    return split(len(x) * channels, y.size * int(counts(table)[2]) * _NS, part)
