"""Launches of a plan, with elementwise ones in a row made into one pass over memory.

Nobody can tell afterwards: whatever is read later, or may be looked at, is written as before.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from caffe2py.executor.bind import BoundOperator
from caffe2py.executor.spans import kept_arrays
from caffe2py.registry.context import Launch, Map
from caffe2py.registry.operator import service
from caffe2py.tensor.place import overlap
from caffe2py.tensor.tensor import Array

#: Smaller arrays stay in the first-level cache, and their loops need no compiler.
_LEAST = 16_384

#: More maps, or arrays, than these in one loop do not fit the processor's registers.
_MOST_MAPS = 24
_MOST_ARRAYS = 16

Row = tuple[BoundOperator, Launch]


def join_maps(rows: Sequence[Row], hidden: Sequence[Array] = ()) -> list[Row]:
    """The rows, with neighbouring maps of one size joined and long launches in parts.

    `hidden` are arrays that nobody looks at after the last row.
    """
    result: list[Row] = []
    i = 0
    while i < len(rows):
        group = list(_group(rows, i))
        if not group or (len(group) == 1 and rows[i][1].work is not None):
            owner, launch = rows[i]
            result += ((owner, part) for part in (launch.parts() if launch.parts else [launch]))
            i += 1
            continue
        end = i + len(group)
        unread = [k for k, m in enumerate(group) if _unread(m.output, rows[end:], hidden)]
        owner = rows[end - 1][0]
        stores = tuple(each.output for each in group)
        for launch in service("launch_maps")(group, unread):
            launch.stores = stores
            result.append((owner, launch))
        i = end
    return result


def _group(rows: Sequence[Row], start: int) -> Iterator[Map]:
    """The maps from a row on that can be one loop; none if the row is no map, or a small one."""
    size, element = 0, None
    arrays: dict[int, int] = {}
    for number, (_, launch) in enumerate(rows[start : start + _MOST_MAPS]):
        each = launch.map
        if each is None or not each.inputs:
            return
        if number == 0:
            size, element = each.output.size, each.inputs[0].dtype
            if size < _LEAST and isinstance(each.output, np.ndarray):
                return
        own = {a.ctypes.data: a.nbytes for a in (*each.inputs, each.output)}
        fits = each.output.size == size and each.inputs[0].dtype == element
        if not fits or len(arrays | own) > _MOST_ARRAYS or _overlap(arrays | own):
            return
        if any(arrays.get(place, extent) != extent for place, extent in own.items()):
            return
        arrays |= own
        yield each


def _overlap(arrays: dict[int, int]) -> bool:
    """Whether arrays, given as bytes by address, have a part of each other."""
    end = 0
    for place in sorted(arrays):
        if place < end:
            return True
        end = place + arrays[place]
    return False


def _unread(array: Array, later: Sequence[Row], hidden: Sequence[Array]) -> bool:
    """Whether nobody reads an array before it is written again."""
    if not any(array.ctypes.data == other.ctypes.data for other in hidden):
        return False
    for _, launch in later:
        if launch.python:
            return False
        if launch.map is not None and not any(_touches(x, array) for x in launch.map.inputs):
            if launch.map.output.ctypes.data == array.ctypes.data:
                return launch.map.output.nbytes >= array.nbytes
            if not _touches(launch.map.output, array):
                continue
        if any(_touches(x, array) for x in kept_arrays(launch.keep)):
            return False
    return True


def _touches(x: Array, y: Array) -> bool:
    return overlap(x, y)
