"""Quantized tensors in other shapes and orders: the integers move, and mean what they meant."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from caffe2py.errors import ArgumentError, DTypeError, ShapeError
from caffe2py.kernels.copy import launch_copy
from caffe2py.kernels.window import WINDOW_ARGS
from caffe2py.ops.int8.common import (
    FLOAT,
    NO_GRADIENT,
    OUTPUT,
    UINT8,
    output_quantum,
    require_last,
    twin_launch,
    twin_rule,
)
from caffe2py.proto.caffe2_pb2 import Argument
from caffe2py.registry.context import Call, Launch
from caffe2py.registry.gradient import NotDifferentiable
from caffe2py.registry.infer import Query, require_rank
from caffe2py.registry.operator import operator
from caffe2py.registry.schema import Arg, Args
from caffe2py.tensor.tensor import Array
from caffe2py.tensor.types import DType, TensorType, shape_text

NONE = NotDifferentiable(NO_GRADIENT)

_KEPT = "Y_scale and Y_zero_point must be those of the input."

# ---------------------------------------------------------------- shapes

flatten = operator(
    "Int8Flatten",
    "input -> output",
    infer=twin_rule("Flatten"),
    gradient=NONE,
    quantized=True,
    doc=f"The integers of `input` as a matrix: axes before `axis` are its rows. {_KEPT}",
    example="""
    input of shape (2, 3, 4); axis = 1
    output of shape (2, 12)
    """,
    arguments={**OUTPUT, "axis": Arg(int, 1, "the first axis that becomes part of a row")},
)
flatten.cpu(twin_launch("Flatten"))

reshape = operator(
    "Int8Reshape",
    "data, new_shape? -> reshaped, old_shape",
    infer=twin_rule("Reshape", 1),
    gradient=NONE,
    inplace={0: 0},
    quantized=True,
    doc=f"""
    The integers of `data` in another shape, by the rules of Reshape: a 0 keeps a dimension, -1
    takes what is left. `old_shape` is the shape of `data`. {_KEPT}
    """,
    example="""
    data of shape (2, 3, 4); shape = [0, -1]
    reshaped of shape (2, 12), old_shape = [2, 3, 4]
    """,
    arguments={**OUTPUT, "shape": Arg(list[int], None, "the new shape, if it is no input")},
)
reshape.cpu_dynamic(when=lambda op: len(op.input) == 2, reads=lambda op: [1])(
    twin_launch("Reshape")
)

transpose = operator(
    "Int8Transpose",
    "X -> Y",
    infer=twin_rule("Transpose"),
    gradient=NONE,
    quantized=True,
    doc=f"Dimension k of Y is dimension axes[k] of X. {_KEPT}",
    example="""
    X of shape (2, 3, 4); axes = [0, 2, 1]
    Y of shape (2, 4, 3)
    """,
    arguments={**OUTPUT, "axes": Arg(list[int], None, "a permutation; reversed if empty")},
)
transpose.cpu(twin_launch("Transpose"))

# ---------------------------------------------------------------- Slice


def _with_bounds(args: Args, rank: int) -> Args:
    """`dim`, `start_idx` and `end_idx` as starts and ends."""
    if args.starts is not None or not {"dim", "start_idx", "end_idx"} <= args.given:
        return args
    if not 0 <= args.dim < rank:
        raise ShapeError(f"dim {args.dim} is out of range for {rank} dimension(s)")
    starts, ends = [0] * rank, [-1] * rank
    starts[args.dim], ends[args.dim] = args.start_idx, args.end_idx
    made = Args(**{**vars(args), "starts": starts, "ends": ends})
    made.given = args.given
    return made


_slice_rule = twin_rule("Slice", 1)


def _infer_slice(query: Query) -> Sequence[TensorType]:
    shape = query.inputs[0].shape
    if shape is None:
        return [TensorType(UINT8, None, output_quantum(query.args))]
    return _slice_rule(replace(query, args=_with_bounds(query.args, len(shape))))


slice_ = operator(
    "Int8Slice",
    "data, starts?, ends? -> output",
    infer=_infer_slice,
    gradient=NONE,
    input_counts={1, 3},
    quantized=True,
    onnx="Slice",
    doc=f"""
    output = data[starts[0] : ends[0], ...] by the rules of Slice; or, with `dim`, `start_idx` and
    `end_idx` given, a part of one axis. {_KEPT}
    """,
    example="""
    data = [[1, 2, 3], [4, 5, 6]]; starts = [0, 1], ends = [-1, 3]
    output = [[2, 3], [5, 6]]
    """,
    arguments={
        **OUTPUT,
        "starts": Arg(list[int], None, "where the box begins along each axis"),
        "ends": Arg(list[int], None, "where the box ends along each axis; -1 is the axis' end"),
        "dim": Arg(int, 0, "the axis that is cut, instead of starts and ends"),
        "start_idx": Arg(int, 0, "where the part of axis `dim` begins"),
        "end_idx": Arg(int, -1, "where it ends; -1 is the axis' end"),
    },
)


class _WithArgs:
    """A call with other arguments.

    All else is the call's own, through __getattr__, which type checkers cannot follow: where one is
    handed on as a `Call` they have to be told.
    """

    def __init__(self, call: Call, args: Args) -> None:
        self._call = call
        self.args = args

    def __getattr__(self, name: str) -> object:
        return getattr(self._call, name)


@slice_.cpu_dynamic(when=lambda op: len(op.input) == 3, reads=lambda op: [1, 2])
def _launch_slice(call: Call) -> Launch | Sequence[Launch] | None:
    args = _with_bounds(call.args, call.inputs[0].ndim)
    # a Call with other arguments, by attribute: no class of it that checkers could see
    return twin_launch("Slice")(_WithArgs(call, args))  # type: ignore[arg-type]


# ---------------------------------------------------------------- Concat


def _axis(args: Args) -> Args:
    """The arguments that Concat reads: axis 0 where neither axis nor order is given."""
    if "axis" in args.given or not args.order:
        axis = args.axis if "axis" in args.given else 0
        made = Args(**{**vars(args), "axis": axis, "order": "NCHW", "add_axis": 0})
        made.given = frozenset(["axis"])
        return made
    made = Args(**{**vars(args), "add_axis": 0})
    made.given = frozenset(["order"])
    return made


_concat_rule = twin_rule("Concat")


def _infer_concat(query: Query) -> Sequence[TensorType]:
    return _concat_rule(replace(query, args=_axis(query.args)))[: query.outputs]


concat = operator(
    "Int8Concat",
    "inputs+ -> concat_result, split_info?",
    infer=_infer_concat,
    gradient=NONE,
    quantized=True,
    onnx="Concat",
    doc="""
    The inputs side by side along `axis`, or along the channels of `order`, or along axis 0 where
    neither is given. They agree in all other dimensions, and all have the scale and zero point
    Y_scale and Y_zero_point, which Caffe2 checks of the first only. `split_info` holds their sizes
    along the axis, which Caffe2 leaves empty. `add_axis` is not read.
    """,
    example="""
    inputs = [[1, 2]], [[3]]; axis = 1
    concat_result = [[1, 2, 3]]
    """,
    arguments={
        **OUTPUT,
        "axis": Arg(int, 3, "the axis; 0 if neither it nor `order` is given"),
        "add_axis": Arg(int, None, "accepted, not read"),
        "order": Arg(str, "", "instead of `axis`: the channels, 1 for NCHW and 3 for NHWC"),
    },
)


@concat.cpu
def _launch_concat(call: Call) -> Launch | Sequence[Launch] | None:
    # as above: a Call by attribute
    return twin_launch("Concat")(_Joined(call, _axis(call.args)))  # type: ignore[arg-type]


class _Joined(_WithArgs):
    """A call that has a split_info to fill, be it an output or not."""

    @property
    def outputs(self) -> tuple[Array, ...]:
        found = self._call.outputs
        if len(found) == 2:
            return found
        return (*found, self._call.scratch((self._call.input_count,), np.int32))


# ---------------------------------------------------------------- images

_shuffle_rule = twin_rule("ChannelShuffle")


def _infer_shuffle(query: Query) -> Sequence[TensorType]:
    require_last(query.args)
    return _shuffle_rule(query)


shuffle = operator(
    "Int8ChannelShuffle",
    "X -> Y",
    infer=_infer_shuffle,
    gradient=NONE,
    quantized=True,
    doc=f"""
    Y[..., k * group + g] = X[..., g * (C / group) + k]: the first channels of all groups come
    first. Order must be NHWC; the arguments of a window have no effect. {_KEPT}
    """,
    example="""
    X = [[1, 2, 3, 4, 5, 6]]; group = 2, order = "NHWC"
    Y = [[1, 4, 2, 5, 3, 6]]
    """,
    arguments={
        **OUTPUT,
        **WINDOW_ARGS,
        "order": Arg(str, "NCHW", "must be NHWC: the channels come last"),
    },
)
shuffle.cpu(twin_launch("ChannelShuffle"))


def _last(args: Args) -> Args:
    made = Args(**{**vars(args), "order": "NHWC"})
    made.given = args.given
    return made


_resize_rule = twin_rule("ResizeNearest", dtype=FLOAT)


def _infer_resize(query: Query) -> Sequence[TensorType]:
    require_rank(query, 0, 4)
    return _resize_rule(replace(query, args=_last(query.args)))


resize = operator(
    "Int8ResizeNearest",
    "X -> Y",
    infer=_infer_resize,
    gradient=NONE,
    quantized=True,
    doc=f"""
    Y[n, i, j] = X[n, i / height_scale, j / width_scale], rounded down: images of another size.
    X is (N, H, W, C). {_KEPT}
    """,
    example="""
    X = [[[[1], [2]]]]; width_scale = 2
    Y = [[[[1], [1], [2], [2]]]]
    """,
    arguments={
        **OUTPUT,
        "width_scale": Arg(float, 1.0, "how much wider Y is"),
        "height_scale": Arg(float, 1.0, "how much higher Y is"),
        "output_size": Arg(list[int], None, "accepted, not read"),
    },
)


@resize.cpu
def _launch_resize(call: Call) -> Launch | Sequence[Launch] | None:
    launch = twin_launch("ResizeNearest")
    return launch(_WithArgs(call, _last(call.args)))  # type: ignore[arg-type]


# ---------------------------------------------------------------- fills


def _values(args: Args, dtype: DType) -> Array:
    """The integers of `values`: the bytes of a string, or a list."""
    given: Argument | str = args.values
    if isinstance(given, str):
        return np.zeros(0, dtype)
    if dtype == UINT8:
        if given.ints or given.floats:
            raise ArgumentError("values must be a string, whose bytes are the integers")
        return np.frombuffer(given.s + b"".join(given.strings), np.uint8)
    if given.s or given.floats or given.strings:
        raise ArgumentError("values must be a list of ints")
    found = np.array(list(given.ints), np.int64)
    if found.size and not -(2**31) <= found.min() <= found.max() < 2**31:
        raise DTypeError("values do not fit into 32 bits")
    return found.astype(dtype)


def _declare_fill(name: str, dtype: DType, what: str, example: str) -> None:
    def infer(query: Query) -> Sequence[TensorType]:
        shape = tuple(query.args.shape or ())
        count = _values(query.args, dtype).size
        if count != math.prod(shape):
            raise ShapeError(
                f"argument 'values' has {count} element(s), shape {shape_text(shape)} takes "
                f"{math.prod(shape)}"
            )
        return [TensorType(dtype, shape, output_quantum(query.args))]

    made = operator(
        name,
        "-> Tensor",
        infer=infer,
        gradient=NONE,
        doc=f"""
        Tensor = values, {what}, with the scale Y_scale and the zero point Y_zero_point. ShapeError
        unless there are as many as `shape` takes (Caffe2 then repeats what memory holds).
        """,
        example=example,
        arguments={
            "values": Arg(Argument, "", f"the elements, {what}"),
            "shape": Arg(list[int], None, "the shape; without it there is one element"),
            **OUTPUT,
        },
    )

    @made.cpu
    def launch(call: Call) -> Launch:
        y = call.outputs[0]
        return launch_copy(_values(call.args, dtype).reshape(y.shape), y)


_declare_fill(
    "Int8GivenTensorFill",
    UINT8,
    "the bytes of a string, as 8-bit integers",
    """
    values = "AB"; shape = [2], Y_scale = 0.5
    Tensor = [65, 66] with scale 0.5
    """,
)
_declare_fill(
    "Int8GivenIntTensorFill",
    np.dtype(np.int32),
    "a list of ints, as 32-bit integers",
    """
    values = [1000, -3]; shape = [2], Y_scale = 0.5
    Tensor = [1000, -3] with scale 0.5
    """,
)
