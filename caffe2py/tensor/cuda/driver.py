"""What there is of a CUDA driver: the few calls that all else is made of."""

from __future__ import annotations

import ctypes
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

from caffe2py.tensor.tensor import Array

__all__ = ["Driver", "Facts", "OutOfMemory", "host_view"]


def host_view(address: int, size: int) -> Array:
    """Bytes of this process's memory as an array."""
    return np.ctypeslib.as_array((ctypes.c_uint8 * size).from_address(address))


class OutOfMemory(Exception):  # noqa: N818 - never seen by users: the pool makes an error of it
    """The device has no block of this size left."""


@dataclass(frozen=True)
class Facts:
    """What one device is: bytes of memory, (major, minor) capability, number of processors."""

    name: str
    capability: tuple[int, int]
    memory: int
    processors: int


class Driver(Protocol):
    """Devices, by number. Addresses, streams, events and functions are plain handles.

    Copies, launches and events are queued on a stream, and what is queued on one runs in order. All
    failures are DeviceErrors; OutOfMemory where a device has none left.
    """

    #: Whether kernels are Python functions of the simulator, not machine code.
    simulated: bool

    #: Whether NVIDIA's libraries compute on these devices.
    runs_libraries: bool

    @property
    def version(self) -> int:
        """The CUDA version of the driver: 13020 for 13.2."""

    def count(self) -> int:
        """How many devices there are."""

    def facts(self, device: int) -> Facts:
        """What a device is."""

    def free_memory(self, device: int) -> int:
        """Bytes that are free on a device."""

    def make_current(self, device: int) -> None:
        """Let a device be the one that libraries use, in this thread."""

    def allocate(self, device: int, size: int) -> int:
        """The address of `size` > 0 new bytes, a multiple of 256."""

    def release(self, device: int, address: int) -> None:
        """Give back what `allocate` gave."""

    def pinned(self, device: int, size: int) -> Array:
        """Host memory of `size` bytes that copies reach directly, kept for good."""

    def stream(self, device: int, *, main: bool = False) -> int:
        """A new stream.

        The `main` one and the legacy stream, on which other libraries queue, wait for each other.
        """

    def event(self, device: int) -> int:
        """A new event."""

    def record(self, device: int, event: int, stream: int) -> None:
        """Let an event stand for all that is queued on a stream so far."""

    def wait(self, device: int, stream: int, event: int) -> None:
        """Let all that is queued on a stream from now on come after an event."""

    def wait_on_host(self, device: int, event: int) -> None:
        """Return when what an event stands for is done."""

    def synchronize(self, device: int, stream: int) -> None:
        """Return when all that is queued on a stream is done."""

    def upload(self, device: int, stream: int, address: int, source: Array) -> None:
        """Copy pinned or lasting host memory to a device; it must not change until that is done."""

    def download(self, device: int, stream: int, target: Array, address: int) -> None:
        """Copy from a device to host memory, which holds it after `synchronize`."""

    def move(
        self, device: int, stream: int, target: int, source: int, size: int, source_device: int
    ) -> None:
        """Copy bytes from the memory of one device to that of `device`."""

    def clear(self, device: int, stream: int, address: int, size: int) -> None:
        """Make bytes 0."""

    def load(self, device: int, code: Any, name: str) -> Any:
        """A function from machine code, or from what stands for it in the simulator."""

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
        """Run a function by `grid` blocks of `block` threads.

        `parameters` holds its arguments, one in each 8 bytes. `uses` are (address, size) of memory
        that it may touch, which only a simulated device looks at.
        """

    def begin_capture(self, device: int, stream: int) -> None:
        """Note what is queued on a stream, and on those that wait for it, instead of running it."""

    def end_capture(self, device: int, stream: int) -> Any:
        """What was noted since, as a graph."""

    def run_graph(self, device: int, stream: int, graph: Any) -> None:
        """Queue a graph."""
