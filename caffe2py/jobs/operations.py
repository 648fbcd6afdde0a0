"""`ops`: what is written inside of a builder or task."""

from __future__ import annotations

from typing import Any, TypeVar

from caffe2py.graph.net import Net
from caffe2py.graph.plan import ExecutionStep, to_execution_step
from caffe2py.jobs.blocks import Branch, Loop, StopGuard
from caffe2py.jobs.branches import Condition, ElseNet, IfNet, WhileNet
from caffe2py.jobs.builder import NetBuilder
from caffe2py.jobs.nodes import Cluster, Node
from caffe2py.jobs.task import Task, TaskGroup

__all__ = ["Operations", "ops"]

B = TypeVar("B", bound=NetBuilder)


class Operations:
    """Operators and blocks for the current NetBuilder: `ops.FC([x, w, b], "y")`.

    An operator goes into the builder's current net; its call is that of a Net's. The blocks are
    opened by `with`.
    """

    def __getattr__(self, op_type: str) -> Any:
        """What adds an operator of this type, or a method of the current net."""
        builder = None if op_type.startswith("__") else NetBuilder.current(required=False)
        if builder is None:
            raise AttributeError(f"ops.{op_type} needs an open NetBuilder or Task")
        return getattr(builder.current_net(), op_type)

    def net(self, net: Net | None = None, name: str | None = None) -> Net:
        """The current net; with a net, that one, added now; with a name, a new one, added now."""
        builder: NetBuilder = NetBuilder.current()
        if net is None:
            return builder.current_net(name)
        if name is not None:
            raise ValueError("ops.net takes a net or a name, not both")
        builder.add(net)
        return net

    def task_group(self) -> TaskGroup:
        """A group of tasks of the local node, to be run next in the current builder."""
        builder: NetBuilder = NetBuilder.current()
        with Cluster(), Node("local"):
            group: TaskGroup = builder.add(TaskGroup())
        return group

    def stop(self) -> None:
        """End the current block here: what follows in it does not run."""
        NetBuilder.current().stop()

    def stop_if(self, blob: Any) -> None:
        """End the current block here if the bool `blob` is true."""
        NetBuilder.current().stop_if(blob)

    def loop(self, iters: Any = None, name: str | None = None) -> Loop:
        """A block that runs `iters` times, a number or a blob, or until `ops.stop...` ends it.

        with ops.loop(10) as loop:
            ops.Print(loop.iter(), [])      # 0 to 9
        """
        return _added(Loop(iters, name))

    def stop_guard(self, has_stopped_blob: Any = None, name: str | None = None) -> StopGuard:
        """A block that runs once; its `has_stopped()` is a bool: whether `ops.stop...` ended it."""
        return _added(StopGuard(has_stopped_blob, name))

    def If(self, cond: Any, name: str | None = None) -> Branch:
        """A block that runs if the bool `cond` is true; `Elif` and `Else` of it make the others."""
        return _added(Branch(cond, name))

    def IfNet(self, cond: Any, name: str | None = None) -> IfNet:
        """A block as `If`, that becomes an If operator; `ops.Else()` may follow it."""
        return _added(IfNet(cond, name))

    def Else(self, name: str | None = None) -> ElseNet:
        """The block for a false condition, right after an `ops.IfNet`."""
        return ElseNet(name)

    def WhileNet(self, name: str | None = None) -> WhileNet:
        """A block that becomes a While operator; it begins with an `ops.Condition()`."""
        return _added(WhileNet(name))

    def Condition(self, name: str | None = None) -> Condition:
        """The block whose last operator says whether the `ops.WhileNet` around it goes on."""
        return Condition(name)

    def task_init(self) -> SetupBlock:
        """A block that runs once before the task, however many instances it has."""
        return self._setup(Task.TASK_SETUP, SetupBlock(before=True))

    def task_exit(self) -> SetupBlock:
        """A block that runs once after all instances of the task."""
        return self._setup(Task.TASK_SETUP, SetupBlock(before=False))

    def task_instance_init(self) -> SetupBlock:
        """A block that runs before each instance of the task, in the instance's workspace."""
        return self._setup(Task.TASK_INSTANCE_SETUP, SetupBlock(before=True))

    def task_instance_exit(self) -> SetupBlock:
        """A block that runs after each instance of the task, in the instance's workspace."""
        return self._setup(Task.TASK_INSTANCE_SETUP, SetupBlock(before=False))

    def local_init(self) -> SetupBlock:
        """A block that runs once on the node before any task of the group."""
        return self._setup(TaskGroup.LOCAL_SETUP, SetupBlock(before=True))

    def local_exit(self, name: str | None = None) -> SetupBlock:
        """A block that runs once on the node after all tasks of the group."""
        return self._setup(TaskGroup.LOCAL_SETUP, SetupBlock(before=False, name=name))

    def task_reporter(self, interval_ms: int = 1000, name: str | None = None) -> ReportBlock:
        """A block that runs every so often during the task, and once at its end."""
        return ReportBlock(interval_ms, self.net(), name)

    def local_reporter(self, interval_ms: int = 1000, name: str | None = None) -> ReportBlock:
        """A block that runs every so often during the group's tasks on the node, and at the end."""
        return ReportBlock(interval_ms, None, name)

    def _setup(self, key: str, block: SetupBlock) -> SetupBlock:
        self.net().add_attribute(key, block)
        return block


class SetupBlock(NetBuilder):
    """A block that runs before or after what it is attached to."""

    def __init__(self, before: bool, name: str | None = None) -> None:
        super().__init__(name)
        self._before = before

    def setup(self, net: Net) -> ExecutionStep | None:
        """The step to run before."""
        return to_execution_step(self) if self._before else None

    def exit(self, net: Net) -> ExecutionStep | None:
        """The step to run after."""
        return None if self._before else to_execution_step(self)


class ReportBlock(NetBuilder):
    """A block that runs every `interval_ms` milliseconds beside a net's task, or the group's."""

    def __init__(self, interval_ms: int, net: Net | None, name: str | None = None) -> None:
        super().__init__(name)
        self._net = net
        self.interval_ms = interval_ms

    def finish(self) -> None:
        """Attach the step to the net, or to the group."""
        super().finish()
        step = to_execution_step(self)
        if self._net is None:
            TaskGroup.current().report_step(step, interval_ms=self.interval_ms)
        else:
            step.RunEveryMillis(self.interval_ms)
            self._net.add_attribute(Task.REPORT_STEP, step)


def _added(block: B) -> B:
    NetBuilder.current().add(block)
    return block


ops = Operations()
