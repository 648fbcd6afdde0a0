"""Locally connected layers: convolutions with a filter of its own for every place."""

from __future__ import annotations

from collections.abc import Sequence

from caffe2py.errors import ArgumentError, ArityError, NoGradientError, ShapeError
from caffe2py.kernels.elementwise import FLOATS
from caffe2py.kernels.unfold import launch_local, launch_local_gradient
from caffe2py.kernels.window import (
    WINDOW_ARGS,
    Window,
    channels_last,
    join_image,
    split_image,
)
from caffe2py.proto.caffe2_pb2 import OperatorDef
from caffe2py.registry.context import Call, Launch
from caffe2py.registry.gradient import Gradient, GradientName, gradient_name, gradient_op
from caffe2py.registry.infer import Query, require_dtype, require_same_dtype
from caffe2py.registry.operator import lookup, operator
from caffe2py.registry.schema import Arg, Args
from caffe2py.tensor.tensor import Array
from caffe2py.tensor.types import DType, TensorType, shape_text

Dims = tuple[int | None, ...]


# ---------------------------------------------------------------- shapes


def _check(query: Query) -> tuple[DType | None, Dims | None, int | None]:
    """Element type, shape of Y as far as it is known, and the number of filters."""
    for index in range(len(query.inputs)):
        require_dtype(query, index, *FLOATS)
    dtype = require_same_dtype(query, *range(len(query.inputs)))
    args, last = query.args, channels_last(query.args)
    if args.group < 1 or args.global_pooling:
        raise ArgumentError(f"group must be at least 1, found {args.group}; no global_pooling")
    x, w = query.inputs[0].shape, query.inputs[1].shape
    if x is None:
        return dtype, None, None
    batch, channels, image = split_image(x, last)
    window = Window.read(args, len(image))
    places = window.out(image)
    if w is None:
        return dtype, join_image(batch, None, places, last), None
    filters = _filters(w, channels, (places, window.kernel), args)
    return dtype, join_image(batch, filters, places, last), filters


def _filters(
    w: Dims, channels: int | None, sizes: tuple[Dims, tuple[int, ...]], args: Args
) -> int | None:
    """The number of filters at each place; ShapeError for a filter that does not fit."""
    places, kernel = sizes
    rank, last = len(places), channels_last(args)
    filters = w[rank] if len(w) > rank else None
    deep = None if channels is None else channels // args.group
    wanted = (*places, filters, *kernel, deep) if last else (*places, filters, deep, *kernel)
    if len(w) != len(wanted) or any(
        None not in (a, b) and a != b for a, b in zip(w, wanted, strict=True)
    ):
        raise ShapeError(f"filter must be {shape_text(wanted)}, found {shape_text(w)}")
    for what, count in (("channel", channels), ("filter", filters)):
        if count is not None and count % args.group:
            raise ShapeError(f"{count} {what}(s) cannot be divided into {args.group} group(s)")
    return filters


def _bias_shape(y: Dims | None, args: Args) -> Dims | None:
    """(*places, M) from the shape of Y."""
    if y is None:
        return None
    return y[1:] if channels_last(args) else (*y[2:], y[1])


def _require(name: str, found: Dims | None, wanted: Dims | None) -> None:
    if found is None or wanted is None:
        return
    if len(found) != len(wanted) or any(
        None not in (a, b) and a != b for a, b in zip(found, wanted, strict=True)
    ):
        raise ShapeError(f"{name} must be {shape_text(wanted)}, found {shape_text(found)}")


def _table(x: Array, args: Args) -> Array:
    image = x.shape[1:-1] if channels_last(args) else x.shape[2:]
    return Window.read(args, len(image)).table(image)


# ---------------------------------------------------------------- the operators


def _infer(query: Query) -> Sequence[TensorType]:
    dtype, shape, _ = _check(query)
    if len(query.inputs) > 2:
        _require("bias", query.inputs[2].shape, _bias_shape(shape, query.args))
    return [TensorType(dtype, shape)]


