"""Rows: activations."""

import numpy as np

from caffe2py.errors import ArityError, DTypeError, ShapeError
from caffe2py.testing import Bad, Case, elementwise_samples, uniform

F4 = np.ones((2, 3), np.float32)
F8 = np.ones((2, 3), np.float64)


def _sigmoid(x):
    return 1 / (1 + np.exp(-x))


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
]
