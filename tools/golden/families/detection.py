"""Operators on boxes: many equal scores, since what is kept depends on their order."""

from typing import Any

import numpy as np

from tools.golden.case import Case, Cases, grid, pick

Rng = np.random.Generator


def boxes(rng: Rng, count: int, classes: int = 1, size: float = 40) -> np.ndarray:
    """Left, top, right, bottom, on a grid of quarters."""
    corners = rng.integers(0, int(size * 4), (count, classes, 2)) / 4
    extent = rng.integers(4, int(size * 2), (count, classes, 2)) / 4
    return (
        np.concatenate([corners, corners + extent], 2).reshape(count, 4 * classes).astype("float32")
    )


def rotated(rng: Rng, count: int, classes: int = 1, size: float = 40) -> np.ndarray:
    """Centre, size, angle; some upright."""
    centre = rng.integers(0, int(size * 4), (count, classes, 2)) / 4
    extent = rng.integers(8, int(size * 2), (count, classes, 2)) / 4
    angle = rng.integers(-90, 91, (count, classes, 1)) * rng.integers(0, 2, (count, classes, 1))
    found = np.concatenate([centre, extent, angle], 2)
    return found.reshape(count, 5 * classes).astype("float32")


def numbered(rng: Rng, rows: np.ndarray, images: int) -> np.ndarray:
    first = np.sort(rng.integers(0, images, (len(rows), 1)), 0)
    return np.hstack([first, rows]).astype("float32")


def scores(rng: Rng, shape, steps: int) -> np.ndarray:
    """Multiples of 1 / steps: the fewer steps, the more are equal."""
    return (rng.integers(0, steps + 1, shape) / steps).astype("float32")


def transform(rng: Rng) -> Cases:
    for number in range(30):
        turned, images = number % 3 == 2, 1 + number % 2
        count, classes = int(rng.integers(0, 6)), int(rng.integers(1, 4))
        deep = 5 if turned else 4
        rois = (rotated if turned else boxes)(rng, count)
        if images > 1 or rng.integers(2):
            rois = numbered(rng, rois, images)
        info = np.stack([rng.integers(20, 60, images), rng.integers(20, 60, images)], 1)
        info = np.hstack([info, rng.integers(1, 9, (images, 1)) / 4]).astype("float32")
        deltas = (rng.normal(size=(count, deep * classes)) * 0.5).astype("float32")
        args: dict[str, Any] = {"rotated": True} if turned else {}
        if rng.integers(2):
            args["weights"] = [10.0, 10.0, 5.0, 5.0]
        if rng.integers(2):
            args["apply_scale"] = False
        if rng.integers(2):
            args["legacy_plus_one"] = False
        if turned and rng.integers(2):
            args |= {"angle_bound_lo": 0, "angle_bound_hi": 180}
        if turned and rng.integers(3) == 0:
            args |= {"angle_bound_on": False, "clip_angle_thresh": 100.0}
        feed = {"rois": rois, "deltas": deltas, "info": info}
        outputs = ["Y", "splits"] if rng.integers(2) else ["Y"]
        yield Case("BBoxTransform", feed, outputs, args)
    feed = {"rois": boxes(rng, 2), "deltas": boxes(rng, 3), "info": np.ones((1, 3), "float32")}
    yield Case("BBoxTransform", feed, refused=True)
    feed = {"rois": boxes(rng, 2), "deltas": boxes(rng, 2), "info": np.ones((2, 3), "float32")}
    yield Case("BBoxTransform", feed, refused=True)
    feed["info"] = np.ones((1, 3), "float32")
    yield Case("BBoxTransform", feed, args={"weights": [1.0]}, refused=True)


LIMIT = ["best", "boxes", "classes", "counts", "keeps", "sizes"]


