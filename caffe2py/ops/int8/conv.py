"""Quantized tensors: convolution, transposed convolution, products with a matrix."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from caffe2py.errors import ShapeError
from caffe2py.kernels.copy import launch_transpose
from caffe2py.kernels.quantized import Places, launch_convolve, transposed_places, window_places
from caffe2py.kernels.window import WINDOW_ARGS, Window
from caffe2py.ops.int8.common import (
    FLOAT,
    NO_GRADIENT,
    OUTPUT,
    UINT8,
    ask_twin,
    lowest,
    output_quantum,
    quantum_of,
    require_last,
    require_quantized,
)
from caffe2py.registry.context import Call, Launch
from caffe2py.registry.gradient import NotDifferentiable
from caffe2py.registry.infer import Query, Rule, product, require_rank
from caffe2py.registry.operator import operator
from caffe2py.registry.schema import Arg, Args
from caffe2py.tensor.types import TensorType, shape_text

INT32 = np.dtype(np.int32)

ORDER = {"order": Arg(str, "NCHW", "must be NHWC: the channels come last")}


def _require_tensors(query: Query) -> None:
    """X and the filter are 8-bit integers, the bias 32-bit ones."""
    for index in range(min(len(query.inputs), 3)):
        require_quantized(query, index, INT32 if index == 2 else UINT8)


# ---------------------------------------------------------------- convolution


def _as_float(name: str) -> Rule:
    """Inference of the operator on numbers: the shapes are the same."""

    def rule(query: Query) -> Sequence[TensorType]:
        require_last(query.args)
        _require_tensors(query)
        for index in (0, 1):
            require_rank(query, index, 4)
        (found,) = ask_twin(name, query, FLOAT)
        return [TensorType(UINT8, found.shape, output_quantum(query.args))]

    return rule


_CONV_DOC = """
Y = round((sum of (X - zero_X) * (filter - zero_filter) over the window + bias) * scale_X *
scale_filter / Y_scale) + Y_zero_point, from {low} to 255: Conv of quantized tensors{then}.

