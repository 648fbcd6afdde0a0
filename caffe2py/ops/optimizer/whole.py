"""Storm and Wngrad, one rate for all from the whole gradient; GFtrl; and adapting a rate."""

from __future__ import annotations

import numpy as np

from caffe2py.errors import ArgumentError
from caffe2py.kernels import update_whole
from caffe2py.kernels.update import launch_rows
from caffe2py.ops.optimizer.common import (
    NO_GRADIENT,
    RATE_DOC,
    SPARSE_DOC,
    begin,
    check_rows,
    flat,
    numel,
    optional_output,
    outputs_like,
    require_floats,
    require_one,
    require_rows,
    require_same_size,
    require_size,
    row_width,
)
from caffe2py.registry.context import Call, Launch
from caffe2py.registry.gradient import NoGradient
from caffe2py.registry.infer import Query, require_rank
from caffe2py.registry.operator import operator
from caffe2py.registry.schema import Arg

# ---------------------------------------------------------------- Storm

STORM = {
    "momentum": Arg(float, 10.0, "how fast the moment follows the gradient"),
    "beta": Arg(float, 0.1, "added to the sum of squares"),
}
_STORM = """
Stochastic recursive momentum, with one rate for all elements:
grad_sq_sum = grad_sq_sum + sum of grad^2; rate = lr / (beta + grad_sq_sum)^(1/3);
moment = grad + (1 - momentum * rate^2) * (moment - grad); param = param + rate * moment.
"""
_STORM_OUTPUTS = "output_param, output_moment, output_grad_sq_sum"


def _check_storm(query: Query) -> None:
    require_floats(query, 0, 1, 2, 3)
    require_one(query, 2, 4)
    require_same_size(query, 0, 1, 3)


def _check_sparse_storm(query: Query) -> None:
    require_floats(query, 0, 1, 2, 3)
    require_one(query, 2, 5)
    require_same_size(query, 0, 1)
    require_rows(query, 0, 4, 3)


storm = operator(
    "Storm",
    f"param, moment, grad_sq_sum, grad, lr -> {_STORM_OUTPUTS}",
    infer=outputs_like(0, 1, 2, check=_check_storm),
    inplace={0: 0, 1: 1, 2: 2},
    gradient=NO_GRADIENT,
    doc=f"""
    {_STORM.strip()} {RATE_DOC.strip()}
    """,
    example="""
    param = [1]; moment = [0]; grad_sq_sum = [3.9]; grad = [2]; lr = [-0.2]
    output_param = [0.96]; output_moment = [0.2]; output_grad_sq_sum = [7.9]
    """,
    arguments=STORM,
)

sparse_storm = operator(
    "SparseStorm",
    f"param, moment, grad_sq_sum, grad, indices, lr -> {_STORM_OUTPUTS}",
    infer=outputs_like(0, 1, 2, check=_check_sparse_storm),
    enforced={0: 0, 1: 1, 2: 2},
    gradient=NO_GRADIENT,
    doc=f"""
    Storm on some rows: {_STORM.strip()} {RATE_DOC.strip()}
    {SPARSE_DOC.strip()}
    """,
    example="""
    param = [1, 1]; moment = [0, 0]; grad_sq_sum = [3.9]; grad = [2]; indices = [1]; lr = [-0.2]
    output_param = [1, 0.96]; output_moment = [0, 0.2]; output_grad_sq_sum = [7.9]
    """,
    arguments=STORM,
)


@storm.everywhere
def launch_storm(call: Call) -> list[Launch]:
    """Copies first, then everything in place."""
    outputs = [flat(y) for y in call.outputs]
    numbers = (outputs[0].dtype.type(a) for a in (call.args.momentum, call.args.beta))
    param, moment, squares = outputs
    grad, lr = flat(call.inputs[3]), flat(call.inputs[4])
    first, rates = update_whole.launch_storm_numbers(call, squares, grad, lr, *numbers)
    change = update_whole.launch_storm(param, moment, grad, rates)
    return [*begin(call, (0, 0), (1, 1), (2, 2)), *first, change]


