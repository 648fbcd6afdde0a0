"""Checkpoints: after each epoch the blobs of each node, in one database a node and epoch."""

from __future__ import annotations

import abc
import logging
import os
from collections.abc import Callable, Sequence
from typing import Any, Protocol

from caffe2py.graph.net import Net
from caffe2py.jobs.context import JobError
from caffe2py.jobs.nodes import Node, WorkspaceType
from caffe2py.jobs.operations import ops
from caffe2py.jobs.outputs import TaskOutput
from caffe2py.jobs.task import Task, TaskGroup, final_output

__all__ = ["CheckpointManager", "MultiNodeCheckpointManager", "db_name", "get_ckpt_filename"]

logger = logging.getLogger(__name__)


class MetadataHandler(Protocol):
    """What a manager tells about its checkpoints, and asks: the user's own."""

    def set_params(
        self,
        *,
        db_prefix: str,
        db_type: str,
        node_names: list[str],
        path_prefix: str | None,
        path_type: str | None,
    ) -> None:
        """How checkpoints are called."""

    def write(self, *, epoch: int) -> None:
        """The checkpoint of an epoch is complete."""

    def last_epoch(self, *, user_epoch: int | None) -> int | None:
        """The epoch to go on from; None to begin."""

    def report(self, action: str, stats: dict[str, float]) -> None:
        """How long an action took, by database."""

    def cp_accessible(self, epoch: int | None) -> bool:
        """Whether checkpoints can be written or read now."""


def get_ckpt_filename(node_name: str, epoch: int) -> str:
    """The file of a node's checkpoint: "node.3"."""
    return f"{node_name}.{epoch}"


def db_name(epoch: int, node_name: str, db_prefix: str, path_prefix: str | None = None) -> str:
    """The database of a checkpoint: "db_prefix/node.3", or "<path_prefix>node.3"."""
    name = get_ckpt_filename(node_name, epoch)
    return path_prefix + name if path_prefix else os.path.join(db_prefix, name)  # noqa: PTH118


class _Manager(abc.ABC):
    """What managers of one node and of many have in common: the user's handler."""

    def __init__(self, db_prefix: str, db_type: str, metadata_handler: Any) -> None:
        self._db_prefix = db_prefix
        self._db_type = db_type
        self._metadata_handler: MetadataHandler | None = metadata_handler
        self._path_prefix: str | None = None
        self._path_type: str | None = None

    @abc.abstractmethod
    def collect_checkpoint_stats(self, stats: dict[str, float]) -> None:
        """Add the seconds that the last action took, by database."""

    def report_checkpoint_stats(self, action_name: str) -> None:
        """Tell the handler how long the last action took."""
        stats: dict[str, float] = {}
        self.collect_checkpoint_stats(stats)
        logger.debug("%s took %s", action_name, stats)
        if self._metadata_handler is not None:
            self._metadata_handler.report(action_name, stats)

    def write_checkpoint_metadata(self, epoch: int) -> None:
        """Tell the handler that the checkpoint of an epoch is complete."""
        if self._metadata_handler is not None:
            self._metadata_handler.write(epoch=epoch)

    def get_resume_from_epoch_id(self, user_epoch: int | None = None) -> int | None:
        """The epoch to go on from, as the handler says; without one, as the user says."""
        if self._metadata_handler is None:
            return user_epoch
        return self._metadata_handler.last_epoch(user_epoch=user_epoch)

    def cp_accessible(self, epoch: int | None = None) -> bool:
        """Whether checkpoints can be written now, or that of an epoch read; the handler knows."""
        if self._metadata_handler is None:
            return True
        return self._metadata_handler.cp_accessible(epoch)

    def set_params(
        self, nodes: Sequence[Any], path_prefix: str | None = None, path_type: str | None = None
    ) -> None:
        """Tell the handler where checkpoints of which nodes are."""
        self._path_prefix = path_prefix or self._path_prefix
        self._path_type = path_type or self._path_type
        if self._metadata_handler is not None:
            self._metadata_handler.set_params(
                db_prefix=self._db_prefix,
                db_type=self._db_type,
                node_names=self._node_names(nodes),
                path_prefix=self._path_prefix,
                path_type=self._path_type,
            )

    def _node_names(self, nodes: Sequence[Any]) -> list[str]:
        return [str(node) for node in nodes]


