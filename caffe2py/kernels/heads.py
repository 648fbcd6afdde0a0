"""Loops of detection heads: softmax in groups of channels, places in heat maps, chosen rows."""

from __future__ import annotations

from typing import Any

import numpy as np

from caffe2py.errors import Error, ValueRangeError
from caffe2py.kernels.copy import bits
from caffe2py.kernels.jit import kernel
from caffe2py.kernels.parallel import by_rows, is_on_device
from caffe2py.kernels.rows import largest
from caffe2py.kernels.vectormath import exp
from caffe2py.registry.context import Call, Launch
from caffe2py.tensor.late import late
from caffe2py.tensor.place import on_host
from caffe2py.tensor.tensor import Array

# ---------------------------------------------------------------- softmax of channels


@kernel("reassoc")
def _softmax(x: Any, line: Any, y: Any) -> None:
    """Over the middle axis; `line` holds the largest of each column, and its sum."""
    top, total = line[0], line[1]
    for n in range(x.shape[0]):
        for i in range(x.shape[2]):
            top[i] = x[n, 0, i]
            total[i] = 0
        for c in range(1, x.shape[1]):
            for i in range(x.shape[2]):
                top[i] = x[n, c, i] if x[n, c, i] > top[i] else top[i]
        for c in range(x.shape[1]):
            for i in range(x.shape[2]):
                y[n, c, i] = exp(x[n, c, i] - top[i])
                total[i] += y[n, c, i]
        for c in range(x.shape[1]):
            for i in range(x.shape[2]):
                y[n, c, i] /= total[i]


_softmax.form_from("heads", "softmax")


@kernel("reassoc")
def _softmax_gradient(y: Any, dy: Any, line: Any, dx: Any) -> None:
    total = line[0]
    for n in range(y.shape[0]):
        for i in range(y.shape[2]):
            total[i] = 0
        for c in range(y.shape[1]):
            for i in range(y.shape[2]):
                total[i] += y[n, c, i] * dy[n, c, i]
        for c in range(y.shape[1]):
            for i in range(y.shape[2]):
                dx[n, c, i] = y[n, c, i] * (dy[n, c, i] - total[i])


_softmax_gradient.form_from("heads", "softmax_gradient")


def launch_middle_softmax(call: Call, x: Array, y: Array) -> Launch:
    """y = exp(x) / the sum of exp(x) over the middle one of three axes, which is not empty."""
    return _softmax(x, call.scratch((2, x.shape[2]), x.dtype), y)


def launch_middle_softmax_gradient(call: Call, y: Array, dy: Array, dx: Array) -> Launch:
    """dx = y * (dy - the sum of y * dy over the middle axis)."""
    return _softmax_gradient(y, dy, call.scratch((1, y.shape[2]), y.dtype), dx)


# ---------------------------------------------------------------- heat maps


def _mirrored(at: Any, size: Any) -> Any:
    """A place outside of an axis mirrored at its first or last element."""
    if at < 0:
        return at + 2
    return at - 2 if at >= size else at


def _peak(plane: Any, row: Any, column: Any) -> Any:
    """(down, right, score) of the extremum of the parabola through a place and its neighbours.

    At most one and a half places away; the place itself where there is no single extremum.
    """
    size = plane.shape[0]
    number = plane.dtype.type
    two, four = number(2), number(4)
    up, down = _mirrored(row - 1, size), _mirrored(row + 1, size)
    left, right = _mirrored(column - 1, size), _mirrored(column + 1, size)
    centre = plane[row, column]
    slope_x = (plane[row, right] - plane[row, left]) / two
    slope_y = (plane[down, column] - plane[up, column]) / two
    bend_x = plane[row, left] - two * centre + plane[row, right]
    bend_y = plane[up, column] - two * centre + plane[down, column]
    twist = plane[down, right] - plane[down, left] - plane[up, right] + plane[up, left]
    twist /= four
    determinant = bend_x * bend_y - twist * twist
    if not abs(determinant) >= number(1e-4):
        return number(0), number(0), centre
    x = (twist * slope_y - slope_x * bend_y) / determinant
    y = (twist * slope_x - slope_y * bend_x) / determinant
    far = max(abs(x), abs(y))
    if far > number(1.5):
        x *= number(1.5) / far
        y *= number(1.5) / far
    linear = slope_x * x + slope_y * y
    square = x * x * bend_x + two * x * y * twist + y * y * bend_y
    return y, x, centre + linear + square / two


