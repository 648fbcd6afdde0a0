"""Counting iterations: Iter, AtomicIter, and the mutex that the latter takes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from caffe2py.errors import BlobTypeError, Error, ValueRangeError
from caffe2py.kernels.callback import launch_python
from caffe2py.kernels.jit import kernel
from caffe2py.ops.optimizer.common import require_size
from caffe2py.proto.caffe2_pb2 import OperatorDef
from caffe2py.registry.context import Call, Launch
from caffe2py.registry.gradient import NoGradient, NotDifferentiable
from caffe2py.registry.infer import Query, require_dtype
from caffe2py.registry.operator import operator
from caffe2py.tensor.objects import Mutex
from caffe2py.tensor.tensor import Array
from caffe2py.tensor.types import TensorType

INT64 = np.dtype(np.int64)
_LAST = np.iinfo(np.int64).max
_NEGATIVE, _FULL = 1, 2


create_mutex = operator(
    "CreateMutex",
    " -> mutex_ptr",
    gradient=NotDifferentiable("a lock has no derivative"),
    doc="Makes a lock, for operators of nets that run side by side (AtomicIter).",
    example="""
    mutex_ptr = a lock that nobody holds
    """,
)


@create_mutex.everywhere_dynamic()
def make_mutex(call: Call) -> None:
    """A new lock in every run."""
    call.put(0, Mutex())


# ---------------------------------------------------------------- counters


@kernel()
def _increment(counter: Any) -> int:
    if counter[0] < 0:
        return _NEGATIVE
    if counter[0] == _LAST:
        return _FULL
    counter[0] += 1
    return 0


def _explain(status: int) -> Error:
    if status == _NEGATIVE:
        return ValueRangeError("the number of iterations is negative")
    return ValueRangeError(f"the number of iterations is {_LAST}, which cannot grow")


def _launch_increment(counter: Array) -> Launch:
    return _increment(counter.reshape(-1), explain=_explain)


def _require_counter(query: Query, index: int) -> Sequence[TensorType]:
    require_dtype(query, index, INT64)
    require_size(query, index, 1, "the number of iterations")
    return [TensorType(INT64, query.inputs[index].shape)]


def _infer_iter(query: Query) -> Sequence[TensorType]:
    # without an input the blob decides, which may hold a counter of any shape already
    return _require_counter(query, 0) if query.inputs else [TensorType(INT64)]


iter_ = operator(
    "Iter",
    "iter? -> iter",
    infer=_infer_iter,
    enforced={0: 0},
    gradient=NoGradient("it counts"),
    doc="""
    iter = iter + 1, an int64 number that is changed in place.

    Without an input (the old form) a blob that holds no int64 number yet begins at 0, so the first
    run leaves [1]. Raises ValueRangeError for a negative number.
    """,
    example="""
    iter = [4]
    iter = [5]
    """,
)


def _has_no_input(op: OperatorDef) -> bool:
    return not op.input


def count(call: Call) -> Launch:
    """Begin where nothing is to be continued, then add one."""
    if call.inputs:
        return _launch_increment(call.outputs[0])
    try:
        counter = call.outputs[0]
    except BlobTypeError:
        counter = call.output(0, (1,), INT64)
        counter[...] = 0
    if counter.dtype != INT64 or counter.size != 1:
        counter = call.output(0, (1,), INT64)
        counter[...] = 0
    return _launch_increment(counter)


iter_.cpu_dynamic(when=_has_no_input)(count)
iter_.cuda_dynamic(count, when=_has_no_input, host_inputs=(0,), host_outputs=(0,))


atomic_iter = operator(
    "AtomicIter",
    "mutex, iter -> iter",
    infer=lambda query: _require_counter(query, 1),
    enforced={1: 0},
    gradient=NoGradient("it counts"),
    doc="""
    iter = iter + 1, an int64 number that is changed in place, while the mutex is held.

    Raises ValueRangeError for a negative number, BlobTypeError if the first input is no mutex.
    """,
    example="""
    mutex = what CreateMutex made; iter = [4]
    iter = [5]
    """,
)


def count_alone(call: Call) -> Launch:
    """Add one, holding the lock."""
    mutex = call.value(0)
    if not isinstance(mutex, Mutex):
        raise BlobTypeError(
            f"input 0 'mutex': expected what CreateMutex made, found {type(mutex).__name__}"
        )
    counter = call.outputs[0].reshape(-1)

    def add() -> None:
        with mutex:
            if counter[0] < 0:
                raise _explain(_NEGATIVE)
            if counter[0] == _LAST:
                raise _explain(_FULL)
            counter[0] += 1

    return launch_python(add)


atomic_iter.cpu(count_alone)
atomic_iter.cuda(count_alone, host_inputs=(0, 1), host_outputs=(0,))
