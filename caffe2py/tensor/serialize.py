"""Tensors and blobs as messages: typed, raw, and cut into chunks; and back.

A chunk is a TensorProto with the whole shape and one run of the elements, which its `segment`
names. A blob is one BlobProto, or one for each chunk. Elements that are objects (whole records) are
serialized BlobProtos, in a tensor of the type UNDEFINED.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator
from contextvars import ContextVar
from typing import Any, NamedTuple

import numpy as np
from google.protobuf.message import DecodeError

from caffe2py.errors import BlobTypeError, Error, ModelFormatError, TrustError, UnsupportedError
from caffe2py.proto.caffe2_pb2 import PROTO_CPU, BlobProto, TensorProto, TensorProtos
from caffe2py.tensor.objects import Element, Mutex
from caffe2py.tensor.tensor import Array, as_tensor_array, empty
from caffe2py.tensor.types import (
    DTYPE_OF,
    STRING,
    DType,
    checked_numel,
    dtype_from_number,
    dtype_name,
    number_from_dtype,
    shape_text,
)

#: Elements in one chunk, unless told otherwise.
CHUNK_SIZE = 1_000_000

#: Objects whose elements hold objects; deeper ones are refused.
_MAX_DEPTH = 50
_depth: ContextVar[int] = ContextVar("depth of objects that are being read", default=0)

_TENSOR = "Tensor"
_TEXT = "std::string"

_FIELDS: dict[int, str] = {
    TensorProto.FLOAT: "float_data",
    TensorProto.DOUBLE: "double_data",
    TensorProto.INT64: "int64_data",
    TensorProto.STRING: "string_data",
    TensorProto.BYTE: "byte_data",
    TensorProto.UNDEFINED: "string_data",
}

#: Types whose values may also be bytes, as memory holds them.
_MAY_BE_BYTES = {
    TensorProto.BYTE,
    TensorProto.UINT8,
    TensorProto.INT8,
    TensorProto.FLOAT16,
}


def tensor_to_proto(value: Any, name: str | None = None) -> TensorProto:
    """An array (or what becomes one) as a TensorProto with the values in the field of its type.

    Raises DTypeError or ArgumentError for an array that no tensor can hold.
    """
    array = as_tensor_array(value)
    proto = _header(array, name)
    _put(proto, array.reshape(-1))
    return proto


def tensor_from_proto(proto: TensorProto) -> Array:
    """The array that a TensorProto holds: typed or raw, whole.

    Raises ModelFormatError where dimensions and values disagree, where values do not fit into the
    type, or where the message is one chunk of several; UnsupportedError for contents kept outside
    of the message; ShapeError and MemoryBudgetError for impossible dimensions.
    """
    try:
        dtype, shape = _dtype(proto), tuple(proto.dims)
        begin, end = _segment(proto, checked_numel(shape, dtype.itemsize))
        if (begin, end) != (0, math.prod(shape)):
            raise ModelFormatError(
                f"holds elements {begin} to {end} of shape {shape_text(shape)} only"
            )
        values = _values(proto, dtype, end - begin)
        array = empty(shape, dtype)
        array.reshape(-1)[...] = values
    except Error as error:
        raise error.with_where(_label(proto)) from None
    return array


def chunks(value: Any, name: str | None = None, size: int = CHUNK_SIZE) -> Iterator[TensorProto]:
    """An array as TensorProtos of at most `size` elements each, in order; at least one."""
    array = as_tensor_array(value)
    flat = array.reshape(-1)
    for begin in range(0, max(flat.size, 1), size):
        proto = _header(array, name)
        _put(proto, flat[begin : begin + size])
        proto.device_detail.device_type = PROTO_CPU
        proto.segment.begin = begin
        proto.segment.end = min(begin + size, flat.size)
        yield proto


def assemble(protos: Iterable[TensorProto]) -> Array:
    """The array whose chunks these are, in any order; a single whole tensor will do as well.

    Raises ModelFormatError where chunks belong to different tensors, overlap or are missing, and
    otherwise as tensor_from_proto.
    """
    array: Array | None = None
    label = "tensor"
    seen: list[tuple[int, int]] = []
    for proto in protos:
        label = _label(proto)
        array = put_chunk(array, proto)
        seen.append(_segment(proto, array.size))
    if array is None:
        raise ModelFormatError("no chunk of a tensor was given")
    position = 0
    for begin, end in sorted(seen):
        if begin != position:
            what = "overlap" if begin < position else "are missing"
            raise ModelFormatError(
                f"elements {min(begin, position)} to {max(begin, position)} {what}",
                where=label,
            )
        position = end
    if position != array.size:
        raise ModelFormatError(f"elements from {position} on are missing", where=label)
    return array


def put_chunk(array: Array | None, proto: TensorProto) -> Array:
    """Write one chunk into `array`, or into new zeros (empty strings) where it is None.

    Raises ModelFormatError if `array` has another type or shape, otherwise as tensor_from_proto.
    """
    try:
        dtype, shape = _dtype(proto), tuple(proto.dims)
        begin, end = _segment(proto, checked_numel(shape, dtype.itemsize))
        values = _values(proto, dtype, end - begin)
        if array is None:
            array = empty(shape, dtype)
            array[...] = b"" if dtype == STRING else 0
        if (array.dtype, array.shape) != (dtype, shape):
            raise ModelFormatError(
                f"is a chunk of {dtype_name(dtype)}{shape_text(shape)}, not of "
                f"{dtype_name(array.dtype)}{shape_text(array.shape)}"
            )
        array.reshape(-1)[begin:end] = values
    except Error as error:
        raise error.with_where(_label(proto)) from None
    return array


# ---------------------------------------------------------------- blobs


class _Kind(NamedTuple):
    pack: Callable[[Any, BlobProto], None]
    unpack: Callable[[BlobProto], Any]
    opens: bool = False


_by_class: dict[type, _Kind] = {}
_by_name: dict[str, _Kind] = {}


def register_blob(
    class_: type,
    names: Iterable[str],
    pack: Callable[[Any, BlobProto], None],
    unpack: Callable[[BlobProto], Any],
    *,
    opens: bool = False,
) -> None:
    """Let objects of a class be saved: `pack` fills type and content, `unpack` reads them again.

    `opens`: to read one opens a file that the message names.
    """
    kind = _Kind(pack, unpack, opens)
    _by_class[class_] = kind
    _by_name.update(dict.fromkeys(names, kind))


_MUTEX = "std::unique_ptr<std::mutex>"


def _name_mutex(value: Mutex, proto: BlobProto) -> None:
    """Nothing of a mutex needs to be saved."""
    proto.type, proto.content = _MUTEX, b""


register_blob(Mutex, [_MUTEX], _name_mutex, lambda proto: Mutex())


def tensors_from_content(proto: BlobProto) -> list[Array]:
    """The arrays of the TensorProtos in a blob's content; ModelFormatError if there are none."""
    protos = TensorProtos()
    try:
        protos.ParseFromString(proto.content)
    except DecodeError as error:
        raise ModelFormatError(
            f"blob '{proto.name}': its content is no TensorProtos: {error!s:.200}"
        ) from None
    return [tensor_from_proto(tensor) for tensor in protos.protos]


