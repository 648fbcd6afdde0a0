"""NVIDIA's driver, through the package cuda-bindings."""

from __future__ import annotations

import collections
import threading
from collections.abc import Sequence
from typing import Any

import numpy as np

from caffe2py.errors import DeviceError, Error, KernelError, UnsupportedError
from caffe2py.tensor.cuda.driver import Facts, OutOfMemory, host_view
from caffe2py.tensor.tensor import Array

#: The oldest CUDA version whose driver is enough.
_OLDEST = 12000

#: What a kernel does to its context: nothing runs in it any more.
_FAULTS = (
    "CUDA_ERROR_ILLEGAL_ADDRESS",
    "CUDA_ERROR_LAUNCH_FAILED",
    "CUDA_ERROR_MISALIGNED_ADDRESS",
    "CUDA_ERROR_ILLEGAL_INSTRUCTION",
    "CUDA_ERROR_ASSERT",
    "CUDA_ERROR_LAUNCH_TIMEOUT",
    "CUDA_ERROR_HARDWARE_STACK_ERROR",
    "CUDA_ERROR_INVALID_ADDRESS_SPACE",
    "CUDA_ERROR_INVALID_PC",
    "CUDA_ERROR_ECC_UNCORRECTABLE",
)

#: Events without a time, which cost less.
_NO_TIMING, _NON_BLOCKING = 2, 1


def _bindings() -> Any:
    try:
        from cuda.bindings import driver
    except ImportError:
        raise UnsupportedError(
            "CUDA needs packages that are not installed",
            hint="needs: pip install caffe2py[cuda13]",
        ) from None
    return driver


class _Load:
    """A function of a module that lives as long as it."""

    def __init__(self, module: Any, function: Any) -> None:
        self.module, self.function = module, function


class _Graph:
    """A graph that can be run, given back when nobody wants it."""

    def __init__(self, owner: NvidiaDriver, device: int, graph: Any, ready: Any) -> None:
        self._owner, self._device, self._graph = owner, device, graph
        self.ready = ready

    def __del__(self) -> None:
        # at any moment, in any thread: in the middle of a capture too
        self._owner.dropped.append((self._device, self._graph, self.ready))


