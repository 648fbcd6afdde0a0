"""Bound nets: both runners agree, plans follow the blobs, errors leave the workspace alive."""

import os
import threading

import numpy as np
import pytest

import caffe2py.core  # noqa: F401
from caffe2py.errors import (
    ArityError,
    BlobTypeError,
    DTypeError,
    InplaceError,
    MemoryBudgetError,
    MissingBlobError,
    NetError,
    ShapeError,
    UnknownOperatorError,
    UsageError,
)
from caffe2py.executor.workspace import Workspace
from caffe2py.proto.args import make_argument
from caffe2py.proto.caffe2_pb2 import NetDef, OperatorDef
from caffe2py.tensor.memory import _default_budget


def op(type_, inputs, outputs, **args):
    return OperatorDef(
        type=type_,
        input=inputs.split(),
        output=outputs.split(),
        arg=[make_argument(k, v) for k, v in args.items()],
    )


def net(*ops, name="n", type_=""):
    return NetDef(name=name, op=ops, type=type_)


CHAIN = [
    op("Relu", "x", "a"),
    op("Add", "a bias", "b", broadcast=1),
    op("Sigmoid", "b", "b"),
    op("Mul", "b a", "c"),
    op("Sum", "c b a", "y"),
]


@pytest.fixture
def workspace():
    made = Workspace()
    made.feed("bias", np.array([0.5, -1, 2], np.float32))
    return made


def rows(n, seed=0):
    return np.random.default_rng(seed).standard_normal((n, 3)).astype(np.float32)


def test_both_runners_give_the_same_bits_while_shapes_change(workspace):
    workspace.feed("x", rows(4))
    workspace.create_net(net(*CHAIN, name="fast"))
    workspace.create_net(net(*CHAIN, name="slow", type_="reference"))
    for n in (4, 9, 2, 0, 9):
        workspace.feed("x", rows(n, seed=n))
        answers = []
        for name in ("fast", "slow"):
            workspace.run_net(name)
            answers.append({k: workspace.fetch(k).tobytes() for k in "abcy"})
        assert answers[0] == answers[1]
        assert workspace.fetch("y").shape == (n, 3)


def test_a_steady_net_is_planned_once(workspace, monkeypatch):
    from caffe2py.executor.bind import BoundOperator

    plans = []
    plan = BoundOperator.plan
    monkeypatch.setattr(BoundOperator, "plan", lambda self: plans.append(self) or plan(self))
    workspace.feed("x", rows(4))
    workspace.create_net(net(*CHAIN))
    for seed in range(5):
        workspace.feed("x", rows(4, seed))
        workspace.run_net("n")
    assert len(plans) == len(CHAIN)
    workspace.feed("x", rows(5))
    workspace.run_net("n")
    assert len(plans) == 2 * len(CHAIN)


def test_a_blob_used_for_two_shapes_in_one_net(workspace):
    ops = [op("Relu", "x", "t"), op("Relu", "z", "u"), op("Add", "t u", "v"), op("Relu", "w", "t")]
    workspace.feed("x", rows(4))
    workspace.feed("z", rows(4, 1))
    workspace.feed("w", rows(50, 2))
    workspace.create_net(net(*ops))
    for _ in range(3):
        workspace.run_net("n")
        expected = np.maximum(rows(4), 0) + np.maximum(rows(4, 1), 0)
        assert np.array_equal(workspace.fetch("v"), expected)
        assert workspace.fetch("t").shape == (50, 3)


def test_a_net_that_fails_half_way_runs_again_after_the_cause_is_mended(workspace):
    workspace.feed("x", rows(4))
    workspace.feed("bias", np.ones(7, np.float32))
    workspace.create_net(net(*CHAIN))
    with pytest.raises(ShapeError, match=r"net 'n', op #1 Add: .*\(4,3\).*\(7\)"):
        workspace.run_net("n")
    assert np.array_equal(workspace.fetch("a"), np.maximum(rows(4), 0)), "what came before has run"
    assert np.array_equal(workspace.fetch("x"), rows(4))
    workspace.feed("bias", np.ones(3, np.float32))
    workspace.run_net("n")
    assert workspace.fetch("y").shape == (4, 3)


