"""Rows: losses over softmax, of rows and of pixels."""

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


def _two(x, axis):
    return x.reshape(math.prod(x.shape[:axis]), math.prod(x.shape[axis:]))


def _softmax(x):
    e = np.exp(x - x.max(axis=1, keepdims=True, initial=-np.inf))
    return e / e.sum(axis=1, keepdims=True)


def _log_softmax(x):
    shifted = x - x.max(axis=1, keepdims=True, initial=-np.inf)
    return shifted - np.log(np.exp(shifted).sum(axis=1, keepdims=True))


# ---------------------------------------------------------------- softmax with loss


def _loss(x, labels, weights=None, label_prob=0, axis=1, scale=1.0, order=None, **flags):
    two = _two(x, axis % x.ndim)
    rows = len(two)
    weights = np.ones(rows, x.dtype) if weights is None else weights.reshape(-1)
    p = _softmax(two)
    if label_prob:
        losses = -(labels.reshape(two.shape) * np.log(np.maximum(p, TINY))).sum(1)
    else:
        losses = -_log_softmax(two)[np.arange(rows), labels.reshape(-1)]
    losses = losses * weights
    divisor = rows if flags.get("average_by_batch_size") else weights.sum()
    loss = scale * losses.sum() / divisor if weights.sum() else 0
    return p.reshape(x.shape), np.asarray(loss, x.dtype), losses.astype(x.dtype)


def _loss_gradient(x, labels, *rest, label_prob=0, axis=1, scale=1.0, order=None, **flags):
    *weights, p, dloss = rest
    two = _two(p, axis % x.ndim).astype(np.float64)
    rows = len(two)
    weight = weights[0].reshape(-1) if weights else np.ones(rows)
    target = np.zeros_like(two)
    if label_prob:
        target = labels.reshape(two.shape)
    else:
        target[np.arange(rows), labels.reshape(-1)] = 1
    divisor = rows if flags.get("average_by_batch_size") else weight.sum()
    factor = scale * dloss.reshape(()) * weight / divisor if weight.sum() else 0 * weight
    return ((two - target) * factor[:, None]).reshape(x.shape).astype(x.dtype)


#: shape of the logits, of the labels, arguments
LABELLED = [
    ((2, 3), (2,), {}),
    ((7, 30), (7,), {"order": "nchw"}),
    ((2, 3), (2, 1), {"scale": 2.5}),
    ((2, 3, 2), (2,), {}),
    ((2, 3, 2), (2, 3), {"axis": 2}),
    ((2, 3, 2), (2, 3, 1), {"axis": -1}),
    ((3,), (1,), {"axis": 0}),
    ((3,), (), {"axis": 0}),
    ((4, 1), (4,), {"average_by_batch_size": 1}),
    ((0, 3), (0,), {}),
    ((5, 6), (5,), {"average_by_batch_size": 1, "scale": 0.5}),
]
DISTRIBUTED = [
    ((2, 3), (2, 3), {}),
    ((2, 3, 2), (2, 6), {}),
    ((2, 3, 2), (2, 3, 2), {"axis": 2, "scale": 3.0}),
    ((0, 3), (0, 3), {}),
    ((5, 6), (5, 6), {"average_by_batch_size": 1}),
]


def _distributions(rng, shape, labels, axis):
    p = _softmax(_two(rng.uniform(-2, 2, shape), axis % len(shape)))
    return p.reshape(labels)


def _loss_operands(rng):
    """(logits, labels, weights, arguments)"""
    for dtype in FLOATS:
        for index, (shape, labels, args) in enumerate(LABELLED):
            axis = args.get("axis", 1)
            rows, classes = _two(np.empty(shape), axis % len(shape)).shape
            x = rng.uniform(-5, 5, shape).astype(dtype)
            kind = "int32" if index % 3 else "int64"
            t = np.asarray(rng.integers(0, classes, labels)).astype(kind)
            yield x, t, rng.uniform(0.1, 2, rows).astype(dtype), args
        for shape, labels, args in DISTRIBUTED:
            axis = args.get("axis", 1)
            rows = math.prod(shape[: axis % len(shape)])
            x = rng.uniform(-5, 5, shape).astype(dtype)
            t = _distributions(rng, shape, labels, axis).astype(dtype)
            if dtype == "float32":
                t = t.astype("float16").astype(dtype)
                t.reshape(rows, -1 if rows else 1)[:, -1:] += 1 - t.reshape(
                    rows, -1 if rows else 1
                ).sum(1, keepdims=True)
                t = np.abs(t)
            yield x, t, rng.uniform(0.1, 2, (rows, 1)).astype(dtype), {**args, "label_prob": 1}


