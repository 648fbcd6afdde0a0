"""Pooled regions of images on devices: a thread for each element of a result.

On the way back a thread has a row of an image, of one channel, and goes over all regions: so each
pixel gets what it is due in the order of the regions.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from caffe2py.kernels.cuda.form import form
from caffe2py.kernels.cuda.teams import blocks_for_items
from caffe2py.kernels.cuda.threads import cuda
from caffe2py.kernels.image import (
    NEGATIVE,
    NO_IMAGE,
    NO_REGION,
    box_axis,
    neighbours,
    sample_place,
)
from caffe2py.kernels.regions import FAR, MOST, bin_of, far_away, round_half, span_of
from caffe2py.tensor.tensor import Array


def _last_blocks(*args: Any) -> int:
    return blocks_for_items(args[-1].size)


def _row_blocks(*args: Any) -> int:
    """Threads for the rows of the last array, which has the channels last."""
    dx: Array = args[-1]
    return blocks_for_items(dx.size // max(dx.shape[2], 1))


def _image_of(images: Any, boxes: Any, r: Any) -> Any:
    """The number of a region's image, -1 if there is none; 0 where regions name none."""
    if boxes.shape[1] == 4:
        return 0 if images.shape[0] > 0 else -1
    if not 0 <= boxes[r, 0] < images.shape[0]:
        return -1
    return int(boxes[r, 0])


def _sample(images: Any, n: Any, v: Any, u: Any, count: Any, c: Any) -> Any:
    """The value at a place of a channel, by the number of samples."""
    one = images.dtype.type(1)
    low_v, high_v, part_v = neighbours(v, images.shape[1], images)
    low_u, high_u, part_u = neighbours(u, images.shape[2], images)
    if low_v < 0 or low_u < 0:
        return one - one
    wa = (one - part_v) * (one - part_u) / count
    wb = (one - part_v) * part_u / count
    wc = part_v * (one - part_u) / count
    wd = part_v * part_u / count
    top = wa * images[n, low_v, low_u, c] + wb * images[n, low_v, high_u, c]
    return top + wc * images[n, high_v, low_u, c] + wd * images[n, high_v, high_u, c]


def _give(dx: Any, n: Any, row: Any, v: Any, u: Any, count: Any, c: Any, g: Any) -> None:
    """What a sample's gradient gives to the pixels of one row."""
    one = dx.dtype.type(1)
    low_v, high_v, part_v = neighbours(v, dx.shape[1], dx)
    if low_v < 0 or (low_v != row and high_v != row):
        return
    low_u, high_u, part_u = neighbours(u, dx.shape[2], dx)
    if low_u < 0:
        return
    if low_v == row:
        dx[n, row, low_u, c] += g * ((one - part_v) * (one - part_u) / count)
        dx[n, row, high_u, c] += g * ((one - part_v) * part_u / count)
    if high_v == row:
        dx[n, row, low_u, c] += g * (part_v * (one - part_u) / count)
        dx[n, row, high_u, c] += g * (part_v * part_u / count)


# ---------------------------------------------------------------- upright ones, interpolated


@form(_last_blocks)
def align(x: Any, boxes: Any, scale: Any, aligned: Any, ratio: Any, y: Any) -> Any:
    """For `_align`."""
    rows, columns, channels = y.shape[1], y.shape[2], y.shape[3]
    first = boxes.shape[1] - 4
    for e in range(cuda.grid(1), y.size, cuda.gridsize(1)):
        line = e // channels
        c = e - line * channels
        high = line // columns
        j = line - high * columns
        r = high // rows
        i = high - r * rows
        box = boxes[r]
        n = _image_of(x, boxes, r)
        if n < 0:
            return NO_IMAGE
        left, width, nx = box_axis(box, first, scale, aligned, columns, ratio)
        top, height, ny = box_axis(box, first + 1, scale, aligned, rows, ratio)
        if nx < 0 or ny < 0:
            return -min(nx, ny)
        count = box.dtype.type(max(nx * ny, 1))
        total = y.dtype.type(0)
        for p in range(ny):
            v = sample_place(box, top, height, i, p, ny)
            for q in range(nx):
                u = sample_place(box, left, width, j, q, nx)
                total += _sample(x, n, v, u, count, c)
        y[r, i, j, c] = total
    return 0


