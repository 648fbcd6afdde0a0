"""Correlation where every channel has filters of its own: no product, but a sum of shifted rows.

An element of X meets only the elements of one filter, so there is nothing to reuse but the rows
themselves. Windows of three by three, which networks use, go down the plane in strips with their
rows in registers: nine multiply-adds for three loads and a store, instead of nine loads.
"""

from __future__ import annotations

import numpy as np

from caffe2py.kernels.block import up
from caffe2py.kernels.jit import kernel
from caffe2py.kernels.panels import counts
from caffe2py.kernels.parallel import split
from caffe2py.kernels.vector import nine1, nine2
from caffe2py.kernels.window import BEGIN, DILATION, IMAGE, KERNEL, OUT, STRIDE, Window
from caffe2py.registry.context import Call, Launch
from caffe2py.tensor.tensor import Array

#: Nanoseconds that a multiply-add takes, within a factor of three.
_NS = 0.03


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
def _depthwise(x, w, bias, y, table, size, low):
    """Planes size[4] to size[5] of X."""
    channels, filters, biased, nine = size[0], size[1], size[2], size[3]
    image, out, taps = counts(table)
    high, wide, top, left = table[IMAGE, 1], table[IMAGE, 2], table[BEGIN, 1], table[BEGIN, 2]
    for n in range(size[4], size[5]):
        for m in range(filters):
            f = n % channels * filters + m
            to = (n * filters + m) * out
            shift = bias[f] if biased else y.dtype.type(0)
            rows, columns = table[OUT, 1], table[OUT, 2]
            if nine == 1:
                nine1(
                    x, n * image, high, wide, top, left, w, f * taps, y, to, rows, columns,
                    shift, low,
                )  # fmt: skip
                continue
            if nine == 2:
                nine2(
                    x, n * image, high, wide, top, left, w, f * taps, y, to, rows, columns,
                    shift, low,
                )  # fmt: skip
                continue
            plane, weights = y[to : to + out], w[f * taps : (f + 1) * taps]
            for i in range(out):
                plane[i] = shift
            _plane(x[n * image : (n + 1) * image], weights, plane, table)
            for i in range(out):
                plane[i] = low if plane[i] < low else plane[i]


def _steps_of_nine(table: Array) -> int:
    """The step of windows of 3 x 3 in planes, if it is 1 or 2 and they are plain; else 0."""
    plain = [*table[KERNEL], *table[DILATION, 1:]] == [1, 3, 3, 1, 1]
    step = int(table[STRIDE, 1])
    flat = table[IMAGE, 0] == table[OUT, 0] == 1 and step == table[STRIDE, 2]
    return step if plain and flat and step <= 2 else 0


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
    channels = x.shape[1]
    filters = len(w) // channels if channels else 0
    flat = [a.reshape(-1) for a in (x, w, w if bias is None else bias, y)]
    sizes = channels, filters, bias is not None, _steps_of_nine(table)
    limit = y.dtype.type(low)

    def part(first: int, end: int) -> Launch:
        return _depthwise(*flat, table, np.array([*sizes, first, end], np.int64), limit)

    return split(len(x) * channels, y.size * int(counts(table)[2]) * _NS, part)
