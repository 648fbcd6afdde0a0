"""Loops over images: pixels taken from other places, and regions pooled by interpolation.

Images are (outer, height, width, inner): with the channels first `inner` is 1, with the channels
last `inner` counts them.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable
from typing import Any

from caffe2py.errors import Error
from caffe2py.kernels.elementwise import FLOATS
from caffe2py.kernels.jit import Kernel, kernel
from caffe2py.kernels.parallel import by_rows, is_on_device
from caffe2py.kernels.window import channels_last
from caffe2py.registry.context import Launch
from caffe2py.registry.infer import Query, require_dtype, require_rank
from caffe2py.tensor.late import late
from caffe2py.tensor.tensor import Array

Dims = tuple[int | None, ...]


def image_sizes(query: Query, index: int) -> tuple[int | None, int | None, Dims] | None:
    """(batch, channels, (height, width)) of an input, None where its shape is unknown.

    DTypeError or ShapeError unless it is a batch of images of floats.
    """
    last = channels_last(query.args)
    require_dtype(query, index, *FLOATS)
    require_rank(query, index, 4)
    shape = query.inputs[index].shape
    if shape is None:
        return None
    return (shape[0], shape[3], shape[1:3]) if last else (shape[0], shape[1], shape[2:])


def by_pixel(array: Array, last: bool) -> Array:
    """A batch of images as (outer, height, width, inner); `last`: channels come last."""
    if last:
        return array
    batch, channels, height, width = array.shape
    return array.reshape(batch * channels, height, width, 1)


# ---------------------------------------------------------------- pixels from other places


@kernel()
def _gather_pixels(x: Any, rows: Any, columns: Any, value: Any, y: Any) -> None:
    for n in range(y.shape[0]):
        for i in range(y.shape[1]):
            for j in range(y.shape[2]):
                if rows[i] < 0 or columns[j] < 0:
                    for k in range(y.shape[3]):
                        y[n, i, j, k] = value
                else:
                    for k in range(y.shape[3]):
                        y[n, i, j, k] = x[n, rows[i], columns[j], k]


_gather_pixels.form_from("images", "gather_pixels")


@kernel()
def _gather_elements(x: Any, rows: Any, columns: Any, value: Any, y: Any) -> None:
    """The same where a pixel is one element; a row that is shown again is copied."""
    for n in range(y.shape[0]):
        for i in range(y.shape[1]):
            target = y[n, i]
            if i > 0 and rows[i] == rows[i - 1]:
                before = y[n, i - 1]
                for j in range(target.size):
                    target[j] = before[j]
            elif rows[i] < 0:
                for j in range(target.size):
                    target[j] = value
            else:
                source = x[n, rows[i]]
                for j in range(target.size):
                    target[j] = source[columns[j]] if columns[j] >= 0 else value


_gather_elements.form_from("images", "gather_elements")


def launch_gather_pixels(x: Array, rows: Array, columns: Array, value: float, y: Array) -> Launch:
    """y[n, i, j] = x[n, rows[i], columns[j]], or `value` where one of these is -1."""
    number = x.dtype.type(value)
    if x.shape[3] == 1:
        images, shown = x.reshape(x.shape[:3]), y.reshape(y.shape[:3])
        run = functools.partial(_gathered, _gather_elements, rows, columns, number)
        return by_rows(run, images, shown)
    return by_rows(functools.partial(_gathered, _gather_pixels, rows, columns, number), x, y)


def _gathered(loop: Kernel, rows: Array, columns: Array, value: Any, x: Array, y: Array) -> Launch:
    return loop(x, rows, columns, value, y)


def clear(images: Any) -> None:
    """All elements become 0; for kernels."""
    for n in range(images.shape[0]):
        for i in range(images.shape[1]):
            for j in range(images.shape[2]):
                for k in range(images.shape[3]):
                    images[n, i, j, k] = 0


@kernel()
def _scatter_pixels(dy: Any, rows: Any, columns: Any, dx: Any) -> None:
    clear(dx)
    for n in range(dx.shape[0]):
        for i in range(dy.shape[1]):
            for j in range(dy.shape[2]):
                if rows[i] >= 0 and columns[j] >= 0:
                    for k in range(dy.shape[3]):
                        dx[n, rows[i], columns[j], k] += dy[n, i, j, k]


def launch_scatter_pixels(dy: Array, rows: Array, columns: Array, dx: Array) -> Launch:
    """The way back: dx[n, rows[i], columns[j]] += dy[n, i, j], from zeros; -1 goes nowhere."""
    if is_on_device(dy):
        launch: Launch = late("kernels.cuda.images", "launch_scatter")(dy, rows, columns, dx)
        return launch
    return by_rows(lambda b, a: _scatter_pixels(b, rows, columns, a), dy, dx)


# ---------------------------------------------------------------- regions

#: A bin with more samples than this along one axis, or a place this far away, is refused.
_MOST = 1 << 16
_FAR = 1 << 30

#: Statuses: no such image; coordinates that are no numbers, or too large; a negative size.
NO_IMAGE, NO_REGION, NEGATIVE = 1, 2, 3


def box_axis(box: Any, at: Any, scale: Any, aligned: Any, bins: Any, ratio: Any) -> Any:
    """Begin, size of a bin and samples a bin along one axis; a negative number is a status."""
    number = box.dtype.type
    shift = number(0.5) if aligned else number(0)
    first = box[at] * scale - shift
    extent = (box[at + 2] * scale - shift) - first
    if extent < 1 and not aligned:
        extent = number(1)
    size = extent / number(bins)
    if not (abs(first) < _FAR and abs(size) < _MOST):
        return first, size, -NO_REGION
    if extent < 0:
        return first, size, -NEGATIVE
    return first, size, ratio if ratio > 0 else math.ceil(size)


def sample_place(box: Any, first: Any, size: Any, index: Any, sample: Any, samples: Any) -> Any:
    """Where a sample of a bin is, with the precision of the box."""
    number = box.dtype.type
    middle = number(sample) + number(0.5)
    return first + number(index) * size + middle * size / number(samples)


def neighbours(at: Any, size: Any, like: Any) -> Any:
    """The elements below and above a place, and the share of the one above; -1: outside."""
    if at < -1 or at > size:
        return -1, -1, at - at
    low = max(int(at), 0)
    if at <= 0:
        return 0, min(1, size - 1), at - at
    if low >= size - 1:
        return size - 1, size - 1, at - at
    return low, low + 1, at - like.dtype.type(low)


def add_sample(image: Any, v: Any, u: Any, count: Any, bin_: Any, back: Any) -> None:
    """Add the value at one place to a bin; or the bin's gradient to the image around it."""
    number = bin_.dtype.type
    one = number(1)
    low_v, high_v, part_v = neighbours(v, image.shape[0], bin_)
    low_u, high_u, part_u = neighbours(u, image.shape[1], bin_)
    if low_v < 0 or low_u < 0:
        return
    a, b = image[low_v, low_u], image[low_v, high_u]
    c, d = image[high_v, low_u], image[high_v, high_u]
    wa = (one - part_v) * (one - part_u) / count
    wb = (one - part_v) * part_u / count
    wc = part_v * (one - part_u) / count
    wd = part_v * part_u / count
    if back:
        for k in range(bin_.size):
            g = bin_[k]
            a[k] += g * wa
            b[k] += g * wb
            c[k] += g * wc
            d[k] += g * wd
    else:
        for k in range(bin_.size):
            bin_[k] += wa * a[k] + wb * b[k] + wc * c[k] + wd * d[k]


