"""Caffe2's predictor.predictor_exporter module: a net and its parameters as one database.

meta = PredictorExportMeta(model.net, model.params, ["data"], ["softmax"], {"data": (1, 3, 8, 8)})
save_to_db("minidb", "model.minidb", meta)
net = prepare_prediction_net("model.minidb", "minidb")     # loaded and created
workspace.RunNet(net)

The first record, "!!META_NET_DEF", is a MetaNetDef: the nets that load, prepare and predict, and
the names of parameters, inputs and outputs. The other records are the parameters.
"""

from __future__ import annotations

from caffe2py.predictor.described import PredictorExportMeta, get_predictor_exporter_helper
from caffe2py.predictor.saving import (
    get_meta_net_def,
    load_from_db,
    prepare_prediction_net,
    save_to_db,
    set_model_info,
)

__all__ = [
    "PredictorExportMeta",
    "get_meta_net_def",
    "get_predictor_exporter_helper",
    "load_from_db",
    "prepare_prediction_net",
    "save_to_db",
    "set_model_info",
]
