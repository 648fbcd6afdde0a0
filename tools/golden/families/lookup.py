"""Buckets, lists of indices, masks, permuted and scattered rows, keys, unique elements."""

import math

import numpy as np

from tools.golden.case import ALL_TYPES, Case, Cases, grid, wrong_arity

INDEX = ("int32", "int64")
ANY = (*ALL_TYPES, "str")


def i4(*values: int) -> np.ndarray:
    return np.array(values, "int32")


def i8(*values: int) -> np.ndarray:
    return np.array(values, "int64")


def lengths(rng: np.random.Generator, count: int, most: int = 4) -> np.ndarray:
    return rng.integers(0, most, count).astype("int32")


def edges(rng: np.random.Generator, sizes: np.ndarray) -> np.ndarray:
    parts = [np.sort(grid(rng, (n,))) for n in sizes]
    return np.concatenate([[], *parts]).astype("float32")


# ---------------------------------------------------------------- buckets


def bucketize(rng: np.random.Generator) -> Cases:
    for index in range(24):
        bounds = np.sort(grid(rng, (index % 6,))).tolist()
        yield Case(
            "Bucketize", {"X": grid(rng, [(5,), (3, 4)][index % 2])}, args={"boundaries": bounds}
        )
    yield Case("Bucketize", {"X": grid(rng, (3,))}, args={"boundaries": [2.0, 1.0]}, refused=True)
    yield Case(
        "Bucketize", {"X": grid(rng, (3,), "int32")}, args={"boundaries": [1.0]}, refused=True
    )


def batch_bucketize(rng: np.random.Generator) -> Cases:
    op = "BatchBucketize"
    for index in range(24):
        count = 1 + index % 4
        sizes = lengths(rng, count) + 1
        columns = rng.integers(0, 5, count).astype("int32")
        yield Case(
            op,
            {"X": grid(rng, (1 + index % 5, 5)), "I": columns, "B": edges(rng, sizes), "L": sizes},
        )
    feed = {"X": grid(rng, (2, 3)), "I": i4(0, 1), "B": np.ones(3, "float32"), "L": i4(2, 2)}
    yield Case(op, feed, refused=True)
    yield Case(op, {**feed, "L": i4(3)}, refused=True)
    yield from wrong_arity(op, {**feed, "L": i4(1, 2)}, ["Y"])


def batch_one_hot(rng: np.random.Generator) -> Cases:
    op = "BatchOneHot"
    for index in range(24):
        dtype, width = INDEX[index % 2], 1 + index % 4
        sizes = lengths(rng, width)
        values = grid(rng, (int(sizes.sum()),), dtype)
        yield Case(op, {"X": grid(rng, (1 + index % 5, width), dtype), "L": sizes, "V": values})
    feed = {"X": grid(rng, (2, 2), "int32"), "L": i4(1, 1), "V": i4(1, 2)}
    yield Case(op, {**feed, "L": i4(1, 2)}, refused=True)
    yield Case(op, {**feed, "L": i4(2)}, refused=True)
    yield Case(op, {**feed, "V": i8(1, 2)}, refused=True)


def batch_bucket_one_hot(rng: np.random.Generator) -> Cases:
    op = "BatchBucketOneHot"
    for index in range(24):
        sizes = lengths(rng, 1 + index % 4) + 1
        feed = {"X": grid(rng, (1 + index % 5, len(sizes))), "L": sizes, "B": edges(rng, sizes)}
        yield Case(op, feed)
    yield Case(op, {**feed, "L": feed["L"] + 1}, refused=True)
    yield Case(op, {**feed, "X": grid(rng, (2, 9))}, refused=True)


# ---------------------------------------------------------------- lists


def some_lists(rng: np.random.Generator, index: int) -> tuple[dict[str, np.ndarray], int]:
    width = 1 + index % 5
    sizes = rng.integers(0, width + 1, 1 + index % 4)
    parts = [rng.permutation(width)[:n] for n in sizes]
    return {"L": sizes, "I": np.concatenate([i8(), *parts]).astype("int64")}, width


