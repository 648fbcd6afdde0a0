"""Reductions over chosen axes: sums, means, extrema, and where the extrema are."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from caffe2py.errors import ShapeError
from caffe2py.kernels.copy import launch_expand
from caffe2py.kernels.elementwise import FLOATS, NUMERIC, launch_map
from caffe2py.kernels.reduce import launch_arg, launch_max, launch_min, launch_sum
from caffe2py.ops.reduction.common import times
from caffe2py.registry.context import Call, Launch
from caffe2py.registry.gradient import NotDifferentiable
from caffe2py.registry.infer import (
    Query,
    Rule,
    canonical_axis,
    require_dtype,
    require_same_dtype,
)
from caffe2py.registry.operator import Operator, operator
from caffe2py.registry.schema import Arg
from caffe2py.tensor.tensor import Array
from caffe2py.tensor.types import Shape, TensorType, shape_text

Dims = tuple[int | None, ...]

AXES = {
    "axes": Arg(list[int], None, "the axes to reduce, all if empty; negative ones count back"),
    "keepdims": Arg(bool, True, "whether Y keeps the reduced axes, with size 1"),
}


def reduced_axes(axes: Sequence[int] | None, rank: int) -> list[int]:
    """The reduced axes in order; ShapeError for one out of range or named twice."""
    if not axes:
        return list(range(rank))
    found = sorted(canonical_axis(axis, rank) for axis in axes)
    if len(set(found)) < len(found):
        raise ShapeError(f"axes {list(axes)} name a dimension of {rank} twice")
    return found


def kept_shape(shape: Sequence[Any], axes: Sequence[int]) -> tuple[Any, ...]:
    """The shape with the reduced axes of size 1."""
    return tuple(1 if k in axes else n for k, n in enumerate(shape))


def infer_reduced(dtypes: Sequence[str]) -> Rule:
    """Y has the type of X, one of these, and its shape without the reduced axes, or with 1s."""

    def rule(query: Query) -> Sequence[TensorType]:
        require_dtype(query, 0, *dtypes)
        x = query.inputs[0]
        if x.shape is None:
            return [x]
        axes = reduced_axes(query.args.axes, len(x.shape))
        if query.args.keepdims:
            return [x.with_shape(kept_shape(x.shape, axes))]
        return [x.with_shape(tuple(n for k, n in enumerate(x.shape) if k not in axes))]

    return rule


def infer_reduced_gradient(dtypes: Sequence[str]) -> Rule:
    """dX is like X, the second of three inputs; dY and Y have the shapes that reducing gives."""

    def rule(query: Query) -> Sequence[TensorType]:
        for index in range(3):
            require_dtype(query, index, *dtypes)
        require_same_dtype(query, 0, 1, 2)
        x = query.inputs[1]
        if x.full_shape is None:
            return [x]
        axes = reduced_axes(query.args.axes, len(x.full_shape))
        for index in (0, 2):
            _require_reduced(query, index, x.full_shape, axes)
        return [x]

    return rule


def _require_reduced(query: Query, index: int, shape: Shape, axes: Sequence[int]) -> None:
    """The input has the shape that reducing gives, with or without the reduced axes."""
    found = query.inputs[index].full_shape
    kept = kept_shape(shape, axes)
    short = tuple(n for k, n in enumerate(shape) if k not in axes)
    if found is not None and found not in (kept, short):
        raise ShapeError(
            f"input {index} '{query.name(index)}' must be X {shape_text(shape)} reduced to "
            f"{shape_text(kept)} or {shape_text(short)}, found {shape_text(found)}"
        )


def _count(shape: Shape, axes: Sequence[int]) -> int:
    """How many elements become one."""
    return math.prod(shape[k] for k in axes)


Reduce = Callable[[Call, Array, Sequence[int], Array], list[Launch]]


def _mean(call: Call, x: Array, axes: Sequence[int], y: Array) -> list[Launch]:
    total = launch_sum(call, x, axes, y)
    return [*total, launch_map(times, (y,), y, 1.0 / max(_count(x.shape, axes), 1))]


def _reduction(
    name: str, reduce: Reduce, dtypes: Sequence[str], gradient: str, doc: str, result: str
) -> None:
    made = operator(
        name,
        "X -> Y",
        infer=infer_reduced(dtypes),
        gradient=f"{name}Gradient({gradient}) -> dX",
        arguments=AXES,
        doc=f"{doc} Raises ShapeError for axes that X does not have.",
        example=f"""
        X = [[1, 2], [3, 6]]; axes = [1]
        Y = {result}
        """,
    )

    @made.everywhere
    def launch(call: Call) -> list[Launch]:
        x = call.inputs[0]
        return reduce(call, x, reduced_axes(call.args.axes, x.ndim), call.outputs[0])


def _gradient_of(name: str, dtypes: Sequence[str], doc: str) -> Operator:
    return operator(
        f"{name}Gradient",
        "dY, X, Y -> dX",
        infer=infer_reduced_gradient(dtypes),
        arguments=AXES,
        doc=doc,
    )


_SHAPES = "dY, X.shape, Y.shape"
_reduction(
    "ReduceSum",
    launch_sum,
    NUMERIC,
    _SHAPES,
    "Y = the sum of X over `axes`; 0 where there is no element.",
    "[[3], [9]]",
)
_reduction(
    "ReduceMean",
    _mean,
    FLOATS,
    _SHAPES,
    "Y = the mean of X over `axes`; 0 where there is no element.",
    "[[1.5], [4.5]]",
)
_reduction(
    "ReduceMax",
    launch_max,
    NUMERIC,
    "dY, X, Y",
    """
    Y = the largest element of X over `axes`; where there is none, the least finite number. NaN is
    passed over, except as the first element.
    """,
    "[[2], [6]]",
)
_reduction(
    "ReduceMin",
    launch_min,
    NUMERIC,
    "dY, X, Y",
    """
    Y = the smallest element of X over `axes`; where there is none, the largest finite number. NaN
    is passed over, except as the first element.
    """,
    "[[1], [3]]",
)


def spread(call: Call, reduced: Array) -> Array:
    """An array of the shape of Y as one that repeats along X."""
    x = call.inputs[1]
    return reduced.reshape(kept_shape(x.shape, reduced_axes(call.args.axes, x.ndim)))


@_gradient_of("ReduceSum", NUMERIC, "dX = dY repeated along the reduced axes.").everywhere
def _launch_sum_gradient(call: Call) -> Launch:
    return launch_expand(spread(call, call.inputs[0]), call.outputs[0])


@_gradient_of(
    "ReduceMean", FLOATS, "dX = dY / n repeated along the n elements of a mean."
).everywhere
def _launch_mean_gradient(call: Call) -> list[Launch]:
    dy, x, _ = call.inputs
    part = call.scratch(dy.shape, dy.dtype)
    count = _count(x.shape, reduced_axes(call.args.axes, x.ndim))
    return [
        launch_map(times, (dy,), part, 1.0 / max(count, 1)),
        launch_expand(spread(call, part), call.outputs[0]),
    ]


def _where_extreme(x, y, dy):
    return dy if x == y else 0


def _launch_extremum_gradient(call: Call) -> list[Launch]:
    dy, x, y = call.inputs
    whole_y, whole_dy = (call.scratch(x.shape, x.dtype) for _ in range(2))
    return [
        launch_expand(spread(call, y), whole_y),
        launch_expand(spread(call, dy), whole_dy),
        launch_map(_where_extreme, (x, whole_y, whole_dy), call.outputs[0]),
    ]


for _name in ("ReduceMax", "ReduceMin"):
    _gradient_of(
        _name, NUMERIC, "dX = dY where X = Y, 0 elsewhere; every one of equal extrema gets dY."
    ).everywhere(_launch_extremum_gradient)


# ---------------------------------------------------------------- ArgMax, ArgMin


def _infer_arg(query: Query) -> Sequence[TensorType]:
    require_dtype(query, 0, *NUMERIC)
    shape: Dims | None = query.inputs[0].shape
    if shape is not None:
        axis = canonical_axis(query.args.axis, len(shape))
        middle = (1,) if query.args.keepdims else ()
        shape = shape[:axis] + middle + shape[axis + 1 :]
    return [TensorType(np.dtype(np.int64), shape)]


def _arg(name: str, word: str, largest: bool, result: str) -> None:
    made = operator(
        name,
        "X -> Indices",
        infer=_infer_arg,
        gradient=NotDifferentiable("an index does not change with the elements"),
        axis=Arg(int, -1, "the axis to search; negative ones count from the end"),
        keepdims=Arg(bool, True, "whether Indices keeps that axis, with size 1"),
        doc=f"""
        Indices = where along `axis` the {word} element of X is, int64; the first of equal ones, and
        0 if the axis is empty. NaN is passed over, except as the first element.
        """,
        example=f"""
        X = [[1, 7, 7], [9, 2, 2]]
        Indices = {result}
        """,
    )

    @made.everywhere
    def launch(call: Call) -> Launch:
        x = call.inputs[0]
        axis = canonical_axis(call.args.axis, x.ndim)
        return launch_arg(x, axis, call.outputs[0], largest=largest)


_arg("ArgMax", "largest", True, "[[1], [0]]")
_arg("ArgMin", "smallest", False, "[[0], [1]]")
