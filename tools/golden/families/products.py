"""Products of matrices and of batches, transposed convolution, Conv under its other names."""

from functools import partial
from typing import Any

import numpy as np

from tools.golden.case import Case, Cases, gradient, grid, pick, wrong_arity
from tools.golden.families import conv

# shapes of A and B, arguments
MATRICES: list[tuple[tuple[int, ...], tuple[int, ...], dict[str, Any]]] = [
    ((2, 3), (3, 2), {}),
    ((3, 2), (3, 2), {"trans_a": 1}),
    ((2, 3), (4, 3), {"trans_b": 1}),
    ((3, 2), (4, 3), {"trans_a": 1, "trans_b": 1}),
    ((2, 3, 2), (6, 1), {}),
    ((2, 3, 2), (2, 2), {"axis_a": 2}),
    ((2, 3, 2), (2, 5), {"axis_a": -1, "axis_b": -1}),
    ((2, 3, 2), (2, 5), {"axis_a": 1, "axis_b": 1, "trans_a": 1}),
    ((2, 2, 3), (2, 2, 5), {"axis_a": 2, "axis_b": 2, "trans_a": 1}),
    ((3,), (3, 2), {"axis_a": 0}),
    ((2, 1), (3,), {"axis_b": 0}),
    ((0, 3), (3, 2), {}),
    ((2, 0), (0, 2), {}),
    ((5, 17), (17, 4), {}),
]


def matmul(rng: np.random.Generator) -> Cases:
    for a, b, args in MATRICES:
        feed = {"A": grid(rng, a), "B": grid(rng, b)}
        yield Case("MatMul", feed, args=args)
    for a, b, args in MATRICES[:8]:
        flags = [bool(args.get(f"trans_{name}")) for name in "ab"]
        sizes = []
        for shape, flag, name in ((a, flags[0], "a"), (b, not flags[1], "b")):
            axis = args.get(f"axis_{name}", 1) % len(shape)
            sizes.append(int(np.prod(shape[axis:] if flag else shape[:axis])))
        like = grid(rng, (sizes[0], 1, sizes[1]), pick(rng, ["float32", "int32"]))
        feed = {"A": grid(rng, a), "B": grid(rng, b), "C": like}
        yield Case("MatMul", feed, args=args)
    feed = {"A": grid(rng, (2, 3)), "B": grid(rng, (3, 2))}
    yield Case("MatMul", {**feed, "B": grid(rng, (2, 3))}, refused=True)
    yield Case("MatMul", {**feed, "A": grid(rng, (3,))}, refused=True)
    for args in ({"axis_a": 2}, {"axis_b": -3}, {"trans_a": 1, "axis_b": 0}):
        yield Case("MatMul", feed, args=args, refused=True)
    wide = {name: array.astype("float64") for name, array in feed.items()}
    yield Case("MatMul", wide, refused=True)
    yield from wrong_arity("MatMul", feed, ["Y"])


BATCHES: list[tuple[tuple[int, ...], tuple[int, ...], dict[str, Any]]] = [
    ((2, 2, 3), (2, 3, 1), {}),
    ((2, 3, 2), (2, 3, 4), {"trans_a": 1}),
    ((2, 2, 3), (2, 4, 3), {"trans_b": 1}),
    ((2, 3, 2), (2, 4, 3), {"trans_a": 1, "trans_b": 1}),
    ((2, 3), (3, 1), {}),
    ((3,), (3,), {}),
    ((2, 3, 2, 3), (2, 3, 3, 4), {}),
    ((0, 2, 3), (0, 3, 1), {}),
    ((2, 2, 0), (2, 0, 1), {}),
    ((2, 0, 3), (2, 3, 1), {}),
    ((2, 3), (3,), {"broadcast": 1}),
    ((3,), (3, 2), {"broadcast": 1, "trans_a": 1}),
    ((3,), (3,), {"broadcast": 1}),
    ((3,), (2, 3, 2), {"broadcast": 1}),
    ((2, 3), (3,), {"broadcast": 1, "trans_b": 1}),
    ((4, 2, 3), (3, 1), {"broadcast": 1}),
    ((3, 2), (2, 3, 2), {"broadcast": 1, "trans_a": 1}),
    ((4, 1, 2, 3), (5, 3, 1), {"broadcast": 1}),
    ((2, 1, 2, 3), (1, 5, 4, 3), {"broadcast": 1, "trans_b": 1}),
    ((1, 2, 3), (4, 3, 2), {"broadcast": 1, "use_scratch": 1}),
    ((2, 3, 1, 2, 3), (3, 4, 3, 2), {"broadcast": 1}),
    ((2, 2, 3), (2, 3, 2), {"broadcast": 1}),
]


