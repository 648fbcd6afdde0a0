"""Norms over chosen axes, and sums of rows: weighted ones, and of what follows the first axis."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

from caffe2py.errors import ArgumentError, NoGradientError, ShapeError
from caffe2py.kernels.copy import launch_expand
from caffe2py.kernels.elementwise import FLOATS, NUMERIC, launch_map
from caffe2py.kernels.extrema import launch_outer, launch_weighted_rows
from caffe2py.kernels.reduce import launch_sum
from caffe2py.ops.reduction.axes import (
    AXES,
    infer_reduced,
    infer_reduced_gradient,
    reduced_axes,
    spread,
)
from caffe2py.proto.caffe2_pb2 import OperatorDef
from caffe2py.registry.context import Call, Launch
from caffe2py.registry.gradient import (
    Gradient,
    GradientName,
    NotDifferentiable,
    gradient_name,
    gradient_op,
)
from caffe2py.registry.infer import Query, require_dtype, require_rank, require_same_dtype
from caffe2py.registry.operator import operator
from caffe2py.registry.schema import Arg
from caffe2py.tensor.tensor import Array
from caffe2py.tensor.types import TensorType, shape_text

Dims = tuple[int | None, ...]
Steps = Callable[[Call, Array], list[Launch]]


def _magnitude(x):
    return abs(x)


def _square(x):
    return x * x


def _root(x):
    return x**0.5


def _with_sign(x, y, dy):
    if x == 0:
        return 0
    return dy if x > 0 else -dy


def _along(x, y, dy):
    return dy * x / y if y > 0 else 0


def _declare_norm(name: str, onnx: str | None, doc: str, doc_gradient: str, result: str) -> None:
    """ReduceL1 or ReduceL2, with the gradient."""
    part = _magnitude if name == "ReduceL1" else _square
    slope = _with_sign if name == "ReduceL1" else _along
    made = operator(
        name,
        "X -> Y",
        infer=infer_reduced(FLOATS),
        gradient=f"{name}Gradient(dY, X, Y) -> dX",
        onnx=onnx,
        arguments=AXES,
        doc=f"{doc} Raises ShapeError for axes that X does not have.",
        example=f"""
        X = [[3, -4], [0, 2]]; axes = [1]
        Y = {result}
        """,
    )

    @made.everywhere
    def launch(call: Call) -> list[Launch]:
        x, y = call.inputs[0], call.outputs[0]
        parts = call.scratch(x.shape, x.dtype)
        total = launch_sum(call, parts, reduced_axes(call.args.axes, x.ndim), y)
        roots = [launch_map(_root, (y,), y)] if part is _square else []
        return [launch_map(part, (x,), parts), *total, *roots]

    backward = operator(
        f"{name}Gradient",
        "dY, X, Y -> dX",
        infer=infer_reduced_gradient(FLOATS),
        arguments=AXES,
        doc=doc_gradient,
    )

    @backward.everywhere
    def launch_gradient(call: Call) -> list[Launch]:
        dy, x, y = call.inputs
        whole_y, whole_dy = (call.scratch(x.shape, x.dtype) for _ in range(2))
        return [
            launch_expand(spread(call, y), whole_y),
            launch_expand(spread(call, dy), whole_dy),
            launch_map(slope, (x, whole_y, whole_dy), call.outputs[0]),
        ]


_declare_norm(
    "ReduceL1",
    None,
    "Y = the sum of |X| over `axes`; 0 where there is no element.",
    "dX = dY with the sign of X, 0 where X is 0.",
    "[[7], [2]]",
)
_declare_norm(
    "ReduceL2",
    "ReduceMean",
    "Y = sqrt(the sum of X * X over `axes`); 0 where there is no element.",
    "dX = dY * X / Y; 0 where Y is 0 (Caffe2 passes dY on there).",
    "[[5], [2]]",
)


# ---------------------------------------------------------------- ReduceFrontWeightedSum

COUNT = Arg(int, 1, "how many axes are reduced: 1")


def _gradient_of_weighted(op: OperatorDef, output_grads: Sequence[GradientName]) -> Gradient:
    """The weights have none; the shape of DATA comes from a Shape operator."""
    grad = output_grads[0]
    if grad is None:
        raise NoGradientError("ReduceFrontWeightedSum: nothing provides dOUTPUT")
    data, scalars = op.input
    dims, name = f"_{op.output[0]}_dims", gradient_name(data)
    ops = (
        gradient_op(op, "Shape", [data], [dims]),
        gradient_op(op, "ReduceFrontWeightedSumGradient", [scalars, grad, dims], [name]),
    )
    return Gradient(ops, (name, None), frozenset([data]))


def _check_weighted(query: Query, *floats: int) -> None:
    if query.args.num_reduce_dim != 1:
        raise ArgumentError(f"num_reduce_dim must be 1, found {query.args.num_reduce_dim}")
    for index in floats:
        require_dtype(query, index, *FLOATS)
    require_same_dtype(query, *floats)


def _infer_weighted(query: Query) -> Sequence[TensorType]:
    _check_weighted(query, 0, 1)
    require_rank(query, 1, 1)
    data, scalars = query.inputs[0].shape, query.inputs[1].shape
    rows = () if data is None else data[:1] or (0,)
    if scalars is not None and rows and None not in (*rows, *scalars) and rows != scalars:
        raise ShapeError(
            f"'SCALARS' is {shape_text(scalars)}; DATA {shape_text(data)} needs one a row"
        )
    if data == ():
        raise ShapeError("input 0 'DATA' must have at least 1 dimension")
    return [query.inputs[0].with_shape(None if data is None else data[1:])]


_weighted = operator(
    "ReduceFrontWeightedSum",
    "DATA, SCALARS -> OUTPUT",
    infer=_infer_weighted,
    gradient=_gradient_of_weighted,
    num_reduce_dim=COUNT,
    grad_on_weights=Arg(bool, None, "without effect: SCALARS have no gradient"),
    doc="""
    OUTPUT = the sum of SCALARS[r] * DATA[r] over the first axis of DATA; SCALARS is a vector with
    one element for each row. Raises ShapeError for another number of them.
    """,
    example="""
    DATA = [[1, 2], [3, 4]]; SCALARS = [10, 1]
    OUTPUT = [13, 24]
    """,
)


@_weighted.everywhere
def _launch_weighted(call: Call) -> list[Launch]:
    data, scalars = call.inputs
    rows = data.reshape(data.shape[0], math.prod(data.shape[1:]))
    return launch_weighted_rows(rows, scalars, call.outputs[0].reshape(-1))


def _infer_weighted_gradient(query: Query) -> Sequence[TensorType]:
    _check_weighted(query, 0, 1)
    require_rank(query, 0, 1)
    require_dtype(query, 2, "int64")
    scalars, dy = query.inputs[0].shape, query.inputs[1]
    shape: Dims | None = None
    if dy.shape is not None:
        shape = (None if scalars is None else scalars[0], *dy.shape)
    return [dy.with_shape(shape)]


_weighted_gradient = operator(
    "ReduceFrontWeightedSumGradient",
    "SCALARS, dOUTPUT, dims -> dDATA",
    infer=_infer_weighted_gradient,
    num_reduce_dim=COUNT,
    doc="""
    dDATA[r] = SCALARS[r] * dOUTPUT. The shape follows from these; `dims`, that of DATA, is not
    read.
    """,
)


@_weighted_gradient.everywhere
def _launch_weighted_gradient(call: Call) -> Launch:
    scalars, dy, _ = call.inputs
    dx = call.outputs[0].reshape(scalars.size, dy.size)
    return launch_outer(scalars, dy.reshape(-1), dx)


# ---------------------------------------------------------------- ReduceTailSum


def _infer_tail(query: Query) -> Sequence[TensorType]:
    require_dtype(query, 0, *NUMERIC)
    x = query.inputs[0]
    if x.shape == ():
        raise ShapeError("input 0 'mat' must have at least 1 dimension")
    return [x.with_shape(None if x.shape is None else x.shape[:1])]


_tail = operator(
    "ReduceTailSum",
    "mat -> output",
    infer=_infer_tail,
    gradient=NotDifferentiable("Caffe2 has none"),
    doc="output[r] = the sum of all elements of mat[r].",
    example="""
    mat = [[1, 2], [3, 4]]
    output = [3, 7]
    """,
)


@_tail.everywhere
def _launch_tail(call: Call) -> list[Launch]:
    x = call.inputs[0]
    return launch_sum(call, x, list(range(1, x.ndim)), call.outputs[0])