def batch_sparse_to_dense(rng: np.random.Generator) -> Cases:
    op = "BatchSparseToDense"
    for index in range(24):
        feed, width = some_lists(rng, index)
        feed["V"] = grid(rng, feed["I"].shape)
        args = {"dense_last_dim": width, "default_value": 1.5 * (index % 2)}
        if index % 3 == 0:
            feed["D"] = grid(rng, (2, width))
            args = {"default_value": 0.5}
        yield Case(op, feed, args=args)
    feed = {"L": i8(1, 1), "I": i8(0, 2), "V": grid(rng, (2,))}
    yield Case(op, feed, args={"dense_last_dim": 2}, refused=True)
    yield Case(op, feed, refused=True)
    yield Case(op, {**feed, "L": i8(1, 2)}, args={"dense_last_dim": 3}, refused=True)
    yield Case(op, {**feed, "V": grid(rng, (3,))}, args={"dense_last_dim": 3}, refused=True)


def batch_dense_to_sparse(rng: np.random.Generator) -> Cases:
    op = "BatchDenseToSparse"
    for index in range(24):
        feed, width = some_lists(rng, index)
        yield Case(op, {**feed, "D": grid(rng, (len(feed["L"]), width))})
    feed = {"L": i8(1, 1), "I": i8(0, 2), "D": grid(rng, (2, 2))}
    yield Case(op, feed, refused=True)
    yield Case(op, {**feed, "L": i8(1)}, refused=True)


def segment_one_hot(rng: np.random.Generator) -> Cases:
    for index in range(24):
        sizes = lengths(rng, 1 + index % 5)
        feed = {"L": sizes, "I": rng.integers(0, 3, sizes.sum()), "size": i8(3 + index % 2)}
        yield Case("SegmentOneHot", feed)
    feed = {"L": i4(2), "I": i8(0, 1), "size": i8(3)}
    yield Case("SegmentOneHot", {**feed, "I": i4(0, 1)}, refused=True)
    yield from wrong_arity("SegmentOneHot", feed, ["Y"])


def sparse_to_dense_mask(rng: np.random.Generator) -> Cases:
    op, mask = "SparseToDenseMask", [3, 7, 2, 300000]
    for index in range(26):
        block = [(), (2,), (2, 3)][index % 3]
        sizes = lengths(rng, 3)
        count = int(sizes.sum()) if index % 2 else 4
        at = rng.choice([1, 2, 3, 7, -1, 300000], count).astype(INDEX[index % 2])
        dtype = ANY[index % 11]
        feed = {"I": at, "V": grid(rng, (count, *block), dtype), "D": grid(rng, block, dtype)}
        if index % 2:
            feed["L"] = sizes
        more = index % 4 > 1
        args = {"mask": mask, "return_presence_mask": int(more)}
        yield Case(op, feed, ["Y", "seen"] if more else ["Y"], args)
    feed = {"I": i4(3, -1), "V": grid(rng, (2, 2)), "D": grid(rng, (2,))}
    for bad in ({}, {"mask": [1, 1]}, {"mask": [-1]}, {"mask": mask, "max_skipped_indices": 1}):
        yield Case(op, feed, args=bad, refused=True)
    yield Case(op, {**feed, "D": grid(rng, (3,))}, args={"mask": mask}, refused=True)
    yield Case(op, {**feed, "I": i4(3)}, args={"mask": mask}, refused=True)


def sparse_to_dense_mask_gradient(rng: np.random.Generator) -> Cases:
    op, mask = "SparseToDenseMaskGradient", [3, 7, 2]
    for index in range(24):
        block = [(), (2,), (2, 3)][index % 3]
        at = rng.choice([1, 2, 3, 7], 6).astype(INDEX[index % 2])
        rows = (3,) if index % 2 else ()
        feed = {"I": at, "dY": grid(rng, (*rows, 3, *block))}
        if index % 2:
            feed["L"] = i4(2, 0, 4)
        yield Case(op, feed, ["dX"], {"mask": mask})
    yield Case(op, {"I": i4(3), "dY": grid(rng, (2,))}, ["dX"], {"mask": mask}, refused=True)


def dense_vector_to_id_list(rng: np.random.Generator) -> Cases:
    for index in range(24):
        feed = {"X": grid(rng, (1 + index % 5, index % 7))}
        yield Case("DenseVectorToIdList", feed, ["lengths", "ids"])
    yield Case("DenseVectorToIdList", {"X": grid(rng, (3,))}, ["lengths", "ids"], refused=True)
    yield Case("DenseVectorToIdList", {"X": grid(rng, (3, 2), "float64")}, ["l", "i"], refused=True)


# ---------------------------------------------------------------- masks


def flags(rng: np.random.Generator, size: int) -> np.ndarray:
    return rng.integers(0, 2, size).astype(bool)


