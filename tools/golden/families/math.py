"""Functions of elements, comparisons, logic, extrema, weighted sums."""

from functools import partial
from typing import Any

import numpy as np

from tools.golden.case import (
    ALL_TYPES,
    MATH_TYPES,
    Case,
    Cases,
    gradient,
    grid,
    positive,
    some_shape,
    wrong_arity,
)
from tools.golden.families.arithmetic import LEGACY, MISFITS, MODERN
from tools.golden.families.elementwise import SHAPES, SPECIALS, unary_gradient

Shape = tuple[int, ...]
Rng = np.random.Generator

# ---------------------------------------------------------------- functions of one element


def function(op: str, args: tuple[dict[str, Any], ...], rng: Rng, *, inplace: bool = True) -> Cases:
    """X -> Y for every shape, special values, other types, in place."""
    for index, shape in enumerate(SHAPES):
        yield Case(op, {"X": grid(rng, shape)}, args=args[index % len(args)])
    for _ in range(4):
        yield Case(op, {"X": positive(rng, some_shape(rng))})
    for one in args:
        yield Case(op, {"X": grid(rng, some_shape(rng))}, args=one)
        yield Case(op, {"X": np.array(SPECIALS, "float32")}, args=one)
        yield Case(op, {"X": grid(rng, (3, 4))}, ["X"], one, refused=not inplace)
    for _ in range(max(0, 8 - 2 * len(args))):
        yield Case(op, {"X": grid(rng, some_shape(rng))}, args=args[0])
    for dtype in ALL_TYPES[1:]:
        yield Case(op, {"X": positive(rng, (2, 3), dtype)}, args=args[0])
    yield from wrong_arity(op, {"X": grid(rng, (2,))}, ["Y"])


def function_gradient(op: str, args: tuple[dict[str, Any], ...], rng: Rng) -> Cases:
    """(Y, dY) -> dX with one set of arguments after the other; special values with all."""
    for index, case in enumerate(unary_gradient(op, rng)):
        special = any(np.isnan(array).any() for array in case.feed.values())
        for one in args if special else (args[index % len(args)],):
            yield Case(case.op, case.feed, case.outputs, one, case.reads, refused=case.refused)


CLIPS: tuple[dict[str, Any], ...] = (
    {},
    {"min": -0.5, "max": 0.75},
    {"min": 0.0},
    {"max": 1.0},
    {"min": 1.0, "max": -1.0},
)
SCALES: tuple[dict[str, Any], ...] = ({}, {"scale": 0.1}, {"scale": -3.0}, {"scale": 0.0})
SLOPES: tuple[dict[str, Any], ...] = ({}, {"alpha": 0.3}, {"alpha": 1.5}, {"alpha": 0.0})


def abs_gradient(rng: Rng) -> Cases:
    """AbsGradient reads X and may not be in place."""
    for case in unary_gradient("AbsGradient", rng):
        refused = case.refused or list(case.outputs) == ["dY"]
        yield Case(case.op, case.feed, case.outputs, reads=case.reads, refused=refused)


def power(rng: Rng) -> Cases:
    for exponent in (0.0, 0.5, 1.0, 2.0, 3.0, -1.0, -0.5, 2.5):
        args = {"exponent": exponent}
        yield Case("Pow", {"X": positive(rng, some_shape(rng))}, args=args)
        yield Case("Pow", {"X": grid(rng, (2, 3))}, args=args)
        yield Case("Pow", {"X": np.array(SPECIALS, "float32")}, args=args)
    yield Case("Pow", {"X": grid(rng, (2, 3))}, args={"exponent": 2.0, "broadcast": 1})
    yield Case("Pow", {"X": grid(rng, (2, 3))}, ["X"], {"exponent": 2.0})
    yield Case("Pow", {"X": grid(rng, (2, 3))})
    for a, b in MODERN:
        yield Case("Pow", {"X": positive(rng, a), "E": grid(rng, b)})
    for a, b, args in LEGACY:
        yield Case("Pow", {"X": positive(rng, a), "E": grid(rng, b)}, args={"broadcast": 1, **args})
    for a, b, args in MISFITS:
        yield Case("Pow", {"X": positive(rng, a), "E": grid(rng, b)}, args=args, refused=True)
    both = {"X": positive(rng, (2, 3)), "E": grid(rng, (2, 3))}
    yield Case("Pow", both, args={"exponent": 3.0})
    yield Case("Pow", both, ["X"])
    yield Case("Pow", both, ["E"])
    for dtype in ("float64", "int32", "int64", "float16"):
        yield Case("Pow", {"X": positive(rng, (2,), dtype)}, args={"exponent": 2.0})
        feed = {"X": positive(rng, (2,), dtype), "E": positive(rng, (2,), dtype)}
        yield Case("Pow", feed)
    yield from wrong_arity("Pow", both, ["Y"])


