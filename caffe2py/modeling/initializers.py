"""How a parameter gets its first values: operators in the net that initializes the model."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from caffe2py.errors import UsageError
from caffe2py.graph.net import Net
from caffe2py.graph.queries import DataType
from caffe2py.graph.reference import BlobReference, ScopedBlobReference
from caffe2py.modeling.parameter_info import ParameterInfo

__all__ = [
    "ExternalInitializer",
    "Initializer",
    "PseudoFP16Initializer",
    "ReversePseudoFP16Initializer",
    "update_initializer",
]

#: The type of a filler operator and its arguments.
Filler = tuple[str, Mapping[str, Any]]


class Initializer:
    """Fills a parameter with one operator: `Initializer("ConstantFill", value=1.0)`."""

    def __init__(self, operator_name: str | None = None, **kwargs: Any) -> None:
        self.operator_name = operator_name
        self.operator_kwargs: Mapping[str, Any] = kwargs

    def update(self, operator_name: str, kwargs: Mapping[str, Any]) -> None:
        """Say which operator fills; UsageError if that was said before."""
        if self.operator_name is not None:
            raise UsageError("Operator name overwrites are not allowed")
        self.operator_name = operator_name
        self.operator_kwargs = kwargs

    def create_param(self, param_name: Any, init_net: Net, shape: Sequence[int]) -> ParameterInfo:
        """Add the operator to `init_net`; the parameter has the given name and shape."""
        return ParameterInfo(None, self._fill(param_name, init_net, shape), shape=shape)

    def _fill(self, name: Any, init_net: Net, shape: Sequence[int]) -> BlobReference:
        if self.operator_name is None:
            raise UsageError(f"parameter '{name}': the initializer has no operator")
        fill = init_net.operator_method(self.operator_name)
        made: BlobReference = fill([], name, shape=shape, **self.operator_kwargs)
        return made


class ExternalInitializer:
    """For a parameter that somebody else puts into the workspace: no operator is added."""

    def create_param(self, param_name: Any, init_net: Net, shape: Sequence[int]) -> ParameterInfo:
        """The parameter; a string gets the current name scope, a reference stays as it is."""
        if isinstance(param_name, BlobReference):
            blob = BlobReference(str(param_name), init_net)
        else:
            blob = ScopedBlobReference(param_name, init_net)
        return ParameterInfo(None, blob, shape=shape)


class PseudoFP16Initializer(Initializer):
    """A float16 parameter for computing, and a float32 copy `<name>_fp32` for the optimizer."""

    def create_param(self, param_name: Any, init_net: Net, shape: Sequence[int]) -> ParameterInfo:
        """Fill the float32 copy and convert it."""
        copy = self._fill(param_name + "_fp32", init_net, shape)
        blob = init_net.FloatToHalf(copy, param_name)
        return ParameterInfo(None, blob, shape=shape, blob_copy={DataType.FLOAT: copy})


class ReversePseudoFP16Initializer(Initializer):
    """A float32 parameter, and a float16 copy `<name>_fp16`."""

    def create_param(self, param_name: Any, init_net: Net, shape: Sequence[int]) -> ParameterInfo:
        """Fill the parameter and convert it."""
        blob = self._fill(param_name, init_net, shape)
        copy = init_net.FloatToHalf(blob, param_name + "_fp16")
        return ParameterInfo(None, blob, shape=shape, blob_copy={DataType.FLOAT16: copy})


def update_initializer(
    initializer_class: Callable[..., Any] | None,
    operator_name_and_kwargs: Filler | None,
    default_operator_name_and_kwargs: Filler,
) -> Any:
    """An initializer of the given class (Initializer, if that is None) with the given filler.

    Without a filler the default one holds; what follows its arguments is passed over.
    """
    op_type, arguments = (operator_name_and_kwargs or default_operator_name_and_kwargs)[:2]
    return (initializer_class or Initializer)(op_type, **arguments)
