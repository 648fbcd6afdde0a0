"""Vector mathematics: errors in units of the last place, limits, the same results everywhere."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from caffe2py.kernels import vectormath
from caffe2py.kernels.elementwise import launch_map
from caffe2py.kernels.jit import callable_at, kernel

exp, exp_down, expm1 = vectormath.exp, vectormath.exp_down, vectormath.expm1
log, log1p, sigmoid, tanh = vectormath.log, vectormath.log1p, vectormath.sigmoid, vectormath.tanh
erf, erfc, power, rsqrt = vectormath.erf, vectormath.erfc, vectormath.power, vectormath.rsqrt


def of_exp(x):
    return exp(x)


def of_exp_down(x):
    return exp_down(x)


def of_expm1(x):
    return expm1(x)


def of_log(x):
    return log(x)


def of_log1p(x):
    return log1p(x)


def of_sigmoid(x):
    return sigmoid(x)


def of_tanh(x):
    return tanh(x)


def of_erf(x):
    return erf(x)


def of_erfc(x):
    return erfc(x)


def of_rsqrt(x):
    return rsqrt(x)


def of_power(x, y):
    return power(x, y)


def mapped(function, *inputs):
    output = np.empty_like(inputs[0])
    launch = launch_map(function, inputs, output)
    assert callable_at(launch.address)(launch.block.ctypes.data) == 0
    return output


# ---------------------------------------------------------------- references, in longer numbers


def _sigmoid(x):
    e = np.exp(-np.abs(x))
    return np.where(x >= 0, 1, e) / (1 + e)


def _erf_series(x):
    """exp(-x^2) * the sum of 2^k x^(2k+1) / (2k+1)!!: its terms have one sign."""
    term = total = x.copy()
    for k in range(1, 250):
        term = term * (2 * x * x / (2 * k + 1))
        total = total + term
    return total * np.exp(-x * x) * 2 / np.sqrt(np.arccos(x.dtype.type(-1)))


def _erfc_fraction(x):
    """erfc from 2 on by a continued fraction."""
    below = x.copy()
    for k in range(200, 0, -1):
        below = x + k / (2 * below)
    return np.exp(-x * x) / (below * np.sqrt(np.arccos(x.dtype.type(-1))))


def _erfc(x):
    size = np.abs(x)
    near = 1 - _erf_series(np.minimum(size, 2))
    far = np.where(size <= 2, near, _erfc_fraction(np.clip(size, 2, 40)))
    return np.where(x < 0, 2 - far, far)


def _erf(x):
    size = np.abs(x)
    y = np.where(size <= 2, _erf_series(np.minimum(size, 2)), 1 - _erfc(size))
    return np.copysign(y, x)


CASES = {
    "exp": (of_exp, np.exp, 1.1, 1.1),
    "expm1": (of_expm1, np.expm1, 1.8, 1.9),
    "log": (of_log, np.log, 1.1, 1.1),
    "log1p": (of_log1p, np.log1p, 1.1, 1.1),
    "sigmoid": (of_sigmoid, _sigmoid, 1.5, 1.5),
    "tanh": (of_tanh, np.tanh, 1.5, 1.5),
    "erf": (of_erf, _erf, 1.1, 1.1),
    "erfc": (of_erfc, _erfc, 0.6, 3.0),
    "rsqrt": (of_rsqrt, lambda x: 1 / np.sqrt(x), 1.5, 1.5),
}


def longer(x):
    return x.astype(np.float64 if x.dtype == np.float32 else np.longdouble)


def errors(got, wanted):
    """Errors in units of the last place of what is wanted; 0 where both are one limit or NaN."""
    info = np.finfo(got.dtype)
    rounded = wanted.astype(got.dtype)
    size = np.minimum(np.abs(np.where(np.isnan(rounded), 1, rounded)), info.max)
    below = np.spacing(np.nextafter(size, got.dtype.type(0)))
    unit = np.where(np.abs(wanted) < size, below, np.spacing(size))
    error = np.abs(longer(got) - wanted) / longer(unit)
    same = (np.isnan(got) & np.isnan(wanted)) | (np.isinf(rounded) & (got == rounded))
    return np.where(same, 0, error)


def numbers(dtype, count):
    """Numbers of every kind: all bits, where functions overflow, near 0, near 1."""
    rng = np.random.default_rng(3)
    dtype = np.dtype(dtype)
    limit = 110 if dtype == np.float32 else 760
    size = dtype.itemsize
    return np.concatenate(
        [
            rng.integers(0, 2 ** (8 * size), count, dtype=f"u{size}").view(dtype),
            *(rng.uniform(-w, w, count).astype(dtype) for w in (limit, 5, 1)),
            np.exp(rng.uniform(-limit, 0.8 * limit, count)).astype(dtype),
            rng.uniform(0.5, 2, count).astype(dtype),
            special(dtype),
        ]
    )


def special(dtype):
    info = np.finfo(dtype)
    sizes = [0, 1, 0.5, 2, 3, info.smallest_subnormal, info.tiny, info.max, 1 + info.eps, np.inf]
    edges = [0.625, 1, 87.33655, 88.72283, 88.72284, 103.9721, 103.9722, 709.78, 709.79, 745.13]
    both = np.array([*sizes, *edges, 1 - info.epsneg], dtype)
    return np.concatenate([both, -both, np.array([np.nan], dtype)])


# ---------------------------------------------------------------- tests


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("name", CASES)
@np.errstate(all="ignore")
def test_errors_are_small_and_limits_right(name, dtype):
    function, reference, single, double = CASES[name]
    x = numbers(dtype, 5000 if name in ("erf", "erfc") else 100_000)
    got, wanted = mapped(function, x), reference(longer(x))
    error = errors(got, wanted)
    worst = np.argmax(error)
    limit = single if dtype == "float32" else double
    assert error[worst] <= limit, (x[worst], got[worst], wanted[worst])
    known = ~np.isnan(wanted)
    assert np.array_equal(np.signbit(got)[known], np.signbit(wanted)[known])


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@np.errstate(all="ignore")
def test_exp_down_is_exp_without_denormals(dtype):
    x = -np.abs(numbers(dtype, 20_000))
    got, wanted = mapped(of_exp_down, x), np.exp(longer(x))
    normal = ~(wanted < 1.1 * np.finfo(dtype).tiny)
    assert errors(got, wanted)[normal].max() <= 1.1
    assert (got[~normal] <= 1.1 * np.finfo(dtype).tiny).all()
    assert (mapped(of_exp_down, np.array([-np.inf, -1e6], dtype)) == 0).all()


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@np.errstate(all="ignore")
def test_power(dtype):
    rng = np.random.default_rng(4)
    extra = np.array([-1.5, -3, 7, 2**23 + 1, 2**24 - 1, 2**24 + 2, 2.0**53 - 1, 1e20, -1e20])
    bases, exponents = np.meshgrid(*[np.concatenate([special(dtype), extra.astype(dtype)])] * 2)
    limit = 128 if dtype == "float32" else 1024
    x = np.concatenate([rng.uniform(0.5, 1.5, 100_000), np.exp(rng.uniform(-20, 20, 100_000))])
    y = rng.uniform(-1.08 * limit, 1.02 * limit, x.size) / np.abs(np.log2(x))
    x = np.concatenate([bases.reshape(-1), x.astype(dtype)])
    y = np.concatenate([exponents.reshape(-1), y.astype(dtype)])
    got, wanted = mapped(of_power, x, y), np.power(longer(x), longer(y))
    assert errors(got, wanted).max() <= (0.6 if dtype == "float32" else 1.3)
    known = ~np.isnan(wanted)
    assert np.array_equal(np.signbit(got)[known], np.signbit(wanted)[known])


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_exact_where_mathematics_is(dtype):
    whole = np.arange(1, 10, dtype=dtype)
    x, y = (a.reshape(-1) for a in np.meshgrid(whole, whole - 1))
    assert np.array_equal(mapped(of_power, x, y), x**y)
    zero, one = np.zeros(3, dtype), np.ones(3, dtype)
    assert np.array_equal(mapped(of_exp, zero), one)
    assert np.array_equal(mapped(of_log, one), zero)
    assert np.array_equal(mapped(of_sigmoid, zero), one / 2)
    assert np.array_equal(mapped(of_erfc, zero), one)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("name", CASES)
def test_an_element_has_one_result_in_and_out_of_vectors(name, dtype):
    function = CASES[name][0]
    x = numbers(dtype, 40)
    whole = mapped(function, x)
    for size in (1, 3, 7):
        parts = [mapped(function, x[i : i + size]) for i in range(0, x.size, size)]
        assert np.array_equal(np.concatenate(parts), whole, equal_nan=True)


@kernel("reassoc", "contract")
def sum_of_powers(x, y):
    total = x.dtype.type(0)
    for i in range(x.size):
        y[i] = exp(x[i])
        total += y[i]
    y[0] = total


@kernel("reassoc", "contract")
def whole_numbers(x, y):
    for i in range(x.size):
        y[i] = exp(x[i])


def test_what_a_loop_allows_changes_nothing():
    x = np.linspace(-80, 80, 1001).astype(np.float32)
    y = np.empty_like(x)
    launch = sum_of_powers(x, y)
    callable_at(launch.address)(launch.block.ctypes.data)
    assert np.array_equal(y[1:], mapped(of_exp, x)[1:])


def test_whole_numbers_count_as_double():
    x, y = np.arange(-3, 4, dtype=np.int32), np.empty(7)
    launch = whole_numbers(x, y)
    callable_at(launch.address)(launch.block.ctypes.data)
    assert np.allclose(y, np.exp(x), rtol=1e-15)


def test_no_function_of_python():
    with pytest.raises(TypeError, match="exp exists in compiled kernels only"):
        exp(1.0)


PROGRAM = """
import hashlib
import numpy as np
from caffe2py.kernels.elementwise import launch_map
from caffe2py.kernels.jit import callable_at
from tests.kernels.test_vectormath import CASES, mapped, numbers

digest = hashlib.sha256()
for dtype in ("float32", "float64"):
    for function, *_ in CASES.values():
        y = mapped(function, numbers(dtype, 50))
        digest.update(np.where(np.isnan(y), 0, y).tobytes())
print(digest.hexdigest())
"""


def test_every_width_gives_the_same():
    answers = set()
    for width in (16, 32, 64):
        done = subprocess.run(
            [sys.executable, "-c", PROGRAM],
            capture_output=True,
            text=True,
            check=False,
            cwd=Path(__file__).parents[2],
            env={**os.environ, "CAFFE2PY_VECTOR_BYTES": str(width)},
        )
        assert done.returncode == 0, done.stderr
        answers.add(done.stdout)
    assert len(answers) == 1
