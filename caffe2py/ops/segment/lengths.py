"""Lengths, segment ids and ranges: one made from the other."""

from __future__ import annotations

from collections.abc import Sequence

from caffe2py.errors import ArgumentError, ShapeError, ValueRangeError
from caffe2py.kernels.lengths import (
    launch_common_shape,
    launch_expand_lengths,
    launch_from_ids,
    launch_masked_lengths,
    launch_offsets,
    launch_ranges,
    launch_split_lengths,
    launch_weights,
)
from caffe2py.ops.segment.common import (
    FLOAT32,
    INT32,
    known_sum,
    require_rows,
    require_vector,
)
from caffe2py.proto.caffe2_pb2 import OperatorDef
from caffe2py.registry.context import Call, Launch
from caffe2py.registry.gradient import NoGradient, NotDifferentiable
from caffe2py.registry.infer import Query, product, require_dtype
from caffe2py.registry.operator import operator
from caffe2py.registry.schema import Arg
from caffe2py.tensor.place import on_host
from caffe2py.tensor.types import TensorType, shape_text

_WHOLE = NotDifferentiable("lengths and ids are whole numbers")

# ---------------------------------------------------------------- one for each row


def _infer_each_row(query: Query) -> Sequence[TensorType]:
    require_vector(query, 0)
    return [TensorType(query.inputs[0].dtype, (known_sum(query, 0),))]


_ids = operator(
    "LengthsToSegmentIds",
    "lengths -> segment_ids",
    infer=_infer_each_row,
    gradient=_WHOLE,
    doc="""
    segment_ids = s, lengths[s] times, for each s: for every row the number of its segment. Both
    are int32, or int64. Raises ValueRangeError for a negative length.
    """,
    example="""
    lengths = [2, 0, 3]
    segment_ids = [0, 0, 2, 2, 2]
    """,
)


@_ids.everywhere_dynamic(reads=lambda op: [0])
def _launch_ids(call: Call) -> list[Launch]:
    return launch_expand_lengths(call.inputs[0], call.outputs[0])


_range_fill = operator(
    "LengthsRangeFill",
    "lengths -> range_sequence",
    infer=_infer_each_row,
    gradient=NoGradient("lengths are whole numbers"),
    doc="""
    range_sequence = 0, 1, ..., lengths[s] - 1, for each s: for every row its place in its segment.
    Both are int32, or int64. Raises ValueRangeError for a negative length.
    """,
    example="""
    lengths = [2, 0, 3]
    range_sequence = [0, 1, 0, 1, 2]
    """,
)


@_range_fill.everywhere_dynamic(reads=lambda op: [0])
def _launch_range_fill(call: Call) -> list[Launch]:
    return launch_expand_lengths(call.inputs[0], call.outputs[0], places=True)


def _infer_weights(query: Query) -> Sequence[TensorType]:
    require_vector(query, 0)
    return [TensorType(FLOAT32, (known_sum(query, 0),))]


_to_weights = operator(
    "LengthsToWeights",
    "lengths -> weights",
    infer=_infer_weights,
    gradient=NotDifferentiable("lengths are whole numbers"),
    doc="""
    weights = 1 / lengths[s] ** power, lengths[s] times, for each s; float32. Raises ValueRangeError
    for a negative length.
    """,
    example="""
    lengths = [1, 4]; power = 0.5
    weights = [1, 0.5, 0.5, 0.5, 0.5]
    """,
    power=Arg(float, 0.5, "the exponent"),
)


@_to_weights.everywhere_dynamic(reads=lambda op: [0])
def _launch_weights(call: Call) -> list[Launch]:
    return launch_weights(call.inputs[0], call.args.power, call.outputs[0])


# ---------------------------------------------------------------- one for each segment


def _infer_offsets(query: Query) -> Sequence[TensorType]:
    count = require_vector(query, 0)
    more = 1 if query.args.include_last_offset else 0
    return [query.inputs[0].with_shape((None if count is None else count + more,))]