def batch_matmul(rng: np.random.Generator) -> Cases:
    op = "BatchMatMul"
    for a, b, args in BATCHES:
        yield Case(op, {"A": grid(rng, a), "B": grid(rng, b)}, args=args)
    a = grid(rng, (2, 2, 3))
    for shape in ((3, 1), (1, 3, 1), (3, 3, 1), (2, 2, 1)):
        yield Case(op, {"A": a, "B": grid(rng, shape)}, refused=True)
    yield Case(op, {"A": a, "B": grid(rng, (3, 3, 1))}, args={"broadcast": 1}, refused=True)
    yield Case(op, {"A": a, "B": grid(rng, (2, 3, 1), "float64")}, refused=True)
    yield from wrong_arity(op, {"A": a, "B": grid(rng, (2, 3, 1))}, ["Y"])


# ---------------------------------------------------------------- convolutions

# image, channels of X, channels of Y, arguments
TRANSPOSED: list[tuple[tuple[int, int], int, int, dict[str, Any]]] = [
    ((3, 3), 2, 3, {"kernel": 2}),
    ((3, 4), 1, 2, {"kernel": 1}),
    ((3, 3), 2, 3, {"kernel": 2, "stride": 2}),
    ((3, 3), 2, 3, {"kernel": 3, "pad": 1}),
    ((4, 3), 2, 1, {"kernel": 3, "stride": 2, "pad": 1, "adj": 1}),
    ((3, 3), 1, 1, {"kernel": 2, "stride": 2, "adj": 2}),
    ((3, 3), 2, 2, {"kernel": 2, "adj": 1}),
    ((3, 3), 4, 6, {"kernel": 2, "group": 2}),
    ((3, 2), 4, 4, {"kernel": 3, "group": 4, "stride": 2, "pad": 1}),
    (
        (3, 3),
        2,
        2,
        {"kernel_h": 2, "kernel_w": 3, "stride_h": 1, "stride_w": 2, "adj_h": 0, "adj_w": 1},
    ),
    ((3, 3), 1, 2, {"kernels": [2, 2], "adjs": [0, 1], "strides": [2, 2], "pads": [1, 0, 0, 1]}),
    ((3, 4), 2, 2, {"kernel": 2, "pad_t": 1, "pad_l": 0, "pad_b": 0, "pad_r": 1}),
    ((3, 3), 2, 2, {"kernel": 2, "legacy_pad": 1}),
    ((3, 3), 2, 2, {"kernel": 2, "legacy_pad": 2, "stride": 3}),
    ((1, 1), 3, 2, {"kernel": 3}),
]


def transposed_feeds(rng: np.random.Generator) -> Cases:
    for index, (image, channels, results, args) in enumerate([*TRANSPOSED, *TRANSPOSED]):
        last = index >= len(TRANSPOSED)
        group = args.get("group", 1)
        kernel = tuple(conv.kernel_of(2, args))
        per = results // group
        batch = 1 + index % 2
        x = (batch, *image, channels) if last else (batch, channels, *image)
        w = (channels, *kernel, per) if last else (channels, per, *kernel)
        feed = {"X": grid(rng, x), "W": grid(rng, w), "b": grid(rng, (results,))}
        if index % 3 == 2:
            del feed["b"]
        yield Case("ConvTranspose", feed, args={**args, "order": "NHWC"} if last else args)


