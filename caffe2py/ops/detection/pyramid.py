"""Regions of a feature pyramid: collected from its levels, and given out to them by size."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from caffe2py.errors import ArgumentError, ArityError
from caffe2py.ops.detection.common import (
    NO_GRADIENT,
    PLUS,
    require_columns,
    require_floats,
    require_rows,
)
from caffe2py.registry.context import Call
from caffe2py.registry.gradient import NotDifferentiable
from caffe2py.registry.infer import Query, require_rank
from caffe2py.registry.operator import operator
from caffe2py.registry.schema import Arg, Args
from caffe2py.tensor.tensor import Array
from caffe2py.tensor.types import TensorType

FLOAT = np.dtype(np.float32)
INT32 = np.dtype(np.int32)

_COLLECT = {
    "rpn_max_level": Arg(int, 6, "the coarsest level that proposals come from"),
    "rpn_min_level": Arg(int, 2, "the finest level that proposals come from"),
    "rpn_post_nms_topN": Arg(int, 2000, "how many of the best are collected; 0 or less: all"),
}
_DISTRIBUTE = {
    "roi_canonical_scale": Arg(int, 224, "side of a region that belongs to roi_canonical_level"),
    "roi_canonical_level": Arg(int, 4, "its level"),
    "roi_max_level": Arg(int, 5, "the coarsest level that regions are given to"),
    "roi_min_level": Arg(int, 2, "the finest level that regions are given to"),
    **PLUS,
}

# ---------------------------------------------------------------- what they have in common


def _levels(args: Args, what: str) -> int:
    """How many levels there are; ArgumentError for fewer than one."""
    low, high = getattr(args, f"{what}_min_level"), getattr(args, f"{what}_max_level")
    if not 0 <= high - low < 64:
        raise ArgumentError(f"{what}_max_level {high} must not be below {what}_min_level {low}")
    return int(high - low + 1)


def _check_collected(query: Query) -> int | None:
    """The columns of rois; errors unless there are rois and scores of each level."""
    count = _levels(query.args, "rpn")
    if len(query.inputs) != 2 * count:
        raise ArityError(
            f"expected rois and scores of {count} levels, {2 * count} inputs, "
            f"found {len(query.inputs)}"
        )
    require_floats(query, *range(2 * count))
    for level in range(count):
        require_columns(query, level, 5)
        require_rank(query, count + level, 1)
        require_rows(query, level, count + level)
    return 5


def _check_distributed(query: Query, first: int) -> int:
    """How many levels there are; errors unless there is an output for each, and one more."""
    count = _levels(query.args, "roi")
    if query.args.roi_canonical_scale <= 0:
        raise ArgumentError(
            f"roi_canonical_scale must be above 0, found {query.args.roi_canonical_scale}"
        )
    if query.outputs != count + first + 1:
        raise ArityError(
            f"expected {count + first + 1} outputs for {count} levels, found {query.outputs}"
        )
    return count


def _collected(call: Call) -> Array:
    """The best regions of all levels, the first ones where scores are equal."""
    arrays = call.inputs
    count = len(arrays) // 2
    rois, scores = np.concatenate(arrays[:count]), np.concatenate(arrays[count:])
    most = call.args.rpn_post_nms_topN
    best = np.argsort(-scores, kind="stable")
    chosen: Array = rois[best[:most] if most > 0 else best]
    return chosen


def _level_of(rois: Array, args: Args) -> Array:
    """The level of each region: one more for each doubling of its side."""
    plus = FLOAT.type(args.legacy_plus_one)
    wide = rois[:, 3] - rois[:, 1] + plus
    high = rois[:, 4] - rois[:, 2] + plus
    with np.errstate(invalid="ignore", divide="ignore"):
        side = np.sqrt(wide * high)
        doublings = np.log2(side / FLOAT.type(args.roi_canonical_scale) + FLOAT.type(1e-6))
        level = np.floor(args.roi_canonical_level + doublings)
    level = np.where(np.isnan(level), args.roi_min_level, level)
    clipped: Array = np.clip(level, args.roi_min_level, args.roi_max_level)
    return clipped


def _distribute(call: Call, rois: Array, first: int) -> None:
    """The regions of each level, in order, and where each region has gone to."""
    level = _level_of(rois, call.args)
    order = []
    for number in range(call.args.roi_min_level, call.args.roi_max_level + 1):
        mine = np.flatnonzero(level == number)
        order.append(mine)
        call.output(first, (len(mine), rois.shape[1]), FLOAT)[...] = rois[mine]
        first += 1
    back = np.argsort(np.concatenate(order), kind="stable")
    call.output(first, (len(rois),), INT32)[...] = back


# ---------------------------------------------------------------- the operators


def _infer_collect(query: Query) -> Sequence[TensorType]:
    return [TensorType(FLOAT, (None, _check_collected(query)))]


collect = operator(
    "CollectRpnProposals",
    "rois_or_scores, rest+ -> rois",
    infer=_infer_collect,
    gradient=NotDifferentiable(NO_GRADIENT),
    doc="""
    rois = the rpn_post_nms_topN regions with the highest scores of all levels, best first, the
    earlier one where scores are equal. Inputs are the rois of each level, (R, 5) with the number of
    the image first, then the scores of each level.
    """,
    example="""
    inputs = [[0, 0, 0, 9, 9]], [[0, 1, 1, 5, 5]], [0.5], [0.9]
    rpn_min_level = 2, rpn_max_level = 3
    rois = [[0, 1, 1, 5, 5], [0, 0, 0, 9, 9]]
    """,
    arguments=_COLLECT,
)


@collect.cpu_dynamic()
def _launch_collect(call: Call) -> None:
    rois = _collected(call)
    call.output(0, rois.shape, FLOAT)[...] = rois


def _shared_types(rows: int | None, columns: int | None, count: int) -> list[TensorType]:
    return [*[TensorType(FLOAT, (None, columns))] * count, TensorType(INT32, (rows,))]


def _infer_distribute(query: Query) -> Sequence[TensorType]:
    count = _check_distributed(query, 0)
    require_floats(query, 0)
    require_columns(query, 0, 5)
    shape = query.inputs[0].shape
    return _shared_types(None if shape is None else shape[0], 5, count)


_LEVELS = """
The level of a region is roi_canonical_level + log2(sqrt(its area) / roi_canonical_scale), rounded
down, from roi_min_level to roi_max_level. rois_idx_restore (int32) says where each region has gone
in all levels' regions, one after another: taking them by it gives back `rois`.
"""

distribute = operator(
    "DistributeFpnProposals",
    "rois -> level, rest+",
    infer=_infer_distribute,
    gradient=NotDifferentiable(NO_GRADIENT),
    doc=f"""
    The regions of each level of a feature pyramid: outputs are the regions (R, 5) of level
    roi_min_level, ..., roi_max_level, and rois_idx_restore.

    {_LEVELS}""",
    example="""
    rois = [[0, 0, 0, 447, 447], [0, 0, 0, 111, 111]]; roi_min_level = 3
    outputs = [[0, 0, 0, 111, 111]], none, [[0, 0, 0, 447, 447]], [1, 0]
    """,
    arguments=_DISTRIBUTE,
)


@distribute.cpu_dynamic()
def _launch_distribute(call: Call) -> None:
    _distribute(call, call.inputs[0], 0)


def _infer_both(query: Query) -> Sequence[TensorType]:
    columns = _check_collected(query)
    count = _check_distributed(query, 1)
    return [TensorType(FLOAT, (None, columns)), *_shared_types(None, columns, count)]


both = operator(
    "CollectAndDistributeFpnRpnProposals",
    "rois_or_scores, rest+ -> rois, level, rest_levels+",
    infer=_infer_both,
    gradient=NotDifferentiable(NO_GRADIENT),
    doc=f"""
    CollectRpnProposals, then DistributeFpnProposals: inputs are the rois and then the scores of
    each level; outputs the rois, those of each level, and rois_idx_restore.

    {_LEVELS}""",
    example="""
    inputs = [[0, 0, 0, 447, 447], [0, 0, 0, 111, 111]], [0.5, 0.9]
    rpn_min_level = 2, rpn_max_level = 2, roi_min_level = 3
    outputs = [[0, 0, 0, 111, 111], [0, 0, 0, 447, 447]], [[0, 0, 0, 111, 111]], none,
    [[0, 0, 0, 447, 447]], [0, 1]
    """,
    arguments={**_COLLECT, **_DISTRIBUTE},
)


@both.cpu_dynamic()
def _launch_both(call: Call) -> None:
    rois = _collected(call)
    call.output(0, rois.shape, FLOAT)[...] = rois
    _distribute(call, rois, 1)


for _operator in (collect, distribute, both):
    _operator.cuda_by_host("proposals are put in order by score and size")
