"""Normalisation within one item of a batch: LayerNorm and InstanceNorm."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from caffe2py.errors import ArgumentError, ArityError, NoGradientError, ShapeError
from caffe2py.kernels.channels import Pair
from caffe2py.kernels.copy import launch_transpose
from caffe2py.kernels.elementwise import FLOATS
from caffe2py.kernels.rownorm import (
    launch_columns_gradient,
    launch_normalize_columns,
    launch_normalize_rows,
    launch_rows_gradient,
    launch_rows_moments,
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
from caffe2py.registry.operator import operator, verify
from caffe2py.registry.schema import Arg
from caffe2py.tensor.tensor import Array
from caffe2py.tensor.types import TensorType, shape_text

Dims = tuple[int | None, ...]


def _require_floats(query: Query) -> np.dtype[Any] | None:
    for index in range(len(query.inputs)):
        require_dtype(query, index, *FLOATS)
    return require_same_dtype(query, *range(len(query.inputs)))


def _require_size(query: Query, index: int, size: int | None, what: str) -> None:
    """ShapeError unless the input has that many elements."""
    shape = query.inputs[index].shape
    found = None if shape is None else product(shape)
    if None not in (size, found) and size != found:
        raise ShapeError(
            f"input {index} '{query.name(index)}' must have {size} element(s), {what}, "
            f"found {shape_text(shape)}"
        )


# ---------------------------------------------------------------- LayerNorm

AXIS = Arg(int, 1, "the axes from here on are one row; negative ones count from the end")
AFFINE = Arg(bool, False, "scale and move by the inputs gamma and beta")


def _kept(query: Query, shape: Dims | None) -> Dims | None:
    """The shape of a mean: the axes before `axis`, then 1."""
    if shape is None:
        return None
    if len(shape) < 2:
        raise ShapeError(f"X must have at least 2 dimensions, found {shape_text(shape)}")
    return (*shape[: canonical_axis(query.args.axis, len(shape))], 1)


def _row_size(query: Query, shape: Dims | None) -> int | None:
    return None if shape is None else product(shape[canonical_axis(query.args.axis, len(shape)) :])


def _infer_layer_norm(query: Query) -> Sequence[TensorType]:
    if query.args.elementwise_affine and len(query.inputs) != 3:
        raise ArityError("elementwise_affine needs the inputs gamma and beta")
    dtype = _require_floats(query)
    shape = query.inputs[0].shape
    kept = TensorType(dtype, _kept(query, shape))
    if query.args.elementwise_affine:
        for index in (1, 2):
            _require_size(query, index, _row_size(query, shape), "one for each of a row")
    return [TensorType(dtype, shape), kept, kept]


def _layer_norm_gradient_rule(op: OperatorDef, output_grads: Sequence[GradientName]) -> Gradient:
    """Only the first output's gradient is used; gamma and beta have one if they are used."""
    dy = output_grads[0]
    if dy is None:
        raise NoGradientError("LayerNorm: only its first output has a gradient, which is missing")
    affine = bool(verify(op).elementwise_affine)
    wanted = [gradient_name(name) for name in (op.input[:3] if affine else op.input[:1])]
    inputs = [dy, *op.output, op.input[0], *(op.input[1:2] if affine else [])]
    backward = gradient_op(op, "LayerNormGradient", inputs, wanted)
    return Gradient((backward,), (*wanted, *[None] * (len(op.input) - len(wanted))))


_layer_norm = operator(
    "LayerNorm",
    "input, gamma?, beta? -> output, mean, stddev",
    infer=_infer_layer_norm,
    gradient=_layer_norm_gradient_rule,
    input_counts=(1, 3),
    doc="""
    output = (input - mean) / stddev, with elementwise_affine * gamma + beta.

    Mean and stddev = sqrt(variance + epsilon) are those of each row: of all elements that share
    their position along the axes before `axis`. Their shape is that of these axes, then 1; gamma
    and beta have as many elements as a row. Without elementwise_affine they are not read. Rows
    without elements have mean 0.
    """,
    example="""
    input = [[1, 3], [10, 30]]
    output = [[-1, 1], [-1, 1]]; mean = [[2], [20]]; stddev = [[1], [10]]
    """,
    axis=AXIS,
    epsilon=Arg(float, 1e-5, "added to the variance"),
    elementwise_affine=AFFINE,
)


def _matrix(array: Array, axis: int) -> Array:
    """The array as (rows, columns)."""
    rows = int(np.prod(array.shape[:axis], dtype=np.int64))
    columns = int(np.prod(array.shape[axis:], dtype=np.int64))
    return array.reshape(rows, columns)


