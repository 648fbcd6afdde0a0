"""Rows: updates with one rate from the whole gradient, groups, counts of rows, weight decay."""

import numpy as np

from caffe2py.errors import (
    ArgumentError,
    ArityError,
    DTypeError,
    InplaceError,
    ShapeError,
    ValueRangeError,
)
from caffe2py.testing import Bad, Case, Sample
from tests.ops.rows.optimizer import ENFORCED, FLOATS, MOMENTUM, RATE, SHAPES, T3, draw

TWO = ((0, 0), (1, 1))
THREE = ((0, 0), (1, 1), (2, 2))
ONE = np.ones(1, np.float32)
F4 = np.ones((2, 3), np.float32)
SUM_REASON = {"tolerance": 2e-5, "tolerance_reason": "a sum of squares, and its cube root"}
PLACES = [((4, 3), (2,)), ((6,), (3,)), ((3, 2, 4), (2, 3)), ((4, 20), ()), ((4, 3), (0,))]


def _number(rng, dtype, low=0.1):
    return rng.uniform(low, 2, 1).astype(dtype)


# ---------------------------------------------------------------- Storm


def _storm(w, m, s, g, lr, momentum=10.0, beta=0.1):
    kind = w.dtype
    w, m, s, g = (x.astype(np.float64) for x in (w, m, s, g))
    s = s + np.sum(g * g)
    rate = float(lr.reshape(())) * (beta + s.item()) ** (-1 / 3)
    m = g + (1 - momentum * rate**2) * (m - g)
    return tuple(x.astype(kind) for x in (w + rate * m, m, s))


def _sparse_storm(w, m, s, g, indices, lr, momentum=10.0, beta=0.1):
    if indices.size == 0:
        return w, m, s
    kind = w.dtype
    w, m = w.astype(np.float64), m.astype(np.float64)
    rows = g.reshape(indices.size, *w.shape[1:]).astype(np.float64)
    total = s.astype(np.float64) + np.sum(rows * rows)
    rate = float(lr.reshape(())) * (beta + total.item()) ** (-1 / 3)
    for row, index in zip(rows, indices.reshape(-1), strict=True):
        m[index] = row + (1 - momentum * rate**2) * (m[index] - row)
        w[index] += rate * m[index]
    return tuple(x.astype(kind) for x in (w, m, total))


STORM_ARGS = [{}, {"momentum": 0.5}, {"momentum": 2.0, "beta": 0.75}]


def _storm_samples(rng):
    for dtype in FLOATS:
        for shape in SHAPES:
            for args in STORM_ARGS:
                w, m, g, lr = draw(rng, "pppr", shape, dtype)
                yield Sample([w, m, _number(rng, dtype), g, lr], args, 3)


def _places(rng):
    """dtype, parameters' shape, indices, a gradient with a row for each"""
    for dtype, index in zip(FLOATS, ("int32", "int64"), strict=True):
        for rows, places in PLACES:
            indices = np.asarray(rng.integers(0, rows[0], places)).astype(index)
            yield dtype, rows, indices, draw(rng, "p", (*places, *rows[1:]), dtype)[0]


def _sparse_storm_samples(rng):
    for dtype, rows, indices, g in _places(rng):
        for args in STORM_ARGS:
            w, m, lr = draw(rng, "ppr", rows, dtype)
            yield Sample([w, m, _number(rng, dtype), g, indices, lr], args, 3, THREE)


# ---------------------------------------------------------------- Wngrad


def _wngrad(w, b, g, lr, epsilon=1e-5):
    wide = g.astype(np.float64)
    rate = lr / (b + epsilon)
    step = rate[0] * g
    total = b + np.sum(wide * wide) / (b + epsilon)
    return tuple(x.astype(w.dtype) for x in (w + step, total, rate, step))


def _wngrad_samples(rng):
    for dtype in FLOATS:
        for shape in SHAPES:
            for args in ({}, {"epsilon": 0.5}):
                for outputs in (2, 3, 4):
                    w, g, lr = draw(rng, "ppr", shape, dtype)
                    yield Sample([w, _number(rng, dtype), g, lr], args, outputs)


