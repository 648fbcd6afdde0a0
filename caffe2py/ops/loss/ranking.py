"""Losses of rankings: margins, pairs of a session, LambdaRank."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from caffe2py.errors import ShapeError
from caffe2py.kernels.elementwise import FLOATS, launch_map
from caffe2py.kernels.ranking import (
    launch_lambda_rank,
    launch_pair_gradient,
    launch_pair_losses,
    launch_scale_sessions,
)
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
from caffe2py.tensor.types import TensorType, shape_text


def _floats(query: Query, *indices: int) -> None:
    for index in indices:
        require_dtype(query, index, *FLOATS)
    require_same_dtype(query, *indices)


def _same_size(query: Query, *indices: int) -> None:
    """Raise ShapeError unless the inputs have as many elements as input 0."""
    first = query.inputs[0].shape
    size = None if first is None else product(first)
    for index in indices:
        shape = query.inputs[index].shape
        found = None if shape is None else product(shape)
        if None not in (size, found) and size != found:
            raise ShapeError(
                f"'{query.name(index)}' {shape_text(shape)} must have as many elements as "
                f"'{query.name(0)}' {shape_text(first)}"
            )


# ---------------------------------------------------------------- margins


def _infer_embedding(query: Query) -> Sequence[TensorType]:
    floats = (0, *range(2, len(query.inputs)))
    _floats(query, *floats)
    require_dtype(query, 1, "int32")
    _same_size(query, *range(1, len(query.inputs)))
    return [query.inputs[0]]


_embedding = operator(
    "CosineEmbeddingCriterion",
    "S, Y -> loss",
    infer=_infer_embedding,
    gradient="CosineEmbeddingCriterionGradient(S, Y, dloss) -> dS",
    margin=Arg(float, 0.0, "similarities below it cost nothing where Y is not 1"),
    doc="""
    loss = 1 - S where Y = 1, max(0, S - `margin`) elsewhere, for similarities S and labels Y (int32
    of 1 and -1), of one number of elements; loss has the shape of S.
    """,
    example="""
    S = [0.5, 0.5]; Y = [1, -1]; margin = 0.2
    loss = [0.5, 0.3]
    """,
)
_embedding_gradient = operator(
    "CosineEmbeddingCriterionGradient",
    "S, Y, dloss -> dS",
    infer=_infer_embedding,
    margin=Arg(float, 0.0, "as forward"),
    doc="dS = -dloss where Y = 1, dloss where Y is not and S >= `margin`, 0 elsewhere.",
)


def _embedding_loss(s, y, margin):
    return 1 - s if y == 1 else max(0, s - margin)


def _embedding_slope(s, y, dloss, margin):
    if y == 1:
        return -dloss
    return dloss if s >= margin else 0


@_embedding.everywhere
def _launch_embedding(call: Call) -> Launch:
    return launch_map(_embedding_loss, call.inputs, call.outputs[0], call.args.margin)


@_embedding_gradient.everywhere
def _launch_embedding_gradient(call: Call) -> Launch:
    return launch_map(_embedding_slope, call.inputs, call.outputs[0], call.args.margin)


def _infer_margin(query: Query) -> Sequence[TensorType]:
    _floats(query, 0, 1, *range(3, len(query.inputs)))
    require_dtype(query, 2, "int32")
    _same_size(query, *range(1, len(query.inputs)))
    return [query.inputs[0]]


def _infer_margin_gradient(query: Query) -> Sequence[TensorType]:
    return [*_infer_margin(query), query.inputs[1]]


_margin = operator(
    "MarginRankingCriterion",
    "X1, X2, Y -> loss",
    infer=_infer_margin,
    gradient="MarginRankingCriterionGradient(X1, X2, Y, dloss) -> dX1, dX2",
    margin=Arg(float, 1.0, "by how much the better one must be ahead"),
    doc="""
    loss = max(0, `margin` - Y * (X1 - X2)): Y (int32) is 1 where X1 should be ranked above X2, -1
    where it should be below. All have one number of elements; loss has the shape of X1.
    """,
    example="""
    X1 = [1, 3]; X2 = [2, 1]; Y = [1, 1]
    loss = [2, 0]
    """,
)
_margin_gradient = operator(
    "MarginRankingCriterionGradient",
    "X1, X2, Y, dloss -> dX1, dX2",
    infer=_infer_margin_gradient,
    margin=Arg(float, 1.0, "as forward"),
    doc="dX1 = -Y * dloss where `margin` - Y * (X1 - X2) >= 0, 0 elsewhere; dX2 = -dX1.",
)


def _margin_loss(x1, x2, y, margin):
    return max(0, margin - y * (x1 - x2))


def _margin_slope(x1, x2, y, dloss, margin):
    return -y * dloss if margin - y * (x1 - x2) >= 0 else 0


def _margin_slope_of_second(x1, x2, y, dloss, margin):
    return y * dloss if margin - y * (x1 - x2) >= 0 else 0


@_margin.everywhere
def _launch_margin(call: Call) -> Launch:
    return launch_map(_margin_loss, call.inputs, call.outputs[0], call.args.margin)


@_margin_gradient.everywhere
def _launch_margin_gradient(call: Call) -> list[Launch]:
    dx1, dx2 = call.outputs
    return [
        launch_map(_margin_slope, call.inputs, dx1, call.args.margin),
        launch_map(_margin_slope_of_second, call.inputs, dx2, call.args.margin),
    ]


# ---------------------------------------------------------------- pairs


def _require_column(query: Query, *indices: int) -> int | None:
    """Vectors or columns (N, 1) of one length, which is returned."""
    count: int | None = None
    for index in indices:
        shape = query.inputs[index].shape
        if shape is None:
            continue
        if not shape or product(shape[1:]) not in (1, None):
            raise ShapeError(
                f"'{query.name(index)}' must be (N) or (N,1), found {shape_text(shape)}"
            )
        if None not in (count, shape[0]) and count != shape[0]:
            raise ShapeError(
                f"'{query.name(index)}' {shape_text(shape)} must have {count} element(s)"
            )
        count = shape[0] if count is None else count
    return count


def _sessions(query: Query, lengths: int, count: int | None) -> int | None:
    """How many sessions there are: one of all elements, unless input `lengths` is there."""
    if lengths >= len(query.inputs):
        return None if count is None else min(count, 1)
    require_dtype(query, lengths, "int32")
    require_rank(query, lengths, 1)
    shape = query.inputs[lengths].shape
    return None if shape is None else shape[0]


def _infer_pairs(query: Query) -> Sequence[TensorType]:
    _floats(query, 0, 1)
    sessions = _sessions(query, 2, _require_column(query, 0, 1))
    return [query.inputs[0].with_shape((sessions,))]


def _infer_pairs_gradient(query: Query) -> Sequence[TensorType]:
    _floats(query, 0, 1, 2)
    sessions = _sessions(query, 3, _require_column(query, 0, 1))
    dy = query.inputs[2].shape
    if dy is not None and (len(dy) != 1 or (None not in (dy[0], sessions) and dy[0] != sessions)):
        raise ShapeError(f"'dY' must be {shape_text((sessions,))}, found {shape_text(dy)}")
    return [query.inputs[0]]


_pairs = operator(
    "PairWiseLoss",
    "X, label, lengths? -> Y",
    infer=_infer_pairs,
    gradient="PairWiseLossGradient(X, label, dY, lengths) -> dX",
    doc="""
    Y[s] = the mean of ln(1 + exp(X[j] - X[i])) over all pairs of session s whose label[i] is above
    label[j], 0 if there are none. `lengths` (int32) holds the number of elements of each session;
    without it all elements are one, and no elements none. X and label are (N) or (N, 1), of one
    float type. Raises ValueRangeError for lengths that do not sum to N.
    """,
    example="""
    X = [1, 2, 5]; label = [0, 1, 1]; lengths = [2, 1]
    Y = [0.3133, 0]
    """,
)
_pairs_gradient = operator(
    "PairWiseLossGradient",
    "X, label, dY, lengths? -> dX",
    infer=_infer_pairs_gradient,
    doc="""
    dX[j] gets dY[s] / n * sigmoid(X[j] - X[i]) and dX[i] minus that for each of the n pairs of
    session s whose label[i] is above label[j].
    """,
)


def _lengths(call: Call, index: int, count: int) -> Array:
    if index < len(call.inputs):
        return call.inputs[index]
    return np.full(min(count, 1), count, np.int32)


@_pairs.everywhere
def _launch_pairs(call: Call) -> Launch:
    x, labels = (a.reshape(-1) for a in call.inputs[:2])
    return launch_pair_losses(x, labels, _lengths(call, 2, x.size), call.outputs[0])


@_pairs_gradient.everywhere
def _launch_pairs_gradient(call: Call) -> Launch:
    x, labels, dy = (a.reshape(-1) for a in call.inputs[:3])
    terms = call.scratch((x.size,), np.float64)
    dx = call.outputs[0].reshape(-1)
    return launch_pair_gradient(x, labels, dy, _lengths(call, 3, x.size), terms, dx)


# ---------------------------------------------------------------- LambdaRank


def _infer_rank(query: Query) -> Sequence[TensorType]:
    _floats(query, 0, 1)
    require_dtype(query, 2, "int32")
    for index in range(3):
        require_rank(query, index, 1)
    shape = require_same_shape(query, 0, 1)
    y = TensorType(query.inputs[0].dtype, shape)
    return [y.with_shape(query.inputs[2].shape), y]


def _infer_rank_gradient(query: Query) -> Sequence[TensorType]:
    _floats(query, 0, 2, 3)
    require_dtype(query, 1, "int32")
    for index in range(4):
        require_rank(query, index, 1)
    shape = require_same_shape(query, 0, 2)
    require_same_shape(query, 1, 3)
    return [TensorType(query.inputs[0].dtype, shape)]


_rank = operator(
    "LambdaRankNdcg",
    "y, r, session_lengths -> loss, dy_cache",
    infer=_infer_rank,
    gradient="LambdaRankNdcgGradient(y, session_lengths, dy_cache, dloss) -> dy",
    use_ndcg_as_loss=Arg(bool, False, "the loss is the gain that is missing, not that of pairs"),
    use_idcg_normalization=Arg(bool, True, "gains are relative to those of the ideal order"),
    use_exp_gain=Arg(bool, True, "with use_ndcg_as_loss: the gain is 2^r, else r"),
    doc="""
    LambdaRank of each session of scores y with relevances r. A document's gain is g = 2^r (r with
    use_ndcg_as_loss and without use_exp_gain), its discount d = 1 / log2(1 + place) in falling
    order; of equal ones the first one leads. The ideal gain G = sum of g * d in the order of r,
    and the weight w = max(G, 1e-5), or 1 without use_idcg_normalization.

    loss = sum over ordered pairs i != j of |g_i - g_j| * |d_i - d_j| / w * ln(1 + exp(-z)), where
    z = y_i - y_j if r_i > r_j, else y_j - y_i; with use_ndcg_as_loss (G - sum of g * d) / w.
    dy_cache[i] = half the derivative of the sum over pairs by y_i, for the gradient. Sessions
    whose |r| sum to less than 1e-6 have neither. Raises ValueRangeError for session_lengths (int32)
    that do not sum to the number of scores, where Caffe2 reads other memory.
    """,
    example="""
    y = [0.1, 0.5, 0.3]; r = [1, 0, 2]; session_lengths = [3]
    loss = [0.5196]; dy_cache = [-0.0315, 0.1576, -0.1261]
    """,
)
_rank_gradient = operator(
    "LambdaRankNdcgGradient",
    "y, session_lengths, dy_cache, dloss -> dy",
    infer=_infer_rank_gradient,
    doc="dy = dy_cache times dloss of its session.",
)


@_rank.everywhere
def _launch_rank(call: Call) -> Launch:
    y, r, lengths = call.inputs
    args = call.args
    scratch = call.scratch(y.shape, np.float64), call.scratch(y.shape, np.float64)
    return launch_lambda_rank(
        y,
        r,
        lengths,
        scratch,
        *call.outputs,
        by_gain=args.use_ndcg_as_loss,
        normalized=args.use_idcg_normalization,
        exponential=args.use_exp_gain or not args.use_ndcg_as_loss,
    )


@_rank_gradient.everywhere
def _launch_rank_gradient(call: Call) -> Launch:
    _, lengths, cached, dloss = call.inputs
    return launch_scale_sessions(cached, lengths, dloss, call.outputs[0])
