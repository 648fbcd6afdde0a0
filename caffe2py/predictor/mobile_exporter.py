"""Caffe2's predictor.mobile_exporter module: a net and its parameters as two nets.

init_net, predict_net = Export(workspace, model.net, model.params)
workspace.Predictor(init_net, predict_net).run([x])
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np

from caffe2py.errors import MissingBlobError, UnsupportedError
from caffe2py.graph.net import Net
from caffe2py.graph.operators import CreateOperator
from caffe2py.graph.queries import get_ssa
from caffe2py.graph.reference import BlobReference
from caffe2py.predictor.weights import filler
from caffe2py.proto.args import make_argument
from caffe2py.proto.caffe2_pb2 import NetDef

__all__ = ["Export", "add_tensor"]

_BYTES = np.dtype(np.uint8)


def add_tensor(net: NetDef, name: str, blob: Any) -> None:
    """Append to a net the operator that makes this array, bit by bit.

    An array of uint8 is kept as one text, which takes less room. UnsupportedError for a type that
    no operator makes, and for objects that are no bytes.
    """
    uint8 = isinstance(blob, np.ndarray) and blob.dtype == _BYTES
    type_ = "GivenTensorByteStringToUInt8Fill" if uint8 else filler(name, blob)
    if blob.dtype == object and not all(isinstance(item, bytes) for item in blob.flat):
        raise UnsupportedError(f"no filler makes '{name}': not all of its objects are bytes")
    values = [blob.tobytes()] if uint8 else blob.reshape(-1).tolist()
    arguments = [make_argument("shape", list(blob.shape)), make_argument("values", values)]
    net.op.append(CreateOperator(type_, [], [BlobReference(name)], arg=arguments))


def Export(workspace: Any, net: Net | NetDef, params: Iterable[Any]) -> tuple[NetDef, NetDef]:
    """The net that makes the parameters and the net that predicts, as a Predictor takes them.

    `workspace` has the values of `params`: the module, or anything with FetchBlob. What else the
    net reads are its inputs: the first net makes stand-ins of shape (1, 1) for them. Outputs are
    the blobs that no operator reads. MissingBlobError for a parameter without value,
    UnsupportedError for one that no operator makes.
    """
    proto = net.Proto() if isinstance(net, Net) else net
    parameters = [str(name) for name in params]
    rows, last = get_ssa(proto)
    read = {name for inputs, _ in rows for name, _ in inputs}
    data = [name for name, version in last.items() if version == 0 and name not in parameters]
    init = NetDef()
    for name in parameters:
        try:
            value = workspace.FetchBlob(name)
        except MissingBlobError as error:
            raise error.with_where(f"parameter '{name}' of net '{proto.name}'") from None
        add_tensor(init, name, value)
    for name in data:
        add_tensor(init, name, np.zeros((1, 1), np.float32))
    predict = NetDef()
    predict.CopyFrom(proto)
    predict.external_input[:] = list(dict.fromkeys([*data, *proto.external_input]))
    predict.external_output[:] = [
        name for name, version in last.items() if version and name not in read
    ]
    return init, predict