def _sparse_wngrad(w, b, indices, g, lr, epsilon=1e-5):
    if indices.size == 0:
        return w, b
    w, wide = w.copy(), g.astype(np.float64)
    rows = g.reshape(indices.size, *w.shape[1:])
    for row, index in zip(rows, indices.reshape(-1), strict=True):
        w[index] += lr[0] / (b[0] + epsilon) * row
    return w, (b + np.sum(wide * wide) / b).astype(b.dtype)


def _sparse_wngrad_samples(rng):
    for dtype, rows, indices, g in _places(rng):
        for args in ({}, {"epsilon": 0.5}):
            w, lr = draw(rng, "pr", rows, dtype)
            yield Sample([w, _number(rng, dtype), indices, g, lr], args, 2, TWO)


# ---------------------------------------------------------------- GFtrl


def _gftrl(w, nz, g, alpha_input=None, alpha=0.005, beta=1.0, lambda1=0.001, lambda2=0.001):
    if w.size == 0:
        return w, nz
    old, n, z, slope = (
        x.astype(np.float64).reshape(g.shape[0], -1) for x in (w, nz[..., 0], nz[..., 1], g)
    )
    rate = alpha if alpha_input is None else float(alpha_input.reshape(()))
    grown = n + slope**2
    z = z + slope - (np.sqrt(grown) - np.sqrt(n)) / rate * old
    norm = np.sqrt(np.sum(z * z, 0, keepdims=True))
    limit = lambda1 * np.sqrt(len(z))
    below = (beta + np.sqrt(grown)) / rate + lambda2
    new = np.where(norm > limit, z * (limit / norm - 1) / below, 0)
    both = np.stack([grown, z], -1).reshape(nz.shape)
    return new.reshape(w.shape).astype(w.dtype), both.astype(w.dtype)


def _gftrl_samples(rng):
    for dtype in FLOATS:
        for shape in [s for s in SHAPES if s]:
            for args in (
                {"alpha": 0.5},
                {"alpha": 0.5, "beta": 0.5, "lambda1": 1.0, "lambda2": 2.0},
            ):
                yield Sample(draw(rng, "pzp", shape, dtype), args, 2)
        yield Sample([*draw(rng, "pzp", (2, 3), dtype), np.full((1,), 0.25, dtype)], outputs=2)
        yield Sample(draw(rng, "pzp", (2, 3), dtype), outputs=2)


# ---------------------------------------------------------------- rates and counts


def _adaption(lr, g, e, lr_alpha=0.01, normalized_lr_adaption=True):
    wide, step = g.astype(np.float64), e.astype(np.float64)
    product = lr_alpha * np.sum(wide * step)
    if not normalized_lr_adaption:
        return (lr - product).astype(lr.dtype)
    sizes = (max(np.sqrt(np.sum(x * x)), 1e-12) for x in (wide, step))
    return (lr * (1 - product / np.prod(list(sizes)))).astype(lr.dtype)


def _adaption_samples(rng):
    for dtype in FLOATS:
        for shape in SHAPES:
            for args in (
                {},
                {"lr_alpha": 0.5},
                {"lr_alpha": 0.25, "normalized_lr_adaption": False},
            ):
                yield Sample([_number(rng, dtype), *draw(rng, "pp", shape, dtype)], args)
    yield Sample([ONE, F4, 0 * F4])


def _count(last, counts, indices, now, counter_halflife=-1):
    last, counts = last.copy(), counts.copy()
    if counter_halflife > 0:
        for i in indices.reshape(-1):
            since = max(0, int(now.reshape(())) - int(last[i]))
            counts[i] = 1 + 2.0 ** (-since / counter_halflife) * counts[i]
            last[i] = max(int(now.reshape(())), int(last[i]))
    return last, counts


def _count_samples(rng):
    for kind in ("int32", "int64"):
        for size, places in ((5, (3,)), (3, (2, 4)), (4, (0,)), (2, ())):
            for args in ({}, {"counter_halflife": 1}, {"counter_halflife": 7}):
                last, counts = rng.integers(0, 20, size), rng.uniform(0, 5, size)
                indices = np.asarray(rng.integers(0, size, places)).astype(kind)
                now = rng.integers(0, 40, 1)
                yield Sample([last, counts, indices, now], args, 2, TWO)


