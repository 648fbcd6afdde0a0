"""The compiler proper: Numba's front end to PTX, NVIDIA's linker to machine code; no GPU needed."""

from __future__ import annotations

import contextlib
import functools
import types as python_types
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from llvmlite import ir
from numba import cuda, types
from numba.cuda import cgutils, dispatcher
from numba.cuda.compiler import compile as compile_numba
from numba.cuda.extending import intrinsic

from caffe2py.errors import KernelError, UnsupportedError
from caffe2py.kernels.compiler import typed_literals
from caffe2py.kernels.cuda import entry as forms
from caffe2py.kernels.cuda.code import Code
from caffe2py.kernels.cuda.plain import FUNCTIONS, MATHEMATICS
from caffe2py.kernels.cuda.threads import Size
from caffe2py.kernels.cuda.threads import cuda as placeholder
from caffe2py.kernels.params import ByType, Intrinsic, Scalar

#: The address space of memory that all threads share.
_GLOBAL = 1


@intrinsic
def array_at(typing: Any, address: Any, shape: Any, dtype: Any) -> Any:
    """A C-contiguous array of global memory, from its address and its sizes."""
    made = types.Array(dtype.dtype, len(shape), "C")

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        element = context.get_data_type(made.dtype)
        place = builder.inttoptr(args[0], element.as_pointer(_GLOBAL))
        sizes = cgutils.unpack_tuple(builder, args[1], made.ndim)
        item = context.get_constant(types.intp, context.get_abi_sizeof(element))
        steps: list[Any] = []
        step = item
        for size in reversed(sizes):
            steps.insert(0, step)
            step = builder.mul(step, size)
        count = functools.reduce(builder.mul, sizes, context.get_constant(types.intp, 1))
        word = context.get_value_type(types.intp)
        array = context.make_array(made)(context, builder)
        array.data = builder.addrspacecast(place, element.as_pointer())
        array.shape = _packed(builder, sizes, word)
        array.strides = _packed(builder, steps, word)
        array.itemsize, array.nitems = item, count
        array.meminfo = cgutils.get_null_value(array.meminfo.type)
        array.parent = cgutils.get_null_value(array.parent.type)
        return array._getvalue()

    return made(address, shape, dtype), generate


def _packed(builder: Any, values: Any, word: Any) -> Any:
    if not values:
        return ir.Constant(ir.ArrayType(word, 0), [])
    return cgutils.pack_array(builder, values)


@dataclass(frozen=True)
class _Target:
    """What Numba asks of a device when it compiles a function that another one calls."""

    compute_capability: tuple[int, int]


@contextlib.contextmanager
def _compiling_for(capability: tuple[int, int]) -> Iterator[None]:
    # Numba asks the current device, which need not exist here, and has no argument for it
    before = dispatcher.get_current_device
    dispatcher.get_current_device = lambda: _Target(capability)
    try:
        yield
    finally:
        dispatcher.get_current_device = before


class _Builder:
    """Compiles a function and all that it calls, for one element type."""

    def __init__(self, element: Any) -> None:
        self._element = element
        self._made: dict[Any, Any] = {}

    def function(self, function: Callable[..., Any], *, scalar: bool = False) -> Any:
        """A device function whose globals are device functions in turn."""
        made = self._made.get((function, scalar))
        if made is None:
            forms.refuse_closure(function)
            source = function
            if scalar:
                source = typed_literals(function, self._element, (int, float))
            names = {**source.__globals__, "_T": self._element.type}
            for name, value in forms.globals_used(function).items():
                names[name] = self._resolve(value, function, scalar)
            plain = python_types.FunctionType(source.__code__, names, function.__name__)
            made = cuda.jit(device=True, forceinline=True)(plain)
            self._made[function, scalar] = made
        return made

    def _resolve(self, value: Any, function: Callable[..., Any], scalar: bool) -> Any:
        if value is placeholder:
            return cuda
        if isinstance(value, Size):
            return value.real
        if isinstance(value, Scalar):
            return self.function(value.function, scalar=True)
        if isinstance(value, ByType):
            value = forms.known(MATHEMATICS, value, value.float32.__name__, function)
            return self.function(value) if forms.of_this_package(value) else value
        if isinstance(value, Intrinsic):
            return self.function(forms.known(FUNCTIONS, value.name, value.name, function))
        return self.function(value, scalar=scalar) if forms.of_this_package(value) else value


def compile_code(code: Code, capability: tuple[int, int]) -> forms.Compiled:
    """Compile for a kind of device, which need not be there."""
    return assemble(to_ptx(code, capability), capability)


def to_ptx(code: Code, capability: tuple[int, int]) -> str:
    """The kernel as PTX for a kind of device, its entry named ENTRY."""
    element = next((p.dtype for p in code.params if p.ndim is not None), "f8")
    kernel = _Builder(np.dtype(element)).function(code.function)
    entry = forms.entry(code, {"kernel": kernel, "array_at": array_at, "cuda": cuda})
    entry.__name__ = forms.ENTRY
    kinds = [_TYPES[kind.str[1:]] for kind in forms.slot_types(code)]
    with _compiling_for(capability):
        ptx, _ = compile_numba(entry, types.void(*kinds), device=False, abi="numba", cc=capability)
    return str(ptx).replace(_entry_name(ptx), forms.ENTRY)


_TYPES = {np.dtype(t).str[1:]: getattr(types, t) for t in (
    "int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64", "float32", "float64",
)} | {"b1": types.boolean, "f2": types.float16}  # fmt: skip


def _entry_name(ptx: str) -> str:
    """The mangled name of the one entry."""
    return ptx.partition(".visible .entry ")[2].partition("(")[0]


def assemble(ptx: str, capability: tuple[int, int]) -> forms.Compiled:
    """Machine code from PTX; KernelError with the assembler's words if it refuses."""
    try:
        from cuda.bindings import nvjitlink
    except ImportError:
        raise UnsupportedError("CUDA kernels need NVIDIA's linker", hint=forms.NEEDS) from None
    major, minor = capability
    handle = nvjitlink.create(2, [f"-arch=sm_{major}{minor}", "-verbose"])
    try:
        data = ptx.encode()
        try:
            nvjitlink.add_data(handle, nvjitlink.InputType.PTX, data, len(data), forms.ENTRY)
            nvjitlink.complete(handle)
        except nvjitlink.nvJitLinkError as error:
            log = _log(nvjitlink.get_error_log_size, nvjitlink.get_error_log, handle)
            raise KernelError(
                f"the assembler for sm_{major}{minor} refuses: {error}: {log}"
            ) from None
        cubin = bytearray(nvjitlink.get_linked_cubin_size(handle))
        nvjitlink.get_linked_cubin(handle, cubin)
        report = _log(nvjitlink.get_info_log_size, nvjitlink.get_info_log, handle)
    finally:
        nvjitlink.destroy(handle)
    return forms.Compiled(bytes(cubin), report)


def _log(size: Callable[[Any], int], read: Callable[[Any, Any], None], handle: Any) -> str:
    text = bytearray(size(handle))
    read(handle, text)
    return text.decode(errors="replace").strip("\0\n ")
