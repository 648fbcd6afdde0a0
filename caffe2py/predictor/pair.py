"""A model as two files with the names under which other tools look for each other's partner."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from caffe2py.errors import UsageError
from caffe2py.predictor.load import Model
from caffe2py.predictor.mobile_exporter import add_tensor
from caffe2py.proto.args import make_argument
from caffe2py.proto.caffe2_pb2 import NetDef, PlanDef
from caffe2py.proto.files import write_message
from caffe2py.registry.infer_net import Walk
from caffe2py.tensor.tensor import Tensor

__all__ = ["INIT_FILE", "PREDICT_FILE", "init_net", "plain_init", "write_pair"]

#: The names that Caffe2's tools, Netron and `caffe2py run` pair.
PREDICT_FILE, INIT_FILE = "predict_net.pb", "init_net.pb"

#: What Netron reads in an init net; another operator makes it give up.
_PLAIN = frozenset(
    [
        "GivenTensorFill",
        "GivenTensorDoubleFill",
        "GivenTensorBoolFill",
        "GivenTensorByteStringToUInt8Fill",
        "GivenTensorInt16Fill",
        "GivenTensorSInt16Fill",
        "GivenTensorIntFill",
        "GivenTensorInt64Fill",
        "GivenTensorStringFill",
        "Int8GivenIntTensorFill",
        "Int8GivenTensorFill",
        "XavierFill",
        "ConstantFill",
    ]
)

#: Netron knows a net by its first bytes, among which a name may have so many.
_LONGEST_NAME = 60


def write_pair(folder: str | Path, model: Model) -> Path:
    """Write predict_net.pb, and init_net.pb if there are weights, into a folder; the former's path.

    The weights come first, so that whoever finds the net finds them too. A name that other tools
    would not read is cut. UsageError for a plan, UnsupportedError for weights that no operator
    makes.
    """
    if isinstance(model.predict, PlanDef):
        raise UsageError("this is a plan: there are no two nets to write")
    target = Path(folder)
    init = init_net(model)
    if init is not None:
        write_message(target / INIT_FILE, _named(init))
    write_message(target / PREDICT_FILE, _named(model.predict))
    return target / PREDICT_FILE


def init_net(model: Model) -> NetDef | None:
    """The net that makes a model's weights, those from a database too; None if it has none."""
    if not model.blobs:
        return model.init
    made = NetDef(name="init")
    if model.init is not None:
        made.CopyFrom(model.init)
    arrays = NetDef()
    for name, value in model.blobs.items():
        array = value.array if isinstance(value, Tensor) else value
        if isinstance(array, np.ndarray):
            add_tensor(arrays, name, array)
    ops = [*arrays.op, *made.op]
    made.ClearField("op")
    made.op.extend(ops)
    return made


def plain_init(net: NetDef) -> NetDef:
    """An init net as Netron reads it, to be looked at: other operators only state shapes in it."""
    shown = NetDef(name=net.name)
    for step in Walk().steps(net):
        op = step.op
        if op.type in _PLAIN and len(op.output) == 1:
            shown.op.append(op)
            continue
        for blob, found in zip(op.output, step.outputs, strict=True):
            if found.full_shape is not None:
                shape = make_argument("shape", list(found.full_shape))
                shown.op.add(type="XavierFill", output=[blob]).arg.append(shape)
    return shown


def _named(net: NetDef) -> NetDef:
    name = "".join(c if " " <= c <= "~" else "_" for c in net.name)[:_LONGEST_NAME]
    if name == net.name:
        return net
    renamed = NetDef()
    renamed.CopyFrom(net)
    renamed.name = name
    return renamed
