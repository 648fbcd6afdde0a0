"""Networks of steps and conditions: run again with other sizes, names that exist outside."""

import numpy as np
import pytest

import caffe2py.core  # noqa: F401
from caffe2py.errors import BlobTypeError, Error, NetError
from caffe2py.executor.workspace import Workspace
from caffe2py.proto.args import make_argument
from caffe2py.proto.caffe2_pb2 import NetDef, OperatorDef
from caffe2py.registry.operator import lookup
from tests.ops.rows.recurrent_network import TANH_ARGS, _tanh, _tanh_inputs

NAMES = ["in0", "in1", "in2", "in3"]


def _op(type_, inputs, outputs, **args):
    arguments = [make_argument(name, value) for name, value in args.items()]
    return OperatorDef(type=type_, input=inputs, output=outputs, arg=arguments)


def _network(**changed):
    return _op("RecurrentNetwork", NAMES, ["out0", "out1", "steps"], **{**TANH_ARGS, **changed})


def _net(*ops, name="net", type_=""):
    return NetDef(name=name, op=ops, type=type_)


def _feed(workspace, inputs):
    for name, value in zip(NAMES, inputs, strict=True):
        workspace.feed(name, value)


def _draw(steps, batch, size, seed=0):
    return _tanh_inputs(np.random.default_rng(seed), "float32", steps, batch, size)


def test_one_net_runs_with_many_sizes():
    workspace = Workspace()
    _feed(workspace, _draw(3, 2, 4))
    workspace.create_net(_net(_network()))
    for sizes in ((3, 2, 4), (3, 2, 4), (5, 2, 4), (2, 2, 4), (5, 3, 4), (1, 1, 1), (0, 2, 2)):
        inputs = _draw(*sizes, seed=sum(sizes))
        _feed(workspace, inputs)
        for _ in range(3):
            workspace.run_net("net")
            for name, expected in zip(("out0", "out1"), _tanh(*inputs), strict=True):
                np.testing.assert_allclose(workspace.fetch(name), expected, atol=1e-5)


def _gradients(workspace):
    forward = _network()
    backward = lookup("RecurrentNetwork").gradient_of(forward, ["out0_grad", "out1_grad", None])
    return _net(forward, *backward.ops), [str(name) for name in backward.input_grads]


def test_one_net_learns_with_many_sizes():
    workspace = Workspace()
    net, names = _gradients(workspace)
    _feed(workspace, _draw(3, 2, 4))
    for name in ("out0_grad", "out1_grad"):
        workspace.feed(name, np.ones((3 if name == "out0_grad" else 1, 2, 4), np.float32))
    workspace.create_net(net)
    for steps, batch, size in ((3, 2, 4), (4, 2, 4), (4, 2, 4), (2, 1, 4), (4, 3, 2)):
        inputs = _draw(steps, batch, size, seed=steps)
        given = [np.ones((n, batch, size), np.float32) for n in (steps, 1)]
        for where in (workspace, fresh := Workspace()):
            _feed(where, inputs)
            where.feed("out0_grad", given[0])
            where.feed("out1_grad", given[1])
        workspace.run_net("net")
        fresh.run_net_once(net)
        for name in names:
            assert workspace.fetch(name).tobytes() == fresh.fetch(name).tobytes(), name


def test_blobs_of_a_step_hide_those_outside():
    workspace = Workspace()
    inputs = _draw(4, 2, 3)
    net, names = _gradients(workspace)
    fresh = Workspace()
    for where in (workspace, fresh):
        _feed(where, inputs)
        where.feed("out0_grad", np.ones((4, 2, 3), np.float32))
        where.feed("out1_grad", np.ones((1, 2, 3), np.float32))
    for name in ("h", "h_prev", "z", "s", "x_t", "timestep", "h_grad", "s_grad"):
        workspace.feed(name, np.full(2, 7, np.float32))
    workspace.run_net_once(net)
    fresh.run_net_once(net)
    for name in [*names, "out0", "out1"]:
        assert np.array_equal(workspace.fetch(name), fresh.fetch(name)), name
    assert workspace.fetch("z").tolist() == [7, 7]


