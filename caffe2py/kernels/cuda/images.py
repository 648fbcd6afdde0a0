"""Images of another size or frame, on devices: each element of the result by a thread of its own.

Gradients are gathered: a table says for each row (or column) which ones have shown it, so each
element adds up what it is due in the order of the places.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from caffe2py.kernels.cuda.form import device_kernel, form
from caffe2py.kernels.cuda.teams import (
    blocks_for_items,
    blocks_for_rows,
    piece,
    pieces_of,
    team,
)
from caffe2py.kernels.cuda.threads import cuda
from caffe2py.registry.context import Launch
from caffe2py.tensor.tensor import Array


def _last_blocks(*args: Any) -> int:
    """Teams for the rows of the last array."""
    y = args[-1]
    return blocks_for_rows(y.shape[0] * y.shape[1], y.size // max(y.shape[0] * y.shape[1], 1))


# ---------------------------------------------------------------- pixels from other places


@form(_last_blocks)
def gather_elements(x: Any, rows: Any, columns: Any, value: Any, y: Any) -> None:
    """For `_gather_elements`."""
    high, wide = y.shape[1], y.shape[2]
    first, step, lane, lanes = team(wide)
    for k in range(first, pieces_of(y.shape[0] * high, wide), step):
        line, begin, end = piece(k, wide)
        n = line // high
        i = line - n * high
        row = rows[i]
        for j in range(begin + lane, end, lanes):
            column = columns[j]
            y[n, i, j] = x[n, row, column] if row >= 0 and column >= 0 else value


@form(_last_blocks)
def gather_pixels(x: Any, rows: Any, columns: Any, value: Any, y: Any) -> None:
    """For `_gather_pixels`."""
    high, wide, inner = y.shape[1], y.shape[2], y.shape[3]
    first, step, lane, lanes = team(wide * inner)
    for k in range(first, pieces_of(y.shape[0] * high, wide * inner), step):
        line, begin, end = piece(k, wide * inner)
        n = line // high
        i = line - n * high
        row = rows[i]
        for e in range(begin + lane, end, lanes):
            j = e // inner
            c = e - j * inner
            column = columns[j]
            y[n, i, j, c] = x[n, row, column, c] if row >= 0 and column >= 0 else value


def _members(places: Array, size: int) -> tuple[Array, Array]:
    """(starts, members): who of `places` names k are members[starts[k] : starts[k + 1]]."""
    order = np.argsort(places, kind="stable")
    starts = np.searchsorted(places[order], np.arange(size + 1))
    return starts.astype(np.int64), order.astype(np.int64)


@device_kernel(lambda *args: _last_blocks(*args))
def _scatter(
    dy: Any, row_starts: Any, row_members: Any, column_starts: Any, column_members: Any, dx: Any
) -> None:
    high, wide, inner = dx.shape[1], dx.shape[2], dx.shape[3]
    first, step, lane, lanes = team(wide * inner)
    for k in range(first, pieces_of(dx.shape[0] * high, wide * inner), step):
        line, begin, end = piece(k, wide * inner)
        n = line // high
        i = line - n * high
        for e in range(begin + lane, end, lanes):
            j = e // inner
            c = e - j * inner
            total = dx.dtype.type(0)
            for a in range(row_starts[i], row_starts[i + 1]):
                for b in range(column_starts[j], column_starts[j + 1]):
                    total += dy[n, row_members[a], column_members[b], c]
            dx[n, i, j, c] = total


def launch_scatter(dy: Array, rows: Array, columns: Array, dx: Array) -> Launch:
    """dx[n, i, j] = the sum of dy at the places whose rows and columns name i and j."""
    return _scatter(dy, *_members(rows, dx.shape[1]), *_members(columns, dx.shape[2]), dx)


# ---------------------------------------------------------------- interpolated


@form(_last_blocks)
def stretch(x: Any, rows: Any, row_parts: Any, columns: Any, column_parts: Any, y: Any) -> None:
    """For `_stretch`."""
    one = x.dtype.type(1)
    high, wide = y.shape[1], y.shape[2]
    first, step, lane, lanes = team(wide)
    for k in range(first, pieces_of(y.shape[0] * high, wide), step):
        line, begin, end = piece(k, wide)
        n = line // high
        i = line - n * high
        top, below, v = rows[i, 0], rows[i, 1], row_parts[i]
        for j in range(begin + lane, end, lanes):
            left, right, u = columns[j, 0], columns[j, 1], column_parts[j]
            a = (one - u) * x[n, top, left] + u * x[n, top, right]
            b = (one - u) * x[n, below, left] + u * x[n, below, right]
            y[n, i, j] = (one - v) * a + v * b


def _shares(places: Array, parts: Array, size: int) -> tuple[Array, Array, Array]:
    """(starts, members, weights) of both neighbours of each place of a stretched axis."""
    starts, order = _members(places.reshape(-1), size)
    weights = np.stack([1 - parts, parts], axis=1).astype(parts.dtype).reshape(-1)
    return starts, order // 2, np.ascontiguousarray(weights[order])


@device_kernel(lambda *args: _last_blocks(*args))
def _stretch_back(
    dy: Any, row_starts: Any, row_members: Any, row_weights: Any, column_starts: Any,
    column_members: Any, column_weights: Any, dx: Any,
) -> None:  # fmt: skip
    high, wide = dx.shape[1], dx.shape[2]
    first, step, lane, lanes = team(wide)
    for k in range(first, pieces_of(dx.shape[0] * high, wide), step):
        line, begin, end = piece(k, wide)
        n = line // high
        i = line - n * high
        for j in range(begin + lane, end, lanes):
            total = dx.dtype.type(0)
            for a in range(row_starts[i], row_starts[i + 1]):
                row, weight = row_members[a], row_weights[a]
                for b in range(column_starts[j], column_starts[j + 1]):
                    total += weight * column_weights[b] * dy[n, row, column_members[b]]
            dx[n, i, j] = total


def launch_stretch_back(
    dy: Array, rows: Array, row_parts: Array, columns: Array, column_parts: Array, dx: Array
) -> Launch:
    """Each element of dx gets what the places around it took from it."""
    down = _shares(rows, row_parts, dx.shape[1])
    return _stretch_back(dy, *down, *_shares(columns, column_parts, dx.shape[2]), dx)


# ---------------------------------------------------------------- blocks of pixels


def _block_rows(x: Array, y: Array, *_: Any) -> int:
    return blocks_for_rows(y.size // max(y.shape[3], 1), y.shape[3])


@form(_block_rows)
def blocks(x: Any, y: Any, block: Any, top: Any, left: Any, back: Any) -> None:
    """For `_blocks`; each pixel of y has one of x, if that is inside."""
    zero = x.dtype.type(0)
    channels, high, wide = y.shape[1], y.shape[2], y.shape[3]
    first, step, lane, lanes = team(wide)
    for k in range(first, pieces_of(y.shape[0] * channels * high, wide), step):
        line, begin, end = piece(k, wide)
        plane = line // high
        i = line - plane * high
        part = plane // channels
        c = plane - part * channels
        place = part // x.shape[0]
        n = part - place * x.shape[0]
        row = i * block + place // block - top
        for j in range(begin + lane, end, lanes):
            column = j * block + place % block - left
            inside = 0 <= row < x.shape[2] and 0 <= column < x.shape[3]
            if back and inside:
                x[n, c, row, column] = y[part, c, i, j]
            elif not back:
                y[part, c, i, j] = x[n, c, row, column] if inside else zero


# ---------------------------------------------------------------- sums of corners


@device_kernel(lambda x, y: blocks_for_items(x.shape[0] * (x.shape[1] + 1)))
def _sum_along(x: Any, y: Any) -> None:
    """The sums along each row, one column further; the first row is 0."""
    high = x.shape[1] + 1
    for line in range(cuda.grid(1), x.shape[0] * high, cuda.gridsize(1)):
        n = line // high
        i = line - n * high
        total = x.dtype.type(0)
        y[n, i, 0] = total
        for j in range(x.shape[2]):
            if i > 0:
                total += x[n, i - 1, j]
            y[n, i, j + 1] = total


@device_kernel(lambda y, _: blocks_for_items(y.shape[0] * y.shape[2]))
def _sum_down(y: Any, upward: int) -> None:
    """Each element becomes the sum of those above it and itself, or (upward) of those below."""
    high, wide = y.shape[1], y.shape[2]
    for column in range(cuda.grid(1), y.shape[0] * wide, cuda.gridsize(1)):
        n = column // wide
        j = column - n * wide
        total = y.dtype.type(0)
        for k in range(high):
            i = high - 1 - k if upward != 0 else k
            total += y[n, i, j]
            y[n, i, j] = total


def launch_sum_corners(x: Array, y: Array) -> list[Launch]:
    """y[n, i, j] = the sum of x[n, :i, :j]."""
    return [_sum_along(x, y), _sum_down(y, 0)]


@device_kernel(lambda dy, exact, dx: blocks_for_items(dx.shape[0] * dx.shape[1]))
def _spread_along(dy: Any, exact: int, dx: Any) -> None:
    high, wide = dx.shape[1], dx.shape[2]
    for line in range(cuda.grid(1), dx.shape[0] * high, cuda.gridsize(1)):
        n = line // high
        i = line - n * high
        total = dy.dtype.type(0)
        for k in range(wide):
            j = wide - 1 - k if exact != 0 else k
            total += dy[n, i + 1, j + 1] if exact != 0 else dy[n, i, j]
            dx[n, i, j] = total


def launch_spread_corners(dy: Array, exact: int, dx: Array) -> list[Launch]:
    """dx[n, i, j] = the sum of dy[n, i + 1 :, j + 1 :], or else of dy[n, : i + 1, : j + 1]."""
    return [_spread_along(dy, exact, dx), _sum_down(dx, exact)]


# ---------------------------------------------------------------- packed bytes and planes


@form(lambda x, mean, noise, y: blocks_for_rows(y.shape[0] * y.shape[1], y.shape[2]))
def unpack(x: Any, mean: Any, noise: Any, y: Any) -> None:
    """For `_unpack`."""
    channels, size = y.shape[1], y.shape[2]
    first, step, lane, lanes = team(size)
    for k in range(first, pieces_of(y.shape[0] * channels, size), step):
        plane, begin, end = piece(k, size)
        n = plane // channels
        c = plane - n * channels
        for i in range(begin + lane, end, lanes):
            own = noise[(i * channels + c) % noise.size]
            y[n, c, i] = y.dtype.type(x[n, i, c]) - mean[c] + own


@form(lambda x, mean, y: blocks_for_rows(y.shape[0], y.shape[1]))
def pack(x: Any, mean: Any, y: Any) -> None:
    """For `_pack`."""
    number = x.dtype.type
    size = y.shape[1]
    first, step, lane, lanes = team(size)
    for k in range(first, pieces_of(y.shape[0], size), step):
        n, begin, end = piece(k, size)
        for i in range(begin + lane, end, lanes):
            for c in range(x.shape[1]):
                value = x[n, c, i] + mean[c]
                if not value > 0:  # no number at all becomes 0, too
                    value = number(0)
                y[n, i, c] = int(min(value, number(255)))
            y[n, i, 3] = 255


@form(lambda x, mean, deviation, y: blocks_for_rows(y.shape[0] * y.shape[1], y.shape[2]))
def standardize(x: Any, mean: Any, deviation: Any, y: Any) -> None:
    """For `_standardize`."""
    channels, size = y.shape[1], y.shape[2]
    first, step, lane, lanes = team(size)
    for k in range(first, pieces_of(y.shape[0] * channels, size), step):
        plane, begin, end = piece(k, size)
        n = plane // channels
        c = plane - n * channels
        for i in range(begin + lane, end, lanes):
            y[n, c, i] = (x[n, c, i] - mean[c]) / deviation[c]
