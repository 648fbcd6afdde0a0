"""Nets with operators whose launches depend on contents: as one table while nothing changes."""

import numpy as np
import pytest

import caffe2py.core  # noqa: F401
from caffe2py.errors import ValueRangeError
from caffe2py.executor.workspace import Workspace
from tests.toy import net, op

X = np.arange(3, dtype=np.float32)


def created(*ops, **values):
    workspace = Workspace()
    for name, value in values.items():
        workspace.feed(name, value)
    workspace.create_net(net(*ops))
    return workspace


def joined_rows(workspace):
    table = workspace.net("toy").runner._joined._table
    return None if table is None else len(table.launches)


def shape(*sizes):
    return np.array(sizes, np.int64)


EXPAND = (
    op("Negative", "x", "a"),
    op("Expand", "a shape", "b"),
    op("Add", "n b", "n", broadcast=1),
)


def test_repeated_runs_are_one_table():
    workspace = created(*EXPAND, x=X, shape=shape(2, 3), n=np.zeros((2, 3), np.float32))
    workspace.run_net("toy", 1000)
    assert joined_rows(workspace) == 3
    np.testing.assert_array_equal(workspace.fetch("n"), [-1000 * X] * 2)


def test_what_is_fed_in_between_is_seen():
    workspace = created(*EXPAND, x=X, shape=shape(2, 3), n=np.zeros((2, 3), np.float32))
    workspace.run_net("toy", 10)
    workspace.feed("shape", shape(4, 3))
    workspace.feed("n", np.zeros((4, 3), np.float32))
    workspace.run_net("toy", 10)
    np.testing.assert_array_equal(workspace.fetch("n"), [-10 * X] * 4)
    workspace.feed("x", 2 * X)
    workspace.run_net("toy", 10)
    np.testing.assert_array_equal(workspace.fetch("n"), [-30 * X] * 4)


def test_none_for_what_the_net_computes():
    grow = op("Add", "shape one", "shape")
    expand = op("Expand", "x shape", "y")
    one, start = np.array([1, 0], np.int64), shape(1, 3)
    workspace = created(grow, expand, x=X, shape=start, one=one)
    workspace.run_net("toy", 5)
    assert joined_rows(workspace) is None
    assert workspace.fetch("y").shape == (6, 3)


def test_none_for_operators_that_are_python():
    workspace = created(op("Unique", "x", "u"), op("Negative", "u", "y"), x=np.array([3, 3, 1]))
    workspace.run_net("toy", 5)
    assert joined_rows(workspace) is None
    np.testing.assert_array_equal(workspace.fetch("y"), [-1, -3])


def test_errors_name_the_operator():
    gather, count = op("Gather", "x i", "g"), op("Add", "i one", "i")
    expand = op("Expand", "x shape", "y")
    values = {"x": X, "i": shape(0), "one": shape(1), "shape": shape(2, 3)}
    workspace = created(gather, count, expand, **values)
    with pytest.raises(ValueRangeError, match=r"op #0 Gather.*index 3"):
        workspace.run_net("toy", 1000)
    assert workspace.fetch("i") == [3]
