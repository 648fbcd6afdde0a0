"""Windows of moved elements on devices: kernels.deform's, and the way back to the image.

Many places may take from one pixel. So that its gradient is summed in an order of its own, the
corners of all places are sorted by pixel, and each pixel adds up those that are its own.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from caffe2py.kernels.cuda.form import device_kernel
from caffe2py.kernels.cuda.maps import blocks_for
from caffe2py.kernels.cuda.sorting import launch_order
from caffe2py.kernels.cuda.threads import cuda
from caffe2py.kernels.deform import corners_of
from caffe2py.registry.context import Call, Launch
from caffe2py.tensor.tensor import Array


def _unfold_moved(x: Any, offset: Any, table: Any, corners: Any, parts: Any, y: Any) -> None:
    one = x.dtype.type(1)
    per_group, taps, places = x.shape[0] // offset.shape[0], y.shape[1], y.shape[2]
    for k in range(cuda.grid(1), y.size, cuda.gridsize(1)):
        c, tap, place = k // (taps * places), k // places % taps, k % places
        i, j, m, n, p, q = corners_of(offset[c // per_group], table, tap, place)
        value = x.dtype.type(0)
        if i >= 0:
            a = (one - q) * x[c, i] + q * x[c, j]
            b = (one - q) * x[c, m] + q * x[c, n]
            value = (one - p) * a + p * b
        y[c, tap, place] = value


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
    """The gradient of the offsets; that of the image is `launch_image_gradient`'s."""
    one = x.dtype.type(1)
    per_group, taps, places = x.shape[0] // offset.shape[0], dy.shape[1], dy.shape[2]
    for e in range(cuda.grid(1), offset.shape[0] * taps * places, cuda.gridsize(1)):
        group, tap, place = e // (taps * places), e // places % taps, e % places
        i, j, k, m, p, q = corners_of(offset[group], table, tap, place)
        down, right = x.dtype.type(0), x.dtype.type(0)
        if i >= 0:
            for c in range(group * per_group, (group + 1) * per_group):
                g = dy[c, tap, place]
                rise = (one - q) * (x[c, k] - x[c, i]) + q * (x[c, m] - x[c, j])
                run = (one - p) * (x[c, j] - x[c, i]) + p * (x[c, m] - x[c, k])
                down += g * rise
                right += g * run
        doffset[group, tap, 0, place] = down
        doffset[group, tap, 1, place] = right


unfold_moved = _unfold_moved, lambda x, offset, table, corners, parts, y: blocks_for(y)
fold_moved = _fold_moved, lambda *args: blocks_for(args[6])


@device_kernel(lambda moves, table, pixels, keys: blocks_for(keys))
def _pixels_taken(moves: Any, table: Any, pixels: int, keys: Any) -> None:
    """keys[tap, place, corner] = the pixel there; `pixels` where there is none."""
    places = keys.shape[1]
    for e in range(cuda.grid(1), keys.shape[0] * places, cuda.gridsize(1)):
        tap, place = e // places, e % places
        i, j, k, m, _p, _q = corners_of(moves, table, tap, place)
        keys[tap, place, 0] = pixels if i < 0 else i
        keys[tap, place, 1] = pixels if i < 0 else j
        keys[tap, place, 2] = pixels if i < 0 else k
        keys[tap, place, 3] = pixels if i < 0 else m


@device_kernel(lambda moves, dy, table, keys, order, dx: blocks_for(dx))
def _gather_slopes(moves: Any, dy: Any, table: Any, keys: Any, order: Any, dx: Any) -> None:
    """dx[c, pixel] = the slopes of all corners that lie there, by their shares."""
    one, places = dx.dtype.type(1), dy.shape[2]
    for e in range(cuda.grid(1), dx.size, cuda.gridsize(1)):
        c, pixel = e // dx.shape[1], e % dx.shape[1]
        first, end = 0, order.size
        while first < end:
            middle = (first + end) // 2
            if keys[order[middle]] < pixel:
                first = middle + 1
            else:
                end = middle
        total = dx.dtype.type(0)
        while first < order.size and keys[order[first]] == pixel:
            item = order[first]
            tap, place, corner = item // 4 // places, item // 4 % places, item % 4
            _i, _j, _k, _m, p, q = corners_of(moves, table, tap, place)
            down = p if corner >= 2 else one - p
            right = q if corner % 2 == 1 else one - q
            total += dy[c, tap, place] * down * right
            first += 1
        dx[c, pixel] = total


def launch_image_gradient(
    call: Call, offset: Array, dy: Array, table: Array, dx: Array
) -> list[Launch]:
    """dx (C, pixels) from the slopes of the moved elements, dy (C, taps, places)."""
    groups, taps, places = offset.shape[0], dy.shape[1], dy.shape[2]
    pixels, per_group = dx.shape[1], dx.shape[0] // groups
    items = 4 * taps * places
    keys = call.scratch((items,), np.dtype(np.int64), brief=True)
    order = call.scratch((items,), np.dtype(np.int64), brief=True)
    launches: list[Launch] = []
    for g in range(groups):
        own = slice(g * per_group, (g + 1) * per_group)
        launches.append(_pixels_taken(offset[g], table, pixels, keys.reshape(taps, places, 4)))
        launches += launch_order(keys, pixels + 1, order)
        launches.append(_gather_slopes(offset[g], dy[own], table, keys, order, dx[own]))
    return launches
