"""Rows: accuracy, histograms, quantiles, average precision."""

from itertools import pairwise

import numpy as np

from caffe2py.errors import ArgumentError, ArityError, DTypeError, ShapeError, ValueRangeError
from caffe2py.testing import Bad, Case, Sample


def _accuracy(x, labels, top_k=1):
    right = 0
    for row, label in zip(x, labels, strict=True):
        order = sorted(range(len(row)), key=lambda c: (-row[c], c))
        right += label in order[: max(top_k, 0)]
    with np.errstate(invalid="ignore"):
        return np.float32(np.float64(right) / np.float64(len(x)))


def _samples(rng):
    for index, (rows, columns) in enumerate([(2, 3), (1, 1), (0, 3), (9, 5), (40, 10)]):
        for top in (None, 1, 2, 3, 7, 0, -1):
            x = rng.integers(0, 4, (rows, columns)).astype("float64" if index == 3 else "float32")
            labels = rng.integers(0, columns, rows).astype("int64" if index == 4 else "int32")
            yield Sample([x, labels], {} if top is None else {"top_k": top})


def _class_accuracy(x, labels):
    amounts = np.bincount(labels, minlength=x.shape[1]).astype(np.int32)
    right = [np.sum((x.argmax(1) == c) & (labels == c)) if len(x) else 0 for c in range(x.shape[1])]
    return (np.array(right) / np.maximum(amounts, 1)).astype(np.float32), amounts


def _class_samples(rng):
    for rows, columns in [(2, 3), (1, 1), (0, 3), (9, 5), (40, 10)]:
        for dtype in ("float32", "float64"):
            x = rng.standard_normal((rows, columns)).astype(dtype)
            yield Sample([x, rng.integers(0, columns, rows).astype(np.int32)], outputs=2)
    tied = np.array([[1, 1], [0, 0]], np.float32)
    yield Sample([tied, np.array([0, 1], np.int64)], outputs=2)


# ---------------------------------------------------------------- histograms


def _self_binning(*inputs, num_bins, bin_spacing="linear", logspace_start=1e-24, abs=0):
    x = np.concatenate([a.reshape(-1) for a in inputs])
    kind = x.dtype.type
    x = np.abs(x) if abs else x
    edges, counts = np.zeros(num_bins + 1, kind), np.zeros(num_bins + 1, np.int64)
    if not x.size:
        return edges, counts
    low, high, start = x.min(), x.max(), kind(logspace_start)
    if bin_spacing == "logarithmic":
        low, high = max(low, start), max(high, start)
    top = low + (high - low) * kind(1.0001)
    steps = np.arange(num_bins + 1).astype(kind) / kind(num_bins)
    if bin_spacing == "linear":
        edges = low + steps * (top - low)
    else:
        edges = (low * np.exp((np.log(top) - np.log(low)) * steps)).astype(kind)
    if edges[-1] <= high:
        counts[0] = x.size
        return edges, counts
    places = np.searchsorted(edges, x, side="right")
    np.add.at(counts, np.maximum(places[places <= num_bins] - 1, 0), 1)
    return edges, counts


def _self_binning_samples(rng):
    for dtype in ("float32", "float64"):
        for shapes in ([(2, 3)], [(40,), (7, 5), ()], [(0,)], [(1,)]):
            for index, bins in enumerate((1, 7, 30)):
                inputs = [np.asarray(rng.uniform(-9, 9, s)).astype(dtype) for s in shapes]
                args = {"num_bins": bins, "abs": index % 2}
                yield Sample(inputs, args, outputs=2)
                more = {"bin_spacing": "logarithmic", "logspace_start": 0.5}
                yield Sample(inputs, {**args, **more}, outputs=2)
    yield Sample([np.full((3, 2), 4, np.float32)], {"num_bins": 3}, outputs=2)


def _histogram(*inputs, bin_edges):
    x = np.concatenate([a.reshape(-1) for a in inputs])
    edges = np.array(bin_edges, np.float32)
    return np.array([np.sum((x >= a) & (x < b)) for a, b in pairwise(edges)], np.int64)


def _histogram_samples(rng):
    for dtype in ("float32", "float64"):
        for shapes in ([(2, 3)], [(40,), (7, 5), ()], [(0,)]):
            inputs = [np.asarray(rng.uniform(-9, 9, s)).astype(dtype) for s in shapes]
            yield Sample(inputs, {"bin_edges": [-2.0, 0.0, 3.5]})
            yield Sample([np.rint(x) for x in inputs], {"bin_edges": [-5.0, 1.0, 2.0, 3.0]})
    yield Sample([np.array([np.nan, np.inf, 1], np.float32)], {"bin_edges": [1.0, 2.0]})


