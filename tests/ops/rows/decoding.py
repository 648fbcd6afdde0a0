"""Rows: best paths, CTC decoders, categories as one number, padding by lengths."""

import itertools

import numpy as np

from caffe2py.errors import (
    ArgumentError,
    ArityError,
    DTypeError,
    InplaceError,
    ShapeError,
    ValueRangeError,
)
from caffe2py.testing import Bad, Case, Sample

FLOATS = ("float32", "float64")
X23 = np.ones((2, 3), np.float32)
X33 = np.ones((3, 3), np.float32)
X234 = np.full((2, 3, 4), 0.25, np.float32)
L2, L3 = np.zeros(2, np.int32), np.ones(3, np.int32)


# ---------------------------------------------------------------- paths


def _viterbi(scores, moves):
    """All paths, one by one."""
    steps, classes = scores.shape

    def total(path):
        moved = sum(moves[a, b] for a, b in itertools.pairwise(path))
        return sum(scores[t, c] for t, c in enumerate(path)) + moved

    return np.array(max(itertools.product(range(classes), repeat=steps), key=total), np.int32)


def _viterbi_samples(rng):
    for dtype in FLOATS:
        for steps, classes in ((1, 1), (1, 4), (5, 1), (4, 3), (6, 2), (3, 5)):
            scores, moves = rng.normal(size=(steps, classes)), rng.normal(size=(classes, classes))
            yield Sample([scores.astype(dtype), moves.astype(dtype)])


def _swap(scores, path):
    out = scores.copy()
    for row, c in zip(out, path, strict=True):
        top = int(np.argmax(row))
        row[[top, c]] = row[[c, top]]
    return out


def _swap_samples(rng):
    for dtype in FLOATS:
        for steps, classes in ((1, 1), (4, 3), (0, 2), (9, 5)):
            path = rng.integers(0, classes, steps).astype(np.int32)
            yield Sample([rng.normal(size=(steps, classes)).astype(dtype), path])
    yield Sample([np.zeros((2, 3), np.float32), np.array([2, 0], np.int32)])


# ---------------------------------------------------------------- categories


def _ngram(x, col_ids, categorical_limits, vals):
    found = []
    for row in x.reshape(len(x), int(np.prod(x.shape[1:]))):
        total, base, at = 0, 1, 0
        for column, limit in zip(col_ids, categorical_limits, strict=True):
            known = list(vals[at : at + limit])
            value = float(row[column])
            rounded = int(np.floor(abs(value) + 0.5) * np.sign(value))
            total += base * known.index(rounded) if rounded in known else 0
            base, at = base * limit, at + limit
        found.append(total)
    return np.array(found, np.int64)


def _ngram_samples(rng):
    two = {"col_ids": [2, 0], "categorical_limits": [3, 2], "vals": [-1, 0, 4, 7, 2]}
    for dtype in FLOATS:
        for rows in (0, 1, 20):
            yield Sample([(rng.integers(-8, 33, (rows, 3)) / 4).astype(dtype)], two)
    one = {"col_ids": [3], "categorical_limits": [1], "vals": [5]}
    yield Sample([rng.normal(size=(3, 2, 2)).astype(np.float32)], one)
    halves = np.array([[0.5, 9, -0.5], [6.5, 9, -1.5], [7.5, 9, 3.5], [-0.5, 9, np.nan]])
    yield Sample([np.nan_to_num(halves, nan=99)], two)


# ---------------------------------------------------------------- CTC


def _greedy(x, lengths=None, merge_repeated=True):
    counts, values = [], []
    for n in range(x.shape[1]):
        labels, last = [], 0
        for t in range(x.shape[0] if lengths is None else lengths[n]):
            best = int(np.argmax(x[t, n]))
            if best and not (merge_repeated and best == last):
                labels.append(best)
            last = best
        counts.append(len(labels))
        values += labels
    return np.array(counts, np.int32), np.array(values, np.int32)


