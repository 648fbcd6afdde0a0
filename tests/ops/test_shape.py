"""Reshaping in place moves nothing; gradients of Concat, Split and Reshape; nets that run again."""

import numpy as np
import pytest

import caffe2py.core  # noqa: F401
from caffe2py.errors import NoGradientError, ShapeError
from caffe2py.executor.workspace import Workspace
from caffe2py.proto.args import make_argument
from caffe2py.proto.caffe2_pb2 import NetDef, OperatorDef
from caffe2py.registry.operator import lookup

F4 = np.arange(6, dtype=np.float32).reshape(2, 3)
WORDS = np.array([[b"a", b"b", b"c"], [b"d", b"e", b"f"]], object)


def op(type_, inputs, outputs, **args):
    arg = [make_argument(name, value) for name, value in args.items()]
    return OperatorDef(type=type_, input=inputs, output=outputs, arg=arg)


def net(*ops, type_=""):
    return NetDef(name="net", op=ops, type=type_)


IN_PLACE = [
    (op("Reshape", ["X"], ["X", "old"], shape=[3, -1]), (3, 2)),
    (op("Reshape", ["X", "new"], ["X", "old"]), (6,)),
    (op("ExpandDims", ["X"], ["X"], dims=[1]), (2, 1, 3)),
    (op("StopGradient", ["X"], ["X"]), (2, 3)),
    (op("NegateGradient", ["X"], ["X"]), (2, 3)),
]


@pytest.mark.parametrize("kind", ["", "reference"])
@pytest.mark.parametrize("values", [F4, WORDS], ids=["numbers", "strings"])
@pytest.mark.parametrize(("change", "shape"), IN_PLACE, ids=lambda p: getattr(p, "type", ""))
def test_in_place_elements_stay_where_they_are(change, shape, values, kind):
    workspace = Workspace()
    workspace.feed("X", values)
    workspace.feed("new", np.array([6]))
    address = workspace.blob("X").array.ctypes.data
    workspace.run_net_once(net(change, type_=kind))
    array = workspace.blob("X").array
    assert array.ctypes.data == address
    assert np.array_equal(array, values.reshape(shape))


def test_squeeze_in_place():
    workspace = Workspace()
    workspace.feed("X", F4[:, None])
    address = workspace.blob("X").array.ctypes.data
    workspace.run_net_once(net(op("Squeeze", ["X"], ["X"], dims=[1])))
    assert workspace.blob("X").array.ctypes.data == address
    assert np.array_equal(workspace.fetch("X"), F4)


def test_in_place_without_a_launch():
    workspace = Workspace()
    workspace.feed("X", F4)
    workspace.create_net(net(op("ExpandDims", ["X"], ["X"], dims=[0])))
    workspace.run_net("net")
    assert workspace.net("net").operators[0].launches == ()


def test_in_place_on_memory_of_another_blob():
    """An alias has no storage of its own to grow in: its elements must not be lost."""
    workspace = Workspace()
    workspace.feed("X", F4)
    reshape = op("Reshape", ["Y"], ["Y", "old"], shape=[6])
    workspace.run_net_once(net(op("Alias", ["X"], ["Y"]), reshape))
    assert np.array_equal(workspace.fetch("Y"), F4.reshape(6))
    assert np.array_equal(workspace.fetch("X"), F4)


@pytest.mark.parametrize("values", [F4, WORDS], ids=["numbers", "strings"])
def test_a_net_that_reshapes_its_own_blob_runs_again(values):
    workspace = Workspace()
    made = net(
        op("Copy", ["X"], ["Y"]),
        op("Reshape", ["Y"], ["Y", "old"], shape=[0, 1, -1]),
        op("Copy", ["Y"], ["Z"]),
    )
    workspace.feed("X", values)
    workspace.create_net(made)
    for turned in (values, values[::-1], np.concatenate([values, values]), values):
        workspace.feed("X", turned)
        for _ in range(2):
            workspace.run_net("net")
            assert np.array_equal(workspace.fetch("Z"), turned[:, None])
            assert workspace.fetch("old").tolist() == list(turned.shape)


def test_reshape_follows_its_shape_tensor():
    workspace = Workspace()
    workspace.feed("X", F4)
    workspace.feed("new", np.array([3, 2]))
    made = net(op("Reshape", ["X", "new"], ["Y", "old"]), op("Copy", ["Y"], ["Z"]))
    workspace.create_net(made)
    for shape in ([3, 2], [6, 1], [1, -1]):
        workspace.feed("new", np.array(shape))
        workspace.run_net("net")
        assert np.array_equal(workspace.fetch("Z"), F4.reshape(shape))
    workspace.feed("new", np.array([4, 2]))
    with pytest.raises(ShapeError, match="6 elements do not fit"):
        workspace.run_net("net")


@pytest.mark.parametrize("shape", [(2, 3), (), (0, 3)])
def test_reshape_and_back(shape):
    """The gradient of a scalar goes through an empty shape tensor."""
    x = np.ones(shape, np.float32)
    forward = op("Reshape", ["X"], ["Y", "old"], shape=[-1])
    gradient = lookup("Reshape").gradient_of(forward, ["Y_grad", None])
    assert gradient.input_grads == ("X_grad",)
    (back,) = gradient.ops
    assert list(back.input) == ["Y_grad", "old"]
    assert list(back.output) == ["X_grad", "_X_grad_dims"]
    assert not back.arg
    workspace = Workspace()
    workspace.feed("X", x)
    workspace.run_net_once(net(forward, op("Copy", ["Y"], ["Y_grad"]), back))
    assert np.array_equal(workspace.fetch("X_grad"), x)


