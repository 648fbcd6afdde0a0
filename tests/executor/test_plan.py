"""Execution steps, with the counts that the real Caffe2 gives for the same plans."""

import threading

import numpy as np
import pytest

import caffe2py.core  # noqa: F401
from caffe2py.errors import BlobTypeError, MissingBlobError, NetError
from caffe2py.executor.workspace import Workspace
from caffe2py.extend import fixed, operator
from caffe2py.proto.caffe2_pb2 import ExecutionStep as Step
from caffe2py.proto.caffe2_pb2 import NetDef, OperatorDef, PlanDef
from caffe2py.registry.operator import registered

if "TestReachesThree" not in registered():
    # a criterion of our own, so that plans can be tested apart from the comparison operators
    reaches = operator("TestReachesThree", "X -> Y", infer=fixed(np.bool_), doc="Y = X >= 3")

    @reaches.cpu_dynamic()
    def _reaches(call):
        call.outputs[0][...] = call.inputs[0] >= 3


def _net(name, *ops):
    return NetDef(name=name, op=[OperatorDef(type=t, input=i, output=o) for t, i, o in ops])


INC = _net("inc", ("Add", ["c", "one"], ["c"]))
INC2 = _net("inc2", ("Add", ["k", "one"], ["k"]))
LIM = _net("lim", ("Add", ["c", "one"], ["c"]), ("TestReachesThree", ["c"], ["stop"]))


@pytest.fixture
def workspace():
    made = Workspace()
    for name, value in (("c", 0), ("k", 0), ("one", 1)):
        made.feed(name, np.array(value))
    made.feed("stop", np.array(False))
    return made


def plan(*steps):
    return PlanDef(name="p", network=[INC, INC2, LIM], execution_step=steps)


COUNTS = {
    "a number of times": (Step(network=["inc"], num_iter=5), 5, 0),
    "once by default": (Step(network=["inc"]), 1, 0),
    "not at all": (Step(network=["inc"], num_iter=0), 0, 0),
    "nothing": (Step(), 0, 0),
    "until a blob says stop, at once": (
        Step(network=["lim", "inc2"], should_stop_blob="stop"),
        3,
        2,
    ),
    "once, whatever the blob says": (
        Step(network=["inc", "inc2"], should_stop_blob="stop", only_once=True),
        1,
        1,
    ),
    "substeps until a blob says stop": (
        Step(substep=[Step(network=["lim"]), Step(network=["inc2"])], should_stop_blob="stop"),
        3,
        2,
    ),
    "a workspace of its own sees the blobs": (
        Step(network=["inc"], num_iter=5, create_workspace=True),
        5,
        0,
    ),
    "substeps side by side": (
        Step(
            substep=[Step(network=["inc"]), Step(network=["inc2"])],
            concurrent_substeps=True,
            num_iter=2,
        ),
        2,
        2,
    ),
    "instances of a substep side by side": (
        Step(substep=[Step(network=["inc"])], num_concurrent_instances=4),
        4,
        0,
    ),
    "instances of several substeps": (
        Step(
            substep=[Step(network=["inc"]), Step(network=["inc2"])],
            num_concurrent_instances=3,
            concurrent_substeps=True,
        ),
        3,
        3,
    ),
    "instances of a step with a net of its own": (
        Step(network=["inc"], num_concurrent_instances=4),
        1,
        0,
    ),
    "a report at the end": (
        Step(network=["inc"], num_iter=3, report_net="inc2", report_interval=10),
        3,
        1,
    ),
    "of nothing": (Step(substep=[Step(), Step()], num_iter=10**15), 0, 0),
    "with pauses": (Step(network=["inc"], num_iter=3, run_every_ms=1), 3, 0),
}


@pytest.mark.parametrize("what", COUNTS)
def test_counts(workspace, what):
    step, c, k = COUNTS[what]
    workspace.run_plan(plan(step))
    assert (workspace.fetch("c").item(), workspace.fetch("k").item()) == (c, k)


BAD = [
    (Step(name="s", network=["inc"], substep=[Step()]), NetError, "step 's': a step has either"),
    (Step(network=["inc"], num_iter=1, should_stop_blob="stop"), NetError, "exclude each other"),
    (Step(network=["inc"], num_iter=1, run_every_ms=-5), NetError, "run_every_ms is -5"),
    (Step(name="s", network=["nope"]), NetError, "plan 'p', step 's': net 'nope' is not"),
    (Step(network=["inc"], should_stop_blob="no"), MissingBlobError, "'no' does not exist"),
    (Step(network=["inc"], should_stop_blob="c"), BlobTypeError, "'c' must hold one bool"),
]


@pytest.mark.parametrize(("step", "error", "match"), BAD)
def test_bad_steps(workspace, step, error, match):
    with pytest.raises(error, match=match):
        workspace.run_plan(plan(step))
    assert workspace.fetch("one").item() == 1


def test_an_error_in_a_thread_reaches_the_caller(workspace):
    steps = [Step(network=["inc"]), Step(network=["inc2"])]
    workspace.feed("one", np.array(1, np.int32))
    before = threading.active_count()
    with pytest.raises(RuntimeError, match="must have one type"):
        workspace.run_plan(plan(Step(substep=steps, concurrent_substeps=True)))
    assert threading.active_count() == before
