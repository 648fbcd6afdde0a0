"""What kernels written for a device may name: the threads they run in, and sums over a block.

A form of a kernel for devices is a plain function with the kernel's parameters. It is run by blocks
of `BLOCK` threads, so many as its `blocks` says, and sees where it is through `cuda`, as in Numba::

    @_sum_rows.on_cuda(blocks=lambda x, y: len(x))
    def _sum_rows_of_blocks(x, y):
        row = cuda.blockIdx.x
        total = x.dtype.type(0)
        for i in range(cuda.threadIdx.x, x.shape[1], cuda.blockDim.x):
            total += x[row, i]
        total = block_sum(x, total)
        if cuda.threadIdx.x == 0:
            y[row] = total

All threads of a block have to come to each barrier, so to each of the functions here.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

#: Threads of a block; a power of two. A simulated block has fewer.
BLOCK = 256

#: Elements that a thread of several takes at least.
_EACH = 4

#: Blocks that are worth having: threads of these go on to what is left.
MOST_BLOCKS = 2048


@dataclass(frozen=True)
class Size:
    """A constant of kernels that is smaller in simulated ones, so that few elements are many."""

    real: int
    simulated: int | None


class _Cuda:
    """Stands for `numba.cuda` until a kernel is compiled."""

    def __getattr__(self, name: str) -> Any:
        raise TypeError(f"cuda.{name} exists in compiled kernels only")

    def __repr__(self) -> str:
        return "cuda"


cuda: Any = _Cuda()


def threads_for(count: Any, most: Any) -> Any:
    """How many threads share `count` elements, some for each: a power of two, at most `most`."""
    threads = 1
    while threads * _EACH < count and threads < most:
        threads *= 2
    return threads


def _tree_sum(parts: Any, value: Any, group: Any, apart: Any) -> Any:
    me = cuda.threadIdx.x
    parts[me] = value
    cuda.syncthreads()
    half = group // 2
    while half >= apart:
        if me & (group - 1) < half:
            parts[me] += parts[me + half]
        cuda.syncthreads()
        half //= 2
    total = parts[me - (me & (group - 1)) + (me & (apart - 1))]
    cuda.syncthreads()
    return total


def group_sum(like: Any, value: Any, group: Any, apart: Any) -> Any:
    """The sums of the values of `group` neighbouring threads, in the type of an array's elements.

    Of these each `apart`-th has a sum of its own: threads 0, apart, 2 * apart... Both are powers of
    two. The order is that of a tree: it depends on the number of threads alone.
    """
    return _tree_sum(cuda.shared.array(BLOCK, like.dtype), value, group, apart)


def group_sum_double(value: Any, group: Any, apart: Any) -> Any:
    """The same of float64 values."""
    return _tree_sum(cuda.shared.array(BLOCK, "float64"), value, group, apart)


def block_sum(like: Any, value: Any) -> Any:
    """The sum of all threads' values, in the type of an array's elements, for each of them."""
    return group_sum(like, value, cuda.blockDim.x, 1)


def block_sum_double(value: Any) -> Any:
    """The sum of all threads' float64 values, for each of them."""
    return group_sum_double(value, cuda.blockDim.x, 1)


def group_max(like: Any, value: Any, group: Any) -> Any:
    """The largest of the values of `group` neighbouring threads, NaN if one is."""
    parts = cuda.shared.array(BLOCK, like.dtype)
    me = cuda.threadIdx.x
    parts[me] = value
    cuda.syncthreads()
    half = group // 2
    while half > 0:
        if me & (group - 1) < half:
            other = parts[me + half]
            if other > parts[me] or other != other:
                parts[me] = other
        cuda.syncthreads()
        half //= 2
    top = parts[me - (me & (group - 1))]
    cuda.syncthreads()
    return top
