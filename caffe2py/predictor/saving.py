"""A net and its parameters as one database, and back."""

from __future__ import annotations

from typing import Any

import caffe2py.core  # noqa: F401  (brings in the operators)
from caffe2py.errors import Error, MissingBlobError
from caffe2py.executor import session
from caffe2py.executor.native import C
from caffe2py.graph.net import Net
from caffe2py.graph.operators import CreateOperator
from caffe2py.graph.reference import BlobReference
from caffe2py.graph.scope import CurrentDeviceScope
from caffe2py.predictor import contents as parts
from caffe2py.predictor import nets
from caffe2py.predictor.described import MetaError, PredictorExportMeta
from caffe2py.predictor.metanet import read_meta, require_fitting, require_net, sole_name
from caffe2py.predictor.serde import serialize_protobuf_struct
from caffe2py.predictor_constants import predictor_constants as consts
from caffe2py.proto.caffe2_pb2 import DeviceOption, NetDef
from caffe2py.proto.metanet_pb2 import MetaNetDef
from caffe2py.registry.trust import SAFE, Trust
from caffe2py.registry.trusted import require_trusted
from caffe2py.tensor.device import CPU

__all__ = [
    "get_meta_net_def",
    "load_from_db",
    "prepare_prediction_net",
    "save_to_db",
    "set_model_info",
]

#: A type of database whose parameters are not read by an operator.
_READS_ITSELF = "manifold_db"
_SHOWN = 8


# ---------------------------------------------------------------- saving


def get_meta_net_def(
    predictor_export_meta: PredictorExportMeta, ws: Any = None, db_type: str | None = None
) -> MetaNetDef:
    """The table of contents of a predictor; `ws` (the current workspace) has shapes not given.

    Raises MissingBlobError where a shape is not known, UsageError where a plan is to predict.
    """
    meta = predictor_export_meta
    made = MetaNetDef()
    prepares = nets.create_predict_init_net(ws or C.Workspace.current, meta)
    parts.AddNet(made, meta.predict_init_name(), prepares)
    parts.AddNet(made, meta.global_init_name(), _global_init_net(meta, db_type))
    parts.AddNet(made, meta.predict_net_name(), nets.create_predict_net(meta))
    parts.AddBlobs(made, meta.parameters_name(), meta.parameters)
    parts.AddBlobs(made, meta.inputs_name(), meta.inputs)
    parts.AddBlobs(made, meta.outputs_name(), meta.outputs)
    return made


def _global_init_net(meta: PredictorExportMeta, db_type: str | None) -> NetDef:
    net = Net("global-init")
    if db_type != _READS_ITSELF:
        reader = consts.PREDICTOR_DBREADER
        net.Load([BlobReference(reader)], [BlobReference(name) for name in meta.parameters])
        net.Proto().external_input.append(reader)
        net.Proto().external_output.extend(meta.parameters)
    if meta.global_init_net:
        net.AppendNet(meta.global_init_net)
    nets.AddModelIdArg(meta, net.Proto())
    return net.Proto()


def set_model_info(
    meta_net_def: MetaNetDef, project_str: str, model_class_str: str, version: str
) -> None:
    """Say what a model is; UsageError for what is no MetaNetDef."""
    if not isinstance(meta_net_def, MetaNetDef):
        raise MetaError(f"expected a MetaNetDef, found {meta_net_def!r:.80}")
    info = meta_net_def.modelInfo
    info.project, info.modelClass, info.version = project_str, model_class_str, version


def save_to_db(
    db_type: str,
    db_destination: str,
    predictor_export_meta: PredictorExportMeta,
    use_ideep: bool = False,
    *args: Any,
    **kwargs: Any,
) -> None:
    """Save a predictor with the parameters that are in the current workspace.

    `kwargs` are further arguments of the Save operator; `use_ideep` changes nothing here. The blob
    "!!META_NET_DEF" is left in the workspace. Raises MissingBlobError for a parameter or a shape
    that is missing, FileError where the file cannot be written; an old file is left then.
    """
    meta = predictor_export_meta
    place = str(db_destination)
    missing = [name for name in meta.parameters if not session.HasBlob(name)]
    if missing:
        raise MissingBlobError(
            f"{len(missing)} of {len(meta.parameters)} parameters are not in the workspace: "
            f"{', '.join(missing[:_SHOWN])}",
            where=place,
            hint="run the net that makes them",
        )
    contents = serialize_protobuf_struct(get_meta_net_def(meta, db_type=db_type))
    session.FeedBlob(consts.META_NET_DEF, contents)
    blobs = [BlobReference(name) for name in (consts.META_NET_DEF, *meta.parameters)]
    given = {"absolute_path": True, "db": place, "db_type": db_type, **kwargs}
    session.RunOperatorOnce(
        CreateOperator("Save", blobs, [], device_option=CPU.to_option(), **given)
    )


# ---------------------------------------------------------------- loading


def load_from_db(
    filename: str,
    db_type: str,
    device_option: DeviceOption | None = None,
    *args: Any,
    **kwargs: Any,
) -> MetaNetDef:
    """The table of contents of a saved predictor, its operators on a device: given, or in scope.

    "!!PREDICTOR_DBREADER", from which the net GLOBAL_INIT_NET_TYPE loads the parameters, and
    "!!META_NET_DEF" are left in the workspace. Raises FileError for a missing file,
    ModelFormatError, naming file and key, for a damaged one and for what is no saved predictor.
    """
    meta = read_meta(session.current(), str(filename), db_type)
    device = CurrentDeviceScope() if device_option is None else device_option
    if device is not None:
        for op in (op for entry in meta.nets for op in entry.value.op):
            op.device_option.CopyFrom(device)
    return meta


def prepare_prediction_net(
    filename: str,
    db_type: str,
    device_option: DeviceOption | None = None,
    *,
    trust: Trust = SAFE,
) -> Net:
    """Load a saved predictor into the current workspace and create its net, ready to be run.

    Its nets may only compute, unless `trust` says more: TrustError. Raises what load_from_db
    raises, ModelFormatError for a net that is missing, ValueRangeError for a parameter that is
    missing, ShapeError for one that does not fit its operator; all name file and blob.
    """
    meta = load_from_db(filename, db_type, device_option)
    place = str(filename)
    name = sole_name(meta, place)
    try:
        net = Net(require_net(meta, consts.PREDICT_NET_TYPE, name, place))
        # it runs later, in a workspace that allows more: folders would not be looked at
        require_trusted(net.Proto(), Trust(trust.granted))
        with session.current().trusting(trust.reading(place)):
            for kind in (consts.GLOBAL_INIT_NET_TYPE, consts.PREDICT_INIT_NET_TYPE):
                session.RunNetOnce(require_net(meta, kind, name, place))
        parameters = parts.GetBlobs(meta, parts.get_comp_name(consts.PARAMETERS_BLOB_TYPE, name))
        require_fitting(net.Proto(), session.current(), parameters, place)
        session.CreateNet(net)
    except Error as error:
        raise error if (error.where or "").startswith(place) else error.with_where(place) from None
    return net
