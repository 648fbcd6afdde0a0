"""Counters for loops, and small questions to a running program."""

from __future__ import annotations

import threading
import time
from collections.abc import Sequence

import numpy as np

from caffe2py.errors import ArgumentError, BlobTypeError, ModelFormatError
from caffe2py.proto.caffe2_pb2 import BlobProto
from caffe2py.registry.context import Call
from caffe2py.registry.gradient import NotDifferentiable
from caffe2py.registry.held import held, kind_of
from caffe2py.registry.infer import Query, fixed
from caffe2py.registry.operator import operator
from caffe2py.registry.schema import Arg
from caffe2py.tensor.serialize import register_blob, tensor_from_proto, tensor_to_proto
from caffe2py.tensor.tensor import Tensor
from caffe2py.tensor.types import STRING, TensorType

_INT64 = np.dtype(np.int64)
_NONE = NotDifferentiable("a count has no derivative")


class Counter:
    """A number that nets side by side may count with."""

    def __init__(self, count: int) -> None:
        self._count = count
        self._lock = threading.Lock()

    def add(self, amount: int) -> int:
        """Add to it; returns what it was."""
        with self._lock:
            before = self._count
            self._count += amount
            return before

    def reset(self, count: int) -> int:
        """Start again; returns what it was."""
        with self._lock:
            before, self._count = self._count, count
            return before

    @property
    def count(self) -> int:
        """What it is."""
        return self._count


_TYPE_NAME = "std::unique_ptr<Counter<int64_t>>"


def _pack(counter: Counter, proto: BlobProto) -> None:
    proto.type = _TYPE_NAME
    proto.tensor.CopyFrom(tensor_to_proto(np.array([counter.count]), proto.name))


def _unpack(proto: BlobProto) -> Counter:
    array = tensor_from_proto(proto.tensor)
    if array.size != 1 or array.dtype.kind not in "iu":
        raise ModelFormatError(f"blob '{proto.name}': a counter is one integer")
    return Counter(int(array.reshape(-1)[0]))


register_blob(Counter, [_TYPE_NAME], _pack, _unpack)


def _held(call: Call) -> Counter:
    return held(call, 0, Counter, "CreateCounter")


def _infer_start(query: Query) -> Sequence[TensorType]:
    if query.args.init_count < 0:
        raise ArgumentError(
            "negative init_count is not permitted: argument 'init_count' is "
            f"{query.args.init_count}"
        )
    return [TensorType(_INT64, ())] * query.outputs if query.inputs else [TensorType()]


def _whole(call: Call) -> int:
    start = float(call.args.init_count)
    if not start.is_integer():
        raise ArgumentError(f"argument 'init_count' must be a whole number, found {start}")
    return int(call.args.init_count)


_START = Arg((int, float), 0.0, "where it begins, a whole number of 0 or more")

create = operator(
    "CreateCounter",
    " -> counter",
    infer=_infer_start,
    gradient=_NONE,
    init_count=_START,
    doc="Makes a counter that begins at init_count.",
    example="""
    init_count = 3
    counter = a counter at 3
    """,
)


@create.everywhere_dynamic()
def make_counter(call: Call) -> None:
    """A new counter in every run."""
    call.put(0, Counter(_whole(call)))


reset = operator(
    "ResetCounter",
    "counter -> previous_value?",
    infer=_infer_start,
    gradient=_NONE,
    init_count=_START,
    doc="Sets the counter to init_count. previous_value = what it was, an int64 scalar.",
    example="""
    counter at 3, init_count = 10
    previous_value = 3; counter at 10
    """,
)


def reset_counter(call: Call) -> None:
    """Start again."""
    before = _held(call).reset(_whole(call))
    for out in call.outputs:
        out[...] = before


reset.cpu_dynamic()(reset_counter)
reset.cuda_dynamic(reset_counter, host_outputs=(0,))


