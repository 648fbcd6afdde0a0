"""A CUDA device that is made of this process's memory, and as unkind as a real one may be.

Nothing that is queued runs before somebody waits for it, and then only what has to: a stream runs
when it is synchronised, up to the events that it waits for. So work that forgot to wait for other
work sees memory as it was before. New and released memory is filled with a pattern (NaN as floats),
and whatever touches memory that is not allocated when it runs is an error.
"""

from __future__ import annotations

import collections
import itertools
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from caffe2py.errors import DeviceError
from caffe2py.tensor.cuda.driver import Facts, OutOfMemory, host_view
from caffe2py.tensor.tensor import Array, empty

#: Bytes of a device: small enough that tests can run out of it.
MEMORY = 256 << 20

_PATTERN = 0xFF
_BYTES = np.dtype(np.uint8)


@dataclass(eq=False)
class _Step:
    """Something that is queued: an action, or waiting for (a moment of) another stream."""

    action: Callable[[], None] | None = None
    event: _Moment | None = None


@dataclass(eq=False)
class _Moment:
    """What an event stands for: so many steps of a stream."""

    stream: _Stream
    steps: int


@dataclass(eq=False)
class _Stream:
    device: int
    steps: collections.deque[_Step] = field(default_factory=collections.deque)
    queued: int = 0
    done: int = 0
    capture: Graph | None = None


@dataclass(eq=False)
class Graph:
    """What was queued during a capture: the steps of each stream that took part."""

    origin: _Stream
    steps: list[tuple[_Stream, Callable[[], None]]] = field(default_factory=list)
    joined: set[int] = field(default_factory=set)


def _nothing(_grid: int, _block: int, _values: Array) -> None:
    """What machine code does here."""


