"""Tasks, and groups of tasks that run side by side."""

from __future__ import annotations

import weakref
from collections import defaultdict
from collections.abc import Callable
from typing import Any, Self

from caffe2py.graph.net import Net
from caffe2py.graph.plan import ExecutionStep, execution_step, to_execution_step
from caffe2py.jobs.builder import NetBuilder
from caffe2py.jobs.context import JobError, Managed
from caffe2py.jobs.nodes import Node, WorkspaceType
from caffe2py.jobs.outputs import TaskOutput, TaskOutputList
from caffe2py.jobs.setup import add_setup_steps, get_setup_nets
from caffe2py.proto.caffe2_pb2 import TensorProto

__all__ = ["Task", "TaskGroup", "final_output"]

#: Report steps that a task runs already: a net may be in several.
_reported: weakref.WeakSet[ExecutionStep] = weakref.WeakSet()


class TaskGroup(Managed):
    """Tasks that start together; the group ends with the last of them.

    Tasks made in its `with` block belong to it. They run in the session's workspace with
    WorkspaceType.GLOBAL, or in one of their own, which is the default.
    """

    LOCAL_SETUP = "local_setup"

    def __init__(self, workspace_type: str | None = None) -> None:
        self._workspace_type = workspace_type
        self._tasks: list[Task] = []
        self._tasks_to_add: list[Task] = []
        self._already_used = False
        self._report_nets: dict[str, tuple[Net, float]] = {}
        self._report_steps: list[tuple[str, ExecutionStep]] = []
        self._remote_nets: list[Any] = []
        self._grouped: tuple[TaskGroup, dict[str, str]] | None = None

    def __repr__(self) -> str:
        return (
            f"TaskGroup(tasks={self._tasks + self._tasks_to_add}, "
            f"workspace_type={self._workspace_type}, remote_nets={self._remote_nets})"
        )

    def workspace_type(self) -> str | None:
        """WorkspaceType.GLOBAL or PRIVATE; None before there is a task."""
        return self._workspace_type

    def require_workspace_type(self, workspace_type: str | None) -> None:
        """Give it a kind of workspace; JobError if it has another one."""
        if workspace_type is None:
            return
        if self._workspace_type not in (None, workspace_type):
            raise JobError(f"the group's workspace is {self._workspace_type}, not {workspace_type}")
        self._workspace_type = workspace_type

    def add_remote_net(self, net: Any) -> None:
        """Keep a net for sessions that run on other machines."""
        self._remote_nets.append(net)

    def remote_nets(self) -> list[Any]:
        """The nets kept for other machines."""
        return self._remote_nets

    def add(self, task: Task) -> None:
        """Take a task in, which cannot be changed from now on."""
        if self._already_used:
            raise JobError(f"the group is in use, '{task.name}' comes too late")
        self.require_workspace_type(task.workspace_type())
        self._workspace_type = self._workspace_type or WorkspaceType.PRIVATE
        task.use_in(self._workspace_type)
        self._tasks.append(task)

    def announce(self, task: Task) -> None:
        """Let a task be taken in when the group is used: it may change until then."""
        self._tasks_to_add.append(task)

    def withdraw(self, task: Task) -> None:
        """Forget an announced task."""
        self._tasks_to_add.remove(task)

    def tasks(self) -> list[Task]:
        """All tasks; no other can be added from now on."""
        announced, self._tasks_to_add = self._tasks_to_add, []
        for task in announced:
            self.add(task)
        self._already_used = True
        return self._tasks

    def num_registered_tasks(self) -> int:
        """How many tasks there are."""
        return len(self._tasks) + len(self._tasks_to_add)

    def used_nodes(self) -> list[str]:
        """The names of the nodes that have tasks, in order."""
        return list(dict.fromkeys(task.node for task in self._tasks + self._tasks_to_add))

    def report_step(self, step: Any = None, node: Any = None, interval_ms: int = 1000) -> None:
        """Run a step every so often while tasks of the node run, and once when they have ended."""
        made = to_execution_step(step)
        made.RunEveryMillis(interval_ms)
        self._report_steps.append((_node_name(node), made))

    def report_net(
        self, net: Net | None = None, node: Any = None, report_interval: float = 5
    ) -> Net:
        """The net that reports of a node every so many seconds; `report_step` is newer."""
        name = _node_name(node)
        if name not in self._report_nets:
            self._report_nets[name] = (net or Net(f"{name}/reporter"), report_interval)
        elif net is not None:
            raise JobError(f"node '{name}' has a net for reports already")
        return self._report_nets[name][0]

    def tasks_by_node(self, node_remap: Callable[[str], str] | None = None) -> TaskGroup:
        """A group of one task a node, which runs all tasks of the node side by side.

        `node_remap` may give other names to nodes; JobError for other names than the last time.
        """
        places = {
            task.node: node_remap(task.node) if node_remap else task.node for task in self.tasks()
        }
        if self._grouped is not None:
            if self._grouped[1] != places:
                raise JobError("the group is divided among other nodes already")
            return self._grouped[0]
        tasks: defaultdict[str, list[Task]] = defaultdict(list)
        for task in self._tasks:
            tasks[places[task.node]].append(task)
        reports = self._reports_by_node(places)
        grouped = TaskGroup()
        for node, together in tasks.items():
            self._join(node, together, reports[node], grouped)
        self._grouped = grouped, places
        return grouped

    def to_task(self, node: Any = None) -> Task:
        """One task that runs all of them, on the current node or the one that is named."""
        name = _node_name(node)
        tasks = self.tasks_by_node(lambda _: name).tasks()
        return tasks[0] if tasks else Task()

    def _reports_by_node(self, places: dict[str, str]) -> defaultdict[str, list[ExecutionStep]]:
        for node, (net, seconds) in self._report_nets.items():
            self.report_step(net, node=node, interval_ms=int(seconds * 1000))
        self._report_nets = {}
        reports: defaultdict[str, list[ExecutionStep]] = defaultdict(list)
        for node, step in self._report_steps:
            if node not in places:
                raise JobError(f"node '{node}' has reports, but no task")
            reports[places[node]].append(step)
        return reports

    def _join(
        self, node: str, tasks: list[Task], reports: list[ExecutionStep], grouped: TaskGroup
    ) -> None:
        """Add to a group the task that runs these tasks of a node and their reports."""
        own_steps = [task.get_step() for task in tasks]
        before, after = get_setup_nets(self.LOCAL_SETUP, [*own_steps, *reports], self)
        for task, step in zip(tasks, own_steps, strict=True):
            step.SetCreateWorkspace(task.workspace_type() == WorkspaceType.PRIVATE)
        steps = [*reports, *own_steps]
        body = steps[0]
        if len(steps) > 1:
            body = execution_step(f"{node}:body", steps, concurrent_substeps=True)
        is_global = any(task.workspace_type() == WorkspaceType.GLOBAL for task in tasks)
        Task(
            add_setup_steps(body, before, after, node),
            [output for task in tasks for output in task.outputs()],
            WorkspaceType.GLOBAL if is_global else WorkspaceType.PRIVATE,
            grouped,
            node,
            "grouped_by_node",
        )


