"""Rows: constants, given values, random numbers, ranges."""

import numpy as np

from caffe2py.errors import ArgumentError, ArityError, DTypeError, ShapeError, ValueRangeError
from caffe2py.testing import Bad, Case, Sample
from tests.ops.rows.cast import BY_NUMBER, NAMES, NUMBER
from tests.ops.rows.shape import F4, draw, ints

SHAPES = [(), (3,), (0,), (2, 3), (2, 0, 3), (4, 1, 2)]
RANDOM = {"forward": "results are random: see test_random_fills.py"}


def uses(shapes, rest, like="float32"):
    """Every way to say a shape, with the other arguments that `rest(shape)` gives.

    An input of type `like`, that of the output, can be filled in place.
    """

    def samples(rng):
        for shape in shapes:
            for args in rest(shape):
                whole = list(shape)
                yield Sample([], {**args, "shape": whole})
                yield Sample([draw(rng, shape, like)], args)
                yield Sample([np.zeros(shape, np.int64)], args)
                yield Sample([ints(*whole)], {**args, "input_as_shape": True})
                yield Sample([ints(*whole, dtype=np.int32)], {**args, "input_as_shape": 1})
                if shape:
                    extra = {**args, "extra_shape": whole[1:]}
                    yield Sample([np.zeros(shape[:1], np.float64)], extra)
                    yield Sample([ints(*whole[:1])], {**extra, "input_as_shape": True})

    return samples


def shape_of(inputs, shape=(), extra_shape=(), input_as_shape=False, **args):
    """The shape that a use means."""
    if not inputs:
        return tuple(shape)
    start = tuple(int(d) for d in inputs[0]) if input_as_shape else inputs[0].shape
    return start + tuple(extra_shape)


def without_shape(args):
    return {k: v for k, v in args.items() if k not in ("shape", "extra_shape", "input_as_shape")}


def shape_errors(**args):
    """What must not be said about a shape."""
    whole = {**args, "input_as_shape": True}
    return [
        Bad([F4], ArgumentError, "'shape' and an input exclude", args={**args, "shape": [2]}),
        Bad([], ArgumentError, "'extra_shape' needs an input", args={**args, "extra_shape": [2]}),
        Bad([], ArgumentError, "'input_as_shape' needs an input", args=whole),
        Bad([F4[0]], DTypeError, "is float32; supported: int64, int32", args=whole),
        Bad([ints(2)[None]], ShapeError, r"1 dimension\(s\), found \(1,1\)", args=whole),
        Bad([ints(-4)], ShapeError, r"shape \(-4\) has a negative size", args=whole),
        Bad([], ShapeError, r"shape \(-4\) has a negative size", args={**args, "shape": [-4]}),
        Bad([], ArityError, r"1 output\(s\)", args={**args, "shape": [2]}, outputs=2),
    ]


# ---------------------------------------------------------------- ConstantFill


def _dtype(value):
    if isinstance(value, int):
        return np.dtype(BY_NUMBER[value])
    return np.dtype({**NAMES, "string": "object"}.get(value, value.lower()))


def _constant(*inputs, value=None, dtype=None, **args):
    if dtype is not None:
        kind = _dtype(dtype)
    else:
        kind = np.dtype(np.int64 if isinstance(value, int) else np.float32)
    default = b"" if kind == np.dtype(object) else 0
    given = default if value is None else value
    given = given.encode() if isinstance(given, str) else given
    if len(inputs) == 2:
        given = inputs[1].reshape(-1)[0]
    return np.full(shape_of(inputs, **args), given, kind)


def _constants(shape):
    if shape != (2, 3):
        return [{"value": 2.5}, {}]
    chosen = [
        *({"dtype": number} for number in NUMBER.values()),
        *({"dtype": n, "value": 0.25} for n in (1, 12, 13, "double")),
        *({"dtype": n, "value": 3} for n in (1, 2, 5, 6, 7, 8, 9, 10, "int32")),
        {"dtype": 4, "value": "größe"},
        {"dtype": 6, "value": 255},
        {"dtype": 10, "value": 2**40},
        {"dtype": 5, "value": 1},
        {"value": 3},
        {"value": True},
        {"value": float("nan")},
    ]
    return [{"value": 2.5}, {}, *chosen]


