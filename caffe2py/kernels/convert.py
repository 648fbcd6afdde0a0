"""Conversions between element types: defined for every value, float16 through its bits."""

from __future__ import annotations

from typing import Any

import numpy as np

from caffe2py.errors import DTypeError, ShapeError
from caffe2py.kernels.callback import launch_python
from caffe2py.kernels.copy import launch_copy
from caffe2py.kernels.jit import Kernel, kernel
from caffe2py.kernels.parallel import CHUNK, by_rows
from caffe2py.registry.context import Call, Launch
from caffe2py.tensor.place import on_host
from caffe2py.tensor.tensor import Array
from caffe2py.tensor.types import STRING, dtype_name, shape_text

HALF = np.dtype(np.float16)

# float16 has 1 sign bit, 5 bits of exponent (offset 15) and 10 of fraction.
_HALF_SIGN = np.uint32(0x8000)
_HALF_REST = np.uint32(0x7FFF)
_HALF_INFINITY = np.uint32(0x7C00)
_SINGLE_INFINITY = np.uint32(0x7F800000)
_SINGLE_SHIFT = np.uint32(13)  # fractions differ by 23 - 10 bits
_SIGN_SHIFT = np.uint32(16)
_REBIAS = np.float32(2.0**112)  # offsets differ by 127 - 15

_DOUBLE_ABS = np.uint64(0x7FFFFFFFFFFFFFFF)
_DOUBLE_INFINITY = np.uint64(0x7FF0000000000000)
_DOUBLE_SHIFT = np.uint64(42)  # fractions differ by 52 - 10 bits
_DOUBLE_SIGN_SHIFT = np.uint64(48)
_DOUBLE_HALF_SIGN = np.uint64(0x8000)
_ROUND = np.uint64((1 << 41) - 1)
_ONE = np.uint64(1)
_DOUBLE_REBIAS = np.uint64((1023 - 15) << 10)
_SMALLEST_NORMAL = np.uint64(np.float64(2.0**-14).view(np.uint64))
_TO_SUBNORMAL = np.float64(2.0**24)
_WHOLE = np.float64(2.0**52)
_OVERFLOW = np.uint64(np.float64(65520.0).view(np.uint64))  # rounds to 65536, which is too large
_HALF_INFINITY_64, _HALF_NAN_64 = np.uint64(0x7C00), np.uint64(0x7E00)

_INT32_END, _INT32_MIN, _INT32_MAX = 2.0**31, np.int32(-(2**31)), np.int32(2**31 - 1)
_INT64_END, _INT64_MIN, _INT64_MAX = 2.0**63, np.int64(-(2**63)), np.int64(2**63 - 1)


def single_from_half(word: Any) -> Any:
    """The bits of a float32 from those of a float16 (as uint32); exact."""
    rest = word & _HALF_REST
    sign = (word & _HALF_SIGN) << _SIGN_SHIFT
    if rest >= _HALF_INFINITY:
        return sign | _SINGLE_INFINITY | (rest - _HALF_INFINITY) << _SINGLE_SHIFT
    # the product puts the exponent right, and makes subnormal numbers normal
    scaled = np.uint32(rest << _SINGLE_SHIFT).view(np.float32) * _REBIAS
    return sign | np.float32(scaled).view(np.uint32)


def half_from_double(value: Any) -> Any:
    """The bits of the float16 nearest to a float64, ties to even, too large ones infinite."""
    word = np.float64(value).view(np.uint64)
    rest = word & _DOUBLE_ABS
    sign = word >> _DOUBLE_SIGN_SHIFT & _DOUBLE_HALF_SIGN
    if rest >= _OVERFLOW:
        return sign | (_HALF_NAN_64 if rest > _DOUBLE_INFINITY else _HALF_INFINITY_64)
    if rest < _SMALLEST_NORMAL:
        # there is no room for a fraction beside the whole numbers' first one, so it is rounded off
        return sign | np.uint64(np.uint64(rest).view(np.float64) * _TO_SUBNORMAL + _WHOLE - _WHOLE)
    rounded = (rest + _ROUND + (rest >> _DOUBLE_SHIFT & _ONE)) >> _DOUBLE_SHIFT
    return sign | (rounded - _DOUBLE_REBIAS)


