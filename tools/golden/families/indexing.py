"""Gather, scatter, slices, one-hot vectors, the largest elements."""

from typing import Any

import numpy as np

from tools.golden.case import ALL_TYPES, Case, Cases, Step, gradient, grid, pick, wrong_arity

# shape of the data, of the indices, axis
GATHERED: list[tuple[tuple[int, ...], tuple[int, ...], int]] = [
    ((3, 2), (2,), 0),
    ((4,), (3, 2), 0),
    ((3, 2), (), 0),
    ((3, 2), (0,), 0),
    ((5, 2, 3), (4,), 0),
    ((3, 2), (2,), 1),
    ((3, 4), (5,), -1),
    ((2, 3, 2), (2, 2), 1),
    ((2, 3, 4), (3,), -2),
    ((2, 3, 2), (0,), 1),
]
# the same for match_outer
MATCHED: list[tuple[tuple[int, ...], tuple[int, ...], int]] = [
    ((2, 3, 2), (2, 2), 1),
    ((2, 3, 2), (2,), 1),
    ((2, 3, 5), (2, 3, 2, 2), 2),
    ((2, 3, 2), (2, 4), -2),
    ((4, 3), (4, 2), 1),
]


def places(
    rng: np.random.Generator, size: int, shape: Any, low: int = 0, dtype: str = "int32"
) -> np.ndarray:
    return np.asarray(rng.integers(low, max(size, 1), shape)).astype(dtype)


def gather(rng: np.random.Generator) -> Cases:
    op = "Gather"
    for index, (data, shape, axis) in enumerate([*GATHERED, *GATHERED]):
        low = -data[0] if axis == 0 else 0
        at = places(rng, data[axis], shape, low, "int64" if index % 2 else "int32")
        dtype = [*ALL_TYPES, "str"][index % 11]
        yield Case(op, {"X": grid(rng, data, dtype), "I": at}, args={"axis": axis} if axis else {})
    for data, shape, axis in MATCHED:
        feed = {"X": grid(rng, data), "I": places(rng, data[axis], shape)}
        yield Case(op, feed, args={"axis": axis, "match_outer": 1})
    feed = {"X": grid(rng, (3, 2)), "I": np.array([0, -1], "int32")}
    yield Case(op, feed, args={"axis": 1, "wrap_indices": 1})
    yield Case(op, feed, args={"dense_gradient": 1})
    for args in ({"axis": 1}, {"wrap_indices": 0}, {"axis": 2}, {"match_outer": 1}):
        yield Case(op, feed, args=args, refused=True)
    for wrong in ([0, 3], [-4, 0]):
        yield Case(op, {**feed, "I": np.array(wrong, "int64")}, refused=True)
    for dtype in ("float32", "int16"):
        yield Case(op, {**feed, "I": np.array([0, 1], dtype)}, refused=True)
    yield Case(op, feed, ["X"], refused=True)
    yield from wrong_arity(op, feed, ["Y"])


