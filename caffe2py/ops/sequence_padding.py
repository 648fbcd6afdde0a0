"""VariableLengthSequencePadding: zeros behind the ends of sequences."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from caffe2py.errors import ShapeError
from caffe2py.kernels.copy import launch_copy
from caffe2py.kernels.elementwise import FLOATS
from caffe2py.kernels.recurrent import launch_clear_ends
from caffe2py.registry.context import Call, Launch
from caffe2py.registry.gradient import NotDifferentiable
from caffe2py.registry.infer import Query, require_dtype, require_rank
from caffe2py.registry.operator import operator
from caffe2py.tensor.types import TensorType, shape_text


def _infer(query: Query) -> Sequence[TensorType]:
    require_dtype(query, 0, *FLOATS)
    require_dtype(query, 1, np.int32)
    require_rank(query, 0, *range(3, 65))
    require_rank(query, 1, 1)
    x, lengths = (given.shape for given in query.inputs)
    if x is None or lengths is None or None in (x[1], lengths[0]):
        return [query.inputs[0]]
    if x[1] != lengths[0]:
        raise ShapeError(
            f"input 1 '{query.name(1)}' must have {x[1]} lengths, one for each sequence of "
            f"input 0 '{query.name(0)}' {shape_text(x)}; found {shape_text(lengths)}"
        )
    return [query.inputs[0]]


padding = operator(
    "VariableLengthSequencePadding",
    "X, lengths -> Y",
    infer=_infer,
    inplace={0: 0},
    gradient=NotDifferentiable("it is meant for inference"),
    doc="""
    Y[t, n] = X[t, n] where t < lengths[n], else 0; X (T, N, ...), lengths int32 (N,). A length
    below 0 is as 0. Caffe2 leaves a Y that is not X itself undefined where X is kept.
    """,
    example="""
    X = [[[1], [2]], [[3], [4]]]; lengths = [1, 2]
    Y = [[[1], [2]], [[0], [4]]]
    """,
)


@padding.everywhere
def launch_padding(call: Call) -> list[Launch]:
    """A copy, and zeros."""
    (x, lengths), y = call.inputs, call.outputs[0]
    copied = [] if x.ctypes.data == y.ctypes.data else [launch_copy(x, y)]
    return [*copied, launch_clear_ends(y, lengths)]
