"""What depends on weights alone is computed once; what is fed later counts all the same."""

import numpy as np
import pytest

import caffe2py.core  # noqa: F401  (the operators)
from caffe2py.executor.passes.constants import fold_constants
from caffe2py.executor.predictor import Predictor
from tests.executor.passes.random_nets import COLUMNS, ROWS, WEIGHTS, random_net
from tests.toy import fill, net, op

W = np.arange(6, dtype=np.float32).reshape(2, 3)
INIT = net(fill("w", W.ravel(), [2, 3]), fill("b", [1, 2]), name="init")


def types(made):
    return [o.type for o in made.op]


TURNED = net(
    op("Transpose", "w", "t"),
    op("Negative", "t", "n"),
    op("FCTransposed", "x n b", "y"),
    reads="x w b",
    gives="y",
)

#: net, what is left of it, what is made
NETS = {
    "a chain": (TURNED, ["FCTransposed"], {"n"}),
    "what is looked at": (net(op("Negative", "w", "y"), gives="y"), ["Negative"], set()),
    "what is fed": (
        net(op("Negative", "x", "a"), op("Negative", "a", "y"), gives="y"),
        None,
        set(),
    ),
    "a weight that is written": (
        net(op("Negative", "w", "a"), op("Add", "a w", "w"), gives="w"),
        None,
        set(),
    ),
    "a name written twice": (
        net(op("Negative", "w", "a"), op("Negative", "a", "a"), op("Add", "a x", "y"), gives="y"),
        None,
        set(),
    ),
    "random numbers": (
        net(op("GaussianFill", "", "r", shape=[3]), op("Add", "x r", "y", broadcast=1), gives="y"),
        None,
        set(),
    ),
    "a sum over runs": (
        net(op("Accumulate", "w", "s"), op("Add", "x s", "y"), gives="y"),
        None,
        set(),
    ),
    "a fill": (
        net(op("ConstantFill", "", "r", shape=[2, 3], value=2.0), op("Add", "x r", "y"), gives="y"),
        ["Add"],
        {"r"},
    ),
    "much out of little": (
        net(
            op("ConstantFill", "", "r", shape=[99, 999], value=2.0),
            op("Add", "x r", "y"),
            gives="y",
        ),
        None,
        set(),
    ),
    "what fails": (
        net(op("Add", "w b", "r"), op("Add", "x r", "y"), gives="y"),
        None,
        set(),
    ),
    "a shape": (
        net(op("Shape", "w", "s"), op("Reshape", "x s", "y o"), gives="y"),
        ["Reshape"],
        {"s"},
    ),
}


@pytest.mark.parametrize("name", NETS)
def test_what_is_left(name):
    given, left, made = NETS[name]
    before = given.SerializeToString(deterministic=True)
    folded, arrays = fold_constants(given, {"w": W, "b": np.ones(2, np.float32)}, ())
    assert types(folded) == (types(given) if left is None else left)
    assert set(arrays) == made
    assert set(arrays) <= set(folded.external_input)
    assert given.SerializeToString(deterministic=True) == before


def predict(optimize):
    return Predictor(INIT, TURNED, optimize=optimize)


def test_weights_fed_later():
    x = np.ones((2, 3), np.float32)
    plain, folded = predict(False), predict(True)
    assert [o.op.type for o in folded.workspace.net("toy").operators] == ["FCTransposed"]
    for feed in ({"x": x}, {"x": x, "w": W * 3}, {"x": 2 * x}, {"x": x, "w": W * 5}):
        assert np.array_equal(plain.run(feed)[0], folded.run(feed)[0])
    for one in (plain, folded):
        one.workspace.feed("w", -W)
    assert np.array_equal(plain.run([x])[0], folded.run([x])[0])


def test_bytes_do_as_well():
    made = Predictor(INIT.SerializeToString(), TURNED.SerializeToString())
    x = np.ones((1, 3), np.float32)
    assert np.array_equal(made.run([x])[0], predict(False).run([x])[0])


@pytest.mark.parametrize("seed", range(40))
def test_random_nets(seed):
    given, outputs = random_net(seed)
    given.op.add().CopyFrom(op("Negative", "w", "w2"))
    given.op.add().CopyFrom(op("FC", f"{outputs[0]} w2 b", "last"))
    given.external_input.extend(["x", "w", "b"])
    given.external_output.append("last")
    init = net(*(fill(n, a.ravel(), a.shape) for n, a in WEIGHTS.items()), name="init")
    x = np.random.default_rng(seed).uniform(-1, 1, (ROWS, COLUMNS)).astype(np.float32)
    plain, folded = (Predictor(init, given, optimize=on) for on in (False, True))
    for _ in range(2):
        for a, b in zip(plain.run({"x": x}), folded.run({"x": x}), strict=True):
            assert np.allclose(a, b, rtol=1e-4, atol=1e-4)  # other sums, of packed weights
