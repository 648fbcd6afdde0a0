"""Loops that fill arrays: with random numbers, and with ranges."""

from __future__ import annotations

from typing import Any

import numpy as np

from caffe2py.errors import ValueRangeError
from caffe2py.kernels.jit import kernel
from caffe2py.kernels.random import advance, integer, normal_pair, stream, uniform01
from caffe2py.registry.context import Launch
from caffe2py.tensor.tensor import Array


@kernel()
def _uniform(state: Any, low: float, high: float, y: Any) -> None:
    key = stream(state)
    for i in range(y.size):
        value = y.dtype.type(low + (high - low) * uniform01(key, i))
        y[i] = value if value < high else y.dtype.type(low)  # rounding may have reached the end
    advance(state)


def launch_uniform(state: Array, low: float, high: float, y: Array) -> Launch:
    """Each of y uniform in [low, high), or equal to both if they are the same; y is floating."""
    return _uniform(state, float(low), float(high), y.reshape(-1))


@kernel()
def _uniform_int(state: Any, low: int, high: int, y: Any) -> None:
    key = stream(state)
    for i in range(y.size):
        y[i] = integer(key, i, low, high)
    advance(state)


def launch_uniform_int(state: Array, low: int, high: int, y: Array) -> Launch:
    """Each of y an integer in [low, high], all equally likely; high - low must be below 2**32."""
    if not 0 <= high - low < 2**32:
        raise ValueRangeError(f"integers from {low} to {high} are none, or too many")
    return _uniform_int(state, int(low), int(high), y.reshape(-1))


@kernel()
def _normal(state: Any, mean: float, std: float, y: Any) -> None:
    key = stream(state)
    for i in range(0, y.size - 1, 2):
        a, b = normal_pair(key, i // 2)
        y[i] = mean + std * a
        y[i + 1] = mean + std * b
    if y.size % 2:
        y[y.size - 1] = mean + std * normal_pair(key, y.size // 2)[0]
    advance(state)


def launch_normal(state: Array, mean: float, std: float, y: Array) -> Launch:
    """Each of y normal with this mean and standard deviation; y is floating."""
    return _normal(state, float(mean), float(std), y.reshape(-1))


@kernel()
def _range(start: Any, step: Any, y: Any) -> None:
    for i in range(y.size):
        y[i] = start + y.dtype.type(i) * step


def launch_range(start: Any, step: Any, y: Array) -> Launch:
    """y[i] = start + i * step, in the type of y."""
    element = y.dtype.type
    return _range(element(start), element(step), y.reshape(-1))


def range_length(start: Any, stop: Any, step: Any) -> int:
    """How many of start, start + step, ... lie before stop; they are numpy scalars of one type.

    Raises ValueRangeError for a step of 0, and for a length that is no number.
    """
    if step == 0:
        raise ValueRangeError("the step of a range must not be 0")
    if np.dtype(type(start)).kind == "i":
        return max(0, -((int(stop) - int(start)) // -int(step)))
    with np.errstate(all="ignore"):
        length = np.ceil((stop - start) / step)
    if not np.isfinite(length):
        raise ValueRangeError(f"a range from {start} to {stop} by {step} has no length")
    return max(0, int(length))
