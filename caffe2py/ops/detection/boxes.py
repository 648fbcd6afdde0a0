"""Boxes: moved by regression, and limited to the best of each class."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from caffe2py.errors import ArgumentError, ShapeError, ValueRangeError
from caffe2py.kernels.boxes import (
    GAUSSIAN,
    LINEAR,
    best_of_class,
    launch_transform,
    rank,
    regression,
)
from caffe2py.ops.detection.common import (
    ANGLES,
    NO_GRADIENT,
    PLUS,
    check_angles,
    require_columns,
    require_floats,
    require_rows,
)
from caffe2py.registry.context import Call, Launch
from caffe2py.registry.gradient import NotDifferentiable
from caffe2py.registry.infer import Query, require_rank
from caffe2py.registry.operator import operator
from caffe2py.registry.schema import Arg, Args
from caffe2py.tensor.tensor import Array
from caffe2py.tensor.types import TensorType, shape_text

FLOAT = np.dtype(np.float32)
INT32 = np.dtype(np.int32)

# ---------------------------------------------------------------- BBoxTransform


def _deep(args: Args) -> int:
    """How many numbers a box has."""
    return 5 if args.rotated else 4


def _weights(args: Args) -> list[float]:
    found = [1.0] * 4 if args.weights is None else list(args.weights)
    if len(found) != 4 or 0 in found:
        raise ArgumentError(f"weights must be 4 numbers other than 0, found {found}")
    return found


def _infer_transform(query: Query) -> Sequence[TensorType]:
    require_floats(query, 0, 1, 2)
    _weights(query.args)
    check_angles(query.args)
    deep = _deep(query.args)
    require_columns(query, 0, deep, deep + 1)
    require_rank(query, 1, 2)
    require_columns(query, 2, 3)
    rows = require_rows(query, 0, 1)
    rois, deltas, images = (t.shape for t in query.inputs)
    columns = None if deltas is None else deltas[1]
    if columns is not None and columns % deep:
        raise ShapeError(f"deltas must have {deep} columns a class, found {shape_text(deltas)}")
    batch = None if images is None else images[0]
    if rois is not None and rois[1] == deep and batch not in (1, None):
        raise ShapeError(
            f"rois {shape_text(rois)} do not name their image, and im_info has {batch} row(s)"
        )
    types = [TensorType(FLOAT, (rows, columns)), TensorType(FLOAT, (batch,))]
    return types[: query.outputs]


transform = operator(
    "BBoxTransform",
    "rois, deltas, im_info -> box_out, roi_batch_splits?",
    infer=_infer_transform,
    gradient=NotDifferentiable(NO_GRADIENT),
    doc="""
    box_out[r, k] = region r moved and scaled by deltas[r, k] = (dx, dy, dw, dh), for each class k,
    and cut to the image: the centre moves by dx / weights[0] times the width, dy / weights[1] times
    the height; width and height grow by the factors exp(dw / weights[2]) and exp(dh / weights[3]),
    at most 1000/16.

    A row of rois is left, top, right, bottom, behind the number of its image if there is one more
    column (then the regions of an image follow each other); rotated: centre, width, height and
    angle in degrees, to which the fifth delta is added, in radians. im_info has height, width and
    scale of each image, by which rois are divided, and results multiplied with apply_scale.
    Rotated boxes are cut only if nearly upright. roi_batch_splits counts the regions of each image.
    """,
    example="""
    rois = [[0, 0, 9, 9]]; deltas = [[0.1, 0, 0, 0]]; im_info = [[20, 20, 1]]
    box_out = [[1, 0, 10, 9]], roi_batch_splits = [1]
    """,
    arguments={
        "weights": Arg(list[float], None, "by which deltas are divided; four times 1 by default"),
        "apply_scale": Arg(bool, True, "results are in the scale of rois, not of the image"),
        "rotated": Arg(bool, False, "boxes have an angle"),
        **ANGLES,
        **PLUS,
    },
)


@transform.cpu
def _launch_transform(call: Call) -> Launch:
    boxes, deltas, images = call.inputs
    args = call.args
    splits = call.outputs[1] if len(call.outputs) > 1 else call.scratch((len(images),), FLOAT)
    numbers = regression(args, _weights(args))
    flags = (bool(args.apply_scale), bool(args.rotated))
    return launch_transform(call, boxes, deltas, images, numbers, *flags, call.outputs[0], splits)


# ---------------------------------------------------------------- BoxWithNMSLimit

_METHODS = {"linear": LINEAR, "gaussian": GAUSSIAN}


def _soft(args: Args) -> tuple[float, float, float, float]:
    """Soft suppression: method (0 for none), overlap, sigma, least score."""
    if not args.soft_nms_enabled:
        return 0, 0, 1, 0
    if args.soft_nms_method not in _METHODS:
        raise ArgumentError(
            f"soft_nms_method must be linear or gaussian, found '{args.soft_nms_method}'"
        )
    if not args.soft_nms_sigma > 0:
        raise ArgumentError(f"soft_nms_sigma must be above 0, found {args.soft_nms_sigma}")
    method = _METHODS[args.soft_nms_method]
    return method, args.nms, args.soft_nms_sigma, args.soft_nms_min_score_thres


def _infer_limit(query: Query) -> Sequence[TensorType]:
    require_floats(query, *range(len(query.inputs)))
    _soft(query.args)
    require_rank(query, 0, 2)
    require_rank(query, 1, 2)
    if len(query.inputs) > 2:
        require_rank(query, 2, 1)
    require_rows(query, 0, 1)
    deep = _deep(query.args)
    scores, boxes = query.inputs[0].shape, query.inputs[1].shape
    if scores is not None and boxes is not None and None not in (scores[-1], boxes[1]):
        wanted = deep * _box_classes(scores, query.args)
        if boxes[1] != wanted:
            raise ShapeError(
                f"scores are {shape_text(scores)}: boxes must have {wanted} columns, "
                f"found {shape_text(boxes)}"
            )
    batch = query.inputs[2].shape[0] if len(query.inputs) > 2 and query.inputs[2].shape else None
    if len(query.inputs) == 2:
        batch = 1
    classes = None if scores is None else scores[1]
    return [
        TensorType(FLOAT, (None,)),
        TensorType(FLOAT, (None, deep)),
        TensorType(FLOAT, (None,)),
        TensorType(FLOAT, (batch,)),
        TensorType(INT32, (None,)),
        TensorType(INT32, (batch, classes)),
    ][: query.outputs]


def _box_classes(scores: Sequence[int | None], args: Args) -> int:
    """For how many classes there are boxes."""
    if args.cls_agnostic_bbox_reg:
        return 1
    return (scores[1] or 0) - (0 if args.input_boxes_include_bg_cls else 1)


limit = operator(
    "BoxWithNMSLimit",
    "scores, boxes, batch_splits? -> scores, boxes, classes, batch_splits?, keeps?, keeps_size?",
    infer=_infer_limit,
    gradient=NotDifferentiable(NO_GRADIENT),
    doc="""
    The boxes to report: of each class but the background (class 0) those with scores above
    score_thresh that overlap no better one of the class by more than `nms`, and of all these the
    detections_per_im best of an image.

    Scores are (R, classes), boxes (R, 4 * classes) (5 with rotated), batch_splits how many rows
    each image has. Outputs are the scores, boxes and class numbers of what is kept, class by class
    and best first, the number kept in each image, the rows of the image they come from (int32), and
    the number kept of each image and class. Where boxes leave out the background's, the scores of
    class k are in column k - 1, and the last column is not read: so it is in Caffe2.

    Soft suppression lowers the scores of overlapping boxes (linear: times 1 - overlap; gaussian:
    times exp(-overlap^2 / sigma)) and keeps those above soft_nms_min_score_thres. Equal scores come
    in the order of C++'s std::sort, as in Caffe2.
    """,
    example="""
    scores = [[0.1, 0.9], [0.2, 0.8]]; boxes = [[0, 0, 9, 9, 0, 0, 9, 9], [0, 0, 9, 8, 0, 0, 9, 8]]
    scores = [0.9], boxes = [[0, 0, 9, 9]], classes = [1]
    """,
    arguments={
        "score_thresh": Arg(float, 0.05, "scores must be above"),
        "nms": Arg(float, 0.3, "boxes that overlap a better one by more are dropped"),
        "detections_per_im": Arg(int, 100, "most boxes of an image; 0 or less: no limit"),
        "soft_nms_enabled": Arg(bool, False, "lower scores instead of dropping boxes"),
        "soft_nms_method": Arg(str, "linear", "linear or gaussian"),
        "soft_nms_sigma": Arg(float, 0.5, "width of the gaussian"),
        "soft_nms_min_score_thres": Arg(float, 0.001, "lowered scores below drop a box"),
        "rotated": Arg(bool, False, "boxes have an angle"),
        "cls_agnostic_bbox_reg": Arg(bool, False, "there is one box for all classes"),
        "input_boxes_include_bg_cls": Arg(bool, True, "the first boxes are the background's"),
        "output_classes_include_bg_cls": Arg(bool, True, "the background counts as class 0"),
        **PLUS,
    },
)


def _class_boxes(boxes: Array, number: int, args: Args) -> Array:
    """The boxes of a class."""
    deep = _deep(args)
    skipped = 0 if args.input_boxes_include_bg_cls else 1
    # nothing is kept of the background, whose boxes may be missing
    column = 0 if args.cls_agnostic_bbox_reg else max(number - skipped, 0) * deep
    return boxes[:, column : column + deep]


class _Image:
    """What is kept of one image: for each class the rows, best first, and their scores."""

    def __init__(self, scores: Array, boxes: Array, args: Args) -> None:
        self.boxes = boxes
        self.args = args
        self.rows: list[Array] = []
        self.scores: list[Array] = []
        most = args.detections_per_im if args.detections_per_im > 0 else -1
        skipped = 0 if args.input_boxes_include_bg_cls else 1
        for number in range(scores.shape[1]):
            if number == 0:
                kept, faded = np.zeros(0, np.int64), scores[:, 0]
            else:
                kept, faded = best_of_class(
                    _class_boxes(boxes, number, args),
                    scores[:, number - skipped],
                    args.score_thresh,
                    args.nms,
                    most,
                    bool(args.legacy_plus_one),
                    _soft(args),
                )
            self.rows.append(kept)
            self.scores.append(faded[kept])
        if 0 < most < sum(map(len, self.rows)):
            self._limit(most)

    def _limit(self, most: int) -> None:
        """Only the best of all classes."""
        classes = np.repeat(np.arange(len(self.rows)), [len(rows) for rows in self.rows])
        rows, scores = np.concatenate(self.rows), np.concatenate(self.scores)
        best = rank(scores)[:most]
        for number in range(len(self.rows)):
            mine = best[classes[best] == number]
            self.rows[number], self.scores[number] = rows[mine], scores[mine]

    def kept_boxes(self) -> Array:
        """The boxes, class by class."""
        return np.concatenate(
            [_class_boxes(self.boxes, n, self.args)[rows] for n, rows in enumerate(self.rows)]
        )


@limit.cpu_dynamic()
def _limit(call: Call) -> None:
    scores, boxes = call.inputs[:2]
    sizes = _splits(call, len(boxes))
    images, first = [], 0
    for size in sizes:
        rows = slice(first, first + size)
        images.append(_Image(scores[rows], boxes[rows], call.args))
        first += size
    _write(call, images)


def _splits(call: Call, rows: int) -> list[int]:
    """How many rows each image has; ValueRangeError unless they make up all of them."""
    if call.input_count < 3:
        return [rows]
    sizes = call.inputs[2]
    if not (np.isfinite(sizes).all() and (sizes >= 0).all() and sizes.sum() == rows):
        raise ValueRangeError(f"batch_splits add up to {sizes.sum()}, and there are {rows} rows")
    return [int(size) for size in sizes]


def _write(call: Call, images: list[_Image]) -> None:
    shift = 0 if call.args.output_classes_include_bg_cls else 1
    counts = [[len(rows) for rows in image.rows] for image in images]
    numbers = [
        np.repeat(np.arange(len(c), dtype=np.float32), c) - FLOAT.type(shift) for c in counts
    ]
    none = np.zeros((0, _deep(call.args)), np.float32)
    parts = [
        _joined([s for image in images for s in image.scores], FLOAT),
        np.concatenate([none, *(image.kept_boxes() for image in images)]),
        _joined(numbers, FLOAT),
        np.array([sum(c) for c in counts], np.float32),
        _joined([rows for image in images for rows in image.rows], INT32),
        np.array(counts, np.int32).reshape(len(images), -1),
    ]
    for index in range(len(call.schema.outputs)):
        if index < call.output_count:
            call.output(index, parts[index].shape, parts[index].dtype)[...] = parts[index]


def _joined(parts: list[Array], dtype: np.dtype[np.generic]) -> Array:
    return np.concatenate([np.zeros(0, dtype), *parts]).astype(dtype)


for _operator in (transform, limit):
    _operator.cuda_by_host("boxes are few, and go in the order of their images")
