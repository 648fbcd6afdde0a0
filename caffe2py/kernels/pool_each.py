"""Pooling one element after another, in any order: how devices do it, a thread for each.

Images are seen as (planes, depth, height, width, inner), flat; with the channels first there is a
plane for each channel and `inner` is 1, with the channels last `inner` counts them. Gradients are
gathered: each element adds up what the windows around it give, in their order.

What windows there are is behind the other arguments, as numbers of their own, which devices read
where they need them: `t` are the sizes of images, the numbers of windows, sizes and steps of
windows and where the first one begins, for three axes each, as in the table of `Window.table`.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from caffe2py.errors import Error, ValueRangeError
from caffe2py.kernels.jit import Kernel, kernel
from caffe2py.kernels.parallel import divisible, moving
from caffe2py.kernels.window import BEGIN, IMAGE, KERNEL, OUT, STRIDE
from caffe2py.registry.context import Launch
from caffe2py.tensor.tensor import Array


def _split(at: Any, deep: Any, high: Any, wide: Any, inner: Any) -> Any:
    """Plane, place along each axis, and place within the pixel."""
    pixel = at // inner
    line = pixel // wide
    sheet = line // high
    p = sheet // deep
    return p, sheet - p * deep, line - sheet * high, pixel - line * wide, at - pixel * inner


def _under(o: Any, size: Any, kernel_: Any, step: Any, begin: Any) -> Any:
    """The first element of an axis under a window, and the one past its last."""
    start = o * step - begin
    return max(start, 0), min(start + kernel_, size)


def _around(i: Any, count: Any, kernel_: Any, step: Any, begin: Any) -> Any:
    """The first window over an element of an axis, and the one past the last."""
    at = i + begin
    return max((at - kernel_) // step + 1, 0), min(at // step + 1, count)


def _extent(o: Any, size: Any, kernel_: Any, step: Any, begin: Any) -> Any:
    """How many elements of an axis are under a window."""
    start, stop = _under(o, size, kernel_, step, begin)
    return stop - start


# ---------------------------------------------------------------- forward


@kernel()
def _max_each(x: Any, inner: Any, y: Any, first: Any, end: Any, *t: Any) -> None:
    for at in range(first, end):
        p, d, h, w, c = _split(at, t[3], t[4], t[5], inner)
        deep, deep_end = _under(d, t[0], t[6], t[9], t[12])
        high, high_end = _under(h, t[1], t[7], t[10], t[13])
        wide, wide_end = _under(w, t[2], t[8], t[11], t[14])
        best = x.dtype.type(-np.inf)
        found = False
        for i in range(deep, deep_end):
            for j in range(high, high_end):
                line = ((p * t[0] + i) * t[1] + j) * t[2]
                for k in range(wide, wide_end):
                    value = x[(line + k) * inner + c]
                    found = True
                    if value > best or value != value:
                        best = value
                    # a NaN stays: nothing compares larger than it
        y[at] = best if found else x.dtype.type(0)


@kernel()
def _mean_each(x: Any, inner: Any, divisor: Any, y: Any, first: Any, end: Any, *t: Any) -> None:
    """The divisor is that of all windows; 0: the number of elements that each one has."""
    for at in range(first, end):
        p, d, h, w, c = _split(at, t[3], t[4], t[5], inner)
        deep, deep_end = _under(d, t[0], t[6], t[9], t[12])
        high, high_end = _under(h, t[1], t[7], t[10], t[13])
        wide, wide_end = _under(w, t[2], t[8], t[11], t[14])
        total = x.dtype.type(0)
        for i in range(deep, deep_end):
            for j in range(high, high_end):
                line = ((p * t[0] + i) * t[1] + j) * t[2]
                for k in range(wide, wide_end):
                    total += x[(line + k) * inner + c]
        some = deep_end > deep and high_end > high and wide_end > wide
        by = divisor
        if divisor == 0 and some:
            count = (deep_end - deep) * (high_end - high) * (wide_end - wide)
            by = x.dtype.type(count)
        y[at] = total / by if some else x.dtype.type(0)


def power_of(magnitude: Any, exponent: Any) -> Any:
    """The power of a number of 0 or more, with the frequent exponents cheap."""
    if exponent == 2:
        return magnitude * magnitude
    if exponent == 1:
        return magnitude
    if exponent == 3:
        return magnitude * magnitude * magnitude
    return magnitude**exponent


@kernel()
def _norms_each(x: Any, inner: Any, power: Any, y: Any, first: Any, end: Any, *t: Any) -> None:
    one = x.dtype.type(1)
    for at in range(first, end):
        p, d, h, w, c = _split(at, t[3], t[4], t[5], inner)
        deep, deep_end = _under(d, t[0], t[6], t[9], t[12])
        high, high_end = _under(h, t[1], t[7], t[10], t[13])
        wide, wide_end = _under(w, t[2], t[8], t[11], t[14])
        total = x.dtype.type(0)
        for i in range(deep, deep_end):
            for j in range(high, high_end):
                line = ((p * t[0] + i) * t[1] + j) * t[2]
                for k in range(wide, wide_end):
                    total += power_of(abs(x[(line + k) * inner + c]), power)
        # a window outside of the image stays 0 for any power
        y[at] = total ** (one / power) if total > 0 else total


@kernel()
def _largest_each(x: Any, inner: Any, y: Any, places: Any, first: Any, end: Any, *t: Any) -> None:
    for at in range(first, end):
        p, d, h, w, c = _split(at, t[3], t[4], t[5], inner)
        deep, deep_end = _under(d, t[0], t[6], t[9], t[12])
        high, high_end = _under(h, t[1], t[7], t[10], t[13])
        wide, wide_end = _under(w, t[2], t[8], t[11], t[14])
        best, place = x.dtype.type(0), -1
        for i in range(deep, deep_end):
            for j in range(high, high_end):
                for k in range(wide, wide_end):
                    pixel = (i * t[1] + j) * t[2] + k
                    plane = p * t[0] * t[1] * t[2]
                    value = x[(plane + pixel) * inner + c]
                    if place < 0 or value > best or (value != value and best == best):
                        best, place = value, pixel
        y[at] = best
        places[at] = place


# ---------------------------------------------------------------- gradients


@kernel()
def _max_each_gradient(
    x: Any, y: Any, dy: Any, inner: Any, dx: Any, first: Any, end: Any, *t: Any
) -> None:
    for at in range(first, end):
        p, d, h, w, c = _split(at, t[0], t[1], t[2], inner)
        deep, deep_end = _around(d, t[3], t[6], t[9], t[12])
        high, high_end = _around(h, t[4], t[7], t[10], t[13])
        wide, wide_end = _around(w, t[5], t[8], t[11], t[14])
        own = x[at]
        total = x.dtype.type(0)
        for i in range(deep, deep_end):
            for j in range(high, high_end):
                line = ((p * t[3] + i) * t[4] + j) * t[5]
                for k in range(wide, wide_end):
                    o = (line + k) * inner + c
                    if y[o] == own:
                        total += dy[o]
        dx[at] = total


@kernel()
def _mean_each_gradient(
    dy: Any, inner: Any, divisor: Any, dx: Any, first: Any, end: Any, *t: Any
) -> None:
    for at in range(first, end):
        p, d, h, w, c = _split(at, t[0], t[1], t[2], inner)
        deep, deep_end = _around(d, t[3], t[6], t[9], t[12])
        high, high_end = _around(h, t[4], t[7], t[10], t[13])
        wide, wide_end = _around(w, t[5], t[8], t[11], t[14])
        total = dy.dtype.type(0)
        for i in range(deep, deep_end):
            for j in range(high, high_end):
                line = ((p * t[3] + i) * t[4] + j) * t[5]
                for k in range(wide, wide_end):
                    by = divisor
                    if divisor == 0:
                        count = _extent(i, t[0], t[6], t[9], t[12])
                        count *= _extent(j, t[1], t[7], t[10], t[13])
                        count *= _extent(k, t[2], t[8], t[11], t[14])
                        by = dy.dtype.type(count)
                    total += dy[(line + k) * inner + c] / by
        dx[at] = total


@kernel()
def _norms_each_gradient(
    x: Any, y: Any, dy: Any, inner: Any, power: Any, dx: Any, first: Any, end: Any, *t: Any
) -> None:
    one, zero = x.dtype.type(1), x.dtype.type(0)
    for at in range(first, end):
        p, d, h, w, c = _split(at, t[0], t[1], t[2], inner)
        deep, deep_end = _around(d, t[3], t[6], t[9], t[12])
        high, high_end = _around(h, t[4], t[7], t[10], t[13])
        wide, wide_end = _around(w, t[5], t[8], t[11], t[14])
        own = x[at]
        total = zero
        if own == 0:
            deep_end = deep
        for i in range(deep, deep_end):
            for j in range(high, high_end):
                line = ((p * t[3] + i) * t[4] + j) * t[5]
                for k in range(wide, wide_end):
                    o = (line + k) * inner + c
                    share = power_of(abs(own) / y[o], power - one)
                    total += dy[o] * (share if own > zero else -share)
        dx[at] = total


_OUTSIDE, _ELSEWHERE = 1, 2


@kernel()
def _check_places(places: Any, inner: Any, first: Any, end: Any, *t: Any) -> Any:
    """Status 1: a place outside of the plane; 2: one that is not in its window."""
    for at in range(first, end):
        place = np.int64(places[at])
        if place < 0:
            continue
        if place >= t[0] * t[1] * t[2]:
            return _OUTSIDE
        _, d, h, w, _ = _split(at, t[3], t[4], t[5], inner)
        _, i, j, k, _ = _split(place, t[0], t[1], t[2], 1)
        deep, deep_end = _under(d, t[0], t[6], t[9], t[12])
        high, high_end = _under(h, t[1], t[7], t[10], t[13])
        wide, wide_end = _under(w, t[2], t[8], t[11], t[14])
        inside = deep <= i < deep_end and high <= j < high_end and wide <= k < wide_end
        if not inside:
            return _ELSEWHERE
    return 0


@kernel()
def _largest_each_gradient(
    dy: Any, places: Any, inner: Any, dx: Any, first: Any, end: Any, *t: Any
) -> None:
    for at in range(first, end):
        p, d, h, w, c = _split(at, t[0], t[1], t[2], inner)
        deep, deep_end = _around(d, t[3], t[6], t[9], t[12])
        high, high_end = _around(h, t[4], t[7], t[10], t[13])
        wide, wide_end = _around(w, t[5], t[8], t[11], t[14])
        own = (d * t[1] + h) * t[2] + w
        total = dy.dtype.type(0)
        for i in range(deep, deep_end):
            for j in range(high, high_end):
                line = ((p * t[3] + i) * t[4] + j) * t[5]
                for k in range(wide, wide_end):
                    o = (line + k) * inner + c
                    if places[o] == own:
                        total += dy[o]
        dx[at] = total


# ---------------------------------------------------------------- launching


class PoolEach:
    """Launches for one window on images of one shape, all of them in any order."""

    def __init__(self, table: Array, inner: int) -> None:
        """`table` is that of Window.table, `inner` the elements of a pixel."""
        self._table, self._inner = table, inner
        rows = (IMAGE, OUT, KERNEL, STRIDE, BEGIN)
        self._numbers = tuple(int(n) for row in rows for n in table[row])

    def _launch(self, loop: Kernel, like: Array, *args: Any, explain: Any = None) -> Launch:
        """loop(*args, first, end, *numbers) for the elements of an array."""
        flat = tuple(a.reshape(-1) if hasattr(a, "reshape") and a.ndim > 2 else a for a in args)
        work = float(self._table[KERNEL].prod()) * moving(like)
        if explain is None:
            return divisible(
                like.size, work, lambda first, end: loop(*flat, first, end, *self._numbers)
            )
        return divisible(
            like.size,
            work,
            lambda first, end: loop(*flat, first, end, *self._numbers, explain=explain),
        )

    def launch_max(self, x: Array, y: Array) -> Launch:
        """y[o] = the largest element of window o; NaN if it holds one, 0 if it is empty."""
        return self._launch(_max_each, y, x, self._inner, y)

    def launch_mean(self, x: Array, y: Array, *, include_pad: bool) -> Launch:
        """y[o] = the mean of window o; with `include_pad` padding counts as elements that are 0."""
        return self._launch(_mean_each, y, x, self._inner, self._divisor(x, include_pad), y)

    def launch_norms(self, x: Array, power: float, y: Array) -> Launch:
        """y[o] = (the sum of |x| ** power over window o) ** (1 / power)."""
        return self._launch(_norms_each, y, x, self._inner, x.dtype.type(power), y)

    def launch_largest(self, x: Array, y: Array, places: Array) -> Launch:
        """y[o] = the first largest element of window o, places[o] its place in the plane."""
        return self._launch(_largest_each, y, x, self._inner, y, places)

    def launch_max_gradient(self, x: Array, y: Array, dy: Array, dx: Array) -> Launch:
        """dx[i] = sum of dy[o] over the windows o around i whose y[o] equals x[i]."""
        return self._launch(_max_each_gradient, dx, x, y, dy, self._inner, dx)

    def launch_mean_gradient(self, dy: Array, dx: Array, *, include_pad: bool) -> Launch:
        """dx[i] = sum of dy[o] / count[o] over the windows o around i."""
        divisor = self._divisor(dy, include_pad)
        return self._launch(_mean_each_gradient, dx, dy, self._inner, divisor, dx)

    def launch_norms_gradient(
        self, x: Array, y: Array, dy: Array, power: float, dx: Array
    ) -> Launch:
        """The way back of launch_norms."""
        number = x.dtype.type(power)
        return self._launch(_norms_each_gradient, dx, x, y, dy, self._inner, number, dx)

    def launch_largest_gradient(self, dy: Array, places: Array, dx: Array) -> list[Launch]:
        """dx = dy at the places, added up; ValueRangeError for one that is not in its window."""
        pixels = int(self._table[IMAGE].prod())

        def explain(status: int) -> Error:
            if status == _OUTSIDE:
                return ValueRangeError(f"a place is outside of the plane, expected below {pixels}")
            return ValueRangeError("a place is not in the window that it belongs to")

        return [
            self._launch(_check_places, dy, places, self._inner, explain=explain),
            self._launch(_largest_each_gradient, dx, dy, places, self._inner, dx),
        ]

    def _divisor(self, like: Array, include_pad: bool) -> Any:
        return like.dtype.type(self._table[KERNEL].prod() if include_pad else 0)
