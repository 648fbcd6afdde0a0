"""DeformConv: convolution of pixels that have been moved."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from caffe2py.errors import ArgumentError, ArityError, NoGradientError, ShapeError
from caffe2py.kernels.block import PER_ROW
from caffe2py.kernels.copy import launch_fill
from caffe2py.kernels.deform import launch_fold_moved, launch_unfold_moved, scratch_lines
from caffe2py.kernels.elementwise import FLOATS
from caffe2py.kernels.linalg import ENGINES, launch_product
from caffe2py.kernels.reduce import launch_sum
from caffe2py.kernels.window import KERNEL, OUT, WINDOW_ARGS, Dims, Window, channels_last
from caffe2py.proto.caffe2_pb2 import OperatorDef
from caffe2py.registry.context import Call, Launch
from caffe2py.registry.gradient import Gradient, GradientName, gradient_name, gradient_op
from caffe2py.registry.infer import Query, require_dtype, require_rank, require_same_dtype
from caffe2py.registry.operator import lookup, operator
from caffe2py.registry.schema import Arg
from caffe2py.tensor.tensor import Array
from caffe2py.tensor.types import DType, TensorType, shape_text

_GROUPS = Arg(int, 1, "number of groups of channels that are moved alike")


def _differ(a: int | None, b: int | None) -> bool:
    return None not in (a, b) and a != b


# ---------------------------------------------------------------- sizes


def _checked(query: Query) -> tuple[DType | None, Dims]:
    """The common type, and the shape of Y."""
    for index in range(len(query.inputs)):
        require_dtype(query, index, *FLOATS)
    dtype = require_same_dtype(query, *range(len(query.inputs)))
    for index in range(3):
        require_rank(query, index, 4)
    args = query.args
    if channels_last(args):
        raise ArgumentError(f"order must be NCHW, found '{args.order}'")
    if args.global_pooling:
        raise ArgumentError("a convolution has no global_pooling")
    if args.group < 1 or args.deformable_group < 1:
        raise ArgumentError(
            f"group and deformable_group must be at least 1, "
            f"found {args.group} and {args.deformable_group}"
        )
    window = Window.read(args, 2)
    x, offset, w = (t.shape for t in query.inputs[:3])
    out: Dims = (None, None) if x is None else window.out(x[2:])
    batch, channels = (None, None) if x is None else x[:2]
    _check_filter(w, channels, window, args.group)
    if channels is not None and channels % args.deformable_group:
        raise ShapeError(
            f"{channels} channel(s) cannot be divided into {args.deformable_group} group(s) "
            "that are moved alike"
        )
    deep = 2 * args.deformable_group * window.kernel[0] * window.kernel[1]
    wanted = (batch, deep, *out)
    if offset is not None and any(map(_differ, offset, wanted)):
        raise ShapeError(
            f"input 1 '{query.name(1)}' must be {shape_text(wanted)}, two numbers for each element "
            f"of each window, found {shape_text(offset)}"
        )
    return dtype, (batch, None if w is None else w[0], *out)


def _check_filter(w: Dims | None, channels: int | None, window: Window, groups: int) -> None:
    if w is None:
        return
    if any(map(_differ, w[2:], window.kernel)):
        raise ShapeError(
            f"the filter is {shape_text(w)}; the arguments say {shape_text(window.kernel)}"
        )
    if w[1] is not None and _differ(channels, w[1] * groups):
        raise ShapeError(
            f"X has {channels} channel(s); the filter takes {w[1]} in each of {groups} group(s)"
        )
    if w[0] is not None and w[0] % groups:
        raise ShapeError(f"{w[0]} filter(s) cannot be divided into {groups} group(s)")


def _infer(query: Query) -> Sequence[TensorType]:
    dtype, shape = _checked(query)
    bias = query.inputs[3].shape if len(query.inputs) > 3 else None
    if bias is not None and (len(bias) != 1 or _differ(bias[0], shape[1])):
        raise ShapeError(f"bias is {shape_text(bias)}, needs one element for each filter")
    return [TensorType(dtype, shape)]


def _infer_gradient(query: Query) -> Sequence[TensorType]:
    dtype, shape = _checked(query)
    require_rank(query, 3, 4)
    dy = query.inputs[3].shape
    if dy is not None and any(map(_differ, dy, shape)):
        raise ShapeError(
            f"input 3 '{query.name(3)}' must be {shape_text(shape)}, found {shape_text(dy)}"
        )
    no_bias = bool(query.args.no_bias)
    if not 3 - no_bias <= query.outputs <= 4 - no_bias:
        raise ArityError(
            f"expected {3 - no_bias} or {4 - no_bias} outputs with no_bias={int(no_bias)}, "
            f"found {query.outputs}"
        )
    x, offset, w = (t.with_dtype(dtype) for t in query.inputs[:3])
    bias = [] if no_bias else [TensorType(dtype, (shape[1],))]
    return [offset, w, *bias, x][: query.outputs]


# ---------------------------------------------------------------- one image at a time


class _Parts:
    """The arrays of one use, by image and by group."""

    def __init__(self, call: Call, y: Array) -> None:
        x, offset, w = call.inputs[:3]
        self.x, self.w, self.groups = x, w, call.args.group
        self.table = Window.read(call.args, 2).table(x.shape[2:])
        self.taps, self.places = int(self.table[KERNEL].prod()), int(self.table[OUT].prod())
        self.offset = self.moves(call, offset)
        self.y = y.reshape(len(x), w.shape[0], self.places)
        self.lines = scratch_lines(call, self.places, x.dtype)
        self.columns = call.scratch((x.shape[1], self.taps, self.places), x.dtype)

    def moves(self, call: Call, offset: Array) -> Array:
        """Offsets as (N, groups, taps, 2, places)."""
        groups = call.args.deformable_group
        return offset.reshape(len(offset), groups, self.taps, 2, self.places)

    def by_group(self, array: Array) -> list[Array]:
        """Equal parts along the first axis, each as a matrix of that many rows."""
        parts = array.reshape(self.groups, array.shape[0] // self.groups, -1)
        return [parts[g] for g in range(self.groups)]

    def columns_of_groups(self) -> list[Array]:
        """The unfolded image as a matrix for each group: (channels * taps, places)."""
        return self.by_group(self.columns.reshape(-1, self.places))

    def launch_unfold(self, n: int) -> Launch:
        """Fill the columns from image n."""
        image = self.x[n], self.offset[n], self.table, self.lines
        return launch_unfold_moved(*image, self.columns)


_DOC = """
Y[n, m, p] = bias[m] + sum over c and k of filter[m, c, k] * X[n, c] at p * stride - pad + k *
dilation + offset[n, k, p], where p and k have two axes: a convolution whose every window picks
pixels that lie elsewhere. Places between pixels are interpolated linearly, and X is 0 outside of
the image; beyond the middle of the last row or column it stays what it is there.

