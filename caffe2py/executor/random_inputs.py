"""Random values for the inputs of a net, to try it out."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

from caffe2py.errors import UsageError
from caffe2py.executor.inputs import as_net
from caffe2py.executor.session import FeedBlob
from caffe2py.tensor.tensor import Array
from caffe2py.tensor.types import DType, dtype_from_text

__all__ = ["FillRandomNetworkInputs"]

_RANDOM_INTEGERS = 100


def FillRandomNetworkInputs(
    net: Any, input_dims: Sequence[Sequence[Iterable[int]]], input_types: Sequence[Sequence[str]]
) -> None:
    """Feed random tensors to the inputs of a net that none of its operators makes.

    For each operator `input_dims` lists the shapes of those of its inputs that come up first there,
    `input_types` their types ("float", "int64", ...). Floats lie in [0, 1), integers in [0, 100).
    Raises UsageError for other numbers of shapes or types, ArgumentError for unknown types.
    """
    operators = as_net(net).op
    if not len(operators) == len(input_dims) == len(input_types):
        raise UsageError(
            f"the net has {len(operators)} operator(s), found shapes for {len(input_dims)} and "
            f"types for {len(input_types)}"
        )
    rng = np.random.default_rng()
    known: set[str] = set()
    values: dict[str, Array] = {}
    for op, shapes, types in zip(operators, input_dims, input_types, strict=True):
        names = [name for name in dict.fromkeys(op.input) if name not in known]
        if not len(names) == len(shapes) == len(types):
            raise UsageError(
                f"{op.type} has {len(names)} new input(s), found {len(shapes)} shape(s) and "
                f"{len(types)} type(s)"
            )
        for name, shape, type_ in zip(names, shapes, types, strict=True):
            values[name] = _draw(rng, tuple(shape), dtype_from_text(_FULL.get(type_, type_)))
        known.update(op.input, op.output)
    for name, value in values.items():
        FeedBlob(name, value)


#: How C++ calls types that DataType calls otherwise.
_FULL = {"int": "int32", "long": "int64", "long int": "int64"}


def _draw(rng: np.random.Generator, shape: tuple[int, ...], dtype: DType) -> Array:
    if dtype.kind == "f":
        return np.asarray(rng.random(shape)).astype(dtype)
    if dtype.kind not in "iub":
        raise UsageError(f"there are no random values of type {dtype.name}")
    return np.asarray(rng.integers(0, _RANDOM_INTEGERS, shape)).astype(dtype)
