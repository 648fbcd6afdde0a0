"""Random values for the inputs of nets."""

import numpy as np
import pytest

from caffe2py import core, workspace
from caffe2py.errors import ArgumentError, UsageError


@pytest.fixture
def net():
    workspace.ResetWorkspace()
    made = core.Net("tried")
    made.Concat(["X0", "X1"], ["Y", "sizes"])
    made.Gather(["Y", "I"], ["Z"])
    return made


def test_inputs_that_no_operator_makes_are_filled(net):
    dims = [[(30, 20), (2, 20)], [(5,)]]
    workspace.FillRandomNetworkInputs(net, dims, [["float", "float"], ["int"]])
    x, indices = workspace.FetchBlob("X0"), workspace.FetchBlob("I")
    assert x.shape == (30, 20)
    assert x.dtype == np.float32
    assert 0 <= x.min() < x.max() < 1
    assert indices.shape == (5,)
    assert indices.dtype == np.int32
    assert not workspace.HasBlob("Y")


def test_wrong_numbers_and_types_are_refused(net):
    with pytest.raises(UsageError, match=r"2 operator\(s\), found shapes for 1"):
        workspace.FillRandomNetworkInputs(net, [[(1,)]], [["float"]])
    with pytest.raises(UsageError, match=r"Gather has 1 new input\(s\), found 0 shape"):
        workspace.FillRandomNetworkInputs(net, [[(1, 2), (1, 2)], []], [["float"] * 2, []])
    with pytest.raises(UsageError, match="no random values of type object"):
        workspace.FillRandomNetworkInputs(net, [[(1,), (1,)], [(1,)]], [["string"] * 2, ["int"]])
    with pytest.raises(ArgumentError, match="'x' is not a data type"):
        workspace.FillRandomNetworkInputs(net, [[(1,), (1,)], [(1,)]], [["x"] * 2, ["int"]])
    assert not workspace.HasBlob("X0")