def _accumulated(x, lower_bound=0.0, upper_bound=1.0, num_buckets=1):
    edges = np.linspace(lower_bound, upper_bound, num_buckets + 1)
    edges = np.concatenate([[-np.inf], edges, [np.inf]])
    counts = np.histogram(x, edges)[0].astype(np.int64)
    return counts, counts


def _accumulate_samples(rng):
    for dtype in ("float32", "float64"):
        for shape in ((), (0,), (7,), (20, 30)):
            x = np.asarray(rng.uniform(-9, 9, shape)).astype(dtype)
            yield Sample([x], outputs=2)
            args = {"lower_bound": -4.0, "upper_bound": 3.0, "num_buckets": 5}
            yield Sample([x], args, outputs=2)


# ---------------------------------------------------------------- quantiles and percentiles


def _quantile(*inputs, quantile, abs=1, tol=1e-3):
    """The value is any number between two neighbours, so tests use distant elements."""
    x = np.concatenate([a.reshape(-1) for a in inputs])
    x = np.sort(np.abs(x) if abs else x)
    target = int(np.ceil(np.float32(x.size) * np.float32(quantile)))
    low, high = x[0], x[-1]
    if target == 0 or np.sum(x <= low) >= target:
        return np.array([low])
    if target == x.size:
        return np.array([high])
    while np.abs(high - low) > x.dtype.type(tol) * (np.abs(high) + np.abs(low)):
        middle = low + (high - low) / 2
        count = np.sum(x <= middle)
        if count == target:
            return np.array([middle])
        low, high = (low, middle) if count > target else (middle, high)
    return np.array([high])


def _quantile_samples(rng):
    for dtype in ("float32", "float64"):
        for shapes in ([(2, 3)], [(40,), (7, 5), ()], [(1,)], [(0,), (3,)]):
            inputs = [np.asarray(rng.uniform(-9, 9, s)).astype(dtype) for s in shapes]
            for quantile in (0.0, 0.2, 0.5, 1.0):
                yield Sample(inputs, {"quantile": quantile})
                yield Sample(inputs, {"quantile": quantile, "abs": 0, "tol": 1e-5})
    yield Sample([np.array([2, 2, 2, 5], np.float32)], {"quantile": 0.9})


def _percentile(x, pairs, lengths):
    y = np.zeros_like(x)
    at = 0
    for c, length in enumerate(lengths.reshape(-1)):
        values, shares = pairs[at : at + length].T
        at += length
        for r, value in enumerate(x[:, c]):
            if not length or value > values[-1]:
                y[r, c] = 1
            elif value < values[0]:
                y[r, c] = 0
            else:
                y[r, c] = np.interp(value, values, shares)
    return y


def _percentile_samples(rng):
    for dtype in ("float32", "float64"):
        for rows, lengths in [(4, [3, 2]), (9, [5]), (0, [1, 1]), (3, []), (5, [2, 0, 4])]:
            sizes = np.array(lengths, np.int32)
            columns = [np.sort(rng.permutation(20)[:n] - 9) for n in lengths]
            values = np.concatenate([[], *columns])
            pairs = np.stack([values, rng.uniform(0, 1, values.size)], 1).astype(dtype)
            x = rng.uniform(-12, 12, (rows, len(lengths))).astype(dtype)
            yield Sample([x, pairs, sizes])
            yield Sample([np.rint(x), pairs, sizes])


def _bisect(x, percentile_raw=(), percentile_mapping=(), percentile_lower=(), **others):
    upper, lengths = others.get("percentile_upper", ()), others.get("lengths", ())
    tables = [np.array(t, np.float32) for t in (percentile_mapping, percentile_lower, upper)]
    raw, y, at = np.array(percentile_raw, np.float32), np.zeros_like(x), 0
    for c, length in enumerate(lengths):
        own = raw[at : at + length]
        mapping, lower, above = (t[at : at + length] for t in tables)
        at += length
        for r, value in enumerate(x[:, c]):
            k = int(np.searchsorted(own, value, side="right")) - 1
            if k < 0 or value > own[-1]:
                y[r, c] = 0 if k < 0 else 1
            elif own[k] == value:
                y[r, c] = mapping[k]
            else:
                w = (value - own[k]) / (own[k + 1] - own[k])
                y[r, c] = (1 - w) * above[k] + w * lower[k + 1]
    return y


def _bisect_args(rng, lengths):
    columns = [np.sort(rng.permutation(20)[:n] - 9) for n in lengths]
    raw = np.concatenate([[], *columns])
    names = ("mapping", "lower", "upper")
    tables = {f"percentile_{n}": rng.uniform(0, 1, raw.size).tolist() for n in names}
    return {"percentile_raw": raw.tolist(), **tables, "lengths": list(lengths)}


