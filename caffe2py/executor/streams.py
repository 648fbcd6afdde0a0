"""Operators of one device that do not touch each other, on streams of their own.

The first stream is the device's main one: all others begin behind what was queued there, and what
comes later waits for them. An operator waits for those before it that wrote what it reads or
writes, or read what it writes; it stays on the stream of one of them where that ends with it.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from caffe2py.executor.spans import meet, spans_of
from caffe2py.registry.context import Launch

Row = tuple[Any, Launch]

#: More streams than these do not make a device busier.
_MOST = 8


class Streams:
    """Which stream each operator of a stretch is queued on, and whom it waits for."""

    def __init__(self, device: Any, rows: Sequence[Row]) -> None:
        self._device = device
        self._steps: list[list[Launch]] = []
        touched: list[tuple[Any, list[Launch]]] = []
        for k, (owner, launch) in enumerate(rows):
            if k and rows[k - 1][0] is owner:
                self._steps[-1].append(launch)
                touched[-1][1].append(launch)
            else:
                self._steps.append([launch])
                touched.append((owner, [launch]))
        spans = [spans_of(owner, launches) for owner, launches in touched]
        self._lane: list[int] = []
        self._waits: list[list[int]] = []
        last: list[int] = []
        for k, here in enumerate(spans):
            before = [j for j in range(k) if meet(spans[j], here)]
            lane = next((self._lane[j] for j in before if last[self._lane[j]] == j), None)
            if lane is None:
                # nobody's successor: a new lane, or the one that was used least lately
                lane = len(last) if len(last) < _MOST else min(range(_MOST), key=last.__getitem__)
                if lane == len(last):
                    last.append(k)
            last[lane] = k
            self._lane.append(lane)
            self._waits.append([j for j in before if self._lane[j] != lane])
        self._needed = {j for waits in self._waits for j in waits}
        driver, index = device.driver, device.index
        self._streams = [device.stream, *(driver.stream(index) for _ in last[1:])]
        self._events = {k: driver.event(index) for k in self._needed}
        self._ends = [driver.event(index) for _ in last]
        self._last = last

    def queue(self) -> None:
        """Queue all, beginning and ending on the main stream."""
        driver, index = self._device.driver, self._device.index
        main = self._streams[0]
        driver.record(index, self._ends[0], main)
        for stream in self._streams[1:]:
            driver.wait(index, stream, self._ends[0])
        for k, launches in enumerate(self._steps):
            stream = self._streams[self._lane[k]]
            for j in self._waits[k]:
                driver.wait(index, stream, self._events[j])
            for launch in launches:
                if launch.work is not None:
                    launch.work.queue(stream)
            if k in self._needed:
                driver.record(index, self._events[k], stream)
        for lane, stream in enumerate(self._streams[1:], 1):
            driver.record(index, self._ends[lane], stream)
            driver.wait(index, main, self._ends[lane])