class NvidiaDriver:
    """The devices of this machine; DeviceError without a driver, or with one that is too old."""

    simulated = False
    runs_libraries = True

    def __init__(self) -> None:
        self._api = _bindings()
        try:
            status = self._api.cuInit(0)[0]
        except Exception:  # the bindings find no libcuda.so: their class has no fixed home
            raise DeviceError(
                "this machine has no NVIDIA driver (libcuda.so)",
                hint="the CPU, or CAFFE2PY_CUDA=simulator",
            ) from None
        if status:
            raise DeviceError(
                f"the NVIDIA driver does not start: {self._name(status)}", hint="nvidia-smi"
            )
        self.version = int(self._do("cuDriverGetVersion"))
        if self.version < _OLDEST:
            raise DeviceError(
                f"the NVIDIA driver is for CUDA {self.version // 1000}."
                f"{self.version % 1000 // 10}; expected {_OLDEST // 1000}.0 or later",
                hint="a newer driver",
            )
        self._count = int(self._do("cuDeviceGetCount"))
        self._facts: dict[int, Facts] = {}
        #: Graphs that nobody wants any more: (device, graph, what runs it).
        self.dropped: collections.deque[tuple[int, Any, Any]] = collections.deque()
        self._contexts: dict[int, Any] = {}
        self._current = threading.local()
        self._lock = threading.Lock()

    def _name(self, status: Any) -> str:
        return str(getattr(status, "name", status))

    def _do(self, call: str, *args: Any) -> Any:
        """Call the driver; what it returns besides the status, an error if that is not success."""
        status, *result = getattr(self._api, call)(*args)
        if status:
            raise self._error(call, self._name(status))
        return result[0] if len(result) == 1 else result

    def _error(self, call: str, name: str) -> Error | OutOfMemory:
        if name == "CUDA_ERROR_OUT_OF_MEMORY":
            return OutOfMemory()
        if name in _FAULTS:
            return KernelError(
                f"a kernel has failed on the device: {name}; nothing runs there until this process "
                "is started again",
                hint="CAFFE2PY_CUDA_BLOCKING=1 finds the operator",
            )
        return DeviceError(f"{call} failed: {name}")

    def _activate(self, device: int) -> None:
        """Make a device the current one of this thread."""
        # where there are several, another library may have chosen another one since
        if self._count == 1 and getattr(self._current, "device", None) == device:
            return
        with self._lock:
            if device not in self._contexts:
                handle = self._do("cuDeviceGet", device)
                self._contexts[device] = self._do("cuDevicePrimaryCtxRetain", handle)
        self._do("cuCtxSetCurrent", self._contexts[device])
        self._current.device = device

    def count(self) -> int:
        """How many there are."""
        return self._count

    def facts(self, device: int) -> Facts:
        """What the driver says of it."""
        if device not in self._facts:
            self._facts[device] = self._ask(device)
        return self._facts[device]

    def _ask(self, device: int) -> Facts:
        handle = self._do("cuDeviceGet", device)
        kinds = self._api.CUdevice_attribute
        major, minor, processors = (
            int(self._do("cuDeviceGetAttribute", getattr(kinds, kind), handle))
            for kind in (
                "CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR",
                "CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MINOR",
                "CU_DEVICE_ATTRIBUTE_MULTIPROCESSOR_COUNT",
            )
        )
        name = self._do("cuDeviceGetName", 256, handle).split(b"\0")[0].decode(errors="replace")
        memory = int(self._do("cuDeviceTotalMem", handle))
        return Facts(name, (major, minor), memory, processors)

    def free_memory(self, device: int) -> int:
        """Bytes that nobody has, in any process."""
        self._activate(device)
        return int(self._do("cuMemGetInfo")[0])

    def make_current(self, device: int) -> None:
        """Let it be the current one of this thread."""
        self._activate(device)

    # ---- memory

    def allocate(self, device: int, size: int) -> int:
        """New bytes."""
        self._activate(device)
        return int(self._do("cuMemAlloc", size))

    def release(self, device: int, address: int) -> None:
        """Give bytes back."""
        self._activate(device)
        self._do("cuMemFree", address)

    def pinned(self, device: int, size: int) -> Array:
        """Host memory that the device reads and writes by itself."""
        self._activate(device)
        return host_view(int(self._do("cuMemAllocHost", size)), size)

    def upload(self, device: int, stream: int, address: int, source: Array) -> None:
        """Queue a copy from the host."""
        self._activate(device)
        self._do("cuMemcpyHtoDAsync", address, source.ctypes.data, source.nbytes, stream)

    def download(self, device: int, stream: int, target: Array, address: int) -> None:
        """Queue a copy to the host."""
        self._activate(device)
        self._do("cuMemcpyDtoHAsync", target.ctypes.data, address, target.nbytes, stream)

    def move(
        self, device: int, stream: int, target: int, source: int, size: int, source_device: int
    ) -> None:
        """Queue a copy between places on devices."""
        if not size:
            return
        if source_device != device:
            self._activate(source_device)  # so that it has a context
        self._activate(device)
        if source_device == device:
            self._do("cuMemcpyDtoDAsync", target, source, size, stream)
            return
        here, there = self._contexts[device], self._contexts[source_device]
        self._do("cuMemcpyPeerAsync", target, here, source, there, size, stream)

    def clear(self, device: int, stream: int, address: int, size: int) -> None:
        """Queue filling with zeros."""
        self._activate(device)
        self._do("cuMemsetD8Async", address, 0, size, stream)

    # ---- streams and events

    def stream(self, device: int, *, main: bool = False) -> int:
        """One that does not wait for the legacy stream, unless it is the `main` one."""
        self._activate(device)
        return int(self._do("cuStreamCreate", 0 if main else _NON_BLOCKING))

    def event(self, device: int) -> int:
        """One without a time."""
        self._activate(device)
        return int(self._do("cuEventCreate", _NO_TIMING))

    def record(self, device: int, event: int, stream: int) -> None:
        """Let it stand for what is queued."""
        self._activate(device)
        self._do("cuEventRecord", event, stream)

    def wait(self, device: int, stream: int, event: int) -> None:
        """Let a stream wait for it."""
        self._activate(device)
        self._do("cuStreamWaitEvent", stream, event, 0)

    def wait_on_host(self, device: int, event: int) -> None:
        """Let this thread wait for it."""
        self._activate(device)
        self._do("cuEventSynchronize", event)

    def synchronize(self, device: int, stream: int) -> None:
        """Let this thread wait for all of a stream; the GIL is released meanwhile."""
        self._activate(device)
        self._do("cuStreamSynchronize", stream)

    # ---- kernels and graphs

    def load(self, device: int, code: Any, name: str) -> Any:
        """A function of a cubin, on one device."""
        self._activate(device)
        module = self._do("cuModuleLoadData", code)
        return _Load(module, self._do("cuModuleGetFunction", module, name.encode()))

    def launch(
        self,
        device: int,
        stream: int,
        function: Any,
        grid: int,
        block: int,
        parameters: Array,
        uses: Sequence[tuple[int, int]] = (),
    ) -> None:
        """Queue a kernel; the driver copies the parameters before this returns."""
        self._activate(device)
        first = parameters.ctypes.data
        places = np.arange(first, first + parameters.nbytes, 8, dtype=np.uintp)
        sizes = grid, 1, 1, block, 1, 1, 0
        self._do("cuLaunchKernel", function.function, *sizes, stream, places.ctypes.data, 0)

    def begin_capture(self, device: int, stream: int) -> None:
        """Note what this thread queues."""
        self._destroy_dropped()
        self._activate(device)
        mode = self._api.CUstreamCaptureMode.CU_STREAM_CAPTURE_MODE_THREAD_LOCAL
        self._do("cuStreamBeginCapture", stream, mode)

    def end_capture(self, device: int, stream: int) -> Any:
        """A graph, ready to run."""
        self._activate(device)
        graph = self._do("cuStreamEndCapture", stream)
        try:
            ready = self._do("cuGraphInstantiate", graph, 0)
        except BaseException:
            self._do("cuGraphDestroy", graph)
            raise
        return _Graph(self, device, graph, ready)

    def run_graph(self, device: int, stream: int, graph: Any) -> None:
        """Queue a graph."""
        self._activate(device)
        self._do("cuGraphLaunch", graph.ready, stream)

    def _destroy_dropped(self) -> None:
        """Give back graphs; the driver keeps what is still running."""
        while self.dropped:
            device, graph, ready = self.dropped.popleft()
            self._activate(device)
            self._do("cuGraphExecDestroy", ready)
            self._do("cuGraphDestroy", graph)
