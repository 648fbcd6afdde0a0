"""Loops of the smooth L1 loss of boxes: squares near 0, magnitudes elsewhere. Sums are float64."""

from __future__ import annotations

from typing import Any

import numpy as np

from caffe2py.errors import Error, ValueRangeError
from caffe2py.kernels.device import doubles, launch_total, on_cuda
from caffe2py.kernels.jit import kernel
from caffe2py.kernels.parallel import CHUNK, by_rows, is_on_device
from caffe2py.registry.context import Launch
from caffe2py.tensor.place import on_host
from caffe2py.tensor.tensor import Array

_LAST_STATUS = 2**31 - 1


def smooth(d, beta):
    """The loss of a difference."""
    size = abs(d)
    return 0.5 * d * d / beta if size < beta else size - 0.5 * beta


def slope_of(d, beta):
    """Its derivative."""
    if abs(d) < beta:
        return d / beta
    return 1.0 if d > 0 else -1.0 if d < 0 else 0.0


@kernel()
def _smooth_loss(
    x: Any, target: Any, inside: Any, outside: Any, beta: float, factor: float, y: Any
) -> None:
    total = 0.0
    for i in range(x.size):
        total += outside[i] * smooth(np.float64(inside[i] * (x[i] - target[i])), beta)
    y[0] = factor * total


@kernel()
def _smooth_loss_gradient(
    x: Any, target: Any, inside: Any, outside: Any, dy: Any, beta: float, factor: float, dx: Any
) -> None:
    for i in range(x.size):
        slope = slope_of(np.float64(inside[i] * (x[i] - target[i])), beta)
        dx[i] = factor * dy[0] * slope * inside[i] * outside[i]


def launch_smooth_loss(
    operands: tuple[Array, ...], beta: float, factor: float, y: Array
) -> list[Launch]:
    """y = factor * sum of outside * smooth(inside * (x - target)); operands are these four."""
    vectors = [a.reshape(-1) for a in operands]
    numbers = (float(beta), float(factor))
    if is_on_device(y):
        over = (*vectors, numbers[0])
        return launch_total("focal.SMOOTH", vectors[0].size, over, y, numbers[1:])
    return [_smooth_loss(*vectors, *numbers, y.reshape(-1))]


def launch_smooth_loss_gradient(
    operands: tuple[Array, ...], dy: Array, beta: float, factor: float, dx: Array
) -> Launch:
    """dx of launch_smooth_loss."""
    slope, numbers = dy.reshape(-1), (float(beta), float(factor))
    vectors = (a.reshape(-1) for a in (*operands, dx))
    return by_rows(
        lambda *parts: _smooth_loss_gradient(*parts[:4], slope, *numbers, parts[4]),
        *vectors,
        multiple=CHUNK,
    )


# ---------------------------------------------------------------- of chosen boxes


def is_place(n, c, row, column, shape):
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
        if not is_place(n, c, row, column, x.shape):
            return min(i + 1, _LAST_STATUS)
        for k in range(4):
            total += smooth(np.float64(x[n, c + k, row, column] - target[i, k]), beta)
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
        if not is_place(n, c, row, column, x.shape):
            return min(i + 1, _LAST_STATUS)
        for k in range(4):
            slope = slope_of(np.float64(x[n, c + k, row, column] - target[i, k]), beta)
            dx[n, c + k, row, column] += factor * slope
    return 0


def _explain(places: Array, shape: tuple[int, ...], status: int) -> Error:
    found = ", ".join(f"{v:g}" for v in on_host(places[status - 1]))
    return ValueRangeError(
        f"location {status - 1} ({found}) is no place of a box in images of shape {shape}"
    )


def launch_chosen_loss(
    x: Array, target: Array, places: Array, boxes: Array, beta: float, scale: float, y: Array
) -> list[Launch]:
    """y = scale / max(boxes, 1) * sum of smooth(x - target) over the boxes at `places` of x.

    ValueRangeError (at run time) for a place (image, channel, row, column) outside of x.
    """
    one, numbers = boxes.reshape(-1), (float(beta), float(scale))

    def explain(status: int) -> Error:
        return _explain(places, x.shape, status)

    if not is_on_device(x):
        launch = _chosen_loss(x, target, places, one, *numbers, y.reshape(-1), explain=explain)
        return [launch]
    losses = doubles(x, len(target))
    made = on_cuda("focal.CHOSEN_LOSSES")
    return [
        made(x, target, places, numbers[0], losses, explain=explain),
        *launch_total("focal.SHARED_LOSS", len(target), (losses,), y, (one, numbers[1])),
    ]


_chosen_loss_gradient.form_from("focal", "chosen_loss_gradient")


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
