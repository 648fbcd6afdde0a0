"""Elements spread over arrays, for devices: by indices, by lists, by masks, by keys.

Which element a chosen place gets is a count of the chosen ones before it.
"""

from __future__ import annotations

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
from caffe2py.kernels.cuda.threads import cuda
from caffe2py.kernels.lookup import WRONG_LENGTHS
from caffe2py.registry.context import Launch
from caffe2py.tensor.place import device_of, empty_on
from caffe2py.tensor.tensor import Array

__all__ = ["launch_before"]

_LAST = WRONG_LENGTHS - 1
_INT64, _FLAG = np.dtype(np.int64), np.dtype(np.uint8)

Explain = Callable[[int], Error]


def _status(place: Any) -> Any:
    return min(place + 1, _LAST)


# ---------------------------------------------------------------- by indices


def _place(indices: Any, updates: Any, y: Any) -> Any:
    """A thread for each line along the middle axis: the last of equal indices stays."""
    outer, size, inner = y.shape
    status = WRONG_LENGTHS
    for line in range(cuda.grid(1), outer * inner, cuda.gridsize(1)):
        o = line // inner
        i = line - o * inner
        for k in range(indices.shape[1]):
            index = indices[o, k, i]
            if 0 <= index < size:
                y[o, index, i] = updates[o, k, i]
            else:
                status = min(status, _status((o * indices.shape[1] + k) * inner + i))
    return 0 if status == WRONG_LENGTHS else status


def _set_rows(indices: Any, row: Any, x: Any) -> Any:
    """All write the same; rows that are none are left out."""
    width, status = row.size, WRONG_LENGTHS
    first, step, lane, lanes = team(width)
    for k in range(first, pieces_of(indices.size, width), step):
        place, begin, end = piece(k, width)
        index = indices[place]
        if 0 <= index < x.shape[0]:
            for i in range(begin + lane, end, lanes):
                x[index, i] = row[i]
        else:
            status = min(status, _status(place))
    return 0 if status == WRONG_LENGTHS else status


# ---------------------------------------------------------------- by lists


def _comes_again(indices: Any, at: Any, end: Any) -> Any:
    """Whether an index comes once more in its list."""
    later = at + 1
    while later < end and indices[later] != indices[at]:
        later += 1
    return later < end


def _rows_of_lists(offsets: Any, indices: Any, values: Any, dense: Any, back: bool) -> Any:
    status = WRONG_LENGTHS
    for at in range(cuda.grid(1), indices.size, cuda.gridsize(1)):
        r = segment_of(offsets, at)
        column = indices[at]
        if not 0 <= column < dense.shape[1]:
            status = min(status, _status(at))
        elif offsets[r] <= at < offsets[r + 1]:
            if back:
                values[at] = dense[r, column]
            elif not _comes_again(indices, at, offsets[r + 1]):
                dense[r, column] = values[at]
    return 0 if status == WRONG_LENGTHS else status


_ROWS_OF_LISTS = form_only(_rows_of_lists, lambda *args: blocks_for_items(args[1].size))


def launch_rows_of_lists(
    lengths: Array, indices: Array, values: Array, dense: Array, back: bool, explain: Explain
) -> list[Launch]:
    """Values to the places that the indices of each row name, or (back) from there."""
    offsets = empty_on(device_of(dense), (lengths.size + 1,), _INT64)
    walk = launch_walk_lengths(lengths, indices.size, offsets, lambda _: explain(WRONG_LENGTHS))
    if not indices.size:
        return walk
    return [*walk, _ROWS_OF_LISTS(offsets, indices, values, dense, back, explain=explain)]


# ---------------------------------------------------------------- by masks


def _expand_masked(mask: Any, before: Any, rows: Any, y: Any) -> Any:
    width = y.shape[1]
    first, step, lane, lanes = team(width)
    for k in range(first, pieces_of(mask.size, width), step):
        r, begin, end = piece(k, width)
        inside = mask[r] != 0 and before[r] < rows.shape[0]
        for i in range(begin + lane, end, lanes):
            y[r, i] = rows[before[r], i] if inside else 0
    return 0 if before[mask.size] == rows.shape[0] else 1


def _places(mask: Any, before: Any, places: Any) -> None:
    for i in range(cuda.grid(1), mask.size, cuda.gridsize(1)):
        if mask[i] != 0 and before[i] < places.size:
            places[before[i]] = i


def _free(mask: Any, taken: Any, free: Any) -> None:
    for i in range(cuda.grid(1), mask.size, cuda.gridsize(1)):
        free[i] = 1 if mask[i] != 0 and taken[i] == 0 else 0


