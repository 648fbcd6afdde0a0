"""Operators on queues of blobs."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from caffe2py.errors import (
    ArgumentError,
    ArityError,
    BlobTypeError,
    DTypeError,
    KernelError,
    ShapeError,
)
from caffe2py.ops.queue.blobs_queue import BlobsQueue
from caffe2py.registry.context import Call
from caffe2py.registry.gradient import NoGradient
from caffe2py.registry.held import held, kind_of
from caffe2py.registry.infer import Query
from caffe2py.registry.operator import operator
from caffe2py.registry.schema import Arg
from caffe2py.tensor.place import copy_into, copy_of, device_of, on_host
from caffe2py.tensor.tensor import Array, Tensor
from caffe2py.tensor.types import UNKNOWN, TensorType

_MAKER = "CreateBlobsQueue"
_BOOL = np.dtype(np.bool_)


def queue_of(call: Call, index: int = 0) -> BlobsQueue:
    """The queue in an input, noted as what a run may have to be woken from."""
    if call.input_count <= index:
        raise ArityError(
            f"expected at least {index + 1} input(s) (queue), found {call.input_count}"
        )
    queue = held(call, index, BlobsQueue, _MAKER)
    call.kept[f"queue {index}"] = queue
    return queue


def shifted(input_index: int, output_index: int) -> bool:
    """Whether an output is the blob that goes in behind the queue: input k + 1 is output k."""
    return input_index == output_index + 1


def _status_infer(query: Query) -> Sequence[TensorType]:
    return [*[UNKNOWN] * (query.outputs - 1), TensorType(_BOOL, ())][: query.outputs]


# ---------------------------------------------------------------- make and close


create = operator(
    "CreateBlobsQueue",
    " -> queue",
    gradient=NoGradient("it makes a queue"),
    capacity=Arg(int, 1, "how many records it holds"),
    num_blobs=Arg(int, 1, "how many blobs are one record"),
    enforce_unique_name=Arg(bool, False, "without effect: a blob has one queue"),
    field_names=Arg(list[str], None, "names of the blobs of a record, for statistics"),
    doc="""
    queue = a new, empty queue of records. Nets that run side by side hand records over through it:
    who writes waits while it is full, who reads waits while it is empty. Raises ArgumentError for a
    capacity or a number of blobs below 1.
    """,
    example="""
    capacity = 10, num_blobs = 2
    queue = an empty queue
    """,
)


@create.everywhere_dynamic()
def make_queue(call: Call) -> None:
    """A new queue in every run."""
    args = call.args
    for name in ("capacity", "num_blobs"):
        if getattr(args, name) < 1:
            raise ArgumentError(
                f"argument '{name}' must be at least 1, found {getattr(args, name)}"
            )
    fields = args.field_names or ()
    if fields and len(fields) != args.num_blobs:
        raise ArgumentError(
            f"argument 'field_names' must name {args.num_blobs} blob(s), found {len(fields)}"
        )
    call.put(0, BlobsQueue(call.output_blob(0), args.capacity, args.num_blobs, fields))


close = operator(
    "CloseBlobsQueue",
    "queue -> ",
    gradient=NoGradient("it closes a queue"),
    doc="""
    Closes a queue: nobody waits for it any more. What is in it can still be read, and as in Caffe2
    what has room can still be written.
    """,
    example="""
    queue = a queue with one record
    one more record can be read from it
    """,
)


@close.everywhere_dynamic()
def close_queue(call: Call) -> None:
    """Close it."""
    held(call, 0, BlobsQueue, _MAKER).close()


# ---------------------------------------------------------------- write


def _record(call: Call, queue: BlobsQueue) -> tuple[Any, ...]:
    """Copies of the blobs behind the queue, for their owners go on to change them."""
    count = call.input_count - 1
    if count != queue.num_blobs:
        raise ArityError(
            f"a record of '{call.input_blob(0)}' has {queue.num_blobs} blob(s), found {count}"
        )
    values = [call.value(k + 1) for k in range(count)]
    return tuple(
        copy_of(v.array, device_of(v.array)) if isinstance(v, Tensor) else v for v in values
    )


def _require_in_place(call: Call, blobs: int) -> None:
    for k in range(blobs):
        if call.output_blob(k) != call.input_blob(k + 1):
            raise ArityError(
                f"output {k} must be the same blob as input {k + 1} '{call.input_blob(k + 1)}', "
                f"found '{call.output_blob(k)}'"
            )


enqueue = operator(
    "EnqueueBlobs",
    "queue_and_blobs* -> blobs*",
    gradient=NoGradient("it hands values to another net"),
    inplace=shifted,
    doc="""
    Adds the blobs as one record, waiting while the queue is full. Outputs are the same blobs as the
    inputs behind the queue, and keep their values (in Caffe2 they get others). Raises KernelError
    if the queue is full and closed.
    """,
    example="""
    queue = an empty queue; blobs = [1, 2]
    the queue holds one record
    """,
)


def write(call: Call) -> None:
    """Add a record."""
    queue = queue_of(call)
    if call.output_count != call.input_count - 1:
        raise ArityError(
            f"expected {call.input_count - 1} output(s), one for each blob, found "
            f"{call.output_count}"
        )
    _require_in_place(call, call.output_count)
    if not queue.write(_record(call, queue)):
        raise KernelError(f"queue '{call.input_blob(0)}' is full and closed")


enqueue.cpu_dynamic()(write)
enqueue.cuda_dynamic(write, host_inputs=None)


safe_enqueue = operator(
    "SafeEnqueueBlobs",
    "queue_and_blobs* -> blobs_and_status*",
    infer=_status_infer,
    gradient=NoGradient("it hands values to another net"),
    inplace=shifted,
    doc="""
    As EnqueueBlobs, with one output more: status is false if the record was added, and true if the
    queue is full and closed, which is no error then.
    """,
    example="""
    queue = an empty queue; blobs = [1, 2]
    blobs = [1, 2]; status = false
    """,
)


def write_safely(call: Call) -> None:
    """Add a record and say whether it worked."""
    queue = queue_of(call)
    if call.output_count != call.input_count:
        raise ArityError(
            f"expected {call.input_count} output(s), each blob and the status, found "
            f"{call.output_count}"
        )
    _require_in_place(call, call.output_count - 1)
    done = queue.write(_record(call, queue))
    call.output(call.output_count - 1, (), _BOOL)[...] = not done


safe_enqueue.cpu_dynamic()(write_safely)
safe_enqueue.cuda_dynamic(write_safely, host_inputs=None, host_outputs=(-1,))


# ---------------------------------------------------------------- read


def put_value(call: Call, index: int, value: Any) -> None:
    """Give an output a value from a queue; a tensor's storage stays where it is if it fits."""
    if hasattr(value, "dtype"):
        copy_into(call.output(index, value.shape, value.dtype), value)
    else:
        call.put(index, value)


