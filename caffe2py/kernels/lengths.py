"""Lengths and what follows from them: offsets, ids, ranges, and which row goes where.

Packing, padding and repeating are all the same copy of rows; a map says for each row of the result
which row it is, or which padding.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from caffe2py.errors import Error, ShapeError, ValueRangeError
from caffe2py.kernels.callback import launch_python
from caffe2py.kernels.copy import bits
from caffe2py.kernels.jit import Kernel, kernel
from caffe2py.kernels.parallel import CHUNK, by_rows
from caffe2py.registry.context import Call, Launch
from caffe2py.tensor.late import late
from caffe2py.tensor.place import on_host
from caffe2py.tensor.tensor import Array
from caffe2py.tensor.types import STRING, shape_text

_LAST_STATUS = 2**31 - 1


def _status(place: Any) -> Any:
    return min(place + 1, _LAST_STATUS)


def _form(kernel_: Kernel, name: str) -> None:
    """Devices run the form of this name."""
    kernel_.form_later(lambda: late("kernels.cuda.lists", name))


def _there(name: str, *args: Any) -> list[Launch]:
    """What devices do in several steps."""
    launches: list[Launch] = late("kernels.cuda.lists", name)(*args)
    return launches


def _require_sum(lengths: Array, size: int, least: int = 0, step: int = 0) -> None:
    """ShapeError unless lengths, of `least` or more, add up to a size if each grows by a step."""
    told = on_host(lengths)
    if told.min(initial=least) < least or int(told.sum(dtype=np.int64)) + step * told.size != size:
        raise ShapeError(f"lengths do not add up to {size} row(s)")


def negative_length(lengths: Array) -> Callable[[int], Error]:
    """What a status means for kernels that refuse a negative length."""

    def explain(status: int) -> Error:
        return ValueRangeError(f"lengths[{status - 1}] is {int(on_host(lengths)[status - 1])}")

    return explain


# ---------------------------------------------------------------- lengths to something else


@kernel()
def _expand(lengths: Any, places: bool, y: Any) -> None:
    """Number of the segment, or place in it, for each row."""
    k = 0
    for s in range(lengths.size):
        for j in range(lengths[s]):
            y[k] = j if places else s
            k += 1


def launch_expand_lengths(lengths: Array, y: Array, *, places: bool = False) -> list[Launch]:
    """y = s for each row of segment s, or its place in the segment; lengths must add up to y."""
    _require_sum(lengths, y.size)
    if not isinstance(y, np.ndarray):
        return _there("launch_expand_lengths", lengths, places, y)
    return [_expand(lengths, places, y)]


@kernel()
def _weights(lengths: Any, power: float, y: Any) -> None:
    k = 0
    for s in range(lengths.size):
        value = y.dtype.type(1 / math.pow(float(lengths[s]), power)) if lengths[s] > 0 else 0
        for _ in range(lengths[s]):
            y[k] = value
            k += 1


def launch_weights(lengths: Array, power: float, y: Array) -> list[Launch]:
    """y = 1 / lengths[s] ** power for each row of segment s; lengths must add up to y."""
    _require_sum(lengths, y.size)
    if not isinstance(y, np.ndarray):
        return _there("launch_weights", lengths, float(power), y)
    return [_weights(lengths, float(power), y)]


@kernel()
def _offsets(lengths: Any, y: Any) -> Any:
    total = 0
    for s in range(lengths.size):
        if lengths[s] < 0:
            return _status(s)
        y[s] = total
        total += lengths[s]
    for s in range(lengths.size, y.size):
        y[s] = total
    return 0


def launch_offsets(lengths: Array, y: Array) -> list[Launch]:
    """y[s] = the sum of the lengths before s; y may have one element more, the whole sum."""
    if not lengths.size <= y.size <= lengths.size + 1:
        raise ShapeError(f"no offsets {shape_text(y.shape)} of {lengths.size} lengths")
    explain = negative_length(lengths)
    if not isinstance(y, np.ndarray):
        return _there("launch_offsets", lengths, y, explain)
    return [_offsets(lengths, y, explain=explain)]


@kernel()
def _ranges(lengths: Any, y: Any) -> Any:
    total = 0
    for s in range(lengths.size):
        if lengths[s] < 0:
            return _status(s)
        y[s, 0] = total
        y[s, 1] = lengths[s]
        total += lengths[s]
    return 0


def launch_ranges(lengths: Array, y: Array) -> list[Launch]:
    """y[s] = (the sum of the lengths before s, lengths[s])."""
    if y.shape != (lengths.size, 2):
        raise ShapeError(f"no ranges {shape_text(y.shape)} of {lengths.size} lengths")
    explain = negative_length(lengths)
    if not isinstance(y, np.ndarray):
        return _there("launch_ranges", lengths, y, explain)
    return [_ranges(lengths, y, explain=explain)]


@kernel()
def _common_shape(lengths: Any, y: Any) -> Any:
    for s in range(lengths.size):
        if lengths[s] != lengths[0]:
            return _status(s)
    y[0] = lengths.size
    y[1] = lengths[0]
    return 0


_form(_common_shape, "COMMON_SHAPE")


def launch_common_shape(lengths: Array, y: Array) -> Launch:
    """y = (number of lengths, the length that all of them are); there must be some."""

    def explain(status: int) -> Error:
        told = on_host(lengths)
        return ValueRangeError(
            f"lengths must all be the same: lengths[0] is {int(told[0])}, "
            f"lengths[{status - 1}] is {int(told[status - 1])}"
        )

    return _common_shape(lengths, y, explain=explain)


@kernel()
def _split(lengths: Any, parts: int, y: Any) -> Any:
    for s in range(lengths.size):
        if lengths[s] < 0:
            return _status(s)
        for j in range(parts):
            y[s * parts + j] = lengths[s] // parts + (1 if j < lengths[s] % parts else 0)
    return 0


_form(_split, "SPLIT")


def launch_split_lengths(lengths: Array, parts: int, y: Array) -> Launch:
    """y[s * parts + j] = the j-th of `parts` almost equal parts of lengths[s], larger first."""
    return _split(lengths, parts, y, explain=negative_length(lengths))


@kernel()
def _masked(lengths: Any, mask: Any, y: Any) -> Any:
    k = 0
    for s in range(lengths.size):
        if lengths[s] < 0 or lengths[s] > mask.size - k:
            return 1
        y[s] = 0
        for _ in range(lengths[s]):
            y[s] += 1 if mask[k] else 0
            k += 1
    return 0 if k == mask.size else 1


def launch_masked_lengths(lengths: Array, mask: Array, y: Array) -> list[Launch]:
    """y[s] = how many elements of the mask are true in segment s."""

    def explain(_status: int) -> Error:
        told = on_host(lengths)
        if told.min(initial=0) < 0:
            return ValueRangeError(f"lengths[{told.argmin()}] is {told.min()}")
        total = int(told.sum(dtype=np.int64))
        return ValueRangeError(f"the sum of lengths is {total}, but the mask has {mask.size}")

    if not isinstance(y, np.ndarray):
        return _there("launch_masked_lengths", lengths, mask.view(np.uint8), y, explain)
    return [_masked(lengths, mask, y, explain=explain)]


# ---------------------------------------------------------------- segment ids to something else


@kernel()
def _ids_to_ranges(ids: Any, y: Any) -> Any:
    """Start and length for each id; both 0 behind the last one."""
    for s in range(y.shape[0]):
        y[s, 0] = 0
        y[s, 1] = 0
    done = 0  # how many segments have a start
    for i in range(ids.size):
        found = np.int64(ids[i])
        if found < done - 1 or found < 0 or found >= y.shape[0]:
            return _status(i)
        while done <= found:
            y[done, 0] = i
            done += 1
        y[found, 1] += 1
    return 0


@kernel()
def _ids_to_lengths(ids: Any, y: Any) -> Any:
    for s in range(y.size):
        y[s] = 0
    last: Any = np.int64(0)
    for i in range(ids.size):
        found = np.int64(ids[i])
        if found < last or found >= y.size:
            return _status(i)
        y[found] += 1
        last = found
    return 0


_form(_ids_to_ranges, "IDS_TO_RANGES")
_form(_ids_to_lengths, "IDS_TO_LENGTHS")


def launch_from_ids(ids: Array, y: Array) -> Launch:
    """y[s] = how many ids are s; for a y of two columns where they begin, and how many they are."""

    def explain(status: int) -> Error:
        told = on_host(ids)
        before = f" follows {int(told[status - 2])}" if status > 1 else ""
        return ValueRangeError(
            f"segment id {int(told[status - 1])} at position {status - 1}{before}; ids must be "
            f"sorted, from 0 to {y.shape[0] - 1}"
        )

    return (_ids_to_ranges if y.ndim == 2 else _ids_to_lengths)(ids, y, explain=explain)


# ---------------------------------------------------------------- rows by a map


@kernel()
def _take(x: Any, rows: Any, pads: Any, y: Any) -> None:
    for k in range(rows.size):
        target = y[k]
        source = x[rows[k]] if rows[k] >= 0 else pads[-1 - rows[k]]
        for i in range(y.shape[1]):
            target[i] = source[i]


_form(_take, "TAKE")


def launch_take(x: Array, rows: Array, pads: Array, y: Array) -> Launch:
    """y[k] = x[rows[k]], or pads[-1 - rows[k]] for a negative row; matrices of any type.

    The int64 `rows` may be made by a launch before; they must be in range.
    """
    fits = x.shape[1] == pads.shape[1] == y.shape[1] and rows.size == y.shape[0]
    if not fits or not x.dtype == pads.dtype == y.dtype:
        raise ShapeError(f"no {shape_text(y.shape)} of rows {shape_text(x.shape)}")
    if x.dtype != STRING:
        source, padding_ = bits(x), bits(pads)
        return by_rows(lambda a, b: _take(source, a, padding_, b), rows.reshape(-1), bits(y))

    def assign() -> None:
        y[...] = np.concatenate([pads[::-1], x])[on_host(rows).reshape(-1) + len(pads)]

    return launch_python(assign)


def padding(call: Call, like: Array, value: float = 0) -> Array:
    """One row of padding for the matrix `like`: the value, or empty strings."""
    if isinstance(like, np.ndarray) and like.dtype != STRING:
        row = call.scratch((1, like.shape[1]), like.dtype)
    else:
        row = np.empty((1, like.shape[1]), like.dtype)  # a device takes it as a table
    if like.dtype == STRING:
        row[...] = b""
    else:
        row[...] = np.trunc(value) if like.dtype.kind in "iu" else value
    return row


@kernel()
def _map_padded(
    lengths: Any, count: int, most: int, clip: bool, by_segment: int, by_place: int, rows: Any
) -> Any:
    """rows[s * by_segment + j * by_place] = the j-th row of segment s, -1 behind its end."""
    k: Any = 0
    for s in range(lengths.size):
        length = np.int64(lengths[s])
        if length < 0 or length > count - k or (length > most and not clip):
            return _status(s)
        for j in range(most):
            rows[s * by_segment + j * by_place] = k + j if j < length else -1
        k += length
    return 0 if k == count else _status(lengths.size)


def launch_map_padded(
    lengths: Array, count: int, most: int, rows: Array, *, clip: bool, places_first: bool = False
) -> list[Launch]:
    """Map of `count` rows to segments of `most` rows each: padded with -1, cut where `clip`.

    rows is (segments, most) or, with places_first, (most, segments). ValueRangeError (at run time)
    for a negative length, one above `most` without `clip`, or a sum that is not `count`.
    """
    segments = lengths.size
    if rows.size != segments * most:
        raise ShapeError(f"no map {shape_text(rows.shape)} of {segments} times {most} rows")

    def explain(status: int) -> Error:
        told = on_host(lengths)
        total = int(told.sum(dtype=np.int64))
        length = int(told[status - 1]) if status <= segments else 0
        if told.min(initial=0) >= 0 and total != count:
            return ValueRangeError(f"the sum of lengths is {total}, but there are {count} rows")
        return ValueRangeError(f"lengths[{status - 1}] is {length}; expected 0 to {most}")

    steps = (1, segments) if places_first else (most, 1)
    flat = rows.reshape(-1)
    if not isinstance(rows, np.ndarray):
        return _there("launch_map_padded", lengths, count, most, clip, steps, flat, explain)
    return [_map_padded(lengths, count, most, clip, *steps, flat, explain=explain)]


@kernel()
def _map_packed(lengths: Any, most: int, by_segment: int, by_place: int, rows: Any) -> None:
    k = 0
    for s in range(lengths.size):
        length: Any = min(np.int64(lengths[s]), most)
        for j in range(length):
            rows[k] = s * by_segment + j * by_place
            k += 1


def launch_map_packed(
    lengths: Array, most: int, rows: Array, *, places_first: bool = False
) -> list[Launch]:
    """The way back: which rows of the padded segments there are; lengths are cut at `most`."""
    _require_sum(np.clip(on_host(lengths), None, most), rows.size)
    steps = (1, lengths.size) if places_first else (most, 1)
    if not isinstance(rows, np.ndarray):
        return _there("launch_map_packed", lengths, most, steps, rows)
    return [_map_packed(lengths, most, *steps, rows)]


@kernel()
def _map_reversed(lengths: Any, rows: Any) -> Any:
    for s in range(lengths.size):
        if lengths[s] > rows.shape[0] or lengths[s] < 0:
            return _status(s)
        for j in range(rows.shape[0]):
            from_ = lengths[s] - 1 - j if j < lengths[s] else j
            rows[j, s] = from_ * rows.shape[1] + s
    return 0


_form(_map_reversed, "MAP_REVERSED")


def launch_map_reversed(lengths: Array, rows: Array) -> Launch:
    """rows[j, s]: the first lengths[s] places of column s in reverse order, then the rest."""

    def explain(status: int) -> Error:
        return ValueRangeError(
            f"lengths[{status - 1}] is {int(on_host(lengths)[status - 1])}; "
            f"expected 0 to {rows.shape[0]}"
        )

    return _map_reversed(lengths, rows, explain=explain)


@kernel()
def _map_between(lengths: Any, start: int, end: int, rows: Any) -> None:
    """Each segment with `start` rows -1 before it and `end` rows -2 after it."""
    k = 0
    at = 0
    for s in range(lengths.size):
        for _ in range(start):
            rows[k] = -1
            k += 1
        for _ in range(lengths[s]):
            rows[k] = at
            k += 1
            at += 1
        for _ in range(end):
            rows[k] = -2
            k += 1


def launch_map_between(lengths: Array, start: int, end: int, rows: Array) -> list[Launch]:
    """Map of segments to ones with `start` rows of padding before and `end` after each."""
    _require_sum(lengths, rows.size, 0, start + end)
    if not isinstance(rows, np.ndarray):
        return _there("launch_map_between", lengths, start, end, rows)
    return [_map_between(lengths, start, end, rows)]


@kernel()
def _map_inner(lengths: Any, start: int, end: int, rows: Any) -> None:
    k = 0
    at = 0
    for s in range(lengths.size):
        for j in range(start, lengths[s] - end):
            rows[k] = at + j
            k += 1
        at += lengths[s]


def launch_map_inner(lengths: Array, start: int, end: int, rows: Array) -> list[Launch]:
    """Map of segments to what is left without `start` rows before and `end` after."""
    _require_sum(lengths, rows.size, start + end, -start - end)
    if not isinstance(rows, np.ndarray):
        return _there("launch_map_inner", lengths, start, end, rows)
    return [_map_inner(lengths, start, end, rows)]


@kernel()
def _sum_padding(x: Any, lengths: Any, start: int, end: int, before: Any, after: Any) -> Any:
    """before += the first rows of each segment, after += the last; they may be one array."""
    for i in range(x.shape[1]):
        before[i] = 0
        after[i] = 0
    at: Any = 0
    for s in range(lengths.size):
        length = np.int64(lengths[s])
        if length < start + end or length > x.shape[0] - at:
            return _status(s)
        for j in range(start):
            for i in range(x.shape[1]):
                before[i] += x[at + j, i]
        for j in range(length - end, length):
            for i in range(x.shape[1]):
                after[i] += x[at + j, i]
        at += length
    return 0 if at == x.shape[0] else _status(lengths.size)


def launch_sum_padding(
    x: Array, lengths: Array, start: int, end: int, before: Array, after: Array
) -> list[Launch]:
    """Sums of the first `start` rows of all segments, and of the last `end`; of both if one array.

    ValueRangeError (at run time) for a segment that is shorter, or lengths that do not add up.
    """

    def explain(status: int) -> Error:
        told = on_host(lengths)
        total = int(told.sum(dtype=np.int64))
        if status <= told.size and told[status - 1] < start + end:
            return ValueRangeError(
                f"lengths[{status - 1}] is {int(told[status - 1])}, less than its padding"
            )
        return ValueRangeError(f"the sum of lengths is {total}, but there are {x.shape[0]} rows")

    both = before.reshape(-1), after.reshape(-1)
    if not isinstance(x, np.ndarray):
        return _there("launch_sum_padding", x, lengths, start, end, *both, explain)
    return [_sum_padding(x, lengths, start, end, *both, explain=explain)]


@kernel()
def _map_ranges(starts: Any, lengths: Any, rows: Any) -> None:
    k = 0
    for r in range(starts.size):
        for j in range(lengths[r]):
            rows[k] = starts[r] + j
            k += 1


def launch_map_ranges(starts: Array, lengths: Array, rows: Array) -> list[Launch]:
    """rows = starts[r], starts[r] + 1, ..., lengths[r] of them, for each r."""
    _require_sum(lengths, rows.size)
    if not isinstance(rows, np.ndarray):
        return _there("launch_map_ranges", starts, lengths, rows)
    return [_map_ranges(starts, lengths, rows)]


@kernel()
def _map_empty(lengths: Any, rows: Any) -> None:
    k = 0
    at = 0
    for s in range(lengths.size):
        for _ in range(lengths[s]):
            rows[k] = at
            k += 1
            at += 1
        if lengths[s] == 0:
            rows[k] = -1
            k += 1


@kernel()
def _at_least_one(lengths: Any, y: Any) -> None:
    for s in range(lengths.size):
        y[s] = lengths[s] if lengths[s] != 0 else 1


def launch_map_empty(lengths: Array, rows: Array) -> list[Launch]:
    """Map of segments to ones where an empty segment has one row of padding."""
    told = on_host(lengths)
    _require_sum(np.where(told == 0, 1, told), rows.size)
    if not isinstance(rows, np.ndarray):
        return _there("launch_map_empty", lengths, rows)
    return [_map_empty(lengths, rows)]


def launch_at_least_one(lengths: Array, y: Array) -> Launch:
    """y = lengths, with 1 for 0."""
    return by_rows(_at_least_one, lengths, y, multiple=CHUNK)


@kernel()
def _add(lengths: Any, step: int, y: Any) -> None:
    for s in range(lengths.size):
        y[s] = lengths[s] + step


def launch_add(lengths: Array, step: int, y: Array) -> Launch:
    """y = lengths + step."""
    return by_rows(lambda part, out: _add(part, step, out), lengths, y, multiple=CHUNK)
