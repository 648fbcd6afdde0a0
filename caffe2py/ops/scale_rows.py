"""Products with one number a row or a column: RowMul, ElementwiseLinear."""

from __future__ import annotations

from collections.abc import Sequence

from caffe2py.errors import NoGradientError, ShapeError
from caffe2py.kernels.channels import launch_channel_map
from caffe2py.kernels.elementwise import FLOATS, launch_map
from caffe2py.kernels.reduce import launch_sum
from caffe2py.kernels.rows import matrix
from caffe2py.proto.caffe2_pb2 import OperatorDef
from caffe2py.registry.context import Call, Launch
from caffe2py.registry.gradient import Gradient, GradientName, gradient_name, gradient_op
from caffe2py.registry.infer import (
    Query,
    canonical_axis,
    product,
    require_dtype,
    require_same_dtype,
    require_same_shape,
)
from caffe2py.registry.operator import operator
from caffe2py.registry.schema import Arg
from caffe2py.tensor.types import DType, TensorType, shape_text


def _floats(query: Query) -> DType | None:
    """The common dtype of all inputs."""
    indices = range(len(query.inputs))
    for index in indices:
        require_dtype(query, index, *FLOATS)
    return require_same_dtype(query, *indices)


# ---------------------------------------------------------------- RowMul


def _infer_row_mul(query: Query) -> Sequence[TensorType]:
    dtype = _floats(query)
    mat, w = (t.shape for t in query.inputs)
    if mat == ():
        raise ShapeError("'mat' must have rows, found ()")
    count = None if w is None else product(w)
    if mat is not None and None not in (mat[0], count) and mat[0] != count:
        raise ShapeError(
            f"'w' must have one element for each row of 'mat' {shape_text(mat)}, "
            f"found {shape_text(w)}"
        )
    return [TensorType(dtype, mat)]


def _row_mul_gradient(op: OperatorDef, output_grads: Sequence[GradientName]) -> Gradient:
    """dmat = dY * w, row by row; dw = the sum of dY * mat over each row."""
    (dy,) = output_grads
    if dy is None:
        raise NoGradientError("RowMul: the gradient reads dY, which nothing in the net provides")
    mat, w = op.input
    dmat, dw = gradient_name(mat), gradient_name(w)
    terms = f"{dw}before_aggregate"
    steps = (
        gradient_op(op, "RowMul", [dy, w], [dmat]),
        gradient_op(op, "Mul", [dy, mat], [terms]),
        gradient_op(op, "ReduceTailSum", [terms], [dw]),
    )
    return Gradient(steps, (dmat, dw))


_row_mul = operator(
    "RowMul",
    "mat, w -> output",
    infer=_infer_row_mul,
    gradient=_row_mul_gradient,
    doc="""
    output[r] = mat[r] * w[r] for each index r of mat's first axis. Raises ShapeError unless w has
    one element for each of them.
    """,
    example="""
    mat = [[1, 2], [3, 4]]; w = [10, 100]
    output = [[10, 20], [300, 400]]
    """,
)


def _product(x, w):
    return x * w


@_row_mul.everywhere
def _launch_row_mul(call: Call) -> Launch:
    mat, w = call.inputs
    shape = (1, *matrix(mat, 1).shape)
    y = call.outputs[0].reshape(shape)
    return launch_channel_map(_product, (mat.reshape(shape),), (w.reshape(-1),), y)


# ---------------------------------------------------------------- ElementwiseLinear

AXIS = {"axis": Arg(int, 1, "the axis of X where columns begin; negative from the end")}


def _columns(query: Query, x: int, vectors: Sequence[int]) -> None:
    """Each of the vectors has one element for each column of X."""
    shape = query.inputs[x].shape
    if shape is None:
        return
    axis = canonical_axis(query.args.axis, len(shape), inclusive=True)
    columns = product(shape[axis:])
    for index in vectors:
        found = query.inputs[index].shape
        if found is None:
            continue
        if len(found) != 1 or (None not in (found[0], columns) and found[0] != columns):
            raise ShapeError(
                f"'{query.name(index)}' must be a vector of {columns} element(s), one for each "
                f"column of 'X' {shape_text(shape)}; found {shape_text(found)}"
            )


def _infer_linear(query: Query) -> Sequence[TensorType]:
    _floats(query)
    _columns(query, 0, (1, 2))
    return [query.inputs[0]]


_linear = operator(
    "ElementwiseLinear",
    "X, w, b -> Y",
    infer=_infer_linear,
    gradient="ElementwiseLinearGradient(dY, X, w) -> dX, dw, db",
    onnx="ElementwiseLinear",
    arguments=AXIS,
    doc="""
    Y[n, d] = X[n, d] * w[d] + b[d], where X is seen as a matrix: the axes from `axis` on are its
    columns. Raises ShapeError unless w and b are vectors with one element a column.
    """,
    example="""
    X = [[1, 2], [3, 4]]; w = [10, 100]; b = [1, 2]
    Y = [[11, 202], [31, 402]]
    """,
)


def _line(x, w, b):
    return x * w + b


@_linear.everywhere
def _launch_linear(call: Call) -> Launch:
    x, w, b = call.inputs
    shape = (*matrix(x, canonical_axis(call.args.axis, x.ndim, inclusive=True)).shape, 1)
    return launch_channel_map(_line, (x.reshape(shape),), (w, b), call.outputs[0].reshape(shape))


def _infer_linear_gradient(query: Query) -> Sequence[TensorType]:
    dtype = _floats(query)
    shape = require_same_shape(query, 0, 1)
    _columns(query, 1, (2,))
    w = query.inputs[2].with_dtype(dtype)
    return [TensorType(dtype, shape), w, w]


_linear_gradient = operator(
    "ElementwiseLinearGradient",
    "dY, X, w -> dX, dw, db",
    infer=_infer_linear_gradient,
    arguments=AXIS,
    doc="dX = dY * w, column by column; dw[d] = sum of dY * X, db[d] = sum of dY over column d.",
)


@_linear_gradient.everywhere
def _launch_linear_gradient(call: Call) -> list[Launch]:
    dy, x, w = call.inputs
    dx, dw, db = call.outputs
    whole = matrix(x, canonical_axis(call.args.axis, x.ndim, inclusive=True)).shape
    terms = call.scratch(whole, x.dtype)
    cube = (*whole, 1)
    return [
        launch_map(_product, (dy, x), terms),
        *launch_sum(call, terms, (0,), dw),
        *launch_sum(call, dy.reshape(whole), (0,), db),
        launch_channel_map(_product, (dy.reshape(cube),), (w,), dx.reshape(cube)),
    ]
