"""A CUDA device that is made of this process's memory, and as unkind as a real one may be.

Nothing that is queued runs before somebody waits for it, and then only what has to: a stream runs
when it is synchronised, up to the events that it waits for. So work that forgot to wait for other
work sees memory as it was before. A graph keeps what its streams had to wait for and no other
order: of what may run, that which was noted last runs first. New and released memory is filled with
a pattern (NaN as floats), and whatever touches memory that is not the one it was queued for, or not
allocated any more, is an error. So is what the real driver refuses while a graph is noted.
"""

from __future__ import annotations

import collections
import heapq
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

#: The driver's names for the stream that all libraries share, and for that of each thread.
_LEGACY = (1, 2)

Action = Callable[[], None]


@dataclass(eq=False)
class _Step:
    """Something that is queued: an action, or waiting for (a moment of) another stream."""

    action: Action | None = None
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
    capture: _Capture | None = None


@dataclass(eq=False)
class Graph:
    """What was queued during a capture: actions, each with those that it has to come after."""

    device: int
    nodes: list[tuple[Action, frozenset[int]]] = field(default_factory=list)

    def run(self) -> None:
        """Run all, the latest that may run first."""
        followers: dict[int, list[int]] = collections.defaultdict(list)
        missing = [len(before) for _, before in self.nodes]
        for k, (_, before) in enumerate(self.nodes):
            for j in before:
                followers[j].append(k)
        ready = [-k for k, count in enumerate(missing) if not count]
        heapq.heapify(ready)
        while ready:
            k = -heapq.heappop(ready)
            self.nodes[k][0]()
            for follower in followers[k]:
                missing[follower] -= 1
                if not missing[follower]:
                    heapq.heappush(ready, -follower)


@dataclass(eq=False)
class _Capture:
    """A graph that is being noted: the last nodes of each stream that takes part."""

    origin: _Stream
    graph: Graph
    thread: int
    last: dict[_Stream, frozenset[int]] = field(default_factory=dict)
    broken: str = ""

    def add(self, stream: _Stream, action: Action) -> None:
        """Note an action behind what a stream has noted, or waits for."""
        self.graph.nodes.append((action, self.last[stream]))
        self.last[stream] = frozenset({len(self.graph.nodes) - 1})

    def before(self, nodes: frozenset[int]) -> set[int]:
        """These nodes and all that they come after."""
        found: set[int] = set()
        left = list(nodes)
        while left:
            k = left.pop()
            if k not in found:
                found.add(k)
                left += self.graph.nodes[k][1]
        return found


@dataclass(eq=False)
class _Noted:
    """What an event stands for that was recorded during a capture."""

    capture: _Capture
    nodes: frozenset[int]


@dataclass(eq=False)
class _Event:
    device: int
    stands_for: _Moment | _Noted | None = None


def _nothing(_grid: int, _block: int, _values: Array) -> None:
    """What machine code does here."""


