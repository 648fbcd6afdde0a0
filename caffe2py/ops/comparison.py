"""Comparisons and logic: elements of two tensors, or of one, become truth values."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from caffe2py.kernels.elementwise import NUMERIC, binary, elementwise
from caffe2py.registry.gradient import NotDifferentiable

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
