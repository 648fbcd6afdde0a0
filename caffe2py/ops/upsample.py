"""Images of another size: interpolated, or with pixels repeated."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from caffe2py.errors import ArgumentError, ShapeError
from caffe2py.kernels.elementwise import FLOATS
from caffe2py.kernels.image import launch_gather_pixels, launch_scatter_pixels
from caffe2py.kernels.resize import launch_stretch, launch_stretch_gradient, nearest_places
from caffe2py.registry.context import Call, Launch
from caffe2py.registry.infer import Query, require_dtype, require_rank, require_same_dtype
from caffe2py.registry.operator import operator
from caffe2py.registry.schema import Arg
from caffe2py.tensor.tensor import Array
from caffe2py.tensor.types import TensorType, shape_text

_LARGEST = 2**31 - 1
Dims = tuple[int | None, ...]


def _check_scale(name: str, scale: float) -> np.float32:
    found = np.float32(scale)
    if not (found > 0 and np.isfinite(found)):
        raise ArgumentError(f"the {name} scale must be above 0, found {found}")
    return found


def _scaled(shape: Dims, scales: Sequence[np.float32]) -> Dims:
    """The last axes times their scales, rounded down."""
    first = len(shape) - len(scales)
    sizes = [
        None if size is None else int(np.float32(size) * scale)
        for size, scale in zip(shape[first:], scales, strict=True)
    ]
    if any(size is not None and size > _LARGEST for size in sizes):
        raise ShapeError(f"the image would be {shape_text(tuple(sizes))}")
    if 0 in shape[first:] and 0 not in sizes:
        raise ShapeError(f"an image without pixels cannot be resized to {shape_text(tuple(sizes))}")
    return (*shape[:first], *sizes)


def _require_same_start(query: Query, dy: int, x: int, axes: int) -> None:
    """DY and X have the same rank and first axes; X has pixels if dY has."""
    a, b = query.inputs[dy].shape, query.inputs[x].shape
    if a is None or b is None:
        return
    pairs = zip(a[: len(a) - axes], b[: len(b) - axes], strict=True) if len(a) == len(b) else None
    if pairs is None or any(None not in pair and pair[0] != pair[1] for pair in pairs):
        raise ShapeError(f"dY {shape_text(a)} and X {shape_text(b)} differ in batch or channels")
    if 0 in b[-axes:] and 0 not in a[-axes:]:
        raise ShapeError("an image without pixels has no gradient with pixels")


def _planes(array: Array) -> Array:
    return array.reshape(math.prod(array.shape[:-2]), *array.shape[-2:])


# ---------------------------------------------------------------- UpsampleBilinear

BILINEAR_ARGS = {
    "width_scale": Arg(float, 1.0, "factor of the width"),
    "height_scale": Arg(float, 1.0, "factor of the height"),
}


def _require_scales(query: Query, index: int) -> None:
    """The arguments are above 0; the input that takes their place holds two numbers."""
    _check_scale("height", query.args.height_scale)
    _check_scale("width", query.args.width_scale)
    if len(query.inputs) > index:
        require_dtype(query, index, "float32")
        require_rank(query, index, 1)
        shape = query.inputs[index].shape
        if shape is not None and shape[0] not in (None, 2):
            raise ShapeError(
                f"input {index} '{query.name(index)}' must hold the scales of height and width, "
                f"found {shape_text(shape)}"
            )


def _infer_bilinear(query: Query) -> Sequence[TensorType]:
    require_dtype(query, 0, *FLOATS)
    require_rank(query, 0, 4)
    _require_scales(query, 1)
    x = query.inputs[0]
    values = (query.args.height_scale, query.args.width_scale)
    if len(query.inputs) > 1:
        given = query.value(1)
        if given is None:
            return [x if x.shape is None else x.with_shape((*x.shape[:2], None, None))]
        values = given[0], given[1]
    scales = [_check_scale(n, v) for n, v in zip(("height", "width"), values, strict=True)]
    return [x if x.shape is None else x.with_shape(_scaled(x.shape, scales))]


def _infer_bilinear_gradient(query: Query) -> Sequence[TensorType]:
    for index in (0, 1):
        require_dtype(query, index, *FLOATS)
        require_rank(query, index, 4)
    dtype = require_same_dtype(query, 0, 1)
    _require_scales(query, 2)
    _require_same_start(query, 0, 1, 2)
    return [TensorType(dtype, query.inputs[1].shape)]


bilinear = operator(
    "UpsampleBilinear",
    "X, scales? -> Y",
    infer=_infer_bilinear,
    gradient="UpsampleBilinearGradient(dY, X.shape, scales) -> dX",
    doc="""
    Y[n, c, i, j] = X[n, c] at row i * (H - 1) / (OH - 1) and column j * (W - 1) / (OW - 1), linear
    between the four pixels around it: the corners of Y are those of X.

    X is (N, C, H, W), OH = H * height_scale and OW = W * width_scale, rounded down. The input
    scales, float32 [height, width], takes the place of the arguments.
    """,
    example="""
    X = [[[[1, 2]]]]; width_scale = 2.5
    Y = [[[[1, 1.25, 1.5, 1.75, 2]]]]
    """,
    arguments=BILINEAR_ARGS,
)


@bilinear.everywhere_dynamic(
    when=lambda op: len(op.input) > 1,
    reads=lambda op: [1] if len(op.input) > 1 else [],
)
def _launch_bilinear(call: Call) -> Launch:
    return launch_stretch(_planes(call.inputs[0]), _planes(call.outputs[0]))


bilinear_gradient = operator(
    "UpsampleBilinearGradient",
    "dY, X, scales? -> dX",
    infer=_infer_bilinear_gradient,
    doc="""
    DX = for each pixel the sum of dY times the pixel's weight in UpsampleBilinear. Only the shape
    of X is read; the scales follow from the shapes.
    """,
    arguments=BILINEAR_ARGS,
)


@bilinear_gradient.everywhere
def _launch_bilinear_gradient(call: Call) -> Launch:
    return launch_stretch_gradient(_planes(call.inputs[0]), _planes(call.outputs[0]))


# ---------------------------------------------------------------- UpsampleNearest

NEAREST_ARGS = {"scale": Arg(int, 2, "how often each pixel is repeated along both axes")}


def _repeated(query: Query) -> Dims | None:
    """The shape of Y."""
    scale = query.args.scale
    if scale < 1:
        raise ArgumentError(f"scale must be at least 1, found {scale}")
    require_dtype(query, 0, *FLOATS)
    require_rank(query, 0, 3, 4)
    shape = query.inputs[0].shape
    if shape is None:
        return None
    sizes = [None if size is None else size * scale for size in shape[-2:]]
    if any(size is not None and size > _LARGEST for size in sizes):
        raise ShapeError(f"the image would be {shape_text(tuple(sizes))}")
    return (*shape[:-2], *sizes)


def _infer_nearest(query: Query) -> Sequence[TensorType]:
    return [TensorType(query.inputs[0].dtype, _repeated(query))]


def _infer_nearest_gradient(query: Query) -> Sequence[TensorType]:
    expected = _repeated(query)
    require_same_dtype(query, 0, 1)
    found = query.inputs[1].shape
    if (
        expected is not None
        and found is not None
        and (
            len(found) != len(expected)
            or any(None not in (a, b) and a != b for a, b in zip(found, expected, strict=True))
        )
    ):
        raise ShapeError(
            f"input 1 '{query.name(1)}' must be {shape_text(expected)}, found {shape_text(found)}"
        )
    return [query.inputs[0]]


nearest = operator(
    "UpsampleNearest",
    "X -> Y",
    infer=_infer_nearest,
    gradient="UpsampleNearestGradient(X.shape, dY) -> dX",
    doc="""
    Y[..., i, j] = X[..., i / scale, j / scale], rounded down: each pixel becomes scale x scale.

    X is (N, C, H, W) or (C, H, W). (Caffe2 has no such operator on the CPU.)
    """,
    example="""
    X = [[[1, 2]]]
    Y = [[[1, 1, 2, 2], [1, 1, 2, 2]]]
    """,
    arguments=NEAREST_ARGS,
)


def _pixels(array: Array) -> Array:
    return array.reshape(math.prod(array.shape[:-2]), *array.shape[-2:], 1)


def _repeats(x: Array, scale: int) -> tuple[Array, Array]:
    height, width = x.shape[-2:]
    return np.arange(height * scale) // scale, np.arange(width * scale) // scale


@nearest.everywhere
def _launch_nearest(call: Call) -> Launch:
    x, y = call.inputs[0], call.outputs[0]
    return launch_gather_pixels(_pixels(x), *_repeats(x, call.args.scale), 0.0, _pixels(y))


nearest_gradient = operator(
    "UpsampleNearestGradient",
    "X, dY -> dX",
    infer=_infer_nearest_gradient,
    doc="DX = for each pixel the sum of dY over all places where UpsampleNearest shows it.",
    arguments=NEAREST_ARGS,
)


@nearest_gradient.everywhere
def _launch_nearest_gradient(call: Call) -> Launch:
    dy, dx = call.inputs[1], call.outputs[0]
    return launch_scatter_pixels(_pixels(dy), *_repeats(dx, call.args.scale), _pixels(dx))


# ---------------------------------------------------------------- ResizeNearest3D

VOLUME_ARGS = {
    "temporal_scale": Arg(float, 1.0, "factor of the number of frames"),
    "height_scale": Arg(float, 1.0, "factor of the height"),
    "width_scale": Arg(float, 1.0, "factor of the width"),
    "order": Arg(str, "NCHW", "must be NCHW: the channels are the second axis"),
}


def _volume_scales(query: Query) -> list[np.float32]:
    args = query.args
    if str(args.order).upper() != "NCHW":
        raise ArgumentError(f"order must be NCHW, found '{args.order}'")
    values = args.temporal_scale, args.height_scale, args.width_scale
    names = "temporal", "height", "width"
    return [_check_scale(name, value) for name, value in zip(names, values, strict=True)]


def _infer_volume(query: Query) -> Sequence[TensorType]:
    require_dtype(query, 0, *FLOATS)
    require_rank(query, 0, 5)
    scales, x = _volume_scales(query), query.inputs[0]
    return [x if x.shape is None else x.with_shape(_scaled(x.shape, scales))]


def _infer_volume_gradient(query: Query) -> Sequence[TensorType]:
    for index in (0, 1):
        require_dtype(query, index, *FLOATS)
        require_rank(query, index, 5)
    dtype = require_same_dtype(query, 0, 1)
    _volume_scales(query)
    _require_same_start(query, 0, 1, 3)
    return [TensorType(dtype, query.inputs[1].shape)]


def _frames(array: Array) -> Array:
    """The rows of all frames one below another."""
    batch, channels, frames, height, width = array.shape
    return array.reshape(batch * channels, frames * height, width, 1)


def _volume_tables(call: Call, x: Array, y: Array) -> tuple[Array, Array]:
    scales = call.args.temporal_scale, call.args.height_scale, call.args.width_scale
    frames, rows, columns = (
        nearest_places(size, np.float32(scale), count)
        for size, scale, count in zip(x.shape[2:], scales, y.shape[2:], strict=True)
    )
    return (frames[:, np.newaxis] * x.shape[3] + rows).reshape(-1), columns


volume = operator(
    "ResizeNearest3D",
    "X -> Y",
    infer=_infer_volume,
    gradient="ResizeNearest3DGradient(dY, X.shape) -> dX",
    doc="""
    Y[n, c, t, i, j] = X[n, c, t / temporal_scale, i / height_scale, j / width_scale], rounded down.

    X is (N, C, frames, H, W); each of the last three axes becomes as long as it was times its
    scale, rounded down. Scales may be any, where Caffe2 wants 2, and 1 or 2 for the frames.
    """,
    example="""
    X = [[[[[1, 2]], [[3, 4]]]]]; temporal_scale = 0.5, height_scale = 2, width_scale = 2
    Y = [[[[[1, 1, 2, 2], [1, 1, 2, 2]]]]]
    """,
    arguments=VOLUME_ARGS,
)


@volume.everywhere
def _launch_volume(call: Call) -> Launch:
    x, y = call.inputs[0], call.outputs[0]
    return launch_gather_pixels(_frames(x), *_volume_tables(call, x, y), 0.0, _frames(y))


volume_gradient = operator(
    "ResizeNearest3DGradient",
    "dY, X -> dX",
    infer=_infer_volume_gradient,
    doc="DX = for each element the sum of dY over all places where ResizeNearest3D shows it.",
    arguments=VOLUME_ARGS,
)


@volume_gradient.everywhere
def _launch_volume_gradient(call: Call) -> Launch:
    dy, dx = call.inputs[0], call.outputs[0]
    return launch_scatter_pixels(_frames(dy), *_volume_tables(call, dx, dy), _frames(dx))
