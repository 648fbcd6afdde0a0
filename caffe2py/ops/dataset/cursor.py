"""Cursors: how far a dataset has been read."""

from __future__ import annotations

import numpy as np

from caffe2py.ops.dataset.tree import TreeCursor
from caffe2py.proto.caffe2_pb2 import BlobProto
from caffe2py.registry.context import Call
from caffe2py.registry.gradient import NotDifferentiable
from caffe2py.registry.held import held
from caffe2py.registry.infer import fixed
from caffe2py.registry.operator import operator
from caffe2py.registry.schema import Arg
from caffe2py.tensor.serialize import register_blob, tensor_from_proto, tensor_to_proto

MAKER = "CreateTreeCursor"
FIELDS = Arg(list[str], None, "names of the fields; 'a:lengths' says how long those of 'a:...' are")
NONE = NotDifferentiable("a dataset has no derivative")

_TYPE_NAME = "std::unique_ptr<TreeCursor>"


def _pack(cursor: TreeCursor, proto: BlobProto) -> None:
    proto.type = _TYPE_NAME
    proto.content = "".join(f"{field} " for field in cursor.tree.fields).encode()
    if cursor.offsets:
        proto.tensor.CopyFrom(tensor_to_proto(np.array(cursor.offsets, np.int64)))


def _unpack(proto: BlobProto) -> TreeCursor:
    cursor = TreeCursor(proto.content.decode().split())
    if proto.HasField("tensor"):
        cursor.offsets = tensor_from_proto(proto.tensor).reshape(-1).tolist()
    return cursor


register_blob(TreeCursor, [_TYPE_NAME], _pack, _unpack)


create = operator(
    "CreateTreeCursor",
    " -> cursor",
    gradient=NONE,
    fields=FIELDS,
    doc="""
    Makes a cursor at the beginning of a dataset with these fields. The fields behind 'a:lengths'
    whose names begin with 'a:' hold, one record after another, as many elements as 'a:lengths'
    says. Raises ArgumentError for a field before its lengths.
    """,
    example="""
    fields = ["id", "words:lengths", "words:values"]
    cursor = a cursor at record 0
    """,
)


@create.everywhere_dynamic()
def make_cursor(call: Call) -> None:
    """A new cursor in every run."""
    call.put(0, TreeCursor(call.args.fields or []))


reset = operator(
    "ResetCursor",
    "cursor -> ",
    gradient=NONE,
    doc="Sets the cursor back to the beginning.",
    example="""
    cursor = a cursor at record 2
    cursor = a cursor at record 0
    """,
)


@reset.everywhere_dynamic()
def reset_cursor(call: Call) -> None:
    """Set it back."""
    cursor = held(call, 0, TreeCursor, MAKER)
    with cursor.lock:
        cursor.offsets = []


offset = operator(
    "GetCursorOffset",
    "cursor -> offsets",
    infer=fixed(np.int32, (None,)),
    gradient=NONE,
    doc="""
    offsets = the place of the cursor: the next record, then for each length field the next element
    in its domain, int32; empty at the beginning.
    """,
    example="""
    cursor = a cursor at record 2
    offsets = [2]
    """,
)


@offset.cpu_dynamic()
def look(call: Call) -> None:
    """Look."""
    offsets = held(call, 0, TreeCursor, MAKER).offsets
    call.output(0, (len(offsets),), np.dtype(np.int32))[:] = offsets
