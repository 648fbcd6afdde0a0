"""Compiled kernels as object files: kept in a folder, and made ready to run.

A file's name is a hash of all that its contents depend on, so nothing is ever stale. Several
processes may compile the same kernel at the same time; the last one's file stays, and all are the
same.
"""

from __future__ import annotations

import functools
import hashlib
import os
import threading
from collections.abc import Callable
from typing import TYPE_CHECKING

from caffe2py.kernels import cache, loader
from caffe2py.kernels.cache import cache_folder
from caffe2py.kernels.host import bounds_checked, platform_text, tile_lines, vector_bytes

if TYPE_CHECKING:
    import llvmlite.binding as llvm

__all__ = [
    "address", "bounds_checked", "cache_folder", "engine", "key", "platform_text", "symbol",
    "target_machine", "tile_lines", "vector_bytes",
]  # fmt: skip

_lock = threading.RLock()
_addresses: dict[str, int] = {}


def _unlock_in_child() -> None:
    """After a fork nobody is left who could release the lock."""
    global _lock
    _lock = threading.RLock()


os.register_at_fork(after_in_child=_unlock_in_child)


def key(text: str) -> str:
    """The name of an object: a hash of what was compiled and for which platform."""
    return hashlib.sha256(f"{platform_text()}\n{text}".encode()).hexdigest()[:40]


def symbol(object_key: str) -> str:
    """The function that an object exports."""
    return f"caffe2py_{object_key}"


def address(object_key: str, compile_: Callable[[], bytes]) -> int:
    """The address of a kernel: linked already, or from the cache, or compiled now."""
    with _lock:
        found = _addresses.get(object_key)
        if found is None:
            code = cache.read(object_key)
            if code is None or symbol(object_key).encode() not in code:  # another kernel's
                code = compile_()
                cache.write(object_key, code)
            found = _addresses[object_key] = _link(object_key, code)
        return found


@functools.cache
def target_machine() -> llvm.TargetMachine:
    """Code generation for this very CPU."""
    import llvmlite.binding as llvm

    llvm.initialize_native_target()
    llvm.initialize_native_asmprinter()
    return llvm.Target.from_default_triple().create_target_machine(
        cpu=llvm.get_host_cpu_name(),
        features=llvm.get_host_cpu_features().flatten(),
        opt=3,
        reloc="static",
        codemodel="jitdefault",
        jit=True,
    )


@functools.cache
def engine() -> llvm.ExecutionEngine:
    """LLVM's linker of this process; it resolves libc's and libm's functions."""
    import llvmlite.binding as llvm

    return llvm.create_mcjit_compiler(llvm.parse_assembly(""), target_machine())


def _link(object_key: str, code: bytes) -> int:
    found = loader.load(code, symbol(object_key))
    return _link_with_llvm(object_key, code) if found is None else found


def _link_with_llvm(object_key: str, code: bytes) -> int:
    import llvmlite.binding as llvm

    linker = engine()
    linker.add_object_file(llvm.ObjectFileRef.from_data(code))
    linker.finalize_object()
    return int(linker.get_function_address(symbol(object_key)))
