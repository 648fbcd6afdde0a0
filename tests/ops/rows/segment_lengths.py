"""Rows: lengths and ids made from each other, segments gathered and cut, their largest."""

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

ANY = ("float32", "float64", "int32", "int64", "bool", "uint8", "float16", "object")
FLOATS = ("float32", "float64")
LENGTHS = ([2, 0, 3], [], [0], [1, 1, 1, 1], [5], [0, 0, 4, 0])


def draw(rng, shape, dtype="float32"):
    if dtype == "object":
        values = rng.integers(0, 100, shape)
        return np.vectorize(lambda v: b"s%d" % v, otypes=[object])(values).reshape(shape)
    return np.asarray(rng.integers(-8, 9, shape) / 4).astype(dtype)


def zero(dtype):
    return b"" if dtype.kind == "O" else dtype.type(0)


def segments(data, lengths):
    ends = np.cumsum(lengths)
    return [data[end - n : end] for end, n in zip(ends, lengths, strict=True)]


def joined(parts, data):
    parts = [part for part in parts if len(part)]
    return np.concatenate(parts) if parts else data[:0]


def lengths_bad(inputs=1, negative=True):
    rest = [X] * (inputs - 1)
    bad = [
        Bad([N.astype("f4"), *rest], DTypeError, "is float32; supported: int32, int64"),
        Bad([N[None], *rest], ShapeError, "must have 1 dimension"),
        Bad([N[0], *rest], ShapeError, "must have 1 dimension"),
        Bad([], ArityError, "expected"),
        Bad([N, *rest], InplaceError, "in place", same=[(0, 0)]),
    ]
    if negative:
        bad.append(Bad([N - 2, *rest], ValueRangeError, r"lengths\[1\] is -1"))
    return bad


N = np.array([2, 1], np.int32)
X = np.ones((3, 2), np.float32)


def _each(*dtypes):
    def samples(rng):
        for index, lengths in enumerate(LENGTHS):
            yield Sample([np.array(lengths, dtypes[index % len(dtypes)])])

    return samples


# ---------------------------------------------------------------- lengths, ids, ranges


def _ids(lengths):
    return np.repeat(np.arange(len(lengths)), lengths).astype(lengths.dtype)


def _range_fill(lengths):
    return np.array([j for n in lengths for j in range(n)], lengths.dtype)


def _weights(lengths, power=0.5):
    return np.array([1 / n**power for n in lengths.tolist() for _ in range(n)], "float32")


def _offsets(lengths, include_last_offset=0):
    ends = np.concatenate([[0], np.cumsum(lengths)])
    return (ends if include_last_offset else ends[:-1]).astype(lengths.dtype)


def _ranges(lengths):
    return np.stack([_offsets(lengths), lengths], axis=1)


def _to_lengths(ids, data=None):
    count = int(ids[-1]) + 1 if ids.size else 0
    count = count if data is None else len(data)
    return np.bincount(ids, minlength=count).astype("int32")


def _to_ranges(ids, data=None):
    lengths = _to_lengths(ids, data)
    ranges = _ranges(lengths)
    last = int(ids[-1]) if ids.size else -1
    ranges[last + 1 :] = 0
    return ranges


def _id_samples(rng):
    for index, ids in enumerate(([0, 0, 2, 2, 2], [], [0], [3], [1, 2, 4, 4])):
        ids = np.array(ids, "int64" if index % 2 else "int32")
        yield Sample([ids])
        yield Sample([ids, draw(rng, (6, 2))])


IDS = np.array([0, 0, 2], np.int32)
ID_BAD = [
    Bad([IDS[::-1].copy()], ValueRangeError, "id 2 at position 0"),
    Bad([np.array([0, 2, 1, 2], "i4")], ValueRangeError, "id 1 at position 2 follows 2"),
    Bad([IDS - 1], ValueRangeError, "id -1 at position 0"),
    Bad([IDS, X[:2]], ValueRangeError, "id 2 at position 2 .* 0 to 1"),
    Bad([IDS, X[0, 0]], ShapeError, "at least 1 dimension"),
    Bad([IDS.astype("f4")], DTypeError, "is float32"),
    Bad([IDS[None]], ShapeError, "must have 1 dimension"),
    Bad([], ArityError, "expected 1 to 2"),
    Bad([IDS], InplaceError, "in place", same=[(0, 0)]),
]


