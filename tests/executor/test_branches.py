"""Branches of dag nets: they run side by side, and nobody can tell from the results."""

import random

import numpy as np
import pytest

import caffe2py.core  # noqa: F401
from caffe2py.errors import ValueRangeError
from caffe2py.executor import branches
from caffe2py.executor.workspace import Workspace
from caffe2py.registry import threads
from tests.toy import net, op


@pytest.fixture(autouse=True)
def small_branches(monkeypatch):
    monkeypatch.setattr(branches, "_LEAST", 1)
    monkeypatch.setattr(threads, "_count", 3)


def run(made, type_, times=2, **blobs):
    workspace = Workspace()
    rng = np.random.default_rng(3)
    for name in "xyz":
        workspace.feed(name, rng.uniform(-1, 1, (4, 5)).astype(np.float32))
    for name, value in blobs.items():
        workspace.feed(name, value)
    made.type = type_
    workspace.create_net(made)
    workspace.run_net(made.name, times)
    return workspace


def groups(workspace):
    """How many rows of the table stand beside the one before them."""
    (segment,) = workspace.net("n").runner.steps
    return sum(launch.beside for launch in segment._table.launches)


FORK = net(
    op("Relu", "x", "a"),
    op("ReduceSum", "a", "b1", axes=[0]),
    op("Sigmoid", "b1", "b2"),
    op("ReduceMax", "a", "c1", axes=[0]),
    op("Negative", "c1", "c2"),
    op("ReduceMean", "a", "d1", axes=[0]),
    op("Concat", "b2 c2 d1", "e info", axis=0),
    name="n",
)


@pytest.mark.parametrize("type_", ["dag", "async_scheduling", "parallel"])
def test_branches_stand_side_by_side(type_):
    plain, branched = run(FORK, "simple"), run(FORK, type_)
    assert groups(plain) == 0
    assert groups(branched) == 2
    for name in plain.blobs():
        np.testing.assert_array_equal(plain.fetch(name), branched.fetch(name))


def test_with_one_thread_all_is_in_order():
    threads.set_thread_count(1)
    assert groups(run(FORK, "dag")) == 0


@pytest.mark.parametrize("seed", range(25))
def test_random_nets_give_the_same_bits(seed):
    """Operators that read and write the same blobs, in place and not, in any order."""
    draw = random.Random(seed)
    blobs, ops = ["x", "y", "z"], []
    for k in range(20):
        type_ = draw.choice(["Relu", "Sigmoid", "Add", "Mul", "Sqr", "Sum", "Reshape"])
        inputs = [draw.choice(blobs) for _ in range(2 if type_ in ("Add", "Mul", "Sum") else 1)]
        outputs = [draw.choice(blobs) if draw.random() < 0.3 else f"b{k}"]
        if type_ == "Reshape":
            ops.append(op(type_, inputs[0], f"b{k} old{k}", shape=[4, 5]))
            outputs = [f"b{k}"]
        elif set(outputs) & set(inputs[1:]):
            continue
        else:
            ops.append(op(type_, " ".join(inputs), outputs[0]))
        blobs += outputs
    made = net(*ops, name="n")
    plain, branched = run(made, "reference", 3), run(made, "dag", 3)
    for name in plain.blobs():
        np.testing.assert_array_equal(plain.fetch(name), branched.fetch(name), err_msg=name)


def test_what_fails_in_a_branch_is_named():
    made = net(
        op("ReduceSum", "x", "a", axes=[0]),
        op("ReduceSum", "y", "b", axes=[0]),
        op("Gather", "z indices", "c"),
        name="n",
    )
    with pytest.raises(ValueRangeError, match=r"net 'n', op #2 Gather.*9"):
        run(made, "dag", indices=np.array([0, 9], np.int64))