def blob_to_protos(name: str, value: Any, size: int | None = CHUNK_SIZE) -> Iterator[BlobProto]:
    """A blob's value, an array or bytes, as one BlobProto for each chunk; `size` None: one in all.

    Raises BlobTypeError for anything else.
    """
    if isinstance(value, bytes):
        yield BlobProto(name=name, type=_TEXT, content=value)
        return
    kind = _by_class.get(type(value))
    if kind is not None:
        made = BlobProto(name=name)
        kind.pack(value, made)
        yield made
        return
    if not isinstance(value, np.ndarray):
        raise BlobTypeError(
            f"blob '{name}' holds a {type(value).__name__}; only tensors and strings can be saved"
        )
    for proto in chunks(value, name, max(value.size, 1) if size is None else size):
        yield BlobProto(name=name, type=_TENSOR, tensor=proto)


def serialize_blob(name: str, value: Any) -> bytes:
    """A blob's value, an array or bytes, as one serialized BlobProto; BlobTypeError otherwise."""
    (proto,) = blob_to_protos(name, value, None)
    return proto.SerializeToString()


def parse_blob(data: bytes) -> BlobProto:
    """The BlobProto in these bytes; ModelFormatError if there is none."""
    proto = BlobProto()
    try:
        proto.ParseFromString(data)
    except DecodeError as error:
        raise ModelFormatError(f"Cannot parse content into a BlobProto: {error!s:.200}") from None
    return proto


