"""Optimizers do their work: losses fall; wrong settings are refused."""

import inspect

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


# ---- options

OPTIMIZERS = {
    "SgdOptimizer": "base_learning_rate=0.01 policy='fixed' momentum=0.0 nesterov=True "
    "sparse_dedup_aggregator=None lars=None",
    "MultiPrecisionSgdOptimizer": "base_learning_rate=0.1 momentum=0.0 policy='fixed' "
    "nesterov=True sparse_dedup_aggregator=None lars=None",
    "FP16SgdOptimizer": "base_learning_rate=0.1 momentum=0.0 policy='fixed' nesterov=True "
    "weight_decay=0.0001 sparse_dedup_aggregator=None lars=None",
    "RmsPropOptimizer": "alpha=0.01 decay=0.9 momentum=0.0 epsilon=1e-05 policy='fixed' engine=''",
    "YellowFinOptimizer": "alpha=0.1 mu=0.0 beta=0.999 curv_win_width=20 zero_debias=True "
    f"epsilon={0.1**6!r} policy='fixed' sparse_dedup_aggregator=None",
    "WngradOptimizer": "alpha=1.0 epsilon=1e-09 policy='fixed' sparse_dedup_aggregator=None "
    "engine='' moment_init=100.0 lars=None output_effective_lr=False "
    "output_effective_lr_and_update=False",
    "StormOptimizer": "lr=0.1 momentum=10.0 beta=0.1 grad_sq_init=0.01 policy='fixed' "
    "sparse_dedup_aggregator=None lars=None",
    "AdadeltaOptimizer": "alpha=0.01 epsilon=0.0001 decay=0.95 policy='fixed' "
    "sparse_dedup_aggregator=None engine=''",
    "FtrlOptimizer": "alpha=0.01 beta=0.0001 lambda1=0 lambda2=0 sparse_dedup_aggregator=None "
    "engine=''",
    "GFtrlOptimizer": "alpha=0.01 beta=0.0001 lambda1=0 lambda2=0 sparse_dedup_aggregator=None "
    "engine=''",
    "AdamOptimizer": "alpha=0.001 beta1=0.9 beta2=0.999 epsilon=1e-08 policy='fixed' "
    "use_lr_adaption=False lr_alpha=0.01 normalized_lr_adaption=True "
    "sparse_dedup_aggregator=None rowWise=False engine='' enableRAdam=False",
    "AdagradOptimizer": "alpha=0.01 epsilon=0.0001 decay=1 weight_decay=0.0 policy='fixed' "
    "sparse_dedup_aggregator=None rowWise=False engine='' lars=None output_effective_lr=False "
    "output_effective_lr_and_update=False pruning_options=None swa_options=None ema_options=None "
    "weight_scale=None counter_halflife=-1",
}


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_options(name):
    kind = getattr(optimizer, name)
    assert " ".join(f"{k}={v.default!r}" for k, v in kind.options.items()) == OPTIMIZERS[name]
    first, second = list(kind.options)[:2]
    made = kind(0.5, 7.0)
    assert (getattr(made, first), getattr(made, second), made.init_kwargs) == (0.5, 7.0, {})
    made.scale_learning_rate(2.0)
    assert getattr(made, first) == 1.0
    assert list(inspect.signature(kind).parameters)[:2] == [first, second]
    assert f"{first}: " in kind.__doc__


def test_other_arguments_belong_to_the_policy():
    made = optimizer.SgdOptimizer(0.1, "step", stepsize=3, momentum=0.5)
    assert (made.policy, made.momentum, made.init_kwargs) == ("step", 0.5, {"stepsize": 3})


def test_wrong_options():
    for make, message in [
        (lambda: optimizer.SgdOptimizer(*range(7)), "SgdOptimizer got 7 positional.*momentum"),
        (lambda: optimizer.AdamOptimizer(0.1, alpha=0.2), "AdamOptimizer got its option alpha tw"),
        (lambda: optimizer.FtrlOptimizer(gamma=0.2), "FtrlOptimizer has no options gamma"),
        (lambda: optimizer.Optimizer(1), "no options"),
        (optimizer.WeightDecayBuilder, "WeightDecayBuilder needs its option weight_decay"),
    ]:
        with pytest.raises(UsageError, match=message):
            make()


def test_optimizers_of_ones_own():
    class Own(optimizer.Optimizer):
        def __init__(self, size):
            super().__init__()
            self.size = size

        def _run(self, net, param_init_net, param_info):
            net.Copy(param_info.grad, param_info.blob)

    net, made = core.Net("n"), Own(3)
    assert list(inspect.signature(Own).parameters) == ["size"]
    made(net, core.Net("i"), "w", "g")
    assert [op.type for op in net.Proto().op] == ["Copy"]
    with pytest.raises(Error, match="has no learning rate"):
        made.scale_learning_rate(2.0)
    with pytest.raises(Error, match="how it updates"):
        optimizer.Optimizer()(net, core.Net("i"), "w", "g")
    with pytest.raises(ValueError, match="does not support sparse gradients"):
        optimizer.WeightDecayBuilder(0.1)(net, core.Net("i"), "w", core.GradientSlice("r", "v"))


@pytest.mark.parametrize("build", [optimizer.build_sgd, optimizer.build_adam])
def test_rates_and_models_must_be_what_they_are(build):
    model = ModelHelper("typed")
    brew.fc(model, "x", "y", 2, 1)
    model.AddGradientOperators([model.net.AveragedLoss("y", "loss")])
    with pytest.raises(UsageError, match="learning rate must be a number, found 'fast'"):
        build(model, "fast")
    with pytest.raises(UsageError, match="expected a ModelHelper, found None"):
        build(None, 0.1)
