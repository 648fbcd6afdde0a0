"""Detection losses on devices: of logits with few positives, of boxes. Sums are float64."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from caffe2py.kernels.cuda.form import device_kernel, form
from caffe2py.kernels.cuda.sums import Total
from caffe2py.kernels.cuda.teams import blocks_for_items
from caffe2py.kernels.cuda.threads import cuda
from caffe2py.kernels.focal import (
    IGNORED,
    LEAST_COUNT,
    TINY,
    focal_loss,
    focal_slope,
    softplus,
)
from caffe2py.kernels.losses import status_at
from caffe2py.kernels.smooth import is_place, slope_of, smooth
from caffe2py.kernels.vectormath import sigmoid

# ---------------------------------------------------------------- sigmoid cross entropy


def _sigmoid_term(i: Any, x: Any, targets: Any) -> Any:
    taken = targets[i] != IGNORED
    loss = softplus(np.float64(x[i])) - x[i] * np.float64(targets[i])
    return loss if taken else 0.0, 1.0 if taken else 0.0


def _sigmoid_loss(total: Any, count: Any, normalize: Any, scale: Any) -> Any:
    return scale * total / (max(count, LEAST_COUNT) if normalize else 1.0)


def _count_term(i: Any, targets: Any) -> Any:
    return 0.0, 1.0 if targets[i] != IGNORED else 0.0


def _sigmoid_factor(total: Any, count: Any, normalize: Any, scale: Any, dy: Any) -> Any:
    return scale * dy[0] / (max(count, LEAST_COUNT) if normalize else 1.0)


#: The loss, and what each element's slope is multiplied by.
SIGMOID = Total("sigmoid_loss", _sigmoid_term, _sigmoid_loss)
SIGMOID_FACTOR = Total("sigmoid_factor", _count_term, _sigmoid_factor)


def _blocks_of_last(*args: Any) -> int:
    return blocks_for_items(args[-1].size)


@device_kernel(blocks=_blocks_of_last)
def SIGMOID_SLOPES(x: Any, targets: Any, factor: Any, dx: Any) -> None:
    """dx = factor * (sigmoid(x) - target), 0 for what takes no part."""
    for i in range(cuda.grid(1), x.size, cuda.gridsize(1)):
        slope = factor[0] * (sigmoid(np.float64(x[i])) - targets[i])
        dx[i] = slope if targets[i] != IGNORED else 0.0


# ---------------------------------------------------------------- sigmoid focal loss


@device_kernel(blocks=lambda labels, last: blocks_for_items(labels.size))
def CHECK_LABELS(labels: Any, last: Any) -> Any:
    """The status for the first label outside of [-1, last]."""
    for at in range(cuda.grid(1), labels.size, cuda.gridsize(1)):
        if labels[at] < IGNORED or labels[at] > last:
            return status_at(at)
    return 0


def _known(at: Any, labels: Any, classes: Any, pixels: Any) -> Any:
    """(class, label) of an element of logits (anchors of images, classes, pixels)."""
    row = at // pixels
    return row % classes, labels[row // classes * pixels + at - row * pixels]


def _focal_term(
    i: Any, x: Any, labels: Any, classes: Any, pixels: Any, alpha: Any, gamma: Any
) -> Any:
    c, label = _known(np.int64(i), labels, classes, pixels)
    loss = focal_loss(np.float64(x[i]), label == c + 1, alpha, gamma)
    return loss if label != IGNORED else 0.0, 0.0


def _focal_result(total: Any, weight: Any, positives: Any, scale: Any) -> Any:
    return scale * total / max(np.float64(positives[0]), 1.0)


#: The loss of logits and labels as vectors, of labels that have been checked.
FOCAL = Total("sigmoid_focal", _focal_term, _focal_result)


def _focal_blocks(x: Any, *_: Any) -> int:
    return blocks_for_items(x.size)


@device_kernel(blocks=_focal_blocks)
def FOCAL_SLOPES(
    x: Any, labels: Any, classes: Any, pixels: Any, positives: Any, dy: Any, alpha: Any, gamma: Any,
    scale: Any, dx: Any,
) -> None:  # fmt: skip
    """The gradient of FOCAL; all are vectors."""
    share = scale * dy[0] / max(np.float64(positives[0]), 1.0)
    for i in range(cuda.grid(1), x.size, cuda.gridsize(1)):
        c, label = _known(np.int64(i), labels, classes, pixels)
        slope = focal_slope(np.float64(x[i]), label == c + 1, alpha, gamma, share)
        dx[i] = slope if label != IGNORED else 0.0


# ---------------------------------------------------------------- softmax focal loss


def _pixel_blocks(x: Any, labels: Any, *_: Any) -> int:
    return blocks_for_items(labels.size)


@device_kernel(blocks=_pixel_blocks)
def SOFTMAX_FOCAL(x: Any, labels: Any, alpha: Any, gamma: Any, losses: Any, p: Any) -> Any:
    """p = softmax over the classes; losses[at] = the focal loss of each pixel of each anchor."""
    _, anchors, classes, pixels = x.shape
    status = 0
    for at in range(cuda.grid(1), losses.size, cuda.gridsize(1)):
        a, s = at // pixels % anchors, at % pixels
        n = at // pixels // anchors
        top = x[n, a, 0, s]
        for c in range(1, classes):
            top = max(top, x[n, a, c, s])
        norm = 0.0
        for c in range(classes):
            norm += math.exp(np.float64(x[n, a, c, s] - top))
        for c in range(classes):
            p[n, a, c, s] = math.exp(np.float64(x[n, a, c, s] - top)) / norm
        label = labels[n, a, s]
        loss = 0.0
        if (label < IGNORED or label >= classes) and status == 0:
            status = status_at(at)
        if 0 <= label < classes:
            own = np.float64(p[n, a, label, s])
            weight = 1.0 - alpha if label == 0 else alpha
            loss = -weight * (1.0 - own) ** gamma * math.log(max(own, TINY))
        losses[at] = loss
    return status


def _element(i: Any, losses: Any) -> Any:
    return losses[i], 0.0


#: scale * the sum of losses / positives.
SHARED_LOSS = Total("shared_loss", _element, _focal_result)


@form(blocks=_pixel_blocks)
def softmax_focal_gradient(
    p: Any, labels: Any, positives: Any, dy: Any, alpha: float, gamma: float, scale: float, dx: Any
) -> Any:
    """A thread for each pixel of each anchor, for all its classes."""
    _, anchors, classes, pixels = p.shape
    factor = scale * dy[0] / max(np.float64(positives[0]), 1.0)
    status = 0
    for at in range(cuda.grid(1), labels.size, cuda.gridsize(1)):
        a, s = at // pixels % anchors, at % pixels
        n = at // pixels // anchors
        label = labels[n, a, s]
        if (label < IGNORED or label >= classes) and status == 0:
            status = status_at(at)
        slope = 0.0
        if 0 <= label < classes:
            own = np.float64(p[n, a, label, s])
            rest = 1.0 - own
            weight = 1.0 - alpha if label == 0 else alpha
            slope = -(rest**gamma)
            if rest > 0.0 and gamma != 0.0:
                slope += gamma * rest ** (gamma - 1.0) * own * math.log(max(own, TINY))
            slope *= weight * factor
        for c in range(classes):
            one = 1.0 if c == label else 0.0
            dx[n, a, c, s] = slope * (one - p[n, a, c, s])
    return status


# ---------------------------------------------------------------- smooth L1


def _smooth_term(i: Any, x: Any, target: Any, inside: Any, outside: Any, beta: Any) -> Any:
    return outside[i] * smooth(np.float64(inside[i] * (x[i] - target[i])), beta), 0.0


def _scaled(total: Any, weight: Any, factor: Any) -> Any:
    return factor * total


#: factor * the sum of outside * smooth(inside * (x - target)).
SMOOTH = Total("smooth_loss", _smooth_term, _scaled)


def _place_of(places: Any, i: Any) -> Any:
    return (
        np.int64(places[i, 0]), np.int64(places[i, 1]),
        np.int64(places[i, 2]), np.int64(places[i, 3]),
    )  # fmt: skip


@device_kernel(blocks=_blocks_of_last)
def CHOSEN_LOSSES(x: Any, target: Any, places: Any, beta: Any, losses: Any) -> Any:
    """losses[i] = the sum of the smooth losses of box i's four numbers."""
    status = 0
    for i in range(cuda.grid(1), losses.size, cuda.gridsize(1)):
        n, c, row, column = _place_of(places, i)
        total = 0.0
        if is_place(n, c, row, column, x.shape):
            for k in range(4):
                total += smooth(np.float64(x[n, c + k, row, column] - target[i, k]), beta)
        elif status == 0:
            status = status_at(i)
        losses[i] = total
    return status


