"""Sines, roots, rounding: functions of the elements at one place; and transformations."""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import numpy as np

from tools.golden.case import Case, Cases, grid, positive, some_shape, wrong_arity

Rng = np.random.Generator
Draw = Callable[[Rng, Sequence[int]], np.ndarray]
Args = tuple[dict[str, Any], ...]

SHAPES = [(), (0,), (3, 0, 2), (1,), (7,), (33,), (1, 1, 1), (2, 3, 4), (2, 1, 3, 2)]
ROUNDS = 22


def inside(rng: Rng, shape: Sequence[int]) -> np.ndarray:
    """Away from -1 and 1."""
    return (rng.integers(-15, 16, shape) / 16).astype("float32")


def share(rng: Rng, shape: Sequence[int]) -> np.ndarray:
    """From 0 to 1."""
    return (rng.integers(0, 33, shape) / 32).astype("float32")


def apart(rng: Rng, shape: Sequence[int]) -> np.ndarray:
    """Away from 0."""
    return positive(rng, shape) * rng.choice([-1, 1], shape).astype("float32")


def shaped(rng: Rng, index: int) -> tuple[int, ...]:
    return SHAPES[index] if index < len(SHAPES) else some_shape(rng)


def function(op: str, draws: tuple[Draw, ...], args: Args, place: int | None, rng: Rng) -> Cases:
    """Every shape and set of arguments; `place` is the input that may be the output, if one is."""
    names = [f"X{k}" for k in range(len(draws))]
    for index in range(ROUNDS):
        shape = shaped(rng, index)
        feed = {n: d(rng, shape) for n, d in zip(names, draws, strict=True)}
        output = "Y" if place is None or index % 4 != 3 else names[place]
        yield Case(op, feed, [output], args[index % len(args)])
    feed = {n: d(rng, (2, 3)) for n, d in zip(names, draws, strict=True)}
    for dtype in ("bool", "int8", "float16"):
        wrong = {n: a.astype(dtype) for n, a in feed.items()}
        yield Case(op, wrong, args=args[0], refused=True)
    if len(draws) > 1:
        yield Case(op, {**feed, "X1": draws[1](rng, (3, 4))}, args=args[0], refused=True)
    for index, name in enumerate(names):
        if index != place:
            yield Case(op, feed, [name], args[0], refused=True)
    yield from wrong_arity(op, feed, ["Y"], **args[0])


def whole(op: str, count: int, rng: Rng) -> Cases:
    """Of every numeric type."""
    for index in range(ROUNDS):
        dtype = ("int32", "int64", "float32", "float64")[index % 4]
        shape = shaped(rng, index)
        feed = {f"X{k}": grid(rng, shape, dtype) for k in range(count)}
        yield Case(op, feed, args={})
    yield from wrong_arity(op, {f"X{k}": grid(rng, (2,)) for k in range(count)}, ["Y"])


NONE: Args = ({},)
EPS: Args = ({}, {"eps": 0.125})
FILLED: Args = ({}, {"value": 2.5})
STUMPS: Args = ({}, {"threshold": 0.5, "low_value": -1.0, "high_value": 3.0})

