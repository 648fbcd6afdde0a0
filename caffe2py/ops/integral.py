"""IntegralImage: sums over the corners of images."""

from __future__ import annotations

import math
from collections.abc import Sequence

from caffe2py.errors import ShapeError
from caffe2py.kernels.elementwise import FLOATS
from caffe2py.kernels.resize import launch_spread_corners, launch_sum_corners
from caffe2py.registry.context import Call, Launch
from caffe2py.registry.infer import Query, require_dtype, require_rank, require_same_dtype
from caffe2py.registry.operator import operator
from caffe2py.registry.schema import Arg
from caffe2py.tensor.tensor import Array
from caffe2py.tensor.types import TensorType, shape_text

Dims = tuple[int | None, ...]


def _longer(shape: Dims) -> Dims:
    """The shape of Y: a row and a column more."""
    return (*shape[:2], *(None if size is None else size + 1 for size in shape[2:]))


def _infer(query: Query) -> Sequence[TensorType]:
    require_dtype(query, 0, *FLOATS)
    require_rank(query, 0, 4)
    x = query.inputs[0]
    return [x if x.shape is None else x.with_shape(_longer(x.shape))]


def _infer_gradient(query: Query) -> Sequence[TensorType]:
    for index in (0, 1):
        require_dtype(query, index, *FLOATS)
        require_rank(query, index, 4)
    require_same_dtype(query, 0, 1)
    x, dy = (t.shape for t in query.inputs)
    if x is not None and dy is not None:
        expected = _longer(x)
        if any(None not in pair and pair[0] != pair[1] for pair in zip(dy, expected, strict=True)):
            raise ShapeError(
                f"input 1 '{query.name(1)}' must be {shape_text(expected)}, found {shape_text(dy)}"
            )
    return [query.inputs[0]]


def _planes(array: Array) -> Array:
    return array.reshape(math.prod(array.shape[:2]), *array.shape[2:])


integral = operator(
    "IntegralImage",
    "X -> Y",
    infer=_infer,
    gradient="IntegralImageGradient(X.shape, dY; exact=1) -> dX",
    doc="""
    Y[n, c, i, j] = the sum of X[n, c, k, l] over k < i and l < j.

    X is (N, C, H, W), Y (N, C, H + 1, W + 1); its first row and column are 0.
    """,
    example="""
    X = [[[[1, 2], [3, 4]]]]
    Y = [[[[0, 0, 0], [0, 1, 3], [0, 4, 10]]]]
    """,
)


@integral.everywhere
def _launch(call: Call) -> list[Launch]:
    return launch_sum_corners(_planes(call.inputs[0]), _planes(call.outputs[0]))


integral_gradient = operator(
    "IntegralImageGradient",
    "X, dY -> dX",
    infer=_infer_gradient,
    doc="""
    DX[n, c, i, j] = the sum of dY[n, c, k, l] over k > i and l > j with exact=1, as the gradient of
    IntegralImage has it; only the shape of X is read.

    Without that argument it is what Caffe2 computes, which is not the gradient: the sum over k <= i
    and l <= j, from the other corner.
    """,
    exact=Arg(bool, False, "true: the gradient; false: sums from the other corner, as in Caffe2"),
)


@integral_gradient.everywhere
def _launch_gradient(call: Call) -> list[Launch]:
    dy, dx = _planes(call.inputs[1]), _planes(call.outputs[0])
    return launch_spread_corners(dy, dx, exact=call.args.exact)
