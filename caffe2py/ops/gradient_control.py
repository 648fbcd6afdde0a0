"""Operators that leave values alone and change what the backward pass makes of them."""

from __future__ import annotations

from caffe2py.kernels.copy import launch_reshaped
from caffe2py.registry.context import Call
from caffe2py.registry.gradient import NoGradient
from caffe2py.registry.infer import same_as
from caffe2py.registry.operator import operator

stop_gradient = operator(
    "StopGradient",
    "X -> Y",
    infer=same_as(0),
    identical=True,
    inplace={0: 0},
    gradient=NoGradient("it is there to end the backward pass"),
    doc="Y = X; no gradient passes from Y to X. Any type.",
    example="""
    X = [1, 2]
    Y = [1, 2]
    """,
)
stop_gradient.everywhere(launch_reshaped)

negate_gradient = operator(
    "NegateGradient",
    "X -> Y",
    infer=same_as(0),
    identical=True,
    inplace={0: 0},
    gradient="Negative(dY) -> dX",
    doc="""
    Y = X, and dX = -dY: what is before this operator is trained against what is behind it. Any
    type.
    """,
    example="""
    X = [1, 2]
    Y = [1, 2]
    """,
)
negate_gradient.everywhere(launch_reshaped)

zero_gradient = operator(
    "ZeroGradient",
    "X -> ",
    gradient="ConstantFill(X; value=0.0) -> dX",
    doc="Does nothing; in the backward pass dX = 0, float32. Any type.",
    example="""
    X = [1, 2]
    """,
)


@zero_gradient.everywhere
def launch_nothing(call: Call) -> None:
    """There is no output."""
