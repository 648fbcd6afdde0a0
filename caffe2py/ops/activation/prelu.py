"""PRelu: a slope for each channel."""

from __future__ import annotations

import math
from collections.abc import Sequence

from caffe2py.errors import ArgumentError, ShapeError
from caffe2py.kernels.channels import launch_channel_map
from caffe2py.kernels.elementwise import FLOATS, launch_map
from caffe2py.kernels.reduce import launch_sum
from caffe2py.registry.context import Call, Launch
from caffe2py.registry.infer import (
    Query,
    product,
    require_dtype,
    require_same_dtype,
    require_same_shape,
)
from caffe2py.registry.operator import operator
from caffe2py.registry.schema import Arg
from caffe2py.tensor.tensor import Array
from caffe2py.tensor.types import Shape, TensorType, shape_text


def _channel_axis(rank: int, order: str) -> int:
    """The axis of X along which the slopes lie."""
    return 1 if order.upper() == "NCHW" else rank - 1


def _require_slopes(query: Query, x: int, slope: int) -> None:
    """One slope, or one for each channel."""
    if query.args.order.upper() not in ("NCHW", "NHWC"):
        raise ArgumentError(f"argument 'order' is NCHW or NHWC, found {query.args.order!r}")
    shape, slopes = query.inputs[x].shape, query.inputs[slope].shape
    count = None if slopes is None else product(slopes)
    if shape is None or count in (None, 1):
        return
    axis = _channel_axis(len(shape), query.args.order)
    channels = shape[axis] if 0 <= axis < len(shape) else 1
    if channels is not None and count != channels:
        raise ShapeError(
            f"'{query.name(slope)}' must have 1 element or {channels}, one for each channel of "
            f"'{query.name(x)}' {shape_text(shape)}; found {shape_text(slopes)}"
        )


def _infer_prelu(query: Query) -> Sequence[TensorType]:
    for index in (0, 1):
        require_dtype(query, index, *FLOATS)
    require_same_dtype(query, 0, 1)
    _require_slopes(query, 0, 1)
    return [query.inputs[0]]


ORDER = {"order": Arg(str, "NCHW", "where X has its channels: NCHW (axis 1) or NHWC (the last)")}

_prelu = operator(
    "PRelu",
    "X, Slope -> Y",
    infer=_infer_prelu,
    inplace={0: 0},
    gradient="PReluGradient(Y, dY, X, Slope) -> dX, dSlope",
    onnx="PRelu",
    arguments=ORDER,
    doc="""
    Y = X where X > 0, Slope * X elsewhere; `Slope` has one element, or one for each channel of X.
    Raises ShapeError if it has another number of them.
    """,
    example="""
    X = [[-1, -2], [3, -4]]; Slope = [0.5, 0.25]
    Y = [[-0.5, -0.5], [3, -1]]
    """,
)


def _by_channel(x: Array, slopes: Array, order: str) -> Shape:
    """The shape of X as (outer, channels, inner); a single slope makes one channel of all."""
    axis = _channel_axis(x.ndim, order)
    if slopes.size == 1 or not 0 <= axis < x.ndim:
        return (1, 1, x.size)
    return (math.prod(x.shape[:axis]), x.shape[axis], math.prod(x.shape[axis + 1 :]))


def _prelu_formula(x, slope):
    return x if x > 0 else slope * x


def _prelu_gradient_formula(x, dy, slope):
    return dy if x > 0 else slope * dy


def _slope_gradient_formula(x, dy):
    return 0 if x > 0 else x * dy


@_prelu.everywhere
def _launch_prelu(call: Call) -> Launch:
    x, slopes = call.inputs
    shape = _by_channel(x, slopes, call.args.order)
    y = call.outputs[0].reshape(shape)
    return launch_channel_map(_prelu_formula, (x.reshape(shape),), (slopes.reshape(-1),), y)


def _infer_prelu_gradient(query: Query) -> Sequence[TensorType]:
    for index in range(4):
        require_dtype(query, index, *FLOATS)
    require_same_dtype(query, 0, 1, 2, 3)
    require_same_shape(query, 0, 1, 2)
    _require_slopes(query, 2, 3)
    return [query.inputs[2], query.inputs[3]]


_prelu_gradient = operator(
    "PReluGradient",
    "Y, dY, X, Slope -> dX, dSlope",
    infer=_infer_prelu_gradient,
    arguments=ORDER,
    doc="""
    dX = dY where X > 0, Slope * dY elsewhere; dSlope = sum of dY * X where X <= 0, over the channel
    of each slope.
    """,
)


@_prelu_gradient.everywhere
def _launch_prelu_gradient(call: Call) -> list[Launch]:
    _, dy, x, slopes = call.inputs
    dx, dslopes = call.outputs
    shape = _by_channel(x, slopes, call.args.order)
    terms = call.scratch(shape, x.dtype)
    arrays = (x.reshape(shape), dy.reshape(shape))
    vectors = (slopes.reshape(-1),)
    return [
        launch_channel_map(_prelu_gradient_formula, arrays, vectors, dx.reshape(shape)),
        launch_map(_slope_gradient_formula, arrays, terms),
        *launch_sum(call, terms, (0, 2), dslopes),
    ]
