"""Accuracy: of all predictions, and of each class."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from caffe2py.errors import ShapeError
from caffe2py.kernels.elementwise import FLOATS
from caffe2py.kernels.losses import launch_accuracy
from caffe2py.kernels.metrics import launch_class_accuracy
from caffe2py.registry.context import Call, Launch
from caffe2py.registry.gradient import NotDifferentiable
from caffe2py.registry.infer import Query, require_dtype, require_rank
from caffe2py.registry.operator import operator
from caffe2py.registry.schema import Arg
from caffe2py.tensor.types import TensorType, shape_text


def _check(query: Query) -> None:
    require_dtype(query, 0, *FLOATS)
    require_dtype(query, 1, "int32", "int64")
    require_rank(query, 0, 2)
    require_rank(query, 1, 1)
    x, labels = query.inputs[0].shape, query.inputs[1].shape
    if x is not None and labels is not None and None not in (x[0], labels[0]) and x[0] != labels[0]:
        raise ShapeError(
            f"'labels' is {shape_text(labels)}; predictions {shape_text(x)} need one label a row"
        )


def _infer(query: Query) -> Sequence[TensorType]:
    _check(query)
    return [TensorType(np.dtype(np.float32), ())]


_accuracy = operator(
    "Accuracy",
    "predictions, labels -> accuracy",
    infer=_infer,
    gradient=NotDifferentiable("it counts"),
    doc="""
    Accuracy = the share of rows of `predictions` (N, D) whose label is among the top_k largest
    elements; of equal elements the one further left is taken for the larger. A row whose label is
    at a NaN is wrong (Caffe2 takes it for right), and a NaN elsewhere counts as larger than any
    number. No rows give NaN. Float32, a scalar. Raises ValueRangeError for a label outside of
    [0, D), where Caffe2 reads other memory.
    """,
    example="""
    predictions = [[0.1, 0.9], [0.8, 0.2]]; labels = [1, 1]
    accuracy = 0.5
    """,
    top_k=Arg(int, 1, "how many guesses are allowed"),
)


@_accuracy.everywhere
def _launch(call: Call) -> list[Launch]:
    predictions, labels = call.inputs
    return launch_accuracy(predictions, labels, call.args.top_k, call.outputs[0])


def _infer_classes(query: Query) -> Sequence[TensorType]:
    _check(query)
    shape = query.inputs[0].shape
    classes = None if shape is None else shape[1:]
    return [TensorType(np.dtype(np.float32), classes), TensorType(np.dtype(np.int32), classes)]


_classes = operator(
    "MultiClassAccuracy",
    "prediction, labels -> accuracies, amounts",
    infer=_infer_classes,
    gradient=NotDifferentiable("it counts"),
    doc="""
    amounts[c] = the number of rows of `prediction` (N, D) with label c, int32; accuracies[c] = the
    share of these whose largest element is at c (the first of equal ones), float32, 0 if there are
    none. Raises ValueRangeError for a label outside of [0, D), where Caffe2 reads other memory.
    """,
    example="""
    prediction = [[0.1, 0.9], [0.8, 0.2]]; labels = [1, 1]
    accuracies = [0, 0.5]; amounts = [0, 2]
    """,
)


@_classes.everywhere
def _launch_classes(call: Call) -> list[Launch]:
    return launch_class_accuracy(*call.inputs, *call.outputs)
