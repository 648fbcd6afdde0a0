"""Sum, and Add, Sub, Mul, Div with both ways to broadcast, and their gradients."""

from functools import partial
from typing import Any

import numpy as np

from tools.golden.case import MATH_TYPES, Case, Cases, grid, positive, some_shape, wrong_arity

Shape = tuple[int, ...]

# numpy's way
MODERN: list[tuple[Shape, Shape]] = [
    ((2, 3), (2, 3)),
    ((2, 3), (3,)),
    ((3,), (2, 3)),
    ((2, 1), (1, 3)),
    ((2, 3, 4), (3, 1)),
    ((1,), (4,)),
    ((), (2, 2)),
    ((2, 2), ()),
    ((), ()),
    ((0, 3), (3,)),
    ((0,), (0,)),
    ((1, 3), (0, 3)),
    ((2, 1, 3, 1), (4, 1, 2)),
    ((17,), (17,)),
]
# the old way: broadcast=1, where B is matched to a run of A's dimensions
LEGACY: list[tuple[Shape, Shape, dict[str, Any]]] = [
    ((2, 3, 4), (3, 4), {}),
    ((2, 3, 4), (4,), {}),
    ((2, 3, 4), (1,), {}),
    ((2, 3, 4), (), {}),
    ((2, 3, 4), (2, 3, 4), {}),
    ((2, 3, 4), (3,), {"axis": 1}),
    ((2, 3, 4), (2,), {"axis": 0}),
    ((2, 3, 4), (2, 3), {"axis": 0}),
    ((2, 3, 4), (3, 4), {"axis": 1}),
    ((2, 3, 4), (4,), {"axis": 2}),
    ((2, 3, 4, 2), (3,), {"axis_str": "C", "order": "NCHW"}),
    ((2, 3, 4, 2), (3,), {"axis_str": "C"}),
    ((2, 4, 2, 3), (3,), {"axis_str": "C", "order": "NHWC"}),
    ((2, 3, 4, 2), (4, 2), {"axis_str": "H", "order": "NCHW"}),
    ((2, 3, 4, 2), (2,), {"axis_str": "N", "order": "NCHW"}),
    ((0, 3), (3,), {}),
    ((2, 3, 4), (3, 1), {}),
    ((2, 3, 4), (1, 4), {}),
]
# what the old way refuses
MISFITS: list[tuple[Shape, Shape, dict[str, Any]]] = [
    ((3,), (2, 3), {"broadcast": 1}),
    ((2, 3), (2,), {"broadcast": 1}),
    ((2, 3), (2,), {"broadcast": 1, "axis": 1}),
    ((2, 3), (3,), {"broadcast": 1, "axis": 2}),
    ((2, 3), (3,), {"broadcast": 1, "axis": -2}),
    ((2, 3), (3,), {"broadcast": 1, "axis_str": "X"}),
    ((2, 3), (3,), {"broadcast": 1, "axis_str": "CH"}),
    ((2, 3), (3,), {"broadcast": 1, "axis": 1, "axis_str": "C"}),
    ((2, 3), (2, 4), {}),
    ((2, 3), (2,), {}),
]


def operands(rng: np.random.Generator, op: str, a: Shape, b: Shape, dtype: str):
    """The divisor is never zero, the dividend may be negative."""
    divides = op.startswith("Div")
    B = positive(rng, b, dtype) if divides else grid(rng, b, dtype)
    if divides:
        B = B * rng.choice(np.array([-1, 1], dtype), b)
    return {"A": grid(rng, a, dtype), "B": np.asarray(B, dtype)}


def binary(op: str, rng: np.random.Generator) -> Cases:
    for index, (a, b) in enumerate(MODERN):
        for dtype in ("float32", MATH_TYPES[1 + index % 3]):
            yield Case(op, operands(rng, op, a, b, dtype), ["C"])
    for index, (a, b, args) in enumerate(LEGACY):
        feed = operands(rng, op, a, b, MATH_TYPES[index % 4])
        yield Case(op, feed, ["C"], {"broadcast": 1, **args})
    for dtype in MATH_TYPES:
        yield Case(op, operands(rng, op, (2, 3), (2, 3), dtype), ["A"])
        yield Case(op, operands(rng, op, (2, 3), (2, 3), dtype), ["B"], refused=op == "Div")
    yield Case(op, operands(rng, op, (2, 3), (3,), "float32"), ["A"])
    yield Case(op, operands(rng, op, (3,), (2, 3), "float32"), ["A"], refused=True)
    yield Case(op, operands(rng, op, (2, 3), (3,), "float32"), ["A"], {"broadcast": 1})
    same = {"A": positive(rng, (2, 3))}
    yield Case(op, same, ["C"], reads=["A", "A"])
    yield from binary_extremes(op)
    for args in ({"axis": 1}, {"axis_str": "C"}):
        feed = operands(rng, op, (2, 3), (3,), "float32")
        yield Case(op, feed, ["C"], args, note="ignored without broadcast")
    for a, b, args in MISFITS:
        feed = operands(rng, op, a, b, "float32")
        yield Case(op, feed, ["C"], args, refused=True)
    feed = {"A": grid(rng, (2, 3)), "B": positive(rng, (2, 3), "int32")}
    yield Case(op, feed, ["C"], refused=True)
    for dtype in ("bool", "uint8", "float16", "int16"):
        feed = {"A": grid(rng, (2,), dtype), "B": np.ones((2,), dtype)}
        yield Case(op, feed, ["C"], refused=True)
    yield from wrong_arity(op, operands(rng, op, (2,), (2,), "float32"), ["C"])


