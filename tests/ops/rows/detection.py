"""Rows: boxes, proposals, feature pyramids."""

import math

import numpy as np

from caffe2py.errors import (
    ArgumentError,
    ArityError,
    DTypeError,
    InplaceError,
    KernelError,
    ShapeError,
    ValueRangeError,
)
from caffe2py.testing import Bad, Case, Sample

DATA = {"infer_full": "how many boxes are kept depends on their scores"}

# ---------------------------------------------------------------- regression


def _moved(box, delta, plus, bound):
    """A box of 4 or 5 numbers after regression."""
    if len(box) == 5:
        x, y, w, h = box[:4]
    else:
        w, h = box[2] - box[0] + plus, box[3] - box[1] + plus
        x, y = box[0] + w / 2, box[1] + h / 2
    x, y = x + delta[0] * w, y + delta[1] * h
    w, h = (s * math.exp(min(d, math.log(1000 / 16))) for s, d in ((w, delta[2]), (h, delta[3])))
    if len(box) == 4:
        return [x - w / 2, y - h / 2, x + w / 2 - plus, y + h / 2 - plus]
    angle = box[4] + math.degrees(delta[4])
    if bound is not None:
        low, high = bound
        angle += (angle < low) * (high - low) - (angle > high) * (high - low)
    return [x, y, w, h, angle]


def _clipped(box, height, width, plus, upright):
    if len(box) == 5:
        x, y, w, h, angle = box
        if abs(angle) > upright:
            return box
        half = (w - plus) / 2, (h - plus) / 2
        left, top, right, bottom = _clipped(
            [x - half[0], y - half[1], x + half[0], y + half[1]], height, width, plus, 0
        )
        size = right - left + plus, bottom - top + plus
        return [(left + right) / 2, (top + bottom) / 2, *size, angle]
    most = [width - plus, height - plus] * 2
    return [max(min(v, m), 0) for v, m in zip(box, most, strict=True)]


def _bound(args):
    low, high = args.get("angle_bound_lo", -90), args.get("angle_bound_hi", 90)
    return (low, high) if args.get("angle_bound_on", True) else None


