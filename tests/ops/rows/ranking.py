"""Rows: losses of rankings."""

import numpy as np

from caffe2py.errors import (
    ArgumentError,
    ArityError,
    DTypeError,
    InplaceError,
    ShapeError,
    ValueRangeError,
)
from caffe2py.testing import Bad, Case, Sample, uniform

FLOATS = ("float32", "float64")
F4 = np.ones(3, np.float32)
F8 = np.ones(3, np.float64)
I4 = np.ones(3, np.int32)
LENGTHS = np.array([2, 1], np.int32)
ANY = uniform(-2, 2)
SUMS = "sums over pairs, in another order than numpy's"
SHAPES = ((), (0,), (7,), (3, 0, 2), (1, 1), (2, 3, 4), (40, 5))


def _labels(rng, shape, values=(1, -1)):
    return np.asarray(rng.choice(values, shape)).astype(np.int32)


def _embedding(s, y, margin=0.0):
    y = y.reshape(s.shape)
    return np.where(y == 1, 1 - s, np.maximum(0, s - s.dtype.type(margin)))


def _embedding_gradient(s, y, dl, margin=0.0):
    return np.where(y == 1, -dl, np.where(s >= s.dtype.type(margin), dl, np.zeros_like(dl)))


def _margin(x1, x2, y, margin=1.0):
    return np.maximum(0, x1.dtype.type(margin) - y.reshape(x1.shape) * (x1 - x2)).astype(x1.dtype)


def _margin_gradient(x1, x2, y, dl, margin=1.0):
    active = x1.dtype.type(margin) - y * (x1 - x2) >= 0
    dx1 = np.where(active, -y * dl, 0).astype(x1.dtype)
    return dx1, np.where(active, y * dl, 0).astype(x1.dtype)


MARGINS = ({}, {"margin": 0.25})


def _away(rng, shape, dtype, margin):
    """Similarities away from the margin, where the loss bends."""
    return uniform(-1, 1, away_from=margin, gap=0.02)(rng, shape, dtype)


def _embeddings(backward):
    def samples(rng):
        for dtype in map(np.dtype, FLOATS):
            for shape in SHAPES:
                for args in MARGINS:
                    s = _away(rng, shape, dtype, args.get("margin", 0.0))
                    more = [ANY(rng, shape, dtype)] if backward else []
                    yield Sample([s, _labels(rng, shape, (1, -1, 0)), *more], args)

    return samples


def _margins(backward):
    def samples(rng):
        for dtype in map(np.dtype, FLOATS):
            for shape in SHAPES:
                for args in MARGINS:
                    y = _labels(rng, shape)
                    gap = _away(rng, shape, dtype, args.get("margin", 1.0))
                    x2 = ANY(rng, shape, dtype)
                    x1 = np.asarray(x2 + y * gap).astype(dtype)
                    more = [ANY(rng, shape, dtype)] if backward else []
                    yield Sample([x1, x2, y, *more], args, outputs=2 if backward else 1)

    return samples


# ---------------------------------------------------------------- pairs


def _sessions(count, lengths):
    """(first, end) of each session."""
    if lengths is None:
        return [(0, count)] if count else []
    ends = np.cumsum(lengths)
    return list(zip((ends - lengths).tolist(), ends.tolist(), strict=True))


def _better(labels, first, end):
    """Pairs (i, j) of a session with label i above label j."""
    places = range(first, end)
    return [(i, j) for i in places for j in places if labels[i] > labels[j]]


def _pairs(x, labels, lengths=None):
    flat, marks = x.reshape(-1), labels.reshape(-1)
    losses = []
    for first, end in _sessions(flat.size, lengths):
        terms = [np.logaddexp(0, flat[j] - flat[i]) for i, j in _better(marks, first, end)]
        losses.append(np.mean(terms) if terms else 0.0)
    return np.array(losses).astype(x.dtype)


def _pairs_gradient(x, labels, dy, lengths=None):
    flat, marks = x.reshape(-1).astype(np.float64), labels.reshape(-1)
    dx = np.zeros(flat.size)
    for s, (first, end) in enumerate(_sessions(flat.size, lengths)):
        pairs = _better(marks, first, end)
        for i, j in pairs:
            slope = dy[s] / len(pairs) / (1 + np.exp(flat[i] - flat[j]))
            dx[j] += slope
            dx[i] -= slope
    return dx.reshape(x.shape).astype(x.dtype)


