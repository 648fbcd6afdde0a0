"""Conv and ConvGradient: dimensions, groups, dilation, padding in each spelling, both orders."""

from typing import Any

import numpy as np

from tools.golden.case import Case, Cases, gradient, grid, pick, wrong_arity

# Spelled out: (rank, order, group, args). The random ones below add to these.
FIXED: list[tuple[int, str, int, dict[str, Any]]] = [
    (2, "NCHW", 1, {"kernel": 1}),
    (2, "NCHW", 1, {"kernel": 3, "pad": 1}),
    (2, "NCHW", 1, {"kernel": 3, "stride": 2, "pad": 1}),
    (2, "NCHW", 1, {"kernel": 3, "dilation": 2}),
    (2, "NCHW", 2, {"kernel": 3, "pad": 1}),
    (2, "NCHW", 4, {"kernel": 3, "pad": 1}),
    (2, "NCHW", 1, {"kernel_h": 2, "kernel_w": 3, "stride_h": 2, "stride_w": 1}),
    (2, "NCHW", 1, {"kernel": 3, "pad_t": 1, "pad_l": 0, "pad_b": 2, "pad_r": 1}),
    (2, "NCHW", 1, {"kernels": [2, 3], "pads": [0, 1, 1, 2], "strides": [1, 2]}),
    (2, "NCHW", 1, {"kernels": [3, 2], "dilations": [1, 2]}),
    (2, "NCHW", 1, {"kernel": 3, "legacy_pad": 1}),
    (2, "NCHW", 1, {"kernel": 3, "legacy_pad": 2, "stride": 2}),
    (2, "NCHW", 1, {"kernel": 2, "legacy_pad": 2}),
    (2, "NCHW", 1, {"kernel": 2, "legacy_pad": 3, "stride": 2}),
    (2, "NCHW", 1, {"kernel": 3, "legacy_pad": 3, "stride": 2, "pad": 1}),
    (2, "NCHW", 1, {"kernel_h": 3, "kernel_w": 1, "dilation_h": 2, "dilation_w": 1}),
    (2, "NHWC", 1, {"kernel": 1}),
    (2, "NHWC", 1, {"kernel": 3, "pad": 1}),
    (2, "NHWC", 1, {"kernel": 3, "stride": 2, "pad": 1}),
    (2, "NHWC", 1, {"kernel": 2, "dilation": 2}),
    (2, "NHWC", 2, {"kernel": 3, "pad": 1}),
    (2, "NHWC", 2, {"kernel": 1}),
    (2, "NHWC", 1, {"kernel": 3, "pad_t": 1, "pad_l": 0, "pad_b": 2, "pad_r": 1}),
    (2, "NHWC", 1, {"kernel": 3, "legacy_pad": 2, "stride": 2}),
    (1, "NCHW", 1, {"kernels": [3]}),
    (1, "NCHW", 2, {"kernels": [3], "pads": [1, 2], "strides": [2]}),
    (1, "NCHW", 1, {"kernels": [2], "dilations": [2]}),
    (1, "NHWC", 1, {"kernels": [3], "pads": [1, 1]}),
    (3, "NCHW", 1, {"kernels": [2, 2, 2]}),
    (3, "NCHW", 2, {"kernels": [2, 1, 3], "pads": [1, 0, 1, 0, 0, 1], "strides": [1, 2, 1]}),
    (3, "NCHW", 1, {"kernels": [1, 1, 1], "strides": [2, 2, 2]}),
    (3, "NCHW", 1, {"kernels": [2, 2, 1], "dilations": [2, 1, 1]}),
    (3, "NHWC", 1, {"kernels": [2, 2, 2]}),
    (3, "NHWC", 1, {"kernels": [1, 2, 1], "pads": [0, 1, 0, 0, 1, 0]}),
]


def kernel_of(rank: int, args: dict[str, Any]) -> list[int]:
    if "kernels" in args:
        return list(args["kernels"])
    return [args.get(name, args.get("kernel", 0)) for name in ("kernel_h", "kernel_w")[:rank]]


