"""Rows: gather, scatter, slices, the largest elements."""

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

ANY = ("float32", "float64", "int32", "int64", "bool", "uint8", "int8", "int16", "float16")
FLOATS = ("float32", "float64")


def _draw(rng, shape, dtype="float32"):
    if dtype == "object":
        values = rng.integers(0, 100, shape)
        return np.vectorize(lambda v: b"s%d" % v, otypes=[object])(values).reshape(shape)
    return np.asarray(rng.integers(-8, 9, shape) / 4).astype(dtype)


# ---------------------------------------------------------------- gather


def _gather(data, indices, axis=0, match_outer=0, wrap_indices=None, dense_gradient=0):
    axis %= data.ndim
    if not match_outer:
        return np.take(data, indices, axis)
    outer = data.shape[:axis]
    rows = data.reshape(math.prod(outer), *data.shape[axis:])
    chosen = indices.reshape(len(rows), math.prod(indices.shape[axis:]))
    picked = [row[at] for row, at in zip(rows, chosen, strict=True)]
    shape = (*indices.shape, *data.shape[axis + 1 :])
    return np.array(picked, data.dtype).reshape(shape)


def _batch_gather(data, indices, match_outer=0):
    return _gather(data, indices, 1, match_outer)


def _gather_gradient(data, indices, dy, axis=1, match_outer=0, wrap_indices=0):
    axis %= data.ndim
    outer, size = math.prod(data.shape[:axis]), data.shape[axis]
    inner = math.prod(data.shape[axis + 1 :])
    dx = np.zeros((outer, size, inner), data.dtype)
    for o in range(outer):
        chosen = indices.reshape(outer, -1)[o] if match_outer else indices.reshape(-1)
        np.add.at(dx[o], chosen, dy.reshape(outer, chosen.size, inner)[o])
    return dx.reshape(data.shape)


#: shape of the data, of the indices, arguments
GATHERED = [
    ((3, 2), (2,), {"axis": 1}),
    ((3, 4), (5,), {"axis": -1}),
    ((2, 3, 2), (2, 2), {"axis": 1}),
    ((2, 3, 4), (3,), {"axis": -2}),
    ((2, 3, 2), (0,), {"axis": 1}),
    ((2, 3, 2), (), {"axis": 1}),
    ((0, 3), (2,), {"axis": 1}),
    ((2, 3, 2), (2, 2), {"axis": 1, "match_outer": 1}),
    ((2, 3, 2), (2,), {"axis": 1, "match_outer": 1}),
    ((2, 3, 5), (2, 3, 2, 2), {"axis": 2, "match_outer": 1}),
    ((2, 3, 2), (2, 4), {"axis": -2, "match_outer": 1}),
    ((0, 3, 2), (0, 2), {"axis": 1, "match_outer": 1}),
]
ROWS = [
    ((3, 2), (2,), {}),
    ((4,), (3, 2), {}),
    ((3, 2), (), {}),
    ((3, 2), (0,), {}),
    ((0, 2), (0,), {}),
    ((5, 2, 3), (4,), {}),
    ((7, 130), (20,), {}),
]


def _indices(rng, data, indices, axis, low=False, dtype="int32"):
    size = data[axis]
    return np.asarray(rng.integers(-size if low else 0, max(size, 1), indices)).astype(dtype)


def _gather_samples(rng):
    for index, (data, shape, args) in enumerate([*ROWS, *GATHERED]):
        axis = args.get("axis", 0)
        low = axis == 0
        for dtype in (*FLOATS, ANY[index % len(ANY)], *(["object"] if index % 4 == 0 else [])):
            at = _indices(rng, data, shape, axis, low, "int64" if index % 3 else "int32")
            dense = axis != 0 and dtype != "float16"
            yield Sample([_draw(rng, data, dtype), at], args, gradient=dense)
    at = np.array([0, -1, 1], np.int64)
    yield Sample([_draw(rng, (2, 3)), at], {"axis": 1, "wrap_indices": 1})
    yield Sample([_draw(rng, (2, 3)), np.abs(at)], {"wrap_indices": 0}, gradient=False)
    for rows in (1, 4):
        at = rng.integers(0, 4, rows).astype("int32")
        yield Sample([_draw(rng, (4, 2, 3)), at], {"dense_gradient": 1})


