"""The functions of vectormath for float64, and rough ones that float32 needs on its way."""

from __future__ import annotations

import math

import numpy as np

from caffe2py.kernels.bits import bits, float_of, multiply_add, polynomial, signed_like

_INF = np.inf
_NAN = np.nan

#: The bits of 1.5 * 2^52: added to a small number, it leaves the nearest integer in the low bits.
ROUNDER = 0x4338000000000000

#: The bits of sqrt(1/2): mantissas are taken from here to sqrt(2), where logarithms are smallest.
_ROOT_HALF = 0x3FE6A09E667F3BCD

_MANTISSA = 0xFFFFFFFFFFFFF

_POSITIVE = 0x7FFFFFFFFFFFFFFF

#: The upper bits of a number: 26 of its mantissa.
_UPPER = -0x8000000

# (exp(r) - 1 - r) / r^2 for |r| <= log(2) / 2
_EXP = (
    0.5, 0.1666666666666667, 0.04166666666666667, 0.008333333333324906, 0.001388888888888287,
    0.00019841269879033045, 2.4801587328555858e-05, 2.755725016302918e-06, 2.7557269903215795e-07,
    2.5107353767261877e-08, 2.0916212837493853e-09,
)  # fmt: skip
EXP = (1.0, 1.0, *_EXP)
_EXP_SHORT = (
    1.0, 1.0, 0.5000000015156812, 0.16666666683501194, 0.04166644836571659,
    0.008333309086515256, 0.0013935451843874688, 0.00019892991763014595,
)  # fmt: skip
# (log((1 + s) / (1 - s)) - 2 s) / s^3 of s^2 for |s| <= 3 - sqrt(8)
_LOG = (
    0.6666666666666666, 0.40000000000000885, 0.28571428570798046, 0.22222222392974328,
    0.18181795505547918, 0.15386247017827995, 0.13268577377987856, 0.1308867191196883,
)  # fmt: skip
_LOG_SHORT = (
    0.6666666666738031, 0.3999999879022286, 0.28571755987507236, 0.22191308735663537,
    0.19364441789775144,
)  # fmt: skip
# (tanh(x) / x - 1) / x^2 of x^2 for |x| < 5/8
_TANH = (
    -0.3333333333333333, 0.13333333333333042, -0.05396825396789636, 0.02186948851898143,
    -0.008863235102653483, 0.0035921217436959856, -0.0014557753532096296, 0.0005896603606552671,
    -0.0002375896885211701, 9.256923588512033e-05, -3.119892666773487e-05, 6.484104982405479e-06,
)  # fmt: skip
# erf(x) / x - 1 of x^2 for |x| < 1
_ERF = (
    0.12837916709551256, -0.3761263890318375, 0.11283791670954879, -0.026866170645076792,
    0.0052239776248180145, -0.000854832698083379, 0.0001205533111164271, -1.4925595266831182e-05,
    1.6461000484121368e-06, -1.6350312701054695e-07, 1.4659775274047436e-08,
    -1.1372848856791674e-09, 5.957176147748911e-11,
)  # fmt: skip
# (1 + 2x) e^(x^2) erfc(x) of (x - 3) / (x + 3) for 0.45 <= x <= 27.5
_ERFC = (
    1.2530080582697296, -0.1356211061245812, -0.04756229435345109, 0.12964515870276416,
    -0.11927366341528173, 0.06830802734385007, -0.023770514919414804, 0.002529391818302164,
    0.0018886903695458858, -0.0007798322948113881, -0.0001051598747959008, 0.00012509950004638192,
    4.94979558473097e-06, -2.0101210516445516e-05, -7.322378566104768e-07, 3.474304951723081e-06,
    3.5760324838542747e-07, -6.203548107893458e-07, -1.4119213255430579e-07,
    1.0649529260725022e-07, 3.967344562518179e-08, -1.664666922077343e-08, -6.189799077118925e-09,
    2.0303584660218006e-09,
)  # fmt: skip


def upper(x):
    """x cut to the upper 26 bits of its mantissa."""
    return float_of(bits(x) & _UPPER)


def _two_to(k):
    """2^k for -1023 < k < 1024."""
    return float_of((k + 1023) << 52)


def scaled(x, k):
    """x 2^k by two factors, for results that are denormal or overflow."""
    half = k >> 1
    return x * _two_to(half) * _two_to(k - half)


def _reduced(x, rest):
    """k and r with x + rest = k log(2) + r, |r| <= log(2) / 2; k log(2) has 40 + 53 bits."""
    shifted = multiply_add(x, 1.4426950408889634, 6755399441055744.0)
    n = shifted - 6755399441055744.0
    near = multiply_add(n, -0.6931471805601177, x)
    return bits(shifted) - ROUNDER, near + multiply_add(n, 1.7239444525614835e-13, rest)


def _exp_near_zero(r):
    """exp(r) - 1 for |r| <= log(2) / 2."""
    return multiply_add(r * r, polynomial(r, _EXP), r)


def _exp_within(x):
    """exp(x) where neither it nor a part of it overflows or is denormal: |x| < 708."""
    k, r = _reduced(x, 0.0)
    return polynomial(r, EXP) * _two_to(k)


