"""Convolution and its gradient."""

from __future__ import annotations

from collections.abc import Sequence

from caffe2py.errors import ArgumentError, ArityError, NoGradientError, ShapeError
from caffe2py.kernels.convolve import Correlation
from caffe2py.kernels.reduce import launch_sum
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
from caffe2py.registry.operator import operator
from caffe2py.registry.schema import Arg, Args
from caffe2py.tensor.tensor import Array
from caffe2py.tensor.types import DType, TensorType, shape_text

FLOATS = ("float32", "float64")

Dims = tuple[int | None, ...]


# ---------------------------------------------------------------- sizes


def _filter_parts(shape: Dims, last: bool) -> tuple[int | None, int | None, Dims]:
    """(filters, channels of a group, kernel) of the filter's shape."""
    return (shape[0], shape[-1], shape[1:-1]) if last else (shape[0], shape[1], shape[2:])


def _differ(a: int | None, b: int | None) -> bool:
    return None not in (a, b) and a != b


def _result_shape(x: Dims | None, w: Dims | None, args: Args) -> Dims | None:
    """The shape of Y, with None where it is not known; errors for whatever does not fit."""
    last = channels_last(args)
    if args.global_pooling:
        raise ArgumentError("a convolution has no global_pooling")
    if args.group < 1:
        raise ArgumentError(f"group must be at least 1, found {args.group}")
    if x is None:
        return None
    batch, channels, image = split_image(x, last)
    window = Window.read(args, len(image))
    if w is None:
        return join_image(batch, None, window.out(image), last)
    if len(w) != len(x):
        raise ShapeError(
            f"X {shape_text(x)} and filter {shape_text(w)} must have the same number of dimensions"
        )
    filters, per_group, kernel = _filter_parts(w, last)
    if any(map(_differ, kernel, window.kernel)):
        raise ShapeError(
            f"the filter is {shape_text(w)}, which makes a kernel of {shape_text(kernel)}; "
            f"the arguments say {shape_text(window.kernel)}"
        )
    _check_groups(channels, per_group, filters, args.group)
    return join_image(batch, filters, window.out(image), last)


def _check_groups(
    channels: int | None, per_group: int | None, filters: int | None, groups: int
) -> None:
    if per_group is not None and _differ(channels, per_group * groups):
        raise ShapeError(
            f"X has {channels} channel(s); the filter takes {per_group} in each of {groups} "
            f"group(s), {per_group * groups} together"
        )
    if filters is not None and filters % groups:
        raise ShapeError(f"{filters} filter(s) cannot be divided into {groups} group(s)")


def _infer_conv(query: Query) -> Sequence[TensorType]:
    dtype = _common_dtype(query)
    x, w = query.inputs[0].shape, query.inputs[1].shape
    shape = _result_shape(x, w, query.args)
    bias = query.inputs[2].shape if len(query.inputs) > 2 else None
    if bias is not None and (len(bias) != 1 or (w is not None and _differ(bias[0], w[0]))):
        needed = "?" if w is None else w[0]
        raise ShapeError(f"bias is {shape_text(bias)}, needs one element a filter: ({needed})")
    return [TensorType(dtype, shape)]


def _common_dtype(query: Query) -> DType | None:
    for index in range(len(query.inputs)):
        require_dtype(query, index, *FLOATS)
    return require_same_dtype(query, *range(len(query.inputs)))


def _correlation(x: Array, w: Array, args: Args) -> Correlation:
    last = channels_last(args)
    image = x.shape[1:-1] if last else x.shape[2:]
    return Correlation(
        images=x.shape[0],
        groups=args.group,
        channels=w.shape[-1] if last else w.shape[1],
        filters=w.shape[0] // args.group,
        image=image,
        window=Window.read(args, len(image)),
        last=last,
    )


# ---------------------------------------------------------------- Conv


def _gradient_of_conv(op: OperatorDef, output_grads: Sequence[GradientName]) -> Gradient:
    """ConvGradient(X, filter, dY) -> dfilter, dbias (if there is a bias), dX (unless unwanted)."""
    dy = output_grads[0]
    if dy is None:
        raise NoGradientError("Conv: its gradient reads dY, which nothing in the net provides")
    args = _conv.schema.verify(op)
    x, *parameters = op.input
    grads: list[GradientName] = [None, *map(gradient_name, parameters)]
    outputs = [gradient_name(name) for name in parameters]
    if not args.no_gradient_to_input:
        grads[0] = gradient_name(x)
        outputs.append(gradient_name(x))
    extra = {} if len(parameters) > 1 else {"no_bias": 1}
    made = gradient_op(op, "ConvGradient", [x, parameters[0], dy], outputs, extra)
    return Gradient((made,), tuple(grads))