def _launch(call: Call) -> Launch:
    x, w = call.inputs[:2]
    bias = call.inputs[2] if len(call.inputs) > 2 else None
    table, last = _table(x, call.args), channels_last(call.args)
    return launch_local(x, w, bias, table, call.args.group, last, call.outputs[0])


def _infer_gradient(query: Query) -> Sequence[TensorType]:
    if len(query.inputs) != 3:
        raise ArityError(f"expected 3 inputs (X, filter, dY), found {len(query.inputs)}")
    dtype, shape, _ = _check(query)
    _require("dY", query.inputs[2].shape, shape)
    least = 1 if query.args.no_bias else 2
    if not least <= query.outputs <= least + 1:
        raise ArityError(f"expected {least} or {least + 1} outputs, found {query.outputs}")
    x, w = query.inputs[:2]
    bias = [] if query.args.no_bias else [TensorType(dtype, _bias_shape(shape, query.args))]
    return [w, *bias, x][: query.outputs]


def _launch_gradient(call: Call) -> Launch:
    x, w, dy = call.inputs
    dw, *rest = call.outputs
    db = None if call.args.no_bias else rest.pop(0)
    dx = rest[0] if rest else None
    table, last = _table(x, call.args), channels_last(call.args)
    return launch_local_gradient((x, w, dy), table, call.args.group, last, dw, db, dx)


def _gradient(op: OperatorDef, output_grads: Sequence[GradientName]) -> Gradient:
    """<Op>Gradient(X, filter, dY) -> dfilter, dbias (if there is a bias), dX (unless unwanted)."""
    dy = output_grads[0]
    if dy is None:
        raise NoGradientError(f"{op.type}: its gradient reads dY, which nothing provides")
    args = lookup(op.type).schema.verify(op)
    x, *parameters = op.input
    grads: list[GradientName] = [None, *map(gradient_name, parameters)]
    outputs = [gradient_name(name) for name in parameters]
    if not args.no_gradient_to_input:
        grads[0] = gradient_name(x)
        outputs.append(gradient_name(x))
    extra = {"no_bias": 1} if len(parameters) < 2 else {}
    made = gradient_op(op, f"{op.type}Gradient", [x, parameters[0], dy], outputs, extra)
    return Gradient((made,), tuple(grads))


_DOC = """
Y[n, m, p] = bias[p, m] + sum over c and k of X[n, c, p * stride - pad + k * dilation] *
filter[p, m, c, k]: Conv with filters of its own at every place p.

X is (N, C, *image), filter (*places, M, C / group, *kernel), bias (*places, M), Y (N, M, *places);
with order NHWC they are (N, *image, C), (*places, M, *kernel, C / group), (*places, M) and (N,
*places, M). Sizes are those of Conv; the names with 1D, 2D and 3D take images of any dimension.
"""
_EXAMPLE = """
X = [[[1, 2, 3]]]; filter = [[[[1, 1]]], [[[0, 2]]]]; kernels = [2]
Y = [[[3, 6]]]
"""
_GRADIENT_DOC = """
The gradients of LC: dfilter[p, m, c, k] = sum over n of dY[n, m, p] * X at element k of window p,
dbias[p, m] = sum of dY[:, m, p], and dX = every dY[n, m, p] * filter[p, m] added to the elements of
window p. With no_bias=1 the outputs are dfilter and dX; dX may be left out.
"""

for _dimension in ("", "1D", "2D", "3D"):
    _layer = operator(
        f"LC{_dimension}",
        "X, filter, bias? -> Y",
        infer=_infer,
        gradient=_gradient,
        doc=_DOC,
        example=_EXAMPLE,
        arguments={
            **WINDOW_ARGS,
            "no_gradient_to_input": Arg(bool, False, "leave X without a gradient"),
        },
    ).everywhere(_launch)
    operator(
        f"LC{_dimension}Gradient",
        "X, filter, dY? -> dfilter, dbias?, dX?",
        infer=_infer_gradient,
        doc=_GRADIENT_DOC,
        arguments={
            **WINDOW_ARGS,
            "no_bias": Arg(bool, False, "the forward operator has no bias: there is no dbias"),
        },
    ).everywhere(_launch_gradient)