def test_steps_share_nothing_with_another_network():
    workspace = Workspace()
    inputs = _draw(3, 2, 4)
    _feed(workspace, inputs)
    first = _network()
    second = _op(
        "RecurrentNetwork",
        ["out0", "in1", "in2", "in3"],
        ["b0", "b1", "b_steps"],
        **{
            **TANH_ARGS,
            "recurrent_states": ["b_all"],
            "alias_src": ["b_all", "b_all"],
            "alias_dst": ["b0", "b1"],
            "link_external": ["out0", "b_all", "b_all"],
        },
    )
    workspace.run_net_once(_net(first, second))
    middle = _tanh(*inputs)[0]
    expected = _tanh(middle, *inputs[1:])[0]
    np.testing.assert_allclose(workspace.fetch("b0"), expected, atol=1e-5)


def test_an_error_names_step_and_operator():
    workspace = Workspace()
    inputs = _draw(3, 2, 4)
    inputs[2] = inputs[2][:, :3]
    _feed(workspace, inputs)
    with pytest.raises(Error, match=r"net 'tanh\[0\]', op #0 FC"):
        workspace.run_net_once(_net(_network()))


def test_the_last_input_must_hold_steps():
    workspace = Workspace()
    _feed(workspace, _draw(3, 2, 4))
    net, _ = _gradients(workspace)
    workspace.feed("out0_grad", np.ones((3, 2, 4), np.float32))
    workspace.feed("out1_grad", np.ones((1, 2, 4), np.float32))
    for name in ("out0", "out1", "steps"):
        workspace.feed(name, np.ones(1, np.float32))
    with pytest.raises(BlobTypeError, match="'steps' must hold the steps of a RecurrentNetwork"):
        workspace.run_net_once(_net(net.op[1]))


# ---------------------------------------------------------------- conditions


def _choose(**args):
    return _op("If", ["yes", "x"], ["y"], **args)


def test_a_condition_may_change_between_runs():
    workspace = Workspace()
    then = _net(_op("Add", ["x", "x"], ["y"]), name="then")
    other = _net(_op("Mul", ["x", "x"], ["y"]), name="other")
    workspace.feed("x", np.array([3, 4], np.float32))
    workspace.feed("yes", np.array(True))
    after = _op("Add", ["y", "y"], ["z"])
    workspace.create_net(_net(_choose(then_net=then, else_net=other), after))
    for yes, expected in ((True, [12, 16]), (False, [18, 32]), (True, [12, 16])):
        workspace.feed("yes", np.array(yes))
        workspace.run_net("net")
        assert workspace.fetch("z").tolist() == expected


def test_without_else_nothing_happens():
    workspace = Workspace()
    then = _net(_op("Add", ["x", "x"], ["y"]), name="then")
    workspace.feed("x", np.array([3], np.float32))
    workspace.feed("y", np.array([5], np.float32))
    workspace.feed("yes", np.array(False))
    workspace.run_net_once(_net(_choose(then_net=then)))
    assert workspace.fetch("y").tolist() == [5]


def test_a_net_may_write_what_it_reads():
    workspace = Workspace()
    then = _net(_op("Add", ["x", "x"], ["x"]), name="then")
    workspace.feed("x", np.array([3], np.float32))
    workspace.feed("yes", np.array(True))
    workspace.run_net_once(_net(_op("If", ["yes", "x"], ["x"], then_net=then)))
    assert workspace.fetch("x").tolist() == [6]


def test_conditions_nest():
    workspace = Workspace()
    inner = _net(_op("Add", ["x", "x"], ["y"]), name="inner")
    outer = _net(_choose(then_net=inner), name="outer")
    workspace.feed("x", np.array([3], np.float32))
    workspace.feed("yes", np.array(True))
    workspace.run_net_once(_net(_choose(then_net=outer)))
    assert workspace.fetch("y").tolist() == [6]


def test_an_unknown_net_type_is_named():
    workspace = Workspace()
    then = _net(_op("Add", ["x", "x"], ["y"]), name="then", type_="other")
    workspace.feed("x", np.array([3], np.float32))
    workspace.feed("yes", np.array(True))
    with pytest.raises(NetError, match="net 'then' has the type 'other'"):
        workspace.run_net_once(_net(_choose(then_net=then)))
