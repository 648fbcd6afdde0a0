"""Tables and matrices in tensor-train form: TTSparseLengthsSum and TT."""

from __future__ import annotations

import math
from collections.abc import Sequence

from caffe2py.errors import ArgumentError, ShapeError, UnsupportedError
from caffe2py.kernels.convert import launch_convert
from caffe2py.kernels.copy import launch_copy
from caffe2py.kernels.elementwise import FLOATS
from caffe2py.kernels.linalg import launch_product, launch_transpose
from caffe2py.kernels.segment import walk_lengths
from caffe2py.kernels.train import launch_train_gradient, launch_train_sum
from caffe2py.ops.segment.common import INT64, differ, require_vector
from caffe2py.registry.context import Call, Launch
from caffe2py.registry.gradient import NotDifferentiable
from caffe2py.registry.infer import (
    Query,
    product,
    require_dtype,
    require_rank,
    require_same_dtype,
)
from caffe2py.registry.operator import operator
from caffe2py.registry.schema import Arg, Args
from caffe2py.tensor.tensor import Array
from caffe2py.tensor.types import TensorType, shape_text

# ---------------------------------------------------------------- TTSparseLengthsSum


def _factors(args: Args) -> tuple[list[int], list[int], list[int]]:
    """Rows and columns of the three cores, and the ranks between them."""
    rows, columns = list(args.factor_i or []), list(args.factor_j or [])
    ranks = list(args.ranks or [])
    sizes = (len(rows), len(columns), len(ranks)) == (3, 3, 4)
    if not sizes or min([*rows, *columns, *ranks]) < 1 or ranks[::3] != [1, 1]:
        raise ArgumentError(
            "factor_i and factor_j must be 3 positive numbers each, ranks 1, two positive numbers, "
            f"1; found {rows}, {columns}, {ranks}"
        )
    if args.emb_size != math.prod(columns):
        raise ArgumentError(
            f"emb_size is {args.emb_size}, the product of factor_j {columns} is not"
        )
    return rows, columns, ranks


def _infer_sum(query: Query) -> Sequence[TensorType]:
    rows, columns, ranks = _factors(query.args)
    for k in range(3):
        require_dtype(query, k, *FLOATS)
        shape = query.inputs[k].shape
        size = rows[k] * ranks[k] * columns[k] * ranks[k + 1]
        if shape is not None and differ(product(shape), size):
            raise ShapeError(f"'core{k}' is {shape_text(shape)}, needs {size} elements")
    dtype = require_same_dtype(query, 0, 1, 2)
    count, segments = require_vector(query, 3), require_vector(query, 4)
    return [
        TensorType(dtype, (segments, query.args.emb_size)),
        TensorType(dtype, (count, columns[0], ranks[1])),
        TensorType(dtype, (count, columns[0] * columns[1], ranks[2])),
        TensorType(INT64, (count, 3)),
    ]


_sum = operator(
    "TTSparseLengthsSum",
    "core0, core1, core2, index, lengths -> OUTPUT, core0_output, core1_output, indices",
    infer=_infer_sum,
    gradient="TTSparseLengthsSumGradient(core0, core1, core2, lengths, core0_output, core1_output,"
    " indices, dOUTPUT) -> dcore0, dcore1, dcore2",
    doc="""
    OUTPUT[s] = the sum of the rows index[i] over the i in segment s, where segment s is the next
    lengths[s] of them. Row number a + factor_i[0] * (b + factor_i[1] * c) of the table is
    core0[a] core1[b] core2[c]: matrices of (factor_j[0], ranks[1]), (ranks[1], factor_j[1] *
    ranks[2]) and (ranks[2], factor_j[2]), one product after the other. core0_output and
    core1_output are core0[a] and core0[a] core1[b] of each row, indices (int64) its a, b, c. Cores
    are float32 or float64, index and lengths int32 or int64. Raises ValueRangeError for an index
    that is no row, or unless the lengths add up to the indices.
    """,
    example="""
    core0 = [[1], [2]]; core1 = [[1], [3]]; core2 = [[1], [5]]; index = [7, 0]; lengths = [2]
    factor_i = [2, 2, 2], factor_j = [1, 1, 1], ranks = [1, 1, 1, 1], emb_size = 1
    OUTPUT = [[31]]; indices = [[1, 1, 1], [0, 0, 0]]
    """,
    factor_i=Arg(list[int], None, "the sizes whose product is the number of rows"),
    factor_j=Arg(list[int], None, "the sizes whose product is the number of columns"),
    ranks=Arg(list[int], None, "the sizes between the cores, with 1 at both ends"),
    emb_size=Arg(int, 64, "the number of columns"),
)


