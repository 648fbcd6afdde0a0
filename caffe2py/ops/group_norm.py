"""Normalisation of groups of channels, and of rows by their root mean square."""

from __future__ import annotations

import math
from collections.abc import Sequence

from caffe2py.errors import ArityError, NoGradientError, ShapeError
from caffe2py.kernels.elementwise import FLOATS
from caffe2py.kernels.norms import (
    launch_group_norm,
    launch_group_norm_gradient,
    launch_mean_square,
    launch_mean_square_gradient,
)
from caffe2py.kernels.window import channels_last
from caffe2py.proto.caffe2_pb2 import OperatorDef
from caffe2py.registry.context import Call, Launch
from caffe2py.registry.gradient import Gradient, GradientName, gradient_name, gradient_op
from caffe2py.registry.infer import (
    Query,
    canonical_axis,
    product,
    require_dtype,
    require_same_dtype,
    require_same_shape,
)
from caffe2py.registry.operator import operator
from caffe2py.registry.schema import Arg
from caffe2py.tensor.tensor import Array
from caffe2py.tensor.types import DType, TensorType, shape_text

Dims = tuple[int | None, ...]


def _floats(query: Query) -> DType | None:
    for index in range(len(query.inputs)):
        require_dtype(query, index, *FLOATS)
    return require_same_dtype(query, *range(len(query.inputs)))


def _require_count(query: Query, index: int, count: int | None, what: str) -> None:
    shape = query.inputs[index].shape
    found = None if shape is None else product(shape)
    if None not in (count, found) and count != found:
        raise ShapeError(
            f"input {index} '{query.name(index)}' must have {count} element(s), {what}; "
            f"found {shape_text(shape)}"
        )


# ---------------------------------------------------------------- GroupNorm

GROUP = Arg(int, 32, "how many groups the channels make")
ORDER = Arg(str, "NCHW", "'NCHW' or 'NHWC': where the axis of channels is")


def _channels(query: Query, shape: Dims | None) -> int | None:
    """The number of channels, if it is known; ShapeError unless groups divide it."""
    last = channels_last(query.args)
    if shape is None:
        return None
    if len(shape) < 2:
        raise ShapeError(f"X must have at least 2 dimensions, found {shape_text(shape)}")
    count = shape[-1] if last else shape[1]
    if query.args.group < 1 or (count is not None and count % query.args.group):
        raise ShapeError(f"{count} channels do not make {query.args.group} groups")
    return count


def _infer_group(query: Query) -> Sequence[TensorType]:
    if not query.args.is_test and query.outputs != 3:
        raise ArityError(f"without is_test there are 3 outputs, found {query.outputs}")
    dtype, x = _floats(query), query.inputs[0].shape
    channels = _channels(query, x)
    for index in (1, 2):
        _require_count(query, index, channels, "one for each channel")
    moments = TensorType(dtype, (None if x is None else x[0], query.args.group))
    return [TensorType(dtype, x), moments, moments][: query.outputs]


def _gradient_of_group(op: OperatorDef, output_grads: Sequence[GradientName]) -> Gradient:
    """Only the first output's gradient counts; the moments must be there."""
    dy = output_grads[0]
    if dy is None or len(op.output) != 3:
        missing = "dY, which nothing provides" if dy is None else "the outputs mean and std"
        raise NoGradientError(f"GroupNorm: its gradient reads {missing}")
    names = [gradient_name(name) for name in op.input]
    made = gradient_op(op, "GroupNormGradient", [dy, *op.input, *op.output[1:]], names)
    return Gradient((made,), tuple(names))


_group = operator(
    "GroupNorm",
    "X, gamma, beta -> Y, mean?, std?",
    infer=_infer_group,
    gradient=_gradient_of_group,
    output_counts={1, 3},
    group=GROUP,
    num_groups=Arg(int, 32, "without effect: Caffe2 documents this name and reads `group`"),
    epsilon=Arg(float, 1e-5, "added to the variance"),
    order=ORDER,
    is_test=Arg(bool, True, "whether the outputs mean and std may be left out"),
    doc="""
    Y = (X - mean) * std * gamma + beta, where mean and std, which is 1 / sqrt(variance + epsilon),
    are those of all elements of an item and of one of `group` groups of neighbouring channels; they
    have shape (N, group). Gamma and beta have one element for each channel. X is (N, C, ...) or
    with order NHWC (N, ..., C). Raises ShapeError where the groups do not divide the channels,
    ArityError for a missing output without is_test.
    """,
    example="""
    X = [[1, 3, 10, 30]]; gamma = [1, 1, 1, 1]; beta = [0, 0, 0, 0]; group = 2
    Y = [[-1, 1, -1, 1]]; mean = [[2, 20]]; std = [[1, 0.1]]
    """,
)


def _four(x: Array, last: bool) -> Array:
    """As (items, outer, channels, inner)."""
    if last:
        return x.reshape(x.shape[0], math.prod(x.shape[1:-1]), x.shape[-1], 1)
    return x.reshape(x.shape[0], 1, x.shape[1], math.prod(x.shape[2:]))


@_group.everywhere
def _launch_group(call: Call) -> list[Launch]:
    x, gamma, beta = call.inputs
    last = channels_last(call.args)
    y, *moments = call.outputs
    whole = _four(x, last)
    if not moments:
        shape = (x.shape[0], call.args.group)
        moments = [call.scratch(shape, x.dtype) for _ in range(2)]
    width = whole.shape[2] // call.args.group
    affine = (gamma.reshape(-1), beta.reshape(-1))
    pair = (moments[0], moments[1])
    return launch_group_norm(whole, width, call.args.epsilon, affine, pair, _four(y, last))


