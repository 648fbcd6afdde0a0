"""An array in the memory of a device: what it is like, and where; its contents stay there."""

from __future__ import annotations

import math
import operator
from types import SimpleNamespace
from typing import Any, NoReturn

import numpy as np

from caffe2py.errors import DeviceError, ShapeError
from caffe2py.tensor.cuda.dlpack import make_capsule
from caffe2py.tensor.types import DType, Shape, dtype_name, shape_text

#: What numpy says of an array's memory, as far as kernels ask.
_FLAGS = SimpleNamespace(c_contiguous=True, writeable=True)

#: The kind of device in DLPack's enumeration.
DLPACK_CUDA = 2


class DeviceArray:
    """A C-contiguous array on cuda:`device`, as numpy's arrays to those who only look at its form.

    Views (`reshape`, `view`, ranges and numbers along the first axis) share its memory. Numpy and
    loops over elements are refused: `transfer.to_host` copies.
    """

    __slots__ = ("address", "device", "dtype", "owner", "shape")

    def __init__(
        self, address: int, shape: Shape, dtype: DType, device: int, owner: object
    ) -> None:
        """`owner` keeps the memory alive."""
        self.address = address
        self.shape = tuple(int(n) for n in shape)
        self.dtype = np.dtype(dtype)
        self.device = device
        self.owner = owner

    @property
    def ndim(self) -> int:
        """The number of axes."""
        return len(self.shape)

    @property
    def size(self) -> int:
        """The number of elements."""
        return math.prod(self.shape)

    @property
    def itemsize(self) -> int:
        """Bytes of an element."""
        return int(self.dtype.itemsize)

    @property
    def nbytes(self) -> int:
        """Bytes of all elements."""
        return self.size * self.itemsize

    @property
    def flags(self) -> SimpleNamespace:
        """As numpy's, of contiguous memory that may be written."""
        return _FLAGS

    @property
    def ctypes(self) -> SimpleNamespace:
        """As numpy's: `ctypes.data` is the address."""
        return SimpleNamespace(data=self.address)

    def __len__(self) -> int:
        if not self.shape:
            raise TypeError("an array without axes has no length")
        return self.shape[0]

    def __repr__(self) -> str:
        return f"DeviceArray({dtype_name(self.dtype)}{list(self.shape)} on cuda:{self.device})"

    # ---- views

    def _at(self, offset: int, shape: Shape, dtype: DType | None = None) -> DeviceArray:
        start = self.address + offset
        return DeviceArray(start, shape, dtype or self.dtype, self.device, self.owner)

    def reshape(self, *shape: Any) -> DeviceArray:
        """The same elements in another shape, one size of which may be -1."""
        sizes = tuple(shape[0]) if len(shape) == 1 and isinstance(shape[0], tuple | list) else shape
        known = math.prod(n for n in sizes if n != -1)
        free = list(sizes).count(-1)
        if free == 1 and known:
            sizes = tuple(self.size // known if n == -1 else n for n in sizes)
        if free > 1 or min(sizes, default=0) < 0 or math.prod(sizes) != self.size:
            raise ShapeError(f"{shape_text(self.shape)} cannot be {shape_text(tuple(sizes))}")
        return self._at(0, sizes)

    def ravel(self) -> DeviceArray:
        """All elements along one axis."""
        return self._at(0, (self.size,))

    def view(self, dtype: Any) -> DeviceArray:
        """The same bytes as another type; the last axis changes with the size of an element."""
        new = np.dtype(dtype)
        if new.itemsize == self.itemsize:
            return self._at(0, self.shape, new)
        if not self.shape or self.shape[-1] * self.itemsize % new.itemsize:
            raise ShapeError(f"{self!r} cannot be seen as {dtype_name(new)}")
        last = self.shape[-1] * self.itemsize // new.itemsize
        return self._at(0, (*self.shape[:-1], last), new)

    def __getitem__(self, key: Any) -> DeviceArray:
        """A range of the first axis, or the part at one place of it (or of several axes)."""
        if isinstance(key, tuple):
            part = self
            for place, each in enumerate(key):
                if place < len(key) - 1 and (isinstance(each, slice) or each is Ellipsis):
                    raise self._refuse("a part of it that is not in one piece")
                part = part[each]
            return part
        if key is Ellipsis:
            return self
        if not self.shape:
            raise IndexError(f"{self!r} has no axis for {key!r}")
        rest = self.shape[1:]
        row = math.prod(rest) * self.itemsize
        if isinstance(key, slice):
            first, end, step = key.indices(len(self))
            if step != 1:
                raise self._refuse("a part of it that is not in one piece")
            return self._at(first * row, (max(end - first, 0), *rest))
        if isinstance(key, bool | np.bool_) or not hasattr(key, "__index__"):
            raise self._refuse(f"a part of it chosen by a {type(key).__name__}")
        place = operator.index(key)
        if not -len(self) <= place < len(self):
            raise IndexError(f"{place} of {len(self)}")
        return self._at((place % len(self)) * row, rest)

    # ---- other libraries

    @property
    def __cuda_array_interface__(self) -> dict[str, Any]:
        """The array to CuPy, PyTorch, Numba and all that read version 3 of that protocol."""
        return {
            "shape": self.shape,
            "typestr": self.dtype.str,
            "data": (self.address if self.size else 0, False),
            "strides": None,
            "version": 3,
            "stream": None,  # all work on it has been waited for
        }

    def __dlpack_device__(self) -> tuple[int, int]:
        """(CUDA, number of the device)."""
        return DLPACK_CUDA, self.device

    def __dlpack__(
        self, *, stream: Any = None, dl_device: Any = None, copy: Any = None, **_: Any
    ) -> Any:
        """A DLPack capsule that shares the memory; all work on it has been waited for.

        Raises BufferError where a copy is asked for, or one on another device.
        """
        if copy or dl_device not in (None, self.__dlpack_device__()):
            raise BufferError(f"{self!r} is shared as it is: FetchBlob copies")
        return make_capsule(self, DLPACK_CUDA, self.device)

    def __array__(self, *_: Any, **__: Any) -> NoReturn:
        raise self._refuse("it as a numpy array")

    def __iter__(self) -> NoReturn:
        raise self._refuse("its elements one by one")

    def __bool__(self) -> NoReturn:
        raise self._refuse("whether it is true")

    def _refuse(self, wanted: str) -> DeviceError:
        return DeviceError(
            f"{self!r}: its contents are on the device, found a use of {wanted}",
            hint="CopyGPUToCPU, or FetchBlob",
        )
