"""Loops over channels: moments, one factor and term a channel, windows of neighbouring channels.

Images of either order are seen as (outer, channels, inner): with the channels first `inner` counts
the pixels, with the channels last it is 1 and `outer` counts them.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from caffe2py.kernels.jit import kernel
from caffe2py.registry.context import Call, Launch
from caffe2py.tensor.tensor import Array

#: Two vectors, one element a channel.
Pair = tuple[Array, Array]


def by_channel(array: Array, last: bool) -> Array:
    """The array as (outer, channels, inner); `last` says that the last axis holds the channels."""
    shape = array.shape
    if last:
        return array.reshape(_count(shape[:-1]), shape[-1], 1)
    return array.reshape(shape[0], shape[1], _count(shape[2:]))


def _count(dims: tuple[int, ...]) -> int:
    count = 1
    for size in dims:
        count *= size
    return count


# ---------------------------------------------------------------- moments


@kernel("reassoc")
def _moments(x: Any, mean: Any, variance: Any) -> None:
    """Mean and (biased) variance of each channel in one pass; both are 0 for no elements.

    Sums are float64 and of differences from the channel's first element, so that a large mean
    costs no digits.
    """
    outer, channels, inner = x.shape
    for c in range(channels):
        mean[c] = 0
        variance[c] = 0
    if outer * inner == 0:
        return
    if inner == 1:
        for o in range(outer):
            for c in range(channels):
                d = np.float64(x[o, c, 0]) - np.float64(x[0, c, 0])
                mean[c] += d
                variance[c] += d * d
    else:
        for c in range(channels):
            first = np.float64(x[0, c, 0])
            total = 0.0
            squares = 0.0
            for o in range(outer):
                for i in range(inner):
                    d = np.float64(x[o, c, i]) - first
                    total += d
                    squares += d * d
            mean[c] = total
            variance[c] = squares
    for c in range(channels):
        d = mean[c] / (outer * inner)
        mean[c] = d + np.float64(x[0, c, 0])
        v = variance[c] / (outer * inner) - d * d
        variance[c] = 0.0 if v < 0 else v


def launch_moments(x: Array, moments: Pair) -> Launch:
    """Mean and biased variance, as float64, of each channel of x (outer, channels, inner)."""
    return _moments(x, *moments)


@kernel()
def _moments_of_sums(sums: Any, squares: Any, count: Any, mean: Any, variance: Any) -> None:
    for c in range(mean.size):
        mean[c] = sums[c] / np.float64(count)
        variance[c] = squares[c] / np.float64(count) - mean[c] * mean[c]


def launch_moments_of_sums(sums: Pair, count: int, moments: Pair) -> Launch:
    """Mean and biased variance from sums and sums of squares over `count` elements a channel."""
    return _moments_of_sums(*sums, count, *moments)


# ---------------------------------------------------------------- one factor and term a channel


def _affine_loops(x: Any, factor: Any, term: Any, y: Any) -> None:
    outer, channels, inner = y.shape
    for o in range(outer):
        if inner == 1:
            for c in range(channels):
                y[o, c, 0] = x[o, c, 0] * factor[c] + term[c]
        else:
            for c in range(channels):
                a = factor[c]
                b = term[c]
                for i in range(inner):
                    y[o, c, i] = x[o, c, i] * a + b


@kernel("contract")
def _affine(x: Any, factor: Any, term: Any, y: Any) -> None:
    _affine_loops(x, factor, term, y)


@kernel("contract")
def _affine_inplace(factor: Any, term: Any, y: Any) -> None:
    """Input and output under one name: the compiler sees that they do not overlap by accident."""
    _affine_loops(y, factor, term, y)


def launch_affine(x: Array, folded: Pair, y: Array) -> Launch:
    """Y = x * factor + term, one of each a channel; x may be y."""
    if x.ctypes.data == y.ctypes.data:
        return _affine_inplace(*folded, y)
    return _affine(x, *folded, y)


# ---------------------------------------------------------------- batch normalisation


@kernel()
def _fold(
    scale: Any, bias: Any, mean: Any, variance: Any, epsilon: Any, factor: Any, term: Any
) -> None:
    for c in range(factor.size):
        factor[c] = scale[c] / math.sqrt(variance[c] + epsilon)
        # the rounded factor: what it lacks is lacking for x and for the mean alike
        term[c] = bias[c] - np.float64(mean[c]) * factor[c]


def launch_fold(affine: Pair, moments: Pair, epsilon: float, out: Pair) -> Launch:
    """The factor scale / sqrt(variance + epsilon) and the term bias - mean * factor."""
    return _fold(*affine, *moments, epsilon, *out)


@kernel()
def _track(
    mean: Any,
    variance: Any,
    running_mean: Any,
    running_variance: Any,
    momentum: Any,
    unbiased: Any,
    saved_mean: Any,
    saved_inverse: Any,
    epsilon: Any,
) -> None:
    rest = 1 - momentum
    for c in range(mean.size):
        running_mean[c] = momentum * running_mean[c] + rest * mean[c]
        running_variance[c] = momentum * running_variance[c] + rest * (unbiased * variance[c])
        saved_mean[c] = mean[c]
        saved_inverse[c] = 1 / math.sqrt(variance[c] + epsilon)


def launch_track(
    moments: Pair, running: Pair, momentum: float, unbiased: float, saved: Pair, epsilon: float
) -> Launch:
    """Move the running mean and variance, and save the mean and 1 / sqrt(variance + epsilon).

    running = momentum * running + (1 - momentum) * new, the new variance times `unbiased`.
    """
    return _track(*moments, *running, momentum, unbiased, *saved, epsilon)


@kernel()
def _clear(a: Any, b: Any) -> None:
    for c in range(a.size):
        a[c] = 0
        b[c] = 0


def launch_clear(vectors: Pair) -> Launch:
    """Set both vectors to 0."""
    return _clear(*vectors)


def _normalize_loops(x: Any, mean: Any, inverse: Any, scale: Any, bias: Any, y: Any) -> None:
    outer, channels, inner = y.shape
    for o in range(outer):
        if inner == 1:
            for c in range(channels):
                y[o, c, 0] = (x[o, c, 0] - mean[c]) * (scale[c] * inverse[c]) + bias[c]
        else:
            for c in range(channels):
                middle = mean[c]
                a = scale[c] * inverse[c]
                b = bias[c]
                for i in range(inner):
                    y[o, c, i] = (x[o, c, i] - middle) * a + b


@kernel("contract")
def _normalize(x: Any, mean: Any, inverse: Any, scale: Any, bias: Any, y: Any) -> None:
    _normalize_loops(x, mean, inverse, scale, bias, y)


@kernel("contract")
def _normalize_inplace(mean: Any, inverse: Any, scale: Any, bias: Any, y: Any) -> None:
    _normalize_loops(y, mean, inverse, scale, bias, y)


def launch_normalize(x: Array, saved: Pair, affine: Pair, y: Array) -> Launch:
    """Y = (x - mean) * inv_std * scale + bias; x may be y.

    Unlike a folded factor and term this is exact where a channel hardly varies.
    """
    if x.ctypes.data == y.ctypes.data:
        return _normalize_inplace(*saved, *affine, y)
    return _normalize(x, *saved, *affine, y)


# ---------------------------------------------------------------- its gradient


@kernel("reassoc")
def _sum_products(x: Any, dy: Any, mean: Any, products: Any, totals: Any) -> None:
    outer, channels, inner = x.shape
    for c in range(channels):
        products[c] = 0
        totals[c] = 0
    if inner == 1:
        for o in range(outer):
            for c in range(channels):
                g = np.float64(dy[o, c, 0])
                totals[c] += g
                products[c] += g * (np.float64(x[o, c, 0]) - mean[c])
        return
    for c in range(channels):
        middle = np.float64(mean[c])
        product = 0.0
        total = 0.0
        for o in range(outer):
            for i in range(inner):
                g = np.float64(dy[o, c, i])
                total += g
                product += g * (np.float64(x[o, c, i]) - middle)
        products[c] = product
        totals[c] = total


@kernel()
def _affine_gradient(products: Any, totals: Any, inverse: Any, dscale: Any, dbias: Any) -> None:
    for c in range(dscale.size):
        dscale[c] = products[c] * inverse[c]
        dbias[c] = totals[c]


def launch_affine_gradient(call: Call, x: Array, dy: Array, saved: Pair, out: Pair) -> list[Launch]:
    """dscale = sum of dy * (x - mean) * inv_std and dbias = sum of dy; `saved` is mean, inv_std."""
    mean, inverse = saved
    products, totals = (call.scratch(mean.shape, np.float64) for _ in range(2))
    return [
        _sum_products(x, dy, mean, products, totals),
        _affine_gradient(products, totals, inverse, *out),
    ]


@kernel()
def _fixed_factors(scale: Any, variance: Any, epsilon: Any, inverse: Any, factor: Any) -> None:
    for c in range(factor.size):
        inverse[c] = 1 / math.sqrt(variance[c] + epsilon)
        factor[c] = scale[c] * inverse[c]


@kernel()
def _scaled(x: Any, factor: Any, y: Any) -> None:
    outer, channels, inner = y.shape
    for o in range(outer):
        for c in range(channels):
            a = factor[c]
            for i in range(inner):
                y[o, c, i] = x[o, c, i] * a


def launch_fixed_gradient(
    scale: Array,
    variance: Array,
    epsilon: float,
    dy: Array,
    inverse: Array,
    factor: Array,
    dx: Array,
) -> list[Launch]:
    """Dx = dy * scale * inverse, where inverse = 1 / sqrt(variance + epsilon) is fixed."""
    return [_fixed_factors(scale, variance, epsilon, inverse, factor), _scaled(dy, factor, dx)]


@kernel()
def _batch_factors(
    scale: Any,
    inverse: Any,
    dscale: Any,
    dbias: Any,
    count: Any,
    factor: Any,
    slope: Any,
    term: Any,
) -> None:
    for c in range(factor.size):
        a = np.float64(scale[c]) * inverse[c]
        factor[c] = a
        slope[c] = -a * inverse[c] * dscale[c] / count
        term[c] = -a * dbias[c] / count


@kernel("contract")
def _batch_gradient(
    x: Any, dy: Any, mean: Any, factor: Any, slope: Any, term: Any, dx: Any
) -> None:
    outer, channels, inner = x.shape
    for o in range(outer):
        if inner == 1:
            for c in range(channels):
                d = x[o, c, 0] - mean[c]
                dx[o, c, 0] = dy[o, c, 0] * factor[c] + (d * slope[c] + term[c])
        else:
            for c in range(channels):
                a = factor[c]
                b = slope[c]
                t = term[c]
                middle = mean[c]
                for i in range(inner):
                    d = x[o, c, i] - middle
                    dx[o, c, i] = dy[o, c, i] * a + (d * b + t)


def launch_batch_gradient(
    call: Call, x: Array, dy: Array, scale: Array, saved: Pair, sums: Pair, dx: Array
) -> list[Launch]:
    """Dx = scale * inv_std * (dy - (dbias + (x - mean) * inv_std * dscale) / count).

    `saved` holds mean and inv_std, `sums` dscale and dbias; `count` is the size of a channel of x.
    """
    mean, inverse = saved
    factors = [call.scratch(mean.shape, x.dtype) for _ in range(3)]
    count = float(x.shape[0] * x.shape[2])
    return [
        _batch_factors(scale, inverse, *sums, count, *factors),
        _batch_gradient(x, dy, mean, *factors, dx),
    ]


# ---------------------------------------------------------------- windows of neighbouring channels


def _clear_row(row: Any) -> None:
    for j in range(row.size):
        row[j] = 0


def _overlap(a: Any, b: Any, shift: Any) -> Any:
    """The parts of two rows of one length where b[j + shift] stands against a[j]."""
    if shift < 0:
        return a[-shift:], b[: max(b.size + shift, 0)]
    return a[: max(a.size - shift, 0)], b[shift:]


def _response_scale(
    x: Any, inner: Any, before: Any, after: Any, alpha: Any, bias: Any, scale: Any
) -> None:
    """scale = bias + alpha * sum of squares over a window of channels."""
    _clear_row(scale)
    for k in range(-before, after + 1):
        here, there = _overlap(scale, x, k * inner)
        for j in range(here.size):
            here[j] += there[j] * there[j]
    for j in range(scale.size):
        scale[j] = bias + alpha * scale[j]


def _over_power(x: Any, scale: Any, beta: Any, y: Any) -> None:
    """Y = x * scale ** -beta; the powers that networks use need no logarithm."""
    if beta == 0.75:
        for j in range(y.size):
            root = math.sqrt(scale[j])
            y[j] = x[j] / (root * math.sqrt(root))
    elif beta == 0.5:
        for j in range(y.size):
            y[j] = x[j] / math.sqrt(scale[j])
    elif beta == 1:
        for j in range(y.size):
            y[j] = x[j] / scale[j]
    else:
        for j in range(y.size):
            y[j] = x[j] * scale[j] ** -beta


@kernel("contract")
def _response(
    x: Any,
    inner: Any,
    before: Any,
    after: Any,
    alpha: Any,
    bias: Any,
    beta: Any,
    scale: Any,
    y: Any,
) -> None:
    for o in range(x.shape[0]):
        row = scale[o] if scale.shape[0] > 1 else scale[0]
        _response_scale(x[o], inner, before, after, alpha, bias, row)
        _over_power(x[o], row, beta, y[o])


@kernel("contract")
def _response_gradient(
    x: Any,
    y: Any,
    dy: Any,
    inner: Any,
    before: Any,
    after: Any,
    alpha: Any,
    bias: Any,
    beta: Any,
    scratch: Any,
    dx: Any,
) -> None:
    scale, ratio, sums = scratch[0], scratch[1], scratch[2]
    steep = x.dtype.type(-2) * alpha * beta
    for o in range(x.shape[0]):
        _response_scale(x[o], inner, before, after, alpha, bias, scale)
        for j in range(scale.size):
            ratio[j] = dy[o, j] * y[o, j] / scale[j]
        _clear_row(sums)
        for k in range(-after, before + 1):
            here, there = _overlap(sums, ratio, k * inner)
            for j in range(here.size):
                here[j] += there[j]
        _over_power(dy[o], scale, beta, dx[o])
        for j in range(scale.size):
            dx[o, j] += steep * x[o, j] * sums[j]


@dataclass(frozen=True)
class Response:
    """Local response normalisation: y = x * scale ** -beta, scale = bias + alpha * sum(x * x).

    The sum is over a channel, `before` channels before it and `after` behind it.
    """

    before: int
    after: int
    alpha: float
    bias: float
    beta: float

    def _scalars(self, x: Array) -> tuple[Any, ...]:
        number = x.dtype.type
        sizes = (x.shape[2], self.before, self.after)
        return (*sizes, number(self.alpha), number(self.bias), number(self.beta))

    def launch(self, call: Call, x: Array, y: Array, scale: Array | None) -> Launch:
        """All arrays are (outer, channels, inner); `scale` is kept where it is asked for."""
        length = x.shape[1] * x.shape[2]
        kept = call.scratch((1, length), x.dtype) if scale is None else _flat(scale)
        return _response(_flat(x), *self._scalars(x), kept, _flat(y))

    def launch_gradient(self, call: Call, x: Array, y: Array, dy: Array, dx: Array) -> Launch:
        """Dx = dy * scale ** -beta - 2 * alpha * beta * x * sum of dy * y / scale."""
        scratch = call.scratch((3, x.shape[1] * x.shape[2]), x.dtype)
        return _response_gradient(
            _flat(x), _flat(y), _flat(dy), *self._scalars(x), scratch, _flat(dx)
        )


def _flat(x: Array) -> Array:
    return x.reshape(x.shape[0], x.shape[1] * x.shape[2])
