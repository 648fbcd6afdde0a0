"""Adam: steps of the mean gradient by the root of the mean square."""

from __future__ import annotations

from caffe2py.kernels import update
from caffe2py.kernels.jit import Kernel
from caffe2py.ops.optimizer.common import (
    NO_GRADIENT,
    RATE_DOC,
    SPARSE_DOC,
    begin,
    check_rows,
    flat,
    host_numbers,
    optional_output,
    outputs_like,
    require_counter,
    require_floats,
    require_one,
    require_rows,
    require_same_size,
    require_size,
    row_width,
)
from caffe2py.registry.context import Call, Launch
from caffe2py.registry.infer import Query
from caffe2py.registry.operator import operator
from caffe2py.registry.schema import Arg
from caffe2py.tensor.tensor import Array

ARGUMENTS = {
    "beta1": Arg(float, 0.9, "how much of moment_1 is kept"),
    "beta2": Arg(float, 0.999, "how much of moment_2 is kept"),
    "epsilon": Arg(float, 1e-5, "added to the root, against division by zero"),
}
_FORMULA = """
moment_1 = beta1 * moment_1 + (1 - beta1) * grad; moment_2 = beta2 * moment_2 + (1 - beta2) *
grad^2; step = c * moment_1 / (sqrt(moment_2) + epsilon) with c = sqrt(1 - beta2^t) / (1 - beta1^t)
and t = iter + 1; param = param + lr * step. The step is the last output, if there is one.
"""


def _check(query: Query) -> None:
    require_floats(query, 0, 1, 2, 3)
    require_one(query, 4)
    require_counter(query, 5)
    require_same_size(query, 0, 1, 2, 3)


adam = operator(
    "Adam",
    "param, moment_1, moment_2, grad, lr, iter "
    "-> output_param, output_moment_1, output_moment_2, output_grad?",
    infer=outputs_like(0, 1, 2, 3, check=_check),
    inplace={0: 0, 1: 1, 2: 2},
    gradient=NO_GRADIENT,
    doc=f"""
    {_FORMULA.strip()}
    {RATE_DOC.strip()} `iter` is an int64 number, read in every run.
    """,
    example="""
    param = [1, 1]; moment_1 = moment_2 = [0, 0]; grad = [2, -4]; lr = [-0.1]; iter = [0]
    output_param = [0.9, 1.1]; output_moment_1 = [0.2, -0.4]; output_moment_2 = [0.004, 0.016]
    """,
    arguments=ARGUMENTS,
)


def _correction(call: Call, iters: Array, *, rectify: bool = False) -> tuple[list[Launch], Array]:
    """What makes up for moments that began at 0, by the number of iterations."""
    dtype, args = call.outputs[0].dtype, call.args
    betas = dtype.type(args.beta1), dtype.type(args.beta2)
    return host_numbers(
        call, 2, dtype, lambda factor: update.correct(flat(iters), *betas, rectify, factor)
    )


def launch_dense(call: Call) -> list[Launch]:
    """Copies first, then everything in place."""
    param, first, second = (flat(y) for y in call.outputs[:3])
    grad, lr = (flat(x) for x in call.inputs[3:5])
    before, correction = _correction(call, call.inputs[5])
    dtype, args = param.dtype, call.args
    steps = optional_output(call, 3, dtype)
    numbers = (dtype.type(a) for a in (args.beta1, args.beta2, args.epsilon))
    arrays = (param, first, second, grad, lr, correction, steps)
    change = update.launch_elements(update.adam, param.size, *arrays, *numbers)
    return [*before, *begin(call, (0, 0), (1, 1), (2, 2)), change]


adam.cpu(launch_dense)
adam.cuda(launch_dense, host_inputs=(5,))

# ---------------------------------------------------------------- some rows


def _check_rows(query: Query) -> None:
    require_floats(query, 0, 1, 2, 4)
    require_one(query, 5)
    require_counter(query, 6)
    require_same_size(query, 0, 1)
    require_rows(query, 0, 3, 4)


