"""Softmax and its gradient."""

from __future__ import annotations

from collections.abc import Sequence

from caffe2py.kernels.elementwise import FLOATS
from caffe2py.kernels.rows import launch_softmax, launch_softmax_gradient
from caffe2py.registry.context import Call, Launch
from caffe2py.registry.infer import (
    Query,
    canonical_axis,
    require_dtype,
    require_same_dtype,
    require_same_shape,
)
from caffe2py.registry.operator import operator
from caffe2py.registry.schema import Arg
from caffe2py.tensor.types import TensorType

AXIS = Arg(int, 1, "the axes from here on are one distribution; negative ones count from the end")


def _infer_softmax(query: Query) -> Sequence[TensorType]:
    for index in range(len(query.inputs)):
        require_dtype(query, index, *FLOATS)
    dtype = require_same_dtype(query, *range(len(query.inputs)))
    shape = require_same_shape(query, *range(len(query.inputs)))
    if shape is not None:
        canonical_axis(query.args.axis, len(shape))
    return [TensorType(dtype, shape)]


_softmax = operator(
    "Softmax",
    "X -> Y",
    infer=_infer_softmax,
    gradient="SoftmaxGradient(Y, dY) -> dX",
    onnx="Softmax",
    doc="""
    Y = exp(X) / sum(exp(X)), the sum over all axes from `axis` on.

    The row's maximum is subtracted first, so that nothing overflows. A row that holds NaN or +inf,
    or only -inf, is NaN.
    """,
    example="""
    X = [[0, 0], [0, 1]]
    Y = [[0.5, 0.5], [0.2689, 0.7311]]
    """,
    axis=AXIS,
)


@_softmax.everywhere
def _launch(call: Call) -> Launch:
    x = call.inputs[0]
    return launch_softmax(x, canonical_axis(call.args.axis, x.ndim), call.outputs[0])


_softmax_gradient = operator(
    "SoftmaxGradient",
    "Y, dY -> dX",
    infer=_infer_softmax,
    doc="DX = Y * (dY - sum(Y * dY)), the sum over all axes from `axis` on.",
    axis=AXIS,
)


@_softmax_gradient.everywhere
def _launch_gradient(call: Call) -> Launch:
    y, dy = call.inputs
    return launch_softmax_gradient(y, dy, canonical_axis(call.args.axis, y.ndim), call.outputs[0])
