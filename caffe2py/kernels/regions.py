"""Regions of images: rotated ones pooled by interpolation, upright ones by maximum or mean."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from caffe2py.kernels.image import (
    NEGATIVE,
    NO_IMAGE,
    NO_REGION,
    Explain,
    add_sample,
    clear,
)
from caffe2py.kernels.jit import kernel
from caffe2py.registry.context import Launch
from caffe2py.tensor.tensor import Array

#: A bin with more samples than this along one axis, or a place this far away, is refused.
MOST = 1 << 16
FAR = 1 << 30

# ---------------------------------------------------------------- rotated


def _rotated_region(
    images: Any, box: Any, scale: Any, aligned: Any, ratio: Any, y: Any, back: Any
) -> Any:
    number = box.dtype.type
    one = number(1)
    if not 0 <= box[0] < images.shape[0]:
        return NO_IMAGE
    shift = number(0.5) if aligned else number(0)
    x_middle, y_middle = box[1] * scale - shift, box[2] * scale - shift
    width, height = box[3] * scale, box[4] * scale
    if not aligned:
        width, height = max(width, one), max(height, one)
    step_h, step_w = height / number(y.shape[0]), width / number(y.shape[1])
    if not (abs(x_middle) < FAR and abs(y_middle) < FAR and abs(box[5]) < FAR):
        return NO_REGION
    if not (abs(step_h) < MOST and abs(step_w) < MOST):
        return NO_REGION
    if width < 0 or height < 0:
        return NEGATIVE
    rows = ratio if ratio > 0 else math.ceil(step_h)
    columns = ratio if ratio > 0 else math.ceil(step_w)
    turn = box[5] * number(math.pi / 180)
    cosine, sine = np.cos(turn), np.sin(turn)
    count = number(max(rows * columns, 1))
    image = images[int(box[0])]
    half = number(2)
    for i in range(y.shape[0]):
        for j in range(y.shape[1]):
            for p in range(rows):
                v = -height / half + number(i) * step_h
                v += (number(p) + number(0.5)) * step_h / number(rows)
                for q in range(columns):
                    u = -width / half + number(j) * step_w
                    u += (number(q) + number(0.5)) * step_w / number(columns)
                    at_x = u * cosine + v * sine + x_middle
                    at_y = v * cosine - u * sine + y_middle
                    add_sample(image, at_y, at_x, count, y[i, j], back)
    return 0


@kernel()
def _rotated(x: Any, boxes: Any, scale: Any, aligned: Any, ratio: Any, y: Any) -> Any:
    clear(y)
    for r in range(boxes.shape[0]):
        status = _rotated_region(x, boxes[r], scale, aligned, ratio, y[r], False)
        if status:
            return status
    return 0


_rotated.form_from("regions", "rotated")


@kernel()
def _rotated_gradient(dy: Any, boxes: Any, scale: Any, aligned: Any, ratio: Any, dx: Any) -> Any:
    clear(dx)
    for r in range(boxes.shape[0]):
        status = _rotated_region(dx, boxes[r], scale, aligned, ratio, dy[r], True)
        if status:
            return status
    return 0


_rotated_gradient.form_from("regions", "rotated_gradient")


def launch_rotated(
    x: Array, boxes: Array, numbers: tuple[float, bool, int], y: Array, explain: Explain
) -> Launch:
    """Each bin of y (regions, rows, columns, channels) is a mean of interpolated places of x.

    x is (batch, height, width, channels), boxes (regions, 6): number of the image, centre, width,
    height, angle in degrees against the clock. `numbers`: scale, aligned, samples along an axis.
    """
    scale, aligned, ratio = numbers
    return _rotated(x, boxes, x.dtype.type(scale), aligned, ratio, y, explain=explain)


def launch_rotated_gradient(
    dy: Array, boxes: Array, numbers: tuple[float, bool, int], dx: Array, explain: Explain
) -> Launch:
    """The way back of `launch_rotated`."""
    scale, aligned, ratio = numbers
    return _rotated_gradient(dy, boxes, dy.dtype.type(scale), aligned, ratio, dx, explain=explain)


# ---------------------------------------------------------------- the largest element


def round_half(value: Any) -> Any:
    """The nearest integer, halves away from zero."""
    return math.floor(value + 0.5) if value >= 0 else -math.floor(0.5 - value)


def far_away(box: Any, scale: Any) -> Any:
    """Whether a corner is no number, or too far away."""
    total = abs(box[1]) + abs(box[2]) + abs(box[3]) + abs(box[4])
    return not total * scale < FAR


def bin_of(at: Any, after: Any, size: Any, first: Any, most: Any) -> Any:
    """First and last pixel of a bin."""
    begin = math.floor(at * size) + first
    end = math.ceil(after * size) + first
    return min(max(begin, 0), most), min(max(end, 0), most)


@kernel()
def _largest(x: Any, boxes: Any, scale: Any, y: Any, places: Any) -> Any:
    number = x.dtype.type
    for r in range(boxes.shape[0]):
        box = boxes[r]
        if not 0 <= box[0] < x.shape[0]:
            return NO_IMAGE
        if far_away(box, scale):
            return NO_REGION
        left, top = round_half(box[1] * scale), round_half(box[2] * scale)
        width = number(max(round_half(box[3] * scale) - left + 1, 1)) / number(y.shape[3])
        height = number(max(round_half(box[4] * scale) - top + 1, 1)) / number(y.shape[2])
        for c in range(x.shape[1]):
            plane = x[int(box[0]), c]
            for i in range(y.shape[2]):
                first_v, last_v = bin_of(number(i), number(i + 1), height, top, x.shape[2])
                for j in range(y.shape[3]):
                    first_u, last_u = bin_of(number(j), number(j + 1), width, left, x.shape[3])
                    best, place = number(0), -1
                    for v in range(first_v, last_v):
                        for u in range(first_u, last_u):
                            if place < 0 or plane[v, u] > best:
                                best, place = plane[v, u], v * x.shape[3] + u
                    y[r, c, i, j] = best
                    places[r, c, i, j] = place
    return 0


_largest.form_from("regions", "largest")


@kernel()
def _largest_gradient(boxes: Any, places: Any, dy: Any, dx: Any) -> Any:
    clear(dx)
    size = dx.shape[2] * dx.shape[3]
    for r in range(boxes.shape[0]):
        if not 0 <= boxes[r, 0] < dx.shape[0]:
            return NO_IMAGE
        for c in range(dx.shape[1]):
            plane = dx[int(boxes[r, 0]), c]
            for i in range(dy.shape[2]):
                for j in range(dy.shape[3]):
                    place = places[r, c, i, j]
                    if place >= size:
                        return NO_REGION
                    if place >= 0:
                        plane[place // dx.shape[3], place % dx.shape[3]] += dy[r, c, i, j]
    return 0


_largest_gradient.form_from("regions", "largest_gradient")


def launch_largest(
    x: Array, boxes: Array, scale: float, y: Array, places: Array, explain: Explain
) -> Launch:
    """The largest element of each bin, 0 where it is empty, and its place in the plane or -1.

    x is (batch, channels, height, width), boxes (regions, 5), y and places (int32) (regions,
    channels, rows, columns).
    """
    return _largest(x, boxes, x.dtype.type(scale), y, places, explain=explain)


def launch_largest_gradient(
    boxes: Array, places: Array, dy: Array, dx: Array, explain: Explain
) -> Launch:
    """The way back: each place gets the gradient of its bin."""
    return _largest_gradient(boxes, places, dy, dx, explain=explain)


# ---------------------------------------------------------------- a channel for each bin


def span_of(at: Any, after: Any, size: Any, first: Any, most: Any) -> Any:
    """First and last pixel of a bin whose region begins between pixels."""
    begin = math.floor(at * size + first)
    end = math.ceil(after * size + first)
    return min(max(begin, 0), most), min(max(end, 0), most)


@kernel()
def _sensitive(x: Any, boxes: Any, scale: Any, back: Any, y: Any, channels: Any) -> Any:
    """y from x; or with `back` x from y, where both are gradients."""
    number = x.dtype.type
    if back:
        clear(x)
    group = y.shape[2]
    for r in range(boxes.shape[0]):
        box = boxes[r]
        if not 0 <= box[0] < x.shape[0]:
            return NO_IMAGE
        if far_away(box, scale):
            return NO_REGION
        left, top = number(round_half(box[1])) * scale, number(round_half(box[2])) * scale
        right = number(round_half(box[3]) + 1) * scale
        bottom = number(round_half(box[4]) + 1) * scale
        width = max(right - left, number(0.1)) / number(group)
        height = max(bottom - top, number(0.1)) / number(group)
        for c in range(y.shape[1]):
            for i in range(group):
                first_v, last_v = span_of(number(i), number(i + 1), height, top, x.shape[2])
                for j in range(group):
                    first_u, last_u = span_of(number(j), number(j + 1), width, left, x.shape[3])
                    channel = (c * group + i) * group + j
                    plane = x[int(box[0]), channel]
                    area = number(max(last_v - first_v, 0) * max(last_u - first_u, 0))
                    total = number(0)
                    for v in range(first_v, last_v):
                        for u in range(first_u, last_u):
                            if back:
                                plane[v, u] += y[r, c, i, j] / area
                            else:
                                total += plane[v, u]
                    if not back:
                        y[r, c, i, j] = total / area if area > 0 else number(0)
                        channels[r, c, i, j] = channel
    return 0


_sensitive.form_from("regions", "sensitive")


def launch_sensitive(
    x: Array, boxes: Array, scale: float, y: Array, channels: Array, explain: Explain
) -> Launch:
    """The mean of each bin over a channel of its own: (c * group + row) * group + column.

    x is (batch, outputs * group * group, height, width), boxes (regions, 5), y and channels (int32)
    (regions, outputs, group, group).
    """
    return _sensitive(x, boxes, x.dtype.type(scale), False, y, channels, explain=explain)


def launch_sensitive_gradient(
    dy: Array, boxes: Array, scale: float, dx: Array, explain: Explain
) -> Launch:
    """The way back: the pixels of a bin share its gradient."""
    none = np.zeros((0, 0, 0, 0), np.int32)
    return _sensitive(dx, boxes, dx.dtype.type(scale), True, dy, none, explain=explain)
