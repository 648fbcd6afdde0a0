"""Windows laid out one after another, and layers with a filter for each place."""

from typing import Any

import numpy as np

from tools.golden.case import Case, Cases, gradient, grid, wrong_arity

Rng = np.random.Generator


def window(rng: Rng) -> dict[str, Any]:
    args: dict[str, Any] = {"kernel": int(rng.integers(1, 4))}
    if rng.integers(3) == 0:
        args["kernel_h"] = int(rng.integers(1, 3))
    if rng.integers(2):
        args["stride"] = int(rng.integers(1, 4))
    if rng.integers(3) == 0:
        args["dilation"] = 2
    if rng.integers(2):
        args["pad"] = int(rng.integers(0, 3))
    return args


def image(rng: Rng, number: int) -> tuple[np.ndarray, dict[str, Any]]:
    n, c, h, w = (int(v) for v in rng.integers([1, 1, 5, 5], [3, 4, 8, 8]))
    if number % 2:
        return grid(rng, (n, h, w, c)), {"order": "NHWC"}
    return grid(rng, (n, c, h, w)), {}


def unfold(rng: Rng) -> Cases:
    for number in range(26):
        x, order = image(rng, number)
        yield Case("Im2Col", {"X": x}, args=window(rng) | order)
    yield Case("Im2Col", {"X": x[0]}, args={"kernel": 2}, refused=True)
    yield from wrong_arity("Im2Col", {"X": x}, ["Y"], kernel=2)


def fold(rng: Rng) -> Cases:
    for number in range(26):
        x, order = image(rng, number)
        forward = Case("Im2Col", {"X": x}, args=window(rng) | order)
        yield gradient(forward, "Col2Im", ["dY", "X"], ["Z"])
    yield Case("Col2Im", {"Y": grid(rng, (1, 4, 2, 2)), "X": x}, args={"kernel": 2}, refused=True)


def layer(rng: Rng, op: str, number: int) -> Case:
    rank = {"LC1D": 1, "LC3D": 3}.get(op, 2)
    kernel = [int(k) for k in rng.integers(1, 3, rank)]
    out = [int(n) for n in rng.integers(1, 3, rank)]
    size = [k + n - 1 for k, n in zip(kernel, out, strict=True)]
    n, c, m = (int(v) for v in rng.integers(1, 4, 3))
    args: dict[str, Any] = {"kernels": kernel}
    if number % 2 and rank == 2:
        args["order"] = "NHWC"
        feed = {"X": grid(rng, (n, *size, c)), "W": grid(rng, (*out, m, *kernel, c))}
    else:
        feed = {"X": grid(rng, (n, c, *size)), "W": grid(rng, (*out, m, c, *kernel))}
    if number % 3:
        feed["b"] = grid(rng, (*out, m))
    return Case(op, feed, args=args)


def local(op: str):
    def cases(rng: Rng) -> Cases:
        for number in range(22):
            yield layer(rng, op, number)

    return cases


def local_gradient(op: str):
    def cases(rng: Rng) -> Cases:
        for number in range(22):
            forward = layer(rng, op, number)
            outputs = ["dW", "db", "dX"] if "b" in forward.feed else ["dW", "dX"]
            more = {} if "b" in forward.feed else {"no_bias": 1}
            yield gradient(forward, f"{op}Gradient", ["X", "W", "dY"], outputs, **more)

    return cases


CASES = {
    "Im2Col": unfold,
    "Col2Im": fold,
    **{f"LC{d}": local(f"LC{d}") for d in ("", "1D", "2D", "3D")},
    **{f"LC{d}Gradient": local_gradient(f"LC{d}") for d in ("", "1D", "2D", "3D")},
}
