"""Dropout: random elements become 0 in training."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from caffe2py.errors import ArgumentError, ArityError, NoGradientError, ValueRangeError
from caffe2py.kernels.copy import launch_copy
from caffe2py.kernels.dropout import draw_mask, launch_draw_mask, launch_keep
from caffe2py.kernels.elementwise import FLOATS
from caffe2py.proto.caffe2_pb2 import OperatorDef
from caffe2py.registry.context import Call, Launch
from caffe2py.registry.gradient import (
    Gradient,
    GradientName,
    NoGradient,
    gradient_name,
    gradient_op,
)
from caffe2py.registry.infer import Query, require_dtype, require_rank, require_same_shape
from caffe2py.registry.operator import operator, verify
from caffe2py.registry.schema import Arg, Args
from caffe2py.tensor.types import UNKNOWN, TensorType

RATIO = Arg(float, 0.5, "probability that an element becomes 0, in [0, 1)")


def _check_ratio(args: Args) -> None:
    if not 0 <= args.ratio < 1:
        raise ArgumentError(f"ratio must lie in [0, 1), found {args.ratio}")


def _infer_dropout(query: Query) -> Sequence[TensorType]:
    _check_ratio(query.args)
    require_dtype(query, 0, *FLOATS)
    x = query.inputs[0]
    if query.args.is_test:
        return [x, UNKNOWN][: query.outputs]
    if query.outputs < 2:
        raise ArityError("expected 2 output(s) (Y, mask) without is_test, found 1")
    return [x, x.with_dtype(np.dtype(np.bool_))]


def _gradient_rule(op: OperatorDef, output_grads: Sequence[GradientName]) -> Gradient:
    """DropoutGrad of dY, and of the mask where there is one."""
    dy = output_grads[0]
    if dy is None:
        raise NoGradientError("Dropout: only its first output has a gradient, which is missing")
    dx = gradient_name(op.input[0])
    inputs = [dy] if verify(op).is_test else [dy, op.output[1]]
    return Gradient((gradient_op(op, "DropoutGrad", inputs, [dx]),), (dx,))


_dropout = operator(
    "Dropout",
    "X -> Y, mask?",
    infer=_infer_dropout,
    gradient=_gradient_rule,
    inplace={0: 0},
    onnx="Dropout",
    doc="""
    Y = X / (1 - ratio) where mask is true, 0 elsewhere; each element of mask is true with
    probability 1 - ratio, drawn anew in every run.

    With is_test, Y = X, and mask is left as it was.
    """,
    example="""
    X = [1, 2, 3, 4]; ratio = 0.5
    Y = [2, 0, 0, 8]; mask = [true, false, false, true]
    """,
    ratio=RATIO,
    is_test=Arg(int, 0, "1: copy X", required=True),
)


@_dropout.everywhere
def _launch(call: Call) -> Launch | list[Launch]:
    x = call.inputs[0]
    if call.args.is_test:
        # not call.outputs: the mask has no size, and need not hold a tensor
        return launch_copy(x, call.output(0, x.shape, x.dtype))
    y, mask = call.outputs
    ratio = call.args.ratio
    return [*launch_draw_mask(call.random_state(), ratio, mask), launch_keep(x, mask, ratio, y)]


def _infer_gradient(query: Query) -> Sequence[TensorType]:
    _check_ratio(query.args)
    require_dtype(query, 0, *FLOATS)
    dy = query.inputs[0]
    if query.args.is_test:
        return [dy]
    if len(query.inputs) < 2:
        raise ArityError("expected 2 input(s) (dY, mask) without is_test, found 1")
    require_dtype(query, 1, np.bool_)
    return [dy.with_shape(require_same_shape(query, 0, 1))]


_dropout_gradient = operator(
    "DropoutGrad",
    "dY, mask? -> dX",
    infer=_infer_gradient,
    inplace={0: 0},
    doc="DX = dY / (1 - ratio) where mask is true, 0 elsewhere. With is_test, dX = dY.",
    ratio=RATIO,
    is_test=Arg(int, 0, "1: copy dY"),
)


@_dropout_gradient.everywhere
def _launch_gradient(call: Call) -> Launch:
    dx = call.outputs[0]
    if call.args.is_test:
        return launch_copy(call.inputs[0], dx)
    dy, mask = call.inputs
    return launch_keep(dy, mask, call.args.ratio, dx)


# ---------------------------------------------------------------- SparseDropoutWithReplacement


def _infer_replaced(query: Query) -> Sequence[TensorType]:
    if not 0 <= query.args.ratio <= 1:
        raise ArgumentError(f"ratio must lie in [0, 1], found {query.args.ratio}")
    require_dtype(query, 0, "int64")
    require_dtype(query, 1, "int32")
    for index in (0, 1):
        require_rank(query, index, 1)
    return [query.inputs[0].with_shape((None,)), query.inputs[1]]


_replaced = operator(
    "SparseDropoutWithReplacement",
    "X, Lengths -> outputs*",
    infer=_infer_replaced,
    output_counts={2},
    gradient=NoGradient("integers have no gradient"),
    ratio=Arg(float, 0.0, "probability that a segment is replaced, in [0, 1]"),
    replacement_value=Arg(int, 0, "the one element of segments that are replaced"),
    doc="""
    Outputs are Y and its lengths: the segments of X (int64), the next Lengths[k] (int32) elements
    each; with probability `ratio`, drawn anew in every run, a segment becomes replacement_value
    alone, of length 1. Raises ArgumentError for a ratio outside of [0, 1], ValueRangeError unless
    the lengths add up to the size of X.
    """,
    example="""
    X = [5, 6, 7]; Lengths = [2, 1]; ratio = 0.5; replacement_value = -1
    outputs = [-1, 7], [1, 1] (for instance)
    """,
)


@_replaced.cpu_dynamic()
def _run_replaced(call: Call) -> None:
    x, lengths = call.inputs
    if lengths.min(initial=0) < 0 or lengths.sum() != x.size:
        raise ValueRangeError(f"lengths {lengths.tolist()} do not add up to {x.size}, X's size")
    left = draw_mask(call.random_state(), call.args.ratio, lengths.size)
    parts = np.split(x, np.cumsum(lengths)[:-1]) if lengths.size else []
    single = np.array([call.args.replacement_value], np.int64)
    chosen = [part if keep else single for part, keep in zip(parts, left, strict=True)]
    values = np.concatenate([x[:0], *chosen])
    call.output(0, values.shape, x.dtype)[...] = values
    call.outputs[1][...] = [part.size for part in chosen]


_replaced.cuda_by_host("the lengths decide which elements are left")
