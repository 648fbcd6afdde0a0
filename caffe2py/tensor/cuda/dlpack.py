"""Arrays to and from other libraries by DLPack: a pointer, a shape, and who lets go of it.

The structures are those of DLPack's specification, version 0.8 (without version field in front).
"""

from __future__ import annotations

import ctypes
from typing import Any, Protocol

import numpy as np

from caffe2py.errors import DeviceError, DTypeError
from caffe2py.tensor.types import DType, Shape

_NAME, _USED = b"dltensor", b"used_dltensor"

#: numpy's kind -> DLPack's type code.
_CODES = {"i": 0, "u": 1, "f": 2, "b": 6}
_KINDS = {code: kind for kind, code in _CODES.items()}


class _Device(ctypes.Structure):
    _fields_ = [("kind", ctypes.c_int32), ("number", ctypes.c_int32)]


class _Type(ctypes.Structure):
    _fields_ = [("code", ctypes.c_uint8), ("bits", ctypes.c_uint8), ("lanes", ctypes.c_uint16)]


class _Tensor(ctypes.Structure):
    _fields_ = [
        ("data", ctypes.c_void_p),
        ("device", _Device),
        ("ndim", ctypes.c_int32),
        ("dtype", _Type),
        ("shape", ctypes.POINTER(ctypes.c_int64)),
        ("strides", ctypes.POINTER(ctypes.c_int64)),
        ("byte_offset", ctypes.c_uint64),
    ]


class _Managed(ctypes.Structure):
    pass


_Deleter = ctypes.CFUNCTYPE(None, ctypes.POINTER(_Managed))
_Managed._fields_ = [("tensor", _Tensor), ("context", ctypes.c_void_p), ("deleter", _Deleter)]

_Destructor = ctypes.CFUNCTYPE(None, ctypes.c_void_p)
_new = ctypes.pythonapi.PyCapsule_New
_new.restype, _new.argtypes = ctypes.py_object, [ctypes.c_void_p, ctypes.c_char_p, _Destructor]
_pointer = ctypes.pythonapi.PyCapsule_GetPointer
_pointer.restype, _pointer.argtypes = ctypes.c_void_p, [ctypes.py_object, ctypes.c_char_p]
_rename = ctypes.pythonapi.PyCapsule_SetName
_rename.restype, _rename.argtypes = ctypes.c_int, [ctypes.py_object, ctypes.c_char_p]
# the same by address, for a destructor: the capsule has no references left to count
_pointer_at = ctypes.PYFUNCTYPE(ctypes.c_void_p, ctypes.c_void_p, ctypes.c_char_p)(
    ("PyCapsule_GetPointer", ctypes.pythonapi)
)
_is_valid_at = ctypes.PYFUNCTYPE(ctypes.c_int, ctypes.c_void_p, ctypes.c_char_p)(
    ("PyCapsule_IsValid", ctypes.pythonapi)
)

#: What is lent out, with its array and its shape, until it is let go of.
_lent: dict[int, tuple[Any, ...]] = {}


class _Placed(Protocol):
    address: int
    shape: Shape
    dtype: DType


def _let_go(managed: Any) -> None:
    _lent.pop(ctypes.addressof(managed.contents), None)


def _unused(capsule: int) -> None:
    if _is_valid_at(capsule, _NAME):
        _lent.pop(_pointer_at(capsule, _NAME), None)


_deleter, _destructor = _Deleter(_let_go), _Destructor(_unused)


def make_capsule(array: _Placed, kind: int, number: int) -> Any:
    """A capsule of an array on a device of a DLPack kind; the array lives as long as it."""
    dtype = np.dtype(array.dtype)
    shape = (ctypes.c_int64 * max(len(array.shape), 1))(*array.shape)
    managed = _Managed()
    tensor = managed.tensor
    tensor.data = array.address
    tensor.device = _Device(kind, number)
    tensor.ndim = len(array.shape)
    tensor.dtype = _Type(_CODES[dtype.kind], dtype.itemsize * 8, 1)
    tensor.shape = ctypes.cast(shape, ctypes.POINTER(ctypes.c_int64))
    managed.deleter = _deleter
    place = ctypes.addressof(managed)
    _lent[place] = managed, array, shape
    return _new(place, _NAME, _destructor)


class Borrowed:
    """An array of another library: its form, and the promise to let go of it."""

    def __init__(self, capsule: Any) -> None:
        """Take over what a capsule holds; DLPack allows that once."""
        place = _pointer(capsule, _NAME)
        _rename(capsule, _USED)
        self._managed = ctypes.cast(place, ctypes.POINTER(_Managed))
        tensor = self._managed.contents.tensor
        self.kind, self.number = int(tensor.device.kind), int(tensor.device.number)
        self.address = int(tensor.data or 0) + int(tensor.byte_offset)
        self.shape: Shape = tuple(tensor.shape[k] for k in range(tensor.ndim))
        code, bits, lanes = tensor.dtype.code, tensor.dtype.bits, tensor.dtype.lanes
        if code not in _KINDS or lanes != 1:
            raise DTypeError(f"an array of DLPack's type {code} of {bits} bits is no tensor here")
        self.dtype: DType = np.dtype(f"{_KINDS[code]}{bits // 8}")
        if tensor.strides and not self._is_contiguous(tensor):
            raise DeviceError("an array that is not C-contiguous cannot be shared: copy it first")

    def _is_contiguous(self, tensor: Any) -> bool:
        step = 1
        for axis in reversed(range(tensor.ndim)):
            if self.shape[axis] > 1 and tensor.strides[axis] != step:
                return 0 in self.shape
            step *= self.shape[axis]
        return True

    def __del__(self) -> None:
        managed = getattr(self, "_managed", None)
        if managed is not None and managed.contents.deleter:
            managed.contents.deleter(managed)
