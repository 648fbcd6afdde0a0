"""How alike rows are: DotProduct, DotProductWithPadding, CosineSimilarity."""

from __future__ import annotations

from collections.abc import Sequence

from caffe2py.errors import NoGradientError, ShapeError
from caffe2py.kernels.elementwise import FLOATS
from caffe2py.kernels.rows import matrix
from caffe2py.kernels.similarity import (
    launch_cosine_rows,
    launch_cosine_rows_gradient,
    launch_dot_rows,
    launch_dot_rows_gradient,
)
from caffe2py.proto.caffe2_pb2 import OperatorDef
from caffe2py.registry.context import Call, Launch
from caffe2py.registry.gradient import Gradient, GradientName, gradient_name, gradient_op
from caffe2py.registry.infer import (
    Query,
    require_dtype,
    require_same_dtype,
    require_same_shape,
)
from caffe2py.registry.operator import operator
from caffe2py.registry.schema import Arg
from caffe2py.tensor.tensor import Array
from caffe2py.tensor.types import TensorType, shape_text


def _rows(x: Array) -> Array:
    """The array as a matrix whose rows are the indices of the first axis."""
    return matrix(x, min(x.ndim, 1)) if x.ndim else x.reshape(1, 1)


def _check(query: Query, *, alike: bool) -> int | None:
    """Check X, Y and a gradient of their product; returns the number of rows."""
    indices = range(len(query.inputs))
    for index in indices:
        require_dtype(query, index, *FLOATS)
    require_same_dtype(query, *indices)
    if alike:
        shape = require_same_shape(query, 0, 1)
        rows = None if shape is None else shape[0] if shape else 1
    else:
        rows = _common_rows(query)
    dz = query.inputs[2].shape if len(query.inputs) > 2 else None
    if dz is not None and (len(dz) != 1 or (None not in (rows, dz[0]) and dz[0] != rows)):
        raise ShapeError(
            f"'dZ' is {shape_text(dz)}, needs one element a row: {shape_text((rows,))}"
        )
    return rows


def _common_rows(query: Query) -> int | None:
    found = []
    for index in (0, 1):
        shape = query.inputs[index].shape
        if shape == ():
            raise ShapeError(f"input {index} '{query.name(index)}' must have rows, found ()")
        found.append(None if shape is None else shape[0])
    known = [n for n in found if n is not None]
    if len(set(known)) > 1:
        raise ShapeError(
            f"'X' {shape_text(query.inputs[0].shape)} and 'Y' {shape_text(query.inputs[1].shape)} "
            "must have the same number of rows"
        )
    return known[0] if known else None


def _infer(query: Query) -> Sequence[TensorType]:
    return [query.inputs[0].with_shape((_check(query, alike=True),))]


def _infer_gradient(query: Query) -> Sequence[TensorType]:
    _check(query, alike=True)
    return list(query.inputs[:2])


# ---------------------------------------------------------------- DotProduct

_dot = operator(
    "DotProduct",
    "X, Y -> Z",
    infer=_infer,
    gradient="DotProductGradient(X, Y, dZ) -> dX, dY",
    onnx="DotProduct",
    doc="Z[i] = sum(X[i] * Y[i]) over all axes but the first; X and Y have one shape.",
    example="""
    X = [[1, 2], [3, 4]]; Y = [[1, 1], [0, 2]]
    Z = [3, 8]
    """,
)
_dot_gradient = operator(
    "DotProductGradient",
    "X, Y, dZ -> dX, dY",
    infer=_infer_gradient,
    doc="dX[i] = dZ[i] * Y[i], dY[i] = dZ[i] * X[i].",
)


@_dot.everywhere
def _launch_dot(call: Call) -> Launch:
    x, y = map(_rows, call.inputs)
    return launch_dot_rows(x, y, call.outputs[0])


@_dot_gradient.everywhere
def _launch_dot_gradient(call: Call) -> list[Launch]:
    x, y, dz = call.inputs
    dx, dy = map(_rows, call.outputs)
    return [
        launch_dot_rows_gradient(_rows(y), dz, dx),
        launch_dot_rows_gradient(_rows(x), dz, dy),
    ]


# ---------------------------------------------------------------- DotProductWithPadding

PADDING = {
    "pad_value": Arg(float, 0.0, "what the shorter rows are continued with"),
    "replicate": Arg(bool, False, "the shorter rows are continued with themselves instead"),
}