@sparse_storm.everywhere
def launch_sparse_storm(call: Call) -> list[Launch]:
    """Check the indices, then update their rows."""
    outputs = [flat(y) for y in call.outputs]
    numbers = (outputs[0].dtype.type(a) for a in (call.args.momentum, call.args.beta))
    param, moment, squares = outputs
    grad, indices, lr = (flat(x) for x in call.inputs[3:])
    if not indices.size:
        return []
    first, rates = update_whole.launch_storm_numbers(call, squares, grad, lr, *numbers)
    rows, width = call.inputs[0].shape[0], row_width(call, 0)
    arrays = (param, moment, indices, grad, rates)
    change = launch_rows(update_whole.sparse_storm, indices, rows, width, *arrays)
    return [check_rows(call, 4, 0), *first, *change]


# ---------------------------------------------------------------- Wngrad

EPSILON = Arg(float, 1e-5, "added to the divisor")


def _check_wngrad(query: Query) -> None:
    require_floats(query, 0, 1, 2, 3)
    require_one(query, 1, 3)
    require_same_size(query, 0, 2)


def _check_sparse_wngrad(query: Query) -> None:
    require_floats(query, 0, 1, 3, 4)
    require_one(query, 1, 4)
    require_rows(query, 0, 2, 3)


wngrad = operator(
    "Wngrad",
    "param, seq_b, grad, lr -> output_param, output_seq_b, output_effective_lr?, output_update?",
    infer=outputs_like(0, 1, 1, 2, check=_check_wngrad),
    inplace={0: 0, 1: 1},
    gradient=NO_GRADIENT,
    epsilon=EPSILON,
    doc=f"""
    One rate for all elements that falls as gradients add up: effective_lr = lr / (seq_b + epsilon);
    update = effective_lr * grad; param = param + update;
    seq_b = seq_b + (sum of grad^2) / (seq_b + epsilon). {RATE_DOC.strip()}
    """,
    example="""
    param = [1]; seq_b = [1]; grad = [2]; lr = [-0.1]; epsilon = 0
    output_param = [0.8]; output_seq_b = [5]; output_effective_lr = [-0.1]; output_update = [-0.2]
    """,
)

sparse_wngrad = operator(
    "SparseWngrad",
    "param, seq_b, indices, grad, lr -> output_param, output_seq_b",
    infer=outputs_like(0, 1, check=_check_sparse_wngrad),
    enforced={0: 0, 1: 1},
    gradient=NO_GRADIENT,
    epsilon=EPSILON,
    doc=f"""
    Wngrad on some rows: param = param + lr / (seq_b + epsilon) * grad;
    seq_b = seq_b + (sum of grad^2) / seq_b, here without epsilon. {RATE_DOC.strip()}
    {SPARSE_DOC.strip()}
    """,
    example="""
    param = [1, 1]; seq_b = [1]; indices = [1]; grad = [2]; lr = [-0.1]; epsilon = 0
    output_param = [1, 0.8]; output_seq_b = [5]
    """,
)


@wngrad.everywhere
def launch_wngrad(call: Call) -> list[Launch]:
    """Copies first, then everything in place."""
    param, seq_b = (flat(y) for y in call.outputs[:2])
    rates, steps = (optional_output(call, k, param.dtype) for k in (2, 3))
    epsilon = param.dtype.type(call.args.epsilon)
    grad, lr = (flat(x) for x in call.inputs[2:])
    change = update_whole.launch_wngrad(param, seq_b, grad, lr, rates, steps, epsilon)
    return [*begin(call, (0, 0), (1, 1)), *change]


@sparse_wngrad.everywhere
def launch_sparse_wngrad(call: Call) -> list[Launch]:
    """Check the indices, then update their rows."""
    outputs = [flat(y) for y in call.outputs]
    indices, grad, lr = (flat(x) for x in call.inputs[2:])
    if not indices.size:
        return []
    real = outputs[0].dtype.type
    rows, width = call.inputs[0].shape[0], row_width(call, 0)
    arrays = (*outputs, indices, grad, lr, real(call.args.epsilon))
    change = launch_rows(update_whole.sparse_wngrad, indices, rows, width, *arrays)
    grow = update_whole.launch_grow(outputs[1], grad, real(0))
    return [check_rows(call, 2, 0), *change, *grow]


# ---------------------------------------------------------------- GFtrl


