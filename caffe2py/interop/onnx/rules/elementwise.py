"""Operators of one input that work element by element."""

from __future__ import annotations

import math

import numpy as np

from caffe2py.interop.onnx.emitter import Emitter
from caffe2py.interop.onnx.node import Node
from caffe2py.interop.onnx.rules.pairs import roomy
from caffe2py.interop.onnx.table import Table
from caffe2py.interop.onnx.tensors import dtype_of
from caffe2py.tensor.types import STRING

__all__ = ["RULES"]

RULES = Table()

#: ONNX's name -> Caffe2's, where nothing else differs.
_SAME = {
    "Abs": "Abs",
    "Acos": "Acos",
    "Asin": "Asin",
    "Atan": "Atan",
    "Ceil": "Ceil",
    "Cos": "Cos",
    "Cosh": "Cosh",
    "Erf": "Erf",
    "Exp": "Exp",
    "Floor": "Floor",
    "Log": "Log",
    "Mish": "Mish",
    "Neg": "Negative",
    "Not": "Not",
    "Reciprocal": "Reciprocal",
    "Relu": "Relu",
    "Sigmoid": "Sigmoid",
    "Sign": "Sign",
    "Sin": "Sin",
    "Sinh": "Sinh",
    "Softplus": "Softplus",
    "Softsign": "Softsign",
    "Sqrt": "Sqrt",
    "Tan": "Tan",
    "Tanh": "Tanh",
}


@RULES(*_SAME)
def same(g: Emitter, n: Node) -> None:
    """An operator that both have."""
    g.emit(_SAME[n.op_type], n.input(0), out=n.out)


@RULES("Identity")
def identity(g: Emitter, n: Node) -> None:
    """Copy."""
    g.alias(n.input(0), n.out)


@RULES("Elu")
def elu(g: Emitter, n: Node) -> None:
    """Elu."""
    g.emit("Elu", n.input(0), out=n.out, alpha=n.float("alpha", 1.0))


@RULES("Celu")
def celu(g: Emitter, n: Node) -> None:
    """alpha * Elu(X / alpha)."""
    alpha = n.float("alpha", 1.0)
    if alpha == 0:
        n.fail("alpha is 0")
    narrow = g.emit("Elu", g.emit("Scale", n.input(0), scale=1 / alpha))
    g.emit("Scale", narrow, out=n.out, scale=alpha)


@RULES("Selu")
def selu(g: Emitter, n: Node) -> None:
    """Selu, whose constants were rounder in the first version."""
    alpha, gamma = (1.6732, 1.0507) if n.opset < 6 else (1.67326319217681884, 1.05070102214813232)
    g.emit(
        "Selu",
        n.input(0),
        out=n.out,
        alpha=n.float("alpha", alpha),
        scale=n.float("gamma", gamma),
    )


@RULES("LeakyRelu")
def leaky_relu(g: Emitter, n: Node) -> None:
    """LeakyRelu."""
    g.emit("LeakyRelu", n.input(0), out=n.out, alpha=n.float("alpha", 0.01))


@RULES("ThresholdedRelu")
def thresholded_relu(g: Emitter, n: Node) -> None:
    """ThresholdedRelu."""
    g.emit("ThresholdedRelu", n.input(0), out=n.out, alpha=n.float("alpha", 1.0))


@RULES("HardSigmoid")
def hard_sigmoid(g: Emitter, n: Node) -> None:
    """HardSigmoid."""
    alpha, beta = n.float("alpha", 0.2), n.float("beta", 0.5)
    g.emit("HardSigmoid", n.input(0), out=n.out, alpha=alpha, beta=beta)


@RULES("HardSwish")
def hard_swish(g: Emitter, n: Node) -> None:
    """X * HardSigmoid(X)."""
    gate = g.emit("HardSigmoid", n.input(0), alpha=1 / 6, beta=0.5)
    g.emit("Mul", n.input(0), gate, out=n.out)


@RULES("Gelu")
def gelu(g: Emitter, n: Node) -> None:
    """Gelu."""
    fast = n.text("approximate", "none") == "tanh"
    g.emit("Gelu", n.input(0), out=n.out, fast_gelu=int(fast))


@RULES("Acosh")
def acosh(g: Emitter, n: Node) -> None:
    """log(X + sqrt(X * X - 1))."""
    x = n.input(0)
    root = g.emit("Sqrt", g.emit("Sub", g.emit("Sqr", x), g.scalar(1, x)))
    g.emit("Log", g.emit("Add", x, root), out=n.out)


@RULES("Asinh")
def asinh(g: Emitter, n: Node) -> None:
    """sign(X) * log(|X| + sqrt(X * X + 1)): of the two signs the one without cancellation."""
    x = n.input(0)
    root = g.emit("Sqrt", g.emit("Add", g.emit("Sqr", x), g.scalar(1, x)))
    size = g.emit("Log", g.emit("Add", g.emit("Abs", x), root))
    g.emit("Mul", g.emit("Sign", x), size, out=n.out)


