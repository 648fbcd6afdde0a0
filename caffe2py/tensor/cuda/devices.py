"""The devices of this process: each with its pool, its main stream, and copies to and from it."""

from __future__ import annotations

import contextlib
import operator
import threading
from collections.abc import Iterator
from typing import Any, cast

import numpy as np

from caffe2py.errors import BlobTypeError, DeviceError, DTypeError, MemoryBudgetError
from caffe2py.tensor.cuda.array import DLPACK_CUDA, DeviceArray
from caffe2py.tensor.cuda.choose import driver
from caffe2py.tensor.cuda.dlpack import Borrowed
from caffe2py.tensor.cuda.driver import Driver
from caffe2py.tensor.cuda.pool import Pool
from caffe2py.tensor.tensor import Array
from caffe2py.tensor.types import (
    STRING,
    DType,
    Shape,
    checked_numel,
    dtype_name,
    number_from_dtype,
    shape_text,
)

__all__ = ["CudaDevice", "all_devices", "cuda_device", "from_outside", "to_host"]

#: Bytes of each of the two halves through which copies to and from ordinary memory go.
_STAGE = 4 << 20


class CudaDevice:
    """One device. All nets queue on its main stream, or on others that begin and end with it."""

    def __init__(self, through: Driver, index: int) -> None:
        self.driver = through
        self.index = index
        self.pool = Pool(through, index)
        self.stream = through.stream(index, main=True)
        self._stages = tuple(through.pinned(index, _STAGE) for _ in range(2))
        self._copied = tuple(through.event(index) for _ in range(2))
        self._copying = threading.Lock()
        self._capturing = threading.Lock()
        self._lanes: list[int] = []
        self._events: list[int] = []

    def __str__(self) -> str:
        return f"cuda:{self.index}"

    def empty(self, shape: Shape, dtype: DType) -> DeviceArray:
        """An uninitialised array; MemoryBudgetError says what it was to be."""
        if np.dtype(dtype) == STRING:
            raise BlobTypeError(f"strings cannot be on {self}", hint="a CPU operator")
        size = checked_numel(shape, dtype.itemsize) * dtype.itemsize
        try:
            block = self.pool.allocate(size)
        except MemoryBudgetError as error:
            what = f"{dtype_name(dtype)}{shape_text(shape)}, {size} bytes"
            raise MemoryBudgetError(f"{what}: {error}") from None
        return DeviceArray(block.address, shape, dtype, self.index, block)

    def synchronize(self) -> None:
        """Wait for all that nets have queued."""
        self.driver.synchronize(self.index, self.stream)

    @contextlib.contextmanager
    def capture(self, streams: int = 1, events: int = 0) -> Iterator[tuple[list[int], list[int]]]:
        """Streams to note a graph on, and events, which are nobody else's meanwhile.

        The main stream is none of them: another thread that waits for it would break the capture.
        """
        with self._capturing:
            while len(self._lanes) < streams:
                self._lanes.append(self.driver.stream(self.index))
            while len(self._events) < events:
                self._events.append(self.driver.event(self.index))
            yield self._lanes[:streams], self._events[:events]

    def upload(self, source: Array, target: DeviceArray) -> None:
        """Copy host memory into an array of the same bytes; the source may change afterwards."""
        flat = np.ascontiguousarray(source).reshape(-1).view(np.uint8)
        with self._copying:
            for k, start in enumerate(range(0, flat.size, _STAGE)):
                part = flat[start : start + _STAGE]
                stage = self._stages[k % 2][: part.size]
                if k >= 2:
                    self.driver.wait_on_host(self.index, self._copied[k % 2])
                stage[...] = part
                self.driver.upload(self.index, self.stream, target.address + start, stage)
                self.driver.record(self.index, self._copied[k % 2], self.stream)
            self.synchronize()

    def download(self, source: DeviceArray) -> Array:
        """A copy on the host, after all that has been queued."""
        result = np.empty(source.shape, source.dtype)
        flat = result.reshape(-1).view(np.uint8)
        with self._copying:
            for start in range(0, flat.size, _STAGE):
                part = flat[start : start + _STAGE]
                stage = self._stages[0][: part.size]
                self.driver.download(self.index, self.stream, stage, source.address + start)
                self.synchronize()
                part[...] = stage
            if not flat.size:
                self.synchronize()
        return result

    def copy_from(self, source: DeviceArray, target: DeviceArray) -> None:
        """Queue a copy from this or another device; the other one's work is waited for."""
        if source.device != self.index:
            cuda_device(source.device).synchronize()
        self.driver.move(
            self.index, self.stream, target.address, source.address, source.nbytes, source.device
        )


