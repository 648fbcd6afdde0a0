"""Rows: activations."""

import numpy as np

from caffe2py.errors import ArgumentError, ArityError, DTypeError, InplaceError, ShapeError
from caffe2py.testing import Bad, Case, Sample, elementwise_samples, uniform

F4 = np.ones((2, 3), np.float32)
F8 = np.ones((2, 3), np.float64)


def _sigmoid(x):
    return 1 / (1 + np.exp(-x))


def _elu(x, alpha=1.0):
    return np.where(x < 0, alpha * np.expm1(x), x).astype(x.dtype)


def _elu_gradient(y, dy, alpha=1.0):
    return np.where(y < 0, dy * (y + np.float32(alpha)), dy)


def _leaky(x, alpha=0.01):
    return np.where(x < 0, x * x.dtype.type(alpha), x)


def _leaky_gradient(y, dy, alpha=0.01):
    return np.where(y < 0, dy * dy.dtype.type(alpha), dy)


def _slopes(x, slope, order="NCHW"):
    """The slopes in a shape that numpy repeats along X."""
    if slope.size == 1:
        return slope.reshape(())
    return slope.reshape([1, -1] + [1] * (x.ndim - 2)) if order == "NCHW" else slope.reshape(-1)


def _prelu(x, slope, **args):
    return np.where(x > 0, x, x * _slopes(x, slope, **args))


def _prelu_gradient(y, dy, x, slope, order="NCHW"):
    dx = np.where(x > 0, dy, dy * _slopes(x, slope, order))
    terms = np.where(x > 0, np.zeros_like(x), x * dy)
    if slope.size == 1:
        return dx, terms.sum(dtype=x.dtype).reshape(slope.shape)
    axis = 1 if order == "NCHW" else x.ndim - 1
    others = tuple(k for k in range(x.ndim) if k != axis)
    return dx, terms.sum(axis=others, dtype=x.dtype).reshape(slope.shape)


#: shapes of X and Slope, arguments
PRELUS = [
    ((2, 3), (3,), {}),
    ((2, 3), (1,), {}),
    ((7,), (1,), {}),
    ((), (), {}),
    ((4, 3, 5), (3,), {}),
    ((2, 3, 5, 13), (3,), {}),
    ((2, 3, 4, 5), (5,), {"order": "NHWC"}),
    ((7,), (7,), {"order": "NHWC"}),
    ((0, 3), (3,), {}),
    ((2, 3, 0), (3,), {"order": "NCHW"}),
]


def _prelu_samples(rng):
    draw = uniform(-2, 2, away_from=0)
    for dtype in map(np.dtype, ("float32", "float64")):
        for x, slope, args in PRELUS:
            yield Sample([draw(rng, x, dtype), draw(rng, slope, dtype)], args)


def _prelu_gradients(rng):
    for sample in _prelu_samples(rng):
        x, slope = sample.inputs
        dy = uniform(-2, 2)(rng, x.shape, x.dtype)
        yield Sample([_prelu(x, slope, **sample.args), dy, x, slope], sample.args, 2)


ALPHAS = ({}, {"alpha": 0.3}, {"alpha": 1.5}, {"alpha": 0.0})


def unary_errors():
    return [
        Bad([F8], DTypeError, "input 0 'X' is float64; supported: float32"),
        Bad([F4, F4], ArityError, r"expected 1 input\(s\) \(X\), found 2"),
        Bad([F4], ArityError, r"expected 1 output\(s\) \(Y\), found 2", outputs=2),
    ]


def gradient_errors():
    return [
        Bad([F4, F8], DTypeError, "'dY' is float64"),
        Bad([F4, F4[:1]], ShapeError, r"'Y' is \(2,3\), input 1 'dY' is \(1,3\)"),
        Bad([F4], ArityError, "expected 2"),
    ]


CASES = [
    Case(
        "Relu",
        lambda x: np.maximum(x, 0),
        elementwise_samples(uniform(-2, 2, away_from=0)),
        bad=unary_errors(),
    ),
    Case(
        "ReluGradient",
        lambda y, dy: np.where(y > 0, dy, np.zeros_like(dy)),
        elementwise_samples(uniform(-1, 1), uniform(-2, 2)),
        bad=gradient_errors(),
    ),
    Case(
        "Sigmoid",
        _sigmoid,
        elementwise_samples(uniform(-8, 8)),
        bad=unary_errors(),
    ),
    Case(
        "SigmoidGradient",
        lambda y, dy: dy * y * (1 - y),
        elementwise_samples(uniform(0, 1), uniform(-2, 2)),
        bad=gradient_errors(),
    ),
    Case(
        "Tanh",
        np.tanh,
        elementwise_samples(uniform(-4, 4)),
        bad=[
            Bad([F8], DTypeError, "input 0 'input' is float64; supported: float32"),
            Bad([F4, F4], ArityError, "expected 1"),
        ],
    ),
    Case(
        "TanhGradient",
        lambda y, dy: dy * (1 - y * y),
        elementwise_samples(uniform(-1, 1), uniform(-2, 2)),
        bad=gradient_errors(),
    ),
    Case(
        "Elu",
        _elu,
        elementwise_samples(uniform(-4, 4, away_from=0), args=ALPHAS),
        bad=[*unary_errors(), Bad([F4], ArgumentError, "'alpha'", args={"alpha": "a"})],
    ),
    Case(
        "EluGradient",
        _elu_gradient,
        elementwise_samples(uniform(-1, 3), uniform(-2, 2), args=ALPHAS),
        bad=gradient_errors(),
    ),
    Case(
        "LeakyRelu",
        _leaky,
        elementwise_samples(uniform(-4, 4, away_from=0), args=ALPHAS),
        bad=[*unary_errors(), Bad([F4], ArgumentError, "'alpha'", args={"alpha": "a"})],
    ),
    Case(
        "LeakyReluGradient",
        _leaky_gradient,
        elementwise_samples(uniform(-2, 2), uniform(-2, 2), args=ALPHAS),
        bad=gradient_errors(),
    ),
    Case(
        "PRelu",
        _prelu,
        _prelu_samples,
        bad=[
            Bad([F4, F8[0]], DTypeError, "must have one type"),
            Bad([F4 > 0, F4[0] > 0], DTypeError, "is bool; supported: float32, float64"),
            Bad([F4, F4[0, :2]], ShapeError, "'Slope' must have 1 element or 3"),
            Bad([F4, F4[0]], ArgumentError, "NCHW or NHWC", args={"order": "CHWN"}),
            Bad([F4, F4[0]], InplaceError, "does not allow", same=[(1, 0)]),
            Bad([F4], ArityError, "expected 2"),
        ],
    ),
    Case(
        "PReluGradient",
        _prelu_gradient,
        _prelu_gradients,
        bad=[
            Bad([F4, F4, F4, F4[0, :2]], ShapeError, "'Slope' must have", outputs=2),
            Bad([F4, F4[:1], F4, F4[0]], ShapeError, "one shape", outputs=2),
            Bad([F4, F8, F4, F4[0]], DTypeError, "one type", outputs=2),
            Bad([F4, F4, F4], ArityError, "expected 4", outputs=2),
        ],
        tolerance=1e-5,
        tolerance_reason="sums of up to 260 float32 products",
    ),
]
