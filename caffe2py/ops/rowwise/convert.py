"""Rows of floats to rows of integers of 8, 4 or 2 bits, and back."""

from __future__ import annotations

import functools
from collections.abc import Sequence

import numpy as np

from caffe2py.errors import ShapeError
from caffe2py.kernels.convert import launch_convert
from caffe2py.kernels.rowwise import (
    Format,
    launch_decode,
    launch_decode_apart,
    launch_encode,
    launch_encode_apart,
)
from caffe2py.ops.rowwise.common import (
    FLOAT,
    HALF,
    NO_GRADIENT,
    UINT8,
    as_rows,
    decoded,
    encoded,
    require_rows,
)
from caffe2py.registry.context import Call, Launch
from caffe2py.registry.gradient import NoGradient
from caffe2py.registry.infer import Query, require_dtype
from caffe2py.registry.operator import operator
from caffe2py.tensor.tensor import Array
from caffe2py.tensor.types import DType, TensorType, shape_text

# ---------------------------------------------------------------- floats to integers


def _exact_doc(form: Format) -> str:
    if not form.half:
        return """
        scale = (max - min) / 255 and bias = min of the row; an integer is (x - min) * 255 / (max -
        min + 1e-8), rounded to the nearest, ties to the even one."""
    return f"""
    bias = min of the row and scale = (max - bias) / {2**form.bits - 1} (or 1 if that is 0), both
    as float16; an integer is (x - bias) / scale, rounded to the nearest, ties to the even one."""


def _layout_doc(form: Format, fake: bool) -> str:
    head = "16" if form.half and not fake else "32"
    if form.bits == 8 or fake:
        levels = "a byte for each number"
    else:
        levels = f"{form.per_byte} numbers a byte, the first one in the lowest bits"
    return f"{levels}, then scale and bias as floats of {head} bits"


_GREEDY = """With the engine GREEDY min and max are drawn in by up to 16% of the range where the
integers lose less of the numbers."""


def _declare_encode(name: str, source: DType, form: Format, fake: bool = False) -> None:
    stored = Format(8, False) if fake else form

    def infer(query: Query) -> Sequence[TensorType]:
        require_dtype(query, 0, source)
        shape = require_rows(query, 0)
        if shape is None:
            return [TensorType(UINT8)]
        return [TensorType(UINT8, (*shape[:-1], encoded(shape[-1], stored)))]

    made = operator(
        name,
        "input -> output",
        infer=infer,
        gradient=NoGradient(NO_GRADIENT),
        doc=f"""
        output = the rows of `input` ({source.name}) as integers from 0 to {2**form.bits - 1}: in
        each row {_layout_doc(form, fake)}. input = integer * scale + bias, nearly.

        {_exact_doc(form)} {_GREEDY if form.bits < 8 else ""}
        """,
        example=f"""
        input of shape (3, 16)
        output of shape (3, {encoded(16, stored)})
        """,
    )

    def launch(call: Call, *, search: bool = False) -> list[Launch]:
        x, y = call.inputs[0], call.outputs[0]
        launches: list[Launch] = []
        if source != FLOAT:
            single = call.scratch(x.shape, np.float32)
            launches += launch_convert(call, x, single)
            x = single
        return [*launches, launch_encode(as_rows(x), form, fake, search, as_rows(y))]

    made.everywhere(launch)
    if form.bits < 8:
        searching = functools.partial(launch, search=True)
        made.register(searching, "cpu", "GREEDY", dynamic=lambda op: False)


EIGHT, EIGHT_HALF = Format(8, False), Format(8, True)

for _half in (False, True):
    _source = HALF if _half else FLOAT
    _eight, _narrow = ("HalfFloatTo", "HalfTo") if _half else ("FloatTo", "FloatTo")
    _declare_encode(f"{_eight}Fused8BitRowwiseQuantized", _source, EIGHT)
    _declare_encode(f"{_eight}Fused8BitRowwiseQuantizedHalfScaleBias", _source, EIGHT_HALF)
    for _bits in (2, 4):
        _declare_encode(f"{_narrow}Fused{_bits}BitRowwiseQuantized", _source, Format(_bits, True))
        _declare_encode(
            f"{_narrow}Fused{_bits}BitFakeRowwiseQuantized", _source, Format(_bits, True), True
        )


# ---------------------------------------------------------------- integers to floats


