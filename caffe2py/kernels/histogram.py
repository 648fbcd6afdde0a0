"""Loops that count elements in bins, find quantiles, and look values up in a distribution."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from caffe2py.errors import Error, ValueRangeError
from caffe2py.kernels.jit import kernel
from caffe2py.registry.context import Call, Launch
from caffe2py.tensor.tensor import Array

#: By how much the last edge lies above the largest element, relative to the range.
_MARGIN = 1.0001


def first_above(edges, low, high, value):
    """The first place in [low, high) whose edge is larger than the value; high if none is."""
    while low < high:
        middle = (low + high) // 2
        if edges[middle] > value:
            high = middle
        else:
            low = middle + 1
    return low


def first_not_below(edges, low, high, value):
    """The first place in [low, high) whose edge is not below the value; high if none is."""
    while low < high:
        middle = (low + high) // 2
        if edges[middle] < value:
            low = middle + 1
        else:
            high = middle
    return low


@kernel()
def _clear(counts: Any) -> None:
    for i in range(counts.size):
        counts[i] = 0


# ---------------------------------------------------------------- bins from the range of the data


@kernel()
def _start_range(limits: Any, seen: Any, counts: Any) -> None:
    """No element yet: no range."""
    limits[0] = 0
    limits[1] = 0
    seen[0] = 0
    seen[1] = 0
    for i in range(counts.size):
        counts[i] = 0


@kernel()
def _widen_range(x: Any, magnitude: bool, limits: Any, seen: Any) -> None:
    """Least and largest element; seen[0] is set once there is one, seen[1] counts all."""
    for i in range(x.size):
        value = abs(x[i]) if magnitude else x[i]
        if value != value:
            continue
        if seen[0] == 0:
            limits[0], limits[1] = value, value
            seen[0] = 1
        limits[0] = min(limits[0], value)
        limits[1] = max(limits[1], value)
    seen[1] += x.size


@kernel()
def _place_edges(limits: Any, seen: Any, floor: Any, logarithmic: bool, edges: Any, n: Any) -> None:
    """The edges between the limits; seen[0] becomes 2 where they cannot be told apart."""
    number = limits.dtype.type
    bins = number(edges.size - 1)
    if seen[0] == 0:
        for i in range(edges.size):
            edges[i] = 0
        return
    low, high = limits[0], limits[1]
    if logarithmic:
        low, high = max(low, floor[0]), max(high, floor[0])
    top = low + (high - low) * number(_MARGIN)
    if logarithmic:
        growth = number(math.log(top)) - number(math.log(low))
        for i in range(edges.size):
            edges[i] = low * number(math.exp(growth * (number(i) / bins)))
    else:
        for i in range(edges.size):
            edges[i] = low + number(i) / bins * (top - low)
    if edges[edges.size - 1] <= high:
        edges[edges.size - 1] = top
        seen[0] = 2
        n[0] = seen[1]


@kernel()
def _count_between(x: Any, magnitude: bool, seen: Any, edges: Any, counts: Any) -> None:
    """The last edge ends the last bin; elements before the first one belong to the first bin."""
    if seen[0] == 2:
        return
    for i in range(x.size):
        value = abs(x[i]) if magnitude else x[i]
        place = first_above(edges, 0, edges.size, value)
        if place < edges.size:
            counts[max(place - 1, 0)] += 1


def launch_self_binning(
    call: Call, *, magnitude: bool, logarithmic: bool, floor: float
) -> list[Launch]:
    """Edges and counts (outputs 0 and 1, one element longer than there are bins) of all inputs.

    Edges part the range of the elements (or of their magnitudes) evenly, or evenly in the logarithm
    from `floor` on. All elements are in the first bin where the edges cannot be told apart.
    """
    edges, counts = call.outputs
    limits, seen = call.scratch((2,), edges.dtype), call.scratch((2,), np.int64)
    inputs = [x.reshape(-1) for x in call.inputs]
    least = np.array([floor], edges.dtype)
    if least[0] == 0:  # what a double holds may be nothing in float32
        least[0] = np.finfo(edges.dtype).tiny
    return [
        _start_range(limits, seen, counts),
        *(_widen_range(x, magnitude, limits, seen) for x in inputs),
        _place_edges(limits, seen, least, logarithmic, edges, counts),
        *(_count_between(x, magnitude, seen, edges, counts) for x in inputs),
    ]


# ---------------------------------------------------------------- given bins


@kernel()
def _count_in(x: Any, edges: Any, counts: Any) -> None:
    for i in range(x.size):
        place = first_above(edges, 0, edges.size, x[i])
        if 0 < place < edges.size:
            counts[place - 1] += 1


def launch_histogram(inputs: Sequence[Array], edges: Array, counts: Array) -> list[Launch]:
    """counts[k] = how many elements of all inputs lie in [edges[k], edges[k + 1])."""
    return [_clear(counts), *(_count_in(x.reshape(-1), edges, counts) for x in inputs)]


@kernel()
def _count_even(x: Any, low: Any, high: Any, counts: Any, total: Any) -> None:
    buckets = counts.size - 2
    width = (high[0] - low[0]) / x.dtype.type(buckets)
    for i in range(counts.size):
        counts[i] = 0
    for i in range(x.size):
        if x[i] < low[0]:
            counts[0] += 1
        elif x[i] >= high[0]:
            counts[buckets + 1] += 1
        elif x[i] == x[i]:
            counts[min(np.int64((x[i] - low[0]) / width), buckets - 1) + 1] += 1
    for i in range(counts.size):
        total[i] += counts[i]


@kernel()
def _copy_counts(x: Any, y: Any) -> None:
    for i in range(x.size):
        y[i] = x[i]


def launch_even_histogram(
    x: Array, low: float, high: float, counts: Array, kept: Array, total: Array
) -> list[Launch]:
    """counts = elements below low, in each of the even buckets up to high, and from high on.

    `kept` holds the sums of all runs and is copied to total.
    """
    limits = (np.array([v], x.dtype) for v in (low, high))
    return [_count_even(x.reshape(-1), *limits, counts, kept), _copy_counts(kept, total)]


# ---------------------------------------------------------------- quantiles


def _count_up_to(x, threshold):
    count = 0
    for i in range(x.size):
        if x[i] <= threshold:
            count += 1
    return count


@kernel()
def _magnitudes(x: Any, y: Any) -> None:
    for i in range(x.size):
        y[i] = abs(x[i])


@kernel()
def _quantile(x: Any, target: int, tolerance: Any, y: Any) -> Any:
    """Bisection between the least and the largest element until as many are not above."""
    number = x.dtype.type
    low, high = x[0], x[0]
    for i in range(x.size):
        low = x[i] if x[i] < low or low != low else low
        high = x[i] if x[i] > high or high != high else high
    y[0] = high
    if target == 0 or _count_up_to(x, low) >= target:
        y[0] = low
        return 0
    if target == x.size:
        return 0
    while abs(high - low) > tolerance[0] * (abs(high) + abs(low)):
        middle = low + (high - low) / number(2)
        count = _count_up_to(x, middle)
        if count == target:
            y[0] = middle
            return 0
        if middle in (low, high):
            return 1
        if count > target:
            high = middle
        else:
            low = middle
    y[0] = high
    return 0


def _too_fine(status: int) -> Error:
    return ValueRangeError("no number lies between two candidates: 'tol' is too small for the type")


def launch_quantile(
    call: Call, inputs: Sequence[Array], target: int, tolerance: float, magnitude: bool, y: Array
) -> list[Launch]:
    """The one element of y = a number with at least `target` of all elements not above it.

    ValueRangeError (at run time) where floating-point numbers end before the tolerance is met.
    """
    whole = call.scratch((sum(x.size for x in inputs),), y.dtype)
    launches = []
    at = 0
    for x in inputs:
        part = whole[at : at + x.size]
        at += x.size
        launches.append((_magnitudes if magnitude else _copy_counts)(x.reshape(-1), part))
    limit = np.array([tolerance], y.dtype)
    return [*launches, _quantile(whole, target, limit, y, explain=_too_fine)]


# ---------------------------------------------------------------- places in a distribution


@kernel()
def _percentiles(x: Any, pairs: Any, lengths: Any, y: Any) -> Any:
    """Status 1: a negative length; 2: lengths do not add up to the number of pairs."""
    total = 0
    for c in range(lengths.size):
        if lengths[c] < 0:
            return 1
        total += lengths[c]
    if total != pairs.shape[0]:
        return 2
    number = x.dtype.type
    begin = 0
    for c in range(x.shape[1]):
        end = begin + lengths[c]
        for r in range(x.shape[0]):
            value = x[r, c]
            k = first_not_below(pairs[:, 0], begin, end, value)
            if k == end:
                y[r, c] = number(1)
            elif value == pairs[k, 0]:
                y[r, c] = pairs[k, 1]
            elif k == begin:
                y[r, c] = number(0)
            else:
                step = (value - pairs[k - 1, 0]) / (pairs[k, 0] - pairs[k - 1, 0])
                y[r, c] = pairs[k - 1, 1] + step * (pairs[k, 1] - pairs[k - 1, 1])
        begin = end
    return 0


def launch_percentiles(x: Array, pairs: Array, lengths: Array, y: Array) -> Launch:
    """y = where each column of x lies in its distribution, rows of (value, percentile) in order.

    ValueRangeError (at run time) for lengths that do not part the rows.
    """

    def explain(status: int) -> Error:
        return ValueRangeError(
            f"lengths {lengths.tolist()} do not part {pairs.shape[0]} pairs among the columns"
        )

    return _percentiles(x, pairs, lengths.reshape(-1), y, explain=explain)


@kernel()
def _interpolate(
    x: Any, offsets: Any, raw: Any, exact: Any, lower: Any, upper: Any, y: Any
) -> None:
    number = x.dtype.type
    for c in range(x.shape[1]):
        begin, end = offsets[c], offsets[c + 1]
        for r in range(x.shape[0]):
            value = x[r, c]
            if value < raw[begin]:
                y[r, c] = number(0)
            elif value > raw[end - 1]:
                y[r, c] = number(1)
            else:
                k = max(first_above(raw, begin, end, value) - 1, begin)
                if raw[k] == value or k + 1 >= end:
                    y[r, c] = exact[k] if raw[k] == value else value
                else:
                    w = (value - raw[k]) / (raw[k + 1] - raw[k])
                    y[r, c] = (number(1) - w) * upper[k] + w * lower[k + 1]


def launch_interpolate(x: Array, offsets: Array, tables: Sequence[Array], y: Array) -> Launch:
    """y = the percentile of each element of x (rows, columns) in the distribution of its column.

    `tables` are the raw values in order, their percentiles, and the percentiles just below and
    above them; column c has those from offsets[c] to offsets[c + 1], at least one.
    """
    return _interpolate(x, offsets, *tables, y)
