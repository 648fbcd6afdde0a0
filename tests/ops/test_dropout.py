"""Dropout's random part: how many elements, which ones, and that every run draws others."""

import numpy as np
import pytest

import caffe2py.core  # noqa: F401
from caffe2py.executor.workspace import Workspace
from caffe2py.proto.args import make_argument
from caffe2py.proto.caffe2_pb2 import NetDef, OperatorDef

SIZE = 100_000


def training(ratio=0.5, seed=0, inplace=False, name="net"):
    op = OperatorDef(type="Dropout", input=["X"], output=["X" if inplace else "Y", "mask"])
    op.arg.extend([make_argument("ratio", ratio), make_argument("is_test", 0)])
    op.device_option.random_seed = seed
    return NetDef(name=name, op=[op])


def run(net, times=1, runner=""):
    """X, Y and the mask of the last of some runs."""
    workspace = Workspace()
    x = np.linspace(1, 2, SIZE, dtype=np.float32)
    workspace.feed("X", x)
    net.type = runner
    workspace.create_net(net)
    for _ in range(times):
        workspace.feed("X", x)
        workspace.run_net(net.name)
    return x, workspace.fetch(net.op[0].output[0]), workspace.fetch("mask")


@pytest.mark.parametrize("ratio", [0.0, 0.1, 0.5, 0.9])
@pytest.mark.parametrize("inplace", [False, True])
def test_a_share_is_dropped_and_the_rest_scaled(ratio, inplace):
    x, y, mask = run(training(ratio, inplace=inplace))
    assert mask.dtype == np.bool_
    spread = 4 * np.sqrt(ratio * (1 - ratio) / SIZE)
    assert abs(mask.mean() - (1 - ratio)) <= spread
    np.testing.assert_allclose(y, np.where(mask, x / (1 - np.float32(ratio)), 0), rtol=2e-7)


def test_neighbours_are_independent():
    _, _, mask = run(training())
    kept = mask.astype(float) - mask.mean()
    for distance in (1, 2, 3, 64, 1024):
        correlation = np.mean(kept[distance:] * kept[:-distance]) / np.mean(kept**2)
        assert abs(correlation) < 4 / np.sqrt(SIZE - distance)


def test_every_run_draws_other_elements():
    masks = [run(training(seed=3), times)[2] for times in (1, 2, 3)]
    for a, b in [(0, 1), (0, 2), (1, 2)]:
        assert abs(np.mean(masks[a] == masks[b]) - 0.5) < 0.01


def test_one_seed_gives_one_sequence():
    for times in (1, 3):
        first = run(training(seed=7), times)
        for again in (run(training(seed=7, name="another"), times), run(training(seed=7), times)):
            assert np.array_equal(first[2], again[2])
        assert np.array_equal(first[2], run(training(seed=7), times, "reference")[2])
        assert np.array_equal(first[1], run(training(seed=7, inplace=True), times)[1])


def test_seeds_and_nets_differ():
    masks = [
        run(net)[2] for net in (training(seed=1), training(seed=2), training(), training(name="b"))
    ]
    for k, a in enumerate(masks):
        for b in masks[:k]:
            assert abs(np.mean(a == b) - 0.5) < 0.01


def test_a_test_leaves_the_mask_alone():
    op = OperatorDef(type="Dropout", input=["X"], output=["Y", "mask"])
    op.arg.append(make_argument("is_test", 1))
    workspace = Workspace()
    mask = np.array([True, False, True])
    workspace.feed("X", np.arange(4, dtype=np.float32))
    workspace.feed("mask", mask)
    workspace.run_operator_once(op)
    assert np.array_equal(workspace.fetch("mask"), mask)
    assert np.array_equal(workspace.fetch("Y"), np.arange(4))
