"""Caffe2's timeout_guard module: end a process that hangs.

with timeout_guard.CompleteInTimeOrDie(10.0):
    workspace.RunNet(net)
"""

from __future__ import annotations

import faulthandler
import logging
import os
import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager

__all__ = ["CompleteInTimeOrDie", "EuthanizeIfNecessary", "WatcherThread"]

log = logging.getLogger(__name__)

#: Seconds between asking the process to end and aborting it.
_GRACE = 10.0


class WatcherThread(threading.Thread):
    """Ends the process unless `complete` is called in time: an interrupt first, then an abort.

    Before both, the stacks of all threads are written to stderr.
    """

    def __init__(self, timeout_secs: float) -> None:
        super().__init__(daemon=True, name="caffe2py timeout guard")
        self.timeout_secs = timeout_secs
        self._done = threading.Event()

    def complete(self) -> None:
        """Say that what was watched has ended."""
        self._done.set()

    def run(self) -> None:
        """Wait, and end the process if it is time."""
        if self._done.wait(self.timeout_secs):
            return
        log.error(
            "Call did not finish in time. Timeout:%ss PID: %s", self.timeout_secs, os.getpid()
        )
        _dump()
        os.kill(os.getpid(), signal.SIGINT)
        if not self._done.wait(_GRACE):
            log.error("Process did not terminate cleanly in %s s, forcing", _GRACE)
            _dump()
            os.abort()


def _dump() -> None:
    try:
        faulthandler.dump_traceback(sys.stderr)
    except (AttributeError, OSError, ValueError):  # stderr may be no real file
        log.error("the stacks cannot be written to stderr")


@contextmanager
def CompleteInTimeOrDie(timeout_secs: float) -> Iterator[None]:
    """End the process if the block takes longer than `timeout_secs` seconds."""
    watcher = WatcherThread(timeout_secs)
    watcher.start()
    try:
        yield
    finally:
        watcher.complete()


def EuthanizeIfNecessary(timeout_secs: float = 120) -> None:
    """End the process if it still runs after `timeout_secs` seconds."""
    WatcherThread(timeout_secs).start()
