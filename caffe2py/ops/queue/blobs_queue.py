"""The queue of records: each a tuple of blobs' values; bounded, blocking, closable."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Sequence
from typing import Any

from caffe2py.registry.statistics import COMMON


def size_in_bytes(value: Any) -> int:
    """How many bytes a value takes: the elements of a tensor, the characters of strings."""
    if hasattr(value, "dtype"):
        if value.dtype == object:
            return sum(len(text) for text in value.reshape(-1) if isinstance(text, bytes))
        return int(value.nbytes)
    return len(value) if isinstance(value, bytes) else 0


class BlobsQueue:
    """At most `capacity` records of `num_blobs` values each, first in, first out.

    Counts under its name in the common statistics: what is in it, records and bytes taken out
    (bytes by field too, if the fields have names), nanoseconds spent in reading and in writing.
    """

    def __init__(
        self, name: str, capacity: int, num_blobs: int, field_names: Sequence[str] = ()
    ) -> None:
        self.name = name
        self.num_blobs = num_blobs
        self._capacity = capacity
        self._fields = list(field_names)
        self._records: deque[tuple[Any, ...]] = deque()
        self._changed = threading.Condition()
        self._closed = False
        details = [f"queue_dequeued_bytes/{field}" for field in self._fields]
        times = [f"{way}_time_ns/{part}" for way in ("read", "write") for part in ("sum", "count")]
        own = ["queue_balance", "queue_dequeued_records", "queue_dequeued_bytes"]
        self._count(*((key, 0) for key in (*own, *details, *times)))

    def write(self, record: tuple[Any, ...]) -> bool:
        """Add a record as soon as there is room; False if the queue is full and closed."""
        began = time.perf_counter_ns()
        with self._changed:
            self._count(("queue_balance", 1))
            self._changed.wait_for(lambda: self._closed or len(self._records) < self._capacity)
            if len(self._records) >= self._capacity:
                return False
            self._records.append(record)
            self._changed.notify_all()
            self._count(*self._timed("write", began))
        return True

    def read(self, timeout: float = 0.0) -> tuple[Any, ...] | None:
        """Take a record as soon as there is one; None if the queue is empty and closed.

        With a timeout in seconds also None when it has passed.
        """
        began = time.perf_counter_ns()
        with self._changed:
            self._count(("queue_balance", -1))
            ready = self._changed.wait_for(
                lambda: self._closed or bool(self._records), timeout if timeout > 0 else None
            )
            if not ready or not self._records:
                return None
            record = self._records.popleft()
            self._changed.notify_all()
            self._count(*self._timed("read", began), *self._taken(record))
        return record

    def close(self) -> None:
        """Let nobody wait any more: what is in the queue can be read, what has room be written."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()

    cancel = close

    @property
    def closed(self) -> bool:
        """Whether it was closed."""
        return self._closed

    def _timed(self, way: str, began: int) -> list[tuple[str, int]]:
        took = time.perf_counter_ns() - began
        return [(f"{way}_time_ns/sum", took), (f"{way}_time_ns/count", 1)]

    def _taken(self, record: tuple[Any, ...]) -> list[tuple[str, int]]:
        sizes = [size_in_bytes(value) for value in record]
        details = zip(self._fields, sizes, strict=False)
        return [
            ("queue_dequeued_records", 1),
            ("queue_dequeued_bytes", sum(sizes)),
            *((f"queue_dequeued_bytes/{field}", size) for field, size in details),
        ]

    def _count(self, *amounts: tuple[str, int]) -> None:
        COMMON.add((f"{self.name}/{key}", amount) for key, amount in amounts)
