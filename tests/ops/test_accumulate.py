"""Accumulate: its output is what it has added up so far."""

import numpy as np

from caffe2py.executor.workspace import Workspace
from caffe2py.proto.args import make_argument
from caffe2py.proto.caffe2_pb2 import NetDef, OperatorDef
from tests.ops import table  # noqa: F401  (registers the operators)


def _net(net_type: str = "", **args: float) -> NetDef:
    listed = [make_argument(name, value) for name, value in args.items()]
    op = OperatorDef(type="Accumulate", input=["x"], output=["sum"], arg=listed)
    return NetDef(name="adds", type=net_type, op=[op])


def _run(workspace: Workspace, times: int, net: NetDef) -> list[float]:
    workspace.run_net(workspace.create_net(net, overwrite=True), times)
    return workspace.fetch_array("sum").tolist()


def test_it_adds_up_over_runs_from_zero():
    for net_type in ("", "reference"):
        workspace = Workspace()
        workspace.feed("x", np.array([1, 2], np.float32))
        assert _run(workspace, 3, _net(net_type)) == [3, 6]


def test_gamma_lets_the_past_fade():
    workspace = Workspace()
    workspace.feed("x", np.array([8], np.float64))
    assert _run(workspace, 3, _net(gamma=0.5)) == [8 + 4 + 2]


def test_it_begins_with_what_is_there_if_that_fits():
    workspace = Workspace()
    workspace.feed("x", np.array([1, 2], np.float32))
    workspace.feed("sum", np.array([10, 20], np.float32))
    assert _run(workspace, 1, _net()) == [11, 22]
    workspace.feed("sum", np.array([10, 20, 30], np.float32))
    assert _run(workspace, 1, _net()) == [1, 2]
    workspace.feed("sum", np.array([10, 20], np.int32))
    assert _run(workspace, 1, _net()) == [1, 2]


def test_another_shape_of_the_input_begins_anew():
    workspace = Workspace()
    workspace.feed("x", np.array([1, 2], np.float32))
    net = workspace.create_net(_net())
    workspace.run_net(net)
    workspace.feed("x", np.array([5], np.float32))
    workspace.run_net(net, 2)
    assert workspace.fetch_array("sum").tolist() == [10]
