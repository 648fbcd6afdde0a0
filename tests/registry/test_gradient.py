"""Gradient rules as text: the operators and names they make."""

import pytest

import caffe2py.core  # noqa: F401
from caffe2py.errors import NoGradientError, RegistrationError
from caffe2py.proto.args import make_argument
from caffe2py.proto.caffe2_pb2 import DeviceOption, OperatorDef
from caffe2py.registry.gradient import Gradient, GradientSlice, TakesSlices, TextRule
from caffe2py.registry.operator import Operator, lookup
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
    assert [(a.name, a.i, a.f) for a in gradient.ops[0].arg] == [("value", 0, 0), ("alpha", 2, 0)]
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


def test_a_slice_of_what_is_there():
    gradient = TextRule(Schema("Gather", "X, I -> Y"), "dX = slice(I, dY)")(FORWARD, ["g"])
    assert gradient.ops == ()
    assert gradient.input_grads == (GradientSlice("w", "g"), None)


def test_a_slice_of_what_operators_make():
    text = (
        "FGradient(dY, W) -> dX_values\nIndices(X) -> dX_indices\ndX = slice(dX_indices, dX_values)"
    )
    gradient = TextRule(SCHEMA, text)(FORWARD, ["g"])
    assert lines(gradient) == ["FGradient(g,w)->x_grad_values", "Indices(x)->x_grad_indices"]
    assert gradient.input_grads == (GradientSlice("x_grad_indices", "x_grad_values"), None)


def test_a_slice_needs_the_gradient_of_the_output():
    rule = TextRule(Schema("Gather", "X, I -> Y"), "dX = slice(I, dY)")
    with pytest.raises(NoGradientError, match=r"F: the gradient .* reads dY"):
        rule(FORWARD, [None])


def test_inputs_of_which_only_the_shape_is_read():
    gradient = TextRule(SCHEMA, "FGradient(X.shape, W, dY) -> dX, dW")(FORWARD, ["g"])
    assert lines(gradient) == ["FGradient(x,w,g)->x_grad,w_grad"]
    assert gradient.shapes == {"x"}


@pytest.mark.parametrize(
    "text",
    [
        "dX = slice(I, dY)",
        "dQ = slice(X, dY)",
        "dX = slice(X)",
        "F(Z.shape) -> dX",
        "F(X) -> dX_rows",
    ],
)
def test_texts_that_make_no_sense(text):
    with pytest.raises(RegistrationError):
        TextRule(SCHEMA, text)


def test_sparse_output_gradients_are_for_rules_that_take_them():
    grads = [GradientSlice("i", "v")]
    with pytest.raises(NoGradientError, match=r"of its output 'y' is sparse .* Relu takes a dense"):
        lookup("Relu").gradient_of(OperatorDef(type="Relu", input=["x"], output=["y"]), grads)
    rule = TakesSlices(lambda op, found: Gradient((), tuple(found)))
    assert Operator(SCHEMA, None, rule, "here").gradient_of(FORWARD, grads).input_grads == (*grads,)
