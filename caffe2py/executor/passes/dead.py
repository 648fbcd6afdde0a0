"""Operators that change nothing: those whose results nobody uses, and those that pass X on as Y."""

from __future__ import annotations

from collections.abc import Collection

from caffe2py.executor.passes.flow import SHARING, Flow, in_place_only, opaque, pure, with_operators
from caffe2py.proto.args import find
from caffe2py.proto.caffe2_pb2 import NetDef, OperatorDef

#: Y = X, whatever X is; Dropout is one more if it is a test.
_COPIES = ("Copy", "StopGradient", "EnsureCPUOutput", "Alias", "AliasWithName", "NegateGradient")


def drop_unused(net: NetDef, keep: Collection[str] | None) -> NetDef:
    """The net without operators whose outputs nobody reads, or looks at; the net itself if none is.

    `keep` as for `optimize`. What does more than to compute its outputs stays.
    """
    if opaque(net):
        return net
    flow = Flow(net, keep)
    wanted, kept = set(flow.observed), set[int]()
    for index in reversed(range(len(net.op))):
        inputs, outputs = flow.rows[index]
        idle = outputs and not wanted.intersection(outputs)
        if not (idle and pure(net, net.op[index])):
            kept.add(index)
            wanted.update(inputs)
    return with_operators(net, kept)


def drop_copies(net: NetDef, keep: Collection[str] | None) -> NetDef:
    """The net without operators that pass their input on, which others then read instead.

    A copy that is looked at stays, and one whose original is overwritten while it is in use.
    """
    if opaque(net):
        return net
    index = 0
    while index < len(net.op):
        # the flow is another one after every change; copies are few
        made = _without_copy(net, keep, index) if _is_copy(net.op[index]) else None
        net, index = (net, index + 1) if made is None else (made, index)
    return net


def _is_copy(op: OperatorDef) -> bool:
    if op.type == "Dropout":
        tested = find(op, "is_test")
        return tested is not None and tested.i == 1
    return op.type in _COPIES


def _without_copy(net: NetDef, keep: Collection[str] | None, index: int) -> NetDef | None:
    op, flow = net.op[index], Flow(net, keep)
    (source, *_), (value, *masks) = flow.rows[index]
    x, y = source[0], value[0]
    if not pure(net, op) or not all(flow.unused(mask) for mask in masks):
        return None
    readers = flow.readers[value]
    if x != y and (value in flow.results or not _is_safe(flow, index, x, y, readers)):
        return None
    made = with_operators(net, set(range(len(net.op))) - {index})
    if x != y:
        for reader in readers:
            names = made.op[reader - 1].input
            for place, name in enumerate(names):
                if name == y:
                    names[place] = x
    return made


def _is_safe(flow: Flow, index: int, x: str, y: str, readers: list[int]) -> bool:
    """Whether the readers of y find in x, when their turn comes, what x is now."""
    ops = flow.net.op
    last = max(readers, default=index)
    if any(index < writer <= last for writer in flow.writers[x]):
        return False
    # what has to be in place cannot read another blob
    if any(in_place_only(ops[reader]) for reader in readers):
        return False
    others = [op for place, op in enumerate(ops) if place != index and op.type in SHARING]
    if any({x, y} & {*op.input, *op.output} for op in others):
        return False
    if ops[index].type not in SHARING:
        return True
    return len(flow.writers[y]) == 1 and not any(writer > index for writer in flow.writers[x])
