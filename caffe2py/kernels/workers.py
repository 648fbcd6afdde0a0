"""Threads that help a run: each of them takes parts of whatever group of launches is up.

A group is published as one word: its number, how many parts it has, and the next part to take. A
thread takes a part by raising the word by one, which fails if the word has changed meanwhile, so a
thread that comes late can never take a part of a group that is over. The publishing thread takes
parts too and goes on when all are done; parts may be done by any thread, in any order, and as parts
are cut by shapes alone, results do not depend on how many threads there are.

Between groups the helpers wait without sleeping, which answers in a fraction of a microsecond; who
waits gives way to others that need the processor. A while after a run the helpers go to sleep.
"""

from __future__ import annotations

import atexit
import os
import threading
from typing import Any

import numpy as np

from caffe2py.kernels.atomic import (
    atomic_add,
    atomic_exchange,
    atomic_load,
    atomic_store,
    give_way,
    pause,
)
from caffe2py.kernels.jit import callable_at, kernel
from caffe2py.kernels.params import call_kernel
from caffe2py.registry.threads import thread_count

#: A group has at most so many parts.
MOST_PARTS = 64

#: Places in the array that all threads share; those that change often have cache lines of their
#: own. _PARTS begins a list of (function, block, status).
_WORD, _DONE, _RUNNING, _PARTS = 0, 8, 16, 24

#: What _RUNNING says: nobody needs help now, somebody does, or never again.
_NOT_NOW, _NOW, _NEVER = range(3)

#: The word: number of the group, number of parts (8 bits), next part (8 bits).
_PART_BITS = 8
_PART_MASK = (1 << _PART_BITS) - 1
_GROUP_SHIFT = 2 * _PART_BITS

#: One turn of waiting in so many lets another thread have the processor.
_TURNS = 64

#: How often a helper looks for work in vain, some 20 ns each time, before it goes to sleep.
_PATIENCE = 20_000

#: Seconds that a run which goes on when the process ends has to come to its own end.
_LAST_RUN = 5


def publish(shared, functions, blocks, first, count):
    """Let all threads take parts: the launches from `first` on."""
    for k in range(count):
        atomic_store(shared, _PARTS + 3 * k, functions[first + k])
        atomic_store(shared, _PARTS + 3 * k + 1, blocks[first + k])
    atomic_store(shared, _DONE, 0)
    group = (atomic_load(shared, _WORD) >> _GROUP_SHIFT) + 1
    atomic_store(shared, _WORD, (group << _GROUP_SHIFT) | (count << _PART_BITS))


def take_parts(shared):
    """Run parts of the published group until all have been taken; whether there was one."""
    found = False
    while True:
        word = atomic_load(shared, _WORD)
        part = word & _PART_MASK
        if part >= (word >> _PART_BITS) & _PART_MASK:
            return found
        place = _PARTS + 3 * part
        function, block = atomic_load(shared, place), atomic_load(shared, place + 1)
        if atomic_exchange(shared, _WORD, word, word + 1):
            found = True
            atomic_store(shared, place + 2, np.int64(call_kernel(function, block)))
            atomic_add(shared, _DONE, 1)


def wait(turn):
    """One turn of waiting: short, and now and then long enough for whoever needs the processor."""
    if turn % _TURNS == _TURNS - 1:
        give_way()
    else:
        pause()


def finish(shared, count):
    """Wait until all parts are done; the first that failed, or -1."""
    turn = 0
    while atomic_load(shared, _DONE) < count:
        wait(turn)
        turn += 1
    for k in range(count):
        if atomic_load(shared, _PARTS + 3 * k + 2) != 0:
            return k
    return -1


def status_of(shared, part):
    """What a part of the last group returned."""
    return atomic_load(shared, _PARTS + 3 * part + 2)


@kernel()
def _help(shared: Any, patience: int) -> None:
    """What a helper does from waking up until it has waited long enough."""
    idle = turn = 0
    while idle < patience and atomic_load(shared, _RUNNING) != _NEVER:
        if take_parts(shared):
            idle = turn = 0
            continue
        wait(turn)
        turn += 1
        if atomic_load(shared, _RUNNING) == _NOT_NOW:
            idle += 1


class _Helper(threading.Thread):
    """Helps while it is awake."""

    def __init__(self, workers: Workers, number: int) -> None:
        super().__init__(name=f"caffe2py-{number}", daemon=True)
        self._call, self._block = workers.duty
        self._bell = threading.Semaphore(0)
        self.asleep = self._over = False

    def wake(self) -> None:
        """Let it help; nothing if it is awake."""
        if self.asleep:
            self.asleep = False
            self._bell.release()

    def run(self) -> None:
        """Help, sleep, help, ... until it is to `stop`."""
        while not self._over:
            self._call(self._block)
            self.asleep = True
            self._bell.acquire()

    def stop(self) -> None:
        """End it; it must not run on while what it reads is taken away."""
        self._over = True
        self._bell.release()
        self.join()


class Workers:
    """The helpers of this process. One run at a time has them; others do their work themselves."""

    def __init__(self) -> None:
        self.shared = np.zeros(_PARTS + 3 * MOST_PARTS, np.int64)
        self._taken = threading.Lock()
        self._helpers: list[_Helper] = []
        self._launch = _help(self.shared, _PATIENCE)
        self.duty = callable_at(self._launch.address), self._launch.block.ctypes.data

    def borrow(self) -> bool:
        """Whether the caller now has the helpers, awake; then it has to `release` them."""
        wanted = thread_count() - 1
        if wanted < 1 or not self._taken.acquire(blocking=False):
            return False
        try:
            while len(self._helpers) < wanted:
                helper = _Helper(self, len(self._helpers) + 1)
                helper.start()
                self._helpers.append(helper)
        except RuntimeError:  # the system gives no more threads: those that there are help
            pass
        except BaseException:
            self._taken.release()
            raise
        self.shared[_RUNNING] = _NOW
        for helper in self._helpers[:wanted]:
            helper.wake()
        return True

    def release(self) -> None:
        """Let others have the helpers."""
        self.shared[_RUNNING] = _NOT_NOW
        self._taken.release()

    def stop(self) -> None:
        """End all helpers, before the process takes its memory away."""
        self._taken.acquire(timeout=_LAST_RUN)
        self.shared[_RUNNING] = _NEVER
        for helper in self._helpers:
            helper.stop()


_workers: Workers | None = None
_making = threading.Lock()


def workers() -> Workers:
    """The helpers of this process, made when they are first needed."""
    global _workers
    if _workers is None:
        with _making:  # of two, one would be taken away while its helpers still look at it
            if _workers is None:
                _workers = Workers()
    return _workers


def _forget() -> None:
    """Threads do not survive a fork: the child makes its own."""
    global _workers, _making
    _workers, _making = None, threading.Lock()


def _stop() -> None:
    if _workers is not None:
        _workers.stop()


os.register_at_fork(after_in_child=_forget)
atexit.register(_stop)
