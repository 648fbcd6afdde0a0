"""Inputs that are no tensors: what an operator makes and others take by the name of its blob."""

from __future__ import annotations

from typing import TypeVar

from caffe2py.errors import BlobTypeError
from caffe2py.registry.context import Call
from caffe2py.tensor.tensor import Array, Tensor

T = TypeVar("T")


def held(call: Call, index: int, type_: type[T], maker: str) -> T:
    """The object in an input blob; BlobTypeError unless it is what the operator `maker` makes."""
    value = call.value(index)
    if not isinstance(value, type_):
        raise BlobTypeError(
            f"input {index} '{call.input_blob(index)}': expected what {maker} makes, found "
            f"{kind_of(value)}"
        )
    return value


def tensor_or_none(call: Call, index: int) -> Array | None:
    """The array of an input that may hold nothing yet; BlobTypeError for another object.

    Unlike `Call.inputs` it does not forbid that the input grows in place.
    """
    blob = call.scope.find(call.input_blob(index))
    value = None if blob is None else blob.value
    if value is None:
        return None
    if not isinstance(value, Tensor):
        raise BlobTypeError(
            f"input {index} '{call.input_blob(index)}': expected a tensor, found {kind_of(value)}"
        )
    return value.array


def tensor_of(call: Call, index: int) -> Array:
    """The array of an input, which may grow in place; errors as `Call.inputs`."""
    array = tensor_or_none(call, index)
    return call.inputs[index] if array is None else array


def kind_of(value: object) -> str:
    """What a blob's value is called in messages."""
    return {"Tensor": "a tensor", "bytes": "a string", "NoneType": "nothing"}.get(
        type(value).__name__, f"a {type(value).__name__}"
    )