def exp(x):
    """e^x; the power of two comes in two factors, for results that are denormal or overflow.

    What is added to round holds 2 * 1023, so half of its last bits is an exponent as it is stored.
    """
    x = -746.0 if x < -746.0 else x
    shifted = multiply_add(x, 1.4426950408889634, 6755399441057790.0)
    shifted = 6755399441058814.0 if shifted > 6755399441058814.0 else shifted  # 2^1024
    n = shifted - 6755399441057790.0
    r = multiply_add(n, 1.7239444525614835e-13, multiply_add(n, -0.6931471805601177, x))
    whole = bits(shifted)
    half = (whole >> 1) & _POSITIVE
    return polynomial(r, EXP) * float_of(half << 52) * float_of((whole - half) << 52)


def exp_down(x):
    """e^x for x <= 0, 0 where it is denormal: an exponent of 0 is stored for the power then."""
    x = -709.0 if x < -709.0 else x
    shifted = multiply_add(x, 1.4426950408889634, 6755399441056767.0)
    n = shifted - 6755399441056767.0
    r = multiply_add(n, 1.7239444525614835e-13, multiply_add(n, -0.6931471805601177, x))
    return polynomial(r, EXP) * float_of(bits(shifted) << 52)


def exp_short(x):
    """e^x to 2^-31, -600 < x < 600."""
    k, r = _reduced(x, 0.0)
    return polynomial(r, _EXP_SHORT) * _two_to(k)


def exp2_short(x):
    """2^x to 2^-31, where it is in the range of float32; 0 or more than float32 holds beyond."""
    x = 200.0 if x > 200.0 else x
    x = -200.0 if x < -200.0 else x
    shifted = x + 6755399441055744.0
    r = (x - (shifted - 6755399441055744.0)) * 0.6931471805599453
    k = bits(shifted) - ROUNDER
    return polynomial(r, _EXP_SHORT) * _two_to(k)


def expm1(x):
    """2^k (exp(r) - 1) + (2^k - 1), by halves, so that 2^1024 does not overflow."""
    y = 710.0 if x > 710.0 else x
    y = -40.0 if y < -40.0 else y
    k, r = _reduced(y, 0.0)
    half = _two_to(k - 1)
    y = 2.0 * multiply_add(half, _exp_near_zero(r), half - 0.5)
    return x if x == 0.0 else y


def parts(u):
    """n and f with u = 2^n (1 + f), sqrt(1/2) <= 1 + f <= sqrt(2), of a normal u > 0."""
    from_root = bits(u) - _ROOT_HALF
    n = float_of((from_root >> 52) + ROUNDER) - 6755399441055744.0
    return n, float_of((from_root & _MANTISSA) + _ROOT_HALF) - 1.0


def _log_near(u, exponent, rest):
    """log(u) + exponent log(2) + rest for a normal u > 0 and a tiny rest.

    log(1 + f) = 2 s + s^3 p(s^2) for s = f / (2 + f), and 2 s = f - s f; s f is put together with
    s^3 p as f^2 / 2 - s (f^2 / 2 + s^2 p), whose first term is exact enough.
    """
    n, f = parts(u)
    n = n + exponent
    s = f / (2.0 + f)
    square = s * s
    half = 0.5 * f * f
    rest = multiply_add(n, -1.7239444525614835e-13, rest)
    rest = multiply_add(s, multiply_add(square, polynomial(square, _LOG), half), rest)
    return multiply_add(n, 0.6931471805601177, f - (half - rest))


def log(x):
    """The natural logarithm; -inf of 0, NaN of negative numbers."""
    tiny = x < 2.2250738585072014e-308
    u = x * 4503599627370496.0 if tiny else x
    y = _log_near(u, -52.0 if tiny else 0.0, 0.0)
    y = y if x < _INF else x
    return y if x > 0.0 else (-_INF if x == 0.0 else _NAN)


def log2_short(x):
    """log2(x) to 2^-40 for x >= 0 without denormals; -inf of 0."""
    n, f = parts(x)
    s = f / (2.0 + f)
    square = s * s
    y = multiply_add(s * square, polynomial(square, _LOG_SHORT), s + s)
    y = multiply_add(y, 1.4426950408889634, n)
    y = y if x < _INF else x
    return -_INF if x == 0.0 else y


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
    size = 20.0 if size > 20.0 else size
    large = 1.0 - 2.0 / (_exp_within(size + size) + 1.0)
    return signed_like(small if size < 0.625 else large, x)


def _erfc_far(size):
    """1 - erf(size) from 0.45 on: the square of `size` is a pair, so its exponential is exact."""
    size = 27.5 if size > 27.5 else size
    far, double = size + 3.0, 1.0 + size + size
    y = polynomial((size - 3.0) / far, _ERFC) / double
    cut = upper(size)
    k, r = _reduced(-cut * cut, (cut - size) * (size + cut))
    return scaled(multiply_add(_exp_near_zero(r), y, y), k)


def _erf_near(size):
    """erf(size) below 1."""
    return multiply_add(size, polynomial(size * size, _ERF), size)


def erf(x):
    """An odd polynomial below 1, 1 - erfc(x) above."""
    size = abs(x)
    return signed_like(_erf_near(size) if size < 1.0 else 1.0 - _erfc_far(size), x)


def erfc(x):
    """1 - erf(x), without the difference where that is small."""
    size = abs(x)
    near, far = _erf_near(size), _erfc_far(size)
    if x < 0.0:
        return 1.0 + near if size < 1.0 else 2.0 - far
    return 1.0 - near if size < 0.5 else far


def rsqrt(x):
    """1 / sqrt(x); inf of 0, NaN of negative numbers."""
    return 1.0 / math.sqrt(x)
