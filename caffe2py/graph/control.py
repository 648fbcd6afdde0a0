"""Steps that run nets under conditions: loops, branches, all made of execution steps.

A condition is a blob that holds one bool, or a net whose last external output is one: then the net
runs before every look at it.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import Any

from caffe2py.errors import NetError, UsageError
from caffe2py.graph.net import Net
from caffe2py.graph.plan import ExecutionStep, scoped_execution_step
from caffe2py.graph.reference import BlobReference
from caffe2py.proto.caffe2_pb2 import TensorProto

Work = Any  # a net, a step, or a list of nets and steps
Condition = Any  # a blob or a net

_step_names: set[str] = set()


class EmptyError(UsageError, ValueError):
    """Nothing to run."""


def _step_name(kind: str, base: str) -> str:
    """A name for a step that no other step here has."""
    wanted = f"{base}/{kind}"
    names = itertools.chain([wanted], (f"{wanted}_{k}" for k in itertools.count(1)))
    name = next(n for n in names if n not in _step_names)
    _step_names.add(name)
    return name


def _step(kind: str, base: str, work: Sequence[Any], **settings: Any) -> ExecutionStep:
    return scoped_execution_step(_step_name(kind, base), list(work), **settings)


def _listed(items: Sequence[Any]) -> list[Any]:
    """Arguments as a list: given one by one, or as one list."""
    if not items:
        raise EmptyError("there is nothing to run")
    if len(items) == 1 and isinstance(items[0], list):
        return list(items[0])
    return list(items)


def _are_nets(work: Sequence[Any]) -> bool:
    return all(isinstance(item, Net) for item in work)


def _before(work: Work, *nets: Net) -> list[Any]:
    items = _listed([work])
    return [*nets, *items] if _are_nets(items) else [Do("prepend", *nets), *items]


def _after(work: Work, *nets: Net) -> list[Any]:
    items = _listed([work])
    return [*items, *nets] if _are_nets(items) else [*items, Do("append", *nets)]


# ---------------------------------------------------------------- conditions


def GetConditionBlobFromNet(condition_net: Net) -> BlobReference:
    """The last external output of a net; NetError if it has none."""
    outputs = condition_net.Proto().external_output
    if not outputs:
        raise NetError(f"the condition net '{condition_net}' has no external output")
    return BlobReference(outputs[-1])


def _blob_of(condition: Condition) -> BlobReference:
    """The blob of a condition."""
    if isinstance(condition, Net):
        return GetConditionBlobFromNet(condition)
    return BlobReference(condition)


def BoolNet(*blobs_with_bool_value: Any) -> Net:
    """A net that gives blobs constant values; arguments are pairs (blob, bool)."""
    net = Net("bool_net")
    for blob, value in _listed(blobs_with_bool_value):
        made = net.ConstantFill([], [blob], shape=[], value=value, dtype=TensorProto.BOOL)
        net.AddExternalOutput(made)
    return net


def NotNet(condition_blob_or_net: Condition) -> tuple[Net, BlobReference]:
    """A net that negates a condition, and the blob with the result."""
    return _one_operator("not_net", "Not", condition_blob_or_net)


def _one_operator(name: str, op_type: str, condition: Condition) -> tuple[Net, BlobReference]:
    net = Net(name)
    source = condition
    if isinstance(condition, Net):
        source = GetConditionBlobFromNet(condition)
    made: BlobReference = net.operator_method(op_type)(source)
    net.AddExternalOutput(made)
    return net, made


def MergeConditionNets(name: str, condition_nets: Any, relation: str) -> Net | None:
    """One net with the operators of all, whose last output joins their conditions.

    `relation` is "And" or "Or". One net, or none, is returned as it is. Raises NetError for nets of
    different types or devices.
    """
    if not isinstance(condition_nets, list):
        made: Net | None = condition_nets
        return made
    if len(condition_nets) < 2:
        return condition_nets[0] if condition_nets else None
    merged = Net(name)
    proto = merged.Proto()
    for net in condition_nets:
        source = net.Proto()
        if source.device_option != proto.device_option or source.type != proto.type:
            raise NetError(f"'{net}' has a type or a device of its own, so it cannot be merged")
        proto.external_input.extend(n for n in source.external_input)
    conditions = []
    for net in condition_nets:
        merged.extend_ops(net.Proto().op)
        conditions.append(GetConditionBlobFromNet(net))
        merged.take_attributes(net)
    merged.AddExternalOutput(_joined(merged, conditions, relation))
    return merged


def CombineConditions(name: str, condition_nets: Any, relation: str) -> Net | None:
    """A net that joins the conditions of nets that run elsewhere; None for no nets.

    `relation` is "And" or "Or". EmptyError for what is no list.
    """
    if not condition_nets:
        return None
    if not isinstance(condition_nets, list):
        raise EmptyError("condition_nets must be a list of nets.")
    if len(condition_nets) == 1:
        return _one_operator("copy_condition_blob_net", "Copy", condition_nets[0])[0]
    net = Net(name)
    blobs = [GetConditionBlobFromNet(condition) for condition in condition_nets]
    net.AddExternalOutput(_joined(net, blobs, relation))
    return net


def _joined(net: Net, blobs: Sequence[BlobReference], relation: str) -> BlobReference:
    last = blobs[0]
    for blob in blobs[1:]:
        last = net.operator_method(relation)([last, blob])
    return last


# ---------------------------------------------------------------- in order, side by side


def Do(name: str, *nets_or_steps: Any) -> ExecutionStep:
    """Run nets or steps one after the other, once; a single step is returned as it is."""
    return _once("Do", name, nets_or_steps)


def DoParallel(name: str, *nets_or_steps: Any) -> ExecutionStep:
    """Run nets or steps side by side, and wait for all."""
    return _once("DoParallel", name, nets_or_steps, concurrent_substeps=True)


def _once(kind: str, name: str, work: Sequence[Any], **settings: Any) -> ExecutionStep:
    items = _listed(work)
    if len(items) == 1 and isinstance(items[0], ExecutionStep):
        return items[0]
    return _step(kind, name, items, **settings)


# ---------------------------------------------------------------- loops


def For(name: str, nets_or_steps: Work, iter_num: int) -> ExecutionStep:
    """Run the work `iter_num` times, counted by a counter."""
    init, count = Net("init-net"), Net("For-iter")
    counter = init.CreateCounter([], init_count=iter_num)
    done = count.CountDown([counter])
    loop = _step("For-inner", name, _before(nets_or_steps, count), should_stop_blob=done)
    return Do(f"{name}/For", Do(f"{name}/For-init-net", init), loop)


def While(name: str, condition_blob_or_net: Condition, nets_or_steps: Work) -> ExecutionStep:
    """Run the work as long as the condition is true before it."""
    stop, blob = NotNet(condition_blob_or_net)
    return _guarded("While", name, condition_blob_or_net, stop, blob, nets_or_steps)


def _guarded(
    kind: str,
    name: str,
    condition: Condition,
    stop: Net,
    blob: BlobReference,
    nets_or_steps: Work,
    **settings: Any,
) -> ExecutionStep:
    """The condition, its negation, the work: until the negation is true."""
    first = [condition, stop] if isinstance(condition, Net) else [stop]
    work = _before(nets_or_steps, *first)
    if not _are_nets(work):
        return _step(kind, name, work, should_stop_blob=blob, **settings)
    # the first net runs before anybody has written the blob: it may hold true from before
    inner = _step(f"{kind}-inner", name, work, should_stop_blob=blob, **settings)
    return Do(f"{name}/{kind}", BoolNet((blob, False)), inner)


def Until(name: str, condition_blob_or_net: Condition, nets_or_steps: Work) -> ExecutionStep:
    """Run the work as long as the condition is false before it."""
    condition = condition_blob_or_net
    work: Any = _before(nets_or_steps, condition) if isinstance(condition, Net) else nets_or_steps
    return _step("Until", name, _listed([work]), should_stop_blob=_blob_of(condition))


def DoWhile(name: str, condition_blob_or_net: Condition, nets_or_steps: Work) -> ExecutionStep:
    """Run the work, and again as long as the condition is true after it."""
    condition = condition_blob_or_net
    stop, blob = NotNet(condition)
    last = [condition, stop] if isinstance(condition, Net) else [stop]
    inner = _step("DoWhile-inner", name, _after(nets_or_steps, *last), should_stop_blob=blob)
    return Do(f"{name}/DoWhile", BoolNet((blob, False)), inner)


def DoUntil(name: str, condition_blob_or_net: Condition, nets_or_steps: Work) -> ExecutionStep:
    """Run the work, and again as long as the condition is false after it.

    A blob that holds true before stops the work after its first net or step.
    """
    condition = condition_blob_or_net
    blob = _blob_of(condition)
    if not isinstance(condition, Net):
        return _step("DoUntil", name, _listed([nets_or_steps]), should_stop_blob=blob)
    work = _after(nets_or_steps, condition)
    inner = _step("DoUntil-inner", name, work, should_stop_blob=blob)
    return Do(f"{name}/DoUntil", BoolNet((blob, False)), inner)


# ---------------------------------------------------------------- branches


def _once_if(name: str, condition: Condition, nets_or_steps: Work) -> ExecutionStep:
    stop, blob = NotNet(condition)
    return _guarded("_RunOnceIf", name, condition, stop, blob, nets_or_steps, only_once=True)


def _once_if_not(name: str, condition: Condition, nets_or_steps: Work) -> ExecutionStep:
    if isinstance(condition, Net):
        net, blob = condition, GetConditionBlobFromNet(condition)
    else:
        net, blob = _one_operator("copy_condition_blob_net", "Copy", condition)
    work = _before(nets_or_steps, net)
    return _step("_RunOnceIfNot", name, work, should_stop_blob=blob, only_once=True)


def If(
    name: str,
    condition_blob_or_net: Condition,
    true_nets_or_steps: Work,
    false_nets_or_steps: Work = None,
) -> ExecutionStep:
    """Run one work where the condition is true, and the other, if there is one, where it is not."""
    if not false_nets_or_steps:
        return _once_if(f"{name}/If", condition_blob_or_net, true_nets_or_steps)
    blob = _same_condition(condition_blob_or_net)
    return Do(
        f"{name}/If",
        _once_if(f"{name}/If-true", condition_blob_or_net, true_nets_or_steps),
        _once_if_not(f"{name}/If-false", blob, false_nets_or_steps),
    )


def IfNot(
    name: str,
    condition_blob_or_net: Condition,
    true_nets_or_steps: Work,
    false_nets_or_steps: Work = None,
) -> ExecutionStep:
    """As If with the condition the other way around."""
    if not false_nets_or_steps:
        return _once_if_not(f"{name}/IfNot", condition_blob_or_net, true_nets_or_steps)
    blob = _same_condition(condition_blob_or_net)
    return Do(
        f"{name}/IfNot",
        _once_if_not(f"{name}/IfNot-true", condition_blob_or_net, true_nets_or_steps),
        _once_if(f"{name}/IfNot-false", blob, false_nets_or_steps),
    )


def _same_condition(condition: Condition) -> Any:
    """The condition for a second look, without running its net again."""
    return GetConditionBlobFromNet(condition) if isinstance(condition, Net) else condition


def Switch(name: str, *conditions: Any) -> ExecutionStep:
    """For each pair (condition, work): run the work if the condition is true."""
    pairs = _listed(conditions)
    return _step("Switch", name, [_once_if(f"{name}/Switch", c, work) for c, work in pairs])


def SwitchNot(name: str, *conditions: Any) -> ExecutionStep:
    """For each pair (condition, work): run the work if the condition is false."""
    pairs = _listed(conditions)
    return _step("SwitchNot", name, [_once_if_not(f"{name}/SwitchNot", c, w) for c, w in pairs])
