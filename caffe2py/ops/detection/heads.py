"""What stands at the end of a detection net: probabilities of classes, and key points."""

from __future__ import annotations

import math
from collections.abc import Sequence

from caffe2py.errors import ArgumentError, ShapeError
from caffe2py.kernels.elementwise import FLOATS
from caffe2py.kernels.heads import (
    launch_best_places,
    launch_middle_softmax,
    launch_middle_softmax_gradient,
)
from caffe2py.ops.detection.common import NO_GRADIENT, require_rows
from caffe2py.registry.context import Call, Launch
from caffe2py.registry.gradient import NotDifferentiable
from caffe2py.registry.infer import (
    Query,
    require_dtype,
    require_rank,
    require_same_dtype,
    require_same_shape,
)
from caffe2py.registry.operator import operator
from caffe2py.registry.schema import Arg
from caffe2py.tensor.tensor import Array
from caffe2py.tensor.types import TensorType, shape_text

# ---------------------------------------------------------------- GroupSpatialSoftmax

GROUP_ARGS = {
    "num_classes": Arg(int, 81, "neighbouring channels that share a softmax"),
    "order": Arg(str, "NCHW", "must be NCHW: the channels are the second axis"),
}


def _infer_group(query: Query) -> Sequence[TensorType]:
    classes = query.args.num_classes
    if classes < 1:
        raise ArgumentError(f"num_classes must be at least 1, found {classes}")
    if str(query.args.order).upper() != "NCHW":
        raise ArgumentError(f"order must be NCHW, found '{query.args.order}'")
    indices = range(len(query.inputs))
    for index in indices:
        require_dtype(query, index, *FLOATS)
        require_rank(query, index, 4)
    dtype, shape = require_same_dtype(query, *indices), require_same_shape(query, *indices)
    if shape is not None and shape[1] is not None and shape[1] % classes:
        raise ShapeError(f"{shape[1]} channel(s) do not make groups of {classes}")
    return [TensorType(dtype, shape)]


def _groups(x: Array, classes: int) -> Array:
    batch, channels, height, width = x.shape
    return x.reshape(batch * (channels // classes), classes, height * width)


softmax = operator(
    "GroupSpatialSoftmax",
    "scores -> probabilities",
    infer=_infer_group,
    gradient="GroupSpatialSoftmaxGradient(probabilities, dprobabilities) -> dscores",
    doc="""
    probabilities = softmax of scores over each group of num_classes neighbouring channels, at each
    pixel. Scores are (N, groups * num_classes, H, W). (Caffe2 has no such operator on the CPU.)
    """,
    example="""
    scores = [[[[0]], [[0]], [[5]], [[5]]]]; num_classes = 2
    probabilities = [[[[0.5]], [[0.5]], [[0.5]], [[0.5]]]]
    """,
    arguments=GROUP_ARGS,
)


@softmax.everywhere
def _launch_softmax(call: Call) -> Launch:
    x, y = (_groups(a, call.args.num_classes) for a in (call.inputs[0], call.outputs[0]))
    return launch_middle_softmax(call, x, y)


softmax_gradient = operator(
    "GroupSpatialSoftmaxGradient",
    "scores, d_probabilities -> d_scores",
    infer=_infer_group,
    doc="""
    d_scores = p * (d_probabilities - sum of p * d_probabilities over the group), where p, the input
    called scores, are the probabilities.
    """,
    arguments=GROUP_ARGS,
)


@softmax_gradient.everywhere
def _launch_softmax_gradient(call: Call) -> Launch:
    arrays = (*call.inputs, call.outputs[0])
    y, dy, dx = (_groups(a, call.args.num_classes) for a in arrays)
    return launch_middle_softmax_gradient(call, y, dy, dx)


# ---------------------------------------------------------------- HeatmapMaxKeypoint


def _infer_keypoint(query: Query) -> Sequence[TensorType]:
    for index, rank in ((0, 4), (1, 2)):
        require_dtype(query, index, *FLOATS)
        require_rank(query, index, rank)
    dtype, rows = require_same_dtype(query, 0, 1), require_rows(query, 0, 1)
    maps, boxes = query.inputs[0].shape, query.inputs[1].shape
    if boxes is not None and boxes[1] is not None and boxes[1] < 4:
        raise ShapeError(f"boxes must have 4 columns, found {shape_text(boxes)}")
    sizes = () if maps is None else maps[2:]
    if any(s is not None and s < 2 for s in sizes) or len({s for s in sizes if s is not None}) > 1:
        raise ShapeError(f"heat maps must be square, 2 x 2 or larger, found {shape_text(maps)}")
    if maps is not None and math.prod(s or 1 for s in sizes) >= 2**31:
        raise ShapeError(f"heat maps are too large: {shape_text(maps)}")
    return [TensorType(dtype, (rows, 4, None if maps is None else maps[1]))]


keypoint = operator(
    "HeatmapMaxKeypoint",
    "heatmaps, boxes -> keypoints",
    infer=_infer_keypoint,
    gradient=NotDifferentiable(NO_GRADIENT),
    doc="""
    keypoints[r, :, k] = x, y, score and probability of the best place of heat map (r, k) in box r.

    heatmaps are (R, K, size, size), boxes (R, 4): left, top, right, bottom, taken to be at least 1
    wide and high; columns after the fourth have no meaning. The largest element and its neighbours
    (mirrored at the edge) are taken for a parabola a(u, v) in two dimensions; its extremum, at most
    1.5 elements away, gives the place, left + (column + u + 0.5) * width / size and alike for the
    row, and the score. Where a's determinant is below 0.0001 it is the largest element itself. The
    probability is that of the largest element in a softmax over its map if should_output_softmax is
    set, else 0; it does not lose itself for large scores, as it does in Caffe2.
    """,
    example="""
    heatmaps = [[[[0, 1], [0, 0]]]]; boxes = [[0, 0, 4, 4]]
    keypoints = [[[3], [1], [1], [0]]]
    """,
    should_output_softmax=Arg(bool, False, "compute the probabilities"),
)


@keypoint.everywhere
def _launch_keypoint(call: Call) -> Launch:
    maps, boxes = call.inputs
    return launch_best_places(maps, boxes, call.args.should_output_softmax, call.outputs[0])
