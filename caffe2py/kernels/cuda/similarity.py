"""Similarities of rows on devices: dot products, cosines, chosen pairs; losses of two classes."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from caffe2py.kernels.cuda.form import form
from caffe2py.kernels.cuda.rows import blocks_of_first, elements, my_row, row_blocks, row_sums
from caffe2py.kernels.cuda.threads import group_sum, group_sum_double
from caffe2py.kernels.focal import softplus
from caffe2py.kernels.losses import status_at
from caffe2py.kernels.similarity import TINY
from caffe2py.kernels.vectormath import sigmoid
from caffe2py.tensor.tensor import Array

# ---------------------------------------------------------------- dot products


def _dot_shape(x: Any, y: Any, pad: Any, replicate: Any, z: Any) -> Any:
    return z.size, max(x.shape[1], y.shape[1])


def _dot_term(r: Any, i: Any, x: Any, y: Any, pad: Any, replicate: Any, z: Any) -> Any:
    near, far = min(x.shape[1], y.shape[1]), max(x.shape[1], y.shape[1])
    if i < near:
        return np.float64(x[r, i] * y[r, i]), 0.0
    repeats = replicate and near > 0
    if repeats and i >= far // near * near:
        return 0.0, 0.0
    at = i % near if repeats else 0
    if x.shape[1] > near:
        return np.float64(x[r, i] * (y[r, at] if repeats else pad)), 0.0
    return np.float64(y[r, i] * (x[r, at] if repeats else pad)), 0.0


def _dot_put(r: Any, a: Any, b: Any, x: Any, y: Any, pad: Any, replicate: Any, z: Any) -> None:
    z[r] = a


dot_rows = row_sums("_dot_rows", _dot_shape, _dot_term, _dot_put)


def _times_shape(x: Any, dz: Any, pad: Any, replicate: Any, dy: Any) -> Any:
    return dz.size, dy.shape[1]


def _times_at(r: Any, i: Any, x: Any, dz: Any, pad: Any, replicate: Any, dy: Any) -> None:
    near, wide = min(x.shape[1], dy.shape[1]), dy.shape[1]
    if not replicate:
        dy[r, i] = dz[r] * (x[r, i] if i < near else pad)
    elif i < near:
        total = dy.dtype.type(0)
        for start in range(0, x.shape[1] - near + 1, near):
            total += dz[r] * x[r, start + i]
        dy[r, i] = total
    elif near > 0 and i < wide // near * near:
        dy[r, i] = dz[r] * x[r, i % near]
    else:
        dy[r, i] = dy.dtype.type(0)


times_rows = elements("_times_rows", _times_shape, _times_at)

# ---------------------------------------------------------------- cosines


def _products(x: Any, y: Any, r: Any, width: Any, lane: Any, group: Any) -> Any:
    """The sums of x * x, y * y and x * y over a row, for all its threads."""
    xx = 0.0
    yy = 0.0
    xy = 0.0
    c = lane
    while c < width:
        xx += x[r, c] * x[r, c]
        yy += y[r, c] * y[r, c]
        xy += x[r, c] * y[r, c]
        c += group
    xx = max(group_sum_double(xx, group, 1), TINY)
    yy = max(group_sum_double(yy, group, 1), TINY)
    return xx, yy, group_sum_double(xy, group, 1)


@form(blocks=blocks_of_first)
def cosine_rows(x: Any, y: Any, z: Any) -> None:
    """The cosine of the angle between two rows."""
    rows, columns = x.shape
    first, own, step, lane, group = my_row(columns)
    while first < rows:
        r = first + own
        xx, yy, xy = _products(x, y, r, columns if r < rows else 0, lane, group)
        if lane == 0 and r < rows:
            z[r] = xy / math.sqrt(xx * yy)
        first += step


@form(blocks=blocks_of_first)
def cosine_rows_gradient(x: Any, y: Any, dz: Any, dx: Any, dy: Any) -> None:
    """Of both rows."""
    rows, columns = x.shape
    first, own, step, lane, group = my_row(columns)
    while first < rows:
        r = first + own
        width = columns if r < rows else 0
        xx, yy, xy = _products(x, y, r, width, lane, group)
        share = dz[r] / math.sqrt(xx * yy) if r < rows else 0.0
        c = lane
        while c < width:
            a, b = x[r, c], y[r, c]
            dx[r, c] = share * (b - a * xy / xx)
            dy[r, c] = share * (a - b * xy / yy)
            c += group
        first += step


# ---------------------------------------------------------------- chosen pairs


def _pair_blocks(x: Array, indices: Array, y: Array) -> int:
    return row_blocks(indices.size * x.shape[1], x.shape[2])


@form(blocks=_pair_blocks)
def pairs(x: Any, indices: Any, y: Any) -> Any:
    """y[r, k] = the dot product of the rows r of the inputs that indices[k] stands for."""
    count, rows, columns = x.shape
    first, own, step, lane, group = my_row(columns)
    status = 0
    while first < indices.size * rows:
        at = first + own
        k = min(at // max(rows, 1), indices.size - 1)
        known = at < indices.size * rows and 0 <= indices[k] < count * count
        if at < indices.size * rows and not known and status == 0:
            status = status_at(k)
        a, b, r = indices[k] // count, indices[k] % count, at % max(rows, 1)
        total = x.dtype.type(0)
        c = lane
        while c < columns and known:
            total += x[a, r, c] * x[b, r, c]
            c += group
        total = group_sum(x, total, group, 1)
        if lane == 0 and known:
            y[r, k] = total
        first += step
    return status


# ---------------------------------------------------------------- losses of two classes


def _logistic_shape(x: Any, targets: Any, weights: Any, y: Any) -> Any:
    return x.shape


def _logistic_term(r: Any, c: Any, x: Any, targets: Any, weights: Any, y: Any) -> Any:
    logit = np.float64(x[r, c])
    return (softplus(logit) - logit * targets[r, c]) * weights[r, c], 0.0


def _logistic_put(r: Any, a: Any, b: Any, x: Any, targets: Any, weights: Any, y: Any) -> None:
    y[r] = a / x.shape[1] if x.shape[1] > 0 else 0.0


def _slope_shape(dy: Any, x: Any, targets: Any, weights: Any, dx: Any) -> Any:
    return x.shape


def _slope_at(r: Any, c: Any, dy: Any, x: Any, targets: Any, weights: Any, dx: Any) -> None:
    p = sigmoid(np.float64(x[r, c]))
    dx[r, c] = dy[r] / x.shape[1] * weights[r, c] * (p - targets[r, c])


weighted_logistic = row_sums("_weighted_logistic", _logistic_shape, _logistic_term, _logistic_put)
weighted_logistic_gradient = elements("_weighted_logistic_gradient", _slope_shape, _slope_at)