#: operator -> what its inputs are drawn from, arguments, the input that may be the output
TABLE: dict[str, tuple[tuple[Draw, ...], Args, int | None]] = {
    "Sin": ((grid,), NONE, None),
    "Cos": ((grid,), NONE, None),
    "Tan": ((inside,), NONE, None),
    "Asin": ((inside,), NONE, None),
    "Acos": ((inside,), NONE, None),
    "Atan": ((grid,), NONE, None),
    "Sinh": ((grid,), NONE, None),
    "Cosh": ((grid,), NONE, None),
    "Erf": ((grid,), NONE, None),
    "Cbrt": ((grid,), NONE, 0),
    "Rsqrt": ((positive,), NONE, 0),
    "Logit": ((share,), EPS, 0),
    "Floor": ((grid,), NONE, 0),
    "Ceil": ((grid,), NONE, 0),
    "ReplaceNaN": ((grid,), FILLED, 0),
    "StumpFunc": ((grid,), STUMPS, None),
    "SinGradient": ((grid, grid), NONE, None),
    "CosGradient": ((grid, grid), NONE, None),
    "TanGradient": ((inside, grid), NONE, None),
    "AsinGradient": ((inside, grid), NONE, None),
    "AcosGradient": ((inside, grid), NONE, None),
    "AtanGradient": ((grid, grid), NONE, None),
    "SinhGradient": ((grid, grid), NONE, None),
    "CoshGradient": ((grid, grid), NONE, None),
    "ErfGradient": ((grid, grid), NONE, None),
    "CbrtGradient": ((grid, apart), NONE, 0),
    "RsqrtGradient": ((grid, positive), NONE, 0),
    "LogitGradient": ((share, grid), EPS, None),
}


# ---------------------------------------------------------------- others


def nan(rng: Rng) -> Cases:
    for index in range(ROUNDS):
        x = grid(rng, shaped(rng, index), ("float32", "float64")[index % 2])
        yield Case("IsNaN", {"X": np.where(x > 0, x, np.nan).astype(x.dtype)})
    yield Case("IsNaN", {"X": grid(rng, (2,), "int32")}, refused=True)
    yield from wrong_arity("IsNaN", {"X": grid(rng, (2,))}, ["Y"])


def mod(rng: Rng) -> Cases:
    for index in range(ROUNDS):
        x = grid(rng, shaped(rng, index), ("int32", "int64")[index % 2])
        args = {"divisor": [3, -3, 1, 7][index % 4], "sign_follow_divisor": index % 3 == 0}
        yield Case("Mod", {"X": x}, ["X" if index % 5 == 4 else "Y"], args)
    yield Case("Mod", {"X": grid(rng, (2,), "int32")}, refused=True)
    yield Case("Mod", {"X": grid(rng, (2,))}, args={"divisor": 2}, refused=True)


def clipped(rng: Rng) -> Cases:
    op, limits = "EnsureClipped", {"min": -0.5, "max": 1.0}
    for index in range(ROUNDS):
        param = {"param": grid(rng, shaped(rng, index))}
        yield Case(op, param, ["param" if index % 3 else "Y"], limits if index % 4 else {})
    for rows in (1, 3, 5):
        which = rng.integers(0, rows, 2).astype(("int32", "int64")[rows % 2])
        feed = {"param": grid(rng, (rows, 3)), "indices": which, "grad": grid(rng, (2, 3))}
        yield Case(op, feed, ["param"], limits)
        yield Case(op, {**feed, "grad": grid(rng, (2, 4))}, ["param"], limits, refused=True)


def scale_blobs(rng: Rng) -> Cases:
    for index in range(ROUNDS):
        feed = {f"X{k}": grid(rng, shaped(rng, index + k)) for k in range(1 + index % 3)}
        outputs = list(feed) if index % 2 else [f"Y{k}" for k in range(len(feed))]
        yield Case("ScaleBlobs", feed, outputs, {"scale": -2.5} if index % 4 else {})


