"""Storm, Wngrad, GFtrl, LearningRateAdaption, RowWiseCounter."""

from typing import Any

import numpy as np

from tools.golden.case import Case, Cases, grid, pick, positive, wrong_arity
from tools.golden.families.optimizer import number

SHAPES = [(5,), (2, 3), (1,), (2, 1, 3), (17,), (4, 4)]


def rate(rng: np.random.Generator) -> np.ndarray:
    return number(float(rng.integers(-8, 9)) / 16)


def refusals(op: str, feed: dict[str, np.ndarray], kept: list[str], args: dict[str, Any]) -> Cases:
    """Wrong sizes, types and counts."""
    for name, value in feed.items():
        if name != "lr" and value.size > 1:
            yield Case(op, {**feed, name: np.zeros(5, value.dtype)}, kept, args, refused=True)
        if value.dtype.kind == "f":
            yield Case(op, {**feed, name: value.astype("int32")}, kept, args, refused=True)
    yield from wrong_arity(op, feed, kept, **args)


def storm(rng: np.random.Generator) -> Cases:
    kept = ["p", "m", "s"]
    for number_of, shape in enumerate(SHAPES * 4):
        feed = {"p": grid(rng, shape), "m": grid(rng, shape), "s": positive(rng, (1,))}
        feed |= {"g": grid(rng, shape), "lr": rate(rng)}
        args = pick(rng, [{}, {"momentum": 0.5}, {"beta": 2.0}, {"momentum": 2.0, "beta": 0.5}])
        outputs = kept if number_of % 3 else ["new_p", "new_m", "new_s"]
        yield Case("Storm", feed, outputs, args)
    yield Case("Storm", {**feed, "s": positive(rng, (2,))}, kept, refused=True)
    yield Case("Storm", {**feed, "lr": rate(rng).repeat(2)}, kept, refused=True)
    yield from refusals("Storm", feed, kept, {})


def wngrad(rng: np.random.Generator) -> Cases:
    kept = ["p", "b"]
    for number_of, shape in enumerate(SHAPES * 4):
        feed = {"p": grid(rng, shape), "b": positive(rng, (1,)), "g": grid(rng, shape)}
        feed["lr"] = rate(rng)
        args = pick(rng, [{}, {"epsilon": 0.5}])
        outputs = [*(kept if number_of % 3 else ["new_p", "new_b"]), "rate", "step"]
        yield Case("Wngrad", feed, outputs[: 2 + number_of % 4 % 3], args)
    yield from refusals("Wngrad", feed, kept, {})


def rows_of(rng: np.random.Generator) -> dict[str, np.ndarray]:
    width = pick(rng, [(), (1,), (3,), (2, 2)])
    count = int(rng.integers(0, 5))
    dtype = pick(rng, ["int32", "int64"])
    feed = {
        "p": grid(rng, (4, *width)),
        "m": grid(rng, (4, *width)),
        "g": grid(rng, (count, *width)),
    }
    return {**feed, "i": rng.integers(0, 4, count).astype(dtype), "lr": rate(rng)}


def sparse_storm(rng: np.random.Generator) -> Cases:
    kept = ["p", "m", "s"]
    for _ in range(24):
        feed = {**rows_of(rng), "s": positive(rng, (1,))}
        feed = {name: feed[name] for name in ("p", "m", "s", "g", "i", "lr")}
        args = pick(rng, [{}, {"momentum": 0.5}, {"beta": 2.0}])
        yield Case("SparseStorm", feed, kept, args)
    yield Case("SparseStorm", feed, ["new_p", "new_m", "new_s"], refused=True)
    yield Case("SparseStorm", {**feed, "i": grid(rng, feed["i"].shape)}, kept, refused=True)


def sparse_wngrad(rng: np.random.Generator) -> Cases:
    for _ in range(24):
        feed = {**rows_of(rng), "b": positive(rng, (1,))}
        feed = {name: feed[name] for name in ("p", "b", "i", "g", "lr")}
        yield Case("SparseWngrad", feed, ["p", "b"], pick(rng, [{}, {"epsilon": 0.5}]))
    yield Case("SparseWngrad", feed, ["new_p", "new_b"], refused=True)
    yield Case("SparseWngrad", {**feed, "i": grid(rng, feed["i"].shape)}, ["p", "b"], refused=True)


def gftrl(rng: np.random.Generator) -> Cases:
    variants: list[dict[str, Any]] = [
        {}, {"alpha": 0.5}, {"beta": 0.5, "lambda1": 0.5}, {"lambda1": 2.0, "lambda2": 0.5}
    ]  # fmt: skip
    for number_of, shape in enumerate(SHAPES * 4):
        two = np.stack([positive(rng, shape), grid(rng, shape)], -1)
        feed = {"p": grid(rng, shape), "z": two, "g": grid(rng, shape)}
        outputs = ["p", "z"] if number_of % 3 else ["new_p", "new_z"]
        yield Case("GFtrl", feed, outputs, pick(rng, variants))
    yield Case("GFtrl", {**feed, "a": number(0.5)}, ["p", "z"], {"alpha": 0.5}, refused=True)
    yield Case("GFtrl", {**feed, "a": number(0.5)}, ["p", "z"], note="alpha as an input")


def adaption(rng: np.random.Generator) -> Cases:
    for number_of, shape in enumerate([*SHAPES * 3, (0,)]):
        feed = {"lr": rate(rng), "g": grid(rng, shape), "e": grid(rng, shape)}
        variants = [{}, {"lr_alpha": 0.5}, {"normalized_lr_adaption": 0}]
        args = pick(rng, [*variants, {"lr_alpha": 0.5, "normalized_lr_adaption": 0}])
        yield Case("LearningRateAdaption", feed, ["lr"] if number_of % 2 else ["new"], args)
    for zero in ("g", "e"):
        yield Case("LearningRateAdaption", {**feed, zero: np.zeros(0, "float32")}, ["lr"])
    feed = {"lr": rate(rng), "g": np.zeros(3, "float32"), "e": grid(rng, (3,))}
    yield Case("LearningRateAdaption", feed, ["lr"])
    yield Case("LearningRateAdaption", {**feed, "lr": rate(rng).repeat(2)}, ["lr"], refused=True)
    yield from refusals("LearningRateAdaption", feed, ["lr"], {})


def row_counter(rng: np.random.Generator) -> Cases:
    kept = ["last", "count"]
    for number_of in range(24):
        size = int(rng.integers(1, 6))
        feed = {
            "last": rng.integers(0, 30, size),
            "count": positive(rng, (size,), "float64"),
            "i": rng.integers(0, size, int(rng.integers(0, 6))),
            "now": np.array([int(rng.integers(0, 60))]),
        }
        if number_of % 2:
            feed["i"] = feed["i"].astype("int32")
        yield Case("RowWiseCounter", feed, kept, {"counter_halflife": int(rng.integers(-1, 20))})
    yield Case("RowWiseCounter", feed, ["a", "b"], {"counter_halflife": 3}, refused=True)
    yield from refusals("RowWiseCounter", feed, kept, {"counter_halflife": 3})


CASES = {
    "Storm": storm,
    "SparseStorm": sparse_storm,
    "Wngrad": wngrad,
    "SparseWngrad": sparse_wngrad,
    "GFtrl": gftrl,
    "LearningRateAdaption": adaption,
    "RowWiseCounter": row_counter,
}
