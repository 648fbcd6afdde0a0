"""What blobs hold besides tensors, where more than one family of operators deals with it."""

from __future__ import annotations

import threading

import numpy as np

from caffe2py.tensor.types import DType


class Mutex:
    """A lock as a blob; `with` holds it."""

    def __init__(self) -> None:
        self._lock = threading.Lock()

    def __enter__(self) -> None:
        self._lock.acquire()

    def __exit__(self, *failure: object) -> None:
        self._lock.release()


class Element:
    """Base of objects that may be elements of a tensor, like strings."""

    __slots__ = ()

    @property
    def lost(self) -> bool:
        """Whether it comes from a file that does not hold its contents."""
        return False


class TypedMap(dict[int, int]):
    """A map from integers to integers that knows the element types of its keys and values."""

    def __init__(self, key_dtype: DType, value_dtype: DType) -> None:
        super().__init__()
        self.key_dtype = np.dtype(key_dtype)
        self.value_dtype = np.dtype(value_dtype)
