"""Correlation with 3 x 3 filters of few channels: the first layer of a net, and narrow groups.

Unfolding pays where an element of it meets many filters, or long sums make up for short panels.
With 3 to 8 channels neither is so, and windows are summed where they lie.
"""

from __future__ import annotations

import numpy as np

from caffe2py.kernels.jit import kernel
from caffe2py.kernels.parallel import MULTIPLY_ADD, split
from caffe2py.kernels.vector import direct4_1, direct4_2, direct8_1, direct8_2
from caffe2py.kernels.window import BEGIN, IMAGE, OUT, STRIDE
from caffe2py.registry.context import Call, Launch
from caffe2py.tensor.tensor import Array

#: Groups of at most so many channels.
MOST_CHANNELS = 8

#: Entries of `size`: groups, channels and filters of one, filters at once; blocks of these.
_GROUPS, _CHANNELS, _FILTERS, _ONCE, _FIRST, _END = range(6)


@kernel("contract")
def _few_channels(x, w, bias, y, table, size, low):
    """Blocks size[_FIRST] to size[_END] of filters: those of a group, the next group, image."""
    channels, filters, once = size[_CHANNELS], size[_FILTERS], size[_ONCE]
    high, wide, top, left = table[IMAGE, 1], table[IMAGE, 2], table[BEGIN, 1], table[BEGIN, 2]
    rows, columns, step = table[OUT, 1], table[OUT, 2], table[STRIDE, 2]
    image, out, blocks = high * wide, rows * columns, filters // once
    for block in range(size[_FIRST], size[_END]):
        group = block // blocks  # of all groups of all images
        f = group % size[_GROUPS] * filters + block % blocks * once
        at, to = group * channels * image, (group * filters + block % blocks * once) * out
        w_at, w_step = f * channels * 9, channels * 9
        if once == 8 and step == 1:
            direct8_1(
                x, at, image, channels, high, wide, top, left, w, w_at, w_step, bias, f,
                y, to, out, rows, columns, low,
            )  # fmt: skip
        elif once == 8:
            direct8_2(
                x, at, image, channels, high, wide, top, left, w, w_at, w_step, bias, f,
                y, to, out, rows, columns, low,
            )  # fmt: skip
        elif step == 1:
            direct4_1(
                x, at, image, channels, high, wide, top, left, w, w_at, w_step, bias, f,
                y, to, out, rows, columns, low,
            )  # fmt: skip
        else:
            direct4_2(
                x, at, image, channels, high, wide, top, left, w, w_at, w_step, bias, f,
                y, to, out, rows, columns, low,
            )  # fmt: skip


def filters_at_once(channels: int, filters: int, kernel_: tuple[int, ...], steps: set[int]) -> int:
    """How many filters of a group are summed together; 0 where this is not the way."""
    fits = kernel_ == (3, 3) and len(steps) == 1 and steps <= {1, 2} and channels <= MOST_CHANNELS
    return next((n for n in (8, 4) if fits and filters and filters % n == 0), 0)


def launch_few_channels(
    call: Call,
    x: Array,
    w: Array,
    bias: Array | None,
    y: Array,
    table: Array,
    groups: int,
    once: int,
    low: float,
) -> list[Launch]:
    """Y = max(low, X correlated with W, plus a bias of each filter), `once` filters at a time.

    X is (N, groups * C, H, W), W (groups * M, C, 3, 3), Y (N, groups * M, *positions); `table` is
    the window's, with equal steps of 1 or 2 and no dilation.
    """
    channels, filters = w.shape[1], len(w) // groups
    if bias is None:
        bias = call.scratch((len(w),), w.dtype)
        bias.fill(0)
    flat = [a.reshape(-1) for a in (x, w, bias, y)]
    sizes, limit = (groups, channels, filters, once), y.dtype.type(low)

    def part(first: int, end: int) -> Launch:
        return _few_channels(*flat, table, np.array([*sizes, first, end], np.int64), limit)

    return split(len(x) * len(w) // once, y.size * channels * 9 * MULTIPLY_ADD, part)