_to_offsets = operator(
    "LengthsToOffsets",
    "lengths -> offsets",
    infer=_infer_offsets,
    gradient=NotDifferentiable("lengths are whole numbers"),
    doc="""
    offsets[s] = the sum of the lengths before s: where segment s begins. With include_last_offset
    the whole sum follows. Both are int32, or int64. Raises ValueRangeError for a negative length.
    """,
    example="""
    lengths = [2, 0, 3]
    offsets = [0, 2, 2]
    """,
    include_last_offset=Arg(bool, False, "whether the end of the last segment follows"),
)


@_to_offsets.everywhere
def _launch_offsets(call: Call) -> list[Launch]:
    return launch_offsets(call.inputs[0], call.outputs[0])


def _infer_ranges(query: Query) -> Sequence[TensorType]:
    return [query.inputs[0].with_shape((require_vector(query, 0), 2))]


_to_ranges = operator(
    "LengthsToRanges",
    "lengths -> ranges",
    infer=_infer_ranges,
    gradient=NotDifferentiable("lengths are whole numbers"),
    doc="""
    ranges[s] = [the sum of the lengths before s, lengths[s]]: where segment s begins, and how many
    rows it has. Both are int32, or int64. Raises ValueRangeError for a negative length.
    """,
    example="""
    lengths = [2, 0, 3]
    ranges = [[0, 2], [2, 0], [2, 3]]
    """,
)


@_to_ranges.everywhere
def _launch_ranges(call: Call) -> list[Launch]:
    return launch_ranges(call.inputs[0], call.outputs[0])


def _infer_shape(query: Query) -> Sequence[TensorType]:
    if require_vector(query, 0) == 0:
        raise ShapeError("'X' is empty: there is no length that all have")
    return [query.inputs[0].with_shape((2,))]


_to_shape = operator(
    "LengthsToShape",
    "X -> Y",
    infer=_infer_shape,
    gradient=_WHOLE,
    doc="""
    Y = [the number of lengths, the length that all of them are]. Both are int32, or int64. Raises
    ValueRangeError where lengths differ, ShapeError where there are none (Caffe2 crashes then).
    """,
    example="""
    X = [3, 3]
    Y = [2, 3]
    """,
)


@_to_shape.everywhere
def _launch_shape(call: Call) -> Launch:
    return launch_common_shape(call.inputs[0], call.outputs[0])


# ---------------------------------------------------------------- from segment ids


def _segments(query: Query) -> int | None:
    """How many segments: that of the data's rows, or what the last id tells."""
    require_vector(query, 0)
    if len(query.inputs) > 1:
        data = require_rows(query, 1)
        return None if data is None else data[0]
    ids = query.value(0)
    if ids is None:
        return None
    return max(int(ids[-1]) + 1, 0) if ids.size else 0


def _infer_to_lengths(query: Query) -> Sequence[TensorType]:
    return [TensorType(INT32, (_segments(query),))]


def _infer_to_ranges(query: Query) -> Sequence[TensorType]:
    return [TensorType(INT32, (_segments(query), 2))]


def _one_input(op: OperatorDef) -> bool:
    return len(op.input) == 1


def _launch_from_ids(call: Call) -> Launch:
    return launch_from_ids(call.inputs[0], call.outputs[0])


_MORE = """Ids are sorted, int32 or int64; with the
    second input there are as many segments as it has rows, its elements are not read. Raises
    ValueRangeError for ids that are negative, not sorted or too large."""

_to_lengths = operator(
    "SegmentIdsToLengths",
    "segment_ids, data? -> lengths",
    infer=_infer_to_lengths,
    gradient=_WHOLE,
    doc=f"""
    lengths[s] = how many ids are s, int32, up to the last id. {_MORE}
    """,
    example="""
    segment_ids = [0, 0, 2, 2, 2]
    lengths = [2, 0, 3]
    """,
)
_to_lengths.everywhere_dynamic(when=_one_input, reads=lambda op: [0] if _one_input(op) else [])(
    _launch_from_ids
)