def boolean_mask(rng: np.random.Generator) -> Cases:
    for index in range(24):
        shape = [(5,), (4, 2), (3, 2, 2), (1, 1)][index % 4]
        feed = {"X": grid(rng, shape, ANY[index % 11]), "M": flags(rng, shape[0])}
        yield Case("BooleanMask", feed, ["Y", "at"] if index % 2 else ["Y"])
    feed = {"X": grid(rng, (3,)), "M": flags(rng, 2)}
    yield Case("BooleanMask", feed, refused=True)
    yield Case("BooleanMask", {**feed, "M": grid(rng, (3,))}, refused=True)
    yield from wrong_arity("BooleanMask", {**feed, "M": flags(rng, 3)}, ["Y"])


def boolean_mask_gradient(rng: np.random.Generator) -> Cases:
    for index in range(24):
        mask = flags(rng, 1 + index % 7)
        dtype = ("float32", "float64", "int32", "int64", "bool")[index % 5]
        yield Case(
            "BooleanMaskGradient", {"M": mask, "dY": grid(rng, (mask.sum(),), dtype)}, ["dX"]
        )


def boolean_unmask(rng: np.random.Generator) -> Cases:
    for index in range(24):
        owner = rng.integers(0, 1 + index % 3, 1 + index % 7)
        feed = {}
        for k in range(1 + index % 3):
            values = grid(rng, (int(np.sum(owner == k)),), ALL_TYPES[index % 10])
            feed |= {f"M{k}": owner == k, f"V{k}": values}
        yield Case("BooleanUnmask", feed)
    feed = {"M": np.array([True, False]), "V": grid(rng, (1,))}
    yield Case("BooleanUnmask", feed, refused=True)
    feed |= {"N": np.array([False, True]), "W": grid(rng, (2,))}
    yield Case("BooleanUnmask", feed, refused=True)
    yield Case("BooleanUnmask", feed, reads=["M", "V", "N"], refused=True)


def sequence_mask(rng: np.random.Generator) -> Cases:
    op = "SequenceMask"
    shapes = [((3, 4), {}), ((2, 3, 4), {"axis": 2}), ((2, 3, 4), {"axis": -1, "batch": 0})]
    for shape, args in shapes:
        feed = {"X": grid(rng, shape)}
        for mode in ("upper", "lower", "upperdiag", "lowerdiag"):
            yield Case(op, feed, args={**args, "mode": mode, "fill_val": 0.5})
        rows = math.prod(shape[:-1]) // (2 if "batch" in args else 1)
        feed["L"] = rng.integers(-1, 6, rows).astype("int32")
        for mode in ("sequence", "window"):
            yield Case(op, feed, args={**args, "mode": mode, "fill_val": 0.5, "radius": 1})
            yield Case(op, feed, args={**args, "mode": mode, "grad": 1})
    feed = {"X": grid(rng, (2, 3, 2, 2)), "L": i4(1, 2)}
    for axis in (2, 3, -1):
        yield Case(op, feed, args={"mode": "sequence", "repeat_from_axis": axis, "fill_val": 0.0})
    yield Case(op, feed, args={"mode": "upper"})
    yield Case(op, {**feed, "L": i4(1)}, args={"mode": "sequence"}, refused=True)
    yield Case(op, {"X": feed["X"]}, args={"mode": "sequence"}, refused=True)
    for bad in ({}, {"mode": "x"}, {"mode": "upper", "repeat_from_axis": 2}):
        yield Case(op, feed, args=bad, refused=True)


# ---------------------------------------------------------------- rows


def batch_permutation(rng: np.random.Generator) -> Cases:
    for index in range(24):
        shape = [(5, 2), (3, 2, 2), (1, 4)][index % 3]
        feed = {"X": grid(rng, shape), "I": rng.permutation(shape[0]).astype("int32")}
        yield Case("BatchPermutation", feed)
    yield Case("BatchPermutation", {**feed, "I": i4(0, 0)}, refused=True)
    yield Case("BatchPermutation", {**feed, "I": grid(rng, (1,))}, refused=True)


def batch_permutation_gradient(rng: np.random.Generator) -> Cases:
    for index in range(24):
        shape = [(5, 2), (3, 2, 2), (1, 4)][index % 3]
        feed = {"I": rng.permutation(shape[0]).astype("int32"), "dY": grid(rng, shape)}
        yield Case("BatchPermutationGradient", feed, ["dX"])


