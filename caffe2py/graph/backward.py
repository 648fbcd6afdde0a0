"""The reverse walk: backward operators for a list of operators, as the real Caffe2 appends them.

It starts at the losses and goes through the operators from the last to the first. An operator
whose outputs have gradients gets its backward operators; the gradients that these make are
contributions to the gradients of its inputs, in the versions that it read. When the walk has
passed the first user of a version, all of its contributions are known and are added up.

On purpose other than in Caffe2:

- a gradient belongs to one version of a blob. Where an operator writes over a version that has
  none, Caffe2 takes the gradient of the later version for it: it refuses the net, as we do, but
  lets that gradient pass through a Sum;
- the gradient that a user gives for a blob with users inside the net is added to what comes from
  those; Caffe2 drops it;
- an operator in place whose gradient reads what it overwrote (Mul, SpatialBN) is refused; Caffe2
  lets the gradient read what is there now;
- no gradient overwrites the one that another blob still has, which in-place operators behind a
  Sum in place would do: it gets another name. Caffe2 refuses some of these nets, and computes
  wrong gradients for others;
- a gradient whose name has two characters is a gradient, and not a pair of indices and values.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

from caffe2py.errors import Error, NetError
from caffe2py.graph.accumulate import Contribution, accumulate, places_of
from caffe2py.graph.holders import Holders
from caffe2py.graph.ir import IR, OpSSA
from caffe2py.graph.operators import CreateOperator
from caffe2py.graph.reference import BlobReference
from caffe2py.graph.rules import gradient_of, names_of
from caffe2py.graph.versions import Forward, Versions
from caffe2py.proto.caffe2_pb2 import OperatorDef
from caffe2py.registry.gradient import GradientRef

#: Paths in messages are cut in the middle when they have more operators than this.
_LONGEST_PATH = 8


class UnreadError(NetError, ValueError):
    """The output of a StopGradient is read by nothing."""


@dataclass(frozen=True)
class Backward:
    """Backward operators, and the gradients by blob, in the order in which they were found.

    `sources` are the indices of the forward operators that they are due to (None: the start).
    """

    operators: list[OperatorDef]
    sources: list[int | None]
    gradients: dict[str, GradientRef]


def backward_pass(
    forward: Forward, ys: Mapping[str, GradientRef], *, replace_given: bool = False
) -> Backward:
    """The backward operators for `ys`: losses, each with its given gradient or None for ones.

    A given gradient is added to what comes from users of the blob in the net, or with
    `replace_given` replaced by that, as in Caffe2.

    Raises NoGradientError where a gradient has to pass an operator that has none, and NetError for
    a blob that the gradient reads and another operator overwrites, for gradients of one blob that
    are dense and sparse, or on several devices, and for a StopGradient that nothing reads. The
    place is the path from the loss to the operator.
    """
    walk = _Walk(forward, replace_given)
    walk.refuse_orphans()
    for blob, gradient in ys.items():
        walk.start(blob, gradient)
    for index in reversed(range(len(forward.operators))):
        walk.differentiate(index)
        walk.settle(index)
    return Backward(walk.operators, walk.sources, walk.holders.gradients)


class _Walk:
    """What is known while the walk goes on."""

    def __init__(self, forward: Forward, replace_given: bool) -> None:
        self.forward = forward
        self.replace_given = replace_given
        self.ir = IR(forward.operators)
        self.versions = Versions(forward, self.ir)
        self.operators: list[OperatorDef] = []
        self.sources: list[int | None] = []
        self.holders = Holders()
        self._contributions: dict[tuple[str, int], list[Contribution]] = {}

    # ---- the steps

    def refuse_orphans(self) -> None:
        """A StopGradient that nothing reads was meant to stop a gradient, and stops none."""
        for index, op in enumerate(self.forward.operators):
            if op.type == "StopGradient" and op.output[0] not in self.ir.input_usages:
                raise UnreadError(
                    f"nothing reads '{op.output[0]}', so StopGradient stops no gradient of "
                    f"'{op.input[0]}'",
                    where=self._of_net() + self.forward.place(index),
                    hint=f"read '{op.output[0]}' where no gradient is to pass",
                )

    def start(self, blob: str, gradient: GradientRef) -> None:
        """Begin at a loss: its gradient is given, or all ones."""
        if gradient is not None:
            self._contribute(blob, self._last(blob), Contribution(gradient, given=True))
            self.holders.note(blob, gradient)
            return
        name = blob + IR.AUTOGEN_GRAD_SUFFIX
        op = CreateOperator("ConstantFill", [BlobReference(blob)], [name], value=1.0)
        made = op.output[0]
        self._emit([op], None)
        contribution = Contribution(made, [op], (((0, 0),),), op.device_option)
        self._contribute(blob, self._last(blob), contribution)
        self.holders.note(blob, made)

    def differentiate(self, index: int) -> None:
        """Add the backward operators of one operator, if a gradient reaches it."""
        row = self.ir.ssa[index]
        output_grads = self._output_gradients(row)
        self._refuse_dead(index, output_grads)
        if row.op.type != "ZeroGradient" and not any(output_grads):
            return
        with self._located(index):
            found = gradient_of(row.op, output_grads)
            group = _copies(found.ops)
            self.versions.check_reads(row, group, output_grads)
            self.versions.check_slices(row, group, found)
        grads = self.holders.kept_apart(row.op.input, group, found)
        self._emit(group, index)
        self._share_out(index, group, grads)

    def settle(self, index: int) -> None:
        """Add up the gradients of the versions whose first user this operator is."""
        row = self.ir.ssa[index]
        for key in row.in_versions.items():
            blob = key[0]
            contributions = self._contributions.get(key, [])
            if len(contributions) < 2 or self.ir.users(*key)[0] != index:
                continue
            if self.replace_given:
                contributions = [c for c in contributions if not c.given] or contributions[:1]
            if len(contributions) == 1:
                self._contributions[key] = contributions
                continue
            with self._located(index):
                total = accumulate(blob, contributions, self.holders.free(blob), self._origin)
            total.source = contributions[0].source
            self._emit(list(total.group), index)
            self._contributions[key] = [total]
            self.holders.note(blob, total.gradient)

    # ---- contributions

    def _last(self, blob: str) -> int:
        return self.ir.frontier.get(blob, 0)

    def _contribute(self, blob: str, version: int, contribution: Contribution) -> None:
        self._contributions.setdefault((blob, version), []).append(contribution)

    def _output_gradients(self, row: OpSSA) -> list[GradientRef]:
        """The gradient of each output; of a blob that is written twice, the last has it."""
        grads: list[GradientRef] = []
        for position, blob in enumerate(row.op.output):
            found = self._contributions.get((blob, row.out_versions[blob]))
            rewritten = blob in row.op.output[position + 1 :]
            grads.append(found[0].gradient if found and not rewritten else None)
        return grads

    def _share_out(
        self, index: int, group: Sequence[OperatorDef], grads: Sequence[GradientRef]
    ) -> None:
        """Enter the input gradients of one operator as contributions."""
        row = self.ir.ssa[index]
        claimed: set[str] = set()
        for blob in dict.fromkeys(row.op.input):
            own = [g for name, g in zip(row.op.input, grads, strict=True) if name == blob]
            for contribution in _contributions(own, group, claimed):
                contribution.source = index
                if not contribution.places:
                    contribution.device.CopyFrom(row.op.device_option)
                self._contribute(blob, row.in_versions[blob], contribution)
        for blob, gradient in zip(row.op.input, grads, strict=True):
            if gradient is not None or blob not in self.holders.gradients or blob in row.op.output:
                self.holders.note(blob, gradient)

    def _emit(self, ops: list[OperatorDef], source: int | None) -> None:
        self.operators += ops
        self.sources += [source] * len(ops)
        self.versions.written(ops)

    # ---- checks and messages

    def _refuse_dead(self, index: int, output_grads: Sequence[GradientRef]) -> None:
        """Refuse a version without gradient whose blob has one in a later version.

        Whoever gave two outputs one name has lost the first. It does not matter where the gradient
        of that output would not be used.
        """
        row = self.ir.ssa[index]
        later = [self.holders.gradients.get(blob) for blob in row.op.output]
        pairs = list(zip(row.op.output, output_grads, later, strict=True))
        last = self.ir.frontier
        dead = [
            blob
            for blob, own, other in pairs
            if own is None and other is not None and row.out_versions[blob] < last[blob]
        ]
        if not dead:
            return
        try:
            found = gradient_of(row.op, [own or other for _, own, other in pairs])
        except Error:
            return
        used = {name for op in found.ops for name in op.input}
        used.update(name for gradient in found.input_grads for name in names_of(gradient))
        for blob in dead:
            if used.intersection(names_of(self.holders.gradients[blob])):
                raise NetError(
                    f"'{blob}' in version {row.out_versions[blob]} has no part in the loss, and "
                    f"another operator writes it again; {self.versions.history(blob)}",
                    where=self._of_net() + self.forward.place(index),
                    hint="another name for one of the outputs",
                )

    def _origin(self, source: int | None) -> str:
        return "the start" if source is None else self.forward.place(source)

    @contextmanager
    def _located(self, index: int) -> Iterator[None]:
        """Say on which path from a loss the walk met an error."""
        try:
            yield
        except Error as error:
            error.where = None  # an operator's own words; the path says more
            raise error.with_where(self._of_net() + self._path(index)) from None

    def _of_net(self) -> str:
        return f"net '{self.forward.net}', " if self.forward.net else ""

    def _path(self, index: int) -> str:
        """The path on which a gradient came: "loss 'l' <- op #2 AveragedLoss <- op #1 Cast"."""
        steps: list[str] = []
        at: int | None = index
        while at is not None:
            steps.append(self.forward.place(at))
            at, blob = self._reached_from(self.ir.ssa[at])
            if at is None and blob is not None:
                steps.append(f"loss '{blob}'")
        steps.reverse()
        if len(steps) > _LONGEST_PATH:
            half = _LONGEST_PATH // 2
            cut = f"... ({len(steps) - 2 * half} more) ..."
            steps = [*steps[:half], cut, *steps[-half:]]
        return " <- ".join(steps)

    def _reached_from(self, row: OpSSA) -> tuple[int | None, str | None]:
        """The user from which an operator has its output gradient (None: a loss), and the blob."""
        for blob in row.op.output:
            found = self._contributions.get((blob, row.out_versions[blob]))
            if found:
                return found[0].source, blob
        return None, None


def _copies(ops: Sequence[OperatorDef]) -> list[OperatorDef]:
    """A user's function may return operators that it keeps."""
    copies = [OperatorDef() for _ in ops]
    for copy, op in zip(copies, ops, strict=True):
        copy.CopyFrom(op)
    return copies


def _contributions(
    gradients: Sequence[GradientRef], group: Sequence[OperatorDef], claimed: set[str]
) -> Iterator[Contribution]:
    """The contributions of one operator to the gradient of one blob, its input at some positions.

    A gradient that several positions share is one contribution for each place where it is written
    in one operator, as of Mul(X, X), or for each position, where it passes through. What another
    blob has claimed passes through.
    """
    for gradient in dict.fromkeys(g for g in gradients if g is not None):
        count = gradients.count(gradient)
        names = names_of(gradient)
        places = [places_of(group, name) if name not in claimed else () for name in names]
        claimed.update(names)
        if not any(places):
            yield from (Contribution(gradient) for _ in range(count))
        elif count > 1 and len(places) == 1 and len(places[0]) >= count:
            for place in places[0][-count:]:
                device = group[place[0]].device_option
                yield Contribution(gradient, group, ((place,),), device)
        else:
            first = next(found for found in places if found)
            device = group[first[-1][0]].device_option
            yield Contribution(gradient, group, tuple(places), device)
