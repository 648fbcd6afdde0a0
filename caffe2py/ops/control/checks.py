"""Operators that fail, always or under a condition."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from caffe2py.errors import KernelError, ValueRangeError
from caffe2py.kernels.jit import kernel
from caffe2py.registry.context import Call, Launch
from caffe2py.registry.gradient import NotDifferentiable
from caffe2py.registry.infer import Query, require_dtype
from caffe2py.registry.operator import operator
from caffe2py.registry.schema import Arg
from caffe2py.tensor.types import TensorType

_NO_NUMBERS = NotDifferentiable("it has no output")


@kernel()
def _all_true(x: Any) -> int:
    for i in range(x.size):
        if x[i] == x.dtype.type(0):
            return 1
    return 0


def _infer_assert(query: Query) -> Sequence[TensorType]:
    require_dtype(query, 0, "bool", "int32", "int64")
    return []


assert_ = operator(
    "Assert",
    "X -> ",
    infer=_infer_assert,
    gradient=_NO_NUMBERS,
    doc="""
    Raises ValueRangeError unless every element of X (bool, int32, int64) is true: not 0. An empty X
    passes.
    """,
    example="""
    X = [true, true]
    """,
    error_msg=Arg(str, "", "the message; by default it names the first element that is not true"),
)


@assert_.everywhere
def launch_assert(call: Call) -> Launch:
    """Look at every element."""
    flat = call.inputs[0].reshape(-1)
    flat = flat.view(np.uint8) if flat.dtype == np.bool_ else flat

    def explain(_status: int) -> ValueRangeError:
        if call.args.error_msg:
            return ValueRangeError(call.args.error_msg)
        first = int(np.argmax(flat == 0))
        return ValueRangeError(
            f"Assert failed for element {first} of '{call.input_blob(0)}', value: {flat[first]}"
        )

    return _all_true(flat, explain=explain)


fail = operator(
    "Fail",
    " -> ",
    gradient=_NO_NUMBERS,
    doc="Raises KernelError.",
    example="""
    (no input, no output)
    """,
)


@fail.cpu_dynamic()
def always_fail(call: Call) -> None:
    """Fail."""
    raise KernelError("Fail fails, always")


def _declare_throwing(name: str, doc: str) -> None:
    declared = operator(
        name,
        " -> ",
        gradient=_NO_NUMBERS,
        doc=doc,
        example="""
        message = "stop"
        """,
        message=Arg(str, _DEFAULTS[name], "the message of the error"),
    )

    @declared.cpu_dynamic()
    def throw(call: Call) -> None:
        raise KernelError(call.args.message)


_DEFAULTS = {
    "ThrowException": "Exception from ThrowExceptionOp",
    "ThrowChildThreadException": "Exception from ThrowChildThreadExceptionOp",
    "LogFatal": "Logging from LogFatalOp",
}
_declare_throwing("ThrowException", "Raises KernelError with a message.")
_declare_throwing(
    "ThrowChildThreadException",
    """
    Raises KernelError with a message. (Caffe2 raises it in another thread, where nobody can catch
    it: the process ends.)
    """,
)
_declare_throwing(
    "LogFatal",
    "Raises KernelError with a message. (Caffe2 logs it and ends the process.)",
)
