"""Steps that only Python can do (moving strings), as launches that a table can run."""

from __future__ import annotations

import ctypes
import functools
from collections.abc import Callable

import numpy as np

from caffe2py.errors import Error
from caffe2py.kernels.params import PROTOTYPE, RAISED
from caffe2py.registry.context import Launch
from caffe2py.registry.operator import provide
from caffe2py.tensor.tensor import Array


def launch_python(action: Callable[[], object]) -> Launch:
    """Call `action` in every run; what it raises is raised by the net, with the operator's place.

    About 1 microsecond on top of the action, and the GIL is held during it.
    """
    raised: list[BaseException] = []

    def step(_block: int) -> int:
        try:
            action()
        except BaseException as error:
            raised.append(error)
            return RAISED
        return 0

    def explain(_status: int) -> Error:
        error = raised.pop()
        if isinstance(error, Error):
            return error
        raise error

    callback = PROTOTYPE(step)
    address = ctypes.cast(callback, ctypes.c_void_p).value or 0
    return Launch(address, np.zeros(1, np.int64), (callback, action), explain, python=True)


def launch_assign(target: Array, source: Array) -> Launch:
    """target[...] = source; both may be views, and of strings."""
    return launch_python(functools.partial(np.copyto, target, source))


provide("launch_python", lambda: launch_python)
