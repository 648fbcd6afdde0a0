"""Fused nets: fewer operators, the same answers, nothing lost that somebody may look at."""

import numpy as np
import pytest

from caffe2py import workspace
from caffe2py.executor.passes.convolutions import fuse_convolutions
from tests.toy import net, op

CONV = {"kernel": 3, "pad": 1}
NORM = "scale shift mean var"


def types(made):
    return [o.type for o in made.op]


def blobs():
    rng = np.random.default_rng(1)
    made = {name: rng.uniform(0.5, 2, 5).astype(np.float32) for name in [*NORM.split(), "b"]}
    made["x"] = rng.uniform(-1, 1, (2, 5, 6, 7)).astype(np.float32)
    made["f"] = rng.uniform(0.5, 2, 7).astype(np.float32)
    made["w"] = rng.uniform(-1, 1, (5, 5, 3, 3)).astype(np.float32)
    return made


def run(made):
    workspace.ResetWorkspace()
    for name, value in blobs().items():
        workspace.FeedBlob(name, value)
    workspace.CreateNet(made)
    workspace.RunNet(made.name, 2)
    return {name: workspace.FetchBlob(name) for name in workspace.Blobs()}


CHAIN = net(
    op("Conv", "x w b", "c", **CONV),
    op("SpatialBN", f"c {NORM}", "n", is_test=1, epsilon=0.01),
    op("Sum", "n x", "s"),
    op("Relu", "s", "y"),
    gives="y",
)

#: net, blobs kept besides its outputs, the types that are left
NETS = {
    "the whole chain": (CHAIN, (), ["FusedConv"]),
    "scale and shift of each channel": (
        net(
            op("Conv", "x w b", "c", **CONV),
            op("AffineChannel", "c scale shift", "a"),
            op("Relu", "a", "y"),
            gives="y",
        ),
        (),
        ["FusedConv"],
    ),
    "of channels in another order": (
        net(
            op("Conv", "x w b", "c", **CONV),
            op("AffineChannel", "c f f", "y", order="NHWC"),
            gives="y",
        ),
        (),
        ["Conv", "AffineChannel"],
    ),
    "a blob in the middle is looked at": (CHAIN, ("n",), ["FusedConv", "Sum", "Relu"]),
    "all blobs are": (CHAIN, None, ["Conv", "SpatialBN", "Sum", "Relu"]),
    "in place nothing is lost": (
        net(op("Conv", "x w", "y", **CONV), op("Relu", "y", "y")),
        None,
        ["FusedConv"],
    ),
    "two readers": (
        net(op("Conv", "x w", "c", **CONV), op("Relu", "c", "y"), op("Relu", "c", "z"), gives="z"),
        (),
        ["Conv", "Relu", "Relu"],
    ),
    "training statistics": (
        net(
            op("Conv", "x w", "c", **CONV),
            op("SpatialBN", f"c {NORM}", "y mean var m v", is_test=0),
        ),
        ("y",),
        ["Conv", "SpatialBN"],
    ),
    "the added blob is made later": (
        net(
            op("Conv", "x w", "c", **CONV),
            op("Conv", "x w b", "d", **CONV),
            op("Sum", "c d", "y"),
            gives="y",
        ),
        (),
        ["Conv", "FusedConv"],
    ),
    "an input is overwritten in between": (
        net(
            op("Conv", "x w", "c", **CONV),
            op("Relu", "x", "x"),
            op("Relu", "c", "y"),
            gives="y",
        ),
        (),
        ["Conv", "Relu", "Relu"],
    ),
    "the result goes where an input was": (
        net(op("Conv", "x w", "c", **CONV), op("Relu", "c", "x"), gives="x"),
        (),
        ["Conv", "Relu"],
    ),
    "a sum of one blob with itself": (
        net(op("Conv", "x w", "c", **CONV), op("Sum", "c c", "y"), gives="y"),
        (),
        ["Conv", "Sum"],
    ),
    "another order": (
        net(op("Conv", "x w", "c", **CONV), op("Relu", "c", "r"), op("Sum", "r x", "y"), gives="y"),
        (),
        ["FusedConv", "Sum"],
    ),
    "names used twice": (
        net(
            op("Conv", "x w", "t", **CONV),
            op("Relu", "t", "t"),
            op("Conv", "t w b", "t2", **CONV),
            op("Relu", "t2", "t"),
            gives="t",
        ),
        (),
        ["FusedConv", "Conv", "Relu"],
    ),
}


@pytest.mark.parametrize("name", NETS)
def test_the_answers_stay(name):
    given, keep, left = NETS[name]
    before = given.SerializeToString(deterministic=True)
    made = fuse_convolutions(given, keep)
    assert types(made) == left
    assert given.SerializeToString(deterministic=True) == before
    plain, fused = run(given), run(made)
    looked_at = set(plain) if keep is None else {*keep, *given.external_output}
    for blob in looked_at:
        assert np.allclose(fused[blob], plain[blob], rtol=1e-4, atol=1e-4), blob


def test_nets_in_nets_are_left_alone():
    outer = net(op("Conv", "x w", "c", **CONV), op("Relu", "c", "y"), gives="y")
    branch = op("If", "x", "")
    argument = branch.arg.add(name="then_net")
    argument.n.CopyFrom(net(op("Relu", "c", "z")))
    outer.op.append(branch)
    assert fuse_convolutions(outer, ()) is outer


def test_errors_name_what_was_fused():
    made = fuse_convolutions(CHAIN, ())
    assert made.op[0].name == "Conv + SpatialBN + Sum + Relu"
