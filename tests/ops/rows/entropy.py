"""Rows: cross entropies, distances of rows, means."""

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
from caffe2py.testing import Bad, Case, Sample

TINY = 1e-20
FLOATS = ("float32", "float64")

X = np.ones((2, 3), np.float32)
T = np.array([0, 2], np.int32)
Q = np.array([[0.5, 0.5, 0], [0, 1, 0]], np.float32)
D = np.float32(1)


def _two(x, axis):
    return x.reshape(math.prod(x.shape[:axis]), math.prod(x.shape[axis:]))


# ---------------------------------------------------------------- entropies


def _flat(x):
    return _two(x, 1) if x.ndim > 1 else x.reshape(1, x.size)


def _label_entropy(x, label):
    rows = _flat(x)
    return -np.log(np.maximum(rows[np.arange(len(rows)), label.reshape(-1)], TINY))


def _label_entropy_gradient(x, label, dy):
    rows, at = _flat(x), (np.arange(len(_flat(x))), label.reshape(-1))
    dx = np.zeros_like(rows)
    dx[at] = -dy / np.maximum(rows[at], x.dtype.type(TINY))
    return dx.reshape(x.shape)


def _entropy(x, label):
    rows = _flat(x)
    return -(label.reshape(rows.shape) * np.log(np.maximum(rows, TINY))).sum(1)


def _entropy_gradient(x, label, dy):
    rows = _flat(x)
    dx = -dy[:, None] * label.reshape(rows.shape) / np.maximum(rows, x.dtype.type(TINY))
    return dx.reshape(x.shape)


SHAPES = [(2, 3), (1, 1), (4, 1), (0, 3), (5, 40), (2, 3, 2), (3,), (1,)]


def _entropy_samples(soft, backward):
    def samples(rng):
        for dtype in FLOATS:
            for index, shape in enumerate(SHAPES):
                x = rng.uniform(0.05, 1, shape).astype(dtype)
                rows, columns = _flat(x).shape
                label = rng.integers(0, columns, (rows, 1) if index % 2 else rows)
                label = label.astype("int64" if index == 4 else "int32")
                if soft:
                    label = rng.uniform(0, 1, (rows, columns)).astype(dtype)
                dy = [rng.uniform(-2, 2, rows).astype(dtype)] if backward else []
                yield Sample([x, label, *dy])
        zero = np.zeros((2, 2), np.float32)
        label = np.ones((2, 2), np.float32) if soft else np.array([0, 1], np.int32)
        dy = [np.array([1e-20, 2e-20], np.float32)] if backward else []
        yield Sample([zero, label, *dy], gradient=False)

    return samples


DY = np.ones(2, np.float32)


def _entropy_errors(label, *more):
    wrong = label.astype("i2") if label.dtype.kind == "i" else label.astype("f8")
    return [
        Bad([X, label[:1], *more], ShapeError, r"X \(2,3\) needs \(2"),
        Bad([X, label[None], *more], ShapeError, r"X \(2,3\) needs \(2"),
        Bad([X[0], label, *more], ShapeError, r"X \(3\) needs \(1"),
        Bad([X, wrong, *more], DTypeError, "is int16|one type"),
        Bad([X.astype("i4"), label, *more], DTypeError, "is int32"),
        Bad([X, *more], ArityError, "input"),
        Bad([X, label, *more], InplaceError, "in place", same=[(0, 0)]),
    ]


def _out_of_range(*more):
    return [
        Bad(
            [X, np.array([0, 3], "i4"), *more], ValueRangeError, "label 3 at position 1 .* 3 class"
        ),
        Bad([X, np.array([-1, 3], "i4"), *more], ValueRangeError, "label -1 at position 0"),
    ]


DY_ERRORS = [
    Bad([X, T, DY[:1]], ShapeError, r"'dY' is \(1\)"),
    Bad([X, T, DY[:, None]], ShapeError, r"'dY' is \(2,1\)"),
]


# ---------------------------------------------------------------- sigmoid cross entropy


def _softplus(x):
    return np.logaddexp(0, x)


def _sigmoid(x):
    return 1 / (1 + np.exp(-x))


def _logistic(x, t, log_D_trick=0, unjoined_lr_loss=0):
    if log_D_trick:
        terms = (2 * t - 1) * _softplus(-x)
    elif unjoined_lr_loss:
        terms = (1 - t) * _softplus(x) - x * t
    else:
        terms = _softplus(x) - x * t
    columns = x.shape[-1] if x.ndim else 1
    total = terms.sum(-1) if x.ndim else terms
    return np.asarray(total / max(columns, 1), x.dtype)