def _require_outputs(call: Call, queue: BlobsQueue, more: int) -> None:
    if call.output_count != queue.num_blobs + more:
        status = " and the status" if more else ""
        raise ArityError(
            f"a record of '{call.input_blob(0)}' has {queue.num_blobs} blob(s): expected "
            f"{queue.num_blobs + more} output(s), each blob{status}, found {call.output_count}"
        )


dequeue = operator(
    "DequeueBlobs",
    "queue* -> blob*",
    gradient=NoGradient("it takes values of another net"),
    timeout_secs=Arg(float, 0.0, "wait at most so long; 0: as long as it takes"),
    doc="""
    blobs = the oldest record, which is taken out; waits while the queue is empty. Raises
    KernelError if the queue is empty and closed, or when the time is up.
    """,
    example="""
    queue = a queue with the record ([1, 2])
    blob = [1, 2]
    """,
)


def read(call: Call) -> None:
    """Take a record out."""
    _require_one_queue(call)
    queue = queue_of(call)
    _require_outputs(call, queue, 0)
    record = queue.read(call.args.timeout_secs)
    if record is None:
        why = "is empty and closed" if queue.closed else "stayed empty: timed out"
        raise KernelError(f"queue '{call.input_blob(0)}' {why}")
    for k, value in enumerate(record):
        put_value(call, k, value)


dequeue.cpu_dynamic()(read)
dequeue.cuda_dynamic(read)


def _require_one_queue(call: Call) -> None:
    if call.input_count != 1:
        raise ArityError(f"expected 1 input(s) (queue), found {call.input_count}")


def _infer_safe_dequeue(query: Query) -> Sequence[TensorType]:
    if query.args.num_records < 1:
        raise ArgumentError(
            f"argument 'num_records' must be at least 1, found {query.args.num_records}"
        )
    return _status_infer(query)


