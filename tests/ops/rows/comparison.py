"""Rows: comparisons and logic with both broadcasting rules."""

import numpy as np

from caffe2py.errors import ArityError, DTypeError, InplaceError, ShapeError
from caffe2py.testing import Bad, Case, Sample, elementwise_samples
from tests.ops.rows.arithmetic import NUMPY_RULE, OLD_RULE, _binary

F4 = np.ones((2, 3), np.float32)
TRUE = np.ones((2, 3), np.bool_)
COMPARED = ("bool", "int32", "int64", "float32", "float64")


def _draw(rng, shape, dtype):
    """Few different values, so that many are equal."""
    return np.asarray(rng.integers(0, 2 if dtype == "bool" else 3, shape)).astype(dtype)


def _truths(rng, shape, dtype):
    return _draw(rng, shape, "bool")


def _operands(*dtypes):
    def samples(rng):
        for dtype in dtypes:
            for a, b in [*NUMPY_RULE, ((130, 33), (130, 33))]:
                yield Sample([_draw(rng, a, dtype), _draw(rng, b, dtype)])
            for a, b, args in OLD_RULE:
                yield Sample([_draw(rng, a, dtype), _draw(rng, b, dtype)], args)
        if "float32" in dtypes:
            special = np.array([0, -0.0, np.inf, -np.inf, np.nan, 1], np.float32)
            yield Sample([special[:, None], special])

    return samples


def _errors(values):
    return [
        Bad([values, values[:, :2]], ShapeError, r"\(2,3\) and \(2,2\) cannot be broadcast"),
        Bad([values[0], values], ShapeError, "more dimensions", args={"broadcast": 1}),
        Bad([values, values[0]], ShapeError, "axis 2 does", args={"broadcast": 1, "axis": 2}),
        Bad([values, values], InplaceError, "does not allow", same=[(1, 0)]),
        Bad([values], ArityError, "expected 2"),
    ]


def _compare(name, function):
    mixed = Bad([F4, F4 > 0], DTypeError, "must have one type: input 0 'A' is float32")
    half = F4.astype(np.float16)
    narrow = Bad([half, half], DTypeError, "is float16; supported: bool, int32")
    alike = Bad([TRUE, TRUE], InplaceError, "does not allow", same=[(0, 0)])
    bad = [*_errors(F4), mixed, narrow, alike]
    return Case(name, _binary(function), _operands(*COMPARED), bad=bad)


def _connect(name, function):
    bad = [*_errors(TRUE), Bad([F4, F4], DTypeError, "is float32; supported: bool")]
    return Case(name, _binary(function), _operands("bool"), bad=bad)


CASES = [
    _compare("EQ", np.equal),
    _compare("NE", np.not_equal),
    _compare("LT", np.less),
    _compare("LE", np.less_equal),
    _compare("GT", np.greater),
    _compare("GE", np.greater_equal),
    _connect("And", np.logical_and),
    _connect("Or", np.logical_or),
    _connect("Xor", np.logical_xor),
    Case(
        "Not",
        np.logical_not,
        elementwise_samples(_truths, dtypes=("bool",)),
        bad=[
            Bad([F4], DTypeError, "is float32; supported: bool"),
            Bad([TRUE], InplaceError, "does not allow", same=[(0, 0)]),
            Bad([TRUE, TRUE], ArityError, "expected 1"),
        ],
    ),
]
