"""Cross entropies: of labels, of distributions, of logits with a sigmoid."""

from __future__ import annotations

from collections.abc import Sequence

from caffe2py.errors import ArgumentError, ShapeError
from caffe2py.kernels.elementwise import FLOATS
from caffe2py.kernels.losses import (
    JOINED,
    LOG_D,
    UNJOINED,
    launch_entropy,
    launch_entropy_gradient,
    launch_label_entropy,
    launch_label_entropy_gradient,
    launch_logistic_loss,
    launch_logistic_loss_gradient,
)
from caffe2py.kernels.rows import matrix
from caffe2py.registry.context import Call, Launch
from caffe2py.registry.infer import (
    Query,
    product,
    require_dtype,
    require_same_dtype,
    require_same_shape,
)
from caffe2py.registry.operator import operator
from caffe2py.registry.schema import Arg, Args
from caffe2py.tensor.tensor import Array
from caffe2py.tensor.types import TensorType, shape_text

Dims = tuple[int | None, ...]


def _matched(query: Query, *indices: int) -> TensorType:
    """A scalar type of the common dtype of some floating inputs."""
    for index in indices:
        require_dtype(query, index, *FLOATS)
    return TensorType(require_same_dtype(query, *indices), ())


def _differ(a: int | None, b: int | None) -> bool:
    return None not in (a, b) and a != b


def _sizes(shape: Dims) -> tuple[int | None, int | None]:
    """(rows, classes) of X; a vector is one row."""
    return (shape[0], product(shape[1:])) if len(shape) > 1 else (1, product(shape))


def _rows(x: Array) -> Array:
    return matrix(x, 1) if x.ndim > 1 else x.reshape(1, x.size)


def _require(query: Query, index: int, x: Dims, *allowed: Dims) -> None:
    """Raise ShapeError unless the input has one of the shapes."""
    found = query.inputs[index].shape
    if found is None:
        return
    for shape in allowed:
        if len(shape) == len(found) and not any(map(_differ, shape, found)):
            return
    wanted = " or ".join(shape_text(shape) for shape in allowed)
    raise ShapeError(
        f"input {index} '{query.name(index)}' is {shape_text(found)}; X {shape_text(x)} needs "
        f"{wanted}"
    )


# ---------------------------------------------------------------- of labels, of distributions


def _check(query: Query, *, soft: bool) -> int | None:
    """Check labels and dY; returns the number of rows."""
    x = query.inputs[0].shape
    if not soft:
        require_dtype(query, 1, "int32", "int64")
    if x is None:
        return None
    rows, classes = _sizes(x)
    if not soft:
        _require(query, 1, x, (rows,), (rows, 1))
    elif classes == 1:
        _require(query, 1, x, (rows, 1), (rows,))
    else:
        _require(query, 1, x, (rows, classes))
    if len(query.inputs) > 2:
        _require(query, 2, x, (rows,))
    return rows


def _infer_entropy(query: Query, *, soft: bool) -> Sequence[TensorType]:
    type_ = _matched(query, *((0, 1) if soft else (0,)))
    return [type_.with_shape((_check(query, soft=soft),))]


def _infer_entropy_gradient(query: Query, *, soft: bool) -> Sequence[TensorType]:
    type_ = _matched(query, *((0, 1, 2) if soft else (0, 2)))
    _check(query, soft=soft)
    return [type_.with_shape(query.inputs[0].shape)]


_label_entropy = operator(
    "LabelCrossEntropy",
    "X, label -> Y",
    infer=lambda query: _infer_entropy(query, soft=False),
    gradient="LabelCrossEntropyGradient(X, label, dY) -> dX",
    doc="""
    Y[i] = -log max(X[i, label[i]], 1e-20), where row i of X holds probabilities of classes. X is
    flattened to (N, D), a vector to one row; label is (N) or (N, 1), int32 or int64, Y is (N).
    Raises ValueRangeError for a label outside of [0, D).
    """,
    example="""
    X = [[0.1, 0.9], [0.5, 0.5]]; label = [1, 0]
    Y = [0.1054, 0.6931]
    """,
)
_label_entropy_gradient = operator(
    "LabelCrossEntropyGradient",
    "X, label, dY -> dX",
    infer=lambda query: _infer_entropy_gradient(query, soft=False),
    doc="dX[i, label[i]] = -dY[i] / max(X[i, label[i]], 1e-20), and 0 elsewhere.",
)
_entropy = operator(
    "CrossEntropy",
    "X, label -> Y",
    infer=lambda query: _infer_entropy(query, soft=True),
    gradient="CrossEntropyGradient(X, label, dY) -> dX",
    doc="""
    Y[i] = -sum_c label[i, c] * log max(X[i, c], 1e-20). X is flattened to (N, D), a vector to one
    row; label is (N, D), Y is (N). Raises ValueRangeError for a label outside of [0, 1].
    """,
    example="""
    X = [[0.1, 0.9]]; label = [[0.5, 0.5]]
    Y = [1.204]
    """,
)
_entropy_gradient = operator(
    "CrossEntropyGradient",
    "X, label, dY -> dX",
    infer=lambda query: _infer_entropy_gradient(query, soft=True),
    doc="dX[i, c] = -dY[i] * label[i, c] / max(X[i, c], 1e-20).",
)


