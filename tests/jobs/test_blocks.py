"""Blocks of nets: what they run, how they nest, and what they refuse."""

import numpy as np
import pytest

from caffe2py import core, workspace
from caffe2py.errors import UsageError
from caffe2py.net_builder import NetBuilder, ops


def run(builder):
    """The workspace after a builder's step."""
    plan = core.Plan("plan")
    plan.AddStep(core.to_execution_step(builder))
    ws = workspace.C.Workspace()
    ws.run(plan)
    return ws


def value(ws, blob):
    return ws.fetch_blob(str(blob)).tolist()


def test_a_loop_of_a_number_counts_its_rounds():
    with NetBuilder() as builder:
        total = ops.Const(0)
        with ops.loop(5) as loop:
            ops.Add([total, loop.iter()], [total])
    assert value(run(builder), total) == 0 + 1 + 2 + 3 + 4


def test_loops_nest():
    with NetBuilder() as builder:
        seen = ops.Const(0)
        with ops.loop(4) as outer, ops.loop(outer.iter()) as inner:
            ten = ops.Mul([outer.iter(), ops.Const(10)])
            ops.Add([seen, ops.Add([ten, inner.iter()])], [seen])
    assert value(run(builder), seen) == sum(10 * i + j for i in range(4) for j in range(i))


@pytest.mark.parametrize(("start", "rounds"), [(3, 3), (0, 0)])
def test_a_loop_runs_until_it_is_stopped(start, rounds):
    with NetBuilder() as builder:
        left, count, late = ops.Const(start), ops.Const(0), ops.Const(0)
        with ops.loop():
            ops.stop_if(ops.LE([left, ops.Const(0)]))
            ops.Add([left, ops.Const(-1)], [left])
            ops.Add([count, ops.Const(1)], [count])
        ops.Const(1, blob_out=late)
    ws = run(builder)
    assert value(ws, count) == rounds
    assert value(ws, late) == 1  # a stop ends its own block only


def test_stop_in_a_branch_ends_the_branch():
    with NetBuilder() as builder:
        x = ops.Const(1)
        with ops.If(ops.Const(True)):
            ops.Const(2, blob_out=x)
            ops.stop()
            ops.Const(3, blob_out=x)
    assert value(run(builder), x) == 2


@pytest.mark.parametrize(("number", "expected"), [(5, "many"), (1, "one"), (0, "none")])
def test_a_chain_of_branches_runs_one(number, expected):
    with NetBuilder() as builder:
        n, ran = ops.Const(number), ops.Const("")
        with ops.If(ops.GT([n, ops.Const(1)])) as branch:
            ops.Const("many", blob_out=ran)
        with branch.Elif(ops.GT([n, ops.Const(0)])) as branch:
            ops.Const("one", blob_out=ran)
        with branch.Else() as last:
            ops.Const("none", blob_out=ran)
        with pytest.raises(AssertionError, match="nothing can follow an Else"):
            last.Else()
    ws = run(builder)
    assert np.asarray(ws.fetch_blob(str(ran))).item() == expected.encode()


@pytest.mark.parametrize("stops", [True, False])
def test_a_guard_tells_whether_it_was_stopped(stops):
    with NetBuilder() as builder, ops.stop_guard() as guard:
        with pytest.raises(AssertionError, match="after the block"):
            guard.has_stopped()
        ops.stop_if(ops.Const(stops))
        after = ops.Const(1)
    ws = run(builder)
    assert value(ws, guard.has_stopped()) is stops
    assert ws.has_blob(str(after))
    assert np.size(ws.fetch_blob(str(guard.has_stopped()))) == 1


def test_if_nets_know_the_blobs_outside_and_keep_their_own():
    with NetBuilder() as builder:
        x, y = ops.Const(1), ops.Const(2)
        with ops.IfNet(ops.LT([x, y])):
            inner = ops.Add([x, y])
            with ops.IfNet(ops.GT([inner, y])):
                ops.Add([inner, inner], [x])
            with ops.Else():
                ops.Const(-1, blob_out=x)
        with ops.Else():
            ops.Const(-2, blob_out=x)
    ws = run(builder)
    assert value(ws, x) == 6
    assert not ws.has_blob(str(inner))


def test_a_while_net_runs_while_its_condition_holds():
    with NetBuilder() as builder:
        x, powers = ops.Const(1), ops.Const(0)
        with ops.WhileNet():
            with ops.Condition():
                ops.LT([x, ops.Const(100)])
            ops.Add([x, x], [x])
            ops.Add([powers, ops.Const(1)], [powers])
    ws = run(builder)
    assert (value(ws, x), value(ws, powers)) == (128, 7)


def test_names_of_nets_begin_with_the_builder():
    with NetBuilder(name="outside"):
        with NetBuilder(name="inside") as inner:
            assert core.Net("net").Name().startswith("outside/inside/net")
        assert inner.name == "outside/inside"
        assert core.Net("net").Name().startswith("outside/net")
    assert not core.Net("net").Name().startswith("outside")


def test_names_are_free_again_after_a_failure():
    def fail():
        with NetBuilder(name="failing"):
            raise KeyError

    with pytest.raises(KeyError):
        fail()
    assert NetBuilder.current(required=False) is None
    assert "failing" not in core.Net("net").Name()


def test_nets_are_added_and_named():
    mine = core.Net("mine")
    with NetBuilder() as builder:
        assert ops.net(mine) is mine
        ops.Const(1, blob_out="x")
        assert ops.net() is mine
        assert ops.net(name="other") is not mine
    assert [op.output[0] for op in mine.Proto().op] == ["x"]
    assert len(builder.get()) == 2


def test_ops_outside_of_a_builder():
    assert not hasattr(ops, "Relu")
    with pytest.raises(AttributeError, match="NetBuilder or Task"):
        ops.Relu("x")
    with pytest.raises(AssertionError, match="no NetBuilder is open"):
        ops.stop()


def test_a_typing_error_gives_near_names():
    with NetBuilder(), pytest.raises(AttributeError, match="Relu"):
        ops.Rleu("x")


def _endless():
    with ops.loop():
        ops.Const(1)


def _late():
    with NetBuilder() as other:
        pass
    other.add(core.Net("late"))


def _lonely_else():
    with ops.Else():
        pass


def _condition_outside():
    with ops.Condition():
        pass


def _no_condition():
    with ops.WhileNet():
        ops.Const(1)


def _late_condition():
    with ops.WhileNet():
        ops.Const(1)
        ops.Condition()


def _stop_in_if_net():
    with ops.IfNet(ops.Const(True)):
        ops.stop()


def _loop_in_if_net():
    with ops.IfNet(ops.Const(True)):
        ops.loop(3)


@pytest.mark.parametrize(
    ("program", "message"),
    [
        (_endless, "would never end"),
        (_late, "is finished"),
        (_lonely_else, "follow an IfNet"),
        (_condition_outside, "inside of a WhileNet"),
        (_no_condition, "needs a Condition"),
        (_late_condition, "before the body"),
        (_stop_in_if_net, "no stop blob"),
        (_loop_in_if_net, "only nets and control operators"),
        (lambda: ops.loop().iter(), "does not count"),
        (lambda: ops.If(None), "needs a condition"),
        (lambda: NetBuilder("a", _fullname="b"), "not both"),
        (lambda: NetBuilder.merge_nets([1], set()), "expected a net"),
    ],
)
def test_refused(program, message):
    with NetBuilder(), pytest.raises(UsageError, match=message) as caught:
        program()
    assert isinstance(caught.value, AssertionError)
    assert NetBuilder.current(required=False) is None