@_layer_norm.everywhere
def _launch_layer_norm(call: Call) -> Launch:
    axis = canonical_axis(call.args.axis, call.inputs[0].ndim)
    x, y = (_matrix(a, axis) for a in (call.inputs[0], call.outputs[0]))
    affine = None
    if call.args.elementwise_affine:
        affine = call.inputs[1].reshape(-1), call.inputs[2].reshape(-1)
    moments = call.outputs[1].reshape(-1), call.outputs[2].reshape(-1)
    return launch_normalize_columns(x, call.args.epsilon, affine, moments, y)


def _infer_layer_norm_gradient(query: Query) -> Sequence[TensorType]:
    count = 3 if query.args.elementwise_affine else 1
    if query.args.elementwise_affine and len(query.inputs) != 6:
        raise ArityError("elementwise_affine needs the input gamma")
    if query.outputs != count:
        raise ArityError(
            f"expected {count} output(s) with elementwise_affine "
            f"{int(query.args.elementwise_affine)}, found {query.outputs}"
        )
    dtype = _require_floats(query)
    shape = require_same_shape(query, 0, 1, 4)
    kept = _kept(query, shape)
    size = None if kept is None else product(kept)
    for index in (2, 3):
        _require_size(query, index, size, "one a row")
    types = [TensorType(dtype, shape)]
    if query.args.elementwise_affine:
        _require_size(query, 5, _row_size(query, shape), "one for each of a row")
        types += [TensorType(dtype, query.inputs[5].shape)] * 2
    return types


_layer_norm_gradient = operator(
    "LayerNormGradient",
    "doutput, output, mean, stddev, input, gamma? -> dinput, dgamma?, dbeta?",
    infer=_infer_layer_norm_gradient,
    input_counts=(5, 6),
    output_counts=(1, 3),
    doc="""
    With Z = (input - mean) / stddev and G = doutput * gamma (gamma = 1 without elementwise_affine):
    dinput = (G - mean of G - Z * mean of G * Z) / stddev, the means over each row;
    dgamma = sum of doutput * Z and dbeta = sum of doutput over all rows.
    """,
    axis=AXIS,
    elementwise_affine=AFFINE,
)


@_layer_norm_gradient.everywhere
def _launch_layer_norm_gradient(call: Call) -> list[Launch]:
    axis = canonical_axis(call.args.axis, call.inputs[0].ndim)
    dy, x, dx = (_matrix(a, axis) for a in (call.inputs[0], call.inputs[4], call.outputs[0]))
    moments = call.inputs[2].reshape(-1), call.inputs[3].reshape(-1)
    scale: Array | None = None
    out: Pair | None = None
    if call.args.elementwise_affine:
        scale = call.inputs[5].reshape(-1)
        out = call.outputs[1].reshape(-1), call.outputs[2].reshape(-1)
    return launch_columns_gradient(call, dy, moments, x, scale, dx, out)


# ---------------------------------------------------------------- InstanceNorm

INSTANCE_ARGS = {
    "epsilon": Arg(float, 1e-5, "added to the variance"),
    "order": Arg(str, "NCHW", "NCHW: channels are the second axis; NHWC: the last"),
}


def _instances(query: Query, shape: Dims | None) -> tuple[Dims, int | None] | None:
    """(batch, channels) and the number of channels; errors for sizes that do not fit."""
    last = channels_last(query.args)
    if query.args.epsilon < 0:
        raise ArgumentError(f"epsilon must not be negative, found {query.args.epsilon}")
    if shape is None:
        return None
    if len(shape) < 2:
        raise ShapeError(f"input must have a batch and a channel axis, found {shape_text(shape)}")
    channels = shape[-1] if last else shape[1]
    return (shape[0], channels), channels


def _infer_instance_norm(query: Query) -> Sequence[TensorType]:
    dtype = _require_floats(query)
    shape = query.inputs[0].shape
    found = _instances(query, shape)
    if found is not None:
        for index in (1, 2):
            _require_size(query, index, found[1], "one a channel")
    moments = TensorType(dtype, None if found is None else found[0])
    return [TensorType(dtype, shape), moments, moments][: query.outputs]


def _instance_norm_gradient_rule(op: OperatorDef, output_grads: Sequence[GradientName]) -> Gradient:
    """Saved moments are read where the forward operator has kept them."""
    dy = output_grads[0]
    if dy is None:
        raise NoGradientError("InstanceNorm: the gradient of its first output is missing")
    wanted = tuple(gradient_name(name) for name in op.input)
    inputs = [*op.input, dy, *op.output[1:]]
    return Gradient((gradient_op(op, "InstanceNormGradient", inputs, wanted),), wanted)


