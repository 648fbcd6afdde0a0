"""Rows: transformations of features: Box-Cox, piecewise linear, positions, steps."""

import numpy as np

from caffe2py.errors import (
    ArgumentError,
    ArityError,
    DTypeError,
    InplaceError,
    ShapeError,
    ValueRangeError,
)
from caffe2py.testing import Bad, Case, Sample, elementwise_samples, uniform

FLOATS = ("float32", "float64")
F4 = np.ones((2, 3), np.float32)
F8 = np.ones((2, 3), np.float64)
I4 = np.ones((2, 3), np.int32)


def _box_cox(data, lambda1, lambda2, min_block_size=256):
    x = data.reshape(data.shape[0], lambda1.size)
    base = np.maximum(x + lambda2.reshape(-1), x.dtype.type(1e-6))
    power = lambda1.reshape(-1)
    safe = np.where(power == 0, 1, power).astype(x.dtype)
    return np.where(power == 0, np.log(base), (base**safe - 1) / safe).reshape(data.shape)


def _box_coxes(rng):
    for dtype in FLOATS:
        for shape in ((4, 3), (1, 7), (5,), (0, 3), (2, 0), (2, 3, 2)):
            columns = int(np.prod(shape[1:]))
            power = rng.uniform(-1, 1, columns) * (rng.random(columns) < 0.7)
            data = [rng.uniform(0.5, 4, shape), power, rng.uniform(0, 1, columns)]
            yield Sample([a.astype(dtype) for a in data], {"min_block_size": 6})
    yield Sample([F4 - 2, F4[0] * 0, F4[0] * 0])  # below the least


PIECES = {"bounds": [0.0, 1.0, 2.0], "slopes": [1.0, 2.0], "intercepts": [0.0, -1.0]}
TWO = {"bounds": [0.0, 1.0, -1.0, 2.0], "slopes": [1.5, 2.0], "intercepts": [0.25, -1.0]}


def _curve(x, bounds, slopes, intercepts):
    x = np.clip(x, bounds[0], bounds[-1])
    piece = np.clip(np.searchsorted(bounds, x, "left") - 1, 0, len(slopes) - 1)
    return slopes[piece] * x + intercepts[piece]


def _piecewise(x, *pieces, binary=0, **args):
    names = ("bounds", "slopes", "intercepts")
    pieces = pieces or [np.array(args[name], x.dtype) for name in names]
    bounds, slopes, intercepts = (p.reshape(-1) for p in pieces)
    functions = bounds.size - slopes.size
    groups = list(
        zip(*(p.reshape(functions, -1) for p in (bounds, slopes, intercepts)), strict=True)
    )
    columns = x.reshape(x.size, 1) if x.ndim == 1 else x
    if binary:
        last = _curve(columns[:, -1], *groups[0])
        y = np.stack([1 - last, last], 1) if columns.shape[1] == 2 else last
    else:
        y = np.stack([_curve(columns[:, c], *g) for c, g in enumerate(groups)], 1)
    return y.reshape(x.shape).astype(x.dtype)


def _piecewises(rng):
    for dtype in FLOATS:
        for rows in (0, 1, 9):
            draw = [rng.uniform(-1, 3, s).astype(dtype) for s in ((rows, 1), (rows, 2), (rows,))]
            one, two, flat = draw
            yield Sample([one], PIECES)
            yield Sample([two], TWO)
            for x in (one, two, flat):
                yield Sample([x], {**PIECES, "binary": 1})
            inputs = [np.array(TWO[k], dtype) for k in ("bounds", "slopes", "intercepts")]
            yield Sample([two, *inputs])
            yield Sample([two, *(a.reshape(2, -1) for a in inputs)])
    yield Sample([np.array([[0], [1], [2], [-9], [9]], np.float32)], PIECES)


def _positions(positions, embedding_size=100, alpha=10000.0, amplitude=1.0):
    k = np.arange(embedding_size)
    angle = positions[:, :1, None] / np.power(alpha, k / max(embedding_size, 1))
    waves = amplitude * np.where(k % 2 == 0, np.sin(angle), np.cos(angle))
    return np.broadcast_to(waves, (*positions.shape, embedding_size)).astype(np.float32)


def _places(rng):
    for dtype in (np.int32, np.int64):
        for shape in ((3, 2), (1, 1), (0, 2)):
            for args in (
                {},
                {"embedding_size": 5, "alpha": 10.0},
                {"embedding_size": 1, "amplitude": 2.0},
                {"embedding_size": 0},
            ):
                yield Sample([rng.integers(-3, 90, shape).astype(dtype)], args)


def _root_divide(x, scale):
    root = np.sqrt(scale.astype(np.float64)).reshape(-1, *[1] * (x.ndim - 1))
    return (x / np.where(root == 0, 1, root)).astype(x.dtype)


def _rooted(rng):
    for dtype in FLOATS:
        for other in ("float32", "float64", "int32", "int64"):
            for shape in ((4, 3), (5,), (0, 2), (3, 0), (2, 3, 2)):
                scale = rng.integers(0, 9, shape[0]).astype(other)
                yield Sample([rng.uniform(-2, 2, shape).astype(dtype), scale])


