"""Counters, learning rates, and the operators that update parameters."""

from collections.abc import Sequence
from functools import partial
from typing import Any

import numpy as np

from tools.golden.case import Case, Cases, grid, positive, wrong_arity

F = "float32"
F32 = np.float32


def number(value: float) -> np.ndarray:
    return np.array([value], F)


# ---------------------------------------------------------------- counters and rates


def iteration(rng: np.random.Generator) -> Cases:
    for value in (0, 1, 7, 2**31 - 1, 2**31, 2**53, 2**62, 2**63 - 2):
        for shape in ((1,), (), (1, 1)):
            yield Case("Iter", {"it": np.full(shape, value)}, ["it"])
    yield Case("Iter", {}, ["it"])
    yield Case("Iter", {"it": np.array([-1])}, ["it"], refused=True)
    yield Case("Iter", {"it": np.array([2**63 - 1])}, ["it"], refused=True)
    yield Case("Iter", {"it": np.array([1, 2])}, ["it"], refused=True)
    yield Case("Iter", {"it": np.zeros(0, "int64")}, ["it"], refused=True)
    yield Case("Iter", {"it": np.array([1])}, ["other"], refused=True)
    yield Case("Iter", {"it": np.array([1]), "b": np.array([1])}, ["it"], refused=True)


WARM = {
    "start_warmup_multiplier": 0.25,
    "constant_warmup_num_iter": 3,
    "linear_warmup_num_iter": 6,
}
POLICIES: list[dict[str, Any]] = [
    {"policy": "fixed"},
    {"policy": "step", "stepsize": 5, "gamma": 0.5},
    {"policy": "step", "stepsize": 1, "gamma": 0.9},
    {"policy": "step", "stepsize": 3, "gamma": -0.5},
    {"policy": "exp", "gamma": 0.95},
    {"policy": "exp"},
    {"policy": "gate", "num_iter": 6, "multiplier_1": 0.25, "multiplier_2": 2.0},
    {"policy": "gate", "num_iter": 6, "multiplier_1": 0.25},
    {"policy": "inv", "gamma": 0.1, "power": 0.75},
    {"policy": "poly", "power": 0.5, "max_iter": 100},
    {"policy": "poly", "power": 2.0, "max_iter": 20},
    {"policy": "poly", "power": 2.0},
    {"policy": "alter", "active_period": 2, "inactive_period": 3},
    {"policy": "alter", "active_period": 4, "inactive_period": 1, "active_first": 0},
    {"policy": "hill", "num_iter": 5, "start_multiplier": 0.25, "gamma": 0.5, "power": 1.5,
     "end_multiplier": 0.125},
    {"policy": "slope", "num_iter_1": 3, "multiplier_1": 1.0, "num_iter_2": 11,
     "multiplier_2": 0.125},
    {"policy": "slope", "num_iter_1": 3, "multiplier_1": 0.25, "num_iter_2": 11,
     "multiplier_2": 1.0},
    {"policy": "linearWarmup", "start_multiplier": 0.125, "num_iter": 9},
    {"policy": "linearWarmup", "num_iter": 9},
    {"policy": "constantWarmup", "multiplier": 0.25, "num_iter": 9},
    {"policy": "constantWarmup", "num_iter": 9},
    {"policy": "pieceWarmup", "m1": 0.25, "n1": 4, "m2": 0.75, "n2": 9, "m3": 2.0},
    {"policy": "constantThenLinearWarmup", **WARM},
    {"policy": "constantThenLinearWarmup"},
    {"policy": "cyclical", "stepsize": 3, "max_lr": 0.5},
    {"policy": "cyclical", "stepsize": 4, "max_lr": 0.5, "decay": 0.5},
    {"policy": "cyclical", "stepsize": 4},
    {"policy": "cosine", "period": 6, "min_lr": 0.25, "max_lr": 1.0},
    {"policy": "cosine", "period": 4, "t_mult": 2.0, "lr_shrink": 0.5},
    {"policy": "cosine"},
    {"policy": "compositeCyclical", **WARM, "cyclical_step_size": 3, "cyclical_max_lr": 0.5,
     "cyclical_decay": 0.5},
    {"policy": "compositeCyclical", **WARM},
    {"policy": "compositeCosine", **WARM, "cosine_period": 4, "cosine_t_mult": 1.5,
     "cosine_min_lr": 0.0, "cosine_max_lr": 1.0, "cosine_lr_shrink": 0.75},
    {"policy": "compositeCosine", **WARM},
]  # fmt: skip
COMPOSITE = {
    "policy": "composite",
    "sub_policy_num_iters": [3, 4, 5, 6],
    "sub_policy_0_policy": "linearWarmup",
    "sub_policy_0_start_multiplier": 0.25,
    "sub_policy_0_num_iter": 3,
    "sub_policy_1_policy": "fixed",
    "sub_policy_1_lr_scale": 0.5,
    "sub_policy_2_policy": "step",
    "sub_policy_2_stepsize": 2,
    "sub_policy_2_gamma": 0.5,
    "sub_policy_2_lr_scale": 2.0,
    "sub_policy_3_policy": "compositeCosine",
    "sub_policy_3_start_warmup_multiplier": 0.5,
    "sub_policy_3_constant_warmup_num_iter": 10,
    "sub_policy_3_linear_warmup_num_iter": 6,
}
ITERATIONS = (0, 1, 2, 3, 4, 5, 6, 8, 9, 11, 12, 16, 20, 28, 60, 1000, 100003)


