"""Chosen dot products between vectors of several inputs."""

from __future__ import annotations

from collections.abc import Sequence

from caffe2py.errors import ShapeError, ValueRangeError
from caffe2py.kernels.elementwise import FLOATS
from caffe2py.kernels.pairs import launch_pairs
from caffe2py.registry.context import Call, Launch
from caffe2py.registry.gradient import NotDifferentiable
from caffe2py.registry.infer import (
    Query,
    require_dtype,
    require_rank,
    require_same_dtype,
    require_same_shape,
)
from caffe2py.registry.operator import operator
from caffe2py.tensor.types import TensorType


def _infer(query: Query) -> Sequence[TensorType]:
    if len(query.inputs) < 2:
        raise ShapeError("there must be at least one input besides the indices")
    require_dtype(query, 0, "int32", "int64")
    require_rank(query, 0, 1)
    vectors = range(1, len(query.inputs))
    for index in vectors:
        require_dtype(query, index, *FLOATS)
        require_rank(query, index, 2)
    dtype, shape = require_same_dtype(query, *vectors), require_same_shape(query, *vectors)
    indices = query.inputs[0].shape
    rows = None if shape is None else shape[0]
    return [TensorType(dtype, (rows, None if indices is None else indices[0]))]


_pairs = operator(
    "ConcatBatchMatMulBatchGatherOp",
    "indices, vectors* -> output",
    infer=_infer,
    gradient=NotDifferentiable("Caffe2 has none"),
    doc="""
    output[b, k] = the dot product of vectors_i[b] and vectors_j[b], where indices[k] = i * n + j
    names a pair of the n inputs behind it: what Concat, BatchMatMul with the transpose and
    BatchGather give. Vectors are matrices (B, D), indices (int32 or int64) a vector. Raises
    ShapeError for inputs of other shapes, ValueRangeError for an index outside of [0, n * n).
    """,
    example="""
    indices = [1]; vectors = [[1, 2]], [[3, 4]]
    output = [[11]]
    """,
)


@_pairs.everywhere
def _launch(call: Call) -> list[Launch]:
    indices, *vectors = call.inputs
    count = len(vectors) ** 2

    def explain(status: int) -> ValueRangeError:
        return ValueRangeError(
            f"index {int(indices[status - 1])} at position {status - 1} is out of range for "
            f"{count} pair(s)"
        )

    return launch_pairs(call, indices, vectors, call.outputs[0], explain)
