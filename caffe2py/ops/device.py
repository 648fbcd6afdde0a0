"""Copies between the host and CUDA devices, and what a device has of memory."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from caffe2py.kernels.copy import launch_copy
from caffe2py.registry.context import Call, Launch
from caffe2py.registry.gradient import NoGradient
from caffe2py.registry.infer import Query, same_as
from caffe2py.registry.operator import operator
from caffe2py.tensor.late import late
from caffe2py.tensor.place import copy_into
from caffe2py.tensor.types import TensorType

_EXAMPLE = """
input = [1, 2]
output = [1, 2]
"""


def _launch(call: Call) -> Launch:
    return launch_copy(call.inputs[0], call.outputs[0])


copy_to_device = operator(
    "CopyCPUToGPU",
    "input -> output",
    infer=same_as(0),
    identical=True,
    gradient="CopyGPUToCPU(doutput) -> dinput",
    doc="output = input, which is in the memory of the CPU, on the operator's device. Any type.",
    example=_EXAMPLE,
)
copy_to_device.cuda(_launch, host_inputs=(0,))

copy_to_host = operator(
    "CopyGPUToCPU",
    "input -> output",
    infer=same_as(0),
    identical=True,
    gradient="CopyCPUToGPU(doutput) -> dinput",
    doc="output = input, which is on the operator's device, in the memory of the CPU. Any type.",
    example=_EXAMPLE,
)
copy_to_host.cuda(_launch, host_outputs=(0,))


def _infer_memory(query: Query) -> Sequence[TensorType]:
    return [TensorType(np.dtype(np.int64), None)]


device_memory = operator(
    "GetGPUMemoryUsage",
    "-> mem_usage",
    infer=_infer_memory,
    gradient=NoGradient("it reads no data"),
    doc="""
    Bytes that this process has of each device, int64, on the host: a row of what is in use, and one
    of the most that ever was; a column for each device.
    """,
    example="""
    mem_usage = [[1048576], [2097152]]
    """,
)


def _launch_memory(call: Call) -> None:
    pools = [device.pool for device in late("tensor.cuda.devices", "all_devices")()]
    figures = np.array([[p.taken for p in pools], [p.peak for p in pools]], np.int64)
    copy_into(call.output(0, figures.shape, figures.dtype), figures)


device_memory.cuda_dynamic(_launch_memory, host_outputs=(0,))
