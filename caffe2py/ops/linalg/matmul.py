"""Products of matrices and of batches of them."""

from __future__ import annotations

import math
from collections.abc import Sequence

from caffe2py.errors import NoGradientError, ShapeError
from caffe2py.kernels.copy import launch_expand
from caffe2py.kernels.linalg import ENGINES, launch_product
from caffe2py.ops.linalg.layers import FLOATS, Dims
from caffe2py.proto.caffe2_pb2 import OperatorDef
from caffe2py.registry.context import Call, Launch
from caffe2py.registry.gradient import (
    Gradient,
    GradientName,
    gradient_name,
    gradient_op,
)
from caffe2py.registry.infer import (
    Query,
    broadcast_shapes,
    canonical_axis,
    product,
    require_dtype,
    require_same_dtype,
)
from caffe2py.registry.operator import lookup, operator
from caffe2py.registry.schema import Arg
from caffe2py.tensor.tensor import Array
from caffe2py.tensor.types import Shape, TensorType, shape_text


def _factor(shape: Dims, axis: int, turned: bool, name: str) -> tuple[int | None, int | None]:
    """Rows and columns of a factor, flattened at `axis` and transposed if `turned`."""
    axis = canonical_axis(axis, len(shape), f"axis_{name.lower()} of {name} {shape_text(shape)},")
    rows, columns = product(shape[:axis]), product(shape[axis:])
    return (columns, rows) if turned else (rows, columns)


def _differ(a: int | None, b: int | None) -> bool:
    return None not in (a, b) and a != b


def _infer_matmul(query: Query) -> Sequence[TensorType]:
    for index in range(2):
        require_dtype(query, index, *FLOATS)
    dtype = require_same_dtype(query, 0, 1)
    a, b = query.inputs[0].shape, query.inputs[1].shape
    args = query.args
    rows, deep = (None, None) if a is None else _factor(a, args.axis_a, bool(args.trans_a), "A")
    inner, columns = (None, None) if b is None else _factor(b, args.axis_b, bool(args.trans_b), "B")
    if _differ(deep, inner):
        raise ShapeError(
            f"A {shape_text(a)} has {deep} column(s) as a matrix, B {shape_text(b)} has {inner} "
            f"row(s) (trans_a={args.trans_a}, trans_b={args.trans_b})"
        )
    if len(query.inputs) < 3:
        return [TensorType(dtype, (rows, columns))]
    like = query.inputs[2].shape
    size = None if like is None else product(like)
    if _differ(size, product((rows, columns))):
        raise ShapeError(
            f"'shape_of' is {shape_text(like)}; the product is {shape_text((rows, columns))}"
        )
    return [TensorType(dtype, like)]


def _gradient_of_matmul(op: OperatorDef, output_grads: Sequence[GradientName]) -> Gradient:
    """Two more products, each with the shape of the factor as its third input."""
    dy = output_grads[0]
    if dy is None:
        raise NoGradientError("MatMul: its gradient reads dY, which nothing in the net provides")
    args = lookup(op.type).schema.verify(op)
    a, b = op.input[:2]
    ga, gb = gradient_name(a), gradient_name(b)
    at_a, at_b = args.axis_a, args.axis_b
    if args.trans_a and args.trans_b:
        first = ([b, dy, a], {"trans_a": 1, "trans_b": 1, "axis_a": at_b})
        second = ([dy, a, b], {"trans_a": 1, "trans_b": 1, "axis_b": at_a})
    elif args.trans_a:
        first = ([b, dy, a], {"trans_b": 1, "axis_a": at_b})
        second = ([a, dy, b], {"axis_a": at_a})
    elif args.trans_b:
        first = ([dy, b, a], {"axis_b": at_b})
        second = ([dy, a, b], {"trans_a": 1, "axis_b": at_a})
    else:
        first = ([dy, b, a], {"trans_b": 1, "axis_b": at_b})
        second = ([a, dy, b], {"trans_a": 1, "axis_a": at_a})
    ops = [
        gradient_op(op, "MatMul", inputs, [output], own, copy_args=False)
        for (inputs, own), output in ((first, ga), (second, gb))
    ]
    return Gradient(tuple(ops), (ga, gb, *[None] * (len(op.input) - 2)))