class NullDriver:
    """Devices without a GPU; see the module."""

    version = 13000
    runs_libraries = False

    def __init__(self, devices: int, *, simulated: bool = True) -> None:
        """With `simulated` False kernels are machine code, which is loaded and never run."""
        self.simulated = simulated
        self._devices = devices
        self._blocks: list[dict[int, Array]] = [{} for _ in range(devices)]
        self._streams = {number: _Stream(0) for number in _LEGACY}
        self._events: dict[int, _Event] = {}
        self._numbers = itertools.count(16)
        self._lock = threading.RLock()
        self._captures: list[_Capture] = []

    def count(self) -> int:
        """How many there are."""
        return self._devices

    def facts(self, device: int) -> Facts:
        """Those of a device that runs nothing fast."""
        return Facts("simulated device", (9, 0), MEMORY, 2)

    def free_memory(self, device: int) -> int:
        """Bytes that are free."""
        return MEMORY - sum(block.nbytes for block in self._blocks[device].copy().values())

    def make_current(self, device: int) -> None:
        """All that it has is this process's."""

    # ---- memory

    def allocate(self, device: int, size: int) -> int:
        """New bytes, all of them NaN as floats."""
        with self._lock:
            self._refuse_capturing(device, "memory is asked for")
            if size <= 0:
                raise DeviceError(f"cuda:{device}: {size} bytes cannot be allocated")
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

    def _claim(self, device: int, address: int, size: int, what: str) -> Action:
        """Look for memory that is used when something is queued; what looks again when it runs."""
        claimed = self._block_of(device, address, size)
        if size and claimed is None:
            raise self._not_allocated(device, address, size, what)

        def still_there() -> None:
            if size and self._block_of(device, address, size) is not claimed:
                raise self._not_allocated(device, address, size, what)

        return still_there

    def _block_of(self, device: int, address: int, size: int) -> Array | None:
        for start, block in self._blocks[device].copy().items():
            if start <= address and address + size <= start + block.nbytes:
                return block
        return None

    def _not_allocated(self, device: int, address: int, size: int, what: str) -> DeviceError:
        return DeviceError(
            f"cuda:{device}: {what} touches {size} bytes at {address:#x}, which are not allocated"
        )

    def pinned(self, device: int, size: int) -> Array:
        """Ordinary memory."""
        self._refuse_capturing(device, "memory is asked for")
        return empty((size,), _BYTES)

    # ---- streams

    def stream(self, device: int, *, main: bool = False) -> int:
        """A new stream."""
        self._refuse_capturing(device, "a stream is made")
        number = next(self._numbers)
        self._streams[number] = _Stream(device)
        return number

    def event(self, device: int) -> int:
        """A new event, which stands for nothing yet."""
        self._refuse_capturing(device, "an event is made")
        number = next(self._numbers)
        self._events[number] = _Event(device)
        return number

    def _stream_of(self, device: int, number: int) -> _Stream:
        found = self._streams.get(number)
        if found is None or (found.device != device and number not in _LEGACY):
            raise DeviceError(f"cuda:{device}: {number} is no stream of it")
        return found

    def _event_of(self, number: int) -> _Event:
        found = self._events.get(number)
        if found is None:
            raise DeviceError(f"{number} is no event")
        return found

    def record(self, device: int, event: int, stream: int) -> None:
        """Let an event stand for what is queued."""
        with self._lock:
            each, noted = self._stream_of(device, stream), self._event_of(event)
            if noted.device != device:
                raise DeviceError(f"cuda:{device}: event {event} is one of cuda:{noted.device}")
            if each.capture is None:
                noted.stands_for = _Moment(each, each.queued)
            else:
                noted.stands_for = _Noted(each.capture, each.capture.last[each])

    def wait(self, device: int, stream: int, event: int) -> None:
        """Let what comes wait."""
        with self._lock:
            moment, each = self._event_of(event).stands_for, self._stream_of(device, stream)
            if isinstance(moment, _Noted):
                self._join(each, moment)
            elif moment is not None and each.capture is not None:
                raise self._break(each.capture, "it waits for an event from before the capture")
            elif moment is not None:
                self._queue(each, _Step(event=moment))

    def _join(self, stream: _Stream, noted: _Noted) -> None:
        """Let a stream take part in a capture, behind an event of it."""
        capture = noted.capture
        if capture not in self._captures:
            raise DeviceError("an event that was recorded for a graph stands for nothing outside")
        if stream.capture not in (None, capture):
            raise self._break(capture, "it waits for an event of another capture")
        stream.capture = capture
        capture.last[stream] = capture.last.get(stream, frozenset()) | noted.nodes

    def _break(self, capture: _Capture, why: str) -> DeviceError:
        """The error for what a capture does not survive."""
        capture.broken = capture.broken or why
        return DeviceError(f"cuda:{capture.graph.device}: a graph is being noted, and {why}")

    def _refuse_capturing(self, device: int, what: str) -> None:
        """What a thread may not do while it notes a graph."""
        for capture in self._captures:
            if capture.thread == threading.get_ident():
                raise self._break(capture, f"{what} in the same thread")

    def wait_on_host(self, device: int, event: int) -> None:
        """Run what an event stands for."""
        with self._lock:
            self._refuse_capturing(device, "the host waits")
            moment = self._event_of(event).stands_for
            if isinstance(moment, _Noted):
                raise self._break(moment.capture, "the host waits for an event of it")
            if moment is not None:
                self._run(moment.stream, moment.steps)

    def synchronize(self, device: int, stream: int) -> None:
        """Run what is queued on a stream, and what that waits for."""
        with self._lock:
            each = self._stream_of(device, stream)
            if each.capture is not None:
                raise self._break(each.capture, "the host waits for a stream of it")
            self._refuse_capturing(device, "the host waits")
            self._run(each, each.queued)

    def _queue(self, stream: _Stream, step: _Step) -> None:
        stream.steps.append(step)
        stream.queued += 1

    def _run(self, stream: _Stream, until: int) -> None:
        while stream.done < until and stream.steps:
            step = stream.steps.popleft()
            stream.done += 1
            try:
                if step.event is not None:
                    self._run(step.event.stream, step.event.steps)
                if step.action is not None:
                    step.action()
            except BaseException:
                # a device does nothing more after a fault
                stream.steps.clear()
                stream.done = stream.queued
                raise

    def _do(self, device: int, stream: int, action: Action) -> None:
        each = self._stream_of(device, stream)
        if each.capture is not None:
            each.capture.add(each, action)
        else:
            self._queue(each, _Step(action))

    # ---- work

    def upload(self, device: int, stream: int, address: int, source: Array) -> None:
        """Copy from the host, when it comes to it."""
        with self._lock:
            check = self._claim(device, address, source.nbytes, "a copy to the device")

            def act() -> None:
                check()
                view = host_view(address, source.nbytes)
                view[...] = source.reshape(-1).view(np.uint8)

            self._do(device, stream, act)

    def download(self, device: int, stream: int, target: Array, address: int) -> None:
        """Copy to the host."""
        with self._lock:
            check = self._claim(device, address, target.nbytes, "a copy to the host")

            def act() -> None:
                check()
                target.reshape(-1).view(np.uint8)[...] = host_view(address, target.nbytes)

            self._do(device, stream, act)

    def move(
        self, device: int, stream: int, target: int, source: int, size: int, source_device: int
    ) -> None:
        """Copy from device to device."""
        with self._lock:
            checks = (
                self._claim(device, target, size, "a copy"),
                self._claim(source_device, source, size, "a copy"),
            )

            def act() -> None:
                for check in checks:
                    check()
                host_view(target, size)[...] = host_view(source, size)

            self._do(device, stream, act)

    def clear(self, device: int, stream: int, address: int, size: int) -> None:
        """Make bytes 0."""
        with self._lock:
            check = self._claim(device, address, size, "clearing")

            def act() -> None:
                check()
                host_view(address, size)[...] = 0

            self._do(device, stream, act)

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
        what = f"kernel '{function.__name__}'"
        with self._lock:
            checks = [self._claim(device, address, size, what) for address, size in uses]

            def act() -> None:
                for check in checks:
                    check()
                function(grid, block, values)

            self._do(device, stream, act)

    # ---- graphs

    def begin_capture(self, device: int, stream: int) -> None:
        """Begin to note."""
        with self._lock:
            each = self._stream_of(device, stream)
            if each.capture is not None:
                raise self._break(each.capture, "another capture of its stream begins")
            each.capture = _Capture(each, Graph(device), threading.get_ident())
            each.capture.last[each] = frozenset()
            self._captures.append(each.capture)

    def end_capture(self, device: int, stream: int) -> Graph:
        """What was noted; DeviceError where a stream that took part was not waited for."""
        with self._lock:
            each = self._stream_of(device, stream)
            capture = each.capture
            if capture is None or capture.origin is not each:
                raise DeviceError(f"cuda:{device}: a capture ends that has not begun")
            if capture.thread != threading.get_ident():
                raise self._break(capture, "another thread ends it")
            self._captures.remove(capture)
            for other in capture.last:
                other.capture = None
            if capture.broken:
                raise DeviceError(f"cuda:{device}: there is no graph: {capture.broken}")
            joined = capture.before(capture.last[each])
            if not all(last <= joined for last in capture.last.values()):
                raise DeviceError(
                    f"cuda:{device}: there is no graph: a stream that took part was not waited for"
                )
            return capture.graph

    def run_graph(self, device: int, stream: int, graph: Graph) -> None:
        """Queue the nodes of a graph."""
        with self._lock:
            if graph.device != device:
                raise DeviceError(f"cuda:{device}: the graph is one of cuda:{graph.device}")
            self._do(device, stream, graph.run)
