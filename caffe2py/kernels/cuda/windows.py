"""Windows laid out one after another, and filters for each place, on devices: kernels.unfold's."""

from __future__ import annotations

from typing import Any

from caffe2py.kernels.cuda.maps import blocks_for
from caffe2py.kernels.cuda.threads import cuda
from caffe2py.kernels.unfold import (
    _CHANNELS,
    _FILTERS,
    _GROUPS,
    _W_C,
    _W_T,
    _X_C,
    _X_P,
    _Y_C,
    _Y_P,
    count,
    local_result,
    pixel_of,
)
from caffe2py.kernels.window import BEGIN, DILATION, IMAGE, KERNEL, OUT, STRIDE


def _place_of(table: Any, pixel: Any, tap: Any) -> Any:
    """The place of the window whose element `tap` is that pixel, or -1 if there is none."""
    place = 0
    for axis in range(3):
        inner_pixel, inner_tap = 1, 1
        for k in range(axis + 1, 3):
            inner_pixel *= table[IMAGE, k]
            inner_tap *= table[KERNEL, k]
        at = pixel // inner_pixel % table[IMAGE, axis] + table[BEGIN, axis]
        at -= tap // inner_tap % table[KERNEL, axis] * table[DILATION, axis]
        if at < 0 or at % table[STRIDE, axis] > 0:
            return -1
        at //= table[STRIDE, axis]
        if at >= table[OUT, axis]:
            return -1
        place = place * table[OUT, axis] + at
    return place


def _unfold(x: Any, table: Any, last: Any, y: Any) -> None:
    places, taps = count(table, OUT), count(table, KERNEL)
    channels = x.shape[2] if last else x.shape[1]
    for i in range(cuda.grid(1), y.size, cuda.gridsize(1)):
        n, rest = i // (channels * taps * places), i % (channels * taps * places)
        if last:
            place, tap, c = rest // channels // taps, rest // channels % taps, rest % channels
        else:
            c, tap, place = rest // places // taps, rest // places % taps, rest % places
        pixel = pixel_of(table, place, tap)
        value = x.dtype.type(0)
        if pixel >= 0:
            value = x[n, pixel, c] if last else x[n, c, pixel]
        if last:
            y[n, place, tap, c] = value
        else:
            y[n, c, tap, place] = value


def _fold(y: Any, table: Any, last: Any, x: Any) -> None:
    taps = count(table, KERNEL)
    for i in range(cuda.grid(1), x.size, cuda.gridsize(1)):
        n, a, b = i // (x.shape[1] * x.shape[2]), i // x.shape[2] % x.shape[1], i % x.shape[2]
        c, pixel = (b, a) if last else (a, b)
        total = x.dtype.type(0)
        for tap in range(taps):
            place = _place_of(table, pixel, tap)
            if place >= 0:
                total += y[n, place, tap, c] if last else y[n, c, tap, place]
        x[n, a, b] = total


def _local(x: Any, w: Any, bias: Any, table: Any, numbers: Any, y: Any) -> None:
    places, filters = count(table, OUT), numbers[_FILTERS] * numbers[_GROUPS]
    for i in range(cuda.grid(1), y.size, cuda.gridsize(1)):
        n, m, place = i // (places * filters), i // places % filters, i % places
        y[n, m * numbers[_Y_C] + place * numbers[_Y_P]] = local_result(
            x[n], w, bias, table, numbers, place, m
        )


def _local_gradient(
    x: Any, w: Any, dy: Any, table: Any, numbers: Any, dw: Any, db: Any, dx: Any
) -> None:
    taps = count(table, KERNEL)
    channels, filters = numbers[_CHANNELS], numbers[_FILTERS]
    total_filters = filters * numbers[_GROUPS]
    for i in range(cuda.grid(1), dw.size, cuda.gridsize(1)):
        element = i % (channels * taps)
        place, m = i // (channels * taps) // total_filters, i // (channels * taps) % total_filters
        c, tap = element // numbers[_W_C] % channels, element // numbers[_W_T] % taps
        pixel, total = pixel_of(table, place, tap), dw.dtype.type(0)
        if pixel >= 0:
            at = (m // filters * channels + c) * numbers[_X_C] + pixel * numbers[_X_P]
            for n in range(x.shape[0]):
                total += dy[n, m * numbers[_Y_C] + place * numbers[_Y_P]] * x[n, at]
        dw[i] = total
    for i in range(cuda.grid(1), db.size, cuda.gridsize(1)):
        place, m = i // total_filters, i % total_filters
        total = db.dtype.type(0)
        for n in range(x.shape[0]):
            total += dy[n, m * numbers[_Y_C] + place * numbers[_Y_P]]
        db[i] = total
    pixels, deep = count(table, IMAGE), channels * numbers[_GROUPS]
    for i in range(cuda.grid(1), dx.shape[0] * pixels * deep, cuda.gridsize(1)):
        n, channel, pixel = i // (pixels * deep), i // pixels % deep, i % pixels
        g, c = channel // channels, channel % channels
        total = dx.dtype.type(0)
        for tap in range(taps):
            place = _place_of(table, pixel, tap)
            if place < 0:
                continue
            for m in range(g * filters, (g + 1) * filters):
                at = (place * total_filters + m) * channels * taps
                at += c * numbers[_W_C] + tap * numbers[_W_T]
                total += dy[n, m * numbers[_Y_C] + place * numbers[_Y_P]] * w[at]
        dx[n, channel * numbers[_X_C] + pixel * numbers[_X_P]] = total


unfold = _unfold, lambda x, table, last, y: blocks_for(y)
fold = _fold, lambda y, table, last, x: blocks_for(x)
local = _local, lambda x, w, bias, table, numbers, y: blocks_for(y)
local_gradient = (
    _local_gradient,
    lambda x, w, dy, table, numbers, dw, db, dx: blocks_for(dw, dx),
)
