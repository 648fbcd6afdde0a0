"""The largest elements over the first or the last axes, and of the rows or columns of matrices."""

from __future__ import annotations

import math
from collections.abc import Sequence

from caffe2py.errors import ArgumentError, ShapeError
from caffe2py.kernels.copy import launch_expand
from caffe2py.kernels.elementwise import NUMERIC, launch_map
from caffe2py.kernels.extrema import launch_max_starts, launch_max_starts_gradient
from caffe2py.kernels.reduce import launch_max
from caffe2py.registry.context import Call, Launch
from caffe2py.registry.infer import (
    Query,
    Rule,
    product,
    require_dtype,
    require_rank,
    require_same_dtype,
)
from caffe2py.registry.operator import operator
from caffe2py.registry.schema import Arg, Args
from caffe2py.tensor.tensor import Array
from caffe2py.tensor.types import TensorType, shape_text

Dims = tuple[int | None, ...]

COUNT = Arg(int, 1, "how many axes are reduced")
ARGS = {
    "num_reduce_dim": COUNT,
    "num_reduce_dims": Arg(
        int, 1, "without effect: Caffe2 documents this name and reads the other"
    ),
}


def _cut(rank: int, args: Args, front: bool) -> int:
    """Where the axes that are reduced end (front) or begin (back); ShapeError if X has fewer."""
    count: int = args.num_reduce_dim
    if not 0 <= count <= rank:
        raise ShapeError(f"num_reduce_dim {count} is out of range for {rank} dimension(s) of X")
    return count if front else rank - count


def _rest(shape: Dims, args: Args, front: bool) -> Dims:
    cut = _cut(len(shape), args, front)
    return shape[cut:] if front else shape[:cut]


def _require_lengths(query: Query, index: int, rest: Dims | None) -> None:
    """One int32 for each result, and one reduced axis."""
    if len(query.inputs) <= index:
        return
    require_dtype(query, index, "int32")
    if query.args.num_reduce_dim != 1:
        raise ArgumentError(
            f"with lengths one axis is reduced, found num_reduce_dim {query.args.num_reduce_dim}"
        )
    shape = query.inputs[index].shape
    found = None if shape is None else product(shape)
    count = None if rest is None else product(rest)
    if None not in (found, count) and found != count:
        raise ShapeError(
            f"input {index} '{query.name(index)}' must hold {count} length(s), one a result; "
            f"found {shape_text(shape)}"
        )


def _infer(front: bool) -> Rule:
    def rule(query: Query) -> Sequence[TensorType]:
        require_dtype(query, 0, *NUMERIC)
        x = query.inputs[0]
        rest = None if x.shape is None else _rest(x.shape, query.args, front)
        _require_lengths(query, 1, rest)
        return [x.with_shape(rest)]

    return rule


def _require_shape(query: Query, index: int, wanted: Dims) -> None:
    found = query.inputs[index].shape
    if found is not None and (
        len(found) != len(wanted)
        or any(None not in (m, n) and m != n for m, n in zip(found, wanted, strict=True))
    ):
        raise ShapeError(
            f"input {index} '{query.name(index)}' must have the shape {shape_text(wanted)} of the "
            f"result, found {shape_text(found)}"
        )


def _infer_gradient(front: bool) -> Rule:
    def rule(query: Query) -> Sequence[TensorType]:
        for index in range(3):
            require_dtype(query, index, *NUMERIC)
        require_same_dtype(query, 0, 1, 2)
        x = query.inputs[1]
        rest = None if x.shape is None else _rest(x.shape, query.args, front)
        _require_lengths(query, 3, rest)
        if rest is not None:
            for index in (0, 2):
                _require_shape(query, index, rest)
        return [x]

    return rule


def _matrix(x: Array, args: Args, front: bool) -> Array:
    cut = _cut(x.ndim, args, front)
    return x.reshape(math.prod(x.shape[:cut]), math.prod(x.shape[cut:]))


