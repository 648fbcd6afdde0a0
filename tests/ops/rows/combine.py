"""Rows: extrema and weighted sums of several tensors, sums to a smaller shape."""

import functools

import numpy as np

from caffe2py.errors import ArityError, DTypeError, InplaceError, ShapeError
from caffe2py.testing import Bad, Case, Sample, uniform
from tests.ops.rows.arithmetic import OLD_RULE, _aligned, _reduced

NUMERIC = ("int32", "int64", "float32", "float64")
FLOATS = ("float32", "float64")
F4 = np.ones((2, 3), np.float32)
F8 = np.ones((2, 3), np.float64)
ONE = np.ones(1, np.float32)
SHAPES = ((), (0, 2), (3, 4), (65, 3))


def _apart(rng, shape, dtype, count):
    """Tensors that differ from each other everywhere by more than a little."""
    order = np.argsort(rng.uniform(size=(count, *shape)), axis=0) * 2
    noise = rng.uniform(-0.5, 0.5, order.shape) if np.dtype(dtype).kind == "f" else 0
    return [np.asarray(x).astype(dtype) for x in order + noise - count]


def _several(rng):
    for dtype in NUMERIC:
        for count in (1, 2, 3, 5):
            for shape in SHAPES:
                yield Sample(_apart(rng, shape, dtype, count))


def _whole(function):
    return lambda *inputs: functools.reduce(function, inputs)


def _gradients(function):
    def samples(rng):
        for sample in _several(rng):
            m = np.asarray(functools.reduce(function, sample.inputs))
            dm = uniform(-4, 4)(rng, m.shape, m.dtype)
            yield Sample([m, dm, *sample.inputs], outputs=len(sample.inputs))
        equal = [np.ones(3, np.float32)] * 4
        yield Sample(equal, outputs=2)

    return samples


def _where_equal(m, dm, *inputs):
    return tuple(np.where(x == m, dm, np.zeros_like(dm)) for x in inputs)


def _extremum_errors():
    return [
        Bad([F4, F4[:1]], ShapeError, r"is \(2,3\), input 1 'inputs\[1\]' is \(1,3\)"),
        Bad([F4, F8], DTypeError, "one type"),
        Bad([F4 > 0], DTypeError, "is bool; supported: int32"),
        Bad([F4, F4], InplaceError, "does not allow", same=[(1, 0)]),
        Bad([], ArityError, "at least 1"),
    ]


def _extremum_gradient_errors():
    return [
        Bad([F4, F4, F4, F4], ArityError, r"expected 2 output\(s\)"),
        Bad([F4, F4, F8], DTypeError, "one type"),
        Bad([F4, F4[:1], F4], ShapeError, "one shape"),
        Bad([F4, F4], ArityError, "at least 3"),
    ]


def _pairs(rng, count, shape, dtype):
    draw = uniform(-2, 2)
    for k in range(count):
        yield draw(rng, shape, np.dtype(dtype))
        yield draw(rng, ((1,), (), (1, 1))[k % 3], np.dtype(dtype))


def _weighted(rng):
    for dtype in FLOATS:
        for count in (1, 2, 3, 4):
            for shape in SHAPES:
                for args in ({}, {"grad_on_w": 1}):
                    yield Sample(list(_pairs(rng, count, shape, dtype)), args)


def _weighted_sum(*inputs, **args):
    return sum(x * w.reshape(()) for x, w in zip(inputs[::2], inputs[1::2], strict=True))


def _weighted_gradients(rng):
    for sample in _weighted(rng):
        x = sample.inputs[0]
        count = len(sample.inputs) // 2
        dy = uniform(-2, 2)(rng, x.shape, x.dtype)
        yield Sample([dy, *sample.inputs], sample.args, count * (2 if sample.args else 1))


def _weighted_gradient(dy, *inputs, grad_on_w=0):
    tensors, weights = inputs[::2], inputs[1::2]
    dx = tuple(dy * w.reshape(()) for w in weights)
    pairs = zip(tensors, weights, strict=True)
    return dx + tuple((dy * x).sum(dtype=x.dtype).reshape(w.shape) for x, w in pairs)


def _wholes_and_parts(rng):
    for dtype in NUMERIC:
        for a, b, args in [*OLD_RULE, ((0, 3), (3,), {}), ((2, 3), (2, 3), {}), ((2, 3), (1,), {})]:
            draw = uniform(-4, 4)
            kept = {k: v for k, v in args.items() if k != "broadcast"}
            yield Sample([draw(rng, a, np.dtype(dtype)), draw(rng, b, np.dtype(dtype))], kept)


def _sum_like(a, b, **args):
    fitted = _aligned(a, b, 1, **args)
    return _reduced(a, fitted.shape).reshape(b.shape)


CASES = [
    Case("Max", _whole(np.maximum), _several, bad=_extremum_errors()),
    Case("Min", _whole(np.minimum), _several, bad=_extremum_errors()),
    Case("MaxGradient", _where_equal, _gradients(np.maximum), bad=_extremum_gradient_errors()),
    Case("MinGradient", _where_equal, _gradients(np.minimum), bad=_extremum_gradient_errors()),
    Case(
        "WeightedSum",
        _weighted_sum,
        _weighted,
        bad=[
            Bad([F4, ONE, F4], ArityError, "pairs of a tensor and its weight, found 3"),
            Bad([F4, F4], ShapeError, r"must have one element, found \(2,3\)"),
            Bad([F4, ONE, F4[:1], ONE], ShapeError, "one shape"),
            Bad([F8, ONE], DTypeError, "one type"),
            Bad([F4, ONE, F4, ONE], InplaceError, "does not allow", same=[(2, 0)]),
            Bad([F4], ArityError, "at least 2"),
        ],
    ),
    Case(
        "WeightedSumGradient",
        _weighted_gradient,
        _weighted_gradients,
        bad=[
            Bad([F4, F4], ArityError, "pairs"),
            Bad([F4, F4, ONE, F4, ONE], ArityError, r"expected 2 output\(s\), found 1"),
            Bad([F4, F4, ONE], ArityError, "expected 2", args={"grad_on_w": 1}),
            Bad([F4, F4[:1], ONE], ShapeError, "one shape"),
        ],
        tolerance=1e-5,
        tolerance_reason="sums of up to 195 float32 products",
    ),
    Case(
        "SumReduceLike",
        _sum_like,
        _wholes_and_parts,
        bad=[
            Bad([F4[0], F4], ShapeError, "must not have more dimensions"),
            Bad([F4, F4[0]], ShapeError, "axis 2 does not fit", args={"axis": 2}),
            Bad([F4[:1], F4], ShapeError, "must repeat along A"),
            Bad([F4, F8], DTypeError, "one type"),
            Bad([F4], ArityError, "expected 2"),
        ],
        tolerance=1e-5,
        tolerance_reason="sums of up to 120 float32 numbers",
    ),
]