BAD_NETS = [
    (net(op("Relu", "nope", "y")), MissingBlobError, r"op #0 Relu: input 'nope' \(X\) does not ex"),
    (net(op("Relu", "bais", "y")), MissingBlobError, "There is 'bias'"),
    (net(op("Relux", "x", "y")), UnknownOperatorError, "did you mean Relu"),
    (net(op("Relu", "x bias", "y")), ArityError, r"expected 1 input\(s\) \(X\), found 2: x, bias"),
    (net(op("Relu", "x", "y z")), ArityError, r"expected 1 output\(s\)"),
    (net(op("Div", "x bias", "bias")), InplaceError, "output 0 'bias' is also input 1"),
    (net(op("Relu", "x", "y"), type_="quick"), NetError, "type 'quick'; known: .*dag"),
    (NetDef(), NetError, "must have a name"),  # an empty one is a name
]


@pytest.mark.parametrize(("bad", "error", "match"), BAD_NETS)
def test_a_bad_net_is_refused_when_it_is_created(workspace, bad, error, match):
    workspace.feed("x", rows(2))
    with pytest.raises(error, match=match):
        workspace.create_net(bad)
    assert workspace.nets() == []
    assert np.array_equal(workspace.fetch("x"), rows(2))


def test_errors_of_data_name_what_was_found(workspace):
    workspace.feed("x", rows(2).astype(np.float64))
    workspace.create_net(net(*CHAIN))
    with pytest.raises(DTypeError, match="op #0 Relu: input 0 'X' is float64; supported: float32"):
        workspace.run_net("n")
    workspace.feed("x", b"no tensor")
    with pytest.raises(RuntimeError, match="expected a tensor, found bytes"):
        workspace.run_net("n")


def test_an_output_that_is_not_made_yet(workspace):
    workspace.feed("x", rows(2))
    workspace.create_net(net(op("Relu", "x", "y"), name="first"))
    workspace.create_net(net(op("Relu", "y", "z"), name="second"))
    with pytest.raises(MissingBlobError, match="'y' holds no value yet"):
        workspace.run_net("second")
    workspace.run_net("first")
    workspace.run_net("second")


def test_an_operand_that_would_grow_in_place_is_refused(workspace):
    workspace.feed("x", rows(2))
    workspace.create_net(net(op("Add", "bias x", "bias")))
    with pytest.raises(ShapeError, match="'bias' cannot be computed in place"):
        workspace.run_net("n")


@pytest.mark.parametrize("type_", ["simple", "reference"])
def test_what_an_operator_refuses_keeps_its_outputs(workspace, type_):
    workspace.feed("x", rows(2))
    workspace.feed("y", np.arange(5))
    before = workspace.fetch("bias")
    workspace.create_net(net(op("Add", "bias x", "bias"), name="grow", type_=type_))
    workspace.feed("text", b"no tensor")
    workspace.create_net(net(op("ReluGradient", "x text", "text"), name="text", type_=type_))
    for _ in range(2):
        with pytest.raises(ShapeError, match="cannot be computed in place"):
            workspace.run_net("grow")
        assert np.array_equal(workspace.fetch("bias"), before)
        with pytest.raises(BlobTypeError, match="expected a tensor, found bytes"):
            workspace.run_net("text")
        assert workspace.fetch("text") == b"no tensor"


def test_names_of_nets(workspace):
    workspace.feed("x", rows(2))
    workspace.create_net(net(op("Relu", "x", "y")))
    with pytest.raises(NetError, match="'n' exists already"):
        workspace.create_net(net(op("Relu", "x", "z")))
    workspace.create_net(net(op("Relu", "x", "z")), overwrite=True)
    workspace.run_net("n")
    assert workspace.has_blob("z")
    with pytest.raises(NetError, match="did you mean n"):
        workspace.run_net("nn")


def test_nesting_over_50_is_refused(workspace):
    inner = net(op("Relu", "x", "y"))
    for depth in range(51):
        outer = net(name=f"d{depth}")
        outer.arg.add(name="inner").n.CopyFrom(inner)
        inner = outer
    with pytest.raises(NetError, match="51 deep; the limit is 50"):
        workspace.create_net(inner)


