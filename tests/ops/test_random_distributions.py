"""Every operator that draws: from the distribution it names, anew in every run, by seed and place.

All limits are passed by chance once in a million draws; seeds are fixed, so the numbers here are
the same in every run.
"""

from __future__ import annotations

import inspect
import math
import types
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pytest

import caffe2py.core  # noqa: F401
from caffe2py.executor.workspace import Workspace
from caffe2py.kernels import parallel
from caffe2py.kernels.jit import Kernel
from caffe2py.proto.caffe2_pb2 import NetDef, OperatorDef
from caffe2py.registry import threads
from caffe2py.registry.operator import registered
from tests.kernels.test_random import phi
from tests.toy import op

#: Once in a million draws something lies outside; of standard normal numbers and of the largest
#: distance of distributions (times the root of the count: 2 exp(-2 x**2) is a bound for all counts)
ALARM = 1e-6
FAR = 4.892
KS_FAR = math.sqrt(math.log(2 / ALARM) / 2)
#: A value that is expected so often is missing once in a million draws.
SURE = -math.log(ALARM)

N = 20_000
#: For operators that are Python loops.
FEW = 4_000


# ---------------------------------------------------------------- distributions


class Uniform:
    """Real numbers in [low, high)."""

    def __init__(self, low: float, high: float) -> None:
        self.low, self.high = low, high
        self.mean, width = (low + high) / 2, high - low
        self.variance, self.fourth = width**2 / 12, width**4 / 80

    def distance(self, x):
        return distance(x, (np.sort(x) - self.low) / (self.high - self.low))

    def check_range(self, x):
        assert self.low <= x.min()
        assert x.max() < self.high
        margin = (self.high - self.low) * SURE / x.size
        assert x.min() < self.low + margin
        assert x.max() > self.high - margin


class Normal:
    """By mean and standard deviation."""

    def __init__(self, mean: float, std: float) -> None:
        self.mean, self.std = mean, std
        self.variance, self.fourth = std**2, 3 * std**4

    def distance(self, x):
        return distance(x, phi((np.sort(x) - self.mean) / self.std))

    def check_range(self, x):
        limit = math.sqrt(2 * math.log(2 * x.size / ALARM))
        assert np.abs(x - self.mean).max() < limit * self.std
        assert np.abs(x - self.mean).max() > 2 * self.std


class Discrete:
    """Values in ascending order, and how likely they are."""

    def __init__(self, values: Any, chances: Any = None) -> None:
        self.values = np.asarray(values, np.float64)
        equal = np.full(self.values.size, 1 / self.values.size)
        self.chances = equal if chances is None else np.asarray(chances) / np.sum(chances)
        self.mean = float(self.chances @ self.values)
        off = self.values - self.mean
        self.variance, self.fourth = float(self.chances @ off**2), float(self.chances @ off**4)

    def distance(self, x):
        found = np.searchsorted(np.sort(x), self.values, side="right") / x.size
        return float(np.max(np.abs(found - np.cumsum(self.chances)))) * math.sqrt(x.size)

    def check_range(self, x):
        assert np.isin(x, self.values[self.chances > 0]).all()
        assert np.isin(self.values[self.chances * x.size > SURE], x).all()


def distance(x, expected):
    """Kolmogorov's statistic from the distribution function at the sorted sample."""
    places = np.arange(x.size)
    most = max(np.max((places + 1) / x.size - expected), np.max(expected - places / x.size))
    return float(most) * math.sqrt(x.size)


def halves(low, high):
    """Uniform numbers in [low, high), rounded to float16."""
    every = np.arange(2**16, dtype=np.uint16).view(np.float16).astype(np.float64)
    values = np.unique(every[(every >= low) & (every <= high)])  # 0 and -0 are one
    edges = np.concatenate([[low], (values[1:] + values[:-1]) / 2, [high]])
    return Discrete(values, np.diff(edges))


# ---------------------------------------------------------------- one row an operator


def first(fetched):
    return fetched("Y")


