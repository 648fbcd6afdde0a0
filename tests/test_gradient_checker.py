"""The gradient checker accepts right gradients and finds wrong ones."""

import numpy as np
import pytest

from caffe2py import core, gradient_checker, workspace
from caffe2py.errors import Error, NoGradientError, UsageError
from caffe2py.executor import session
from caffe2py.executor.workspace import Workspace

CHECKER = gradient_checker.GradientChecker(0.01, 0.01)


@pytest.fixture(autouse=True)
def _fresh(monkeypatch):
    monkeypatch.setattr(session, "_workspaces", {"default": Workspace()})
    monkeypatch.setattr(session, "_current", "default")


def normal(*shape):
    return np.random.default_rng(0).normal(size=shape).astype(np.float32)


def test_a_right_gradient():
    op = core.CreateOperator("FC", ["x", "w", "b"], ["y"])
    inputs = [normal(3, 4), normal(2, 4), normal(2)]
    for index in range(3):
        passed, gradient, estimate = CHECKER.CheckSimple(op, inputs, index, [0])
        assert passed
        assert gradient.shape == inputs[index].shape
        if index == 2:  # all elements of small inputs are looked at
            np.testing.assert_allclose(gradient, estimate, rtol=0.05, atol=0.02)
    assert workspace.CurrentWorkspace() == "default"
    assert not workspace.HasBlob("x")


def test_a_wrong_gradient():
    op = core.CreateOperator("Sigmoid", ["x"], ["y"])
    wrong = [core.CreateOperator("Negative", ["y_grad"], ["x_grad"])]
    assert not CHECKER.CheckSimple(op, [normal(4)], 0, [0], wrong)[0]


def test_a_sparse_gradient():
    op = core.CreateOperator("Gather", ["table", "rows"], ["y"])
    rows = np.array([2, 0, 2], np.int32)
    passed, gradient, _ = CHECKER.CheckSimple(op, [normal(4, 2), rows], 0, [0])
    assert passed
    assert np.all(gradient[[1, 3]] == 0)
    assert np.all(gradient[[0, 2]] != 0)


def test_what_cannot_be_checked():
    op = core.CreateOperator("Gather", ["table", "rows"], ["y"])
    with pytest.raises(UsageError, match="has no gradient"):
        CHECKER.CheckSimple(op, [normal(4, 2), np.array([1])], 1, [0])
    with pytest.raises(NoGradientError):
        gradient_checker.getGradientForOp(core.CreateOperator("ArgMax", ["x"], ["y"]))


def squares(name, wrong=False):
    net = core.Net(name)
    net.AddExternalInput("x")
    y = net.StopGradient("x", "stopped") if wrong else "x"
    net.Mul([y, "x"], "y")
    return net


def test_whole_nets():
    x = {"x": normal(2, 3)}
    check = gradient_checker.NetGradientChecker
    mean, largest = check.Check(squares("a"), ["y"], x, "x", 0.01, 0.01)
    assert mean <= largest < 0.01
    with pytest.raises(Error, match="gradient of 'x'"):
        check.Check(squares("b", wrong=True), ["y"], x, "x", 0.01, 0.01, print_net=False)
    check.CompareNets([squares("c"), squares("d")], [["y"], ["y"]], [0], ["x"], x)
    nets = [squares("e"), squares("f", wrong=True)]
    with pytest.raises(Error, match="gradient of 'x'"):
        check.CompareNets(nets, [["y"], ["y"]], [0], ["x"], x)
    workspace.ResetWorkspace()
    with pytest.raises(Error, match="has no value"):
        check.CompareNets([squares("g")], [["y"]], [0], ["x"])
