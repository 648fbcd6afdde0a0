"""Random numbers, other ones in every run."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from caffe2py.errors import ArgumentError, ShapeError, ValueRangeError
from caffe2py.kernels.fill import launch_normal, launch_uniform, launch_uniform_int
from caffe2py.ops.fill.common import FLOAT, Dims, Rule, declare_fill, filled_shape, scalar_value
from caffe2py.registry.context import Call, Launch
from caffe2py.registry.infer import Query
from caffe2py.registry.schema import Arg
from caffe2py.tensor.place import on_host
from caffe2py.tensor.types import DType, TensorType, shape_text

INT32 = np.dtype(np.int32)


def _infer_bounded(dtype: DType) -> Rule:
    """For fills between two bounds, which are arguments or the inputs 1 and 2."""

    def rule(query: Query) -> Sequence[TensorType]:
        args, shape = query.args, filled_shape(query)
        if len(query.inputs) < 3:
            if not args.min < args.max:
                raise ArgumentError(f"max must be larger than min, found {args.min} and {args.max}")
            return [TensorType(dtype, shape)]
        if args.given & {"min", "max"}:
            raise ArgumentError("arguments 'min' and 'max' exclude inputs for the bounds")
        bounds = [scalar_value(query, index, dtype) for index in (1, 2)]
        if shape is None or None in bounds or bounds[0] <= bounds[1]:
            return [TensorType(dtype, _maybe_empty(shape, bounds))]
        if not shape:
            raise ValueRangeError(f"a scalar cannot lie between {bounds[0]} and {bounds[1]}")
        return [TensorType(dtype, (0, *shape[1:]))]

    return rule


def _maybe_empty(shape: Dims | None, bounds: Sequence[Any]) -> Dims | None:
    """The shape, with a first dimension that depends on the bounds where they are unknown."""
    return (None, *shape[1:]) if shape and None in bounds else shape


def _bounds(call: Call) -> tuple[Any, Any]:
    if call.input_count == 3:
        low, high = (on_host(call.inputs[index]).reshape(-1)[0] for index in (1, 2))
        return low, high
    return call.args.min, call.args.max


def fill_uniform(call: Call) -> list[Launch] | None:
    """Draw anew in every run."""
    y = call.outputs[0]
    return launch_uniform(call.random_state(), *_bounds(call), y) if y.size else None


def fill_uniform_int(call: Call) -> list[Launch] | None:
    """Draw anew in every run."""
    y = call.outputs[0]
    if not y.size:
        return None
    low, high = _bounds(call)
    return launch_uniform_int(call.random_state(), int(low), int(high), y)


_SEED_DOC = "The numbers depend on the seed (of the device option, or of the net) and the run only."
_EMPTY_DOC = "If they come as inputs and min > max, the first dimension of the output is 0."

declare_fill(
    "UniformFill",
    "input?, min?, max? -> output",
    _infer_bounded(FLOAT),
    fill_uniform,
    input_counts={0, 1, 3},
    arguments={
        "min": Arg(float, 0.0, "the lower bound, included"),
        "max": Arg(float, 1.0, "the upper bound, excluded"),
    },
    doc=f"""
    output = random numbers, uniform in [min, max), float32. The bounds are arguments or scalar
    inputs. {_EMPTY_DOC} {_SEED_DOC}
    """,
    example="""
    shape = [3]; min = 1.0; max = 2.0
    output = [1.27, 1.81, 1.05] (for instance)
    """,
)
declare_fill(
    "UniformIntFill",
    "input?, min?, max? -> output",
    _infer_bounded(INT32),
    fill_uniform_int,
    input_counts={0, 1, 3},
    arguments={
        "min": Arg(int, 0, "the smallest number"),
        "max": Arg(int, 1, "the largest number, included"),
    },
    doc=f"""
    output = random integers from min to max, both included, int32. The bounds are arguments or
    scalar inputs. {_EMPTY_DOC} {_SEED_DOC}
    """,
    example="""
    shape = [4]; min = 1; max = 6
    output = [2, 6, 1, 1] (for instance)
    """,
)


def _infer_normal(query: Query) -> Sequence[TensorType]:
    if not query.args.std >= 0:
        raise ArgumentError(f"argument 'std' must not be negative, found {query.args.std}")
    return [TensorType(FLOAT, filled_shape(query))]


def fill_normal(call: Call) -> list[Launch]:
    """Draw anew in every run."""
    return launch_normal(call.random_state(), call.args.mean, call.args.std, call.outputs[0])


declare_fill(
    "GaussianFill",
    "input? -> output",
    _infer_normal,
    fill_normal,
    arguments={
        "mean": Arg(float, 0.0, "the mean"),
        "std": Arg(float, 1.0, "the standard deviation; 0 makes all equal to the mean"),
    },
    doc=f"output = random numbers, normal with `mean` and `std`, float32. {_SEED_DOC}",
    example="""
    shape = [3]
    output = [0.61, -1.2, 0.05] (for instance)
    """,
)


def _infer_fan(rank: int) -> Rule:
    def rule(query: Query) -> Sequence[TensorType]:
        shape = filled_shape(query)
        if shape is not None and len(shape) < rank:
            raise ShapeError(f"weights need {rank} dimension(s) or more, found {shape_text(shape)}")
        return [TensorType(FLOAT, shape)]

    return rule


def fill_xavier(call: Call) -> list[Launch] | None:
    """Draw anew in every run, by the number of inputs of a neuron."""
    y = call.outputs[0]
    if not y.size:
        return None
    scale = math.sqrt(3 / (y.size // y.shape[0]))
    return launch_uniform(call.random_state(), -scale, scale, y)


def fill_msra(call: Call) -> list[Launch] | None:
    """Draw anew in every run, by the number of outputs that an input reaches."""
    y = call.outputs[0]
    if not y.size:
        return None
    return launch_normal(call.random_state(), 0.0, math.sqrt(2 / (y.size // y.shape[1])), y)


declare_fill(
    "XavierFill",
    "input? -> output",
    _infer_fan(1),
    fill_xavier,
    arguments={},
    doc=f"""
    output = random weights, uniform in [-s, s), float32, with s = sqrt(3 / n) for the n elements in
    each row of the first dimension, so that their variance is 1 / n (X. Glorot and Y. Bengio,
    2010). {_SEED_DOC}
    """,
    example="""
    shape = [2, 3]
    output = numbers between -1 and 1
    """,
)
declare_fill(
    "MSRAFill",
    "input? -> output",
    _infer_fan(2),
    fill_msra,
    arguments={},
    doc=f"""
    output = random weights, normal with mean 0 and variance 2 / n, float32, for the n elements that
    share an index of the second dimension (K. He et al., 2015). {_SEED_DOC}
    """,
    example="""
    shape = [2, 3]
    output = numbers with standard deviation 1
    """,
)
