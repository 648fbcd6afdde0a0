"""Images in another order, size or frame: padding, resizing, shuffled channels."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from caffe2py.errors import ArgumentError, ShapeError
from caffe2py.kernels.copy import launch_transpose
from caffe2py.kernels.image import (
    Dims,
    by_pixel,
    image_sizes,
    launch_gather_pixels,
    launch_scatter_pixels,
)
from caffe2py.kernels.resize import nearest_places
from caffe2py.kernels.window import WINDOW_ARGS, channels_last
from caffe2py.registry.context import Call, Launch
from caffe2py.registry.infer import (
    Query,
    product,
    require_dtype,
    require_same_dtype,
)
from caffe2py.registry.operator import operator
from caffe2py.registry.schema import Arg, Args
from caffe2py.tensor.place import on_host
from caffe2py.tensor.tensor import Array
from caffe2py.tensor.types import TensorType, shape_text

ORDER = Arg(str, "NCHW", "NCHW: channels are the second axis; NHWC: the last")

_LARGEST = 2**31 - 1


def _image_type(query: Query, index: int, size: Dims) -> TensorType:
    """The type of an image input with another height and width."""
    shape = query.inputs[index].shape
    if shape is None:
        return TensorType(query.inputs[index].dtype)
    full = (shape[0], *size, shape[3]) if channels_last(query.args) else (*shape[:2], *size)
    return TensorType(query.inputs[index].dtype, full)


def _sizes(array: Array, last: bool) -> tuple[int, int]:
    return (array.shape[1], array.shape[2]) if last else (array.shape[2], array.shape[3])


# ---------------------------------------------------------------- the order of the axes


def _switched(query: Query) -> Dims | None:
    shape = query.inputs[0].shape
    if shape is not None and len(shape) < 3:
        raise ShapeError(
            f"input 0 '{query.name(0)}' must have at least 3 dimensions, found {shape_text(shape)}"
        )
    return shape


def _infer_to_last(query: Query) -> Sequence[TensorType]:
    shape = _switched(query)
    moved = None if shape is None else (shape[0], *shape[2:], shape[1])
    return [TensorType(query.inputs[0].dtype, moved)]


def _infer_to_first(query: Query) -> Sequence[TensorType]:
    shape = _switched(query)
    moved = None if shape is None else (shape[0], shape[-1], *shape[1:-1])
    return [TensorType(query.inputs[0].dtype, moved)]


_to_last = operator(
    "NCHW2NHWC",
    "data -> output",
    infer=_infer_to_last,
    gradient="NHWC2NCHW(doutput) -> ddata",
    doc="output[n, ..., c] = data[n, c, ...]: the channels become the last axis.",
    example="""
    data of shape (2, 3, 4, 5)
    output of shape (2, 4, 5, 3)
    """,
)


@_to_last.everywhere
def _launch_to_last(call: Call) -> Launch:
    x = call.inputs[0]
    return launch_transpose(x, (0, *range(2, x.ndim), 1), call.outputs[0])


_to_first = operator(
    "NHWC2NCHW",
    "data -> output",
    infer=_infer_to_first,
    gradient="NCHW2NHWC(doutput) -> ddata",
    doc="output[n, c, ...] = data[n, ..., c]: the channels become the second axis.",
    example="""
    data of shape (2, 4, 5, 3)
    output of shape (2, 3, 4, 5)
    """,
)


@_to_first.everywhere
def _launch_to_first(call: Call) -> Launch:
    x = call.inputs[0]
    return launch_transpose(x, (0, x.ndim - 1, *range(1, x.ndim - 1)), call.outputs[0])


# ---------------------------------------------------------------- ChannelShuffle


def _infer_shuffle(query: Query) -> Sequence[TensorType]:
    last = channels_last(query.args)
    group = query.args.group
    if group < 1:
        raise ArgumentError(f"group must be at least 1, found {group}")
    shape = query.inputs[0].shape
    if shape is not None:
        if len(shape) < 2:
            raise ShapeError(
                f"input 0 '{query.name(0)}' must have a batch and a channel axis, "
                f"found {shape_text(shape)}"
            )
        channels = shape[-1] if last else shape[1]
        if channels is not None and channels % group:
            raise ShapeError(f"{channels} channel(s) do not make {group} equal groups")
    return [query.inputs[0]]


def _shuffle(call: Call, back: bool) -> Launch:
    x, y = call.inputs[0], call.outputs[0]
    group = call.args.group
    if channels_last(call.args):
        outer, channels, inner = math.prod(x.shape[:-1]), x.shape[-1], 1
    else:
        outer, channels, inner = x.shape[0], x.shape[1], math.prod(x.shape[2:])
    parts = (channels // group, group) if back else (group, channels // group)
    seen = x.reshape(outer, *parts, inner)
    return launch_transpose(seen, (0, 2, 1, 3), y.reshape(outer, parts[1], parts[0], inner))


_channel_shuffle = operator(
    "ChannelShuffle",
    "X -> Y",
    infer=_infer_shuffle,
    gradient="ChannelShuffleGradient(dY) -> dX",
    onnx="ChannelShuffle",
    doc="""
    Y[:, k * group + g] = X[:, g * (C / group) + k]: the first channels of all groups come first.

    X is (batch, channels, ...), or (batch, ..., channels) with order NHWC. The arguments of a
    window are accepted and have no effect.
    """,
    example="""
    X = [[1, 2, 3, 4, 5, 6]]; group = 2
    Y = [[1, 4, 2, 5, 3, 6]]
    """,
    arguments=WINDOW_ARGS,
)


@_channel_shuffle.everywhere
def _launch_shuffle(call: Call) -> Launch:
    return _shuffle(call, back=False)


_channel_shuffle_gradient = operator(
    "ChannelShuffleGradient",
    "dY -> dX",
    infer=_infer_shuffle,
    doc="DX[:, g * (C / group) + k] = dY[:, k * group + g]: ChannelShuffle undone.",
    arguments=WINDOW_ARGS,
)


@_channel_shuffle_gradient.everywhere
def _launch_shuffle_gradient(call: Call) -> Launch:
    return _shuffle(call, back=True)


# ---------------------------------------------------------------- PadImage

MODE = Arg(
    str,
    "constant",
    "what is outside: constant: `value`; edge: the nearest pixel; reflect: mirrored at the edge",
)


def _pads(args: Args) -> tuple[int, int, int, int]:
    """Top, left, bottom, right; ArgumentError for other arguments of windows that do not fit."""
    if args.mode not in ("constant", "edge", "reflect"):
        raise ArgumentError(f"mode must be constant, edge or reflect, found '{args.mode}'")
    if args.legacy_pad or args.global_pooling:
        raise ArgumentError("padding takes no legacy_pad and no global_pooling, only sizes")
    for name in ("stride", "dilation"):
        values = [getattr(args, f"{name}{part}") for part in ("", "_h", "_w")]
        if any(value != 1 for value in [*values, *getattr(args, f"{name}s")]):
            raise ArgumentError(f"padding has no {name}, found {values}")
    if args.pads:
        if len(args.pads) != 4:
            raise ArgumentError(f"pads must be top, left, bottom, right, found {list(args.pads)}")
        pads = tuple(args.pads)
    elif args.pad:
        pads = (args.pad,) * 4
    else:
        pads = (args.pad_t, args.pad_l, args.pad_b, args.pad_r)
    if max(map(abs, pads)) > _LARGEST:
        raise ArgumentError(f"pads {shape_text(pads)} are too large")
    return pads[0], pads[1], pads[2], pads[3]


def _require_reach(args: Args, size: int | None, begin: int, end: int) -> None:
    """ShapeError where an axis is too short for its pads."""
    if size is None:
        return
    if size < 1 or size + begin + end < 1:
        raise ShapeError(f"an axis of {size} element(s) cannot have pads {begin} and {end}")
    far = max(begin, end)
    if args.mode == "reflect" and far >= size:
        raise ShapeError(f"an axis of {size} element(s) has no mirror image {far} elements long")


def _infer_pad(query: Query) -> Sequence[TensorType]:
    top, left, bottom, right = _pads(query.args)
    found = image_sizes(query, 0)
    if found is None:
        return [TensorType(query.inputs[0].dtype)]
    height, width = found[2]
    _require_reach(query.args, height, top, bottom)
    _require_reach(query.args, width, left, right)
    size = (
        None if height is None else height + top + bottom,
        None if width is None else width + left + right,
    )
    return [_image_type(query, 0, size)]


def _infer_pad_gradient(query: Query) -> Sequence[TensorType]:
    top, left, bottom, right = _pads(query.args)
    found = image_sizes(query, 0)
    if found is None:
        return [TensorType(query.inputs[0].dtype)]
    height, width = found[2]
    size = (
        None if height is None else height - top - bottom,
        None if width is None else width - left - right,
    )
    _require_reach(query.args, size[0], top, bottom)
    _require_reach(query.args, size[1], left, right)
    return [_image_type(query, 0, size)]


def _sources(mode: str, size: int, begin: int, end: int) -> Array:
    """For each place of a padded axis the element that stands there, -1: none."""
    at = np.arange(-begin, size + end)
    if mode == "edge":
        return np.clip(at, 0, size - 1)
    if mode == "reflect":
        at = np.abs(at)
        return np.where(at >= size, 2 * (size - 1) - at, at)
    return np.where((at >= 0) & (at < size), at, -1)


def _pad_tables(args: Args, size: tuple[int, int]) -> tuple[Array, Array]:
    top, left, bottom, right = _pads(args)
    rows, columns = ((size[0], top, bottom), (size[1], left, right))
    return _sources(args.mode, *rows), _sources(args.mode, *columns)


_pad_image = operator(
    "PadImage",
    "X -> Y",
    infer=_infer_pad,
    gradient="PadImageGradient(dY) -> dX",
    doc="""
    Y = X with a frame: rows above and below, columns left and right.

    X is a batch of images in two dimensions, of either order. Negative sizes cut the image. With
    mode reflect a frame must be smaller than the image. Of a window's arguments only the pads have
    an effect.
    """,
    example="""
    X = [[[[1, 2]]]]; pads = [0, 1, 1, 0]; value = 9
    Y = [[[[9, 1, 2], [9, 9, 9]]]]
    """,
    arguments={
        **WINDOW_ARGS,
        "mode": MODE,
        "value": Arg(float, 0.0, "pixels of the frame with mode constant"),
    },
)


@_pad_image.everywhere
def _launch_pad(call: Call) -> Launch:
    last = channels_last(call.args)
    x, y = call.inputs[0], call.outputs[0]
    tables = _pad_tables(call.args, _sizes(x, last))
    return launch_gather_pixels(by_pixel(x, last), *tables, call.args.value, by_pixel(y, last))


_pad_image_gradient = operator(
    "PadImageGradient",
    "dY -> dX",
    infer=_infer_pad_gradient,
    doc="DX = for each pixel the sum of dY over all places where PadImage has put it.",
    arguments={**WINDOW_ARGS, "mode": MODE},
)


@_pad_image_gradient.everywhere
def _launch_pad_gradient(call: Call) -> Launch:
    last = channels_last(call.args)
    dy, dx = call.inputs[0], call.outputs[0]
    tables = _pad_tables(call.args, _sizes(dx, last))
    return launch_scatter_pixels(by_pixel(dy, last), *tables, by_pixel(dx, last))


# ---------------------------------------------------------------- ResizeNearest

SCALES = {
    "width_scale": Arg(float, 1.0, "factor of the width"),
    "height_scale": Arg(float, 1.0, "factor of the height"),
    "order": ORDER,
}


def _scales(args: Args, given: Any) -> tuple[np.float32, np.float32]:
    """Height and width scale, from the arguments or from the input that holds them."""
    values = (args.height_scale, args.width_scale) if given is None else given.reshape(-1)
    height, width = np.float32(values[0]), np.float32(values[1])
    for name, scale in (("height", height), ("width", width)):
        if not (scale > 0 and np.isfinite(scale)):
            raise ArgumentError(f"the {name} scale must be above 0, found {scale}")
    return height, width


def _given_scales(query: Query, index: int) -> tuple[bool, Any]:
    """Whether the scales are an input, and its value where it is known."""
    if len(query.inputs) <= index:
        return False, None
    require_dtype(query, index, "float32")
    shape = query.inputs[index].shape
    if shape is not None and product(shape) not in (None, 2):
        raise ShapeError(
            f"input {index} '{query.name(index)}' must hold the scales of height and width, "
            f"found {shape_text(shape)}"
        )
    return True, query.value(index)


def _infer_resize(query: Query) -> Sequence[TensorType]:
    present, given = _given_scales(query, 1)
    found = image_sizes(query, 0)
    if present and given is None:
        return [_image_type(query, 0, (None, None))]
    scales = _scales(query.args, given)
    if found is None:
        return [TensorType(query.inputs[0].dtype)]
    sizes = [
        None if size is None else int(np.float32(size) * scale)
        for size, scale in zip(found[2], scales, strict=True)
    ]
    if any(size is not None and size > _LARGEST for size in sizes):
        raise ShapeError(f"the image would be {sizes[0]} x {sizes[1]}")
    if 0 in found[2] and not all(size == 0 for size in sizes):
        raise ShapeError(f"an image without pixels cannot be resized to {shape_text(tuple(sizes))}")
    return [_image_type(query, 0, tuple(sizes))]


def _from_input(index: int) -> dict[str, Any]:
    """A dynamic implementation where the scales are an input."""
    return {
        "when": lambda op: len(op.input) > index,
        "reads": lambda op: [index] if len(op.input) > index else [],
    }


_resize = operator(
    "ResizeNearest",
    "X, scales? -> Y",
    infer=_infer_resize,
    gradient="ResizeNearestGradient(dY, X.shape, scales) -> dX",
    onnx="Upsample",
    doc="""
    Y[n, c, i, j] = X[n, c, i / height_scale, j / width_scale], rounded down.

    Y's height is that of X times height_scale, rounded down; so its width. The input scales,
    float32 [height, width], takes the place of the arguments.
    """,
    example="""
    X = [[[[1, 2]]]]; width_scale = 2
    Y = [[[[1, 1, 2, 2]]]]
    """,
    arguments=SCALES,
)


def _resize_tables(
    call: Call, index: int, x: tuple[int, int], y: tuple[int, int]
) -> tuple[Array, Array]:
    given = call.inputs[index] if len(call.inputs) > index else None
    height, width = _scales(call.args, None if given is None else on_host(given))
    return nearest_places(x[0], height, y[0]), nearest_places(x[1], width, y[1])


@_resize.everywhere_dynamic(**_from_input(1))
def _launch_resize(call: Call) -> Launch:
    last = channels_last(call.args)
    x, y = call.inputs[0], call.outputs[0]
    tables = _resize_tables(call, 1, _sizes(x, last), _sizes(y, last))
    return launch_gather_pixels(by_pixel(x, last), *tables, 0.0, by_pixel(y, last))


def _infer_resize_gradient(query: Query) -> Sequence[TensorType]:
    present, given = _given_scales(query, 2)
    if not present or given is not None:
        _scales(query.args, given)
    dtype = require_same_dtype(query, 0, 1)
    dy, x = image_sizes(query, 0), image_sizes(query, 1)
    if dy is not None and x is not None:
        for found, expected in zip(dy[:2], x[:2], strict=True):
            if None not in (found, expected) and found != expected:
                raise ShapeError(
                    f"dY {shape_text(query.inputs[0].shape)} and "
                    f"X {shape_text(query.inputs[1].shape)} differ in batch or channels"
                )
        if 0 in x[2] and 0 not in dy[2]:
            raise ShapeError("an image without pixels has no gradient with pixels")
    return [TensorType(dtype, query.inputs[1].shape)]


_resize_gradient = operator(
    "ResizeNearestGradient",
    "dY, X, scales? -> dX",
    infer=_infer_resize_gradient,
    doc="DX = for each pixel the sum of dY over all places where ResizeNearest shows it.",
    arguments=SCALES,
)


@_resize_gradient.everywhere_dynamic(**_from_input(2))
def _launch_resize_gradient(call: Call) -> Launch:
    last = channels_last(call.args)
    dy, dx = call.inputs[0], call.outputs[0]
    tables = _resize_tables(call, 2, _sizes(dx, last), _sizes(dy, last))
    return launch_scatter_pixels(by_pixel(dy, last), *tables, by_pixel(dx, last))
