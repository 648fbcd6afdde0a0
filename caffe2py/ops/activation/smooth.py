"""Smooth activations: Selu, Softplus, Softsign, Swish, Mish, Gelu."""

from __future__ import annotations

from typing import Any

from caffe2py.kernels.elementwise import FLOATS, elementwise, launch_map
from caffe2py.kernels.elementwise import ScalarFunction as Function
from caffe2py.kernels.vectormath import erfc, exp, expm1, log1p, sigmoid, tanh
from caffe2py.registry.context import Call, Launch
from caffe2py.registry.infer import Query, require_dtype, require_same_dtype, require_same_shape
from caffe2py.registry.operator import operator
from caffe2py.registry.schema import Arg
from caffe2py.tensor.types import TensorType

SELU = {
    "alpha": Arg(float, 1.6732632423543772, "minus the limit for small X, before the scale"),
    "scale": Arg(float, 1.0507009873554805, "the slope where X > 0"),
}


@elementwise(
    "Selu",
    "X -> Y",
    dtypes=FLOATS,
    arguments=SELU,
    inplace={0: 0},
    gradient="SeluGradient(Y, dY) -> dX",
    onnx="Selu",
    example="""
    X = [-1, 0, 2]
    Y = [-1.1113, 0, 2.1014]
    """,
)
def selu(x, alpha, scale):
    """Y = `scale` * X where X > 0, `scale` * `alpha` * (exp(X) - 1) elsewhere."""
    return scale * x if x > 0 else scale * alpha * expm1(x)


@elementwise(
    "SeluGradient",
    "Y, dY -> dX",
    dtypes=FLOATS,
    reshapes=True,
    arguments=SELU,
    inplace={1: 0},
)
def selu_gradient(y, dy, alpha, scale):
    """dX = `scale` * dY where Y > 0, dY * (Y + `scale` * `alpha`) elsewhere."""
    return scale * dy if y > 0 else dy * (y + scale * alpha)


@elementwise(
    "Softplus",
    "X -> Y",
    dtypes=FLOATS,
    inplace={0: 0},
    gradient="SoftplusGradient(Y, dY) -> dX",
    onnx="Softplus",
    example="""
    X = [-2, 0, 3]
    Y = [0.1269, 0.6931, 3.0486]
    """,
)
def softplus(x):
    """Y = ln(1 + exp(X)), computed so that it does not overflow (in Caffe2 it does above 88)."""
    return max(x, 0) + log1p(exp(-abs(x)))


@elementwise("SoftplusGradient", "Y, dY -> dX", dtypes=FLOATS, reshapes=True, inplace={1: 0})
def softplus_gradient(y, dy):
    """dX = dY * (1 - exp(-Y))"""
    return -dy * expm1(-y)


@elementwise(
    "Softsign",
    "input -> output",
    dtypes=FLOATS,
    inplace={0: 0},
    gradient="SoftsignGradient(input, doutput) -> dinput",
    onnx="Softsign",
    example="""
    input = [-1, 0, 3]
    output = [-0.5, 0, 0.75]
    """,
)
def softsign(x):
    """Output = input / (1 + |input|)"""
    return x / (1 + abs(x))


@elementwise("SoftsignGradient", "input, dY -> output", dtypes=FLOATS, inplace={1: 0})
def softsign_gradient(x, dy):
    """Output = dY / (1 + |input|)^2"""
    size = 1 + abs(x)
    return dy / (size * size)


@elementwise(
    "Swish",
    "X -> Y",
    dtypes=FLOATS,
    gradient="SwishGradient(X, Y, dY) -> dX",
    example="""
    X = [-1, 0, 2]
    Y = [-0.2689, 0, 1.7616]
    """,
)
def swish(x):
    """Y = X / (1 + exp(-X))"""
    return x * sigmoid(x)


@elementwise("SwishGradient", "X, Y, dY -> dX", dtypes=FLOATS, inplace={2: 0})
def swish_gradient(x, y, dy):
    """dX = dY * (Y + (1 - Y) / (1 + exp(-X)))"""
    return dy * (y + (1 - y) * sigmoid(x))


def _mish_factor(x):
    """tanh(ln(1 + e)) = ((1 + e)^2 - 1) / ((1 + e)^2 + 1) for e = exp(x); 1 from 20 on."""
    e = exp(20 if x > 20 else x)
    above = e * (e + 2)
    return above / (above + 2)


@elementwise(
    "Mish",
    "X -> Y",
    dtypes=FLOATS,
    gradient="MishGradient(X, Y, dY) -> dX",
    example="""
    X = [-1, 0, 2]
    Y = [-0.3034, 0, 1.944]
    """,
)
def mish(x):
    """Y = X * tanh(ln(1 + exp(X)))"""
    return x * _mish_factor(x)


@elementwise("MishGradient", "X, Y, dY -> dX", dtypes=FLOATS)
def mish_gradient(x, y, dy):
    """dX = dY * (t + X * (1 - t^2) / (1 + exp(-X))), where t = tanh(ln(1 + exp(X))); Y is not read.

    Y / X would be t, but not where X is 0.
    """
    t = _mish_factor(x)
    return dy * (t + x * (1 - t * t) * sigmoid(x))


# ---------------------------------------------------------------- Gelu

FAST = {"fast_gelu": Arg(bool, False, "the approximation with tanh, off by up to 0.0005")}


def _exact(x):
    return 0.5 * x * erfc(-0.7071067811865476 * x)


def _fast(x):
    return 0.5 * x * (1 + tanh(0.7978845608028654 * (x + 0.044715 * x * x * x)))


def _exact_gradient(dy, x):
    share = 0.5 * erfc(-0.7071067811865476 * x)
    return dy * (share + 0.3989422804014327 * x * exp(-0.5 * x * x))


def _fast_gradient(dy, x):
    t = tanh(0.7978845608028654 * (x + 0.044715 * x * x * x))
    slope = 0.7978845608028654 * (1 + 0.134145 * x * x)
    return 0.5 * dy * (1 + t + x * slope * (1 - t * t))


def _infer(query: Query) -> list[TensorType]:
    indices = range(len(query.inputs))
    for index in indices:
        require_dtype(query, index, *FLOATS)
    require_same_dtype(query, *indices)
    return [TensorType(query.inputs[0].dtype, require_same_shape(query, *indices))]


def _declare(
    name: str, signature: str, exact: Function, fast: Function, doc: str, **more: Any
) -> None:
    made = operator(name, signature, infer=_infer, identical=True, arguments=FAST, doc=doc, **more)

    @made.everywhere
    def launch(call: Call) -> Launch:
        return launch_map(fast if call.args.fast_gelu else exact, call.inputs, call.outputs[0])


_declare(
    "Gelu",
    "X -> Y",
    _exact,
    _fast,
    """
    Y = X * Phi(X), where Phi(X) = (1 + erf(X / sqrt(2))) / 2 is the share of a normal distribution
    below X. With `fast_gelu` Phi(X) is (1 + tanh(sqrt(2 / pi) * (X + 0.044715 * X^3))) / 2.
    """,
    gradient="GeluGradient(dY, X) -> dX",
    example="""
    X = [-1, 0, 2]
    Y = [-0.1587, 0, 1.9545]
    """,
)
_declare(
    "GeluGradient",
    "dY, X -> dX",
    _exact_gradient,
    _fast_gradient,
    """
    dX = dY * (Phi(X) + X * exp(-X^2 / 2) / sqrt(2 * pi)); with `fast_gelu` dY times the derivative
    of the approximation.
    """,
)
