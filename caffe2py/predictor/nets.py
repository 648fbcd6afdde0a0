"""The nets of a predictor as they are saved: the one that predicts, and what makes its blobs."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from caffe2py.errors import MissingBlobError, UsageError
from caffe2py.graph.net import Net
from caffe2py.graph.reference import BlobReference
from caffe2py.graph.scope import EmptyDeviceScope
from caffe2py.predictor.described import PredictorExportMeta
from caffe2py.proto.args import find, make_argument
from caffe2py.proto.caffe2_pb2 import NetDef

__all__ = ["AddModelIdArg", "create_predict_init_net", "create_predict_net"]

_MODEL_ID = "model_id"
_SHOWN = 8


def AddModelIdArg(meta_net_def: PredictorExportMeta, net_def: NetDef) -> None:
    """Give a net the argument model_id of the net that predicts, if that has one."""
    source = meta_net_def.predict_net
    theirs = find(source, _MODEL_ID) if isinstance(source, NetDef) else None
    if theirs is None:
        return
    ours = find(net_def, _MODEL_ID)
    if ours is None:
        net_def.arg.append(make_argument(_MODEL_ID, theirs.i))
    else:
        ours.i = theirs.i


def create_predict_net(predictor_export_meta: PredictorExportMeta) -> NetDef:
    """The net that predicts: reads inputs and parameters, gives outputs; UsageError for a plan."""
    meta = predictor_export_meta
    source = meta.predict_net
    if not isinstance(source, NetDef):
        raise UsageError(f"expected a net that predicts, found a {type(source).__name__}")
    made = Net(source.name or "predict").Proto()
    made.op.extend(source.op)
    made.arg.extend(source.arg)
    made.partition_info.extend(source.partition_info)
    made.external_input.extend([*meta.inputs, *meta.parameters])
    made.external_output.extend(meta.outputs)
    if meta.net_type is not None:
        made.type = meta.net_type
    if meta.num_workers is not None:
        made.num_workers = meta.num_workers
    return made


def create_predict_init_net(ws: Any, predictor_export_meta: PredictorExportMeta) -> NetDef:
    """The net that fills inputs and outputs with zeros, and what `extra_init_net` has besides.

    Shapes are those of `shapes`, else of the blobs in `ws`, a `workspace.C.Workspace`;
    MissingBlobError for a blob that is in neither.
    """
    meta = predictor_export_meta
    net = Net("predict-init")
    blobs = [*meta.inputs, *meta.outputs]
    held = {} if all(blob in meta.shapes for blob in blobs) else ws.blobs
    with EmptyDeviceScope():  # the device is decided where the predictor is loaded
        for blob in blobs:
            net.ConstantFill([], BlobReference(blob), shape=_shape(meta, held, blob), value=0.0)
    net.Proto().external_input.extend(blobs)
    if meta.extra_init_net:
        net.AppendNet(meta.extra_init_net)
    AddModelIdArg(meta, net.Proto())
    return net.Proto()


def _shape(meta: PredictorExportMeta, held: Mapping[str, Any], blob: str) -> tuple[int, ...]:
    if blob in meta.shapes:
        return tuple(meta.shapes[blob])
    if blob not in held:
        near = ", ".join(sorted(held)[:_SHOWN]) or "none"
        raise MissingBlobError(
            f"the shape of '{blob}' is not given, and it is not in the workspace (blobs: {near})",
            hint=f"shapes={{'{blob}': (1, 3, 224, 224)}}",
        )
    return tuple(held[blob].fetch().shape)
