"""Indexing beyond single runs: contents that change, refusals that leave data alone, gradients."""

import numpy as np
import pytest

from caffe2py.errors import NoGradientError, ValueRangeError
from caffe2py.executor.workspace import Workspace
from caffe2py.proto.args import make_argument
from caffe2py.proto.caffe2_pb2 import NetDef, OperatorDef
from caffe2py.registry.gradient import GradientSlice
from caffe2py.registry.operator import lookup
from tests.ops import table  # noqa: F401  (registers the operators)


def _op(type_, inputs, outputs, **args):
    arguments = [make_argument(name, value) for name, value in args.items()]
    return OperatorDef(type=type_, input=inputs, output=outputs, arg=arguments)


def _net(*ops, **feed):
    workspace = Workspace()
    for name, value in feed.items():
        workspace.feed(name, value)
    workspace.create_net(NetDef(name="net", op=ops))
    return workspace


def test_sizes_follow_the_contents_of_inputs():
    workspace = _net(
        _op("SparseToDense", ["I", "V"], ["D"]),
        _op("TopK", ["V", "k"], ["T", "P"]),
        _op("Slice", ["V", "starts", "ends"], ["S"]),
        _op("OneHot", ["I", "n"], ["H"]),
        I=np.array([0, 1]),
        V=np.array([5, 7], np.float32),
        k=np.array([1]),
        starts=np.array([0]),
        ends=np.array([1]),
        n=np.array([2]),
    )
    workspace.run_net("net")
    assert workspace.fetch("D").tolist() == [5, 7]
    for name, value in {"I": [3, 0], "k": [2], "starts": [1], "ends": [-1], "n": [4]}.items():
        workspace.feed(name, np.array(value))
    workspace.run_net("net")
    assert workspace.fetch("D").tolist() == [7, 0, 0, 5]
    assert workspace.fetch("P").tolist() == [1, 0]
    assert workspace.fetch("S").tolist() == [7]
    assert workspace.fetch("H").tolist() == [[0, 0, 0, 1], [1, 0, 0, 0]]


@pytest.mark.parametrize("dtype", ["int32", "int64"])
def test_extreme_indices_are_refused_and_the_net_runs_on(dtype):
    extremes = np.iinfo(dtype)
    workspace = _net(
        _op("Gather", ["X", "I"], ["Y"]),
        _op("ScatterAssign", ["X", "I", "Y"], ["X"]),
        X=np.arange(6, dtype=np.float32).reshape(3, 2),
        I=np.array([2, 1], dtype),
    )
    for wrong in (extremes.min, extremes.max, 3, -4):
        workspace.feed("I", np.array([0, wrong], dtype))
        with pytest.raises(ValueRangeError, match=f"index {wrong} at position 1"):
            workspace.run_net("net")
    workspace.feed("I", np.array([2, 1], dtype))
    workspace.run_net("net")
    assert workspace.fetch("Y").tolist() == [[4, 5], [2, 3]]
    assert workspace.fetch("X").tolist() == [[0, 1], [2, 3], [4, 5]]


def test_the_gradient_of_gather_is_sparse_along_the_first_axis():
    found = lookup("Gather").gradient_of(_op("Gather", ["X", "I"], ["Y"]), ["dY"])
    assert found.ops == ()
    assert found.input_grads == (GradientSlice("I", "dY"), None)
    dense = _op("Gather", ["X", "I"], ["Y"], dense_gradient=1)
    (made,) = lookup("Gather").gradient_of(dense, ["dY"]).ops
    assert (made.type, list(made.input)) == ("SparseToDense", ["I", "dY", "X"])
    other = _op("Gather", ["X", "I"], ["Y"], axis=1)
    (made,) = lookup("Gather").gradient_of(other, ["dY"]).ops
    assert (made.type, list(made.output)) == ("BatchGatherGradient", ["X_grad"])


def test_ensure_dense_makes_a_sparse_gradient_a_tensor():
    rule, op = lookup("EnsureDense"), _op("EnsureDense", ["X"], ["Y"])
    assert rule.gradient_of(op, ["dY"]).input_grads == ("dY",)
    found = rule.gradient_of(op, [GradientSlice("I", "V")])
    assert found.input_grads == ("X_grad",)
    workspace = _net(
        *found.ops,
        X=np.zeros((3, 2), np.float32),
        I=np.array([2, 2]),
        V=np.array([[1, 2], [3, 4]], np.float32),
    )
    workspace.run_net("net")
    assert workspace.fetch("X_grad").tolist() == [[0, 0], [0, 0], [4, 6]]


def test_a_product_with_broadcasting_has_no_gradient():
    op = _op("BatchMatMul", ["A", "B"], ["Y"], broadcast=1)
    with pytest.raises(NoGradientError, match="broadcast=1"):
        lookup("BatchMatMul").gradient_of(op, ["dY"])


def test_a_bias_has_a_gradient_whatever_no_bias_says():
    op = _op("ConvTranspose", ["X", "W", "b"], ["Y"], kernel=2, no_bias=1)
    (made,) = lookup("ConvTranspose").gradient_of(op, ["dY"]).ops
    assert list(made.output) == ["W_grad", "b_grad", "X_grad"]
    assert {arg.name: arg.i for arg in made.arg} == {"kernel": 2, "no_bias": 0}
