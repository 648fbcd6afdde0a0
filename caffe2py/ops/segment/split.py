"""SplitByLengths: a tensor cut apart where lengths tell."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from caffe2py.errors import ArgumentError, ShapeError, ValueRangeError
from caffe2py.kernels.copy import launch_copy_columns
from caffe2py.ops.segment.common import known_sum, require_vector
from caffe2py.proto.caffe2_pb2 import OperatorDef
from caffe2py.registry.context import Call, Launch
from caffe2py.registry.gradient import Gradient, GradientName, gradient_name, gradient_op
from caffe2py.registry.infer import Query, canonical_axis
from caffe2py.registry.operator import operator
from caffe2py.registry.schema import Arg, Args
from caffe2py.tensor.types import TensorType, values_text


def _axis(args: Args, rank: int) -> int:
    """The axis from the front: the argument, or the channels of the order."""
    if "axis" in args.given and "order" in args.given:
        raise ArgumentError("arguments 'axis' and 'order' exclude each other")
    if "axis" in args.given:
        return canonical_axis(args.axis, rank)
    order = args.order.upper()
    if order not in ("NCHW", "NHWC"):
        raise ArgumentError(f"argument 'order' must be NCHW or NHWC, found '{args.order}'")
    return canonical_axis({"NCHW": 1, "NHWC": 3}[order], rank)


def _widths(query: Query, size: int | None) -> Sequence[int | None]:
    """How wide each output is: the sums of equally many lengths each, perhaps scaled to the axis.

    Raises ShapeError or ValueRangeError where the lengths do not do for the outputs or the axis.
    """
    count = require_vector(query, 1)
    if count is not None and count % query.outputs:
        raise ShapeError(f"{count} lengths cannot be shared by {query.outputs} output(s)")
    lengths, total = query.value(1), known_sum(query, 1)
    if lengths is None or total is None or size is None:
        return [None] * query.outputs
    scale = 1
    if query.args.use_scaling_lengths:
        if size % (total or 1):
            raise ShapeError(f"an axis of {size} cannot be shared in proportion to {total} parts")
        scale = size // (total or 1)
    if total * scale != size:
        raise ValueRangeError(
            f"lengths {values_text(lengths)} add up to {total}, the axis has {size}"
        )
    sums = lengths.reshape(query.outputs, -1).sum(axis=1, dtype=np.int64) * scale
    return [int(width) for width in sums]


def _infer(query: Query) -> Sequence[TensorType]:
    data = query.inputs[0]
    if data.shape is None:
        require_vector(query, 1)
        return [TensorType(data.dtype)] * query.outputs
    axis = _axis(query.args, len(data.shape))
    before, after = data.shape[:axis], data.shape[axis + 1 :]
    return [data.with_shape((*before, w, *after)) for w in _widths(query, data.shape[axis])]


def _gradient(op: OperatorDef, output_grads: Sequence[GradientName]) -> Gradient:
    """Join the gradients of the parts; a part that has none counts as zeros."""
    if all(name is None for name in output_grads):
        return Gradient((), (None, None))
    ops, parts = [], []
    for blob, name in zip(op.output, output_grads, strict=True):
        part = name or f"_{gradient_name(blob)}_zeros"
        if name is None:
            zeros = {"value": 0.0}
            ops.append(gradient_op(op, "ConstantFill", [blob], [part], zeros, copy_args=False))
        parts.append(part)
    made = gradient_name(op.input[0])
    ops.append(gradient_op(op, "Concat", parts, [made, f"_{made}_dims"]))
    return Gradient(tuple(ops), (made, None))


_split = operator(
    "SplitByLengths",
    "input, lengths -> outputs+",
    infer=_infer,
    gradient=_gradient,
    doc="""
    outputs[k][..., j, ...] = input[..., j + (widths before k), ...]: consecutive parts of `input`
    along `axis`. Each is as wide as its share of the lengths adds up to; the outputs have equally
    many of them. With use_scaling_lengths the widths are in proportion to that. Any type; lengths
    are int32 or int64. Raises ShapeError or ValueRangeError where the widths do not fit the axis.
    """,
    example="""
    input = [[1, 2, 3]]; lengths = [1, 2]; axis = 1
    outputs = [[1]], [[2, 3]]
    """,
    axis=Arg(int, 0, "the axis; negative ones count from the end; if not given, see `order`"),
    order=Arg(str, "NCHW", "instead of `axis`: the channels, 1 for NCHW and 3 for NHWC"),
    use_scaling_lengths=Arg(bool, False, "whether lengths are proportions"),
)


@_split.everywhere_dynamic(reads=lambda op: [1], anywhere=(1,))
def _launch(call: Call) -> list[Launch]:
    x = call.inputs[0]
    axis = _axis(call.args, x.ndim)
    rows, inner = math.prod(x.shape[:axis]), math.prod(x.shape[axis + 1 :])
    source = x.reshape(rows, x.shape[axis] * inner)
    launches, at = [], 0
    for y in call.outputs:
        columns = y.shape[axis] * inner
        launches.append(launch_copy_columns(source, at, y.reshape(rows, columns), 0, columns))
        at += columns
    return launches
