"""Segments of rows: walks over them, what each segment is reduced to, and the way back.

A walk says which rows belong together: the next `lengths[s]` ones, or those whose id is s. Every
walk becomes the same arrays first: `offsets`, where each segment begins, and perhaps `order`, which
rows come one after the other. So there is one loop for each reducer.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from caffe2py.errors import Error, ShapeError, ValueRangeError
from caffe2py.kernels.convert import launch_convert
from caffe2py.kernels.gather import add_rows, add_weighted_rows
from caffe2py.kernels.index import launch_check, launch_gather
from caffe2py.kernels.jit import Kernel, kernel
from caffe2py.kernels.parallel import divisible, split
from caffe2py.kernels.vectormath import exp, log
from caffe2py.registry.context import Call, Launch
from caffe2py.tensor.late import late
from caffe2py.tensor.place import on_host
from caffe2py.tensor.tensor import Array
from caffe2py.tensor.types import shape_text

_LAST_STATUS = 2**31 - 1

#: Nanoseconds for a row and for a byte of it, within a factor of three.
_ROW_NS, _BYTE_NS = 5.0, 0.05

#: Where the weight of a row comes from: there is none, its item's own, that of its place in the
#: segment.
PLAIN, BY_ITEM, BY_PLACE = 0, 1, 2


@dataclass(frozen=True)
class Walk:
    """Segment s holds the items order[offsets[s]] up to order[offsets[s + 1] - 1].

    Without an order the items lie one after the other. `launches` fill both arrays and check them.
    """

    launches: tuple[Launch, ...]
    offsets: Array
    order: Array | None = None

    @property
    def count(self) -> int:
        """How many segments there are."""
        return int(self.offsets.size) - 1


def _status(place: Any) -> Any:
    return min(place + 1, _LAST_STATUS)


def _form(kernel_: Kernel, name: str) -> None:
    """Devices run the form of this name."""
    kernel_.form_later(lambda: late("kernels.cuda.segments", name))


def _walked(name: str, *args: Any) -> tuple[Launch, ...]:
    """A walk that devices make in several steps."""
    return tuple(late("kernels.cuda.segments", name)(*args))


# ---------------------------------------------------------------- walks


@kernel()
def _walk_lengths(lengths: Any, count: int, offsets: Any) -> Any:
    total = 0
    for s in range(lengths.size):
        offsets[s] = total
        if lengths[s] < 0 or lengths[s] > count - total:
            return _status(s)
        total += lengths[s]
    offsets[lengths.size] = total
    return 0 if total == count else _status(lengths.size)


@kernel()
def _walk_sorted(ids: Any, offsets: Any) -> Any:
    last: Any = -1
    for i in range(ids.size):
        s = np.int64(ids[i])
        if s != last or i == 0:
            if s != last + 1 or s + 1 >= offsets.size:
                return _status(i)
            offsets[s] = i
            last = s
    if last + 2 != offsets.size:
        return _status(ids.size)
    offsets[last + 1] = ids.size
    return 0


_form(_walk_sorted, "WALK_SORTED")


@kernel()
def _walk_unsorted(ids: Any, offsets: Any, order: Any) -> Any:
    """Counting sort: stable, so that sums go in the order of the items."""
    segments = offsets.size - 1
    for s in range(segments + 1):
        offsets[s] = 0
    for i in range(ids.size):
        if not 0 <= ids[i] < segments:
            return _status(i)
        offsets[ids[i] + 1] += 1
    for s in range(segments):
        offsets[s + 1] += offsets[s]
    for i in range(ids.size):
        order[offsets[ids[i]]] = i
        offsets[ids[i]] += 1
    for s in range(segments, 0, -1):
        offsets[s] = offsets[s - 1]
    offsets[0] = 0
    return 0


def walk_lengths(call: Call, lengths: Array, count: int, what: str = "rows") -> Walk:
    """Segments of the next lengths[s] items each, of `count` items in all.

    ValueRangeError (at run time) for a negative length, or if their sum is not `count`.
    """
    offsets = call.scratch((lengths.size + 1,), np.int64)

    def explain(status: int) -> Error:
        told = on_host(lengths)
        if told.min(initial=0) < 0:
            return ValueRangeError(f"lengths[{told.argmin()}] is {told.min()}")
        total = int(told.sum(dtype=np.int64))
        return ValueRangeError(f"the sum of lengths is {total}, but there are {count} {what}")

    if not isinstance(lengths, np.ndarray):
        return Walk(_walked("launch_walk_lengths", lengths, count, offsets, explain), offsets)
    return Walk((_walk_lengths(lengths, count, offsets, explain=explain),), offsets)


def walk_sorted(call: Call, ids: Array, segments: int) -> Walk:
    """Segments of items with equal ids; these begin with 0 and grow by 1, up to segments - 1.

    ValueRangeError (at run time) for other ids.
    """
    offsets = call.scratch((segments + 1,), np.int64)

    def explain(status: int) -> Error:
        if status - 1 == ids.size:
            return ValueRangeError(f"segment ids end before {segments - 1}, the last segment")
        told = on_host(ids)
        before = int(told[status - 2]) if status > 1 else -1
        return ValueRangeError(
            f"segment id {int(told[status - 1])} at position {status - 1} follows {before}: ids "
            f"must be sorted, begin with 0 and leave out none of 0 to {segments - 1}"
        )

    return Walk((_walk_sorted(ids, offsets, explain=explain),), offsets)


def walk_unsorted(call: Call, ids: Array, segments: int) -> Walk:
    """Segments of items with equal ids, in any order; some may be empty.

    ValueRangeError (at run time) for ids outside of [0, segments).
    """
    offsets = call.scratch((segments + 1,), np.int64)
    order = call.scratch((ids.size,), np.int64)

    def explain(status: int) -> Error:
        return ValueRangeError(
            f"segment id {int(on_host(ids)[status - 1])} at position {status - 1} is out of range; "
            f"expected 0 to {segments - 1}"
        )

    if not isinstance(ids, np.ndarray):
        launches = _walked("launch_walk_unsorted", ids, offsets, order, explain)
        return Walk(launches, offsets, order)

    return Walk((_walk_unsorted(ids, offsets, order, explain=explain),), offsets, order)


# ---------------------------------------------------------------- reducers


@kernel("contract")
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
    """y[s] = the sum of the rows of segment s, perhaps weighted, perhaps divided by their number"""
    for s in range(y.shape[0]):
        target = y[s]
        first, last = offsets[s], offsets[s + 1]
        for i in range(y.shape[1]):
            target[i] = 0
        for p in range(first, last):
            item = order[p] if ordered else p
            source = x[indices[item] if gathered else item]
            if weighting == PLAIN:
                for i in range(y.shape[1]):
                    target[i] += source[i]
            else:
                weight = weights[item if weighting == BY_ITEM else p - first]
                for i in range(y.shape[1]):
                    target[i] += weight * source[i]
        if mean and last - first > 1:
            for i in range(y.shape[1]):
                target[i] = target[i] / y.dtype.type(last - first)


_form(_sums, "SUMS")


@kernel()
def _gathered_sums(
    x: Any, indices: Any, offsets: Any, weights: Any, weighting: int, mean: bool, y: Any
) -> None:
    """The same for rows that are looked up one after the other, which is what embeddings are."""
    width = y.shape[1]
    for s in range(y.shape[0]):
        target = y[s]
        first, last = offsets[s], offsets[s + 1]
        if weighting == PLAIN:
            add_rows(x, width, indices, first, last, indices.size, target, 0)
        else:
            begin = first if weighting == BY_ITEM else 0
            rest = (target, 0, weights, begin)
            add_weighted_rows(x, width, indices, first, last, indices.size, *rest)
        if mean and last - first > 1:
            for i in range(width):
                target[i] = target[i] / y.dtype.type(last - first)


_form(_gathered_sums, "GATHERED_SUMS")


@kernel()
def _maxima(
    x: Any, indices: Any, gathered: bool, order: Any, ordered: bool, offsets: Any, y: Any
) -> None:
    for s in range(y.shape[0]):
        target = y[s]
        first = offsets[s]
        for i in range(y.shape[1]):
            target[i] = 0
        for p in range(first, offsets[s + 1]):
            item = order[p] if ordered else p
            source = x[indices[item] if gathered else item]
            for i in range(y.shape[1]):
                target[i] = source[i] if p == first or source[i] > target[i] else target[i]


_form(_maxima, "MAXIMA")


@kernel()
def _log_sums(x: Any, offsets: Any, mean: bool, tops: Any, y: Any) -> None:
    """Exponentials relative to the largest of a segment, so that none overflows."""
    for s in range(y.shape[0]):
        target = y[s]
        first, last = offsets[s], offsets[s + 1]
        for i in range(y.shape[1]):
            target[i] = 0
        for p in range(first, last):
            for i in range(y.shape[1]):
                tops[i] = x[p, i] if p == first or x[p, i] > tops[i] else tops[i]
        for p in range(first, last):
            for i in range(y.shape[1]):
                target[i] += exp(x[p, i] - tops[i])
        count = y.dtype.type(last - first if mean else 1)
        for i in range(y.shape[1]):
            if last > first:
                finite = tops[i] - tops[i] == 0
                target[i] = tops[i] + log(target[i] / count) if finite else tops[i]


_form(_log_sums, "LOG_SUMS")


# ---------------------------------------------------------------- the way back


@kernel()
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
    for s in range(dy.shape[0]):
        first, last = offsets[s], offsets[s + 1]
        source = dy[s]
        for p in range(first, last):
            item = order[p] if ordered else p
            target = dx[item]
            if weighting == BY_ITEM:
                weight = weights[item]
                for i in range(dx.shape[1]):
                    target[i] = weight * source[i]
            elif mean:
                for i in range(dx.shape[1]):
                    target[i] = source[i] / dx.dtype.type(last - first)
            else:
                for i in range(dx.shape[1]):
                    target[i] = source[i]


_form(_spread, "SPREAD")


@kernel()
def _spread_to_equal(x: Any, y: Any, dy: Any, offsets: Any, dx: Any) -> None:
    for s in range(dy.shape[0]):
        for p in range(offsets[s], offsets[s + 1]):
            for i in range(dx.shape[1]):
                dx[p, i] = dy[s, i] if x[p, i] == y[s, i] else 0


_form(_spread_to_equal, "SPREAD_TO_EQUAL")


@kernel()
def _spread_exponentials(x: Any, y: Any, dy: Any, offsets: Any, mean: bool, dx: Any) -> None:
    for s in range(dy.shape[0]):
        count = dx.dtype.type(offsets[s + 1] - offsets[s] if mean else 1)
        for p in range(offsets[s], offsets[s + 1]):
            for i in range(dx.shape[1]):
                # equal ones may be infinite, and their difference none
                equal = x[p, i] == y[s, i]
                factor = dx.dtype.type(1) if equal else exp(x[p, i] - y[s, i])
                dx[p, i] = dy[s, i] * factor / count


_form(_spread_exponentials, "SPREAD_EXPONENTIALS")


@kernel("reassoc", "contract")
def _dots(x: Any, indices: Any, gathered: bool, dy: Any, offsets: Any, dweights: Any) -> None:
    for s in range(dy.shape[0]):
        for p in range(offsets[s], offsets[s + 1]):
            source = x[indices[p] if gathered else p]
            total = x.dtype.type(0)
            for i in range(dy.shape[1]):
                total += source[i] * dy[s, i]
            dweights[p] = total


_form(_dots, "DOTS")


# ---------------------------------------------------------------- launches


def by_row(x: Array) -> Array:
    """x as a matrix whose rows are x[0], x[1], ..."""
    return x.reshape(x.shape[0], math.prod(x.shape[1:]))


def _rows(
    call: Call, data: Array, indices: Array | None
) -> tuple[list[Launch], Array, Array | None]:
    """The data as a matrix of float32 or float64, with the indices that are still to be looked up.

    Indices are checked here, float16 is gathered and widened.
    """
    x = by_row(data)
    if x.dtype != np.float16:
        return ([] if indices is None else [launch_check(indices, x.shape[0])]), x, indices
    launches: list[Launch] = []
    if indices is not None:
        taken = call.scratch((indices.size, x.shape[1]), x.dtype)
        three = (1, *x.shape), (1, *taken.shape)
        launches.append(launch_gather(x.reshape(three[0]), indices, taken.reshape(three[1])))
        x = taken
    wide = call.scratch(x.shape, np.float32)
    return [*launches, *launch_convert(call, x, wide)], wide, None


def _lookup(walk: Walk, indices: Array | None) -> tuple[Array, bool, Array, bool]:
    """Indices and order as kernels take them, each with whether it is there."""
    offsets = walk.offsets
    some = (offsets, False) if indices is None else (indices, True)
    order = (offsets, False) if walk.order is None else (walk.order, True)
    return (*some, *order)


def _by_segments(walk: Walk, work: float, make: Callable[[int, int, Array], Launch]) -> Launch:
    """make(first, end, their offsets) for the segments of a walk, in parts if there is much to do.

    `work` is in nanoseconds.
    """

    def part(first: int, end: int) -> Launch:
        return make(first, end, walk.offsets[first : end + 1])

    return divisible(walk.count, work, part)


def _work(rows: int, x: Array) -> float:
    """Nanoseconds to go over so many rows as those of a matrix."""
    return rows * (_ROW_NS + _BYTE_NS * float(x.shape[1] * x.itemsize))


def _require_rows(walk: Walk, rows: Array) -> None:
    if rows.shape[0] != walk.count:
        raise ShapeError(f"{shape_text(rows.shape)} for {walk.count} segments")


def launch_segment_sum(
    call: Call,
    walk: Walk,
    data: Array,
    y: Array,
    *,
    indices: Array | None = None,
    weights: Array | None = None,
    weighting: int = PLAIN,
    mean: bool = False,
) -> list[Launch]:
    """y[s] = the sum of data[i], or data[indices[i]], over the items i of segment s; 0 of none.

    With BY_ITEM each is multiplied by weights[i], with BY_PLACE by weights[k], k = 0, 1, ...; with
    `mean` the sum is divided by the number of items. float16 data is summed as float32.
    ValueRangeError (at run time) for an index out of range. Weights for BY_PLACE must reach far
    enough.
    """
    launches, x, indices = _rows(call, data, indices)
    _require_rows(walk, y)
    some = call.scratch((1,), y.dtype) if weights is None else weights.reshape(-1)
    looked_up = indices is not None and walk.order is None and x.dtype == y.dtype == some.dtype
    rows = by_row(y)

    def part(first: int, end: int, offsets: Array) -> Launch:
        rest = (offsets, some, weighting, mean, rows[first:end])
        if looked_up:
            return _gathered_sums(x, indices, *rest)
        return _sums(x, *_lookup(walk, indices), *rest)

    count = len(x) if indices is None else indices.size
    return [*walk.launches, *launches, _by_segments(walk, _work(count, x), part)]


def launch_segment_max(
    call: Call, walk: Walk, data: Array, y: Array, *, indices: Array | None = None
) -> list[Launch]:
    """y[s] = the largest of data[i], or data[indices[i]], over the items of segment s; 0 of none.

    A NaN is passed over, except in the first item.
    """
    _require_rows(walk, y)
    launches, x, indices = _rows(call, data, indices)
    rows = by_row(y)

    def part(first: int, end: int, offsets: Array) -> Launch:
        return _maxima(x, *_lookup(walk, indices), offsets, rows[first:end])

    count = len(x) if indices is None else indices.size
    return [*walk.launches, *launches, _by_segments(walk, _work(count, x), part)]


def launch_segment_log_sum(
    call: Call, walk: Walk, data: Array, y: Array, *, mean: bool
) -> list[Launch]:
    """y[s] = log of the sum (or mean) of exp(data[i]) over the items of segment s, in order."""
    _require_rows(walk, y)
    x, rows = by_row(data), by_row(y)

    def part(first: int, end: int) -> Launch:
        tops = call.scratch((x.shape[1],), x.dtype)
        return _log_sums(x, walk.offsets[first : end + 1], mean, tops, rows[first:end])

    return [*walk.launches, *split(walk.count, 4 * _work(len(x), x), part)]


def launch_segment_spread(
    call: Call,
    walk: Walk,
    dy: Array,
    dx: Array,
    *,
    weights: Array | None = None,
    mean: bool = False,
) -> list[Launch]:
    """dx[i] = dy[s] for each item i of segment s, times weights[i], or by the number of items."""
    _require_rows(walk, dy)
    some = call.scratch((1,), dy.dtype) if weights is None else weights.reshape(-1)
    _, _, *where = _lookup(walk, None)
    weighting = PLAIN if weights is None else BY_ITEM
    rows, to = by_row(dy), by_row(dx)

    def part(first: int, end: int, offsets: Array) -> Launch:
        return _spread(rows[first:end], *where, offsets, some, weighting, mean, to)

    return [*walk.launches, _by_segments(walk, _work(len(to), to), part)]


def launch_segment_spread_equal(
    walk: Walk, x: Array, y: Array, dy: Array, dx: Array
) -> list[Launch]:
    """dx[i] = dy[s] where x[i] = y[s], 0 elsewhere, for each item i of segment s."""
    _require_rows(walk, dy)
    x, y, dy, dx = (by_row(a) for a in (x, y, dy, dx))

    def part(first: int, end: int, offsets: Array) -> Launch:
        return _spread_to_equal(x, y[first:end], dy[first:end], offsets, dx)

    return [*walk.launches, _by_segments(walk, _work(len(x), x), part)]


def launch_segment_spread_exp(
    walk: Walk, x: Array, y: Array, dy: Array, dx: Array, *, mean: bool
) -> list[Launch]:
    """dx[i] = dy[s] * exp(x[i] - y[s]), by the number of items if `mean`."""
    _require_rows(walk, dy)
    x, y, dy, dx = (by_row(a) for a in (x, y, dy, dx))

    def part(first: int, end: int, offsets: Array) -> Launch:
        return _spread_exponentials(x, y[first:end], dy[first:end], offsets, mean, dx)

    return [*walk.launches, _by_segments(walk, 2 * _work(len(x), x), part)]


def launch_segment_dots(
    call: Call, walk: Walk, data: Array, dy: Array, dweights: Array, indices: Array | None
) -> list[Launch]:
    """dweights[i] = the dot product of dy[s] and data[i], or data[indices[i]]; walks in order."""
    launches, x, indices = _rows(call, data, indices)
    some, gathered, *_ = _lookup(walk, indices)
    rows, out = by_row(dy), dweights.reshape(-1)

    def part(first: int, end: int, offsets: Array) -> Launch:
        return _dots(x, some, gathered, rows[first:end], offsets, out)

    return [*launches, _by_segments(walk, _work(out.size, x), part)]
