"""Rounding, signs, remainders, limits: functions with steps, and the values that replace others."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from caffe2py.errors import ArgumentError, ArityError, ShapeError
from caffe2py.kernels.copy import launch_copy
from caffe2py.kernels.elementwise import FLOATS, NUMERIC, elementwise, launch_map
from caffe2py.kernels.library import down, up
from caffe2py.kernels.transform import launch_clip_rows
from caffe2py.registry.context import Call, Launch
from caffe2py.registry.gradient import NotDifferentiable
from caffe2py.registry.infer import Query, product, require_dtype
from caffe2py.registry.operator import operator
from caffe2py.registry.schema import Arg
from caffe2py.tensor.place import overlap
from caffe2py.tensor.types import TensorType, shape_text

_STEPS = NotDifferentiable("it is flat between its steps")
_LARGEST = float(np.finfo(np.float32).max)
_LARGEST_INT = np.iinfo(np.int32).max


@elementwise(
    "Floor",
    "X -> Y",
    dtypes=FLOATS,
    inplace={0: 0},
    gradient=_STEPS,
    example="""
    X = [1.5, -1.5]
    Y = [1, -2]
    """,
)
def rounded_down(x):
    """Y = the largest integer that is at most X."""
    return down(x)


@elementwise(
    "Ceil",
    "X -> Y",
    dtypes=FLOATS,
    inplace={0: 0},
    gradient=_STEPS,
    example="""
    X = [1.5, -1.5]
    Y = [2, -1]
    """,
)
def rounded_up(x):
    """Y = the smallest integer that is at least X."""
    return up(x)


@elementwise(
    "Sign",
    "X -> Y",
    dtypes=NUMERIC,
    gradient=_STEPS,
    example="""
    X = [1.5, 0, -2]
    Y = [1, 0, -1]
    """,
)
def direction(x):
    """Y = 1 where X > 0, -1 where X < 0, 0 elsewhere (also for NaN)."""
    if x > 0:
        return 1
    return -1 if x < 0 else 0


@elementwise(
    "ReplaceNaN",
    "input -> output",
    dtypes=FLOATS,
    inplace={0: 0},
    gradient=NotDifferentiable("it mends values, it is no part of a model"),
    value=Arg(float, 0.0, "what a NaN becomes"),
    example="""
    input = [1, nan]
    output = [1, 0]
    """,
)
def replace_nan(x, value):
    """Output = `value` where the input is NaN, the input elsewhere."""
    return value if math.isnan(x) else x


# ---------------------------------------------------------------- Mod


def _infer_mod(query: Query) -> Sequence[TensorType]:
    if query.args.divisor == 0:
        raise ArgumentError("argument 'divisor' must not be 0")
    require_dtype(query, 0, "int32", "int64")
    return [query.inputs[0]]


_mod = operator(
    "Mod",
    "X -> Y",
    infer=_infer_mod,
    inplace={0: 0},
    gradient=NotDifferentiable("it takes integers"),
    divisor=Arg(int, 0, "what X is divided by; not 0"),
    sign_follow_divisor=Arg(bool, False, "a remainder has the sign of the divisor, not of X"),
    doc="""
    Y = the remainder of X divided by `divisor`, with the sign of X as in C, or as in Python with
    the sign of the divisor. X is int32 or int64. Raises ArgumentError for the divisor 0.
    """,
    example="""
    X = [7, -7]; divisor = 3
    Y = [1, -1], or [1, 2] with sign_follow_divisor
    """,
)


def _remainder_like_divisor(x, divisor):
    # the smallest integer divided by -1 stops the processor
    return 0 if divisor == -1 else x % divisor


def _remainder_wrapped(x, divisor):
    # of a divisor that int32 cannot hold: what does not fit wraps around
    return (x % divisor + 2**31) % 2**32 - 2**31


def _remainder_like_dividend(x, divisor):
    if divisor == -1:
        return 0
    rest = x % divisor
    return rest - divisor if rest != 0 and (x < 0) != (divisor < 0) else rest


@_mod.everywhere
def _launch_mod(call: Call) -> Launch:
    like_divisor = call.args.sign_follow_divisor
    function = _remainder_like_divisor if like_divisor else _remainder_like_dividend
    if like_divisor and call.inputs[0].itemsize == 4 and abs(call.args.divisor) > _LARGEST_INT:
        function = _remainder_wrapped
    return launch_map(function, call.inputs, call.outputs[0], call.args.divisor)


# ---------------------------------------------------------------- EnsureClipped


def _require_width(query: Query) -> None:
    """Rows of `grad` (behind the axes of `indices`) are as long as those of `param`."""
    param, indices, grad = (t.shape for t in query.inputs)
    if param is None or indices is None or grad is None:
        return
    wanted, found = product(param[1:]), product(grad[len(indices) :])
    if len(grad) < len(indices) or (None not in (wanted, found) and wanted != found):
        raise ShapeError(
            f"rows of 'grad' {shape_text(grad)}, behind the {len(indices)} axes of 'indices', must "
            f"be as long as those of 'param' {shape_text(param)}"
        )


def _infer_clipped(query: Query) -> Sequence[TensorType]:
    require_dtype(query, 0, *FLOATS)
    if len(query.inputs) == 2:
        raise ArityError("with `indices` the gradient `grad` is needed, too; found 2 inputs")
    if len(query.inputs) == 3:
        require_dtype(query, 1, "int32", "int64")
        if query.inputs[0].rank == 0:
            raise ShapeError("'param' has no rows that `indices` could name")
        _require_width(query)
    return [query.inputs[0]]


_clipped = operator(
    "EnsureClipped",
    "param, indices?, grad? -> output_param",
    infer=_infer_clipped,
    inplace={0: 0},
    gradient=NotDifferentiable("it changes parameters, it is no part of a model"),
    min=Arg(float, -_LARGEST, "the least value; that of float32 if left out"),
    max=Arg(float, _LARGEST, "the largest value; that of float32 if left out"),
    doc="""
    output_param = min(max(param, `min`), `max`). With `indices` and `grad`, the two halves of a
    sparse gradient, only the rows of param that indices names are limited; the others are copied
    (Caffe2 demands that param is changed in place then). Raises ValueRangeError for an index
    outside of param, where Caffe2 writes to other memory.
    """,
    example="""
    param = [[1, 9], [9, 1]]; indices = [1]; grad = [[0, 0]]; min = 2; max = 5
    output_param = [[1, 9], [5, 2]]
    """,
)


def _limited(x, low, high):
    y = low if x < low else x
    return high if y > high else y


@_clipped.everywhere
def _launch_clipped(call: Call) -> list[Launch]:
    low, high = call.args.min, call.args.max
    x, y = call.inputs[0], call.outputs[0]
    if len(call.inputs) == 1:
        return [launch_map(_limited, (x,), y, low, high)]
    rows = y.reshape(y.shape[0], -1) if y.size else y.reshape(y.shape[0], 0)
    return [launch_copy(x, y), launch_clip_rows(call.inputs[1].reshape(-1), low, high, rows)]


# ---------------------------------------------------------------- ScaleBlobs


def _infer_scaled(query: Query) -> Sequence[TensorType]:
    if query.outputs != len(query.inputs):
        raise ArityError(f"expected {len(query.inputs)} output(s), found {query.outputs}")
    for index in range(len(query.inputs)):
        require_dtype(query, index, *FLOATS)
    return list(query.inputs)


_scale_blobs = operator(
    "ScaleBlobs",
    "inputs+ -> outputs+",
    infer=_infer_scaled,
    inplace=lambda i, o: True,
    gradient=NotDifferentiable("it changes parameters, it is no part of a model"),
    scale=Arg(float, 1.0, "the factor"),
    doc="outputs[k] = inputs[k] * `scale` for any number of tensors of any shapes.",
    example="""
    inputs = [1, 2], [3]; scale = 2
    outputs = [2, 4], [6]
    """,
)


def _product(x, scale):
    return x * scale


@_scale_blobs.everywhere
def _launch_scale_blobs(call: Call) -> list[Launch]:
    scale = call.args.scale
    launches: list[Launch] = []
    sources = list(call.inputs)
    for k, x in enumerate(sources):
        if any(overlap(x, y) for y in call.outputs[:k]):  # overwritten before its turn
            sources[k] = call.scratch(x.shape, x.dtype)
            launches.append(launch_copy(x, sources[k]))
    for x, y in zip(sources, call.outputs, strict=True):
        launches.append(launch_map(_product, (x,), y, scale))
    return launches
