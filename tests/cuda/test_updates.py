"""Optimizers of some rows on a device: an index that comes twice, and one that is no row."""

import numpy as np
import pytest

from caffe2py import core
from caffe2py.errors import ValueRangeError
from caffe2py.executor.workspace import Workspace
from caffe2py.tensor.device import CPU
from tests.cuda.kit import CUDA

ROWS, WIDTH = 7, 9

#: The inputs behind the parameter and its moments.
RULES = {
    "SparseAdagrad": (1, ["i", "g", "lr"]),
    "SparseAdadelta": (2, ["i", "g", "lr"]),
    "SparseAdam": (2, ["i", "g", "lr", "t"]),
    "RowWiseSparseAdagrad": (1, ["i", "g", "lr"]),
}


def updated(rule, device, indices):
    """The parameter before and after; what went wrong."""
    moments, rest = RULES[rule]
    draw = np.random.default_rng(1)
    workspace = Workspace()
    values = {
        "p": draw.random((ROWS, WIDTH)),
        "m0": draw.random(ROWS if rule.startswith("RowWise") else (ROWS, WIDTH)),
        "m1": draw.random((ROWS, WIDTH)),
        "g": draw.standard_normal((len(indices), WIDTH)),
        "lr": np.array([-0.1]),
    }
    for name, value in values.items():
        workspace.feed(name, value.astype(np.float32), device)
    workspace.feed("i", indices, device)
    workspace.feed("t", np.array([3]))
    held = ["p", *(f"m{k}" for k in range(moments))]
    op = core.CreateOperator(rule, [*held, *rest], held)
    op.device_option.CopyFrom(device.to_option())
    error = None
    try:
        workspace.run_operator_once(op)
    except ValueRangeError as found:
        error = str(found)
    return values["p"].astype(np.float32), workspace.fetch("p"), error


@pytest.mark.parametrize("rule", RULES)
def test_an_index_that_comes_often_is_applied_as_often_and_in_order(rule):
    indices = np.random.default_rng(2).integers(0, ROWS, 40)
    _, expected, _ = updated(rule, CPU, indices)
    before, found, error = updated(rule, CUDA, indices)
    assert error is None
    assert not np.array_equal(before, found)
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize("wrong", [-1, ROWS])
def test_nothing_changes_if_an_index_is_no_row(rule, wrong):
    indices = np.array([0, 3, wrong, 3])
    before, found, error = updated(rule, CUDA, indices)
    assert f"'i'[2] is {wrong}" in error
    np.testing.assert_array_equal(found, before)
