"""Mean and variance over chosen axes."""

from __future__ import annotations

import math
from collections.abc import Sequence

from caffe2py.errors import ShapeError
from caffe2py.kernels.copy import launch_expand
from caffe2py.kernels.elementwise import FLOATS, launch_map
from caffe2py.kernels.reduce import launch_sum
from caffe2py.ops.reduction.axes import AXES, infer_reduced, kept_shape, reduced_axes
from caffe2py.ops.reduction.common import times
from caffe2py.registry.context import Call, Launch
from caffe2py.registry.infer import Query, require_dtype, require_same_dtype
from caffe2py.registry.operator import operator
from caffe2py.tensor.tensor import Array
from caffe2py.tensor.types import TensorType, shape_text


def _infer(query: Query) -> Sequence[TensorType]:
    return list(infer_reduced(FLOATS)(query)) * 2


_moments = operator(
    "Moments",
    "data -> mean, variance",
    infer=_infer,
    gradient="MomentsGradient(dmean, dvariance, data, mean) -> ddata",
    arguments=AXES,
    doc="""
    mean = the mean of data over `axes`, variance = the mean of (data - mean) ** 2; both 0 where
    there is no element. Raises ShapeError for axes that data does not have.
    """,
    example="""
    data = [[1, 3], [2, 6]]; axes = [1]
    mean = [[2], [4]]; variance = [[1], [4]]
    """,
)


def _squared_distance(x, mean):
    return (x - mean) * (x - mean)


def _count(x: Array, axes: Sequence[int]) -> int:
    return max(int(math.prod(x.shape[k] for k in axes)), 1)


@_moments.everywhere
def _launch(call: Call) -> list[Launch]:
    x = call.inputs[0]
    mean, variance = call.outputs
    axes = reduced_axes(call.args.axes, x.ndim)
    factor = 1.0 / _count(x, axes)
    whole = call.scratch(x.shape, x.dtype)
    return [
        *launch_sum(call, x, axes, mean),
        launch_map(times, (mean,), mean, factor),
        launch_expand(mean.reshape(kept_shape(x.shape, axes)), whole),
        launch_map(_squared_distance, (x, whole), whole),
        *launch_sum(call, whole, axes, variance),
        launch_map(times, (variance,), variance, factor),
    ]


def _infer_gradient(query: Query) -> Sequence[TensorType]:
    for index in range(4):
        require_dtype(query, index, *FLOATS)
    require_same_dtype(query, 0, 1, 2, 3)
    x = query.inputs[2]
    if x.full_shape is None:
        return [x]
    axes = reduced_axes(query.args.axes, len(x.full_shape))
    wanted = kept_shape(x.full_shape, axes)
    for index in (0, 1, 3):
        found = query.inputs[index].full_shape
        short = tuple(n for k, n in enumerate(x.full_shape) if k not in axes)
        if found is not None and found not in (wanted, short):
            raise ShapeError(
                f"input {index} '{query.name(index)}' must be data {shape_text(x.shape)} reduced "
                f"to {shape_text(wanted)} or {shape_text(short)}, found {shape_text(found)}"
            )
    return [x]


_moments_gradient = operator(
    "MomentsGradient",
    "dmean, dvariance, data, mean -> ddata",
    infer=_infer_gradient,
    arguments=AXES,
    doc="""
    ddata = (dmean + 2 * (data - mean) * dvariance) / n for the n elements of a mean.
    """,
)


def _slope(x, mean, dmean, dvariance, factor):
    return (dmean + 2 * (x - mean) * dvariance) * factor


@_moments_gradient.everywhere
def _launch_gradient(call: Call) -> list[Launch]:
    dmean, dvariance, x, mean = call.inputs
    axes = reduced_axes(call.args.axes, x.ndim)
    kept = kept_shape(x.shape, axes)
    whole = [call.scratch(x.shape, x.dtype) for _ in range(3)]
    spread = [
        launch_expand(small.reshape(kept), big)
        for small, big in zip((mean, dmean, dvariance), whole, strict=True)
    ]
    factor = 1.0 / _count(x, axes)
    return [*spread, launch_map(_slope, (x, *whole), call.outputs[0], factor)]