def _transform(rois, deltas, info, *, weights=(1, 1, 1, 1), rotated=False, **args):
    deep, plus = 5 if rotated else 4, float(args.get("legacy_plus_one", True))
    factors = np.array([*weights, 1][:deep])
    y = np.zeros(deltas.shape)
    splits = np.zeros(len(info), "float32")
    for r, roi in enumerate(rois.astype(np.float64)):
        image = int(roi[0]) if len(roi) > deep else 0
        splits[image] += 1
        height, width, scale = info[image].astype(np.float64)
        box = np.concatenate([roi[-deep:][:4] / scale, roi[-deep:][4:]])
        size = int(height / scale + 0.5), int(width / scale + 0.5)
        for c in range(deltas.shape[1] // deep):
            delta = deltas[r, c * deep : (c + 1) * deep] / factors
            moved = _moved(box, delta, plus, _bound(args))
            moved = np.array(_clipped(moved, *size, plus, args.get("clip_angle_thresh", 1.0)))
            moved[:4] *= scale if args.get("apply_scale", True) else 1
            y[r, c * deep : (c + 1) * deep] = moved
    return y.astype("float32"), splits


def _boxes(rng, count, classes=1, size=40, turned=False):
    extent = rng.uniform(2, size / 2, (count, classes, 2))
    first = rng.uniform(0, size, (count, classes, 2))
    parts = [first, first + extent]
    if turned:
        angle = rng.uniform(-90, 90, (count, classes, 1)) * rng.integers(0, 2, (count, classes, 1))
        parts = [first, extent, angle]
    return np.concatenate(parts, 2).reshape(count, (5 if turned else 4) * classes).astype("float32")


def _transform_samples(rng):
    for turned in (False, True):
        for args in (
            {},
            {"weights": [10.0, 10.0, 5.0, 5.0], "apply_scale": False},
            {"legacy_plus_one": False, "clip_angle_thresh": 30.0},
            {"angle_bound_lo": 0, "angle_bound_hi": 180},
        ):
            deep = 5 if turned else 4
            rois = _boxes(rng, 5, 1, turned=turned)
            deltas = rng.normal(size=(5, 2 * deep)).astype("float32")
            info = np.array([[30, 50, 1.5], [45, 40, 2]], "float32")
            more = {**args, "rotated": turned}
            yield Sample([rois, deltas, info[:1]], more, 2)
            numbered = np.hstack([[[0], [0], [1], [1], [1]], rois]).astype("float32")
            yield Sample([numbered, deltas, info], more, 2)
    yield Sample([rois[:0], deltas[:0], info[:1]], more, 1)


ROIS = np.array([[0, 0, 0, 9, 9], [0, 2, 2, 9, 9]], "float32")
DELTAS = np.zeros((2, 8), "float32")
INFO = np.array([[20, 20, 1]], "float32")


# ---------------------------------------------------------------- suppression


def _outline(box):
    x, y, w, h, angle = (float(v) for v in box)
    turn = math.radians(-angle)
    along = np.array([math.cos(turn), math.sin(turn)])
    across = np.array([-math.sin(turn), math.cos(turn)])
    return [
        np.array([x, y]) + a * along * w / 2 + b * across * h / 2
        for a, b in ((-1, -1), (1, -1), (1, 1), (-1, 1))
    ]


def _cross(a, b):
    return a[0] * b[1] - a[1] * b[0]


def _shared(a, b):
    """The area that two rotated boxes share: one polygon cut by the sides of the other."""
    polygon, sides = _outline(a), _outline(b)
    for k in range(4):
        start, side = sides[k], sides[(k + 1) % 4] - sides[k]
        kept = []
        for p, q in zip(polygon, polygon[1:] + polygon[:1], strict=True):
            u, v = _cross(side, p - start), _cross(side, q - start)
            kept += [p] if u >= 0 else []
            kept += [p + (q - p) * u / (u - v)] if u * v < 0 else []
        polygon = kept
    pairs = zip(polygon, polygon[1:] + polygon[:1], strict=True)
    return sum(_cross(p, q) for p, q in pairs) / 2


def _overlap(a, b, plus):
    a, b = a.astype(np.float64), b.astype(np.float64)
    if len(a) == 5:
        shared, areas = _shared(a, b), a[2] * a[3] + b[2] * b[3]
    else:
        wide, high = np.maximum(np.minimum(a, b)[2:] - np.maximum(a, b)[:2] + plus, 0)
        shared = wide * high
        areas = sum(np.prod(box[2:] - box[:2] + plus) for box in (a, b))
    return shared / (areas - shared)


def _thin(boxes, order, limit, plus):
    kept = []
    for i in order:
        if all(_overlap(boxes[k], boxes[i], plus) <= limit for k in kept):
            kept.append(i)
    return kept


def _fade(boxes, scores, rows, limit, plus, args):
    kept, rows, scores = [], list(rows), scores.copy()
    while rows:
        best = max(rows, key=lambda i: scores[i])
        kept.append(best)
        rows.remove(best)
        for i in rows:
            overlap = _overlap(boxes[best], boxes[i], plus)
            if args.get("soft_nms_method", "linear") == "linear":
                scores[i] *= 1 - overlap if overlap > limit else 1
            else:
                scores[i] *= math.exp(-(overlap**2) / args.get("soft_nms_sigma", 0.5))
        rows = [i for i in rows if scores[i] >= args.get("soft_nms_min_score_thres", 0.001)]
    return kept, scores


def _image(scores, boxes, args):
    """(class, row, score) of what is kept of one image."""
    deep, plus = 5 if args.get("rotated") else 4, float(args.get("legacy_plus_one", True))
    skipped = 0 if args.get("input_boxes_include_bg_cls", True) else 1
    found = []
    for c in range(1, scores.shape[1]):
        column = 0 if args.get("cls_agnostic_bbox_reg") else (c - skipped) * deep
        mine, own = boxes[:, column : column + deep], scores[:, c - skipped]
        rows = np.flatnonzero(own > np.float32(args.get("score_thresh", 0.05)))
        if args.get("soft_nms_enabled"):
            kept, own = _fade(mine, own, rows, args.get("nms", 0.3), plus, args)
        else:
            kept = _thin(mine, rows[np.argsort(-own[rows])], args.get("nms", 0.3), plus)
        found += [(c, i, own[i], mine[i]) for i in kept]
    most = args.get("detections_per_im", 100)
    if 0 < most < len(found):
        best = sorted(found, key=lambda item: -item[2])[:most]
        found = sorted(best, key=lambda item: (item[0], -item[2]))
    return found


def _limit(scores, boxes, splits=None, **args):
    sizes = [len(scores)] if splits is None else splits.astype(int)
    ends = np.cumsum(sizes)
    images = [
        _image(scores[e - s : e], boxes[e - s : e], args) for e, s in zip(ends, sizes, strict=True)
    ]
    found = [item for image in images for item in image]
    shift = 0 if args.get("output_classes_include_bg_cls", True) else 1
    deep = 5 if args.get("rotated") else 4
    counts = [[sum(i[0] == c for i in m) for c in range(scores.shape[1])] for m in images]
    return (
        np.array([i[2] for i in found], "float32"),
        np.array([i[3] for i in found], "float32").reshape(-1, deep),
        np.array([i[0] - shift for i in found], "float32"),
        np.array([len(m) for m in images], "float32"),
        np.array([i[1] for i in found], "int32"),
        np.array(counts, "int32").reshape(len(images), -1),
    )


def _distinct(rng, shape):
    """Scores none of which are equal."""
    count = math.prod(shape)
    return (rng.permutation(count).reshape(shape) / max(count, 1)).astype("float32")


def _limit_samples(rng):
    for args in (
        {},
        {"detections_per_im": 5, "score_thresh": 0.3},
        {"input_boxes_include_bg_cls": False, "output_classes_include_bg_cls": False},
        {"cls_agnostic_bbox_reg": True, "nms": 0.5, "detections_per_im": 0},
        {"rotated": True},
        {"soft_nms_enabled": True, "legacy_plus_one": False},
        {"soft_nms_enabled": True, "soft_nms_method": "gaussian", "soft_nms_sigma": 0.3},
        {"soft_nms_enabled": True, "soft_nms_min_score_thres": 0.3, "rotated": True},
    ):
        groups = 3 if args.get("input_boxes_include_bg_cls", True) else 2
        groups = 1 if "cls_agnostic_bbox_reg" in args else groups
        for count in (0, 4, 40):
            boxes = _boxes(rng, count, groups, 20, args.get("rotated", False))
            scores = _distinct(rng, (count, 3))
            yield Sample([scores, boxes], args, 6)
            splits = np.array([count // 3, 0, count - count // 3], "float32")
            yield Sample([scores, boxes, splits], args, 3 + count % 3)


S = np.ones((2, 2), "float32")
B = np.ones((2, 8), "float32")

# ---------------------------------------------------------------- proposals


def _centre(box, plus):
    w, h = box[2] - box[0] + plus, box[3] - box[1] + plus
    return box[0] + w / 2, box[1] + h / 2, w, h


def _proposals(scores, deltas, info, anchors, *, spatial_scale, **args):
    plus, deep = float(args.get("legacy_plus_one", True)), anchors.shape[1]
    a, height, width = scores.shape[1:]
    rois, found = [np.zeros((0, deep + 1))], []
    for n in range(len(scores)):
        places = np.argsort(-scores[n].reshape(-1))
        most = args.get("pre_nms_topN", 6000)
        places = places[:most] if most > 0 else places
        boxes, kept = [], []
        where = np.unravel_index(places, scores[n].shape)
        for at, (k, v, u) in enumerate(zip(*where, strict=True)):
            box = anchors[k].astype(np.float64)
            step = np.array([u, v] * 2)[: 4 if deep == 4 else 2] / spatial_scale
            box[: len(step)] += step
            delta = deltas[n].reshape(a, deep, height, width)[k, :, v, u].astype(np.float64)
            box = _moved(box, delta, plus, _bound(args))
            box = _clipped(box, *info[n, :2], plus, args.get("clip_angle_thresh", 1.0))
            boxes.append(np.array(box))
            x, y, w, h = box[:4] if deep == 5 else _centre(box, plus)
            least = args.get("min_size", 16.0) * info[n, 2]
            if min(w, h) >= least and x < info[n, 1] and y < info[n, 0]:
                kept.append(at)
        kept = _thin(boxes, kept, args.get("nms_thresh", 0.7), plus)
        most = args.get("post_nms_topN", 300)
        kept = kept[:most] if most > 0 else kept
        rois += [np.concatenate([[n], boxes[k]])[None] for k in kept]
        found += [scores[n].reshape(-1)[places[k]] for k in kept]
    return np.concatenate(rois).astype("float32"), np.array(found, "float32")


def _proposal_samples(rng):
    for turned in (False, True):
        for args in (
            {"min_size": 2.0},
            {"pre_nms_topN": 7, "post_nms_topN": 3, "nms_thresh": 0.4, "min_size": 0.5},
            {"legacy_plus_one": False, "min_size": 4.0, "pre_nms_topN": 0, "post_nms_topN": 0},
        ):
            deep = 5 if turned else 4
            anchors = _boxes(rng, 2, 1, 16, turned)
            scores = _distinct(rng, (2, 2, 4, 3))
            deltas = (rng.normal(size=(2, 2 * deep, 4, 3)) * 0.3).astype("float32")
            info = np.array([[40, 30, 1], [30, 44, 1.25]], "float32")
            yield Sample([scores, deltas, info, anchors], {"spatial_scale": 0.125, **args}, 2)
    yield Sample([scores[:0], deltas[:0], info[:0], anchors], {"spatial_scale": 0.125}, 2)


ANCHORS = np.array([[0, 0, 9, 9]], "float32")
MAP = np.ones((1, 1, 2, 2), "float32")
MOVES = np.zeros((1, 4, 2, 2), "float32")
QUARTER = {"spatial_scale": 0.25}
_PROPOSAL_BAD = [
    Bad([MAP, MOVES, INFO, ANCHORS], ArgumentError, "spatial_scale must be given", outputs=2),
    Bad([MAP[0], MOVES, INFO, ANCHORS], ShapeError, "must have 4 dim", QUARTER, 2),
    Bad([MAP, MOVES[:, 1:], INFO, ANCHORS], ShapeError, "4 deltas for each", QUARTER, 2),
    Bad([MAP, MOVES[:, :, 1:], INFO, ANCHORS], ShapeError, "height and width", QUARTER, 2),
    Bad([MAP, MOVES, INFO[:, 1:], ANCHORS], ShapeError, "must have 3 columns", QUARTER, 2),
    Bad([MAP, MOVES, INFO, ANCHORS[:, 1:]], ShapeError, "4 or 5 columns", QUARTER, 2),
    Bad([MAP, MOVES, INFO, ROIS[:, 1:]], ShapeError, "one row for each", QUARTER, 2),
    Bad([MAP, MOVES, np.vstack([INFO, INFO]), ANCHORS], ShapeError, "row", QUARTER, 2),
    Bad([MAP > 0, MOVES, INFO, ANCHORS], DTypeError, "is bool; supported", QUARTER, 2),
    Bad([MAP, MOVES, INFO], ArityError, "expected 4 input", QUARTER, 2),
    Bad([MAP, MOVES, INFO, ANCHORS], InplaceError, "in place", QUARTER, 2, ((0, 0),)),
    Bad(
        [MAP, MOVES, INFO, ANCHORS],
        ArgumentError,
        "multiple of 180",
        {**QUARTER, "angle_bound_hi": 91},
        2,
    ),
]

# ---------------------------------------------------------------- pyramids


def _collect(*arrays, rpn_post_nms_topN=2000, rpn_min_level=2, rpn_max_level=6):
    half = len(arrays) // 2
    rois, scores = np.concatenate(arrays[:half]), np.concatenate(arrays[half:])
    best = sorted(range(len(scores)), key=lambda i: (-scores[i], i))
    return rois[best[:rpn_post_nms_topN] if rpn_post_nms_topN > 0 else best]


def _distribute(rois, *, roi_min_level=2, roi_max_level=5, legacy_plus_one=True, **args):
    scale, middle = args.get("roi_canonical_scale", 224), args.get("roi_canonical_level", 4)
    sides = np.sqrt(np.prod(rois[:, 3:] - rois[:, 1:3] + np.float32(legacy_plus_one), axis=1))
    found = np.floor(middle + np.log2(sides / scale + 1e-6))
    found = np.clip(found, roi_min_level, roi_max_level).astype(int)
    order = [np.flatnonzero(found == k) for k in range(roi_min_level, roi_max_level + 1)]
    back = np.zeros(len(rois), "int32")
    back[np.concatenate(order)] = np.arange(len(rois))
    return *(rois[rows] for rows in order), back


def _both(*arrays, **args):
    rois = _collect(*arrays, **{k: v for k, v in args.items() if k.startswith("rpn")})
    return rois, *_distribute(rois, **{k: v for k, v in args.items() if not k.startswith("rpn")})


def _regions(rng, count):
    first = np.sort(rng.integers(0, 2, (count, 1)), 0)
    return np.hstack([first, _boxes(rng, count, 1, 600)]).astype("float32")


def _collect_samples(rng):
    for sizes, most in (((3, 0, 5), 4), ((2,), 0), ((4, 4), 2000), ((0, 0), 3)):
        rois = [_regions(rng, s) for s in sizes]
        scores = [(rng.integers(0, 4, s) / 4).astype("float32") for s in sizes]
        args = {"rpn_min_level": 3, "rpn_max_level": 2 + len(sizes), "rpn_post_nms_topN": most}
        yield Sample([*rois, *scores], args)


def _distribute_samples(rng):
    for args, count in (
        ({}, 4),
        ({"roi_min_level": 3, "roi_max_level": 3}, 1),
        ({"roi_canonical_scale": 60, "roi_canonical_level": 3, "legacy_plus_one": False}, 4),
    ):
        for rows in (0, 9):
            yield Sample([_regions(rng, rows)], args, count + 1)


def _both_samples(rng):
    pairs = zip(_collect_samples(rng), _distribute_samples(rng), strict=False)
    for collected, given in pairs:
        yield Sample(collected.inputs, {**collected.args, **given.args}, given.outputs + 1)


ONE = {"rpn_min_level": 2, "rpn_max_level": 2}
FLAT = {"roi_min_level": 2, "roi_max_level": 2}
V = np.ones(2, "float32")


def _pyramid_bad(outputs, more):
    args = {**ONE, **more}
    return [
        Bad([ROIS, V], ArityError, "rois and scores of 5 levels", more, outputs),
        Bad([ROIS[:, 1:], V], ShapeError, "must have 5 columns", args, outputs),
        Bad([ROIS, V[:1]], ShapeError, "has 2 row", args, outputs),
        Bad([ROIS, ROIS], ShapeError, "must have 1 dim", args, outputs),
        Bad([ROIS > 0, V], DTypeError, "is bool", args, outputs),
        Bad([ROIS, V], ArgumentError, "must not be below", {**args, "rpn_max_level": 1}, outputs),
        Bad([ROIS], ArityError, "", args, outputs),
    ]


def _level_bad(inputs, outputs, more):
    args = {**FLAT, **more}
    return [
        Bad(inputs, ArityError, "for 4 levels", more, outputs),
        Bad(inputs, ArgumentError, "must not be below", {**args, "roi_max_level": 1}, outputs),
        Bad(inputs, ArgumentError, "above 0", {**args, "roi_canonical_scale": 0}, outputs),
    ]


APPROXIMATE = "sums of areas and exponents are rounded in another order"

CASES = [
    Case(
        "BBoxTransform",
        _transform,
        _transform_samples,
        [
            Bad([ROIS[:, 2:], DELTAS, INFO], ShapeError, "4 or 5 columns"),
            Bad([ROIS, DELTAS[:1], INFO], ShapeError, "has 2 row"),
            Bad([ROIS, DELTAS[:, 1:], INFO], ShapeError, "4 columns a class"),
            Bad([ROIS, DELTAS, INFO[:, 1:]], ShapeError, "must have 3 columns"),
            Bad([ROIS[:, 1:], DELTAS, np.vstack([INFO, INFO])], ShapeError, "do not name"),
            Bad([ROIS > 0, DELTAS, INFO], DTypeError, "is bool"),
            Bad([ROIS, DELTAS, INFO], ArgumentError, "weights must be", {"weights": [1.0]}),
            Bad([ROIS, DELTAS, INFO], ArgumentError, "of 180", {"angle_bound_lo": 0}),
            Bad([ROIS + 1, DELTAS, INFO], KernelError, "names no row"),
            Bad([ROIS, DELTAS], ArityError, "expected 3 input"),
            Bad([ROIS, DELTAS, INFO], InplaceError, "in place", same=((1, 0),)),
        ],
        tolerance=2e-5,
        tolerance_reason=APPROXIMATE,
    ),
    Case(
        "BoxWithNMSLimit",
        _limit,
        _limit_samples,
        [
            Bad([S[0], B], ShapeError, "must have 2 dim", outputs=3),
            Bad([S, B[:1]], ShapeError, "has 2 row", outputs=3),
            Bad([S, B[:, 1:]], ShapeError, "must have 8 columns", outputs=3),
            Bad([S, B], ShapeError, "must have 4", {"cls_agnostic_bbox_reg": True}, 3),
            Bad([S, B, V * 2], ValueRangeError, "add up to 4", outputs=3),
            Bad([S, B, S], ShapeError, "must have 1 dim", outputs=3),
            Bad([S > 0, B], DTypeError, "is bool", outputs=3),
            Bad(
                [S, B],
                ArgumentError,
                "linear or gaussian",
                {"soft_nms_enabled": True, "soft_nms_method": "no"},
                3,
            ),
            Bad(
                [S, B],
                ArgumentError,
                "sigma must be",
                {"soft_nms_enabled": True, "soft_nms_sigma": 0.0},
                3,
            ),
            Bad([S, B], ArityError, "expected 3 to 6 output"),
            Bad([S, B], InplaceError, "in place", outputs=3, same=((1, 1),)),
        ],
        tolerance=2e-5,
        tolerance_reason=APPROXIMATE,
        skip=DATA,
    ),
    *(
        Case(
            name,
            _proposals,
            _proposal_samples,
            _PROPOSAL_BAD,
            tolerance=2e-5,
            tolerance_reason=APPROXIMATE,
            skip=DATA,
        )
        for name in ("GenerateProposals", "GenerateProposalsCPP")
    ),
    Case("CollectRpnProposals", _collect, _collect_samples, _pyramid_bad(1, {}), skip=DATA),
    Case(
        "DistributeFpnProposals",
        _distribute,
        _distribute_samples,
        [
            *_level_bad([ROIS], 2, {}),
            Bad([ROIS[:, 1:]], ShapeError, "must have 5 columns", FLAT, 2),
            Bad([ROIS > 0], DTypeError, "is bool", FLAT, 2),
            Bad([ROIS], ArityError, "output", FLAT, 1),
        ],
        skip=DATA,
    ),
    Case(
        "CollectAndDistributeFpnRpnProposals",
        _both,
        _both_samples,
        [*_pyramid_bad(3, FLAT), *_level_bad([ROIS, V], 3, ONE)],
        skip=DATA,
    ),
]
