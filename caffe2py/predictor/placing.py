"""A net that never heard of devices, put onto one: what it has kernels for runs there."""

from __future__ import annotations

from caffe2py.graph.blob_devices import InferOpBlobDevices
from caffe2py.graph.copies import InjectCrossDeviceCopies
from caffe2py.graph.net import Net
from caffe2py.proto.analysis import clone, nested_nets
from caffe2py.proto.caffe2_pb2 import DeviceOption, NetDef, OperatorDef
from caffe2py.registry.operator import find
from caffe2py.tensor.device import CPU, Device

__all__ = ["place"]


def place(net: NetDef, device: Device) -> tuple[NetDef, dict[str, Device]]:
    """The net with its operators on `device`, as far as they have kernels for it.

    The others stay on the CPU, with copies before and after them. The second result says where the
    net looks for its external inputs.
    """
    moved = clone(net, net.name)
    moved.device_option.CopyFrom(device.to_option())
    for op in moved.op:
        _set_device(op, device if _runs_on(op, device) else CPU)
    where: dict[str, DeviceOption] = {}
    written: set[str] = set()
    for op in moved.op:
        read_on, _ = InferOpBlobDevices(op)
        for name, option in zip(op.input, read_on, strict=True):
            if name not in written:
                where.setdefault(name, option)
        written.update(op.output)
    # nets need not declare what comes in
    undeclared = where.keys() - set(moved.external_input)
    moved.external_input.extend(sorted(undeclared))
    given = {name: Device.from_option(option) for name, option in where.items()}
    placed, _ = InjectCrossDeviceCopies(Net(moved), where)
    result = clone(placed.Proto(), net.name)
    del result.external_input[:], result.external_output[:]
    result.external_input.extend(net.external_input)
    result.external_output.extend(net.external_output)
    return result, given


def _runs_on(op: OperatorDef, device: Device) -> bool:
    """Whether an operator, and all of nets of its own, has a kernel for a kind of device."""
    found = find(op.type)
    if found is None or not any(kind == device.kind for kind, _ in found.kernels):
        return False
    inner = (other for net, _ in nested_nets(NetDef(op=[op])) for other in net.op)
    return all(_runs_on(other, device) for other in inner)


def _set_device(op: OperatorDef, device: Device) -> None:
    """Let an operator run there, with its seed, and all of nets of its own."""
    for each in (op, *(other for net, _ in nested_nets(NetDef(op=[op])) for other in net.op)):
        seed = each.device_option.random_seed
        each.device_option.CopyFrom(device.to_option())
        if seed:
            each.device_option.random_seed = seed
