"""Random choices by weight."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from caffe2py.errors import ArgumentError, ArityError, ShapeError
from caffe2py.kernels.elementwise import FLOATS
from caffe2py.kernels.fill import launch_choose_by_sums, launch_choose_by_weight
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
from caffe2py.registry.schema import Arg
from caffe2py.tensor.types import TensorType, shape_text

INT32 = np.dtype(np.int32)
RANDOM = NotDifferentiable("which element is drawn does not change with the weights")


def _infer_sample(query: Query) -> Sequence[TensorType]:
    if query.outputs != len(query.inputs):
        raise ArityError(f"expected {len(query.inputs)} output(s), as many as inputs")
    every = range(len(query.inputs))
    for index in every:
        require_dtype(query, index, *FLOATS)
        require_rank(query, index, 2)
    dtype, shape = require_same_dtype(query, *every), require_same_shape(query, *every)
    if shape is not None and shape[1] == 0:
        raise ShapeError(f"'sampling_weights' is {shape_text(shape)}: there is nothing to choose")
    rows = (None if shape is None else shape[0], 1)
    return [TensorType(INT32, rows), TensorType(dtype, rows)][: query.outputs]


_sample = operator(
    "WeightedSample",
    "sampling_weights, sampling_values? -> sampled_indexes, sampled_values?",
    infer=_infer_sample,
    gradient=RANDOM,
    doc="""
    sampled_indexes[r] = [a random column of the matrix sampling_weights, each as likely as its
    weight in row r says], int32; sampled_values[r] = [the element of sampling_values there], if
    that is given. Weights must not be negative; if all are 0 the first column is taken. Raises
    ShapeError for rows without columns.
    """,
    example="""
    sampling_weights = [[0, 1], [1, 1]]
    sampled_indexes = [[1], [0]] (for instance)
    """,
)


@_sample.everywhere
def _launch_sample(call: Call) -> list[Launch]:
    weights = call.inputs[0]
    given = len(call.inputs) > 1
    values = call.inputs[1] if given else weights
    chosen = call.outputs[1] if given else call.scratch((0,), weights.dtype)
    arrays = (weights, values, call.outputs[0].reshape(-1), chosen.reshape(-1))
    return launch_choose_by_weight(call.random_state(), *arrays)


def _infer_multi(query: Query) -> Sequence[TensorType]:
    if query.args.num_samples < 0:
        raise ArgumentError(f"num_samples must not be negative, found {query.args.num_samples}")
    require_dtype(query, 0, *FLOATS)
    require_rank(query, 0, 1)
    sums = query.inputs[0].shape
    shape = (query.args.num_samples,) if len(query.inputs) < 2 else query.inputs[1].shape
    if sums is not None and sums[0] == 0:
        shape = (0,)
    known = sums is not None and sums[0] is not None
    return [TensorType(INT32, shape if known else None)]


_multi = operator(
    "WeightedMultiSampling",
    "sampling_cdf, shape_tensor? -> sampled_indexes",
    infer=_infer_multi,
    gradient=RANDOM,
    num_samples=Arg(int, 0, "how many are drawn, without a second input"),
    doc="""
    sampled_indexes = random places in the vector sampling_cdf, int32, each as likely as the element
    there exceeds the one before: it holds the running sums of weights. There are num_samples of
    them, or they have the shape of shape_tensor, whose elements are not read; none if sampling_cdf
    is empty.
    """,
    example="""
    sampling_cdf = [0, 1, 1, 2]; num_samples = 3
    sampled_indexes = [1, 3, 3] (for instance)
    """,
)


@_multi.everywhere
def _launch_multi(call: Call) -> list[Launch]:
    return launch_choose_by_sums(call.random_state(), call.inputs[0], call.outputs[0])
