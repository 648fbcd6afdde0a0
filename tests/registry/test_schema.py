"""Schemas: what a declaration may say, and what is refused of a use."""

import numpy as np
import pytest

import caffe2py.core  # noqa: F401
from caffe2py.errors import (
    ArgumentError,
    ArityError,
    InplaceError,
    RegistrationError,
    UnknownOperatorError,
    UnsupportedError,
)
from caffe2py.extend import Arg, elementwise, operator
from caffe2py.proto.args import make_argument
from caffe2py.proto.caffe2_pb2 import OperatorDef
from caffe2py.registry.operator import known_caffe2_operators, lookup, registered
from caffe2py.registry.schema import Schema
from caffe2py.tensor.device import Device


def use(schema, inputs, outputs, gradient=False, **args):
    return schema.verify(
        OperatorDef(
            type=schema.name,
            input=inputs.split(),
            output=outputs.split(),
            arg=[make_argument(k, v) for k, v in args.items()],
            is_gradient_op=gradient,
        )
    )


PLAIN = Schema(
    "Plain",
    "X, W, b? -> Y, mask?",
    args={
        "alpha": Arg(float, 0.01, "slope"),
        "axes": Arg(list[int], None, "axes"),
        "to": Arg((int, str), None, "type"),
        "is_test": Arg(bool, False, "test mode", required=True),
        "values": Arg(list[bytes], None, "texts"),
    },
    inplace={0: 0},
    enforced={1: 1},
)
MANY = Schema("Many", "inputs+ -> out", inplace=lambda i, o: i == o)
EXACT = Schema("Exact", "a?, b?, c? -> Y", input_counts={0, 1, 3})


def test_defaults_and_types():
    args = use(PLAIN, "x w", "y", is_test=1)
    assert (args.alpha, args.axes, args.to, args.is_test) == (0.01, None, None, True)
    args = use(PLAIN, "x w b", "y w", is_test=0, alpha=2, axes=[1, 2], to="float", values=[b"\xff"])
    assert (args.alpha, args.axes, args.to, args.is_test) == (2.0, [1, 2], "float", False)
    assert args.values == [b"\xff"]
    assert use(PLAIN, "x w", "y", is_test=1, to=3).to == 3


BAD_USES = [
    (PLAIN, "x", "y", {}, ArityError, r"expected 2 to 3 input\(s\) \(X, W, b\), found 1: x"),
    (PLAIN, "x w b c", "y", {}, ArityError, "found 4: x, w, b, c"),
    (PLAIN, "x w", "", {}, ArityError, r"expected 1 to 2 output\(s\) \(Y, mask\), found 0: none"),
    (PLAIN, "x w", "w", {}, InplaceError, "output 0 'w' is also input 1, .* allowed: input 0 as"),
    (PLAIN, "x w", "y m", {}, InplaceError, "output 1 must be the same blob as input 1 'w', found"),
    (PLAIN, "x w", "y", {}, ArgumentError, r"argument 'is_test' \(bool\) is required: test mode"),
    (PLAIN, "x w", "y", {"alhpa": 1}, ArgumentError, "no argument 'alhpa'; did you mean 'alpha'"),
    (PLAIN, "x w", "y", {"alpha": "a"}, ArgumentError, "'alpha': expected a float, found a string"),
    (
        PLAIN,
        "x w",
        "y",
        {"axes": 3},
        ArgumentError,
        "'axes': expected a list of ints, found an int",
    ),
    (PLAIN, "x w", "y", {"to": 1.5}, ArgumentError, "'to': expected int or string, found a float"),
    (PLAIN, "x w", "y", {"is_test": 2}, ArgumentError, "expected a bool"),
    (MANY, "", "y", {}, ArityError, "at least 1"),
    (MANY, "a b", "b", {}, InplaceError, "is also input 1"),
    (EXACT, "a b", "y", {}, ArityError, "expected 0 or 1 or 3 input"),
]


@pytest.mark.parametrize(("schema", "inputs", "outputs", "args", "error", "match"), BAD_USES)
def test_bad_uses(schema, inputs, outputs, args, error, match):
    with pytest.raises(error, match=match):
        use(schema, inputs, outputs, **args)


def test_one_argument_with_two_values():
    op = OperatorDef(type="Plain", input=["x", "w"], output=["y"])
    op.arg.extend(make_argument("alpha", value) for value in (1.0, 1.0))
    op.arg.append(make_argument("is_test", 1))
    assert PLAIN.verify(op).alpha == 1.0
    op.arg.append(make_argument("alpha", 2.0))
    with pytest.raises(ArgumentError, match="'alpha' is given twice"):
        PLAIN.verify(op)


