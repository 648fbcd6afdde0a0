"""Boxes: moved by regression, cut to the image, and thinned out where they overlap.

A box is left, top, right, bottom (four numbers), or centre, size and angle in degrees (five). With
`plus` 1 the right and bottom pixels belong to the box, as in the first detectors; with 0 they do
not.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from caffe2py.errors import Error, KernelError
from caffe2py.kernels.jit import callable_at, kernel
from caffe2py.kernels.order import rank_by_score, rank_first
from caffe2py.registry.context import Call, Launch
from caffe2py.registry.schema import Args
from caffe2py.tensor.tensor import Array

#: Boxes grow by at most this factor: exp of it is 1000 / 16.
_MOST_GROWTH = np.float32(math.log(1000.0 / 16.0))

_HALF = np.float32(0.5)

#: What kernels know of a regression: weights of the four deltas, whether the last pixel counts,
#: whether angles are bound, their lower and upper bound, and up to which angle a box is upright.
WEIGHTS, PLUS, BOUND, LOW, HIGH, UPRIGHT = 0, 4, 5, 6, 7, 8


def regression(args: Args, weights: Sequence[float]) -> Array:
    """The numbers above, from the arguments of an operator."""
    bounds = [args.angle_bound_on, args.angle_bound_lo, args.angle_bound_hi]
    return np.array([*weights, args.legacy_plus_one, *bounds, args.clip_angle_thresh], np.float32)


def run(launch: Launch) -> None:
    """Run a kernel at once, for outputs whose size it finds out."""
    status = callable_at(launch.address)(launch.block.ctypes.data)
    if status:
        raise launch.explain(status)


# ---------------------------------------------------------------- regression


def _move(box, delta, numbers, out):
    """out = a box moved and scaled by its delta, which has one number more for an angle."""
    plus = numbers[PLUS]
    if box.size == 5:
        width, height, x, y = box[2], box[3], box[0], box[1]
    else:
        width = box[2] - box[0] + plus
        height = box[3] - box[1] + plus
        x = box[0] + _HALF * width
        y = box[1] + _HALF * height
    x = delta[0] / numbers[WEIGHTS] * width + x
    y = delta[1] / numbers[WEIGHTS + 1] * height + y
    width = np.exp(min(delta[2] / numbers[WEIGHTS + 2], _MOST_GROWTH)) * width
    height = np.exp(min(delta[3] / numbers[WEIGHTS + 3], _MOST_GROWTH)) * height
    if box.size == 5:
        out[0], out[1], out[2], out[3] = x, y, width, height
        out[4] = _bound(box[4] + delta[4] * np.float32(180 / math.pi), numbers)
    else:
        _corners(x, y, width, height, plus, out)


def _bound(angle, numbers):
    if numbers[BOUND] != 0:
        period = numbers[HIGH] - numbers[LOW]
        if angle < numbers[LOW]:
            return angle + period
        if angle > numbers[HIGH]:
            return angle - period
    return angle


def _corners(x, y, width, height, plus, out):
    out[0] = x - _HALF * width
    out[1] = y - _HALF * height
    out[2] = x + _HALF * width - plus
    out[3] = y + _HALF * height - plus


def _within(value, most):
    return max(min(value, most), np.float32(0))


def _cut(box, height, width, plus):
    box[0] = _within(box[0], width - plus)
    box[1] = _within(box[1], height - plus)
    box[2] = _within(box[2], width - plus)
    box[3] = _within(box[3], height - plus)


def _clip(box, height, width, numbers):
    """Cut a box to the image; a rotated one only if it is nearly upright."""
    plus = numbers[PLUS]
    if box.size == 4:
        _cut(box, height, width, plus)
    elif abs(box[4]) <= numbers[UPRIGHT]:
        wide, high = (box[2] - plus) / np.float32(2), (box[3] - plus) / np.float32(2)
        x, y = box[0], box[1]
        box[0], box[1], box[2], box[3] = x - wide, y - high, x + wide, y + high
        _cut(box, height, width, plus)
        wide, high = box[2] - box[0] + plus, box[3] - box[1] + plus
        box[0], box[1] = (box[0] + box[2]) / np.float32(2), (box[1] + box[3]) / np.float32(2)
        box[2], box[3] = wide, high


@kernel()
def _transform(boxes, deltas, images, numbers, scaled, box, y, splits):
    """For all boxes and classes; status 1: the number of an image, 2: images out of order."""
    deep = box.size
    for n in range(splits.size):
        splits[n] = 0
    before = 0
    for r in range(boxes.shape[0]):
        image = 0
        if boxes.shape[1] > deep:
            if not 0 <= boxes[r, 0] < images.shape[0]:
                return 1
            image = int(boxes[r, 0])
            if image < before:
                return 2
            before = image
        splits[image] += 1
        scale = images[image, 2]
        height = np.float32(int(images[image, 0] / scale + _HALF))
        width = np.float32(int(images[image, 1] / scale + _HALF))
        for k in range(deep):
            box[k] = boxes[r, boxes.shape[1] - deep + k]
            if k < 4:
                box[k] /= scale
        for c in range(deltas.shape[1] // deep):
            out = y[r, c * deep : (c + 1) * deep]
            _move(box, deltas[r, c * deep : (c + 1) * deep], numbers, out)
            _clip(out, height, width, numbers)
            if scaled:
                for k in range(4):
                    out[k] *= scale
    return 0


def launch_transform(
    call: Call,
    boxes: Array,
    deltas: Array,
    images: Array,
    numbers: Array,
    scaled: bool,
    rotated: bool,
    y: Array,
    splits: Array,
) -> Launch:
    """y = the boxes moved by the deltas of each class and cut to their image.

    boxes are (R, 4 or 5), the number of the image before them if there is one more column; deltas
    and y (R, 4 or 5 * classes), images (N, 3): height, width, scale. splits (N) counts boxes.
    """
    box = call.scratch((5 if rotated else 4,), np.float32)
    return _transform(boxes, deltas, images, numbers, scaled, box, y, splits, explain=_explain)


def _explain(status: int) -> Error:
    if status == 2:
        return KernelError("the regions of one image must follow each other, in increasing order")
    return KernelError("a region's first number names no row of im_info")


# ---------------------------------------------------------------- overlap


def _cross(ax, ay, bx, by):
    return ax * by - ay * bx


def _outline(box, points):
    """The corners of a rotated box."""
    angle = -np.float64(box[4]) * (math.pi / 180)
    cosine, sine = math.cos(angle) / 2, math.sin(angle) / 2
    for k in range(4):
        along = 1.0 if k in (1, 2) else -1.0
        across = 1.0 if k in (2, 3) else -1.0
        points[k, 0] = box[0] + along * cosine * box[2] - across * sine * box[3]
        points[k, 1] = box[1] + along * sine * box[2] + across * cosine * box[3]


def _cut_side(points, count, ax, ay, bx, by, out):
    """The part of a polygon on the inner side of the line from a to b; returns its corners."""
    made = 0
    for k in range(count):
        px, py = points[k, 0], points[k, 1]
        nxt = k + 1 if k + 1 < count else 0
        qx, qy = points[nxt, 0], points[nxt, 1]
        p = _cross(bx - ax, by - ay, px - ax, py - ay)
        q = _cross(bx - ax, by - ay, qx - ax, qy - ay)
        if p >= 0:
            out[made, 0], out[made, 1] = px, py
            made += 1
        if (p > 0 and q < 0) or (p < 0 and q > 0):
            part = p / (p - q)
            out[made, 0], out[made, 1] = px + part * (qx - px), py + part * (qy - py)
            made += 1
    return made


def _shared_area(a, b, work):
    """The area of the intersection of two rotated boxes; work is (3, 16, 2)."""
    _outline(a, work[0])
    _outline(b, work[2])
    count = 4
    for k in range(4):
        nxt = (k + 1) % 4
        side = work[2]
        count = _cut_side(
            work[k % 2],
            count,
            side[k, 0],
            side[k, 1],
            side[nxt, 0],
            side[nxt, 1],
            work[(k + 1) % 2],
        )
    area = 0.0
    for k in range(count):
        nxt = k + 1 if k + 1 < count else 0
        area += _cross(work[0, k, 0], work[0, k, 1], work[0, nxt, 0], work[0, nxt, 1])
    return area / 2


def _area(box, plus):
    if box.size == 5:
        return box[2] * box[3]
    return (box[2] - box[0] + plus) * (box[3] - box[1] + plus)


def _overlap(a, b, plus, work):
    """Intersection over union."""
    if a.size == 5:
        shared = np.float32(_shared_area(a, b, work))
    else:
        wide = max(min(a[2], b[2]) - max(a[0], b[0]) + plus, np.float32(0))
        high = max(min(a[3], b[3]) - max(a[1], b[1]) + plus, np.float32(0))
        shared = wide * high
    return shared / (_area(a, plus) + _area(b, plus) - shared)


def _suppress(boxes, order, count, limit, most, plus, work):
    """Keep those of order[:count] that overlap no better one by more than `limit`.

    They are moved to the front; returns how many, at most `most` (negative: all).
    """
    kept = 0
    for a in range(count):
        i = order[a]
        if i < 0:
            continue
        if 0 <= most <= kept:
            break
        order[kept] = i
        kept += 1
        for b in range(a + 1, count):
            if order[b] >= 0 and not _overlap(boxes[i], boxes[order[b]], plus, work) <= limit:
                order[b] = -1
    return kept


# ---------------------------------------------------------------- soft suppression

LINEAR, GAUSSIAN = 1, 2


def _fade(boxes, order, count, scores, soft, plus, work):
    """Take the best of order[:count] again and again, lowering the scores of its neighbours.

    soft: method, overlap that counts, sigma, least score. Returns how many are left, in order.
    """
    kept = 0
    end = count
    while kept < end:
        best = kept
        for k in range(kept + 1, end):
            if scores[order[k]] > scores[order[best]]:
                best = k
        order[kept], order[best] = order[best], order[kept]
        i = order[kept]
        kept += 1
        left = kept
        for k in range(kept, end):
            j = order[k]
            overlap = _overlap(boxes[i], boxes[j], plus, work)
            if soft[0] == LINEAR:
                weight = np.float32(1) - overlap if overlap > soft[1] else np.float32(1)
            else:
                weight = np.exp(-overlap * overlap / soft[2])
            scores[j] *= weight
            if scores[j] >= soft[3]:
                order[left] = j
                left += 1
        end = left
    return kept


# ---------------------------------------------------------------- the best of each class


@kernel()
def _limit_class(boxes, scores, least, limit, most, plus, soft, order, stack, work, faded):
    """The boxes of one class that stay, at the front of `order`; order[-1] is their number."""
    count = 0
    for i in range(scores.size):
        faded[i] = scores[i]
        if scores[i] > least:
            order[count] = i
            count += 1
    if soft[0] > 0:
        count = _fade(boxes, order, count, faded, soft, plus, work)
    else:
        rank_by_score(scores, order[:count], stack)
        count = _suppress(boxes, order, count, limit, most, plus, work)
    order[order.size - 1] = count


@kernel()
def _rank(scores, order, stack):
    rank_by_score(scores, order, stack)


def _new_stack() -> Array:
    return np.zeros((256, 3), np.int64)


def _new_work() -> Array:
    return np.zeros((3, 16, 2), np.float64)


def best_of_class(
    boxes: Array,
    scores: Array,
    least: float,
    limit: float,
    most: int,
    plus: bool,
    soft: tuple[float, float, float, float],
) -> tuple[Array, Array]:
    """The places of boxes (n, 4 or 5) that stay, best first, and all scores after fading.

    Those with a score above `least` take part. soft: method (0: none, LINEAR, GAUSSIAN), the
    overlap from which on scores fade, sigma, and the least score.
    """
    order = np.zeros(len(scores) + 1, np.int64)
    faded = np.empty_like(scores)
    f = np.float32
    launch = _limit_class(
        np.ascontiguousarray(boxes),
        np.ascontiguousarray(scores),
        f(least),
        f(limit),
        most,
        f(plus),
        np.array(soft, np.float32),
        order,
        _new_stack(),
        _new_work(),
        faded,
    )
    run(launch)
    return order[: order[-1]], faded


def rank(scores: Array) -> Array:
    """The places of scores from the highest to the lowest, ties in the order of C++'s sort."""
    order = np.arange(len(scores), dtype=np.int64)
    run(_rank(np.ascontiguousarray(scores), order, _new_stack()))
    return order


