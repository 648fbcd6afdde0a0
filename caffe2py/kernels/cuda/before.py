"""Sums before each place, for devices: where segments begin, which number a chosen element gets.

Few numbers are one block's work. More of them are cut into chunks, one for each thread: their sums,
the sums before each chunk, and the sums within. All numbers are whole, so all orders do.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from caffe2py.kernels.cuda.teams import block_before, blocks_for_items, segment_of, share_of_block
from caffe2py.kernels.cuda.threads import cuda
from caffe2py.kernels.jit import Kernel
from caffe2py.registry.context import Launch
from caffe2py.tensor.place import device_of, empty_on
from caffe2py.tensor.tensor import Array

__all__ = ["form_only", "launch_before", "launch_starts", "segment_of"]

#: So many numbers are one block's work; a thread takes so many of more.
_FEW, _EACH = 8192, 64


def form_only(function: Any, blocks: Any) -> Kernel:
    """A kernel that devices alone run."""
    made = Kernel(function)
    made.on_cuda(blocks)(function)
    return made


def _one(*_args: Any) -> int:
    return 1


def _starts(counts: Any) -> None:
    """Each count becomes the sum of those before it."""
    first, end = share_of_block(counts.size)
    total = 0
    for k in range(first, end):
        total += counts[k]
    at, _ = block_before(total)
    for k in range(first, end):
        count = counts[k]
        counts[k] = at
        at += count


def _before(values: Any, most: int, before: Any) -> None:
    first, end = share_of_block(values.size)
    total: Any = 0
    for k in range(first, end):
        total += np.int64(values[k])
    at, whole = block_before(total)
    for k in range(first, end):
        before[k] = min(max(at, 0), most)
        at += np.int64(values[k])
    if cuda.threadIdx.x == 0 and before.size > values.size:
        before[values.size] = min(max(whole, 0), most)


def _chunk_sums(values: Any, sums: Any) -> None:
    for c in range(cuda.grid(1), sums.size, cuda.gridsize(1)):
        total: Any = 0
        for k in range(c * _EACH, min((c + 1) * _EACH, values.size)):
            total += np.int64(values[k])
        sums[c] = total


def _chunk_before(values: Any, sums: Any, most: int, before: Any) -> None:
    for c in range(cuda.grid(1), sums.size, cuda.gridsize(1)):
        at = sums[c]
        for k in range(c * _EACH, min((c + 1) * _EACH, values.size)):
            before[k] = min(max(at, 0), most)
            at += np.int64(values[k])
        if c == sums.size - 1 and before.size > values.size:
            before[values.size] = min(max(at, 0), most)


_STARTS = form_only(_starts, _one)
_BEFORE = form_only(_before, _one)
_CHUNK_SUMS = form_only(_chunk_sums, lambda values, sums: blocks_for_items(sums.size))
_CHUNK_BEFORE = form_only(_chunk_before, lambda values, sums, *_: blocks_for_items(sums.size))


def launch_starts(counts: Array) -> Launch:
    """Each of the int64 counts becomes the sum of those before it."""
    return _STARTS(counts)


def launch_before(values: Array, before: Array, most: int = 2**62) -> list[Launch]:
    """before[k] = the sum of the integers before values[k]; behind, if there is room, that of all.

    Sums are kept within 0 and `most`, so that wrong lengths lead nowhere else.
    """
    if values.size <= _FEW:
        return [_BEFORE(values, most, before)]
    sums = empty_on(device_of(values), (-(-values.size // _EACH),), np.dtype(np.int64))
    chunks = _CHUNK_SUMS(values, sums), _STARTS(sums), _CHUNK_BEFORE(values, sums, most, before)
    return list(chunks)
