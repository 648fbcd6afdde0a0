"""Caffe2's predictor.predictor_py_utils module: what is in a MetaNetDef, and nets to put there."""

from __future__ import annotations

from caffe2py.predictor.contents import (
    AddBlobs,
    AddNet,
    AddPlan,
    GetApplicationSpecificInfo,
    GetArgumentByName,
    GetBlobs,
    GetBlobsByTypePrefix,
    GetBlobsOrder,
    GetNet,
    GetNetOriginal,
    GetPlan,
    GetPlanOriginal,
    ReplaceBlobs,
    SetAOTConfig,
    SetBlobsOrder,
    SetPreLoadBlobs,
    SetRequestOnlyEmbeddings,
    SetTensorBoundShapes,
    get_comp_name,
)
from caffe2py.predictor.nets import AddModelIdArg, create_predict_init_net, create_predict_net

__all__ = [
    "AddBlobs",
    "AddModelIdArg",
    "AddNet",
    "AddPlan",
    "GetApplicationSpecificInfo",
    "GetArgumentByName",
    "GetBlobs",
    "GetBlobsByTypePrefix",
    "GetBlobsOrder",
    "GetNet",
    "GetNetOriginal",
    "GetPlan",
    "GetPlanOriginal",
    "ReplaceBlobs",
    "SetAOTConfig",
    "SetBlobsOrder",
    "SetPreLoadBlobs",
    "SetRequestOnlyEmbeddings",
    "SetTensorBoundShapes",
    "create_predict_init_net",
    "create_predict_net",
    "get_comp_name",
]
