"""Why bytes are not a NetDef, for those that protobuf's reader refuses."""

from typing import Any

from google.protobuf.message import DecodeError
from google.protobuf.message_factory import GetMessageClass

from caffe2py.errors import ModelFormatError
from caffe2py.proto import wire
from caffe2py.proto.analysis import MAX_MESSAGE_DEPTH
from caffe2py.proto.caffe2_pb2 import NetDef

__all__ = ["damage"]

_NET = NetDef.DESCRIPTOR
_FETCH_AGAIN = "download or copy it again"


def damage(data: bytes) -> ModelFormatError:
    """The error that says best why these bytes cannot be read as a NetDef, and from which byte."""
    if wire.depth(data, _NET, MAX_MESSAGE_DEPTH) > MAX_MESSAGE_DEPTH:
        return ModelFormatError(
            f"expected a NetDef, found messages nested more than {MAX_MESSAGE_DEPTH} deep"
        )
    seen: list[wire.Field] = []
    try:
        seen.extend(wire.fields(data))  # keeps those before the error
    except wire.WireError as error:
        return _stopped(len(data), seen, error)
    return _damaged_field(data, seen)


def _stopped(size: int, seen: list[wire.Field], error: wire.WireError) -> ModelFormatError:
    """The outermost message breaks off; everything before it was a field of some kind."""
    number, wire_type = error.number, error.wire_type
    is_net = all(_belongs(field.number, field.wire_type) for field in seen)
    if number is not None and wire_type is not None:
        is_net = is_net and _belongs(number, wire_type)
    if not error.missing or not is_net:
        return ModelFormatError(
            f"expected a NetDef, found {size} bytes that are no protobuf message"
            f" from byte {error.start} on",
            hint="check that this is the right file",
        )
    name = f"field '{_NET.fields_by_number[number].name}'" if number is not None else "a field"
    return ModelFormatError(
        f"expected a NetDef, found a truncated one: it ends after {size} bytes,"
        f" and {name} at byte {error.start} needs at least {error.missing} more",
        hint=_FETCH_AGAIN,
    )


def _damaged_field(data: bytes, seen: list[wire.Field]) -> ModelFormatError:
    """The outermost message is whole, so the fault lies inside one of its fields."""
    for field in seen:
        known: Any = _NET.fields_by_number.get(field.number)
        if known is None or known.message_type is None:
            continue
        try:
            GetMessageClass(known.message_type).FromString(data[field.value : field.end])
        except DecodeError:
            return ModelFormatError(
                f"expected a NetDef, found a damaged one: field '{known.name}' in bytes"
                f" {field.start} to {field.end} of {len(data)} cannot be read",
                hint=_FETCH_AGAIN,
            )
    return ModelFormatError(f"expected a NetDef, found {len(data)} bytes that are none")


def _belongs(number: int, wire_type: int) -> bool:
    return wire.has_wire_type(_NET, number, wire_type)
