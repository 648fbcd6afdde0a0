"""Operators that make values: GivenTensor*Fill, ConstantFill, random fillers, Range."""

from functools import partial
from typing import Any

import numpy as np

from tools.golden.case import (
    DATA_TYPE,
    MATH_TYPES,
    Case,
    Cases,
    grid,
    pick,
    wrong_arity,
)

# Ways to say a shape: operator arguments and input, for a result of `shape`
SHAPES = [(3,), (2, 3), (1,), (2, 1, 3), (), (0,), (2, 0, 3), (4, 2)]


def shape_ways(shape: tuple[int, ...]) -> Cases:
    """(feed, args) for each way in which a filler can be told its shape."""
    whole = list(shape)
    yield {}, {"shape": whole}
    yield {"like": np.zeros(shape, "float32")}, {}
    yield {"dims": np.array(whole, "int64")}, {"input_as_shape": 1}
    if whole:
        yield (
            {"dims": np.array(whole[:-1], "int64")},
            {
                "input_as_shape": 1,
                "extra_shape": whole[-1:],
            },
        )
        yield {"like": np.zeros(shape[:-1], "float32")}, {"extra_shape": whole[-1:]}


def misuses(op: str, values: dict[str, Any]) -> Cases:
    """Shapes said wrongly; common to all fillers."""
    like = {"like": np.zeros((2, 2), "float32")}
    yield Case(op, like, args={**values, "shape": [2, 2]}, refused=True)
    yield Case(op, {}, args={**values, "shape": [2], "extra_shape": [2]}, refused=True)
    yield Case(op, {}, args={**values, "extra_shape": [4]}, refused=True)
    yield Case(op, {}, args={**values, "shape": [4], "input_as_shape": 1}, refused=True)
    for dims in (
        np.array([2, 2], "int32"),
        np.array([[2, 2]], "int64"),
        np.array([2.0], "float32"),
    ):
        yield Case(op, {"dims": dims}, args={**values, "input_as_shape": 1}, refused=True)
    yield Case(
        op, {"dims": np.array([-4], "int64")}, args={**values, "input_as_shape": 1}, refused=True
    )
    yield Case(op, {}, args={**values, "shape": [-4]}, refused=True)
    yield Case(op, {}, [], {**values, "shape": [4]}, refused=True)
    yield Case(op, {}, ["Y", "Z"], {**values, "shape": [4]}, refused=True)
    yield Case(op, {}, reads=["missing"], args=values, refused=True)


def given(op: str, kind: str, rng: np.random.Generator) -> Cases:
    def values(count: int) -> list[Any]:
        if kind == "bool":
            return [bool(n) for n in rng.integers(0, 2, count)]
        if kind == "str":
            return [pick(rng, ["", "a", "word", "größe", "日本"]) for _ in range(count)]
        if kind == "float":
            return [float(n) / 16 for n in rng.integers(-99, 99, count)]
        return [int(n) for n in rng.integers(-99, 99, count)]

    for shape in SHAPES:
        for feed, args in shape_ways(shape):
            filled = {"values": values(int(np.prod(shape))), **args}
            yield Case(op, feed, args=filled)
            if "like" in feed and "extra_shape" not in args:
                yield Case(op, feed, ["like"], filled)
    yield from given_limits(op, kind)
    four = {"values": values(4)}
    yield Case(op, {}, args=four, note="no shape at all")
    for args in ({"shape": [2, 2]}, {"values": values(3), "shape": [2, 2]},
                 {"values": values(5), "shape": [2, 2]}):  # fmt: skip
        yield Case(op, {}, args=args, refused=True)
    wrong = [1.5] if kind == "str" else ["x"]
    yield Case(op, {}, args={"values": wrong, "shape": [1]}, refused=True)
    if kind in ("int", "bool"):
        yield Case(op, {}, args={"values": [1.5, 2.0], "shape": [2]}, refused=True)
    if kind == "float":
        yield Case(op, {}, args={"values": [1, 2], "shape": [2]}, refused=True)
    yield from misuses(op, four)


