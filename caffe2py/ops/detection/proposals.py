"""Proposals of a region proposal network."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from caffe2py.errors import ArgumentError, ShapeError
from caffe2py.kernels.boxes import propose, regression
from caffe2py.ops.detection.common import (
    ANGLES,
    NO_GRADIENT,
    PLUS,
    check_angles,
    check_number,
    require_columns,
    require_floats,
    require_rows,
)
from caffe2py.registry.context import Call
from caffe2py.registry.gradient import NotDifferentiable
from caffe2py.registry.infer import Query, require_rank
from caffe2py.registry.operator import operator
from caffe2py.registry.schema import Arg, Args
from caffe2py.tensor.types import TensorType, shape_text

FLOAT = np.dtype(np.float32)


def _step(args: Args) -> float:
    """Pixels of the image between two places of the features."""
    if args.spatial_scale is None or not args.spatial_scale > 0:
        raise ArgumentError(f"spatial_scale must be given and above 0, found {args.spatial_scale}")
    return 1.0 / float(args.spatial_scale)


def _infer(query: Query) -> Sequence[TensorType]:
    require_floats(query, 0, 1, 2, 3)
    check_angles(query.args)
    check_number("spatial_scale", _step(query.args))
    require_rank(query, 0, 4)
    require_rank(query, 1, 4)
    require_columns(query, 2, 3)
    require_columns(query, 3, 4, 5)
    require_rows(query, 0, 1, 2)
    scores, deltas, _, anchors = (t.shape for t in query.inputs)
    deep = None if anchors is None else anchors[1]
    if scores is not None and anchors is not None:
        _require(query, 3, anchors[0], scores[1], "one row for each of the scores' anchors")
    if scores is not None and deltas is not None:
        for axis in (2, 3):
            _require(query, 1, deltas[axis], scores[axis], "the height and width of the scores")
        if deep is not None and scores[1] is not None:
            _require(query, 1, deltas[1], deep * scores[1], f"{deep} deltas for each anchor")
    columns = None if deep is None else deep + 1
    return [TensorType(FLOAT, (None, columns)), TensorType(FLOAT, (None,))]


def _require(query: Query, index: int, found: int | None, wanted: int | None, what: str) -> None:
    if None not in (found, wanted) and found != wanted:
        raise ShapeError(
            f"input {index} '{query.name(index)}' {shape_text(query.inputs[index].shape)} must "
            f"have {what}: {wanted}, found {found}"
        )


_DOC = """
The best regions that may hold an object, from scores and box deltas at each place and anchor.

scores are (N, A, H, W), bbox_deltas (N, 4 * A, H, W) (5 * A with rotated anchors), im_info (N, 3)
height, width and scale of the images, anchors (A, 4) boxes around the origin, or (A, 5) rotated
ones. An anchor is moved to its place, places being 1 / spatial_scale pixels apart, then by its
deltas as in BBoxTransform, and cut to the image. Of the pre_nms_topN best those stay that are
min_size (times the image's scale) wide and high and have their centre in the image; then the
post_nms_topN best that overlap no better one by more than nms_thresh. rois are (R, 5) with the
number of the image first, rois_probs their scores. Equal scores come in the order of C++'s
std::sort and std::partial_sort, as in Caffe2.
"""
_EXAMPLE = """
scores = [[[[0.9]]]]; bbox_deltas = zeros (1, 4, 1, 1); im_info = [[50, 50, 1]]
anchors = [[0, 0, 19, 29]]; spatial_scale = 0.0625
rois = [[0, 0, 0, 19, 29]], rois_probs = [0.9]
"""
_ARGS = {
    "spatial_scale": Arg(float, None, "places of the features for one pixel of the image"),
    "pre_nms_topN": Arg(int, 6000, "how many of the best take part; 0 or less: all"),
    "post_nms_topN": Arg(int, 300, "how many stay at most; 0 or less: all"),
    "nms_thresh": Arg(float, 0.7, "regions that overlap a better one by more are dropped"),
    "min_size": Arg(float, 16.0, "least width and height, times the image's scale"),
    **ANGLES,
    **PLUS,
}


def _launch(call: Call) -> None:
    scores, deltas, images, anchors = call.inputs
    args = call.args
    numbers = regression(args, [1.0] * 4)
    limits = (_step(args), args.nms_thresh, args.min_size)
    sizes = (args.pre_nms_topN, args.post_nms_topN)
    none = np.zeros((0, anchors.shape[1] + 1), np.float32)
    rois, probabilities = [none], [none[:, 0]]
    for n in range(len(scores)):
        boxes, best = propose(scores[n], deltas[n], images[n], anchors, numbers, sizes, limits)
        first = np.full((len(boxes), 1), n, np.float32)
        rois.append(np.hstack([first, boxes]))
        probabilities.append(best)
    for index, parts in enumerate((rois, probabilities)):
        found = np.concatenate(parts)
        call.output(index, found.shape, FLOAT)[...] = found


for _name in ("GenerateProposals", "GenerateProposalsCPP"):
    _proposals = operator(
        _name,
        "scores, bbox_deltas, im_info, anchors -> rois, rois_probs",
        infer=_infer,
        gradient=NotDifferentiable(NO_GRADIENT),
        doc=_DOC,
        example=_EXAMPLE,
        arguments=_ARGS,
    )
    _proposals.cpu_dynamic()(_launch)
    _proposals.cuda_by_host("boxes are left out one after the other, by those that stay")