# ---------------------------------------------------------------- momentum with decay


def _decayed(g, m, lr, w, momentum=0.0, weight_decay=0.0, nesterov=0, fp32_update=0):
    kind = g.dtype
    g, m, w = (x.astype(np.float32 if kind == np.float16 else kind) for x in (g, m, w))
    after = momentum * m + lr.reshape(()).astype(g.dtype) * (g + weight_decay * w)
    step = after + momentum * (after - m) if nesterov else after
    return step.astype(kind), after.astype(kind), (w - step).astype(kind)


def _decayed_samples(*dtypes, more=()):
    def samples(rng):
        for dtype in dtypes:
            for shape in SHAPES:
                for args in (*MOMENTUM, {"weight_decay": 0.25, "momentum": 0.5}, *more):
                    args = {k: int(v) if k == "nesterov" else v for k, v in args.items()}
                    g, m, w = draw(rng, "ppp", shape, dtype)
                    rate = draw(rng, "r", shape, "float32" if dtype == "float16" else dtype)
                    yield Sample([g, m, *rate, w], args, 3)

    return samples


# ---------------------------------------------------------------- rows


def _bad(good, outputs, same=(), args=None):
    """Makes wrong uses: input `index` replaced by a value."""

    def bad(index, value, error, match):
        inputs = [*good[:index], value, *good[index + 1 :]]
        return Bad(inputs, error, match, args or {}, outputs, same)

    return bad


def _sparse_bad(good, place, grad, same):
    bad = _bad(good, len(same), same)
    return [
        bad(place, np.array([0, 4]), ValueRangeError, rf"'in{place}'\[1\] is 4.*are 4 row"),
        bad(place, np.array([-1, 0]), ValueRangeError, "is -1"),
        bad(place, np.ones(2, np.float32), DTypeError, "supported: int32, int64"),
        bad(grad, np.ones((2, 2), np.float32), ShapeError, r"a row of 3 element\(s\)"),
        bad(grad, np.ones((2, 3)), DTypeError, "must have one type"),
        bad(len(good) - 1, RATE.repeat(2), ShapeError, "must have 1 element"),
        Bad(good[:-1], ArityError, "expected", {}, len(same), same),
        Bad(good, InplaceError, "must be the same blob", {}, len(same)),
    ]


def _dense_bad(good, outputs, *, rate, moment):
    bad = _bad(good, outputs)
    return [
        bad(0, F4[:1], ShapeError, "must have"),
        bad(0, F4.astype(np.float64), DTypeError, "must have one type"),
        bad(0, F4 > 0, DTypeError, "is bool; supported"),
        bad(rate, RATE.repeat(2), ShapeError, "a single number"),
        bad(rate, T3, DTypeError, "is int64; supported"),
        bad(moment, F4[:, :0], ShapeError, "must have"),
        Bad(good[:-1], ArityError, "expected", outputs=outputs),
        Bad(good, InplaceError, "does not allow", outputs=outputs, same=[(rate, 0)]),
    ]


P = np.ones((4, 3), np.float32)
I2 = np.array([0, 3])
G2 = np.ones((2, 3), np.float32)
NZ = np.ones((2, 3, 2), np.float32)
COUNTS = [np.array([1, 2]), np.array([1.0, 2.0]), np.array([0]), T3]
HALF = F4.astype(np.float16)
_counted = _bad(COUNTS, 2, TWO, {"counter_halflife": 3})
_halved = _bad([HALF, HALF, RATE, HALF], 3)

