"""RmsProp, Adadelta, and following the regularised leader (Ftrl)."""

from __future__ import annotations

import numpy as np

from caffe2py.errors import ArgumentError
from caffe2py.kernels import update
from caffe2py.ops.optimizer.common import (
    NO_GRADIENT,
    RATE_DOC,
    SPARSE_DOC,
    begin,
    check_rows,
    flat,
    numel,
    outputs_like,
    require_floats,
    require_one,
    require_rows,
    require_same_size,
    require_size,
    require_some,
    row_width,
)
from caffe2py.registry.context import Call, Launch
from caffe2py.registry.infer import Query, require_dtype
from caffe2py.registry.operator import operator
from caffe2py.registry.schema import Arg
from caffe2py.tensor.tensor import Array

EPSILON = Arg(float, 1e-5, "added under the root, against division by zero")

# ---------------------------------------------------------------- RmsProp


def _check_rms_prop(query: Query) -> None:
    require_floats(query, 0, 1, 2)
    require_one(query, 3)
    require_same_size(query, 0, 1, 2)


rms_prop = operator(
    "RmsProp",
    "grad, mean_squares, momentum, lr -> output_grad, output_mean_squares, output_momentum",
    infer=outputs_like(0, 1, 2, check=_check_rms_prop),
    inplace={0: 0, 1: 1, 2: 2},
    gradient=NO_GRADIENT,
    decay=Arg(float, 0.9, "how much of the mean is kept"),
    momentum=Arg(float, 0.0, "how much of the last step is kept"),
    epsilon=EPSILON,
    doc=f"""
    mean_squares = mean_squares + (1 - decay) * (grad^2 - mean_squares);
    output_grad = output_momentum = momentum_arg * momentum + lr * grad / sqrt(mean_squares +
    epsilon), with the argument `momentum` for momentum_arg. {RATE_DOC.strip()}
    """,
    example="""
    grad = [2]; mean_squares = [0]; momentum = [0]; lr = [-0.1]
    output_grad = output_momentum = [-0.316]; output_mean_squares = [0.4]
    """,
)


@rms_prop.everywhere
def launch_rms_prop(call: Call) -> list[Launch]:
    """Copies first, then everything in place."""
    grad, squares, moment = (flat(y) for y in call.outputs)
    args = call.args
    numbers = (grad.dtype.type(a) for a in (args.decay, args.momentum, args.epsilon))
    arrays = (grad, squares, moment, flat(call.inputs[3]))
    change = update.launch_elements(update.rms_prop, grad.size, *arrays, *numbers)
    return [*begin(call, (0, 0), (1, 1), (2, 2)), change]


# ---------------------------------------------------------------- Adadelta

DECAY = Arg(float, 0.95, "how much of the means is kept; between 0 and 1")
_ADADELTA = """
moment = decay * moment + (1 - decay) * grad^2;
step = sqrt(moment_delta + epsilon) / sqrt(moment + epsilon) * grad;
moment_delta = decay * moment_delta + (1 - decay) * step^2; param = param + lr * step.
"""


def _check_numbers(query: Query) -> None:
    args = query.args
    if not args.epsilon >= 0:
        raise ArgumentError(f"epsilon must be at least 0, found {args.epsilon}")
    if not 0 < args.decay < 1:
        raise ArgumentError(f"decay must lie between 0 and 1, found {args.decay}")


def _check_adadelta(query: Query) -> None:
    _check_numbers(query)
    require_floats(query, 0, 1, 2, 3)
    require_dtype(query, 4, "float32", "float64")
    require_some(query, 4)
    require_same_size(query, 0, 1, 2, 3)


def _check_sparse_adadelta(query: Query) -> None:
    _check_numbers(query)
    require_floats(query, 0, 1, 2, 4)
    require_one(query, 5)
    require_same_size(query, 0, 1, 2)
    require_rows(query, 0, 3, 4)


adadelta = operator(
    "Adadelta",
    "param, moment, moment_delta, grad, lr -> output_param, output_moment, output_moment_delta",
    infer=outputs_like(0, 1, 2, check=_check_adadelta),
    inplace={0: 0, 1: 1, 2: 2},
    gradient=NO_GRADIENT,
    epsilon=EPSILON,
    decay=DECAY,
    doc=f"""
    {_ADADELTA.strip()} {RATE_DOC.strip()}
    """,
    example="""
    param = [1]; moment = [0]; moment_delta = [1]; grad = [2]; lr = [-0.1]
    output_param = [0.553]; output_moment = [0.2]; output_moment_delta = [1.95]
    """,
)

sparse_adadelta = operator(
    "SparseAdadelta",
    "param, moment, moment_delta, indices, grad, lr "
    "-> output_param, output_moment, output_moment_delta",
    infer=outputs_like(0, 1, 2, check=_check_sparse_adadelta),
    enforced={0: 0, 1: 1, 2: 2},
    gradient=NO_GRADIENT,
    epsilon=EPSILON,
    decay=DECAY,
    doc=f"""
    Adadelta on some rows: {_ADADELTA.strip()} {RATE_DOC.strip()}
    {SPARSE_DOC.strip()}
    """,
    example="""
    param = [1, 1]; moment = [0, 0]; moment_delta = [1, 1]; indices = [1]; grad = [2]; lr = [-0.1]
    output_param = [1, 0.553]; output_moment = [0, 0.2]; output_moment_delta = [1, 1.95]
    """,
)


