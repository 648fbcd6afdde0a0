"""Operators of two and more inputs that work element by element, with broadcasting."""

from __future__ import annotations

import numpy as np

from caffe2py.interop.onnx.emitter import Emitter
from caffe2py.interop.onnx.node import Node
from caffe2py.interop.onnx.table import Table
from caffe2py.tensor.tensor import Array
from caffe2py.tensor.types import DType

__all__ = ["RULES", "roomy"]

RULES = Table()

_SAME = {
    "Add": "Add",
    "And": "And",
    "Div": "Div",
    "Equal": "EQ",
    "Greater": "GT",
    "GreaterOrEqual": "GE",
    "Less": "LT",
    "LessOrEqual": "LE",
    "Mul": "Mul",
    "Or": "Or",
    "Sub": "Sub",
    "Xor": "Xor",
}


_ARITHMETIC = ("Add", "Sub", "Mul", "Div")


def roomy(dtype: DType) -> DType:
    """The type in which Caffe2 computes what it does not compute in this one."""
    if dtype == np.float16:
        return np.dtype(np.float32)
    narrow = dtype.kind in "iu" and dtype.itemsize < 4
    return np.dtype(np.int32) if narrow else dtype


@RULES(*_SAME)
def same(g: Emitter, n: Node) -> None:
    """An operator that both have; before opset 7 with Caffe2's own broadcasting."""
    args = {}
    if n.opset < 7 and n.int("broadcast"):
        args = {"broadcast": 1, "axis": n.int("axis", -1)}
    a, b = n.input(0), n.input(1)
    known = g.type(a).dtype
    wide = known if known is None else roomy(known)
    if known is None or wide is None or wide == known:
        g.emit(_SAME[n.op_type], a, b, out=n.out, **args)
        return
    narrow = n.op_type in _ARITHMETIC
    names = (g.cast(a, wide), g.cast(b, wide))
    made = g.emit(_SAME[n.op_type], *names, out=None if narrow else n.out, **args)
    if narrow:
        g.cast(made, known, out=n.out)


@RULES("Pow")
def power(g: Emitter, n: Node) -> None:
    """Pow; the exponent takes the type of the base."""
    x, exponent = n.input(0), n.input(1)
    if n.opset < 7 and n.int("broadcast"):
        g.emit("Pow", x, exponent, out=n.out, broadcast=1, axis=n.int("axis", -1))
        return
    dtype = g.dtype(x)
    fixed = g.constant(exponent)
    if dtype.kind == "f" and fixed is not None and fixed.size == 1 and g.rank(x) >= fixed.ndim:
        g.emit("Pow", x, out=n.out, exponent=float(fixed.reshape(-1)[0]))
        return
    if dtype.kind in "iu" and fixed is not None and fixed.dtype.kind in "iu":
        _whole_power(g, n, x, fixed)
        return
    base, power_ = g.broadcast([g.cast(x, np.float32), g.cast(exponent, np.float32)])
    g.cast(g.emit("Pow", base, power_), dtype, out=n.out)


def _whole_power(g: Emitter, n: Node, x: str, exponent: Array) -> None:
    """Integers to constant powers, exactly: squares of squares, multiplied where a bit is set."""
    most = int(exponent.max(initial=0))
    if exponent.min(initial=0) < 0 or most > 64:
        n.fail("powers of integers below 0 or above 64")
    dtype = g.dtype(x)
    square = g.cast(x, roomy(dtype))
    one = g.scalar(1, square)
    made = one
    for bit in range(max(most.bit_length(), 1)):
        kept = g.const((exponent >> bit) & 1 == 1)
        made = g.emit("Mul", made, g.where(kept, square, one))
        square = g.emit("Mul", square, square)
    g.cast(made, dtype, out=n.out)


@RULES("Mod")
def modulo(g: Emitter, n: Node) -> None:
    """X - trunc(X / Y) * Y, and Y more where the signs of that and Y differ, unless fmod."""
    x, y = g.broadcast([n.input(0), n.input(1)])
    dtype = g.dtype(x)
    whole = dtype.kind in "iu"
    wide = np.dtype(np.int64) if whole else roomy(dtype)
    x, y = g.cast(x, wide), g.cast(y, wide)
    quotient = g.emit("Div", x, y)
    if not whole:
        size = g.emit("Floor", g.emit("Abs", quotient))
        quotient = g.emit("Mul", g.emit("Sign", quotient), size)
    rest = g.emit("Sub", x, g.emit("Mul", quotient, y))
    if not whole:  # of an infinite divisor all of a finite number is left
        limit = g.scalar(np.inf, rest)
        left = g.emit("And", g.emit("EQ", g.emit("Abs", y), limit),
                      g.emit("LT", g.emit("Abs", x), limit))  # fmt: skip
        rest = g.where(left, x, rest)
    if not n.int("fmod"):
        zero = g.scalar(0, rest)
        differ = g.emit("Xor", g.emit("LT", rest, zero), g.emit("LT", y, zero))
        wrong = g.emit("And", differ, g.emit("NE", rest, zero))
        rest = g.where(wrong, g.emit("Add", rest, y), rest)
    g.cast(rest, dtype, out=n.out)


@RULES("Max", "Min", "Sum", "Mean")
def several(g: Emitter, n: Node) -> None:
    """The same operator of blobs that have one shape by then."""
    names = g.broadcast(n.all_inputs()) if n.opset >= 8 else n.all_inputs()
    dtype = g.dtype(names[0])
    if n.op_type in ("Max", "Min") and len(names) > 1 and roomy(dtype) != dtype:
        _extremes(g, n, names)
        return
    if dtype == np.float64 and n.op_type == "Sum":
        _chained(g, n, names)
        return
    g.emit(n.op_type, *names, out=n.out)


def _extremes(g: Emitter, n: Node, names: list[str]) -> None:
    """Max and Min of types that Caffe2 does not compare."""
    compare = "GT" if n.op_type == "Max" else "LT"
    dtype = g.dtype(names[0])
    made = names[0]
    for name in names[1:]:
        wide = [g.cast(one, roomy(dtype)) for one in (made, name)]
        made = g.emit("Where", g.emit(compare, *wide), made, name)
    if dtype != g.dtype(made):
        n.fail("the inputs are of several types")
    g.alias(made, n.out)


def _chained(g: Emitter, n: Node, names: list[str]) -> None:
    total = names[0]
    for name in names[1:]:
        total = g.emit("Add", total, name)
    g.alias(total, n.out)


@RULES("Where")
def where(g: Emitter, n: Node) -> None:
    """Where."""
    g.where(n.input(0), n.input(1), n.input(2), out=n.out)


@RULES("PRelu")
def prelu(g: Emitter, n: Node) -> None:
    """PRelu where the slope is one number or one a channel, else Relu(X) - Slope * Relu(-X)."""
    x, slope = n.input(0), n.input(1)
    shape, channels = g.type(slope).full_shape, g.type(x).shape
    if shape is not None and g.dtype(x) == np.float32:
        count = int(np.prod(shape))
        at_channels = (
            channels is not None
            and len(channels) > 1
            and count == channels[1]
            and (shape == (count, *(1,) * (len(channels) - 2)) or n.opset < 7)
        )
        if count == 1 or at_channels:
            flat = slope if len(shape) == 1 else g.reshape(slope, [count])
            g.emit("PRelu", x, flat, out=n.out)
            return
    below = g.emit("LT", x, g.scalar(0, x))
    g.where(below, g.emit("Mul", x, slope), x, out=n.out)
