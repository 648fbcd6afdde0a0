"""The counter-based generator: distributions, independence, and that it is a pure function."""

import math

import numpy as np
import pytest

from caffe2py.kernels.jit import kernel
from caffe2py.kernels.random import (
    advance,
    below,
    bits32,
    bits64,
    integer,
    normal,
    normal_pair,
    split,
    stream,
    uniform01,
    uniform01_single,
)
from caffe2py.kernels.table import Table

N = 200_000
MASK = 2**64 - 1


@kernel()
def _bits32(state, start, y):
    key = stream(state)
    for i in range(y.size):
        y[i] = bits32(key, start + i)
    advance(state)


@kernel()
def _bits64(state, start, y):
    key = stream(state)
    for i in range(y.size):
        y[i] = bits64(key, start + i)
    advance(state)


@kernel()
def _uniform(state, start, y):
    key = stream(state)
    for i in range(y.size):
        y[i] = uniform01(key, start + i)
    advance(state)


@kernel()
def _uniform_single(state, start, y):
    key = stream(state)
    for i in range(y.size):
        y[i] = uniform01_single(key, start + i)
    advance(state)


@kernel()
def _normal(state, start, y):
    key = stream(state)
    for i in range(y.size):
        y[i] = normal(key, start + i)
    advance(state)