class CheckpointManager(_Manager):
    """Makes the tasks that save and load the global blobs of one node.

    `db_prefix` is the folder, `db_type` the kind of database. `init` has to run first: it finds out
    which blobs there are. `metadata_handler` may be an object with the methods of MetadataHandler.
    """

    BLOB_NAMES = "blob_names"

    def __init__(
        self, db_prefix: str, node_name: str, db_type: str, metadata_handler: Any = None
    ) -> None:
        super().__init__(db_prefix, db_type, metadata_handler)
        self._node_name = node_name
        # "!" sorts before letters: the names come first in the file
        self._net = Net("!!checkpoint_mngr")
        self._blob_names = self._net.AddExternalInput(self.BLOB_NAMES)
        self._names_output: TaskOutput | None = None
        self._current_db_name: str | None = None
        self._current_checkpoint_duration: TaskOutput | None = None

    def init(
        self,
        nodes: Sequence[Any] | None = None,
        retrieve_from_epoch: int | None = None,
        path_prefix: str | None = None,
        path_type: str | None = None,
    ) -> Task:
        """The task that lists the blobs: those that there are, or those of an epoch's checkpoint.

        JobError for more than one node.
        """
        if nodes is not None and len(nodes) != 1:
            raise JobError(f"a CheckpointManager is for one node, found {len(nodes)}")
        with Task(outputs=[self._blob_names]) as task:
            if retrieve_from_epoch is None:
                ops.GetAllBlobNames([], self._blob_names, include_shared=False)
            else:
                name = self._database(retrieve_from_epoch, path_prefix)
                self._load([self._blob_names], name, path_type, keep_device=True)
        self._names_output = task.outputs()[0]
        return task

    def blob_list(self) -> list[Any]:
        """The names of the blobs; JobError before the task of `init` ran."""
        if self._names_output is None:
            raise JobError("the blobs are known after init()", hint="session.run(manager.init())")
        names: list[Any] = self._names_output.fetch().tolist()
        return names

    def save(self, epoch: int) -> Task:
        """The task that writes the checkpoint of an epoch."""
        name = self._database(epoch)
        logger.info("saving to %s", name)
        return self._timed(
            "checkpoint_save",
            name,
            lambda: ops.Save(
                self.blob_list(), [], db=name, db_type=self._db_type, absolute_path=True
            ),
        )

    def load(
        self, epoch: int, path_prefix: str | None = None, path_type: str | None = None
    ) -> Task:
        """The task that reads all blobs from the checkpoint of an epoch."""
        name = self._database(epoch, path_prefix)
        return self._timed(
            "checkpoint_load",
            name,
            lambda: self._load(self.blob_list(), name, path_type, keep_device=True),
        )

    def load_blobs_from_checkpoint(self, blob_names: Sequence[str], epoch: int) -> Task:
        """The task that reads these blobs, as far as they are there, from that of an epoch."""
        name = self._database(epoch)
        return self._timed(
            "checkpoint_partial_load",
            name,
            lambda: self._load(list(blob_names), name, None, allow_incomplete=True),
        )

    def check_db_exists(self, epoch: int) -> Task:
        """The task whose output tells whether there is a checkpoint of an epoch."""
        with Task() as task:
            there = ops.Const(False)
            ops.DBExists(
                [],
                [there],
                db_name=self._database(epoch),
                db_type=self._db_type,
                absolute_path=True,
            )
            task.add_output(there)
        return task

    def collect_checkpoint_stats(self, stats: dict[str, float]) -> None:
        """Add what the last task to save or load took, by database; nothing if none was made."""
        duration = self._current_checkpoint_duration
        if self._current_db_name is None or duration is None:
            logger.info("no checkpoint of node '%s' was timed", self._node_name)
        else:
            stats[self._current_db_name] = duration.fetch()[0]

    def _node_names(self, nodes: Sequence[Any]) -> list[str]:
        return [str(self._node_name)]

    def _database(self, epoch: int, path_prefix: str | None = None) -> str:
        return db_name(epoch, self._node_name, self._db_prefix, path_prefix)

    def _load(self, blobs: list[Any], name: str, db_type: str | None, **how: bool) -> None:
        logger.info("loading from %s", name)
        ops.Load([], blobs, db=name, db_type=db_type or self._db_type, absolute_path=True, **how)

    def _timed(self, what: str, name: str, add_operator: Callable[[], Any]) -> Task:
        """A task that adds the operator's time to its outputs."""
        self._current_db_name = name
        with Task(name=what) as task:
            with ops.task_init():
                timer = ops.TimerBegin([], counter_name=self._node_name)
            add_operator()
            with ops.task_exit():
                seconds = ops.TimerGetAndEnd(timer)
            self._current_checkpoint_duration = final_output(seconds)
        return task