def _pair_samples(backward):
    def samples(rng):
        for dtype in map(np.dtype, FLOATS):
            for lengths in ([3, 0, 4, 1], [2], [], [0], None, "column"):
                column = lengths == "column"
                count = 6 if lengths is None or column else sum(lengths)
                shape = (count, 1) if column else (count,)
                whole = lengths is None or column
                sizes = [] if whole else [np.array(lengths, np.int32)]
                labels = np.asarray(rng.integers(0, 3, shape)).astype(dtype)
                dy = [ANY(rng, (1 if whole else len(lengths),), dtype)] if backward else []
                yield Sample([ANY(rng, shape, dtype), labels, *dy, *sizes])
            empty = [np.zeros(0, dtype)] * (3 if backward else 2)
            yield Sample(empty)

    return samples


# ---------------------------------------------------------------- LambdaRank

DEFAULTS = {"use_ndcg_as_loss": 0, "use_idcg_normalization": 1, "use_exp_gain": 1}


def _discounts(values):
    order = np.argsort(-values, kind="stable")
    d = np.empty(values.size)
    d[order] = 1 / np.log2(np.arange(values.size) + 2)
    return d


def _rank(y, r, lengths, **given):
    args = {**DEFAULTS, **given}
    losses, slopes = [], np.zeros(y.size)
    for first, end in _sessions(y.size, lengths):
        own, marks = y[first:end].astype(np.float64), r[first:end].astype(np.float64)
        if np.abs(marks).sum() < 1e-6:
            losses.append(0.0)
            continue
        linear = args["use_ndcg_as_loss"] and not args["use_exp_gain"]
        g = marks if linear else 2**marks
        d = _discounts(own)
        ideal = (g * _discounts(marks)).sum()
        weight = max(ideal, 1e-5) if args["use_idcg_normalization"] else 1.0
        ahead = own[:, None] - own
        better = marks[:, None] > marks
        share = np.abs((g[:, None] - g) * (d[:, None] - d)) / weight
        np.fill_diagonal(share, 0)
        if args["use_ndcg_as_loss"]:
            losses.append((ideal - (g * d).sum()) / weight)
        else:
            losses.append((share * np.logaddexp(0, np.where(better, -ahead, ahead))).sum())
        slope = np.where(better, 0, 1) - 1 / (1 + np.exp(ahead))
        slopes[first:end] = (share * slope).sum(axis=1)
    return np.array(losses).astype(y.dtype), slopes.astype(y.dtype)


def _rankings(rng):
    for dtype in map(np.dtype, FLOATS):
        for lengths in ([3, 0, 5, 1], [4], [], [0]):
            y = ANY(rng, (sum(lengths),), dtype)
            r = np.asarray(rng.integers(0, 4, y.size)).astype(dtype)
            for ndcg in (0, 1):
                for args in ({}, {"use_idcg_normalization": 0}, {"use_exp_gain": 0}):
                    sizes = np.array(lengths, np.int32)
                    yield Sample([y, r, sizes], {"use_ndcg_as_loss": ndcg, **args}, outputs=2)
        ties = np.array([0.5, 0.5, 0.1, 0.5], dtype)
        yield Sample([ties, np.array([1, 0, 2, 1], dtype), np.array([4], np.int32)], outputs=2)
        yield Sample([ties, 0 * ties, np.array([4], np.int32)], outputs=2)


def _rank_gradient(y, lengths, cached, dloss):
    return cached * np.repeat(dloss, lengths)


def _rank_gradients(rng):
    for dtype in map(np.dtype, FLOATS):
        for lengths in ([3, 0, 5, 1], [4], [], [0]):
            y, cached = (ANY(rng, (sum(lengths),), dtype) for _ in range(2))
            sizes = np.array(lengths, np.int32)
            yield Sample([y, sizes, cached, ANY(rng, (len(lengths),), dtype)])


def _row(name, ref, samples, bad, **more):
    return Case(name, ref, samples, bad=bad, tolerance=1e-5, tolerance_reason=SUMS, **more)


