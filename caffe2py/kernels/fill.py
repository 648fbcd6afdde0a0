"""Loops that fill arrays: with random numbers, and with ranges."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from caffe2py.errors import Error, ValueRangeError
from caffe2py.kernels.copy import bits
from caffe2py.kernels.jit import kernel
from caffe2py.kernels.parallel import CHUNK, divisible, moving
from caffe2py.kernels.random import (
    advance,
    bits64,
    integer,
    launch_advance,
    normal_pair,
    stream,
    uniform01,
)
from caffe2py.registry.context import Call, Launch
from caffe2py.tensor.tensor import Array

#: Nanoseconds for a random number of each kind, within a factor of three.
_UNIFORM, _NORMAL = 1, 15


def _drawn(
    state: Array, count: int, work: float, part: Callable[[int, int], Launch], multiple: int = CHUNK
) -> list[Launch]:
    """Launches for `count` numbers, and the one that counts the run."""
    return [divisible(count, work * count, part, multiple), launch_advance(state)]


@kernel()
def _uniform(state: Any, low: float, high: float, y: Any, first: int) -> None:
    """A part of the numbers, from the one called `first` on."""
    key = stream(state)
    for i in range(y.size):
        value = y.dtype.type(low + (high - low) * uniform01(key, first + i))
        y[i] = value if value < high else y.dtype.type(low)  # rounding may have reached the end


def launch_uniform(state: Array, low: float, high: float, y: Array) -> list[Launch]:
    """Each of y uniform in [low, high), or equal to both if they are the same; y is floating."""
    flat, bounds = y.reshape(-1), (float(low), float(high))
    return _drawn(
        state, y.size, _UNIFORM, lambda first, end: _uniform(state, *bounds, flat[first:end], first)
    )


@kernel()
def _uniform_int(state: Any, low: int, high: int, y: Any, first: int) -> None:
    key = stream(state)
    for i in range(y.size):
        y[i] = integer(key, first + i, low, high)


def launch_uniform_int(state: Array, low: int, high: int, y: Array) -> list[Launch]:
    """Each of y an integer in [low, high], all equally likely; high - low must be below 2**32."""
    if not 0 <= high - low < 2**32:
        raise ValueRangeError(f"integers from {low} to {high} are none, or too many")
    flat, bounds = y.reshape(-1), (int(low), int(high))
    return _drawn(
        state,
        y.size,
        _UNIFORM,
        lambda first, end: _uniform_int(state, *bounds, flat[first:end], first),
    )


@kernel()
def _normal(state: Any, mean: float, std: float, y: Any, first: int, end: int) -> None:
    """The pairs `first` to `end` of y's elements; the last one may be alone."""
    key = stream(state)
    for pair in range(first, end):
        a, b = normal_pair(key, pair)
        y[2 * pair] = mean + std * a
        if 2 * pair + 1 < y.size:
            y[2 * pair + 1] = mean + std * b


