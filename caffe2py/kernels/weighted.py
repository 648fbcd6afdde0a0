"""Sums of arrays with weights that are known when the net runs."""

from __future__ import annotations

from typing import Any

from caffe2py.errors import ShapeError
from caffe2py.kernels.jit import kernel
from caffe2py.registry.context import Launch
from caffe2py.tensor.tensor import Array


@kernel()
def _scale(w: Any, y: Any) -> None:
    for i in range(y.size):
        y[i] *= w[0]


@kernel()
def _scaled(x: Any, w: Any, y: Any) -> None:
    for i in range(y.size):
        y[i] = x[i] * w[0]


@kernel("contract")
def _add_scaled(x: Any, w: Any, y: Any) -> None:
    for i in range(y.size):
        y[i] += x[i] * w[0]


def launch_scaled(x: Array, w: Array, y: Array) -> Launch:
    """y = x * w, where w has one element; x may be y."""
    _require_weight(x, w, y)
    if x.ctypes.data == y.ctypes.data:
        return _scale(w.reshape(-1), y.reshape(-1))
    return _scaled(x.reshape(-1), w.reshape(-1), y.reshape(-1))


def launch_add_scaled(x: Array, w: Array, y: Array) -> Launch:
    """y += x * w, where w has one element."""
    _require_weight(x, w, y)
    return _add_scaled(x.reshape(-1), w.reshape(-1), y.reshape(-1))


@kernel()
def _scale_at(x: Any, done: Any, step: int, last: int, scale: Any, y: Any) -> None:
    count = done[0] + 1
    factor = x.dtype.type(1)
    if count % step == 0 and count < last:
        factor = scale
    for i in range(x.size):
        y[i] = x[i] * factor


def launch_scale_at(x: Array, done: Array, step: int, last: int, scale: float, y: Array) -> Launch:
    """y = x * scale if one more than `done` is a multiple of `step` and below `last`, else x."""
    if step < 1 or done.size < 1:
        raise ShapeError(f"every {step} steps, {done.size} counters")
    factor = x.dtype.type(scale)
    return _scale_at(x.reshape(-1), done.reshape(-1), step, last, factor, y.reshape(-1))


def _require_weight(x: Array, w: Array, y: Array) -> None:
    if w.size != 1 or x.size != y.size:
        raise ShapeError(f"{x.shape} times a weight {w.shape} is not {y.shape}")
