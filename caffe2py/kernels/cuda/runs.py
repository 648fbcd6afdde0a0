"""Rows written by indices that may come several times, for devices: nothing is left to chance.

The places are brought in the order of their indices, equal ones as they come. Then the places of
one index are a run, and one team goes through it: sums are those of the CPU, one after the other.
Indices that are out of range, which a check reports, lead nowhere.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from caffe2py.errors import Error
from caffe2py.kernels.copy import launch_fill
from caffe2py.kernels.cuda.before import form_only
from caffe2py.kernels.cuda.sorting import launch_order
from caffe2py.kernels.cuda.teams import blocks_for_items, blocks_for_rows, piece, pieces_of, team
from caffe2py.kernels.cuda.threads import cuda
from caffe2py.registry.context import Launch
from caffe2py.tensor.place import device_of, empty_on
from caffe2py.tensor.tensor import Array

_INT64 = np.dtype(np.int64)


def _begins(keys: Any, order: Any, p: Any) -> Any:
    return p == 0 or keys[order[p - 1]] != keys[order[p]]


def _assign_runs(keys: Any, order: Any, values: Any, x: Any) -> None:
    """The last of each run."""
    width = x.shape[1]
    first, step, lane, lanes = team(width)
    for k in range(first, pieces_of(keys.size, width), step):
        p, begin, end = piece(k, width)
        item = order[p]
        row = keys[item]
        last = p + 1 == keys.size or keys[order[p + 1]] != row
        if last and 0 <= row < x.shape[0]:
            for i in range(begin + lane, end, lanes):
                x[row, i] = values[item, i]


def _scale_runs(weight: Any, keys: Any, order: Any, x: Any) -> None:
    """Each run's row times the weight, as often as the run is long."""
    width, factor = x.shape[1], weight[0]
    first, step, lane, lanes = team(width)
    for k in range(first, pieces_of(keys.size, width), step):
        p, begin, end = piece(k, width)
        row = keys[order[p]]
        if factor != 1 and _begins(keys, order, p) and 0 <= row < x.shape[0]:
            for i in range(begin + lane, end, lanes):
                total = x[row, i]
                q = p
                while q < keys.size and keys[order[q]] == row:
                    total *= factor
                    q += 1
                x[row, i] = total


def _add_runs(weight: Any, keys: Any, order: Any, values: Any, x: Any) -> None:
    """Each run's row plus the weight times all of the run's values."""
    width, factor = x.shape[1], weight[0]
    first, step, lane, lanes = team(width)
    for k in range(first, pieces_of(keys.size, width), step):
        p, begin, end = piece(k, width)
        row = keys[order[p]]
        if _begins(keys, order, p) and 0 <= row < x.shape[0]:
            for i in range(begin + lane, end, lanes):
                total = x[row, i]
                q = p
                while q < keys.size and keys[order[q]] == row:
                    total += factor * values[order[q], i]
                    q += 1
                x[row, i] = total


def _gathered_keys(indices: Any, step: int, wrap: bool, size: int, count: int, keys: Any) -> Any:
    """Which row of the gradient, seen as a matrix, each gathered row belongs to; the end: none."""
    for k in range(cuda.grid(1), keys.size, cuda.gridsize(1)):
        o = k // count
        at = o * step + k - o * count
        index = np.int64(indices[at])
        if wrap and index < 0:
            index += size
        if not 0 <= index < size:
            keys[k] = keys.size // count * size
            return min(at + 1, 2**31 - 1)
        keys[k] = o * size + index
    return 0


def _rows(places: int) -> Callable[..., int]:
    return lambda *args: blocks_for_rows(args[places].size, args[-1].shape[1])


_ASSIGN, _SCALE = form_only(_assign_runs, _rows(0)), form_only(_scale_runs, _rows(1))
_ADD = form_only(_add_runs, _rows(1))
_KEYS = form_only(_gathered_keys, lambda *args: blocks_for_items(args[-1].size))


def _order(keys: Array, limit: int) -> tuple[list[Launch], Array]:
    order = empty_on(device_of(keys), keys.shape, _INT64)
    return launch_order(keys, max(limit, 1), order), order


def launch_assign(indices: Array, values: Array, x: Array) -> list[Launch]:
    """x[indices[k]] = values[k] for matrices, in order."""
    launches, order = _order(indices, x.shape[0])
    return [*launches, _ASSIGN(indices, order, values, x)]


def launch_sum(
    indices: Array, parts: Sequence[tuple[Array, Array]], x: Array, weight: Array | None
) -> list[Launch]:
    """x[indices[k]] = weight * itself + the sum of w * values[k] over the (values, w) in `parts`.

    Without a weight x starts from 0.
    """
    launches, order = _order(indices, x.shape[0])
    if weight is None:
        launches.insert(0, launch_fill(np.zeros(1, x.dtype), x.reshape(-1)))
    else:
        launches.append(_SCALE(weight.reshape(-1), indices, order, x))
    return [*launches, *(_ADD(w.reshape(-1), indices, order, v, x) for v, w in parts)]


def launch_add_gathered(
    dy: Array,
    indices: Array,
    step: int,
    wrap: bool,
    dx: Array,
    explain: Callable[[int], Error],
) -> list[Launch]:
    """dx[o, indices[o * step + k]] += dy[o, k], starting from 0; the arrays have three axes."""
    outer, size, inner = dx.shape
    count = dy.shape[1]
    flat = dx.reshape(outer * size, inner)
    clear = launch_fill(np.zeros(1, dx.dtype), dx.reshape(-1))
    if not dy.size:
        return [clear]
    keys = empty_on(device_of(dx), (outer * count,), _INT64)
    found = _KEYS(indices, step, wrap, size, count, keys, explain=explain)
    launches, order = _order(keys, outer * size + 1)
    one = np.ones(1, dx.dtype)
    added = _ADD(one, keys, order, dy.reshape(outer * count, inner), flat)
    return [clear, found, *launches, added]