@dataclass(frozen=True)
class Row:
    """How numbers are drawn, and what they must look like.

    `ops` makes the operators of one copy: blobs that end with "*" are the copy's own.
    """

    name: str
    law: Any
    args: dict[str, Any] = field(default_factory=dict)
    inputs: dict[str, Any] = field(default_factory=dict)
    outputs: str = "Y*"
    read: Callable[[Any], Any] = first
    label: str = ""
    #: Once, after the inputs; before every draw; and around the operator in the net.
    init: Sequence[OperatorDef] = ()
    reset: Sequence[OperatorDef] = ()
    before: Sequence[OperatorDef] = ()
    #: What the operator reads, if that is not the inputs.
    reads: str = ""
    #: Runs of the net for one draw, and blobs that are read after each.
    runs: int = 1
    each: bool = False
    #: A second draw is "other", "same", or None where it has another distribution.
    again: str | None = "other"
    #: Whether places in the sample mean anything.
    ordered: bool = True

    def __str__(self) -> str:
        return f"{self.name}{'-' if self.label else ''}{self.label}"

    def copy(self, mark: str, seed: int) -> list[OperatorDef]:
        reads = self.reads or " ".join(self.inputs)
        made = op(self.name, reads, self.outputs, **self.args)
        if seed:
            made.device_option.random_seed = seed
        return [*own(self.before, mark), *own([made], mark)]


def own(ops, mark):
    made = []
    for each in ops:
        copied = OperatorDef()
        copied.CopyFrom(each)
        for names in (copied.input, copied.output):
            names[:] = [n.replace("*", mark) for n in names]
        made.append(copied)
    return made


SOME = Discrete([0, 1, 3], [1, 2, 5])
WEIGHTS = np.tile(np.array([1, 2, 0, 5], np.float32), (N, 1))
VALUES = np.tile(np.array([0, 1, 2, 3], np.float32), (N, 1))
LIKE = np.zeros((50, 400), np.float32)
QUARTER = Discrete([0, 1], [3, 1])
TENSORS = 2000


def levels(value):
    """A row from 0 to 255, so that a level is 1, with one number over and over."""
    return {"X": np.concatenate([[0, 255], np.full(N, value)])[None].astype(np.float32)}


def bytes_of(fetched):
    return fetched("Y")[0, 12:].astype(np.float64)


def taken(fetched):
    """Which rows of a stream were kept."""
    return np.isin(np.arange(FEW), fetched("kept")).astype(np.float64)


QUEUES = [
    *(op("CreateBlobsQueue", "", f"queue{k}*", capacity=3000) for k in range(3)),
    *(op("ConstantFill", "", f"record{k}", shape=[1], value=float(k)) for k in range(3)),
]
PUT = [op("EnqueueBlobs", f"queue{k}* record{k}", f"record{k}") for k in range(3)]