def binary_extremes(op: str) -> Cases:
    """Wrap-around of integers; zero, infinite and undefined floats."""
    for dtype in ("int32", "int64"):
        limits = np.iinfo(dtype)
        A = np.array([limits.max, limits.min, limits.max, 7, -7, 7, -7], dtype)
        B = np.array([1, 1, limits.max, 2, 2, -2, -2], dtype)
        yield Case(op, {"A": A, "B": B}, ["C"])
    A = np.array([1, -1, 0, np.inf, np.nan, -0.0, 3e38, 1e-40, np.inf], "float32")
    B = np.array([0, 0, 0, np.inf, 1, 0, 3e38, 2, -np.inf], "float32")
    yield Case(op, {"A": A, "B": B}, ["C"])
    if op == "Div":
        for dtype in ("int32", "int64"):
            feed = {"A": np.array([1, 2], dtype), "B": np.array([1, 0], dtype)}
            yield Case(op, feed, ["C"], refused=True)
            least = {"A": np.array([np.iinfo(dtype).min], dtype), "B": np.array([-1], dtype)}
            yield Case(op, least, ["C"], refused=True)


def joint_shape(a: Shape, b: Shape, args: dict[str, Any]) -> Shape:
    return a if args.get("broadcast") else np.broadcast_shapes(a, b)


def gradient_feed(rng: np.random.Generator, op: str, a: Shape, b: Shape, full: Shape, dtype: str):
    """(dC, A, B), and C for Div."""
    feed = {"dC": grid(rng, full, dtype), **operands(rng, op, a, b, dtype)}
    if op == "DivGradient":
        B = feed["B"]
        if B.shape != full and len(full) > B.ndim and full[-1:] != B.shape[-1:]:
            B = np.ones(())  # matched to inner dimensions; the operator takes C as it is given
        feed["C"] = np.broadcast_to(quotient(feed["A"], B), full).copy()
    return feed


def binary_gradient(op: str, rng: np.random.Generator) -> Cases:
    """(dC, A, B) -> (dA, dB); Div reads (dC, A, B, C), or (B, C, dC) where A is shaped as C."""
    combinations = [(a, b, {}) for a, b in MODERN]
    combinations += [(a, b, {"broadcast": 1, **args}) for a, b, args in LEGACY]
    for index, (a, b, args) in enumerate(combinations):
        dtype = "float32" if index % 2 else MATH_TYPES[index // 2 % 4]
        feed = gradient_feed(rng, op, a, b, joint_shape(a, b, args), dtype)
        yield Case(op, feed, ["dA", "dB"], args)
        if op == "DivGradient" and feed["C"].shape == a and index % 2:
            yield Case(op, feed, ["dA", "dB"], args, reads=["B", "C", "dC"])
    for dtype in MATH_TYPES:
        feed = gradient_feed(rng, op, (2, 3), (2, 3), (2, 3), dtype)
        yield Case(op, feed, ["dC", "dB"])
        yield Case(op, feed, ["dA", "dC"], refused=op == "DivGradient")
    feed = gradient_feed(rng, op, (2, 3), (3,), (2, 3), "float32")
    yield Case(op, feed, ["dC", "dB"])
    yield Case(op, feed, ["dA", "dC"], refused=op == "DivGradient")
    yield Case(op, {**feed, "dC": grid(rng, (2, 2))}, ["dA", "dB"], refused=True)
    yield Case(op, {**feed, "B": grid(rng, (2,))}, ["dA", "dB"], refused=True)
    yield Case(op, {**feed, "dC": grid(rng, (2, 3), "int32")}, ["dA", "dB"], refused=True)
    wrong = {name: array.astype("float16") for name, array in feed.items()}
    yield Case(op, wrong, ["dA", "dB"], refused=True)
    yield Case(op, feed, ["dA"], refused=True)
    yield Case(op, feed, ["A", "dB"], refused=True)
    yield Case(op, feed, ["dA", "dB"], reads=["dC", "A"], refused=True)
    yield from wrong_arity(op, feed, ["dA", "dB"])


def quotient(A: np.ndarray, B: np.ndarray) -> np.ndarray:
    """A / B as the operator divides: integers are cut towards zero."""
    if A.dtype.kind == "f":
        return np.asarray(A / B, A.dtype)
    return np.asarray(np.trunc(A / B), A.dtype)


def sum_cases(rng: np.random.Generator) -> Cases:
    op = "Sum"
    for dtype in MATH_TYPES:
        for count in range(1, 5):
            shape = some_shape(rng)
            feed = {f"X{i}": grid(rng, shape, dtype) for i in range(count)}
            yield Case(op, feed)
            yield Case(op, feed, ["X0"])
    for shape in ((), (0,), (2, 0), (33,)):
        yield Case(op, {"X": grid(rng, shape), "Z": grid(rng, shape)})
    yield Case(op, {"X": grid(rng, (2, 3))}, reads=["X", "X", "X"])
    yield Case(op, {"X": grid(rng, (2, 3))}, ["X"], reads=["X", "X"], refused=True)
    X = grid(rng, (2, 3))
    for dtype in ("bool", "uint8", "float16", "int16"):
        feed = {"X": grid(rng, (2,), dtype), "Z": grid(rng, (2,), dtype)}
        yield Case(op, feed, refused=True)
    for other in (grid(rng, (3,)), grid(rng, (3, 2)), grid(rng, (2, 3), "int32"), grid(rng, ())):
        yield Case(op, {"X": X, "Z": other}, refused=True)
    yield Case(op, {"X": X, "Z": X}, ["Z"], refused=True)
    yield from wrong_arity(op, {"X": X}, ["Y"])


BINARY = ("Add", "Sub", "Mul", "Div")
CASES = {
    "Sum": sum_cases,
    **{op: partial(binary, op) for op in BINARY},
    **{f"{op}Gradient": partial(binary_gradient, f"{op}Gradient") for op in BINARY},
}