def prelu(rng: Rng) -> Cases:
    for index, shape in enumerate([(7,), (2, 3), (2, 3, 4), (2, 3, 2, 2), (2, 0), (0, 3), (1, 1)]):
        channels = shape[1] if len(shape) > 1 else shape[0]
        x = grid(rng, shape)
        yield Case("PRelu", {"X": x, "W": grid(rng, (1,))})
        yield Case("PRelu", {"X": x, "W": grid(rng, (channels,))})
        yield Case("PRelu", {"X": x, "W": grid(rng, (shape[-1],))}, args={"order": "NHWC"})
        if index % 2:
            yield Case("PRelu", {"X": x, "W": grid(rng, (channels,))}, ["X"])
            yield Case("PRelu", {"X": x, "W": grid(rng, (channels,))}, ["W"], refused=True)
    yield Case("PRelu", {"X": grid(rng, (2, 3)), "W": grid(rng, (2,))}, refused=True)
    yield Case("PRelu", {"X": grid(rng, (2, 3)), "W": grid(rng, (1, 3))}, refused=True)
    yield Case("PRelu", {"X": grid(rng, (2, 3)), "W": grid(rng, ())}, refused=True)
    yield Case("PRelu", {"X": grid(rng, ()), "W": grid(rng, (1,))})
    yield Case("PRelu", {"X": np.array(SPECIALS, "float32"), "W": grid(rng, (1,))})
    for dtype in ("float64", "int32"):
        yield Case("PRelu", {"X": grid(rng, (2, 3), dtype), "W": grid(rng, (3,), dtype)})
    yield from wrong_arity("PRelu", {"X": grid(rng, (2,)), "W": grid(rng, (1,))}, ["Y"])


def prelu_gradient(rng: Rng) -> Cases:
    reads, outputs = ["Y", "dY", "X", "W"], ["dX", "dW"]
    for case in prelu(rng):
        if not case.refused and len(case.inputs) == 2 and list(case.outputs) == ["Y"]:
            yield gradient(case, "PReluGradient", reads, outputs)
    for _ in range(8):
        shape = some_shape(rng, 2)
        case = Case("PRelu", {"X": grid(rng, shape), "W": grid(rng, (shape[1],))})
        yield gradient(case, "PReluGradient", reads, outputs)


# ---------------------------------------------------------------- comparisons and logic


def comparison(op: str, types: tuple[str, ...], rng: Rng) -> Cases:
    """A few values, so that many are equal; both broadcasting rules."""
    logic = types == ("bool",)

    def draw(shape: Shape, dtype: str) -> np.ndarray:
        return np.asarray(rng.integers(0, 2 if dtype == "bool" else 3, shape)).astype(dtype)

    for index, (a, b) in enumerate(MODERN):
        dtype = types[index % len(types)]
        yield Case(op, {"A": draw(a, dtype), "B": draw(b, dtype)}, ["C"])
    for index, (a, b, args) in enumerate(LEGACY):
        dtype = types[index % len(types)]
        feed = {"A": draw(a, dtype), "B": draw(b, dtype)}
        yield Case(op, feed, ["C"], {"broadcast": 1, **args})
    for a, b, args in MISFITS:
        feed = {"A": draw(a, types[0]), "B": draw(b, types[0])}
        yield Case(op, feed, ["C"], args, refused=True)
    for dtype in ALL_TYPES:
        feed = {"A": draw((2, 3), dtype), "B": draw((2, 3), dtype)}
        yield Case(op, feed, ["C"], refused=dtype not in types)
    if "float32" in types:
        values = np.array([0.0, -0.0, np.inf, -np.inf, np.nan, 1.0], "float32")
        yield Case(op, {"A": values[:, None].copy(), "B": values}, ["C"])
        limits = np.iinfo("int64")
        values = np.array([limits.min, limits.max, limits.max - 1, 2**53, 2**53 + 1], "int64")
        yield Case(op, {"A": values[:, None].copy(), "B": values}, ["C"])
    feed = {"A": draw((2, 3), "bool"), "B": draw((2, 3), "bool")}
    yield Case(op, feed, ["A"], refused=not logic)
    yield Case(op, feed, ["B"], refused=True)
    mixed = {"A": draw((2,), "int32"), "B": draw((2,), "int64")}
    yield Case(op, mixed, ["C"], refused=True)
    yield from wrong_arity(op, feed, ["C"])