RESERVOIR: dict[str, Any] = {
    "args": {"num_to_collect": FEW // 10},
    "inputs": {"data": np.arange(FEW)},
    "init": [op("CreateMutex", "", "mutex")],
    "reset": [
        op("ConstantFill", "", "kept*", shape=[0], dtype="int64"),
        op("ConstantFill", "", "visited*", shape=[], dtype="int64"),
    ],
    "reads": "kept* visited* data mutex",
    "outputs": "kept* visited*",
}

ROWS = [
    Row("UniformFill", Uniform(-2, 3), {"shape": [100, N // 100], "min": -2.0, "max": 3.0}),
    Row(
        "UniformFill", Uniform(-5, -4), {},
        {"like": LIKE, "low": np.float32([-5]), "high": np.float32([-4])}, label="inputs",
    ),
    Row("UniformIntFill", Discrete(range(-2, 5)), {"shape": [N], "min": -2, "max": 4}),
    Row(
        "UniformIntFill", Discrete(range(11)), {},
        {"like": LIKE, "low": np.int32([0]), "high": np.int32([10])}, label="inputs",
    ),
    Row(
        "UniformIntFill", Uniform(-(2.0**31), 2.0**31),
        {"shape": [N], "min": -(2**31), "max": 2**31 - 1}, label="all",
    ),
    Row("GaussianFill", Normal(0, 1), {"shape": [N + 1]}),
    Row("GaussianFill", Normal(3, 0.5), {"shape": [N], "mean": 3.0, "std": 0.5}, label="moved"),
    Row("XavierFill", Uniform(-math.sqrt(0.03), math.sqrt(0.03)), {"shape": [N // 100, 4, 25]}),
    Row("MSRAFill", Normal(0, math.sqrt(0.02)), {"shape": [2, N // 100, 50]}),
    Row("Float16UniformFill", halves(-1, 3), {"shape": [N], "min": -1.0, "max": 3.0}),
    Row("UniqueUniformFill", Discrete(range(9 * N)), {"shape": [N], "min": 0, "max": 9 * N - 1}),
    Row(
        "UniqueUniformFill", Discrete(np.flatnonzero(np.arange(3 * N) % 3)),
        {"min": 0, "max": 3 * N - 1},
        {"like": LIKE, "avoid": np.arange(0, 3 * N, 3, dtype=np.int32)},
        reads="like avoid", label="avoid",
    ),
    Row(
        "UniqueUniformFill", Uniform(0, 3 * 2.0**61),
        {"shape": [N], "min": 0, "max": 3 * 2**61 - 1, "dtype": "int64"}, label="long",
    ),
    Row("WeightedSample", SOME, {}, {"weights": WEIGHTS}),
    Row(
        "WeightedSample", SOME, {}, {"weights": WEIGHTS, "values": VALUES}, "places* Y*",
        label="values",
    ),
    Row(
        "WeightedMultiSampling", SOME, {"num_samples": N}, {"sums": np.float32([1, 3, 3, 8])},
    ),
    Row("Dropout", QUARTER, {"ratio": 0.75, "is_test": 0}, {"X": LIKE}, "dropped* Y*"),
    Row(
        "Dropout", Discrete([0, 2]), {"ratio": 0.5, "is_test": 0},
        {"X": np.ones(N, np.float32)}, "Y* mask*", label="values",
    ),
    Row(
        "SparseDropoutWithReplacement", Discrete([1, 2], [3, 1]), {"ratio": 0.75},
        {"X": np.arange(2 * FEW), "lengths": np.full(FEW, 2, np.int32)}, "left* Y*",
    ),
    Row(
        "FloatToFusedRandRowwiseQuantized", Discrete([100, 101], [3, 1]), {}, levels(100.25),
        read=bytes_of,
    ),
    Row(
        "PackedInt8BGRANHWCToNCHWCStylizerPreprocess", Normal(0, 2),
        {"noise_size": N, "noise_std": 2.0},
        {"X": np.zeros((1, 20, 334, 4), np.uint8), "mean": np.zeros(3, np.float32)},
        read=lambda fetched: fetched("Y").reshape(3, -1).T.reshape(-1)[:N], again="same",
    ),
    Row(
        "WeightedSampleDequeueBlobs", Discrete([0, 1, 2], [1, 2, 5]),
        {"weights": [1.0, 2.0, 5.0]},
        init=QUEUES, before=PUT, reads="queue0* queue1* queue2*", outputs="Y* status*",
        runs=1000, each=True,
    ),
    Row("ReservoirSampling", Discrete([0, 1], [9, 1]), read=taken, **RESERVOIR),
    Row(
        "ReservoirSampling", Discrete(range(FEW)), **RESERVOIR,
        read=lambda fetched: fetched("kept"), ordered=False, label="rows",
    ),
    Row(
        "CollectTensor", Discrete(range(1, TENSORS + 1)), {"num_to_collect": TENSORS // 10},
        {"one": np.ones(1, np.float32)},
        init=[
            op("ConstantFill", "", "count*", shape=[1], value=0.0),
            op("CreateTensorVector", "", "vector*"),
        ],
        before=[op("Add", "one count*", "count*")], reads="vector* count*",
        outputs="vector*", runs=TENSORS, again=None,
        read=lambda fetched: np.concatenate(fetched("vector")), ordered=False,
    ),
]  # fmt: skip


class Drawn:
    """A net with copies of a row's operator, in a workspace of its own."""

    def __init__(self, row, *, copies=1, name="net", seed=0, kind=""):
        self.row, self.name, self.workspace = row, name, Workspace()
        self.marks = [str(k) for k in range(copies)]
        for blob, value in row.inputs.items():
            self.workspace.feed(blob, value)
        self.once(row.init)
        self.once(row.reset)
        ops = [made for mark in self.marks for made in row.copy(mark, seed)]
        self.workspace.create_net(NetDef(name=name, type=kind, op=ops))

    def once(self, ops):
        for mark in self.marks:
            for each in own(ops, mark):
                self.workspace.run_operator_once(each)

    def draw(self, runs=0):
        """The numbers of one draw, for each copy."""
        self.once(self.row.reset)
        seen = [[] for _ in self.marks]
        for _ in range(runs or self.row.runs):
            self.workspace.run_net(self.name)
            if self.row.each:
                for mark, numbers in zip(self.marks, seen, strict=True):
                    numbers.append(self.read(mark))
        if self.row.each:
            return [np.concatenate(numbers) for numbers in seen]
        return [self.read(mark) for mark in self.marks]

    def read(self, mark):
        found = self.row.read(lambda blob: self.workspace.fetch(blob + mark))
        return np.asarray(found).reshape(-1).astype(np.float64)


def independent(x, y):
    """Neither numbers nor their distances from the middle go together."""
    assert not np.array_equal(x, y)
    for a, b in ((x, y), ((x - x.mean()) ** 2, (y - y.mean()) ** 2)):
        if a.std() > 1e-6 * abs(a.mean()):  # of two values as likely, all are as far
            assert abs(np.corrcoef(a, b)[0, 1]) * math.sqrt(a.size) < FAR


def check_law(law, x):
    law.check_range(x)
    assert abs(x.mean() - law.mean) < FAR * math.sqrt(law.variance / x.size)
    spread = math.sqrt((law.fourth - law.variance**2) / x.size)
    assert abs(np.mean((x - law.mean) ** 2) - law.variance) <= FAR * spread + 1e-9 * law.variance
    assert law.distance(x) < KS_FAR


every_row = pytest.mark.parametrize("row", ROWS, ids=str)


@every_row
def test_distribution(row):
    drawn = Drawn(row, copies=2)
    x, beside = drawn.draw()
    check_law(row.law, x)
    check_law(row.law, beside)
    if row.ordered:
        independent(x, beside)
        independent(x[1:], x[:-1])
    if row.again == "same":
        assert np.array_equal(drawn.draw()[0], x)
    elif row.again:
        later = drawn.draw()[0]
        check_law(row.law, later)
        assert not np.array_equal(later, x)
        if row.ordered:
            independent(x, later)
            independent(beside, later)


def runs_of(row):
    """Fewer where one run draws one number; enough to go beyond a reservoir's room."""
    return min(row.runs, 50 if row.each else 300)


@every_row
def test_the_same_for_all_threads_and_runners(row, monkeypatch):
    monkeypatch.setattr(parallel, "WORTH", 1e-9)
    monkeypatch.setattr(parallel, "CHUNK", 64)
    monkeypatch.setattr(threads, "_count", 1)
    runs = runs_of(row)
    expected = []
    for count, kind in ((1, ""), (2, ""), (3, ""), (7, ""), (1, "reference"), (3, "dag")):
        threads.set_thread_count(count)
        drawn = Drawn(row, copies=2, kind=kind)
        numbers = [*drawn.draw(runs), *drawn.draw(runs)]
        expected = expected or numbers
        for x, y in zip(expected, numbers, strict=True):
            np.testing.assert_array_equal(x, y)


@every_row
def test_seeds_and_names_decide(row):
    runs = runs_of(row)

    def numbers(**how):
        return Drawn(row, **how).draw(runs)

    seeded = numbers(seed=7)[0]
    assert np.array_equal(numbers(seed=7)[0], seeded)
    for again in numbers(seed=7, name="another", copies=2):
        assert np.array_equal(again, seeded), "a seed alone decides"
    assert np.array_equal(numbers()[0], numbers()[0])
    others = [seeded, *numbers(seed=8), *numbers(seed=2**32 - 1), *numbers(), *numbers(name="b")]
    for k, x in enumerate(others):
        for y in others[:k]:
            assert not np.array_equal(x, y)
            if row.ordered:
                independent(x, y)


# ---------------------------------------------------------------- beyond the table


def test_numbers_between_levels_alone_are_rounded():
    """A float32 sum with the random part would now and then reach the next level."""
    row = Row("FloatToFusedRandRowwiseQuantized", None, {}, {})
    drawn = Drawn(row, copies=0)
    x = np.concatenate([[0, 255], np.full(1_000_000, 200)])[None].astype(np.float32)
    drawn.workspace.feed("X", x)
    drawn.workspace.run_operator_once(op(row.name, "X", "Y0"))
    assert np.all(drawn.workspace.fetch("Y0")[0, 12:] == 200)


def _draws(value: Any, seen: set[int]) -> bool:
    """Whether a function asks for random numbers, itself or through what it calls."""
    if isinstance(value, Kernel) or not isinstance(value, types.FunctionType) or id(value) in seen:
        return False
    seen.add(id(value))
    if "random_state" in value.__code__.co_names:
        return True
    reached = [value.__globals__.get(name) for name in value.__code__.co_names]
    reached += inspect.getclosurevars(value).nonlocals.values()
    return any(_draws(each, seen) for each in reached)


def test_every_operator_that_draws_has_a_row():
    drawing = set()
    for name, found in registered().items():
        functions = [kernel.function for kernel in found.kernels.values()]
        if any(_draws(each, set()) for each in functions):
            drawing.add(name)
    assert drawing == {row.name for row in ROWS} | {"ImageInput"}  # in test_image_input.py
