"""What is asked of NVIDIA's driver: by a fake that notes it, and by the real package's signatures.

The fake keeps to what cuda.bindings.driver says of itself: results are tuples that begin with a
status, handles are objects of the package's own classes or numbers.
"""

import ctypes
import enum
import sys
import threading
import types

import numpy as np
import pytest

from caffe2py.errors import DeviceError, KernelError, MemoryBudgetError, UnsupportedError
from caffe2py.tensor.cuda.driver import Facts, OutOfMemory
from caffe2py.tensor.cuda.nvidia import NvidiaDriver
from caffe2py.tensor.cuda.pool import Pool
from tests.cuda.kit import child


class Status(enum.IntEnum):
    CUDA_SUCCESS = 0
    CUDA_ERROR_OUT_OF_MEMORY = 2
    CUDA_ERROR_NO_DEVICE = 100
    CUDA_ERROR_ILLEGAL_ADDRESS = 700
    CUDA_ERROR_LAUNCH_FAILED = 719
    CUDA_ERROR_STREAM_CAPTURE_INVALIDATED = 901
    CUDA_ERROR_INVALID_HANDLE = 400


class Handle:
    """A handle of the package's: it is a number, too."""

    def __init__(self, kind, number):
        self.kind, self.number = kind, number

    def __int__(self):
        return self.number

    def __repr__(self):
        return f"{self.kind}{self.number}"


#: call -> what its result holds besides the status, and what its arguments are.
CALLS = {
    "cuInit": ("", "n"),
    "cuDriverGetVersion": ("n", ""),
    "cuDeviceGetCount": ("n", ""),
    "cuDeviceGet": ("D", "n"),
    "cuDevicePrimaryCtxRetain": ("C", "D"),
    "cuCtxSetCurrent": ("", "C"),
    "cuDeviceGetAttribute": ("n", "aD"),
    "cuDeviceGetName": ("b", "nD"),
    "cuDeviceTotalMem": ("n", "D"),
    "cuMemGetInfo": ("nn", ""),
    "cuMemAlloc": ("P", "n"),
    "cuMemFree": ("", "p"),
    "cuMemAllocHost": ("n", "n"),
    "cuMemcpyHtoDAsync": ("", "pnns"),
    "cuMemcpyDtoHAsync": ("", "npns"),
    "cuMemcpyDtoDAsync": ("", "ppns"),
    "cuMemcpyPeerAsync": ("", "pCpCns"),
    "cuMemsetD8Async": ("", "pnns"),
    "cuStreamCreate": ("S", "n"),
    "cuEventCreate": ("E", "n"),
    "cuEventRecord": ("", "es"),
    "cuStreamWaitEvent": ("", "sen"),
    "cuEventSynchronize": ("", "e"),
    "cuStreamSynchronize": ("", "s"),
    "cuModuleLoadData": ("M", "b"),
    "cuModuleGetFunction": ("F", "Mb"),
    "cuLaunchKernel": ("", "Fnnnnnnnsnn"),
    "cuStreamBeginCapture": ("", "sm"),
    "cuStreamEndCapture": ("G", "s"),
    "cuGraphInstantiate": ("X", "Gn"),
    "cuGraphLaunch": ("", "Xs"),
    "cuGraphExecDestroy": ("", "X"),
    "cuGraphDestroy": ("", "G"),
}
#: small letters: a plain number does, as our own code passes them; capitals are handles.
NUMBERS = "npse"


class Modes(enum.IntEnum):
    CU_STREAM_CAPTURE_MODE_GLOBAL = 0
    CU_STREAM_CAPTURE_MODE_THREAD_LOCAL = 1


class Attributes(enum.IntEnum):
    CU_DEVICE_ATTRIBUTE_MULTIPROCESSOR_COUNT = 16
    CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR = 75
    CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MINOR = 76


