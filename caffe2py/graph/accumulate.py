"""Contributions to the gradient of one version of a blob, and the operators that add them up."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from caffe2py.errors import NetError
from caffe2py.graph.device import device_option_equal
from caffe2py.graph.ir import IR
from caffe2py.graph.rules import names_of
from caffe2py.proto.args import make_argument
from caffe2py.proto.caffe2_pb2 import DeviceOption, NetDef, OperatorDef
from caffe2py.registry.gradient import GradientSlice, gradient_name

#: Positions of one gradient blob: (operator, output) in a group of backward operators.
Places = tuple[tuple[int, int], ...]


def places_of(group: Sequence[OperatorDef], name: str) -> Places:
    """Where a group of operators writes a blob."""
    return tuple(
        (k, position)
        for k, op in enumerate(group)
        for position, output in enumerate(op.output)
        if output == name
    )


@dataclass
class Contribution:
    """One gradient of a version of a blob.

    `group` are the backward operators that make it, together with others, and `places` where they
    write each of its blobs: nowhere for a gradient that passes through an operator, or that the
    user gave. `source` is the index of the forward operator, None for a loss.
    """

    gradient: str | GradientSlice
    group: Sequence[OperatorDef] = ()
    places: tuple[Places, ...] = ()
    device: DeviceOption = field(default_factory=DeviceOption)
    source: int | None = None
    given: bool = False

    def made(self, part: int) -> bool:
        """Whether an operator of the group makes this blob (0, or 1 for the values of a slice)."""
        return part < len(self.places) and bool(self.places[part])

    def rename(self, part: int, name: str) -> None:
        """Let the group make the blob under another name, and read it under that one."""
        old = names_of(self.gradient)[part]
        rename_written(self.group, self.places[part], old, name)
        if isinstance(self.gradient, GradientSlice):
            self.gradient = self.gradient._replace(**{GradientSlice._fields[part]: name})
        else:
            self.gradient = name


def rename_written(group: Sequence[OperatorDef], places: Places, old: str, new: str) -> None:
    """Write a blob under another name at these places, and read it so in the operators behind."""
    first = min(op for op, _ in places)
    for op, output in places:
        rename_output(group[op], output, new)
    others = {name for op in group for name in op.output}
    if old in others:  # still made for another contribution, which is the one that is read
        return
    for backward in group[first + 1 :]:
        backward.input[:] = [new if name == old else name for name in backward.input]


def rename_output(op: OperatorDef, position: int, new: str) -> None:
    """Let an operator write another blob, and its nets, where they know it by that name (If).

    NetError for a loop that reads what it wrote in the round before.
    """
    old = op.output[position]
    nets = [argument.n for argument in op.arg if argument.HasField("n")]
    if op.type == "While" and old in op.input:
        raise NetError(
            f"'{old}' goes around in a While, so it cannot have another name at the end",
            hint="Copy the blob, and let the loop work on the copy",
        )
    op.output[position] = new
    if op.type in ("If", "While"):
        for net in nets:
            _rename_behind(net, old, new)


def _rename_behind(net: NetDef, old: str, new: str) -> None:
    """Rename a blob from where a net first writes it."""
    written = False
    for op in net.op:
        if written:
            op.input[:] = [new if name == old else name for name in op.input]
        for position, name in enumerate(op.output):
            if name == old:
                rename_output(op, position, new)
                written = True


def accumulate(
    blob: str,
    contributions: Sequence[Contribution],
    free: Callable[[str], str],
    describe: Callable[[int | None], str],
) -> Contribution:
    """Add up several contributions: one Sum, or a Concat each of indices and values.

    The first gradient that an operator makes keeps its name and gets the sum; the others become
    `_<name>_autosplit_0`, 1, ... Slices are joined, not added: `<name>_indices_concat` and
    `<name>_values_concat`. `free` returns its argument, or another name where that one holds the
    gradient of another blob, and `describe` tells an operator by its index. Raises NetError for a
    mixture of both kinds, and of devices.
    """
    _refuse_mixture(blob, contributions, describe)
    _refuse_devices(blob, contributions, describe)
    if isinstance(contributions[0].gradient, GradientSlice):
        return _concat(blob, contributions)
    return _sum(blob, contributions, free)


def _refuse_mixture(
    blob: str, contributions: Sequence[Contribution], describe: Callable[[int | None], str]
) -> None:
    kinds = {isinstance(c.gradient, GradientSlice): describe(c.source) for c in contributions}
    if len(kinds) == 2:
        raise NetError(
            f"'{blob}' has a sparse gradient from {kinds[True]} and a dense one from "
            f"{kinds[False]}, which cannot be added",
            hint="dense_gradient=1 where the operator has it, or EnsureDense before it",
        )


def _refuse_devices(
    blob: str, contributions: Sequence[Contribution], describe: Callable[[int | None], str]
) -> None:
    made = [c for c in contributions if not c.given]
    for other in made[1:]:
        if not device_option_equal(made[0].device, other.device):
            found = " and ".join(
                f"{' '.join(str(c.device).split()) or 'no device option'} ({describe(c.source)})"
                for c in (made[0], other)
            )
            raise NetError(
                f"the gradients of '{blob}' that are to be added are on different devices: {found}",
                hint="one DeviceScope around these operators and AddGradientOperators, or copies",
            )


def _sum(
    blob: str, contributions: Sequence[Contribution], free: Callable[[str], str]
) -> Contribution:
    passed = {c.gradient for c in contributions if not c.made(0)}
    result: str | None = None
    count = 0
    for contribution in contributions:
        if not contribution.made(0):
            continue
        name = str(contribution.gradient)
        if result is None:
            result = name
            if name not in passed:
                continue
        contribution.rename(0, f"_{name}_autosplit_{count}")
        count += 1
    result = result or gradient_name(blob)
    inputs = [str(c.gradient) for c in contributions]
    if result in {str(c.gradient) for c in contributions if c.given}:
        output = free(f"{result}_sum")  # what the user gave stays as it is
    else:
        output = free(result)
    if result in inputs:
        at = inputs.index(result)
        inputs[0], inputs[at] = inputs[at], inputs[0]
    op = OperatorDef(type="Sum", name="", input=inputs, output=[output])
    return _added(contributions, [op], output, (((0, 0),),))


def _concat(blob: str, contributions: Sequence[Contribution]) -> Contribution:
    base = _sparse_base(blob, contributions)
    ops = []
    for part, what in enumerate(GradientSlice._fields):
        count = 0
        for contribution in contributions:
            if contribution.made(part):
                name = names_of(contribution.gradient)[part]
                contribution.rename(part, f"_{name}_autosplit_{count}")
                count += 1
        inputs = [names_of(c.gradient)[part] for c in contributions]
        outputs = [f"{base}_{what}_concat", f"{base}_{what}_concat_split"]
        op = OperatorDef(type="Concat", name="", input=inputs, output=outputs)
        op.arg.append(make_argument("axis", 0))
        ops.append(op)
    joined = GradientSlice(ops[0].output[0], ops[1].output[0])
    return _added(contributions, ops, joined, (((0, 0),), ((1, 0),)))


def _sparse_base(blob: str, contributions: Sequence[Contribution]) -> str:
    """What the joined slice is called after: the first part that an operator makes."""
    for contribution in contributions:
        for part, what in enumerate(GradientSlice._fields):
            if contribution.made(part):
                return names_of(contribution.gradient)[part].removesuffix(f"_{what}")
    return gradient_name(blob)


def _added(
    contributions: Sequence[Contribution],
    ops: Sequence[OperatorDef],
    gradient: str | GradientSlice,
    places: tuple[Places, ...],
) -> Contribution:
    """The result; its operators run where the first contribution was made."""
    first = next((c for c in contributions if not c.given), contributions[0])
    option = DeviceOption()
    if f"{IR.ONLY_KEEP_IS_AUTO_GEN_SUM_OPS_TAG}:1" not in first.device.extra_info:
        option.CopyFrom(first.device)
    option.extra_info.append(f"{IR.IS_AUTO_GEN_SUM_OPS_TAG}:1")
    for op in ops:
        op.device_option.CopyFrom(option)
    return Contribution(gradient, ops, places, option, first.source)
