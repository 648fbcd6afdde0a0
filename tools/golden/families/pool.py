"""MaxPool, AveragePool and their gradients."""

from functools import partial
from typing import Any

import numpy as np

from tools.golden.case import Case, Cases, gradient, grid, pick, wrong_arity
from tools.golden.families.conv import kernel_of

# (rank, order, args); `size` is fixed where rounding depends on it
FIXED: list[tuple[int, str, dict[str, Any]]] = [
    (2, "NCHW", {"kernel": 2, "stride": 2}),
    (2, "NCHW", {"kernel": 3, "stride": 2}),
    (2, "NCHW", {"kernel": 3, "stride": 2, "pad": 1}),
    (2, "NCHW", {"kernel": 3, "pad": 2}),
    (2, "NCHW", {"kernel": 1, "stride": 2}),
    (2, "NCHW", {"kernel": 2}),
    (2, "NCHW", {"kernel_h": 2, "kernel_w": 3, "stride_h": 1, "stride_w": 2}),
    (2, "NCHW", {"kernel": 3, "pad_t": 1, "pad_l": 0, "pad_b": 2, "pad_r": 1}),
    (2, "NCHW", {"kernels": [2, 3], "pads": [0, 1, 1, 2], "strides": [1, 2]}),
    (2, "NCHW", {"kernel": 3, "stride": 2, "legacy_pad": 1}),
    (2, "NCHW", {"kernel": 3, "stride": 2, "legacy_pad": 2}),
    (2, "NCHW", {"kernel": 2, "stride": 1, "legacy_pad": 2}),
    (2, "NCHW", {"kernel": 2, "stride": 2, "legacy_pad": 3}),
    (2, "NCHW", {"kernel": 3, "stride": 2, "legacy_pad": 3}),
    (2, "NCHW", {"kernel": 3, "stride": 2, "pad": 1, "legacy_pad": 3}),
    (2, "NCHW", {"kernel": 2, "stride": 3, "pad": 1, "legacy_pad": 3}),
    (2, "NCHW", {"global_pooling": 1}),
    (2, "NHWC", {"global_pooling": 1}),
    (2, "NHWC", {"kernel": 2, "stride": 2}),
    (2, "NHWC", {"kernel": 3, "stride": 2, "pad": 1}),
    (2, "NHWC", {"kernel": 3, "stride": 2, "legacy_pad": 3}),
    (2, "NHWC", {"kernel": 3, "pad_t": 1, "pad_l": 0, "pad_b": 2, "pad_r": 1}),
    (1, "NCHW", {"kernels": [3], "strides": [2]}),
    (1, "NCHW", {"kernels": [2], "pads": [1, 0]}),
    (1, "NCHW", {"global_pooling": 1}),
    (1, "NHWC", {"kernels": [3], "pads": [1, 1]}),
    (3, "NCHW", {"kernels": [2, 2, 2], "strides": [2, 1, 1]}),
    (3, "NCHW", {"kernels": [2, 1, 3], "pads": [1, 0, 1, 0, 0, 1]}),
    (3, "NCHW", {"global_pooling": 1}),
    (3, "NHWC", {"kernels": [2, 2, 2]}),
    (3, "NHWC", {"global_pooling": 1}),
]


def random_args(rng: np.random.Generator) -> tuple[int, str, dict[str, Any]]:
    """Pads stay below the kernel: a window must touch the image."""
    rank = int(rng.integers(1, 4))
    kernels = [int(k) for k in rng.integers(1, 4, rank)]
    args: dict[str, Any] = {"kernels": kernels}
    if rng.random() < 0.7:
        args["strides"] = [int(s) for s in rng.integers(1, 4, rank)]
    if rng.random() < 0.7:
        args["pads"] = [int(rng.integers(0, k)) for k in kernels * 2]
    return rank, pick(rng, ["NCHW", "NHWC"]), args


def image(rng: np.random.Generator, rank: int, order: str, kernel: list[int]) -> np.ndarray:
    """Few distinct values, so that windows have ties."""
    slack = 5 if rank == 1 else 4 if rank == 2 else 2
    size = [max(k, 1) + int(rng.integers(slack + 1)) for k in kernel or [1] * rank]
    batch, channels = (int(n) for n in rng.integers(1, 3, 2))
    shape = [batch, channels, *size] if order == "NCHW" else [batch, *size, channels]
    return (rng.integers(-6, 7, shape) / 4).astype("float32")