def _infer_group_gradient(query: Query) -> Sequence[TensorType]:
    dtype, x = _floats(query), require_same_shape(query, 0, 1)
    channels = _channels(query, x)
    for index in (2, 3):
        _require_count(query, index, channels, "one for each channel")
    for index in (4, 5):
        count = None if x is None else product((x[0], query.args.group))
        _require_count(query, index, count, "one for each group of each item")
    gamma, beta = (TensorType(dtype, query.inputs[index].shape) for index in (2, 3))
    return [TensorType(dtype, x), gamma, beta]


_group_gradient = operator(
    "GroupNormGradient",
    "dY, X, gamma, beta, mean, std -> dX, dgamma, dbeta",
    infer=_infer_group_gradient,
    group=GROUP,
    order=ORDER,
    doc="""
    With g = dY * gamma and h = (X - mean) * std: dX = std * (g - the group's mean of g - h * the
    group's mean of g * h); dgamma = the sum of dY * h and dbeta = the sum of dY of each channel.
    """,
)


@_group_gradient.everywhere
def _launch_group_gradient(call: Call) -> list[Launch]:
    dy, x, gamma, _, mean, std = call.inputs
    last = channels_last(call.args)
    dx, dgamma, dbeta = call.outputs
    moments = tuple(a.reshape(x.shape[0], call.args.group) for a in (mean, std))
    return launch_group_norm_gradient(
        call,
        _four(dy, last),
        _four(x, last),
        gamma.reshape(-1),
        (moments[0], moments[1]),
        _four(dx, last),
        (dgamma.reshape(-1), dbeta.reshape(-1)),
    )


# ---------------------------------------------------------------- RMSNorm

AXIS = Arg(int, 1, "the axes from here on are one row; negative ones count from the end")


def _split(query: Query, index: int) -> tuple[Dims | None, int | None]:
    """The axes before `axis`, and the number of elements of a row."""
    shape = query.inputs[index].shape
    if shape is None:
        return None, None
    axis = canonical_axis(query.args.axis, len(shape), inclusive=True)
    return shape[:axis], product(shape[axis:])


def _infer_rms(query: Query) -> Sequence[TensorType]:
    dtype = _floats(query)
    rows, size = _split(query, 0)
    for index in (1, 2):
        _require_count(query, index, size, "one for each of a row")
    return [TensorType(dtype, query.inputs[0].shape), TensorType(dtype, rows)]


_rms = operator(
    "RMSNorm",
    "input, gamma, beta -> output, rrms",
    infer=_infer_rms,
    gradient="RMSNormGradient(doutput, input, gamma, rrms) -> dinput, dgamma, dbeta",
    axis=AXIS,
    eps=Arg(float, 0.0, "added to the mean square"),
    epsilon=Arg(float, None, "without effect: Caffe2 documents this name and reads `eps`"),
    doc="""
    output = input * rrms * gamma + beta with rrms = 1 / sqrt(the mean of input ** 2 + eps) of each
    row: of all elements that share their position along the axes before `axis`, which are the shape
    of rrms. Gamma and beta have as many elements as a row. Raises ShapeError for other sizes.
    """,
    example="""
    input = [[3, 4, 0, 0]]; gamma = [1, 1, 1, 1]; beta = [0, 0, 0, 0]
    output = [[1.2, 1.6, 0, 0]]; rrms = [0.4]
    """,
)


def _matrix(x: Array, axis: int) -> Array:
    axis = canonical_axis(axis, x.ndim, inclusive=True)
    return x.reshape(math.prod(x.shape[:axis]), math.prod(x.shape[axis:]))


@_rms.everywhere
def _launch_rms(call: Call) -> Launch:
    x, gamma, beta = call.inputs
    y, rrms = call.outputs
    axis, affine = call.args.axis, (gamma.reshape(-1), beta.reshape(-1))
    rows = (_matrix(x, axis), call.args.eps, affine, _matrix(y, axis))
    return launch_mean_square(*rows, rrms.reshape(-1))


def _infer_rms_gradient(query: Query) -> Sequence[TensorType]:
    dtype, shape = _floats(query), require_same_shape(query, 0, 1)
    rows, size = _split(query, 1)
    _require_count(query, 2, size, "one for each of a row")
    _require_count(query, 3, None if rows is None else product(rows), "one for each row")
    gamma = query.inputs[2].shape
    return [TensorType(dtype, shape), TensorType(dtype, gamma), TensorType(dtype, gamma)]


_rms_gradient = operator(
    "RMSNormGradient",
    "doutput, input, gamma, rrms -> dinput, dgamma, dbeta",
    infer=_infer_rms_gradient,
    axis=AXIS,
    doc="""
    With g = doutput * gamma: dinput = g * rrms - input * rrms ** 3 * the mean of g * input over
    each row; dgamma = the sum of doutput * input * rrms and dbeta = the sum of doutput over rows.
    """,
)


@_rms_gradient.everywhere
def _launch_rms_gradient(call: Call) -> list[Launch]:
    dy, x, gamma, rrms = call.inputs
    dx, dgamma, dbeta = call.outputs
    dy, x, dx = (_matrix(a, call.args.axis) for a in (dy, x, dx))
    out = (dgamma.reshape(-1), dbeta.reshape(-1))
    return launch_mean_square_gradient(call, dy, x, gamma.reshape(-1), rrms.reshape(-1), dx, out)
