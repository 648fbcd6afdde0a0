"""Types of all blobs of a net, before it runs."""

import numpy as np
import pytest

import caffe2py.core  # noqa: F401
from caffe2py.errors import (
    ArityError,
    MemoryBudgetError,
    ShapeError,
    UnknownOperatorError,
)
from caffe2py.executor.workspace import Workspace
from caffe2py.registry.infer_net import Walk, infer_net
from caffe2py.tensor.types import UNKNOWN, TensorType
from tests.toy import PREDICT, net, op

FLOAT = np.dtype(np.float32)


def floats(*shape):
    return TensorType(FLOAT, shape)


def test_types_of_all_blobs():
    known = {"x": floats(2, 3), "w": floats(3)}
    assert infer_net(PREDICT, known) == known | {"y": floats(2, 3), "z": floats(2, 3)}


def test_what_is_not_known_stays_open():
    found = infer_net(PREDICT, {"x": floats(2, None)})
    assert found["y"] == floats(2, None)
    assert found["z"].dtype in (None, FLOAT)
    assert infer_net(PREDICT, {})["y"].shape is None


def test_a_blob_may_change_its_type():
    chain = net(op("Add", "x w", "x"), op("Relu", "x", "y"))
    found = infer_net(chain, {"x": floats(3), "w": floats(2, 3)})
    assert found["x"] == found["y"] == floats(2, 3)


@pytest.mark.parametrize(
    ("wrong", "known", "error", "match"),
    [
        (op("Add", "x w", "z"), {"x": (2,), "w": (3,)}, ShapeError, "net 'toy', op #1 Add: shapes"),
        (op("Add", "x", "z"), {}, ArityError, "net 'toy', op #1 Add: expected 2"),
        (op("Adde", "x", "z"), {}, UnknownOperatorError, "net 'toy', op #1 Adde: 'Adde'"),
        (
            op("Add", "x w", "z"),
            {"x": (2**40, 1), "w": (1, 2**40)},
            MemoryBudgetError,
            "net 'toy', op #1 Add: shape",
        ),
    ],
)
def test_errors_say_where(wrong, known, error, match):
    types = {name: floats(*shape) for name, shape in known.items()}
    with pytest.raises(error, match=match):
        infer_net(net(op("Relu", "u", "v"), wrong), types)


def test_a_walk_goes_on_after_an_error():
    steps = list(Walk({"x": floats(2)}).steps(net(op("Nope", "x", "y"), op("Relu", "x", "z"))))
    assert isinstance(steps[0].error, UnknownOperatorError)
    assert steps[0].outputs == (UNKNOWN,)
    assert (steps[1].error, steps[1].outputs) == (None, (floats(2),))


def test_a_walk_remembers_across_nets():
    walk = Walk({"x": floats(2)})
    list(walk.steps(net(op("Relu", "x", "y"))))
    list(walk.steps(net(op("Relu", "y", "z"))))
    assert walk.types["z"] == floats(2)


FILLS = [
    op("GivenTensorIntFill", "", "s", shape=[2], values=[3, 4]),
    op("GivenTensorInt64Fill", "", "s", shape=[2], values=[3, 4]),
    op("ConstantFill", "", "s", shape=[2], value=4, dtype=10),
    op("Shape", "x", "s"),
    op("Shape", "x", "s", axes=[1]),
]


@pytest.mark.parametrize("made", FILLS)
def test_contents_that_are_known_are_the_real_ones(made):
    chain = net(made, op("Cast", "s", "t", to="int64"))
    walk = Walk({"x": floats(3, 4)})
    list(walk.steps(chain))
    workspace = Workspace()
    workspace.feed("x", np.zeros((3, 4), np.float32))
    workspace.run_net_once(chain)
    for name in "st":
        actual = workspace.fetch_array(name)
        assert np.array_equal(walk.values[name], actual)
        assert walk.values[name].dtype == actual.dtype


def test_contents_reach_what_needs_them():
    chain = net(
        op("GivenTensorInt64Fill", "", "s", shape=[2], values=[3, 4]),
        op("Reshape", "x s", "y old"),
    )
    assert infer_net(chain, {"x": floats(12)})["y"] == floats(3, 4)
    given = infer_net(net(chain.op[1]), {"x": floats(12)}, {"s": np.array([2, 6])})
    assert given["y"] == floats(2, 6)


def test_contents_are_forgotten_when_they_change():
    walk = Walk({"x": floats(3, 4), "b": TensorType(np.dtype(np.int64), (2,))})
    list(walk.steps(net(op("Shape", "x", "s"), op("Add", "s b", "s"))))
    assert "s" not in walk.values


def test_the_gradient_of_a_concat_has_the_shapes_of_its_inputs():
    made = op("Concat", "a b", "joined sizes", axis=1)
    parts = op("Split", "joined sizes", "da db", axis=1)
    known = {"a": floats(2, 3), "b": floats(2, 5)}
    types = infer_net(net(made, parts), known)
    assert types["da"] == floats(2, 3)
    assert types["db"] == floats(2, 5)
