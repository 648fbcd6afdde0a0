"""Operators that move, share or draw elements: what no single run shows."""

import numpy as np
import pytest

import caffe2py.core  # noqa: F401
from caffe2py.executor.workspace import Workspace
from caffe2py.proto.args import make_argument
from caffe2py.proto.caffe2_pb2 import NetDef, OperatorDef

F4 = np.arange(12, dtype=np.float32).reshape(4, 3)


def op(type_, inputs, outputs, **args):
    made = [make_argument(name, value) for name, value in args.items()]
    return OperatorDef(type=type_, input=inputs, output=outputs, arg=made)


def run(*ops, **blobs):
    workspace = Workspace()
    for name, value in blobs.items():
        workspace.feed(name, value)
    workspace.run_net_once(NetDef(name="net", op=ops))
    return workspace


def test_axes_split_and_joined_in_place():
    split = run(op("PrependDim", ["X"], ["X"], dim_size=2), X=F4)
    assert np.array_equal(split.fetch("X"), F4.reshape(2, 2, 3))
    joined = run(op("MergeDim", ["X"], ["X"]), X=F4)
    assert np.array_equal(joined.fetch("X"), F4.reshape(12))


def test_an_alias_with_a_name_shares_memory():
    workspace = run(op("AliasWithName", ["X"], ["Y"], name="a"), X=F4)
    assert np.shares_memory(workspace.blob("X").array, workspace.blob("Y").array)


@pytest.mark.parametrize("outputs", [["A", "B"], ["C", "D"]], ids=["in place", "apart"])
def test_coalesced_tensors_share_memory_in_every_run(outputs):
    workspace = Workspace()
    workspace.feed("A", F4)
    workspace.feed("B", F4[0])
    coalesce = op("UnsafeCoalesce", ["A", "B"], [*outputs, "whole"])
    workspace.create_net(NetDef(name="net", op=[coalesce]))
    for step in range(3):
        if outputs[0] != "A":
            workspace.feed("A", F4 + step)
        workspace.run_net("net")
        whole = workspace.blob("whole").array
        first, second = (workspace.blob(name).array for name in outputs)
        assert np.shares_memory(whole, first)
        assert np.shares_memory(whole, second)
        assert np.array_equal(whole[:12], first.reshape(-1))
        assert np.array_equal(whole[12:], F4[0])


def test_a_histogram_accumulates_over_runs():
    workspace = Workspace()
    workspace.feed("X", np.array([0.1, 0.2, 3], np.float32))
    count = op("AccumulateHistogram", ["X"], ["now", "all"])
    workspace.create_net(NetDef(name="net", op=[count]))
    for runs in (1, 2, 3):
        workspace.run_net("net")
        assert workspace.fetch("now").tolist() == [0, 2, 1]
        assert workspace.fetch("all").tolist() == [0, 2 * runs, runs]


def test_average_precision_remembers_the_last_predictions():
    workspace = Workspace()
    meter = op("APMeter", ["X", "labels"], ["AP"], buffer_size=3)
    workspace.feed("X", np.array([[0.9], [0.8]], np.float32))
    workspace.feed("labels", np.array([[0], [1]], np.int32))
    workspace.create_net(NetDef(name="net", op=[meter]))
    workspace.run_net("net")
    assert workspace.fetch("AP").tolist() == [0.5]
    workspace.run_net("net")  # the oldest, the wrong one, is forgotten: 1 0 1 in this order
    assert workspace.fetch("AP") == pytest.approx([(1 / 2 + 2 / 3) / 2])


def test_skipped_rows_are_counted_over_runs():
    workspace = Workspace()
    choose = op("SparseToDenseMask", ["I", "V", "D"], ["Y"], mask=[1], max_skipped_indices=2)
    workspace.feed("I", np.array([-1, 1], np.int32))
    workspace.feed("V", F4[0, :2])
    workspace.feed("D", np.asarray(F4[0, 0]))
    workspace.create_net(NetDef(name="net", op=[choose]))
    workspace.run_net("net")
    with pytest.raises(RuntimeError, match=r"2 row\(s\) with negative indices"):
        workspace.run_net("net")


# ---------------------------------------------------------------- random choices


def test_different_integers_are_different_and_avoid_others():
    avoid = np.arange(0, 100, 2)
    fill = op("UniqueUniformFill", ["X", "avoid"], ["Y"], min=0, max=99, dtype=10)
    found = run(fill, X=np.zeros(50, np.float32), avoid=avoid).fetch("Y")
    assert sorted(found) == list(range(1, 100, 2))


def test_columns_are_drawn_by_their_weight():
    weights = np.tile(np.array([0, 1, 3], np.float32), (20000, 1))
    values = np.tile(np.array([5, 6, 7], np.float32), (20000, 1))
    workspace = run(op("WeightedSample", ["W", "V"], ["I", "C"]), W=weights, V=values)
    found = workspace.fetch("I")
    assert np.array_equal(workspace.fetch("C"), found.astype(np.float32) + 5)
    shares = np.bincount(found[:, 0], minlength=3) / len(found)
    assert shares == pytest.approx([0, 0.25, 0.75], abs=0.02)


def test_places_are_drawn_by_their_running_sum():
    sums = np.cumsum(np.array([0, 1, 0, 3], np.float32))
    draw = op("WeightedMultiSampling", ["S"], ["I"], num_samples=20000)
    shares = np.bincount(run(draw, S=sums).fetch("I"), minlength=4) / 20000
    assert shares == pytest.approx([0, 0.25, 0, 0.75], abs=0.02)


def test_float16_numbers_lie_between_the_bounds():
    fill = op("Float16UniformFill", [], ["Y"], shape=[5000], min=-1.0, max=3.0)
    found = run(fill).fetch("Y").astype(np.float64)
    assert found.min() >= -1
    assert found.max() <= 3
    assert found.mean() == pytest.approx(1, abs=0.1)


def test_segments_are_replaced_as_a_whole():
    lengths = np.full(4000, 2, np.int32)
    drop = op("SparseDropoutWithReplacement", ["X", "L"], ["Y", "M"], ratio=0.25)
    workspace = run(drop, X=np.ones(8000, np.int64), L=lengths)
    found = workspace.fetch("M")
    assert set(found.tolist()) == {1, 2}
    assert np.mean(found == 1) == pytest.approx(0.25, abs=0.03)
    assert np.array_equal(workspace.fetch("Y"), np.repeat(found - 1, found))
