"""Sums of arrays with weights that are known when the net runs."""

from __future__ import annotations

from typing import Any

from caffe2py.errors import ShapeError
from caffe2py.kernels.jit import kernel
from caffe2py.kernels.parallel import CHUNK, by_rows
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
        return by_rows(lambda b: _scale(w.reshape(-1), b), y.reshape(-1), multiple=CHUNK)
    flat = x.reshape(-1), y.reshape(-1)
    return by_rows(lambda a, b: _scaled(a, w.reshape(-1), b), *flat, multiple=CHUNK)


def launch_add_scaled(x: Array, w: Array, y: Array) -> Launch:
    """y += x * w, where w has one element."""
    _require_weight(x, w, y)
    flat = x.reshape(-1), y.reshape(-1)
    return by_rows(lambda a, b: _add_scaled(a, w.reshape(-1), b), *flat, multiple=CHUNK)


@kernel()
def _factor_at(done: Any, step: int, last: int, scale: Any, factor: Any) -> None:
    count = done[0] + 1
    factor[0] = factor.dtype.type(1)
    if count % step == 0 and count < last:
        factor[0] = scale


def launch_factor_at(done: Array, step: int, last: int, scale: Any, factor: Array) -> Launch:
    """factor = scale if one more than `done` is a multiple of `step` and below `last`, else 1."""
    if step < 1 or done.size < 1:
        raise ShapeError(f"every {step} steps, {done.size} counters")
    return _factor_at(done, step, last, scale, factor)


def _require_weight(x: Array, w: Array, y: Array) -> None:
    if w.size != 1 or x.size != y.size:
        raise ShapeError(f"{x.shape} times a weight {w.shape} is not {y.shape}")
