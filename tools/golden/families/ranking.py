"""Similarities, losses of two classes, losses of rankings, and their gradients."""

from functools import partial
from typing import Any

import numpy as np

from tools.golden.case import Case, Cases, grid, wrong_arity
from tools.golden.families.functions import inside, share

Rng = np.random.Generator
ROUNDS = 22
SHAPES = [(2, 3), (4,), (2, 3, 4), (0, 3), (1, 1), (6, 5)]


def signs(rng: Rng, shape: Any) -> np.ndarray:
    return rng.choice([-1, 1], shape).astype("int32")


def similar(op: str, rng: Rng) -> Cases:
    for index in range(ROUNDS):
        shape = SHAPES[index % 6]
        yield Case(op, {"X": grid(rng, shape), "Y": grid(rng, shape)}, ["Z"])
    feed = {"X": grid(rng, (2, 3)), "Y": grid(rng, (2, 3))}
    yield Case(op, {**feed, "Y": grid(rng, (3, 2))}, ["Z"], refused=True)
    yield from wrong_arity(op, feed, ["Z"])


def similar_gradient(op: str, rng: Rng) -> Cases:
    for index in range(ROUNDS):
        shape = SHAPES[index % 6]
        x, y = (grid(rng, shape) + np.float32(0.03125) for _ in "xy")
        feed = {"X": x, "Y": y, "dZ": grid(rng, shape[:1])}
        yield Case(op, feed, ["dX", "dY"])


def padded(op: str, rng: Rng) -> Cases:
    for index in range(ROUNDS):
        rows, long, short = [(2, 4, 2), (3, 3, 3), (1, 6, 2), (2, 5, 2)][index % 4]
        args = [{}, {"pad_value": 1.5}, {"replicate": 1}][index % 3]
        if "replicate" in args and long % short:
            args = {}
        feed = {"X": grid(rng, (rows, long)), "Y": grid(rng, (rows, short))}
        if index % 2:
            feed = {"X": feed["Y"], "Y": feed["X"]}
        if op.endswith("Gradient"):
            yield Case(op, {**feed, "dZ": grid(rng, (rows,))}, ["dX", "dY"], args)
        else:
            yield Case(op, feed, ["Z"], args)


def two_classes(rng: Rng) -> Cases:
    for index in range(ROUNDS):
        yield Case("MakeTwoClass", {"X": share(rng, SHAPES[index % 6])})
    yield from wrong_arity("MakeTwoClass", {"X": share(rng, (2,))}, ["Y"])


def two_classes_gradient(rng: Rng) -> Cases:
    for index in range(ROUNDS):
        yield Case("MakeTwoClassGradient", {"dY": grid(rng, (*SHAPES[index % 6], 2))}, ["dX"])
    yield Case("MakeTwoClassGradient", {"dY": grid(rng, (2, 3))}, ["dX"], refused=True)


def weighted(op: str, rng: Rng) -> Cases:
    names = ("logits", "targets", "weights")
    for index in range(ROUNDS):
        shape = SHAPES[index % 6]
        feed = {name: grid(rng, shape) for name in names}
        if op.endswith("Gradient"):
            feed = {"dY": grid(rng, shape[:-1]), **feed}
        yield Case(op, feed)
    wrong = {**feed, "weights": grid(rng, (2, 2))}
    yield Case(op, wrong, refused=True)
    yield from wrong_arity(op, feed, ["Y"])


def coins(op: str, rng: Rng) -> Cases:
    for index in range(ROUNDS):
        shape = SHAPES[index % 6]
        feed = {name: (share(rng, shape) * 30 + 1) / 32 for name in "XT"}
        feed = {name: x.astype("float32") for name, x in feed.items()}
        if op.endswith("Gradient"):
            feed = {"dL": grid(rng, shape), **feed}
        yield Case(op, feed, ["Y"])
    yield Case(op, {**feed, "T": share(rng, (7,))}, ["Y"], refused=True)
    yield from wrong_arity(op, feed, ["Y"])


