"""Rows: segments reduced to one row each, and the gradients of that."""

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


def _draw(rng, shape, dtype="float32"):
    return np.asarray(rng.integers(-8, 9, shape) / 4).astype(dtype)


# ---------------------------------------------------------------- segments, and what they become


def _by_lengths(lengths, count):
    ends = np.cumsum(lengths)
    return [np.arange(end - n, end) for end, n in zip(ends, lengths, strict=True)]


def _by_ids(ids, count):
    return [np.flatnonzero(ids == s) for s in range(count)]


def _sum(rows):
    return rows.sum(axis=0)


def _mean(rows):
    return rows.mean(axis=0)


def _max(rows):
    return rows.max(axis=0)


def _logsumexp(rows):
    top = rows.max(axis=0)
    return top + np.log(np.exp(rows - top).sum(axis=0))


def _logmeanexp(rows):
    return _logsumexp(rows) - np.log(len(rows)).astype(rows.dtype)


def _reduced(data, segments, reduce):
    dtype = np.dtype("float32") if data.dtype == np.float16 else data.dtype
    y = np.zeros((len(segments), *data.shape[1:]), dtype)
    for s, items in enumerate(segments):
        if items.size:
            y[s] = reduce(data[items].astype(dtype))
    return y


def _count(ids, num_segments):
    return num_segments if num_segments >= 0 else int(ids.max(initial=-1)) + 1


def _tall(weights, data):
    return weights.reshape(weights.shape + (1,) * (data.ndim - 1))


def _forward(kind, reducer, sparse):
    """The numpy reference of one of the operators."""

    def ref(data, *rest, num_segments=-1, grad_on_weights=0, num_reduce_dim=0):
        rest = list(rest)
        weights = rest.pop(0) if "Weighted" in reducer else None
        rows = data[rest.pop(0)] if sparse else data
        told = rest.pop()
        if kind == "Lengths":
            segments = _by_lengths(told, len(told))
        else:
            segments = _by_ids(told, _count(told, num_segments))
        if reducer == "PositionalWeightedSum":
            place = np.concatenate([np.arange(n) for n in told]) if told.size else told
            weights = weights[place.astype(int)]
        if weights is not None:
            rows = rows * _tall(weights, rows)
        reduce = {"Mean": _mean, "Max": _max}.get(reducer, _sum)
        return _reduced(rows, segments, reduce)

    return ref


#: shape of the rows, lengths
LAYOUTS = [
    ((4, 2), [2, 2]),
    ((4,), [0, 3, 1, 0]),
    ((6, 2, 3), [1, 2, 3]),
    ((0, 2), []),
    ((0, 2), [0, 0]),
    ((5, 0), [2, 3]),
    ((40, 33), [7, 0, 20, 13]),
]


def _ids_of(lengths):
    return np.repeat(np.arange(len(lengths)), lengths)


def _told(rng, kind, lengths, index):
    dtype = "int64" if index % 3 == 2 else "int32"
    if kind == "Lengths":
        return np.array(lengths, dtype)
    if kind == "SortedSegment":
        return _ids_of([n for n in lengths if n]).astype(dtype)
    return rng.permutation(_ids_of(lengths)).astype(dtype)


def _samples(kind, reducer, sparse):
    def samples(rng):
        for index, (shape, lengths) in enumerate(LAYOUTS):
            for dtype in FLOATS:
                yield from _of_layout(rng, shape, lengths, dtype, index)
        if sparse and kind == "Lengths":
            inputs = [_draw(rng, (5, 3), "float16"), *_middle(rng, 5, 4, "float32")]
            yield Sample([*inputs, np.array([3, 1], "int32")], gradient=False)

    def _middle(rng, table, count, dtype, index=0):
        inputs = []
        if "Weighted" in reducer:
            inputs.append(_draw(rng, (count,), dtype))
        if sparse:
            inputs.append(rng.integers(0, table, count).astype("int32" if index % 2 else "int64"))
        return inputs

    def _of_layout(rng, shape, lengths, dtype, index):
        count = shape[0]
        table = count + 2 if sparse else count
        data = rng.permutation(table * 3).astype(dtype)[:table] if reducer == "Max" else None
        if data is None or len(shape) > 1:
            data = _draw(rng, (table, *shape[1:]), dtype)
        if reducer == "Max":  # equal ones would share the derivative
            data = (rng.permutation(data.size) / 8).astype(dtype).reshape(data.shape)
        inputs = [data, *_middle(rng, table, count, dtype, index), _told(rng, kind, lengths, index)]
        if reducer == "Max" and sparse:
            inputs[1] = rng.permutation(table)[:count].astype("int32")
        yield Sample(inputs)
        if reducer == "WeightedSum":
            yield Sample(inputs, {"grad_on_weights": 1})
        if kind == "UnsortedSegment":
            yield Sample(inputs, {"num_segments": len(lengths) + 2})

    return samples


