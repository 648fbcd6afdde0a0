"""Indices: dictionaries that give each new key the next number; and the hash of numbers."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from typing import Any

import numpy as np

from caffe2py.errors import ArgumentError, DTypeError, ModelFormatError, ShapeError, ValueRangeError
from caffe2py.kernels.jit import kernel
from caffe2py.proto.caffe2_pb2 import BlobProto
from caffe2py.registry.context import Call, Launch
from caffe2py.registry.gradient import NoGradient, NotDifferentiable
from caffe2py.registry.held import held, tensor_of
from caffe2py.registry.infer import Query, fixed, require_dtype
from caffe2py.registry.operator import operator
from caffe2py.registry.schema import Arg
from caffe2py.tensor.serialize import register_blob, tensor_from_proto, tensor_to_proto
from caffe2py.tensor.tensor import Array
from caffe2py.tensor.types import UNKNOWN, DType, TensorType, dtype_name

_INT64 = np.dtype(np.int64)
_MAKER = "StringIndexCreate, IntIndexCreate or LongIndexCreate"
_NONE = NotDifferentiable("numbers of keys have no derivative")
_MOST = np.iinfo(np.int32).max


class Index:
    """Keys of one type, numbered from 1 in the order in which they came; 0 is for unknown ones."""

    def __init__(self, dtype: DType, most: int) -> None:
        self.dtype = dtype
        self.most = most
        self.frozen = False
        self._numbers: dict[Any, int] = {}
        self._lock = threading.Lock()

    def __len__(self) -> int:
        return len(self._numbers)

    def get(self, keys: Sequence[Any]) -> list[int]:
        """The numbers of keys; new ones are added, or 0 if the index is frozen.

        Raises ValueRangeError when it is full.
        """
        if self.frozen:
            return [self._numbers.get(key, 0) for key in keys]
        with self._lock:
            return [self._number(key) for key in keys]

    def _number(self, key: Any) -> int:
        found = self._numbers.get(key)
        if found is None:
            found = len(self._numbers) + 1
            if found >= self.most:
                raise ValueRangeError(f"Dict max size reached: max_elements is {self.most}")
            self._numbers[key] = found
        return found

    def load(self, keys: Sequence[Any]) -> None:
        """Hold these keys instead; ValueRangeError for too many, or one that is there twice."""
        if len(keys) > self.most:
            raise ValueRangeError(
                f"Cannot load index: Tensor is larger than max_elements, {len(keys)} keys for "
                f"{self.most}"
            )
        numbers = {key: number for number, key in enumerate(keys, 1)}
        if len(numbers) < len(keys):
            raise ValueRangeError("Repeated elements found: cannot load into dictionary.")
        with self._lock:
            self._numbers = numbers

    def keys(self) -> Array:
        """All keys in the order of their numbers."""
        with self._lock:
            found = np.empty(len(self._numbers), self.dtype)
            found[:] = list(self._numbers)
            return found


_TYPE_NAME = "std::unique_ptr<caffe2::IndexBase>"


def _pack(index: Index, proto: BlobProto) -> None:
    proto.type = _TYPE_NAME
    proto.content = f"{index.most} {int(index.frozen)}".encode()
    keys = index.keys()
    proto.tensor.CopyFrom(tensor_to_proto(keys))
    proto.tensor.segment.begin, proto.tensor.segment.end = 0, keys.size


def _unpack(proto: BlobProto) -> Index:
    parts = proto.content.split()
    if len(parts) != 2 or not all(part.isdigit() for part in parts):
        raise ModelFormatError(
            f"blob '{proto.name}': expected the size of an index and whether it is frozen, found "
            f"{proto.content[:40]!r}"
        )
    keys = tensor_from_proto(proto.tensor).reshape(-1)
    index = Index(keys.dtype, int(parts[0]))
    index.load(keys.tolist())
    index.frozen = parts[1] != b"0"
    return index


register_blob(Index, [_TYPE_NAME], _pack, _unpack)


def _index(call: Call) -> Index:
    return held(call, 0, Index, _MAKER)


def _create(name: str, slot: str, type_: Any, key: str) -> None:
    def infer(query: Query) -> Sequence[TensorType]:
        most = query.args.max_elements
        if most is not None and not 1 <= most <= _MOST:
            raise ArgumentError(f"argument 'max_elements' must be from 1 to {_MOST}, found {most}")
        return [UNKNOWN]

    made = operator(
        name,
        f" -> {slot}",
        infer=infer,
        gradient=NoGradient("it makes an index"),
        max_elements=Arg(int, None, f"numbers are below it; default {_MOST}"),
        doc=f"""
        Makes an empty index of {key}: a dictionary that gives each new key the next number, from 1
        on. 0 is the number of keys that it does not know.
        """,
        example=f"""
        {slot} = an index without keys
        """,
    )

    @made.everywhere_dynamic()
    def make_index(call: Call) -> None:
        most = call.args.max_elements
        call.put(0, Index(np.dtype(type_), _MOST if most is None else most))


_create("IntIndexCreate", "handler", np.int32, "int32 numbers")
_create("LongIndexCreate", "handler", np.int64, "int64 numbers")
_create("StringIndexCreate", "handle", np.object_, "strings")


def _keys(call: Call, index: Index) -> Array:
    keys = tensor_of(call, 1)
    if keys.dtype != index.dtype:
        raise DTypeError(
            f"Wrong dictionary type given input keys: the index is one of {dtype_name(index.dtype)}"
            f", the keys are {dtype_name(keys.dtype)}"
        )
    return keys


get = operator(
    "IndexGet",
    "handle, keys -> indices",
    infer=lambda query: [TensorType(_INT64, query.inputs[1].shape)],
    gradient=_NONE,
    doc="""
    indices = the number of each key, int64, in the shape of keys. New keys get the next numbers, or
    0 if the index is frozen. Raises DTypeError for keys of another type, ValueRangeError when the
    index is full.
    """,
    example="""
    handle = the keys a, b; keys = ["b", "c"]
    indices = [2, 3]
    """,
)


@get.cpu_dynamic()
def look_up(call: Call) -> None:
    """Look the keys up."""
    index = _index(call)
    keys = _keys(call, index)
    call.outputs[0].reshape(-1)[:] = index.get(keys.reshape(-1).tolist())


load = operator(
    "IndexLoad",
    "handle, items -> handle",
    enforced={0: 0},
    gradient=_NONE,
    skip_first_entry=Arg(int, 0, "1: the first item is that of number 0, and no key"),
    doc="""
    The index holds the items instead of what it held, in place: number 1 is the first. Raises
    DTypeError for items of another type, ValueRangeError for too many, or one that is there twice.
    """,
    example="""
    items = ["a", "b"]
    handle = the keys a, b
    """,
)


@load.cpu_dynamic()
def load_keys(call: Call) -> None:
    """Take the keys in."""
    index = _index(call)
    keys = _keys(call, index)
    if keys.ndim != 1:
        raise ShapeError(f"input 1 'items' must be a vector, found {TensorType.of(keys)}")
    if call.args.skip_first_entry and not keys.size:
        raise ValueRangeError("there is no first entry to skip")
    index.load(keys[1 if call.args.skip_first_entry else 0 :].tolist())
    call.put(0, index)


store = operator(
    "IndexStore",
    "handle -> items",
    gradient=_NONE,
    doc="items = the keys in the order of their numbers, a vector.",
    example="""
    handle = the keys a, b
    items = ["a", "b"]
    """,
)


@store.cpu_dynamic()
def store_keys(call: Call) -> None:
    """Write them down."""
    keys = _index(call).keys()
    call.output(0, keys.shape, keys.dtype)[:] = keys


freeze = operator(
    "IndexFreeze",
    "handle -> handle",
    enforced={0: 0},
    gradient=_NONE,
    doc="Freezes the index, in place: it takes no new keys; they get the number 0.",
    example="""
    handle = an index
    handle = the index, frozen
    """,
)


@freeze.everywhere_dynamic()
def freeze_index(call: Call) -> None:
    """Freeze it."""
    index = _index(call)
    index.frozen = True
    call.put(0, index)


size = operator(
    "IndexSize",
    "handle -> items",
    infer=fixed(_INT64),
    gradient=_NONE,
    doc="items = the number that the next new key gets, an int64 scalar: 1 for an empty index.",
    example="""
    handle = the keys a, b
    items = 3
    """,
)


@size.cpu_dynamic()
def count(call: Call) -> None:
    """Count."""
    call.outputs[0][...] = len(_index(call)) + 1


# ---------------------------------------------------------------- the hash of numbers


def _infer_hash(query: Query) -> Sequence[TensorType]:
    require_dtype(query, 0, "int32", "int64")
    dtype, modulo = query.inputs[0].dtype, query.args.modulo
    if modulo < 1:
        raise ArgumentError(f"MODULO should be > 0: argument 'modulo' is {modulo}")
    if dtype is not None and modulo > np.iinfo(dtype).max:
        raise ArgumentError(f"argument 'modulo' must fit into {dtype}, found {modulo}")
    return [query.inputs[0]]


hash_ = operator(
    "IndexHash",
    "Indices -> HashedIndices",
    infer=_infer_hash,
    inplace={0: 0},
    gradient=_NONE,
    seed=Arg(int, 0, "gives other numbers"),
    modulo=Arg(int, 0, "the numbers are below it; at least 1"),
    doc="""
    HashedIndices = a number from 0 to modulo - 1 for each index, of its type (int32 or int64), from
    its bytes b, lowest first and with sign: h = seed * 0xDEADBEEF; h = 65537 h + b for each byte,
    with as many bits as the type has; then the remainder of h by modulo. Raises ArgumentError for a
    modulo below 1, or one that the type cannot hold.
    """,
    example="""
    Indices = [1, 2] (int32), modulo = 10
    HashedIndices = [9, 8]
    """,
)


@kernel()
def _hash(x: Any, start: int, modulo: int, bits: int, y: Any) -> int:
    one = x.dtype.type(1)
    for i in range(x.size):
        value = x[i]
        h = np.int64(start)
        for _ in range(bits // 8):
            byte = np.int64(value & x.dtype.type(255))
            h = h * np.int64(65537) + (byte - np.int64(256) if byte > 127 else byte)
            value = value >> x.dtype.type(8)
        if bits == 32:
            h = np.int64(np.int32(h & np.int64(0xFFFFFFFF)))
        rest = h - modulo * (h // modulo)
        y[i] = one * x.dtype.type(rest + modulo if rest < 0 else rest)
    return 0


@hash_.everywhere
def launch_hash(call: Call) -> Launch:
    """Hash every element."""
    x, y = call.inputs[0].reshape(-1), call.outputs[0].reshape(-1)
    start = (call.args.seed * 0xDEADBEEF + 2**63) % 2**64 - 2**63
    return _hash(x, start, call.args.modulo, 8 * x.dtype.itemsize, y)
