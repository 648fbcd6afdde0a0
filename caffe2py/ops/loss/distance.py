"""Distances of rows, and the mean of a loss."""

from __future__ import annotations

from collections.abc import Sequence

from caffe2py.errors import ShapeError
from caffe2py.kernels.elementwise import FLOATS
from caffe2py.kernels.losses import (
    launch_distance,
    launch_distance_gradient,
    launch_mean,
    launch_mean_gradient,
)
from caffe2py.kernels.rows import matrix
from caffe2py.registry.context import Call, Launch
from caffe2py.registry.infer import (
    Query,
    product,
    require_dtype,
    require_same_dtype,
    require_same_shape,
)
from caffe2py.registry.operator import operator
from caffe2py.registry.schema import Arg
from caffe2py.tensor.tensor import Array
from caffe2py.tensor.types import TensorType, shape_text

AVERAGE = {"average": Arg(bool, False, "accepted; the loss is always averaged")}


def _check(query: Query) -> TensorType:
    """The common type of all inputs, with the common shape of the first two."""
    for index in range(len(query.inputs)):
        require_dtype(query, index, *FLOATS)
    dtype = require_same_dtype(query, *range(len(query.inputs)))
    return TensorType(dtype, require_same_shape(query, 0, min(1, len(query.inputs) - 1)))


# ---------------------------------------------------------------- distances


def _infer_distance(query: Query) -> Sequence[TensorType]:
    common = _check(query)
    shape = common.shape
    return [common.with_shape((None if shape is None else shape[0] if shape else 1,))]


def _infer_distance_gradient(query: Query) -> Sequence[TensorType]:
    common = _check(query)
    shape, dz = common.shape, query.inputs[2].shape
    if dz is not None:
        rows = None if shape is None else shape[0] if shape else 1
        if len(dz) != 1 or (None not in (rows, dz[0]) and dz[0] != rows):
            wanted = shape_text((rows,))
            raise ShapeError(f"'dZ' is {shape_text(dz)}, needs one element a row: {wanted}")
    return [common] * query.outputs


def _rows(x: Array) -> Array:
    return matrix(x, min(x.ndim, 1)) if x.ndim else x.reshape(1, 1)


def _declare(name: str, squared: bool, doc: str, example: str, gradient_doc: str) -> None:
    """Register a distance and its gradient."""
    forward = operator(
        name,
        "X, Y -> Z",
        infer=_infer_distance,
        gradient=f"{name}Gradient(X, Y, dZ) -> dX, dY",
        doc=doc,
        example=example,
    )
    backward = operator(
        f"{name}Gradient", "X, Y, dZ -> dX, dY", infer=_infer_distance_gradient, doc=gradient_doc
    )

    @forward.everywhere
    def launch(call: Call) -> Launch:
        x, y = map(_rows, call.inputs)
        return launch_distance(x, y, call.outputs[0], squared=squared)

    @backward.everywhere
    def launch_gradient(call: Call) -> Launch:
        x, y, dz = call.inputs
        dx, dy = map(_rows, call.outputs)
        return launch_distance_gradient(_rows(x), _rows(y), dz, dx, dy, squared=squared)


_declare(
    "SquaredL2Distance",
    squared=True,
    doc="Z[i] = sum((X[i] - Y[i])^2) / 2 over all axes but the first; X and Y have one shape.",
    example="""
    X = [[1, 2], [3, 4]]; Y = [[1, 0], [0, 0]]
    Z = [2, 12.5]
    """,
    gradient_doc="dX[i] = dZ[i] * (X[i] - Y[i]), dY = -dX.",
)
_declare(
    "L1Distance",
    squared=False,
    doc="Z[i] = sum(|X[i] - Y[i]|) over all axes but the first; X and Y have one shape.",
    example="""
    X = [[1, 2], [3, 4]]; Y = [[1, 0], [0, 0]]
    Z = [2, 7]
    """,
    gradient_doc="""
    dX[i] = dZ[i] * sign(X[i] - Y[i]), dY = -dX; the sign of a difference of at most 1e-12 is 0.
    """,
)


# ---------------------------------------------------------------- mean


def _infer_mean(query: Query) -> Sequence[TensorType]:
    return [_check(query).with_shape(())]


def _infer_mean_gradient(query: Query) -> Sequence[TensorType]:
    for index in range(2):
        require_dtype(query, index, *FLOATS)
    dtype = require_same_dtype(query, 0, 1)
    dy = query.inputs[1].shape
    if dy is not None and product(dy) not in (None, 1):
        raise ShapeError(f"'doutput' is {shape_text(dy)}, needs one element")
    return [query.inputs[0].with_dtype(dtype)]


_averaged = operator(
    "AveragedLoss",
    "input -> output",
    infer=_infer_mean,
    gradient="AveragedLossGradient(input.shape, doutput) -> dinput",
    doc="Output = the mean of all elements of input, a scalar; 0 if there are none.",
    example="""
    input = [[1, 2], [3, 6]]
    output = 3
    """,
    arguments=AVERAGE,
)
_averaged_gradient = operator(
    "AveragedLossGradient",
    "input, doutput -> dinput",
    infer=_infer_mean_gradient,
    doc="Dinput = doutput / number of elements of input, at each of them.",
    arguments=AVERAGE,
)


@_averaged.everywhere
def _launch_mean(call: Call) -> list[Launch]:
    return launch_mean(call.inputs[0], call.outputs[0])


@_averaged_gradient.everywhere
def _launch_mean_gradient(call: Call) -> Launch:
    return launch_mean_gradient(call.inputs[1], call.outputs[0])