def given_limits(op: str, kind: str) -> Cases:
    """Values at the edge of their field, and dtype, which only GivenTensorFill reads."""
    if kind == "int":
        for big in (2**15 - 1, -(2**15), 2**15 + 1, 2**31 - 1, -(2**31), 2**33 + 5, 2**62):
            yield Case(op, {}, args={"values": [big], "shape": [1]})
    if kind == "bool":
        yield Case(op, {}, args={"values": [2, 0, 1], "shape": [3]})
    if kind == "float":
        specials = [0.1, float("nan"), float("inf"), -0.0, 1e-45, 3e38]
        yield Case(op, {}, args={"values": specials, "shape": [6]})
    if op == "GivenTensorFill":
        for dtype in ("float32", "int32", "bool", "int64", "int16", "float64"):
            kinds = {"float32": [0.5, 2.0], "float64": [0.5, 2.0], "bool": [True, False]}
            args = {"values": kinds.get(dtype, [1, -2]), "shape": [2], "dtype": DATA_TYPE[dtype]}
            yield Case(op, {}, args=args)
        args = {"values": ["a", "b"], "shape": [2], "dtype": DATA_TYPE["string"]}
        yield Case(op, {}, args=args)
        for code in (0, 3, 6, 12, 99):
            args = {"values": [0.5], "shape": [1], "dtype": code}
            yield Case(op, {}, args=args, refused=True)


def byte_strings(rng: np.random.Generator) -> Cases:
    """One string of as many bytes as the shape has elements."""
    op = "GivenTensorByteStringToUInt8Fill"
    for shape in [*SHAPES[:4], (5,), *SHAPES[5:]]:
        count = int(np.prod(shape))
        text = "".join(chr(int(c)) for c in rng.integers(32, 127, count))
        for feed, args in shape_ways(shape):
            yield Case(op, feed, args={"values": [text], **args})
    yield Case(op, {}, args={"values": ["é"], "shape": [2]})
    yield Case(op, {"like": np.zeros((3,), "uint8")}, ["like"], {"values": ["abc"]})
    yield Case(op, {}, args={"values": ["abc"]}, note="no shape at all")
    yield Case(op, {}, args={"values": ["abc"], "shape": [2]}, refused=True)
    yield Case(op, {}, args={"values": ["abc"], "shape": [4]}, refused=True)
    yield Case(op, {}, args={"values": ["ab", "c"], "shape": [3]}, refused=True)
    yield Case(op, {}, args={"shape": [2]}, refused=True)
    yield from misuses(op, {"values": ["abcd"]})


def constant_fill(rng: np.random.Generator) -> Cases:
    op = "ConstantFill"
    for index, shape in enumerate(SHAPES):
        for feed, args in shape_ways(shape):
            value = (2.5, 3, -1.25, True)[index % 4]
            yield Case(op, feed, args={"value": value, **args})
    values = {"bool": True, "uint8": 200, "int8": -100, "uint16": 60000, "int16": -300}
    for dtype, value in {**values, "int32": -7, "int64": 2**40, "float32": 0.25}.items():
        args = {"value": value, "shape": [2, 2], "dtype": DATA_TYPE[dtype]}
        yield Case(op, {}, args=args)
        yield Case(op, {}, args={"shape": [2], "dtype": DATA_TYPE[dtype]}, note="no value")
    for dtype in ("float64", "float16"):
        args = {"value": 0.25, "shape": [2, 2], "dtype": DATA_TYPE[dtype]}
        yield Case(op, {}, args=args, refused=dtype == "float16")
    text = {"value": "größe", "shape": [2]}
    yield Case(op, {}, args={**text, "dtype": DATA_TYPE["string"]})
    yield Case(op, {}, args=text, note="a string without dtype")
    yield Case(op, {}, args={"shape": [2, 2]})
    yield Case(op, {}, note="neither shape nor value")
    yield Case(op, {}, args={"value": 1.0}, note="no shape")
    for dtype in ("float32", "int64"):
        feed = {"like": grid(rng, (2, 3), "int32")}
        yield Case(op, feed, ["like"], {"value": 1.0 if dtype == "float32" else 1})
    yield Case(op, {"like": grid(rng, (2, 3), "int32")}, args={"value": 4, "dtype": 10})
    for value, dtype in (
        (1.5, "int32"),
        (1.5, "bool"),
        (3, "float32"),
        ("x", "float32"),
        (1, "string"),
    ):
        args = {"value": value, "shape": [2], "dtype": DATA_TYPE[dtype]}
        yield Case(op, {}, args=args, refused=True)
    for value, dtype in ((300, "uint8"), (-1, "uint8"), (2**33, "int32"), (5, "bool")):
        args = {"value": value, "shape": [2], "dtype": DATA_TYPE[dtype]}
        yield Case(op, {}, args=args, note="the value does not fit")
    for code in (0, 3, 99, -1):
        yield Case(op, {}, args={"value": 1.0, "shape": [2], "dtype": code}, refused=True)
    two = {"dims": np.array([2], "int64"), "value": np.array([7], "float32")}
    yield Case(op, two, args={"input_as_shape": 1}, note="the value as an input")
    yield Case(op, {"like": grid(rng, (2,)), "value": np.array([3], "float32")})
    yield from misuses(op, {"value": 1.0})


