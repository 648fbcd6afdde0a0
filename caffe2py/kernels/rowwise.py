"""Rows of numbers as small integers, with the scale and the offset of each row behind them.

A row of D numbers takes D * bits / 8 bytes, the first number in the lowest bits, and then scale and
bias, two floats of 32 or 16 bits in the lowest byte first: number = integer * scale + bias.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from caffe2py.errors import Error
from caffe2py.kernels.convert import half_from_double, single_from_half
from caffe2py.kernels.jit import kernel
from caffe2py.kernels.lookup import WRONG_LENGTHS, lengths_fit, place_status
from caffe2py.kernels.random import advance, stream, uniform01_single
from caffe2py.registry.context import Launch
from caffe2py.tensor.tensor import Array

_ONE = np.float32(1)
_TINY = np.float32(1e-8)


@dataclass(frozen=True)
class Format:
    """How a row is written: bits of a number, and whether scale and bias have 16 bits."""

    bits: int = 8
    half: bool = False

    @property
    def per_byte(self) -> int:
        """How many numbers share a byte."""
        return 8 // self.bits

    @property
    def tail(self) -> int:
        """The bytes of scale and bias."""
        return 4 if self.half else 8

    def numbers(self) -> Array:
        """What kernels know of it."""
        return np.array([self.bits, self.half, self.tail], np.int64)


#: Places in Format.numbers.
_BITS, _HALF, _TAIL = range(3)


# ---------------------------------------------------------------- scale and bias


def _put(row, at, value, half):
    """Write a float in 2 or 4 bytes."""
    if half:
        word, count = np.uint64(half_from_double(np.float64(value))), 2
    else:
        word, count = np.uint64(np.float32(value).view(np.uint32)), 4
    for k in range(count):
        row[at + k] = np.uint8(word >> np.uint64(8 * k) & np.uint64(255))


def _get(row, at, half):
    """Read a float of 2 or 4 bytes."""
    word = np.uint32(0)
    for k in range(2 if half else 4):
        word |= np.uint32(row[at + k]) << np.uint32(8 * k)
    return np.uint32(single_from_half(word) if half else word).view(np.float32)


def _rounded(value):
    """The float16 nearest to a float32, as a float32."""
    word = np.uint32(half_from_double(np.float64(value)))
    return np.uint32(single_from_half(word)).view(np.float32)


def _span(x):
    least, most = x[0], x[0]
    for i in range(x.size):
        least, most = min(least, x[i]), max(most, x[i])
    return least, most


def _level(value, top):
    """The nearest integer from 0 to top, ties to even; 0 for NaN."""
    found = np.rint(value)
    if found >= top:
        return np.uint8(top)
    return np.uint8(found) if found > 0 else np.uint8(0)


# ---------------------------------------------------------------- rows with their scale


@kernel()
def _encode(x, numbers, fake, y):
    bits, half, tail = numbers[_BITS], numbers[_HALF] != 0, numbers[_TAIL]
    top = np.float32((1 << bits) - 1)
    per_byte = 1 if fake else 8 // bits
    for r in range(x.shape[0]):
        row = y[r]
        least, most = _span(x[r])
        if half:
            least = _rounded(least)
            width = most - least
            scale = _rounded(_ONE if width == 0 else width / top)
            scale = _ONE if scale == 0 or not _ONE / scale < np.inf else scale
            factor = _ONE / scale
        else:
            width = most - least
            scale = width / top
            factor = top / (width + _TINY)
        packed = row.size - (8 if fake else tail)
        for k in range(packed):
            row[k] = 0
        for i in range(x.shape[1]):
            level = _level((x[r, i] - least) * factor, top)
            row[i // per_byte] |= np.uint8(level << np.uint8(i % per_byte * bits))
        _put(row, packed, scale, half and not fake)
        _put(row, packed + (2 if half and not fake else 4), least, half and not fake)


def launch_encode(x: Array, form: Format, fake: bool, y: Array) -> Launch:
    """y (rows, bytes) = x (rows, D), float32; a `fake` row has whole bytes and 32-bit floats."""
    return _encode(x, form.numbers(), fake, y)


@kernel()
def _decode(x, numbers, y):
    bits, half, tail = numbers[_BITS], numbers[_HALF] != 0, numbers[_TAIL]
    per_byte, mask = 8 // bits, (1 << bits) - 1
    for r in range(x.shape[0]):
        row = x[r]
        scale = _get(row, row.size - tail, half)
        bias = _get(row, row.size - tail // 2, half)
        for i in range(y.shape[1]):
            level = np.int64(row[i // per_byte]) >> (i % per_byte * bits) & mask
            y[r, i] = np.float32(level) * scale + bias


def launch_decode(x: Array, form: Format, y: Array) -> Launch:
    """y (rows, D), float32 = the numbers of x (rows, bytes)."""
    return _decode(x, form.numbers(), y)


# ---------------------------------------------------------------- scale and bias apart


@kernel()
def _encode_apart(x, y, heads):
    top = np.float32(255)
    for r in range(x.shape[0]):
        least, most = _span(x[r])
        width = most - least
        scale = _ONE if width == 0 else width / top
        for i in range(x.shape[1]):
            y[r, i] = _level((x[r, i] - least) / scale, top)
        heads[r, 0] = scale
        heads[r, 1] = least


def launch_encode_apart(x: Array, y: Array, heads: Array) -> Launch:
    """y (rows, D), uint8, and scale and bias of each row (rows, 2) from x (rows, D)."""
    return _encode_apart(x, y, heads)


@kernel()
def _decode_apart(x, heads, y):
    for r in range(x.shape[0]):
        for i in range(x.shape[1]):
            y[r, i] = np.float32(x[r, i]) * heads[r, 0] + heads[r, 1]


def launch_decode_apart(x: Array, heads: Array, y: Array) -> Launch:
    """The way back of `launch_encode_apart`."""
    return _decode_apart(x, heads, y)


# ---------------------------------------------------------------- sums of rows


def _add_row(row, numbers, weight, scale, bias, y):
    bits = numbers[_BITS]
    per_byte, mask = 8 // bits, (1 << bits) - 1
    factor, offset = weight * scale, weight * bias
    for i in range(y.size):
        level = np.int64(row[i // per_byte]) >> (i % per_byte * bits) & mask
        y[i] += factor * np.float32(level) + offset


@kernel()
def _sum_rows(data, heads, weights, indices, lengths, mapping, numbers, mean, y):
    half, tail = numbers[_HALF] != 0, numbers[_TAIL]
    if not lengths_fit(lengths, indices.size):
        return WRONG_LENGTHS
    total = mapping.size if mapping.size > 0 else data.shape[0]
    for k in range(indices.size):
        if not 0 <= indices[k] < total:
            return place_status(k)
        if mapping.size > 0 and not -1 <= mapping[indices[k]] < data.shape[0]:
            return place_status(k)
    at = 0
    for n in range(lengths.size):
        out = y[n]
        for i in range(out.size):
            out[i] = 0
        share = _ONE / np.float32(lengths[n]) if mean and lengths[n] > 0 else _ONE
        for k in range(at, at + lengths[n]):
            chosen = np.int64(indices[k])
            if mapping.size > 0:
                chosen = np.int64(mapping[chosen])
            if chosen < 0:
                continue
            row = data[chosen]
            weight = share * (weights[k] if weights.size > 0 else _ONE)
            if heads.size > 0:
                _add_row(row, numbers, weight, heads[chosen, 0], heads[chosen, 1], out)
            else:
                scale = _get(row, row.size - tail, half)
                bias = _get(row, row.size - tail // 2, half)
                _add_row(row, numbers, weight, scale, bias, out)
        at += lengths[n]
    return 0


@dataclass(frozen=True)
class Rows:
    """The rows that a sum reads: their bytes and format; scale and bias if they are apart."""

    data: Array
    form: Format
    heads: Array | None = None


def launch_sum_rows(
    rows: Rows,
    chosen: tuple[Array, Array],
    weights: Array | None,
    mapping: Array | None,
    mean: bool,
    y: Array,
    explain: Callable[[int], Error],
) -> Launch:
    """y[n] = the sum (or mean) of the next lengths[n] rows, times weights.

    `chosen` are indices and lengths; with a mapping index i stands for row mapping[i], none if that
    is -1. Statuses are those of kernels.lookup: a place, or WRONG_LENGTHS.
    """
    heads = np.zeros((0, 2), np.float32) if rows.heads is None else rows.heads
    factors = np.zeros(0, np.float32) if weights is None else weights
    table = np.zeros(0, np.int32) if mapping is None else mapping
    numbers = rows.form.numbers()
    return _sum_rows(rows.data, heads, factors, *chosen, table, numbers, mean, y, explain=explain)


@kernel()
def _take_rows(data, indices, numbers, y):
    half, tail = numbers[_HALF] != 0, numbers[_TAIL]
    for k in range(indices.size):
        if not 0 <= indices[k] < data.shape[0]:
            return place_status(k)
        row = data[indices[k]]
        for i in range(y.shape[1]):
            y[k, i] = 0
        scale = _get(row, row.size - tail, half)
        bias = _get(row, row.size - tail // 2, half)
        _add_row(row, numbers, _ONE, scale, bias, y[k])
    return 0


def launch_take_rows(
    data: Array, indices: Array, form: Format, y: Array, explain: Callable[[int], Error]
) -> Launch:
    """y[k] = the numbers of row indices[k]; the status names a place."""
    return _take_rows(data, indices, form.numbers(), y, explain=explain)


# ---------------------------------------------------------------- rounded by chance

#: Bytes before the levels: bits, how many numbers the last part lacks, least and largest number.
HEAD = 10


@kernel()
def _encode_random(x, bits, chance, state, y):
    key = stream(state)
    top = np.float32((1 << bits) - 1)
    size = y.shape[1] - HEAD
    for r in range(x.shape[0]):
        row = y[r]
        least, most = _span(x[r])
        row[0] = np.uint8(bits)
        row[1] = np.uint8(size * (8 // bits) - x.shape[1])
        _put(row, 2, least, False)
        _put(row, 6, most, False)
        gap = (most - least) / top + _TINY
        for k in range(size):
            row[HEAD + k] = 0
        for i in range(x.shape[1]):
            value = (x[r, i] - least) / gap
            if chance:
                value = np.floor(value + uniform01_single(key, r * x.shape[1] + i))
            level = _level(value, top)
            row[HEAD + i % size] |= np.uint8(level << np.uint8(i // size * bits))
    advance(state)


def launch_encode_random(x: Array, bits: int, chance: bool, state: Array, y: Array) -> Launch:
    """y (rows, HEAD + bytes) = x (rows, D): the first numbers in the lowest bits of all bytes.

    With `chance` a number is rounded up with the probability of what rounding down cuts off.
    """
    return _encode_random(x, bits, chance, state, y)


@kernel()
def _decode_random(x, bits, y):
    mask = (1 << bits) - 1
    size = x.shape[1] - HEAD
    for r in range(x.shape[0]):
        row = x[r]
        least = _get(row, 2, False)
        gap = (_get(row, 6, False) - least) / np.float32(mask) + _TINY
        for i in range(y.shape[1]):
            level = np.int64(row[HEAD + i % size]) >> (i // size * bits) & mask
            y[r, i] = np.float32(level) * gap + least


def launch_decode_random(x: Array, bits: int, y: Array) -> Launch:
    """The way back of `launch_encode_random`."""
    return _decode_random(x, bits, y)


# ---------------------------------------------------------------- codes


@kernel()
def _spread(codes, dy, dx):
    for k in range(codes.size):
        if not 0 <= codes[k] < dx.size:
            return place_status(k)
        dx[codes[k]] += dy[k]
    return 0


def launch_spread(codes: Array, dy: Array, dx: Array, explain: Callable[[int], Error]) -> Launch:
    """dx[codes[k]] += dy[k]; the status names a place."""
    return _spread(codes.reshape(-1), dy.reshape(-1), dx.reshape(-1), explain=explain)


@kernel()
def _scale_bytes(x, step, least, y):
    for i in range(y.size):
        y[i] = np.float32(x[i]) * step + least


def launch_scale_bytes(x: Array, least: float, most: float, y: Array) -> Launch:
    """y = x / 255 of the way from `least` to `most`, for the first elements of x."""
    step = (np.float32(most) - np.float32(least)) / np.float32(255)
    return _scale_bytes(x.reshape(-1), step, np.float32(least), y.reshape(-1))
