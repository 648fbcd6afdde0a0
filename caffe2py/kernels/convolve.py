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

import numpy as np

from caffe2py.kernels.jit import Kernel, kernel
from caffe2py.kernels.linalg import (
    DEEP,
    PER_COLUMN,
    PER_ROW,
    WIDE,
    ZERO,
    begin,
    inner_block,
    launch_product,
    launch_transpose,
    new_tile,
    outer_block,
)
from caffe2py.kernels.window import BEGIN, DILATION, IMAGE, KERNEL, OUT, STRIDE, Window
from caffe2py.registry.context import Call, Launch
from caffe2py.tensor.tensor import Array

#: Columns of a block are padded to this many, so that the outer tile works on whole vectors.
_VECTOR = 16

#: Images of fewer positions are unfolded even where a window is one element: to pad the columns.
_NARROW = 128


# ---------------------------------------------------------------- unfolding and folding


def _up(p, q):
    """p / q rounded up."""
    return -(-p // q)


def _copy_steps(x, at, step, y, count):
    """y[i] = x[at + i * step]"""
    if step == 1:
        line = x[at : at + count]
        for i in range(count):
            y[i] = line[i]
    else:
        for i in range(count):
            y[i] = x[at + i * step]


def _add_steps(x, at, step, y, count):
    """x[at + i * step] += y[i]"""
    if step == 1:
        line = x[at : at + count]
        for i in range(count):
            line[i] += y[i]
    else:
        for i in range(count):
            x[at + i * step] += y[i]


def _exchange(x, at, step, target, before, count, fold):
    """target = `before` zeros, x[at + i * step] for i < count, zeros; or, with `fold`, x += it."""
    body = target[before : before + count]
    if fold:
        _add_steps(x, at, step, body, count)
        return
    for i in range(before):
        target[i] = 0
    _copy_steps(x, at, step, body, count)
    for i in range(before + count, target.size):
        target[i] = 0


def _columns(x, at, table, first, deep, start, width, span, panel, fold):
    """panel[k, j] = element `first + k` of the window at position `start + j`; 0 in the padding.

    With `fold`, x += panel instead. Columns from `width` to `span` become 0.
    """
    size_z, size_y, size_x = table[IMAGE]
    taps_x, taps_y = table[KERNEL, 2], table[KERNEL, 1]
    taps = table[KERNEL, 0] * taps_y * taps_x
    out_x, out_y, step = table[OUT, 2], table[OUT, 1], table[STRIDE, 2]
    for k in range(deep):
        tap = (first + k) % taps
        from_x = tap % taps_x * table[DILATION, 2] - table[BEGIN, 2]
        from_y = tap // taps_x % taps_y * table[DILATION, 1] - table[BEGIN, 1]
        from_z = tap // taps_x // taps_y * table[DILATION, 0] - table[BEGIN, 0]
        base = at + (first + k) // taps * (size_z * size_y * size_x)
        # positions along x at which the element is inside of the image
        low, high = max(0, _up(-from_x, step)), min(out_x, _up(size_x - from_x, step))
        j = 0
        while j < width:
            line, left = (start + j) // out_x, (start + j) % out_x
            right = min(out_x, left + width - j)
            y = line % out_y * table[STRIDE, 1] + from_y
            z = line // out_y * table[STRIDE, 0] + from_z
            inside = 0 <= y < size_y and 0 <= z < size_z
            inner = min(max(low, left), right) if inside else right
            outer = min(max(high, inner), right)
            source = base + (z * size_y + y) * size_x + from_x + inner * step
            target = panel[k * WIDE + j : k * WIDE + j + right - left]
            _exchange(x, source, step, target, inner - left, outer - inner, fold)
            j += right - left
        if not fold:
            for i in range(width, span):
                panel[k * WIDE + i] = 0


def _rows(x, at, table, channels, pixel, first, deep, start, count, panel, fold):
    """panel[i, k] = element `first + k` of the window at position `start + i`; 0 in the padding.

    With `fold`, x += panel instead. A window has `channels` of the `pixel` channels of x.
    """
    size_z, size_y, size_x = table[IMAGE]
    taps_x, taps_y = table[KERNEL, 2], table[KERNEL, 1]
    out_x, out_y = table[OUT, 2], table[OUT, 1]
    # neighbours along x lie side by side if all channels are taken
    across = taps_x if channels == pixel and table[DILATION, 2] == 1 else 1
    run, lines = across * channels, taps_x // across
    for i in range(count):
        line = (start + i) // out_x
        from_x = (start + i) % out_x * table[STRIDE, 2] - table[BEGIN, 2]
        from_y = line % out_y * table[STRIDE, 1] - table[BEGIN, 1]
        from_z = line // out_y * table[STRIDE, 0] - table[BEGIN, 0]
        k = 0
        while k < deep:
            tap, left = (first + k) // run, (first + k) % run
            right = min(run, left + deep - k)
            x_at = from_x + tap % lines * table[DILATION, 2]
            y_at = from_y + tap // lines % taps_y * table[DILATION, 1]
            z_at = from_z + tap // lines // taps_y * table[DILATION, 0]
            inside = 0 <= y_at < size_y and 0 <= z_at < size_z
            inner = min(max(-x_at * channels, left), right) if inside else right
            outer = min(max((size_x - x_at) * channels, inner), right)
            source = at + ((z_at * size_y + y_at) * size_x + x_at) * pixel + inner
            target = panel[i * WIDE + k : i * WIDE + k + right - left]
            _exchange(x, source, 1, target, inner - left, outer - inner, fold)
            k += right - left


def _counts(table):
    """Elements of an image, positions of the window, and elements of the window, per channel."""
    image = table[IMAGE, 0] * table[IMAGE, 1] * table[IMAGE, 2]
    out = table[OUT, 0] * table[OUT, 1] * table[OUT, 2]
    taps = table[KERNEL, 0] * table[KERNEL, 1] * table[KERNEL, 2]
    return image, out, taps


# ---------------------------------------------------------------- channels first


@kernel("contract")
def _correlate_columns(x, w, bias, y, panel, tile, table, size):
    images, groups, channels, filters = size[0], size[1], size[2], size[3]
    image, out, taps = _counts(table)
    deep = channels * taps
    for n in range(images * groups):
        g = n % groups
        for j in range(0, out, WIDE):
            width = min(WIDE, out - j)
            span = _up(width, _VECTOR) * _VECTOR
            at = n * filters * out + j
            begin(y, at, out, filters, width, size[4], bias, g * filters, 0)
            for k in range(0, deep, DEEP):
                part = min(DEEP, deep - k)
                _columns(
                    x, n * channels * image, table, k, part, j, width, span, panel, False
                )  # fmt: skip
                outer_block(
                    w, g * filters * deep + k, deep, 1, panel, 0, WIDE,
                    y, at, out, filters, part, width, span, tile,
                )  # fmt: skip


@kernel("contract", "reassoc")
def _filter_columns(x, dy, bias, dw, panel, tile, table, size):
    images, groups, channels, filters = size[0], size[1], size[2], size[3]
    image, out, taps = _counts(table)
    deep = channels * taps
    begin(dw, 0, dw.size, 1, dw.size, ZERO, bias, 0, 0)
    for n in range(images * groups):
        g = n % groups
        for j in range(0, out, WIDE):
            width = min(WIDE, out - j)
            for k in range(0, deep, DEEP):
                part = min(DEEP, deep - k)
                _columns(x, n * channels * image, table, k, part, j, width, width, panel, False)
                inner_block(
                    dy, n * filters * out + j, out, panel, 0, WIDE,
                    dw, g * filters * deep + k, deep, filters, part, width, tile,
                )  # fmt: skip


@kernel("contract")
def _image_columns(dy, w, bias, dx, panel, tile, table, size):
    images, groups, channels, filters = size[0], size[1], size[2], size[3]
    image, out, taps = _counts(table)
    deep = channels * taps
    for n in range(images * groups):
        g = n % groups
        at = n * channels * image
        begin(dx, at, image, channels, image, size[4], bias, g * channels, 0)
        for j in range(0, out, WIDE):
            width = min(WIDE, out - j)
            for k in range(0, deep, DEEP):
                part = min(DEEP, deep - k)
                begin(panel, 0, WIDE, part, width, ZERO, panel, 0, 0)
                outer_block(
                    w, g * filters * deep + k, 1, deep, dy, n * filters * out + j, out,
                    panel, 0, WIDE, part, filters, width, width, tile,
                )  # fmt: skip
                _columns(dx, at, table, k, part, j, width, width, panel, True)


# ---------------------------------------------------------------- channels last


@kernel("contract", "reassoc")
def _correlate_rows(x, w, bias, y, panel, tile, table, size):
    images, groups, channels, filters = size[0], size[1], size[2], size[3]
    image, out, taps = _counts(table)
    deep, pixel, total = channels * taps, channels * groups, filters * groups
    for n in range(images * groups):
        g = n % groups
        x_at = n // groups * image * pixel + g * channels
        for i in range(0, out, DEEP):
            count = min(DEEP, out - i)
            at = (n // groups * out + i) * total + g * filters
            begin(y, at, total, count, filters, size[4], bias, 0, g * filters)
            for k in range(0, deep, WIDE):
                part = min(WIDE, deep - k)
                _rows(x, x_at, table, channels, pixel, k, part, i, count, panel, False)
                inner_block(
                    panel, 0, WIDE, w, g * filters * deep + k, deep,
                    y, at, total, count, filters, part, tile,
                )  # fmt: skip


@kernel("contract")
def _filter_rows(x, dy, bias, dw, panel, tile, table, size):
    images, groups, channels, filters = size[0], size[1], size[2], size[3]
    image, out, taps = _counts(table)
    deep, pixel, total = channels * taps, channels * groups, filters * groups
    begin(dw, 0, dw.size, 1, dw.size, ZERO, bias, 0, 0)
    for n in range(images * groups):
        g = n % groups
        x_at = n // groups * image * pixel + g * channels
        for i in range(0, out, DEEP):
            count = min(DEEP, out - i)
            at = (n // groups * out + i) * total + g * filters
            for k in range(0, deep, WIDE):
                part = min(WIDE, deep - k)
                _rows(x, x_at, table, channels, pixel, k, part, i, count, panel, False)
                outer_block(
                    dy, at, 1, total, panel, 0, WIDE,
                    dw, g * filters * deep + k, deep, filters, count, part, part, tile,
                )  # fmt: skip


@kernel("contract")
def _image_rows(dy, w, bias, dx, panel, tile, table, size):
    images, groups, channels, filters = size[0], size[1], size[2], size[3]
    image, out, taps = _counts(table)
    deep, pixel, total = channels * taps, channels * groups, filters * groups
    for n in range(images * groups):
        g = n % groups
        x_at = n // groups * image * pixel + g * channels
        begin(dx, x_at, pixel, image, channels, size[4], bias, 0, g * channels)
        for i in range(0, out, DEEP):
            count = min(DEEP, out - i)
            at = (n // groups * out + i) * total + g * filters
            for k in range(0, deep, WIDE):
                part = min(WIDE, deep - k)
                begin(panel, 0, WIDE, count, part, ZERO, panel, 0, 0)
                outer_block(
                    dy, at, total, 1, w, g * filters * deep + k, deep,
                    panel, 0, WIDE, count, filters, part, part, tile,
                )  # fmt: skip
                _rows(dx, x_at, table, channels, pixel, k, part, i, count, panel, True)


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
        call.scratch((len(x), x.shape[-1], *x.shape[1:-1]), x.dtype) for x in (*operands, result)
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
    """

    images: int
    groups: int
    channels: int
    filters: int
    image: tuple[int, ...]
    window: Window
    last: bool

    def _as_products(self, x: Array, w: Array, y: Array) -> tuple[Array, Array, Array] | None:
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
        if pixels < _NARROW and pixels % _VECTOR:
            return None
        return _flat_middle(x, False), matrix, _flat_middle(y, False)

    def _channels_first(self) -> Correlation | None:
        """The same with channels first, where rows of few channels or filters are too short."""
        if not self.last or self.groups == 1 or min(self.channels, self.filters) >= _VECTOR:
            return None
        return replace(self, last=False)

    def launch(self, call: Call, x: Array, w: Array, bias: Array | None, y: Array) -> list[Launch]:
        """Y = X correlated with W, plus a bias of each filter."""
        plain = self._as_products(x, w, y)
        if plain is not None:
            x, w, y = plain
            if x.ndim == 3:
                return launch_product(call, w, x, y, bias=bias, bias_of=PER_ROW)
            return launch_product(call, x, w, y, transpose_b=True, bias=bias)
        first = self._channels_first()
        if first is not None:
            return _with_channels_first(
                call, (x, w), y, lambda x, w, y: first.launch(call, x, w, bias, y)
            )
        function = _correlate_rows if self.last else _correlate_columns
        return self._launch(call, function, (x, w), bias, y)

    def launch_filter_gradient(self, call: Call, x: Array, dy: Array, dw: Array) -> list[Launch]:
        """The gradient of the filters, given images and the results' gradient."""
        plain = self._as_products(x, dw, dy)
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
        function = _filter_rows if self.last else _filter_columns
        return self._launch(call, function, (x, dy), None, dw)

    def launch_image_gradient(
        self, call: Call, dy: Array, w: Array, dx: Array, bias: Array | None = None
    ) -> list[Launch]:
        """The gradient of the images, a transposed convolution; plus a `bias` of each channel."""
        plain = self._as_products(dx, w, dy) if bias is None else None
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
        function = _image_rows if self.last else _image_columns
        return self._launch(call, function, (dy, w), bias, dx)

    def _launch(
        self,
        call: Call,
        function: Kernel,
        operands: tuple[Array, Array],
        bias: Array | None,
        result: Array,
    ) -> list[Launch]:
        tile = new_tile(call, result.dtype)
        panel = call.scratch((DEEP * WIDE,), result.dtype)
        start = ZERO if bias is None else PER_COLUMN if self.last else PER_ROW
        size = [self.images, self.groups, self.channels, self.filters, start]
        flat = [a.reshape(-1) for a in (*operands, tile if bias is None else bias, result)]
        table = self.window.table(self.image)
        return [function(*flat, panel, tile, table, np.array(size, np.int64))]
