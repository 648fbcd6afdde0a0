"""Optimizers: loops that change parameters and what is remembered of their gradients.

All arrays are flat and are changed where they lie. Dense loops pair element i of everything;
sparse ones take row r of the gradient for row indices[r] of the parameters, one row after the
other, so that an index that comes twice is applied twice. Optional results are arrays of size 0.
`lr` and `iters` are read when the net runs.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from caffe2py.errors import Error, ValueRangeError
from caffe2py.kernels.jit import Kernel, kernel
from caffe2py.kernels.parallel import CHUNK, by_rows, divisible, is_on_device, moving
from caffe2py.registry.context import Launch
from caffe2py.tensor.late import late
from caffe2py.tensor.place import on_host
from caffe2py.tensor.tensor import Array

__all__ = [
    "adadelta",
    "adadelta_step",
    "adagrad",
    "adagrad_rate",
    "adam",
    "adam_moments",
    "clip_by_scaling",
    "correct",
    "ftrl",
    "ftrl_step",
    "lars_rate",
    "launch_check_rows",
    "launch_elements",
    "launch_lars",
    "launch_rows",
    "momentum_sgd",
    "momentum_step",
    "rms_prop",
    "row_wise_adagrad",
    "row_wise_adam",
    "sparse_adadelta",
    "sparse_adagrad",
    "sparse_adam",
    "sparse_ftrl",
    "sparse_momentum_sgd",
]

_ONE = np.float64(1)
#: Above this length of the approximated moving average, rectified Adam trusts the variance.
_RHO = np.float64(5)
_FOUR = np.float64(4)
_TWO = np.float64(2)


# ---------------------------------------------------------------- indices


@kernel()
def _check_rows(indices: Any, rows: int) -> int:
    """1 + the position of the first index outside [0, rows), or 0."""
    for i in range(indices.size):
        if indices[i] < 0 or indices[i] >= rows:
            return i + 1
    return 0


def launch_check_rows(indices: Array, rows: int, name: str) -> Launch:
    """Nothing if all indices lie in [0, rows); else ValueRangeError naming the first that does not.

    To be launched before what writes.
    """
    flat = indices.reshape(-1)

    def explain(status: int) -> Error:
        position = status - 1
        return ValueRangeError(
            f"{name}[{position}] is {int(on_host(flat)[position])}, and there are {rows} row(s)"
        )

    return by_rows(
        lambda part, explain: _check_rows(part, rows, explain=explain), flat, explain=explain
    )


# ---------------------------------------------------------------- parts


def launch_elements(loop: Kernel, size: int, *args: Any) -> Launch:
    """loop(*args) for dense arrays of `size` elements, in parts if they are large.

    Arrays of as many elements, or of twice as many, belong to the elements; others are whole.
    """

    def part(first: int, end: int) -> Launch:
        if end - first == size:
            return loop(*args)
        return loop(*(_range(arg, size, first, end) for arg in args))

    work = moving(*(arg for arg in args if _is_array(arg)))
    return divisible(size, 2 * work, part, CHUNK)


def launch_rows(loop: Kernel, indices: Array, rows: int, width: int, *args: Any) -> list[Launch]:
    """loop(width, *args), which changes the rows that `indices` names, one after the other.

    Devices go over the rows side by side, and over those of one index in order. They leave all as
    it is if an index is not below `rows`.
    """
    if not is_on_device(indices):
        return [loop(width, *args)]
    make = late("kernels.cuda.updates", "launch_rows")
    launches: list[Launch] = make(loop.__name__, indices, rows, width, args)
    return launches


def _is_array(arg: Any) -> bool:
    return getattr(arg, "ndim", 0) > 0


def _range(arg: Any, size: int, first: int, end: int) -> Any:
    step = arg.size // size if _is_array(arg) and arg.size % size == 0 else 0
    return arg[first * step : end * step] if step else arg


# ---------------------------------------------------------------- momentum


def momentum_step(g: Any, m: Any, i: Any, j: Any, rate: Any, mu: Any, nesterov: bool) -> Any:
    """Turn g[i] into the step, remember it in m[j]."""
    before = m[j]
    after = mu * before + rate * g[i]
    m[j] = after
    step = after + mu * (after - before) if nesterov else after
    g[i] = step
    return step


@kernel()
def momentum_sgd(g: Any, m: Any, lr: Any, w: Any, mu: Any, nesterov: bool) -> None:
    """m = mu m + lr g; g = m, or m + mu (m - its old value); w -= g, if there is a w."""
    rate = m.dtype.type(lr[0])
    if w.size == 0:
        for i in range(g.size):
            momentum_step(g, m, i, i, rate, mu, nesterov)
    else:
        for i in range(g.size):
            w[i] -= momentum_step(g, m, i, i, rate, mu, nesterov)


@kernel()
def sparse_momentum_sgd(
    width: int, g: Any, m: Any, lr: Any, w: Any, indices: Any, mu: Any, nesterov: bool
) -> None:
    """`momentum_sgd` for rows of `width` elements."""
    rate = m.dtype.type(lr[0])
    for r in range(indices.size):
        to = np.int64(indices[r]) * width
        for k in range(width):
            w[to + k] -= momentum_step(g, m, r * width + k, to + k, rate, mu, nesterov)


# ---------------------------------------------------------------- Adagrad


def adagrad_rate(h: Any, j: Any, g: Any, rate: Any, epsilon: Any, decay: Any) -> Any:
    """Add a gradient to the moment h[j]; the rate for this element."""
    h[j] = decay * h[j] + g * g
    return rate / (math.sqrt(h[j]) + epsilon)


@kernel()
def adagrad(
    w: Any, h: Any, g: Any, lr: Any, rates: Any, steps: Any, epsilon: Any, decay: Any, weight: Any
) -> None:
    """g += weight w; h = decay h + g g; w += lr / (sqrt(h) + epsilon) g."""
    rate = w.dtype.type(lr[0])
    if rates.size == 0:
        for i in range(g.size):
            slope = g[i] + weight * w[i]
            w[i] += adagrad_rate(h, i, slope, rate, epsilon, decay) * slope
        return
    for i in range(g.size):
        slope = g[i] + weight * w[i]
        rates[i] = adagrad_rate(h, i, slope, rate, epsilon, decay)
        step = rates[i] * slope
        if steps.size > 0:
            steps[i] = step
        w[i] += step


@kernel()
def sparse_adagrad(
    width: int, w: Any, h: Any, indices: Any, g: Any, lr: Any, epsilon: Any, weight: Any
) -> None:
    """`adagrad` for rows of `width` elements, without decay."""
    rate = w.dtype.type(lr[0])
    decay = w.dtype.type(1)
    for r in range(indices.size):
        to = np.int64(indices[r]) * width
        for k in range(width):
            slope = g[r * width + k] + weight * w[to + k]
            w[to + k] += adagrad_rate(h, to + k, slope, rate, epsilon, decay) * slope


@kernel()
def row_wise_adagrad(
    width: int, w: Any, h: Any, indices: Any, g: Any, lr: Any, epsilon: Any, weight: Any
) -> None:
    """Adagrad with one moment a row: the mean of the squares joins it."""
    rate = w.dtype.type(lr[0])
    for r in range(indices.size):
        row = np.int64(indices[r])
        to = row * width
        total = w.dtype.type(0)
        for k in range(width):
            slope = g[r * width + k] + weight * w[to + k]
            total += slope * slope
        if width > 0:
            h[row] += total / w.dtype.type(width)
        own = rate / (math.sqrt(h[row]) + epsilon)
        for k in range(width):
            w[to + k] += own * (g[r * width + k] + weight * w[to + k])


# ---------------------------------------------------------------- Adam


def _correction(beta1: Any, beta2: Any, t: int) -> Any:
    """What makes up for moments that began at 0, after t gradients."""
    power = np.float64(t)
    one = _ONE
    return math.sqrt(one - math.pow(np.float64(beta2), power)) / (
        one - math.pow(np.float64(beta1), power)
    )


def adam_moments(m: Any, v: Any, j: Any, g: Any, beta1: Any, beta2: Any) -> None:
    """Take a gradient into both means of element j."""
    one = m.dtype.type(1)
    m[j] = m[j] * beta1 + g * (one - beta1)
    v[j] = v[j] * beta2 + g * g * (one - beta2)


@kernel()
def correct(iters: Any, beta1: Any, beta2: Any, rectify: bool, factor: Any) -> None:
    """factor = by what the moments are multiplied, or for rectified Adam the step; and its kind.

    The second element is 1, or 0 where the variance does not count.
    """
    number = factor.dtype.type
    t = iters[0] + 1
    factor[0] = number(_correction(beta1, beta2, t))
    factor[1] = number(1)
    if rectify:
        wide, varied = _rectified(factor, beta1, beta2, t)
        factor[0] = number(wide)
        if not varied:
            factor[1] = number(0)


@kernel()
def adam(
    w: Any, m: Any, v: Any, g: Any, lr: Any, correction: Any, steps: Any, beta1: Any, beta2: Any,
    epsilon: Any,
) -> None:  # fmt: skip
    """M and v are means of g and g g; w += lr c m / (sqrt(v) + epsilon), c as `correct` has it."""
    rate = w.dtype.type(lr[0])
    factor = correction[0]
    if steps.size == 0:
        for i in range(g.size):
            adam_moments(m, v, i, g[i], beta1, beta2)
            w[i] += rate * (factor * m[i] / (math.sqrt(v[i]) + epsilon))
        return
    for i in range(g.size):
        adam_moments(m, v, i, g[i], beta1, beta2)
        steps[i] = factor * m[i] / (math.sqrt(v[i]) + epsilon)
        w[i] += rate * steps[i]


def _rectified(w: Any, beta1: Any, beta2: Any, t: int) -> Any:
    """Rectified Adam at gradient t: the factor, and whether the variance counts."""
    power = np.float64(t)
    first = _ONE - math.pow(np.float64(beta1), power)
    decayed = math.pow(np.float64(beta2), power)
    one, two, four = w.dtype.type(1), w.dtype.type(2), w.dtype.type(4)
    longest = two / (one - beta2) - one
    rho = np.float64(longest) - _TWO * power * decayed / (_ONE - decayed)
    if rho < _RHO:
        return _ONE / first, False
    scale = np.float64(math.sqrt(longest / ((longest - four) * (longest - two))))
    shrink = math.sqrt((rho - _FOUR) * (rho - _TWO) / rho) * scale
    return shrink * math.sqrt(_ONE - decayed) / first, True


@kernel()
def sparse_adam(
    width: int, w: Any, m: Any, v: Any, indices: Any, g: Any, lr: Any, correction: Any, steps: Any,
    beta1: Any, beta2: Any, epsilon: Any,
) -> None:  # fmt: skip
    """`adam` for rows of `width` elements, or rectified Adam."""
    rate = w.dtype.type(lr[0])
    factor, varied = correction[0], correction[1] != 0
    for r in range(indices.size):
        to = np.int64(indices[r]) * width
        for k in range(width):
            adam_moments(m, v, to + k, g[r * width + k], beta1, beta2)
            step = factor * m[to + k]
            if varied:
                step /= math.sqrt(v[to + k]) + epsilon
            if steps.size > 0:
                steps[r * width + k] = step
            w[to + k] += rate * step


@kernel()
def row_wise_adam(
    width: int, w: Any, m: Any, v: Any, indices: Any, g: Any, lr: Any, correction: Any, steps: Any,
    beta1: Any, beta2: Any, epsilon: Any,
) -> None:  # fmt: skip
    """Adam with one v a row: the mean of the squares joins it."""
    one = w.dtype.type(1)
    rate = w.dtype.type(lr[0])
    factor = correction[0]
    for r in range(indices.size):
        row = np.int64(indices[r])
        to = row * width
        total = w.dtype.type(0)
        for k in range(width):
            total += g[r * width + k] * g[r * width + k]
        if width > 0:
            v[row] = v[row] * beta2 + total / w.dtype.type(width) * (one - beta2)
        below = math.sqrt(v[row]) + epsilon
        for k in range(width):
            m[to + k] = m[to + k] * beta1 + g[r * width + k] * (one - beta1)
            step = factor * m[to + k] / below
            if steps.size > 0:
                steps[r * width + k] = step
            w[to + k] += rate * step


# ---------------------------------------------------------------- RmsProp, Adadelta


@kernel()
def rms_prop(g: Any, v: Any, m: Any, lr: Any, decay: Any, mu: Any, epsilon: Any) -> None:
    """V is a mean of g g; m = mu m + lr g / sqrt(v + epsilon); g = m."""
    rate = m.dtype.type(lr[0])
    one = m.dtype.type(1)
    for i in range(g.size):
        v[i] += (one - decay) * (g[i] * g[i] - v[i])
        m[i] = mu * m[i] + rate * g[i] / math.sqrt(epsilon + v[i])
        g[i] = m[i]


def adadelta_step(h: Any, d: Any, j: Any, g: Any, epsilon: Any, decay: Any) -> Any:
    """Take a gradient into the moment h[j], the step into d[j]; the step."""
    one = h.dtype.type(1)
    h[j] = decay * h[j] + (one - decay) * g * g
    step = math.sqrt(d[j] + epsilon) / math.sqrt(h[j] + epsilon) * g
    d[j] = decay * d[j] + (one - decay) * step * step
    return step


@kernel()
def adadelta(w: Any, h: Any, d: Any, g: Any, lr: Any, epsilon: Any, decay: Any) -> None:
    """H and d are means of g g and of squared steps; w += lr sqrt(d) / sqrt(h) g."""
    rate = w.dtype.type(lr[0])
    for i in range(g.size):
        w[i] += rate * adadelta_step(h, d, i, g[i], epsilon, decay)


@kernel()
def sparse_adadelta(
    width: int, w: Any, h: Any, d: Any, indices: Any, g: Any, lr: Any, epsilon: Any, decay: Any
) -> None:
    """`adadelta` for rows of `width` elements."""
    rate = w.dtype.type(lr[0])
    for r in range(indices.size):
        to = np.int64(indices[r]) * width
        for k in range(width):
            w[to + k] += rate * adadelta_step(h, d, to + k, g[r * width + k], epsilon, decay)


# ---------------------------------------------------------------- Ftrl


def ftrl_step(
    w: Any, nz: Any, j: Any, g: Any, inverse: Any, beta: Any, lambda1: Any, lambda2: Any
) -> None:
    """Take a gradient into element j."""
    n = nz[2 * j]
    grown = n + g * g
    sigma = (math.sqrt(grown) - math.sqrt(n)) * inverse
    z = nz[2 * j + 1] + g - sigma * w[j]
    nz[2 * j] = grown
    nz[2 * j + 1] = z
    if abs(z) > lambda1:
        pull = lambda1 if z > 0 else -lambda1
        w[j] = (pull - z) / ((beta + math.sqrt(grown)) * inverse + lambda2)
    else:
        w[j] = 0


@kernel()
def ftrl(w: Any, nz: Any, g: Any, alpha: Any, beta: Any, lambda1: Any, lambda2: Any) -> None:
    """Follow the regularised leader; n and z lie side by side in `nz`."""
    inverse = w.dtype.type(1) / w.dtype.type(alpha[0])
    for i in range(g.size):
        ftrl_step(w, nz, i, g[i], inverse, beta, lambda1, lambda2)


@kernel()
def sparse_ftrl(
    width: int, w: Any, nz: Any, indices: Any, g: Any, alpha: Any, beta: Any, lambda1: Any,
    lambda2: Any,
) -> None:  # fmt: skip
    """`ftrl` for rows of `width` elements."""
    inverse = w.dtype.type(1) / w.dtype.type(alpha[0])
    for r in range(indices.size):
        to = np.int64(indices[r]) * width
        for k in range(width):
            ftrl_step(w, nz, to + k, g[r * width + k], inverse, beta, lambda1, lambda2)


# ---------------------------------------------------------------- norms


def lars_rate(
    size: Any, slope: Any, wd: Any, trust: Any, highest: Any, y: Any, offset: Any, lowest: Any
) -> Any:
    """trust / (|dx| / |x| + wd + offset), or 1 where x is 0, within [lowest, highest]."""
    rate = y.dtype.type(1)
    if size > 0:
        ratio = y.dtype.type(math.sqrt(slope) / math.sqrt(size))
        rate = trust[0] / (ratio + wd[0] + offset)
    if not rate <= highest[0]:
        rate = highest[0]
    return rate if rate >= lowest else lowest


@kernel("reassoc")
def _lars(
    x: Any, dx: Any, wd: Any, trust: Any, highest: Any, y: Any, offset: Any, lowest: Any
) -> None:
    size = np.float64(0)
    slope = np.float64(0)
    for i in range(x.size):
        size += np.float64(x[i]) * np.float64(x[i])
        slope += np.float64(dx[i]) * np.float64(dx[i])
    y[0] = lars_rate(size, slope, wd, trust, highest, y, offset, lowest)


def launch_lars(x: Array, dx: Array, y: Array, *numbers: Any) -> list[Launch]:
    """y = the rate of `lars_rate`; the numbers are wd, trust, highest, offset, lowest."""
    wd, trust, highest, offset, lowest = numbers
    rest = wd, trust, highest, y, offset, lowest
    if is_on_device(x):
        launches: list[Launch] = late("kernels.cuda.rates", "LARS").launch(x.size, (x, dx), y, rest)
        return launches
    return [_lars(x, dx, *rest)]


@kernel()
def clip_by_scaling(x: Any, norm: Any, factor: Any, y: Any, threshold: Any) -> None:
    """y = x limit / norm where norm > limit = threshold * factor, else x."""
    limit = threshold
    if factor.size > 0:
        limit *= factor[0]
    scale = y.dtype.type(1)
    if norm[0] > limit:
        scale = limit / norm[0]
    for i in range(x.size):
        y[i] = scale * x[i]
