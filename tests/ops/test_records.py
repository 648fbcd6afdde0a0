"""Tensors of whole records and mutexes: what is saved of them, and what begins anew."""

import numpy as np
import pytest

from caffe2py import core, workspace
from caffe2py.errors import DTypeError, ValueRangeError
from caffe2py.executor import session
from caffe2py.executor.workspace import Workspace
from caffe2py.proto.caffe2_pb2 import BlobProto, TensorProto

X = np.arange(6, dtype=np.float32).reshape(3, 2)


@pytest.fixture(autouse=True)
def _fresh(monkeypatch):
    monkeypatch.setattr(session, "_workspaces", {"default": Workspace()})
    monkeypatch.setattr(session, "_current", "default")


def run(op_type, inputs, outputs, **args):
    workspace.RunOperatorOnce(core.CreateOperator(op_type, inputs, outputs, **args))


def saved_and_restored(*names):
    for name in names:
        workspace.DeserializeBlob(name, workspace.SerializeBlob(name))


def test_records_are_saved_without_contents():
    workspace.FeedBlob("x", X)
    run("PackRecords", ["x"], ["packed"], fields=["x"])
    message = BlobProto.FromString(workspace.SerializeBlob("packed"))
    assert message.tensor.data_type == TensorProto.UNDEFINED
    assert len(message.tensor.string_data) == 3
    element = BlobProto.FromString(message.tensor.string_data[0])
    assert element.type == "std::shared_ptr<std::vector<TensorCPU>>"
    workspace.FeedBlob("copy", workspace.FetchBlob("packed"))
    run("UnPackRecords", ["copy"], ["y"], fields=["x"])
    np.testing.assert_array_equal(workspace.FetchBlob("y"), X)
    saved_and_restored("packed")
    with pytest.raises(ValueRangeError, match="lose their contents"):
        run("UnPackRecords", ["packed"], ["y"], fields=["x"])
    with pytest.raises(DTypeError, match="is a dict"):
        workspace.FeedBlob("other", np.array([{}], object))


def test_mutexes_are_made_anew():
    run("CreateMutex", [], ["mutex"])
    saved_and_restored("mutex")
    workspace.FeedBlob("count", np.array([1], np.int32))
    workspace.FeedBlob("more", np.array([1], np.int32))
    run("AtomicFetchAdd", ["mutex", "count", "more"], ["count", "before"])
    assert int(workspace.FetchBlob("count")) == 2


def test_a_reservoir_of_records_begins_anew():
    workspace.FeedBlob("x", X)
    workspace.FeedBlob("ids", np.array([4, 5, 4]))
    workspace.FeedBlob("seen", np.array(0, np.int64))
    run("CreateMutex", [], ["mutex"])
    run("CreateMap", [], ["places"], key_dtype=core.DataType.INT64)
    state = ["reservoir", "seen", "places", "objects"]
    for name in ("reservoir", "objects"):
        workspace.CreateBlob(name)

    def sample():
        run("PackRecords", ["x"], ["packed"], fields=["x"])
        inputs = ["reservoir", "seen", "packed", "mutex", "ids", "places", "objects"]
        run("ReservoirSampling", inputs, state, num_to_collect=9)
        return int(workspace.FetchBlob("seen"))

    assert (sample(), sample()) == (2, 2)
    saved_and_restored(*state, "mutex")
    workspace.FeedBlob("ids", np.array([6, 4, 7]))
    assert sample() == 3
    assert workspace.FetchBlob("objects").tolist() == [6, 4, 7]


def test_the_last_records_begin_anew():
    workspace.FeedBlob("x", X)
    workspace.FeedBlob("next", np.array(0, np.int32))
    workspace.CreateBlob("ring")

    def keep():
        run("PackRecords", ["x"], ["packed"], fields=["x"])
        run("LastNWindowCollector", ["ring", "next", "packed"], ["ring", "next"], num_to_collect=5)
        return len(workspace.FetchBlob("ring")), int(workspace.FetchBlob("next"))

    assert (keep(), keep()) == ((3, 3), (5, 1))
    saved_and_restored("ring")
    assert keep() == (3, 3)
