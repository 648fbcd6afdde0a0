"""Each file here runs on a simulated device of its own; files of other folders see none of it.

The driver is chosen once in a process, and with pytest-xdist a process runs files from everywhere:
some before these, which may have asked for a driver, and some after, which say what a machine
without CUDA does. So a driver is put in for the time of a file, and what was made of it is taken
out again. A variable for the whole process would give every other test a device.
"""

import os

import pytest

from caffe2py.kernels.cuda import functions
from caffe2py.tensor.cuda import choose, devices
from caffe2py.tensor.cuda.presence import cuda_device_count

#: What the simulator sets besides, so that numba.cuda is loaded as one.
SETTINGS = {"CAFFE2PY_CUDA": "simulator:2", "NUMBA_ENABLE_CUDASIM": "1"}


def _forget():
    choose._loaded.clear()
    devices._devices.clear()
    functions._functions.clear()


@pytest.fixture(autouse=True, scope="session")
def real(request):
    """Whether a real device is asked for, by `pytest -m gpu`."""
    return "gpu" in request.config.option.markexpr.split()


@pytest.fixture(autouse=True, scope="module")
def _simulator(real):
    if real:
        assert cuda_device_count(), "there is no GPU, or no driver: caffe2py doctor"
        yield
        return
    before = {name: os.environ.get(name) for name in SETTINGS}
    os.environ.update(SETTINGS)
    _forget()
    yield
    _forget()
    for name, value in before.items():
        if value is None:
            del os.environ[name]
        else:
            os.environ[name] = value