def learning_rate(rng: np.random.Generator) -> Cases:
    base = {"base_lr": 0.1}
    for args in POLICIES:
        for t in ITERATIONS:
            yield Case("LearningRate", {"it": np.array([t])}, args={**base, **args})
    for t in range(1, 25):
        yield Case("LearningRate", {"it": np.array([t])}, args={**base, **COMPOSITE})
    for rate in (0.0, -0.5, float("nan"), float("inf")):
        yield Case("LearningRate", {"it": np.array(3)}, args={"base_lr": rate, "policy": "fixed"})
    exp = {**base, "policy": "exp", "gamma": 0.5}
    for it in (np.array([3, 4]), np.array([[5]]), np.array([-2])):
        yield Case("LearningRate", {"it": it}, args=exp)
    three = {"it": np.array([3])}
    for args in (
        {},
        {"policy": "fixed"},
        base,
        {**base, "policy": "Fixed"},
        {**base, "policy": "composite"},
        {**base, "policy": "composite", "sub_policy_num_iters": [0]},
        {**base, "policy": "composite", "sub_policy_num_iters": [1]},
        {**base, "policy": "composite", "sub_policy_num_iters": [1],
         "sub_policy_0_policy": "composite"},
        {**base, "policy": "step", "gamma": 0.5},
        {**base, "policy": "cyclical"},
        {**base, "policy": "alter", "active_period": 1},
    ):  # fmt: skip
        yield Case("LearningRate", three, args=args, refused=True)
    for wrong in (np.array([3], "int32"), np.array([3], F)):
        yield Case("LearningRate", {"it": wrong}, args=exp, refused=True)
    yield Case("LearningRate", three, ["it"], exp, refused=True)
    yield from wrong_arity("LearningRate", three, ["Y"], **exp)


# ---------------------------------------------------------------- dense updates

#: operator -> (inputs, in place outputs, further outputs, arguments); capital letters say what an
#: input is: Param-like, Moment (not negative), Rate, Counter, Two for each parameter
DENSE: dict[str, tuple[str, str, list[list[str]], list[dict[str, Any]]]] = {
    "MomentumSGD": ("gP mP lrR", "g m", [[]], [
        {}, {"momentum": 0.5}, {"momentum": 0.9, "nesterov": 1}, {"nesterov": 1}]),
    "MomentumSGDUpdate": ("gP mP lrR pP", "g m p", [[]], [
        {}, {"momentum": 0.5}, {"momentum": 0.9, "nesterov": 1}, {"nesterov": 1}]),
    "Adagrad": ("pP mM gP lrR", "p m", [[], ["rate"], ["rate", "step"]], [
        {}, {"epsilon": 0.5}, {"decay": 0.5}, {"weight_decay": 0.25, "decay": 0.9}]),
    "Adam": ("pP aP mM gP lrR itC", "p a m", [[], ["step"]], [
        {}, {"beta1": 0.5}, {"beta2": 0.5, "epsilon": 0.25}, {"beta1": 0.0, "beta2": 0.9}]),
    "RmsProp": ("gP mM aP lrR", "g m a", [[]], [
        {}, {"decay": 0.5}, {"momentum": 0.5}, {"momentum": 0.9, "decay": 0.75, "epsilon": 0.5}]),
    "Adadelta": ("pP mM dM gP lrR", "p m d", [[]], [
        {}, {"decay": 0.5}, {"epsilon": 0.0}, {"epsilon": 0.5, "decay": 0.75}]),
    "Ftrl": ("pP zT gP", "p z", [[]], [
        {}, {"alpha": 0.5}, {"beta": 0.5, "lambda1": 0.5}, {"lambda2": 2.0, "lambda1": 0.0}]),
}  # fmt: skip
SHAPES: list[tuple[int, ...]] = [(5,), (2, 3), (), (0,), (2, 1, 3), (17,)]


