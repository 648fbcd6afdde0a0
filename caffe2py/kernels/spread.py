"""Loops that spread elements over an array: by indices, by lengths, by masks, by keys."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from caffe2py.errors import Error, ShapeError, ValueRangeError
from caffe2py.kernels.copy import bits, launch_copy, launch_fill
from caffe2py.kernels.index import index_error
from caffe2py.kernels.jit import kernel
from caffe2py.kernels.lookup import WRONG_LENGTHS, lengths_fit, place_status, wrong_lengths
from caffe2py.registry.context import Call, Launch
from caffe2py.tensor.late import late
from caffe2py.tensor.place import on_host
from caffe2py.tensor.tensor import Array


def _there(name: str, *args: Any) -> list[Launch]:
    """What devices do in several steps."""
    launches: list[Launch] = late("kernels.cuda.spreading", name)(*args)
    return launches


# ---------------------------------------------------------------- by indices


@kernel()
def _place(indices: Any, updates: Any, y: Any) -> Any:
    outer, size, inner = y.shape
    for o in range(outer):
        for k in range(indices.shape[1]):
            for i in range(inner):
                if not 0 <= indices[o, k, i] < size:
                    return place_status((o * indices.shape[1] + k) * inner + i)
                y[o, indices[o, k, i], i] = updates[o, k, i]
    return 0


_place.form_later(lambda: late("kernels.cuda.spreading", "PLACE"))


def launch_place(x: Array, indices: Array, updates: Array, y: Array) -> list[Launch]:
    """y = x, but y[o, indices[o, k, i], i] = updates[o, k, i]; all with three axes.

    ValueRangeError (at run time) for an index outside of the middle axis.
    """

    def explain(status: int) -> Error:
        return index_error(int(on_host(indices).reshape(-1)[status - 1]), status - 1, y.shape[1])

    return [launch_copy(x, y), _place(indices, bits(updates), bits(y), explain=explain)]


@kernel()
def _add_rows(dy: Any, indices: Any, dx: Any) -> Any:
    for r in range(dx.shape[0]):
        for i in range(dx.shape[1]):
            dx[r, i] = 0
    for k in range(indices.size):
        if not 0 <= indices[k] < dx.shape[0]:
            return place_status(k)
        for i in range(dx.shape[1]):
            dx[indices[k], i] += dy[k, i]
    return 0


def _one(dy: Array, indices: Array, dx: Array) -> tuple[Any, ...]:
    """Matrices as the one part of arrays with three axes."""
    return dy.reshape(1, *dy.shape), indices, 0, False, dx.reshape(1, *dx.shape)


def launch_add_rows(dy: Array, indices: Array, dx: Array) -> list[Launch]:
    """dx[indices[k]] += dy[k] for matrices, starting from 0.

    ValueRangeError (at run time) for an index that is no row of dx.
    """

    def explain(status: int) -> Error:
        return index_error(int(on_host(indices)[status - 1]), status - 1, dx.shape[0])

    if not isinstance(dx, np.ndarray):
        late_runs = late("kernels.cuda.runs", "launch_add_gathered")
        launches: list[Launch] = late_runs(*_one(dy, indices, dx), explain)
        return launches
    return [_add_rows(dy, indices, dx, explain=explain)]


@kernel()
def _set_rows(indices: Any, row: Any, x: Any) -> Any:
    for k in range(indices.size):
        if not 0 <= indices[k] < x.shape[0]:
            return place_status(k)
    for k in range(indices.size):
        for i in range(row.size):
            x[indices[k], i] = row[i]
    return 0


_set_rows.form_later(lambda: late("kernels.cuda.spreading", "SET_ROWS"))


def launch_set_rows(indices: Array, row: Array, x: Array) -> Launch:
    """x[indices[k]] = row for a matrix x of any type; nothing changes if an index is no row.

    ValueRangeError (at run time) then.
    """

    def explain(status: int) -> Error:
        return index_error(int(on_host(indices)[status - 1]), status - 1, x.shape[0])

    return _set_rows(indices, bits(row), bits(x), explain=explain)


# ---------------------------------------------------------------- by lengths


@kernel()
def _rows_of_lists(lengths: Any, indices: Any, values: Any, dense: Any, back: bool) -> Any:
    """Values to the places that the indices of each row name, or (back) from there."""
    if not lengths_fit(lengths, indices.size):
        return WRONG_LENGTHS
    at = 0
    for r in range(lengths.size):
        for _ in range(lengths[r]):
            column = indices[at]
            if not 0 <= column < dense.shape[1]:
                return place_status(at)
            if back:
                values[at] = dense[r, column]
            else:
                dense[r, column] = values[at]
            at += 1
    return 0


def launch_rows_of_lists(
    lengths: Array, indices: Array, values: Array, dense: Array, default: float | None
) -> list[Launch]:
    """dense[r, indices[k]] = values[k] for the next lengths[r] places k, else the default.

    With a default of None the other way: values[k] = dense[r, indices[k]]. ValueRangeError (at run
    time) for an index that is no column, or lengths that do not part the indices.
    """

    def explain(status: int) -> Error:
        if status == WRONG_LENGTHS:
            return wrong_lengths(lengths, indices.size, "indices")
        return index_error(int(on_host(indices)[status - 1]), status - 1, dense.shape[1])

    flat = values.reshape(-1)
    args = (lengths, indices, flat, dense, default is None)
    if isinstance(dense, np.ndarray):
        moved = [_rows_of_lists(*args, explain=explain)]
    else:
        moved = _there("launch_rows_of_lists", *args, explain)
    if default is None:
        return moved
    return [launch_fill(np.array([default], dense.dtype), dense), *moved]


# ---------------------------------------------------------------- by masks


@kernel()
def _expand_masked(mask: Any, rows: Any, y: Any) -> Any:
    """y[r] = the next row where the mask holds, 0 elsewhere; a status of 1 for other numbers."""
    at = 0
    for r in range(mask.size):
        if mask[r] != 0:
            if at == rows.shape[0]:
                return 1
            for i in range(y.shape[1]):
                y[r, i] = rows[at, i]
            at += 1
        else:
            for i in range(y.shape[1]):
                y[r, i] = 0
    return 0 if at == rows.shape[0] else 1


def launch_expand_masked(mask: Array, rows: Array, y: Array) -> list[Launch]:
    """y[r] = the next of the rows where mask[r] holds, 0 elsewhere; matrices of any type.

    ValueRangeError (at run time) unless there is one row for each place where the mask holds.
    """

    def explain(status: int) -> Error:
        count = int(np.count_nonzero(on_host(mask)))
        return ValueRangeError(f"the mask holds at {count} place(s), for {len(rows)} row(s)")

    args = (mask.view(np.uint8), bits(rows), bits(y))
    if not isinstance(y, np.ndarray):
        return _there("launch_expand_masked", *args, explain)
    return [_expand_masked(*args, explain=explain)]


def launch_count(mask: Array, before: Array) -> list[Launch]:
    """before[i] = how many of a device's flags, 0 or 1, are set before i; of all at the end."""
    return _there("launch_before", mask, before)


