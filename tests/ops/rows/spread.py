"""Rows: masks, permuted, removed and scattered rows, rows dealt out by keys."""

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
from tests.ops.rows.lookup import ANY, F4, F8, FLAG, FLOATS, OPEN, draw, i4, i8, some_lengths

# ---------------------------------------------------------------- masks


def _mask_samples(rng):
    for index, dtype in enumerate((*ANY, "float64")):
        for shape in ((3,), (5, 2), (4, 2, 3), (0, 2)):
            inputs = [draw(rng, shape, dtype), rng.integers(0, 2, shape[:1]).astype(bool)]
            yield Sample(inputs, outputs=1 + index % 2, gradient=dtype != "float16")


def _mask_gradient(mask, dy):
    dx = np.zeros((len(mask), *dy.shape[1:]), dy.dtype)
    dx[mask] = dy
    return dx


def _mask_gradients(rng):
    for dtype in ("float32", "float64", "float16", "int32"):
        for shape in ((3,), (5, 2), (4, 2, 3), (0, 2)):
            mask = rng.integers(0, 2, shape[:1]).astype(bool)
            yield Sample([mask, draw(rng, (mask.sum(), *shape[1:]), dtype)])


def _unmask(*pairs):
    y = np.zeros(pairs[0].shape, pairs[1].dtype)
    free = np.ones(y.shape, bool)
    for mask, values in zip(pairs[::2], pairs[1::2], strict=True):
        y[mask & free] = values
        free &= ~mask
    return y


def _unmask_samples(rng):
    for dtype in ANY:
        for size, count in ((5, 2), (1, 1), (0, 1), (40, 4)):
            owner = rng.integers(0, count, size)
            inputs = []
            for k in range(count):
                more = rng.integers(0, 2, size).astype(bool) & (owner < k)
                inputs += [(owner == k) | more, draw(rng, (np.sum(owner == k),), dtype)]
            yield Sample(inputs)


def _hidden(mode, i, j, given, radius):
    return {
        "sequence": lambda: j >= given,
        "window": lambda: abs(j - given) > radius,
        "upper": lambda: j > i,
        "lower": lambda: j < i,
        "upperdiag": lambda: j >= i,
        "lowerdiag": lambda: j <= i,
    }[mode]()


def _sequence(
    x, given=None, mode="", axis=1, fill_val=-np.inf, radius=10, batch=None, grad=0, **more
):
    axis %= x.ndim
    first = 0 if batch is None else batch % x.ndim + 1
    last = more["repeat_from_axis"] % x.ndim if more else x.ndim
    dims = [x.shape[:first], x.shape[first:axis], x.shape[axis:last], x.shape[last:]]
    y = x.reshape([math.prod(d) for d in dims]).copy()
    for i in range(y.shape[1]):
        for j in range(y.shape[2]):
            own = 0 if given is None else int(given.reshape(-1)[i])
            if _hidden(mode, i, j, own, radius):
                y[:, i, j] = 0 if grad else fill_val
    return y.reshape(x.shape)


SEQUENCES = [
    ((3, 4), {}),
    ((2, 3, 4), {"axis": 2}),
    ((2, 3, 4), {"axis": 2, "batch": 0}),
    ((2, 3, 4), {"axis": -1, "batch": 1}),
    ((2, 0), {}),
]


def _sequence_samples(rng):
    for dtype in FLOATS:
        for shape, args in SEQUENCES:
            x = draw(rng, shape, dtype)
            for mode in ("upper", "lower", "upperdiag", "lowerdiag"):
                yield Sample([x], {**args, "mode": mode, "fill_val": 7.0})
            given = rng.integers(-1, 6, math.prod(shape) + 2).astype(np.int32)
            for mode in ("sequence", "window"):
                fill = {"mode": mode, "fill_val": 7.0, "radius": 1}
                yield Sample([x, given], {**args, **fill}, gradient=True)
        x = draw(rng, (2, 3, 4, 2), dtype)
        args = {"mode": "sequence", "repeat_from_axis": -2, "fill_val": 0.5}
        yield Sample([x, i4(1, 2)], args)
        args = {"mode": "sequence", "axis": 2, "repeat_from_axis": 3}
        yield Sample([x, i4(1, 2, 3, 0, 9, 1)], args, gradient=False)
    yield Sample([draw(rng, (3, 4))], {"mode": "upper", "grad": 1})