def operands(
    rng: np.random.Generator, rank: int, order: str, group: int, args: dict[str, Any]
) -> dict[str, np.ndarray]:
    """Inputs that fit the arguments: an image somewhat larger than the dilated kernel."""
    kernel = kernel_of(rank, args)
    dilation = int(args.get("dilation", max(args.get("dilations", [1]))))
    dilation = max(dilation, args.get("dilation_h", 1))
    per_group = 1 if group > 2 else int(rng.integers(1, 3))
    channels, filters = group * per_group, group * int(rng.integers(1, 3))
    slack = 5 if rank == 1 else 3 if rank == 2 else 2
    size = [dilation * (k - 1) + 1 + int(rng.integers(slack + 1)) for k in kernel]
    batch = int(rng.integers(1, 3)) if rank < 3 else 1
    image = [batch, channels, *size] if order == "NCHW" else [batch, *size, channels]
    weight = [filters, per_group, *kernel] if order == "NCHW" else [filters, *kernel, per_group]
    return {"X": grid(rng, image), "W": grid(rng, weight), "b": grid(rng, (filters,))}


def random_args(rng: np.random.Generator) -> tuple[int, str, int, dict[str, Any]]:
    """Arguments in the list spelling, which every rank takes."""
    rank = int(rng.integers(1, 4))
    order = pick(rng, ["NCHW", "NCHW", "NHWC"])
    args: dict[str, Any] = {"kernels": [int(k) for k in rng.integers(1, 4, rank)]}
    if rng.random() < 0.6:
        args["strides"] = [int(s) for s in rng.integers(1, 4, rank)]
    if rng.random() < 0.6:
        args["pads"] = [int(p) for p in rng.integers(0, 3, 2 * rank)]
    if rng.random() < 0.4:
        args["dilations"] = [int(d) for d in rng.integers(1, 3, rank)]
    return rank, order, int(rng.choice([1, 1, 2, 3])), args


def accepted(rng: np.random.Generator) -> Cases:
    """The cases that have an answer, of which the gradient's are made too."""
    for index, (rank, order, group, args) in enumerate(
        [*FIXED, *(random_args(rng) for _ in range(16))]
    ):
        feed = operands(rng, rank, order, group, args)
        if index % 3 == 2:
            del feed["b"]
        args = dict(args)
        if order == "NHWC":
            args["order"] = order
        if group > 1:
            args["group"] = group
        yield Case("Conv", feed, args=args)


def conv(rng: np.random.Generator) -> Cases:
    yield from accepted(rng)
    full = operands(rng, 2, "NCHW", 1, {"kernel": 3})
    for args in ({"kernel": 3, "order": "nchw"}, {"kernel": 3, "order": "NCHW", "engine": "x"}):
        yield Case("Conv", full, args=args)
    empty = {"X": grid(rng, (0, 2, 5, 5)), "W": grid(rng, (3, 2, 3, 3)), "b": grid(rng, (3,))}
    yield Case("Conv", empty, args={"kernel": 3, "pad": 1})
    empty = {"X": grid(rng, (0, 5, 5, 2)), "W": grid(rng, (3, 3, 3, 2)), "b": grid(rng, (3,))}
    yield Case("Conv", empty, args={"kernel": 3, "order": "NHWC"})
    odd = operands(rng, 2, "NCHW", 1, {"kernel": 3, "dilation": 2})
    for args in (
        {"kernel": 3, "pad": -1},
        {"kernel": 3, "legacy_pad": 3, "pad_t": 1, "pad_l": 0, "pad_b": 0, "pad_r": 0},
        {"kernel": 3, "kernel_h": 3, "kernel_w": 3},
        {"kernel": 3, "kernels": [3, 3]},
    ):
        yield Case("Conv", odd, args=args, note="accepted, though odd")
    yield from refusals(rng)


