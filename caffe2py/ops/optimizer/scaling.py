"""Rates and gradients scaled by norms, weights by a number: Lars, WeightScale and others."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from caffe2py.errors import ArgumentError
from caffe2py.kernels import update
from caffe2py.kernels.weighted import launch_factor_at, launch_scaled
from caffe2py.ops.optimizer.common import (
    NO_GRADIENT,
    flat,
    host_numbers,
    optional_input,
    require_floats,
    require_one,
    require_same_size,
    require_some,
)
from caffe2py.registry.context import Call, Launch
from caffe2py.registry.infer import Query, require_dtype
from caffe2py.registry.operator import operator
from caffe2py.registry.schema import Arg
from caffe2py.tensor.types import TensorType


def _infer_lars(query: Query) -> Sequence[TensorType]:
    for name in ("offset", "lr_min"):
        value = getattr(query.args, name)
        if not value >= 0:
            raise ArgumentError(f"{name} must be at least 0, found {value}")
    require_floats(query, 0, 1, 2, 3, 4)
    require_same_size(query, 0, 1)
    for index in (2, 3, 4):
        require_some(query, index)
    return [TensorType(query.inputs[0].dtype, (1,))]


lars = operator(
    "Lars",
    "X, dX, wd, trust, lr_max -> lr_rescaled",
    infer=_infer_lars,
    gradient=NO_GRADIENT,
    offset=Arg(float, 0.5, "added to the ratio of the norms"),
    lr_min=Arg(float, 0.02, "the result is not below this"),
    doc="""
    The rate of one layer: lr_rescaled = trust / (norm(dX) / norm(X) + wd + offset), or 1 where
    X is 0, not above lr_max and not below lr_min; norm is the Euclidean one. The last three inputs
    are numbers.
    """,
    example="""
    X = [3, 4]; dX = [0, 5]; wd = [0.5]; trust = [1]; lr_max = [10]
    lr_rescaled = [0.5]
    """,
)


@lars.everywhere
def launch_lars(call: Call) -> list[Launch]:
    """Two sums, then one number."""
    rate = call.outputs[0]
    numbers = (rate.dtype.type(a) for a in (call.args.offset, call.args.lr_min))
    x, dx, *limits = (flat(x) for x in call.inputs)
    return update.launch_lars(x, dx, rate, *limits, *numbers)


def _infer_clip(query: Query) -> Sequence[TensorType]:
    if not query.args.threshold > 0:
        raise ArgumentError(f"threshold must be above 0, found {query.args.threshold}")
    require_floats(query, *range(len(query.inputs)))
    require_some(query, 0)
    require_one(query, *range(1, len(query.inputs)))
    return [query.inputs[0]]


clip_tensor_by_scaling = operator(
    "ClipTensorByScaling",
    "input_tensor, val, additional_threshold? -> clipped",
    infer=_infer_clip,
    inplace={0: 0},
    gradient=NO_GRADIENT,
    threshold=Arg(float, 0.0, "the largest norm; above 0"),
    doc="""
    clipped = input_tensor * limit / val where val > limit, else input_tensor, for
    limit = threshold, times additional_threshold if there is one. `val` is the norm of the tensor.

    In Caffe2 additional_threshold multiplies the threshold anew in every run, so that it shrinks
    away; here every run begins with the argument.
    """,
    example="""
    input_tensor = [6, 8]; val = [10]; threshold = 5
    clipped = [3, 4]
    """,
)


@clip_tensor_by_scaling.everywhere
def launch_clip(call: Call) -> Launch:
    """One factor for all elements."""
    x, norm = (flat(a) for a in call.inputs[:2])
    factor = optional_input(call, 2, np.dtype(x.dtype))
    threshold = x.dtype.type(call.args.threshold)
    args = (x, norm, factor, flat(call.outputs[0]), threshold)
    return update.launch_elements(update.clip_by_scaling, x.size, *args)


_NEVER = 2**63 - 1


def _infer_weight_scale(query: Query) -> Sequence[TensorType]:
    if query.args.stepsize < 1:
        raise ArgumentError(f"stepsize must be at least 1, found {query.args.stepsize}")
    require_floats(query, 0)
    require_dtype(query, 1, "int64")
    require_some(query, 1)
    return [query.inputs[0]]


weight_scale = operator(
    "WeightScale",
    "w, iter -> nw",
    infer=_infer_weight_scale,
    inplace={0: 0},
    gradient=NO_GRADIENT,
    stepsize=Arg(int, _NEVER, "how many iterations lie between two scalings"),
    upper_bound_iter=Arg(int, _NEVER, "from this iteration on w stays as it is"),
    scale=Arg(float, 1.0, "the factor"),
    doc="""
    nw = w * `scale` if n = iter + 1 is a multiple of `stepsize` and below `upper_bound_iter`, else
    w; iter is the number of iterations before this one, int64.
    """,
    example="""
    w = [2, 4]; iter = [9]; stepsize = 5; scale = 0.5
    nw = [1, 2]
    """,
)


def launch_weight_scale(call: Call) -> list[Launch]:
    """The counter is read when the net runs."""
    w, done = call.inputs
    args = call.args
    steps = (args.stepsize, args.upper_bound_iter)
    number = w.dtype.type(args.scale)
    launches, factor = host_numbers(
        call, 1, w.dtype, lambda made: launch_factor_at(flat(done), *steps, number, made)
    )
    return [*launches, launch_scaled(flat(w), factor, flat(call.outputs[0]))]


weight_scale.cpu(launch_weight_scale)
weight_scale.cuda(launch_weight_scale, host_inputs=(1,))