D = np.ones((4, 2), np.float32)
L = np.array([3, 1], np.int32)
S = np.array([0, 0, 0, 1], np.int32)
I = np.array([0, 3, 1, 1], np.int32)  # noqa: E741
W = np.ones(4, np.float32)


def _bad(kind, reducer, sparse):
    middle = [W] if "Weighted" in reducer else []
    middle += [I] if sparse else []
    told = L if kind == "Lengths" else S
    good = [D, *middle, told]

    def but(**changes):
        return [changes.get(f"_{k}", x) for k, x in enumerate(good)]

    last = f"_{len(good) - 1}"
    bad = [
        Bad(but(_0=D.astype("i4")), DTypeError, "'DATA' is int32"),
        Bad(but(_0=D[0, 0]), ShapeError, "at least 1 dimension"),
        Bad(but(**{last: told.astype("f4")}), DTypeError, "is float32"),
        Bad(but(**{last: told[None]}), ShapeError, "must have 1 dimension"),
        Bad(good[:-1], ArityError, "expected"),
        Bad(good, InplaceError, "in place", same=[(0, 0)]),
        Bad(good, ArityError, "output", outputs=2),
    ]
    if kind == "Lengths":
        what = "indices" if sparse else "rows"
        bad += [
            Bad(but(**{last: L[:1]}), ValueRangeError, f"sum of lengths is 3, .* 4 {what}"),
            Bad(but(**{last: L + 1}), ValueRangeError, f"sum of lengths is 6, .* 4 {what}"),
            Bad(but(**{last: np.array([-1, 4, 1], "i4")}), ValueRangeError, r"lengths\[0\] is -1"),
        ]
    else:
        bad.append(Bad(but(**{last: S[1:]}), ShapeError, r"3 SEGMENT_IDS for 4 row"))
        if kind == "SortedSegment":
            bad += [
                Bad(but(**{last: S + 1}), ValueRangeError, "id 1 at position 0 follows -1"),
                Bad(but(**{last: S - 1}), ValueRangeError, "id -1 at position 0"),
                Bad(but(**{last: S * 2}), ValueRangeError, "id 2 at position 3 follows 0"),
                Bad(but(**{last: S * 9}), ValueRangeError, "last of 4 segment ids is 9"),
                Bad(but(**{last: S[::-1].copy()}), ValueRangeError, "id 1 at position 0"),
            ]
        else:
            one = {"num_segments": 1}
            bad += [
                Bad(but(**{last: S - 1}), ValueRangeError, "id -1 at position 0 .* 0 to 0"),
                Bad(good, ValueRangeError, "id 1 at position 3 .* expected 0 to 0", one),
                Bad(good, ArgumentError, "num_segments", {"num_segments": "1"}),
            ]
    if sparse:
        at = f"_{len(good) - 2}"
        bad += [
            Bad(but(**{at: I + 1}), ValueRangeError, "index 4 at position 1"),
            Bad(but(**{at: I - 1}), ValueRangeError, "index -1 at position 0"),
            Bad(but(**{at: I[None]}), ShapeError, "must have 1 dimension"),
            Bad(but(**{at: I.astype("i2")}), DTypeError, "is int16"),
        ]
    if reducer == "WeightedSum":
        bad += [
            Bad(but(_1=W[1:]), ShapeError, r"'SCALARS' is \(3\), needs 4"),
            Bad(but(_1=W.astype("f8")), DTypeError, "is float64"),
            Bad(but(_1=W[:, None]), ShapeError, "must have 1 dimension"),
        ]
    if reducer == "PositionalWeightedSum":
        bad.append(Bad(but(_1=W[:2]), ValueRangeError, "a segment of 3 row"))
    return bad


