"""Messages as text."""

import contextlib

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.strategies import SearchStrategy

from caffe2py.errors import Error, ModelFormatError
from caffe2py.proto.args import make_argument
from caffe2py.proto.caffe2_pb2 import (
    Argument,
    DeviceOption,
    ExecutionStep,
    NetDef,
    OperatorDef,
    PlanDef,
    TensorProto,
)
from caffe2py.proto.text import from_text, short, short_net, to_text


def test_to_text_is_readable():
    op = OperatorDef(type="Conv", input=["X", "é"], arg=[make_argument("kernel", 3)])
    assert to_text(NetDef(name="n", op=[op])) == (
        'name: "n"\n'
        "op {\n"
        '  input: "X"\n'
        '  input: "é"\n'
        '  type: "Conv"\n'
        "  arg {\n"
        '    name: "kernel"\n'
        "    i: 3\n"
        "  }\n"
        "}\n"
    )


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('name: "n"', NetDef(name="n")),
        ("name: 'n' # a { comment \" with brackets", NetDef(name="n")),
        ('op < type: "Relu" >', NetDef(op=[OperatorDef(type="Relu")])),
        ('op { type: "{{{" }', NetDef(op=[OperatorDef(type="{{{")])),
        ('external_input: ["a", "b"]', NetDef(external_input=["a", "b"])),
        ('name: "a" "b"', NetDef(name="ab")),
        ("", NetDef()),
    ],
)
def test_from_text(text, message):
    assert from_text(text, NetDef) == message


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ('name: "n"\nopp { }', "line 2: caffe2.NetDef has no field 'opp'"),
        ("op {\n arg {\n  x: 1\n }\n}", "line 3: caffe2.Argument has no field 'x'"),
        ("\nname: 3", "line 2: not a text NetDef: 'name: 3': Expected string but found: '3'"),
        ("op {\n", 'line 1: not a text NetDef: Expected "}".'),
        ('name: "a"\nname: "b"', "line 2: not a text NetDef: .*should not have multiple"),
        ("num_workers: 99999999999", "line 1: not a text NetDef: .*Value out of range"),
        ('name: "\\xff"', "line 1: not a text NetDef: .*Couldn't parse string"),
        ('\n"' + "x" * 5000, r"line 2: not a text NetDef: .{100} \.\.\. .{100}$"),
        ("op {\n" * 101, "line 101: messages are nested more than 100 deep"),
        ("op {" * 10**6, "line 1: messages are nested more than 100 deep"),
        ("op <" * 101, "line 1: messages are nested more than 100 deep"),
        ('name: "\n' + "op {\n" * 101, "line 102: messages are nested more than 100 deep"),
        ("arg { n { " * 51 + "} }" * 51, "nested more than 100 deep"),
        ("op { arg { n { " * 34 + "} } }" * 34, "nested more than 100 deep"),
    ],
    ids=lambda text: text[:20],
)
def test_what_is_no_text_net(text, reason):
    with pytest.raises(ModelFormatError, match=reason):
        from_text(text, NetDef)


def test_braces_in_strings_and_comments_do_not_count():
    text = f"""name: "{"{" * 200}" # {"{" * 200}\ntype: '{"<" * 200}' arg {{ name: "\\"{{" }}"""
    assert from_text(text, NetDef).arg[0].name == '"{'


def test_depth_is_measured_in_linear_time():
    with pytest.raises(ModelFormatError):
        from_text('"' + '\\"' * 300_000, NetDef)


def test_a_text_as_deep_as_allowed():
    text = "op { arg { n { " * 33 + "} } }" * 33
    assert to_text(from_text(text, NetDef)).count("n {") == 33


def test_too_deep_a_message_is_not_written():
    step = ExecutionStep(name="s")
    for _ in range(101):
        outer = ExecutionStep()
        outer.substep.add().CopyFrom(step)
        step = outer
    with pytest.raises(ModelFormatError, match="messages are nested 101 deep, and 100 is the"):
        to_text(step)


def operator(type_="Op", **fields):
    values = fields.pop("args", {})
    arguments = [make_argument(name, value) for name, value in values.items()]
    return OperatorDef(type=type_, arg=arguments, **fields)


