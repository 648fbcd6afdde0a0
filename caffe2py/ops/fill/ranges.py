"""Numbers in even steps."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from caffe2py.kernels.fill import launch_range, range_length
from caffe2py.ops.fill.common import FLOAT, declare_fill, filled_shape, scalar_value
from caffe2py.proto.caffe2_pb2 import OperatorDef
from caffe2py.registry.context import Call, Launch
from caffe2py.registry.gradient import NoGradient
from caffe2py.registry.infer import Query, require_same_dtype
from caffe2py.registry.operator import operator
from caffe2py.tensor.place import on_host
from caffe2py.tensor.types import TensorType


def _infer_float(query: Query) -> Sequence[TensorType]:
    return [TensorType(FLOAT, filled_shape(query))]


def fill_range(call: Call) -> Launch:
    """Count."""
    return launch_range(0, 1, call.outputs[0])


declare_fill(
    "RangeFill",
    "input? -> output",
    _infer_float,
    fill_range,
    arguments={},
    doc="output = 0, 1, 2, ..., in the order of the elements, float32.",
    example="""
    shape = [2, 2]
    output = [[0, 1], [2, 3]]
    """,
)

_RANGE_TYPES = ("int32", "int64", "float32", "float64")


def _range_ends(values: Sequence[Any]) -> tuple[Any, Any, Any]:
    """start, stop, step from one, two or three scalars of one type."""
    element = type(values[0])
    if len(values) == 1:
        return element(0), values[0], element(1)
    return values[0], values[1], values[2] if len(values) == 3 else element(1)


def _infer_range(query: Query) -> Sequence[TensorType]:
    values = [scalar_value(query, k, *_RANGE_TYPES) for k in range(len(query.inputs))]
    dtype = require_same_dtype(query, *range(len(query.inputs)))
    if any(value is None for value in values):
        return [TensorType(dtype, (None,))]
    return [TensorType(dtype, (range_length(*_range_ends(values)),))]


range_ = operator(
    "Range",
    "start, stop?, step? -> output",
    infer=_infer_range,
    gradient=NoGradient("only the length depends on the inputs"),
    doc="""
    output = start, start + step, start + 2 step, ... before `stop`: ceil((stop - start) / step)
    elements, or none. One input is `stop`, counted from 0; `step` is 1 by default. The inputs are
    scalars of one type: int32, int64, float32 or float64. Raises ValueRangeError for a step of 0 or
    a length that is no number. Integers with a negative step reach as far as floats do, where
    Caffe2 may omit the last.
    """,
    example="""
    start = 1; stop = 8; step = 3
    output = [1, 4, 7]
    """,
)


def _every_input(op: OperatorDef) -> range:
    return range(len(op.input))


@range_.cpu_dynamic(reads=_every_input)
def launch_counted(call: Call) -> Launch:
    """Count."""
    start, _, step = _range_ends([on_host(x).reshape(-1)[0] for x in call.inputs])
    return launch_range(start, step, call.outputs[0])


range_.cuda_dynamic(launch_counted, reads=_every_input, host_inputs=None)
