"""Plans and their execution steps: which nets run, how often, until when, side by side or not."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator
from typing import Any

from caffe2py.errors import NetError, UsageError
from caffe2py.graph.net import Net
from caffe2py.graph.reference import BlobReference, ScopedName
from caffe2py.proto.caffe2_pb2 import ExecutionStep as StepProto
from caffe2py.proto.caffe2_pb2 import PlanDef

_unnamed = itertools.count()


class ExecutionStep:
    """Either nets or substeps, and how to run them.

    Once it belongs to a plan or another step it must not change: those hold copies.
    """

    def __init__(self, name: str | None, nets: Any = None, num_iter: int | None = None) -> None:
        self._step = StepProto(name=name or _automatic_name())
        self._nets: list[Net] = []
        self._report: Net | None = None
        self._substeps: list[ExecutionStep] = []
        self._is_used = False
        for net in [nets] if isinstance(nets, Net) else nets or ():
            self.AddNet(net)
        if num_iter is not None:
            self.SetIter(num_iter)

    def __str__(self) -> str:
        return self._step.name

    def Name(self) -> str:
        """The step's name."""
        return self._step.name

    def Proto(self) -> StepProto:
        """The message itself."""
        return self._step

    def HasNets(self) -> bool:
        """Whether it runs nets."""
        return bool(self._nets)

    def HasSubsteps(self) -> bool:
        """Whether it runs other steps."""
        return bool(self._substeps)

    def Nets(self) -> list[Net]:
        """All nets of this step and its substeps, each once, in order of first use."""
        return list({net.Name(): net for net in self._all_nets()}.values())

    def Substeps(self) -> list[ExecutionStep]:
        """The substeps."""
        return list(self._substeps)

    def AddNet(self, net: Net) -> ExecutionStep:
        """Run `net` after the others; NetError if there are substeps. Returns this step."""
        self._refuse_mutation()
        if not isinstance(net, Net):
            raise UsageError(f"a step runs nets, found {net!r:.80}")
        self._refuse_mixture(self._substeps)
        self._nets.append(net)
        self._step.network.append(net.Name())
        return self

    def AddSubstep(self, substep: ExecutionStep) -> ExecutionStep:
        """Run `substep` after the others; NetError if there are nets. Returns this step.

        A substep with nothing to run is left out. It cannot be changed any more.
        """
        self._refuse_mutation()
        if not isinstance(substep, ExecutionStep):
            raise UsageError(f"expected an ExecutionStep, found {substep!r:.80}")
        self._refuse_mixture(self._nets)
        if substep.freeze():
            self._substeps.append(substep)
            self._step.substep.add().CopyFrom(substep.Proto())
        return self

    def freeze(self) -> bool:
        """Refuse changes from now on. Returns whether there is anything to run."""
        self._is_used = True
        return self.HasNets() or self.HasSubsteps()

    def SetIter(self, num_iter: int) -> None:
        """Run this many times."""
        self._refuse_mutation()
        self._step.num_iter = num_iter

    def SetOnlyOnce(self, only_once: bool) -> None:
        """Whether a substep runs in the first iteration only."""
        self._refuse_mutation()
        self._step.only_once = only_once

    def SetShouldStopBlob(self, should_stop_blob: str | BlobReference) -> None:
        """Run until this blob holds true."""
        self._refuse_mutation()
        self._step.should_stop_blob = str(BlobReference(should_stop_blob))

    def SetConcurrentSubsteps(self, concurrent_substeps: bool) -> None:
        """Run the substeps side by side."""
        self._refuse_mutation()
        self._step.concurrent_substeps = concurrent_substeps

    def SetNumConcurrentInstances(self, num_concurrent_instances: int) -> None:
        """Run this many copies side by side."""
        self._refuse_mutation()
        self._step.num_concurrent_instances = num_concurrent_instances

    def SetCreateWorkspace(self, create_workspace: bool) -> None:
        """Run in a child workspace of its own."""
        self._refuse_mutation()
        self._step.create_workspace = create_workspace

    def RunEveryMillis(self, interval: int) -> None:
        """Pause this long between iterations."""
        self._refuse_mutation()
        self._step.run_every_ms = interval

    def SetReportNet(self, report_net: Net, report_interval: int) -> None:
        """Run a net every `report_interval` seconds meanwhile, and once at the end."""
        self._refuse_mutation()
        self._report = report_net
        self._step.report_net = report_net.Name()
        self._step.report_interval = report_interval

    def get_all_attributes(self, name: str) -> list[Any]:
        """What all nets of the step and its substeps keep under a name."""
        return [value for net in self.Nets() for value in net.get_attributes(name)]

    @classmethod
    def create_from_proto(
        cls, step_proto: StepProto, net_obj_dict: dict[str, Net], net_proto_dict: Any
    ) -> ExecutionStep:
        """The step that a message describes, with its substeps.

        `net_obj_dict` holds the nets by name; those that are missing are made from the messages in
        `net_proto_dict` and added. Raises NetError for a net that is in neither.
        """
        made = cls(step_proto.name)
        for substep in step_proto.substep:
            made.AddSubstep(cls.create_from_proto(substep, net_obj_dict, net_proto_dict))
        for name in step_proto.network:
            made.AddNet(_net_of(name, net_obj_dict, net_proto_dict))
        if step_proto.report_net:
            report = _net_of(step_proto.report_net, net_obj_dict, net_proto_dict)
            made.SetReportNet(report, step_proto.report_interval)
        kept = StepProto()
        kept.CopyFrom(step_proto)
        for name in ("substep", "network", "report_net", "report_interval"):
            kept.ClearField(name)
        made._step.MergeFrom(kept)
        return made

    def _all_nets(self) -> Iterator[Net]:
        yield from self._nets
        for substep in self._substeps:
            yield from substep._all_nets()
        if self._report is not None:
            yield self._report

    def _refuse_mutation(self) -> None:
        if self._is_used:
            raise NetError(
                "Cannot mutate a step that has already been added to a plan/step.",
                where=f"step '{self._step.name}'",
            )

    def _refuse_mixture(self, others: list[Any]) -> None:
        if others:
            raise NetError(
                "Cannot have both network and substeps.", where=f"step '{self._step.name}'"
            )