MASKS = [
    Case(
        "BooleanMask",
        lambda x, mask: (x[mask], np.flatnonzero(mask)),
        _mask_samples,
        bad=[
            Bad([F4, FLAG], ShapeError, "one flag for each row"),
            Bad([F4[0], F4[:1] > 0], ShapeError, "must have 1 dimension"),
            Bad([F4[0], F4[0]], DTypeError, "is float32; supported: bool"),
            Bad([F4[0]], ArityError, "expected 2"),
        ],
        skip=OPEN,
    ),
    Case(
        "BooleanMaskGradient",
        _mask_gradient,
        _mask_gradients,
        bad=[
            Bad([FLAG, F4[0]], ValueRangeError, "holds at 2 place.s., for 3 row"),
            Bad([FLAG, F4[:1]], ValueRangeError, "holds at 2 place.s., for 1 row"),
            Bad([FLAG, np.array([b"", b""], object)], DTypeError, "is string"),
            Bad([F4[0], F4], DTypeError, "is float32; supported: bool"),
            Bad([FLAG], ArityError, "expected 2"),
        ],
    ),
    Case(
        "BooleanUnmask",
        _unmask,
        _unmask_samples,
        bad=[
            Bad([FLAG, F4[0, :2]], ValueRangeError, "all masks are false at position 1"),
            Bad([FLAG, F4[0], ~FLAG, F4[0, :1]], ValueRangeError, "mask 0 holds at another"),
            Bad([FLAG, F4[0, :1], ~FLAG, F4[0, :1]], ValueRangeError, "mask 0 holds at another"),
            Bad([FLAG, F4[0], FLAG], ArityError, "even number"),
            Bad([FLAG, F4[0], FLAG[:2], F4[0]], ShapeError, "all masks have one size"),
            Bad([FLAG, F4[0], FLAG, F8[0]], DTypeError, "one type"),
            Bad([F4[0], F4[0]], DTypeError, "is float32; supported: bool"),
        ],
    ),
    Case(
        "SequenceMask",
        _sequence,
        _sequence_samples,
        bad=[
            Bad([F4], ArgumentError, "mode must be one of"),
            Bad([F4], ArgumentError, "found 'x'", {"mode": "x"}),
            Bad([F4], ArityError, "needs a second input", {"mode": "sequence"}),
            Bad([F4, i4(1)], ShapeError, "has 2 row", {"mode": "sequence"}),
            Bad([F4, F4[0]], DTypeError, "is float32; supported: int32", {"mode": "sequence"}),
            Bad([F4], ShapeError, "out of range", {"mode": "upper", "axis": 2}),
            Bad([F4], ShapeError, "must lie before axis", {"mode": "upper", "batch": 1}),
            Bad([F4], ArgumentError, "needs mode", {"mode": "upper", "repeat_from_axis": 1}),
            Bad(
                [F4, i4(1, 1)],
                ShapeError,
                "must lie behind axis",
                {"mode": "sequence", "repeat_from_axis": 1},
            ),
            Bad([i4(1)], DTypeError, "is int32", {"mode": "upper"}),
        ],
    ),
]

# ---------------------------------------------------------------- rows


def _permutation_samples(rng):
    for index, dtype in enumerate((*ANY, "float64")):
        for shape in ((3,), (5, 2), (4, 2, 3), (0, 2)):
            at = rng.permutation(shape[0]).astype("int64" if index % 2 else "int32")
            yield Sample([draw(rng, shape, dtype), at], gradient=dtype != "float16")
    yield Sample([draw(rng, (3, 2)), i4(0, 2, 0)])


def _permutation_gradient(at, dy):
    dx = np.zeros_like(dy)
    np.add.at(dx, at, dy)
    return dx


def _permutation_gradients(rng):
    for dtype in FLOATS:
        for shape in ((3,), (5, 2), (4, 2, 3), (0, 2)):
            at = rng.integers(0, max(shape[0], 1), shape[0]).astype(np.int32)
            yield Sample([at, draw(rng, shape, dtype)])


def _scatter(x, indices, updates, axis=1):
    y = x.copy()
    np.put_along_axis(y, indices, updates, axis)
    return y


def _scatter_samples(rng):
    for dtype in ANY:
        for shape, count, axis in [
            ((3, 4), 2, 1),
            ((3, 4), 2, 0),
            ((2, 3, 4), 2, -2),
            ((4,), 3, 0),
        ]:
            sizes = list(shape)
            sizes[axis] = count
            order = np.argsort(rng.uniform(0, 1, shape), axis)
            at = np.take(order, range(count), axis).astype("int32" if axis else "int64")
            inputs = [draw(rng, shape, dtype), at, draw(rng, sizes, dtype)]
            yield Sample(inputs, {} if axis == 1 else {"axis": axis})


