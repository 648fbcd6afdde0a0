"""Losses and their gradients, distances, and accuracy."""

from functools import partial
from typing import Any

import numpy as np

from tools.golden.case import Case, Cases, Step, grid, pick, positive, wrong_arity

ROUNDS = 20


def labels(rng: np.random.Generator, classes: int, shape: Any, low: int = 0) -> np.ndarray:
    return np.asarray(rng.integers(low, classes, shape)).astype("int32")


def quarters(rng: np.random.Generator, rows: int, columns: int) -> np.ndarray:
    """Rows of probabilities that sum to 1 exactly."""
    counts = rng.multinomial(16, [1 / columns] * columns, rows)
    return (counts / 16).astype("float32").reshape(rows, columns)


def after(case: Case, op: str, reads: list[str], outputs: list[str], like: dict[str, str]) -> Case:
    """A gradient's case: the forward operator runs before it."""
    forward = Step(case.op, case.inputs, case.outputs, case.args)
    return Case(op, case.feed, outputs, case.args, reads=reads, before=[forward], like=like)


# ---------------------------------------------------------------- softmax with loss

LOGITS: list[tuple[tuple[int, ...], dict[str, Any]]] = [
    ((2, 3), {}),
    ((1, 1), {}),
    ((5, 4), {"scale": 2.5}),
    ((4, 3), {"average_by_batch_size": 1}),
    ((2, 3, 2), {}),
    ((2, 3, 2), {"axis": 2}),
    ((2, 3, 4), {"axis": -1, "scale": 0.5}),
    ((3,), {"axis": 0}),
    ((0, 3), {}),
    ((6, 10), {"axis": 1, "order": "NCHW"}),
]


def softmax_feeds(rng: np.random.Generator) -> Cases:
    for shape, args in LOGITS:
        axis = args.get("axis", 1) % len(shape)
        rows, classes = int(np.prod(shape[:axis])), int(np.prod(shape[axis:]))
        logits = grid(rng, shape)
        sparse = labels(rng, classes, shape[:axis] if rows % 2 else (*shape[:axis], 1))
        soft = quarters(rng, rows, classes).reshape(shape)
        weights = positive(rng, (rows,))
        for feed, extra in (
            ({"logits": logits, "labels": sparse}, {}),
            ({"logits": logits, "labels": sparse, "weights": weights}, {}),
            ({"logits": logits, "labels": soft}, {"label_prob": 1}),
            ({"logits": logits, "labels": soft, "weights": weights}, {"label_prob": 1}),
        ):
            if extra and len(shape) < 2:
                continue
            yield Case("SoftmaxWithLoss", feed, ("softmax", "loss"), {**args, **extra})


def softmax_with_loss(rng: np.random.Generator) -> Cases:
    op, two = "SoftmaxWithLoss", ("softmax", "loss")
    yield from softmax_feeds(rng)
    feed = {"logits": grid(rng, (2, 3)), "labels": labels(rng, 3, (2,))}
    yield Case(op, {**feed, "weights": np.zeros(2, "float32")}, two)
    yield Case(op, {**feed, "logits": grid(rng, (2, 3)) * np.float32(500)}, two)
    for wrong in ([0, 3], [-1, 0]):
        yield Case(op, {**feed, "labels": np.array(wrong, "int32")}, two, refused=True)
    for shape in ((3,), (1, 2), (2, 3)):
        yield Case(op, {**feed, "labels": labels(rng, 2, shape)}, two, refused=True)
    soft = {**feed, "labels": np.array([[0.5, 0.25, 0.5], [0, 1, 0]], "float32")}
    yield Case(op, soft, two, {"label_prob": 1}, refused=True)
    soft = {**feed, "labels": np.array([[1.5, -0.5, 0], [0, 1, 0]], "float32")}
    yield Case(op, soft, two, {"label_prob": 1}, refused=True)
    for args in ({"axis": 2}, {"axis": -3}, {"order": "NHWC"}, {"label_prob": 1}):
        yield Case(op, feed, two, args, refused=True)
    yield Case(op, {**feed, "logits": feed["logits"].astype("float64")}, two, refused=True)
    yield Case(op, {**feed, "labels": feed["labels"].astype("int64")}, two, refused=True)
    yield from wrong_arity(op, feed, two)


def softmax_with_loss_gradient(rng: np.random.Generator) -> Cases:
    for case in softmax_feeds(rng):
        reads = [*case.feed, "softmax", "dloss"]
        yield after(case, "SoftmaxWithLossGradient", reads, ["dX"], {"dloss": "loss"})


PIXELS = [(1, 3, 2, 2), (2, 4, 3, 2), (1, 1, 1, 3), (3, 2, 2, 1), (0, 3, 2, 2), (2, 5, 1, 1)]


def spatial_feeds(rng: np.random.Generator) -> Cases:
    for index, shape in enumerate(PIXELS):
        pixels = (shape[0], *shape[2:])
        feed = {"logits": grid(rng, shape), "labels": labels(rng, shape[1], pixels, -1)}
        args = {"scale": 1.5} if index % 2 else {}
        for low in (-1, 0):
            feed = {**feed, "labels": labels(rng, shape[1], pixels, low)}
            yield Case("SpatialSoftmaxWithLoss", feed, ("softmax", "loss"), args)
            more = {**feed, "weights": positive(rng, pixels)}
            yield Case("SpatialSoftmaxWithLoss", more, ("softmax", "loss"), args)


