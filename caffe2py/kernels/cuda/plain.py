"""What the compiler emits as CPU instructions, in plain Python for devices; and their mathematics.

Devices have no intrinsics of the CPU's: each function here does what the one of its name does, in
the order of its elements. Exponentials and their kin are CUDA's own (or numpy's in the simulator),
so results differ from the CPU's in the last places.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from caffe2py.kernels import library, vectormath
from caffe2py.kernels.cuda.threads import cuda

# ---------------------------------------------------------------- numbers


def larger(a: Any, b: Any) -> Any:
    """The larger, NaN if one is."""
    if a != a:
        return a
    return b if b > a or b != b else a


def multiply_add(a: Any, b: Any, c: Any) -> Any:
    """a * b + c."""
    return a * b + c


def signed_like(size: Any, sign: Any) -> Any:
    """`size` with the sign of `sign`."""
    return math.copysign(size, sign)


# ---------------------------------------------------------------- rows


def row_sum(x: Any, at: Any, count: Any) -> Any:
    """The sum of x[at:at + count]."""
    total = x.dtype.type(0)
    for k in range(at, at + count):
        total += x[k]
    return total


def row_greatest(x: Any, at: Any, count: Any) -> Any:
    """The largest; a NaN is passed over, except as the first one."""
    best = x[at]
    for k in range(at + 1, at + count):
        best = x[k] if x[k] > best else best
    return best


def row_smallest(x: Any, at: Any, count: Any) -> Any:
    """The smallest; a NaN is passed over, except as the first one."""
    best = x[at]
    for k in range(at + 1, at + count):
        best = x[k] if x[k] < best else best
    return best


def row_top(x: Any, at: Any, count: Any) -> Any:
    """The largest: NaN if one is, minus infinity of none."""
    best = x.dtype.type(-math.inf)
    for k in range(at, at + count):
        best = larger(best, x[k])
    return best


#: Intrinsic -> what does the same.
FUNCTIONS: dict[str, Callable[..., Any]] = {
    "larger": larger,
    "multiply_add": multiply_add,
    "signed_like": signed_like,
    "row_sum": row_sum,
    "row_greatest": row_greatest,
    "row_smallest": row_smallest,
    "row_top": row_top,
}

# ---------------------------------------------------------------- mathematics


def sigmoid(x: Any) -> Any:
    """1 / (1 + exp(-x))."""
    return 1 / (1 + math.exp(-x))


def rsqrt(x: Any) -> Any:
    """1 / sqrt(x)."""
    return 1 / math.sqrt(x)


def third_root(x: Any) -> Any:
    """The cube root, of negative numbers, too."""
    return math.copysign(cuda.cbrt(math.fabs(x)), x)


def _whole(x: Any) -> Any:
    """The integer part of a float, as a float64."""
    return np.float64(x) - math.fmod(np.float64(x), np.float64(1))


def down(x: Any) -> Any:
    """The largest integer that is at most x."""
    if math.isinf(x):
        return np.float64(x)
    whole = _whole(x)
    return whole - 1 if whole > x else whole


def up(x: Any) -> Any:
    """The smallest integer that is at least x."""
    if math.isinf(x):
        return np.float64(x)
    whole = _whole(x)
    return whole + 1 if whole < x else whole


#: By-type function of the CPU's -> the device's.
MATHEMATICS: dict[Any, Callable[..., Any]] = {
    library.third_root: third_root,
    library.down: down,
    library.up: up,
    vectormath.exp: math.exp,
    vectormath.exp_down: math.exp,
    vectormath.expm1: math.expm1,
    vectormath.log: math.log,
    vectormath.log1p: math.log1p,
    vectormath.tanh: math.tanh,
    vectormath.erf: math.erf,
    vectormath.erfc: math.erfc,
    vectormath.power: math.pow,
    vectormath.sigmoid: sigmoid,
    vectormath.rsqrt: rsqrt,
}


def _integer_of(function: Callable[[Any], Any]) -> Callable[[Any], Any]:
    return lambda x: int(function(x)) if np.isfinite(x) else np.iinfo(np.int64).min


def _each(function: Callable[..., Any]) -> Callable[..., Any]:
    """A function of Python's numbers, for numbers of numpy and in their type."""

    def applied(x: Any) -> Any:
        return np.result_type(x).type(function(float(x)))

    return applied


class Math:
    """The module `math` for simulated kernels: its limits are numbers, not exceptions."""

    pi, e, inf, nan = math.pi, math.e, math.inf, math.nan
    floor, ceil = _integer_of(math.floor), _integer_of(math.ceil)
    trunc = _integer_of(math.trunc)
    erf, erfc, lgamma = _each(math.erf), _each(math.erfc), _each(math.lgamma)
    pow, fmod, atan2, copysign = np.power, np.fmod, np.arctan2, np.copysign
    acos, asin, atan, acosh, asinh, atanh = (
        np.arccos,
        np.arcsin,
        np.arctan,
        np.arccosh,
        np.arcsinh,
        np.arctanh,
    )
    isnan, isinf, isfinite, fabs = np.isnan, np.isinf, np.isfinite, np.fabs
    exp, expm1, log, log1p, log2, log10 = np.exp, np.expm1, np.log, np.log1p, np.log2, np.log10
    sqrt, sin, cos, tan, sinh, cosh, tanh = (
        np.sqrt,
        np.sin,
        np.cos,
        np.tan,
        np.sinh,
        np.cosh,
        np.tanh,
    )
    hypot = np.hypot

    @classmethod
    def of(cls, function: Callable[..., Any]) -> Callable[..., Any]:
        """What stands for a function of the module."""
        found: Callable[..., Any] = getattr(cls, function.__name__)
        return found
