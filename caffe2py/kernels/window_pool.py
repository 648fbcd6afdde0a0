"""Norms of sliding windows, and their largest elements together with their places.

Images are (planes, depth, height, width, inner): with the channels first there is a plane for each
channel and `inner` is 1, with the channels last `inner` counts them. Spans are the first element of
each window along an axis, within the image, and the one past its last.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from caffe2py.errors import Error, ShapeError, ValueRangeError
from caffe2py.kernels.jit import kernel
from caffe2py.kernels.parallel import by_rows, is_on_device
from caffe2py.kernels.pool_each import PoolEach, power_of
from caffe2py.kernels.window import AXES, BEGIN, IMAGE, KERNEL, OUT, STRIDE, Window
from caffe2py.registry.context import Launch
from caffe2py.tensor.tensor import Array


def _clear(images: Any) -> None:
    for p in range(images.shape[0]):
        for d in range(images.shape[1]):
            for h in range(images.shape[2]):
                for w in range(images.shape[3]):
                    for c in range(images.shape[4]):
                        images[p, d, h, w, c] = 0


# ---------------------------------------------------------------- norms


@kernel("reassoc")
def _norms(x: Any, power: Any, depths: Any, heights: Any, widths: Any, y: Any) -> None:
    one = x.dtype.type(1)
    _clear(y)
    for p in range(y.shape[0]):
        for d in range(y.shape[1]):
            for h in range(y.shape[2]):
                for w in range(y.shape[3]):
                    out = y[p, d, h, w]
                    for i in range(depths[d, 0], depths[d, 1]):
                        for j in range(heights[h, 0], heights[h, 1]):
                            for k in range(widths[w, 0], widths[w, 1]):
                                pixel = x[p, i, j, k]
                                for c in range(out.size):
                                    out[c] += power_of(abs(pixel[c]), power)
                    for c in range(out.size):
                        if out[c] > 0:  # a window outside of the image stays 0 for any power
                            out[c] = out[c] ** (one / power)


@kernel()
def _norms_gradient(
    x: Any, y: Any, dy: Any, power: Any, depths: Any, heights: Any, widths: Any, dx: Any
) -> None:
    """dx += dy * sign(x) * (|x| / y) ** (power - 1), which is 0 where x is 0."""
    one, zero = x.dtype.type(1), x.dtype.type(0)
    _clear(dx)
    for p in range(y.shape[0]):
        for d in range(y.shape[1]):
            for h in range(y.shape[2]):
                for w in range(y.shape[3]):
                    norm, slope = y[p, d, h, w], dy[p, d, h, w]
                    for i in range(depths[d, 0], depths[d, 1]):
                        for j in range(heights[h, 0], heights[h, 1]):
                            for k in range(widths[w, 0], widths[w, 1]):
                                pixel, target = x[p, i, j, k], dx[p, i, j, k]
                                for c in range(norm.size):
                                    if pixel[c] == 0:
                                        continue
                                    share = power_of(abs(pixel[c]) / norm[c], power - one)
                                    target[c] += slope[c] * (share if pixel[c] > zero else -share)


# ---------------------------------------------------------------- the largest and their places


@kernel()
def _largest(x: Any, depths: Any, heights: Any, widths: Any, y: Any, places: Any) -> None:
    for p in range(y.shape[0]):
        for d in range(y.shape[1]):
            for h in range(y.shape[2]):
                for w in range(y.shape[3]):
                    for c in range(y.shape[4]):
                        best, place = x.dtype.type(0), -1
                        for i in range(depths[d, 0], depths[d, 1]):
                            for j in range(heights[h, 0], heights[h, 1]):
                                for k in range(widths[w, 0], widths[w, 1]):
                                    value = x[p, i, j, k, c]
                                    if (
                                        place < 0
                                        or value > best
                                        or (value != value and best == best)
                                    ):
                                        best = value
                                        place = (i * x.shape[2] + j) * x.shape[3] + k
                        y[p, d, h, w, c] = best
                        places[p, d, h, w, c] = place


@kernel()
def _largest_gradient(dy: Any, places: Any, dx: Any) -> Any:
    """All three are (planes, pixels, inner)."""
    for p in range(dx.shape[0]):
        for i in range(dx.shape[1]):
            for c in range(dx.shape[2]):
                dx[p, i, c] = 0
        for o in range(dy.shape[1]):
            for c in range(dy.shape[2]):
                place = places[p, o, c]
                if place >= dx.shape[1]:
                    return 1
                if place >= 0:
                    dx[p, place, c] += dy[p, o, c]
    return 0


# ---------------------------------------------------------------- launching


class WindowPool:
    """Launches for one window on images of one shape."""

    def __init__(self, window: Window, shape: tuple[int, ...], *, last: bool) -> None:
        """`shape` is that of a batch of images, `last` says that their channels come last."""
        self._table = window.table(shape[1:-1] if last else shape[2:])
        self._planes = shape[0] if last else shape[0] * shape[1]
        self._inner = shape[-1] if last else 1
        self._spans = [self._axis(axis) for axis in range(AXES)]
        self._each = PoolEach(self._table, self._inner)

    def _axis(self, axis: int) -> Array:
        t = self._table[:, axis]
        start = np.arange(t[OUT]) * t[STRIDE] - t[BEGIN]
        spans = np.stack([start, start + t[KERNEL]], axis=1)
        clipped: Array = np.clip(spans, 0, t[IMAGE])
        return clipped

    def _pixels(self, array: Array, row: int) -> Array:
        return array.reshape(self._planes, *map(int, self._table[row]), self._inner)

    def _effort(self) -> float:
        """How long windows take, in times that it takes to read their images."""
        return 4.0 * float(self._table[KERNEL].prod())

    def _flat(self, array: Array, row: int) -> Array:
        return array.reshape(self._planes, int(self._table[row].prod()), self._inner)

    def launch_norms(self, x: Array, power: float, y: Array) -> Launch:
        """y[o] = (the sum of |x| ** power over window o) ** (1 / power)."""
        if is_on_device(x):
            return self._each.launch_norms(x, power, y)
        x, y = self._pixels(x, IMAGE), self._pixels(y, OUT)
        fixed = (x.dtype.type(power), *self._spans)
        return by_rows(lambda a, b: _norms(a, *fixed, b), x, y, effort=self._effort())

    def launch_norms_gradient(
        self, x: Array, y: Array, dy: Array, power: float, dx: Array
    ) -> Launch:
        """The way back of launch_norms."""
        if is_on_device(x):
            return self._each.launch_norms_gradient(x, y, dy, power, dx)
        x, dx = self._pixels(x, IMAGE), self._pixels(dx, IMAGE)
        y, dy = self._pixels(y, OUT), self._pixels(dy, OUT)
        fixed = (x.dtype.type(power), *self._spans)
        arrays = (x, y, dy, dx)
        return by_rows(
            lambda a, b, db, da: _norms_gradient(a, b, db, *fixed, da),
            *arrays,
            effort=self._effort(),
        )

    def launch_largest(self, x: Array, y: Array, places: Array) -> Launch:
        """y[o] = the first largest element of window o, places[o] (int32) its place in the plane.

        0 and -1 for a window outside of the image; ShapeError where places would not fit.
        """
        if int(self._table[IMAGE].prod()) >= 2**31:
            raise ShapeError("an image has too many pixels for places of 32 bits")
        if is_on_device(x):
            return self._each.launch_largest(x, y, places)
        out = self._pixels(y, OUT), self._pixels(places, OUT)
        spans = self._spans
        return by_rows(
            lambda a, b, at: _largest(a, *spans, b, at),
            self._pixels(x, IMAGE),
            *out,
            effort=self._effort(),
        )

    def launch_largest_gradient(self, dy: Array, places: Array, dx: Array) -> list[Launch]:
        """dx = dy at the places, added up; ValueRangeError for a place outside of the plane.

        A device also refuses places that are not in the window they belong to.
        """
        if is_on_device(dy):
            return self._each.launch_largest_gradient(dy, places, dx)

        def explain(status: int) -> Error:
            pixels = int(self._table[IMAGE].prod())
            return ValueRangeError(f"a place is {int(places.max())}, expected below {pixels}")

        flat = self._flat(dy, OUT), self._flat(places, OUT), self._flat(dx, IMAGE)
        return [by_rows(lambda *parts: _largest_gradient(*parts, explain=explain), *flat)]