def _batch_samples(rng):
    for index, (data, shape, args) in enumerate(GATHERED):
        if args["axis"] % len(data) != 1:
            continue
        match = {key: v for key, v in args.items() if key == "match_outer"}
        for dtype in (*FLOATS, ANY[index % len(ANY)]):
            inputs = [_draw(rng, data, dtype), _indices(rng, data, shape, 1)]
            yield Sample(inputs, match, gradient=dtype != "float16")


def _gather_gradient_samples(rng):
    for index, (data, shape, args) in enumerate([*GATHERED, *ROWS]):
        args = args if "axis" in args else {"axis": 0}
        axis = args["axis"]
        for dtype in FLOATS:
            x = _draw(rng, data, dtype)
            at = _indices(rng, data, shape, axis, dtype="int64" if index % 2 else "int32")
            dy = _draw(rng, _gather(x, at, **args).shape, dtype)
            yield Sample([x, at, dy], {} if args == {"axis": 1} else args)
    x, at = _draw(rng, (2, 3)), np.array([0, -1, 2], np.int32)
    yield Sample([x, at, _draw(rng, (2, 3))], {"wrap_indices": 1})


A = np.ones((3, 2), np.float32)
I = np.array([0, 2], np.int32)  # noqa: E741
MATCH = {"axis": 1, "match_outer": 1}
TALL = np.ones((2, 3, 2), np.float32)
GATHER_ERRORS = [
    Bad([A, I + 1], ValueRangeError, "index 3 at position 1 .* axis of size 3; expected -3 to 2"),
    Bad([A, I - 4], ValueRangeError, "index -4 at position 0"),
    Bad([A, I - 1], ValueRangeError, "index -1 at position 0", {"wrap_indices": 0}),
    Bad([A, I - 1], ValueRangeError, "index -1 at position 0 .* expected 0 to 1", {"axis": 1}),
    Bad([A.astype("S1"), I + 1], ValueRangeError, "index 3 at position 1"),
    Bad([A[:0], I], ValueRangeError, "index 0 at position 0 is out of range for an axis of size 0"),
    Bad([A, I.astype("f4")], DTypeError, "'INDICES' is float32; supported: int32"),
    Bad([A, I.astype("i2")], DTypeError, "'INDICES' is int16"),
    Bad([A, I], ShapeError, "axis 2 is out of range", {"axis": 2}),
    Bad([A[0, 0], I], ShapeError, "axis 0 is out of range"),
    Bad([TALL, np.zeros((3, 2), "i4")], ShapeError, r"must begin with \(2\).*\(3,2\)", MATCH),
    Bad([TALL, I], ShapeError, "match_outer needs an axis", {"match_outer": 1}),
    Bad([A, I], ArgumentError, "axis", {"axis": "0"}),
    Bad([A], ArityError, "expected 2"),
    Bad([A, I], InplaceError, "in place", same=[(0, 0)]),
]
BATCH_ERRORS = [
    Bad([A, I], ValueRangeError, "index 2 at position 1 .* size 2; expected 0 to 1"),
    Bad([A, I - 1], ValueRangeError, "index -1 at position 0"),
    Bad([A[0], I], ShapeError, "axis 1 is out of range"),
    Bad([TALL, np.zeros((3, 2), "i4")], ShapeError, "must begin", {"match_outer": 1}),
    Bad([A, A], DTypeError, "'INDICES' is float32"),
    Bad([A], ArityError, "expected 2"),
]
BATCH_GRADIENT_ERRORS = [
    Bad([A, I, A], ValueRangeError, "index 2 at position 1"),
    Bad([A, I - 1, A], ValueRangeError, "index -1 at position 0"),
    Bad([A, I, A[:, :1]], ShapeError, r"'dOUTPUT' is \(3,1\), needs .* \(3,2\)"),
    Bad([A, I, A[0]], ShapeError, r"'dOUTPUT' is \(2\)"),
    Bad([A, I, A.astype("f8")], DTypeError, "one type"),
    Bad([A.astype("i4"), I, A.astype("i4")], DTypeError, "is int32"),
    Bad([A, I], ArityError, "expected 3"),
]

