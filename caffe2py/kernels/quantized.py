"""Loops over the integers of quantized tensors: value = (integer - zero_point) * scale.

Results are whole numbers, so they have to be the same to the last bit wherever they are computed:
a factor is an integer multiplier and a shift to the right, and rounding is spelled out.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from caffe2py.errors import Error, ValueRangeError
from caffe2py.kernels.image import NO_IMAGE, box_axis, neighbours, sample_place
from caffe2py.kernels.jit import kernel
from caffe2py.registry.context import Call, Launch
from caffe2py.tensor.tensor import Array
from caffe2py.tensor.types import Quantum

#: The largest element of a quantized tensor; the smallest one is 0.
TOP = 255


def _single_bits(value: Any) -> int:
    return int(np.float32(value).view(np.uint32))


def _require_factor(value: float, least: float, most: float, what: str) -> None:
    if not least <= value < most:
        raise ValueRangeError(f"{what} must be from {least:g} to {most:g}, found {value:g}")


# ---------------------------------------------------------------- to and from numbers


@kernel()
def _quantize(x, scale, zero, y):
    for i in range(y.size):
        value = np.rint(x[i] / scale) + zero
        value = value if value > 0 else x.dtype.type(0)  # NaN, too
        y[i] = np.uint8(value if value < 255 else x.dtype.type(255))


@kernel()
def _dequantize(x, scale, zero, y):
    for i in range(y.size):
        y[i] = np.float32(np.int32(x[i]) - np.int32(zero)) * scale


def launch_quantize(x: Array, quantum: Quantum, y: Array) -> Launch:
    """y = round(x / scale) + zero_point, to the even one of two near integers, from 0 to 255."""
    dtype = x.dtype.type
    return _quantize(x.reshape(-1), dtype(quantum.scale), dtype(quantum.zero_point), y.reshape(-1))


def launch_dequantize(x: Array, quantum: Quantum, y: Array) -> Launch:
    """y = (x - zero_point) * scale."""
    scale = np.float32(quantum.scale)
    return _dequantize(x.reshape(-1), scale, quantum.zero_point, y.reshape(-1))


# ---------------------------------------------------------------- element by element


@kernel()
def _look_up(x, table, y):
    for i in range(y.size):
        y[i] = table[x[i]]


def launch_look_up(x: Array, table: Array, y: Array) -> Launch:
    """y = table[x]; the table has an entry for each of the 256 integers."""
    return _look_up(x.reshape(-1), table.astype(np.uint8), y.reshape(-1))


def _shift_round(n, shift):
    """n / 2**shift, rounded to the nearest integer, halves away from zero."""
    mask = (1 << shift) - 1
    rest = (n & mask) - (1 if n < 0 else 0)
    return (n >> shift) + (1 if rest > (mask >> 1) else 0)


@kernel()
def _add(a, b, numbers, y):
    a_zero, a_factor, b_zero, b_factor, shift, zero, low = (
        numbers[0],
        numbers[1],
        numbers[2],
        numbers[3],
        numbers[4],
        numbers[5],
        numbers[6],
    )
    for i in range(y.size):
        total = (np.int64(a[i]) - a_zero) * a_factor + (np.int64(b[i]) - b_zero) * b_factor
        y[i] = min(max(_shift_round(total, shift) + zero, low), 255)


def launch_add(a: Array, b: Array, quanta: Sequence[Quantum], low: int, y: Array) -> Launch:
    """y = a + b as numbers; `quanta` are those of a, b and y. No integer is below `low`.

    ValueRangeError unless both scales are from 2**-14 to 2**8 times that of y.
    """
    out = np.float32(quanta[2].scale)
    factors = [np.float32(q.scale) / out for q in quanta[:2]]
    for factor in factors:
        _require_factor(float(factor), 2.0**-14, 2.0**8, "scale / Y_scale")
    shift = 21 - (_single_bits(max(factors[0], factors[1])) >> 23) + 127
    whole = [round(float(f * np.float32(2.0**shift))) for f in factors]
    numbers = [quanta[0].zero_point, whole[0], quanta[1].zero_point, whole[1], shift]
    numbers += [quanta[2].zero_point, low]
    return _add(a.reshape(-1), b.reshape(-1), np.array(numbers, np.int64), y.reshape(-1))


# ---------------------------------------------------------------- softmax


@kernel()
def _softmax(x, table, y):
    for r in range(x.shape[0]):
        most = np.int64(0)
        for c in range(x.shape[1]):
            most = max(most, np.int64(x[r, c]))
        total = 0
        for c in range(x.shape[1]):
            total += table[np.int64(x[r, c]) - most + 255]
        for c in range(x.shape[1]):
            share = (table[np.int64(x[r, c]) - most + 255] << 8) + (total >> 1)
            y[r, c] = min(share // total, 255)


def launch_softmax(x: Array, scale: float, y: Array) -> Launch:
    """y = 256 * exp(x * scale) / sum of exp(x * scale) over a row, at most 255."""
    most = min(4294967295.0 / max(x.shape[1], 1), 8388607.0)
    table = [round(most * math.exp((k - TOP) * scale)) for k in range(TOP + 1)]
    return _softmax(x, np.array(table, np.int64), y)


# ---------------------------------------------------------------- sums of products

#: Where the parts of an output element come from: for each position along an axis and each element
#: of the window the place in the image, or -1 outside of it.
Places = Array


def window_places(
    count: int, size: int, kernel_size: int, stride: int, dilation: int, pad: int
) -> Places:
    """Places for a window that slides over an image: (positions, elements of the window)."""
    first = np.arange(count, dtype=np.int64)[:, None] * stride - pad
    places = first + np.arange(kernel_size, dtype=np.int64) * dilation
    return np.where((places >= 0) & (places < size), places, -1)


def transposed_places(count: int, size: int, kernel_size: int, stride: int, pad: int) -> Places:
    """Places for the transposed window: element k of the window reads what k spreads from."""
    spread = np.arange(count, dtype=np.int64)[:, None] + pad - np.arange(kernel_size)
    places = np.where(spread % stride == 0, spread // stride, -1)
    return np.where((places >= 0) & (places < size), places, -1)


def _rescale(total, multiplier, shift):
    """total * multiplier / 2**(31 + shift) in two roundings, the second one away from zero."""
    product = (np.int64(total) * multiplier + 0x40000000) >> 31
    return _shift_round(product, shift)


@kernel()
def _pack(w, zero, packed):
    """packed[k, c, m] = w[m, k, c] - zero"""
    for m in range(w.shape[0]):
        for k in range(w.shape[1]):
            for c in range(w.shape[2]):
                packed[k, c, m] = np.int32(w[m, k, c]) - np.int32(zero)


def _add_products(x, first, zero, rows, totals):
    """totals[m] += (x[first + c] - zero) * rows[c, m] for all c and m."""
    for c in range(rows.shape[0]):
        value = np.int32(np.int32(x[first + c]) - zero)
        row = rows[c]
        for m in range(totals.size):
            totals[m] = np.int32(totals[m] + np.int32(value * row[m]))


def _add_each(x, zero, row, totals):
    """totals[m] += (x[m] - zero) * row[m]: every channel has a filter of its own."""
    for m in range(totals.size):
        value = np.int32(np.int32(x[m]) - zero)
        totals[m] = np.int32(totals[m] + np.int32(value * row[m]))


def _add_pixel(pixel, zero, packed, k, groups, totals):
    """The products of one pixel with element k of all filters."""
    per_group, filters = packed.shape[1], totals.size // groups
    if per_group == 1 and filters == 1:
        _add_each(pixel, np.int32(zero), packed[k, 0], totals)
        return
    for g in range(groups):
        rows = packed[k, :, g * filters : (g + 1) * filters]
        part = totals[g * filters : (g + 1) * filters]
        _add_products(pixel, g * per_group, np.int32(zero), rows, part)


@kernel()
def _convolve(x, packed, bias, rows, columns, numbers, totals, y):
    zero, groups, multiplier = numbers[0], numbers[1], numbers[2]
    shift, out_zero, low = numbers[3], numbers[4], numbers[5]
    for n in range(y.shape[0]):
        for i in range(y.shape[1]):
            for j in range(y.shape[2]):
                for m in range(totals.size):
                    totals[m] = bias[m] if bias.size > 0 else np.int32(0)
                for u in range(rows.shape[1]):
                    for v in range(columns.shape[1]):
                        if rows[i, u] >= 0 and columns[j, v] >= 0:
                            k = u * columns.shape[1] + v
                            pixel = x[n, rows[i, u], columns[j, v]]
                            _add_pixel(pixel, zero, packed, k, groups, totals)
                for m in range(totals.size):
                    value = _rescale(totals[m], multiplier, shift) + out_zero
                    y[n, i, j, m] = min(max(value, low), 255)


def launch_convolve(
    call: Call,
    arrays: tuple[Array, Array, Array | None, Array],
    quanta: Sequence[Quantum],
    places: tuple[Places, Places],
    groups: int,
    low: int,
) -> list[Launch]:
    """y = the sums of x times filters, plus bias, as numbers.

    `arrays` are x (N, H, W, C), filters (M, elements of the window, C / groups), bias (M) and
    y (N, OH, OW, M); `quanta` those of x, the filters and y. No integer is below `low`.
    ValueRangeError unless scale of x * scale of filters / scale of y is from 2**-32 to 1.
    """
    x, w, bias, y = arrays
    factor = np.float32(quanta[0].scale) * np.float32(quanta[1].scale) / np.float32(quanta[2].scale)
    _require_factor(float(factor), 2.0**-32, 1.0, "scale of X * scale of the filter / Y_scale")
    bits = _single_bits(factor)
    multiplier, shift = (bits & 0x7FFFFF | 0x800000) << 7, 126 - (bits >> 23)
    packed = call.scratch((w.shape[1], w.shape[2], w.shape[0]), np.int32)
    totals = call.scratch((w.shape[0],), np.int32)
    numbers = [quanta[0].zero_point, groups, multiplier, shift, quanta[2].zero_point, low]
    if bias is None:
        bias = np.zeros(0, np.int32)
    return [
        _pack(w, quanta[1].zero_point, packed),
        _convolve(x, packed, bias, *places, np.array(numbers, np.int64), totals, y),
    ]


# ---------------------------------------------------------------- pooling


@kernel()
def _average(x, rows, columns, numbers, totals, y):
    zero, multiplier, shift = numbers[0], numbers[1], numbers[2]
    out_zero, low = numbers[3], numbers[4]
    half = 1 << (shift - 1)
    for n in range(y.shape[0]):
        for i in range(y.shape[1]):
            for j in range(y.shape[2]):
                for c in range(totals.size):
                    totals[c] = 0
                for u in range(rows.shape[1]):
                    for v in range(columns.shape[1]):
                        if rows[i, u] >= 0 and columns[j, v] >= 0:
                            pixel = x[n, rows[i, u], columns[j, v]]
                            for c in range(totals.size):
                                totals[c] += np.int32(pixel[c]) - np.int32(zero)
                for c in range(totals.size):
                    product = np.int64(totals[c]) * multiplier - (1 if totals[c] < 0 else 0)
                    y[n, i, j, c] = min(max(((product + half) >> shift) + out_zero, low), 255)


def launch_average(
    call: Call,
    x: Array,
    quanta: Sequence[Quantum],
    places: tuple[Places, Places],
    low: int,
    y: Array,
) -> Launch:
    """y = the mean of x over windows as numbers, where padding counts as elements that are 0.

    x is (N, H, W, C) and y (N, OH, OW, C); `quanta` are theirs. ValueRangeError unless the scale of
    x is from 2**-8 to 2**8 times that of y.
    """
    ratio = np.float32(quanta[0].scale) / np.float32(quanta[1].scale)
    _require_factor(float(ratio), 2.0**-8, 2.0**8, "scale of X / Y_scale")
    size = np.float32(places[0].shape[1] * places[1].shape[1])
    bits = _single_bits(np.float32(quanta[0].scale) / (np.float32(quanta[1].scale) * size))
    multiplier, shift = bits & 0x7FFFFF | 0x800000, 150 - (bits >> 23)
    numbers = [quanta[0].zero_point, multiplier, shift, quanta[1].zero_point, low]
    totals = call.scratch((x.shape[3],), np.int32)
    return _average(x, *places, np.array(numbers, np.int64), totals, y)


@kernel()
def _largest(x, rows, columns, low, y):
    for n in range(y.shape[0]):
        for i in range(y.shape[1]):
            for j in range(y.shape[2]):
                out = y[n, i, j]
                for c in range(out.size):
                    out[c] = np.uint8(low)
                for u in range(rows.shape[1]):
                    for v in range(columns.shape[1]):
                        if rows[i, u] >= 0 and columns[j, v] >= 0:
                            pixel = x[n, rows[i, u], columns[j, v]]
                            for c in range(out.size):
                                out[c] = max(out[c], pixel[c])


def launch_largest(x: Array, places: tuple[Places, Places], low: int, y: Array) -> Launch:
    """y = the largest element of x in each window, at least `low`; (N, H, W, C) both."""
    return _largest(x, *places, low, y)


# ---------------------------------------------------------------- regions


def _share(a, b):
    """The weight a * b in steps of 1 / 255."""
    return np.int64(np.rint(a * b * np.float32(255)))


def _sample(image, v, u, totals):
    """Add the pixels around a place with their weights; places outside count as integers 0."""
    one = np.float32(1)
    low_v, high_v, part_v = neighbours(v, image.shape[0], CORNER)
    low_u, high_u, part_u = neighbours(u, image.shape[1], CORNER)
    if low_v < 0 or low_u < 0:
        return
    a, b = image[low_v, low_u], image[low_v, high_u]
    c, d = image[high_v, low_u], image[high_v, high_u]
    wa, wb = _share(one - part_v, one - part_u), _share(one - part_v, part_u)
    wc, wd = _share(part_v, one - part_u), _share(part_v, part_u)
    for k in range(totals.size):
        totals[k] += wa * a[k] + wb * b[k] + wc * c[k] + wd * d[k]


def _double_high(a, b):
    """a * b / 2**31, rounded to the nearest, where a halved product goes up."""
    product = np.int64(a) * b
    if product >= 0:
        return (product + (1 << 30)) >> 31
    return -((-product - 1 + (1 << 30)) >> 31)


def _take_mean(totals, count, numbers, bin_):
    zero, multiplier, shift, out_zero = numbers[0], numbers[1], numbers[2], numbers[3]
    for k in range(bin_.size):
        centred = totals[k] // count - 255 * zero
        value = _shift_round(_double_high(centred, multiplier), shift) + out_zero
        bin_[k] = min(max(value, 0), 255)


@kernel()
def _align(x, boxes, scale, aligned, ratio, numbers, totals, y):
    for r in range(boxes.shape[0]):
        box = boxes[r]
        first = box.size - 4
        number = 0
        if first:
            if not 0 <= box[0] < x.shape[0]:
                return NO_IMAGE
            number = int(box[0])
        elif x.shape[0] == 0:
            return NO_IMAGE
        left, width, nx = box_axis(box, first, scale, aligned, y.shape[2], ratio)
        top, height, ny = box_axis(box, first + 1, scale, aligned, y.shape[1], ratio)
        if nx < 0 or ny < 0:
            return -min(nx, ny)
        for i in range(y.shape[1]):
            for j in range(y.shape[2]):
                for k in range(totals.size):
                    totals[k] = 0
                for p in range(ny):
                    for q in range(nx):
                        v = sample_place(box, top, height, i, p, ny)
                        u = sample_place(box, left, width, j, q, nx)
                        _sample(x[number], v, u, totals)
                _take_mean(totals, max(nx * ny, 1), numbers, y[r, i, j])
    return 0


#: Gives places their type.
CORNER = np.zeros(1, np.float32)


def launch_align(
    call: Call,
    x: Array,
    boxes: Array,
    region: tuple[float, bool, int],
    quanta: Sequence[Quantum],
    y: Array,
    explain: Callable[[int], Error],
) -> Launch:
    """Bins of y (regions, rows, columns, channels) as kernels.image.launch_align makes them.

    x is (batch, height, width, channels); `region` are scale, aligned and ratio, `quanta` those of
    x and y. ValueRangeError unless the scale of x is less than 255 times that of y.
    """
    scale, aligned, ratio = region
    factor = quanta[0].scale / (quanta[1].scale * 255)
    _require_factor(factor * 255, 2.0**-23, 255.0, "scale of X / Y_scale")
    part, power = math.frexp(factor)
    numbers = [quanta[0].zero_point, min(round(part * 2**31), 2**31 - 1), -power]
    numbers.append(quanta[1].zero_point)
    totals = call.scratch((x.shape[3],), np.int64)
    return _align(
        x,
        boxes,
        np.float32(scale),
        aligned,
        ratio,
        np.array(numbers, np.int64),
        totals,
        y,
        explain=explain,
    )
