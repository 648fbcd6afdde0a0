"""The first axis split into two, and two joined to one."""

from __future__ import annotations

from collections.abc import Sequence

from caffe2py.errors import ArgumentError, NoGradientError, ShapeError
from caffe2py.kernels.copy import launch_reshaped
from caffe2py.proto.caffe2_pb2 import OperatorDef
from caffe2py.registry.context import Call, Launch
from caffe2py.registry.gradient import (
    Gradient,
    GradientName,
    NotDifferentiable,
    gradient_name,
    gradient_op,
)
from caffe2py.registry.infer import Query, product
from caffe2py.registry.operator import operator
from caffe2py.registry.schema import Arg
from caffe2py.tensor.types import TensorType, shape_text


def _infer_prepend(query: Query) -> Sequence[TensorType]:
    size, data = query.args.dim_size, query.inputs[0]
    if size < 1:
        raise ArgumentError(f"Argument dim_size must be greater than zero, found {size}")
    if data.shape is None:
        return [data]
    if not data.shape:
        raise ShapeError("input 0 'data' must have at least 1 dimension")
    first = data.shape[0]
    if first is not None and first % size:
        raise ShapeError(
            f"the first dimension of 'data' {shape_text(data.shape)} is no multiple of {size}"
        )
    return [data.with_shape((size, None if first is None else first // size, *data.shape[1:]))]


def _gradient_of_prepend(op: OperatorDef, output_grads: Sequence[GradientName]) -> Gradient:
    grad = output_grads[0]
    if grad is None:
        raise NoGradientError("PrependDim: nothing provides dreshaped")
    name = gradient_name(op.input[0])
    return Gradient((gradient_op(op, "MergeDim", [grad], [name], copy_args=False),), (name,))


_prepend = operator(
    "PrependDim",
    "data -> reshaped",
    infer=_infer_prepend,
    gradient=_gradient_of_prepend,
    inplace={0: 0},
    dim_size=Arg(int, 0, "the size of the new axis"),
    doc="""
    reshaped = data of shape (D, ...) as (dim_size, D / dim_size, ...). Any type. Raises ShapeError
    where dim_size does not divide D, ArgumentError for one below 1.
    """,
    example="""
    data = [1, 2, 3, 4]; dim_size = 2
    reshaped = [[1, 2], [3, 4]]
    """,
)


@_prepend.everywhere
def _launch_prepend(call: Call) -> list[Launch]:
    return launch_reshaped(call)


def _infer_merge(query: Query) -> Sequence[TensorType]:
    data = query.inputs[0]
    if data.shape is None:
        return [data]
    if len(data.shape) < 2:
        raise ShapeError(
            f"input 0 'data' must have at least 2 dimensions, found {shape_text(data.shape)}"
        )
    return [data.with_shape((product(data.shape[:2]), *data.shape[2:]))]


_merge = operator(
    "MergeDim",
    "data -> reshaped",
    infer=_infer_merge,
    gradient=NotDifferentiable("it is a gradient itself, of PrependDim"),
    inplace={0: 0},
    onnx="Reshape",
    doc="""
    reshaped = data of shape (A, B, ...) as (A * B, ...). Any type. Raises ShapeError for less than
    two axes.
    """,
    example="""
    data = [[1, 2], [3, 4]]
    reshaped = [1, 2, 3, 4]
    """,
)


@_merge.everywhere
def _launch_merge(call: Call) -> list[Launch]:
    return launch_reshaped(call)
