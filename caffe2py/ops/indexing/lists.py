"""Lists of indices, one for each row: to matrices and back, as one-hot rows, to chosen columns."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from caffe2py.errors import ArgumentError, ArityError, ShapeError, ValueRangeError
from caffe2py.kernels.callback import launch_python
from caffe2py.kernels.copy import bits
from caffe2py.kernels.elementwise import FLOATS
from caffe2py.kernels.lookup import launch_choose, launch_choose_gradient, launch_segment_one_hot
from caffe2py.kernels.spread import launch_rows_of_lists
from caffe2py.ops.indexing.common import (
    FLOAT,
    INDEX_TYPES,
    INT32,
    Dims,
    differ,
    refuse_strings,
    require_rows,
    require_size,
)
from caffe2py.registry.context import Call, Launch
from caffe2py.registry.gradient import NoGradient
from caffe2py.registry.infer import (
    Query,
    product,
    require_dtype,
    require_rank,
    require_same_dtype,
)
from caffe2py.registry.operator import operator
from caffe2py.registry.schema import Arg
from caffe2py.tensor.place import on_host
from caffe2py.tensor.tensor import Array
from caffe2py.tensor.types import STRING, TensorType, shape_text

# ---------------------------------------------------------------- BatchSparseToDense and back


def _require_lists(query: Query) -> tuple[int | None, int | None]:
    """How many lists there are, and how many indices in all."""
    for index in (0, 1):
        require_dtype(query, index, *INDEX_TYPES)
        require_rank(query, index, 1)
    sizes = [None if x.shape is None else x.shape[0] for x in query.inputs[:2]]
    return sizes[0], sizes[1]


def _width(query: Query) -> int | None:
    """The number of columns: told, or that of the fourth input; both must agree."""
    told = query.args.dense_last_dim
    if len(query.inputs) < 4:
        if told < 1:
            raise ArgumentError(f"dense_last_dim must be at least 1, found {told}")
        return int(told)
    require_rank(query, 3, 2)
    like = query.inputs[3].shape
    if like is not None and told != -1 and differ(like[1], told):
        raise ShapeError(f"dense_last_dim is {told}, input 3 has {like[1]} columns")
    return (None if like is None else like[1]) if told == -1 else int(told)


def _infer_dense(query: Query) -> Sequence[TensorType]:
    require_dtype(query, 2, *FLOATS)
    rows, count = _require_lists(query)
    values = query.inputs[2].shape
    if values is not None and differ(product(values), count):
        raise ShapeError(f"'values' is {shape_text(values)}; there are {count} indices")
    return [TensorType(query.inputs[2].dtype, (rows, _width(query)))]


_dense = operator(
    "BatchSparseToDense",
    "lengths, indices, values, output_shape_inference? -> dense",
    infer=_infer_dense,
    gradient="BatchDenseToSparse(lengths, indices, ddense) -> dvalues",
    dense_last_dim=Arg(int, -1, "the number of columns; -1: that of the fourth input"),
    default_value=Arg(float, 0.0, "what columns hold that no index names"),
    doc="""
    dense[r, indices[k]] = values[k] for the next lengths[r] places k, default_value elsewhere; the
    last of equal indices stays. The result has one row for each of the lengths and dense_last_dim
    columns, or as many as the matrix output_shape_inference, whose elements are not read. Lengths
    and indices are int64 or int32 vectors. Raises ValueRangeError for an index that is no column,
    or lengths that do not add up to the number of indices.
    """,
    example="""
    lengths = [1, 2]; indices = [0, 1, 2]; values = [5, 6, 7]; dense_last_dim = 3
    dense = [[5, 0, 0], [0, 6, 7]]
    """,
)


@_dense.everywhere
def _launch_dense(call: Call) -> list[Launch]:
    lengths, indices, values = call.inputs[:3]
    return launch_rows_of_lists(lengths, indices, values, call.outputs[0], call.args.default_value)


def _infer_sparse(query: Query) -> Sequence[TensorType]:
    require_dtype(query, 2, *FLOATS)
    require_rank(query, 2, 2)
    rows, count = _require_lists(query)
    require_size(query, 2, 0, rows, "one row for each of the lengths")
    return [TensorType(query.inputs[2].dtype, (count,))]


_sparse = operator(
    "BatchDenseToSparse",
    "lengths, indices, dense -> values",
    infer=_infer_sparse,
    gradient="BatchSparseToDense(lengths, indices, dvalues, dense.shape) -> ddense",
    doc="""
    values[k] = dense[r, indices[k]] for the next lengths[r] places k of each row r. Lengths and
    indices are int64 or int32 vectors. Raises ValueRangeError for an index that is no column, or
    lengths that do not add up to the number of indices. In the gradient an element that is read
    more than once gets the last gradient only.
    """,
    example="""
    lengths = [1, 2]; indices = [0, 1, 2]; dense = [[5, 0, 0], [0, 6, 7]]
    values = [5, 6, 7]
    """,
)


@_sparse.everywhere
def _launch_sparse(call: Call) -> list[Launch]:
    lengths, indices, dense = call.inputs
    return launch_rows_of_lists(lengths, indices, call.outputs[0], dense, None)


# ---------------------------------------------------------------- SegmentOneHot


def _infer_one_hot(query: Query) -> Sequence[TensorType]:
    require_dtype(query, 0, "int32")
    for index in (1, 2):
        require_dtype(query, index, "int64")
    for index in (0, 1):
        require_rank(query, index, 1)
    lengths, size_shape = query.inputs[0].shape, query.inputs[2].shape
    if size_shape is not None and differ(product(size_shape), 1):
        raise ShapeError(f"'index_size_tensor' is {shape_text(size_shape)}, needs one element")
    value = query.value(2)
    size = None if value is None else int(value.reshape(())[()])
    if size is not None and size < 0:
        raise ValueRangeError(f"'index_size_tensor' is {size}; it must not be negative")
    return [TensorType(FLOAT, (None if lengths is None else lengths[0], size))]


_one_hot = operator(
    "SegmentOneHot",
    "lengths, indices, index_size_tensor -> one_hots",
    infer=_infer_one_hot,
    gradient=NoGradient("indices have no gradient"),
    doc="""
    one_hots[r, c] = 1 where c is one of the next lengths[r] indices, else 0; float32 of shape (R,
    index_size_tensor). Lengths are int32, indices and the size, a tensor of one element, int64.
    Raises ValueRangeError for an index outside of the size, or lengths that do not add up to the
    number of indices.
    """,
    example="""
    lengths = [2, 1]; indices = [0, 2, 1]; index_size_tensor = [3]
    one_hots = [[1, 0, 1], [0, 1, 0]]
    """,
)


@_one_hot.everywhere_dynamic(reads=lambda op: [2])
def _launch_one_hot(call: Call) -> Launch:
    lengths, indices, _ = call.inputs
    return launch_segment_one_hot(lengths, indices, call.outputs[0])


# ---------------------------------------------------------------- SparseToDenseMask

MASK = Arg(list[int], None, "the index of each column, all different and not negative")


def _columns(query: Query) -> int:
    mask = query.args.mask or []
    if not mask:
        raise ArgumentError("argument 'mask' must name at least one index")
    if min(mask) < 0 or len(set(mask)) < len(mask):
        raise ArgumentError("argument 'mask' must hold different indices that are not negative")
    return len(mask)


def _lists(query: Query, at: int) -> Dims:
    """The rows of the result: () without lengths, the input `at`."""
    require_dtype(query, 0, *INDEX_TYPES)
    require_rank(query, 0, 1)
    if len(query.inputs) <= at:
        return ()
    require_dtype(query, at, "int32")
    require_rank(query, at, 1)
    lengths = query.inputs[at].shape
    return (None,) if lengths is None else (lengths[0],)


def _infer_choose(query: Query) -> Sequence[TensorType]:
    dtype = require_same_dtype(query, 1, 2)
    values, default, indices = require_rows(query, 1), query.inputs[2].shape, query.inputs[0].shape
    shape: Dims = (*_lists(query, 3), _columns(query))
    if query.args.return_presence_mask and query.outputs < 2:
        raise ArityError("with return_presence_mask there are 2 outputs, found 1")
    if values is not None and indices is not None:
        require_size(query, 1, 0, indices[0], "one value for each index")
    if values is not None and default is not None and _unlike(values[1:], default):
        raise ShapeError(
            f"'default_value' is {shape_text(default)}, needs {shape_text(values[1:])}, the shape "
            "of one value"
        )
    block = default if values is None else values[1:]
    types = [TensorType(dtype, None if block is None else (*shape, *block))]
    seen = TensorType(np.dtype(np.bool_), shape) if query.args.return_presence_mask else None
    return [*types, seen or TensorType()][: query.outputs]


def _unlike(a: Dims, b: Dims) -> bool:
    return len(a) != len(b) or any(map(differ, a, b))


_choose = operator(
    "SparseToDenseMask",
    "indices, values, default_value, lengths? -> output, presence_mask?",
    infer=_infer_choose,
    gradient="SparseToDenseMaskGradient(indices, doutput, lengths) -> dvalues",
    mask=MASK,
    return_presence_mask=Arg(bool, False, "whether there is a second output"),
    max_skipped_indices=Arg(int, None, "how many rows with negative indices raise; 50"),
    doc="""
    output[r, c] = values[k] where indices[k] = mask[c], among the next lengths[r] places k (the
    last of several), default_value elsewhere. Without lengths all indices are one row, and output
    begins with the columns. presence_mask[r, c] is true where there was a value. Indices are int32
    or int64, lengths int32, values of any type. Indices that are not in the mask are passed over,
    negative ones too, until max_skipped_indices rows (in all runs) had any: then ValueRangeError is
    raised, as for lengths that name more indices than there are.
    """,
    example="""
    indices = [1, 7, 3]; values = [10, 20, 30]; default_value = 0; mask = [3, 7, 2]
    output = [30, 20, 0]; presence_mask = [true, true, false]
    """,
)


def _one_row(call: Call, at: int) -> Array:
    """The lengths, all indices being one row without them."""
    if len(call.inputs) > at:
        return call.inputs[at]
    return np.array([call.inputs[0].size], np.int32)


_MOST_SKIPPED = 50


@_choose.everywhere
def _launch_choose(call: Call) -> list[Launch]:
    indices, values, default = call.inputs[:3]
    lengths, args = _one_row(call, 3), call.args
    most = _MOST_SKIPPED if args.max_skipped_indices is None else args.max_skipped_indices
    limits = call.kept.setdefault("skipped", np.array([0, most], np.int64))
    y = call.outputs[0].reshape(len(lengths), len(args.mask), default.size)
    blocks = (values.reshape(values.shape[0], default.size), default.reshape(-1), y)
    seen = np.zeros((0, 0), np.uint8)
    if args.return_presence_mask:
        seen = call.outputs[1].view(np.uint8).reshape(y.shape[:2])
    if values.dtype == STRING:
        return [
            launch_python(
                lambda: _choose_objects(args.mask, on_host(indices), on_host(lengths), blocks, seen)
            )
        ]
    arrays = (bits(blocks[0]), bits(blocks[1]), bits(y))
    return launch_choose(args.mask, indices, lengths, limits, arrays, seen)


def _choose_objects(
    mask: Sequence[int],
    indices: Array,
    lengths: Array,
    blocks: tuple[Array, Array, Array],
    seen: Array,
) -> None:
    values, default, y = blocks
    if lengths.min(initial=0) < 0 or lengths.sum() > indices.size:
        raise ValueRangeError(f"lengths {lengths.tolist()} do not part {indices.size} indices")
    columns = {value: column for column, value in enumerate(mask)}
    y[...] = default
    seen[...] = 0
    ends = np.cumsum(lengths)
    for r, (end, length) in enumerate(zip(ends.tolist(), lengths.tolist(), strict=True)):
        for k in range(end - length, end):
            column = columns.get(int(indices[k]))
            if column is not None:
                y[r, column] = values[k]
                if seen.size:
                    seen[r, column] = 1


def _infer_choose_gradient(query: Query) -> Sequence[TensorType]:
    refuse_strings(query, 1)
    rows, columns, dy = _lists(query, 2), _columns(query), query.inputs[1].shape
    indices = query.inputs[0].shape
    if dy is None:
        return [TensorType(query.inputs[1].dtype)]
    outer = (*rows, columns)
    if len(dy) < len(outer) or any(map(differ, dy[: len(outer)], outer)):
        raise ShapeError(
            f"'doutput' is {shape_text(dy)}, must begin with {shape_text(outer)} as output does"
        )
    count = None if indices is None else indices[0]
    return [query.inputs[1].with_shape((count, *dy[len(outer) :]))]


_choose_gradient = operator(
    "SparseToDenseMaskGradient",
    "indices, doutput, lengths? -> dvalues",
    infer=_infer_choose_gradient,
    mask=MASK,
    doc="""
    dvalues[k] = doutput at the column where values[k] stayed, 0 for values that were passed over or
    replaced. Raises ValueRangeError for lengths that name more indices than there are.
    """,
)


@_choose_gradient.everywhere
def _launch_choose_gradient(call: Call) -> Launch:
    lengths, dx = _one_row(call, 2), call.outputs[0]
    block = math.prod(dx.shape[1:])
    dy = bits(call.inputs[1]).reshape(len(lengths), len(call.args.mask), block)
    return launch_choose_gradient(
        call, call.args.mask, call.inputs[0], lengths, dy, bits(dx).reshape(dx.shape[0], block)
    )


# ---------------------------------------------------------------- DenseVectorToIdList


def _infer_ids(query: Query) -> Sequence[TensorType]:
    require_dtype(query, 0, *FLOATS)
    require_rank(query, 0, 2)
    shape = query.inputs[0].shape
    return [TensorType(INT32, None if shape is None else shape[:1]), TensorType(INT32, (None,))]


_ids = operator(
    "DenseVectorToIdList",
    "values -> out_lengths, out_values",
    infer=_infer_ids,
    gradient=NoGradient("it looks for elements that are not 0"),
    doc="""
    out_values = the columns of each row of the matrix `values` whose element, plus 0.5 and cut
    toward zero, is not 0: those of 0.5 and above or -1.5 and below; out_lengths = how many there
    are in each row. Both int32.
    """,
    example="""
    values = [[0, 1, 1], [1, 0, 0]]
    out_lengths = [2, 1]; out_values = [1, 2, 0]
    """,
)


@_ids.cpu_dynamic()
def _run_ids(call: Call) -> None:
    found = np.abs(call.inputs[0] + np.float64(0.5)) >= 1
    columns = np.nonzero(found)[1]
    call.output(0, found.shape[:1], INT32)[...] = np.count_nonzero(found, axis=1)
    call.output(1, columns.shape, INT32)[...] = columns
