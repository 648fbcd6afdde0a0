"""Sums and means over the first or the last axes, as long as lengths say."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from caffe2py.errors import ArgumentError, ShapeError
from caffe2py.kernels.convert import launch_convert
from caffe2py.kernels.copy import launch_expand
from caffe2py.kernels.elementwise import NUMERIC, divide_whole, launch_map
from caffe2py.kernels.reduce import launch_spread_starts, launch_sum, launch_sum_starts
from caffe2py.registry.context import Call, Launch
from caffe2py.registry.infer import (
    Query,
    Rule,
    product,
    require_dtype,
    require_same_dtype,
)
from caffe2py.registry.operator import operator
from caffe2py.registry.schema import Arg, Args
from caffe2py.tensor.tensor import Array
from caffe2py.tensor.types import Shape, TensorType, shape_text

Dims = tuple[int | None, ...]
INT64 = np.dtype(np.int64)

ARGS = {
    "num_reduce_dim": Arg(int, 1, "how many axes are reduced"),
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


def _rest(shape: Dims, cut: int, front: bool) -> Dims:
    """The axes that are kept."""
    return shape[cut:] if front else shape[:cut]


def _require_lengths(query: Query, index: int, x: Dims | None, front: bool) -> None:
    """One int32 for each result, and one reduced axis."""
    if len(query.inputs) <= index:
        return
    require_dtype(query, index, "int32")
    if query.args.num_reduce_dim != 1:
        raise ArgumentError(
            f"with lengths one axis is reduced, found num_reduce_dim {query.args.num_reduce_dim}"
        )
    lengths = query.inputs[index].full_shape
    if lengths is None or x is None:
        return
    rest = _rest(x, _cut(len(x), query.args, front), front)
    count = product(rest)
    if count is not None and math.prod(lengths) != count:
        raise ShapeError(
            f"input {index} '{query.name(index)}' must hold {count} length(s), one for each result "
            f"of X {shape_text(x)}; found {shape_text(lengths)}"
        )


def _infer(front: bool) -> Rule:
    def rule(query: Query) -> Sequence[TensorType]:
        require_dtype(query, 0, *NUMERIC)
        x = query.inputs[0]
        _require_lengths(query, 1, x.shape, front)
        if x.shape is None:
            return [x]
        return [x.with_shape(_rest(x.shape, _cut(len(x.shape), query.args, front), front))]

    return rule


def _may_be_shape(x: TensorType) -> bool:
    return x.dtype == INT64 and x.rank == 1


def _x(query: Query) -> TensorType:
    """What is known of X: a vector of int64 that dY is not of holds its shape, in older nets."""
    dy, x = query.inputs[:2]
    if not _may_be_shape(x) or dy.dtype == INT64:
        require_same_dtype(query, 0, 1)
        return x
    sizes = query.value(1)
    if sizes is not None:
        if sizes.min(initial=0) < 0:
            raise ShapeError(f"'X' holds {sizes.tolist()}, which is no shape")
        return TensorType(dy.dtype, tuple(int(n) for n in sizes))
    rank = x.shape[0] if x.shape else None
    return TensorType(dy.dtype, None if rank is None else (None,) * rank)


def _holds_shape(x: Array) -> bool:
    return x.dtype == INT64 and x.ndim == 1


def _infer_gradient(front: bool) -> Rule:
    def rule(query: Query) -> Sequence[TensorType]:
        for index in (0, 1):
            require_dtype(query, index, *NUMERIC)
        if query.inputs[0].dtype is None and _may_be_shape(query.inputs[1]):
            return [TensorType()]
        x = _x(query)
        dy = query.inputs[0].full_shape
        _require_lengths(query, 2, x.shape, front)
        if x.full_shape is not None:
            rest = _rest(x.full_shape, _cut(len(x.full_shape), query.args, front), front)
            if dy is not None and dy != rest:
                raise ShapeError(
                    f"'dY' must have the shape {shape_text(rest)} of the result for X "
                    f"{shape_text(x.shape)}, found {shape_text(dy)}"
                )
        return [x]

    return rule


def _matrix(x: Array, cut: int) -> Array:
    """The axes before `cut` as rows, those from there on as columns."""
    return x.reshape(math.prod(x.shape[:cut]), math.prod(x.shape[cut:]))


def _over(x, count):
    return x / count if count > 0 else 0


def _divide(call: Call, x: Array, counts: Array | int, y: Array) -> list[Launch]:
    """y = x / counts, toward zero for integers; 0 where a count is 0."""
    formula = divide_whole if x.dtype.kind == "i" else _over
    if isinstance(counts, int):
        return [launch_map(formula, (x,), y, x.dtype.type(counts))]
    converted = call.scratch(counts.shape, x.dtype)
    return [
        *launch_convert(call, counts, converted),
        launch_map(formula, (x.reshape(-1), converted.reshape(-1)), y.reshape(-1)),
    ]


def _reduced_axes(rank: int, cut: int, front: bool) -> list[int]:
    return list(range(cut)) if front else list(range(cut, rank))


def _count(shape: Shape, cut: int, front: bool) -> int:
    return math.prod(shape[:cut] if front else shape[cut:])


def _launches(call: Call, front: bool, mean: bool) -> list[Launch]:
    x, y = call.inputs[0], call.outputs[0]
    cut = _cut(x.ndim, call.args, front)
    if len(call.inputs) == 2:
        lengths = call.inputs[1].reshape(-1)
        steps = launch_sum_starts(_matrix(x, cut), lengths, y.reshape(-1), front=front)
        return steps + (_divide(call, y, lengths, y) if mean else [])
    steps = launch_sum(call, x, _reduced_axes(x.ndim, cut, front), y)
    return steps + (_divide(call, y, _count(x.shape, cut, front), y) if mean else [])


def _gradient_launches(call: Call, front: bool, mean: bool) -> list[Launch]:
    dy, dx = call.inputs[0], call.outputs[0]
    dx = _matrix(dx, _cut(dx.ndim, call.args, front))
    lengths = call.inputs[2].reshape(-1) if len(call.inputs) == 3 else None
    steps: list[Launch] = []
    if mean:
        part = call.scratch(dy.shape, dy.dtype)
        counts = dx.shape[0 if front else 1] if lengths is None else lengths
        steps, dy = _divide(call, dy, counts, part), part
    if lengths is None:
        return [*steps, launch_expand(dy.reshape((1, -1) if front else (-1, 1)), dx)]
    return [*steps, launch_spread_starts(dy.reshape(-1), lengths, dx, front=front)]


def _declare(end: str, kind: str, result: str) -> None:
    """ReduceFrontSum and its like, with the gradient."""
    front, mean = end == "Front", kind == "Mean"
    word, name = kind.lower(), f"Reduce{end}{kind}"
    made = operator(
        name,
        "X, lengths? -> Y",
        infer=_infer(front),
        gradient=f"{name}Gradient(dY, X.shape, lengths) -> dX",
        onnx="ReduceMean" if mean else None,
        arguments=ARGS,
        doc=f"""
        Y = the {word} of X over its {"first" if front else "last"} `num_reduce_dim` axes. With
        `lengths`, int32, only the first lengths[i] elements count for the i-th element of Y, of
        the one axis that is reduced. Of no elements it is 0 (in Caffe2 a length of 0 counts the
        first element in). Integers are divided toward zero. Raises ShapeError for axes that X does
        not have or a wrong number of lengths, ValueRangeError for a length that is too long.
        """,
        example=f"""
        X = [[1, 2], [3, 6]]
        Y = {result}
        """,
    )
    made.everywhere(lambda call: _launches(call, front, mean))
    backward = operator(
        f"{name}Gradient",
        "dY, X, lengths? -> dX",
        infer=_infer_gradient(front),
        arguments=ARGS,
        doc=f"""
        dX = dY{" / n" if mean else ""} for each of the {"n " if mean else ""}elements that made up
        an element of Y, 0 for those beyond its length. The elements of X are not read, unless it is
        a vector of int64 and dY is not: then it holds the shape of X, as nets of older Caffe2 do.
        """,
    )
    implementation = backward.everywhere_dynamic(reads=lambda op: [(1, _holds_shape)])
    implementation(lambda call: _gradient_launches(call, front, mean))


_declare("Back", "Sum", "[3, 9]")
_declare("Back", "Mean", "[1.5, 4.5]")
_declare("Front", "Sum", "[4, 8]")
_declare("Front", "Mean", "[2, 4]")
