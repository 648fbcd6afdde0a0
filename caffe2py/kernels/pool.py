"""Pooling: the maximum or the mean of the elements in a sliding window, and the way back.

Images of either order are seen as rows: with the channels first an image is a plane of its own and
a pixel one element; with the channels last a pixel is `width` neighbouring elements. A window is
folded along the rows of the image first, whole rows at a time, then along the one row that is left.
That row lies in a scratch line that is wide enough for all windows, pads included.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from caffe2py.kernels.jit import kernel
from caffe2py.kernels.parallel import by_rows, is_on_device, moving, split
from caffe2py.kernels.params import Intrinsic
from caffe2py.kernels.pool_each import PoolEach
from caffe2py.kernels.square_pool import is_square, launch_square_max
from caffe2py.kernels.whole_pool import (
    launch_whole_max,
    launch_whole_max_gradient,
    launch_whole_mean,
    launch_whole_mean_gradient,
)
from caffe2py.kernels.window import BEGIN, IMAGE, KERNEL, OUT, STRIDE, Window
from caffe2py.registry.context import Call, Launch
from caffe2py.tensor.tensor import Array

#: The last spatial axis, that of a row.
_ROW = 2

#: What kernels know of a row. In elements: its length, how many of y's belong to windows that begin
#: within the image, where in the line the image begins, and where the first window; in pixels the
#: stride and size of windows; the elements of a pixel; the rows of a slice, and of a plane.
_LENGTH, _LIVE, _LEAD, _FIRST, _STRIDE, _SIZE, _WIDTH, _HEIGHT, _PLANE = range(9)

#: credit(x, y, dy, at, windows, rows, size, begin, dx): for a row x of an image, under `rows` rows
#: of windows 1 or 2 apart whose first elements are y[at] and dy[at], dx[i] = the sum of dy[o] over
#: the windows o around i whose y[o] is x[i]. The first window of a row begins at -begin.
_CREDIT = ("emit.py", "emit_winograd.py", "emit_rows.py")
credit1, credit2 = Intrinsic("credit1", _CREDIT), Intrinsic("credit2", _CREDIT)


def _larger(a: Any, b: Any) -> Any:
    """The larger one; NaN if one is. In this form it takes two instructions of a vector unit."""
    most = a if a > b else b
    return most if a == a else a


def _plus(a: Any, b: Any) -> Any:
    return a + b


# ---------------------------------------------------------------- folding


def _fold(source: Any, step: Any, count: Any, combine: Any, begun: Any, out: Any) -> None:
    """out[j] = source[k * step + j] combined over k in range(count), and out[j] if `begun`."""
    done = 0
    if not begun:
        done = 1
        if count > 2:  # three at once: windows of 3 are the most frequent ones
            b, c = source[step:], source[2 * step :]
            for j in range(out.size):
                out[j] = combine(combine(source[j], b[j]), c[j])
            done = 3
        else:
            for j in range(out.size):
                out[j] = source[j]
    for k in range(done, count):
        b = source[k * step :]
        for j in range(out.size):
            out[j] = combine(out[j], b[j])


def _fold_narrow(line: Any, stride: Any, size: Any, combine: Any, y: Any) -> None:
    """y[o] = line[o * stride + k] combined over k in range(size)."""
    if stride == 2 and size == 3:  # literal strides, so that the compiler can use shuffles
        for o in range(y.size):
            y[o] = combine(combine(line[2 * o], line[2 * o + 1]), line[2 * o + 2])
    elif stride == 2 and size == 2:
        for o in range(y.size):
            y[o] = combine(line[2 * o], line[2 * o + 1])
    else:
        for o in range(y.size):
            part = line[o * stride :]
            total = part[0]
            for k in range(1, size):
                total = combine(total, part[k])
            y[o] = total


def _fold_window(
    x: Any, line: Any, at: Any, deep: Any, high: Any, row: Any, combine: Any, out: Any
) -> None:
    """The windows of one row, over the spans `deep` and `high` of the plane at x[at]."""
    length, first = row[_LENGTH], line[row[_FIRST] :]
    stride, size, width = row[_STRIDE], row[_SIZE], row[_WIDTH]
    middle = line[row[_LEAD] : row[_LEAD] + length]
    for d in range(deep[0], deep[1]):
        top = x[(at + d * row[_HEIGHT] + high[0]) * length :]
        _fold(top, length, high[1] - high[0], combine, d > deep[0], middle)
    if width == 1 and (stride > 1 or out.size == 1):
        _fold_narrow(first, stride, size, combine, out)
        return
    chunk = out.size if stride == 1 else width  # at stride 1 all windows are one wide pixel
    for o in range(out.size // chunk):
        pixel = out[o * chunk : (o + 1) * chunk]
        _fold(first[o * stride * width :], width, size, combine, False, pixel)


def _live(deep: Any, high: Any, row: Any) -> Any:
    """How many elements of a row of windows are over some of the image; the others are 0."""
    return row[_LIVE] if deep[1] > deep[0] and high[1] > high[0] else 0


@kernel()
def _max_pool(x: Any, y: Any, depths: Any, heights: Any, row: Any, line: Any) -> None:
    """All of x, in a row, to y (planes, OD, OH, OW * width)."""
    for j in range(line.size):
        line[j] = -np.inf
    for p in range(y.shape[0]):
        for d in range(y.shape[1]):
            for h in range(y.shape[2]):
                deep, high, out = depths[d], heights[h], y[p, d, h]
                live = _live(deep, high, row)
                if live > 0:
                    _fold_window(x, line, p * row[_PLANE], deep, high, row, _larger, out[:live])
                for j in range(live, out.size):
                    out[j] = 0


@kernel("reassoc")
def _average_pool(
    x: Any, y: Any, depths: Any, heights: Any, row: Any, line: Any, counts: Any, rows: Any
) -> None:
    """All of x, in a row, to y (planes, OD, OH, OW * width), and divided; see `_divide`."""
    for j in range(line.size):
        line[j] = 0
    for p in range(y.shape[0]):
        for d in range(y.shape[1]):
            for h in range(y.shape[2]):
                deep, high, out = depths[d], heights[h], y[p, d, h]
                live = _live(deep, high, row)
                if live > 0:
                    _fold_window(x, line, p * row[_PLANE], deep, high, row, _plus, out[:live])
                    _divide(out[:live], deep, high, counts, rows, row[_WIDTH])
                for j in range(live, out.size):
                    out[j] = 0


def _divide(y: Any, deep: Any, high: Any, counts: Any, rows: Any, width: Any) -> None:
    """y[o, c] /= counts[o] * rows; if `rows` is 0 those of the spans within the image count."""
    number = (deep[1] - deep[0]) * (high[1] - high[0]) if rows == 0 else rows
    height = y.dtype.type(number)
    if width == 1:
        for o in range(y.size):
            y[o] /= counts[o] * height
        return
    for o in range(y.size // width):
        part = y[o * width : (o + 1) * width]
        count = counts[o] * height
        for c in range(width):
            part[c] /= count


# ---------------------------------------------------------------- gradients


@kernel()
def _max_pool_gradient(
    x: Any, y: Any, dy: Any, depths: Any, heights: Any, widths: Any, width: Any, dx: Any
) -> None:
    """dx[i] += dy[o] wherever x[i], under the window o, is y[o]."""
    zero = x.dtype.type(0)
    for p in range(x.shape[0]):
        for d in range(x.shape[1]):
            for h in range(x.shape[2]):
                for j in range(dx.shape[3]):
                    dx[p, d, h, j] = zero
        for d in range(y.shape[1]):
            for h in range(y.shape[2]):
                for i in range(depths[d, 0], depths[d, 1]):
                    for j in range(heights[h, 0], heights[h, 1]):
                        _credit(x[p, i, j], y[p, d, h], dy[p, d, h], widths, width, dx[p, i, j])


def _credit(x: Any, y: Any, dy: Any, widths: Any, width: Any, dx: Any) -> None:
    """One row of the image under one row of windows."""
    zero = x.dtype.type(0)
    for o in range(widths.shape[0]):
        if width == 1:
            top = y[o]
            share = dy[o]
            for k in range(widths[o, 0], widths[o, 1]):
                dx[k] += share if x[k] == top else zero  # a branch would be guessed wrongly
        else:
            tops, shares = y[o * width : (o + 1) * width], dy[o * width : (o + 1) * width]
            for k in range(widths[o, 0], widths[o, 1]):
                pixel, target = x[k * width : (k + 1) * width], dx[k * width : (k + 1) * width]
                for c in range(width):
                    target[c] += shares[c] if pixel[c] == tops[c] else zero


@kernel()
def _max_pool_row_gradient(
    x: Any,
    y: Any,
    dy: Any,
    heights: Any,
    stride: int,
    size: int,
    begin: int,
    windows: int,
    dx: Any,
) -> None:
    """The same for pixels of one element and windows 1 or 2 apart: row after row of the image.

    `heights` are the first window over each row and the one past the last; y and dy are flat.
    Images are planes: their depth is 1.
    """
    high = y.size // max(x.shape[0] * windows, 1)
    for p in range(x.shape[0]):
        for j in range(x.shape[2]):
            rows, at = heights[j, 1] - heights[j, 0], (p * high + heights[j, 0]) * windows
            source, target = x[p, 0, j], dx[p, 0, j]
            if stride == 1:
                credit1(source, y, dy, at, windows, rows, size, begin, target)
            else:
                credit2(source, y, dy, at, windows, rows, size, begin, target)


def _join_phases(phases: Any, stride: Any, length: Any, line: Any) -> None:
    """line[t * stride + f] = phases[f * length + t]"""
    if stride == 2:
        odd = phases[length:]
        for t in range(length):
            line[2 * t] = phases[t]
            line[2 * t + 1] = odd[t]
        return
    for f in range(stride):
        part, target = phases[f * length : (f + 1) * length], line[f:]
        for t in range(length):
            target[stride * t] = part[t]


@kernel()
def _average_pool_gradient(
    dy: Any,
    depths: Any,
    heights: Any,
    row: Any,
    line: Any,
    share: Any,
    phases: Any,
    counts: Any,
    rows: Any,
    dx: Any,
) -> None:
    """Each window's share of dy, spread along a line, then added to the rows under the window."""
    zero = dy.dtype.type(0)
    width, lead = row[_WIDTH], row[_LEAD]
    middle = line[lead : lead + dx.shape[3]]
    for p in range(dx.shape[0]):
        for d in range(dx.shape[1]):
            for h in range(dx.shape[2]):
                for j in range(dx.shape[3]):
                    dx[p, d, h, j] = zero
        for d in range(dy.shape[1]):
            for h in range(dy.shape[2]):
                deep, high = depths[d], heights[h]
                live = share[: _live(deep, high, row)]
                for j in range(live.size):
                    live[j] = dy[p, d, h, j]
                _divide(live, deep, high, counts, rows, width)
                for j in range(line.size):
                    line[j] = zero
                _spread(live, row[_STRIDE], row[_SIZE], width, phases, line[row[_FIRST] :])
                for i in range(deep[0], deep[1]):
                    for k in range(high[0], high[1]):
                        target = dx[p, i, k]
                        for j in range(middle.size):
                            target[j] += middle[j]


