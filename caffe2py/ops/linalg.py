"""Fully connected layers, products of matrices and of batches of them."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from caffe2py.errors import NoGradientError, ShapeError
from caffe2py.kernels.copy import launch_expand
from caffe2py.kernels.linalg import launch_product
from caffe2py.kernels.reduce import launch_sum
from caffe2py.proto.caffe2_pb2 import OperatorDef
from caffe2py.registry.context import Call, Launch
from caffe2py.registry.gradient import (
    Gradient,
    GradientName,
    NotDifferentiable,
    gradient_name,
    gradient_op,
)
from caffe2py.registry.infer import (
    Query,
    Rule,
    broadcast_shapes,
    canonical_axis,
    product,
    require_dtype,
    require_same_dtype,
)
from caffe2py.registry.operator import lookup, operator
from caffe2py.registry.schema import Arg, Args
from caffe2py.tensor.tensor import Array
from caffe2py.tensor.types import DType, Shape, TensorType, shape_text

FLOATS = ("float32", "float64")

ARGS = {
    "axis": Arg(int, 1, "X's axes before this one are kept, the others are flattened to K"),
    "axis_w": Arg(int, 1, "W is flattened to two axes, of which the second begins here"),
    "float16_compute": Arg(bool, False, "accepted; sums are always as wide as the elements"),
}

Dims = tuple[int | None, ...]


@dataclass(frozen=True)
class _Layer:
    """X as a matrix (M, K), W as (N, K) or, transposed, as (K, N); None for unknown sizes."""

    kept: Dims
    rows: int | None
    deep: int | None
    columns: int | None

    @property
    def out(self) -> Dims:
        """The shape of Y."""
        return (*self.kept, self.columns)


def _layer(x: Dims, w: Dims, args: Args, transposed: bool) -> _Layer:
    """The sizes of a layer; ShapeError where an axis is out of range or X and W differ in K."""
    axis = canonical_axis(args.axis, len(x), f"axis of X {shape_text(x)},")
    axis_w = canonical_axis(args.axis_w, len(w), f"axis_w of W {shape_text(w)},")
    rows, deep = product(x[:axis]), product(x[axis:])
    first, second = product(w[:axis_w]), product(w[axis_w:])
    columns, inner = (second, first) if transposed else (first, second)
    if deep is not None and inner is not None and deep != inner:
        needed = f"({deep},N)" if transposed else f"(N,{deep})"
        raise ShapeError(
            f"X is {shape_text(x)}, flattened at axis {axis} to K={deep}; "
            f"W is {shape_text(w)}, needs {needed} when flattened at axis_w {axis_w}"
        )
    return _Layer(x[:axis], rows, deep, columns)


def _known_layer(query: Query, transposed: bool) -> tuple[DType | None, _Layer | None]:
    for index in range(3):
        require_dtype(query, index, *FLOATS)
    dtype = require_same_dtype(query, 0, 1, 2)
    x, w = query.inputs[0].shape, query.inputs[1].shape
    if x is None or w is None:
        return dtype, None
    return dtype, _layer(x, w, query.args, transposed)


def _agree(found: Dims, expected: Dims) -> bool:
    return len(found) == len(expected) and all(
        None in (a, b) or a == b for a, b in zip(found, expected, strict=True)
    )


def _infer_layer(transposed: bool) -> Rule:
    def rule(query: Query) -> Sequence[TensorType]:
        dtype, layer = _known_layer(query, transposed)
        bias = query.inputs[2].shape
        if bias is not None and len(bias) != 1:
            raise ShapeError(f"b must have one dimension, found {shape_text(bias)}")
        if layer is None:
            return [TensorType(dtype)]
        if bias is not None and not _agree(bias, (layer.columns,)):
            raise ShapeError(
                f"b is {shape_text(bias)}, needs ({layer.columns}): one element for each output of "
                f"W {shape_text(query.inputs[1].shape)}"
            )
        return [TensorType(dtype, layer.out)]

    return rule


def _infer_gradient(transposed: bool) -> Rule:
    def rule(query: Query) -> Sequence[TensorType]:
        dtype, layer = _known_layer(query, transposed)
        x, w, dy = query.inputs
        if layer is not None and dy.shape is not None and not _agree(dy.shape, layer.out):
            raise ShapeError(
                f"dY is {shape_text(dy.shape)}, needs the shape of Y, {shape_text(layer.out)}"
            )
        columns = None if layer is None else layer.columns
        bias = TensorType(dtype, (columns,))
        return [w.with_dtype(dtype), bias, x.with_dtype(dtype)][: query.outputs]

    return rule


def _declare(name: str, transposed: bool, onnx: str | None, doc: str, example: str) -> None:
    """Register a layer: Y = X W^T + b, or Y = X W + b if `transposed`."""
    made = operator(
        name,
        "X, W, b -> Y",
        infer=_infer_layer(transposed),
        gradient=f"{name}Gradient(X, W, dY) -> dW, db, dX",
        onnx=onnx,
        doc=doc,
        example=example,
        arguments=ARGS,
    )

    made.cpu(lambda call: _launch_layer(call, transposed))


def _launch_layer(call: Call, transposed: bool, low: float = -math.inf) -> list[Launch]:
    """The product with bias, results at least `low`."""
    x, w, bias = call.inputs
    layer = _layer(x.shape, w.shape, call.args, transposed)
    m, k, n = layer.rows or 0, layer.deep or 0, layer.columns or 0
    return launch_product(
        call,
        x.reshape(m, k),
        w.reshape((k, n) if transposed else (n, k)),
        call.outputs[0].reshape(m, n),
        transpose_b=not transposed,
        bias=bias,
        low=low,
        steady="b" if call.steady(1) else "",
    )


def _declare_gradient(name: str, transposed: bool, doc: str) -> None:
    """Register the gradient of a layer."""
    made = operator(
        name,
        "X, W, dY -> dW, db, dX?",
        infer=_infer_gradient(transposed),
        doc=doc,
        arguments=ARGS,
    )

    @made.cpu
    def launch(call: Call) -> list[Launch]:
        x, w, dy = call.inputs
        layer = _layer(x.shape, w.shape, call.args, transposed)
        m, k, n = layer.rows or 0, layer.deep or 0, layer.columns or 0
        x, dy = x.reshape(m, k), dy.reshape(m, n)
        dw, db, *rest = call.outputs
        if transposed:
            launches = launch_product(call, x, dy, dw.reshape(k, n), transpose_a=True)
        else:
            launches = launch_product(call, dy, x, dw.reshape(n, k), transpose_a=True)
        launches += launch_sum(call, dy, [0], db)
        for dx in rest:
            matrix = w.reshape((k, n) if transposed else (n, k))
            launches += launch_product(call, dy, matrix, dx.reshape(m, k), transpose_b=transposed)
        return launches


_declare(
    "FC",
    transposed=False,
    onnx="Gemm",
    doc="""
    Y = X W^T + b, a fully connected layer. X is taken as a matrix (M, K) by flattening it at
    `axis`, W as (N, K) by flattening it at `axis_w`; b is (N). Y has the shape of X up to `axis`,
    then N. An empty W (K = 0) gives Y = b.
    """,
    example="""
    X = [[1, 2, 3]]; W = [[1, 0, 0], [0, 1, 1]]; b = [10, 20]
    Y = [[11, 25]]
    """,
)
_declare(
    "FCTransposed",
    transposed=True,
    onnx=None,
    doc="""
    Y = X W + b, a fully connected layer whose weights are kept as (K, N) when flattened at
    `axis_w`. Everything else is as in FC.
    """,
    example="""
    X = [[1, 2, 3]]; W = [[1, 0], [0, 1], [0, 1]]; b = [10, 20]
    Y = [[11, 25]]
    """,
)
_fused = operator(
    "FusedFC",
    "X, W, b -> Y",
    infer=lambda query: _infer_layer(query.args.transposed)(query),
    gradient=NotDifferentiable("made by optimising nets that only infer"),
    doc="""
    Y = max(X W^T + b, 0), with relu=0 without the limit; with `transposed` X W. No operator of
    Caffe2's: it stands for FC, or FCTransposed, and Relu.
    """,
    example="""
    X = [[1, 2, 3]]; W = [[1, 0, 0], [0, 1, 1]]; b = [10, -20]
    Y = [[11, 0]]
    """,
    arguments={
        **ARGS,
        "transposed": Arg(bool, False, "W is kept as FCTransposed has it"),
        "relu": Arg(bool, True, "negative results become 0"),
    },
)


@_fused.cpu
def _launch_fused(call: Call) -> list[Launch]:
    low = 0.0 if call.args.relu else -math.inf
    return _launch_layer(call, call.args.transposed, low)


_declare_gradient(
    "FCGradient",
    transposed=False,
    doc="DW = dY^T X, db = the column sums of dY, dX = dY W (if there is an output for it).",
)
_declare_gradient(
    "FCTransposedGradient",
    transposed=True,
    doc="DW = X^T dY, db = the column sums of dY, dX = dY W^T (if there is an output for it).",
)


# ---------------------------------------------------------------- MatMul


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
