"""Quantized tensors: from and to numbers, sums, and functions of single elements."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from caffe2py.errors import ArgumentError, ShapeError
from caffe2py.kernels.copy import launch_copy
from caffe2py.kernels.quantized import (
    launch_add,
    launch_dequantize,
    launch_look_up,
    launch_quantize,
    launch_softmax,
)
from caffe2py.ops.int8.common import (
    NO_GRADIENT,
    OUTPUT,
    UINT8,
    lowest,
    output_quantum,
    quantum_of,
    require_kept,
    require_quantized,
)
from caffe2py.registry.context import Call, Launch
from caffe2py.registry.gradient import NotDifferentiable
from caffe2py.registry.infer import Query, canonical_axis, require_dtype, require_same_shape
from caffe2py.registry.operator import operator
from caffe2py.registry.schema import Arg
from caffe2py.tensor.tensor import Array
from caffe2py.tensor.types import Quantum, TensorType, shape_text

# ---------------------------------------------------------------- to and from numbers


def _infer_quantize(query: Query) -> Sequence[TensorType]:
    require_dtype(query, 0, "float32")
    return [TensorType(UINT8, query.inputs[0].shape, output_quantum(query.args))]


quantize = operator(
    "Int8Quantize",
    "X, Qparam? -> Y",
    infer=_infer_quantize,
    gradient=NotDifferentiable(NO_GRADIENT),
    doc="""
    Y = round(X / Y_scale) + Y_zero_point, from 0 to 255; halves are rounded to the even integer.

    X is float32. NaN becomes 0 and an infinite element the nearest limit (Caffe2 makes 0 of both).
    `Qparam` is not read: scale and zero point are arguments.
    """,
    example="""
    X = [-1, 0, 0.75]; Y_scale = 0.5, Y_zero_point = 10
    Y = [8, 10, 12]
    """,
    arguments=OUTPUT,
)


@quantize.cpu
def _launch_quantize(call: Call) -> Launch:
    return launch_quantize(call.inputs[0], output_quantum(call.args), call.outputs[0])


def _infer_dequantize(query: Query) -> Sequence[TensorType]:
    require_quantized(query, 0)
    return [TensorType(np.dtype(np.float32), query.inputs[0].shape)]


dequantize = operator(
    "Int8Dequantize",
    "qX -> Y",
    infer=_infer_dequantize,
    gradient=NotDifferentiable(NO_GRADIENT),
    quantized=True,
    doc="Y = (qX - zero_point) * scale, float32.",
    example="""
    qX = [8, 10, 12] with scale 0.5 and zero point 10
    Y = [-1, 0, 1]
    """,
)


@dequantize.cpu
def _launch_dequantize(call: Call) -> Launch:
    return launch_dequantize(call.inputs[0], quantum_of(call, 0), call.outputs[0])


# ---------------------------------------------------------------- sums


def _infer_add(query: Query) -> Sequence[TensorType]:
    require_quantized(query, 0)
    require_quantized(query, 1)
    return [TensorType(UINT8, require_same_shape(query, 0, 1), output_quantum(query.args))]


def _declare_add(name: str, signature: str, relu: bool) -> None:
    made = operator(
        name,
        signature,
        infer=_infer_add,
        gradient=NotDifferentiable(NO_GRADIENT),
        inplace={0: 0, 1: 0},
        input_counts={2},
        quantized=True,
        doc=f"""
        The sum of two quantized tensors{", and 0 where it is negative" if relu else ""}:
        ((A - zero_A) * scale_A + (B - zero_B) * scale_B) / Y_scale + Y_zero_point, rounded, and
        from {"Y_zero_point" if relu else "0"} to 255.

        A and B have one shape. Their scales must be from 2**-14 to 2**8 times Y_scale.
        """,
        example=f"""
        A = [12, {8 if relu else 11}] with zero point 10, B = [4, {2 if relu else 5}] with 3
        all scales 1; Y_zero_point = 7
        C = [10, {7 if relu else 10}]
        """,
        arguments=OUTPUT,
    )

    @made.cpu
    def launch(call: Call) -> Launch:
        a, b = call.inputs
        quanta = [quantum_of(call, 0), quantum_of(call, 1), output_quantum(call.args)]
        return launch_add(a, b, quanta, lowest(call.args, relu), call.outputs[0])


_declare_add("Int8Add", "A, B -> C", relu=False)
_declare_add("Int8AddRelu", "A, B -> C", relu=True)
_declare_add("Int8Sum", "inputs+ -> sum", relu=False)
_declare_add("Int8SumRelu", "inputs+ -> sum", relu=True)


# ---------------------------------------------------------------- functions of one element


def _infer_relu(query: Query) -> Sequence[TensorType]:
    return [TensorType(UINT8, query.inputs[0].shape, require_kept(query))]


relu = operator(
    "Int8Relu",
    "X -> Y",
    infer=_infer_relu,
    gradient=NotDifferentiable(NO_GRADIENT),
    inplace={0: 0},
    quantized=True,
    onnx="Relu",
    doc="Y = max(X, zero_point). Y_scale and Y_zero_point must be those of X.",
    example="""
    X = [8, 10, 12] with scale 0.5 and zero point 10; Y_scale = 0.5, Y_zero_point = 10
    Y = [10, 10, 12]
    """,
    arguments=OUTPUT,
)


def _numbers(quantum: Quantum) -> Array:
    """What the 256 integers stand for."""
    return np.float32(quantum.scale) * (np.arange(256) - quantum.zero_point).astype(np.float32)


@relu.cpu
def _launch_relu(call: Call) -> Launch:
    table = np.maximum(np.arange(256), call.args.Y_zero_point)
    return launch_look_up(call.inputs[0], table, call.outputs[0])


def _infer_leaky(query: Query) -> Sequence[TensorType]:
    require_quantized(query, 0)
    if not 0 < query.args.alpha < 1:
        raise ArgumentError(f"alpha must be above 0 and below 1, found {query.args.alpha}")
    return [TensorType(UINT8, query.inputs[0].shape, output_quantum(query.args))]


leaky = operator(
    "Int8LeakyRelu",
    "X -> Y",
    infer=_infer_leaky,
    gradient=NotDifferentiable(NO_GRADIENT),
    inplace={0: 0},
    quantized=True,
    doc="""
    Y = X where X stands for 0 or more, alpha * X elsewhere; rounded to the integers of Y. alpha is
    above 0 and below 1.
    """,
    example="""
    X = [6, 10, 12] with scale 1 and zero point 10; alpha = 0.5, Y_zero_point = 3
    Y = [1, 3, 5]
    """,
    arguments={"alpha": Arg(float, 0.01, "slope where X is negative"), **OUTPUT},
)


@leaky.cpu
def _launch_leaky(call: Call) -> Launch:
    quantum, out = quantum_of(call, 0), output_quantum(call.args)
    steps = np.float32(quantum.scale) / np.float32(out.scale)
    values = steps * (np.arange(256) - quantum.zero_point).astype(np.float32)
    values = np.where(values < 0, values * np.float32(call.args.alpha), values)
    table = np.clip(np.rint(values) + out.zero_point, 0, 255)
    return launch_look_up(call.inputs[0], table, call.outputs[0])


def _require_unit(query: Query) -> Quantum:
    """The only quantum that fits probabilities; ArgumentError for another one."""
    quantum = output_quantum(query.args)
    if quantum != (1 / 256, 0):
        raise ArgumentError(
            f"Y_scale must be 1/256 and Y_zero_point 0, found {quantum.scale} and "
            f"{quantum.zero_point}"
        )
    return quantum


def _infer_sigmoid(query: Query) -> Sequence[TensorType]:
    require_quantized(query, 0)
    return [TensorType(UINT8, query.inputs[0].shape, _require_unit(query))]


sigmoid = operator(
    "Int8Sigmoid",
    "input -> output",
    infer=_infer_sigmoid,
    gradient=NotDifferentiable(NO_GRADIENT),
    quantized=True,
    doc="""
    Output = 256 / (1 + exp(-input)), rounded and at most 255. Y_scale must be 1/256 and
    Y_zero_point 0.
    """,
    example="""
    input = [0, 10, 255] with scale 0.1 and zero point 10; Y_scale = 1/256
    output = [69, 128, 255]
    """,
    arguments=OUTPUT,
)


@sigmoid.cpu
def _launch_sigmoid(call: Call) -> Launch:
    one = np.float32(1)
    with np.errstate(over="ignore"):  # exp(-x) may be infinite: the sigmoid is 0
        values = np.float32(256) * (one / (one + np.exp(-_numbers(quantum_of(call, 0)))))
    table = np.clip(np.rint(values), 0, 255)
    return launch_look_up(call.inputs[0], table, call.outputs[0])


def _rows(shape: tuple[int, ...], axis: int) -> tuple[int, int]:
    first = canonical_axis(axis, len(shape), inclusive=True)
    return math.prod(shape[:first]), math.prod(shape[first:])


def _infer_softmax(query: Query) -> Sequence[TensorType]:
    require_quantized(query, 0)
    shape = query.inputs[0].shape
    if shape is not None:
        if not shape:
            raise ShapeError(f"input 0 'input' must have a row, found {shape_text(shape)}")
        canonical_axis(query.args.axis, len(shape), inclusive=True)
    return [TensorType(UINT8, shape, _require_unit(query))]


softmax = operator(
    "Int8Softmax",
    "input -> output",
    infer=_infer_softmax,
    gradient=NotDifferentiable(NO_GRADIENT),
    quantized=True,
    doc="""
    Output = 256 * exp(input) / sum of exp(input) over a row, rounded and at most 255. The axes from
    `axis` on make a row; Caffe2 takes it for 1. Y_scale must be 1/256 and Y_zero_point 0.
    """,
    example="""
    input = [[10, 10]]; Y_scale = 1/256
    output = [[128, 128]]
    """,
    arguments={**OUTPUT, "axis": Arg(int, 1, "the first axis of a row")},
)


@softmax.cpu
def _launch_softmax(call: Call) -> Launch:
    x, y = call.inputs[0], call.outputs[0]
    if x.size == 0:
        return launch_copy(x, y)
    rows = _rows(x.shape, call.args.axis)
    return launch_softmax(x.reshape(rows), quantum_of(call, 0).scale, y.reshape(rows))
