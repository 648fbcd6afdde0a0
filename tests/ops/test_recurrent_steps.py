"""Steps as one table: weights packed once a run, and gradients of weights after the last step."""

import numpy as np
import pytest

import caffe2py.core  # noqa: F401
from caffe2py.executor.workspace import Workspace
from caffe2py.proto.args import make_argument
from caffe2py.proto.caffe2_pb2 import NetDef, OperatorDef
from caffe2py.proto.text import from_text
from caffe2py.registry.operator import lookup
from tests.ops.rows.recurrent_network import TANH_ARGS, TANH_BACK, _op, _tanh_inputs

NAMES = ["in0", "in1", "in2", "in3"]


def _network(**changed):
    args = [make_argument(name, value) for name, value in {**TANH_ARGS, **changed}.items()]
    outputs = ["out0", "out1", "steps"]
    return OperatorDef(type="RecurrentNetwork", input=NAMES, output=outputs, arg=args)


def _with_gradient(**changed):
    forward = _network(**changed)
    backward = lookup(forward.type).gradient_of(forward, ["out0_grad", "out1_grad", None])
    return NetDef(name="net", op=[forward, *backward.ops]), [str(n) for n in backward.input_grads]


def _feed(workspace, steps=5, batch=3, size=4, seed=0):
    rng = np.random.default_rng(seed)
    for name, value in zip(NAMES, _tanh_inputs(rng, "float32", steps, batch, size), strict=True):
        workspace.feed(name, value)
    workspace.feed("out0_grad", rng.normal(size=(steps, batch, size)).astype(np.float32))
    workspace.feed("out1_grad", rng.normal(size=(1, batch, size)).astype(np.float32))


def _results(net, names, *, runs=1):
    workspace = Workspace()
    _feed(workspace)
    workspace.create_net(net)
    for _ in range(runs):
        workspace.run_net(net.name)
    return [workspace.fetch(name) for name in names]


def _body(workspace, index):
    return workspace.net("net").operators[index].kept["network"].body


def test_new_weights_are_seen():
    net, names = _with_gradient()
    workspace = Workspace()
    _feed(workspace)
    workspace.create_net(net)
    for seed in range(3):
        weights = np.random.default_rng(seed).normal(size=(4, 4)).astype(np.float32)
        fresh = Workspace()
        _feed(fresh)
        for where in (workspace, fresh):
            where.feed("in2", weights)
        workspace.run_net("net")
        fresh.run_net_once(net)
        for name in ("out0", *names):
            assert workspace.fetch(name).tobytes() == fresh.fetch(name).tobytes(), name


def test_weights_that_a_net_changes_itself():
    workspace, plain = Workspace(), Workspace()
    double = OperatorDef(type="Add", input=["in2", "in2"], output=["in2"])
    for where in (workspace, plain):
        _feed(where)
    workspace.create_net(NetDef(name="net", op=[_network(), double]))
    for _ in range(3):
        workspace.run_net("net")
        plain.run_net_once(NetDef(name="once", op=[_network()]))
        np.testing.assert_array_equal(workspace.fetch("out0"), plain.fetch("out0"))
        plain.feed("in2", plain.fetch("in2") * 2)


def test_all_steps_share_one_packed_weight():
    net, _ = _with_gradient()
    workspace = Workspace()
    _feed(workspace, steps=7, batch=8, size=20)
    workspace.create_net(net)
    workspace.run_net("net")
    for index in (0, 1):
        joined = _body(workspace, index)._joined
        assert len(joined._prepared._derived) == 1
    _feed(workspace, steps=4, batch=8, size=24)
    workspace.run_net("net")
    assert len(_body(workspace, 0)._joined._prepared._derived) == 1


#: backward steps in which the gradient of the weights cannot wait
NOT_LATE = {
    "its input is overwritten": [_op("Scale", "s_grad", "s_grad")],
    "something reads it": [_op("Copy", "in2_grad", "seen")],
    "a view of its input is overwritten": [
        _op("ExpandDims", "s_grad", "view", dims=0),
        _op("Scale", "view", "view"),
    ],
}


def _late(net):
    workspace = Workspace()
    _feed(workspace)
    workspace.create_net(net)
    workspace.run_net("net")
    return _body(workspace, 1)._late


def test_gradients_of_weights_wait():
    assert _late(_with_gradient()[0]) is not None


@pytest.mark.parametrize("why", NOT_LATE)
def test_gradients_that_cannot_wait(why):
    expected = _results(*_with_gradient())
    back = from_text(TANH_BACK, NetDef)
    back.op.extend(from_text(text[4:-1], OperatorDef) for text in NOT_LATE[why])
    for op in back.op:
        if op.type == "ExpandDims":
            del op.arg[:]
            op.arg.append(make_argument("dims", [0]))
    net, names = _with_gradient(backward_step_net=back)
    assert _late(net) is None
    for found, wanted in zip(_results(net, names, runs=2), expected, strict=True):
        np.testing.assert_allclose(found, wanted, rtol=1e-5, atol=1e-6)


def test_no_steps_no_gradient():
    net, names = _with_gradient()
    workspace = Workspace()
    _feed(workspace)
    workspace.create_net(net)
    workspace.run_net("net")
    _feed(workspace, steps=0)
    workspace.run_net("net")
    for name in names[2:]:
        assert not workspace.fetch(name).any(), name
