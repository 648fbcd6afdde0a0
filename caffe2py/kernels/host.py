"""What compiled code depends on besides its source: the processor, and who compiled it.

LLVM knows the processor, but it takes longer to load than a net to run. So its answer is kept with
the compiled kernels, under a hash of what the system says of processor and installed packages.
"""

from __future__ import annotations

import functools
import hashlib
import importlib.metadata
import importlib.util
import os
import platform
import sys
from pathlib import Path
from typing import NamedTuple

import numpy as np

from caffe2py.errors import UsageError
from caffe2py.kernels import cache

__all__ = ["bounds_checked", "platform_text", "tile_lines", "vector_bytes"]

_COMPILERS = ("numba", "llvmlite")
#: The first processor's description is that long.
_DESCRIPTION = 8192


class Host(NamedTuple):
    """What LLVM calls this processor, its features (+avx2,-avx512f,...), and the versions."""

    cpu: str
    features: str
    triple: str
    versions: str


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
    features = _host().features.split(",")
    return 64 if "+avx512f" in features else 32 if "+avx2" in features else 16


@functools.cache
def tile_lines() -> int:
    """Rows of a register tile: 8 where there are 32 vector registers, 4 where there are 16."""
    many = vector_bytes() == 64 or "aarch64" in _host().triple
    return 8 if many else 4


@functools.cache
def platform_text() -> str:
    """What compiled code depends on besides its source."""
    host = _host()
    python = f"{sys.implementation.cache_tag} {host.triple}"
    options = f"bounds={bounds_checked()} vectors={vector_bytes()} generator={_generator()}"
    return f"layout=1 {host.versions} {python} {host.cpu} {host.features} {options}"


@functools.cache
def _generator() -> str:
    """A hash of the code that makes kernels of loops."""
    return hashlib.sha256(Path(__file__).with_name("compiler.py").read_bytes()).hexdigest()[:16]


@functools.cache
def _host() -> Host:
    """LLVM's answers, remembered or asked for."""
    facts = _facts()
    if facts is None:
        return _asked()
    name = f"host-{hashlib.sha256(facts).hexdigest()[:32]}"
    known = cache.read(name)
    if known is not None and known.count(b"\n") == len(Host._fields) - 1:
        return Host(*known.decode().split("\n"))
    found = _asked()
    cache.write(name, "\n".join(found).encode())
    return found


def _asked() -> Host:
    import llvmlite.binding as llvm

    versions = [f"{p}={importlib.metadata.version(p)}" for p in (*_COMPILERS, "numpy")]
    features = llvm.get_host_cpu_features().flatten()
    return Host(llvm.get_host_cpu_name(), features, llvm.get_default_triple(), " ".join(versions))


def _facts() -> bytes | None:
    """What tells this processor and these compilers from others; None where that is not known."""
    try:
        with Path("/proc/cpuinfo").open("rb") as file:
            first = file.read(_DESCRIPTION).partition(b"\n\n")[0]
        # the clock changes from moment to moment, and the number of the processor means nothing
        lines = [x for x in first.split(b"\n") if not x.startswith((b"cpu MHz", b"bogomips"))]
        parts = [platform.machine().encode(), np.__version__.encode(), *lines]
        for package in _COMPILERS:
            spec = importlib.util.find_spec(package)
            if spec is None or spec.origin is None:
                return None
            parts.append(Path(spec.origin).with_name("_version.py").read_bytes())
    except (OSError, ImportError, ValueError):
        return None
    return b"\n".join(parts)
