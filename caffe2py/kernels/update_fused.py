"""Updates of rows of parameters by gradients that segments of the rows have in common."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from caffe2py.errors import Error, ShapeError, ValueRangeError
from caffe2py.kernels.index import launch_check
from caffe2py.kernels.jit import kernel
from caffe2py.kernels.parallel import divisible, is_on_device, moving
from caffe2py.kernels.segment import Walk
from caffe2py.registry.context import Launch
from caffe2py.tensor.late import late
from caffe2py.tensor.place import on_host
from caffe2py.tensor.tensor import Array
from caffe2py.tensor.types import shape_text

_LAST_STATUS = 2**31 - 1


@kernel()
def _check_reach(offsets: Any, weights: int, first: int, end: int) -> Any:
    for s in range(first, end):
        if offsets[s + 1] - offsets[s] > weights:
            return min(s + 1, _LAST_STATUS)
    return 0


def launch_check_reach(walk: Walk, weights: int) -> Launch:
    """ValueRangeError (at run time) for a segment of more items than there are weights."""
    offsets = walk.offsets

    def explain(status: int) -> Error:
        items = int(np.diff(on_host(offsets))[status - 1])
        return ValueRangeError(
            f"segment {status - 1} has {items} row(s), but there are {weights} weights by place"
        )

    def part(first: int, end: int) -> Launch:
        return _check_reach(offsets, weights, first, end, explain=explain)

    return divisible(walk.count, moving(offsets), part)


def _dot(a: Any, at: Any, b: Any, start: Any, width: Any) -> Any:
    total = a.dtype.type(0)
    for k in range(width):
        total += a[at + k] * b[start + k]
    return total


@kernel()
def _adagrad(
    w: Any,
    h: Any,
    offsets: Any,
    indices: Any,
    g: Any,
    lr: Any,
    width: int,
    weights: Any,
    weighted: bool,
    mean: bool,
    slopes: Any,
    late: bool,
    row_wise: bool,
    epsilon: Any,
    decay: Any,
) -> None:
    """Rows one after the other; `late` slopes of weights see the changes of the rows before."""
    one = w.dtype.type(1)
    rate = w.dtype.type(lr[0])
    if weighted and not late:
        for s in range(offsets.size - 1):
            for p in range(offsets[s], offsets[s + 1]):
                slopes[p] = _dot(w, np.int64(indices[p]) * width, g, s * width, width)
    for s in range(offsets.size - 1):
        first, last = offsets[s], offsets[s + 1]
        factor = one / w.dtype.type(last - first) if mean and last > first else one
        own = g[s * width : (s + 1) * width]
        for p in range(first, last):
            row = np.int64(indices[p])
            if weighted:
                factor = weights[p - first]
                if late:
                    slopes[p] = _dot(w, row * width, own, 0, width)
            values = w[row * width : (row + 1) * width]
            if row_wise:
                total = w.dtype.type(0)
                for k in range(width):
                    slope = factor * own[k] + decay * values[k]
                    total += slope * slope
                if width > 0:
                    h[row] += total / w.dtype.type(width)
                step = rate / (math.sqrt(h[row]) + epsilon)
                for k in range(width):
                    values[k] += step * (factor * own[k] + decay * values[k])
            else:
                moments = h[row * width : (row + 1) * width]
                for k in range(width):
                    slope = factor * own[k] + decay * values[k]
                    moments[k] += slope * slope
                    values[k] += rate * slope / (math.sqrt(moments[k]) + epsilon)


@dataclass(frozen=True)
class Manner:
    """How parameters change: with a moment for each row, and by a mean of gradients or not."""

    row_wise: bool
    mean: bool
    epsilon: float
    decay: float


@dataclass(frozen=True)
class Weights:
    """The weights of rows by their place in a segment, where their gradients go, and when.

    A gradient is the dot product of a row with that of its segment; the row is as it was at first,
    or (`late`) as it is when its turn comes.
    """

    values: Array
    slopes: Array
    late: bool


def launch_segment_adagrad(
    walk: Walk,
    tables: tuple[Array, Array],
    indices: Array,
    grads: Array,
    lr: Array,
    manner: Manner,
    weights: Weights | None = None,
) -> list[Launch]:
    """Adagrad, in place, on the rows of two matrices: parameters and moments.

    Row indices[i] has the gradient grads[s] of its segment s, times the weight of its place or one
    by the number of rows, and plus decay * itself. ValueRangeError (at run time), before anything
    is changed, for an index out of range or too few weights. Walks go in order.
    """
    param, moment = tables
    width = param.shape[1]
    if grads.shape != (walk.count, width) or moment.size != (
        param.shape[0] if manner.row_wise else param.size
    ):
        raise ShapeError(f"{shape_text(grads.shape)} for {walk.count} segments of {width}")
    checks = [*walk.launches, launch_check(indices, param.shape[0])]
    if not walk.count:
        return checks
    some = lr.reshape(-1) if weights is None else weights.values.reshape(-1)
    slopes = some
    if weights is not None:
        slopes = weights.slopes.reshape(-1)
        checks.append(launch_check_reach(walk, some.size))
    kind: Callable[[float], Any] = param.dtype.type
    w, h, g = param.reshape(-1), moment.reshape(-1), grads.reshape(-1)
    weighted, late_ = weights is not None, weights is not None and weights.late
    numbers = kind(manner.epsilon), kind(manner.decay)
    flags = slopes, late_, manner.row_wise
    rest = some, weighted, manner.mean, *flags, *numbers
    items = indices.reshape(-1)
    if is_on_device(param):
        dots = (w, walk.offsets, items, g, slopes) if weighted and not late_ else ()
        args = (w, h, walk.offsets, items, g, lr.reshape(-1), *rest)
        launch = late("kernels.cuda.updates", "launch_segments")
        return [*checks, *launch(items, param.shape[0], width, dots, args)]
    return [*checks, _adagrad(w, h, walk.offsets, items, g, lr.reshape(-1), width, *rest)]