def conv_transpose(rng: np.random.Generator) -> Cases:
    op = "ConvTranspose"
    yield from transposed_feeds(rng)
    feed = {"X": grid(rng, (1, 2, 3, 3)), "W": grid(rng, (2, 2, 2, 2)), "b": grid(rng, (2,))}
    yield Case(op, {**feed, "X": grid(rng, (0, 2, 3, 3))}, args={"kernel": 2})
    yield Case(op, feed, args={"kernel": 2, "no_bias": 1})
    for args in (
        {},
        {"kernel": 3},
        {"kernel": 2, "stride": 0},
        {"kernel": 2, "adj": 2},
        {"kernel": 2, "adj": -1},
        {"kernel": 2, "pad": -1},
        {"kernel": 2, "group": 3},
        {"kernel": 2, "order": "bad"},
        {"kernel": 2, "legacy_pad": 2, "pad": 1},
    ):
        yield Case(op, feed, args=args, refused=True)
    two = {"kernel": 2}
    yield Case(op, {**feed, "W": grid(rng, (1, 2, 2, 2))}, args=two, refused=True)
    yield Case(op, {**feed, "b": grid(rng, (3,))}, args=two, refused=True)
    yield Case(op, {**feed, "b": grid(rng, (2, 1))}, args=two, refused=True)
    line = {"X": grid(rng, (1, 2, 3)), "W": grid(rng, (2, 2, 2))}
    yield Case(op, line, args={"kernels": [2]}, refused=True)
    yield from wrong_arity(op, feed, ["Y"], kernel=2)


def conv_transpose_gradient(rng: np.random.Generator) -> Cases:
    op, reads = "ConvTransposeGradient", ["X", "W", "dY"]
    for index, case in enumerate(transposed_feeds(rng)):
        bias = ["db"] if "b" in case.feed else []
        outputs = ["dW", *bias, "dX"][: 3 if index % 4 else 1 + len(bias)]
        yield gradient(case, op, reads, outputs, **({} if bias else {"no_bias": 1}))
    feed = {"X": grid(rng, (1, 2, 3, 3)), "W": grid(rng, (2, 2, 2, 2))}
    feed["dY"] = grid(rng, (1, 3, 4, 4))
    yield Case(op, feed, ["dW", "db", "dX"], {"kernel": 2}, refused=True)


def renamed(op: str, rank: int, rng: np.random.Generator) -> Cases:
    for case in conv.accepted(rng):
        fits = case.feed["X"].ndim == rank + 2
        if fits or rng.random() < 0.3:
            yield Case(op, case.feed, args=case.args)
    for _ in range(12):
        args = {"kernels": [int(k) for k in rng.integers(1, 4, rank)]}
        yield Case(op, conv.operands(rng, rank, "NCHW", 1, args), args=args)


def renamed_gradient(op: str, rank: int, rng: np.random.Generator) -> Cases:
    for case in renamed(op, rank, rng):
        bias = ["db"] if "b" in case.feed else []
        more = {} if bias else {"no_bias": 1}
        yield gradient(case, f"{op}Gradient", ["X", "W", "dY"], ["dW", *bias, "dX"], **more)


CASES = {
    "MatMul": matmul,
    "BatchMatMul": batch_matmul,
    "ConvTranspose": conv_transpose,
    "ConvTransposeGradient": conv_transpose_gradient,
    **{f"Conv{rank}D": partial(renamed, f"Conv{rank}D", rank) for rank in (1, 2, 3)},
    **{
        f"Conv{rank}DGradient": partial(renamed_gradient, f"Conv{rank}D", rank)
        for rank in (1, 2, 3)
    },
}
