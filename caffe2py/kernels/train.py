"""Tables of rows in tensor-train form: three cores, of which each row is a product."""

from __future__ import annotations

from typing import Any

import numpy as np

from caffe2py.errors import Error, ValueRangeError
from caffe2py.kernels.jit import kernel
from caffe2py.registry.context import Launch
from caffe2py.tensor.tensor import Array

_LAST_STATUS = 2**31 - 1


@kernel()
def _digits(index: Any, first: int, second: int, third: int, digits: Any) -> Any:
    for n in range(index.size):
        if not 0 <= index[n] < first * second * third:
            return min(n + 1, _LAST_STATUS)
        digits[n, 0] = index[n] % first
        digits[n, 1] = index[n] // first % second
        digits[n, 2] = index[n] // (first * second)
    return 0


@kernel("contract")
def _products(first: Any, second: Any, digits: Any, once: Any, twice: Any) -> None:
    """once[n] = a slice of the first core, twice[n] = once[n] times a slice of the second."""
    for n in range(digits.shape[0]):
        left, right = first[digits[n, 0]], second[digits[n, 1]]
        for j in range(once.shape[1]):
            for m in range(twice.shape[2]):
                twice[n, j, m] = 0
            for r in range(once.shape[2]):
                once[n, j, r] = left[j, r]
                for m in range(twice.shape[2]):
                    twice[n, j, m] += left[j, r] * right[r, m]


@kernel("contract")
def _sums(twice: Any, third: Any, digits: Any, offsets: Any, y: Any) -> None:
    for s in range(y.shape[0]):
        for a in range(y.shape[1]):
            for j in range(y.shape[2]):
                y[s, a, j] = 0
        for p in range(offsets[s], offsets[s + 1]):
            right = third[digits[p, 2]]
            for a in range(y.shape[1]):
                for r in range(twice.shape[2]):
                    for j in range(y.shape[2]):
                        y[s, a, j] += twice[p, a, r] * right[r, j]


def launch_train_sum(
    cores: tuple[Array, Array, Array],
    index: Array,
    offsets: Array,
    digits: Array,
    once: Array,
    twice: Array,
    y: Array,
) -> list[Launch]:
    """y[s] = the sum of the rows of segment s; once, twice and digits are kept for the way back.

    Cores are (I0, J0, R1), (I1, R1, J1 * R2) and (I2, R2, J2), y is (segments, J0 * J1, J2), once
    (N, J0, R1) and twice (N, J0, J1 * R2). ValueRangeError (at run time) for an index that is no
    row.
    """
    first, second, third = cores
    sizes = tuple(core.shape[0] for core in cores)

    def explain(status: int) -> Error:
        return ValueRangeError(
            f"index {int(index[status - 1])} at position {status - 1} is out of range; expected 0 "
            f"to {int(np.prod(sizes)) - 1}"
        )

    pairs = twice.reshape(len(twice), y.shape[1], third.shape[1])
    return [
        _digits(index, *sizes, digits, explain=explain),
        _products(first, second, digits, once, twice),
        _sums(pairs, third, digits, offsets, y),
    ]


@kernel()
def _check(digits: Any, first: int, second: int, third: int) -> Any:
    for n in range(digits.shape[0]):
        inside = 0 <= digits[n, 0] < first and 0 <= digits[n, 1] < second
        if not inside or not 0 <= digits[n, 2] < third:
            return min(n + 1, _LAST_STATUS)
    return 0


@kernel()
def _zero(x: Any) -> None:
    for i in range(x.size):
        x[i] = 0


@kernel("contract")
def _third_gradient(
    twice: Any, third: Any, digits: Any, offsets: Any, dy: Any, dthird: Any, dtwice: Any
) -> None:
    for s in range(dy.shape[0]):
        for p in range(offsets[s], offsets[s + 1]):
            at = digits[p, 2]
            for a in range(dy.shape[1]):
                for r in range(twice.shape[2]):
                    total = dy.dtype.type(0)
                    for j in range(dy.shape[2]):
                        dthird[at, r, j] += twice[p, a, r] * dy[s, a, j]
                        total += third[at, r, j] * dy[s, a, j]
                    dtwice[p, a, r] = total


@kernel("contract")
def _first_gradients(
    once: Any, second: Any, digits: Any, dtwice: Any, dfirst: Any, dsecond: Any
) -> None:
    for p in range(digits.shape[0]):
        one, two = digits[p, 0], digits[p, 1]
        for j in range(once.shape[1]):
            for r in range(once.shape[2]):
                total = once.dtype.type(0)
                for m in range(dtwice.shape[2]):
                    dsecond[two, r, m] += once[p, j, r] * dtwice[p, j, m]
                    total += second[two, r, m] * dtwice[p, j, m]
                dfirst[one, j, r] += total


def launch_train_gradient(
    cores: tuple[Array, Array, Array],
    offsets: Array,
    digits: Array,
    once: Array,
    twice: Array,
    dy: Array,
    dtwice: Array,
    dcores: tuple[Array, Array, Array],
) -> list[Launch]:
    """The gradients of the cores, shaped as for launch_train_sum; dtwice is scratch like twice."""
    _, second, third = cores
    dfirst, dsecond, dthird = dcores

    def explain(status: int) -> Error:
        return ValueRangeError(f"indices[{status - 1}] = {digits[status - 1].tolist()} is no row")

    pairs = (len(twice), dy.shape[1], third.shape[1])
    args = twice.reshape(pairs), third, digits, offsets, dy, dthird, dtwice.reshape(pairs)
    return [
        _check(digits, *(core.shape[0] for core in cores), explain=explain),
        *(_zero(core.reshape(-1)) for core in dcores),
        _third_gradient(*args),
        _first_gradients(once, second, digits, dtwice, dfirst, dsecond),
    ]