_matmul = operator(
    "MatMul",
    "A, B, shape_of? -> Y",
    infer=_infer_matmul,
    gradient=_gradient_of_matmul,
    doc="""
    Y = op(A) op(B), where A is taken as a matrix by flattening the axes before `axis_a` and those
    from there on, B likewise at `axis_b`, and op transposes if `trans_a` or `trans_b` is set. Y
    has two axes, or the shape of the third input, whose elements are not read.
    """,
    example="""
    A = [[1, 2], [3, 4]]; B = [[1, 0], [1, 1]]
    Y = [[3, 2], [7, 4]]
    """,
    axis_a=Arg(int, 1, "where the second axis of A as a matrix begins"),
    axis_b=Arg(int, 1, "where the second axis of B as a matrix begins"),
    trans_a=Arg(int, 0, "1: A is transposed"),
    trans_b=Arg(int, 0, "1: B is transposed"),
)


def _matrix(x: Array, axis: int) -> Array:
    rows, columns = _factor(x.shape, axis, False, "X")
    return x.reshape(rows or 0, columns or 0)


@_matmul.cpu
def _launch_matmul(call: Call) -> list[Launch]:
    args = call.args
    a, b = _matrix(call.inputs[0], args.axis_a), _matrix(call.inputs[1], args.axis_b)
    trans_a, trans_b = bool(args.trans_a), bool(args.trans_b)
    y = call.outputs[0].reshape(a.shape[1 if trans_a else 0], b.shape[0 if trans_b else 1])
    return launch_product(call, a, b, y, transpose_a=trans_a, transpose_b=trans_b)


_matmul.cuda_engines(_launch_matmul, *ENGINES)


# ---------------------------------------------------------------- BatchMatMul


def _padded(query: Query, index: int) -> Dims | None:
    """The shape of a factor with at least two axes: a vector is a row as A, a column as B."""
    shape = query.inputs[index].shape
    if shape is None:
        return None
    if not shape:
        raise ShapeError(f"input {index} '{query.name(index)}' must have at least 1 dimension")
    return _as_stack(shape, index)


def _as_stack(shape: Dims, index: int) -> Dims:
    if len(shape) > 1:
        return shape
    return (1, shape[0]) if index == 0 else (shape[0], 1)


def _turned(shape: Dims, vector: bool, trans: bool) -> Dims:
    """Rows and columns; a vector is never transposed."""
    return shape[:-3:-1] if trans and not vector else shape[-2:]


def _batch(query: Query, a: Dims, b: Dims) -> Dims:
    """The batch of the product; without `broadcast` both have the same."""
    ranks = [t.rank for t in query.inputs]
    same = ranks[0] == ranks[1] and not any(map(_differ, a[:-2], b[:-2]))
    if not query.args.broadcast and not same:
        raise ShapeError(
            f"A {shape_text(query.inputs[0].shape)} and B {shape_text(query.inputs[1].shape)} "
            "must have the same axes before the last two; broadcast=1 would repeat them"
        )
    return broadcast_shapes(a[:-2], b[:-2]) or ()


def _infer_batch(query: Query) -> Sequence[TensorType]:
    for index in range(2):
        require_dtype(query, index, *FLOATS)
    dtype = require_same_dtype(query, 0, 1)
    a, b = _padded(query, 0), _padded(query, 1)
    if a is None or b is None:
        return [TensorType(dtype)]
    vectors = [t.rank == 1 for t in query.inputs]
    rows, deep = _turned(a, vectors[0], query.args.trans_a)
    inner, columns = _turned(b, vectors[1], query.args.trans_b)
    if _differ(deep, inner):
        raise ShapeError(
            f"A {shape_text(query.inputs[0].shape)} has {deep} column(s), "
            f"B {shape_text(query.inputs[1].shape)} has {inner} row(s) "
            f"(trans_a={query.args.trans_a:d}, trans_b={query.args.trans_b:d})"
        )
    batch = _batch(query, a, b)
    if all(vectors):
        return [TensorType(dtype, (1,))]
    kept = (() if vectors[0] else (rows,)) + (() if vectors[1] else (columns,))
    return [TensorType(dtype, (*batch, *kept))]


