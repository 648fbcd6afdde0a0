"""Gather, scatter, one-hot: operators that read places from a blob."""

from __future__ import annotations

import numpy as np

from caffe2py.interop.onnx.emitter import Emitter
from caffe2py.interop.onnx.node import Node
from caffe2py.interop.onnx.table import Table

__all__ = ["RULES"]

RULES = Table()


@RULES("Gather")
def gather(g: Emitter, n: Node) -> None:
    """Gather; negative places count from the end."""
    x, places = n.input(0), n.input(1)
    axis = g.axis(x, n.int("axis", 0))
    g.emit("Gather", x, places, out=n.out, axis=axis, wrap_indices=1)


@RULES("GatherElements")
def gather_elements(g: Emitter, n: Node) -> None:
    """Gather for each row, with the axis moved to the end."""
    x, places = n.input(0), n.input(1)
    rank = g.rank(x)
    axis = g.axis(x, n.int("axis", 0))
    order = [k for k in range(rank) if k != axis] + [axis]
    shape, wanted = g.type(x).shape, g.type(places).shape
    if shape is None or wanted is None or any(
        k != axis and shape[k] != wanted[k] for k in range(rank)
    ):  # fmt: skip
        limits = list(g.shape(places))
        limits[axis] = -1
        x = g.emit("Slice", x, starts=[0] * rank, ends=limits)
    rows, columns = g.transpose(x, order), g.transpose(places, order)
    made = g.emit("Gather", rows, columns, axis=rank - 1, match_outer=int(rank > 1), wrap_indices=1)
    g.transpose(made, [int(k) for k in np.argsort(order)], out=n.out)


def _wrapped(g: Emitter, places: str, size: int) -> str:
    """Places with negative ones counted from the end."""
    zero = g.scalar(0, places)
    behind = g.emit("Add", places, g.scalar(size, places))
    return g.where(g.emit("LT", places, zero), behind, places)


@RULES("Scatter", "ScatterElements")
def scatter_elements(g: Emitter, n: Node) -> None:
    """Scatter, of places that have the shape of the data but along the axis."""
    if n.text("reduction", "none") != "none":
        n.fail(f"reduction '{n.text('reduction')}'")
    x, places, updates = n.input(0), n.input(1), n.input(2)
    axis = g.axis(x, n.int("axis", 0))
    shape, wanted = g.shape(x), g.shape(places)
    if any(k != axis and shape[k] != wanted[k] for k in range(len(shape))):
        _scatter_flat(g, n, axis)
        return
    g.emit("Scatter", x, _wrapped(g, places, shape[axis]), updates, out=n.out, axis=axis)


def _scatter_flat(g: Emitter, n: Node, axis: int) -> None:
    """Scatter into the elements as one vector, where fewer rows are named than there are."""
    x, places, updates = n.input(0), n.input(1), n.input(2)
    shape, wanted = g.shape(x), g.shape(places)
    strides = [int(np.prod(shape[k + 1 :])) for k in range(len(shape))]
    base = np.zeros(wanted, np.int64)
    for k, size in enumerate(wanted):
        if k != axis:
            along = [size if j == k else 1 for j in range(len(wanted))]
            base += np.arange(size).reshape(along) * strides[k]
    index = g.cast(_wrapped(g, places, shape[axis]), np.int64)
    index = g.emit("Mul", index, g.const(strides[axis], np.int64))
    index = g.emit("Add", index, g.const(base, np.int64))
    flat = [g.reshape(name, [-1]) for name in (x, index, updates)]
    g.reshape(g.emit("Scatter", *flat, axis=0), shape, out=n.out)


def _flat_places(g: Emitter, places: str, sizes: tuple[int, ...]) -> str:
    """The last axis of `places`, one number for each of these dimensions, as one flat number."""
    strides = [int(np.prod(sizes[k + 1 :])) for k in range(len(sizes))]
    places = g.cast(places, np.int64)
    behind = g.emit("Add", places, g.const(list(sizes), np.int64))
    places = g.where(g.emit("LT", places, g.const(0, np.int64)), behind, places)
    weighed = g.emit("Mul", places, g.const(strides, np.int64))
    return g.emit("ReduceSum", weighed, axes=[g.rank(weighed) - 1], keepdims=0)


