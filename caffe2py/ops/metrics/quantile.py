"""Quantiles of elements, and where elements lie in a distribution."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise

import numpy as np

from caffe2py.errors import ArgumentError, ShapeError
from caffe2py.kernels.elementwise import FLOATS
from caffe2py.kernels.histogram import launch_interpolate, launch_percentiles, launch_quantile
from caffe2py.registry.context import Call, Launch
from caffe2py.registry.gradient import NoGradient, NotDifferentiable
from caffe2py.registry.infer import (
    Query,
    product,
    require_dtype,
    require_rank,
    require_same_dtype,
)
from caffe2py.registry.operator import operator
from caffe2py.registry.schema import Arg, Args
from caffe2py.tensor.types import TensorType, shape_text


def _infer_quantile(query: Query) -> Sequence[TensorType]:
    if not 0 <= query.args.quantile <= 1:
        raise ArgumentError(f"quantile must lie in [0, 1], found {query.args.quantile}")
    if not query.args.tol > 0:
        raise ArgumentError(f"tol must be positive, found {query.args.tol}")
    for index in range(len(query.inputs)):
        require_dtype(query, index, *FLOATS)
    dtype = require_same_dtype(query, *range(len(query.inputs)))
    sizes = [None if x.shape is None else product(x.shape) for x in query.inputs]
    if all(size == 0 for size in sizes):
        raise ShapeError("the inputs have no elements and so no quantile")
    return [TensorType(dtype, (1,))]


_quantile = operator(
    "Quantile",
    "X+ -> quantile_value",
    infer=_infer_quantile,
    gradient=NotDifferentiable("it counts"),
    doc="""
    quantile_value = [v], where at least ceil(quantile * n) of the n elements of all inputs (with
    `abs` of their magnitudes) are not above v, found by bisection between the least and the largest
    element until candidates differ by less than `tol` relative to their size. Inputs are of one
    floating type. Raises ArgumentError for arguments out of range, ShapeError without elements,
    ValueRangeError where `tol` is finer than the type.
    """,
    example="""
    X = [1, 2, 3, 4]; quantile = 0.5
    quantile_value = [2.5]
    """,
    quantile=Arg(float, -1.0, "the share of elements, in [0, 1]"),
    abs=Arg(bool, True, "whether magnitudes are taken"),
    tol=Arg(float, 1e-3, "how close candidates come"),
)


@_quantile.everywhere
def _launch_quantile(call: Call) -> list[Launch]:
    total = sum(x.size for x in call.inputs)
    # the argument is float32, and so is the product: 0.2 of 5 is 1
    target = math.ceil(np.float32(total) * np.float32(call.args.quantile))
    args = (min(target, total), call.args.tol, bool(call.args.abs), call.outputs[0])
    return launch_quantile(call, call.inputs, *args)


def _infer_percentile(query: Query) -> Sequence[TensorType]:
    for index in (0, 1):
        require_dtype(query, index, *FLOATS)
        require_rank(query, index, 2)
    require_same_dtype(query, 0, 1)
    require_dtype(query, 2, "int32")
    x, pairs, lengths = (t.shape for t in query.inputs)
    if pairs is not None and pairs[1] not in (2, None):
        raise ShapeError(f"'value_to_pct' is {shape_text(pairs)}, needs two columns")
    if x is not None and lengths is not None:
        size = product(lengths)
        if None not in (size, x[1]) and size != x[1]:
            raise ShapeError(
                f"'lengths' is {shape_text(lengths)}; {shape_text(x)} needs one length a column"
            )
    return [query.inputs[0]]


_percentile = operator(
    "Percentile",
    "original_values, value_to_pct, lengths -> percentile_values",
    infer=_infer_percentile,
    gradient=NoGradient("a percentile is looked up"),
    doc="""
    percentile_values[r, c] = where original_values[r, c] lies in the distribution of column c: the
    next lengths[c] rows (value, percentile) of value_to_pct, in ascending order. Between two values
    it is interpolated, below the first one it is 0, above the last one 1. Shapes (N, D), (M, 2) and
    D lengths, int32. Raises ValueRangeError unless the lengths add up to M.
    """,
    example="""
    original_values = [[3, 5], [4, 2]]; value_to_pct = [[3, 0.2], [5, 0.6], [5, 0.5]]
    lengths = [2, 1]
    percentile_values = [[0.2, 0.5], [0.4, 0]]
    """,
)


@_percentile.everywhere
def _launch_percentile(call: Call) -> Launch:
    x, pairs, lengths = call.inputs
    return launch_percentiles(x, pairs, lengths, call.outputs[0])


TABLES = {
    "percentile_raw": Arg(list[float], None, "raw values, ascending for each feature"),
    "percentile_mapping": Arg(list[float], None, "the percentile of each raw value"),
    "percentile_lower": Arg(list[float], None, "the percentile just below each raw value"),
    "percentile_upper": Arg(list[float], None, "the percentile just above each raw value"),
    "lengths": Arg(list[int], None, "how many raw values each feature has"),
}


def _check_tables(args: Args) -> list[int]:
    """The lengths; ArgumentError where the tables contradict each other."""
    raw = args.percentile_raw or []
    for name in ("percentile_mapping", "percentile_lower", "percentile_upper"):
        if len(getattr(args, name) or []) != len(raw):
            raise ArgumentError(f"{name} must be as long as percentile_raw, {len(raw)}")
    lengths = list(args.lengths or [])
    if sum(lengths) != len(raw) or any(n < 1 for n in lengths):
        raise ArgumentError(
            f"lengths {lengths} must be positive and add up to {len(raw)}, as long as the tables"
        )
    at = 0
    for length in lengths:
        if any(not a <= b for a, b in pairwise(raw[at : at + length])):
            raise ArgumentError("percentile_raw must ascend for each feature")
        at += length
    return lengths


def _infer_bisect(query: Query) -> Sequence[TensorType]:
    require_dtype(query, 0, "float32")
    require_rank(query, 0, 2)
    x, count = query.inputs[0], len(_check_tables(query.args))
    if x.shape is not None and x.shape[1] not in (None, count):
        raise ShapeError(f"'raw_values' is {shape_text(x.shape)}; lengths name {count} feature(s)")
    return [x]


_bisect = operator(
    "BisectPercentile",
    "raw_values -> percentile",
    infer=_infer_bisect,
    gradient=NoGradient("a percentile is looked up"),
    arguments=TABLES,
    doc="""
    percentile[r, c] = percentile_mapping[k] where raw_values[r, c] is percentile_raw[k], one of the
    next lengths[c] entries for column c; between two of them it goes from percentile_upper[k] to
    percentile_lower[k + 1]; below the first it is 0, above the last 1. Of equal entries the last is
    taken; a NaN stays NaN. Float32, shape (N, D). Raises ArgumentError for tables of different
    lengths or, where Caffe2 reads other memory, empty or unordered ones.
    """,
    example="""
    raw_values = [[1], [1.5], [9]]; percentile_raw = [1.0, 2.0]; lengths = [2]
    percentile_mapping = percentile_lower = percentile_upper = [0.2, 0.8]
    percentile = [[0.2], [0.5], [1]]
    """,
)


@_bisect.everywhere
def _launch_bisect(call: Call) -> Launch:
    args = call.args
    offsets = np.concatenate([[0], np.cumsum(args.lengths or [])]).astype(np.int64)
    tables = [
        np.array(values or [], np.float32)
        for values in (
            args.percentile_raw,
            args.percentile_mapping,
            args.percentile_lower,
            args.percentile_upper,
        )
    ]
    return launch_interpolate(call.inputs[0], offsets, tables, call.outputs[0])
