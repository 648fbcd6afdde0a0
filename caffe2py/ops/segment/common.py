"""What the operators on segments have in common: how their inputs are named, checked, walked."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from caffe2py.errors import ShapeError, ValueRangeError
from caffe2py.kernels.segment import Walk, walk_lengths, walk_sorted, walk_unsorted
from caffe2py.registry.context import Call
from caffe2py.registry.infer import Query, product, require_dtype, require_rank
from caffe2py.registry.schema import Schema
from caffe2py.tensor.tensor import Array
from caffe2py.tensor.types import shape_text

Dims = tuple[int | None, ...]

INT32 = np.dtype(np.int32)
INT64 = np.dtype(np.int64)
FLOAT32 = np.dtype(np.float32)

#: Types of lengths, segment ids and indices.
INDEX = ("int32", "int64")


@dataclass(frozen=True)
class Kind:
    """A way to tell which rows belong together: what its operators' names and inputs are."""

    name: str
    slot: str
    doc: str


LENGTHS = Kind(
    "Lengths",
    "LENGTHS",
    "segment s is the next LENGTHS[s] rows; the lengths must add up to the number of rows",
)
SORTED = Kind(
    "SortedSegment",
    "SEGMENT_IDS",
    "segment s is the rows with SEGMENT_IDS[i] = s; ids must be sorted, from 0 without gaps",
)
UNSORTED = Kind(
    "UnsortedSegment",
    "SEGMENT_IDS",
    "segment s is the rows with SEGMENT_IDS[i] = s, in any order, of num_segments or max + 1",
)


def differ(a: int | None, b: int | None) -> bool:
    """Whether two dimensions are known and not the same."""
    return None not in (a, b) and a != b


def place(schema: Schema, slot: str) -> int | None:
    """The position of an input by its name."""
    names = [s.name for s in schema.inputs]
    return names.index(slot) if slot in names else None


def slot_of(call: Call, slot: str) -> Array | None:
    """An input by its name; None if the operator has none of that name."""
    index = place(call.schema, slot)
    return None if index is None else call.inputs[index]


def require_vector(query: Query, index: int, *dtypes: Any) -> int | None:
    """The length of a vector of one of these dtypes, if known."""
    require_dtype(query, index, *(dtypes or INDEX))
    require_rank(query, index, 1)
    shape = query.inputs[index].shape
    return None if shape is None else shape[0]


def require_rows(query: Query, index: int) -> Dims | None:
    """The shape of an input that has rows; ShapeError for a scalar."""
    shape = query.inputs[index].shape
    if shape == ():
        raise ShapeError(f"input {index} '{query.name(index)}' must have at least 1 dimension")
    return shape


def require_size(query: Query, index: int, size: int | None, what: str) -> None:
    """Raise ShapeError unless the input has this many elements."""
    shape = query.inputs[index].shape
    if shape is not None and differ(product(shape), size):
        raise ShapeError(
            f"input {index} '{query.name(index)}' is {shape_text(shape)}, needs {size} element(s): "
            f"one for each {what}"
        )


def known_sum(query: Query, index: int) -> int | None:
    """The sum of lengths, where their values are known; ValueRangeError for a negative one."""
    value = query.value(index)
    if value is None:
        return None
    if value.size and value.min() < 0:
        at = int(value.argmin())
        raise ValueRangeError(f"lengths[{at}] is {int(value.reshape(-1)[at])}")
    return int(value.sum(dtype=np.int64))


def segments_of_ids(query: Query, index: int, *, gaps: bool) -> int | None:
    """How many segments sorted (or any) ids tell, where their values are known."""
    ids = query.value(index)
    if ids is None:
        return None
    if gaps:
        return max(int(ids.max(initial=-1)) + 1, 0)
    last = int(ids[-1]) if ids.size else -1
    if last >= ids.size:
        raise ValueRangeError(
            f"the last of {ids.size} segment ids is {last}: they must be sorted, and leave out none"
        )
    return max(last + 1, 0)


def walk(call: Call, kind: Kind, items: int, segments: int) -> Walk:
    """The walk over the items that this operator's lengths or ids tell."""
    told = slot_of(call, kind.slot)
    assert told is not None  # every schema of this kind has the slot
    if kind is LENGTHS:
        what = "indices" if place(call.schema, "INDICES") is not None else "rows"
        return walk_lengths(call, told, items, what)
    return (walk_sorted if kind is SORTED else walk_unsorted)(call, told, segments)
