"""RowWiseCounter: how often rows were seen lately."""

from __future__ import annotations

import math

import numpy as np

from caffe2py.kernels import update_whole
from caffe2py.kernels.update import launch_check_rows
from caffe2py.ops.optimizer.common import (
    NO_GRADIENT,
    flat,
    outputs_like,
    require_same_size,
    require_size,
)
from caffe2py.registry.context import Call, Launch
from caffe2py.registry.infer import Query, require_dtype
from caffe2py.registry.operator import operator
from caffe2py.registry.schema import Arg


def _check(query: Query) -> None:
    require_dtype(query, 0, np.int64)
    require_dtype(query, 1, np.float64)
    require_dtype(query, 2, np.int32, np.int64)
    require_dtype(query, 3, np.int64)
    require_same_size(query, 0, 1)
    require_size(query, 3, 1, "a single number")


counter = operator(
    "RowWiseCounter",
    "prev_iter, update_counter, indices, iter -> output_prev_iter, output_update_counter",
    infer=outputs_like(0, 1, check=_check),
    enforced={0: 0, 1: 1},
    gradient=NO_GRADIENT,
    counter_halflife=Arg(int, -1, "iterations after which a count is worth half; 0 or less: off"),
    doc="""
    For each index i in turn, with d = max(0, iter - prev_iter[i]):
    update_counter[i] = 1 + 2^(-d / counter_halflife) * update_counter[i];
    prev_iter[i] = max(iter, prev_iter[i]). Nothing happens where counter_halflife is 0 or less.
    Raises ValueRangeError for an index out of range, before anything is changed; Caffe2 lets the
    first one beyond the end pass.
    """,
    example="""
    prev_iter = [0, 0]; update_counter = [0, 4]; indices = [1]; iter = [2]; counter_halflife = 1
    output_prev_iter = [0, 2]; output_update_counter = [0, 2]
    """,
)


@counter.everywhere
def launch_counter(call: Call) -> list[Launch]:
    """Check the indices, then count."""
    halflife = call.args.counter_halflife
    if halflife <= 0 or call.inputs[2].size == 0:
        return []
    last, counts = (flat(y) for y in call.outputs)
    indices, now = (flat(x) for x in call.inputs[2:])
    decay = np.float64(math.log(2) / halflife)
    check = launch_check_rows(indices, last.size, f"'{call.input_blob(2)}'")
    return [check, *update_whole.launch_count_rows(last, counts, indices, now, decay)]
