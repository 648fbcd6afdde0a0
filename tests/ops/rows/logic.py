"""Rows: bits, membership, choice, checks of values; and sums and products of whole tensors."""

import numpy as np

from caffe2py.errors import (
    ArgumentError,
    ArityError,
    DTypeError,
    InplaceError,
    ShapeError,
    ValueRangeError,
)
from caffe2py.testing import Bad, Case, Sample, elementwise_samples, uniform
from tests.ops.rows.arithmetic import NUMPY_RULE, OLD_RULE, _binary

FLOATS = ("float32", "float64")
F4 = np.ones((2, 3), np.float32)
F8 = np.ones((2, 3), np.float64)
I4 = np.ones((2, 3), np.int32)
TRUE = np.ones((2, 3), np.bool_)
ANY = uniform(-3, 3)


# ---------------------------------------------------------------- bits


def _bits(rng):
    for dtype in ("bool", "int32", "int64"):
        low, high = (0, 2) if dtype == "bool" else (-100, 100)

        def draw(shape, dtype=dtype, low=low, high=high):
            return np.asarray(rng.integers(low, high, shape)).astype(dtype)

        for a, b in NUMPY_RULE:
            yield Sample([draw(a), draw(b)])
        for a, b, args in OLD_RULE:
            yield Sample([draw(a), draw(b)], args)


def _bit_row(name, function):
    return Case(
        name,
        _binary(function),
        _bits,
        bad=[
            Bad([F4, F4], DTypeError, "is float32; supported: bool, int32, int64"),
            Bad([I4, I4.astype(np.int64)], DTypeError, "one type"),
            Bad([I4, I4[:, :2]], ShapeError, "cannot be broadcast"),
            Bad([I4, I4], InplaceError, "does not allow", same=[(1, 0)]),
            Bad([I4], ArityError, "expected 2"),
        ],
    )


# ---------------------------------------------------------------- one tensor


def _some_nan(rng):
    for sample in elementwise_samples(ANY, dtypes=FLOATS)(rng):
        x = sample.inputs[0].copy()
        x[...] = np.where(rng.random(x.shape) < 0.4, np.nan, x)
        yield Sample([x])
    yield Sample([np.array([np.inf, -np.inf, np.nan], np.float32)])


VALUES = [3, 1, -7, 2**40, 1]


def _members(x, value=(), dtype=None):
    if x.dtype == object:
        known = [v.encode() for v in value if isinstance(v, str)]
        flags = [text in known for text in x.reshape(-1)]
        return np.array(flags, np.bool_).reshape(x.shape)
    numbers = [v for v in value if not isinstance(v, str)]
    if x.dtype == np.bool_:
        return np.isin(x, [bool(v) for v in numbers])
    return np.isin(x.astype(np.int64), np.array(numbers, np.int64))


def _searched(rng):
    for dtype, number in (("int32", 2), ("int64", 10), ("bool", 5)):
        for shape in ((), (0,), (7,), (4, 3)):
            x = np.asarray(rng.integers(-8, 8, shape)).astype(dtype)
            for value in (VALUES, [0], [1], ["a"]):
                yield Sample([x], {"value": value})
            yield Sample([x], {"value": VALUES, "dtype": number})
            yield Sample([x])
    texts = np.array([[b"a", b"", b"bc"], [b"b", b"a", b"c"]], object)
    for value in (["a", "bc"], ["x"], [1]):
        yield Sample([texts], {"value": value})
    yield Sample([texts[0]], {"value": ["a"], "dtype": 4})


# ---------------------------------------------------------------- Where


def _where(c, x, y, broadcast_on_rows=0):
    if broadcast_on_rows:
        c = c.reshape(-1, *[1] * (x.ndim - 1))
    return np.where(c, x, y)