def _spread(share: Any, stride: Any, size: Any, width: Any, phases: Any, line: Any) -> None:
    """line[o * stride + k, c] += share[o, c] for k in range(size), from a line of zeros.

    Single elements at a stride are first added to `phases`, where neighbours stride along together.
    """
    if phases.size == 0:
        chunk = share.size if stride == 1 else width
        for k in range(size):
            for o in range(share.size // max(chunk, 1)):
                part, own = line[(o * stride + k) * width :], share[o * chunk : (o + 1) * chunk]
                for c in range(own.size):
                    part[c] += own[c]
        return
    length = phases.size // stride
    for j in range(phases.size):
        phases[j] = 0
    for k in range(size):
        part = phases[(k % stride) * length + k // stride :]
        for o in range(share.size):
            part[o] += share[o]
    _join_phases(phases, stride, length, line)


# ---------------------------------------------------------------- launching


@dataclass(frozen=True)
class _Geometry:
    """Spans of rows, what kernels know of a row, and what line a row of the image needs."""

    depths: Array
    heights: Array
    row: Array
    size: int
    dtype: Any

    def line(self, call: Call) -> Array:
        """A scratch line for one launch."""
        return call.scratch((self.size,), self.dtype)


class Pool:
    """Launches for one window on images of one shape."""

    def __init__(self, window: Window, shape: tuple[int, ...], *, last: bool) -> None:
        """`shape` is that of a batch of images, `last` says that their channels come last."""
        image = shape[1:-1] if last else shape[2:]
        self._table = window.table(image)
        self._width = shape[-1] if last else 1
        self._planes = shape[0] if last else shape[0] * shape[1]
        self._pixels = int(self._table[IMAGE].prod())
        self._spans = [self._axis_spans(axis) for axis in range(_ROW + 1)]
        self._each = PoolEach(self._table, self._width)
        names = ("image", "out", "size", "stride", "begin")
        rows = (IMAGE, OUT, KERNEL, STRIDE, BEGIN)
        self._row = {n: int(self._table[r, _ROW]) for n, r in zip(names, rows, strict=True)}

    def _axis_spans(self, axis: int) -> Array:
        """The first element and the one past the last of every window, within the image."""
        t = self._table[:, axis]
        start = np.arange(t[OUT]) * t[STRIDE] - t[BEGIN]
        stop = np.maximum(np.minimum(start + t[KERNEL], t[IMAGE]), start)
        spans: Array = np.maximum(np.stack([start, stop], axis=1), 0)
        return spans

    def _rows(self, array: Array, row: int) -> Array:
        """The array as (planes, depth, height, row of pixels)."""
        depth, height, pixels = (int(n) for n in self._table[row])
        return array.reshape(self._planes, depth, height, pixels * self._width)

    def _geometry(self, dtype: Any) -> _Geometry:
        r, width = self._row, self._width
        lead = max(r["begin"], 0)
        first = lead - r["begin"]
        spans = self._spans[_ROW]
        live = int(np.count_nonzero(spans[:, 1] > spans[:, 0]))
        depth, height, length = (int(n) for n in self._table[IMAGE])
        row = np.zeros(9, np.int64)
        row[[_LENGTH, _LIVE, _LEAD, _FIRST]] = np.array([length, live, lead, first]) * width
        row[[_STRIDE, _SIZE, _WIDTH]] = r["stride"], r["size"], width
        row[[_HEIGHT, _PLANE]] = height, depth * height
        reach = first + max((r["out"] - 1) * r["stride"] + r["size"], self._phases())
        size = max(reach, lead + r["image"]) * width
        return _Geometry(self._spans[0], self._spans[1], row, size, dtype)

    def _phases(self) -> int:
        """Elements of a row of windows, the image's split by their place in the stride."""
        r = self._row
        if self._width > 1 or r["stride"] == 1:
            return 0
        return r["stride"] * self._phase_length()

    def _phase_length(self) -> int:
        r = self._row
        return r["out"] + (r["size"] - 1) // r["stride"]

    def _counts(self, dtype: Any, *, include_pad: bool) -> tuple[Array, int]:
        """Elements of each window along a row, and the rows of every window; 0: as they come."""
        spans, kernel_ = self._spans[_ROW], self._table[KERNEL]
        if include_pad:
            return np.full(len(spans), kernel_[_ROW], dtype), int(kernel_[0] * kernel_[1])
        return (spans[:, 1] - spans[:, 0]).astype(dtype), 0

    def _whole(self) -> bool:
        """Whether the one window there is covers the image."""
        image = self._table[IMAGE]
        ends = zip(self._spans, image, strict=True)
        return all(len(s) == 1 and s[0, 0] == 0 and s[0, 1] == n for s, n in ends)

    def _plane_wise(self) -> bool:
        """Whether each plane has one window, all of it, and lies in one piece."""
        return self._width == 1 and self._whole()

    def _flat(self, array: Array) -> Array:
        """The array as (planes, pixels, width)."""
        return array.reshape(self._planes, self._pixels, self._width)

    def _divisor(self, dtype: Any, *, include_pad: bool) -> float:
        """What the sum of the whole image is divided by."""
        return float(self._table[KERNEL if include_pad else IMAGE].prod())

    def _around(self, axis: int) -> Array:
        """The first window over each element of an axis, and the one past the last."""
        places = np.arange(self._table[IMAGE, axis])
        spans = self._spans[axis]
        first = np.searchsorted(spans[:, 1], places, side="right")
        last = np.searchsorted(spans[:, 0], places, side="right")
        around: Array = np.stack([first, np.maximum(first, last)], axis=1)
        return around

    def launch_max(self, call: Call, x: Array, y: Array) -> list[Launch]:
        """y[o] = the largest element of window o; NaN if it holds one."""
        if is_on_device(x) and not self._plane_wise():
            return [self._each.launch_max(x, y)]
        if self._plane_wise():
            return [
                launch_whole_max(self._flat(x).reshape(self._planes, self._pixels), y.reshape(-1))
            ]
        if self._width == 1 and is_square(self._table, x.dtype):
            return launch_square_max(x, y, self._table, self._planes)
        geometry = self._geometry(x.dtype)

        def run(source: Array, target: Array, heights: Array) -> Launch:
            own = (geometry.depths, heights, geometry.row, geometry.line(call))
            return _max_pool(source, target, *own)

        return self._launch_folds(x, y, run)

    def _launch_folds(self, x: Array, y: Array, run: Callable[..., Launch]) -> list[Launch]:
        """run(x, y, spans of rows) for some planes each, or for some rows of the only one."""
        rows, heights = self._rows(y, OUT), self._spans[1]
        planes = x.reshape(self._planes, x.size // max(self._planes, 1))
        work = moving(x, y) + moving(y) * float(self._table[KERNEL].prod())

        def some_rows(first: int, end: int) -> Launch:
            return run(x.reshape(-1), rows[:, :, first:end], heights[first:end])

        def some_planes(first: int, end: int) -> Launch:
            return run(planes[first:end].reshape(-1), rows[first:end], heights)

        if rows.shape[:2] == (1, 1):
            return split(len(heights), work, some_rows)
        return split(self._planes, work, some_planes)

    def launch_average(self, call: Call, x: Array, y: Array, *, include_pad: bool) -> list[Launch]:
        """y[o] = the mean of window o; with `include_pad` padding counts as elements that are 0."""
        if is_on_device(x) and not self._plane_wise():
            return [self._each.launch_mean(x, y, include_pad=include_pad)]
        if self._plane_wise():
            divisor = self._divisor(x.dtype, include_pad=include_pad)
            return [
                launch_whole_mean(
                    self._flat(x).reshape(self._planes, self._pixels), divisor, y.reshape(-1)
                )
            ]
        geometry = self._geometry(x.dtype)
        counts = self._counts(x.dtype, include_pad=include_pad)

        def run(source: Array, target: Array, heights: Array) -> Launch:
            own = (geometry.depths, heights, geometry.row, geometry.line(call))
            return _average_pool(source, target, *own, *counts)

        return self._launch_folds(x, y, run)

    def launch_max_gradient(self, x: Array, y: Array, dy: Array, dx: Array) -> Launch:
        """dx[i] = sum of dy[o] over the windows o around i whose y[o] equals x[i]."""
        if is_on_device(x):
            return self._each.launch_max_gradient(x, y, dy, dx)
        if self._whole():
            own = (self._planes, self._width)
            tops, shares = y.reshape(own), dy.reshape(own)
            return launch_whole_max_gradient(self._flat(x), tops, shares, self._flat(dx))
        y, dy = self._rows(y, OUT), self._rows(dy, OUT)
        x, dx = self._rows(x, IMAGE), self._rows(dx, IMAGE)
        r = self._row
        flat = self._spans[0].tolist() == [[0, 1]]  # images and windows of depth 1
        if self._width > 1 or r["stride"] > 2 or r["begin"] < 0 or not flat or x.shape[1] > 1:
            fixed = (*self._spans, self._width)
            return by_rows(
                lambda a, b, db, da: _max_pool_gradient(a, b, db, *fixed, da),
                *(x, y, dy, dx),
                effort=float(self._table[KERNEL].prod()),
            )
        along = tuple(np.int64(n) for n in (r["stride"], r["size"], r["begin"], r["out"]))
        around = self._around(_ROW - 1)

        def run(a: Array, b: Array, db: Array, da: Array) -> Launch:
            return _max_pool_row_gradient(a, b.reshape(-1), db.reshape(-1), around, *along, da)

        return by_rows(run, x, y, dy, dx, effort=3)

    def launch_average_gradient(
        self, call: Call, dy: Array, dx: Array, *, include_pad: bool
    ) -> list[Launch]:
        """dx[i] = sum of dy[o] / count[o] over the windows o around i."""
        if is_on_device(dy):
            return [self._each.launch_mean_gradient(dy, dx, include_pad=include_pad)]
        if self._whole():
            divisor = self._divisor(dy.dtype, include_pad=include_pad)
            own = dy.reshape(self._planes, self._width)
            return [launch_whole_mean_gradient(own, divisor, self._flat(dx))]
        geometry = self._geometry(dy.dtype)
        counts = self._counts(dy.dtype, include_pad=include_pad)
        dy, dx = self._rows(dy, OUT), self._rows(dx, IMAGE)

        def part(first: int, end: int) -> Launch:
            share = call.scratch((self._row["out"] * self._width,), dy.dtype)
            phases = call.scratch((self._phases(),), dy.dtype)
            lines = (geometry.depths, geometry.heights, geometry.row, geometry.line(call))
            target = dx[first:end]
            return _average_pool_gradient(dy[first:end], *lines, share, phases, *counts, target)

        work = moving(dy, dx) + moving(dy) * float(self._table[KERNEL].prod())
        return split(self._planes, work, part)