def _gradient_of_batch(op: OperatorDef, output_grads: Sequence[GradientName]) -> Gradient:
    """Two more products of batches."""
    dy = output_grads[0]
    if dy is None:
        raise NoGradientError("BatchMatMul: its gradient reads dY, which nothing provides")
    args = lookup(op.type).schema.verify(op)
    if args.broadcast:
        raise NoGradientError("BatchMatMul has no gradient with broadcast=1")
    a, b = op.input
    both: dict[str, int] = {"trans_a": 1, "trans_b": 1}
    if args.trans_a and args.trans_b:
        first, second = ([b, dy], both), ([dy, a], both)
    elif args.trans_a:
        first, second = ([b, dy], {"trans_b": 1}), ([a, dy], {})
    elif args.trans_b:
        first, second = ([dy, b], {}), ([dy, a], {"trans_a": 1})
    else:
        first, second = ([dy, b], {"trans_b": 1}), ([a, dy], {"trans_a": 1})
    outputs = [gradient_name(a), gradient_name(b)]
    ops = [
        gradient_op(op, "BatchMatMul", inputs, [output], own, copy_args=False)
        for (inputs, own), output in zip((first, second), outputs, strict=True)
    ]
    return Gradient(tuple(ops), tuple(outputs))


_batch_matmul = operator(
    "BatchMatMul",
    "A, B -> Y",
    infer=_infer_batch,
    gradient=_gradient_of_batch,
    onnx="BatchMatMul",
    doc="""
    Y[n] = op(A[n]) op(B[n]), products of the last two axes for each place n of the others; op
    transposes if `trans_a` or `trans_b` is set. A and B have the same leading axes, or with
    broadcast=1 axes that broadcast as numpy's. A vector is a row as A and a column as B, whatever
    `trans_a` and `trans_b` say, and its axis of size 1 is left out of Y (the product of two vectors
    has shape (1)). There is no gradient with broadcast=1.
    """,
    example="""
    A = [[[1, 2]], [[3, 4]]]; B = [[[1], [1]], [[2], [0]]]
    Y = [[[3]], [[6]]]
    """,
    trans_a=Arg(bool, False, "whether the last two axes of A are exchanged"),
    trans_b=Arg(bool, False, "whether the last two axes of B are exchanged"),
    broadcast=Arg(bool, False, "whether leading axes may differ, and are repeated"),
    use_scratch=Arg(int, None, "accepted; scratch memory is managed elsewhere"),
)


def _stack(call: Call, x: Array, index: int, batch: Shape) -> tuple[Array, list[Launch]]:
    """A factor with one batch axis, copied where its batch is repeated along some axes only."""
    shape = _as_stack(x.shape, index)
    ends = tuple(n for n in shape[-2:] if n is not None)
    own = tuple(n for n in shape[:-2] if n is not None)
    count = math.prod(own)
    if count in (1, math.prod(batch)):
        return x.reshape(count, *ends), []
    wide = call.scratch((*batch, *ends), x.dtype, brief=True)
    padded = x.reshape((1,) * (len(batch) - len(own)) + own + ends)
    return wide.reshape(math.prod(batch), *ends), [launch_expand(padded, wide)]


@_batch_matmul.cpu
def _launch_batch(call: Call) -> list[Launch]:
    a, b = call.inputs
    shapes = [_as_stack(a.shape, 0)[:-2], _as_stack(b.shape, 1)[:-2]]
    batch = tuple(n for n in broadcast_shapes(*shapes) or () if n is not None)
    trans_a, trans_b = call.args.trans_a and a.ndim > 1, call.args.trans_b and b.ndim > 1
    left, before = _stack(call, a, 0, batch)
    right, more = _stack(call, b, 1, batch)
    rows, columns = left.shape[2 if trans_a else 1], right.shape[1 if trans_b else 2]
    y = call.outputs[0].reshape(math.prod(batch), rows, columns)
    launches = launch_product(call, left, right, y, transpose_a=trans_a, transpose_b=trans_b)
    return [*before, *more, *launches]


_batch_matmul.cuda_engines(_launch_batch, *ENGINES)