_instance_norm = operator(
    "InstanceNorm",
    "input, scale, bias -> output, saved_mean?, saved_inv_stdev?",
    infer=_infer_instance_norm,
    gradient=_instance_norm_gradient_rule,
    inplace={0: 0},
    doc="""
    output = (input - mean) * inv_stdev * scale + bias, with one scale and bias a channel.

    Mean and inv_stdev = 1 / sqrt(variance + epsilon) are those of one channel of one item of the
    batch; input is (batch, channels, ...), or (batch, ..., channels) with order NHWC. The further
    outputs, (batch, channels) each, keep them for the gradient.
    """,
    example="""
    input = [[[1, 3], [10, 30]]]; scale = [1, 2]; bias = [0, 5]
    output = [[[-1, 1], [3, 7]]]; saved_mean = [[2, 20]]; saved_inv_stdev = [[1, 0.1]]
    """,
    arguments=INSTANCE_ARGS,
)


class _Images:
    """Arrays as (batch * channels, pixels), by way of scratch where the channels come last."""

    def __init__(self, call: Call) -> None:
        self._call = call
        self._last = channels_last(call.args)
        self.before: list[Launch] = []
        self.after: list[Launch] = []

    def read(self, array: Array) -> Array:
        """An input."""
        if not self._last:
            return self._rows(array)
        pixels, rows = self._scratch(array)
        self.before.append(launch_transpose(pixels, (0, 2, 1), rows))
        return self._rows(rows)

    def write(self, array: Array) -> Array:
        """An output."""
        if not self._last:
            return self._rows(array)
        pixels, rows = self._scratch(array)
        self.after.append(launch_transpose(rows, (0, 2, 1), pixels))
        return self._rows(rows)

    def _scratch(self, array: Array) -> tuple[Array, Array]:
        count = int(np.prod(array.shape[1:-1], dtype=np.int64))
        batch, channels = array.shape[0], array.shape[-1]
        rows = self._call.scratch((batch, channels, count), array.dtype)
        return array.reshape(batch, count, channels), rows

    def _rows(self, array: Array) -> Array:
        count = int(np.prod(array.shape[2:], dtype=np.int64))
        return array.reshape(array.shape[0] * array.shape[1], count)


def _moments(call: Call, kept: Sequence[Array], count: int) -> Pair:
    """Where mean and inverse deviation go: the blobs that there are, else scratch."""
    found = [array.reshape(-1) for array in kept]
    while len(found) < 2:
        found.append(call.scratch((count,), call.inputs[0].dtype))
    return found[0], found[1]


@_instance_norm.everywhere
def _launch_instance_norm(call: Call) -> list[Launch]:
    images = _Images(call)
    x, y = images.read(call.inputs[0]), images.write(call.outputs[0])
    affine = call.inputs[1].reshape(-1), call.inputs[2].reshape(-1)
    moments = _moments(call, call.outputs[1:], len(x))
    launch = launch_normalize_rows(x, call.args.epsilon, affine, moments, y)
    return [*images.before, launch, *images.after]


def _infer_instance_norm_gradient(query: Query) -> Sequence[TensorType]:
    dtype = _require_floats(query)
    shape = require_same_shape(query, 0, 3)
    found = _instances(query, shape)
    if found is not None:
        for index in (1, 2):
            _require_size(query, index, found[1], "one a channel")
        for index in range(4, len(query.inputs)):
            _require_size(query, index, product(found[0]), "one a channel and item")
    vectors = [TensorType(dtype, query.inputs[index].shape) for index in (1, 2)]
    return [TensorType(dtype, shape), *vectors]


_instance_norm_gradient = operator(
    "InstanceNormGradient",
    "input, scale, bias, doutput, saved_mean?, saved_inv_stdev? -> dinput, dscale, dbias",
    infer=_infer_instance_norm_gradient,
    doc="""
    With Z = (input - mean) * inv_stdev: dscale = sum of doutput * Z and dbias = sum of doutput over
    all of a channel; dinput = scale * inv_stdev * (doutput - mean of doutput
    - Z * mean of doutput * Z), the means over one channel of one item. Moments that are not given
    are computed.
    """,
    arguments=INSTANCE_ARGS,
)


@_instance_norm_gradient.everywhere
def _launch_instance_norm_gradient(call: Call) -> list[Launch]:
    images = _Images(call)
    x, dy = images.read(call.inputs[0]), images.read(call.inputs[3])
    dx = images.write(call.outputs[0])
    scale = call.inputs[1].reshape(-1)
    out = call.outputs[1].reshape(-1), call.outputs[2].reshape(-1)
    launches = images.before
    if len(call.inputs) == 6:
        moments = _moments(call, call.inputs[4:], len(x))
    else:
        moments = _moments(call, (), len(x))
        launches.append(launch_rows_moments(x, call.args.epsilon, moments))
    launches += launch_rows_gradient(call, x, scale, dy, moments, dx, out)
    return [*launches, *images.after]
