"""Sums, means, extrema and norms along axes."""

from __future__ import annotations

import numpy as np

from caffe2py.interop.onnx.emitter import Emitter
from caffe2py.interop.onnx.node import Node
from caffe2py.interop.onnx.table import Table

__all__ = ["RULES"]

RULES = Table()

#: The opset from which the axes are an input.
_AXES_INPUT = {"ReduceSum": 13}

_SAME = ("ReduceSum", "ReduceMean", "ReduceMax", "ReduceMin", "ReduceL1", "ReduceL2")


def _axes(g: Emitter, n: Node) -> list[int] | None:
    """The axes to reduce; None if there are none and that means: none."""
    x = n.input(0)
    if n.opset >= _AXES_INPUT.get(n.op_type, 18):
        name = n.maybe_input(1)
        axes = None if name is None else g.int_list(name, "the list of axes")
    else:
        axes = n.ints("axes")
    if axes:
        return g.axes(x, axes)
    return None if n.int("noop_with_empty_axes") else list(range(g.rank(x)))


def _reduce(g: Emitter, type_: str, x: str, axes: list[int], keep: int, out: str | None) -> str:
    if not axes:  # of a scalar
        return g.emit("Copy", x, out=out)
    return g.emit(type_, x, out=out, axes=axes, keepdims=keep)


@RULES(*_SAME)
def same(g: Emitter, n: Node) -> None:
    """An operator that both have."""
    axes, x = _axes(g, n), n.input(0)
    if axes is None:
        g.alias(x if n.op_type not in ("ReduceL1", "ReduceL2") else g.emit("Abs", x), n.out)
        return
    dtype = g.dtype(x)
    if n.op_type in ("ReduceMax", "ReduceMin") and _of_nothing(g, n, axes):
        return
    narrow = dtype.kind == "b" or dtype.itemsize < 4
    if not narrow:
        _reduce(g, n.op_type, x, axes, n.int("keepdims", 1), n.out)
        return
    wide = g.cast(x, np.float32)
    g.cast(_reduce(g, n.op_type, wide, axes, n.int("keepdims", 1), None), dtype, out=n.out)


def _of_nothing(g: Emitter, n: Node, axes: list[int]) -> bool:
    """Whether there is no element to compare; then the result is the other end of the type."""
    shape, dtype = g.type(n.input(0)).full_shape, g.dtype(n.input(0))
    if shape is None or 0 not in [shape[axis] for axis in axes]:
        return False
    largest = n.op_type == "ReduceMin"
    if dtype.kind == "f":
        value: float = np.inf if largest else -np.inf
    elif dtype.kind == "b":
        value = largest
    else:
        limits = np.iinfo(dtype)
        value = limits.max if largest else limits.min
    keep = n.int("keepdims", 1)
    sizes = [1 if k in axes else s for k, s in enumerate(shape) if keep or k not in axes]
    g.add_weight(n.out, np.full(sizes, value, dtype))
    return True


@RULES("ReduceSumSquare")
def sum_square(g: Emitter, n: Node) -> None:
    """The sum of X * X."""
    axes, square = _axes(g, n), g.emit("Mul", n.input(0), n.input(0))
    _reduce(g, "ReduceSum", square, axes or [], n.int("keepdims", 1), n.out)


@RULES("ReduceLogSum")
def log_sum(g: Emitter, n: Node) -> None:
    """The logarithm of the sum."""
    total = _reduce(g, "ReduceSum", n.input(0), _axes(g, n) or [], n.int("keepdims", 1), None)
    g.emit("Log", total, out=n.out)


@RULES("ReduceLogSumExp")
def log_sum_exp(g: Emitter, n: Node) -> None:
    """log(sum(exp(X - max))) + max, so that nothing overflows."""
    axes, x, keep = _axes(g, n) or [], n.input(0), n.int("keepdims", 1)
    top = _reduce(g, "ReduceMax", x, axes, 1, None)
    low = -3.4e38 if g.dtype(x) != np.float16 else -6e4
    top = g.where(g.emit("GT", top, g.scalar(low, top)), top, g.scalar(0, top))
    powers = g.emit("Exp", g.emit("Sub", x, top))
    logs = g.emit("Log", _reduce(g, "ReduceSum", powers, axes, 1, None))
    made = g.emit("Add", logs, top, out=n.out if keep or not axes else None)
    if not keep and axes:
        g.emit("Squeeze", made, out=n.out, dims=axes)


