"""Queues that take rows in and give batches of rows out."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Sequence

import numpy as np

from caffe2py.errors import ArgumentError, ArityError, DTypeError, KernelError, ShapeError
from caffe2py.registry.context import Call
from caffe2py.registry.gradient import NoGradient
from caffe2py.registry.held import held, tensor_of
from caffe2py.registry.infer import Query
from caffe2py.registry.operator import operator
from caffe2py.registry.schema import Arg
from caffe2py.tensor.tensor import Array
from caffe2py.tensor.types import UNKNOWN, TensorType

_MAKER = "CreateRebatchingQueue"


class RebatchingQueue:
    """At most `capacity` rows of `num_blobs` tensors each, first in, first out."""

    def __init__(self, capacity: int, num_blobs: int) -> None:
        self.num_blobs = num_blobs
        self._capacity = capacity
        self._rows: deque[tuple[Array, ...]] = deque()
        self._changed = threading.Condition()
        self._closed = False

    def write(self, rows: Sequence[tuple[Array, ...]]) -> bool:
        """Add rows one by one as there is room for them; False if the queue is closed before."""
        for row in rows:
            with self._changed:
                self._changed.wait_for(lambda: self._closed or len(self._rows) < self._capacity)
                if self._closed:
                    return False
                self._rows.append(row)
                self._changed.notify_all()
        return True

    def read(self, count: int) -> list[tuple[Array, ...]]:
        """Take `count` rows; fewer, or none, only where the queue is closed before."""
        rows: list[tuple[Array, ...]] = []
        while len(rows) < count:
            with self._changed:
                self._changed.wait_for(lambda: self._closed or bool(self._rows))
                if not self._rows:
                    break
                while self._rows and len(rows) < count:
                    rows.append(self._rows.popleft())
                self._changed.notify_all()
        return rows

    def close(self) -> None:
        """Refuse new rows, and let nobody wait any more."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()

    cancel = close


def _queue(call: Call) -> RebatchingQueue:
    queue = held(call, 0, RebatchingQueue, _MAKER)
    call.kept["queue"] = queue
    return queue


create = operator(
    "CreateRebatchingQueue",
    " -> queue",
    gradient=NoGradient("it makes a queue"),
    num_blobs=Arg(int, 1, "how many tensors are one row"),
    capacity=Arg(int, 1, "how many rows it holds"),
    doc="""
    queue = a new, empty queue of rows, which are written in batches of one size and read in batches
    of another. Raises ArgumentError for a capacity or a number of tensors below 1.
    """,
    example="""
    capacity = 100
    queue = an empty queue
    """,
)


@create.everywhere_dynamic()
def make_queue(call: Call) -> None:
    """A new queue in every run."""
    for name in ("capacity", "num_blobs"):
        if getattr(call.args, name) < 1:
            raise ArgumentError(
                f"argument '{name}' must be at least 1, found {getattr(call.args, name)}"
            )
    call.put(0, RebatchingQueue(call.args.capacity, call.args.num_blobs))


enqueue = operator(
    "EnqueueRebatchingQueue",
    "queue, tensors+ -> ",
    gradient=NoGradient("it hands values to another net"),
    enqueue_batch=Arg(bool, False, "the first dimension of the tensors counts rows"),
    doc="""
    Adds the tensors as one row or, with enqueue_batch, as many rows as their first dimension says;
    waits while the queue is full. Raises KernelError if the queue is closed, ShapeError where the
    tensors of a batch differ in their number of rows.
    """,
    example="""
    queue = an empty queue; tensors = [[1, 2], [3, 4]], enqueue_batch = true
    the queue holds the rows [1, 2] and [3, 4]
    """,
)


@enqueue.cpu_dynamic()
def write(call: Call) -> None:
    """Add rows."""
    queue = _queue(call)
    if call.input_count - 1 != queue.num_blobs:
        raise ArityError(
            f"a row of '{call.input_blob(0)}' has {queue.num_blobs} tensor(s), found "
            f"{call.input_count - 1}"
        )
    if not queue.write(_rows(call)):
        raise KernelError(f"queue '{call.input_blob(0)}' is closed")


def _rows(call: Call) -> list[tuple[Array, ...]]:
    arrays = [np.array(tensor_of(call, k + 1)) for k in range(call.input_count - 1)]
    if not call.args.enqueue_batch:
        return [tuple(arrays)]
    for k, array in enumerate(arrays):
        if array.ndim == 0 or len(array) != len(arrays[0]):
            raise ShapeError(
                f"tensors of a batch must have one number of rows: input {k + 1} "
                f"'{call.input_blob(k + 1)}' is {TensorType.of(array)}, input 1 "
                f"{TensorType.of(arrays[0])}"
            )
    return [tuple(array[n, ...] for array in arrays) for n in range(len(arrays[0]))]


def _infer_dequeue(query: Query) -> Sequence[TensorType]:
    if query.args.num_elements < 1:
        raise ArgumentError(
            f"argument 'num_elements' must be at least 1, found {query.args.num_elements}"
        )
    return [UNKNOWN] * query.outputs


dequeue = operator(
    "DequeueRebatchingQueue",
    "rebatching_queue -> tensor+",
    infer=_infer_dequeue,
    gradient=NoGradient("it takes values of another net"),
    num_elements=Arg(int, 1, "how many rows"),
    doc="""
    tensor = the oldest rows, which are taken out, one below the other in a new first dimension;
    waits until there are enough. The last ones before a closed queue is empty may be fewer. Raises
    KernelError if it is empty and closed, DTypeError or ShapeError for rows that do not fit
    together.
    """,
    example="""
    queue = the rows [1, 2], [3, 4], [5, 6]; num_elements = 2
    tensor = [[1, 2], [3, 4]]
    """,
)


@dequeue.cpu_dynamic()
def read(call: Call) -> None:
    """Take rows out."""
    queue = _queue(call)
    if call.output_count != queue.num_blobs:
        raise ArityError(
            f"a row of '{call.input_blob(0)}' has {queue.num_blobs} tensor(s): expected as many "
            f"outputs, found {call.output_count}"
        )
    rows = queue.read(call.args.num_elements)
    if not rows:
        raise KernelError(f"queue '{call.input_blob(0)}' is empty and closed")
    for k in range(queue.num_blobs):
        arrays = [row[k] for row in rows]
        for array in arrays:
            _require_alike(arrays[0], array)
        out = call.output(k, (len(rows), *arrays[0].shape), arrays[0].dtype)
        for n, array in enumerate(arrays):
            out[n, ...] = array


def _require_alike(first: Array, other: Array) -> None:
    if first.dtype != other.dtype:
        raise DTypeError(f"rows differ in type: {TensorType.of(first)} and {TensorType.of(other)}")
    if first.shape != other.shape:
        raise ShapeError(f"rows differ in shape: {TensorType.of(first)} and {TensorType.of(other)}")


close = operator(
    "CloseRebatchingQueue",
    "queue -> ",
    gradient=NoGradient("it closes a queue"),
    doc="""
    Closes a queue: it takes no more rows, and those in it can still be read.
    """,
    example="""
    queue = a queue with one row
    one more row can be read from it
    """,
)


@close.everywhere_dynamic()
def close_queue(call: Call) -> None:
    """Close it."""
    held(call, 0, RebatchingQueue, _MAKER).close()