def _scores(rng, dtype, *shape):
    raw = rng.gamma(0.7, 1, shape) + 1e-3
    return (raw / raw.sum(-1, keepdims=True)).astype(dtype)


def _greedy_samples(rng):
    for dtype in FLOATS:
        for shape in ((1, 1, 2), (6, 3, 3), (0, 2, 3), (4, 0, 3), (9, 2, 2)):
            x = _scores(rng, dtype, *shape)
            lengths = rng.integers(0, shape[0] + 1, shape[1]).astype(np.int32)
            for args in ({}, {"merge_repeated": False}):
                yield Sample([x], args, 2)
                yield Sample([x, lengths], args, 2)


def _beam(x, lengths=None, beam_width=10, prune_threshold=0.001, num_candidates=1):
    """Every path through the classes, collapsed: a beam that is wide enough finds them all."""
    counts, values, found = [], [], []
    for n in range(x.shape[1]):
        totals = {}
        steps = x.shape[0] if lengths is None else lengths[n]
        for path in itertools.product(range(x.shape[2]), repeat=steps):
            labels = tuple(c for c, _ in itertools.groupby(path) if c)
            p = float(np.prod([x[t, n, c] for t, c in enumerate(path)]))
            totals[labels] = totals.get(labels, 0.0) + p
        best = sorted(totals.items(), key=lambda item: -item[1])[:num_candidates]
        for labels, p in best + [((), 0.0)] * (num_candidates - len(best)):
            counts.append(len(labels))
            values += labels
            found.append(p)
    return np.array(counts, np.int32), np.array(values, np.int32), np.array(found, np.float32)


def _beam_samples(rng):
    wide = {"beam_width": 1000, "prune_threshold": 0.0}
    for dtype in FLOATS:
        for shape in ((1, 1, 2), (4, 2, 3), (5, 1, 2), (0, 2, 3), (3, 0, 3)):
            x = _scores(rng, dtype, *shape)
            lengths = rng.integers(0, shape[0] + 1, shape[1]).astype(np.int32)
            yield Sample([x], wide, 3)
            yield Sample([x, lengths], {**wide, "num_candidates": 3}, 3)
            yield Sample([x], {**wide, "num_candidates": 2}, 2)
    yield Sample([_scores(rng, "float32", 1, 2, 2)], {"num_candidates": 9}, 3)


# ---------------------------------------------------------------- padding


def _padding(x, lengths):
    past = np.arange(len(x))[:, None] >= lengths[None, :]
    return np.where(past.reshape(*past.shape, *[1] * (x.ndim - 2)), 0, x).astype(x.dtype)


def _padding_samples(rng):
    for dtype in FLOATS:
        for shape in ((4, 3, 2), (1, 1, 1), (0, 2, 3), (3, 0, 2), (3, 2, 0), (5, 2, 3, 2)):
            lengths = rng.integers(-1, shape[0] + 2, shape[1]).astype(np.int32)
            yield Sample([rng.normal(size=shape).astype(dtype), lengths])


# ---------------------------------------------------------------- rows

LABELS = {"infer_full": "how many labels there are depends on the data"}
TWO = {"col_ids": [0, 1], "categorical_limits": [1, 2], "vals": [1, 2, 3]}


def _decoder_errors(outputs):
    def bad(inputs, error, match, **args):
        return Bad(inputs, error, match, args, outputs)

    return [
        bad([X23], ShapeError, "must have 3 dimension"),
        bad([X234[..., :0]], ShapeError, "no classes"),
        bad([X234.astype("int32")], DTypeError, "supported: float"),
        bad([X234, L2], ShapeError, "must have the 3 lengths"),
        bad([X234, L3.astype("int64")], DTypeError, "supported: int32"),
        bad([X234, np.array([0, 3, 1], np.int32)], ValueRangeError, r"\[1\] is 3.*are 2 steps"),
        bad([X234, np.array([0, -1, 1], np.int32)], ValueRangeError, r"\[1\] is -1"),
        bad([], ArityError, "expected"),
        Bad([X234], InplaceError, "does not allow", {}, outputs, [(0, 0)]),
    ]


