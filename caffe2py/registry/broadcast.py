"""Both of Caffe2's rules for two operands of different shapes, numpy's and the old one."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from caffe2py.errors import ShapeError
from caffe2py.registry.infer import (
    Query,
    Rule,
    broadcast_shapes,
    require_dtype,
    require_same_dtype,
)
from caffe2py.registry.schema import Arg, Args
from caffe2py.tensor.types import TensorType, shape_text

#: The arguments of the old rule, but for the one that switches it on.
AXIS = {
    "axis": Arg(int, -1, "with broadcast: the axis of A where B begins; -1 matches B to the end"),
    "axis_str": Arg(str, "", "with broadcast: that axis as a letter of `order`"),
    "order": Arg(str, "NCHW", "the letters of A's axes"),
}
BROADCAST = {"broadcast": Arg(bool, False, "match B to the axes of A by the old rule"), **AXIS}


def aligned_shape(a: Sequence[Any], b: Sequence[Any], args: Args) -> tuple[Any, ...]:
    """B's shape as it takes part in numpy broadcasting against A.

    Under the old rule (`broadcast=1`) B's axes match consecutive axes of A from `axis` on, or A's
    last ones; sizes must then be equal or 1. ShapeError says which do not fit.
    """
    return old_shape(a, b, args) if args.broadcast else tuple(b)


def old_shape(a: Sequence[Any], b: Sequence[Any], args: Args) -> tuple[Any, ...]:
    """As aligned_shape, by the old rule; a B of one element goes with everything."""
    if len(b) > len(a) and all(dim == 1 for dim in b):
        return ()
    if len(b) > len(a):
        raise ShapeError(
            f"with broadcast=1 B must not have more dimensions than A: "
            f"A is {shape_text(tuple(a))}, B is {shape_text(tuple(b))}"
        )
    axis = _old_axis(len(a), len(b), args)
    return tuple(b) + (1,) * (len(a) - axis - len(b))


def _old_axis(rank_a: int, rank_b: int, args: Args) -> int:
    axis: int = args.axis
    if args.axis_str:
        if axis != -1:
            raise ShapeError(f"axis {axis} and axis_str '{args.axis_str}' exclude each other")
        axis = args.order.upper().find(args.axis_str.upper())
        if axis < 0 or len(args.axis_str) != 1:
            raise ShapeError(f"axis_str '{args.axis_str}' is no letter of order '{args.order}'")
    elif axis == -1:
        axis = rank_a - rank_b
    if not 0 <= axis <= rank_a - rank_b:
        raise ShapeError(f"axis {axis} does not fit {rank_b} axes of B into {rank_a} of A")
    return axis


def require_old_fit(a: TensorType, b: TensorType, whole: Sequence[Any]) -> None:
    """Raise ShapeError if B is not one that repeats along A; `whole` is their common shape."""
    if a.full_shape is not None and tuple(whole) != a.shape:
        raise ShapeError(
            f"with broadcast=1 B {shape_text(b.shape)} must repeat along A {shape_text(a.shape)}"
        )


def infer_binary(dtypes: Sequence[str], result: str | None = None) -> Rule:
    """The rule of C = f(A, B): one of the dtypes, both the same; C has the broadcast shape.

    `result` is the dtype of C where it is not that of A and B.
    """

    def rule(query: Query) -> Sequence[TensorType]:
        a, b = query.inputs
        for index in (0, 1):
            require_dtype(query, index, *dtypes)
        common = require_same_dtype(query, 0, 1)
        dtype = common if result is None else np.dtype(result)
        if a.shape is None or b.shape is None:
            return [TensorType(dtype)]
        shape = broadcast_shapes(a.shape, aligned_shape(a.shape, b.shape, query.args))
        if query.args.broadcast:
            require_old_fit(a, b, shape or ())
        return [TensorType(dtype, shape)]

    return rule
