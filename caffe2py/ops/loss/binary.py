"""Losses of two classes: MakeTwoClass, weighted logistic loss, BernoulliJSD."""

from __future__ import annotations

from collections.abc import Sequence

from caffe2py.errors import ShapeError
from caffe2py.kernels.binary import (
    launch_two_classes,
    launch_two_classes_gradient,
    launch_weighted_logistic,
    launch_weighted_logistic_gradient,
)
from caffe2py.kernels.elementwise import FLOATS, launch_map
from caffe2py.kernels.rows import matrix
from caffe2py.kernels.vectormath import log
from caffe2py.registry.context import Call, Launch
from caffe2py.registry.infer import (
    Query,
    product,
    require_dtype,
    require_same_dtype,
    require_same_shape,
)
from caffe2py.registry.operator import operator
from caffe2py.tensor.tensor import Array
from caffe2py.tensor.types import DType, TensorType, shape_text


def _floats(query: Query) -> DType | None:
    indices = range(len(query.inputs))
    for index in indices:
        require_dtype(query, index, *FLOATS)
    return require_same_dtype(query, *indices)


# ---------------------------------------------------------------- MakeTwoClass


def _infer_two(query: Query) -> Sequence[TensorType]:
    require_dtype(query, 0, *FLOATS)
    x = query.inputs[0]
    if x.shape == ():
        raise ShapeError("'X' must have at least 1 dimension, found ()")
    return [x.with_shape(None if x.shape is None else (*x.shape, 2))]


def _infer_two_gradient(query: Query) -> Sequence[TensorType]:
    require_dtype(query, 0, *FLOATS)
    dy = query.inputs[0]
    if dy.shape is None:
        return [dy]
    if not dy.shape or dy.shape[-1] not in (2, None):
        raise ShapeError(f"'dY' must end in an axis of size 2, found {shape_text(dy.shape)}")
    return [dy.with_shape(dy.shape[:-1])]


_two = operator(
    "MakeTwoClass",
    "X -> Y",
    infer=_infer_two,
    gradient="MakeTwoClassGradient(dY) -> dX",
    doc="""
    Y[..., 0] = 1 - X, Y[..., 1] = X: the probabilities of both classes from that of one; Y has one
    axis of size 2 more than X.
    """,
    example="""
    X = [0.25, 0.5]
    Y = [[0.75, 0.25], [0.5, 0.5]]
    """,
)
_two_gradient = operator(
    "MakeTwoClassGradient",
    "dY -> dX",
    infer=_infer_two_gradient,
    doc="dX = dY[..., 1] - dY[..., 0]",
)


@_two.everywhere
def _launch_two(call: Call) -> Launch:
    return launch_two_classes(call.inputs[0].reshape(-1), call.outputs[0].reshape(-1))


@_two_gradient.everywhere
def _launch_two_gradient(call: Call) -> Launch:
    return launch_two_classes_gradient(call.inputs[0].reshape(-1), call.outputs[0].reshape(-1))


# ---------------------------------------------------------------- weighted logistic loss


def _infer_weighted(query: Query) -> Sequence[TensorType]:
    dtype = _floats(query)
    shape = require_same_shape(query, 0, 1, 2)
    return [TensorType(dtype, None if shape is None else shape[:-1])]


def _infer_weighted_gradient(query: Query) -> Sequence[TensorType]:
    dtype = _floats(query)
    shape, dy = require_same_shape(query, 1, 2, 3), query.inputs[0].shape
    if shape is not None and dy is not None:
        wanted, found = product(shape[:-1]), product(dy)
        if None not in (wanted, found) and wanted != found:
            raise ShapeError(
                f"'{query.name(0)}' is {shape_text(dy)}; logits of {shape_text(shape)} need "
                f"{shape_text(shape[:-1])}"
            )
    return [TensorType(dtype, shape)]


