"""Row: Print. What it writes is checked in test_print.py."""

from caffe2py.errors import ArgumentError, ArityError
from caffe2py.testing import Bad, Case, Sample
from tests.ops.rows.shape import ALL, F4, draw


def _samples(rng):
    for dtype in ALL:
        yield Sample([draw(rng, (2, 3), dtype)], outputs=0)
    for shape in ((), (0,), (3, 0, 2), (2000,)):
        yield Sample([draw(rng, shape, "float32")], outputs=0)
    for args in ({"limit": 2}, {"every_n": 3}, {"to_file": 0}):
        yield Sample([F4], args, 0)


CASES = [
    Case(
        "Print",
        lambda x, **args: (),
        _samples,
        bad=[
            Bad([F4], ArityError, r"expected 0 output\(s\)"),
            Bad([F4, F4], ArityError, "found 2", outputs=0),
            Bad([F4], ArgumentError, "at least 1, found 0", args={"every_n": 0}, outputs=0),
            Bad([F4], ArgumentError, "expected an int", args={"limit": "all"}, outputs=0),
        ],
    )
]
