"""Machines without CUDA, or with half of it: one error that says what to do, and no price before.

Each runs in a process of its own, in which nothing of CUDA has been asked for yet.
"""

import re
import subprocess
import sys

import pytest

from tests.cuda.kit import ROOT, child

#: A net of one Relu on a device, and what a user sees of it.
RELU = """
import numpy as np
from caffe2py import core, workspace
from caffe2py.proto import caffe2_pb2
def relu(device=core.DeviceOption(caffe2_pb2.PROTO_CUDA, {index})):
    workspace.FeedBlob("x", np.array([-1.0, 2.0], np.float32), {feed})
    net = core.Net("net")
    with core.DeviceScope(device):
        net.Relu("x", "y")
    workspace.RunNetOnce(net)
    return workspace.FetchBlob("y").tolist()
def attempt(function=relu):
    try:
        print(function())
    except Exception as error:
        print(f"{{type(error).__name__}}: {{error}}")
"""


def program(rest, index=0, feed="device"):
    return RELU.format(index=index, feed=feed) + rest


#: Finds no package of a name, as where it is not installed.
WITHOUT = """
import sys
class Missing:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] == {name!r} or name == {name!r}:
            raise ModuleNotFoundError(f"No module named {{name!r}}", name=name)
sys.meta_path.insert(0, Missing())
import importlib.metadata
version = importlib.metadata.version
def asked(name):
    if name == {package!r}:
        raise importlib.metadata.PackageNotFoundError(name)
    return version(name)
importlib.metadata.version = asked
"""


def test_no_driver():
    """CUDA_VISIBLE_DEVICES hides the devices of machines that have some."""
    out = child(program("attempt()\nattempt()"), CUDA_VISIBLE_DEVICES="")
    first, second = out.splitlines()
    assert first == second
    assert re.match(r"DeviceError: FeedBlob\('x', device cuda:0\): .*NVIDIA driver", first)
    assert "CAFFE2PY_CUDA=simulator" in first or "nvidia-smi" in first


def test_without_a_driver_the_rest_works():
    rest = """
attempt()
print(workspace.NumCudaDevices(), workspace.has_gpu_support, workspace.GetCUDAVersion())
attempt(lambda: relu(core.DeviceOption(caffe2_pb2.PROTO_CPU)))
"""
    out = child(program(rest, feed="None"), CUDA_VISIBLE_DEVICES="").splitlines()
    assert re.match(r"DeviceError: net 'net', op #0 Relu .*: .*NVIDIA driver", out[0])
    assert out[1:] == ["0 False 0", "[0.0, 2.0]"]


def test_wheels_missing():
    hidden = WITHOUT.format(name="cuda", package="cuda-bindings")
    out = child(hidden + program("attempt()\nprint(workspace.NumCudaDevices())"))
    first, second = out.splitlines()
    assert first.startswith("UnsupportedError: FeedBlob('x', device cuda:0): CUDA needs packages")
    assert "pip install caffe2py[cuda13]" in first
    assert second == "0"


def test_the_simulator_without_numba_cuda():
    hidden = WITHOUT.format(name="numba_cuda", package="numba-cuda")
    out = child(hidden + program("attempt()"), CAFFE2PY_CUDA="simulator")
    assert re.match(
        r"UnsupportedError: net 'net', op #0 Relu .*: CUDA kernels need numba-cuda", out
    )
    assert "pip install caffe2py[cuda13]" in out


def test_numba_cuda_loaded_before_the_simulator():
    start = "import numba.cuda\n"
    out = child(start + program("attempt()"), CAFFE2PY_CUDA="simulator")
    assert re.match(r"DeviceError: net 'net', op #0 Relu .*: numba.cuda is loaded already", out)
    assert "NUMBA_ENABLE_CUDASIM=1" in out


def test_the_simulator_by_its_variable_alone():
    out = child(program("attempt()\nprint(workspace.NumCudaDevices())"), CAFFE2PY_CUDA="simulator")
    assert out.splitlines() == ["[0.0, 2.0]", "1"]