def _bisect_samples(rng):
    for rows, lengths in [(4, [3, 2]), (9, [5]), (0, [1, 1]), (3, []), (5, [2, 1, 4])]:
        args = _bisect_args(rng, lengths)
        x = rng.uniform(-12, 12, (rows, len(lengths))).astype(np.float32)
        yield Sample([x], args)
        yield Sample([np.rint(x)], args)


# ---------------------------------------------------------------- average precision, perplexity


def _average_precision(x, labels, buffer_size=1000):
    x, labels = x[-buffer_size:], labels[-buffer_size:]
    y = np.zeros(x.shape[1], np.float32)
    for c in range(x.shape[1]):
        truth = labels[np.argsort(-x[:, c], kind="stable"), c]
        precision = np.cumsum(truth) / np.arange(1, len(truth) + 1)
        y[c] = precision[truth == 1].sum() / max(1, np.sum(truth == 1))
    return y


def _precision_samples(rng):
    for rows, columns in [(4, 3), (1, 1), (0, 2), (30, 2), (3, 0)]:
        for size in (1, 5, 1000):
            x = rng.integers(0, 9, (rows, columns)).astype(np.float32)
            labels = rng.integers(0, 2, (rows, columns)).astype(np.int32)
            yield Sample([x, labels], {"buffer_size": size})


def _perplexity(p):
    log = np.mean(np.log(p.astype(np.float64))) if p.size else 0.0
    return np.asarray(np.exp(-log)).astype(p.dtype)


def _perplexity_samples(rng):
    for dtype in ("float32", "float64"):
        for size in (0, 1, 7, 200):
            yield Sample([rng.uniform(0.1, 1, size).astype(dtype)])


X = np.ones((2, 3), np.float32)
ONE, TWO = np.zeros((1, 1), np.float32), np.zeros((1, 2), np.float32)
PAIRS = np.zeros((2, 2), np.float32)
TABLE = {
    "percentile_raw": [1.0, 2.0],
    "percentile_mapping": [0.2, 0.8],
    "percentile_lower": [0.2, 0.8],
    "percentile_upper": [0.2, 0.8],
    "lengths": [2],
}
BINS = {"num_bins": 2}
SUMS = {"tolerance": 1e-5, "tolerance_reason": "float32 logarithms and exponentials"}
T = np.array([0, 2], np.int32)

