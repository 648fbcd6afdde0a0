"""Maxima over the first or last axes, norms and moments over chosen ones, sums of rows."""

import math
from functools import partial

import numpy as np

from tools.golden.case import Case, Cases, gradient, grid, wrong_arity

ENDS = [((7,), {}), ((2, 3), {}), ((2, 3, 4), {"num_reduce_dim": 2}), ((3, 4, 2), {})]


def end_feeds(end: str, rng: np.random.Generator) -> Cases:
    for index in range(28):
        shape, args = ENDS[index % 4]
        feed = {"X": grid(rng, shape)}
        if index % 3 == 1 and "num_reduce_dim" not in args:
            rest, most = (shape[1:], shape[0]) if end == "Front" else (shape[:-1], shape[-1])
            feed["L"] = rng.integers(1, most + 1, math.prod(rest)).astype("int32")
        yield Case(f"Reduce{end}Max", feed, args=args)


def end_max(end: str, rng: np.random.Generator) -> Cases:
    op = f"Reduce{end}Max"
    yield from end_feeds(end, rng)
    feed = {"X": grid(rng, (2, 3)), "L": np.array([1], "int32")}
    yield Case(op, feed, refused=True)
    yield Case(op, feed, args={"num_reduce_dim": 2}, refused=True)
    yield Case(op, {"X": feed["X"]}, args={"num_reduce_dim": 3}, refused=True)
    yield from wrong_arity(op, {"X": feed["X"]}, ["Y"])


def end_max_gradient(end: str, rng: np.random.Generator) -> Cases:
    for case in end_feeds(end, rng):
        reads = ["dY", "X", "Y", *list(case.feed)[1:]]
        yield gradient(case, f"Reduce{end}MaxGradient", reads, ["dX"])


def matrices(op: str, rng: np.random.Generator) -> Cases:
    for index in range(24):
        yield Case(op, {"X": grid(rng, (1 + index % 3, 1 + index % 4, 1 + index % 5))})


def matrix_max(op: str, rng: np.random.Generator) -> Cases:
    yield from matrices(op, rng)
    yield Case(op, {"X": grid(rng, (2, 3))}, refused=True)
    yield Case(op, {"X": grid(rng, (2, 3, 4), "int32")}, refused=True)
    yield from wrong_arity(op, {"X": grid(rng, (2, 3, 4))}, ["Y"])


def matrix_max_gradient(op: str, rng: np.random.Generator) -> Cases:
    for case in matrices(op, rng):
        yield gradient(case, f"{op}Gradient", ["X", "Y", "dY"], ["dX"])


AXES = [
    ((7,), {}),
    ((2, 3), {"keepdims": 0}),
    ((2, 3, 4), {"axes": [1]}),
    ((2, 3, 4), {"axes": [0, 2], "keepdims": 0}),
    ((2, 3, 4), {"axes": [2]}),
    ((2, 3), {"axes": []}),
]


def norms(op: str, rng: np.random.Generator) -> Cases:
    for index in range(24):
        shape, args = AXES[index % 6]
        yield Case(op, {"X": grid(rng, shape)}, args=args)


def norm(op: str, rng: np.random.Generator) -> Cases:
    yield from norms(op, rng)
    X = {"X": grid(rng, (2, 3))}
    yield Case(op, X, args={"axes": [2]}, refused=True)
    yield Case(op, {"X": grid(rng, (2, 3), "bool")}, refused=True)
    yield from wrong_arity(op, X, ["Y"])


def norm_gradient(op: str, rng: np.random.Generator) -> Cases:
    for case in norms(op, rng):
        yield gradient(case, f"{op}Gradient", ["dY", "X", "Y"], ["dX"])


def moments(rng: np.random.Generator) -> Cases:
    for case in norms("Moments", rng):
        yield Case("Moments", case.feed, ["mean", "var"], case.args)
    X = {"X": grid(rng, (2, 3))}
    yield Case("Moments", X, ["mean", "var"], {"axes": [2]}, refused=True)
    yield Case("Moments", X, ["mean"], refused=True)


def moments_gradient(rng: np.random.Generator) -> Cases:
    for case in norms("Moments", rng):
        x, axes = case.feed["X"], case.args.get("axes")
        kept = tuple(1 if not axes or k in axes else n for k, n in enumerate(x.shape))
        feed = {"dmean": grid(rng, kept), "dvar": grid(rng, kept), "X": x, "mean": grid(rng, kept)}
        yield Case("MomentsGradient", feed, ["dX"], case.args)


def weighted(rng: np.random.Generator) -> Cases:
    op = "ReduceFrontWeightedSum"
    for index in range(24):
        shape = [(3,), (2, 3), (4, 2, 3), (1, 5)][index % 4]
        args = {"grad_on_weights": 1} if index % 5 == 0 else {}
        yield Case(op, {"X": grid(rng, shape), "W": grid(rng, shape[:1])}, args=args)
    feed = {"X": grid(rng, (3, 2)), "W": grid(rng, (3, 1))}
    yield Case(op, feed, refused=True)
    yield from wrong_arity(op, {**feed, "W": grid(rng, (3,))}, ["Y"])


def weighted_gradient(rng: np.random.Generator) -> Cases:
    for index in range(24):
        shape = [(3,), (2, 3), (4, 2, 3), (1, 5)][index % 4]
        dims = np.array(shape, "int64")
        feed = {"W": grid(rng, shape[:1]), "dY": grid(rng, shape[1:]), "dims": dims}
        yield Case("ReduceFrontWeightedSumGradient", feed, ["dX"])


def tail(rng: np.random.Generator) -> Cases:
    for index in range(24):
        shape = [(3,), (2, 3), (4, 2, 3), (1, 5)][index % 4]
        yield Case("ReduceTailSum", {"X": grid(rng, shape)})
    yield from wrong_arity("ReduceTailSum", {"X": grid(rng, (2, 3))}, ["Y"])


CASES = {
    "ReduceFrontMax": partial(end_max, "Front"),
    "ReduceBackMax": partial(end_max, "Back"),
    "ReduceFrontMaxGradient": partial(end_max_gradient, "Front"),
    "ReduceBackMaxGradient": partial(end_max_gradient, "Back"),
    "RowwiseMax": partial(matrix_max, "RowwiseMax"),
    "ColwiseMax": partial(matrix_max, "ColwiseMax"),
    "RowwiseMaxGradient": partial(matrix_max_gradient, "RowwiseMax"),
    "ColwiseMaxGradient": partial(matrix_max_gradient, "ColwiseMax"),
    "ReduceL1": partial(norm, "ReduceL1"),
    "ReduceL2": partial(norm, "ReduceL2"),
    "ReduceL1Gradient": partial(norm_gradient, "ReduceL1"),
    "ReduceL2Gradient": partial(norm_gradient, "ReduceL2"),
    "Moments": moments,
    "MomentsGradient": moments_gradient,
    "ReduceFrontWeightedSum": weighted,
    "ReduceFrontWeightedSumGradient": weighted_gradient,
    "ReduceTailSum": tail,
}
