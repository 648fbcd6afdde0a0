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

from typing import Any

#: Threads of a block; a power of two. A simulated block has fewer.
BLOCK = 256


class _Cuda:
    """Stands for `numba.cuda` until a kernel is compiled."""

    def __getattr__(self, name: str) -> Any:
        raise TypeError(f"cuda.{name} exists in compiled kernels only")

    def __repr__(self) -> str:
        return "cuda"


cuda: Any = _Cuda()


def block_sum(like: Any, value: Any) -> Any:
    """The sum of all threads' values, in the type of an array's elements, for each of them.

    The order is that of a tree: it depends on the number of threads alone.
    """
    parts = cuda.shared.array(BLOCK, like.dtype)
    me = cuda.threadIdx.x
    parts[me] = value
    cuda.syncthreads()
    half = cuda.blockDim.x // 2
    while half > 0:
        if me < half:
            parts[me] += parts[me + half]
        cuda.syncthreads()
        half //= 2
    total = parts[0]
    cuda.syncthreads()
    return total


def block_sum_double(value: Any) -> Any:
    """The sum of all threads' float64 values, for each of them."""
    parts = cuda.shared.array(BLOCK, "float64")
    me = cuda.threadIdx.x
    parts[me] = value
    cuda.syncthreads()
    half = cuda.blockDim.x // 2
    while half > 0:
        if me < half:
            parts[me] += parts[me + half]
        cuda.syncthreads()
        half //= 2
    total = parts[0]
    cuda.syncthreads()
    return total


def block_max(like: Any, value: Any) -> Any:
    """The largest of all threads' values, NaN if one is, for each of them."""
    parts = cuda.shared.array(BLOCK, like.dtype)
    me = cuda.threadIdx.x
    parts[me] = value
    cuda.syncthreads()
    half = cuda.blockDim.x // 2
    while half > 0:
        if me < half:
            other = parts[me + half]
            if other > parts[me] or other != other:
                parts[me] = other
        cuda.syncthreads()
        half //= 2
    top = parts[0]
    cuda.syncthreads()
    return top