def _best(plane: Any) -> Any:
    """Row and column of the first largest element; a NaN is passed over, except as the first."""
    row, column = 0, 0
    for i in range(plane.shape[0]):
        top = largest(plane[i])
        if top <= plane[row, column]:  # most rows hold nothing better
            continue
        for j in range(plane.shape[1]):
            if plane[i, j] > plane[row, column]:
                row, column = i, j
    return row, column


def place_best(plane: Any, row: Any, column: Any, box: Any, share: Any, y: Any, k: Any) -> None:
    """Column k of y: x, y, score and share of the best place of a map, in its box."""
    number = plane.dtype.type
    size = number(plane.shape[0])
    left, top = box[0], box[1]
    width = max(box[2] - left, number(1))
    height = max(box[3] - top, number(1))
    down, right, score = _peak(plane, row, column)
    half = number(0.5)
    y[0, k] = left + (number(column) + right + half) * width / size
    y[1, k] = top + (number(row) + down + half) * height / size
    y[2, k] = score
    y[3, k] = 0
    if share:
        total = number(0)
        for i in range(plane.shape[0]):
            for j in range(plane.shape[1]):
                total += exp(plane[i, j] - plane[row, column])
        y[3, k] = number(1) / total


@kernel()
def _best_places(maps: Any, boxes: Any, share: Any, y: Any) -> None:
    for r in range(maps.shape[0]):
        for k in range(maps.shape[1]):
            plane = maps[r, k]
            row, column = _best(plane)
            place_best(plane, row, column, boxes[r], share, y[r], k)


_best_places.form_from("heads", "best_places")


def launch_best_places(maps: Array, boxes: Array, share: bool, y: Array) -> Launch:
    """x, y, score and share of the best place of each map, interpolated, in its box.

    maps are (boxes, maps of each, size, size) with a size of 2 or more, y (boxes, 4, maps of each).
    """
    return by_rows(
        lambda own, box, out: _best_places(own, box, share, out), maps, boxes, y, effort=10
    )


# ---------------------------------------------------------------- chosen rows


@kernel()
def _put_back(labels: Any, rows: Any, y: Any) -> Any:
    """y[r] = the next row where the label is positive, 0 elsewhere; 1: another number of rows."""
    at = 0
    zero = y.dtype.type(0)
    for r in range(y.shape[0]):
        chosen = labels[r] > 0
        if chosen and at == rows.shape[0]:
            return 1
        for i in range(y.shape[1]):
            y[r, i] = rows[at, i] if chosen else zero
        at += 1 if chosen else 0
    return 0 if at == rows.shape[0] else 1


def launch_put_back(labels: Array, rows: Array, y: Array) -> list[Launch]:
    """y[r] = the next of the rows where labels[r] > 0, 0 elsewhere; matrices of numbers.

    ValueRangeError (at run time) unless there is one row for each positive label.
    """

    def explain(_status: int) -> Error:
        count = int(np.count_nonzero(on_host(labels) > 0))
        return ValueRangeError(f"there are {count} positive label(s), for {len(rows)} row(s)")

    args = labels, bits(rows), bits(y)
    if is_on_device(labels):
        launches: list[Launch] = late("kernels.cuda.heads", "launch_put_back")(*args, explain)
        return launches
    return [_put_back(*args, explain=explain)]
