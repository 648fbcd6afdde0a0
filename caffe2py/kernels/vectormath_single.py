"""The functions of vectormath for float32."""

from __future__ import annotations

import math

import numpy as np

from caffe2py.kernels.bits import bits, float_of, multiply_add, polynomial, signed_like
from caffe2py.kernels.params import ByType
from caffe2py.kernels.vectormath_double import exp2_short, exp_short, log2_short

_INF = np.float32(np.inf)
_NAN = np.float32(np.nan)
_ONE, _TWO, _THREE, _WIDEST = (np.float64(c) for c in (1, 2, 3, 10.2))

# what is computed in double precision here
_exp_double = ByType(exp_short, exp_short)
_exp2_double = ByType(exp2_short, exp2_short)
_log2_double = ByType(log2_short, log2_short)

#: The bits of 1.5 * 2^23: added to a small number, it leaves the nearest integer in the low bits.
_ROUNDER = 0x4B400000

#: The bits of sqrt(1/2): mantissas are taken from here to sqrt(2), where logarithms are smallest.
_ROOT_HALF = 0x3F3504F3

# (exp(r) - 1 - r) / r^2 for |r| <= log(2) / 2
_EXP = (0.5, 0.1666657, 0.041666545, 0.00836438, 0.0013927685)
_EXP_WHOLE = (1.0, 1.0, *_EXP)
# (log(1 + f) - f + f^2 / 2) / f^3 for sqrt(1/2) - 1 <= f <= sqrt(2) - 1
_LOG = (
    0.3333333, -0.24999997, 0.2000073, -0.1666785, 0.14248551, -0.124240376, 0.11689071,
    -0.114945464, 0.06980702,
)  # fmt: skip
# (tanh(x) / x - 1) / x^2 of x^2 for |x| < 5/8
_TANH = (-0.33333334, 0.13333304, -0.053959254, 0.021768868, -0.00834378, 0.0022925576)
# erf(x) / x - 1 of x^2 for |x| < 1: what is added to x is rounded finer than a product
_ERF = (
    0.1283791671, -0.37612638, 0.11283782, -0.02686543, 0.0052210316, -0.00084840803, 0.00011265959,
    -9.667045e-06,
)  # fmt: skip
# (1 + 2x) e^(x^2) erfc(x) of (x - 3) / (x + 3) for 0 <= x <= 10.2
_ERFC = (
    1.2530080579001324, -0.13562114482806312, -0.04756228936930903, 0.1296466124297091,
    -0.11927247426820817, 0.06829336743322621, -0.02379134803150263, 0.0025788453605382,
    0.001996375739503498, -0.0007957492333968862, -0.000276390255573552,
)  # fmt: skip
# log(1 - erf(x)) for 1 <= x <= 4
_ERF_TAIL = (
    0.00032013806, -1.1302334, -0.63182604, -0.110080086, 0.026421135, -0.004759596, 0.00059680565,
    -4.605804e-05, 1.6371514e-06,
)  # fmt: skip


def _two_to(k):
    """2^k for -127 < k < 128."""
    return float_of(np.int32((k + 127) << 23))


def _reduced(x):
    """k and r with x = k log(2) + r, |r| <= log(2) / 2: k log(2) is exact to 16 + 24 bits."""
    shifted = multiply_add(x, 1.4426950408889634, 12582912.0)
    n = shifted - 12582912.0
    r = multiply_add(n, -1.4286068203094173e-06, multiply_add(n, -0.693145751953125, x))
    return np.int32(bits(shifted) - _ROUNDER), r


def _exp_near_zero(r):
    """exp(r) - 1 for |r| <= log(2) / 2."""
    return multiply_add(r * r, polynomial(r, _EXP), r)


def _exp_within(x):
    """exp(x) where neither it nor a part of it overflows or is denormal: |x| < 87."""
    k, r = _reduced(x)
    return polynomial(r, _EXP_WHOLE) * _two_to(k)


def exp(x):
    """e^x; the power of two comes in two factors, for results that are denormal or overflow.

    What is added to round holds 2 * 127, so half of its last bits is an exponent as it is stored.
    """
    x = -104.0 if x < -104.0 else x
    shifted = multiply_add(x, 1.4426950408889634, 12583166.0)
    shifted = 12583294.0 if shifted > 12583294.0 else shifted  # 2^128
    n = shifted - 12583166.0
    r = multiply_add(n, -1.4286068203094173e-06, multiply_add(n, -0.693145751953125, x))
    whole = bits(shifted)
    half = np.int32(whole >> 1)
    first = float_of(np.int32(half << 23))
    return polynomial(r, _EXP_WHOLE) * first * float_of(np.int32((whole - half) << 23))


