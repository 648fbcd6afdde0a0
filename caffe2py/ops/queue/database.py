"""A queue read like a database: CreateBlobsQueueDB."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Self

import numpy as np

from caffe2py.adapters.db import Reader, Transaction
from caffe2py.errors import ArgumentError, BlobTypeError, FileError, UnsupportedError
from caffe2py.ops.queue.blobs import queue_of
from caffe2py.ops.queue.blobs_queue import BlobsQueue
from caffe2py.registry.context import Call
from caffe2py.registry.gradient import NotDifferentiable
from caffe2py.registry.infer import Query
from caffe2py.registry.operator import operator
from caffe2py.registry.schema import Arg
from caffe2py.tensor.types import UNKNOWN, TensorType


def _text(value: Any, what: str) -> bytes:
    if isinstance(value, bytes):
        return value
    if isinstance(value, np.ndarray) and value.dtype == object and value.size:
        return bytes(value.reshape(-1)[0])
    raise BlobTypeError(f"the {what} in a queue must be a string or a tensor of strings")


class QueueCursor:
    """The record that was taken out last; taking the next one waits for the queue."""

    def __init__(self, queue: BlobsQueue, key: int, value: int, timeout: float) -> None:
        self._queue = queue
        self._places = (key, value)
        self._timeout = timeout
        self._record: tuple[bytes, bytes] | None = None
        self._began = False
        self._waiting = False

    def _ensure(self) -> tuple[bytes, bytes]:
        if self._waiting or not self._began:
            self._take()
        if self._record is None:
            why = "is empty and closed" if self._queue.closed else "stayed empty: timed out"
            raise FileError(f"queue '{self._queue.name}' {why}")
        return self._record

    def _take(self) -> None:
        self._began, self._waiting = True, False
        record = self._queue.read(self._timeout)
        key, value = self._places
        if record is None:
            self._record = None
            self._waiting = True
            return
        self._record = (
            _text(record[key], "key") if key >= 0 else b"",
            _text(record[value], "value"),
        )

    def valid(self) -> bool:
        """There may always be a next record."""
        return True

    def next(self) -> None:
        """Let the next question take the next record, so that nobody waits for it too early."""
        self._waiting = True

    def key(self) -> bytes:
        """The key of the record."""
        return self._ensure()[0]

    def value(self) -> bytes:
        """The value of the record."""
        return self._ensure()[1]

    def seek_to_first(self) -> None:
        """Without effect: what was taken out is gone."""

    def supports_seek(self) -> bool:
        """No."""
        return False

    def seek(self, key: bytes) -> None:
        """Refused."""
        raise UnsupportedError("a queue cannot seek a key")


class QueueDatabase:
    """A queue in the place of a database, for reading."""

    def __init__(self, queue: BlobsQueue, key: int, value: int, timeout: float) -> None:
        self._queue = queue
        self._rest = (key, value, timeout)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *failure: object) -> None:
        self.close()

    def new_cursor(self) -> QueueCursor:
        """A cursor; all of them take from the one queue."""
        return QueueCursor(self._queue, *self._rest)

    def new_transaction(self) -> Transaction:
        """Refused."""
        raise UnsupportedError("a queue as a database can only be read")

    def close(self) -> None:
        """Without effect: the queue belongs to others."""

    def abort(self) -> None:
        """As close."""

    def cancel(self) -> None:
        """Let nobody wait for the queue any more."""
        self._queue.close()


def _infer(query: Query) -> Sequence[TensorType]:
    if query.args.value_blob_index < 0:
        raise ArgumentError(
            f"argument 'value_blob_index' must be at least 0, found {query.args.value_blob_index}"
        )
    return [UNKNOWN]


create = operator(
    "CreateBlobsQueueDB",
    "queue -> reader",
    infer=_infer,
    gradient=NotDifferentiable("it reads a queue"),
    key_blob_index=Arg(int, -1, "which blob of a record is the key; -1: there are none"),
    value_blob_index=Arg(int, 0, "which blob of a record is the value"),
    timeout_secs=Arg(float, 0.0, "wait at most so long for a record; 0: as long as it takes"),
    doc="""
    reader = a database as CreateDB opens it, whose records are those of the queue: strings, or
    tensors of one string. Each is there once. When the queue is empty and closed, or the time is
    up, reading raises FileError.
    """,
    example="""
    queue = a queue with the record ("value")
    reader = a database with the value "value"
    """,
)


@create.everywhere_dynamic()
def make_reader(call: Call) -> None:
    """Make it."""
    queue, args = queue_of(call), call.args
    if max(args.value_blob_index, args.key_blob_index) >= queue.num_blobs:
        raise ArgumentError(
            f"a record of '{call.input_blob(0)}' has {queue.num_blobs} blob(s); there is no number "
            f"{max(args.value_blob_index, args.key_blob_index)}"
        )
    database = QueueDatabase(queue, args.key_blob_index, args.value_blob_index, args.timeout_secs)
    call.put(0, Reader(database, type_="blobs_queue", path=call.input_blob(0)))
