"""Convolutions and their gradients on devices: by cuDNN, as products of matrices, or gathered."""

from __future__ import annotations

import math

import numpy as np

from caffe2py.adapters.cudnn import Step
from caffe2py.kernels.block import PER_COLUMN, PER_ROW
from caffe2py.kernels.convolve import Correlation
from caffe2py.kernels.copy import launch_transpose
from caffe2py.kernels.cuda.correlate import Gathered, Triple, launch_gathered
from caffe2py.kernels.cuda.engines import launch_cudnn
from caffe2py.kernels.cuda.tiles import End
from caffe2py.kernels.linalg import launch_product
from caffe2py.kernels.window import BEGIN, DILATION, IMAGE, KERNEL, OUT, STRIDE
from caffe2py.registry.context import Call, Launch
from caffe2py.tensor.tensor import Array

_NONE: Triple = (0, 0, 0)
_ONE: Triple = (1, 1, 1)


def launch_convolution(
    call: Call,
    use: Correlation,
    step: Step,
    x: Array,
    w: Array,
    y: Array,
    *,
    bias: Array | None = None,
    low: float = -math.inf,
    added: Array | None = None,
) -> list[Launch]:
    """y from images x and filters w, or x or w from the other two, which are then gradients.

    Every channel of the result gets its `bias`, `added` has the result's size, and results are at
    least `low`. The operator's engine decides who computes; without one, cuDNN if it can.
    """
    result = {"forward": y, "backward_data": x, "backward_filter": w}[step]
    if not result.size:
        return []
    inner = 1 if use.last else math.prod(result.shape[2:])
    end = End(result, bias, inner, added, low)
    by_library = launch_cudnn(call, use, step, (x, w, y), end)
    if by_library is not None:
        return by_library
    by_pixel = step == "backward_data" and bias is not None  # rows may be whole images then
    plain = None if by_pixel else use.as_products(x, w, y)
    if plain is not None:
        return _products(call, step, *plain, end)
    return _gathered(call, use, step, (x, w, y), end)


def _products(call: Call, step: Step, x: Array, w: Array, y: Array, end: End) -> list[Launch]:
    """The same for matrices: results are filters times images, or images times filters^T."""
    first = x.ndim == 3
    if step == "backward_filter":
        return launch_product(call, y, x, w, transpose_a=not first, transpose_b=first)
    if step == "backward_data":
        if first:
            return launch_product(call, w, y, x, transpose_a=True)
        return launch_product(call, y, w, x)
    return launch_product(
        call,
        *((w, x, y) if first else (x, w, y)),
        transpose_b=not first,
        bias=end.bias,
        bias_of=PER_ROW if first else PER_COLUMN,
        low=end.low,
        added=end.added,
    )


# ---------------------------------------------------------------- gathered


class _Layout:
    """Where the elements of images, filters and results are: elements from one to the next."""

    def __init__(self, use: Correlation) -> None:
        self.use = use
        self.table = use.window.table(use.image)
        self.taps, self.places, self.pixels = (
            int(self.table[row].prod()) for row in (KERNEL, OUT, IMAGE)
        )
        self.filter = use.channels * self.taps
        image, maps = use.groups * use.channels, use.groups * use.filters
        self.image, self.maps = image * self.pixels, maps * self.places
        #: From channel to channel, and from pixel to pixel, of images and of results.
        self.of_images = (1, image) if use.last else (self.pixels, 1)
        self.of_maps = (1, maps) if use.last else (self.places, 1)

    def row(self, row: int) -> Triple:
        """A row of the window's table."""
        depth, height, width = (int(n) for n in self.table[row])
        return depth, height, width

    def steps(self, row: int, pixel: int) -> Triple:
        """Steps along the axes of an array whose sizes are in that row."""
        _, height, width = self.row(row)
        return height * width * pixel, width * pixel, pixel

    def grid(self, row: int, scale: int | None, shift: int | None, sign: int = 1) -> Array:
        """(positions, 3): all positions of the axes in a row, scaled and shifted by other rows."""
        places = np.indices(self.row(row)).reshape(3, -1).T.astype(np.int64)
        if scale is not None:
            places = places * self.table[scale]
        if shift is not None:
            places = places - self.table[shift]
        return places * sign


def _minus(values: Triple) -> Triple:
    return -values[0], -values[1], -values[2]


def _terms(rest: Array, places: Array, steps: Triple) -> Array:
    """The table of terms: elements, with those for places, and the places."""
    elements = rest + places @ np.array(steps, np.int64)
    table = np.column_stack([elements, places])
    small = not table.size or int(np.abs(table).max()) < 2**31
    return np.ascontiguousarray(table, np.int32 if small else np.int64)


