"""Rows written by their indices: scatter, sparse to dense, one-hot vectors."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from caffe2py.errors import ArgumentError, ArityError, ShapeError, ValueRangeError
from caffe2py.kernels.copy import launch_reshaped
from caffe2py.kernels.elementwise import FLOATS, NUMERIC
from caffe2py.kernels.index import launch_one_hot, launch_scatter, launch_scatter_sum
from caffe2py.proto.caffe2_pb2 import OperatorDef
from caffe2py.registry.context import Call, Launch
from caffe2py.registry.gradient import (
    Gradient,
    GradientRef,
    GradientSlice,
    NoGradient,
    NotDifferentiable,
    TakesSlices,
    gradient_name,
    gradient_op,
)
from caffe2py.registry.infer import (
    Query,
    product,
    require_dtype,
    require_rank,
    require_same_dtype,
)
from caffe2py.registry.operator import operator
from caffe2py.registry.schema import Arg
from caffe2py.tensor.tensor import Array
from caffe2py.tensor.types import TensorType, shape_text

Dims = tuple[int | None, ...]

INDEX_TYPES = ("int32", "int64")


def _differ(a: int | None, b: int | None) -> bool:
    return None not in (a, b) and a != b


def _by_row(x: Array) -> Array:
    return x.reshape(x.shape[0], math.prod(x.shape[1:]))


def _require_rows(query: Query, index: int, data: Dims, indices: Dims | None) -> None:
    """Raise ShapeError unless the input has one row of the data for each index."""
    shape = query.inputs[index].shape
    if shape is None or indices is None:
        return
    wanted = product((*indices, *data[1:]))
    if _differ(product(shape), wanted):
        raise ShapeError(
            f"input {index} '{query.name(index)}' is {shape_text(shape)}, needs "
            f"{shape_text((*indices, *data[1:]))}: a row of {shape_text(data)} for each index"
        )


def _require_axes(query: Query) -> Dims | None:
    shape = query.inputs[0].shape
    if shape == ():
        raise ShapeError(f"input 0 '{query.name(0)}' must have at least 1 dimension")
    return shape


# ---------------------------------------------------------------- ScatterAssign


def _infer_assign(query: Query) -> Sequence[TensorType]:
    require_dtype(query, 1, *INDEX_TYPES)
    dtype = require_same_dtype(query, 0, 2)
    shape = _require_axes(query)
    if shape is not None:
        _require_rows(query, 2, shape, query.inputs[1].shape)
    return [TensorType(dtype, shape)]


_scatter_assign = operator(
    "ScatterAssign",
    "DATA, INDICES, SLICES -> OUTPUT",
    infer=_infer_assign,
    gradient=NotDifferentiable("it overwrites"),
    enforced={0: 0},
    doc="""
    DATA[INDICES[k]] = SLICES[k] for each k, in order: the last of equal indices stays. OUTPUT is
    the same blob as DATA. SLICES has as many elements as INDICES has rows of DATA; any type.
    Raises ValueRangeError for an index that is out of range (negative ones are), and then changes
    nothing; Caffe2 writes to other memory.
    """,
    example="""
    DATA = [1, 2, 3]; INDICES = [2, 0]; SLICES = [7, 8]
    OUTPUT = [8, 2, 7]
    """,
)


@_scatter_assign.everywhere
def _launch_assign(call: Call) -> list[Launch]:
    _, indices, slices = call.inputs
    data = _by_row(call.outputs[0])
    return launch_scatter(indices, slices.reshape(indices.size, data.shape[1]), data)


# ---------------------------------------------------------------- ScatterWeightedSum


def _infer_weighted(query: Query) -> Sequence[TensorType]:
    count = len(query.inputs)
    if count % 2 == 0:
        raise ArityError(f"expected an odd number of inputs, found {count}: X and Weight are pairs")
    require_dtype(query, 2, *INDEX_TYPES)
    floats = [index for index in range(count) if index != 2]
    for index in floats:
        require_dtype(query, index, *FLOATS)
    dtype = require_same_dtype(query, *floats)
    data = _require_axes(query)
    for index in (1, *range(4, count, 2)):
        weight = query.inputs[index].shape
        if weight is not None and _differ(product(weight), 1):
            raise ShapeError(
                f"input {index} '{query.name(index)}' is {shape_text(weight)}, needs one element"
            )
    for index in range(3, count, 2):
        if data is not None:
            _require_rows(query, index, data, query.inputs[2].shape)
    return [TensorType(dtype, data)]


_weighted = operator(
    "ScatterWeightedSum",
    "X_0, Weight_0, INDICES, X_1, Weight_1, more* -> OUTPUT",
    infer=_infer_weighted,
    gradient=NotDifferentiable("it overwrites"),
    enforced={0: 0},
    doc="""
    X_0[INDICES[k]] = Weight_0 * X_0[INDICES[k]] + Weight_1 * X_1[k] + Weight_2 * X_2[k] + ... for
    each k. OUTPUT is the same blob as X_0. Weights have one element; X_1, X_2, ... have a row of
    X_0 for each index. A row that is named several times is scaled as often, then gets all sums; a
    Weight_0 of 1 leaves the rest as it is. Raises ValueRangeError for an index that is out of
    range (negative ones are), and then changes nothing.
    """,
    example="""
    X_0 = [1, 2, 3]; Weight_0 = [2]; INDICES = [2, 0]; X_1 = [10, 20]; Weight_1 = [1]
    OUTPUT = [22, 2, 16]
    """,
)


@_weighted.everywhere
def _launch_weighted(call: Call) -> list[Launch]:
    _, weight, indices, *rest = call.inputs
    data = _by_row(call.outputs[0])
    values = [x.reshape(indices.size, data.shape[1]) for x in rest[::2]]
    pairs = list(zip(values, rest[1::2], strict=True))
    return launch_scatter_sum(indices, pairs, data, weight)


# ---------------------------------------------------------------- SparseToDense


def _first_dim(query: Query) -> int | None:
    """The number of rows of the result: told, that of the third input, or as indices need."""
    told = query.args.output_first_dim
    if len(query.inputs) > 2:
        if told > 0:
            raise ArgumentError("output_first_dim and a third input exclude each other")
        like = query.inputs[2].shape
        if like == ():
            raise ShapeError(f"input 2 '{query.name(2)}' must have at least 1 dimension")
        return None if like is None else like[0]
    if told > 0:
        return int(told)
    indices = query.value(0)
    if indices is None:
        return None
    return max(int(indices.max(initial=-1)) + 1, 0)


def _infer_dense(query: Query) -> Sequence[TensorType]:
    require_dtype(query, 0, *INDEX_TYPES)
    require_dtype(query, 1, *NUMERIC)
    require_rank(query, 0, 1)
    indices, values = query.inputs[0].shape, query.inputs[1].shape
    if values is None:
        return [TensorType(query.inputs[1].dtype)]
    if not values or (indices is not None and _differ(indices[0], values[0])):
        raise ShapeError(
            f"'values' is {shape_text(values)}; indices {shape_text(indices)} need one row each"
        )
    return [query.inputs[1].with_shape((_first_dim(query), *values[1:]))]


def _by_indices(op: OperatorDef) -> bool:
    """Whether the result's size depends on the indices."""
    told = any(arg.name == "output_first_dim" and arg.i > 0 for arg in op.arg)
    return len(op.input) < 3 and not told


