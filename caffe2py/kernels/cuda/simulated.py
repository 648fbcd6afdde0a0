"""Kernels as functions of Numba's simulator: Python, with a thread for each of a device's."""

from __future__ import annotations

import functools
import importlib
import importlib.metadata
import math
import os
import sys
import threading
import types
from collections.abc import Callable
from typing import Any

import numpy as np

from caffe2py.errors import DeviceError, UnsupportedError
from caffe2py.kernels.cuda.code import Code
from caffe2py.kernels.cuda.entry import (
    NEEDS,
    entry,
    globals_used,
    known,
    of_this_package,
    refuse_closure,
    slot_types,
)
from caffe2py.kernels.cuda.plain import FUNCTIONS, MATHEMATICS, Math
from caffe2py.kernels.cuda.threads import Size
from caffe2py.kernels.cuda.threads import cuda as placeholder
from caffe2py.kernels.params import ByType, Intrinsic, Scalar
from caffe2py.tensor.cuda.driver import host_view


@functools.cache
def numba_cuda() -> Any:
    """The simulator of `numba.cuda`; DeviceError where that was loaded without it."""
    if "numba.cuda" in sys.modules and os.environ.get("NUMBA_ENABLE_CUDASIM") != "1":
        raise DeviceError(
            "numba.cuda is loaded already, and not as its simulator",
            hint="NUMBA_ENABLE_CUDASIM=1 before it is imported",
        )
    os.environ["NUMBA_ENABLE_CUDASIM"] = "1"
    try:
        importlib.metadata.version("numba-cuda")
    except importlib.metadata.PackageNotFoundError:
        raise UnsupportedError("CUDA kernels need numba-cuda", hint=NEEDS) from None
    from numba.core import config

    config.reload_config()  # kernels of the CPU may have loaded numba before
    from numba import cuda

    return cuda


class _Allocations(dict[Any, Any]):
    """Shared arrays by the line that asks for them: whoever comes second waits for the first."""

    def __init__(self) -> None:
        super().__init__()
        self._lock = threading.Lock()

    def get(self, key: Any, default: Any = None) -> Any:
        """The array; if there is none, the next thing that happens is that one is put in."""
        self._lock.acquire()
        found = super().get(key, default)
        if found is not None:
            self._lock.release()
        return found

    def __setitem__(self, key: Any, value: Any) -> None:
        super().__setitem__(key, value)
        self._lock.release()


@functools.cache
def _mend_shared_arrays() -> None:
    """Let all threads of a block get one array: the simulator looks, and then puts one in."""
    shared = importlib.import_module("numba.cuda.simulator.kernelapi").FakeCUDAShared
    before = shared.__init__

    def begin(self: Any, size: int) -> None:
        before(self, size)
        self._allocations = _Allocations()

    shared.__init__ = begin


class _Simulated:
    """Python functions that stand for a kernel and all that it calls."""

    def __init__(self) -> None:
        self._cuda = numba_cuda()
        _mend_shared_arrays()
        self._made: dict[Any, Any] = {}

    def function(self, function: Callable[..., Any]) -> Any:
        """A copy whose globals are what there is in a simulated kernel."""
        made = self._made.get(function)
        if made is not None:
            return made
        refuse_closure(function)
        names = dict(function.__globals__)
        used = globals_used(function)
        for name, value in used.items():
            names[name] = self._resolve(value, function)
        made = types.FunctionType(function.__code__, names, function.__name__)
        if any(value is placeholder for value in used.values()):
            made = self._cuda.jit(device=True)(made)
        self._made[function] = made
        return made

    def _resolve(self, value: Any, function: Callable[..., Any]) -> Any:
        if value is placeholder:
            return self._cuda
        if value is math:
            return Math
        if isinstance(value, Size):
            return value.simulated
        if isinstance(value, Scalar):
            return self.function(value.function)
        if isinstance(value, ByType):
            value = known(MATHEMATICS, value, value.float32.__name__, function)
            return self.function(value) if of_this_package(value) else Math.of(value)
        if isinstance(value, Intrinsic):
            return self.function(known(FUNCTIONS, value.name, value.name, function))
        return self.function(value) if of_this_package(value) else value


#: Seconds after which Python goes on with another thread while a kernel is simulated: the
#: simulator asks again and again whether all threads have come to a barrier.
_SWITCH = 2e-5


def _array_at(address: int, shape: tuple[int, ...], dtype: Any) -> Any:
    size = math.prod(shape) * np.dtype(dtype).itemsize
    if not size:
        return np.empty(shape, dtype)
    return host_view(int(address), size).view(dtype).reshape(shape)


def simulated(code: Code) -> Callable[[int, int, Any], None]:
    """A function of (blocks, threads, values of the parameters)."""
    build = _Simulated()
    kernel = build.function(code.function)

    def quietly(*args: Any) -> Any:
        with np.errstate(all="ignore"):  # each thread of the simulator has its own
            return kernel(*args)

    names: dict[str, Any] = {"kernel": quietly, "array_at": _array_at, "cuda": numba_cuda()}
    start = numba_cuda().jit(entry(code, names))
    kinds = slot_types(code)

    def run(grid: int, block: int, values: Any) -> None:
        arguments = [
            values[k : k + 1].view(kind)[0] if kind != np.int64 else int(values[k])
            for k, kind in enumerate(kinds)
        ]
        before = sys.getswitchinterval()
        sys.setswitchinterval(_SWITCH)
        try:
            start[grid, block](*arguments)
        finally:
            sys.setswitchinterval(before)

    run.__name__ = code.function.__name__
    return run
