"""Rows: losses of detection."""

import numpy as np

from caffe2py.errors import ArgumentError, ArityError, DTypeError, ShapeError, ValueRangeError
from caffe2py.testing import Bad, Case, Sample, uniform

FLOATS = ("float32", "float64")
F4 = np.ones((2, 3), np.float32)
F8 = np.ones((2, 3), np.float64)
I4 = np.ones((2, 3), np.int32)
ONE = np.ones((), np.float32)
ANY = uniform(-3, 3)
SUMS = "sums, in another order than numpy's"


def _sigmoid(x):
    return 1 / (1 + np.exp(-x))


def _softplus(x):
    return np.logaddexp(0, x)


def _row(name, ref, samples, bad, gradient=(0,)):
    return Case(
        name,
        ref,
        samples,
        bad=bad,
        gradient=gradient,
        gradient_outputs=(0,),
        tolerance=1e-5,
        tolerance_reason=SUMS,
    )


# ---------------------------------------------------------------- sigmoid cross entropy


def _cross(x, targets, scale=1.0, normalize=1):
    t = targets.reshape(x.shape)
    used = t != -1
    total = np.where(used, _softplus(x) - x * t, 0).sum()
    return np.asarray(scale * total / (max(used.sum(), 1e-5) if normalize else 1)).astype(x.dtype)


def _cross_gradient(x, targets, dloss, scale=1.0, normalize=1):
    t = targets.reshape(x.shape)
    used = t != -1
    factor = scale * dloss.reshape(()) / (max(used.sum(), 1e-5) if normalize else 1)
    return np.asarray(np.where(used, factor * (_sigmoid(x) - t), 0)).astype(x.dtype)


def _crosses(backward):
    def samples(rng):
        for dtype in map(np.dtype, FLOATS):
            for shape in ((), (0,), (7,), (2, 3, 4)):
                for args in ({}, {"scale": 2.5}, {"normalize": 0, "scale": 0.5}):
                    x = ANY(rng, shape, dtype)
                    targets = np.asarray(rng.integers(-1, 2, shape)).astype(np.int32)
                    dy = [np.asarray(1.5, dtype)] if backward else []
                    yield Sample([x, targets, *dy], args)
            ignored = np.full(3, -1, np.int32)
            dy = [np.array([1.5], dtype)] if backward else []
            yield Sample([ANY(rng, (3,), dtype), ignored, *dy])

    return samples


# ---------------------------------------------------------------- focal losses


