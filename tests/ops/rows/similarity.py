"""Rows: dot products and cosines of rows; losses of two classes."""

import numpy as np

from caffe2py.errors import ArgumentError, ArityError, DTypeError, InplaceError, ShapeError
from caffe2py.testing import Bad, Case, Sample, elementwise_samples, uniform

FLOATS = ("float32", "float64")
F4 = np.ones((2, 3), np.float32)
F8 = np.ones((2, 3), np.float64)
I4 = np.ones((2, 3), np.int32)
ANY = uniform(-2, 2)
SHAPES = ((4, 3), (1, 7), (5,), (), (0, 3), (3, 0), (2, 3, 4))
SUMS = "sums of products, in another order than numpy's"


def _rows(x):
    return x.reshape(x.shape[0], int(np.prod(x.shape[1:]))) if x.ndim else x.reshape(1, 1)


def _dot(x, y):
    return (_rows(x) * _rows(y)).sum(axis=1, dtype=x.dtype)


def _dot_gradient(x, y, dz):
    by_row = dz.reshape(-1, 1)
    return (_rows(y) * by_row).reshape(x.shape), (_rows(x) * by_row).reshape(y.shape)


def _norms(x):
    return np.maximum((_rows(x).astype(np.float64) ** 2).sum(axis=1), 1e-12)


def _cosine(x, y):
    dots = (_rows(x).astype(np.float64) * _rows(y)).sum(axis=1)
    return (dots / np.sqrt(_norms(x) * _norms(y))).astype(x.dtype)


def _cosine_gradient(x, y, dz):
    a, b = _rows(x).astype(np.float64), _rows(y).astype(np.float64)
    aa, bb, ab = (m.reshape(-1, 1) for m in (_norms(x), _norms(y), (a * b).sum(axis=1)))
    share = dz.reshape(-1, 1) / np.sqrt(aa * bb)
    dx, dy = share * (b - a * ab / aa), share * (a - b * ab / bb)
    return dx.reshape(x.shape).astype(x.dtype), dy.reshape(y.shape).astype(y.dtype)


def _pairs(backward, low=0.2):
    def samples(rng):
        for dtype in map(np.dtype, FLOATS):
            for shape in SHAPES:
                inputs = [ANY(rng, shape, dtype) + dtype.type(low) for _ in range(2)]
                if not backward:
                    yield Sample(inputs)
                    continue
                dz = ANY(rng, shape[:1] or (1,), dtype)
                yield Sample([*inputs, dz], outputs=2)

    return samples


def _pair_errors():
    return [
        Bad([F4, F4[:1]], ShapeError, "one shape"),
        Bad([F4, F8], DTypeError, "one type"),
        Bad([I4, I4], DTypeError, "is int32; supported: float32"),
        Bad([F4], ArityError, "expected 2"),
        Bad([F4[0], F4[0]], InplaceError, "does not allow", same=[(0, 0)]),
    ]


def _gradient_errors():
    return [
        Bad([F4, F4, F4], ShapeError, "one element a row", outputs=2),
        Bad([F4, F4, F4[0]], ShapeError, "one element a row", outputs=2),
        Bad([F4, F8, F4[:, 0]], DTypeError, "one type", outputs=2),
        Bad([F4, F4], ArityError, "expected 3", outputs=2),
    ]


# ---------------------------------------------------------------- padding

PADDINGS = ({}, {"pad_value": 1.5}, {"replicate": 1})
WIDTHS = (((4, 3), (4, 3)), ((4, 5), (4, 2)), ((4, 2), (4, 4)), ((3,), (3,)), ((0, 2), (0, 3)))


