"""Blocks that become one net with an If or While operator."""

from __future__ import annotations

from typing import Any

from caffe2py.graph.branches import add_if_op, add_while_op
from caffe2py.graph.net import Net
from caffe2py.graph.reference import BlobReference
from caffe2py.jobs.builder import NetBuilder
from caffe2py.jobs.context import JobError

__all__ = ["Condition", "ElseNet", "IfNet", "WhileNet"]


class _ControlBlock(NetBuilder):
    """A block that is one net in the end."""

    def __init__(self, name: str | None = None) -> None:
        super().__init__(name, _use_control_ops=True)


class IfNet(_ControlBlock):
    """The nets that an If operator runs if the bool `cond` is true."""

    def __init__(self, cond: Any, name: str | None = None) -> None:
        super().__init__(name)
        if not cond:
            raise JobError("IfNet needs a condition")
        self._cond = cond
        self._then: Net | None = None

    def finish(self) -> None:
        """Make the net with the If."""
        self._then = self._take() or Net("empty_then_net")
        net = Net(f"{self.name}/if_net")
        add_if_op(net, self._cond, self._outer, self._then)
        self._children = [net]
        super().finish()

    def add_else(self, name: str, known: set[str], nets: Net) -> None:
        """Put in the place of the net one whose If has an else branch, too."""
        assert self._then is not None
        net = Net(f"{name}/if_else_net")
        add_if_op(net, self._cond, known, self._then, nets)
        self._children = [net]


class ElseNet(_ControlBlock):
    """The nets that the If operator of the block before runs if its condition is false."""

    def __init__(self, name: str | None = None) -> None:
        super().__init__(name)
        parent: NetBuilder | None = NetBuilder.current(required=False)
        before = parent._children[-1:] if parent is not None else []
        if not before or not isinstance(before[0], IfNet):
            raise JobError("Else has to follow an IfNet")
        self._branch = before[0]

    def finish(self) -> None:
        """Give the If its other branch, unless it is empty."""
        nets = self._take()
        if nets is not None:
            self._branch.add_else(self.name, self._outer, nets)


class WhileNet(_ControlBlock):
    """The nets that a While operator repeats; a Condition comes first in it."""

    def __init__(self, name: str | None = None) -> None:
        super().__init__(name)
        self._condition: Condition | None = None

    def take_condition(self, condition: Condition) -> None:
        """Let this be the condition; JobError if there is one, or the body has begun."""
        if self._condition is not None:
            raise JobError("a WhileNet has one Condition")
        if self._children:
            raise JobError("the Condition has to come before the body of a WhileNet")
        self._condition = condition

    def finish(self) -> None:
        """Make the net with the While."""
        if self._condition is None:
            raise JobError("a WhileNet needs a Condition", hint="with ops.Condition(): ...")
        body = self._take() or Net("empty_loop_body_net")
        net = Net(f"{self.name}/while_net")
        add_while_op(net, self._condition.blob, self._outer, body, self._condition.net)
        self._children = [net]
        super().finish()


class Condition(_ControlBlock):
    """The nets that decide about the next round: the last operator's output is the answer."""

    def __init__(self, name: str | None = None) -> None:
        super().__init__(name)
        loop = NetBuilder.current(required=False)
        if not isinstance(loop, WhileNet):
            raise JobError("a Condition has to be inside of a WhileNet")
        loop.take_condition(self)
        self.blob: BlobReference | None = None
        self.net: Net | None = None

    def finish(self) -> None:
        """Find the operator that answers."""
        self.net = self._take()
        ops = [] if self.net is None else self.net.Proto().op
        if not ops or len(ops[-1].output) != 1:
            raise JobError("a Condition has to end with an operator of one output")
        self.blob = BlobReference(ops[-1].output[0])
        self._children = [self.net]
