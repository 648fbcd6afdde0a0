"""Loops of similarities of rows: dot products, cosines. Sums are float64 and rounded once."""

from __future__ import annotations

import math
from typing import Any

from caffe2py.kernels.jit import kernel
from caffe2py.registry.context import Launch
from caffe2py.tensor.tensor import Array

#: A squared length below this counts as this.
TINY = 1e-12

# ---------------------------------------------------------------- dot products


@kernel("reassoc")
def _dot_rows(x: Any, y: Any, pad: Any, replicate: bool, z: Any) -> None:
    """The shorter rows are followed by `pad`, or begin again as often as they fit as a whole."""
    for r in range(z.size):
        near = min(x.shape[1], y.shape[1])
        total = 0.0
        if replicate and near > 0:
            for start in range(0, x.shape[1] - near + 1, near):
                for i in range(near):
                    total += x[r, start + i] * y[r, i]
            for start in range(near, y.shape[1] - near + 1, near):
                for i in range(near):
                    total += x[r, i] * y[r, start + i]
        else:
            for i in range(near):
                total += x[r, i] * y[r, i]
            for i in range(near, x.shape[1]):
                total += x[r, i] * pad
            for i in range(near, y.shape[1]):
                total += y[r, i] * pad
        z[r] = total


@kernel()
def _times_rows(x: Any, dz: Any, pad: Any, replicate: bool, dy: Any) -> None:
    """dy[r] = dz[r] * x[r], where x continues as in the dot product."""
    near = min(x.shape[1], dy.shape[1])
    for r in range(dz.size):
        if not replicate:
            for i in range(near):
                dy[r, i] = dz[r] * x[r, i]
            for i in range(near, dy.shape[1]):
                dy[r, i] = dz[r] * pad
            continue
        for i in range(dy.shape[1]):
            dy[r, i] = 0
        if near == 0:
            continue
        for start in range(0, x.shape[1] - near + 1, near):
            for i in range(near):
                dy[r, i] += dz[r] * x[r, start + i]
        for start in range(near, dy.shape[1] - near + 1, near):
            for i in range(near):
                dy[r, start + i] = dz[r] * x[r, i]


_dot_rows.form_from("similarity", "dot_rows")
_times_rows.form_from("similarity", "times_rows")


def launch_dot_rows(
    x: Array, y: Array, z: Array, *, pad: float = 0.0, replicate: bool = False
) -> Launch:
    """z[r] = the dot product of rows of two matrices; the shorter rows are padded or repeated."""
    return _dot_rows(x, y, x.dtype.type(pad), replicate, z.reshape(-1))


def launch_dot_rows_gradient(
    x: Array, dz: Array, dy: Array, *, pad: float = 0.0, replicate: bool = False
) -> Launch:
    """dy[r] = dz[r] * x[r], for the rows y that were multiplied by x."""
    return _times_rows(x, dz.reshape(-1), x.dtype.type(pad), replicate, dy)


# ---------------------------------------------------------------- cosines


@kernel("reassoc")
def _cosine_rows(x: Any, y: Any, z: Any) -> None:
    for r in range(x.shape[0]):
        xx = 0.0
        yy = 0.0
        xy = 0.0
        for i in range(x.shape[1]):
            xx += x[r, i] * x[r, i]
            yy += y[r, i] * y[r, i]
            xy += x[r, i] * y[r, i]
        z[r] = xy / math.sqrt(max(xx, TINY) * max(yy, TINY))


@kernel("reassoc")
def _cosine_rows_gradient(x: Any, y: Any, dz: Any, dx: Any, dy: Any) -> None:
    for r in range(x.shape[0]):
        xx = 0.0
        yy = 0.0
        xy = 0.0
        for i in range(x.shape[1]):
            xx += x[r, i] * x[r, i]
            yy += y[r, i] * y[r, i]
            xy += x[r, i] * y[r, i]
        xx = max(xx, TINY)
        yy = max(yy, TINY)
        share = dz[r] / math.sqrt(xx * yy)
        for i in range(x.shape[1]):
            dx[r, i] = share * (y[r, i] - x[r, i] * xy / xx)
            dy[r, i] = share * (x[r, i] - y[r, i] * xy / yy)


_cosine_rows.form_from("similarity", "cosine_rows")
_cosine_rows_gradient.form_from("similarity", "cosine_rows_gradient")


def launch_cosine_rows(x: Array, y: Array, z: Array) -> Launch:
    """z[r] = the cosine of the angle between rows of two matrices; 0 for a row of zeros."""
    return _cosine_rows(x, y, z.reshape(-1))


def launch_cosine_rows_gradient(x: Array, y: Array, dz: Array, dx: Array, dy: Array) -> Launch:
    """dx and dy of launch_cosine_rows."""
    return _cosine_rows_gradient(x, y, dz.reshape(-1), dx, dy)