CASES = [
    Case(
        "Storm",
        _storm,
        _storm_samples,
        bad=_dense_bad([F4, F4, ONE, F4, RATE], 3, rate=4, moment=2),
        **SUM_REASON,
    ),
    Case(
        "SparseStorm",
        _sparse_storm,
        _sparse_storm_samples,
        bad=_sparse_bad([P, P, ONE, G2, I2, RATE], 4, 3, THREE),
        skip=ENFORCED,
        **SUM_REASON,
    ),
    Case(
        "Wngrad",
        _wngrad,
        _wngrad_samples,
        bad=_dense_bad([F4, ONE, F4, RATE], 2, rate=3, moment=1),
        **SUM_REASON,
    ),
    Case(
        "SparseWngrad",
        _sparse_wngrad,
        _sparse_wngrad_samples,
        bad=_sparse_bad([P, ONE, I2, G2, RATE], 2, 3, TWO),
        skip=ENFORCED,
        **SUM_REASON,
    ),
    Case(
        "GFtrl",
        _gftrl,
        _gftrl_samples,
        bad=[
            Bad([F4, NZ[:1], F4], ShapeError, "two for each of input 0", outputs=2),
            Bad([F4, NZ, F4[:1]], ShapeError, "must have 6 element", outputs=2),
            Bad([F4, NZ, F4.astype("float64")], DTypeError, "must have one type", outputs=2),
            Bad([F4, NZ, F4, RATE], ArgumentError, "exclude each other", {"alpha": 0.5}, 2),
            Bad([F4, NZ, F4, RATE.repeat(2)], ShapeError, "a single number", outputs=2),
            Bad([ONE[0:1].reshape(()), NZ[0, 0], ONE.reshape(())], ShapeError, "must", outputs=2),
            Bad([F4, NZ], ArityError, "expected", outputs=2),
            Bad([F4, NZ, F4], InplaceError, "does not allow", outputs=2, same=[(2, 0)]),
        ],
        tolerance=5e-5,
        tolerance_reason="a difference of roots, times 200 = 1 / alpha",
    ),
    Case(
        "LearningRateAdaption",
        _adaption,
        _adaption_samples,
        bad=[
            Bad([RATE.repeat(2), F4, F4], ShapeError, "a single number"),
            Bad([RATE, F4, F4[:1]], ShapeError, "must have 6 element"),
            Bad([RATE, F4, F4.astype("float64")], DTypeError, "must have one type"),
            Bad([T3, F4, F4], DTypeError, "is int64; supported"),
            Bad([RATE, F4], ArityError, "expected 3"),
            Bad([RATE, F4, F4], InplaceError, "does not allow", same=[(1, 0)]),
        ],
        **SUM_REASON,
    ),
    Case(
        "RowWiseCounter",
        _count,
        _count_samples,
        bad=[
            _counted(2, np.array([0, 2]), ValueRangeError, r"'in2'\[1\] is 2.*are 2 row"),
            _counted(2, np.array([-1]), ValueRangeError, "is -1"),
            _counted(0, T3.astype(np.int32), DTypeError, "supported: int64"),
            _counted(1, np.ones(2, np.float32), DTypeError, "supported: float64"),
            _counted(1, np.ones(3), ShapeError, "must have 2 element"),
            _counted(3, T3.repeat(2), ShapeError, "a single number"),
            _counted(2, ONE, DTypeError, "supported: int32, int64"),
            Bad(COUNTS[:-1], ArityError, "expected 4", {}, 2, TWO),
            Bad(COUNTS, InplaceError, "must be the same blob", {}, 2),
        ],
        skip=ENFORCED,
    ),
    Case(
        "FP32MomentumSGDUpdate",
        _decayed,
        _decayed_samples(*FLOATS),
        bad=_dense_bad([F4, F4, RATE, F4], 3, rate=2, moment=1),
    ),
    Case(
        "FP16MomentumSGDUpdate",
        _decayed,
        _decayed_samples("float16", more=[{"fp32_update": 1, "weight_decay": 0.5}]),
        bad=[
            _halved(0, F4, DTypeError, "supported: float16"),
            _halved(1, HALF[:1], ShapeError, "must have 6 element"),
            _halved(2, RATE.repeat(2), ShapeError, "a single number"),
            Bad([HALF, HALF, RATE], ArityError, "expected 4", outputs=3),
            Bad([HALF, HALF, RATE, HALF], InplaceError, "does not", outputs=3, same=[(2, 0)]),
        ],
    ),
]
