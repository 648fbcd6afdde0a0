"""Loops over channels on devices: their moments and sums, maps with values a channel, windows."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from caffe2py.kernels.cuda.form import Form, device_kernel
from caffe2py.kernels.cuda.rows import elements
from caffe2py.kernels.cuda.sums import ChannelSums
from caffe2py.kernels.cuda.teams import blocks_for_rows, piece, pieces_of, team

# ---------------------------------------------------------------- sums


def _from_first(n: Any, o: Any, c: Any, i: Any, x: Any) -> Any:
    d = np.float64(x[o, c, i]) - np.float64(x[0, c, 0])
    return d, d * d


def _use_moments(k: Any, a: Any, b: Any, x: Any, mean: Any, variance: Any) -> None:
    count = x.shape[0] * x.shape[2]
    if count == 0:
        mean[k] = 0.0
        variance[k] = 0.0
    else:
        d = a / count
        mean[k] = d + np.float64(x[0, k, 0])
        variance[k] = max(b / count - d * d, 0.0)


def _with_distance(n: Any, o: Any, c: Any, i: Any, x: Any, dy: Any, mean: Any) -> Any:
    g = np.float64(dy[o, c, i])
    return g * (np.float64(x[o, c, i]) - mean[c]), g


def _use_slopes(k: Any, a: Any, b: Any, inverse: Any, dscale: Any, dbias: Any) -> None:
    dscale[k] = a * inverse[k]
    dbias[k] = b


def _with_square(n: Any, o: Any, c: Any, i: Any, x: Any) -> Any:
    value = np.float64(x[o, c, i])
    return value, value * value


def _use_scaled(k: Any, a: Any, b: Any, factor: Any, sums: Any, squares: Any) -> None:
    sums[k] = a * factor
    squares[k] = b * factor


#: Of x (outer, channels, inner): mean and biased variance, float64; dscale and dbias; sums of x and
#: of x * x, times a factor.
MOMENTS = ChannelSums("channel_moments", _from_first, _use_moments)
SLOPES = ChannelSums("channel_gradient", _with_distance, _use_slopes)
SUMS = ChannelSums("channel_sums", _with_square, _use_scaled)

# ---------------------------------------------------------------- maps with values a channel


def map_form(
    names: Sequence[str], name: str, per_pixel: str, per_run: str, vectors: int, names_used: Any
) -> Form:
    """The loop of `channels._channel_loop` for devices: the same calls, rows shared by threads."""
    lines = [
        f"def form({', '.join(names)}):",
        "    rows, columns = y.shape",
        "    k, step, lane, threads = team(columns)",
        "    while k < pieces_of(rows, columns):",
        "        r, begin, end = piece(k, columns)",
        "        i = begin + lane",
        "        if last:",
        "            while i < end:",
        f"                y[r, i] = f({per_pixel})",
        "                i += threads",
        "        else:",
        "            c = (first + r) % v0.size",
        *(f"            a{k} = v{k}[c]" for k in range(vectors)),
        "            while i < end:",
        f"                y[r, i] = f({per_run})",
        "                i += threads",
        "        k += step",
    ]
    namespace: dict[str, Any] = {**names_used, "team": team, "piece": piece, "pieces_of": pieces_of}
    exec("\n".join(lines), namespace)
    function: Callable[..., Any] = namespace["form"]
    function.__name__ = name
    at = list(names).index("y")
    return function, lambda *args: blocks_for_rows(*args[at].shape)


def _slope_shape(x: Any, dmean: Any, dsquares: Any, factor: Any, dx: Any) -> Any:
    outer, channels, inner = x.shape
    if inner == 1:
        return outer, channels
    return outer * channels, inner


def _slope_at(r: Any, k: Any, x: Any, dmean: Any, dsquares: Any, factor: Any, dx: Any) -> None:
    if x.shape[2] == 1:
        o, c, i = r, k, 0
    else:
        o, c, i = r // x.shape[1], r % x.shape[1], k
    slope = np.float64(dmean[c]) + 2.0 * np.float64(x[o, c, i]) * dsquares[c]
    dx[o, c, i] = slope * factor


#: For `_channel_slopes`.
channel_slopes = elements("_channel_slopes", _slope_shape, _slope_at)

# ---------------------------------------------------------------- windows of channels


def _response_shape(
    x: Any, inner: Any, before: Any, after: Any, alpha: Any, bias: Any, beta: Any, scale: Any,
    y: Any, start: Any, end: Any,
) -> Any:  # fmt: skip
    return x.shape


def _window_scale(
    x: Any, o: Any, j: Any, inner: Any, before: Any, after: Any, alpha: Any, bias: Any
) -> Any:
    """Bias + alpha * the sum of squares over the window of channels around x[o, j]."""
    total = x.dtype.type(0)
    k = max(j - before * inner, j % inner)
    end = min(j + after * inner, x.shape[1] - 1)
    while k <= end:
        total += x[o, k] * x[o, k]
        k += inner
    return bias + alpha * total


def _over_power(x: Any, scale: Any, beta: Any) -> Any:
    """X * scale ** -beta; the powers that networks use need no logarithm."""
    if beta == 0.75:
        root = math.sqrt(scale)
        return x / (root * math.sqrt(root))
    if beta == 0.5:
        return x / math.sqrt(scale)
    if beta == 1:
        return x / scale
    return x * scale**-beta


def _response_at(
    o: Any, j: Any, x: Any, inner: Any, before: Any, after: Any, alpha: Any, bias: Any, beta: Any,
    scale: Any, y: Any, start: Any, end: Any,
) -> None:  # fmt: skip
    around = _window_scale(x, o, j, inner, before, after, alpha, bias)
    if scale.shape[0] == x.shape[0]:
        scale[o, j] = around
    y[o, j] = _over_power(x[o, j], around, beta)


#: For `_response`; of a scale that is not kept there is one row.
response = elements("_response", _response_shape, _response_at)


def _gradient_shape(
    x: Any, y: Any, dy: Any, inner: Any, before: Any, after: Any, alpha: Any, beta: Any,
    scale: Any, dx: Any,
) -> Any:  # fmt: skip
    return x.shape


def _gradient_at(
    o: Any, j: Any, x: Any, y: Any, dy: Any, inner: Any, before: Any, after: Any, alpha: Any,
    beta: Any, scale: Any, dx: Any,
) -> None:  # fmt: skip
    total = x.dtype.type(0)
    k = max(j - after * inner, j % inner)
    end = min(j + before * inner, x.shape[1] - 1)
    while k <= end:
        total += dy[o, k] * y[o, k] / scale[o, k]
        k += inner
    steep = x.dtype.type(-2) * alpha * beta
    dx[o, j] = _over_power(dy[o, j], scale[o, j], beta) + steep * x[o, j] * total


_gradient = elements("_response_gradient", _gradient_shape, _gradient_at)

#: dx from the scale of each element, (outer, length) as all arrays.
RESPONSE_GRADIENT = device_kernel(_gradient[1])(_gradient[0])