@RULES("ArgMax", "ArgMin")
def arg_extreme(g: Emitter, n: Node) -> None:
    """ArgMax and ArgMin; for the last of equal ones along the reversed axis."""
    x = n.input(0)
    axis, keep = g.axis(x, n.int("axis", 0)), n.int("keepdims", 1)
    if g.dtype(x).itemsize < 4:
        x = g.cast(x, np.float32)
    if not n.int("select_last_index"):
        g.emit(n.op_type, x, out=n.out, axis=axis, keepdims=keep)
        return
    size = g.size(x, axis)
    turned = g.take(x, np.arange(size)[::-1], axis)
    found = g.emit(n.op_type, turned, axis=axis, keepdims=keep)
    g.emit("Sub", g.scalar(size - 1, found), found, out=n.out)


@RULES("TopK")
def top_k(g: Emitter, n: Node) -> None:
    """TopK; the smallest ones as the largest of -X."""
    x = n.input(0)
    axis, largest = g.axis(x, n.int("axis", -1)), n.int("largest", 1)
    if n.opset < 10:
        k = n.int("k")
    else:
        (k,) = g.int_list(n.input(1), "the number of elements")
    size = g.type(x).shape
    if size is not None and size[axis] is not None and k > (size[axis] or 0):
        n.fail(f"k is {k}, and the axis has {size[axis]} elements")
    dtype = g.dtype(x)
    if dtype.kind in "iub" and dtype.itemsize < 4:
        x = g.cast(x, np.int32)
    source = x if largest else g.emit("Negative", x)
    values, places = g.fresh("values"), g.fresh("places")
    g.emit_all("TopK", [source], [values, places], k=k, axis=axis)
    made = values if largest else g.emit("Negative", values)
    if n.has_output(0):
        g.cast(made, dtype, out=n.outputs[0])
    if n.has_output(1):
        g.alias(places, n.outputs[1])


def log_softmax_of(g: Emitter, x: str, axes: list[int], out: str | None = None) -> str:
    """X - max - log(sum(exp(X - max))) over axes."""
    moved = g.emit("Sub", x, _reduce(g, "ReduceMax", x, axes, 1, None))
    total = g.emit("Log", _reduce(g, "ReduceSum", g.emit("Exp", moved), axes, 1, None))
    return g.emit("Sub", moved, total, out=out)


def _softmax_axes(g: Emitter, n: Node) -> list[int]:
    """One axis since opset 13, all from an axis on before."""
    x = n.input(0)
    if n.opset >= 13:
        return [g.axis(x, n.int("axis", -1))]
    return list(range(g.axis(x, n.int("axis", 1)), g.rank(x)))


@RULES("Softmax")
def softmax(g: Emitter, n: Node) -> None:
    """Softmax over the last axes, or with the axis moved there."""
    x, axes = n.input(0), _softmax_axes(g, n)
    rank = g.rank(x)
    if g.dtype(x) != np.float32:
        g.emit("Exp", log_softmax_of(g, x, axes), out=n.out)
        return
    if axes[-1:] == [rank - 1] or rank == 0:
        g.emit("Softmax", x, out=n.out, axis=axes[0])
        return
    order = [k for k in range(rank) if k not in axes] + axes
    made = g.emit("Softmax", g.transpose(x, order), axis=rank - 1)
    g.transpose(made, [int(k) for k in np.argsort(order)], out=n.out)


@RULES("LogSoftmax")
def log_softmax(g: Emitter, n: Node) -> None:
    """X - max - log(sum(exp(X - max)))."""
    log_softmax_of(g, n.input(0), _softmax_axes(g, n), n.out)


@RULES("Hardmax")
def hardmax(g: Emitter, n: Node) -> None:
    """1 at the first largest element along an axis, 0 elsewhere."""
    x, axes = n.input(0), _softmax_axes(g, n)
    shape = g.shape(x)
    flat = x
    if len(axes) > 1:
        flat = g.reshape(x, [*shape[: axes[0]], int(np.prod(shape[axes[0] :]))])
    axis = axes[0]
    place = g.emit("ArgMax", flat, axis=axis, keepdims=1)
    sizes = [1] * (axis + 1 if len(axes) > 1 else len(shape))
    sizes[axis] = g.size(flat, axis)
    places = g.const(np.arange(sizes[axis]).reshape(sizes), np.int64)
    made = g.cast(g.emit("EQ", place, places), g.dtype(x))
    if len(axes) > 1:
        made = g.reshape(made, shape)
    g.alias(made, n.out)
