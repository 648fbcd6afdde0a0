"""Loops of detection losses: of logits with few positives, of boxes. Sums are float64.

Labels are checked here: status s > 0 means the one at place s - 1.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from caffe2py.errors import Error, ValueRangeError
from caffe2py.kernels.device import doubles, launch_total, on_cuda
from caffe2py.kernels.jit import kernel
from caffe2py.kernels.parallel import is_on_device
from caffe2py.kernels.vectormath import exp, log1p, power, sigmoid
from caffe2py.registry.context import Launch
from caffe2py.tensor.place import on_host
from caffe2py.tensor.tensor import Array

_LAST_STATUS = 2**31 - 1

#: A probability below this counts as this in logarithms; a count below LEAST_COUNT as that.
TINY = float(np.finfo(np.float32).tiny)
LEAST_COUNT = 1e-5
_MOST_COST = -math.log(TINY)

#: The label of what takes no part.
IGNORED = -1


def softplus(x):
    """log(1 + exp(x)), from the side that does not overflow."""
    return max(x, 0.0) + log1p(exp(-abs(x)))


def _explain_label(labels: Array, last: int) -> Callable[[int], Error]:
    def explain(status: int) -> Error:
        label = on_host(labels.reshape(-1)[status - 1 : status])[0]
        return ValueRangeError(
            f"label {label} at position {status - 1} is out of range: expected -1 (ignored) to "
            f"{last}"
        )

    return explain


# ---------------------------------------------------------------- sigmoid cross entropy


@kernel("reassoc")
def _sigmoid_loss(x: Any, targets: Any, normalize: bool, scale: float, y: Any) -> None:
    total = 0.0
    count = 0.0
    for i in range(x.size):
        loss = softplus(np.float64(x[i])) - x[i] * np.float64(targets[i])
        total += loss if targets[i] != IGNORED else 0.0
        count += 1.0 if targets[i] != IGNORED else 0.0
    y[0] = scale * total / (max(count, LEAST_COUNT) if normalize else 1.0)


@kernel()
def _sigmoid_loss_gradient(
    x: Any, targets: Any, dy: Any, normalize: bool, scale: float, dx: Any
) -> None:
    count = 0.0
    for i in range(x.size):
        count += 0.0 if targets[i] == IGNORED else 1.0
    factor = scale * dy[0] / (max(count, LEAST_COUNT) if normalize else 1.0)
    for i in range(x.size):
        slope = factor * (sigmoid(np.float64(x[i])) - targets[i])
        dx[i] = slope if targets[i] != IGNORED else 0.0


def launch_sigmoid_loss(
    x: Array, targets: Array, y: Array, *, normalize: bool, scale: float
) -> list[Launch]:
    """y = scale * the sum (or mean) of the cross entropy of sigmoid(x) with targets of 0 and 1."""
    both, numbers = (x.reshape(-1), targets.reshape(-1)), (normalize, float(scale))
    if is_on_device(x):
        return launch_total("focal.SIGMOID", x.size, both, y, numbers)
    return [_sigmoid_loss(*both, *numbers, y.reshape(-1))]


def launch_sigmoid_loss_gradient(
    x: Array, targets: Array, dy: Array, dx: Array, *, normalize: bool, scale: float
) -> list[Launch]:
    """dx of launch_sigmoid_loss."""
    flat = [a.reshape(-1) for a in (x, targets, dy)]
    numbers = (normalize, float(scale))
    if not is_on_device(x):
        return [_sigmoid_loss_gradient(*flat, *numbers, dx.reshape(-1))]
    factor = doubles(x, 1)
    result = (*numbers, flat[2])
    return [
        *launch_total("focal.SIGMOID_FACTOR", x.size, flat[1:2], factor, result),
        on_cuda("focal.SIGMOID_SLOPES")(*flat[:2], factor, dx.reshape(-1)),
    ]


# ---------------------------------------------------------------- sigmoid focal loss


def _misplaced(labels, classes):
    """The status for the first label outside of [-1, classes]."""
    images, anchors, pixels = labels.shape
    for a in range(images * anchors):
        for s in range(pixels):
            label = labels[a // anchors, a % anchors, s]
            if label < IGNORED or label > classes:
                return min(a * pixels + s + 1, _LAST_STATUS)
    return 0


def _cost(logit, hit):
    """-log of the probability of what is the case, at most that of the smallest number."""
    cost = softplus(-logit if hit else logit)
    return _MOST_COST if hit and cost > _MOST_COST else cost


def focal_loss(logit, hit, alpha, gamma):
    """The loss of one logit; `hit`: its class is the one that is there."""
    p = sigmoid(logit)
    factor = power(1.0 - p if hit else p, gamma) * (alpha if hit else 1.0 - alpha)
    return factor * _cost(logit, hit)


def focal_slope(logit, hit, alpha, gamma, share):
    """Its derivative, times `share`."""
    p = sigmoid(logit)
    own, other = (p, 1.0 - p) if hit else (1.0 - p, p)
    factor = power(other, gamma) * (-alpha if hit else 1.0 - alpha)
    return share * factor * (other + gamma * own * _cost(logit, hit))


@kernel("reassoc")
def _sigmoid_focal(
    x: Any, labels: Any, positives: Any, alpha: float, gamma: float, scale: float, y: Any
) -> Any:
    """x is (images, anchors, classes, pixels), labels (images, anchors, pixels)."""
    images, anchors, classes, pixels = x.shape
    status = _misplaced(labels, classes)
    if status != 0:
        return status
    total = 0.0
    for a in range(images * anchors):
        known = labels[a // anchors, a % anchors]
        for c in range(classes):
            row = x[a // anchors, a % anchors, c]
            for s in range(pixels):
                loss = focal_loss(np.float64(row[s]), known[s] == c + 1, alpha, gamma)
                total += loss if known[s] != IGNORED else 0.0
    y[0] = scale * total / max(np.float64(positives[0]), 1.0)
    return 0


@kernel("reassoc")
def _sigmoid_focal_gradient(
    x: Any,
    labels: Any,
    positives: Any,
    dy: Any,
    alpha: float,
    gamma: float,
    scale: float,
    dx: Any,
) -> Any:
    images, anchors, classes, pixels = x.shape
    status = _misplaced(labels, classes)
    if status != 0:
        return status
    share = scale * dy[0] / max(np.float64(positives[0]), 1.0)
    for a in range(images * anchors):
        known = labels[a // anchors, a % anchors]
        for c in range(classes):
            row = x[a // anchors, a % anchors, c]
            out = dx[a // anchors, a % anchors, c]
            for s in range(pixels):
                slope = focal_slope(np.float64(row[s]), known[s] == c + 1, alpha, gamma, share)
                out[s] = slope if known[s] != IGNORED else 0.0
    return 0


def launch_sigmoid_focal(
    x: Array, labels: Array, positives: Array, y: Array, *, alpha: float, gamma: float, scale: float
) -> list[Launch]:
    """y = scale * the focal loss of logits (images, anchors, classes, pixels) / positives.

    Label 0 is background, c + 1 the class c. ValueRangeError (at run time) for other labels.
    """
    explain = _explain_label(labels, x.shape[2])
    numbers = (float(alpha), float(gamma), float(scale))
    one = positives.reshape(-1)
    if is_on_device(x):
        flat, sizes = (x.reshape(-1), labels.reshape(-1)), x.shape[2:]
        check = on_cuda("focal.CHECK_LABELS")(flat[1], x.shape[2], explain=explain)
        over = (*flat, *sizes, *numbers[:2])
        return [check, *launch_total("focal.FOCAL", x.size, over, y, (one, numbers[2]))]
    return [_sigmoid_focal(x, labels, one, *numbers, y.reshape(-1), explain=explain)]


def launch_sigmoid_focal_gradient(
    x: Array,
    labels: Array,
    positives: Array,
    dy: Array,
    dx: Array,
    *,
    alpha: float,
    gamma: float,
    scale: float,
) -> list[Launch]:
    """dx of launch_sigmoid_focal."""
    explain = _explain_label(labels, x.shape[2])
    numbers = (float(alpha), float(gamma), float(scale))
    ones = (positives.reshape(-1), dy.reshape(-1))
    if is_on_device(x):
        flat = (x.reshape(-1), labels.reshape(-1), *x.shape[2:])
        check = on_cuda("focal.CHECK_LABELS")(flat[1], x.shape[2], explain=explain)
        slopes = on_cuda("focal.FOCAL_SLOPES")
        return [check, slopes(*flat, *ones, *numbers, dx.reshape(-1))]
    return [_sigmoid_focal_gradient(x, labels, *ones, *numbers, dx, explain=explain)]


# ---------------------------------------------------------------- softmax focal loss


@kernel()
def _softmax_focal(
    x: Any, labels: Any, positives: Any, alpha: float, gamma: float, scale: float, y: Any, p: Any
) -> Any:
    images, anchors, classes, pixels = x.shape
    total = 0.0
    for n in range(images):
        for a in range(anchors):
            for s in range(pixels):
                top = x[n, a, 0, s]
                for c in range(1, classes):
                    top = max(top, x[n, a, c, s])
                norm = 0.0
                for c in range(classes):
                    norm += math.exp(np.float64(x[n, a, c, s] - top))
                for c in range(classes):
                    p[n, a, c, s] = math.exp(np.float64(x[n, a, c, s] - top)) / norm
                label = labels[n, a, s]
                if label < IGNORED or label >= classes:
                    return min((n * anchors + a) * pixels + s + 1, _LAST_STATUS)
                if label == IGNORED:
                    continue
                own = np.float64(p[n, a, label, s])
                weight = 1.0 - alpha if label == 0 else alpha
                total -= weight * (1.0 - own) ** gamma * math.log(max(own, TINY))
    y[0] = scale * total / max(np.float64(positives[0]), 1.0)
    return 0


@kernel()
def _softmax_focal_gradient(
    p: Any,
    labels: Any,
    positives: Any,
    dy: Any,
    alpha: float,
    gamma: float,
    scale: float,
    dx: Any,
) -> Any:
    images, anchors, classes, pixels = p.shape
    factor = scale * dy[0] / max(np.float64(positives[0]), 1.0)
    for n in range(images):
        for a in range(anchors):
            for s in range(pixels):
                label = labels[n, a, s]
                if label < IGNORED or label >= classes:
                    return min((n * anchors + a) * pixels + s + 1, _LAST_STATUS)
                slope = 0.0
                if label != IGNORED:
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
    return 0


def launch_softmax_focal(
    x: Array,
    labels: Array,
    positives: Array,
    y: Array,
    p: Array,
    *,
    alpha: float,
    gamma: float,
    scale: float,
) -> list[Launch]:
    """p = softmax over the classes of x (images, anchors, classes, pixels); y = its focal loss.

    Label 0 is background. ValueRangeError (at run time) for labels that are no class.
    """
    explain = _explain_label(labels, x.shape[2] - 1)
    numbers = (float(alpha), float(gamma), float(scale))
    one = positives.reshape(-1)
    if not is_on_device(x):
        return [_softmax_focal(x, labels, one, *numbers, y.reshape(-1), p, explain=explain)]
    losses = doubles(x, labels.size)
    both = numbers[:2]
    return [
        on_cuda("focal.SOFTMAX_FOCAL")(x, labels, *both, losses, p, explain=explain),
        *launch_total("focal.SHARED_LOSS", labels.size, (losses,), y, (one, numbers[2])),
    ]


_softmax_focal_gradient.form_from("focal", "softmax_focal_gradient")


def launch_softmax_focal_gradient(
    p: Array,
    labels: Array,
    positives: Array,
    dy: Array,
    dx: Array,
    *,
    alpha: float,
    gamma: float,
    scale: float,
) -> Launch:
    """dx of launch_softmax_focal."""
    explain = _explain_label(labels, p.shape[2] - 1)
    numbers = (float(alpha), float(gamma), float(scale))
    ones = (positives.reshape(-1), dy.reshape(-1))
    return _softmax_focal_gradient(p, labels, *ones, *numbers, dx, explain=explain)
