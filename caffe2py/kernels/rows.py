"""Row functions: each row of a matrix becomes a row of the same length."""

from __future__ import annotations

import math
from typing import Any

from caffe2py.kernels.jit import kernel
from caffe2py.registry.context import Launch
from caffe2py.tensor.tensor import Array


def matrix(array: Array, axis: int) -> Array:
    """The array as rows (the axes before `axis`) of columns (those from `axis` on)."""
    rows = 1
    for size in array.shape[:axis]:
        rows *= size
    columns = 1
    for size in array.shape[axis:]:
        columns *= size
    return array.reshape(rows, columns)


def largest(row: Any) -> Any:
    """The largest element of a row that has some, by four comparisons at a time.

    A NaN is passed over, except in one of the first four places.
    """
    a = b = c = d = row[0]
    last = row.size - row.size % 4
    for i in range(0, last, 4):
        a = row[i] if row[i] > a else a
        b = row[i + 1] if row[i + 1] > b else b
        c = row[i + 2] if row[i + 2] > c else c
        d = row[i + 3] if row[i + 3] > d else d
    for i in range(last, row.size):
        a = row[i] if row[i] > a else a
    a = b if b > a else a
    c = d if d > c else c
    return c if c > a else a


@kernel("reassoc")
def _softmax(x: Any, y: Any) -> None:
    """Exponentials relative to the row's largest element, so that none overflows."""
    columns = x.shape[1]
    if columns == 0:
        return
    for r in range(x.shape[0]):
        top = largest(x[r])
        total = x.dtype.type(0)
        for i in range(columns):
            y[r, i] = math.exp(x[r, i] - top)
            total += y[r, i]
        for i in range(columns):
            y[r, i] /= total


@kernel("reassoc")
def _softmax_gradient(y: Any, dy: Any, dx: Any) -> None:
    for r in range(y.shape[0]):
        product = y.dtype.type(0)
        for i in range(y.shape[1]):
            product += y[r, i] * dy[r, i]
        for i in range(y.shape[1]):
            dx[r, i] = y[r, i] * (dy[r, i] - product)


def launch_softmax(x: Array, axis: int, y: Array) -> Launch:
    """y = exp(x) / sum of exp(x) over all axes from `axis` on; a row with NaN or +inf is NaN."""
    return _softmax(matrix(x, axis), matrix(y, axis))


def launch_softmax_gradient(y: Array, dy: Array, axis: int, dx: Array) -> Launch:
    """dx = y * (dy - sum of y * dy), the sum over all axes from `axis` on."""
    return _softmax_gradient(matrix(y, axis), matrix(dy, axis), matrix(dx, axis))