_weighted = operator(
    "WeightedSigmoidCrossEntropyWithLogits",
    "logits, targets, weights -> xentropy",
    infer=_infer_weighted,
    gradient="WeightedSigmoidCrossEntropyWithLogitsGradient(dxentropy, logits, targets, weights) "
    "-> dlogits",
    doc="""
    xentropy = mean over the last axis of w * (ln(1 + exp(x)) - x * t) for logits x, targets t and
    weights w of one shape: the weighted cross entropy of sigmoid(x) with t. A last axis without
    elements gives 0.
    """,
    example="""
    logits = [[0, 2]]; targets = [[1, 0]]; weights = [[2, 1]]
    xentropy = [(2 * 0.6931 + 2.1269) / 2] = [1.7566]
    """,
)
_weighted_gradient = operator(
    "WeightedSigmoidCrossEntropyWithLogitsGradient",
    "dxentropy, logits, targets, weights -> dlogits",
    infer=_infer_weighted_gradient,
    doc="dlogits = dxentropy / D * w * (sigmoid(x) - t) for D elements along the last axis.",
)


def _by_last_axis(x: Array) -> Array:
    return matrix(x, max(x.ndim - 1, 0))


@_weighted.everywhere
def _launch_weighted(call: Call) -> Launch:
    x, targets, weights = map(_by_last_axis, call.inputs)
    return launch_weighted_logistic(x, targets, weights, call.outputs[0].reshape(-1))


@_weighted_gradient.everywhere
def _launch_weighted_gradient(call: Call) -> Launch:
    dy, *operands = call.inputs
    rows = map(_by_last_axis, (*operands, call.outputs[0]))
    return launch_weighted_logistic_gradient(dy.reshape(-1), *rows)


# ---------------------------------------------------------------- BernoulliJSD


def _infer_divergence(query: Query) -> Sequence[TensorType]:
    dtype = _floats(query)
    index = 1 if len(query.inputs) > 2 else 0
    first = query.inputs[index].shape
    for k in range(len(query.inputs)):
        shape = query.inputs[k].shape
        if shape is None or first is None:
            continue
        wanted, found = product(first), product(shape)
        if None not in (wanted, found) and wanted != found:
            raise ShapeError(
                f"'{query.name(k)}' {shape_text(shape)} must have as many elements as "
                f"'{query.name(index)}' {shape_text(first)}"
            )
    return [TensorType(dtype, first)]


_divergence = operator(
    "BernoulliJSD",
    "X, T -> L",
    infer=_infer_divergence,
    gradient="BernoulliJSDGradient(dL, X, T) -> dX",
    doc="""
    L = h((X + T) / 2) - h(X) / 2 - h(T) / 2, the Jensen-Shannon divergence of two coins that show
    heads with the probabilities X and T, where h(p) = -p * ln(p) - (1 - p) * ln(1 - p), and 0 where
    p or 1 - p is below 1e-20. X and T have one number of elements; L has the shape of X.
    """,
    example="""
    X = [0.2, 1]; T = [0.5, 0]
    L = [0.0507, 0.6931]
    """,
)
_divergence_gradient = operator(
    "BernoulliJSDGradient",
    "dL, X, T -> dX",
    infer=_infer_divergence,
    doc="""
    dX = dL / 2 * (logit(X) - logit((X + T) / 2)), where logit(p) = ln(p / (1 - p)), and p and 1 - p
    count as no less than 1e-20.
    """,
)


def _entropy(p):
    q = 1 - p
    if p < 1e-20 or q < 1e-20:
        return 0 * p
    return -p * log(p) - q * log(q)


def _jensen_shannon(x, t):
    return _entropy(0.5 * (x + t)) - 0.5 * _entropy(x) - 0.5 * _entropy(t)


def _log_odds(p):
    return log(max(p, 1e-20)) - log(max(1 - p, 1e-20))


def _jensen_shannon_slope(dl, x, t):
    return 0.5 * dl * (_log_odds(x) - _log_odds(0.5 * (x + t)))


@_divergence.everywhere
def _launch_divergence(call: Call) -> Launch:
    return launch_map(_jensen_shannon, call.inputs, call.outputs[0])


@_divergence_gradient.everywhere
def _launch_divergence_gradient(call: Call) -> Launch:
    return launch_map(_jensen_shannon_slope, call.inputs, call.outputs[0])