# ---------------------------------------------------------------- scatter


def _assign(data, indices, slices):
    y = data.copy()
    rows = slices.reshape(indices.size, *data.shape[1:])
    for index, row in zip(indices.reshape(-1), rows, strict=True):
        y[index] = row
    return y


def _assign_samples(rng):
    same = [(0, 0)]
    shapes = [((3, 2), (2,)), ((4,), (5,)), ((3, 2, 2), (2, 2)), ((3, 2), ()), ((3, 2), (0,))]
    for index, (data, at) in enumerate([*shapes, ((0, 2), (0,))]):
        for dtype in (*ANY, "object"):
            rows = _indices(rng, data, at, 0, dtype="int64" if index % 2 else "int32")
            shape = (rows.size, *data[1:]) if index != 1 else (rows.size,)
            yield Sample([_draw(rng, data, dtype), rows, _draw(rng, shape, dtype)], {}, 1, same)
    flat = _draw(rng, (4,))
    yield Sample([_draw(rng, (3, 2)), I, flat], {}, 1, same)


def _weighted(data, weight, indices, *rest):
    y = data.copy()
    flat = indices.reshape(-1)
    if weight.reshape(()) != 1:
        for index in flat:
            y[index] *= weight.reshape(())
    for x, w in zip(rest[::2], rest[1::2], strict=True):
        rows = x.reshape(flat.size, *data.shape[1:])
        for index, row in zip(flat, rows, strict=True):
            y[index] += w.reshape(()) * row
    return y


def _weighted_samples(rng):
    for dtype in FLOATS:
        for index, (data, at, pairs) in enumerate(
            [
                ((3, 2), (2,), 1),
                ((4,), (5,), 2),
                ((3, 2, 2), (2, 2), 3),
                ((3, 2), (0,), 1),
                ((3, 2), (), 2),
                ((0, 2), (0,), 1),
            ]
        ):
            rows = _indices(rng, data, at, 0, dtype="int64" if index % 2 else "int32")
            rest = []
            for _ in range(pairs):
                rest += [_draw(rng, (rows.size, *data[1:]), dtype), np.full(1, 0.75, dtype)]
            weight = np.full(() if index % 2 else (1,), index % 3, dtype)
            yield Sample([_draw(rng, data, dtype), weight, rows, *rest], {}, 1, [(0, 0)])


W = np.ones(1, np.float32)


def _bad_scatter(inputs, error, match):
    return Bad(inputs, error, match, same=[(0, 0)])


