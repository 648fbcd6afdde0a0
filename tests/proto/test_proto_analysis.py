"""Questions about a NetDef that need no operator."""

import pytest

from caffe2py.errors import ModelFormatError
from caffe2py.proto import analysis
from caffe2py.proto.caffe2_pb2 import NetDef, OperatorDef, PlanDef


def make_net(*rows, **fields):
    """A net from rows such as "X W -> Y"; after a bar come control inputs."""
    net = NetDef(**fields)
    for row in rows:
        blobs, _, control = row.partition("|")
        inputs, _, outputs = blobs.partition("->")
        net.op.add(
            type="Op",
            input=inputs.split(),
            output=outputs.split(),
            control_input=control.split(),
        )
    return net


def nest(levels, through_operators=True):
    """A net with that many nets inside each other."""
    net = make_net("a -> b", name="innermost")
    for _ in range(levels):
        outer = NetDef(name="outer")
        owner = outer.op.add(type="If") if through_operators else outer
        owner.arg.add(name="then_net").n.CopyFrom(net)
        net = outer
    return net


def make_plan(net):
    plan = PlanDef()
    plan.network.add().CopyFrom(net)  # the constructor itself refuses deep nets
    return plan


@pytest.mark.parametrize(
    ("net", "rows"),
    [
        (make_net(), []),
        (make_net("X -> Y"), [([("X", 0)], [("Y", 1)])]),
        (
            make_net("X -> X", "X -> X Y"),
            [([("X", 0)], [("X", 1)]), ([("X", 1)], [("X", 2), ("Y", 1)])],
        ),
        (make_net("-> A", "A A -> B"), [([], [("A", 1)]), ([("A", 1), ("A", 1)], [("B", 1)])]),
        (make_net("-> A A"), [([], [("A", 2), ("A", 2)])]),
    ],
)
def test_ssa(net, rows):
    assert analysis.ssa(net) == rows


@pytest.mark.parametrize(
    ("rows", "blobs"),
    [
        ([], []),
        (["X W -> Y", "Y V -> Z"], ["X", "W", "V"]),
        (["X -> X", "X -> Y"], ["X"]),
        (["-> A", "A -> B"], []),
        (["B -> A", "A -> B", "B B -> C"], ["B"]),
        (["-> A | C"], []),
    ],
)
def test_external_inputs(rows, blobs):
    net = make_net(*rows, external_input=["declared"])
    assert analysis.external_inputs(net) == blobs


def test_produced():
    net = make_net("X -> Y", "Y -> Y Z", "-> A A")
    assert analysis.produced(net) == {"Y": [0, 1], "Z": [1], "A": [2]}


def test_last_use():
    net = make_net("X -> Y", "Y -> Z", "-> A | X", "-> B")
    inner = make_net("Y -> hidden", external_output=["out"])
    net.op[3].arg.add(name="body").n.CopyFrom(inner)
    assert analysis.last_use(net) == {
        "X": 2,
        "Y": 3,
        "Z": 1,
        "A": 2,
        "B": 3,
        "hidden": 3,
        "out": 3,
    }


def test_rename_blobs():
    net = make_net("a b -> c | a", external_input=["a", "b"], external_output=["c"])
    net.op[0].arg.add(name="nets").nets.append(make_net("a -> d"))
    net.arg.add(name="net").n.CopyFrom(make_net("b -> a"))
    net.op[0].arg.add(name="text").s = b"a"
    analysis.rename_blobs(net, {"a": "b", "b": "a", "d": "e", "absent": "x"})
    assert list(net.op[0].input) == ["b", "a"]
    assert list(net.op[0].output) == ["c"]
    assert list(net.op[0].control_input) == ["b"]
    assert list(net.external_input) == ["b", "a"]
    assert list(net.external_output) == ["c"]
    assert net.op[0].arg[0].nets[0] == make_net("b -> e")
    assert net.arg[0].n == make_net("a -> b")
    assert net.op[0].arg[1].s == b"a"


def test_clone():
    net = make_net("X -> Y", name="old")
    copy = analysis.clone(net, "new")
    copy.op[0].type = "Other"
    assert (copy.name, net.name, net.op[0].type) == ("new", "old", "Op")


def test_nested_nets_come_outer_first_with_their_depth():
    op = OperatorDef()
    op.arg.add().nets.extend([nest(1), NetDef(name="second")])
    found = [(net.name, depth) for net, depth in analysis.nested_nets(op)]
    assert sorted(found) == [("innermost", 2), ("outer", 1), ("second", 1)]
    assert found.index(("outer", 1)) < found.index(("innermost", 2))


@pytest.mark.parametrize("through_operators", [True, False])
@pytest.mark.parametrize("levels", [0, 1, 7, 500])
def test_depths(levels, through_operators):
    net = nest(levels, through_operators)
    assert analysis.nesting_depth(net) == levels
    # net > op > arg > net, or net > arg > net; the innermost net holds an operator
    assert analysis.message_depth(net) == levels * (3 if through_operators else 2) + 1


def test_walks_do_not_recurse():
    net = nest(2000)
    analysis.rename_blobs(net, {"a": "z"})
    assert analysis.last_use(net) == {"z": 0, "b": 0}


@pytest.mark.parametrize(
    ("message", "reason"),
    [
        (nest(51, through_operators=False), "nets are nested 51 deep, and 50 is the limit"),
        (nest(34), "messages are nested 103 deep, and 100 is the limit"),
        (make_plan(nest(60)), "nets are nested 60 deep, and 50 is the limit"),
    ],
)
def test_check_depth(message, reason):
    with pytest.raises(ModelFormatError, match=reason):
        analysis.check_depth(message)


def test_check_depth_allows_what_protobuf_reads():
    net = nest(33)
    analysis.check_depth(net)
    assert NetDef.FromString(net.SerializeToString()) == net