X is (N, H, W, C), filter (M, kernel, kernel, C / group), and order must be NHWC. `bias` are M
32-bit integers, which stand for numbers in steps of scale_X * scale_filter whatever their own
scale says; it may be left out. scale_X * scale_filter / Y_scale must be below 1. Rounding takes two
steps, as Caffe2's does: the product with a 31-bit factor, then the shift.
"""
_CONV_EXAMPLE = """
X = [[[[3], [5]]]], filter = [[[[2]]]], bias = [1], scales 0.5, zero points 0
order = "NHWC", kernel = 1, Y_scale = 0.5
Y = [[[[4], [6]]]]
"""


def _axes(call: Call, window: Window) -> tuple[Places, Places]:
    table = window.table(call.inputs[0].shape[1:3])
    size, count, kernel, stride, dilation, pad = table[:6, 1:]
    return (
        window_places(count[0], size[0], kernel[0], stride[0], dilation[0], pad[0]),
        window_places(count[1], size[1], kernel[1], stride[1], dilation[1], pad[1]),
    )


def _launch(call: Call, places: tuple[Places, Places], relu: bool) -> list[Launch]:
    x, w = call.inputs[:2]
    bias = call.inputs[2] if len(call.inputs) > 2 else None
    filters = w.reshape(w.shape[0], w.shape[1] * w.shape[2], w.shape[3])
    quanta = [quantum_of(call, 0), quantum_of(call, 1), output_quantum(call.args)]
    arrays = (x, filters, bias, call.outputs[0])
    return launch_convolve(call, arrays, quanta, places, call.args.group, lowest(call.args, relu))


def _declare_conv(name: str, relu: bool) -> None:
    made = operator(
        name,
        "X, filter, bias? -> Y",
        infer=_as_float("Conv"),
        gradient=NotDifferentiable(NO_GRADIENT),
        quantized=True,
        doc=_CONV_DOC.format(
            low="Y_zero_point" if relu else "0", then=", and 0 where it is negative" if relu else ""
        ),
        example=_CONV_EXAMPLE,
        arguments={**OUTPUT, **WINDOW_ARGS, **ORDER},
    )

    @made.cpu
    def launch(call: Call) -> list[Launch]:
        return _launch(call, _axes(call, Window.read(call.args, 2)), relu)


_declare_conv("Int8Conv", relu=False)
_declare_conv("Int8ConvRelu", relu=True)


# ---------------------------------------------------------------- transposed convolution

_PLAIN_ARGS = ("dilation", "dilation_h", "dilation_w", "dilations", "global_pooling")
_ADJUST = {
    "adj": Arg(int, 0, "rows and columns added at the end of Y"),
    "adj_h": Arg(int, 0, "rows added below Y"),
    "adj_w": Arg(int, 0, "columns added on the right of Y"),
    "adjs": Arg(list[int], (), "elements added at the end of each spatial axis of Y"),
}

transposed = operator(
    "Int8ConvTranspose",
    "X, filter, bias? -> Y",
    infer=_as_float("ConvTranspose"),
    gradient=NotDifferentiable(NO_GRADIENT),
    quantized=True,
    doc="""
    Y = ConvTranspose of quantized tensors, rounded as by Int8Conv: the gradient of a convolution.

    X is (N, H, W, M), filter (M, kernel, kernel, C / group), bias C 32-bit integers, and Y has C
    channels; order must be NHWC. Y is (H - 1) * stride + kernel + adj - pads high.
    """,
    example="""
    X = [[[[3], [5]]]], filter = [[[[2], [4]]]], bias = [1], scales 0.5, zero points 0
    order = "NHWC", kernel_h = 1, kernel_w = 2, stride = 2, Y_scale = 0.5
    Y = [[[[4], [6], [6], [10]]]]
    """,
    arguments={
        **OUTPUT,
        **{
            name: arg
            for name, arg in WINDOW_ARGS.items()
            if name not in (*_PLAIN_ARGS, "float16_compute")
        },
        **ORDER,
        **_ADJUST,
        "no_bias": Arg(bool, False, "accepted; a bias that is an input is always added"),
        "no_gradient_to_input": Arg(bool, False, "accepted; there is no gradient at all"),
    },
)


@transposed.cpu
def _launch_transposed(call: Call) -> list[Launch]:
    x, w, y = call.inputs[0], call.inputs[1], call.outputs[0]
    args, group = call.args, call.args.group
    window = Window.read(Args(**{**dict.fromkeys(_PLAIN_ARGS, 0), **_undilated(args)}), 2)
    steps = zip(y.shape[1:3], x.shape[1:3], window.kernel, window.stride, window.pads, strict=False)
    rows, columns = (transposed_places(*step) for step in steps)
    # as an ordinary convolution of X the filter has its axes exchanged, group by group
    m, kh, kw, c = w.shape
    moved = call.scratch((group, c, kh * kw, m // group), np.uint8)
    seen = w.reshape(group, m // group, kh * kw, c)
    exchange = launch_transpose(seen, (0, 3, 2, 1), moved)
    filters = moved.reshape(group * c, kh * kw, m // group)
    bias = call.inputs[2] if len(call.inputs) > 2 else None
    quanta = [quantum_of(call, 0), quantum_of(call, 1), output_quantum(args)]
    return [
        exchange,
        *launch_convolve(call, (x, filters, bias, y), quanta, (rows, columns), group, 0),
    ]


def _undilated(args: Args) -> dict[str, object]:
    return {**vars(args), "dilation": 1, "dilation_h": 1, "dilation_w": 1, "dilations": ()}


# ---------------------------------------------------------------- FC


def _infer_fc(query: Query) -> Sequence[TensorType]:
    _require_tensors(query)
    x, w, bias = (t.shape for t in query.inputs[:3])
    require_rank(query, 1, 2)
    require_rank(query, 2, 1)
    if x is not None and not x:
        raise ShapeError("input 0 'X' must have at least 1 dimension, found ()")
    if x is not None and w is not None:
        deep = product(x[1:])
        if None not in (deep, w[1]) and deep != w[1]:
            raise ShapeError(f"X is {shape_text(x)}, K={deep}; W is {shape_text(w)}, K={w[1]}")
    if w is not None and bias is not None and None not in (w[0], bias[0]) and w[0] != bias[0]:
        raise ShapeError(f"b is {shape_text(bias)}, needs one element a row of W: ({w[0]})")
    shape = (None if x is None else x[0], None if w is None else w[0])
    made = TensorType(UINT8, shape, output_quantum(query.args))
    return [made, *([TensorType(UINT8, (0,))] * (query.outputs - 1))]


fc = operator(
    "Int8FC",
    "X, W, b, Qparam? -> Y, rest0?, rest1?, rest2?",
    infer=_infer_fc,
    gradient=NotDifferentiable(NO_GRADIENT),
    quantized=True,
    doc="""
    Y = round((sum over k of (X[n, k] - zero_X) * (W[m, k] - zero_W) + b[m]) * scale_X * scale_W /
    Y_scale) + Y_zero_point, from 0 to 255: FC of quantized tensors, rounded as by Int8Conv.

    X is (N, ...), seen as (N, K), W (M, K), b M 32-bit integers. scale_X * scale_W / Y_scale must
    be below 1. `Qparam` is not read, and outputs behind Y are empty.
    """,
    example="""
    X = [[3, 5]], W = [[2, 4]], b = [2], scales 0.5, zero points 0; Y_scale = 0.5
    Y = [[14]]
    """,
    arguments=OUTPUT,
)


@fc.cpu
def _launch_fc(call: Call) -> list[Launch]:
    x, w, bias = call.inputs[:3]
    quanta = [quantum_of(call, 0), quantum_of(call, 1), output_quantum(call.args)]
    rows, deep = x.shape[0], w.shape[1]
    y = call.outputs[0]
    here = np.zeros((1, 1), np.int64)
    arrays = (
        x.reshape(rows, 1, 1, deep),
        w.reshape(w.shape[0], 1, deep),
        bias,
        y.reshape(rows, 1, 1, w.shape[0]),
    )
    return launch_convolve(call, arrays, quanta, (here, here), 1, 0)