def _check_gftrl(query: Query) -> None:
    require_floats(query, 0, 1, 2)
    size = numel(query, 0)
    require_size(query, 1, None if size is None else 2 * size, "two for each of input 0 'var'")
    require_same_size(query, 0, 2)
    require_rank(query, 2, *range(1, 65))
    if len(query.inputs) > 3:
        if "alpha" in query.args.given:
            raise ArgumentError("argument 'alpha' and an input exclude each other")
        require_one(query, 3)


gftrl = operator(
    "GFtrl",
    "var, n_z, grad, alpha? -> output_var, output_n_z",
    infer=outputs_like(0, 1, check=_check_gftrl),
    inplace={0: 0, 1: 1},
    gradient=NO_GRADIENT,
    alpha=Arg(float, 0.005, "the rate, unless it is an input"),
    beta=Arg(float, 1.0, "what is added to the root of n"),
    lambda1=Arg(float, 0.001, "how strongly whole columns are pulled to exactly 0"),
    lambda2=Arg(float, 0.001, "how strongly parameters are pulled toward 0"),
    doc="""
    Follow the regularised leader, with columns that become 0 as a whole. The gradient is taken as a
    matrix, the first axis against all others; n and z of each parameter lie side by side in n_z:
    z = z + grad - (sqrt(n + grad^2) - sqrt(n)) / alpha * var; n = n + grad^2; and with |z| over a
    column of R elements and limit = lambda1 * sqrt(R),
    var = z * (limit / |z| - 1) / ((beta + sqrt(n)) / alpha + lambda2), or 0 where |z| <= limit.
    `alpha` may be an input, which is read in every run, or an argument, not both; Caffe2 does not
    read the input.
    """,
    example="""
    var = [[0]]; n_z = [[[0, 0]]]; grad = [[2]]; alpha = 0.1; lambda1 = lambda2 = 0
    output_var = [[-0.0667]]; output_n_z = [[[4, 2]]]
    """,
)


@gftrl.everywhere
def launch_gftrl(call: Call) -> list[Launch]:
    """Copies first, then everything in place."""
    var, n_z = (flat(y) for y in call.outputs)
    args, grad = call.args, call.inputs[2]
    given = call.inputs[3:]
    alpha = flat(given[0]) if given else np.array([args.alpha], var.dtype)
    groups = int(np.prod(grad.shape[1:], dtype=np.int64)) if grad.size else 0
    numbers = (var.dtype.type(a) for a in (args.beta, args.lambda1, args.lambda2))
    change = update_whole.launch_gftrl(var, n_z, flat(grad), alpha, groups, *numbers)
    return [*begin(call, (0, 0), (1, 1)), *change]


# ---------------------------------------------------------------- LearningRateAdaption


def _check_adaption(query: Query) -> None:
    require_floats(query, 0, 1, 2)
    require_one(query, 0)
    require_same_size(query, 1, 2)


adaption = operator(
    "LearningRateAdaption",
    "lr, grad, effgrad -> output_lr",
    infer=outputs_like(0, check=_check_adaption),
    inplace={0: 0},
    gradient=NoGradient("a learning rate is not learnt by gradients"),
    lr_alpha=Arg(float, 0.01, "the rate of the rate"),
    normalized_lr_adaption=Arg(bool, True, "whether only directions count"),
    doc="""
    Gradient descent on the learning rate itself, from the gradient and the step before it:
    output_lr = lr * (1 - lr_alpha * grad.effgrad / (|grad| |effgrad|)), the norms at least 1e-12;
    without normalized_lr_adaption output_lr = lr - lr_alpha * grad.effgrad.
    """,
    example="""
    lr = [0.1]; grad = [1, 0]; effgrad = [2, 0]; lr_alpha = 0.5
    output_lr = [0.05]
    """,
)


@adaption.everywhere
def launch_adaption(call: Call) -> list[Launch]:
    """One number from three inputs."""
    lr, grad, step = (flat(x) for x in call.inputs)
    out, args = flat(call.outputs[0]), call.args
    alpha, normalized = out.dtype.type(args.lr_alpha), args.normalized_lr_adaption
    return update_whole.launch_adapt_rate(lr, grad, step, out, alpha, normalized=normalized)
