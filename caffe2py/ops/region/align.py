"""Regions of images, pooled by interpolation."""

from __future__ import annotations

from caffe2py.kernels.image import launch_align, launch_align_gradient
from caffe2py.ops.region.common import (
    REGION_ARGS,
    as_last,
    back_from_last,
    explain_region,
    infer_align,
    infer_align_gradient,
    region_numbers,
)
from caffe2py.registry.context import Call, Launch
from caffe2py.registry.operator import operator

_align = operator(
    "RoIAlign",
    "X, RoIs -> Y",
    infer=infer_align(4, 5),
    gradient="RoIAlignGradient(X.shape, RoIs, dY) -> dX",
    doc="""
    Y[r, c, i, j] = the mean of X's channel c over bin (i, j) of region r.

    A row of RoIs is left, top, right, bottom, behind the number of an image in the batch if there
    are five columns. Coordinates are multiplied by spatial_scale, and with aligned moved by half a
    pixel; otherwise a region is at least one pixel wide and high. It is cut into
    pooled_h x pooled_w bins, and each bin is sampled at sampling_ratio x sampling_ratio places
    between which X is interpolated linearly. Places more than a pixel outside count as 0, and so do
    bins without a sample (Caffe2 makes them NaN).
    """,
    example="""
    X = [[[[0, 1], [2, 3]]]]; RoIs = [[0, 0, 1, 1]]; sampling_ratio = 1
    Y = [[[[1.5]]]]
    """,
    arguments=REGION_ARGS,
)


@_align.everywhere
def _launch_align(call: Call) -> list[Launch]:
    launches: list[Launch] = []
    x, y = as_last(call, call.inputs[0], launches), as_last(call, call.outputs[0], None)
    numbers = region_numbers(call.args)
    launches.append(launch_align(x, call.inputs[1], *numbers, y, explain_region))
    return launches + back_from_last(call, y, call.outputs[0])


_align_gradient = operator(
    "RoIAlignGradient",
    "X, RoIs, dY -> dX",
    infer=infer_align_gradient(4, 5),
    doc="DX = for each pixel the sum of dY times its weight in the means that RoIAlign takes.",
    arguments=REGION_ARGS,
)


@_align_gradient.everywhere
def _launch_align_gradient(call: Call) -> list[Launch]:
    launches: list[Launch] = []
    dy, dx = as_last(call, call.inputs[2], launches), as_last(call, call.outputs[0], None)
    numbers = region_numbers(call.args)
    launches.append(launch_align_gradient(dy, call.inputs[1], *numbers, dx, explain_region))
    return launches + back_from_last(call, dx, call.outputs[0])
