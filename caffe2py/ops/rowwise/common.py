"""What operators on rows of small integers share: shapes and errors."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from caffe2py.errors import Error, ShapeError, ValueRangeError
from caffe2py.kernels.index import index_error
from caffe2py.kernels.lookup import WRONG_LENGTHS, wrong_lengths
from caffe2py.kernels.rowwise import Format
from caffe2py.registry.infer import Query
from caffe2py.tensor.tensor import Array
from caffe2py.tensor.types import shape_text

Dims = tuple[int | None, ...]

UINT8 = np.dtype(np.uint8)
FLOAT = np.dtype(np.float32)
HALF = np.dtype(np.float16)

NO_GRADIENT = "integers have no gradient"


def as_rows(array: Array) -> Array:
    """An array as a matrix: its last axis are the rows."""
    return array.reshape(int(np.prod(array.shape[:-1])), array.shape[-1])


def require_rows(query: Query, index: int) -> Dims | None:
    """The shape of an input that has rows; ShapeError if it has none."""
    shape = query.inputs[index].shape
    if shape is not None and (not shape or shape[-1] == 0):
        raise ShapeError(
            f"input {index} '{query.name(index)}' must have rows of at least one element, "
            f"found {shape_text(shape)}"
        )
    return shape


def encoded(columns: int | None, form: Format) -> int | None:
    """The bytes of a row of so many numbers; ShapeError unless they fill whole bytes."""
    if columns is None:
        return None
    if columns % form.per_byte:
        raise ShapeError(f"rows must be a multiple of {form.per_byte} long, found {columns}")
    return columns // form.per_byte + form.tail


def decoded(columns: int | None, form: Format) -> int | None:
    """The numbers of a row of so many bytes; ShapeError if there is no room for any."""
    if columns is None:
        return None
    if columns <= form.tail:
        raise ShapeError(
            f"rows must have more than the {form.tail} bytes of scale and bias, found {columns}"
        )
    return (columns - form.tail) * form.per_byte


def explain_place(
    indices: Array, size: int, lengths: Array | None = None, mapping: Array | None = None
) -> Callable[[int], Error]:
    """What the status of a loop over indices (of rows, or of a mapping to them) means."""

    def explain(status: int) -> Error:
        if status == WRONG_LENGTHS and lengths is not None:
            return wrong_lengths(lengths, indices.size, "indices")
        index = int(indices.reshape(-1)[status - 1])
        if mapping is None or mapping.tolist() == [0]:
            return index_error(index, status - 1, size)
        if not 0 <= index < mapping.size:
            return index_error(index, status - 1, mapping.size)
        return ValueRangeError(
            f"index {index} at position {status - 1} stands for row {int(mapping[index])}; "
            f"expected -1 to {size - 1}"
        )

    return explain
