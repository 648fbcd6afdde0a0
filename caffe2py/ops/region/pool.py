"""Regions of images, pooled by maximum, or by the mean over a channel for each bin."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from caffe2py.errors import ArgumentError, ShapeError
from caffe2py.kernels.elementwise import FLOATS
from caffe2py.kernels.regions import (
    launch_largest,
    launch_largest_gradient,
    launch_sensitive,
    launch_sensitive_gradient,
)
from caffe2py.ops.region.common import REGION_ARGS, explain_region
from caffe2py.registry.context import Call, Launch
from caffe2py.registry.infer import Query, require_dtype, require_rank, require_same_dtype
from caffe2py.registry.operator import operator
from caffe2py.registry.schema import Arg
from caffe2py.tensor.types import TensorType, shape_text

INT32 = np.dtype(np.int32)
Dims = tuple[int | None, ...]

POOL_ARGS = {name: REGION_ARGS[name] for name in ("spatial_scale", "pooled_h", "pooled_w")}
ORDER = {"order": Arg(str, "NCHW", "must be NCHW: the channels are the second axis")}


def _regions(query: Query) -> int | None:
    """The number of regions; errors for inputs of other shapes and types."""
    if not (query.args.spatial_scale > 0 and math.isfinite(query.args.spatial_scale)):
        raise ArgumentError(f"spatial_scale must be above 0, found {query.args.spatial_scale}")
    require_dtype(query, 0, *FLOATS)
    require_same_dtype(query, 0, 1)
    require_rank(query, 0, 4)
    require_rank(query, 1, 2)
    rois = query.inputs[1].shape
    if rois is not None and rois[1] not in (5, None):
        raise ShapeError(f"input 1 '{query.name(1)}' must have 5 columns, found {shape_text(rois)}")
    return None if rois is None else rois[0]


def _pooled(query: Query) -> Dims:
    """The shape of Y."""
    regions = _regions(query)
    args = query.args
    if getattr(args, "order", "NCHW").upper() != "NCHW":
        raise ArgumentError(f"order must be NCHW, found '{args.order}'")
    if min(args.pooled_h, args.pooled_w) < 1:
        raise ArgumentError(
            f"pooled_h and pooled_w must be at least 1, found {args.pooled_h} and {args.pooled_w}"
        )
    x = query.inputs[0].shape
    return (regions, None if x is None else x[1], args.pooled_h, args.pooled_w)


def _require(query: Query, index: int, wanted: Dims) -> None:
    found = query.inputs[index].shape
    if found is not None and (
        len(found) != len(wanted)
        or any(None not in (a, b) and a != b for a, b in zip(found, wanted, strict=True))
    ):
        raise ShapeError(
            f"input {index} '{query.name(index)}' must be {shape_text(wanted)}, "
            f"found {shape_text(found)}"
        )


def _infer_gradient(query: Query, shape: Dims) -> Sequence[TensorType]:
    require_dtype(query, 2, "int32")
    require_same_dtype(query, 0, 3)
    _require(query, 2, shape)
    _require(query, 3, shape)
    return [query.inputs[0]]


# ---------------------------------------------------------------- RoIPool


def _infer_largest(query: Query) -> Sequence[TensorType]:
    types = [TensorType(query.inputs[0].dtype, _pooled(query)), TensorType(INT32, _pooled(query))]
    test = bool(getattr(query.args, "is_test", 0))
    if query.outputs != 2 - test:
        raise ShapeError(
            f"with is_test={int(test)} there are {2 - test} output(s), found {query.outputs}"
        )
    return types[: query.outputs]


def _launch_largest(call: Call) -> Launch:
    x, boxes = call.inputs
    y, *rest = call.outputs
    places = rest[0] if rest else call.scratch(y.shape, np.int32)
    return launch_largest(x, boxes, call.args.spatial_scale, y, places, explain_region)


def _launch_largest_gradient(call: Call) -> Launch:
    _, boxes, places, dy = call.inputs
    return launch_largest_gradient(boxes, places, dy, call.outputs[0], explain_region)


_DOC = """
Y[r, c, i, j] = the largest element of X's channel c in bin (i, j) of region r.