def random_fill(op: str, argument_sets: list[dict[str, Any]], rng: np.random.Generator) -> Cases:
    for index, shape in enumerate([(4, 5), (3, 2, 2), (7,), (0, 3), (2, 3, 3, 3), (30, 40)]):
        for feed, args in shape_ways(shape):
            chosen = argument_sets[index % len(argument_sets)]
            yield Case(op, feed, args={**args, **chosen}, random=True)
    for chosen in argument_sets:
        yield Case(op, {}, args={"shape": [50, 20], **chosen}, random=True)
    yield Case(op, {"like": np.zeros((3, 4), "float32")}, ["like"], argument_sets[0], random=True)
    yield Case(op, {}, args={"shape": [], **argument_sets[0]}, random=True)
    yield from misuses(op, argument_sets[0])


def uniform_fill(op: str, rng: np.random.Generator) -> Cases:
    """The bounds may also be the second and third input."""
    if op == "UniformFill":
        sets, dtype = [{"min": -2.0, "max": 3.0}, {}, {"min": 0.25, "max": 0.5}], "float32"
        bad = [{"min": 2.0, "max": 1.0}, {"min": 1.0, "max": 1.0}]
    else:
        sets, dtype = [{"min": -2, "max": 3}, {}, {"min": 5, "max": 6}], "int32"
        bad = [{"min": 2, "max": 1}, {"min": 1, "max": 1}]
    yield from random_fill(op, sets, rng)
    for low, high in ((-1, 4), (0, 1), (3, 3)):
        feed = {"dims": np.array([20, 10], "int64"), "low": np.array(low, dtype),
                "high": np.array([high], dtype)}  # fmt: skip
        yield Case(op, feed, args={"input_as_shape": 1}, random=True)
    for args in bad:
        yield Case(op, {}, args={"shape": [3], **args}, refused=True)
    feed = {"dims": np.array([3], "int64"), "low": np.array(0, dtype)}
    yield Case(op, feed, args={"input_as_shape": 1}, refused=True)
    both = {**feed, "high": np.array(1, dtype)}
    yield Case(op, both, args={"input_as_shape": 1, **sets[0]}, refused=True)
    wide = {**both, "high": np.array([1, 2], dtype)}
    yield Case(op, wide, args={"input_as_shape": 1}, refused=True)
    wrong = {**feed, "low": np.array(0, "float64"), "high": np.array(1, "float64")}
    yield Case(op, wrong, args={"input_as_shape": 1}, refused=True)
    crossed = {**feed, "low": np.array(2, dtype), "high": np.array(1, dtype)}
    yield Case(op, crossed, args={"input_as_shape": 1}, refused=True)


