"""The largest of the first elements of rows or columns, with gradients; weighted sums of rows."""

from __future__ import annotations

from typing import Any

import numpy as np

from caffe2py.errors import Error, ValueRangeError
from caffe2py.kernels.device import launch_by_channel
from caffe2py.kernels.jit import kernel
from caffe2py.kernels.parallel import is_on_device
from caffe2py.registry.context import Launch
from caffe2py.tensor.place import on_host
from caffe2py.tensor.tensor import Array


def _outside(length, most):
    return length < 0 or length > most


@kernel()
def _max_starts(x: Any, lengths: Any, columns: bool, y: Any) -> Any:
    """Of rows, or of columns; no lengths means all elements. Of no elements it is 0."""
    rows, width = x.shape
    most = rows if columns else width
    for k in range(y.size):
        length = lengths[k] if lengths.size > 0 else most
        if _outside(length, most):
            return k + 1
        y[k] = 0
        for i in range(length):
            value = x[i, k] if columns else x[k, i]
            if i == 0 or value > y[k]:
                y[k] = value
    return 0


@kernel()
def _max_starts_gradient(dy: Any, x: Any, y: Any, lengths: Any, columns: bool, dx: Any) -> Any:
    rows, width = x.shape
    most = rows if columns else width
    for k in range(lengths.size):
        if _outside(lengths[k], most):
            return k + 1
    for r in range(rows):
        for c in range(width):
            place, at = (c, r) if columns else (r, c)
            inside = lengths.size == 0 or at < lengths[place]
            dx[r, c] = dy[place] if inside and x[r, c] == y[place] else 0
    return 0


def _explain(lengths: Array, most: int) -> Any:
    def explain(status: int) -> Error:
        found = int(on_host(lengths[status - 1 : status])[0])
        return ValueRangeError(f"lengths[{status - 1}] is {found}, expected 0 to {most}")

    return explain


def _all(lengths: Array | None) -> Array:
    return np.zeros(0, np.int32) if lengths is None else lengths.reshape(-1)


_max_starts.form_from("starts", "max_starts")
_max_starts_gradient.form_from("starts", "max_starts_gradient")


def launch_max_starts(x: Array, lengths: Array | None, y: Array, *, front: bool) -> Launch:
    """y[r] = the largest of the first lengths[r] elements of row r of the matrix x, 0 for none.

    With `front` the same of its columns; without lengths of all elements. A NaN is passed over,
    except as the first element. ValueRangeError (at run time) for a length that is too long.
    """
    sizes = _all(lengths)
    explain = _explain(sizes, x.shape[0 if front else 1])
    return _max_starts(x, sizes, front, y, explain=explain)


def launch_max_starts_gradient(
    dy: Array, x: Array, y: Array, lengths: Array | None, dx: Array, *, front: bool
) -> Launch:
    """The gradient of launch_max_starts: dy where x is y, within the length; 0 elsewhere."""
    sizes = _all(lengths)
    explain = _explain(sizes, x.shape[0 if front else 1])
    return _max_starts_gradient(dy, x, y, sizes, front, dx, explain=explain)


@kernel()
def _weighted_rows(x: Any, weights: Any, y: Any) -> None:
    for i in range(y.size):
        y[i] = 0
    for r in range(weights.size):
        for i in range(y.size):
            y[i] += weights[r] * x[r, i]


def launch_weighted_rows(x: Array, weights: Array, y: Array) -> list[Launch]:
    """y = the sum of weights[r] * x[r] for a matrix x."""
    if is_on_device(x):
        return launch_by_channel("starts.WEIGHTED", (1, *x.shape, 1), (x, weights), (y,))
    return [_weighted_rows(x, weights, y)]


@kernel()
def _outer(weights: Any, row: Any, y: Any) -> None:
    for r in range(weights.size):
        for i in range(row.size):
            y[r, i] = weights[r] * row[i]


_outer.form_from("starts", "outer")


def launch_outer(weights: Array, row: Array, y: Array) -> Launch:
    """y[r, i] = weights[r] * row[i]."""
    return _outer(weights, row, y)
