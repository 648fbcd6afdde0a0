"""Random fills: distribution, range, shape, and that a seed decides; and large given values."""

import math

import numpy as np
import pytest

import caffe2py.core  # noqa: F401
from caffe2py.executor.workspace import Workspace
from caffe2py.ops.fill.given import parse_floats
from caffe2py.proto.args import make_argument
from caffe2py.proto.caffe2_pb2 import Argument, DeviceOption, NetDef, OperatorDef
from tests.kernels.test_random import KS_LIMIT, ks, phi

#: name, arguments, distribution function, mean, standard deviation, bounds
FILLS = [
    ("UniformFill", {"shape": [100, 300]}, lambda x: x, 0.5, math.sqrt(1 / 12), (0, 1)),
    (
        "UniformFill",
        {"shape": [30000], "min": -2.0, "max": 3.0},
        lambda x: (x + 2) / 5,
        0.5,
        5 / math.sqrt(12),
        (-2, 3),
    ),
    ("GaussianFill", {"shape": [30001]}, phi, 0, 1, (-6, 6)),
    (
        "GaussianFill",
        {"shape": [20, 1500], "mean": 3.0, "std": 0.5},
        lambda x: phi((x - 3) / 0.5),
        3,
        0.5,
        (0, 6),
    ),
    (  # 4 * 25 elements in a row
        "XavierFill",
        {"shape": [300, 4, 25]},
        lambda x: (x / math.sqrt(0.03) + 1) / 2,
        0,
        0.1,
        (-0.18, 0.18),
    ),
    (  # 2 * 50 elements with one second index
        "MSRAFill",
        {"shape": [2, 300, 50]},
        lambda x: phi(x / math.sqrt(0.02)),
        0,
        math.sqrt(0.02),
        (-1, 1),
    ),
]


def operator(name, seed=0, **args):
    arg = [make_argument(key, value) for key, value in args.items()]
    made = OperatorDef(type=name, output=["Y"], arg=arg)
    if seed:
        made.device_option.CopyFrom(DeviceOption(random_seed=seed))
    return made


def fill(name, seed=0, runs=1, **args):
    workspace = Workspace()
    workspace.create_net(NetDef(name="net", op=[operator(name, seed, **args)]))
    results = []
    for _ in range(runs):
        workspace.run_net("net")
        results.append(workspace.fetch("Y"))
    return results if runs > 1 else results[0]


def moments(x, mean, std):
    """Mean and standard deviation within four standard errors (for kurtosis up to 3)."""
    n = x.size
    assert abs(x.mean(dtype=np.float64) - mean) < 4 * std / math.sqrt(n)
    assert abs(x.std(dtype=np.float64) - std) < 4 * std / math.sqrt(2 * n)


@pytest.mark.parametrize(("name", "args", "cdf", "mean", "std", "bounds"), FILLS)
@pytest.mark.parametrize("seed", [0, 1, 2**31])
def test_distribution(name, args, cdf, mean, std, bounds, seed):
    y = fill(name, seed, **args)
    assert y.dtype == np.float32
    assert list(y.shape) == args["shape"]
    moments(y, mean, std)
    assert bounds[0] <= y.min()
    assert y.max() < bounds[1]
    assert ks(y.reshape(-1), cdf) < KS_LIMIT


@pytest.mark.parametrize(("low", "high"), [(0, 1), (-2, 3), (-(2**31), 2**31 - 1)])
def test_integers(low, high):
    y = fill("UniformIntFill", shape=[60, 500], min=low, max=high)
    assert y.dtype == np.int32
    assert y.min() >= low
    assert y.max() <= high
    moments(y.astype(np.float64), (low + high) / 2, math.sqrt(((high - low + 1) ** 2 - 1) / 12))
    if high - low < 10:
        counts = np.bincount(y.reshape(-1) - low, minlength=high - low + 1)
        expected = y.size / counts.size
        chi2 = float(np.sum((counts - expected) ** 2) / expected)
        assert chi2 < counts.size - 1 + 4 * math.sqrt(2 * counts.size)


def test_bounds_that_hardly_differ():
    above = float(np.nextafter(np.float32(1), np.float32(2)))
    y = fill("UniformFill", shape=[10000], min=1.0, max=above)
    assert set(y.tolist()) == {1.0}, "max is excluded, though it is the nearest to most of them"


