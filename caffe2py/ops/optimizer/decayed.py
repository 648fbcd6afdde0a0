"""Momentum with weight decay built in, in float32 and float16."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from caffe2py.kernels import update, update_whole
from caffe2py.kernels.convert import launch_convert
from caffe2py.ops.optimizer.common import (
    NO_GRADIENT,
    begin,
    flat,
    outputs_like,
    require_one,
    require_same_size,
)
from caffe2py.registry.context import Call, Launch
from caffe2py.registry.infer import Query, require_dtype, require_same_dtype
from caffe2py.registry.operator import operator
from caffe2py.registry.schema import Arg
from caffe2py.tensor.tensor import Array

ARGUMENTS = {
    "momentum": Arg(float, 0.0, "how much of the last step is kept"),
    "weight_decay": Arg(float, 0.0, "how much of the parameter joins its gradient"),
    "nesterov": Arg(int, 0, "not 0: look ahead, the step is m + momentum * (m - the last m)"),
}
_FORMULA = """
m = momentum * m + lr * (grad + weight_decay * param); the step, which goes to output_grad, is m, or
with `nesterov` m + momentum * (m - the last m); param = param - step.
"""
_SLOTS = "grad, moment, lr, param -> output_grad, output_moment, output_param"
_EXAMPLE = """
grad = [1]; moment = [1]; lr = [0.1]; param = [1]; momentum = 0.5; weight_decay = 1
output_grad = output_moment = [0.7]; output_param = [0.3]
"""


def _check(*dtypes: Any) -> Callable[[Query], None]:
    def check(query: Query) -> None:
        for index in (0, 1, 3):
            require_dtype(query, index, *dtypes)
        require_same_dtype(query, 0, 1, 3)
        require_one(query, 2)
        require_same_size(query, 0, 1, 3)

    return check


def _change(call: Call, grad: Array, moment: Array, param: Array) -> Launch:
    args = call.args
    mu, decay = (param.dtype.type(a) for a in (args.momentum, args.weight_decay))
    lr = flat(call.inputs[2])
    own = (grad, moment, lr, param, mu, args.nesterov != 0, decay)
    return update.launch_elements(update_whole.decayed_momentum, grad.size, *own)


in_single = operator(
    "FP32MomentumSGDUpdate",
    _SLOTS,
    infer=outputs_like(0, 1, 3, check=_check("float32", "float64")),
    inplace={0: 0, 1: 1, 3: 2},
    gradient=NO_GRADIENT,
    doc=f"Gradient descent with momentum and weight decay: {_FORMULA.strip()}",
    example=_EXAMPLE,
    arguments=ARGUMENTS,
)


@in_single.everywhere
def launch_single(call: Call) -> list[Launch]:
    """Copies first, then everything in place."""
    change = _change(call, *(flat(y) for y in call.outputs))
    return [*begin(call, (0, 0), (1, 1), (3, 2)), change]


in_half = operator(
    "FP16MomentumSGDUpdate",
    _SLOTS,
    infer=outputs_like(0, 1, 3, check=_check("float16")),
    inplace={0: 0, 1: 1, 3: 2},
    gradient=NO_GRADIENT,
    doc=f"""
    FP32MomentumSGDUpdate for float16 tensors: {_FORMULA.strip()} `lr` is float32. It is computed in
    float32 and rounded once, whatever `fp32_update` says.
    """,
    example=_EXAMPLE,
    arguments={**ARGUMENTS, "fp32_update": Arg(int, 0, "accepted: always done in float32")},
)


@in_half.everywhere
def launch_half(call: Call) -> list[Launch]:
    """To float32, the update, and back."""
    sources = [call.inputs[k] for k in (0, 1, 3)]
    wide = [call.scratch((x.size,), np.float32) for x in sources]
    launches = [
        step for x, y in zip(sources, wide, strict=True) for step in launch_convert(call, x, y)
    ]
    launches.append(_change(call, *wide))
    for x, y in zip(wide, call.outputs, strict=True):
        launches += launch_convert(call, x, y)
    return launches
