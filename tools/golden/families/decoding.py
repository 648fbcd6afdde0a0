"""ViterbiPath, SwapBestPath, NGramFromCategorical, the CTC decoders, padding by lengths."""

from typing import Any

import numpy as np

from tools.golden.case import Case, Cases, grid, pick, wrong_arity

F = np.float32


def viterbi(rng: np.random.Generator) -> Cases:
    for _ in range(24):
        steps, classes = int(rng.integers(1, 8)), int(rng.integers(1, 6))
        scores = rng.standard_normal((steps, classes)).astype(F)
        moves = rng.standard_normal((classes, classes)).astype(F)
        yield Case("ViterbiPath", {"X": scores, "T": moves})
    yield Case("ViterbiPath", {"X": scores.astype("float64"), "T": moves}, refused=True)
    yield from wrong_arity("ViterbiPath", {"X": scores, "T": moves}, ["Y"])


def swap(rng: np.random.Generator) -> Cases:
    for _ in range(24):
        steps, classes = int(rng.integers(1, 8)), int(rng.integers(1, 6))
        scores = rng.standard_normal((steps, classes)).astype(F)
        path = rng.integers(0, classes, steps).astype("int32")
        yield Case("SwapBestPath", {"X": scores, "P": path})
    yield Case("SwapBestPath", {"X": scores, "P": path.astype("int64")}, refused=True)
    yield from wrong_arity("SwapBestPath", {"X": scores, "P": path}, ["Y"])


def ngram(rng: np.random.Generator) -> Cases:
    for number in range(26):
        width = int(rng.integers(1, 6))
        columns = rng.permutation(width)[: int(rng.integers(1, width + 1))]
        limits = [int(n) for n in rng.integers(1, 5, len(columns))]
        values = [int(v) for n in limits for v in rng.permutation(9)[:n] - 3]
        args = {"col_ids": [int(c) for c in columns], "categorical_limits": limits, "vals": values}
        x = rng.integers(-4, 8, (int(rng.integers(0, 5)), width)).astype(F)
        if number % 2:
            x += rng.integers(-3, 4, x.shape).astype(F) / 4
        yield Case("NGramFromCategorical", {"X": x}, args=args)
    yield Case("NGramFromCategorical", {"X": x}, args={**args, "col_ids": [9]}, refused=True)
    yield Case("NGramFromCategorical", {"X": x}, args={**args, "vals": values[1:]}, refused=True)
    negative = {**args, "categorical_limits": [0] * len(limits)}
    yield Case("NGramFromCategorical", {"X": x}, args=negative, refused=True)
    yield Case("NGramFromCategorical", {"X": x.astype("int32")}, args=args, refused=True)
    yield from wrong_arity("NGramFromCategorical", {"X": x}, ["Y"], **args)


def probabilities(rng: np.random.Generator, classes: int) -> dict[str, np.ndarray]:
    steps, batch = int(rng.integers(1, 7)), int(rng.integers(1, 4))
    raw = rng.gamma(0.6, 1, (steps, batch, classes)) + 1e-4
    feed = {"X": (raw / raw.sum(-1, keepdims=True)).astype(F)}
    if rng.integers(0, 2):
        feed["L"] = rng.integers(1, steps + 1, batch).astype("int32")
    return feed


def greedy(rng: np.random.Generator) -> Cases:
    outputs = ["N", "V"]
    for number in range(26):
        feed = probabilities(rng, 2 + number % 4)
        yield Case("CTCGreedyDecoder", feed, outputs, pick(rng, [{}, {"merge_repeated": 0}]))
    feed = {"X": feed["X"], "L": np.full(feed["X"].shape[1], 99, "int32")}
    yield Case("CTCGreedyDecoder", feed, outputs, refused=True)
    yield from wrong_arity("CTCGreedyDecoder", {"X": feed["X"]}, outputs)


def beam(rng: np.random.Generator) -> Cases:
    outputs = ["N", "V", "P"]
    variants: list[dict[str, Any]] = [
        {}, {"beam_width": 3}, {"num_candidates": 3}, {"beam_width": 2, "num_candidates": 2},
        {"prune_threshold": 0.1}, {"prune_threshold": 0.9},
    ]  # fmt: skip
    for number in range(30):
        feed = probabilities(rng, 2 + number % 4)
        yield Case("CTCBeamSearchDecoder", feed, outputs, variants[number % len(variants)])
    feed = {"X": feed["X"], "L": np.full(feed["X"].shape[1], 99, "int32")}
    yield Case("CTCBeamSearchDecoder", feed, outputs, refused=True)


def padding(rng: np.random.Generator) -> Cases:
    op = "VariableLengthSequencePadding"
    for _ in range(22):
        steps, batch = int(rng.integers(1, 6)), int(rng.integers(1, 4))
        x = grid(rng, (steps, batch, int(rng.integers(1, 4))))
        lengths = rng.integers(0, steps + 1, batch).astype("int32")
        yield Case(op, {"X": x, "L": lengths}, ["X"])
    yield Case(op, {"X": x, "L": lengths.astype("int64")}, ["X"], refused=True)
    yield Case(op, {"X": x[..., 0], "L": lengths}, ["X"], refused=True)


CASES = {
    "ViterbiPath": viterbi,
    "SwapBestPath": swap,
    "NGramFromCategorical": ngram,
    "CTCGreedyDecoder": greedy,
    "CTCBeamSearchDecoder": beam,
    "VariableLengthSequencePadding": padding,
}
