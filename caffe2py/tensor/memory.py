"""How much memory one array may ask for: a share of what the machine or container has."""

from __future__ import annotations

import functools
import os
from pathlib import Path

from caffe2py.errors import UsageError

_SHARE = 0.75
_CGROUP_LIMITS = (
    Path("/sys/fs/cgroup/memory.max"),
    Path("/sys/fs/cgroup/memory/memory.limit_in_bytes"),
)


@functools.cache
def memory_budget() -> int:
    """Bytes that one array may take: CAFFE2PY_MAX_MEMORY, or 75 % of the memory there is."""
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
