"""SoftmaxWithLoss for rows of classes, and SpatialSoftmaxWithLoss for every pixel of images."""

from __future__ import annotations

from collections.abc import Sequence

from caffe2py.errors import ArgumentError, ShapeError
from caffe2py.kernels.elementwise import FLOATS
from caffe2py.kernels.losses import (
    launch_average,
    launch_factors,
    launch_pixel_loss,
    launch_pixel_loss_gradient,
    launch_softmax_loss,
    launch_softmax_loss_gradient,
)
from caffe2py.kernels.rows import launch_softmax, matrix
from caffe2py.registry.context import Call, Launch
from caffe2py.registry.infer import (
    Query,
    canonical_axis,
    product,
    require_dtype,
    require_rank,
    require_same_dtype,
    require_same_shape,
)
from caffe2py.registry.operator import operator
from caffe2py.registry.schema import Arg, Args
from caffe2py.tensor.tensor import Array
from caffe2py.tensor.types import DType, TensorType, shape_text

Dims = tuple[int | None, ...]

SCALE = Arg(float, 1.0, "what the loss is multiplied by")
ORDER = Arg(str, "NCHW", "only NCHW is supported")
ONLY_LOSS = Arg(bool, False, "accepted; the softmax is never overwritten by its gradient")
ARGS = {
    "label_prob": Arg(int, 0, "1: labels are distributions, of the shape of the logits"),
    "axis": Arg(int, 1, "the axes from here on are the classes; negative ones count from the end"),
    "scale": SCALE,
    "order": ORDER,
    "average_by_batch_size": Arg(int, 0, "1: divide by the number of rows, not by their weights"),
}


def _require_order(args: Args) -> None:
    if str(args.order).upper() != "NCHW":
        raise ArgumentError(f"order must be NCHW, found '{args.order}'")


def _differ(a: int | None, b: int | None) -> bool:
    return None not in (a, b) and a != b


def _require_size(query: Query, index: int, size: int | None, what: str) -> None:
    """Raise ShapeError unless the input has so many elements."""
    shape = query.inputs[index].shape
    found = None if shape is None else product(shape)
    if _differ(found, size):
        raise ShapeError(
            f"input {index} '{query.name(index)}' is {shape_text(shape)}, needs {size} "
            f"element(s): one for each {what}"
        )


def _matched(query: Query, *indices: int) -> DType | None:
    for index in indices:
        require_dtype(query, index, *FLOATS)
    return require_same_dtype(query, *indices)


# ---------------------------------------------------------------- rows of classes


def _check_labels(query: Query, shape: Dims, axis: int) -> None:
    labels = query.inputs[1].shape
    if labels is None:
        return
    soft = bool(query.args.label_prob)
    rows, wanted = shape[:axis], shape[axis:] if soft else (1,)
    if not soft and len(labels) == axis:
        _require_size(query, 1, product(rows), f"row of logits {shape_text(shape)}")
        return
    if (
        len(labels) < (max(axis, 2) if soft else axis)
        or _differ(product(labels[:axis]), product(rows))
        or _differ(product(labels[axis:]), product(wanted))
    ):
        raise ShapeError(
            f"input 1 '{query.name(1)}' is {shape_text(labels)}; logits of {shape_text(shape)} "
            f"with the classes from axis {axis} on need {shape_text((*rows, *wanted))}"
        )


def _check_rows(query: Query, logits: int, weights: int | None) -> None:
    """Labels and weights fit the logits."""
    _require_order(query.args)
    shape = query.inputs[logits].shape
    if not query.args.label_prob:
        require_dtype(query, 1, "int32", "int64")
    if shape is None:
        return
    axis = canonical_axis(query.args.axis, len(shape))
    _check_labels(query, shape, axis)
    if weights is not None:
        _require_size(query, weights, product(shape[:axis]), f"row of logits {shape_text(shape)}")


def _infer(query: Query) -> Sequence[TensorType]:
    weights = 2 if len(query.inputs) > 2 else None
    floats = [0, *([1] if query.args.label_prob else []), *([] if weights is None else [2])]
    dtype = _matched(query, *floats)
    _check_rows(query, 0, weights)
    shape = query.inputs[0].shape
    rows: int | None = None
    if shape is not None:
        rows = product(shape[: canonical_axis(query.args.axis, len(shape))])
    loss, each = TensorType(dtype, ()), TensorType(dtype, (rows,))
    return [TensorType(dtype, shape), loss, each][: query.outputs]


