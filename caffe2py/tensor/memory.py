"""How much memory arrays may ask for: a share of what the machine or container has."""

from __future__ import annotations

import functools
import os
import threading
from pathlib import Path
from typing import Any
from weakref import ref

from caffe2py.errors import MemoryBudgetError, UsageError

_SHARE = 0.75
_CGROUP_LIMITS = (
    Path("/sys/fs/cgroup/memory.max"),
    Path("/sys/fs/cgroup/memory/memory.limit_in_bytes"),
)
#: Arrays of fewer bytes are not counted: there are many, and they make no difference.
SMALL = 1 << 12


class _Ledger:
    """The bytes of all arrays that are alive, and how many there may be."""

    def __init__(self) -> None:
        self.limit: int | None = None
        self.used = 0
        self._sizes: dict[int, tuple[ref[Any], int]] = {}
        self.renew_lock()
        os.register_at_fork(after_in_child=self.renew_lock)

    def renew_lock(self) -> None:
        """The collector may end arrays at any time; after a fork nobody else holds the lock."""
        self._lock = threading.RLock()

    def add(self, array: Any, count: int) -> None:
        entry = ref(array, self._remove)
        with self._lock:
            self._sizes[id(entry)] = entry, count  # a reference hashes what it refers to
            self.used += count

    def _remove(self, entry: ref[Any]) -> None:
        with self._lock:
            self.used -= self._sizes.pop(id(entry))[1]


_ledger = _Ledger()


def memory_budget() -> int:
    """Bytes that arrays may take: what was set, CAFFE2PY_MAX_MEMORY, or 75 % of what there is."""
    return _default_budget() if _ledger.limit is None else _ledger.limit


def set_memory_budget(count: int | None) -> int | None:
    """Let all arrays together take so many bytes; None: the default. Returns what held before."""
    before, _ledger.limit = _ledger.limit, count
    return before


def memory_used() -> int:
    """The bytes of all arrays that were made by `empty` and are alive, small ones left out."""
    return _ledger.used


def require_memory(count: int, what: str) -> None:
    """Raise MemoryBudgetError if an array of so many bytes is more than may be taken."""
    budget = memory_budget()
    if count > budget:
        raise MemoryBudgetError(f"{what} needs {count} bytes; the budget is {budget}")
    if count + _ledger.used > budget:
        raise MemoryBudgetError(
            f"{what} needs {count} bytes, and other arrays take {_ledger.used}; the budget is "
            f"{budget}"
        )


def count_memory(array: Any, count: int) -> None:
    """Count an array's bytes for as long as it, or a view of it, is alive."""
    _ledger.add(array, count)


@functools.cache
def _default_budget() -> int:
    setting = os.environ.get("CAFFE2PY_MAX_MEMORY")
    if setting:
        if not setting.isdecimal():
            raise UsageError(f"CAFFE2PY_MAX_MEMORY is {setting!r}; expected a number of bytes")
        return int(setting)
    limits = [os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")]
    for path in _CGROUP_LIMITS:
        try:
            text = path.read_text().strip()
        except OSError:
            continue
        if text.isdigit():
            limits.append(int(text))
    return int(min(limits) * _SHARE)