_devices: dict[int, CudaDevice] = {}
_making = threading.Lock()


def cuda_device(index: int) -> CudaDevice:
    """The device of this number; DeviceError if there is none, or a parent process has it."""
    through = driver()
    found = _devices.get(index)
    if found is None:
        with _making:
            found = _devices.get(index) or _made(through, index)
            _devices[index] = found
    return found


def _made(through: Driver, index: int) -> CudaDevice:
    count = through.count()
    if not 0 <= index < count:
        have = ", ".join(f"cuda:{k}" for k in range(count)) or "none"
        raise DeviceError(
            f"there is no device cuda:{index}; there are: {have}", hint="caffe2py doctor"
        )
    return CudaDevice(through, index)


def all_devices() -> list[CudaDevice]:
    """Every device of this process."""
    return [cuda_device(index) for index in range(driver().count())]


def to_host(array: Any) -> Array:
    """The array itself if it is the host's, else a copy there."""
    if isinstance(array, DeviceArray):
        return cuda_device(array.device).download(array)
    return cast(Array, array)


def from_outside(value: Any) -> DeviceArray | None:
    """The device array of another library, sharing its memory; None if `value` is none.

    It is taken by `__cuda_array_interface__` (CuPy, Numba, PyTorch) or DLPack, when what its maker
    has queued for it is done. Raises DeviceError for one that is not C-contiguous, DTypeError for
    elements that no tensor has.
    """
    if isinstance(value, DeviceArray):
        return value
    interface = getattr(value, "__cuda_array_interface__", None)
    if interface is None:
        return _from_dlpack(value)
    if interface.get("mask") is not None:
        raise DeviceError("an array with a mask cannot be shared: copy it first")
    shape = tuple(interface["shape"])
    dtype = _checked(np.dtype(interface["typestr"]))
    steps = interface.get("strides")
    array = DeviceArray(interface["data"][0] or 0, shape, dtype, _device_of(value), value)
    contiguous = tuple(
        int(np.prod(shape[k + 1 :], dtype=np.int64)) * dtype.itemsize for k in range(len(shape))
    )
    if steps is not None and tuple(steps) != contiguous and array.size:
        raise DeviceError("an array that is not C-contiguous cannot be shared: copy it first")
    stream = interface.get("stream")
    if stream is not None:
        cuda_device(array.device).driver.synchronize(array.device, stream)
    return array


def _checked(dtype: DType) -> DType:
    """The type itself, if a tensor on a device can hold it."""
    if not dtype.isnative or dtype.kind in "SUO":
        raise DTypeError(f"a device holds numbers in this machine's order of bytes, found {dtype}")
    number_from_dtype(dtype)
    return dtype


def _device_of(value: Any) -> int:
    device = getattr(value, "device", None)
    numbers: tuple[Any, ...] = (
        device,
        getattr(device, "index", None),
        getattr(device, "id", None),
    )
    for number in numbers:
        if hasattr(number, "__index__"):
            return operator.index(number)
    return 0


def _from_dlpack(value: Any) -> DeviceArray | None:
    where = getattr(value, "__dlpack_device__", None)
    if where is None or int(where()[0]) != DLPACK_CUDA:
        return None
    # whoever made it lets our stream wait for what is queued on theirs
    stream = cuda_device(int(where()[1])).stream
    taken = Borrowed(value.__dlpack__(stream=stream))
    return DeviceArray(taken.address, taken.shape, _checked(taken.dtype), taken.number, taken)