def gaussian_fill(rng: np.random.Generator) -> Cases:
    sets = [{"mean": 1.0, "std": 0.5}, {}, {"mean": -3.0}, {"std": 2.0}]
    yield from random_fill("GaussianFill", sets, rng)
    yield Case("GaussianFill", {}, args={"shape": [3], "std": 0.0})
    yield Case("GaussianFill", {}, args={"shape": [3], "std": -1.0}, refused=True)


def range_fill(rng: np.random.Generator) -> Cases:
    op = "RangeFill"
    for shape in SHAPES:
        for feed, args in shape_ways(shape):
            yield Case(op, feed, args=args)
    yield Case(op, {"like": np.zeros((2, 3), "float32")}, ["like"])
    yield Case(op, {}, note="no shape")
    yield Case(op, {}, args={"shape": [3], "dtype": DATA_TYPE["int32"]})
    yield from misuses(op, {})


def range_cases(rng: np.random.Generator) -> Cases:
    """Like Python's range, with scalars as inputs."""
    op = "Range"
    triples = [(5,), (0,), (-3,), (2, 7), (7, 2), (-2, 2), (3, 3)]
    triples += [(0, 10, 3), (10, 0, -3), (0, 9, 3), (5, -5, -1), (0, 5, -1), (5, 0, 1), (1, 2, 10)]
    for index, bounds in enumerate(triples):
        for dtype in MATH_TYPES:
            shape = () if index % 2 else (1,)
            order = zip(("start", "stop", "step"), bounds, strict=False)
            feed = {name: np.full(shape, value, dtype) for name, value in order}
            yield Case(op, feed)
    for bounds in ((0.5, 2.25, 0.5), (0.0, 1.0, 0.25), (2.0, -1.0, -0.75), (3.5,), (0.1, 1.0, 0.1)):
        for dtype in ("float32", "float64"):
            yield Case(op, {f"x{i}": np.array(value, dtype) for i, value in enumerate(bounds)})
    one = np.array(1, "int32")
    zero = {"start": one, "stop": np.array(5, "int32"), "step": np.array(0, "int32")}
    yield Case(op, zero, refused=True)
    wide = {"start": np.array([1, 2], "int32"), "stop": np.array(5, "int32")}
    yield Case(op, wide, refused=True)
    yield Case(op, {"start": one, "stop": np.array(5, "int64")}, refused=True)
    yield Case(op, {"stop": np.zeros((0,), "int32")}, refused=True)
    for dtype in ("int16", "uint8", "float16"):
        yield Case(op, {"stop": np.array(3, dtype)}, refused=True)
    yield Case(op, {"stop": np.array(3, "int32")}, ["stop"], refused=True)
    yield from wrong_arity(op, {"stop": np.array(3, "int32"), "b": one}, ["Y"])


def scaled_fill(op: str, rng: np.random.Generator) -> Cases:
    """XavierFill and MSRAFill take their scale from the shape."""
    for shape in ((10, 4), (4, 10), (6, 5, 2), (4, 3, 3, 3), (16,), (1, 9)):
        yield Case(op, {}, args={"shape": list(shape)}, random=True, note="scale by shape")
    yield from random_fill(op, [{}], rng)


GIVEN = {"": "float", "Double": "float", "Int": "int", "Int64": "int", "Int16": "int",
         "Bool": "bool", "String": "str"}  # fmt: skip
CASES = {
    **{
        f"GivenTensor{name}Fill": partial(given, f"GivenTensor{name}Fill", kind)
        for name, kind in GIVEN.items()
    },
    "GivenTensorByteStringToUInt8Fill": byte_strings,
    "ConstantFill": constant_fill,
    "UniformFill": partial(uniform_fill, "UniformFill"),
    "UniformIntFill": partial(uniform_fill, "UniformIntFill"),
    "GaussianFill": gaussian_fill,
    "XavierFill": partial(scaled_fill, "XavierFill"),
    "MSRAFill": partial(scaled_fill, "MSRAFill"),
    "RangeFill": range_fill,
    "Range": range_cases,
}