def launch_places(mask: Array, before: Array, places: Array) -> Launch:
    """The places of a device's flags that are set, in order; `before` is that of `launch_count`."""
    return _there("launch_places", mask, before, places)[0]


@kernel()
def _unmask(mask: Any, values: Any, taken: Any, y: Any) -> Any:
    """Status 1: another number of values than places; places that are taken count for nobody."""
    at = 0
    for i in range(mask.size):
        if mask[i] != 0 and taken[i] == 0:
            if at == values.size:
                return 1
            y[i] = values[at]
            taken[i] = 1
            at += 1
    return 0 if at == values.size else 1


@kernel()
def _require_taken(taken: Any) -> Any:
    for i in range(taken.size):
        if taken[i] == 0:
            return place_status(i)
    return 0


_require_taken.form_later(lambda: late("kernels.cuda.spreading", "REQUIRE_TAKEN"))


def launch_unmask(call: Call, pairs: Sequence[tuple[Array, Array]], y: Array) -> list[Launch]:
    """y[i] = the next value of the first mask that holds at i, for (mask, values) pairs.

    ValueRangeError (at run time) where no mask holds, and for values that are left or lacking.
    """
    taken = call.scratch(y.shape, np.uint8)
    launches = [launch_fill(np.zeros(1, np.uint8), taken)]
    for number, (mask, values) in enumerate(pairs):

        def explain(status: int, number: int = number, count: int = values.size) -> Error:
            return ValueRangeError(
                f"mask {number} holds at another number of free places than its {count} value(s)"
            )

        args = (mask.view(np.uint8), bits(values), taken, bits(y))
        if isinstance(y, np.ndarray):
            launches.append(_unmask(*args, explain=explain))
        else:
            launches += _there("launch_unmask", *args, explain)

    def unclaimed(status: int) -> Error:
        return ValueRangeError(f"all masks are false at position {status - 1}")

    return [*launches, _require_taken(taken, explain=unclaimed)]