@adadelta.everywhere
def launch_adadelta(call: Call) -> list[Launch]:
    """Copies first, then everything in place."""
    arrays = [*(flat(x) for x in (*call.outputs, call.inputs[3])), flat(call.inputs[4])[:1]]
    dtype = arrays[0].dtype
    numbers = (dtype.type(a) for a in (call.args.epsilon, call.args.decay))
    change = update.launch_elements(update.adadelta, arrays[0].size, *arrays, *numbers)
    return [*begin(call, (0, 0), (1, 1), (2, 2)), change]


@sparse_adadelta.everywhere
def launch_sparse_adadelta(call: Call) -> list[Launch]:
    """Check the indices, then update their rows."""
    outputs = (flat(y) for y in call.outputs)
    dtype = call.outputs[0].dtype
    numbers = (dtype.type(a) for a in (call.args.epsilon, call.args.decay))
    indices, *others = (flat(x) for x in call.inputs[3:])
    rows, width = call.inputs[0].shape[0], row_width(call, 0)
    arrays = (*outputs, indices, *others, *numbers)
    change = update.launch_rows(update.sparse_adadelta, indices, rows, width, *arrays)
    return [check_rows(call, 3, 0), *change]


# ---------------------------------------------------------------- Ftrl

FTRL = {
    "alpha": Arg(float, 0.005, "the rate, unless it is an input"),
    "beta": Arg(float, 1.0, "what is added to the root of n"),
    "lambda1": Arg(float, 0.001, "how strongly parameters are pulled to exactly 0"),
    "lambda2": Arg(float, 0.001, "how strongly parameters are pulled toward 0"),
}
_FTRL = """
Follow the regularised leader, with n and z of each parameter side by side in n_z:
z = z + grad - (sqrt(n + grad^2) - sqrt(n)) / alpha * var; n = n + grad^2;
var = (sign(z) * lambda1 - z) / ((beta + sqrt(n)) / alpha + lambda2), or 0 where |z| <= lambda1.
`alpha` may be an input, which is read in every run, or an argument, not both.
"""


def _check_ftrl(query: Query, grad: int) -> None:
    require_floats(query, 0, 1, grad)
    size = numel(query, 0)
    require_size(query, 1, None if size is None else 2 * size, "two for each of input 0 'var'")
    if len(query.inputs) > grad + 1:
        if "alpha" in query.args.given:
            raise ArgumentError("argument 'alpha' and an input exclude each other")
        require_one(query, grad + 1)


def _check_dense_ftrl(query: Query) -> None:
    _check_ftrl(query, 2)
    require_same_size(query, 0, 2)


def _check_sparse_ftrl(query: Query) -> None:
    _check_ftrl(query, 3)
    require_rows(query, 0, 2, 3)


def _alpha(call: Call, index: int) -> Array:
    """The rate, where a kernel reads it: an input, or the argument."""
    if len(call.inputs) > index:
        return flat(call.inputs[index])
    return np.array([call.args.alpha], call.inputs[0].dtype)


ftrl = operator(
    "Ftrl",
    "var, n_z, grad, alpha? -> output_var, output_n_z",
    infer=outputs_like(0, 1, check=_check_dense_ftrl),
    inplace={0: 0, 1: 1},
    gradient=NO_GRADIENT,
    doc=_FTRL,
    example="""
    var = [0]; n_z = [[0, 0]]; grad = [2]; alpha = 0.1; lambda1 = lambda2 = 0
    output_var = [-0.0667]; output_n_z = [[4, 2]]
    """,
    arguments=FTRL,
)

sparse_ftrl = operator(
    "SparseFtrl",
    "var, n_z, indices, grad, alpha? -> output_var, output_n_z",
    infer=outputs_like(0, 1, check=_check_sparse_ftrl),
    enforced={0: 0, 1: 1},
    gradient=NO_GRADIENT,
    doc=f"{_FTRL.strip()}\n{SPARSE_DOC.strip()}",
    example="""
    var = [0, 0]; n_z = [[0, 0], [0, 0]]; indices = [1]; grad = [2]; alpha = 0.1; lambda1 = 0
    output_var = [0, -0.0667]; output_n_z = [[0, 0], [4, 2]]
    """,
    arguments=FTRL,
)


@ftrl.everywhere
def launch_ftrl(call: Call) -> list[Launch]:
    """Copies first, then everything in place."""
    var, n_z = (flat(y) for y in call.outputs)
    args, dtype = call.args, var.dtype
    numbers = (dtype.type(a) for a in (args.beta, args.lambda1, args.lambda2))
    arrays = (var, n_z, flat(call.inputs[2]), _alpha(call, 3))
    change = update.launch_elements(update.ftrl, var.size, *arrays, *numbers)
    return [*begin(call, (0, 0), (1, 1)), change]


@sparse_ftrl.everywhere
def launch_sparse_ftrl(call: Call) -> list[Launch]:
    """Check the indices, then update their rows."""
    var, n_z = (flat(y) for y in call.outputs)
    indices, grad = (flat(x) for x in call.inputs[2:4])
    args, dtype = call.args, var.dtype
    numbers = (dtype.type(a) for a in (args.beta, args.lambda1, args.lambda2))
    rows, width = call.inputs[0].shape[0], row_width(call, 0)
    arrays = (var, n_z, indices, grad, _alpha(call, 4), *numbers)
    change = update.launch_rows(update.sparse_ftrl, indices, rows, width, *arrays)
    return [check_rows(call, 2, 0), *change]
