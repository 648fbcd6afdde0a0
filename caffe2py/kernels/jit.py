"""Kernels: plain Python loops over typed arrays, compiled for the arguments of a launch.

A kernel is an ordinary function. Nothing happens when it is declared; the first launch with new
argument types looks for a compiled object in the cache, and only if there is none imports numba and
compiles. The compiled form has one signature, `int32 kernel(int64* block)`:

    argument            slots in the block
    array of n axes     address, dim 0, ..., dim n-1       (C-contiguous)
    scalar              its bits, in the low bytes

The function may return a status; 0 or nothing is success, and an exception becomes RAISED.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import numpy as np

from caffe2py.errors import Error, KernelError
from caffe2py.kernels.fingerprint import fingerprint
from caffe2py.kernels.params import PROTOTYPE, RAISED, Param
from caffe2py.registry.context import Launch
from caffe2py.tensor.late import late

_SLOT = np.dtype(np.int64)


def callable_at(address: int) -> Callable[[int], int]:
    """A kernel as a Python function of its block's address; the GIL is released while it runs."""
    return PROTOTYPE(address)


class Kernel:
    """A loop that is compiled once for each combination of argument types."""

    def __init__(self, function: Callable[..., Any], *fastmath: str) -> None:
        """Take the loop, and what the compiler may do to its floating-point operations.

        "contract" makes a * b + c one rounding (products), "reassoc" lets a sum be reordered into
        vector lanes (reductions); the result is the same in every run on one kind of CPU.
        """
        self.function = function
        self.fastmath = fastmath
        #: How it is written for devices, if it is not the loop itself.
        self._form: Any = None
        self._addresses: dict[tuple[Param, ...], int] = {}
        self._fingerprint = ""

    @property
    def __name__(self) -> str:
        """The loop's name."""
        return self.function.__name__

    def __call__(self, *args: Any, explain: Callable[[int], Error] | None = None) -> Launch:
        """Lay out the arguments for a run: numpy arrays, numpy or Python scalars.

        `explain` turns a status of the kernel's own into an error. With arrays of a CUDA device the
        launch is one there.
        """
        params = tuple(_param(a, self.function) for a in args)
        if any(p.device for p in params):
            device_launch = late("kernels.cuda.work", "device_launch")
            explainer = _explainer(self.function, explain)
            launch: Launch = device_launch(self, params, args, _block(args, params), explainer)
            return launch
        address = self._addresses.get(params)
        if address is None:
            address = self._addresses[params] = self._load(params)
        return Launch(address, _block(args, params), args, _explainer(self.function, explain))

    def on_cuda(self, blocks: Callable[..., int]) -> Callable[[Callable[..., Any]], Any]:
        """Decorator: the loop as it is written for devices; see `cuda.threads`.

        `blocks` says from the arguments how many blocks of threads run it.
        """

        def add(function: Callable[..., Any]) -> Callable[..., Any]:
            self._form = function, blocks
            return function

        return add

    def form_later(self, make: Callable[[], Any]) -> None:
        """The same for a form whose text is made when a device asks for it."""
        self._form = make

    def form_from(self, module: str, name: str) -> None:
        """The same for a form that is `name` in that module of kernels.cuda."""
        self._form = functools.partial(late, f"kernels.cuda.{module}", name)

    @property
    def form(self) -> Any:
        """(function, blocks) as given to `on_cuda`; None: devices run the loop itself."""
        if callable(self._form):
            self._form = self._form()
        return self._form

    def _load(self, params: tuple[Param, ...]) -> int:
        if not self._fingerprint:
            self._fingerprint = fingerprint(self.function)
        text = f"{self._fingerprint} {self.fastmath} {' '.join(map(str, params))}"
        # building nets needs no LLVM, and numba takes longer to import than a net to run
        from caffe2py.kernels import objects

        key = objects.key(text)

        def compile_() -> bytes:
            from caffe2py.kernels import compiler

            return compiler.compile_kernel(self.function, params, key, self.fastmath)

        return objects.address(key, compile_)


def kernel(*fastmath: str) -> Callable[[Callable[..., Any]], Kernel]:
    """Decorator: make a loop a kernel; the arguments are those of `Kernel`."""
    return lambda function: Kernel(function, *fastmath)


def _explainer(
    function: Callable[..., Any], explain: Callable[[int], Error] | None
) -> Callable[[int], Error]:
    def error(status: int) -> Error:
        if explain is not None and status != RAISED:
            return explain(status)
        return KernelError(f"kernel '{function.__name__}' stopped with status {status}")

    return error


def _param(value: Any, function: Callable[..., Any]) -> Param:
    if isinstance(value, np.ndarray):
        if not value.flags.c_contiguous:
            raise KernelError(f"kernel '{function.__name__}' was given a strided array")
        return Param(value.dtype.str[1:], value.ndim)
    if isinstance(value, np.generic):
        return Param(value.dtype.str[1:], None)
    if isinstance(value, bool):
        return Param("b1", None)
    if isinstance(value, int):
        return Param("i8", None)
    if isinstance(value, float):
        return Param("f8", None)
    if hasattr(value, "__cuda_array_interface__"):
        return Param(value.dtype.str[1:], value.ndim, device=True)
    raise KernelError(f"kernel '{function.__name__}' was given a {type(value).__name__}")


def _block(args: tuple[Any, ...], params: tuple[Param, ...]) -> np.ndarray[Any, Any]:
    slots = [1 if p.ndim is None else 1 + p.ndim for p in params]
    block = np.zeros(sum(slots), _SLOT)
    at = 0
    for value, param, width in zip(args, params, slots, strict=True):
        if param.ndim is None:
            block[at : at + 1].view(np.dtype(param.dtype))[0] = value
        else:
            block[at] = value.ctypes.data
            block[at + 1 : at + width] = value.shape
        at += width
    return block
