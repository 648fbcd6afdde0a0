"""Rows: softmax."""

import numpy as np

from caffe2py.errors import ArityError, DTypeError, InplaceError, ShapeError
from caffe2py.testing import Bad, Case, Sample

F4 = np.ones((2, 3), np.float32)

#: shape and axis, None for the default of 1
PLACES = [
    ((5,), 0),
    ((5,), -1),
    ((1,), 0),
    ((2, 3), None),
    ((2, 3), 0),
    ((2, 3), -2),
    ((0, 3), None),
    ((2, 0), None),
    ((0,), 0),
    ((3, 1), None),
    ((2, 3, 4), None),
    ((2, 3, 4), 2),
    ((2, 3, 4), -3),
    ((2, 1, 3, 2), -2),
    ((7, 130), None),
]


def _rows(x, axis):
    return x.reshape(-1 if x.size else int(np.prod(x.shape[:axis])), int(np.prod(x.shape[axis:])))


def _softmax(x, axis=1):
    rows = _rows(x, axis)
    e = np.exp(rows - rows.max(axis=1, keepdims=True, initial=-np.inf))
    return (e / e.sum(axis=1, keepdims=True)).reshape(x.shape)


def _softmax_gradient(y, dy, axis=1):
    product = _rows(y * dy, axis).sum(axis=1, keepdims=True)
    return (_rows(y, axis) * (_rows(dy, axis) - product)).reshape(y.shape)


def _drawn(draw):
    def samples(rng):
        for dtype in ("float32", "float64"):
            for shape, axis in PLACES:
                inputs = [x.astype(dtype) for x in draw(rng, shape)]
                yield Sample(inputs, {} if axis is None else {"axis": axis})

    return samples


def _logits(rng, shape):
    return [rng.uniform(-5, 5, shape)]


def _extreme(rng):
    yield from _drawn(_logits)(rng)
    yield Sample([np.array([[1e4, 1e4], [-1e4, 0], [-np.inf, 3]], np.float32)])


def _with_gradient(rng, shape):
    return [rng.uniform(0, 1, shape), rng.uniform(-2, 2, shape)]


def _far_axes():
    return [
        Bad([F4], ShapeError, r"axis 2 is out of range for 2 dimension", args={"axis": 2}),
        Bad([F4], ShapeError, r"axis -3 is out of range", args={"axis": -3}),
        Bad([F4[0]], ShapeError, r"axis 1 is out of range for 1 dimension"),
        Bad([F4[0, 0]], ShapeError, r"axis 1 is out of range for 0 dimension"),
    ]


CASES = [
    Case(
        "Softmax",
        _softmax,
        _extreme,
        bad=[
            *_far_axes(),
            Bad([np.ones((2, 3), np.int32)], DTypeError, "'X' is int32; supported: float32"),
            Bad([F4.astype(np.float16)], DTypeError, "is float16"),
            Bad([F4], InplaceError, "allowed: none", same=[(0, 0)]),
            Bad([F4, F4], ArityError, r"expected 1 input\(s\) \(X\), found 2"),
        ],
    ),
    Case(
        "SoftmaxGradient",
        _softmax_gradient,
        _drawn(_with_gradient),
        bad=[
            *(Bad([*b.inputs, *b.inputs], b.error, b.match, b.args) for b in _far_axes()),
            Bad([F4, F4.astype(np.float64)], DTypeError, "must have one type"),
            Bad([F4, F4[:1]], ShapeError, r"'Y' is \(2,3\), input 1 'dY' is \(1,3\)"),
            Bad([F4, F4], InplaceError, "allowed: none", same=[(1, 0)]),
            Bad([F4], ArityError, "expected 2"),
        ],
    ),
]
