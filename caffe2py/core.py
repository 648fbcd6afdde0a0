"""Caffe2's core module: nets, plans, operators and scopes. Importing it brings in the operators."""

from __future__ import annotations

import caffe2py.graph.subnets
import caffe2py.kernels.fuse  # provides one pass for several elementwise launches
import caffe2py.kernels.table  # noqa: F401  (provides the loop that runs bound nets)
from caffe2py.executor.native import C
from caffe2py.executor.session import GetGlobalInitArgs, GlobalInit
from caffe2py.graph import scope
from caffe2py.graph.blob_devices import (
    InferBlobDevices,
    InferOpBlobDevices,
    InferOpBlobDevicesAsDict,
    InferOpDeviceAsBlobDevices,
)
from caffe2py.graph.copies import (
    InjectCrossDeviceCopies,
    InjectDeviceCopiesAmongNets,
    InjectDeviceCopiesAmongNetsWithoutB2D,
    RemapEntry,
    copy_func_between_devices,
    device_equal,
    remap_input,
    update_placeholder_op_output,
)
from caffe2py.graph.device import DeviceOption, IsGPUDeviceType, device_option_equal
from caffe2py.graph.engines import (
    SetEnginePref,
    SetGlobalEnginePref,
    SetOpEnginePref,
    SetPerOpEnginePref,
)
from caffe2py.graph.gradients import GradientRegistry
from caffe2py.graph.ir import IR, OpSSA
from caffe2py.graph.net import Net
from caffe2py.graph.operators import CreateOperator
from caffe2py.graph.plan import (
    ExecutionStep,
    Plan,
    add_nets_in_order,
    execution_step,
    scoped_execution_step,
    to_execution_step,
)
from caffe2py.graph.python import CreatePythonOperator
from caffe2py.graph.queries import (
    DataType,
    IsOperator,
    IsOperatorWithEngine,
    RefreshRegisteredOperators,
    get_net_name,
    get_op_ids_in_path,
    get_output_producers,
    get_ssa,
    get_undefined_blobs,
    output_to_list,
)
from caffe2py.graph.reference import BlobReference, ScopedBlobReference, ScopedName
from caffe2py.graph.scope import (
    CurrentDeviceScope,
    CurrentNameScope,
    DeviceScope,
    EmptyDeviceScope,
    EmptyNameScope,
    NameScope,
)
from caffe2py.ops import import_families, read_families
from caffe2py.registry.gradient import GradientSlice
from caffe2py.registry.operator import declare_later

__all__ = [
    "IR",
    "BlobReference",
    "C",
    "CreateOperator",
    "CreatePythonOperator",
    "CurrentDeviceScope",
    "CurrentNameScope",
    "DataType",
    "DeviceOption",
    "DeviceScope",
    "EmptyDeviceScope",
    "EmptyNameScope",
    "ExecutionStep",
    "GetGlobalInitArgs",
    "GlobalInit",
    "GradientRegistry",
    "GradientSlice",
    "InferBlobDevices",
    "InferOpBlobDevices",
    "InferOpBlobDevicesAsDict",
    "InferOpDeviceAsBlobDevices",
    "InjectCrossDeviceCopies",
    "InjectDeviceCopiesAmongNets",
    "InjectDeviceCopiesAmongNetsWithoutB2D",
    "IsGPUDeviceType",
    "IsOperator",
    "IsOperatorWithEngine",
    "NameScope",
    "Net",
    "OpSSA",
    "Plan",
    "RefreshRegisteredOperators",
    "RemapEntry",
    "ScopedBlobReference",
    "ScopedName",
    "SetEnginePref",
    "SetGlobalEnginePref",
    "SetOpEnginePref",
    "SetPerOpEnginePref",
    "add_nets_in_order",
    "copy_func_between_devices",
    "device_equal",
    "device_option_equal",
    "execution_step",
    "get_net_name",
    "get_op_ids_in_path",
    "get_output_producers",
    "get_ssa",
    "get_undefined_blobs",
    "output_to_list",
    "remap_input",
    "scope",
    "scoped_execution_step",
    "to_execution_step",
    "update_placeholder_op_output",
]

declare_later(read_families(), import_families)
