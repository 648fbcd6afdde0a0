"""Absolute values, limits, exponentials, powers."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from caffe2py.errors import ArgumentError, NoGradientError
from caffe2py.kernels.elementwise import FLOATS, elementwise, launch_broadcast, launch_map
from caffe2py.kernels.vectormath import exp, log, power
from caffe2py.proto.caffe2_pb2 import OperatorDef
from caffe2py.registry.broadcast import BROADCAST, aligned_shape, require_old_fit
from caffe2py.registry.context import Call, Launch
from caffe2py.registry.gradient import Gradient, GradientName, gradient_name, gradient_op
from caffe2py.registry.infer import (
    Query,
    broadcast_shapes,
    require_dtype,
    require_same_dtype,
    require_same_shape,
)
from caffe2py.registry.operator import operator
from caffe2py.registry.schema import Arg
from caffe2py.tensor.types import TensorType

_LARGEST = float(np.finfo(np.float32).max)


@elementwise(
    "Abs",
    "X -> Y",
    dtypes=FLOATS,
    gradient="AbsGradient(X, dY) -> dX",
    onnx="Abs",
    example="""
    X = [-1.5, 0, 2]
    Y = [1.5, 0, 2]
    """,
)
def absolute(x):
    """Y = |X|"""
    return abs(x)


@elementwise("AbsGradient", "X, dY -> dX", dtypes=FLOATS)
def absolute_gradient(x, dy):
    """dX = dY where X > 0, 0 where X = 0, -dY elsewhere."""
    if x == 0:
        return 0
    return dy if x > 0 else -dy


CLIP = {
    "min": Arg(float, -_LARGEST, "the least value of Y; that of float32 if left out"),
    "max": Arg(float, _LARGEST, "the largest value of Y; that of float32 if left out"),
}


@elementwise(
    "Clip",
    "X -> Y",
    arguments=CLIP,
    inplace={0: 0},
    gradient="ClipGradient(Y, dY) -> dX",
    onnx="Clip",
    example="""
    X = [-2, 0.5, 3]; min = -1; max = 1
    Y = [-1, 0.5, 1]
    """,
)
def clip(x, min, max):
    """Y = min(max(X, `min`), `max`)

    An infinite X becomes the nearest limit, NaN stays NaN; where `min` exceeds `max`, Y is `max`.
    """
    y = min if x < min else x
    return max if y > max else y


@elementwise("ClipGradient", "Y, dY -> dX", arguments=CLIP, inplace={1: 0})
def clip_gradient(y, dy, min, max):
    """dX = dY where `min` < Y < `max`, dY * 0 elsewhere."""
    return dy if min < y and y < max else dy * 0


@elementwise(
    "Exp",
    "X -> Y",
    dtypes=FLOATS,
    inplace={0: 0},
    gradient="Mul(Y, dY) -> dX",
    onnx="Exp",
    example="""
    X = [0, 1]
    Y = [1, 2.7183]
    """,
)
def exponential(x):
    """Y = e ** X"""
    return exp(x)


@elementwise(
    "Log",
    "X -> Y",
    dtypes=FLOATS,
    inplace={0: 0},
    gradient="Div(dY, X) -> dX",
    onnx="Log",
    example="""
    X = [1, 10]
    Y = [0, 2.3026]
    """,
)
def logarithm(x):
    """Y = ln(X); -inf for 0, NaN for negative numbers."""
    return log(x)


@elementwise(
    "Scale",
    "X -> Y",
    dtypes=FLOATS,
    inplace={0: 0},
    gradient="Scale(dY) -> dX",
    scale=Arg(float, 1.0, "the factor"),
    example="""
    X = [1, -2]; scale = 3
    Y = [3, -6]
    """,
)
def scaled(x, scale):
    """Y = X * `scale`"""
    return x * scale


def _square_gradient(op: OperatorDef, output_grads: Sequence[GradientName]) -> Gradient:
    """dX = (2 * dY) * X, where the gradient of Y itself is doubled."""
    (dy,) = output_grads
    if dy is None:
        raise NoGradientError("Sqr: the gradient reads dY, which nothing in the net provides")
    made = gradient_name(op.input[0])
    twice = gradient_op(op, "Scale", [dy], [dy], {"scale": 2.0})
    return Gradient((twice, gradient_op(op, "Mul", [dy, op.input[0]], [made])), (made,))


@elementwise(
    "Sqr",
    "X -> Y",
    dtypes=FLOATS,
    inplace={0: 0},
    gradient=_square_gradient,
    example="""
    X = [3, -2]
    Y = [9, 4]
    """,
)
def square(x):
    """Y = X * X"""
    return x * x


@elementwise(
    "Sqrt",
    "X -> Y",
    dtypes=FLOATS,
    inplace={0: 0},
    gradient="""
    Scale(dY; scale=0.5) -> dX
    Div(dX, Y) -> dX
    """,
    example="""
    X = [9, 2]
    Y = [3, 1.4142]
    """,
)
def square_root(x):
    """Y = the square root of X; NaN for negative numbers."""
    return math.sqrt(x)


# ---------------------------------------------------------------- Pow

EXPONENT = Arg(float, 0.0, "the exponent, where it is no input")


def _infer_pow(query: Query) -> Sequence[TensorType]:
    for index in range(len(query.inputs)):
        require_dtype(query, index, "float32")
    if len(query.inputs) == 1:
        if "exponent" not in query.args.given:
            raise ArgumentError("the exponent is missing: argument 'exponent' or a second input")
        return [query.inputs[0]]
    dtype = require_same_dtype(query, 0, 1)
    x, exponent = query.inputs
    if not query.args.broadcast:
        return [TensorType(dtype, require_same_shape(query, 0, 1))]
    if x.shape is None or exponent.shape is None:
        return [TensorType(dtype)]
    shape = broadcast_shapes(x.shape, aligned_shape(x.shape, exponent.shape, query.args))
    require_old_fit(x, exponent, shape or ())
    return [TensorType(dtype, shape)]


def _pow_gradient(op: OperatorDef, output_grads: Sequence[GradientName]) -> Gradient:
    """dX = X ** (exponent - 1) * dY * exponent; d exponent = ln(X) * Y * dY."""
    (dy,) = output_grads
    if dy is None:
        raise NoGradientError("Pow: the gradient reads dY, which nothing in the net provides")
    given = {a.name: a for a in op.arg}
    if len(op.input) == 2:
        return _pow_gradient_of_tensor(op, dy)
    if "exponent" not in given:
        raise NoGradientError("Pow: it has neither an argument nor an input 'exponent'")
    return _pow_gradient_of_number(op, dy, EXPONENT.read(given["exponent"]))


def _pow_gradient_of_number(op: OperatorDef, dy: str, exponent: float) -> Gradient:
    x, dx = op.input[0], gradient_name(op.input[0])
    steps = (
        _step(op, "Pow", [x], dx, exponent=exponent - 1.0),
        _step(op, "Mul", [dx, dy], dx),
        _step(op, "Scale", [dx], dx, scale=exponent),
    )
    return Gradient(steps, (dx,))


def _pow_gradient_of_tensor(op: OperatorDef, dy: str) -> Gradient:
    (x, exponent), y = op.input, op.output[0]
    dx, dexponent = gradient_name(x), gradient_name(exponent)
    full = f"{dexponent}_autogen_pre_red"
    given = {a.name: BROADCAST[a.name].read(a) for a in op.arg if a.name in BROADCAST}
    old = "broadcast" in given
    places = {name: given.get(name, BROADCAST[name].default) for name in BROADCAST}
    axis = {name: value for name, value in places.items() if name != "broadcast"}
    like = {**places, "broadcast": int(places["broadcast"])} if old else {}
    steps = [
        _step(op, "ConstantFill", [exponent], dexponent, value=1.0),
        _step(op, "Sub", [exponent, dexponent], dexponent),
        _step(op, "Pow", [x, dexponent], dx, **like),
        _step(op, "Mul", [dx, dy], dx),
        _step(op, "Mul", [dx, exponent], dx, **like),
        _step(op, "Log", [x], full),
        _step(op, "Mul", [full, y], full),
        _step(op, "Mul", [full, dy], full if old else dexponent),
    ]
    if old:
        steps.append(_step(op, "SumReduceLike", [full, exponent], dexponent, **axis))
    return Gradient(tuple(steps), (dx, dexponent))


def _step(op: OperatorDef, type_: str, inputs: list[str], output: str, **args: Any) -> OperatorDef:
    return gradient_op(op, type_, inputs, [output], args, copy_args=False)


_pow = operator(
    "Pow",
    "X, exponent? -> Y",
    infer=_infer_pow,
    inplace={0: 0, 1: 0},
    gradient=_pow_gradient,
    arguments={"exponent": EXPONENT, **BROADCAST},
    doc="""
    Y = X ** exponent, element by element; the exponent is the argument, or a tensor. A tensor has
    the shape of X or, with `broadcast`, one that repeats along X by the old rule; the argument does
    not matter then, in the gradient either (in Caffe2 it does there). Raises ShapeError where it
    does not fit, ArgumentError if there is neither.
    """,
    example="""
    X = [1, 2, 3]; exponent = 2
    Y = [1, 4, 9]
    """,
)


def _power(x, exponent):
    return power(x, exponent)


def _copied(x):
    return x


def _reciprocal(x):
    return 1 / x


#: Exponents for which there is something faster than a power.
_FASTER = {1.0: _copied, 2.0: square, -1.0: _reciprocal}


@_pow.everywhere
def _launch_pow(call: Call) -> Launch:
    x, y = call.inputs[0], call.outputs[0]
    if len(call.inputs) == 2:
        exponent = call.inputs[1]
        exponent = exponent.reshape(aligned_shape(x.shape, exponent.shape, call.args))
        return launch_broadcast(_power, x, exponent, y)
    faster = _FASTER.get(call.args.exponent)
    if faster is not None:
        return launch_map(faster, (x,), y)
    return launch_map(_power, (x,), y, call.args.exponent)
