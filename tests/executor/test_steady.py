"""What plans derive from weights once: packed filters follow every change of the weights."""

import numpy as np
import pytest

from caffe2py import core, workspace
from caffe2py.errors import NetError
from tests.toy import net, op


@pytest.fixture(autouse=True)
def _clean():
    workspace.ResetWorkspace()


def feed(scale=1.0):
    rng = np.random.default_rng(0)
    x = rng.uniform(-1, 1, (1, 40, 12, 12)).astype(np.float32)
    w = rng.uniform(-1, 1, (40, 40, 3, 3)).astype(np.float32) * np.float32(scale)
    workspace.FeedBlob("x", x)
    workspace.FeedBlob("w", w)


CONV = net(op("Conv", "x w", "y", kernel=3, pad=1), name="conv")


def test_fed_weights_are_seen():
    feed()
    workspace.CreateNet(CONV)
    workspace.RunNet("conv")
    first = workspace.FetchBlob("y")
    feed(3.0)
    workspace.RunNet("conv")
    assert np.allclose(workspace.FetchBlob("y"), 3 * first, rtol=1e-4, atol=1e-3)


@pytest.mark.parametrize("once", [False, True])
def test_weights_that_another_net_writes_are_seen(once):
    feed()
    double = net(op("Scale", "w", "w", scale=2.0), name="double")
    workspace.CreateNet(double)
    workspace.CreateNet(CONV)
    workspace.RunNet("conv")
    first = workspace.FetchBlob("y")
    for factor in (2, 4):
        workspace.RunNetOnce(double) if once else workspace.RunNet("double")
        workspace.RunNet("conv")
        assert np.allclose(workspace.FetchBlob("y"), factor * first, rtol=1e-4, atol=1e-3)
    workspace.RunOperatorOnce(core.CreateOperator("Scale", "w", "w", scale=0.25))
    workspace.RunNet("conv")
    assert np.allclose(workspace.FetchBlob("y"), first, rtol=1e-4, atol=1e-3)


def test_weights_that_the_net_itself_writes_are_seen():
    feed()
    learning = net(
        op("Conv", "x w", "y", kernel=3, pad=1), op("Scale", "w", "w", scale=2.0), name="learning"
    )
    workspace.CreateNet(learning)
    workspace.RunNet("learning")
    first = workspace.FetchBlob("y")
    workspace.RunNet("learning")
    assert np.allclose(workspace.FetchBlob("y"), 2 * first, rtol=1e-4, atol=1e-3)


def test_weights_written_under_another_name_are_seen():
    feed()
    workspace.RunOperatorOnce(core.CreateOperator("Alias", "w", "same"))
    workspace.CreateNet(CONV)
    workspace.RunNet("conv")
    first = workspace.FetchBlob("y")
    workspace.RunOperatorOnce(core.CreateOperator("Scale", "same", "same", scale=2.0))
    workspace.RunNet("conv")
    assert np.allclose(workspace.FetchBlob("y"), 2 * first, rtol=1e-4, atol=1e-3)
    workspace.ResetWorkspace()
    feed()
    workspace.CreateNet(CONV)
    workspace.RunNet("conv")
    workspace.RunOperatorOnce(core.CreateOperator("Alias", "w", "same"))
    workspace.RunOperatorOnce(core.CreateOperator("Scale", "same", "same", scale=2.0))
    workspace.RunNet("conv")
    assert np.allclose(workspace.FetchBlob("y"), 2 * first, rtol=1e-4, atol=1e-3)


def test_a_steady_run_plans_nothing():
    feed()
    workspace.CreateNet(CONV)
    workspace.RunNet("conv")
    created = workspace.current().net("conv")
    created.operators[0].plan = None  # would be called
    workspace.RunNet("conv", 3)


LAYER = net(op("FC", "a v b", "z"), name="layer")


def feed_layer():
    workspace.FeedBlob("a", np.ones((4, 32), np.float32))
    workspace.FeedBlob("v", np.ones((32, 32), np.float32))
    workspace.FeedBlob("b", np.zeros(32, np.float32))
    workspace.CreateNet(LAYER)
    workspace.RunNet("layer")


def answer():
    workspace.RunNet("layer")
    return float(workspace.FetchBlob("z")[0, 0])


def test_a_python_operator_that_evaluates_sees_the_training_so_far():
    feed_layer()
    seen = []
    train = core.Net("train")
    train.Scale("v", "v", scale=2.0)
    train.Python(lambda inputs, outputs: seen.append(answer()))([], [])
    workspace.CreateNet(train)
    workspace.RunNet(train, 3)
    assert seen == [64, 128, 256]


def test_weights_that_a_python_operator_writes_in_its_input_are_seen():
    feed_layer()
    held = []

    def write(inputs, outputs):
        held.append(inputs[0].data)
        held[0].fill(7)

    writer = core.Net("writer")
    writer.Python(write)(["v"], [])
    workspace.RunNetOnce(writer)
    assert answer() == 224
    held[0].fill(2)  # whoever holds the array may write to it at any time
    assert answer() == 64


def test_weights_that_are_a_part_of_another_blob_are_seen():
    feed_layer()
    workspace.FeedBlob("t", np.array([0], np.int32))
    link = core.CreateOperator(
        "rnn_internal_apply_link", ["t", "v"], ["part", "v"], offset=0, window=3
    )
    workspace.RunOperatorOnce(link)
    before = answer()
    workspace.RunOperatorOnce(core.CreateOperator("Scale", "part", "part", scale=5.0))
    workspace.RunNet("layer")
    assert workspace.FetchBlob("z")[0, 1] == 5 * before


def test_a_net_that_runs_itself_is_refused():
    def run_again(inputs, outputs):
        workspace.RunNet("again")

    made = core.Net("again")
    made.Python(run_again)([], [])
    workspace.CreateNet(made)
    with pytest.raises(NetError, match="net 'again' is running already"):
        workspace.RunNet("again")
    with pytest.raises(NetError, match="running already"):
        workspace.RunNet("again")  # the first failure left nothing locked
