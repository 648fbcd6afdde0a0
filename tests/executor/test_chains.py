"""Elementwise operators in one pass: it happens, and nobody can tell from what is there after."""

import random

import numpy as np
import pytest

import caffe2py.core  # noqa: F401
from caffe2py.executor import chains
from caffe2py.executor.workspace import Workspace
from tests.toy import net, op

N = 500

#: type, number of inputs, arguments
OPERATORS = [
    ("Relu", 1, {}),
    ("Negative", 1, {}),
    ("Sigmoid", 1, {}),
    ("Scale", 1, {"scale": 1.25}),
    ("Clip", 1, {"min": -0.5, "max": 0.75}),
    ("Abs", 1, {}),
    ("Sqr", 1, {}),
    ("LeakyRelu", 1, {"alpha": 0.3}),
    ("Add", 2, {}),
    ("Sub", 2, {}),
    ("Mul", 2, {}),
    ("Max", 2, {}),
    ("Sum", 2, {}),
    ("Sum", 3, {}),
    ("ReluGradient", 2, {}),
    ("Copy", 1, {}),
]


@pytest.fixture
def fuse_all(monkeypatch):
    monkeypatch.setattr(chains, "_LEAST", 1)


def random_net(seed, length=14):
    """Operators that read what there is and write new blobs, or over old ones."""
    draw = random.Random(seed)
    blobs, ops = ["x", "y", "z"], []
    for k in range(length):
        type_, count, args = draw.choice(OPERATORS)
        inputs = [draw.choice(blobs) for _ in range(count)]
        in_place = draw.random() < 0.3 and type_ not in ("Abs", "Copy", "Max", "ReluGradient")
        output = inputs[0] if in_place and inputs[0] not in inputs[1:] else f"b{k}"
        ops.append(op(type_, " ".join(inputs), output, **args))
        blobs.append(output)
    return net(*ops, name="chain")


def feed(workspace, shape=(N,)):
    rng = np.random.default_rng(7)
    for name in "xyz":
        workspace.feed(name, rng.uniform(-1, 1, shape).astype(np.float32))


def run(made, *, keep=None, times=1, type_=""):
    workspace = Workspace()
    feed(workspace)
    made.type = type_
    workspace.create_net(made, keep=keep)
    workspace.run_net(made.name, times)
    return workspace


def table_rows(workspace, name="chain"):
    return len(workspace.net(name).runner.steps[0]._table.launches)


@pytest.mark.parametrize("seed", range(20))
def test_all_blobs_hold_the_same_bits(fuse_all, seed):
    plain, fused = (run(random_net(seed), times=3, type_=t) for t in ("reference", ""))
    for name in plain.blobs():
        np.testing.assert_array_equal(plain.fetch(name), fused.fetch(name), err_msg=name)
    assert table_rows(fused) < len(fused.net("chain").operators)


@pytest.mark.parametrize("seed", range(20))
def test_what_is_kept_holds_the_same_bits(fuse_all, seed):
    made = random_net(seed)
    keep = [made.op[-1].output[0], made.op[len(made.op) // 2].output[0]]
    plain, fused = run(made, times=2, type_="reference"), run(made, times=2, keep=keep)
    for name in keep:
        np.testing.assert_array_equal(plain.fetch(name), fused.fetch(name), err_msg=name)


def test_one_pass(fuse_all):
    made = net(op("Relu", "x", "a"), op("Mul", "a y", "b"), op("Negative", "b", "c"), name="chain")
    assert table_rows(run(made)) == 1


def test_blobs_that_nobody_looks_at_are_not_written(fuse_all):
    made = net(op("Relu", "x", "a"), op("Negative", "a", "b"), name="chain", gives="b")
    workspace = Workspace()
    feed(workspace)
    workspace.create_net(made, keep=())
    workspace.run_net("chain")
    workspace.blob("a").array[...] = 7
    workspace.run_net("chain")
    assert (workspace.blob("a").array == 7).all()
    assert (workspace.fetch("b") <= 0).all()


#: what comes after the chain x -> a -> b and reads a: it has to be there
LATER = {
    "an operator that is none": op("ReduceSum", "a", "s", axes=[0], keepdims=0),
    "a view": op("Reshape", "a", "s old", shape=[-1]),
    "a dynamic operator": op("NanCheck", "a", "s"),
}


@pytest.mark.parametrize("what", LATER)
def test_what_others_read_is_written(fuse_all, what):
    made = net(
        op("Relu", "x", "a"), op("Negative", "a", "b"), LATER[what], name="chain", gives="b s"
    )
    plain, fused = run(made, type_="reference"), run(made, keep=("s", "b"))
    for name in "sb":
        np.testing.assert_array_equal(plain.fetch(name), fused.fetch(name))


def test_other_sizes_and_types_end_a_pass(fuse_all):
    made = net(
        op("Relu", "x", "a"),
        op("Relu", "w", "b"),
        op("LT", "x y", "c"),
        op("Not", "c", "d"),
        op("Cast", "a", "e", to=7),
        name="chain",
    )
    workspaces = []
    for type_ in ("reference", ""):
        workspace = Workspace()
        feed(workspace)
        workspace.feed("w", np.array([-1, 1], np.float32))
        made.type = type_
        workspace.create_net(made)
        workspace.run_net("chain")
        workspaces.append(workspace)
    plain, fused = workspaces
    for name in plain.blobs():
        np.testing.assert_array_equal(plain.fetch(name), fused.fetch(name))


def test_small_arrays_stay_with_their_own_loops():
    made = net(op("Relu", "x", "a"), op("Negative", "a", "b"), name="chain")
    assert table_rows(run(made)) == 2


def test_overlapping_views_are_not_joined(fuse_all):
    """A part of an array that is written while the whole is read: in order, as the net says."""
    workspace = Workspace()
    base = np.arange(20, dtype=np.float32)
    workspace.create_blob("p").share(base[:10])
    workspace.create_blob("q").share(base[5:15])
    made = net(op("Negative", "p", "p"), op("Sqr", "q", "q"), op("Relu", "q", "r"), name="chain")
    workspace.create_net(made)
    workspace.run_net("chain")
    want = np.arange(20, dtype=np.float32)
    want[:10] = -want[:10]
    want[5:15] = want[5:15] ** 2
    np.testing.assert_array_equal(base, want)


def test_shapes_that_change_make_another_pass(fuse_all):
    workspace = Workspace()
    feed(workspace)
    workspace.create_net(net(op("Relu", "x", "a"), op("Mul", "a y", "b"), name="chain"))
    for size in (5, 3000, 7):
        x = np.linspace(-1, 1, size, dtype=np.float32)
        workspace.feed("x", x)
        workspace.feed("y", x)
        workspace.run_net("chain", 2)
        np.testing.assert_array_equal(workspace.fetch("b"), np.maximum(x, 0) * x)
