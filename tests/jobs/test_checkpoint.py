"""Jobs with checkpoints: they stop, go on, and end with the same blobs."""

import logging

import numpy as np
import pytest

from caffe2py import core, workspace
from caffe2py.checkpoint import (
    CheckpointManager,
    Job,
    JobRunner,
    MultiNodeCheckpointManager,
    UploadTaskGroupBuilder,
    db_name,
    epoch_limiter,
    get_ckpt_filename,
)
from caffe2py.net_builder import ops
from caffe2py.session import LocalSession
from caffe2py.task import Cluster, Node, Task, TaskGroup, WorkspaceType

EPOCHS = 4


def training(nodes=("trainer",)):
    """A job that changes a weight in each epoch, and its weights by node."""
    weights = {}
    with Cluster(), Job() as job:
        for node in nodes:
            with Node(node):
                with job.init_group, Task():
                    w = ops.Const(np.float32([1, 2]))
                    ops.Const(np.arange(3), blob_out=f"{node}/data")
                with Task():
                    ops.Add([ops.Mul([w, w]), w], [w])
                    ops.Scale(w, w, scale=0.25)
                weights[node] = str(w)
        with Node(nodes[0]):
            epoch_limiter(job, EPOCHS)
    return job, weights


def managers(kind, folder):
    if kind == "one":
        return CheckpointManager(str(folder), "trainer", "minidb")
    return MultiNodeCheckpointManager(str(folder), "minidb")


@pytest.mark.parametrize("kind", ["one", "many"])
def test_a_job_that_was_stopped_ends_with_the_same_blobs(kind, tmp_path):
    job, weights = training()
    job.compile(LocalSession)
    name = weights["trainer"]
    whole = workspace.C.Workspace()
    assert JobRunner(job, managers(kind, tmp_path)).train(LocalSession(whole)) == EPOCHS
    expected = whole.fetch_blob(name)
    files = sorted(path.name for path in tmp_path.iterdir())
    assert files == [f"trainer.{epoch}" for epoch in range(EPOCHS + 1)]
    for epoch in range(EPOCHS):
        ws = workspace.C.Workspace()
        runner = JobRunner(job, managers(kind, tmp_path), resume_from_epoch=epoch)
        assert runner.train(LocalSession(ws)) == EPOCHS
        np.testing.assert_array_equal(ws.fetch_blob(name), expected)
        np.testing.assert_array_equal(ws.fetch_blob("trainer/data"), [0, 1, 2])


def test_a_job_without_checkpoints():
    job, weights = training()
    ws = workspace.C.Workspace()
    assert JobRunner(job).train(LocalSession(ws)) == EPOCHS
    w = np.float32([1, 2])
    for _ in range(EPOCHS):
        w = (w * w + w) * np.float32(0.25)
    np.testing.assert_allclose(ws.fetch_blob(weights["trainer"]), w, rtol=1e-6)


def test_each_node_has_checkpoints_and_some_blobs_can_be_loaded(tmp_path):
    nodes = ("a", "b")
    job, weights = training(nodes)
    runner = JobRunner(job, MultiNodeCheckpointManager(str(tmp_path), "minidb"))
    first = workspace.C.Workspace()
    runner.train(LocalSession(first))
    assert runner.checkpoint_manager.get_ckpt_db_name("b", 2) == f"{tmp_path}/b.2"
    assert runner.checkpoint_manager.get_ckpt_db_name("c", 2) is None
    ws = workspace.C.Workspace()
    names = list(weights.values())
    assert runner.load_blobs_from_checkpoints(names, EPOCHS, LocalSession(ws))
    assert not ws.has_blob("a/data")
    for name in names:
        np.testing.assert_array_equal(ws.fetch_blob(name), first.fetch_blob(name))
    assert not runner.load_blobs_from_checkpoints(names, EPOCHS + 1, LocalSession(ws))


def test_groups_run_in_order():
    order = []

    def note(text):
        net = core.Net(text)
        net.Python(lambda inputs, outputs: order.append(text))([], [])
        return net

    job, _ = training()
    for name in ("init", "epoch", "download", "exit"):
        with getattr(job, f"{name}_group"):
            Task(step=note(name))
    JobRunner(job).train(LocalSession(workspace.C.Workspace()))
    assert order == ["init", *["epoch"] * EPOCHS, "download", "exit"]