ASSIGN_ERRORS = [
    _bad_scatter([A, I + 1, A[:2]], ValueRangeError, "index 3 at position 1 .* expected 0 to 2"),
    _bad_scatter([A, I - 1, A[:2]], ValueRangeError, "index -1 at position 0"),
    _bad_scatter([A.astype("S1"), I + 1, A[:2].astype("S1")], ValueRangeError, "index 3"),
    _bad_scatter([A, I, A], ShapeError, r"'SLICES' is \(3,2\), needs \(2,2\)"),
    _bad_scatter([A[0, 0], I, A[0]], ShapeError, "'DATA' must have at least 1 dimension"),
    _bad_scatter([A, I, A[:2].astype("f8")], DTypeError, "one type"),
    _bad_scatter([A, A, A], DTypeError, "'INDICES' is float32"),
    _bad_scatter([A, I], ArityError, "expected 3"),
    Bad([A, I, A[:2]], InplaceError, "must be the same blob as input 0"),
]
WEIGHTED_ERRORS = [
    _bad_scatter([A, W, I + 1, A[:2], W], ValueRangeError, "index 3 at position 1"),
    _bad_scatter([A, W, I - 1, A[:2], W], ValueRangeError, "index -1 at position 0"),
    _bad_scatter([A, A[0], I, A[:2], W], ShapeError, r"'Weight_0' is \(2\), needs one element"),
    _bad_scatter([A, W, I, A[:2], A[0]], ShapeError, r"'Weight_1' is \(2\)"),
    _bad_scatter([A, W, I, A, W], ShapeError, r"'X_1' is \(3,2\), needs \(2,2\)"),
    _bad_scatter([A, W, I, A[:2], W, A], ArityError, "expected an odd number .* found 6"),
    _bad_scatter([A, W, I, A[:2]], ArityError, "expected at least 5"),
    _bad_scatter([A, W.astype("f8"), I, A[:2], W], DTypeError, "one type"),
    _bad_scatter([A.astype("i4"), W, I, A[:2], W], DTypeError, "is int32"),
    _bad_scatter([A[0, 0], W, I, A[0], W], ShapeError, "at least 1 dimension"),
    Bad([A, W, I, A[:2], W], InplaceError, "must be the same blob"),
]

# ---------------------------------------------------------------- sparse to dense, one-hot


def _dense(indices, values, like=None, output_first_dim=0):
    rows = max(indices.max(initial=-1) + 1, 0)
    if output_first_dim > 0:
        rows = output_first_dim
    rows = rows if like is None else len(like)
    y = np.zeros((rows, *values.shape[1:]), values.dtype)
    np.add.at(y, indices, values)
    return y


def _dense_samples(rng):
    for index, shape in enumerate([(2, 3), (4,), (0, 3), (1, 2, 2), (9, 5)]):
        for dtype in ("float32", "float64", "int32", "int64"):
            at = rng.integers(0, 4, shape[0]).astype("int64" if index % 2 else "int32")
            values = _draw(rng, shape, dtype)
            yield Sample([at, values])
            yield Sample([at, values], {"output_first_dim": 6})
            yield Sample([at, values, np.ones((4, 7), np.int8)])


def _one_hot(indices, size):
    return np.eye(int(size.reshape(())), dtype=np.float32)[indices]


def _one_hot_samples(rng):
    for dtype in ("int32", "int64"):
        for count, size in [(2, 3), (0, 3), (5, 1), (0, 0), (40, 17)]:
            yield Sample([rng.integers(0, max(size, 1), count).astype(dtype), np.array([size])])
    yield Sample([np.array([1, 0]), np.int32(2)])


DENSE_ERRORS = [
    Bad([I, A[:2]], ValueRangeError, "index 2 at position 1", {"output_first_dim": 2}),
    Bad([I, A[:2], A[:2]], ValueRangeError, "index 2 at position 1"),
    Bad([I - 1, A[:2]], ValueRangeError, "index -1 at position 0"),
    Bad([I, A], ShapeError, r"'values' is \(3,2\); indices \(2\) need one row each"),
    Bad([I, A[0, 0]], ShapeError, "need one row each"),
    Bad([I[None], A[:1]], ShapeError, "must have 1 dimension"),
    Bad([I, A[:2], A[0, 0]], ShapeError, "at least 1 dimension"),
    Bad([I, A[:2], A], ArgumentError, "exclude each other", {"output_first_dim": 3}),
    Bad([I, A[:2].astype("f2")], DTypeError, "'values' is float16"),
    Bad([A[0], A[:2]], DTypeError, "'indices' is float32"),
    Bad([I], ArityError, "expected 2 to 3"),
]
ONE_HOT_ERRORS = [
    Bad([I, np.array([2])], ValueRangeError, "index 2 at position 1"),
    Bad([I - 1, np.array([3])], ValueRangeError, "index -1 at position 0"),
    Bad([I, np.array([-1])], ValueRangeError, "is -1; it must not be negative"),
    Bad([I, np.array([3, 4])], ShapeError, r"is \(2\), needs one element"),
    Bad([I[None], np.array([3])], ShapeError, "must have 1 dimension"),
    Bad([A[0], np.array([3])], DTypeError, "'indices' is float32"),
    Bad([I], ArityError, "expected 2"),
]