def batch_feeds(rng: np.random.Generator) -> Cases:
    for index in range(22):
        match = bool(index % 2)
        options = [g for g in (MATCHED if match else GATHERED) if g[2] % len(g[0]) == 1]
        data, shape, _ = options[index // 2 % len(options)]
        feed = {"X": grid(rng, data), "I": places(rng, data[1], shape)}
        yield Case("BatchGather", feed, args={"match_outer": 1} if match else {})


def batch_gather(rng: np.random.Generator) -> Cases:
    yield from batch_feeds(rng)
    feed = {"X": grid(rng, (3, 2)), "I": np.array([0, 1], "int32")}
    for wrong in ([0, 2], [-1, 0]):
        yield Case("BatchGather", {**feed, "I": np.array(wrong, "int32")}, refused=True)
    yield Case("BatchGather", {**feed, "X": grid(rng, (3,))}, refused=True)
    yield from wrong_arity("BatchGather", feed, ["Y"])


def batch_gather_gradient(rng: np.random.Generator) -> Cases:
    op, reads = "BatchGatherGradient", ["X", "I", "dY"]
    for case in batch_feeds(rng):
        yield gradient(case, op, reads, ["dX"])
    for data, shape, axis in (*GATHERED, *MATCHED):
        feed = {"X": grid(rng, data), "I": places(rng, data[axis], shape)}
        args = {"axis": axis, "match_outer": int((data, shape, axis) in MATCHED)}
        yield gradient(Case("Gather", feed, args=args), op, reads, ["dX"])
    feed = {"X": grid(rng, (3, 2)), "I": np.array([0, 2], "int32"), "dY": grid(rng, (3, 2))}
    yield Case(op, feed, ["dX"], refused=True)


# ---------------------------------------------------------------- scatter

SCATTERED: list[tuple[tuple[int, ...], tuple[int, ...]]] = [
    ((3, 2), (2,)),
    ((4,), (5,)),
    ((3, 2, 2), (2, 2)),
    ((3, 2), ()),
    ((3, 2), (0,)),
    ((6, 5), (4,)),
]


def scatter_assign(rng: np.random.Generator) -> Cases:
    op = "ScatterAssign"
    types = ("float32", "float64", "int32", "int64", "uint8", "float16")
    for index in range(24):
        data, shape = SCATTERED[index % len(SCATTERED)]
        dtype = types[index // 6 + index % 3] if index // 6 < 4 else "float32"
        at = places(rng, data[0], shape, dtype="int64" if index % 2 else "int32")
        values = grid(rng, (at.size, *data[1:]), dtype)
        yield Case(op, {"X": grid(rng, data, dtype), "I": at, "S": values}, ["X"])
    feed = {"X": grid(rng, (3, 2)), "I": np.array([0, 2], "int32"), "S": grid(rng, (2, 2))}
    yield Case(op, {**feed, "S": grid(rng, (3, 2))}, ["X"], refused=True)
    yield Case(op, {**feed, "S": grid(rng, (2, 2), "float64")}, ["X"], refused=True)
    for dtype in ("bool", "int16", "str"):
        wrong = {"X": grid(rng, (3, 2), dtype), "I": feed["I"], "S": grid(rng, (2, 2), dtype)}
        yield Case(op, wrong, ["X"], refused=True)
    yield Case(op, feed, ["Y"], refused=True)
    yield Case(op, feed, ["X"], reads=["X", "I"], refused=True)


def scatter_weighted_sum(rng: np.random.Generator) -> Cases:
    op = "ScatterWeightedSum"
    for index in range(24):
        data, shape = SCATTERED[index % len(SCATTERED)]
        at = places(rng, data[0], shape, dtype="int64" if index % 2 else "int32")
        weight = grid(rng, (1,) if index % 3 else ()) if index % 4 else np.ones(1, "float32")
        feed = {"X": grid(rng, data), "w": weight, "I": at}
        for k in range(1 + index % 3):
            feed |= {f"X{k}": grid(rng, (at.size, *data[1:])), f"w{k}": grid(rng, (1,))}
        yield Case(op, feed, ["X"])
    one = np.ones(1, "float32")
    feed = {"X": grid(rng, (3, 2)), "w": one, "I": np.array([0, 2], "int32")}
    feed |= {"S": grid(rng, (2, 2)), "v": one}
    for wrong in ([0, 3], [-1, 0]):
        yield Case(op, {**feed, "I": np.array(wrong, "int32")}, ["X"], refused=True)
    yield Case(op, {**feed, "w": grid(rng, (2,))}, ["X"], refused=True)
    yield Case(op, {**feed, "S": grid(rng, (3, 2))}, ["X"], refused=True)
    yield Case(op, {**feed, "X": grid(rng, (3, 2), "int32")}, ["X"], refused=True)
    yield Case(op, feed, ["X"], reads=["X", "w", "I", "S", "v", "S"], refused=True)
    yield Case(op, feed, ["Y"], refused=True)


def sparse_to_dense(rng: np.random.Generator) -> Cases:
    op = "SparseToDense"
    for index in range(24):
        shape = [(2, 3), (4,), (0, 3), (1, 2, 2), (9, 5)][index % 5]
        dtype = ["float32", "int32", "int64"][index % 3]
        at = places(rng, 4, shape[:1], dtype="int64" if index % 2 else "int32")
        feed = {"I": at, "V": grid(rng, shape, dtype)}
        if index % 4 == 1:
            feed["D"] = grid(rng, (4, 7), pick(rng, ["float32", "int8"]))
        yield Case(op, feed, args={"output_first_dim": 6} if index % 4 == 2 else {})
    feed = {"I": np.array([0, 2], "int32"), "V": grid(rng, (2, 3))}
    yield Case(op, feed, args={"output_first_dim": 2}, refused=True)
    yield Case(op, {**feed, "D": grid(rng, (2,))}, refused=True)
    yield Case(op, {**feed, "D": grid(rng, (3,))}, args={"output_first_dim": 3}, refused=True)
    yield Case(op, {**feed, "I": np.array([0, -1], "int32")}, refused=True)
    yield Case(op, {**feed, "I": np.array([[0, 1]], "int32")}, refused=True)
    yield Case(op, {**feed, "V": grid(rng, (3, 3))}, refused=True)
    for dtype in ("float64", "float16", "bool", "uint8", "str"):
        yield Case(op, {**feed, "V": grid(rng, (2, 3), dtype)}, refused=True)
    yield from wrong_arity(op, feed, ["Y"])


def one_hot(rng: np.random.Generator) -> Cases:
    for index in range(22):
        size = 1 + index % 7
        at = places(rng, size, (1 + index % 5,), dtype="int64")
        shape = (1,) if index % 2 else ()
        yield Case("OneHot", {"I": at, "size": np.full(shape, size, "int64")})
    feed = {"I": np.array([0, 2], "int64"), "size": np.array([3], "int64")}
    yield Case("OneHot", {**feed, "size": np.array([3, 4], "int64")}, refused=True)
    yield Case("OneHot", {**feed, "I": np.array([[0, 2]], "int64")}, refused=True)
    yield Case("OneHot", {**feed, "I": np.array([0, 2], "int32")}, refused=True)
    yield from wrong_arity("OneHot", feed, ["Y"])


# ---------------------------------------------------------------- slices

SLICES: list[tuple[tuple[int, ...], list[int], list[int]]] = [
    ((3, 4), [0, 1], [-1, 3]),
    ((3, 4), [1], [2]),
    ((3, 4), [0, -2], [-1, -1]),
    ((3, 4), [0, 1], [-1, 9]),
    ((3, 4), [0, 2], [-1, 2]),
    ((3, 4), [0, 5], [-1, 5]),
    ((3, 4), [0, 0], [-1, -1]),
    ((3, 4), [0, -1], [-1, -1]),
    ((4,), [-3], [-2]),
    ((0, 3), [0, 1], [-1, 2]),
    ((2, 3, 4), [0, 1, 0], [-1, 2, -1]),
    ((2, 3, 4), [0, 0, 1], [-1, -1, -2]),
    ((5, 2), [2], [-2]),
]


def slice_feeds(rng: np.random.Generator) -> Cases:
    for index, (shape, starts, ends) in enumerate([*SLICES, *SLICES]):
        dtype = [*ALL_TYPES, "str"][index % 11]
        feed = {"X": grid(rng, shape, dtype)}
        if index % 3:
            yield Case("Slice", feed, args={"starts": starts, "ends": ends})
            continue
        kind = "int64" if index % 2 else "int32"
        feed |= {"starts": np.array(starts, kind), "ends": np.array(ends, kind)}
        yield Case("Slice", feed)


def slices(rng: np.random.Generator) -> Cases:
    yield from slice_feeds(rng)
    feed = {"X": grid(rng, (3, 4))}
    for starts, ends in (
        ([1, 1], [2, 3]),
        ([0, 3], [-1, 2]),
        ([0, -9], [-1, -1]),
        ([0, 0], [-1, -9]),
        ([0, 0, 0], [-1, -1, -1]),
        ([0, 0], [-1]),
    ):
        yield Case("Slice", feed, args={"starts": starts, "ends": ends}, refused=True)
    yield Case("Slice", feed, refused=True)
    vectors = {**feed, "starts": np.array([0, 1], "int32"), "ends": np.array([-1, 3], "int32")}
    yield Case("Slice", {**vectors, "starts": np.array([[0, 1]], "int32")}, refused=True)
    yield Case("Slice", {**vectors, "starts": grid(rng, (2,))}, refused=True)
    yield Case("Slice", vectors, reads=["X", "starts"], refused=True)
    yield from wrong_arity("Slice", vectors, ["Y"])


def slice_gradient(rng: np.random.Generator) -> Cases:
    for case in slice_feeds(rng):
        feed = {**case.feed, "X": grid(rng, case.feed["X"].shape)}
        forward = Step("Slice", list(feed), ["Y"], case.args)
        reads = [*feed, "dY"]
        yield Case(
            "SliceGradient",
            feed,
            ["dX"],
            case.args,
            reads=reads,
            before=[forward],
            like={"dY": "Y"},
        )


# ---------------------------------------------------------------- the largest

TOPS: list[tuple[tuple[int, ...], int, int]] = [
    ((2, 4), 2, -1),
    ((2, 4), 4, -1),
    ((2, 4), 6, -1),
    ((4,), 2, 0),
    ((3, 4), 1, 0),
    ((3, 4), 5, 0),
    ((2, 3, 4), 2, 1),
    ((0, 3), 2, -1),
    ((3, 0), 2, -1),
    ((5, 12), 7, -1),
    ((1, 20), 20, -1),
]


def top_feeds(rng: np.random.Generator) -> Cases:
    for index, (shape, k, axis) in enumerate([*TOPS, *TOPS]):
        feed = {"X": grid(rng, shape)}
        args = {} if axis == -1 else {"axis": axis}
        outputs = ["V", "I", "F"][: 2 + index % 2]
        if index % 3:
            yield Case("TopK", feed, outputs, {**args, "k": k})
        else:
            yield Case("TopK", {**feed, "k": np.array([k], "int64")}, outputs, args)


def top(rng: np.random.Generator) -> Cases:
    yield from top_feeds(rng)
    feed, two = {"X": grid(rng, (2, 4))}, ["V", "I"]
    for args in ({}, {"k": 0}, {"k": -3}, {"k": 1, "axis": 2}, {"k": 1, "axis": -2}):
        yield Case("TopK", feed, two, args, refused=True)
    yield Case("TopK", {**feed, "k": np.array([2], "int32")}, two, refused=True)
    yield Case("TopK", {**feed, "k": np.array([2, 3], "int64")}, two, refused=True)
    for dtype in ("float64", "int32", "float16"):
        yield Case("TopK", {"X": grid(rng, (2, 4), dtype)}, two, {"k": 2}, refused=True)
    yield Case("TopK", feed, ["V"], {"k": 2}, refused=True)


def top_gradient(rng: np.random.Generator) -> Cases:
    for case in top_feeds(rng):
        forward = Step("TopK", case.inputs, ["V", "I"], case.args)
        yield Case(
            "TopKGradient",
            case.feed,
            ["dX"],
            {"axis": case.args.get("axis", -1)},
            reads=["dV", "I", "X"],
            before=[forward],
            like={"dV": "V"},
        )
    at = np.array([[0, 3], [1, 2]], "int32")
    feed = {"dV": grid(rng, (2, 2)), "I": at, "X": grid(rng, (2, 4))}
    yield Case("TopKGradient", feed, ["dX"], refused=True)
    yield from wrong_arity("TopKGradient", {**feed, "I": at.astype("int64")}, ["dX"])


def ensure_dense(rng: np.random.Generator) -> Cases:
    for index in range(22):
        dtype = [*ALL_TYPES, "str"][index % 11]
        shape = [(5,), (3,), (2, 3), (2, 1, 4)][index % 4]
        feed = {"X": grid(rng, shape, dtype)}
        yield Case("EnsureDense", feed, ["X"] if index % 3 == 0 else ["Y"])
    yield Case("EnsureDense", {"X": grid(rng, ())}, refused=True)
    yield from wrong_arity("EnsureDense", {"X": grid(rng, (2, 3))}, ["Y"])


CASES = {
    "Gather": gather,
    "BatchGather": batch_gather,
    "BatchGatherGradient": batch_gather_gradient,
    "ScatterAssign": scatter_assign,
    "ScatterWeightedSum": scatter_weighted_sum,
    "SparseToDense": sparse_to_dense,
    "OneHot": one_hot,
    "Slice": slices,
    "SliceGradient": slice_gradient,
    "TopK": top,
    "TopKGradient": top_gradient,
    "EnsureDense": ensure_dense,
}