# ---------------------------------------------------------------- proposals


@kernel()
def _propose(scores, deltas, image, anchors, numbers, sizes, limits, order, stack, work, boxes):
    """The proposals of one image: their places in `order`, their boxes; order[-1] is the number.

    scores are (A * H * W), deltas (A, 4 or 5, H * W). sizes: width, how many before and after
    suppression. limits: pixels of a step, overlap, least size.
    """
    width, before, after = sizes[0], sizes[1], sizes[2]
    plus = numbers[PLUS]
    places = deltas.shape[2]
    deep = deltas.shape[1]
    taken = scores.size
    for i in range(taken):
        order[i] = i
    if 0 < before < taken:
        rank_first(scores, order[:taken], before)
        taken = before
    else:
        rank_by_score(scores, order[:taken], stack)
    least = np.float64(limits[2]) * image[2]
    count = 0
    for k in range(taken):
        at = order[k]
        a, place = at // places, at % places
        box = boxes[k, :deep]
        for c in range(deep):
            box[c] = anchors[a, c]
            if c < (2 if deep == 5 else 4):
                step = place // width if c % 2 else place % width
                box[c] = anchors[a, c] + np.float32(step) * limits[0]
        for c in range(deep):
            boxes[k, deep + c] = deltas[a, c, place]
        _move(box, boxes[k, deep : 2 * deep], numbers, box)
        _clip(box, image[0], image[1], numbers)
        boxes[k, deep] = scores[at]
        if _large_enough(box, image, least, plus):
            order[count] = k
            count += 1
    count = _suppress(boxes[:, :deep], order, count, limits[1], after, plus, work)
    order[order.size - 1] = count


