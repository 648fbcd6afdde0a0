"""Conditional, AsyncNetBarrier and Free: rows chosen, blobs passed on, blobs given up."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from caffe2py.errors import ArityError, InplaceError, ShapeError
from caffe2py.kernels.copy import launch_copy
from caffe2py.kernels.members import launch_choice
from caffe2py.registry.context import Call, Launch
from caffe2py.registry.gradient import NoGradient, NotDifferentiable
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


def _infer_conditional(query: Query) -> Sequence[TensorType]:
    require_dtype(query, 0, "bool")
    require_rank(query, 0, 1)
    dtype = require_same_dtype(query, 1, 2)
    shape = require_same_shape(query, 1, 2)
    condition = query.inputs[0].shape
    if shape is not None and condition is not None:
        if not shape or (None not in (shape[0], condition[0]) and shape[0] != condition[0]):
            raise ShapeError(
                f"input 0 '{query.name(0)}' has {condition[0]} element(s), so inputs 1 and 2 must "
                f"have as many rows, found {shape_text(shape)}"
            )
        shape = (condition[0] if shape[0] is None else shape[0], *shape[1:])
    return [TensorType(dtype, shape)]


conditional = operator(
    "Conditional",
    "Condition, DataT, DataF -> DataO",
    infer=_infer_conditional,
    gradient=NoGradient("Caffe2 gives it none"),
    doc="""
    DataO[i] = DataT[i] where Condition[i], else DataF[i]. Condition is bool and has one dimension;
    DataT and DataF have one type (any) and one shape, with a row for each element of Condition.
    """,
    example="""
    Condition = [true, false], DataT = [1, 2], DataF = [3, 4]
    DataO = [1, 4]
    """,
)


@conditional.everywhere
def launch_conditional(call: Call) -> Launch:
    """Copy rows."""
    condition, x, y = call.inputs
    out = call.outputs[0]
    return launch_choice(condition.view(np.uint8), x, y, out)


# ---------------------------------------------------------------- the barrier


def _infer_barrier(query: Query) -> Sequence[TensorType]:
    _require_pairs(query)
    return query.inputs


def _require_pairs(query: Query) -> None:
    if query.outputs != len(query.inputs):
        raise ArityError(
            f"expected as many outputs as inputs, found {query.outputs} and {len(query.inputs)}"
        )


barrier = operator(
    "AsyncNetBarrier",
    "inputs+ -> outputs+",
    infer=_infer_barrier,
    gradient=NotDifferentiable("it only orders other operators"),
    inplace=lambda i, o: i == o,
    doc="""
    outputs[k] = inputs[k]: what stands before it in the net has run when it has run. Any type.
    (Caffe2 leaves outputs that are not in place as they were.)
    """,
    example="""
    inputs = [1, 2]
    outputs = [1, 2]
    """,
    cross_device=Arg(int, None, "accepted; there is one device"),
)


@barrier.everywhere
def launch_barrier(call: Call) -> list[Launch]:
    """Copies, where they are needed."""
    pairs = zip(call.inputs, call.outputs, strict=True)
    return [launch_copy(x, y) for x, y in pairs if x is not y]


# ---------------------------------------------------------------- giving up


def _infer_free(query: Query) -> Sequence[TensorType]:
    _require_pairs(query)
    return []


free = operator(
    "Free",
    "inputs+ -> outputs+",
    infer=_infer_free,
    gradient=NotDifferentiable("what it gives up has no value"),
    inplace=lambda i, o: i == o,
    doc="""
    Empties blobs, whatever they hold: every output must be the input at its position. A blob that
    was given up exists, and holds nothing until somebody writes it again.
    """,
    example="""
    inputs = [1, 2]
    outputs = (nothing)
    """,
)


def free_blobs(call: Call) -> None:
    """Let the blobs hold nothing."""
    for k, (source, target) in enumerate(zip(call.op.input, call.op.output, strict=True)):
        if source != target:
            raise InplaceError(
                f"output {k} must be the same blob as input {k} '{source}', found '{target}'"
            )
    for k in range(call.input_count):
        call.put(k, None)


free.cpu_dynamic(takes_nothing=True)(free_blobs)
free.cuda_dynamic(free_blobs, takes_nothing=True, host_inputs=None)
