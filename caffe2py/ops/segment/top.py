"""LengthsTopK: the largest elements of each segment."""

from __future__ import annotations

from collections.abc import Sequence

from caffe2py.errors import ShapeError, ValueRangeError
from caffe2py.kernels.elementwise import FLOATS, NUMERIC
from caffe2py.kernels.segment import walk_lengths
from caffe2py.kernels.segment_top import launch_segment_top, launch_segment_top_gradient
from caffe2py.ops.segment.common import INT32, differ, known_sum, require_vector
from caffe2py.registry.context import Call, Launch
from caffe2py.registry.infer import Query, require_dtype, require_same_shape
from caffe2py.registry.operator import operator
from caffe2py.registry.schema import Arg
from caffe2py.tensor.types import TensorType

K = Arg(int, -1, "how many elements are taken; it must be given")


def _wanted(query: Query) -> int:
    count: int = query.args.k
    if count < 1:
        raise ValueRangeError(f"k must be at least 1, found {count}")
    return count


def _infer(query: Query) -> Sequence[TensorType]:
    require_dtype(query, 0, *NUMERIC)
    shape = (require_vector(query, 1), _wanted(query))
    return [TensorType(query.inputs[0].dtype, shape), TensorType(INT32, shape)]


_top = operator(
    "LengthsTopK",
    "DATA, LENGTHS -> TopKValue, TopKIndices",
    infer=_infer,
    gradient="LengthsTopKGradient(LENGTHS, TopKIndices, dTopKValue) -> dDATA",
    doc="""
    TopKValue[s] = the k largest elements of segment s of the flat DATA, in descending order, and
    TopKIndices[s] their places in the segment, int32. Of equal elements the first one comes first;
    NaN come last. A segment of less than k elements is filled up with 0 and -1. DATA is int32,
    int64, float32 or float64; LENGTHS are int32 or int64. Raises ValueRangeError unless the lengths
    add up to DATA; Caffe2 reads beyond it.
    """,
    example="""
    DATA = [3, 1, 2, 5]; LENGTHS = [3, 1]; k = 2
    TopKValue = [[3, 2], [5, 0]]; TopKIndices = [[0, 2], [0, -1]]
    """,
    k=K,
)


@_top.everywhere
def _launch(call: Call) -> list[Launch]:
    data, lengths = call.inputs
    way = walk_lengths(call, lengths, data.size, "elements")
    return [*way.launches, launch_segment_top(data, way.offsets, *call.outputs)]


def _infer_gradient(query: Query) -> Sequence[TensorType]:
    count = require_vector(query, 0)
    require_dtype(query, 1, "int32")
    require_dtype(query, 2, *FLOATS)
    shape = require_same_shape(query, 1, 2)
    if shape is not None and (len(shape) != 2 or differ(shape[0], count)):
        raise ShapeError(f"'dTopKValue' must have a row for each of {count} lengths")
    return [TensorType(query.inputs[2].dtype, (known_sum(query, 0),))]


_gradient = operator(
    "LengthsTopKGradient",
    "LENGTHS, TopKIndices, dTopKValue -> dDATA",
    infer=_infer_gradient,
    doc="""
    dDATA = dTopKValue at the places that TopKIndices names in each segment, 0 elsewhere; a vector
    of as many elements as the lengths add up to. An index outside of its segment is left out.
    """,
    k=K,
)


@_gradient.everywhere_dynamic(reads=lambda op: [0])
def _launch_gradient(call: Call) -> list[Launch]:
    lengths, indices, dy = call.inputs
    dx = call.outputs[0]
    way = walk_lengths(call, lengths, dx.size, "elements")
    return [*way.launches, *launch_segment_top_gradient(dy, indices, way.offsets, dx)]