def _large_enough(box, image, least, plus):
    if box.size == 5:
        wide, high, x, y = box[2], box[3], box[0], box[1]
    else:
        wide = box[2] - box[0] + plus
        high = box[3] - box[1] + plus
        x = box[0] + wide / np.float32(2)
        y = box[1] + high / np.float32(2)
    return wide >= least and high >= least and x < image[1] and y < image[0]


def propose(
    scores: Array,
    deltas: Array,
    image: Array,
    anchors: Array,
    numbers: Array,
    sizes: tuple[int, int],
    limits: tuple[float, float, float],
) -> tuple[Array, Array]:
    """Boxes (n, 4 or 5) and scores of the proposals of one image, best first.

    scores are (A, H, W), deltas (A * 4 or 5, H, W), image height, width and scale, anchors (A, 4 or
    5); sizes: how many before and after suppression; limits: pixels of a step, overlap, least size.
    """
    a, deep = anchors.shape
    places = scores.shape[1] * scores.shape[2]
    order = np.zeros(scores.size + 1, np.int64)
    taken = min(sizes[0], scores.size) if sizes[0] > 0 else scores.size
    boxes = np.zeros((taken, 2 * deep), np.float32)
    after = sizes[1] if sizes[1] > 0 else -1
    launch = _propose(
        scores.reshape(-1),
        deltas.reshape(a, deep, places),
        image,
        anchors,
        numbers,
        np.array([scores.shape[2], sizes[0], after], np.int64),
        np.array(limits, np.float32),
        order,
        _new_stack(),
        _new_work(),
        boxes,
    )
    run(launch)
    chosen = order[: order[-1]]
    return boxes[chosen, :deep], boxes[chosen, deep]
