"""What nobody uses goes, what is looked at or does something else stays."""

import numpy as np
import pytest

import caffe2py.core  # noqa: F401  (the operators)
from caffe2py.executor.passes.dead import drop_copies, drop_unused
from caffe2py.executor.passes.pipeline import optimize
from caffe2py.executor.workspace import Workspace
from tests.executor.passes.random_nets import COLUMNS, ROWS, WEIGHTS, random_net
from tests.toy import net, op


def types(made):
    return [o.type for o in made.op]


def run(made, keep):
    ws = Workspace()
    rng = np.random.default_rng(0)
    for name, value in WEIGHTS.items():
        ws.feed(name, value)
    ws.feed("x", rng.uniform(-1, 1, (ROWS, COLUMNS)).astype(np.float32))
    ws.create_net(made)
    ws.run_net(made.name, 2)
    return {name: ws.fetch(name) for name in {*keep, *made.external_output}}


#: net, blobs kept besides its outputs, the types that are left
UNUSED = {
    "a dead end": (net(op("Relu", "x", "a"), op("Tanh", "x", "y"), gives="y"), (), ["Tanh"]),
    "a dead chain": (
        net(op("Relu", "x", "a"), op("Relu", "a", "b"), op("Tanh", "x", "y"), gives="y"),
        (),
        ["Tanh"],
    ),
    "one that is kept": (
        net(op("Relu", "x", "a"), op("Tanh", "x", "y"), gives="y"),
        ("a",),
        ["Relu", "Tanh"],
    ),
    "all are looked at": (
        net(op("Relu", "x", "a"), op("Tanh", "x", "y"), gives="y"),
        None,
        ["Relu", "Tanh"],
    ),
    "overwritten before it is read": (
        net(op("Relu", "x", "a"), op("Tanh", "x", "a"), op("Relu", "a", "y"), gives="y"),
        None,
        ["Tanh", "Relu"],
    ),
    "what the next run reads": (
        net(op("Add", "x x", "y"), op("Relu", "y", "x"), gives="y"),
        (),
        ["Add", "Relu"],
    ),
    "what prints": (net(op("Print", "x", ""), op("Tanh", "x", "y"), gives="y"), (), None),
    "what may fail": (
        net(op("Cast", "x", "c", to=5), op("Assert", "c", ""), op("Tanh", "x", "y"), gives="y"),
        (),
        None,
    ),
    "a view decided by an input": (
        net(
            op("ConstantFill", "", "s", shape=[1], value=-1, dtype=2),
            op("Reshape", "x s", "r o"),
            op("Tanh", "x", "y"),
            gives="y",
        ),
        (),
        ["Tanh"],
    ),
}

COPIES = {
    "a copy": (net(op("Copy", "x", "a"), op("Tanh", "a", "y"), gives="y"), (), ["Tanh"]),
    "a chain of copies": (
        net(op("Copy", "x", "a"), op("StopGradient", "a", "b"), op("Add", "b a", "y"), gives="y"),
        (),
        ["Add"],
    ),
    "Dropout in a test": (
        net(op("Dropout", "x", "a m", is_test=1), op("Tanh", "a", "y"), gives="y"),
        (),
        ["Tanh"],
    ),
    "Dropout in place, looked at": (
        net(op("Tanh", "x", "y"), op("Dropout", "y", "y m", is_test=1), gives="y"),
        (),
        ["Tanh"],
    ),
    "Dropout in training": (
        net(op("Dropout", "x", "a m", is_test=0, ratio=0.0), op("Tanh", "a", "y"), gives="y"),
        (),
        None,
    ),
    "the copy is looked at": (net(op("Tanh", "x", "a"), op("Copy", "a", "y"), gives="y"), (), None),
    "the original is overwritten": (
        net(
            op("Tanh", "x", "t"),
            op("Copy", "t", "a"),
            op("Relu", "t", "t"),
            op("Add", "a t", "y"),
            gives="y",
        ),
        (),
        None,
    ),
    "the copy is overwritten": (
        net(
            op("Tanh", "x", "t"),
            op("Copy", "t", "a"),
            op("Relu", "a", "a"),
            op("Add", "a t", "y"),
            gives="y",
        ),
        (),
        ["Tanh", "Relu", "Add"],
    ),
    "the original is written by who reads the copy": (
        net(op("Tanh", "x", "t"), op("Copy", "t", "a"), op("Add", "a x", "t"), gives="t"),
        (),
        None,
    ),
    "another name, written to": (
        net(
            op("Tanh", "x", "t"),
            op("Alias", "t", "a"),
            op("Relu", "a", "a"),
            op("Add", "a t", "y"),
            gives="y",
        ),
        (),
        None,
    ),
    "another name": (
        net(op("Tanh", "x", "t"), op("Alias", "t", "a"), op("Add", "a t", "y"), gives="y"),
        (),
        ["Tanh", "Add"],
    ),
}

CASES = [
    *(pytest.param(drop_unused, *case, id=name) for name, case in UNUSED.items()),
    *(pytest.param(drop_copies, *case, id=name) for name, case in COPIES.items()),
]


@pytest.mark.parametrize(("shorten", "given", "keep", "left"), CASES)
def test_the_answers_stay(shorten, given, keep, left):
    before = given.SerializeToString(deterministic=True)
    made = shorten(given, keep)
    assert types(made) == (types(given) if left is None else left)
    assert (made is given) == (left is None or left == types(given))
    assert given.SerializeToString(deterministic=True) == before
    plain, shorter = run(given, keep or ()), run(made, keep or ())
    for blob, value in plain.items():
        assert value.tobytes() == shorter[blob].tobytes(), blob


def test_nets_in_nets_are_left_alone():
    outer = net(op("Relu", "x", "a"), op("Copy", "x", "b"), op("Relu", "b", "y"), gives="y")
    branch = op("If", "x", "")
    branch.arg.add(name="then_net").n.CopyFrom(net(op("Relu", "a", "z")))
    outer.op.append(branch)
    assert drop_unused(outer, ()) is outer
    assert drop_copies(outer, ()) is outer


@pytest.mark.parametrize("seed", range(60))
def test_random_nets(seed):
    given, outputs = random_net(seed)
    for keep in ((), None):
        made = optimize(given, keep)
        plain, shorter = run(given, outputs), run(made, outputs)
        for blob in outputs:
            assert plain[blob].tobytes() == shorter[blob].tobytes(), blob


def test_random_nets_get_shorter():
    gone = [len(given.op) - len(optimize(given, ()).op) for given, _ in map(random_net, range(20))]
    assert sum(gone) > 40
