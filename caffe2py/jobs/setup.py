"""What has to run before and after nets, which carry it as attributes."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from caffe2py.graph.net import Net
from caffe2py.graph.plan import ExecutionStep, execution_step

__all__ = ["SetupNets", "add_setup_steps", "get_setup_nets"]


class SetupNets:
    """Nets to run before and after a task or group: net.add_attribute(Task.TASK_SETUP, this).

    Many nets may carry it: it runs once.
    """

    def __init__(self, init_nets: Any = None, exit_nets: Any = None) -> None:
        self.init_nets = init_nets
        self.exit_nets = exit_nets

    def setup(self, init_net: Net) -> Any:
        """The nets to run before."""
        return self.init_nets

    def exit(self, exit_net: Net) -> Any:
        """The nets to run after."""
        return self.exit_nets

    def __repr__(self) -> str:
        return f"SetupNets(init_nets={self.init_nets}, exit_nets={self.exit_nets})"


class _Moment:
    """What runs at one moment: a net to write into, and nets and steps."""

    def __init__(self, name: str) -> None:
        self._net = Net(name)
        self._runs: list[Any] = []

    def ask(self, method: Any) -> None:
        """Call a method of a setup object, and keep the nets and steps that it gives."""
        made = method(self._net)
        if isinstance(made, list | tuple):
            self._runs += made
        elif isinstance(made, Net | ExecutionStep):
            self._runs.append(made)
        elif made is not None:
            raise TypeError(f"a setup gives nets or steps, found {made!r:.80}")

    def runs(self) -> list[Any]:
        """All of it, in order."""
        return [self._net, *self._runs] if self._net.Proto().op else self._runs


def get_setup_nets(
    key: str, steps_or_nets: Iterable[Any], target: Any
) -> tuple[list[Any], list[Any]]:
    """What the nets in steps carry under `key`: to run before them, and after them.

    The objects have methods `setup(net)` or `exit(net)`, or both, that write into the net or give
    nets or steps. Each is used once; one with a `_setup_target` for that target only.
    """
    before, after = _Moment(f"{key}/init"), _Moment(f"{key}/exit")
    for carried in _carried(key, steps_or_nets):
        if getattr(carried, "_setup_used", False):
            continue
        if getattr(carried, "_setup_target", target) != target:
            continue
        for moment, name in ((before, "setup"), (after, "exit")):
            if hasattr(carried, name):
                moment.ask(getattr(carried, name))
                carried._setup_used = True
    return before.runs(), after.runs()


def add_setup_steps(
    step: ExecutionStep, init_nets: Sequence[Any], exit_nets: Sequence[Any], name: str
) -> ExecutionStep:
    """The step, or one called `name` that runs the others before and after it."""
    steps = [step]
    if init_nets:
        steps.insert(0, execution_step(f"{name}:init", list(init_nets)))
    if exit_nets:
        steps.append(execution_step(f"{name}:exit", list(exit_nets)))
    return step if len(steps) == 1 else execution_step(name, steps)


def _carried(key: str, steps_or_nets: Iterable[Any]) -> list[Any]:
    found: list[Any] = []
    for item in steps_or_nets:
        if isinstance(item, Net):
            found += item.get_attributes(key)
        elif hasattr(item, "get_all_attributes"):
            found += item.get_all_attributes(key)
    return found
