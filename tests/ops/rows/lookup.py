"""Rows: buckets, one-hot columns, lists of indices, unique elements, the largest by row."""

import math

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
ANY = ("float32", "int8", "float16", "bool", "uint16", "object")
OPEN = {"infer_full": "the size depends on the elements"}


def draw(rng, shape, dtype="float32"):
    if dtype == "object":
        return np.array([b"%d" % n for n in rng.integers(0, 99, math.prod(shape))], object).reshape(
            shape
        )
    return np.asarray(rng.integers(0 if dtype[0] in "bu" else -9, 10, shape)).astype(dtype)


def i4(*values):
    return np.array(values, np.int32)


def i8(*values):
    return np.array(values, np.int64)


def some_lengths(rng, rows, most=4, dtype="int32"):
    return rng.integers(0, most, rows).astype(dtype)


F4 = np.ones((2, 3), np.float32)
F8 = F4.astype("f8")
FLAG = np.array([True, False, True])

# ---------------------------------------------------------------- buckets


def _bucketize(x, boundaries=()):
    return np.searchsorted(np.array(boundaries, np.float32), x).astype(np.int32)


def _bucketize_samples(rng):
    for dtype in FLOATS:
        for shape in ((), (0,), (7,), (3, 4)):
            x = draw(rng, shape, dtype)
            yield Sample([x], {"boundaries": [-3.0, 0.0, 0.0, 2.5]})
            yield Sample([x])


def _split(values, lengths):
    return np.split(values, np.cumsum(lengths)[:-1]) if len(lengths) else []


def _bucketize_columns(x, columns, edges, lengths):
    found = [
        np.searchsorted(own, x[:, c])
        for c, own in zip(columns, _split(edges, lengths), strict=True)
    ]
    return np.array(found, np.int32).reshape(len(columns), len(x)).T


def _edges(rng, lengths, dtype):
    parts = [np.sort(rng.integers(-9, 10, n)) for n in lengths]
    return np.concatenate([[], *parts]).astype(dtype)


def _column_samples(rng):
    for dtype in FLOATS:
        for rows, width, count in [(3, 4, 2), (1, 1, 1), (0, 3, 2), (5, 6, 6), (2, 3, 0)]:
            lengths = some_lengths(rng, count)
            columns = rng.integers(0, width, count).astype(np.int32)
            x = draw(rng, (rows, width), dtype)
            yield Sample([x, columns, _edges(rng, lengths, dtype), lengths])


def _equal_columns(x, lengths, values):
    x = x.reshape(len(x), len(lengths))
    owners = np.repeat(np.arange(len(lengths)), lengths)
    return (x[:, owners] == values).astype(x.dtype)


def _equal_samples(rng):
    for dtype in ("int32", "int64", *FLOATS):
        for shape in [(3, 4), (1, 1), (0, 3), (4,), (2, 3, 2)]:
            lengths = some_lengths(rng, math.prod(shape[1:]))
            inputs = [draw(rng, shape, dtype), lengths, draw(rng, (lengths.sum(),), dtype)]
            yield Sample(inputs)


