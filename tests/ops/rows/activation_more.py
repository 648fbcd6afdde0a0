"""Rows: activations that are smooth, limited, or gated."""

import math

import numpy as np

from caffe2py.errors import ArgumentError, ArityError, DTypeError, InplaceError, ShapeError
from caffe2py.testing import Bad, Case, Sample, elementwise_samples, uniform
from tests.ops.rows.functions import BARE, _pair_errors, in_place
from tests.ops.rows.math import wide_errors

FLOATS = ("float32", "float64")
F4 = np.ones((2, 3), np.float32)
I4 = np.ones((2, 3), np.int32)
DY = uniform(-2, 2)
ANY = uniform(-4, 4)


def _as(x, y):
    return np.asarray(y).astype(x.dtype)


def _sigmoid(x):
    return 1 / (1 + np.exp(-x))


def _erf(x):
    return np.vectorize(math.erf, otypes=[np.float64])(x) if x.size else np.zeros(x.shape)


def _forward(name, ref, domain, args=({},), bad=()):
    return Case(
        name,
        ref,
        elementwise_samples(domain, dtypes=FLOATS, args=args),
        bad=[*(bad if bad else wide_errors())],
        tolerance=1e-5,
        tolerance_reason=BARE,
        gradient_tolerance=5e-3,
    )


def _backward(name, ref, *domains, args=({},), bad=None):
    return Case(
        name,
        ref,
        elementwise_samples(*domains, dtypes=FLOATS, args=args),
        bad=_pair_errors() if bad is None else bad,
        tolerance=1e-5,
        tolerance_reason=BARE,
    )


def _wrong(argument):
    return Bad([F4], ArgumentError, f"'{argument}'", args={argument: "a"})


def _hard(x, alpha=0.2, beta=0.5):
    return _as(x, np.clip(x.astype(np.float64) * alpha + beta, 0, 1))


def _hard_gradient(y, dy, alpha=0.2, beta=0.5):
    return np.where((y > 0) & (y < 1), dy * dy.dtype.type(alpha), 0).astype(y.dtype)


def _relu_n_gradient(y, dy, n=6.0):
    return np.where((y > 0) & (y < n), dy, 0).astype(y.dtype)


def _thresholded_gradient(y, dy, alpha=1.0):
    return np.where((y > min(alpha, 0)) & (y != 0), dy, 0).astype(y.dtype)


ALPHA, SCALE = 1.6732632423543772, 1.0507009873554805


def _selu(x, alpha=ALPHA, scale=SCALE):
    return _as(x, scale * np.where(x > 0, x, alpha * np.expm1(np.minimum(x, 0))))


def _selu_gradient(y, dy, alpha=ALPHA, scale=SCALE):
    return _as(y, np.where(y > 0, scale * dy, dy * (y + scale * alpha)))


def _mish(x):
    return x * np.tanh(np.log1p(np.exp(x)))


def _mish_gradient(x, y, dy):
    t = np.tanh(np.log1p(np.exp(x)))
    return dy * (t + x * (1 - t * t) * _sigmoid(x))


ROOT = math.sqrt(2 / math.pi)


def _gelu(x, fast_gelu=0):
    if fast_gelu:
        return _as(x, x / 2 * (1 + np.tanh(ROOT * (x + 0.044715 * x**3))))
    return _as(x, x * (1 + _erf(x / math.sqrt(2))) / 2)


def _gelu_gradient(dy, x, fast_gelu=0):
    if fast_gelu:
        t = np.tanh(ROOT * (x + 0.044715 * x**3))
        slope = (1 + t) / 2 + x / 2 * (1 - t * t) * ROOT * (1 + 3 * 0.044715 * x * x)
        return _as(x, dy * slope)
    bell = np.exp(-x * x / 2) / math.sqrt(2 * math.pi)
    return _as(x, dy * ((1 + _erf(x / math.sqrt(2))) / 2 + x * bell))


def _glu(x, dim=-1):
    a, b = np.split(x, 2, axis=dim)
    return a * _sigmoid(b)


def _halves(rng):
    for dtype in FLOATS:
        for shape, args in (
            ((4,), {}),
            ((3, 6), {}),
            ((4, 3), {"dim": 0}),
            ((2, 4, 3, 2), {"dim": 1}),
            ((2, 4, 3), {"dim": -2}),
            ((0, 4), {}),
            ((3, 0), {}),
        ):
            yield Sample([ANY(rng, shape, np.dtype(dtype))], args)