def embedding(op: str, rng: Rng) -> Cases:
    for index in range(ROUNDS):
        shape = SHAPES[index % 6]
        feed = {"S": inside(rng, shape), "Y": signs(rng, shape)}
        if op.endswith("Gradient"):
            feed["dloss"] = grid(rng, shape)
        yield Case(op, feed, ["L"], {"margin": 0.25} if index % 2 else {})
    yield Case(op, {**feed, "Y": signs(rng, (7,))}, ["L"], refused=True)
    yield Case(op, {**feed, "Y": feed["Y"].astype("float32")}, ["L"], refused=True)
    yield from wrong_arity(op, feed, ["L"])


def margin(op: str, rng: Rng) -> Cases:
    backward = op.endswith("Gradient")
    outputs = ["dX1", "dX2"] if backward else ["L"]
    for index in range(ROUNDS):
        shape = SHAPES[index % 6]
        feed = {"X1": grid(rng, shape), "X2": grid(rng, shape), "Y": signs(rng, shape)}
        if backward:
            feed["dloss"] = grid(rng, shape)
        yield Case(op, feed, outputs, {"margin": 0.25} if index % 2 else {})
    yield Case(op, {**feed, "X2": grid(rng, (7,))}, outputs, refused=True)
    yield from wrong_arity(op, feed, outputs)


SESSIONS = [[3, 2], [4], [1, 0, 3], None, [2, 2, 2]]


def pairs(op: str, rng: Rng) -> Cases:
    backward = op.endswith("Gradient")
    for index in range(ROUNDS):
        sessions = SESSIONS[index % 5]
        count = 5 if sessions is None else sum(sessions)
        shape = (count, 1) if index % 2 else (count,)
        feed = {"X": grid(rng, shape), "label": rng.integers(0, 3, shape).astype("float32")}
        if backward:
            feed["dY"] = grid(rng, (1 if sessions is None else len(sessions),))
        if sessions is not None:
            feed["lengths"] = np.array(sessions, "int32")
        yield Case(op, feed)
    feed["lengths"] = np.array([1] * len(feed.get("lengths", [0])), "int32")
    yield Case(op, feed, refused=True)
    yield Case(op, {**feed, "X": grid(rng, (2, 2))}, refused=True)


def rank(rng: Rng) -> Cases:
    for index in range(ROUNDS):
        sessions = [s for s in SESSIONS if s][index % 4]
        count = sum(sessions)
        scores = rng.permutation(count).astype("float32") / 4
        feed = {
            "y": scores,
            "r": rng.integers(0, 4, count).astype("float32"),
            "lengths": np.array(sessions, "int32"),
        }
        args = {
            "use_ndcg_as_loss": index % 2,
            "use_idcg_normalization": index // 2 % 2,
            "use_exp_gain": index // 4 % 2,
        }
        yield Case("LambdaRankNdcg", feed, ["loss", "dy"], args if index > 3 else {})
    yield Case("LambdaRankNdcg", {**feed, "r": grid(rng, (9,))}, ["loss", "dy"], refused=True)
    yield from wrong_arity("LambdaRankNdcg", feed, ["loss", "dy"])


def rank_gradient(rng: Rng) -> Cases:
    for index in range(ROUNDS):
        sessions = [s for s in SESSIONS if s][index % 4]
        count = sum(sessions)
        feed = {
            "y": grid(rng, (count,)),
            "lengths": np.array(sessions, "int32"),
            "dy": grid(rng, (count,)),
            "dloss": grid(rng, (len(sessions),)),
        }
        yield Case("LambdaRankNdcgGradient", feed)
    yield Case("LambdaRankNdcgGradient", {**feed, "dloss": grid(rng, (9,))}, refused=True)


def both(maker: Any, op: str) -> dict[str, Any]:
    return {name: partial(maker, name) for name in (op, f"{op}Gradient")}


CASES = {
    **{op: partial(similar, op) for op in ("DotProduct", "CosineSimilarity")},
    **{
        op: partial(similar_gradient, op)
        for op in ("DotProductGradient", "CosineSimilarityGradient")
    },
    **both(padded, "DotProductWithPadding"),
    "MakeTwoClass": two_classes,
    "MakeTwoClassGradient": two_classes_gradient,
    **both(weighted, "WeightedSigmoidCrossEntropyWithLogits"),
    **both(coins, "BernoulliJSD"),
    **both(embedding, "CosineEmbeddingCriterion"),
    **both(margin, "MarginRankingCriterion"),
    **both(pairs, "PairWiseLoss"),
    "LambdaRankNdcg": rank,
    "LambdaRankNdcgGradient": rank_gradient,
}
