"""Segments repeated, gathered by indices or ranges, and merged."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from caffe2py.errors import ArgumentError, ArityError, ShapeError, ValueRangeError
from caffe2py.kernels.copy import launch_constant
from caffe2py.kernels.lengths import launch_expand_lengths, launch_map_ranges, launch_take, padding
from caffe2py.kernels.segment import by_row
from caffe2py.ops.segment.common import (
    INDEX,
    INT32,
    INT64,
    differ,
    known_sum,
    require_rows,
    require_vector,
)
from caffe2py.registry.context import Call, Launch
from caffe2py.registry.gradient import NoGradient, NotDifferentiable
from caffe2py.registry.infer import Query, require_dtype, require_rank, require_same_dtype
from caffe2py.registry.operator import operator
from caffe2py.registry.schema import Arg
from caffe2py.tensor.place import on_host
from caffe2py.tensor.tensor import Array
from caffe2py.tensor.types import TensorType, shape_text

# ---------------------------------------------------------------- LengthsTile


def _infer_tile(query: Query) -> Sequence[TensorType]:
    count = require_vector(query, 1)
    data = require_rows(query, 0)
    total = known_sum(query, 1)
    if data is not None and differ(count, data[0]):
        raise ShapeError(f"there are {count} LENGTHS for {data[0]} row(s)")
    return [query.inputs[0].with_shape(None if data is None else (total, *data[1:]))]


_tile = operator(
    "LengthsTile",
    "DATA, LENGTHS -> OUTPUT",
    infer=_infer_tile,
    gradient="LengthsSum(dOUTPUT, LENGTHS) -> dDATA",
    doc="""
    OUTPUT = DATA[i], LENGTHS[i] times, for each i. Any type; LENGTHS are int32 or int64. Raises
    ValueRangeError for a negative length, ShapeError unless there is one for each row.
    """,
    example="""
    DATA = [1, 2, 3]; LENGTHS = [2, 0, 1]
    OUTPUT = [1, 1, 3]
    """,
)


@_tile.everywhere_dynamic(reads=lambda op: [1])
def _launch_tile(call: Call) -> list[Launch]:
    x, y = by_row(call.inputs[0]), by_row(call.outputs[0])
    rows = call.scratch((y.shape[0],), INT64)
    launches = launch_expand_lengths(call.inputs[1], rows)
    return [*launches, launch_take(x, rows, padding(call, x), y)]


# ---------------------------------------------------------------- LengthsGather


def _infer_gather(query: Query) -> Sequence[TensorType]:
    require_vector(query, 1)
    require_vector(query, 2)
    items = require_rows(query, 0)
    total = known_sum(query, 1)
    if items is not None and differ(total, items[0]):
        raise ValueRangeError(f"the sum of LENGTHS is {total}, but there are {items[0]} ITEMS")
    lengths, indices = query.value(1), query.value(2)
    if items is None or lengths is None or indices is None:
        return [query.inputs[0].with_shape(None if items is None else (None, *items[1:]))]
    wrong = (indices < 0) | (indices >= lengths.size)
    if wrong.any():
        at = int(wrong.argmax())
        raise ValueRangeError(
            f"index {int(indices[at])} at position {at} is out of range for {lengths.size} lengths"
        )
    return [query.inputs[0].with_shape((int(lengths[indices].sum()), *items[1:]))]


_gather = operator(
    "LengthsGather",
    "ITEMS, LENGTHS, INDICES -> OUTPUT",
    infer=_infer_gather,
    gradient=NotDifferentiable("Caffe2 has none"),
    doc="""
    OUTPUT = the rows of segment INDICES[k] of ITEMS, for each k, one after the other. Any type;
    LENGTHS and INDICES are int32 or int64. Raises ValueRangeError for an index that is out of range
    (negative ones are), or unless the lengths add up to the rows.
    """,
    example="""
    ITEMS = [1, 2, 3, 4, 5, 6]; LENGTHS = [1, 2, 3]; INDICES = [2, 0]
    OUTPUT = [4, 5, 6, 1]
    """,
)


@_gather.everywhere_dynamic(reads=lambda op: [1, 2])
def _launch_gather(call: Call) -> list[Launch]:
    items = call.inputs[0]
    lengths, indices = (on_host(x) for x in call.inputs[1:])
    ends = np.cumsum(lengths, dtype=np.int64)
    return _take_ranges(call, items, (ends - lengths)[indices], lengths[indices], call.outputs[0])


def _take_ranges(
    call: Call, data: Array, starts: Array, lengths: Array, out: Array
) -> list[Launch]:
    """The rows of the data from each start on, `lengths` of them; both are known before the run."""
    x, y = by_row(data), by_row(out)
    rows = call.scratch((y.shape[0],), INT64)
    counts = np.ascontiguousarray(lengths, np.int64)
    launches = launch_map_ranges(np.ascontiguousarray(starts, np.int64), counts, rows)
    return [*launches, launch_take(x, rows, padding(call, x), y)]


# ---------------------------------------------------------------- GatherRanges


def _require_ranges(query: Query) -> int | None:
    """The number of samples in RANGES (samples, features, 2)."""
    require_dtype(query, 1, *INDEX)
    require_rank(query, 1, 3)
    require_rank(query, 0, 1)
    shape = query.inputs[1].shape
    if shape is not None and differ(shape[2], 2):
        raise ShapeError(f"'RANGES' is {shape_text(shape)}, the last axis needs start and length")
    return None if shape is None else shape[0]


def _require_inside(ranges: Array, size: int) -> None:
    """Raise ValueRangeError for a range that is no part of this many elements."""
    starts, lengths = ranges[..., 0].reshape(-1), ranges[..., 1].reshape(-1)
    wrong = (lengths < 0) | ((lengths > 0) & ((starts < 0) | (starts > size - lengths)))
    if wrong.any():
        at = int(wrong.argmax())
        raise ValueRangeError(
            f"range {at}, {int(lengths[at])} element(s) from {int(starts[at])} on, is no part of "
            f"{size} element(s)"
        )


def _infer_ranges(query: Query) -> Sequence[TensorType]:
    samples = _require_ranges(query)
    data, ranges = query.inputs[0], query.value(1)
    total = None
    if ranges is not None:
        if data.shape is not None and data.shape[0] is not None:
            _require_inside(ranges, data.shape[0])
        total = int(ranges[..., 1].sum(dtype=np.int64))
    return [data.with_shape((total,)), TensorType(INT32, (samples,))]


_ranges = operator(
    "GatherRanges",
    "DATA, RANGES -> OUTPUT, LENGTHS",
    infer=_infer_ranges,
    gradient=NotDifferentiable("Caffe2 has none"),
    doc="""
    OUTPUT = RANGES[n, r, 1] elements of the vector DATA from RANGES[n, r, 0] on, for each r, for
    each n; LENGTHS[n] = how many they are for n, int32. Any type; RANGES are int32 or int64. Raises
    ValueRangeError for a range that is no part of DATA; empty ones may begin anywhere.
    """,
    example="""
    DATA = [1, 2, 3, 4]; RANGES = [[[0, 1], [2, 2]], [[0, 2], [1, 0]]]
    OUTPUT = [1, 3, 4, 1, 2]; LENGTHS = [3, 2]
    """,
)


@_ranges.everywhere_dynamic(reads=lambda op: [1])
def _launch_ranges(call: Call) -> list[Launch]:
    data, ranges = call.inputs[0], on_host(call.inputs[1])
    sums = ranges[..., 1].sum(axis=1, dtype=np.int64).astype(np.int32)
    starts, lengths = ranges[..., 0].reshape(-1), ranges[..., 1].reshape(-1)
    launches = _take_ranges(call, data, starts, lengths, call.outputs[0])
    return [*launches, launch_constant(sums, call.outputs[1])]


# ---------------------------------------------------------------- GatherRangesToDense


def _infer_dense(query: Query) -> Sequence[TensorType]:
    lengths = query.args.lengths or []
    if not lengths or min(lengths) < 1:
        raise ArgumentError(f"argument 'lengths' must be positive numbers, found {list(lengths)}")
    samples = _require_ranges(query)
    shape = query.inputs[1].shape
    if shape is not None and differ(shape[1], len(lengths)):
        raise ShapeError(f"there are {len(lengths)} lengths for {shape[1]} range(s) of each sample")
    if query.outputs != len(lengths):
        raise ArityError(f"{len(lengths)} lengths give as many outputs, not {query.outputs}")
    if len(query.inputs) > 2:
        _require_key(query)
    return [query.inputs[0].with_shape((samples, length)) for length in lengths]


def _require_key(query: Query) -> None:
    size, data = require_vector(query, 2, "int64"), query.inputs[0].shape
    if data is not None and differ(size, data[0]):
        raise ShapeError(f"there are {size} keys for {data[0]} element(s)")


_dense = operator(
    "GatherRangesToDense",
    "DATA, RANGES, KEY? -> OUTPUT+",
    infer=_infer_dense,
    gradient=NoGradient("Caffe2 has none"),
    doc="""
    OUTPUT[r][n] = the lengths[r] elements of the vector DATA from RANGES[n, r, 0] on, sorted by
    their KEY (int64) if there are keys; zeros (or empty strings) where RANGES[n, r, 1] is another
    length. Any type; RANGES are int32 or int64. Over all runs it is counted how many ranges of each
    r there were, how many were empty, and how many had another length than 0 and lengths[r].
    ValueRangeError is raised where these are more than max_empty_ratio or max_mismatched_ratio of
    all, or of min_observation if that is more, and for a range of the right length that is no part
    of DATA.
    """,
    example="""
    DATA = [1, 2, 3, 4]; RANGES = [[[0, 1], [2, 2]], [[0, 0], [1, 2]]]; lengths = [1, 2]
    OUTPUT = [[1], [0]], [[3, 4], [2, 3]]
    """,
    lengths=Arg(list[int], None, "how many elements each range should have; it must be given"),
    min_observation=Arg(int, 10000, "ranges that ratios are at least taken of"),
    max_mismatched_ratio=Arg(float, 0.01, "how many may have another length"),
    max_empty_ratio=Arg(float, 1.0, "how many may be empty"),
)


def _count(call: Call, name: str, found: Array, ratio: float) -> None:
    """Add to what was found in earlier runs; ValueRangeError if that is too much of all."""
    total = call.kept.setdefault(name, np.zeros_like(found))
    total += found
    allowed = max(call.kept["all"], call.args.min_observation) * ratio
    if (total > allowed).any():
        at = int((total > allowed).argmax())
        raise ValueRangeError(
            f"{int(total[at])} of {call.kept['all']} ranges {at} are {name}; at most {ratio} of "
            f"them may be, or of {call.args.min_observation}"
        )


def _observe(call: Call, lengths: Array, wanted: Array) -> None:
    call.kept["all"] = call.kept.get("all", 0) + lengths.shape[0]
    wrong = ((lengths != wanted) & (lengths != 0)).sum(axis=0)
    _count(call, "of another length", wrong, call.args.max_mismatched_ratio)
    _count(call, "empty", (lengths == 0).sum(axis=0), call.args.max_empty_ratio)


@_dense.cpu_dynamic()
def _launch_dense(call: Call) -> list[Launch]:
    data, ranges = call.inputs[:2]
    keys = call.inputs[2] if len(call.inputs) > 2 else None
    starts, lengths = ranges[..., 0].astype(np.int64), ranges[..., 1]
    wanted = np.array(call.args.lengths)
    fits = lengths == wanted
    _require_inside(np.where(fits[..., None], ranges, 0), data.size)
    _observe(call, lengths, wanted)
    x = data.reshape(data.size, 1)
    launches = []
    for r, out in enumerate(call.outputs):
        rows = starts[:, r, None] + np.arange(out.shape[1])
        rows = np.where(fits[:, r, None], rows, -1)
        if keys is not None and data.size:
            order = np.argsort(keys[rows], axis=1, kind="stable")
            rows = np.take_along_axis(rows, order, axis=1)
        y = out.reshape(out.size, 1)
        launches.append(launch_take(x, np.ascontiguousarray(rows), padding(call, x), y))
    return launches


# ---------------------------------------------------------------- MergeIdLists


def _infer_merge(query: Query) -> Sequence[TensorType]:
    count = len(query.inputs)
    if count % 2:
        raise ArityError(f"expected pairs of lengths and values, found {count} inputs")
    samples: int | None = None
    for index in range(0, count, 2):
        found = require_vector(query, index)
        if differ(samples, found):
            raise ShapeError(
                f"input {index} '{query.name(index)}' has {found} lengths, not {samples}"
            )
        samples = found if samples is None else samples
        values = require_vector(query, index + 1)
        total = known_sum(query, index)
        if differ(total, values):
            raise ValueRangeError(
                f"the sum of input {index} '{query.name(index)}' is {total}, but there are "
                f"{values} value(s)"
            )
    dtype = require_same_dtype(query, *range(1, count, 2))
    return [TensorType(INT32, (samples,)), TensorType(dtype, (None,))]


_merge = operator(
    "MergeIdLists",
    "lengths_0, values_0, more* -> merged_lengths, merged_values",
    infer=_infer_merge,
    gradient=NoGradient("ids are whole numbers"),
    doc="""
    merged_values = for each sample the ids of all its lists, each once and in ascending order;
    merged_lengths = how many they are, int32. Inputs are pairs of lengths, one for each sample, and
    values, int32 or int64. Raises ValueRangeError unless lengths add up to their values.
    """,
    example="""
    lengths_0 = [2, 1]; values_0 = [3, 1, 2]; lengths_1 = [1, 2]; values_1 = [1, 5, 4]
    merged_lengths = [2, 3]; merged_values = [1, 3, 2, 4, 5]
    """,
)


@_merge.cpu_dynamic()
def _launch_merge(call: Call) -> None:
    lengths, values = call.inputs[::2], call.inputs[1::2]
    samples = lengths[0].size
    owner = np.concatenate([np.repeat(np.arange(samples), n) for n in lengths])
    ids = np.concatenate(values)
    order = np.lexsort((ids, owner))
    owner, ids = owner[order], ids[order]
    new = np.ones(ids.size, np.bool_)
    new[1:] = (ids[1:] != ids[:-1]) | (owner[1:] != owner[:-1])
    counts = np.bincount(owner[new], minlength=samples)
    call.output(0, (samples,), INT32)[...] = counts
    call.output(1, (int(new.sum()),), ids.dtype)[...] = ids[new]
