"""Arrays of the host and of devices alike: where one is, a new one, whether two overlap, a copy."""

from __future__ import annotations

from typing import Any, cast

import numpy as np

from caffe2py.errors import ShapeError
from caffe2py.tensor.device import CPU, Device
from caffe2py.tensor.late import late
from caffe2py.tensor.tensor import Array, device_of, empty_on

__all__ = ["copy_into", "copy_of", "device_of", "empty_on", "on_host", "overlap"]


def overlap(x: Array, y: Array) -> bool:
    """Whether two C-contiguous arrays may have a byte in common."""
    a, b = int(x.ctypes.data), int(y.ctypes.data)
    return a < b + y.nbytes and b < a + x.nbytes


def on_host(array: Any) -> Array:
    """The array itself if it is the host's, else a copy there, made after all that was queued."""
    if isinstance(array, np.ndarray):
        return array
    return cast(Array, late("tensor.cuda.devices", "to_host")(array))


def copy_of(array: Array, device: Device = CPU) -> Array:
    """A copy on a device (or the host), made at once."""
    made = empty_on(device, array.shape, array.dtype)
    copy_into(made, array)
    return made


def copy_into(target: Any, source: Any) -> None:
    """Copy an array into another one of its type and size, wherever the two are, at once.

    Raises ShapeError if one has more bytes than the other.
    """
    if target.nbytes != source.nbytes:
        raise ShapeError(f"{source.nbytes} bytes cannot be copied to where {target.nbytes} are")
    if isinstance(target, np.ndarray):
        target[...] = on_host(source).reshape(target.shape)
        return
    device = late("tensor.cuda.devices", "cuda_device")(target.device)
    if isinstance(source, np.ndarray):
        device.upload(cast(Array, source), target)
        return
    device.copy_from(source, target)
    device.synchronize()
