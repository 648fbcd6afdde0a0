"""Reductions over axes, over the first or last ones, over all elements; sizes; tiling."""

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
    some_shape,
    wrong_arity,
)
from tools.golden.families.elementwise import SHAPES

Shape = tuple[int, ...]
Rng = np.random.Generator

# ---------------------------------------------------------------- reductions

REDUCED: list[tuple[Shape, dict[str, Any]]] = [
    ((), {}),
    ((5,), {}),
    ((5,), {"axes": [0]}),
    ((2, 3), {}),
    ((2, 3), {"keepdims": 0}),
    ((2, 3), {"axes": [1]}),
    ((2, 3), {"axes": [0], "keepdims": 0}),
    ((2, 3, 4), {"axes": [1]}),
    ((2, 3, 4), {"axes": [1], "keepdims": 0}),
    ((2, 3, 4), {"axes": [0, 2]}),
    ((2, 3, 4), {"axes": [2, 0], "keepdims": 0}),
    ((2, 3, 4), {"axes": [0, 1], "keepdims": 0}),
    ((2, 3, 4), {"axes": [-1]}),
    ((2, 3, 4), {"axes": [-1, -3], "keepdims": 0}),
    ((2, 1, 3, 2), {"axes": [1, 3]}),
    ((2, 3, 2, 3, 2), {"axes": [1, 3], "keepdims": 0}),
    ((2, 3, 4), {"axes": []}),
    ((17, 33), {"axes": [1]}),
    ((17, 33), {"axes": [0]}),
    ((0, 3), {"axes": [0]}),
    ((0, 3), {"axes": [1]}),
    ((3, 0), {}),
]
WRONG_AXES: list[tuple[Shape, dict[str, Any]]] = [
    ((2, 3), {"axes": [2]}),
    ((2, 3), {"axes": [-3]}),
    ((2, 3), {"axes": [0, 0]}),
    ((2, 3), {"axes": [1, -1]}),
    ((2, 3), {"axes": [0, 1, 2]}),
    ((), {"axes": [0]}),
]


def reduction(op: str, rng: Rng) -> Cases:
    for index, (shape, args) in enumerate(REDUCED):
        yield Case(op, {"X": grid(rng, shape)}, args=args)
        yield Case(op, {"X": grid(rng, shape, MATH_TYPES[1 + index % 3])}, args=args)
    for shape, args in WRONG_AXES:
        yield Case(op, {"X": grid(rng, shape)}, args=args, refused=True)
    values = np.array([[1, np.nan, 2], [np.nan, 1, 0], [np.inf, -np.inf, 1]], "float32")
    yield Case(op, {"X": values}, args={"axes": [1]})
    yield Case(op, {"X": values[::-1].copy()}, args={"axes": [0]})
    for dtype in ("bool", "uint8", "float16"):
        yield Case(op, {"X": grid(rng, (2, 3), dtype)})
    yield Case(op, {"X": grid(rng, (2, 3))}, ["X"], refused=True)
    yield from wrong_arity(op, {"X": grid(rng, (2, 3))}, ["Y"])


def reduction_gradient(op: str, rng: Rng) -> Cases:
    name = f"{op}Gradient"
    for shape, args in REDUCED:
        case = Case(op, {"X": np.asarray(rng.integers(0, 4, shape)).astype("float32")}, args=args)
        yield gradient(case, name, ["dY", "X", "Y"], ["dX"])
    feed = {"dY": grid(rng, (2, 1)), "X": grid(rng, (2, 3)), "Y": grid(rng, (2, 1))}
    for dtype in MATH_TYPES[1:]:
        yield Case(name, {k: v.astype(dtype) for k, v in feed.items()}, ["dX"], {"axes": [1]})
    yield Case(name, feed, ["dY"], {"axes": [1]}, refused=True)
    yield Case(name, feed, ["X"], {"axes": [1]}, refused=True)
    yield from wrong_arity(name, feed, ["dX"], axes=[1])


ENDS: list[tuple[Shape, dict[str, Any]]] = [
    ((5,), {}),
    ((2, 3), {}),
    ((2, 3, 4), {}),
    ((2, 3, 4), {"num_reduce_dim": 2}),
    ((2, 3, 4), {"num_reduce_dim": 3}),
    ((2, 3, 4), {"num_reduce_dim": 0}),
    ((2, 3, 4), {"num_reduce_dims": 2}),
    ((17, 33), {}),
    ((0, 3), {}),
    ((3, 0), {}),
    ((2, 3, 2, 3), {"num_reduce_dim": 2}),
]