def _reaches(places: Any, j: Any, n: Any, channel: Any, row: Any, column: Any) -> Any:
    """Which of the numbers of box j lies at a place; less than 0 or more than 3 if none does."""
    other, c, i, k = _place_of(places, j)
    return channel - c if other == n and i == row and k == column else -1


@form(blocks=lambda x, target, *_: blocks_for_items(4 * target.shape[0]))
def chosen_loss_gradient(
    x: Any, target: Any, places: Any, boxes: Any, dy: Any, beta: float, scale: float, dx: Any
) -> Any:
    """A thread for each number of a box; the first of several at one place adds for all of them."""
    factor = scale * dy[0] / max(np.float64(boxes[0]), 1.0)
    count = target.shape[0]
    status = 0
    for at in range(cuda.grid(1), 4 * count, cuda.gridsize(1)):
        i = at // 4
        n, c, row, column = _place_of(places, i)
        if not is_place(n, c, row, column, x.shape):
            status = status_at(i) if status == 0 else status
            continue
        channel = c + at % 4
        first = True
        for j in range(i):
            first = first and not 0 <= _reaches(places, j, n, channel, row, column) <= 3
        if first:
            for j in range(i, count):
                k = _reaches(places, j, n, channel, row, column)
                if 0 <= k <= 3:
                    d = np.float64(x[n, channel, row, column] - target[j, k])
                    dx[n, channel, row, column] += factor * slope_of(d, beta)
    return status