CASES = [
    _row(
        "CosineEmbeddingCriterion",
        _embedding,
        _embeddings(False),
        [
            Bad([F4, I4[:2]], ShapeError, "as many elements as 'S'"),
            Bad([F4, F4], DTypeError, "'Y' is float32; supported: int32"),
            Bad([I4, I4], DTypeError, "'S' is int32; supported: float32"),
            Bad([F4, I4], ArgumentError, "'margin'", args={"margin": "a"}),
            Bad([F4, I4], InplaceError, "does not allow", same=[(0, 0)]),
            Bad([F4], ArityError, "expected 2"),
        ],
    ),
    _row(
        "CosineEmbeddingCriterionGradient",
        _embedding_gradient,
        _embeddings(True),
        [
            Bad([F4, I4, F4[:2]], ShapeError, "as many elements as 'S'"),
            Bad([F4, I4, F8], DTypeError, "one type"),
            Bad([F4, I4], ArityError, "expected 3"),
        ],
    ),
    _row(
        "MarginRankingCriterion",
        _margin,
        _margins(False),
        [
            Bad([F4, F4[:2], I4], ShapeError, "as many elements as 'X1'"),
            Bad([F4, F4, F4], DTypeError, "'Y' is float32; supported: int32"),
            Bad([F4, F8, I4], DTypeError, "one type"),
            Bad([F4, F4, I4], ArgumentError, "'margin'", args={"margin": "a"}),
            Bad([F4, F4], ArityError, "expected 3"),
        ],
    ),
    _row(
        "MarginRankingCriterionGradient",
        _margin_gradient,
        _margins(True),
        [
            Bad([F4, F4, I4, F4[:2]], ShapeError, "as many elements as 'X1'", outputs=2),
            Bad([F4, F4, I4, F8], DTypeError, "one type", outputs=2),
            Bad([F4, F4, I4], ArityError, "expected 4", outputs=2),
        ],
    ),
    _row(
        "PairWiseLoss",
        _pairs,
        _pair_samples(False),
        [
            Bad([F4, F4[:2]], ShapeError, r"must have 3 element"),
            Bad([F4.reshape(1, 3), F4], ShapeError, r"must be \(N\) or \(N,1\)"),
            Bad([F4, F4, I4[:2]], ValueRangeError, "lengths sum to 2, expected 3"),
            Bad([F4, F4, LENGTHS - 2], ValueRangeError, r"lengths\[1\] is -1"),
            Bad([F4, F4, LENGTHS + 1], ValueRangeError, r"lengths\[1\] is 2"),
            Bad([F4, F8], DTypeError, "one type"),
            Bad([F4, F4, F4], DTypeError, "'lengths' is float32; supported: int32"),
            Bad([F4], ArityError, "expected 2 to 3"),
        ],
        gradient=(0,),
    ),
    _row(
        "PairWiseLossGradient",
        _pairs_gradient,
        _pair_samples(True),
        [
            Bad([F4, F4, F4], ShapeError, r"'dY' must be \(1\)"),
            Bad([F4, F4, F4, LENGTHS], ShapeError, r"'dY' must be \(2\)"),
            Bad([F4, F4, F4[:2], I4[:2]], ValueRangeError, "lengths sum to 2, expected 3"),
            Bad([F4, F4, F8[:1]], DTypeError, "one type"),
            Bad([F4, F4], ArityError, "expected 3 to 4"),
        ],
    ),
    _row(
        "LambdaRankNdcg",
        _rank,
        _rankings,
        [
            Bad([F4, F4[:2], LENGTHS], ShapeError, "one shape", outputs=2),
            Bad([F4, F4, I4[:2]], ValueRangeError, "lengths sum to 2, expected 3", outputs=2),
            Bad([F4, F4, LENGTHS + 3], ValueRangeError, r"lengths\[0\] is 5", outputs=2),
            Bad([F4, F8, LENGTHS], DTypeError, "one type", outputs=2),
            Bad([F4, F4, F4], DTypeError, "is float32; supported: int32", outputs=2),
            Bad([F4, F4], ArityError, "expected 3", outputs=2),
        ],
        skip={"gradient": "by definition it is half of the derivative, or not one at all"},
    ),
    _row(
        "LambdaRankNdcgGradient",
        _rank_gradient,
        _rank_gradients,
        [
            Bad([F4, LENGTHS, F4[:2], F4[:2]], ShapeError, "one shape"),
            Bad([F4, LENGTHS, F4, F4], ShapeError, "one shape"),
            Bad([F4, LENGTHS, F8, F4[:2]], DTypeError, "one type"),
            Bad([F4, I4[:2], F4, F4[:2]], ValueRangeError, "lengths sum to 2, expected 3"),
            Bad([F4, LENGTHS, F4], ArityError, "expected 4"),
        ],
    ),
]
