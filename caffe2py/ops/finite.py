"""Checks of values: EnforceFinite, NanCheck."""

from __future__ import annotations

from collections.abc import Sequence

from caffe2py.errors import NoGradientError
from caffe2py.kernels.copy import launch_copy
from caffe2py.kernels.elementwise import FLOATS
from caffe2py.kernels.finite import launch_require_finite
from caffe2py.proto.caffe2_pb2 import OperatorDef
from caffe2py.registry.context import Call, Launch
from caffe2py.registry.gradient import (
    Gradient,
    GradientName,
    NotDifferentiable,
    gradient_name,
    gradient_op,
)
from caffe2py.registry.infer import Query, require_dtype
from caffe2py.registry.operator import operator
from caffe2py.tensor.types import TensorType


def _infer(query: Query) -> Sequence[TensorType]:
    require_dtype(query, 0, *FLOATS)
    return [query.inputs[0]] * query.outputs


_enforce = operator(
    "EnforceFinite",
    "input -> ",
    infer=_infer,
    gradient=NotDifferentiable("it has no output"),
    doc="Does nothing; raises ValueRangeError if an element of the input is NaN or infinite.",
    example="""
    input = [1, 2]
    """,
)


@_enforce.everywhere
def _launch_enforce(call: Call) -> Launch:
    return launch_require_finite(call.inputs[0], call.input_blob(0))


def _check_gradient(op: OperatorDef, output_grads: Sequence[GradientName]) -> Gradient:
    """The gradient of the first input passes through a check, too."""
    (dy,) = output_grads
    if dy is None:
        raise NoGradientError("NanCheck: the gradient reads dY, which nothing in the net provides")
    made = gradient_name(op.input[0])
    check = gradient_op(op, "NanCheck", [dy], [made])
    return Gradient((check,), (made, *(None for _ in op.input[1:])))


_nan_check = operator(
    "NanCheck",
    "tensor, shown* -> output",
    infer=_infer,
    inplace={0: 0},
    gradient=_check_gradient,
    doc="""
    output = tensor; raises ValueRangeError if one of its elements is NaN or infinite. The other
    inputs, of any types, are not looked at.
    """,
    example="""
    tensor = [1, 2]
    output = [1, 2]
    """,
)


@_nan_check.everywhere
def _launch_nan_check(call: Call) -> list[Launch]:
    x = call.inputs[0]
    check = launch_require_finite(x, call.input_blob(0))
    return [check, launch_copy(x, call.outputs[0])]