def _choices(rng):
    for dtype in ("float32", "float64", "int32", "int64", "bool", "float16", "uint8"):
        for shape in ((), (0,), (7,), (4, 3), (2, 0)):
            x, y = (np.asarray(rng.integers(0, 9, shape)).astype(dtype) for _ in range(2))
            yield Sample([np.asarray(rng.random(shape) < 0.5), x, y])
            if shape:
                yield Sample([rng.random(shape[0]) < 0.5, x, y], {"broadcast_on_rows": 1})
    a, b = np.array([[b"a", b"b"], [b"c", b""]], object), np.array([[b"x"] * 2] * 2, object)
    yield Sample([np.array([[True, False], [False, True]]), a, b])
    yield Sample([np.array([True, False]), a, b], {"broadcast_on_rows": 1})


# ---------------------------------------------------------------- whole tensors


def _several(dtypes):
    def samples(rng):
        for dtype in dtypes:
            for shape in ((), (0,), (7,), (2, 3), (130, 33)):
                for count in (1, 2, 5):
                    draw = [rng.integers(-9, 9, shape) / 4 for _ in range(count)]
                    if dtype in ("int32", "int64"):
                        draw = [rng.integers(-9, 9, shape) for _ in range(count)]
                    yield Sample([np.asarray(x).astype(dtype) for x in draw])

    return samples


def _mean(*inputs):
    return np.asarray(sum(inputs[1:], inputs[0]) * inputs[0].dtype.type(1 / len(inputs)))


def _equal_shares(rng):
    for sample in elementwise_samples(ANY, dtypes=FLOATS)(rng):
        yield Sample(sample.inputs, {}, outputs=2)


def _sum(*inputs):
    return np.asarray(sum(inputs[1:], inputs[0]))


def _sum_errors():
    return [
        Bad([F4, F4[:1]], ShapeError, "must have one shape"),
        Bad([F4, F8], DTypeError, "one type"),
        Bad([F4, F4], InplaceError, "does not allow", same=[(1, 0)]),
        Bad([], ArityError, "expected at least 1"),
    ]


def _scaled(w, iter, stepsize=2**62, upper_bound_iter=2**62, scale=1.0):
    count = int(iter.reshape(-1)[0]) + 1
    due = count % stepsize == 0 and count < upper_bound_iter
    return w * w.dtype.type(scale) if due else w


def _scalings(rng):
    for dtype in FLOATS:
        for shape in ((), (0,), (3, 4)):
            for done in (0, 4, 9, 14):
                w = ANY(rng, shape, np.dtype(dtype))
                for args in (
                    {"stepsize": 5, "scale": 0.5},
                    {"stepsize": 5, "upper_bound_iter": 10, "scale": 0.25},
                    {"scale": 0.5},
                ):
                    yield Sample([w, np.array([done], np.int64)], args)


BAD = np.array([[1, np.inf]], np.float32)
DONE = np.zeros(1, np.int64)

