"""Windows whose elements have been moved, laid out one after another, and the way back.

`table` is that of window.Window. Offsets of an image are (groups, taps, 2, places): how far down
and how far right each element of each window is moved, for each group of channels. A moved place is
interpolated between the four pixels around it; outside of the image it counts as 0.
"""

from __future__ import annotations

from typing import Any

from caffe2py.kernels.jit import kernel
from caffe2py.kernels.window import BEGIN, DILATION, IMAGE, KERNEL, OUT, STRIDE
from caffe2py.registry.context import Launch
from caffe2py.tensor.tensor import Array

_H, _W = 1, 2


def _start(table: Any, axis: Any, place: Any, tap: Any) -> Any:
    """Where an element of a window is before it is moved."""
    return place * table[STRIDE, axis] - table[BEGIN, axis] + tap * table[DILATION, axis]


def _near(at: Any, size: Any, like: Any) -> Any:
    """The elements below and above a place within the axis, and the share of the one above."""
    low = int(at)
    if low >= size - 1:
        return size - 1, size - 1, like.dtype.type(0)
    return low, low + 1, at - like.dtype.type(low)


def _inside(v: Any, u: Any, height: Any, width: Any) -> Any:
    """Whether a place is in the image; one that is no number is not."""
    return v >= 0 and u >= 0 and v < height and u < width


@kernel()
def _unfold_moved(x: Any, offset: Any, table: Any, y: Any) -> None:
    number = x.dtype.type
    one, zero = number(1), number(0)
    height, width = table[IMAGE, _H], table[IMAGE, _W]
    across = table[OUT, _W]
    per_group = x.shape[0] // offset.shape[0]
    for c in range(x.shape[0]):
        plane, moves = x[c], offset[c // per_group]
        for tap in range(y.shape[1]):
            row, column = tap // table[KERNEL, _W], tap % table[KERNEL, _W]
            down, right, out = moves[tap, 0], moves[tap, 1], y[c, tap]
            for place in range(out.size):
                v = number(_start(table, _H, place // across, row)) + down[place]
                u = number(_start(table, _W, place % across, column)) + right[place]
                value = zero
                if _inside(v, u, height, width):
                    top, below, p = _near(v, height, x)
                    left, after, q = _near(u, width, x)
                    a = (one - q) * plane[top, left] + q * plane[top, after]
                    b = (one - q) * plane[below, left] + q * plane[below, after]
                    value = (one - p) * a + p * b
                out[place] = value


@kernel()
def _fold_moved(
    x: Any, offset: Any, dy: Any, table: Any, doffset: Any, dx: Any, image: Any
) -> None:
    """The way back; dx has no channels where it is not wanted, else it gets zeros first."""
    number = x.dtype.type
    one = number(1)
    height, width = table[IMAGE, _H], table[IMAGE, _W]
    across = table[OUT, _W]
    per_group = x.shape[0] // offset.shape[0]
    for g in range(doffset.shape[0]):
        for tap in range(doffset.shape[1]):
            for k in range(2):
                for place in range(doffset.shape[3]):
                    doffset[g, tap, k, place] = 0
    if image:
        for c in range(dx.shape[0]):
            for i in range(height):
                for j in range(width):
                    dx[c, i, j] = 0
    for c in range(x.shape[0]):
        plane, moves, slopes = x[c], offset[c // per_group], doffset[c // per_group]
        for tap in range(dy.shape[1]):
            row, column = tap // table[KERNEL, _W], tap % table[KERNEL, _W]
            down, right = moves[tap, 0], moves[tap, 1]
            for place in range(dy.shape[2]):
                v = number(_start(table, _H, place // across, row)) + down[place]
                u = number(_start(table, _W, place % across, column)) + right[place]
                if not _inside(v, u, height, width):
                    continue
                top, below, p = _near(v, height, x)
                left, after, q = _near(u, width, x)
                g = dy[c, tap, place]
                above, under = plane[top], plane[below]
                rise = (one - q) * (under[left] - above[left]) + q * (under[after] - above[after])
                run = (one - p) * (above[after] - above[left]) + p * (under[after] - under[left])
                slopes[tap, 0, place] += g * rise
                slopes[tap, 1, place] += g * run
                if image:
                    dx[c, top, left] += g * (one - p) * (one - q)
                    dx[c, top, after] += g * (one - p) * q
                    dx[c, below, left] += g * p * (one - q)
                    dx[c, below, after] += g * p * q


def launch_unfold_moved(x: Array, offset: Array, table: Array, y: Array) -> Launch:
    """y (C, taps, places) = the moved elements of all windows of one image x (C, H, W)."""
    return _unfold_moved(x, offset, table, y)


def launch_fold_moved(
    x: Array, offset: Array, dy: Array, table: Array, doffset: Array, dx: Array | None
) -> Launch:
    """The gradients of launch_unfold_moved; those of the image only where they are wanted."""
    wanted = dx is not None
    return _fold_moved(x, offset, dy, table, doffset, dx if dx is not None else x, wanted)
