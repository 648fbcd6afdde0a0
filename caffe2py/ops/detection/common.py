"""What operators on boxes share: their arguments and checks."""

from __future__ import annotations

import math
from typing import Any

from caffe2py.errors import ArgumentError, ShapeError
from caffe2py.registry.infer import Query, require_dtype, require_rank
from caffe2py.registry.schema import Arg, Args
from caffe2py.tensor.types import shape_text

NO_GRADIENT = "which boxes are taken does not change smoothly"

PLUS = {
    "legacy_plus_one": Arg(
        bool, True, "the right and bottom pixels belong to a box: w = x2 - x1 + 1"
    )
}

ANGLES = {
    "angle_bound_on": Arg(bool, True, "keep angles within the bounds below"),
    "angle_bound_lo": Arg(int, -90, "the least angle, in degrees"),
    "angle_bound_hi": Arg(int, 90, "the largest angle, in degrees"),
    "clip_angle_thresh": Arg(float, 1.0, "rotated boxes up to this angle are cut to the image"),
}


def check_angles(args: Args) -> None:
    """ArgumentError unless the bounds of angles are a multiple of half a turn apart."""
    if not args.angle_bound_on:
        return
    period = args.angle_bound_hi - args.angle_bound_lo
    if period <= 0 or period % 180:
        raise ArgumentError(
            f"angle_bound_lo {args.angle_bound_lo} and angle_bound_hi {args.angle_bound_hi} must "
            "be a multiple of 180 apart"
        )


def check_number(name: str, value: float) -> None:
    """ArgumentError unless the value is finite."""
    if not math.isfinite(value):
        raise ArgumentError(f"{name} must be finite, found {value}")


def require_floats(query: Query, *indices: int) -> None:
    """Boxes and scores are float32."""
    for index in indices:
        require_dtype(query, index, "float32")


def require_columns(query: Query, index: int, *columns: int) -> None:
    """ShapeError unless the input is a matrix of so many columns."""
    require_rank(query, index, 2)
    shape = query.inputs[index].shape
    if shape is not None and shape[1] not in (*columns, None):
        expected = " or ".join(map(str, columns))
        raise ShapeError(
            f"input {index} '{query.name(index)}' must have {expected} columns, "
            f"found {shape_text(shape)}"
        )


def require_rows(query: Query, *indices: int) -> Any:
    """The first dimension that the inputs have in common; ShapeError where they differ."""
    found = [(i, query.inputs[i].shape) for i in indices]
    known = [(i, shape[0]) for i, shape in found if shape and shape[0] is not None]
    for i, rows in known[1:]:
        if rows != known[0][1]:
            raise ShapeError(
                f"input {known[0][0]} '{query.name(known[0][0])}' has {known[0][1]} row(s), "
                f"input {i} '{query.name(i)}' has {rows}"
            )
    return known[0][1] if known else None
