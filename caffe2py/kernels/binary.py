"""Loops of losses of two classes. Sums are float64 and rounded once."""

from __future__ import annotations

from typing import Any

import numpy as np

from caffe2py.kernels.jit import kernel
from caffe2py.kernels.parallel import divisible, moving
from caffe2py.kernels.vectormath import exp, log1p, sigmoid
from caffe2py.registry.context import Launch
from caffe2py.tensor.tensor import Array


@kernel()
def _two_classes(x: Any, y: Any) -> None:
    for i in range(x.size):
        y[2 * i] = x.dtype.type(1) - x[i]
        y[2 * i + 1] = x[i]


@kernel()
def _two_classes_gradient(dy: Any, dx: Any) -> None:
    for i in range(dx.size):
        dx[i] = dy[2 * i + 1] - dy[2 * i]


def launch_two_classes(x: Array, y: Array) -> Launch:
    """y = 1 - x[0], x[0], 1 - x[1], x[1], ...; both are vectors."""
    return divisible(
        len(x), 3 * moving(x), lambda first, end: _two_classes(x[first:end], y[2 * first : 2 * end])
    )


def launch_two_classes_gradient(dy: Array, dx: Array) -> Launch:
    """dx of launch_two_classes."""

    def part(first: int, end: int) -> Launch:
        return _two_classes_gradient(dy[2 * first : 2 * end], dx[first:end])

    return divisible(len(dx), 3 * moving(dx), part)


@kernel("reassoc")
def _weighted_logistic(x: Any, targets: Any, weights: Any, y: Any) -> None:
    rows, columns = x.shape
    for r in range(rows):
        total = 0.0
        for c in range(columns):
            logit = np.float64(x[r, c])
            loss = max(logit, 0.0) + log1p(exp(-abs(logit))) - logit * targets[r, c]
            total += loss * weights[r, c]
        y[r] = total / columns if columns > 0 else 0.0


@kernel()
def _weighted_logistic_gradient(dy: Any, x: Any, targets: Any, weights: Any, dx: Any) -> None:
    rows, columns = x.shape
    for r in range(rows):
        for c in range(columns):
            p = sigmoid(np.float64(x[r, c]))
            dx[r, c] = dy[r] / columns * weights[r, c] * (p - targets[r, c])


_weighted_logistic.form_from("similarity", "weighted_logistic")
_weighted_logistic_gradient.form_from("similarity", "weighted_logistic_gradient")


def launch_weighted_logistic(x: Array, targets: Array, weights: Array, y: Array) -> Launch:
    """y[r] = the mean of the weighted logistic losses of row r."""
    return _weighted_logistic(x, targets, weights, y)


def launch_weighted_logistic_gradient(
    dy: Array, x: Array, targets: Array, weights: Array, dx: Array
) -> Launch:
    """dx of launch_weighted_logistic."""
    return _weighted_logistic_gradient(dy, x, targets, weights, dx)