_softmax_loss = operator(
    "SoftmaxWithLoss",
    "logits, labels, weight_tensor? -> softmax, loss, losses?",
    infer=_infer,
    gradient="SoftmaxWithLossGradient(logits, labels, weight_tensor, softmax, dloss) -> dlogits",
    doc="""
    Softmax = exp(logits) / sum(exp(logits)) over the axes from `axis` on, and loss = scale *
    sum_i w_i * l_i / sum_i w_i, where l_i = -log softmax[i, labels_i] is the loss of row i.

    Labels are class numbers, one for each row; with label_prob=1 they are distributions q of the
    shape of the logits, and l_i = -sum_c q_ic * log max(softmax_ic, 1e-20). Weights w are 1 unless
    given; with average_by_batch_size=1 the divisor is the number of rows. Weights that sum to 0
    (and no rows at all) give a loss of 0. The optional third output holds w_i * l_i; Caffe2
    accepts it and leaves it without a value on the CPU. Raises ValueRangeError for a label that is
    no class, a negative probability, and a distribution that does not sum to 1 within 1e-5.
    """,
    example="""
    logits = [[0, 0], [0, 1]]; labels = [0, 1]
    softmax = [[0.5, 0.5], [0.2689, 0.7311]]; loss = (0.6931 + 0.3133) / 2 = 0.5032
    """,
    arguments=ARGS,
)


@_softmax_loss.everywhere
def _launch(call: Call) -> list[Launch]:
    x, labels = call.inputs[:2]
    weights = call.inputs[2] if len(call.inputs) > 2 else None
    p, loss, *rest = call.outputs
    axis = canonical_axis(call.args.axis, x.ndim)
    x2, p2 = matrix(x, axis), matrix(p, axis)
    losses = rest[0] if rest else call.scratch((len(x2),), x.dtype)
    soft, by_batch = bool(call.args.label_prob), bool(call.args.average_by_batch_size)
    return [
        launch_softmax(x, axis, p),
        launch_softmax_loss(x2, p2, labels, weights, losses, soft=soft),
        *launch_average(losses, weights, loss, scale=call.args.scale, by_batch=by_batch),
    ]


# ---------------------------------------------------------------- its gradient


def _infer_gradient(query: Query) -> Sequence[TensorType]:
    last = len(query.inputs) - 1
    weights = 2 if last == 4 else None
    floats = [0, *([1] if query.args.label_prob else []), *range(2, last + 1)]
    dtype = _matched(query, *floats)
    shape = require_same_shape(query, 0, last - 1)
    _check_rows(query, 0, weights)
    _require_size(query, last, 1, "loss")
    return [TensorType(dtype, shape)]


_softmax_loss_gradient = operator(
    "SoftmaxWithLossGradient",
    "inputs* -> dlogits",
    infer=_infer_gradient,
    input_counts={4, 5},
    doc="""
    The gradient of SoftmaxWithLoss; inputs are logits, labels, weights (if there are any), softmax
    and dloss. dlogits[i] = scale * dloss * w_i / sum(w) * (softmax[i] - label i as a distribution),
    and 0 where the weights sum to 0. Caffe2 leaves out the division where that sum is negative.
    """,
    arguments={**ARGS, "only_loss": ONLY_LOSS},
)


@_softmax_loss_gradient.everywhere
def _launch_gradient(call: Call) -> list[Launch]:
    x, labels, *weights, p, dloss = call.inputs
    axis = canonical_axis(call.args.axis, x.ndim)
    p2, dx2 = matrix(p, axis), matrix(call.outputs[0], axis)
    factors = call.scratch((len(p2),), p.dtype)
    by_batch = bool(call.args.average_by_batch_size)
    soft = bool(call.args.label_prob)
    given = weights[0] if weights else None
    return [
        *launch_factors(given, dloss, factors, scale=call.args.scale, by_batch=by_batch),
        launch_softmax_loss_gradient(p2, labels, factors, dx2, soft=soft),
    ]


# ---------------------------------------------------------------- every pixel