def box_cox(rng: Rng) -> Cases:
    for index in range(ROUNDS):
        shape = [(2, 3), (1, 1), (4, 5), (0, 3), (3,), (2, 3, 2)][index % 6]
        columns = int(np.prod(shape[1:]))
        powers = rng.integers(-4, 5, columns) / 4
        feed = {"data": positive(rng, shape), "lambda1": powers, "lambda2": share(rng, (columns,))}
        feed = {name: a.astype(("float32", "float64")[index // 6 % 2]) for name, a in feed.items()}
        yield Case("BatchBoxCox", feed, ["data" if index % 5 == 4 else "Y"])
    feed = {"data": positive(rng, (2, 3)), "lambda1": share(rng, (3,)), "lambda2": share(rng, (2,))}
    yield Case("BatchBoxCox", feed, refused=True)
    yield from wrong_arity("BatchBoxCox", {**feed, "lambda2": share(rng, (3,))}, ["Y"])


def piecewise(rng: Rng) -> Cases:
    op = "PiecewiseLinearTransform"
    for index in range(ROUNDS):
        functions, pieces = 1 + index % 3, 1 + index % 4
        bounds = np.sort(rng.permutation(40)[: functions * (pieces + 1)].reshape(functions, -1))
        values = [bounds / 8 - 2, *(grid(rng, (functions, pieces)) for _ in "si")]
        args = {
            name: [float(v) for v in a.reshape(-1)]
            for name, a in zip(("bounds", "slopes", "intercepts"), values, strict=True)
        }
        x = grid(rng, (int(rng.integers(0, 5)), functions))
        if index % 2:
            feed = {name: np.array(v, "float32") for name, v in args.items()}
            yield Case(op, {"X": x, **feed})
        else:
            yield Case(op, {"X": x}, args=args)
        if functions == 1:
            for shape in ((4,), (3, 1), (3, 2)):
                yield Case(op, {"X": grid(rng, shape)}, args={**args, "binary": 1})
            yield Case(op, {"X": grid(rng, (2, 3))}, args={**args, "binary": 1}, refused=True)
        yield Case(op, {"X": grid(rng, (2, functions + 1))}, args=args, refused=True)
    yield Case(op, {"X": grid(rng, (2, 1))}, refused=True)
    yield Case(op, {"X": grid(rng, (2, 1))}, args={"bounds": [0.0, 1.0]}, refused=True)


def positions(rng: Rng) -> Cases:
    op = "SinusoidPositionEncoding"
    for index in range(ROUNDS):
        places = rng.integers(1, 20, [(2, 2), (1, 1), (3, 1)][index % 3])
        args = [{"embedding_size": 4}, {"embedding_size": 5, "alpha": 10.0}, {}][index % 3]
        more = {"amplitude": 2.0} if index % 2 else {}
        feed = {"X": places.astype(("int32", "int64")[index % 2])}
        yield Case(op, feed, args={**args, **more} if index % 3 < 2 else {"embedding_size": 7})
    yield Case(op, {"X": np.ones(3, "int32")}, refused=True)
    yield Case(op, {"X": np.ones((3, 1), "float32")}, refused=True)


def root_divide(rng: Rng) -> Cases:
    op = "SquareRootDivide"
    for index in range(ROUNDS):
        shape = [(2, 3), (4,), (0, 2), (2, 3, 2), (1, 1)][index % 5]
        scale = rng.integers(0, 9, shape[0]).astype(("float32", "int32", "int64")[index % 3])
        feed = {"X": grid(rng, shape), "scale": scale}
        yield Case(op, feed, ["X" if index % 4 == 3 else "Y"])
    feed = {"X": grid(rng, (2, 3)), "scale": -positive(rng, (2,))}
    yield Case(op, feed, refused=True)
    yield Case(op, {**feed, "scale": positive(rng, (3,))}, refused=True)
    yield from wrong_arity(op, {**feed, "scale": positive(rng, (2,))}, ["Y"])


def stump_index(rng: Rng) -> Cases:
    for index in range(ROUNDS):
        feed = {"X": grid(rng, shaped(rng, index + 1))}
        yield Case("StumpFuncIndex", feed, ["low", "high"], {"threshold": 0.5 * (index % 3)})


CASES = {
    **{op: partial(function, op, *row) for op, row in TABLE.items()},
    "Cube": partial(whole, "Cube", 1),
    "CubeGradient": partial(whole, "CubeGradient", 2),
    "Sign": partial(whole, "Sign", 1),
    "IsNaN": nan,
    "Mod": mod,
    "EnsureClipped": clipped,
    "ScaleBlobs": scale_blobs,
    "BatchBoxCox": box_cox,
    "PiecewiseLinearTransform": piecewise,
    "SinusoidPositionEncoding": positions,
    "SquareRootDivide": root_divide,
    "StumpFuncIndex": stump_index,
}