def draw(rng: np.random.Generator, kind: str, shape: Sequence[int]) -> np.ndarray:
    if kind == "R":
        return number(float(rng.integers(-8, 9)) / 16)
    if kind == "C":
        return np.array([int(rng.integers(0, 40))])
    if kind == "M":
        return positive(rng, shape)
    if kind == "T":
        return np.stack([positive(rng, shape), grid(rng, shape)], -1)
    return grid(rng, shape)


def feeds(rng: np.random.Generator, names: str, shape: Sequence[int]) -> dict[str, np.ndarray]:
    return {name[:-1]: draw(rng, name[-1], shape) for name in names.split()}


def dense(op: str, rng: np.random.Generator) -> Cases:
    names, same, more, arguments = DENSE[op]
    kept = same.split()
    for k, shape in enumerate(SHAPES):
        for args in arguments:
            for extra in more:
                yield Case(op, feeds(rng, names, shape), [*kept, *extra], args)
        if op != "MomentumSGDUpdate":  # leaves a separate output_param undefined
            apart = [f"new_{name}" for name in kept]
            yield Case(op, feeds(rng, names, shape), apart, arguments[k % 4])
    feed = feeds(rng, names, (2, 3))
    if op == "Ftrl":
        for alpha in (0.5, 0.001):
            yield Case(op, {**feed, "alpha": number(alpha)}, kept)
        both = {**feed, "alpha": number(0.5)}
        yield Case(op, both, kept, {"alpha": 0.5}, refused=True)
        yield Case(op, {**feed, "alpha": number(0.5).repeat(2)}, kept, refused=True)
    flat = {**feed, "g": feed["g"].reshape(6)}
    yield Case(op, flat, kept, note="only sizes count")
    for rate in (float("nan"), float("inf")):
        if "lr" in feed:
            yield Case(op, {**feed, "lr": number(rate)}, kept)
    for name in feed:
        if feed[name].size > 1:
            yield Case(op, {**feed, name: grid(rng, (5,))}, kept, refused=True)
            yield Case(op, {**feed, name: feed[name].astype("int32")}, kept, refused=True)
    if "lr" in feed:
        yield Case(op, {**feed, "lr": number(0.5).repeat(2)}, kept, refused=True)
    if "it" in feed:
        yield Case(op, {**feed, "it": np.array([3], "int32")}, kept, refused=True)
    for args in ({"decay": 1.0}, {"decay": 0.0}, {"epsilon": -1.0}):
        if op == "Adadelta":
            yield Case(op, feed, kept, args, refused=True)
    yield Case(op, feed, kept[:-1], refused=True)
    yield Case(op, feed, [*kept[:-1], list(feed)[-1]], refused=op != "MomentumSGDUpdate")
    yield from wrong_arity(op, feed, kept)


# ---------------------------------------------------------------- sparse updates

