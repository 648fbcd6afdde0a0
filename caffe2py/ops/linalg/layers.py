"""Fully connected layers."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from caffe2py.errors import ShapeError
from caffe2py.kernels.linalg import ENGINES, launch_product
from caffe2py.kernels.reduce import launch_sum
from caffe2py.registry.context import Call, Launch
from caffe2py.registry.gradient import (
    NotDifferentiable,
)
from caffe2py.registry.infer import (
    Query,
    Rule,
    canonical_axis,
    product,
    require_dtype,
    require_same_dtype,
)
from caffe2py.registry.operator import operator
from caffe2py.registry.schema import Arg, Args
from caffe2py.tensor.tensor import Array
from caffe2py.tensor.types import DType, TensorType, shape_text

FLOATS = ("float32", "float64")

ARGS = {
    "axis": Arg(int, 1, "X's axes before this one are kept, the others are flattened to K"),
    "axis_w": Arg(int, 1, "W is flattened to two axes, of which the second begins here"),
    "float16_compute": Arg(bool, False, "accepted; sums are always as wide as the elements"),
}

TRANSPOSED = {"transposed": Arg(bool, False, "W is kept as FCTransposed has it")}

Dims = tuple[int | None, ...]


@dataclass(frozen=True)
class Layer:
    """X as a matrix (M, K), W as (N, K) or, transposed, as (K, N); None for unknown sizes."""

    kept: Dims
    rows: int | None
    deep: int | None
    columns: int | None

    @property
    def out(self) -> Dims:
        """The shape of Y."""
        return (*self.kept, self.columns)


def layer_of(x: Dims, w: Dims, args: Args, transposed: bool) -> Layer:
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
    return Layer(x[:axis], rows, deep, columns)


def _columns(w: Dims, args: Args, transposed: bool) -> int | None:
    """How many outputs a layer has for each row of X, which W alone decides."""
    axis = canonical_axis(args.axis_w, len(w), f"axis_w of W {shape_text(w)},")
    return product(w[axis:] if transposed else w[:axis])


def _known_layer(query: Query, transposed: bool) -> tuple[DType | None, Layer | None]:
    for index in range(3):
        require_dtype(query, index, *FLOATS)
    dtype = require_same_dtype(query, 0, 1, 2)
    x, w = query.inputs[0].shape, query.inputs[1].shape
    if x is None or w is None:
        return dtype, None
    return dtype, layer_of(x, w, query.args, transposed)


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
        w = query.inputs[1].shape
        if w is not None and bias is not None:
            columns = _columns(w, query.args, transposed)
            if not _agree(bias, (columns,)):
                raise ShapeError(
                    f"b is {shape_text(bias)}, needs ({columns}): one element for each output of "
                    f"W {shape_text(w)}"
                )
        return [TensorType(dtype, None if layer is None else layer.out)]

    return rule


def infer_gradient(transposed: bool) -> Rule:
    """The rule for dW, db and dX, as many as there are outputs; ShapeError unless dY fits."""

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

    launch = made.cpu(lambda call: _launch_layer(call, transposed))
    made.cuda_engines(launch, *ENGINES)


def _launch_layer(call: Call, transposed: bool, low: float = -math.inf) -> list[Launch]:
    """The product with bias, results at least `low`."""
    x, w, bias = call.inputs
    layer = layer_of(x.shape, w.shape, call.args, transposed)
    m, k, n = layer.rows or 0, layer.deep or 0, layer.columns or 0
    return launch_product(
        call,
        x.reshape(m, k),
        w.reshape((k, n) if transposed else (n, k)),
        call.outputs[0].reshape(m, n),
        transpose_b=not transposed,
        bias=bias,
        low=low,
        steady="b" if call.steady(1) or call.lasts(1) else "",
    )


def _declare_gradient(name: str, transposed: bool, doc: str) -> None:
    """Register the gradient of a layer."""
    made = operator(
        name,
        "X, W, dY -> dW, db, dX?",
        infer=infer_gradient(transposed),
        doc=doc,
        arguments=ARGS,
    )

    @made.cpu
    def launch(call: Call) -> list[Launch]:
        layer = layer_of(call.inputs[0].shape, call.inputs[1].shape, call.args, transposed)
        launches = launch_weights_gradient(call, layer, transposed)
        for dx in call.outputs[2:]:
            launches += launch_input_gradient(call, layer, transposed, dx)
        return launches

    made.cuda_engines(launch, *ENGINES)


def launch_weights_gradient(call: Call, layer: Layer, transposed: bool) -> list[Launch]:
    """Outputs 0 and 1: dW and db."""
    m, k, n = layer.rows or 0, layer.deep or 0, layer.columns or 0
    x, dy = call.inputs[0].reshape(m, k), call.inputs[2].reshape(m, n)
    dw, db = call.outputs[:2]
    if transposed:
        launches = launch_product(call, x, dy, dw.reshape(k, n), transpose_a=True)
    else:
        launches = launch_product(call, dy, x, dw.reshape(n, k), transpose_a=True)
    return launches + launch_sum(call, dy, [0], db)


def launch_input_gradient(call: Call, layer: Layer, transposed: bool, dx: Array) -> list[Launch]:
    """DX = dY W; W is packed once a run where it lasts, for steps have few rows."""
    m, k, n = layer.rows or 0, layer.deep or 0, layer.columns or 0
    w, dy = call.inputs[1:]
    matrix = w.reshape((k, n) if transposed else (n, k))
    return launch_product(
        call,
        dy.reshape(m, n),
        matrix,
        dx.reshape(m, k),
        transpose_b=transposed,
        steady="b" if call.lasts(1) else "",
    )


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
        **TRANSPOSED,
        "relu": Arg(bool, True, "negative results become 0"),
    },
)


@_fused.cpu
def _launch_fused(call: Call) -> list[Launch]:
    low = 0.0 if call.args.relu else -math.inf
    return _launch_layer(call, call.args.transposed, low)


_fused.cuda_engines(_launch_fused, *ENGINES)


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