def _declare_decode(name: str, target: DType, form: Format, output: str) -> None:
    def infer(query: Query) -> Sequence[TensorType]:
        require_dtype(query, 0, UINT8)
        shape = require_rows(query, 0)
        if shape is None:
            return [TensorType(target)]
        return [TensorType(target, (*shape[:-1], decoded(shape[-1], form)))]

    made = operator(
        name,
        f"scale_bias_quantized_input -> {output}",
        infer=infer,
        gradient=NoGradient(NO_GRADIENT),
        doc=f"""
        {output} ({target.name}) = integer * scale + bias for each row of integers: in each row
        {_layout_doc(form, False)}.
        """,
        example=f"""
        scale_bias_quantized_input of shape (3, {encoded(16, form)})
        {output} of shape (3, 16)
        """,
    )

    @made.everywhere
    def launch(call: Call) -> list[Launch]:
        x, y = as_rows(call.inputs[0]), call.outputs[0]
        if target == FLOAT:
            return [launch_decode(x, form, as_rows(y))]
        single = call.scratch(y.shape, np.float32)
        return [launch_decode(x, form, as_rows(single)), *launch_convert(call, single, y)]


_declare_decode("Fused8BitRowwiseQuantizedToFloat", FLOAT, EIGHT, "float_output")
_declare_decode("Fused8BitRowwiseQuantizedToHalfFloat", HALF, EIGHT, "float16_output")
_declare_decode("Fused8BitRowwiseQuantizedHalfScaleBiasToFloat", FLOAT, EIGHT_HALF, "float_output")
# whatever its name says, Caffe2's gives 32-bit floats
_declare_decode(
    "Fused8BitRowwiseQuantizedHalfScaleBiasToHalfFloat", FLOAT, EIGHT_HALF, "float_output"
)
for _bits in (2, 4):
    _form = Format(_bits, True)
    _declare_decode(f"Fused{_bits}BitRowwiseQuantizedToFloat", FLOAT, _form, "float_output")
    _declare_decode(f"Fused{_bits}BitRowwiseQuantizedToHalf", HALF, _form, "float16_output")


# ---------------------------------------------------------------- scale and bias apart


def _blocks(array: Array) -> Array:
    """An array as a matrix: its first axis are the rows."""
    return array.reshape(array.shape[0], int(np.prod(array.shape[1:])))


def _infer_apart(query: Query) -> Sequence[TensorType]:
    require_dtype(query, 0, "float32")
    shape = query.inputs[0].shape
    if shape is not None and (not shape or 0 in shape[1:]):
        raise ShapeError(
            f"input 0 '{query.name(0)}' must have rows of at least one element, "
            f"found {shape_text(shape)}"
        )
    rows = None if shape is None else shape[0]
    return [TensorType(UINT8, shape), TensorType(FLOAT, (rows, 2))]


encode_apart = operator(
    "FloatToRowwiseQuantized8Bits",
    "input -> quantized_input, scale_bias",
    infer=_infer_apart,
    gradient=NoGradient(NO_GRADIENT),
    doc="""
    quantized_input = (input - min) / scale for each row, rounded to the nearest integer, ties
    upward; scale_bias = (max - min) / 255 and min of each row, the scale 1 where these differ by
    less than 1e-10. A row is everything behind the first axis.
    """,
    example="""
    input = [[0, 255], [1, 1]]
    quantized_input = [[0, 255], [0, 0]], scale_bias = [[1, 0], [1, 1]]
    """,
)


@encode_apart.everywhere
def _launch_encode_apart(call: Call) -> Launch:
    y, heads = call.outputs
    return launch_encode_apart(_blocks(call.inputs[0]), _blocks(y), heads)


def _infer_back(query: Query) -> Sequence[TensorType]:
    require_dtype(query, 0, UINT8)
    require_dtype(query, 1, "float32")
    x, heads = (t.shape for t in query.inputs)
    if x is not None and not x:
        raise ShapeError("input 0 'quantized_input' must have at least 1 dimension, found ()")
    wanted = (None if x is None else x[0], 2)
    if heads is not None and (
        len(heads) != 2
        or any(None not in p and p[0] != p[1] for p in zip(heads, wanted, strict=True))
    ):
        raise ShapeError(
            f"input 1 'scale_bias' must be {shape_text(wanted)}, found {shape_text(heads)}"
        )
    return [TensorType(FLOAT, x)]


decode_apart = operator(
    "Rowwise8BitQuantizedToFloat",
    "quantized_input, scale_bias -> output",
    infer=_infer_back,
    gradient=NoGradient(NO_GRADIENT),
    doc="output[r] = quantized_input[r] * scale_bias[r, 0] + scale_bias[r, 1].",
    example="""
    quantized_input = [[0, 2], [0, 0]], scale_bias = [[0.5, 1], [1, 3]]
    output = [[1, 2], [3, 3]]
    """,
)


@decode_apart.everywhere
def _launch_decode_apart(call: Call) -> Launch:
    x, heads = call.inputs
    return launch_decode_apart(_blocks(x), heads, _blocks(call.outputs[0]))