class Fake:
    """The package: every call is noted with its thread, and answered from a table."""

    CUstreamCaptureMode, CUdevice_attribute = Modes, Attributes

    def __init__(self):
        self.calls = []
        self.failing = {}
        self.answers = {
            "cuDriverGetVersion": 12040,
            "cuDeviceGetCount": 2,
            "cuDeviceGetName": b"Some GPU\0\0\0",
            "cuDeviceTotalMem": 1 << 33,
            "cuMemGetInfo": (1 << 30, 1 << 33),
        }
        self._made = iter(range(4096, 1 << 30, 4096))
        self._memory = []

    def __getattr__(self, name):
        if name not in CALLS:
            raise AttributeError(name)
        gives, takes = CALLS[name]

        def call(*args):
            assert len(args) == len(takes), f"{name}{args}"
            for kind, value in zip(takes, args, strict=True):
                self._check(name, kind, value)
            if name == "cuLaunchKernel":
                self.parameters = parameters_at(args[9])
            self.calls.append((threading.get_ident(), name, args))
            failing = self.failing.get(name)
            if failing:
                return (failing, *(None for _ in gives))
            return (Status.CUDA_SUCCESS, *self._results(name, gives, args))

        return call

    def _check(self, name, kind, value):
        if kind in NUMBERS:
            assert type(value) is int, f"{name}: {value!r} is a {type(value).__name__}"
        elif kind == "b":
            assert isinstance(value, bytes)
        elif kind == "a":
            assert isinstance(value, Attributes)
        elif kind == "m":
            assert value is Modes.CU_STREAM_CAPTURE_MODE_THREAD_LOCAL
        else:
            assert isinstance(value, Handle), f"{name}: {value!r}"
            assert value.kind == kind, f"{name}: {value!r}"

    def _results(self, name, gives, args):
        if name == "cuDeviceGetAttribute":
            return (int(args[0]) % 10,)
        if name == "cuMemAllocHost":
            self._memory.append((ctypes.c_uint8 * args[0])())
            return (ctypes.addressof(self._memory[-1]),)
        if name in self.answers:
            answer = self.answers[name]
            return answer if isinstance(answer, tuple) else (answer,)
        if name == "cuDeviceGet":
            return (Handle("D", args[0]),)
        return tuple(Handle(kind, next(self._made)) for kind in gives)

    def names(self, start=0):
        """The calls since, without the choice of a device."""
        return [name for _, name, _ in self.calls[start:] if name != "cuCtxSetCurrent"]

    def last(self, name):
        return next(args for _, called, args in reversed(self.calls) if called == name)


def parameters_at(address):
    """The first two kernel parameters, through the table of their places."""
    places = (ctypes.c_void_p * 2).from_address(address)
    return [ctypes.c_int64.from_address(place).value for place in places]


@pytest.fixture
def fake(monkeypatch):
    made = Fake()
    package = types.ModuleType("cuda.bindings")
    package.driver = made
    monkeypatch.setitem(sys.modules, "cuda", types.ModuleType("cuda"))
    monkeypatch.setitem(sys.modules, "cuda.bindings", package)
    return made


@pytest.fixture
def driver(fake):
    return NvidiaDriver()


def test_the_beginning(fake):
    driver = NvidiaDriver()
    assert fake.names() == ["cuInit", "cuDriverGetVersion", "cuDeviceGetCount"]
    assert (driver.version, driver.count(), driver.simulated) == (12040, 2, False)


def test_facts_are_asked_for_once(fake, driver):
    expected = Facts("Some GPU", (5, 6), 1 << 33, 6)
    assert driver.facts(1) == expected
    asked = len(fake.calls)
    assert driver.facts(1) == expected
    assert len(fake.calls) == asked
    assert driver.free_memory(1) == 1 << 30


def test_no_device(fake):
    fake.failing["cuInit"] = Status.CUDA_ERROR_NO_DEVICE
    with pytest.raises(DeviceError, match="the NVIDIA driver does not start: CUDA_ERROR_NO_DEVICE"):
        NvidiaDriver()


def test_a_driver_that_is_too_old(fake):
    fake.answers["cuDriverGetVersion"] = 11080
    with pytest.raises(DeviceError, match=r"is for CUDA 11\.8; expected 12\.0 or later"):
        NvidiaDriver()


def test_no_driver(fake, monkeypatch):
    def missing(flags):
        raise RuntimeError("a library is not there")

    monkeypatch.setattr(Fake, "cuInit", staticmethod(missing), raising=False)
    with pytest.raises(DeviceError, match="has no NVIDIA driver") as error:
        NvidiaDriver()
    assert "CAFFE2PY_CUDA=simulator" in str(error.value)


def test_no_package(monkeypatch):
    monkeypatch.setitem(sys.modules, "cuda.bindings", None)
    with pytest.raises(UnsupportedError, match=r"pip install caffe2py\[cuda13\]"):
        NvidiaDriver()


