"""Arrays to and from other libraries by DLPack: a pointer, a shape, and who lets go of it.

The structures are those of DLPack's specification, version 0.8 (without version field in front).
"""

from __future__ import annotations

import ctypes
from types import SimpleNamespace
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

_pointer = ctypes.pythonapi.PyCapsule_GetPointer
_pointer.restype, _pointer.argtypes = ctypes.c_void_p, [ctypes.py_object, ctypes.c_char_p]
_is_valid = ctypes.pythonapi.PyCapsule_IsValid
_is_valid.restype, _is_valid.argtypes = ctypes.c_int, [ctypes.py_object, ctypes.c_char_p]
_rename = ctypes.pythonapi.PyCapsule_SetName
_rename.restype, _rename.argtypes = ctypes.c_int, [ctypes.py_object, ctypes.c_char_p]


class _Placed(Protocol):
    address: int
    shape: Shape
    dtype: DType


def make_capsule(array: _Placed, kind: int, number: int) -> Any:
    """A capsule of an array on a device of a DLPack kind; the array lives as long as it.

    It is numpy's capsule of an array that is never looked into, with another device in it: what
    lets go of it has to be C, for capsules end at moments when no Python may run.
    """
    dtype = np.dtype(array.dtype)
    form = {
        "shape": array.shape,
        "typestr": f"|u{dtype.itemsize}" if dtype.itemsize == 1 else f"<u{dtype.itemsize}",
        "data": (array.address, False),
        "version": 3,
    }
    held: Any = np.asarray(SimpleNamespace(__array_interface__=form, array=array))
    capsule = held.__dlpack__()
    managed = ctypes.cast(_pointer(capsule, _NAME), ctypes.POINTER(_Managed)).contents
    managed.tensor.device = _Device(kind, number)
    managed.tensor.dtype = _Type(_CODES[dtype.kind], dtype.itemsize * 8, 1)
    return capsule


class Borrowed:
    """An array of another library: its form, and the promise to let go of it."""

    def __init__(self, capsule: Any) -> None:
        """Take over what a capsule holds; DLPack allows that once.

        Raises DeviceError for a capsule that is used up, or an array that is not C-contiguous.
        """
        if not _is_valid(capsule, _NAME):
            raise DeviceError(f"expected a DLPack capsule that nobody has taken, found {capsule!r}")
        place = _pointer(capsule, _NAME)
        _rename(capsule, _USED)
        self._managed = ctypes.cast(place, ctypes.POINTER(_Managed))
        tensor = self._managed.contents.tensor
        self.kind, self.number = int(tensor.device.kind), int(tensor.device.number)
        self.address = int(tensor.data or 0) + int(tensor.byte_offset)
        self.shape: Shape = tuple(tensor.shape[k] for k in range(tensor.ndim))
        self.dtype: DType = _dtype_of(tensor.dtype)
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


def _dtype_of(found: Any) -> DType:
    kind = _KINDS.get(found.code)
    if kind is not None and found.lanes == 1 and found.bits % 8 == 0:
        try:
            return np.dtype(f"{kind}{found.bits // 8}")
        except TypeError:  # of a size that numpy has not
            pass
    raise DTypeError(
        f"an array of DLPack's type {found.code} of {found.bits} bits is no tensor here"
    )