def exp_down(x):
    """e^x for x <= 0, 0 where it is denormal: an exponent of 0 is stored for the power then."""
    x = -88.0 if x < -88.0 else x
    shifted = multiply_add(x, 1.4426950408889634, 12583039.0)
    n = shifted - 12583039.0
    r = multiply_add(n, -1.4286068203094173e-06, multiply_add(n, -0.693145751953125, x))
    return polynomial(r, _EXP_WHOLE) * float_of(np.int32(bits(shifted) << 23))


def expm1(x):
    """2^k (exp(r) - 1) + (2^k - 1), by halves, so that 2^128 does not overflow."""
    y = 89.0 if x > 89.0 else x
    y = -20.0 if y < -20.0 else y
    k, r = _reduced(y)
    half = _two_to(k - 1)
    y = 2.0 * multiply_add(half, _exp_near_zero(r), half - 0.5)
    return x if x == 0.0 else y


def _log_near(u, exponent, rest):
    """log(u) + exponent log(2) + rest for a normal u > 0 and a tiny rest."""
    from_root = np.int32(bits(u) - _ROOT_HALF)
    n = np.float32(np.int32(from_root >> 23)) + exponent
    f = float_of(np.int32((from_root & 0x7FFFFF) + _ROOT_HALF)) - 1.0
    rest = multiply_add(n, 1.4286068203094173e-06, rest)
    square = f * f
    rest = multiply_add(square * f, polynomial(f, _LOG), rest)
    return multiply_add(n, 0.693145751953125, f + multiply_add(square, -0.5, rest))


def log(x):
    """The natural logarithm; -inf of 0, NaN of negative numbers."""
    tiny = x < 1.1754943508222875e-38
    u = x * 8388608.0 if tiny else x
    exponent = -23.0 if tiny else 0.0
    y = _log_near(u, exponent, 0.0)
    y = y if x < _INF else x
    return y if x > 0.0 else (-_INF if x == 0.0 else _NAN)


def log1p(x):
    """log(1 + x): what the sum rounds off is divided by the sum and added."""
    u = 1.0 + x
    kept = u - 1.0
    lost = (1.0 - (u - kept)) + (x - kept)
    y = _log_near(u, 0.0, lost / u)
    y = y if x < _INF else x
    y = y if x > -1.0 else (-_INF if x == -1.0 else _NAN)
    return x if x == 0.0 else y


def sigmoid(x):
    """1 / (1 + e^-x), from the side on which e^-|x| is at most 1; the quotient is corrected once.

    The remainder above - y (1 + e) has the factor 1 / (1 + e), which is y or 1 - y.
    """
    e = exp(-abs(x))
    above = 1.0 if x >= 0.0 else e
    y = above / (1.0 + e)
    remainder = multiply_add(-y, e, above - y)
    return multiply_add(remainder, y if x >= 0.0 else 1.0 - y, y)


def tanh(x):
    """An odd polynomial for small numbers, 1 - 2 / (e^2x + 1) for others."""
    size = abs(x)
    square = x * x
    small = multiply_add(size * square, polynomial(square, _TANH), size)
    size = 10.0 if size > 10.0 else size
    large = 1.0 - 2.0 / (_exp_within(size + size) + 1.0)
    return signed_like(small if size < 0.625 else large, x)


def erf(x):
    """An odd polynomial below 1, 1 - e^(a polynomial) above."""
    size = abs(x)
    square = x * x
    small = multiply_add(size, polynomial(square, _ERF), size)
    size = 4.0 if size > 4.0 else size
    large = 1.0 - _exp_within(polynomial(size, _ERF_TAIL))
    return signed_like(small if size < 1.0 else large, x)


def erfc(x):
    """1 - erf(x), in double precision: the square of x must be far more exact than x."""
    size = np.float64(abs(x))
    size = _WIDEST if size > _WIDEST else size
    far, double = size + _THREE, _ONE + size + size
    inverse = _ONE / (far * double)
    y = polynomial((size - _THREE) * (double * inverse), _ERFC) * (far * inverse)
    y = y * _exp_double(-size * size)
    return np.float32(y if x >= 0.0 else _TWO - y)


def power(x, y):
    """x^y = 2^(y log2 |x|) in double precision, which leaves one rounding; then the sign."""
    result = np.float32(_exp2_double(np.float64(y) * _log2_double(np.float64(abs(x)))))
    # adding 2^23 rounds to whole numbers; from there on all are whole, from 2^24 on even
    size = abs(y)
    half = 0.5 * size
    whole = (size >= 8388608.0) | ((size + 8388608.0) - 8388608.0 == size)
    even = (size >= 16777216.0) | ((half + 8388608.0) - 8388608.0 == half)
    result = signed_like(result, x) if whole & (not even) else result
    result = _NAN if (x < 0.0) & (x > -_INF) & (not whole) else result
    one = (x == 1.0) | (y == 0.0) | ((x == -1.0) & (size == _INF))
    return np.float32(1.0) if one else result


def rsqrt(x):
    """1 / sqrt(x); inf of 0, NaN of negative numbers."""
    return 1.0 / math.sqrt(x)
