"""Pooling whose one window is the whole image: planes are rows, reduced and filled at once."""

from __future__ import annotations

from typing import Any

from caffe2py.kernels.jit import kernel
from caffe2py.kernels.parallel import by_rows
from caffe2py.kernels.reduce import row_sum, row_top
from caffe2py.registry.context import Launch
from caffe2py.tensor.tensor import Array


@kernel()
def _max_rows(x: Any, y: Any) -> None:
    for p in range(x.shape[0]):
        y[p] = row_top(x[p], 0, x.shape[1])


_max_rows.form_from("pools", "max_rows")


@kernel()
def _mean_rows(x: Any, divisor: Any, y: Any) -> None:
    for p in range(x.shape[0]):
        y[p] = row_sum(x[p], 0, x.shape[1]) / divisor


_mean_rows.form_from("pools", "mean_rows")


@kernel()
def _share_rows(dy: Any, divisor: Any, dx: Any) -> None:
    """dx[p, i, c] = dy[p, c] / divisor"""
    for p in range(dx.shape[0]):
        if dx.shape[2] == 1:
            share = dy[p, 0] / divisor
            for i in range(dx.shape[1]):
                dx[p, i, 0] = share
        else:
            first, source = dx[p, 0], dy[p]
            for c in range(first.size):
                first[c] = source[c] / divisor
            for i in range(1, dx.shape[1]):
                target = dx[p, i]
                for c in range(target.size):
                    target[c] = first[c]


@kernel()
def _credit_rows(x: Any, y: Any, dy: Any, dx: Any) -> None:
    """dx[p, i, c] = dy[p, c] where x[p, i, c] is y[p, c]"""
    zero = x.dtype.type(0)
    for p in range(x.shape[0]):
        if x.shape[2] == 1:
            top, share = y[p, 0], dy[p, 0]
            for i in range(x.shape[1]):
                dx[p, i, 0] = share if x[p, i, 0] == top else zero
        else:
            tops, shares = y[p], dy[p]
            for i in range(x.shape[1]):
                source, target = x[p, i], dx[p, i]
                for c in range(target.size):
                    target[c] = shares[c] if source[c] == tops[c] else zero


def launch_whole_max(x: Array, y: Array) -> Launch:
    """y[p] = the largest of x (planes, pixels)[p]; NaN if there is one."""
    return by_rows(_max_rows, x, y)


def launch_whole_mean(x: Array, divisor: float, y: Array) -> Launch:
    """y[p] = the sum of x (planes, pixels)[p] by the divisor."""
    by = x.dtype.type(divisor)
    return by_rows(lambda a, b: _mean_rows(a, by, b), x, y)


def launch_whole_mean_gradient(dy: Array, divisor: float, dx: Array) -> Launch:
    """dx[p, i, c] = dy[p, c] / divisor, for dx (planes, pixels, width)."""
    by = dy.dtype.type(divisor)
    return by_rows(lambda a, b: _share_rows(a, by, b), dy, dx)


def launch_whole_max_gradient(x: Array, y: Array, dy: Array, dx: Array) -> Launch:
    """dx[p, i, c] = dy[p, c] where x[p, i, c] equals y[p, c], 0 elsewhere."""
    return by_rows(_credit_rows, x, y, dy, dx)
