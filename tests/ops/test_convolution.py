"""The gradient rule of Conv: which outputs and arguments ConvGradient gets."""

import pytest

from caffe2py.errors import NoGradientError
from caffe2py.proto.args import make_argument
from caffe2py.proto.caffe2_pb2 import OperatorDef
from caffe2py.registry.operator import lookup
from tests.ops import table  # noqa: F401  (registers the operators)


def gradient(inputs, grads=("y_grad",), **args):
    op = OperatorDef(type="Conv", input=inputs, output=["y"], engine="CUDNN")
    op.arg.extend(make_argument(name, value) for name, value in {"kernel": 3, **args}.items())
    return lookup("Conv").gradient_of(op, list(grads))


@pytest.mark.parametrize(
    ("inputs", "args", "outputs", "input_grads"),
    [
        ("xwb", {}, "wbx", "xwb"),
        ("xw", {}, "wx", "xw"),
        ("xwb", {"no_gradient_to_input": 1}, "wb", "-wb"),
        ("xw", {"no_gradient_to_input": 1}, "w", "-w"),
    ],
)
def test_outputs(inputs, args, outputs, input_grads):
    made = gradient(list(inputs), **args)
    (op,) = made.ops
    assert op.type == "ConvGradient"
    assert list(op.input) == ["x", "w", "y_grad"]
    assert list(op.output) == [f"{name}_grad" for name in outputs]
    assert made.input_grads == tuple(None if n == "-" else f"{n}_grad" for n in input_grads)
    assert ("no_bias" in [a.name for a in op.arg]) == (len(inputs) == 2)
    assert op.engine == "CUDNN"
    assert op.is_gradient_op


def test_without_a_gradient_of_the_output():
    with pytest.raises(NoGradientError, match="reads dY"):
        gradient(["x", "w"], [None])
