"""Gradients through If, against what the branches compute."""

import numpy as np
import pytest

from caffe2py import core, workspace
from caffe2py.errors import NetError


@pytest.fixture(autouse=True)
def _clean():
    workspace.ResetWorkspace()


def branch(name, *ops):
    made = core.Net(name)
    for type_, inputs, output in ops:
        getattr(made, type_)(inputs, output)
    return made.Proto()


def gradient_of_x(made):
    x = np.arange(1, 5, dtype=np.float32)
    workspace.FeedBlob("x", x)
    gradients = made.AddGradientOperators(["z"])
    found = []
    for condition in (True, False):
        workspace.FeedBlob("c", np.array([condition]))
        workspace.RunNetOnce(made)
        found.append(workspace.FetchBlob(str(gradients["x"])).tolist())
    return x, found


def test_what_a_branch_overwrites_has_no_part():
    made = core.Net("overwrites")
    made.Copy("x", "y")
    made.If(["c", "x", "y"], ["y"], then_net=branch("sqr", ("Sqr", "x", "y")))
    made.SumElements("y", "z")
    x, found = gradient_of_x(made)
    assert found == [(2 * x).tolist(), [1, 1, 1, 1]]


def test_both_branches_overwrite():
    made = core.Net("both")
    made.Negative("x", "y")
    then, other = branch("a", ("Sqr", "x", "y")), branch("b", ("Copy", "x", "y"))
    made.If(["c", "x", "y"], ["y"], then_net=then, else_net=other)
    made.SumElements("y", "z")
    x, found = gradient_of_x(made)
    assert found == [(2 * x).tolist(), [1, 1, 1, 1]]


def test_what_a_branch_reads_must_be_an_input():
    made = core.Net("hidden")
    made.If(["c"], ["y"], then_net=branch("hides", ("Sqr", "x", "y")))
    made.SumElements("y", "z")
    with pytest.raises(NetError, match=r"reads 'x', which is no input .* add 'x' to the inputs"):
        made.AddGradientOperators(["z"])
