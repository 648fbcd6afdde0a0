"""Segments reduced to one row each, by lengths, ids or ranges; and the gradients of that."""

from collections.abc import Callable

import numpy as np

from tools.golden.case import Case, Cases, gradient, grid, wrong_arity

# shape of the rows, lengths
LAYOUTS: list[tuple[tuple[int, ...], list[int]]] = [
    ((4, 2), [2, 2]),
    ((4,), [0, 3, 1, 0]),
    ((6, 2, 3), [1, 2, 3]),
    ((0, 2), []),
    ((0, 2), [0, 0]),
    ((5, 2), [2, 0, 3]),
    ((5, 1), [5]),
    ((7, 3), [1, 1, 4, 1]),
    ((12, 9), [7, 5]),
    ((3,), [1, 1, 1]),
    ((2, 0), [1, 1]),
]
KINDS = ("Lengths", "SortedSegment", "UnsortedSegment")


def told(rng: np.random.Generator, kind: str, lengths: list[int]) -> np.ndarray:
    if kind == "Lengths":
        return np.array(lengths, "int32")
    filled = [n for n in lengths if n] if kind == "SortedSegment" else lengths
    ids = np.repeat(np.arange(len(filled)), filled).astype("int32")
    return rng.permutation(ids) if kind == "UnsortedSegment" else ids


def feeds(rng: np.random.Generator, kind: str, reducer: str, sparse: bool) -> Cases:
    name = f"{'Sparse' if sparse else ''}{kind}{reducer}"
    for index, (shape, lengths) in enumerate([*LAYOUTS, *LAYOUTS]):
        table = shape[0] + 2 if sparse else shape[0]
        feed = {"X": grid(rng, (table, *shape[1:]))}
        if "Weighted" in reducer:
            feed["W"] = grid(rng, shape[:1])
        if sparse:
            feed["I"] = rng.integers(0, table, shape[0]).astype("int64" if index % 2 else "int32")
        feed["L"] = told(rng, kind, lengths)
        if reducer.startswith("Positional"):
            feed["W"] = grid(rng, (max([1, *lengths]),))
        more = kind == "UnsortedSegment" and index % 3 == 2
        yield Case(name, feed, args={"num_segments": len(lengths) + 1} if more else {})


def forward(kind: str, reducer: str, sparse: bool) -> Callable[[np.random.Generator], Cases]:
    def table(rng: np.random.Generator) -> Cases:
        yield from feeds(rng, kind, reducer, sparse)
        good = next(feeds(rng, kind, reducer, sparse))
        op, feed = good.op, good.feed
        if sparse and kind == "Lengths":
            yield Case(op, {**feed, "X": grid(rng, (6, 2), "float16")})
        for value in (feed["L"] + 1, feed["L"][1:], feed["L"][None]):
            yield Case(op, {**feed, "L": value}, refused=True)
        if kind == "SortedSegment":
            for wrong in ([0, 0, 2, 2], [1, 1, 2, 2], [-1, 0, 0, 1], [0, 1, 0, 1]):
                yield Case(op, {**feed, "L": np.array(wrong, "int32")}, refused=True)
        if kind == "UnsortedSegment":
            ids = np.array([0, -1, 0, 1], "int32")
            yield Case(op, {**feed, "L": ids}, refused=True)
            yield Case(op, feed, args={"num_segments": 1}, refused=True)
        if sparse:
            for wrong in ([0, 6, 1, 1], [0, -1, 1, 1]):
                yield Case(op, {**feed, "I": np.array(wrong, "int64")}, refused=True)
            yield Case(op, {**feed, "I": feed["I"][1:]}, refused=True)
        if reducer == "WeightedSum":
            yield Case(op, {**feed, "W": grid(rng, (3,))}, refused=True)
        for dtype in ("float64", "int32", "bool", "str"):
            wrong = grid(rng, feed["X"].shape, dtype)
            yield Case(op, {**feed, "X": wrong}, refused=True)
        yield Case(op, {**feed, "L": feed["L"].astype("int64")}, refused=True)
        yield from wrong_arity(op, feed, ["Y"])

    return table


