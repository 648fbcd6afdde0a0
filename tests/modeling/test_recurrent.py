"""Recurrent layers: what they compute, what they refuse, what their steps hold."""

import numpy as np
import pytest

from caffe2py import attention, core, gru_cell, model_helper, recurrent, rnn_cell, workspace
from caffe2py.errors import NoGradientError, UnsupportedError, UsageError

T, N, D, H = 4, 3, 2, 5


@pytest.fixture
def model():
    workspace.ResetWorkspace()
    workspace.FeedBlob("x", np.random.default_rng(0).normal(size=(T, N, D)).astype(np.float32))
    workspace.FeedBlob("lengths", np.array([4, 2, 1], np.int32))
    for name in ("h0", "c0"):
        workspace.FeedBlob(name, np.full((N, H), 0.25, np.float32))
    return model_helper.ModelHelper("recurrent")


def run(model):
    workspace.RunNetOnce(model.param_init_net)
    workspace.RunNetOnce(model.net)


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


def test_lstm_computes_its_formula(model):
    outputs = rnn_cell.LSTM(
        model, "x", "lengths", ("h0", "c0"), D, H, "rnn", forget_bias=1.5, return_params=True
    )
    *outputs, names = outputs
    run(model)
    w, b = (workspace.FetchBlob(names["recurrent"][kind]) for kind in ("weights", "biases"))
    gates = workspace.FetchBlob("rnn/i2h")
    h, c = workspace.FetchBlob("h0"), workspace.FetchBlob("c0")
    found = workspace.FetchBlob(outputs[0])
    for t in range(T):
        i, f, o, g = np.split(h @ w.T + b + gates[t], 4, 1)
        new = sigmoid(f + 1.5) * c + sigmoid(i) * np.tanh(g)
        goes_on = (t < workspace.FetchBlob("lengths"))[:, None]
        h = np.where(goes_on, sigmoid(o) * np.tanh(new), h)
        c = np.where(goes_on, new, c)
        np.testing.assert_allclose(found[t], h, atol=1e-6)
    np.testing.assert_allclose(workspace.FetchBlob(outputs[1])[0], h, atol=1e-6)
    np.testing.assert_allclose(workspace.FetchBlob(outputs[3])[0], c, atol=1e-6)


@pytest.mark.parametrize("kind", ["LSTM", "GRU", "BasicRNN", "MILSTM"])
def test_unrolled_is_the_same(model, kind):
    make = gru_cell.GRU if kind == "GRU" else getattr(rnn_cell, kind)
    states = ("h0",) if kind in ("GRU", "BasicRNN") else ("h0", "c0")
    for name in ("h0", "c0"):
        workspace.FeedBlob(name, workspace.FetchBlob(name)[None])
    more = {"activation": "tanh"} if kind == "BasicRNN" else {}
    lengths = None if kind == "BasicRNN" else "lengths"
    values, gradients = [], []
    for steps in (None, T):
        built = model_helper.ModelHelper("recurrent") if steps else model
        options = {"static_rnn_unroll_size": steps, **more}
        out = make(built, "x", lengths, states, D, H, "rnn", **options)[0]
        grads = built.AddGradientOperators([built.net.SumElements(out, "loss")])
        if steps is None:
            workspace.RunNetOnce(model.param_init_net)
        else:  # the same weights, and the steps' numbers
            kept = {str(p): workspace.FetchBlob(str(p)) for p in built.params}
            workspace.RunNetOnce(built.param_init_net)
            for name, value in kept.items():
                workspace.FeedBlob(name, value)
        workspace.RunNetOnce(built.net)
        values.append(workspace.FetchBlob(out))
        gradients.append(
            [workspace.FetchBlob(str(grads[p])) for p in ("x", *map(str, model.params))]
        )
    np.testing.assert_allclose(*values, atol=1e-6)
    for a, b in zip(*gradients, strict=True):
        np.testing.assert_allclose(a, b, atol=2e-5)


