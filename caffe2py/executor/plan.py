"""Execution steps: nets in order, a number of times, until a blob says stop, or side by side."""

from __future__ import annotations

import functools
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING

import numpy as np

from caffe2py.errors import BlobTypeError, MissingBlobError, NetError
from caffe2py.proto.caffe2_pb2 import ExecutionStep, NetDef, PlanDef

if TYPE_CHECKING:
    from caffe2py.executor.net import CreatedNet
    from caffe2py.executor.workspace import Workspace

#: After a failure: seconds between two calls to give up, and how long the others may take for it.
_PAUSE = 0.05
_PATIENCE = 60.0


class _Run:
    """One run of a plan: which nets run now, and whether it has failed."""

    def __init__(self) -> None:
        self.failed = threading.Event()
        self._nets: dict[int, CreatedNet] = {}
        self._lock = threading.Lock()

    def run(self, workspace: Workspace, name: str) -> None:
        """Run a created net."""
        net = workspace.net(name)
        with self._running(net):
            net.run()

    @contextmanager
    def _running(self, net: CreatedNet) -> Iterator[None]:
        key = threading.get_ident()
        with self._lock:
            self._nets[key] = net
        try:
            yield
        finally:
            with self._lock:
                del self._nets[key]

    def give_up(self) -> None:
        """Let nobody begin anything new, and wake those who wait for a queue."""
        self.failed.set()
        with self._lock:
            nets = list(self._nets.values())
        for net in nets:
            net.cancel()


def run_plan(plan: PlanDef, workspace: Workspace) -> None:
    """Create the plan's nets, then run its steps in order.

    Raises NetError for steps that name an unknown net or contradict themselves.
    """
    nets = {net.name: net for net in plan.network}
    for net in plan.network:
        if not _is_local(plan, net.name):
            workspace.create_net(net, overwrite=True)
    run = _Run()
    for step in plan.execution_step:
        _Step(step, nets, plan.name).run(workspace, run)


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

    num_concurrent_instances lets each substep run so often side by side; nets of a step's own run
    once, as in Caffe2. The field criteria_network has no effect.
    """

    def __init__(self, step: ExecutionStep, nets: dict[str, NetDef], plan: str) -> None:
        self.step = step
        self.nets = nets
        self.where = f"plan '{plan}', step '{step.name}'"
        if step.substep and step.network:
            raise NetError("a step has either substeps or networks, not both", where=self.where)
        if step.HasField("num_iter") and step.HasField("should_stop_blob"):
            raise NetError("num_iter and should_stop_blob exclude each other", where=self.where)
        if step.run_every_ms < 0:
            raise NetError(f"run_every_ms is {step.run_every_ms}", where=self.where)
        for name in step.network:
            if name not in nets:
                raise NetError(f"net '{name}' is not in the plan", where=self.where)
        self.substeps = [_Step(s, nets, plan) for s in step.substep]
        self.idle: bool = not step.network and all(s.idle for s in self.substeps)

    def run(self, workspace: Workspace, run: _Run) -> None:
        step = self.step
        if step.create_workspace:
            workspace = workspace.child()
            for name in dict.fromkeys(self._net_names()):
                workspace.create_net(self.nets[name], overwrite=True)
        if step.HasField("should_stop_blob") and not workspace.has_blob(step.should_stop_blob):
            raise MissingBlobError(f"'{step.should_stop_blob}' does not exist", where=self.where)
        stop_reports = self._start_reports(workspace)
        try:
            self._repeat(workspace, run)
        finally:
            stop_reports()

    def _net_names(self) -> list[str]:
        """The nets that run in the step's workspace: not those of substeps with their own."""
        own = [*self.step.network, *filter(None, [self.step.report_net])]
        inner = (s for s in self.substeps if not s.step.create_workspace)
        return own + [name for s in inner for name in s._net_names()]

    def _repeat(self, workspace: Workspace, run: _Run) -> None:
        step = self.step
        limit: int | None = step.num_iter if step.HasField("num_iter") else 1
        if step.HasField("should_stop_blob"):
            limit = 1 if step.only_once else None
        if self.idle and limit is not None:
            return  # counting to num_iter would take its time
        done = 0
        while not run.failed.is_set() and (limit is None or done < limit):
            if not self._once(workspace, run):
                return
            done += 1
            if step.run_every_ms:
                run.failed.wait(step.run_every_ms / 1000)

    def _once(self, workspace: Workspace, run: _Run) -> bool:
        """Run all nets or substeps; False as soon as the stop blob says so."""
        copies = max(self.step.num_concurrent_instances, 1)
        if self.step.concurrent_substeps and len(self.substeps) * copies > 1:
            self._run_copies(self.substeps, copies, workspace, run)
            return not self._stopped(workspace)
        for name in self.step.network:
            run.run(workspace, name)
            if self._stopped(workspace):
                return False
        for substep in self.substeps:
            self._run_copies([substep], copies, workspace, run)
            if self._stopped(workspace):
                return False
        # with nothing to do, a loop until a blob says stop would never end
        return bool(self.step.network or self.substeps)

    def _run_copies(
        self, steps: Sequence[_Step], copies: int, workspace: Workspace, run: _Run
    ) -> None:
        jobs = [functools.partial(s.run, workspace, run) for s in steps for _ in range(copies)]
        if len(jobs) == 1:
            jobs[0]()
        else:
            _run_together(jobs, run)

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


def _run_together(jobs: Sequence[Callable[[], None]], run: _Run) -> None:
    """Run jobs on threads of their own; the first error is raised when all have ended.

    After an error, and if the program is interrupted, the others are told to give up.
    """
    errors: list[BaseException] = []

    def work(job: Callable[[], None]) -> None:
        try:
            job()
        except BaseException as error:
            errors.append(error)
            run.give_up()

    threads = [threading.Thread(target=work, args=(job,), daemon=True) for job in jobs]
    for thread in threads:
        thread.start()
    try:
        _wait_for(threads, run)
    except BaseException:
        run.give_up()
        _wait_for(threads, run)
        raise
    if errors:
        raise errors[0]


def _wait_for(threads: Sequence[threading.Thread], run: _Run) -> None:
    """Wait until threads have ended; once the run has failed, not for ever."""
    deadline: float | None = None
    for thread in threads:
        while thread.is_alive():
            thread.join(_PAUSE)
            if not run.failed.is_set():
                continue
            # what began to wait for a queue after the last call has to be told, too
            run.give_up()
            deadline = deadline or time.monotonic() + _PATIENCE
            if time.monotonic() > deadline:
                return