@form(_row_blocks)
def align_gradient(dy: Any, boxes: Any, scale: Any, aligned: Any, ratio: Any, dx: Any) -> Any:
    """For `_align_gradient`."""
    rows, columns, channels = dy.shape[1], dy.shape[2], dy.shape[3]
    first = boxes.shape[1] - 4
    for e in range(cuda.grid(1), dx.shape[0] * dx.shape[1] * channels, cuda.gridsize(1)):
        line = e // channels
        c = e - line * channels
        n = line // dx.shape[1]
        row = line - n * dx.shape[1]
        for u in range(dx.shape[2]):
            dx[n, row, u, c] = 0
        for r in range(boxes.shape[0]):
            box = boxes[r]
            own = _image_of(dx, boxes, r)
            if own < 0:
                return NO_IMAGE
            left, width, nx = box_axis(box, first, scale, aligned, columns, ratio)
            top, height, ny = box_axis(box, first + 1, scale, aligned, rows, ratio)
            if nx < 0 or ny < 0:
                return -min(nx, ny)
            if own != n:
                continue
            count = box.dtype.type(max(nx * ny, 1))
            for i in range(rows):
                for p in range(ny):
                    v = sample_place(box, top, height, i, p, ny)
                    low, high, _ = neighbours(v, dx.shape[1], dx)
                    if low != row and high != row:
                        continue
                    for j in range(columns):
                        g = dy[r, i, j, c]
                        for q in range(nx):
                            u = sample_place(box, left, width, j, q, nx)
                            _give(dx, n, row, v, u, count, c, g)
    return 0


# ---------------------------------------------------------------- rotated ones


def _turned(box: Any, scale: Any, aligned: Any, ratio: Any, rows: Any, columns: Any) -> Any:
    """(status, samples down and across a bin, steps, middle, cosine and sine) of a region."""
    number = box.dtype.type
    one, zero = number(1), number(0)
    shift = number(0.5) if aligned else zero
    x, y = box[1] * scale - shift, box[2] * scale - shift
    width, height = box[3] * scale, box[4] * scale
    if not aligned:
        width, height = max(width, one), max(height, one)
    step_h, step_w = height / number(rows), width / number(columns)
    status = 0
    if not (abs(x) < FAR and abs(y) < FAR and abs(box[5]) < FAR) or not (
        abs(step_h) < MOST and abs(step_w) < MOST
    ):
        status = NO_REGION
    elif width < 0 or height < 0:
        status = NEGATIVE
    if status != 0:
        return status, 0, 0, zero, zero, zero, zero, zero, zero
    down = ratio if ratio > 0 else math.ceil(step_h)
    across = ratio if ratio > 0 else math.ceil(step_w)
    turn = box[5] * number(math.pi / 180)
    return status, down, across, step_h, step_w, x, y, math.cos(turn), math.sin(turn)