def test_transpose_gradient_inverts_the_axes():
    forward = op("Transpose", ["X"], ["Y"], axes=[1, 2, 0])
    (back,) = lookup("Transpose").gradient_of(forward, ["Y_grad"]).ops
    assert list(back.arg[0].ints) == [2, 0, 1]
    (back,) = lookup("Transpose").gradient_of(op("Transpose", ["X"], ["Y"]), ["Y_grad"]).ops
    assert not back.arg


def test_concat_gradient_splits_by_split_info():
    forward = op("Concat", ["A", "B"], ["C", "info"], axis=1)
    gradient = lookup("Concat").gradient_of(forward, ["C_grad", None])
    (back,) = gradient.ops
    assert back.type == "Split"
    assert list(back.input) == ["C_grad", "info"]
    assert list(back.output) == ["A_grad", "B_grad"] == list(gradient.input_grads)
    assert [a.name for a in back.arg] == ["axis"]
    nothing = lookup("Concat").gradient_of(forward, [None, "info_grad"])
    assert nothing.ops == ()
    assert nothing.input_grads == (None, None)


def test_split_gradient_takes_a_missing_part_as_zeros():
    forward = op("Split", ["X"], ["A", "B"], axis=0)
    gradient = lookup("Split").gradient_of(forward, [None, "B_grad"])
    assert [o.type for o in gradient.ops] == ["ConstantFill", "Concat"]
    assert list(gradient.ops[-1].output) == ["X_grad", "_X_grad_dims"]
    workspace = Workspace()
    workspace.feed("X", F4)
    workspace.feed("B_grad", F4[:1])
    workspace.run_net_once(net(forward, *gradient.ops))
    assert workspace.fetch("X_grad").tolist() == [[0, 0, 0], [0, 1, 2]]
    assert lookup("Split").gradient_of(forward, [None, None]).ops == ()


def test_split_by_lengths_that_change():
    workspace = Workspace()
    workspace.feed("X", F4)
    workspace.feed("widths", np.array([1, 2], np.int32))
    workspace.create_net(net(op("Split", ["X", "widths"], ["A", "B"], axis=1)))
    for first in (1, 3, 0, 2):
        workspace.feed("widths", np.array([first, 3 - first], np.int32))
        workspace.run_net("net")
        assert np.array_equal(workspace.fetch("A"), F4[:, :first])
        assert np.array_equal(workspace.fetch("B"), F4[:, first:])


def test_launches_stay_while_lengths_and_shapes_do():
    workspace = Workspace()
    workspace.feed("X", F4)
    workspace.feed("widths", np.array([1, 2], np.int32))
    workspace.create_net(net(op("Split", ["X", "widths"], ["A", "B"], axis=1)))
    (split,) = workspace.net("net").operators
    seen = []
    for x, widths in ((F4, [1, 2]), (F4 + 1, [1, 2]), (F4, [2, 1]), (F4[:1], [2, 1])):
        workspace.feed("X", x)
        workspace.feed("widths", np.array(widths, np.int32))
        workspace.run_net("net")
        assert np.array_equal(workspace.fetch("A"), x[:, : widths[0]])
        seen.append(split.launches)
    assert seen[0] is seen[1]
    assert seen[1] is not seen[2]
    assert seen[2] is not seen[3]


def test_strings_of_a_rerun_are_the_new_ones():
    workspace = Workspace()
    workspace.feed("X", WORDS)
    workspace.create_net(net(op("Transpose", ["X"], ["Y"]), op("Copy", ["Y"], ["Z"])))
    for words in (WORDS, WORDS[::-1]):
        workspace.feed("X", words)
        workspace.run_net("net")
        assert np.array_equal(workspace.fetch("Z"), words.T)


def test_alias_is_the_same_memory():
    workspace = Workspace()
    workspace.feed("X", F4)
    workspace.create_net(net(op("Alias", ["X"], ["Y"])))
    workspace.run_net("net")
    workspace.feed("X", F4 + 1)
    assert np.array_equal(workspace.fetch("Y"), F4 + 1)
    workspace.feed("X", np.ones(3, np.float32))
    workspace.run_net("net")
    assert workspace.fetch("Y").tolist() == [1, 1, 1]


def test_cast_gradient_needs_from_type():
    plain = op("Cast", ["X"], ["Y"], to=13)
    with pytest.raises(NoGradientError, match="Cast has no 'from_type'"):
        lookup("Cast").gradient_of(plain, ["Y_grad"])
    known = op("Cast", ["X"], ["Y"], to="double", from_type=1)
    gradient = lookup("Cast").gradient_of(known, ["Y_grad"])
    (back,) = gradient.ops
    assert {a.name: a.i for a in back.arg} == {"to": 1, "from_type": 13}
    workspace = Workspace()
    workspace.feed("Y_grad", F4.astype(np.float64))
    workspace.run_net_once(net(back))
    assert workspace.fetch("X_grad").dtype == np.float32
    assert lookup("Cast").gradient_of(plain, [None]).ops == ()


def test_what_controls_gradients():
    gradient = lookup("NegateGradient").gradient_of(op("NegateGradient", ["X"], ["Y"]), ["Y_grad"])
    assert [o.type for o in gradient.ops] == ["Negative"]
    gradient = lookup("ZeroGradient").gradient_of(op("ZeroGradient", ["X"], []), [])
    workspace = Workspace()
    workspace.feed("X", F4)
    workspace.run_net_once(net(*gradient.ops))
    assert np.array_equal(workspace.fetch("X_grad"), np.zeros((2, 3), np.float32))
    gradient = lookup("StopGradient").gradient_of(op("StopGradient", ["X"], ["Y"]), ["Y_grad"])
    assert gradient.ops == ()
    assert gradient.input_grads == (None,)