def test_arguments_that_nobody_knows_pass():
    use(PLAIN, "x w", "y", is_test=1, exhaustive_search=0)
    use(PLAIN, "x w", "y", gradient=True, is_test=1, alhpa=1)  # copied from a forward operator


def test_a_star_in_an_argument_stands_for_a_number():
    schema = Schema("Op", "X -> Y", {"part_*_size": Arg(int, 1), "part_sizes": Arg(int, 2)})
    args = use(schema, "x", "y", part_0_size=5, part_12_size=7)
    assert (args.part_0_size, args.part_12_size, args.part_sizes) == (5, 7, 2)
    assert args.given == {"part_0_size", "part_12_size"}
    with pytest.raises(ArgumentError, match="expected an int"):
        use(schema, "x", "y", part_0_size="big")
    with pytest.raises(ArgumentError, match="no argument 'part_size'"):
        use(schema, "x", "y", part_size=5)


def test_names_of_slots():
    assert [PLAIN.input_name(k) for k in range(3)] == ["X", "W", "b"]
    assert [MANY.input_name(k) for k in range(3)] == ["inputs[0]", "inputs[1]", "inputs[2]"]


BAD_DECLARATIONS = [
    (lambda: Schema("A", "X Y"), "lacks '->'"),
    (lambda: Schema("A", "X-1 -> Y"), "no input or output name"),
    (lambda: Schema("A", "X?, W -> Y"), "'W' cannot follow 'X'"),
    (lambda: Schema("A", "X*, W -> Y"), "'W' cannot follow 'X'"),
    (lambda: Schema("A", "X -> Y", args={"a": Arg(dict)}), "argument 'a' has type"),
    (lambda: operator("Relu", "X -> Y", doc="again"), r"'Relu' at .*test_schema.py:\d+ is regis"),
    (lambda: operator("TestBad", "X -> Y", doc="d", gradient="G(Z) -> dX"), "names 'Z'; known"),
    (lambda: operator("TestBad", "X -> Y", doc="d", gradient="G(dY)"), "cannot read the gradient"),
    (lambda: operator("TestBad", "X -> Y", doc="d", gradient="G(dY) -> dQ"), "names 'dQ'"),
]


@pytest.mark.parametrize(("declare", "match"), BAD_DECLARATIONS)
def test_bad_declarations(declare, match):
    before = set(registered())
    with pytest.raises(RegistrationError, match=match):
        declare()
    assert set(registered()) == before


def test_parameters_of_an_elementwise_function_are_its_arguments():
    with pytest.raises(RegistrationError, match=r"parameters \['slope'\] are not the arguments"):

        @elementwise("TestUnnamed", "X -> Y", alpha=Arg(float, 1.0, "slope"))
        def unnamed(x, slope):
            """Y = slope * X"""
            return slope * x


def test_lookup_explains_what_it_does_not_find():
    with pytest.raises(
        UnknownOperatorError, match="'Softmaxx' is not a Caffe2 operator; did you m"
    ):
        lookup("Softmaxx")
    lacking = min(known_caffe2_operators() - set(registered()))
    with pytest.raises(UnknownOperatorError, match="is a Caffe2 operator that caffe2py lacks"):
        lookup(lacking)


def test_devices_and_engines():
    relu = lookup("Relu")
    assert relu.kernel(Device(), "CUDNN,NNPACK") is relu.kernel(Device())
    assert relu.kernel(Device("cuda", 1)) is relu.kernel(Device("cuda"))
    with pytest.raises(UnsupportedError, match="'StringJoin' on the device 'cuda:1': it has kern"):
        lookup("StringJoin").kernel(Device("cuda", 1))


def test_an_operator_of_ones_own_in_ten_lines():
    from caffe2py.executor.workspace import Workspace

    if "TestSoftsign2" not in registered():

        @elementwise("TestSoftsign2", "X -> Y", scale=Arg(float, 1.0, "steepness"), inplace={0: 0})
        def softsign2(x, scale):
            """Y = scale * X / (1 + |X|)"""
            return scale * x / (1 + abs(x))

    workspace = Workspace()
    x = np.linspace(-2, 2, 5, dtype=np.float32)
    workspace.feed("x", x)
    arg = make_argument("scale", 3.0)
    workspace.run_operator_once(
        OperatorDef(type="TestSoftsign2", input=["x"], output=["x"], arg=[arg])
    )
    assert np.allclose(workspace.fetch("x"), 3 * x / (1 + abs(x)))
