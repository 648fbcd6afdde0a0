"""YellowFin: momentum descent that finds its rate and momentum from the gradients it has seen."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from caffe2py.kernels.jit import kernel

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


def _step(w: Any, m: Any, g: Any, rate: Any, mu: Any, nesterov: bool) -> None:
    for i in range(g.size):
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


def _averages(g: Any, g_avg: Any, g2_avg: Any, beta: Any, debias: Any) -> tuple[Any, Any]:
    """The squared norms of the gradient and of its running mean."""
    square = np.float64(0)
    mean_square = np.float64(0)
    for i in range(g.size):
        squared = g[i] * g[i]
        mean = debias * _mean(g_avg, i, g[i], beta)
        _mean(g2_avg, i, squared, beta)
        square += np.float64(squared)
        mean_square += np.float64(mean * mean)
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


@kernel()
def yellow_fin(
    w: Any, m: Any, lr: Any, mu: Any, window: Any, g_avg: Any, g2_avg: Any, memory: Any, g: Any,
    iters: Any, width: int, beta: Any, epsilon: Any, nesterov: bool, zero_debias: bool,
) -> int:  # fmt: skip
    """One step with the rate and momentum so far, then new ones; all in place."""
    t = iters[0]
    if t < 1:
        return 1
    real = memory.dtype.type
    debias = real(1)
    if zero_debias:
        debias = real(1.0 / (1.0 - math.pow(np.float64(beta), np.float64(t))))
    _step(w, m, g, lr[0], mu[0], nesterov)
    total, mean_square = _averages(g, g_avg, g2_avg, beta, debias)
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
    return 0
