"""All problems of a model at once."""

import numpy as np
import pytest

import caffe2py.core  # noqa: F401
from caffe2py.errors import (
    ArgumentError,
    ArityError,
    InplaceError,
    MissingBlobError,
    ModelFormatError,
    NetError,
    ShapeError,
    UnknownOperatorError,
    UnsupportedError,
)
from caffe2py.predictor.check import problems
from caffe2py.predictor.load import load_model
from caffe2py.proto.caffe2_pb2 import PROTO_CUDA, NetDef
from caffe2py.tensor.types import TensorType
from tests.toy import PREDICT, net, op


def found(message, **given):
    return problems(load_model(message), given)


def test_nothing_is_wrong():
    assert found(net(op("Relu", "x", "y"), reads="x", gives="y")) == []


def on_cuda():
    made = net(op("StringJoin", "x", "y"))
    made.op[0].device_option.device_type = PROTO_CUDA
    return made


def if_net(inner):
    made = net(op("Relu", "x", "y"))
    argument = made.op[0].arg.add()
    argument.name = "then_net"
    argument.n.CopyFrom(inner)
    return made


def typed(type_):
    made = net(op("Relu", "x", "y"))
    made.type = type_
    return made


CASES = [
    (net(op("Rellu", "x", "y")), UnknownOperatorError, r"op #0 Rellu.*did you mean Relu"),
    (net(op("Add", "x", "y")), ArityError, r"net 'toy', op #0 Add: expected 2 input\(s\)"),
    (net(op("Add", "x u", "y", broadcst=1)), ArgumentError, "did you mean 'broadcast'"),
    (net(op("Add", "x u", "y", broadcast="yes")), ArgumentError, "'broadcast': expected a bool"),
    (net(op("Softmax", "x", "x"), op("LRN", "x", "x")), InplaceError, "op #1 LRN"),
    (on_cuda(), UnsupportedError, r"op #0 StringJoin: .*on the device 'cuda:0'"),
    (if_net(net(op("Rellu", "a", "b"), name="inner")), UnknownOperatorError, "net 'inner', op #0"),
    (typed("fast"), NetError, "has the type 'fast'; known"),
    (net(op("Relu", "b", "c"), op("Relu", "a", "b")), MissingBlobError, "only op #1 Relu makes it"),
    (net(op("Relu", "x", "y"), gives="z"), MissingBlobError, "promises the output 'z'"),
    (net(op("Split", "x", "a a")), NetError, "writes 'a' twice"),
    (PREDICT, ModelFormatError, "init net is missing"),
]


@pytest.mark.parametrize(("message", "error", "match"), CASES)
def test_one_problem(message, error, match):
    import re

    errors = [e for e in found(message) if isinstance(e, error) and re.search(match, str(e))]
    assert len(errors) == 1, [str(e) for e in found(message)]


def test_inference_contradicts():
    floats = [TensorType(np.dtype(np.float32), (n,)) for n in (2, 3)]
    errors = found(net(op("Add", "x y", "z")), x=floats[0], y=floats[1])
    assert [type(e) for e in errors] == [ShapeError]


def test_all_at_once():
    wrong = net(op("Rellu", "x", "y"), op("Add", "y", "z"), op("Nope", "z", "u"), gives="u v")
    kinds = [type(e) for e in found(wrong)]
    assert kinds == [UnknownOperatorError, ArityError, UnknownOperatorError, MissingBlobError]


def test_problems_of_the_init_net_come_first():
    init = net(op("GivenTensorFil", "", "w"), name="init")
    errors = problems(load_model(PREDICT, init))
    assert "net 'init', op #0 GivenTensorFil" in str(errors[0])


def test_given_weights_are_not_missing():
    known = TensorType(np.dtype(np.float32), (3,))
    assert found(PREDICT, w=known, x=known) == []


def test_an_undeclared_input_in_place_is_fine():
    assert found(NetDef(name="n", op=[op("Relu", "x", "x")])) == []
