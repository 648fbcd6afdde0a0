"""The same model in onnxruntime: do both give the same numbers?"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from caffe2py.errors import Error, UnsupportedError
from caffe2py.interop.onnx.package import onnxruntime_package
from caffe2py.tensor.tensor import Array
from caffe2py.tensor.types import TensorType

__all__ = ["differences", "random_inputs", "run_onnxruntime"]

_SEED = 7


def random_inputs(types: Mapping[str, TensorType]) -> dict[str, Array]:
    """Values for inputs, the same in every run: floats in [0, 1), integers 0 to 9."""
    rng = np.random.default_rng(_SEED)
    made: dict[str, Array] = {}
    for name, type_ in types.items():
        shape, dtype = type_.full_shape, type_.dtype
        if shape is None or dtype is None:
            raise UnsupportedError(f"the shape of input '{name}' has to be known, found {type_}")
        if dtype.kind == "f":
            made[name] = rng.random(shape).astype(dtype)
        else:
            made[name] = rng.integers(0, 2 if dtype.kind == "b" else 10, shape).astype(dtype)
    return made


def run_onnxruntime(
    model: Any, inputs: Mapping[str, Array], outputs: Sequence[str]
) -> dict[str, Array]:
    """What onnxruntime makes of a model; UnsupportedError where it refuses it."""
    runtime = onnxruntime_package()
    options = runtime.SessionOptions()
    options.log_severity_level = 4
    source = model if isinstance(model, str | bytes) else model.SerializeToString()
    try:
        session = runtime.InferenceSession(source, options, providers=["CPUExecutionProvider"])
        found = session.run(list(outputs), dict(inputs))
    except Exception as error:  # its own exceptions share no public base class
        raise UnsupportedError(f"onnxruntime: {' '.join(str(error).split())[:400]}") from None
    return dict(zip(outputs, found, strict=True))


def differences(ours: Mapping[str, Array], theirs: Mapping[str, Array]) -> dict[str, float]:
    """By output, the largest difference, relative to values above 1.

    Raises Error where shapes or types differ, or one has NaN where the other has a number.
    """
    found = {}
    for name, array in ours.items():
        other = np.asarray(theirs[name])
        if array.shape != other.shape or array.dtype != other.dtype:
            raise Error(
                f"output '{name}' is {TensorType.of(array)} here and {TensorType.of(other)} there"
            )
        with np.errstate(invalid="ignore"):
            same = (array == other) | ((array != array) & (other != other))
            distance = np.abs(array.astype(np.float64) - other.astype(np.float64))
        scale = np.maximum(np.abs(other.astype(np.float64)), 1.0)
        gap = np.where(same, 0.0, distance / scale)
        if np.isnan(gap).any():
            raise Error(f"output '{name}' is not a number on one side only")
        found[name] = float(gap.max(initial=0.0))
    return found
