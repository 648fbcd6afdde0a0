"""Correlation where every channel has filters of its own: no product, but a sum of shifted rows.

An element of X meets only the elements of one filter, so there is nothing to reuse but the rows
themselves. Windows of three by three, which networks use, go down the plane in strips with their
rows in registers: nine multiply-adds for three loads and a store, instead of nine loads. Those of
five by five load what they need for every row of results, 25 multiply-adds for 25 loads.
"""

from __future__ import annotations

import numpy as np

from caffe2py.kernels.block import up
from caffe2py.kernels.jit import Kernel, kernel
from caffe2py.kernels.panels import counts
from caffe2py.kernels.parallel import MULTIPLY_ADD, split
from caffe2py.kernels.vector import five1, five2, three1, three2
from caffe2py.kernels.window import BEGIN, DILATION, IMAGE, KERNEL, OUT, STRIDE, Window
from caffe2py.registry.context import Call, Launch
from caffe2py.tensor.tensor import Array

#: Entries of `size`: channels of X, filters of each, whether there is a bias; planes of X.
_CHANNELS, _FILTERS, _BIASED, _FIRST, _END = range(5)


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
def _squares(x, w, bias, y, table, size, low):
    """Planes size[_FIRST] to size[_END] of X, for windows of 3 x 3 or 5 x 5, 1 or 2 apart."""
    image, out, taps = counts(table)
    high, wide, top, left = table[IMAGE, 1], table[IMAGE, 2], table[BEGIN, 1], table[BEGIN, 2]
    rows, columns = table[OUT, 1], table[OUT, 2]
    side, step = table[KERNEL, 2], table[STRIDE, 2]
    for n in range(size[_FIRST] * size[_FILTERS], size[_END] * size[_FILTERS]):
        f, at, to = n % (size[_CHANNELS] * size[_FILTERS]), n // size[_FILTERS] * image, n * out
        shift = bias[f] if size[_BIASED] else y.dtype.type(0)
        f *= taps
        if side == 3 and step == 1:
            three1(x, at, high, wide, top, left, w, f, y, to, rows, columns, shift, low)
        elif side == 3:
            three2(x, at, high, wide, top, left, w, f, y, to, rows, columns, shift, low)
        elif step == 1:
            five1(x, at, high, wide, top, left, w, f, y, to, rows, columns, shift, low)
        else:
            five2(x, at, high, wide, top, left, w, f, y, to, rows, columns, shift, low)


@kernel("contract")
def _any_window(x, w, bias, y, table, size, low):
    """The same for windows of any size."""
    image, out, taps = counts(table)
    for n in range(size[_FIRST] * size[_FILTERS], size[_END] * size[_FILTERS]):
        f, at = n % (size[_CHANNELS] * size[_FILTERS]), n // size[_FILTERS] * image
        shift = bias[f] if size[_BIASED] else y.dtype.type(0)
        plane, weights = y[n * out : (n + 1) * out], w[f * taps : (f + 1) * taps]
        for i in range(out):
            plane[i] = shift
        _plane(x[at : at + image], weights, plane, table)
        for i in range(out):
            plane[i] = low if plane[i] < low else plane[i]


def _kernel_of(table: Array) -> Kernel:
    """The kernel for a window; those in registers are square, with steps of 1 or 2."""
    flat = table[IMAGE, 0] == table[OUT, 0] == table[KERNEL, 0] == 1
    size, step = int(table[KERNEL, 2]), int(table[STRIDE, 2])
    square = size == table[KERNEL, 1] and step == table[STRIDE, 1]
    if not (flat and square and step <= 2 and table[DILATION, 1:].max() == 1):
        return _any_window
    return _squares if size in (3, 5) else _any_window


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
    sizes = channels, filters, bias is not None
    limit, loop = y.dtype.type(low), _kernel_of(table)

    def part(first: int, end: int) -> Launch:
        return loop(*flat, table, np.array([*sizes, first, end], np.int64), limit)

    return split(len(x) * channels, y.size * int(counts(table)[2]) * MULTIPLY_ADD, part)
