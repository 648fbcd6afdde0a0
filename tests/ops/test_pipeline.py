"""Queues between nets that run side by side, and saved objects."""

import threading
import time

import numpy as np
import pytest

import caffe2py.core  # noqa: F401
from caffe2py.errors import KernelError
from caffe2py.executor.workspace import Workspace
from caffe2py.proto.caffe2_pb2 import ExecutionStep as Step
from caffe2py.proto.caffe2_pb2 import PlanDef
from caffe2py.tensor.serialize import blob_from_proto, parse_blob, serialize_blob
from tests.toy import net, op

INIT = net(
    op("CreateBlobsQueue", "", "q", capacity=2),
    op("CreateCounter", "", "c"),
    op("ConstantFill", "", "x", shape=[2], value=1.0),
    name="init",
)
WRITE = net(op("Copy", "x", "y"), op("EnqueueBlobs", "q y", "y"), name="write")
READ = net(op("DequeueBlobs", "q", "z"), op("CountUp", "c", "n"), name="read")
BROKEN = net(op("MatMul", "x x", "bad"), name="broken")


def run(*steps, nets=(INIT, WRITE, READ, BROKEN)):
    workspace = Workspace()
    workspace.run_net_once(INIT)
    together = Step(substep=steps, concurrent_substeps=True)
    workspace.run_plan(PlanDef(name="p", network=nets, execution_step=[together]))
    return workspace


def test_producers_and_consumers_wait_for_each_other():
    writers = [Step(network=["write"], num_iter=200)]
    workspace = run(*writers, Step(network=["read"], num_iter=200))
    workspace.run_operator_once(op("RetrieveCount", "c", "count"))
    assert workspace.fetch("count") == 200
    assert workspace.fetch("z").tolist() == [1, 1]


@pytest.mark.parametrize("waiting", ["write", "read"])
def test_a_failure_wakes_those_who_wait(waiting):
    before = threading.active_count()
    began = time.monotonic()
    with pytest.raises(RuntimeError, match="MatMul"):
        run(Step(network=[waiting], num_iter=10), Step(network=["broken"]))
    assert time.monotonic() - began < 20
    assert threading.active_count() == before


def test_closing_a_queue_ends_a_wait():
    workspace = Workspace()
    workspace.run_net_once(INIT)
    workspace.create_net(READ)
    errors = []

    def read():
        try:
            workspace.run_net("read")
        except KernelError as error:
            errors.append(str(error))

    thread = threading.Thread(target=read)
    thread.start()
    workspace.run_operator_once(op("CloseBlobsQueue", "q", ""))
    thread.join(20)
    assert not thread.is_alive()
    assert "queue 'q' is empty and closed" in errors[0]


MADE = {
    "counter": [op("CreateCounter", "", "made", init_count=7)],
    "map": [op("KeyValueToMap", "k v", "made")],
    "index": [op("LongIndexCreate", "", "made", max_elements=9), op("IndexLoad", "made k", "made")],
    "cursor": [
        op("CreateTreeCursor", "", "made", fields=["a:lengths", "a:b"]),
        op("ReadNextBatch", "made l v", "l2 v2", batch_size=1),
    ],
}
FEED = {
    "k": np.array([5, 3]),
    "v": np.array([1, 2], np.int32),
    "l": np.array([1, 1], np.int32),
}


@pytest.mark.parametrize("what", MADE)
def test_objects_survive_being_saved(what):
    workspace = Workspace()
    for name, value in FEED.items():
        workspace.feed(name, value)
    workspace.run_operators_once(MADE[what])
    saved = serialize_blob("made", workspace.fetch("made"))
    again = blob_from_proto(parse_blob(saved))
    assert type(again) is type(workspace.fetch("made"))
    assert serialize_blob("made", again) == saved


def test_a_dataset_that_grows_by_one_row_does_not_move_each_time():
    workspace = Workspace()
    workspace.feed("a", np.zeros((0, 3)))
    workspace.feed("b", np.ones((1, 3)))
    places = set()
    for count in range(1, 200):
        workspace.run_operator_once(op("Append", "a b", "a"))
        places.add(workspace.blob("a").array.ctypes.data)
        assert workspace.fetch("a").shape == (count, 3)
    assert workspace.fetch("a").all()
    assert len(places) < 30


def test_statistics_of_a_queue():
    Workspace().run_operator_once(op("StatRegistryExport", "", "k v t"))  # begin at 0
    workspace = run(Step(network=["write"], num_iter=3), Step(network=["read"], num_iter=3))
    workspace.run_operator_once(op("StatRegistryExport", "", "k v t", reset=False))
    values = dict(zip(workspace.fetch("k"), workspace.fetch("v"), strict=True))
    assert values[b"q/queue_balance"] == 0
    assert values[b"q/queue_dequeued_records"] >= 3
    assert values[b"q/queue_dequeued_bytes"] >= 24