def end_lengths(rng: Rng, op: str, shape: Shape, args: dict[str, Any]) -> np.ndarray:
    """A length for every result: at most as long as what is reduced."""
    count = args.get("num_reduce_dim", 1)
    cut = count if "Front" in op else len(shape) - count
    first, last = int(np.prod(shape[:cut])), int(np.prod(shape[cut:]))
    many, most = (last, first) if "Front" in op else (first, last)
    return rng.integers(min(1, most), most + 1, many).astype("int32")


def end_cases(op: str, rng: Rng) -> Cases:
    for index, (shape, args) in enumerate(ENDS):
        yield Case(op, {"X": grid(rng, shape)}, args=args)
        feed = {"X": grid(rng, shape), "L": end_lengths(rng, op, shape, args)}
        yield Case(op, feed, args=args)
        yield Case(op, {"X": grid(rng, shape, MATH_TYPES[1 + index % 3])}, args=args)
        dtype = MATH_TYPES[1 + index % 3]
        yield Case(op, {"X": grid(rng, shape, dtype), "L": feed["L"]}, args=args)
    zeros = np.zeros(2 if "Back" in op else 3, "int32")
    yield Case(op, {"X": grid(rng, (2, 3)), "L": zeros})
    yield Case(op, {"X": grid(rng, ())})
    yield Case(op, {"X": grid(rng, (2, 3))}, args={"num_reduce_dim": 3}, refused=True)
    yield Case(op, {"X": grid(rng, (2, 3))}, args={"num_reduce_dim": -1}, refused=True)
    yield Case(op, {"X": grid(rng, (2, 3)), "L": np.ones(5, "int32")}, refused=True)
    yield Case(op, {"X": grid(rng, (2, 3)), "L": zeros.astype("int64")}, refused=True)
    yield Case(op, {"X": grid(rng, (2, 3))}, ["X"], refused=True)
    yield from wrong_arity(op, {"X": grid(rng, (2, 3))}, ["Y"])


def end_gradient(op: str, rng: Rng) -> Cases:
    name = f"{op}Gradient"
    for shape, args in ENDS:
        feed = {"X": grid(rng, shape)}
        yield gradient(Case(op, feed, args=args), name, ["dY", "X"], ["dX"])
        feed["L"] = end_lengths(rng, op, shape, args)
        yield gradient(Case(op, feed, args=args), name, ["dY", "X", "L"], ["dX"])
    dy = grid(rng, (2,) if "Back" in op else (3,))
    feed = {"dY": dy, "X": grid(rng, (2, 3))}
    yield Case(name, feed, ["dX"], {"num_reduce_dim": 3}, refused=True)
    yield Case(name, {**feed, "dY": grid(rng, (5,))}, ["dX"], refused=True)
    yield Case(name, {**feed, "L": np.zeros(dy.size, "int32")}, ["dX"])
    yield Case(name, {**feed, "L": np.ones(9, "int32")}, ["dX"], refused=True)
    for dtype in MATH_TYPES[1:]:
        yield Case(name, {k: v.astype(dtype) for k, v in feed.items()}, ["dX"])
    yield Case(name, feed, ["dY"], refused=True)
    yield from wrong_arity(name, feed, ["dX"])


def whole(op: str, args: tuple[dict[str, Any], ...], rng: Rng, *, dtype: str = "float32") -> Cases:
    """All elements become one."""
    for one in args:
        for shape in ((), (1,), (7,), (33,), (2, 3, 4), (65, 3)):
            yield Case(op, {"X": grid(rng, shape, dtype)}, args=one)
        yield Case(op, {"X": grid(rng, (0, 2), dtype)}, args=one)
    for _ in range(15 - 3 * len(args)):
        yield Case(op, {"X": grid(rng, some_shape(rng), dtype)}, args=args[0])
    for other in ("float64", "int32", "int64", "uint8", "bool", "float16"):
        yield Case(op, {"X": grid(rng, (2, 3), other)}, args=args[0])
    yield Case(op, {"X": np.array([1, np.nan, 2], "float32")})
    yield Case(op, {"X": np.array([1, -np.inf, 2], "float32")})
    yield Case(op, {"X": grid(rng, (), dtype)}, ["X"], refused=True)
    yield from wrong_arity(op, {"X": grid(rng, (2,), dtype)}, ["Y"])


