"""Every row through every property: forward, gradient, in-place, inference, errors."""

import pytest

from caffe2py.registry.gradient import NoGradient, NotDifferentiable
from caffe2py.registry.operator import registered
from caffe2py.testing import checks
from tests.ops.table import CASES, rng, samples

pytestmark = pytest.mark.parametrize("name", sorted(CASES))


def _case(name, prop):
    case = CASES[name]
    if prop in case.skip:
        pytest.skip(case.skip[prop])
    if not any(device == "cpu" for device, _ in registered()[name].kernels):
        pytest.skip("it is for devices only: tests/cuda")
    return case


def test_forward(name):
    case = _case(name, "forward")
    drawn = samples(case)
    assert drawn, "a row without samples checks nothing"
    for sample in drawn:
        checks.check_forward(case, sample)


def test_gradient(name):
    case = _case(name, "gradient")
    draw = rng(case)
    checked = sum(checks.check_gradient(case, sample, draw) for sample in samples(case))
    rule = registered()[name].gradient
    if not isinstance(rule, NoGradient | NotDifferentiable):
        assert checked, "the row has no sample whose gradient can be checked"


def test_inplace(name):
    case = _case(name, "inplace")
    checked = sum(checks.check_inplace(case, sample) for sample in samples(case))
    if registered()[name].schema.inplace_pairs():
        assert checked, "the row has no sample that can run in place"


def test_infer(name):
    case = _case(name, "infer")
    for sample in samples(case):
        checks.check_infer(case, sample)


def test_errors(name):
    case = CASES[name]
    assert case.bad or "errors" in case.skip, "which inputs must fail?"
    for bad in case.bad:
        checks.check_bad(case, bad)
