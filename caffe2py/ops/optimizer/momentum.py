"""Gradient descent with momentum."""

from __future__ import annotations

from caffe2py.kernels import update
from caffe2py.ops.optimizer.common import (
    NO_GRADIENT,
    SPARSE_DOC,
    begin,
    check_rows,
    flat,
    outputs_like,
    require_floats,
    require_one,
    require_rows,
    require_same_size,
    row_width,
)
from caffe2py.registry.context import Call, Launch
from caffe2py.registry.infer import Query
from caffe2py.registry.operator import operator
from caffe2py.registry.schema import Arg

ARGUMENTS = {
    "momentum": Arg(float, 0.0, "how much of the last step is kept"),
    "nesterov": Arg(bool, False, "look ahead: the step is m + momentum * (m - the last m)"),
}
_FORMULA = """
m = momentum * m + lr * grad, and the step is m, or with `nesterov` m + momentum * (m - the last m).
"""


def _check(query: Query) -> None:
    tensors = (0, 1, 3) if len(query.inputs) == 4 else (0, 1)
    require_floats(query, *tensors)
    require_one(query, 2)
    require_same_size(query, *tensors)


def _launch(call: Call, launches: list[Launch]) -> list[Launch]:
    step, moment = (flat(y) for y in call.outputs[:2])
    # without a parameter there is an array of none
    param = flat(call.outputs[2]) if len(call.outputs) == 3 else step[:0]
    lr = flat(call.inputs[2])
    factor = step.dtype.type(call.args.momentum)
    args = (step, moment, lr, param, factor, call.args.nesterov)
    return [*launches, update.launch_elements(update.momentum_sgd, step.size, *args)]


momentum_sgd = operator(
    "MomentumSGD",
    "grad, moment, lr -> output_grad, output_moment",
    infer=outputs_like(0, 1, check=_check),
    inplace={0: 0, 1: 1},
    gradient=NO_GRADIENT,
    doc=f"""
    The step that gradient descent with momentum makes, as output_grad; parameters are left alone.
    {_FORMULA.strip()} `lr` is one number, positive for descent by subtraction.
    """,
    example="""
    grad = [1, 2]; moment = [0, 1]; lr = [0.1]; momentum = 0.5
    output_grad = output_moment = [0.1, 0.7]
    """,
    arguments=ARGUMENTS,
)


@momentum_sgd.everywhere
def launch_step(call: Call) -> list[Launch]:
    """Both outputs from the inputs."""
    return _launch(call, begin(call, (0, 0), (1, 1)))


momentum_sgd_update = operator(
    "MomentumSGDUpdate",
    "grad, moment, lr, param -> output_grad, output_moment, output_param",
    infer=outputs_like(0, 1, 3, check=_check),
    inplace={0: 0, 1: 1, 3: 2},
    gradient=NO_GRADIENT,
    doc=f"""
    Gradient descent with momentum: param = param - step, and output_grad is the step.
    {_FORMULA.strip()} `lr` is one number, positive for descent. Caffe2 leaves an output_param that
    is not param itself undefined; here it is param - step, too.
    """,
    example="""
    grad = [1, 2]; moment = [0, 1]; lr = [0.1]; param = [1, 1]; momentum = 0.5
    output_grad = output_moment = [0.1, 0.7]; output_param = [0.9, 0.3]
    """,
    arguments=ARGUMENTS,
)


@momentum_sgd_update.everywhere
def launch_update(call: Call) -> list[Launch]:
    """All three outputs from the inputs."""
    return _launch(call, begin(call, (0, 0), (1, 1), (3, 2)))


def _check_sparse(query: Query) -> None:
    require_floats(query, 0, 1, 3)
    require_one(query, 2)
    require_same_size(query, 3, 1)
    require_rows(query, 3, 4, 0)


sparse_momentum_sgd = operator(
    "SparseMomentumSGDUpdate",
    "grad, moment, lr, param, indices -> output_grad, output_moment, output_param",
    infer=outputs_like(0, 1, 3, check=_check_sparse),
    inplace={0: 0},
    enforced={1: 1, 3: 2},
    gradient=NO_GRADIENT,
    doc=f"""
    Gradient descent with momentum on some rows: param = param - step, output_grad is the step.
    {_FORMULA.strip()} `lr` is one number, positive for descent.
    {SPARSE_DOC.strip()}
    """,
    example="""
    grad = [[1, 2]]; moment = [[0, 0], [0, 1]]; lr = [0.1]; param = [[1, 1], [1, 1]]; indices = [1]
    output_moment = [[0, 0], [0.1, 0.2]]; output_param = [[1, 1], [0.9, 0.8]]
    """,
    arguments=ARGUMENTS,
)


@sparse_momentum_sgd.everywhere
def launch_sparse(call: Call) -> list[Launch]:
    """Check the indices, then update their rows."""
    step, moment, param = (flat(y) for y in call.outputs)
    factor = step.dtype.type(call.args.momentum)
    lr, indices = flat(call.inputs[2]), flat(call.inputs[4])
    rows, width = call.inputs[3].shape[0], row_width(call, 3)
    arrays = (step, moment, lr, param, indices, factor, call.args.nesterov)
    change = update.launch_rows(update.sparse_momentum_sgd, indices, rows, width, *arrays)
    return [check_rows(call, 4, 3), *begin(call, (0, 0)), *change]
