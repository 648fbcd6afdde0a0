"""Operators of one device that do not touch each other, on streams of their own.

They are noted as a graph. The first stream is the one that it is noted on: all others begin behind
what was queued there, and what comes later waits for them. An operator waits for those before it
that wrote what it reads or writes, or read what it writes; it stays on the stream of one of them
where that ends with it.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from caffe2py.executor.spans import Spans, spans_of
from caffe2py.registry.context import Launch

Row = tuple[Any, Launch]

#: More streams than these do not make a device busier.
_MOST = 8


def _befores(all_spans: Sequence[Spans]) -> Iterator[list[int]]:
    """By step: those before it that write what it touches, or touch what it writes."""
    pieces = [
        (*span, k, is_written)
        for k, spans in enumerate(all_spans)
        for is_written, of_kind in ((0, spans.read), (1, spans.written))
        for span in of_kind
    ]
    begins, ends, steps, written = np.array(pieces, np.int64).reshape(-1, 4).T
    own = 0
    for k in range(len(all_spans)):
        first, own = own, int(np.searchsorted(steps, k, "right"))
        found: set[int] = set()
        for begin, end, is_written in zip(
            begins[first:own], ends[first:own], written[first:own], strict=True
        ):
            meets = (begins[:first] < end) & (begin < ends[:first])
            found.update(steps[:first][meets & (is_written | written[:first] > 0)].tolist())
        yield sorted(found)


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
        #: By step: of each lane, how many of the first steps are done when it is.
        done: list[NDArray[np.int64]] = []
        for k, before in enumerate(_befores(spans)):
            lane = next((self._lane[j] for j in before if last[self._lane[j]] == j), None)
            if lane is None:
                # nobody's successor: a new lane, or the one that was used least lately
                lane = len(last) if len(last) < _MOST else min(range(_MOST), key=last.__getitem__)
                if lane == len(last):
                    last.append(k)
            sure = np.zeros(_MOST, np.int64)
            if last[lane] < k:
                sure = done[last[lane]].copy()
            waits = []
            for j in reversed(before):
                if sure[self._lane[j]] <= j:  # nobody else whom it waits for has waited for it
                    waits.append(j)
                    np.maximum(sure, done[j], out=sure)
            sure[lane] = k + 1
            done.append(sure)
            last[lane] = k
            self._lane.append(lane)
            self._waits.append(waits)
        self._needed = {j for waits in self._waits for j in waits}
        #: How many streams and events it takes.
        self.lanes = len(last)
        self.events = self.lanes + len(self._needed)

    def queue(self, streams: Sequence[int], ends: Sequence[int]) -> None:
        """Queue all, beginning and ending on the first stream; `ends` are so many `events`."""
        driver, index = self._device.driver, self._device.index
        events = dict(zip(self._needed, ends[self.lanes :], strict=True))
        main = streams[0]
        driver.record(index, ends[0], main)
        for stream in streams[1:]:
            driver.wait(index, stream, ends[0])
        for k, launches in enumerate(self._steps):
            stream = streams[self._lane[k]]
            for j in self._waits[k]:
                driver.wait(index, stream, events[j])
            for launch in launches:
                if launch.work is not None:
                    launch.work.queue(stream)
            if k in self._needed:
                driver.record(index, events[k], stream)
        for lane, stream in enumerate(streams[1:], 1):
            driver.record(index, ends[lane], stream)
            driver.wait(index, main, ends[lane])