def _removed_samples(rng):
    for index, dtype in enumerate(ANY):
        for shape, count in (((3,), 2), ((5, 2), 3), ((4, 2, 3), 0), ((9, 1), 20)):
            at = rng.integers(0, shape[0], count).astype("int64" if index % 2 else "int32")
            yield Sample([draw(rng, shape, dtype), at])


def _copied(x, indices, row):
    y = x.copy()
    y[indices] = row
    return y


def _copied_samples(rng):
    for dtype in ("float32", "float64", "float16", "int32", "int64"):
        for shape, count in (((3, 2), 2), ((5, 4), 0), ((4, 1), 6), ((2, 0), 1)):
            at = rng.integers(0, shape[0], count)
            inputs = [draw(rng, shape, dtype), at, draw(rng, shape[1:], dtype)]
            yield Sample(inputs, same=[(0, 0)], gradient=False)
    inputs = [draw(rng, (3, 2)), i8(), draw(rng, (2,))]
    yield Sample(inputs, same=[(0, 0)])


def _any_matrices(rng):
    for dtype in ("float32", "float64", "float16", "int32", "int64"):
        yield Sample([draw(rng, (3, 2), dtype)])


WIDE = np.ones((3, 2), np.float32)
AT = np.zeros((3, 1), np.int32)
ROWS = [
    Case(
        "BatchPermutation",
        lambda x, at: x[at],
        _permutation_samples,
        bad=[
            Bad([WIDE, i4(0, 1, 3)], ValueRangeError, "index 3 at position 2"),
            Bad([WIDE, i4(0, 1)], ShapeError, "one index for each row"),
            Bad([WIDE, F4[0]], DTypeError, "is float32"),
            Bad([WIDE[0, 0], i4(0)], ShapeError, "at least 1 dimension"),
            Bad([WIDE], ArityError, "expected 2"),
        ],
    ),
    Case(
        "BatchPermutationGradient",
        _permutation_gradient,
        _permutation_gradients,
        bad=[
            Bad([i4(0, 1, 3), WIDE], ValueRangeError, "index 3 at position 2"),
            Bad([i4(0, 1), WIDE], ShapeError, "one index for each row"),
            Bad([i4(0), i4(0)], DTypeError, "is int32"),
            Bad([i4(0)], ArityError, "expected 2"),
        ],
    ),
    Case(
        "Scatter",
        _scatter,
        _scatter_samples,
        bad=[
            Bad([WIDE, AT + 2, WIDE[:, :1]], ValueRangeError, "index 2 at position 0"),
            Bad([WIDE, AT - 1, WIDE[:, :1]], ValueRangeError, "index -1 at position 0"),
            Bad([WIDE, AT, WIDE], ShapeError, "must have one shape"),
            Bad([WIDE, AT[:2], WIDE[:2, :1]], ShapeError, "may differ along axis 1 only"),
            Bad([WIDE, AT, WIDE[:, :1]], ShapeError, "out of range", {"axis": 2}),
            Bad([WIDE, AT, WIDE[:, :1].astype("f8")], DTypeError, "one type"),
            Bad([WIDE, WIDE, WIDE], DTypeError, "'INDICES' is float32"),
            Bad([WIDE, AT], ArityError, "expected 3"),
        ],
    ),
    Case(
        "RemoveDataBlocks",
        lambda x, at: np.delete(x, np.unique(at), 0),
        _removed_samples,
        bad=[
            Bad([WIDE, i4(3)], ValueRangeError, "index 3 at position 0"),
            Bad([WIDE, i4(0, -1)], ValueRangeError, "index -1 at position 1"),
            Bad([WIDE, F4[0]], DTypeError, "is float32"),
            Bad([WIDE[0, 0], i4(0)], ShapeError, "at least 1 dimension"),
            Bad([WIDE], ArityError, "expected 2"),
        ],
        skip=OPEN,
    ),
    Case(
        "CopyRowsToTensor",
        _copied,
        _copied_samples,
        bad=[
            Bad([WIDE, i8(3), WIDE[0]], ValueRangeError, "index 3", same=[(0, 0)]),
            Bad([WIDE, i8(0), F4[0]], ShapeError, "it replaces rows", same=[(0, 0)]),
            Bad([WIDE, i8(0), WIDE], ShapeError, "must have 1 dimension", same=[(0, 0)]),
            Bad([WIDE, F4[0], WIDE[0]], DTypeError, "is float32", same=[(0, 0)]),
            Bad([WIDE, i8(0), F8[0, :2]], DTypeError, "one type", same=[(0, 0)]),
            Bad([WIDE, i8(0), WIDE[0]], InplaceError, "must be the same blob"),
        ],
        skip={"inplace": "it is always in place"},
    ),
    Case(
        "CopyRowsToTensorGradient",
        lambda dy: dy,
        _any_matrices,
        bad=[Bad([WIDE, WIDE], ArityError, "expected 1")],
    ),
]

