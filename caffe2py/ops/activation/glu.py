"""Glu: one half of the channels opens and closes gates for the other."""

from __future__ import annotations

import math
from collections.abc import Sequence

from caffe2py.errors import ShapeError
from caffe2py.kernels.elementwise import FLOATS
from caffe2py.kernels.transform import launch_glu
from caffe2py.registry.context import Call, Launch
from caffe2py.registry.gradient import NotDifferentiable
from caffe2py.registry.infer import Query, canonical_axis, require_dtype
from caffe2py.registry.operator import operator
from caffe2py.registry.schema import Arg
from caffe2py.tensor.types import TensorType, shape_text


def _infer(query: Query) -> Sequence[TensorType]:
    require_dtype(query, 0, *FLOATS)
    x = query.inputs[0]
    if x.shape is None:
        return [x]
    axis = canonical_axis(query.args.dim, len(x.shape), "dim")
    size = x.shape[axis]
    if size is not None and size % 2:
        raise ShapeError(f"axis {axis} of 'X' {shape_text(x.shape)} must have an even size")
    half = None if size is None else size // 2
    return [x.with_shape((*x.shape[:axis], half, *x.shape[axis + 1 :]))]


_glu = operator(
    "Glu",
    "X -> Y",
    infer=_infer,
    gradient=NotDifferentiable("Caffe2 defines none"),
    dim=Arg(int, -1, "the axis that is halved"),
    doc="""
    Y = A / (1 + exp(-B)), where A and B are the first and the second half of X along `dim`. Raises
    ShapeError for an axis that X does not have, or one of an odd size.
    """,
    example="""
    X = [[1, 2, 0, 9]]
    Y = [[0.5, 1.9998]]
    """,
)


@_glu.everywhere
def _launch(call: Call) -> Launch:
    x, y = call.inputs[0], call.outputs[0]
    axis = call.args.dim % x.ndim
    outer, inner = math.prod(x.shape[:axis]), math.prod(x.shape[axis + 1 :])
    half = y.shape[axis] * inner
    return launch_glu(x.reshape(outer, 2 * half), y.reshape(outer, half))