@RULES("Atanh")
def atanh(g: Emitter, n: Node) -> None:
    """log((1 + X) / (1 - X)) / 2."""
    x = n.input(0)
    one = g.scalar(1, x)
    ratio = g.emit("Div", g.emit("Add", one, x), g.emit("Sub", one, x))
    g.emit("Mul", g.emit("Log", ratio), g.scalar(0.5, x), out=n.out)


def rounded(g: Emitter, x: str, out: str | None = None) -> str:
    """X to the nearest integer, of two equally near ones the even one."""
    up = g.emit("Floor", g.emit("Add", x, g.scalar(0.5, x)))
    tie = g.emit("EQ", g.emit("Sub", up, x), g.scalar(0.5, x))
    half = g.emit("Mul", up, g.scalar(0.5, x))
    odd = g.emit("Not", g.emit("EQ", half, g.emit("Floor", half)))
    down = g.cast(g.emit("And", tie, odd), g.dtype(x))
    return g.emit("Sub", up, down, out=out)


@RULES("Round")
def round_(g: Emitter, n: Node) -> None:
    """To the nearest integer, ties to the even one."""
    rounded(g, n.input(0), n.out)


@RULES("Shrink")
def shrink(g: Emitter, n: Node) -> None:
    """X - bias above lambd, X + bias below -lambd, 0 between."""
    x, lambd, bias = n.input(0), n.float("lambd", 0.5), n.float("bias", 0.0)
    dtype = g.dtype(x)
    wide = g.cast(x, np.float32) if dtype.kind in "iu" else x
    above = g.emit("GT", wide, g.scalar(lambd, wide))
    below = g.emit("LT", wide, g.scalar(-lambd, wide))
    moved = g.emit("Sub", wide, g.scalar(bias, wide))
    raised = g.emit("Add", wide, g.scalar(bias, wide))
    low = g.where(below, raised, g.scalar(0, wide))
    made = g.where(above, moved, low, out=n.out if wide == x else None)
    if wide != x:
        g.cast(made, dtype, out=n.out)


@RULES("IsNaN")
def is_nan(g: Emitter, n: Node) -> None:
    """X != X."""
    x = g.cast(n.input(0), roomy(g.dtype(n.input(0))))
    g.emit("NE", x, x, out=n.out)


@RULES("IsInf")
def is_inf(g: Emitter, n: Node) -> None:
    """X == inf, X == -inf, or both."""
    x = g.cast(n.input(0), roomy(g.dtype(n.input(0))))
    ends = [(n.int("detect_positive", 1), math.inf), (n.int("detect_negative", 1), -math.inf)]
    found = [g.emit("EQ", x, g.scalar(end, x)) for wanted, end in ends if wanted]
    if len(found) == 2:
        g.emit("Or", *found, out=n.out)
    elif found:
        g.alias(found[0], n.out)
    else:
        g.emit("GT", x, g.scalar(math.inf, x), out=n.out)


@RULES("Clip")
def clip(g: Emitter, n: Node) -> None:
    """Clip where the limits are constant floats, or else Max and Min."""
    x = n.input(0)
    if n.opset < 11:
        limits = {k: n.float(k) for k in ("min", "max") if n.has(k)}
        g.emit("Clip", x, out=n.out, **limits)
        return
    names = {"min": n.maybe_input(1), "max": n.maybe_input(2)}
    given = {k: name for k, name in names.items() if name is not None}
    fixed = {k: g.constant(name) for k, name in given.items()}
    if g.dtype(x) == np.float32 and all(v is not None and v.size == 1 for v in fixed.values()):
        values = {k: float(v.reshape(-1)[0]) for k, v in fixed.items() if v is not None}
        if values.get("min", -math.inf) <= values.get("max", math.inf):
            g.emit("Clip", x, out=n.out, **values)
            return
    dtype = g.dtype(x)
    made = g.cast(x, roomy(dtype))
    for side, compare in (("min", "LT"), ("max", "GT")):
        if side in given:
            limit = g.cast(given[side], roomy(dtype))
            made = g.where(g.emit(compare, made, limit), limit, made)
    g.cast(made, dtype, out=n.out)


#: How the first versions name types in Cast.
_CAST_NAMES = {"FLOAT": 1, "UINT8": 2, "INT8": 3, "UINT16": 4, "INT16": 5, "INT32": 6, "INT64": 7,
               "BOOL": 9, "FLOAT16": 10, "DOUBLE": 11}  # fmt: skip


@RULES("Cast")
def cast(g: Emitter, n: Node) -> None:
    """Cast."""
    if n.opset < 6:
        name = n.text("to").upper()
        if name not in _CAST_NAMES:
            n.fail(f"casts to '{name}' have no counterpart")
        number = _CAST_NAMES[name]
    else:
        number = n.int("to")
    dtype = dtype_of(number)
    if dtype == STRING or g.type(n.input(0)).dtype == STRING:
        n.fail("strings are not cast")
    g.cast(n.input(0), dtype, out=n.out)


@RULES("CastLike")
def cast_like(g: Emitter, n: Node) -> None:
    """Cast to the type of the second input."""
    dtype = g.dtype(n.input(1))
    if dtype == STRING or g.type(n.input(0)).dtype == STRING:
        n.fail("strings are not cast")
    g.cast(n.input(0), dtype, out=n.out)