def test_contexts(fake, driver):
    """One for each device, for all threads; where there are several, it is chosen each time."""
    stream = driver.stream(0)
    driver.stream(1)
    driver.synchronize(0, stream)
    thread = threading.Thread(target=driver.synchronize, args=(0, stream))
    thread.start()
    thread.join()
    assert fake.names().count("cuDevicePrimaryCtxRetain") == 2
    chosen = [(who, args[0].number) for who, name, args in fake.calls if name == "cuCtxSetCurrent"]
    me = threading.get_ident()
    first = chosen[0][1]
    assert [number == first for _, number in chosen] == [True, False, True, True]
    assert [who == me for who, _ in chosen] == [True, True, True, False]


def test_one_device_is_chosen_once_in_each_thread(fake):
    fake.answers["cuDeviceGetCount"] = 1
    driver = NvidiaDriver()
    for _ in range(3):
        driver.stream(0)
    thread = threading.Thread(target=driver.stream, args=(0,))
    thread.start()
    thread.join()
    assert [name for _, name, _ in fake.calls].count("cuCtxSetCurrent") == 2


def test_memory_and_copies(fake, driver):
    address = driver.allocate(0, 512)
    stream = driver.stream(0)
    assert type(address) is int
    assert type(stream) is int
    stage = driver.pinned(0, 64)
    stage[:] = 7
    assert fake.last("cuMemAlloc") == (512,)
    assert fake.last("cuStreamCreate") == (1,)
    driver.upload(0, stream, address, stage[:16])
    assert fake.last("cuMemcpyHtoDAsync") == (address, stage.ctypes.data, 16, stream)
    driver.download(0, stream, stage[16:20], address + 4)
    assert fake.last("cuMemcpyDtoHAsync") == (stage.ctypes.data + 16, address + 4, 4, stream)
    driver.clear(0, stream, address, 512)
    assert fake.last("cuMemsetD8Async") == (address, 0, 512, stream)
    driver.move(0, stream, address, address + 256, 256, 0)
    assert fake.last("cuMemcpyDtoDAsync") == (address, address + 256, 256, stream)
    far = driver.allocate(1, 512)
    driver.move(0, stream, address, far, 100, 1)
    target, here, source, there, size, queue = fake.last("cuMemcpyPeerAsync")
    assert (target, source, size, queue) == (address, far, 100, stream)
    assert here.number != there.number
    before = len(fake.calls)
    driver.move(0, stream, address, far, 0, 1)
    assert len(fake.calls) == before, "nothing is no copy"
    driver.release(0, address)
    assert fake.last("cuMemFree") == (address,)


def test_streams_and_events(fake, driver):
    stream, event = driver.stream(0), driver.event(0)
    assert fake.last("cuEventCreate") == (2,)
    driver.record(0, event, stream)
    assert fake.last("cuEventRecord") == (event, stream)
    driver.wait(0, stream, event)
    assert fake.last("cuStreamWaitEvent") == (stream, event, 0)
    driver.wait_on_host(0, event)
    assert fake.last("cuEventSynchronize") == (event,)
    driver.synchronize(0, 1)
    assert fake.last("cuStreamSynchronize") == (1,)


def test_kernels(fake, driver):
    function = driver.load(0, b"machine code", "caffe2py_kernel")
    assert fake.last("cuModuleLoadData") == (b"machine code",)
    assert fake.last("cuModuleGetFunction")[1] == b"caffe2py_kernel"
    driver.launch(0, driver.stream(0), function, 5, 256, np.array([11, -3], np.int64))
    args = fake.last("cuLaunchKernel")
    assert args[1:8] == (5, 1, 1, 256, 1, 1, 0)
    assert args[10] == 0
    assert fake.parameters == [11, -3]


def test_graphs(fake, driver):
    stream = driver.stream(0)
    driver.begin_capture(0, stream)
    driver.clear(0, stream, driver.allocate(0, 512), 4)
    graph = driver.end_capture(0, stream)
    ready = fake.last("cuGraphInstantiate")
    driver.run_graph(0, stream, graph)
    assert fake.last("cuGraphLaunch")[1] == stream
    before = len(fake.calls)
    del graph
    assert len(fake.calls) == before, "it may end in the middle of a capture"
    driver.begin_capture(0, stream)
    assert fake.names(before) == ["cuGraphExecDestroy", "cuGraphDestroy", "cuStreamBeginCapture"]
    assert fake.last("cuGraphDestroy") == ready[:1]


