"""Values looked for in a list, for devices: the list is put in order, and then halved."""

from __future__ import annotations

from typing import Any

import numpy as np

from caffe2py.kernels.cuda.before import form_only, launch_before
from caffe2py.kernels.cuda.sorting import launch_order
from caffe2py.kernels.cuda.teams import blocks_for_items
from caffe2py.kernels.cuda.threads import cuda
from caffe2py.registry.context import Launch
from caffe2py.tensor.place import device_of, empty_on
from caffe2py.tensor.tensor import Array


def _find(values: Any, order: Any, wanted: Any, missing: int, y: Any) -> None:
    """The last of equal values, which is the last of them in their order."""
    for k in range(cuda.grid(1), wanted.size, cuda.gridsize(1)):
        low, high = 0, values.size
        while low < high:
            middle = (low + high) // 2
            if values[order[middle]] <= wanted[k]:
                low = middle + 1
            else:
                high = middle
        found = low > 0 and values[order[low - 1]] == wanted[k]
        y[k] = order[low - 1] if found else missing


def _is_new(x: Any, order: Any, new: Any) -> None:
    for p in range(cuda.grid(1), x.size, cuda.gridsize(1)):
        new[p] = 1 if p == 0 or x[order[p]] != x[order[p - 1]] else 0


def _unique(x: Any, order: Any, before: Any, values: Any, places: Any) -> None:
    for p in range(cuda.grid(1), x.size, cuda.gridsize(1)):
        place = before[p + 1] - 1
        if place >= before[p]:
            values[place] = x[order[p]]
        places[order[p]] = place


_FIND = form_only(_find, lambda *args: blocks_for_items(args[-1].size))
_IS_NEW, _UNIQUE = (
    form_only(f, lambda x, *_: blocks_for_items(x.size)) for f in (_is_new, _unique)
)


def launch_find(values: Array, wanted: Array, missing: int, y: Array) -> list[Launch]:
    """y = the last place of each wanted integer among the values, or `missing`."""
    order = empty_on(device_of(y), values.shape, np.dtype(np.int64))
    found = _FIND(values, order, wanted, missing, y.reshape(-1))
    return [*launch_order(values, None, order), found]


def launch_order_unique(x: Array, order: Array, before: Array) -> list[Launch]:
    """The places of the integers as they ascend, and how many different ones are before each."""
    new = empty_on(device_of(x), x.shape, np.dtype(np.uint8))
    return [*launch_order(x, None, order), _IS_NEW(x, order, new), *launch_before(new, before)]


def launch_unique(x: Array, order: Array, before: Array, values: Array, places: Array) -> Launch:
    """The different integers as they ascend, and for each integer its place among them."""
    return _UNIQUE(x, order, before, values, places)