def _cross(rest: Array, places: Array, *, rest_first: bool) -> tuple[Array, Array]:
    """All pairs of both, in the order of the first or the second."""
    if rest_first:
        return np.repeat(rest, len(places)), np.tile(places, (len(rest), 1))
    return np.tile(rest, len(places)), np.repeat(places, len(rest), 0)


def _gathered(
    call: Call, use: Correlation, step: Step, arrays: tuple[Array, Array, Array], end: End
) -> list[Launch]:
    x, w, y = arrays
    at = _Layout(use)
    if step == "forward":
        what, table = _forward(use, at)
        return launch_gathered(call, what, w, x, table, end)
    if step == "backward_filter":
        what, table = _of_filter(use, at)
        return launch_gathered(call, what, y, x, table, end)
    what, table = _of_image(use, at)
    # filters by channel, so that the terms of a channel are neighbours
    shape = (use.groups, use.filters, at.taps, use.channels)
    axes = (0, 3, 2, 1)
    if not use.last:
        shape, axes = (use.groups, use.filters, use.channels, at.taps), (0, 2, 1, 3)
    turned = call.scratch(tuple(shape[k] for k in axes), w.dtype, brief=True)
    before = launch_transpose(w.reshape(shape), axes, turned)
    return [before, *launch_gathered(call, what, turned, y, table, end)]


def _forward(use: Correlation, at: _Layout) -> tuple[Gathered, Array]:
    """Results: rows are filters, columns positions in all images, terms a filter's elements."""
    channel, pixel = at.of_images
    filter_, place = at.of_maps
    rest = np.arange(use.channels) * channel
    taps = at.grid(KERNEL, DILATION, None)
    what = Gathered(
        groups=use.groups, rows=use.filters, columns=use.images * at.places, terms=at.filter,
        summed=1,
        a_group=use.filters * at.filter, a_walk=0, a_row=at.filter, a_term=1,
        x_group=use.channels * channel, x_walk=0, x_rest=at.image,
        x_steps=at.steps(IMAGE, pixel),
        per=at.places, turned=False, grid=at.row(OUT), scale=at.row(STRIDE),
        shift=_minus(at.row(BEGIN)), apart=_ONE, bounds=at.row(IMAGE),
        c_group=use.filters * filter_, c_row=filter_, c_rest=at.maps, c_place=place,
        along=use.last,
    )  # fmt: skip
    return what, _terms(*_cross(rest, taps, rest_first=not use.last), what.x_steps)


def _of_image(use: Correlation, at: _Layout) -> tuple[Gathered, Array]:
    """Images' gradients: rows are channels, columns pixels in all images, terms all filters'."""
    channel, pixel = at.of_images
    filter_, place = at.of_maps
    rest = np.arange(use.filters) * filter_
    taps = at.grid(KERNEL, DILATION, None, -1)
    deep = use.filters * at.taps
    what = Gathered(
        groups=use.groups, rows=use.channels, columns=use.images * at.pixels, terms=deep,
        summed=1,
        a_group=use.channels * deep, a_walk=0, a_row=deep, a_term=1,
        x_group=use.filters * filter_, x_walk=0, x_rest=at.maps, x_steps=at.steps(OUT, place),
        per=at.pixels, turned=False, grid=at.row(IMAGE), scale=_ONE, shift=at.row(BEGIN),
        apart=at.row(STRIDE), bounds=at.row(OUT),
        c_group=use.channels * channel, c_row=channel, c_rest=at.image, c_place=pixel,
        along=use.last,
    )  # fmt: skip
    steps = what.x_steps if max(what.apart) == 1 else _NONE
    return what, _terms(*_cross(rest, taps, rest_first=not use.last), steps)


def _of_filter(use: Correlation, at: _Layout) -> tuple[Gathered, Array]:
    """Filters' gradients: rows are filters, columns their elements, terms the positions."""
    channel, pixel = at.of_images
    filter_, place = at.of_maps
    positions = at.grid(OUT, STRIDE, BEGIN)
    what = Gathered(
        groups=use.groups, rows=use.filters, columns=at.filter, terms=at.places,
        summed=use.images,
        a_group=use.filters * filter_, a_walk=at.maps, a_row=filter_, a_term=place,
        x_group=use.channels * channel, x_walk=at.image, x_rest=channel,
        x_steps=at.steps(IMAGE, pixel),
        per=use.channels if use.last else at.taps, turned=use.last, grid=at.row(KERNEL),
        scale=at.row(DILATION), shift=_NONE, apart=_ONE, bounds=at.row(IMAGE),
        c_group=use.filters * at.filter, c_row=at.filter,
        c_rest=1 if use.last else at.taps, c_place=use.channels if use.last else 1,
        along=not use.last,
    )  # fmt: skip
    return what, _terms(np.zeros(len(positions), np.int64), positions, what.x_steps)
