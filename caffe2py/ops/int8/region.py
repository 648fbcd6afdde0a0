"""Quantized tensors: regions of images, pooled by interpolation."""

from __future__ import annotations

from collections.abc import Sequence

from caffe2py.errors import Error, ValueRangeError
from caffe2py.kernels.image import NEGATIVE, NO_IMAGE
from caffe2py.kernels.quantized import launch_align
from caffe2py.ops.int8.common import (
    FLOAT,
    NO_GRADIENT,
    OUTPUT,
    UINT8,
    ask_twin,
    output_quantum,
    quantum_of,
    require_last,
    require_quantized,
)
from caffe2py.registry.context import Call, Launch
from caffe2py.registry.gradient import NotDifferentiable
from caffe2py.registry.infer import Query, require_dtype
from caffe2py.registry.operator import operator
from caffe2py.registry.schema import Arg
from caffe2py.tensor.types import TensorType


def _infer(query: Query) -> Sequence[TensorType]:
    require_last(query.args)
    require_quantized(query, 0)
    require_dtype(query, 1, "float32")
    (found,) = ask_twin("RoIAlign", query, FLOAT)
    return [TensorType(UINT8, found.shape, output_quantum(query.args))]


def _explain(status: int) -> Error:
    if status == NO_IMAGE:
        return ValueRangeError("a region's first number names no image of X")
    if status == NEGATIVE:
        return ValueRangeError("with aligned a region must not have a negative size")
    return ValueRangeError("a region's coordinates are not finite, or far too large")


align = operator(
    "Int8RoIAlign",
    "X, RoIs -> Y",
    infer=_infer,
    gradient=NotDifferentiable(NO_GRADIENT),
    quantized=True,
    doc="""
    Y[r, i, j, c] = the mean of X's channel c over bin (i, j) of region r: RoIAlign of a quantized
    tensor.

    X is (N, H, W, C) and order NHWC; RoIs are numbers. The weights between neighbouring pixels are
    whole multiples of 1/255, and places more than a pixel outside of the image count as the integer
    0, whatever the zero point: so they do in Caffe2. The scale of X must be below 255 * Y_scale.
    """,
    example="""
    X = [[[[0], [10]], [[20], [30]]]] with scale 1; RoIs = [[0, 0, 1, 1]]; sampling_ratio = 1
    Y = [[[[15]]]]
    """,
    arguments={
        **OUTPUT,
        "spatial_scale": Arg(float, 1.0, "pixels of X for one unit of the regions' coordinates"),
        "pooled_h": Arg(int, 1, "rows of bins"),
        "pooled_w": Arg(int, 1, "columns of bins"),
        "sampling_ratio": Arg(
            int, -1, "samples of a bin along each axis; 0 or less: its size in pixels, rounded up"
        ),
        "order": Arg(str, "NHWC", "must be NHWC: the channels come last"),
        "aligned": Arg(bool, False, "pixel centres are half a pixel off"),
    },
)


@align.cpu
def _launch(call: Call) -> Launch:
    args = call.args
    region = (args.spatial_scale, bool(args.aligned), max(args.sampling_ratio, 0))
    quanta = [quantum_of(call, 0), output_quantum(args)]
    return launch_align(
        call, call.inputs[0], call.inputs[1], region, quanta, call.outputs[0], _explain
    )
