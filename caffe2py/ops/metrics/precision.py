"""Average precision and perplexity."""

from __future__ import annotations

from collections.abc import Sequence

from caffe2py.errors import ArgumentError
from caffe2py.kernels.elementwise import FLOATS
from caffe2py.kernels.metrics import launch_average_precision, launch_perplexity
from caffe2py.registry.context import Call, Launch
from caffe2py.registry.gradient import NotDifferentiable
from caffe2py.registry.infer import Query, require_dtype, require_rank, require_same_shape
from caffe2py.registry.operator import operator
from caffe2py.registry.schema import Arg
from caffe2py.tensor.types import TensorType


def _infer(query: Query) -> Sequence[TensorType]:
    require_dtype(query, 0, "float32")
    require_dtype(query, 1, "int32")
    for index in (0, 1):
        require_rank(query, index, 2)
    if query.args.buffer_size < 1:
        raise ArgumentError(f"buffer_size must be at least 1, found {query.args.buffer_size}")
    shape = require_same_shape(query, 0, 1)
    return [TensorType(query.inputs[0].dtype, None if shape is None else shape[1:])]


_average_precision = operator(
    "APMeter",
    "predictions, labels -> AP",
    infer=_infer,
    gradient=NotDifferentiable("it ranks"),
    doc="""
    AP[c] = the mean, over the predictions of class c with label 1, of the share of such labels
    among the predictions that score as high or higher (the earlier of equal ones first); 0 without
    any. Predictions (N, C) are float32, labels (N, C) int32, 0 or 1. The operator remembers the
    last buffer_size predictions of all its runs (Caffe2 forgets those that score highest first).
    Another number of classes starts anew. Raises ArgumentError for a buffer of no size.
    """,
    example="""
    predictions = [[0.9], [0.5], [0.1]]; labels = [[1], [0], [1]]
    AP = [0.8333333]
    """,
    buffer_size=Arg(int, 1000, "how many predictions are remembered"),
)


@_average_precision.cpu
def _launch(call: Call) -> list[Launch]:
    x, labels = call.inputs
    return launch_average_precision(call, x, labels, call.args.buffer_size, call.outputs[0])


def _infer_perplexity(query: Query) -> Sequence[TensorType]:
    require_dtype(query, 0, *FLOATS)
    require_rank(query, 0, 1)
    return [TensorType(query.inputs[0].dtype, ())]


_perplexity = operator(
    "Perplexity",
    "probabilities -> output",
    infer=_infer_perplexity,
    gradient=NotDifferentiable("it is a metric"),
    doc="""
    output = the product of probabilities ** (-1 / n) over the n elements of a vector, a scalar; 1
    for an empty one.
    """,
    example="""
    probabilities = [0.5, 0.125]
    output = 4
    """,
)


@_perplexity.everywhere
def _launch_perplexity(call: Call) -> list[Launch]:
    return launch_perplexity(call.inputs[0], call.outputs[0])