def _align_region(
    images: Any, box: Any, scale: Any, aligned: Any, ratio: Any, y: Any, back: Any
) -> Any:
    first = box.size - 4
    number = 0
    if first:
        if not 0 <= box[0] < images.shape[0]:
            return NO_IMAGE
        number = int(box[0])
    elif images.shape[0] == 0:
        return NO_IMAGE
    left, width, nx = box_axis(box, first, scale, aligned, y.shape[1], ratio)
    top, height, ny = box_axis(box, first + 1, scale, aligned, y.shape[0], ratio)
    if nx < 0 or ny < 0:
        return -min(nx, ny)
    count = box.dtype.type(max(nx * ny, 1))
    for i in range(y.shape[0]):
        for p in range(ny):
            v = sample_place(box, top, height, i, p, ny)
            for j in range(y.shape[1]):
                for q in range(nx):
                    u = sample_place(box, left, width, j, q, nx)
                    add_sample(images[number], v, u, count, y[i, j], back)
    return 0


@kernel()
def _align(x: Any, boxes: Any, scale: Any, aligned: Any, ratio: Any, y: Any) -> Any:
    clear(y)
    for r in range(boxes.shape[0]):
        status = _align_region(x, boxes[r], scale, aligned, ratio, y[r], False)
        if status:
            return status
    return 0


_align.form_from("regions", "align")


@kernel()
def _align_gradient(dy: Any, boxes: Any, scale: Any, aligned: Any, ratio: Any, dx: Any) -> Any:
    clear(dx)
    for r in range(boxes.shape[0]):
        status = _align_region(dx, boxes[r], scale, aligned, ratio, dy[r], True)
        if status:
            return status
    return 0


_align_gradient.form_from("regions", "align_gradient")


Explain = Callable[[int], Error]


def launch_align(
    x: Array, boxes: Array, scale: float, aligned: bool, ratio: int, y: Array, explain: Explain
) -> Launch:
    """Each bin of y (regions, rows, columns, channels) is a mean of interpolated places of x.

    x is (batch, height, width, channels), not empty but for the batch; boxes (regions, 4 or 5) are
    left, top, right, bottom in units of 1 / scale pixels, a number of an image before them. A bin
    has `ratio` samples along each axis, or with 0 about one a pixel.
    """
    return _align(x, boxes, x.dtype.type(scale), aligned, ratio, y, explain=explain)


def launch_align_gradient(
    dy: Array, boxes: Array, scale: float, aligned: bool, ratio: int, dx: Array, explain: Explain
) -> Launch:
    """The way back of `launch_align`."""
    return _align_gradient(dy, boxes, dy.dtype.type(scale), aligned, ratio, dx, explain=explain)