class Task(Managed):
    """A step, the node where it runs, and outputs that the session fetches afterwards.

    It belongs to the current group and node. The step is given, or written in the `with` block
    with `ops`. `num_instances` copies of it run side by side, each in a workspace of its own.
    """

    TASK_SETUP = "task_setup"
    TASK_INSTANCE_SETUP = "task_instance_setup"
    REPORT_STEP = "report_step"

    def __init__(
        self,
        step: Any = None,
        outputs: Any = None,
        workspace_type: str | None = None,
        group: TaskGroup | None = None,
        node: Any = None,
        name: str | None = None,
        num_instances: int | None = None,
    ) -> None:
        if not name and isinstance(step, ExecutionStep):
            name = step.Name()
        # a new Node makes itself known to the cluster
        self.node: str = _node_name(None) if node is None else str(Node(node))
        self.group: TaskGroup | None = TaskGroup.current(group, required=False)
        self.name = _free_name(f"{self.node}/{name or 'task'}", self.group)
        self._workspace_type = workspace_type
        self._num_instances = num_instances
        self._already_used = False
        self._step: ExecutionStep | None = None
        self._step_with_setup: ExecutionStep | None = None
        self._outputs: list[TaskOutput] = []
        self._builder: NetBuilder | None = None
        self._pipeline: Any = None  # for those who chain tasks
        self._is_pipeline_context = False
        if self.group is not None:
            self.group.announce(self)
        if step is not None:
            self.set_step(step)
        if outputs is not None:
            self.add_outputs(outputs)

    def __repr__(self) -> str:
        return f"Task(name={self.name}, node={self.node}, outputs={self._outputs})"

    def __enter__(self) -> Self:
        self._refuse_changes()
        if self._step is not None:
            raise JobError(f"task '{self.name}' has a step already")
        super().__enter__()
        if self.group is not None:  # its place in the group is where the block ends
            self.group.withdraw(self)
        self._builder = NetBuilder(_fullname=self.name)
        self._builder.__enter__()
        return self

    def __exit__(self, kind: Any = None, *rest: Any) -> None:
        builder, self._builder = self._builder, None
        try:
            if builder is not None:
                builder.__exit__(kind, *rest)
        finally:
            super().__exit__(kind, *rest)
            if self.group is not None:
                self.group.announce(self)
        if kind is None:
            self.set_step(builder)

    def workspace_type(self) -> str | None:
        """WorkspaceType.GLOBAL or PRIVATE; None before a group took it in."""
        return self._workspace_type

    def set_step(self, step: Any) -> None:
        """Run this step, net, builder, or list of them."""
        self._refuse_changes()
        self._step = to_execution_step(step)

    def add_output(self, output: Any) -> TaskOutput:
        """Give back a blob, a list of blobs, or a record after the run."""
        self._refuse_changes()
        made = output if isinstance(output, TaskOutput) else TaskOutput(output)
        self._outputs.append(made)
        return made

    def add_outputs(self, outputs: Any) -> Any:
        """Give back one output, or each of a list."""
        if isinstance(outputs, list | tuple):
            return [self.add_output(output) for output in outputs]
        return self.add_output(outputs)

    def outputs(self) -> list[TaskOutput]:
        """Its outputs."""
        return self._outputs

    def output_list(self) -> TaskOutputList:
        """Its outputs, as one."""
        return TaskOutputList(self._outputs)

    def use_in(self, workspace_type: str) -> None:
        """Refuse changes from now on; it runs in this kind of workspace if it has no wish."""
        self._workspace_type = self._workspace_type or workspace_type
        self.get_step()
        self._already_used = True

    def get_step(self) -> ExecutionStep:
        """Its step, with what its nets ask for before, after, and meanwhile."""
        if self._step_with_setup is None:
            self._step_with_setup = (
                execution_step(self.name, []) if self._step is None else self._complete(self._step)
            )
        return self._step_with_setup

    def _complete(self, step: ExecutionStep) -> ExecutionStep:
        reports = [r for r in step.get_all_attributes(self.REPORT_STEP) if r not in _reported]
        for report in reports:
            _reported.add(report)
            if not report.Proto().run_every_ms:
                report.RunEveryMillis(1000)
        sources = [step, *reports]
        first, last = get_setup_nets(self.TASK_SETUP, sources, self)
        begin, end = get_setup_nets(self.TASK_INSTANCE_SETUP, sources, self)
        if not self._outputs:  # a session sees that the task has ended by an output
            net = Net(f"{self.name}:output")
            self.add_output(net.ConstantFill([], 1, dtype=TensorProto.INT32, value=0))
            last.append(net)
        if reports:
            step = execution_step(f"{self.name}:body", [*reports, step])
        step = add_setup_steps(step, begin, end, f"{self.name}:instance")
        copies = self._num_instances or 1
        if copies > 1:
            step.SetCreateWorkspace(True)
            step = execution_step(f"{self.name}:parallel", [step], num_concurrent_instances=copies)
        return add_setup_steps(step, first, last, self.name)

    def _refuse_changes(self) -> None:
        if self._already_used:
            raise JobError(f"task '{self.name}' is in use and cannot be changed")


def final_output(blob_or_record: Any) -> TaskOutput:
    """Let the current task, or without one a new task, give back a blob or record at its end."""
    task = Task.current(required=False) or Task()
    made: TaskOutput = task.add_output(blob_or_record)
    return made


def _node_name(node: Any) -> str:
    return str(node or Node.current())


def _free_name(wanted: str, group: TaskGroup | None) -> str:
    """`wanted`, or "wanted:1", ... if the group has announced a task of that name."""
    taken = set() if group is None else {task.name for task in group._tasks_to_add}
    name, count = wanted, 0
    while name in taken:
        count += 1
        name = f"{wanted}:{count}"
    return name