@pytest.mark.parametrize(
    ("op", "line"),
    [
        (
            operator("Conv", input=["X", "W", "b"], output=["Y"], args={"kernel": 3, "stride": 2}),
            "Y = Conv(X, W, b; kernel=3, stride=2)",
        ),
        (operator("Print", input=["X"]), "Print(X)"),
        (
            operator("ConstantFill", output=["A"], args={"value": 0.1}),
            "A = ConstantFill(value=0.1)",
        ),
        (operator(args={"a": "x", "b": b"\xff\xff"}), "Op(a='x', b=2 bytes)"),
        (operator(args={"a": []}), "Op(a=[])"),
        (operator(args={"a": list(range(8))}), "Op(a=[0, 1, 2, 3, 4, 5, 6, 7])"),
        (
            operator(args={"a": list(range(9))}),
            "Op(a=[0, 1, 2, 3, 4, 5, 6, 7, ... 9 in all])",
        ),
        (
            operator(input=[f"x{i}" for i in range(20)]),
            "Op(x0, x1, x2, x3, x4, x5, x6, x7, ... 20 in all)",
        ),
        (
            operator(args={f"a{i}": i for i in range(9)}),
            "Op(a0=0, a1=1, a2=2, a3=3, a4=4, a5=5, a6=6, a7=7, ... 9 in all)",
        ),
        (
            OperatorDef(type="Op", arg=[Argument(name="t", t=TensorProto(dims=[2, 3]))]),
            "Op(t=tensor(2, 3))",
        ),
        (operator(args={"n": NetDef(name="inner")}), "Op(n=net 'inner' of 0 operators)"),
        (operator(engine="CUDNN"), "Op() [CUDNN]"),
        (operator(device_option=DeviceOption()), "Op() [cpu]"),
        (
            operator(device_option=DeviceOption(device_type=1, device_id=2), engine="CUDNN"),
            "Op() [CUDNN, cuda:2]",
        ),
        (operator(device_option=DeviceOption(device_type=77)), "Op() [#77:0]"),
        (operator("a\x1b[31m"), "a\\x1b[31m()"),
        (operator("x" * 100), "x" * 57 + "...()"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_short(op, line):
    assert short(op) == line


def test_short_shows_no_more_of_a_text_than_fits():
    assert short(operator(args={"a": "x" * 10_000})) == f"Op(a='{'x' * 57}...')"


def test_short_survives_names_that_are_not_utf8():
    op = OperatorDef.FromString(b"\x0a\x01\xff\x22\x02Op")
    assert short(op) == "Op(�)"


def test_short_net():
    net = NetDef(name="n", type="dag", external_input=["X"], external_output=["Y"])
    net.op.add(type="Relu", input=["X"], output=["Y"])
    assert short_net(net).splitlines() == [
        "net 'n' (dag): 1 operator",
        "  reads X",
        "  gives Y",
        "  #0 Y = Relu(X)",
    ]
    assert short_net(NetDef()) == "net '': 0 operators"


NAMES = st.text(max_size=8)
INTEGERS = st.integers(-(2**63), 2**63 - 1)
FLOATS = st.floats(width=32, allow_nan=False)


def arguments(nets):
    return st.builds(
        make_argument,
        NAMES,
        INTEGERS | FLOATS | st.binary(max_size=8) | st.lists(INTEGERS, max_size=3)
        | st.lists(FLOATS, max_size=3) | nets,
    )  # fmt: skip


def nets_of(inner):
    operators = st.builds(
        OperatorDef,
        type=NAMES,
        input=st.lists(NAMES, max_size=2),
        output=st.lists(NAMES, max_size=2),
        arg=st.lists(arguments(inner), max_size=3),
        engine=NAMES,
    )
    return st.builds(
        NetDef,
        name=NAMES,
        op=st.lists(operators, max_size=3),
        external_input=st.lists(NAMES, max_size=2),
    )


NETS: SearchStrategy[NetDef] = st.recursive(st.builds(NetDef, name=NAMES), nets_of, max_leaves=4)
PLANS = st.builds(PlanDef, name=NAMES, network=st.lists(NETS, max_size=2))


@settings(deadline=None)
@given(NETS | PLANS)
def test_text_and_binary_come_back(message):
    assert from_text(to_text(message), type(message)) == message
    assert type(message).FromString(message.SerializeToString()) == message


@settings(deadline=None)
@given(st.text(alphabet="{}<>[]:\"'\\#\n opargnt19.-", max_size=60))
def test_no_text_escapes_our_errors(text):
    with contextlib.suppress(Error):
        from_text(text, NetDef)
