"""Copies between devices, put into nets whose operators run on several."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from typing import Any

from caffe2py.errors import DeviceError, NetError, UsageError
from caffe2py.graph.blob_devices import InferOpBlobDevices, InferOpDeviceAsBlobDevices
from caffe2py.graph.device import IsGPUDeviceType, device_option_equal
from caffe2py.graph.net import Net
from caffe2py.graph.operators import CreateOperator
from caffe2py.graph.reference import BlobReference
from caffe2py.proto.caffe2_pb2 import PROTO_CPU, DeviceOption, OperatorDef

Devices = dict[str, DeviceOption]


class CopyError(DeviceError, ValueError):
    """There is no way to copy between two devices."""


class UnplacedError(NetError, AttributeError):
    """Nobody says where a blob is."""


@dataclass(frozen=True)
class _Place:
    """A blob as it is needed on a device."""

    blob: str
    device_type: int
    device_id: int


RemapEntry = _Place


def remap_input(op: OperatorDef, blob_name_remapping: dict[str, str]) -> None:
    """Let an operator read other blobs: old name -> new name."""
    op.input[:] = [blob_name_remapping.get(name, name) for name in op.input]


def device_equal(src: DeviceOption, dst: DeviceOption) -> bool:
    """Whether two options have one type and one number."""
    return bool(src.device_type == dst.device_type and src.device_id == dst.device_id)


def copy_func_between_devices(src: DeviceOption, dst: DeviceOption) -> Callable[..., Any] | None:
    """What adds a copy to a net: `f(net, inputs, outputs)`; None where none is needed.

    CopyError for other devices than the CPU and GPUs.
    """
    kind = _copy_type(src, dst)
    if kind is None:
        return None
    op_type, device = kind

    def copy(net: Net, inputs: Any, outputs: Any, **kwargs: Any) -> BlobReference:
        op = CreateOperator(op_type, inputs, outputs, device_option=device, **kwargs)
        net.Proto().op.append(op)
        return BlobReference(op.output[0], net)

    return copy


def _copy_type(src: DeviceOption, dst: DeviceOption) -> tuple[str, DeviceOption] | None:
    """The operator that copies, and where it runs."""
    gpus = IsGPUDeviceType(src.device_type), IsGPUDeviceType(dst.device_type)
    known = all(
        gpu or option.device_type == PROTO_CPU for gpu, option in zip(gpus, (src, dst), strict=True)
    )
    if not known:
        raise CopyError(f"there is no copy from {src!s:.80} to {dst!s:.80}")
    if gpus == (True, True):
        return None if src.device_id == dst.device_id else ("Copy", dst)
    if gpus == (True, False):
        return "CopyGPUToCPU", src
    return ("CopyCPUToGPU", dst) if gpus[1] else None


def update_placeholder_op_output(op: OperatorDef, blob_to_device: Devices) -> None:
    """Let a placeholder, which runs on the CPU, write blobs that are not on another device."""
    op.output[:] = [
        f"{name}_cpu"
        if name in blob_to_device and blob_to_device[name].device_type != PROTO_CPU
        else name
        for name in op.output
    ]


def InjectCrossDeviceCopies(
    net: Net,
    blob_to_device: Devices | None = None,
    blob_remap: dict[Any, str] | None = None,
    placeHolderOps: Collection[str] | None = None,
) -> tuple[Net, Devices]:
    """A copy of the net in which blobs are copied to the devices where they are read.

    `blob_to_device` says where external inputs are (by default on the net's device), and learns
    where all blobs are; it is returned too. `blob_remap` knows the copies that exist. Operators
    whose types are in `placeHolderOps` need not be known. Raises UnplacedError for a blob that
    nobody places, DeviceError for a blob that is written on two devices.
    """
    injection = _Injection(
        net,
        {} if blob_to_device is None else blob_to_device,
        {} if blob_remap is None else blob_remap,
        placeHolderOps or (),
    )
    for op in net.Proto().op:
        injection.add(op)
    return injection.made, injection.devices


class _Injection:
    def __init__(
        self, net: Net, devices: Devices, copies: dict[Any, str], placeholders: Collection[str]
    ) -> None:
        self.net = net
        self.devices = devices
        self.copies = copies
        self.placeholders = placeholders
        self.made = net.Clone(f"{net.Name()}_cross_device", keep_schema=True)
        proto = self.made.Proto()
        del proto.op[:]
        known = list(proto.external_input)
        proto.external_input.extend(
            copy for name in known for place, copy in copies.items() if place.blob == name
        )

    def add(self, op: OperatorDef) -> None:
        """Add an operator, after the copies that it needs."""
        placeholder = op.type in self.placeholders
        infer = InferOpDeviceAsBlobDevices if placeholder else InferOpBlobDevices
        read_on, written_on = infer(op)
        renamed = {}
        for name, device in zip(op.input, read_on, strict=True):
            if not device_equal(self._where(name), device):
                renamed[name] = self._copied(name, device)
        if placeholder:
            update_placeholder_op_output(op, self.devices)
        self._refuse_moves(op, written_on)
        new = OperatorDef()
        new.CopyFrom(op)
        new.input[:] = [renamed.get(name, name) for name in op.input]
        # an output in place stays in place
        new.output[:] = [renamed.get(n, n) if n in op.input else n for n in op.output]
        self.devices.update(zip(new.output, written_on, strict=True))
        self.made.Proto().op.append(new)

    def _where(self, name: str) -> DeviceOption:
        if not self.net.BlobIsDefined(name):
            raise UnplacedError(f"input {name} should be defined in the net '{self.net}'")
        if name not in self.devices:
            if not self.net.is_external_input(name):
                raise UnplacedError(f"No device information found for blob {name}.")
            self.devices[name] = self.net.Proto().device_option
        return self.devices[name]

    def _copied(self, name: str, device: DeviceOption) -> str:
        """The name of a blob's copy on a device, which is made if there is none."""
        place = _Place(name, device.device_type, device.device_id)
        known = self.copies.get(place)
        if known is not None and device_option_equal(self.devices.get(known), device):
            return known
        suffix = "cpu" if device.device_type == PROTO_CPU else f"gpu_{device.device_id}"
        copy = copy_func_between_devices(self.devices[name], device)
        if copy is None:
            return name
        new = f"{name}_{suffix}"
        copy(self.made, BlobReference(name), BlobReference(new))
        self.copies[place] = new
        self.devices[new] = device
        return new

    def _refuse_moves(self, op: OperatorDef, written_on: Sequence[DeviceOption]) -> None:
        for name, device in zip(op.output, written_on, strict=True):
            before = self.devices.get(name)
            if before is None or name in op.input or device_equal(before, device):
                continue
            raise DeviceError(
                f"'{name}' is written on two devices: {' '.join(str(before).split())} and, by "
                f"{op.type}, {' '.join(str(device).split())}",
                hint="another name for one of them",
            )


def InjectDeviceCopiesAmongNets(
    nets: Sequence[Net], blob_to_device_init: Devices | None = None
) -> tuple[list[Net], Devices]:
    """As InjectCrossDeviceCopies, for nets in the order in which they run; copies are shared."""
    if not isinstance(nets, list) or not all(isinstance(net, Net) for net in nets):
        raise UsageError(f"expected a list of nets, found {nets!r:.80}")
    devices: Devices = blob_to_device_init or {}
    copies: dict[Any, str] = {}
    made = []
    for net in nets:
        new, devices = InjectCrossDeviceCopies(net, devices, copies)
        made.append(new)
    return made, devices


def InjectDeviceCopiesAmongNetsWithoutB2D(
    nets: Sequence[Net], blob_to_device_init: Devices | None = None
) -> list[Net]:
    """As InjectDeviceCopiesAmongNets, without the map."""
    return InjectDeviceCopiesAmongNets(nets, blob_to_device_init)[0]