def _constant_samples(rng):
    yield from uses(SHAPES, _constants)(rng)
    whole = {"input_as_shape": True}
    yield Sample([ints(2, 2), np.float32(7).reshape(1)], {**whole, "value": 3.0})
    yield Sample([ints(2, 2), np.float32(7).reshape(())], whole)
    yield Sample([F4, ints(9)], {"dtype": 10})
    yield Sample([F4, np.array([b"x"], object)], {"dtype": "string"})


def _not(value, dtype, match):
    return Bad([], ArgumentError, match, args={"shape": [2], "value": value, "dtype": dtype})


CONSTANT = Case(
    "ConstantFill",
    _constant,
    _constant_samples,
    bad=[
        *shape_errors(value=1.0),
        _not(1.5, 2, "'value': expected an int, found a float 1.5"),
        _not(1.5, 5, "expected an int"),
        _not("x", 1, "expected a float, found a string 'x'"),
        _not(1, 4, "'value' must be a string"),
        _not(300, 6, "'value': 300 does not fit uint8"),
        _not(-1, "uint8", "-1 does not fit uint8"),
        _not(2**33, 2, "does not fit int32"),
        _not(1.0, 0, "0 is not a data type"),
        _not(1.0, 99, "99 is not a data type"),
        _not(1.0, "real", "'real' is not a data type"),
        Bad([], ArgumentError, "must be a float, an int or a bool", args={"value": "x"}),
        Bad([F4, F4[0]], ShapeError, r"one element, found \(3\)"),
        Bad([F4, ints(3)], DTypeError, "is int64; supported: float32"),
        Bad([F4] * 3, ArityError, "0 to 2"),
        Bad([], ArgumentError, "did you mean 'value'", args={"values": 1.0}),
    ],
)

# ---------------------------------------------------------------- given values


def _given(dtype):
    def ref(*inputs, values, **args):
        chosen = _dtype(args.pop("dtype", NUMBER[dtype])) if dtype == "float32" else np.dtype(dtype)
        if chosen == np.dtype(object):
            values = [*(v if isinstance(v, bytes) else v.encode() for v in values), None]
            flat = np.array(values, object)[:-1]
        elif chosen.kind == "f":
            flat = np.array(values, np.float32).astype(chosen)
        else:
            flat = np.array(values, np.int64).astype(chosen)
        return flat.reshape(shape_of(inputs, **args))

    return ref


def _some(kind, count):
    if kind == "f":
        return [0.5 - 1.25 * k for k in range(count)]
    return [f"w{k}é" for k in range(count)] if kind == "O" else [3 - 2 * k for k in range(count)]


def _given_samples(dtype):
    kind = np.dtype(dtype).kind

    def rest(shape):
        count = int(np.prod(shape, dtype=int))
        if kind == "b":
            return [{"values": [k % 3 == 1 for k in range(count)]}]
        return [{"values": _some(kind, count)}]

    def samples(rng):
        yield from uses(SHAPES, rest, dtype)(rng)
        if kind == "i":
            limits = np.iinfo(dtype)
            yield Sample([], {"values": [limits.min, limits.max, 0], "shape": [3], "dtype": 1})
        elif kind == "b":
            yield Sample([], {"values": [2, -1, 0], "shape": [3]})
        elif kind == "f":
            special = [0.1, float("nan"), float("inf"), -0.0, 1e-45, 3e38]
            yield Sample([], {"values": special, "shape": [6]})
            yield Sample([], {"values": [1, 2], "shape": [2]})
        if dtype == "float32":
            for number in NUMBER.values():
                wanted = "f" if BY_NUMBER[number].startswith("f") else _dtype(number).kind
                values = [1, 0] if wanted in "iub" else _some(wanted, 2)
                yield Sample([], {"values": values, "shape": [2], "dtype": number})

    return samples


