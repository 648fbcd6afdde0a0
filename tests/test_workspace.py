"""What the workspace functions do beyond the real Caffe2: loose inputs, messages."""

import logging
import sys
from pathlib import Path

import numpy as np
import pytest

from caffe2py import core, workspace
from caffe2py.errors import (
    ArityError,
    DTypeError,
    Error,
    MissingBlobError,
    ModelFormatError,
    NetError,
    ShapeError,
    UsageError,
)
from caffe2py.executor import session
from caffe2py.executor.workspace import Workspace
from caffe2py.proto.caffe2_pb2 import NetDef, OperatorDef
from caffe2py.tensor.serialize import blob_to_protos


@pytest.fixture(autouse=True)
def _fresh(monkeypatch):
    monkeypatch.setattr(session, "_workspaces", {"default": Workspace()})
    monkeypatch.setattr(session, "_current", "default")


def here(offset=0):
    frame = sys._getframe(1)
    file = Path(frame.f_code.co_filename).relative_to(Path.cwd())
    return f"{file}:{frame.f_lineno + offset}"


def test_feeding_python_values():
    for value, dtype in [(3, "int64"), (2.5, "float64"), (True, "bool"), ([1.5, 2], "float64")]:
        assert workspace.FeedBlob("x", value)
        assert workspace.FetchBlob("x").dtype == dtype
        assert workspace.FetchBlob("x").tolist() == value
    workspace.FeedBlob("x", ["a", b"b"])
    assert workspace.FetchBlob("x").tolist() == [b"a", b"b"]


def test_what_cannot_be_fed():
    with pytest.raises(DTypeError, match=r"FeedBlob\('x'\): element \[\] is a NoneType"):
        workspace.FeedBlob("x", None)
    with pytest.raises(UsageError, match="Expected a string or BlobReference, found 3"):
        workspace.FeedBlob(3, np.zeros(1))
    with pytest.raises(Error, match=r"FeedBlob\('x', device cuda:1\): "):
        workspace.FeedBlob("x", np.zeros(1), core.DeviceOption(1, 1))
    assert workspace.FeedBlob("x", np.zeros(1), core.DeviceOption(0))
    assert not workspace.has_gpu_support
    assert workspace.NumCudaDevices() == 0


def test_fetched_arrays_are_copies():
    array = np.zeros(2, np.float32)
    workspace.FeedBlob("x", array)
    array[0] = 1
    workspace.FetchBlob("x")[1] = 1
    assert workspace.FetchBlob("x").tolist() == [0, 0]


def test_missing_blobs_are_explained():
    workspace.FeedBlob("gpu_0/x", np.zeros(1))
    with pytest.raises(MissingBlobError, match=r"'x' does not exist\. There is 'gpu_0/x'"):
        workspace.FetchBlob("x")
    with pytest.raises(MissingBlobError, match="'x'"):
        workspace.ResetBlob("x")
    with pytest.raises(MissingBlobError):
        del workspace.blobs["x"]


def test_objects_are_described():
    workspace.current().create_blob("counter").put(iter("abc"))
    assert workspace.FetchBlob("counter").startswith(b"counter, a C++ native class of type str_")


def test_removing_blobs_and_nets():
    workspace.FeedBlob("x", np.zeros(1, np.float32))
    assert workspace.RemoveBlob("x")
    assert not workspace.RemoveBlob("x")
    workspace.blobs["x"] = np.zeros(1, np.float32)
    net = core.Net("removed")
    net.Relu("x", "y")
    workspace.CreateNet(net)
    assert workspace.Nets() == ["removed"]
    workspace.DeleteNet(net)
    del workspace.blobs["x"]
    assert workspace.Nets() == []
    assert workspace.Blobs() == ["y"]
    with pytest.raises(NetError, match="net 'removed' was not created"):
        workspace.RunNet(net)


def test_errors_name_the_line():
    net = core.Net("lined")
    net.Relu("x", "y")
    line = here(-1)
    workspace.FeedBlob("x", np.zeros(2, np.int32))
    step = core.execution_step("step", net)
    plan = core.Plan("plan")
    plan.AddStep(step)
    for call, value in [
        (workspace.RunNetOnce, net),
        (workspace.RunPlan, plan),
        (workspace.RunPlan, step),
        (workspace.InferShapesAndTypes, [net]),
    ]:
        with pytest.raises(DTypeError) as caught:
            call(value)
        where = f"net '{net}', op #0 Relu (built at {line}): input 0 'X' is int32"
        assert str(caught.value).startswith(where)
    workspace.CreateNet(net, overwrite=True)
    with pytest.raises(DTypeError, match="built at"):
        workspace.RunNet(net)
    for proto in (net.Proto(), plan.Proto().network[0]):
        assert not proto.op[0].HasField("debug_info")
    with pytest.raises(DTypeError) as caught:
        workspace.RunNetOnce(net.Proto())
    assert "built at" not in str(caught.value)


