"""Values that are in the net itself: how weights are stored."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from caffe2py.errors import ArgumentError, ShapeError
from caffe2py.kernels.copy import launch_copy
from caffe2py.ops.fill.common import (
    FLOAT,
    Dims,
    Rule,
    as_whole,
    declare_fill,
    dtype_of,
    filled_shape,
)
from caffe2py.proto import args as proto_args
from caffe2py.proto.caffe2_pb2 import Argument
from caffe2py.registry.context import Call, Launch
from caffe2py.registry.infer import Query, product
from caffe2py.registry.schema import Arg, Args
from caffe2py.tensor.tensor import Array
from caffe2py.tensor.types import STRING, DType, TensorType, shape_text

#: The lists of an Argument that hold values of a kind of type, the usual one first.
_LISTS = {
    "f": ("floats", "ints"),
    "i": ("ints",),
    "u": ("ints",),
    "b": ("ints",),
    "O": ("strings",),
}


def _list_of(values: Argument, dtype: DType) -> str:
    """The list that holds the values; ArgumentError if they are of another kind."""
    lists = _LISTS[dtype.kind]
    for name in lists:
        if len(getattr(values, name)):
            return name
    proto_args.typed(values, lists[0])  # refuses anything else that it holds
    return lists[0]


def _parsed(values: Argument, dtype: DType) -> Array:
    """The values of an argument as an array of this type; there may be many millions."""
    name = _list_of(values, dtype)
    if name == "strings":
        return np.array([*values.strings, None], object)[:-1]  # not an array of bytes
    if name == "floats":
        return parse_floats(values).astype(dtype, copy=False)
    whole = np.fromiter(values.ints, np.int64, len(values.ints))
    return whole.astype(dtype) if dtype.kind == "f" else as_whole(whole, dtype, "values")


def parse_floats(values: Argument) -> Array:
    """The floats of an argument, from its serialised form: 50 times faster than by a list.

    There they are records of a tag and four little-endian bytes, one after another.
    """
    count = len(values.floats)
    tag = Argument.DESCRIPTOR.fields_by_name["floats"].number << 3 | 5
    before = Argument()
    for field, value in values.ListFields():
        if field.number < tag >> 3:
            setattr(before, field.name, value)
    data = values.SerializeToString()
    at = before.ByteSize()
    if count and len(data) >= at + 5 * count:
        tags = np.frombuffer(data, np.uint8, 5 * count, at)[::5]
        if tags.min() == tags.max() == tag:
            return np.ndarray((count,), "<f4", data, at + 1, (5,)).astype(FLOAT)
    return np.fromiter(values.floats, np.float32, count)


def _given(args: Args, dtype: DType) -> Array:
    """The parsed values, kept with the arguments, since they are read again for every plan."""
    kept: Array | None = getattr(args, "parsed", None)
    if kept is None:
        apart = args.apart.get("values")
        made = _parsed(args.values, dtype) if apart is None else _converted(apart, dtype)
        kept = args.parsed = made
    return kept


def _converted(floats: Array, dtype: DType) -> Array:
    """Floats as another type; ArgumentError for one that takes integers."""
    if dtype.kind != "f":
        raise ArgumentError(
            f"argument 'values': expected a list of {_LISTS[dtype.kind][0]}, found a list of floats"
            f" (length {floats.size})"
        )
    return floats.astype(dtype, copy=False)


def _count(args: Args, dtype: DType) -> int:
    if "values" in args.apart:
        return _given(args, dtype).size
    return len(getattr(args.values, _list_of(args.values, dtype)))


def _infer_given(chosen: Callable[[Args], DType]) -> Rule:
    def rule(query: Query) -> Sequence[TensorType]:
        dtype = chosen(query.args)
        shape = filled_shape(query)
        _require_count(_count(query.args, dtype), shape, "value(s)")
        return [TensorType(dtype, shape)]

    return rule


def _require_count(count: int, shape: Dims | None, what: str) -> None:
    wanted = None if shape is None else product(shape)
    if wanted not in (count, None):
        raise ShapeError(
            f"argument 'values' has {count} {what}, shape {shape_text(shape)} takes {wanted}"
        )


def fill_given(call: Call) -> Launch | None:
    """Copy the values, which are parsed once; an array of its own becomes the output."""
    y = call.outputs[0]
    values = _given(call.args, y.dtype)
    if "values" in call.args.apart and isinstance(y, np.ndarray):
        call.adopt(0, values.reshape(y.shape))
        return None
    return launch_copy(values, y)


_IGNORED_DTYPE = {"dtype": Arg((int, str), None, "not read: the type is in the operator's name")}


def _given_tensor_fill(name: str, dtype: str, values: Any, kind: str, example: str) -> None:
    fixed = STRING if dtype == "string" else np.dtype(dtype)
    chooses = name == "GivenTensorFill"
    declare_fill(
        name,
        "input? -> output",
        _infer_given(
            (lambda args: FLOAT if args.dtype is None else dtype_of(args.dtype))
            if chooses
            else (lambda args: fixed)
        ),
        fill_given,
        arguments={
            "values": Arg(
                Argument, None, f"the elements, a list of {values}", required=True, apart=True
            ),
            **(
                {"dtype": Arg((int, str), None, "the type, float32 by default")}
                if chooses
                else _IGNORED_DTYPE
            ),
        },
        doc=f"""
        output = values, in the order of the elements, {kind}. ShapeError if their number is not
        that of the shape's elements; ArgumentError for values of another kind or out of range.
        """,
        example=example,
        by_host="strings are the host's" if dtype == "string" else "",
    )


_given_tensor_fill(
    "GivenTensorFill",
    "float32",
    "floats (or of what `dtype` takes)",
    "of type `dtype`",
    """
    values = [1.5, 2, 3, 4]; shape = [2, 2]
    output = [[1.5, 2], [3, 4]]
    """,
)
for _name, _dtype_name, _values, _example in (
    ("GivenTensorDoubleFill", "float64", "floats", "[1.5, 2]"),
    ("GivenTensorIntFill", "int32", "ints", "[1, 2]"),
    ("GivenTensorInt64Fill", "int64", "ints", "[1, 2]"),
    ("GivenTensorInt16Fill", "int16", "ints", "[1, 2]"),
    ("GivenTensorBoolFill", "bool", "ints or bools", "[True, False]"),
    ("GivenTensorStringFill", "string", "strings", '["a", "bc"]'),
):
    _given_tensor_fill(
        _name,
        _dtype_name,
        _values,
        f"of type {_dtype_name}",
        f"values = {_example}; shape = [2]\noutput = {_example}",
    )


def _byte_string(args: Args) -> bytes:
    values: Argument = args.values
    _list_of(values, STRING)
    return b"".join(values.strings)


def _infer_bytes(query: Query) -> Sequence[TensorType]:
    shape = filled_shape(query)
    _require_count(len(_byte_string(query.args)), shape, "byte(s)")
    return [TensorType(np.dtype(np.uint8), shape)]


def fill_bytes(call: Call) -> Launch:
    """Copy the bytes."""
    return launch_copy(np.frombuffer(_byte_string(call.args), np.uint8), call.outputs[0])


declare_fill(
    "GivenTensorByteStringToUInt8Fill",
    "input? -> output",
    _infer_bytes,
    fill_bytes,
    arguments={
        "values": Arg(Argument, None, "byte strings, joined to one", required=True),
        **_IGNORED_DTYPE,
    },
    doc="""
    output = the bytes of `values`, uint8. ShapeError if their number is not that of the shape's
    elements.
    """,
    example="""
    values = ["AB"]; shape = [2]
    output = [65, 66]
    """,
)