def limit(rng: Rng) -> Cases:
    for number in range(44):
        turned = number % 5 == 4
        count = int(pick(rng, [0, 3, 12, 20, 45, 80]))
        classes = int(rng.integers(2, 5))
        args: dict[str, Any] = {"score_thresh": pick(rng, [0.0, 0.05, 0.3])}
        with_background = bool(rng.integers(2))
        if not with_background:
            args["input_boxes_include_bg_cls"] = False
        if rng.integers(3) == 0:
            args["cls_agnostic_bbox_reg"] = True
        groups = 1 if "cls_agnostic_bbox_reg" in args else classes - (not with_background)
        if rng.integers(3) == 0:
            args["output_classes_include_bg_cls"] = False
        if rng.integers(2):
            args["detections_per_im"] = pick(rng, [5, 25, 0, -1])
        if number % 3 == 0:
            args |= {"soft_nms_enabled": True, "soft_nms_min_score_thres": 0.05}
            args["soft_nms_method"] = pick(rng, ["linear", "gaussian"])
        if rng.integers(3) == 0:
            args["legacy_plus_one"] = False
        if turned:
            args["rotated"] = True
        size = 12 if number % 2 else 30
        feed = {
            "S": scores(rng, (count, classes), int(pick(rng, [8, 64, 1000]))),
            "B": (rotated if turned else boxes)(rng, count, groups, size),
        }
        if number % 3 == 1:
            first = int(rng.integers(0, count + 1))
            feed["splits"] = np.array([first, count - first], "float32")
        yield Case("BoxWithNMSLimit", feed, LIMIT[: pick(rng, [3, 6, 6])], args)
    feed = {"S": scores(rng, (4, 2), 8), "B": boxes(rng, 4, 2)}
    yield Case("BoxWithNMSLimit", feed | {"B": boxes(rng, 4, 3)}, LIMIT[:3], refused=True)
    yield Case("BoxWithNMSLimit", feed | {"B": boxes(rng, 3, 2)}, LIMIT[:3], refused=True)
    bad = feed | {"P": np.array([1, 2], "float32")}
    yield Case("BoxWithNMSLimit", bad, LIMIT[:3], refused=True)
    args = {"soft_nms_enabled": True, "soft_nms_method": "other"}
    yield Case("BoxWithNMSLimit", feed, LIMIT[:3], args, refused=True)
    yield Case("BoxWithNMSLimit", feed, LIMIT[:2], refused=True)


def proposals(op: str):
    def cases(rng: Rng) -> Cases:
        for number in range(26):
            turned = number % 3 == 2
            deep = 5 if turned else 4
            n, a, h, w = (int(v) for v in rng.integers([1, 1, 1, 1], [3, 4, 6, 6]))
            if number % 5 == 0:
                n, a, h, w = 1, 3, 6, 7
            info = np.array([[40.0, 48.0, 1.0], [32.0, 60.0, 1.5]], "float32")[:n]
            anchors = (rotated if turned else boxes)(rng, a, 1, 12)
            anchors[:, :2] -= 8
            feed = {
                "scores": scores(rng, (n, a, h, w), int(pick(rng, [8, 64, 1000]))),
                "deltas": (rng.normal(size=(n, deep * a, h, w)) * 0.3).astype("float32"),
                "info": info,
                "anchors": anchors,
            }
            args: dict[str, Any] = {"spatial_scale": pick(rng, [0.125, 0.0625])}
            args["min_size"] = pick(rng, [3.0, 6.0] if turned else [0.0, 3.0, 6.0])
            args["nms_thresh"] = pick(rng, [0.3, 0.7])
            if rng.integers(2):
                args["pre_nms_topN"] = pick(rng, [3, 20, 0])
            if rng.integers(2):
                args["post_nms_topN"] = pick(rng, [2, 10, 0])
            if rng.integers(3) == 0:
                args["legacy_plus_one"] = False
            yield Case(op, feed, ["rois", "probabilities"], args)
        args["spatial_scale"] = 0.1
        yield Case(op, feed | {"anchors": anchors[:, :3]}, ["r", "p"], args, refused=True)
        yield Case(op, feed | {"deltas": feed["scores"]}, ["r", "p"], args, refused=True)

    return cases


def levels(rng: Rng, count: int) -> dict[str, np.ndarray]:
    sizes = [int(rng.integers(0, 6)) for _ in range(count)]
    rois = {f"rois{k}": numbered(rng, boxes(rng, s, 1, 300), 2) for k, s in enumerate(sizes)}
    return rois | {f"scores{k}": scores(rng, (s,), 6) for k, s in enumerate(sizes)}


def span(rng: Rng, what: str) -> tuple[dict[str, int], int]:
    low, count = int(rng.integers(1, 4)), int(rng.integers(1, 5))
    return {f"{what}_min_level": low, f"{what}_max_level": low + count - 1}, count


