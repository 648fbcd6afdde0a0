"""Lengths and what follows from them, for devices: ids, ranges, and which row goes where.

Where segments begin is found first (`before`); then each row of a result looks for its segment.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from caffe2py.errors import Error
from caffe2py.kernels.cuda.before import form_only, launch_before
from caffe2py.kernels.cuda.segments import launch_walk_lengths
from caffe2py.kernels.cuda.teams import (
    blocks_for_items,
    blocks_for_rows,
    piece,
    pieces_of,
    segment_of,
    team,
)
from caffe2py.kernels.cuda.threads import block_sum, cuda
from caffe2py.registry.context import Launch
from caffe2py.tensor.place import device_of, empty_on
from caffe2py.tensor.tensor import Array

_LAST_STATUS = 2**31 - 1
_INT64 = np.dtype(np.int64)
_ANY = 2**62

Explain = Callable[[int], Error]


def _status(place: Any) -> Any:
    return min(place + 1, _LAST_STATUS)


def _each(function: Any, of: int = -1) -> Any:
    """A kernel with a thread for each element of its last argument, or of another one."""
    return form_only(function, lambda *args: blocks_for_items(args[of].size))


# ---------------------------------------------------------------- loops


def _require_within(lengths: Any, least: int, most: int) -> Any:
    for s in range(cuda.grid(1), lengths.size, cuda.gridsize(1)):
        if not least <= lengths[s] <= most:
            return _status(s)
    return 0


def _limited(lengths: Any, least: int, most: int, step: int, y: Any) -> None:
    for s in range(cuda.grid(1), lengths.size, cuda.gridsize(1)):
        length: Any = np.int64(lengths[s])
        y[s] = min(max(length, least), most) + step


def _expand(offsets: Any, places: bool, y: Any) -> None:
    for k in range(cuda.grid(1), y.size, cuda.gridsize(1)):
        s = segment_of(offsets, k)
        y[k] = k - offsets[s] if places else s


def _weights(offsets: Any, power: float, y: Any) -> None:
    for k in range(cuda.grid(1), y.size, cuda.gridsize(1)):
        s = segment_of(offsets, k)
        y[k] = y.dtype.type(1 / math.pow(np.float64(offsets[s + 1] - offsets[s]), power))


def _ranges(offsets: Any, lengths: Any, y: Any) -> None:
    for s in range(cuda.grid(1), lengths.size, cuda.gridsize(1)):
        y[s, 0] = offsets[s]
        y[s, 1] = lengths[s]


def _common_shape(lengths: Any, y: Any) -> Any:
    for s in range(cuda.grid(1), lengths.size, cuda.gridsize(1)):
        if s == 0:
            y[0] = lengths.size
            y[1] = lengths[0]
        if lengths[s] != lengths[0]:
            return _status(s)
    return 0


def _split(lengths: Any, parts: int, y: Any) -> Any:
    for k in range(cuda.grid(1), y.size, cuda.gridsize(1)):
        s = k // parts
        length = np.int64(lengths[s])
        if length < 0:
            return _status(s)
        y[k] = length // parts + (1 if k - s * parts < length % parts else 0)
    return 0


def _differences(sums: Any, offsets: Any, y: Any) -> None:
    for s in range(cuda.grid(1), y.size, cuda.gridsize(1)):
        y[s] = sums[offsets[s + 1]] - sums[offsets[s]]


def _first_not_below(ids: Any, s: Any) -> Any:
    low, high = 0, ids.size
    while low < high:
        middle = (low + high) // 2
        if ids[middle] < s:
            low = middle + 1
        else:
            high = middle
    return low


def _check_ids(ids: Any, segments: Any) -> Any:
    status = _LAST_STATUS
    for k in range(cuda.grid(1), ids.size, cuda.gridsize(1)):
        before = np.int64(ids[k - 1]) if k > 0 else 0
        if ids[k] < before or ids[k] >= segments:
            status = min(status, _status(k))
    return 0 if status == _LAST_STATUS else status


def _ids_to_ranges(ids: Any, y: Any) -> Any:
    for s in range(cuda.grid(1), y.shape[0], cuda.gridsize(1)):
        first, end = _first_not_below(ids, s), _first_not_below(ids, s + 1)
        y[s, 0] = first if first < ids.size else 0
        y[s, 1] = end - first
    return _check_ids(ids, y.shape[0])


def _ids_to_lengths(ids: Any, y: Any) -> Any:
    for s in range(cuda.grid(1), y.shape[0], cuda.gridsize(1)):
        y[s] = _first_not_below(ids, s + 1) - _first_not_below(ids, s)
    return _check_ids(ids, y.shape[0])


def _take(x: Any, rows: Any, pads: Any, y: Any) -> None:
    width = y.shape[1]
    first, step, lane, lanes = team(width)
    for k in range(first, pieces_of(rows.size, width), step):
        place, begin, end = piece(k, width)
        row = rows[place]
        for i in range(begin + lane, end, lanes):
            y[place, i] = x[row, i] if row >= 0 else pads[-1 - row, i]


def _map_padded(offsets: Any, most: int, by_segment: int, by_place: int, rows: Any) -> None:
    for k in range(cuda.grid(1), rows.size, cuda.gridsize(1)):
        s = k // most
        j = k - s * most
        inside = j < offsets[s + 1] - offsets[s]
        rows[s * by_segment + j * by_place] = offsets[s] + j if inside else -1


def _map_packed(offsets: Any, by_segment: int, by_place: int, rows: Any) -> None:
    for k in range(cuda.grid(1), rows.size, cuda.gridsize(1)):
        s = segment_of(offsets, k)
        rows[k] = s * by_segment + (k - offsets[s]) * by_place


def _map_reversed(lengths: Any, rows: Any) -> Any:
    steps, count = rows.shape
    for k in range(cuda.grid(1), rows.size, cuda.gridsize(1)):
        j = k // count
        s = k - j * count
        length = np.int64(lengths[s])
        if not 0 <= length <= steps:
            rows[j, s] = k
            return _status(s)
        rows[j, s] = (length - 1 - j if j < length else j) * count + s
    return 0


def _map_between(offsets: Any, start: int, end: int, rows: Any) -> None:
    for k in range(cuda.grid(1), rows.size, cuda.gridsize(1)):
        s = segment_of(offsets, k)
        j = k - offsets[s] - start
        length = offsets[s + 1] - offsets[s] - start - end
        if j < 0:
            rows[k] = -1
        else:
            rows[k] = offsets[s] - s * (start + end) + j if j < length else -2


def _map_inner(offsets: Any, start: int, end: int, rows: Any) -> None:
    for k in range(cuda.grid(1), rows.size, cuda.gridsize(1)):
        rows[k] = k + segment_of(offsets, k) * (start + end) + start


def _map_ranges(offsets: Any, starts: Any, rows: Any) -> None:
    for k in range(cuda.grid(1), rows.size, cuda.gridsize(1)):
        s = segment_of(offsets, k)
        rows[k] = starts[s] + k - offsets[s]


def _map_empty(offsets: Any, full: Any, rows: Any) -> None:
    for k in range(cuda.grid(1), rows.size, cuda.gridsize(1)):
        s = segment_of(full, k)
        rows[k] = offsets[s] + k - full[s] if offsets[s] < offsets[s + 1] else -1


def _sum_padding(
    x: Any, offsets: Any, start: int, end: int, same: bool, before: Any, after: Any
) -> None:
    """A block adds up each column; `before` and `after` may be one array."""
    for i in range(cuda.blockIdx.x, x.shape[1], cuda.gridDim.x):
        first = last = x.dtype.type(0)
        for s in range(cuda.threadIdx.x, offsets.size - 1, cuda.blockDim.x):
            for p in range(offsets[s], min(offsets[s] + start, x.shape[0])):
                first += x[p, i]
            for p in range(max(offsets[s + 1] - end, 0), offsets[s + 1]):
                last += x[p, i]
        first, last = block_sum(x, first), block_sum(x, last)
        if cuda.threadIdx.x == 0:
            before[i] = first + last if same else first
            if not same:
                after[i] = last


# ---------------------------------------------------------------- launches

_REQUIRE_WITHIN, _LIMITED = _each(_require_within, 0), _each(_limited)
_EXPAND, _WEIGHTS, _RANGES = _each(_expand), _each(_weights), _each(_ranges, 1)
_DIFFERENCES, _MAP_PADDED, _MAP_PACKED = _each(_differences), _each(_map_padded), _each(_map_packed)
_MAP_BETWEEN, _MAP_INNER, _MAP_RANGES = _each(_map_between), _each(_map_inner), _each(_map_ranges)
_MAP_EMPTY = _each(_map_empty)
_SUM_PADDING = form_only(_sum_padding, lambda *args: max(1, args[0].shape[1]))

COMMON_SHAPE = _common_shape, lambda lengths, y: blocks_for_items(lengths.size)
SPLIT = _split, lambda lengths, parts, y: blocks_for_items(y.size)
IDS_TO_RANGES = _ids_to_ranges, lambda ids, y: blocks_for_items(max(ids.size, len(y)))
IDS_TO_LENGTHS = _ids_to_lengths, lambda ids, y: blocks_for_items(max(ids.size, len(y)))
TAKE = _take, lambda x, rows, pads, y: blocks_for_rows(*y.shape)
MAP_REVERSED = _map_reversed, lambda lengths, rows: blocks_for_items(rows.size)


def _scratch(like: Array, size: int) -> Array:
    return empty_on(device_of(like), (size,), _INT64)


def _begin(lengths: Array) -> tuple[list[Launch], Array]:
    """Where segments begin, and the end of the last one; the lengths are right."""
    offsets = _scratch(lengths, lengths.size + 1)
    return launch_before(lengths, offsets), offsets


def _begin_limited(lengths: Array, least: int, most: int, step: int) -> tuple[list[Launch], Array]:
    """The same where lengths are brought within bounds, and then grow by a step."""
    if not lengths.size:
        return _begin(lengths)
    own = _scratch(lengths, lengths.size)
    launches, offsets = _begin(own)
    return [_LIMITED(lengths, least, most, step, own), *launches], offsets


def launch_expand_lengths(lengths: Array, places: bool, y: Array) -> list[Launch]:
    """y = s for each row of segment s, or its place in the segment."""
    launches, offsets = _begin(lengths)
    return [*launches, _EXPAND(offsets, places, y)]


def launch_weights(lengths: Array, power: float, y: Array) -> list[Launch]:
    """y = 1 / lengths[s] ** power for each row of segment s."""
    launches, offsets = _begin(lengths)
    return [*launches, _WEIGHTS(offsets, power, y)]


def launch_offsets(lengths: Array, y: Array, explain: Explain) -> list[Launch]:
    """y[s] = the sum of the lengths before s; y may have one element more, the whole sum."""
    check = _REQUIRE_WITHIN(lengths, 0, _ANY, explain=explain)
    return [check, *launch_before(lengths, y)]


def launch_ranges(lengths: Array, y: Array, explain: Explain) -> list[Launch]:
    """y[s] = (the sum of the lengths before s, lengths[s])."""
    launches, offsets = _begin(lengths)
    check = _REQUIRE_WITHIN(lengths, 0, _ANY, explain=explain)
    return [check, *launches, _RANGES(offsets, lengths, y)]


def launch_masked_lengths(lengths: Array, mask: Array, y: Array, explain: Explain) -> list[Launch]:
    """y[s] = how many elements of the mask, which are 0 or 1, are 1 in segment s."""
    offsets = _scratch(lengths, lengths.size + 1)
    walk = launch_walk_lengths(lengths, mask.size, offsets, explain)
    launches, sums = _begin(mask)
    return [*walk, *launches, _DIFFERENCES(sums, offsets, y)]


def launch_map_padded(
    lengths: Array,
    count: int,
    most: int,
    clip: bool,
    steps: tuple[int, int],
    rows: Array,
    explain: Explain,
) -> list[Launch]:
    """rows[s * steps[0] + j * steps[1]] = the j-th row of segment s, -1 behind its end."""
    offsets = _scratch(lengths, lengths.size + 1)
    launches = launch_walk_lengths(lengths, count, offsets, explain)
    if not clip:
        launches.append(_REQUIRE_WITHIN(lengths, 0, most, explain=explain))
    return [*launches, _MAP_PADDED(offsets, max(most, 1), *steps, rows)]


def launch_map_packed(
    lengths: Array, most: int, steps: tuple[int, int], rows: Array
) -> list[Launch]:
    """Which rows of padded segments there are; lengths are cut at `most`."""
    launches, offsets = _begin_limited(lengths, 0, most, 0)
    return [*launches, _MAP_PACKED(offsets, *steps, rows)]


def launch_map_between(lengths: Array, start: int, end: int, rows: Array) -> list[Launch]:
    """Each segment with `start` rows -1 before it and `end` rows -2 after it."""
    launches, offsets = _begin_limited(lengths, 0, _ANY, start + end)
    return [*launches, _MAP_BETWEEN(offsets, start, end, rows)]


def launch_map_inner(lengths: Array, start: int, end: int, rows: Array) -> list[Launch]:
    """Each segment without `start` rows before and `end` after."""
    launches, offsets = _begin_limited(lengths, 0, _ANY, -start - end)
    return [*launches, _MAP_INNER(offsets, start, end, rows)]


def launch_map_ranges(starts: Array, lengths: Array, rows: Array) -> list[Launch]:
    """The next lengths[r] rows from starts[r] on, for each r; both are tables of the host."""
    offsets = np.zeros(lengths.size + 1, np.int64)
    np.cumsum(lengths, out=offsets[1:])
    return [_MAP_RANGES(offsets, starts, rows)]


def launch_map_empty(lengths: Array, rows: Array) -> list[Launch]:
    """Each segment, and -1 for an empty one."""
    launches, offsets = _begin(lengths)
    more, full = _begin_limited(lengths, 1, _ANY, 0)
    return [*launches, *more, _MAP_EMPTY(offsets, full, rows)]


def launch_sum_padding(
    x: Array,
    lengths: Array,
    start: int,
    end: int,
    before: Array,
    after: Array,
    explain: Explain,
) -> list[Launch]:
    """Sums of the first rows of all segments and of the last; of both if they are one array."""
    offsets = _scratch(lengths, lengths.size + 1)
    launches = launch_walk_lengths(lengths, x.shape[0], offsets, explain)
    launches.append(_REQUIRE_WITHIN(lengths, start + end, _ANY, explain=explain))
    same = before.ctypes.data == after.ctypes.data
    return [*launches, _SUM_PADDING(x, offsets, start, end, same, before, after)]
