"""YellowFin: momentum descent that finds its rate and momentum from the gradients it has seen."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from caffe2py.errors import Error, ValueRangeError
from caffe2py.kernels.jit import kernel
from caffe2py.kernels.parallel import is_on_device
from caffe2py.registry.context import Launch
from caffe2py.tensor.late import late
from caffe2py.tensor.tensor import Array

#: What is remembered from run to run: means of |g|, |g|^2, the log of the smallest and of the
#: largest |g|^2 of the window, and the distance to the optimum.
NORM, SQUARE, LOWEST, HIGHEST, DISTANCE = range(5)
MEMORY = 5


def _mean(memory: Any, k: int, value: Any, beta: Any) -> Any:
    """Take a value into a running mean, which is returned."""
    one = memory.dtype.type(1)
    memory[k] = beta * memory[k] + (one - beta) * value
    return memory[k]


def _above(value: Any, least: Any) -> Any:
    return value if value > least else least


def step(i: Any, w: Any, m: Any, g: Any, rate: Any, mu: Any, nesterov: bool) -> None:
    """Momentum descent for element i."""
    before = m[i]
    m[i] = mu * before + rate * g[i]
    w[i] -= m[i] + mu * (m[i] - before) if nesterov else m[i]


def _window(window: Any, t: int, width: int, value: Any) -> tuple[Any, Any]:
    """Put a value in its place of the ring; the extremes of what was put so far."""
    window[(t - 1) % width] = value
    lowest = window[0]
    highest = window[0]
    for k in range(1, min(t, width)):
        lowest = min(lowest, window[k])
        highest = max(highest, window[k])
    return lowest, highest


def average(i: Any, g: Any, g_avg: Any, g2_avg: Any, beta: Any, debias: Any) -> tuple[Any, Any]:
    """Take element i into the running means; its part of the squared norms of g and its mean."""
    squared = g[i] * g[i]
    mean = debias * _mean(g_avg, i, g[i], beta)
    _mean(g2_avg, i, squared, beta)
    return np.float64(squared), np.float64(mean * mean)


def _averages(g: Any, g_avg: Any, g2_avg: Any, beta: Any, debias: Any) -> tuple[Any, Any]:
    """The squared norms of the gradient and of its running mean."""
    square = np.float64(0)
    mean_square = np.float64(0)
    for i in range(g.size):
        own, own_mean = average(i, g, g_avg, g2_avg, beta, debias)
        square += own
        mean_square += own_mean
    return square, mean_square


def _root(p: Any) -> Any:
    """The root of the momentum: 1 + y where y^3 + p y + p = 0."""
    cube = (-math.sqrt(p * p + 4.0 / 27.0 * p * p * p) - p) / 2.0
    w = -math.pow(-cube, 1.0 / 3.0)
    return w - p / 3.0 / w + 1.0


def _tuned(distance: Any, lowest: Any, highest: Any, variance: Any) -> tuple[Any, Any]:
    """The rate and the momentum for a curvature range, a gradient variance and a distance."""
    condition = math.sqrt(highest / lowest)
    limit = (condition - 1.0) / (condition + 1.0)
    scaled = distance * lowest
    root = _root(scaled * scaled / (2.0 * variance))
    mu = max(limit * limit, root * root)
    slack = 1.0 - math.sqrt(mu)
    return slack * slack / lowest, mu


def tune(
    total: Any, mean_square: Any, lr: Any, mu: Any, window: Any, memory: Any, t: int, width: int,
    beta: Any, epsilon: Any, debias: Any,
) -> None:  # fmt: skip
    """A new rate and momentum from the squared norms of a gradient and of its mean."""
    real = memory.dtype.type
    square = _above(real(total), epsilon)
    norm = _mean(memory, NORM, math.sqrt(square), beta)
    mean = _mean(memory, SQUARE, square, beta)
    low, high = _window(window, t, width, real(math.log(square)))
    lowest = _above(math.exp(debias * _mean(memory, LOWEST, low, beta)), epsilon)
    highest = _above(math.exp(debias * _mean(memory, HIGHEST, high, beta)), epsilon)
    variance = _above(debias * mean - real(mean_square), epsilon)
    distance = debias * _mean(memory, DISTANCE, norm / mean, beta)
    if t > 1:
        rate, momentum = _tuned(
            np.float64(distance), np.float64(lowest), np.float64(highest), np.float64(variance)
        )
        _mean(lr, 0, real(rate), beta)
        _mean(mu, 0, real(momentum), beta)


def _debias(like: Any, beta: Any, t: int, zero_debias: bool) -> Any:
    """What makes up for means that began at 0."""
    real = like.dtype.type
    if zero_debias:
        return real(1.0 / (1.0 - math.pow(np.float64(beta), np.float64(t))))
    return real(1)


@kernel()
def _yellow_fin(
    w: Any, m: Any, lr: Any, mu: Any, window: Any, g_avg: Any, g2_avg: Any, memory: Any, g: Any,
    iters: Any, width: int, beta: Any, epsilon: Any, nesterov: bool, zero_debias: bool,
) -> int:  # fmt: skip
    """One step with the rate and momentum so far, then new ones; all in place."""
    t = iters[0]
    if t < 1:
        return 1
    debias = _debias(memory, beta, t, zero_debias)
    for i in range(g.size):
        step(i, w, m, g, lr[0], mu[0], nesterov)
    total, mean_square = _averages(g, g_avg, g2_avg, beta, debias)
    tune(total, mean_square, lr, mu, window, memory, t, width, beta, epsilon, debias)
    return 0


@kernel()
def _time(iters: Any, beta: Any, zero_debias: bool, numbers: Any) -> int:
    """The number of iterations, and what makes up for means that began at 0."""
    t = iters[0]
    if t < 1:
        return 1
    numbers[0] = np.float64(t)
    numbers[1] = np.float64(_debias(numbers, beta, t, zero_debias))
    return 0


@dataclass(frozen=True)
class Manner:
    """How to step: the gradients whose norms count, what is kept of means, and what is least."""

    width: int
    beta: Any
    epsilon: Any
    nesterov: bool
    zero_debias: bool


def launch_yellow_fin(
    arrays: Sequence[Array],
    g: Array,
    iters: Array,
    manner: Manner,
    numbers: Callable[[int, Any, Callable[[Array], Launch]], tuple[list[Launch], Array]],
) -> list[Launch]:
    """One step with the rate and momentum so far, then new ones, all in place.

    `arrays` are parameter, moment, rate, momentum, window, both means, memory. `numbers` gives an
    array of so many numbers of a type that the host fills in every run. ValueRangeError (at run
    time) for a number of iterations below 1.
    """

    def explain(_status: int) -> Error:
        return ValueRangeError("input 9 'iter' must be at least 1")

    m = manner
    if not is_on_device(g):
        fixed = (m.width, m.beta, m.epsilon, m.nesterov, m.zero_debias)
        return [_yellow_fin(*arrays, g, iters, *fixed, explain=explain)]
    launches, time = numbers(
        2, np.float64, lambda out: _time(iters, m.beta, m.zero_debias, out, explain=explain)
    )
    launches += late("kernels.cuda.rates", "launch_yellow_fin")(arrays, g, time, manner)
    return launches
