"""Optimizers whose rate depends on the whole gradient, on groups of it, or on counts of rows.

As in `caffe2py.kernels.update`, arrays are flat and are changed where they lie.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from caffe2py.kernels.jit import kernel
from caffe2py.kernels.parallel import CHUNK, divisible, is_on_device, moving
from caffe2py.registry.context import Call, Launch
from caffe2py.tensor.late import late
from caffe2py.tensor.tensor import Array

__all__ = [
    "adapted_rate",
    "decayed_momentum",
    "launch_adapt_rate",
    "launch_count_rows",
    "launch_gftrl",
    "launch_grow",
    "launch_storm",
    "launch_storm_numbers",
    "launch_wngrad",
    "sparse_storm",
    "sparse_wngrad",
    "storm_rate",
    "storm_step",
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


def storm_rate(s: Any, lr: Any, beta: Any) -> Any:
    """The rate for a sum of squares."""
    power = math.pow(np.float64(beta + s[0]), _CUBE_ROOT)
    return s.dtype.type(np.float64(lr[0]) * power)


def storm_step(w: Any, m: Any, j: Any, g: Any, rate: Any, keep: Any) -> None:
    """One element."""
    m[j] = g + keep * (m[j] - g)
    w[j] += rate * m[j]


@kernel()
def _storm_numbers(s: Any, g: Any, lr: Any, mu: Any, beta: Any, numbers: Any) -> None:
    """Add the squares of a gradient to s; the rate, and how much of the moment is kept."""
    s[0] += s.dtype.type(_squares(g))
    rate = storm_rate(s, lr, beta)
    numbers[0] = rate
    numbers[1] = s.dtype.type(1) - mu * rate * rate


@kernel()
def _storm(w: Any, m: Any, g: Any, numbers: Any) -> None:
    """S += |g|^2; r = lr / cbrt(beta + s); m = g + (1 - mu r r) (m - g); w += r m."""
    for i in range(g.size):
        storm_step(w, m, i, g[i], numbers[0], numbers[1])


@kernel()
def sparse_storm(width: int, w: Any, m: Any, indices: Any, g: Any, numbers: Any) -> None:
    """`storm` for rows of `width` elements."""
    for r in range(indices.size):
        to = np.int64(indices[r]) * width
        for k in range(width):
            storm_step(w, m, to + k, g[r * width + k], numbers[0], numbers[1])


def launch_storm_numbers(
    call: Call, s: Array, g: Array, lr: Array, mu: Any, beta: Any
) -> tuple[list[Launch], Array]:
    """s += |g|^2; two numbers: the rate lr / cbrt(beta + s), and how much of the moment is kept."""
    numbers = call.scratch((2,), s.dtype)
    if not is_on_device(g):
        return [_storm_numbers(s, g, lr, mu, beta, numbers)], numbers
    launches = late("kernels.cuda.rates", "launch_storm_numbers")(s, g, lr, mu, beta, numbers)
    return launches, numbers


def launch_storm(w: Array, m: Array, g: Array, numbers: Array) -> Launch:
    """m = g + numbers[1] (m - g); w += numbers[0] m."""
    return divisible(
        g.size,
        2 * moving(w, m, g),
        lambda a, b: _storm(w[a:b], m[a:b], g[a:b], numbers),
        CHUNK,
    )


# ---------------------------------------------------------------- Wngrad


@kernel()
def _wngrad(w: Any, b: Any, g: Any, lr: Any, steps: Any, epsilon: Any) -> None:
    """W += lr / (b + epsilon) g."""
    rate = lr[0] / (b[0] + epsilon)
    for i in range(g.size):
        step = rate * g[i]
        if steps.size > 0:
            steps[i] = step
        w[i] += step


@kernel()
def _wngrad_rate(b: Any, lr: Any, rates: Any, epsilon: Any) -> None:
    rates[0] = lr[0] / (b[0] + epsilon)


@kernel()
def _grow(b: Any, g: Any, epsilon: Any) -> None:
    b[0] += b.dtype.type(_squares(g)) / (b[0] + epsilon)


def launch_wngrad(
    w: Array, b: Array, g: Array, lr: Array, rates: Array, steps: Array, epsilon: Any
) -> list[Launch]:
    """W += lr / (b + epsilon) g; then b += |g|^2 / (b + epsilon)."""

    def part(first: int, end: int) -> Launch:
        own = steps[first:end] if steps.size else steps
        return _wngrad(w[first:end], b, g[first:end], lr, own, epsilon)

    launches = [divisible(g.size, 2 * moving(w, g), part, CHUNK)]
    if rates.size:
        launches.append(_wngrad_rate(b, lr, rates, epsilon))
    return [*launches, *launch_grow(b, g, epsilon)]


def launch_grow(b: Array, g: Array, epsilon: Any) -> list[Launch]:
    """b += |g|^2 / (b + epsilon)."""
    if not is_on_device(g):
        return [_grow(b, g, epsilon)]
    launches: list[Launch] = late("kernels.cuda.rates", "launch_grow")(b, g, epsilon)
    return launches


@kernel()
def sparse_wngrad(width: int, w: Any, b: Any, indices: Any, g: Any, lr: Any, epsilon: Any) -> None:
    """`wngrad` for rows of `width` elements; b stays as it is."""
    rate = lr[0] / (b[0] + epsilon)
    for r in range(indices.size):
        to = np.int64(indices[r]) * width
        for k in range(width):
            w[to + k] += rate * g[r * width + k]


# ---------------------------------------------------------------- Ftrl for groups


@kernel()
def _gftrl(
    w: Any, nz: Any, g: Any, alpha: Any, groups: int, beta: Any, lambda1: Any, lambda2: Any,
    first: int, end: int,
) -> None:  # fmt: skip
    rows = w.size // groups
    inverse = w.dtype.type(1) / w.dtype.type(alpha[0])
    limit = lambda1 * w.dtype.type(math.sqrt(np.float64(rows)))
    for k in range(first, end):
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


def launch_gftrl(
    w: Array, nz: Array, g: Array, alpha: Array, groups: int, *numbers: Any
) -> list[Launch]:
    """`ftrl` in which the z of a column decide together whether it is 0; w is (rows, groups).

    The numbers are beta, lambda1 and lambda2.
    """
    if groups == 0:
        return []
    own = (w, nz, g, alpha, groups, *numbers)
    work = 4 * moving(w, nz, g)
    return [divisible(groups, work, lambda first, end: _gftrl(*own, first, end))]


# ---------------------------------------------------------------- rates and counts


def adapted_rate(
    product: Any, squares: Any, step_squares: Any, lr: Any, alpha: Any, normalized: Any
) -> Any:
    """lr (1 - alpha cos), or lr - alpha product."""
    if normalized:
        sizes = max(math.sqrt(squares), _TINY) * max(math.sqrt(step_squares), _TINY)
        return np.float64(lr[0]) * (_ONE - np.float64(alpha) * product / sizes)
    return np.float64(lr[0]) - np.float64(alpha) * product


@kernel()
def _adapt_rate(lr: Any, g: Any, step: Any, out: Any, alpha: Any, normalized: bool) -> None:
    product = _ZERO
    for i in range(g.size):
        product += np.float64(g[i]) * np.float64(step[i])
    squares, step_squares = _ZERO, _ZERO
    if normalized:
        squares, step_squares = _squares(g), _squares(step)
    out[0] = adapted_rate(product, squares, step_squares, lr, alpha, normalized)


def launch_adapt_rate(
    lr: Array, g: Array, step: Array, out: Array, alpha: Any, *, normalized: bool
) -> list[Launch]:
    """Out = lr (1 - alpha cos(g, step)), or lr - alpha g step."""
    if not is_on_device(g):
        return [_adapt_rate(lr, g, step, out, alpha, normalized)]
    launch = late("kernels.cuda.rates", "launch_adapt")
    launches: list[Launch] = launch(lr, g, step, out, alpha, normalized=normalized)
    return launches


@kernel()
def _count_rows(last: Any, counts: Any, indices: Any, now: Any, decay: Any) -> None:
    """Counts = 1 + exp(-decay (now - last)) counts; last = now, where now is later."""
    for r in range(indices.size):
        row = np.int64(indices[r])
        since = _ZERO
        if now[0] > last[row]:
            since = np.float64(now[0]) - np.float64(last[row])
            last[row] = now[0]
        counts[row] = _ONE + math.exp(-since * decay) * counts[row]


def launch_count_rows(
    last: Array, counts: Array, indices: Array, now: Array, decay: Any
) -> list[Launch]:
    """For each index in turn counts = 1 + exp(-decay (now - last)) counts; last = now if later."""
    args = last, counts, indices, now, decay
    if not is_on_device(indices):
        return [_count_rows(*args)]
    launch = late("kernels.cuda.updates", "launch_rows")
    launches: list[Launch] = launch("count_rows", indices, last.size, 1, args)
    return launches


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