X is (N, C, H, W), filter (M, C / group, KH, KW), bias (M), and offset (N, deformable_group * KH *
KW * 2, OH, OW): for each group of channels and each element of the window, how far down and how far
right. (Caffe2 has no such operator on the CPU.)
"""


def _gradient(op: OperatorDef, output_grads: Sequence[GradientName]) -> Gradient:
    """DeformConvGradient(X, offset, filter, dY) -> doffset, dfilter, dbias (if any), dX."""
    dy = output_grads[0]
    if dy is None:
        raise NoGradientError(f"{op.type}: its gradient reads dY, which nothing provides")
    args = lookup(op.type).schema.verify(op)
    x, *others = op.input
    grads: list[GradientName] = [None, *map(gradient_name, others)]
    outputs = [gradient_name(name) for name in others]
    if not args.no_gradient_to_input:
        grads[0] = gradient_name(x)
        outputs.append(gradient_name(x))
    extra = {"no_bias": 1} if len(others) < 3 else {}
    made = gradient_op(op, "DeformConvGradient", [x, *others[:2], dy], outputs, extra)
    return Gradient((made,), tuple(grads))


deform = operator(
    "DeformConv",
    "X, offset, filter, bias? -> Y",
    infer=_infer,
    gradient=_gradient,
    doc=_DOC,
    example="""
    X = [[[[1, 2, 3]]]]; offset = [[[[0, 0, 0]], [[0.5, 1, -2]]]]; filter = [[[[10]]]]; kernel = 1
    Y = [[[[15, 30, 10]]]]
    """,
    arguments={
        **WINDOW_ARGS,
        "deformable_group": _GROUPS,
        "no_gradient_to_input": Arg(bool, False, "leave X without a gradient"),
    },
)


@deform.cpu
def _launch(call: Call) -> list[Launch]:
    parts = _Parts(call, call.outputs[0])
    if parts.y.size == 0:
        return []
    bias = call.inputs[3].reshape(parts.groups, -1) if len(call.inputs) > 3 else None
    launches = []
    for n in range(len(parts.x)):
        launches.append(parts.launch_unfold(n))
        columns, results = parts.columns_of_groups(), parts.by_group(parts.y[n])
        for g, w in enumerate(parts.by_group(parts.w)):
            extra = None if bias is None else bias[g]
            launches += launch_product(call, w, columns[g], results[g], bias=extra, bias_of=PER_ROW)
    return launches


deform.cuda_engines(_launch, *ENGINES)

deform_gradient = operator(
    "DeformConvGradient",
    "X, offset, filter, dY -> doffset, dfilter, dbias?, dX?",
    infer=_infer_gradient,
    doc="""
    The gradients of DeformConv. With no_bias=1 there is no dbias, and dX is the third output; dX
    may be left out. Where a place crosses a row or column of pixels the slope towards the next one
    counts.
    """,
    arguments={
        **WINDOW_ARGS,
        "deformable_group": _GROUPS,
        "no_bias": Arg(int, 0, "1: the forward operator has no bias, and there is no dbias"),
    },
)


@deform_gradient.cpu
def _launch_gradient(call: Call) -> list[Launch]:
    dy = call.inputs[3]
    parts = _Parts(call, dy)
    doffset, dw, *rest = call.outputs
    launches: list[Launch] = []
    if not call.args.no_bias:
        launches += launch_sum(call, dy, [0, 2, 3], rest.pop(0))
    if parts.y.size == 0:
        nothing = np.zeros(1, dy.dtype)
        return [*launches, *(launch_fill(nothing, out) for out in (doffset, dw, *rest))]
    moves = parts.moves(call, doffset)
    for n in range(len(parts.x)):
        launches.append(parts.launch_unfold(n))
        launches += _products(call, parts, n, dw)
        dx = rest[0][n] if rest else None
        image = parts.x[n], parts.offset[n], parts.columns, parts.table, parts.lines
        launches += launch_fold_moved(call, *image, moves[n], dx)
    return launches


deform_gradient.cuda_engines(_launch_gradient, *ENGINES)


def _products(call: Call, parts: _Parts, n: int, dw: Array) -> list[Launch]:
    """The filter's gradient from the columns of image n, then that of the columns, into them."""
    launches: list[Launch] = []
    columns, slopes = parts.columns_of_groups(), parts.by_group(parts.y[n])
    filters, targets = parts.by_group(parts.w), parts.by_group(dw)
    for g in range(parts.groups):
        launches += launch_product(
            call, slopes[g], columns[g], targets[g], transpose_b=True, add=n > 0
        )
    for g in range(parts.groups):
        launches += launch_product(call, filters[g], slopes[g], columns[g], transpose_a=True)
    return launches
