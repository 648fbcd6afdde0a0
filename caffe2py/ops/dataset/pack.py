"""Whole records as elements of a tensor, for queues and the like: PackRecords, UnPackRecords."""

from __future__ import annotations

import numpy as np

from caffe2py.errors import (
    ArityError,
    DTypeError,
    ShapeError,
    ValueRangeError,
)
from caffe2py.ops.dataset.cursor import FIELDS, NONE
from caffe2py.ops.dataset.read import arrays_from
from caffe2py.ops.dataset.tree import Tree, require_fields
from caffe2py.proto.caffe2_pb2 import BlobProto
from caffe2py.registry.context import Call
from caffe2py.registry.held import tensor_of
from caffe2py.registry.operator import operator
from caffe2py.registry.schema import Arg
from caffe2py.tensor.objects import Element
from caffe2py.tensor.serialize import register_blob
from caffe2py.tensor.tensor import Array
from caffe2py.tensor.types import STRING, TensorType


class Records(Element):
    """Records: for each of them its part of each field; None where they were not saved."""

    __slots__ = ("rows",)

    def __init__(self, rows: list[tuple[Array, ...]] | None) -> None:
        self.rows = rows

    @property
    def lost(self) -> bool:
        """Whether they were not saved."""
        return self.rows is None


_TYPE_NAME = "std::shared_ptr<std::vector<TensorCPU>>"


def _name_records(value: Records, proto: BlobProto) -> None:
    """Contents of records are not saved: what collects them begins anew."""
    proto.type, proto.content = _TYPE_NAME, b""


register_blob(Records, [_TYPE_NAME], _name_records, lambda proto: Records(None))


pack = operator(
    "PackRecords",
    "fields+ -> tensor",
    gradient=NONE,
    arguments={
        "fields": FIELDS,
        "pack_to_single_shared_ptr": Arg(bool, False, "one element for all records"),
    },
    doc="""
    tensor[i] = record i, with its part of each field, as one element. Such tensors can be gathered,
    joined and put into queues; UnPackRecords takes them apart. When such a tensor is saved the
    contents of its records are not. Errors as CheckDatasetConsistency.
    """,
    example="""
    fields = ["a:lengths", "a:values"] with [2, 0, 1]; [5, 6, 7]
    tensor = [([2], [5, 6]), ([0], []), ([1], [7])]
    """,
)


@pack.cpu_dynamic()
def pack_records(call: Call) -> None:
    """Cut the fields into records."""
    tree = Tree(require_fields(call.args.fields))
    arrays = [np.array(array) for array in arrays_from(call, 0)]
    marks = tree.marks(arrays)
    rows = []
    for i in range(len(marks[0]) - 1):
        ranges = [(marks[d][i], marks[d][i + 1]) for d in tree.domain]
        rows.append(tuple(a[low:high] for a, (low, high) in zip(arrays, ranges, strict=True)))
    packed = (
        [Records(rows)] if call.args.pack_to_single_shared_ptr else [Records([r]) for r in rows]
    )
    out = call.output(0, (len(packed),), STRING)
    for i, element in enumerate(packed):
        out[i] = element


unpack = operator(
    "UnPackRecords",
    "packed_tensor, prototypes* -> fields+",
    gradient=NONE,
    arguments={"fields": FIELDS},
    doc="""
    The fields of packed records, joined. Where there are no records the fields are empty, with type
    and further dimensions of the prototypes, one for each field; without these it is an error
    (ValueRangeError).
    """,
    example="""
    packed_tensor = [([2], [5, 6]), ([0], []), ([1], [7])]
    fields = [2, 0, 1]; [5, 6, 7]
    """,
)


@unpack.cpu_dynamic()
def unpack_records(call: Call) -> None:
    """Join the parts."""
    count = call.output_count
    names = call.args.fields or []
    if names and len(names) != count:
        raise ArityError(f"expected {len(names)} output(s), one for each field, found {count}")
    if call.input_count not in (1, count + 1):
        raise ArityError(f"expected 0 or {count} prototype(s), found {call.input_count - 1}")
    rows = [row for element in tensor_of(call, 0).reshape(-1) for row in _rows(call, element)]
    prototypes = [tensor_of(call, k)[:0] for k in range(1, call.input_count)]
    if not rows and not prototypes:
        raise ValueRangeError(
            "Unpacking empty record without shape will leave output blobs in undefined state: "
            "there is no record, and no prototype"
        )
    for row in rows:
        if len(row) != count:
            raise ArityError(f"a record has {len(row)} field(s), found {count} output(s)")
    for k in range(count):
        parts = [row[k] for row in rows] or [prototypes[k]]
        joined = np.concatenate([_alike(parts[0], part) for part in parts])
        call.output(k, joined.shape, joined.dtype)[...] = joined


def _rows(call: Call, element: object) -> list[tuple[Array, ...]]:
    if not isinstance(element, Records):
        raise DTypeError(
            f"input 0 '{call.input_blob(0)}': expected what PackRecords makes, found elements of "
            f"type {type(element).__name__}"
        )
    if element.rows is None:
        raise ValueRangeError(
            f"input 0 '{call.input_blob(0)}': records lose their contents when they are saved"
        )
    return element.rows


def _alike(first: Array, part: Array) -> Array:
    if first.dtype != part.dtype or first.shape[1:] != part.shape[1:]:
        raise ShapeError(
            f"records do not fit together: {TensorType.of(first)} and {TensorType.of(part)}"
        )
    return part