# ---------------------------------------------------------------- slices


def _bounds(shape, starts, ends):
    def bound(value, size):
        return min(value + size + 1 if value < 0 else value, size)

    named = zip(shape, starts, ends, strict=False)
    return tuple(slice(bound(s, n), bound(e, n)) for n, s, e in named)


def _slice(x, starts, ends):
    box = _bounds(x.shape, list(starts), list(ends))
    return x[box].copy() if box else x


def _slice_gradient(x, *rest, starts=None, ends=None):
    if len(rest) > 1:
        starts, ends = rest[:2]
    dx = np.zeros(x.shape, x.dtype)
    dx[_bounds(x.shape, list(starts), list(ends))] = rest[-1]
    return dx


SLICES = [
    ((3, 4), [0, 1], [-1, 3]),
    ((3, 4), [1], [2]),
    ((3, 4), [0, -2], [-1, -1]),
    ((3, 4), [0, 1], [-1, 9]),
    ((3, 4), [0, 2], [-1, 2]),
    ((3, 4), [0, 5], [-1, 5]),
    ((3, 4), [1, 1], [2, 3]),
    ((3, 4), [], []),
    ((), [], []),
    ((4,), [-3], [-2]),
    ((0, 3), [0, 1], [-1, 2]),
    ((2, 3, 4), [0, 1, 0], [-1, 2, -1]),
    ((2, 3, 4), [1, 0, 1], [2, -2, 3]),
    ((3, 4, 5, 2), [1, 1, 2], [3, 3, 4]),
    ((20, 30), [0, 7], [-1, 28]),
]


def _slice_samples(rng):
    for index, (shape, starts, ends) in enumerate(SLICES):
        args = {"starts": starts, "ends": ends}
        for dtype in (*FLOATS, ANY[index % len(ANY)], "object"):
            if starts:
                yield Sample([_draw(rng, shape, dtype)], args)
            vectors = [np.array(v, ("int32", "int64")[index % 2]) for v in (starts, ends)]
            yield Sample([_draw(rng, shape, dtype), *vectors])


def _slice_gradient_samples(rng):
    for index, (shape, starts, ends) in enumerate(SLICES):
        args = {"starts": starts, "ends": ends}
        for dtype in (*FLOATS, ANY[index % len(ANY)]):
            x = _draw(rng, shape, dtype)
            dy = _draw(rng, _slice(x, starts, ends).shape, dtype)
            if starts:
                yield Sample([x, dy], args)
            vectors = [np.array(v, ("int32", "int64")[index % 2]) for v in (starts, ends)]
            yield Sample([x, *vectors, dy])


B = np.ones((3, 4), np.float32)
SLICE_TABLE = [
    ([0, 3], [-1, 2], ValueRangeError, r"starts\[1\] = 3 and ends\[1\] = 2 are no part .* size 4"),
    ([0, -9], [-1, -1], ValueRangeError, r"they mean -4 to 4"),
    ([0, 0], [-1, -9], ValueRangeError, r"they mean 0 to -4"),
    ([0, 0, 0], [-1, -1, -1], ShapeError, r"3 start\(s\) for data of shape \(3,4\)"),
    ([0, 0], [-1], ShapeError, r"2 start\(s\) and 1 end\(s\)"),
]


