"""Learning rates: how they follow the number of iterations, evaluated when the net runs."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from caffe2py.kernels.jit import kernel

# The policies; each reads its numbers from a row of integers and a row of reals.
FIXED, ALTER, STEP, EXP, GATE, INV, POLY, LINEAR = range(8)
PIECES, HILL, SLOPE, CYCLICAL, COSINE, WARMUP, WARM_CYCLICAL, WARM_COSINE = range(8, 16)

#: Columns of a row of integers before the policy's own: first iteration, policy.
HEAD = 2
#: Numbers that a policy may have.
INTEGERS, REALS = 3, 5


def _quotient(a: Any, b: Any) -> Any:
    """a / b toward zero; b is not 0."""
    q = abs(a) // abs(b)
    return q if (a < 0) == (b < 0) else -q


def _inverse(t: Any, gamma: Any, power: Any) -> Any:
    return math.pow(1.0 + gamma * t, -power)


def _ramp(t: Any, count: Any, start: Any) -> Any:
    """From `start` to 1 in `count` iterations."""
    if t >= count:
        return 1.0
    return start + (1.0 - start) * t / count


def _hill(t: Any, count: Any, p: Any) -> Any:
    if t < count:
        return _ramp(t, count, p[0])
    fallen = _inverse(t - count, p[1], p[2])
    return fallen if fallen > p[3] else p[3]


def _slope(t: Any, first: Any, last: Any, p: Any) -> Any:
    if t < first:
        return p[0]
    value = p[0] + (t - first) * (p[1] - p[0]) / np.float64(last - first)
    return value if value > p[1] else p[1]


def _cyclical(t: Any, half: Any, ratio: Any, decay: Any) -> Any:
    """A triangle of 2 `half` iterations from 1 up to `ratio`, lower by `decay` each time.

    The place in it is single precision, as in Caffe2, which is coarse after many cycles.
    """
    cycle = _quotient(t, 2 * half) + 1
    place = np.float32(t) / np.float32(half) - np.float32(2 * cycle) + np.float32(1)
    rounds = np.float64(cycle - 1)
    rest: Any = 1.0 - abs(np.float64(place))
    if not rest > 0:
        rest = 0.0
    return 1.0 + (ratio - 1.0) * rest * math.pow(decay, rounds)


def _cosine(t: Any, period: Any, p: Any) -> Any:
    """Half a cosine from p[1] down to p[0], again and again: longer by p[2], lower by p[3]."""
    low, high, longer, shrink = p[0], p[1], p[2], p[3]
    length = np.float64(period)
    if longer != 1.0:
        rounds = np.floor(math.log(1.0 - t / length * (1.0 - longer)) / math.log(longer))
        grown = math.pow(longer, rounds)
        at = t - (1.0 - grown) / (1.0 - longer) * length
        length = grown * length
    else:
        rounds = np.floor(t / length)
        at = t - length * rounds
    scale = math.pow(shrink, rounds)
    return scale * (low + 0.5 * (high - low) * (1.0 + math.cos(math.pi * at / length)))


def _warmup(t: Any, constant: Any, linear: Any, start: Any) -> Any:
    return start if t < constant else _ramp(t - constant, linear, start)


def _simple(policy: int, t: Any, n: Any, p: Any) -> Any:
    """The policies that are one formula."""
    if policy == ALTER:
        total = n[0] + n[1]
        lead = t - _quotient(t, total) * total < (n[0] if p[0] != 0 else n[1])
        return 1.0 if lead == (p[0] != 0) else 0.0
    if policy == STEP:
        return math.pow(p[0], np.float64(_quotient(t, n[0])))
    if policy == EXP:
        return math.pow(p[0], np.float64(t))
    if policy == GATE:
        return p[1] if t >= n[0] else p[0]
    if policy == INV:
        return _inverse(t, p[0], p[1])
    if policy == POLY:
        return math.pow(1.0 - t / p[1], p[0])
    if policy == PIECES:
        return p[0] if t < n[0] else (p[1] if t < n[1] else p[2])
    return 1.0


def _multiplier(policy: int, t: Any, n: Any, p: Any) -> Any:
    """The factor that a policy gives in iteration t, with its integers and reals."""
    if policy == LINEAR:
        return _ramp(t, n[0], p[0])
    if policy == HILL:
        return _hill(t, n[0], p)
    if policy == SLOPE:
        return _slope(t, n[0], n[1], p)
    if policy == CYCLICAL:
        return _cyclical(t, n[0], p[0], p[1])
    if policy == COSINE:
        return _cosine(t, n[0], p)
    if policy < WARMUP:
        return _simple(policy, t, n, p)
    warm = n[0] + n[1]
    if policy == WARMUP or t < warm:
        return _warmup(t, n[0], n[1], p[0])
    if policy == WARM_CYCLICAL:
        return _cyclical(t - warm, n[2], p[1], p[2])
    return _cosine(t - warm, n[2], p[1:])


@kernel()
def learning_rate(iters: Any, integers: Any, reals: Any, base: Any, rate: Any) -> None:
    """rate = base * scale * the factor of the last row that has begun; the first if none has.

    Rows of `integers` are (first iteration, policy, n...), those of `reals` (scale, p...).
    """
    t = iters[0]
    row = 0
    for k in range(1, integers.shape[0]):
        if t >= integers[k, 0]:
            row = k
    factor = _multiplier(integers[row, 1], t, integers[row, HEAD:], reals[row, 1:])
    rate[0] = base * (rate.dtype.type(factor) * rate.dtype.type(reals[row, 0]))
