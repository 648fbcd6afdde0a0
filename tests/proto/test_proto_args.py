"""Arguments <-> Python values."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from caffe2py.errors import ArgumentError
from caffe2py.proto.args import KINDS, find, get_value, make_argument, typed
from caffe2py.proto.caffe2_pb2 import CUDA, Argument, NetDef, OperatorDef, QTensorProto, TensorProto

TENSOR = TensorProto(dims=[1], float_data=[2])
NET = NetDef(name="inner")
OPERATOR = OperatorDef(type="Relu")


@pytest.mark.parametrize(
    ("value", "fields"),
    [
        (3, {"i": 3}),
        (True, {"i": 1}),
        (CUDA, {"i": 1}),
        (2**63 - 1, {"i": 2**63 - 1}),
        (-(2**63), {"i": -(2**63)}),
        (2.5, {"f": 2.5}),
        (1e39, {"f": float("inf")}),  # as Caffe2: no float of 32 bits is that large
        ("é", {"s": "é".encode()}),
        ("", {"s": b""}),
        (b"\xff", {"s": b"\xff"}),
        (bytearray(b"ab"), {"s": b"ab"}),
        ([1, 2], {"ints": [1, 2]}),
        ((True, False), {"ints": [1, 0]}),
        (range(3), {"ints": [0, 1, 2]}),
        (iter([1, 2]), {"ints": [1, 2]}),
        ([1.0, 2.5], {"floats": [1, 2.5]}),
        ([1, 2.5, True], {"floats": [1, 2.5, 1]}),
        (["a", b"b"], {"strings": [b"a", b"b"]}),
        ([], {}),
        (np.zeros(0), {}),
        (np.float32(1.5), {"f": 1.5}),
        (np.int8(-1), {"i": -1}),
        (np.bool_(True), {"i": 1}),
        (np.str_("a"), {"s": b"a"}),
        (np.array(3), {"i": 3}),
        (np.array([[1, 2], [3, 4]]), {"ints": [1, 2, 3, 4]}),
        (np.array([1.5]), {"floats": [1.5]}),
        (np.array([True]), {"ints": [1]}),
        (np.array(["a", "b"]), {"strings": [b"a", b"b"]}),
        ([np.float64(1), np.int32(2)], {"floats": [1, 2]}),
        (Argument(ints=[4, 5]).ints, {"ints": [4, 5]}),
        (TENSOR, {"s": TENSOR.SerializeToString()}),
        (NET, {"n": NET}),
        ([TENSOR], {"strings": [TENSOR.SerializeToString()]}),
        ({"x": 1, "y": 2}, {"strings": [b"x", b"y"]}),
        ({7}, {"ints": [7]}),
        ([NET, NET], {"nets": [NET, NET]}),
        (OPERATOR, {"s": OPERATOR.SerializeToString()}),
        ([OPERATOR], {"strings": [OPERATOR.SerializeToString()]}),
    ],
    ids=lambda value: type(value).__name__,
)
def test_make_argument(value, fields):
    assert make_argument("a", value) == Argument(name="a", **fields)


@pytest.mark.parametrize(
    ("value", "message"),
    [
        (None, "argument 'a' cannot hold a NoneType"),
        (1j, "argument 'a' cannot hold a complex"),
        (NotImplemented, "argument 'a' cannot hold a NotImplementedType"),
        ([[1]], "argument 'a' cannot hold a list of list"),
        ([1, "x"], "argument 'a' cannot hold a list of int, str"),
        ([None], "argument 'a' cannot hold a list of NoneType"),
        (2**63, "argument 'a': an int does not fit in 64 bits"),
        ([0, -(2**63) - 1], "argument 'a': an int does not fit in 64 bits"),
        ([0.5, 10**400], "argument 'a': an int is too large for a float"),
        ("\ud800", "argument 'a': a string is not valid Unicode"),
        (QTensorProto(), "missing required fields"),
    ],
    ids=lambda value: ascii(value)[:30],
)
def test_what_no_argument_holds(value, message):
    with pytest.raises(ArgumentError, match=message):
        make_argument("a", value)


@pytest.mark.parametrize("name", [3, None, "\ud800"])
def test_a_name_is_text(name):
    with pytest.raises(ArgumentError, match="the name of an argument has to be text, not "):
        make_argument(name, 1)


@pytest.mark.parametrize(
    ("argument", "value"),
    [
        (Argument(i=0), 0),
        (Argument(f=0.5), 0.5),
        (Argument(s=b""), b""),
        (Argument(t=TENSOR), TENSOR),
        (Argument(n=NET), NET),
        (Argument(ints=[1]), [1]),
        (Argument(strings=[b"x"]), [b"x"]),
        (Argument(), []),
    ],
    ids=lambda value: type(value).__name__,
)
def test_get_value(argument, value):
    assert get_value(argument) == value
    assert type(get_value(argument)) is type(value)


def test_find():
    op = OperatorDef(arg=[make_argument("a", 1), make_argument("b", 2), make_argument("a", 3)])
    assert find(op, "b").i == 2
    assert find(op, "a").i == 1
    assert find(op, "c") is None
    assert find(NetDef(arg=op.arg), "b").i == 2


VALUES = {
    "int": 2,
    "one": 1,
    "float": 2.0,
    "string": "abc",
    "ints": [1, 2],
    "floats": [0.5],
    "strings": ["a"],
    "tensor": TENSOR,
    "net": NET,
    "tensors": [TENSOR],
    "nets": [NET],
    "empty": [],
}


def _argument(value):
    """As make_argument, but tensors in the fields that files may hold them in."""
    if value == TENSOR:
        return Argument(name="a", t=value)
    if value == [TENSOR]:
        return Argument(name="a", tensors=value)
    return make_argument("a", value)


# Kind -> the values it takes, with what comes out.
ACCEPTED = {
    "int": {"int": 2, "one": 1},
    "float": {"int": 2.0, "one": 1.0, "float": 2.0},
    "bool": {"one": True},
    "string": {"string": "abc"},
    "ints": {"ints": [1, 2], "empty": []},
    "floats": {"ints": [1.0, 2.0], "floats": [0.5], "empty": []},
    "strings": {"strings": ["a"], "empty": []},
    "tensor": {"tensor": TENSOR},
    "net": {"net": NET},
    "tensors": {"tensors": [TENSOR], "empty": []},
    "nets": {"nets": [NET], "empty": []},
}

FOUND = {
    "int": "an int 2",
    "one": "an int 1",
    "float": "a float 2",
    "string": "a string 'abc'",
    "ints": r"a list of ints \(length 2\)",
    "floats": r"a list of floats \(length 1\)",
    "strings": r"a list of strings \(length 1\)",
    "tensor": "a tensor",
    "net": "a net",
    "tensors": r"a list of tensors \(length 1\)",
    "nets": r"a list of nets \(length 1\)",
    "empty": "no value",
}


@pytest.mark.parametrize("value", VALUES)
@pytest.mark.parametrize("kind", KINDS)
def test_typed(kind, value):
    argument = _argument(VALUES[value])
    if value in ACCEPTED[kind]:
        result = typed(argument, kind)
        assert result == ACCEPTED[kind][value]
        assert type(result) is type(ACCEPTED[kind][value])
    else:
        expected = KINDS[kind].replace("(", r"\(").replace(")", r"\)")
        message = rf"^op #0: argument 'a': expected {expected}, found {FOUND[value]}$"
        with pytest.raises(ArgumentError, match=message):
            typed(argument, kind, "op #0")


def test_typed_reads_the_field_asked_for_when_several_are_set():
    argument = Argument(name="a", i=1, f=2.5, floats=[3.5], ints=[4])
    assert typed(argument, "int") == 1
    assert typed(argument, "float") == 2.5
    assert typed(argument, "floats") == [3.5]
    assert typed(argument, "ints") == [4]


@pytest.mark.parametrize(("kind", "value"), [("string", b"\xff"), ("strings", [b"a", b"\xff"])])
def test_text_must_be_utf8(kind, value):
    with pytest.raises(ArgumentError, match="argument 'a': expected text, found bytes that are"):
        typed(make_argument("a", value), kind)


def test_a_long_string_is_not_printed_in_full():
    with pytest.raises(ArgumentError) as caught:
        typed(make_argument("a", "x" * 10_000), "int")
    assert str(caught.value) == f"argument 'a': expected an int, found a string '{'x' * 40}'..."


INTS = st.integers(-(2**63), 2**63 - 1)
FLOATS = st.floats(width=32, allow_nan=False)


@given(INTS | FLOATS | st.binary() | st.lists(INTS) | st.lists(FLOATS) | st.lists(st.binary()))
def test_values_come_back(value):
    assert get_value(make_argument("a", value)) == value
