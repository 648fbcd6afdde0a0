"""Powers for float64, with the logarithm in twice the precision.

A pair (high, low) stands for the sum of two numbers of which the second is what the first rounds
off. What is to be multiplied exactly is cut to 26 bits, which needs no fused multiply-add.
"""

from __future__ import annotations

import numpy as np

from caffe2py.kernels.bits import bits, polynomial, signed_like
from caffe2py.kernels.vectormath_double import EXP, ROUNDER, parts, scaled, upper

_INF = np.inf
_NAN = np.nan

# (log((1 + s) / (1 - s)) - 2 s - 2/3 s^3) / s^5 of s^2 for |s| <= 3 - sqrt(8)
_LOG_AFTER = (
    0.4, 0.28571428571429375, 0.22222222221651192, 0.18181818336456082, 0.15384594848987562,
    0.13334810864251617, 0.1170607121759953, 0.11724904124570042,
)  # fmt: skip


def _log_pair(n, f):
    """log2(2^n (1 + f)) as a pair with an error of 2^-66, the first number cut.

    log(1 + f) = 2 s + 2/3 s^3 + s^5 p(s^2) for s = f / (2 + f); all but the last term as pairs.
    """
    d = 2.0 + f
    s = f / d
    s_high, d_high = upper(s), upper(d)
    d_low = (d - d_high) + (f - (d - 2.0))
    s_low = ((f - s_high * d_high) - s_high * d_low) / d
    square, more = s_high * s_high, s_low * (s + s_high)
    high = upper(square)
    low = (square - high) + more
    whole = square + more
    tail = whole * whole * polynomial(whole, _LOG_AFTER)
    tail = (0.6666666716337204 * low - 4.967053731282552e-09 * whole) + tail
    first = 0.6666666716337204 * high
    w = first + tail
    w_high = upper(w)
    w_low = (w - w_high) + ((first - w) + tail)
    cube = s_high * w_high
    log_high = 2.0 * s_high + cube
    log_low = ((2.0 * s_high - log_high) + cube) + (2.0 * s_low + (s_low * w + s_high * w_low))
    return _plus_pair(
        n, *_times_pair(log_high, log_low, 1.4426950514316559, -1.0542692476429138e-08)
    )


def _cut_pair(high, low):
    """The pair with its first number cut to 26 bits."""
    total = high + low
    cut = upper(total)
    return cut, (total - cut) + ((high - total) + low)


def _times_pair(high, low, factor, rest):
    """(high + low) * (factor + rest), where factor has 26 bits."""
    cut, lower = _cut_pair(high, low)
    return cut * factor, lower * factor + (cut + lower) * rest


def _plus_pair(n, high, low):
    """n + high + low for a whole n, cut."""
    total = n + high
    return _cut_pair(total, ((n - total) + high) + low)


def _exp2_pair(high, low):
    """2^(high + low)."""
    z = high + low
    rest = (high - z) + low
    rest = rest if abs(z) < 1100.0 else 0.0
    z = 1100.0 if z > 1100.0 else z
    z = -1100.0 if z < -1100.0 else z
    shifted = z + 6755399441055744.0
    r = ((z - (shifted - 6755399441055744.0)) + rest) * 0.6931471805599453
    return scaled(polynomial(r, EXP), bits(shifted) - ROUNDER)


def power(x, y):
    """x^y = 2^(y log2 |x|) with the logarithm as a pair; then the limits and the sign."""
    size, times = abs(x), y
    times = 1e40 if y > 1e40 else times  # enough for every x but 1 to overflow
    times = -1e40 if y < -1e40 else times
    tiny = size < 2.2250738585072014e-308
    n, f = parts(size * 4503599627370496.0 if tiny else size)
    high, low = _log_pair(n - 52.0 if tiny else n, f)
    cut = upper(times)
    result = _exp2_pair(cut * high, (times - cut) * high + times * low)
    limit = 0.0 if (size < 1.0) == (y > 0.0) else _INF
    result = limit if (size == 0.0) | (size == _INF) else result
    # adding 2^52 rounds to whole numbers; from there on all are whole, from 2^53 on even
    size = abs(y)
    half = 0.5 * size
    whole = (size >= 4503599627370496.0) | (
        (size + 4503599627370496.0) - 4503599627370496.0 == size
    )
    even = (size >= 9007199254740992.0) | ((half + 4503599627370496.0) - 4503599627370496.0 == half)
    result = signed_like(result, x) if whole & (not even) else result
    result = _NAN if (x < 0.0) & (x > -_INF) & (not whole) else result
    result = x + y if (x != x) | (y != y) else result
    return 1.0 if (x == 1.0) | (y == 0.0) else result
