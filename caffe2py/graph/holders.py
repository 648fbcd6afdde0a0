"""Which blob has which gradient, and names for gradients that overwrite no other's."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from caffe2py.graph.accumulate import places_of, rename_written
from caffe2py.graph.rules import names_of
from caffe2py.proto.caffe2_pb2 import OperatorDef
from caffe2py.registry.gradient import Gradient, GradientRef, GradientSlice


class Holders:
    """The gradient of each blob so far, in the order in which they were found."""

    def __init__(self) -> None:
        self.gradients: dict[str, GradientRef] = {}
        self._holders: dict[str, set[str]] = {}

    def note(self, blob: str, gradient: GradientRef) -> None:
        """Keep the answer for a blob, and who holds which gradient."""
        for name in names_of(self.gradients.get(blob)):
            self._holders.get(name, set()).discard(blob)
        self.gradients[blob] = gradient
        for name in names_of(gradient):
            self._holders.setdefault(name, set()).add(blob)

    def kept_apart(
        self, inputs: Sequence[str], group: Sequence[OperatorDef], found: Gradient
    ) -> tuple[GradientRef, ...]:
        """Give other names to results that would overwrite the gradient of another blob."""
        renamed: dict[str, str] = {}
        owners: dict[str, str] = {}
        for blob, gradient in zip(inputs, found.input_grads, strict=True):
            for name in names_of(gradient):
                owners.setdefault(name, blob)
        for name in dict.fromkeys(name for op in group for name in op.output):
            free = self.free(owners.get(name))(name)
            if free != name:
                renamed[name] = free
                rename_written(group, places_of(group, name), name, free)
        if not renamed:
            return found.input_grads
        return tuple(_renamed(gradient, renamed) for gradient in found.input_grads)

    def free(self, owner: str | None) -> Callable[[str], str]:
        """What turns a name into one that holds no gradient of a blob other than `owner`."""

        def free_name(name: str) -> str:
            wanted, count = name, 0
            while self._holders.get(name, set()) - {owner}:
                name = f"_{wanted}_apart_{count}"
                count += 1
            return name

        return free_name


def _renamed(gradient: GradientRef, names: Mapping[str, str]) -> GradientRef:
    if isinstance(gradient, GradientSlice):
        return GradientSlice(*(names.get(name, name) for name in gradient))
    return None if gradient is None else names.get(gradient, gradient)
