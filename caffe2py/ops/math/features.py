"""Transformations of features: Box-Cox, piecewise linear, steps, positions."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from caffe2py.errors import ArgumentError, ArityError, ShapeError
from caffe2py.kernels.elementwise import FLOATS, elementwise
from caffe2py.kernels.rows import matrix
from caffe2py.kernels.transform import (
    launch_box_cox,
    launch_piecewise_linear,
    launch_positions,
    launch_root_divide,
)
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

# ---------------------------------------------------------------- BatchBoxCox


def _infer_box_cox(query: Query) -> Sequence[TensorType]:
    for index in range(3):
        require_dtype(query, index, *FLOATS)
    require_same_dtype(query, 0, 1, 2)
    data = query.inputs[0]
    if data.rank == 0:
        raise ShapeError("'data' must have at least 1 dimension, found ()")
    columns = None if data.shape is None else product(data.shape[1:])
    for index in (1, 2):
        shape = query.inputs[index].shape
        count = None if shape is None else product(shape)
        if None not in (count, columns) and count != columns:
            raise ShapeError(
                f"input {index} '{query.name(index)}' must have {columns} element(s), one for each "
                f"column of 'data' {shape_text(data.shape)}; found {shape_text(shape)}"
            )
    return [data]


_box_cox = operator(
    "BatchBoxCox",
    "data, lambda1, lambda2 -> output",
    infer=_infer_box_cox,
    inplace={0: 0},
    gradient=NotDifferentiable("it prepares features"),
    min_block_size=Arg(int, 256, "accepted; all sizes are computed alike"),
    doc="""
    The Box-Cox transformation of every column d of data (N, D): with
    x = max(data[n, d] + lambda2[d], 1e-6), output[n, d] = ln(x) where lambda1[d] = 0, and
    (x ** lambda1[d] - 1) / lambda1[d] elsewhere. Further axes of data belong to the columns.
    Raises ShapeError unless both lambdas have one element a column.
    """,
    example="""
    data = [[1, 4]]; lambda1 = [0, 0.5]; lambda2 = [1, 0]
    output = [[0.6931, 2]]
    """,
)


@_box_cox.everywhere
def _launch_box_cox(call: Call) -> Launch:
    data, power, shift = call.inputs
    y = matrix(call.outputs[0], 1)
    return launch_box_cox(matrix(data, 1), power.reshape(-1), shift.reshape(-1), y)


# ---------------------------------------------------------------- PiecewiseLinearTransform

PIECES = ("bounds", "slopes", "intercepts")


def _pieces_given(args: Args) -> bool:
    """Whether the functions are arguments; ArgumentError for some of them only."""
    given = [bool(getattr(args, name)) for name in PIECES]
    if any(given) and not all(given):
        raise ArgumentError("bounds, slopes and intercepts are given all or not at all")
    return all(given)


def _groups(bounds: int, slopes: int, intercepts: int) -> int:
    """How many functions there are: each has one bound more than it has pieces."""
    groups = bounds - slopes
    if slopes != intercepts or groups < 1 or slopes < groups or slopes % groups:
        raise ShapeError(
            f"{bounds} bounds, {slopes} slopes and {intercepts} intercepts make no functions: each "
            "has one bound more than slopes, and as many intercepts as slopes"
        )
    return groups


def _infer_piecewise(query: Query) -> Sequence[TensorType]:
    counts: list[int | None]
    if _pieces_given(query.args):
        counts = [len(getattr(query.args, name)) for name in PIECES]
        require_dtype(query, 0, *FLOATS)
    else:
        if len(query.inputs) != 4:
            raise ArityError(
                f"without arguments bounds, slopes and intercepts are inputs: expected 4 inputs, "
                f"found {len(query.inputs)}"
            )
        for index in range(4):
            require_dtype(query, index, *FLOATS)
        require_same_dtype(query, 0, 1, 2, 3)
        shapes = [t.shape for t in query.inputs[1:]]
        counts = [None if s is None else product(s) for s in shapes]
    known = [n for n in counts if n is not None]
    groups = _groups(*known) if len(known) == 3 else None
    _require_columns(query, groups)
    return [query.inputs[0]]


def _require_columns(query: Query, groups: int | None) -> None:
    """One column for each function, or with `binary` one or two of a single function."""
    x = query.inputs[0].shape
    require_rank(query, 0, *((1, 2) if query.args.binary else (2,)))
    if query.args.binary and groups not in (1, None):
        raise ShapeError(f"with binary=1 there must be one function, found {groups}")
    if x is None:
        return
    columns = x[1] if len(x) == 2 else 1
    if query.args.binary and columns not in (1, 2, None):
        raise ShapeError(
            f"with binary=1 'predictions' must have 1 or 2 columns, found {shape_text(x)}"
        )
    if not query.args.binary and None not in (columns, groups) and columns != groups:
        raise ShapeError(
            f"'predictions' {shape_text(x)} must have one column for each of {groups} function(s)"
        )


_piecewise = operator(
    "PiecewiseLinearTransform",
    "predictions, bounds?, slopes?, intercepts? -> transforms",
    infer=_infer_piecewise,
    gradient=NotDifferentiable("it calibrates predictions"),
    arguments={
        "bounds": Arg(list[float], None, "where the pieces begin and end, function by function"),
        "slopes": Arg(list[float], None, "of each piece"),
        "intercepts": Arg(list[float], None, "of each piece: its value at 0"),
        "binary": Arg(bool, False, "predictions are of two classes and sum to 1"),
    },
    doc="""
    transforms[n, d] = slope * x + intercept of the piece of function d in which
    x = predictions[n, d] lies: piece k is (bounds[k], bounds[k + 1]]. Below the first bound and
    above the last one the value is that at the bound. All functions have the same number of pieces;
    they are arguments or inputs. With `binary` there is one function for predictions (N), (N, 1) or
    (N, 2); of two columns the second one is transformed and the first becomes 1 minus it. Raises
    ValueRangeError for bounds of a function that are not ascending.
    """,
    example="""
    predictions = [[0.5], [1.5], [9]]; bounds = [0, 1, 2]; slopes = [1, 2]; intercepts = [0, -1]
    transforms = [[0.5], [2], [3]]
    """,
)


@_piecewise.everywhere
def _launch_piecewise(call: Call) -> Launch:
    x, y = call.inputs[0], call.outputs[0]
    if _pieces_given(call.args):
        pieces = [np.array(getattr(call.args, name), x.dtype) for name in PIECES]
    else:
        pieces = [a.reshape(-1) for a in call.inputs[1:]]
    bounds, slopes, intercepts = pieces
    x, y = (a if a.ndim == 2 else a.reshape(-1, 1) for a in (x, y))
    return launch_piecewise_linear(x, bounds, slopes, intercepts, y, binary=call.args.binary)


# ---------------------------------------------------------------- positions


def _infer_positions(query: Query) -> Sequence[TensorType]:
    require_dtype(query, 0, "int32", "int64")
    require_rank(query, 0, 2)
    if query.args.embedding_size < 0:
        raise ArgumentError(f"embedding_size must not be negative: {query.args.embedding_size}")
    shape = query.inputs[0].shape
    whole = None if shape is None else (*shape, query.args.embedding_size)
    return [TensorType(np.dtype(np.float32), whole)]


_positions = operator(
    "SinusoidPositionEncoding",
    "positions -> output",
    infer=_infer_positions,
    gradient=NotDifferentiable("its input are numbers of places"),
    embedding_size=Arg(int, 100, "the length K of an encoding"),
    alpha=Arg(float, 10000.0, "how much slower the last waves are than the first"),
    amplitude=Arg(float, 1.0, "of every wave"),
    doc="""
    output[m, n, k] = `amplitude` * sin(p / `alpha`^(k / K)) for even k and cos of the same for odd
    k, where p = positions[m, 0]: all of a row of positions (M, N), int32 or int64, get the encoding
    of its first one. Float32. The place 0 and negative ones are encoded by the same formula (in
    Caffe2, which goes through their logarithm, as NaN).
    """,
    example="""
    positions = [[1]]; embedding_size = 4
    output = [[[0.8415, 0.995, 0.01, 1]]]
    """,
)


@_positions.everywhere
def _launch_positions(call: Call) -> Launch:
    args = call.args
    return launch_positions(call.inputs[0], args.alpha, args.amplitude, call.outputs[0])


# ---------------------------------------------------------------- SquareRootDivide


def _infer_root(query: Query) -> Sequence[TensorType]:
    require_dtype(query, 0, *FLOATS)
    require_dtype(query, 1, "float32", "float64", "int32", "int64")
    x, scale = (t.shape for t in query.inputs)
    for index, shape in enumerate((x, scale)):
        if shape == ():
            raise ShapeError(f"input {index} '{query.name(index)}' is a scalar, it needs rows")
    if x is not None and scale is not None:
        if None not in (x[0], scale[0]) and x[0] != scale[0]:
            raise ShapeError(
                f"'scale' must have one number for each row of 'X' {shape_text(x)}, "
                f"found {shape_text(scale)}"
            )
        if product(scale) not in (None, scale[0]):
            raise ShapeError(f"'scale' must have one number a row, found {shape_text(scale)}")
    return [query.inputs[0]]


_root_divide = operator(
    "SquareRootDivide",
    "X, scale -> Y",
    infer=_infer_root,
    inplace={0: 0},
    gradient="SquareRootDivide(dY, scale) -> dX",
    doc="""
    Y[n] = X[n] / sqrt(scale[n]) for each row n of X; a row whose scale is 0 stays as it is. Scale
    is of floats, int32 or int64. Raises ValueRangeError for a negative scale.
    """,
    example="""
    X = [[2, 4], [1, 1]]; scale = [4, 0]
    Y = [[1, 2], [1, 1]]
    """,
)


@_root_divide.everywhere
def _launch_root_divide(call: Call) -> Launch:
    x, scale = call.inputs
    return launch_root_divide(matrix(x, 1), scale.reshape(-1), matrix(call.outputs[0], 1))


# ---------------------------------------------------------------- stumps

_STUMP = NoGradient("a step has no slope")


@elementwise(
    "StumpFunc",
    "X -> Y",
    dtypes=FLOATS,
    gradient=_STUMP,
    threshold=Arg(float, 0.0, "the largest X that is low"),
    low_value=Arg(float, 0.0, "Y where X is low"),
    high_value=Arg(float, 0.0, "Y elsewhere"),
    example="""
    X = [1, 2, 3]; threshold = 2; low_value = -1; high_value = 5
    Y = [-1, -1, 5]
    """,
)
def stump(x, threshold, low_value, high_value):
    """Y = `low_value` where X <= `threshold`, `high_value` elsewhere (also for NaN)."""
    return low_value if x <= threshold else high_value


def _infer_stump_index(query: Query) -> Sequence[TensorType]:
    require_dtype(query, 0, *FLOATS)
    return [TensorType(np.dtype(np.int64), (None,))] * 2


_stump_index = operator(
    "StumpFuncIndex",
    "X -> Index_Low, Index_High",
    infer=_infer_stump_index,
    gradient=_STUMP,
    threshold=Arg(float, 0.0, "the largest X that is low"),
    doc="""
    Index_Low = the positions of the elements of X that are at most `threshold`, Index_High = those
    of all others (also of NaN); ascending, int64, X counted as one row.
    """,
    example="""
    X = [1, 2, 3]; threshold = 2
    Index_Low = [0, 1]; Index_High = [2]
    """,
)


@_stump_index.cpu_dynamic()
def _split_by_threshold(call: Call) -> None:
    x = call.inputs[0].reshape(-1)
    low = x <= x.dtype.type(call.args.threshold)
    for index, where in enumerate((low, ~low)):
        places = np.flatnonzero(where)
        call.output(index, places.shape, np.dtype(np.int64))[...] = places