def launch_normal(state: Array, mean: float, std: float, y: Array) -> list[Launch]:
    """Each of y normal with this mean and standard deviation; y is floating."""
    flat, numbers = y.reshape(-1), (float(mean), float(std))
    return _drawn(
        state,
        -(-y.size // 2),
        2 * _NORMAL,
        lambda first, end: _normal(state, *numbers, flat, first, end),
    )


@kernel()
def _range(start: Any, step: Any, y: Any, first: int) -> None:
    for i in range(y.size):
        y[i] = start + y.dtype.type(first + i) * step


def launch_range(start: Any, step: Any, y: Array) -> Launch:
    """y[i] = start + i * step, in the type of y."""
    element, flat = y.dtype.type, y.reshape(-1)
    ends = element(start), element(step)
    return divisible(
        y.size, moving(y), lambda first, end: _range(*ends, flat[first:end], first), CHUNK
    )


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


@kernel()
def _diagonal(value: Any, step: int, y: Any, first: int) -> None:
    """A part of the elements, from the one called `first` on."""
    for i in range(y.size):
        y[i] = 0
    for i in range(-first % step, y.size, step):
        y[i] = value[0]


def launch_diagonal(value: Array, step: int, y: Array) -> Launch:
    """y = 0, but for each step-th element, which is the one element of value, of the same type."""
    own, flat, by = bits(value), bits(y).reshape(-1), max(step, 1)
    return divisible(
        y.size, moving(y), lambda first, end: _diagonal(own, by, flat[first:end], first), CHUNK
    )


# ---------------------------------------------------------------- choices


def _enter(table, used, value):
    """Whether a value is new to a hash table (sizes are powers of two); then it is entered."""
    mask = np.uint64(table.size - 1)
    word = (np.uint64(value) * np.uint64(0x9E3779B97F4A7C15)) >> np.uint64(31)
    at = np.int64(word & mask)
    while used[at] != 0:
        if table[at] == value:
            return False
        at = np.int64((np.uint64(at) + np.uint64(1)) & mask)
    used[at] = 1
    table[at] = value
    return True


@kernel()
def _different(state: Any, low: int, count: int, avoid: Any, table: Any, used: Any, y: Any) -> Any:
    """A status of 1: there are fewer than `count` numbers left."""
    for i in range(used.size):
        used[i] = 0
    left = count
    for i in range(avoid.size):
        offset = np.int64(avoid[i]) - low
        if 0 <= offset < count and _enter(table, used, offset):
            left -= 1
    if left < y.size:
        return 1
    key = stream(state)
    size = np.uint64(count)
    unfair = (~size + np.uint64(1)) % size  # 2**64 mod size: those words would favour some values
    counter = 0
    for i in range(y.size):
        while True:
            word = bits64(key, counter)
            offset = np.int64(word % size)
            counter += 1
            if word >= unfair and _enter(table, used, offset):
                break
        y[i] = low + offset
    advance(state)
    return 0


def launch_different(call: Call, low: int, high: int, avoid: Array, y: Array) -> Launch:
    """y = different integers in [low, high] that are not in `avoid`.

    high - low must be below 2**63 - 1. ValueRangeError (at run time) if there are not enough.
    """
    size = 1 << (2 * (y.size + avoid.size) + 1).bit_length()
    table, used = call.scratch((size,), np.int64), call.scratch((size,), np.uint8)

    def explain(status: int) -> Error:
        return ValueRangeError(
            f"there are no {y.size} different numbers in {low} to {high} besides those to avoid"
        )

    count = min(high - low + 1, 2**63 - 1)
    flat = (avoid.reshape(-1), table, used, y.reshape(-1))
    return _different(call.random_state(), low, count, *flat, explain=explain)


@kernel()
def _choose_by_weight(
    state: Any, weights: Any, values: Any, indices: Any, chosen: Any, first: int
) -> None:
    """Some of the rows, from the one called `first` on."""
    key = stream(state)
    for r in range(weights.shape[0]):
        total = np.float64(0)
        for c in range(weights.shape[1]):
            total += weights[r, c]
        mark = uniform01(key, first + r) * total
        total = np.float64(0)
        place = 0
        for c in range(weights.shape[1]):
            if weights[r, c] > 0:
                place = c
                total += weights[r, c]
                if total > mark:
                    break
        indices[r] = place
        if chosen.size > 0:
            chosen[r] = values[r, place]


def launch_choose_by_weight(
    state: Array, weights: Array, values: Array, indices: Array, chosen: Array
) -> list[Launch]:
    """indices[r] = a column of row r, as likely as its weight; chosen, unless empty, its value."""

    def part(first: int, end: int) -> Launch:
        rows = (weights[first:end], values[first:end], indices[first:end])
        own = chosen[first:end] if chosen.size else chosen
        return _choose_by_weight(state, *rows, own, first)

    work = moving(weights) / max(len(weights), 1)
    return _drawn(state, len(weights), _UNIFORM + 10 * work, part, 1)


@kernel()
def _choose_by_sums(state: Any, sums: Any, y: Any, first: int) -> None:
    key = stream(state)
    for i in range(y.size):
        mark = uniform01(key, first + i) * sums[sums.size - 1]
        low, high = 0, sums.size - 1
        while low < high:
            middle = (low + high) // 2
            if sums[middle] > mark:
                high = middle
            else:
                low = middle + 1
        y[i] = low


def launch_choose_by_sums(state: Array, sums: Array, y: Array) -> list[Launch]:
    """y = places, as likely as the running sums grow there; y is empty if sums is."""
    flat = y.reshape(-1)
    work = _UNIFORM * (1 + sums.size.bit_length())
    return _drawn(
        state, y.size, work, lambda first, end: _choose_by_sums(state, sums, flat[first:end], first)
    )