def blob_from_proto(proto: BlobProto, before: Any = None, *, opens: bool = True) -> Any:
    """The value in a BlobProto: an array or bytes.

    Without `opens`, TrustError for an object that would open a file which the message names.

    A chunk goes into `before`, what the blob holds so far, if that has the type and shape of the
    whole, else into zeros. Raises ModelFormatError for other types of content, and as
    tensor_from_proto.
    """
    if proto.type == _TEXT:
        return proto.content
    if proto.type in _by_name:
        return _unpacked(proto, opens=opens)
    if proto.type != _TENSOR or not proto.HasField("tensor"):
        raise ModelFormatError(
            f"blob '{proto.name}' has the type '{proto.type}'; "
            f"known: {', '.join([f'{_TENSOR} (with a tensor)', _TEXT, *_by_name])}"
        )
    tensor = proto.tensor
    if not tensor.HasField("segment"):
        return tensor_from_proto(tensor)
    whole = (DTYPE_OF.get(tensor.data_type, STRING), tuple(tensor.dims))
    fits = isinstance(before, np.ndarray) and (before.dtype, before.shape) == whole
    return put_chunk(before if fits else None, tensor)


def _unpacked(proto: BlobProto, *, opens: bool) -> Any:
    """An object of a registered class, which may hold others."""
    kind, depth = _by_name[proto.type], _depth.get()
    if kind.opens and not opens:
        raise TrustError(
            f"blob '{proto.name}' is a {proto.type}, which would open a file that it names",
            hint="--trust files",
        )
    if depth >= _MAX_DEPTH:
        raise ModelFormatError(f"objects are nested more than {_MAX_DEPTH} deep")
    token = _depth.set(depth + 1)
    try:
        return kind.unpack(proto)
    finally:
        _depth.reset(token)


# ---------------------------------------------------------------- parts of a TensorProto


def _label(proto: TensorProto) -> str:
    return f"tensor '{proto.name}'" if proto.name else "tensor"


def _dtype(proto: TensorProto) -> DType:
    if proto.data_type == TensorProto.UNDEFINED:
        return STRING
    return dtype_from_number(proto.data_type)


def _header(array: Array, name: str | None) -> TensorProto:
    number = number_from_dtype(array.dtype)
    if array.dtype == STRING and array.size and isinstance(array.flat[0], Element):
        number = TensorProto.UNDEFINED
    return TensorProto(dims=array.shape, data_type=number, name=name)  # type: ignore[arg-type]


def _segment(proto: TensorProto, count: int) -> tuple[int, int]:
    """The run of elements that the message holds."""
    if not proto.HasField("segment"):
        return 0, count
    begin, end = proto.segment.begin, proto.segment.end
    if not 0 <= begin <= end <= count:
        raise ModelFormatError(f"its segment {begin} to {end} lies outside of {count} elements")
    return begin, end


