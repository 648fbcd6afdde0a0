"""Elements sorted into buckets, and buckets or equal values as one-hot columns."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import numpy as np

from caffe2py.errors import ArgumentError
from caffe2py.kernels.elementwise import FLOATS, NUMERIC
from caffe2py.kernels.lookup import (
    launch_bucket_columns,
    launch_bucketize,
    launch_bucketize_columns,
    launch_equal_columns,
)
from caffe2py.ops.indexing.common import INT32, require_rows, require_size
from caffe2py.registry.context import Call, Launch
from caffe2py.registry.gradient import NoGradient, NotDifferentiable
from caffe2py.registry.infer import (
    Query,
    product,
    require_dtype,
    require_rank,
    require_same_dtype,
)
from caffe2py.registry.operator import operator
from caffe2py.registry.schema import Arg
from caffe2py.tensor.types import TensorType

STEPS = "a bucket does not change with the elements"


def _infer_bucketize(query: Query) -> Sequence[TensorType]:
    require_dtype(query, 0, *FLOATS)
    for before, after in pairwise(query.args.boundaries or []):
        if not before <= after:
            raise ArgumentError(f"boundaries must ascend, found {before} before {after}")
    return [TensorType(INT32, query.inputs[0].shape)]


_bucketize = operator(
    "Bucketize",
    "data -> output",
    infer=_infer_bucketize,
    gradient=NotDifferentiable(STEPS),
    boundaries=Arg(list[float], None, "where one bucket ends and the next begins, ascending"),
    doc="""
    output = how many of the `boundaries` lie below each element of `data`, int32 of its shape: 0 up
    to the first boundary, as many as there are above the last. NaN is 0. Raises ArgumentError for
    boundaries that do not ascend.
    """,
    example="""
    data = [0.5, 1, 1.5, 9]; boundaries = [1.0, 2.0]
    output = [0, 0, 1, 2]
    """,
)


@_bucketize.everywhere
def _launch_bucketize(call: Call) -> Launch:
    single = np.array(call.args.boundaries or [], np.float32)  # arguments are float32
    return launch_bucketize(call.inputs[0], single.astype(call.inputs[0].dtype), call.outputs[0])


def _infer_columns(query: Query) -> Sequence[TensorType]:
    for index, dtypes in enumerate((FLOATS, ["int32"], FLOATS, ["int32"])):
        require_dtype(query, index, *dtypes)
        require_rank(query, index, 2 if index == 0 else 1)
    require_same_dtype(query, 0, 2)
    feature, indices = query.inputs[0].shape, query.inputs[1].shape
    count = None if indices is None else indices[0]
    require_size(query, 3, 0, count, "one length for each of the indices")
    return [TensorType(INT32, (None if feature is None else feature[0], count))]


_batch_bucketize = operator(
    "BatchBucketize",
    "float_features, indices, boundaries, lengths -> bucktized_feat",
    infer=_infer_columns,
    gradient=NoGradient(STEPS),
    doc="""
    bucktized_feat[r, k] = how many of the next lengths[k] boundaries, which ascend, lie below
    float_features[r, indices[k]], int32. Features are a matrix, the others vectors, of int32 but
    for the boundaries. Raises ValueRangeError for an index that is no column (where Caffe2 reads
    other memory), or lengths that do not add up to the number of boundaries.
    """,
    example="""
    float_features = [[0.5, 9, 3]]; indices = [0, 2]; boundaries = [1, 2, 3]; lengths = [1, 2]
    bucktized_feat = [[0, 1]]
    """,
)


@_batch_bucketize.everywhere
def _launch_columns(call: Call) -> Launch:
    x, columns, edges, lengths = call.inputs
    return launch_bucketize_columns(x, columns, edges, lengths, call.outputs[0])


def _by_column(query: Query) -> tuple[int | None, int | None, int | None]:
    """Rows and columns of the first input, size of the third; one length for each column."""
    require_dtype(query, 1, "int32")
    for index in (1, 2):
        require_rank(query, index, 1)
    x = require_rows(query, 0)
    columns = None if x is None else product(x[1:])
    require_size(query, 1, 0, columns, "one length for each column")
    lengths, values = query.inputs[1].shape, query.inputs[2].shape
    if columns is None and lengths is not None:
        columns = lengths[0]
    return None if x is None else x[0], columns, None if values is None else values[0]


def _infer_one_hot(query: Query) -> Sequence[TensorType]:
    require_dtype(query, 0, *NUMERIC)
    dtype = require_same_dtype(query, 0, 2)
    rows, _, width = _by_column(query)
    return [TensorType(dtype, (rows, width))]


_batch_one_hot = operator(
    "BatchOneHot",
    "data, lengths, values -> output",
    infer=_infer_one_hot,
    gradient=NoGradient("it compares"),
    doc="""
    output[r, k] = 1 if data[r, c] equals values[k], one of the next lengths[c] values for column c,
    else 0; of the type of data. Data has shape (N, D), lengths D elements, values V, output shape
    (N, V). Raises ValueRangeError unless the lengths (int32) add up to V.
    """,
    example="""
    data = [[1, 4], [2, 5]]; lengths = [2, 1]; values = [1, 2, 5]
    output = [[1, 0, 0], [0, 1, 1]]
    """,
)


def _matrix(call: Call) -> tuple[int, int]:
    x = call.inputs[0]
    return x.shape[0], call.inputs[1].shape[0]


@_batch_one_hot.everywhere
def _launch_one_hot(call: Call) -> Launch:
    x, lengths, values = call.inputs
    return launch_equal_columns(x.reshape(_matrix(call)), lengths, values, call.outputs[0])


def _infer_bucket_one_hot(query: Query) -> Sequence[TensorType]:
    for index in (0, 2):
        require_dtype(query, index, *FLOATS)
    require_same_dtype(query, 0, 2)
    rows, columns, edges = _by_column(query)
    width = None if columns is None or edges is None else columns + edges
    return [TensorType(query.inputs[0].dtype, (rows, width))]


_bucket_one_hot = operator(
    "BatchBucketOneHot",
    "data, lengths, boundaries -> output",
    infer=_infer_bucket_one_hot,
    gradient=NotDifferentiable(STEPS),
    doc="""
    For each column c of data (N, D) the output has lengths[c] + 1 columns, one for each bucket that
    the next lengths[c] boundaries (ascending) part: a 1 where data[r, c] lies, else 0. An element
    that equals several boundaries lies in the middle of them. Output has shape (N, D + the number
    of boundaries). Raises ValueRangeError unless the lengths (int32) add up to that number.
    """,
    example="""
    data = [[0.5, 9], [3, 1]]; lengths = [2, 1]; boundaries = [1, 2, 5]
    output = [[1, 0, 0, 0, 1], [0, 0, 1, 1, 0]]
    """,
)


@_bucket_one_hot.everywhere
def _launch_bucket_one_hot(call: Call) -> Launch:
    x, lengths, edges = call.inputs
    return launch_bucket_columns(x.reshape(_matrix(call)), lengths, edges, call.outputs[0])
