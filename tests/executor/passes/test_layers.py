"""Layers that take in a Relu: fewer operators, the same bits."""

import numpy as np
import pytest

import caffe2py.core  # noqa: F401  (the operators)
from caffe2py.executor.passes.layers import fuse_layers
from caffe2py.executor.workspace import Workspace
from tests.toy import net, op


def run(made):
    ws = Workspace()
    rng = np.random.default_rng(0)
    for name, shape in {"x": (5, 6), "w": (6, 6), "b": (6,)}.items():
        ws.feed(name, rng.uniform(-1, 1, shape).astype(np.float32))
    ws.create_net(made)
    ws.run_net(made.name, 2)
    return ws


FC = op("FC", "x w b", "a")
RELU = op("Relu", "a", "y")

#: net, blobs kept besides its outputs, the types that are left
NETS = {
    "a layer": (net(FC, RELU, gives="y"), (), ["FusedFC"]),
    "two": (
        net(FC, op("Relu", "a", "r"), op("FCTransposed", "r w b", "z"), op("Relu", "z", "z")),
        ("z",),
        ["FusedFC", "FusedFC"],
    ),
    "looked at": (net(FC, RELU, gives="y"), None, ["FC", "Relu"]),
    "two readers": (net(FC, RELU, op("Relu", "a", "z"), gives="y"), ("z",), ["FC", "Relu", "Relu"]),
    "in place": (net(op("FC", "x w b", "y"), op("Relu", "y", "y"), gives="y"), None, ["FusedFC"]),
    "the result goes where an input was": (
        net(FC, op("Relu", "a", "x"), gives="x"),
        (),
        ["FC", "Relu"],
    ),
    "an input is overwritten in between": (
        net(FC, op("Relu", "x", "x"), RELU, gives="y"),
        (),
        ["FC", "Relu", "Relu"],
    ),
    "something else in between": (
        net(FC, op("Tanh", "x", "t"), RELU, op("Add", "y t", "z"), gives="z"),
        (),
        ["Tanh", "FusedFC", "Add"],
    ),
}


@pytest.mark.parametrize("name", NETS)
def test_the_answers_stay(name):
    given, keep, left = NETS[name]
    before = given.SerializeToString(deterministic=True)
    made = fuse_layers(given, keep)
    assert [o.type for o in made.op] == left
    assert given.SerializeToString(deterministic=True) == before
    plain, fused = run(given), run(made)
    for blob in {*(keep or ()), *given.external_output}:
        assert plain.fetch(blob).tobytes() == fused.fetch(blob).tobytes(), blob
