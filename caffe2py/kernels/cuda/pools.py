"""Rows of pixels whose maximum or mean is taken, by groups of threads."""

from __future__ import annotations

from typing import Any

import numpy as np

from caffe2py.kernels.cuda.plain import larger
from caffe2py.kernels.cuda.threads import (
    BLOCK,
    MOST_BLOCKS,
    cuda,
    group_max,
    group_sum,
    threads_for,
)


def _max_rows(x: Any, y: Any) -> None:
    group = threads_for(x.shape[1], cuda.blockDim.x)
    each = cuda.blockDim.x // group
    lane = cuda.threadIdx.x % group
    for top in range(cuda.blockIdx.x * each, x.shape[0], cuda.gridDim.x * each):
        p = top + cuda.threadIdx.x // group
        best = x.dtype.type(-np.inf)
        if p < x.shape[0]:
            for i in range(lane, x.shape[1], group):
                best = larger(best, x[p, i])
        best = group_max(x, best, group)
        if p < x.shape[0] and lane == 0:
            y[p] = best


def _mean_rows(x: Any, divisor: Any, y: Any) -> None:
    group = threads_for(x.shape[1], cuda.blockDim.x)
    each = cuda.blockDim.x // group
    lane = cuda.threadIdx.x % group
    for top in range(cuda.blockIdx.x * each, x.shape[0], cuda.gridDim.x * each):
        p = top + cuda.threadIdx.x // group
        total = x.dtype.type(0)
        if p < x.shape[0]:
            for i in range(lane, x.shape[1], group):
                total += x[p, i]
        total = group_sum(x, total, group, 1)
        if p < x.shape[0] and lane == 0:
            y[p] = total / divisor


def _blocks(x: Any, *_: Any) -> int:
    each = BLOCK // threads_for(x.shape[1], BLOCK)
    return int(min(MOST_BLOCKS, -(-len(x) // each)))


max_rows = _max_rows, _blocks
mean_rows = _mean_rows, _blocks