def refusals(rng: np.random.Generator) -> Cases:
    X, W, b = grid(rng, (1, 4, 5, 5)), grid(rng, (2, 4, 3, 3)), grid(rng, (2,))
    feed = {"X": X, "W": W, "b": b}
    for args in (
        {},
        {"kernel": 2},
        {"kernel": 0},
        {"kernel": -3},
        {"kernel": 3, "stride": 0},
        {"kernel": 3, "stride": -1},
        {"kernel": 3, "dilation": 0},
        {"kernel": 3, "dilation": -1},
        {"kernel": 3, "group": 0},
        {"kernel": 3, "group": -1},
        {"kernel": 3, "group": 2},
        {"kernel": 3, "group": 3},
        {"kernel": 3, "order": "bad"},
        {"kernel": 3, "legacy_pad": 2, "pad": 1},
        {"kernel": 3, "legacy_pad": 1, "pad": 1},
        {"kernel": 3, "dilation": 3},
        {"kernels": [3]},
        {"kernels": [3, 3], "strides": [1]},
        {"kernels": [3, 3], "pads": [1, 1]},
        {"kernels": [3, 3], "dilations": [1, 1, 1]},
        {"kernel_h": 3},
        {"global_pooling": 1},
    ):
        yield Case("Conv", feed, args=args, refused=True)
    kernel = {"kernel": 3}
    yield Case("Conv", {"X": grid(rng, (1, 3, 5, 5)), "W": W}, args=kernel, refused=True)
    yield Case("Conv", {**feed, "b": grid(rng, (3,))}, args=kernel, refused=True)
    yield Case("Conv", {**feed, "b": grid(rng, (2, 1))}, args=kernel, refused=True)
    yield Case("Conv", {"X": X, "W": grid(rng, (2, 4, 3))}, args=kernel, refused=True)
    yield Case("Conv", {"X": grid(rng, (4, 5, 5)), "W": W}, args=kernel, refused=True)
    small = {"X": grid(rng, (1, 4, 2, 2)), "W": W}
    yield Case("Conv", small, args=kernel, refused=True)
    for dtype in ("float64", "int32", "float16"):
        wrong = {name: array.astype(dtype) for name, array in feed.items()}
        yield Case("Conv", wrong, args=kernel, refused=True)
    yield Case("Conv", {"X": X, "W": W.astype("float64")}, args=kernel, refused=True)
    yield Case("Conv", feed, ["X"], kernel, refused=True)
    yield Case("Conv", feed, reads=["X"], args=kernel, refused=True)
    yield from wrong_arity("Conv", feed, ["Y"], kernel=3)


def conv_gradient(rng: np.random.Generator) -> Cases:
    op, reads = "ConvGradient", ["X", "W", "dY"]
    for index, case in enumerate(accepted(rng)):
        if "b" in case.feed:
            outputs = ["dW", "db", "dX"] if index % 4 else ["dW", "db"]
            yield gradient(case, op, reads, outputs)
        else:
            outputs = ["dW", "dX"] if index % 4 else ["dW"]
            yield gradient(case, op, reads, outputs, no_bias=1)
    kernel = {"kernel": 3}
    feed = {
        "X": grid(rng, (1, 4, 5, 5)),
        "W": grid(rng, (2, 4, 3, 3)),
        "dY": grid(rng, (1, 2, 3, 3)),
    }
    three = ["dW", "db", "dX"]
    empty = {"X": grid(rng, (0, 4, 5, 5)), "W": feed["W"], "dY": grid(rng, (0, 2, 3, 3))}
    yield Case(op, empty, three, kernel)
    for args in ({}, {"kernel": 2}, {"kernel": 3, "stride": 0}, {"kernel": 3, "group": 3},
                 {"kernel": 3, "group": 0}, {"kernel": 3, "no_bias": 1}, {"kernel": 3, "stride": 2},
                 {"kernel": 3, "order": "NHWC"}):  # fmt: skip
        yield Case(op, feed, three, args, refused=True)
    yield Case(op, {**feed, "dY": grid(rng, (1, 3, 3, 3))}, three, kernel, refused=True)
    yield Case(op, {**feed, "dY": grid(rng, (2, 2, 3, 3))}, three, kernel, refused=True)
    yield Case(op, {**feed, "dY": feed["dY"].astype("float64")}, three, kernel, refused=True)
    yield Case(op, feed, ["dW", "db", "X"], kernel, refused=True)
    yield from wrong_arity(op, feed, three, **kernel)


CASES = {"Conv": conv, "ConvGradient": conv_gradient}
