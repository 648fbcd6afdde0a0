"""Loops of losses: negative log likelihoods, distances, and their gradients.

Sums are taken in double precision and rounded once. A probability below TINY counts as TINY, so
that its logarithm is finite. Labels are checked here: a status s means the one at place s - 1.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from caffe2py.errors import Error, ValueRangeError
from caffe2py.kernels.device import doubles, launch_total, on_cuda
from caffe2py.kernels.jit import kernel
from caffe2py.kernels.parallel import CHUNK, by_rows, divisible, is_on_device, moving, split
from caffe2py.kernels.rows import largest
from caffe2py.kernels.vectormath import exp, log, log1p, sigmoid
from caffe2py.registry.context import Call, Launch
from caffe2py.tensor.place import on_host
from caffe2py.tensor.tensor import Array

TINY = 1e-20

#: Differences below this have no sign.
EQUAL = 1e-12

#: A label of a pixel that takes no part.
IGNORED = -1

LAST_STATUS = 2**31 - 1

JOINED, LOG_D, UNJOINED = range(3)


def status_at(place):
    """The status for what is wrong at a place."""
    return min(place + 1, LAST_STATUS)


def no_less(p, tiny):
    """p, but no less than tiny; a NaN stays one."""
    return tiny if p < tiny else p


def explain_label(labels: Array, classes: int) -> Callable[[int], Error]:
    """The error for a label outside of [0, classes)."""

    def explain(status: int) -> Error:
        label = on_host(labels.reshape(-1)[status - 1 : status])[0]
        return ValueRangeError(
            f"label {label} at position {status - 1} is out of range for {classes} class(es)"
        )

    return explain


# ---------------------------------------------------------------- softmax with loss


@kernel()
def _label_losses(x, p, labels, weights, weighted, losses):
    """-log of a label's softmax, from x, so that it is exact where p has become 0."""
    rows, columns = x.shape
    for r in range(rows):
        label = labels[r]
        if not 0 <= label < columns:
            return status_at(r)
        # the largest p is 1 / sum(exp(x - largest x))
        loss = largest(x[r]) - x[r, label] - log(largest(p[r]))
        losses[r] = loss * weights[r] if weighted else loss
    return 0


@kernel()
def _label_gradient(p, labels, factors, dx):
    rows, columns = p.shape
    for r in range(rows):
        label = labels[r]
        if not 0 <= label < columns:
            return status_at(r)
        for c in range(columns):
            dx[r, c] = factors[r] * p[r, c]
        dx[r, label] = factors[r] * (p[r, label] - p.dtype.type(1))
    return 0


@kernel()
def _distribution_losses(p, labels, weights, weighted, losses):
    rows, columns = p.shape
    for r in range(rows):
        loss = 0.0
        total = 0.0
        for c in range(columns):
            label = labels[r, c]
            if not label >= 0:
                return status_at(r)
            total += label
            loss -= log(no_less(p[r, c], p.dtype.type(TINY))) * label
        if not abs(total - 1.0) < 1e-5:
            return status_at(r)
        losses[r] = loss * weights[r] if weighted else loss
    return 0


@kernel()
def _distribution_gradient(p, labels, factors, dx):
    for r in range(p.shape[0]):
        for c in range(p.shape[1]):
            dx[r, c] = factors[r] * (p[r, c] - labels[r, c])


@kernel()
def _average(losses, weights, weighted, by_batch, scale, y):
    """y = scale * sum(losses) / sum(weights), or / the number; 0 where the weights sum to 0."""
    total = 0.0
    weight = 0.0
    for r in range(losses.size):
        total += losses[r]
        weight += weights[r] if weighted else 1.0
    parts = float(losses.size) if by_batch else weight
    y[0] = scale * total / parts if weight != 0.0 else 0.0


@kernel()
def _factors(weights, weighted, by_batch, scale, dy, factors):
    """What the gradient of each row's loss is multiplied by."""
    weight = 0.0
    for r in range(factors.size):
        weight += weights[r] if weighted else 1.0
    parts = float(factors.size) if by_batch else weight
    share = scale * dy[0] / parts if weight != 0.0 else 0.0
    for r in range(factors.size):
        factors[r] = share * weights[r] if weighted else share


