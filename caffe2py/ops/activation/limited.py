"""Activations that are straight between corners: HardSigmoid, ReluN, ThresholdedRelu."""

from __future__ import annotations

from caffe2py.kernels.elementwise import FLOATS, elementwise
from caffe2py.registry.schema import Arg

ALPHA = Arg(float, 0.2, "the slope between 0 and 1")


@elementwise(
    "HardSigmoid",
    "X -> Y",
    dtypes=FLOATS,
    inplace={0: 0},
    gradient="HardSigmoidGradient(Y, dY) -> dX",
    onnx="HardSigmoid",
    alpha=ALPHA,
    beta=Arg(float, 0.5, "Y where X = 0"),
    example="""
    X = [-5, 0, 1]
    Y = [0, 0.5, 0.7]
    """,
)
def hard_sigmoid(x, alpha, beta):
    """Y = max(0, min(1, `alpha` * X + `beta`))"""
    return max(0, min(1, x * alpha + beta))


@elementwise(
    "HardSigmoidGradient",
    "Y, dY -> dX",
    dtypes=FLOATS,
    inplace={1: 0},
    alpha=ALPHA,
    beta=Arg(float, 0.5, "accepted; the slope does not depend on it"),
)
def hard_sigmoid_gradient(y, dy, alpha, beta):
    """dX = dY * `alpha` where 0 < Y < 1, 0 elsewhere."""
    return dy * alpha if y > 0 and y < 1 else 0


LIMIT = {"n": Arg(float, 6.0, "the largest value")}


@elementwise(
    "ReluN",
    "X -> Y",
    dtypes=FLOATS,
    arguments=LIMIT,
    inplace={0: 0},
    gradient="ReluNGradient(Y, dY) -> dX",
    example="""
    X = [-1, 2, 9]
    Y = [0, 2, 6]
    """,
)
def relu_n(x, n):
    """Y = max(0, min(`n`, X))"""
    return max(0, min(n, x))


@elementwise("ReluNGradient", "Y, dY -> dX", dtypes=FLOATS, arguments=LIMIT, inplace={1: 0})
def relu_n_gradient(y, dy, n):
    """dX = dY where 0 < Y < `n`, 0 elsewhere."""
    return dy if y > 0 and y < n else 0


THRESHOLD = Arg(float, 1.0, "the largest X that is cut off")


@elementwise(
    "ThresholdedRelu",
    "X -> Y",
    dtypes=FLOATS,
    inplace={0: 0},
    gradient="ThresholdedReluGradient(Y, dY) -> dX",
    alpha=THRESHOLD,
    example="""
    X = [-1, 0.5, 2]
    Y = [0, 0, 2]
    """,
)
def thresholded_relu(x, alpha):
    """Y = X where X > `alpha`, 0 elsewhere."""
    return x if x > alpha else 0


@elementwise(
    "ThresholdedReluGradient",
    "Y, dY -> dX",
    dtypes=FLOATS,
    reshapes=True,
    inplace={1: 0},
    alpha=THRESHOLD,
)
def thresholded_relu_gradient(y, dy, alpha):
    """dX = dY where Y > 0 (or, with a negative `alpha`, is not 0), 0 elsewhere.

    Caffe2 negates dY where Y < 0, which a negative `alpha` lets through.
    """
    return dy if y > 0 or (alpha < y and y < 0) else 0