def _slice_errors(*dy):
    for starts, ends, error, match in SLICE_TABLE:
        yield Bad([B, *dy], error, match, {"starts": starts, "ends": ends})
        yield Bad([B, np.array(starts), np.array(ends), *dy], error, match)
    yield Bad([B, *dy], ArgumentError, "argument 'starts' is required")
    yield Bad([B, *dy], ArgumentError, "argument 'ends' is required", {"starts": [0]})
    yield Bad([B, A[0], A[0], *dy], DTypeError, "is float32; supported: int32")
    yield Bad([B, I[None], I, *dy], ShapeError, "must have 1 dimension")
    yield Bad([B, I, *dy], ArityError, "expected 2 or 4" if dy else "expected 1 or 3")


BOX = {"starts": [0, 1], "ends": [-1, 3]}

# ---------------------------------------------------------------- the largest


def _top(x, k=None, axis=-1, **args):
    count = int(args["k"] if "k" in args else np.asarray(k).reshape(()))
    axis %= x.ndim
    moved = np.moveaxis(x, axis, -1)
    size = x.shape[axis]
    rows = moved.reshape(math.prod(moved.shape[:-1]), size)
    values = np.zeros((len(rows), count), x.dtype)
    places = np.full((len(rows), count), -1)
    for r, row in enumerate(rows):
        order = sorted(range(size), key=lambda c: (np.isnan(row[c]), -float(row[c]), c))[:count]
        values[r, : len(order)], places[r, : len(order)] = row[order], order
    shape = (*moved.shape[:-1], count)
    back = [np.moveaxis(a.reshape(shape), -1, axis) for a in (values, places)]
    grid = np.moveaxis(np.arange(x.size).reshape(x.shape), axis, -1).reshape(rows.shape)
    padded = np.concatenate([grid, np.full((len(rows), 1), -1)], 1)
    flat = np.take_along_axis(padded, np.where(places < 0, size, places), 1)
    return back[0], back[1], np.moveaxis(flat.reshape(shape), -1, axis).reshape(-1)


def _top_row(x, *inputs, **args):
    axis = args.pop("axis", -1)
    count = args.get("k", inputs[0] if inputs else None)
    return _top(x, count, axis)


def _top_gradient(dy, indices, x, axis=-1):
    axis %= x.ndim
    dx = np.zeros(x.shape, x.dtype)
    for place in np.ndindex(*indices.shape):
        if indices[place] != -1:
            at = (*place[:axis], indices[place], *place[axis + 1 :])
            dx[at] = dy[place]
    return dx


TOPS = [
    ((2, 4), 2, -1),
    ((2, 4), 4, -1),
    ((2, 4), 6, -1),
    ((4,), 2, 0),
    ((3, 4), 1, 0),
    ((3, 4), 5, 0),
    ((2, 3, 4), 2, 1),
    ((2, 5, 3), 3, -2),
    ((0, 3), 2, -1),
    ((3, 0), 2, -1),
    ((5, 40), 7, -1),
    ((1, 33), 33, -1),
]


def _top_samples(rng):
    for index, (shape, k, axis) in enumerate(TOPS):
        place = {} if axis == -1 else {"axis": axis}
        for dtype in ("float32", "float64", "int32", "int64"):
            x = rng.permutation(math.prod(shape)).reshape(shape).astype(dtype)
            yield Sample([x], {"k": k, **place}, 2 + index % 2)
            equal = rng.integers(0, 4, shape).astype(dtype)
            count = np.array([k], "int32" if index % 3 else "int64")
            yield Sample([equal, count], place, 3, gradient=False)
            yield Sample([equal, count + 1], {"k": k, **place}, 2, gradient=False)
    hole = np.array([[np.nan, 1, 2, 0], [1, np.nan, np.nan, np.inf]], np.float32)
    yield Sample([hole], {"k": 3}, 3, gradient=False)


def _top_gradient_samples(rng):
    for shape, k, axis in TOPS:
        for dtype in FLOATS:
            x = _draw(rng, shape, dtype)
            _, places, _ = _top(x, k, axis)
            yield Sample([_draw(rng, places.shape, dtype), places, x], {"axis": axis})


