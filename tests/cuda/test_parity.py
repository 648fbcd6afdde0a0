"""Every operator with a CUDA implementation computes on a device what it computes on the CPU."""

from pathlib import Path

import numpy as np
import pytest

import caffe2py.core  # noqa: F401
from caffe2py.registry.absent import absent_operators
from caffe2py.registry.operator import registered
from caffe2py.testing.parity import check_parity
from tests.cuda.kit import CUDA
from tests.ops.table import CASES, samples

#: A simulated thread is a Python thread: elements of all inputs together, and samples of a row.
_TINY, _SAMPLES = 100, 3


def _on_cuda(name):
    return any(device == "cuda" for device, _ in registered()[name].kernels)


#: Operators that a row's samples cannot show, and why.
ELSEWHERE = {
    "AtomicIter": "a lock cannot be fed",
    "CopyCPUToGPU": "there is none on the CPU: test_nets.py",
    "CopyGPUToCPU": "there is none on the CPU: test_nets.py",
    "CreateScope": "its row has no sample of one operator alone",
    "Do": "its row has no sample of one operator alone",
    "Free": "its row has no sample: it leaves nothing behind",
    "GetGPUMemoryUsage": "it has no value on the CPU",
    "HasScope": "its row has no sample of one operator alone",
    "PythonDLPack": "the row's functions look inside, which numpy cannot do on a device",
    "PythonDLPackGradient": "the row's functions look inside, which numpy cannot do on a device",
    "RecurrentNetworkBlobFetcher": "its row has no sample of one operator alone",
    "RecurrentNetworkGradient": "its row has no sample of one operator alone",
}

NAMES = sorted(name for name in CASES if _on_cuda(name) and name not in ELSEWHERE)

#: What Caffe2 has for CUDA devices.
WANTED = [
    line
    for line in Path(__file__).with_name("caffe2_cuda.txt").read_text("utf-8").splitlines()
    if not line.startswith("#")
]

#: Operators among these without an implementation here, and why that is so.
REASONS = {}


def _size(sample):
    return sum(np.size(x) for x in sample.inputs if isinstance(x, np.ndarray))


def _has_strings(sample):
    return any(isinstance(x, np.ndarray) and x.dtype.kind in "OSU" for x in sample.inputs)


def _some(case, real):
    """Samples from everywhere in the row: those that are small, or the smallest; all if `real`."""
    drawn = samples(case)
    drawn = [s for s in drawn if not _has_strings(s)] or drawn  # those are the host's
    if real:
        return drawn
    tiny = [s for s in drawn if _size(s) <= _TINY] or [min(drawn, key=_size)]
    places = np.linspace(0, len(tiny) - 1, min(len(tiny), _SAMPLES)).round()
    return [tiny[int(k)] for k in places]


@pytest.mark.gpu
@pytest.mark.parametrize("name", NAMES)
def test_parity(name, real):
    for sample in _some(CASES[name], real):
        check_parity(CASES[name], sample, CUDA)


@pytest.mark.parametrize("name", WANTED)
def test_what_caffe2_has_for_cuda_is_here(name):
    if name in registered() and _on_cuda(name):
        assert name not in REASONS
    elif name in absent_operators():
        assert absent_operators()[name].why
    else:
        assert REASONS.get(name), f"{name} has no CUDA implementation, and no reason"


def test_every_implementation_has_a_row():
    """What is offered on devices is tried there."""
    assert {name for name in registered() if _on_cuda(name)} <= {*CASES, *ELSEWHERE}
