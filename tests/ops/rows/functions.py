"""Rows: sines, roots, rounding, signs, remainders, limits."""

import math

import numpy as np

from caffe2py.errors import (
    ArgumentError,
    ArityError,
    DTypeError,
    InplaceError,
    ShapeError,
    ValueRangeError,
)
from caffe2py.testing import Bad, Case, Sample, elementwise_samples, ints, uniform
from tests.ops.rows.math import wide_errors

FLOATS = ("float32", "float64")
NUMERIC = ("int32", "int64", "float32", "float64")
F4 = np.ones((2, 3), np.float32)
F8 = np.ones((2, 3), np.float64)
I4 = np.ones((2, 3), np.int32)
BARE = "several operations in float32, in another order than numpy's"


def in_place():
    return Bad([F4], InplaceError, "does not allow", same=[(0, 0)])


def _erf(x):
    return np.vectorize(math.erf, otypes=[x.dtype])(x) if x.size else x.copy()


def _pair_errors():
    return [
        Bad([F4, F8], DTypeError, "must have one type"),
        Bad([F4, F4[:1]], ShapeError, "must have one shape"),
        Bad([I4.astype(np.int8), I4], DTypeError, "is int8; supported"),
        Bad([F4], ArityError, "expected 2"),
    ]


def _row(name, ref, domain, *, dtypes=FLOATS, bad=(), tolerance=None):
    return Case(
        name,
        ref,
        elementwise_samples(domain, dtypes=dtypes),
        bad=bad,
        tolerance=tolerance,
        tolerance_reason=BARE if tolerance else "",
        gradient_tolerance=5e-3,
    )


def _slope(name, ref, first, second, *, dtypes=FLOATS, bad=(), tolerance=2e-5):
    return Case(
        name,
        ref,
        elementwise_samples(first, second, dtypes=dtypes),
        bad=[*_pair_errors(), *bad],
        tolerance=tolerance,
        tolerance_reason=BARE,
    )


def _unnamed():
    """Of operators whose input is called 'input'."""
    return [
        Bad([I4], DTypeError, "is int32; supported: float32, float64"),
        Bad([F4, F4], ArityError, "expected 1"),
        in_place(),
    ]


def _errors():
    return [*wide_errors(), in_place()]


ANY = uniform(-3, 3)
INSIDE = uniform(-0.9, 0.9)
DY = uniform(-2, 2)

#: name, function, derivative, domain, order of the gradient's inputs, errors
WAVES = [
    ("Sin", np.sin, np.cos, ANY, "X dY", _errors),
    ("Cos", np.cos, lambda x: -np.sin(x), ANY, "X dY", _errors),
    ("Tan", np.tan, lambda x: 1 / np.cos(x) ** 2, uniform(-1.2, 1.2), "X dY", _unnamed),
    ("Asin", np.arcsin, lambda x: 1 / np.sqrt(1 - x * x), INSIDE, "X dY", _unnamed),
    ("Acos", np.arccos, lambda x: -1 / np.sqrt(1 - x * x), INSIDE, "X dY", _unnamed),
    ("Atan", np.arctan, lambda x: 1 / (1 + x * x), ANY, "X dY", _unnamed),
    ("Sinh", np.sinh, np.cosh, ANY, "dY X", _unnamed),
    ("Cosh", np.cosh, np.sinh, ANY, "dY X", _unnamed),
    ("Erf", _erf, lambda x: 2 / np.sqrt(np.pi) * np.exp(-x * x), ANY, "X dY", _unnamed),
]


def _product(derivative, order):
    if order == "X dY":
        return lambda x, dy: (dy * derivative(x)).astype(x.dtype)
    return lambda dy, x: (dy * derivative(x)).astype(x.dtype)


def _waves():
    for name, function, derivative, domain, order, errors in WAVES:
        pair = (domain, DY) if order == "X dY" else (DY, domain)
        yield _row(name, function, domain, bad=errors(), tolerance=None)
        yield _slope(f"{name}Gradient", _product(derivative, order), *pair)


def _limited(x, eps):
    e = x.dtype.type(eps)
    return np.minimum(np.maximum(x, e), 1 - e)


def _logit(x, eps=1e-6):
    p = _limited(x, eps)
    return np.log(p / (1 - p))


def _logit_gradient(x, dy, eps=1e-6):
    e = x.dtype.type(eps)
    inside = (x >= e) & (x <= 1 - e)
    return np.where(inside, dy / np.where(inside, x * (1 - x), 1), 0).astype(x.dtype)


def _roots():
    nonzero = uniform(-3, 3, away_from=0, gap=0.3)
    above = uniform(0.3, 4)
    eps = ({}, {"eps": 0.25})
    cube = [in_place(), Bad([I4.astype(np.int8)], DTypeError, "is int8"), *wide_errors()[1:]]
    yield _row("Cube", lambda x: x * x * x, ints(-9, 9), dtypes=NUMERIC, bad=cube)
    yield _slope(
        "CubeGradient",
        lambda dy, x: 3 * dy * x * x,
        ints(-9, 9),
        ints(-9, 9),
        dtypes=NUMERIC,
    )
    yield _row("Cbrt", np.cbrt, nonzero, bad=wide_errors())
    yield _slope("CbrtGradient", lambda dy, y: dy / (3 * y * y), DY, nonzero)
    yield _row("Rsqrt", lambda x: 1 / np.sqrt(x), above, bad=wide_errors())
    yield _slope("RsqrtGradient", lambda dy, y: dy * y**3 / -2, DY, uniform(0.3, 2))
    yield Case(
        "Logit",
        _logit,
        elementwise_samples(uniform(0.26, 0.74), dtypes=FLOATS, args=eps),
        bad=[*wide_errors(), Bad([F4], ArgumentError, "'eps'", args={"eps": "a"})],
    )
    yield Case(
        "LogitGradient",
        _logit_gradient,
        elementwise_samples(uniform(0.05, 0.95), DY, dtypes=FLOATS, args=eps),
        bad=[*_pair_errors(), Bad([F4, F4], InplaceError, "not allow", same=[(1, 0)])],
        tolerance=2e-5,
        tolerance_reason=BARE,
    )


