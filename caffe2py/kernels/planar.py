"""Loops between packed bytes and planes of numbers, for nets that change the style of pictures."""

from __future__ import annotations

from typing import Any

from caffe2py.kernels.jit import kernel
from caffe2py.kernels.parallel import CHUNK, by_rows, divisible
from caffe2py.kernels.random import normal, stream
from caffe2py.registry.context import Launch
from caffe2py.tensor.tensor import Array


@kernel()
def _draw_once(state: Any, std: Any, noise: Any, first: int) -> None:
    """The same numbers in every run: the state does not advance."""
    key = stream(state)
    for i in range(noise.size):
        noise[i] = noise.dtype.type(normal(key, first + i) * std)


def launch_draw_once(state: Array, std: float, noise: Array) -> Launch:
    """Fill `noise` with normal numbers, the same ones in every run."""
    return divisible(
        noise.size,
        20.0 * noise.size,
        lambda first, end: _draw_once(state, float(std), noise[first:end], first),
        CHUNK,
    )


@kernel()
def _unpack(x: Any, mean: Any, noise: Any, y: Any) -> None:
    for n in range(y.shape[0]):
        for c in range(y.shape[1]):
            at = c % noise.size
            step = y.shape[1] % noise.size
            for i in range(y.shape[2]):
                y[n, c, i] = y.dtype.type(x[n, i, c]) - mean[c] + noise[at]
                at += step
                at -= noise.size if at >= noise.size else 0


_unpack.form_from("images", "unpack")


def launch_unpack(x: Array, mean: Array, noise: Array, y: Array) -> Launch:
    """y[n, c, i] = x[n, i, c] - mean[c] + noise[i * channels + c], the noise repeated.

    x is (N, pixels, 4) bytes, y (N, 3, pixels); a fourth channel of x is passed over.
    """
    return by_rows(lambda a, b: _unpack(a, mean, noise, b), x, y)


@kernel()
def _pack(x: Any, mean: Any, y: Any) -> None:
    number = x.dtype.type
    for n in range(x.shape[0]):
        for c in range(x.shape[1]):
            for i in range(x.shape[2]):
                value = x[n, c, i] + mean[c]
                if not value > 0:  # no number at all becomes 0, too
                    value = number(0)
                y[n, i, c] = int(min(value, number(255)))
        for i in range(x.shape[2]):
            y[n, i, 3] = 255


_pack.form_from("images", "pack")


def launch_pack(x: Array, mean: Array, y: Array) -> Launch:
    """y[n, i, c] = x[n, c, i] + mean[c] cut to a byte, y[n, i, 3] = 255; y is (N, pixels, 4)."""
    return by_rows(lambda a, b: _pack(a, mean, b), x, y)


@kernel()
def _standardize(x: Any, mean: Any, deviation: Any, y: Any) -> None:
    for n in range(x.shape[0]):
        for c in range(x.shape[1]):
            for i in range(x.shape[2]):
                y[n, c, i] = (x[n, c, i] - mean[c]) / deviation[c]


_standardize.form_from("images", "standardize")


def launch_standardize(x: Array, mean: Array, deviation: Array, y: Array) -> Launch:
    """y[n, c, i] = (x[n, c, i] - mean[c]) / deviation[c]; y may be x."""
    return by_rows(lambda a, b: _standardize(a, mean, deviation, b), x, y)
