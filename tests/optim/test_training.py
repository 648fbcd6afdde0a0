"""Optimizers do their work: losses fall; wrong settings are refused."""

import numpy as np
import pytest

from caffe2py import brew, core, optimizer, workspace
from caffe2py.errors import Error, UsageError, ValueRangeError
from caffe2py.model_helper import ModelHelper


def regression():
    """A model that is to find the sum of three numbers, and what it is to minimise."""
    workspace.ResetWorkspace()
    model = ModelHelper("regression")
    found = brew.fc(model, "x", "found", 3, 1, weight_init=("ConstantFill", {"value": 0.1}))
    distance = model.net.SquaredL2Distance([found, "wanted"], "distance")
    loss = model.net.AveragedLoss(distance, "loss")
    model.AddGradientOperators([loss])
    return model


def losses(model, steps=30):
    x = np.random.default_rng(0).random((16, 3), np.float32)
    workspace.FeedBlob("x", x)
    workspace.FeedBlob("wanted", x.sum(axis=1, keepdims=True))
    workspace.RunNetOnce(model.param_init_net)
    workspace.CreateNet(model.net)
    found = []
    for _ in range(steps):
        workspace.RunNet(model.net)
        found.append(float(workspace.FetchBlob("loss")))
    return found


BUILDS = {
    "momentum": lambda m: optimizer.build_sgd(m, 0.02, momentum=0.9),
    "nesterov": lambda m: optimizer.build_sgd(m, 0.02, momentum=0.9, nesterov=False),
    "clipped": lambda m: optimizer.build_sgd(m, 0.02, momentum=0.9, max_gradient_norm=1.0),
    "adagrad": lambda m: optimizer.build_adagrad(m, 0.1),
    "adam": lambda m: optimizer.build_adam(m, 0.05),
    "rms_prop": lambda m: optimizer.build_rms_prop(m, 0.01),
    "ftrl": lambda m: optimizer.build_ftrl(m, engine="", alpha=0.5, beta=1.0),
}


@pytest.mark.parametrize("build", BUILDS.values(), ids=BUILDS)
def test_losses_fall(build):
    model = regression()
    build(model)
    found = losses(model)
    assert np.isfinite(found).all()
    assert found[-1] < found[0] / 2


@pytest.mark.parametrize("rate", [-0.1, float("nan")])
def test_rates_are_positive(rate):
    for build in (optimizer.build_sgd, optimizer.build_adam, optimizer.build_adagrad):
        with pytest.raises(ValueRangeError, match="Expect positive base learning rate"):
            build(regression(), rate)


def test_parameters_need_gradients():
    net, init = core.Net("n"), core.Net("i")
    with pytest.raises(UsageError, match="parameter 'w' has no gradient"):
        optimizer.SgdOptimizer(0.1)(net, init, "w")
    with pytest.raises(UsageError, match="AddGradientOperators first"):
        optimizer.build_sgd(ModelHelper("m"), 0.1)
    sparse = core.GradientSlice("rows", "values")
    for made in (optimizer.YellowFinOptimizer(), optimizer.RmsPropOptimizer()):
        with pytest.raises(UsageError, match="does not support sparse gradients"):
            made(net, init, "w", sparse)
    with pytest.raises(Error, match="sum or mean"):
        optimizer.Optimizer.dedup(net, "product", sparse)


def test_pruning_options():
    for options, message in [
        ({"mask_tensor": [1]}, "numpy array"),
        ({"mask_db_path": "x"}, "mask_db_type"),
        ({"prune_delays": [1], "prune_ratios": []}, "same length"),
        ({"mask_tensor": np.ones(1), "prune_delays": [1], "prune_ratios": [1]}, "a mask is"),
    ]:
        with pytest.raises(UsageError, match=message):
            optimizer.AdagradOptimizer(pruning_options=options)
