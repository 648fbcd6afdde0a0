"""Rows: features merged, and their gradients."""

import itertools

import numpy as np

from caffe2py.errors import ArgumentError, ArityError, DTypeError, ShapeError, ValueRangeError
from caffe2py.testing import Bad, Case, Sample

OPEN = {"infer_full": "how many features there are is not known before"}
TYPES = ("float32", "float64", "int64", "int32", "bool", "str")


def _values(rng, count, name):
    if name == "str":
        return np.array([b"%d" % n for n in rng.integers(0, 99, count)], object)
    return rng.integers(0, 9, count).astype(name)


def _groups(inputs, size):
    return [list(inputs[k : k + size]) for k in range(0, len(inputs), size)]


def _array(values, like):
    out = np.empty(len(values), like.dtype)
    out[:] = values
    return out


def _pieces(array, lengths):
    ends = np.cumsum(lengths)
    return [array[e - n : e] for e, n in zip(ends, lengths, strict=True)]


def _merge(parts, pieces):
    """All pieces, by example and then by group."""
    order = [p for row in zip(*pieces, strict=True) for p in row]
    return np.concatenate([parts[0][:0], *order])


# ---------------------------------------------------------------- scalars


def _scalars(*inputs, feature_ids):
    groups = _groups(inputs, 2)
    found = [
        (i, feature_ids[k], values[i])
        for i in range(len(groups[0][0]))
        for k, (values, present) in enumerate(groups)
        if present[i]
    ]
    lengths = [sum(row[0] == i for row in found) for i in range(len(groups[0][0]))]
    keys = np.array([row[1] for row in found], np.int64)
    return np.array(lengths, np.int32), keys, _array([row[2] for row in found], groups[0][0])


def _scalar_samples(rng):
    for name, count, rows in itertools.product(TYPES, (1, 3), (0, 4)):
        inputs = []
        for _ in range(count):
            inputs += [_values(rng, rows, name), rng.integers(0, 2, rows).astype(bool)]
        yield Sample(inputs, {"feature_ids": list(range(7, 7 + count))}, 3)


def _dense(values, present, feature_ids):
    columns = [a for k in range(values.shape[1]) for a in (values[:, k], present[:, k])]
    return _scalars(*columns, feature_ids=feature_ids)


def _dense_samples(rng):
    for name, rows in itertools.product(TYPES[:4], (0, 4)):
        values = rng.integers(0, 9, (rows, 3)).astype(name)
        yield Sample(
            [values, rng.integers(0, 2, (rows, 3)).astype(bool)], {"feature_ids": [3, 1, 2]}, 3
        )


def _scalars_back(*inputs):
    present, grad, at = inputs[:-1], inputs[-1], 0
    out = [np.zeros(len(p), grad.dtype) for p in present]
    for i in range(len(present[0])):
        for k, p in enumerate(present):
            if p[i]:
                out[k][i] = grad[at]
                at += 1
    return tuple(out)


def _scalar_back_samples(rng):
    for name, count in itertools.product(("float32", "float64", "int64"), (1, 3)):
        present = [rng.integers(0, 2, 5).astype(bool) for _ in range(count)]
        total = int(sum(p.sum() for p in present))
        yield Sample([*present, _values(rng, total, name)], outputs=count)


# ---------------------------------------------------------------- lists and maps


def _single(size):
    def ref(*inputs, feature_ids):
        groups = _groups(inputs, size)
        kept = [np.where(g[-1], g[0], 0) for g in groups]
        pairs = [(i, k) for i in range(len(kept[0])) for k, g in enumerate(groups) if g[-1][i]]
        lengths = np.array([sum(i == j for j, _ in pairs) for i in range(len(kept[0]))], np.int32)
        keys = np.array([feature_ids[k] for _, k in pairs], np.int64)
        inner = np.array([groups[k][0][i] for i, k in pairs], np.int32)
        rest = []
        for at in range(1, size - 1):
            parts = [g[at] for g in groups]
            pieces = [
                [p if ok else p[:0] for p, ok in zip(_pieces(g[at], g[0]), g[-1], strict=True)]
                for g in groups
            ]
            rest.append(_merge(parts, pieces))
        return lengths, keys, inner, *rest

    return ref


