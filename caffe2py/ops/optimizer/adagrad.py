"""Adagrad: rates that shrink with the squares of all gradients so far."""

from __future__ import annotations

from collections.abc import Sequence

from caffe2py.errors import ArgumentError
from caffe2py.kernels import update
from caffe2py.kernels.jit import Kernel
from caffe2py.ops.optimizer.common import (
    NO_GRADIENT,
    RATE_DOC,
    SPARSE_DOC,
    begin,
    check_rows,
    flat,
    optional_output,
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

EPSILON = Arg(float, 1e-5, "added to the root, against division by zero")
WEIGHT_DECAY = Arg(float, 0.0, "so much of the parameter is added to its gradient")


def _check(query: Query) -> None:
    require_floats(query, 0, 1, 2)
    require_same_size(query, 0, 1, 2)
    require_dtype(query, 3, "float32", "float64")
    require_some(query, 3)


adagrad = operator(
    "Adagrad",
    "param, moment, grad, lr -> output_param, output_moment, output_effective_lr?, output_update?",
    infer=outputs_like(0, 1, 2, 2, check=_check),
    inplace={0: 0, 1: 1},
    gradient=NO_GRADIENT,
    epsilon=EPSILON,
    decay=Arg(float, 1.0, "how much of the moment is kept"),
    weight_decay=WEIGHT_DECAY,
    doc=f"""
    g = grad + weight_decay * param; moment = decay * moment + g * g;
    effective_lr = lr / (sqrt(moment) + epsilon); update = effective_lr * g; param = param + update.
    {RATE_DOC.strip()}
    """,
    example="""
    param = [1, 1]; moment = [0, 9]; grad = [2, 4]; lr = [-0.1]
    output_param = [0.9, 0.92]; output_moment = [4, 25]
    """,
)


@adagrad.everywhere
def launch_dense(call: Call) -> list[Launch]:
    """Copies first, then everything in place."""
    param, moment = (flat(y) for y in call.outputs[:2])
    grad, lr = flat(call.inputs[2]), flat(call.inputs[3])[:1]
    dtype, args = param.dtype, call.args
    rates, steps = (optional_output(call, k, dtype) for k in (2, 3))
    numbers = (dtype.type(a) for a in (args.epsilon, args.decay, args.weight_decay))
    arrays = (param, moment, grad, lr, rates, steps)
    change = update.launch_elements(update.adagrad, param.size, *arrays, *numbers)
    return [*begin(call, (0, 0), (1, 1)), change]


# ---------------------------------------------------------------- some rows


def _check_sparse(query: Query) -> None:
    if getattr(query.args, "decay", 1.0) != 1.0:
        raise ArgumentError(f"decay must be 1, found {query.args.decay}")
    require_floats(query, 0, 1, 3)
    require_one(query, 4)
    require_same_size(query, 0, 1)
    require_rows(query, 0, 2, 3)


def _check_row_wise(query: Query) -> None:
    require_floats(query, 0, 1, 3)
    require_one(query, 4)
    require_rows(query, 0, 2, 3)
    rows = query.inputs[0].shape
    if rows:
        require_size(query, 1, rows[0], "one for each row of input 0 'param'")


sparse_adagrad = operator(
    "SparseAdagrad",
    "param, moment, indices, grad, lr -> output_param, output_moment_1",
    infer=outputs_like(0, 1, check=_check_sparse),
    enforced={0: 0, 1: 1},
    gradient=NO_GRADIENT,
    epsilon=EPSILON,
    weight_decay=WEIGHT_DECAY,
    decay=Arg(float, 1.0, "must be 1"),
    doc=f"""
    Adagrad on some rows: g = grad + weight_decay * param; moment = moment + g * g;
    param = param + lr * g / (sqrt(moment) + epsilon). {RATE_DOC.strip()}
    {SPARSE_DOC.strip()}
    """,
    example="""
    param = [[1, 1], [1, 1]]; moment = [[0, 0], [0, 9]]; indices = [1]; grad = [[2, 4]]; lr = [-0.1]
    output_param = [[1, 1], [0.9, 0.92]]; output_moment_1 = [[0, 0], [4, 25]]
    """,
)

row_wise_sparse_adagrad = operator(
    "RowWiseSparseAdagrad",
    "param, moment, indices, grad, lr -> output_param, output_moment_1",
    infer=outputs_like(0, 1, check=_check_row_wise),
    enforced={0: 0, 1: 1},
    gradient=NO_GRADIENT,
    epsilon=EPSILON,
    weight_decay=WEIGHT_DECAY,
    doc=f"""
    Adagrad on some rows, with one moment a row: g = grad + weight_decay * param;
    moment = moment + mean(g * g); param = param + lr * g / (sqrt(moment) + epsilon).
    {RATE_DOC.strip()} {SPARSE_DOC.strip()}
    """,
    example="""
    param = [[1, 1], [1, 1]]; moment = [0, 6]; indices = [1]; grad = [[2, 4]]; lr = [-0.1]
    output_param = [[1, 1], [0.95, 0.9]]; output_moment_1 = [0, 16]
    """,
)


def _launches(call: Call, loop: Kernel) -> Sequence[Launch]:
    param, moment = (flat(y) for y in call.outputs)
    indices, grad, lr = (flat(x) for x in call.inputs[2:])
    numbers = (param.dtype.type(a) for a in (call.args.epsilon, call.args.weight_decay))
    rows, width = call.inputs[0].shape[0], row_width(call, 0)
    arrays = (param, moment, indices, grad, lr)
    change = update.launch_rows(loop, indices, rows, width, *arrays, *numbers)
    return [check_rows(call, 2, 0), *change]


@sparse_adagrad.everywhere
def launch_sparse(call: Call) -> Sequence[Launch]:
    """Check the indices, then update their rows."""
    return _launches(call, update.sparse_adagrad)


@row_wise_sparse_adagrad.everywhere
def launch_row_wise(call: Call) -> Sequence[Launch]:
    """Check the indices, then update their rows."""
    return _launches(call, update.row_wise_adagrad)