#: as DENSE; Grad rows, Indices, W one moment a row
SPARSE: dict[str, tuple[str, str, list[list[str]], list[dict[str, Any]]]] = {
    "SparseMomentumSGDUpdate": ("gG mP lrR pP iI", "g m p", [[]], [
        {}, {"momentum": 0.5}, {"momentum": 0.75, "nesterov": 1}, {"nesterov": 1}]),
    "SparseAdagrad": ("pP mM iI gG lrR", "p m", [[]], [
        {}, {"epsilon": 0.5}, {"weight_decay": 0.25}, {"decay": 1.0}]),
    "RowWiseSparseAdagrad": ("pP mW iI gG lrR", "p m", [[]], [
        {}, {"epsilon": 0.5}, {"weight_decay": 0.25}, {"epsilon": 0.25}]),
    "SparseAdam": ("pP aP mM iI gG lrR itC", "p a m", [[], ["step"]], [
        {}, {"beta1": 0.5}, {"beta2": 0.5, "epsilon": 0.25},
        {"enableRAdam": 1}, {"enableRAdam": 1, "beta2": 0.9}]),
    "RowWiseSparseAdam": ("pP aP mW iI gG lrR itC", "p a m", [[], ["step"]], [
        {}, {"beta1": 0.5}, {"beta2": 0.5, "epsilon": 0.25}, {"beta1": 0.0, "beta2": 0.75}]),
    "SparseAdadelta": ("pP mM dM iI gG lrR", "p m d", [[]], [
        {}, {"decay": 0.5}, {"epsilon": 0.0}, {"epsilon": 0.5, "decay": 0.75}]),
    "SparseFtrl": ("pP zT iI gG", "p z", [[]], [
        {}, {"alpha": 0.5}, {"beta": 0.5, "lambda1": 0.5}, {"lambda2": 2.0, "lambda1": 0.0}]),
}  # fmt: skip
TABLES: list[tuple[tuple[int, ...], tuple[int, ...]]] = [
    ((4, 3), (2,)),
    ((6,), (3,)),
    ((5, 1), (4,)),
    ((3, 2, 4), (5,)),
    ((4, 9), (2, 3)),
    ((4, 2), (0,)),
]


def sparse_feed(
    rng: np.random.Generator, names: str, table: Sequence[int], places: Sequence[int], dtype: str
) -> dict[str, np.ndarray]:
    feed = {}
    for name in names.split():
        kind = name[-1]
        if kind == "I":
            feed[name[:-1]] = rng.integers(0, table[0], places).astype(dtype)
        elif kind == "G":
            feed[name[:-1]] = grid(rng, (*places, *table[1:]))
        elif kind == "W":
            feed[name[:-1]] = positive(rng, table[:1])
        else:
            feed[name[:-1]] = draw(rng, kind, table)
    return feed


def sparse(op: str, rng: np.random.Generator) -> Cases:
    names, same, more, arguments = SPARSE[op]
    kept = same.split()
    for k, (table, places) in enumerate(TABLES):
        for n, args in enumerate(arguments):
            dtype = "int64" if (k + n) % 3 else "int32"
            for extra in more:
                feed = sparse_feed(rng, names, table, places, dtype)
                yield Case(op, feed, [*kept, *extra], args)
    feed = sparse_feed(rng, names, (4, 3), (2,), "int64")
    if op == "SparseAdam":
        for t in (0, 1, 3, 4, 5, 6, 200):
            rectified = {"enableRAdam": 1}
            yield Case(op, {**feed, "it": np.array([t])}, [*kept, "step"], rectified)
    if op == "SparseFtrl":
        yield Case(op, {**feed, "alpha": number(0.5)}, kept)
        yield Case(op, {**feed, "alpha": number(0.5)}, kept, {"alpha": 0.5}, refused=True)
    if op == "SparseAdagrad":
        yield Case(op, feed, kept, {"decay": 0.5}, refused=True)
    if op == "SparseMomentumSGDUpdate":
        yield Case(op, feed, ["new_g", "m", "p"])
    for bad in ([0, 4], [0, 100]):  # Caffe2 checks some in debug builds only
        if op in ("SparseMomentumSGDUpdate", "SparseAdagrad", "RowWiseSparseAdagrad"):
            yield Case(op, {**feed, "i": np.array(bad)}, kept, refused=True)
    yield Case(op, {**feed, "i": grid(rng, (2,))}, kept, refused=True)
    if op != "SparseFtrl":  # checks no shapes
        yield Case(op, {**feed, "g": grid(rng, (2, 2))}, kept, refused=True)
        yield Case(op, {**feed, "m": grid(rng, (5, 7))}, kept, refused=True)
        yield Case(op, {**feed, "lr": number(0.5).repeat(2)}, kept, refused=True)
    yield Case(op, {**feed, "g": feed["g"].astype("int32")}, kept, refused=True)
    yield Case(op, feed, [f"new_{name}" for name in kept], refused=True)
    yield from wrong_arity(op, feed, kept)


# ---------------------------------------------------------------- norms


