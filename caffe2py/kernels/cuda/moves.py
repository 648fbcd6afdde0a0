"""Copies between places on devices, and between a device and the host."""

from __future__ import annotations

import functools
from dataclasses import dataclass
from typing import Any

import numpy as np

from caffe2py.errors import Error, KernelError
from caffe2py.kernels.callback import launch_python
from caffe2py.kernels.cuda.work import NOT_HERE
from caffe2py.registry.context import Launch
from caffe2py.tensor.cuda.array import DeviceArray
from caffe2py.tensor.cuda.devices import cuda_device
from caffe2py.tensor.place import copy_into


@dataclass(eq=False)
class MoveWork:
    """A copy within the memory of one device."""

    source: DeviceArray
    target: DeviceArray
    device: int
    status: int = 0
    fails: bool = False

    def prepare(self) -> None:
        """There is nothing to make ready."""

    def queue(self, stream: int) -> None:
        """Queue it."""
        cuda_device(self.device).driver.move(
            self.device,
            stream,
            self.target.address,
            self.source.address,
            self.source.nbytes,
            self.device,
        )

    def error(self, word: int) -> Error:
        """It reports nothing."""
        return KernelError(f"a copy stopped with status {word}")


def launch_move(source: Any, target: Any) -> Launch:
    """target = source, of one type and size, wherever the two are.

    Within a device it is queued like a kernel; between places, the host waits until it is done.
    """
    both = isinstance(source, DeviceArray) and isinstance(target, DeviceArray)
    if both and source.device == target.device:
        work = MoveWork(source, target, target.device)
        return Launch(NOT_HERE, np.zeros(1, np.int64), (source, target), work=work)
    return launch_python(functools.partial(copy_into, target, source))
