"""RMACRegions: squares that cover an image at several scales."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from caffe2py.errors import ArgumentError, MemoryBudgetError
from caffe2py.kernels.copy import launch_copy
from caffe2py.registry.context import Call, Launch
from caffe2py.registry.gradient import NotDifferentiable
from caffe2py.registry.infer import Query, require_rank
from caffe2py.registry.operator import operator
from caffe2py.registry.schema import Arg, Args
from caffe2py.tensor.tensor import Array
from caffe2py.tensor.types import TensorType

#: So many squares may lie next to each other along the longer side.
_STEPS = np.arange(2, 8, dtype=np.float32)

#: More scales than this make more regions than there is use for.
_MOST = 1000


def _more(long: int, short: int, overlap: float) -> int:
    """How many more squares the longer side takes, so that neighbours overlap as asked for."""
    distance = np.float32(long - short) / (_STEPS - np.float32(1))
    area = np.float32(short) * np.float32(short)
    shared = (area - np.float32(short) * distance) / area
    return int(np.argmin(np.abs(shared - np.float32(overlap)))) + 1


def _starts(size: int, side: int, count: int) -> Array:
    """First elements of `count` squares, evenly spread over an axis."""
    step = np.float32(size - side) / np.float32(count - 1) if count > 1 else np.float32(0)
    starts = np.floor(step * np.arange(count, dtype=np.float32)).astype(np.int64)
    last: Array = np.minimum(starts, size - side)
    return last


def _regions(height: int, width: int, args: Args) -> Array:
    """Left, top, right and bottom of all squares; their last pixels belong to them."""
    short = min(height, width)
    found: list[tuple[int, int, int, int]] = []
    if short < 1:
        return np.zeros((0, 4), np.float32)
    more = _more(max(height, width), short, args.overlap)
    more_x, more_y = more if width > height else 0, more if height > width else 0
    for scale in range(1, args.scales + 1):
        side = 2 * short // (scale + 1)
        if side < 1:
            break
        for left in _starts(width, side, scale + more_x):
            tops = _starts(height, side, scale + more_y)
            found.extend((left, top, left + side - 1, top + side - 1) for top in tops)
    return np.array(found, np.float32).reshape(-1, 4)


def _infer(query: Query) -> Sequence[TensorType]:
    require_rank(query, 0, 4)
    args = query.args
    if not (args.scales <= _MOST and np.isfinite(args.overlap)):
        raise ArgumentError(
            f"scales must be at most {_MOST} and overlap finite, "
            f"found {args.scales} and {args.overlap}"
        )
    shape = query.inputs[0].shape
    rows = None
    if shape is not None and shape[2] is not None and shape[3] is not None:
        _check_count(min(shape[2], shape[3]), args.scales)
        if shape[0] is not None:
            rows = shape[0] * len(_regions(shape[2], shape[3], args))
    return [TensorType(np.dtype(np.float32), (rows, 5))]


def _check_count(short: int, scales: int) -> None:
    most = max(min(scales, 2 * short), 0)
    if most**3 > 1 << 26:
        raise MemoryBudgetError(f"{most} scales make too many regions")


cover = operator(
    "RMACRegions",
    "X -> RMAC_REGIONS",
    infer=_infer,
    gradient=NotDifferentiable("regions depend on the shape of X only"),
    doc="""
    Squares that cover each image of X, as rows (image, left, top, right, bottom) for RoIPool.

    X is (N, C, H, W) of any type; only its shape is read. At scale l = 1 ... `scales` the squares
    are 2 * min(H, W) / (l + 1) pixels wide, rounded down, l of them along the shorter side and
    l + m along the longer one, evenly spread from edge to edge; m, 1 to 6, is chosen so that those
    of scale 1 share about `overlap` of their area with the next one.
    """,
    example="""
    X of shape (1, 8, 2, 2); scales = 1
    RMAC_REGIONS = [[0, 0, 0, 1, 1]]
    """,
    scales=Arg(int, 3, "number of scales; none if it is below 1"),
    overlap=Arg(float, 0.4, "shared part of neighbours at the first scale"),
)


@cover.everywhere
def _launch(call: Call) -> Launch:
    batch, _, height, width = call.inputs[0].shape
    boxes = _regions(height, width, call.args)
    numbers = np.repeat(np.arange(batch, dtype=np.float32), len(boxes))
    rows = np.hstack([numbers[:, np.newaxis], np.tile(boxes, (batch, 1))])
    return launch_copy(np.ascontiguousarray(rows), call.outputs[0])
