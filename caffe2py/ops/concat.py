"""Joining tensors along an axis, and cutting them apart."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from caffe2py.errors import ArgumentError, ShapeError, ValueRangeError
from caffe2py.kernels.copy import launch_constant, launch_copy_columns
from caffe2py.proto.caffe2_pb2 import OperatorDef
from caffe2py.registry.context import Call, Launch
from caffe2py.registry.gradient import Gradient, GradientName, gradient_name, gradient_op
from caffe2py.registry.infer import Query, canonical_axis, require_dtype, require_same_dtype
from caffe2py.registry.operator import operator
from caffe2py.registry.schema import Arg, Args
from caffe2py.tensor.types import Shape, TensorType, shape_text, values_text

INT32 = np.dtype(np.int32)
Dims = tuple[int | None, ...]

AXIS = {
    "axis": Arg(int, -1, "the axis; negative ones count from the end; if not given, see `order`"),
    "order": Arg(str, "NCHW", "instead of `axis`: the channels, 1 for NCHW and 3 for NHWC"),
}


def _axis(args: Args, rank: int, *, between: bool = False) -> int:
    """The axis counted from the front; `between` existing axes where a new one is made.

    Raises ArgumentError for an unknown order or both arguments, ShapeError outside the rank.
    """
    if "axis" not in args.given:
        order = args.order.upper()
        if order not in ("NCHW", "NHWC"):
            raise ArgumentError(f"argument 'order' must be NCHW or NHWC, found '{args.order}'")
        return canonical_axis({"NCHW": 1, "NHWC": 3}[order], rank)
    if "order" in args.given:
        raise ArgumentError("arguments 'axis' and 'order' exclude each other")
    return canonical_axis(args.axis, rank + between)


def _adds_axis(args: Args) -> bool:
    """Whether each input is one slice of a new axis; only together with `axis`, as in Caffe2."""
    return bool(args.add_axis) and "axis" in args.given


# ---------------------------------------------------------------- Concat


def _infer_concat(query: Query) -> Sequence[TensorType]:
    dtype = require_same_dtype(query, *range(len(query.inputs)))
    info = TensorType(INT32, (len(query.inputs),))
    shapes = [t.shape for t in query.inputs if t.shape is not None]
    if not shapes:
        return [TensorType(dtype), info]
    rank = len(shapes[0])
    added = _adds_axis(query.args)
    axis = _axis(query.args, rank, between=added)
    merged = _merged(query, None if added else axis)
    if added:
        return [TensorType(dtype, (*merged[:axis], len(query.inputs), *merged[axis:])), info]
    widths = [None if t.shape is None else t.shape[axis] for t in query.inputs]
    known = [w for w in widths if w is not None]
    total = sum(known) if len(known) == len(widths) else None
    return [TensorType(dtype, (*merged[:axis], total, *merged[axis + 1 :])), info]


def _merged(query: Query, free: int | None) -> Dims:
    """The dimensions that the inputs have in common; ShapeError where one differs."""
    first, merged = -1, ()  # type: int, Dims
    for index, type_ in enumerate(query.inputs):
        shape = type_.shape
        if shape is None:
            continue
        if first < 0:
            first, merged = index, shape
        if len(shape) != len(merged) or any(
            k != free and None not in (a, b) and a != b
            for k, (a, b) in enumerate(zip(merged, shape, strict=True))
        ):
            place = "in all dimensions" if free is None else f"in all dimensions but {free}"
            raise ShapeError(
                f"inputs must agree {place}: input {first} '{query.name(first)}' is "
                f"{shape_text(query.inputs[first].shape)}, input {index} '{query.name(index)}' is "
                f"{shape_text(shape)}"
            )
        merged = tuple(a if b is None else b for a, b in zip(merged, shape, strict=True))
    return merged


def _concat_gradient(op: OperatorDef, output_grads: Sequence[GradientName]) -> Gradient:
    """Cut the gradient where the inputs were joined; split_info has none."""
    if output_grads[0] is None:
        return Gradient((), (None,) * len(op.input))
    made = tuple(gradient_name(blob) for blob in op.input)
    split = gradient_op(op, "Split", [output_grads[0], op.output[1]], made)
    return Gradient((split,), made)


def launch_concat(call: Call) -> list[Launch]:
    """One copy of columns for each input, as all axes before the joined one are rows.

    With one row an input may have been computed in its place already.
    """
    joined, split_info = call.outputs
    inputs = call.inputs
    added = _adds_axis(call.args)
    axis = _axis(call.args, inputs[0].ndim, between=added)
    widths = [1 if added else x.shape[axis] for x in inputs]
    launches = [launch_constant(np.array(widths, np.int32), split_info)]
    rows, inner = _rows_and_inner(joined.shape, axis)
    target = joined.reshape(rows, sum(widths) * inner)
    starts = [sum(widths[:k]) * inner for k in range(len(widths))]
    if rows == 1:
        call.joins([start * joined.itemsize for start in starts])
    for x, start, width in zip(inputs, starts, widths, strict=True):
        columns = width * inner
        if rows > 1 or x.ctypes.data != joined.ctypes.data + start * joined.itemsize:
            flat = x.reshape(rows, columns)
            launches.append(launch_copy_columns(flat, 0, target, start, columns))
    return launches


def _rows_and_inner(shape: Shape, axis: int) -> tuple[int, int]:
    """The numbers of places before the axis, and after it."""
    return math.prod(shape[:axis]), math.prod(shape[axis + 1 :])


def _declare_concat(name: str, doc: str, onnx: str | None) -> None:
    made = operator(
        name,
        "inputs+ -> concat_result, split_info",
        infer=_infer_concat,
        gradient=_concat_gradient,
        onnx=onnx,
        arguments={
            **AXIS,
            "add_axis": Arg(int, 0, "1: stack the inputs along a new axis, at `axis`"),
        },
        doc=f"""
        {doc}
        concat_result[..., j, ...] = inputs[k][..., j - (widths before k), ...]: the inputs one
        after the other along `axis`, and in `split_info` (int32) how wide each of them is there.
        All have one type (any) and the same sizes elsewhere. With `add_axis` they have one shape
        and are stacked along a new axis. Raises ShapeError where sizes differ, DTypeError for mixed
        types.
        """,
        example="""
        inputs = [[1, 2], [3, 4]], [[5], [6]]; axis = 1
        concat_result = [[1, 2, 5], [3, 4, 6]]; split_info = [2, 1]
        """,
    )
    made.everywhere(launch_concat)


_declare_concat("Concat", "Joins tensors.", "Concat")
_declare_concat("DepthConcat", "Another name of Concat, from its first use with channels.", None)


# ---------------------------------------------------------------- Split


def _infer_split(query: Query) -> Sequence[TensorType]:
    data, args = query.inputs[0], query.args
    if len(query.inputs) == 2:
        if args.split:
            raise ArgumentError("argument 'split' and the input 'split' exclude each other")
        require_dtype(query, 1, "int32", "int64")
    if data.shape is None:
        return [TensorType(data.dtype)] * query.outputs
    axis = _axis(args, len(data.shape))
    before, after = data.shape[:axis], data.shape[axis + 1 :]
    widths = _widths(query, data.shape[axis])
    if _adds_axis(args):
        return [data.with_shape(before + after)] * query.outputs
    return [data.with_shape((*before, width, *after)) for width in widths]


def _widths(query: Query, size: int | None) -> Sequence[int | None]:
    """How wide each output is along the axis of this size; all unknown where that is not given."""
    count = query.outputs
    given: list[int] | None = query.args.split or None
    if len(query.inputs) == 2:
        values = query.value(1)
        given = None if values is None else [int(v) for v in values.reshape(-1)]
        if given is None:
            return [None] * count
    if _adds_axis(query.args):
        given = [1] * count if given is None else given
    elif given is None:
        return _equal_widths(count, size)
    if len(given) != count:
        raise ShapeError(
            f"split {values_text(given)} has {len(given)} width(s) for {count} output(s)"
        )
    if any(width < 0 for width in given):
        raise ValueRangeError(f"split {values_text(given)} holds the negative width {min(given)}")
    if _adds_axis(query.args) and any(width != 1 for width in given):
        raise ValueRangeError(
            f"with add_axis every width must be 1, found split {values_text(given)}"
        )
    if size is not None and sum(given) != size:
        raise ShapeError(f"split {values_text(given)} adds up to {sum(given)}, the axis has {size}")
    return given


def _equal_widths(count: int, size: int | None) -> Sequence[int | None]:
    if size is None:
        return [None] * count
    if size % count:
        raise ShapeError(f"an axis of {size} cannot be cut into {count} equal parts")
    return [size // count] * count


def _split_gradient(op: OperatorDef, output_grads: Sequence[GradientName]) -> Gradient:
    """Join the gradients of the parts; a part that has none counts as zeros.

    Caffe2 leaves such a part out, and then the result has another shape than the input.
    """
    nothing: tuple[GradientName, ...] = (None,) * len(op.input)
    if all(name is None for name in output_grads):
        return Gradient((), nothing)
    ops, parts = [], []
    for blob, name in zip(op.output, output_grads, strict=True):
        part = name or f"_{gradient_name(blob)}_zeros"
        if name is None:
            zeros = gradient_op(op, "ConstantFill", [blob], [part], {"value": 0.0}, copy_args=False)
            ops.append(zeros)
        parts.append(part)
    made = gradient_name(op.input[0])
    ops.append(gradient_op(op, "Concat", parts, [made, f"_{made}_dims"]))
    return Gradient(tuple(ops), (made, *nothing[1:]))


def launch_split(call: Call) -> list[Launch]:
    """One copy of columns for each output."""
    x = call.inputs[0]
    axis = _axis(call.args, x.ndim)
    rows, inner = _rows_and_inner(x.shape, axis)
    source = x.reshape(rows, x.shape[axis] * inner)
    launches = []
    at = 0
    for y in call.outputs:
        columns = inner if _adds_axis(call.args) else y.shape[axis] * inner
        launches.append(launch_copy_columns(source, at, y.reshape(rows, columns), 0, columns))
        at += columns
    return launches


def _declare_split(name: str, doc: str, onnx: str | None) -> None:
    made = operator(
        name,
        "input, split? -> outputs+",
        infer=_infer_split,
        gradient=_split_gradient,
        onnx=onnx,
        arguments={
            **AXIS,
            "split": Arg(list[int], None, "the width of each output; equal ones by default"),
            "add_axis": Arg(int, 0, "1: every output is one slice, without `axis`"),
        },
        doc=f"""
        {doc}
        outputs[k][..., j, ...] = input[..., j + (widths before k), ...]: consecutive parts of
        `input` along `axis`. Their widths are those of the argument or of the vector `split` (int32
        or int64), or all equal. Any type. Raises ShapeError if the widths do not add up to the size
        of the axis, or do not divide it, ValueRangeError for a negative one.
        """,
        example="""
        input = [[1, 2, 5], [3, 4, 6]]; axis = 1; split = [2, 1]
        outputs = [[1, 2], [3, 4]], [[5], [6]]
        """,
    )
    made.everywhere_dynamic(
        when=lambda op: len(op.input) == 2, reads=lambda op: [1], anywhere=(1,)
    )(launch_split)


_declare_split("Split", "Cuts a tensor apart.", "Split")
_declare_split("DepthSplit", "Another name of Split, from its first use with channels.", None)
