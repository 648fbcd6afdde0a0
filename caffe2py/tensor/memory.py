"""How much memory arrays may ask for: a share of what the machine or container has."""

from __future__ import annotations

import functools
import os
import re
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


def parse_size(text: str) -> int:
    """A number of bytes: "1000000", "500M", "4G" (of 1024 each); UsageError for anything else."""
    match = re.fullmatch(r"(\d{1,15}(?:\.\d{1,3})?)([KMGT]?)(?:i?B)?", text.strip(), re.IGNORECASE)
    if match is None:
        raise UsageError(f"'{text}' is no size", hint="500M, or 4G")
    return int(float(match[1]) * 1024 ** " KMGT".index(match[2].upper() or " "))


def size_setting(name: str) -> int | None:
    """The bytes that a variable of the environment says; None if it says nothing."""
    setting = os.environ.get(name)
    if not setting:
        return None
    try:
        return parse_size(setting)
    except UsageError:
        raise UsageError(f"{name} is {setting!r}; expected bytes, or 500M, 4G") from None


@functools.cache
def _default_budget() -> int:
    setting = size_setting("CAFFE2PY_MAX_MEMORY")
    if setting is not None:
        return setting
    limits = [os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")]
    for path in _CGROUP_LIMITS:
        try:
            text = path.read_text().strip()
        except OSError:
            continue
        if text.isdigit():
            limits.append(int(text))
    return int(min(limits) * _SHARE)
