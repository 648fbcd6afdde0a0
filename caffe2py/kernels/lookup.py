"""Loops that compare elements with others: buckets, one-hot columns, places of values in a list.

A status s of these kernels means what is wrong at place s - 1, unless a function says otherwise.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from caffe2py.errors import Error, ValueRangeError
from caffe2py.kernels.histogram import first_above, first_not_below
from caffe2py.kernels.jit import kernel
from caffe2py.kernels.parallel import CHUNK, by_rows
from caffe2py.registry.context import Call, Launch
from caffe2py.tensor.late import late
from caffe2py.tensor.tensor import Array

#: Statuses of kernels that check lengths, apart from those of places.
WRONG_LENGTHS = 2**31 - 1
_LAST = WRONG_LENGTHS - 1


def place_status(place):
    """The status for what is wrong at a place."""
    return min(place + 1, _LAST)


def lengths_fit(lengths, total):
    """Whether no length is negative and all add up to the total."""
    found = 0
    for i in range(lengths.size):
        if lengths[i] < 0:
            return False
        found += lengths[i]
    return found == total


def wrong_lengths(lengths: Array, total: int, of: str) -> Error:
    """The error for lengths that do not part `total` elements."""
    found = ", ".join(str(n) for n in lengths.reshape(-1)[:8].tolist())
    more = ", ..." if lengths.size > 8 else ""
    return ValueRangeError(
        f"lengths [{found}{more}] must not be negative and must add up to {total}, the number of "
        f"{of}"
    )


# ---------------------------------------------------------------- buckets


@kernel()
def _bucketize(x: Any, edges: Any, y: Any) -> None:
    for i in range(x.size):
        y[i] = first_not_below(edges, 0, edges.size, x[i])


def launch_bucketize(x: Array, edges: Array, y: Array) -> Launch:
    """y = how many of the edges, which ascend, lie below each element of x."""

    def part(elements: Array, places: Array) -> Launch:
        return _bucketize(elements, edges, places)

    return by_rows(part, x.reshape(-1), y.reshape(-1), effort=10, multiple=CHUNK)


@kernel()
def _bucketize_columns(x: Any, columns: Any, edges: Any, lengths: Any, y: Any) -> Any:
    if not lengths_fit(lengths, edges.size):
        return WRONG_LENGTHS
    begin = 0
    for k in range(columns.size):
        if not 0 <= columns[k] < x.shape[1]:
            return place_status(k)
        end = begin + lengths[k]
        for r in range(x.shape[0]):
            y[r, k] = first_not_below(edges, begin, end, x[r, columns[k]]) - begin
        begin = end
    return 0


def launch_bucketize_columns(
    x: Array, columns: Array, edges: Array, lengths: Array, y: Array
) -> Launch:
    """y[r, k] = how many of the next lengths[k] edges lie below x[r, columns[k]].

    ValueRangeError (at run time) for a column that x lacks, or lengths that do not part the edges.
    """

    def explain(status: int) -> Error:
        if status == WRONG_LENGTHS:
            return wrong_lengths(lengths, edges.size, "boundaries")
        return ValueRangeError(
            f"indices[{status - 1}] is {int(columns[status - 1])}, expected 0 to {x.shape[1] - 1}"
        )

    return _bucketize_columns(x, columns, edges, lengths, y, explain=explain)


# ---------------------------------------------------------------- one-hot columns


@kernel()
def _equal_columns(x: Any, lengths: Any, values: Any, y: Any) -> Any:
    if not lengths_fit(lengths, values.size):
        return WRONG_LENGTHS
    for r in range(x.shape[0]):
        at = 0
        for c in range(x.shape[1]):
            for _ in range(lengths[c]):
                y[r, at] = 1 if x[r, c] == values[at] else 0
                at += 1
    return 0


def launch_equal_columns(x: Array, lengths: Array, values: Array, y: Array) -> Launch:
    """y[r, k] = 1 if x[r, c] is values[k], one of the next lengths[c] for column c; else 0.

    ValueRangeError (at run time) for lengths that do not part the values.
    """

    def explain(status: int) -> Error:
        return wrong_lengths(lengths, values.size, "values")

    return _equal_columns(x, lengths, values, y, explain=explain)


@kernel()
def _bucket_columns(x: Any, lengths: Any, edges: Any, y: Any) -> Any:
    if not lengths_fit(lengths, edges.size):
        return WRONG_LENGTHS
    for r in range(x.shape[0]):
        begin = 0
        for k in range(y.shape[1]):
            y[r, k] = 0
        for c in range(x.shape[1]):
            end = begin + lengths[c]
            low = first_not_below(edges, begin, end, x[r, c])
            high = first_above(edges, begin, end, x[r, c])
            y[r, c + min((low + high) // 2, end)] = 1
            begin = end
    return 0


def launch_bucket_columns(x: Array, lengths: Array, edges: Array, y: Array) -> Launch:
    """y has lengths[c] + 1 columns for each column c of x, with a 1 where x[r, c] lies.

    An element equal to several edges lies in the middle of them. ValueRangeError (at run time) for
    lengths that do not part the edges.
    """

    def explain(status: int) -> Error:
        return wrong_lengths(lengths, edges.size, "boundaries")

    return _bucket_columns(x, lengths, edges, y, explain=explain)


@kernel()
def _segment_one_hot(lengths: Any, indices: Any, y: Any) -> Any:
    if not lengths_fit(lengths, indices.size):
        return WRONG_LENGTHS
    at = 0
    for r in range(lengths.size):
        for c in range(y.shape[1]):
            y[r, c] = 0
        for _ in range(lengths[r]):
            if not 0 <= indices[at] < y.shape[1]:
                return place_status(at)
            y[r, indices[at]] = 1
            at += 1
    return 0


def launch_segment_one_hot(lengths: Array, indices: Array, y: Array) -> Launch:
    """y[r, c] = 1 where c is one of the next lengths[r] indices, else 0.

    ValueRangeError (at run time) for an index that is no column, or lengths that do not part them.
    """

    def explain(status: int) -> Error:
        if status == WRONG_LENGTHS:
            return wrong_lengths(lengths, indices.size, "indices")
        return ValueRangeError(
            f"index {int(indices[status - 1])} at position {status - 1} is out of range for "
            f"{y.shape[1]} column(s)"
        )

    return _segment_one_hot(lengths, indices, y, explain=explain)


# ---------------------------------------------------------------- places of values


def _slot(value, size):
    """Where a search for the value begins, in a table whose size is a power of two."""
    word = np.uint64(value) * np.uint64(0x9E3779B97F4A7C15)
    return np.int64((word >> np.uint64(33)) & np.uint64(size - 1))


@kernel()
def _find(values: Any, wanted: Any, table: Any, missing: Any, y: Any) -> None:
    """A hash table of places; a later place of the same value takes the slot of the first."""
    for i in range(table.size):
        table[i] = -1
    for i in range(values.size):
        at = _slot(values[i], table.size)
        while table[at] >= 0 and values[table[at]] != values[i]:
            at = (at + 1) & (table.size - 1)
        table[at] = i
    for k in range(wanted.size):
        at = _slot(wanted[k], table.size)
        while table[at] >= 0 and values[table[at]] != wanted[k]:
            at = (at + 1) & (table.size - 1)
        y[k] = table[at] if table[at] >= 0 else missing


def launch_find(call: Call, values: Array, wanted: Array, missing: int, y: Array) -> list[Launch]:
    """y = the last place of each wanted number among the values, or `missing`; all integers."""
    if not isinstance(y, np.ndarray):
        searched = late("kernels.cuda.searching", "launch_find")
        launches: list[Launch] = searched(values.reshape(-1), wanted.reshape(-1), missing, y)
        return launches
    size = 1 << max(2 * values.size, 1).bit_length()
    table = call.scratch((size,), np.int64)
    flat = (a.reshape(-1) for a in (values, wanted))
    return [_find(*flat, table, missing, y.reshape(-1))]


def launch_order_unique(x: Array, order: Array, before: Array) -> list[Launch]:
    """For devices: the places of the integers as they ascend, and the different ones before each.

    The last of `before` is how many different ones there are.
    """
    launches: list[Launch] = late("kernels.cuda.searching", "launch_order_unique")(x, order, before)
    return launches


def launch_unique(x: Array, order: Array, before: Array, values: Array, places: Array) -> Launch:
    """The different integers as they ascend, and for each integer its place among them."""
    launch: Launch = late("kernels.cuda.searching", "launch_unique")(
        x, order, before, values, places
    )
    return launch


# ---------------------------------------------------------------- chosen columns


def _column_of(ids, columns, value):
    """The column of an identifier, -1 if there is none; ids ascend."""
    at = first_not_below(ids, 0, ids.size, value)
    if at < ids.size and ids[at] == value:
        return columns[at]
    return -1


@kernel()
def _choose(
    ids: Any, columns: Any, indices: Any, lengths: Any, limits: Any, values: Any, y: Any, seen: Any
) -> Any:
    """y[r, c] = values[k] where indices[k] of row r is the identifier of column c, or else stays.

    limits holds how many rows with invalid indices there were, in all runs, and may be at most.
    """
    at = 0
    for r in range(lengths.size):
        if lengths[r] < 0 or at + lengths[r] > indices.size:
            return WRONG_LENGTHS
        invalid = False
        for _ in range(lengths[r]):
            column = -1
            if indices[at] < 0:
                invalid = True
            else:
                column = _column_of(ids, columns, indices[at])
            if column >= 0:
                for i in range(values.shape[1]):
                    y[r, column, i] = values[at, i]
                if seen.size > 0:
                    seen[r, column] = 1
            at += 1
        if invalid:
            limits[0] += 1
        if limits[0] >= limits[1]:
            return place_status(r)
    return 0


@kernel()
def _repeat_default(default: Any, y: Any, seen: Any) -> None:
    for r in range(y.shape[0]):
        for c in range(y.shape[1]):
            for i in range(y.shape[2]):
                y[r, c, i] = default[i]
    for r in range(seen.shape[0]):
        for c in range(seen.shape[1]):
            seen[r, c] = 0


def launch_choose(
    mask: Sequence[int],
    indices: Array,
    lengths: Array,
    limits: Array,
    arrays: tuple[Array, Array, Array],
    seen: Array,
) -> list[Launch]:
    """Rows of values go to the columns that `mask` gives their indices; see the kernel.

    `arrays` are the values (rows, block), the default (block) and y (rows, columns, block), as bits
    of one width; `seen` (rows, columns), or empty, takes 1 where a value arrived. ValueRangeError
    (at run time) for lengths beyond the indices and too many rows with invalid indices.
    """
    ids, columns = _sorted_mask(mask)
    values, default, y = arrays

    def explain(status: int) -> Error:
        if status == WRONG_LENGTHS:
            return wrong_lengths(lengths, indices.size, "indices")
        return ValueRangeError(
            f"{int(limits[0])} row(s) with negative indices were skipped, "
            f"max_skipped_indices is {int(limits[1])}"
        )

    chosen = _choose(ids, columns, indices, lengths, limits, values, y, seen, explain=explain)
    return [_repeat_default(default, y, seen), chosen]


def _sorted_mask(mask: Sequence[int]) -> tuple[Array, Array]:
    ids = np.array(mask, np.int64)
    order = np.argsort(ids)
    return ids[order], order.astype(np.int64)


@kernel()
def _choose_gradient(
    ids: Any, columns: Any, indices: Any, lengths: Any, dy: Any, dx: Any, used: Any
) -> Any:
    for k in range(dx.shape[0]):
        for i in range(dx.shape[1]):
            dx[k, i] = 0
    begin = 0
    for r in range(lengths.size):
        end = begin + lengths[r]
        if lengths[r] < 0 or end > indices.size:
            return WRONG_LENGTHS
        for c in range(used.size):
            used[c] = 0
        for k in range(end - 1, begin - 1, -1):
            column = _column_of(ids, columns, indices[k]) if indices[k] >= 0 else -1
            if column >= 0 and used[column] == 0:
                used[column] = 1
                for i in range(dx.shape[1]):
                    dx[k, i] = dy[r, column, i]
        begin = end
    return 0


def launch_choose_gradient(
    call: Call, mask: Sequence[int], indices: Array, lengths: Array, dy: Array, dx: Array
) -> Launch:
    """dx[k] = dy at the column where values[k] stayed; 0 for rows that went nowhere."""
    used = call.scratch((len(mask),), np.uint8)

    def explain(status: int) -> Error:
        return wrong_lengths(lengths, indices.size, "indices")

    return _choose_gradient(*_sorted_mask(mask), indices, lengths, dy, dx, used, explain=explain)
