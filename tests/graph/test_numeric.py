"""Gradients of whole nets against numeric differentiation of the executed loss.

float32 throughout: the slope along a random direction, by central differences with a step of 1e-2
(or less), must agree within 1 percent of the larger of the two and of what rounding of the loss
allows. The nets are smooth there.
"""

import numpy as np
import pytest

from caffe2py import core, workspace
from caffe2py.executor import session
from caffe2py.executor.workspace import Workspace

TOLERANCE = 1e-2


@pytest.fixture(autouse=True)
def _fresh(monkeypatch):
    monkeypatch.setattr(session, "_workspaces", {"default": Workspace()})
    monkeypatch.setattr(session, "_current", "default")


def fan_out(net):
    """One blob read by four operators, twice by one of them, and passed through by Sum."""
    net.FC(["x", "w", "b"], "h")
    net.Sigmoid("h", "p")
    net.Mul(["h", "h"], "q")
    net.Sum(["h", "p", "q", "h"], "s")
    net.Sub(["s", "h"], "l")
    return ["l"], {"x": (3, 4), "w": (5, 4), "b": (5,)}


def shared_weights(net):
    """The same parameters in three layers."""
    for k in range(3):
        net.FC([f"h{k}", "w", "b"], f"a{k}")
        net.Sigmoid(f"a{k}", f"h{k + 1}")
    return ["h3"], {"h0": (2, 4), "w": (4, 4), "b": (4,)}


def in_place(net):
    """Operators in place, behind and before a Sum in place that two blobs share."""
    net.FC(["x", "w", "b"], "a")
    net.FC(["x", "v", "b"], "c")
    net.Negative("a", "a")
    net.Sum(["a", "c"], "a")
    net.Sigmoid("a", "a")
    net.Softmax("a", "l")
    net.Mul(["l", "c"], "m")
    net.Add(["m", "z"], "m")
    return ["m"], {"x": (2, 4), "w": (3, 4), "v": (3, 4), "b": (3,), "z": (2, 3)}


def image(net):
    """A small convolutional net with normalisation and pooling."""
    net.Conv(["x", "k", "kb"], "c", kernel=3, pad=1)
    net.SpatialBN(["c", "s", "t", "m", "v"], ["n", "m", "v", "sm", "sv"], is_test=0)
    net.Sigmoid("n", "n2")
    net.LRN("n2", "r", size=3, alpha=0.1, beta=0.75)
    net.AveragePool("r", "p", kernel=2, stride=2)
    net.FC(["p", "w", "b"], "f")
    net.Softmax("f", "l")
    shapes = {"x": (2, 3, 6, 6), "k": (4, 3, 3, 3), "kb": (4,), "s": (4,), "t": (4,)}
    return ["l"], {**shapes, "m": (4,), "v": (4,), "w": (5, 36), "b": (5,)}


def shapes_and_parts(net):
    """Parts, one of them unused, joined and reshaped; broadcasting in all of it."""
    net.Split("x", ["a", "c", "unused"], axis=1)
    net.Concat(["c", "a", "c"], ["j", "_"], axis=1)
    net.Mul(["j", "w"], "y")
    net.Transpose("y", "t")
    net.Reshape("t", ["r", "_2"], shape=[3, -1])
    net.ExpandDims("r", "e", dims=[0])
    net.Squeeze("e", "q", dims=[0])
    net.Div(["q", "d"], "z")
    net.FlattenToVec("z", "l")
    return ["l"], {"x": (2, 6), "w": (6,), "d": (3, 1)}


def several_losses(net):
    """A loss that another loss reads, and both with their own gradients."""
    net.FC(["x", "w", "b"], "l")
    net.Sigmoid("l", "m")
    net.Negative("x", "y")
    net.Mul(["y", "x"], "k")
    return ["l", "m", "k"], {"x": (2, 3), "w": (3, 3), "b": (3,)}


NETS = [fan_out, shared_weights, in_place, image, shapes_and_parts, several_losses]
#: Running statistics: what a net writes and no loss depends on.
STATISTICS = {"m", "v"}


def run(net, feeds):
    for name, value in feeds.items():
        workspace.FeedBlob(name, value.astype(np.float32))
    workspace.RunNetOnce(net.Proto())


@pytest.mark.parametrize("given", [False, True])
@pytest.mark.parametrize("build", NETS, ids=lambda build: build.__name__)
def test_gradient(build, given):
    rng = np.random.default_rng(5)
    forward, net = core.Net("forward"), core.Net("both")
    losses, shapes = build(forward)
    build(net)
    feeds = {name: rng.uniform(0.5, 1.5, shape) for name, shape in shapes.items()}
    run(forward, feeds)
    seeds = {name: np.ones(workspace.FetchBlob(name).shape) for name in losses}
    ys = losses
    if given:
        seeds = {name: rng.standard_normal(one.shape) for name, one in seeds.items()}
        ys = {name: f"start_{name}" for name in losses}
    grads = net.AddGradientOperators(ys)
    run(net, {**feeds, **{f"start_{name}": seed for name, seed in seeds.items()}})
    wanted = sorted(set(feeds) - (STATISTICS if build is image else set()))
    found = {name: workspace.FetchBlob(str(grads[name])).astype(np.float64) for name in wanted}

    def total(step, direction):
        moved = {name: value + step * direction.get(name, 0) for name, value in feeds.items()}
        run(forward, moved)
        return sum(np.sum(workspace.FetchBlob(n).astype(np.float64) * s) for n, s in seeds.items())

    for name in wanted:
        direction = {name: rng.standard_normal(feeds[name].shape)}
        analytic = np.sum(found[name] * direction[name])
        slopes = [(total(h, direction) - total(-h, direction)) / (2 * h) for h in (1e-2, 3e-3)]
        error = min(abs(slope - analytic) for slope in slopes)
        rounding = 2e-6 * sum(np.abs(seed).sum() for seed in seeds.values()) / 1e-2
        assert error <= TOLERANCE * max(abs(analytic), abs(slopes[0])) + rounding, name