def _logistic_gradient(dy, x, t, log_D_trick=0, unjoined_lr_loss=0):
    if log_D_trick:
        slope = (1 - 2 * t) * _sigmoid(-x)
    elif unjoined_lr_loss:
        slope = (1 - t) * _sigmoid(x) - t
    else:
        slope = _sigmoid(x) - t
    columns = x.shape[-1] if x.ndim else 1
    share = dy.reshape(*x.shape[:-1], 1) if x.ndim else dy
    return np.asarray(share * slope / max(columns, 1), x.dtype)


LOGISTIC_ARGS = [{}, {"log_D_trick": 1}, {"unjoined_lr_loss": 1}]


def _logistic_samples(backward):
    def samples(rng):
        for dtype in FLOATS:
            for shape in [(2, 3), (3,), (), (2, 3, 4), (0, 3), (2, 0), (5, 33)]:
                for args in LOGISTIC_ARGS:
                    x = np.asarray(rng.uniform(-6, 6, shape)).astype(dtype)
                    t = np.asarray(rng.uniform(0, 1, shape)).astype(dtype)
                    dy = np.asarray(rng.uniform(-2, 2, shape[:-1])).astype(dtype)
                    yield Sample([dy, x, t] if backward else [x, t], args)

    return samples


def _logistic_extremes(rng):
    yield from _logistic_samples(False)(rng)
    far = np.array([[100, -100, 80, -80]], np.float32)
    yield Sample([far, np.array([[1, 0, 0, 1]], np.float32)], gradient=False)


BOTH = {"log_D_trick": 1, "unjoined_lr_loss": 1}

# ---------------------------------------------------------------- distances and the mean


def _by_row(x):
    return _two(x, min(x.ndim, 1)) if x.ndim else x.reshape(1, 1)


def _squared(x, y):
    return (_by_row(x - y) ** 2).sum(1) / 2


def _absolute(x, y):
    return np.abs(_by_row(x - y)).sum(1)


def _squared_gradient(x, y, dz):
    d = (_by_row(x - y) * dz[:, None]).reshape(x.shape)
    return d, -d


def _absolute_gradient(x, y, dz):
    d = (np.sign(_by_row(x - y)) * dz[:, None]).reshape(x.shape)
    return d, -d


def _distance_samples(backward):
    def samples(rng):
        for dtype in FLOATS:
            for shape in [(2, 3), (4,), (), (2, 3, 4), (0, 3), (2, 0), (3, 130)]:
                x = np.asarray(rng.uniform(-2, 2, shape)).astype(dtype)
                y = x + np.where(rng.uniform(-1, 1, shape) < 0, -0.5, 0.25).astype(dtype)
                rows = shape[0] if shape else 1
                dz = [rng.uniform(-2, 2, rows).astype(dtype)] if backward else []
                yield Sample([x, np.asarray(y), *dz], {}, 2 if backward else 1)
        if backward:
            same = np.ones((2, 2), np.float32)
            yield Sample([same, same, DY], {}, 2)

    return samples


DISTANCE_ERRORS = [
    Bad([X, X[:1]], ShapeError, r"'X' is \(2,3\), input 1 'Y' is \(1,3\)"),
    Bad([X, X.reshape(6)], ShapeError, "one shape"),
    Bad([X, X.astype("f8")], DTypeError, "one type"),
    Bad([X.astype("i4"), X.astype("i4")], DTypeError, "is int32"),
    Bad([X], ArityError, "expected 2"),
    Bad([X, X], InplaceError, "in place", same=[(0, 0)]),
]
DISTANCE_GRADIENT_ERRORS = [
    Bad([X, X[:1], DY], ShapeError, "one shape", outputs=2),
    Bad([X, X, DY[:1]], ShapeError, r"'dZ' is \(1\), needs one element a row: \(2\)", outputs=2),
    Bad([X, X, DY[:, None]], ShapeError, r"'dZ' is \(2,1\)", outputs=2),
    Bad([X, X, DY.astype("f8")], DTypeError, "one type", outputs=2),
    Bad([X, X, DY], ArityError, "expected 2 output", outputs=1),
    Bad([X, X, DY], InplaceError, "in place", outputs=2, same=[(1, 1)]),
]


