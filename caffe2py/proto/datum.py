"""Caffe 1's Datum: an image and its label in one message, as its databases have them."""

from __future__ import annotations

from typing import NamedTuple

from caffe2py.errors import ModelFormatError
from caffe2py.proto.wire import LENGTH, Field, WireError, fields

__all__ = ["Datum", "read_datum"]

_VARINT = 0
_CHANNELS, _HEIGHT, _WIDTH, _DATA, _LABEL, _ENCODED = 1, 2, 3, 4, 5, 7
_NUMBERS = (_CHANNELS, _HEIGHT, _WIDTH, _LABEL, _ENCODED)


class Datum(NamedTuple):
    """An image: a file's bytes if it is `encoded`, else bytes of (channels, height, width)."""

    channels: int
    height: int
    width: int
    data: bytes
    label: int
    encoded: bool


def read_datum(data: bytes) -> Datum:
    """What the bytes of a Datum say; ModelFormatError for other bytes."""
    numbers = dict.fromkeys(_NUMBERS, 0)
    content: bytes | None = None
    try:
        for field in fields(data):
            if field.number == _DATA and field.wire_type == LENGTH:
                content = data[field.value : field.end]
            elif field.number in numbers and field.wire_type == _VARINT:
                numbers[field.number] = _int32(data, field)
    except WireError as error:
        raise ModelFormatError(f"is no Caffe datum: wrong at {error}") from None
    if content is None:
        raise ModelFormatError("is no Caffe datum: it has no data")
    return Datum(
        numbers[_CHANNELS],
        numbers[_HEIGHT],
        numbers[_WIDTH],
        content,
        numbers[_LABEL],
        bool(numbers[_ENCODED]),
    )


def _int32(data: bytes, field: Field) -> int:
    value = 0
    for index, byte in enumerate(data[field.value : field.end]):
        value |= (byte & 0x7F) << (7 * index)
    value &= 0xFFFFFFFF
    return value - (1 << 32) if value >> 31 else value
