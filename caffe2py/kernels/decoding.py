"""Best paths through scores, and rows of numbers as one number."""

from __future__ import annotations

from typing import Any

import numpy as np

from caffe2py.errors import Error, ValueRangeError
from caffe2py.kernels.jit import kernel
from caffe2py.registry.context import Call, Launch
from caffe2py.tensor.tensor import Array

__all__ = ["launch_mixed_radix", "launch_swap_best", "launch_viterbi"]

_HALF = np.float64(0.5)


@kernel()
def _viterbi(scores: Any, moves: Any, best: Any, other: Any, origin: Any, path: Any) -> None:
    steps, classes = scores.shape
    for j in range(classes):
        best[j] = scores[0, j]
    for t in range(1, steps):
        for j in range(classes):
            at = 0
            top = best[0] + moves[0, j]
            for k in range(1, classes):
                value = best[k] + moves[k, j]
                if value > top:
                    at = k
                    top = value
            other[j] = top + scores[t, j]
            origin[t, j] = at
        for j in range(classes):
            best[j] = other[j]
    at = 0
    for j in range(1, classes):
        if best[j] > best[at]:
            at = j
    for t in range(steps - 1, 0, -1):
        path[t] = at
        at = origin[t, at]
    path[0] = at


def launch_viterbi(call: Call, scores: Array, moves: Array, path: Array) -> Launch:
    """path = the classes c that maximise the sum of scores[t, c_t] and moves[c_t-1, c_t].

    `scores` is (T, C) with at least one of each, `moves` (C, C), `path` int32 (T,).
    """
    best, other = (call.scratch(scores.shape[1:], scores.dtype) for _ in range(2))
    return _viterbi(scores, moves, best, other, call.scratch(scores.shape, np.int32), path)


@kernel()
def _swap_best(scores: Any, path: Any, out: Any) -> int:
    for t in range(scores.shape[0]):
        if path[t] < 0 or path[t] >= scores.shape[1]:
            return t + 1
    for t in range(scores.shape[0]):
        top = 0
        for j in range(scores.shape[1]):
            out[t, j] = scores[t, j]
            if scores[t, j] > scores[t, top]:
                top = j
        out[t, top] = scores[t, path[t]]
        out[t, path[t]] = scores[t, top]
    return 0


def launch_swap_best(scores: Array, path: Array, out: Array, name: str) -> Launch:
    """out = scores (T, C), in each row the largest and that of class path[t] exchanged.

    ValueRangeError where there is no such class, before anything is written.
    """

    def explain(status: int) -> Error:
        step = status - 1
        return ValueRangeError(
            f"{name}[{step}] is {int(path[step])}, and there are {scores.shape[1]} classes"
        )

    return _swap_best(scores, path, out, explain=explain)


@kernel()
def _mixed_radix(x: Any, columns: Any, begins: Any, values: Any, places: Any, y: Any) -> None:
    for i in range(x.shape[0]):
        total = np.int64(0)
        for k in range(columns.size):
            entry = x[i, columns[k]]
            for v in range(begins[k], begins[k + 1]):
                if _nearest_is(entry, values[v]):
                    total += places[v]
                    break
        y[i] = total


def _nearest_is(x: Any, value: Any) -> Any:
    """Whether x rounds to the integer, halves away from 0."""
    wide = np.float64(x)
    if value > 0:
        return wide >= value - _HALF and wide < value + _HALF
    if value < 0:
        return wide > value - _HALF and wide <= value + _HALF
    return wide > -_HALF and wide < _HALF


def launch_mixed_radix(
    x: Array, columns: Array, begins: Array, values: Array, places: Array, y: Array
) -> Launch:
    """y[i] = the sum over k of places[v], v in [begins[k], begins[k + 1]) with values[v] == x.

    x is x[i, columns[k]], rounded; where no v is found nothing is added. `y` is int64.
    """
    return _mixed_radix(x, columns, begins, values, places, y)
