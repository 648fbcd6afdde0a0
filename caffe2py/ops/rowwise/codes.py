"""Codes that stand for numbers: of a codebook, or of an interval."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from caffe2py.errors import ArityError, NoGradientError, ShapeError
from caffe2py.kernels.copy import launch_fill
from caffe2py.kernels.index import launch_gather
from caffe2py.kernels.rowwise import launch_scale_bytes, launch_spread
from caffe2py.ops.rowwise.common import FLOAT, NO_GRADIENT, UINT8, explain_place
from caffe2py.proto.caffe2_pb2 import OperatorDef
from caffe2py.registry.context import Call, Launch
from caffe2py.registry.gradient import (
    Gradient,
    GradientName,
    NotDifferentiable,
    gradient_name,
    gradient_op,
)
from caffe2py.registry.infer import Query, product, require_dtype
from caffe2py.registry.operator import operator
from caffe2py.registry.schema import Arg
from caffe2py.tensor.types import TensorType, shape_text

CODES = ("uint8", "uint16", "int32")

# ---------------------------------------------------------------- QuantDecode


def _gradient(op: OperatorDef, output_grads: Sequence[GradientName]) -> Gradient:
    """QuantDecodeGradient(codebook, codes..., d_decoded...) -> d_codebook."""
    given = [name for name in output_grads if name is not None]
    if len(given) < len(output_grads):
        raise NoGradientError(f"{op.type}: its gradient needs that of every output")
    made = gradient_name(op.input[0])
    back = gradient_op(op, "QuantDecodeGradient", [*op.input, *given], [made])
    return Gradient((back,), (made, *(None for _ in op.input[1:])))


def _check_codes(query: Query, last: int) -> None:
    require_dtype(query, 0, "float32")
    for index in range(1, last + 1):
        require_dtype(query, index, *CODES)


def _infer_decode(query: Query) -> Sequence[TensorType]:
    if not query.inputs or query.outputs != len(query.inputs) - 1:
        raise ArityError(
            f"expected a codebook and codes for each of {query.outputs} output(s), "
            f"found {len(query.inputs)} input(s)"
        )
    _check_codes(query, query.outputs)
    return [TensorType(FLOAT, t.shape) for t in query.inputs[1:]]


decode = operator(
    "QuantDecode",
    "inputs* -> decoded*",
    infer=_infer_decode,
    gradient=_gradient,
    doc="""
    decoded_k = codebook[codes_k] for each of the codes: inputs are the codebook, float32 elements,
    and one or more tensors of codes (uint8, uint16 or int32).
    """,
    example="""
    inputs = [0.5, 1.5, 2.5], [0, 2, 1]
    decoded = [0.5, 2.5, 1.5]
    """,
)


@decode.everywhere
def _launch_decode(call: Call) -> list[Launch]:
    codebook, *codes = call.inputs
    table = codebook.reshape(1, codebook.size, 1)
    return [
        launch_gather(table, c, y.reshape(1, y.size, 1))
        for c, y in zip(codes, call.outputs, strict=True)
    ]


def _infer_gradient(query: Query) -> Sequence[TensorType]:
    count = len(query.inputs) // 2
    if len(query.inputs) % 2 == 0:
        raise ArityError(
            f"expected a codebook, codes, and a gradient for each of these, found "
            f"{len(query.inputs)} inputs"
        )
    _check_codes(query, count)
    for k in range(1, count + 1):
        require_dtype(query, count + k, "float32")
        codes, given = query.inputs[k].shape, query.inputs[count + k].shape
        first, second = (None if s is None else product(s) for s in (codes, given))
        if None not in (first, second) and first != second:
            raise ShapeError(
                f"input {count + k} must be {shape_text(codes)} as input {k}, "
                f"found {shape_text(given)}"
            )
    return [query.inputs[0]]


decode_gradient = operator(
    "QuantDecodeGradient",
    "codebook, codes, rest+ -> dcodebook",
    infer=_infer_gradient,
    doc="""
    dcodebook[c] = the sum of the gradients at all places with code c: inputs are the codebook, the
    codes, and the gradients of what they were decoded to.
    """,
)


@decode_gradient.everywhere
def _launch_gradient(call: Call) -> list[Launch]:
    _, *rest = call.inputs
    made = call.outputs[0]
    half = len(rest) // 2
    pairs = zip(rest[:half], rest[half:], strict=True)
    spread = [launch_spread(c, d, made, explain_place(c, made.size)) for c, d in pairs]
    return [launch_fill(np.zeros((), np.float32), made), *spread]


# ---------------------------------------------------------------- ByteWeightDequant


def _infer_bytes(query: Query) -> Sequence[TensorType]:
    require_dtype(query, 0, UINT8)
    shape = tuple(query.args.shape or ())
    found = query.inputs[0].shape
    count = None if found is None else product(found)
    if min(shape, default=0) < 0 or (count is not None and count < math.prod(shape)):
        raise ShapeError(
            f"argument 'shape' {shape_text(shape)} takes more than X {shape_text(found)} has"
        )
    return [TensorType(FLOAT, shape)]


dequantize = operator(
    "ByteWeightDequant",
    "X -> Y",
    infer=_infer_bytes,
    gradient=NotDifferentiable(NO_GRADIENT),
    doc="Y = X * (max - min) / 255 + min, float32 of the given shape, for the first bytes of X.",
    example="""
    X = [0, 255]; min = 0, max = 2, shape = [2]
    Y = [0, 2]
    """,
    arguments={
        "min": Arg(float, -3.0, "what 0 stands for"),
        "max": Arg(float, 3.0, "what 255 stands for"),
        "shape": Arg(list[int], None, "the shape of Y; one number by default"),
    },
)


@dequantize.everywhere
def _launch_bytes(call: Call) -> Launch:
    args = call.args
    return launch_scale_bytes(call.inputs[0], args.min, args.max, call.outputs[0])
