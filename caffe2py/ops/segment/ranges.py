"""SortedSegmentRange...: reductions of rows that lie together, with gradients that read them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from caffe2py.errors import ShapeError
from caffe2py.kernels.elementwise import FLOATS
from caffe2py.kernels.segment import (
    Walk,
    launch_segment_log_sum,
    launch_segment_max,
    launch_segment_spread,
    launch_segment_spread_equal,
    launch_segment_spread_exp,
    launch_segment_sum,
    walk_sorted,
)
from caffe2py.ops.segment.common import (
    differ,
    require_rows,
    require_vector,
    segments_of_ids,
)
from caffe2py.registry.context import Call, Launch
from caffe2py.registry.infer import (
    Query,
    require_dtype,
    require_same_dtype,
    require_same_shape,
)
from caffe2py.registry.operator import operator
from caffe2py.registry.schema import Arg
from caffe2py.tensor.tensor import Array
from caffe2py.tensor.types import TensorType, shape_text

ARGS = {"num_reduce_dim": Arg(int, None, "no effect, as in Caffe2")}

Forward = Callable[[Call, Walk, Array, Array], list[Launch]]
Backward = Callable[[Call, Walk, Array, Array, Array, Array], list[Launch]]


def _infer(query: Query) -> Sequence[TensorType]:
    require_dtype(query, 0, *FLOATS)
    data = require_rows(query, 0)
    told = require_vector(query, 1)
    if data is None:
        return [TensorType(query.inputs[0].dtype)]
    if differ(told, data[0]):
        raise ShapeError(f"there are {told} SEGMENT_IDS for {data[0]} row(s)")
    segments = segments_of_ids(query, 1, gaps=False)
    return [query.inputs[0].with_shape((segments, *data[1:]))]


def _infer_gradient(query: Query) -> Sequence[TensorType]:
    for index in range(3):
        require_dtype(query, index, *FLOATS)
    dtype = require_same_dtype(query, 0, 1, 2)
    data = require_rows(query, 0)
    told = require_vector(query, 3)
    dy = _rows_of_output(query)
    if data is None:
        return [TensorType(dtype)]
    if differ(told, data[0]):
        raise ShapeError(f"there are {told} SEGMENT_IDS for {data[0]} row(s)")
    if dy is not None and (len(dy) != len(data) or any(map(differ, dy[1:], data[1:]))):
        raise ShapeError(f"rows of 'DATA' {shape_text(data)} and 'dOUTPUT' {shape_text(dy)} differ")
    return [TensorType(dtype, data)]


def _rows_of_output(query: Query) -> tuple[int | None, ...] | None:
    """The shape of OUTPUT; dOUTPUT may have axes of 1 besides, as a step of a longer blob has."""
    y, dy = query.inputs[1].shape, query.inputs[2].shape
    if y is None or dy is None or None in (*y, *dy):
        return y
    if [n for n in y if n != 1] == [n for n in dy if n != 1]:
        return y
    return require_same_shape(query, 1, 2)


def _declare(
    reducer: str, forward: Forward, backward: Backward, formula: str, back: str, result: str
) -> None:
    name = f"SortedSegmentRange{reducer}"
    made = operator(
        name,
        "DATA, SEGMENT_IDS -> OUTPUT",
        infer=_infer,
        gradient=f"{name}Gradient(DATA, OUTPUT, dOUTPUT, SEGMENT_IDS) -> dDATA",
        doc=f"""
        OUTPUT[s] = {formula} over the i with SEGMENT_IDS[i] = s. Ids must be sorted, begin with 0
        and leave out none; ValueRangeError is raised otherwise. DATA is float32 or float64, ids are
        int32 or int64.
        """,
        example=f"""
        DATA = [[1, 2], [3, 2], [5, 6]]; SEGMENT_IDS = [0, 0, 1]
        OUTPUT = {result}
        """,
        arguments=ARGS,
    )

    @made.everywhere_dynamic(reads=lambda op: [1])
    def launch(call: Call) -> list[Launch]:
        data, ids = call.inputs
        y = call.outputs[0]
        return forward(call, walk_sorted(call, ids, y.shape[0]), data, y)

    gradient = operator(
        f"{name}Gradient",
        "DATA, OUTPUT, dOUTPUT, SEGMENT_IDS -> dDATA",
        infer=_infer_gradient,
        doc=f"dDATA[i] = {back}, where s = SEGMENT_IDS[i].",
        arguments=ARGS,
    )

    @gradient.everywhere
    def launch_gradient(call: Call) -> list[Launch]:
        data, y, dy, ids = call.inputs
        dy = dy.reshape(y.shape)
        way = walk_sorted(call, ids, y.shape[0])
        return backward(call, way, data, y, dy, call.outputs[0])


def _sum(mean: bool) -> tuple[Forward, Backward]:
    def forward(call: Call, way: Walk, data: Array, y: Array) -> list[Launch]:
        return launch_segment_sum(call, way, data, y, mean=mean)

    def backward(call: Call, way: Walk, *arrays: Any) -> list[Launch]:
        _, _, dy, dx = arrays
        return launch_segment_spread(call, way, dy, dx, mean=mean)

    return forward, backward


def _log(mean: bool) -> tuple[Forward, Backward]:
    def forward(call: Call, way: Walk, data: Array, y: Array) -> list[Launch]:
        return launch_segment_log_sum(call, way, data, y, mean=mean)

    def backward(call: Call, way: Walk, *arrays: Any) -> list[Launch]:
        return launch_segment_spread_exp(way, *arrays, mean=mean)

    return forward, backward


def _spread_equal(call: Call, way: Walk, *arrays: Any) -> list[Launch]:
    return launch_segment_spread_equal(way, *arrays)


_declare("Sum", *_sum(False), "the sum of DATA[i]", "dOUTPUT[s]", "[[4, 4], [5, 6]]")
_declare(
    "Mean",
    *_sum(True),
    "the mean of DATA[i]",
    "dOUTPUT[s] / the number of rows of s",
    "[[2, 2], [5, 6]]",
)
_declare(
    "Max",
    launch_segment_max,
    _spread_equal,
    "the largest of DATA[i]",
    "dOUTPUT[s] where DATA[i] = OUTPUT[s], 0 elsewhere",
    "[[3, 2], [5, 6]]",
)
_declare(
    "LogSumExp",
    *_log(False),
    "log of the sum of exp(DATA[i])",
    "dOUTPUT[s] * exp(DATA[i] - OUTPUT[s])",
    "[[3.127, 2.693], [5, 6]]",
)
_declare(
    "LogMeanExp",
    *_log(True),
    "log of the mean of exp(DATA[i])",
    "dOUTPUT[s] * exp(DATA[i] - OUTPUT[s]) / the number of rows of s",
    "[[2.434, 2], [5, 6]]",
)
