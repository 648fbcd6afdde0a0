"""Rows of floats as integers of 1 to 8 bits that are rounded by chance, and back."""

from __future__ import annotations

from collections.abc import Sequence

from caffe2py.errors import ArgumentError, ModelFormatError, ShapeError
from caffe2py.kernels.rowwise import HEAD, launch_decode_random, launch_encode_random
from caffe2py.ops.rowwise.common import FLOAT, NO_GRADIENT, UINT8, require_rows
from caffe2py.registry.context import Call, Launch
from caffe2py.registry.gradient import NoGradient
from caffe2py.registry.infer import Query, require_dtype, require_rank
from caffe2py.registry.operator import operator
from caffe2py.registry.schema import Arg
from caffe2py.tensor.types import TensorType, shape_text

_BITS = (1, 2, 4, 8)


def _infer_encode(query: Query) -> Sequence[TensorType]:
    require_dtype(query, 0, "float32")
    require_rank(query, 0, 2)
    shape = require_rows(query, 0)
    bits = query.args.bitwidth
    if bits not in _BITS:
        raise ArgumentError(f"bitwidth must be 1, 2, 4 or 8, found {bits}")
    if shape is None or shape[1] is None:
        return [TensorType(UINT8, (None if shape is None else shape[0], None))]
    return [TensorType(UINT8, (shape[0], HEAD - (-shape[1] * bits // 8)))]


encode = operator(
    "FloatToFusedRandRowwiseQuantized",
    "input -> output",
    infer=_infer_encode,
    gradient=NoGradient(NO_GRADIENT),
    doc="""
    Each row x of `input` as integers (x - min) / ((max - min) / (2**bitwidth - 1) + 1e-8), rounded
    up with the probability of the part that rounding down would cut off, so that the mean is right;
    with random=0 to the nearest.

    A row of output is the bitwidth, how many numbers the last part lacks, min and max (32-bit
    floats), and the integers: the first ones in the lowest bits of all bytes, the next ones above
    them. It has 10 + D * bitwidth / 8 bytes, rounded up.
    """,
    example="""
    input = [[0, 1, 2, 3]]; bitwidth = 2, random = 0
    output = [[2, 0, 0, 0, 0, 0, 0, 0, 64, 64, 228]]
    """,
    bitwidth=Arg(int, 8, "bits of an integer: 1, 2, 4 or 8"),
    random=Arg(bool, True, "round by chance; otherwise to the nearest"),
)


@encode.everywhere
def _launch_encode(call: Call) -> Launch:
    args = call.args
    state = call.random_state()
    return launch_encode_random(
        call.inputs[0], args.bitwidth, bool(args.random), state, call.outputs[0]
    )


def _infer_decode(query: Query) -> Sequence[TensorType]:
    require_dtype(query, 0, UINT8)
    require_rank(query, 0, 2)
    shape = query.inputs[0].shape
    if shape is not None and shape[1] is not None and shape[1] <= HEAD:
        raise ShapeError(f"rows must have more than {HEAD} bytes, found {shape_text(shape)}")
    return [TensorType(FLOAT, (None if shape is None else shape[0], None))]


decode = operator(
    "FusedRandRowwiseQuantizedToFloat",
    "quantized_input -> float_input",
    infer=_infer_decode,
    gradient=NoGradient(NO_GRADIENT),
    doc="""
    float_input = integer * ((max - min) / (2**bitwidth - 1) + 1e-8) + min for the rows that
    FloatToFusedRandRowwiseQuantized makes. The first row's bitwidth and length are those of all.
    """,
    example="""
    quantized_input = [[2, 0, 0, 0, 0, 0, 0, 0, 64, 64, 228]]
    float_input = [[0, 1, 2, 3]]
    """,
)


@decode.cpu_dynamic()
def _launch_decode(call: Call) -> Launch | None:
    x = call.inputs[0]
    if len(x) == 0:
        call.output(0, (0, 0), FLOAT)
        return None
    bits, lacking = int(x[0, 0]), int(x[0, 1])
    if bits not in _BITS or lacking >= 8 // bits:
        raise ModelFormatError(
            f"the first row says a bitwidth of {bits}, and that {lacking} number(s) are lacking"
        )
    columns = (x.shape[1] - HEAD) * (8 // bits) - lacking
    return launch_decode_random(x, bits, call.output(0, (len(x), columns), FLOAT))
