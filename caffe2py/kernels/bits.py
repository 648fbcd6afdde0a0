"""What vector mathematics is made of: a number's bits, its sign, a product with a sum."""

from __future__ import annotations

from caffe2py.kernels.params import Intrinsic

_FILES = ("emit_bits.py",)

#: bits(x) -> int32 or int64: the bits of a float32 or float64.
bits = Intrinsic("bits", _FILES)

#: float_of(n) -> float32 or float64: the number with the bits of an int32 or int64.
float_of = Intrinsic("float_of", _FILES)

#: signed_like(size, sign): `size` with the sign of `sign`, of zeros, too.
signed_like = Intrinsic("signed_like", _FILES)

#: larger(a, b): the larger of two floats, NaN if one is: a maximum that runs in vectors.
larger = Intrinsic("larger", _FILES)

#: multiply_add(a, b, c) = a * b + c, rounded once where the CPU can, in vectors and out of them.
multiply_add = Intrinsic("multiply_add", _FILES)

#: polynomial(x, (c0, c1, c2...)) = c0 + x * (c1 + x * (c2 + ...)), by multiply_add.
polynomial = Intrinsic("polynomial", _FILES)