def _count_errors(values, more):
    return [
        *shape_errors(values=values),
        Bad([], ArgumentError, "'values' .* is required", args={"shape": [2]}),
        Bad(
            [],
            ShapeError,
            r"'values' has 1 value\(s\), shape \(2,2\) takes 4",
            args={"values": values[:1], "shape": [2, 2]},
        ),
        Bad([], ShapeError, r"shape \(\) takes 1", args={"values": values * 2}),
        Bad([F4], ShapeError, r"shape \(2,3\) takes 6", args={"values": values}),
        *more,
    ]


def _kind_error(values, match):
    return Bad([], ArgumentError, match, args={"values": values, "shape": [len(values)]})


def _given_case(name, dtype, *more):
    kind = np.dtype(dtype).kind
    values = {"f": [0.5], "O": ["a"]}.get(kind, [1])
    return Case(name, _given(dtype), _given_samples(dtype), bad=_count_errors(values, more))


NOT_INTS = _kind_error([1.5], "'values': expected a list of ints, found a list of floats")
NOT_FLOATS = _kind_error(["x"], "'values': expected a list of floats, found a list of strings")
GIVEN = [
    _given_case(
        "GivenTensorFill",
        "float32",
        NOT_FLOATS,
        Bad([], ArgumentError, "99 is not", args={"values": [1.0], "shape": [1], "dtype": 99}),
        Bad([], ArgumentError, "list of ints", args={"values": [1.5], "shape": [1], "dtype": 2}),
        Bad([], ArgumentError, "found a float 1.5", args={"values": 1.5, "shape": [1]}),
    ),
    _given_case("GivenTensorDoubleFill", "float64", NOT_FLOATS),
    _given_case(
        "GivenTensorIntFill", "int32", NOT_INTS, _kind_error([2**31], "2147483648 does not fit")
    ),
    _given_case("GivenTensorInt64Fill", "int64", NOT_INTS),
    _given_case(
        "GivenTensorInt16Fill", "int16", NOT_INTS, _kind_error([-32769], "-32769 does not fit")
    ),
    _given_case("GivenTensorBoolFill", "bool", NOT_INTS),
    _given_case("GivenTensorStringFill", "object", _kind_error([1], "expected a list of strings")),
]


def _bytes(*inputs, values, **args):
    joined = b"".join(v if isinstance(v, bytes) else v.encode() for v in values)
    return np.frombuffer(joined, np.uint8).reshape(shape_of(inputs, **args))


def _byte_samples(rng):
    def rest(shape):
        return [{"values": [bytes(range(100, 100 + int(np.prod(shape, dtype=int))))]}]

    yield from uses(SHAPES, rest, "uint8")(rng)
    yield Sample([], {"values": ["é"], "shape": [2]})
    yield Sample([], {"values": [b"ab", b"\xff"], "shape": [3]})


BYTES = Case(
    "GivenTensorByteStringToUInt8Fill",
    _bytes,
    _byte_samples,
    bad=[
        *shape_errors(values=["a"]),
        Bad([], ArgumentError, "'values' .* is required", args={"shape": [2]}),
        Bad([], ShapeError, r"3 byte\(s\), shape \(2\)", args={"values": ["abc"], "shape": [2]}),
        _kind_error([1], "expected a list of strings"),
    ],
)

# ---------------------------------------------------------------- random, ranges


def _bounded_samples(dtype, args):
    scalar = np.dtype(dtype).type

    def samples(rng):
        yield from uses(SHAPES, lambda shape: [{}, args], dtype)(rng)
        for low, high in ((1, 4), (3, 3), (4, 1)):
            bounds = [np.array(scalar(low)), np.array([scalar(high)])]
            yield Sample([F4, *bounds])
            yield Sample([ints(4, 2), *bounds], {"input_as_shape": True})

    return samples


def _bounded_errors(dtype):
    one = np.ones((), dtype)
    return [
        *shape_errors(),
        Bad([], ArgumentError, "max must be larger than min", args={"min": 2, "max": 1}),
        Bad([], ArgumentError, "larger than min, found 1", args={"min": 1, "max": 1}),
        Bad([F4, one], ArityError, "0 or 1 or 3"),
        Bad([F4, one, one], ArgumentError, "'min' and 'max' exclude", args={"min": 0}),
        Bad([F4, one, np.ones(2, dtype)], ShapeError, r"'max' must have one element, found \(2\)"),
        Bad([F4, one, ints(1)], DTypeError, f"'max' is int64; supported: {dtype}"),
        Bad([F4[0, 0].reshape(()), one, one - one], ValueRangeError, "a scalar cannot lie between"),
    ]


