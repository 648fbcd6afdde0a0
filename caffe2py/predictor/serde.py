"""Caffe2's predictor.serde module: messages to bytes and back."""

from __future__ import annotations

from typing import TypeVar

from google.protobuf.message import DecodeError, EncodeError, Message

from caffe2py.errors import ModelFormatError

__all__ = ["deserialize_protobuf_struct", "serialize_protobuf_struct"]

M = TypeVar("M", bound=Message)


def serialize_protobuf_struct(protobuf_struct: Message) -> bytes:
    """The bytes of a message; ModelFormatError where a required field is missing."""
    try:
        data: bytes = protobuf_struct.SerializeToString()
    except EncodeError as error:
        raise ModelFormatError(f"cannot be written: {error}") from None
    return data


def deserialize_protobuf_struct(serialized_protobuf: bytes, struct_type: type[M]) -> M:
    """The message of a type that these bytes hold; ModelFormatError if they hold none."""
    message = struct_type()
    try:
        message.ParseFromString(serialized_protobuf)
    except DecodeError as error:
        name = struct_type.DESCRIPTOR.name
        raise ModelFormatError(f"is no {name}, or a damaged one: {error}") from None
    return message
