"""Vectors of norm 1, groups of channels, root mean squares, sums of channels."""

from functools import partial

import numpy as np

from tools.golden.case import Case, Cases, gradient, grid, wrong_arity

VECTORS = [((4,), {}), ((2, 3), {}), ((2, 3, 4), {"axis": 1}), ((3, 5), {"axis": 0})]


def vectors(op: str, rng: np.random.Generator) -> Cases:
    for index in range(24):
        shape, args = VECTORS[index % 4]
        yield Case(op, {"X": grid(rng, shape)}, args=args)
    X = {"X": grid(rng, (2, 3))}
    yield Case(op, X, args={"axis": 2}, refused=True)
    yield Case(op, {"X": grid(rng, (2, 3), "int32")}, refused=True)
    yield from wrong_arity(op, X, ["Y"])


def normalize_gradient(rng: np.random.Generator) -> Cases:
    for index in range(24):
        shape, args = VECTORS[index % 4]
        feed = {"X": grid(rng, shape), "dY": grid(rng, shape)}
        yield Case("NormalizeGradient", feed, ["dX"], args)


def parameters(rng: np.random.Generator, index: int, dtype: str) -> dict[str, np.ndarray]:
    shape = [(3, 4), (5, 2), (4, 2, 3)][index % 3]
    at = rng.permutation(shape[0])[: index % 4].astype(["int32", "int64"][index % 2])
    return {"X": grid(rng, shape, dtype), "I": at}


def sparse_normalize(op: str, dtype: str, rng: np.random.Generator) -> Cases:
    for index in range(24):
        args = {"norm": (index % 5) / 2, "use_max_norm": index % 2} if index % 3 else {}
        feed = parameters(rng, index, dtype)
        if index % 4 == 0:
            feed["G"] = grid(rng, (len(feed["I"]), *feed["X"].shape[1:]), dtype)
        yield Case(op, feed, ["X"], args)
    yield Case(op, feed, ["X"], {"norm": -1.0}, refused=True)
    yield Case(op, feed, ["Y"], refused=True)


def regularizer(rng: np.random.Generator) -> Cases:
    op = "SparseLpRegularizer"
    for index in range(24):
        args = {"p": 1.0 + index % 2, "reg_lambda": 0.25 + (index % 3) / 8}
        yield Case(op, parameters(rng, index, "float32"), ["X"], args if index % 5 else {})
    feed = parameters(rng, 1, "float32")
    for bad in ({"p": 3.0}, {"reg_lambda": 0.0}, {"reg_lambda": 1.0}):
        yield Case(op, feed, ["X"], bad, refused=True)
    yield Case(op, feed, ["Y"], refused=True)


# ---------------------------------------------------------------- groups and rows

GROUPS = [
    ((2, 4, 3), {"group": 2}),
    ((2, 4), {"group": 1}),
    ((1, 6, 2, 3), {"group": 3}),
    ((3, 2, 5, 4), {"group": 2, "order": "NHWC"}),
    ((3, 4), {"group": 2, "order": "NHWC"}),
]


def group_feeds(rng: np.random.Generator) -> Cases:
    for index in range(24):
        shape, args = GROUPS[index % 5]
        channels = shape[-1] if "order" in args else shape[1]
        feed = {
            "X": grid(rng, shape),
            "gamma": grid(rng, (channels,)),
            "beta": grid(rng, (channels,)),
        }
        outputs = ["Y", "mean", "std"] if index % 3 else ["Y"]
        yield Case("GroupNorm", feed, outputs, {**args, "epsilon": 0.125})


def group_norm(rng: np.random.Generator) -> Cases:
    yield from group_feeds(rng)
    feed = {"X": grid(rng, (2, 3)), "gamma": grid(rng, (3,)), "beta": grid(rng, (3,))}
    for bad in ({"group": 2}, {"group": 3, "is_test": 0}, {"group": 3, "order": "x"}):
        yield Case("GroupNorm", feed, args=bad, refused=True)
    yield Case("GroupNorm", {**feed, "beta": grid(rng, (2,))}, args={"group": 3}, refused=True)
    yield Case("GroupNorm", feed, ["Y", "mean"], {"group": 3}, refused=True)


