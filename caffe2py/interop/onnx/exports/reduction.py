"""Sums, means, extrema and norms; softmax."""

from __future__ import annotations

import math

import numpy as np

from caffe2py.interop.onnx.writer import ExportTable, Op, Writer

__all__ = ["EXPORTS"]

EXPORTS = ExportTable()


@EXPORTS("ReduceSum", "ReduceMean", "ReduceMax", "ReduceMin", "ReduceL1", "ReduceL2")
def over_axes(w: Writer, op: Op) -> None:
    """The same over axes; all of them if none is named."""
    rank = op.rank()
    given = op.arg("axes")
    axes = [op.axis(axis) for axis in given] if given else list(range(rank))
    if not axes:
        w.add("Identity" if op.type not in ("ReduceL1", "ReduceL2") else "Abs", op.x, out=op.y)
        return
    w.reduce(op.type, op.x, axes, bool(op.arg("keepdims")), out=op.y)


@EXPORTS(
    "ReduceFrontSum", "ReduceFrontMean", "ReduceFrontMax",
    "ReduceBackSum", "ReduceBackMean", "ReduceBackMax",
)  # fmt: skip
def over_ends(w: Writer, op: Op) -> None:
    """Over the first or last axes."""
    if len(op.inputs) > 1:
        op.fail("lengths")
    rank = op.rank()
    count = op.arg("num_reduce_dim")
    front = "Front" in op.type
    axes = list(range(count)) if front else list(range(rank - count, rank))
    type_ = "Reduce" + op.type[-4 if op.type.endswith("Mean") else -3 :]
    w.reduce(type_, op.x, axes, False, out=op.y)


@EXPORTS("SumElements", "SumSqrElements", "AveragedLoss")
def over_all(w: Writer, op: Op) -> None:
    """Over all elements."""
    x = w.add("Mul", op.x, op.x) if op.type == "SumSqrElements" else op.x
    mean = op.type == "AveragedLoss" or op.arg("average")
    axes = list(range(op.rank()))
    if axes:
        w.reduce("ReduceMean" if mean else "ReduceSum", x, axes, False, out=op.y)
    else:
        w.add("Identity", x, out=op.y)


@EXPORTS("ArgMax", "ArgMin")
def arg_extreme(w: Writer, op: Op) -> None:
    """ArgMax and ArgMin."""
    axis = op.axis(op.arg("axis"))
    w.add(op.type, op.x, out=op.y, axis=axis, keepdims=int(op.arg("keepdims")))


@EXPORTS("TopK")
def top_k(w: Writer, op: Op) -> None:
    """TopK."""
    if len(op.outputs) > 2:
        op.fail("flattened indices")
    axis = op.axis(op.arg("axis"))
    if len(op.inputs) > 1:
        k = w.reshape(w.cast(op.inputs[1], np.dtype(np.int64)), [1])
    else:
        count = op.arg("k")
        if count > op.shape()[axis]:
            op.fail(f"k is {count}, and the axis has {op.shape()[axis]} elements")
        k = w.const([count], np.int64)
    outputs = [*op.outputs, w.fresh("places")][:2]
    if w.opset < 10:
        found = w.constant(k)
        if found is None:
            op.fail("a number of elements that is computed, before opset 10")
        w.add_all("TopK", [op.x], outputs, axis=axis, k=int(found[0]))
        return
    w.add_all("TopK", [op.x, k], outputs, axis=axis)


@EXPORTS("Softmax")
def softmax(w: Writer, op: Op) -> None:
    """Softmax over the last axis; over several of them in the shape of one."""
    rank, axis = op.rank(), op.axis(op.arg("axis"))
    if axis == rank - 1:
        w.add("Softmax", op.x, out=op.y, axis=axis)
        return
    shape = op.shape()
    if axis >= rank:
        op.fail(f"axis {axis} of {rank}")
    flat = w.reshape(op.x, [*shape[:axis], math.prod(shape[axis:])])
    made = w.add("Softmax", flat, axis=axis)
    w.reshape(made, shape, out=op.y)


@EXPORTS("Normalize", "NormalizeL1")
def normalize(w: Writer, op: Op) -> None:
    """X / its norm, which is kept from being 0."""
    axis = op.axis(op.arg("axis"))
    type_ = "ReduceL2" if op.type == "Normalize" else "ReduceL1"
    norm = w.reduce(type_, op.x, [axis], True)
    least = w.scalar(1e-12, op.dtype())
    w.add("Div", op.x, w.add("Max", norm, least), out=op.y)


@EXPORTS("Moments")
def moments(w: Writer, op: Op) -> None:
    """The mean, and the mean of squared differences from it."""
    rank, given = op.rank(), op.arg("axes")
    axes = [op.axis(axis) for axis in given] if given else list(range(rank))
    keep = bool(op.arg("keepdims"))
    mean = w.reduce("ReduceMean", op.x, axes, True)
    difference = w.add("Sub", op.x, mean)
    w.reduce("ReduceMean", op.x, axes, keep, out=op.y)
    w.reduce("ReduceMean", w.add("Mul", difference, difference), axes, keep, out=op.outputs[1])
