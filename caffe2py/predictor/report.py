"""What an array holds, in a few figures; and how far it is from what was expected."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from caffe2py.tensor.tensor import Array
from caffe2py.tensor.types import STRING, dtype_name, shape_text

__all__ = ["Difference", "Statistics", "compare", "ranking", "statistics"]

_TOP = 5


@dataclass(frozen=True)
class Statistics:
    """Over the finite elements; None where there are none. `non_finite` counts the others."""

    minimum: float | None
    maximum: float | None
    mean: float | None
    std: float | None
    non_finite: int


@dataclass(frozen=True)
class Difference:
    """How an array compares with the expected one. `reason` says what else does not fit.

    Relative errors are those of elements whose expected value is not 0.
    """

    fits: bool
    max_abs: float
    max_rel: float
    mismatches: int
    size: int
    reason: str = ""


def statistics(array: Array) -> Statistics:
    """The figures of a numeric array (bool counts as 0 and 1); all None for strings."""
    if array.dtype == STRING or array.dtype.kind in "SU":
        return Statistics(None, None, None, None, 0)
    values = array.astype(np.float64).reshape(-1)
    finite = values[np.isfinite(values)]
    lost = values.size - finite.size
    if not finite.size:
        return Statistics(None, None, None, None, lost)
    with np.errstate(over="ignore"):
        mean, std = float(finite.mean()), float(finite.std())
    return Statistics(float(finite.min()), float(finite.max()), mean, std, lost)


def ranking(array: Array, count: int = _TOP) -> list[tuple[int, float]]:
    """The largest values with their indices, for an array that is one list, such as (1, N, 1, 1).

    Empty for other shapes and for strings; NaN is never among the largest.
    """
    is_list = array.ndim > 1 and sum(dim != 1 for dim in array.shape) == 1
    if not is_list or array.dtype.kind not in "fiu":
        return []
    values = array.reshape(-1)
    order = np.argsort(-np.nan_to_num(values.astype(np.float64), nan=-np.inf), kind="stable")
    return [(int(i), float(values[i])) for i in order[:count]]


def compare(found: Any, expected: Array, atol: float, rtol: float) -> Difference:
    """Whether |found - expected| <= atol + rtol * |expected| everywhere; NaN equals NaN.

    Arrays of another shape do not fit; another dtype alone is no difference.
    """
    if not isinstance(found, np.ndarray):
        return _unlike(f"is a {type(found).__name__}, not a tensor")
    if found.shape != expected.shape:
        shapes = f"{shape_text(found.shape)}, expected {shape_text(expected.shape)}"
        return _unlike(f"has the shape {shapes}")
    kinds = [a.dtype == STRING or a.dtype.kind in "SU" for a in (found, expected)]
    if any(kinds):
        return _compare_strings(found, expected, all(kinds))
    a, b = found.astype(np.float64), expected.astype(np.float64)
    with np.errstate(invalid="ignore", over="ignore", divide="ignore"):
        same = (found == expected) | (np.isnan(a) & np.isnan(b))
        error = np.where(same, 0.0, np.abs(a - b))
        error = np.where(np.isnan(error), np.inf, error)
        # large integers may differ and still round to the same float64
        error = np.where(~same & (error == 0), np.spacing(np.abs(b)), error)
        wrong = ~same & (error > atol + rtol * np.where(np.isfinite(b), np.abs(b), 0.0))
        relative = np.where((b != 0) & (error > 0), error / np.abs(b), 0.0)
    worst = float(np.max(error, initial=0.0))
    worst_relative = float(np.nanmax(relative, initial=0.0))
    count = int(np.count_nonzero(wrong))
    return Difference(not count, worst, worst_relative, count, int(found.size))


def _compare_strings(found: Array, expected: Array, both: bool) -> Difference:
    if not both:
        types = f"{dtype_name(found.dtype)}, expected {dtype_name(expected.dtype)}"
        return _unlike(f"has the type {types}")
    pairs = zip(found.reshape(-1), expected.reshape(-1), strict=True)
    count = sum(_as_bytes(a) != _as_bytes(b) for a, b in pairs)
    return Difference(not count, 0.0, 0.0, count, int(found.size))


def _as_bytes(value: Any) -> bytes:
    return value.encode() if isinstance(value, str) else bytes(value)


def _unlike(reason: str) -> Difference:
    return Difference(False, np.inf, np.inf, 0, 0, reason)
