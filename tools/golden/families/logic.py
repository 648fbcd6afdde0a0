"""Bits, membership, choice, means, products with one number a row, checks of values."""

from functools import partial
from typing import Any

import numpy as np

from tools.golden.case import Case, Cases, grid, wrong_arity
from tools.golden.families.arithmetic import LEGACY, MODERN

Rng = np.random.Generator
ROUNDS = 24
SHAPES = [(), (0,), (7,), (2, 3), (3, 0, 2), (2, 3, 4)]


def bits(op: str, rng: Rng) -> Cases:
    for index, (a, b) in enumerate([*MODERN, ((2, 3), (2, 3)), ((4,), (4,))]):
        for dtype in ("bool", "int32", "int64"):
            feed = {"A": grid(rng, a, dtype), "B": grid(rng, b, dtype)}
            yield Case(op, feed, ["A" if a == b and index % 2 else "C"])
    for a, b, args in LEGACY:
        pair = {"A": grid(rng, a, "int32"), "B": grid(rng, b, "int32")}
        yield Case(op, pair, ["C"], {"broadcast": 1, **args})
    pair = {"A": grid(rng, (2, 3), "int32"), "B": grid(rng, (2, 3), "int32")}
    for dtype in ("float32", "int8"):
        yield Case(op, {k: v.astype(dtype) for k, v in pair.items()}, ["C"], refused=True)
    yield Case(op, {**pair, "B": grid(rng, (2, 2), "int32")}, ["C"], refused=True)
    yield Case(op, pair, ["B"], refused=True)
    yield from wrong_arity(op, pair, ["C"])