class Plan:
    """Nets and the steps that run them, in order."""

    def __init__(self, name_or_step: str | bytes | ExecutionStep) -> None:
        self._plan = PlanDef()
        self._nets: dict[str, Net] = {}
        self._steps: list[ExecutionStep] = []
        if isinstance(name_or_step, ExecutionStep):
            self._plan.name = name_or_step.Name()
            self.AddStep(name_or_step)
        elif isinstance(name_or_step, str | bytes):
            self._plan.name = str(BlobReference(name_or_step))
        else:
            raise UsageError(f"Plan takes a name or an ExecutionStep, found {name_or_step!r:.80}")

    def __str__(self) -> str:
        return self._plan.name

    def Proto(self) -> PlanDef:
        """The message itself."""
        return self._plan

    def Nets(self) -> list[Net]:
        """The nets that it holds, as they were when they were added."""
        return list(self._nets.values())

    def Steps(self) -> list[ExecutionStep]:
        """The steps."""
        return list(self._steps)

    def AddNets(self, nets: Iterable[Net]) -> None:
        """Add nets that it does not have yet; NetError for two nets of one name."""
        for net in nets:
            known = self._nets.setdefault(net.Name(), net)
            if known is not net:
                raise NetError(
                    f"Different nets with same name: {net.Name()}", where=f"plan '{self}'"
                )
            if not any(proto.name == net.Name() for proto in self._plan.network):
                self._plan.network.add().CopyFrom(net.Proto())

    def AddStep(self, step: ExecutionStep) -> None:
        """Add a step with its nets; one with nothing to run is left out."""
        if not isinstance(step, ExecutionStep):
            raise UsageError(f"expected an ExecutionStep, found {step!r:.80}")
        if not step.freeze():
            return
        self.AddNets(step.Nets())
        self._steps.append(step)
        self._plan.execution_step.add().CopyFrom(step.Proto())

    def get_all_attributes(self, name: str) -> list[Any]:
        """What all nets of the plan keep under a name."""
        return [value for net in self.Nets() for value in net.get_attributes(name)]

    @classmethod
    def create_from_proto(cls, plan_proto: PlanDef) -> Plan:
        """The plan that a message describes; its nets get names that are unique in this process.

        Raises NetError for two nets of one name, or a step with an unknown one.
        """
        protos = {net.name: net for net in plan_proto.network}
        if len(protos) < len(plan_proto.network):
            raise NetError("two nets have one name", where=f"plan '{plan_proto.name}'")
        made = cls(plan_proto.name)
        nets: dict[str, Net] = {}
        for step in plan_proto.execution_step:
            made.AddStep(ExecutionStep.create_from_proto(step, nets, protos))
        return made

    def operator_lines(self) -> dict[str, list[str | None]]:
        """For each net, by name, where the user's program created its operators."""
        return {name: net.operator_lines() for name, net in self._nets.items()}