_label_losses.form_from("losses", "label_losses")
_label_gradient.form_from("losses", "label_gradient")
_distribution_losses.form_from("losses", "distribution_losses")
_distribution_gradient.form_from("losses", "distribution_gradient")


def launch_softmax_loss(
    x: Array, p: Array, labels: Array, weights: Array | None, losses: Array, *, soft: bool
) -> Launch:
    """losses[r] = -weight * log p[r, label], or -weight * sum of labels * log p if `soft`.

    x and p are matrices, p the softmax of x's rows; ValueRangeError (at run time) for labels
    outside of the classes, or soft ones that are negative or do not sum to 1.
    """
    extra, weighted = (losses, False) if weights is None else (weights.reshape(-1), True)
    if not soft:

        def hard(a: Array, b: Array, own: Array, factor: Array, z: Array, **rest: Any) -> Launch:
            return _label_losses(a, b, own, factor, weighted, z, **rest)

        rows = (x, p, labels.reshape(-1), extra, losses)
        return by_rows(hard, *rows, explain=explain_label(labels, x.shape[1]))

    def explain_soft(status: int) -> Error:
        row = on_host(labels.reshape(x.shape)[status - 1])
        return ValueRangeError(
            f"label probabilities in row {status - 1} must not be negative and must sum to 1; "
            f"smallest {row.min(initial=0):g}, sum {row.sum():g}"
        )

    def soft_losses(b: Array, own: Array, factor: Array, z: Array, **rest: Any) -> Launch:
        return _distribution_losses(b, own, factor, weighted, z, **rest)

    likely = (p, labels.reshape(x.shape), extra, losses)
    return by_rows(soft_losses, *likely, effort=4, explain=explain_soft)


def launch_softmax_loss_gradient(
    p: Array, labels: Array, factors: Array, dx: Array, *, soft: bool
) -> Launch:
    """dx[r] = factors[r] * (p[r] - label as a distribution)."""
    if soft:
        return by_rows(_distribution_gradient, p, labels.reshape(p.shape), factors, dx)
    explain = explain_label(labels, p.shape[1])
    return by_rows(_label_gradient, p, labels.reshape(-1), factors, dx, explain=explain)


def launch_average(
    losses: Array, weights: Array | None, y: Array, *, scale: float, by_batch: bool = False
) -> list[Launch]:
    """y = scale * sum(losses) / sum(weights), 0 where these sum to 0; weights are 1 by default."""
    extra, weighted = (losses, False) if weights is None else (weights.reshape(-1), True)
    if is_on_device(losses):
        result = (by_batch, losses.size, float(scale))
        return launch_total(
            "losses.AVERAGE", losses.size, (losses, extra, weighted), y.reshape(-1), result
        )
    return [_average(losses, extra, weighted, by_batch, float(scale), y.reshape(-1))]


def launch_factors(
    weights: Array | None, dy: Array, factors: Array, *, scale: float, by_batch: bool = False
) -> list[Launch]:
    """factors[r] = scale * dy * weights[r] / sum(weights), 0 where these sum to 0."""
    extra, weighted = (factors, False) if weights is None else (weights.reshape(-1), True)
    if not is_on_device(factors):
        return [_factors(extra, weighted, by_batch, float(scale), dy.reshape(-1), factors)]
    share = doubles(factors, 1)
    result = (by_batch, factors.size, float(scale), dy.reshape(-1))
    return [
        *launch_total("losses.SHARE", factors.size, (extra, weighted), share, result),
        on_cuda("losses.FACTORS")(share, extra, weighted, factors),
    ]


# ---------------------------------------------------------------- softmax at every pixel


@kernel()
def _pixel_softmax(x, p, top, total):
    """Softmax over the middle axis, pixel beside pixel."""
    images, channels, pixels = x.shape
    for n in range(images):
        for s in range(pixels):
            top[s] = x[n, 0, s]
            total[s] = 0
        for c in range(1, channels):
            for s in range(pixels):
                top[s] = max(top[s], x[n, c, s])
        for c in range(channels):
            for s in range(pixels):
                p[n, c, s] = exp(x[n, c, s] - top[s])
                total[s] += p[n, c, s]
        for c in range(channels):
            for s in range(pixels):
                p[n, c, s] /= total[s]


