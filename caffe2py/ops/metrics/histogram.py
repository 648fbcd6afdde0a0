"""How many elements lie in which range."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import numpy as np

from caffe2py.errors import ArgumentError
from caffe2py.kernels.elementwise import FLOATS
from caffe2py.kernels.histogram import (
    launch_even_histogram,
    launch_histogram,
    launch_self_binning,
)
from caffe2py.registry.context import Call, Launch
from caffe2py.registry.gradient import NotDifferentiable
from caffe2py.registry.infer import Query, require_dtype, require_same_dtype
from caffe2py.registry.operator import operator
from caffe2py.registry.schema import Arg
from caffe2py.tensor.types import DType, TensorType

INT64 = np.dtype(np.int64)
COUNTS = NotDifferentiable("it counts")


def _common_floats(query: Query) -> DType | None:
    for index in range(len(query.inputs)):
        require_dtype(query, index, *FLOATS)
    return require_same_dtype(query, *range(len(query.inputs)))


def _infer_self_binning(query: Query) -> Sequence[TensorType]:
    args = query.args
    if args.num_bins < 1:
        raise ArgumentError(
            f"num_bins: Number of bins must be greater than or equal to 1, found {args.num_bins}"
        )
    if args.bin_spacing not in ("linear", "logarithmic"):
        raise ArgumentError(f"bin_spacing is 'linear' or 'logarithmic', found '{args.bin_spacing}'")
    if not args.logspace_start > 0:
        raise ArgumentError(f"logspace_start must be positive, found {args.logspace_start}")
    shape = (args.num_bins + 1,)
    return [TensorType(_common_floats(query), shape), TensorType(INT64, shape)]


_self_binning = operator(
    "SelfBinningHistogram",
    "X+ -> histogram_values, histogram_counts",
    infer=_infer_self_binning,
    gradient=COUNTS,
    doc="""
    histogram_values[0 ... num_bins] = edges that part the range of all elements of all inputs into
    bins, the last a little (0.01 % of the range) above the largest element; histogram_counts[k] =
    how many elements lie from histogram_values[k] up to the next edge; the last count is 0. Edges
    are as far apart as each other, or with 'logarithmic' spacing their logarithms are, and elements
    below logspace_start count in the first bin. With `abs` magnitudes are taken. Where the range is
    too narrow for edges to differ all elements count in the first bin; without elements all is 0.
    NaN counts nowhere. Inputs are of one floating type. Raises ArgumentError for arguments out of
    range.
    """,
    example="""
    X = [0, 1, 1, 4]; num_bins = 2
    histogram_values = [0, 2.0002, 4.0004]; histogram_counts = [3, 1, 0]
    """,
    num_bins=Arg(int, 0, "the number of bins, at least 1"),
    bin_spacing=Arg(str, "linear", "'linear' or 'logarithmic'"),
    logspace_start=Arg(float, 1e-24, "the least edge of logarithmic bins"),
    logspacing_start=Arg(float, None, "has no effect; scripts for Caffe2 call logspace_start so"),
    abs=Arg(bool, False, "whether magnitudes are counted"),
)


@_self_binning.everywhere
def _launch_self_binning(call: Call) -> list[Launch]:
    return launch_self_binning(
        call,
        magnitude=bool(call.args.abs),
        logarithmic=call.args.bin_spacing == "logarithmic",
        floor=call.args.logspace_start,
    )


def _infer_histogram(query: Query) -> Sequence[TensorType]:
    _common_floats(query)
    edges = query.args.bin_edges or []
    if len(edges) < 2:
        raise ArgumentError(f"bin_edges must hold 2 numbers or more, found {len(edges)}")
    for before, after in pairwise(edges):
        if not before < after:
            raise ArgumentError(f"bin_edges must increase, found {before} before {after}")
    return [TensorType(INT64, (len(edges) - 1,))]


_histogram = operator(
    "Histogram",
    "X+ -> histogram",
    infer=_infer_histogram,
    gradient=COUNTS,
    doc="""
    histogram[k] = how many elements of all inputs lie in [bin_edges[k], bin_edges[k + 1]), int64.
    Elements outside of the bins and NaN count nowhere. Inputs are of one floating type. Raises
    ArgumentError unless there are two edges or more that increase.
    """,
    example="""
    X = [0, 1, 1.5, 3]; bin_edges = [0.0, 1.0, 2.0]
    histogram = [1, 2]
    """,
    bin_edges=Arg(list[float], None, "where bins begin and end, in order"),
)


@_histogram.everywhere
def _launch_histogram(call: Call) -> list[Launch]:
    single = np.array(call.args.bin_edges, np.float32)  # arguments are float32
    return launch_histogram(call.inputs, single.astype(call.inputs[0].dtype), call.outputs[0])


def _infer_accumulate(query: Query) -> Sequence[TensorType]:
    require_dtype(query, 0, *FLOATS)
    if query.args.num_buckets < 1:
        raise ArgumentError(f"num_buckets must be at least 1, found {query.args.num_buckets}")
    return [TensorType(INT64, (query.args.num_buckets + 2,))] * 2


_accumulate = operator(
    "AccumulateHistogram",
    "X -> CurHist, AccHist",
    infer=_infer_accumulate,
    gradient=COUNTS,
    doc="""
    CurHist[0] = how many elements of X lie below lower_bound, CurHist[1 ... num_buckets] = how many
    in each of num_buckets equal parts of [lower_bound, upper_bound), CurHist[num_buckets + 1] = how
    many at upper_bound or above. AccHist = the sum of CurHist over all runs of this operator. Both
    are int64; NaN counts nowhere. Raises ArgumentError for less than one bucket.
    """,
    example="""
    X = [-1, 0.2, 0.7, 0.9, 2]; num_buckets = 2
    CurHist = [1, 1, 2, 1]; AccHist = [1, 1, 2, 1] after the first run
    """,
    lower_bound=Arg(float, 0.0, "where the first bucket begins"),
    upper_bound=Arg(float, 1.0, "where the last bucket ends"),
    num_buckets=Arg(int, 1, "the number of buckets between the bounds"),
)


@_accumulate.cpu
def _launch_accumulate(call: Call) -> list[Launch]:
    counts, total = call.outputs
    kept = call.kept.setdefault("total", np.zeros(total.shape, INT64))
    args = call.args
    return launch_even_histogram(
        call.inputs[0], args.lower_bound, args.upper_bound, counts, kept, total
    )