def _mean(x, average=0):
    return np.asarray(x.sum(dtype=np.float64) / max(x.size, 1), x.dtype)


def _mean_gradient(x, dy, average=0):
    return np.full(x.shape, dy.reshape(()) / max(x.size, 1), x.dtype)


def _mean_samples(backward):
    def samples(rng):
        for dtype in FLOATS:
            for shape in [(), (0,), (3, 0), (7,), (2, 3, 4), (130, 33)]:
                x = np.asarray(rng.uniform(-2, 2, shape)).astype(dtype)
                dy = rng.uniform(-2, 2, (1,) if len(shape) == 1 else ()) if backward else 0
                more = [np.asarray(dy).astype(dtype)] if backward else []
                yield Sample([x, *more], {"average": 0} if len(shape) == 3 else {})

    return samples


CASES = [
    Case(
        "LabelCrossEntropy",
        _label_entropy,
        _entropy_samples(False, False),
        bad=[*_entropy_errors(T), *_out_of_range()],
    ),
    Case(
        "LabelCrossEntropyGradient",
        _label_entropy_gradient,
        _entropy_samples(False, True),
        bad=[*_entropy_errors(T, DY), *_out_of_range(DY), *DY_ERRORS],
    ),
    Case(
        "CrossEntropy",
        _entropy,
        _entropy_samples(True, False),
        bad=[
            *_entropy_errors(Q),
            Bad([X, Q * 3], ValueRangeError, "label 1.5 at position 0 is no probability"),
            Bad([X, Q - 1], ValueRangeError, "label -0.5 at position 0 is no probability"),
        ],
    ),
    Case(
        "CrossEntropyGradient",
        _entropy_gradient,
        _entropy_samples(True, True),
        bad=[*_entropy_errors(Q, DY), Bad([X, Q, DY[:1]], ShapeError, r"'dY' is \(1\)")],
    ),
    Case(
        "SigmoidCrossEntropyWithLogits",
        _logistic,
        _logistic_extremes,
        bad=[
            Bad([X, X], ArgumentError, "exclude each other", BOTH),
            Bad([X, X[:1]], ShapeError, "one shape"),
            Bad([X, T], DTypeError, "'targets' is int32"),
            Bad([X], ArityError, "expected 2"),
            Bad([X, X], InplaceError, "in place", same=[(0, 0)]),
        ],
        gradient=[0],
    ),
    Case(
        "SigmoidCrossEntropyWithLogitsGradient",
        _logistic_gradient,
        _logistic_samples(True),
        bad=[
            Bad([DY, X, X], ArgumentError, "exclude each other", BOTH),
            Bad([DY, X, X[:1]], ShapeError, "one shape"),
            Bad([DY[:1], X, X], ShapeError, r"'dxentropy' is \(1\).* need \(2\)"),
            Bad([DY, X, X.astype("f8")], DTypeError, "one type"),
            Bad([X, X], ArityError, "expected 3"),
        ],
    ),
    Case("SquaredL2Distance", _squared, _distance_samples(False), bad=DISTANCE_ERRORS),
    Case(
        "SquaredL2DistanceGradient",
        _squared_gradient,
        _distance_samples(True),
        bad=DISTANCE_GRADIENT_ERRORS,
    ),
    Case("L1Distance", _absolute, _distance_samples(False), bad=DISTANCE_ERRORS),
    Case(
        "L1DistanceGradient",
        _absolute_gradient,
        _distance_samples(True),
        bad=DISTANCE_GRADIENT_ERRORS,
    ),
    Case(
        "AveragedLoss",
        _mean,
        _mean_samples(False),
        bad=[
            Bad([X.astype("i4")], DTypeError, "is int32"),
            Bad([X, X], ArityError, "expected 1 input"),
            Bad([X], ArgumentError, "average", {"average": "a"}),
            Bad([X], InplaceError, "in place", same=[(0, 0)]),
        ],
    ),
    Case(
        "AveragedLossGradient",
        _mean_gradient,
        _mean_samples(True),
        bad=[
            Bad([X, DY], ShapeError, r"'doutput' is \(2\), needs one element"),
            Bad([X, D.astype("f8")], DTypeError, "one type"),
            Bad([X], ArityError, "expected 2 input"),
            Bad([X, D], InplaceError, "in place", same=[(0, 0)]),
        ],
    ),
]