FORMS = [
    (kind, reducer, sparse)
    for kind in ("Lengths", "SortedSegment", "UnsortedSegment")
    for sparse in (False, True)
    for reducer in ("Sum", "Mean", "WeightedSum", "Max", "PositionalWeightedSum")
    if kind == "Lengths" or reducer in ("Sum", "Mean", "WeightedSum")
    if sparse or reducer != "PositionalWeightedSum"
]
FORWARD = [
    Case(
        f"{'Sparse' if sparse else ''}{kind}{reducer}",
        _forward(kind, reducer, sparse),
        _samples(kind, reducer, sparse),
        _bad(kind, reducer, sparse),
    )
    for kind, reducer, sparse in FORMS
]

# ---------------------------------------------------------------- gradients


def _spread(kind, reducer, count, dy, told, weights=None):
    """A row for each item from that of its segment."""
    find, count_of = (_by_lengths, len(told)) if kind == "Lengths" else (_by_ids, len(dy))
    segments = find(told, count_of)
    dx = np.zeros((count, *dy.shape[1:]), dy.dtype)
    for s, items in enumerate(segments):
        dx[items] = dy[s] / dy.dtype.type(len(items)) if reducer == "Mean" and items.size else dy[s]
    return dx if weights is None else dx * _tall(weights, dx)


def _backward(kind, reducer):
    def ref(*inputs, grad_on_weights=0, num_segments=-1):
        weights = inputs[0] if reducer == "WeightedSum" else None
        dy, told, *_ = inputs[1:] if reducer == "WeightedSum" else inputs
        count = int(told.sum()) if kind == "Lengths" else len(told)
        return _spread(kind, reducer, count, dy, told, weights)

    return ref


def _backward_samples(kind, reducer, like):
    """Inputs: weights, dY, lengths or ids, and what has as many rows as the result."""

    def samples(rng):
        for index, (shape, lengths) in enumerate(LAYOUTS):
            for dtype in FLOATS:
                told = _told(rng, kind, lengths, index)
                segments = len(lengths)
                if kind == "SortedSegment":
                    segments = len(set(told.tolist()))
                inputs = [_draw(rng, (segments, *shape[1:]), dtype), told]
                if reducer == "WeightedSum":
                    inputs.insert(0, _draw(rng, shape[:1], dtype))
                if like == "data":
                    inputs.append(_draw(rng, shape))
                if like == "indices":
                    inputs.append(rng.integers(0, 99, shape[0]).astype("int64"))
                yield Sample(inputs)

    return samples


DY = np.ones((2, 2), np.float32)


def _backward_bad(kind, reducer, like):
    weights = [W] if reducer == "WeightedSum" else []
    told = L if kind == "Lengths" else S
    rest = {"": [], "data": [D], "indices": [I]}[like]
    bad = [
        Bad([*weights, DY.astype("i4"), told, *rest], DTypeError, "'dOUTPUT' is int32"),
        Bad([*weights, DY, told[None], *rest], ShapeError, "must have 1 dimension"),
        Bad([*weights, DY, told.astype("f4"), *rest], DTypeError, "is float32"),
        Bad([*weights, DY], ArityError, "expected"),
    ]
    if kind == "Lengths":
        bad.append(Bad([*weights, DY[:1], told, *rest], ShapeError, "'dOUTPUT' is .* 2 row"))
        short = np.array([-1, 5], "i4")
        bad.append(Bad([*weights, DY, short, *rest], ValueRangeError, r"lengths\[0\] is -1"))
    elif kind == "SortedSegment":
        bad.append(Bad([*weights, DY, S * 0], ValueRangeError, "end before 1"))
        bad.append(Bad([*weights, DY, S * 2], ValueRangeError, "id 2 at position 3"))
    else:
        bad.append(Bad([*weights, DY, S * 2], ValueRangeError, "id 2 at position 3"))
    if like:
        bad.append(Bad([*weights, DY, L - 1, *rest], ValueRangeError, "sum of lengths is 2"))
    if weights:
        bad.append(Bad([W[1:], DY, told, *rest], ShapeError, "'SCALARS' is"))
        bad.append(Bad([W.astype("f8"), DY, told, *rest], DTypeError, "one type"))
    return bad