@form(_last_blocks)
def rotated(x: Any, boxes: Any, scale: Any, aligned: Any, ratio: Any, y: Any) -> Any:
    """For `_rotated`."""
    rows, columns, channels = y.shape[1], y.shape[2], y.shape[3]
    number = y.dtype.type
    half, two = number(0.5), number(2)
    for e in range(cuda.grid(1), y.size, cuda.gridsize(1)):
        line = e // channels
        c = e - line * channels
        high = line // columns
        j = line - high * columns
        r = high // rows
        i = high - r * rows
        n = _image_of(x, boxes, r)
        if n < 0:
            return NO_IMAGE
        status, down, across, step_h, step_w, mid_x, mid_y, cosine, sine = _turned(
            boxes[r], scale, aligned, ratio, rows, columns
        )
        if status != 0:
            return status
        count = number(max(down * across, 1))
        total = number(0)
        for p in range(down):
            v = -(step_h * number(rows)) / two + number(i) * step_h
            v += (number(p) + half) * step_h / number(down)
            for q in range(across):
                u = -(step_w * number(columns)) / two + number(j) * step_w
                u += (number(q) + half) * step_w / number(across)
                at_x, at_y = u * cosine + v * sine + mid_x, v * cosine - u * sine + mid_y
                total += _sample(x, n, at_y, at_x, count, c)
        y[r, i, j, c] = total
    return 0


@form(_row_blocks)
def rotated_gradient(dy: Any, boxes: Any, scale: Any, aligned: Any, ratio: Any, dx: Any) -> Any:
    """For `_rotated_gradient`."""
    rows, columns, channels = dy.shape[1], dy.shape[2], dy.shape[3]
    number = dx.dtype.type
    half, two = number(0.5), number(2)
    for e in range(cuda.grid(1), dx.shape[0] * dx.shape[1] * channels, cuda.gridsize(1)):
        line = e // channels
        c = e - line * channels
        n = line // dx.shape[1]
        row = line - n * dx.shape[1]
        for k in range(dx.shape[2]):
            dx[n, row, k, c] = 0
        for r in range(boxes.shape[0]):
            own = _image_of(dx, boxes, r)
            if own < 0:
                return NO_IMAGE
            status, down, across, step_h, step_w, mid_x, mid_y, cosine, sine = _turned(
                boxes[r], scale, aligned, ratio, rows, columns
            )
            if status != 0:
                return status
            tall, wide = step_h * number(rows), step_w * number(columns)
            reach = (tall * abs(cosine) + wide * abs(sine)) / two + two
            if own != n or abs(number(row) - mid_y) > reach:
                continue
            count = number(max(down * across, 1))
            for i in range(rows):
                for j in range(columns):
                    g = dy[r, i, j, c]
                    for p in range(down):
                        v = -tall / two + number(i) * step_h
                        v += (number(p) + half) * step_h / number(down)
                        for q in range(across):
                            u = -wide / two + number(j) * step_w
                            u += (number(q) + half) * step_w / number(across)
                            at_x = u * cosine + v * sine + mid_x
                            at_y = v * cosine - u * sine + mid_y
                            _give(dx, n, row, at_y, at_x, count, c, g)
    return 0


# ---------------------------------------------------------------- the largest element


@form(_last_blocks)
def largest(x: Any, boxes: Any, scale: Any, y: Any, places: Any) -> Any:
    """For `_largest` of regions."""
    number = x.dtype.type
    channels, rows, columns = y.shape[1], y.shape[2], y.shape[3]
    for e in range(cuda.grid(1), y.size, cuda.gridsize(1)):
        high = e // columns
        j = e - high * columns
        plane = high // rows
        i = high - plane * rows
        r = plane // channels
        c = plane - r * channels
        n = _image_of(x, boxes, r)
        if n < 0:
            return NO_IMAGE
        box = boxes[r]
        if far_away(box, scale):
            return NO_REGION
        left, top = round_half(box[1] * scale), round_half(box[2] * scale)
        width = number(max(round_half(box[3] * scale) - left + 1, 1)) / number(columns)
        height = number(max(round_half(box[4] * scale) - top + 1, 1)) / number(rows)
        first_v, last_v = bin_of(number(i), number(i + 1), height, top, x.shape[2])
        first_u, last_u = bin_of(number(j), number(j + 1), width, left, x.shape[3])
        best, place = number(0), -1
        for v in range(first_v, last_v):
            for u in range(first_u, last_u):
                value = x[n, c, v, u]
                if place < 0 or value > best:
                    best, place = value, v * x.shape[3] + u
        y[r, c, i, j] = best
        places[r, c, i, j] = place
    return 0


