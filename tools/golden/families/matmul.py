"""The fully connected layer: FC, FCTransposed and their gradients."""

from functools import partial
from typing import Any

import numpy as np

from tools.golden.case import Case, Cases, gradient, grid, wrong_arity

# X's shape, W's shape as [out, in] dimensions, arguments
LAYERS: list[tuple[tuple[int, ...], tuple[int, ...], dict[str, Any]]] = [
    ((2, 3), (4, 3), {}),
    ((1, 1), (1, 1), {}),
    ((5, 8), (3, 8), {}),
    ((3, 17), (5, 17), {}),
    ((2, 3, 4), (5, 12), {}),
    ((2, 3, 4), (5, 4), {"axis": 2}),
    ((2, 3, 4), (2, 24), {"axis": 0}),
    ((2, 3, 4), (5, 4), {"axis": -1}),
    ((2, 3, 4), (5, 12), {"axis": -2}),
    ((2, 1, 3, 2), (4, 2), {"axis": 3}),
    ((2, 1, 3, 2), (4, 6), {"axis": 1}),
    ((0, 3), (4, 3), {}),
    ((0, 2, 3), (4, 3), {"axis": 2}),
    ((2, 0), (4, 0), {}),
    ((4,), (3, 4), {"axis": 0}),
]
# weights of more than two dimensions, by axis_w
SPLIT_WEIGHTS: list[tuple[tuple[int, ...], tuple[int, ...], dict[str, Any]]] = [
    ((2, 6), (4, 2, 3), {}),
    ((2, 6), (4, 2, 3), {"axis_w": 1}),
    ((2, 3), (2, 2, 3), {"axis_w": 2}),
    ((2, 3), (2, 2, 3), {"axis_w": -1}),
    ((2, 2, 3), (5, 2, 3), {"axis": 1, "axis_w": 1}),
    ((2, 2, 3), (1, 5, 3), {"axis": 2, "axis_w": 2}),
]


def layers(op: str, rng: np.random.Generator) -> Cases:
    """The same layers for both operators; FCTransposed keeps W as [in, out]."""
    for index, (x, w, args) in enumerate([*LAYERS, *LAYERS[:5], *SPLIT_WEIGHTS]):
        axis = args.get("axis_w", 1)
        outs = int(np.prod(w[:axis]))
        if op == "FCTransposed":
            w = (*w[axis:], *w[:axis])
            args = {**args, "axis_w": len(w) - axis % len(w)} if len(w) > 2 else args
        feed = {"X": grid(rng, x), "W": grid(rng, w), "b": grid(rng, (outs,))}
        yield Case(op, feed, args=args if index % 4 else {**args, "float16_compute": 0})


def fc(op: str, rng: np.random.Generator) -> Cases:
    yield from layers(op, rng)
    w = (4, 3) if op == "FC" else (3, 4)
    feed = {"X": grid(rng, (2, 3)), "W": grid(rng, w), "b": grid(rng, (4,))}
    yield Case(op, {**feed, "X": grid(rng, (2, 5))}, refused=True)
    yield Case(op, {**feed, "b": grid(rng, (3,))}, refused=True)
    yield Case(op, {**feed, "b": grid(rng, (1, 4))}, refused=True)
    yield Case(op, {**feed, "b": grid(rng, (1,))}, refused=True)
    yield Case(op, {**feed, "X": grid(rng, (3,))}, refused=True)
    yield Case(op, {**feed, "X": grid(rng, ())}, refused=True)
    yield Case(op, {**feed, "W": grid(rng, (12,))}, refused=True)
    for args in ({"axis": 3}, {"axis": -3}, {"axis_w": 3}, {"axis": 2}):
        yield Case(op, feed, args=args, refused=True)
    for dtype in ("float64", "int32", "float16"):
        wrong = {name: array.astype(dtype) for name, array in feed.items()}
        yield Case(op, wrong, refused=True)
    yield Case(op, feed, ["X"], refused=True)
    yield Case(op, feed, reads=["X", "W"], refused=True)
    yield from wrong_arity(op, feed, ["Y"])


def fc_gradient(op: str, rng: np.random.Generator) -> Cases:
    name, reads = f"{op}Gradient", ["X", "W", "dY"]
    for index, case in enumerate(layers(op, rng)):
        if case.feed["W"].size == 0:
            continue  # the forward operator divides by zero
        outputs = ["dW", "db", "dX"] if index % 5 else ["dW", "db"]
        yield gradient(case, name, reads, outputs)
    w = (4, 3) if op == "FC" else (3, 4)
    feed = {"X": grid(rng, (2, 3)), "W": grid(rng, w), "dY": grid(rng, (2, 4))}
    three = ["dW", "db", "dX"]
    for shape in ((2, 5), (3, 4), (8,)):
        yield Case(name, {**feed, "dY": grid(rng, shape)}, three, refused=True)
    yield Case(name, {**feed, "X": grid(rng, (2, 5))}, three, refused=True)
    yield Case(name, feed, three, {"axis": 3}, refused=True)
    wrong = {key: array.astype("float64") for key, array in feed.items()}
    yield Case(name, wrong, three, refused=True)
    yield Case(name, feed, ["dW"], refused=True)
    yield Case(name, feed, ["W", "db"], refused=True)
    yield from wrong_arity(name, feed, three)


CASES = {
    "FC": partial(fc, "FC"),
    "FCGradient": partial(fc_gradient, "FC"),
    "FCTransposed": partial(fc, "FCTransposed"),
    "FCTransposedGradient": partial(fc_gradient, "FCTransposed"),
}
