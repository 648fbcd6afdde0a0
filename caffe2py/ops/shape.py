"""Other shapes for the same elements: reshaping, axes of one element, transposition, repetition."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from caffe2py.errors import ArgumentError, ShapeError, ValueRangeError
from caffe2py.kernels.copy import (
    launch_constant,
    launch_expand,
    launch_reshaped,
    launch_transpose,
)
from caffe2py.kernels.reduce import launch_sum
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
from caffe2py.registry.infer import (
    Query,
    broadcast_shapes,
    canonical_axis,
    fixed,
    product,
    require_dtype,
    require_rank,
    require_same_dtype,
)
from caffe2py.registry.operator import operator
from caffe2py.registry.schema import Arg
from caffe2py.tensor.types import TensorType, shape_text, values_text

INT64 = np.dtype(np.int64)
Dims = tuple[int | None, ...]


# ---------------------------------------------------------------- axes of one element


def _positions(query: Query) -> list[int]:
    """The argument `dims`, sorted and without repetitions."""
    dims = sorted(set(query.args.dims or ()))
    if not dims:
        raise ArgumentError("argument 'dims' must list at least one dimension")
    if dims[0] < 0:
        raise ArgumentError(f"argument 'dims' must not be negative, found {dims[0]}")
    return dims


def _infer_expand_dims(query: Query) -> Sequence[TensorType]:
    dims = _positions(query)
    data = query.inputs[0]
    if data.shape is None:
        return [data]
    rank = len(data.shape) + len(dims)
    if dims[-1] >= rank:
        raise ShapeError(
            f"dims {dims} do not fit: with {len(dims)} more dimension(s) 'data' "
            f"{shape_text(data.shape)} has {rank}"
        )
    rest = iter(data.shape)
    return [data.with_shape(tuple(1 if k in dims else next(rest) for k in range(rank)))]


expand_dims = operator(
    "ExpandDims",
    "data -> expanded",
    infer=_infer_expand_dims,
    inplace={0: 0},
    gradient="Squeeze(dexpanded) -> ddata",
    onnx="ExpandDims",
    dims=Arg(list[int], None, "where dimensions of size 1 are put, counted in the output"),
    doc="""
    `expanded` holds the elements of `data`; its dimensions at `dims` have size 1, the others are
    those of `data` in order. Repeated `dims` count once. Any type. Raises ShapeError if a position
    is beyond the output's dimensions.
    """,
    example="""
    data = float32(2, 3); dims = [0, 3]
    expanded = float32(1, 2, 3, 1)
    """,
)
expand_dims.everywhere(launch_reshaped)


def _infer_squeeze(query: Query) -> Sequence[TensorType]:
    dims = _positions(query)
    data = query.inputs[0]
    if data.shape is None:
        return [data]
    if dims[-1] >= len(data.shape):
        raise ShapeError(f"dims {dims} do not fit 'data' {shape_text(data.shape)}")
    for k in dims:
        if data.shape[k] not in (1, None):
            raise ShapeError(
                f"dimension {k} of 'data' {shape_text(data.shape)} must be 1 to be removed, "
                f"found {data.shape[k]}"
            )
    return [data.with_shape(tuple(d for k, d in enumerate(data.shape) if k not in dims))]


squeeze = operator(
    "Squeeze",
    "data -> squeezed",
    infer=_infer_squeeze,
    inplace={0: 0},
    gradient="ExpandDims(dsqueezed) -> ddata",
    onnx="Squeeze",
    dims=Arg(list[int], None, "the dimensions of size 1 to remove"),
    doc="""
    `squeezed` holds the elements of `data` without its dimensions `dims`. Any type. Raises
    ShapeError if one of them is not of size 1.
    """,
    example="""
    data = float32(1, 2, 1, 3); dims = [0, 2]
    squeezed = float32(2, 3)
    """,
)
squeeze.everywhere(launch_reshaped)


# ---------------------------------------------------------------- Reshape


def _infer_reshape(query: Query) -> Sequence[TensorType]:
    data = query.inputs[0]
    old_dtype, wanted = _wanted_shape(query)
    shape = None
    if wanted is not None and data.shape is not None:
        shape = resolve_shape(data.shape, wanted)
    rank = None if data.rank is None else (data.rank,)
    return [data.with_shape(shape), TensorType(old_dtype, rank)]


def _wanted_shape(query: Query) -> tuple[np.dtype[np.generic] | None, list[int] | None]:
    """The type of old_shape, and the new shape as it was asked for, if that is known."""
    if len(query.inputs) == 1:
        if query.args.shape is None:
            raise ArgumentError("the new shape is missing: argument 'shape' or a second input")
        return INT64, list(query.args.shape)
    if query.args.shape is not None:
        raise ArgumentError("argument 'shape' and the input 'new_shape' exclude each other")
    require_dtype(query, 1, "int32", "int64")
    require_rank(query, 1, 1)
    values = query.value(1)
    return query.inputs[1].dtype, None if values is None else [int(v) for v in values]


def resolve_shape(old: Dims, wanted: Sequence[int]) -> Dims:
    """The shape that `wanted` means for data of shape `old`: 0 copies a dimension, -1 is the rest.

    Of empty data 0 and -1 are both 0. ShapeError if the number of elements would change.
    """
    text = f"cannot reshape {shape_text(old)} to {shape_text(tuple(wanted))}"
    if any(d < -1 for d in wanted):
        raise ShapeError(f"{text}: {min(wanted)} is no size")
    if list(wanted).count(-1) > 1:
        raise ShapeError(f"{text}: only one dimension can be -1")
    total = product(old)
    if total is None:  # it may be empty, and then 0 does not copy
        return tuple(d if d > 0 else None for d in wanted)
    if total == 0:
        shape = tuple(max(d, 0) for d in wanted)
        if 0 not in shape:
            raise ShapeError(f"{text}: it has 0 elements, that would be {product(shape)}")
        return shape
    copied = [old[k] if d == 0 and k < len(old) else d for k, d in enumerate(wanted)]
    known = product([d for d in copied if d != -1]) or 0
    if -1 in copied and known and total % known == 0:
        return tuple(total // known if d == -1 else d for d in copied)
    if -1 in copied or known != total:
        raise ShapeError(f"{text}: {total} elements do not fit {shape_text(tuple(copied))}")
    return tuple(copied)


def _reshape_gradient(op: OperatorDef, output_grads: Sequence[GradientName]) -> Gradient:
    """Back to old_shape; nothing where only old_shape has a gradient, as it is constant."""
    nothing: tuple[GradientName, ...] = (None,) * len(op.input)
    if output_grads[0] is None:
        return Gradient((), nothing)
    made = gradient_name(op.input[0])
    back = gradient_op(
        op, "Reshape", [output_grads[0], op.output[1]], [made, f"_{made}_dims"], copy_args=False
    )
    return Gradient((back,), (made, *nothing[1:]))


reshape = operator(
    "Reshape",
    "data, new_shape? -> reshaped, old_shape",
    infer=_infer_reshape,
    inplace={0: 0},
    gradient=_reshape_gradient,
    onnx="Reshape",
    shape=Arg(list[int], None, "the new shape; 0 copies a dimension, one -1 stands for the rest"),
    doc="""
    `reshaped` holds the elements of `data` in a new shape, given by `shape` or by the int32 or
    int64 vector `new_shape`. A 0 copies the dimension of `data` at that place, one -1 is whatever
    is left; for empty data both are 0. `old_shape` is the shape of `data`, int64 or the type of
    `new_shape`; an empty `new_shape` makes a scalar. Any type. Raises ShapeError if the number of
    elements would change.
    """,
    example="""
    data = float32(2, 3, 4); shape = [0, -1]
    reshaped = float32(2, 12); old_shape = [2, 3, 4]
    """,
)


@reshape.everywhere_dynamic(when=lambda op: len(op.input) == 2, reads=lambda op: [1], anywhere=(1,))
def launch_reshape(call: Call) -> list[Launch]:
    """Copy the elements, unless in place, and write the old shape."""
    old_shape = call.outputs[1]
    shape = np.array(call.inputs[0].shape, old_shape.dtype)
    return [*launch_reshaped(call), launch_constant(shape, old_shape)]


# ---------------------------------------------------------------- ResizeLike, Flatten, Shape


def _infer_resize_like(query: Query) -> Sequence[TensorType]:
    data, like = query.inputs
    size, other = (None if t.shape is None else product(t.shape) for t in (data, like))
    if size is not None and other is not None and size != other:
        raise ShapeError(
            f"'data' {shape_text(data.shape)} has {size} element(s), "
            f"'shape_tensor' {shape_text(like.shape)} has {other}"
        )
    return [data.with_shape(like.shape)]


resize_like = operator(
    "ResizeLike",
    "data, shape_tensor -> output",
    infer=_infer_resize_like,
    gradient=NotDifferentiable("it is a gradient operator itself"),
    doc="""
    `output` holds the elements of `data` in the shape of `shape_tensor`, whose contents and type do
    not matter. Any type. Raises ShapeError if the numbers of elements differ.
    """,
    example="""
    data = float32(6); shape_tensor = int32(2, 3)
    output = float32(2, 3)
    """,
)
resize_like.everywhere(launch_reshaped)


def _infer_flatten(query: Query) -> Sequence[TensorType]:
    data = query.inputs[0]
    if data.shape is None:
        return [data.with_shape((None, None))]
    axis = canonical_axis(query.args.axis, len(data.shape), inclusive=True)
    return [data.with_shape((product(data.shape[:axis]), product(data.shape[axis:])))]


flatten = operator(
    "Flatten",
    "X -> Y",
    infer=_infer_flatten,
    gradient="ResizeLike(dY, X) -> dX",
    onnx="Flatten",
    axis=Arg(int, 1, "the first dimension that belongs to the columns; may be the rank"),
    doc="""
    Y is X as a matrix: the dimensions before `axis` make up its rows, the others its columns. Any
    type; a negative axis counts from the end. Raises ShapeError for an axis outside X.
    """,
    example="""
    X = float32(2, 3, 4)
    Y = float32(2, 12)
    """,
)
flatten.everywhere(launch_reshaped)


def _infer_vector(query: Query) -> Sequence[TensorType]:
    data = query.inputs[0]
    if data.rank == 0:
        raise ShapeError("input 0 'input' must have at least 1 dimension, found ()")
    return [data.with_shape((None if data.shape is None else product(data.shape),))]


flatten_to_vec = operator(
    "FlattenToVec",
    "input -> output",
    infer=_infer_vector,
    gradient="ResizeLike(doutput, input) -> dinput",
    doc="""
    `output` holds the elements of `input` in one dimension. Any type. Raises ShapeError for a
    scalar.
    """,
    example="""
    input = float32(2, 3)
    output = float32(6)
    """,
)
flatten_to_vec.everywhere(launch_reshaped)


def _infer_shape(query: Query) -> Sequence[TensorType]:
    rank, axes = query.inputs[0].rank, query.args.axes
    if axes:
        for axis in axes:
            if axis < 0 or (rank is not None and axis >= rank):
                bound = "" if rank is None else f" and less than {rank}"
                raise ShapeError(f"axes {axes}: each must be at least 0{bound}, found {axis}")
        return [TensorType(INT64, (len(axes),))]
    return [TensorType(INT64, (rank,))]


shape_of = operator(
    "Shape",
    "X -> shape",
    infer=_infer_shape,
    gradient=NotDifferentiable("a shape does not depend on the elements"),
    axes=Arg(list[int], None, "which dimensions, in this order; all if empty"),
    doc="""
    `shape` is the shape of X, int64, or its dimensions `axes`. Raises ShapeError for an axis that X
    does not have.
    """,
    example="""
    X = float32(2, 3, 4); axes = [2, 0]
    shape = [4, 2]
    """,
)


@shape_of.everywhere
def launch_shape(call: Call) -> Launch:
    """Copy a constant: shapes are known before the run."""
    shape = call.inputs[0].shape
    chosen = [shape[axis] for axis in call.args.axes] if call.args.axes else shape
    return launch_constant(np.array(chosen, np.int64), call.outputs[0])


size = operator(
    "Size",
    "X -> size",
    infer=fixed(INT64),
    gradient=NoGradient("a number of elements does not depend on them"),
    doc="`size` is the number of elements of X, int64 without dimensions. Any type.",
    example="""
    X = float32(2, 3)
    size = 6
    """,
)


@size.everywhere
def launch_size(call: Call) -> Launch:
    """Copy a constant."""
    return launch_constant(np.array(call.inputs[0].size, np.int64), call.outputs[0])


is_empty = operator(
    "IsEmpty",
    "tensor -> is_empty",
    infer=fixed(np.bool_),
    gradient=NotDifferentiable("whether there are elements does not depend on them"),
    doc="`is_empty` is whether `tensor` has no elements, bool without dimensions. Any type.",
    example="""
    tensor = float32(2, 0)
    is_empty = True
    """,
)


@is_empty.everywhere
def launch_is_empty(call: Call) -> Launch:
    """Copy a constant."""
    return launch_constant(np.array(call.inputs[0].size == 0), call.outputs[0])


# ---------------------------------------------------------------- Transpose


def _axes_for(axes: Sequence[int] | None, rank: int) -> list[int]:
    if not axes:
        return list(range(rank))[::-1]
    if len(axes) != rank:
        raise ShapeError(f"axes {list(axes)} order {len(axes)} dimension(s), 'X' has {rank}")
    return list(axes)


def _infer_transpose(query: Query) -> Sequence[TensorType]:
    data, axes = query.inputs[0], query.args.axes
    if axes and sorted(axes) != list(range(len(axes))):
        raise ArgumentError(f"axes {axes} are no permutation of 0 to {len(axes) - 1}")
    if data.shape is None:
        return [data.with_shape((None,) * len(axes) if axes else None)]
    return [data.with_shape(tuple(data.shape[k] for k in _axes_for(axes, len(data.shape))))]


def _transpose_gradient(op: OperatorDef, output_grads: Sequence[GradientName]) -> Gradient:
    """The transposition that undoes it: the axes reversed, or their inverse permutation."""
    if output_grads[0] is None:
        return Gradient((), (None,))
    axes = next((list(a.ints) for a in op.arg if a.name == "axes"), [])
    inverse = {"axes": [axes.index(k) for k in range(len(axes))]} if axes else {}
    made = gradient_name(op.input[0])
    return Gradient((gradient_op(op, "Transpose", [output_grads[0]], [made], inverse),), (made,))


transpose = operator(
    "Transpose",
    "X -> Y",
    infer=_infer_transpose,
    gradient=_transpose_gradient,
    onnx="Transpose",
    axes=Arg(list[int], None, "dimension k of Y is dimension axes[k] of X; reversed if empty"),
    doc="""
    Y[i_axes[0], i_axes[1], ...] = X[i_0, i_1, ...]: X with its dimensions in another order. Any
    type. Raises ArgumentError if `axes` is no permutation, ShapeError if it is one of another
    length than X has dimensions.
    """,
    example="""
    X = float32(2, 3, 4); axes = [0, 2, 1]
    Y = float32(2, 4, 3)
    """,
)


@transpose.everywhere
def launch_transposed(call: Call) -> Launch:
    """Copy in the order of Y."""
    x = call.inputs[0]
    return launch_transpose(x, _axes_for(call.args.axes, x.ndim), call.outputs[0])


# ---------------------------------------------------------------- Expand


def _infer_expand(query: Query) -> Sequence[TensorType]:
    x = query.inputs[0]
    require_dtype(query, 1, "int64", "int32")
    wanted = query.value(1)
    if wanted is None or x.shape is None:
        return [TensorType(x.dtype)]
    target = [int(d) for d in wanted.reshape(-1)]
    if any(d < -1 for d in target):
        raise ValueRangeError(
            f"'shape' {values_text(target)} holds the negative size {min(target)}"
        )
    # 0 and -1 leave a dimension as it is, which is what 1 does
    shape = broadcast_shapes(x.shape, tuple(d if d > 0 else 1 for d in target))
    return [TensorType(x.dtype, shape)]


expand = operator(
    "Expand",
    "X, shape -> Y",
    infer=_infer_expand,
    gradient="ExpandGradient(dY, X) -> dX",
    doc="""
    Y = X repeated until X and a tensor of shape `shape` (int64 or int32) agree, by numpy's
    broadcasting: dimensions of size 1 are repeated, missing ones are put in front; a 0 or -1 in
    `shape` leaves the dimension of X. Y may therefore be larger than `shape` says. Any type. Raises
    ShapeError if two sizes differ and neither is 1.
    """,
    example="""
    X = [[1], [2]]; shape = [2, 3]
    Y = [[1, 1, 1], [2, 2, 2]]
    """,
)


@expand.everywhere_dynamic(reads=lambda op: [1])
def launch_expanded(call: Call) -> Launch:
    """Copy along, or repeat."""
    return launch_expand(call.inputs[0], call.outputs[0])


def _infer_expand_gradient(query: Query) -> Sequence[TensorType]:
    for index in (0, 1):
        require_dtype(query, index, "float32", "float64", "int32", "int64")
    require_same_dtype(query, 0, 1)
    dy, x = query.inputs
    if dy.shape is not None and x.full_shape is not None:
        shape = broadcast_shapes(dy.shape, x.shape)
        if dy.full_shape is not None and shape != dy.shape:
            raise ShapeError(
                f"'X' {shape_text(x.shape)} cannot be expanded to 'dY' {shape_text(dy.shape)}"
            )
    return [x]


expand_gradient = operator(
    "ExpandGradient",
    "dY, X -> dX",
    infer=_infer_expand_gradient,
    doc="dX = dY summed over the dimensions along which Expand repeats X.",
)


@expand_gradient.everywhere
def launch_expand_gradient(call: Call) -> list[Launch]:
    """Sum over the repeated axes."""
    dy, x = call.inputs
    padded = (1,) * (dy.ndim - x.ndim) + x.shape
    repeated = [k for k, (n, m) in enumerate(zip(dy.shape, padded, strict=True)) if n != m]
    return launch_sum(call, dy, repeated, call.outputs[0])
