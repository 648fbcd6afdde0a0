"""Activations: functions of one element."""

from __future__ import annotations

import math
from collections.abc import Sequence

from caffe2py.errors import ArgumentError, ShapeError
from caffe2py.kernels.channels import launch_channel_map
from caffe2py.kernels.elementwise import FLOATS, elementwise, launch_map
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


@elementwise(
    "Relu",
    "X -> Y",
    inplace={0: 0},
    gradient="ReluGradient(Y, dY) -> dX",
    onnx="Relu",
    example="""
    X = [-1, 0, 2]
    Y = [0, 0, 2]
    """,
)
def relu(x):
    """Y = max(X, 0)"""
    return max(x, 0)


@elementwise("ReluGradient", "Y, dY -> dX", inplace={1: 0})
def relu_gradient(y, dy):
    """dX = dY where Y > 0, 0 elsewhere."""
    return dy if y > 0 else 0


@elementwise(
    "Sigmoid",
    "X -> Y",
    inplace={0: 0},
    gradient="SigmoidGradient(Y, dY) -> dX",
    onnx="Sigmoid",
    example="""
    X = [0, 2]
    Y = [0.5, 0.8808]
    """,
)
def sigmoid(x):
    """Y = 1 / (1 + exp(-X))"""
    return 1 / (1 + math.exp(-x))


@elementwise("SigmoidGradient", "Y, dY -> dX", inplace={1: 0})
def sigmoid_gradient(y, dy):
    """dX = dY * Y * (1 - Y)"""
    return dy * y * (1 - y)


@elementwise(
    "Tanh",
    "input -> output",
    inplace={0: 0},
    gradient="TanhGradient(output, doutput) -> dinput",
    onnx="Tanh",
    example="""
    input = [0, 1]
    output = [0, 0.7616]
    """,
)
def hyperbolic_tangent(x):
    """Output = (exp(input) - exp(-input)) / (exp(input) + exp(-input))"""
    return math.tanh(x)


@elementwise("TanhGradient", "Y, dY -> dX", inplace={1: 0})
def hyperbolic_tangent_gradient(y, dy):
    """dX = dY * (1 - Y * Y)"""
    return dy * (1 - y * y)


ALPHA = Arg(float, 1.0, "minus the limit for small X")


@elementwise(
    "Elu",
    "X -> Y",
    inplace={0: 0},
    gradient="EluGradient(Y, dY) -> dX",
    onnx="Elu",
    alpha=ALPHA,
    example="""
    X = [-2, 0, 3]
    Y = [-0.8647, 0, 3]
    """,
)
def elu(x, alpha):
    """Y = X where X >= 0, `alpha` * (exp(X) - 1) elsewhere."""
    return alpha * math.expm1(x) if x < 0 else x


@elementwise("EluGradient", "Y, dY -> dX", inplace={1: 0}, alpha=ALPHA)
def elu_gradient(y, dy, alpha):
    """dX = dY where Y >= 0, dY * (Y + `alpha`) elsewhere.

    With `alpha` 0 every X <= 0 has Y = 0: dX is 0 there, as for Relu (Caffe2 passes dY on).
    """
    if y < 0 or (y == 0 and alpha == 0):
        return dy * (y + alpha)
    return dy


SLOPE = Arg(float, 0.01, "the slope where X < 0")


@elementwise(
    "LeakyRelu",
    "X -> Y",
    inplace={0: 0},
    gradient="LeakyReluGradient(Y, dY) -> dX",
    alpha=SLOPE,
    example="""
    X = [-1, 0, 2]
    Y = [-0.01, 0, 2]
    """,
)
def leaky_relu(x, alpha):
    """Y = X where X >= 0, `alpha` * X elsewhere.

    An infinite X gives an infinite Y, except -inf with `alpha` 0 (in Caffe2 both are NaN).
    """
    return x if x >= 0 else alpha * x


@elementwise(
    "LeakyReluGradient", "Y, dY -> dX", inplace={1: 0}, onnx="LeakyReluGradient", alpha=SLOPE
)
def leaky_relu_gradient(y, dy, alpha):
    """dX = dY where Y >= 0, `alpha` * dY elsewhere.

    With `alpha` 0 every X <= 0 has Y = 0: dX is 0 there, as for Relu (Caffe2 passes dY on). An
    infinite dY stays infinite (in Caffe2 it becomes NaN).
    """
    if y > 0 or (y == 0 and alpha != 0):
        return dy
    return alpha * dy


# ---------------------------------------------------------------- PRelu


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


@_prelu.cpu
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


@_prelu_gradient.cpu
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
