"""Tensors and blobs: storage that keeps its address, and change counters that plans rely on."""

from __future__ import annotations

import itertools
from typing import Any, NamedTuple, cast

import numpy as np
from numpy.typing import NDArray

from caffe2py.errors import BlobTypeError, DeviceError, DTypeError
from caffe2py.tensor.device import CPU, Device
from caffe2py.tensor.late import late
from caffe2py.tensor.memory import SMALL, count_memory, require_memory
from caffe2py.tensor.objects import Element
from caffe2py.tensor.types import (
    STRING,
    DType,
    Quantum,
    Shape,
    checked_numel,
    dtype_name,
    number_from_dtype,
    shape_text,
)

Array = NDArray[Any]

#: Buffers start on a cache line and end with one line of slack, for vector loads past the end.
ALIGNMENT = 64


def empty(shape: Shape, dtype: DType) -> Array:
    """An uninitialised C-contiguous array, 64-byte aligned; strings start as empty bytes.

    Raises MemoryBudgetError when all arrays together would exceed the budget.
    """
    count = checked_numel(shape, dtype.itemsize)
    size = count * dtype.itemsize
    if size >= SMALL:
        require_memory(size, f"{dtype_name(dtype)}{shape_text(shape)}")
    if dtype == STRING:
        return np.full(shape, b"", dtype=object)
    raw = np.empty(size + 2 * ALIGNMENT, np.uint8)
    if size >= SMALL:
        count_memory(raw, size)
    start = -raw.ctypes.data % ALIGNMENT
    return raw[start : start + size].view(dtype).reshape(shape)


def device_of(array: Any) -> Device:
    """Where an array is."""
    return CPU if isinstance(array, np.ndarray) else Device("cuda", array.device)


def empty_on(device: Device, shape: Shape, dtype: DType) -> Array:
    """An uninitialised C-contiguous array there; one of a device has the form of numpy's.

    Raises MemoryBudgetError where there is no room for it, DeviceError if there is no such device.
    """
    if device.kind == "cpu":
        return empty(shape, dtype)
    if device.kind != "cuda":
        raise DeviceError(f"there is no device {device}; expected cpu or cuda:N")
    cuda_device = late("tensor.cuda.devices", "cuda_device")
    return cast(Array, cuda_device(device.index).empty(shape, dtype))


def as_tensor_array(value: Any) -> Array:
    """`value` as a C-contiguous array of a supported dtype, strings as an object array of bytes.

    An object array may also hold Elements, which stay as they are. Raises DTypeError when no tensor
    can hold it.
    """
    try:
        array = np.asarray(value)
    except ValueError as error:  # rows of different lengths
        raise DTypeError(f"no array can be made of it: {error}") from None
    if array.dtype.kind in "SU" or array.dtype == STRING:
        return _as_bytes(array)
    if array.dtype.byteorder not in "=|":
        array = array.astype(array.dtype.newbyteorder("="))
    number_from_dtype(array.dtype)
    return np.ascontiguousarray(array).reshape(array.shape)  # ascontiguousarray makes 0-d 1-d


def _as_bytes(array: Array) -> Array:
    out = np.empty(array.shape, object)
    for index in np.ndindex(array.shape):
        item = array[index]
        if isinstance(item, str):
            item = item.encode()
        if not isinstance(item, bytes | Element):
            raise DTypeError(
                f"element {list(index)} is a {type(item).__name__}; an array of objects must hold "
                "str or bytes"
            )
        out[index] = item if isinstance(item, Element) else bytes(item)
    return out


class Int8Tensor(NamedTuple):
    """A quantized tensor as users feed and fetch it: value = (data - zero_point) * scale."""

    data: Array
    scale: float
    zero_point: int


class Storage(NamedTuple):
    """Where a tensor lives, and what it means."""

    array: Array
    capacity: Array
    quantum: Quantum | None
    borrowed: object | None


class Tensor:
    """An array with storage of its own that is reused as long as new contents fit.

    `array` is the current value. `resize` keeps the address when the number of bytes does not
    grow, so plans that hold addresses stay valid. `quantum` says what the integers of a quantized
    tensor mean; None for an ordinary one. `exposed` says that code from outside has got hold of
    the storage, and may write to it at any time. `borrowed` is whoever else uses the storage as
    soon as a net's operators have read this tensor for the last time: then it holds nothing.
    """

    __slots__ = ("_capacity", "array", "borrowed", "exposed", "quantum")

    def __init__(self, array: Array) -> None:
        self.array = array
        self._capacity = array
        self.quantum: Quantum | None = None
        self.exposed = False
        self.borrowed: object | None = None

    def resize(self, shape: Shape, dtype: DType, device: Device = CPU) -> Array:
        """Give the tensor this shape and dtype and return its array; contents are undefined."""
        array = self.array
        there = device_of(array) == device
        if array.shape == shape and array.dtype == dtype and there:
            return array
        storage = self._capacity
        count = checked_numel(shape, dtype.itemsize)
        fits = dtype != STRING and storage.dtype != STRING and there
        if fits and count * dtype.itemsize <= storage.nbytes and storage.flags.writeable:
            flat = storage.reshape(-1).view(np.uint8)[: count * dtype.itemsize]
            self.array = flat.view(dtype).reshape(shape)
        else:
            self.array = self._capacity = empty_on(device, shape, dtype)
            self.borrowed = None
        return self.array

    def share(self, array: Array) -> None:
        """Become a view of storage that another tensor owns; the next change of shape ends that."""
        self.array = array
        self.quantum = None
        self.borrowed = None
        self.lend_out()

    def lend_out(self) -> None:
        """Leave the storage to those who share it as soon as the shape changes."""
        self._capacity = self.array[:0] if self.array.ndim else self.array.reshape(1)[:0]

    def lend(self, array: Array) -> None:
        """Live in storage that another tensor owns, as long as the contents fit into it."""
        self.array = self._capacity = array
        self.quantum = None
        self.borrowed = None

    @property
    def lent(self) -> bool:
        """Whether others may hold the same storage."""
        return self.exposed or self._capacity.nbytes < self.array.nbytes

    def storage(self) -> Storage:
        """What `restore` needs to undo a change of shape; contents are not copied."""
        return Storage(self.array, self._capacity, self.quantum, self.borrowed)

    def restore(self, storage: Storage) -> None:
        """Go back to the shape, dtype, place and quantum of a `storage()`."""
        self.array, self._capacity, self.quantum, self.borrowed = storage

    def __repr__(self) -> str:
        return f"Tensor({dtype_name(self.array.dtype)}{list(self.array.shape)})"


