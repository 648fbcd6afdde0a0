"""Operators on where elements lie: other names for them, neighbours in one tensor, dependencies."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from caffe2py.errors import ArgumentError, ArityError, InplaceError
from caffe2py.kernels.copy import launch_copy
from caffe2py.registry.context import Call, Launch
from caffe2py.registry.gradient import NotDifferentiable
from caffe2py.registry.infer import Query, product, require_dtype
from caffe2py.registry.operator import operator
from caffe2py.registry.schema import Arg
from caffe2py.tensor.types import TensorType

# ---------------------------------------------------------------- AliasWithName


def _infer_alias(query: Query) -> Sequence[TensorType]:
    if "name" not in query.args.given:
        raise ArgumentError("argument 'name' is required")
    return [query.inputs[0]]


_alias = operator(
    "AliasWithName",
    "input -> output",
    infer=_infer_alias,
    identical=True,
    inplace={0: 0},
    gradient=NotDifferentiable("Caffe2 has none"),
    arguments={
        "name": Arg(str, "invalid_name", "a name for readers of the net; without effect"),
        "is_backward": Arg(bool, False, "a mark for readers of the net; without effect"),
    },
    doc="""
    output = input, in the same memory: a change of one changes the other. Any type. Raises
    ArgumentError without a name.
    """,
    example="""
    input = [1, 2]; name = 'values'
    output = [1, 2]
    """,
)


@_alias.everywhere
def _launch_alias(call: Call) -> None:
    if call.input_blob(0) != call.output_blob(0):
        call.share(0, call.inputs[0])


# ---------------------------------------------------------------- UnsafeCoalesce


def _infer_coalesce(query: Query) -> Sequence[TensorType]:
    count = len(query.inputs)
    if query.outputs != count + 1:
        raise ArityError(f"expected {count + 1} output(s), one more than inputs")
    for index in range(count):
        require_dtype(query, index, "float32")
    sizes = [None if x.shape is None else product(x.shape) for x in query.inputs]
    total = None if None in sizes else sum(n or 0 for n in sizes)
    return [*query.inputs, TensorType(np.dtype(np.float32), (total,))]


_coalesce = operator(
    "UnsafeCoalesce",
    "input* -> output*",
    infer=_infer_coalesce,
    inplace=lambda i, o: i == o,
    gradient=NotDifferentiable("Caffe2 has none"),
    doc="""
    The last output holds the elements of all inputs, float32, one after the other; each of the
    other outputs has the shape and elements of an input, and lies in the memory of the last: a
    change of one changes the other. Raises ArityError unless there is one output more than inputs.
    """,
    example="""
    input = [[1, 2], [3, 4]], [5]
    output = [[1, 2], [3, 4]], [5], [1, 2, 3, 4, 5]
    """,
)


@_coalesce.everywhere
def _launch_coalesce(call: Call) -> list[Launch]:
    whole = call.outputs[-1]
    launches = []
    at = 0
    for index, x in enumerate(call.inputs):
        part = whole[at : at + x.size].reshape(x.shape)
        at += x.size
        if x.size and x.ctypes.data == part.ctypes.data:
            continue  # it lies there since an earlier run
        launches.append(launch_copy(x, part))
        call.share(index, part)
    return launches


# ---------------------------------------------------------------- DataCouple


def _infer_couple(query: Query) -> Sequence[TensorType]:
    if query.outputs > len(query.inputs):
        raise ArityError(f"expected at most {len(query.inputs)} output(s), found {query.outputs}")
    return list(query.inputs[: query.outputs])


_couple = operator(
    "DataCouple",
    "input* -> output*",
    infer=_infer_couple,
    inplace=lambda i, o: i == o,
    gradient=NotDifferentiable("it computes nothing"),
    doc="""
    Nothing happens: the operator tells the net that what comes later needs all inputs to be there.
    Each output is the same blob as the input at its place; any types. Raises InplaceError if it is
    another one, ArityError for more outputs than inputs.
    """,
    example="""
    input = param, gradient
    output = param, gradient
    """,
)


@_couple.everywhere
def _launch_couple(call: Call) -> None:
    for index in range(call.output_count):
        before, after = call.input_blob(index), call.output_blob(index)
        if before != after:
            raise InplaceError(
                f"output {index} must be the same blob as input {index} '{before}', found '{after}'"
            )