def spatial(rng: np.random.Generator) -> Cases:
    op, two = "SpatialSoftmaxWithLoss", ("softmax", "loss")
    yield from spatial_feeds(rng)
    feed = {"logits": grid(rng, (1, 3, 2, 2)), "labels": labels(rng, 3, (1, 2, 2))}
    yield Case(op, {**feed, "labels": np.full((1, 2, 2), -1, "int32")}, two)
    for label in (3, -2):
        yield Case(op, {**feed, "labels": np.full((1, 2, 2), label, "int32")}, two, refused=True)
    for shape in ((2, 2), (1, 4), (1, 1, 2, 2)):
        yield Case(op, {**feed, "labels": labels(rng, 3, shape)}, two, refused=True)
    yield Case(op, {**feed, "logits": grid(rng, (3, 2, 2))}, two, refused=True)
    yield Case(op, feed, two, {"order": "NHWC"}, refused=True)
    yield from wrong_arity(op, feed, two)


def spatial_gradient(rng: np.random.Generator) -> Cases:
    for case in spatial_feeds(rng):
        reads = [*case.feed, "softmax", "dloss"]
        yield after(case, "SpatialSoftmaxWithLossGradient", reads, ["dX"], {"dloss": "loss"})


# ---------------------------------------------------------------- entropies

MATRICES = [(2, 3), (1, 1), (4, 1), (0, 3), (5, 6), (3, 2, 2), (1, 4), (7, 2)]


def entropy_feeds(op: str, rng: np.random.Generator) -> Cases:
    for index in range(ROUNDS + 4):
        shape = MATRICES[index % len(MATRICES)]
        columns = int(np.prod(shape[1:]))
        x = (rng.integers(0 if index == 1 else 1, 33, shape) / 32).astype("float32")
        if op == "CrossEntropy":
            target = (rng.integers(0, 17, (shape[0], columns)) / 16).astype("float32")
        else:
            target = labels(rng, columns, shape[:1] if index % 2 else (shape[0], 1))
        yield Case(op, {"X": x, "label": target})


def entropy(op: str, rng: np.random.Generator) -> Cases:
    yield from entropy_feeds(op, rng)
    soft = op == "CrossEntropy"
    good = np.ones((2, 3), "float32") if soft else labels(rng, 3, (2,))
    feed = {"X": positive(rng, (2, 3)), "label": good}
    wrong = [good + 1, good - 2] if soft else [good + 3, good - 3]
    for target in (*wrong, good[:1], good[None]):
        yield Case(op, {**feed, "label": target}, refused=True)
    yield Case(op, {**feed, "X": feed["X"].astype("float64")}, refused=True)
    yield Case(op, {**feed, "label": good.astype("int64")}, refused=True)
    yield from wrong_arity(op, feed, ["Y"])


def entropy_gradient(op: str, rng: np.random.Generator) -> Cases:
    for case in entropy_feeds(op, rng):
        yield after(case, f"{op}Gradient", ["X", "label", "dY"], ["dX"], {"dY": "Y"})
    case = next(entropy_feeds(op, rng))
    feed = {**case.feed, "dY": grid(rng, (1,))}
    yield Case(f"{op}Gradient", feed, ["dX"], refused=True)
    yield from wrong_arity(f"{op}Gradient", {**feed, "dY": grid(rng, (2,))}, ["dX"])


def logistic_feeds(rng: np.random.Generator) -> Cases:
    for index in range(ROUNDS + 7):
        shape = [(2, 3), (3,), (2, 3, 4), (0, 3), (1, 1), (5, 7)][index % 6]
        args = [{}, {"log_D_trick": 1}, {"unjoined_lr_loss": 1}][index % 3]
        target = (rng.integers(0, 17, shape) / 16).astype("float32")
        feed = {"logits": grid(rng, shape) * np.float32(1 + index), "targets": target}
        yield Case("SigmoidCrossEntropyWithLogits", feed, ["Y"], args)


def logistic(rng: np.random.Generator) -> Cases:
    op = "SigmoidCrossEntropyWithLogits"
    yield from logistic_feeds(rng)
    feed = {"logits": grid(rng, (2, 3)), "targets": grid(rng, (2, 3))}
    both = {"log_D_trick": 1, "unjoined_lr_loss": 1}
    yield Case(op, feed, ["Y"], both, refused=True)
    yield Case(op, {**feed, "targets": grid(rng, (1, 3))}, ["Y"], refused=True)
    yield Case(op, {**feed, "targets": grid(rng, (2, 3), "int32")}, ["Y"], refused=True)
    yield from wrong_arity(op, feed, ["Y"])


