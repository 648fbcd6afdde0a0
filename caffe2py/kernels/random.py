"""Random numbers by counter: the number at a position is a function of a key and that position.

Nothing is carried from one number to the next, so neither threads nor the order of elements matter.
The generator is Squares (B. Widynski, "Squares: A Fast Counter-Based RNG", arXiv:2004.06278), four
or five rounds of Weyl-shifted middle squares; keys are made with the finaliser of SplitMix64
(G. L. Steele, D. Lea, C. H. Flood, "Fast Splittable Pseudorandom Number Generators", OOPSLA 2014).

All functions but the last are plain ones, to be called in kernels. A kernel that draws looks like
this, for a part of the numbers; when all parts are done `launch_advance` counts the run::

    @kernel()
    def _noise(state, y, first):                # state = call.random_state()
        key = stream(state)
        for i in range(y.size):
            y[i] = normal(key, first + i)

Two uses of one key must use different counters; where that is awkward, `split(key, k)` gives keys
of their own. Squares needs keys without a pattern, which hashes are (measured: only keys below
2**14 show one, which is one hash in 2**50).
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from caffe2py.kernels.jit import kernel
from caffe2py.registry.context import Launch
from caffe2py.tensor.tensor import Array

# Constants are typed: numba makes a float of uint64 mixed with a signed literal.
_ONE = np.uint64(1)
_HALF_WORD = np.uint64(32)
_LOW_WORD = np.uint64(0xFFFFFFFF)
_WEYL = np.uint64(0x9E3779B97F4A7C15)
_MIX_A = np.uint64(0xBF58476D1CE4E5B9)
_MIX_B = np.uint64(0x94D049BB133111EB)
_SHIFT_30, _SHIFT_27, _SHIFT_31 = np.uint64(30), np.uint64(27), np.uint64(31)
_SHIFT_24, _SHIFT_53 = np.uint64(40), np.uint64(11)  # what is left of 64 bits: 24 and 53
_ULP_24, _ULP_53 = np.float32(2.0**-24), np.float64(2.0**-53)
_TWO_PI = np.float64(2 * math.pi)
_MINUS_TWO = np.float64(-2.0)


def _mix(x: Any) -> Any:
    """SplitMix64's finaliser: a bijection of 64-bit words in which every bit moves every bit."""
    x = (x ^ (x >> _SHIFT_30)) * _MIX_A
    x = (x ^ (x >> _SHIFT_27)) * _MIX_B
    return x ^ (x >> _SHIFT_31)


def split(key: Any, number: Any) -> Any:
    """A key that has nothing to do with `key` or with those of other numbers (0, 1, ...)."""
    # + 1 keeps 0, the fixed point of _mix, from being the key of seed 0
    return _mix(_mix(key) + (np.uint64(number) + _ONE) * _WEYL) | _ONE


def stream(state: Any) -> Any:
    """The key of this run, from `call.random_state()`: the operator's key and the count of runs."""
    return split(state[0], state[1])


def advance(state: Any) -> None:
    """Count a run. To be called once, at the end of the last kernel of a run that draws."""
    state[1] += _ONE


def bits32(key: Any, counter: Any) -> Any:
    """32 random bits in a uint64, for a key of `stream` or `split` and a counter >= 0."""
    y = np.uint64(counter) * key
    z = y + key
    x = y * y + y
    x = (x >> _HALF_WORD) | (x << _HALF_WORD)
    x = x * x + z
    x = (x >> _HALF_WORD) | (x << _HALF_WORD)
    x = x * x + y
    x = (x >> _HALF_WORD) | (x << _HALF_WORD)
    return (x * x + z) >> _HALF_WORD


def bits64(key: Any, counter: Any) -> Any:
    """64 random bits; they are other numbers than those of `bits32`."""
    y = np.uint64(counter) * key
    z = y + key
    x = y * y + y
    x = (x >> _HALF_WORD) | (x << _HALF_WORD)
    x = x * x + z
    x = (x >> _HALF_WORD) | (x << _HALF_WORD)
    x = x * x + y
    x = (x >> _HALF_WORD) | (x << _HALF_WORD)
    t = x * x + z
    x = (t >> _HALF_WORD) | (t << _HALF_WORD)
    return t ^ ((x * x + y) >> _HALF_WORD)


def uniform01(key: Any, counter: Any) -> Any:
    """A float64 in [0, 1), a multiple of 2**-53. Made float32 it may become 1: see the next one."""
    return np.float64(bits64(key, counter) >> _SHIFT_53) * _ULP_53


def uniform01_single(key: Any, counter: Any) -> Any:
    """A float32 in [0, 1), a multiple of 2**-24; the upper bits of `uniform01` of the same counter.

    So both agree to 2**-24.
    """
    return np.float32(bits64(key, counter) >> _SHIFT_24) * _ULP_24


def normal_pair(key: Any, pair: Any) -> Any:
    """The two independent standard normal float64s at counters 2 * pair and 2 * pair + 1.

    G. E. P. Box and M. E. Muller, "A Note on the Generation of Random Normal Deviates", 1958.
    """
    first = np.uint64(pair) << _ONE
    # 1 - u lies in (0, 1], so that its logarithm is finite: |value| is at most 8.6
    radius = math.sqrt(_MINUS_TWO * math.log(1 - uniform01(key, first)))
    angle = _TWO_PI * uniform01(key, first | _ONE)
    return radius * math.cos(angle), radius * math.sin(angle)


def normal(key: Any, counter: Any) -> Any:
    """A standard normal float64. In a loop over all counters, `normal_pair` is twice as fast."""
    word = np.uint64(counter)
    a, b = normal_pair(key, word >> _ONE)
    return b if word & _ONE else a


def below(key: Any, counter: Any, count: Any) -> Any:
    """A uint64 in [0, count), each equally likely; 1 <= count <= 2**32.

    D. Lemire, "Fast Random Integer Generation in an Interval", 2019: a product of words, drawn
    again (from keys of its own) where the word falls into the part that would favour some values.
    """
    size = np.uint64(count)
    product = bits32(key, counter) * size
    if product & _LOW_WORD < size:
        unfair = ((_LOW_WORD - size) + _ONE) % size
        attempt = 0
        while product & _LOW_WORD < unfair:
            attempt += 1
            product = bits32(split(key, attempt), counter) * size
    return product >> _HALF_WORD


def integer(key: Any, counter: Any, low: Any, high: Any) -> Any:
    """An int64 in [low, high], both included; high - low < 2**32."""
    first = np.int64(low)
    return first + np.int64(below(key, counter, np.int64(high) - first + 1))


@kernel()
def _advance(state: Any) -> None:
    advance(state)


def launch_advance(state: Array) -> Launch:
    """Count a run: the next one draws other numbers. It comes after all that draw in this run."""
    return _advance(state)