def _declare_end(end: str, result: str) -> None:
    """ReduceFrontMax or ReduceBackMax, with the gradient."""
    front, name = end == "Front", f"Reduce{end}Max"
    made = operator(
        name,
        "X, lengths? -> Y",
        infer=_infer(front),
        gradient=f"{name}Gradient(dY, X, Y, lengths) -> dX",
        arguments=ARGS,
        doc=f"""
        Y = the largest element of X over its {"first" if front else "last"} `num_reduce_dim` axes.
        With `lengths`, int32, only the first lengths[i] elements count for the i-th element of Y,
        of the one axis that is reduced. Of no elements it is 0 (in Caffe2 a length of 0 counts the
        first element in). NaN is passed over, except as the first element. Raises ShapeError for
        axes that X does not have or a wrong number of lengths, ValueRangeError for a length that
        is too long.
        """,
        example=f"""
        X = [[1, 7], [4, 6]]
        Y = {result}
        """,
    )

    @made.everywhere
    def launch(call: Call) -> Launch:
        x = call.inputs[0]
        lengths = call.inputs[1] if len(call.inputs) > 1 else None
        y = call.outputs[0].reshape(-1)
        return launch_max_starts(_matrix(x, call.args, front), lengths, y, front=front)

    backward = operator(
        f"{name}Gradient",
        "dY, X, Y, lengths? -> dX",
        infer=_infer_gradient(front),
        num_reduce_dim=COUNT,
        doc="""
        dX = dY where X = Y, within the length, 0 elsewhere; every one of equal maxima gets dY.
        """,
    )

    @backward.everywhere
    def launch_gradient(call: Call) -> Launch:
        dy, x, y = (a.reshape(-1) for a in call.inputs[:3])
        lengths = call.inputs[3] if len(call.inputs) > 3 else None
        dx = _matrix(call.outputs[0], call.args, front)
        return launch_max_starts_gradient(dy, x.reshape(dx.shape), y, lengths, dx, front=front)


_declare_end("Back", "[7, 6]")
_declare_end("Front", "[4, 7]")


# ---------------------------------------------------------------- rows and columns of matrices


def _reduced(shape: Dims, axis: int) -> Dims:
    return (*shape[:axis], *shape[axis + 1 :])


def _where_largest(x, y, dy):
    return dy if x == y else 0


def _declare_matrix(name: str, axis: int, signature: str, **counts: set[int]) -> None:
    """RowwiseMax or ColwiseMax, with the gradient."""
    word = "column" if axis == 1 else "row"

    def infer(query: Query) -> Sequence[TensorType]:
        require_dtype(query, 0, *NUMERIC)
        require_rank(query, 0, 3)
        x = query.inputs[0]
        return [x.with_shape(None if x.shape is None else _reduced(x.shape, axis))]

    made = operator(
        name,
        "X -> Y",
        infer=infer,
        gradient=f"{name}Gradient(X, Y, dY) -> dX",
        doc=f"""
        Y = the largest element of each {word} of each matrix of X (B, M, N), of shape
        {"(B, N)" if axis == 1 else "(B, M)"}. NaN is passed over, except as the first element; of
        no elements it is the least finite number.
        """,
        example=f"""
        X = [[[1, 7], [4, 6]]]
        Y = {"[[4, 7]]" if axis == 1 else "[[7, 6]]"}
        """,
    )

    @made.everywhere
    def launch(call: Call) -> list[Launch]:
        return launch_max(call, call.inputs[0], [axis], call.outputs[0])

    def infer_gradient(query: Query) -> Sequence[TensorType]:
        for index in range(3):
            require_dtype(query, index, *NUMERIC)
        require_rank(query, 0, 3)
        require_same_dtype(query, 0, 1, 2)
        x = query.inputs[0]
        if x.shape is not None:
            for index in (1, 2):
                _require_shape(query, index, _reduced(x.shape, axis))
        return [x]

    backward = operator(
        f"{name}Gradient",
        signature,
        infer=infer_gradient,
        input_counts=counts.get("inputs"),
        output_counts=counts.get("outputs"),
        doc=f"""
        dX = dY where X = Y, the largest of its {word}, 0 elsewhere; every one of equal maxima gets
        dY. Inputs are X, Y, dY.
        """,
    )

    @backward.everywhere
    def launch_gradient(call: Call) -> list[Launch]:
        x, y, dy = call.inputs
        kept = (*x.shape[:axis], 1, *x.shape[axis + 1 :])
        whole_y, whole_dy = (call.scratch(x.shape, x.dtype) for _ in range(2))
        return [
            launch_expand(y.reshape(kept), whole_y),
            launch_expand(dy.reshape(kept), whole_dy),
            launch_map(_where_largest, (x, whole_y, whole_dy), call.outputs[0]),
        ]


_declare_matrix("RowwiseMax", 2, "X, Y, dY -> dX")
_declare_matrix("ColwiseMax", 1, "inputs* -> dX*", inputs={3}, outputs={1})
