"""Rows: other shapes and places for the same elements, float16, random choices, pairs."""

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

ANY = ("float32", "float64", "float16", "int32", "int64", "uint8", "bool", "object")
F4 = np.ones((2, 3), np.float32)
F8 = F4.astype("f8")
RANDOM = {"forward": "the result is random"}


def _draw(rng, shape, dtype="float32"):
    values = np.asarray(rng.integers(0, 20, shape))
    if dtype == "object":
        return np.array([b"%d" % n for n in values.reshape(-1)], object).reshape(shape)
    return values.astype(dtype)


def _shapes(*shapes, args=({},), same=()):
    def samples(rng):
        for dtype in ANY:
            for shape in shapes:
                for arg in args:
                    smooth = dtype != "float16"
                    yield Sample([_draw(rng, shape, dtype)], arg, same=same, gradient=smooth)

    return samples


def _prepended(x, dim_size):
    return x.reshape(dim_size, x.shape[0] // dim_size, *x.shape[1:])


def _coalesced(*inputs):
    return (*inputs, np.concatenate([x.reshape(-1) for x in inputs] or [np.zeros(0, "f4")]))


def _coalesce_samples(rng):
    for shapes in ([(2, 3)], [(2, 3), (4,), ()], [(0, 2), (3,)], []):
        yield Sample([_draw(rng, shape) for shape in shapes], outputs=len(shapes) + 1)


def _couple_samples(rng):
    yield Sample([_draw(rng, (2, 3)), _draw(rng, (4,), "int32")], outputs=1, same=[(0, 0)])
    inputs = [_draw(rng, (2, 3), "object"), _draw(rng, ()), _draw(rng, (0,))]
    yield Sample(inputs, outputs=2, same=[(0, 0), (1, 1)])


def _tile_samples(rng):
    for dtype in ANY:
        for shape, repeats in [((2, 3), [2, 1]), ((2,), [3]), ((2, 1, 3), [1, 2, 2]), ((), [])]:
            yield Sample([_draw(rng, shape, dtype), np.array(repeats, np.int64)])
    yield Sample([_draw(rng, (2, 3)), np.array([0, 2], np.int32)])


# ---------------------------------------------------------------- float16


def _to_half(x, clip=0):
    with np.errstate(over="ignore"):
        return (np.clip(x, -65504, 65504) if clip else x).astype(np.float16)


def _half_samples(rng):
    for shape in ((), (0,), (7,), (3, 40)):
        x = np.asarray(rng.uniform(-9, 9, shape)).astype(np.float32)
        yield Sample([x], gradient=False)
    wide = np.array([1e6, -1e9, np.inf, 1e-8, 6e-8, 65519, np.nan], np.float32)
    for clip in (0, 1):
        yield Sample([wide], {"clip": clip}, gradient=False)


def _single_samples(rng):
    for shape in ((), (0,), (7,), (3, 40)):
        yield Sample([np.asarray(rng.uniform(-9, 9, shape)).astype(np.float16)], gradient=False)


def _no_inputs(*args):
    return lambda rng: [Sample([], a) for a in args]


# ---------------------------------------------------------------- fills and choices


def _diagonal(x=None, shape=None, value=None, dtype=None, input_as_shape=0, extra_shape=()):
    kinds = {None: np.int64 if isinstance(value, int) else np.float32, 1: "f4", 5: "?", 2: "i4"}
    if x is not None:
        shape = (*(x.tolist() if input_as_shape else x.shape), *extra_shape)
    y = np.zeros(shape, kinds[dtype])
    if len(shape) == 2:
        np.fill_diagonal(y, 0 if value is None else value, wrap=True)
    else:
        for k in range(min(shape)):
            y[(k,) * len(shape)] = value
    return y


def _diagonal_samples(rng):
    for shape in ((3, 3), (2, 4), (5, 2), (1, 1), (0, 2), (2, 2, 2)):
        yield Sample([], {"shape": list(shape), "value": 1.5})
        yield Sample([_draw(rng, shape)], {"value": 2.5})
        yield Sample([_draw(rng, shape)], {"value": 2})
    yield Sample([], {"shape": [2, 2], "value": 1, "dtype": 5})
    yield Sample([], {"shape": [2, 2]})
    yield Sample([np.array([2, 3], np.int64)], {"input_as_shape": 1, "value": 7, "dtype": 2})
    yield Sample([_draw(rng, (3,))], {"extra_shape": [4], "value": 0.5})


def _different_samples(rng):
    for dtype, name in ((2, "int32"), (10, "int64")):
        yield Sample([], {"shape": [3, 2], "min": -3, "max": 5, "dtype": dtype})
        avoid = rng.permutation(9)[:3].astype(name)
        args = {"min": 0, "max": 8, "dtype": dtype}
        yield Sample([_draw(rng, (3, 2), name), avoid], args)
        yield Sample([np.array([6], np.int64), avoid], {**args, "input_as_shape": 1})
    yield Sample([_draw(rng, (0,))], {"min": 0, "max": 1})


def _weights(rng, shape, dtype="float32"):
    return rng.integers(0, 3, shape).astype(dtype)


def _choice_samples(rng):
    for dtype in ("float32", "float64"):
        for shape in ((3, 4), (0, 2), (2, 1)):
            yield Sample([_weights(rng, shape, dtype)])
            yield Sample([_weights(rng, shape, dtype), _draw(rng, shape, dtype)], outputs=2)


def _multi_samples(rng):
    for dtype in ("float32", "float64"):
        for size in (4, 1, 0):
            sums = np.cumsum(_weights(rng, (size,), dtype))
            yield Sample([sums], {"num_samples": 5})
            yield Sample([sums, _draw(rng, (2, 3))])
    yield Sample([np.ones(2, np.float32)])


def _dropped_samples(rng):
    for ratio in (0.0, 0.5, 1.0):
        lengths = rng.integers(0, 4, 5).astype(np.int32)
        x = rng.integers(0, 9, lengths.sum())
        yield Sample([x, lengths], {"ratio": ratio, "replacement_value": -1}, outputs=2)
    yield Sample([np.zeros(0, np.int64), np.zeros(0, np.int32)], outputs=2)


def _pairs(indices, *vectors):
    count = len(vectors)
    x = np.stack(vectors)
    first, second = x[indices // count], x[indices % count]
    return np.sum(first * second, 2).T.astype(x.dtype)


def _pair_samples(rng):
    for dtype in ("float32", "float64"):
        for count, shape in ((1, (2, 3)), (3, (4, 5)), (2, (0, 3)), (2, (3, 0))):
            at = rng.integers(0, count * count, 6).astype("int32" if dtype[-1] == "2" else "int64")
            yield Sample([at, *(_draw(rng, shape, dtype) for _ in range(count))])


I8 = np.ones(1, np.int64)
LIMITS = {"min": 0, "max": 3}
RESHAPED = {"inplace": "the shape always changes: see test_storage.py"}
CASES = [
    Case(
        "PrependDim",
        _prepended,
        _shapes((4,), (6, 2), (2, 0, 3), (0, 2), args=[{"dim_size": 2}]),
        bad=[
            Bad([F4], ArgumentError, "must be greater than zero, found 0"),
            Bad([F4], ShapeError, "no multiple of 3", {"dim_size": 3}),
            Bad([F4[0, 0]], ShapeError, "at least 1 dimension", {"dim_size": 1}),
            Bad([F4, F4], ArityError, "expected 1", {"dim_size": 1}),
        ],
        skip=RESHAPED,
    ),
    Case(
        "MergeDim",
        lambda x: x.reshape(x.shape[0] * x.shape[1], *x.shape[2:]),
        _shapes((2, 3), (2, 3, 4), (2, 0, 3)),
        bad=[
            Bad([F4[0]], ShapeError, "at least 2 dimensions"),
            Bad([F4, F4], ArityError, "expected 1"),
        ],
        skip=RESHAPED,
    ),
    Case(
        "AliasWithName",
        lambda x, **args: x,
        _shapes((2, 3), (), (0, 2), args=[{"name": "a"}, {"name": "b", "is_backward": 1}]),
        bad=[
            Bad([F4], ArgumentError, "'name' is required"),
            Bad([F4, F4], ArityError, "expected 1", {"name": "a"}),
        ],
    ),
    Case(
        "UnsafeCoalesce",
        _coalesced,
        _coalesce_samples,
        bad=[
            Bad([F4, F4], ArityError, "one more than inputs", outputs=2),
            Bad([F4, F8], DTypeError, "is float64; supported: float32", outputs=3),
        ],
    ),
    Case(
        "DataCouple",
        lambda *inputs: inputs,
        _couple_samples,
        bad=[
            Bad([F4], InplaceError, "must be the same blob as input 0"),
            Bad([F4], ArityError, "at most 1 output", outputs=2, same=[(0, 0)]),
        ],
        skip={"inplace": "it is always in place"},
    ),
    Case(
        "NumpyTile",
        lambda x, repeats: np.tile(x, repeats),
        _tile_samples,
        bad=[
            Bad([F4, I8], ShapeError, "one number for each axis"),
            Bad([F4[0], -I8], ValueRangeError, "must not be negative"),
            Bad([F4[0], F4[0]], DTypeError, "is float32"),
            Bad([F4[0], I8[0]], ShapeError, "must have 1 dimension"),
            Bad([F4], ArityError, "expected 2"),
            Bad([F4[0], I8], ArityError, "expected 1 output", outputs=2),
        ],
    ),
    Case(
        "FloatToHalf",
        _to_half,
        _half_samples,
        bad=[Bad([F8], DTypeError, "is float64"), Bad([F4, F4], ArityError, "expected 1")],
        skip={"gradient": "float16 is too coarse for differences"},
    ),
    Case(
        "HalfToFloat",
        lambda x: x.astype(np.float32),
        _single_samples,
        bad=[Bad([F4], DTypeError, "is float32"), Bad([F4, F4], ArityError, "expected 1")],
        skip={"gradient": "float16 is too coarse for differences"},
    ),
    Case(
        "Float16ConstantFill",
        lambda shape=(), value=0.0: np.full(shape, value, np.float16),
        _no_inputs({}, {"shape": [2, 3], "value": 1.5}, {"shape": [0], "value": 2.0}),
        bad=[
            Bad([], ShapeError, "negative size", {"shape": [-1]}),
            Bad([F4], ArityError, "expected 0"),
        ],
    ),
    Case(
        "Float16UniformFill",
        None,
        _no_inputs({"shape": [9]}, {"shape": [2, 0], "min": -1.0}, {"min": 1.0, "max": 2.0}),
        bad=[
            Bad([], ArgumentError, "max must be larger", {"min": 1.0}),
            Bad([], ShapeError, "negative size", {"shape": [-1]}),
            Bad([F4], ArityError, "expected 0"),
        ],
        skip=RANDOM,
    ),
    Case(
        "DiagonalFill",
        _diagonal,
        _diagonal_samples,
        bad=[
            Bad([], ShapeError, "2 dimensions or more", {"shape": [3]}),
            Bad([], ShapeError, "must be of equal size", {"shape": [3, 2, 3]}),
            Bad([], ArgumentError, "diagonal of strings", {"shape": [3, 2], "dtype": 4}),
            Bad([F4], ArgumentError, "exclude each other", {"shape": [3, 3]}),
        ],
    ),
    Case(
        "UniqueUniformFill",
        None,
        _different_samples,
        bad=[
            Bad([], ArgumentError, "are required", {"shape": [3]}),
            Bad([], ArgumentError, "max must be larger", {"min": 3, "max": 3}),
            Bad([], ArgumentError, "must be int32 or int64", {**LIMITS, "dtype": 1}),
            Bad([], ValueRangeError, "no 5 different", {**LIMITS, "shape": [5]}),
            Bad(
                [F4[0], np.array([1, 2, 9], np.int32)],
                ValueRangeError,
                "besides those to avoid",
                LIMITS,
            ),
            Bad([F4[0], I8], DTypeError, "is int64; supported: int32", LIMITS),
        ],
        skip=RANDOM,
    ),
    Case(
        "WeightedSample",
        None,
        _choice_samples,
        bad=[
            Bad([F4], ArityError, "as many as inputs", outputs=2),
            Bad([F4, F4[:1]], ShapeError, "one shape", outputs=2),
            Bad([F4[:, :0]], ShapeError, "nothing to choose"),
            Bad([F4[0]], ShapeError, "must have 2 dimension"),
            Bad([F4, F8], DTypeError, "one type", outputs=2),
        ],
        skip=RANDOM,
    ),
    Case(
        "WeightedMultiSampling",
        None,
        _multi_samples,
        bad=[
            Bad([F4], ShapeError, "must have 1 dimension"),
            Bad([F4[0]], ArgumentError, "must not be negative", {"num_samples": -1}),
            Bad([I8], DTypeError, "is int64"),
            Bad([F4[0], F4, F4], ArityError, "expected 1 to 2"),
        ],
        skip=RANDOM,
    ),
    Case(
        "SparseDropoutWithReplacement",
        None,
        _dropped_samples,
        bad=[
            Bad([I8, I8.astype("i4") + 1], ValueRangeError, "do not add up to 1", outputs=2),
            Bad([I8, I8], DTypeError, "is int64; supported: int32", outputs=2),
            Bad([F4[0], I8], DTypeError, "is float32", outputs=2),
            Bad([I8, I8.astype("i4")], ArgumentError, "ratio must", {"ratio": 1.5}, outputs=2),
            Bad([I8, I8.astype("i4")], ArityError, "expected 2 output"),
        ],
        skip={**RANDOM, "infer_full": "the size depends on what is drawn"},
    ),
    Case(
        "ConcatBatchMatMulBatchGatherOp",
        _pairs,
        _pair_samples,
        bad=[
            Bad([I8, F4], ValueRangeError, "index 1 at position 0 is out of range for 1 pair"),
            Bad([I8 - 2, F4], ValueRangeError, "index -1 at position 0"),
            Bad([I8, F4, F4[:1]], ShapeError, "one shape"),
            Bad([I8, F4, F8], DTypeError, "one type"),
            Bad([F4[0], F4], DTypeError, "is float32"),
            Bad([I8, F4[0]], ShapeError, "must have 2 dimension"),
        ],
    ),
]