@RULES("GatherND")
def gather_nd(g: Emitter, n: Node) -> None:
    """Gather from the flattened leading axes."""
    x, places, batch = n.input(0), n.input(1), n.int("batch_dims")
    shape, wanted = g.shape(x), g.shape(places)
    depth = wanted[-1]
    leading, rest = shape[: batch + depth], shape[batch + depth :]
    if batch:  # the places of the batch itself go in front
        grid = np.indices(shape[:batch]).reshape(batch, *shape[:batch], *(1,) * (
            len(wanted) - batch - 1))  # fmt: skip
        own = np.broadcast_to(grid, (batch, *wanted[:-1]))
        front = g.const(np.moveaxis(own, 0, -1), np.int64)
        places = g.concat([front, g.cast(places, np.int64)], len(wanted) - 1)
    index = _flat_places(g, places, leading)
    data = g.reshape(x, [int(np.prod(leading)), *rest])
    g.emit("Gather", data, index, out=n.out, axis=0)


@RULES("ScatterND")
def scatter_nd(g: Emitter, n: Node) -> None:
    """ScatterAssign into the flattened leading axes of a copy."""
    if n.text("reduction", "none") != "none":
        n.fail(f"reduction '{n.text('reduction')}'")
    x, places, updates = n.input(0), n.input(1), n.input(2)
    shape, wanted = g.shape(x), g.shape(places)
    leading, rest = shape[: wanted[-1]], shape[wanted[-1] :]
    rows = int(np.prod(wanted[:-1]))
    index = g.reshape(_flat_places(g, places, leading), [rows])
    data = g.emit("Copy", g.reshape(x, [int(np.prod(leading)), *rest]))
    slices = g.reshape(updates, [rows, *rest])
    g.emit_all("ScatterAssign", [data, index, slices], [data])
    g.reshape(data, shape, out=n.out)


@RULES("OneHot")
def one_hot(g: Emitter, n: Node) -> None:
    """Where the place equals the number along a new axis."""
    places, values = n.input(0), n.input(2)
    depth = int(g.require_constant(n.input(1), "the depth").reshape(-1)[0])
    rank = g.rank(places) + 1
    axis = n.int("axis", -1) % rank
    along = [1] * rank
    along[axis] = depth
    numbers = g.const(np.arange(depth).reshape(along), np.int64)
    index = _wrapped(g, g.cast(places, np.int64), depth)
    hot = g.emit("EQ", g.emit("ExpandDims", index, dims=[axis]), numbers)
    off, on = (g.take(values, np.array([k]), 0) for k in (0, 1))
    g.where(hot, on, off, out=n.out)


@RULES("Compress")
def compress(g: Emitter, n: Node) -> None:
    """BooleanMask of rows, with the axis moved to the front."""
    x, flags = n.input(0), n.input(1)
    if not n.has("axis"):
        x, axis = g.reshape(x, [-1]), 0
    else:
        axis = g.axis(x, n.int("axis"))
    order = [axis, *(k for k in range(g.rank(x)) if k != axis)]
    rows = g.transpose(x, order)
    count, size = g.size(flags, 0), g.size(rows, 0)
    if count < size:
        rows = g.take(rows, np.arange(count), 0)
    made = g.emit("BooleanMask", rows, flags)
    g.transpose(made, [int(k) for k in np.argsort(order)], out=n.out)


@RULES("ReverseSequence")
def reverse_sequence(g: Emitter, n: Node) -> None:
    """ReversePackedSegs, with time first, batch second, and the rest as one axis."""
    x, lengths = n.input(0), n.input(1)
    time, batch = n.int("time_axis", 0), n.int("batch_axis", 1)
    shape = g.shape(x)
    order = [time, batch, *range(2, len(shape))]
    moved = g.transpose(x, order)
    size = [shape[time], shape[batch], int(np.prod(shape[2:]))]
    made = g.emit("ReversePackedSegs", g.reshape(moved, size), lengths)
    made = g.reshape(made, [shape[k] for k in order])
    g.transpose(made, [int(k) for k in np.argsort(order)], out=n.out)
