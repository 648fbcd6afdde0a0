"""Jobs: what runs before, in, and after epochs, and the runner with its checkpoints."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import Any, Self

from caffe2py.graph.net import Net
from caffe2py.graph.reference import BlobReference
from caffe2py.jobs.context import JobError, Managed
from caffe2py.jobs.nodes import WorkspaceType
from caffe2py.jobs.outputs import TaskOutput
from caffe2py.jobs.task import Task, TaskGroup

__all__ = ["Job", "JobRunner", "UploadTaskGroupBuilder", "epoch_limiter"]

logger = logging.getLogger(__name__)


class Job(Managed):
    """Four groups of tasks: `init_group`, `epoch_group`, `download_group` and `exit_group`.

    The first makes the global blobs, which checkpoints keep; the second runs again and again until
    a stop condition holds after it; the others run once then. Tasks made in the job's `with` block
    belong to the epochs, unless another group is open.
    """

    def __init__(
        self,
        init_group: TaskGroup | None = None,
        epoch_group: TaskGroup | None = None,
        download_group: TaskGroup | None = None,
        exit_group: TaskGroup | None = None,
        stop_conditions: list[TaskOutput] | None = None,
        nodes_to_checkpoint: list[str] | None = None,
    ) -> None:
        # they are replaced by what `compile` makes of them
        self.init_group: Any = init_group or TaskGroup(WorkspaceType.GLOBAL)
        self.epoch_group: Any = epoch_group or TaskGroup()
        self.download_group: Any = download_group or TaskGroup()
        self.exit_group: Any = exit_group or TaskGroup()
        self.stop_conditions = stop_conditions or []
        self._nodes_to_checkpoint = nodes_to_checkpoint

    def __enter__(self) -> Self:
        super().__enter__()
        self.epoch_group.__enter__()
        return self

    def __exit__(self, *error: Any) -> None:
        self.epoch_group.__exit__(*error)
        super().__exit__(*error)

    def nodes_to_checkpoint(self) -> list[str]:
        """The nodes that were named at first, or else those of `init_group`."""
        nodes: list[str] = self._nodes_to_checkpoint or self.init_group.used_nodes()
        return nodes

    def compile(self, session_class: Any) -> None:
        """Prepare all groups for this class of sessions."""
        self._nodes_to_checkpoint = self.nodes_to_checkpoint()  # a compiled group does not know
        for name in ("init_group", "epoch_group", "download_group", "exit_group"):
            setattr(self, name, session_class.compile(getattr(self, name)))

    def add_stop_condition(self, output: Any) -> None:
        """End after the epoch in which a bool, a blob or a task's output, becomes true."""
        if isinstance(output, BlobReference):
            output = Task(outputs=[output], group=self.epoch_group).outputs()[0]
        if not isinstance(output, TaskOutput):
            raise JobError(f"a stop condition is a blob or a task's output, found {output!r:.80}")
        self.stop_conditions.append(output)


class UploadTaskGroupBuilder:
    """Base of what makes tasks that take the last checkpoints elsewhere."""

    def build(self, epoch: int, checkpoint_manager: Any) -> TaskGroup:
        """The tasks for the checkpoints of an epoch."""
        raise NotImplementedError  # users derive from it, as they do in Caffe2


class JobRunner:
    """Runs a job to its end: `JobRunner(job, manager).train(session)`.

    With a checkpoint manager all is saved after the beginning and after each epoch; a checkpoint
    that fails is a warning. With `resume_from_epoch`, too, that checkpoint is loaded in the place
    of `init_group`, and the next epoch is the first.
    """

    def __init__(
        self,
        job: Job,
        checkpoint_manager: Any = None,
        resume_from_epoch: int | None = None,
        upload_task_group_builder: UploadTaskGroupBuilder | None = None,
    ) -> None:
        self.job = job
        self.checkpoint_manager = checkpoint_manager
        self.resume_from_epoch = resume_from_epoch
        self.upload_task_group_builder = upload_task_group_builder

    def train(self, session: Any) -> int:
        """Run it; the number of the last epoch."""
        manager = self.checkpoint_manager
        if manager is not None:
            manager.set_params(nodes=self.job.nodes_to_checkpoint())
            self.resume_from_epoch = manager.get_resume_from_epoch_id(self.resume_from_epoch)
        begun = self.resume_from_epoch
        if begun is None:
            session.run(self.job.init_group)
        if manager is not None:
            self._prepare(begun, session)
        epoch = self._run_epochs(1 if begun is None else begun + 1, session)
        if self.upload_task_group_builder is not None:
            session.run(self.upload_task_group_builder.build(epoch, manager))
        for group in (self.job.download_group, self.job.exit_group):
            session.run(group)
        logger.info("the job has ended with epoch %d", epoch)
        return epoch

    def _prepare(self, begun: int | None, session: Any) -> None:
        manager = self.checkpoint_manager
        nodes = self.job.nodes_to_checkpoint()
        session.run(manager.init(nodes, retrieve_from_epoch=begun))
        if begun is None:
            self.save_checkpoints(0, session)
            return
        logger.info("going on from epoch %d", begun)
        session.run(manager.load(begun))
        manager.report_checkpoint_stats("checkpoint_load")

    def _run_epochs(self, epoch: int, session: Any) -> int:
        while True:
            logger.info("epoch %d", epoch)
            session.run(self.job.epoch_group)
            # now, before other tasks run in the workspace
            stop = [condition.fetch() for condition in self.job.stop_conditions]
            if self.checkpoint_manager is not None:
                self.save_checkpoints(epoch, session)
            if any(stop):
                return epoch
            epoch += 1

    def load_blobs_from_checkpoints(
        self, blob_names: Sequence[str], epoch: int, session: Any
    ) -> Any:
        """Read only these blobs from an epoch's checkpoints of all nodes, into one workspace.

        False if one does not exist; ValueError without a checkpoint manager.
        """
        manager = self._require_manager()
        nodes = self.job.nodes_to_checkpoint()
        done = manager.load_blobs_locally(nodes, blob_names, epoch, session)
        manager.report_checkpoint_stats("checkpoint_partial_load")
        return done

    def save_checkpoints(self, epoch: int, session: Any) -> None:
        """Write the checkpoints of an epoch; a failure is a warning.

        ValueError without a checkpoint manager.
        """
        manager = self._require_manager()
        try:
            if not manager.cp_accessible(epoch=None):
                logger.warning("no checkpoint of epoch %d: there is no access to it", epoch)
                return
            session.run(manager.save(epoch))
            manager.write_checkpoint_metadata(epoch)
            manager.report_checkpoint_stats("checkpoint_save")
        except Exception as error:  # also of the user's handler: training is worth more
            logger.warning("no checkpoint of epoch %d: %s", epoch, error)

    def _require_manager(self) -> Any:
        if self.checkpoint_manager is None:
            raise ValueError("the job has no checkpoint manager")
        return self.checkpoint_manager


def epoch_limiter(job: Job, num_epochs: int) -> None:
    """Let a job end after so many epochs; the count is a blob, so checkpoints keep it."""
    with job.init_group:
        start = Net("epoch_counter_init")
        counter = start.CreateCounter([], init_count=num_epochs - 1)
        Task(step=start)
    with job.epoch_group:
        count = Net("epoch_countdown")
        ended = Task(step=count, outputs=count.CountDown(counter)).outputs()[0]
    job.add_stop_condition(ended)