def passed_on(name: str) -> BlobTypeError:
    """The error for a blob whose storage has been given to others."""
    return BlobTypeError(
        f"blob '{name}' holds nothing that can be looked at: its net was optimised, and other "
        "blobs have taken over its storage",
        hint=f"--output {name} or --no-optimize; in Python keep=['{name}'] or optimize=False",
    )


#: Every number is given out once, whichever thread asks.
_changes = itertools.count(1)


class Blob:
    """A named slot of a workspace: a Tensor, any other object, or nothing yet.

    `generation` grows whenever what a plan may have captured is no longer true: another object,
    another shape or dtype, another address. `version` grows on every write that is not an
    operator's. A plan that keeps something derived from the contents (packed weights) sets
    `watched`; then a write is a change as well.
    """

    __slots__ = ("generation", "name", "value", "version", "watched")

    #: Grows with every generation of any blob: while it stands still, every plan is up to date.
    changes = 0

    #: Grows with every blob that begins to be watched.
    watches = 0

    def __init__(self, name: str) -> None:
        self.name = name
        self.value: Any = None
        self.generation = 0
        self.version = 0
        self.watched = False

    def changed(self) -> None:
        """Note that plans which captured this blob are out of date."""
        self.generation += 1
        Blob.changes = next(_changes)

    def written(self) -> None:
        """Note that the contents are others."""
        self.version += 1
        if self.watched:
            self.changed()

    def watch(self) -> None:
        """Make every write a change: a plan keeps something that the contents decide."""
        if not self.watched:
            self.watched = True
            Blob.watches += 1

    def expose(self) -> Array:
        """The array itself, for code from outside that may write to it now or later."""
        tensor = self.tensor()
        if tensor.borrowed is not None:
            raise passed_on(self.name)
        if not tensor.exposed:
            tensor.exposed = True
            if self.watched:
                self.changed()
        return tensor.array

    @property
    def array(self) -> Array | None:
        """The array, if the blob holds a tensor."""
        return self.value.array if isinstance(self.value, Tensor) else None

    def tensor(self) -> Tensor:
        """The tensor of this blob; whatever else it held gives way to an empty tensor."""
        if not isinstance(self.value, Tensor):
            self.value = Tensor(empty((0,), np.dtype(np.float32)))
            self.changed()
        return self.value

    @property
    def quantum(self) -> Quantum | None:
        """What the integers mean, if the blob holds a quantized tensor."""
        return self.value.quantum if isinstance(self.value, Tensor) else None

    def resize(
        self, shape: Shape, dtype: DType, quantum: Quantum | None = None, device: Device = CPU
    ) -> Array:
        """As Tensor.resize, counting a change of shape, dtype, address or quantum."""
        tensor = self.tensor()
        before = tensor.array
        after = tensor.resize(shape, dtype, device)
        if after is not before or tensor.quantum != quantum:
            tensor.quantum = quantum
            self.changed()
        return after

    def share(self, array: Array) -> None:
        """Make the tensor a view of another blob's array."""
        tensor = self.tensor()
        if tensor.array is not array:
            tensor.share(array)
            self.changed()

    def lend(self, array: Array) -> None:
        """Make the tensor live in a part of another blob's array, whatever shape it takes there."""
        self.tensor().lend(array)
        self.changed()

    def borrow(self, array: Array, owner: object) -> None:
        """Make the tensor live in storage of `owner`, who gives it to others afterwards."""
        self.tensor().lend(array)
        self.tensor().borrowed = owner
        self.changed()

    @property
    def borrowed(self) -> object | None:
        """Whose storage a tensor lives in only while a net runs."""
        return self.value.borrowed if isinstance(self.value, Tensor) else None

    def storage(self) -> Storage | None:
        """What `restore` needs, if the blob holds a tensor."""
        return self.value.storage() if isinstance(self.value, Tensor) else None

    def restore(self, value: Any, storage: Storage | None) -> None:
        """Hold `value` again, with the shape and place that `storage()` noted."""
        unmoved = storage is not None and self.array is storage.array
        if self.value is value and unmoved and storage and self.quantum == storage.quantum:
            return
        self.value = value
        if isinstance(value, Tensor) and storage is not None:
            value.restore(storage)
        self.changed()

    def put(self, value: Any) -> None:
        """Hold an object that is not a tensor."""
        self.value = value
        self.changed()
        self.version += 1

    def feed(self, array: Array, quantum: Quantum | None = None) -> None:
        """Copy an array in from outside."""
        if self.borrowed is not None:
            self.value = None
        self.resize(array.shape, array.dtype, quantum)[...] = array
        self.written()

    def take(self, array: Array) -> None:
        """Hold an array of a device, of another library's perhaps, without a copy."""
        self.value = Tensor(array)
        self.value.exposed = True
        self.changed()
        self.written()
