"""Segments for devices: walks over them, what each is reduced to, and the way back.

Where segments begin is kept within the data whatever lengths and ids say; what is wrong with them
is reported all the same. A segment's rows are added by one thread for each column, in order.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from caffe2py.kernels.cuda.before import form_only, launch_before
from caffe2py.kernels.cuda.sorting import launch_order
from caffe2py.kernels.cuda.teams import (
    blocks_for_items,
    blocks_for_rows,
    piece,
    pieces_of,
    segment_of,
    team,
)
from caffe2py.kernels.cuda.threads import cuda
from caffe2py.registry.context import Launch
from caffe2py.tensor.tensor import Array

_LAST_STATUS = 2**31 - 1
_PLAIN, _BY_ITEM = 0, 1


def _status(place: Any) -> Any:
    return min(place + 1, _LAST_STATUS)


# ---------------------------------------------------------------- walks


def _check_lengths(lengths: Any, count: int, offsets: Any) -> Any:
    """The first length that is negative or leads too far; that they do not add up."""
    for s in range(cuda.grid(1), lengths.size + 1, cuda.gridsize(1)):
        if s == lengths.size:
            if offsets[s] != count:
                return _status(s)
        elif lengths[s] < 0 or lengths[s] > count - offsets[s]:
            return _status(s)
    return 0


def _first_not_below(ids: Any, s: Any) -> Any:
    low, high = 0, ids.size
    while low < high:
        middle = (low + high) // 2
        if ids[middle] < s:
            low = middle + 1
        else:
            high = middle
    return low


def _walk_sorted(ids: Any, offsets: Any) -> Any:
    status = _LAST_STATUS
    for k in range(cuda.grid(1), max(ids.size + 1, offsets.size), cuda.gridsize(1)):
        if k < offsets.size:
            offsets[k] = _first_not_below(ids, k)
        if k < ids.size:
            before = np.int64(ids[k - 1]) if k > 0 else -1
            found = np.int64(ids[k])
            follows = found == before + 1 or (k > 0 and found == before)
            if not follows or found + 1 >= offsets.size:
                status = min(status, _status(k))
        elif k == ids.size:
            last = np.int64(ids[k - 1]) if k > 0 else -1
            if last + 2 != offsets.size:
                status = min(status, _status(k))
    return 0 if status == _LAST_STATUS else status


def _check_ids(ids: Any, segments: int) -> Any:
    for k in range(cuda.grid(1), ids.size, cuda.gridsize(1)):
        if not 0 <= ids[k] < segments:
            return _status(k)
    return 0


def _bounds(ids: Any, order: Any, offsets: Any) -> None:
    """Where the ids that are s begin in the order of them."""
    for s in range(cuda.grid(1), offsets.size, cuda.gridsize(1)):
        low, high = 0, ids.size
        while low < high:
            middle = (low + high) // 2
            if ids[order[middle]] < s:
                low = middle + 1
            else:
                high = middle
        offsets[s] = low


_CHECK_LENGTHS = form_only(_check_lengths, lambda lengths, *_: blocks_for_items(lengths.size + 1))
_CHECK_IDS = form_only(_check_ids, lambda ids, segments: blocks_for_items(ids.size))
_BOUNDS = form_only(_bounds, lambda ids, order, offsets: blocks_for_items(offsets.size))


def launch_walk_lengths(lengths: Array, count: int, offsets: Array, explain: Any) -> list[Launch]:
    """offsets[s] = the sum of the lengths before s, which must add up to `count`."""
    check = _CHECK_LENGTHS(lengths, count, offsets, explain=explain)
    return [*launch_before(lengths, offsets, count), check]


def launch_walk_unsorted(ids: Array, offsets: Array, order: Array, explain: Any) -> list[Launch]:
    """The items in the order of their ids, those of an id as they come; and where each begins."""
    segments = offsets.size - 1
    sorted_ = launch_order(ids, max(segments, 1), order)
    check = _CHECK_IDS(ids, segments, explain=explain)
    return [check, *sorted_, _BOUNDS(ids, order, offsets)]


# ---------------------------------------------------------------- reducers


def _row_of(p: Any, indices: Any, gathered: Any, order: Any, ordered: Any) -> Any:
    item = order[p] if ordered else p
    return np.int64(indices[item]) if gathered else item


def _sums(
    x: Any,
    indices: Any,
    gathered: bool,
    order: Any,
    ordered: bool,
    offsets: Any,
    weights: Any,
    weighting: int,
    mean: bool,
    y: Any,
) -> None:
    width = y.shape[1]
    start, step, lane, lanes = team(width)
    for k in range(start, pieces_of(y.shape[0], width), step):
        s, begin, end = piece(k, width)
        first, last = offsets[s], offsets[s + 1]
        for i in range(begin + lane, end, lanes):
            total = y.dtype.type(0)
            for p in range(first, last):
                row = _row_of(p, indices, gathered, order, ordered)
                if 0 <= row < x.shape[0]:
                    if weighting == _PLAIN:
                        total += x[row, i]
                    else:
                        item = order[p] if ordered else p
                        total += weights[item if weighting == _BY_ITEM else p - first] * x[row, i]
            if mean and last - first > 1:
                total = total / y.dtype.type(last - first)
            y[s, i] = total


def _gathered_sums(
    x: Any, indices: Any, offsets: Any, weights: Any, weighting: int, mean: bool, y: Any
) -> None:
    _sums(x, indices, True, offsets, False, offsets, weights, weighting, mean, y)


def _maxima(
    x: Any, indices: Any, gathered: bool, order: Any, ordered: bool, offsets: Any, y: Any
) -> None:
    width = y.shape[1]
    start, step, lane, lanes = team(width)
    for k in range(start, pieces_of(y.shape[0], width), step):
        s, begin, end = piece(k, width)
        first = offsets[s]
        for i in range(begin + lane, end, lanes):
            top = y.dtype.type(0)
            for p in range(first, offsets[s + 1]):
                row = _row_of(p, indices, gathered, order, ordered)
                if 0 <= row < x.shape[0]:
                    top = x[row, i] if p == first or x[row, i] > top else top
            y[s, i] = top


def _log_sums(x: Any, offsets: Any, mean: bool, tops: Any, y: Any) -> None:
    width = y.shape[1]
    start, step, lane, lanes = team(width)
    for k in range(start, pieces_of(y.shape[0], width), step):
        s, begin, end = piece(k, width)
        first, last = offsets[s], offsets[s + 1]
        for i in range(begin + lane, end, lanes):
            top = total = y.dtype.type(0)
            for p in range(first, last):
                top = x[p, i] if p == first or x[p, i] > top else top
            for p in range(first, last):
                total += math.exp(x[p, i] - top)
            count = y.dtype.type(last - first if mean else 1)
            if last > first:
                y[s, i] = top + math.log(total / count) if top - top == 0 else top
            else:
                y[s, i] = 0


# ---------------------------------------------------------------- the way back


def _spread(
    dy: Any,
    order: Any,
    ordered: bool,
    offsets: Any,
    weights: Any,
    weighting: int,
    mean: bool,
    dx: Any,
) -> None:
    width, segments = dx.shape[1], dy.shape[0]
    start, step, lane, lanes = team(width)
    for k in range(start, pieces_of(offsets[segments], width), step):
        p, begin, end = piece(k, width)
        s = segment_of(offsets, p)
        item = order[p] if ordered else p
        count = dx.dtype.type(offsets[s + 1] - offsets[s])
        for i in range(begin + lane, end, lanes):
            value = dy[s, i]
            if weighting == _BY_ITEM:
                value = weights[item] * value
            elif mean:
                value = value / count
            dx[item, i] = value


def _spread_to_equal(x: Any, y: Any, dy: Any, offsets: Any, dx: Any) -> None:
    width = dx.shape[1]
    start, step, lane, lanes = team(width)
    for k in range(start, pieces_of(offsets[dy.shape[0]], width), step):
        p, begin, end = piece(k, width)
        s = segment_of(offsets, p)
        for i in range(begin + lane, end, lanes):
            dx[p, i] = dy[s, i] if x[p, i] == y[s, i] else dx.dtype.type(0)


def _spread_exponentials(x: Any, y: Any, dy: Any, offsets: Any, mean: bool, dx: Any) -> None:
    width = dx.shape[1]
    start, step, lane, lanes = team(width)
    for k in range(start, pieces_of(offsets[dy.shape[0]], width), step):
        p, begin, end = piece(k, width)
        s = segment_of(offsets, p)
        count = dx.dtype.type(offsets[s + 1] - offsets[s] if mean else 1)
        for i in range(begin + lane, end, lanes):
            # equal ones may be infinite, and their difference none
            equal = x[p, i] == y[s, i]
            factor = dx.dtype.type(1) if equal else math.exp(x[p, i] - y[s, i])
            dx[p, i] = dy[s, i] * factor / count


def _dots(x: Any, indices: Any, gathered: bool, dy: Any, offsets: Any, dweights: Any) -> None:
    for p in range(cuda.grid(1), offsets[dy.shape[0]], cuda.gridsize(1)):
        s = segment_of(offsets, p)
        row = np.int64(indices[p]) if gathered else p
        total = x.dtype.type(0)
        if 0 <= row < x.shape[0]:
            for i in range(dy.shape[1]):
                total += x[row, i] * dy[s, i]
        dweights[p] = total


def _segments(*args: Any) -> int:
    return blocks_for_rows(*args[-1].shape)


WALK_SORTED = _walk_sorted, lambda ids, offsets: blocks_for_items(max(ids.size + 1, offsets.size))
SUMS, GATHERED_SUMS = (_sums, _segments), (_gathered_sums, _segments)
MAXIMA, LOG_SUMS = (_maxima, _segments), (_log_sums, _segments)
SPREAD, SPREAD_TO_EQUAL = (_spread, _segments), (_spread_to_equal, _segments)
SPREAD_EXPONENTIALS = _spread_exponentials, _segments
DOTS = _dots, lambda *args: blocks_for_items(args[-1].size)
