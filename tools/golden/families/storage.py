"""Other shapes and places for the same elements, float16, random choices, chosen products."""

import numpy as np

from tools.golden.case import ALL_TYPES, Case, Cases, grid, positive, wrong_arity

ANY = (*ALL_TYPES, "str")


def prepend(rng: np.random.Generator) -> Cases:
    for index in range(24):
        feed = {"X": grid(rng, [(4,), (6, 2), (2, 0, 3)][index % 3], ANY[index % 11])}
        yield Case("PrependDim", feed, ["X"] if index % 5 == 0 else ["Y"], {"dim_size": 2})
    X = {"X": grid(rng, (4, 2))}
    yield Case("PrependDim", X, args={"dim_size": 3}, refused=True)
    yield Case("PrependDim", X, refused=True)


def merge(rng: np.random.Generator) -> Cases:
    for index in range(24):
        feed = {"X": grid(rng, [(4, 2), (2, 3, 2), (2, 0, 3)][index % 3], ANY[index % 11])}
        yield Case("MergeDim", feed, ["X"] if index % 5 == 0 else ["Y"])
    yield Case("MergeDim", {"X": grid(rng, (4,))}, refused=True)
    yield from wrong_arity("MergeDim", {"X": grid(rng, (4, 2))}, ["Y"])


def alias(rng: np.random.Generator) -> Cases:
    for index in range(24):
        feed = {"X": grid(rng, [(4,), (2, 3), (2, 0)][index % 3], ANY[index % 11])}
        yield Case("AliasWithName", feed, args={"name": "a", "is_backward": index % 2})
    yield Case("AliasWithName", feed, refused=True)


def coalesce(rng: np.random.Generator) -> Cases:
    for index in range(24):
        shapes = [(2, 3), (4,), (1, 1, 2)][: 1 + index % 3]
        feed = {f"X{k}": grid(rng, shape) for k, shape in enumerate(shapes)}
        first = list(feed) if index % 4 == 0 else [f"Y{k}" for k in range(len(feed))]
        yield Case("UnsafeCoalesce", feed, [*first, "whole"])
    yield Case("UnsafeCoalesce", {"X": grid(rng, (2,), "float64")}, ["Y", "whole"], refused=True)
    yield Case("UnsafeCoalesce", {"X": grid(rng, (2,))}, ["Y"], refused=True)


def couple(rng: np.random.Generator) -> Cases:
    for index in range(24):
        feed = {f"X{k}": grid(rng, (k, 2), ANY[(index + k) % 11]) for k in range(1 + index % 3)}
        yield Case("DataCouple", feed, list(feed)[: 1 + index % 2])
    yield Case("DataCouple", feed, ["Y"], refused=True)


def numpy_tile(rng: np.random.Generator) -> Cases:
    for index in range(24):
        shape = [(3,), (2, 3), (2, 1, 3)][index % 3]
        repeats = rng.integers(0 if index % 5 == 0 else 1, 4, len(shape))
        yield Case("NumpyTile", {"X": grid(rng, shape, ANY[index % 11]), "R": repeats})
    feed = {"X": grid(rng, (2, 3)), "R": np.array([1, -1])}
    yield Case("NumpyTile", feed, refused=True)
    yield Case("NumpyTile", {**feed, "R": np.array([2])}, refused=True)


def to_half(rng: np.random.Generator) -> Cases:
    for index in range(24):
        X = grid(rng, (index, 2)) * np.float32(10.0 ** (index % 9 - 3))
        yield Case("FloatToHalf", {"X": X}, args={"clip": index % 2})
    yield Case("FloatToHalf", {"X": grid(rng, (2,), "float64")}, refused=True)
    yield from wrong_arity("FloatToHalf", {"X": grid(rng, (2,))}, ["Y"])


def to_single(rng: np.random.Generator) -> Cases:
    for index in range(24):
        yield Case("HalfToFloat", {"X": grid(rng, (index, 2), "float16")})
    yield Case("HalfToFloat", {"X": grid(rng, (2,))}, refused=True)


def half_constant(rng: np.random.Generator) -> Cases:
    for index in range(24):
        args = {"shape": [index % 4, 3][: index % 3], "value": index / 16}
        yield Case("Float16ConstantFill", {}, args=args)