def _infer_padded(query: Query) -> Sequence[TensorType]:
    return [query.inputs[0].with_shape((_check(query, alike=False),))]


def _infer_padded_gradient(query: Query) -> Sequence[TensorType]:
    _check(query, alike=False)
    return list(query.inputs[:2])


def _padded_gradient(op: OperatorDef, output_grads: Sequence[GradientName]) -> Gradient:
    """The backward operator states both arguments."""
    (dz,) = output_grads
    if dz is None:
        raise NoGradientError(f"{op.type}: the gradient reads dZ, which nothing provides")
    given = {a.name: PADDING[a.name].read(a) for a in op.arg if a.name in PADDING}
    args = {
        "pad_value": float(given.get("pad_value", 0.0)),
        "replicate": int(given.get("replicate", False)),
    }
    made = tuple(gradient_name(name) for name in op.input)
    back = gradient_op(op, "DotProductWithPaddingGradient", [*op.input, dz], made, args)
    return Gradient((back,), made)


_padded = operator(
    "DotProductWithPadding",
    "X, Y -> Z",
    infer=_infer_padded,
    gradient=_padded_gradient,
    arguments=PADDING,
    doc="""
    Z[i] = sum(X[i] * Y[i]) over all axes but the first, where X[i] and Y[i] may have different
    numbers of elements: the shorter ones are continued with `pad_value`, or with `replicate` by
    themselves; then what is left of the longer ones, shorter than the shorter ones, is ignored.
    Raises ShapeError for different numbers of rows.
    """,
    example="""
    X = [[1, 2, 3, 4]]; Y = [[1, 2]]
    Z = [5], or [16] with replicate
    """,
)
_padded_backward = operator(
    "DotProductWithPaddingGradient",
    "X, Y, dZ -> dX, dY",
    infer=_infer_padded_gradient,
    arguments=PADDING,
    doc="dX[i] = dZ[i] * Y[i], dY[i] = dZ[i] * X[i], where the shorter ones are continued.",
)


@_padded.everywhere
def _launch_padded(call: Call) -> Launch:
    x, y = map(_rows, call.inputs)
    args = call.args
    return launch_dot_rows(x, y, call.outputs[0], pad=args.pad_value, replicate=args.replicate)


@_padded_backward.everywhere
def _launch_padded_gradient(call: Call) -> list[Launch]:
    x, y, dz = call.inputs
    dx, dy = map(_rows, call.outputs)
    pad, replicate = call.args.pad_value, call.args.replicate
    return [
        launch_dot_rows_gradient(_rows(y), dz, dx, pad=pad, replicate=replicate),
        launch_dot_rows_gradient(_rows(x), dz, dy, pad=pad, replicate=replicate),
    ]


# ---------------------------------------------------------------- CosineSimilarity

_cosine = operator(
    "CosineSimilarity",
    "X, Y -> Z",
    infer=_infer,
    gradient="CosineSimilarityGradient(X, Y, dZ) -> dX, dY",
    doc="""
    Z[i] = sum(X[i] * Y[i]) / sqrt(sum(X[i]^2) * sum(Y[i]^2)) over all axes but the first; a sum of
    squares below 1e-12 counts as 1e-12. X and Y have one shape.
    """,
    example="""
    X = [[1, 2], [3, 4]]; Y = [[2, 4], [4, -3]]
    Z = [1, 0]
    """,
)
_cosine_gradient = operator(
    "CosineSimilarityGradient",
    "X, Y, dZ -> dX, dY",
    infer=_infer_gradient,
    doc="""
    dX[i] = dZ[i] * (Y[i] - X[i] * sum(X[i] * Y[i]) / sum(X[i]^2)) / (|X[i]| * |Y[i]|), dY the same
    with X and Y exchanged.
    """,
)


@_cosine.everywhere
def _launch_cosine(call: Call) -> Launch:
    x, y = map(_rows, call.inputs)
    return launch_cosine_rows(x, y, call.outputs[0])


@_cosine_gradient.everywhere
def _launch_cosine_gradient(call: Call) -> Launch:
    x, y, dz = call.inputs
    dx, dy = map(_rows, call.outputs)
    return launch_cosine_rows_gradient(_rows(x), _rows(y), dz, dx, dy)
