"""Activations: functions of one element."""

from __future__ import annotations

import math

from caffe2py.kernels.elementwise import elementwise


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
def sigmoid(x):
    """Y = 1 / (1 + exp(-X))"""
    return 1 / (1 + math.exp(-x))


@elementwise("SigmoidGradient", "Y, dY -> dX", inplace={1: 0})
def sigmoid_gradient(y, dy):
    """dX = dY * Y * (1 - Y)"""
    return dy * y * (1 - y)
