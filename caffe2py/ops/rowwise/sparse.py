"""Indices of pruned tables: those of rows that are left."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from caffe2py.errors import ArityError, ValueRangeError
from caffe2py.kernels.index import index_error
from caffe2py.ops.rowwise.common import FLOAT, NO_GRADIENT
from caffe2py.registry.context import Call
from caffe2py.registry.gradient import NoGradient
from caffe2py.registry.infer import Query, require_dtype, require_rank, require_same_shape
from caffe2py.registry.operator import operator
from caffe2py.tensor.types import TensorType


def _infer(query: Query) -> Sequence[TensorType]:
    require_dtype(query, 0, "int32", "int64")
    require_dtype(query, 1, "int32")
    require_dtype(query, 2, "int32")
    for index in range(len(query.inputs)):
        require_rank(query, index, 1)
    if len(query.inputs) > 3:
        require_dtype(query, 3, "float32")
        require_same_shape(query, 0, 3)
    if query.outputs != len(query.inputs) - 1:
        raise ArityError(
            f"expected {len(query.inputs) - 1} outputs for {len(query.inputs)} inputs, "
            f"found {query.outputs}"
        )
    types = [
        TensorType(query.inputs[0].dtype, (None,)),
        query.inputs[1],
        TensorType(FLOAT, (None,)),
    ]
    return types[: query.outputs]


lookup = operator(
    "SparseLengthsSumSparseLookup",
    "INDICES, LENGTHS, COMPRESSED_INDICES_MAPPING, WEIGHTS? -> "
    "output_indices, output_lengths, output_weights?",
    infer=_infer,
    gradient=NoGradient(NO_GRADIENT),
    onnx="SparseLengthsSumSparseLookup",
    doc="""
    output_indices = COMPRESSED_INDICES_MAPPING[INDICES] without those that are -1;
    output_lengths says how many of each segment are left, and output_weights are their weights.
    INDICES and WEIGHTS behind the last segment are left out.
    """,
    example="""
    INDICES = [0, 1, 2], LENGTHS = [2, 1], COMPRESSED_INDICES_MAPPING = [0, -1, 1]
    output_indices = [0, 1], output_lengths = [1, 1]
    """,
)


@lookup.cpu_dynamic()
def _launch(call: Call) -> None:
    indices, lengths, mapping, *weights = call.inputs
    outside = np.flatnonzero((indices < 0) | (indices >= len(mapping)))
    if outside.size:
        at = int(outside[0])
        raise index_error(int(indices[at]), at, len(mapping))
    total = int(lengths.sum(dtype=np.int64))
    if (lengths < 0).any() or total > len(indices):
        raise ValueRangeError(f"lengths add up to {total}, indices are {len(indices)}")
    found = mapping[indices[:total]]
    left = found != -1
    segments = np.repeat(np.arange(len(lengths)), lengths)[left]
    counts = np.bincount(segments, minlength=len(lengths))
    call.output(0, (int(left.sum()),), indices.dtype)[...] = found[left]
    call.output(1, lengths.shape, lengths.dtype)[...] = counts
    if weights:
        call.output(2, (int(left.sum()),), FLOAT)[...] = weights[0][:total][left]
