"""Constants, shapes, and operators that move elements without changing them."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from caffe2py.interop.onnx.emitter import Emitter
from caffe2py.interop.onnx.node import Node
from caffe2py.interop.onnx.table import Table
from caffe2py.interop.onnx.tensors import array_of, dtype_of
from caffe2py.tensor.types import STRING, checked_numel, number_from_dtype

__all__ = ["RULES"]

RULES = Table()

#: Elements of a constant that a rule makes out of a few numbers.
_MOST_ELEMENTS = 2**24


@RULES("Constant")
def constant(g: Emitter, n: Node) -> None:
    """A weight of the init net."""
    if n.has("value"):
        g.add_weight(n.out, array_of(n.tensor("value")))
    elif n.has("value_float"):
        g.add_weight(n.out, np.array(n.float("value_float"), np.float32))
    elif n.has("value_int"):
        g.add_weight(n.out, np.array(n.int("value_int"), np.int64))
    elif n.has("value_floats"):
        g.add_weight(n.out, np.array(n.floats("value_floats"), np.float32))
    elif n.has("value_ints"):
        g.add_weight(n.out, np.array(n.ints("value_ints"), np.int64))
    elif n.has("value_string"):
        g.add_weight(n.out, np.array(n.text("value_string").encode(), STRING))
    elif n.has("value_strings"):
        g.add_weight(n.out, np.array(n.strings("value_strings"), STRING))
    else:
        n.fail("a constant that is sparse or holds nothing")


@RULES("ConstantOfShape")
def constant_of_shape(g: Emitter, n: Node) -> None:
    """ConstantFill."""
    tensor = n.tensor("value")
    value = np.zeros(1, np.float32) if tensor is None else array_of(tensor)
    if value.size != 1:
        n.fail(f"its value has {value.size} elements")
    number = value.reshape(-1)[0].item()
    args = {"value": number, "dtype": number_from_dtype(value.dtype)}
    if g.constant(n.input(0)) is None:
        g.emit("ConstantFill", n.input(0), out=n.out, input_as_shape=1, **args)
        return
    shape = g.int_list(n.input(0), "the shape")
    g.emit("ConstantFill", out=n.out, shape=shape, **args)


@RULES("Shape")
def shape(g: Emitter, n: Node) -> None:
    """Shape, or some of its dimensions."""
    x = n.input(0)
    if not n.has("start") and not n.has("end"):
        g.emit("Shape", x, out=n.out)
        return
    rank = g.rank(x)
    axes = list(range(rank))[n.int("start", 0) : n.int("end", rank)]
    if axes:
        g.emit("Shape", x, out=n.out, axes=axes)
    else:
        g.add_weight(n.out, np.zeros(0, np.int64))


@RULES("Size")
def size(g: Emitter, n: Node) -> None:
    """Size."""
    g.emit("Size", n.input(0), out=n.out)


@RULES("Reshape")
def reshape(g: Emitter, n: Node) -> None:
    """Reshape; its shape is an argument where it is constant."""
    x = n.input(0)
    if n.opset < 5:
        g.reshape(x, n.ints("shape") or [], out=n.out)
        return
    if g.constant(n.input(1)) is None:
        if n.int("allowzero"):
            n.fail("allowzero with a shape that is computed")
        g.emit_all("Reshape", [x, n.input(1)], [n.out, g.fresh("old_shape")])
        return
    wanted = g.int_list(n.input(1), "the shape")
    if n.int("allowzero") and 0 in wanted:
        if -1 in wanted:
            n.fail("both 0 and -1 in the shape, with allowzero")
        if 0 not in g.shape(x):
            n.fail("a shape without elements for a blob that has some")
        g.add_weight(n.out, np.zeros(wanted, g.dtype(x)))
        return
    if wanted:
        g.reshape(x, wanted, out=n.out)
    else:
        g.emit_all("Reshape", [x, n.input(1)], [n.out, g.fresh("old_shape")])


@RULES("Flatten")
def flatten(g: Emitter, n: Node) -> None:
    """Flatten."""
    axis = n.int("axis", 1)
    if axis < 0:
        axis = g.axis(n.input(0), axis)
    g.emit("Flatten", n.input(0), out=n.out, axis=axis)


def _axes(g: Emitter, n: Node) -> list[int] | None:
    if n.opset < 13:
        return n.ints("axes")
    name = n.maybe_input(1)
    return None if name is None else g.int_list(name, "the list of axes")


@RULES("Squeeze")
def squeeze(g: Emitter, n: Node) -> None:
    """Squeeze; without axes all that have one element."""
    x, axes = n.input(0), _axes(g, n)
    dims = [k for k, dim in enumerate(g.shape(x)) if dim == 1] if axes is None else g.axes(x, axes)
    if dims:
        g.emit("Squeeze", x, out=n.out, dims=dims)
    else:
        g.alias(x, n.out)


@RULES("Unsqueeze")
def unsqueeze(g: Emitter, n: Node) -> None:
    """ExpandDims; axes count among those of the result."""
    x, axes = n.input(0), _axes(g, n)
    if axes is None:
        n.fail("it names no axes")
    if any(axis < 0 for axis in axes):
        rank = g.rank(x) + len(axes)
        axes = [axis + rank if axis < 0 else axis for axis in axes]
    if axes:
        g.emit("ExpandDims", x, out=n.out, dims=sorted(axes))
    else:
        g.alias(x, n.out)


@RULES("Transpose")
def transpose(g: Emitter, n: Node) -> None:
    """Transpose."""
    g.emit("Transpose", n.input(0), out=n.out, axes=n.ints("perm"))


@RULES("Concat")
def concat(g: Emitter, n: Node) -> None:
    """Concat."""
    names = n.all_inputs()
    axis = n.int("axis", 1)
    if axis < 0:
        axis = g.axis(names[0], axis)
    g.concat(names, axis, out=n.out)


@RULES("Split")
def split(g: Emitter, n: Node) -> None:
    """Split, with its widths as an argument."""
    x = n.input(0)
    axis = g.axis(x, n.int("axis", 0)) if n.int("axis", 0) < 0 else n.int("axis", 0)
    widths: list[int] | None = None
    if n.opset >= 13 and n.maybe_input(1) is not None:
        widths = g.int_list(n.input(1), "the list of widths")
    elif n.opset < 13:
        widths = n.ints("split")
    count = len(n.outputs)
    if widths is None:
        whole = g.size(x, axis)
        width = -(-whole // count)
        widths = [max(0, min(width, whole - k * width)) for k in range(count)]
    outputs = [name or g.fresh("unused") for name in n.outputs]
    g.emit_all("Split", [x], outputs, axis=axis, split=widths)


@RULES("Slice")
def slice_(g: Emitter, n: Node) -> None:
    """Slice with steps of 1; with others Gather at constant places."""
    x = n.input(0)
    if n.opset < 10:
        starts, ends, axes = n.ints("starts") or [], n.ints("ends") or [], n.ints("axes")
        steps = [1] * len(starts)
    elif _computed_slice(g, n):
        return
    else:
        starts = g.int_list(n.input(1), "the list of starts")
        ends = g.int_list(n.input(2), "the list of ends")
        names = n.maybe_input(3), n.maybe_input(4)
        axes = None if names[0] is None else g.int_list(names[0], "the list of axes")
        steps = [1] * len(starts) if names[1] is None else g.int_list(names[1], "the steps")
    axes = list(range(len(starts))) if axes is None else axes
    if not len(starts) == len(ends) == len(axes) == len(steps):
        n.fail("its lists have several lengths")
    made = x
    for start, end, axis, step in zip(starts, ends, axes, steps, strict=True):
        made = _sliced(g, made, start, end, g.axis(x, axis), step)
    g.alias(made, n.out)


def _computed_slice(g: Emitter, n: Node) -> bool:
    """Slice whose places are computed: those of the first axes, in steps of 1."""
    x, places = n.input(0), (n.input(1), n.input(2))
    if all(g.constant(name) is not None for name in places):
        return False
    known = [None if name is None else g.constant(name) for name in n.inputs[3:5]]
    axes, steps = [*known, None, None][:2]
    if (len(n.inputs) > 3 and axes is None) or (len(n.inputs) > 4 and steps is None):
        return False
    count = g.type(n.input(1)).full_shape
    if count is None or (steps is not None and (steps != 1).any()):
        return False
    wanted = list(range(count[0])) if axes is None else [g.axis(x, int(a)) for a in axes]
    if wanted != list(range(len(wanted))):
        return False
    moved = []
    for name in places:  # Caffe2 counts from behind the last element
        wide = g.cast(name, np.int64)
        zero = g.const(0, np.int64)
        behind = g.emit("Sub", wide, g.const(1, np.int64))
        moved.append(g.where(g.emit("LT", wide, zero), behind, wide))
    g.emit("Slice", x, *moved, out=n.out)
    return True


def _sliced(g: Emitter, x: str, start: int, end: int, axis: int, step: int) -> str:
    """One axis cut as Python does it."""
    if step != 1:
        return g.take(x, np.arange(g.size(x, axis))[start:end:step], axis)
    rank = g.rank(x)
    shape = g.type(x).shape
    size = None if shape is None else shape[axis]
    if size is not None:
        start, end, _ = slice(start, end).indices(size)
        end = max(start, end)
    elif start < 0 or end < 0:  # Caffe2 counts from behind the last element
        start, end = (v - 1 if v < 0 else v for v in (start, end))
    limit = 2**31 - 1
    starts, ends = [0] * rank, [-1] * rank
    starts[axis] = max(-limit, min(start, limit))
    ends[axis] = -1 if end > limit else max(-limit, end)
    return g.emit("Slice", x, starts=starts, ends=ends)


@RULES("Expand")
def expand(g: Emitter, n: Node) -> None:
    """Expand."""
    g.emit("Expand", n.input(0), n.input(1), out=n.out)


@RULES("Tile")
def tile(g: Emitter, n: Node) -> None:
    """NumpyTile; in the first version Tile along one axis."""
    if n.opset < 6:
        (tiles,) = g.int_list(n.input(1), "the number of copies")
        (axis,) = g.int_list(n.input(2), "the axis")
        g.emit("Tile", n.input(0), out=n.out, tiles=tiles, axis=axis)
        return
    g.emit("NumpyTile", n.input(0), n.input(1), out=n.out)


@RULES("DepthToSpace")
def depth_to_space(g: Emitter, n: Node) -> None:
    """Channels to blocks of pixels, by reordering axes."""
    x, b = n.input(0), n.int("blocksize")
    count, channels, height, width = g.shape(x)
    deep = channels // (b * b)
    if n.text("mode", "DCR") == "DCR":
        parts, order = [count, b, b, deep, height, width], [0, 3, 4, 1, 5, 2]
    else:
        parts, order = [count, deep, b, b, height, width], [0, 1, 4, 2, 5, 3]
    made = g.transpose(g.reshape(x, parts), order)
    g.reshape(made, [count, deep, height * b, width * b], out=n.out)


@RULES("SpaceToDepth")
def space_to_depth(g: Emitter, n: Node) -> None:
    """Blocks of pixels to channels, by reordering axes."""
    x, b = n.input(0), n.int("blocksize")
    if n.text("mode", "DCR") != "DCR":
        n.fail("mode CRD")
    count, channels, height, width = g.shape(x)
    cut = g.reshape(x, [count, channels, height // b, b, width // b, b])
    made = g.transpose(cut, [0, 3, 5, 1, 2, 4])
    g.reshape(made, [count, channels * b * b, height // b, width // b], out=n.out)


@RULES("Pad")
def pad(g: Emitter, n: Node) -> None:
    """PadImage where it is one, else axis by axis: Concat with a constant, or Gather."""
    x = n.input(0)
    rank, mode = g.rank(x), n.text("mode", "constant")
    if n.opset < 11:
        pads = n.ints("pads") or n.ints("paddings") or []
        value: float = n.float("value")
    else:
        pads = g.int_list(n.input(1), "the list of pads")
        name = n.maybe_input(2)
        value = 0.0
        if name is not None:
            value = g.require_constant(name, "the value").reshape(-1)[0].item()
    chosen = n.maybe_input(3)
    axes = list(range(rank)) if chosen is None else [
        g.axis(x, a) for a in g.int_list(chosen, "the axes")
    ]  # fmt: skip
    if len(pads) != 2 * len(axes):
        n.fail(f"{len(pads)} pads for {len(axes)} axes")
    before, after = [0] * rank, [0] * rank
    for k, axis in enumerate(axes):
        before[axis], after[axis] = pads[k], pads[k + len(axes)]
    if _is_image(g, x, before, after, mode):
        sides = [*before[2:], *after[2:]]
        g.emit("PadImage", x, out=n.out, mode=mode, value=float(value), pads=sides)
        return
    made = x
    for axis in range(rank):
        made = _padded(g, n, made, axis, (before[axis], after[axis]), mode, value)
    g.alias(made, n.out)


def _is_image(g: Emitter, x: str, before: list[int], after: list[int], mode: str) -> bool:
    plain = len(before) == 4 and not any((*before[:2], *after[:2]))
    sizes = [*before, *after]
    fits = mode in ("constant", "edge", "reflect") and min(sizes) >= 0
    if mode == "reflect" and plain:
        shape = g.type(x).full_shape
        fits = shape is not None and all(max(before[k], after[k]) < shape[k] for k in range(2, 4))
    return plain and fits and g.dtype(x) == np.float32


def _padded(
    g: Emitter, n: Node, x: str, axis: int, sides: tuple[int, int], mode: str, value: float
) -> str:
    first, last = sides
    if first < 0 or last < 0:
        end = g.size(x, axis) + min(last, 0)
        x = _sliced(g, x, max(-first, 0), end, axis, 1)
        first, last = max(first, 0), max(last, 0)
    if not first and not last:
        return x
    if mode != "constant":
        if mode not in ("edge", "reflect", "wrap"):
            n.fail(f"mode '{mode}'")
        room = np.arange(g.size(x, axis))
        checked_numel((first + last + room.size,), 8)
        # numpy's stubs want the name of the mode as a literal
        padded = np.pad(room, (first, last), mode=mode)  # type: ignore[call-overload]
        return g.take(x, padded, axis)
    shape = list(g.shape(x))
    parts = []
    for width in (first, last):
        shape[axis] = width
        number = number_from_dtype(g.dtype(x))
        parts.append(
            g.emit("ConstantFill", shape=shape, value=value, dtype=number) if width else ""
        )
    return g.concat([name for name in (parts[0], x, parts[1]) if name], axis)


@RULES("EyeLike")
def eye_like(g: Emitter, n: Node) -> None:
    """A constant, since the shape is."""
    rows, columns = g.shape(n.input(0))
    dtype = dtype_of(n.int("dtype")) if n.has("dtype") else g.dtype(n.input(0))
    _require_small(n, (rows, columns))
    g.add_weight(n.out, np.eye(rows, columns, n.int("k"), dtype))


@RULES("Trilu")
def trilu(g: Emitter, n: Node) -> None:
    """Where, with the triangle as a constant."""
    x, name = n.input(0), n.maybe_input(1)
    k = 0 if name is None else g.int_list(name, "the diagonal")[0]
    rows, columns = g.size(x, -2), g.size(x, -1)
    _require_small(n, (rows, columns))
    triangle = np.triu if n.int("upper", 1) else np.tril
    kept = g.const(triangle(np.ones((rows, columns), np.bool_), k))
    g.where(kept, x, g.scalar(0, x), out=n.out)


def _require_small(n: Node, shape: Sequence[int]) -> None:
    if checked_numel(tuple(shape)) > _MOST_ELEMENTS:
        n.fail(f"a constant of shape {tuple(shape)}")


@RULES("Range")
def range_(g: Emitter, n: Node) -> None:
    """Range, whose inputs have one element."""
    g.emit("Range", n.input(0), n.input(1), n.input(2), out=n.out)


@RULES("Dropout")
def dropout(g: Emitter, n: Node) -> None:
    """Nothing, or in training Dropout."""
    x, ratio, training = n.input(0), n.float("ratio", 0.5), False
    if n.opset < 7:
        training = not n.int("is_test")
    elif n.opset >= 12:
        names = n.maybe_input(1), n.maybe_input(2)
        if names[0] is not None:
            ratio = float(g.require_constant(names[0], "the ratio").reshape(-1)[0])
        if names[1] is not None:
            training = bool(g.require_constant(names[1], "the mode").reshape(-1)[0])
    if not training or ratio == 0:
        g.alias(x, n.out)
        if n.has_output(1):
            kept = {"value": True, "dtype": number_from_dtype(np.dtype(np.bool_))}
            g.emit("ConstantFill", x, out=n.outputs[1], **kept)
        return
    mask = n.outputs[1] if n.has_output(1) else g.fresh("mask")
    g.emit_all("Dropout", [x], [n.out, mask], ratio=ratio, is_test=0)