safe_dequeue = operator(
    "SafeDequeueBlobs",
    "queue* -> blobs_and_status*",
    infer=_infer_safe_dequeue,
    gradient=NoGradient("it takes values of another net"),
    num_records=Arg(int, 1, "how many records; their tensors are joined along axis 0"),
    doc="""
    As DequeueBlobs, with one output more: status is true if the queue is empty and closed, and the
    blobs stay as they are; else it is false. With num_records the last ones before the end may be
    fewer.
    """,
    example="""
    queue = a queue with the records ([1, 2]) and ([3]), num_records = 2
    blob = [1, 2, 3]; status = false
    """,
)


def read_safely(call: Call) -> None:
    """Take records out and say whether it worked."""
    _require_one_queue(call)
    queue = queue_of(call)
    _require_outputs(call, queue, 1)
    records: list[tuple[Any, ...]] = []
    while len(records) < call.args.num_records and (record := queue.read()) is not None:
        records.append(record)
    if records and call.args.num_records == 1:
        for k, value in enumerate(records[0]):
            put_value(call, k, value)
    elif records:
        for k in range(queue.num_blobs):
            _put_joined(call, k, [record[k] for record in records])
    call.output(queue.num_blobs, (), _BOOL)[...] = not records


safe_dequeue.cpu_dynamic()(read_safely)
safe_dequeue.cuda_dynamic(read_safely, host_outputs=(-1,))


def _put_joined(call: Call, index: int, values: Sequence[Any]) -> None:
    arrays: list[Array] = []
    for value in values:
        if not hasattr(value, "dtype"):
            raise BlobTypeError(f"only tensors can be joined, found {kind_of(value)}")
        first = arrays[0] if arrays else value
        if value.dtype != first.dtype:
            raise DTypeError(
                f"records cannot be joined: {TensorType.of(first)}, {TensorType.of(value)}"
            )
        if value.ndim == 0 or value.shape[1:] != first.shape[1:]:
            raise ShapeError(
                f"records cannot be joined along axis 0: {TensorType.of(first)}, "
                f"{TensorType.of(value)}"
            )
        arrays.append(on_host(value))
    put_value(call, index, np.concatenate(arrays))


# ---------------------------------------------------------------- read from one of several


def _infer_weighted(query: Query) -> Sequence[TensorType]:
    weights, count = query.args.weights, len(query.inputs)
    if weights and len(weights) != count:
        raise ArgumentError(
            f"argument 'weights' must have {count} value(s), one for each queue, found "
            f"{len(weights)}"
        )
    if weights and not (min(weights) >= 0 and 0 < sum(weights) < float("inf")):
        raise ArgumentError(
            f"argument 'weights' must be 0 or more, with a sum above 0, found {weights}"
        )
    if query.args.table_idx_blob >= query.outputs - 1:
        raise ArgumentError(
            f"argument 'table_idx_blob' must be below {query.outputs - 1}, the position of the "
            f"status, found {query.args.table_idx_blob}"
        )
    return _status_infer(query)


weighted = operator(
    "WeightedSampleDequeueBlobs",
    "queues+ -> blob, more+",
    infer=_infer_weighted,
    gradient=NoGradient("it takes values of another net"),
    weights=Arg(list[float], None, "how likely each queue is chosen; default: all alike"),
    table_idx_blob=Arg(int, -1, "this output becomes int32[1]: the number of the queue"),
    doc="""
    As SafeDequeueBlobs, from one of several queues, which is chosen at random for each record.
    """,
    example="""
    queues = one with the record ([1]), one with the record ([2]); weights = [0, 1]
    blob = [2]; status = false
    """,
)


@weighted.cpu_dynamic()
def read_one_of_several(call: Call) -> None:
    """Choose a queue and take a record out."""
    weights = np.array(call.args.weights or [1.0] * call.input_count, np.float64)
    chosen = _choose(call, weights)
    queue = queue_of(call, chosen)
    _require_outputs(call, queue, 1)
    record = queue.read()
    for k, value in enumerate(record or ()):
        put_value(call, k, value)
    if call.args.table_idx_blob >= 0:
        call.output(call.args.table_idx_blob, (1,), np.dtype(np.int32))[...] = chosen
    call.output(queue.num_blobs, (), _BOOL)[...] = record is None


def _choose(call: Call, weights: Array) -> int:
    draw: Callable[[], float] | None = call.kept.get("draw")
    if draw is None:
        key = [int(number) for number in call.random_state()]
        draw = call.kept["draw"] = np.random.default_rng(key).random
    sums = np.cumsum(weights / weights.sum())
    # the last one that can be chosen takes what rounding leaves over
    last = int(np.flatnonzero(weights)[-1])
    return min(int(np.searchsorted(sums, draw(), side="right")), last)
