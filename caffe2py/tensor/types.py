"""Data types on the wire and in memory, and the type of a tensor whose shape may be unknown."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from caffe2py.errors import ArgumentError, DTypeError, MemoryBudgetError, ShapeError
from caffe2py.proto.caffe2_pb2 import TensorProto

DType = np.dtype[Any]
Shape = tuple[int, ...]

#: numpy's arrays have no more axes.
MOST_AXES = 64

#: Messages show no more elements than this.
MOST_SHOWN = 8

STRING = np.dtype(object)  # a string tensor holds Python bytes

#: DataType number -> numpy dtype. BYTE and UINT8 are the same thing in memory.
DTYPE_OF: dict[int, DType] = {
    TensorProto.FLOAT: np.dtype(np.float32),
    TensorProto.INT32: np.dtype(np.int32),
    TensorProto.BYTE: np.dtype(np.uint8),
    TensorProto.STRING: STRING,
    TensorProto.BOOL: np.dtype(np.bool_),
    TensorProto.UINT8: np.dtype(np.uint8),
    TensorProto.INT8: np.dtype(np.int8),
    TensorProto.UINT16: np.dtype(np.uint16),
    TensorProto.INT16: np.dtype(np.int16),
    TensorProto.INT64: np.dtype(np.int64),
    TensorProto.FLOAT16: np.dtype(np.float16),
    TensorProto.DOUBLE: np.dtype(np.float64),
}

#: numpy dtype -> DataType number, the inverse with UINT8 for uint8.
NUMBER_OF: dict[DType, int] = {d: n for n, d in DTYPE_OF.items() if n != TensorProto.BYTE}


def dtype_from_number(number: int) -> DType:
    """The numpy dtype of a DataType number; ArgumentError for an unknown one."""
    try:
        return DTYPE_OF[number]
    except KeyError:
        known = ", ".join(f"{TensorProto.DataType.Name(n)}={n}" for n in DTYPE_OF)
        raise ArgumentError(f"{number} is not a data type; known: {known}") from None


def number_from_dtype(dtype: DType) -> int:
    """The DataType number of a numpy dtype; DTypeError for one that no tensor can hold."""
    dtype = np.dtype(dtype).newbyteorder("=")
    if dtype.kind in "SU":
        return TensorProto.STRING
    try:
        return NUMBER_OF[dtype]
    except KeyError:
        known = ", ".join(dtype_name(d) for d in NUMBER_OF)
        raise DTypeError(f"no tensor holds {dtype}; supported: {known}") from None


def dtype_from_text(name: str) -> DType:
    """The dtype that a DataType name means, in any case ("float", "INT64", "double")."""
    upper = name.upper()
    if upper in TensorProto.DataType.keys():  # noqa: SIM118 (an enum wrapper is no mapping)
        return dtype_from_number(TensorProto.DataType.Value(upper))
    known = ", ".join(TensorProto.DataType.Name(n) for n in DTYPE_OF)
    raise ArgumentError(f"{name!r} is not a data type; known: {known}")


def dtype_name(dtype: DType | None) -> str:
    """How a dtype is called in messages: numpy's name, "string" for bytes, "?" for unknown."""
    if dtype is None:
        return "?"
    return "string" if dtype == STRING else np.dtype(dtype).name


def checked_numel(shape: tuple[int, ...], itemsize: int = 1) -> int:
    """Number of elements of `shape`, in exact integers.

    Raises ShapeError for a negative dimension and MemoryBudgetError when the bytes would not fit
    into a signed 64-bit size.
    """
    if len(shape) > MOST_AXES:
        raise ShapeError(f"shape {shape_text(shape)} has more than {MOST_AXES} dimensions")
    for dim in shape:
        if dim < 0:
            raise ShapeError(f"shape {shape_text(shape)} has the negative dimension {dim}")
    # a dimension of 0 does not make the others harmless: numpy multiplies them all the same
    room = math.prod(max(dim, 1) for dim in shape) * max(itemsize, 1)
    if room > 2**62:
        raise MemoryBudgetError(f"shape {shape_text(shape)} needs {room} bytes")
    return math.prod(shape)


def shape_text(shape: tuple[int | None, ...] | None) -> str:
    """(2, 3) as "(2,3)", an unknown dimension as "?", an unknown shape as "(...)"."""
    if shape is None:
        return "(...)"
    return (
        "("
        + ",".join("?" if d is None else str(d) for d in shape[:MOST_SHOWN])
        + (")" if len(shape) <= MOST_SHOWN else f",... {len(shape)} in all)")
    )


def values_text(values: Any) -> str:
    """A list of numbers for a message, at most MOST_SHOWN of them."""
    shown = ", ".join(str(v) for v in values[:MOST_SHOWN])
    return f"[{shown}]" if len(values) <= MOST_SHOWN else f"[{shown}, ... {len(values)} in all]"


class Quantum(NamedTuple):
    """How the integers of a quantized tensor stand for numbers: (integer - zero_point) * scale."""

    scale: float
    zero_point: int


@dataclass(frozen=True)
class TensorType:
    """Element type and shape of a tensor; either may be unknown, and so may single dimensions.

    `quantum` is what a quantized tensor's integers mean; None for ordinary tensors.
    """

    dtype: DType | None = None
    shape: tuple[int | None, ...] | None = None
    quantum: Quantum | None = None

    @classmethod
    def of(cls, array: Any, quantum: Quantum | None = None) -> TensorType:
        """The type of a concrete array."""
        return cls(array.dtype, tuple(array.shape), quantum)

    @property
    def known(self) -> bool:
        """Whether nothing is left open."""
        return self.dtype is not None and self.full_shape is not None

    @property
    def full_shape(self) -> Shape | None:
        """The shape if every dimension is known."""
        if self.shape is None or any(d is None for d in self.shape):
            return None
        return tuple(d for d in self.shape if d is not None)

    @property
    def rank(self) -> int | None:
        """Number of dimensions, if known."""
        return None if self.shape is None else len(self.shape)

    def with_dtype(self, dtype: DType | None) -> TensorType:
        """The same shape, another element type."""
        return TensorType(dtype, self.shape)

    def with_shape(self, shape: tuple[int | None, ...] | None) -> TensorType:
        """The same element type and quantum, another shape."""
        return TensorType(self.dtype, shape, self.quantum)

    def __str__(self) -> str:
        return f"{dtype_name(self.dtype)}{shape_text(self.shape)}"


UNKNOWN = TensorType()