BACKWARD = [
    Case(
        name,
        _backward(kind, reducer),
        _backward_samples(kind, reducer, like),
        _backward_bad(kind, reducer, like),
    )
    for reducer in ("Sum", "Mean", "WeightedSum")
    for kind, like, name in (
        *(
            (kind, "", f"{sparse}{kind}{reducer}Gradient")
            for kind in ("Lengths", "SortedSegment", "UnsortedSegment")
            for sparse in ("", "Sparse")
        ),
        ("Lengths", "data", f"LengthsIndicesInGradient{reducer}Gradient"),
        ("Lengths", "indices", f"SparseLengthsIndicesInGradient{reducer}Gradient"),
    )
    if name != "LengthsIndicesInGradientWeightedSumGradient"
]


def _with_weights(weights, dy, lengths, data, indices=None, grad_on_weights=0):
    rows = data if indices is None else data[indices]
    plain = _spread("Lengths", "Sum", len(rows), dy, lengths)
    dweights = (plain * rows).sum(axis=tuple(range(1, rows.ndim)))
    return plain * _tall(weights, plain), dweights


def _with_weights_samples(sparse):
    def samples(rng):
        for index, (shape, lengths) in enumerate(LAYOUTS):
            for dtype in FLOATS:
                table = shape[0] + 2 if sparse else shape[0]
                inputs = [
                    _draw(rng, shape[:1], dtype),
                    _draw(rng, (len(lengths), *shape[1:]), dtype),
                    np.array(lengths, "int64" if index % 2 else "int32"),
                    _draw(rng, (table, *shape[1:]), dtype),
                ]
                if sparse:
                    inputs.append(rng.integers(0, table, shape[0]).astype("int32"))
                yield Sample(inputs, outputs=2)

    return samples


def _with_weights_bad(sparse, loose):
    rest = [I] if sparse else []
    bad = [
        Bad([W, DY, L, D[:, :1], *rest], ShapeError, "rows of 'DATA'", outputs=2),
        Bad([W[1:], DY, L, D, *rest], ShapeError, "'SCALARS' is", outputs=2),
        Bad([W, DY.astype("f8"), L, D, *rest], DTypeError, "one type", outputs=2),
        Bad([W, DY, L - 1, D, *rest], ValueRangeError, "sum of lengths is 2", outputs=2),
        Bad([W, DY, L, D, *rest], ArityError, "output", outputs=3),
        Bad([W, DY, L], ArityError, "input", outputs=2),
    ]
    if sparse:
        bad.append(Bad([W, DY, L, D, I + 1], ValueRangeError, "index 4", outputs=2))
    return bad


WITH_WEIGHTS = [
    Case(name, _with_weights, _with_weights_samples(sparse), _with_weights_bad(sparse, loose))
    for name, sparse, loose in (
        ("LengthsWeightedSumWithMainInputGradient", False, True),
        ("SparseLengthsWeightedSumWithMainInputGradient", True, True),
        ("SparseLengthsIndicesInGradientWeightedSumWithMainInputGradient", True, False),
    )
]


def _to_equal(y, dy, lengths, data):
    dx = _spread("Lengths", "Sum", len(data), dy, lengths)
    return np.where(data == _spread("Lengths", "Sum", len(data), y, lengths), dx, 0)


def _to_equal_samples(rng):
    for shape, lengths in LAYOUTS:
        for dtype in FLOATS:
            data = _draw(rng, shape, dtype)
            told = np.array(lengths, "int32")
            y = _forward("Lengths", "Max", False)(data, told)
            yield Sample([y, _draw(rng, y.shape, dtype), told, data])


