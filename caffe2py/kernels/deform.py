"""Windows whose elements have been moved, laid out one after another, and the way back.

`table` is that of window.Window. Offsets of an image are (groups, taps, 2, places): how far down
and how far right each element of each window is moved, for each group of channels. A moved place is
interpolated between the four pixels around it; outside of the image it counts as 0.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from caffe2py.kernels.jit import kernel
from caffe2py.kernels.window import BEGIN, DILATION, IMAGE, KERNEL, OUT, STRIDE
from caffe2py.registry.context import Call, Launch
from caffe2py.tensor.late import late
from caffe2py.tensor.tensor import Array

_H, _W = 1, 2

Lines = tuple[Array, Array]


def _near(at: Any, size: Any, like: Any) -> Any:
    """The elements below and above a place within the axis, and the share of the one above."""
    low = int(at)
    if low >= size - 1:
        return size - 1, size - 1, like.dtype.type(0)
    return low, low + 1, at - like.dtype.type(low)


def corners_of(moves: Any, table: Any, tap: Any, place: Any) -> Any:
    """The four pixels around one element of the window at a place, and the shares of the last ones.

    The first is -1 for a place outside of the image, or one that is no number.
    """
    number = moves.dtype.type
    height, width = table[IMAGE, _H], table[IMAGE, _W]
    across = table[OUT, _W]
    top = tap // table[KERNEL, _W] * table[DILATION, _H] - table[BEGIN, _H]
    left = tap % table[KERNEL, _W] * table[DILATION, _W] - table[BEGIN, _W]
    v = number(place // across * table[STRIDE, _H] + top) + moves[tap, 0, place]
    u = number(place % across * table[STRIDE, _W] + left) + moves[tap, 1, place]
    if not (v >= 0 and u >= 0 and v < height and u < width):
        return -1, -1, -1, -1, number(0), number(0)
    low, high, down = _near(v, height, moves)
    before, after, right = _near(u, width, moves)
    low, high = low * width, high * width
    return low + before, low + after, high + before, high + after, down, right


def _find(moves: Any, table: Any, tap: Any, corners: Any, parts: Any) -> None:
    """For each place the four pixels around one element of the window, and their shares."""
    for place in range(corners.shape[1]):
        a, b, c, d, down, right = corners_of(moves, table, tap, place)
        corners[0, place], corners[1, place] = a, b
        corners[2, place], corners[3, place] = c, d
        parts[0, place], parts[1, place] = down, right


@kernel()
def _unfold_moved(x: Any, offset: Any, table: Any, corners: Any, parts: Any, y: Any) -> None:
    one, zero = x.dtype.type(1), x.dtype.type(0)
    per_group = x.shape[0] // offset.shape[0]
    for group in range(offset.shape[0]):
        for tap in range(y.shape[1]):
            _find(offset[group], table, tap, corners, parts)
            for c in range(group * per_group, (group + 1) * per_group):
                plane, out = x[c], y[c, tap]
                for place in range(out.size):
                    value = zero
                    if corners[0, place] >= 0:
                        p, q = parts[0, place], parts[1, place]
                        a = (one - q) * plane[corners[0, place]] + q * plane[corners[1, place]]
                        b = (one - q) * plane[corners[2, place]] + q * plane[corners[3, place]]
                        value = (one - p) * a + p * b
                    out[place] = value


@kernel()
def _fold_moved(
    x: Any,
    offset: Any,
    dy: Any,
    table: Any,
    corners: Any,
    parts: Any,
    doffset: Any,
    dx: Any,
    image: Any,
) -> None:
    """The way back; dx, which gets zeros first, is left alone unless `image`."""
    one = x.dtype.type(1)
    per_group = x.shape[0] // offset.shape[0]
    if image:
        for c in range(dx.shape[0]):
            for i in range(dx.shape[1]):
                dx[c, i] = 0
    for group in range(offset.shape[0]):
        for tap in range(dy.shape[1]):
            _find(offset[group], table, tap, corners, parts)
            down, right = doffset[group, tap, 0], doffset[group, tap, 1]
            for place in range(down.size):
                down[place] = 0
                right[place] = 0
            for c in range(group * per_group, (group + 1) * per_group):
                plane, slopes, target = x[c], dy[c, tap], dx[c]
                for place in range(slopes.size):
                    if corners[0, place] < 0:
                        continue
                    p, q, g = parts[0, place], parts[1, place], slopes[place]
                    i, j = corners[0, place], corners[1, place]
                    k, m = corners[2, place], corners[3, place]
                    rise = (one - q) * (plane[k] - plane[i]) + q * (plane[m] - plane[j])
                    run = (one - p) * (plane[j] - plane[i]) + p * (plane[m] - plane[k])
                    down[place] += g * rise
                    right[place] += g * run
                    if image:
                        target[i] += g * (one - p) * (one - q)
                        target[j] += g * (one - p) * q
                        target[k] += g * p * (one - q)
                        target[m] += g * p * q


_unfold_moved.form_from("deform", "unfold_moved")
_fold_moved.form_from("deform", "fold_moved")


def _planes(image: Array) -> Array:
    return image.reshape(image.shape[0], image.shape[1] * image.shape[2])


def scratch_lines(call: Call, places: int, dtype: Any) -> Lines:
    """Scratch for one element of all windows: the pixels around it, and their shares."""
    return call.scratch((4, places), np.int64), call.scratch((2, places), dtype)


def launch_unfold_moved(x: Array, offset: Array, table: Array, lines: Lines, y: Array) -> Launch:
    """y (C, taps, places) = the moved elements of all windows of one image x (C, H, W)."""
    return _unfold_moved(_planes(x), offset, table, *lines, y)


def launch_fold_moved(
    call: Call,
    x: Array,
    offset: Array,
    dy: Array,
    table: Array,
    lines: Lines,
    doffset: Array,
    dx: Array | None,
) -> list[Launch]:
    """The gradients of launch_unfold_moved; those of the image only where they are wanted."""
    target = _planes(x if dx is None else dx)
    fold = _fold_moved(_planes(x), offset, dy, table, *lines, doffset, target, dx is not None)
    if fold.work is None or dx is None:
        return [fold]
    launch = late("kernels.cuda.deform", "launch_image_gradient")
    of_image: list[Launch] = launch(call, offset, dy, table, target)
    return [fold, *of_image]
