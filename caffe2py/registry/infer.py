"""Shape and type inference: one rule an operator, to check nets and to allocate outputs."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from caffe2py.errors import DTypeError, ShapeError
from caffe2py.registry.schema import Args, Schema
from caffe2py.tensor.types import UNKNOWN, DType, TensorType, dtype_name, shape_text


@dataclass(frozen=True)
class Query:
    """What an inference rule may look at: one operator and what is known of its inputs."""

    schema: Schema
    inputs: tuple[TensorType, ...]
    args: Args
    outputs: int
    #: The contents of an input where they are known before the run (a shape tensor), else None.
    value: Callable[[int], Any] = field(default=lambda index: None)

    def name(self, index: int) -> str:
        """The declared name of an input, for messages."""
        return self.schema.input_name(index)


#: Returns the type of every output; raises ShapeError, DTypeError or ValueRangeError.
Rule = Callable[[Query], Sequence[TensorType]]


def same_as(index: int) -> Rule:
    """Every output has the type and shape of one input."""

    def rule(query: Query) -> Sequence[TensorType]:
        return [query.inputs[index]] * query.outputs

    return rule


def fixed(dtype: Any, shape: tuple[int | None, ...] | None = ()) -> Rule:
    """Every output has this type and shape, a scalar by default."""

    def rule(query: Query) -> Sequence[TensorType]:
        return [TensorType(np.dtype(dtype), shape)] * query.outputs

    return rule


def unknown(query: Query) -> Sequence[TensorType]:
    """Nothing is known before the operator has run."""
    return [UNKNOWN] * query.outputs


def require_dtype(query: Query, index: int, *allowed: Any) -> None:
    """Raise DTypeError unless the input has one of the dtypes (or is of unknown type)."""
    found = query.inputs[index].dtype
    names = [np.dtype(d) for d in allowed]
    if found is not None and found not in names:
        expected = ", ".join(dtype_name(d) for d in names)
        first = dtype_name(names[0])
        raise DTypeError(
            f"input {index} '{query.name(index)}' is {dtype_name(found)}; supported: {expected}",
            hint=f"Cast it, or np.asarray(x, np.{first})",
        )


def require_same_dtype(query: Query, *indices: int) -> DType | None:
    """The common dtype of some inputs; DTypeError naming the two that differ."""
    known = [(i, query.inputs[i].dtype) for i in indices if query.inputs[i].dtype is not None]
    for i, dtype in known[1:]:
        if dtype != known[0][1]:
            j, first = known[0]
            raise DTypeError(
                f"inputs must have one type: input {j} '{query.name(j)}' is {dtype_name(first)}, "
                f"input {i} '{query.name(i)}' is {dtype_name(dtype)}"
            )
    return known[0][1] if known else None


def require_same_shape(query: Query, *indices: int) -> tuple[int | None, ...] | None:
    """The common shape of some inputs, as far as one of them knows it.

    Raises ShapeError naming the two that differ.
    """
    common: tuple[int | None, ...] | None = None
    first = 0
    for i in indices:
        shape = query.inputs[i].shape
        if shape is None:
            continue
        if common is None:
            common, first = shape, i
        elif len(shape) != len(common) or any(
            m is not None and n is not None and m != n for m, n in zip(common, shape, strict=True)
        ):
            raise ShapeError(
                f"inputs must have one shape: input {first} '{query.name(first)}' is "
                f"{shape_text(common)}, input {i} '{query.name(i)}' is {shape_text(shape)}"
            )
        else:
            common = tuple(n if m is None else m for m, n in zip(common, shape, strict=True))
    return common


def require_rank(query: Query, index: int, *ranks: int) -> None:
    """Raise ShapeError unless the input has one of these numbers of dimensions (or unknown)."""
    found = query.inputs[index]
    if found.rank is not None and found.rank not in ranks:
        expected = " or ".join(str(r) for r in ranks)
        raise ShapeError(
            f"input {index} '{query.name(index)}' must have {expected} dimension(s), "
            f"found {shape_text(found.shape)}"
        )


def canonical_axis(axis: int, rank: int, what: str = "axis", *, inclusive: bool = False) -> int:
    """`axis` counted from the front; ShapeError outside [-rank, rank) (or rank, if inclusive)."""
    upper = rank if inclusive else rank - 1
    if not -rank <= axis <= upper:
        raise ShapeError(f"{what} {axis} is out of range for {rank} dimension(s)")
    return axis + rank if axis < 0 else axis


def product(dims: Sequence[int | None]) -> int | None:
    """The product of dimensions, None if one is unknown (unless another is zero)."""
    known = [d for d in dims if d is not None]
    if len(known) < len(dims):
        return 0 if 0 in known else None
    return math.prod(known)


def broadcast_shapes(
    a: tuple[int | None, ...] | None, b: tuple[int | None, ...] | None
) -> tuple[int | None, ...] | None:
    """The numpy broadcast of two shapes with unknown dimensions; ShapeError if they disagree."""
    if a is None or b is None:
        return None
    rank = max(len(a), len(b))
    left = (1,) * (rank - len(a)) + a
    right = (1,) * (rank - len(b)) + b
    return tuple(_broadcast_dim(p, q, a, b) for p, q in zip(left, right, strict=True))


def _broadcast_dim(
    p: int | None, q: int | None, a: tuple[int | None, ...], b: tuple[int | None, ...]
) -> int | None:
    if p == q or q == 1:
        return p
    if p == 1:
        return q
    if p is None or q is None:
        return p if q is None else q
    raise ShapeError(f"shapes {shape_text(a)} and {shape_text(b)} cannot be broadcast together")
