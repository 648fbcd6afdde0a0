"""Rows: products with one number a row or a column."""

import numpy as np

from caffe2py.errors import ArgumentError, ArityError, DTypeError, InplaceError, ShapeError
from caffe2py.testing import Bad, Case, Sample, uniform

FLOATS = ("float32", "float64")
F4 = np.ones((2, 3), np.float32)
F8 = np.ones((2, 3), np.float64)
I4 = np.ones((2, 3), np.int32)
ANY = uniform(-2, 2)


def _row_mul(mat, w):
    return mat * w.reshape(-1, *[1] * (mat.ndim - 1))


def _row_samples(rng):
    for dtype in map(np.dtype, FLOATS):
        for shape in ((4, 3), (5,), (1, 7), (0, 3), (3, 0), (2, 3, 4)):
            yield Sample([ANY(rng, shape, dtype), ANY(rng, shape[:1], dtype)])
        yield Sample([ANY(rng, (3, 2), dtype), ANY(rng, (3, 1), dtype)], gradient=False)


def _matrix(x, axis):
    axis = axis + x.ndim if axis < 0 else axis
    columns = int(np.prod(x.shape[axis:]))
    return x.reshape(int(np.prod(x.shape[:axis])), columns)


def _linear(x, w, b, axis=1):
    return (_matrix(x, axis) * w + b).reshape(x.shape)


def _linear_gradient(dy, x, w, axis=1):
    rows, dx = _matrix(dy, axis), _matrix(dy, axis) * w
    dw, db = ((rows * m).sum(axis=0, dtype=x.dtype) for m in (_matrix(x, axis), 1))
    return dx.reshape(x.shape), dw, db


#: shape of X and its axis, None for the default of 1
PLACES = [
    ((4, 3), None),
    ((1, 7), None),
    ((2, 3, 4), None),
    ((2, 3, 4), 2),
    ((2, 3, 4), -1),
    ((2, 3), 0),
    ((5,), 0),
    ((5,), None),
    ((0, 3), None),
    ((3, 0), None),
]


def _linears(backward):
    def samples(rng):
        for dtype in map(np.dtype, FLOATS):
            for shape, axis in PLACES:
                first = 1 if axis is None else axis % len(shape)
                vector = (int(np.prod(shape[first:])),)
                x, w, b = (ANY(rng, s, dtype) for s in (shape, vector, vector))
                args = {} if axis is None else {"axis": axis}
                if backward:
                    yield Sample([ANY(rng, shape, dtype), x, w], args, outputs=3)
                else:
                    yield Sample([x, w, b], args)

    return samples


CASES = [
    Case(
        "RowMul",
        _row_mul,
        _row_samples,
        bad=[
            Bad([F4, F4[0]], ShapeError, "'w' must have one element for each row of 'mat'"),
            Bad([F4[0, 0], F4[0, :1]], ShapeError, "'mat' must have rows"),
            Bad([F4, F8[:, 0]], DTypeError, "one type"),
            Bad([I4, I4[:, 0]], DTypeError, "is int32; supported: float32"),
            Bad([F4, F4[:, 0]], InplaceError, "does not allow", same=[(0, 0)]),
            Bad([F4], ArityError, "expected 2"),
        ],
    ),
    Case(
        "ElementwiseLinear",
        _linear,
        _linears(False),
        bad=[
            Bad([F4, F4[0, :2], F4[0]], ShapeError, "'w' must be a vector of 3 element"),
            Bad([F4, F4[0], F4[:1]], ShapeError, "'b' must be a vector of 3 element"),
            Bad([F4, F4[0], F4[0]], ShapeError, "axis 3 is out of range", args={"axis": 3}),
            Bad([F4, F8[0], F4[0]], DTypeError, "one type"),
            Bad([I4, I4[0], I4[0]], DTypeError, "is int32; supported: float32"),
            Bad([F4, F4[0], F4[0]], ArgumentError, "'axis'", args={"axis": "a"}),
            Bad([F4, F4[0], F4[0]], InplaceError, "does not allow", same=[(0, 0)]),
            Bad([F4, F4[0]], ArityError, "expected 3"),
        ],
    ),
    Case(
        "ElementwiseLinearGradient",
        _linear_gradient,
        _linears(True),
        bad=[
            Bad([F4, F4[:1], F4[0]], ShapeError, "one shape", outputs=3),
            Bad([F4, F4, F4[0, :2]], ShapeError, "'w' must be a vector of 3", outputs=3),
            Bad([F4, F8, F4[0]], DTypeError, "one type", outputs=3),
            Bad([F4, F4, F4[0]], ArityError, "expected 3 output", outputs=2),
        ],
    ),
]
