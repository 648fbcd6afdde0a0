"""Timing a net changes nothing else; ceilings are measured with operators of our own."""

import numpy as np
import pytest

from caffe2py import workspace
from caffe2py.executor.benchmark import time_operators, time_runs
from caffe2py.executor.ceilings import measure_ceilings
from tests.toy import net, op


@pytest.fixture(autouse=True)
def _clean():
    workspace.ResetWorkspace()


DOUBLE = net(op("Scale", "w", "w", scale=2.0), name="double")
CONV = net(op("Conv", "x w", "y", kernel=3, pad=1), name="conv")


def test_others_learn_of_weights_that_timing_changes():
    rng = np.random.default_rng(0)
    workspace.FeedBlob("x", rng.uniform(-1, 1, (1, 40, 12, 12)).astype(np.float32))
    workspace.FeedBlob("w", rng.uniform(-1, 1, (40, 40, 3, 3)).astype(np.float32))
    workspace.CreateNet(DOUBLE)
    workspace.CreateNet(CONV)
    workspace.RunNet("conv")
    first = workspace.FetchBlob("y")
    assert len(workspace.BenchmarkNet("double", 0, 1, True)) == 2  # it runs twice
    workspace.RunNet("conv")
    assert np.allclose(workspace.FetchBlob("y"), 4 * first, rtol=1e-4, atol=1e-3)


@pytest.mark.parametrize(
    ("arguments", "expected"), [((1, 3), 4), ((2, 3, True), 8), ((0, 0), 0), ((1, 0, True), 1)]
)
def test_it_runs_so_often(arguments, expected):
    workspace.FeedBlob("w", np.ones(2, np.float32))
    workspace.CreateNet(DOUBLE)
    found = workspace.BenchmarkNet("double", *arguments)
    assert len(found) == 1 + (len(arguments) > 2)
    assert workspace.FetchBlob("w").tolist() == [2.0**expected] * 2


def test_runs_are_averaged_where_asked():
    workspace.FeedBlob("w", np.ones(2, np.float32))
    workspace.CreateNet(DOUBLE)
    created = workspace.current().net("double")
    assert len(time_runs(created, 3, together=2)) == 3
    assert workspace.FetchBlob("w").tolist() == [64, 64]


def test_records_of_operators():
    workspace.FeedBlob("x", np.ones((4, 6), np.float32))
    workspace.FeedBlob("w", np.ones((3, 6), np.float32))
    workspace.FeedBlob("b", np.ones(3, np.float32))
    ops = [
        op("FC", "x w b", "y"),
        op("Reshape", "y", "z s", shape=[12]),
        op("Relu", "z", "z"),
        op("Unique", "s", "u"),
    ]
    workspace.CreateNet(net(*ops, name="n"))
    seen = []
    records = time_operators(workspace.current().net("n"), 2, lambda: seen.append(len(seen)))
    assert seen == [0, 1]
    fc, _, relu, unique = records
    assert [len(r.seconds) for r in records] == [2, 2, 2, 2]
    assert fc.starts[0] < relu.starts[0] < fc.starts[1] < relu.starts[1]
    assert fc.multiply_adds == 4 * 6 * 3
    assert fc.bytes_moved == 4 * (24 + 18 + 3 + 12)
    assert (relu.multiply_adds, relu.bytes_moved) == (0, 96)
    assert str(relu.outputs[0]) == "float32(12)"
    assert unique.bytes_moved == 8 * 2 + 8 * 2


def test_ceilings():
    found = measure_ceilings()
    assert found.gflops > 0.01
    assert found.gigabytes > 0.01