def test_a_checkpoint_that_fails_is_a_warning(caplog):
    job, _ = training()
    manager = CheckpointManager("/nowhere/at/all", "trainer", "minidb")
    with caplog.at_level(logging.WARNING):
        session = LocalSession(workspace.C.Workspace())
        assert JobRunner(job, manager).train(session) == EPOCHS
    warnings = [record.getMessage() for record in caplog.records]
    assert len(warnings) == EPOCHS + 1
    assert "no checkpoint of epoch 0" in warnings[0]


class Handler:
    """Remembers what it is told."""

    def __init__(self, last=None, accessible=True):
        self.last, self.accessible = last, accessible
        self.params, self.written, self.reported = {}, [], []

    def set_params(self, **params):
        self.params = params

    def write(self, epoch):
        self.written.append(epoch)

    def last_epoch(self, user_epoch):
        return self.last if user_epoch is None else user_epoch

    def report(self, action, stats):
        self.reported.append((action, stats))

    def cp_accessible(self, epoch):
        return self.accessible


def test_a_handler_is_told_and_asked(tmp_path):
    job, weights = training()
    job.compile(LocalSession)
    handler = Handler()
    manager = CheckpointManager(str(tmp_path), "trainer", "minidb", handler)
    ws = workspace.C.Workspace()
    JobRunner(job, manager).train(LocalSession(ws))
    assert handler.written == list(range(EPOCHS + 1))
    assert handler.params["node_names"] == ["trainer"]
    assert handler.params["db_prefix"] == str(tmp_path)
    action, stats = handler.reported[-1]
    assert action == "checkpoint_save"
    assert list(stats) == [str(tmp_path / f"trainer.{EPOCHS}")]
    later = Handler(last=2)
    again = MultiNodeCheckpointManager(str(tmp_path), "minidb", later)
    other = workspace.C.Workspace()
    JobRunner(job, again).train(LocalSession(other))
    assert later.written == [3, 4]
    assert later.reported[0][0] == "checkpoint_load"
    name = weights["trainer"]
    np.testing.assert_array_equal(other.fetch_blob(name), ws.fetch_blob(name))


def test_nothing_is_written_without_access(tmp_path, caplog):
    job, _ = training()
    manager = CheckpointManager(str(tmp_path), "trainer", "minidb", Handler(accessible=False))
    JobRunner(job, manager).train(LocalSession(workspace.C.Workspace()))
    assert not list(tmp_path.iterdir())
    assert "there is no access" in caplog.text


def test_checkpoints_are_taken_elsewhere(tmp_path):
    asked = []

    class Upload(UploadTaskGroupBuilder):
        def build(self, epoch, checkpoint_manager):
            asked.append((epoch, checkpoint_manager))
            with TaskGroup(WorkspaceType.GLOBAL) as group, Task():
                ops.Const(1, blob_out="uploaded")
            return group

    job, _ = training()
    manager = managers("one", tmp_path)
    ws = workspace.C.Workspace()
    JobRunner(job, manager, upload_task_group_builder=Upload()).train(LocalSession(ws))
    assert asked == [(EPOCHS, manager)]
    assert ws.has_blob("uploaded")
    with pytest.raises(NotImplementedError):
        UploadTaskGroupBuilder().build(1, manager)


def test_names_of_databases():
    assert get_ckpt_filename("node", 3) == "node.3"
    assert db_name(3, "node", "/folder") == "/folder/node.3"
    assert db_name(3, "node", "/folder", "/other/run-") == "/other/run-node.3"


def test_a_blob_ends_a_job():
    with Job() as job:
        assert Job.current() is job
        with job.init_group, Task():
            n = ops.Const(0)
        with Task(workspace_type=WorkspaceType.GLOBAL):
            ops.Add([n, ops.Const(1)], [n])
            ended = ops.GE([n, ops.Const(3)])
        job.add_stop_condition(ended)
    assert JobRunner(job).train(LocalSession(workspace.C.Workspace())) >= 3
    with pytest.raises(AssertionError, match="a stop condition is"):
        job.add_stop_condition("text")


def test_refused(tmp_path):
    one, many = managers("one", tmp_path), managers("many", tmp_path)
    with pytest.raises(AssertionError, match="for one node, found 2"):
        one.init(["a", "b"])
    with pytest.raises(AssertionError, match=r"after init\(\)"):
        one.save(0)
    with pytest.raises(AssertionError, match=r"needs init\(\) first"):
        many.load(1)
    many.init(["a"])
    with pytest.raises(AssertionError, match="is for nodes"):
        many.init(["b"])
    job, _ = training()
    with pytest.raises(ValueError, match="no checkpoint manager"):
        JobRunner(job).load_blobs_from_checkpoints([], 1, None)
