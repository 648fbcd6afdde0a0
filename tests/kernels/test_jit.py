"""Kernels: argument layout, literals, statuses, what is refused, and the cache of objects."""

import os
import stat
import subprocess
import sys

import numpy as np
import pytest

from caffe2py.errors import KernelError, RegistrationError, ValueRangeError
from caffe2py.kernels.elementwise import launch_map
from caffe2py.kernels.jit import Kernel, callable_at, fingerprint, kernel
from caffe2py.kernels.table import Table


def run(launch):
    return callable_at(launch.address)(launch.block.ctypes.data)


@kernel()
def weighted(x, y, scale, offset, flag):
    for i in range(x.shape[0]):
        for j in range(x.shape[1]):
            y[i, j] = x[i, j] * scale + (offset if flag else 0)


@kernel()
def first_negative(x):
    for i in range(x.size):
        if x[i] < 0:
            return i + 1
    return 0


@kernel()
def raises(x):
    if x.size == 3:
        raise ValueError("never seen")


def allocate(x):
    y = np.zeros(x.size)
    x[0] = y.sum()


def strided_view(x, y):
    rows = x.size // 2
    for i in range(rows):
        part = x[2 * i : 2 * i + 2]
        y[i] = part[0] + part[1]


def half(x):
    return 0.5 * x * (1 + x / 3)


@pytest.mark.parametrize("dtype", ["f4", "f8", "i4", "i8"])
def test_arrays_and_scalars_arrive(dtype):
    x = np.arange(6, dtype=dtype).reshape(2, 3)
    y = np.empty_like(x)
    for flag in (True, False):
        assert run(weighted(x, y, x.dtype.type(2), 5, flag)) == 0
        assert np.array_equal(y, x * 2 + (5 if flag else 0))


def test_a_status_of_the_kernel_is_explained():
    x = np.array([1, 2, -3], np.float32)
    launch = first_negative(x, explain=lambda status: ValueRangeError(f"x[{status - 1}] < 0"))
    status = run(launch)
    assert status == 3
    assert str(launch.explain(status)) == "x[2] < 0"


def test_an_exception_in_a_kernel_is_a_status_and_not_the_end():
    assert run(raises(np.zeros(2))) == 0
    launch = raises(np.zeros(3))
    assert run(launch) == -1
    assert "kernel 'raises'" in str(launch.explain(-1))


def test_a_kernel_that_allocates_is_refused():
    with pytest.raises(RegistrationError, match=r"'allocate' needs .*must not allocate"):
        Kernel(allocate)(np.zeros(3))


def test_slices_do_not_count_as_allocation():
    x, y = np.arange(8.0), np.zeros(4)
    run(Kernel(strided_view)(x, y))
    assert y.tolist() == [1, 5, 9, 13]


def test_strided_arrays_and_odd_arguments_are_refused():
    with pytest.raises(KernelError, match="strided"):
        first_negative(np.zeros(8)[::2])
    with pytest.raises(KernelError, match="a str"):
        first_negative("x")


def test_literals_take_the_element_type():
    x = np.linspace(-3, 3, 1000, dtype=np.float32)
    y = np.empty_like(x)
    run(launch_map(half, [x], y))
    one = np.float32(1)
    assert np.array_equal(y, np.float32(0.5) * x * (one + x / np.float32(3)))


def test_in_place_gives_the_same_bits():
    x = np.linspace(-3, 3, 1001, dtype=np.float32)
    y = np.empty_like(x)
    run(launch_map(half, [x], y))
    run(launch_map(half, [x], x))
    assert np.array_equal(x, y)


def test_fingerprint_follows_what_a_function_reaches():
    def variant(text):
        names = {"np": np}
        exec(text, names)
        return fingerprint(names["loop"])

    helper = "def helper(x):\n    return x + {}\n"
    loop = "def loop(x):\n    return helper(x) * SCALE\n"
    base = variant("SCALE = 2\n" + helper.format(1) + loop)
    assert variant("SCALE = 2\n" + helper.format(1) + loop) == base
    assert variant("SCALE = 3\n" + helper.format(1) + loop) != base
    assert variant("SCALE = 2\n" + helper.format(4) + loop) != base
    table = "TABLE = np.array([{}])\ndef loop(x):\n    return x * TABLE[0]\n"
    assert variant(table.format(1)) != variant(table.format(2))
    kind = "KIND = np.{}\ndef loop(x):\n    return KIND(x)\n"
    assert variant(kind.format("int32")) != variant(kind.format("float32"))


def test_a_table_runs_in_order_and_stops_at_a_status():
    x = np.array([2.0, -1.0])
    y = np.zeros((1, 2))
    rows = [
        weighted(x.reshape(1, 2), y, 1.0, 0, False),
        first_negative(x),
        weighted(x.reshape(1, 2), y, 7.0, 0, False),
    ]
    table = Table(rows)
    assert table.run() == 2
    assert table.stopped == 1
    assert y.tolist() == [[2, -1]]
    assert Table([]).run() == 0


PROGRAM = """
import sys
import numpy as np
from caffe2py.kernels.jit import callable_at, kernel

@kernel()
def twice(x):
    for i in range(x.size):
        x[i] = x[i] + x[i]

x = np.ones(3)
launch = twice(x)
callable_at(launch.address)(launch.block.ctypes.data)
print(x.tolist(), "numba" in sys.modules)
"""


@pytest.fixture
def program(tmp_path):
    def run_program():
        environment = dict(os.environ, CAFFE2PY_CACHE_DIR=str(tmp_path / "objects"))
        done = subprocess.run(
            [sys.executable, "-c", PROGRAM], env=environment, capture_output=True, text=True
        )
        assert done.returncode == 0, done.stderr
        return done

    return run_program


def test_a_second_process_needs_no_numba(program, tmp_path):
    assert program().stdout == "[2.0, 2.0, 2.0] True\n"
    assert program().stdout == "[2.0, 2.0, 2.0] False\n"
    folder = tmp_path / "objects"
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert len(_kernels(folder)) == 1


def _kernels(folder):
    """The compiled kernels in the cache, without what else is kept there."""
    return [path for path in folder.iterdir() if len(path.name) == 40]


@pytest.mark.parametrize(
    "damage", [lambda b: b[:-7], lambda b: b[:50] + b"?" + b[51:], lambda b: b""]
)
def test_a_damaged_object_is_compiled_anew(program, tmp_path, damage):
    program()
    (file,) = _kernels(tmp_path / "objects")
    file.write_bytes(damage(file.read_bytes()))
    assert program().stdout == "[2.0, 2.0, 2.0] True\n"
    assert program().stdout == "[2.0, 2.0, 2.0] False\n"


def test_an_impossible_cache_folder_costs_only_time(program, tmp_path):
    (tmp_path / "objects").write_text("a file where the folder should be")
    assert program().stdout == "[2.0, 2.0, 2.0] True\n"
