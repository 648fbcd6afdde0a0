"""Losses of detection: SigmoidCrossEntropyLoss, focal losses, smooth L1 losses of boxes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from caffe2py.errors import ArgumentError, ShapeError
from caffe2py.kernels import focal, smooth
from caffe2py.kernels.copy import launch_fill
from caffe2py.kernels.elementwise import FLOATS
from caffe2py.registry.context import Call, Launch
from caffe2py.registry.infer import (
    Query,
    product,
    require_dtype,
    require_rank,
    require_same_dtype,
    require_same_shape,
)
from caffe2py.registry.operator import operator
from caffe2py.registry.schema import Arg
from caffe2py.tensor.tensor import Array
from caffe2py.tensor.types import DType, TensorType, shape_text

Dims = tuple[int | None, ...]


def _floats(query: Query, *indices: int) -> DType | None:
    for index in indices:
        require_dtype(query, index, *FLOATS)
    return require_same_dtype(query, *indices)


def _size(query: Query, index: int) -> int | None:
    shape = query.inputs[index].shape
    return None if shape is None else product(shape)


def _require_size(query: Query, wanted: int | None, *indices: int) -> None:
    """Raise ShapeError unless the inputs have so many elements."""
    for index in indices:
        found = _size(query, index)
        if None not in (wanted, found) and found != wanted:
            raise ShapeError(
                f"input {index} '{query.name(index)}' must have {wanted} element(s), "
                f"found {shape_text(query.inputs[index].shape)}"
            )


# ---------------------------------------------------------------- sigmoid cross entropy

SIGMOID = {
    "scale": Arg(float, 1.0, "a factor of the loss"),
    "normalize": Arg(int, 1, "0: the sum over the targets that take part, else their mean"),
}


def _infer_sigmoid(query: Query) -> Sequence[TensorType]:
    floats = (0, *range(2, len(query.inputs)))
    dtype = _floats(query, *floats)
    require_dtype(query, 1, "int32")
    _require_size(query, _size(query, 0), 1)
    _require_size(query, 1, *range(2, len(query.inputs)))
    x = query.inputs[0]
    return [x.with_dtype(dtype) if len(query.inputs) > 2 else TensorType(dtype, ())]


_sigmoid = operator(
    "SigmoidCrossEntropyLoss",
    "X, targets -> loss",
    infer=_infer_sigmoid,
    gradient="SigmoidCrossEntropyLossGradient(X, targets, dloss) -> dX",
    arguments=SIGMOID,
    doc="""
    loss = `scale` * the mean (without `normalize` the sum) of ln(1 + exp(x)) - x * t over logits x
    and their targets t, int32 of 0 and 1; those of target -1 take no part, and if none does the
    loss is 0. A scalar. Raises ShapeError unless X and targets have one number of elements.
    """,
    example="""
    X = [0, 2, 7]; targets = [1, 0, -1]
    loss = (0.6931 + 2.1269) / 2 = 1.41
    """,
)
_sigmoid_gradient = operator(
    "SigmoidCrossEntropyLossGradient",
    "X, targets, d_loss -> dX",
    infer=_infer_sigmoid,
    arguments=SIGMOID,
    doc="""
    dX = `scale` * d_loss / n * (sigmoid(X) - t), where n is the number of targets that take part
    (1 without `normalize`); 0 where the target is -1.
    """,
)


def _sigmoid_args(call: Call) -> dict[str, Any]:
    return {"normalize": bool(call.args.normalize), "scale": call.args.scale}


@_sigmoid.everywhere
def _launch_sigmoid(call: Call) -> list[Launch]:
    x, targets = call.inputs
    return focal.launch_sigmoid_loss(x, targets, call.outputs[0], **_sigmoid_args(call))


@_sigmoid_gradient.everywhere
def _launch_sigmoid_gradient(call: Call) -> list[Launch]:
    x, targets, dy = call.inputs
    dx = call.outputs[0]
    return focal.launch_sigmoid_loss_gradient(x, targets, dy, dx, **_sigmoid_args(call))


# ---------------------------------------------------------------- focal losses


def _focal_args(classes: int, what: str) -> dict[str, Arg]:
    return {
        "scale": Arg(float, 1.0, "a factor of the loss"),
        "alpha": Arg(float, 0.25, "the weight of the labels above 0; the others have 1 minus it"),
        "gamma": Arg(float, 1.0, "how little counts what is right already; 0: as much as the rest"),
        "num_classes": Arg(int, classes, what),
    }


SIGMOID_FOCAL = _focal_args(80, "the number of classes, without the background")
SOFTMAX_FOCAL = {
    **_focal_args(81, "the number of classes, with the background as class 0"),
    "order": Arg(str, "NCHW", "NCHW; nothing else is there"),
}


def _anchors(query: Query) -> None:
    """Scores (N, A * classes, H, W) and labels (N, A, H, W), one number of positives."""
    args = query.args
    if args.num_classes < 1:
        raise ArgumentError(f"num_classes must be at least 1, found {args.num_classes}")
    if getattr(args, "order", "NCHW") != "NCHW":
        raise ArgumentError(f"argument 'order' must be NCHW, found {args.order!r}")
    require_dtype(query, 1, "int32")
    require_rank(query, 0, 4)
    _require_size(query, 1, 2)
    scores = query.inputs[0].shape
    if scores is None:
        return
    channels = scores[1]
    if channels is not None and channels % args.num_classes:
        raise ShapeError(
            f"'{query.name(0)}' {shape_text(scores)} must have a multiple of {args.num_classes} "
            "channels, one for each class"
        )
    anchors = None if channels is None else channels // args.num_classes
    _require_size(query, product((scores[0], anchors, *scores[2:])), 1)


def _by_anchor(scores: Array, classes: int) -> Array:
    """(N, A * classes, H, W) as (N, A, classes, H * W)."""
    n, channels, height, width = scores.shape
    return scores.reshape(n, channels // classes, classes, height * width)


def _labels(labels: Array, scores: Array) -> Array:
    n, anchors, _, pixels = scores.shape
    return labels.reshape(n, anchors, pixels)


def _weights(call: Call) -> dict[str, float]:
    return {name: getattr(call.args, name) for name in ("alpha", "gamma", "scale")}


def _infer_sigmoid_focal(query: Query) -> Sequence[TensorType]:
    _anchors(query)
    return [TensorType(_floats(query, 0, 2), ())]


def _infer_sigmoid_focal_gradient(query: Query) -> Sequence[TensorType]:
    _anchors(query)
    _require_size(query, 1, 3)
    return [query.inputs[0].with_dtype(_floats(query, 0, 2, 3))]


_sigmoid_focal = operator(
    "SigmoidFocalLoss",
    "logits, labels, normalizer -> loss",
    infer=_infer_sigmoid_focal,
    gradient="SigmoidFocalLossGradient(logits, labels, normalizer, dloss) -> dlogits",
    arguments=SIGMOID_FOCAL,
    doc="""
    loss = `scale` / max(normalizer, 1) * the sum of -`alpha` * (1 - p)^`gamma` * ln(p) for the
    class that a label names and -(1 - `alpha`) * p^`gamma` * ln(1 - p) for all other classes, with
    p = sigmoid(logit). Logits are (N, A * num_classes, H, W), labels (N, A, H, W), int32: 0 is the
    background, c the class c - 1, -1 takes no part. Normalizer is the number of positives. A
    scalar. Raises ValueRangeError for other labels.
    """,
    example="""
    logits = [[[[0]], [[0]]]]; labels = [[[[1]]]]; normalizer = 1; num_classes = 2
    loss = 0.25 * 0.5 * 0.6931 + 0.75 * 0.5 * 0.6931 = 0.3466
    """,
)
_sigmoid_focal_gradient = operator(
    "SigmoidFocalLossGradient",
    "logits, labels, normalizer, d_loss -> d_logits",
    infer=_infer_sigmoid_focal_gradient,
    arguments=SIGMOID_FOCAL,
    doc="""
    d_logits = `scale` * d_loss / max(normalizer, 1) times, for the class of the label,
    -`alpha` * (1 - p)^`gamma` * (1 - p - `gamma` * p * ln(p)), for the others
    (1 - `alpha`) * p^`gamma` * (p - `gamma` * (1 - p) * ln(1 - p)), and 0 where the label is -1.
    """,
)


@_sigmoid_focal.everywhere
def _launch_sigmoid_focal(call: Call) -> list[Launch]:
    logits, labels, positives = call.inputs
    x = _by_anchor(logits, call.args.num_classes)
    return focal.launch_sigmoid_focal(
        x, _labels(labels, x), positives, call.outputs[0], **_weights(call)
    )


@_sigmoid_focal_gradient.everywhere
def _launch_sigmoid_focal_gradient(call: Call) -> list[Launch]:
    logits, labels, positives, dy = call.inputs
    x, dx = (_by_anchor(a, call.args.num_classes) for a in (logits, call.outputs[0]))
    return focal.launch_sigmoid_focal_gradient(
        x, _labels(labels, x), positives, dy, dx, **_weights(call)
    )


def _infer_softmax_focal(query: Query) -> Sequence[TensorType]:
    _anchors(query)
    dtype = _floats(query, 0, 2)
    return [TensorType(dtype, ()), TensorType(dtype, (_size(query, 0),))]


def _infer_softmax_focal_gradient(query: Query) -> Sequence[TensorType]:
    _anchors(query)
    _require_size(query, _size(query, 0), 3)
    _require_size(query, 1, 4)
    return [query.inputs[0].with_dtype(_floats(query, 0, 2, 3, 4))]


_softmax_focal = operator(
    "SoftmaxFocalLoss",
    "scores, labels, normalizer -> loss, probabilities",
    infer=_infer_softmax_focal,
    gradient="SoftmaxFocalLossGradient(scores, labels, normalizer, probabilities, dloss) -> "
    "dscores",
    arguments=SOFTMAX_FOCAL,
    doc="""
    loss = `scale` / max(normalizer, 1) * the sum of -w * (1 - p)^`gamma` * ln(p) over all labels,
    where p is the probability of the label's class, a softmax over the num_classes scores of an
    anchor and place, and w = `alpha`, or 1 - `alpha` for class 0, the background. Scores are
    (N, A * num_classes, H, W), labels (N, A, H, W), int32; -1 takes no part. Probabilities are
    flat. Raises ValueRangeError for other labels.
    """,
    example="""
    scores = [[[[0]], [[0]]]]; labels = [[[[1]]]]; normalizer = 1; num_classes = 2
    loss = 0.25 * 0.5 * 0.6931 = 0.0866; probabilities = [0.5, 0.5]
    """,
)
_softmax_focal_gradient = operator(
    "SoftmaxFocalLossGradient",
    "scores, labels, normalizer, probabilities, d_loss -> d_scores",
    infer=_infer_softmax_focal_gradient,
    arguments=SOFTMAX_FOCAL,
    doc="""
    d_scores[c] = `scale` * d_loss / max(normalizer, 1) * w * (`gamma` * (1 - p)^(`gamma` - 1) * p *
    ln(p) - (1 - p)^`gamma`) * (1 - q) for the class c of the label, * -q for the others, where q is
    the probability of c and p that of the label's class; 0 where the label is -1.
    """,
)


@_softmax_focal.everywhere
def _launch_softmax_focal(call: Call) -> list[Launch]:
    scores, labels, positives = call.inputs
    loss, flat = call.outputs
    x = _by_anchor(scores, call.args.num_classes)
    p = flat.reshape(x.shape)
    return focal.launch_softmax_focal(x, _labels(labels, x), positives, loss, p, **_weights(call))


@_softmax_focal_gradient.everywhere
def _launch_softmax_focal_gradient(call: Call) -> Launch:
    _, labels, positives, flat, dy = call.inputs
    dx = _by_anchor(call.outputs[0], call.args.num_classes)
    p = flat.reshape(dx.shape)
    return focal.launch_softmax_focal_gradient(
        p, _labels(labels, dx), positives, dy, dx, **_weights(call)
    )


# ---------------------------------------------------------------- smooth L1 losses

SMOOTH = {
    "beta": Arg(float, 1.0, "from here on the loss grows like the distance, below like its square"),
    "scale": Arg(float, 1.0, "a factor of the loss"),
}


def _require_beta(query: Query) -> None:
    if not query.args.beta >= 0:
        raise ArgumentError(f"beta must not be negative, found {query.args.beta}")


def _infer_smooth(query: Query) -> Sequence[TensorType]:
    _require_beta(query)
    dtype = _floats(query, *range(len(query.inputs)))
    x = query.inputs[0]
    if x.shape == ():
        raise ShapeError("'Y_hat' must have rows, found ()")
    _require_size(query, _size(query, 0), 1, 2, 3)
    y = query.inputs[1].shape
    if (
        x.shape
        and y is not None
        and (not y or (None not in (x.shape[0], y[0]) and x.shape[0] != y[0]))
    ):
        raise ShapeError(
            f"'Y_hat' {shape_text(x.shape)} and 'Y' {shape_text(y)} must have the same number of "
            "rows"
        )
    if len(query.inputs) == 4:
        return [TensorType(dtype, ())]
    _require_size(query, 1, 4)
    return [x.with_dtype(dtype)]


_smooth = operator(
    "SmoothL1Loss",
    "Y_hat, Y, alpha_in, alpha_out -> loss",
    infer=_infer_smooth,
    gradient="SmoothL1LossGradient(Y_hat, Y, alpha_in, alpha_out, dloss) -> dY_hat",
    arguments=SMOOTH,
    doc="""
    loss = `scale` / N * the sum of alpha_out * f(alpha_in * (Y_hat - Y)), where f(d) = d^2 / 2 /
    `beta` for |d| < `beta` and |d| - `beta` / 2 elsewhere, and N is the number of rows of Y (none
    have the loss 0). All inputs have one number of elements. A scalar.
    """,
    example="""
    Y_hat = [[1, 3]]; Y = [[0.5, 0]]; alpha_in = alpha_out = [[1, 1]]
    loss = 0.125 + 2.5 = 2.625
    """,
)
_smooth_gradient = operator(
    "SmoothL1LossGradient",
    "Y_hat, Y, alpha_in, alpha_out, d_loss -> d_Y_hat",
    infer=_infer_smooth,
    arguments=SMOOTH,
    doc="""
    d_Y_hat = `scale` * d_loss / N * alpha_in * alpha_out * g(alpha_in * (Y_hat - Y)), where
    g(d) = d / `beta` for |d| < `beta`, the sign of d elsewhere.
    """,
)


@_smooth.everywhere
def _launch_smooth(call: Call) -> list[Launch]:
    args = call.args
    factor = args.scale / max(call.inputs[1].shape[0], 1)
    return smooth.launch_smooth_loss(call.inputs, args.beta, factor, call.outputs[0])


@_smooth_gradient.everywhere
def _launch_smooth_gradient(call: Call) -> Launch:
    args = call.args
    *operands, dy = call.inputs
    factor = args.scale / max(operands[1].shape[0], 1)
    return smooth.launch_smooth_loss_gradient(
        tuple(operands), dy, args.beta, factor, call.outputs[0]
    )


def _infer_chosen(query: Query) -> Sequence[TensorType]:
    _require_beta(query)
    dtype = _floats(query, *range(len(query.inputs)))
    require_rank(query, 0, 4)
    shape = require_same_shape(query, 1, 2)
    if shape is not None and (len(shape) != 2 or shape[1] not in (4, None)):
        raise ShapeError(f"'Y' and 'locations' must be (M,4), found {shape_text(shape)}")
    _require_size(query, 1, *range(3, len(query.inputs)))
    x = query.inputs[0]
    return [TensorType(dtype, ()) if len(query.inputs) == 4 else x.with_dtype(dtype)]


_chosen = operator(
    "SelectSmoothL1Loss",
    "Y_hat, Y, locations, normalizer -> loss",
    infer=_infer_chosen,
    gradient="SelectSmoothL1LossGradient(Y_hat, Y, locations, normalizer, dloss) -> dY_hat",
    arguments=SMOOTH,
    doc="""
    loss = `scale` / max(normalizer, 1) * the sum of f(Y_hat[n, c + k, y, x] - Y[m, k]) over the M
    boxes Y (M, 4) and k = 0 to 3, where row m of locations (M, 4) is n, c, y, x, floats, and f is
    that of SmoothL1Loss. Y_hat is (N, C, H, W), normalizer the number of boxes on all levels. A
    scalar. A location that comes twice counts twice (in Caffe2 the last one counts). Raises
    ValueRangeError for a location outside of Y_hat.
    """,
    example="""
    Y_hat = zeros (1, 4, 1, 1); Y = [[1, 2, 0, 0]]; locations = [[0, 0, 0, 0]]; normalizer = 1
    loss = 0.5 + 1.5 = 2
    """,
)
_chosen_gradient = operator(
    "SelectSmoothL1LossGradient",
    "Y_hat, Y, locations, normalizer, d_loss -> d_Y_hat",
    infer=_infer_chosen,
    arguments=SMOOTH,
    doc="""
    d_Y_hat is 0 but for the chosen places; there it is `scale` * d_loss / max(normalizer, 1) *
    g(Y_hat - Y), where g is that of SmoothL1LossGradient.
    """,
)


@_chosen.everywhere
def _launch_chosen(call: Call) -> list[Launch]:
    args = call.args
    x, target, places, boxes = call.inputs
    y = call.outputs[0]
    return smooth.launch_chosen_loss(x, target, places, boxes, args.beta, args.scale, y)


@_chosen_gradient.everywhere
def _launch_chosen_gradient(call: Call) -> list[Launch]:
    args = call.args
    x, target, places, *ones = call.inputs
    boxes, dy = ones
    dx = call.outputs[0]
    return [
        launch_fill(np.zeros(1, dx.dtype), dx),
        smooth.launch_chosen_loss_gradient(x, target, places, boxes, dy, args.beta, args.scale, dx),
    ]