CASES = [
    Case(
        "Accuracy",
        _accuracy,
        _samples,
        bad=[
            Bad([X, T + 1], ValueRangeError, "label 3 at position 1 is out of range for 3 class"),
            Bad([X, T - 1], ValueRangeError, "label -1 at position 0"),
            Bad([X[:, :0], T], ValueRangeError, "for 0 class"),
            Bad([X, T[:1]], ShapeError, r"'labels' is \(1\); predictions \(2,3\)"),
            Bad([X, T[:, None]], ShapeError, "must have 1 dimension"),
            Bad([X[0], T], ShapeError, "must have 2 dimension"),
            Bad([X, T.astype("u1")], DTypeError, "is uint8"),
            Bad([X.astype("i4"), T], DTypeError, "is int32"),
            Bad([X, T], ArgumentError, "top_k", {"top_k": 1.5}),
            Bad([X], ArityError, "expected 2"),
        ],
    ),
    Case(
        "MultiClassAccuracy",
        _class_accuracy,
        _class_samples,
        bad=[
            Bad([X, T + 1], ValueRangeError, "label 3 at position 1", outputs=2),
            Bad([X, T - 1], ValueRangeError, "label -1 at position 0", outputs=2),
            Bad([X, T[:1]], ShapeError, "need one label a row", outputs=2),
            Bad([X[0], T], ShapeError, "must have 2 dimension", outputs=2),
            Bad([X.astype("i4"), T], DTypeError, "is int32", outputs=2),
            Bad([X, T], ArityError, "expected 2 output"),
        ],
    ),
    Case(
        "SelfBinningHistogram",
        _self_binning,
        _self_binning_samples,
        **SUMS,
        bad=[
            Bad([X], ArgumentError, "greater than or equal to 1, found 0", outputs=2),
            Bad([X], ArgumentError, "is 'linear' or", {**BINS, "bin_spacing": "x"}, outputs=2),
            Bad([X], ArgumentError, "must be positive", {**BINS, "logspace_start": 0.0}, outputs=2),
            Bad([X, X.astype("f8")], DTypeError, "one type", BINS, outputs=2),
            Bad([X.astype("i4")], DTypeError, "is int32", BINS, outputs=2),
            Bad([], ArityError, "expected at least 1", BINS, outputs=2),
        ],
    ),
    Case(
        "Histogram",
        _histogram,
        _histogram_samples,
        bad=[
            Bad([X], ArgumentError, "2 numbers or more, found 0"),
            Bad([X], ArgumentError, "must increase, found 1", {"bin_edges": [0.0, 1.0, 1.0]}),
            Bad([X, X.astype("f8")], DTypeError, "one type", {"bin_edges": [0.0, 1.0]}),
            Bad([X.astype("i4")], DTypeError, "is int32", {"bin_edges": [0.0, 1.0]}),
            Bad([], ArityError, "expected at least 1", {"bin_edges": [0.0, 1.0]}),
        ],
    ),
    Case(
        "AccumulateHistogram",
        _accumulated,
        _accumulate_samples,
        bad=[
            Bad([X], ArgumentError, "at least 1, found 0", {"num_buckets": 0}, outputs=2),
            Bad([X.astype("i4")], DTypeError, "is int32", outputs=2),
            Bad([X], ArityError, "expected 2 output"),
        ],
    ),
    Case(
        "Quantile",
        _quantile,
        _quantile_samples,
        bad=[
            Bad([X], ArgumentError, "must lie in"),
            Bad([X], ArgumentError, "must lie in", {"quantile": 1.5}),
            Bad([X], ArgumentError, "tol must be positive", {"quantile": 0.5, "tol": 0.0}),
            Bad([X[:0]], ShapeError, "no elements", {"quantile": 0.5}),
            Bad(
                [np.array([1, 1, 2, 2, 2, 3], np.float32)],
                ValueRangeError,
                "'tol' is too small",
                {"quantile": 0.5, "tol": 1e-12},
            ),
            Bad([X, X.astype("f8")], DTypeError, "one type", {"quantile": 0.5}),
            Bad([X.astype("i4")], DTypeError, "is int32", {"quantile": 0.5}),
        ],
    ),
    Case(
        "Percentile",
        _percentile,
        _percentile_samples,
        tolerance=1e-5,
        tolerance_reason="interpolation in float32",
        bad=[
            Bad([ONE, PAIRS, T[:1] + 3], ValueRangeError, "do not part 2 pairs"),
            Bad([TWO, PAIRS, T - 1], ValueRangeError, "do not part"),
            Bad([ONE, PAIRS, T], ShapeError, "one length a column"),
            Bad([ONE, X, T[:1]], ShapeError, "needs two columns"),
            Bad([ONE[0], PAIRS, T[:1]], ShapeError, "must have 2 dimension"),
            Bad([ONE, PAIRS, T[:1].astype("i8")], DTypeError, "is int64"),
            Bad([ONE, PAIRS.astype("f8"), T[:1]], DTypeError, "one type"),
            Bad([ONE, PAIRS], ArityError, "expected 3"),
        ],
    ),
    Case(
        "BisectPercentile",
        _bisect,
        _bisect_samples,
        bad=[
            Bad([TWO], ShapeError, "lengths name 1 feature", TABLE),
            Bad([ONE[0]], ShapeError, "must have 2 dimension", TABLE),
            Bad([ONE.astype("f8")], DTypeError, "is float64", TABLE),
            Bad([ONE], ArgumentError, "as long as", {**TABLE, "percentile_lower": [0.1]}),
            Bad([ONE], ArgumentError, "must be positive", {**TABLE, "lengths": [3]}),
            Bad([TWO], ArgumentError, "must be positive", {**TABLE, "lengths": [2, 0]}),
            Bad([ONE], ArgumentError, "must ascend", {**TABLE, "percentile_raw": [2.0, 1.0]}),
            Bad([], ArityError, "expected 1", TABLE),
        ],
    ),
    Case(
        "APMeter",
        _average_precision,
        _precision_samples,
        bad=[
            Bad([X, np.zeros((3, 2), np.int32)], ShapeError, "must have one shape"),
            Bad([X[0], T], ShapeError, "must have 2 dimension"),
            Bad([X, X], DTypeError, "is float32"),
            Bad([X.astype("f8"), X.astype("i4")], DTypeError, "is float64"),
            Bad([X, X.astype("i4")], ArgumentError, "at least 1", {"buffer_size": 0}),
            Bad([X], ArityError, "expected 2"),
        ],
    ),
    Case(
        "Perplexity",
        _perplexity,
        _perplexity_samples,
        **SUMS,
        bad=[
            Bad([X], ShapeError, "must have 1 dimension"),
            Bad([T], DTypeError, "is int32"),
            Bad([X[0], X[0]], ArityError, "expected 1"),
        ],
    ),
]
