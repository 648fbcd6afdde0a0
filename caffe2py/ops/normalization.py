"""Normalisation: over a batch's channels, and over neighbouring channels."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from caffe2py.errors import ArgumentError, ArityError, NoGradientError, ShapeError
from caffe2py.kernels.channels import (
    Pair,
    Response,
    by_channel,
    launch_affine_gradient,
    launch_batch_gradient,
    launch_channel_map,
    launch_clear,
    launch_fixed_gradient,
    launch_fold,
    launch_moments,
    launch_moments_of_sums,
    launch_track,
)
from caffe2py.kernels.elementwise import FLOATS, launch_map
from caffe2py.kernels.window import channels_last
from caffe2py.proto.caffe2_pb2 import OperatorDef
from caffe2py.registry.context import Call, Launch
from caffe2py.registry.gradient import Gradient, GradientName, gradient_name, gradient_op
from caffe2py.registry.infer import (
    Query,
    product,
    require_dtype,
    require_rank,
    require_same_dtype,
    require_same_shape,
)
from caffe2py.registry.operator import operator, verify
from caffe2py.registry.schema import Arg, Args
from caffe2py.tensor.tensor import Array
from caffe2py.tensor.types import TensorType, shape_text

ORDER = Arg(str, "NCHW", "NCHW: channels are the second axis; NHWC: the last")


# ---------------------------------------------------------------- SpatialBN


def _channels(query: Query) -> int | None:
    """The number of channels of input 0; ShapeError unless it has a batch and a channel axis."""
    shape = query.inputs[0].shape
    last = channels_last(query.args)
    if shape is None:
        return None
    if len(shape) < 2:
        raise ShapeError(
            f"input 0 '{query.name(0)}' must have a batch and a channel axis, "
            f"found {shape_text(shape)}"
        )
    return shape[-1] if last else shape[1]


def _require_vectors(query: Query, channels: int | None, indices: Sequence[int]) -> None:
    """ShapeError unless each of the inputs has one element a channel."""
    for index in indices:
        shape = query.inputs[index].shape
        size = None if shape is None else product(shape)
        if size is not None and channels is not None and size != channels:
            raise ShapeError(
                f"input {index} '{query.name(index)}' must have one element for each of the "
                f"{channels} channel(s) of '{query.name(0)}', found {shape_text(shape)}"
            )


def _require_floats(query: Query) -> np.dtype[Any] | None:
    for index in range(len(query.inputs)):
        require_dtype(query, index, *FLOATS)
    return require_same_dtype(query, *range(len(query.inputs)))


def _check_args(args: Args) -> None:
    if not args.epsilon > 0:
        raise ArgumentError(f"epsilon must be above 0, found {args.epsilon}")
    if args.num_batches < 1:
        raise ArgumentError(f"num_batches must be at least 1, found {args.num_batches}")


def _infer_batch_norm(query: Query) -> Sequence[TensorType]:
    args = query.args
    _check_args(args)
    if not 0 <= args.momentum <= 1:
        raise ArgumentError(f"momentum must lie in [0, 1], found {args.momentum}")
    if query.outputs != (1 if args.is_test else 5):
        raise ArityError(
            f"expected 1 output with is_test and 5 without, found {query.outputs} "
            f"and is_test {int(args.is_test)}"
        )
    if args.num_batches > 1 and not args.is_test and len(query.inputs) < 7:
        raise ArityError("num_batches > 1 needs the inputs sums and sumsq")
    dtype = _require_floats(query)
    channels = _channels(query)
    _require_vectors(query, channels, range(1, len(query.inputs) if not args.is_test else 5))
    vector = TensorType(dtype, (channels,))
    return [TensorType(dtype, query.inputs[0].shape), *[vector] * (query.outputs - 1)]


def _batch_norm_gradient_rule(op: OperatorDef, output_grads: Sequence[GradientName]) -> Gradient:
    """Training reads the saved statistics, is_test the fixed ones.

    With several batches the sums of dscale and dbias over all of them are read as well.
    """
    dy = output_grads[0]
    if dy is None:
        raise NoGradientError("SpatialBN: only its first output has a gradient, which is missing")
    args = verify(op)
    wanted = [gradient_name(name) for name in op.input[:3]]
    statistics = op.input[3:5] if args.is_test else op.output[3:5]
    inputs = [op.input[0], op.input[1], dy, *statistics]
    if args.num_batches > 1 and not args.is_test:
        inputs += wanted[1:]
    backward = gradient_op(op, "SpatialBNGradient", inputs, wanted)
    return Gradient((backward,), (*wanted, *[None] * (len(op.input) - 3)))


_batch_norm = operator(
    "SpatialBN",
    "X, scale, bias, mean, var, sums?, sumsq? "
    "-> Y, running_mean?, running_var?, saved_mean?, saved_inv_std?",
    infer=_infer_batch_norm,
    gradient=_batch_norm_gradient_rule,
    inplace={0: 0, 5: 3, 6: 4},
    enforced={3: 1, 4: 2},
    input_counts=(5, 7),
    output_counts=(1, 5),
    onnx="BatchNormalization",
    doc="""
    Y = (X - m) / sqrt(v + epsilon) * scale + bias, with one m, v, scale and bias a channel.

    X is a batch of anything: (batch, channels, ...), or (batch, ..., channels) with order NHWC.
    With is_test, m and v are the inputs mean and var, and Y is the only output. In training they
    are mean and variance of X over all axes but the channels', and the further outputs are
    mean = momentum * mean + (1 - momentum) * m, in place; the same for var with
    v * n / (n - 1), where n counts a channel's elements; m; and 1 / sqrt(v + epsilon). A single
    element a channel (n = 1) makes the running variance NaN. An empty batch changes nothing and
    saves zeros.

    With num_batches > 1, sums and sumsq are the sums of X and of X * X over that many batches of
    equal size, and m, v and n are those of all batches together.
    """,
    example="""
    X = [[1, 10], [3, 30]]; scale = [1, 1]; bias = [0, 5]; mean = [2, 20]; var = [1, 100]; is_test
    Y = [[-1, 4], [1, 6]]
    """,
    is_test=Arg(bool, False, "use the given mean and variance", required=True),
    epsilon=Arg(float, 1e-5, "added to the variance"),
    order=ORDER,
    momentum=Arg(float, 0.9, "share of the old running mean and variance that is kept"),
    num_batches=Arg(int, 1, "number of batches that sums and sumsq are over"),
)


def _affine(x, factor, term):
    return x * factor + term


def _normalized(x, mean, inverse, scale, bias):
    # not folded as above: exact where a channel hardly varies
    return (x - mean) * (scale * inverse) + bias


@_batch_norm.everywhere
def _launch_batch_norm(call: Call) -> list[Launch]:
    last = channels_last(call.args)
    x, y = (by_channel(a, last) for a in (call.inputs[0], call.outputs[0]))
    affine = _vectors(call, 1)
    if call.args.is_test:
        folded = _pair(call, x.shape[1], x.dtype)
        fold = launch_fold(affine, _vectors(call, 3), call.args.epsilon, folded)
        return [fold, launch_channel_map(_affine, (x,), folded, y)]
    saved = call.outputs[3], call.outputs[4]
    if call.inputs[0].shape[0] == 0:
        return [launch_clear(saved)]
    normalize = launch_channel_map(_normalized, (x,), (*saved, *affine), y)
    return [*_launch_statistics(call, x, saved), normalize]


def _launch_statistics(call: Call, x: Array, saved: Pair) -> list[Launch]:
    """Mean and variance of the batch, or batches, and what is kept of them."""
    args = call.args
    moments = _pair(call, x.shape[1], np.float64)
    count = args.num_batches * x.shape[0] * x.shape[2]
    if args.num_batches > 1:
        first = [launch_moments_of_sums(_vectors(call, 5), count, moments)]
    else:
        first = launch_moments(x, moments)
    unbiased = math.inf if count == 1 else count / (count - 1)
    running = call.outputs[1], call.outputs[2]
    return [*first, launch_track(moments, running, args.momentum, unbiased, saved, args.epsilon)]


def _pair(call: Call, channels: int, dtype: Any) -> Pair:
    return call.scratch((channels,), dtype), call.scratch((channels,), dtype)


def _vectors(call: Call, first: int) -> Pair:
    """Two consecutive inputs, which may have any shape, as vectors."""
    return call.inputs[first].reshape(-1), call.inputs[first + 1].reshape(-1)


def _infer_batch_norm_gradient(query: Query) -> Sequence[TensorType]:
    args = query.args
    _check_args(args)
    if args.num_batches > 1 and not args.is_test and len(query.inputs) < 7:
        raise ArityError("num_batches > 1 needs the sums of dscale and dbias over all batches")
    dtype = _require_floats(query)
    shape = require_same_shape(query, 0, 2)
    channels = _channels(query)
    used = len(query.inputs) if args.num_batches > 1 else 5
    _require_vectors(query, channels, [1, *range(3, used)])
    return [TensorType(dtype, shape), *[TensorType(dtype, query.inputs[1].shape)] * 2]


_batch_norm_gradient = operator(
    "SpatialBNGradient",
    "X, scale, dY, mean, inv_std, sum_dscale?, sum_dbias? -> dX, dscale, dbias",
    infer=_infer_batch_norm_gradient,
    inplace={5: 1, 6: 2},
    input_counts=(5, 7),
    doc="""
    With Z = (X - mean) * inv_std, over the n elements of a channel: dbias = sum(dY),
    dscale = sum(dY * Z) and dX = scale * inv_std * (dY - (dbias + Z * dscale) / n).

    With num_batches > 1, dscale and dbias are the given sums divided by num_batches. With is_test
    the fifth input is the variance, inv_std = 1 / sqrt(variance + epsilon), and since the
    statistics do not depend on X, dX = scale * inv_std * dY. (Caffe2 itself takes that variance
    for inv_std and differentiates as in training.)
    """,
    is_test=Arg(bool, False, "mean and variance are given and do not depend on X"),
    epsilon=Arg(float, 1e-5, "added to the variance, with is_test"),
    order=ORDER,
    num_batches=Arg(int, 1, "number of batches that the sums are over"),
)


def _share(total, batches):
    return total / batches


@_batch_norm_gradient.everywhere
def _launch_batch_norm_gradient(call: Call) -> list[Launch]:
    args = call.args
    last = channels_last(args)
    x, dy, dx = (by_channel(a, last) for a in (call.inputs[0], call.inputs[2], call.outputs[0]))
    scale = call.inputs[1].reshape(-1)
    saved = _vectors(call, 3)
    dscale, dbias = (v.reshape(-1) for v in call.outputs[1:])
    if args.is_test:
        solved = _pair(call, x.shape[1], x.dtype)
        mean, variance = saved
        return [
            *launch_fixed_gradient(scale, variance, args.epsilon, dy, solved, dx),
            *launch_affine_gradient(call, x, dy, (mean, solved[0]), (dscale, dbias)),
        ]
    if args.num_batches > 1:
        batches = float(args.num_batches)
        sums = zip(_vectors(call, 5), (dscale, dbias), strict=True)
        launches = [launch_map(_share, (total,), own, batches) for total, own in sums]
    else:
        launches = launch_affine_gradient(call, x, dy, saved, (dscale, dbias))
    return launches + launch_batch_gradient(call, x, dy, scale, saved, (dscale, dbias), dx)


# ---------------------------------------------------------------- LRN

RESPONSE_ARGS = {
    "size": Arg(int, 0, "number of neighbouring channels, itself included"),
    "alpha": Arg(float, 0.0, "weight of the mean square"),
    "beta": Arg(float, 0.0, "exponent"),
    "bias": Arg(float, 1.0, "added to the weighted mean square"),
    "order": ORDER,
}


def _infer_response(query: Query) -> Sequence[TensorType]:
    dtype = _require_floats(query)
    require_rank(query, 0, 4)
    shape = require_same_shape(query, *range(len(query.inputs)))
    channels_last(query.args)
    _response(query.args)
    return [TensorType(dtype, shape)] * query.outputs


def _response(args: Args) -> Response:
    """The window and weights; ArgumentError for a size that makes no window."""
    size: int = args.size
    if size < 1:
        raise ArgumentError(f"size must be at least 1, found {size}")
    before = (size - 1) // 2
    return Response(before, size - 1 - before, args.alpha / size, args.bias, args.beta)


_lrn = operator(
    "LRN",
    "X -> Y, Y_scale?",
    infer=_infer_response,
    gradient="LRNGradient(X, Y, dY) -> dX",
    onnx="LRN",
    doc="""
    Y = X / Y_scale ** beta, Y_scale = bias + alpha / size * (sum of X * X over `size` channels).

    The channels are those around each one, (size - 1) // 2 before it and the rest behind it; those
    that do not exist count as 0. X has four dimensions.
    """,
    example="""
    X = [[[[1]], [[2]], [[3]]]]; size = 3, alpha = 3, beta = 1, bias = 0
    Y = [[[[0.2]], [[0.1429]], [[0.2308]]]]
    """,
    arguments=RESPONSE_ARGS,
)


@_lrn.everywhere
def _launch_response(call: Call) -> list[Launch]:
    last = channels_last(call.args)
    x, y, *scale = (by_channel(a, last) for a in (*call.inputs, *call.outputs))
    return _response(call.args).launch(call, x, y, scale[0] if scale else None)


_lrn_gradient = operator(
    "LRNGradient",
    "X, Y, dY -> dX",
    infer=_infer_response,
    doc="""
    DX = dY / Y_scale ** beta - 2 * alpha * beta / size * X * sum(dY * Y / Y_scale), the sum over
    the channels whose window holds this one; Y_scale is computed from X as by LRN.
    """,
    arguments=RESPONSE_ARGS,
)


@_lrn_gradient.everywhere
def _launch_response_gradient(call: Call) -> list[Launch]:
    last = channels_last(call.args)
    arrays = (by_channel(a, last) for a in (*call.inputs, *call.outputs))
    return _response(call.args).launch_gradient(call, *arrays)


# ---------------------------------------------------------------- AffineChannel

AFFINE_ARGS = {
    "order": ORDER,
    "is_learnable": Arg(bool, False, "scale and bias have gradients"),
}


def _infer_affine(query: Query) -> Sequence[TensorType]:
    dtype = _require_floats(query)
    _require_vectors(query, _channels(query), (1, 2))
    return [TensorType(dtype, query.inputs[0].shape)]


def _affine_gradient_rule(op: OperatorDef, output_grads: Sequence[GradientName]) -> Gradient:
    """Scale and bias have a gradient only if they are learnable, and only then X is read."""
    dy = output_grads[0]
    if dy is None:
        raise NoGradientError("AffineChannel: the gradient of its output is missing")
    wanted = tuple(gradient_name(name) for name in op.input)
    if not verify(op).is_learnable:
        backward = gradient_op(op, "AffineChannelGradient", [dy, op.input[1]], wanted[:1])
        return Gradient((backward,), (wanted[0], None, None))
    backward = gradient_op(op, "AffineChannelGradient", [dy, *op.input[:2]], wanted)
    return Gradient((backward,), wanted)


_affine_channel = operator(
    "AffineChannel",
    "X, scale, bias -> Y",
    infer=_infer_affine,
    gradient=_affine_gradient_rule,
    inplace={0: 0},
    doc="""
    Y = X * scale + bias, with one scale and bias a channel.

    X is (batch, channels, ...), or (batch, ..., channels) with order NHWC.
    """,
    example="""
    X = [[1, 10], [3, 30]]; scale = [1, 2]; bias = [0, 5]
    Y = [[1, 25], [3, 65]]
    """,
    arguments=AFFINE_ARGS,
)


@_affine_channel.everywhere
def _launch_affine_channel(call: Call) -> Launch:
    last = channels_last(call.args)
    x, y = (by_channel(a, last) for a in (call.inputs[0], call.outputs[0]))
    return launch_channel_map(_affine, (x,), _vectors(call, 1), y)


def _infer_affine_gradient(query: Query) -> Sequence[TensorType]:
    learnable = bool(query.args.is_learnable)
    expected = (3, 3) if learnable else (2, 1)
    if (len(query.inputs), query.outputs) != expected:
        raise ArityError(
            f"expected {expected[0]} inputs and {expected[1]} output(s) with is_learnable "
            f"{int(learnable)}, found {len(query.inputs)} and {query.outputs}"
        )
    dtype = _require_floats(query)
    scale = len(query.inputs) - 1
    shape = require_same_shape(query, *range(scale))
    _require_vectors(query, _channels(query), (scale,))
    vector = TensorType(dtype, query.inputs[scale].shape)
    return [TensorType(dtype, shape), *[vector] * (query.outputs - 1)]


_affine_channel_gradient = operator(
    "AffineChannelGradient",
    "dY, X_or_scale, scale? -> dX, dscale?, dbias?",
    infer=_infer_affine_gradient,
    inplace={0: 0},
    input_counts=(2, 3),
    output_counts=(1, 3),
    doc="""
    dX = dY * scale; with is_learnable dscale = sum of dY * X and dbias = sum of dY over a channel.

    The inputs are dY, scale, or with is_learnable dY, X, scale.
    """,
    arguments=AFFINE_ARGS,
)


def _factor(x, factor):
    return x * factor


@_affine_channel_gradient.everywhere
def _launch_affine_channel_gradient(call: Call) -> list[Launch]:
    last = channels_last(call.args)
    dy, dx = (by_channel(a, last) for a in (call.inputs[0], call.outputs[0]))
    scale = call.inputs[-1].reshape(-1)
    launches = [launch_channel_map(_factor, (dy,), (scale,), dx)]
    if call.args.is_learnable:
        dscale, dbias = (v.reshape(-1) for v in call.outputs[1:])
        zeros, ones = (np.full(scale.shape, value, scale.dtype) for value in (0, 1))
        x = by_channel(call.inputs[1], last)
        sums = launch_affine_gradient(call, x, dy, (zeros, ones), (dscale, dbias))
        launches = [*sums, *launches]  # before dY may be overwritten
    return launches