def _check_sparse(query: Query) -> None:
    _check_rows(query)
    require_same_size(query, 0, 2)


def _check_row_wise(query: Query) -> None:
    _check_rows(query)
    rows = query.inputs[0].shape
    if rows:
        require_size(query, 2, rows[0], "one for each row of input 0 'param'")


_SIGNATURE = (
    "param, moment_1, moment_2, indices, grad, lr, iter "
    "-> output_param, output_moment_1, output_moment_2, output_grad?"
)

sparse_adam = operator(
    "SparseAdam",
    _SIGNATURE,
    infer=outputs_like(0, 1, 2, 4, check=_check_sparse),
    enforced={0: 0, 1: 1, 2: 2},
    gradient=NO_GRADIENT,
    doc=f"""
    Adam on some rows: {_FORMULA.strip()}

    With `enableRAdam` the step is that of rectified Adam: for r = 2 / (1 - beta2) - 1 and
    rho = r - 2 t beta2^t / (1 - beta2^t) it is multiplied by
    sqrt((rho - 4) (rho - 2) r / ((r - 4) (r - 2) rho)), or moment_1 / (1 - beta1^t) where rho < 5.
    {RATE_DOC.strip()} {SPARSE_DOC.strip()}
    """,
    example="""
    param = [[1, 1], [1, 1]]; moments = 0; indices = [1]; grad = [[2, -4]]; lr = [-0.1]; iter = [0]
    output_param = [[1, 1], [0.9, 1.1]]
    """,
    arguments={
        **ARGUMENTS,
        "enableRAdam": Arg(bool, False, "rectify the variance of the first steps"),
    },
)

row_wise_sparse_adam = operator(
    "RowWiseSparseAdam",
    _SIGNATURE,
    infer=outputs_like(0, 1, 2, 4, check=_check_row_wise),
    enforced={0: 0, 1: 1, 2: 2},
    gradient=NO_GRADIENT,
    doc=f"""
    Adam on some rows, with one moment_2 a row, to which mean(grad^2) goes:
    {_FORMULA.strip()}
    {RATE_DOC.strip()} {SPARSE_DOC.strip()}
    """,
    example="""
    param = [[1, 1], [1, 1]]; moments = 0; indices = [1]; grad = [[1, 7]]; lr = [-0.1]; iter = [0]
    output_param = [[1, 1], [0.98, 0.86]]; output_moment_2 = [0, 0.025]
    """,
    arguments=ARGUMENTS,
)


def _launches(call: Call, rule: Kernel, *, rectify: bool = False) -> list[Launch]:
    param, first, second = (flat(y) for y in call.outputs[:3])
    indices, grad, lr = (flat(x) for x in call.inputs[3:6])
    dtype, args = param.dtype, call.args
    steps = optional_output(call, 3, dtype)
    numbers = (dtype.type(a) for a in (args.beta1, args.beta2, args.epsilon))
    rows, width = call.inputs[0].shape[0], row_width(call, 0)
    before, correction = _correction(call, call.inputs[6], rectify=rectify)
    arrays = (param, first, second, indices, grad, lr, correction, steps)
    return [
        check_rows(call, 3, 0),
        *before,
        *update.launch_rows(rule, indices, rows, width, *arrays, *numbers),
    ]


def launch_sparse(call: Call) -> list[Launch]:
    """Check the indices, then update their rows."""
    return _launches(call, update.sparse_adam, rectify=call.args.enableRAdam)


def launch_row_wise(call: Call) -> list[Launch]:
    """Check the indices, then update their rows."""
    return _launches(call, update.row_wise_adam)


for _operator, _launch in ((sparse_adam, launch_sparse), (row_wise_sparse_adam, launch_row_wise)):
    _operator.cpu(_launch)
    _operator.cuda(_launch, host_inputs=(6,))
