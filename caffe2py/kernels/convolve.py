"""Correlation of images with filters, and its two gradients, by blocks of unfolded windows.

Unfolding writes the windows of an image as a matrix, of which one block at a time is kept in
scratch memory and multiplied while it is in the cache. With channels first (NCHW) a window is a
column of it:

    Y[filter, position] = W[filter, element] * P[element, position]

with channels last (NHWC) a row: Y = P W^T. The elements of a window are in the order of the filter.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from caffe2py.kernels.block import (
    DEEP,
    PER_COLUMN,
    PER_ROW,
    TALL,
    ZERO,
    begin,
    inner_block,
    outer_block,
    pack,
    strip_width,
    up,
)
from caffe2py.kernels.depthwise import launch_depthwise
from caffe2py.kernels.direct import filters_at_once, launch_few_channels
from caffe2py.kernels.jit import Kernel, kernel
from caffe2py.kernels.linalg import (
    launch_product,
    launch_transpose,
    new_panels,
    new_tile,
    nothing,
    pack_left,
    pack_right,
)
from caffe2py.kernels.panels import (
    BLOCK,
    ROW,
    block_of,
    columns,
    counts,
    phase_row,
    rows,
    split_phases,
)
from caffe2py.kernels.parallel import MULTIPLY_ADD, moving, parts_of, split
from caffe2py.kernels.vector import VECTORS, lanes, lines, tile_lines, vector_lanes
from caffe2py.kernels.window import OUT, Window
from caffe2py.kernels.winograd import Plan, choose, launch_winograd
from caffe2py.registry.context import Call, Launch
from caffe2py.tensor.late import late
from caffe2py.tensor.tensor import Array
from caffe2py.tensor.types import DType

#: Entries of `size` after images, groups, channels, filters and what results start from: whether
#: something is added, whether rows of images are split into phases, in how many chunks filters are
#: taken, and the range that is to be computed. That is of blocks of results for every chunk, of
#: images and groups, or of elements of filters.
_ADDED, _PHASES, _CHUNKS, _FIRST, _END = 5, 6, 7, 8, 9

#: Elements of filters whose gradients are summed together, along positions.
SPAN = 48

#: With fewer channels or filters and so many positions, sums go along positions as they lie.
_SOME = 32
_LONG = 256

#: Channels last with groups of fewer channels than this make rows too short for vectors.
_VECTOR = 16


# ---------------------------------------------------------------- channels first


@kernel()
def _split_planes(x, y, rows, size_x, first, end):
    """Planes `first` to `end` of x, of so many rows, with their even elements first."""
    for p in range(first, end):
        split_phases(x, p * rows * size_x, rows, size_x, y, p * rows * phase_row(size_x))


@kernel("contract")
def _correlate_columns(x, panels, bias, y, base, more, unfolded, table, size, low):
    groups, channels, filters, start = size[1], size[2], size[3], size[4]
    image, out, taps = counts(table)
    terms, across = channels * taps, up(filters, lines()) * lines()
    most = block_of(table[OUT, 2])
    blocks = up(out, most)
    together = up(up(filters, size[_CHUNKS]), lines()) * lines()
    for unit in range(size[_FIRST], size[_END]):
        block = unit % (size[0] * groups * blocks)
        f = unit // (size[0] * groups * blocks) * together
        rows_here = min(together, filters - f)
        n, j = block // blocks, block % blocks * most
        g, width = n % groups, min(most, out - j)
        strip, at = strip_width(width, lanes(y)), (n * filters + f) * out + j
        if rows_here <= 0:
            continue
        for k in range(0, terms, DEEP):
            deep = min(DEEP, terms - k)
            columns(
                x, n * channels * image, table, k, deep, j, width, unfolded, False, size[_PHASES]
            )  # fmt: skip
            biased = k == 0 and start == PER_ROW
            added, added_at, walk, step = base, 0, 0, 0
            if k > 0:
                added, added_at, walk, step = y, at, 1, out
            elif size[_ADDED]:
                added, added_at, walk, step = more, at, 1, out
            outer_block(
                panels, (g * terms + k) * across + f * deep, unfolded, 0, 1, ROW, strip, y, at, out,
                added, added_at, walk, step, bias if biased else base,
                g * filters + f if biased else 0, 1 if biased else 0,
                low if k + deep == terms else y.dtype.type(-np.inf), rows_here, deep, width,
            )  # fmt: skip


@kernel("contract", "reassoc")
def _filter_columns(x, dy, bias, dw, base, tile, unfolded, table, size, low):
    """For groups of filters, and spans of their elements."""
    images, groups, channels, filters = size[0], size[1], size[2], size[3]
    image, out, taps = counts(table)
    terms = channels * taps
    spans = up(terms, SPAN)
    for which in range(size[_FIRST], size[_END]):
        g, k = which // spans, which % spans * SPAN
        deep, to = min(SPAN, terms - k), g * filters * terms + k
        begin(dw, to, terms, filters, deep, ZERO, bias, 0, 0)
        for n in range(g, images * groups, groups):
            for j in range(0, out, BLOCK):
                width = min(BLOCK, out - j)
                columns(x, n * channels * image, table, k, deep, j, width, unfolded, False, 0)
                inner_block(
                    dy, n * filters * out + j, out, unfolded, 0, ROW, dw, to, terms,
                    filters, deep, width, tile,
                )  # fmt: skip


@kernel("contract")
def _image_columns(dy, panels, bias, dx, base, scratch, unfolded, table, size, low):
    groups, channels, filters = size[1], size[2], size[3]
    image, out, taps = counts(table)
    terms = channels * taps
    across = up(terms, lines()) * lines()
    for n in range(size[_FIRST], size[_END]):
        g = n % groups
        at = n * channels * image
        begin(dx, at, image, channels, image, size[4], bias, g * channels, 0)
        if filters == 0:
            continue
        for j in range(0, out, BLOCK):
            width = min(BLOCK, out - j)
            strip = strip_width(width, lanes(dx))
            for k in range(0, terms, DEEP):
                tall = min(DEEP, terms - k)
                for f in range(0, filters, DEEP):
                    deep = min(DEEP, filters - f)
                    outer_block(
                        panels, g * filters * across + f * across + k * deep,
                        dy, (n * filters + f) * out + j, 1, out, strip, unfolded, 0, ROW,
                        unfolded if f > 0 else base, 0, 1 if f > 0 else 0, ROW if f > 0 else 0,
                        base, 0, 0, low, tall, deep, width,
                    )  # fmt: skip
                columns(dx, at, table, k, tall, j, width, unfolded, True, 0)


@kernel()
def _add_limited(y, added, low):
    """y = max(low, y + added)"""
    for i in range(y.size):
        total = y[i] + added[i]
        y[i] = low if total < low else total


# ---------------------------------------------------------------- channels last


@kernel("contract")
def _correlate_rows(x, strips, bias, y, base, panels, unfolded, table, size, low):
    groups, channels, filters, start = size[1], size[2], size[3], size[4]
    image, out, taps = counts(table)
    terms, pixel, total = channels * taps, channels * groups, filters * groups
    strip = strip_width(filters, lanes(y))
    across = up(filters, strip) * strip
    for block in range(size[_FIRST], size[_END]):
        n, i = block // up(out, DEEP), block % up(out, DEEP) * DEEP
        g, count = n % groups, min(DEEP, out - i)
        x_at = n // groups * image * pixel + g * channels
        at = (n // groups * out + i) * total + g * filters
        for k in range(0, terms, DEEP):
            deep = min(DEEP, terms - k)
            rows(x, x_at, table, channels, pixel, k, deep, i, count, unfolded, False)
            pack(unfolded, 0, ROW, 1, count, deep, lines(), panels, 0)
            added, added_at, walk, step = base, 0, 0, 0
            if k > 0:
                added, added_at, walk, step = y, at, 1, total
            elif start == PER_COLUMN:
                added, added_at, walk = bias, g * filters, 1
            outer_block(
                panels, 0, strips, (g * terms + k) * across, deep, strip, strip, y, at, total,
                added, added_at, walk, step, base, 0, 0,
                low if k + deep == terms else y.dtype.type(-np.inf), count, deep, filters,
            )  # fmt: skip


@kernel("contract")
def _filter_rows(x, dy, bias, dw, base, panels, unfolded, table, size, low):
    images, groups, channels, filters = size[0], size[1], size[2], size[3]
    _, out, taps = counts(table)
    terms, pixel, total = channels * taps, channels * groups, filters * groups
    first, end = size[_FIRST], size[_END]
    begin(dw, first, terms, groups * filters, end - first, ZERO, bias, 0, 0)
    for g in range(groups):
        # positions of all images in one row, so that small images make long sums too
        for i in range(0, images * out, DEEP):
            count = min(DEEP, images * out - i)
            for f in range(0, filters, TALL):
                height = min(TALL, filters - f)
                pack(
                    dy, i * total + g * filters + f, 1, total, height, count, lines(), panels, 0
                )  # fmt: skip
                for block in range(first // BLOCK, up(end, BLOCK)):
                    k = max(block * BLOCK, first)
                    width = min(block * BLOCK + BLOCK, end) - k
                    if f == 0 or end - first > BLOCK:
                        _unfold_rows(x, table, channels, pixel, g, k, width, i, count, unfolded)
                    to = (g * filters + f) * terms + k
                    outer_block(
                        panels, 0, unfolded, 0, 1, ROW, strip_width(width, lanes(dw)),
                        dw, to, terms, dw, to, 1, terms, base, 0, 0, low, height, count, width,
                    )  # fmt: skip


def _unfold_rows(x, table, channels, pixel, g, k, width, first, count, unfolded):
    """Rows `first` to `first + count` of all windows of all images."""
    image, out, _ = counts(table)
    i = 0
    while i < count:
        n, at = (first + i) // out, (first + i) % out
        here = min(count - i, out - at)
        start = n * image * pixel + g * channels
        rows(x, start, table, channels, pixel, k, width, at, here, unfolded[i * ROW :], False)
        i += here


@kernel("contract")
def _image_rows(dy, w, bias, dx, base, panels, unfolded, table, size, low):
    groups, channels, filters = size[1], size[2], size[3]
    image, out, taps = counts(table)
    terms, pixel, total = channels * taps, channels * groups, filters * groups
    for n in range(size[_FIRST], size[_END]):
        g = n % groups
        x_at = n // groups * image * pixel + g * channels
        begin(dx, x_at, pixel, image, channels, size[4], bias, 0, g * channels)
        if filters == 0:
            continue
        for i in range(0, out, DEEP):
            count = min(DEEP, out - i)
            at = (n // groups * out + i) * total + g * filters
            for k in range(0, terms, BLOCK):
                width = min(BLOCK, terms - k)
                for f in range(0, filters, DEEP):
                    deep = min(DEEP, filters - f)
                    pack(dy, at + f, total, 1, count, deep, lines(), panels, 0)
                    outer_block(
                        panels, 0, w, (g * filters + f) * terms + k, 1, terms,
                        strip_width(width, lanes(dx)), unfolded, 0, ROW,
                        unfolded if f > 0 else base, 0, 1 if f > 0 else 0, ROW if f > 0 else 0,
                        base, 0, 0, low, count, deep, width,
                    )  # fmt: skip
                rows(dx, x_at, table, channels, pixel, k, width, i, count, unfolded, True)


# ---------------------------------------------------------------- launches


def _flat_middle(x: Array, last: bool) -> Array:
    """(n, channels, elements), or (n, elements, channels) where the channels are `last`."""
    middle = math.prod(x.shape[1:-1] if last else x.shape[2:])
    return x.reshape((len(x), middle, x.shape[-1]) if last else (len(x), x.shape[1], middle))


def _with_channels_first(
    call: Call, operands: Sequence[Array], result: Array, run: Callable[..., list[Launch]]
) -> list[Launch]:
    """What `run(*operands, result)` does, on copies with channels first in scratch memory."""
    copies = [
        call.scratch((len(x), x.shape[-1], *x.shape[1:-1]), x.dtype, brief=True)
        for x in (*operands, result)
    ]
    turns = [
        launch_transpose(_flat_middle(x, True), _flat_middle(y, False))
        for x, y in zip(operands, copies, strict=False)
    ]
    back = launch_transpose(_flat_middle(copies[-1], False), _flat_middle(result, True))
    return [*turns, *run(*copies), back]


@dataclass(frozen=True)
class Correlation:
    """How a batch of images meets filters: sizes, window, and the order of the axes (`last`).

    Images have `groups * channels` channels, results `groups * filters`; the filters' shape is
    (groups * filters, channels, *kernel), or (groups * filters, *kernel, channels) with `last`.
    `short` allows short convolutions, whose errors are relative to the elements around.
    """

    images: int
    groups: int
    channels: int
    filters: int
    image: tuple[int, ...]
    window: Window
    last: bool
    short: bool = False

    def as_products(self, x: Array, w: Array, y: Array) -> tuple[Array, Array, Array] | None:
        """Images, filters (as rows) and results as matrices, where unfolding changes nothing.

        Results are then filters times images, with `last` or one position images times filters^T.
        """
        fitted = self.window.on(self.image)
        if self.groups > 1 or any(fitted.pads):
            return None
        matrix = w.reshape(self.filters, self.channels * math.prod(fitted.kernel))
        if fitted.kernel == self.image:
            return (
                x.reshape(self.images, matrix.shape[1]),
                matrix,
                y.reshape(self.images, self.filters),
            )
        if max(*fitted.kernel, *fitted.stride) > 1:
            return None
        pixels = math.prod(self.image)
        if self.last:
            shape: tuple[int, ...] = (self.images * pixels,)
            return x.reshape(*shape, self.channels), matrix, y.reshape(*shape, self.filters)
        return _flat_middle(x, False), matrix, _flat_middle(y, False)

    def _on_device(
        self, call: Call, step: str, arrays: tuple[Array, Array, Array], end: dict[str, Any]
    ) -> list[Launch]:
        """One of the three for images, filters and results on a device."""
        launch = late("kernels.cuda.convolve", "launch_convolution")
        launches: list[Launch] = launch(call, self, step, *arrays, **end)
        return launches

    def _winograd(self, dtype: DType, out: tuple[int, ...], *, exact: bool) -> Plan | None:
        """How to get `out` positions by short convolutions, if that is possible and faster."""
        fitted = self.window.on(self.image)
        plain = fitted.kernel == (3, 3) and max(*fitted.stride, *fitted.dilation) == 1
        if not self.short or self.last or self.groups > 1 or not plain:
            return None
        if not 0 <= min(fitted.pads) <= max(fitted.pads) <= 2:
            return None
        return choose((out[0], out[1]), self.channels, self.filters, dtype, exact=exact)

    def _work(self) -> float:
        """Nanoseconds that its multiply-adds take."""
        results = self.images * self.groups * self.filters * self._positions()
        return results * self._terms() * MULTIPLY_ADD

    def _few_channels(self) -> int:
        """How many filters to sum together without unfolding; 0: unfold."""
        fitted = self.window.on(self.image)
        if self.last or max(fitted.dilation) > 1:
            return 0
        return filters_at_once(self.channels, self.filters, fitted.kernel, {*fitted.stride})

    def _terms(self) -> int:
        """Elements of a filter."""
        return self.channels * math.prod(self.window.on(self.image).kernel)

    def _positions(self) -> int:
        """Positions of the window."""
        return int(counts(self.window.table(self.image))[1])

    def _channels_first(self) -> Correlation | None:
        """The same with channels first, where rows of few channels or filters are too short."""
        if not self.last or self.groups == 1 or min(self.channels, self.filters) >= _VECTOR:
            return None
        return replace(self, last=False)

    def launch(
        self,
        call: Call,
        x: Array,
        w: Array,
        bias: Array | None,
        y: Array,
        *,
        steady: bool = False,
        low: float = -np.inf,
        added: Array | None = None,
    ) -> list[Launch]:
        """Y = max(low, X correlated with W, plus a bias of each filter, plus `added`).

        `steady`: W keeps its contents until there is another plan. `added` has Y's shape.
        """
        if not isinstance(y, np.ndarray):
            end = {"bias": bias, "low": low, "added": added}
            return self._on_device(call, "forward", (x, w, y), end)
        if added is not None and (self.last or self.channels == 1 or math.prod(y.shape[2:]) < 2):
            before = self.launch(call, x, w, bias, y, steady=steady)
            return [*before, _add_limited(y.reshape(-1), added.reshape(-1), y.dtype.type(low))]
        plain = self.as_products(x, w, y)
        if plain is not None:
            x, w, y = plain
            if x.ndim == 3:
                side = "a" if steady else ""
                return launch_product(
                    call, w, x, y, bias=bias, bias_of=PER_ROW, low=low, steady=side, added=added
                )
            side = "b" if steady else ""
            return launch_product(call, x, w, y, transpose_b=True, bias=bias, low=low, steady=side)
        first = self._channels_first()
        if first is not None:
            return _with_channels_first(
                call, (x, w), y, lambda x, w, y: first.launch(call, x, w, bias, y, low=low)
            )
        if self.channels == 1 and self.groups > 1:
            return launch_depthwise(call, x, w, bias, y, self.window, low)
        once = self._few_channels()
        if once and added is None:
            table = self.window.table(self.image)
            return launch_few_channels(call, x, w, bias, y, table, self.groups, once, low)
        plan = self._winograd(x.dtype, y.shape[2:], exact=not steady)
        if plan is not None:
            top, left, *_ = self.window.on(self.image).pads
            return launch_winograd(
                call, x, w, bias, y, plan, (top, left), steady=steady, low=low, added=added
            )
        filters = w.reshape(self.groups, self.filters, self._terms())
        if self.last:
            packed, before = pack_right(call, filters, transpose=True, steady=steady)
            blocks = self.images * self.groups * up(self._positions(), DEEP)
            return before + self._launch(
                call, _correlate_rows, (x, packed), bias, y, blocks, DEEP, low=low
            )
        packed, before = pack_left(call, filters, steady=steady)
        most = block_of(y.shape[-1]) if y.size else 1
        blocks = self.images * self.groups * up(self._positions(), most)
        phases = self.window.stride[-1] == 2
        if phases:
            x, more = self._split(call, x)
            before += more
        return before + self._launch(
            call, _correlate_columns, (x, packed), bias, y, blocks, low=low, added=added,
            phases=phases, chunks=self._chunks(blocks),
        )  # fmt: skip

    def _chunks(self, blocks: int) -> int:
        """In how many chunks to take filters, so that few blocks are enough for all threads."""
        parts = parts_of(self._work(), self.filters // (2 * tile_lines()))
        return 1 if blocks >= 4 * parts else parts

    def _split(self, call: Call, x: Array) -> tuple[Array, list[Launch]]:
        """Images with the even elements of their rows first, and what makes them so."""
        wide = self.image[-1]
        planes, rows = len(x) * x.shape[1], math.prod(self.image[:-1])
        split_x = call.scratch((planes * rows * phase_row(wide),), x.dtype, brief=True)

        def part(first: int, end: int) -> Launch:
            return _split_planes(x.reshape(-1), split_x, rows, wide, first, end)

        return split_x, split(planes, moving(x, split_x), part)

    def launch_filter_gradient(self, call: Call, x: Array, dy: Array, dw: Array) -> list[Launch]:
        """The gradient of the filters, given images and the results' gradient."""
        if not isinstance(dw, np.ndarray):
            return self._on_device(call, "backward_filter", (x, dw, dy), {})
        plain = self.as_products(x, dw, dy)
        if plain is not None:
            x, dw, dy = plain
            if x.ndim == 3:
                return launch_product(call, dy, x, dw, transpose_b=True)
            return launch_product(call, dy, x, dw, transpose_a=True)
        first = self._channels_first()
        if first is not None:
            return _with_channels_first(
                call, (x, dy), dw, lambda x, dy, dw: first.launch_filter_gradient(call, x, dy, dw)
            )
        if self.last:
            width = VECTORS * vector_lanes(x.dtype)
            return self._launch(
                call, _filter_rows, (x, dy), None, dw, self._terms(), self.filters, multiple=width
            )
        few = min(self.filters, self.channels) < _SOME and self._positions() >= _LONG
        if few or self.groups > 1:  # few channels side by side: rows too short for vectors
            count = self.groups * up(self._terms(), SPAN)
            return self._launch(call, _filter_columns, (x, dy), None, dw, count)
        return self._with_channels_last(call, x, dy, dw)

    def _with_channels_last(self, call: Call, x: Array, dy: Array, dw: Array) -> list[Launch]:
        """The filters' gradient from copies with channels last, where sums go along positions."""
        copies = [
            call.scratch((len(a), *a.shape[2:], a.shape[1]), a.dtype, brief=True)
            for a in (x, dy, dw)
        ]
        before = [
            launch_transpose(_flat_middle(a, False), _flat_middle(b, True))
            for a, b in zip((x, dy), copies, strict=False)
        ]
        after = launch_transpose(_flat_middle(copies[2], True), _flat_middle(dw, False))
        last = replace(self, last=True)
        return [*before, *last.launch_filter_gradient(call, *copies), after]

    def launch_image_gradient(
        self,
        call: Call,
        dy: Array,
        w: Array,
        dx: Array,
        bias: Array | None = None,
        *,
        steady: bool = False,
    ) -> list[Launch]:
        """The gradient of the images, a transposed convolution; plus a `bias` of each channel."""
        if not isinstance(dx, np.ndarray):
            return self._on_device(call, "backward_data", (dx, w, dy), {"bias": bias})
        plain = self.as_products(dx, w, dy) if bias is None else None
        if plain is not None:
            dx, w, dy = plain
            if dx.ndim == 3:
                return launch_product(call, w, dy, dx, transpose_a=True)
            return launch_product(call, dy, w, dx)
        first = self._channels_first()
        if first is not None:
            return _with_channels_first(
                call,
                (dy, w),
                dx,
                lambda dy, w, dx: first.launch_image_gradient(call, dy, w, dx, bias),
            )
        if self.last:
            count = self.images * self.groups
            return self._launch(call, _image_rows, (dy, w), bias, dx, count, DEEP)
        plan = self._winograd(dx.dtype, dx.shape[2:], exact=True)
        if plan is not None:
            # the results' gradient meets the filters with what is missing of 2 around it
            top, left, *_ = self.window.on(self.image).pads
            begin = (2 - top, 2 - left)
            return launch_winograd(call, dy, w, bias, dx, plan, begin, flip=True)
        filters = w.reshape(self.groups, self.filters, self._terms())
        packed, before = pack_left(call, filters, transpose=True, steady=steady)
        count = self.images * self.groups
        return before + self._launch(call, _image_columns, (dy, packed), bias, dx, count)

    def _launch(
        self,
        call: Call,
        function: Kernel,
        operands: tuple[Array, Array],
        bias: Array | None,
        result: Array,
        count: int,
        tall: int = 0,
        *,
        multiple: int = 1,
        low: float = -np.inf,
        added: Array | None = None,
        phases: bool = False,
        chunks: int = 1,
    ) -> list[Launch]:
        """A kernel for ranges of `count` things; `tall`: rows of the panels that it makes."""
        base = nothing(call, result.dtype)
        start = ZERO if bias is None else PER_COLUMN if self.last else PER_ROW
        sizes = [self.images, self.groups, self.channels, self.filters]
        size = [*sizes, start, added is not None, phases, chunks]
        flat = [a.reshape(-1) for a in (*operands, base if bias is None else bias, result)]
        table = self.window.table(self.image)
        limit = result.dtype.type(low)

        def part(first: int, end: int) -> Launch:
            unfolded = call.scratch((DEEP * ROW,), result.dtype, brief=True)
            if function is _correlate_columns:
                other = base if added is None else added.reshape(-1)
            elif tall:
                other = new_panels(call, tall, DEEP, result.dtype)
            else:
                other = new_tile(call, result.dtype)
            numbers = np.array([*size, first, end], np.int64)
            return function(*flat, base, other, unfolded, table, numbers, limit)

        return split(count * chunks, self._work(), part, multiple)