def test_a_seed_decides():
    args = {"shape": [1000]}
    for name in ("UniformFill", "UniformIntFill", "GaussianFill"):
        first = fill(name, 7, **args)
        assert np.array_equal(fill(name, 7, **args), first)
        assert not np.array_equal(fill(name, 8, **args), first)


def test_without_a_seed_programs_repeat_but_operators_differ():
    ops = [operator("UniformFill", shape=[100]), operator("UniformFill", shape=[100])]
    ops[1].output[0] = "Z"
    made = NetDef(name="net", op=ops)
    seen = []
    for _ in range(2):
        workspace = Workspace()
        workspace.run_net_once(made)
        seen.append((workspace.fetch("Y"), workspace.fetch("Z")))
        workspace.run_net_once(made)
        seen.append((workspace.fetch("Y"), workspace.fetch("Z")))
    assert np.array_equal(seen[0], seen[2])
    assert np.array_equal(seen[1], seen[3])
    different = [*seen[0], *seen[1]]
    assert len({tuple(x.tolist()) for x in different}) == 4


@pytest.mark.parametrize("seed", [0, 3])
def test_every_run_draws_other_numbers(seed):
    runs = fill("GaussianFill", seed, runs=3, shape=[1000])
    again = fill("GaussianFill", seed, runs=3, shape=[1000])
    for k in range(3):
        assert np.array_equal(runs[k], again[k])
        assert abs(np.corrcoef(runs[k], runs[k - 1])[0, 1]) < 4 / math.sqrt(1000)


def test_a_longer_shape_begins_with_the_same_numbers():
    for name in ("UniformFill", "GaussianFill"):
        assert np.array_equal(fill(name, 5, shape=[100]), fill(name, 5, shape=[301])[:100])


def test_bounds_from_inputs_are_read_in_every_run():
    workspace = Workspace()
    workspace.feed("like", np.zeros((50, 4), np.float32))
    workspace.feed("low", np.array(0, np.float32))
    workspace.feed("high", np.array(1, np.float32))
    made = operator("UniformFill")
    made.input.extend(["like", "low", "high"])
    workspace.create_net(NetDef(name="net", op=[made]))
    for low, high in ((0, 1), (10, 12), (-5, -4)):
        workspace.feed("low", np.array(low, np.float32))
        workspace.feed("high", np.array(high, np.float32))
        workspace.run_net("net")
        y = workspace.fetch("Y")
        assert y.shape == (50, 4)
        assert low <= y.min() < y.max() < high
    workspace.feed("high", np.array(-6, np.float32))
    workspace.run_net("net")
    assert workspace.fetch("Y").shape == (0, 4)


# ---------------------------------------------------------------- given values


def test_floats_are_read_from_bytes_exactly():
    rng = np.random.default_rng(0)
    words = rng.integers(0, 2**32, 100_000, dtype=np.uint32).view(np.float32)
    words = words[~np.isnan(words)]
    for extra in ({}, {"i": -1}, {"s": b"text"}, {"f": 2.0}):
        argument = Argument(name="values", floats=words.tolist(), **extra)
        argument.ints.extend([1, 2])
        argument.strings.append(b"\x2d" * 50)
        assert np.array_equal(parse_floats(argument).view(np.uint32), words.view(np.uint32))
    assert parse_floats(Argument(name="values")).size == 0
    assert np.isnan(parse_floats(Argument(name="values", floats=[math.nan, 1]))[0])


def test_millions_of_given_values_are_exact():
    values = np.random.default_rng(0).standard_normal(5_000_000).astype(np.float32)
    made = operator("GivenTensorFill", shape=[1000, 5000])
    made.arg.append(Argument(name="values", floats=values))
    workspace = Workspace()
    workspace.run_net_once(NetDef(name="net", op=[made]))
    assert np.array_equal(workspace.fetch("Y").reshape(-1), values)


def test_a_rerun_restores_given_values():
    workspace = Workspace()
    workspace.create_net(
        NetDef(name="net", op=[operator("GivenTensorFill", values=[1.0, 2.0], shape=[2])])
    )
    workspace.run_net("net")
    workspace.feed("Y", np.array([5, 6], np.float32))
    workspace.run_net("net")
    assert workspace.fetch("Y").tolist() == [1, 2]
