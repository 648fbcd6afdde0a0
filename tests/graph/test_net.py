"""What building nets does beyond the real Caffe2: checks, messages, creation lines."""

import copy
import sys
import threading
from pathlib import Path

import numpy as np
import pytest

from caffe2py import core, workspace
from caffe2py.errors import (
    ArgumentError,
    ArityError,
    Error,
    InplaceError,
    NetError,
    UnknownOperatorError,
    UsageError,
)
from caffe2py.graph.lines import user_line
from caffe2py.proto.caffe2_pb2 import NetDef, OperatorDef


def this_line(offset=0):
    """The creation line of what stands `offset` lines below the call."""
    frame = sys._getframe(1)
    file = Path(frame.f_code.co_filename)
    return f"{file.relative_to(Path.cwd())}:{frame.f_lineno + offset}"


def test_user_line_is_relative_to_the_current_folder(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    assert user_line().startswith("/")
    assert user_line().endswith(f"{__file__}:{sys._getframe().f_lineno}")
    monkeypatch.chdir(Path(__file__).parent)
    assert user_line() == f"test_net.py:{sys._getframe().f_lineno}"


def test_operators_are_checked_when_added():
    net = core.Net("checked")
    net.Relu("x", "y")
    with pytest.raises(ArityError, match=rf"^net '{net}', op #1 Add: expected 2 input"):
        net.Add(["x"], "z")
    with pytest.raises(InplaceError, match=r"op #1 Softmax 'named': output 0 'x' is also input 0"):
        net.Softmax("x", "x", name="named")
    with pytest.raises(ArgumentError, match=r"op #1 Concat: argument 'axis': expected an int"):
        net.Concat(["x"], ["z", "info"], axis="one")
    with pytest.raises(UsageError, match=r"op #1 Relu: input #0: expected the name of a blob"):
        net.Relu([3], "z")
    with pytest.raises(ArityError, match=r"op #1 Concat: expected 2 output"):
        net.Concat(["x", "x"])
    assert len(net.Proto().op) == 1
    assert list(net.Proto().external_input) == ["x"]


def test_create_operator_is_checked():
    later = core.CreateOperator("Softmaxx", "x", "y")  # may be registered before it runs
    with pytest.raises(UnknownOperatorError, match=r"Softmaxx: 'Softmaxx' .* did you mean Soft"):
        workspace.RunOperatorOnce(later)
    with pytest.raises(ArityError, match=r"^op Relu 'r': expected 1 input"):
        core.CreateOperator("Relu", ["x", "y"], "z", name="r")
    with pytest.raises(ArgumentError, match="op Concat: Concat has no argument 'add_axes'"):
        core.CreateOperator("Concat", ["x"], ["y", "z"], add_axes=1)
    with pytest.raises(ArgumentError, match="op Relu: argument 'bad' cannot hold a object"):
        core.CreateOperator("Relu", "x", "y", bad=object())


def test_mixed_numbers_are_floats():
    op = core.CreateOperator("Relu", "x", "y", numbers=[1, 2.5])
    assert list(op.arg[0].floats) == [1, 2.5]


def test_a_number_of_outputs_may_be_left_out():
    net = core.Net("none")
    assert net.ZeroGradient("x") is None
    assert list(net.Proto().op[0].output) == []


@pytest.mark.parametrize("owner", [core.Net("near"), core.Net("near").Relu("x", "y")])
def test_unknown_method(owner):
    message = r"Method Soft_max is not a registered operator. Did you mean: \[Softmax"
    with pytest.raises(AttributeError, match=message):
        owner.Soft_max  # noqa: B018
    with pytest.raises(UnknownOperatorError, match="It is a Caffe2 operator that caffe2py lacks"):
        owner.ATen  # noqa: B018
    assert not hasattr(owner, "Soft_max")
    assert hasattr(owner, "Relu")
    assert "Relu" in dir(owner)


def test_references_from_elsewhere():
    net = core.Net("elsewhere")
    with pytest.raises(NetError, match="input 'x' is a blob of this net, but nothing"):
        net.Relu(core.BlobReference("x", net), "y")
    x = net.AddExternalInput("x")
    assert x.Relu([], "y").Net() is net
    assert net.external_inputs[0].Relu().Net() is net
    with pytest.raises(AttributeError, match=r"does not have a net source .* net.Relu\('loose'"):
        core.BlobReference("loose").Relu([], "y")
    assert copy.deepcopy(core.BlobReference("loose")) == "loose"


def test_changes_of_the_proto_are_noticed():
    net = core.Net("open")
    net.Relu("x", "y")
    del net.Proto().op[:]
    del net.Proto().external_input[:]
    assert not net.BlobIsDefined("y")
    assert not net.BlobIsDefined("x")
    net.Relu("y", "z")
    assert list(net.Proto().external_input) == ["y"]


def test_creation_lines():
    net = core.Net("lines")
    net.Relu("x", "y")
    first = this_line(-1)
    y = net.GetBlobRef("y")
    y.Relu([], "z"), net.Const(3, "c")
    second = this_line(-1)
    assert net.operator_lines() == [first, second, second]
    assert not any(op.debug_info for op in net.Proto().op)
    other = core.Net("other")
    other.Relu("q", "r")
    third = this_line(-1)
    other.AppendNet(net)
    assert other.operator_lines() == [third, first, second, second]
    clone = other.Clone("clone", {"r": "renamed"}, op_id_mask=[0, 2])
    assert clone.operator_lines() == [third, second]


def test_creation_lines_follow_moved_operators():
    net = core.Net("moved")
    net.Relu("x", "y")
    line = this_line(-1)
    net.Relu("x", "z")
    net.Proto().op[1].output[0] = "other"
    net.Proto().op.insert(0, OperatorDef(type="Relu", input=["a"], output=["b"]))
    assert net.operator_lines() == [None, line, None]
    assert core.Net(net.Proto()).operator_lines() == [None] * 3


def test_extend_ops_checks():
    net = core.Net("extended")
    good = core.CreateOperator("Relu", "x", "y")
    with pytest.raises(ArityError, match=rf"net '{net}', op #1 Relu"):
        net.extend_ops([good, OperatorDef(type="Relu")])
    assert len(net.Proto().op) == 0


def test_strings_as_constants():
    net = core.Net("strings")
    net.Const("text", "a")
    net.Const(np.array([["x", "y"]]), "b")
    assert [op.type for op in net.Proto().op] == ["GivenTensorStringFill"] * 2
    assert list(net.Proto().op[1].arg[1].strings) == [b"x", b"y"]


def test_clone_renames_nested_nets_and_control_inputs():
    inner = NetDef(name="inner")
    inner.op.add(type="Relu", input=["x"], output=["y"])
    net = core.Net("outer")
    net.Relu("x", "z", control_input=["x"], inner=inner)
    op = net.Clone("copy", {"x": "xx"}).Proto().op[0]
    assert list(op.control_input) == ["xx"]
    assert list(op.arg[0].n.op[0].input) == ["xx"]
    assert list(net.Proto().op[0].input) == ["x"]


def test_external_lists_have_no_duplicates():
    net = core.Net("twice")
    net.Add(["x", "x"], "y")
    net.Add(["x", "y"], "z")
    clone = net.Clone("derived", update_external_list=True).Proto()
    assert list(clone.external_input) == ["x"]
    assert list(clone.external_output) == ["z"]
    with pytest.raises(NetError, match="Net already contains an input named x"):
        net.AddExternalInput("x")
    with pytest.raises(NetError, match="no is not defined"):
        net.AddExternalOutput("no")


def test_scopes_are_per_thread():
    seen = []

    def look():
        seen.append((core.CurrentNameScope(), core.CurrentDeviceScope()))
        with core.NameScope("inner"):
            seen.append(core.ScopedName("x"))

    with core.NameScope("outer"), core.DeviceScope(core.DeviceOption(0)):
        thread = threading.Thread(target=look)
        thread.start()
        thread.join()
        assert core.ScopedName("x") == "outer/x"
    assert seen == [("", None), "inner/x"]


def test_scopes_end_with_an_error():
    with pytest.raises(KeyError), core.NameScope("s"), core.DeviceScope(core.DeviceOption(1)):
        raise KeyError
    assert core.CurrentNameScope() == ""
    assert core.CurrentDeviceScope() is None


def test_a_device_scope_copies_its_option():
    option = core.DeviceOption(0)
    with core.DeviceScope(option):
        option.device_type = 1
        assert core.CurrentDeviceScope().device_type == 0


def test_wrong_calls_raise_our_errors():
    for call in [
        lambda: core.Net(3),
        lambda: core.BlobReference(3),
        lambda: core.ScopedName(3),
        lambda: core.NameScope(3).__enter__(),
        lambda: core.get_ssa("name"),
        lambda: core.ExecutionStep("s", ["name"]),
        lambda: core.execution_step("s", "name"),
        lambda: core.Net("n").AddExternalInput(),
        lambda: core.Net("n").set_rand_seed(seed_on_op_def=True, sequence_seed=False),
    ]:
        with pytest.raises(Error):
            call()


def test_steps_take_tuples():
    net = core.Net("tuple")
    assert list(core.execution_step("s", (net, net)).Proto().network) == ["tuple", "tuple"]
