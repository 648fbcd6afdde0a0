"""Operators that work element by element."""

from __future__ import annotations

import math

import numpy as np

from caffe2py.interop.onnx.tensors import number_of
from caffe2py.interop.onnx.writer import ExportTable, Op, Writer
from caffe2py.tensor.types import dtype_from_number, dtype_from_text

__all__ = ["EXPORTS", "aligned"]

EXPORTS = ExportTable()

_SAME = {
    "Abs": "Abs",
    "Acos": "Acos",
    "Alias": "Identity",
    "Asin": "Asin",
    "Atan": "Atan",
    "Ceil": "Ceil",
    "Copy": "Identity",
    "CopyFromCPUInput": "Identity",
    "Cos": "Cos",
    "Cosh": "Cosh",
    "EnsureCPUOutput": "Identity",
    "EnsureDense": "Identity",
    "Erf": "Erf",
    "Exp": "Exp",
    "Floor": "Floor",
    "Log": "Log",
    "NanCheck": "Identity",
    "Negative": "Neg",
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
    "StopGradient": "Identity",
    "Tan": "Tan",
    "Tanh": "Tanh",
}


@EXPORTS(*_SAME)
def same(w: Writer, op: Op) -> None:
    """An operator that both have."""
    w.add(_SAME[op.type], op.x, out=op.y)


_PAIRS = {
    "Add": "Add",
    "And": "And",
    "Div": "Div",
    "EQ": "Equal",
    "GE": "GreaterOrEqual",
    "GT": "Greater",
    "LE": "LessOrEqual",
    "LT": "Less",
    "Mul": "Mul",
    "Or": "Or",
    "Sub": "Sub",
    "Xor": "Xor",
}


def aligned(w: Writer, op: Op) -> tuple[str, str]:
    """Both inputs; one that broadcasts by Caffe2's old rule gets axes of size 1 behind."""
    a, b = op.inputs[:2]
    if not op.arg("broadcast"):
        return a, b
    if op.arg("axis_str"):
        op.fail("axis_str")
    shape = op.shape(1)
    rank = op.rank(0)
    axis = op.arg("axis")
    if axis < 0:
        axis = rank - len(shape)
    behind = rank - axis - len(shape)
    return a, w.reshape(b, [*shape, *[1] * behind]) if behind > 0 else b


@EXPORTS(*_PAIRS)
def pairs(w: Writer, op: Op) -> None:
    """An operator of two inputs that both have."""
    a, b = aligned(w, op)
    type_ = _PAIRS[op.type]
    if type_ in ("GreaterOrEqual", "LessOrEqual") and w.opset < 12:
        opposite = "Less" if type_ == "GreaterOrEqual" else "Greater"
        w.add("Not", w.add(opposite, a, b), out=op.y)
        return
    w.add(type_, a, b, out=op.y)


@EXPORTS("NE")
def not_equal(w: Writer, op: Op) -> None:
    """Not of Equal."""
    w.add("Not", w.add("Equal", *aligned(w, op)), out=op.y)


@EXPORTS("Pow")
def power(w: Writer, op: Op) -> None:
    """Pow."""
    if len(op.inputs) == 1:
        w.add("Pow", op.x, w.scalar(op.arg("exponent"), op.dtype()), out=op.y)
        return
    w.add("Pow", *aligned(w, op), out=op.y)


@EXPORTS("Sum", "Mean", "Max", "Min")
def several(w: Writer, op: Op) -> None:
    """An operator of any number of inputs that both have."""
    w.add(op.type, *op.inputs, out=op.y)


@EXPORTS("Where")
def where(w: Writer, op: Op) -> None:
    """Where; a flag for each row gets axes of size 1."""
    flags, rank = op.x, op.rank(1)
    if op.arg("broadcast_on_rows") and rank > 1:
        flags = w.reshape(flags, [-1, *[1] * (rank - 1)])
    w.add("Where", flags, op.inputs[1], op.inputs[2], out=op.y)


@EXPORTS("Scale")
def scale(w: Writer, op: Op) -> None:
    """Mul."""
    w.add("Mul", op.x, w.scalar(op.arg("scale"), op.dtype()), out=op.y)


@EXPORTS("Sqr", "Cube")
def square(w: Writer, op: Op) -> None:
    """Mul with itself."""
    made = w.add("Mul", op.x, op.x, out=op.y if op.type == "Sqr" else None)
    if op.type == "Cube":
        w.add("Mul", made, op.x, out=op.y)


@EXPORTS("Rsqrt")
def rsqrt(w: Writer, op: Op) -> None:
    """1 / Sqrt."""
    w.add("Reciprocal", w.add("Sqrt", op.x), out=op.y)


@EXPORTS("Cbrt")
def cbrt(w: Writer, op: Op) -> None:
    """Sign * Pow of the magnitude."""
    root = w.add("Pow", w.add("Abs", op.x), w.scalar(1 / 3, op.dtype()))
    w.add("Mul", w.add("Sign", op.x), root, out=op.y)