def _loss_samples(rng):
    for index, (x, labels, weights, args) in enumerate(_loss_operands(rng)):
        yield Sample([x, labels], args, 2 + index % 2)
        yield Sample([x, labels, weights], args, 2)
    x, labels = np.ones((2, 3), np.float32), np.array([0, 2], np.int32)
    yield Sample([x, labels, np.zeros(2, np.float32)], {}, 2)
    yield Sample([x, labels, np.array([0, 3], np.float32)], {}, 3)
    far = np.array([[1000, -1000], [0, 500]], np.float32)
    yield Sample([far, np.array([1, 0], np.int32)], {}, 2, gradient=False)


def _loss_gradient_samples(rng):
    for x, labels, weights, args in _loss_operands(rng):
        p = _softmax(_two(x, args.get("axis", 1) % x.ndim)).reshape(x.shape)
        dloss = rng.uniform(-2, 2, (1,) if len(x) == 2 else ()).astype(x.dtype)
        yield Sample([x, labels, p, dloss], args)
        yield Sample([x, labels, weights, p, dloss], {**args, "only_loss": 1})
    x, labels = np.full((2, 3), 0.25, np.float32), np.array([0, 2], np.int32)
    yield Sample([x, labels, np.zeros(2, np.float32), x, np.float32(2)])


X = np.ones((2, 3), np.float32)
T = np.array([0, 2], np.int32)
Q = np.array([[0.5, 0.5, 0], [0, 1, 0]], np.float32)
D = np.float32(1)


def _loss_errors(outputs, *more):
    def bad(x, t, error, match, args=None, weights=()):
        inputs = [x, t, *weights, *more]
        if more:
            inputs[-2] = x if inputs[-2] is X else inputs[-2]
        return Bad(inputs, error, match, args or {}, outputs)

    return [
        bad(X, np.array([0, 3], "i4"), ValueRangeError, "label 3 at position 1 is out of range"),
        bad(X, np.array([-1, 0], "i4"), ValueRangeError, "label -1 at position 0"),
        bad(X, T[:1], ShapeError, r"'.*' is \(1\), needs 2 element"),
        bad(X, T[None], ShapeError, r"is \(1,2\); logits of \(2,3\).*need \(2,1\)"),
        bad(X, T.astype("i2"), DTypeError, "is int16; supported: int32"),
        bad(X, T, ShapeError, "axis 2 is out of range", {"axis": 2}),
        bad(X, T, ShapeError, "axis -3 is out of range", {"axis": -3}),
        bad(X[0], T, ShapeError, "axis 1 is out of range"),
        bad(X, T, ArgumentError, "order must be NCHW, found 'NHWC'", {"order": "NHWC"}),
        bad(X, T, ArgumentError, "scale", {"scale": "a"}),
        bad(X, Q[:1], ShapeError, r"is \(1,3\)", {"label_prob": 1}),
        bad(X, T, DTypeError, "is int32; supported: float32", {"label_prob": 1}),
        bad(X, T, ShapeError, "needs 2 element", weights=[np.ones(3, "f")]),
        bad(X, T, DTypeError, "one type", weights=[np.ones(2)]),
        bad(X.astype("i4"), T, DTypeError, "is int32"),
    ]


def _probability_errors():
    args = {"label_prob": 1}
    return [
        Bad([X, Q * 1.1], ValueRangeError, "row 0 must not be negative and must sum to 1", args, 2),
        Bad([X, Q - [0, 0, 1e-2]], DTypeError, "one type", args, 2),
        Bad([X, Q * np.array([[-1, 3, 1]], "f")], ValueRangeError, "smallest -0.5", args, 2),
        Bad([X[0], Q[0]], ShapeError, r"is \(3\); logits", {**args, "axis": 0}, 2),
        Bad([X, T], ArityError, "expected 2 to 3 output", outputs=1),
        Bad([X], ArityError, "expected 2 to 3 input", outputs=2),
        Bad([X, T], InplaceError, "in place", outputs=2, same=[(0, 0)]),
    ]


# ---------------------------------------------------------------- softmax at every pixel


def _pixel_rows(x):
    return np.moveaxis(x, 1, -1).reshape(-1, x.shape[1])


def _image(rows, shape):
    return np.moveaxis(rows.reshape(shape[0], *shape[2:], shape[1]), -1, 1)


def _pixel_loss(x, labels, weights=None, scale=1.0, order="NCHW"):
    p = _softmax(_pixel_rows(x))
    flat = labels.reshape(-1)
    counts = (flat != -1) * (np.ones(flat.size) if weights is None else weights.reshape(-1))
    mine = p[np.arange(flat.size), np.maximum(flat, 0)]
    total = (-np.log(np.maximum(mine, TINY)) * counts).sum()
    loss = scale * total / counts.sum() if counts.sum() else 0
    return _image(p, x.shape), np.asarray(loss, x.dtype)


