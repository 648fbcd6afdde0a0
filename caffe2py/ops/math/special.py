"""Roots, cubes, the error function, the logit."""

from __future__ import annotations

from caffe2py.kernels.elementwise import FLOATS, NUMERIC, elementwise
from caffe2py.kernels.library import third_root
from caffe2py.kernels.vectormath import erf, exp, log, rsqrt
from caffe2py.registry.schema import Arg


@elementwise(
    "Cube",
    "X -> Y",
    dtypes=NUMERIC,
    gradient="CubeGradient(dY, X) -> dX",
    example="""
    X = [2, -3]
    Y = [8, -27]
    """,
)
def cube(x):
    """Y = X^3"""
    return x * x * x


@elementwise("CubeGradient", "dY, X -> dX", dtypes=NUMERIC)
def cube_gradient(dy, x):
    """dX = 3 * dY * X^2"""
    return 3 * dy * x * x


@elementwise(
    "Cbrt",
    "X -> Y",
    dtypes=FLOATS,
    inplace={0: 0},
    gradient="CbrtGradient(dY, Y) -> dX",
    example="""
    X = [8, -27]
    Y = [2, -3]
    """,
)
def cube_root(x):
    """Y = the cube root of X, of negative numbers, too."""
    return third_root(x)


@elementwise("CbrtGradient", "dY, Y -> dX", dtypes=FLOATS, inplace={0: 0})
def cube_root_gradient(dy, y):
    """dX = dY / (3 * Y^2)"""
    return dy / (3 * y * y)


@elementwise(
    "Rsqrt",
    "X -> Y",
    dtypes=FLOATS,
    inplace={0: 0},
    gradient="RsqrtGradient(dY, Y) -> dX",
    example="""
    X = [4, 0.25]
    Y = [0.5, 2]
    """,
)
def reciprocal_root(x):
    """Y = 1 / sqrt(X); inf for 0, NaN for negative numbers."""
    return rsqrt(x)


@elementwise("RsqrtGradient", "dY, Y -> dX", dtypes=FLOATS, inplace={0: 0})
def reciprocal_root_gradient(dy, y):
    """dX = -dY * Y^3 / 2"""
    return dy * (-0.5 * y * y * y)


@elementwise(
    "Erf",
    "input -> output",
    dtypes=FLOATS,
    gradient="ErfGradient(input, doutput) -> dinput",
    example="""
    input = [0, 1]
    output = [0, 0.8427]
    """,
)
def error_function(x):
    """Output = 2 / sqrt(pi) * the integral of exp(-t^2) over t from 0 to the input."""
    return erf(x)


@elementwise("ErfGradient", "X, dY -> dX", dtypes=FLOATS)
def error_function_gradient(x, dy):
    """dX = dY * 2 / sqrt(pi) * exp(-X^2)"""
    return 1.1283791670955126 * dy * exp(-(x * x))


EPS = {"eps": Arg(float, 1e-6, "X is taken as no less than this, and no more than 1 minus this")}


@elementwise(
    "Logit",
    "X -> Y",
    dtypes=FLOATS,
    arguments=EPS,
    inplace={0: 0},
    gradient="LogitGradient(X, dY) -> dX",
    example="""
    X = [0.5, 0.8808]
    Y = [0, 2]
    """,
)
def logit(x, eps):
    """Y = log(p / (1 - p)) for p = X limited to [`eps`, 1 - `eps`]: the inverse of Sigmoid."""
    p = eps if x < eps else x
    p = 1 - eps if p > 1 - eps else p
    return log(p / (1 - p))


@elementwise("LogitGradient", "X, dY -> dX", dtypes=FLOATS, arguments=EPS)
def logit_gradient(x, dy, eps):
    """dX = dY / (X * (1 - X)) where X is in [`eps`, 1 - `eps`], 0 elsewhere."""
    return 0 if x < eps or x > 1 - eps else dy / (x * (1 - x))
