"""Rotated regions of images, pooled by interpolation."""

from __future__ import annotations

from caffe2py.kernels.regions import launch_rotated, launch_rotated_gradient
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

rotated = operator(
    "RoIAlignRotated",
    "X, RoIs -> Y",
    infer=infer_align(6),
    gradient="RoIAlignRotatedGradient(X.shape, RoIs, dY) -> dX",
    doc="""
    Y[r, c, i, j] = the mean of X's channel c over bin (i, j) of region r, as RoIAlign takes it, but
    regions are rotated: a row of RoIs is the number of an image, the centre (x, y), width, height,
    and the angle in degrees against the clock. Sample (u, v) of a region, seen from its centre, is
    at (u cos + v sin, v cos - u sin).
    """,
    example="""
    X = [[[[0, 1], [2, 3]]]]; RoIs = [[0, 0.5, 0.5, 1, 1, 90]]; sampling_ratio = 1
    Y = [[[[1.5]]]]
    """,
    arguments=REGION_ARGS,
)


@rotated.everywhere
def _launch(call: Call) -> list[Launch]:
    launches: list[Launch] = []
    x, y = as_last(call, call.inputs[0], launches), as_last(call, call.outputs[0], None)
    numbers = region_numbers(call.args)
    launches.append(launch_rotated(x, call.inputs[1], numbers, y, explain_region))
    return launches + back_from_last(call, y, call.outputs[0])


rotated_gradient = operator(
    "RoIAlignRotatedGradient",
    "X, RoIs, dY -> dX",
    infer=infer_align_gradient(6),
    doc="DX = for each pixel the sum of dY times its weight in the means of RoIAlignRotated.",
    arguments=REGION_ARGS,
)


@rotated_gradient.everywhere
def _launch_gradient(call: Call) -> list[Launch]:
    launches: list[Launch] = []
    dy, dx = as_last(call, call.inputs[2], launches), as_last(call, call.outputs[0], None)
    numbers = region_numbers(call.args)
    launches.append(launch_rotated_gradient(dy, call.inputs[1], numbers, dx, explain_region))
    return launches + back_from_last(call, dx, call.outputs[0])
