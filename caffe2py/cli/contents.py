"""What the records of a database are, in numbers."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from google.protobuf.message import DecodeError, Message

from caffe2py.adapters.image import decode_image, image_size
from caffe2py.errors import Error
from caffe2py.proto.caffe2_pb2 import BlobProto, TensorProto, TensorProtos
from caffe2py.tensor.types import shape_text

__all__ = ["Contents", "count_contents"]

#: Kinds, labels and examples that are counted by themselves.
_MOST = 1000

_LABEL_TYPES = {TensorProto.INT32: "int32_data", TensorProto.INT64: "int64_data"}


@dataclass
class Contents:
    """Counts over all records. Keys and examples are as bytes."""

    records: int = 0
    key_bytes: int = 0
    value_bytes: int = 0
    smallest: int | None = None
    largest: int | None = None
    first: bytes = b""
    last: bytes = b""
    in_order: bool = True
    kinds: Counter[str] = field(default_factory=Counter)
    labels: Counter[int] = field(default_factory=Counter)
    images: Counter[str] = field(default_factory=Counter)
    damaged: list[str] = field(default_factory=list)

    def add(self, key: bytes, value: bytes, *, decode: bool) -> None:
        """Count a record."""
        if not self.records:
            self.first = key
        self.in_order &= key >= self.last
        self.last = key
        self.records += 1
        self.key_bytes += len(key)
        self.value_bytes += len(value)
        self.smallest = min(len(value), self.smallest if self.smallest is not None else len(value))
        self.largest = max(len(value), self.largest or 0)
        self._add_kind(key, value, decode)

    def _add_kind(self, key: bytes, value: bytes, decode: bool) -> None:
        protos = _parsed(TensorProtos(), value)
        if protos is None or not protos.protos:
            _count(self.kinds, _blob_kind(value))
            return
        _count(self.kinds, ", ".join(_kind(proto) for proto in protos.protos))
        self._add_image(key, protos.protos[0], decode)
        if len(protos.protos) > 1:
            self._add_label(protos.protos[1])

    def _add_image(self, key: bytes, proto: TensorProto, decode: bool) -> None:
        if proto.data_type != TensorProto.STRING or len(proto.string_data) != 1:
            return
        name = key.decode(errors="backslashreplace")[:80]
        try:
            format_, height, width = image_size(proto.string_data[0])
            if decode:
                decode_image(proto.string_data[0], where="it")
        except Error as error:
            if len(self.damaged) < _MOST:
                self.damaged.append(f"record '{name}': {error}")
            return
        _count(self.images, f"{format_} {height} x {width}")

    def _add_label(self, proto: TensorProto) -> None:
        values: Any = getattr(proto, _LABEL_TYPES.get(proto.data_type, ""), ())
        if len(values) == 1:
            _count(self.labels, int(values[0]))


def count_contents(records: Iterable[tuple[bytes, bytes]], *, decode: bool) -> Contents:
    """Count records; with `decode` every image in them is decoded."""
    found = Contents()
    for key, value in records:
        found.add(key, value, decode=decode)
    return found


def _count(counter: Counter[Any], key: Any) -> None:
    if key in counter or len(counter) < _MOST:
        counter[key] += 1


def _parsed(message: Any, value: bytes) -> Any:
    try:
        message.ParseFromString(value)
    except DecodeError:
        return None
    return message if isinstance(message, Message) else None


def _blob_kind(value: bytes) -> str:
    blob = _parsed(BlobProto(), value)
    named = blob is not None and isinstance(blob.type, str) and blob.type.isprintable()
    return f"blob: {blob.type}" if named and blob.type else "other"


def _kind(proto: TensorProto) -> str:
    known = TensorProto.DataType.values()
    name = TensorProto.DataType.Name(proto.data_type) if proto.data_type in known else "another"
    return f"{name.lower()} {shape_text(tuple(proto.dims))}"