SPATIAL_ARGS = {"scale": SCALE, "order": ORDER}


def _check_pixels(query: Query, weights: int | None) -> None:
    _require_order(query.args)
    require_dtype(query, 1, "int32", "int64")
    require_rank(query, 0, 4)
    require_rank(query, 1, 3)
    shape, labels = query.inputs[0].shape, query.inputs[1].shape
    if shape is None:
        return
    if shape[1] == 0:
        raise ShapeError(f"logits of {shape_text(shape)} have no class")
    pixels = (shape[0], *shape[2:])
    if labels is not None and any(map(_differ, labels, pixels)):
        raise ShapeError(
            f"input 1 '{query.name(1)}' is {shape_text(labels)}, needs {shape_text(pixels)}: "
            f"one label for each pixel of logits {shape_text(shape)}"
        )
    if weights is not None:
        _require_size(query, weights, product(pixels), f"pixel of logits {shape_text(shape)}")


def _infer_spatial(query: Query) -> Sequence[TensorType]:
    weights = 2 if len(query.inputs) > 2 else None
    dtype = _matched(query, *([0] if weights is None else [0, 2]))
    _check_pixels(query, weights)
    return [query.inputs[0].with_dtype(dtype), TensorType(dtype, ())]


_spatial = operator(
    "SpatialSoftmaxWithLoss",
    "logits, labels, weight_tensor? -> softmax, loss",
    infer=_infer_spatial,
    gradient=(
        "SpatialSoftmaxWithLossGradient(logits, labels, weight_tensor, softmax, dloss) -> dlogits"
    ),
    doc="""
    Softmax over the channels of every pixel of logits (N, C, H, W), and loss = scale * sum_p w_p *
    l_p / sum_p w_p over the pixels p whose label is not -1, with l_p = -log max(softmax at the
    label, 1e-20). Labels and weights are (N, H, W); weights are 1 unless given. Weights that sum
    to 0 give a loss of 0. Caffe2 scales the gradient, but not the loss. Raises ValueRangeError for
    a label that is neither -1 nor a channel.
    """,
    example="""
    logits = [[[[0, 5]], [[1, 5]]]]; labels = [[[1, -1]]]
    softmax = [[[[0.2689, 0.5]], [[0.7311, 0.5]]]]; loss = 0.3133
    """,
    arguments=SPATIAL_ARGS,
)


def _pixels(array: Array) -> Array:
    """(N, C, H, W) as (N, C, H * W)."""
    return array.reshape(*array.shape[:2], array.shape[2] * array.shape[3])


@_spatial.everywhere
def _launch_spatial(call: Call) -> list[Launch]:
    x, labels = call.inputs[:2]
    weights = call.inputs[2] if len(call.inputs) > 2 else None
    p, loss = call.outputs
    return launch_pixel_loss(call, _pixels(x), labels, weights, _pixels(p), loss, call.args.scale)


def _infer_spatial_gradient(query: Query) -> Sequence[TensorType]:
    last = len(query.inputs) - 1
    dtype = _matched(query, 0, *range(2, last + 1))
    shape = require_same_shape(query, 0, last - 1)
    _check_pixels(query, 2 if last == 4 else None)
    _require_size(query, last, 1, "loss")
    return [TensorType(dtype, shape)]


_spatial_gradient = operator(
    "SpatialSoftmaxWithLossGradient",
    "inputs* -> dlogits",
    infer=_infer_spatial_gradient,
    input_counts={4, 5},
    doc="""
    The gradient of SpatialSoftmaxWithLoss; inputs are logits, labels, weights (if there are any),
    softmax and dloss. At a pixel p dlogits = scale * dloss * w_p / sum(w) * (softmax - label as a
    distribution), and 0 where the label is -1 or the weights sum to 0.
    """,
    arguments={**SPATIAL_ARGS, "only_loss": ONLY_LOSS},
)


@_spatial_gradient.everywhere
def _launch_spatial_gradient(call: Call) -> list[Launch]:
    _, labels, *weights, p, dloss = call.inputs
    given = weights[0] if weights else None
    dx = _pixels(call.outputs[0])
    return launch_pixel_loss_gradient(call, _pixels(p), labels, given, dloss, dx, call.args.scale)