def test_debug_info_of_the_user_stays():
    net = core.Net("info")
    net.Relu("nothing", "y", debug_info="the encoder")
    with pytest.raises(MissingBlobError, match=r"\(built at the encoder\)"):
        workspace.CreateNet(net)


def test_a_created_net_does_not_change_with_its_builder():
    workspace.FeedBlob("x", np.array([-1], np.float32))
    net = core.Net("frozen")
    net.Relu("x", "y")
    workspace.CreateNet(net)
    net.Proto().op[0].output[0] = "z"
    workspace.RunNet(net)
    assert workspace.FetchBlob("y").tolist() == [0]


def test_failures_may_be_allowed(caplog):
    workspace.FeedBlob("x", np.zeros(2, np.float32))
    net = core.Net("failing")
    net.Relu("x", "y")
    workspace.CreateNet(net)
    workspace.FeedBlob("x", np.zeros(2, np.int32))
    with caplog.at_level(logging.ERROR, "caffe2py"):
        assert workspace.RunNet(net, 1, allow_fail=True) is False
    assert "net 'failing', op #0 Relu" in caplog.text


@pytest.mark.parametrize(
    ("call", "error"),
    [
        (lambda: workspace.RunNetOnce(3), UsageError),
        (lambda: workspace.RunNetOnce("name"), UsageError),
        (lambda: workspace.RunNetOnce(b"\xff\xff\xff"), ModelFormatError),
        (lambda: workspace.RunNetOnce(core.Plan("p")), UsageError),
        (lambda: workspace.RunOperatorOnce("Relu"), UsageError),
        (lambda: workspace.RunOperatorOnce(b"\xff\xff\xff"), ModelFormatError),
        (lambda: workspace.RunOperatorOnce(OperatorDef(type="Relu")), ArityError),
        (lambda: workspace.RunPlan(3), UsageError),
        (lambda: workspace.RunPlan(NetDef()), UsageError),
        (lambda: workspace.SwitchWorkspace("nowhere"), UsageError),
        (lambda: workspace.GlobalInit("text"), UsageError),
    ],
)
def test_wrong_calls(call, error):
    with pytest.raises(error):
        call()


def test_text_nets():
    workspace.FeedBlob("x", np.array([-1], np.float32))
    text = b'name: "t" op { type: "Relu" input: "x" output: "y" }'
    assert workspace.RunNetOnce(text)
    assert workspace.FetchBlob("y").tolist() == [0]


def test_switching_back_after_an_error():
    with pytest.raises(KeyError), workspace.WorkspaceGuard("inner"):
        raise KeyError
    assert workspace.CurrentWorkspace() == "default"


def test_global_init():
    assert workspace.GlobalInit(["caffe2", "--caffe2_log_level=0", b"--other"])
    assert core.GetGlobalInitArgs() == ["--caffe2_log_level=0", "--other"]
    assert workspace.GlobalInit([])
    assert core.GetGlobalInitArgs() == []


def test_root_folder(tmp_path):
    assert workspace.ResetWorkspace(str(tmp_path / "new"))
    assert workspace.RootFolder() == str(tmp_path / "new")
    assert (tmp_path / "new").is_dir()
    workspace.ResetWorkspace()
    assert workspace.RootFolder() == str(tmp_path / "new")


def test_inference_reports_contradictions():
    net = core.Net("wrong")
    net.Relu("x", "a")
    net.Add(["a", "w"], "y")
    with pytest.raises(ShapeError, match=rf"net '{net}', op #1 Add .* \(2,3\) and \(4,5\)"):
        workspace.InferShapesAndTypes([net], {"x": [2, 3], core.BlobReference("w"): [4, 5]})


def test_inference_uses_fed_shapes():
    net = core.Net("reshape")
    net.Reshape(["x", "shape"], ["y", "old"])
    workspace.FeedBlob("x", np.zeros((2, 6), np.float32))
    workspace.FeedBlob("shape", np.array([3, -1]))
    shapes, types = workspace.InferShapesAndTypes([net])
    assert shapes["y"] == [3, 4]
    assert types == {"x": 1, "shape": 10, "y": 1, "old": 10}


def test_deserializing_chunks():
    for part in blob_to_protos("x", np.arange(5), 2):
        workspace.DeserializeBlob("x", part.SerializeToString())
    assert workspace.FetchBlob("x").tolist() == [0, 1, 2, 3, 4]