@_sum.everywhere
def _launch_sum(call: Call) -> list[Launch]:
    rows, columns, ranks = _factors(call.args)
    *cores, index, lengths = call.inputs
    y, once, twice, digits = call.outputs
    way = walk_lengths(call, lengths, index.size, "indices")
    shaped = (
        cores[0].reshape(rows[0], columns[0], ranks[1]),
        cores[1].reshape(rows[1], ranks[1], columns[1] * ranks[2]),
        cores[2].reshape(rows[2], ranks[2], columns[2]),
    )
    pairs = twice.reshape(index.size, columns[0], columns[1] * ranks[2])
    out = y.reshape(lengths.size, columns[0] * columns[1], columns[2])
    launches = launch_train_sum(shaped, index, way.offsets, digits, once, pairs, out)
    return [*way.launches, *launches]


def _infer_sum_gradient(query: Query) -> Sequence[TensorType]:
    floats = (0, 1, 2, 4, 5, 7)
    for index in floats:
        require_dtype(query, index, *FLOATS)
    dtype = require_same_dtype(query, *floats)
    for index in range(3):
        require_rank(query, index, 4)
    segments = require_vector(query, 3)
    require_dtype(query, 6, "int64")
    shapes = [t.full_shape for t in query.inputs]
    if None not in shapes:
        _require_fit([s for s in shapes if s is not None], segments)
    return [TensorType(dtype, query.inputs[k].shape) for k in range(3)]


def _require_fit(shapes: list[tuple[int, ...]], segments: int | None) -> None:
    """Raise ShapeError unless cores, intermediate products and dOUTPUT belong together."""
    first, second, third, _, once, twice, digits, dy = shapes
    count = digits[0] if digits else 0
    ranks, columns = (first[3], second[3]), (first[2], second[2], third[2])
    expected = [
        (first, (first[0], 1, columns[0], ranks[0])),
        (second, (second[0], ranks[0], columns[1], ranks[1])),
        (third, (third[0], ranks[1], columns[2], 1)),
        (once, (count, columns[0], ranks[0])),
        (twice, (count, columns[0] * columns[1], ranks[1])),
        (digits, (count, 3)),
        (dy, (segments, math.prod(columns))),
    ]
    for found, wanted in expected:
        if found != wanted:
            raise ShapeError(f"{shape_text(found)} must be {shape_text(wanted)} to fit the cores")


_sum_gradient = operator(
    "TTSparseLengthsSumGradient",
    "core0, core1, core2, lengths, core0_output, core1_output, indices, dOUTPUT"
    " -> dcore0, dcore1, dcore2",
    infer=_infer_sum_gradient,
    doc="""
    The gradients of the cores of TTSparseLengthsSum, added up over all rows that read them. Cores
    have 4 axes: rows, rank, columns, rank.
    """,
)


def _thin(core: Array, k: int) -> Array:
    """A core as launch_train_sum takes it."""
    rows, left, columns, right = core.shape
    shape = [(columns, right), (left, columns * right), (left, columns)][k]
    return core.reshape(rows, *shape)


@_sum_gradient.everywhere
def _launch_sum_gradient(call: Call) -> list[Launch]:
    first, second, third, lengths, once, twice, digits, dy = call.inputs
    cores = tuple(_thin(core, k) for k, core in enumerate((first, second, third)))
    results = tuple(_thin(core, k) for k, core in enumerate(call.outputs))
    way = walk_lengths(call, lengths, len(digits), "indices")
    shape = (len(digits), first.shape[2], second.shape[2] * second.shape[3])
    out = dy.reshape(len(dy), first.shape[2] * second.shape[2], third.shape[2])
    scratch = call.scratch(shape, dy.dtype)
    launches = launch_train_gradient(
        (cores[0], cores[1], cores[2]),
        way.offsets,
        digits,
        once,
        twice.reshape(shape),
        out,
        scratch,
        (results[0], results[1], results[2]),
    )
    return [*way.launches, *launches]


# ---------------------------------------------------------------- TT


