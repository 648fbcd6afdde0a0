"""Quantized tensors: the largest element and the mean over sliding windows."""

from __future__ import annotations

from collections.abc import Sequence

from caffe2py.kernels.quantized import Places, launch_average, launch_largest, window_places
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
    require_kept,
    require_last,
    require_quantized,
)
from caffe2py.registry.context import Call, Launch
from caffe2py.registry.gradient import NotDifferentiable
from caffe2py.registry.infer import Query, require_rank
from caffe2py.registry.operator import operator
from caffe2py.registry.schema import Arg
from caffe2py.tensor.types import TensorType

POOL_ARGS = {
    **OUTPUT,
    **WINDOW_ARGS,
    "order": Arg(str, "NCHW", "must be NHWC: the channels come last"),
}


def _pooled(query: Query) -> tuple[int | None, ...] | None:
    """The shape of Y."""
    require_last(query.args)
    require_quantized(query, 0)
    require_rank(query, 0, 4)
    return ask_twin("MaxPool", query, FLOAT)[0].shape


def _places(call: Call) -> tuple[Places, Places]:
    image = call.inputs[0].shape[1:3]
    size, count, kernel, stride, dilation, pad = Window.read(call.args, 2).table(image)[:6, 1:]
    return (
        window_places(count[0], size[0], kernel[0], stride[0], dilation[0], pad[0]),
        window_places(count[1], size[1], kernel[1], stride[1], dilation[1], pad[1]),
    )


def _infer_average(query: Query) -> Sequence[TensorType]:
    return [TensorType(UINT8, _pooled(query), output_quantum(query.args))]


def _infer_largest(query: Query) -> Sequence[TensorType]:
    return [TensorType(UINT8, _pooled(query), require_kept(query))]


def _declare_average(name: str, relu: bool) -> None:
    made = operator(
        name,
        "X -> Y",
        infer=_infer_average,
        gradient=NotDifferentiable(NO_GRADIENT),
        quantized=True,
        doc=f"""
        Y = the mean of X over a window, rounded to the integers of Y{_THEN if relu else ""}.

        X is (N, H, W, C), order must be NHWC. Padding counts as elements that are 0. The scale of X
        must be from 2**-8 to 2**8 times Y_scale. There is no dilation.
        """,
        example=f"""
        X = [[[[3], [5]]]] with scale 1 and zero point 0; order = "NHWC", kernel_h = 1, kernel_w = 2
        Y_zero_point = {7 if relu else 0}
        Y = [[[[{11 if relu else 4}]]]]
        """,
        arguments=POOL_ARGS,
    )

    @made.cpu
    def launch(call: Call) -> Launch:
        quanta = [quantum_of(call, 0), output_quantum(call.args)]
        low = lowest(call.args, relu)
        return launch_average(call, call.inputs[0], quanta, _places(call), low, call.outputs[0])


def _declare_largest(name: str, relu: bool) -> None:
    zero = 7 if relu else 0
    made = operator(
        name,
        "X -> Y",
        infer=_infer_largest,
        gradient=NotDifferentiable(NO_GRADIENT),
        quantized=True,
        doc=f"""
        Y = the largest element of X in a window{_THEN if relu else ""}; padding takes no part.

        X is (N, H, W, C), order must be NHWC; Y_scale and Y_zero_point must be those of X. There is
        no dilation.
        """,
        example=f"""
        X = [[[[3], [5]]]] with scale 1 and zero point {zero}; Y_zero_point = {zero}
        order = "NHWC", kernel_h = 1, kernel_w = 2
        Y = [[[[{max(zero, 5)}]]]]
        """,
        arguments=POOL_ARGS,
    )

    @made.cpu
    def launch(call: Call) -> Launch:
        low = lowest(call.args, relu)
        return launch_largest(call.inputs[0], _places(call), low, call.outputs[0])


_THEN = ", and 0 where that is negative"

_declare_average("Int8AveragePool", relu=False)
_declare_average("Int8AveragePoolRelu", relu=True)
_declare_largest("Int8MaxPool", relu=False)
_declare_largest("Int8MaxPoolRelu", relu=True)
