"""What operators on indices check alike."""

from __future__ import annotations

import numpy as np

from caffe2py.errors import DTypeError, ShapeError
from caffe2py.registry.infer import Query
from caffe2py.tensor.types import STRING, shape_text

Dims = tuple[int | None, ...]

INDEX_TYPES = ("int32", "int64")
FLOAT = np.dtype(np.float32)
INT32 = np.dtype(np.int32)
INT64 = np.dtype(np.int64)

#: Why an operator's inference leaves the size of its output open.
BY_DATA = "the size depends on the elements"


def differ(a: int | None, b: int | None) -> bool:
    """Whether two sizes are known and not the same."""
    return None not in (a, b) and a != b


def require_size(query: Query, index: int, axis: int, size: int | None, reason: str) -> None:
    """Raise ShapeError unless the input has this size along the axis; `reason` says why."""
    shape = query.inputs[index].shape
    if shape is not None and differ(shape[axis], size):
        raise ShapeError(
            f"input {index} '{query.name(index)}' is {shape_text(shape)}, needs size {size} along "
            f"axis {axis}: {reason}"
        )


def require_rows(query: Query, index: int) -> Dims | None:
    """The shape of an input, if known; ShapeError if it has no axes."""
    shape = query.inputs[index].shape
    if shape == ():
        raise ShapeError(f"input {index} '{query.name(index)}' must have at least 1 dimension")
    return shape


def refuse_strings(query: Query, index: int) -> None:
    """Raise DTypeError if the input holds strings."""
    if query.inputs[index].dtype == STRING:
        raise DTypeError(f"input {index} '{query.name(index)}' is string; supported: numbers")
