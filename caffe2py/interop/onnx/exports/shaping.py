"""Shapes, and operators that move elements without changing them."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from caffe2py.interop.onnx.writer import ExportTable, Op, Writer

__all__ = ["EXPORTS"]

EXPORTS = ExportTable()


@EXPORTS("Reshape")
def reshape(w: Writer, op: Op) -> None:
    """Reshape; the old shape is a Shape."""
    if len(op.inputs) > 1:
        shape = op.inputs[1]
        if op.dtype(1) != np.int64:
            shape = w.cast(shape, np.dtype(np.int64))
        w.add("Reshape", op.x, shape, out=op.y)
    else:
        w.reshape(op.x, op.arg("shape"), out=op.y)
    if len(op.outputs) > 1 and op.outputs[1]:
        w.add("Shape", op.x, out=op.outputs[1])


@EXPORTS("Flatten")
def flatten(w: Writer, op: Op) -> None:
    """Flatten."""
    w.add("Flatten", op.x, out=op.y, axis=op.axis(op.arg("axis")))


@EXPORTS("FlattenToVec")
def flatten_to_vec(w: Writer, op: Op) -> None:
    """Reshape to one axis."""
    w.reshape(op.x, [-1], out=op.y)


@EXPORTS("MergeDim")
def merge_dim(w: Writer, op: Op) -> None:
    """The first two axes as one."""
    shape = op.shape()
    w.reshape(op.x, [shape[0] * shape[1], *shape[2:]], out=op.y)


@EXPORTS("PrependDim")
def prepend_dim(w: Writer, op: Op) -> None:
    """The first axis as two."""
    w.reshape(op.x, op.output_shape(), out=op.y)


@EXPORTS("ResizeLike")
def resize_like(w: Writer, op: Op) -> None:
    """Reshape to the shape of another blob."""
    w.add("Reshape", op.x, w.add("Shape", op.inputs[1]), out=op.y)


@EXPORTS("Squeeze")
def squeeze(w: Writer, op: Op) -> None:
    """Squeeze."""
    _axes_or_copy(w, op, "squeeze")


@EXPORTS("ExpandDims")
def expand_dims(w: Writer, op: Op) -> None:
    """Unsqueeze."""
    _axes_or_copy(w, op, "unsqueeze")


def _axes_or_copy(w: Writer, op: Op, method: str) -> None:
    dims = sorted(set(op.arg("dims") or []))
    if dims:
        getattr(w, method)(op.x, dims, out=op.y)
    else:
        w.add("Identity", op.x, out=op.y)


@EXPORTS("Transpose")
def transpose(w: Writer, op: Op) -> None:
    """Transpose."""
    axes = op.arg("axes") or list(range(op.rank()))[::-1]
    w.transpose(op.x, axes, out=op.y)


@EXPORTS("NCHW2NHWC", "NHWC2NCHW")
def reorder(w: Writer, op: Op) -> None:
    """Transpose of the channels."""
    rank = op.rank()
    back = op.type == "NCHW2NHWC"
    order = [0, *range(2, rank), 1] if back else [0, rank - 1, *range(1, rank - 1)]
    w.transpose(op.x, order, out=op.y)


@EXPORTS("Concat", "DepthConcat")
def concat(w: Writer, op: Op) -> None:
    """Concat, along a new axis if asked; the widths are constant."""
    rank = op.rank()
    new = bool(op.arg("add_axis"))
    if op.given("axis"):
        axis = op.arg("axis") % (rank + new)
    else:
        axis = 1 if op.arg("order").upper() == "NCHW" else rank - 1
    names = [w.unsqueeze(name, [axis]) for name in op.inputs] if new else list(op.inputs)
    w.add("Concat", *names, out=op.y, axis=axis)
    if len(op.outputs) > 1 and op.outputs[1]:
        widths = [1 if new else op.shape(k)[axis] for k in range(len(op.inputs))]
        w.add("Identity", w.const(widths, np.int32), out=op.outputs[1])


@EXPORTS("Split")
def split(w: Writer, op: Op) -> None:
    """Split, and without the axis if that was added."""
    rank = op.rank()
    if op.given("axis"):
        axis = op.axis(op.arg("axis"))
    else:
        axis = 1 if op.arg("order").upper() == "NCHW" else rank - 1
    widths = op.arg("split")
    if len(op.inputs) > 1:
        found = w.constant(op.inputs[1])
        if found is None:
            op.fail("widths that are computed")
        widths = [int(v) for v in found]
    if not widths:
        widths = [op.shape()[axis] // len(op.outputs)] * len(op.outputs)
    if not op.arg("add_axis"):
        w.split(op.x, widths, axis, op.outputs)
        return
    parts = [w.fresh("part") for _ in op.outputs]
    w.split(op.x, widths, axis, parts)
    for part, out in zip(parts, op.outputs, strict=True):
        w.squeeze(part, [axis], out=out)


@EXPORTS("Slice")
def slice_(w: Writer, op: Op) -> None:
    """Slice; an end of -1 is the end of the axis here, -2 one before it."""
    lists: list[Sequence[int]] = [op.arg("starts"), op.arg("ends")]
    if len(op.inputs) > 1:
        found = [w.constant(name) for name in op.inputs[1:3]]
        if any(array is None for array in found):
            op.fail("starts or ends that are computed")
        lists = [[int(v) for v in array] for array in found if array is not None]
    shape = op.shape()
    starts = [_from_front(v, size) for v, size in zip(lists[0], shape, strict=False)]
    ends = [_from_front(v, size) for v, size in zip(lists[1], shape, strict=False)]
    w.slice(op.x, starts, ends, list(range(len(starts))), out=op.y)


def _from_front(place: int, size: int) -> int:
    return place + size + 1 if place < 0 else place


@EXPORTS("Gather", "BatchGather")
def gather(w: Writer, op: Op) -> None:
    """Gather."""
    if op.arg("match_outer"):
        op.fail("match_outer")
    axis = 1 if op.type == "BatchGather" else op.axis(op.arg("axis"))
    if w.opset < 11 and op.type == "Gather" and axis == 0:
        op.fail("places that may be negative, before opset 11")
    w.add("Gather", *op.inputs, out=op.y, axis=axis)


@EXPORTS("Shape")
def shape(w: Writer, op: Op) -> None:
    """Shape, or some of its dimensions."""
    axes = op.arg("axes")
    if not axes:
        w.add("Shape", op.x, out=op.y)
        return
    w.add("Gather", w.add("Shape", op.x), w.const(list(axes), np.int64), out=op.y, axis=0)


@EXPORTS("Size")
def size(w: Writer, op: Op) -> None:
    """Size."""
    w.add("Size", op.x, out=op.y)


@EXPORTS("Expand")
def expand(w: Writer, op: Op) -> None:
    """Expand; 0 and -1 leave a dimension, so that the shape is taken from the result."""
    w.add("Expand", op.x, w.const(list(op.output_shape()), np.int64), out=op.y)


@EXPORTS("Tile")
def tile(w: Writer, op: Op) -> None:
    """Tile along one axis."""
    if len(op.inputs) > 1:
        op.fail("copies that are an input")
    repeats = [1] * op.rank()
    repeats[op.axis(op.arg("axis"))] = op.arg("tiles")
    w.add("Tile", op.x, w.const(repeats, np.int64), out=op.y)


@EXPORTS("NumpyTile")
def numpy_tile(w: Writer, op: Op) -> None:
    """Tile."""
    repeats = op.inputs[1]
    if op.dtype(1) != np.int64:
        repeats = w.cast(repeats, np.dtype(np.int64))
    w.add("Tile", op.x, repeats, out=op.y)


@EXPORTS("ChannelShuffle")
def channel_shuffle(w: Writer, op: Op) -> None:
    """Reshape, Transpose, Reshape."""
    if op.arg("order").upper() != "NCHW":
        op.fail("order NHWC")
    shape, group = list(op.shape()), op.arg("group")
    cut = w.reshape(op.x, [shape[0], group, shape[1] // group, *shape[2:]])
    order = [0, 2, 1, *range(3, len(shape) + 1)]
    w.reshape(w.transpose(cut, order), shape, out=op.y)


@EXPORTS("ConstantFill")
def constant_fill(w: Writer, op: Op) -> None:
    """A constant of the value, expanded to the shape."""
    if len(op.inputs) > 1:
        op.fail("a value that is an input")
    dtype = op.output_types[0].dtype
    if dtype is None:
        op.fail("the type of its output is not known")
    argument = next((a for a in op.proto.arg if a.name == "value"), None)
    value: float = 0.0
    if argument is not None:
        value = argument.i if argument.HasField("i") else argument.f
    w.add("Expand", w.const(value, dtype), w.const(list(op.output_shape()), np.int64), out=op.y)


@EXPORTS("OneHot")
def one_hot(w: Writer, op: Op) -> None:
    """OneHot of float32."""
    depth = w.reshape(w.cast(op.inputs[1], np.dtype(np.int64)), [1])
    w.add("OneHot", op.x, depth, w.const([0, 1], np.float32), out=op.y, axis=-1)


@EXPORTS("Range")
def range_(w: Writer, op: Op) -> None:
    """Range, from 0 and in steps of 1 unless told otherwise."""
    if w.opset < 11:
        op.fail("Range before opset 11")
    dtype = op.dtype()
    names = [w.reshape(n, []) if op.rank(k) else n for k, n in enumerate(op.inputs)]
    if len(names) == 1:
        names.insert(0, w.scalar(0, dtype))
    if len(names) == 2:
        names.append(w.scalar(1, dtype))
    w.add("Range", *names, out=op.y)
