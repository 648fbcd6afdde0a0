"""TopK and FlexibleTopK: the largest elements along an axis."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from caffe2py.errors import ShapeError, ValueRangeError
from caffe2py.kernels.elementwise import FLOATS, NUMERIC
from caffe2py.kernels.index import (
    launch_flexible_top,
    launch_flexible_top_gradient,
    launch_top,
    launch_top_gradient,
)
from caffe2py.proto.caffe2_pb2 import OperatorDef
from caffe2py.registry.context import Call, Launch
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
from caffe2py.tensor.types import TensorType, shape_text

AXIS = Arg(int, -1, "the axis along which elements compete; negative ones count from the end")
INT64 = np.dtype(np.int64)


def _count(query: Query) -> int | None:
    """How many are wanted: the argument, or else the input; ValueRangeError for less than 1."""
    count = query.args.k
    if len(query.inputs) > 1:
        require_dtype(query, 1, "int64", "int32")
        shape = query.inputs[1].shape
        if shape is not None and product(shape) not in (None, 1):
            raise ShapeError(f"'k' is {shape_text(shape)}, needs one element")
        if count == -1:
            value = query.value(1)
            if value is None:
                return None
            count = int(value.reshape(())[()])
    if count < 1:
        raise ValueRangeError(f"k must be at least 1, found {count}")
    return int(count)


def _infer(query: Query) -> Sequence[TensorType]:
    require_dtype(query, 0, *NUMERIC)
    x, count = query.inputs[0], _count(query)
    if x.shape is None:
        types = [TensorType(x.dtype), TensorType(INT64), TensorType(INT64, (None,))]
        return types[: query.outputs]
    axis = canonical_axis(query.args.axis, len(x.shape))
    shape = (*x.shape[:axis], count, *x.shape[axis + 1 :])
    types = [x.with_shape(shape), TensorType(INT64, shape), TensorType(INT64, (product(shape),))]
    return types[: query.outputs]


def _reads_count(op: OperatorDef) -> bool:
    return len(op.input) > 1 and not any(arg.name == "k" and arg.i != -1 for arg in op.arg)


_top = operator(
    "TopK",
    "X, k? -> Values, Indices, Flattened_indices?",
    infer=_infer,
    gradient="TopKGradient(dValues, Indices, X.shape) -> dX",
    doc="""
    Values = the k largest elements of X along `axis`, in descending order, and Indices their places
    along that axis, int64. Of equal elements the first one comes first; a NaN comes after every
    number. Where the axis has less than k elements Values is filled up with 0, Indices with -1.
    Flattened_indices, a vector, holds places in the flattened X instead. k is an argument, or an
    int64 or int32 tensor of one element where the argument is left out.
    """,
    example="""
    X = [[3, 1, 2], [0, 5, 5]]; k = 2
    Values = [[3, 2], [5, 5]]; Indices = [[0, 2], [1, 2]]; Flattened_indices = [0, 2, 4, 5]
    """,
    k=Arg(int, -1, "how many elements are taken"),
    axis=AXIS,
)


def _three(x: Array, axis: int) -> Array:
    return x.reshape(math.prod(x.shape[:axis]), x.shape[axis], math.prod(x.shape[axis + 1 :]))


@_top.everywhere_dynamic(when=_reads_count, reads=lambda op: [1] if _reads_count(op) else [])
def _launch(call: Call) -> Launch:
    x = call.inputs[0]
    axis = canonical_axis(call.args.axis, x.ndim)
    values, indices, *flat = call.outputs
    y, at = _three(values, axis), _three(indices, axis)
    return launch_top(call, _three(x, axis), y, at, flat[0] if flat else None)


def _infer_gradient(query: Query) -> Sequence[TensorType]:
    for index in (0, 2):
        require_dtype(query, index, *FLOATS)
    require_dtype(query, 1, "int64")
    dtype = require_same_dtype(query, 0, 2)
    taken, x = require_same_shape(query, 0, 1), query.inputs[2].shape
    if x is not None:
        axis = canonical_axis(query.args.axis, len(x))
        if taken is not None:
            _require_but(taken, x, axis)
    return [TensorType(dtype, x)]


def _require_but(found: tuple[int | None, ...], x: tuple[int | None, ...], axis: int) -> None:
    """Raise ShapeError unless the shapes agree on every axis but one."""
    if len(found) != len(x) or any(
        k != axis and None not in (m, n) and m != n
        for k, (m, n) in enumerate(zip(found, x, strict=True))
    ):
        raise ShapeError(
            f"'Indices' is {shape_text(found)}; X {shape_text(x)} may differ along axis {axis} only"
        )


_top_gradient = operator(
    "TopKGradient",
    "dValues, Indices, X -> dX",
    infer=_infer_gradient,
    doc="""
    dX = dValues at the places that Indices names along `axis`, 0 elsewhere. An index of -1 is left
    out; ValueRangeError is raised for others that are out of range. The elements of X are not read.
    """,
    axis=AXIS,
)


@_top_gradient.everywhere
def _launch_gradient(call: Call) -> Launch:
    dy, indices, x = call.inputs
    axis = canonical_axis(call.args.axis, x.ndim)
    arrays = (_three(a, axis) for a in (dy, indices, call.outputs[0]))
    return launch_top_gradient(*arrays)


# ---------------------------------------------------------------- FlexibleTopK


def _check_counts(query: Query) -> int | None:
    """The sum of the counts, one for each row of X, if they are known."""
    require_dtype(query, 1, "int64")
    x, counts = query.inputs[0].shape, query.inputs[1].shape
    if x == ():
        raise ShapeError("input 0 'X' must have at least 1 dimension")
    if x is not None and counts is not None:
        rows, found = product(x[:-1]), product(counts)
        if None not in (rows, found) and rows != found:
            raise ShapeError(f"'k' is {shape_text(counts)}; X {shape_text(x)} has {rows} row(s)")
    values = query.value(1)
    if values is None:
        return None
    most = None if x is None else x[-1]
    if values.min(initial=1) < 1 or (most is not None and values.max(initial=1) > most):
        raise ValueRangeError(f"'k' must lie in 1 to {most}, found {values.tolist()}")
    return int(values.sum())


def _infer_flexible(query: Query) -> Sequence[TensorType]:
    require_dtype(query, 0, *NUMERIC)
    total = _check_counts(query)
    return [TensorType(query.inputs[0].dtype, (total,)), TensorType(INT64, (total,))]


_flexible = operator(
    "FlexibleTopK",
    "X, k -> values, indices",
    infer=_infer_flexible,
    gradient="FlexibleTopKGradient(X.shape, k, dvalues, indices) -> dX",
    doc="""
    values = for each row r of X (its last axis) the k[r] largest elements in descending order, one
    row after another, and indices = their columns, int64. Of equal elements the first comes first,
    NaN come last. k is an int64 tensor with one element for each row. Raises ValueRangeError for a
    count below 1 or above the length of a row.
    """,
    example="""
    X = [[3, 1, 2], [0, 5, 4]]; k = [1, 2]
    values = [3, 5, 4]; indices = [0, 1, 2]
    """,
)


def _last_rows(x: Array) -> Array:
    return x.reshape(math.prod(x.shape[:-1]), x.shape[-1])


@_flexible.everywhere_dynamic(reads=lambda op: [1])
def _launch_flexible(call: Call) -> Launch:
    x, counts = call.inputs
    return launch_flexible_top(call, _last_rows(x), counts, *call.outputs)


def _infer_flexible_gradient(query: Query) -> Sequence[TensorType]:
    for index in (0, 2):
        require_dtype(query, index, *FLOATS)
    require_dtype(query, 3, "int64")
    dtype = require_same_dtype(query, 0, 2)
    total, found = _check_counts(query), require_same_shape(query, 2, 3)
    if found is not None and (
        len(found) != 1 or (None not in (*found, total) and found[0] != total)
    ):
        raise ShapeError(f"'dvalues' is {shape_text(found)}, the counts add up to {total}")
    return [TensorType(dtype, query.inputs[0].shape)]


_flexible_gradient = operator(
    "FlexibleTopKGradient",
    "X, k, dvalues, indices -> dX",
    infer=_infer_flexible_gradient,
    doc="""
    dX[r] = dvalues in the columns that the k[r] indices of row r name, 0 elsewhere. The elements of
    X are not read. Raises ValueRangeError for an index that is out of range.
    """,
)


@_flexible_gradient.everywhere_dynamic(reads=lambda op: [1])
def _launch_flexible_gradient(call: Call) -> Launch:
    _, counts, dy, indices = call.inputs
    return launch_flexible_top_gradient(dy, counts, indices, _last_rows(call.outputs[0]))