#: Modes of SequenceMask, as numbers for the loop.
MODES = ("sequence", "window", "upper", "lower", "upperdiag", "lowerdiag")


def _is_hidden(mode, row, column, given, radius):
    """Whether an element is replaced; `given` is the length or the window's centre of the row."""
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


@kernel()
def _mask_sequence(x: Any, given: Any, mode: int, radius: int, fill: Any, y: Any) -> None:
    batches, rows, columns, inner = x.shape
    for b in range(batches):
        for r in range(rows):
            number = np.int64(given[r]) if mode < 2 else 0
            for c in range(columns):
                hidden = _is_hidden(mode, r, c, number, radius)
                for i in range(inner):
                    y[b, r, c, i] = fill[0] if hidden else x[b, r, c, i]


_mask_sequence.form_later(lambda: late("kernels.cuda.spreading", "MASK_SEQUENCE"))


def launch_mask_sequence(
    x: Array, given: Array | None, mode: str, radius: int, fill: float, y: Array
) -> Launch:
    """y = x (batch, rows, columns, inner), with `fill` in the columns that the mode hides.

    `given` has a length or a window's centre for each row, where the mode needs one.
    """
    value = np.array([fill], x.dtype)
    numbers = np.zeros(0, np.int32) if given is None else given
    return _mask_sequence(x, numbers, MODES.index(mode), radius, value, y)


# ---------------------------------------------------------------- by keys


@kernel()
def _take_shard(keys: Any, shards: int, shard: int, values: Any, y: Any) -> Any:
    at = 0
    for k in range(keys.size):
        if keys[k] % shards == shard:
            if at == values.shape[0]:
                return 1
            for i in range(y.shape[1]):
                y[k, i] = values[at, i]
            at += 1
    return 0 if at == values.shape[0] else 1


def launch_take_shards(keys: Array, values: Sequence[Array], y: Array) -> list[Launch]:
    """y[k] = the next row of values[keys[k] % the number of shards]; matrices of any type.

    ValueRangeError (at run time) unless each shard has as many rows as keys.
    """
    if y.shape[0] != keys.size:
        raise ShapeError(f"{keys.size} keys for {y.shape[0]} rows")
    launches = []
    for shard, rows in enumerate(values):

        def explain(status: int, shard: int = shard, rows: Array = rows) -> Error:
            count = int(np.count_nonzero(on_host(keys) % len(values) == shard))
            return ValueRangeError(f"{count} key(s) belong to shard {shard} of {len(rows)} row(s)")

        args = (keys, len(values), shard, bits(rows), bits(y))
        if isinstance(y, np.ndarray):
            launches.append(_take_shard(*args, explain=explain))
        else:
            launches += _there("launch_take_shard", *args, explain)
    return launches