@kernel()
def _pixel_losses(p, labels, weights, weighted, losses, counts):
    images, channels, pixels = p.shape
    for n in range(images):
        for s in range(pixels):
            at = n * pixels + s
            label = labels[at]
            losses[at] = 0
            counts[at] = 0
            if label == IGNORED:
                continue
            if not 0 <= label < channels:
                return status_at(at)
            weight = weights[at] if weighted else p.dtype.type(1)
            counts[at] = weight
            losses[at] = -log(no_less(p[n, label, s], p.dtype.type(TINY))) * weight
    return 0


@kernel()
def _pixel_counts(labels, weights, weighted, channels, counts):
    for at in range(labels.size):
        label = labels[at]
        if label != IGNORED and not 0 <= label < channels:
            return status_at(at)
        weight = weights[at] if weighted else counts.dtype.type(1)
        counts[at] = counts.dtype.type(0) if label == IGNORED else weight
    return 0


@kernel()
def _pixel_gradient(p, labels, factors, dx):
    images, channels, pixels = p.shape
    for n in range(images):
        for c in range(channels):
            for s in range(pixels):
                mine = p.dtype.type(1) if labels[n, s] == c else p.dtype.type(0)
                dx[n, c, s] = factors[n, s] * (p[n, c, s] - mine)


_pixel_softmax.form_from("losses", "pixel_softmax")
_pixel_losses.form_from("losses", "pixel_losses")
_pixel_counts.form_from("losses", "pixel_counts")
_pixel_gradient.form_from("losses", "pixel_gradient")


def launch_pixel_loss(
    call: Call, x: Array, labels: Array, weights: Array | None, p: Array, y: Array, scale: float
) -> list[Launch]:
    """p = softmax of x (n, channels, pixels) over channels, y = the mean loss where labels count.

    ValueRangeError (at run time) for labels that are neither IGNORED nor a channel.
    """

    def softmax(first: int, end: int) -> Launch:
        top, total = (call.scratch(x.shape[2:], x.dtype) for _ in range(2))
        return _pixel_softmax(x[first:end], p[first:end], top, total)

    losses, counts = (call.scratch((labels.size,), x.dtype) for _ in range(2))
    extra, weighted = (losses, False) if weights is None else (weights.reshape(-1), True)
    explain = explain_label(labels, x.shape[1])
    flat = labels.reshape(-1)
    return [
        *split(len(x), 8 * moving(x), softmax),
        _pixel_losses(p, flat, extra, weighted, losses, counts, explain=explain),
        *launch_average(losses, counts, y, scale=scale),
    ]


def launch_pixel_loss_gradient(
    call: Call, p: Array, labels: Array, weights: Array | None, dy: Array, dx: Array, scale: float
) -> list[Launch]:
    """dx = (p - label as a distribution) * weight * scale * dy / sum of weights that count."""
    counts, factors = (call.scratch((labels.size,), p.dtype) for _ in range(2))
    extra, weighted = (counts, False) if weights is None else (weights.reshape(-1), True)
    flat, channels, shape = labels.reshape(-1), p.shape[1], (p.shape[0], p.shape[2])
    explain = explain_label(labels, channels)
    return [
        _pixel_counts(flat, extra, weighted, channels, counts, explain=explain),
        *launch_factors(counts, dy, factors, scale=scale),
        by_rows(_pixel_gradient, p, flat.reshape(shape), factors.reshape(shape), dx),
    ]


# ---------------------------------------------------------------- means


@kernel("reassoc")
def _mean(x, y):
    total = 0.0
    for i in range(x.size):
        total += x[i]
    y[0] = total / max(x.size, 1)


@kernel()
def _spread(dy, count, dx):
    value = dy.dtype.type(dy[0] / count)
    for i in range(dx.size):
        dx[i] = value


def launch_mean(x: Array, y: Array) -> list[Launch]:
    """y = the mean of all elements of x, 0 if there are none."""
    if is_on_device(x):
        return launch_total("totals.MEAN", x.size, (x.reshape(-1),), y, (x.size,))
    return [_mean(x.reshape(-1), y.reshape(-1))]


def launch_mean_gradient(dy: Array, dx: Array) -> Launch:
    """dx = dy / number of elements, everywhere."""
    value = dy.reshape(-1)
    return by_rows(lambda part: _spread(value, dx.size, part), dx.reshape(-1), multiple=CHUNK)


# ---------------------------------------------------------------- entropies


