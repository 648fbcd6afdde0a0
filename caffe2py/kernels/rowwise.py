"""Rows of numbers as small integers, with the scale and the offset of each row behind them.

A row of D numbers takes D * bits / 8 bytes, the first number in the lowest bits, and then scale and
bias, two floats of 32 or 16 bits in the lowest byte first: number = integer * scale + bias.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from caffe2py.errors import Error
from caffe2py.kernels.convert import half_from_double, single_from_half
from caffe2py.kernels.gather import add_byte_rows, add_weighted_byte_rows
from caffe2py.kernels.jit import kernel
from caffe2py.kernels.library import down
from caffe2py.kernels.lookup import WRONG_LENGTHS, lengths_fit, place_status
from caffe2py.kernels.parallel import by_rows, divisible
from caffe2py.kernels.random import advance, stream, uniform01_single
from caffe2py.registry.context import Launch
from caffe2py.tensor.tensor import Array

_ZERO, _HALF_STEP, _ONE = np.float32(0), np.float32(0.5), np.float32(1)
_INFINITY = np.float32(np.inf)
_TINY, _TINY_DOUBLE = np.float32(1e-8), np.float64(1e-8)
_NARROW = np.float32(1e-10)
_INT32_END = np.float32(2.0**31)
_WHOLE = np.float32(2.0**23)

#: Nanoseconds for a row that is looked up and for an element of it, within a factor of three.
_ROW_NS, _ELEMENT_NS = 5.0, 0.1

#: A search for better ends of a row goes over 16% of its range, in steps of half a percent.
_MOST_STEPS = 200
_STEPS = np.float32(_MOST_STEPS)
_KEPT = np.float32(1) - np.float32(0.16)


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
    """The least and the largest number, NaNs left out; 0 and 0 if there is none."""
    least, most = _INFINITY, -_INFINITY
    for i in range(x.size):
        least = x[i] if x[i] < least else least
        most = x[i] if x[i] > most else most
    return (least, most) if least <= most else (_ZERO, _ZERO)


def _level(value, top):
    """The nearest integer from 0 to top, ties to even; 0 for NaN and for what no 32 bits hold."""
    if not 0 < value < _INT32_END:
        return np.uint8(0)
    # beside so large a number there is no room for a fraction
    return np.uint8(top) if value >= top else np.uint8(value + _WHOLE - _WHOLE)


def _level_away(value, top):
    """The same, ties to the larger one."""
    if not 0 < value < _INT32_END:
        return np.uint8(0)
    level = np.float32(np.int64(value))
    level = level + _ONE if value - level >= _HALF_STEP else level
    return np.uint8(level) if level < top else np.uint8(top)


# ---------------------------------------------------------------- ends that lose least


def _error(value, bias, scale, factor, top):
    """The square of what is lost of a number."""
    lost = value - (np.float32(_level((value - bias) * factor, top)) * scale + bias)
    return lost * lost


def _loss(x, least, most, top):
    """The norm of what is lost of a row between these ends, in eight sums as Caffe2 has them."""
    bias = _rounded(least)
    width = most - bias
    scale = _ONE if width == 0 else _rounded(width / top)
    factor = _ONE / scale
    whole = x.size // 8 * 8
    total = _ZERO
    for k in range(8):
        part = _ZERO
        for i in range(k, whole, 8):
            part += _error(x[i], bias, scale, factor, top)
        total += part
    for i in range(whole, x.size):
        total += _error(x[i], bias, scale, factor, top)
    return math.sqrt(total)


def _search(x, least, most, top):
    """The best ends on a walk which draws that one in, step by step, where it costs less."""
    step = (most - least) / _STEPS
    kept = _STEPS * _KEPT * step
    best_least, best_most, best = least, most, _INFINITY
    now = _loss(x, least, most, top)
    for _ in range(_MOST_STEPS):
        if not least + kept < most:
            break
        up = _loss(x, least + step, most, top)
        down = _loss(x, least, most - step, top)
        if now < up and now < down and now < best:
            best_least, best_most, best = least, most, now
        if up < down:
            least, now = least + step, up
        else:
            most, now = most - step, down
    return best_least, best_most


# ---------------------------------------------------------------- rows with their scale


@kernel()
def _encode(x, numbers, fake, search, y):
    bits, half, tail = numbers[_BITS], numbers[_HALF] != 0, numbers[_TAIL]
    top = np.float32((1 << bits) - 1)
    per_byte = 1 if fake else 8 // bits
    for r in range(x.shape[0]):
        row = y[r]
        least, most = _span(x[r])
        if search:
            least, most = _search(x[r], least, most, top)
        if half:
            least = _rounded(least)
            width = most - least
            scale = _ONE if width == 0 else _rounded(width / top)
            if scale == 0 and not fake:
                scale = _ONE
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


def launch_encode(x: Array, form: Format, fake: bool, search: bool, y: Array) -> Launch:
    """y (rows, bytes) = x (rows, D), float32; a `fake` row has whole bytes and 32-bit floats.

    With `search` the ends of each row are drawn in where less is lost.
    """
    numbers = form.numbers()

    def part(rows: Array, out: Array) -> Launch:
        return _encode(rows, numbers, fake, search, out)

    return by_rows(part, x, y, effort=1000 if search else 5)


@kernel("contract")
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
    return by_rows(lambda a, b: _decode(a, form.numbers(), b), x, y, effort=2)


# ---------------------------------------------------------------- scale and bias apart


@kernel()
def _encode_apart(x, y, heads):
    top = np.float32(255)
    for r in range(x.shape[0]):
        least, most = _span(x[r])
        width = most - least
        scale = _ONE if width < _NARROW else width / top
        factor = _ONE / scale
        for i in range(x.shape[1]):
            y[r, i] = _level_away((x[r, i] - least) * factor, top)
        heads[r, 0] = scale
        heads[r, 1] = least


def launch_encode_apart(x: Array, y: Array, heads: Array) -> Launch:
    """y (rows, D), uint8, and scale and bias of each row (rows, 2) from x (rows, D)."""
    return by_rows(_encode_apart, x, y, heads, effort=5)


@kernel()
def _decode_apart(x, heads, y):
    for r in range(x.shape[0]):
        for i in range(x.shape[1]):
            y[r, i] = np.float32(x[r, i]) * heads[r, 0] + heads[r, 1]


def launch_decode_apart(x: Array, heads: Array, y: Array) -> Launch:
    """The way back of `launch_encode_apart`."""
    return by_rows(_decode_apart, x, heads, y)


# ---------------------------------------------------------------- sums of rows


def _add_row(row, numbers, scale, bias, y):
    """y += level * scale + bias, the bias first: the product may be one rounding with that sum."""
    bits = numbers[_BITS]
    if bits == 8:
        for i in range(y.size):
            y[i] = np.float32(row[i]) * scale + (y[i] + bias)
    elif bits == 4:
        for k in range(y.size // 2):
            low, high = np.float32(row[k] & 15), np.float32(row[k] >> 4)
            y[2 * k] = low * scale + (y[2 * k] + bias)
            y[2 * k + 1] = high * scale + (y[2 * k + 1] + bias)
    else:
        for k in range(y.size // 4):
            for j in range(4):
                level = np.float32(row[k] >> (2 * j) & 3)
                y[4 * k + j] = level * scale + (y[4 * k + j] + bias)


@kernel("contract")
def _sum_byte_rows(data, weights, indices, lengths, mean, y, first, end_):
    """As `_sum_rows`, for rows of bytes with a scale and a bias of float32 behind them."""
    at, width = _sum_lengths(lengths, first), y.shape[1]
    for n in range(first, end_):
        end, out = at + lengths[n], y[n]
        if weights.size > 0:
            rest = (out, 0, weights, at)
            add_weighted_byte_rows(data, width, indices, at, end, indices.size, *rest)
        else:
            add_byte_rows(data, width, indices, at, end, indices.size, out, 0)
        if mean and lengths[n] > 0:
            share = _ONE / np.float32(lengths[n])
            for i in range(out.size):
                out[i] = out[i] * share
        at = end


def _sum_lengths(lengths, count):
    """The sum of the first ones."""
    total = 0
    for n in range(count):
        total += lengths[n]
    return total


@kernel()
def _check_mapped(data, indices, lengths, mapping, mapped):
    """The status of what is wrong with lengths, indices and the rows that they are mapped to."""
    if not lengths_fit(lengths, indices.size):
        return WRONG_LENGTHS
    mapped = mapped and not (mapping.size == 1 and mapping[0] == 0)
    total = mapping.size if mapped else data.shape[0]
    for k in range(indices.size):
        if not 0 <= indices[k] < total:
            return place_status(k)
        if mapped and not -1 <= mapping[indices[k]] < data.shape[0]:
            return place_status(k)
    return 0


@kernel("contract")
def _sum_rows(
    data, heads, weights, indices, lengths, mapping, mapped, numbers, mean, y, first, end
):
    half, tail = numbers[_HALF] != 0, numbers[_TAIL]
    mapped = mapped and not (mapping.size == 1 and mapping[0] == 0)
    at = _sum_lengths(lengths, first)
    for n in range(first, end):
        out = y[n]
        for i in range(out.size):
            out[i] = 0
        for k in range(at, at + lengths[n]):
            chosen = np.int64(indices[k])
            if mapped:
                chosen = np.int64(mapping[chosen])
            if chosen < 0:
                continue
            row = data[chosen]
            if heads.size > 0:
                scale, bias = heads[chosen, 0], heads[chosen, 1]
            else:
                scale = _get(row, row.size - tail, half)
                bias = _get(row, row.size - tail // 2, half)
            if weights.size > 0:
                scale, bias = scale * weights[k], bias * weights[k]
            _add_row(row, numbers, scale, bias, out)
        if mean and lengths[n] > 0:
            share = _ONE / np.float32(lengths[n])
            for i in range(out.size):
                out[i] = out[i] * share
        at += lengths[n]


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
) -> list[Launch]:
    """y[n] = the sum (or mean) of the next lengths[n] rows, times weights.

    `chosen` are indices and lengths; with a mapping index i stands for row mapping[i], none if that
    is -1; a mapping of a single 0 changes nothing. A mean is a sum times 1 / lengths[n]. Statuses
    are those of kernels.lookup: a place, or WRONG_LENGTHS.
    """
    heads = np.zeros((0, 2), np.float32) if rows.heads is None else rows.heads
    factors = np.zeros(0, np.float32) if weights is None else weights
    table = np.zeros(0, np.int32) if mapping is None else mapping
    numbers = rows.form.numbers()
    whole = rows.data.shape[1] == y.shape[1] + 8 and numbers[_BITS] == 8 and not numbers[_HALF]
    mapped = mapping is not None
    plain = whole and rows.heads is None and not mapped

    def part(first: int, end: int) -> Launch:
        if plain:
            return _sum_byte_rows(rows.data, factors, *chosen, mean, y, first, end)
        lookup = (*chosen, table, mapped, numbers, mean, y, first, end)
        return _sum_rows(rows.data, heads, factors, *lookup)

    check = _check_mapped(rows.data, *chosen, table, mapped, explain=explain)
    work = chosen[0].size * (_ROW_NS + _ELEMENT_NS * y.shape[1])
    return [check, divisible(len(y), work, part)]


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
        _add_row(row, numbers, scale, bias, y[k])
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
        gap = np.float64((most - least) / top) + _TINY_DOUBLE
        for k in range(size):
            row[HEAD + k] = 0
        for i in range(x.shape[1]):
            value = np.float32(np.float64(x[r, i] - least) / gap)
            if chance:
                whole = down(value)
                # not floor(value + u): that sum may be rounded to the next integer
                up = uniform01_single(key, r * x.shape[1] + i) < value - whole
                value = whole + np.float32(up)
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
        step = (_get(row, 6, False) - least) / np.float32(mask)
        gap = np.float32(np.float64(step) + _TINY_DOUBLE)
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
