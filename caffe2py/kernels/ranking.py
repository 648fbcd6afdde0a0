"""Loops over pairs of elements of a session: pairwise losses, LambdaRank. Sums are float64.

Status s > 0 of a loop says what is wrong with lengths[s - 1]; their sum is wrong if s is one more
than their number.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from caffe2py.errors import Error, ValueRangeError
from caffe2py.kernels.jit import kernel
from caffe2py.kernels.vectormath import exp, log1p, sigmoid
from caffe2py.registry.context import Launch
from caffe2py.tensor.tensor import Array

_LAST_STATUS = 2**31 - 1

#: The smallest ideal gain that is divided by, and the smallest sum of relevances that is ranked.
_LEAST_GAIN = 1e-5
_LEAST_RELEVANCE = 1e-6


def _check(lengths, total):
    """0, or the status of what is wrong with lengths that must be parts of `total`."""
    rest = np.int64(total)
    for s in range(lengths.size):
        if lengths[s] < 0 or lengths[s] > rest:
            return min(s + 1, _LAST_STATUS)
        rest -= lengths[s]
    return 0 if rest == 0 else min(lengths.size + 1, _LAST_STATUS)


def _explain(lengths: Array, total: int) -> Callable[[int], Error]:
    def explain(status: int) -> Error:
        if status > lengths.size:
            return ValueRangeError(f"lengths sum to {int(lengths.sum())}, expected {total}")
        found = int(lengths[status - 1])
        return ValueRangeError(
            f"lengths[{status - 1}] is {found}; they must be 0 or more and sum to {total}"
        )

    return explain


def _softplus(x):
    return max(x, 0.0) + log1p(exp(-abs(x)))


# ---------------------------------------------------------------- pairs of different labels


@kernel("reassoc")
def _pair_losses(x: Any, labels: Any, lengths: Any, y: Any) -> Any:
    status = _check(lengths, x.size)
    if status != 0:
        return status
    first = 0
    for s in range(y.size):
        total = 0.0
        count = 0
        end = first + lengths[s]
        for i in range(first, end):
            for j in range(first, i):
                below = np.float64(x[j] - x[i])
                loss = _softplus(below if labels[i] > labels[j] else -below)
                apart = labels[i] != labels[j]
                total += loss if apart else 0.0
                count += 1 if apart else 0
        y[s] = total / count if count > 0 else 0.0
        first = end
    return 0


@kernel("reassoc")
def _pair_gradient(x: Any, labels: Any, dy: Any, lengths: Any, terms: Any, dx: Any) -> Any:
    status = _check(lengths, x.size)
    if status != 0:
        return status
    first = 0
    for s in range(dy.size):
        count = 0
        end = first + lengths[s]
        for i in range(first, end):
            total = 0.0
            for j in range(first, i):
                below = np.float64(x[j] - x[i])
                over = labels[i] > labels[j]
                slope = sigmoid(below if over else -below)
                slope = slope if over else -slope
                apart = labels[i] != labels[j]
                slope = slope if apart else 0.0
                terms[j] += slope
                total += slope
                count += 1 if apart else 0
            terms[i] = -total
        for i in range(first, end):
            dx[i] = terms[i] * dy[s] / count if count > 0 else 0.0
        first = end
    return 0


def launch_pair_losses(x: Array, labels: Array, lengths: Array, y: Array) -> Launch:
    """y[s] = the mean of ln(1 + exp(x[j] - x[i])) over pairs of session s with label i above j.

    All are vectors. ValueRangeError (at run time) unless the lengths divide x.
    """
    return _pair_losses(x, labels, lengths, y, explain=_explain(lengths, x.size))


def launch_pair_gradient(
    x: Array, labels: Array, dy: Array, lengths: Array, terms: Array, dx: Array
) -> Launch:
    """dx of launch_pair_losses; `terms` is float64 scratch of the size of x."""
    explain = _explain(lengths, x.size)
    return _pair_gradient(x, labels, dy, lengths, terms, dx, explain=explain)


# ---------------------------------------------------------------- LambdaRank


def _discount(values, k):
    """1 / log2(1 + place of element k) in falling order; of equal elements the first one leads."""
    place = 1
    for i in range(values.size):
        if values[i] > values[k] or (values[i] == values[k] and i < k):
            place += 1
    return 1.0 / math.log2(1.0 + place)


def _discounts_and_gains(y, r, exponential, gains, discounts):
    """Fill both for one session; returns its ideal gain."""
    ideal = 0.0
    for i in range(y.size):
        gains[i] = 2.0 ** r[i] if exponential else r[i]
        discounts[i] = _discount(y, i)
        ideal += gains[i] * _discount(r, i)
    return ideal


def _pairs_of_session(y, r, gains, discounts, weight, dy):
    """The sum of the losses of all pairs; dy becomes its gradient."""
    loss = 0.0
    for i in range(y.size):
        slope = 0.0
        for j in range(y.size):
            if i == j:
                continue
            share = abs((gains[i] - gains[j]) * (discounts[i] - discounts[j])) / weight
            ahead = np.float64(y[i] - y[j])
            loss += share * _softplus(-ahead if r[i] > r[j] else ahead)
            slope += share * ((0.0 if r[i] > r[j] else 1.0) - sigmoid(-ahead))
        dy[i] = slope
    return loss


@kernel()
def _lambda_rank(
    y: Any,
    r: Any,
    lengths: Any,
    by_gain: bool,
    normalized: bool,
    exponential: bool,
    gains: Any,
    discounts: Any,
    loss: Any,
    dy: Any,
) -> Any:
    status = _check(lengths, y.size)
    if status != 0:
        return status
    first = 0
    for s in range(lengths.size):
        end = first + lengths[s]
        relevance = 0.0
        for i in range(first, end):
            dy[i] = 0
            relevance += abs(r[i])
        loss[s] = 0
        if relevance >= _LEAST_RELEVANCE:
            own_y, own_r = y[first:end], r[first:end]
            own_gains, own_discounts = gains[first:end], discounts[first:end]
            ideal = _discounts_and_gains(own_y, own_r, exponential, own_gains, own_discounts)
            weight = max(ideal, _LEAST_GAIN) if normalized else 1.0
            pairs = _pairs_of_session(own_y, own_r, own_gains, own_discounts, weight, dy[first:end])
            if by_gain:
                actual = 0.0
                for i in range(end - first):
                    actual += own_gains[i] * own_discounts[i]
                loss[s] = (ideal - actual) / weight
            else:
                loss[s] = pairs
        first = end
    return 0


def launch_lambda_rank(
    y: Array,
    r: Array,
    lengths: Array,
    scratch: tuple[Array, Array],
    loss: Array,
    dy: Array,
    *,
    by_gain: bool,
    normalized: bool,
    exponential: bool,
) -> Launch:
    """The LambdaRank loss of each session of scores y with relevances r, and its gradient.

    All are vectors; the scratch is float64, of the size of y. ValueRangeError (at run time) unless
    the lengths divide y.
    """
    flags = (by_gain, normalized, exponential)
    explain = _explain(lengths, y.size)
    return _lambda_rank(y, r, lengths, *flags, *scratch, loss, dy, explain=explain)


@kernel()
def _scale_sessions(x: Any, lengths: Any, factors: Any, y: Any) -> Any:
    status = _check(lengths, x.size)
    if status != 0:
        return status
    first = 0
    for s in range(lengths.size):
        end = first + lengths[s]
        for i in range(first, end):
            y[i] = x[i] * factors[s]
        first = end
    return 0


def launch_scale_sessions(x: Array, lengths: Array, factors: Array, y: Array) -> Launch:
    """y = x times the factor of its session; ValueRangeError unless the lengths divide x."""
    return _scale_sessions(x, lengths, factors, y, explain=_explain(lengths, x.size))
