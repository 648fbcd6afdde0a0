"""Optimizers that change some rows, on devices: rows side by side, those of one index in order.

The indices are put in order first. Who stands at the first place of an index goes over all places
of it, as they came, so an index that comes twice is applied twice, and all runs have the same
results. If an index is no row, nobody changes anything: `wrong` says so.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from caffe2py.kernels.cuda.form import device_kernel
from caffe2py.kernels.cuda.sorting import launch_order
from caffe2py.kernels.cuda.teams import blocks_for_items, segment_of
from caffe2py.kernels.cuda.threads import MOST_BLOCKS, block_sum, cuda
from caffe2py.kernels.jit import Kernel
from caffe2py.kernels.update import (
    adadelta_step,
    adagrad_rate,
    adam_moments,
    ftrl_step,
    momentum_step,
)
from caffe2py.kernels.update_whole import storm_step
from caffe2py.registry.context import Launch
from caffe2py.tensor.place import device_of, empty_on
from caffe2py.tensor.tensor import Array


def _one_block(*_: Any) -> int:
    return 1


@device_kernel(_one_block)
def _find_wrong(indices: Any, rows: int, wrong: Any) -> None:
    """wrong[0] = whether an index is no row."""
    if cuda.threadIdx.x == 0:
        wrong[0] = 0
    cuda.syncthreads()
    for r in range(cuda.threadIdx.x, indices.size, cuda.blockDim.x):
        if indices[r] < 0 or indices[r] >= rows:
            wrong[0] = 1


def _begins(indices: Any, order: Any, q: Any) -> Any:
    """Whether place q of the order is the first one of its index."""
    return q == 0 or indices[order[q]] != indices[order[q - 1]]


def _goes_on(indices: Any, order: Any, q: Any, row: Any) -> Any:
    """Whether place q of the order still belongs to a row."""
    return q < order.size and indices[order[q]] == row


def _element_blocks(order: Array, wrong: Array, width: int, *_: Any) -> int:
    return blocks_for_items(order.size * width)


def _row_blocks(order: Array, *_: Any) -> int:
    return max(1, min(order.size, 4 * MOST_BLOCKS))


# ---------------------------------------------------------------- each element by itself


@device_kernel(_element_blocks)
def _momentum(
    order: Any, wrong: Any, width: int, g: Any, m: Any, lr: Any, w: Any, indices: Any, mu: Any,
    nesterov: bool,
) -> None:  # fmt: skip
    if wrong[0] != 0:
        return
    rate = m.dtype.type(lr[0])
    for e in range(cuda.grid(1), order.size * width, cuda.gridsize(1)):
        q = e // width
        if not _begins(indices, order, q):
            continue
        row, k = np.int64(indices[order[q]]), e - q * width
        at = row * width + k
        while _goes_on(indices, order, q, row):
            w[at] -= momentum_step(g, m, order[q] * width + k, at, rate, mu, nesterov)
            q += 1


@device_kernel(_element_blocks)
def _adagrad(
    order: Any, wrong: Any, width: int, w: Any, h: Any, indices: Any, g: Any, lr: Any, epsilon: Any,
    weight: Any,
) -> None:  # fmt: skip
    if wrong[0] != 0:
        return
    rate = w.dtype.type(lr[0])
    decay = w.dtype.type(1)
    for e in range(cuda.grid(1), order.size * width, cuda.gridsize(1)):
        q = e // width
        if not _begins(indices, order, q):
            continue
        row, k = np.int64(indices[order[q]]), e - q * width
        at = row * width + k
        while _goes_on(indices, order, q, row):
            slope = g[order[q] * width + k] + weight * w[at]
            w[at] += adagrad_rate(h, at, slope, rate, epsilon, decay) * slope
            q += 1


@device_kernel(_element_blocks)
def _adam(
    order: Any, wrong: Any, width: int, w: Any, m: Any, v: Any, indices: Any, g: Any, lr: Any,
    correction: Any, steps: Any, beta1: Any, beta2: Any, epsilon: Any,
) -> None:  # fmt: skip
    if wrong[0] != 0:
        return
    rate = w.dtype.type(lr[0])
    factor, varied = correction[0], correction[1] != 0
    for e in range(cuda.grid(1), order.size * width, cuda.gridsize(1)):
        q = e // width
        if not _begins(indices, order, q):
            continue
        row, k = np.int64(indices[order[q]]), e - q * width
        at = row * width + k
        while _goes_on(indices, order, q, row):
            own = order[q] * width + k
            adam_moments(m, v, at, g[own], beta1, beta2)
            step = factor * m[at]
            if varied:
                step /= math.sqrt(v[at]) + epsilon
            if steps.size > 0:
                steps[own] = step
            w[at] += rate * step
            q += 1


@device_kernel(_element_blocks)
def _adadelta(
    order: Any, wrong: Any, width: int, w: Any, h: Any, d: Any, indices: Any, g: Any, lr: Any,
    epsilon: Any, decay: Any,
) -> None:  # fmt: skip
    if wrong[0] != 0:
        return
    rate = w.dtype.type(lr[0])
    for e in range(cuda.grid(1), order.size * width, cuda.gridsize(1)):
        q = e // width
        if not _begins(indices, order, q):
            continue
        row, k = np.int64(indices[order[q]]), e - q * width
        at = row * width + k
        while _goes_on(indices, order, q, row):
            w[at] += rate * adadelta_step(h, d, at, g[order[q] * width + k], epsilon, decay)
            q += 1


@device_kernel(_element_blocks)
def _ftrl(
    order: Any, wrong: Any, width: int, w: Any, nz: Any, indices: Any, g: Any, alpha: Any,
    beta: Any, lambda1: Any, lambda2: Any,
) -> None:  # fmt: skip
    if wrong[0] != 0:
        return
    inverse = w.dtype.type(1) / w.dtype.type(alpha[0])
    for e in range(cuda.grid(1), order.size * width, cuda.gridsize(1)):
        q = e // width
        if not _begins(indices, order, q):
            continue
        row, k = np.int64(indices[order[q]]), e - q * width
        at = row * width + k
        while _goes_on(indices, order, q, row):
            ftrl_step(w, nz, at, g[order[q] * width + k], inverse, beta, lambda1, lambda2)
            q += 1


@device_kernel(_element_blocks)
def _storm(
    order: Any, wrong: Any, width: int, w: Any, m: Any, indices: Any, g: Any, numbers: Any
) -> None:
    """`numbers` are the rate, and how much of the moment is kept."""
    if wrong[0] != 0:
        return
    rate, keep = numbers[0], numbers[1]
    for e in range(cuda.grid(1), order.size * width, cuda.gridsize(1)):
        q = e // width
        if not _begins(indices, order, q):
            continue
        row, k = np.int64(indices[order[q]]), e - q * width
        at = row * width + k
        while _goes_on(indices, order, q, row):
            storm_step(w, m, at, g[order[q] * width + k], rate, keep)
            q += 1


@device_kernel(_element_blocks)
def _wngrad(
    order: Any, wrong: Any, width: int, w: Any, b: Any, indices: Any, g: Any, lr: Any, epsilon: Any
) -> None:
    if wrong[0] != 0:
        return
    rate = lr[0] / (b[0] + epsilon)
    for e in range(cuda.grid(1), order.size * width, cuda.gridsize(1)):
        q = e // width
        if not _begins(indices, order, q):
            continue
        row, k = np.int64(indices[order[q]]), e - q * width
        at = row * width + k
        while _goes_on(indices, order, q, row):
            w[at] += rate * g[order[q] * width + k]
            q += 1


@device_kernel(_element_blocks)
def _counts(
    order: Any, wrong: Any, width: int, last: Any, counts: Any, indices: Any, now: Any, decay: Any
) -> None:
    """Rows are single elements here."""
    if wrong[0] != 0:
        return
    one = np.float64(1)
    for first in range(cuda.grid(1), order.size, cuda.gridsize(1)):
        q = first
        if not _begins(indices, order, q):
            continue
        row = np.int64(indices[order[q]])
        while _goes_on(indices, order, q, row):
            since = np.float64(0)
            if now[0] > last[row]:
                since = np.float64(now[0]) - np.float64(last[row])
                last[row] = now[0]
            counts[row] = one + math.exp(-since * decay) * counts[row]
            q += 1


# ---------------------------------------------------------------- a moment for each row


@device_kernel(_row_blocks)
def _row_adagrad(
    order: Any, wrong: Any, width: int, w: Any, h: Any, indices: Any, g: Any, lr: Any, epsilon: Any,
    weight: Any,
) -> None:  # fmt: skip
    """A block of threads takes a row."""
    if wrong[0] != 0:
        return
    rate = w.dtype.type(lr[0])
    for head in range(cuda.blockIdx.x, order.size, cuda.gridDim.x):
        q = head
        if not _begins(indices, order, q):
            continue
        row = np.int64(indices[order[q]])
        to = row * width
        moment = h[row]
        while _goes_on(indices, order, q, row):
            own = order[q] * width
            total = w.dtype.type(0)
            for k in range(cuda.threadIdx.x, width, cuda.blockDim.x):
                slope = g[own + k] + weight * w[to + k]
                total += slope * slope
            total = block_sum(w, total)
            if width > 0:
                moment += total / w.dtype.type(width)
            step = rate / (math.sqrt(moment) + epsilon)
            for k in range(cuda.threadIdx.x, width, cuda.blockDim.x):
                w[to + k] += step * (g[own + k] + weight * w[to + k])
            q += 1
        cuda.syncthreads()
        if cuda.threadIdx.x == 0:
            h[row] = moment


@device_kernel(_row_blocks)
def _row_adam(
    order: Any, wrong: Any, width: int, w: Any, m: Any, v: Any, indices: Any, g: Any, lr: Any,
    correction: Any, steps: Any, beta1: Any, beta2: Any, epsilon: Any,
) -> None:  # fmt: skip
    """A block of threads takes a row."""
    if wrong[0] != 0:
        return
    one = w.dtype.type(1)
    rate = w.dtype.type(lr[0])
    factor = correction[0]
    for head in range(cuda.blockIdx.x, order.size, cuda.gridDim.x):
        q = head
        if not _begins(indices, order, q):
            continue
        row = np.int64(indices[order[q]])
        to = row * width
        square = v[row]
        while _goes_on(indices, order, q, row):
            own = order[q] * width
            total = w.dtype.type(0)
            for k in range(cuda.threadIdx.x, width, cuda.blockDim.x):
                total += g[own + k] * g[own + k]
            total = block_sum(w, total)
            if width > 0:
                square = square * beta2 + total / w.dtype.type(width) * (one - beta2)
            below = math.sqrt(square) + epsilon
            for k in range(cuda.threadIdx.x, width, cuda.blockDim.x):
                m[to + k] = m[to + k] * beta1 + g[own + k] * (one - beta1)
                step = factor * m[to + k] / below
                if steps.size > 0:
                    steps[own + k] = step
                w[to + k] += rate * step
            q += 1
        cuda.syncthreads()
        if cuda.threadIdx.x == 0:
            v[row] = square


# ---------------------------------------------------------------- gradients of segments


def _item_blocks(order: Array, wrong: Array, width: int, *_: Any) -> int:
    return _row_blocks(order)


@device_kernel(_item_blocks)
def _segment_dots(
    order: Any, wrong: Any, width: int, w: Any, offsets: Any, indices: Any, g: Any, slopes: Any
) -> None:
    """slopes[p] = the dot product of row indices[p] and the gradient of the segment of p."""
    if wrong[0] != 0:
        return
    for p in range(cuda.blockIdx.x, order.size, cuda.gridDim.x):
        to, own = np.int64(indices[p]) * width, segment_of(offsets, p) * width
        total = w.dtype.type(0)
        for k in range(cuda.threadIdx.x, width, cuda.blockDim.x):
            total += w[to + k] * g[own + k]
        total = block_sum(w, total)
        if cuda.threadIdx.x == 0:
            slopes[p] = total


@device_kernel(_item_blocks)
def _segment_adagrad(
    order: Any, wrong: Any, width: int, w: Any, h: Any, offsets: Any, indices: Any, g: Any, lr: Any,
    weights: Any, weighted: bool, mean: bool, slopes: Any, late: bool, row_wise: bool,
    epsilon: Any, decay: Any,
) -> None:  # fmt: skip
    """A block of threads takes a row; see update_fused."""
    if wrong[0] != 0:
        return
    one = w.dtype.type(1)
    rate = w.dtype.type(lr[0])
    for head in range(cuda.blockIdx.x, order.size, cuda.gridDim.x):
        q = head
        if not _begins(indices, order, q):
            continue
        row = np.int64(indices[order[q]])
        to = row * width
        moment = h[row] if row_wise else one
        while _goes_on(indices, order, q, row):
            p = order[q]
            s = segment_of(offsets, p)
            own = s * width
            factor = one
            if mean:
                factor = one / w.dtype.type(offsets[s + 1] - offsets[s])
            if weighted:
                factor = weights[min(p - offsets[s], weights.size - 1)]  # too few are reported
                if late:
                    total = w.dtype.type(0)
                    for k in range(cuda.threadIdx.x, width, cuda.blockDim.x):
                        total += w[to + k] * g[own + k]
                    total = block_sum(w, total)
                    if cuda.threadIdx.x == 0:
                        slopes[p] = total
            if row_wise:
                total = w.dtype.type(0)
                for k in range(cuda.threadIdx.x, width, cuda.blockDim.x):
                    slope = factor * g[own + k] + decay * w[to + k]
                    total += slope * slope
                total = block_sum(w, total)
                if width > 0:
                    moment += total / w.dtype.type(width)
                step = rate / (math.sqrt(moment) + epsilon)
                for k in range(cuda.threadIdx.x, width, cuda.blockDim.x):
                    w[to + k] += step * (factor * g[own + k] + decay * w[to + k])
            else:
                for k in range(cuda.threadIdx.x, width, cuda.blockDim.x):
                    slope = factor * g[own + k] + decay * w[to + k]
                    h[to + k] += slope * slope
                    w[to + k] += rate * slope / (math.sqrt(h[to + k]) + epsilon)
            q += 1
        cuda.syncthreads()
        if row_wise and cuda.threadIdx.x == 0:
            h[row] = moment


# ---------------------------------------------------------------- launching

#: By the name of the CPU's loop.
_RULES: dict[str, Kernel] = {
    "sparse_momentum_sgd": _momentum,
    "sparse_adagrad": _adagrad,
    "row_wise_adagrad": _row_adagrad,
    "sparse_adam": _adam,
    "row_wise_adam": _row_adam,
    "sparse_adadelta": _adadelta,
    "sparse_ftrl": _ftrl,
    "sparse_storm": _storm,
    "sparse_wngrad": _wngrad,
    "count_rows": _counts,
}


def in_order(indices: Array, rows: int) -> tuple[list[Launch], Array, Array]:
    """(launches, order, wrong): the indices in order, and whether one is not below `rows`."""
    device = device_of(indices)
    order = empty_on(device, (indices.size,), np.dtype(np.int64))
    wrong = empty_on(device, (1,), np.dtype(np.int32))
    return [_find_wrong(indices, rows, wrong), *launch_order(indices, rows, order)], order, wrong


def launch_rows(
    rule: str, indices: Array, rows: int, width: int, args: tuple[Any, ...]
) -> list[Launch]:
    """The rule for rows of `width` elements, of which there are `rows`."""
    launches, order, wrong = in_order(indices, rows)
    return [*launches, _RULES[rule](order, wrong, width, *args)] if indices.size else []


def launch_segments(
    indices: Array, rows: int, width: int, dots: tuple[Any, ...], args: tuple[Any, ...]
) -> list[Launch]:
    """Adagrad for segments; before it the dot products, if there are arguments for these."""
    launches, order, wrong = in_order(indices, rows)
    if not indices.size:
        return []
    if dots:
        launches.append(_segment_dots(order, wrong, width, *dots))
    return [*launches, _segment_adagrad(order, wrong, width, *args)]
