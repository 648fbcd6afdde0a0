"""What the quantized operators share: arguments, checks, and their twins on plain integers."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from caffe2py.errors import ArgumentError, BlobTypeError, ValueRangeError
from caffe2py.kernels.window import channels_last
from caffe2py.registry.context import Call, Launch
from caffe2py.registry.infer import Query, Rule, require_dtype
from caffe2py.registry.operator import lookup
from caffe2py.registry.schema import Arg, Args
from caffe2py.tensor.device import Device
from caffe2py.tensor.types import DType, Quantum, TensorType

UINT8 = np.dtype(np.uint8)
FLOAT = np.dtype(np.float32)

#: What the integers of the output mean.
OUTPUT = {
    "Y_scale": Arg(float, 1.0, "scale of Y: what one step of its integers is worth"),
    "Y_zero_point": Arg(int, 0, "zero point of Y: the integer that stands for 0"),
}

NO_GRADIENT = "integers have no gradient"


def output_quantum(args: Args) -> Quantum:
    """The quantum of Y; ArgumentError for a scale of 0 or less, or a zero point not in 8 bits."""
    scale, zero = float(np.float32(args.Y_scale)), args.Y_zero_point
    if not (scale > 0 and math.isfinite(scale)):
        raise ArgumentError(f"Y_scale must be above 0, found {args.Y_scale}")
    if not 0 <= zero <= 255:
        raise ArgumentError(f"Y_zero_point must be from 0 to 255, found {zero}")
    return Quantum(scale, zero)


def require_quantized(query: Query, index: int, dtype: Any = UINT8) -> Quantum | None:
    """The quantum of an input, None if nothing is known of it.

    BlobTypeError if it is an ordinary tensor, DTypeError for other integers, ValueRangeError for a
    scale that is not above 0 or a zero point that is no such integer.
    """
    found = query.inputs[index]
    if found.dtype is None:
        return None
    if found.quantum is None:
        raise BlobTypeError(
            f"input {index} '{query.name(index)}': expected a quantized tensor (Int8Tensor), "
            f"found {found}",
            hint="Int8Quantize",
        )
    require_dtype(query, index, dtype)
    scale, zero = found.quantum
    if not (scale > 0 and math.isfinite(scale)):
        raise ValueRangeError(f"input {index} '{query.name(index)}' has the scale {scale}")
    if dtype == UINT8 and not 0 <= zero <= 255:
        raise ValueRangeError(f"input {index} '{query.name(index)}' has the zero point {zero}")
    return found.quantum


def require_kept(query: Query) -> Quantum:
    """The quantum of Y, which has to be that of every input; ArgumentError otherwise."""
    quantum = output_quantum(query.args)
    for index in range(len(query.inputs)):
        found = require_quantized(query, index)
        if found is not None and found != quantum:
            raise ArgumentError(
                f"Y_scale and Y_zero_point must be those of input {index} "
                f"'{query.name(index)}', {found.scale} and {found.zero_point}; found "
                f"{quantum.scale} and {quantum.zero_point}"
            )
    return quantum


def require_last(args: Args) -> None:
    """ArgumentError unless the channels come last."""
    if not channels_last(args):
        raise ArgumentError("a quantized image has its channels last: order must be NHWC")


def quantum_of(call: Call, index: int) -> Quantum:
    """The quantum of an input, which inference has seen."""
    found = call.input_types[index].quantum
    assert found is not None
    return found


def lowest(args: Args, relu: bool) -> int:
    """The smallest integer of Y: the one that stands for 0 after a Relu."""
    return args.Y_zero_point if relu else 0


# ---------------------------------------------------------------- twins


def ask_twin(name: str, query: Query, dtype: DType | None = None) -> Sequence[TensorType]:
    """What the operator `name` infers for the same tensors, not quantized (and of type `dtype`)."""
    twin = lookup(name)
    inputs = tuple(
        TensorType(t.dtype if t.quantum is None else dtype or t.dtype, t.shape)
        for t in query.inputs
    )
    return twin.infer(Query(twin.schema, inputs, query.args, query.outputs, query.value))


def twin_rule(name: str, quantized: int | None = None, dtype: DType | None = None) -> Rule:
    """Inference of an operator that does to integers what `name` does to elements of `dtype`.

    Its first `quantized` inputs are quantized tensors (None: all); output 0 has their quantum.
    """

    def rule(query: Query) -> Sequence[TensorType]:
        tensors = replace(query, inputs=query.inputs[:quantized])
        quantum = require_kept(tensors)
        first, *rest = ask_twin(name, query, dtype)
        return [TensorType(UINT8, first.shape, quantum), *rest]

    return rule


def twin_launch(name: str) -> Callable[[Call], Launch | Sequence[Launch] | None]:
    """The implementation of `name`, for integers."""

    def launch(call: Call) -> Launch | Sequence[Launch] | None:
        return lookup(name).kernel(Device(), "").function(call)

    return launch