STUMPS = ({}, {"threshold": 0.5, "low_value": -1.0, "high_value": 5.0})


def _stump(x, threshold=0.0, low_value=0.0, high_value=0.0):
    return np.where(x <= threshold, low_value, high_value).astype(x.dtype)


def _stump_index(x, threshold=0.0):
    low = x.reshape(-1) <= threshold
    return np.flatnonzero(low), np.flatnonzero(~low)


def _stumps(rng):
    for sample in elementwise_samples(uniform(-2, 2), dtypes=FLOATS)(rng):
        yield Sample(sample.inputs, {}, outputs=2)
        yield Sample(sample.inputs, {"threshold": 0.5}, outputs=2)
    yield Sample([np.array([np.nan, 0, 1], np.float32)], {}, outputs=2)


OUT_OF_ORDER = {**PIECES, "bounds": [0.0, 2.0, 1.0]}

CASES = [
    Case(
        "BatchBoxCox",
        _box_cox,
        _box_coxes,
        bad=[
            Bad([F4, F4[0], F4[0, :2]], ShapeError, "'lambda2' must have 3 element"),
            Bad([F4[0, 0], F4[0, :1], F4[0, :1]], ShapeError, "at least 1 dimension"),
            Bad([F4, F8[0], F4[0]], DTypeError, "one type"),
            Bad([I4, F4[0], F4[0]], DTypeError, "is int32; supported: float32"),
            Bad([F4, F4[0]], ArityError, "expected 3"),
            Bad([F4[:1, 0], F4[:1, 0], F4[:1, 0]], InplaceError, "not allow", same=[(1, 0)]),
        ],
        tolerance=2e-5,
        tolerance_reason="a power less 1 loses digits in float32",
    ),
    Case(
        "PiecewiseLinearTransform",
        _piecewise,
        _piecewises,
        bad=[
            Bad([F4], ShapeError, "one column for each of 1", args=PIECES),
            Bad([F4[0]], ShapeError, "must have 2 dimension", args=PIECES),
            Bad([F4], ShapeError, "1 or 2 columns", args={**PIECES, "binary": 1}),
            Bad([F4], ArityError, "expected 4 inputs, found 1"),
            Bad([F4[:, :1]], ArgumentError, "all or not at all", args={"bounds": [0.0, 1.0]}),
            Bad([F4[:, :1]], ValueRangeError, "function 0 must ascend: 0, 2", args=OUT_OF_ORDER),
            Bad([F4, F4[0], F4[0], F4[0]], ShapeError, "make no functions"),
            Bad([F4, F8[0], F4[0], F4[0]], DTypeError, "one type"),
            Bad([I4], DTypeError, "is int32", args=PIECES),
            Bad([F4[:, :2]], ShapeError, "one function, found 2", args={**TWO, "binary": 1}),
            Bad([F4[:, :1]], InplaceError, "not allow", args=PIECES, same=[(0, 0)]),
        ],
    ),
    Case(
        "SinusoidPositionEncoding",
        _positions,
        _places,
        bad=[
            Bad([I4[0]], ShapeError, "must have 2 dimension"),
            Bad([F4], DTypeError, "is float32; supported: int32, int64"),
            Bad([I4], ArgumentError, "must not be negative", args={"embedding_size": -1}),
            Bad([I4, I4], ArityError, "expected 1"),
        ],
    ),
    Case(
        "SquareRootDivide",
        _root_divide,
        _rooted,
        bad=[
            Bad([F4, F4[0]], ShapeError, "one number for each row of 'X'"),
            Bad([F4, F4], ShapeError, "one number a row"),
            Bad([F4[0, 0], F4[0]], ShapeError, "'X' is a scalar"),
            Bad([F4, -F4[:, 0]], ValueRangeError, r"scale\[0\] is -1"),
            Bad([I4, F4[:, 0]], DTypeError, "is int32; supported: float32"),
            Bad([F4], ArityError, "expected 2"),
            Bad([F4[0], F4[0]], InplaceError, "not allow", same=[(1, 0)]),
        ],
    ),
    Case(
        "StumpFunc",
        _stump,
        elementwise_samples(uniform(-2, 2), dtypes=FLOATS, args=STUMPS),
        bad=[
            Bad([I4], DTypeError, "is int32; supported: float32"),
            Bad([F4], InplaceError, "does not allow", same=[(0, 0)]),
            Bad([F4, F4], ArityError, "expected 1"),
            Bad([F4], ArgumentError, "'threshold'", args={"threshold": "a"}),
        ],
    ),
    Case(
        "StumpFuncIndex",
        _stump_index,
        _stumps,
        bad=[
            Bad([I4], DTypeError, "is int32; supported: float32", outputs=2),
            Bad([F4], ArityError, "expected 2 output"),
        ],
        skip={"infer_full": "how many elements are low depends on them"},
    ),
]