@_label_entropy.everywhere
def _launch_label(call: Call) -> Launch:
    x, labels = call.inputs
    return launch_label_entropy(_rows(x), labels, call.outputs[0])


@_label_entropy_gradient.everywhere
def _launch_label_gradient(call: Call) -> Launch:
    x, labels, dy = call.inputs
    return launch_label_entropy_gradient(_rows(x), labels, dy, _rows(call.outputs[0]))


@_entropy.everywhere
def _launch_entropy(call: Call) -> Launch:
    x, labels = call.inputs
    rows = _rows(x)
    return launch_entropy(rows, labels.reshape(rows.shape), call.outputs[0])


@_entropy_gradient.everywhere
def _launch_entropy_gradient(call: Call) -> Launch:
    x, labels, dy = call.inputs
    rows = _rows(x)
    labels = labels.reshape(rows.shape)
    return launch_entropy_gradient(rows, labels, dy, _rows(call.outputs[0]))


# ---------------------------------------------------------------- of logits

LOGISTIC_ARGS = {
    "log_D_trick": Arg(bool, False, "the generator's loss -log(sigmoid) where targets are 1"),
    "unjoined_lr_loss": Arg(bool, False, "targets of 1 have no negative counterpart"),
}


def _kind(args: Args) -> int:
    if args.log_D_trick and args.unjoined_lr_loss:
        raise ArgumentError("log_D_trick and unjoined_lr_loss exclude each other")
    return LOG_D if args.log_D_trick else UNJOINED if args.unjoined_lr_loss else JOINED


def _infer_logistic(query: Query) -> Sequence[TensorType]:
    _kind(query.args)
    type_ = _matched(query, 0, 1)
    shape = require_same_shape(query, 0, 1)
    return [type_.with_shape(None if shape is None else shape[:-1])]


def _infer_logistic_gradient(query: Query) -> Sequence[TensorType]:
    _kind(query.args)
    type_ = _matched(query, 0, 1, 2)
    shape, dy = require_same_shape(query, 1, 2), query.inputs[0].shape
    if shape is not None and dy is not None and _differ(product(dy), product(shape[:-1])):
        raise ShapeError(
            f"input 0 '{query.name(0)}' is {shape_text(dy)}; logits of {shape_text(shape)} need "
            f"{shape_text(shape[:-1])}"
        )
    return [type_.with_shape(shape)]


_logistic = operator(
    "SigmoidCrossEntropyWithLogits",
    "logits, targets -> xentropy",
    infer=_infer_logistic,
    gradient="SigmoidCrossEntropyWithLogitsGradient(dxentropy, logits, targets) -> dlogits",
    doc="""
    Xentropy = mean over the last axis of log(1 + exp(x)) - x * t for logits x and targets t: the
    cross entropy of sigmoid(x) with t, computed so that nothing overflows. With log_D_trick the
    terms are (2 * t - 1) * log(1 + exp(-x)), with unjoined_lr_loss (1 - t) * log(1 + exp(x)) -
    x * t. A last axis without elements gives 0.
    """,
    example="""
    logits = [[0, 2]]; targets = [[1, 0]]
    xentropy = [(0.6931 + 2.1269) / 2] = [1.41]
    """,
    arguments=LOGISTIC_ARGS,
)
_logistic_gradient = operator(
    "SigmoidCrossEntropyWithLogitsGradient",
    "dxentropy, logits, targets -> dlogits",
    infer=_infer_logistic_gradient,
    doc="""
    dlogits = dxentropy / D * (sigmoid(x) - t) for D elements along the last axis; with log_D_trick
    the last factor is (1 - 2 * t) * sigmoid(-x), with unjoined_lr_loss (1 - t) * sigmoid(x) - t.
    """,
    arguments=LOGISTIC_ARGS,
)


def _by_last_axis(x: Array) -> Array:
    return matrix(x, max(x.ndim - 1, 0))


@_logistic.everywhere
def _launch_logistic(call: Call) -> Launch:
    x, targets = map(_by_last_axis, call.inputs)
    return launch_logistic_loss(x, targets, _kind(call.args), call.outputs[0])


@_logistic_gradient.everywhere
def _launch_logistic_gradient(call: Call) -> Launch:
    dy, *operands = call.inputs
    x, targets, dx = map(_by_last_axis, (*operands, call.outputs[0]))
    return launch_logistic_loss_gradient(dy, x, targets, _kind(call.args), dx)