def execution_step(
    default_name: str,
    steps_or_nets: Any,
    num_iter: int | None = None,
    report_net: Net | None = None,
    report_interval: int | None = None,
    concurrent_substeps: bool | None = None,
    should_stop_blob: str | BlobReference | None = None,
    only_once: bool | None = None,
    num_concurrent_instances: int | None = None,
    create_workspace: bool = False,
    run_every_ms: int | None = None,
) -> ExecutionStep:
    """A step over a net, a step, or a list of nets and steps; it runs once by default.

    In a list with both kinds each net gets a substep of its own. Raises UsageError for
    `should_stop_blob` together with `num_iter`, and a `report_net` without `report_interval`.
    """
    if should_stop_blob is not None and num_iter is not None:
        raise UsageError("Cannot set both should_stop_blob and num_iter.")
    if (report_net is None) != (report_interval is None):
        raise UsageError("report_net and report_interval belong together")
    if should_stop_blob is None and num_iter is None:
        num_iter = 1
    step = ExecutionStep(default_name)
    settings: list[tuple[Any, tuple[Any, ...]]] = [
        (step.SetIter, (num_iter,)),
        (step.SetShouldStopBlob, (should_stop_blob,)),
        (step.SetOnlyOnce, (only_once,)),
        (step.SetConcurrentSubsteps, (concurrent_substeps,)),
        (step.SetNumConcurrentInstances, (num_concurrent_instances,)),
        (step.SetCreateWorkspace, (create_workspace or None,)),
        (step.RunEveryMillis, (run_every_ms or None,)),
        (step.SetReportNet, (report_net, report_interval)),
    ]
    for setter, values in settings:
        if values[0] is not None:
            setter(*values)
    _fill(step, steps_or_nets)
    return step


def to_execution_step(step_or_nets: Any, default_name: str | None = None) -> ExecutionStep:
    """An ExecutionStep as it is; a net, several, or what a builder of nets holds, as one."""
    if isinstance(step_or_nets, ExecutionStep):
        return step_or_nets
    stop_blob = None
    if default_name is None and hasattr(step_or_nets, "name"):
        default_name = step_or_nets.name
    if hasattr(step_or_nets, "_stop_blob"):  # a builder of nets; asking for its blob makes one
        stop_blob = step_or_nets._stop_blob
        step_or_nets = step_or_nets.get()
    return execution_step(default_name or "", step_or_nets, should_stop_blob=stop_blob)


def scoped_execution_step(name: str, *args: Any, **kwargs: Any) -> ExecutionStep:
    """As execution_step, with a name in the current name scope."""
    return execution_step(ScopedName(name), *args, **kwargs)


def add_nets_in_order(step: ExecutionStep, net_list: list[str]) -> None:
    """Append the names of a step's nets to a list, in the order in which they run, each once."""
    proto = step.Proto()
    for substep in step.Substeps():
        add_nets_in_order(substep, net_list)
    net_list.extend(name for name in dict.fromkeys(proto.network) if name not in net_list)
    if proto.report_net and proto.report_net not in net_list:
        net_list.append(proto.report_net)


def _fill(step: ExecutionStep, steps_or_nets: Any) -> None:
    items = steps_or_nets
    if isinstance(items, ExecutionStep | Net) or hasattr(items, "_stop_blob"):
        items = [items]
    if items is not None and not isinstance(items, list | tuple):
        raise UsageError(f"expected a step, a net, or a list of nets or steps, found {items!r:.80}")
    items = items or []
    if all(isinstance(item, Net) for item in items):
        for net in items:
            step.AddNet(net)
        return
    for item in items:
        step.AddSubstep(to_execution_step(item))


def _net_of(name: str, nets: dict[str, Net], protos: Any) -> Net:
    if name not in nets:
        if name not in protos:
            raise NetError(f"a step runs net '{name}', which the plan does not have")
        nets[name] = Net(protos[name])
    return nets[name]


def _automatic_name() -> str:
    number = next(_unnamed)
    return f"step_{number}" if number else "step"
