"""Rows moved by their indices: permuted, removed, overwritten; elements scattered along an axis."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from caffe2py.errors import NoGradientError, ShapeError
from caffe2py.kernels.callback import launch_python
from caffe2py.kernels.copy import launch_copy
from caffe2py.kernels.elementwise import FLOATS
from caffe2py.kernels.index import index_error, launch_gather
from caffe2py.kernels.spread import launch_add_rows, launch_place, launch_set_rows
from caffe2py.ops.indexing.common import (
    INDEX_TYPES,
    differ,
    require_rows,
    require_size,
)
from caffe2py.proto.caffe2_pb2 import OperatorDef
from caffe2py.registry.context import Call, Launch
from caffe2py.registry.gradient import (
    Gradient,
    GradientRef,
    GradientSlice,
    NotDifferentiable,
    TakesSlices,
    gradient_name,
    gradient_op,
)
from caffe2py.registry.infer import (
    Query,
    canonical_axis,
    require_dtype,
    require_rank,
    require_same_dtype,
    require_same_shape,
)
from caffe2py.registry.operator import operator
from caffe2py.registry.schema import Arg
from caffe2py.tensor.place import on_host
from caffe2py.tensor.tensor import Array
from caffe2py.tensor.types import STRING, TensorType, shape_text


def _matrix(x: Array) -> Array:
    return x.reshape(x.shape[0], math.prod(x.shape[1:]))


# ---------------------------------------------------------------- BatchPermutation


def _one_index_a_row(query: Query, rows: int, indices: int) -> None:
    require_dtype(query, indices, *INDEX_TYPES)
    require_rank(query, indices, 1)
    shape = require_rows(query, rows)
    if shape is not None:
        require_size(query, indices, 0, shape[0], "one index for each row")


def _infer_permutation(query: Query) -> Sequence[TensorType]:
    _one_index_a_row(query, 0, 1)
    return [query.inputs[0]]


_permutation = operator(
    "BatchPermutation",
    "X, indices -> Y",
    infer=_infer_permutation,
    gradient="BatchPermutationGradient(indices, dY) -> dX",
    doc="""
    Y[k] = X[indices[k]], for as many indices (int32 or int64) as X has rows. X is of any type.
    Raises ValueRangeError for an index that is no row, where Caffe2 reads other memory.
    """,
    example="""
    X = [[1, 2], [3, 4], [5, 6]]; indices = [2, 0, 1]
    Y = [[5, 6], [1, 2], [3, 4]]
    """,
)


@_permutation.everywhere
def _launch_permutation(call: Call) -> Launch:
    x, indices = call.inputs
    y = call.outputs[0]
    return launch_gather(_one(x), indices, _one(y))


def _one(x: Array) -> Array:
    """The rows as the one part of an array with three axes."""
    return x.reshape(1, x.shape[0], math.prod(x.shape[1:]))


def _infer_permutation_gradient(query: Query) -> Sequence[TensorType]:
    require_dtype(query, 1, *FLOATS)
    _one_index_a_row(query, 1, 0)
    return [query.inputs[1]]


_permutation_gradient = operator(
    "BatchPermutationGradient",
    "indices, dY -> dX",
    infer=_infer_permutation_gradient,
    doc="""
    dX[indices[k]] = dY[k]; the sum of all where an index comes several times (Caffe2 keeps the
    last), 0 where it never comes.
    """,
)


@_permutation_gradient.everywhere
def _launch_permutation_gradient(call: Call) -> list[Launch]:
    indices, dy = call.inputs
    return launch_add_rows(_matrix(dy), indices, _matrix(call.outputs[0]))


# ---------------------------------------------------------------- Scatter


def _infer_scatter(query: Query) -> Sequence[TensorType]:
    require_dtype(query, 1, *INDEX_TYPES)
    dtype = require_same_dtype(query, 0, 2)
    data, indices = query.inputs[0].shape, require_same_shape(query, 1, 2)
    if data is not None:
        axis = canonical_axis(query.args.axis, len(data))
        if indices is not None and (
            len(indices) != len(data)
            or any(
                differ(m, n)
                for k, (m, n) in enumerate(zip(indices, data, strict=True))
                if k != axis
            )
        ):
            raise ShapeError(
                f"'INDICES' is {shape_text(indices)}; DATA {shape_text(data)} may differ along "
                f"axis {axis} only"
            )
    return [TensorType(dtype, data)]


_scatter = operator(
    "Scatter",
    "DATA, INDICES, UPDATES -> OUTPUT",
    infer=_infer_scatter,
    gradient=NotDifferentiable("it overwrites"),
    inplace={0: 0},
    axis=Arg(int, 1, "the axis along which indices count; negative ones count from the end"),
    doc="""
    OUTPUT = DATA, but OUTPUT[o, INDICES[o, k, i], i] = UPDATES[o, k, i], where o stands for the
    axes before `axis` and i for those behind; the last of equal indices stays. INDICES (int32 or
    int64) and UPDATES have one shape, that of DATA except along `axis`. Any type. Raises
    ShapeError for other shapes, ValueRangeError for an index that is out of range.
    """,
    example="""
    DATA = [[1, 2, 3], [4, 5, 6]]; INDICES = [[2], [0]]; UPDATES = [[8], [9]]
    OUTPUT = [[1, 2, 8], [9, 5, 6]]
    """,
)


def _three(x: Array, axis: int) -> Array:
    return x.reshape(math.prod(x.shape[:axis]), x.shape[axis], math.prod(x.shape[axis + 1 :]))


def _place_objects(x: Array, indices: Array, updates: Array, y: Array) -> None:
    low, high = indices.min(initial=0), indices.max(initial=-1)
    if low < 0 or high >= y.shape[1]:
        wrong = int(low if low < 0 else high)
        raise index_error(wrong, int(np.flatnonzero(indices == wrong)[0]), y.shape[1])
    np.copyto(y, x)
    np.put_along_axis(y, indices, updates, 1)


@_scatter.everywhere
def _launch_scatter(call: Call) -> list[Launch]:
    axis = canonical_axis(call.args.axis, call.inputs[0].ndim)
    x, indices, updates, y = (_three(a, axis) for a in (*call.inputs, call.outputs[0]))
    if y.dtype == STRING:
        return [launch_python(lambda: _place_objects(x, on_host(indices), updates, y))]
    return launch_place(x, indices, updates, y)


# ---------------------------------------------------------------- RemoveDataBlocks


def _infer_removed(query: Query) -> Sequence[TensorType]:
    require_dtype(query, 1, *INDEX_TYPES)
    require_rank(query, 1, 1)
    data = require_rows(query, 0)
    return [query.inputs[0].with_shape(None if data is None else (None, *data[1:]))]


_removed = operator(
    "RemoveDataBlocks",
    "data, indices -> shrunk_data",
    infer=_infer_removed,
    gradient=NotDifferentiable("which rows are left depends on data"),
    doc="""
    shrunk_data = the rows of `data` that `indices` (int32 or int64) do not name, in order. Any
    type. Raises ValueRangeError for an index that is no row; negative ones are none.
    """,
    example="""
    data = [[1, 2], [3, 4], [5, 6]]; indices = [0, 2]
    shrunk_data = [[3, 4]]
    """,
)


@_removed.cpu_dynamic()
def _run_removed(call: Call) -> None:
    data, indices = call.inputs
    for position, index in enumerate(indices.tolist()):
        if not 0 <= index < len(data):
            raise index_error(index, position, len(data))
    left = np.ones(len(data), bool)
    left[indices] = False
    rows = data[left]
    call.output(0, rows.shape, data.dtype)[...] = rows


# ---------------------------------------------------------------- CopyRowsToTensor


def _gradient_of_copied(op: OperatorDef, output_grads: Sequence[GradientRef]) -> Gradient:
    """The gradient of the whole tensor passes; of a slice both parts do."""
    grad = output_grads[0]
    name = gradient_name(op.input[0])
    if grad is None:
        raise NoGradientError("CopyRowsToTensor: nothing provides the gradient of its output")
    if not isinstance(grad, GradientSlice):
        made = gradient_op(op, "CopyRowsToTensorGradient", [grad], [name])
        return Gradient((made,), (name, None, None))
    parts = GradientSlice(f"{name}_indices", f"{name}_values")
    ops = (
        gradient_op(op, "CopyRowsToTensorGradient", [before], [after])
        for before, after in zip(grad, parts, strict=True)
    )
    return Gradient(tuple(ops), (parts, None, None))


def _infer_copied(query: Query) -> Sequence[TensorType]:
    require_dtype(query, 1, *INDEX_TYPES)
    for index, rank in ((0, 2), (1, 1), (2, 1)):
        require_rank(query, index, rank)
    dtype = require_same_dtype(query, 0, 2)
    if dtype is not None and dtype.kind not in "fiub":
        require_dtype(query, 0, "float16", *FLOATS, *INDEX_TYPES)
    data = query.inputs[0].shape
    if data is not None:
        require_size(query, 2, 0, data[1], "it replaces rows of the tensor")
    return [TensorType(dtype, data)]


_copied = operator(
    "CopyRowsToTensor",
    "input_tensor, indices, row -> output_tensor",
    infer=_infer_copied,
    gradient=TakesSlices(_gradient_of_copied),
    enforced={0: 0},
    doc="""
    output_tensor[indices[k]] = row for each k; output_tensor is the same blob as the matrix
    input_tensor. Any numbers; indices are int32 or int64. Raises ValueRangeError for an index that
    is no row, where Caffe2 writes to other memory.
    """,
    example="""
    input_tensor = [[1, 2], [3, 4], [5, 6]]; indices = [2, 0]; row = [7, 8]
    output_tensor = [[7, 8], [3, 4], [7, 8]]
    """,
)


@_copied.everywhere
def _launch_copied(call: Call) -> Launch:
    _, indices, row = call.inputs
    return launch_set_rows(indices, row, call.outputs[0])


_copied_gradient = operator(
    "CopyRowsToTensorGradient",
    "doutput_tensor -> dinput_tensor",
    identical=True,
    inplace={0: 0},
    doc="""
    dinput_tensor = doutput_tensor, also in the rows that were replaced, as Caffe2 has it (where
    only part of the tensor is copied).
    """,
)


@_copied_gradient.everywhere
def _launch_copied_gradient(call: Call) -> Launch:
    return launch_copy(call.inputs[0], call.outputs[0])
