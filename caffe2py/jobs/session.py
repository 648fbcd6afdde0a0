"""Sessions: they compile what is given to them once, and run it."""

from __future__ import annotations

import re
from typing import Any, NamedTuple, Self

from caffe2py.errors import Error
from caffe2py.executor.native import NativeWorkspace
from caffe2py.executor.session import WorkspaceGuard
from caffe2py.graph.plan import ExecutionStep, Plan, execution_step
from caffe2py.graph.reference import BlobReference
from caffe2py.jobs.context import JobError
from caffe2py.jobs.nodes import Cluster, WorkspaceType
from caffe2py.jobs.outputs import TaskOutputList
from caffe2py.jobs.task import Task, TaskGroup

__all__ = ["CompiledRunnable", "LocalSession", "Session"]


class CompiledRunnable:
    """What a class of sessions made of a group: its objects run it without compiling again."""

    def __init__(self, obj: Any, session_class: type[Session]) -> None:
        self.obj = obj
        self.session_class = session_class


class Session:
    """Base of what runs nets, steps, plans, tasks and groups.

    A subclass says how: `_compile_task_group(group, setup_net_list)`, `_run_compiled(compiled)`,
    `fetch_output(output)` and `_do_close()`.
    """

    def __init__(self) -> None:
        self._open = True

    def __enter__(self) -> Self:
        self._refuse_closed()
        return self

    def __exit__(self, kind: Any = None, *rest: Any) -> None:
        if kind is None:
            self.close()

    def is_open(self) -> bool:
        """Whether it runs things."""
        return self._open

    def close(self) -> None:
        """Run nothing any more."""
        if self._open:
            self._do_close()
            self._open = False

    @classmethod
    def compile(
        cls, runnable: Any, workspace_type: str | None = None, setup_net_list: Any = None
    ) -> CompiledRunnable:
        """Prepare a net, step, plan, task or group for `run`; the same thing is prepared once.

        All but groups run in the session's workspace unless `workspace_type` says otherwise. Raises
        JobError for a group of another type, and what another class of sessions compiled.
        """
        if isinstance(runnable, CompiledRunnable):
            if runnable.session_class is not cls:
                name = runnable.session_class.__name__
                raise JobError(f"compiled for a {name}, but this is a {cls.__name__}")
            return runnable
        known = _compiled_for(runnable)
        if cls not in known:
            group = _group_of(runnable, workspace_type)
            known[cls] = CompiledRunnable(cls._compile_task_group(group, setup_net_list), cls)
        return known[cls]

    def run(
        self, runnable: Any, workspace_type: str | None = None, setup_net_list: Any = None
    ) -> None:
        """Run a net, step, plan, task, group, or what `compile` made of one.

        JobError if the session is closed, and as `compile`.
        """
        self._refuse_closed()
        if runnable is None:
            raise JobError("there is nothing to run")
        self._run_compiled(self.compile(runnable, workspace_type, setup_net_list).obj)

    def fetch_output(self, output: Any) -> Any:
        """The value of a task's output."""
        raise NotImplementedError  # a subclass need not have outputs

    def _run_compiled(self, compiled: Any) -> None:
        raise NotImplementedError  # a subclass may compile only

    @classmethod
    def _compile_task_group(cls, task_group: TaskGroup, setup_net_list: Any = None) -> Any:
        return task_group

    def _do_close(self) -> None:
        """What a subclass has to give back."""

    def _refuse_closed(self) -> None:
        if not self._open:
            raise JobError("the session is closed")


class _Compiled(NamedTuple):
    """What a LocalSession runs."""

    plan: Plan
    outputs: TaskOutputList
    workspace_type: str | None
    owners: dict[str, str]  # which task a net belongs to, by name


class LocalSession(Session):
    """Runs everything in this process, all nodes as one, in a workspace: the current one if None.

    Groups run in a child of it, which is gone afterwards, unless they are of WorkspaceType.GLOBAL.
    An error names the task that failed.
    """

    def __init__(self, ws: NativeWorkspace | None = None) -> None:
        super().__init__()
        self._ws = ws or NativeWorkspace.current

    @classmethod
    def _compile_task_group(cls, task_group: TaskGroup, setup_net_list: Any = None) -> _Compiled:
        with Cluster():
            task = task_group.to_task()
        plan = Plan("task_group_plan")
        plan.AddStep(task.get_step())
        owners = {
            net.Name(): one.name for one in task_group.tasks() for net in one.get_step().Nets()
        }
        return _Compiled(plan, task.output_list(), task.workspace_type(), owners)

    def _run_compiled(self, compiled: _Compiled) -> None:
        names = [str(name) for name in compiled.outputs.names()]
        for name in names:  # here, so that they are there when the child is gone
            self._ws.create_blob(name)
        compiled.outputs.set_values(list(map(BlobReference, names)), _fetch_func=self.fetch_output)
        private = compiled.workspace_type == WorkspaceType.PRIVATE
        workspace = NativeWorkspace(self._ws) if private else self._ws
        try:
            with WorkspaceGuard(workspace):
                workspace.run(compiled.plan)
        except Error as error:
            _name_task(error, compiled.owners)
            raise

    def fetch_output(self, output: Any) -> Any:
        """The value of a blob."""
        return self._ws.blobs[str(output)].fetch()


def _name_task(error: Error, owners: dict[str, str]) -> None:
    """Say in an error, which begins with the net, whose net it is."""
    net = re.match(r"net '([^']+)'", error.where or "")
    if net and net[1] in owners:
        error.with_where(f"task '{owners[net[1]]}'")


def _compiled_for(runnable: Any) -> dict[type[Session], CompiledRunnable]:
    """What is kept with a runnable, so that both go together; nothing is kept with a list."""
    notes: dict[str, Any] = getattr(runnable, "__dict__", {})
    compiled: dict[type[Session], CompiledRunnable] = notes.setdefault("_compiled_by_sessions", {})
    return compiled


def _group_of(runnable: Any, workspace_type: str | None) -> TaskGroup:
    if isinstance(runnable, TaskGroup):
        runnable.require_workspace_type(workspace_type)
        return runnable
    group = TaskGroup(workspace_type or WorkspaceType.GLOBAL)
    group.add(runnable if isinstance(runnable, Task) else Task(step=_step_of(runnable)))
    return group


def _step_of(runnable: Any) -> Any:
    if isinstance(runnable, ExecutionStep):
        return runnable
    if not isinstance(runnable, Plan):
        return execution_step("runnable", runnable)
    steps = runnable.Steps()
    if not steps:
        raise JobError(f"plan '{runnable}' has no steps")
    return steps[0] if len(steps) == 1 else steps
