"""Loops over images of another size: interpolated ones, blocks of pixels, sums of corners.

Images are (planes, height, width), one plane for each image and channel.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from caffe2py.kernels.copy import bits
from caffe2py.kernels.jit import kernel
from caffe2py.kernels.parallel import by_rows, is_on_device
from caffe2py.registry.context import Launch
from caffe2py.tensor.late import late
from caffe2py.tensor.tensor import Array


def nearest_places(size: int, scale: np.float32, count: int) -> Array:
    """For each of `count` places of a resized axis the one of `size` elements that it shows."""
    at = np.arange(count, dtype=np.float32) / scale
    return np.minimum(at.astype(np.int64), max(size - 1, 0))


# ---------------------------------------------------------------- interpolated


def between_places(size: int, count: int, dtype: Any) -> tuple[Array, Array]:
    """For `count` places spread over an axis of `size` elements: its neighbours, and a share.

    The neighbours are int64 (count, 2); the share is that of the second one. The first and the last
    place are those of the first and last element.
    """
    number = np.dtype(dtype).type
    step = number(size - 1) / number(count - 1) if count > 1 else number(0)
    at = np.arange(count).astype(dtype) * step
    low = np.minimum(at.astype(np.int64), max(size - 1, 0))
    high = np.minimum(low + 1, max(size - 1, 0))
    return np.stack([low, high], axis=1), at - low.astype(dtype)


@kernel()
def _stretch(x: Any, rows: Any, row_parts: Any, columns: Any, column_parts: Any, y: Any) -> None:
    one = x.dtype.type(1)
    for n in range(y.shape[0]):
        for i in range(y.shape[1]):
            top, below = x[n, rows[i, 0]], x[n, rows[i, 1]]
            v = row_parts[i]
            for j in range(y.shape[2]):
                u = column_parts[j]
                a = (one - u) * top[columns[j, 0]] + u * top[columns[j, 1]]
                b = (one - u) * below[columns[j, 0]] + u * below[columns[j, 1]]
                y[n, i, j] = (one - v) * a + v * b


_stretch.form_from("images", "stretch")


@kernel()
def _stretch_gradient(
    dy: Any, rows: Any, row_parts: Any, columns: Any, column_parts: Any, dx: Any
) -> None:
    one = dy.dtype.type(1)
    for n in range(dx.shape[0]):
        for i in range(dx.shape[1]):
            for j in range(dx.shape[2]):
                dx[n, i, j] = 0
        for i in range(dy.shape[1]):
            top, below = dx[n, rows[i, 0]], dx[n, rows[i, 1]]
            v = row_parts[i]
            for j in range(dy.shape[2]):
                u, g = column_parts[j], dy[n, i, j]
                top[columns[j, 0]] += (one - v) * (one - u) * g
                top[columns[j, 1]] += (one - v) * u * g
                below[columns[j, 0]] += v * (one - u) * g
                below[columns[j, 1]] += v * u * g


def _between(small: Array, large: Array) -> tuple[Array, Array, Array, Array]:
    rows = between_places(small.shape[1], large.shape[1], small.dtype)
    return *rows, *between_places(small.shape[2], large.shape[2], small.dtype)


def launch_stretch(x: Array, y: Array) -> Launch:
    """y = the planes x stretched over the size of y, linear in between. x has pixels if y has."""
    tables = _between(x, y)
    return by_rows(lambda a, b: _stretch(a, *tables, b), x, y)


def launch_stretch_gradient(dy: Array, dx: Array) -> Launch:
    """The way back: each element of dx gets what the places around it took from it."""
    tables = _between(dx, dy)
    if is_on_device(dy):
        launch: Launch = late("kernels.cuda.images", "launch_stretch_back")(dy, *tables, dx)
        return launch
    return by_rows(lambda b, a: _stretch_gradient(b, *tables, a), dy, dx)


# ---------------------------------------------------------------- blocks of pixels


@kernel()
def _blocks(x: Any, y: Any, block: Any, top: Any, left: Any, back: Any) -> None:
    """y[(k, l, n), c, i, j] = x[n, c, i * block + k - top, ...]; with `back` x from y."""
    zero = x.dtype.type(0)
    for part in range(y.shape[0]):
        n, place = part % x.shape[0], part // x.shape[0]
        for c in range(y.shape[1]):
            for i in range(y.shape[2]):
                row = i * block + place // block - top
                for j in range(y.shape[3]):
                    column = j * block + place % block - left
                    inside = 0 <= row < x.shape[2] and 0 <= column < x.shape[3]
                    if back and inside:
                        x[n, c, row, column] = y[part, c, i, j]
                    elif not back:
                        y[part, c, i, j] = x[n, c, row, column] if inside else zero


_blocks.form_from("images", "blocks")


def launch_blocks(
    x: Array, y: Array, block: int, top: int, left: int, *, back: bool = False
) -> Launch:
    """Pixel (k, l) of each block of x, as an image of its own: y[(k * block + l) * N + n].

    x is (N, C, H, W), y (N * block ** 2, C, rows, columns) of blocks that begin `top` and `left`
    pixels outside of the image; what is outside is 0. With `back` x is made from y: all of its
    pixels must lie in blocks.
    """
    return _blocks(bits(x), bits(y), block, top, left, back)


# ---------------------------------------------------------------- sums of corners


@kernel()
def _sum_corners(x: Any, y: Any) -> None:
    for n in range(y.shape[0]):
        for j in range(y.shape[2]):
            y[n, 0, j] = 0
        for i in range(x.shape[1]):
            total = x.dtype.type(0)
            y[n, i + 1, 0] = 0
            for j in range(x.shape[2]):
                total += x[n, i, j]
                y[n, i + 1, j + 1] = y[n, i, j + 1] + total


@kernel()
def _spread_corners(dy: Any, first: Any, dx: Any) -> None:
    """Sums from the corner that is `first`: 0 the top left one of dy, else the bottom right one."""
    height, width = dx.shape[1], dx.shape[2]
    for n in range(dx.shape[0]):
        for k in range(height):
            i = k if first == 0 else height - 1 - k
            total = dy.dtype.type(0)
            for m in range(width):
                j = m if first == 0 else width - 1 - m
                total += dy[n, i, j] if first == 0 else dy[n, i + 1, j + 1]
                above = dy.dtype.type(0)
                if k > 0:
                    above = dx[n, i - 1, j] if first == 0 else dx[n, i + 1, j]
                dx[n, i, j] = above + total


def launch_sum_corners(x: Array, y: Array) -> list[Launch]:
    """y[n, i, j] = the sum of x[n, :i, :j]; y has one row and one column more than x."""
    if is_on_device(x):
        launches: list[Launch] = late("kernels.cuda.images", "launch_sum_corners")(x, y)
        return launches
    return [by_rows(_sum_corners, x, y)]


def launch_spread_corners(dy: Array, dx: Array, *, exact: bool) -> list[Launch]:
    """dx[n, i, j] = the sum of dy[n, i + 1 :, j + 1 :], the gradient of launch_sum_corners.

    Without `exact` the sum of dy[n, : i + 1, : j + 1].
    """
    number = int(exact)
    if is_on_device(dy):
        launch = late("kernels.cuda.images", "launch_spread_corners")
        launches: list[Launch] = launch(dy, number, dx)
        return launches
    return [by_rows(lambda b, a: _spread_corners(b, number, a), dy, dx)]