def _single_samples(size):
    def samples(rng):
        for name, count, rows in itertools.product(TYPES, (1, 3), (0, 4)):
            inputs = []
            for _ in range(count):
                lengths = rng.integers(0, 4, rows).astype(np.int32)
                total = int(lengths.sum())
                keys = [_values(rng, total, "int64")] if size == 4 else []
                inputs += [lengths, *keys, _values(rng, total, name)]
                inputs.append(rng.integers(0, 2, rows).astype(bool))
            yield Sample(inputs, {"feature_ids": list(range(count))}, size + 1)

    return samples


def _list_back(*inputs):
    groups, grad, at = _groups(inputs[:-1], 2), inputs[-1], 0
    out = [np.zeros(int(g[0].sum()), grad.dtype) for g in groups]
    places = [np.cumsum(g[0]) - g[0] for g in groups]
    for i in range(len(groups[0][0])):
        for k, (lengths, present) in enumerate(groups):
            if present[i]:
                begin, n = places[k][i], lengths[i]
                out[k][begin : begin + n] = grad[at : at + n]
                at += n
    return tuple(out)


def _list_back_samples(rng):
    for name, count in itertools.product(("float32", "float64"), (1, 3)):
        inputs, total = [], 0
        for _ in range(count):
            lengths = rng.integers(0, 4, 5).astype(np.int32)
            present = rng.integers(0, 2, 5).astype(bool)
            inputs += [lengths, present]
            total += int(lengths[present].sum())
        yield Sample([*inputs, _values(rng, total, name)], outputs=count)


# ---------------------------------------------------------------- several features a group


def _multi(size):
    def ref(*inputs):
        groups = _groups(inputs, size)
        lengths = np.sum([g[0] for g in groups], axis=0).astype(np.int32)
        out = [lengths]
        for at in range(1, size):
            cut = [g[0] for g in groups]
            if at >= 3:
                cut = [[int(p.sum()) for p in _pieces(g[2], g[0])] for g in groups]
            pieces = [_pieces(g[at], c) for g, c in zip(groups, cut, strict=True)]
            out.append(_merge([g[at] for g in groups], pieces))
        return tuple(out)

    return ref


def _multi_samples(size):
    def samples(rng):
        for name, count, rows in itertools.product(TYPES, (1, 3), (0, 4)):
            inputs = []
            for _ in range(count):
                lengths = rng.integers(0, 4, rows).astype(np.int32)
                total = int(lengths.sum())
                inputs += [lengths, _values(rng, total, "int64")]
                if size > 3:
                    inner = rng.integers(0, 3, total).astype(np.int32)
                    inputs.append(inner)
                    total = int(inner.sum())
                inputs += [_values(rng, total, "int64")] if size == 5 else []
                inputs.append(_values(rng, total, name))
            yield Sample(inputs, {}, size)

    return samples


def _back_of(cuts):
    """Gradient of elements that come in pieces: by example, then by group."""

    def ref(*inputs):
        grad, at = inputs[-1], 0
        lengths = cuts(inputs[:-1])
        out = [np.zeros(int(sum(n)), grad.dtype) for n in lengths]
        places = [np.cumsum(n) - n for n in lengths]
        for i in range(len(lengths[0])):
            for k, counts in enumerate(lengths):
                begin, n = int(places[k][i]), int(counts[i])
                out[k][begin : begin + n] = grad[at : at + n]
                at += n
        return tuple(out)

    return ref


def _inner_cuts(inputs):
    return [np.array([p.sum() for p in _pieces(v, n)], int) for n, v in _groups(inputs, 2)]


def _multi_back_samples(inner):
    def samples(rng):
        for name, count in itertools.product(("float32", "float64"), (1, 2)):
            inputs, total = [], 0
            for _ in range(count):
                lengths = rng.integers(0, 4, 5).astype(np.int32)
                inputs.append(lengths)
                size = int(lengths.sum())
                if inner:
                    inputs.append(rng.integers(0, 3, size).astype(np.int32))
                    size = int(inputs[-1].sum())
                total += size
            yield Sample([*inputs, _values(rng, total, name)], outputs=count)

    return samples


# ---------------------------------------------------------------- rows

P = np.array([True, False, True])
L = np.array([2, 0, 1], np.int32)
V = np.arange(3, dtype=np.float32)
K = np.arange(3)
ID = {"feature_ids": [1]}
NEGATIVE = np.array([-1, 3, 1], np.int32)