def negation(rng: Rng) -> Cases:
    for shape in SHAPES:
        yield Case("Not", {"X": grid(rng, shape, "bool")})
    for _ in range(13):
        yield Case("Not", {"X": grid(rng, some_shape(rng), "bool")})
    yield Case("Not", {"X": grid(rng, (2, 3), "bool")}, ["X"], refused=True)
    for dtype in ("float32", "int32", "uint8"):
        yield Case("Not", {"X": grid(rng, (2, 3), dtype)}, refused=True)
    yield from wrong_arity("Not", {"X": grid(rng, (2,), "bool")}, ["Y"])


# ---------------------------------------------------------------- several inputs


def several(
    rng: Rng, count: int, shape: Shape, dtype: str = "float32", names: str = "X"
) -> dict[str, np.ndarray]:
    return {f"{names}{k}": grid(rng, shape, dtype) for k in range(count)}


def extremum(op: str, rng: Rng) -> Cases:
    for count in (1, 2, 3, 5):
        for shape in ((), (0, 2), (7,), (2, 3, 4)):
            yield Case(op, several(rng, count, shape))
        for dtype in MATH_TYPES:
            yield Case(op, several(rng, count, (3, 4), dtype))
        yield Case(op, several(rng, count, (2, 3)), ["X0"])
        yield Case(op, several(rng, count, (2, 3)), [f"X{count - 1}"], refused=count > 1)
    values = np.array(SPECIALS, "float32")
    yield Case(op, {"X0": values, "X1": values[::-1].copy()})
    yield Case(op, {"X0": values, "X1": np.zeros_like(values), "X2": np.ones_like(values)})
    for a, b in (((2, 3), (3,)), ((2, 3), (3, 2)), ((2, 3), (1, 3))):
        yield Case(op, {"X0": grid(rng, a), "X1": grid(rng, b)}, refused=True)
    yield Case(op, {"X0": grid(rng, (2,)), "X1": grid(rng, (2,), "int32")}, refused=True)
    for dtype in ("bool", "uint8", "float16"):
        yield Case(op, several(rng, 2, (2,), dtype))
    yield Case(op, {}, refused=True)


def extremum_gradient(op: str, rng: Rng) -> Cases:
    name = f"{op}Gradient"
    for count in (1, 2, 3, 4):
        for shape in ((), (0, 2), (7,), (2, 3, 4), (33,)):
            feed = {k: rng.integers(0, 3, shape).astype("float32") for k in several(rng, count, ())}
            case = Case(op, feed)
            outputs = [f"d{k}" for k in feed]
            yield gradient(case, name, ["Y", "dY", *feed], outputs)
    feed = several(rng, 2, (2, 3))
    full = {"Y": np.maximum(feed["X0"], feed["X1"]), "dY": grid(rng, (2, 3)), **feed}
    yield Case(name, full, ["dX0"], refused=True)
    yield Case(name, full, ["dX0", "dX1", "dX2"], refused=True)
    yield Case(name, full, ["dY", "dX1"], refused=True)
    yield Case(name, full, ["dX0"], reads=["Y", "dY"], refused=True)


def weighted(rng: Rng, count: int, shape: Shape, dtype: str = "float32") -> dict[str, np.ndarray]:
    feed = {}
    for k in range(count):
        feed[f"X{k}"] = grid(rng, shape, dtype)
        feed[f"w{k}"] = grid(rng, (1,), "float32")
    return feed