def _unmask(free: Any, before: Any, values: Any, taken: Any, y: Any) -> Any:
    for i in range(cuda.grid(1), free.size, cuda.gridsize(1)):
        if free[i] != 0 and before[i] < values.size:
            y[i] = values[before[i]]
            taken[i] = 1
    return 0 if before[free.size] == values.size else 1


def _require_taken(taken: Any) -> Any:
    for i in range(cuda.grid(1), taken.size, cuda.gridsize(1)):
        if taken[i] == 0:
            return _status(i)
    return 0


def _of_first(*args: Any) -> int:
    return blocks_for_items(args[0].size)


_EXPAND_MASKED = form_only(_expand_masked, lambda *args: blocks_for_rows(*args[-1].shape))
_PLACES, _FREE, _UNMASK = (form_only(f, _of_first) for f in (_places, _free, _unmask))


def _count(flags: Array) -> tuple[list[Launch], Array]:
    before = empty_on(device_of(flags), (flags.size + 1,), _INT64)
    return launch_before(flags, before), before


def launch_places(mask: Array, before: Array, places: Array) -> list[Launch]:
    """The places of flags that are set."""
    return [_PLACES(mask, before, places)]


def launch_expand_masked(mask: Array, rows: Array, y: Array, explain: Explain) -> list[Launch]:
    """y[r] = the next of the rows where mask[r] holds, 0 elsewhere."""
    launches, before = _count(mask)
    return [*launches, _EXPAND_MASKED(mask, before, rows, y, explain=explain)]


def launch_unmask(
    mask: Array, values: Array, taken: Array, y: Array, explain: Explain
) -> list[Launch]:
    """y[i] = the next value where the mask holds at a place that is not taken."""
    free = empty_on(device_of(y), y.shape, _FLAG)
    launches, before = _count(free)
    moved = _UNMASK(free, before, values, taken, y, explain=explain)
    return [_FREE(mask, taken, free), *launches, moved]


def _is_hidden(mode: Any, row: Any, column: Any, given: Any, radius: Any) -> Any:
    if mode == 0:
        return column >= given
    if mode == 1:
        return column < given - radius or column > given + radius
    if mode == 2:
        return column > row
    if mode == 3:
        return column < row
    if mode == 4:
        return column >= row
    return column <= row


def _mask_sequence(x: Any, given: Any, mode: int, radius: int, fill: Any, y: Any) -> None:
    batches, rows, columns, inner = x.shape
    width = columns * inner
    first, step, lane, lanes = team(width)
    for k in range(first, pieces_of(batches * rows, width), step):
        line, begin, end = piece(k, width)
        b = line // rows
        r = line - b * rows
        number = np.int64(given[r]) if mode < 2 else np.int64(0)
        for e in range(begin + lane, end, lanes):
            c = e // inner
            i = e - c * inner
            hidden = _is_hidden(mode, r, c, number, radius)
            y[b, r, c, i] = fill[0] if hidden else x[b, r, c, i]


# ---------------------------------------------------------------- by keys


def _of_shard(keys: Any, shards: int, shard: int, flags: Any) -> None:
    for k in range(cuda.grid(1), keys.size, cuda.gridsize(1)):
        flags[k] = 1 if keys[k] % shards == shard else 0


def _take_shard(flags: Any, before: Any, values: Any, y: Any) -> Any:
    width = y.shape[1]
    first, step, lane, lanes = team(width)
    for k in range(first, pieces_of(flags.size, width), step):
        place, begin, end = piece(k, width)
        if flags[place] != 0 and before[place] < values.shape[0]:
            for i in range(begin + lane, end, lanes):
                y[place, i] = values[before[place], i]
    return 0 if before[flags.size] == values.shape[0] else 1


_OF_SHARD = form_only(_of_shard, _of_first)
_TAKE_SHARD = form_only(_take_shard, lambda *args: blocks_for_rows(*args[-1].shape))


def launch_take_shard(
    keys: Array, shards: int, shard: int, values: Array, y: Array, explain: Explain
) -> list[Launch]:
    """y[k] = the next of the values where a key belongs to the shard."""
    flags = empty_on(device_of(y), (keys.size,), _FLAG)
    launches, before = _count(flags)
    taken = _TAKE_SHARD(flags, before, values, y, explain=explain)
    return [_OF_SHARD(keys, shards, shard, flags), *launches, taken]


PLACE = _place, lambda indices, updates, y: blocks_for_items(y.shape[0] * y.shape[2])
SET_ROWS = _set_rows, lambda indices, row, x: blocks_for_rows(indices.size, row.size)
REQUIRE_TAKEN = _require_taken, _of_first
MASK_SEQUENCE = _mask_sequence, lambda x, *_: blocks_for_rows(*_lines(x))


def _lines(x: Array) -> tuple[int, int]:
    batches, rows, columns, inner = x.shape
    return batches * rows, columns * inner