# ---------------------------------------------------------------- keys


def _partition(keys, *rest, parts=2, pack_first_input=0):
    shards = keys.reshape(-1) % parts
    outputs = []
    for k in range(parts):
        for index, x in enumerate((keys, *rest)):
            rows = x.reshape(keys.size, *x.shape[keys.ndim :])[shards == k]
            outputs.append(rows // parts if index == 0 and pack_first_input else rows)
    return tuple(outputs)


def _keys(rng, shape, index):
    return np.asarray(rng.integers(-50, 50, shape)).astype("int64" if index % 2 else "int32")


def _partition_samples(rng):
    for index, dtype in enumerate(ANY):
        for shape in ((5,), (2, 3), (0,)):
            keys = _keys(rng, shape, index)
            yield Sample([keys], {"pack_first_input": index % 2}, outputs=2)
            more = [draw(rng, (*shape, 2), dtype), draw(rng, shape, dtype)]
            yield Sample([keys, *more], {"pack_first_input": index % 2}, outputs=6)


def _lengths_partition(lengths, keys, *rest, pack_first_input=0):
    whole = _partition(keys, *rest, pack_first_input=pack_first_input)
    segments = np.repeat(np.arange(lengths.size), lengths)
    count = 1 + len(rest)
    outputs = []
    for k in range(2):
        found = np.bincount(segments[keys % 2 == k], minlength=lengths.size)
        outputs += [found.astype(np.int32), *whole[k * count : (k + 1) * count]]
    return tuple(outputs)


def _lengths_partition_samples(rng):
    for index, dtype in enumerate(ANY):
        lengths = some_lengths(rng, 1 + index)
        size = int(lengths.sum())
        keys, args = _keys(rng, (size,), index), {"pack_first_input": index % 2}
        yield Sample([lengths, keys], args, outputs=4)
        yield Sample([lengths, keys, draw(rng, (size, 2), dtype)], args, outputs=6)


def _gathered(keys, *shards):
    y = np.zeros((keys.size, *shards[0].shape[1:]), shards[0].dtype)
    for k, rows in enumerate(shards):
        y[keys % len(shards) == k] = rows
    return y


def _gathered_samples(rng):
    for index, dtype in enumerate((*ANY, "float64")):
        for count, block in ((1, ()), (2, (2,)), (3, (2, 2))):
            keys = _keys(rng, (6,), index)
            sizes = [int(np.sum(keys % count == k)) for k in range(count)]
            shards = [draw(rng, (n, *block), dtype) for n in sizes]
            yield Sample([keys, *shards], gradient=dtype != "float16")


KEYS = [
    Case(
        "Partition",
        _partition,
        _partition_samples,
        bad=[
            Bad([i4(1), i4(1)], ArityError, "a multiple of their number", outputs=3),
            Bad([], ArityError, "1 input.s. or more", outputs=1),
            Bad([F4], DTypeError, "is float32", outputs=2),
            Bad([i4(1, 2), F4[0]], ShapeError, "must begin with", outputs=4),
            Bad([i4(1, 2)[0], F4[0]], ShapeError, "at least 1 dimension", outputs=4),
        ],
        skip=OPEN,
    ),
    Case(
        "LengthsPartition",
        _lengths_partition,
        _lengths_partition_samples,
        bad=[
            Bad([i4(1), i4(1, 2)], ValueRangeError, "must add up to 2", outputs=4),
            Bad([i4(1), i4(1)], ArityError, "a multiple of their number", outputs=3),
            Bad([i8(1), i4(1)], DTypeError, "is int64; supported: int32", outputs=4),
            Bad([i4(1), i4(1)[None]], ShapeError, "must have 1 dimension", outputs=4),
            Bad([i4(1)], ArityError, "2 input.s. or more", outputs=2),
        ],
        skip=OPEN,
    ),
    Case(
        "GatherByKey",
        _gathered,
        _gathered_samples,
        bad=[
            Bad([i4(0, 0, 2), F4[:2], F4[:1]], ValueRangeError, "3 key.s. belong to shard 0"),
            Bad([i4(0, 1), F4, F4], ShapeError, "2 key.s. for 4 row"),
            Bad([i4(0, 1), F4[:1], WIDE[:1]], ShapeError, "rows of the first shard"),
            Bad([i4(0, 1), F4[:1], F8[:1]], DTypeError, "one type"),
            Bad([F4[0], F4], DTypeError, "is float32"),
            Bad([i4(0)], ArityError, "at least 2"),
        ],
    ),
]

CASES = [*MASKS, *ROWS, *KEYS]
