"""Pooling: maximum, mean and norm over sliding windows."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from caffe2py.errors import ArgumentError, ShapeError
from caffe2py.kernels.elementwise import FLOATS
from caffe2py.kernels.pool import Pool
from caffe2py.kernels.window import (
    WINDOW_ARGS,
    Dims,
    Window,
    channels_last,
    join_image,
    split_image,
)
from caffe2py.kernels.window_pool import WindowPool
from caffe2py.registry.context import Call, Launch
from caffe2py.registry.infer import (
    Query,
    require_dtype,
    require_same_dtype,
    require_same_shape,
)
from caffe2py.registry.operator import Operator, operator
from caffe2py.registry.schema import Arg, Args
from caffe2py.tensor.types import Shape, TensorType, shape_text

COUNT_INCLUDE_PAD = {
    "count_include_pad": Arg(bool, False, "divide by the window's size, padding included")
}

#: Caffe2 has one operator under four names; none of them minds how many axes an image has.
DIMENSIONS = ("", "1D", "2D", "3D")


def _window(args: Args, rank: int) -> Window:
    """The window of the arguments; ArgumentError for what pooling does not do."""
    window = Window.read(args, rank)
    if max(window.dilation) > 1:
        raise ArgumentError(f"pooling has no dilation, found {shape_text(window.dilation)}")
    if not window.whole and any(
        pad >= size for pad, size in zip(window.pads, window.kernel * 2, strict=True)
    ):
        raise ArgumentError(
            f"pads {shape_text(window.pads)} must be smaller than the kernel "
            f"{shape_text(window.kernel)}"
        )
    return window


def _pooled(shape: Dims, args: Args) -> Dims:
    """The shape of Y."""
    last = channels_last(args)
    batch, channels, image = split_image(shape, last)
    return join_image(batch, channels, _window(args, len(image)).out(image), last)


def _infer(query: Query) -> Sequence[TensorType]:
    require_dtype(query, 0, *FLOATS)
    x = query.inputs[0]
    return [x if x.shape is None else x.with_shape(_pooled(x.shape, query.args))]


def _infer_gradient(query: Query) -> Sequence[TensorType]:
    for index in range(3):
        require_dtype(query, index, *FLOATS)
    dtype = require_same_dtype(query, 0, 1, 2)
    found = require_same_shape(query, 1, 2)
    shape = query.inputs[0].shape
    if shape is not None:
        _require_pooled(_pooled(shape, query.args), found)
    return [TensorType(dtype, shape)]


def _require_pooled(expected: Dims, found: Dims | None) -> None:
    if found is None:
        return
    if len(found) != len(expected) or any(
        m is not None and n is not None and m != n for m, n in zip(expected, found, strict=True)
    ):
        raise ShapeError(
            f"'Y' and 'dY' must have the shape that pooling X gives, {shape_text(expected)}, "
            f"found {shape_text(found)}"
        )


def _pool(shape: Shape, args: Args) -> Pool:
    last = channels_last(args)
    return Pool(_window(args, len(shape) - 2), shape, last=last)


def _register(
    name: str, args: dict[str, Arg], doc: str, example: str, gradient_doc: str
) -> list[tuple[Operator, Operator]]:
    """An operator and its gradient under each of the four names."""
    made = []
    for dimension in DIMENSIONS:
        forward = operator(
            f"{name}{dimension}",
            "X -> Y",
            infer=_infer,
            gradient=f"{name}{dimension}Gradient(X, Y, dY) -> dX",
            onnx=name,
            doc=doc,
            example=example,
            arguments=args,
        )
        backward = operator(
            f"{name}{dimension}Gradient",
            "X, Y, dY -> dX",
            infer=_infer_gradient,
            doc=gradient_doc,
            arguments=args,
        )
        made.append((forward, backward))
    return made


# ---------------------------------------------------------------- maximum


def _launch_max(call: Call) -> list[Launch]:
    x = call.inputs[0]
    return _pool(x.shape, call.args).launch_max(call, x, call.outputs[0])


def _launch_max_gradient(call: Call) -> Launch:
    x, y, dy = call.inputs
    return _pool(x.shape, call.args).launch_max_gradient(x, y, dy, call.outputs[0])


for _forward, _backward in _register(
    "MaxPool",
    WINDOW_ARGS,
    doc="""
    Y[o] = max of X over the window at o, for each image and channel; 1 to 3 spatial axes.

    Padding takes no part; pads must be smaller than the kernel. A window that holds a NaN gives
    NaN. A window wholly outside of the image, which legacy_pad 3 makes where the stride is larger
    than the kernel, gives 0. The names with 1D, 2D and 3D take images of any dimension too.
    """,
    example="""
    X = [[[1, 3, 2, 0]]]; kernels = [2], strides = [2]
    Y = [[[3, 2]]]
    """,
    gradient_doc="""
    DX[i] = sum of dY[o] over the windows o around i with Y[o] = X[i]: where several elements are
    the maximum, each of them gets all of dY[o].
    """,
):
    _forward.everywhere(_launch_max)
    _backward.everywhere(_launch_max_gradient)


# ---------------------------------------------------------------- mean


def _launch_average(call: Call) -> list[Launch]:
    x = call.inputs[0]
    include = call.args.count_include_pad
    return _pool(x.shape, call.args).launch_average(call, x, call.outputs[0], include_pad=include)


def _launch_average_gradient(call: Call) -> list[Launch]:
    x, _, dy = call.inputs
    pool, include = _pool(x.shape, call.args), call.args.count_include_pad
    return pool.launch_average_gradient(call, dy, call.outputs[0], include_pad=include)


for _forward, _backward in _register(
    "AveragePool",
    {**WINDOW_ARGS, **COUNT_INCLUDE_PAD},
    doc="""
    Y[o] = mean of X over the window at o, for each image and channel; 1 to 3 spatial axes.

    The mean is over the elements within the image; with count_include_pad over all of the window,
    those outside counting as 0. Pads must be smaller than the kernel. A window wholly outside of
    the image, which legacy_pad 3 makes where the stride is larger than the kernel, gives 0. The
    names with 1D, 2D and 3D take images of any dimension too.
    """,
    example="""
    X = [[[1, 3, 2, 0]]]; kernels = [2], strides = [2]
    Y = [[[2, 1]]]
    """,
    gradient_doc="""
    DX[i] = sum of dY[o] / n[o] over the windows o around i, where n[o] counts the elements that
    the mean at o is over. Y is not read.
    """,
):
    _forward.everywhere(_launch_average)
    _backward.everywhere(_launch_average_gradient)


# ---------------------------------------------------------------- norms


def _window_pool(shape: Shape, args: Args) -> WindowPool:
    return WindowPool(_window(args, len(shape) - 2), shape, last=channels_last(args))


def _check_power(query: Query) -> None:
    if query.args.p == 0 or not math.isfinite(query.args.p):
        raise ArgumentError(f"p must be finite and not 0, found {query.args.p}")


def _infer_norm(query: Query) -> Sequence[TensorType]:
    _check_power(query)
    return _infer(query)


def _infer_norm_gradient(query: Query) -> Sequence[TensorType]:
    _check_power(query)
    return _infer_gradient(query)


NORM_ARGS = {**WINDOW_ARGS, "p": Arg(float, 2.0, "the norm's power")}

norm = operator(
    "LpPool",
    "X -> Y",
    infer=_infer_norm,
    gradient="LpPoolGradient(X, Y, dY) -> dX",
    doc="""
    Y[o] = (sum of |X| ** p over the window at o) ** (1 / p), for each image and channel; 1 to 3
    spatial axes.

    Padding counts as 0; pads must be smaller than the kernel. Any p but 0 and infinity will do.
    """,
    example="""
    X = [[[3, 4, 0, 1]]]; kernels = [2], strides = [2]
    Y = [[[5, 1]]]
    """,
    arguments=NORM_ARGS,
)


@norm.everywhere
def _launch_norm(call: Call) -> Launch:
    x = call.inputs[0]
    return _window_pool(x.shape, call.args).launch_norms(x, call.args.p, call.outputs[0])


norm_gradient = operator(
    "LpPoolGradient",
    "X, Y, dY -> dX",
    infer=_infer_norm_gradient,
    doc="""
    DX[i] = sum of dY[o] * sign(X[i]) * (|X[i]| / Y[o]) ** (p - 1) over the windows o around i, 0
    where X[i] is 0. (Caffe2 gives NaN there for p < 2, and where all of a window is 0.)
    """,
    arguments=NORM_ARGS,
)


@norm_gradient.everywhere
def _launch_norm_gradient(call: Call) -> Launch:
    x, y, dy = call.inputs
    pool = _window_pool(x.shape, call.args)
    return pool.launch_norms_gradient(x, y, dy, call.args.p, call.outputs[0])


# ---------------------------------------------------------------- maximum and where it is


def _infer_indexed(query: Query) -> Sequence[TensorType]:
    (y,) = _infer(query)
    return [y, TensorType(np.dtype(np.int32), y.shape)]


def _infer_indexed_gradient(query: Query) -> Sequence[TensorType]:
    for index in (0, 1):
        require_dtype(query, index, *FLOATS)
    dtype = require_same_dtype(query, 0, 1)
    require_dtype(query, 2, "int32")
    found = require_same_shape(query, 1, 2)
    shape = query.inputs[0].shape
    if shape is not None:
        _require_pooled(_pooled(shape, query.args), found)
    return [TensorType(dtype, shape)]


indexed = operator(
    "MaxPoolWithIndex",
    "X -> Y, Index",
    infer=_infer_indexed,
    gradient="MaxPoolWithIndexGradient(X.shape, dY, Index) -> dX",
    doc="""
    Y[o] = max of X over the window at o, as MaxPool has it; Index[o] (int32) = the place of the
    first largest element in its plane, row * width + column.

    A NaN counts as largest. A window wholly outside of the image gives 0 and -1. Images have 1 to 3
    spatial axes and either order. (Caffe2 has no such operator on the CPU.)
    """,
    example="""
    X = [[[1, 3, 2, 0]]]; kernels = [2], strides = [2]
    Y = [[[3, 2]]], Index = [[[1, 2]]]
    """,
    arguments=WINDOW_ARGS,
)


@indexed.everywhere
def _launch_indexed(call: Call) -> Launch:
    x = call.inputs[0]
    return _window_pool(x.shape, call.args).launch_largest(x, *call.outputs)


indexed_gradient = operator(
    "MaxPoolWithIndexGradient",
    "X, dY, Index -> dX",
    infer=_infer_indexed_gradient,
    doc="""
    DX = dY at the places that Index names, added where several windows have one, 0 elsewhere. Only
    the shape of X is read. Raises ValueRangeError for a place outside of the plane.
    """,
    arguments=WINDOW_ARGS,
)


@indexed_gradient.everywhere
def _launch_indexed_gradient(call: Call) -> list[Launch]:
    x, dy, places = call.inputs
    pool = _window_pool(x.shape, call.args)
    return pool.launch_largest_gradient(dy, places, call.outputs[0])