CASES = [
    Case(
        "ViterbiPath",
        _viterbi,
        _viterbi_samples,
        bad=[
            Bad([X23, X23], ShapeError, "does not fit"),
            Bad([X23[:0], X33], ShapeError, "must have steps and classes"),
            Bad([X23[0], X33], ShapeError, "must have 2 dimension"),
            Bad([X23, X33.astype("float64")], DTypeError, "must have one type"),
            Bad([X23.astype("int32"), X33], DTypeError, "supported: float"),
            Bad([X23], ArityError, "expected 2"),
            Bad([X33, X33], InplaceError, "does not allow", same=[(0, 0)]),
        ],
    ),
    Case(
        "SwapBestPath",
        _swap,
        _swap_samples,
        bad=[
            Bad([X23, L3], ShapeError, "does not fit"),
            Bad([X23, np.array([0, 3], np.int32)], ValueRangeError, r"'in1'\[1\] is 3.*3 classes"),
            Bad([X23, np.array([-1, 0], np.int32)], ValueRangeError, "is -1"),
            Bad([X23, L2.astype("int64")], DTypeError, "supported: int32"),
            Bad([X23 > 0, L2], DTypeError, "supported: float"),
            Bad([X23[0], L2], ShapeError, "must have 2 dimension"),
            Bad([X23], ArityError, "expected 2"),
            Bad([X23, L2], InplaceError, "does not allow", same=[(0, 0)]),
        ],
    ),
    Case(
        "NGramFromCategorical",
        _ngram,
        _ngram_samples,
        bad=[
            Bad([X23], ArgumentError, "col_ids must name columns"),
            Bad([X23], ArgumentError, "col_ids must name", {**TWO, "col_ids": [-1, 0]}),
            Bad([X23], ArgumentError, "must be 2 positive", {**TWO, "categorical_limits": [3]}),
            Bad([X23], ArgumentError, "must be 2 positive", {**TWO, "categorical_limits": [0, 3]}),
            Bad([X23], ArgumentError, "vals must be 3 numbers", {**TWO, "vals": [1]}),
            Bad(
                [X23],
                ArgumentError,
                "more than an int64",
                {
                    "col_ids": [0] * 70,
                    "categorical_limits": [2] * 70,
                    "vals": [0, 1] * 70,
                },
            ),
            Bad([X23], ShapeError, "must have a column 3", {**TWO, "col_ids": [0, 3]}),
            Bad([X23.astype("int32")], DTypeError, "supported: float", TWO),
            Bad([], ArityError, "expected 1", TWO),
            Bad([X23], InplaceError, "does not allow", TWO, same=[(0, 0)]),
        ],
    ),
    Case("CTCGreedyDecoder", _greedy, _greedy_samples, bad=_decoder_errors(2), skip=LABELS),
    Case(
        "CTCBeamSearchDecoder",
        _beam,
        _beam_samples,
        bad=[
            *_decoder_errors(3),
            Bad([X234], ArgumentError, "beam_width must be", {"beam_width": 0}, 2),
            Bad([X234], ArgumentError, "num_candidates must", {"num_candidates": 0}, 2),
        ],
        skip=LABELS,
    ),
    Case(
        "VariableLengthSequencePadding",
        _padding,
        _padding_samples,
        bad=[
            Bad([X234, L2], ShapeError, "must have 3 lengths"),
            Bad([X23, L3], ShapeError, "dimension"),
            Bad([X234, L3.astype("int64")], DTypeError, "supported: int32"),
            Bad([X234 > 0, L3], DTypeError, "supported: float"),
            Bad([X234], ArityError, "expected 2"),
            Bad([X234, L3], InplaceError, "does not allow", same=[(1, 0)]),
        ],
    ),
]
