"""Loops of the smooth L1 loss of boxes: squares near 0, magnitudes elsewhere. Sums are float64."""

from __future__ import annotations

from typing import Any

import numpy as np

from caffe2py.errors import Error, ValueRangeError
from caffe2py.kernels.jit import kernel
from caffe2py.registry.context import Launch
from caffe2py.tensor.tensor import Array

_LAST_STATUS = 2**31 - 1


def _smooth(d, beta):
    size = abs(d)
    return 0.5 * d * d / beta if size < beta else size - 0.5 * beta


def _slope(d, beta):
    if abs(d) < beta:
        return d / beta
    return 1.0 if d > 0 else -1.0 if d < 0 else 0.0


@kernel()
def _smooth_loss(
    x: Any, target: Any, inside: Any, outside: Any, beta: float, factor: float, y: Any
) -> None:
    total = 0.0
    for i in range(x.size):
        total += outside[i] * _smooth(np.float64(inside[i] * (x[i] - target[i])), beta)
    y[0] = factor * total


@kernel()
def _smooth_loss_gradient(
    x: Any, target: Any, inside: Any, outside: Any, dy: Any, beta: float, factor: float, dx: Any
) -> None:
    for i in range(x.size):
        slope = _slope(np.float64(inside[i] * (x[i] - target[i])), beta)
        dx[i] = factor * dy[0] * slope * inside[i] * outside[i]


def launch_smooth_loss(operands: tuple[Array, ...], beta: float, factor: float, y: Array) -> Launch:
    """y = factor * sum of outside * smooth(inside * (x - target)); operands are these four."""
    x, target, inside, outside = (a.reshape(-1) for a in operands)
    vectors = (x, target, inside, outside)
    return _smooth_loss(*vectors, float(beta), float(factor), y.reshape(-1))


def launch_smooth_loss_gradient(
    operands: tuple[Array, ...], dy: Array, beta: float, factor: float, dx: Array
) -> Launch:
    """dx of launch_smooth_loss."""
    vectors = tuple(a.reshape(-1) for a in (*operands, dy))
    return _smooth_loss_gradient(*vectors, float(beta), float(factor), dx.reshape(-1))


# ---------------------------------------------------------------- of chosen boxes


def _is_place(n, c, row, column, shape):
    """Whether a box, four channels from c on, is there."""
    images, channels, height, width = shape
    inside = 0 <= n < images and 0 <= row < height and 0 <= column < width
    return inside and 0 <= c <= channels - 4


@kernel()
def _chosen_loss(
    x: Any, target: Any, places: Any, boxes: Any, beta: float, scale: float, y: Any
) -> Any:
    total = 0.0
    for i in range(target.shape[0]):
        n, c = np.int64(places[i, 0]), np.int64(places[i, 1])
        row, column = np.int64(places[i, 2]), np.int64(places[i, 3])
        if not _is_place(n, c, row, column, x.shape):
            return min(i + 1, _LAST_STATUS)
        for k in range(4):
            total += _smooth(np.float64(x[n, c + k, row, column] - target[i, k]), beta)
    y[0] = scale * total / max(np.float64(boxes[0]), 1.0)
    return 0


@kernel()
def _chosen_loss_gradient(
    x: Any, target: Any, places: Any, boxes: Any, dy: Any, beta: float, scale: float, dx: Any
) -> Any:
    factor = scale * dy[0] / max(np.float64(boxes[0]), 1.0)
    for i in range(target.shape[0]):
        n, c = np.int64(places[i, 0]), np.int64(places[i, 1])
        row, column = np.int64(places[i, 2]), np.int64(places[i, 3])
        if not _is_place(n, c, row, column, x.shape):
            return min(i + 1, _LAST_STATUS)
        for k in range(4):
            slope = _slope(np.float64(x[n, c + k, row, column] - target[i, k]), beta)
            dx[n, c + k, row, column] += factor * slope
    return 0


def _explain(places: Array, shape: tuple[int, ...], status: int) -> Error:
    found = ", ".join(f"{v:g}" for v in places[status - 1])
    return ValueRangeError(
        f"location {status - 1} ({found}) is no place of a box in images of shape {shape}"
    )


def launch_chosen_loss(
    x: Array, target: Array, places: Array, boxes: Array, beta: float, scale: float, y: Array
) -> Launch:
    """y = scale / max(boxes, 1) * sum of smooth(x - target) over the boxes at `places` of x.

    ValueRangeError (at run time) for a place (image, channel, row, column) outside of x.
    """
    return _chosen_loss(
        x,
        target,
        places,
        boxes.reshape(-1),
        float(beta),
        float(scale),
        y.reshape(-1),
        explain=lambda status: _explain(places, x.shape, status),
    )


def launch_chosen_loss_gradient(
    x: Array,
    target: Array,
    places: Array,
    boxes: Array,
    dy: Array,
    beta: float,
    scale: float,
    dx: Array,
) -> Launch:
    """What launch_chosen_loss adds to dx, which is 0 before."""
    return _chosen_loss_gradient(
        x,
        target,
        places,
        boxes.reshape(-1),
        dy.reshape(-1),
        float(beta),
        float(scale),
        dx,
        explain=lambda status: _explain(places, x.shape, status),
    )