def lars(rng: np.random.Generator) -> Cases:
    for shape in ((5,), (2, 3), (), (17, 2)):
        for args in ({}, {"offset": 0.0}, {"offset": 0.25, "lr_min": 0.5}, {"lr_min": 0.0}):
            for highest in (0.25, 10.0):
                feed = {
                    "X": grid(rng, shape), "dX": grid(rng, shape), "wd": number(0.125),
                    "trust": positive(rng, (1,)), "highest": number(highest),
                }  # fmt: skip
                yield Case("Lars", feed, args=args)
    yield Case("Lars", {**feed, "X": np.zeros((17, 2), F)})
    yield Case("Lars", {**feed, "dX": np.zeros((17, 2), F)})
    yield Case("Lars", {**feed, "dX": feed["dX"].reshape(-1)})
    yield Case("Lars", {**feed, "dX": grid(rng, (3,))}, refused=True)
    for args in ({"offset": -1.0}, {"lr_min": -1.0}):
        yield Case("Lars", feed, args=args, refused=True)
    yield Case("Lars", {**feed, "X": feed["X"].astype("float64")}, refused=True)
    yield Case("Lars", feed, ["X"], refused=True)
    yield from wrong_arity("Lars", feed, ["Y"])


def clip(rng: np.random.Generator) -> Cases:
    op = "ClipTensorByScaling"
    for shape in ((5,), (2, 3), (), (17, 2)):
        for threshold in (0.5, 2.0, 100.0):
            for norm in (1.0, 4.0):
                feed = {"X": grid(rng, shape), "norm": number(norm)}
                yield Case(op, feed, args={"threshold": threshold})
                more = {**feed, "factor": positive(rng, (1,))}
                yield Case(op, more, args={"threshold": threshold})
    args = {"threshold": 2.0}
    yield Case(op, feed, ["X"], args)
    for norm in (float("nan"), float("inf"), -3.0):
        yield Case(op, {**feed, "norm": number(norm)}, args=args)
    yield Case(op, feed, refused=True)
    yield Case(op, feed, args={"threshold": -1.0}, refused=True)
    yield Case(op, {**feed, "norm": grid(rng, (2,))}, args=args, refused=True)
    yield Case(op, {**more, "factor": grid(rng, (2,))}, args=args, refused=True)
    yield Case(op, {**feed, "X": np.zeros(0, F)}, args=args, refused=True)
    yield Case(op, {**feed, "X": feed["X"].astype("float64")}, args=args, refused=True)
    yield from wrong_arity(op, feed, ["Y"], **args)


def yellow_fin(rng: np.random.Generator) -> Cases:
    names = ["p", "m", "lr", "mu", "window", "g_avg", "g2_avg", "memory"]
    for shape in ((4,), (2, 3), (1,), (17,)):
        for args in (
            {},
            {"nesterov": 1},
            {"zero_debias": 0},
            {"beta": 0.5, "curv_win_width": 5},
            {"beta": 0.75, "epsilon": 0.25, "nesterov": 1},
        ):
            for t in (1, 2, 3, 7, 50):
                width = args.get("curv_win_width", 20)
                # means that began at 0 have grown so far
                grown = F32(1 - args.get("beta", 0.999) ** t if args.get("zero_debias", 1) else 1)
                feed = {
                    "p": grid(rng, shape), "m": grid(rng, shape), "lr": positive(rng, (1,)) / 8,
                    "mu": positive(rng, (1,)) / 4, "window": grid(rng, (width,)),
                    "g_avg": grid(rng, shape) / 8 * grown, "g2_avg": positive(rng, shape) * grown,
                    "memory": positive(rng, (5,)) * grown, "grad": grid(rng, shape),
                    "it": np.array([t]),
                }  # fmt: skip
                yield Case("YellowFin", feed, names, args)
    apart = [f"new_{name}" for name in names]
    yield Case("YellowFin", feed, apart, args)
    for name in ("m", "g_avg", "g2_avg", "grad", "lr", "mu"):
        yield Case("YellowFin", {**feed, name: grid(rng, (3,))}, names, refused=True)
    yield Case("YellowFin", {**feed, "it": np.array([3], "int32")}, names, refused=True)
    yield Case("YellowFin", {**feed, "p": feed["p"].astype("float64")}, names, refused=True)
    yield from wrong_arity("YellowFin", feed, names)


CASES = {
    "Iter": iteration,
    "LearningRate": learning_rate,
    **{op: partial(dense, op) for op in DENSE},
    **{op: partial(sparse, op) for op in SPARSE},
    "Lars": lars,
    "ClipTensorByScaling": clip,
    "YellowFin": yellow_fin,
}