def _plane_rows(*args: Any) -> int:
    dx: Array = args[-1]
    return blocks_for_items(dx.size // max(dx.shape[3], 1))


@form(_plane_rows)
def largest_gradient(boxes: Any, places: Any, dy: Any, dx: Any) -> Any:
    """For `_largest_gradient` of regions: a thread has a row of a plane."""
    channels, high, wide = dx.shape[1], dx.shape[2], dx.shape[3]
    for e in range(cuda.grid(1), dx.shape[0] * channels * high, cuda.gridsize(1)):
        plane = e // high
        row = e - plane * high
        n = plane // channels
        c = plane - n * channels
        for u in range(wide):
            dx[n, c, row, u] = 0
        for r in range(boxes.shape[0]):
            own = _image_of(dx, boxes, r)
            if own < 0:
                return NO_IMAGE
            if own != n:
                continue
            for i in range(dy.shape[2]):
                for j in range(dy.shape[3]):
                    place = np.int64(places[r, c, i, j])
                    if place >= high * wide:
                        return NO_REGION
                    if row * wide <= place < (row + 1) * wide:
                        dx[n, c, row, place - row * wide] += dy[r, c, i, j]
    return 0


# ---------------------------------------------------------------- a channel for each bin


def _sensitive_axis(box: Any, at: Any, scale: Any, group: Any) -> Any:
    """Begin and size of a bin along one axis."""
    number = box.dtype.type
    first = number(round_half(box[at])) * scale
    last = number(round_half(box[at + 2]) + 1) * scale
    return first, max(last - first, number(0.1)) / number(group)


def _sensitive_blocks(x: Array, boxes: Array, scale: Any, back: Any, y: Array, *_: Any) -> int:
    return blocks_for_items(x.size if back else y.size)


@form(_sensitive_blocks)
def sensitive(x: Any, boxes: Any, scale: Any, back: Any, y: Any, channels: Any) -> Any:
    """For `_sensitive`: a thread has an element of y, or with `back` one of x."""
    number = x.dtype.type
    group = y.shape[2]
    high, wide = x.shape[2], x.shape[3]
    for e in range(cuda.grid(1), x.size if back else y.size, cuda.gridsize(1)):
        v, u, n, r = 0, 0, 0, 0
        if back:
            line = e // wide
            u = e - line * wide
            plane = line // high
            v = line - plane * high
            n = plane // x.shape[1]
            channel = plane - n * x.shape[1]
        else:
            r = e // (y.shape[1] * group * group)
            channel = e - r * (y.shape[1] * group * group)
        c = channel // (group * group)
        i = channel // group % group
        j = channel % group
        total = number(0)
        first = 0 if back else r
        last = boxes.shape[0] if back else r + 1
        for k in range(first, last):
            own = _image_of(x, boxes, k)
            if own < 0:
                return NO_IMAGE
            if far_away(boxes[k], scale):
                return NO_REGION
            if back and own != n:
                continue
            left, width = _sensitive_axis(boxes[k], 1, scale, group)
            top, height = _sensitive_axis(boxes[k], 2, scale, group)
            first_v, last_v = span_of(number(i), number(i + 1), height, top, high)
            first_u, last_u = span_of(number(j), number(j + 1), width, left, wide)
            area = number(max(last_v - first_v, 0) * max(last_u - first_u, 0))
            if back:
                if first_v <= v < last_v and first_u <= u < last_u:
                    total += y[k, c, i, j] / area
            else:
                for row in range(first_v, last_v):
                    for column in range(first_u, last_u):
                        total += x[own, channel, row, column]
                total = total / area if area > 0 else number(0)
        if back:
            x[n, channel, v, u] = total
        else:
            y[r, c, i, j] = total
            channels[r, c, i, j] = channel
    return 0
