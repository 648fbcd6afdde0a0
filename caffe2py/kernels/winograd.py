"""Correlation with 3 x 3 filters at stride 1 by Winograd's short convolutions.

The image is cut into tiles of m x m results. Each of the (m + 2)^2 elements of the transformed
tiles is a plane, and the planes are multiplied one by one:

    P[plane] (filters x tiles) = U[plane] (filters x channels) V[plane] (channels x tiles)

so the work is products of matrices at the register tile's speed, (m + 2)^2 / (9 m^2) of what the
definition takes, plus two transforms that touch every element a few times. Tiles are taken a few
rows at a time, so that V and P of a block stay in the second-level cache.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from caffe2py.kernels.block import DEEP, outer_block, strip_width, up
from caffe2py.kernels.jit import kernel
from caffe2py.kernels.linalg import nothing, packed_size
from caffe2py.kernels.parallel import MULTIPLY_ADD, parts_of, split
from caffe2py.kernels.vector import lanes, lines, tile_lines, vector_lanes
from caffe2py.kernels.winograd_matrices import MATRICES, gather2, gather4, spread2, spread4
from caffe2py.kernels.workers import MOST_PARTS
from caffe2py.registry.context import Call, Launch
from caffe2py.tensor.tensor import Array

#: V and P of a block take this many bytes, or as many as so many tiles need.
_BLOCK_BYTES = 1 << 20
_TILES = 64

#: Channels of filters that are transformed together: some cache lines of each plane.
_TOGETHER = 16

#: Entries of `size`.
(
    _IMAGES, _CHANNELS, _FILTERS, _HEIGHT, _WIDTH, _TOP, _LEFT, _OUT_HEIGHT, _OUT_WIDTH,
    _M, _ROWS_AT_ONCE, _ROW, _ACROSS, _BIASED, _ADDED,
    _FIRST, _END, _FIRST_FILTER, _END_FILTER,
) = range(19)  # fmt: skip

#: Nanoseconds for an element of a transformed filter.
_TURN_NS = 0.5


@kernel("contract")
def _filters(
    w, g, u, filters, channels, filter_step, channel_step, flip, taps, half, part, begin, end
):
    """u[p, q] = (G w G^T)[p, q] as panels, for filters `begin` to `end`.

    With `flip` they are turned by half a turn. One filter a lane, some channels at a time: planes
    lie a power of two apart, and to write a cache line in halves would fetch it twice.
    """
    planes = g.shape[0] * g.shape[0]
    across = up(filters, lines()) * lines()
    for first in range(begin, end, lines()):
        for c in range(0, channels, _TOGETHER):
            count = min(_TOGETHER, channels - c)
            for k in range(count):
                start = first * filter_step + (c + k) * channel_step
                _take(w, start, filter_step, min(lines(), filters - first), flip, taps)
                _turn(taps, g, half, part, k)
            block = c // DEEP * DEEP
            at = block * across + first * min(DEEP, channels - block) + (c - block) * lines()
            for plane in range(planes):
                target = u[plane * across * channels + at :][: count * lines()]
                source = part[plane * _TOGETHER * lines() :]
                for i in range(count * lines()):
                    target[i] = source[i]


def _take(w, start, step, live, flip, taps):
    """taps[k, lane] = element k of a filter; filters beyond the last are zeros."""
    if live < lines():
        for i in range(taps.size):
            taps[i] = 0
    first, turn = (8, -1) if flip else (0, 1)
    for lane in range(live):
        for k in range(9):
            taps[k * lines() + lane] = w[start + lane * step + first + k * turn]


def _turn(taps, g, half, part, k):
    """part[p, q, k] = (G taps G^T)[p, q] in each lane."""
    size, row = g.shape[0], 3 * lines()
    for p in range(size):
        for i in range(row):
            half[i] = g[p, 0] * taps[i] + g[p, 1] * taps[row + i] + g[p, 2] * taps[2 * row + i]
        for q in range(size):
            to = ((p * size + q) * _TOGETHER + k) * lines()
            for i in range(lines()):
                total = g[q, 0] * half[i] + g[q, 1] * half[lines() + i]
                part[to + i] = total + g[q, 2] * half[2 * lines() + i]


def _fill_rows(x, at, first, size, rows):
    """The rows of an image under a row of tiles, between columns of zeros that stay."""
    height, width, left, row = size[_HEIGHT], size[_WIDTH], size[_LEFT], size[_ROW]
    for i in range(size[_M] + 2):
        y = first + i
        target = rows[i * row + left : i * row + left + width]
        if 0 <= y < height:
            source = x[at + y * width : at + (y + 1) * width]
            for j in range(width):
                target[j] = source[j]
        else:
            for j in range(width):
                target[j] = 0


def _write_rows(y, at, first, shift, low, size, rows, added):
    """A row of tiles as rows of the results, plus a bias, limited."""
    width, row = size[_OUT_WIDTH], size[_ROW]
    for i in range(min(size[_M], size[_OUT_HEIGHT] - first)):
        target = y[at + (first + i) * width : at + (first + i + 1) * width]
        source = rows[i * row : i * row + width]
        if size[_ADDED]:
            more = added[at + (first + i) * width : at + (first + i + 1) * width]
            for j in range(width):
                value = source[j] + shift + more[j]
                target[j] = low if value < low else value
        else:
            for j in range(width):
                value = source[j] + shift
                target[j] = low if value < low else value


def _spread_block(x, image, first, count, size, rows, v, v_plane):
    """V of `count` rows of tiles from `first` on, of one image."""
    channels, m, step = size[_CHANNELS], size[_M], size[_ACROSS]
    wide = up(size[_OUT_WIDTH], m)
    plane = size[_HEIGHT] * size[_WIDTH]
    for c in range(channels):
        for r in range(count):
            top = (first + r) * m - size[_TOP]
            _fill_rows(x, (image * channels + c) * plane, top, size, rows)
            for t in range(0, wide, lanes(x)):
                at = c * step + r * wide + t
                if m == 2:
                    spread2(rows, 2 * t, size[_ROW], v, at, v_plane)
                else:
                    spread4(rows, 4 * t, size[_ROW], v, at, v_plane)


def _multiply_planes(u, v, p, base, v_plane, p_plane, width, size, nothing):
    """P = U V, plane by plane, for a range of filters and `width` tiles."""
    channels, step = size[_CHANNELS], size[_ACROSS]
    across = up(size[_FILTERS], lines()) * lines()
    begin, filters = size[_FIRST_FILTER], size[_END_FILTER] - size[_FIRST_FILTER]
    strip = strip_width(width, lanes(v))
    for plane in range((size[_M] + 2) * (size[_M] + 2)):
        for k in range(0, channels, DEEP):
            at, kept, deep = plane * p_plane, k > 0, min(DEEP, channels - k)
            outer_block(
                u, (plane * channels + k) * across + begin * deep, v, plane * v_plane + k * step,
                1, step, strip, p, at, step,
                p if kept else base, at if kept else 0, 1 if kept else 0,
                step if kept else 0, base, 0, 0, nothing, filters, deep, width,
            )  # fmt: skip


def _gather_block(p, bias, y, added, image, first, count, low, size, lines_out, p_plane):
    """The results of `count` rows of tiles, for a range of filters of one image."""
    m, step = size[_M], size[_ACROSS]
    wide, out = up(size[_OUT_WIDTH], m), size[_OUT_HEIGHT] * size[_OUT_WIDTH]
    for f in range(size[_FIRST_FILTER], size[_END_FILTER]):
        shift = bias[f] if size[_BIASED] else y.dtype.type(0)
        for r in range(count):
            for t in range(0, wide, lanes(p)):
                at = (f - size[_FIRST_FILTER]) * step + r * wide + t
                if m == 2:
                    gather2(p, at, p_plane, lines_out, 2 * t, size[_ROW])
                else:
                    gather4(p, at, p_plane, lines_out, 4 * t, size[_ROW])
            place = (image * size[_FILTERS] + f) * out
            _write_rows(y, place, (first + r) * m, shift, low, size, lines_out, added)


@kernel("contract")
def _winograd(x, u, bias, y, base, added, rows, lines_out, v, p, size, low):
    """Blocks size[_FIRST] to size[_END]: rows of tiles of one image after the other."""
    filters = size[_END_FILTER] - size[_FIRST_FILTER]
    tall, wide = up(size[_OUT_HEIGHT], size[_M]), up(size[_OUT_WIDTH], size[_M])
    blocks = up(tall, size[_ROWS_AT_ONCE])
    # planes a multiple of a page apart would share the lines of a cache
    v_plane = size[_CHANNELS] * size[_ACROSS] + lanes(x)
    p_plane = filters * size[_ACROSS] + lanes(x)
    nothing = y.dtype.type(-np.inf)
    for block in range(size[_FIRST], size[_END]):
        image, first = block // blocks, block % blocks * size[_ROWS_AT_ONCE]
        count = min(size[_ROWS_AT_ONCE], tall - first)
        _spread_block(x, image, first, count, size, rows, v, v_plane)
        _multiply_planes(u, v, p, base, v_plane, p_plane, count * wide, size, nothing)
        _gather_block(p, bias, y, added, image, first, count, low, size, lines_out, p_plane)


@dataclass(frozen=True)
class Plan:
    """How one image is cut: tiles of `m` x `m` results, a few rows of tiles at a time."""

    m: int
    out: tuple[int, int]
    rows_at_once: int
    across: int
    lanes: int

    @classmethod
    def make(cls, m: int, out: tuple[int, int], depth: int, dtype: np.dtype) -> Plan:
        """A plan for planes of `depth` channels and filters together."""
        count = vector_lanes(dtype)
        tall, wide = -(-out[0] // m), -(-out[1] // m)
        tile_bytes = (m + 2) ** 2 * depth * dtype.itemsize
        rows = max(1, _TILES // wide, _BLOCK_BYTES // (tile_bytes * wide))
        rows = -(-tall // -(-tall // min(rows, tall)))
        across = -(-rows * wide // count) * count + count
        if across * dtype.itemsize % 1024 == 0:
            across += count  # rows a power of two apart share the lines of a cache
        return cls(m, out, rows, across, count)

    @property
    def cost(self) -> int:
        """Products of one channel and one filter."""
        wide, tall = -(-self.out[1] // self.m), -(-self.out[0] // self.m)
        blocks = -(-tall // self.rows_at_once)
        lanes_used = -(-self.rows_at_once * wide // self.lanes) * self.lanes
        return (self.m + 2) ** 2 * blocks * lanes_used


def choose(
    out: tuple[int, int], channels: int, filters: int, dtype: np.dtype, *, exact: bool
) -> Plan | None:
    """The cheapest plan, or None where the definition is cheaper; `exact`: m = 2 at most."""
    if min(channels, filters) < 16:
        return None
    sizes = (2,) if exact or min(channels, filters) < 32 else (2, 4)
    plans = [Plan.make(m, out, channels + filters, dtype) for m in sizes]
    best = min(plans, key=lambda plan: plan.cost)
    return best if best.cost < 0.7 * 9 * out[0] * out[1] else None


def launch_winograd(
    call: Call,
    x: Array,
    w: Array,
    bias: Array | None,
    y: Array,
    plan: Plan,
    begin: tuple[int, int],
    *,
    flip: bool = False,
    steady: bool = False,
    low: float = -np.inf,
    added: Array | None = None,
) -> list[Launch]:
    """Y = max(low, X correlated with W + bias + added); `begin`: rows and columns added before X.

    X is (N, C, H, W), W (M, C, 3, 3), Y (N, M, *out). With `flip`, W is (C, M, 3, 3) and turned by
    half a turn, which makes it the gradient of X. `steady`: W keeps its contents until there is
    another plan.
    """
    filters, channels = (w.shape[1], w.shape[0]) if flip else w.shape[:2]
    planes, count, m = (plan.m + 2) ** 2, vector_lanes(x.dtype), plan.m
    packed = planes * packed_size(filters, channels, tile_lines())
    u = call.scratch((packed,), x.dtype, brief=not steady)
    steps = (9, filters * 9) if flip else (channels * 9, 9)
    g = np.array(MATRICES[m].filter, np.float64)

    def turned(first: int, end: int) -> Launch:
        taps, half = (call.scratch((k * tile_lines(),), np.float64, brief=True) for k in (9, 3))
        part = call.scratch((planes * _TOGETHER * tile_lines(),), x.dtype, brief=True)
        numbers = filters, channels, *steps, flip
        return _filters(w.reshape(-1), g, u, *numbers, taps, half, part, first, end)

    turn = split(filters, filters * channels * planes * _TURN_NS, turned, tile_lines())
    wide = -(-plan.out[1] // m)
    row = m * (-(-wide // count) * count) + m * count + m
    size = [
        len(x), channels, filters, *x.shape[2:], *begin, *plan.out, m, plan.rows_at_once, row,
        plan.across, bias is not None, added is not None,
    ]  # fmt: skip
    base, low = nothing(call, x.dtype), y.dtype.type(low)
    more = base if added is None else added.reshape(-1)
    flat = [a.reshape(-1) for a in (x, u, base if bias is None else bias, y)]

    def part(blocks: tuple[int, int], some: tuple[int, int]) -> Launch:
        rows = call.scratch(((m + 2) * row,), x.dtype)
        rows.fill(0)
        lines_out = call.scratch((m * row,), x.dtype, brief=True)
        depths = channels, some[1] - some[0]
        v, p = (
            call.scratch((planes * (depth * plan.across + count) + count,), x.dtype, brief=True)
            for depth in depths
        )
        numbers = np.array([*size, *blocks, *some], np.int64)
        return _winograd(*flat, base, more, rows, lines_out, v, p, numbers, low)

    blocks = len(x) * up(up(plan.out[0], m), plan.rows_at_once)
    work = len(x) * plan.cost * channels * filters * MULTIPLY_ADD
    if blocks >= parts_of(work, MOST_PARTS):
        main = split(blocks, work, lambda a, b: part((a, b), (0, filters)))
    else:  # a small image: V is made by every part for itself
        main = split(filters, work, lambda a, b: part((0, blocks), (a, b)), tile_lines())
    if not steady:
        return [*turn, *main]
    for launch in turn:
        call.run_now(launch)
    return main
