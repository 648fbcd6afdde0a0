"""Python steps among compiled ones: run in order, and what they raise arrives."""

import numpy as np
import pytest

from caffe2py.errors import KernelError, ValueRangeError
from caffe2py.kernels.callback import launch_assign, launch_python
from caffe2py.kernels.copy import launch_copy, launch_copy_columns, launch_fill
from caffe2py.kernels.params import RAISED
from caffe2py.kernels.table import Table


def test_python_runs_between_kernels():
    x, y, z = np.arange(4.0), np.zeros(4), np.zeros(4)

    def double():
        y[:] *= 2

    table = Table([launch_copy(x, y), launch_python(double), launch_copy(y, z)])
    for _ in range(3):
        assert table.run() == 0
        assert z.tolist() == [0, 2, 4, 6]


def test_strings_are_those_of_the_run():
    source, target = np.array([b"a", b"b"], object), np.array([b"", b""], object)
    table = Table([launch_assign(target, source[::-1])])
    table.run()
    source[0] = b"new"
    table.run()
    assert target.tolist() == [b"b", b"new"]


@pytest.mark.parametrize("error", [ValueRangeError("no"), KernelError("no")])
def test_errors_are_explained(error):
    def fail():
        raise error

    after = np.zeros(1)
    table = Table([launch_python(fail), launch_fill(np.ones(1), after)])
    status = table.run()
    assert status == RAISED
    assert table.launches[table.stopped].explain(status) is error
    assert after[0] == 0, "what follows does not run"


def test_foreign_errors_are_raised():
    def fail():
        raise KeyboardInterrupt

    table = Table([launch_python(fail)])
    status = table.run()
    with pytest.raises(KeyboardInterrupt):
        table.launches[0].explain(status)


@pytest.mark.parametrize(
    "columns", [(-1, 0, 1), (0, -1, 1), (2, 0, 2), (0, 3, 2), (0, 0, 4), (0, 0, -1)]
)
def test_columns_must_lie_inside(columns):
    first, to, width = columns
    with pytest.raises(RuntimeError, match="cannot copy columns"):
        launch_copy_columns(np.zeros((2, 3)), first, np.zeros((2, 4)), to, width)