class NullDriver:
    """Devices without a GPU; see the module."""

    version = 13000

    def __init__(self, devices: int, *, simulated: bool = True) -> None:
        """With `simulated` False kernels are machine code, which is loaded and never run."""
        self.simulated = simulated
        self._devices = devices
        self._blocks: list[dict[int, Array]] = [{} for _ in range(devices)]
        self._streams: dict[int, _Stream] = {}
        self._events: dict[int, _Moment | None] = {}
        self._numbers = itertools.count(1)
        self._lock = threading.RLock()

    def count(self) -> int:
        """How many there are."""
        return self._devices

    def facts(self, device: int) -> Facts:
        """Those of a device that runs nothing fast."""
        return Facts("simulated device", (9, 0), MEMORY, 2)

    def free_memory(self, device: int) -> int:
        """Bytes that are free."""
        return MEMORY - sum(block.nbytes for block in self._blocks[device].copy().values())

    # ---- memory

    def allocate(self, device: int, size: int) -> int:
        """New bytes, all of them NaN as floats."""
        with self._lock:
            if self.free_memory(device) < size:
                raise OutOfMemory
            block = empty((size + 256,), _BYTES)
            start = -block.ctypes.data % 256
            block = block[start : start + size]
            block[...] = _PATTERN
            address = int(block.ctypes.data)
            self._blocks[device][address] = block
            return address

    def release(self, device: int, address: int) -> None:
        """Make bytes unusable; an error if they are not allocated."""
        # without the lock: arrays are let go of at any time, in the simulator's threads, too
        block = self._blocks[device].pop(address, None)
        if block is None:
            raise DeviceError(f"cuda:{device}: released {address:#x}, which is not allocated")
        block[...] = _PATTERN

    def _require(self, device: int, address: int, size: int, what: str) -> None:
        """An error unless these bytes are allocated on the device."""
        for start, block in self._blocks[device].copy().items():
            if start <= address and address + size <= start + block.nbytes:
                return
        raise DeviceError(
            f"cuda:{device}: {what} touches {size} bytes at {address:#x}, which are not allocated"
        )

    def pinned(self, device: int, size: int) -> Array:
        """Ordinary memory."""
        return empty((size,), _BYTES)

    # ---- streams

    def stream(self, device: int) -> int:
        """A new stream."""
        number = next(self._numbers)
        self._streams[number] = _Stream(device)
        return number

    def event(self, device: int) -> int:
        """A new event, which stands for nothing yet."""
        number = next(self._numbers)
        self._events[number] = None
        return number

    def record(self, device: int, event: int, stream: int) -> None:
        """Let an event stand for what is queued."""
        with self._lock:
            each = self._streams[stream]
            self._events[event] = _Moment(each, each.queued)
            if each.capture is not None:
                each.capture.joined.add(event)

    def wait(self, device: int, stream: int, event: int) -> None:
        """Let what comes wait."""
        with self._lock:
            moment, each = self._events[event], self._streams[stream]
            if moment is None:
                return
            if moment.stream.capture is not None:
                each.capture = moment.stream.capture
            else:
                self._queue(each, _Step(event=moment))

    def wait_on_host(self, device: int, event: int) -> None:
        """Run what an event stands for."""
        with self._lock:
            moment = self._events[event]
            if moment is not None:
                self._run(moment.stream, moment.steps)

    def synchronize(self, device: int, stream: int) -> None:
        """Run what is queued on a stream, and what that waits for."""
        with self._lock:
            each = self._streams[stream]
            if each.capture is not None:
                raise DeviceError(f"cuda:{device}: a stream that is captured cannot be waited for")
            self._run(each, each.queued)

    def _queue(self, stream: _Stream, step: _Step) -> None:
        stream.steps.append(step)
        stream.queued += 1

    def _run(self, stream: _Stream, until: int) -> None:
        while stream.done < until and stream.steps:
            step = stream.steps.popleft()
            stream.done += 1
            if step.event is not None:
                self._run(step.event.stream, step.event.steps)
            if step.action is not None:
                step.action()

    def _do(self, stream: int, action: Callable[[], None]) -> None:
        with self._lock:
            each = self._streams[stream]
            if each.capture is not None:
                each.capture.steps.append((each, action))
            else:
                self._queue(each, _Step(action))

    # ---- work

    def upload(self, device: int, stream: int, address: int, source: Array) -> None:
        """Copy from the host, when it comes to it."""

        def act() -> None:
            self._require(device, address, source.nbytes, "a copy to the device")
            view = host_view(address, source.nbytes)
            view[...] = source.reshape(-1).view(np.uint8)

        self._do(stream, act)

    def download(self, device: int, stream: int, target: Array, address: int) -> None:
        """Copy to the host."""

        def act() -> None:
            self._require(device, address, target.nbytes, "a copy to the host")
            target.reshape(-1).view(np.uint8)[...] = host_view(address, target.nbytes)

        self._do(stream, act)

    def move(
        self, device: int, stream: int, target: int, source: int, size: int, source_device: int
    ) -> None:
        """Copy from device to device."""

        def act() -> None:
            self._require(device, target, size, "a copy")
            self._require(source_device, source, size, "a copy")
            host_view(target, size)[...] = host_view(source, size)

        self._do(stream, act)

    def clear(self, device: int, stream: int, address: int, size: int) -> None:
        """Make bytes 0."""

        def act() -> None:
            self._require(device, address, size, "clearing")
            host_view(address, size)[...] = 0

        self._do(stream, act)

    def load(self, device: int, code: Any, name: str) -> Any:
        """A function of the simulator is what it is; machine code does nothing."""
        return code if self.simulated else _nothing

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
        """Run a Python function in the simulator, in as many threads."""
        values = parameters.copy()
        used = tuple(uses)

        def act() -> None:
            for address, size in used:
                self._require(device, address, size, f"kernel '{function.__name__}'")
            function(grid, block, values)

        self._do(stream, act)

    def begin_capture(self, device: int, stream: int) -> None:
        """Begin to note."""
        with self._lock:
            each = self._streams[stream]
            each.capture = Graph(each)

    def end_capture(self, device: int, stream: int) -> Graph:
        """What was noted; DeviceError where a stream that took part was not waited for."""
        with self._lock:
            each = self._streams[stream]
            graph = each.capture
            if graph is None or graph.origin is not each:
                raise DeviceError(f"cuda:{device}: a capture ends that has not begun")
            for other in self._streams.values():
                if other.capture is graph:
                    other.capture = None
            return graph

    def run_graph(self, device: int, stream: int, graph: Graph) -> None:
        """Queue the steps of a graph."""
        for _, action in graph.steps:
            self._do(stream, action)
