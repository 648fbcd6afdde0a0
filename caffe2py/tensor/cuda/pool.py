"""Device memory in blocks that are kept for the next who wants one of that size."""

from __future__ import annotations

import collections
import sys
import threading

from caffe2py.errors import MemoryBudgetError
from caffe2py.tensor.cuda.driver import Driver, OutOfMemory
from caffe2py.tensor.memory import size_setting

#: Blocks are of multiples of this; larger ones than _LARGE of multiples of _LARGE.
_SMALL, _LARGE = 512, 2 << 20

#: Of a device without a budget of its own, what is left to others.
_SHARE = 0.95


def _rounded(size: int) -> int:
    unit = _SMALL if size <= _LARGE else _LARGE
    return max(1, -(-size // unit)) * unit


class Block:
    """Bytes of a device, which go back to their pool when nobody holds on to them any more."""

    __slots__ = ("_pool", "address", "device", "size")

    def __init__(self, pool: Pool, address: int, size: int) -> None:
        self._pool = pool
        self.device = pool.device
        self.address = address
        self.size = size

    @property
    def nbytes(self) -> int:
        """Its size, under the name that arrays have for it."""
        return self.size

    def __del__(self) -> None:
        if not sys.is_finalizing():  # then the process gives all of it back
            self._pool.take_back(self.address, self.size)


class Pool:
    """The memory of one device.

    Blocks are given out again at once: whoever gets one queues its work behind that of the one who
    had it, since every run of a net begins and ends on the device's one main stream.
    """

    def __init__(self, driver: Driver, device: int, *, keep: bool | None = None) -> None:
        """`keep`: whether blocks are kept for others; a simulated device wants to see each end."""
        self.device = device
        self._driver = driver
        self._keep = not driver.simulated if keep is None else keep
        self._lock = threading.Lock()
        self._free: dict[int, list[int]] = {}
        #: What has come back, which may happen at any moment, in any thread, with the lock taken.
        self._returned: collections.deque[tuple[int, int]] = collections.deque()
        self._taken = 0
        #: The most bytes that were ever in use.
        self.peak = 0
        self._cached = 0

    @property
    def taken(self) -> int:
        """Bytes that are in use."""
        self._settle()
        return self._taken

    @property
    def cached(self) -> int:
        """Bytes that are kept and not in use."""
        self._settle()
        return self._cached

    def allocate(self, size: int) -> Block:
        """A block of at least so many bytes, with any contents.

        Raises MemoryBudgetError when the device, or CAFFE2PY_MAX_CUDA_MEMORY, has no more.
        """
        size = _rounded(size)
        with self._lock:
            self._collect()
            addresses = self._free.get(size)
            if addresses:
                self._cached -= size
                return self._give(addresses.pop(), size)
            budget = self._budget()
            if self._taken + size > budget:
                raise self._too_much(size, budget)
            if self._taken + self._cached + size > budget:
                self._release_cached()
            try:
                address = self._driver.allocate(self.device, size)
            except OutOfMemory:
                self._release_cached()
                try:
                    address = self._driver.allocate(self.device, size)
                except OutOfMemory:
                    raise self._too_much(size, budget) from None
            return self._give(address, size)

    def _give(self, address: int, size: int) -> Block:
        self._taken += size
        self.peak = max(self.peak, self._taken)
        return Block(self, address, size)

    def _budget(self) -> int:
        setting = size_setting("CAFFE2PY_MAX_CUDA_MEMORY")
        if setting is not None:
            return setting
        return int(self._driver.facts(self.device).memory * _SHARE)

    def _too_much(self, size: int, budget: int) -> MemoryBudgetError:
        free = self._driver.free_memory(self.device)
        return MemoryBudgetError(
            f"cuda:{self.device} cannot give {size} bytes: {self._taken} are in use, {free} are "
            f"free, the budget is {budget}"
        )

    def take_back(self, address: int, size: int) -> None:
        """Note that a block is not used any more."""
        self._returned.append((address, size))
        if not self._keep:
            self._settle()

    def _settle(self) -> None:
        if self._lock.acquire(blocking=False):
            try:
                self._collect()
            finally:
                self._lock.release()

    def _collect(self) -> None:
        while self._returned:
            address, size = self._returned.popleft()
            self._taken -= size
            if self._keep:
                self._free.setdefault(size, []).append(address)
                self._cached += size
            else:
                self._driver.release(self.device, address)

    def release_cached(self) -> None:
        """Give kept blocks back to the driver."""
        with self._lock:
            self._collect()
            self._release_cached()

    def _release_cached(self) -> None:
        for addresses in self._free.values():
            for address in addresses:
                self._driver.release(self.device, address)
        self._free.clear()
        self._cached = 0
