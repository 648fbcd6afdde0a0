"""Execution steps: nets in order, a number of times, until a blob says stop, or side by side."""

from __future__ import annotations

import functools
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import numpy as np

from caffe2py.errors import BlobTypeError, MissingBlobError, NetError
from caffe2py.proto.caffe2_pb2 import ExecutionStep, NetDef, PlanDef

if TYPE_CHECKING:
    from caffe2py.executor.workspace import Workspace


def run_plan(plan: PlanDef, workspace: Workspace) -> None:
    """Create the plan's nets, then run its steps in order.

    Raises NetError for steps that name an unknown net or contradict themselves.
    """
    nets = {net.name: net for net in plan.network}
    for net in plan.network:
        if not _is_local(plan, net.name):
            workspace.create_net(net, overwrite=True)
    for step in plan.execution_step:
        _Step(step, nets, plan.name).run(workspace)


def _is_local(plan: PlanDef, name: str) -> bool:
    """Whether a net is used only in steps that make a workspace of their own."""
    used = [inside for step in plan.execution_step for inside in _uses(step, name, inside=False)]
    return bool(used) and all(used)


def _uses(step: ExecutionStep, name: str, *, inside: bool) -> list[bool]:
    inside = inside or step.create_workspace
    named = [*step.network, step.report_net]
    return [inside] * (name in named) + [
        u for s in step.substep for u in _uses(s, name, inside=inside)
    ]


class _Step:
    """One execution step with its substeps.

    As in Caffe2 the fields criteria_network and num_concurrent_instances have no effect.
    """

    def __init__(self, step: ExecutionStep, nets: dict[str, NetDef], plan: str) -> None:
        self.step = step
        self.nets = nets
        self.where = f"plan '{plan}', step '{step.name}'"
        if step.substep and step.network:
            raise NetError("a step has either substeps or networks, not both", where=self.where)
        if step.HasField("num_iter") and step.HasField("should_stop_blob"):
            raise NetError("num_iter and should_stop_blob exclude each other", where=self.where)
        for name in step.network:
            if name not in nets:
                raise NetError(f"net '{name}' is not in the plan", where=self.where)
        self.substeps = [_Step(s, nets, plan) for s in step.substep]

    def run(self, workspace: Workspace) -> None:
        step = self.step
        if step.create_workspace:
            workspace = workspace.child()
            for name in dict.fromkeys(self._net_names()):
                workspace.create_net(self.nets[name], overwrite=True)
        if step.HasField("should_stop_blob") and not workspace.has_blob(step.should_stop_blob):
            raise MissingBlobError(f"'{step.should_stop_blob}' does not exist", where=self.where)
        stop_reports = self._start_reports(workspace)
        try:
            self._repeat(workspace)
        finally:
            stop_reports()

    def _net_names(self) -> list[str]:
        own = [*self.step.network, *filter(None, [self.step.report_net])]
        return own + [n for s in self.substeps for n in s._net_names()]

    def _repeat(self, workspace: Workspace) -> None:
        step = self.step
        limit: int | None = step.num_iter if step.HasField("num_iter") else 1
        if step.HasField("should_stop_blob"):
            limit = 1 if step.only_once else None
        done = 0
        while limit is None or done < limit:
            if not self._once(workspace):
                return
            done += 1
            if step.run_every_ms:
                time.sleep(step.run_every_ms / 1000)

    def _once(self, workspace: Workspace) -> bool:
        """Run all nets or substeps; False as soon as the stop blob says so."""
        if self.step.concurrent_substeps and len(self.substeps) > 1:
            _run_together([functools.partial(s.run, workspace) for s in self.substeps])
            return not self._stopped(workspace)
        for name in self.step.network:
            workspace.run_net(name)
            if self._stopped(workspace):
                return False
        for substep in self.substeps:
            substep.run(workspace)
            if self._stopped(workspace):
                return False
        # with nothing to do, a loop until a blob says stop would never end
        return bool(self.step.network or self.substeps)

    def _stopped(self, workspace: Workspace) -> bool:
        if not self.step.HasField("should_stop_blob"):
            return False
        name = self.step.should_stop_blob
        value = workspace.fetch(name)
        if not isinstance(value, np.ndarray) or value.size != 1 or value.dtype != np.bool_:
            raise BlobTypeError(f"'{name}' must hold one bool", where=self.where)
        return bool(value.reshape(-1)[0])

    def _start_reports(self, workspace: Workspace) -> Callable[[], None]:
        step = self.step
        if not step.report_net or not step.report_interval:
            return lambda: None
        ended = threading.Event()

        def report() -> None:
            while not ended.wait(step.report_interval):
                workspace.run_net(step.report_net)

        thread = threading.Thread(target=report, daemon=True)
        thread.start()

        def stop() -> None:
            ended.set()
            thread.join()
            workspace.run_net(step.report_net)

        return stop


def _run_together(jobs: Sequence[Callable[[], None]]) -> None:
    """Run jobs on threads of their own; the first error is raised when all have ended."""
    with ThreadPoolExecutor(len(jobs)) as pool:
        futures = [pool.submit(job) for job in jobs]
    for future in futures:
        future.result()
