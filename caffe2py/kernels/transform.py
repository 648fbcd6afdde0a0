"""Loops of transformations of features: Box-Cox, piecewise linear functions, positions, limits."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from caffe2py.errors import Error, ValueRangeError
from caffe2py.kernels.jit import kernel
from caffe2py.kernels.parallel import by_rows
from caffe2py.kernels.vectormath import log, sigmoid
from caffe2py.kernels.vectormath import power as raised
from caffe2py.registry.context import Launch
from caffe2py.tensor.tensor import Array

#: What is smaller counts as this, so that there is a logarithm.
_LEAST = 1e-6

_LAST_STATUS = 2**31 - 1


@kernel()
def _box_cox(x: Any, power: Any, shift: Any, y: Any) -> None:
    rows, columns = x.shape
    one = x.dtype.type(1)
    least = x.dtype.type(_LEAST)
    for r in range(rows):
        for c in range(columns):
            value = max(x[r, c] + shift[c], least)
            own = power[c]
            above = raised(value, own) - one
            y[r, c] = log(value) if own == 0 else above / own


def launch_box_cox(x: Array, power: Array, shift: Array, y: Array) -> Launch:
    """y = the Box-Cox transformation of each column of the matrix x; x may be y."""
    return _box_cox(x, power, shift, y)


# ---------------------------------------------------------------- piecewise linear


def _on_piece(x, bounds, slopes, intercepts):
    """The value at x of the function with these pieces; constant outside of the bounds."""
    last = slopes.size
    if x <= bounds[0]:
        return slopes[0] * bounds[0] + intercepts[0]
    if x >= bounds[last]:
        return slopes[last - 1] * bounds[last] + intercepts[last - 1]
    piece = 0
    while piece < last - 1 and bounds[piece + 1] < x:
        piece += 1
    return slopes[piece] * x + intercepts[piece]


@kernel()
def _piecewise(x: Any, bounds: Any, slopes: Any, intercepts: Any, binary: bool, y: Any) -> Any:
    rows, columns = x.shape
    functions = bounds.size - slopes.size
    pieces = slopes.size // functions
    for f in range(functions):
        for k in range(pieces):
            at = f * (pieces + 1) + k
            if not bounds[at] <= bounds[at + 1]:
                return min(f + 1, _LAST_STATUS)
    for r in range(rows):
        for c in range(columns):
            f = 0 if binary else c
            y[r, c] = _on_piece(
                x[r, c],
                bounds[f * (pieces + 1) : (f + 1) * (pieces + 1)],
                slopes[f * pieces : (f + 1) * pieces],
                intercepts[f * pieces : (f + 1) * pieces],
            )
        if binary and columns == 2:
            y[r, 0] = x.dtype.type(1) - y[r, 1]
    return 0


def launch_piecewise_linear(
    x: Array, bounds: Array, slopes: Array, intercepts: Array, y: Array, *, binary: bool
) -> Launch:
    """y[:, c] = the function c of x[:, c]; with `binary` function 0 of the last column.

    The vectors hold one function after the other, each with one bound more than it has slopes.
    ValueRangeError (at run time) for bounds of a function that descend.
    """

    def explain(status: int) -> Error:
        functions = bounds.size - slopes.size
        own = bounds.reshape(functions, -1)[status - 1]
        shown = ", ".join(f"{v:g}" for v in own[:8])
        return ValueRangeError(f"the bounds of function {status - 1} must ascend: {shown}")

    return _piecewise(x, bounds, slopes, intercepts, binary, y, explain=explain)


# ---------------------------------------------------------------- positions


@kernel()
def _positions(places: Any, alpha: float, amplitude: float, y: Any) -> None:
    rows, columns, size = y.shape
    for r in range(rows):
        if columns == 0:
            return
        place = np.float64(places[r, 0])
        for k in range(size):
            angle = place / alpha ** (np.float64(k) / np.float64(size))
            y[r, 0, k] = amplitude * (math.sin(angle) if k % 2 == 0 else math.cos(angle))
        for c in range(1, columns):
            for k in range(size):
                y[r, c, k] = y[r, 0, k]


def launch_positions(places: Array, alpha: float, amplitude: float, y: Array) -> Launch:
    """y[m, n] = sines and cosines of places[m, 0] at falling frequencies, from 1 to 1 / alpha."""
    return _positions(places, float(alpha), float(amplitude), y)


# ---------------------------------------------------------------- rows


@kernel()
def _root_divide(x: Any, scale: Any, y: Any) -> Any:
    rows, columns = x.shape
    for r in range(rows):
        if not scale[r] >= 0:
            return min(r + 1, _LAST_STATUS)
        factor = x.dtype.type(1)
        if scale[r] > 0:
            factor = x.dtype.type(1.0 / math.sqrt(np.float64(scale[r])))
        for c in range(columns):
            y[r, c] = x[r, c] * factor
    return 0


def launch_root_divide(x: Array, scale: Array, y: Array) -> Launch:
    """y[r] = x[r] / sqrt(scale[r]), x[r] where scale[r] is 0; ValueRangeError if it is below 0."""

    def explain(status: int) -> Error:
        return ValueRangeError(
            f"scale[{status - 1}] is {scale[status - 1]:g}, expected 0 or more: it has a root"
        )

    return _root_divide(x, scale, y, explain=explain)


@kernel()
def _clip_rows(indices: Any, low: Any, high: Any, y: Any) -> Any:
    for i in range(indices.size):
        if not 0 <= indices[i] < y.shape[0]:
            return min(i + 1, _LAST_STATUS)
    for i in range(indices.size):
        row = y[indices[i]]
        for c in range(row.size):
            value = low if row[c] < low else row[c]
            row[c] = high if value > high else value
    return 0


def launch_clip_rows(indices: Array, low: float, high: float, y: Array) -> Launch:
    """Limit those rows of the matrix y that `indices` names; ValueRangeError for others."""

    def explain(status: int) -> Error:
        found = int(indices[status - 1])
        return ValueRangeError(
            f"indices[{status - 1}] is {found}, expected 0 to {y.shape[0] - 1}, a row of 'param'"
        )

    limits = (y.dtype.type(low), y.dtype.type(high))
    return _clip_rows(indices, *limits, y, explain=explain)


@kernel()
def _glu(x: Any, y: Any) -> None:
    rows, half = y.shape
    for r in range(rows):
        for i in range(half):
            y[r, i] = x[r, i] * sigmoid(x[r, half + i])


def launch_glu(x: Array, y: Array) -> Launch:
    """y = the left half of the matrix x times the sigmoid of its right half."""
    return by_rows(_glu, x, y, effort=3)


_glu.form_from("copies", "glu")