_dense = operator(
    "SparseToDense",
    "indices, values, data_to_infer_dim? -> output",
    infer=_infer_dense,
    gradient="Gather(doutput, indices) -> dvalues",
    doc="""
    Output[indices[k]] = the sum of values[k] over equal indices; rows that no index names are 0.
    The number of rows is output_first_dim, or that of the third input, whose elements are not
    read, or the largest index + 1. Raises ValueRangeError for an index that is negative or beyond.
    """,
    example="""
    indices = [2, 0, 2]; values = [1, 2, 3]
    output = [2, 0, 4]
    """,
    output_first_dim=Arg(int, 0, "the number of rows, if it is positive"),
)


@_dense.everywhere_dynamic(when=_by_indices, reads=lambda op: [0])
def _launch_dense(call: Call) -> list[Launch]:
    indices, values = call.inputs[:2]
    one = np.ones(1, values.dtype)
    return launch_scatter_sum(indices, [(_by_row(values), one)], _by_row(call.outputs[0]))


# ---------------------------------------------------------------- OneHot


def _infer_one_hot(query: Query) -> Sequence[TensorType]:
    for index in range(2):
        require_dtype(query, index, *INDEX_TYPES)
    require_rank(query, 0, 1)
    indices, size_shape = query.inputs[0].shape, query.inputs[1].shape
    if size_shape is not None and _differ(product(size_shape), 1):
        raise ShapeError(f"'index_size_tensor' is {shape_text(size_shape)}, needs one element")
    rows = None if indices is None else indices[0]
    value = query.value(1)
    size = None if value is None else int(value.reshape(())[()])
    if size is not None and size < 0:
        raise ValueRangeError(f"'index_size_tensor' is {size}; it must not be negative")
    return [TensorType(np.dtype(np.float32), (rows, size))]


_one_hot = operator(
    "OneHot",
    "indices, index_size_tensor -> one_hots",
    infer=_infer_one_hot,
    gradient=NoGradient("indices have no gradient"),
    doc="""
    One_hots[k, c] = 1 if c = indices[k], else 0; float32 of shape (K, index_size_tensor). The
    size is a tensor of one element. Raises ValueRangeError for an index outside of the size, where
    Caffe2 writes to other memory.
    """,
    example="""
    indices = [0, 2]; index_size_tensor = [3]
    one_hots = [[1, 0, 0], [0, 0, 1]]
    """,
)


@_one_hot.everywhere_dynamic(reads=lambda op: [1])
def _launch_one_hot(call: Call) -> Launch:
    return launch_one_hot(call.inputs[0], call.outputs[0])


# ---------------------------------------------------------------- EnsureDense


def _gradient_of_dense(op: OperatorDef, output_grads: Sequence[GradientRef]) -> Gradient:
    """The gradient passes through; a sparse one becomes a tensor."""
    grad = output_grads[0]
    if not isinstance(grad, GradientSlice):
        return Gradient((), (grad,))
    name = gradient_name(op.input[0])
    made = gradient_op(op, "SparseToDense", [grad.indices, grad.values, op.input[0]], [name])
    return Gradient((made,), (name,), frozenset([op.input[0]]))


_ensure = operator(
    "EnsureDense",
    "input -> output",
    identical=True,
    inplace={0: 0},
    gradient=TakesSlices(_gradient_of_dense),
    doc="""
    Output = input, of any type. In the backward pass a sparse gradient of output becomes a tensor
    of the shape of input.
    """,
    example="""
    input = [1, 2]
    output = [1, 2]
    """,
)


@_ensure.everywhere
def _launch_ensure(call: Call) -> list[Launch]:
    return launch_reshaped(call)
