"""Protobuf's wire format, walked by hand: to say where a damaged file goes wrong.

Protobuf's own reader says only that it failed. The walks here are loops with a bounded number of
steps, so that a hostile file costs neither stack nor time.
"""

from collections.abc import Iterator
from typing import Any, NamedTuple, Protocol

__all__ = ["FIXED32", "LENGTH", "Bytes", "Field", "WireError", "depth", "fields", "has_wire_type"]

# Wire types.
_VARINT, _FIXED64, LENGTH, _GROUP, _END_GROUP, FIXED32 = range(6)

_LONGEST_VARINT = 10  # bytes
_MAX_STEPS = 500_000  # fields looked at in one call; about half a second


class Bytes(Protocol):
    """What is walked over: bytes, or something that reads them from a file when they are needed."""

    def __len__(self) -> int:
        """How many there are."""

    def __getitem__(self, position: int, /) -> int:
        """One of them."""


class Field(NamedTuple):
    """A field as it lies in the bytes: its tag starts at ``start``, its value at ``value``."""

    number: int
    wire_type: int
    start: int
    value: int
    end: int


class WireError(Exception):
    """Bytes that are no protobuf field; it never leaves this package.

    ``start`` is where the field begins. ``missing`` is how many bytes it would need beyond the
    end, or 0 where the bytes themselves are wrong. ``number`` and ``wire_type`` are None unless
    the tag could be read.
    """

    def __init__(
        self, start: int, missing: int = 0, number: int | None = None, wire_type: int | None = None
    ) -> None:
        super().__init__(f"byte {start}")
        self.start = start
        self.missing = missing
        self.number = number
        self.wire_type = wire_type


def fields(data: Bytes, start: int = 0, end: int | None = None) -> Iterator[Field]:
    """The fields between two positions; those inside of a nested message are not visited.

    The marks of an old-style group are two fields of no length. Raises WireError at the first
    thing that is no field, and stops silently after half a million fields.
    """
    end = len(data) if end is None else end
    position = start
    for _ in range(_MAX_STEPS):
        if position >= end:
            return
        field = _field(data, position, end)
        yield field
        position = field.end


def depth(data: bytes, descriptor: Any, limit: int) -> int:
    """How deep messages nest in the bytes of a message; ``limit + 1`` stands for anything deeper.

    ``descriptor`` is that of the outermost message. Damaged parts and unknown fields count for
    nothing.
    """
    deepest = steps = 0
    todo = [(0, len(data), descriptor, 0)]
    while todo and deepest <= limit and steps < _MAX_STEPS:
        start, end, message, level = todo.pop()
        deepest = max(deepest, level)
        try:
            for field in fields(data, start, end):
                steps += 1
                known = message.fields_by_number.get(field.number)
                inner = known.message_type if known is not None else None
                if inner is not None and field.wire_type == LENGTH:
                    todo.append((field.value, field.end, inner, level + 1))
        except WireError:
            continue
    return deepest


def has_wire_type(descriptor: Any, number: int, wire_type: int) -> bool:
    """Whether a message has a field of that number which may be written in that way."""
    field = descriptor.fields_by_number.get(number)
    if field is None:
        return False
    if field.is_repeated and wire_type == LENGTH:
        return True  # packed, or an item of variable length
    kinds = {
        field.TYPE_DOUBLE: _FIXED64,
        field.TYPE_FLOAT: FIXED32,
        field.TYPE_STRING: LENGTH,
        field.TYPE_BYTES: LENGTH,
        field.TYPE_MESSAGE: LENGTH,
    }
    return bool(kinds.get(field.type, _VARINT) == wire_type)


def _field(data: Bytes, start: int, end: int) -> Field:
    tag, value = _varint(data, start, end, start)
    number, wire_type = tag >> 3, tag & 7
    if number == 0 or number >= 1 << 29 or wire_type > FIXED32:
        raise WireError(start)
    if wire_type == _VARINT:
        _, stop = _varint(data, value, end, start, number, wire_type)
    elif wire_type == LENGTH:
        length, value = _varint(data, value, end, start, number, wire_type)
        stop = value + length
    else:
        stop = value + {_FIXED64: 8, FIXED32: 4}.get(wire_type, 0)
    if stop > end:
        raise WireError(start, stop - end, number, wire_type)
    return Field(number, wire_type, start, value, stop)


def _varint(
    data: Bytes,
    position: int,
    end: int,
    start: int,
    number: int | None = None,
    wire_type: int | None = None,
) -> tuple[int, int]:
    """An integer of variable length, and the position after it."""
    value = 0
    for index in range(_LONGEST_VARINT):
        if position + index >= end:
            raise WireError(start, 1, number, wire_type)
        byte = data[position + index]
        value |= (byte & 0x7F) << (7 * index)
        if byte < 0x80:
            return value, position + index + 1
    raise WireError(start, 0, number, wire_type)