def logistic_gradient(rng: np.random.Generator) -> Cases:
    op, reads = "SigmoidCrossEntropyWithLogitsGradient", ["dY", "logits", "targets"]
    for case in logistic_feeds(rng):
        yield after(case, op, reads, ["dX"], {"dY": "Y"})
    feed = {"dY": grid(rng, (1,)), "logits": grid(rng, (2, 3)), "targets": grid(rng, (2, 3))}
    yield Case(op, feed, ["dX"], refused=True)


# ---------------------------------------------------------------- distances, mean, accuracy


def distance_feeds(op: str, rng: np.random.Generator) -> Cases:
    for index in range(ROUNDS):
        shape = [(2, 3), (4,), (2, 3, 4), (0, 3), (2, 0), (1, 1), (6, 5)][index % 7]
        yield Case(op, {"X": grid(rng, shape), "Y": grid(rng, shape)}, ["Z"])


def distance(op: str, rng: np.random.Generator) -> Cases:
    yield from distance_feeds(op, rng)
    feed = {"X": grid(rng, (2, 3)), "Y": grid(rng, (2, 3))}
    for shape in ((1, 3), (3, 2), (6,), (2, 3, 1)):
        yield Case(op, {**feed, "Y": grid(rng, shape)}, ["Z"], refused=True)
    wide = {name: array.astype("float64") for name, array in feed.items()}
    yield Case(op, wide, ["Z"], refused=True)
    yield from wrong_arity(op, feed, ["Z"])


def distance_gradient(op: str, rng: np.random.Generator) -> Cases:
    for case in distance_feeds(op, rng):
        yield after(case, f"{op}Gradient", ["X", "Y", "dZ"], ["dX", "dY"], {"dZ": "Z"})
    feed = {"X": grid(rng, (2, 3)), "Y": grid(rng, (2, 3)), "dZ": grid(rng, (1,))}
    yield Case(f"{op}Gradient", feed, ["dX", "dY"], refused=True)
    yield from wrong_arity(f"{op}Gradient", {**feed, "dZ": grid(rng, (2,))}, ["dX", "dY"])


def mean_feeds(rng: np.random.Generator) -> Cases:
    for index in range(ROUNDS):
        shape = [(2, 3), (), (0,), (3, 0), (7,), (2, 3, 4), (40,)][index % 7]
        args = {"average": index % 2} if index % 3 == 0 else {}
        yield Case("AveragedLoss", {"X": grid(rng, shape)}, ["Y"], args)


def mean(rng: np.random.Generator) -> Cases:
    yield from mean_feeds(rng)
    feed = {"X": grid(rng, (2, 3))}
    for dtype in ("float64", "int32", "int64"):
        yield Case("AveragedLoss", {"X": feed["X"].astype(dtype)}, refused=True)
    yield Case("AveragedLoss", feed, ["X"], refused=True)
    yield from wrong_arity("AveragedLoss", feed, ["Y"])


def mean_gradient(rng: np.random.Generator) -> Cases:
    for case in mean_feeds(rng):
        yield after(case, "AveragedLossGradient", ["X", "dY"], ["dX"], {"dY": "Y"})
    feed = {"X": grid(rng, (2, 3)), "dY": grid(rng, ())}
    yield from wrong_arity("AveragedLossGradient", feed, ["dX"])


def accuracy(rng: np.random.Generator) -> Cases:
    op = "Accuracy"
    for index in range(ROUNDS + 2):
        rows, classes = pick(rng, [(2, 3), (5, 4), (1, 1), (20, 6), (0, 3)])
        feed = {"X": grid(rng, (rows, classes)), "label": labels(rng, classes, (rows,))}
        yield Case(op, feed, args={"top_k": int(rng.integers(-1, 8))} if index % 3 else {})
    feed = {"X": grid(rng, (2, 3)), "label": labels(rng, 3, (2,))}
    for shape in ((1,), (3,), (2, 1)):
        yield Case(op, {**feed, "label": labels(rng, 3, shape)}, refused=True)
    yield Case(op, {**feed, "X": grid(rng, (2, 3, 1))}, refused=True)
    yield Case(op, {**feed, "X": grid(rng, (3,))}, refused=True)
    yield Case(op, {**feed, "label": feed["label"].astype("int64")}, refused=True)
    yield from wrong_arity(op, feed, ["Y"])


CASES = {
    "SoftmaxWithLoss": softmax_with_loss,
    "SoftmaxWithLossGradient": softmax_with_loss_gradient,
    "SpatialSoftmaxWithLoss": spatial,
    "SpatialSoftmaxWithLossGradient": spatial_gradient,
    "SigmoidCrossEntropyWithLogits": logistic,
    "SigmoidCrossEntropyWithLogitsGradient": logistic_gradient,
    "AveragedLoss": mean,
    "AveragedLossGradient": mean_gradient,
    "Accuracy": accuracy,
    **{op: partial(entropy, op) for op in ("LabelCrossEntropy", "CrossEntropy")},
    **{
        f"{op}Gradient": partial(entropy_gradient, op)
        for op in ("LabelCrossEntropy", "CrossEntropy")
    },
    **{op: partial(distance, op) for op in ("SquaredL2Distance", "L1Distance")},
    **{
        f"{op}Gradient": partial(distance_gradient, op)
        for op in ("SquaredL2Distance", "L1Distance")
    },
}