def _split(lengths, parts=None, n_split=None):
    parts = n_split if parts is None else int(parts[0])
    split = [n // parts + (j < n % parts) for n in lengths for j in range(parts)]
    return np.array(split, lengths.dtype)


def _split_samples(rng):
    for index, lengths in enumerate(LENGTHS):
        lengths = np.array(lengths, "int64" if index % 2 else "int32")
        yield Sample([lengths], {"n_split": index + 1})
        yield Sample([lengths, np.array([index + 1], "int32")], {"n_split": 9} if index else {})


def _masked(lengths, mask):
    return np.array([part.sum() for part in segments(mask, lengths)], lengths.dtype)


def _masked_samples(rng):
    for index, lengths in enumerate(LENGTHS):
        mask = rng.integers(0, 2, sum(lengths)).astype(bool)
        yield Sample([np.array(lengths, "int64" if index % 2 else "int32"), mask])


MASK = np.array([True, False, True])


def _shape(lengths):
    return np.array([lengths.size, lengths[0]], lengths.dtype)


def _shape_samples(rng):
    for lengths in ([3, 3], [0], [7, 7, 7]):
        for dtype in ("int32", "int64"):
            yield Sample([np.array(lengths, dtype)])


def _weights_samples(rng):
    for index, lengths in enumerate(LENGTHS):
        power = {"power": [0.5, 0.0, 1.0, 2.0][index % 4]}
        yield Sample([np.array(lengths, "int64" if index % 2 else "int32")], power)
    yield Sample([np.array([4, 1], "int32")])


def _offsets_samples(rng):
    for sample in _each("int32", "int64")(rng):
        yield sample
        yield Sample(sample.inputs, {"include_last_offset": 1})


SIMPLE = [
    Case("LengthsToSegmentIds", _ids, _each("int32", "int64"), lengths_bad()),
    Case("LengthsRangeFill", _range_fill, _each("int32", "int64"), lengths_bad()),
    Case("LengthsToWeights", _weights, _weights_samples, lengths_bad()),
    Case("LengthsToOffsets", _offsets, _offsets_samples, lengths_bad()),
    Case("LengthsToRanges", _ranges, _each("int32", "int64"), lengths_bad()),
    Case(
        "LengthsToShape",
        _shape,
        _shape_samples,
        [
            *lengths_bad(negative=False),
            Bad([N], ValueRangeError, r"lengths\[0\] is 2, lengths\[1\] is 1"),
            Bad([N[:0]], ShapeError, "is empty"),
        ],
    ),
    Case("SegmentIdsToLengths", _to_lengths, _id_samples, ID_BAD),
    Case("SegmentIdsToRanges", _to_ranges, _id_samples, ID_BAD),
    Case(
        "LengthsSplit",
        _split,
        _split_samples,
        [
            Bad([N], ArgumentError, "'n_split' is required"),
            Bad([N], ValueRangeError, "must be positive, found 0", {"n_split": 0}),
            Bad([N, N[:1] * 0], ValueRangeError, "must be positive, found 0"),
            Bad([N, N], ShapeError, "needs one element"),
            Bad([N - 2], ValueRangeError, r"lengths\[1\] is -1", {"n_split": 2}),
            Bad([N.astype("f4")], DTypeError, "is float32", {"n_split": 2}),
            Bad([N[None]], ShapeError, "must have 1 dimension", {"n_split": 2}),
            Bad([N], InplaceError, "in place", {"n_split": 1}, same=[(0, 0)]),
            Bad([], ArityError, "expected 1 to 2"),
        ],
    ),
    Case(
        "BooleanMaskLengths",
        _masked,
        _masked_samples,
        [
            Bad([N, MASK[1:]], ValueRangeError, "sum of lengths is 3, but the mask has 2"),
            Bad([N - 1, MASK], ValueRangeError, "sum of lengths is 1, but the mask has 3"),
            Bad([N - 2, MASK], ValueRangeError, r"lengths\[1\] is -1"),
            Bad([N, X], DTypeError, "'mask' is float32"),
            Bad([N, MASK[None]], ShapeError, "must have 1 dimension"),
            Bad([N.astype("f4"), MASK], DTypeError, "'lengths' is float32"),
            Bad([N], ArityError, "expected 2"),
            Bad([N, MASK], InplaceError, "in place", same=[(0, 0)]),
        ],
    ),
]

# ---------------------------------------------------------------- gathering


def _tile(data, lengths):
    return np.repeat(data, lengths, axis=0)


def _tile_samples(rng):
    for index, lengths in enumerate(LENGTHS):
        for shape in ((), (2,), (2, 3)):
            for kind in {ANY[(index + len(shape)) % len(ANY)], *FLOATS}:
                told = np.array(lengths, "int64" if index % 2 else "int32")
                data = draw(rng, (len(lengths), *shape), kind)
                yield Sample([data, told], gradient=kind in FLOATS)


def _gather(items, lengths, indices):
    parts = segments(items, lengths)
    return joined([parts[i] for i in indices], items)


def _gather_samples(rng):
    for index, lengths in enumerate(LENGTHS):
        for shape in ((), (2,), (2, 3)):
            kind = ANY[(index + len(shape)) % len(ANY)]
            items = draw(rng, (sum(lengths), *shape), kind)
            told = np.array(lengths, "int64" if index % 2 else "int32")
            picked = rng.integers(0, max(len(lengths), 1), 4 if lengths else 0)
            yield Sample([items, told, picked.astype("int32" if index % 2 else "int64")])


def _gather_ranges(data, ranges):
    parts = [data[s : s + n] for s, n in ranges.reshape(-1, 2)]
    return joined(parts, data), ranges[..., 1].sum(axis=1).astype("int32")


def _some_ranges(rng, samples, features, size):
    starts = rng.integers(0, size, (samples, features))
    return np.stack([starts, rng.integers(0, size + 1 - starts)], axis=-1)


def _range_samples(rng):
    for index, dtype in enumerate(ANY):
        data = draw(rng, (9,), dtype)
        ranges = _some_ranges(rng, index % 4, 1 + index % 3, 9)
        yield Sample([data, ranges.astype("int64" if index % 2 else "int32")], {}, 2)
    far = np.array([[[50, 0], [1, 2]]], "int32")
    yield Sample([draw(rng, (3,)), far], {}, 2)


def _dense(data, ranges, key=None, lengths=(), **ratios):
    found = []
    for r, length in enumerate(lengths):
        y = np.full((len(ranges), length), zero(data.dtype), data.dtype)
        for n, (start, count) in enumerate(ranges[:, r]):
            if count == length:
                at = np.arange(start, start + count)
                y[n] = data[at if key is None else at[np.argsort(key[at], kind="stable")]]
        found.append(y)
    return tuple(found)


def _dense_samples(rng):
    lengths = [2, 4, 1]
    for index, dtype in enumerate(ANY):
        data = draw(rng, (9,), dtype)
        starts = rng.integers(0, 5, (3, 3))
        counts = np.where(rng.integers(0, 3, (3, 3)), lengths, 0)
        counts[0, 0] = 3
        ranges = np.stack([starts, counts], axis=-1).astype("int64" if index % 2 else "int32")
        inputs = [data, ranges, rng.permutation(9).astype("int64")]
        yield Sample(inputs[: 2 + index % 2], {"lengths": lengths}, 3)
    yield Sample([draw(rng, (0,)), np.zeros((2, 1, 2), "int32")], {"lengths": [3]})
    loose = {"min_observation": 1, "max_mismatched_ratio": 1.0, "max_empty_ratio": 1.0}
    yield Sample([draw(rng, (4,)), np.array([[[0, 1]]], "int32")], {"lengths": [2], **loose})


def _merge(*inputs):
    samples = [
        np.unique(np.concatenate(parts))
        for parts in zip(
            *(segments(v, n) for n, v in zip(inputs[::2], inputs[1::2], strict=True)), strict=True
        )
    ]
    return np.array([len(ids) for ids in samples], "int32"), joined(samples, inputs[1])


def _merge_samples(rng):
    for index, lengths in enumerate(LENGTHS):
        dtype = "int64" if index % 2 else "int32"
        inputs = []
        for k in range(1 + index % 3):
            told = rng.permutation(lengths).astype(dtype if k else "int32")
            inputs += [told, rng.integers(0, 6, sum(lengths)).astype(dtype)]
        yield Sample(inputs, {}, 2)


V = np.arange(3)
R = np.array([[[0, 1], [1, 2]]], np.int32)
ONE = {"lengths": [1, 2]}
GATHERING = [
    Case(
        "LengthsTile",
        _tile,
        _tile_samples,
        [
            Bad([X[:2], N - 2], ValueRangeError, r"lengths\[1\] is -1"),
            Bad([X, N], ShapeError, "2 LENGTHS for 3 row"),
            Bad([X[0, 0], N], ShapeError, "at least 1 dimension"),
            Bad([X[:2], N.astype("f4")], DTypeError, "is float32"),
            Bad([X[:2], N[None]], ShapeError, "must have 1 dimension"),
            Bad([X], ArityError, "expected 2"),
            Bad([X[:2], N], InplaceError, "in place", same=[(0, 0)]),
        ],
    ),
    Case(
        "LengthsGather",
        _gather,
        _gather_samples,
        [
            Bad([X, N, N], ValueRangeError, "index 2 at position 0 .* 2 lengths"),
            Bad([X, N, N - 2], ValueRangeError, "index -1 at position 1"),
            Bad([X[1:], N, N - 1], ValueRangeError, "sum of LENGTHS is 3, but there are 2"),
            Bad([X, N - 2, N - 1], ValueRangeError, r"lengths\[1\] is -1"),
            Bad([X, N, N[None]], ShapeError, "must have 1 dimension"),
            Bad([X, N, X[0]], DTypeError, "is float32"),
            Bad([X, N], ArityError, "expected 3"),
        ],
    ),
    Case(
        "GatherRanges",
        _gather_ranges,
        _range_samples,
        [
            Bad([V[1:], R], ValueRangeError, "range 1, 2 element.* from 1 on", outputs=2),
            Bad([V, R * -1], ValueRangeError, "range 0, -1 element", outputs=2),
            Bad([X, R], ShapeError, "must have 1 dimension", outputs=2),
            Bad([V, R[0]], ShapeError, "must have 3 dimension", outputs=2),
            Bad([V, R[..., :1].copy()], ShapeError, "start and length", outputs=2),
            Bad([V, R.astype("f4")], DTypeError, "is float32", outputs=2),
            Bad([V, R], ArityError, "output"),
        ],
    ),
    Case(
        "GatherRangesToDense",
        _dense,
        _dense_samples,
        [
            Bad([V, R], ArgumentError, "'lengths' must be positive", outputs=2),
            Bad([V, R], ArgumentError, "'lengths' must be positive", {"lengths": [1, 0]}, 2),
            Bad([V, R], ShapeError, "1 lengths for 2 range", {"lengths": [1]}),
            Bad([V, R], ArityError, "as many outputs, not 1", ONE),
            Bad([V[1:], R], ValueRangeError, "no part of 2", ONE, 2),
            Bad([V, R, V[1:]], ShapeError, "2 keys for 3", ONE, 2),
            Bad([V, R, V.astype("i4")], DTypeError, "'KEY' is int32", ONE, 2),
            Bad([X, R], ShapeError, "must have 1 dimension", ONE, 2),
            Bad(
                [V, R],
                ValueRangeError,
                "1 of 1 ranges 1 are of another length",
                {"lengths": [1, 1], "min_observation": 1},
                2,
            ),
            Bad(
                [V, R * 0],
                ValueRangeError,
                "1 of 1 ranges 0 are empty",
                {**ONE, "min_observation": 1, "max_empty_ratio": 0.5},
                2,
            ),
        ],
    ),
    Case(
        "MergeIdLists",
        _merge,
        _merge_samples,
        [
            Bad([N, V, N], ArityError, "expected pairs", outputs=2),
            Bad([N, V[1:]], ValueRangeError, "is 3, but there are 2 value", outputs=2),
            Bad([N, V, N[:1], V], ShapeError, "has 1 lengths, not 2", outputs=2),
            Bad([N, V, N, V.astype("i4")], DTypeError, "one type", outputs=2),
            Bad([N, X[:, 0]], DTypeError, "is float32", outputs=2),
            Bad([N - 2, V], ValueRangeError, r"lengths\[1\] is -1", outputs=2),
            Bad([N], ArityError, "expected at least 2", outputs=2),
        ],
        skip={"infer_full": "the number of different ids depends on the values"},
    ),
]

# ---------------------------------------------------------------- SplitByLengths, LengthsTopK


def _cut(data, lengths, axis=None, order="NCHW", use_scaling_lengths=0, count=2):
    axis = {"NCHW": 1, "NHWC": 3}[order] if axis is None else axis
    sums = lengths.reshape(count, -1).sum(axis=1)
    if use_scaling_lengths:
        sums = sums * (data.shape[axis] // max(int(sums.sum()), 1))
    return tuple(np.split(data, np.cumsum(sums)[:-1], axis))


def _cut_samples(rng):
    cases = [
        ((3, 5), [2, 3], {}),
        ((3, 5), [5, 0], {"axis": -1}),
        ((4, 2), [1, 1, 0, 2], {"axis": 0}),
        ((2, 3, 2), [1, 2], {"axis": 1}),
        ((2, 3, 2, 4), [3, 1], {"order": "NHWC"}),
        ((2, 6), [1, 2], {"use_scaling_lengths": 1}),
        ((2, 0), [0, 0], {}),
        ((0, 2), [1, 1], {}),
    ]
    for index, (shape, lengths, args) in enumerate(cases):
        told = np.array(lengths, "int64" if index % 2 else "int32")
        for kind in {"float32", "float64", ANY[index % len(ANY)]}:
            yield Sample([draw(rng, shape, kind), told], args, 2, gradient=kind in FLOATS)


def _top(data, lengths, k=-1):
    values = np.zeros((len(lengths), k), data.dtype)
    indices = np.full((len(lengths), k), -1, "int32")
    for s, part in enumerate(segments(data.reshape(-1), lengths)):
        order = np.argsort(-part, kind="stable")[:k]
        values[s, : len(order)], indices[s, : len(order)] = part[order], order
    return values, indices


def _top_samples(rng):
    for index, lengths in enumerate(LENGTHS):
        for kind in (*FLOATS, "int32"):
            told = np.array(lengths, "int64" if index % 2 else "int32")
            data = rng.permutation(sum(lengths)).astype(kind)
            for k in (1, 3, 7):
                yield Sample([data, told], {"k": k}, 2)
    ties = np.array([2, np.nan, 1, 2], "float32").reshape(2, 2)
    yield Sample([ties, np.array([4], "int32")], {"k": 4}, 2, gradient=False)


def _top_gradient(lengths, indices, dy, k=-1):
    parts = [np.zeros(n, dy.dtype) for n in lengths]
    for part, at, values in zip(parts, indices, dy, strict=True):
        fine = (at >= 0) & (at < len(part))
        part[at[fine]] = values[fine]
    return np.concatenate(parts) if parts else dy.reshape(-1)[:0]


def _top_gradient_samples(rng):
    for sample in _top_samples(rng):
        data, lengths = sample.inputs
        if data.dtype.kind == "f":
            values, indices = _top(data, lengths, **sample.args)
            yield Sample([lengths, indices, draw(rng, values.shape, data.dtype)], sample.args)
    out = np.array([[0, 9], [-7, 0]], "int32")
    yield Sample([N, out, draw(rng, (2, 2))], {"k": 2})


AXIS = {"axis": 0}
K = {"k": 2}
AT = np.zeros((2, 2), np.int32)
REST = [
    Case(
        "SplitByLengths",
        _cut,
        _cut_samples,
        [
            Bad([X, N + 1], ValueRangeError, r"lengths \[3, 2\] add up to 5", AXIS, 2),
            Bad([X, N], ValueRangeError, "add up to 3, the axis has 2", {}, 2),
            Bad([X, N], ShapeError, "2 lengths cannot be shared by 3", AXIS, 3),
            Bad([X, N - 2], ValueRangeError, r"lengths\[1\] is -1", AXIS, 2),
            Bad([X, N], ShapeError, "out of range", {"axis": 2}, 2),
            Bad([X, N], ArgumentError, "must be NCHW or NHWC", {"order": "HW"}, 2),
            Bad([X, N], ArgumentError, "exclude each other", {"axis": 0, "order": "NCHW"}, 2),
            Bad([X, N], ShapeError, "in proportion to 3", {"use_scaling_lengths": 1}, 2),
            Bad([X, N.astype("f4")], DTypeError, "is float32", AXIS, 2),
            Bad([X, N[None]], ShapeError, "must have 1 dimension", AXIS, 2),
            Bad([X], ArityError, "expected 2", AXIS, 2),
        ],
    ),
    Case(
        "LengthsTopK",
        _top,
        _top_samples,
        [
            Bad([X[:, 0], N], ValueRangeError, "k must be at least 1, found -1", outputs=2),
            Bad([X, N], ValueRangeError, "sum of lengths is 3, but there are 6", K, 2),
            Bad([X[:1], N], ValueRangeError, "sum of lengths is 3, but there are 2", K, 2),
            Bad([X > 0, N], DTypeError, "'DATA' is bool", K, 2),
            Bad([X, N.astype("f4")], DTypeError, "is float32", K, 2),
            Bad([X, N[None]], ShapeError, "must have 1 dimension", K, 2),
            Bad([X, N], ArityError, "output", K),
        ],
        gradient_outputs=[0],
    ),
    Case(
        "LengthsTopKGradient",
        _top_gradient,
        _top_gradient_samples,
        [
            Bad([N, AT, X], ShapeError, "one shape", K),
            Bad([N[:1], AT, X[:2]], ShapeError, "a row for each of 1", K),
            Bad([N - 2, AT, X[:2]], ValueRangeError, r"lengths\[1\] is -1", K),
            Bad([N, AT.astype("i8"), X[:2]], DTypeError, "is int64", K),
            Bad([N, AT, AT], DTypeError, "is int32", K),
            Bad([N, AT], ArityError, "expected 3", K),
        ],
    ),
]

CASES = [*SIMPLE, *GATHERING, *REST]
