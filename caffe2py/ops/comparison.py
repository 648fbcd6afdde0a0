"""Comparisons and logic: elements become truth values, and truth values choose elements."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from caffe2py.errors import ShapeError
from caffe2py.kernels.elementwise import FLOATS, NUMERIC, binary, elementwise
from caffe2py.kernels.members import launch_choice, launch_members
from caffe2py.proto.caffe2_pb2 import Argument, TensorProto
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
from caffe2py.tensor.types import STRING, TensorType, dtype_from_number, shape_text

_STEPS = NotDifferentiable("its result is a truth value")


def _equal(a, b):
    return a == b


def _different(a, b):
    return a != b


def _less(a, b):
    return a < b


def _less_or_equal(a, b):
    return a <= b


def _greater(a, b):
    return a > b


def _greater_or_equal(a, b):
    return a >= b


def _compare(name: str, function: Callable[..., Any], sign: str, answers: str) -> None:
    binary(
        name,
        function,
        dtypes=("bool", *NUMERIC),
        result="bool",
        gradient=_STEPS,
        doc=f"""
        C = A {sign} B as truth values, with numpy's broadcasting (or the old rule, see
        `broadcast`). A and B are both bool, int32, int64, float32 or float64; False is less than
        True, and NaN is neither equal to anything nor less nor greater.
        """,
        example=f"""
        A = [1, 2, 3]; B = [2]
        C = [{answers}]
        """,
    )


_compare("EQ", _equal, "==", "False, True, False")
_compare("NE", _different, "!=", "True, False, True")
_compare("LT", _less, "<", "True, False, False")
_compare("LE", _less_or_equal, "<=", "True, True, False")
_compare("GT", _greater, ">", "False, False, True")
_compare("GE", _greater_or_equal, ">=", "False, True, True")


def _both(a, b):
    return a and b


def _either(a, b):
    return a or b


def _connect(name: str, function: Callable[..., Any], word: str, answers: str) -> None:
    binary(
        name,
        function,
        dtypes=("bool",),
        inplace={0: 0},
        gradient=_STEPS,
        onnx=name,
        doc=f"C = A {word} B, with numpy's broadcasting (or the old rule, see `broadcast`).",
        example=f"""
        A = [False, False, True, True]; B = [False, True, False, True]
        C = [{answers}]
        """,
    )


_connect("And", _both, "and", "False, False, False, True")
_connect("Or", _either, "or", "False, True, True, True")
_connect("Xor", _different, "exclusive or", "False, True, True, False")


@elementwise(
    "Not",
    "X -> Y",
    dtypes=("bool",),
    gradient=_STEPS,
    onnx="Not",
    example="""
    X = [True, False]
    Y = [False, True]
    """,
)
def negated(x):
    """Y = not X"""
    return not x


# ---------------------------------------------------------------- bits


def _bits_of_both(a, b):
    return a & b


def _bits_of_either(a, b):
    return a | b


def _bits_of_one(a, b):
    return a ^ b


def _combine_bits(name: str, function: Callable[..., Any], word: str, answers: str) -> None:
    binary(
        name,
        function,
        dtypes=("bool", "int32", "int64"),
        inplace={0: 0},
        gradient=_STEPS,
        doc=f"""
        C = A {word} B, bit by bit, of bool, int32 or int64, with numpy's broadcasting (or the old
        rule, see `broadcast`).
        """,
        example=f"""
        A = [1, 2, 3]; B = [2]
        C = [{answers}]
        """,
    )


_combine_bits("BitwiseAnd", _bits_of_both, "and", "0, 2, 2")
_combine_bits("BitwiseOr", _bits_of_either, "or", "3, 2, 3")
_combine_bits("BitwiseXor", _bits_of_one, "exclusive or", "3, 0, 1")


# ---------------------------------------------------------------- one tensor


@elementwise(
    "IsNaN",
    "tensor -> output",
    dtypes=FLOATS,
    result="uint8",
    gradient=_STEPS,
    example="""
    tensor = [1, nan]
    output = [0, 1]
    """,
)
def is_nan(x):
    """Output = 1 where the tensor is NaN, 0 elsewhere; of type uint8."""
    return math.isnan(x)


_KINDS = ("int32", "int64", "bool")


def _infer_members(query: Query) -> Sequence[TensorType]:
    require_dtype(query, 0, *_KINDS, STRING)
    number = query.args.dtype
    if number not in (None, TensorProto.UNDEFINED):
        require_dtype(query, 0, dtype_from_number(number))
    return [query.inputs[0].with_dtype(np.dtype(np.bool_))]


_members = operator(
    "IsMemberOf",
    "X -> Y",
    infer=_infer_members,
    gradient=_STEPS,
    value=Arg(Argument, None, "the values to look for: integers (also for bool), or strings"),
    dtype=Arg(int, None, "the type of the values, if stated that of X, as a number of DataType"),
    doc="""
    Y = whether each element of X is one of the values. X is int32, int64, bool or string; values
    of another kind than X are found nowhere. Raises DTypeError if `dtype` is not the type of X
    (in Caffe2 nothing is found then).
    """,
    example="""
    X = [1, 2, 3]; value = [1, 3]
    Y = [True, False, True]
    """,
)


@_members.everywhere
def _launch_members(call: Call) -> Launch:
    x, y = call.inputs[0], call.outputs[0]
    stated = call.args.value
    strings = [] if stated is None else list(stated.strings)
    numbers = [] if stated is None else list(stated.ints)
    return launch_members(x.reshape(-1), strings if x.dtype == STRING else numbers, y.reshape(-1))


# ---------------------------------------------------------------- Where


def _infer_where(query: Query) -> Sequence[TensorType]:
    require_dtype(query, 0, "bool")
    dtype = require_same_dtype(query, 1, 2)
    shape = require_same_shape(query, 1, 2)
    if not query.args.broadcast_on_rows:
        return [TensorType(dtype, require_same_shape(query, 0, 1, 2))]
    require_rank(query, 0, 1)
    choices = query.inputs[0].shape
    if shape == ():
        raise ShapeError("with broadcast_on_rows=1 'X' must have rows, found ()")
    rows = (None if shape is None else shape[0], None if choices is None else choices[0])
    if None not in rows and rows[0] != rows[1]:
        raise ShapeError(
            f"'C' must have one element for each row of 'X' {shape_text(shape)}, "
            f"found {shape_text(choices)}"
        )
    return [TensorType(dtype, shape)]


_where = operator(
    "Where",
    "C, X, Y -> Z",
    infer=_infer_where,
    gradient=NotDifferentiable("Caffe2 defines none"),
    broadcast_on_rows=Arg(bool, False, "C has one element for each row of X and Y"),
    doc="""
    Z = X where C is true, Y elsewhere. C is bool, X and Y are of one type, any; all three have one
    shape, or with `broadcast_on_rows` C has one element for each index of X's first axis.
    """,
    example="""
    C = [True, False]; X = [1, 2]; Y = [3, 4]
    Z = [1, 4]
    """,
)


@_where.everywhere
def _launch_where(call: Call) -> Launch:
    c, x, y = call.inputs
    return launch_choice(c.reshape(-1), x, y, call.outputs[0])