def _continued(x, width, pad_value, replicate):
    """Rows of x continued to the width."""
    if x.shape[1] >= width:
        return x
    if not replicate:
        more = np.full((x.shape[0], width - x.shape[1]), pad_value, x.dtype)
        return np.concatenate([x, more], axis=1)
    whole = np.tile(x, (1, width // x.shape[1]))
    rest = np.zeros((x.shape[0], width - whole.shape[1]), x.dtype)
    return np.concatenate([whole, rest], axis=1)


def _padded(x, y, pad_value=0.0, replicate=0):
    a, b = _rows(x), _rows(y)
    width = max(a.shape[1], b.shape[1])
    a, b = (_continued(m, width, pad_value, replicate) for m in (a, b))
    return (a * b).sum(axis=1, dtype=x.dtype)


def _padded_gradient(x, y, dz, pad_value=0.0, replicate=0):
    a, b = _rows(x), _rows(y)
    width = max(a.shape[1], b.shape[1])
    full_a = _continued(b, width, pad_value, replicate) * dz.reshape(-1, 1)
    full_b = _continued(a, width, pad_value, replicate) * dz.reshape(-1, 1)
    return _folded(full_a, x, replicate), _folded(full_b, y, replicate)


def _folded(full, x, replicate):
    width = _rows(x).shape[1]
    out = full[:, :width].copy()
    if replicate and width:
        for start in range(width, full.shape[1] - width + 1, width):
            out += full[:, start : start + width]
    return out.reshape(x.shape)


def _paddings(backward):
    def samples(rng):
        for dtype in map(np.dtype, FLOATS):
            for a, b in WIDTHS:
                for args in PADDINGS:
                    inputs = [ANY(rng, a, dtype), ANY(rng, b, dtype)]
                    if not backward:
                        yield Sample(inputs, args)
                        continue
                    yield Sample([*inputs, ANY(rng, a[:1], dtype)], args, outputs=2)

    return samples


# ---------------------------------------------------------------- two classes


def _two(x):
    return np.stack([1 - x, x], axis=-1)


def _halved(rng):
    for dtype in map(np.dtype, FLOATS):
        for shape in ((1,), (0,), (7,), (3, 0, 2), (2, 3, 4)):
            yield Sample([ANY(rng, shape, dtype)])


def _doubled(rng):
    for sample in _halved(rng):
        yield Sample([ANY(rng, (*sample.inputs[0].shape, 2), sample.inputs[0].dtype)])
    yield Sample([ANY(rng, (2,), np.dtype(np.float32))])


def _weighted(x, t, w):
    terms = w * (np.maximum(x, 0) + np.log1p(np.exp(-abs(x))) - x * t)
    return terms.sum(axis=-1, dtype=x.dtype) / max(x.shape[-1], 1)


def _weighted_gradient(dy, x, t, w):
    slope = w * (1 / (1 + np.exp(-x)) - t)
    return (dy[..., None] / max(x.shape[-1], 1) * slope).astype(x.dtype)


def _logits(backward):
    def samples(rng):
        for dtype in map(np.dtype, FLOATS):
            for shape in ((4, 3), (7,), (2, 3, 4), (0, 3), (3, 0)):
                x, t, w = (ANY(rng, shape, dtype) for _ in range(3))
                if backward:
                    yield Sample([np.asarray(ANY(rng, shape[:-1], dtype)), x, t, w])
                else:
                    yield Sample([x, t, w])

    return samples


def _entropy(p):
    sure = (p < 1e-20) | (1 - p < 1e-20)
    q = np.where(sure, 0.5, p)
    return np.where(sure, 0, -q * np.log(q) - (1 - q) * np.log(1 - q)).astype(p.dtype)


def _divergence(x, t):
    t = t.reshape(x.shape)
    return _entropy((x + t) / 2) - _entropy(x) / 2 - _entropy(t) / 2


def _odds(p):
    return np.log(p) - np.log(1 - p)


def _divergence_gradient(dl, x, t):
    t, dl = t.reshape(x.shape), dl.reshape(x.shape)
    return (dl / 2 * (_odds(x) - _odds((x + t) / 2))).astype(x.dtype)


INSIDE = uniform(0.05, 0.95)


def _coins(rng):
    yield from elementwise_samples(INSIDE, INSIDE, dtypes=FLOATS)(rng)
    x, t = np.array([0, 1, 0, 1, 0.5]), np.array([0, 1, 1, 0, 0])
    yield Sample([x.astype(np.float32), t.astype(np.float32)], gradient=False)
    yield Sample([F4 * 0.25, F4.reshape(-1) * 0.5], gradient=False)


def _sloped(rng):
    yield from elementwise_samples(ANY, INSIDE, INSIDE, dtypes=FLOATS)(rng)


def _row(name, ref, samples, bad, tolerance=1e-5, gradient=None):
    return Case(
        name,
        ref,
        samples,
        bad=bad,
        gradient=gradient,
        tolerance=tolerance,
        tolerance_reason=SUMS,
    )


CASES = [
    _row("DotProduct", _dot, _pairs(False), _pair_errors()),
    _row("DotProductGradient", _dot_gradient, _pairs(True), _gradient_errors()),
    _row("CosineSimilarity", _cosine, _pairs(False), _pair_errors()),
    _row("CosineSimilarityGradient", _cosine_gradient, _pairs(True), _gradient_errors()),
    _row(
        "DotProductWithPadding",
        _padded,
        _paddings(False),
        [
            Bad([F4, F4[:1]], ShapeError, "the same number of rows"),
            Bad([F4, F4[0, 0]], ShapeError, "'Y' must have rows"),
            Bad([F4, F8], DTypeError, "one type"),
            Bad([I4, I4], DTypeError, "is int32"),
            Bad([F4, F4], ArgumentError, "'pad_value'", args={"pad_value": "a"}),
            Bad([F4], ArityError, "expected 2"),
        ],
    ),
    _row(
        "DotProductWithPaddingGradient",
        _padded_gradient,
        _paddings(True),
        [
            Bad([F4, F4, F4[0]], ShapeError, "one element a row", outputs=2),
            Bad([F4, F8, F4[:, 0]], DTypeError, "one type", outputs=2),
            Bad([F4, F4], ArityError, "expected 3", outputs=2),
        ],
    ),
    _row(
        "MakeTwoClass",
        _two,
        _halved,
        [
            Bad([F4[0, 0]], ShapeError, "at least 1 dimension"),
            Bad([I4], DTypeError, "is int32; supported: float32"),
            Bad([F4, F4], ArityError, "expected 1"),
        ],
    ),
    _row(
        "MakeTwoClassGradient",
        lambda dy: np.asarray(dy[..., 1] - dy[..., 0]),
        _doubled,
        [
            Bad([F4], ShapeError, "end in an axis of size 2"),
            Bad([F4[0, 0]], ShapeError, "end in an axis of size 2"),
            Bad([I4], DTypeError, "is int32; supported: float32"),
        ],
    ),
    _row(
        "WeightedSigmoidCrossEntropyWithLogits",
        _weighted,
        _logits(False),
        [
            Bad([F4, F4, F4[0]], ShapeError, "one shape"),
            Bad([F4, F8, F4], DTypeError, "one type"),
            Bad([I4, I4, I4], DTypeError, "is int32"),
            Bad([F4, F4], ArityError, "expected 3"),
        ],
        gradient=(0,),
    ),
    _row(
        "WeightedSigmoidCrossEntropyWithLogitsGradient",
        _weighted_gradient,
        _logits(True),
        [
            Bad([F4[0], F4, F4, F4], ShapeError, "logits of"),
            Bad([F4[:, 0], F4, F4, F4[:1]], ShapeError, "one shape"),
            Bad([F4[:, 0], F4, F8, F4], DTypeError, "one type"),
            Bad([F4, F4, F4], ArityError, "expected 4"),
        ],
    ),
    _row(
        "BernoulliJSD",
        _divergence,
        _coins,
        [
            Bad([F4, F4[:1]], ShapeError, "as many elements as 'X'"),
            Bad([F4, F8], DTypeError, "one type"),
            Bad([I4, I4], DTypeError, "is int32"),
            Bad([F4], ArityError, "expected 2"),
            Bad([F4, F4], InplaceError, "does not allow", same=[(0, 0)]),
        ],
    ),
    _row(
        "BernoulliJSDGradient",
        _divergence_gradient,
        _sloped,
        [
            Bad([F4, F4, F4[:1]], ShapeError, "as many elements as 'X'"),
            Bad([F4, F4, F8], DTypeError, "one type"),
            Bad([F4, F4], ArityError, "expected 3"),
        ],
    ),
]
