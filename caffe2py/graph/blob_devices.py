"""On which device blobs are, as far as the operators say."""

from __future__ import annotations

from typing import Any

from caffe2py.errors import DeviceError, UnsupportedError
from caffe2py.proto.caffe2_pb2 import PROTO_CPU, DeviceOption, OperatorDef
from caffe2py.registry.operator import Kernel, find
from caffe2py.tensor.device import Device

Options = list[DeviceOption]

#: Operators that copy: their outputs are on the CPU whatever device they name.
_TO_CPU = frozenset({"CopyGPUToCPU", "EnsureCPUOutput", "CopyToCPU"})
#: Operators that read inputs on the CPU whatever device they name.
_FROM_CPU = frozenset({"CopyCPUToGPU", "CopyFromCPUInput"})


def InferBlobDevices(net: Any) -> dict[str, DeviceOption]:
    """For each blob that a Net makes the device option of the last operator that writes it."""
    return {blob: op.device_option for op in net.Proto().op for blob in op.output}


def InferOpDeviceAsBlobDevices(op: OperatorDef) -> tuple[Options, Options]:
    """The operator's device option for each input, and for each output."""
    return [op.device_option] * len(op.input), [op.device_option] * len(op.output)


def InferOpBlobDevices(op: OperatorDef) -> tuple[Options, Options]:
    """The devices on which an operator takes its inputs, and on which it puts its outputs."""
    inputs, outputs = InferOpDeviceAsBlobDevices(op)
    cpu = DeviceOption(device_type=PROTO_CPU)
    if op.type in _FROM_CPU:
        inputs = [cpu] * len(inputs)
    if op.type in _TO_CPU:
        outputs = [cpu] * len(outputs)
    kernel = _kernel_of(op)
    if kernel is not None:
        inputs = [cpu if k in (kernel.host_inputs or ()) else d for k, d in enumerate(inputs)]
        outputs = [cpu if k in kernel.host_outputs else d for k, d in enumerate(outputs)]
    return inputs, outputs


def _kernel_of(op: OperatorDef) -> Kernel | None:
    """What runs an operator on the device that it names; None where nothing is known to."""
    found = find(op.type)
    if found is None or not op.device_option.device_type:
        return None
    try:
        return found.kernel(Device.from_option(op.device_option), op.engine)
    except (DeviceError, UnsupportedError):
        return None


def InferOpBlobDevicesAsDict(
    op: OperatorDef,
) -> tuple[dict[str, DeviceOption], dict[str, DeviceOption]]:
    """As InferOpBlobDevices, by the names of the blobs."""
    inputs, outputs = InferOpBlobDevices(op)
    return dict(zip(op.input, inputs, strict=True)), dict(zip(op.output, outputs, strict=True))