def scatter(rng: np.random.Generator) -> Cases:
    for index in range(24):
        shape, axis = [((3, 4), 1), ((3, 4), 0), ((2, 3, 4), -2), ((4,), 0)][index % 4]
        sizes = list(shape)
        sizes[axis] = 1 + index % 3
        order = np.argsort(rng.uniform(0, 1, shape), axis)
        at = np.take(order, range(sizes[axis]), axis).astype(INDEX[index % 2])
        dtype = ANY[index % 11]
        feed = {"X": grid(rng, shape, dtype), "I": at, "U": grid(rng, sizes, dtype)}
        args = {} if axis == 1 else {"axis": axis}
        yield Case("Scatter", feed, ["X"] if index % 5 == 0 else ["Y"], args)
    feed = {"X": grid(rng, (3, 2)), "I": np.full((3, 1), 2, "int32"), "U": grid(rng, (3, 1))}
    yield Case("Scatter", feed, refused=True)
    yield Case("Scatter", feed, args={"axis": 2}, refused=True)


def remove_data_blocks(rng: np.random.Generator) -> Cases:
    for index in range(24):
        shape = [(5,), (4, 2), (3, 2, 2)][index % 3]
        at = rng.integers(0, shape[0], index % 4).astype(INDEX[index % 2])
        yield Case("RemoveDataBlocks", {"X": grid(rng, shape, ANY[index % 11]), "I": at})
    feed = {"X": grid(rng, (3, 2)), "I": i4(3)}
    yield Case("RemoveDataBlocks", feed, refused=True)
    yield Case("RemoveDataBlocks", {**feed, "I": i4(-1)}, refused=True)


def copy_rows_to_tensor(rng: np.random.Generator) -> Cases:
    op = "CopyRowsToTensor"
    for index in range(24):
        dtype = ("float32", "float64", "float16", "int32", "int64")[index % 5]
        at = rng.integers(0, 4, index % 4)
        feed = {"X": grid(rng, (4, 1 + index % 3), dtype), "I": at}
        yield Case(op, {**feed, "R": grid(rng, feed["X"].shape[1:], dtype)}, ["X"])
    feed = {"X": grid(rng, (4, 2)), "I": i8(0), "R": grid(rng, (3,))}
    yield Case(op, feed, ["X"], refused=True)
    yield Case(op, {**feed, "R": grid(rng, (2,))}, ["Y"], refused=True)


# ---------------------------------------------------------------- search and keys


def find(rng: np.random.Generator) -> Cases:
    for index in range(24):
        dtype = INDEX[index % 2]
        query = grid(rng, [(3,), (2, 20), (0,), ()][index % 4], dtype)
        args = {"missing_value": 50} if index % 3 == 0 else {}
        yield Case("Find", {"X": grid(rng, (index,), dtype), "Q": query}, args=args)
    yield Case("Find", {"X": i4(1), "Q": i8(1)}, refused=True)
    yield Case("Find", {"X": grid(rng, (3,)), "Q": grid(rng, (3,))}, refused=True)


def unique(rng: np.random.Generator) -> Cases:
    for index in range(24):
        feed = {"X": grid(rng, (index,), INDEX[index % 2])}
        yield Case("Unique", feed, ["Y", "at"] if index % 3 else ["Y"])
    yield Case("Unique", {"X": grid(rng, (2, 2), "int32")}, refused=True)
    yield Case("Unique", {"X": grid(rng, (3,))}, refused=True)


def find_duplicates(rng: np.random.Generator) -> Cases:
    op = "FindDuplicateElements"
    for index in range(24):
        dtype = ("float32", "float64", "int32", "int64", "str")[index % 5]
        X = grid(rng, (index,), dtype)
        yield Case(op, {"X": np.concatenate([X, X[: index % 3]])})
    yield Case(op, {"X": grid(rng, (2, 2))}, refused=True)


def partition(rng: np.random.Generator) -> Cases:
    for index in range(24):
        shape = [(5,), (2, 3), (1,)][index % 3]
        feed = {"K": rng.integers(-50, 50, shape).astype(INDEX[index % 2])}
        for k in range(index % 3):
            feed[f"X{k}"] = grid(rng, (*shape, *[2] * k), ANY[index % 11])
        count = len(feed) * (1 + index % 4)
        names = [f"Y{k}" for k in range(count)]
        yield Case("Partition", feed, names, {"pack_first_input": index % 2})
    yield Case("Partition", {"K": i4(1), "X": grid(rng, (1,))}, ["A", "B", "C"], refused=True)
    yield Case("Partition", {"K": i4(1, 2), "X": grid(rng, (1,))}, ["A", "B"], refused=True)


