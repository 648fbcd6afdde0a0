"""Gradient rules of functions of elements, special values, and numbers that change between runs."""

import numpy as np
import pytest

import caffe2py.core  # noqa: F401
from caffe2py.errors import NoGradientError, ValueRangeError
from caffe2py.executor.workspace import Workspace
from caffe2py.proto.args import make_argument
from caffe2py.proto.caffe2_pb2 import NetDef, OperatorDef
from caffe2py.registry.operator import lookup


def op(type_, inputs, outputs, **args):
    made = OperatorDef(type=type_, input=inputs, output=outputs)
    made.arg.extend(make_argument(name, value) for name, value in args.items())
    return made


def backward(forward, dy="dY"):
    return lookup(forward.type).gradient_of(forward, [dy])


def steps(gradient):
    return [f"{o.type}({', '.join(o.input)}) -> {', '.join(o.output)}" for o in gradient.ops]


def run(made, **blobs):
    workspace = Workspace()
    for name, value in blobs.items():
        workspace.feed(name, value)
    workspace.run_operator_once(made)
    return workspace.fetch(made.output[0])


def number(operator, name):
    return next(a.f if a.HasField("f") else a.i for a in operator.arg if a.name == name)


# ---------------------------------------------------------------- gradient rules


def test_pow_gradient_of_a_number():
    gradient = backward(op("Pow", ["X"], ["Y"], exponent=3.0))
    assert steps(gradient) == [
        "Pow(X) -> X_grad",
        "Mul(X_grad, dY) -> X_grad",
        "Scale(X_grad) -> X_grad",
    ]
    assert number(gradient.ops[0], "exponent") == 2
    assert number(gradient.ops[2], "scale") == 3
    assert gradient.input_grads == ("X_grad",)


def test_pow_gradient_of_a_tensor():
    gradient = backward(op("Pow", ["X", "E"], ["Y"]))
    assert steps(gradient) == [
        "ConstantFill(E) -> E_grad",
        "Sub(E, E_grad) -> E_grad",
        "Pow(X, E_grad) -> X_grad",
        "Mul(X_grad, dY) -> X_grad",
        "Mul(X_grad, E) -> X_grad",
        "Log(X) -> E_grad_autogen_pre_red",
        "Mul(E_grad_autogen_pre_red, Y) -> E_grad_autogen_pre_red",
        "Mul(E_grad_autogen_pre_red, dY) -> E_grad",
    ]
    assert not any(o.arg for o in gradient.ops[1:])
    assert gradient.input_grads == ("X_grad", "E_grad")


def test_pow_gradient_with_the_old_broadcasting():
    gradient = backward(op("Pow", ["X", "E"], ["Y"], broadcast=1, axis=1))
    assert steps(gradient)[-2:] == [
        "Mul(E_grad_autogen_pre_red, dY) -> E_grad_autogen_pre_red",
        "SumReduceLike(E_grad_autogen_pre_red, E) -> E_grad",
    ]
    power, like = gradient.ops[2], gradient.ops[-1]
    assert [a.name for a in power.arg] == ["broadcast", "axis", "axis_str", "order"]
    assert [a.name for a in like.arg] == ["axis", "axis_str", "order"]
    assert number(power, "axis") == number(like, "axis") == 1


def test_square_gradient_doubles_that_of_the_output():
    gradient = backward(op("Sqr", ["X"], ["Y"]))
    assert steps(gradient) == ["Scale(dY) -> dY", "Mul(dY, X) -> X_grad"]


@pytest.mark.parametrize("type_", ["Sqr", "Pow"])
def test_without_a_gradient_of_the_output(type_):
    with pytest.raises(NoGradientError, match="reads dY"):
        backward(op(type_, ["X"], ["Y"], exponent=2.0), None)


def test_weighted_sum_gradient_lists_tensors_before_weights():
    inputs = ["A", "v", "B", "w"]
    gradient = backward(op("WeightedSum", inputs, ["Y"]))
    assert steps(gradient) == ["WeightedSumGradient(dY, A, v, B, w) -> A_grad, B_grad"]
    assert gradient.input_grads == ("A_grad", None, "B_grad", None)
    gradient = backward(op("WeightedSum", inputs, ["Y"], grad_on_w=1))
    assert list(gradient.ops[0].output) == ["A_grad", "B_grad", "v_grad", "w_grad"]
    assert gradient.input_grads == ("A_grad", "v_grad", "B_grad", "w_grad")
    assert backward(op("WeightedSum", inputs, ["Y"]), None).ops == ()


