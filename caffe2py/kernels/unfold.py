"""Windows laid out one after another, and filters of their own for every place of a window.

Images of either order are seen as flat: element (channel, pixel) is at channel * c_step + pixel *
p_step. `table` is that of window.Window: sizes along three axes.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from caffe2py.kernels.jit import kernel
from caffe2py.kernels.window import BEGIN, DILATION, IMAGE, KERNEL, OUT, STRIDE
from caffe2py.registry.context import Launch
from caffe2py.tensor.tensor import Array


def pixel_of(table: Any, place: Any, tap: Any) -> Any:
    """The pixel under element `tap` of the window at `place`, or -1 outside of the image."""
    pixel = 0
    for axis in range(3):
        inner_place, inner_tap = 1, 1
        for k in range(axis + 1, 3):
            inner_place *= table[OUT, k]
            inner_tap *= table[KERNEL, k]
        at = place // inner_place % table[OUT, axis] * table[STRIDE, axis] - table[BEGIN, axis]
        at += tap // inner_tap % table[KERNEL, axis] * table[DILATION, axis]
        if not 0 <= at < table[IMAGE, axis]:
            return -1
        pixel = pixel * table[IMAGE, axis] + at
    return pixel


def count(table: Any, row: Any) -> Any:
    """The product of a row: pixels, places or taps."""
    return table[row, 0] * table[row, 1] * table[row, 2]


# ---------------------------------------------------------------- windows one after another


@kernel()
def _unfold(x: Any, table: Any, last: Any, y: Any) -> None:
    """y (N, C, taps, places), or (N, places, taps, C) with `last`, from x (N, C, pixels)."""
    places, taps = count(table, OUT), count(table, KERNEL)
    for n in range(x.shape[0]):
        for place in range(places):
            for tap in range(taps):
                pixel = pixel_of(table, place, tap)
                channels = x.shape[2] if last else x.shape[1]
                for c in range(channels):
                    value = x.dtype.type(0)
                    if pixel >= 0:
                        value = x[n, pixel, c] if last else x[n, c, pixel]
                    if last:
                        y[n, place, tap, c] = value
                    else:
                        y[n, c, tap, place] = value


@kernel()
def _fold(y: Any, table: Any, last: Any, x: Any) -> None:
    """The way back: each pixel is the sum of what was taken from it."""
    places, taps = count(table, OUT), count(table, KERNEL)
    channels = x.shape[2] if last else x.shape[1]
    for n in range(x.shape[0]):
        for a in range(x.shape[1]):
            for b in range(x.shape[2]):
                x[n, a, b] = 0
        for place in range(places):
            for tap in range(taps):
                pixel = pixel_of(table, place, tap)
                if pixel < 0:
                    continue
                for c in range(channels):
                    if last:
                        x[n, pixel, c] += y[n, place, tap, c]
                    else:
                        x[n, c, pixel] += y[n, c, tap, place]


_unfold.form_from("windows", "unfold")
_fold.form_from("windows", "fold")


def _as_planes(x: Array, last: bool) -> Array:
    batch = x.shape[0]
    if last:
        return x.reshape(batch, int(np.prod(x.shape[1:-1])), x.shape[-1])
    return x.reshape(batch, x.shape[1], int(np.prod(x.shape[2:])))


def _as_windows(y: Array, channels: int, table: Array, last: bool) -> Array:
    taps, places = int(table[KERNEL].prod()), int(table[OUT].prod())
    inner = (places, taps, channels) if last else (channels, taps, places)
    return y.reshape(y.shape[0], *inner)


def launch_unfold(x: Array, table: Array, last: bool, y: Array) -> Launch:
    """y = the elements of each window of x, 0 outside.

    It is (N, C * taps, places), or (N, places, taps * C) with `last`.
    """
    planes = _as_planes(x, last)
    channels = planes.shape[2] if last else planes.shape[1]
    return _unfold(planes, table, last, _as_windows(y, channels, table, last))


def launch_fold(y: Array, table: Array, last: bool, x: Array) -> Launch:
    """x = for each pixel the sum of the elements of y that `launch_unfold` takes from it."""
    planes = _as_planes(x, last)
    channels = planes.shape[2] if last else planes.shape[1]
    return _fold(_as_windows(y, channels, table, last), table, last, planes)


# ---------------------------------------------------------------- filters for each place

#: Steps of a channel and of a pixel, in X and in Y; of a channel and of a tap in the filter;
#: groups, channels and filters of a group.
_X_C, _X_P, _Y_C, _Y_P, _W_C, _W_T, _GROUPS, _CHANNELS, _FILTERS = range(9)


def local_result(
    image: Any, w: Any, bias: Any, table: Any, numbers: Any, place: Any, m: Any
) -> Any:
    """What filter m gives at a place of an image."""
    taps, channels = count(table, KERNEL), numbers[_CHANNELS]
    total_filters = numbers[_FILTERS] * numbers[_GROUPS]
    first = m // numbers[_FILTERS] * channels
    at = (place * total_filters + m) * channels * taps
    total = bias[place * total_filters + m] if bias.size > 0 else image.dtype.type(0)
    for tap in range(taps):
        pixel = pixel_of(table, place, tap)
        if pixel < 0:
            continue
        for c in range(channels):
            value = image[(first + c) * numbers[_X_C] + pixel * numbers[_X_P]]
            total += value * w[at + c * numbers[_W_C] + tap * numbers[_W_T]]
    return total


@kernel()
def _local(x: Any, w: Any, bias: Any, table: Any, numbers: Any, y: Any) -> None:
    for n in range(x.shape[0]):
        image, out = x[n], y[n]
        for place in range(count(table, OUT)):
            for m in range(numbers[_FILTERS] * numbers[_GROUPS]):
                at = m * numbers[_Y_C] + place * numbers[_Y_P]
                out[at] = local_result(image, w, bias, table, numbers, place, m)


@kernel()
def _local_gradient(
    x: Any, w: Any, dy: Any, table: Any, numbers: Any, dw: Any, db: Any, dx: Any
) -> None:
    places, taps = count(table, OUT), count(table, KERNEL)
    channels, filters = numbers[_CHANNELS], numbers[_FILTERS]
    total_filters = filters * numbers[_GROUPS]
    dw[:] = 0
    db[:] = 0
    for n in range(x.shape[0]):
        image, out = x[n], dy[n]
        if dx.shape[0] > 0:
            dx[n, :] = 0
        for place in range(places):
            for m in range(total_filters):
                first = m // filters * channels
                at = (place * total_filters + m) * channels * taps
                slope = out[m * numbers[_Y_C] + place * numbers[_Y_P]]
                if db.size > 0:
                    db[place * total_filters + m] += slope
                for tap in range(taps):
                    pixel = pixel_of(table, place, tap)
                    if pixel < 0:
                        continue
                    for c in range(channels):
                        i = (first + c) * numbers[_X_C] + pixel * numbers[_X_P]
                        k = at + c * numbers[_W_C] + tap * numbers[_W_T]
                        dw[k] += slope * image[i]
                        if dx.shape[0] > 0:
                            dx[n, i] += slope * w[k]


_local.form_from("windows", "local")
_local_gradient.form_from("windows", "local_gradient")


def _numbers(shape: tuple[int, ...], table: Array, groups: int, filters: int, last: bool) -> Array:
    channels = shape[-1] if last else shape[1]
    pixels, places, taps = (int(table[row].prod()) for row in (IMAGE, OUT, KERNEL))
    per_group = channels // groups
    steps = [1, channels, 1, filters, 1, per_group] if last else [pixels, 1, places, 1, taps, 1]
    return np.array([*steps, groups, per_group, filters // groups], np.int64)


def _by_image(x: Array) -> Array:
    return x.reshape(x.shape[0], int(np.prod(x.shape[1:])))


def launch_local(
    x: Array, w: Array, bias: Array | None, table: Array, groups: int, last: bool, y: Array
) -> Launch:
    """Y = X correlated with a filter for each place, plus a bias for each place and filter.

    X is (N, C, *image), w (*places, M, C / groups, *taps), bias (*places, M), Y (N, M, *places);
    with `last` channels come last in all but the bias.
    """
    filters = y.shape[-1] if last else y.shape[1]
    numbers = _numbers(x.shape, table, groups, filters, last)
    offset = np.zeros(0, x.dtype) if bias is None else bias.reshape(-1)
    return _local(_by_image(x), w.reshape(-1), offset, table, numbers, _by_image(y))


def launch_local_gradient(
    inputs: tuple[Array, Array, Array],
    table: Array,
    groups: int,
    last: bool,
    dw: Array,
    db: Array | None,
    dx: Array | None,
) -> Launch:
    """The gradients of `launch_local`; inputs are x, w and dy."""
    x, w, dy = inputs
    filters = dy.shape[-1] if last else dy.shape[1]
    numbers = _numbers(x.shape, table, groups, filters, last)
    none = np.zeros(0, x.dtype)
    return _local_gradient(
        _by_image(x),
        w.reshape(-1),
        _by_image(dy),
        table,
        numbers,
        dw.reshape(-1),
        none if db is None else db.reshape(-1),
        none.reshape(0, 1) if dx is None else _by_image(dx),
    )