def half_uniform(rng: np.random.Generator) -> Cases:
    for index in range(24):
        args = {"shape": [50, 1 + index], "min": index / 8, "max": index / 4 + 1}
        yield Case("Float16UniformFill", {}, args=args, random=True)
    yield Case("Float16UniformFill", {}, args={"shape": [2], "min": 1.0}, refused=True)


def diagonal(rng: np.random.Generator) -> Cases:
    shapes = [(3, 3), (2, 4), (5, 2), (1, 1), (2, 2, 2), (4, 1)]
    for index in range(24):
        shape = shapes[index % 6]
        value = [1.5, 2, True][index % 3]
        if index % 2:
            yield Case("DiagonalFill", {"X": grid(rng, shape)}, args={"value": value})
        else:
            yield Case("DiagonalFill", {}, args={"shape": list(shape), "value": value})
    for dtype in (1, 2, 3, 5, 6, 7, 10, 13):
        yield Case("DiagonalFill", {}, args={"shape": [2, 3], "dtype": dtype})
    yield Case("DiagonalFill", {}, args={"shape": [3]}, refused=True)
    yield Case("DiagonalFill", {}, args={"shape": [3, 2, 3]}, refused=True)


def different(rng: np.random.Generator) -> Cases:
    op = "UniqueUniformFill"
    for index in range(24):
        name, dtype = [("int32", 2), ("int64", 10)][index % 2]
        feed = {"X": grid(rng, (5, 2)), "avoid": np.arange(index % 4).astype(name)}
        args = {"min": 0, "max": 20 + index, "dtype": dtype}
        yield Case(op, feed, args=args, random=True)
    for bad in ({}, {"min": 3, "max": 3}, {"min": 0, "max": 3, "dtype": 1}, {"min": 0, "max": 3}):
        yield Case(op, {"X": grid(rng, (5, 2))}, args=bad, refused=True)


def sample(rng: np.random.Generator) -> Cases:
    for index in range(24):
        feed = {"W": positive(rng, (1 + index % 5, 1 + index % 4))}
        if index % 2:
            feed["V"] = grid(rng, feed["W"].shape)
        yield Case("WeightedSample", feed, ["I", "C"][: len(feed)], random=True)
    yield Case("WeightedSample", feed, ["I"], refused=True)


def multi_sample(rng: np.random.Generator) -> Cases:
    for index in range(24):
        feed = {"S": np.cumsum(positive(rng, (index % 6,))).astype("float32")}
        if index % 2:
            feed["like"] = grid(rng, (2, 3))
        args = {} if index % 2 else {"num_samples": index}
        yield Case("WeightedMultiSampling", feed, args=args, random=True)
    yield Case("WeightedMultiSampling", {"S": grid(rng, (2, 2))}, refused=True)
    yield Case("WeightedMultiSampling", feed, args={"num_samples": -1}, refused=True)


def dropped(rng: np.random.Generator) -> Cases:
    op, outputs = "SparseDropoutWithReplacement", ["Y", "M"]
    for index in range(24):
        sizes = rng.integers(0, 4, 1 + index % 5).astype("int32")
        feed = {"X": rng.integers(0, 9, sizes.sum()), "L": sizes}
        yield Case(op, feed, outputs, {"ratio": float(index % 2), "replacement_value": 7})
    yield Case(op, {**feed, "L": feed["L"] + 1}, outputs, refused=True)
    yield Case(op, feed, outputs, {"ratio": 1.5}, refused=True)


def pairs(rng: np.random.Generator) -> Cases:
    op = "ConcatBatchMatMulBatchGatherOp"
    for index in range(24):
        count = 1 + index % 3
        at = rng.integers(0, count * count, 1 + index % 5).astype("int32")
        vectors = {f"X{k}": grid(rng, (1 + index % 4, 3)) for k in range(count)}
        yield Case(op, {"I": at, **vectors})


CASES = {
    "PrependDim": prepend,
    "MergeDim": merge,
    "AliasWithName": alias,
    "UnsafeCoalesce": coalesce,
    "DataCouple": couple,
    "NumpyTile": numpy_tile,
    "FloatToHalf": to_half,
    "HalfToFloat": to_single,
    "Float16ConstantFill": half_constant,
    "Float16UniformFill": half_uniform,
    "DiagonalFill": diagonal,
    "UniqueUniformFill": different,
    "WeightedSample": sample,
    "WeightedMultiSampling": multi_sample,
    "SparseDropoutWithReplacement": dropped,
    "ConcatBatchMatMulBatchGatherOp": pairs,
}