A row of RoIs is the number of an image, left, top, right, bottom; the corners are multiplied by
spatial_scale and rounded, and belong to the region. It is cut into pooled_h x pooled_w bins that
may share pixels at their edges. A bin outside of the image is 0. `argmaxes` (int32) holds the place
of the largest element, the first one if there are several, as row * width + column, or -1.
"""
_EXAMPLE = """
X = [[[[0, 1], [2, 3]]]]; RoIs = [[0, 0, 0, 1, 1]]
Y = [[[[3]]]], argmaxes = [[[[3]]]]
"""
_GRADIENT_DOC = """
DX = dY at the places that `argmaxes` names, added where several bins have one, 0 elsewhere. RoIs
gives the image of each region. (Caffe2 has no such operator on the CPU.)
"""

for _name, _signature, _more in (
    ("RoIPool", "X, rois -> Y, argmaxes?", {"is_test": Arg(int, 0, "1: Y is the only output")}),
    ("RoIPoolF", "X, RoIs -> Y, argmaxes", {}),
):
    _rois = "rois" if _more else "RoIs"
    operator(
        _name,
        _signature,
        infer=_infer_largest,
        gradient=f"{_name}Gradient(X.shape, {_rois}, argmaxes, dY) -> dX",
        doc=_DOC,
        example=_EXAMPLE,
        arguments={**POOL_ARGS, **(ORDER if _more else {}), **_more},
    ).everywhere(_launch_largest)
    operator(
        f"{_name}Gradient",
        "X, RoIs, argmaxes, dY -> dX",
        infer=lambda query: _infer_gradient(query, _pooled(query)),
        doc=_GRADIENT_DOC,
        arguments={**POOL_ARGS, **(ORDER if _more else {})},
    ).everywhere(_launch_largest_gradient)


# ---------------------------------------------------------------- PSRoIPool

SENSITIVE_ARGS = {
    "spatial_scale": REGION_ARGS["spatial_scale"],
    "group_size": Arg(int, 1, "rows and columns of bins"),
    "output_dim": Arg(int, 1, "channels of Y"),
}


def _sensitive_shape(query: Query) -> Dims:
    regions = _regions(query)
    group, outputs = query.args.group_size, query.args.output_dim
    if min(group, outputs) < 1:
        raise ArgumentError(
            f"group_size and output_dim must be at least 1, found {group} and {outputs}"
        )
    x = query.inputs[0].shape
    if x is not None and x[1] not in (outputs * group * group, None):
        raise ShapeError(
            f"X must have {outputs * group * group} channels, found {shape_text(x)}: output_dim "
            "for each of group_size * group_size bins"
        )
    return (regions, outputs, group, group)


def _infer_sensitive(query: Query) -> Sequence[TensorType]:
    shape = _sensitive_shape(query)
    return [TensorType(query.inputs[0].dtype, shape), TensorType(INT32, shape)]


sensitive = operator(
    "PSRoIPool",
    "X, RoIs -> Y, argmaxes",
    infer=_infer_sensitive,
    gradient="PSRoIPoolGradient(X.shape, RoIs, argmaxes, dY) -> dX",
    doc="""
    Y[r, c, i, j] = the mean of X's channel (c * group_size + i) * group_size + j over bin (i, j) of
    region r: each bin looks at a channel of its own. 0 where a bin lies outside of the image.

    A row of RoIs is the number of an image, left, top, right, bottom; the corners are rounded, the
    right and bottom ones moved by one, and all multiplied by spatial_scale. `argmaxes` (int32) are
    the numbers of the channels.
    """,
    example="""
    X = [[[[0, 1], [2, 3]]]]; RoIs = [[0, 0, 0, 1, 1]]
    Y = [[[[1.5]]]], argmaxes = [[[[0]]]]
    """,
    arguments=SENSITIVE_ARGS,
)


@sensitive.everywhere
def _launch_sensitive(call: Call) -> Launch:
    x, boxes = call.inputs
    y, channels = call.outputs
    return launch_sensitive(x, boxes, call.args.spatial_scale, y, channels, explain_region)


sensitive_gradient = operator(
    "PSRoIPoolGradient",
    "X, RoIs, argmaxes, dY -> dX",
    infer=lambda query: _infer_gradient(query, _sensitive_shape(query)),
    doc="DX = for each pixel the sum of dY / area over the bins whose means it takes part in.",
    arguments=SENSITIVE_ARGS,
)


@sensitive_gradient.everywhere
def _launch_sensitive_gradient(call: Call) -> Launch:
    boxes, dy = call.inputs[1], call.inputs[3]
    scale = call.args.spatial_scale
    return launch_sensitive_gradient(dy, boxes, scale, call.outputs[0], explain_region)
