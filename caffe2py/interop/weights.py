"""Arrays of any type as the net that makes them."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from caffe2py.predictor.weights import filler
from caffe2py.proto.args import make_argument
from caffe2py.proto.caffe2_pb2 import NetDef
from caffe2py.tensor.tensor import Array
from caffe2py.tensor.types import number_from_dtype

__all__ = ["weights_net"]

#: Types without a filler -> a wider type that has one and gives back the same values.
_THROUGH = {"float16": np.float32, "int8": np.int32, "uint16": np.int32}


def weights_net(name: str, weights: Mapping[str, Array]) -> NetDef:
    """A net that makes these arrays bit by bit; UnsupportedError for a type that no blob has."""
    net = NetDef(name=name, external_output=list(weights))
    for blob, value in weights.items():
        array = np.asarray(value)
        if array.dtype == np.uint8:
            _fill(net, "GivenTensorByteStringToUInt8Fill", blob, array, [array.tobytes()])
        elif array.dtype.name in _THROUGH:
            wide = array.astype(_THROUGH[array.dtype.name])
            _fill(net, filler(blob, wide), f"{blob}_wide", wide)
            cast = net.op.add(type="Cast", input=[f"{blob}_wide"], output=[blob])
            cast.arg.append(make_argument("to", number_from_dtype(array.dtype)))
        elif array.dtype == np.float64:
            _doubles(net, blob, array)
        else:
            _fill(net, filler(blob, array), blob, array)
    return net


def _fill(
    net: NetDef, type_: str, blob: str, array: Array, values: list[bytes] | None = None
) -> None:
    op = net.op.add(type=type_, output=[blob])
    op.arg.append(make_argument("shape", list(array.shape)))
    op.arg.append(make_argument("values", array.reshape(-1).tolist() if values is None else values))


def _doubles(net: NetDef, blob: str, array: Array) -> None:
    """Floats of 64 bits as a sum of floats of 32 bits: three have room for all digits."""
    parts: list[Array] = []
    rest = array
    with np.errstate(over="ignore", invalid="ignore"):
        while len(parts) < 3 and (not parts or np.any(rest)):
            part = rest.astype(np.float32).astype(np.float64)
            parts.append(part)
            left = np.where(np.isfinite(part), rest - part, 0.0)
            rest = np.where(left == 0, np.copysign(0.0, part), left)  # -0.0 + 0.0 is 0.0
    names = [blob] if len(parts) == 1 else [f"{blob}_part{k}" for k in range(len(parts))]
    for name, part in zip(names, parts, strict=True):
        _fill(net, "GivenTensorDoubleFill", name, part)
    total = names[0]
    for k, name in enumerate(names[1:], 1):
        out = blob if k == len(names) - 1 else f"{blob}_sum{k}"
        net.op.add(type="Add", input=[total, name], output=[out])
        total = out