def group_norm_gradient(rng: np.random.Generator) -> Cases:
    reads = ["dY", "X", "gamma", "beta", "mean", "std"]
    for _ in range(2):
        for case in group_feeds(rng):
            if len(case.outputs) == 3:
                yield gradient(case, "GroupNormGradient", reads, ["dX", "dgamma", "dbeta"])


ROWS = [((2, 3), {}), ((4, 2, 3), {}), ((4, 2, 3), {"axis": -1}), ((3, 5), {"axis": 0})]


def rms_feeds(rng: np.random.Generator) -> Cases:
    for index in range(24):
        shape, args = ROWS[index % 4]
        row = shape[args.get("axis", 1) :]
        feed = {"X": grid(rng, shape), "gamma": grid(rng, row), "beta": grid(rng, row)}
        yield Case("RMSNorm", feed, ["Y", "rrms"], {**args, "eps": 0.125})


def rms_norm(rng: np.random.Generator) -> Cases:
    yield from rms_feeds(rng)
    feed = {"X": grid(rng, (2, 3)), "gamma": grid(rng, (2,)), "beta": grid(rng, (3,))}
    yield Case("RMSNorm", feed, ["Y", "rrms"], refused=True)


def rms_norm_gradient(rng: np.random.Generator) -> Cases:
    for case in rms_feeds(rng):
        reads = ["dY", "X", "gamma", "rrms"]
        yield gradient(case, "RMSNormGradient", reads, ["dX", "dgamma", "dbeta"])


# ---------------------------------------------------------------- sums of channels

IMAGES = [((2, 3), {}), ((2, 3, 4), {}), ((2, 3, 4), {"order": "NHWC"}), ((2, 2, 3, 2), {})]


def channels(op: str, rng: np.random.Generator) -> Cases:
    for index in range(24):
        shape, args = IMAGES[index % 4]
        yield Case(op, {"X": grid(rng, shape)}, ["A", "B"], args)
    yield Case(op, {"X": grid(rng, (3,))}, ["A", "B"], refused=True)
    yield Case(op, {"X": grid(rng, (2, 3))}, ["A", "B"], {"order": "x"}, refused=True)
    yield Case(op, {"X": grid(rng, (2, 3))}, ["A"], refused=True)


def batch_moments_gradient(rng: np.random.Generator) -> Cases:
    for index in range(24):
        shape, args = IMAGES[index % 4]
        count = shape[-1] if "order" in args else shape[1]
        feed = {"dmu": grid(rng, (count,)), "dvar": grid(rng, (count,)), "X": grid(rng, shape)}
        yield Case("BatchMomentsGradient", feed, ["dX"], args)


def channel_backprop(rng: np.random.Generator) -> Cases:
    for index in range(24):
        shape = [(2, 3, 1), (2, 3, 4), (5, 2, 3, 4)][index % 3]
        feed = {"X": grid(rng, shape), "mean": grid(rng, shape[1:2]), "std": grid(rng, shape[1:2])}
        yield Case("ChannelBackpropStats", {**feed, "dY": grid(rng, shape)}, ["dscale", "dbias"])


CASES = {
    "Normalize": partial(vectors, "Normalize"),
    "NormalizeL1": partial(vectors, "NormalizeL1"),
    "NormalizeGradient": normalize_gradient,
    "SparseNormalize": partial(sparse_normalize, "SparseNormalize", "float32"),
    "Float16SparseNormalize": partial(sparse_normalize, "Float16SparseNormalize", "float16"),
    "SparseLpRegularizer": regularizer,
    "GroupNorm": group_norm,
    "GroupNormGradient": group_norm_gradient,
    "RMSNorm": rms_norm,
    "RMSNormGradient": rms_norm_gradient,
    "BatchMoments": partial(channels, "BatchMoments"),
    "ChannelStats": partial(channels, "ChannelStats"),
    "BatchMomentsGradient": batch_moments_gradient,
    "ChannelBackpropStats": channel_backprop,
}
