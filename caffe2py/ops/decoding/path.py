"""ViterbiPath and SwapBestPath: the best sequence of classes, and scores that agree with it."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from caffe2py.errors import ShapeError
from caffe2py.kernels.decoding import launch_swap_best, launch_viterbi
from caffe2py.kernels.elementwise import FLOATS
from caffe2py.registry.context import Call, Launch
from caffe2py.registry.gradient import NoGradient
from caffe2py.registry.infer import Query, require_dtype, require_rank, require_same_dtype
from caffe2py.registry.operator import operator
from caffe2py.tensor.types import TensorType, shape_text

_INT32 = np.dtype(np.int32)
_DECODED = NoGradient("what is best does not change by little")


def _require_fit(query: Query, index: int, found: int | None, wanted: int | None) -> None:
    if None not in (found, wanted) and found != wanted:
        raise ShapeError(
            f"input {index} '{query.name(index)}' {shape_text(query.inputs[index].shape)} does not "
            f"fit input 0 '{query.name(0)}' {shape_text(query.inputs[0].shape)}"
        )


def _infer_viterbi(query: Query) -> Sequence[TensorType]:
    for index in (0, 1):
        require_dtype(query, index, *FLOATS)
        require_rank(query, index, 2)
    require_same_dtype(query, 0, 1)
    scores, moves = (given.shape for given in query.inputs)
    if scores is None:
        return [TensorType(_INT32, (None,))]
    if 0 in scores:
        raise ShapeError(
            f"input 0 '{query.name(0)}' must have steps and classes, found {shape_text(scores)}"
        )
    for size in moves or ():
        _require_fit(query, 1, size, scores[1])
    return [TensorType(_INT32, scores[:1])]


viterbi = operator(
    "ViterbiPath",
    "predictions, transitions -> viterbi_path",
    infer=_infer_viterbi,
    gradient=_DECODED,
    doc="""
    The classes c_0 ... c_T-1, int32 (T,), with the largest sum of predictions[t, c_t] over all t
    and transitions[c_t-1, c_t] over t > 0; predictions (T, C), transitions (C, C). Of equal ones
    that with the smaller class.
    """,
    example="""
    predictions = [[1, 0], [0, 0]]; transitions = [[0, 2], [0, 0]]
    viterbi_path = [0, 1]
    """,
)


@viterbi.everywhere
def launch_path(call: Call) -> Launch:
    """Forward for the best sums, backward for the path."""
    scores, moves = call.inputs
    return launch_viterbi(call, scores, moves, call.outputs[0])


def _infer_swap(query: Query) -> Sequence[TensorType]:
    require_dtype(query, 0, *FLOATS)
    require_dtype(query, 1, _INT32)
    require_rank(query, 0, 2)
    require_rank(query, 1, 1)
    scores, path = (given.shape for given in query.inputs)
    if scores is not None and path is not None:
        _require_fit(query, 1, path[0], scores[0])
    return [query.inputs[0]]


swap = operator(
    "SwapBestPath",
    "predictions, bestPath -> new_predictions",
    infer=_infer_swap,
    gradient=_DECODED,
    doc="""
    predictions (T, C) in which class bestPath[t], int32 (T,), has the largest score of row t: it
    and the class that had it exchange their scores. Raises ValueRangeError where there is no such
    class; Caffe2 reads beyond the row.
    """,
    example="""
    predictions = [[1, 3, 2]]; bestPath = [0]
    new_predictions = [[3, 1, 2]]
    """,
)


@swap.everywhere
def launch_swapped(call: Call) -> Launch:
    """Row by row."""
    scores, path = call.inputs
    return launch_swap_best(scores, path, call.outputs[0], f"'{call.input_blob(1)}'")
