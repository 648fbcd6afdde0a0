"""A thread for each part does what the whole launch does, and the first failing part is named."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import caffe2py.core  # noqa: F401
from caffe2py.errors import RegistrationError, ValueRangeError
from caffe2py.executor.bind import run_launch
from caffe2py.kernels.cuda import code as codes
from caffe2py.kernels.cuda.work import spread
from caffe2py.kernels.jit import kernel
from caffe2py.kernels.parallel import by_rows, divisible, split
from caffe2py.registry.operator import service
from caffe2py.tensor.cuda.devices import cuda_device
from caffe2py.tensor.place import copy_of, on_host
from tests.cuda.kit import CUDA


@kernel()
def _shifted(x, table, shift, first, end, y) -> None:
    """y[i] = x[i] * table[i % len(table)] + shift, for i from first to end."""
    for i in range(first, end):
        y[i] = x[i] * table[i % len(table)] + shift


@kernel()
def _row_sums(x, y) -> None:
    for r in range(x.shape[0]):
        total = x.dtype.type(0)
        for i in range(x.shape[1]):
            total += x[r, i]
        y[r] = total


@kernel()
def _checked(x, y):
    """y = x; says which is the first row with a negative number."""
    for r in range(x.shape[0]):
        for i in range(x.shape[1]):
            if x[r, i] < 0:
                return r + 1
            y[r, i] = x[r, i]
    return 0


@kernel()
def _filled(value, y) -> None:
    for i in range(len(y)):
        y[i] = value


def up(values):
    return copy_of(np.ascontiguousarray(values), CUDA)


def down(array):
    return on_host(array)


def empty(*shape, dtype=np.float32):
    return cuda_device(0).empty(shape, np.dtype(dtype))


@settings(deadline=None, max_examples=30)
@given(st.integers(1, 40), st.integers(1, 3), st.integers(1, 5), st.integers(-3, 3))
def test_parts_cover_what_the_whole_does(count, width, length, shift):
    """`width` elements a part, with a table of the host among the arguments."""
    size = count * width
    x = np.random.default_rng(size).uniform(-1, 1, size).astype(np.float32)
    table = np.arange(length, dtype=np.float32)
    there = up(x)
    whole, parts = empty(size), empty(size)

    def make(target):
        return lambda a, b: _shifted(there, table, shift, a * width, b * width, target)

    run_launch(make(whole)(0, count))
    launch = spread(make(parts)(0, count), count, make(parts))
    assert launch.work.alone == (count == 1)
    run_launch(launch)
    np.testing.assert_array_equal(down(parts), down(whole))
    np.testing.assert_allclose(down(parts), x * np.resize(table, size) + shift, rtol=1e-6)


@settings(deadline=None, max_examples=20)
@given(st.integers(1, 12), st.integers(0, 5))
def test_rows(rows, inner):
    x = np.random.default_rng(rows).uniform(-1, 1, (rows, inner)).astype(np.float32)
    y = empty(rows)
    launch = by_rows(_row_sums, up(x), y)
    assert launch.work.count == rows
    run_launch(launch)
    np.testing.assert_allclose(down(y), x.sum(1), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("dtype", ["float32", "float64", "int32", "int8", "bool", "uint64"])
def test_scalars_of_every_type_stay_what_they_are(dtype):
    y = empty(5, dtype=dtype)
    value = np.dtype(dtype).type(1)
    run_launch(divisible(5, 1, lambda a, b: _filled(value, y[a:b])))
    np.testing.assert_array_equal(down(y), np.ones(5, dtype))


@pytest.mark.parametrize("count", [2, 3, 4, 9])
@pytest.mark.parametrize("dtype", ["float32", "float64", "int64", "int32"])
def test_numbers_that_change_from_part_to_part(count, dtype):
    """Bits of a float do not grow as it does: with two parts they seem to."""
    y = empty(count, dtype=dtype)
    of = np.dtype(dtype).type

    def make(first, end):
        return _filled(of(first), y[first:end])

    launch = spread(make(0, count), count, make)
    assert launch.work.alone == (dtype != "int64")
    if not launch.work.alone:
        run_launch(launch)
        np.testing.assert_array_equal(down(y), np.arange(count).astype(dtype))


def test_parts_that_are_not_alike_are_one_threads_work():
    x, y = up(np.arange(6, dtype=np.float32)), empty(6)
    tables = [np.arange(1, 2 + k, dtype=np.float32) for k in range(6)]

    def uneven(first, end):
        return _shifted(x, tables[0], 0, first * first, end * end, y)

    def another_table(first, end):
        return _shifted(x, tables[first] if end - first == 1 else tables[0], 0, first, end, y)

    for make, count in ((uneven, 6), (another_table, 6)):
        assert spread(make(0, count), count, make).work.alone


def test_the_same_table_made_anew_is_the_same_table():
    x, y = up(np.arange(6, dtype=np.float32)), empty(6)

    def make(first, end):
        return _shifted(x, np.array([2], np.float32), 1, first, end, y)

    launch = divisible(6, 1, make)
    assert not launch.work.alone
    run_launch(launch)
    np.testing.assert_array_equal(down(y), 2 * np.arange(6) + 1)


def test_parts_in_parts_stay_whole():
    """What has parts of its own already is not cut once more."""
    x = np.random.default_rng(1).uniform(-1, 1, (4, 3, 2)).astype(np.float32)
    there, y = up(x), empty(4, 3)

    def make(first, end):
        rows = 3 * (end - first)
        return by_rows(_row_sums, there[first:end].reshape(rows, 2), y[first:end].reshape(rows))

    run_launch(divisible(4, 1, make))
    np.testing.assert_allclose(down(y), x.sum(2), rtol=1e-6)


def test_split_gives_a_device_one_launch():
    x, table, y = up(np.ones(9, np.float32)), np.ones(1, np.float32), empty(9)
    launches = split(9, 1e9, lambda a, b: _shifted(x, table, 1, a, b, y))
    assert len(launches) == 1
    run_launch(launches[0])
    assert (down(y) == 2).all()


# ---------------------------------------------------------------- what goes wrong


def _explain(status):
    return ValueRangeError(f"row {status - 1} is negative")


@settings(deadline=None, max_examples=20)
@given(st.integers(1, 30), st.sets(st.integers(0, 29), max_size=4))
def test_the_first_failing_part_is_named(rows, wrong):
    wrong = {r for r in wrong if r < rows}
    x = np.ones((rows, 2), np.float32)
    x[sorted(wrong), 1] = -1
    y = empty(rows, 2)
    launch = by_rows(_checked, up(x), y, explain=_explain)
    assert launch.work.fails
    if not wrong:
        run_launch(launch)
        np.testing.assert_array_equal(down(y), x)
        return
    for _ in range(2):
        with pytest.raises(ValueRangeError, match=f"row {min(wrong)} is negative"):
            run_launch(launch)
    right = [r for r in range(rows) if r not in wrong]
    np.testing.assert_array_equal(down(y)[right], x[right])


def _says_nothing(x):
    x[0] = 1


def _says_none(x):
    if x[0] > 1:
        return
    x[0] = 1
    return


def _says_zero(x):
    x[0] = 1
    return 0


def _says_sometimes(x):
    if x[0] > 1:
        return 3
    x[0] = 1
    return 0


def _says_what_another_says(x):
    return _says_sometimes(x)


@pytest.mark.parametrize(
    ("function", "fails"),
    [
        (_says_nothing, False),
        (_says_none, False),
        (_says_zero, True),
        (_says_sometimes, True),
        (_says_what_another_says, True),
    ],
)
def test_who_reports_something(function, fails):
    """Annotations may be missing: a status that nobody reads would be an error that is lost."""
    assert codes.Code(function, (), ()).fails == fails


def test_arrays_of_two_devices():
    far = cuda_device(1).empty((2, 2), np.dtype(np.float32))
    with pytest.raises(RegistrationError, match="'_row_sums' was given arrays of several devices"):
        _row_sums(far, empty(2))


def test_the_host_refuses_a_devices_launch():
    launch = by_rows(_row_sums, up(np.ones((2, 2), np.float32)), empty(2))
    table = service("table")([launch])
    assert table.run(1) != 0