class MultiNodeCheckpointManager(_Manager):
    """Makes the groups of tasks that save and load the global blobs of many nodes.

    As CheckpointManager, which it has one of for each node that `init` is given.
    """

    def __init__(self, db_prefix: str, db_type: str, metadata_handler: Any = None) -> None:
        super().__init__(db_prefix, db_type, metadata_handler)
        self._node_managers: list[tuple[Any, CheckpointManager]] | None = None

    def init(
        self,
        nodes: Sequence[Any],
        retrieve_from_epoch: int | None = None,
        path_prefix: str | None = None,
        path_type: str | None = None,
    ) -> TaskGroup:
        """The tasks that list the blobs of each node; nothing the second time."""
        if self._node_managers is not None:
            self._manage(nodes)
            return TaskGroup(WorkspaceType.GLOBAL)
        self._manage(nodes)
        return self._on_each_node(
            lambda manager: manager.init(None, retrieve_from_epoch, path_prefix, path_type)
        )

    def save(self, epoch: int) -> TaskGroup:
        """The tasks that write the checkpoints of an epoch."""
        return self._on_each_node(lambda manager: manager.save(epoch))

    def load(
        self, epoch: int, path_prefix: str | None = None, path_type: str | None = None
    ) -> TaskGroup:
        """The tasks that read all blobs from the checkpoints of an epoch."""
        return self._on_each_node(lambda manager: manager.load(epoch, path_prefix, path_type))

    def load_blobs_locally(
        self, nodes: Sequence[Any], blob_names: Sequence[str], epoch: int, session: Any
    ) -> bool:
        """Read these blobs from the checkpoints of all nodes, here and now.

        False as soon as a node has no checkpoint of that epoch.
        """
        for _, manager in self._manage(nodes):
            check = manager.check_db_exists(epoch)
            session.run(check)
            if not check.outputs()[0].fetch():
                logger.info("%s does not exist", manager._database(epoch))
                return False
            session.run(manager.load_blobs_from_checkpoint(blob_names, epoch))
        return True

    def get_ckpt_db_name(self, node_name: str, epoch: int) -> str | None:
        """The database of a node's checkpoint of an epoch; None for a node that it has not."""
        for node, manager in self._node_managers or ():
            if str(node) == node_name:
                return manager._database(epoch)
        return None

    def collect_checkpoint_stats(self, stats: dict[str, float]) -> None:
        """Add what the last tasks took, by database."""
        for _, manager in self._node_managers or ():
            manager.collect_checkpoint_stats(stats)

    def _manage(self, nodes: Sequence[Any]) -> list[tuple[Any, CheckpointManager]]:
        """The manager of each node; JobError for other nodes than the first time."""
        if self._node_managers is None:
            self._node_managers = []
            for node in nodes:
                with Node(node):
                    manager = CheckpointManager(self._db_prefix, str(node), self._db_type)
                self._node_managers.append((node, manager))
        known = [node for node, _ in self._node_managers]
        if known != list(nodes):
            raise JobError(f"the manager is for nodes {known}, found {list(nodes)}")
        return self._node_managers

    def _on_each_node(self, add_task: Callable[[CheckpointManager], Any]) -> TaskGroup:
        if self._node_managers is None:
            raise JobError("a MultiNodeCheckpointManager needs init() first")
        with TaskGroup(WorkspaceType.GLOBAL) as group:
            for node, manager in self._node_managers:
                with Node(node):
                    add_task(manager)
        return group