def test_threads_take_turns_on_one_net(workspace):
    workspace.feed("x", rows(64))
    workspace.create_net(net(*CHAIN))
    workspace.run_net("n")
    expected = workspace.fetch("y")
    threads = [threading.Thread(target=workspace.run_net, args=("n", 500)) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert np.array_equal(workspace.fetch("y"), expected)


def test_a_child_sees_its_parents_blobs_and_keeps_its_own(workspace):
    workspace.feed("x", rows(3))
    child = workspace.child({"inner": "x"})
    child.run_operator_once(op("Relu", "inner", "y"))
    assert child.has_blob("y")
    assert not workspace.has_blob("y")
    assert child.blobs() == ["bias", "inner", "x", "y"]
    assert child.local_blobs() == ["inner", "y"]


def test_removed_blobs_are_gone_for_nets_too(workspace):
    workspace.feed("x", rows(3))
    workspace.create_net(net(op("Relu", "x", "y")))
    workspace.run_net("n")
    assert workspace.remove_blob("x")
    assert not workspace.remove_blob("x")
    with pytest.raises(MissingBlobError, match="holds no value"):
        workspace.run_net("n")


@pytest.mark.parametrize("type_", ["simple", "reference"])
def test_a_shape_that_changes_in_place_changes_in_every_run(workspace, type_):
    workspace.feed("x", rows(2))
    grow = op("ExpandDims", "x", "x", dims=[0])
    workspace.create_net(net(grow, op("Relu", "x", "y"), type_=type_))
    for runs in range(1, 4):
        workspace.run_net("n")
        assert workspace.fetch("x").shape == (1,) * runs + (2, 3)
        assert workspace.fetch("y").shape == (1,) * runs + (2, 3)


def test_two_outputs_in_one_blob_must_have_one_size(workspace):
    workspace.feed("x", rows(6))
    workspace.run_operator_once(op("Split", "x", "y y", axis=0))
    assert np.array_equal(workspace.fetch("y"), rows(6)[3:])
    with pytest.raises(
        ShapeError, match=r"outputs 0 and 1 are both 'z', but .*\(4,3\) and .*\(2,3\)"
    ):
        workspace.run_operator_once(op("Split", "x", "z z", axis=0, split=[4, 2]))


@pytest.mark.parametrize("shape", [[2**40, 2**40], [0, 2**40, 2**40], [2**36]])
def test_impossible_sizes_are_refused(workspace, shape):
    workspace.create_net(net(op("ConstantFill", "", "y", shape=shape)))
    with pytest.raises(MemoryBudgetError, match=r"op #0 ConstantFill: .*needs"):
        workspace.run_net("n")


def test_room_left_from_before_does_not_allow_another_size_in_place(workspace):
    workspace.feed("a", np.zeros((2, 3), np.float32))
    workspace.feed("a", np.array([[10], [20]], np.float32))
    workspace.feed("b", np.ones((2, 3), np.float32))
    with pytest.raises(ShapeError, match="'a' cannot be computed in place"):
        workspace.run_operator_once(op("Add", "a b", "a"))
    assert workspace.fetch("a").tolist() == [[10], [20]]


def test_the_owner_of_an_alias_moves_away_when_its_shape_changes(workspace):
    workspace.feed("x", np.arange(6))
    workspace.run_operator_once(op("Alias", "x", "y"))
    workspace.feed("x", np.array([9, 9]))
    assert workspace.fetch("y").tolist() == [0, 1, 2, 3, 4, 5]


def test_an_alias_made_late_holds_in_the_next_run(workspace):
    answers = []
    for type_ in ("simple", "reference"):
        made = Workspace()
        made.feed("x", np.array([2, 4], np.float32))
        made.create_net(net(op("Reciprocal", "x", "y"), op("Alias", "x", "y"), type_=type_))
        made.run_net("n", 2)
        answers.append(made.fetch("x").tolist())
    assert answers == [[0.5, 0.25], [0.5, 0.25]]


def test_the_first_failure_is_reported(workspace):
    workspace.feed("x", rows(2))
    workspace.feed("table", np.ones((3, 2), np.float32))
    workspace.feed("index", np.array([7]))
    bad = op("Add", "x table", "z")
    workspace.create_net(net(op("Gather", "table index", "y"), bad))
    with pytest.raises(RuntimeError, match="op #0 Gather"):
        workspace.run_net("n")


def test_a_net_runs_in_a_child_that_was_forked_during_a_run(workspace):
    workspace.feed("x", rows(4))
    workspace.create_net(net(*CHAIN))
    created = workspace.net("n")
    with created._lock:
        child = os.fork()
        if child == 0:
            workspace.run_net("n")
            os._exit(0)
    assert os.waitpid(child, 0)[1] == 0


def test_two_fixed_outputs_in_one_blob_are_refused(workspace):
    workspace.feed("x", rows(2))
    with pytest.raises(InplaceError, match="two outputs of Dropout are both 'd'"):
        workspace.run_operator_once(op("Dropout", "x", "d d", is_test=0))


def test_a_budget_that_is_no_number_is_named(monkeypatch):
    monkeypatch.setenv("CAFFE2PY_MAX_MEMORY", "1e9")
    with pytest.raises(UsageError, match="CAFFE2PY_MAX_MEMORY is '1e9'; expected bytes"):
        _default_budget.__wrapped__()
