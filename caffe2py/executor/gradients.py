"""`C.get_gradient_defs`: the gradient of one operator, as Caffe2's library gives it to scripts."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from caffe2py.errors import UsageError
from caffe2py.executor.inputs import as_operator
from caffe2py.registry.gradient import GradientRef, GradientSlice
from caffe2py.registry.operator import service


@dataclass
class GradientWrapper:
    """A gradient that is a blob (`dense`), a slice (`indices`, `values`), or none (all empty)."""

    dense: str = ""
    indices: str = ""
    values: str = ""

    @classmethod
    def of(cls, gradient: GradientRef) -> GradientWrapper:
        """The same gradient in this form."""
        if isinstance(gradient, GradientSlice):
            return cls(indices=str(gradient.indices), values=str(gradient.values))
        return cls(gradient or "")

    def is_dense(self) -> bool:
        """Whether it is a blob."""
        return bool(self.dense)

    def is_sparse(self) -> bool:
        """Whether it is a slice."""
        return bool(self.indices or self.values)

    def is_empty(self) -> bool:
        """Whether there is none."""
        return not self.is_dense() and not self.is_sparse()

    @property
    def ref(self) -> GradientRef:
        """The same gradient as rules know it."""
        return GradientSlice(self.indices, self.values) if self.is_sparse() else self.dense or None


def get_gradient_defs(
    op_def: bytes, output_gradients: Sequence[GradientWrapper]
) -> tuple[list[bytes], list[GradientWrapper]]:
    """The serialized backward operators of a serialized operator, and its inputs' gradients.

    Raises UsageError unless there is one gradient for each output, NoGradientError where the
    operator has none.
    """
    op = as_operator(op_def)
    if len(output_gradients) < len(op.output):
        raise UsageError(
            f"{len(output_gradients)} gradients for {len(op.output)} outputs of {op.type}"
        )
    given = [wrapper.ref for wrapper in output_gradients[: len(op.output)]]
    found = service("gradient of operators")(op, given)
    return (
        [backward.SerializeToString() for backward in found.ops],
        [GradientWrapper.of(gradient) for gradient in found.input_grads],
    )
