"""Device options: made, compared, asked."""

from __future__ import annotations

from collections.abc import Iterable

from caffe2py.proto import caffe2_pb2

_GPU_TYPES = (caffe2_pb2.PROTO_CUDA, caffe2_pb2.PROTO_HIP)


def DeviceOption(
    device_type: int,
    device_id: int = 0,
    random_seed: int | None = None,
    node_name: str | None = None,
    numa_node_id: int | None = None,
    extra_info: Iterable[str] | None = None,
) -> caffe2_pb2.DeviceOption:
    """A device option: the kind of device (caffe2_pb2.CPU, caffe2_pb2.CUDA) and its number."""
    return caffe2_pb2.DeviceOption(
        device_type=device_type,
        device_id=device_id,
        random_seed=random_seed,
        node_name=node_name,
        numa_node_id=numa_node_id,
        extra_info=extra_info,
    )


def IsGPUDeviceType(device_type: int) -> bool:
    """Whether the number stands for a kind of GPU."""
    return device_type in _GPU_TYPES


def device_option_equal(
    opt1: caffe2_pb2.DeviceOption | None,
    opt2: caffe2_pb2.DeviceOption | None,
    ignore_node_name: bool = True,
    ignore_random_seed: bool = True,
) -> bool:
    """Whether two options name the same device; node names and seeds count if asked for.

    The CPU is one device, whatever its number.
    """
    if opt1 is None or opt2 is None:
        return opt1 is opt2
    return (
        opt1.device_type == opt2.device_type
        and (opt1.device_id == opt2.device_id or opt1.device_type == caffe2_pb2.PROTO_CPU)
        and (ignore_node_name or opt1.node_name == opt2.node_name)
        and (ignore_random_seed or opt1.random_seed == opt2.random_seed)
    )