def test_a_device_that_is_not_there():
    out = child(program("attempt()", index=2), CAFFE2PY_CUDA="simulator:2")
    assert out.startswith(
        "DeviceError: FeedBlob('x', device cuda:2): there is no device cuda:2; there are: cuda:0, "
        "cuda:1"
    )
    assert "caffe2py doctor" in out


def test_a_net_on_the_second_device():
    rest = "attempt()\nprint(workspace.current().blob('y').array.device)"
    assert child(program(rest, index=1), CAFFE2PY_CUDA="simulator:2") == "[0.0, 2.0]\n1\n"


@pytest.mark.parametrize(
    "setting", ["yes", "simulator:", "simulator:0", "simulator:12", "compile:2"]
)
def test_a_wrong_variable(setting):
    out = child(program("attempt()\nattempt(workspace.NumCudaDevices)"), CAFFE2PY_CUDA=setting)
    for line in out.splitlines():
        assert f"UsageError: CAFFE2PY_CUDA is '{setting}'; expected" in line.replace(
            "FeedBlob('x', device cuda:0): ", ""
        )


FORK = """
import os, sys
def forked(function):
    sys.stdout.flush()
    child = os.fork()
    if not child:
        attempt(function)
        sys.stdout.flush()
        os._exit(0)
    os.waitpid(child, 0)
"""


def test_a_fork_after_use():
    rest = FORK + "attempt()\nforked(relu)\nforked(workspace.NumCudaDevices)\nattempt()"
    before, inside, count, after = child(program(rest), CAFFE2PY_CUDA="simulator").splitlines()
    assert (before, after) == ("[0.0, 2.0]", "[0.0, 2.0]")
    assert "DeviceError" in inside
    assert "forked from one that has loaded CUDA" in inside
    assert "'spawn'" in inside
    assert count == "0"


def test_a_fork_before_use():
    rest = FORK + "forked(relu)\nattempt()"
    assert child(program(rest), CAFFE2PY_CUDA="simulator") == "[0.0, 2.0]\n[0.0, 2.0]\n"


def test_a_fork_after_a_driver_was_missing():
    """Nothing was loaded: the child says what its parent said."""
    rest = FORK + "attempt()\nforked(relu)"
    first, second = child(program(rest), CUDA_VISIBLE_DEVICES="").splitlines()
    assert first == second


# ---------------------------------------------------------------- what it costs who has none

CUDA_PARTS = re.compile(
    r"numba|cuda(\.|$)|caffe2py\.(tensor|kernels)\.cuda\.|nvidia|cupy|torch|caffe2py\.adapters\.cu"
)


@pytest.mark.parametrize(
    "what",
    [
        "import caffe2py.core",
        "import caffe2py.workspace",
        program("attempt(lambda: relu(core.DeviceOption(caffe2_pb2.PROTO_CPU)))", feed="None"),
    ],
)
def test_nothing_of_cuda_is_imported(what):
    out = child(what + "\nimport sys\nprint(*sys.modules)")
    found = [name for name in out.split() if CUDA_PARTS.match(name) and "numba" not in name]
    assert found == []
    assert "numba.cuda" not in out


def test_no_message_at_import():
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", "import caffe2py.core, caffe2py.workspace"],
        capture_output=True,
        text=True,
        check=False,
        cwd=ROOT,
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_threads_that_come_first_get_one_device():
    rest = """
import threading
from caffe2py.tensor.cuda.devices import cuda_device
ready, found = threading.Barrier(8), []
def work():
    ready.wait()
    found.append(cuda_device(0))
threads = [threading.Thread(target=work) for _ in range(8)]
for thread in threads: thread.start()
for thread in threads: thread.join()
print(len({id(device) for device in found}))
"""
    assert child(program(rest), CAFFE2PY_CUDA="simulator") == "1\n"
