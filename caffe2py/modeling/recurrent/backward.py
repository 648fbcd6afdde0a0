"""The backward net of one step, derived from the step net."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from caffe2py.errors import NoGradientError, UsageError
from caffe2py.graph.backward import backward_pass
from caffe2py.graph.net import Net
from caffe2py.graph.versions import Forward
from caffe2py.proto.analysis import external_inputs, produced
from caffe2py.proto.caffe2_pb2 import NetDef, OperatorDef
from caffe2py.registry.gradient import GradientRef, gradient_name

__all__ = ["BackwardStep"]

#: What the name of a gradient ends in that is added to what came from the next step.
_PART = "_accum"


class RecomputeError(UsageError, AssertionError):
    """What is to be computed anew comes with something that is to be kept."""


class BackwardStep:
    """The backward net of a step net, and the gradients that it makes.

    Its operators expect the gradient of each result of the step as "<result>_grad". `recomputed`
    are blobs that it makes anew instead of reading what the forward step has left.
    """

    def __init__(self, step: NetDef, recomputed: Iterable[Any] | None) -> None:
        given = {name: gradient_name(name) for name in step.external_output}
        # what comes from the next step is added at the end, where the gradients are written
        made = backward_pass(Forward(list(step.op)), given, replace_given=True)
        self.gradients: Mapping[str, GradientRef] = made.gradients
        self.recomputed = list(dict.fromkeys(map(str, recomputed or ())))
        self.net = Net("RecurrentBackwardStep")
        self._proto.op.extend(_producers(step, set(self.recomputed)))
        self._proto.op.extend(made.operators)
        self._written = frozenset(produced(self._proto))
        self.declare(_kept(step, self._proto))
        self._proto.type = "simple"

    @property
    def _proto(self) -> NetDef:
        return self.net.Proto()

    def declare(self, names: Iterable[str]) -> None:
        """Blobs that come from outside."""
        self._proto.external_input.extend(names)

    def gradient(self, blob: str) -> str:
        """The blob in which the gradient of an input of the step ends; NoGradientError if none."""
        if gradient_name(blob) in self._written:
            return gradient_name(blob)
        return self.mapped(blob)

    def mapped(self, blob: str) -> str:
        """The gradient of a blob as the backward pass names it; NoGradientError if it has none."""
        if self.gradients.get(blob) is None:
            raise NoGradientError(
                f"the results of the step do not depend on '{blob}'",
                where="recurrent net",
                hint="forward_only=True",
            )
        return str(self.gradients[blob])

    def add_up(self) -> None:
        """Add to gradients that come from outside instead of writing over them."""
        outside = set(self._proto.external_input)
        operators = list(self._proto.op)
        del self._proto.op[:]
        for op in operators:
            # an operator that reads what it writes takes care of it itself
            shared = [name for name in op.output if name in outside and name not in op.input]
            for index, name in enumerate(op.output):
                if name in shared:
                    op.output[index] = name + _PART
            self._proto.op.append(op)
            for name in shared:
                self._add(name)

    def _add(self, name: str) -> None:
        total = self.net.GetBlobRef(name)
        self.net.Sum([total, total + _PART], [total])


def _producers(step: NetDef, wanted: set[str]) -> list[OperatorDef]:
    """The operators that make the wanted blobs; RecomputeError if they make others, too."""
    found = [op for op in step.op if wanted.intersection(op.output)]
    for op in found:
        others = [name for name in op.output if name not in wanted]
        if others:
            raise RecomputeError(
                f"{op.type}, which is to run again on the way back, also makes {others[0]!r}"
            )
    return found


def _kept(step: NetDef, backward: NetDef) -> list[str]:
    """What the backward net reads of the blobs that the step makes, other than its results."""
    read = set(external_inputs(backward))
    return [b for b in produced(step) if b in read and b not in step.external_output]
