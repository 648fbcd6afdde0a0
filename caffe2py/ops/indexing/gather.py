"""Gather and BatchGather: slices of a tensor by their indices along an axis."""

from __future__ import annotations

import math
from collections.abc import Sequence

from caffe2py.errors import NoGradientError, ShapeError
from caffe2py.kernels.elementwise import FLOATS
from caffe2py.kernels.index import launch_gather, launch_gather_gradient
from caffe2py.proto.caffe2_pb2 import OperatorDef
from caffe2py.registry.context import Call, Launch
from caffe2py.registry.gradient import (
    Gradient,
    GradientName,
    GradientSlice,
    gradient_name,
    gradient_op,
)
from caffe2py.registry.infer import Query, canonical_axis, require_dtype, require_same_dtype
from caffe2py.registry.operator import lookup, operator
from caffe2py.registry.schema import Arg, Args
from caffe2py.tensor.tensor import Array
from caffe2py.tensor.types import TensorType, shape_text

Dims = tuple[int | None, ...]

MATCH_OUTER = Arg(
    bool, False, "whether indices have the axes of the data before the gathered one, too"
)
WRAP = Arg(
    bool, None, "whether negative indices count from the end; by default they do for axis 0 only"
)


def _differ(a: int | None, b: int | None) -> bool:
    return None not in (a, b) and a != b


def _gathered(data: Dims, indices: Dims, axis: int, match_outer: bool) -> Dims:
    """The shape of the result; ShapeError where indices do not match the outer axes."""
    if not match_outer:
        return (*data[:axis], *indices, *data[axis + 1 :])
    if axis < 1:
        raise ShapeError(f"match_outer needs an axis of at least 1, found {axis}")
    if len(indices) < axis or any(map(_differ, indices[:axis], data[:axis])):
        raise ShapeError(
            f"with match_outer 'INDICES' must begin with {shape_text(data[:axis])}, the axes of "
            f"'DATA' before axis {axis}; found {shape_text(indices)}"
        )
    return (*indices, *data[axis + 1 :])


def _axis(args: Args, rank: int) -> int:
    return canonical_axis(getattr(args, "axis", 1), rank)


def _infer(query: Query) -> Sequence[TensorType]:
    require_dtype(query, 1, "int32", "int64")
    data, indices = query.inputs
    if data.shape is None:
        return [TensorType(data.dtype)]
    axis = _axis(query.args, len(data.shape))
    if indices.shape is None:
        return [TensorType(data.dtype)]
    return [data.with_shape(_gathered(data.shape, indices.shape, axis, query.args.match_outer))]


def _wraps(args: Args, axis: int) -> bool:
    given = getattr(args, "wrap_indices", None)
    return bool(given) if given is not None else axis == 0


def _parts(shape: Sequence[int], axis: int) -> tuple[int, int, int]:
    return math.prod(shape[:axis]), shape[axis], math.prod(shape[axis + 1 :])


def _slices(y: Array, indices: Array, outer: int, inner: int, match: bool) -> tuple[Array, int]:
    """The gathered array with three axes, and how far indices advance from one outer place."""
    count = indices.size // outer if match and outer else 0 if match else indices.size
    return y.reshape(outer, count, inner), count if match else 0


def _launch(call: Call) -> Launch:
    data, indices = call.inputs
    axis = _axis(call.args, data.ndim)
    outer, size, inner = _parts(data.shape, axis)
    y, step = _slices(call.outputs[0], indices, outer, inner, call.args.match_outer)
    x = data.reshape(outer, size, inner)
    wrap = _wraps(call.args, axis) if hasattr(call.args, "axis") else False
    return launch_gather(x, indices, y, step=step, wrap=wrap)


def _gradient_of_gather(op: OperatorDef, output_grads: Sequence[GradientName]) -> Gradient:
    """A slice along axis 0; there with `dense_gradient`, and along other axes, an operator."""
    dy = output_grads[0]
    if dy is None:
        raise NoGradientError("Gather: its gradient reads dOUTPUT, which nothing provides")
    args = lookup(op.type).schema.verify(op)
    data, indices = op.input
    if args.axis == 0 and not args.dense_gradient:
        return Gradient((), (GradientSlice(indices, dy), None))
    name = gradient_name(data)
    if args.axis == 0:
        made = gradient_op(op, "SparseToDense", [indices, dy, data], [name])
    else:
        made = gradient_op(op, "BatchGatherGradient", [data, indices, dy], [name])
    return Gradient((made,), (name, None), frozenset([data]))


