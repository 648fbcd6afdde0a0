"""The driver of this process.

Two things are behind it: NVIDIA's driver (`nvidia`), and a device of this process's own memory
(`null`), whose kernels run in Numba's simulator. `CAFFE2PY_CUDA=simulator` chooses the second, with
`simulator:2` for two devices, and `compile` one whose kernels are compiled and not run. Without it
no machine is asked for a driver until a net wants one.
"""

from __future__ import annotations

import os
import re
import threading

from caffe2py.errors import DeviceError, UsageError
from caffe2py.tensor.cuda.driver import Driver
from caffe2py.tensor.late import late

_lock = threading.Lock()

#: The driver with the process that has loaded it, once there is one.
_loaded: list[tuple[int, Driver]] = []


def driver() -> Driver:
    """The driver of this process; DeviceError without one, or if a parent process has loaded it."""
    if not _loaded:
        with _lock:
            if not _loaded:
                _loaded.append((os.getpid(), _load()))
    process, found = _loaded[0]
    if process != os.getpid():
        raise DeviceError(
            "this process was forked from one that has loaded CUDA, which does not survive a fork",
            hint="multiprocessing's 'spawn', or nothing of CUDA before the fork",
        )
    return found


def _load() -> Driver:
    setting = os.environ.get("CAFFE2PY_CUDA", "")
    match = re.fullmatch(r"(?:compile|simulator(?::([1-9]))?)?", setting)
    if match is None:
        raise UsageError(
            f"CAFFE2PY_CUDA is {setting!r}; expected 'simulator', 'simulator:N', 'compile'"
        )
    if setting:
        made = late("tensor.cuda.null", "NullDriver")
        null: Driver = made(int(match[1] or 1), simulated=setting != "compile")
        return null
    real: Driver = late("tensor.cuda.nvidia", "NvidiaDriver")()
    return real