def test_a_graph_that_cannot_be_made_ready_is_given_back(fake, driver):
    stream = driver.stream(0)
    driver.begin_capture(0, stream)
    fake.failing["cuGraphInstantiate"] = Status.CUDA_ERROR_OUT_OF_MEMORY
    with pytest.raises(OutOfMemory):
        driver.end_capture(0, stream)
    assert fake.names()[-1] == "cuGraphDestroy"
    fake.failing["cuStreamEndCapture"] = Status.CUDA_ERROR_STREAM_CAPTURE_INVALIDATED
    driver.begin_capture(0, stream)
    with pytest.raises(DeviceError, match="cuStreamEndCapture failed: CUDA_ERROR_STREAM_CAPTURE_I"):
        driver.end_capture(0, stream)


@pytest.mark.parametrize(
    "status", [Status.CUDA_ERROR_ILLEGAL_ADDRESS, Status.CUDA_ERROR_LAUNCH_FAILED], ids=str
)
def test_kernel_faults(fake, driver, status):
    stream = driver.stream(0)
    fake.failing["cuStreamSynchronize"] = status
    with pytest.raises(KernelError, match=status.name) as error:
        driver.synchronize(0, stream)
    assert "until this process is started again" in str(error.value)
    assert "CAFFE2PY_CUDA_BLOCKING=1" in str(error.value)


def test_other_failures_name_the_call(fake, driver):
    fake.failing["cuEventRecord"] = Status.CUDA_ERROR_INVALID_HANDLE
    with pytest.raises(DeviceError, match="cuEventRecord failed: CUDA_ERROR_INVALID_HANDLE"):
        driver.record(0, 1, 2)


def test_a_full_device_and_the_pool(fake, driver):
    pool = Pool(driver, 0)
    pool.allocate(100)
    assert pool.cached == 512, "a real device's blocks are kept"
    fake.failing["cuMemAlloc"] = Status.CUDA_ERROR_OUT_OF_MEMORY
    before = len(fake.calls)
    with pytest.raises(MemoryBudgetError, match="cannot give 1024 bytes: 0 are in use, 1073741824"):
        pool.allocate(1000)
    assert fake.names(before) == ["cuMemAlloc", "cuMemFree", "cuMemAlloc", "cuMemGetInfo"]


#: Arguments of the kinds above, of the package's own classes where we pass what it gave us.
REAL = """
import numpy as np
from cuda.bindings import driver as api
from tests.cuda.test_nvidia import CALLS, Status, Modes, Attributes
place = np.zeros(8, np.int64)
values = dict(n=0, p=4096, s=5, e=6, D=api.CUdevice(0), C=api.CUcontext(0), M=api.CUmodule(0),
    F=api.CUfunction(0), G=api.CUgraph(0), X=api.CUgraphExec(0), b=b"some bytes",
    a=api.CUdevice_attribute.CU_DEVICE_ATTRIBUTE_MULTIPROCESSOR_COUNT,
    m=api.CUstreamCaptureMode.CU_STREAM_CAPTURE_MODE_THREAD_LOCAL)
for name, (_, takes) in CALLS.items():
    try:
        getattr(api, name)(*(values[kind] for kind in takes))
    except TypeError as error:
        print(name, takes, error)
    except Exception as error:
        assert "ibrary" in str(error) or "not found" in str(error), (name, error)
for ours, theirs in [(Status, api.CUresult), (Modes, api.CUstreamCaptureMode),
                     (Attributes, api.CUdevice_attribute)]:
    for each in ours:
        assert getattr(theirs, each.name) == each.value, each
assert issubclass(api.CUresult, int)
for wrong in ("cuMemFree", "cuStreamSynchronize", "cuEventSynchronize"):
    try:
        getattr(api, wrong)("x")
    except TypeError:
        continue
    print(wrong, "looks at its arguments too late for this test")
print("end")
"""


def test_the_real_package_takes_what_we_pass():
    """It looks at its arguments before it looks for a driver; here it finds none."""
    assert child(REAL, CUDA_VISIBLE_DEVICES="") == "end\n"
