"""Regularizers: the numbers that they add to a loss, the bounds that they keep, what trains."""

import math

import numpy as np
import pytest

from caffe2py import brew, core, optimizer, regularizer, workspace
from caffe2py.errors import Error, UsageError
from caffe2py.executor import session
from caffe2py.executor.workspace import Workspace
from caffe2py.model_helper import ModelHelper

W = np.array([[0.5, -2.0, 0.0, 1.0], [-1.5, 0.25, 3.0, -0.75]], np.float32)


@pytest.fixture(autouse=True)
def _fresh(monkeypatch):
    monkeypatch.setattr(session, "_workspaces", {"default": Workspace()})
    monkeypatch.setattr(session, "_current", "default")


def run(one, by, grad=None, w=W):
    net, init = core.Net("regularized"), core.Net("init")
    workspace.FeedBlob("w", w)
    made = one(net, init, core.BlobReference("w"), grad, by=by)
    workspace.RunNetOnce(init)
    workspace.RunNetOnce(net)
    return None if made is None else workspace.FetchBlob(str(made))


def on_loss(one, w=W):
    return float(run(one, "on_loss", w=w).reshape(-1)[0])


ABS, COLUMNS = np.abs(W), np.sqrt((W**2).sum(0))
LARGEST = np.sort(ABS, axis=1)[:, ::-1]

TERMS = {
    "l1": (regularizer.L1Norm(0.1), 0.1 * ABS.sum()),
    "l2": (regularizer.L2Norm(0.1), 0.1 * (W**2).sum()),
    "elastic": (regularizer.ElasticNet(0.1, 0.2), 0.1 * ABS.sum() + 0.2 * (W**2).sum()),
    "trimmed": (regularizer.L1NormTrimmed(0.1, 2), 0.1 * LARGEST[:, 2:].sum()),
    "elastic trimmed": (
        regularizer.ElasticNetL1NormTrimmed(0.1, 0.2, 3),
        0.1 * LARGEST[:, 3:].sum() + 0.2 * (W**2).sum(),
    ),
    "lp": (regularizer.LpNorm(0.1, 3.0), 0.1 * (COLUMNS**3).sum() ** (1 / 3)),
    "l0": (regularizer.L0ApproxNorm(0.1, 2.5), 0.1 * (np.minimum(COLUMNS, 2.5) / 2.5).sum()),
    "l0 budget": (
        regularizer.L0ApproxNorm(0.1, 2.5, 2),
        0.1 * ((np.minimum(COLUMNS, 2.5) / 2.5).sum() - 2),
    ),
    "groups": (
        regularizer.GroupL1Norm(0.1, [1, 3]),
        0.1 * (math.sqrt((W[:, :1] ** 2).sum()) + math.sqrt(3) * math.sqrt((W[:, 1:] ** 2).sum())),
    ),
}


@pytest.mark.parametrize("name", TERMS)
def test_terms(name):
    one, expected = TERMS[name]
    assert on_loss(one) == pytest.approx(expected, rel=1e-5)
    assert run(one, "after_optimizer") is None
    np.testing.assert_array_equal(workspace.FetchBlob("w"), W)


def test_log_barrier():
    positive = ABS + np.float32(0.5)
    one = regularizer.LogBarrier(0.1, "exp", {"gamma": 0.5})
    # the first iteration is the first step of the discount
    assert on_loss(one, positive) == pytest.approx(-0.1 * 0.5 * np.log(positive).sum(), rel=1e-5)
    run(one, "after_optimizer", w=W)
    assert (workspace.FetchBlob("w") > 0).all()


def test_bounds():
    run(regularizer.BoundedGradientProjection(lb=-1, ub=1), "after_optimizer")
    np.testing.assert_array_equal(workspace.FetchBlob("w"), W.clip(-1, 1))
    one = regularizer.BoundedGradientProjection(lb=0, left_open=True, epsilon=0.125)
    run(one, "after_optimizer")
    np.testing.assert_array_equal(workspace.FetchBlob("w"), W.clip(0.125))


def test_rows_of_sparse_gradients():
    workspace.FeedBlob("rows", np.array([1], np.int32))
    workspace.FeedBlob("values", np.zeros((1, 4), np.float32))
    slices = core.GradientSlice("rows", "values")
    norm = np.linalg.norm(W[1])
    for one, expected in (
        (regularizer.MaxNorm(2.0), W[1] * 2 / norm),
        (regularizer.MaxNorm(50.0), W[1]),
        (regularizer.ConstantNorm(50.0), W[1] * 50 / norm),
        (regularizer.SparseL2Norm(0.25), W[1] * 0.75),
        (regularizer.SparseL1Norm(0.5), np.sign(W[1]) * np.maximum(np.abs(W[1]) - 0.5, 0)),
    ):
        run(one, "after_optimizer", slices)
        found = workspace.FetchBlob("w")
        np.testing.assert_array_equal(found[0], W[0])
        np.testing.assert_allclose(found[1], expected, rtol=1e-4, atol=1e-5)
        with pytest.raises(UsageError, match="not supported for dense"):
            run(one, "after_optimizer", core.BlobReference("values"))


def test_it_is_trained_along():
    model = ModelHelper("along")
    y = brew.fc(model, "x", "y", 4, 2)
    loss = model.net.AveragedLoss(y, "loss")
    weight = core.BlobReference("y_w")
    term = regularizer.L2Norm(0.5)(model.net, model.param_init_net, weight, by="on_loss")
    total = model.net.Add([loss, term], "total", broadcast=1)
    model.AddGradientOperators([total])
    optimizer.build_sgd(model, 0.1)
    workspace.FeedBlob("x", np.zeros((3, 4), np.float32))
    workspace.RunNetOnce(model.param_init_net)
    before = workspace.FetchBlob("y_w")
    workspace.RunNetOnce(model.net)
    np.testing.assert_allclose(workspace.FetchBlob("y_w"), before * 0.9, rtol=1e-5)


def test_wrong_uses():
    with pytest.raises(Error, match="is none of"):
        run(regularizer.L1Norm(1), "somewhere")
    with pytest.raises(Error, match="BlobReference"):
        regularizer.L1Norm(1)(core.Net("n"), core.Net("i"), "w", by="on_loss")
    with pytest.raises(Error, match="must not be negative"):
        regularizer.L2Norm(-1)
    with pytest.raises(Error, match="nothing lies between"):
        regularizer.BoundedGradientProjection(lb=1, ub=0)
