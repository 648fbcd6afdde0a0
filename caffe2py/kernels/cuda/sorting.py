"""A stable order of integers for devices: by their digits, the lowest first, as in a card sorter.

Each thread counts the digits of a chunk, the sums before all counts are the places where they go,
and each thread brings its chunk there. Nothing is left to chance, so sums in this order are the
same in every run: those of equal keys in the order of the items.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from caffe2py.kernels.cuda.before import form_only, launch_starts
from caffe2py.kernels.cuda.teams import blocks_for_items
from caffe2py.kernels.cuda.threads import cuda
from caffe2py.registry.context import Launch
from caffe2py.tensor.place import device_of, empty_on
from caffe2py.tensor.tensor import Array

#: Bits of a digit, and keys that one thread takes.
_BITS, _EACH = 4, 128
_DIGITS = 1 << _BITS


def _digit(key: Any, shift: Any, flip: Any) -> Any:
    return ((np.int64(key) >> shift) & (_DIGITS - 1)) ^ flip


def _count(keys: Any, order: Any, ordered: bool, shift: int, flip: int, counts: Any) -> None:
    chunks = counts.size // _DIGITS
    for c in range(cuda.grid(1), chunks, cuda.gridsize(1)):
        for d in range(_DIGITS):
            counts[d * chunks + c] = 0
        for p in range(c * _EACH, min((c + 1) * _EACH, keys.size)):
            item = order[p] if ordered else p
            counts[_digit(keys[item], shift, flip) * chunks + c] += 1


def _move(
    keys: Any, order: Any, ordered: bool, shift: int, flip: int, counts: Any, moved: Any
) -> None:
    chunks = counts.size // _DIGITS
    for c in range(cuda.grid(1), chunks, cuda.gridsize(1)):
        for p in range(c * _EACH, min((c + 1) * _EACH, keys.size)):
            item = order[p] if ordered else p
            slot = _digit(keys[item], shift, flip) * chunks + c
            moved[counts[slot]] = item
            counts[slot] += 1


def _threads(*args: Any) -> int:
    return blocks_for_items(-(-args[0].size // _EACH))


_COUNT, _MOVE = form_only(_count, _threads), form_only(_move, _threads)


def launch_order(keys: Array, limit: int | None, order: Array) -> list[Launch]:
    """order = the places of the keys (int32 or int64) as they ascend, equal ones as they come.

    Keys are below `limit` and not negative; None: they may be anything.
    """
    bits = 8 * keys.itemsize if limit is None else max(1, (limit - 1).bit_length())
    passes = -(-bits // _BITS)
    device = device_of(keys)
    other = empty_on(device, order.shape, order.dtype) if passes > 1 else order
    counts = empty_on(device, (_DIGITS * -(-keys.size // _EACH),), np.dtype(np.int64))
    launches: list[Launch] = []
    if not keys.size:
        return launches
    for k in range(passes):
        target = order if (passes - 1 - k) % 2 == 0 else other
        source = other if target is order else order
        last = limit is None and k == passes - 1
        digit = (keys, source, k > 0, k * _BITS, _DIGITS // 2 if last else 0, counts)
        launches += [_COUNT(*digit), launch_starts(counts), _MOVE(*digit, target)]
    return launches