_ids_to_ranges = operator(
    "SegmentIdsToRanges",
    "segment_ids, data? -> lengths",
    infer=_infer_to_ranges,
    gradient=_WHOLE,
    doc=f"""
    lengths[s] = [where the ids s begin, how many they are], int32, up to the last id; behind it
    [0, 0]. {_MORE}
    """,
    example="""
    segment_ids = [0, 0, 2, 2, 2]
    lengths = [[0, 2], [2, 0], [2, 3]]
    """,
)
_ids_to_ranges.everywhere_dynamic(when=_one_input, reads=lambda op: [0] if _one_input(op) else [])(
    _launch_from_ids
)

# ---------------------------------------------------------------- LengthsSplit


def _parts(query: Query) -> int | None:
    """How many parts each length is cut into; ArgumentError or ValueRangeError for less than 1."""
    parts: int | None = query.args.n_split
    if len(query.inputs) > 1:
        require_vector(query, 1)
        shape = query.inputs[1].shape
        if shape is not None and product(shape) not in (None, 1):
            raise ShapeError(f"'n_split' is {shape_text(shape)}, needs one element")
        value = query.value(1)
        parts = None if value is None else int(value[0])
    elif "n_split" not in query.args.given:
        raise ArgumentError("argument 'n_split' is required where it is no input")
    if parts is not None and parts < 1:
        raise ValueRangeError(f"n_split must be positive, found {parts}")
    return parts


def _infer_split(query: Query) -> Sequence[TensorType]:
    count = require_vector(query, 0)
    return [query.inputs[0].with_shape((product((count, _parts(query))),))]


_split = operator(
    "LengthsSplit",
    "LENGTHS, n_split? -> Y",
    infer=_infer_split,
    gradient=NotDifferentiable("lengths are whole numbers"),
    doc="""
    Y[s * n + j] = LENGTHS[s] // n, and 1 more for the first LENGTHS[s] % n of j = 0, ..., n - 1:
    each length cut into n = n_split almost equal ones. n_split is an argument, or an input of one
    element. Both are int32, or int64. Raises ValueRangeError for a negative length, or for an
    n_split that is not positive.
    """,
    example="""
    LENGTHS = [5, 3]; n_split = 3
    Y = [2, 2, 1, 1, 1, 1]
    """,
    n_split=Arg(int, 0, "the number of parts, unless there is an input"),
)


def _reads_parts(op: OperatorDef) -> bool:
    return len(op.input) > 1


@_split.everywhere_dynamic(
    when=_reads_parts, reads=lambda op: [1] if _reads_parts(op) else [], anywhere=(1,)
)
def _launch_split(call: Call) -> Launch:
    lengths = call.inputs[0]
    parts = int(on_host(call.inputs[1])[0]) if len(call.inputs) > 1 else call.args.n_split
    return launch_split_lengths(lengths, parts, call.outputs[0])


# ---------------------------------------------------------------- BooleanMaskLengths


def _infer_masked(query: Query) -> Sequence[TensorType]:
    require_vector(query, 0)
    require_dtype(query, 1, "bool")
    require_vector(query, 1, "bool")
    return [query.inputs[0]]


_masked = operator(
    "BooleanMaskLengths",
    "lengths, mask -> masked_lengths",
    infer=_infer_masked,
    gradient=NoGradient("lengths are whole numbers"),
    doc="""
    masked_lengths[s] = how many of the next lengths[s] elements of the mask are true; the type of
    lengths, int32 or int64. Raises ValueRangeError unless the lengths add up to the mask.
    """,
    example="""
    lengths = [2, 3]; mask = [true, false, true, true, false]
    masked_lengths = [1, 2]
    """,
)


@_masked.everywhere
def _launch_masked(call: Call) -> list[Launch]:
    lengths, mask = call.inputs
    return launch_masked_lengths(lengths, mask, call.outputs[0])