def _sizes(args: Args) -> tuple[list[int], list[int], list[int]]:
    """Input and output sizes of the cores, and the ranks between them."""
    inputs, outputs = list(args.inp_sizes or []), list(args.out_sizes or [])
    ranks = list(args.tt_ranks or [])
    count = len(inputs)
    if not count or (len(outputs), len(ranks)) != (count, count + 1) or ranks[::count] != [1, 1]:
        raise ArgumentError(
            "inp_sizes, out_sizes and tt_ranks must be n, n and n + 1 numbers, the ranks with 1 at "
            f"both ends; found {inputs}, {outputs}, {ranks}"
        )
    if min([*inputs, *outputs, *ranks]) < 1:
        raise ArgumentError(f"sizes must be positive; found {inputs}, {outputs}, {ranks}")
    return inputs, outputs, ranks


def _infer_tt(query: Query) -> Sequence[TensorType]:
    inputs, outputs, ranks = _sizes(query.args)
    for index in range(3):
        require_dtype(query, index, *FLOATS)
    dtype = require_same_dtype(query, 0, 1)
    x = query.inputs[0].shape
    if x is not None and len(x) < 2:
        raise ShapeError(f"'X' must have at least 2 dimensions, found {shape_text(x)}")
    if x is not None and differ(product(x[1:]), math.prod(inputs)):
        raise ShapeError(f"'X' is {shape_text(x)}, needs {math.prod(inputs)} elements in each row")
    needs = sum(
        a * b * p * q for a, b, p, q in zip(inputs, outputs, ranks, ranks[1:], strict=False)
    )
    for index, size in ((1, math.prod(outputs)), (2, needs)):
        found = require_vector(query, index, *FLOATS)
        if differ(found, size):
            raise ShapeError(f"'{query.name(index)}' has {found} element(s), needs {size}")
    return [TensorType(dtype, (None if x is None else x[0], math.prod(outputs)))]


_tt = operator(
    "TT",
    "X, b, cores -> Y",
    infer=_infer_tt,
    gradient=NotDifferentiable("Caffe2 has none"),
    doc="""
    Y = X W + b for a matrix W of (the product of inp_sizes, the product of out_sizes) that is never
    made: for k from the last to the first, the axes of inp_sizes[k] and tt_ranks[k + 1] become
    those of tt_ranks[k] and out_sizes[k] by a product with a core. `cores` holds these matrices
    one after the other, that of the last k first. float32 or float64, also other ones for the
    cores. Caffe2 mixes up the elements of several rows of X.
    """,
    example="""
    X = [[1, 2]]; b = [10]; cores = [3, 4]; inp_sizes = [2], out_sizes = [1], tt_ranks = [1, 1]
    Y = [[21]]
    """,
    inp_sizes=Arg(list[int], None, "the sizes whose product is that of a row of X"),
    out_sizes=Arg(list[int], None, "the sizes whose product is that of a row of Y"),
    tt_ranks=Arg(list[int], None, "the sizes between the cores, with 1 at both ends"),
)


@_tt.cpu
def _launch_tt(call: Call) -> list[Launch]:
    inputs, outputs, ranks = _sizes(call.args)
    x, bias, cores = call.inputs
    y = call.outputs[0]
    launches: list[Launch] = []
    if cores.dtype != x.dtype:
        wanted = call.scratch(cores.shape, x.dtype)
        launches += launch_convert(call, cores, wanted)
        cores = wanted
    at, current = 0, x.reshape(-1)
    for k in reversed(range(len(inputs))):
        rows, columns = inputs[k] * ranks[k + 1], ranks[k] * outputs[k]
        core = cores[at : at + rows * columns].reshape(rows, columns)
        at += core.size
        count = current.size // rows
        made = call.scratch((count, columns), x.dtype)
        launches += launch_product(call, current.reshape(count, rows), core, made)
        # the outputs of this core go in front of all other axes
        turned = call.scratch((1, outputs[k], made.size // outputs[k]), x.dtype)
        launches.append(launch_transpose(made.reshape(1, -1, outputs[k]), turned))
        current = turned.reshape(-1)
    width, count = math.prod(outputs), x.shape[0]
    last = call.scratch((1, count, width), x.dtype)
    launches.append(launch_transpose(current.reshape(1, width, count), last))
    # a product with ones adds the bias to every row
    ones = call.scratch((count, 1), x.dtype)
    ones[...] = 1
    launches.append(launch_copy(last, y))
    return [*launches, *launch_product(call, ones, bias.reshape(1, width), y, add=True)]


_tt_gradient = operator(
    "TTLinearGradient",
    "inputs* -> outputs*",
    doc="A name that Caffe2 reserved for the gradient of TT: no run of it succeeds, there or here.",
)


@_tt_gradient.cpu_dynamic(takes_nothing=True)
def _refuse(call: Call) -> None:
    raise UnsupportedError("TT has no gradient in Caffe2, and this operator computes nothing")