def accepted(op: str, rng: np.random.Generator) -> Cases:
    for rank, order, args in [*FIXED, *(random_args(rng) for _ in range(12))]:
        pooled = args.get("global_pooling")
        X = image(rng, rank, order, [] if pooled else kernel_of(rank, args))
        named = {**args, "order": order} if order == "NHWC" else dict(args)
        yield Case(op, {"X": X}, args=named)
        padded = "pad" in args or "pads" in args or "pad_t" in args or "legacy_pad" in args
        if op == "AveragePool" and padded:
            yield Case(op, {"X": X}, args={**named, "count_include_pad": 1})
    for size in range(3, 8):  # where the old rounding up and its clipping set in
        for kernel, stride, pad in ((2, 2, 0), (3, 2, 1), (2, 3, 1)):
            args = {"kernel": kernel, "stride": stride, "pad": pad, "legacy_pad": 3}
            yield Case(op, {"X": grid(rng, (1, 1, size, size))}, args=args)


def pool(op: str, rng: np.random.Generator) -> Cases:
    yield from accepted(op, rng)
    if op == "MaxPool":
        for order, shape in (("NCHW", (1, 2, 7, 7)), ("NHWC", (1, 7, 7, 2))):
            args = {"kernel": 3, "dilation": 2, "order": order}
            yield Case(op, {"X": grid(rng, shape)}, args=args, refused=True)
        X = np.array([[[[np.nan, 1], [2, np.nan]]], [[[-np.inf, -np.inf]] * 2]], "float32")
        yield Case(op, {"X": X}, args={"kernel": 2})
    yield Case(op, {"X": grid(rng, (0, 2, 5, 5))}, args={"kernel": 3})
    yield Case(op, {"X": grid(rng, (0, 2, 5, 5))}, args={"global_pooling": 1})
    yield Case(op, {"X": grid(rng, (2, 0, 5, 5))}, args={"kernel": 3}, refused=True)
    X = grid(rng, (1, 2, 5, 5))
    for args in (
        {"kernel": 2, "pad": -1},
        {"kernel": 2, "kernels": [2, 2]},
        {"global_pooling": 1, "kernel": 3},
        {"kernel": 2, "group": 0},
    ):
        yield Case(op, {"X": X}, args=args, note="accepted, though odd")
    for args in (
        {},
        {"kernel": 0},
        {"kernel": -2},
        {"kernel": 2, "stride": 0},
        {"kernel": 2, "stride": -1},
        {"kernel": 2, "dilation": 0},
        {"kernel": 2, "dilation": 2},
        {"kernel": 2, "pad": 2},
        {"kernel": 2, "pad": 3},
        {"kernel": 9},
        {"kernel": 2, "order": "bad"},
        {"kernels": [2]},
        {"kernels": [2, 2, 2]},
        {"kernels": [2, 2], "strides": [1]},
        {"kernels": [2, 2], "pads": [1]},
        {"kernel_h": 2},
        {"global_pooling": 1, "stride": 2},
        {"global_pooling": 1, "pad": 1},
        {"kernel": 2, "legacy_pad": 2, "pad": 1},
        {"kernel": 3, "legacy_pad": 9},
    ):
        yield Case(op, {"X": X}, args=args, refused=True)
    for dtype in ("float64", "int32", "float16"):
        yield Case(op, {"X": X.astype(dtype)}, args={"kernel": 2}, refused=True)
    yield Case(op, {"X": grid(rng, (5, 5))}, args={"kernel": 2}, refused=True)
    yield Case(op, {"X": X}, ["X"], {"kernel": 2}, refused=True)
    yield from wrong_arity(op, {"X": X}, ["Y"], kernel=2)


def pool_gradient(op: str, rng: np.random.Generator) -> Cases:
    name, reads = f"{op}Gradient", ["X", "Y", "dY"]
    for case in accepted(op, rng):
        yield gradient(case, name, reads, ["dX"])
    feed = {
        "X": grid(rng, (1, 1, 4, 4)),
        "Y": grid(rng, (1, 1, 2, 2)),
        "dY": grid(rng, (1, 1, 2, 2)),
    }
    args = {"kernel": 2, "stride": 2}
    yield Case(name, feed, ["dX"], args, note="Y is not what the pooling of X gives")
    for bad in ({}, {"kernel": 2}, {"kernel": 2, "stride": 0}, {"kernel": 2, "dilation": 2},
                {"kernel": 2, "stride": 2, "order": "bad"}):  # fmt: skip
        yield Case(name, feed, ["dX"], bad, refused=True)
    yield Case(name, {**feed, "dY": grid(rng, (1, 1, 3, 3))}, ["dX"], args, refused=True)
    wrong = {key: array.astype("float64") for key, array in feed.items()}
    yield Case(name, wrong, ["dX"], args, refused=True)
    yield Case(name, feed, ["X"], args, refused=True)
    yield from wrong_arity(name, feed, ["dX"], **args)


CASES = {
    "MaxPool": partial(pool, "MaxPool"),
    "MaxPoolGradient": partial(pool_gradient, "MaxPool"),
    "AveragePool": partial(pool, "AveragePool"),
    "AveragePoolGradient": partial(pool_gradient, "AveragePool"),
}
