"""Relu, Sigmoid, Tanh, Elu, LeakyRelu."""

from __future__ import annotations

from caffe2py.kernels.elementwise import elementwise
from caffe2py.kernels.vectormath import expm1, sigmoid, tanh
from caffe2py.registry.schema import Arg


@elementwise(
    "Relu",
    "X -> Y",
    inplace={0: 0},
    gradient="ReluGradient(Y, dY) -> dX",
    onnx="Relu",
    example="""
    X = [-1, 0, 2]
    Y = [0, 0, 2]
    """,
)
def relu(x):
    """Y = max(X, 0)"""
    return max(x, 0)


@elementwise("ReluGradient", "Y, dY -> dX", inplace={1: 0})
def relu_gradient(y, dy):
    """dX = dY where Y > 0, 0 elsewhere."""
    return dy if y > 0 else 0


@elementwise(
    "Sigmoid",
    "X -> Y",
    inplace={0: 0},
    gradient="SigmoidGradient(Y, dY) -> dX",
    onnx="Sigmoid",
    example="""
    X = [0, 2]
    Y = [0.5, 0.8808]
    """,
)
def logistic(x):
    """Y = 1 / (1 + exp(-X))"""
    return sigmoid(x)


@elementwise("SigmoidGradient", "Y, dY -> dX", inplace={1: 0})
def sigmoid_gradient(y, dy):
    """dX = dY * Y * (1 - Y)"""
    return dy * y * (1 - y)


@elementwise(
    "Tanh",
    "input -> output",
    inplace={0: 0},
    gradient="TanhGradient(output, doutput) -> dinput",
    onnx="Tanh",
    example="""
    input = [0, 1]
    output = [0, 0.7616]
    """,
)
def hyperbolic_tangent(x):
    """Output = (exp(input) - exp(-input)) / (exp(input) + exp(-input))"""
    return tanh(x)


@elementwise("TanhGradient", "Y, dY -> dX", inplace={1: 0})
def hyperbolic_tangent_gradient(y, dy):
    """dX = dY * (1 - Y * Y)"""
    return dy * (1 - y * y)


ALPHA = Arg(float, 1.0, "minus the limit for small X")


@elementwise(
    "Elu",
    "X -> Y",
    inplace={0: 0},
    gradient="EluGradient(Y, dY) -> dX",
    onnx="Elu",
    alpha=ALPHA,
    example="""
    X = [-2, 0, 3]
    Y = [-0.8647, 0, 3]
    """,
)
def elu(x, alpha):
    """Y = X where X >= 0, `alpha` * (exp(X) - 1) elsewhere."""
    return alpha * expm1(x) if x < 0 else x


@elementwise("EluGradient", "Y, dY -> dX", inplace={1: 0}, alpha=ALPHA)
def elu_gradient(y, dy, alpha):
    """dX = dY where Y >= 0, dY * (Y + `alpha`) elsewhere.

    With `alpha` 0 every X <= 0 has Y = 0: dX is 0 there, as for Relu (Caffe2 passes dY on).
    """
    if y < 0 or (y == 0 and alpha == 0):
        return dy * (y + alpha)
    return dy


SLOPE = Arg(float, 0.01, "the slope where X < 0")


@elementwise(
    "LeakyRelu",
    "X -> Y",
    inplace={0: 0},
    gradient="LeakyReluGradient(Y, dY) -> dX",
    alpha=SLOPE,
    example="""
    X = [-1, 0, 2]
    Y = [-0.01, 0, 2]
    """,
)
def leaky_relu(x, alpha):
    """Y = X where X >= 0, `alpha` * X elsewhere.

    An infinite X gives an infinite Y, except -inf with `alpha` 0 (in Caffe2 both are NaN).
    """
    return x if x >= 0 else alpha * x


@elementwise(
    "LeakyReluGradient", "Y, dY -> dX", inplace={1: 0}, onnx="LeakyReluGradient", alpha=SLOPE
)
def leaky_relu_gradient(y, dy, alpha):
    """dX = dY where Y >= 0, `alpha` * dY elsewhere.

    With `alpha` 0 every X <= 0 has Y = 0: dX is 0 there, as for Relu (Caffe2 passes dY on). An
    infinite dY stays infinite (in Caffe2 it becomes NaN).
    """
    if y > 0 or (y == 0 and alpha != 0):
        return dy
    return alpha * dy
