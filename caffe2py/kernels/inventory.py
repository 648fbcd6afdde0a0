"""What lies in the kernel cache, and what this process has linked of it."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from caffe2py.kernels import objects

__all__ = ["Cache", "cache", "linked"]

#: The name of a compiled kernel, a hash; other files there are not kernels.
_KERNEL = re.compile(r"[0-9a-f]{40}")


@dataclass(frozen=True)
class Cache:
    """The folder of compiled kernels: their names, and the bytes that they take."""

    folder: Path
    names: frozenset[str]
    size: int


def cache() -> Cache:
    """The cache as it is on disk now; empty if there is no folder yet."""
    folder = objects.cache_folder()
    try:
        found = [
            (path.name, _size(path)) for path in folder.iterdir() if _KERNEL.fullmatch(path.name)
        ]
    except OSError:
        found = []
    return Cache(folder, frozenset(name for name, _ in found), sum(size for _, size in found))


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except OSError:  # another process has just replaced it
        return 0


def linked() -> frozenset[str]:
    """The names of the kernels that this process has used so far."""
    return frozenset(objects._addresses)
