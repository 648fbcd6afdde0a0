"""What is in a MetaNetDef, the table of contents of a saved predictor, and putting it there.

It has nets, plans, texts and lists of blobs by key. Where a key is there twice, the first counts.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from caffe2py.errors import UsageError
from caffe2py.proto.args import find
from caffe2py.proto.caffe2_pb2 import AOTConfig, Argument, NetDef, PlanDef, TensorBoundShapes
from caffe2py.proto.metanet_pb2 import MetaNetDef, NetsMap, PlansMap

__all__ = [
    "AddBlobs",
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
    "get_comp_name",
]


class KeyMissingError(UsageError, AssertionError):
    """A key that is not there."""


# ---------------------------------------------------------------- what is there


def _at(entries: Iterable[Any], key: str) -> Any:
    return next((entry.value for entry in entries if entry.key == key), None)


def GetNet(meta_net_def: MetaNetDef, key: str) -> NetDef | None:
    """The net under a key, the very message; None if there is none."""
    net: NetDef | None = _at(meta_net_def.nets, key)
    return net


def GetPlan(meta_net_def: MetaNetDef, key: str) -> PlanDef | None:
    """The plan under a key, the very message; None if there is none."""
    plan: PlanDef | None = _at(meta_net_def.plans, key)
    return plan


GetNetOriginal = GetNet
GetPlanOriginal = GetPlan


def GetBlobs(meta_net_def: MetaNetDef, key: str) -> Any:
    """The list of blobs under a key, empty if there is none."""
    blobs = _at(meta_net_def.blobs, key)
    return [] if blobs is None else blobs


def GetBlobsByTypePrefix(meta_net_def: MetaNetDef, blob_type_prefix: str) -> list[str]:
    """The blobs of all lists whose keys begin so, each once, in the order in which they come."""
    lists = (entry.value for entry in meta_net_def.blobs if entry.key.startswith(blob_type_prefix))
    return list(dict.fromkeys(blob for blobs in lists for blob in blobs))


def GetBlobsOrder(meta_net_def: MetaNetDef) -> Any:
    """The keys of the lists of blobs in the order in which they are to be read."""
    return meta_net_def.blobsOrder


def GetApplicationSpecificInfo(meta_net_def: MetaNetDef, key: str) -> str | None:
    """The text under a key; None if there is none."""
    text: str | None = _at(meta_net_def.applicationSpecificInfo, key)
    return text


def GetArgumentByName(net_def: NetDef, arg_name: str) -> Argument | None:
    """An argument of a net; None if it has none of this name."""
    return find(net_def, arg_name)


def get_comp_name(string: str, name: str) -> str:
    """The key of something of one predictor among several: `string_name`; `string` if no name."""
    return f"{string}_{name}" if name else string


# ---------------------------------------------------------------- putting it there


def AddNet(meta_net_def: MetaNetDef, net_name: str, net_def: NetDef) -> None:
    """Add a copy of a net under a key."""
    meta_net_def.nets.append(NetsMap(key=net_name, value=net_def))


def AddPlan(meta_net_def: MetaNetDef, plan_name: str, plan_def: PlanDef) -> None:
    """Add a copy of a plan under a key."""
    meta_net_def.plans.append(PlansMap(key=plan_name, value=plan_def))


def AddBlobs(meta_net_def: MetaNetDef, blob_name: str, blob_def: Iterable[str]) -> None:
    """Append blobs to the list under a key, which is made if necessary."""
    blobs = _at(meta_net_def.blobs, blob_name)
    if blobs is None:
        blobs = meta_net_def.blobs.add(key=blob_name).value
    blobs.extend(blob_def)


def ReplaceBlobs(meta_net_def: MetaNetDef, blob_name: str, blob_def: Iterable[str]) -> None:
    """Let the list under a key hold these blobs and no others; UsageError if there is none."""
    blobs = _at(meta_net_def.blobs, blob_name)
    if blobs is None:
        known = ", ".join(entry.key for entry in meta_net_def.blobs) or "none"
        raise KeyMissingError(f"there is no list of blobs '{blob_name}' (lists: {known})")
    blobs[:] = blob_def


def SetBlobsOrder(meta_net_def: MetaNetDef, blobs_order: Iterable[str]) -> None:
    """Append to the keys that GetBlobsOrder gives."""
    meta_net_def.blobsOrder.extend(blobs_order)


def SetPreLoadBlobs(meta_net_def: MetaNetDef, pre_load_blobs: Iterable[str]) -> None:
    """Append to the blobs that are to be there before any net is made."""
    meta_net_def.preLoadBlobs.extend(pre_load_blobs)


def SetRequestOnlyEmbeddings(
    meta_net_def: MetaNetDef, request_only_embeddings: Iterable[str]
) -> None:
    """Append to the blobs of which each request has one row."""
    meta_net_def.requestOnlyEmbeddings.extend(request_only_embeddings)


def SetTensorBoundShapes(meta_net_def: MetaNetDef, tensor_bound_shapes: TensorBoundShapes) -> None:
    """Say how large tensors may become."""
    meta_net_def.ClearField("tensorBoundShapes")
    meta_net_def.tensorBoundShapes.MergeFrom(tensor_bound_shapes)


def SetAOTConfig(meta_net_def: MetaNetDef, aot_config: AOTConfig) -> None:
    """Say what a compiler is to be told."""
    meta_net_def.ClearField("aotConfig")
    meta_net_def.aotConfig.MergeFrom(aot_config)
