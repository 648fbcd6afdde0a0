"""Rows of a table that a CUDA device runs: noted once as a graph, then queued as one thing.

Rows for the same device that follow each other become one row of the host's table. It is done when
the device is: who runs a net may look at its results at once. What goes wrong on the way is found
in words of the device's memory, one for each row that can fail, and named by operator.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator, Sequence
from typing import Any, Protocol

import numpy as np

from caffe2py.errors import Error, KernelError
from caffe2py.executor.streams import Streams
from caffe2py.registry.context import Launch, Work
from caffe2py.registry.operator import service
from caffe2py.tensor.late import late

#: What a status word holds as long as nothing is wrong; then the least (part << 32) + status.
_FINE = np.iinfo(np.int64).max


class Owner(Protocol):
    """Whoever can explain a row that failed."""

    def failure(self, launch: Launch, status: int) -> Error:
        """The error that a status means, with the operator's place."""


Row = tuple[Any, Launch]


def queued(rows: Sequence[Row], *, branched: bool = False) -> list[Row]:
    """The rows, with those of a device made into one for each stretch of them.

    `branched`: operators that do not touch each other may run at the same time.
    """
    result: list[Row] = []
    for device, stretch in _stretches(rows):
        if device is None:
            result += stretch
        else:
            run = _DeviceRun(device, stretch, branched=branched)
            result.append((run, run.launch))
    return result


def _stretches(rows: Sequence[Row]) -> Iterator[tuple[int | None, list[Row]]]:
    """Neighbouring rows of one device; None for those of the host."""
    stretch: list[Row] = []
    device: int | None = None
    for row in rows:
        work = row[1].work
        here = None if work is None else work.device
        if stretch and here != device:
            yield device, stretch
            stretch = []
        device = here
        stretch.append(row)
    if stretch:
        yield device, stretch


class _DeviceRun:
    """Launches of one device that follow each other."""

    def __init__(self, device: int, rows: Sequence[Row], *, branched: bool) -> None:
        self._device = late("tensor.cuda.devices", "cuda_device")(device)
        self._rows = rows
        self._works: list[Work] = [launch.work for _, launch in rows if launch.work is not None]
        self._streams = Streams(self._device, rows) if branched else None
        self._failing = [k for k, work in enumerate(self._works) if work.fails]
        self._words: Any = None
        self._graph: Any = None
        self._ready = False
        self.launch: Launch = service("launch_python")(self._run)

    def failure(self, launch: Launch, status: int) -> Error:
        """The error of the row that failed; it has its place already."""
        return launch.explain(status)

    def _prepare(self) -> None:
        if self._failing:
            words = np.full(len(self._failing), _FINE, np.int64)
            self._words = self._device.empty(words.shape, words.dtype)
            self._device.upload(words, self._words)
            for place, k in enumerate(self._failing):
                self._works[k].status = self._words.address + 8 * place
        for (owner, launch), work in zip(self._rows, self._works, strict=True):
            try:
                work.prepare()
            except Error as error:
                raise self._placed(owner, launch, error) from None
        self._ready = True

    def _run(self) -> None:
        if not self._ready:
            self._prepare()
        driver, index, stream = self._device.driver, self._device.index, self._device.stream
        if os.environ.get("CAFFE2PY_CUDA_BLOCKING"):
            self._run_one_by_one()
            return
        if self._graph is None:
            self._graph = self._captured()
        driver.run_graph(index, stream, self._graph)
        try:
            driver.synchronize(index, stream)
        except KernelError as error:
            names = [getattr(owner, "op", None) for owner, _ in self._rows]
            types = dict.fromkeys(op.type for op in names if op is not None)
            raise error.with_where(f"one of {', '.join(types)}") from None
        self._look()

    def _captured(self) -> Any:
        """What is queued, as a graph."""
        driver, index = self._device.driver, self._device.index
        needs = (1, 0) if self._streams is None else (self._streams.lanes, self._streams.events)
        with self._device.capture(*needs) as (streams, events):
            driver.begin_capture(index, streams[0])
            try:
                self._queue(streams, events)
            except BaseException:
                with contextlib.suppress(Error):  # it is not whole, and may be broken
                    driver.end_capture(index, streams[0])
                raise
            return driver.end_capture(index, streams[0])

    def _queue(self, streams: list[int], events: list[int]) -> None:
        if self._streams is not None:
            self._streams.queue(streams, events)
            return
        for (owner, launch), work in zip(self._rows, self._works, strict=True):
            try:
                work.queue(streams[0])
            except Error as error:
                raise self._placed(owner, launch, error) from None

    def _run_one_by_one(self) -> None:
        """Wait after each launch, so that whoever fails is known."""
        for (owner, launch), work in zip(self._rows, self._works, strict=True):
            try:
                work.queue(self._device.stream)
                self._device.synchronize()
            except Error as error:
                raise self._placed(owner, launch, error) from None
        self._look()

    def _placed(self, owner: Any, launch: Launch, error: Error) -> Error:
        where = getattr(owner, "origin", None)
        return error if where is None else error.with_where(where.where(owner.index, owner.op))

    def _look(self) -> None:
        """Raise the error of the first row that has reported one."""
        if self._words is None:
            return
        words = self._device.download(self._words)
        wrong = np.flatnonzero(words != _FINE)
        if not wrong.size:
            return
        self._device.upload(np.full_like(words, _FINE), self._words)
        k = self._failing[int(wrong[0])]
        owner, launch = self._rows[k]
        raise self._placed(owner, launch, self._works[k].error(int(words[wrong[0]])))