@kernel()
def _label_entropy(x, labels, y):
    for r in range(x.shape[0]):
        label = labels[r]
        if not 0 <= label < x.shape[1]:
            return status_at(r)
        y[r] = -log(no_less(x[r, label], x.dtype.type(TINY)))
    return 0


@kernel()
def _label_entropy_gradient(x, labels, dy, dx):
    for r in range(x.shape[0]):
        label = labels[r]
        if not 0 <= label < x.shape[1]:
            return status_at(r)
        for c in range(x.shape[1]):
            dx[r, c] = 0
        dx[r, label] = -dy[r] / no_less(x[r, label], x.dtype.type(TINY))
    return 0


@kernel()
def _entropy(x, labels, y):
    for r in range(x.shape[0]):
        total = 0.0
        for c in range(x.shape[1]):
            label = labels[r, c]
            if not 0 <= label <= 1:
                return status_at(r * x.shape[1] + c)
            total -= label * log(no_less(x[r, c], x.dtype.type(TINY)))
        y[r] = total
    return 0


@kernel()
def _entropy_gradient(x, labels, dy, dx):
    for r in range(x.shape[0]):
        for c in range(x.shape[1]):
            dx[r, c] = -dy[r] * labels[r, c] / no_less(x[r, c], x.dtype.type(TINY))


_label_entropy_gradient.form_from("losses", "label_entropy_gradient")
_entropy.form_from("losses", "entropy")
_entropy_gradient.form_from("losses", "entropy_gradient")


def launch_label_entropy(x: Array, labels: Array, y: Array) -> Launch:
    """y[r] = -log x[r, label]; ValueRangeError (at run time) for labels that are no column."""
    explain = explain_label(labels, x.shape[1])
    return by_rows(_label_entropy, x, labels.reshape(-1), y, explain=explain)


def launch_label_entropy_gradient(x: Array, labels: Array, dy: Array, dx: Array) -> Launch:
    """dx = -dy[r] / x at the label, 0 elsewhere."""
    explain = explain_label(labels, x.shape[1])
    return by_rows(_label_entropy_gradient, x, labels.reshape(-1), dy, dx, explain=explain)


def launch_entropy(x: Array, labels: Array, y: Array) -> Launch:
    """y[r] = -sum of labels * log x; ValueRangeError (at run time) for labels outside [0, 1]."""

    def explain(status: int) -> Error:
        label = on_host(labels.reshape(-1)[status - 1 : status])[0]
        return ValueRangeError(
            f"label {label:g} at position {status - 1} is no probability between 0 and 1"
        )

    def part(first: int, end: int) -> Launch:
        rows = (a[first:end] for a in (x, labels, y))
        return _entropy(*rows, explain=lambda status: explain(status + first * x.shape[1]))

    return divisible(len(x), 4 * moving(x, labels), part)


def launch_entropy_gradient(x: Array, labels: Array, dy: Array, dx: Array) -> Launch:
    """dx = -dy[r] * labels / x."""
    return by_rows(_entropy_gradient, x, labels, dy, dx)


# ---------------------------------------------------------------- logistic


def softplus(x, zero):
    """log(1 + exp(x)), from the side that does not overflow."""
    return (x if x > zero else zero) + log1p(exp(-abs(x)))


@kernel("reassoc")
def _logistic_losses(x, t, kind, y):
    zero, one = x.dtype.type(0), x.dtype.type(1)
    for r in range(x.shape[0]):
        total = 0.0
        for c in range(x.shape[1]):
            logit, target = x[r, c], t[r, c]
            if kind == LOG_D:
                total += (target + target - one) * softplus(-logit, zero)
            elif kind == UNJOINED:
                total += (one - target) * softplus(logit, zero) - logit * target
            elif logit > 0:
                total += logit * (one - target) + softplus(-logit, zero)
            else:
                total += softplus(logit, zero) - logit * target
        y[r] = total / max(x.shape[1], 1)


@kernel()
def _logistic_gradient(dy, x, t, kind, dx):
    one = x.dtype.type(1)
    for r in range(x.shape[0]):
        share = dy[r] / x.dtype.type(max(x.shape[1], 1))
        for c in range(x.shape[1]):
            target = t[r, c]
            if kind == LOG_D:
                slope = (one - target - target) * sigmoid(-x[r, c])
            elif kind == UNJOINED:
                slope = (one - target) * sigmoid(x[r, c]) - target
            else:
                slope = sigmoid(x[r, c]) - target
            dx[r, c] = share * slope