def backward(
    kind: str, reducer: str, name: str, reads: list[str], sparse: bool
) -> Callable[[np.random.Generator], Cases]:
    def table(rng: np.random.Generator) -> Cases:
        outputs = ["dX", "dW"] if "WithMainInputG" in name else ["dX"]
        case = None
        for case in feeds(rng, kind, reducer, sparse):
            yield gradient(case, name, reads, outputs)
        assert case is not None
        yield Case(name, case.feed, outputs, reads=["X"], refused=True)

    return table


def ranges(reducer: str) -> Callable[[np.random.Generator], Cases]:
    def table(rng: np.random.Generator) -> Cases:
        yield from feeds(rng, "SortedSegment", f"Range{reducer}", False)
        op = f"SortedSegmentRange{reducer}"
        feed = {"X": grid(rng, (4, 2)), "L": np.array([0, 0, 1, 1], "int32")}
        yield Case(op, feed, args={"num_reduce_dim": 1})
        for wrong in ([0, 0, 2, 2], [1, 1, 2, 2], [-1, 0, 0, 1], [0, 1, 0, 1], [0, 0, 1]):
            yield Case(op, {**feed, "L": np.array(wrong, "int32")}, refused=True)
        for dtype in ("float64", "int32", "bool"):
            yield Case(op, {**feed, "X": grid(rng, (4, 2), dtype)}, refused=True)
        yield from wrong_arity(op, feed, ["Y"])

    return table


def ranges_gradient(reducer: str) -> Callable[[np.random.Generator], Cases]:
    def table(rng: np.random.Generator) -> Cases:
        for case in feeds(rng, "SortedSegment", f"Range{reducer}", False):
            yield gradient(case, f"{case.op}Gradient", ["X", "Y", "dY", "L"], ["dX"])

    return table


CASES = {}
for _kind in KINDS:
    for _sparse in (False, True):
        for _reducer in ("Sum", "Mean", "WeightedSum"):
            _weights = ["W"] if _reducer == "WeightedSum" else []
            _name = f"{'Sparse' if _sparse else ''}{_kind}{_reducer}"
            CASES[_name] = forward(_kind, _reducer, _sparse)
            CASES[f"{_name}Gradient"] = backward(
                _kind, _reducer, f"{_name}Gradient", [*_weights, "dY", "L"], _sparse
            )
CASES["LengthsMax"] = forward("Lengths", "Max", False)
CASES["SparseLengthsPositionalWeightedSum"] = forward("Lengths", "PositionalWeightedSum", True)
for _op, _reducer, _reads, _sparse in (
    ("LengthsMaxWithMainInputAndForwardOutputGradient", "Max", ["Y", "dY", "L", "X"], False),
    ("LengthsIndicesInGradientSumGradient", "Sum", ["dY", "L", "X"], False),
    ("LengthsIndicesInGradientMeanGradient", "Mean", ["dY", "L", "X"], False),
    ("SparseLengthsIndicesInGradientSumGradient", "Sum", ["dY", "L", "I"], True),
    ("SparseLengthsIndicesInGradientMeanGradient", "Mean", ["dY", "L", "I"], True),
    (
        "SparseLengthsIndicesInGradientWeightedSumGradient",
        "WeightedSum",
        ["W", "dY", "L", "I"],
        True,
    ),
    ("LengthsWeightedSumWithMainInputGradient", "WeightedSum", ["W", "dY", "L", "X"], False),
    (
        "SparseLengthsWeightedSumWithMainInputGradient",
        "WeightedSum",
        ["W", "dY", "L", "X", "I"],
        True,
    ),
    (
        "SparseLengthsIndicesInGradientWeightedSumWithMainInputGradient",
        "WeightedSum",
        ["W", "dY", "L", "X", "I"],
        True,
    ),
):
    CASES[_op] = backward("Lengths", _reducer, _op, _reads, _sparse)
for _reducer in ("Sum", "Mean", "Max", "LogSumExp", "LogMeanExp"):
    CASES[f"SortedSegmentRange{_reducer}"] = ranges(_reducer)
    CASES[f"SortedSegmentRange{_reducer}Gradient"] = ranges_gradient(_reducer)
