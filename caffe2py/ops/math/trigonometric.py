"""Sines, tangents, their inverses, and their hyperbolic relatives."""

from __future__ import annotations

import math

from caffe2py.kernels.elementwise import FLOATS, elementwise


@elementwise(
    "Sin",
    "X -> Y",
    dtypes=FLOATS,
    gradient="SinGradient(X, dY) -> dX",
    example="""
    X = [0, 0.5236]
    Y = [0, 0.5]
    """,
)
def sine(x):
    """Y = sin(X), X in radians; NaN for an infinite X."""
    return math.sin(x)


@elementwise("SinGradient", "X, dY -> dX", dtypes=FLOATS)
def sine_gradient(x, dy):
    """dX = dY * cos(X)"""
    return dy * math.cos(x)


@elementwise(
    "Cos",
    "X -> Y",
    dtypes=FLOATS,
    gradient="CosGradient(X, dY) -> dX",
    example="""
    X = [0, 1.0472]
    Y = [1, 0.5]
    """,
)
def cosine(x):
    """Y = cos(X), X in radians; NaN for an infinite X."""
    return math.cos(x)


@elementwise("CosGradient", "X, dY -> dX", dtypes=FLOATS)
def cosine_gradient(x, dy):
    """dX = -dY * sin(X)"""
    return -dy * math.sin(x)


@elementwise(
    "Tan",
    "input -> output",
    dtypes=FLOATS,
    gradient="TanGradient(input, doutput) -> dinput",
    example="""
    input = [0, 0.7854]
    output = [0, 1]
    """,
)
def tangent(x):
    """Output = tan(input), input in radians; NaN for an infinite input."""
    return math.tan(x)


@elementwise("TanGradient", "X, dY -> dX", dtypes=FLOATS)
def tangent_gradient(x, dy):
    """dX = dY / cos(X)^2"""
    c = math.cos(x)
    return dy / (c * c)


# ---------------------------------------------------------------- inverses


@elementwise(
    "Asin",
    "input -> output",
    dtypes=FLOATS,
    gradient="AsinGradient(input, doutput) -> dinput",
    example="""
    input = [0, 0.5]
    output = [0, 0.5236]
    """,
)
def arc_sine(x):
    """Output = the angle in [-pi/2, pi/2] whose sine is the input; NaN outside of [-1, 1]."""
    return math.asin(x)


@elementwise("AsinGradient", "X, dY -> dX", dtypes=FLOATS)
def arc_sine_gradient(x, dy):
    """dX = dY / sqrt(1 - X^2)"""
    return dy / math.sqrt(1 - x * x)


@elementwise(
    "Acos",
    "input -> output",
    dtypes=FLOATS,
    gradient="AcosGradient(input, doutput) -> dinput",
    example="""
    input = [1, 0.5]
    output = [0, 1.0472]
    """,
)
def arc_cosine(x):
    """Output = the angle in [0, pi] whose cosine is the input; NaN outside of [-1, 1]."""
    return math.acos(x)


@elementwise("AcosGradient", "X, dY -> dX", dtypes=FLOATS)
def arc_cosine_gradient(x, dy):
    """dX = -dY / sqrt(1 - X^2)"""
    return -dy / math.sqrt(1 - x * x)


@elementwise(
    "Atan",
    "input -> output",
    dtypes=FLOATS,
    gradient="AtanGradient(input, doutput) -> dinput",
    example="""
    input = [0, 1]
    output = [0, 0.7854]
    """,
)
def arc_tangent(x):
    """Output = the angle in [-pi/2, pi/2] whose tangent is the input."""
    return math.atan(x)


@elementwise("AtanGradient", "X, dY -> dX", dtypes=FLOATS)
def arc_tangent_gradient(x, dy):
    """dX = dY / (1 + X^2)"""
    return dy / (1 + x * x)


# ---------------------------------------------------------------- hyperbolic


@elementwise(
    "Sinh",
    "input -> output",
    dtypes=FLOATS,
    gradient="SinhGradient(doutput, input) -> dinput",
    onnx="Sinh",
    example="""
    input = [0, 1]
    output = [0, 1.1752]
    """,
)
def hyperbolic_sine(x):
    """Output = (exp(input) - exp(-input)) / 2"""
    return math.sinh(x)


@elementwise("SinhGradient", "dY, X -> dX", dtypes=FLOATS)
def hyperbolic_sine_gradient(dy, x):
    """dX = dY * cosh(X)"""
    return dy * math.cosh(x)


@elementwise(
    "Cosh",
    "input -> output",
    dtypes=FLOATS,
    gradient="CoshGradient(doutput, input) -> dinput",
    onnx="Cosh",
    example="""
    input = [0, 1]
    output = [1, 1.5431]
    """,
)
def hyperbolic_cosine(x):
    """Output = (exp(input) + exp(-input)) / 2"""
    return math.cosh(x)


@elementwise("CoshGradient", "dY, X -> dX", dtypes=FLOATS)
def hyperbolic_cosine_gradient(dy, x):
    """dX = dY * sinh(X)"""
    return dy * math.sinh(x)
