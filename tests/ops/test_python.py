"""Python functions as operators: what they are given, what they may raise, and their gradients."""

import numpy as np
import pytest

from caffe2py import core, workspace
from caffe2py.errors import NoGradientError, UnknownOperatorError, UnsupportedError, UsageError


@pytest.fixture(autouse=True)
def _fresh():
    with workspace.WorkspaceGuard("python"):
        workspace.ResetWorkspace()
        workspace.FeedBlob("x", np.array([1, 2], np.float32))
        yield
        workspace.ResetWorkspace()


class OwnError(Exception):
    pass


def _double(inputs, outputs):
    outputs[0].feed(inputs[0].data * 2)


def test_views_are_the_tensors():
    seen = []

    def f(inputs, outputs):
        seen.append((inputs[0].shape, type(inputs[0].data), inputs[1], inputs[0].fetch().tolist()))
        outputs[0].init([3], core.DataType.INT64)
        outputs[0].data[...] = 7
        outputs[1].reshape((2, 1))
        outputs[1].data[...] = 1

    workspace.FeedBlob("text", b"hello")
    workspace.RunOperatorOnce(core.CreatePythonOperator(f, ["x", "text"], ["y", "z"]))
    assert seen == [((2,), np.ndarray, b"hello", [1.0, 2.0])]
    assert workspace.FetchBlob("y").tolist() == [7, 7, 7]
    assert workspace.FetchBlob("y").dtype == np.int64
    assert workspace.FetchBlob("z").shape == (2, 1)


def test_what_it_raises_passes_with_a_note():
    def f(inputs, outputs):
        raise OwnError("mine")

    net = core.Net("failing")
    net.Python(f)(["x"], ["y"])
    with pytest.raises(OwnError, match="mine") as caught:
        workspace.RunNetOnce(net)
    note = "".join(caught.value.__notes__)
    assert net.Name() in note
    assert "op #0 Python" in note
    assert "test_python.py" in note
    assert caught.traceback[-1].name == "f"


def test_what_it_raises_passes_through_other_operators():
    def f(inputs, outputs):
        raise OwnError("mine")

    inner = core.Net("inner")
    inner.Python(f)([], [])
    net = core.Net("outer")
    workspace.FeedBlob("c", np.array(True))
    net.If(["c"], [], then_net=inner.Proto())
    with pytest.raises(OwnError):
        workspace.RunNetOnce(net)


def test_a_builder_runs_once_for_every_created_net():
    built = []

    def build(start, step=1):
        built.append(start)
        state = [start]

        def f(inputs, outputs):
            state[0] += step
            outputs[0].feed(np.array(state[0]))

        return f

    net = core.Net("built")
    net.Python((build, [10], {"step": 5}))([], ["y"])
    for _ in range(2):
        copy = net.Clone("copy")
        workspace.CreateNet(copy)
        workspace.RunNet(copy)
        workspace.RunNet(copy)
        assert workspace.FetchBlob("y") == 20
    assert built == [10, 10]


def test_a_class_gives_both_functions():
    class Tripled:
        def __init__(self, f):
            self.f = f

        def forward(self, inputs, outputs):
            outputs[0].feed(self.f(inputs[0].data))

        def backward(self, inputs, outputs):
            outputs[0].feed(inputs[-1].data * 3)

    net = core.Net("class")
    net.Python(lambda x: x * 3, python_func_type=Tripled)(["x"], ["y"])
    gradients = net.AddGradientOperators({"y": "dy"})
    workspace.FeedBlob("dy", np.ones(2, np.float32))
    workspace.RunNetOnce(net)
    assert workspace.FetchBlob("y").tolist() == [3, 6]
    assert workspace.FetchBlob(str(gradients["x"])).tolist() == [3, 3]


def test_chosen_gradients():
    def back(inputs, outputs):
        assert len(inputs) == 2 + 2 + 1
        outputs[0].feed(inputs[-1].data * 5)

    def f(inputs, outputs):
        for k in (0, 1):
            outputs[k].feed(inputs[k].data)

    op = core.CreatePythonOperator(
        f, ["x", "x2"], ["y", "y2"], grad_f=back, grad_output_indices=[1], grad_input_indices=[0]
    )
    ops, gradients = core.GradientRegistry.GetGradientForOp(op, [None, "dy2"])
    assert gradients == ["x_grad", None]
    assert [list(o.input) for o in ops] == [["x", "x2", "y", "y2", "dy2"]]
    with pytest.raises(NoGradientError, match="gradient of 'y2'"):
        core.GradientRegistry.GetGradientForOp(op, ["dy", None])


def test_without_a_gradient_function_there_is_no_gradient():
    net = core.Net("plain")
    net.Python(_double)(["x"], ["y"])
    with pytest.raises(NoGradientError, match="grad_f"):
        net.AddGradientOperators({"y": "dy"})


def test_the_workspace_is_passed_on_request():
    def f(inputs, outputs, ws):
        ws.feed_blob("made", ws.blobs["x"].fetch() + 1)

    net = core.Net("with_workspace")
    net.Python(f, pass_workspace=True)([], [])
    workspace.RunNetOnce(net)
    assert workspace.FetchBlob("made").tolist() == [2, 3]


def test_nets_from_elsewhere_bring_no_functions():
    unknown = core.CreateOperator("Python", ["x"], ["y"], token="elsewhere")
    with pytest.raises(UnknownOperatorError, match="does not bring"):
        workspace.RunOperatorOnce(unknown)
    pickled = core.CreateOperator("Python", ["x"], ["y"], pickled_builder=b"cos\nsystem\n.")
    with pytest.raises(UnsupportedError, match="nothing here unpickles"):
        workspace.RunOperatorOnce(pickled)


def test_what_is_no_function_is_refused():
    with pytest.raises(UsageError, match="expected a function"):
        core.CreatePythonOperator(7, [], [])
    with pytest.raises(UsageError, match="both be tuples"):
        core.Net("mixed").Python((_double, [], {}), grad_f=_double)
