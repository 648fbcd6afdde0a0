"""Exponentials, logarithms and their kin, in plain arithmetic that the compiler makes vectors of.

A loop that calls one of these has no branch and no call in it, so it runs on whole vectors; libm's
functions, one call an element, are 5 to 20 times slower. Every loop gets the same results, in the
elements that fill no vector as well. They are right for zeros of both signs, infinities, NaN and
denormal numbers, and where mathematics is exact: exp(0), log(1), power(x, 0), power(x, 1).

    largest error, in units of the last place    float32    float64
    exp(x), log(x), log1p(x), erf(x)             1.1        1.1
    sigmoid(x) = 1 / (1 + exp(-x)), tanh(x)      1.5        1.5
    rsqrt(x) = 1 / sqrt(x)                       1.5        1.5
    expm1(x) = exp(x) - 1                        1.8        1.9
    erfc(x) = 1 - erf(x)                         0.6        3.0
    power(x, y) = x^y                            0.6        1.3

exp_down(x) is exp(x) for x <= 0 in three quarters of the time; denormal results are 0.

The signs of a power are those of C's pow: x^0 and 1^y are 1 even for NaN, a negative number to a
power that is no whole number is NaN.
"""

from __future__ import annotations

from caffe2py.kernels import vectormath_double as double
from caffe2py.kernels import vectormath_power
from caffe2py.kernels import vectormath_single as single
from caffe2py.kernels.params import ByType

exp = ByType(single.exp, double.exp)
exp_down = ByType(single.exp_down, double.exp_down)
expm1 = ByType(single.expm1, double.expm1)
log = ByType(single.log, double.log)
log1p = ByType(single.log1p, double.log1p)
sigmoid = ByType(single.sigmoid, double.sigmoid)
tanh = ByType(single.tanh, double.tanh)
erf = ByType(single.erf, double.erf)
erfc = ByType(single.erfc, double.erfc)
power = ByType(single.power, vectormath_power.power)
rsqrt = ByType(single.rsqrt, double.rsqrt)
