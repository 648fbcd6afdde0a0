"""What is known of one parameter of a model."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from caffe2py.errors import UsageError
from caffe2py.graph.reference import BlobReference

__all__ = ["ParameterInfo", "ParameterTags"]


class ParameterTags:
    """What a parameter is: a weight, a bias, or computed from data instead of learnt."""

    BIAS = "BIAS"
    WEIGHT = "WEIGHT"
    COMPUTED_PARAM = "COMPUTED_PARAM"


class ParameterInfo:
    """A parameter's blob, its shape and, once there is a backward pass, its gradient.

    `blob_copy` maps DataType numbers to copies of the parameter in another type. `regularizer` is
    where the regularizers are found that held when the parameter was made.
    """

    def __init__(
        self,
        param_id: int | None,
        param: BlobReference,
        key: Any = None,
        shape: Sequence[int] | None = None,
        length: int | None = None,
        grad: Any = None,
        blob_copy: Mapping[int, BlobReference] | None = None,
    ) -> None:
        if not isinstance(param, BlobReference):
            raise UsageError(f"a parameter is a BlobReference, found {param!r:.80}")
        self.param_id = param_id
        self.blob = param
        self.name = str(param)
        self.key = key
        self.shape = shape
        self.size = None if shape is None else math.prod(shape)
        self.length = max(length or 1, 1)
        self.grad = grad
        self.blob_copy = blob_copy
        self.regularizer: Any = None
        self._optimizer: Any = None

    @property
    def parameter(self) -> BlobReference:
        """The parameter's blob."""
        return self.blob

    @property
    def optimizer(self) -> Any:
        """The optimizer of this parameter alone, or None; it can be set once."""
        return self._optimizer

    @optimizer.setter
    def optimizer(self, value: Any) -> None:
        if self._optimizer is not None:
            raise UsageError(f"parameter '{self.name}': optimizer has already been set")
        self._optimizer = value

    def __str__(self) -> str:
        return self.name