def members(rng: Rng) -> Cases:
    for index in range(ROUNDS):
        dtype = ("int32", "int64", "bool", "str")[index % 4]
        x = grid(rng, SHAPES[index % 6] if dtype != "str" else (2, 3), dtype)
        flat = x.reshape(-1)
        value: list[Any] = [str(v) if dtype == "str" else int(v) for v in flat[: 1 + index // 4]]
        args = {"value": value} if value else {}
        yield Case("IsMemberOf", {"X": x}, args=args)
    for dtype in ("float32", "int8"):
        x = grid(rng, (2,), dtype)
        yield Case("IsMemberOf", {"X": x}, args={"value": [1]}, refused=True)
    yield from wrong_arity("IsMemberOf", {"X": grid(rng, (2,), "int32")}, ["Y"], value=[1])


def where(rng: Rng) -> Cases:
    for index in range(ROUNDS):
        dtype = ("float32", "float64", "int32", "int64", "bool", "str")[index % 6]
        shape = [(3,), (2, 3), (4, 2)][index % 3] if dtype == "str" else SHAPES[1 + index // 5]
        by_rows = index % 2
        c = grid(rng, shape[:1] if by_rows else shape, "bool")
        feed = {"C": c, "X": grid(rng, shape, dtype), "Y": grid(rng, shape, dtype)}
        yield Case("Where", feed, ["Z"], {"broadcast_on_rows": 1} if by_rows else {})
    feed = {"C": grid(rng, (2, 3), "bool"), "X": grid(rng, (2, 3)), "Y": grid(rng, (2, 3))}
    yield Case("Where", feed, ["Z"], {"broadcast_on_rows": 1}, refused=True)
    yield Case("Where", {**feed, "X": grid(rng, (2, 2))}, ["Z"], refused=True)
    yield Case("Where", {**feed, "C": grid(rng, (2, 3), "int32")}, ["Z"], refused=True)
    yield Case("Where", {**feed, "Y": grid(rng, (2, 3), "int32")}, ["Z"], refused=True)
    yield from wrong_arity("Where", feed, ["Z"])


def several(op: str, dtypes: tuple[str, ...], rng: Rng) -> Cases:
    for index in range(ROUNDS):
        shape, dtype = SHAPES[index % 6], dtypes[index % len(dtypes)]
        feed = {f"X{k}": grid(rng, shape, dtype) for k in range(1 + index % 4)}
        yield Case(op, feed, ["X0" if index % 5 == 4 else "Y"])
    yield Case(op, {"A": grid(rng, (2, 3)), "B": grid(rng, (3, 2))}, refused=True)
    yield Case(op, {}, reads=[], refused=True)


def mean_gradient(rng: Rng) -> Cases:
    for index in range(ROUNDS):
        outputs = [f"dX{k}" for k in range(1 + index % 4)]
        if index % 5 == 4:
            outputs[0] = "dY"
        yield Case("MeanGradient", {"dY": grid(rng, SHAPES[index % 6])}, outputs)


def row_mul(rng: Rng) -> Cases:
    for index in range(ROUNDS):
        shape = [(2, 3), (4,), (3, 0), (2, 3, 2), (1, 5)][index % 5]
        w = grid(rng, (shape[0], 1) if index % 3 == 2 else shape[:1])
        yield Case("RowMul", {"X": grid(rng, shape), "w": w})
    feed = {"X": grid(rng, (2, 3)), "w": grid(rng, (3,))}
    yield Case("RowMul", feed, refused=True)
    yield from wrong_arity("RowMul", {**feed, "w": grid(rng, (2,))}, ["Y"])


PLACES = [((2, 3), {}), ((2, 3, 2), {}), ((2, 3, 2), {"axis": 2}), ((4, 2), {"axis": -1})]


def linear(rng: Rng) -> Cases:
    for index in range(ROUNDS):
        shape, args = PLACES[index % 4]
        columns = (int(np.prod(shape[args.get("axis", 1) :])),)
        feed = {"X": grid(rng, shape), "w": grid(rng, columns), "b": grid(rng, columns)}
        yield Case("ElementwiseLinear", feed, args=args)
    for name in ("w", "b"):
        wrong = {**feed, name: grid(rng, (columns[0] + 1,))}
        yield Case("ElementwiseLinear", wrong, args=args, refused=True)
    yield from wrong_arity("ElementwiseLinear", feed, ["Y"], **args)


def linear_gradient(rng: Rng) -> Cases:
    for index in range(ROUNDS):
        shape, args = PLACES[index % 4]
        columns = (int(np.prod(shape[args.get("axis", 1) :])),)
        feed = {"dY": grid(rng, shape), "X": grid(rng, shape), "w": grid(rng, columns)}
        yield Case("ElementwiseLinearGradient", feed, ["dX", "dw", "db"], args)


def weight_scale(rng: Rng) -> Cases:
    for index in range(ROUNDS):
        done = np.array([int(rng.integers(0, 12))], "int64")
        args = {"stepsize": 1 + index % 4, "scale": 0.5, "upper_bound_iter": 8}
        feed = {"w": grid(rng, SHAPES[index % 6]), "iter": done}
        yield Case("WeightScale", feed, ["w" if index % 3 else "Y"], args)
    wrong = {**feed, "iter": done.astype("int32")}
    yield Case("WeightScale", wrong, args=args, refused=True)


def finite(op: str, rng: Rng) -> Cases:
    for index in range(ROUNDS):
        feed = {"X": grid(rng, SHAPES[index % 6])}
        outputs = [] if op == "EnforceFinite" else ["X" if index % 3 == 2 else "Y"]
        yield Case(op, feed, outputs)
    for value in (np.nan, np.inf, -np.inf):
        x = np.array([1, value], "float32")
        yield Case(op, {"X": x}, outputs, refused=True)
    yield Case(op, {"X": grid(rng, (2,), "int32")}, outputs, refused=True)


CASES = {
    **{op: partial(bits, op) for op in ("BitwiseAnd", "BitwiseOr", "BitwiseXor")},
    "IsMemberOf": members,
    "Where": where,
    "Mean": partial(several, "Mean", ("float32", "float64")),
    "SumInt": partial(several, "SumInt", ("int32", "int64")),
    "MeanGradient": mean_gradient,
    "RowMul": row_mul,
    "ElementwiseLinear": linear,
    "ElementwiseLinearGradient": linear_gradient,
    "WeightScale": weight_scale,
    "EnforceFinite": partial(finite, "EnforceFinite"),
    "NanCheck": partial(finite, "NanCheck"),
}