_logistic_losses.form_from("losses", "logistic_losses")
_logistic_gradient.form_from("losses", "logistic_gradient")


def launch_logistic_loss(x: Array, targets: Array, kind: int, y: Array) -> Launch:
    """y[r] = the mean loss of row r; kind is JOINED, LOG_D or UNJOINED."""
    return by_rows(
        lambda a, t, b: _logistic_losses(a, t, kind, b), x, targets, y.reshape(-1), effort=4
    )


def launch_logistic_loss_gradient(
    dy: Array, x: Array, targets: Array, kind: int, dx: Array
) -> Launch:
    """dx = dy[r] / columns * the derivative of each element's loss."""
    return by_rows(
        lambda db, a, t, da: _logistic_gradient(db, a, t, kind, da),
        *(dy.reshape(-1), x, targets, dx),
        effort=3,
    )


# ---------------------------------------------------------------- distances


@kernel("reassoc")
def _squared_distance(x, y, z):
    for r in range(x.shape[0]):
        total = 0.0
        for c in range(x.shape[1]):
            d = x[r, c] - y[r, c]
            total += d * d
        z[r] = 0.5 * total


@kernel("reassoc")
def _l1_distance(x, y, z):
    for r in range(x.shape[0]):
        total = 0.0
        for c in range(x.shape[1]):
            total += abs(x[r, c] - y[r, c])
        z[r] = total


@kernel()
def _squared_distance_gradient(x, y, dz, dx, dy):
    for r in range(x.shape[0]):
        for c in range(x.shape[1]):
            d = dz[r] * (x[r, c] - y[r, c])
            dx[r, c] = d
            dy[r, c] = -d


@kernel()
def _l1_distance_gradient(x, y, dz, dx, dy):
    for r in range(x.shape[0]):
        for c in range(x.shape[1]):
            d = x[r, c] - y[r, c]
            slope = dz[r] if d > EQUAL else -dz[r]
            if abs(d) <= EQUAL:
                slope = x.dtype.type(0)
            dx[r, c] = slope
            dy[r, c] = -slope


_squared_distance.form_from("losses", "squared_distance")
_l1_distance.form_from("losses", "l1_distance")
_squared_distance_gradient.form_from("losses", "squared_distance_gradient")
_l1_distance_gradient.form_from("losses", "l1_distance_gradient")


def launch_distance(x: Array, y: Array, z: Array, *, squared: bool) -> Launch:
    """z[r] = sum of (x[r] - y[r])^2 / 2 if `squared`, else of |x[r] - y[r]|; x, y are matrices."""
    function = _squared_distance if squared else _l1_distance
    return by_rows(function, x, y, z)


def launch_distance_gradient(
    x: Array, y: Array, dz: Array, dx: Array, dy: Array, *, squared: bool
) -> Launch:
    """dx = dz * (x - y), or dz * the sign of that (0 below 1e-12); dy = -dx."""
    function = _squared_distance_gradient if squared else _l1_distance_gradient
    return by_rows(function, x, y, dz, dx, dy)


# ---------------------------------------------------------------- accuracy


@kernel()
def _accuracy(x, labels, top, y):
    rows, columns = x.shape
    right = 0
    for r in range(rows):
        label = labels[r]
        if not 0 <= label < columns:
            return status_at(r)
        mine = x[r, label]
        before = 0
        for c in range(columns):
            # not <=, so that a NaN on either side is before
            if c != label and (not x[r, c] <= mine or (x[r, c] == mine and c < label)):
                before += 1
        if before < top and mine == mine:
            right += 1
    y[0] = right / rows
    return 0


def launch_accuracy(x: Array, labels: Array, top: int, y: Array) -> list[Launch]:
    """y = the share of rows whose label is among the `top` largest; NaN without rows.

    ValueRangeError (at run time) for labels that are no column.
    """
    explain = explain_label(labels, x.shape[1])
    if not is_on_device(x):
        return [_accuracy(x, labels, int(top), y.reshape(-1), explain=explain)]
    hits = doubles(x, len(x))
    return [
        on_cuda("losses.HITS")(x, labels, int(top), hits, explain=explain),
        *launch_total("losses.MEAN", len(x), (hits,), y.reshape(-1)),
    ]
