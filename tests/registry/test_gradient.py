"""Gradient rules as text: the operators and names they make."""

import pytest

import caffe2py.core  # noqa: F401
from caffe2py.errors import NoGradientError
from caffe2py.proto.args import make_argument
from caffe2py.proto.caffe2_pb2 import DeviceOption, OperatorDef
from caffe2py.registry.gradient import TextRule
from caffe2py.registry.operator import lookup
from caffe2py.registry.schema import Schema

FORWARD = OperatorDef(
    type="F",
    input=["x", "w"],
    output=["y"],
    arg=[make_argument("alpha", 2), make_argument("value", 9)],
    device_option=DeviceOption(device_type=1, device_id=2),
    engine="CUDNN",
    name="named",
)
SCHEMA = Schema("F", "X, W, b? -> Y")


def lines(gradient):
    return [f"{o.type}({','.join(o.input)})->{','.join(o.output)}" for o in gradient.ops]


def test_one_operator_keeps_device_engine_and_arguments():
    gradient = TextRule(SCHEMA, "FGradient(X, W, dY) -> dX, dW")(FORWARD, ["y_grad"])
    assert lines(gradient) == ["FGradient(x,w,y_grad)->x_grad,w_grad"]
    assert gradient.input_grads == ("x_grad", "w_grad")
    (op,) = gradient.ops
    assert (op.device_option, op.engine, op.name) == (FORWARD.device_option, "CUDNN", "")
    assert [a.name for a in op.arg] == ["alpha", "value"]
    assert op.is_gradient_op


def test_arguments_of_its_own_replace_the_forward_ones():
    gradient = TextRule(SCHEMA, "ConstantFill(X; value=0.0) -> dX")(FORWARD, ["y_grad"])
    assert [(a.name, a.i, a.f) for a in gradient.ops[0].arg] == [("alpha", 2, 0), ("value", 0, 0)]
    assert gradient.input_grads == ("x_grad", None)


def test_variadic_slots_stand_for_all_their_blobs():
    schema = Schema("Concat", "inputs+ -> C, split_info")
    op = OperatorDef(type="Concat", input=["a", "b", "c"], output=["y", "s"])
    gradient = TextRule(schema, "Split(dC, split_info) -> dinputs")(op, ["g", None])
    assert lines(gradient) == ["Split(g,s)->a_grad,b_grad,c_grad"]
    passed = TextRule(Schema("Sum", "inputs+ -> C"), "dinputs = dC")(op, ["g"])
    assert passed.ops == ()
    assert passed.input_grads == ("g", "g", "g")


def test_several_operators():
    text = "Negative(dY) -> dX\nFGradient(dX, W) -> dW"
    gradient = TextRule(SCHEMA, text)(FORWARD, ["g"])
    assert lines(gradient) == ["Negative(g)->x_grad", "FGradient(x_grad,w)->w_grad"]


def test_a_missing_output_gradient_is_named():
    with pytest.raises(NoGradientError, match=r"F: the gradient .* reads dY"):
        TextRule(SCHEMA, "FGradient(dY) -> dX")(FORWARD, [None])


def test_an_operator_without_gradient_says_why():
    op = OperatorDef(type="ReluGradient", input=["y", "dy"], output=["dx"])
    with pytest.raises(
        NoGradientError, match="ReluGradient has no gradient: no gradient is defined"
    ):
        lookup("ReluGradient").gradient_of(op, ["g"])
