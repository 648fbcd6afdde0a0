"""Compiled kernels as object files: kept on disk, linked with llvmlite alone.

A file's name is a hash of all that its contents depend on, so nothing is ever stale; it is written
whole or not at all, and begins with a hash of its contents, so a damaged one is compiled anew.
"""

from __future__ import annotations

import functools
import hashlib
import importlib.metadata
import logging
import os
import sys
import tempfile
import threading
from collections.abc import Callable
from pathlib import Path

import llvmlite.binding as llvm

from caffe2py.errors import UsageError

_log = logging.getLogger(__name__)
_DIGEST = hashlib.sha256().digest_size
_lock = threading.RLock()
_addresses: dict[str, int] = {}


def _unlock_in_child() -> None:
    """After a fork nobody is left who could release the lock."""
    global _lock
    _lock = threading.RLock()


os.register_at_fork(after_in_child=_unlock_in_child)


def bounds_checked() -> bool:
    """Whether kernels check every index (NUMBA_BOUNDSCHECK=1): slow, for tests."""
    return os.environ.get("NUMBA_BOUNDSCHECK", "0") not in ("", "0")


@functools.cache
def vector_bytes() -> int:
    """Width of the vectors that kernels use: the CPU's, or CAFFE2PY_VECTOR_BYTES (for tests)."""
    own = os.environ.get("CAFFE2PY_VECTOR_BYTES", "")
    if own:
        if own not in ("16", "32", "64"):
            raise UsageError(f"CAFFE2PY_VECTOR_BYTES is '{own}'; expected 16, 32 or 64")
        return int(own)
    features = llvm.get_host_cpu_features()
    return 64 if features.get("avx512f") else 32 if features.get("avx2") else 16


@functools.cache
def tile_lines() -> int:
    """Rows of a register tile: 8 where there are 32 vector registers, 4 where there are 16."""
    many = vector_bytes() == 64 or "aarch64" in llvm.get_default_triple()
    return 8 if many else 4


@functools.cache
def _generator() -> str:
    """A hash of the code that makes kernels of loops."""
    return hashlib.sha256(Path(__file__).with_name("compiler.py").read_bytes()).hexdigest()[:16]


@functools.cache
def platform_text() -> str:
    """What compiled code depends on besides its source."""
    versions = [f"{p}={importlib.metadata.version(p)}" for p in ("numba", "llvmlite", "numpy")]
    cpu = f"{llvm.get_host_cpu_name()} {llvm.get_host_cpu_features().flatten()}"
    python = f"{sys.implementation.cache_tag} {llvm.get_default_triple()}"
    options = f"bounds={bounds_checked()} vectors={vector_bytes()} generator={_generator()}"
    return f"layout=1 {' '.join(versions)} {python} {cpu} {options}"


def key(text: str) -> str:
    """The name of an object: a hash of what was compiled and for which platform."""
    return hashlib.sha256(f"{platform_text()}\n{text}".encode()).hexdigest()[:40]


def symbol(object_key: str) -> str:
    """The function that an object exports."""
    return f"caffe2py_{object_key}"


def cache_folder() -> Path:
    """CAFFE2PY_CACHE_DIR, or caffe2py/objects in the user's cache folder."""
    own = os.environ.get("CAFFE2PY_CACHE_DIR")
    if own:
        return Path(own)
    base = os.environ.get("XDG_CACHE_HOME")
    return (Path(base) if base else Path.home() / ".cache") / "caffe2py" / "objects"


def address(object_key: str, compile_: Callable[[], bytes]) -> int:
    """The address of a kernel: linked already, or from the cache, or compiled now."""
    with _lock:
        found = _addresses.get(object_key)
        if found is None:
            code = _read(object_key)
            if code is None:
                code = compile_()
                _write(object_key, code)
            found = _addresses[object_key] = _link(object_key, code)
        return found


def _read(object_key: str) -> bytes | None:
    try:
        content = (cache_folder() / object_key).read_bytes()
    except OSError:
        return None
    if hashlib.sha256(content[_DIGEST:]).digest() == content[:_DIGEST]:
        return content[_DIGEST:]
    _log.warning("kernel object %s is damaged and will be compiled anew", object_key)
    return None


def _write(object_key: str, code: bytes) -> None:
    """Best effort: a full disk or an unwritable folder costs a compilation next time, no more."""
    folder = cache_folder()
    temporary = ""
    try:
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        with tempfile.NamedTemporaryFile(dir=folder, delete=False) as file:
            temporary = file.name
            file.write(hashlib.sha256(code).digest() + code)
        Path(temporary).replace(folder / object_key)
    except OSError as error:
        _log.info("kernel object not kept in %s: %s", folder, error)
        if temporary:
            Path(temporary).unlink(missing_ok=True)


@functools.cache
def target_machine() -> llvm.TargetMachine:
    """Code generation for this very CPU."""
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
    """The linker of this process; it resolves libc's and libm's functions."""
    return llvm.create_mcjit_compiler(llvm.parse_assembly(""), target_machine())


def _link(object_key: str, code: bytes) -> int:
    linker = engine()
    linker.add_object_file(llvm.ObjectFileRef.from_data(code))
    linker.finalize_object()
    return int(linker.get_function_address(symbol(object_key)))
