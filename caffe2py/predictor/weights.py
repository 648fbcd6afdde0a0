"""Weights as an init net: one filler for each."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from caffe2py.errors import UnsupportedError
from caffe2py.proto.args import make_argument
from caffe2py.proto.caffe2_pb2 import NetDef
from caffe2py.tensor.types import STRING, dtype_name

__all__ = ["filler", "weights_net"]

#: By type, the filler that gives back the very same values.
_FILLERS = {
    "float32": "GivenTensorFill",
    "float64": "GivenTensorDoubleFill",
    "int16": "GivenTensorInt16Fill",
    "int32": "GivenTensorIntFill",
    "int64": "GivenTensorInt64Fill",
    "bool": "GivenTensorBoolFill",
}


def weights_net(name: str, values: Mapping[str, Any]) -> NetDef:
    """A net that makes these arrays, bit by bit; UnsupportedError for those that no filler makes.

    A net holds floats of 32 bits: a float64 array that needs more is one of those.
    """
    net = NetDef(name=name, external_output=list(values))
    for blob, array in values.items():
        op = net.op.add(type=filler(blob, array), output=[blob])
        op.arg.append(make_argument("shape", list(array.shape)))
        op.arg.append(make_argument("values", array.reshape(-1).tolist()))
    return net


def filler(blob: str, value: Any) -> str:
    """The operator that makes this array, bit by bit; UnsupportedError if none does."""
    if not isinstance(value, np.ndarray):
        raise UnsupportedError(f"no filler makes '{blob}', which is a {type(value).__name__}")
    if value.dtype == STRING:
        return "GivenTensorStringFill"
    found = _FILLERS.get(value.dtype.name)
    if found is None:
        raise UnsupportedError(f"no filler makes '{blob}', which is {dtype_name(value.dtype)}")
    if value.dtype == np.float64:
        with np.errstate(over="ignore"):
            kept = value.astype(np.float32).astype(np.float64)
        if not np.array_equal(kept, value, equal_nan=True):
            raise UnsupportedError(f"no filler makes '{blob}': it has more digits than a float32")
    return found