CASES = [
    _bit_row("BitwiseAnd", np.bitwise_and),
    _bit_row("BitwiseOr", np.bitwise_or),
    _bit_row("BitwiseXor", np.bitwise_xor),
    Case(
        "IsNaN",
        lambda x: np.isnan(x).astype(np.uint8),
        _some_nan,
        bad=[
            Bad([I4], DTypeError, "is int32; supported: float32, float64"),
            Bad([F4, F4], ArityError, "expected 1"),
            Bad([F4], InplaceError, "does not allow", same=[(0, 0)]),
        ],
    ),
    Case(
        "IsMemberOf",
        _members,
        _searched,
        bad=[
            Bad([F4], DTypeError, "is float32; supported: int32", args={"value": [1]}),
            Bad([I4], DTypeError, "supported: int64", args={"value": [1], "dtype": 10}),
            Bad([I4], DTypeError, "supported: float32", args={"value": [1], "dtype": 1}),
            Bad([I4], ArgumentError, "'dtype'", args={"value": [1], "dtype": "int32"}),
            Bad([I4, I4], ArityError, "expected 1"),
        ],
    ),
    Case(
        "Where",
        _where,
        _choices,
        bad=[
            Bad([TRUE, F4, I4], DTypeError, "one type"),
            Bad([I4, F4, F4], DTypeError, "'C' is int32; supported: bool"),
            Bad([TRUE, F4, F4[:1]], ShapeError, "one shape"),
            Bad([TRUE[0], F4, F4], ShapeError, "one shape"),
            Bad([TRUE, F4, F4], ShapeError, "1 dimension", args={"broadcast_on_rows": 1}),
            Bad([TRUE[0], F4, F4], ShapeError, "each row", args={"broadcast_on_rows": 1}),
            Bad([TRUE[0], F4[0, 0], F4[0, 0]], ShapeError, "rows", args={"broadcast_on_rows": 1}),
            Bad([TRUE, F4], ArityError, "expected 3"),
            Bad([TRUE, F4, F4], InplaceError, "does not allow", same=[(1, 0)]),
        ],
    ),
    Case(
        "Mean",
        _mean,
        _several(FLOATS),
        bad=[*_sum_errors(), Bad([I4], DTypeError, "is int32; supported: float32")],
    ),
    Case(
        "MeanGradient",
        lambda dm: (dm * dm.dtype.type(0.5), dm * dm.dtype.type(0.5)),
        _equal_shares,
        bad=[
            Bad([I4], DTypeError, "is int32; supported: float32"),
            Bad([F4, F4], ArityError, "expected 1"),
            Bad([F4], InplaceError, "does not allow", outputs=2, same=[(0, 1)]),
        ],
    ),
    Case("SumInt", _sum, _several(("int32", "int64", "float32")), bad=_sum_errors()),
    Case(
        "Accumulate",
        lambda x, gamma=1.0: x,
        elementwise_samples(ANY, dtypes=FLOATS, args=({}, {"gamma": 0.5})),
        bad=[
            Bad([I4], DTypeError, "is int32; supported: float32"),
            Bad([F4], InplaceError, "does not allow", same=[(0, 0)]),
            Bad([F4], ArgumentError, "'gamma'", args={"gamma": "a"}),
            Bad([F4, F4], ArityError, "expected 1"),
        ],
    ),
    Case(
        "WeightScale",
        _scaled,
        _scalings,
        bad=[
            Bad([I4, DONE], DTypeError, "is int32; supported: float32"),
            Bad([F4, I4], DTypeError, "'iter' is int32; supported: int64"),
            Bad([F4, DONE[:0]], ShapeError, "must not be empty"),
            Bad([F4, DONE], ArgumentError, "stepsize must be at least 1", args={"stepsize": 0}),
            Bad([F4, DONE], InplaceError, "does not allow", same=[(1, 0)]),
            Bad([F4], ArityError, "expected 2"),
        ],
    ),
    Case(
        "EnforceFinite",
        lambda x: (),
        lambda rng: [
            Sample(sample.inputs, outputs=0)
            for sample in elementwise_samples(ANY, dtypes=FLOATS)(rng)
        ],
        bad=[
            Bad([BAD], ValueRangeError, "'in0' must be finite, .* element 1 of 2", outputs=0),
            Bad([F8 * -np.inf], ValueRangeError, "element 0 of 6 is -inf", outputs=0),
            Bad([I4], DTypeError, "is int32; supported: float32", outputs=0),
            Bad([F4], ArityError, "output"),
        ],
    ),
    Case(
        "NanCheck",
        lambda x, *others: x,
        lambda rng: [
            *elementwise_samples(ANY, dtypes=FLOATS)(rng),
            Sample([F4, F4 * np.nan, I4]),
        ],
        gradient=(0,),
        bad=[
            Bad([BAD], ValueRangeError, "'in0' must be finite, .* element 1 of 2 is inf"),
            Bad([I4], DTypeError, "is int32; supported: float32"),
            Bad([F4, F4], InplaceError, "does not allow", same=[(1, 0)]),
            Bad([], ArityError, "expected at least 1"),
        ],
    ),
]
