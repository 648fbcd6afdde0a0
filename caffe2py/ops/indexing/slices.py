"""Slice: a box of a tensor."""

from __future__ import annotations

from collections.abc import Sequence

from caffe2py.errors import ArgumentError, ArityError, DTypeError, ShapeError, ValueRangeError
from caffe2py.kernels.index import launch_slice, launch_slice_gradient
from caffe2py.proto.caffe2_pb2 import OperatorDef
from caffe2py.registry.context import Call, Launch
from caffe2py.registry.infer import Query, require_dtype, require_rank, require_same_dtype
from caffe2py.registry.operator import operator
from caffe2py.registry.schema import Arg, Args
from caffe2py.tensor.place import on_host
from caffe2py.tensor.types import STRING, TensorType, shape_text

Dims = tuple[int | None, ...]

ARGS = {
    "starts": Arg(list[int], None, "where the box begins along each axis, from the first one on"),
    "ends": Arg(list[int], None, "where the box ends along each axis; -1 is the axis' end"),
}


def _from_args(args: Args) -> tuple[list[int], list[int]]:
    if args.starts is None or args.ends is None:
        missing = "starts" if args.starts is None else "ends"
        raise ArgumentError(f"argument '{missing}' is required unless starts and ends are inputs")
    return list(args.starts), list(args.ends)


def _bound(value: int, size: int) -> int:
    return min(value + size + 1 if value < 0 else value, size)


def _range(axis: int, size: int | None, start: int, end: int) -> tuple[int | None, int | None]:
    """Where the box begins along an axis, and how long it is; ValueRangeError where it is none."""
    if size is None:
        return None, None
    first, last = _bound(start, size), _bound(end, size)
    if not 0 <= first <= last:
        raise ValueRangeError(
            f"starts[{axis}] = {start} and ends[{axis}] = {end} are no part of an axis of size "
            f"{size}: they mean {first} to {last}"
        )
    return first, last - first


def _box(shape: Dims, starts: Sequence[int], ends: Sequence[int]) -> tuple[Dims, Dims]:
    """Begin and sizes of the box, whole along the axes that starts do not name."""
    if len(starts) != len(ends):
        raise ShapeError(f"{len(starts)} start(s) and {len(ends)} end(s)")
    if len(starts) > len(shape):
        raise ShapeError(f"{len(starts)} start(s) for data of shape {shape_text(shape)}")
    ranges = [
        _range(axis, shape[axis], int(start), int(end))
        for axis, (start, end) in enumerate(zip(starts, ends, strict=True))
    ]
    rest = shape[len(starts) :]
    return (
        (*(first for first, _ in ranges), *(0 for _ in rest)),
        (*(size for _, size in ranges), *rest),
    )


def _check_bounds(query: Query) -> None:
    for index in (1, 2):
        require_dtype(query, index, "int32", "int64")
        require_rank(query, index, 1)


def _sliced(query: Query, inputs: bool) -> Dims | None:
    """The shape of the box, as far as it is known; starts and ends are inputs 1 and 2, or args."""
    shape = query.inputs[0].shape
    if not inputs:
        bounds = _from_args(query.args)
        return None if shape is None else _box(shape, *bounds)[1]
    _check_bounds(query)
    starts, ends = query.value(1), query.value(2)
    if shape is None:
        return None
    if starts is None or ends is None:
        return (None,) * len(shape)
    return _box(shape, starts.tolist(), ends.tolist())[1]


def _starts(call: Call, inputs: bool) -> list[int]:
    bounds = [on_host(x).tolist() for x in call.inputs[1:3]] if inputs else _from_args(call.args)
    return [first or 0 for first in _box(call.inputs[0].shape, *bounds)[0]]


def _infer(query: Query) -> Sequence[TensorType]:
    return [query.inputs[0].with_shape(_sliced(query, len(query.inputs) == 3))]


_slice = operator(
    "Slice",
    "data, starts?, ends? -> output",
    infer=_infer,
    gradient="SliceGradient(data.shape, starts, ends, doutput) -> ddata",
    input_counts={1, 3},
    onnx="Slice",
    doc="""
    Output = data[starts[0] : ends[0], starts[1] : ends[1], ...], whole along the axes that are not
    named. Starts and ends are arguments, or int32 or int64 vectors. A negative one counts from
    behind the last element: an end of -1 is the end of the axis, -2 leaves the last element out.
    Those beyond the axis mean its end. Any type. Raises ValueRangeError where an end lies before
    its start. Any number of axes may be cut, where Caffe2 allows one.
    """,
    example="""
    data = [[1, 2, 3], [4, 5, 6]]; starts = [0, 1], ends = [-1, 3]
    output = [[2, 3], [5, 6]]
    """,
    arguments=ARGS,
)


@_slice.everywhere_dynamic(
    when=lambda op: len(op.input) == 3, reads=lambda op: [1, 2], anywhere=(1, 2)
)
def _launch(call: Call) -> list[Launch]:
    return launch_slice(call.inputs[0], _starts(call, len(call.inputs) == 3), call.outputs[0])


def _infer_gradient(query: Query) -> Sequence[TensorType]:
    if query.outputs != 1:
        raise ArityError(f"expected 1 output, found {query.outputs}")
    last = len(query.inputs) - 1
    dtype = require_same_dtype(query, 0, last)
    if dtype == STRING:
        raise DTypeError("strings have no gradient")
    wanted, found = _sliced(query, last == 3), query.inputs[last].shape
    if wanted is not None and found is not None:
        same = len(wanted) == len(found)
        if not same or any(
            None not in (m, n) and m != n for m, n in zip(wanted, found, strict=True)
        ):
            raise ShapeError(
                f"'doutput' is {shape_text(found)}, needs the shape of output, {shape_text(wanted)}"
            )
    return [TensorType(dtype, query.inputs[0].shape)]


def _has_vectors(op: OperatorDef) -> bool:
    return len(op.input) == 4


_slice_gradient = operator(
    "SliceGradient",
    "inputs* -> ddata*",
    infer=_infer_gradient,
    input_counts={2, 4},
    output_counts={1},
    doc="""
    Ddata = doutput in the box that Slice took, 0 elsewhere. Inputs are data, starts and ends (or
    the arguments), and doutput; the elements of data are not read.
    """,
    arguments=ARGS,
)


@_slice_gradient.everywhere_dynamic(
    when=_has_vectors, reads=lambda op: [1, 2] if _has_vectors(op) else [], anywhere=(1, 2)
)
def _launch_gradient(call: Call) -> list[Launch]:
    starts = _starts(call, len(call.inputs) == 4)
    return launch_slice_gradient(call.inputs[-1], starts, call.outputs[0])
