"""The driver of this process.

Two things are behind it: NVIDIA's driver (`nvidia`), and a device of this process's own memory
(`null`), whose kernels run in Numba's simulator. `CAFFE2PY_CUDA=simulator` chooses the second, with
`simulator:2` for two devices, and `compile` one whose kernels are compiled and not run. Without it
no machine is asked for a driver until a net wants one.
"""

from __future__ import annotations

import functools
import os
import re

from caffe2py.errors import UsageError
from caffe2py.tensor.cuda.driver import Driver
from caffe2py.tensor.late import late


@functools.cache
def driver() -> Driver:
    """The driver of this process; DeviceError without one."""
    setting = os.environ.get("CAFFE2PY_CUDA", "")
    match = re.fullmatch(r"(?:compile|simulator(?::([1-9]))?)?", setting)
    if match is None:
        raise UsageError(f"CAFFE2PY_CUDA is {setting!r}; expected 'simulator', 'simulator:N', 'compile'")
    if setting:
        made = late("tensor.cuda.null", "NullDriver")
        null: Driver = made(int(match[1] or 1), simulated=setting != "compile")
        return null
    real: Driver = late("tensor.cuda.nvidia", "NvidiaDriver")()
    return real
