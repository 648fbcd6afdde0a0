"""Which operators of a net lie between some blobs and others; parts of nets, and detours."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from caffe2py.errors import NetError
from caffe2py.proto import analysis
from caffe2py.proto.caffe2_pb2 import NetDef, OperatorDef

Versioned = analysis.Versioned
Ssa = list[tuple[list[Versioned], list[Versioned]]]


class PathError(NetError, AssertionError):
    """Blobs that do not lie on a path as they should."""


def versions(net: NetDef, first: Mapping[str, int]) -> tuple[Ssa, dict[str, int]]:
    """For each operator its inputs and outputs as (blob, version), and the last version of each.

    Versions count from `first`, or from 0.
    """
    last = dict(first)
    rows: Ssa = []
    for inputs, outputs in analysis.ssa(net):
        row = [[(blob, n + first.get(blob, 0)) for blob, n in side] for side in (inputs, outputs)]
        rows.append((row[0], row[1]))
        for blob, version in (*row[0], *row[1]):
            last[blob] = max(version, last.get(blob, 0))
    return rows, last


def get_undefined_blobs(ssa: Iterable[tuple[list[Versioned], list[Versioned]]]) -> set[str]:
    """The blobs that are read in version 0: nothing in the net has made them."""
    return {blob for inputs, _ in ssa for blob, version in inputs if version == 0}


def get_op_ids_in_path(
    ssa: Ssa, blob_versions: Mapping[str, int], inputs: Iterable[Any], outputs: Iterable[Any]
) -> list[int]:
    """The operators needed to make `outputs` where `inputs` are given, in their last versions.

    `ssa` and `blob_versions` are what get_ssa returns.
    """
    given = {(str(blob), blob_versions[str(blob)]) for blob in inputs}
    producers = get_output_producers(ssa)
    wanted = [(str(blob), blob_versions[str(blob)]) for blob in outputs]
    found: set[int] = set()
    while wanted:
        version = wanted.pop()
        index = producers.get(version)
        if version not in given and index is not None and index not in found:
            found.add(index)
            wanted.extend(ssa[index][0])
    return sorted(found)


def get_output_producers(
    ssa: Iterable[tuple[list[Versioned], list[Versioned]]],
) -> dict[Versioned, int]:
    """For each (blob, version) the index of the operator that writes it."""
    return {made: index for index, (_, outputs) in enumerate(ssa) for made in outputs}


def part(
    net: NetDef, name: str, inputs: Mapping[str, str], outputs: Sequence[str]
) -> tuple[list[int], dict[str, str], list[str]]:
    """The part of a net that makes `outputs` from `inputs`, for a copy called `name`.

    Returns the operators' indices, the new name of each blob (inputs get those of the mapping,
    blobs from outside keep theirs, the others get "<name>/" in front), and the external inputs.
    Raises PathError where an input would have to be made by an operator that is needed.
    """
    ssa, last = versions(net, dict.fromkeys(inputs, 0))
    used = get_op_ids_in_path(ssa, last, inputs, outputs)
    makers = set(get_op_ids_in_path(ssa, last, [], inputs))
    again = [f"#{index} {net.op[index].type}" for index in used if index in makers]
    if again:
        raise PathError(
            f"the part cannot be cut out: {', '.join(again)} would make an input that is given",
            where=f"net '{net.name}'",
        )
    outside = sorted(get_undefined_blobs(ssa[index] for index in used) - set(inputs))
    prefix = f"{name}/" if name else ""
    renamed = {blob: prefix + blob for blob in last}
    renamed.update((blob, blob) for blob in outside)
    renamed.update(inputs)
    return used, renamed, [*(renamed[blob] for blob in inputs), *outside]


def detour_position(net: NetDef, tensor: str, producer: OperatorDef) -> int:
    """Where an operator fits that reads `tensor` and others: behind those that make its inputs.

    Raises PathError unless it reads `tensor`.
    """
    if tensor not in producer.input and tensor not in net.external_input:
        raise PathError(f"{producer.type} does not read '{tensor}'", where=f"net '{net.name}'")
    makers = [-1]
    for name in producer.input:
        if name not in net.external_input:
            makers += [index for index, op in enumerate(net.op) if name in op.output][:1]
    return max(makers) + 1


def reroute(net: NetDef, tensor: str, producer: OperatorDef, allowed: Any = None) -> int:
    """Let those behind `producer` that read `tensor` (and are `allowed`) read its first output.

    Returns how many operators changed.
    """
    new = producer.output[0]
    net.external_output[:] = [new if name == tensor else name for name in net.external_output]
    changed = 0
    for op in net.op:
        if op == producer or tensor not in op.input or (allowed is not None and op not in allowed):
            continue
        op.input[:] = [new if name == tensor else name for name in op.input]
        changed += 1
    return changed
