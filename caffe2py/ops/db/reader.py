"""Databases as sources of records: CreateDB and TensorProtosDBInput."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from google.protobuf.message import DecodeError

from caffe2py.adapters.db import Mode, Reader, open_database
from caffe2py.adapters.paths import permitted
from caffe2py.errors import ArgumentError, ModelFormatError, ShapeError
from caffe2py.ops.db.common import require_text
from caffe2py.proto.caffe2_pb2 import BlobProto, DBReaderProto, TensorProtos
from caffe2py.registry.context import Call
from caffe2py.registry.gradient import NoGradient
from caffe2py.registry.held import held
from caffe2py.registry.infer import Query
from caffe2py.registry.operator import operator
from caffe2py.registry.schema import Arg
from caffe2py.tensor.serialize import register_blob, tensor_from_proto
from caffe2py.tensor.tensor import Array
from caffe2py.tensor.types import UNKNOWN, TensorType

create_db = operator(
    "CreateDB",
    " -> reader",
    gradient=NoGradient("it opens a file"),
    needs="files",
    db_type=Arg(str, "leveldb", "type of the database: minidb, lmdb (leveldb is Caffe2's default)"),
    db=Arg(str, "", "path of the database"),
    num_shards=Arg(int, 1, "how many readers share the records"),
    shard_id=Arg(int, 0, "which of them this is: it gets every num_shards-th record from here on"),
    doc="""
    Opens a database for reading, for operators that take records from it one after another, and
    from the beginning again after the last. Raises UnsupportedError for a type that there is not,
    FileError for a missing file, ValueRangeError for a shard that cannot be.
    """,
    example="""
    db = "train.minidb", db_type = "minidb"
    reader = the open database
    """,
)


@create_db.everywhere_dynamic()
def open_reader(call: Call) -> None:
    """Open it."""
    args = call.args
    path = require_text("db", args.db, "the path of the database")
    path = permitted(call.scope.trust, path, trusted_path=path, writes=False)
    database = open_database(args.db_type, path, Mode.read)
    reader = Reader(
        database,
        type_=args.db_type,
        path=path,
        num_shards=args.num_shards,
        shard_id=args.shard_id,
    )
    call.put(0, reader)


def _pack(reader: Reader, proto: BlobProto) -> None:
    proto.type = "DBReader"
    state = DBReaderProto(name=proto.name, source=reader.path, db_type=reader.type)
    proto.content = state.SerializeToString()


def _unpack(proto: BlobProto) -> Reader:
    state = DBReaderProto()
    try:
        state.ParseFromString(proto.content)
    except DecodeError as error:
        raise ModelFormatError(f"blob '{proto.name}' is no DBReader: {error!s:.200}") from None
    database = open_database(state.db_type, state.source, Mode.read)
    reader = Reader(database, type_=state.db_type, path=state.source)
    if state.key:
        reader.seek(state.key.encode())
    return reader


register_blob(Reader, ["DBReader"], _pack, _unpack, opens=True)


# ---------------------------------------------------------------- records of tensors


def _infer_input(query: Query) -> Sequence[TensorType]:
    if query.args.batch_size < 0:
        raise ArgumentError(
            f"argument 'batch_size' must be at least 0, found {query.args.batch_size}"
        )
    return [UNKNOWN] * query.outputs


db_input = operator(
    "TensorProtosDBInput",
    "data -> output+",
    infer=_infer_input,
    gradient=NoGradient("it reads a file"),
    batch_size=Arg(int, 0, "records in one batch; 0: one record as it is"),
    no_prefetch=Arg(bool, False, "without effect: nothing is read in advance"),
    doc="""
    output[k] = tensor k of the next record, which is a serialized TensorProtos; with batch_size
    those of so many records, one below the other in a new first dimension. Raises ModelFormatError
    for a record that holds something else, or another number of tensors than there are outputs,
    ShapeError where records of a batch differ in type or shape.
    """,
    example="""
    data = [[1, 2], [3, 4], [5, 6]], batch_size = 2
    output = [[1, 2], [3, 4]], then [[5, 6], [1, 2]]
    """,
)


def _next_record(reader: Reader, count: int) -> list[Array]:
    _, value = reader.read()
    protos = TensorProtos()
    try:
        protos.ParseFromString(value)
    except DecodeError as error:
        raise ModelFormatError(
            f"a record of '{reader.path}' is no TensorProtos: {error!s:.200}"
        ) from None
    if len(protos.protos) != count:
        raise ModelFormatError(
            f"a record of '{reader.path}' holds {len(protos.protos)} tensor(s); expected {count}, "
            "one for each output"
        )
    found = []
    for proto in protos.protos:
        proto.ClearField("device_detail")
        found.append(tensor_from_proto(proto))
    return found


@db_input.cpu_dynamic()
def read_batch(call: Call) -> None:
    """Read a record, or a batch of them."""
    reader = held(call, 0, Reader, "CreateDB")
    call.kept["database"] = reader.database
    size = call.args.batch_size
    records = [_next_record(reader, call.output_count) for _ in range(size or 1)]
    for k, first in enumerate(records[0]):
        arrays = [_same(record[k], first, k) for record in records]
        shape = (size, *first.shape) if size else first.shape
        out = call.output(k, shape, first.dtype)
        out[...] = np.stack(arrays) if size else first


db_input.cuda_by_host("it reads a file")


def _same(array: Array, first: Array, index: int) -> Array:
    if array.dtype != first.dtype or array.shape != first.shape:
        raise ShapeError(
            f"tensor {index} differs within a batch: {TensorType.of(first)} and "
            f"{TensorType.of(array)}"
        )
    return array