@EXPORTS("Elu", "LeakyRelu", "ThresholdedRelu")
def with_alpha(w: Writer, op: Op) -> None:
    """An operator with alpha."""
    if op.type == "ThresholdedRelu" and w.opset < 10:
        op.fail("ThresholdedRelu before opset 10")
    w.add(op.type, op.x, out=op.y, alpha=op.arg("alpha"))


@EXPORTS("Selu")
def selu(w: Writer, op: Op) -> None:
    """Selu."""
    w.add("Selu", op.x, out=op.y, alpha=op.arg("alpha"), gamma=op.arg("scale"))


@EXPORTS("HardSigmoid")
def hard_sigmoid(w: Writer, op: Op) -> None:
    """HardSigmoid."""
    w.add("HardSigmoid", op.x, out=op.y, alpha=op.arg("alpha"), beta=op.arg("beta"))


@EXPORTS("PRelu")
def prelu(w: Writer, op: Op) -> None:
    """PRelu; one slope a channel gets axes of size 1 behind."""
    slope, rank = op.inputs[1], op.rank()
    (count,) = op.shape(1) or (1,)
    if count > 1 and op.arg("order") == "NCHW" and rank > 2:
        slope = w.reshape(slope, [count, *[1] * (rank - 2)])
    w.add("PRelu", op.x, slope, out=op.y)


@EXPORTS("Clip")
def clip(w: Writer, op: Op) -> None:
    """Clip."""
    w.clip(op.x, op.arg("min"), op.arg("max"), out=op.y)


@EXPORTS("ReluN")
def relu_n(w: Writer, op: Op) -> None:
    """Clip from 0 on."""
    w.clip(op.x, 0.0, op.arg("n"), out=op.y)


@EXPORTS("Swish")
def swish(w: Writer, op: Op) -> None:
    """X * Sigmoid(X)."""
    w.add("Mul", op.x, w.add("Sigmoid", op.x), out=op.y)


@EXPORTS("Mish")
def mish(w: Writer, op: Op) -> None:
    """X * Tanh(Softplus(X))."""
    w.add("Mul", op.x, w.add("Tanh", w.add("Softplus", op.x)), out=op.y)


@EXPORTS("Gelu")
def gelu(w: Writer, op: Op) -> None:
    """X times the share of a normal distribution below it, by Erf or Tanh."""
    x, dtype = op.x, op.dtype()
    one, half = w.scalar(1, dtype), w.scalar(0.5, dtype)
    if op.arg("fast_gelu"):
        cube = w.add("Mul", w.add("Mul", w.add("Mul", x, x), x), w.scalar(0.044715, dtype))
        inner = w.add("Mul", w.add("Add", x, cube), w.scalar(math.sqrt(2 / math.pi), dtype))
        share = w.add("Add", w.add("Tanh", inner), one)
    else:
        share = w.add("Add", w.add("Erf", w.add("Mul", x, w.scalar(math.sqrt(0.5), dtype))), one)
    w.add("Mul", w.add("Mul", x, half), share, out=op.y)


@EXPORTS("Glu")
def glu(w: Writer, op: Op) -> None:
    """The first half times Sigmoid of the second."""
    axis = op.axis(op.arg("dim"))
    half = op.shape()[axis] // 2
    parts = [w.fresh("half"), w.fresh("half")]
    w.split(op.x, [half, half], axis, parts)
    w.add("Mul", parts[0], w.add("Sigmoid", parts[1]), out=op.y)


@EXPORTS("Logit")
def logit(w: Writer, op: Op) -> None:
    """log(X / (1 - X)) of X kept away from 0 and 1."""
    low = op.arg("eps")
    x = w.clip(op.x, low, 1 - low)
    rest = w.add("Sub", w.scalar(1, op.dtype()), x)
    w.add("Log", w.add("Div", x, rest), out=op.y)


@EXPORTS("Cast")
def cast(w: Writer, op: Op) -> None:
    """Cast."""
    to = op.arg("to")
    w.cast(op.x, dtype_from_text(to) if isinstance(to, str) else dtype_from_number(to), op.y)


@EXPORTS("HalfToFloat", "FloatToHalf")
def half(w: Writer, op: Op) -> None:
    """Cast."""
    dtype = np.dtype(np.float32 if op.type == "HalfToFloat" else np.float16)
    w.add("Cast", op.x, out=op.y, to=number_of(dtype))


@EXPORTS("IsNaN")
def is_nan(w: Writer, op: Op) -> None:
    """IsNaN, as uint8."""
    w.cast(w.add("IsNaN", op.x), np.dtype(np.uint8), op.y)


@EXPORTS("Dropout")
def dropout(w: Writer, op: Op) -> None:
    """Nothing: a model that is saved predicts."""
    if not op.arg("is_test"):
        op.fail(
            "dropout in training",
        )
    w.add("Identity", op.x, out=op.y)
