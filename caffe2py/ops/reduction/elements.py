"""Reductions of all elements to one: sums, sums of squares, norms."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

from caffe2py.errors import ArgumentError, ShapeError
from caffe2py.kernels.copy import launch_expand
from caffe2py.kernels.elementwise import FLOATS, launch_broadcast, launch_map
from caffe2py.kernels.reduce import launch_dot, launch_sum, launch_sum_magnitudes
from caffe2py.ops.reduction.common import times
from caffe2py.registry.context import Call, Launch
from caffe2py.registry.gradient import NotDifferentiable
from caffe2py.registry.infer import (
    Query,
    Rule,
    product,
    require_dtype,
    require_same_dtype,
)
from caffe2py.registry.operator import operator
from caffe2py.registry.schema import Arg
from caffe2py.tensor.tensor import Array
from caffe2py.tensor.types import Shape, TensorType, shape_text

AVERAGE = Arg(bool, False, "whether to divide by the number of elements")


def _one(shape: Shape, *dtypes: str) -> Rule:
    """One element of X's type, in this shape."""

    def rule(query: Query) -> Sequence[TensorType]:
        require_dtype(query, 0, *dtypes)
        return [TensorType(query.inputs[0].dtype, shape)]

    return rule


def _infer_gradient(query: Query) -> Sequence[TensorType]:
    for index in (0, 1):
        require_dtype(query, index, *FLOATS)
    require_same_dtype(query, 0, 1)
    gradient = query.inputs[1].full_shape
    if gradient is not None and math.prod(gradient) != 1:
        raise ShapeError(
            f"input 1 '{query.name(1)}' must have one element, found {shape_text(gradient)}"
        )
    return [query.inputs[0]]


def _averaged(call: Call, steps: list[Launch]) -> list[Launch]:
    """The sum in the output, divided if so asked; 0 for no elements."""
    if not call.args.average:
        return steps
    y = call.outputs[0]
    return [*steps, launch_map(times, (y,), y, 1.0 / max(call.inputs[0].size, 1))]


_sum_elements = operator(
    "SumElements",
    "X -> sum",
    infer=_one((), *FLOATS),
    gradient="SumElementsGradient(X.shape, dsum) -> dX",
    average=AVERAGE,
    doc="sum = the sum of all elements of X, or with `average` their mean; 0 if there are none.",
    example="""
    X = [[1, 2], [3, 6]]
    sum = 12
    """,
)


@_sum_elements.everywhere
def _launch_sum_elements(call: Call) -> list[Launch]:
    x = call.inputs[0]
    return _averaged(call, launch_sum(call, x.reshape(-1), (0,), call.outputs[0]))


_sum_elements_gradient = operator(
    "SumElementsGradient",
    "X, dY -> dX",
    infer=_infer_gradient,
    average=AVERAGE,
    doc="dX = dY everywhere, divided by the number of elements with `average`.",
)


@_sum_elements_gradient.everywhere
def _launch_sum_elements_gradient(call: Call) -> list[Launch]:
    x, dy = call.inputs
    part = call.scratch((1,), dy.dtype)
    factor = 1.0 / max(x.size, 1) if call.args.average else 1.0
    return [
        launch_map(times, (dy,), part, factor),
        launch_expand(part, call.outputs[0].reshape(-1)),
    ]


_sum_elements_int = operator(
    "SumElementsInt",
    "X -> sum",
    infer=_one((), "int32", "int64"),
    gradient=NotDifferentiable("integers have no gradient"),
    doc="sum = the sum of all elements of X, integers of 32 or 64 bits, which may wrap around.",
    example="""
    X = [[1, 2], [3, 6]]
    sum = 12
    """,
)


@_sum_elements_int.everywhere
def _launch_sum_elements_int(call: Call) -> list[Launch]:
    return launch_sum(call, call.inputs[0].reshape(-1), (0,), call.outputs[0])


_sum_squares = operator(
    "SumSqrElements",
    "X -> sum",
    infer=_one((), *FLOATS),
    average=AVERAGE,
    doc="sum = the sum of X * X over all elements, or with `average` their mean; 0 if none.",
    example="""
    X = [[1, 2], [3, 6]]
    sum = 50
    """,
)


@_sum_squares.everywhere
def _launch_sum_squares(call: Call) -> list[Launch]:
    x = call.inputs[0]
    return _averaged(call, launch_dot(x, x, call.outputs[0]))


# ---------------------------------------------------------------- LpNorm

NORM = {"p": Arg(int, 2, "the norm: 1 or 2"), "average": AVERAGE}


def _checked(rule: Rule) -> Rule:
    """The rule, with p checked, and a mean of nothing refused."""

    def checked(query: Query) -> Sequence[TensorType]:
        if query.args.p not in (1, 2):
            raise ArgumentError(f"argument 'p' is 1 or 2, found {query.args.p}")
        shape = query.inputs[0].shape
        if query.args.average and shape is not None and product(shape) == 0:
            raise ShapeError(f"X {shape_text(shape)} has no elements and so no average")
        return rule(query)

    return checked


_norm = operator(
    "LpNorm",
    "X -> Z",
    infer=_checked(_one((1,), *FLOATS)),
    gradient="LpNormGradient(X, dZ) -> dX",
    arguments=NORM,
    doc="""
    Z = [the sum of |X| ** p over all elements], with `average` their mean; there is no root in it.
    Raises ArgumentError for a `p` other than 1 or 2, ShapeError for the average of no elements.
    """,
    example="""
    X = [3, -4]
    Z = [25]
    """,
)


@_norm.everywhere
def _launch_norm(call: Call) -> list[Launch]:
    x, z = call.inputs[0], call.outputs[0]
    whole = launch_dot(x, x, z) if call.args.p == 2 else launch_sum_magnitudes(x, z)
    return _averaged(call, whole)


_norm_gradient = operator(
    "LpNormGradient",
    "X, dout -> dx",
    infer=_checked(_infer_gradient),
    arguments=NORM,
    doc="""
    dx = 2 * X * dout for p = 2; dout with the sign of X, and 0 where X is 0, for p = 1. With
    `average` divided by the number of elements.
    """,
)


def _product(x, dout):
    return x * dout


def _with_sign(x, dout):
    if x == 0:
        return 0
    return dout if x > 0 else -dout


@_norm_gradient.everywhere
def _launch_norm_gradient(call: Call) -> list[Launch]:
    x, dout = call.inputs
    factor = 1.0 / x.size if call.args.average else 1.0
    part = call.scratch((1,) * x.ndim, x.dtype)
    formula: Callable[[Array, Array], Array] = _product if call.args.p == 2 else _with_sign
    return [
        launch_map(times, (dout,), part, factor * 2 if call.args.p == 2 else factor),
        launch_broadcast(formula, x, part, call.outputs[0]),
    ]
