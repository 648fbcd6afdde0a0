"""Messages of which one does not know in which form, or even of what type, they are."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TypeVar

from google.protobuf import text_format
from google.protobuf.message import DecodeError, Message

M = TypeVar("M", bound=Message)


def TryReadProtoWithClass(cls: type[M], s: str | bytes) -> M:
    """The message of type `cls` in text or binary form; DecodeError if it is neither."""
    message = cls()
    try:
        text_format.Parse(s, message)
    except (text_format.ParseError, UnicodeDecodeError):
        message = cls()
        message.ParseFromString(s.encode() if isinstance(s, str) else s)
    return message


def GetContentFromProto(obj: Message, function_map: Mapping[type, Callable[..., Any]]) -> Any:
    """What the function for the type of the message gives; None if there is none."""
    function = function_map.get(type(obj))
    return None if function is None else function(obj)


def GetContentFromProtoString(
    s: str | bytes, function_map: Mapping[type[Any], Callable[..., Any]]
) -> Any:
    """What the function for the first type that can be read gives; DecodeError if none can."""
    for cls, function in function_map.items():
        try:
            return function(TryReadProtoWithClass(cls, s))
        except DecodeError:
            continue
    raise DecodeError("Cannot find a fit protobuffer class.")


def ConvertProtoToBinary(proto_class: type[Message], filename: str, out_filename: str) -> None:
    """Write the message in a text or binary file to another file, in binary form."""
    message = TryReadProtoWithClass(proto_class, Path(filename).read_bytes())
    Path(out_filename).write_bytes(message.SerializeToString())


def OpAlmostEqual(op_a: Message, op_b: Message, ignore_fields: Any = None) -> bool:
    """Whether two messages are equal, apart from some fields, given by name."""
    names = [ignore_fields] if isinstance(ignore_fields, str) else ignore_fields or []
    copies = []
    for op in (op_a, op_b):
        copy = type(op)()
        copy.CopyFrom(op)
        for name in names:
            copy.ClearField(name)
        copies.append(copy)
    return copies[0] == copies[1]
