"""Losses on devices: rows of logits and labels, their averages, pixels. Sums are float64."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from caffe2py.kernels.cuda.form import device_kernel, form
from caffe2py.kernels.cuda.rows import blocks_of_first, elements, my_row, row_sums
from caffe2py.kernels.cuda.sums import Total
from caffe2py.kernels.cuda.teams import blocks_for_items
from caffe2py.kernels.cuda.threads import (
    cuda,
    group_max,
    group_sum,
    group_sum_double,
)
from caffe2py.kernels.losses import (
    EQUAL,
    IGNORED,
    JOINED,
    LOG_D,
    TINY,
    UNJOINED,
    no_less,
    softplus,
    status_at,
)
from caffe2py.kernels.vectormath import log, sigmoid

# ---------------------------------------------------------------- softmax with loss


@form(blocks=blocks_of_first)
def label_losses(x: Any, p: Any, labels: Any, weights: Any, weighted: Any, losses: Any) -> Any:
    """-log of a label's softmax, from x alone."""
    rows, columns = x.shape
    first, own, step, lane, group = my_row(columns)
    number = x.dtype.type
    status = 0
    while first < rows:
        r = first + own
        width = columns if r < rows else 0
        top = number(-math.inf)
        total = number(0)
        c = lane
        while c < width:
            top = x[r, c] if x[r, c] > top or x[r, c] != x[r, c] else top
            c += group
        top = group_max(x, top, group)
        c = lane
        while c < width:
            total += math.exp(x[r, c] - top)
            c += group
        total = group_sum(x, total, group, 1)
        if lane == 0 and r < rows:
            label = labels[r]
            if 0 <= label < columns:
                loss = top - x[r, label] + math.log(total)
                losses[r] = loss * weights[r] if weighted else loss
            elif status == 0:
                status = status_at(r)
        first += step
    return status


def _label_shape(p: Any, labels: Any, factors: Any, dx: Any) -> Any:
    return p.shape


def _check_label(r: Any, p: Any, labels: Any, factors: Any, dx: Any) -> Any:
    return 0 if 0 <= labels[r] < p.shape[1] else status_at(r)


def _label_slope(r: Any, c: Any, p: Any, labels: Any, factors: Any, dx: Any) -> None:
    mine = p.dtype.type(1) if c == labels[r] else p.dtype.type(0)
    dx[r, c] = factors[r] * (p[r, c] - mine)


def _soft_slope(r: Any, c: Any, p: Any, labels: Any, factors: Any, dx: Any) -> None:
    dx[r, c] = factors[r] * (p[r, c] - labels[r, c])


label_gradient = elements("_label_gradient", _label_shape, _label_slope, _check_label)
distribution_gradient = elements("_distribution_gradient", _label_shape, _soft_slope)


@form(blocks=blocks_of_first)
def distribution_losses(p: Any, labels: Any, weights: Any, weighted: Any, losses: Any) -> Any:
    """-the sum of labels * log p, of labels that are probabilities."""
    rows, columns = p.shape
    first, own, step, lane, group = my_row(columns)
    tiny = p.dtype.type(TINY)
    status = 0
    while first < rows:
        r = first + own
        width = columns if r < rows else 0
        loss = 0.0
        total = 0.0
        c = lane
        while c < width:
            label = labels[r, c]
            # what is no probability makes a sum that is none
            total += np.float64(label) if label >= 0 else math.inf
            loss -= log(no_less(p[r, c], tiny)) * label
            c += group
        loss = group_sum_double(loss, group, 1)
        total = group_sum_double(total, group, 1)
        if lane == 0 and r < rows:
            if abs(total - 1.0) < 1e-5:
                losses[r] = loss * weights[r] if weighted else loss
            elif status == 0:
                status = status_at(r)
        first += step
    return status


def _loss_and_weight(i: Any, losses: Any, weights: Any, weighted: Any) -> Any:
    return np.float64(losses[i]), np.float64(weights[i]) if weighted else 1.0


def _averaged(total: Any, weight: Any, by_batch: Any, count: Any, scale: Any) -> Any:
    parts = np.float64(count) if by_batch else weight
    return scale * total / parts if weight != 0.0 else 0.0


def _only_weight(i: Any, weights: Any, weighted: Any) -> Any:
    return 0.0, np.float64(weights[i]) if weighted else 1.0


def _shared(total: Any, weight: Any, by_batch: Any, count: Any, scale: Any, dy: Any) -> Any:
    parts = np.float64(count) if by_batch else weight
    return scale * dy[0] / parts if weight != 0.0 else 0.0


#: scale * sum(losses) / sum(weights), and scale * dy / sum(weights); 0 where these sum to 0.
AVERAGE = Total("average", _loss_and_weight, _averaged)
SHARE = Total("share", _only_weight, _shared)


def _factor_blocks(share: Any, weights: Any, weighted: Any, factors: Any) -> int:
    return blocks_for_items(factors.size)