T2 = np.zeros((3, 2), np.int64)
TOP_ERRORS = [
    Bad([A], ValueRangeError, "k must be at least 1, found -1", outputs=2),
    Bad([A], ValueRangeError, "found 0", {"k": 0}, 2),
    Bad([A, np.array([0])], ValueRangeError, "found 0", outputs=2),
    Bad([A, np.array([1, 2])], ShapeError, r"'k' is \(2\), needs one element", outputs=2),
    Bad([A, A[0, :1]], DTypeError, "'k' is float32", outputs=2),
    Bad([A], ShapeError, "axis 2 is out of range", {"k": 1, "axis": 2}, 2),
    Bad([A[0, 0]], ShapeError, "axis -1 is out of range", {"k": 1}, 2),
    Bad([A.astype("f2")], DTypeError, "is float16", {"k": 1}, 2),
    Bad([A], ArityError, "expected 2 to 3 output", {"k": 1}),
    Bad([A], InplaceError, "in place", {"k": 2}, 2, same=[(0, 0)]),
]
TOP_GRADIENT_ERRORS = [
    Bad([A, T2 + 2, A], ValueRangeError, "index 2 at position 0"),
    Bad([A, T2 - 2, A], ValueRangeError, "index -2 at position 0"),
    Bad([A[:2], T2, A], ShapeError, "one shape"),
    Bad([A[:2], T2[:2], A], ShapeError, r"'Indices' is \(2,2\); X \(3,2\) may differ .* axis 1"),
    Bad([A, T2.astype("i4"), A], DTypeError, "'Indices' is int32"),
    Bad([A, T2, A.astype("f8")], DTypeError, "one type"),
    Bad([A, T2], ArityError, "expected 3"),
]

# ---------------------------------------------------------------- dense


def _dense_copies(rng):
    for dtype in (*ANY, "object"):
        for shape in [(), (0,), (3,), (2, 3, 4)]:
            yield Sample([_draw(rng, shape, dtype)])


ENFORCED = {"inplace": "the pair is enforced, so every sample is in place"}

CASES = [
    Case("Gather", _gather, _gather_samples, GATHER_ERRORS),
    Case("BatchGather", _batch_gather, _batch_samples, BATCH_ERRORS),
    Case("BatchGatherGradient", _gather_gradient, _gather_gradient_samples, BATCH_GRADIENT_ERRORS),
    Case("ScatterAssign", _assign, _assign_samples, ASSIGN_ERRORS, skip=ENFORCED),
    Case("ScatterWeightedSum", _weighted, _weighted_samples, WEIGHTED_ERRORS, skip=ENFORCED),
    Case("SparseToDense", _dense, _dense_samples, DENSE_ERRORS),
    Case("OneHot", _one_hot, _one_hot_samples, ONE_HOT_ERRORS),
    Case("Slice", _slice, _slice_samples, list(_slice_errors())),
    Case(
        "SliceGradient",
        _slice_gradient,
        _slice_gradient_samples,
        [
            *_slice_errors(B[:, :2]),
            Bad([B, B], ShapeError, r"'doutput' is \(3,4\), needs .* \(3,2\)", BOX),
            Bad([B, B[:, :2].astype("f8")], DTypeError, "one type", BOX),
            Bad([B.astype("S1"), B[:, :2].astype("S1")], DTypeError, "strings", BOX),
            Bad([B], ArityError, "expected 2 or 4", BOX),
        ],
    ),
    Case("TopK", _top_row, _top_samples, TOP_ERRORS, gradient_outputs=[0]),
    Case("TopKGradient", _top_gradient, _top_gradient_samples, TOP_GRADIENT_ERRORS),
    Case(
        "EnsureDense",
        lambda x: x,
        _dense_copies,
        [
            Bad([A, A], ArityError, "expected 1 input"),
            Bad([A], ArityError, "expected 1 output", outputs=2),
        ],
    ),
]
