"""Histograms, quantiles, percentiles, accuracy of classes, average precision, perplexity."""

import numpy as np

from tools.golden.case import Case, Cases, grid, wrong_arity

TYPES = ("float32", "float64")


def several(rng: np.random.Generator, index: int) -> dict[str, np.ndarray]:
    """One to three tensors of one type, some without elements."""
    shapes = [(), (0,), (7,), (3, 4), (30,)]
    count = 1 + index % 3
    dtype = TYPES[index % 2]
    return {f"X{k}": grid(rng, shapes[(index + k) % 5], dtype) for k in range(count)}


def self_binning(rng: np.random.Generator) -> Cases:
    op, outputs = "SelfBinningHistogram", ["edges", "counts"]
    for index in range(26):
        args = {"num_bins": 1 + index % 9, "abs": index % 2}
        if index % 3 == 0:
            args |= {"bin_spacing": "logarithmic", "logspace_start": 0.25}
        yield Case(op, several(rng, index), outputs, args)
    feed = {"X": np.full(4, 1.5, "float32")}
    yield Case(op, feed, outputs, {"num_bins": 3})
    for args in ({}, {"num_bins": 2, "bin_spacing": "x"}, {"num_bins": 2, "logspace_start": 0.0}):
        yield Case(op, feed, outputs, args, refused=True)
    wrong = {"X": feed["X"], "Z": grid(rng, (3,), "float64")}
    yield Case(op, wrong, outputs, {"num_bins": 2}, refused=True)
    yield Case(op, {"X": grid(rng, (3,), "int32")}, outputs, {"num_bins": 2}, refused=True)
    yield Case(op, feed, ["Y"], {"num_bins": 2}, refused=True)


def histogram(rng: np.random.Generator) -> Cases:
    for index in range(24):
        edges = np.unique(grid(rng, (3 + index % 4,))).tolist()
        yield Case("Histogram", several(rng, index), args={"bin_edges": [-2.5, *edges, 2.5]})
    X = {"X": grid(rng, (5,))}
    for bad in ({}, {"bin_edges": [1.0]}, {"bin_edges": [1.0, 1.0]}):
        yield Case("Histogram", X, args=bad, refused=True)


def accumulate(rng: np.random.Generator) -> Cases:
    op, outputs = "AccumulateHistogram", ["now", "all"]
    for index in range(24):
        args = {"lower_bound": -1.0, "upper_bound": 1.5, "num_buckets": 1 + index % 7}
        yield Case(op, {"X": grid(rng, (index,))}, outputs, args if index % 4 else {})
    X = {"X": grid(rng, (5,))}
    yield Case(op, X, outputs, {"num_buckets": 0}, refused=True)
    yield from wrong_arity(op, X, outputs)


def quantile(rng: np.random.Generator) -> Cases:
    for index in range(30):
        args = {"quantile": (index % 11) / 10, "abs": index % 2, "tol": 1e-3 if index % 3 else 1e-5}
        feed = several(rng, index) | {"Z": grid(rng, (4,), TYPES[index % 2])}
        yield Case("Quantile", feed, args=args)
    X = {"X": grid(rng, (5,))}
    for bad in ({}, {"quantile": 1.5}, {"quantile": 0.5, "tol": 0.0}):
        yield Case("Quantile", X, args=bad, refused=True)
    yield Case("Quantile", {"X": X["X"][:0]}, args={"quantile": 0.5}, refused=True)


def table(rng: np.random.Generator, lengths: list[int]) -> np.ndarray:
    parts = [np.sort(rng.permutation(20)[:n]) / 4 - 2 for n in lengths]
    return np.concatenate([[], *parts]).astype("float32")


def percentile(rng: np.random.Generator) -> Cases:
    for index in range(24):
        lengths = [int(n) for n in rng.integers(1, 5, 1 + index % 3)]
        values = table(rng, lengths)
        pairs = np.stack([values, rng.integers(0, 17, values.size) / 16], 1).astype("float32")
        x = grid(rng, (1 + index % 6, len(lengths)))
        yield Case("Percentile", {"X": x, "P": pairs, "L": np.array(lengths, "int32")})
    feed = {"X": grid(rng, (2, 1)), "P": np.zeros((2, 2), "float32"), "L": np.array([3], "int32")}
    yield Case("Percentile", feed, refused=True)
    yield Case("Percentile", {**feed, "L": np.array([1, 1], "int32")}, refused=True)
    yield Case("Percentile", {**feed, "P": np.zeros((2, 3), "float32")}, refused=True)


def bisect(rng: np.random.Generator) -> Cases:
    op = "BisectPercentile"
    for index in range(24):
        lengths = [int(n) for n in rng.integers(1, 5, 1 + index % 3)]
        raw = table(rng, lengths)
        names = ("percentile_mapping", "percentile_lower", "percentile_upper")
        args = {name: (rng.integers(0, 17, raw.size) / 16).tolist() for name in names}
        args |= {"percentile_raw": raw.tolist(), "lengths": lengths}
        yield Case(op, {"X": grid(rng, (1 + index % 6, len(lengths)))}, args=args)
    yield Case(op, {"X": grid(rng, (2, 9))}, args=args, refused=True)
    yield Case(op, {"X": grid(rng, (2, 1))}, args={**args, "lengths": [99]}, refused=True)
    yield Case(op, {"X": grid(rng, (2, 1))}, args={**args, names[0]: [0.5]}, refused=True)


def average_precision(rng: np.random.Generator) -> Cases:
    for index in range(24):
        shape = (1 + index, 1 + index % 4)
        labels = rng.integers(0, 2, shape).astype("int32")
        args = {"buffer_size": 1 + index // 2} if index % 2 else {}
        yield Case("APMeter", {"X": grid(rng, shape), "L": labels}, args=args)
    feed = {"X": grid(rng, (3, 2)), "L": np.zeros((3, 2), "int64")}
    yield Case("APMeter", feed, refused=True)
    yield from wrong_arity("APMeter", feed, ["Y"])


def class_accuracy(rng: np.random.Generator) -> Cases:
    op, outputs = "MultiClassAccuracy", ["accuracies", "amounts"]
    for index in range(24):
        shape = (index, 1 + index % 5)
        labels = rng.integers(0, shape[1], index).astype("int32")
        yield Case(op, {"X": grid(rng, shape), "L": labels}, outputs)
    feed = {"X": grid(rng, (3, 2)), "L": np.zeros(3, "int32")}
    yield from wrong_arity(op, feed, outputs)


def perplexity(rng: np.random.Generator) -> Cases:
    for index in range(24):
        yield Case("Perplexity", {"X": (rng.integers(1, 17, index) / 16).astype("float32")})
    yield from wrong_arity("Perplexity", {"X": np.ones(3, "float32")}, ["Y"])


CASES = {
    "SelfBinningHistogram": self_binning,
    "Histogram": histogram,
    "AccumulateHistogram": accumulate,
    "Quantile": quantile,
    "Percentile": percentile,
    "BisectPercentile": bisect,
    "APMeter": average_precision,
    "MultiClassAccuracy": class_accuracy,
    "Perplexity": perplexity,
}
