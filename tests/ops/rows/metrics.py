"""Rows: accuracy."""

import numpy as np

from caffe2py.errors import ArgumentError, ArityError, DTypeError, ShapeError, ValueRangeError
from caffe2py.testing import Bad, Case, Sample


def _accuracy(x, labels, top_k=1):
    right = 0
    for row, label in zip(x, labels, strict=True):
        order = sorted(range(len(row)), key=lambda c: (-row[c], c))
        right += label in order[: max(top_k, 0)]
    with np.errstate(invalid="ignore"):
        return np.float32(np.float64(right) / np.float64(len(x)))


def _samples(rng):
    for index, (rows, columns) in enumerate([(2, 3), (1, 1), (0, 3), (9, 5), (40, 10)]):
        for top in (None, 1, 2, 3, 7, 0, -1):
            x = rng.integers(0, 4, (rows, columns)).astype("float64" if index == 3 else "float32")
            labels = rng.integers(0, columns, rows).astype("int64" if index == 4 else "int32")
            yield Sample([x, labels], {} if top is None else {"top_k": top})


X = np.ones((2, 3), np.float32)
T = np.array([0, 2], np.int32)

CASES = [
    Case(
        "Accuracy",
        _accuracy,
        _samples,
        bad=[
            Bad([X, T + 1], ValueRangeError, "label 3 at position 1 is out of range for 3 class"),
            Bad([X, T - 1], ValueRangeError, "label -1 at position 0"),
            Bad([X[:, :0], T], ValueRangeError, "for 0 class"),
            Bad([X, T[:1]], ShapeError, r"'labels' is \(1\); predictions \(2,3\)"),
            Bad([X, T[:, None]], ShapeError, "must have 1 dimension"),
            Bad([X[0], T], ShapeError, "must have 2 dimension"),
            Bad([X, T.astype("u1")], DTypeError, "is uint8"),
            Bad([X.astype("i4"), T], DTypeError, "is int32"),
            Bad([X, T], ArgumentError, "top_k", {"top_k": 1.5}),
            Bad([X], ArityError, "expected 2"),
        ],
    ),
]