MAX_GRADIENT = Case(
    "LengthsMaxWithMainInputAndForwardOutputGradient",
    _to_equal,
    _to_equal_samples,
    [
        Bad([DY, DY, L, D[:, :1]], ShapeError, "rows of 'DATA'"),
        Bad([DY, DY[:1], L, D], ShapeError, "'dOUTPUT' is"),
        Bad([DY, DY, L - 1, D], ValueRangeError, "sum of lengths is 2"),
        Bad([DY.astype("f8"), DY, L, D], DTypeError, "one type"),
        Bad([DY, DY, L], ArityError, "expected 4"),
    ],
)

# ---------------------------------------------------------------- SortedSegmentRange...

RANGES = {
    "Sum": _sum,
    "Mean": _mean,
    "Max": _max,
    "LogSumExp": _logsumexp,
    "LogMeanExp": _logmeanexp,
}


def _range(reduce):
    def ref(data, ids, num_reduce_dim=0):
        return _reduced(data, _by_ids(ids, _count(ids, -1)), reduce)

    return ref


def _range_samples(rng):
    for index, (shape, lengths) in enumerate(LAYOUTS):
        for dtype in FLOATS:
            size = int(np.prod(shape))
            data = (rng.permutation(size) / 64 - 5).astype(dtype).reshape(shape)
            ids = _told(rng, "SortedSegment", lengths, index)
            yield Sample([data, ids], {"num_reduce_dim": 1} if index == 1 else {})
    big = np.array([[500, -500], [501, -501], [0, 0]], "float32")
    yield Sample([big, np.array([0, 0, 1], "int32")])


def _range_gradient(name):
    def ref(data, y, dy, ids, num_reduce_dim=0):
        dy = dy.reshape(y.shape)
        rows = dy[ids]
        counts = _tall(np.bincount(ids, minlength=len(dy))[ids].astype(data.dtype), data)
        if name == "Max":
            return np.where(data == y[ids], rows, 0)
        if name.startswith("Log"):
            rows = rows * np.exp(data - y[ids])
        return rows / counts if "Mean" in name else rows

    return ref


def _range_gradient_samples(name):
    def samples(rng):
        for sample in _range_samples(rng):
            data, ids = sample.inputs
            y = _range(RANGES[name])(data, ids)
            yield Sample([data, y, _draw(rng, y.shape, data.dtype), ids])
        yield Sample([data, y, _draw(rng, (1, *y.shape), data.dtype), ids])  # a step of a blob

    return samples


RANGE_BAD = _bad("SortedSegment", "Range", False)
RANGE_GRADIENT_BAD = [
    Bad([D, DY, DY, S[1:]], ShapeError, "3 SEGMENT_IDS for 4"),
    Bad([D, DY, DY[:1], S], ShapeError, "one shape"),
    Bad([D[:, :1], DY, DY, S], ShapeError, "rows of 'DATA'"),
    Bad([D, DY, DY, S * 2], ValueRangeError, "id 2 at position 3"),
    Bad([D, DY, DY.astype("f8"), S], DTypeError, "one type"),
    Bad([D, DY, DY], ArityError, "expected 4"),
]
EXP = "exponentials and logarithms of float32 in another order than numpy's"
RANGE_CASES = [
    case
    for name, reduce in RANGES.items()
    for case in (
        Case(
            f"SortedSegmentRange{name}",
            _range(reduce),
            _range_samples,
            RANGE_BAD,
            tolerance=1e-5,
            tolerance_reason=EXP,
        ),
        Case(
            f"SortedSegmentRange{name}Gradient",
            _range_gradient(name),
            _range_gradient_samples(name),
            RANGE_GRADIENT_BAD,
            tolerance=1e-5,
            tolerance_reason=EXP,
        ),
    )
]

CASES = [*FORWARD, *BACKWARD, *WITH_WEIGHTS, MAX_GRADIENT, *RANGE_CASES]