def _limited():
    yield _forward(
        "HardSigmoid",
        _hard,
        uniform(-2.4, 2.4),
        args=({}, {"alpha": 0.1, "beta": 0.3}),
        bad=[*wide_errors(), _wrong("alpha")],
    )
    args = ({}, {"alpha": 3.0})
    yield _backward("HardSigmoidGradient", _hard_gradient, uniform(-1, 2), DY, args=args)
    yield _forward(
        "ReluN",
        lambda x, n=6.0: np.clip(x, 0, x.dtype.type(n)),
        uniform(-4, 4, away_from=0),
        args=({}, {"n": 9.0}),
        bad=[*wide_errors(), _wrong("n")],
    )
    yield _backward("ReluNGradient", _relu_n_gradient, uniform(-2, 8), DY, args=({}, {"n": 1.5}))
    yield _forward(
        "ThresholdedRelu",
        lambda x, alpha=1.0: np.where(x > alpha, x, np.zeros_like(x)),
        uniform(-3, 3, away_from=1),
        args=({}, {"alpha": -9.0}),
        bad=[*wide_errors(), _wrong("alpha")],
    )
    yield _backward(
        "ThresholdedReluGradient",
        _thresholded_gradient,
        uniform(-2, 3),
        DY,
        args=({}, {"alpha": -1.0}),
    )


SELUS = ({}, {"alpha": 1.0, "scale": 2.0})


def _smooth():
    away = uniform(-3, 3, away_from=0)
    yield _forward("Selu", _selu, away, SELUS, bad=[*wide_errors(), _wrong("scale")])
    yield _backward("SeluGradient", _selu_gradient, uniform(-1, 3), DY, args=SELUS)
    yield _forward("Softplus", lambda x: np.log1p(np.exp(-abs(x))) + np.maximum(x, 0), ANY)
    yield _backward("SoftplusGradient", lambda y, dy: dy * -np.expm1(-y), uniform(0, 4), DY)
    named = [
        Bad([I4], DTypeError, "'input' is int32; supported: float32, float64"),
        Bad([F4, F4], ArityError, "expected 1"),
    ]
    yield _forward("Softsign", lambda x: x / (1 + abs(x)), ANY, bad=named)
    yield _backward("SoftsignGradient", lambda x, dy: dy / (1 + abs(x)) ** 2, ANY, DY)
    three = [
        Bad([F4, F4, F4[:1]], ShapeError, "one shape"),
        Bad([F4, F4, F4.astype(np.float64)], DTypeError, "one type"),
        Bad([F4, F4], ArityError, "expected 3"),
        Bad([F4, F4, F4], InplaceError, "does not allow", same=[(0, 0)]),
    ]
    strict = [*wide_errors(), in_place()]
    yield _forward("Swish", lambda x: x * _sigmoid(x), ANY, bad=strict)
    yield _backward(
        "SwishGradient",
        lambda x, y, dy: dy * (y + (1 - y) * _sigmoid(x)),
        ANY,
        ANY,
        DY,
        bad=three,
    )
    yield _forward("Mish", _mish, ANY, bad=strict)
    yield _backward("MishGradient", _mish_gradient, ANY, ANY, DY, bad=three)
    fast = ({}, {"fast_gelu": 1})
    yield _forward("Gelu", _gelu, ANY, fast, bad=[*strict, _wrong("fast_gelu")])
    yield _backward("GeluGradient", _gelu_gradient, DY, ANY, args=fast)


CASES = [
    *_limited(),
    *_smooth(),
    Case(
        "Glu",
        _glu,
        _halves,
        bad=[
            Bad([F4], ShapeError, "must have an even size"),
            Bad([F4], ShapeError, "dim 2 is out of range", args={"dim": 2}),
            Bad([F4[0, 0]], ShapeError, "out of range for 0 dimension"),
            Bad([I4], DTypeError, "is int32; supported: float32"),
            Bad([F4, F4], ArityError, "expected 1"),
            Bad([F4], InplaceError, "does not allow", args={"dim": 0}, same=[(0, 0)]),
        ],
    ),
]