def distribution(rng: Rng) -> tuple[dict[str, Any], int]:
    args, count = span(rng, "roi")
    if rng.integers(2):
        args |= {"roi_canonical_scale": 60, "roi_canonical_level": int(rng.integers(1, 5))}
    if rng.integers(3) == 0:
        args["legacy_plus_one"] = False
    return args, count


def collect(rng: Rng) -> Cases:
    for _ in range(22):
        args, count = span(rng, "rpn")
        if rng.integers(2):
            args["rpn_post_nms_topN"] = pick(rng, [1, 4, 0])
        yield Case("CollectRpnProposals", levels(rng, count), ["rois"], args)
    args = {"rpn_min_level": 2, "rpn_max_level": 5}
    yield Case("CollectRpnProposals", levels(rng, 3), ["rois"], args, refused=True)
    bad = levels(rng, 1) | {"scores0": np.ones(9, "float32")}
    args["rpn_max_level"] = 2
    yield Case("CollectRpnProposals", bad, ["rois"], args, refused=True)


def distribute(rng: Rng) -> Cases:
    op = "DistributeFpnProposals"
    for _ in range(22):
        args, count = distribution(rng)
        rois = numbered(rng, boxes(rng, int(rng.integers(0, 12)), 1, 300), 2)
        outputs = [*(f"level{k}" for k in range(count)), "back"]
        yield Case(op, {"rois": rois}, outputs, args)
    yield Case(op, {"rois": rois}, [*outputs, "more"], args, refused=True)
    yield Case(op, {"rois": rois[:, :3]}, outputs, args, refused=True)


def both(rng: Rng) -> Cases:
    op = "CollectAndDistributeFpnRpnProposals"
    for _ in range(22):
        first, inputs = span(rng, "rpn")
        args, count = distribution(rng)
        if rng.integers(2):
            first["rpn_post_nms_topN"] = pick(rng, [1, 4, 0])
        outputs = ["rois", *(f"level{k}" for k in range(count)), "back"]
        yield Case(op, levels(rng, inputs), outputs, args | first)
    yield Case(op, levels(rng, inputs), [*outputs, "more"], args | first, refused=True)


def regions(rng: Rng, count: int) -> np.ndarray:
    first = rng.integers(-4, 20, (count, 2)) / 4
    rows = np.hstack([first, first + rng.integers(1, 24, (count, 2)) / 4])
    return np.hstack([rng.integers(0, 2, (count, 1)), rows]).astype("float32")


def bins(rng: Rng) -> dict[str, Any]:
    args = {"pooled_h": int(rng.integers(1, 4)), "pooled_w": int(rng.integers(1, 4))}
    return args | ({"spatial_scale": 0.5} if rng.integers(2) else {})


def pool(rng: Rng) -> Cases:
    for number in range(24):
        feed = {"X": grid(rng, (2, 2, 5, 6)), "R": regions(rng, int(rng.integers(0, 5)))}
        args, outputs = bins(rng), ["Y", "places"]
        if number % 4 == 0:
            args, outputs = args | {"is_test": 1}, ["Y"]
        yield Case("RoIPool", feed, outputs, args)
    feed["R"] = np.ones((1, 4), "float32")
    yield Case("RoIPool", feed, ["Y", "places"], refused=True)


def turned(rng: Rng) -> Cases:
    for number in range(26):
        rows = rotated(rng, int(rng.integers(0, 5)), 1, 8)
        rows = np.hstack([rng.integers(0, 2, (len(rows), 1)), rows]).astype("float32")
        args = bins(rng)
        if rng.integers(2):
            args["sampling_ratio"] = int(rng.integers(1, 4))
        if rng.integers(2):
            args["aligned"] = True
        shape = (2, 2, 5, 6)
        if number % 3 == 0:
            args["order"], shape = "NHWC", (2, 5, 6, 2)
        yield Case("RoIAlignRotated", {"X": grid(rng, shape), "R": rows}, args=args)
    bad = {"X": grid(rng, shape), "R": np.ones((1, 5), "float32")}
    yield Case("RoIAlignRotated", bad, refused=True)


CASES = {
    "RoIPool": pool,
    "RoIAlignRotated": turned,
    "BBoxTransform": transform,
    "BoxWithNMSLimit": limit,
    "GenerateProposals": proposals("GenerateProposals"),
    "GenerateProposalsCPP": proposals("GenerateProposalsCPP"),
    "CollectRpnProposals": collect,
    "DistributeFpnProposals": distribute,
    "CollectAndDistributeFpnRpnProposals": both,
}