def _pixel_loss_gradient(x, labels, *rest, scale=1.0, order="NCHW", only_loss=0):
    *weights, p, dloss = rest
    flat = labels.reshape(-1)
    counts = (flat != -1) * (weights[0].reshape(-1) if weights else np.ones(flat.size))
    target = np.eye(x.shape[1])[np.maximum(flat, 0)]
    factor = scale * dloss.reshape(()) * counts / counts.sum() if counts.sum() else 0 * counts
    rows = (_pixel_rows(p.astype(np.float64)) - target) * factor[:, None]
    return _image(rows, x.shape).astype(x.dtype)


def _pixel_operands(rng):
    for dtype in FLOATS:
        for index, shape in enumerate(
            [(1, 3, 2, 2), (2, 4, 3, 5), (2, 1, 1, 1), (0, 3, 2, 2), (1, 2, 0, 3), (3, 10, 7, 1)]
        ):
            x = rng.uniform(-4, 4, shape).astype(dtype)
            pixels = (shape[0], *shape[2:])
            labels = rng.integers(-1, shape[1], pixels).astype("int64" if index == 1 else "int32")
            weights = rng.uniform(0.1, 2, pixels).astype(dtype)
            yield x, labels, weights, {"scale": 0.5} if index % 2 else {}


def _pixel_samples(rng):
    for x, labels, weights, args in _pixel_operands(rng):
        yield Sample([x, labels], args, 2)
        yield Sample([x, labels, weights], {**args, "order": "NCHW"}, 2)
        yield Sample([x, np.full_like(labels, -1), weights], args, 2)


def _pixel_gradient_samples(rng):
    for x, labels, weights, args in _pixel_operands(rng):
        p = _image(_softmax(_pixel_rows(x)), x.shape).astype(x.dtype)
        dloss = x.dtype.type(1.5)
        yield Sample([x, labels, p, dloss], args)
        yield Sample([x, labels, weights, p, dloss], {**args, "only_loss": 1})
        yield Sample([x, np.full_like(labels, -1), p, dloss], args)


X4 = np.ones((1, 3, 2, 2), np.float32)
T3 = np.zeros((1, 2, 2), np.int32)


def _pixel_errors(outputs, *more):
    def bad(x, t, error, match, args=None):
        inputs = [x, t, *([x, *more[1:]] if more else [])]
        return Bad(inputs, error, match, args or {}, outputs)

    return [
        bad(X4, T3 + 3, ValueRangeError, r"label 3 at position 0 is out of range for 3"),
        bad(X4, T3 - 2, ValueRangeError, "label -2"),
        bad(X4[0], T3, ShapeError, "must have 4 dimension"),
        bad(X4, T3[0], ShapeError, "must have 3 dimension"),
        bad(X4, T3[:, :1], ShapeError, r"is \(1,1,2\), needs \(1,2,2\)"),
        bad(X4[:, :0], T3, ShapeError, "have no class"),
        bad(X4, T3, ArgumentError, "order must be NCHW", {"order": "NHWC"}),
        bad(X4.astype("i4"), T3, DTypeError, "is int32"),
        bad(X4, T3.astype("u1"), DTypeError, "is uint8"),
    ]


CASES = [
    Case(
        "SoftmaxWithLoss",
        _loss,
        _loss_samples,
        bad=[*_loss_errors(2), *_probability_errors()],
        gradient=[0],
        gradient_outputs=[1],
    ),
    Case(
        "SoftmaxWithLossGradient",
        _loss_gradient,
        _loss_gradient_samples,
        bad=[
            *_loss_errors(1, X, D),
            Bad([X, T, X[:1], D], ShapeError, "one shape"),
            Bad([X, T, X, np.ones(2, "f")], ShapeError, r"is \(2\), needs 1 element"),
            Bad([X, T, X], ArityError, "expected 4 or 5 input"),
            Bad([X, T, X, D], InplaceError, "in place", same=[(2, 0)]),
        ],
    ),
    Case(
        "SpatialSoftmaxWithLoss",
        _pixel_loss,
        _pixel_samples,
        bad=[
            *_pixel_errors(2),
            Bad([X4, T3, np.ones(2, "f")], ShapeError, "needs 4 element", outputs=2),
            Bad([X4, T3, X4[:, 0].astype("f8")], DTypeError, "one type", outputs=2),
            Bad([X4, T3], ArityError, "expected 2 output"),
            Bad([X4, T3], InplaceError, "in place", outputs=2, same=[(0, 0)]),
        ],
        gradient=[0],
        gradient_outputs=[1],
    ),
    Case(
        "SpatialSoftmaxWithLossGradient",
        _pixel_loss_gradient,
        _pixel_gradient_samples,
        bad=[
            *_pixel_errors(1, X4, D),
            Bad([X4, T3, X4[:, :1], D], ShapeError, "one shape"),
            Bad([X4, T3, X4, np.ones(2, "f")], ShapeError, "needs 1 element"),
            Bad([X4, T3, np.ones(2, "f"), X4, D], ShapeError, "needs 4 element"),
            Bad([X4, T3, X4], ArityError, "expected 4 or 5 input"),
        ],
    ),
]
