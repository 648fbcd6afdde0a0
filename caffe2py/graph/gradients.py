"""What callers of a backward pass give and get: losses, given gradients, the map of the results."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from caffe2py.errors import DTypeError, NetError, UsageError
from caffe2py.graph.backward import Backward, backward_pass
from caffe2py.graph.early import checks_early
from caffe2py.graph.reference import BlobReference
from caffe2py.graph.rules import MAKERS, Maker, as_gradient, gradient_of
from caffe2py.graph.versions import Forward
from caffe2py.proto.caffe2_pb2 import NetDef, OperatorDef
from caffe2py.registry.gradient import GradientRef, GradientSlice
from caffe2py.registry.infer_net import Walk

#: For each blob the blob of its gradient, or the slice.
GradientMap = dict[BlobReference, BlobReference | GradientSlice]


class GradientRegistry:
    """Gradients of operators, and backward passes over lists of operators."""

    #: Operator type -> the function registered for it.
    gradient_registry_ = MAKERS

    @classmethod
    def RegisterGradient(cls, op_type: str) -> Callable[[Maker], Maker]:
        """Decorator for `f(op, output_gradients) -> (backward operators, input gradients)`.

        The gradients are names, GradientSlices or None; the operators one, several or None. It is
        asked where the operator's declaration gives no gradient.
        """

        def register(maker: Maker) -> Maker:
            cls.gradient_registry_[op_type] = maker
            return maker

        return register

    @classmethod
    def GetGradientForOp(
        cls, op: OperatorDef, g_output: Sequence[Any]
    ) -> tuple[list[OperatorDef], list[GradientRef]]:
        """The backward operators of one operator, and the gradient of each input (None: none).

        Raises NoGradientError where it has none, and UsageError for too few output gradients.
        """
        given = [as_gradient(g, f"gradient of output {k}") for k, g in enumerate(g_output)]
        if len(given) < len(op.output):
            raise UsageError(f"{len(given)} gradients for {len(op.output)} outputs of {op.type}")
        found = gradient_of(op, given[: len(op.output)])
        return list(found.ops), list(found.input_grads)

    @classmethod
    def GetBackwardPass(
        cls, operators: Iterable[OperatorDef], ys: Any, ys_generate_gradient: bool = False
    ) -> tuple[list[OperatorDef], GradientMap]:
        """The backward operators for a list of operators, and the map from blobs to gradients.

        `ys` is a list of losses, or a dict of losses and their gradients (None: all ones).
        `ys_generate_gradient` is accepted and changes nothing. Raises as `backward_pass` does, and
        NetError for a loss that no operator makes.
        """
        forward, wanted = list(operators), losses(ys)
        outputs = {name for op in forward for name in op.output}
        for loss, gradient in wanted.items():
            if gradient is None and loss not in outputs:
                raise NetError(f"no operator makes the loss '{loss}'")
        made = backward_pass(Forward(forward), wanted)
        return made.operators, references(made)


def losses(ys: Any) -> dict[str, GradientRef]:
    """The losses and their gradients from a list or a dict; UsageError for anything else."""
    if isinstance(ys, list):
        ys = dict.fromkeys(ys)
    if not isinstance(ys, Mapping):
        raise UsageError(
            "ys should either be a list or a dict: losses, or losses and their gradients; "
            f"found {ys!r:.80}"
        )
    found = {}
    for loss, gradient in ys.items():
        if not isinstance(loss, str | bytes | BlobReference):
            raise UsageError(f"a loss is a blob, found {loss!r:.80}")
        name = str(BlobReference(loss))
        found[name] = as_gradient(gradient, f"gradient of '{name}'")
    return found


def references(made: Backward) -> GradientMap:
    """The map from blobs to gradients as callers get it."""
    found: GradientMap = {}
    for blob, gradient in made.gradients.items():
        if isinstance(gradient, GradientSlice):
            found[BlobReference(blob)] = GradientSlice._make(map(BlobReference, gradient))
        elif gradient is not None:
            found[BlobReference(blob)] = BlobReference(gradient)
    return found


def check_losses(net: NetDef, ys: Mapping[str, GradientRef], given: Iterable[Any]) -> None:
    """Refuse losses that the net does not have, or that are known to be no floats.

    `given` are the losses as the caller gave them: references tell whose they are. Raises NetError
    and DTypeError.
    """
    made = {name for op in net.op for name in op.output}
    known = made | {name for op in net.op for name in op.input} | set(net.external_input)
    owners = {str(blob): blob.Net() for blob in map(BlobReference, given)}
    for loss, gradient in ys.items():
        if loss not in (made if gradient is None else known):
            raise NetError(_unmade(loss, net, owners.get(loss)), where=f"net '{net.name}'")
    if checks_early():
        _refuse_integers(net, ys)


def _unmade(loss: str, net: NetDef, owner: Any) -> str:
    names = list(dict.fromkeys(name for op in net.op for name in op.output))
    if loss in net.external_input or any(loss in op.input for op in net.op):
        text = f"the loss '{loss}' comes from outside: no operator makes it"
    else:
        text = f"there is no blob '{loss}', which is to be the loss"
    if owner is not None and str(owner) != net.name:
        text += f"; the reference is to a blob of net '{owner}'"
    near = difflib.get_close_matches(loss, names, 3) or [n for n in names if n.endswith(f"/{loss}")]
    return text + (f"; did you mean {' or '.join(map(repr, near[:3]))}?" if near else "")


def _refuse_integers(net: NetDef, ys: Mapping[str, GradientRef]) -> None:
    walk = Walk()
    for _ in walk.steps(net):
        pass
    for loss in ys:
        dtype = walk.types[loss].dtype if loss in walk.types else None
        if dtype is not None and not np.issubdtype(dtype, np.floating):
            raise DTypeError(
                f"the loss '{loss}' is {dtype}, and only floats have gradients",
                where=f"net '{net.name}'",
            )
