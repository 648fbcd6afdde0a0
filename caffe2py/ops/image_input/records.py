"""What a record of a database of images holds: the image, its label, and what else there is."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from google.protobuf.message import DecodeError

from caffe2py.errors import ModelFormatError, ValueRangeError
from caffe2py.proto.caffe2_pb2 import TensorProto, TensorProtos
from caffe2py.proto.datum import read_datum
from caffe2py.registry.schema import Args
from caffe2py.tensor.tensor import Array, empty
from caffe2py.tensor.types import DType, dtype_name, shape_text

#: Kinds of labels, by their numbers in Caffe2.
SINGLE, SPARSE, DENSE, WEIGHTED_SPARSE, SINGLE_WEIGHTED, EMBEDDING = range(6)

_INT32 = np.dtype(np.int32)
_FLOAT = np.dtype(np.float32)

#: Type of a tensor -> the field with its values, and their type.
_FIELDS: dict[int, tuple[str, Any]] = {
    TensorProto.FLOAT: ("float_data", np.float32),
    TensorProto.INT32: ("int32_data", np.int32),
    TensorProto.INT64: ("int64_data", np.int64),
    TensorProto.UINT8: ("int32_data", np.uint8),
}
_LABELS = (TensorProto.INT32, TensorProto.FLOAT)


@dataclass(frozen=True)
class Box:
    """A part of an image, in pixels."""

    top: int
    left: int
    height: int
    width: int

    def fits(self, height: int, width: int) -> bool:
        """Whether it lies in an image of this size."""
        return self.top + self.height <= height and self.left + self.width <= width


@dataclass(frozen=True)
class Record:
    """One record. The image is a file's bytes, or pixels: uint8 (height, width, 3 or 1)."""

    image: bytes | Array
    label: Array
    extras: Sequence[Array] = ()
    box: Box | None = None


def read_record(value: bytes, args: Args, extras: int) -> Record:
    """The record that these bytes are, with so many tensors after image and label.

    Raises ModelFormatError for anything else, ValueRangeError for labels that there are not.
    """
    return _from_datum(value) if args.use_caffe_datum else _from_tensors(value, args, extras)


def _from_datum(value: bytes) -> Record:
    datum = read_datum(value)
    label = np.array([datum.label], _INT32)
    if datum.encoded:
        return Record(datum.data, label)
    shape = datum.channels, datum.height, datum.width
    planes = _pixels(datum.data, shape, shape[0])
    return Record(np.ascontiguousarray(np.moveaxis(planes, 0, 2)), label)


def _pixels(data: bytes, shape: tuple[int, ...], channels: int) -> Array:
    """Bytes as pixels, where their number is as the record says."""
    if channels not in (1, 3) or min(shape) < 1:
        raise ModelFormatError(f"an image of shape {shape_text(shape)} has no 1 or 3 channels")
    count = 1
    for size in shape:
        count *= size
    if len(data) != count:
        raise ModelFormatError(
            f"an image of shape {shape_text(shape)} takes {count} bytes, found {len(data)}"
        )
    return np.frombuffer(data, np.uint8).reshape(shape)


def _from_tensors(value: bytes, args: Args, extras: int) -> Record:
    message = TensorProtos()
    try:
        message.ParseFromString(value)
    except DecodeError as error:
        raise ModelFormatError(f"is no TensorProtos: {error!s:.200}") from None
    weighted = args.label_type in (WEIGHTED_SPARSE, SINGLE_WEIGHTED)
    protos = list(message.protos)
    begin = 3 if weighted else 2
    end = begin + extras
    if len(protos) < end:
        raise ModelFormatError(
            f"holds {len(protos)} tensor(s), expected {end} or, with a box, more"
        )
    weights = _numbers(protos[2], (TensorProto.FLOAT,), "weights") if weighted else None
    return Record(
        _image(protos[0]),
        _label(protos[1], args, weights),
        [_numbers(proto, tuple(_FIELDS), "an output") for proto in protos[begin:end]],
        _box(protos[end]) if len(protos) == end + 1 else None,
    )


def _image(proto: TensorProto) -> bytes | Array:
    if proto.data_type == TensorProto.STRING:
        if len(proto.string_data) != 1:
            raise ModelFormatError(f"expected one image, found {len(proto.string_data)}")
        return bytes(proto.string_data[0])
    if proto.data_type == TensorProto.BYTE:
        dims = tuple(proto.dims)
        if len(dims) not in (2, 3):
            raise ModelFormatError(f"an image of shape {shape_text(dims)} is none")
        shape = dims if len(dims) == 3 else (*dims, 1)
        return _pixels(proto.byte_data, shape, shape[2])
    raise ModelFormatError(f"an image is STRING or BYTE, found {_type_name(proto)}")


def _label(proto: TensorProto, args: Args, weights: Array | None) -> Array:
    """The label as a row of the output."""
    found = _numbers(proto, _LABELS, "a label")
    if args.label_type in (SINGLE, SINGLE_WEIGHTED):
        if found.size != 1:
            raise ModelFormatError(f"expected one label, found {found.size}")
        return found
    count = args.num_labels
    if args.label_type in (DENSE, EMBEDDING):
        if found.size != count:
            raise ModelFormatError(f"expected {count} numbers as a label, found {found.size}")
        return found
    if args.label_type == SPARSE or weights is None:
        row = _zeros(count, found.dtype)
        row[_places(found, count)] = 1
        return row
    if weights.size < found.size:
        raise ModelFormatError(f"{found.size} labels have {weights.size} weight(s)")
    row = _zeros(count, _FLOAT)
    row[_places(found, count)] = weights[: found.size]
    return row


def _zeros(count: int, dtype: DType) -> Array:
    """So many zeros; MemoryBudgetError where there is no room for them."""
    row = empty((count,), dtype)
    row[...] = 0
    return row


def _places(labels: Array, count: int) -> Array:
    outside = labels[~((labels > -1) & (labels < count))]  # NaN is outside too
    if outside.size:
        raise ValueRangeError(f"there is no label {outside[0]}: there are {count}, from 0 on")
    return labels.astype(np.int64)


def _numbers(proto: TensorProto, types: tuple[int, ...], what: str) -> Array:
    """The values, whatever shape the message says: many programs leave it out."""
    if proto.data_type not in types:
        names = ", ".join(TensorProto.DataType.Name(t) for t in types)
        raise ModelFormatError(f"{what} is of type {names}, found {_type_name(proto)}")
    field, dtype = _FIELDS[proto.data_type]
    values = np.array(list(getattr(proto, field)), np.int64 if dtype is np.uint8 else dtype)
    if dtype is np.uint8 and values.size and not 0 <= values.min() <= values.max() <= 255:
        raise ModelFormatError(f"{what} has values that no {dtype_name(np.dtype(dtype))} has")
    return values.astype(dtype)


def _box(proto: TensorProto) -> Box:
    found = _numbers(proto, (TensorProto.INT32,), "a box")
    if found.size != 4 or min(found[:2]) < 0 or min(found[2:]) < 1:
        raise ModelFormatError(
            f"a box is top, left, height and width, found {found.tolist()!s:.60}"
        )
    return Box(*found.tolist())


def _type_name(proto: TensorProto) -> str:
    known = TensorProto.DataType.values()
    return TensorProto.DataType.Name(proto.data_type) if proto.data_type in known else "another"
