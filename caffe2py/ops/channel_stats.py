"""Sums of channels: moments of a batch, and what batch normalisation over devices adds up."""

from __future__ import annotations

from collections.abc import Sequence

from caffe2py.errors import ShapeError
from caffe2py.kernels.channels import by_channel, launch_affine_gradient
from caffe2py.kernels.elementwise import FLOATS
from caffe2py.kernels.norms import launch_channel_slopes, launch_channel_sums
from caffe2py.kernels.window import channels_last
from caffe2py.registry.context import Call, Launch
from caffe2py.registry.gradient import NotDifferentiable
from caffe2py.registry.infer import (
    Query,
    product,
    require_dtype,
    require_same_dtype,
    require_same_shape,
)
from caffe2py.registry.operator import operator
from caffe2py.registry.schema import Arg
from caffe2py.tensor.types import DType, TensorType, shape_text

Dims = tuple[int | None, ...]

ORDER = Arg(str, "NCHW", "'NCHW' or 'NHWC': where the axis of channels is")


def _floats(query: Query) -> DType | None:
    for index in range(len(query.inputs)):
        require_dtype(query, index, *FLOATS)
    return require_same_dtype(query, *range(len(query.inputs)))


def _channels(shape: Dims | None, last: bool) -> int | None:
    if shape is None:
        return None
    if len(shape) < 2:
        raise ShapeError(f"X must have at least 2 dimensions, found {shape_text(shape)}")
    return shape[-1] if last else shape[1]


def _require_count(query: Query, index: int, count: int | None) -> None:
    shape = query.inputs[index].shape
    found = None if shape is None else product(shape)
    if None not in (count, found) and count != found:
        raise ShapeError(
            f"input {index} '{query.name(index)}' must have one element for each of {count} "
            f"channel(s), found {shape_text(shape)}"
        )


def _infer(query: Query) -> Sequence[TensorType]:
    dtype = _floats(query)
    count = _channels(query.inputs[0].shape, channels_last(query.args))
    return [TensorType(dtype, (count,))] * 2


_moments = operator(
    "BatchMoments",
    "X -> mu, var",
    infer=_infer,
    gradient="BatchMomentsGradient(dmu, dvar, X) -> dX",
    order=ORDER,
    doc="""
    mu = the mean of X and var = the mean of X * X (no variance, in spite of its name) of each
    channel; 0 without elements. X is (N, C, ...) or with order NHWC (N, ..., C).
    """,
    example="""
    X = [[1, 2], [3, 4]]
    mu = [2, 3]; var = [5, 10]
    """,
)


def _factor(size: int, channels: int) -> float:
    return channels / size if size else 0.0


@_moments.everywhere
def _launch_moments(call: Call) -> list[Launch]:
    x, (mean, squares) = call.inputs[0], call.outputs
    whole = by_channel(x, channels_last(call.args))
    return launch_channel_sums(whole, _factor(x.size, mean.size), (mean, squares))


def _infer_gradient(query: Query) -> Sequence[TensorType]:
    _floats(query)
    count = _channels(query.inputs[2].shape, channels_last(query.args))
    for index in (0, 1):
        _require_count(query, index, count)
    return [query.inputs[2]]


_moments_gradient = operator(
    "BatchMomentsGradient",
    "dmu, dvar, X -> dX",
    infer=_infer_gradient,
    order=ORDER,
    doc="dX = (dmu + 2 * X * dvar) / n for the n elements of each channel.",
)


@_moments_gradient.everywhere
def _launch_moments_gradient(call: Call) -> Launch:
    dmu, dvar, x = call.inputs
    last = channels_last(call.args)
    grads = (dmu.reshape(-1), dvar.reshape(-1))
    dx = by_channel(call.outputs[0], last)
    return launch_channel_slopes(by_channel(x, last), grads, _factor(x.size, dmu.size), dx)


_stats = operator(
    "ChannelStats",
    "X -> sum, sumsq",
    infer=_infer,
    gradient=NotDifferentiable("SpatialBN has the gradient of both"),
    order=ORDER,
    doc="""
    sum = the sum of X and sumsq = the sum of X * X of each channel. X is (N, C, ...) or with order
    NHWC (N, ..., C).
    """,
    example="""
    X = [[1, 2], [3, 4]]
    sum = [4, 6]; sumsq = [10, 20]
    """,
)


@_stats.everywhere
def _launch_stats(call: Call) -> list[Launch]:
    x, (sums, squares) = call.inputs[0], call.outputs
    return launch_channel_sums(by_channel(x, channels_last(call.args)), 1.0, (sums, squares))


def _infer_backward(query: Query) -> Sequence[TensorType]:
    dtype = _floats(query)
    count = _channels(require_same_shape(query, 0, 3), last=False)
    for index in (1, 2):
        _require_count(query, index, count)
    return [TensorType(dtype, (count,))] * 2


_backward = operator(
    "ChannelBackpropStats",
    "X, mean, inv_std, output_grad -> scale_grad, bias_grad",
    infer=_infer_backward,
    gradient=NotDifferentiable("it is part of a gradient"),
    doc="""
    scale_grad = the sum of output_grad * (X - mean) * inv_std and bias_grad = the sum of
    output_grad of each channel, for X (N, C, ...): what SpatialBNGradient needs of each device.
    """,
    example="""
    X = [[1], [3]]; mean = [2]; inv_std = [1]; output_grad = [[1], [2]]
    scale_grad = [1]; bias_grad = [3]
    """,
)


@_backward.everywhere
def _launch_backward(call: Call) -> list[Launch]:
    x, mean, inverse, dy = call.inputs
    scale, bias = call.outputs
    saved = (mean.reshape(-1), inverse.reshape(-1))
    return launch_affine_gradient(
        call, by_channel(x, False), by_channel(dy, False), saved, (scale, bias)
    )
