"""Named 64-bit counters that operators add to and programs read."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterable

_BITS = 64


def wrapped(value: int) -> int:
    """A number as 64 bits hold it, beginning again at the other end where it does not fit."""
    half = 1 << (_BITS - 1)
    return (value + half) % (1 << _BITS) - half


class StatRegistry:
    """Counters by name; calls from several threads take turns."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._values: dict[str, int] = {}

    def add(self, amounts: Iterable[tuple[str, int]]) -> None:
        """Add to counters, which begin at 0."""
        with self._lock:
            for name, amount in amounts:
                self._values[name] = wrapped(self._values.get(name, 0) + amount)

    def assign(self, values: Iterable[tuple[str, int]]) -> None:
        """Give counters new values."""
        with self._lock:
            self._values.update(values)

    def export(self, *, reset: bool) -> list[tuple[str, int, int]]:
        """Name, value and time (nanoseconds since 1970) of each counter, in order of their names.

        With `reset` all begin at 0 again; nothing is lost in between.
        """
        with self._lock:
            now = time.time_ns()
            found = [(name, value, now) for name, value in sorted(self._values.items())]
            if reset:
                self._values = dict.fromkeys(self._values, 0)
            return found


#: The counters that operators use unless they are told otherwise.
COMMON = StatRegistry()