def _put(proto: TensorProto, flat: Array) -> None:
    """Write values into the field of their type."""
    if flat.dtype.kind == "f" and flat.dtype != np.float16:
        _put_packed(proto, flat)
    elif proto.data_type == TensorProto.UNDEFINED:
        proto.string_data.extend(serialize_blob("", element) for element in flat)
    elif flat.dtype == STRING:
        try:
            proto.string_data.extend(flat.tolist())
        except TypeError:
            raise BlobTypeError("a tensor of other things than strings cannot be saved") from None
    elif flat.dtype == np.int64:
        proto.int64_data.extend(flat.tolist())
    else:
        plain = flat.view(np.uint16) if flat.dtype == np.float16 else flat.astype(np.int32)
        proto.int32_data.extend(plain.tolist())


def _put_packed(proto: TensorProto, flat: Array) -> None:
    """Write floats by way of their bytes, which spares a Python object for each."""
    if not flat.size:
        return
    name = _FIELDS[number_from_dtype(flat.dtype)]
    number = TensorProto.DESCRIPTOR.fields_by_name[name].number
    data = flat.astype(flat.dtype.newbyteorder("<")).tobytes()
    proto.MergeFromString(bytes([number << 3 | 2]) + _varint(len(data)) + data)


def _varint(value: int) -> bytes:
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)


def _values(proto: TensorProto, dtype: DType, count: int) -> Array:
    """The `count` values of the message, flat."""
    storage, number = proto.storage_type, proto.data_type
    if storage in (TensorProto.EXTERNAL, TensorProto.NO_CONTENT):
        kind = TensorProto.StorageType.Name(storage)
        raise UnsupportedError(f"its contents are not in the message (storage_type {kind})")
    field = _FIELDS.get(number, "int32_data")
    if storage == TensorProto.RAW or (proto.raw_data and not getattr(proto, field)):
        return _from_bytes(proto.raw_data, "raw_data", dtype, count)
    if number in _MAY_BE_BYTES and (field == "byte_data" or proto.byte_data):
        return _from_bytes(proto.byte_data, "byte_data", dtype, count)
    values = getattr(proto, field)
    _require_count(field, len(values), count)
    if dtype == STRING:
        out = empty((count,), STRING)
        for k, element in enumerate(values):
            out[k] = _object_from(element) if number == TensorProto.UNDEFINED else element
        return out
    if field != "int32_data":
        return np.fromiter(values, dtype, count)
    return _from_int32(np.fromiter(values, np.int32, count), dtype)


def _object_from(data: bytes) -> Any:
    proto = parse_blob(data)
    if proto.type not in _by_name:
        raise ModelFormatError(f"an element has the type '{proto.type}'; known: {[*_by_name]}")
    return _unpacked(proto, opens=False)  # a file for each element is nothing that anybody saves


def _from_int32(values: Array, dtype: DType) -> Array:
    """Small integers, bools, and the bits of float16, as they lie in int32_data."""
    if dtype == np.bool_:
        return np.not_equal(values, 0)
    if dtype == np.float16:
        _require_range(values, -(2**15), 2**16 - 1, dtype)
        return values.astype(np.uint16).view(np.float16)
    limits = np.iinfo(dtype)
    _require_range(values, limits.min, limits.max, dtype)
    return values.astype(dtype)


def _require_range(values: Array, low: int, high: int, dtype: DType) -> None:
    if values.size and (values.min() < low or values.max() > high):
        bad = values[(values < low) | (values > high)][0]
        raise ModelFormatError(f"int32_data holds {bad}, which is no {dtype_name(dtype)}")


def _from_bytes(data: bytes, field: str, dtype: DType, count: int) -> Array:
    if dtype == STRING:
        raise ModelFormatError(f"{field} cannot hold strings")
    _require_count(field, len(data), count * dtype.itemsize, "byte(s)")
    if dtype == np.bool_:
        return np.not_equal(np.frombuffer(data, np.uint8), 0)
    return np.frombuffer(data, dtype.newbyteorder("<")).astype(dtype)


def _require_count(field: str, found: int, expected: int, unit: str = "value(s)") -> None:
    if found != expected:
        raise ModelFormatError(
            f"Incorrect proto field size: {field} holds {found} {unit}, its dims need {expected}"
        )
