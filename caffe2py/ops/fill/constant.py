"""One value everywhere."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from caffe2py.errors import ArgumentError, ShapeError
from caffe2py.kernels.copy import launch_copy, launch_fill
from caffe2py.ops.fill.common import FLOAT, INT64, as_whole, declare_fill, dtype_of, filled_shape
from caffe2py.proto import args as proto_args
from caffe2py.proto.caffe2_pb2 import Argument
from caffe2py.registry.context import Call, Launch
from caffe2py.registry.infer import Query, product, require_dtype
from caffe2py.registry.schema import Arg, Args
from caffe2py.tensor.tensor import Array, as_tensor_array, device_of
from caffe2py.tensor.types import STRING, TensorType, shape_text


def constant_value(args: Args) -> Array:
    """The value, as an array of one element of the output's type."""
    value: Argument | None = args.value if "value" in args.given else None
    if args.dtype is not None:
        dtype = dtype_of(args.dtype)
    elif value is None or value.HasField("f"):
        dtype = FLOAT
    elif value.HasField("i"):
        dtype = INT64
    else:
        raise ArgumentError("argument 'value' must be a float, an int or a bool without 'dtype'")
    if dtype == STRING:
        if value is None or value.HasField("s"):
            return as_tensor_array(np.array([b"" if value is None else value.s], object))
        raise ArgumentError(f"argument 'value' must be a string for dtype string, found {value}")
    if dtype.kind == "f":
        return np.array([0 if value is None else proto_args.typed(value, "float")], dtype)
    whole = np.array([0 if value is None else proto_args.typed(value, "int")], np.int64)
    return as_whole(whole, dtype, "value")


def _infer_constant(query: Query) -> Sequence[TensorType]:
    dtype = constant_value(query.args).dtype
    if len(query.inputs) == 2:
        require_dtype(query, 1, dtype)
        count = None if query.inputs[1].shape is None else product(query.inputs[1].shape)
        if count not in (1, None):
            raise ShapeError(
                f"input 1 '{query.name(1)}' must have one element, found "
                f"{shape_text(query.inputs[1].shape)}"
            )
    return [TensorType(dtype, filled_shape(query))]


def fill_constant(call: Call) -> list[Launch]:
    """The argument, or the second input as it is at the time."""
    y = call.outputs[0]
    if call.input_count < 2:
        return [launch_fill(constant_value(call.args), y)]
    value = call.inputs[1]
    if device_of(value) == device_of(y):
        return [launch_fill(value, y)]
    here = call.scratch(value.shape, value.dtype)
    return [launch_copy(value, here), launch_fill(here, y)]


declare_fill(
    "ConstantFill",
    "X?, fill_value? -> Y",
    _infer_constant,
    fill_constant,
    arguments={
        "value": Arg(Argument, 0.0, "a float, int, bool or string; 0 or empty by default"),
        "dtype": Arg((int, str), None, "the type of Y, as a number or a name like 'int32'"),
    },
    doc="""
    Y = value, everywhere. A second input with one element takes the place of `value`. Without
    `dtype` Y is float32 if the value is a float or missing, int64 if it is an int or a bool. Raises
    ArgumentError for a value that is not of type `dtype`, or does not fit it.
    """,
    example="""
    shape = [2, 2]; value = 1.5
    Y = [[1.5, 1.5], [1.5, 1.5]]
    """,
)