def _bucket_columns(x, lengths, edges):
    blocks = []
    for column, own in zip(x.T, _split(edges, lengths), strict=True):
        low, high = (np.searchsorted(own, column, side) for side in ("left", "right"))
        blocks.append(np.eye(len(own) + 1)[(low + high) // 2])
    return np.concatenate(blocks, 1).astype(x.dtype)


def _bucket_samples(rng):
    for dtype in FLOATS:
        for rows, width in [(3, 4), (1, 1), (9, 2)]:
            lengths = some_lengths(rng, width)
            yield Sample([draw(rng, (rows, width), dtype), lengths, _edges(rng, lengths, dtype)])


BUCKETS = [
    Case(
        "Bucketize",
        _bucketize,
        _bucketize_samples,
        bad=[
            Bad([F4], ArgumentError, "must ascend", {"boundaries": [2.0, 1.0]}),
            Bad([i4(1)], DTypeError, "is int32"),
            Bad([F4, F4], ArityError, "expected 1"),
            Bad([F4], InplaceError, "does not allow", same=[(0, 0)]),
        ],
    ),
    Case(
        "BatchBucketize",
        _bucketize_columns,
        _column_samples,
        bad=[
            Bad([F4, i4(3), F4[0], i4(3)], ValueRangeError, r"indices\[0\] is 3, expected 0 to 2"),
            Bad([F4, i4(0), F4[0], i4(2)], ValueRangeError, "must add up to 3"),
            Bad([F4, i4(0, 1), F4[0], i4(-1, 4)], ValueRangeError, "must not be negative"),
            Bad([F4, i4(0, 1), F4[0], i4(3)], ShapeError, "one length for each"),
            Bad([F4[0], i4(0), F4[0], i4(3)], ShapeError, "must have 2 dimension"),
            Bad([F4, i8(0), F4[0], i4(3)], DTypeError, "is int64"),
            Bad([F4, i4(0), F8[0], i4(3)], DTypeError, "one type"),
            Bad([F4, i4(0), F4[0]], ArityError, "expected 4"),
        ],
    ),
    Case(
        "BatchOneHot",
        _equal_columns,
        _equal_samples,
        bad=[
            Bad([i4(1, 2), i4(2), i4(1)], ValueRangeError, "must add up to 1"),
            Bad([i4(1, 2), i4(1, 1), i4(1, 2)], ShapeError, "one length for each column"),
            Bad([i4(1, 2), i4(1), i8(1)], DTypeError, "one type"),
            Bad([i4(1, 2), i8(1), i4(1)], DTypeError, "is int64"),
            Bad([i4(1, 2), i4(1)], ArityError, "expected 3"),
        ],
    ),
    Case(
        "BatchBucketOneHot",
        _bucket_columns,
        _bucket_samples,
        bad=[
            Bad([F4, i4(1, 1, 2), F4[0]], ValueRangeError, "must add up to 3"),
            Bad([F4, i4(1, 2), F4[0]], ShapeError, "one length for each column"),
            Bad([F4, i4(1, 1, 1), F8[0]], DTypeError, "one type"),
            Bad([i4(1), i4(1), F4[0]], DTypeError, "is int32"),
            Bad([F4, i4(1)], ArityError, "expected 3"),
        ],
    ),
]

# ---------------------------------------------------------------- lists


def _dense(lengths, indices, values, like=None, dense_last_dim=-1, default_value=0.0):
    width = dense_last_dim if like is None else like.shape[1]
    y = np.full((len(lengths), width), default_value, values.dtype)
    rows = np.repeat(np.arange(len(lengths)), lengths)
    for r, c, v in zip(rows, indices, values.reshape(-1), strict=True):
        y[r, c] = v
    return y


def _lists(rng, rows, width, dtype="int64"):
    lengths = rng.integers(0, width + 1, rows).astype(dtype)
    parts = [rng.permutation(width)[:n] for n in lengths]
    return lengths, np.concatenate([np.zeros(0, dtype), *parts]).astype(dtype)


def _dense_samples(rng):
    for dtype in FLOATS:
        for rows, width, index in [
            (3, 4, "int64"),
            (1, 1, "int32"),
            (0, 3, "int64"),
            (5, 7, "int32"),
        ]:
            lengths, indices = _lists(rng, rows, width, index)
            inputs = [lengths, indices, draw(rng, indices.shape, dtype)]
            yield Sample(inputs, {"dense_last_dim": width})
            yield Sample([*inputs, draw(rng, (2, width), dtype)], {"default_value": 2.5})
            yield Sample(inputs, {"dense_last_dim": width, "default_value": -1.0})


def _sparse(lengths, indices, dense):
    return dense[np.repeat(np.arange(len(lengths)), lengths), indices]


def _sparse_samples(rng):
    for dtype in FLOATS:
        for rows, width, index in [
            (3, 4, "int64"),
            (1, 1, "int32"),
            (0, 3, "int64"),
            (5, 7, "int32"),
        ]:
            yield Sample([*_lists(rng, rows, width, index), draw(rng, (rows, width), dtype)])


def _segment_one_hot(lengths, indices, size):
    y = np.zeros((len(lengths), int(size.reshape(-1)[0])), np.float32)
    y[np.repeat(np.arange(len(lengths)), lengths), indices] = 1
    return y


def _segment_samples(rng):
    for rows, size, shape in [(3, 4, (1,)), (1, 1, ()), (0, 3, (1,)), (6, 2, ())]:
        lengths = some_lengths(rng, rows)
        indices = rng.integers(0, size, lengths.sum())
        yield Sample([lengths, indices, np.full(shape, size, np.int64)])


def _choose(indices, values, default, lengths=None, mask=(), **args):
    sizes = [indices.size] if lengths is None else lengths
    y = np.empty((len(sizes), len(mask), *default.shape), values.dtype)
    y[...] = default
    seen = np.zeros(y.shape[:2], bool)
    at = 0
    for r, size in enumerate(sizes):
        for k in range(at, at + size):
            if indices[k] in mask:
                y[r, mask.index(indices[k])] = values[k]
                seen[r, mask.index(indices[k])] = True
        at += size
    return (y[0], seen[0]) if lengths is None else (y, seen)


def _choose_samples(rng):
    mask = [3, 7, 2, 200000]
    for dtype in (*ANY, "float64"):
        for block in ((), (2,), (2, 3)):
            for lengths in (None, some_lengths(rng, 3)):
                count = 5 if lengths is None else int(lengths.sum())
                at = rng.choice([1, 2, 3, 7, 9, -1, 200000], count).astype(
                    "int64" if len(block) else "int32"
                )
                inputs = [at, draw(rng, (count, *block), dtype), draw(rng, block, dtype)]
                inputs += [] if lengths is None else [lengths]
                smooth = dtype not in ("float16",)
                yield Sample(inputs, {"mask": mask}, gradient=smooth)
                more = {"mask": mask, "return_presence_mask": 1, "max_skipped_indices": 9}
                yield Sample(inputs, more, outputs=2, gradient=smooth)


def _choose_gradient(indices, dy, lengths=None, mask=()):
    sizes = [indices.size] if lengths is None else lengths
    dy = dy[None] if lengths is None else dy
    dx = np.zeros((indices.size, *dy.shape[2:]), dy.dtype)
    at = 0
    for r, size in enumerate(sizes):
        for column, wanted in enumerate(mask):
            places = [k for k in range(at, at + size) if indices[k] == wanted]
            if places:
                dx[places[-1]] = dy[r, column]
        at += size
    return dx


def _choose_gradients(rng):
    mask = [3, 7, 2]
    for dtype in FLOATS:
        for block in ((), (2,)):
            at = rng.choice([1, 2, 3, 7, -1], 6).astype("int32")
            yield Sample([at, draw(rng, (3, *block), dtype)], {"mask": mask})
            lengths = i4(2, 0, 4)
            yield Sample([at, draw(rng, (3, 3, *block), dtype), lengths], {"mask": mask})


def _ids(x):
    found = np.trunc(x + 0.5) != 0
    return found.sum(1).astype(np.int32), np.nonzero(found)[1].astype(np.int32)


def _id_samples(rng):
    for dtype in FLOATS:
        for shape in ((3, 4), (0, 2), (2, 0), (7, 9)):
            yield Sample([rng.uniform(-2, 2, shape).astype(dtype)], outputs=2)


MASK = {"mask": [3, 7]}
LISTS = [
    Case(
        "BatchSparseToDense",
        _dense,
        _dense_samples,
        bad=[
            Bad([i8(2), i8(0, 3), F4[0, :2]], ValueRangeError, "index 3 at", {"dense_last_dim": 3}),
            Bad(
                [i8(1), i8(0, 1), F4[0, :2]],
                ValueRangeError,
                "add up to 2",
                {"dense_last_dim": 3},
            ),
            Bad([i8(2), i8(0, 1), F4[0]], ShapeError, "there are 2 ind", {"dense_last_dim": 3}),
            Bad([i8(2), i8(0, 1), F4[0, :2]], ArgumentError, "at least 1"),
            Bad([i8(2), i8(0, 1), F4[0, :2], F4], ShapeError, "3 columns", {"dense_last_dim": 2}),
            Bad([F4[0], i8(0), F4[0]], DTypeError, "is float32", {"dense_last_dim": 3}),
            Bad([i8(2), i8(0, 1)], ArityError, "expected 3 to 4"),
        ],
    ),
    Case(
        "BatchDenseToSparse",
        _sparse,
        _sparse_samples,
        bad=[
            Bad([i8(1, 1), i8(0, 3), F4], ValueRangeError, "index 3 at position 1"),
            Bad([i8(1, 1), i8(0, -1), F4], ValueRangeError, "index -1 at position 1"),
            Bad([i8(1, 1), i8(0), F4], ValueRangeError, "must add up to 1"),
            Bad([i8(1), i8(0), F4], ShapeError, "one row for each"),
            Bad([i8(1), i8(0), F4[0]], ShapeError, "must have 2 dimension"),
            Bad([i8(1), i8(0)], ArityError, "expected 3"),
        ],
    ),
    Case(
        "SegmentOneHot",
        _segment_one_hot,
        _segment_samples,
        bad=[
            Bad([i4(2), i8(0, 3), i8(3)], ValueRangeError, "index 3 at position 1"),
            Bad([i4(1), i8(0, 2), i8(3)], ValueRangeError, "must add up to 2"),
            Bad([i4(1), i8(0), i8(-3)], ValueRangeError, "must not be negative"),
            Bad([i4(1), i8(0), i8(3, 3)], ShapeError, "needs one element"),
            Bad([i8(1), i8(0), i8(3)], DTypeError, "is int64; supported: int32"),
            Bad([i4(1), i8(0)], ArityError, "expected 3"),
        ],
    ),
    Case(
        "SparseToDenseMask",
        _choose,
        _choose_samples,
        bad=[
            Bad([i4(3), F4[0, :1], F4[0, 0]], ArgumentError, "at least one"),
            Bad([i4(3), F4[0, :1], F4[0, 0]], ArgumentError, "different", {"mask": [1, 1]}),
            Bad([i4(3), F4[0, :1], F4[0, 0]], ArgumentError, "not negative", {"mask": [-1]}),
            Bad([i4(3), F4, F4[0]], ShapeError, "one value for each", MASK),
            Bad([i4(3, 7), F4, F4[0, 0]], ShapeError, "needs .3., the shape", MASK),
            Bad([i4(3, 7), F4, F8[0]], DTypeError, "one type", MASK),
            Bad([i4(3, 7), F4, F4[0], i4(3)], ValueRangeError, "add up to 2", MASK),
            Bad(
                [i4(3, -7), F4, F4[0]],
                ValueRangeError,
                "1 row.s. with negative indices",
                {**MASK, "max_skipped_indices": 1},
            ),
            Bad([i4(3, 7), F4, F4[0]], ArityError, "2 out", {**MASK, "return_presence_mask": 1}),
            Bad([i4(3, 7), F4], ArityError, "expected 3 to 4", MASK),
        ],
    ),
    Case(
        "SparseToDenseMaskGradient",
        _choose_gradient,
        _choose_gradients,
        bad=[
            Bad([i4(3), F4], ArgumentError, "at least one"),
            Bad([i4(3), F4[0]], ShapeError, "must begin with .2.", MASK),
            Bad([i4(3), F4, i4(1, 1)], ShapeError, "must begin with .2,2.", MASK),
            Bad([i4(3), F4[:, :2], i4(1, 1)], ValueRangeError, "must add up to 1", MASK),
            Bad([F4[0], F4], DTypeError, "is float32", MASK),
            Bad([i4(3)], ArityError, "expected 2 to 3", MASK),
        ],
    ),
    Case(
        "DenseVectorToIdList",
        _ids,
        _id_samples,
        bad=[
            Bad([F4[0]], ShapeError, "must have 2 dimension", outputs=2),
            Bad([i4(1)], DTypeError, "is int32", outputs=2),
            Bad([F4], ArityError, "expected 2 output"),
        ],
        skip=OPEN,
    ),
]

# ---------------------------------------------------------------- search


def _find(index, query, missing_value=-1):
    places = {value: k for k, value in enumerate(index.reshape(-1).tolist())}
    found = [places.get(value, missing_value) for value in query.reshape(-1).tolist()]
    return np.array(found, query.dtype).reshape(query.shape)


def _find_samples(rng):
    for dtype in ("int32", "int64"):
        for size, shape in ((5, (3,)), (0, (2,)), (300, (4, 50)), (1, ()), (3, (0,))):
            inputs = [rng.integers(-90, 90, size).astype(dtype)]
            yield Sample([*inputs, np.asarray(rng.integers(-90, 90, shape)).astype(dtype)])
            inputs = [rng.integers(-3, 3, size).astype(dtype), draw(rng, shape, dtype)]
            yield Sample(inputs, {"missing_value": 77})


def _unique(x):
    values, places = np.unique(x, return_inverse=True)
    return values, places.astype(np.int32)


def _unique_samples(rng):
    for dtype in ("int32", "int64"):
        for size in (0, 1, 7, 200):
            yield Sample([rng.integers(-20, 20, size).astype(dtype)])
            yield Sample([rng.integers(-20, 20, size).astype(dtype)], outputs=2)


def _duplicates(x):
    values = x.tolist()
    return np.array([k for k, v in enumerate(values) if v in values[:k]], np.int64)


def _duplicate_samples(rng):
    for dtype in (*ANY, "int64"):
        for size in (0, 1, 7, 60):
            yield Sample([draw(rng, (size,), dtype)])


SEARCH = [
    Case(
        "Find",
        _find,
        _find_samples,
        bad=[
            Bad([i4(1), i8(1)], DTypeError, "one type"),
            Bad([F4, F4], DTypeError, "is float32"),
            Bad([i4(1)], ArityError, "expected 2"),
        ],
    ),
    Case(
        "Unique",
        _unique,
        _unique_samples,
        bad=[
            Bad([F4[0]], DTypeError, "is float32"),
            Bad([i4(1)[None]], ShapeError, "must have 1 dimension"),
            Bad([i4(1), i4(1)], ArityError, "expected 1"),
        ],
        skip=OPEN,
    ),
    Case(
        "FindDuplicateElements",
        _duplicates,
        _duplicate_samples,
        bad=[
            Bad([F4], ShapeError, "must have 1 dimension"),
            Bad([i4(1), i4(1)], ArityError, "expected 1"),
        ],
        skip=OPEN,
    ),
]

# ---------------------------------------------------------------- FlexibleTopK


def _flexible(x, k):
    rows = x.reshape(math.prod(x.shape[:-1]), x.shape[-1])
    orders = [np.argsort(-row, kind="stable") for row in rows]
    chosen = [order[:n] for order, n in zip(orders, k.reshape(-1), strict=True)]
    values = [row[at] for row, at in zip(rows, chosen, strict=True)]
    return (
        np.concatenate([x.reshape(-1)[:0], *values]),
        np.concatenate([np.zeros(0, np.int64), *chosen]),
    )


def _flexible_samples(rng):
    for dtype in ("int32", "int64", *FLOATS):
        for shape in ((3, 4), (1, 1), (0, 3), (2, 3, 30), (5,)):
            x = rng.permutation(math.prod(shape)).reshape(shape).astype(dtype)
            yield Sample([x, rng.integers(1, shape[-1] + 1, shape[:-1])], outputs=2)
    yield Sample([np.array([[1, 3, 3, 1]], np.float32), i8(3)], outputs=2, gradient=False)


def _flexible_gradient(x, k, dy, indices):
    dx = np.zeros((k.size, x.shape[-1]), x.dtype)
    dx[np.repeat(np.arange(k.size), k.reshape(-1)), indices] = dy
    return dx.reshape(x.shape)


def _flexible_gradients(rng):
    for sample in _flexible_samples(rng):
        x, k = sample.inputs
        if x.dtype.kind == "f":
            values, indices = _flexible(x, k)
            yield Sample([x, k, draw(rng, values.shape, x.dtype.name), indices])


TOP = [
    Case(
        "FlexibleTopK",
        _flexible,
        _flexible_samples,
        bad=[
            Bad([F4, i8(1, 0)], ValueRangeError, "must lie in 1 to 3", outputs=2),
            Bad([F4, i8(1, 4)], ValueRangeError, "must lie in 1 to 3", outputs=2),
            Bad([F4, i8(1)], ShapeError, "has 2 row", outputs=2),
            Bad([F4, i4(1, 1)], DTypeError, "is int32; supported: int64", outputs=2),
            Bad([F4[0, 0], i8(1)], ShapeError, "at least 1 dimension", outputs=2),
            Bad([F4, i8(1, 1)], ArityError, "expected 2 output"),
        ],
    ),
    Case(
        "FlexibleTopKGradient",
        _flexible_gradient,
        _flexible_gradients,
        bad=[
            Bad([F4, i8(1, 1), F4[0, :2], i8(0, 3)], ValueRangeError, "index 3 at position 1"),
            Bad([F4, i8(1, 1), F4[0], i8(0, 1, 2)], ShapeError, "the counts add up to 2"),
            Bad([F4, i8(1, 1), F4[0], i8(0, 1)], ShapeError, "must have one shape"),
            Bad([F4, i8(1, 1), F8[0, :2], i8(0, 1)], DTypeError, "one type"),
            Bad([F4, i8(1, 1), F4[0, :2]], ArityError, "expected 4"),
        ],
    ),
]

CASES = [*BUCKETS, *LISTS, *SEARCH, *TOP]
