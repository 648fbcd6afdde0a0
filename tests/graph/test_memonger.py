"""Nets that share memory compute what they computed before, with fewer blobs."""

import numpy as np
import pytest

from caffe2py import brew, core, memonger, workspace
from caffe2py.errors import Error, NetError
from caffe2py.executor import session
from caffe2py.executor.workspace import Workspace
from caffe2py.model_helper import ModelHelper

DEPTH = 5


@pytest.fixture(autouse=True)
def _fresh(monkeypatch):
    monkeypatch.setattr(session, "_workspaces", {"default": Workspace()})
    monkeypatch.setattr(session, "_current", "default")


def deep(train):
    """Layers one after the other, with a branch; their loss and gradients if `train`."""
    model = ModelHelper("deep")
    y = "x"
    for k in range(DEPTH):
        y = brew.fc(model, y, f"fc{k}", 4, 4)
        y = brew.tanh(model, y, f"tanh{k}")
        if k == 2:
            y = model.net.Add([y, "tanh0"], "joined")
    loss = model.net.AveragedLoss(y, "loss")
    if train:
        model.AddGradientOperators([loss])
    else:
        model.net.AddExternalOutput(loss)
    workspace.FeedBlob("x", np.random.default_rng(0).normal(size=(3, 4)).astype(np.float32))
    workspace.RunNetOnce(model.param_init_net)
    return model


def results(net, names):
    workspace.RunNetOnce(net)
    return [workspace.FetchBlob(name) for name in names]


def blobs(net):
    return {name for op in net.op for name in (*op.input, *op.output)}


def assert_same(found, expected):
    for a, b in zip(found, expected, strict=True):
        np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize("activations", [False, True])
def test_shared_gradients_train_alike(activations):
    model = deep(train=True)
    gradients = [str(grad) for grad in model.param_to_grad.values()]
    expected = results(model.net.Proto(), ["loss", *gradients])
    shared = memonger.share_grad_blobs(
        model.net, ["loss"], set(gradients), "", share_activations=activations
    )
    assert len(blobs(shared)) < len(blobs(model.net.Proto()))
    assert set(gradients) <= blobs(shared)
    assert_same(results(shared, ["loss", *gradients]), expected)


def test_blobs_that_are_not_to_be_shared_keep_their_names():
    model = deep(train=True)
    kept = {"tanh1_grad", "tanh3_grad"}
    shared = memonger.share_grad_blobs(model.net, ["loss"], set(), "", dont_share_blobs=kept)
    assert kept <= blobs(shared)
    other_scope = memonger.share_grad_blobs(model.net, ["loss"], set(), "elsewhere")
    assert other_scope == model.net.Proto()


def test_inference_in_less_memory():
    model = deep(train=False)
    expected = results(model.net.Proto(), ["loss"])
    for made in (
        memonger.optimize_inference_for_dag(model.net, ["x"]),
        memonger.optimize_inference_fast(model.net.Proto(), {*blobs(model.net.Proto())} - {"fc3"}),
        memonger.optimize_inference_fast(model.net.Proto(), {"x", "loss"}),
    ):
        assert len(made.op) == len(model.net.Proto().op)
        assert_same(results(made, ["loss"]), expected)
    assert len(blobs(made)) < len(blobs(model.net.Proto())) - 3


def test_nets_that_cannot_be_optimized():
    with pytest.raises(NetError, match="is a gradient operator"):
        memonger.optimize_inference_for_dag(deep(train=True).net, ["x"])
    net = core.Net("n")
    net.Relu("nowhere", "y")
    del net.Proto().external_input[:]
    with pytest.raises(NetError, match="nowhere not in external input"):
        memonger.optimize_inference_for_dag(net, [])


@pytest.mark.parametrize("algorithm", list(memonger.AssignmentAlgorithm))
@pytest.mark.parametrize(
    "order",
    [memonger.topological_sort_traversal, memonger.topological_sort_traversal_longest_path],
    ids=["traversal", "longest path"],
)
def test_one_order(algorithm, order):
    model = deep(train=False)
    net = model.net.Proto()
    expected = results(net, ["loss"])
    static = [*net.external_input, *net.external_output]
    sizes = memonger.collect_blob_sizes(net)
    found = memonger.optimize_interference(net, static, order, sizes, algorithm)
    memonger.verify_assignments(found.assignments)
    assert memonger.verify_inplace_blobs(found.net, found.net)
    assert len(blobs(found.net)) < len(blobs(net))
    assert_same(results(found.net, ["loss"]), expected)
    saved = memonger.compute_statistics(found.assignments)
    assert saved.optimized_nbytes < saved.baseline_nbytes == sum(sizes.values())


def test_blobs_are_released():
    net = deep(train=False).net.Proto()
    expected = results(net, ["loss"])
    made = memonger.release_blobs_when_used(net, {"tanh3"})
    freed = [op.output[0] for op in made.op if op.type == "Free"]
    assert "fc1" in freed
    assert not {"tanh3", "loss", "x"} & set(freed)
    assert_same(results(made, ["loss"]), expected)
    only = memonger.release_blobs_when_used(net, set(), lambda name: name == "fc1")
    assert [op.output[0] for op in only.op if op.type == "Free"] == ["fc1"]


def test_memory_estimate():
    net = deep(train=False).net
    shapes, types = workspace.InferShapesAndTypes([net])
    total, most, by_type = memonger.estimate_memory_usage([net.Proto()], shapes, types, None)
    each = 3 * 4 * 4
    assert by_type == {"FC": DEPTH * each, "Tanh": DEPTH * each, "Add": each, "AveragedLoss": 4}
    assert total == most == sum(by_type.values())
    released = memonger.release_blobs_when_used(net.Proto(), set())
    assert memonger.estimate_memory_usage([released], shapes, types, None)[1] < most


def test_different_graphs_are_told_apart():
    first, second = core.Net("a"), core.Net("b")
    first.Relu("x", "y")
    second.Relu("x", "z")
    assert memonger.verify_graph_equality(first.Proto(), second.Proto())
    first.Relu("y", "u")
    second.Relu("x", "u")
    assert not memonger.verify_graph_equality(first.Proto(), second.Proto())
    third = core.Net("c")
    third.Relu("x", "x")
    assert not memonger.verify_inplace_blobs(first.Proto(), third.Proto())
    assert memonger.blob_nbytes("nothing") == 0
    with pytest.raises(Error):
        memonger.verify_assignments(
            [[("a", memonger.LiveRange(0, 5, 1)), ("b", memonger.LiveRange(3, 6, 1))]]
        )