def _int32_from_float(x: Any) -> Any:
    """Toward zero; what is out of range becomes the nearest end, NaN 0."""
    if x >= _INT32_END:
        return _INT32_MAX
    if x <= -_INT32_END:
        return _INT32_MIN
    return np.int32(x) if x == x else np.int32(0)


def _int64_from_float(x: Any) -> Any:
    if x >= _INT64_END:
        return _INT64_MAX
    if x <= -_INT64_END:
        return _INT64_MIN
    return np.int64(x) if x == x else np.int64(0)


@kernel()
def _convert(x: Any, y: Any) -> None:
    """Integers to all, floats to floats."""
    for i in range(x.size):
        y[i] = y.dtype.type(x[i])


@kernel()
def _truncate(x: Any, y: Any) -> None:
    """Floats to integers of up to 32 bits; narrower ones keep the low bits."""
    for i in range(x.size):
        y[i] = y.dtype.type(_int32_from_float(x[i]))


@kernel()
def _truncate_long(x: Any, y: Any) -> None:
    for i in range(x.size):
        y[i] = _int64_from_float(x[i])


@kernel()
def _differs_from_zero(x: Any, y: Any) -> None:
    for i in range(x.size):
        y[i] = 1 if x[i] != 0 else 0


@kernel()
def _widen_half(x: Any, y: Any) -> None:
    for i in range(x.size):
        y[i] = single_from_half(np.uint32(x[i]))


@kernel()
def _to_half(x: Any, y: Any) -> None:
    for i in range(x.size):
        y[i] = half_from_double(x[i])


def launch_convert(call: Call, x: Array, y: Array) -> list[Launch]:
    """y = x in the type of y, element by element; shapes may differ, sizes may not.

    Integers keep their low bits. Floats are cut toward zero: out of the range of int32 (of int64,
    if that is asked for) they become its nearest end, NaN becomes 0, and types narrower than int32
    keep the low bits of that. Anything but 0 is True; True is 1. Strings are written, never read.
    """
    if x.size != y.size:
        raise ShapeError(f"cannot convert {shape_text(x.shape)} to {shape_text(y.shape)}")
    if x.dtype == y.dtype:
        return [launch_copy(x, y)]
    if x.dtype == STRING:
        raise DTypeError(f"strings cannot be converted to {dtype_name(y.dtype)}")
    x, y = _plain(x).reshape(-1), y.reshape(-1)
    if y.dtype == STRING:
        return [launch_python(lambda: _write_text(on_host(x), y))]
    launches = []
    if x.dtype == HALF:
        single = y if y.dtype == np.float32 else call.scratch(x.shape, np.float32)
        launches.append(_flat(_widen_half, x.view(np.uint16), single.view(np.uint32)))
        if single is y:
            return launches
        x = single
    return [*launches, _launch_plain(x, y)]


def _plain(array: Array) -> Array:
    """Truth values as the 0 and 1 that they are in memory."""
    return array.view(np.uint8) if array.dtype == np.bool_ else array


def _launch_plain(x: Array, y: Array) -> Launch:
    """The conversion of integers, float32 and float64."""
    if y.dtype == HALF:
        return _flat(_to_half, x, y.view(np.uint16), effort=10)
    if y.dtype == np.bool_:
        return _flat(_differs_from_zero, x, y.view(np.uint8))
    if x.dtype.kind == "f" and y.dtype.kind in "iu":
        return _flat(_truncate_long if y.itemsize == 8 else _truncate, x, y)
    if x.dtype.kind in "iu" and y.dtype.kind in "iu" and x.itemsize == y.itemsize:
        return launch_copy(x.view(y.dtype), y)
    return _flat(_convert, x, y)


def _flat(loop: Kernel, x: Array, y: Array, effort: float = 1) -> Launch:
    return by_rows(loop, x, y, effort=effort, multiple=CHUNK)


def _write_text(x: Array, y: Array) -> None:
    form = "%f" if x.dtype.kind == "f" else "%d"
    y[...] = [(form % value).encode() for value in x.tolist()]