_conv = operator(
    "Conv",
    "X, filter, bias? -> Y",
    infer=_infer_conv,
    gradient=_gradient_of_conv,
    onnx="Conv",
    doc="""
    Y[n, m, p] = bias[m] + sum over c and k of X[n, c, p * stride - pad + k * dilation] *
    filter[m, c, k], where p and k have one to three axes, and X is 0 outside of the image.

    X is (N, C, *image) and filter (M, C / group, *kernel); with order=NHWC they are (N, *image, C)
    and (M, *kernel, C / group). Filters of group g see the channels of group g only. Sizes along an
    axis are (image + pads - dilation * (kernel - 1) - 1) / stride + 1, rounded down. One value
    (`kernel`, `stride`, ...) holds for every axis; height and width that are left out keep their
    defaults; two spellings of one size must agree. Negative pads cut the image.
    """,
    example="""
    X = [[[[1, 2, 3], [4, 5, 6]]]]; filter = [[[[1, 1], [1, 1]]]]; kernel = 2
    Y = [[[[12, 16]]]]
    """,
    arguments={
        **WINDOW_ARGS,
        "no_gradient_to_input": Arg(bool, False, "leave X without a gradient"),
    },
)


@_conv.cpu
def _launch_conv(call: Call) -> list[Launch]:
    x, w = call.inputs[:2]
    bias = call.inputs[2] if len(call.inputs) > 2 else None
    return _correlation(x, w, call.args).launch(call, x, w, bias, call.outputs[0])


# ---------------------------------------------------------------- ConvGradient


def _infer_conv_gradient(query: Query) -> Sequence[TensorType]:
    dtype = _common_dtype(query)
    x, w, dy = query.inputs
    least, most = (1, 2) if query.args.no_bias else (2, 3)
    if not least <= query.outputs <= most:
        raise ArityError(
            f"expected {least} or {most} outputs with no_bias={query.args.no_bias}, "
            f"found {query.outputs}"
        )
    expected = _result_shape(x.shape, w.shape, query.args)
    if expected is not None and dy.shape is not None:
        same = len(expected) == len(dy.shape)
        if not same or any(map(_differ, expected, dy.shape)):
            raise ShapeError(
                f"dY is {shape_text(dy.shape)}, needs the shape of Y, {shape_text(expected)}"
            )
    filters = None if w.shape is None else w.shape[0]
    bias = [] if query.args.no_bias else [TensorType(dtype, (filters,))]
    return [w.with_dtype(dtype), *bias, x.with_dtype(dtype)][: query.outputs]


_conv_gradient = operator(
    "ConvGradient",
    "X, filter, dY? -> dfilter, dbias?, dX?",
    infer=_infer_conv_gradient,
    input_counts={3},
    doc="""
    The gradients of Conv: dfilter[m, c, k] = sum over n and p of dY[n, m, p] * X at element k of
    window p, dbias[m] = sum of dY[:, m], and dX = every dY[n, m, p] * filter[m] added to the
    elements of window p. With no_bias=1 the outputs are dfilter and dX; dX may be left out. Where
    channels come last and there are three spatial axes, Caffe2 gives a wrong dX, and we do not.
    """,
    arguments={
        **WINDOW_ARGS,
        "no_bias": Arg(int, 0, "1: the forward operator has no bias, and there is no dbias"),
    },
)


@_conv_gradient.cpu
def _launch_conv_gradient(call: Call) -> list[Launch]:
    x, w, dy = call.inputs
    dw, *rest = call.outputs
    correlation = _correlation(x, w, call.args)
    launches = correlation.launch_filter_gradient(call, x, dy, dw)
    if not call.args.no_bias:
        channel = dy.ndim - 1 if correlation.last else 1
        axes = [axis for axis in range(dy.ndim) if axis != channel]
        launches += launch_sum(call, dy, axes, rest.pop(0))
    for dx in rest:
        launches += correlation.launch_image_gradient(call, dy, w, dx)
    return launches