@pytest.mark.parametrize(
    ("forward", "expected"),
    [
        (op("ReduceBackSum", ["X"], ["Y"]), "ReduceBackSumGradient(dY, X) -> X_grad"),
        (op("ReduceBackSum", ["X", "n"], ["Y"]), "ReduceBackSumGradient(dY, X, n) -> X_grad"),
        (op("ReduceSum", ["X"], ["Y"]), "ReduceSumGradient(dY, X, Y) -> X_grad"),
        (op("Tile", ["X", "n"], ["Y"]), "TileGradient(dY, n) -> X_grad"),
        (op("Max", ["X", "Z"], ["Y"]), "MaxGradient(Y, dY, X, Z) -> X_grad, Z_grad"),
        (op("LpNorm", ["X"], ["Y"]), "LpNormGradient(X, dY) -> X_grad"),
        (op("SumElements", ["X"], ["Y"]), "SumElementsGradient(X, dY) -> X_grad"),
    ],
    ids=lambda value: value.type + str(len(value.input)) if isinstance(value, OperatorDef) else "",
)
def test_order_of_what_a_gradient_reads(forward, expected):
    assert steps(backward(forward)) == [expected]


# ---------------------------------------------------------------- special values


@pytest.mark.parametrize("type_", ["LeakyRelu", "Elu"])
def test_a_slope_of_zero_is_that_of_relu(type_):
    x = np.float32([-3, -0.5, 0, 0.5, 3])
    y = run(op(type_, ["X"], ["Y"], alpha=0.0), X=x)
    dx = run(op(f"{type_}Gradient", ["Y", "dY"], ["dX"], alpha=0.0), Y=y, dY=np.full_like(x, 7))
    assert dx.tolist() == [0, 0, 0, 7, 7]


def test_infinite_values_have_their_slope():
    x = np.float32([-np.inf, np.inf])
    assert run(op("LeakyRelu", ["X"], ["Y"]), X=x).tolist() == [-np.inf, np.inf]
    gradient = op("LeakyReluGradient", ["Y", "dY"], ["dX"])
    assert run(gradient, Y=np.float32([-1, 1]), dY=x).tolist() == [-np.inf, np.inf]


def test_nan_in_extrema():
    x = np.float32([[np.nan, 1, 0], [1, np.nan, 2], [-np.inf, np.inf, np.nan]])
    found = run(op("ReduceMax", ["X"], ["Y"], axes=[1], keepdims=0), X=x)
    np.testing.assert_array_equal(found, np.float32([np.nan, 2, np.inf]))
    found = run(op("ReduceMin", ["X"], ["Y"], axes=[0], keepdims=0), X=x)
    np.testing.assert_array_equal(found, np.float32([np.nan, 1, 0]))
    assert run(op("ArgMax", ["X"], ["I"], keepdims=0), X=x).tolist() == [0, 2, 1]


def test_whole_numbers_are_averaged_toward_zero():
    x = np.int32([[-7, 2], [7, 0]])
    assert run(op("ReduceBackMean", ["X"], ["Y"]), X=x).tolist() == [-2, 3]


# ---------------------------------------------------------------- contents that change


def test_lengths_are_read_in_every_run():
    workspace = Workspace()
    workspace.feed("X", np.float32([[1, 2, 3], [4, 5, 6]]))
    workspace.feed("n", np.int32([1, 2]))
    made = [op("ReduceBackMean", ["X", "n"], ["Y"]), op("Copy", ["Y"], ["Z"])]
    workspace.create_net(NetDef(name="net", op=made))
    for lengths, expected in (([1, 2], [1, 4.5]), ([3, 0], [2, 0]), ([2, 3], [1.5, 5])):
        workspace.feed("n", np.int32(lengths))
        workspace.run_net("net")
        assert workspace.fetch("Z").tolist() == expected
    workspace.feed("n", np.int32([1, 4]))
    with pytest.raises(ValueRangeError, match=r"lengths\[1\] is 4, expected 0 to 3"):
        workspace.run_net("net")


def test_tile_follows_its_inputs():
    workspace = Workspace()
    workspace.feed("X", np.float32([[1, 2]]))
    workspace.feed("tiles", np.int32([1]))
    workspace.feed("axis", np.int32([0]))
    tile = op("Tile", ["X", "tiles", "axis"], ["Y"])
    back = op("TileGradient", ["Y", "tiles", "axis"], ["dX"])
    workspace.create_net(NetDef(name="net", op=[tile, back]))
    for tiles, axis, expected in (
        (2, 0, [[1, 2], [1, 2]]),
        (2, 1, [[1, 2, 1, 2]]),
        (3, 1, [[1, 2] * 3]),
    ):
        workspace.feed("tiles", np.int32([tiles]))
        workspace.feed("axis", np.int32([axis]))
        workspace.run_net("net")
        assert workspace.fetch("Y").tolist() == expected
        assert workspace.fetch("dX").tolist() == [[tiles, 2 * tiles]]
