"""What operators on regions share: arguments, checks, and images with the channels last."""

from __future__ import annotations

import math
from collections.abc import Sequence

from caffe2py.errors import ArgumentError, Error, ShapeError, ValueRangeError
from caffe2py.kernels.copy import launch_transpose
from caffe2py.kernels.elementwise import FLOATS
from caffe2py.kernels.image import NEGATIVE, NO_IMAGE, Dims, image_sizes
from caffe2py.kernels.window import channels_last
from caffe2py.registry.context import Call, Launch
from caffe2py.registry.infer import Query, Rule, require_dtype, require_rank, require_same_dtype
from caffe2py.registry.schema import Arg, Args
from caffe2py.tensor.tensor import Array
from caffe2py.tensor.types import TensorType, shape_text

#: No size and no number of bins may be larger.
_LARGEST = 2**31 - 1

REGION_ARGS = {
    "spatial_scale": Arg(float, 1.0, "pixels of X for one unit of the regions' coordinates"),
    "pooled_h": Arg(int, 1, "rows of bins"),
    "pooled_w": Arg(int, 1, "columns of bins"),
    "sampling_ratio": Arg(
        int, -1, "samples of a bin along each axis; 0 or less: its size in pixels, rounded up"
    ),
    "order": Arg(str, "NCHW", "NCHW: channels are the second axis; NHWC: the last"),
    "aligned": Arg(
        bool, False, "pixel centres are half a pixel off; regions may be smaller than one pixel"
    ),
}


def require_regions(query: Query, *columns: int) -> int | None:
    """The number of regions, which have so many columns: 4 or 5 if nothing is said."""
    columns = columns or (4, 5)
    args = query.args
    if args.pooled_h < 1 or args.pooled_w < 1 or max(args.pooled_h, args.pooled_w) > _LARGEST:
        raise ArgumentError(
            f"pooled_h and pooled_w must be at least 1, found {args.pooled_h} and {args.pooled_w}"
        )
    if args.sampling_ratio > 1 << 16:
        raise ArgumentError(f"sampling_ratio {args.sampling_ratio} is too large")
    if not (args.spatial_scale > 0 and math.isfinite(args.spatial_scale)):
        raise ArgumentError(f"spatial_scale must be above 0, found {args.spatial_scale}")
    require_dtype(query, 1, *FLOATS)
    require_rank(query, 1, 2)
    shape = query.inputs[1].shape
    if shape is not None and shape[1] not in (None, *columns):
        expected = " or ".join(map(str, columns))
        raise ShapeError(
            f"input 1 '{query.name(1)}' must have {expected} columns, found {shape_text(shape)}"
        )
    return None if shape is None else shape[0]


def explain_region(status: int) -> Error:
    """What the status of a loop over regions means."""
    if status == NO_IMAGE:
        return ValueRangeError("a region's first number names no image of X")
    if status == NEGATIVE:
        return ValueRangeError("with aligned a region must not have a negative size")
    return ValueRangeError("a region's coordinates are not finite, or far too large")


def as_last(call: Call, array: Array, launches: list[Launch] | None) -> Array:
    """An image with the channels last: itself, or scratch that is (`launches`) filled from it."""
    if channels_last(call.args):
        return array
    batch, channels, height, width = array.shape
    moved = call.scratch((batch, height, width, channels), array.dtype)
    if launches is not None:
        launches.append(launch_transpose(array, (0, 2, 3, 1), moved))
    return moved


def back_from_last(call: Call, moved: Array, array: Array) -> list[Launch]:
    """The way back from scratch that as_last has made."""
    return [] if moved is array else [launch_transpose(moved, (0, 3, 1, 2), array)]


def region_numbers(args: Args) -> tuple[float, bool, int]:
    """Scale, whether pixel centres are half a pixel off, and samples a bin."""
    return args.spatial_scale, bool(args.aligned), max(args.sampling_ratio, 0)


def infer_align(*columns: int) -> Rule:
    """Y is (regions, channels, bins), for regions of so many columns."""

    def rule(query: Query) -> Sequence[TensorType]:
        regions = require_regions(query, *columns)
        dtype = require_same_dtype(query, 0, 1)
        found = image_sizes(query, 0)
        if found is not None and 0 in found[2] and regions != 0:
            raise ShapeError(f"X must have pixels, found {shape_text(query.inputs[0].shape)}")
        bins: Dims = (query.args.pooled_h, query.args.pooled_w)
        channels = None if found is None else found[1]
        last = channels_last(query.args)
        return [
            TensorType(dtype, (regions, *bins, channels) if last else (regions, channels, *bins))
        ]

    return rule


def infer_align_gradient(*columns: int) -> Rule:
    """DX has the type of X, if dY has that of Y."""

    def rule(query: Query) -> Sequence[TensorType]:
        expected = infer_align(*columns)(query)[0]
        require_same_dtype(query, 0, 1, 2)
        require_rank(query, 2, 4)
        found = query.inputs[2].shape
        if found is not None and expected.shape is not None:
            pairs = zip(found, expected.shape, strict=True)
            if any(a is not None and b is not None and a != b for a, b in pairs):
                raise ShapeError(
                    f"input 2 '{query.name(2)}' must be {shape_text(expected.shape)}, "
                    f"found {shape_text(found)}"
                )
        return [query.inputs[0]]

    return rule