def lengths_partition(rng: np.random.Generator) -> Cases:
    op = "LengthsPartition"
    for index in range(24):
        sizes = lengths(rng, 1 + index % 4)
        size = int(sizes.sum())
        feed = {"L": sizes, "K": rng.integers(-50, 50, size).astype(INDEX[index % 2])}
        for k in range(index % 3):
            feed[f"X{k}"] = grid(rng, (size, *[2] * k), ANY[index % 11])
        names = [f"Y{k}" for k in range(len(feed) * (1 + index % 4))]
        yield Case(op, feed, names, {"pack_first_input": index % 2})
    feed = {"L": i4(1), "K": i4(1, 2)}
    yield Case(op, feed, ["A", "B", "C", "D"], refused=True)
    yield Case(op, feed, ["A", "B", "C"], refused=True)


def gather_by_key(rng: np.random.Generator) -> Cases:
    for index in range(24):
        count, block = 1 + index % 3, [(), (2,), (2, 2)][index % 3]
        keys = rng.integers(-50, 50, 6).astype(INDEX[index % 2])
        sizes = [int(np.sum(keys % count == k)) for k in range(count)]
        dtype = ANY[index % 11]
        shards = {f"X{k}": grid(rng, (n, *block), dtype) for k, n in enumerate(sizes)}
        yield Case("GatherByKey", {"K": keys, **shards})
    feed = {"K": i4(0, 1), "X": grid(rng, (2, 2)), "Z": grid(rng, (2, 2))}
    yield Case("GatherByKey", feed, refused=True)


# ---------------------------------------------------------------- the largest by row


def flexible_top(rng: np.random.Generator) -> Cases:
    op, outputs = "FlexibleTopK", ["Y", "at"]
    for index in range(24):
        shape = [(3, 4), (2, 3, 5), (6,), (1, 1)][index % 4]
        yield Case(
            op, {"X": grid(rng, shape), "k": rng.integers(1, shape[-1] + 1, shape[:-1])}, outputs
        )
    feed = {"X": grid(rng, (2, 3)), "k": i8(1, 0)}
    yield Case(op, feed, outputs, refused=True)
    yield Case(op, {**feed, "k": i8(1, 4)}, outputs, refused=True)
    yield Case(op, {**feed, "k": i4(1, 1)}, outputs, refused=True)


def flexible_top_gradient(rng: np.random.Generator) -> Cases:
    for index in range(24):
        shape = [(3, 4), (2, 3, 5), (1, 1)][index % 3]
        k = rng.integers(1, shape[-1] + 1, shape[:-1])
        at = np.concatenate([rng.permutation(shape[-1])[:n] for n in k.reshape(-1)])
        feed = {"X": grid(rng, shape), "k": k, "dY": grid(rng, at.shape), "at": at}
        yield Case("FlexibleTopKGradient", feed, ["dX"])


CASES = {
    "Bucketize": bucketize,
    "BatchBucketize": batch_bucketize,
    "BatchOneHot": batch_one_hot,
    "BatchBucketOneHot": batch_bucket_one_hot,
    "BatchSparseToDense": batch_sparse_to_dense,
    "BatchDenseToSparse": batch_dense_to_sparse,
    "SegmentOneHot": segment_one_hot,
    "SparseToDenseMask": sparse_to_dense_mask,
    "SparseToDenseMaskGradient": sparse_to_dense_mask_gradient,
    "DenseVectorToIdList": dense_vector_to_id_list,
    "BooleanMask": boolean_mask,
    "BooleanMaskGradient": boolean_mask_gradient,
    "BooleanUnmask": boolean_unmask,
    "SequenceMask": sequence_mask,
    "BatchPermutation": batch_permutation,
    "BatchPermutationGradient": batch_permutation_gradient,
    "Scatter": scatter,
    "RemoveDataBlocks": remove_data_blocks,
    "CopyRowsToTensor": copy_rows_to_tensor,
    "Find": find,
    "Unique": unique,
    "FindDuplicateElements": find_duplicates,
    "Partition": partition,
    "LengthsPartition": lengths_partition,
    "GatherByKey": gather_by_key,
    "FlexibleTopK": flexible_top,
    "FlexibleTopKGradient": flexible_top_gradient,
}
