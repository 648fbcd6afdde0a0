"""Floating-point exceptions become errors where a flag asks for it, and only there."""

import numpy as np
import pytest

from caffe2py.errors import ValueRangeError
from caffe2py.executor import session
from caffe2py.executor.workspace import Workspace
from caffe2py.proto.caffe2_pb2 import NetDef, OperatorDef
from tests.ops import table  # noqa: F401  (registers the operators)

DIVISIONS = "--caffe2_operator_throw_if_fp_exceptions"
OVERFLOWS = "--caffe2_operator_throw_if_fp_overflow_exceptions"


@pytest.fixture(autouse=True)
def _switch_off():
    yield
    session.GlobalInit(["caffe2", f"{DIVISIONS}=0", f"{OVERFLOWS}=0"])


def _run(op: str, *inputs: float) -> None:
    workspace = Workspace()
    names = []
    for k, value in enumerate(inputs):
        names.append(f"in{k}")
        workspace.feed(names[-1], np.array([value], np.float32))
    net = NetDef(name="n", op=[OperatorDef(type=op, input=names, output=["y"])])
    workspace.run_net_once(net)
    workspace.run_net_once(net)


def test_they_are_ignored_unless_asked_for():
    _run("Div", 1, 0)
    session.GlobalInit(["caffe2", f"{DIVISIONS}=1"])
    session.GlobalInit(["caffe2", f"{DIVISIONS}=0"])
    _run("Div", 1, 0)


@pytest.mark.parametrize(("a", "b", "what"), [(1, 0, "division by zero"), (0, 0, "invalid")])
def test_a_division_by_zero_is_an_error(a, b, what):
    session.GlobalInit(["caffe2", f"{DIVISIONS}=1"])
    with pytest.raises(ValueRangeError, match=f"op #0 Div.*{what}"):
        _run("Div", a, b)
    _run("Div", 1, 2)


def test_an_overflow_has_a_flag_of_its_own():
    session.GlobalInit(["caffe2", DIVISIONS])
    _run("Mul", 3e38, 10)
    session.GlobalInit(["caffe2", OVERFLOWS])
    with pytest.raises(ValueRangeError, match="overflow"):
        _run("Mul", 3e38, 10)