def _anchors(scores, labels, classes):
    """Scores as (N, A, classes, places), labels as (N, A, places)."""
    n, channels, h, w = scores.shape
    by_class = scores.reshape(n, channels // classes, classes, h * w)
    return by_class, labels.reshape(n, channels // classes, h * w)


def _focal(logits, labels, normalizer, scale=1.0, alpha=0.25, gamma=1.0, num_classes=80):
    x, t = _anchors(logits.astype(np.float64), labels, num_classes)
    own = t[:, :, None] == np.arange(num_classes).reshape(-1, 1) + 1
    p = _sigmoid(x)
    losses = np.where(
        own, alpha * (1 - p) ** gamma * _softplus(-x), (1 - alpha) * p**gamma * _softplus(x)
    )
    total = (losses * (t[:, :, None] != -1)).sum()
    return np.asarray(scale * total / max(float(normalizer.reshape(())), 1)).astype(logits.dtype)


def _focal_gradient(
    logits, labels, normalizer, dloss, scale=1.0, alpha=0.25, gamma=1.0, num_classes=80
):
    x, t = _anchors(logits.astype(np.float64), labels, num_classes)
    own = t[:, :, None] == np.arange(num_classes).reshape(-1, 1) + 1
    p = _sigmoid(x)
    slope = np.where(
        own,
        -alpha * (1 - p) ** gamma * (1 - p + gamma * p * _softplus(-x)),
        (1 - alpha) * p**gamma * (p + gamma * (1 - p) * _softplus(x)),
    )
    factor = scale * dloss.reshape(()) / max(float(normalizer.reshape(())), 1)
    slope = slope * (t[:, :, None] != -1) * factor
    return slope.reshape(logits.shape).astype(logits.dtype)


def _softmax(x):
    e = np.exp(x - x.max(axis=2, keepdims=True, initial=-99))
    return e / e.sum(axis=2, keepdims=True)


def _own(t, classes):
    return (t[:, :, None] == np.arange(classes).reshape(-1, 1)).astype(np.float64)


def _soft_focal(
    scores, labels, normalizer, scale=1.0, alpha=0.25, gamma=1.0, num_classes=81, order="NCHW"
):
    x, t = _anchors(scores.astype(np.float64), labels, num_classes)
    probabilities = _softmax(x)
    p = (probabilities * _own(t, num_classes)).sum(axis=2)
    used = t >= 0
    weight = np.where(t == 0, 1 - alpha, alpha)
    safe = np.where(used, p, 0.5)
    total = np.where(used, -weight * (1 - safe) ** gamma * np.log(safe), 0).sum()
    loss = scale * total / max(float(normalizer.reshape(())), 1)
    return np.asarray(loss).astype(scores.dtype), probabilities.reshape(-1).astype(scores.dtype)


def _soft_focal_gradient(scores, labels, normalizer, probabilities, dloss, **args):
    args = {"scale": 1.0, "alpha": 0.25, "gamma": 1.0, "num_classes": 81, **args}
    classes, gamma = args["num_classes"], args["gamma"]
    q, t = _anchors(probabilities.reshape(scores.shape).astype(np.float64), labels, classes)
    own = _own(t, classes)
    used = t >= 0
    p = np.where(used, (q * own).sum(axis=2), 0.5)
    weight = np.where(t == 0, 1 - args["alpha"], args["alpha"])
    inner = gamma * (1 - p) ** (gamma - 1) * p * np.log(p) - (1 - p) ** gamma
    factor = args["scale"] * dloss.reshape(()) / max(float(normalizer.reshape(())), 1)
    slope = np.where(used, weight * inner * factor, 0)
    return (slope[:, :, None] * (own - q)).reshape(scores.shape).astype(scores.dtype)


FOCALS = (
    {"num_classes": 3},
    {"num_classes": 3, "gamma": 2.0, "alpha": 0.75, "scale": 0.5},
    {"num_classes": 2, "gamma": 0.0},
)


def _focals(most, backward, soft):
    def samples(rng):
        for dtype in map(np.dtype, FLOATS):
            for args in FOCALS:
                classes = args["num_classes"]
                for n, anchors, h, w in ((1, 1, 1, 1), (2, 2, 3, 2), (0, 1, 2, 2)):
                    x = ANY(rng, (n, anchors * classes, h, w), dtype)
                    labels = rng.integers(-1, classes + most, (n, anchors, h, w)).astype(np.int32)
                    inputs = [x, labels, np.asarray(rng.integers(0, 5)).astype(dtype)]
                    if backward and soft:
                        inputs.append(_soft_focal(*inputs, **args)[1])
                    if backward:
                        inputs.append(np.asarray(1.5, dtype))
                    yield Sample(inputs, args, outputs=1 if backward or not soft else 2)

    return samples


X4 = np.ones((1, 4, 2, 2), np.float32)
T4 = np.ones((1, 2, 2, 2), np.int32)
TWO = {"num_classes": 2}


def _focal_errors(outputs, extra):
    """`extra` are the inputs after the normalizer, `most` the largest label."""
    return [
        Bad([X4, T4[:, :1], ONE, *extra], ShapeError, "'labels' must have 8", TWO, outputs),
        Bad([X4, T4, ONE, *extra], ShapeError, "multiple of 3", {"num_classes": 3}, outputs),
        Bad([X4, T4, ONE, *extra], ArgumentError, "at least 1", {"num_classes": 0}, outputs),
        Bad([X4, T4, X4, *extra], ShapeError, "'normalizer' must have 1", TWO, outputs),
        Bad([X4[0], T4, ONE, *extra], ShapeError, "must have 4 dimension", TWO, outputs),
        Bad([X4, T4 + 2, ONE, *extra], ValueRangeError, "label 3 at position 0", TWO, outputs),
        Bad([X4, T4 - 3, ONE, *extra], ValueRangeError, "label -2 at position 0", TWO, outputs),
        Bad([X4, X4, ONE, *extra], DTypeError, "'labels' is float32", TWO, outputs),
        Bad([X4, T4, ONE.astype(np.float64), *extra], DTypeError, "one type", TWO, outputs),
        Bad([X4, T4], ArityError, "expected", TWO, outputs),
    ]


# ---------------------------------------------------------------- smooth L1


def _smooth(d, beta):
    return np.where(abs(d) < beta, d * d / 2 / (beta or 1), abs(d) - beta / 2)


def _slope(d, beta):
    return np.where(abs(d) < beta, d / (beta or 1), np.sign(d))


def _boxes(x, y, inside, outside, beta=1.0, scale=1.0):
    y, inside, outside = (a.reshape(x.shape) for a in (y, inside, outside))
    total = (outside * _smooth(inside * (x - y), beta)).sum()
    return np.asarray(scale * total / max(x.shape[0], 1)).astype(x.dtype)


def _boxes_gradient(x, y, inside, outside, dloss, beta=1.0, scale=1.0):
    y, inside, outside = (a.reshape(x.shape) for a in (y, inside, outside))
    factor = scale * dloss.reshape(()) / max(x.shape[0], 1)
    return (factor * inside * outside * _slope(inside * (x - y), beta)).astype(x.dtype)


BETAS = ({}, {"beta": 0.5, "scale": 2.0}, {"beta": 0.0})


def _box_samples(backward):
    def samples(rng):
        for dtype in map(np.dtype, FLOATS):
            for shape in ((3, 4), (1,), (0, 4), (2, 3, 2)):
                for args in BETAS:
                    x, y = (ANY(rng, shape, dtype) for _ in range(2))
                    weights = [np.asarray(rng.integers(0, 3, shape)).astype(dtype) for _ in "io"]
                    dy = [np.array([1.5], dtype)] if backward else []
                    yield Sample([x, y, *weights, *dy], args)

    return samples


def _chosen(x, places):
    """The four numbers of each box, and where they are."""
    n, c, row, column = places.astype(np.int64).T.reshape(4, -1, 1)
    return n, c + np.arange(4), row, column


def _select(x, y, places, normalizer, beta=1.0, scale=1.0):
    total = _smooth(x[_chosen(x, places)] - y, beta).sum()
    return np.asarray(scale * total / max(float(normalizer.reshape(())), 1)).astype(x.dtype)


def _select_gradient(x, y, places, normalizer, dloss, beta=1.0, scale=1.0):
    dx = np.zeros(x.shape)
    where = _chosen(x, places)
    factor = scale * dloss.reshape(()) / max(float(normalizer.reshape(())), 1)
    np.add.at(dx, where, factor * _slope(x[where] - y, beta))
    return dx.astype(x.dtype)


def _selections(backward):
    def samples(rng):
        for dtype in map(np.dtype, FLOATS):
            for count in (0, 1, 5):
                for args in BETAS:
                    x, y = ANY(rng, (2, 8, 3, 2), dtype), ANY(rng, (count, 4), dtype)
                    places = rng.integers(0, (2, 5, 3, 2), (count, 4)).astype(dtype)
                    boxes = np.asarray(rng.integers(0, 7)).astype(dtype)
                    dy = [np.asarray(1.5, dtype)] if backward else []
                    yield Sample([x, y, places, boxes, *dy], args)

    return samples


MAP = np.ones((1, 4, 2, 2), np.float32)
BOX = np.zeros((1, 4), np.float32)


def _box_errors(extra):
    return [
        Bad([F4, F4[0], F4, F4, *extra], ShapeError, "'Y' must have 6 element"),
        Bad([F4, F4.reshape(3, 2), F4, F4, *extra], ShapeError, "the same number of rows"),
        Bad([F4, F4, F4, F4[:1], *extra], ShapeError, "'alpha_out' must have 6"),
        Bad([F4[0, 0], ONE, ONE, ONE, *extra], ShapeError, "'Y_hat' must have rows"),
        Bad([F4, F8, F4, F4, *extra], DTypeError, "one type"),
        Bad([I4, F4, F4, F4, *extra], DTypeError, "'Y_hat' is int32"),
        Bad([F4, F4, F4, F4, *extra], ArgumentError, "negative", args={"beta": -1.0}),
        Bad([F4, F4, F4], ArityError, "expected"),
    ]


def _choice_errors(extra):
    return [
        Bad([MAP, BOX, BOX[:0], ONE, *extra], ShapeError, "one shape"),
        Bad([MAP, BOX[0], BOX[0], ONE, *extra], ShapeError, r"must be \(M,4\)"),
        Bad([MAP[0], BOX, BOX, ONE, *extra], ShapeError, "must have 4 dimension"),
        Bad([MAP, BOX, BOX, F4, *extra], ShapeError, "'normalizer' must have 1"),
        Bad([MAP, BOX, BOX + 1, ONE, *extra], ValueRangeError, r"location 0 \(1, 1, 1, 1\)"),
        Bad([MAP, BOX, BOX - 1, ONE, *extra], ValueRangeError, "location 0"),
        Bad([MAP, BOX, BOX + np.inf, ONE, *extra], ValueRangeError, "location 0"),
        Bad([MAP, BOX.astype(np.float64), BOX, ONE, *extra], DTypeError, "one type"),
        Bad([MAP, BOX, BOX, ONE, *extra], ArgumentError, "negative", args={"beta": -1.0}),
        Bad([MAP, BOX, BOX], ArityError, "expected"),
    ]


CASES = [
    _row(
        "SigmoidCrossEntropyLoss",
        _cross,
        _crosses(False),
        [
            Bad([F4, I4[:1]], ShapeError, "'targets' must have 6 element"),
            Bad([F4, F4], DTypeError, "'targets' is float32; supported: int32"),
            Bad([I4, I4], DTypeError, "'X' is int32; supported: float32"),
            Bad([F4, I4], ArgumentError, "'scale'", args={"scale": "a"}),
            Bad([F4], ArityError, "expected 2"),
        ],
    ),
    _row(
        "SigmoidCrossEntropyLossGradient",
        _cross_gradient,
        _crosses(True),
        [
            Bad([F4, I4[:1], ONE], ShapeError, "'targets' must have 6 element"),
            Bad([F4, I4, F4], ShapeError, "'d_loss' must have 1 element"),
            Bad([F4, I4, F8[0, :1]], DTypeError, "one type"),
            Bad([F4, I4], ArityError, "expected 3"),
        ],
    ),
    _row("SigmoidFocalLoss", _focal, _focals(1, False, False), _focal_errors(1, [])),
    _row(
        "SigmoidFocalLossGradient",
        _focal_gradient,
        _focals(1, True, False),
        _focal_errors(1, [ONE]),
    ),
    _row(
        "SoftmaxFocalLoss",
        _soft_focal,
        _focals(0, False, True),
        [
            *_focal_errors(2, []),
            Bad([X4, T4, ONE], ArgumentError, "NCHW", {**TWO, "order": "NHWC"}, 2),
        ],
    ),
    _row(
        "SoftmaxFocalLossGradient",
        _soft_focal_gradient,
        _focals(0, True, True),
        [
            *_focal_errors(1, [X4.reshape(-1), ONE]),
            Bad([X4, T4, ONE, X4[0, 0], ONE], ShapeError, "'probabilities' must have 16", TWO),
        ],
    ),
    _row("SmoothL1Loss", _boxes, _box_samples(False), _box_errors([])),
    _row("SmoothL1LossGradient", _boxes_gradient, _box_samples(True), _box_errors([ONE])),
    _row("SelectSmoothL1Loss", _select, _selections(False), _choice_errors([])),
    _row("SelectSmoothL1LossGradient", _select_gradient, _selections(True), _choice_errors([ONE])),
]
