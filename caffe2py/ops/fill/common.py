"""What all fills have in common: how they find the output's shape, and their declaration."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from caffe2py.errors import ArgumentError, ShapeError
from caffe2py.proto.caffe2_pb2 import OperatorDef
from caffe2py.registry.context import Implementation
from caffe2py.registry.gradient import NoGradient
from caffe2py.registry.infer import Query, product, require_dtype, require_rank
from caffe2py.registry.operator import operator
from caffe2py.registry.schema import Arg
from caffe2py.tensor.tensor import Array
from caffe2py.tensor.types import (
    DType,
    TensorType,
    dtype_from_number,
    dtype_from_text,
    dtype_name,
    shape_text,
)

Dims = tuple[int | None, ...]
Rule = Callable[[Query], Sequence[TensorType]]

FLOAT = np.dtype(np.float32)
INT64 = np.dtype(np.int64)

SHAPE = {
    "shape": Arg(list[int], None, "the shape, if there is no input"),
    "extra_shape": Arg(list[int], None, "dimensions that follow those of the input"),
    "input_as_shape": Arg(bool, False, "the input holds the shape, as a vector of integers"),
}

_SHAPE_DOC = """
The shape is the argument `shape` (a scalar without it), or that of the input, or what the input
holds (int64 or int32), if `input_as_shape` is set; `extra_shape` follows the latter two. Raises
ArgumentError where these contradict each other, ShapeError for a negative size.
"""


def filled_shape(query: Query) -> Dims | None:
    """The output's shape; None, or dimensions of None, where it depends on unknown things."""
    args = query.args
    if query.inputs:
        if args.shape:
            raise ArgumentError("argument 'shape' and an input exclude each other")
        shape = _input_shape(query)
        if shape is not None:
            shape += tuple(args.extra_shape or ())
    else:
        for name in ("extra_shape", "input_as_shape"):
            if getattr(args, name):
                raise ArgumentError(f"argument '{name}' needs an input")
        shape = tuple(args.shape or ())
    if shape is not None and any(d is not None and d < 0 for d in shape):
        raise ShapeError(f"shape {shape_text(shape)} has a negative size")
    return shape


def _input_shape(query: Query) -> Dims | None:
    if not query.args.input_as_shape:
        return query.inputs[0].shape
    require_dtype(query, 0, "int64", "int32")
    require_rank(query, 0, 1)
    values = query.value(0)
    if values is not None:
        return tuple(int(v) for v in values)
    known = query.inputs[0].full_shape
    return None if known is None else (None,) * known[0]


def _depends_on_data(op: OperatorDef) -> bool:
    return bool(_inputs_read(op))


def _inputs_read(op: OperatorDef) -> list[int]:
    """The inputs whose contents matter before the run: the shape, and two bounds."""
    as_shape = any(a.name == "input_as_shape" and a.i for a in op.arg)
    return [0] * (as_shape and len(op.input) > 0) + [1, 2] * (len(op.input) == 3)


def declare_fill(
    name: str,
    signature: str,
    infer: Rule,
    fill: Implementation,
    *,
    doc: str,
    example: str,
    arguments: dict[str, Arg],
    input_counts: set[int] | None = None,
    by_host: str = "",
) -> None:
    """Register an operator whose first input, if it has one, gives the shape.

    `by_host` says why devices leave it to the host. Inputs may be anywhere: shapes often come from
    the host, where Caffe2 looks for them, too.
    """
    made = operator(
        name,
        signature,
        infer=infer,
        inplace={0: 0},
        input_counts=input_counts,
        gradient=NoGradient("the values do not depend on the input"),
        doc=f"{inspect.cleandoc(doc)}\n{_SHAPE_DOC.strip()}",
        example=example,
        arguments={**arguments, **SHAPE},
    )
    made.cpu_dynamic(when=_depends_on_data, reads=_inputs_read)(fill)
    if by_host:
        made.cuda_by_host(by_host)
    else:
        made.cuda_dynamic(fill, when=_depends_on_data, reads=_inputs_read, host_inputs=None)


def dtype_of(value: int | str) -> DType:
    """A type by number or by name; ArgumentError for an unknown one."""
    return dtype_from_text(value) if isinstance(value, str) else dtype_from_number(value)


def as_whole(values: Array, dtype: DType, name: str) -> Array:
    """int64 values in a narrower integer type, or as bools; ArgumentError if one does not fit."""
    if dtype.kind == "b":
        flags: Array = values != 0
        return flags
    if values.size and dtype != INT64:
        limits = np.iinfo(dtype)
        low, high = int(values.min()), int(values.max())
        if low < limits.min or high > limits.max:
            wrong = low if low < limits.min else high
            raise ArgumentError(f"argument '{name}': {wrong} does not fit {dtype_name(dtype)}")
    narrow: Array = values.astype(dtype)
    return narrow


def scalar_value(query: Query, index: int, *dtypes: Any) -> Any:
    """The one element of an input if it is known; DTypeError, ShapeError if it is no scalar."""
    require_dtype(query, index, *dtypes)
    shape = query.inputs[index].shape
    if shape is not None and product(shape) not in (1, None):
        raise ShapeError(
            f"input {index} '{query.name(index)}' must have one element, found {shape_text(shape)}"
        )
    value = query.value(index)
    return None if value is None else value.reshape(-1)[0]
