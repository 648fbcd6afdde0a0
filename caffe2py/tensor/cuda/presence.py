"""Whether there is CUDA, asked without an error and without a package of NVIDIA's."""

from __future__ import annotations

from caffe2py.errors import DeviceError, UnsupportedError
from caffe2py.tensor.cuda.choose import driver

__all__ = ["cuda_device_count", "cuda_version"]


def cuda_device_count() -> int:
    """How many devices there are; 0 without a driver, or without the packages that reach it."""
    try:
        return driver().count()
    except (DeviceError, UnsupportedError):
        return 0


def cuda_version() -> int:
    """The CUDA version of the driver; 0 without one."""
    try:
        return driver().version
    except (DeviceError, UnsupportedError):
        return 0
