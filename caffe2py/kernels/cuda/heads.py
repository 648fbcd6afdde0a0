"""Detection heads on devices: softmax of channels, best places of heat maps, rows put back."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from caffe2py.kernels.cuda.before import launch_before
from caffe2py.kernels.cuda.form import device_kernel, form
from caffe2py.kernels.cuda.teams import blocks_for_items, blocks_for_rows, piece, pieces_of, team
from caffe2py.kernels.cuda.threads import cuda
from caffe2py.kernels.heads import place_best
from caffe2py.registry.context import Launch
from caffe2py.tensor.place import device_of, empty_on
from caffe2py.tensor.tensor import Array


def _columns(x: Array, *_: Any) -> int:
    return blocks_for_items(x.shape[0] * x.shape[2])


@form(_columns)
def softmax(x: Any, line: Any, y: Any) -> None:
    """For `_softmax`; a thread has a pixel of a group of channels."""
    size = x.shape[2]
    for e in range(cuda.grid(1), x.shape[0] * size, cuda.gridsize(1)):
        n = e // size
        i = e - n * size
        top = x[n, 0, i]
        for c in range(1, x.shape[1]):
            top = x[n, c, i] if x[n, c, i] > top else top
        total = x.dtype.type(0)
        for c in range(x.shape[1]):
            part = math.exp(x[n, c, i] - top)
            y[n, c, i] = part
            total += part
        for c in range(x.shape[1]):
            y[n, c, i] /= total


@form(_columns)
def softmax_gradient(y: Any, dy: Any, line: Any, dx: Any) -> None:
    """For `_softmax_gradient`."""
    size = y.shape[2]
    for e in range(cuda.grid(1), y.shape[0] * size, cuda.gridsize(1)):
        n = e // size
        i = e - n * size
        total = y.dtype.type(0)
        for c in range(y.shape[1]):
            total += y[n, c, i] * dy[n, c, i]
        for c in range(y.shape[1]):
            dx[n, c, i] = y[n, c, i] * (dy[n, c, i] - total)


@form(lambda maps, *_: blocks_for_items(maps.shape[0] * maps.shape[1]))
def best_places(maps: Any, boxes: Any, share: Any, y: Any) -> None:
    """For `_best_places`; a thread has a map."""
    count = maps.shape[1]
    for e in range(cuda.grid(1), maps.shape[0] * count, cuda.gridsize(1)):
        r = e // count
        plane = maps[r, e - r * count]
        row, column = 0, 0
        for i in range(plane.shape[0]):
            for j in range(plane.shape[1]):
                if plane[i, j] > plane[row, column]:
                    row, column = i, j
        place_best(plane, row, column, boxes[r], share, y[r], e - r * count)


# ---------------------------------------------------------------- chosen rows


@device_kernel(lambda labels, flags: blocks_for_items(labels.size))
def _flags(labels: Any, flags: Any) -> None:
    for r in range(cuda.grid(1), labels.size, cuda.gridsize(1)):
        flags[r] = 1 if labels[r] > 0 else 0


@device_kernel(lambda labels, before, rows, y: blocks_for_rows(len(y), y.shape[1]))
def _put_back(labels: Any, before: Any, rows: Any, y: Any) -> Any:
    if before[labels.size] != rows.shape[0]:
        return 1
    zero = y.dtype.type(0)
    first, step, lane, lanes = team(y.shape[1])
    for k in range(first, pieces_of(y.shape[0], y.shape[1]), step):
        r, begin, end = piece(k, y.shape[1])
        for i in range(begin + lane, end, lanes):
            y[r, i] = rows[before[r], i] if labels[r] > 0 else zero
    return 0


def launch_put_back(labels: Array, rows: Array, y: Array, explain: Any) -> list[Launch]:
    """y[r] = the next of the rows where labels[r] > 0, 0 elsewhere."""
    device = device_of(labels)
    flags = empty_on(device, (labels.size,), np.dtype(np.int32))
    before = empty_on(device, (labels.size + 1,), np.dtype(np.int64))
    return [
        _flags(labels, flags),
        *launch_before(flags, before),
        _put_back(labels, before, rows, y, explain=explain),
    ]