def _with_nan(rng):
    for sample in elementwise_samples(ANY, dtypes=FLOATS, args=({}, {"value": 2.5}))(rng):
        x = sample.inputs[0].copy()
        x[...] = np.where(rng.random(x.shape) < 0.3, np.nan, x)
        yield Sample([x], sample.args)


def _replace(x, value=0.0):
    return np.where(np.isnan(x), x.dtype.type(value), x)


DIVISORS = [
    {"divisor": d, "sign_follow_divisor": s} for d in (3, -3, 1, -1, 7, -(2**40)) for s in (0, 1)
]


def _mod(x, divisor=0, sign_follow_divisor=0):
    wide = x.astype(np.int64)
    rest = np.mod(wide, divisor) if sign_follow_divisor else np.fmod(wide, divisor)
    return rest.astype(x.dtype)


def _mods(rng):
    yield from elementwise_samples(ints(-50, 50), dtypes=("int32", "int64"), args=DIVISORS)(rng)
    for dtype in (np.int32, np.int64):
        limits = np.iinfo(dtype)
        for args in DIVISORS[:10]:
            if args["divisor"] != -1:
                yield Sample([np.array([limits.min, limits.max, 0], dtype)], args)
        yield Sample([np.array([limits.max, 0], dtype)], {"divisor": -1})


LIMITS = ({}, {"min": -1.0, "max": 0.5}, {"max": 1.0}, {"min": 1.0})


def _clip(x, min=-np.inf, max=np.inf):
    return np.minimum(np.maximum(x, x.dtype.type(min)), x.dtype.type(max))


def _ensure_clipped(param, indices=None, grad=None, **args):
    if indices is None:
        return _clip(param, **args)
    y = param.copy()
    if y.size:
        for index in indices.reshape(-1):
            y[index] = _clip(y[index], **args)
    return y


def _clipped(rng):
    yield from elementwise_samples(ANY, dtypes=FLOATS, args=LIMITS)(rng)
    for dtype in (np.int32, np.int64):
        for rows, indices in ((4, (3,)), (4, (2, 2)), (1, (1,)), (5, (0,))):
            for width in ((3,), (), (2, 3), (0,)):
                param = ANY(rng, (rows, *width), np.dtype(np.float32))
                which = rng.integers(0, rows, indices).astype(dtype)
                grad = np.zeros((*indices, *width), np.float32)
                yield Sample([param, which, grad], LIMITS[1])


def _blobs(rng):
    for dtype in FLOATS:
        for shapes in (((2, 3),), ((2, 3), (4,), ()), ((0,), (5,)), ((3,), (3,), (3,))):
            for args in ({}, {"scale": -2.5}):
                inputs = [ANY(rng, s, np.dtype(dtype)) for s in shapes]
                yield Sample(inputs, args, outputs=len(shapes))


def _rounding():
    steps = uniform(-5, 5)
    yield _row("Floor", np.floor, steps, bad=wide_errors())
    yield _row("Ceil", np.ceil, steps, bad=wide_errors())
    yield _row("Sign", np.sign, ints(-2, 3), dtypes=NUMERIC, bad=[in_place(), *wide_errors()[1:]])
    yield Case(
        "ReplaceNaN",
        _replace,
        _with_nan,
        bad=[
            Bad([I4], DTypeError, "is int32; supported: float32, float64"),
            Bad([F4], ArgumentError, "'value'", args={"value": "a"}),
            Bad([F4, F4], ArityError, "expected 1"),
        ],
    )
    yield Case(
        "Mod",
        _mod,
        _mods,
        bad=[
            Bad([I4], ArgumentError, "'divisor' must not be 0"),
            Bad([F4], DTypeError, "is float32; supported: int32", args={"divisor": 2}),
            Bad([I4, I4], ArityError, "expected 1", args={"divisor": 2}),
        ],
    )


INDEX = np.zeros(1, np.int64)


def _parameters():
    yield Case(
        "EnsureClipped",
        _ensure_clipped,
        _clipped,
        bad=[
            Bad([I4], DTypeError, "is int32; supported: float32, float64"),
            Bad([F4, INDEX], ArityError, "`grad` is needed"),
            Bad([F4, F4, F4], DTypeError, "'indices' is float32"),
            Bad([F4, INDEX, F4[:1, :2]], ShapeError, "rows of 'grad'"),
            Bad([F4, INDEX + 2, F4[:1]], ValueRangeError, r"indices\[0\] is 2, expected 0 to 1"),
            Bad([F4, INDEX - 1, F4[:1]], ValueRangeError, r"indices\[0\] is -1"),
            Bad([F4[0, 0], INDEX, F4[0, :1]], ShapeError, "'param' has no rows"),
            Bad([F4, INDEX, F4[:1]], InplaceError, "does not allow", same=[(2, 0)]),
        ],
    )
    yield Case(
        "ScaleBlobs",
        lambda *inputs, scale=1.0: tuple(x * x.dtype.type(scale) for x in inputs),
        _blobs,
        bad=[
            Bad([F4, I4], DTypeError, "is int32", outputs=2),
            Bad([F4, F4], ArityError, r"expected 2 output"),
            Bad([], ArityError, "expected at least 1"),
            Bad([F4], ArgumentError, "'scale'", args={"scale": "a"}),
        ],
    )


CASES = [*_waves(), *_roots(), *_rounding(), *_parameters()]
