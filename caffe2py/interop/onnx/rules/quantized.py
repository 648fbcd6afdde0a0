"""Quantised tensors, said in floats: integers up to 2 ** 24 are exact there."""

from __future__ import annotations

import numpy as np

from caffe2py.interop.onnx.emitter import Emitter
from caffe2py.interop.onnx.node import Node
from caffe2py.interop.onnx.rules.elementwise import rounded
from caffe2py.interop.onnx.rules.matrix import product
from caffe2py.interop.onnx.rules.window import conv
from caffe2py.interop.onnx.table import Table
from caffe2py.tensor.types import DType

__all__ = ["RULES"]

RULES = Table()


def _along(g: Emitter, name: str, rank: int, axis: int) -> str:
    """One number for each place of an axis, so that it repeats along the others."""
    if g.rank(name) != 1 or rank <= 1:
        return name
    shape = [1] * rank
    shape[axis] = g.size(name, 0)
    return g.reshape(name, shape)


def _real(
    g: Emitter, x: str, scale: str, zero: str | None, axis: int = 1, out: str | None = None
) -> str:
    """(X - zero) * scale."""
    rank = g.rank(x)
    value = g.cast(x, np.float32)
    if zero is not None:
        point = g.cast(zero, np.float32)
        value = g.emit("Sub", value, _along(g, point, rank, axis))
    return g.emit("Mul", value, _along(g, scale, rank, axis), out=out)


def _quantize(
    g: Emitter, x: str, scale: str, zero: str | None, axis: int, dtype: DType, out: str
) -> str:
    """round(X / scale) + zero, within the range of the type."""
    rank = g.rank(x)
    value = rounded(g, g.emit("Div", x, _along(g, scale, rank, axis)))
    if zero is not None:
        value = g.emit("Add", value, _along(g, g.cast(zero, np.float32), rank, axis))
    limits = np.iinfo(dtype)
    value = g.emit("Clip", value, min=float(limits.min), max=float(limits.max))
    return g.cast(value, dtype, out=out)


def _unblocked(n: Node) -> None:
    if n.int("block_size"):
        n.fail("quantised block by block")


def _float_input(g: Emitter, n: Node, name: str) -> str:
    if g.dtype(name) != np.float32:
        n.fail(f"a scale or input of {g.dtype(name)}")
    return name


@RULES("DequantizeLinear")
def dequantize(g: Emitter, n: Node) -> None:
    """(X - zero) * scale."""
    _unblocked(n)
    x, scale = n.input(0), _float_input(g, n, n.input(1))
    axis = n.int("axis", 1)
    rank = g.rank(x)
    axis = axis % rank if rank > 1 else 0
    _real(g, x, scale, n.maybe_input(2), axis, out=n.out)


@RULES("QuantizeLinear")
def quantize(g: Emitter, n: Node) -> None:
    """round(X / scale) + zero."""
    _unblocked(n)
    x, scale, zero = _float_input(g, n, n.input(0)), n.input(1), n.maybe_input(2)
    dtype = np.dtype(np.uint8) if zero is None else g.dtype(zero)
    if dtype.kind not in "iu" or dtype.itemsize > 2:
        n.fail(f"quantised to {dtype}")
    rank = g.rank(x)
    axis = n.int("axis", 1) % rank if rank > 1 else 0
    _quantize(g, x, _float_input(g, n, scale), zero, axis, dtype, n.out)


@RULES("DynamicQuantizeLinear")
def dynamic_quantize(g: Emitter, n: Node) -> None:
    """Scale and zero point from the range of X, which includes 0."""
    x = n.input(0)
    axes = list(range(g.rank(x)))
    zero = g.scalar(0, x)
    low = g.emit("Min", g.emit("ReduceMin", x, axes=axes, keepdims=0), zero)
    high = g.emit("Max", g.emit("ReduceMax", x, axes=axes, keepdims=0), zero)
    span = g.scalar(255, x)
    scale = g.emit("Div", g.emit("Sub", high, low), span, out=n.outputs[1])
    point = rounded(g, g.emit("Clip", g.emit("Negative", g.emit("Div", low, scale)), min=0.0,
                              max=255.0))  # fmt: skip
    point = g.cast(point, np.uint8, out=n.outputs[2])
    _quantize(g, x, scale, point, 0, np.dtype(np.uint8), n.out)


def _centred(g: Emitter, x: str, zero: str | None, row: bool) -> str:
    """X - zero, in floats; a vector of zero points is one for each row or column."""
    value = g.cast(x, np.float32)
    if zero is None:
        return value
    point = g.cast(zero, np.float32)
    if g.rank(point) == 1 and row and g.size(point, 0) > 1:
        point = g.reshape(point, [-1, 1])
    return g.emit("Sub", value, point)


@RULES("MatMulInteger")
def matmul_integer(g: Emitter, n: Node) -> None:
    """The product of what is left without the zero points."""
    a = _centred(g, n.input(0), n.maybe_input(2), row=True)
    b = _centred(g, n.input(1), n.maybe_input(3), row=False)
    g.cast(product(g, a, b), np.int32, out=n.out)


@RULES("QLinearMatMul")
def qlinear_matmul(g: Emitter, n: Node) -> None:
    """The product of the real numbers, quantised again."""
    a = _real(g, n.input(0), _float_input(g, n, n.input(1)), n.input(2))
    b = _real(g, n.input(3), _float_input(g, n, n.input(4)), n.input(5))
    made = product(g, a, b)
    zero = n.input(7)
    _quantize(g, made, _float_input(g, n, n.input(6)), zero, 0, g.dtype(zero), n.out)


def _conv(g: Emitter, n: Node, x: str, w: str, bias: str | None) -> str:
    """A convolution of floats with the attributes of the node."""
    plain = Node(n.proto, n.index, n.opset)
    plain.inputs = [x, w] if bias is None else [x, w, bias]
    plain.outputs = [g.fresh("conv")]
    conv(g, plain)
    return plain.outputs[0]


@RULES("ConvInteger")
def conv_integer(g: Emitter, n: Node) -> None:
    """The convolution of what is left without the zero points."""
    x = _centred(g, n.input(0), n.maybe_input(2), row=False)
    zero = n.maybe_input(3)
    w = g.cast(n.input(1), np.float32)
    if zero is not None:
        w = g.emit("Sub", w, _along(g, g.cast(zero, np.float32), g.rank(w), 0))
    g.cast(_conv(g, n, x, w, None), np.int32, out=n.out)


@RULES("QLinearConv")
def qlinear_conv(g: Emitter, n: Node) -> None:
    """The convolution of the real numbers, quantised again."""
    x = _real(g, n.input(0), _float_input(g, n, n.input(1)), n.input(2))
    w = _real(g, n.input(3), _float_input(g, n, n.input(4)), n.input(5), axis=0)
    bias = n.maybe_input(8)
    if bias is not None:
        scale = g.emit("Mul", n.input(1), n.input(4))
        bias = g.emit("Mul", g.cast(bias, np.float32), scale)
    made = _conv(g, n, x, w, bias)
    zero = n.input(7)
    _quantize(g, made, n.input(6), zero, 0, g.dtype(zero), n.out)
