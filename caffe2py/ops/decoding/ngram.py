"""NGramFromCategorical: several categories as one number."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence

import numpy as np

from caffe2py.errors import ArgumentError, ShapeError
from caffe2py.kernels.decoding import launch_mixed_radix
from caffe2py.kernels.elementwise import FLOATS
from caffe2py.registry.context import Call, Launch
from caffe2py.registry.gradient import NoGradient
from caffe2py.registry.infer import Query, product, require_dtype
from caffe2py.registry.operator import operator
from caffe2py.registry.schema import Arg, Args
from caffe2py.tensor.types import TensorType, shape_text


def _check(args: Args) -> None:
    columns, limits, values = args.col_ids, args.categorical_limits, args.vals
    if not columns or min(columns) < 0:
        raise ArgumentError(f"col_ids must name columns, found {list(columns)[:8]}")
    if len(limits) != len(columns) or min(limits) < 1:
        raise ArgumentError(
            f"categorical_limits must be {len(columns)} positive numbers, one for each of "
            f"col_ids; found {list(limits)[:8]}"
        )
    if len(values) != sum(limits):
        raise ArgumentError(f"vals must be {sum(limits)} numbers in all, found {len(values)}")
    if math.prod(limits) > 2**63:
        raise ArgumentError(f"{math.prod(limits)} combinations are more than an int64 can tell")


def _infer(query: Query) -> Sequence[TensorType]:
    _check(query.args)
    require_dtype(query, 0, *FLOATS)
    shape = query.inputs[0].shape
    if shape is None:
        return [TensorType(np.dtype(np.int64), (None,))]
    width = product(shape[1:])
    if not shape or (width is not None and width <= max(query.args.col_ids)):
        raise ShapeError(
            f"input 0 '{query.name(0)}' must have a column {max(query.args.col_ids)}, "
            f"found {shape_text(shape)}"
        )
    return [TensorType(np.dtype(np.int64), shape[:1])]


ngram = operator(
    "NGramFromCategorical",
    "floats -> output",
    infer=_infer,
    gradient=NoGradient("categories are no smooth function"),
    col_ids=Arg(list[int], (), "the columns that hold categories"),
    categorical_limits=Arg(list[int], (), "how many categories each of these columns has"),
    vals=Arg(list[int], (), "the numbers that stand for them, one column after the other"),
    doc="""
    One int64 for each row of floats (N, D): the categories of the columns col_ids as digits of a
    number, the first column's being the lowest. A category's digit is its place among its column's
    vals; entries are rounded, and one that is none of them counts as the first.
    """,
    example="""
    floats = [[3, 9], [5, 7]]; col_ids = [0, 1]; categorical_limits = [2, 2]; vals = [3, 5, 7, 9]
    output = [2, 1]
    """,
)


@ngram.everywhere
def launch_ngram(call: Call) -> Launch:
    """Look each entry up among its column's values."""
    args, x = call.args, call.inputs[0]
    limits = list(args.categorical_limits)
    begins = [0, *itertools.accumulate(limits)]
    bases = [1, *itertools.accumulate(limits, lambda a, b: a * b)]
    places: list[int] = []
    values = list(args.vals)
    for begin, end, base in zip(begins, begins[1:], bases, strict=False):
        # of equal values the last one counts
        last = {value: digit for digit, value in enumerate(values[begin:end])}
        places += [last[value] * base for value in values[begin:end]]
    columns, firsts, known, worth = (
        np.array(table, np.int64) for table in (args.col_ids, begins, values, places)
    )
    rows = x.reshape(x.shape[0], math.prod(x.shape[1:]))
    return launch_mixed_radix(rows, columns, firsts, known, worth, call.outputs[0])
