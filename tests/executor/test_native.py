"""`workspace.C`: gradients of single operators, and the modes of databases."""

import pytest

from caffe2py import core, workspace
from caffe2py.errors import NoGradientError, UsageError
from caffe2py.proto.caffe2_pb2 import OperatorDef

C = workspace.C


def test_modes():
    assert [mode.value for mode in (C.Mode.read, C.Mode.write, C.Mode.new)] == [0, 1, 2]
    assert (C.read, C.write, C.new) == (C.Mode.read, C.Mode.write, C.Mode.new)
    assert {"Mode", "read", "get_gradient_defs"} <= set(dir(C))


def wrapped(**parts):
    wrapper = C.GradientWrapper()
    for name, value in parts.items():
        setattr(wrapper, name, value)
    return wrapper


def test_a_dense_gradient():
    op = core.CreateOperator("Relu", ["x"], ["y"])
    (made,), (gradient,) = C.get_gradient_defs(op.SerializeToString(), [wrapped(dense="dy")])
    parsed = OperatorDef.FromString(made)
    assert (parsed.type, list(parsed.input)) == ("ReluGradient", ["y", "dy"])
    assert (gradient.dense, gradient.is_dense(), gradient.is_sparse()) == ("x_grad", True, False)
    pair = core.GradientRegistry.GetGradientForOp(op, ["dy"])
    assert pair == ([parsed], ["x_grad"])


def test_sparse_and_missing_gradients():
    op = core.CreateOperator("Gather", ["table", "rows"], ["y"])
    made, (table, rows) = C.get_gradient_defs(op.SerializeToString(), [wrapped(dense="dy")])
    assert made == []
    assert (table.indices, table.values, table.is_sparse()) == ("rows", "dy", True)
    assert rows.is_empty()
    pair = core.GradientRegistry.GetGradientForOp(op, ["dy"])
    assert pair == ([], [core.GradientSlice("rows", "dy"), None])
    sparse = wrapped(indices="i", values="v")
    assert (sparse.is_sparse(), sparse.is_dense(), sparse.is_empty()) == (True, False, False)
    relu = core.CreateOperator("Relu", ["x"], ["y"]).SerializeToString()
    with pytest.raises(NoGradientError, match="is sparse"):
        C.get_gradient_defs(relu, [sparse])


def test_wrong_uses():
    op = core.CreateOperator("ArgMax", ["x"], ["y"]).SerializeToString()
    with pytest.raises(NoGradientError):
        C.get_gradient_defs(op, [wrapped(dense="dy")])
    with pytest.raises(UsageError, match="0 gradients for 1 outputs"):
        C.get_gradient_defs(op, [])
