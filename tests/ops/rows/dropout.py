"""Rows: dropout. Here only what is not random; the rest is in tests/ops/test_dropout.py."""

import numpy as np

from caffe2py.errors import ArgumentError, ArityError, DTypeError, InplaceError, ShapeError
from caffe2py.testing import Bad, Case, Sample
from caffe2py.testing.case import SHAPES


def _dropout(x, is_test, ratio=0.5):
    assert is_test or ratio == 0
    return x if is_test else (x, np.ones(x.shape, bool))


def _certain(rng):
    """Nothing is dropped: in a test, or at ratio 0."""
    for dtype in ("float32", "float64"):
        for shape in SHAPES:
            x = np.asarray(rng.uniform(-2, 2, shape)).astype(dtype)
            yield Sample([x], {"is_test": 1, "ratio": 0.75})
            yield Sample([x], {"is_test": 0, "ratio": 0.0}, 2)


def _gradient(dy, mask=None, is_test=0, ratio=0.5):
    # the scale is rounded as the values are
    return dy if is_test else np.where(mask, dy * dy.dtype.type(1 / (1 - ratio)), 0 * dy)


def _masked(rng):
    for dtype in ("float32", "float64"):
        for shape in SHAPES:
            dy = np.asarray(rng.uniform(-2, 2, shape)).astype(dtype)
            mask = np.asarray(rng.uniform(0, 1, shape) > 0.5)
            yield Sample([dy, mask])
            yield Sample([dy, mask], {"ratio": 0.25})
            yield Sample([dy, mask], {"ratio": 0.0, "is_test": 0})
            yield Sample([dy, mask], {"is_test": 1})
            yield Sample([dy], {"is_test": 1, "ratio": 0.75})


F4 = np.ones((2, 3), np.float32)
TRAIN = {"is_test": 0}


def _ratios(inputs, args, outputs):
    return [
        Bad(inputs, ArgumentError, r"ratio must lie in \[0, 1\)", {**args, "ratio": r}, outputs)
        for r in (-0.25, 1.0, 1.5, np.nan)
    ]


CASES = [
    Case(
        "Dropout",
        _dropout,
        _certain,
        bad=[
            *_ratios([F4], TRAIN, 2),
            *_ratios([F4], {"is_test": 1}, 1),
            Bad([F4], ArgumentError, "'is_test' .int. is required", outputs=2),
            Bad([F4], ArityError, r"expected 2 output\(s\) \(Y, mask\)", TRAIN),
            Bad([F4, F4], ArityError, "expected 1 input", TRAIN, 2),
            Bad([F4.astype(np.int32)], DTypeError, "'X' is int32; supported: float32", TRAIN, 2),
            Bad([F4], InplaceError, "input 0 as output 0", TRAIN, 2, same=[(0, 1)]),
        ],
    ),
    Case(
        "DropoutGrad",
        _gradient,
        _masked,
        bad=[
            *_ratios([F4, F4 > 0], {}, 1),
            Bad([F4], ArityError, r"expected 2 input\(s\) \(dY, mask\)"),
            Bad([F4, F4], DTypeError, "'mask' is float32; supported: bool"),
            Bad([F4, F4[:1] > 0], ShapeError, r"'dY' is \(2,3\), input 1 'mask' is \(1,3\)"),
            Bad([F4 > 0, F4 > 0], DTypeError, "'dY' is bool"),
            Bad([F4, F4 > 0], InplaceError, "input 0 as output 0", same=[(1, 0)]),
        ],
    ),
]
