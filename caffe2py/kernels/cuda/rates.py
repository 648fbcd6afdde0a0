"""Rates that depend on whole gradients, on devices: sums over all elements, then single numbers."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from caffe2py.kernels.cuda.form import device_kernel
from caffe2py.kernels.cuda.sums import Total
from caffe2py.kernels.cuda.teams import blocks_for_items
from caffe2py.kernels.cuda.threads import cuda
from caffe2py.kernels.update import lars_rate
from caffe2py.kernels.update_whole import adapted_rate, storm_rate
from caffe2py.kernels.yellowfin import average, step, tune
from caffe2py.registry.context import Launch
from caffe2py.tensor.place import device_of, empty_on
from caffe2py.tensor.tensor import Array


def _squares_of_two(i: Any, x: Any, y: Any) -> Any:
    a, b = np.float64(x[i]), np.float64(y[i])
    return a * a, b * b


#: (x, dx), then (wd, trust, highest, y, offset, lowest).
LARS = Total("lars", _squares_of_two, lars_rate)


def _square(i: Any, x: Any) -> Any:
    a = np.float64(x[i])
    return a * a, 0.0


def _added(total: Any, _: Any, s: Any) -> Any:
    return s[0] + s.dtype.type(total)


_ADD_SQUARES = Total("add_squares", _square, _added)


def _one(*_: Any) -> int:
    return 1


@device_kernel(_one)
def _storm_numbers(s: Any, lr: Any, mu: Any, beta: Any, numbers: Any) -> None:
    if cuda.threadIdx.x == 0:
        rate = storm_rate(s, lr, beta)
        numbers[0] = rate
        numbers[1] = s.dtype.type(1) - mu * rate * rate


def launch_storm_numbers(
    s: Array, g: Array, lr: Array, mu: Any, beta: Any, numbers: Array
) -> list[Launch]:
    """s += the squares of g; numbers = the rate, and how much of the moment is kept."""
    return [*_ADD_SQUARES.launch(g.size, (g,), s, (s,)), _storm_numbers(s, lr, mu, beta, numbers)]


def _grown(total: Any, _: Any, b: Any, epsilon: Any) -> Any:
    return b[0] + b.dtype.type(total) / (b[0] + epsilon)


_GROW = Total("grow", _square, _grown)


def launch_grow(b: Array, g: Array, epsilon: Any) -> list[Launch]:
    """b += the squares of g by (b + epsilon)."""
    return _GROW.launch(g.size, (g,), b, (b, epsilon))


def _product(i: Any, g: Any, other: Any) -> Any:
    return np.float64(g[i]) * np.float64(other[i]), 0.0


def _first(total: Any, _: Any) -> Any:
    return total


_PRODUCT = Total("product", _product, _first)
_SQUARES = Total("squares", _square, _first)


@device_kernel(_one)
def _adapt(sums: Any, lr: Any, out: Any, alpha: Any, normalized: bool) -> None:
    if cuda.threadIdx.x == 0:
        out[0] = adapted_rate(sums[0], sums[1], sums[2], lr, alpha, normalized)


def launch_adapt(
    lr: Array, g: Array, step: Array, out: Array, alpha: Any, *, normalized: bool
) -> list[Launch]:
    """out = lr (1 - alpha cos(g, step)), or lr - alpha g step."""
    sums = empty_on(device_of(g), (3,), np.dtype(np.float64))
    return [
        *_PRODUCT.launch(g.size, (g, step), sums[0:1]),
        *_SQUARES.launch(g.size, (g,), sums[1:2]),
        *_SQUARES.launch(step.size, (step,), sums[2:3]),
        _adapt(sums, lr, out, alpha, normalized),
    ]


def _average(i: Any, g: Any, g_avg: Any, g2_avg: Any, beta: Any, time: Any) -> Any:
    """Takes the element into both means besides; nobody else looks at it."""
    return average(np.int64(i), g, g_avg, g2_avg, beta, g.dtype.type(time[1]))


def _tuned(
    total: Any, mean_square: Any, lr: Any, mu: Any, window: Any, memory: Any, time: Any,
    width: Any, beta: Any, epsilon: Any,
) -> Any:  # fmt: skip
    debias = memory.dtype.type(time[1])
    tune(total, mean_square, lr, mu, window, memory, int(time[0]), width, beta, epsilon, debias)
    return total


_TUNE = Total("tune", _average, _tuned)


def _blocks(w: Array, *_: Any) -> int:
    return blocks_for_items(w.size)


@device_kernel(_blocks)
def _step(w: Any, m: Any, g: Any, lr: Any, mu: Any, nesterov: bool) -> None:
    for i in range(cuda.grid(1), w.size, cuda.gridsize(1)):
        step(i, w, m, g, lr[0], mu[0], nesterov)


def launch_yellow_fin(arrays: Sequence[Array], g: Array, time: Array, manner: Any) -> list[Launch]:
    """See kernels.yellowfin; `time` holds the iterations and what makes up for early means."""
    w, m, lr, mu, window, g_avg, g2_avg, memory = arrays
    total = empty_on(device_of(g), (1,), np.dtype(np.float64))
    over = (g, g_avg, g2_avg, manner.beta, time)
    result = (lr, mu, window, memory, time, manner.width, manner.beta, manner.epsilon)
    return [_step(w, m, g, lr, mu, manner.nesterov), *_TUNE.launch(g.size, over, total, result)]