@device_kernel(blocks=_factor_blocks)
def FACTORS(share: Any, weights: Any, weighted: Any, factors: Any) -> None:
    """factors[r] = share * weights[r]."""
    for r in range(cuda.grid(1), factors.size, cuda.gridsize(1)):
        factors[r] = share[0] * weights[r] if weighted else share[0]


# ---------------------------------------------------------------- softmax at every pixel


def _pixel_blocks(x: Any, *_: Any) -> int:
    return blocks_for_items(x.shape[0] * x.shape[2])


@form(blocks=_pixel_blocks)
def pixel_softmax(x: Any, p: Any, top: Any, total: Any) -> None:
    """A thread for each pixel."""
    images, channels, pixels = x.shape
    for at in range(cuda.grid(1), images * pixels, cuda.gridsize(1)):
        n, s = at // pixels, at % pixels
        best = x[n, 0, s]
        for c in range(1, channels):
            best = max(best, x[n, c, s])
        norm = x.dtype.type(0)
        for c in range(channels):
            norm += math.exp(x[n, c, s] - best)
        for c in range(channels):
            p[n, c, s] = math.exp(x[n, c, s] - best) / norm


@form(blocks=_pixel_blocks)
def pixel_losses(p: Any, labels: Any, weights: Any, weighted: Any, losses: Any, counts: Any) -> Any:
    """A thread for each pixel."""
    images, channels, pixels = p.shape
    status = 0
    one, zero = p.dtype.type(1), p.dtype.type(0)
    for at in range(cuda.grid(1), images * pixels, cuda.gridsize(1)):
        label = labels[at]
        known = 0 <= label < channels
        if not known and label != IGNORED:
            status = status_at(at) if status == 0 else status
        weight = weights[at] if weighted else one
        counts[at] = weight if known else zero
        own = p[at // pixels, label if known else 0, at % pixels]
        losses[at] = -log(no_less(own, p.dtype.type(TINY))) * weight if known else zero
    return status


def _count_blocks(labels: Any, *_: Any) -> int:
    return blocks_for_items(labels.size)


@form(blocks=_count_blocks)
def pixel_counts(labels: Any, weights: Any, weighted: Any, channels: Any, counts: Any) -> Any:
    """A thread for each pixel."""
    status = 0
    one, zero = counts.dtype.type(1), counts.dtype.type(0)
    for at in range(cuda.grid(1), labels.size, cuda.gridsize(1)):
        label = labels[at]
        if label != IGNORED and not 0 <= label < channels:
            status = status_at(at) if status == 0 else status
        weight = weights[at] if weighted else one
        counts[at] = zero if label == IGNORED else weight
    return status


def _pixel_shape(p: Any, labels: Any, factors: Any, dx: Any) -> Any:
    return p.shape[0] * p.shape[1], p.shape[2]


def _pixel_slope(r: Any, s: Any, p: Any, labels: Any, factors: Any, dx: Any) -> None:
    n, c = r // p.shape[1], r % p.shape[1]
    mine = p.dtype.type(1) if labels[n, s] == c else p.dtype.type(0)
    dx[n, c, s] = factors[n, s] * (p[n, c, s] - mine)


pixel_gradient = elements("_pixel_gradient", _pixel_shape, _pixel_slope)

# ---------------------------------------------------------------- entropies


def _entropy_shape(x: Any, labels: Any, dy: Any, dx: Any) -> Any:
    return x.shape


def _check_entropy(r: Any, x: Any, labels: Any, dy: Any, dx: Any) -> Any:
    return 0 if 0 <= labels[r] < x.shape[1] else status_at(r)


def _label_entropy_slope(r: Any, c: Any, x: Any, labels: Any, dy: Any, dx: Any) -> None:
    zero = x.dtype.type(0)
    dx[r, c] = -dy[r] / no_less(x[r, c], x.dtype.type(TINY)) if c == labels[r] else zero


def _entropy_slope(r: Any, c: Any, x: Any, labels: Any, dy: Any, dx: Any) -> None:
    dx[r, c] = -dy[r] * labels[r, c] / no_less(x[r, c], x.dtype.type(TINY))


label_entropy_gradient = elements(
    "_label_entropy_gradient", _entropy_shape, _label_entropy_slope, _check_entropy
)
entropy_gradient = elements("_entropy_gradient", _entropy_shape, _entropy_slope)


@form(blocks=blocks_of_first)
def entropy(x: Any, labels: Any, y: Any) -> Any:
    """-the sum of labels * log x."""
    rows, columns = x.shape
    first, own, step, lane, group = my_row(columns)
    tiny = x.dtype.type(TINY)
    status = 0
    while first < rows:
        r = first + own
        width = columns if r < rows else 0
        total = 0.0
        c = lane
        while c < width:
            label = labels[r, c]
            if not 0 <= label <= 1 and status == 0:
                status = status_at(r * columns + c)
            total -= label * log(no_less(x[r, c], tiny))
            c += group
        total = group_sum_double(total, group, 1)
        if lane == 0 and r < rows:
            y[r] = total
        first += step
    return status


# ---------------------------------------------------------------- logistic


def _logistic_shape(x: Any, t: Any, kind: Any, y: Any) -> Any:
    return x.shape


def _logistic_loss(r: Any, c: Any, x: Any, t: Any, kind: Any, y: Any) -> Any:
    zero, one = x.dtype.type(0), x.dtype.type(1)
    logit, target = x[r, c], t[r, c]
    if kind == LOG_D:
        return np.float64((target + target - one) * softplus(-logit, zero)), 0.0
    if kind == JOINED and logit > zero:
        return np.float64(logit * (one - target) + softplus(-logit, zero)), 0.0
    if kind == UNJOINED:
        return np.float64((one - target) * softplus(logit, zero) - logit * target), 0.0
    return np.float64(softplus(logit, zero) - logit * target), 0.0


def _put_mean(r: Any, a: Any, b: Any, x: Any, t: Any, kind: Any, y: Any) -> None:
    y[r] = a / max(x.shape[1], 1)


logistic_losses = row_sums("_logistic_losses", _logistic_shape, _logistic_loss, _put_mean)


def _logistic_gradient_shape(dy: Any, x: Any, t: Any, kind: Any, dx: Any) -> Any:
    return x.shape


def _logistic_slope(r: Any, c: Any, dy: Any, x: Any, t: Any, kind: Any, dx: Any) -> None:
    one = x.dtype.type(1)
    target = t[r, c]
    p = sigmoid(-x[r, c] if kind == LOG_D else x[r, c])
    if kind == LOG_D:
        slope = (one - target - target) * p
    elif kind == UNJOINED:
        slope = (one - target) * p - target
    else:
        slope = p - target
    dx[r, c] = dy[r] / x.dtype.type(max(x.shape[1], 1)) * slope


logistic_gradient = elements("_logistic_gradient", _logistic_gradient_shape, _logistic_slope)

# ---------------------------------------------------------------- distances


def _distance_shape(x: Any, y: Any, z: Any) -> Any:
    return x.shape


def _square(r: Any, c: Any, x: Any, y: Any, z: Any) -> Any:
    d = x[r, c] - y[r, c]
    return np.float64(d * d), 0.0


def _magnitude(r: Any, c: Any, x: Any, y: Any, z: Any) -> Any:
    return np.float64(abs(x[r, c] - y[r, c])), 0.0


def _put_half(r: Any, a: Any, b: Any, x: Any, y: Any, z: Any) -> None:
    z[r] = 0.5 * a


def _put_sum(r: Any, a: Any, b: Any, x: Any, y: Any, z: Any) -> None:
    z[r] = a


squared_distance = row_sums("_squared_distance", _distance_shape, _square, _put_half)
l1_distance = row_sums("_l1_distance", _distance_shape, _magnitude, _put_sum)


def _pair_shape(x: Any, y: Any, dz: Any, dx: Any, dy: Any) -> Any:
    return x.shape


def _squared_slope(r: Any, c: Any, x: Any, y: Any, dz: Any, dx: Any, dy: Any) -> None:
    d = dz[r] * (x[r, c] - y[r, c])
    dx[r, c] = d
    dy[r, c] = -d


def _sign_slope(r: Any, c: Any, x: Any, y: Any, dz: Any, dx: Any, dy: Any) -> None:
    d = x[r, c] - y[r, c]
    slope = dz[r] if d > EQUAL else -dz[r]
    if abs(d) <= EQUAL:
        slope = x.dtype.type(0)
    dx[r, c] = slope
    dy[r, c] = -slope


squared_distance_gradient = elements("_squared_distance_gradient", _pair_shape, _squared_slope)
l1_distance_gradient = elements("_l1_distance_gradient", _pair_shape, _sign_slope)

# ---------------------------------------------------------------- accuracy


def _hits_shape(x: Any, labels: Any, top: Any, hits: Any) -> Any:
    return x.shape


def _is_before(r: Any, c: Any, x: Any, labels: Any, top: Any, hits: Any) -> Any:
    label = labels[r]
    mine = x[r, label if 0 <= label < x.shape[1] else 0]
    # not <=, so that a NaN on either side is before
    before = c != label and (not x[r, c] <= mine or (x[r, c] == mine and c < label))
    return 1.0 if before else 0.0, 0.0


def _put_hit(r: Any, a: Any, b: Any, x: Any, labels: Any, top: Any, hits: Any) -> Any:
    label = labels[r]
    if not 0 <= label < x.shape[1]:
        return status_at(r)
    hits[r] = 1.0 if a < top and x[r, label] == x[r, label] else 0.0
    return 0


_hits = row_sums("_hits", _hits_shape, _is_before, _put_hit, checked=True)

#: hits[r] = 1 where the label of row r is among the `top` largest, else 0, float64.
HITS = device_kernel(_hits[1])(_hits[0])


def _element(i: Any, x: Any) -> Any:
    return x[i], 1.0


def _part(total: Any, weight: Any) -> Any:
    return total / weight


#: The mean, NaN of nothing.
MEAN = Total("mean_of_hits", _element, _part)
