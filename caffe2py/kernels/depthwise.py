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
from caffe2py.kernels.window import BEGIN, DILATION, IMAGE, KERNEL, OUT, STRIDE, Window
from caffe2py.registry.context import Call, Launch
from caffe2py.tensor.tensor import Array


def _edge(line, first, last, rows, weights, begin, step, size):
    """line[j] += the sum of the elements that lie inside, for first <= j < last."""
    a, b, c = rows
    for j in range(first, last):
        for k in range(3):
            p = j * step + begin + k
            if 0 <= p < size:
                line[j] += weights[k] * a[p] + weights[3 + k] * b[p] + weights[6 + k] * c[p]


def _nine(line, rows, weights, begin, step, size):
    """line[j] += sum of weights[3 i + k] * rows[i][j * step + begin + k], inside of the rows."""
    out = line.size
    low = min(out, max(0, up(-begin, step)))
    high = max(low, min(out, (size - 3 - begin) // step + 1))
    _edge(line, 0, low, rows, weights, begin, step, size)
    _edge(line, high, out, rows, weights, begin, step, size)
    if high == low:
        return
    start, target = low * step + begin, line[low:high]
    a, b, c = rows[0][start:], rows[1][start:], rows[2][start:]
    if step == 1:
        _nine_steps(target, a, b, c, weights, 1)
    elif step == 2:
        _nine_steps(target, a, b, c, weights, 2)
    else:
        _nine_steps(target, a, b, c, weights, step)


def _nine_steps(target, a, b, c, weights, step):
    """target[j] += sum of weights times the three elements from j * step on of three rows."""
    a0, a1, a2 = weights[0], weights[1], weights[2]
    b0, b1, b2 = weights[3], weights[4], weights[5]
    c0, c1, c2 = weights[6], weights[7], weights[8]
    for j in range(target.size):
        p = np.uintp(j * step)  # an index that cannot be negative needs no test
        q, r = p + np.uintp(1), p + np.uintp(2)
        total = a0 * a[p] + a1 * a[q] + a2 * a[r]
        total += b0 * b[p] + b1 * b[q] + b2 * b[r]
        target[j] += total + (c0 * c[p] + c1 * c[q] + c2 * c[r])


def _row(image, y, size_y, size_x, zeros):
    """A row of an image, or zeros above and below it."""
    return image[y * size_x : (y + 1) * size_x] if 0 <= y < size_y else zeros


def _plane_of_nine(image, weights, plane, table, zeros):
    """A plane of Y, from a plane of X, for a window of 3 x 3 without dilation."""
    size_y, size_x, out_x = table[IMAGE, 1], table[IMAGE, 2], table[OUT, 2]
    for y in range(table[OUT, 1]):
        top = y * table[STRIDE, 1] - table[BEGIN, 1]
        rows = (
            _row(image, top, size_y, size_x, zeros),
            _row(image, top + 1, size_y, size_x, zeros),
            _row(image, top + 2, size_y, size_x, zeros),
        )
        line = plane[y * out_x : (y + 1) * out_x]
        _nine(line, rows, weights, -table[BEGIN, 2], table[STRIDE, 2], size_x)


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
def _depthwise(x, w, bias, y, zeros, table, size, low):
    images, channels, filters, biased = size[0], size[1], size[2], size[3]
    image, out, taps = counts(table)
    nine = (
        table[KERNEL, 0] == 1
        and table[KERNEL, 1] == 3
        and table[KERNEL, 2] == 3
        and table[DILATION, 1] == 1
        and table[DILATION, 2] == 1
        and table[IMAGE, 0] == 1
        and table[OUT, 0] == 1
        and table[BEGIN, 0] == 0
    )
    for n in range(images * channels * filters):
        f = n % (channels * filters)
        source = x[n // filters * image : (n // filters + 1) * image]
        plane = y[n * out : (n + 1) * out]
        value = bias[f] if biased else y.dtype.type(0)
        for i in range(out):
            plane[i] = value
        weights = w[f * taps : (f + 1) * taps]
        if nine:
            _plane_of_nine(source, weights, plane, table, zeros)
        else:
            _plane(source, weights, plane, table)
        for i in range(out):
            plane[i] = low if plane[i] < low else plane[i]


def launch_depthwise(
    call: Call,
    x: Array,
    w: Array,
    bias: Array | None,
    y: Array,
    window: Window,
    low: float = -np.inf,
) -> Launch:
    """Y = max(low, every channel of X correlated with its own filters, plus a bias of each).

    X is (N, C, *image), W (C * M, 1, *kernel), Y (N, C * M, *positions).
    """
    image = x.shape[2:]
    zeros = call.scratch((image[-1],), x.dtype)
    zeros.fill(0)
    channels = x.shape[1]
    filters = len(w) // channels if channels else 0
    size = np.array([len(x), channels, filters, bias is not None], np.int64)
    flat = [a.reshape(-1) for a in (x, w, zeros if bias is None else bias, y)]
    return _depthwise(*flat, zeros, window.table(image), size, y.dtype.type(low))
