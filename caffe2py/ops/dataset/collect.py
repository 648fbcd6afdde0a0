"""Collecting tensors while nets run: vectors of them, the last rows, a fair sample."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from caffe2py.errors import ArgumentError, ArityError, DTypeError, ShapeError, ValueRangeError
from caffe2py.ops.dataset.cursor import NONE
from caffe2py.registry.context import Call
from caffe2py.registry.held import held, tensor_of, tensor_or_none
from caffe2py.registry.infer import Query, fixed
from caffe2py.registry.operator import operator
from caffe2py.registry.schema import Arg
from caffe2py.tensor.objects import Element, Mutex, TypedMap
from caffe2py.tensor.tensor import Array
from caffe2py.tensor.types import STRING, UNKNOWN, TensorType

_INT32, _INT64 = np.dtype(np.int32), np.dtype(np.int64)
_COLLECT = Arg(int, -1, "how many are kept")
_MAKER = "CreateTensorVector"


class TensorVector(list[Array]):
    """Tensors, one after another."""


def _generator(call: Call) -> np.random.Generator:
    found = call.kept.get("generator")
    if not isinstance(found, np.random.Generator):
        key = [int(number) for number in call.random_state()]
        found = call.kept["generator"] = np.random.default_rng(key)
    return found


def _place(call: Call, visited: int, room: int) -> int:
    """Where number `visited` of a stream goes, so that all have one chance to stay; -1: nowhere."""
    if visited < room:
        return visited
    drawn = int(_generator(call).integers(visited + 1))
    return drawn if drawn < room else -1


def _require_room(query: Query) -> int:
    room: int = query.args.num_to_collect
    if room < 1:
        raise ArgumentError(f"argument 'num_to_collect' must be at least 1, found {room}")
    return room


# ---------------------------------------------------------------- vectors of tensors


create = operator(
    "CreateTensorVector",
    " -> vector",
    gradient=NONE,
    doc="Makes an empty vector of tensors.",
    example="""
    vector = a vector of no tensors
    """,
)


@create.everywhere_dynamic()
def make_vector(call: Call) -> None:
    """A new vector in every run."""
    call.put(0, TensorVector())


size = operator(
    "TensorVectorSize",
    "tensor_vector -> size",
    infer=fixed(_INT32),
    gradient=NONE,
    doc="size = how many tensors there are, an int32 scalar.",
    example="""
    tensor_vector = two tensors
    size = 2
    """,
)


@size.cpu_dynamic()
def count_tensors(call: Call) -> None:
    """Count."""
    call.outputs[0][...] = len(held(call, 0, TensorVector, _MAKER))


concat = operator(
    "ConcatTensorVector",
    "vector_of_Tensor -> tensor",
    gradient=NONE,
    doc="""
    tensor = all tensors of the vector, joined along axis 0. Raises ValueRangeError if there are
    none, DTypeError or ShapeError for tensors that do not fit together.
    """,
    example="""
    vector_of_Tensor = [1, 2], [3]
    tensor = [1, 2, 3]
    """,
)


@concat.cpu_dynamic()
def join(call: Call) -> None:
    """Join them."""
    vector = held(call, 0, TensorVector, _MAKER)
    if not vector:
        raise ValueRangeError(f"input 0 '{call.input_blob(0)}' is a vector of no tensors")
    first = vector[0]
    for array in vector:
        if array.dtype != first.dtype:
            raise DTypeError(f"types differ: {TensorType.of(first)} and {TensorType.of(array)}")
        if array.ndim == 0 or array.shape[1:] != first.shape[1:]:
            raise ShapeError(f"cannot be joined: {TensorType.of(first)}, {TensorType.of(array)}")
    joined = np.concatenate(vector)
    call.output(0, joined.shape, joined.dtype)[...] = joined


def _infer_collect(query: Query) -> Sequence[TensorType]:
    _require_room(query)
    return [UNKNOWN] * query.outputs


collect = operator(
    "CollectTensor",
    "vector, vectors_and_tensors+ -> vectors+",
    infer=_infer_collect,
    inplace=lambda i, o: i == o,
    gradient=NONE,
    num_to_collect=_COLLECT,
    doc="""
    vectors, then as many tensors: adds a copy of each tensor to its vector while they hold fewer
    than num_to_collect. After that it replaces a random place of all vectors, so often that every
    run so far has the same chance to be there (a reservoir sample).
    """,
    example="""
    vectors = a vector of no tensors; tensors = [1, 2]; num_to_collect = 10
    vectors = a vector with the tensor [1, 2]
    """,
)


@collect.cpu_dynamic()
def collect_tensors(call: Call) -> None:
    """Add, replace or leave out."""
    count = call.output_count
    if call.input_count != 2 * count:
        raise ArityError(
            f"expected {2 * count} input(s), a vector and a tensor for each of {count} output(s), "
            f"found {call.input_count}"
        )
    room = call.args.num_to_collect
    vectors = [held(call, k, TensorVector, _MAKER) for k in range(count)]
    visited = max(call.kept.get("visited", 0), len(vectors[0]))
    place = len(vectors[0]) if len(vectors[0]) < room else _place(call, visited, room)
    call.kept["visited"] = visited + 1
    arrays = [np.array(tensor_of(call, count + k)) for k in range(count)]
    for k, (vector, array) in enumerate(zip(vectors, arrays, strict=True)):
        if place == len(vector):
            vector.append(array)
        elif 0 <= place < len(vector):
            vector[place] = array
        call.put(k, vector)


# ---------------------------------------------------------------- rows


def _rows_infer(query: Query, counters: Sequence[tuple[int, str]]) -> None:
    _require_room(query)
    for index, type_name in counters:
        if index < len(query.inputs):
            found = query.inputs[index].dtype
            if found is not None and found != np.dtype(type_name):
                raise DTypeError(
                    f"input {index} '{query.name(index)}' must be {type_name}, found {found}"
                )
    data = query.inputs[2].shape
    if data is not None and not data:
        raise ShapeError("input 2 'DATA' must have a first dimension, found a scalar")


def _infer_last(query: Query) -> Sequence[TensorType]:
    _rows_infer(query, [(1, "int32"), (4, "int64")])
    if query.value(2) is not None:
        return [UNKNOWN] * query.outputs  # it runs now, and sizes the buffer by what there is
    data = query.inputs[2]
    if data.shape is None:
        return [UNKNOWN] * query.outputs
    full = TensorType(data.dtype, (query.args.num_to_collect, *data.shape[1:]))
    return [full, TensorType(_INT32, ()), TensorType(_INT64, ())][: query.outputs]


def _existing(call: Call, index: int, data: Array) -> Array:
    """The rows kept so far, of the type and dimensions of the new ones; none at first."""
    array = tensor_or_none(call, index)
    if array is None or array.size == 0 or _lost(array):
        return data[:0]
    if array.dtype != data.dtype:
        raise DTypeError(f"{TensorType.of(data)} cannot be kept beside {TensorType.of(array)}")
    if array.ndim != data.ndim or array.shape[1:] != data.shape[1:]:
        raise ShapeError(f"{TensorType.of(data)} cannot be kept beside {TensorType.of(array)}")
    return np.array(array)


def _lost(array: Array | None) -> bool:
    """Whether these are records that were saved and restored without their contents."""
    if array is None or array.dtype != STRING or not array.size:
        return False
    first = array.reshape(-1)[0]
    return isinstance(first, Element) and first.lost


def _number(call: Call, index: int, low: int, high: int) -> int:
    array = tensor_of(call, index)
    if array.size != 1:
        raise ShapeError(f"input {index} '{call.input_blob(index)}' must be one number")
    value = int(array.reshape(-1)[0])
    if not low <= value < high:
        raise ValueRangeError(
            f"input {index} '{call.input_blob(index)}' must be from {low} to {high - 1}, "
            f"found {value}"
        )
    return value


last = operator(
    "LastNWindowCollector",
    "last_N_buffer, next_cursor, DATA, MUTEX?, NUM_VISITED? -> "
    "last_N_buffer, next_cursor, NUM_VISITED?",
    infer=_infer_last,
    enforced={0: 0, 1: 1, 4: 2},
    input_counts=(3, 4, 5),
    gradient=NONE,
    num_to_collect=_COLLECT,
    doc="""
    Keeps the last num_to_collect rows of all DATA in a ring, in place: the buffer, which may hold
    nothing at first, grows up to that size, and next_cursor, an int32 number, is the row that is
    overwritten next. DATA with more rows than the ring replaces all of it, from its beginning.
    NUM_VISITED, an int64 number, grows by the number of rows. All that while it holds the lock
    MUTEX, if it has one.
    """,
    example="""
    last_N_buffer = [1, 2, 3]; next_cursor = 0; DATA = [4]; num_to_collect = 3
    last_N_buffer = [4, 2, 3]; next_cursor = 1
    """,
)


@last.cpu_dynamic(takes_nothing=True)
def keep_last(call: Call) -> None:
    """Write the rows into the ring."""
    if call.input_count > 3:
        with held(call, 3, Mutex, "CreateMutex"):
            _keep_last(call)
    else:
        _keep_last(call)


def _keep_last(call: Call) -> None:
    room, data = call.args.num_to_collect, tensor_of(call, 2)
    ring = _existing(call, 0, data)
    at = _number(call, 1, 0, room)
    visited = None if call.output_count < 3 else _number(call, 4, 0, 2**63 - len(data))
    if _lost(tensor_or_none(call, 0)):
        at, visited = 0, None if visited is None else 0
    if len(data) > room:
        ring, at = data[len(data) - room :], 0
    elif len(data):
        longer = min(room, max(len(ring), at + len(data)))
        ring = np.concatenate([ring, np.zeros((longer - len(ring), *data.shape[1:]), data.dtype)])
        ring[(at + np.arange(len(data))) % room] = data
        at = (at + len(data)) % room
    call.output(0, ring.shape, ring.dtype)[...] = ring
    call.output(1, tensor_of(call, 1).shape, _INT32)[...] = at
    if visited is not None:
        call.output(2, tensor_of(call, 4).shape, _INT64)[...] = visited + len(data)


def _infer_reservoir(query: Query) -> Sequence[TensorType]:
    _rows_infer(query, [(1, "int64"), (4, "int64")])
    if len(query.inputs) == 7 and query.outputs != 4:
        raise ArityError(f"with 7 inputs there are 4 outputs, found {query.outputs}")
    if len(query.inputs) == 4 and query.outputs != 2:
        raise ArityError(f"with 4 inputs there are 2 outputs, found {query.outputs}")
    return [UNKNOWN] * query.outputs


reservoir = operator(
    "ReservoirSampling",
    "RESERVOIR, NUM_VISITED, DATA, MUTEX, OBJECT_ID?, OBJECT_TO_POS_MAP_IN?, POS_TO_OBJECT_IN? -> "
    "RESERVOIR, NUM_VISITED, OBJECT_TO_POS_MAP?, POS_TO_OBJECT?",
    infer=_infer_reservoir,
    enforced={0: 0, 1: 1, 5: 2, 6: 3},
    input_counts=(4, 7),
    output_counts=(2, 4),
    gradient=NONE,
    num_to_collect=_COLLECT,
    doc="""
    Keeps a fair sample of num_to_collect rows of all DATA, in place: every row so far has the same
    chance to be in RESERVOIR, which may hold nothing at first. NUM_VISITED is the int64 number of
    rows seen. With OBJECT_ID (int64, one for each row) a row whose object is in the sample is left
    out and not counted; the map from objects to rows and the vector POS_TO_OBJECT say which are.
    All that while it holds the lock MUTEX.
    """,
    example="""
    RESERVOIR = nothing; NUM_VISITED = 0; DATA = [5, 6]; num_to_collect = 3
    RESERVOIR = [5, 6]; NUM_VISITED = 2
    """,
)


@reservoir.cpu_dynamic(takes_nothing=True)
def sample_rows(call: Call) -> None:
    """Take each row in or leave it out."""
    with held(call, 3, Mutex, "CreateMutex"):
        data = tensor_of(call, 2)
        rows = list(_existing(call, 0, data))
        visited = _number(call, 1, 0, 2**63 - len(data))
        objects = _Objects(call, len(data)) if call.input_count == 7 else None
        if _lost(tensor_or_none(call, 0)):
            visited = 0
            if objects is not None:
                objects.forget()
        for k in range(len(data)):
            if objects is not None and objects.known(k):
                continue
            place = _place(call, visited, call.args.num_to_collect)
            visited += 1
            if place < 0:
                continue
            if place > len(rows):
                raise ValueRangeError(f"{visited - 1} rows were seen, but {len(rows)} are kept")
            rows[place : place + 1] = [np.array(data[k, ...])]
            if objects is not None:
                objects.put(k, place)
        out = call.output(0, (len(rows), *data.shape[1:]), data.dtype)
        for k, row in enumerate(rows):
            out[k, ...] = row
        call.output(1, tensor_of(call, 1).shape, _INT64)[...] = visited
        if objects is not None:
            objects.store()


class _Objects:
    """Which object is in which row of the sample."""

    def __init__(self, call: Call, count: int) -> None:
        self._call = call
        self._ids = tensor_of(call, 4).reshape(-1)
        if self._ids.size != count:
            raise ShapeError(f"there are {self._ids.size} OBJECT_ID for {count} row(s)")
        self._map = held(call, 5, TypedMap, "CreateMap")
        places = tensor_or_none(call, 6)
        self._at = [] if places is None else places.reshape(-1).tolist()

    def forget(self) -> None:
        self._map.clear()
        self._at.clear()

    def known(self, k: int) -> bool:
        return int(self._ids[k]) in self._map

    def put(self, k: int, place: int) -> None:
        if place < len(self._at):
            self._map.pop(self._at[place], None)
        self._at[place : place + 1] = [int(self._ids[k])]
        self._map[int(self._ids[k])] = place

    def store(self) -> None:
        self._call.put(2, self._map)
        self._call.output(3, (len(self._at),), _INT64)[:] = self._at