_gather = operator(
    "Gather",
    "DATA, INDICES -> OUTPUT",
    infer=_infer,
    gradient=_gradient_of_gather,
    onnx="Gather",
    doc="""
    OUTPUT[o, k, i] = DATA[o, INDICES[k], i], where o stands for the axes of DATA before `axis`, k
    for all axes of INDICES, and i for the axes after `axis`. With match_outer INDICES has the axes
    o in front: OUTPUT[o, k, i] = DATA[o, INDICES[o, k], i]. DATA is of any type, INDICES int32 or
    int64. Along axis 0 negative indices count from the end, along others only with
    wrap_indices=1. Raises ValueRangeError for an index that is out of range; where DATA is empty
    Caffe2 takes any. The gradient along axis 0 is sparse, the indices with their slices of dOUTPUT,
    unless dense_gradient asks for a tensor.
    """,
    example="""
    DATA = [[1, 2], [3, 4], [5, 6]]; INDICES = [2, 0]
    OUTPUT = [[5, 6], [1, 2]]
    """,
    axis=Arg(int, 0, "the axis along which slices are taken; negative ones count from the end"),
    match_outer=MATCH_OUTER,
    wrap_indices=WRAP,
    dense_gradient=Arg(bool, False, "whether the gradient of DATA is a tensor, not sparse"),
)
_gather.everywhere(_launch)

_batch_gather = operator(
    "BatchGather",
    "DATA, INDICES -> OUTPUT",
    infer=_infer,
    gradient="BatchGatherGradient(DATA.shape, INDICES, dOUTPUT) -> dDATA",
    onnx="BatchGather",
    doc="""
    OUTPUT[n, k, i] = DATA[n, INDICES[k], i]: Gather along axis 1. With match_outer the first axis
    of INDICES is that of DATA: OUTPUT[n, k, i] = DATA[n, INDICES[n, k], i]. Raises ValueRangeError
    for an index that is out of range; negative ones are.
    """,
    example="""
    DATA = [[1, 2, 3], [4, 5, 6]]; INDICES = [2, 0]
    OUTPUT = [[3, 1], [6, 4]]
    """,
    match_outer=MATCH_OUTER,
)
_batch_gather.everywhere(_launch)


def _infer_gradient(query: Query) -> Sequence[TensorType]:
    require_dtype(query, 0, *FLOATS)
    require_dtype(query, 1, "int32", "int64")
    dtype = require_same_dtype(query, 0, 2)
    data, indices, dy = (t.shape for t in query.inputs)
    if data is None:
        return [TensorType(dtype)]
    axis = _axis(query.args, len(data))
    if indices is not None:
        wanted = _gathered(data, indices, axis, query.args.match_outer)
        if dy is not None and (len(dy) != len(wanted) or any(map(_differ, dy, wanted))):
            raise ShapeError(
                f"'dOUTPUT' is {shape_text(dy)}, needs the shape of OUTPUT, {shape_text(wanted)}"
            )
    return [TensorType(dtype, data)]


_batch_gather_gradient = operator(
    "BatchGatherGradient",
    "DATA, INDICES, dOUTPUT -> dDATA",
    infer=_infer_gradient,
    doc="""
    dDATA[o, INDICES[k], i] = the sum of dOUTPUT[o, k, i], along `axis`; 0 where nothing was
    gathered. The elements of DATA are not read.
    """,
    axis=Arg(int, 1, "the axis along which slices were taken"),
    match_outer=MATCH_OUTER,
    wrap_indices=Arg(bool, False, "whether negative indices count from the end"),
)


@_batch_gather_gradient.everywhere
def _launch_gradient(call: Call) -> list[Launch]:
    data, indices, dy = call.inputs
    outer, size, inner = _parts(data.shape, _axis(call.args, data.ndim))
    dy, step = _slices(dy, indices, outer, inner, call.args.match_outer)
    dx = call.outputs[0].reshape(outer, size, inner)
    return launch_gather_gradient(dy, indices, dx, step=step, wrap=call.args.wrap_indices)
