"""Optimizers whose rate depends on the whole gradient, on groups of it, or on counts of rows.

As in `caffe2py.kernels.update`, arrays are flat and are changed where they lie.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from caffe2py.kernels.jit import kernel

__all__ = [
    "adapt_rate",
    "count_rows",
    "decayed_momentum",
    "gftrl",
    "sparse_storm",
    "sparse_wngrad",
    "storm",
    "wngrad",
]

_CUBE_ROOT = np.float64(-1 / 3)
_TINY = np.float64(1e-12)
_ZERO = np.float64(0)
_ONE = np.float64(1)


def _squares(x: Any) -> Any:
    """The sum of squares."""
    total = _ZERO
    for i in range(x.size):
        total += np.float64(x[i]) * np.float64(x[i])
    return total


# ---------------------------------------------------------------- Storm


def _storm_rate(s: Any, g: Any, lr: Any, beta: Any) -> Any:
    """Add the squares of a gradient to s; the rate."""
    s[0] += s.dtype.type(_squares(g))
    power = math.pow(np.float64(beta + s[0]), _CUBE_ROOT)
    return s.dtype.type(np.float64(lr[0]) * power)


def _storm_step(w: Any, m: Any, j: Any, g: Any, rate: Any, keep: Any) -> None:
    m[j] = g + keep * (m[j] - g)
    w[j] += rate * m[j]


@kernel()
def storm(w: Any, m: Any, s: Any, g: Any, lr: Any, mu: Any, beta: Any) -> None:
    """S += |g|^2; r = lr / cbrt(beta + s); m = g + (1 - mu r r) (m - g); w += r m."""
    rate = _storm_rate(s, g, lr, beta)
    keep = w.dtype.type(1) - mu * rate * rate
    for i in range(g.size):
        _storm_step(w, m, i, g[i], rate, keep)


@kernel()
def sparse_storm(
    w: Any, m: Any, s: Any, indices: Any, g: Any, lr: Any, width: int, mu: Any, beta: Any
) -> None:
    """`storm` for rows of `width` elements; nothing for no row."""
    if indices.size == 0:
        return
    rate = _storm_rate(s, g, lr, beta)
    keep = w.dtype.type(1) - mu * rate * rate
    for r in range(indices.size):
        to = np.int64(indices[r]) * width
        for k in range(width):
            _storm_step(w, m, to + k, g[r * width + k], rate, keep)


# ---------------------------------------------------------------- Wngrad


@kernel()
def wngrad(w: Any, b: Any, g: Any, lr: Any, rates: Any, steps: Any, epsilon: Any) -> None:
    """W += lr / (b + epsilon) g; then b += |g|^2 / (b + epsilon)."""
    rate = lr[0] / (b[0] + epsilon)
    for i in range(g.size):
        step = rate * g[i]
        if steps.size > 0:
            steps[i] = step
        w[i] += step
    if rates.size > 0:
        rates[0] = rate
    b[0] += b.dtype.type(_squares(g)) / (b[0] + epsilon)


@kernel()
def sparse_wngrad(w: Any, b: Any, indices: Any, g: Any, lr: Any, width: int, epsilon: Any) -> None:
    """`wngrad` for rows of `width` elements, but b += |g|^2 / b; nothing for no row."""
    if indices.size == 0:
        return
    rate = lr[0] / (b[0] + epsilon)
    for r in range(indices.size):
        to = np.int64(indices[r]) * width
        for k in range(width):
            w[to + k] += rate * g[r * width + k]
    b[0] += b.dtype.type(_squares(g)) / b[0]


# ---------------------------------------------------------------- Ftrl for groups


@kernel()
def gftrl(
    w: Any, nz: Any, g: Any, alpha: Any, groups: int, beta: Any, lambda1: Any, lambda2: Any
) -> None:
    """`ftrl` in which the z of a column decide together whether it is 0; w is (rows, groups)."""
    if groups == 0:
        return
    rows = w.size // groups
    inverse = w.dtype.type(1) / w.dtype.type(alpha[0])
    limit = lambda1 * w.dtype.type(math.sqrt(np.float64(rows)))
    for k in range(groups):
        squares = _ZERO
        for r in range(rows):
            j = r * groups + k
            n = nz[2 * j]
            grown = n + g[j] * g[j]
            z = nz[2 * j + 1] + g[j] - (math.sqrt(grown) - math.sqrt(n)) * inverse * w[j]
            nz[2 * j] = grown
            nz[2 * j + 1] = z
            squares += np.float64(z) * np.float64(z)
        norm = w.dtype.type(math.sqrt(squares))
        for r in range(rows):
            j = r * groups + k
            if norm > limit:
                pull = limit / norm - w.dtype.type(1)
                w[j] = nz[2 * j + 1] * pull / ((beta + math.sqrt(nz[2 * j])) * inverse + lambda2)
            else:
                w[j] = 0


# ---------------------------------------------------------------- rates and counts


@kernel()
def adapt_rate(lr: Any, g: Any, step: Any, out: Any, alpha: Any, normalized: bool) -> None:
    """Out = lr (1 - alpha cos(g, step)), or lr - alpha g step."""
    product = _ZERO
    for i in range(g.size):
        product += np.float64(g[i]) * np.float64(step[i])
    if normalized:
        sizes = max(math.sqrt(_squares(g)), _TINY) * max(math.sqrt(_squares(step)), _TINY)
        out[0] = np.float64(lr[0]) * (_ONE - np.float64(alpha) * product / sizes)
    else:
        out[0] = np.float64(lr[0]) - np.float64(alpha) * product


@kernel()
def count_rows(last: Any, counts: Any, indices: Any, now: Any, decay: Any) -> None:
    """Counts = 1 + exp(-decay (now - last)) counts; last = now, where now is later."""
    for r in range(indices.size):
        row = np.int64(indices[r])
        since = _ZERO
        if now[0] > last[row]:
            since = np.float64(now[0]) - np.float64(last[row])
            last[row] = now[0]
        counts[row] = _ONE + math.exp(-since * decay) * counts[row]


# ---------------------------------------------------------------- momentum with weight decay


@kernel()
def decayed_momentum(g: Any, m: Any, lr: Any, w: Any, mu: Any, nesterov: bool, decay: Any) -> None:
    """`momentum_sgd` for the gradient g + decay w."""
    rate = m.dtype.type(lr[0])
    for i in range(g.size):
        before = m[i]
        after = mu * before + rate * (g[i] + decay * w[i])
        step = after + mu * (after - before) if nesterov else after
        m[i] = after
        g[i] = step
        w[i] -= step