def test_steps_can_be_looked_at(model):
    outputs = rnn_cell.LSTM(model, "x", "lengths", ("h0", "c0"), D, H, "rnn")
    run(model)
    names = [name.decode() for name in recurrent.retrieve_step_blobs(model.net, "seen")]
    assert "seen_rnn/hidden_state_0" in names
    assert len([name for name in names if "/gates_t_" in name]) == T
    last = workspace.FetchBlob(f"seen_rnn/hidden_state_{T - 1}")
    np.testing.assert_array_equal(last[0], workspace.FetchBlob(outputs[0])[T - 1])


def test_parameters_gate_by_gate(model):
    *_, names = rnn_cell.LSTM(model, "x", "lengths", ("h0", "c0"), D, H, "rnn", return_params=True)
    run(model)
    gates = rnn_cell.GetLSTMParamNames()
    values = {
        part: {
            **{name: np.full((H, width), k) for k, name in enumerate(gates["weights"])},
            **{name: np.full(H, 10 + k) for k, name in enumerate(gates["biases"])},
        }
        for part, width in (("input", D), ("recurrent", H))
    }
    rnn_cell.InitFromLSTMParams(names, values)
    weights = workspace.FetchBlob(names["input"]["weights"])
    assert weights.shape == (4 * H, D)
    np.testing.assert_array_equal(weights[::H, 0], [0, 1, 2, 3])
    biases = workspace.FetchBlob(names["recurrent"]["biases"])
    np.testing.assert_array_equal(biases[::H], [10, 11, 12, 13])


def test_layers(model):
    h, _, c, _ = rnn_cell.layered_LSTM(model, "x", "lengths", ("h0", "c0"), D, [H, H], "rnn")
    run(model)
    assert workspace.FetchBlob(h).shape == workspace.FetchBlob(c).shape == (T, N, H)
    assert "rnn_layer_1" in str(h)


def test_refusals(model):
    lstm = (model, "x", "lengths")
    with pytest.raises(UsageError, match="activations relu, tanh, found None"):
        rnn_cell.BasicRNN(*lstm, ("h0",), D, H, "rnn")
    with pytest.raises(UsageError, match="needs initial states"):
        gru_cell.GRU(*lstm, None, D, H, "rnn")
    with pytest.raises(UsageError, match="1 initial states for the 2 states"):
        rnn_cell.LSTM(*lstm, ("h0",), D, H, "rnn")
    with pytest.raises(UsageError, match="one layer"):
        rnn_cell.LSTM(*lstm, None, D, [H, H], "rnn", return_params=True)
    with pytest.raises(AssertionError, match="is_test"):
        rnn_cell.DropoutCell(None, 0.5)
    options = {"memory_optimization": True}
    with pytest.raises(AssertionError, match="LayerNorm, which is to run again"):
        rnn_cell.LayerNormLSTM(*lstm, ("h0", "c0"), D, H, "rnn", **options)
    with pytest.raises(UnsupportedError, match=r"cuDNN.*rnn_cell.LSTM"):
        rnn_cell.cudnn_LSTM(model, "x", ("h0", "c0"), D, H, "rnn")
    with pytest.raises(UsageError, match="none of AttentionType's"):
        rnn_cell.AttentionCell(4, "e", None, None, 4, 9, None, False)
    with pytest.raises(UsageError, match="no recurrent network"):
        recurrent.set_rnn_executor_config(core.CreateOperator("Relu", "x", "y"), 2)
    assert attention.AttentionType is rnn_cell.AttentionType


def test_a_state_without_influence_is_refused(model):
    step = model_helper.ModelHelper("step", param_model=model)
    x_t, before = step.net.AddExternalInputs("x_t", "before")
    after = step.net.Relu(x_t, "after")
    step.net.AddExternalOutput(after)
    with pytest.raises(NoGradientError, match="do not depend on 'before'"):
        recurrent.recurrent_net(
            model.net, step.net, [(x_t, "x")], [(before, "h0")], {before: after}
        )
    with pytest.raises(UsageError, match="one input sequence, found 2"):
        recurrent.recurrent_net(model.net, step.net, [(x_t, "x")] * 2, [], {})