def whole_gradient(op: str, args: tuple[dict[str, Any], ...], rng: Rng) -> Cases:
    name = f"{op}Gradient"
    for one in args:
        for shape in ((), (1,), (7,), (33,), (2, 3, 4), (65, 3), (0, 2)):
            feed = {"X": grid(rng, shape)}
            yield gradient(Case(op, feed, args=one), name, ["X", "dY"], ["dX"])
    for _ in range(8):
        feed = {"X": grid(rng, some_shape(rng))}
        yield gradient(Case(op, feed, args=args[0]), name, ["X", "dY"], ["dX"])
    feed = {"X": grid(rng, (2, 3)), "dY": grid(rng, (2,))}
    yield Case(name, feed, ["dX"], refused=True)
    feed = {"X": grid(rng, (2, 3)), "dY": grid(rng, (1,))}
    yield Case(name, feed, ["dX"])
    yield Case(name, feed, ["X"], refused=True)
    for dtype in ("float64", "int32"):
        yield Case(name, {k: v.astype(dtype) for k, v in feed.items()}, ["dX"])
    yield from wrong_arity(name, feed, ["dX"])


AVERAGE: tuple[dict[str, Any], ...] = ({}, {"average": 1})
NORMS: tuple[dict[str, Any], ...] = ({}, {"p": 1}, {"p": 2, "average": 1}, {"p": 1, "average": 1})


def norm(rng: Rng) -> Cases:
    yield from whole("LpNorm", NORMS, rng)
    for p in (0, 3, -1):
        yield Case("LpNorm", {"X": grid(rng, (3,))}, args={"p": p}, refused=True)


def norm_gradient(rng: Rng) -> Cases:
    yield from whole_gradient("LpNorm", NORMS, rng)
    feed = {"X": grid(rng, (3,)), "dY": grid(rng, (1,))}
    yield Case("LpNormGradient", feed, ["dX"], {"p": 3}, refused=True)
    feed = {"X": np.array([0, -0.0, 1, -2], "float32"), "dY": np.ones((1,), "float32")}
    for p in (1, 2):
        yield Case("LpNormGradient", feed, ["dX"], {"p": p})


def arg_extremum(op: str, rng: Rng) -> Cases:
    cases: list[tuple[Shape, dict[str, Any]]] = [
        ((5,), {}),
        ((1,), {"keepdims": 0}),
        ((2, 3), {}),
        ((2, 3), {"axis": 0}),
        ((2, 3), {"axis": 1, "keepdims": 0}),
        ((2, 3, 4), {"axis": 1}),
        ((2, 3, 4), {"axis": -2, "keepdims": 0}),
        ((2, 3, 4), {"axis": 0, "keepdims": 0}),
        ((17, 33), {}),
        ((17, 33), {"axis": 0}),
        ((0, 3), {"axis": 1}),
    ]
    for index, (shape, args) in enumerate(cases):
        for dtype in ("float32", MATH_TYPES[1 + index % 3]):
            values = np.asarray(rng.integers(-2, 3, shape)).astype(dtype)
            yield Case(op, {"X": values}, args=args)
    yield Case(op, {"X": grid(rng, (0, 3))}, args={"axis": 0})
    yield Case(op, {"X": grid(rng, ())})
    values = np.array([[1, np.nan, 2], [np.nan, 1, 0], [np.inf, -np.inf, 1]], "float32")
    yield Case(op, {"X": values})
    yield Case(op, {"X": grid(rng, (2, 3))}, args={"axis": 2}, refused=True)
    yield Case(op, {"X": grid(rng, (2, 3))}, args={"axis": -3}, refused=True)
    for dtype in ("bool", "uint8", "float16"):
        yield Case(op, {"X": grid(rng, (2, 3), dtype)})
    yield Case(op, {"X": grid(rng, (2, 3), "int64")}, ["X"], refused=True)
    yield from wrong_arity(op, {"X": grid(rng, (2,))}, ["Y"])


def utility(op: str, rng: Rng) -> Cases:
    """Size, IsEmpty: every type and shape."""
    for shape in SHAPES:
        yield Case(op, {"X": grid(rng, shape)})
    for dtype in (*ALL_TYPES, "str"):
        yield Case(op, {"X": grid(rng, some_shape(rng), dtype)})
    yield Case(op, {"X": grid(rng, (2, 3), "int64")}, ["X"], refused=True)
    yield from wrong_arity(op, {"X": grid(rng, (2,))}, ["Y"])


# ---------------------------------------------------------------- Tile

TILES: list[tuple[Shape, dict[str, Any]]] = [
    ((5,), {"tiles": 1, "axis": 0}),
    ((5,), {"tiles": 3, "axis": 0}),
    ((2, 3), {"tiles": 2, "axis": 0}),
    ((2, 3), {"tiles": 2, "axis": 1}),
    ((2, 3), {"tiles": 3, "axis": -1}),
    ((2, 3, 4), {"tiles": 2, "axis": 1}),
    ((2, 3, 4), {"tiles": 2, "axis": -3}),
    ((0, 3), {"tiles": 2, "axis": 1}),
    ((3, 0), {"tiles": 2, "axis": 0}),
    ((2, 3), {"tiles": 0, "axis": 1}),
]
WRONG_TILES: list[tuple[Shape, dict[str, Any]]] = [
    ((2, 3), {"tiles": 2, "axis": 2}),
    ((2, 3), {"tiles": 2, "axis": -3}),
    ((2, 3), {"tiles": -1, "axis": 0}),
    ((), {"tiles": 2, "axis": 0}),
]