count_up = operator(
    "CountUp",
    "counter -> previous_count",
    infer=fixed(np.int64),
    gradient=_NONE,
    doc="previous_count = the count, an int64 scalar; then the counter grows by 1.",
    example="""
    counter at 3
    previous_count = 3; counter at 4
    """,
)


def add_one(call: Call) -> None:
    """Count."""
    call.outputs[0][...] = _held(call).add(1)


count_up.cpu_dynamic()(add_one)
count_up.cuda_dynamic(add_one, host_outputs=(0,))


count_down = operator(
    "CountDown",
    "counter -> done",
    infer=fixed(np.bool_),
    gradient=_NONE,
    doc="done = whether the count is 0 or less, a bool scalar; then the counter shrinks by 1.",
    example="""
    counter at 1
    done = false; counter at 0
    """,
)


def subtract_one(call: Call) -> None:
    """Count."""
    call.outputs[0][...] = _held(call).add(-1) <= 0


count_down.cpu_dynamic()(subtract_one)
count_down.cuda_dynamic(subtract_one, host_outputs=(0,))


check_done = operator(
    "CheckCounterDone",
    "counter -> done",
    infer=fixed(np.bool_),
    gradient=_NONE,
    doc="done = whether the count is 0 or less, a bool scalar.",
    example="""
    counter at 1
    done = false
    """,
)


def look_whether_done(call: Call) -> None:
    """Look."""
    call.outputs[0][...] = _held(call).count <= 0


check_done.cpu_dynamic()(look_whether_done)
check_done.cuda_dynamic(look_whether_done, host_outputs=(0,))


retrieve = operator(
    "RetrieveCount",
    "counter -> count",
    infer=fixed(np.int64),
    gradient=_NONE,
    doc="count = the count, an int64 scalar.",
    example="""
    counter at 3
    count = 3
    """,
)


def look(call: Call) -> None:
    """Look."""
    call.outputs[0][...] = _held(call).count


retrieve.cpu_dynamic()(look)
retrieve.cuda_dynamic(look, host_outputs=(0,))


# ---------------------------------------------------------------- questions


has_elements = operator(
    "HasElements",
    "X+ -> has_elements",
    infer=fixed(np.bool_),
    gradient=NotDifferentiable("a bool has no derivative"),
    doc="has_elements = whether at least one input has elements, a bool scalar.",
    example="""
    X = [], [1]
    has_elements = true
    """,
)


@has_elements.cpu_dynamic()
def look_for_elements(call: Call) -> None:
    """Look at the sizes."""
    found = False
    for k in range(call.input_count):
        value = call.value(k)
        if not isinstance(value, Tensor):
            raise BlobTypeError(
                f"input {k} '{call.input_blob(k)}': expected a tensor, found {kind_of(value)}"
            )
        found |= value.array.size > 0
    call.outputs[0][...] = found


clock = operator(
    "WallClockTime",
    " -> time",
    infer=fixed(np.int64),
    gradient=NotDifferentiable("time has no derivative"),
    doc="time = nanoseconds since 1970, an int64 scalar.",
    example="""
    time = 1500000000000000000 on 14 July 2017
    """,
)


@clock.cpu_dynamic()
def tell_time(call: Call) -> None:
    """Look at the clock."""
    call.outputs[0][...] = time.time_ns()


names = operator(
    "GetAllBlobNames",
    " -> blob_names",
    infer=fixed(np.object_, (None,)),
    gradient=NotDifferentiable("names have no derivative"),
    include_shared=Arg(int, 1, "1: with the blobs of the workspaces around this one"),
    doc="blob_names = the names of all blobs of the workspace, sorted, a vector of strings.",
    example="""
    a workspace with the blobs x and blob_names
    blob_names = ["blob_names", "x"]
    """,
)


@names.cpu_dynamic()
def list_names(call: Call) -> None:
    """List them."""
    scope = call.scope
    found = scope.blobs() if call.args.include_shared else scope.local_blobs()
    out = call.output(0, (len(found),), STRING)
    out[:] = [name.encode() for name in found]
