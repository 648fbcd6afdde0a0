"""Rows: functions of one element from mathematics."""

import numpy as np

from caffe2py.errors import ArgumentError, ArityError, DTypeError, InplaceError, ShapeError
from caffe2py.testing import Bad, Case, Sample, elementwise_samples, uniform
from tests.ops.rows.activation import gradient_errors, unary_errors
from tests.ops.rows.arithmetic import OLD_RULE, _aligned

FLOATS = ("float32", "float64")
F4 = np.ones((2, 3), np.float32)
F8 = np.ones((2, 3), np.float64)
I4 = np.ones((2, 3), np.int32)

MOST = float(np.finfo(np.float32).max)
CLIPS = ({}, {"min": -1.0, "max": 0.5}, {"min": 0.0}, {"max": 1.0}, {"min": 1.0, "max": -1.0})
SCALES = ({}, {"scale": -2.5}, {"scale": 0.0})
EXPONENTS = (0.0, 0.5, 1.0, 2.0, 3.0, -1.0, -0.5, 2.5)


def wide_errors():
    """Of operators on one float32 or float64 tensor."""
    return [
        Bad([I4], DTypeError, "input 0 'X' is int32; supported: float32, float64"),
        Bad([F4, F4], ArityError, r"expected 1 input\(s\) \(X\), found 2"),
        Bad([F4], ArityError, r"expected 1 output\(s\) \(Y\), found 2", outputs=2),
    ]


def _clip(x, min=-MOST, max=MOST):
    return np.minimum(np.maximum(x, x.dtype.type(min)), x.dtype.type(max))


def _clip_gradient(y, dy, min=-MOST, max=MOST):
    inside = (y > np.float32(min)) & (y < np.float32(max))
    return np.where(inside, dy, np.zeros_like(dy))


def _clip_samples(rng):
    draw = uniform(-3, 3)
    for args in CLIPS:
        values = draw(rng, (130, 33), np.dtype(np.float32))
        for limit in (-1, 0.5, 0, 1):  # away from where it is not smooth
            values = np.where(np.abs(values - limit) < 0.01, np.float32(limit + 0.02), values)
        yield Sample([values], args)
        for shape in ((), (0,), (7,), (3, 0, 2)):
            yield Sample([np.asarray(values[0, 0]) + np.zeros(shape, np.float32)], args)


def _power(x, e=None, exponent=0.0, broadcast=0, **args):
    if e is None:
        return x**exponent
    return x ** _aligned(x, e, broadcast, **args)


def _powers(rng):
    draw = uniform(0.3, 3)
    single = np.dtype(np.float32)
    for exponent in EXPONENTS:
        for shape in ((), (0, 3), (7,), (2, 3, 4), (130, 33)):
            yield Sample([draw(rng, shape, single)], {"exponent": exponent})
    for shape in ((), (0, 3), (65, 3)):
        yield Sample([draw(rng, shape, single), draw(rng, shape, single)])
    yield Sample([draw(rng, (2, 3), single), draw(rng, (2, 3), single)], {"exponent": 3.0})
    for a, b, args in OLD_RULE:
        yield Sample([draw(rng, a, single), draw(rng, b, single)], args)


CASES = [
    Case(
        "Abs",
        np.abs,
        elementwise_samples(uniform(-2, 2, away_from=0), dtypes=FLOATS),
        bad=[*wide_errors(), Bad([F4], InplaceError, "does not allow", same=[(0, 0)])],
    ),
    Case(
        "AbsGradient",
        lambda x, dy: dy * np.sign(x),
        elementwise_samples(uniform(-2, 2), uniform(-2, 2), dtypes=FLOATS),
        bad=[
            Bad([F4, F8], DTypeError, "one type"),
            Bad([F4, F4[:1]], ShapeError, "one shape"),
            Bad([F4, F4], InplaceError, "does not allow", same=[(1, 0)]),
        ],
    ),
    Case(
        "Clip",
        _clip,
        _clip_samples,
        bad=[*unary_errors(), Bad([F4], ArgumentError, "'min'", args={"min": "low"})],
    ),
    Case(
        "ClipGradient",
        _clip_gradient,
        elementwise_samples(uniform(-2, 2), uniform(-2, 2), args=CLIPS),
        bad=gradient_errors(),
    ),
    Case("Exp", np.exp, elementwise_samples(uniform(-3, 3), dtypes=FLOATS), bad=wide_errors()),
    Case("Log", np.log, elementwise_samples(uniform(0.2, 9), dtypes=FLOATS), bad=wide_errors()),
    Case(
        "Scale",
        lambda x, scale=1.0: x * x.dtype.type(scale),
        elementwise_samples(uniform(-9, 9), dtypes=FLOATS, args=SCALES),
        bad=[*wide_errors(), Bad([F4], ArgumentError, "'scale'", args={"scale": [1.0]})],
    ),
    Case("Sqr", np.square, elementwise_samples(uniform(-3, 3), dtypes=FLOATS), bad=wide_errors()),
    Case("Sqrt", np.sqrt, elementwise_samples(uniform(0.1, 9), dtypes=FLOATS), bad=wide_errors()),
    Case(
        "Pow",
        _power,
        _powers,
        bad=[
            Bad([F4], ArgumentError, "the exponent is missing"),
            Bad([F8], DTypeError, "is float64", args={"exponent": 2.0}),
            Bad([F4, F4[0]], ShapeError, "one shape"),
            Bad([F4[0], F4], ShapeError, "more dimensions", args={"broadcast": 1}),
            Bad([F4, F4[0]], ShapeError, "axis 2 does not fit", args={"broadcast": 1, "axis": 2}),
            Bad([F4, F4, F4], ArityError, "expected 1 to 2"),
        ],
    ),
]