def weighted_sum(rng: Rng) -> Cases:
    for count in (1, 2, 3, 4):
        for shape in ((), (0, 2), (7,), (2, 3, 4), (33,)):
            yield Case("WeightedSum", weighted(rng, count, shape))
        yield Case("WeightedSum", weighted(rng, count, (2, 3)), ["X0"])
        last = f"X{count - 1}"
        yield Case("WeightedSum", weighted(rng, count, (2, 3)), [last], refused=count > 1)
        yield Case("WeightedSum", weighted(rng, count, (2, 3)), ["w0"], refused=True)
    yield Case("WeightedSum", {**weighted(rng, 2, (2, 3)), "w1": grid(rng, ())})
    yield Case("WeightedSum", {**weighted(rng, 2, (2, 3)), "w1": grid(rng, (1, 1))})
    yield Case("WeightedSum", {**weighted(rng, 2, (2, 3)), "w1": grid(rng, (2,))}, refused=True)
    yield Case("WeightedSum", {**weighted(rng, 2, (2, 3)), "X1": grid(rng, (3,))}, refused=True)
    yield Case("WeightedSum", {**weighted(rng, 2, (2, 3)), "X1": grid(rng, (3, 2))}, refused=True)
    for dtype in ("float64", "int32"):
        yield Case("WeightedSum", weighted(rng, 2, (2, 3), dtype), refused=True)
    feed = weighted(rng, 2, (2, 3))
    yield Case("WeightedSum", feed, reads=["X0", "w0", "X1"], refused=True)
    yield Case("WeightedSum", feed, reads=["X0"], refused=True)
    yield Case("WeightedSum", feed, ["X0"], reads=["X0", "w0", "X0", "w1"], refused=True)


def weighted_sum_gradient(rng: Rng) -> Cases:
    op = "WeightedSumGradient"
    for count in (1, 2, 3):
        for shape in ((), (0, 2), (7,), (2, 3, 4), (33,), (1, 1), (4, 5)):
            feed = {"dY": grid(rng, shape), **weighted(rng, count, shape)}
            outputs = [f"dX{k}" for k in range(count)]
            yield Case(op, feed, outputs)
            outputs += [f"dw{k}" for k in range(count)]
            yield Case(op, feed, outputs, {"grad_on_w": 1})
    feed = {"dY": grid(rng, (2, 3)), **weighted(rng, 2, (2, 3))}
    yield Case(op, feed, ["dX0"], refused=True)
    yield Case(op, feed, ["dX0", "dX1"], {"grad_on_w": 1}, refused=True)
    yield Case(op, feed, ["dX0", "dX1", "dw0", "dw1"], refused=True)


def sum_reduce_like(rng: Rng) -> Cases:
    op = "SumReduceLike"
    for index, (a, b, args) in enumerate(LEGACY):
        yield Case(op, {"A": grid(rng, a), "B": grid(rng, b)}, ["C"], args)
        dtype = MATH_TYPES[index % 4]
        yield Case(op, {"A": grid(rng, a, dtype), "B": grid(rng, b, dtype)}, ["C"], args)
    for a, b, args in MISFITS:
        yield Case(op, {"A": grid(rng, a), "B": grid(rng, b)}, ["C"], args, refused=True)
    yield Case(op, {"A": grid(rng, (2, 3)), "B": grid(rng, (3,))}, ["A"], refused=True)
    yield from wrong_arity(op, {"A": grid(rng, (2, 3)), "B": grid(rng, (3,))}, ["C"])


COMPARED = ("int32", "float32", "int64", "float64", "bool")

CASES = {
    "Abs": partial(function, "Abs", ({},), inplace=False),
    "AbsGradient": abs_gradient,
    "Clip": partial(function, "Clip", CLIPS),
    "ClipGradient": partial(function_gradient, "ClipGradient", CLIPS),
    "Exp": partial(function, "Exp", ({},)),
    "Log": partial(function, "Log", ({},)),
    "Pow": power,
    "Scale": partial(function, "Scale", SCALES),
    "Sqr": partial(function, "Sqr", ({},)),
    "Sqrt": partial(function, "Sqrt", ({},)),
    "Elu": partial(function, "Elu", SLOPES),
    "EluGradient": partial(function_gradient, "EluGradient", SLOPES),
    "LeakyRelu": partial(function, "LeakyRelu", SLOPES),
    "LeakyReluGradient": partial(function_gradient, "LeakyReluGradient", SLOPES),
    "PRelu": prelu,
    "PReluGradient": prelu_gradient,
    "Tanh": partial(function, "Tanh", ({},)),
    "TanhGradient": partial(unary_gradient, "TanhGradient"),
    **{op: partial(comparison, op, ("bool",)) for op in ("And", "Or", "Xor")},
    "Not": negation,
    **{op: partial(comparison, op, COMPARED) for op in ("EQ", "NE", "LT", "LE", "GT", "GE")},
    "Max": partial(extremum, "Max"),
    "MaxGradient": partial(extremum_gradient, "Max"),
    "Min": partial(extremum, "Min"),
    "MinGradient": partial(extremum_gradient, "Min"),
    "WeightedSum": weighted_sum,
    "WeightedSumGradient": weighted_sum_gradient,
    "SumReduceLike": sum_reduce_like,
}
