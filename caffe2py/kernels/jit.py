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

import ctypes
import functools
import hashlib
import types
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

from caffe2py.errors import Error, KernelError
from caffe2py.kernels.params import RAISED, ByType, Intrinsic, Param, Scalar
from caffe2py.registry.context import Launch

_SLOT = np.dtype(np.int64)

#: The C type of a compiled kernel.
PROTOTYPE = ctypes.CFUNCTYPE(ctypes.c_int32, ctypes.c_int64)


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
        self._addresses: dict[tuple[Param, ...], int] = {}
        self._fingerprint = ""

    @property
    def __name__(self) -> str:
        """The loop's name."""
        return self.function.__name__

    def __call__(self, *args: Any, explain: Callable[[int], Error] | None = None) -> Launch:
        """Lay out the arguments for a run: numpy arrays, numpy or Python scalars.

        `explain` turns a status of the kernel's own into an error.
        """
        params = tuple(_param(a, self.function) for a in args)
        address = self._addresses.get(params)
        if address is None:
            address = self._addresses[params] = self._load(params)
        return Launch(address, _block(args, params), args, _explainer(self.function, explain))

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


def fingerprint(function: Callable[..., Any]) -> str:
    """A hash of everything that a function's compiled form depends on.

    That is its code, and every function and constant that it reaches through globals and closures.
    """
    digest = hashlib.sha256()
    for part in _reached(function, set()):
        digest.update(part.encode())
    return digest.hexdigest()


def _reached(function: Any, seen: set[int]) -> Iterator[str]:
    if isinstance(function, Scalar):
        yield "scalar "
        function = function.function
    code = function.__code__
    if id(code) in seen:
        return
    seen.add(id(code))
    yield from _code_text(code)
    values = {name: function.__globals__.get(name) for name in sorted(_names(code))}
    for name, cell in zip(code.co_freevars, function.__closure__ or (), strict=True):
        values[name] = cell.cell_contents
    for name, value in values.items():
        if isinstance(value, types.FunctionType | Scalar):
            yield f"{name}:"
            yield from _reached(value, seen)
        elif isinstance(value, ByType):
            yield f"{name}: by type"
            yield from _reached(value.float32, seen)
            yield from _reached(value.float64, seen)
        elif isinstance(value, types.ModuleType):
            if value.__name__.partition(".")[0] not in ("numpy", "math"):
                for attribute in sorted(_names(code)):
                    yield f"{name}.{attribute}={getattr(value, attribute, None)!r}"
        elif isinstance(value, np.ndarray):
            yield f"{name}={value.dtype}{value.shape}{value.tobytes().hex()}"
        elif isinstance(value, Intrinsic):
            yield f"{name}={value.name} {_emitters(value.files)}"
        elif value is not None:
            yield f"{name}={value!r}".partition(" at 0x")[0]


@functools.cache
def _emitters(files: tuple[str, ...]) -> str:
    """A hash of code that emits code."""
    parts = (Path(__file__).with_name(name).read_bytes() for name in files)
    return hashlib.sha256(b"".join(parts)).hexdigest()


def _names(code: types.CodeType) -> set[str]:
    names = set(code.co_names)
    for constant in code.co_consts:
        if isinstance(constant, types.CodeType):
            names |= _names(constant)
    return names


def _code_text(code: types.CodeType) -> Iterator[str]:
    yield f"{code.co_code.hex()} {code.co_names} {code.co_varnames} {code.co_freevars}"
    for constant in code.co_consts:
        if isinstance(constant, types.CodeType):
            yield from _code_text(constant)
        elif not isinstance(constant, str):  # docstrings do not change what is computed
            yield repr(constant)
