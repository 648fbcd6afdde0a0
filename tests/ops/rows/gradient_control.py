"""Rows: operators that change the backward pass only."""

from caffe2py.errors import ArityError
from caffe2py.testing import Bad, Case, Sample
from tests.ops.rows.shape import ALL, F4, draw, same_elements

SHAPES = [((2, 3), {}), ((), {}), ((0,), {}), ((3, 0, 2), {}), ((1, 1), {})]
ERRORS = [
    Bad([F4, F4], ArityError, r"expected 1 input\(s\) \(X\), found 2"),
    Bad([F4], ArityError, "found 2", outputs=2),
]


def _without_output(rng):
    for dtype in ALL:
        yield Sample([draw(rng, (2, 3), dtype)], outputs=0)


CASES = [
    Case("StopGradient", lambda x: x, same_elements(*SHAPES), bad=ERRORS),
    Case(
        "NegateGradient",
        lambda x: x,
        same_elements(*SHAPES),
        bad=ERRORS,
        skip={"gradient": "it is not the derivative, on purpose: see test_gradient_control.py"},
    ),
    Case(
        "ZeroGradient",
        lambda x: (),
        _without_output,
        bad=[
            Bad([F4], ArityError, r"expected 0 output\(s\) \(none\), found 1"),
            Bad([], ArityError, "found 0", outputs=0),
        ],
        skip={"gradient": "there is no output to derive: see test_gradient_control.py"},
    ),
]
