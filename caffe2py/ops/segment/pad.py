"""Padding added to segments, removed from them, summed."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from caffe2py.errors import ArgumentError, ArityError, NoGradientError, ShapeError, ValueRangeError
from caffe2py.kernels.copy import launch_constant, launch_copy
from caffe2py.kernels.elementwise import NUMERIC
from caffe2py.kernels.lengths import (
    launch_add,
    launch_at_least_one,
    launch_map_between,
    launch_map_empty,
    launch_map_inner,
    launch_map_padded,
    launch_sum_padding,
    launch_take,
    padding,
)
from caffe2py.kernels.segment import by_row
from caffe2py.ops.segment.common import (
    INT32,
    INT64,
    Dims,
    differ,
    known_sum,
    require_rows,
    require_vector,
)
from caffe2py.proto.caffe2_pb2 import OperatorDef
from caffe2py.registry.context import Call, Launch
from caffe2py.registry.gradient import (
    Gradient,
    GradientName,
    NoGradient,
    NotDifferentiable,
    gradient_name,
    gradient_op,
)
from caffe2py.registry.infer import Query, product, require_dtype, require_same_dtype
from caffe2py.registry.operator import operator
from caffe2py.registry.schema import Arg, Args
from caffe2py.tensor.place import copy_of, device_of
from caffe2py.tensor.tensor import Array
from caffe2py.tensor.types import TensorType, shape_text

WIDTHS = {
    "padding_width": Arg(int, 1, "rows of padding before each segment"),
    "end_padding_width": Arg(int, -1, "rows of padding after each; -1: as many as before"),
}


def _widths(args: Args) -> tuple[int, int]:
    """Rows of padding before and after; ArgumentError for negative numbers."""
    start, end = args.padding_width, args.end_padding_width
    end = start if end < 0 else end
    if start < 0:
        raise ArgumentError(f"padding_width must not be negative, found {start}")
    return start, end


def _by_lengths(op: OperatorDef) -> bool:
    return len(op.input) > 1


def _lengths(call: Call, rows: int) -> Array:
    """The lengths, or that of the one segment there is."""
    if len(call.inputs) > 1:
        return call.inputs[1]
    return copy_of(np.array([rows], np.int32), device_of(call.inputs[0]))


def _resized(query: Query, step: int) -> Sequence[TensorType]:
    """Data and lengths where each segment gets `step` rows longer."""
    data = require_rows(query, 0)
    segments: int | None = 1
    rows = None if data is None else data[0]
    lengths = TensorType(INT32, (1,))
    if len(query.inputs) > 1:
        segments = require_vector(query, 1)
        lengths = query.inputs[1]
        total = known_sum(query, 1)
        if differ(total, rows):
            raise ValueRangeError(f"the sum of lengths is {total}, but there are {rows} row(s)")
        value = query.value(1)
        _require_room(value, step)
    elif rows is not None and rows + step < 0:
        raise ValueRangeError(f"{rows} row(s) are less than the padding of {-step}")
    known = None not in (segments, rows)
    total = (rows or 0) + step * (segments or 0) if known else None
    shape = None if data is None else (total, *data[1:])
    return [query.inputs[0].with_shape(shape), lengths][: query.outputs]


def _require_room(lengths: Array | None, step: int) -> None:
    """Raise ValueRangeError where a segment is shorter than its padding."""
    if lengths is not None and lengths.size and int(lengths.min()) + step < 0:
        at = int(lengths.argmin())
        raise ValueRangeError(
            f"lengths[{at}] is {int(lengths[at])}, less than the padding of {-step} row(s)"
        )


# ---------------------------------------------------------------- AddPadding, RemovePadding


def _infer_add(query: Query) -> Sequence[TensorType]:
    start, end = _widths(query.args)
    data = query.inputs[0].shape
    for index in range(2, len(query.inputs)):
        require_same_dtype(query, 0, index)
        found = query.inputs[index].shape
        if None not in (data, found) and differ(product((data or ())[1:]), product(found or ())):
            raise ShapeError(
                f"input {index} '{query.name(index)}' is {shape_text(found)}, needs the elements "
                f"of one row of {shape_text(data)}"
            )
    return _resized(query, start + end)


def _require_lengths_out(op: OperatorDef) -> None:
    if len(op.input) > 1 and len(op.output) < 2:
        raise NoGradientError(
            f"{op.type}: its gradient reads the second output, the lengths of the result",
            hint="give it two outputs",
        )


def _gradient_of_add(op: OperatorDef, output_grads: Sequence[GradientName]) -> Gradient:
    """Without the padding; what was the padding gets the sums of its places."""
    nothing: list[GradientName] = [None] * len(op.input)
    dy = output_grads[0]
    if dy is None:
        return Gradient((), tuple(nothing))
    _require_lengths_out(op)
    reads = [dy, *op.output[1:2]]
    nothing[0] = result = gradient_name(op.input[0])
    ops = [gradient_op(op, "RemovePadding", reads, [result])]
    if len(op.input) > 2:
        nothing[2:] = [gradient_name(blob) for blob in op.input[2:]]
        sums = [str(name) for name in nothing[2:]]
        ops.append(gradient_op(op, "GatherPadding", reads, sums))
    return Gradient(tuple(ops), tuple(nothing))


_add = operator(
    "AddPadding",
    "data_in, lengths?, start_padding?, end_padding? -> data_out, lengths_out?",
    infer=_infer_add,
    gradient=_gradient_of_add,
    arguments=WIDTHS,
    doc="""
    data_out = each segment of data_in with padding_width rows of start_padding before it and
    end_padding_width rows of end_padding after it; lengths_out = lengths + both widths. Without
    lengths data_in is one segment. Without end_padding start_padding is used for it, and without
    both zeros. Any type. Raises ValueRangeError unless the lengths add up to the rows; Caffe2
    leaves memory as it was where they are too small. The gradient needs lengths_out.
    """,
    example="""
    data_in = [1, 2, 3]; lengths = [2, 1]; start_padding = 8; end_padding = 9
    data_out = [8, 1, 2, 9, 8, 3, 9]; lengths_out = [4, 3]
    """,
)


@_add.everywhere_dynamic(when=_by_lengths, reads=lambda op: [1] if _by_lengths(op) else [])
def _launch_add(call: Call) -> list[Launch]:
    x, y = by_row(call.inputs[0]), by_row(call.outputs[0])
    start, end = _widths(call.args)
    lengths = _lengths(call, x.shape[0])
    given = call.inputs[2:]
    first = given[0].reshape(1, x.shape[1]) if given else padding(call, x)
    last = given[-1].reshape(1, x.shape[1]) if given else first
    rows = call.scratch((y.shape[0],), INT64)
    pads = call.scratch((2, x.shape[1]), x.dtype)
    launches = [
        _launch_pad_row(first, pads[:1]),
        _launch_pad_row(last, pads[1:]),
        *launch_map_between(lengths, start, end, rows),
        launch_take(x, rows, pads, y),
    ]
    return _with_lengths(call, lengths, start + end, launches)


def _launch_pad_row(row: Array, pads: Array) -> Launch:
    constant = isinstance(row, np.ndarray) and not isinstance(pads, np.ndarray)
    return (launch_constant if constant else launch_copy)(row, pads)


def _with_lengths(call: Call, lengths: Array, step: int, launches: list[Launch]) -> list[Launch]:
    if len(call.outputs) > 1:
        launches.append(launch_add(lengths, step, call.outputs[1]))
    return launches


def _infer_remove(query: Query) -> Sequence[TensorType]:
    return _resized(query, -sum(_widths(query.args)))


def _gradient_of_remove(op: OperatorDef, output_grads: Sequence[GradientName]) -> Gradient:
    """Zeros where the padding was."""
    nothing: list[GradientName] = [None] * len(op.input)
    dy = output_grads[0]
    if dy is None:
        return Gradient((), tuple(nothing))
    _require_lengths_out(op)
    nothing[0] = result = gradient_name(op.input[0])
    made = gradient_op(op, "AddPadding", [dy, *op.output[1:2]], [result])
    return Gradient((made,), tuple(nothing))


_remove = operator(
    "RemovePadding",
    "data_in, lengths? -> data_out, lengths_out?",
    infer=_infer_remove,
    gradient=_gradient_of_remove,
    arguments=WIDTHS,
    doc="""
    data_out = each segment of data_in without its first padding_width and last end_padding_width
    rows; lengths_out = lengths - both widths. Without lengths data_in is one segment. Any type.
    Raises ValueRangeError for a segment that is shorter than that (Caffe2 crashes), or unless the
    lengths add up to the rows. The gradient needs lengths_out.
    """,
    example="""
    data_in = [8, 1, 2, 9, 8, 3, 9]; lengths = [4, 3]
    data_out = [1, 2, 3]; lengths_out = [2, 1]
    """,
)


@_remove.everywhere_dynamic(when=_by_lengths, reads=lambda op: [1] if _by_lengths(op) else [])
def _launch_remove(call: Call) -> list[Launch]:
    x, y = by_row(call.inputs[0]), by_row(call.outputs[0])
    start, end = _widths(call.args)
    lengths = _lengths(call, x.shape[0])
    rows = call.scratch((y.shape[0],), INT64)
    launches = [
        *launch_map_inner(lengths, start, end, rows),
        launch_take(x, rows, padding(call, x), y),
    ]
    return _with_lengths(call, lengths, -start - end, launches)


# ---------------------------------------------------------------- GatherPadding


def _infer_gather(query: Query) -> Sequence[TensorType]:
    _widths(query.args)
    require_dtype(query, 0, *NUMERIC)
    require_vector(query, 1)
    data = require_rows(query, 0)
    return [query.inputs[0].with_shape(None if data is None else data[1:])] * query.outputs


_gather = operator(
    "GatherPadding",
    "data_in, lengths -> padding_sum, end_padding_sum?",
    infer=_infer_gather,
    gradient=NotDifferentiable("it is a gradient itself"),
    arguments=WIDTHS,
    doc="""
    padding_sum = the sum of the first padding_width rows of all segments, end_padding_sum that of
    the last end_padding_width rows; with one output it is the sum of both. data_in is int32, int64,
    float32 or float64. Raises ValueRangeError for a segment that is shorter than its padding, or
    unless the lengths add up to the rows: Caffe2 reads other segments, and beyond them.
    """,
    example="""
    data_in = [8, 1, 2, 9, 8, 3, 9]; lengths = [4, 3]
    padding_sum = 16; end_padding_sum = 18
    """,
)


@_gather.everywhere
def _launch_gather(call: Call) -> list[Launch]:
    data, lengths = call.inputs
    before, after = call.outputs[0], call.outputs[-1]
    return launch_sum_padding(by_row(data), lengths, *_widths(call.args), before, after)


# ---------------------------------------------------------------- LengthsPad


def _infer_pad(query: Query) -> Sequence[TensorType]:
    require_dtype(query, 0, *NUMERIC, "float16")
    segments = require_vector(query, 1)
    target = query.args.target_length
    if target < 1:
        raise ArgumentError(f"target_length must be at least 1, found {target}")
    data = require_rows(query, 0)
    rows = None if segments is None else segments * target
    return [query.inputs[0].with_shape(None if data is None else (rows, *data[1:]))]


_pad = operator(
    "LengthsPad",
    "DATA, LENGTHS -> OUTPUT",
    infer=_infer_pad,
    gradient=NoGradient("Caffe2 has none"),
    doc="""
    OUTPUT = the segments of DATA one after the other, each filled up to target_length rows with
    padding_value, which is cut to a whole number for a DATA of integers. DATA is int32, int64,
    float16, float32 or float64. Raises ValueRangeError for a segment that is longer, or unless the
    lengths add up to the rows.
    """,
    example="""
    DATA = [1, 2, 3]; LENGTHS = [2, 1]; target_length = 3
    OUTPUT = [1, 2, -1, 3, -1, -1]
    """,
    target_length=Arg(int, -1, "how many rows each segment gets; it must be given"),
    padding_value=Arg(float, -1.0, "what the rows are filled up with"),
)


@_pad.everywhere
def _launch_pad(call: Call) -> list[Launch]:
    x, y = by_row(call.inputs[0]), by_row(call.outputs[0])
    lengths, most = call.inputs[1], call.args.target_length
    rows = call.scratch((lengths.size, most), INT64)
    return [
        *launch_map_padded(lengths, x.shape[0], most, rows, clip=False),
        launch_take(x, rows, padding(call, x, call.args.padding_value), y),
    ]


# ---------------------------------------------------------------- PadEmptySamples


def _infer_empty(query: Query) -> Sequence[TensorType]:
    if query.outputs != len(query.inputs):
        raise ArityError(f"{len(query.inputs)} input(s) give as many outputs, not {query.outputs}")
    require_vector(query, 0)
    lengths, total = query.value(0), known_sum(query, 0)
    more = None if lengths is None else int((lengths == 0).sum())
    types = [query.inputs[0]]
    for index in range(1, len(query.inputs)):
        shape: Dims | None = require_rows(query, index)
        if shape is not None and differ(shape[0], total):
            raise ValueRangeError(
                f"the sum of lengths is {total}, but input {index} '{query.name(index)}' has "
                f"{shape[0]} row(s)"
            )
        rows = None if total is None or more is None else total + more
        types.append(query.inputs[index].with_shape(None if shape is None else (rows, *shape[1:])))
    return types


_empty = operator(
    "PadEmptySamples",
    "lengths, features* -> out_lengths, out_features*",
    infer=_infer_empty,
    gradient=NotDifferentiable("Caffe2 has none"),
    doc="""
    out_lengths = lengths with 1 instead of 0; out_features = features with a row of zeros (or empty
    strings) for each segment that was empty. Any type, any number of features with as many rows as
    the lengths add up to.
    """,
    example="""
    lengths = [1, 0, 2]; features = [1, 2, 3]
    out_lengths = [1, 1, 2]; out_features = [1, 0, 2, 3]
    """,
)


@_empty.everywhere_dynamic(reads=lambda op: [0])
def _launch_empty(call: Call) -> list[Launch]:
    lengths, *features = call.inputs
    out, *results = call.outputs
    launches = [launch_at_least_one(lengths, out)]
    for x, y in zip(features, results, strict=True):
        rows = call.scratch((y.shape[0],), INT64)
        launches += launch_map_empty(lengths, rows)
        launches.append(launch_take(by_row(x), rows, padding(call, by_row(x)), by_row(y)))
    return launches