def _plain(name, *args, bad=(), skip=RANDOM, shapes=SHAPES, ref=None):
    samples = uses(shapes, lambda shape: [{}, *args])
    return Case(name, ref, samples, bad=[*shape_errors(), *bad], skip=skip)


def _count(*inputs, **args):
    shape = shape_of(inputs, **args)
    return np.arange(np.prod(shape, dtype=int), dtype=np.float32).reshape(shape)


DRAWN = [
    Case(
        "UniformFill",
        None,
        _bounded_samples("float32", {"min": -2.0, "max": 3.0}),
        bad=_bounded_errors("float32"),
        skip=RANDOM,
    ),
    Case(
        "UniformIntFill",
        None,
        _bounded_samples("int32", {"min": -2, "max": 3}),
        bad=[
            *_bounded_errors("int32"),
            Bad([], ArgumentError, "'min': expected an int, found a float", args={"min": 0.0}),
        ],
        skip=RANDOM,
    ),
    _plain(
        "GaussianFill",
        {"mean": 1.0, "std": 0.5},
        {"std": 0.0},
        bad=[Bad([], ArgumentError, "'std' must not be negative", args={"std": -1.0})],
    ),
    _plain(
        "XavierFill",
        shapes=SHAPES[1:],
        bad=[Bad([], ShapeError, r"need 1 dimension\(s\) or more, found \(\)")],
    ),
    _plain(
        "MSRAFill",
        shapes=[s for s in SHAPES if len(s) > 1],
        bad=[Bad([], ShapeError, r"need 2 .* found \(3\)", args={"shape": [3]})],
    ),
    _plain("RangeFill", skip={}, ref=_count),
]

RANGES = [
    (5,),
    (0,),
    (-3,),
    (1, 4),
    (4, 1),
    (0, 10, 3),
    (10, 0, -3),
    (0, 9, 3),
    (1, 2, 10),
    (5, -5, -1),
]
UNEVEN = [(3.5,), (0.5, 2.25, 0.5), (2.0, -1.0, -0.75), (0.1, 1.0, 0.1), (0.0, 1.0, 0.1)]


def _range(*ends):
    dtype = ends[0].dtype
    ends = [end.reshape(()) for end in ends]
    start, stop, step = [dtype.type(0), *ends, dtype.type(1)][(len(ends) > 1) :][:3]
    if dtype.kind == "i":
        return np.arange(int(start), int(stop), int(step)).astype(dtype)
    length = max(0, int(np.ceil((stop - start) / step).reshape(())))
    return (start + np.arange(length).astype(dtype) * step).reshape(-1)


def _range_samples(rng):
    for dtype in ("int32", "int64", "float32", "float64"):
        for ends in RANGES + (UNEVEN if dtype[0] == "f" else []):
            yield Sample([np.array(end, dtype) for end in ends])
            yield Sample([np.array([end], dtype) for end in ends])


def _scalars(*values, dtype=np.float32):
    return [np.array(v, dtype) for v in values]


RANGE = Case(
    "Range",
    _range,
    _range_samples,
    bad=[
        Bad(_scalars(0, 1, 0), ValueRangeError, "step of a range must not be 0"),
        Bad(_scalars(0, 1, 0, dtype=np.int32), ValueRangeError, "must not be 0"),
        Bad(_scalars(0, np.inf), ValueRangeError, "has no length"),
        Bad(_scalars(-np.inf), ValueRangeError, "has no length"),
        Bad([ints(1, 2)], ShapeError, r"must have one element, found \(2\)"),
        Bad([ints(1), *_scalars(2)], DTypeError, "inputs must have one type"),
        Bad([np.array(1, np.int16)], DTypeError, "is int16; supported: int32"),
        Bad([], ArityError, "expected 1 to 3"),
        Bad(_scalars(1, 2, 3, 4), ArityError, "found 4"),
    ],
)

CASES = [CONSTANT, *GIVEN, BYTES, *DRAWN, RANGE]
