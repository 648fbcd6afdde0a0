"""How many threads a run may use: what kernels are split for, and what the executor provides."""

from __future__ import annotations

import os
from pathlib import Path

from caffe2py.errors import UsageError

_MOST = 256

#: More threads than these have to be asked for: they wait for each other at every large operator.
_MOST_UNASKED = 16
_QUOTA = Path("/sys/fs/cgroup/cpu.max")
_OLD_QUOTA = Path("/sys/fs/cgroup/cpu/cpu.cfs_quota_us")
_OLD_PERIOD = Path("/sys/fs/cgroup/cpu/cpu.cfs_period_us")

_count = 0


def thread_count() -> int:
    """Threads of a run: what `set_thread_count` said, or CAFFE2PY_THREADS, or all up to 16."""
    global _count
    if not _count:
        given = os.environ.get("CAFFE2PY_THREADS", "")
        unasked = min(available(), _MOST_UNASKED)
        _count = _checked(given, "CAFFE2PY_THREADS") if given else unasked
    return _count


def set_thread_count(count: int | str) -> None:
    """Use so many threads from the next run on; UsageError unless it is a positive number."""
    global _count
    _count = _checked(count, "the number of threads")


def available() -> int:
    """The processors that this process may use: by its affinity, and by its group's quota."""
    affinity = getattr(os, "sched_getaffinity", None)
    count = len(affinity(0)) if affinity else os.cpu_count() or 1
    limit = quota()
    return max(1, min(count, _MOST, count if limit is None else int(limit)))


def quota() -> float | None:
    """Processors' worth of time that the control group allows; None where it sets no limit."""
    try:
        if _QUOTA.exists():
            limit, period = _QUOTA.read_text().split()
        else:
            limit, period = _OLD_QUOTA.read_text(), _OLD_PERIOD.read_text()
        return None if limit == "max" or int(limit) < 0 else int(limit) / int(period)
    except (OSError, ValueError, ZeroDivisionError):
        return None


def _checked(count: int | str, what: str) -> int:
    try:
        number = int(count)
    except (TypeError, ValueError):
        number = 0
    if not 1 <= number <= _MOST:
        raise UsageError(f"{what} is {count!r:.40}; expected a number from 1 to {_MOST}")
    return number
