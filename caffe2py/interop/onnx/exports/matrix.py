"""Fully connected layers and products."""

from __future__ import annotations

import math

from caffe2py.interop.onnx.writer import ExportTable, Op, Writer

__all__ = ["EXPORTS"]

EXPORTS = ExportTable()


@EXPORTS("FC", "FCTransposed", "FusedFC")
def fully_connected(w: Writer, op: Op) -> None:
    """Gemm of what was flattened, in the shape that the leading axes give."""
    x, weights, bias = op.inputs[:3]
    axis = op.axis(op.arg("axis"))
    shape = op.input_types[1].shape
    if shape is None or len(shape) != 2:
        weights = w.add("Flatten", weights, axis=op.axis(op.arg("axis_w"), 1))
    deep = op.rank() != 2 or axis != 1
    flat = w.add("Flatten", x, axis=axis) if deep else x
    many = axis != 1
    trans = int(op.type != "FCTransposed")
    made = w.add("Gemm", flat, weights, bias, out=None if many else op.y, transB=trans)
    if many:
        w.reshape(made, [*op.output_shape()], out=op.y)


@EXPORTS("MatMul")
def matmul(w: Writer, op: Op) -> None:
    """MatMul of two matrices, each flattened and transposed as asked."""
    names = []
    for k, (axis, trans) in enumerate((("axis_a", "trans_a"), ("axis_b", "trans_b"))):
        name = op.inputs[k]
        at = op.axis(op.arg(axis), k)
        if op.rank(k) != 2 or at != 1:
            name = w.add("Flatten", name, axis=at)
        names.append(w.transpose(name, [1, 0]) if op.arg(trans) else name)
    if len(op.inputs) == 3:
        w.reshape(w.add("MatMul", *names), op.shape(2), out=op.y)
    else:
        w.add("MatMul", *names, out=op.y)


@EXPORTS("BatchMatMul")
def batch_matmul(w: Writer, op: Op) -> None:
    """MatMul, with the last two axes transposed as asked."""
    names, vectors = [], 0
    for k, trans in enumerate(("trans_a", "trans_b")):
        rank = op.rank(k)
        vectors += rank == 1
        name = op.inputs[k]
        if op.arg(trans) and rank > 1:
            name = w.transpose(name, [*range(rank - 2), rank - 1, rank - 2])
        names.append(name)
    if vectors == 2:
        w.unsqueeze(w.add("MatMul", *names), [0], out=op.y)
    else:
        w.add("MatMul", *names, out=op.y)


@EXPORTS("DotProduct")
def dot_product(w: Writer, op: Op) -> None:
    """The sum of products for each row."""
    made = w.add("Mul", *op.inputs)
    rank = op.rank()
    if rank > 1:
        w.reduce("ReduceSum", made, list(range(1, rank)), False, out=op.y)
    else:
        w.add("Identity", made, out=op.y)


@EXPORTS("SquaredL2Distance", "L1Distance")
def distance(w: Writer, op: Op) -> None:
    """Half the sum of squared differences, or the sum of magnitudes, for each row."""
    difference = w.add("Sub", *op.inputs)
    if op.type == "L1Distance":
        made = w.add("Abs", difference)
    else:
        square = w.add("Mul", difference, difference)
        made = w.add("Mul", square, w.scalar(0.5, op.dtype()))
    rank = op.rank()
    if rank > 1:
        w.reduce("ReduceSum", made, list(range(1, rank)), False, out=op.y)
    else:
        w.add("Identity", made, out=op.y)


@EXPORTS("ElementwiseLinear")
def elementwise_linear(w: Writer, op: Op) -> None:
    """X * weights + bias, one of each for an element of a row."""
    axis = op.axis(op.arg("axis"))
    shape = list(op.shape())
    row = math.prod(shape[axis:])
    flat = w.reshape(op.x, [-1, row])
    made = w.add("Add", w.add("Mul", flat, op.inputs[1]), op.inputs[2])
    w.reshape(made, shape, out=op.y)
