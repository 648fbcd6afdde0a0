"""YellowFin: momentum descent that tunes itself."""

from __future__ import annotations

import functools

from caffe2py.errors import ArgumentError, ShapeError
from caffe2py.kernels.yellowfin import MEMORY, Manner, launch_yellow_fin
from caffe2py.ops.optimizer.common import (
    NO_GRADIENT,
    begin,
    flat,
    host_numbers,
    numel,
    outputs_like,
    require_counter,
    require_floats,
    require_one,
    require_same_size,
    require_size,
)
from caffe2py.registry.context import Call, Launch
from caffe2py.registry.infer import Query, require_same_shape
from caffe2py.registry.operator import operator
from caffe2py.registry.schema import Arg


def _check(query: Query) -> None:
    width = query.args.curv_win_width
    if width < 1:
        raise ArgumentError(f"curv_win_width must be at least 1, found {width}")
    require_floats(query, *range(9))
    require_counter(query, 9)
    require_one(query, 2, 3)
    require_same_shape(query, 0, 1, 5, 6, 8)
    require_same_size(query, 0, 1, 5, 6, 8)
    require_size(query, 7, MEMORY, "what it remembers")
    found = numel(query, 4)
    if found is not None and found < width:
        raise ShapeError(f"input 4 'curv_win' must have curv_win_width = {width} elements")


yellow_fin = operator(
    "YellowFin",
    "param, moment, lr, mu, curv_win, g_avg, g2_avg, scalars_memory, grad, iter "
    "-> output_param, output_moment, output_lr, output_mu, output_curv_win, output_g_avg, "
    "output_g2_avg, output_scalars_memory",
    infer=outputs_like(*range(8), check=_check),
    inplace={k: k for k in range(8)},
    gradient=NO_GRADIENT,
    beta=Arg(float, 0.999, "how much of the running means is kept"),
    curv_win_width=Arg(int, 20, "over how many gradients the extremes of the norm are taken"),
    epsilon=Arg(float, 1e-6, "norms and variances are not below this"),
    nesterov=Arg(int, 0, "1: look ahead, as MomentumSGD does"),
    zero_debias=Arg(bool, True, "make up for means that began at 0"),
    doc="""
    moment = mu * moment + lr * grad; param = param - moment. Then lr and mu (one number each, with
    running means of their own) are tuned as in "YellowFin and the Art of Momentum Tuning"
    (arXiv:1706.03471): from the smallest and largest norm of the last `curv_win_width` gradients,
    the variance of the gradient and the distance to the optimum. `iter` is an int64 number, 1 in
    the first run, which does not tune. scalars_memory has 5 elements.

    Raises ValueRangeError where `iter` is below 1.
    """,
    example="""
    param = [1]; moment = [0]; lr = [0.1]; mu = [0]; grad = [2]; iter = [1]
    output_param = [0.8]; output_moment = [0.2]
    """,
)


def launch(call: Call) -> list[Launch]:
    """Copies first, then everything in place."""
    outputs = [flat(y) for y in call.outputs]
    grad, iters = (flat(x) for x in call.inputs[8:])
    args, real = call.args, grad.dtype.type
    numbers = (args.curv_win_width, real(args.beta), real(args.epsilon))
    manner = Manner(*numbers, bool(args.nesterov), args.zero_debias)
    given = functools.partial(host_numbers, call)
    change = launch_yellow_fin(outputs, grad, iters, manner, given)
    return [*begin(call, *((k, k) for k in range(8))), *change]


yellow_fin.cpu(launch)
yellow_fin.cuda(launch, host_inputs=(9,))
