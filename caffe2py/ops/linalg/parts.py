"""The gradients of a fully connected layer by themselves, for the steps of recurrent networks."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from caffe2py.errors import ShapeError
from caffe2py.kernels.linalg import ENGINES
from caffe2py.ops.linalg.layers import (
    ARGS,
    FLOATS,
    TRANSPOSED,
    Dims,
    Layer,
    infer_gradient,
    launch_input_gradient,
    launch_weights_gradient,
    layer_of,
)
from caffe2py.registry.context import Call, Launch
from caffe2py.registry.gradient import (
    NotDifferentiable,
)
from caffe2py.registry.infer import (
    Query,
    canonical_axis,
    product,
    require_dtype,
    require_same_dtype,
)
from caffe2py.registry.operator import operator
from caffe2py.registry.schema import Args
from caffe2py.tensor.types import TensorType, shape_text


def _infer_input_gradient(query: Query) -> Sequence[TensorType]:
    dw_db_dx = infer_gradient(bool(query.args.transposed))(replace(query, outputs=3))
    return list(dw_db_dx)[2:]


_of_input = operator(
    "FCGradientOfInput",
    "X, W, dY -> dX",
    infer=_infer_input_gradient,
    gradient=NotDifferentiable("made for the backward steps of recurrent networks"),
    doc="""
    dX = dY W, or dY W^T with `transposed`: FCGradient without the gradients of W and b. No operator
    of Caffe2's: RecurrentNetworkGradient computes those for all steps at once.
    """,
    example="""
    X = [[0, 0, 0]]; W = [[1, 2, 3], [4, 5, 6]]; dY = [[1, 10]]
    dX = [[41, 52, 63]]
    """,
    arguments={**ARGS, **TRANSPOSED},
)


@_of_input.cpu
def _launch_of_input(call: Call) -> list[Launch]:
    x, w, _ = call.inputs
    transposed = bool(call.args.transposed)
    layer = layer_of(x.shape, w.shape, call.args, transposed)
    return launch_input_gradient(call, layer, transposed, call.outputs[0])


_of_input.cuda_engines(_launch_of_input, *ENGINES)


def _rows_layer(shapes: Sequence[Dims], args: Args) -> Layer:
    """The layer for rows of any number: X and dY are matrices (M, K) and (M, N), however shaped."""
    x, w, dy = shapes
    axis = canonical_axis(args.axis_w, len(w), f"axis_w of W {shape_text(w)},")
    first, second = product(w[:axis]), product(w[axis:])
    n, k = (second, first) if args.transposed else (first, second)
    size_x, size_dy = product(x), product(dy)
    if n is None or k is None or size_x is None or size_dy is None:
        return Layer((None,), None, k, n)
    rows = size_x // k if k else size_dy // n if n else 0
    if (size_x, size_dy) != (rows * k, rows * n):
        raise ShapeError(
            f"X {shape_text(x)} and dY {shape_text(dy)} must be rows of K={k} and N={n} elements, "
            f"as W {shape_text(w)} has them, the same number of both"
        )
    return Layer((rows,), rows, k, n)


def _infer_weights_gradient(query: Query) -> Sequence[TensorType]:
    for index in range(3):
        require_dtype(query, index, *FLOATS)
    dtype = require_same_dtype(query, 0, 1, 2)
    shapes = [each.shape for each in query.inputs]
    columns = None
    if shapes[0] is not None and shapes[1] is not None and shapes[2] is not None:
        columns = _rows_layer([shapes[0], shapes[1], shapes[2]], query.args).columns
    return [query.inputs[1].with_dtype(dtype), TensorType(dtype, (columns,))]


_of_weights = operator(
    "FCGradientOfWeights",
    "X, W, dY -> dW, db",
    infer=_infer_weights_gradient,
    gradient=NotDifferentiable("made for the backward steps of recurrent networks"),
    doc="""
    dW = dY^T X, or X^T dY with `transposed`, and db = the column sums of dY, where X and dY are
    taken as matrices with the same number of rows. Of W, (N, K) or (K, N), only the shape matters.
    No operator of Caffe2's: it is FCGradient for the rows of many steps.
    """,
    example="""
    X = [[[1, 2, 3]], [[4, 5, 6]]]; W = [[0, 0, 0], [0, 0, 0]]; dY = [[[1, 0]], [[0, 10]]]
    dW = [[1, 2, 3], [40, 50, 60]]; db = [1, 10]
    """,
    arguments={"axis_w": ARGS["axis_w"], **TRANSPOSED},
)


@_of_weights.cpu
def _launch_of_weights(call: Call) -> list[Launch]:
    layer = _rows_layer([x.shape for x in call.inputs], call.args)
    return launch_weights_gradient(call, layer, bool(call.args.transposed))


_of_weights.cuda_engines(_launch_of_weights, *ENGINES)
