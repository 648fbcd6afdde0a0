"""Machine instructions behind the intrinsics of `bits`: scalar; loops make vectors of them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numba
from llvmlite import ir
from numba.extending import intrinsic

_WHOLE: dict[int, Any] = {32: numba.types.int32, 64: numba.types.int64}
_FLOAT: dict[int, Any] = {32: numba.types.float32, 64: numba.types.float64}


def _native(kind: Any) -> Any:
    """LLVM's type of a number."""
    width = int(kind.bitwidth)
    if isinstance(kind, numba.types.Integer):
        return ir.IntType(width)
    return {32: ir.FloatType(), 64: ir.DoubleType()}[width]


def _call(builder: Any, name: str, kind: Any, *args: Any, flags: Any = ()) -> Any:
    """A call of an intrinsic of LLVM whose arguments and result have one type."""
    native = _native(kind)
    form = ir.FunctionType(native, [native] * len(args))
    full = f"llvm.{name}.f{kind.bitwidth}"
    function = builder.module.globals.get(full) or ir.Function(builder.module, form, name=full)
    return builder.call(function, args, fastmath=flags)


@intrinsic
def _bits(typing: Any, x: Any) -> Any:
    whole = _WHOLE[int(x.bitwidth)]

    def emit(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        return builder.bitcast(args[0], _native(whole))

    return whole(x), emit


@intrinsic
def _float_of(typing: Any, n: Any) -> Any:
    result = _FLOAT[int(n.bitwidth)]

    def emit(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        return builder.bitcast(args[0], _native(result))

    return result(n), emit


@intrinsic
def _signed_like(typing: Any, size: Any, sign: Any) -> Any:
    def emit(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        return _call(builder, "copysign", size, *args)

    return size(size, size), emit


@intrinsic
def _larger(typing: Any, a: Any, b: Any) -> Any:
    def emit(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        return _call(builder, "maximum", a, *args, flags=("nsz",))  # of two zeros either

    return a(a, a), emit


@intrinsic
def _multiply_add(typing: Any, a: Any, b: Any, c: Any) -> Any:
    def emit(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        return _call(builder, "fmuladd", a, *args)

    return a(a, a, a), emit


@intrinsic
def _polynomial(typing: Any, x: Any, coefficients: Any) -> Any:
    def emit(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        given = [
            context.cast(builder, builder.extract_value(args[1], i), coefficients.dtype, x)
            for i in range(coefficients.count)
        ]
        total = given.pop()
        for coefficient in reversed(given):
            total = _call(builder, "fmuladd", x, total, args[0], coefficient)
        return total

    return x(x, coefficients), emit


#: The numba functions behind the intrinsics, made when asked for.
EMITTED: dict[str, Callable[[], Any]] = {
    "bits": lambda: _bits,
    "float_of": lambda: _float_of,
    "signed_like": lambda: _signed_like,
    "larger": lambda: _larger,
    "multiply_add": lambda: _multiply_add,
    "polynomial": lambda: _polynomial,
}