def tile(rng: Rng) -> Cases:
    for index, (shape, args) in enumerate(TILES):
        yield Case("Tile", {"X": grid(rng, shape)}, args=args)
        dtype = (*MATH_TYPES[1:], "bool", "uint8", "float16", "str")[index % 7]
        yield Case("Tile", {"X": grid(rng, shape, dtype)}, args=args)
        tiles = np.array([args.get("tiles", 1)], "int32")
        axis = np.array([args.get("axis", 0)], "int32")
        feed = {"X": grid(rng, shape), "tiles": tiles}
        yield Case("Tile", feed, args={"axis": args.get("axis", 0)})
        yield Case("Tile", {**feed, "axis": axis})
    for shape, args in WRONG_TILES:
        yield Case("Tile", {"X": grid(rng, shape)}, args=args, refused=True)
    x, first = grid(rng, (2, 3)), {"axis": 0}
    yield Case("Tile", {"X": x})
    yield Case("Tile", {"X": x}, args={"tiles": 2})
    yield Case("Tile", {"X": x, "tiles": np.array([2, 3], "int32")}, args=first, refused=True)
    yield Case("Tile", {"X": x, "tiles": np.array([2], "int64")}, args=first)
    yield Case("Tile", {"X": x, "tiles": np.array(2, "int32")}, args=first)
    yield Case("Tile", {"X": x, "tiles": np.array([], "int32")}, args=first, refused=True)
    yield Case("Tile", {"X": x, "tiles": np.array([3], "int32")}, args={"tiles": 2, **first})
    axis = np.array([1, 0], "int32")
    yield Case("Tile", {"X": x, "tiles": np.array([2], "int32"), "axis": axis}, refused=True)
    yield Case("Tile", {"X": x}, ["X"], {"tiles": 1}, refused=True)
    yield from wrong_arity("Tile", {"X": x}, ["Y"], tiles=2)


def tile_gradient(rng: Rng) -> Cases:
    op = "TileGradient"
    for index, (shape, args) in enumerate(TILES):
        case = Case("Tile", {"X": grid(rng, shape)}, args=args)
        yield gradient(case, op, ["dY"], ["dX"])
        full = list(shape)
        axis, tiles = args.get("axis", 0), args.get("tiles", 1)
        full[axis] *= tiles
        dtype = MATH_TYPES[1 + index % 3]
        yield Case(op, {"dY": grid(rng, tuple(full), dtype)}, ["dX"], args)
        feed = {"dY": grid(rng, tuple(full)), "tiles": np.array([tiles], "int32")}
        yield Case(op, feed, ["dX"], {"axis": axis})
        yield Case(op, {**feed, "axis": np.array([axis], "int32")}, ["dX"])
    yield Case(op, {"dY": grid(rng, (5,))}, ["dX"], {"tiles": 2}, refused=True)
    yield Case(op, {"dY": grid(rng, (4,))}, ["dX"], {"tiles": 2, "axis": 1}, refused=True)
    yield from wrong_arity(op, {"dY": grid(rng, (4,))}, ["dX"], tiles=2)


CASES = {
    **{
        name: partial(make, op)
        for op in ("ReduceSum", "ReduceMean", "ReduceMax", "ReduceMin")
        for name, make in ((op, reduction), (f"{op}Gradient", reduction_gradient))
    },
    **{
        name: partial(make, op)
        for op in ("ReduceBackSum", "ReduceBackMean", "ReduceFrontSum", "ReduceFrontMean")
        for name, make in ((op, end_cases), (f"{op}Gradient", end_gradient))
    },
    "SumElements": partial(whole, "SumElements", AVERAGE),
    "SumElementsGradient": partial(whole_gradient, "SumElements", AVERAGE),
    "SumElementsInt": partial(whole, "SumElementsInt", ({},), dtype="int32"),
    "SumSqrElements": partial(whole, "SumSqrElements", AVERAGE),
    "LpNorm": norm,
    "LpNormGradient": norm_gradient,
    "ArgMax": partial(arg_extremum, "ArgMax"),
    "ArgMin": partial(arg_extremum, "ArgMin"),
    "Size": partial(utility, "Size"),
    "IsEmpty": partial(utility, "IsEmpty"),
    "Tile": tile,
    "TileGradient": tile_gradient,
}
