"""Reductions: sums along axes, in an order that depends on the shape alone."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from caffe2py.kernels.copy import launch_copy
from caffe2py.kernels.jit import kernel
from caffe2py.registry.context import Call, Launch
from caffe2py.tensor.tensor import Array


@kernel("reassoc")
def _sum_rows(x: Any, y: Any) -> None:
    """y[o] = sum of x[o, :]; the lanes of a vector register sum side by side."""
    for o in range(x.shape[0]):
        total = x.dtype.type(0)
        for r in range(x.shape[1]):
            total += x[o, r]
        y[o] = total


@kernel()
def _sum_columns(x: Any, y: Any) -> None:
    """y[o, i] = sum over r of x[o, r, i], row after row."""
    for o in range(x.shape[0]):
        for i in range(x.shape[2]):
            y[o, i] = 0
        for r in range(x.shape[1]):
            for i in range(x.shape[2]):
                y[o, i] += x[o, r, i]


def launch_sum(call: Call, x: Array, axes: Sequence[int], y: Array) -> list[Launch]:
    """y = x summed over `axes`; `y` has the remaining elements, in any shape of that size.

    Neighbouring summed axes are taken as one; separate groups are summed from the last to the first
    through scratch arrays.
    """
    groups = _groups(x.shape, set(axes))
    launches: list[Launch] = []
    current = x
    while True:
        last = max((k for k, (_, summed) in enumerate(groups) if summed), default=-1)
        if last < 0:
            return launches or [launch_copy(current, y)]
        outer = int(np.prod([n for n, _ in groups[:last]], dtype=np.int64))
        inner = int(np.prod([n for n, _ in groups[last + 1 :]], dtype=np.int64))
        size = groups.pop(last)[0]
        more = any(summed for _, summed in groups)
        target = call.scratch((outer, inner), x.dtype) if more else y.reshape(outer, inner)
        if inner == 1:
            launches.append(_sum_rows(current.reshape(outer, size), target.reshape(-1)))
        else:
            launches.append(_sum_columns(current.reshape(outer, size, inner), target))
        current = target


def _groups(shape: tuple[int, ...], axes: set[int]) -> list[tuple[int, bool]]:
    """Runs of axes that are all summed or all kept: (number of elements, summed)."""
    groups: list[tuple[int, bool]] = []
    for axis, size in enumerate(shape):
        summed = axis in axes
        if groups and groups[-1][1] == summed:
            groups[-1] = (groups[-1][0] * size, summed)
        else:
            groups.append((size, summed))
    return groups
