"""Row functions: each row of a matrix becomes a row of the same length."""

from __future__ import annotations

from typing import Any

from caffe2py.kernels.bits import larger
from caffe2py.kernels.jit import kernel
from caffe2py.kernels.parallel import by_rows
from caffe2py.kernels.vectormath import exp_down
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
    """The largest element of a row that has some; of a row with a NaN it may be NaN.

    Quarters of the row go side by side: that a NaN stays takes three operations, so only every
    fourth maximum takes care of it.
    """
    quarter = row.size // 4
    first, second = row[:quarter], row[quarter : 2 * quarter]
    third, fourth = row[2 * quarter : 3 * quarter], row[3 * quarter : 4 * quarter]
    top = row[row.size - 1]
    for i in range(quarter):
        a = first[i] if first[i] > second[i] else second[i]
        b = third[i] if third[i] > fourth[i] else fourth[i]
        top = larger(top, a if a > b else b)
    for i in range(4 * quarter, row.size):
        top = larger(top, row[i])
    return top


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
            y[r, i] = exp_down(x[r, i] - top)
            total += y[r, i]
        share = x.dtype.type(1) / total
        for i in range(columns):
            y[r, i] *= share


@kernel("reassoc")
def _softmax_gradient(y: Any, dy: Any, dx: Any) -> None:
    for r in range(y.shape[0]):
        product = y.dtype.type(0)
        for i in range(y.shape[1]):
            product += y[r, i] * dy[r, i]
        for i in range(y.shape[1]):
            dx[r, i] = y[r, i] * (dy[r, i] - product)


_softmax.form_from("rows", "softmax")
_softmax_gradient.form_from("rows", "softmax_gradient")


def launch_softmax(x: Array, axis: int, y: Array) -> Launch:
    """y = exp(x) / sum of exp(x) over all axes from `axis` on; a row with NaN or +inf is NaN."""
    return by_rows(_softmax, matrix(x, axis), matrix(y, axis), effort=3)


def launch_softmax_gradient(y: Array, dy: Array, axis: int, dx: Array) -> Launch:
    """dx = y * (dy - sum of y * dy), the sum over all axes from `axis` on."""
    return by_rows(_softmax_gradient, matrix(y, axis), matrix(dy, axis), matrix(dx, axis))
