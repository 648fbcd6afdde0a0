"""Caffe2's workspace module: feed, fetch and run, in a current workspace.

Inputs are taken loosely: nets as Net, NetDef or bytes (or, where one was created, its name), blobs
as str, bytes or BlobReference.
"""

from __future__ import annotations

from typing import Any

import caffe2py.core  # noqa: F401  (brings in the operators)
from caffe2py.executor import session as _session
from caffe2py.executor.benchmark import BenchmarkNet, BenchmarkNetOnce
from caffe2py.executor.inputs import blob_name, net_name, stringify_proto
from caffe2py.executor.native import C
from caffe2py.executor.predictor import Predictor
from caffe2py.executor.random_inputs import FillRandomNetworkInputs
from caffe2py.executor.session import (
    Blobs,
    CreateBlob,
    CreateNet,
    CurrentWorkspace,
    DeleteNet,
    DeserializeBlob,
    FetchBlob,
    FetchBlobs,
    FetchInt8Blob,
    FetchInt8BlobRealVal,
    GetBlobSizeBytes,
    GetCUDAVersion,
    GetCuDNNVersion,
    GlobalInit,
    GpuDeviceType,
    HasBlob,
    InferShapesAndTypes,
    IsNUMAEnabled,
    Nets,
    NumCudaDevices,
    NumGpuDevices,
    RegisteredOperators,
    RemoveBlob,
    ResetBlob,
    ResetWorkspace,
    RootFolder,
    RunNet,
    RunNetOnce,
    RunOperatorMultiple,
    RunOperatorOnce,
    RunOperatorsOnce,
    RunPlan,
    SerializeBlob,
    SwitchWorkspace,
    WorkspaceGuard,
    Workspaces,
    blobs,
    current,
    has_hip_support,
    is_asan,
    operator_tracebacks,
)
from caffe2py.executor.workspace import Workspace
from caffe2py.graph.scope import CurrentDeviceScope
from caffe2py.graph.scope import CurrentNameScope as GetNameScope
from caffe2py.proto.caffe2_pb2 import DeviceOption
from caffe2py.tensor.tensor import Int8Tensor

StringifyBlobName = blob_name
StringifyNetName = GetNetName = net_name
StringifyProto = stringify_proto

__all__ = [
    "BenchmarkNet",
    "BenchmarkNetOnce",
    "Blobs",
    "C",
    "CreateBlob",
    "CreateNet",
    "CurrentWorkspace",
    "DeleteNet",
    "DeserializeBlob",
    "FeedBlob",
    "FetchBlob",
    "FetchBlobs",
    "FetchInt8Blob",
    "FetchInt8BlobRealVal",
    "FillRandomNetworkInputs",
    "GetBlobSizeBytes",
    "GetCUDAVersion",
    "GetCuDNNVersion",
    "GetNameScope",
    "GetNetName",
    "GlobalInit",
    "GpuDeviceType",
    "HasBlob",
    "InferShapesAndTypes",
    "Int8Tensor",
    "IsNUMAEnabled",
    "Nets",
    "NumCudaDevices",
    "NumGpuDevices",
    "Predictor",
    "RegisteredOperators",
    "RemoveBlob",
    "ResetBlob",
    "ResetWorkspace",
    "RootFolder",
    "RunNet",
    "RunNetOnce",
    "RunOperatorMultiple",
    "RunOperatorOnce",
    "RunOperatorsOnce",
    "RunPlan",
    "SerializeBlob",
    "StringifyBlobName",
    "StringifyNetName",
    "StringifyProto",
    "SwitchWorkspace",
    "Workspace",
    "WorkspaceGuard",
    "Workspaces",
    "blobs",
    "current",
    "has_hip_support",
    "is_asan",
    "operator_tracebacks",
]


def FeedBlob(name: Any, arr: Any, device_option: DeviceOption | None = None) -> bool:
    """Copy a value into a blob, which is made if necessary. Returns True.

    As `executor.session.FeedBlob`; without a device option the one of the device scope holds.
    """
    option = CurrentDeviceScope() if device_option is None else device_option
    return _session.FeedBlob(name, arr, option)


def __getattr__(name: str) -> Any:
    # asked when somebody asks: a program that does not wants no driver
    if name in ("has_gpu_support", "has_cuda_support"):
        return NumCudaDevices() > 0
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