@kernel()
def _normal_pairs(state, start, y):
    key = stream(state)
    for i in range(y.size // 2):
        y[2 * i], y[2 * i + 1] = normal_pair(key, start // 2 + i)
    advance(state)


@kernel()
def _below(state, count, y):
    key = stream(state)
    for i in range(y.size):
        y[i] = below(key, i, count)
    advance(state)


@kernel()
def _integer(state, low, high, y):
    key = stream(state)
    for i in range(y.size):
        y[i] = integer(key, i, low, high)
    advance(state)


@kernel()
def _split(state, number, y):
    key = split(stream(state), number)
    for i in range(y.size):
        y[i] = uniform01(key, i)


def state(key=1, runs=0):
    return np.array([key, runs], np.uint64)


def draw(loop, dtype, *scalars, key=1, runs=0, count=N):
    y = np.zeros(count, dtype)
    assert Table([loop(state(key, runs), *scalars, y)]).run() == 0
    return y


def ks(sample, cdf):
    """Kolmogorov-Smirnov: the largest distance of the empirical distribution, times sqrt(n)."""
    x = np.sort(np.asarray(sample, np.float64))
    expected = cdf(x)
    n = x.size
    above = np.max(np.arange(1, n + 1) / n - expected)
    under = np.max(expected - np.arange(n) / n)
    return max(above, under) * math.sqrt(n)


#: P(statistic > 1.95) = 0.1 % for a true generator; the numbers here are the same in every run.
KS_LIMIT = 1.95


def phi(x):
    return np.array([0.5 * math.erfc(-v / math.sqrt(2)) for v in x])


def correlation(a, b):
    """In standard deviations of what independent sequences give."""
    return float(np.corrcoef(a, b)[0, 1] * math.sqrt(a.size))


def _mix(x):
    x = (x ^ (x >> 30)) * 0xBF58476D1CE4E5B9 & MASK
    x = (x ^ (x >> 27)) * 0x94D049BB133111EB & MASK
    return x ^ (x >> 31)


def _key(key, runs):
    return _mix(_mix(key) + (runs + 1) * 0x9E3779B97F4A7C15 & MASK) | 1


def _rounds(key, counter, rounds):
    """All x after each round of squaring, in exact integers."""
    y = counter * key & MASK
    z = y + key & MASK
    x, seen = y, []
    for k in range(rounds):
        x = (x * x + (z if k % 2 else y)) & MASK
        seen.append(x)
        x = (x >> 32 | x << 32) & MASK
    return seen


@pytest.mark.parametrize("key", [0, 1, 7, 2**63 + 5, MASK])
def test_bits_are_those_of_the_paper(key):
    start = 2**33 - 3
    found32 = draw(_bits32, np.uint64, start, key=key, runs=3, count=8)
    found64 = draw(_bits64, np.uint64, start, key=key, runs=3, count=8)
    for i in range(8):
        seen = _rounds(_key(key, 3), start + i, 5)
        assert int(found32[i]) == seen[3] >> 32
        assert int(found64[i]) == seen[3] ^ (seen[4] >> 32)


@pytest.mark.parametrize("loop", [_uniform, _uniform_single])
@pytest.mark.parametrize("key", [0, 1, 12345, MASK])
def test_uniform(loop, key):
    x = draw(loop, np.float64, 0, key=key)
    assert x.min() >= 0
    assert x.max() < 1
    assert abs(x.mean() - 0.5) < 4 * math.sqrt(1 / 12 / N)
    assert abs(x.var() - 1 / 12) < 4 * math.sqrt(1 / 180 / N)
    assert ks(x, lambda v: v) < KS_LIMIT


def test_single_precision_never_reaches_one():
    x = draw(_uniform_single, np.float32, 0, count=5_000_000)
    assert x.max() < 1
    assert x.max() > 1 - 1e-6
    assert np.max(np.abs(x - draw(_uniform, np.float64, 0, count=x.size))) < 2**-24


@pytest.mark.parametrize("key", [0, 1, 12345])
def test_normal(key):
    x = draw(_normal, np.float64, 0, key=key)
    assert abs(x.mean()) < 4 / math.sqrt(N)
    assert abs(x.var() - 1) < 4 * math.sqrt(2 / N)
    assert abs(np.mean(x**3)) < 4 * math.sqrt(15 / N)
    assert abs(np.mean(x**4) - 3) < 4 * math.sqrt(96 / N)
    assert ks(x, phi) < KS_LIMIT


def test_normal_pairs_are_the_single_numbers():
    single = draw(_normal, np.float64, 10, count=1000)
    assert np.array_equal(draw(_normal_pairs, np.float64, 10, count=1000), single)


def test_bits_are_balanced():
    x = draw(_bits32, np.uint64, 0)
    for bit in range(32):
        ones = float(np.mean((x >> np.uint64(bit)) & np.uint64(1)))
        assert abs(ones - 0.5) < 4 * 0.5 / math.sqrt(N), f"bit {bit}"
    assert (x >> np.uint64(32)).max() == 0


@pytest.mark.parametrize("lag", [1, 2, 3, 64, 1000])
@pytest.mark.parametrize("loop", [_uniform, _normal])
def test_successive_counters_are_independent(loop, lag):
    x = draw(loop, np.float64, 0)
    assert abs(correlation(x[:-lag], x[lag:])) < 4
    assert abs(correlation(x[:-lag] ** 2, x[lag:] ** 2)) < 4


def test_pairs_fill_the_plane():
    x = draw(_uniform, np.float64, 0)
    cells = np.floor(x * 16).astype(int)
    counts = np.bincount(cells[:-1] * 16 + cells[1:], minlength=256)
    expected = (N - 1) / 256
    chi2 = float(np.sum((counts - expected) ** 2) / expected)
    assert abs(chi2 - 255) < 4 * math.sqrt(2 * 255)


@pytest.mark.parametrize("other", [{"key": 2}, {"runs": 1}, {"key": 1 + 2**32}])
def test_keys_and_runs_are_independent(other):
    x = draw(_uniform, np.float64, 0)
    y = draw(_uniform, np.float64, 0, **other)
    assert abs(correlation(x, y)) < 4
    assert np.count_nonzero(x == y) == 0


def test_one_position_over_runs_is_uniform():
    """What a single weight sees over the steps of a training."""
    y = np.zeros(1)
    rng = state()
    for counter in (0, 1, 5):
        table = Table([_uniform(rng, counter, y)])
        seen = []
        for _ in range(20_000):
            assert table.run() == 0
            seen.append(y[0])
        assert ks(seen, lambda v: v) < KS_LIMIT
        assert abs(correlation(np.array(seen[:-1]), np.array(seen[1:]))) < 4


def test_split_keys_are_independent():
    x, y = (draw(_split, np.float64, k) for k in (0, 1))
    assert abs(correlation(x, y)) < 4
    assert ks(x, lambda v: v) < KS_LIMIT


def test_same_key_same_numbers_each_run_others():
    rng, y = state(key=5), np.zeros(100)
    table = Table([_uniform(rng, 0, y)])
    runs = []
    for _ in range(3):
        table.run()
        runs.append(y.copy())
    assert rng.tolist() == [5, 3]
    assert not np.array_equal(runs[0], runs[1])
    for k in range(3):
        assert np.array_equal(runs[k], draw(_uniform, np.float64, 0, key=5, runs=k, count=100))


def test_position_alone_decides():
    """A part that is drawn by itself equals the part of the whole: threads do not matter."""
    for loop in (_uniform, _normal, _bits32):
        whole = draw(loop, np.float64, 0, count=1000)
        assert np.array_equal(draw(loop, np.float64, 301, count=500), whole[301:801])


@pytest.mark.parametrize("count", [1, 2, 3, 7, 10, 1000, 3 * 2**30, 2**32 - 1, 2**32])
def test_below_is_fair(count):
    x = draw(_below, np.int64, count).astype(np.float64)
    assert x.min() >= 0
    assert x.max() < count
    if count <= 10:
        seen = np.bincount(x.astype(int), minlength=count)
        expected = N / count
        chi2 = float(np.sum((seen - expected) ** 2) / expected)
        assert chi2 < count - 1 + 4 * math.sqrt(2 * count)
    else:  # 3 * 2**30 is where a remainder would give a third of the values double weight
        assert ks((x + 0.5) / count, lambda v: v) < KS_LIMIT + math.sqrt(N) / count


@pytest.mark.parametrize(("low", "high"), [(-3, 3), (5, 5), (-(2**31), 2**31 - 1)])
def test_integer_bounds_are_included(low, high):
    x = draw(_integer, np.int64, low, high)
    assert x.min() >= low
    assert x.max() <= high
    if high - low < 100:
        assert set(x.tolist()) == set(range(low, high + 1))
    else:
        assert x.min() < low * 0.999
        assert x.max() > high * 0.999
