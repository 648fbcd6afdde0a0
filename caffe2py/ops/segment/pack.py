"""Segments side by side: packed into one more axis, unpacked, reversed."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from caffe2py.errors import ArgumentError, ArityError, ShapeError, ValueRangeError
from caffe2py.kernels.elementwise import launch_map
from caffe2py.kernels.lengths import (
    launch_map_packed,
    launch_map_padded,
    launch_map_reversed,
    launch_take,
    padding,
)
from caffe2py.kernels.segment import by_row
from caffe2py.ops.segment.common import INT64, differ, known_sum, require_rows, require_vector
from caffe2py.proto.caffe2_pb2 import OperatorDef
from caffe2py.registry.context import Call, Launch
from caffe2py.registry.infer import Query, require_rank
from caffe2py.registry.operator import operator
from caffe2py.registry.schema import Arg
from caffe2py.tensor.tensor import Array
from caffe2py.tensor.types import TensorType, shape_text

MAX_LENGTH = Arg(int, -1, "rows that each segment gets; by default those of the longest")
BOOL = np.dtype(np.bool_)


def _longest(query: Query, index: int) -> int | None:
    lengths = query.value(index)
    return None if lengths is None else int(lengths.max(initial=0))


def _require_rank_above(query: Query, index: int, least: int) -> None:
    rank = query.inputs[index].rank
    if rank is not None and rank < least:
        raise ShapeError(
            f"input {index} '{query.name(index)}' must have at least {least} dimensions, found "
            f"{shape_text(query.inputs[index].shape)}"
        )


# ---------------------------------------------------------------- PackSegments


def _told(query: Query) -> int | None:
    """The argument max_length, None where it is left out; ArgumentError for negative ones."""
    most: int = query.args.max_length
    if most < -1:
        raise ArgumentError(f"max_length must not be negative, found {most}")
    return None if most == -1 else most


def _infer_pack(query: Query) -> Sequence[TensorType]:
    if query.args.return_presence_mask and query.outputs < 2:
        raise ArityError("return_presence_mask needs a second output")
    segments = require_vector(query, 0)
    data = require_rows(query, 1)
    told = _told(query)
    most = _longest(query, 0) if told is None else told
    shape = None if data is None else (segments, most, *data[1:])
    types = [query.inputs[1].with_shape(shape), TensorType(BOOL, (segments, most))]
    return types[: query.outputs]


def _by_longest(op: OperatorDef) -> bool:
    return not any(arg.name == "max_length" and arg.i >= 0 for arg in op.arg)


_pack = operator(
    "PackSegments",
    "lengths, tensor -> packed_tensor, presence_mask?",
    infer=_infer_pack,
    gradient="UnpackSegments(lengths, dpacked_tensor) -> dtensor",
    doc="""
    packed_tensor[s, j] = row j of segment s of tensor, or padding behind its end: zeros, empty
    strings, or with pad_minf -inf where tensor is floating. Segments that are longer than
    max_length are cut. presence_mask[s, j] = whether it is no padding. Any type; lengths are int32
    or int64. Raises ValueRangeError unless the lengths add up to the rows. As in Caffe2 the
    gradient lacks the rows that were cut.
    """,
    example="""
    lengths = [1, 2]; tensor = [1, 2, 3]
    packed_tensor = [[1, 0], [2, 3]]; presence_mask = [[true, false], [true, true]]
    """,
    max_length=MAX_LENGTH,
    pad_minf=Arg(bool, False, "whether the padding is -inf"),
    return_presence_mask=Arg(bool, False, "whether there is a second output; having it is enough"),
)


def _is_row(row):
    return row >= 0


@_pack.everywhere_dynamic(when=_by_longest, reads=lambda op: [0] if _by_longest(op) else [])
def _launch_pack(call: Call) -> list[Launch]:
    lengths, data = call.inputs
    packed = call.outputs[0]
    x = by_row(data)
    segments, most = packed.shape[:2]
    rows = call.scratch((segments, most), INT64)
    y = packed.reshape(segments * most, x.shape[1])
    minus = call.args.pad_minf and x.dtype.kind == "f"
    pads = padding(call, x, -np.inf if minus else 0)
    launches = [
        *launch_map_padded(lengths, x.shape[0], most, rows, clip=True),
        launch_take(x, rows, pads, y),
    ]
    if len(call.outputs) > 1:
        launches.append(launch_map(_is_row, [rows], call.outputs[1]))
    return launches


# ---------------------------------------------------------------- UnpackSegments


def _infer_unpack(query: Query) -> Sequence[TensorType]:
    segments = require_vector(query, 0)
    _require_rank_above(query, 1, 2)
    data = query.inputs[1].shape
    total = known_sum(query, 0)
    if data is None:
        return [TensorType(query.inputs[1].dtype)]
    if differ(segments, data[0]):
        raise ShapeError(f"there are {segments} lengths for {data[0]} segment(s)")
    told = _told(query)
    if differ(told, data[1]):
        raise ShapeError(f"max_length is {told}, but segments have {data[1]} row(s)")
    lengths = query.value(0)
    if lengths is None or data[1] is None:
        return [query.inputs[1].with_shape((None, *data[2:]))]
    most = int(lengths.max(initial=0))
    if told is None and most > data[1]:
        raise ValueRangeError(f"a length of {most} exceeds the {data[1]} row(s) of a segment")
    if told is not None:
        total = int(np.minimum(lengths, told).sum())
    return [query.inputs[1].with_shape((total, *data[2:]))]


_unpack = operator(
    "UnpackSegments",
    "lengths, tensor -> packed_tensor",
    infer=_infer_unpack,
    gradient="PackSegments(lengths, dpacked_tensor) -> dtensor",
    doc="""
    packed_tensor = tensor[s, j] for each j < lengths[s], for each s: the rows without the padding.
    With max_length lengths count for no more than that; it must be the size of axis 1. Any type;
    lengths are int32 or int64. Raises ValueRangeError for a length beyond axis 1; Caffe2 leaves
    rows unwritten.
    """,
    example="""
    lengths = [1, 2]; tensor = [[1, 0], [2, 3]]
    packed_tensor = [1, 2, 3]
    """,
    max_length=Arg(int, -1, "the size of axis 1, where longer segments were cut"),
)


def _flat_rows(x: Array) -> Array:
    """The first two axes as one."""
    return by_row(x.reshape(x.shape[0] * x.shape[1], *x.shape[2:]))


@_unpack.everywhere_dynamic(reads=lambda op: [0])
def _launch_unpack(call: Call) -> list[Launch]:
    lengths, data = call.inputs
    y = by_row(call.outputs[0])
    x = _flat_rows(data)
    rows = call.scratch((y.shape[0],), INT64)
    most = data.shape[1]
    return [*launch_map_packed(lengths, most, rows), launch_take(x, rows, padding(call, x), y)]


# ---------------------------------------------------------------- PackRNNSequence


def _infer_pack_rnn(query: Query) -> Sequence[TensorType]:
    segments = require_vector(query, 1)
    _require_rank_above(query, 0, 2)
    values = query.inputs[0].shape
    if values is None:
        return [TensorType(query.inputs[0].dtype)]
    return [query.inputs[0].with_shape((_longest(query, 1), segments, *values[1:]))]


_pack_rnn = operator(
    "PackRNNSequence",
    "values, lengths -> output",
    infer=_infer_pack_rnn,
    gradient="UnpackRNNSequence(doutput, lengths) -> dvalues",
    doc="""
    output[j, s] = row j of segment s of values, or zeros behind its end: sequences side by side, as
    recurrent networks read them. Values have at least 2 axes and any type. Raises ValueRangeError
    unless the lengths add up to the rows; Caffe2 reads other memory.
    """,
    example="""
    values = [[1], [2], [3]]; lengths = [1, 2]
    output = [[[1], [2]], [[0], [3]]]
    """,
)


@_pack_rnn.everywhere_dynamic(reads=lambda op: [1])
def _launch_pack_rnn(call: Call) -> list[Launch]:
    values, lengths = call.inputs
    x = by_row(values)
    most, segments = call.outputs[0].shape[:2]
    rows = call.scratch((most, segments), INT64)
    y = call.outputs[0].reshape(most * segments, x.shape[1])
    return [
        *launch_map_padded(lengths, x.shape[0], most, rows, clip=False, places_first=True),
        launch_take(x, rows, padding(call, x), y),
    ]


def _infer_unpack_rnn(query: Query) -> Sequence[TensorType]:
    segments = require_vector(query, 1)
    _require_rank_above(query, 0, 3)
    values, total = query.inputs[0].shape, known_sum(query, 1)
    if values is None:
        return [TensorType(query.inputs[0].dtype)]
    if differ(segments, values[1]):
        raise ShapeError(f"there are {segments} lengths for {values[1]} sequence(s)")
    lengths = query.value(1)
    if lengths is not None and values[0] is not None and lengths.max(initial=0) > values[0]:
        raise ValueRangeError(f"a length of {lengths.max()} exceeds the {values[0]} step(s)")
    return [query.inputs[0].with_shape((total, *values[2:]))]


_unpack_rnn = operator(
    "UnpackRNNSequence",
    "values, lengths -> output",
    infer=_infer_unpack_rnn,
    gradient="PackRNNSequence(doutput, lengths) -> dvalues",
    doc="""
    output = values[j, s] for each j < lengths[s], for each s: the rows of each sequence one after
    the other. Values have at least 3 axes and any type. Raises ValueRangeError for a length beyond
    axis 0; Caffe2 leaves rows unwritten.
    """,
    example="""
    values = [[[1], [2]], [[0], [3]]]; lengths = [1, 2]
    output = [[1], [2], [3]]
    """,
)


@_unpack_rnn.everywhere_dynamic(reads=lambda op: [1])
def _launch_unpack_rnn(call: Call) -> list[Launch]:
    values, lengths = call.inputs
    y, x = by_row(call.outputs[0]), _flat_rows(values)
    rows = call.scratch((y.shape[0],), INT64)
    return [
        *launch_map_packed(lengths, values.shape[0], rows, places_first=True),
        launch_take(x, rows, padding(call, x), y),
    ]


# ---------------------------------------------------------------- ReversePackedSegs


def _infer_reverse(query: Query) -> Sequence[TensorType]:
    require_rank(query, 0, 3)
    segments = require_vector(query, 1)
    data = query.inputs[0].shape
    if data is not None and differ(segments, data[1]):
        raise ShapeError(f"there are {segments} lengths for {data[1]} segment(s)")
    return [query.inputs[0]]


_reverse = operator(
    "ReversePackedSegs",
    "data, lengths -> reversed",
    infer=_infer_reverse,
    gradient="ReversePackedSegs(dreversed, lengths) -> ddata",
    doc="""
    reversed[j, s] = data[lengths[s] - 1 - j, s] for j < lengths[s], data[j, s] for the rest: each
    sequence from its end. Data have 3 axes and any type; lengths are int32 or int64. Raises
    ValueRangeError for a length that is negative or beyond axis 0.
    """,
    example="""
    data = [[[1], [2]], [[3], [4]]]; lengths = [1, 2]
    reversed = [[[1], [4]], [[3], [2]]]
    """,
)


@_reverse.everywhere
def _launch_reverse(call: Call) -> list[Launch]:
    data, lengths = call.inputs
    x, y = _flat_rows(data), _flat_rows(call.outputs[0])
    rows = call.scratch(data.shape[:2], INT64)
    return [launch_map_reversed(lengths, rows), launch_take(x, rows, padding(call, x), y)]
