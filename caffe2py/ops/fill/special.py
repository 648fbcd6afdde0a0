"""Fills of a kind of their own: diagonals, different integers, float16."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from caffe2py.errors import ArgumentError, ShapeError, ValueRangeError
from caffe2py.kernels.convert import launch_convert
from caffe2py.kernels.copy import launch_fill
from caffe2py.kernels.fill import launch_diagonal, launch_different, launch_uniform
from caffe2py.ops.fill.common import Dims, declare_fill, dtype_of, filled_shape
from caffe2py.ops.fill.constant import constant_value
from caffe2py.proto.caffe2_pb2 import Argument
from caffe2py.registry.context import Call, Launch
from caffe2py.registry.gradient import NoGradient
from caffe2py.registry.infer import Query, product, require_dtype
from caffe2py.registry.operator import operator
from caffe2py.registry.schema import Arg
from caffe2py.tensor.types import STRING, TensorType, shape_text

HALF = np.dtype(np.float16)

# ---------------------------------------------------------------- DiagonalFill


def _infer_diagonal(query: Query) -> Sequence[TensorType]:
    dtype, shape = constant_value(query.args).dtype, filled_shape(query)
    if dtype == STRING:
        raise ArgumentError("a diagonal of strings leaves nothing for the other elements")
    if shape is not None and len(shape) < 2:
        raise ShapeError(f"a diagonal needs 2 dimensions or more, found {shape_text(shape)}")
    if shape is not None and len(shape) > 2 and len({n for n in shape if n is not None}) > 1:
        raise ShapeError(
            f"with more than 2 dimensions all must be of equal size, found {shape_text(shape)}"
        )
    return [TensorType(dtype, shape)]


def _fill_diagonal(call: Call) -> Launch:
    y = call.outputs[0]
    step = sum(int(np.prod(y.shape[k + 1 :], dtype=np.int64)) for k in range(y.ndim))
    return launch_diagonal(constant_value(call.args), step, y)


declare_fill(
    "DiagonalFill",
    "input? -> output",
    _infer_diagonal,
    _fill_diagonal,
    arguments={
        "value": Arg(Argument, 0.0, "a float, int or bool; 0 by default"),
        "dtype": Arg((int, str), None, "the type of output, as a number or a name like 'int32'"),
    },
    doc="""
    output = value where all indices are equal, 0 elsewhere. A matrix with more rows than columns
    gets another diagonal below, after a row of zeros. Without `dtype` output is float32 if the
    value is a float or missing, int64 if it is an int or a bool. Raises ShapeError for less than
    two dimensions, and for more than two of unequal size.
    """,
    example="""
    shape = [2, 3]; value = 1.5
    output = [[1.5, 0, 0], [0, 1.5, 0]]
    """,
)

# ---------------------------------------------------------------- UniqueUniformFill


def _infer_different(query: Query) -> Sequence[TensorType]:
    args = query.args
    dtype = dtype_of(2 if args.dtype is None else args.dtype)
    if dtype.name not in ("int32", "int64"):
        raise ArgumentError(f"dtype must be int32 or int64, found {dtype.name}")
    if not {"min", "max"} <= args.given:
        raise ArgumentError("arguments 'min' and 'max' are required")
    limits = np.iinfo(dtype)
    if not limits.min <= args.min < args.max <= limits.max:
        raise ArgumentError(
            f"max must be larger than min, both of {dtype.name}, found {args.min} and {args.max}"
        )
    if args.max - args.min >= 2**63:
        raise ArgumentError(f"there are too many numbers from {args.min} to {args.max}")
    if len(query.inputs) > 1:
        require_dtype(query, 1, dtype)
    shape = filled_shape(query)
    size = None if shape is None else product(shape)
    if size is not None and size > args.max - args.min + 1:
        raise ValueRangeError(f"there are no {size} different numbers in {args.min} to {args.max}")
    return [TensorType(dtype, shape)]


def _fill_different(call: Call) -> Launch:
    y, args = call.outputs[0], call.args
    avoid = call.inputs[1] if call.input_count > 1 else np.zeros(0, y.dtype)
    return launch_different(call, int(args.min), int(args.max), avoid, y)


declare_fill(
    "UniqueUniformFill",
    "input?, avoid? -> output",
    _infer_different,
    _fill_different,
    arguments={
        "min": Arg(int, 0, "the smallest number"),
        "max": Arg(int, 0, "the largest number, included"),
        "dtype": Arg((int, str), None, "int32 (the default) or int64"),
    },
    doc="""
    output = random integers from min to max, both included, all different, and none of those in the
    input `avoid`, which is of the same type; each such choice is equally likely. Raises
    ValueRangeError where there are not enough numbers.
    """,
    example="""
    shape = [3]; min = 1; max = 6
    output = [5, 1, 4] (for instance)
    """,
    by_host="numbers are drawn one after the other until there are enough different ones",
)

# ---------------------------------------------------------------- float16

SHAPE = Arg(list[int], None, "the shape; a scalar without it")


def _half_shape(query: Query) -> Dims:
    shape = tuple(query.args.shape or ())
    if any(n < 0 for n in shape):
        raise ShapeError(f"shape {shape_text(shape)} has a negative size")
    return shape


def _infer_half(query: Query) -> Sequence[TensorType]:
    args = query.args
    if hasattr(args, "min") and not args.min < args.max:
        raise ArgumentError(f"max must be larger than min, found {args.min} and {args.max}")
    return [TensorType(HALF, _half_shape(query))]


_half_constant = operator(
    "Float16ConstantFill",
    "-> output",
    infer=_infer_half,
    gradient=NoGradient("there is no input"),
    value=Arg(float, None, "the value; 0 by default"),
    shape=SHAPE,
    doc="output = value, everywhere, as float16. Raises ShapeError for a negative size.",
    example="""
    shape = [2]; value = 1.5
    output = [1.5, 1.5]
    """,
)


@_half_constant.everywhere
def _launch_half_constant(call: Call) -> Launch:
    return launch_fill(np.array([call.args.value or 0.0], HALF), call.outputs[0])


_half_uniform = operator(
    "Float16UniformFill",
    "-> output",
    infer=_infer_half,
    gradient=NoGradient("there is no input"),
    shape=SHAPE,
    min=Arg(float, 0.0, "the lower bound, included"),
    max=Arg(float, 1.0, "the upper bound, which rounding may reach"),
    doc="""
    output = random numbers, uniform between min and max, rounded to float16. Raises ArgumentError
    unless max is larger than min.
    """,
    example="""
    shape = [2]
    output = [0.25, 0.8] (for instance)
    """,
)


@_half_uniform.everywhere
def _launch_half_uniform(call: Call) -> list[Launch]:
    y, args = call.outputs[0], call.args
    single = call.scratch(y.shape, np.float32)
    drawn = launch_uniform(call.random_state(), args.min, args.max, single)
    return [*drawn, *launch_convert(call, single, y)]