def _back(name, ref, samples, start, wrong):
    return Case(
        f"{name}Gradient",
        ref,
        samples,
        [
            Bad([*start, V[:2].repeat(5)], ShapeError, "the gradient must have"),
            Bad([*start, V], ArityError, "expected 1 output", outputs=2),
            wrong,
        ],
        skip=OPEN,
    )


def _errors(start, outputs, at_lengths, args, *, presence=True):
    wrong_type = [x.astype(np.int64) if k == 0 else x for k, x in enumerate(start)]
    negative = [NEGATIVE if k == 0 else x for k, x in enumerate(start)]
    longer = [np.repeat(x, 2) if k == 1 else x for k, x in enumerate(start)]
    matrix = [x.reshape(1, -1) if k == 1 else x for k, x in enumerate(start)]
    found = [
        Bad([*start, start[0]], ArityError, "input", args, outputs),
        Bad(longer, ShapeError, "has 6", args, outputs),
        Bad(matrix, ShapeError, "must be a vector", args, outputs),
    ]
    if at_lengths:
        found += [
            Bad(wrong_type, DTypeError, "must be int32", args, outputs),
            Bad(negative, ValueRangeError, "negative length", args, outputs),
        ]
    if args:
        bad = {"feature_ids": [1, 2]}
        found.append(Bad(start, ArgumentError, "must name 1 feature", bad, outputs))
    if presence:
        found.append(Bad([*start[:-1], V], DTypeError, "presence must be bool", args, outputs))
    return found


CASES = [
    Case(
        "MergeDenseFeatureTensors",
        _dense,
        _dense_samples,
        [
            Bad([V, P], ShapeError, "must be a matrix", ID, 3),
            Bad([V.reshape(1, 3), V], DTypeError, "supported: bool", ID, 3),
            Bad([V.reshape(3, 1), P.reshape(3, 1)], ArgumentError, "must name 1", {}, 3),
        ],
        skip=OPEN,
    ),
    Case(
        "MergeSingleScalarFeatureTensors",
        _scalars,
        _scalar_samples,
        _errors([V, P], 3, False, ID),
        skip=OPEN,
    ),
    _back(
        "MergeSingleScalarFeatureTensors",
        _scalars_back,
        _scalar_back_samples,
        [P],
        Bad([V, V], DTypeError, "presence must be bool"),
    ),
    Case(
        "MergeSingleListFeatureTensors",
        _single(3),
        _single_samples(3),
        _errors([L, V, P], 4, True, ID),
        skip=OPEN,
    ),
    Case(
        "MergeSingleMapFeatureTensors",
        _single(4),
        _single_samples(4),
        _errors([L, K, V, P], 5, True, ID),
        skip=OPEN,
    ),
    *(
        _back(
            f"MergeSingle{kind}FeatureTensors",
            _list_back,
            _list_back_samples,
            [L, P],
            Bad([NEGATIVE, P, V], ValueRangeError, "negative length"),
        )
        for kind in ("List", "Map")
    ),
    Case(
        "MergeMultiScalarFeatureTensors",
        _multi(3),
        _multi_samples(3),
        [
            *_errors([L, K, V], 3, True, {}, presence=False),
            Bad([L, V, V], DTypeError, "keys must be int64", {}, 3),
        ],
        skip=OPEN,
    ),
    _back(
        "MergeMultiScalarFeatureTensors",
        _back_of(list),
        _multi_back_samples(False),
        [L],
        Bad([NEGATIVE, V], ValueRangeError, "negative length"),
    ),
    Case(
        "MergeMultiListFeatureTensors",
        _multi(4),
        _multi_samples(4),
        _errors([L, K, L, V], 4, True, {}, presence=False),
        skip=OPEN,
    ),
    Case(
        "MergeMultiMapFeatureTensors",
        _multi(5),
        _multi_samples(5),
        _errors([L, K, L, K, V], 5, True, {}, presence=False),
        skip=OPEN,
    ),
    *(
        _back(
            f"MergeMulti{kind}FeatureTensors",
            _back_of(_inner_cuts),
            _multi_back_samples(True),
            [L, L],
            Bad([L, NEGATIVE, V], ValueRangeError, "negative length"),
        )
        for kind in ("List", "Map")
    ),
]
