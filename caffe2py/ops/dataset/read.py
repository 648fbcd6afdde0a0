"""Reading a dataset: in order, in any order; checking it."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from caffe2py.errors import ArgumentError, ArityError, DTypeError, ShapeError, ValueRangeError
from caffe2py.ops.dataset.cursor import FIELDS, MAKER, NONE
from caffe2py.ops.dataset.shuffle import shuffled
from caffe2py.ops.dataset.tree import Tree, TreeCursor, require_fields
from caffe2py.registry.context import Call
from caffe2py.registry.held import held, tensor_of
from caffe2py.registry.infer import Query, fixed
from caffe2py.registry.operator import operator
from caffe2py.registry.schema import Arg
from caffe2py.tensor.tensor import Array
from caffe2py.tensor.types import UNKNOWN, TensorType, shape_text

_INT64 = np.dtype(np.int64)


def arrays_from(call: Call, first: int) -> list[Array]:
    """The tensors in the inputs from `first` on."""
    return [tensor_of(call, k) for k in range(first, call.input_count)]


def _require_outputs(call: Call, arrays: Sequence[Array]) -> None:
    if call.output_count != len(arrays):
        raise ArityError(
            f"expected {len(arrays)} output(s), one for each field, found {call.output_count}"
        )


def _infer_batch(query: Query) -> Sequence[TensorType]:
    if query.args.batch_size < 1:
        raise ArgumentError(
            f"argument 'batch_size' must be at least 1, found {query.args.batch_size}"
        )
    return [UNKNOWN] * query.outputs


_BATCH = Arg(int, 1, "how many records")
_ENFORCE = Arg(bool, False, "leave out the last records where they are fewer")

read_next = operator(
    "ReadNextBatch",
    "cursor, dataset_fields* -> fields+",
    infer=_infer_batch,
    gradient=NONE,
    batch_size=_BATCH,
    enforce_batch_size=_ENFORCE,
    doc="""
    fields[k] = the elements of dataset_fields[k] in the next batch_size records, or as many as
    there are; none at the end. The cursor goes behind them. Nets side by side get different
    records. Raises ValueRangeError for lengths that are negative or sum up to more than there is.
    """,
    example="""
    cursor at record 0 of the fields "a:lengths" and "a:values"
    dataset_fields = [2, 0, 1]; [5, 6, 7]; batch_size = 2
    fields = [2, 0]; [5, 6]
    """,
)


@read_next.cpu_dynamic()
def read_in_order(call: Call) -> None:
    """Read the next records."""
    cursor = held(call, 0, TreeCursor, MAKER)
    arrays = arrays_from(call, 1)
    _require_outputs(call, arrays)
    size = call.args.batch_size
    with cursor.lock:
        begin, sizes = cursor.tree.advance(arrays, cursor.offsets, size)
        cursor.offsets = [a + n for a, n in zip(begin, sizes, strict=True)]
    if call.args.enforce_batch_size and sizes[0] < size:
        sizes = [0] * len(sizes)
    for k, array in enumerate(arrays):
        domain = cursor.tree.domain[k]
        part = array[begin[domain] : begin[domain] + sizes[domain]]
        call.output(k, part.shape, part.dtype)[...] = part


# ---------------------------------------------------------------- any order


read_random = operator(
    "ReadRandomBatch",
    "cursor, idx?, offsetsmat?, dataset_fields* -> fields+",
    infer=_infer_batch,
    gradient=NONE,
    batch_size=_BATCH,
    loop_over=Arg(bool, False, "begin again after the last record"),
    enforce_batch_size=_ENFORCE,
    doc="""
    As ReadNextBatch, with the records in the order that idx gives. offsetsmat is what ComputeOffset
    says of the dataset. With loop_over and enforce_batch_size the end is left out, and reading
    begins again. Raises ValueRangeError for a number in idx that no record has.
    """,
    example="""
    cursor at 0 of the field "a"; idx = [2, 0, 1]; dataset_fields = [5, 6, 7]; batch_size = 2
    fields = [7, 5]
    """,
)


def _numbers(call: Call, cursor: TreeCursor, indices: Array) -> Array:
    """The numbers of the records to read; the cursor goes behind them."""
    args, count = call.args, indices.size
    with cursor.lock:
        at = cursor.row()
        end = at + args.batch_size
        if args.enforce_batch_size and end > count:
            at = 0 if args.loop_over else count
        elif at >= count and args.loop_over:
            at = 0
        cursor.offsets = [at + args.batch_size]
    return indices[at : at + args.batch_size]


def _require_order(call: Call, tree: Tree, indices: Array, marks: Array) -> None:
    for index, array in ((1, indices), (2, marks)):
        if array.dtype != _INT64:
            raise DTypeError(
                f"input {index} '{call.input_blob(index)}' must be int64, found {array.dtype}"
            )
    if marks.ndim != 2 or marks.shape[1] != tree.domains:
        raise ShapeError(
            f"input 2 '{call.input_blob(2)}' must be what ComputeOffset makes, with {tree.domains} "
            f"column(s), found {shape_text(marks.shape)}"
        )
    if indices.size and not 0 <= indices.min() <= indices.max() < max(len(marks) - 1, 0):
        bad = indices.min() if indices.min() < 0 else indices.max()
        raise ValueRangeError(f"there is no record {bad} among {max(len(marks) - 1, 0)}")


@read_random.cpu_dynamic()
def read_in_any_order(call: Call) -> None:
    """Read the next records in the order given."""
    cursor = held(call, 0, TreeCursor, MAKER)
    if call.input_count < 4:
        raise ArityError(f"expected at least 4 input(s), found {call.input_count}")
    arrays = arrays_from(call, 3)
    _require_outputs(call, arrays)
    tree = cursor.tree
    sizes = tree.sizes(arrays)
    indices, marks = tensor_of(call, 1).reshape(-1), tensor_of(call, 2)
    _require_order(call, tree, indices, marks)
    numbers = _numbers(call, cursor, indices)
    for k, array in enumerate(arrays):
        column = marks[:, tree.domain[k]]
        ranges = list(zip(column[numbers].tolist(), column[numbers + 1].tolist(), strict=True))
        for begin, end in ranges:
            if not 0 <= begin <= end <= sizes[tree.domain[k]]:
                raise ValueRangeError(
                    f"offsetsmat says that field '{tree.fields[k]}' has the elements {begin} to "
                    f"{end}, but it has {len(array)}"
                )
        parts = [array[begin:end] for begin, end in ranges] or [array[:0]]
        joined = np.concatenate(parts)
        call.output(k, joined.shape, array.dtype)[...] = joined


compute = operator(
    "ComputeOffset",
    "cursor, dataset_fields* -> field_0",
    infer=fixed(_INT64, (None, None)),
    gradient=NONE,
    doc="""
    field_0[i, d] = where record i begins in domain d: domain 0 is that of the records themselves,
    the others are those of the length fields, in order. One row more says where the last one ends.
    A cursor that is not at the beginning counts as record 0. Errors as ReadNextBatch.
    """,
    example="""
    cursor of the fields "a:lengths" and "a:values"; dataset_fields = [2, 0, 1]; [5, 6, 7]
    field_0 = [[0, 0], [1, 2], [2, 2], [3, 3]]
    """,
)


@compute.cpu_dynamic()
def compute_offsets(call: Call) -> None:
    """Add the lengths up."""
    cursor = held(call, 0, TreeCursor, MAKER)
    marks = np.stack(cursor.tree.marks(arrays_from(call, 1)), axis=1).astype(np.int64)
    rows = np.minimum(np.arange(len(marks)) + cursor.row(), len(marks) - 1)
    call.output(0, marks.shape, _INT64)[...] = marks[rows]


def _infer_sort(query: Query) -> Sequence[TensorType]:
    for name in ("batch_size", "shuffle_size"):
        if getattr(query.args, name) < 1:
            raise ArgumentError(
                f"argument '{name}' must be at least 1, found {getattr(query.args, name)}"
            )
    return [TensorType(_INT64, (None,))]


sort = operator(
    "SortAndShuffle",
    "cursor, dataset_fields* -> indices",
    infer=_infer_sort,
    gradient=NONE,
    sort_by_field_idx=Arg(int, 1, "number of the field to sort by; -1: do not sort"),
    batch_size=Arg(int, 1, "so many neighbours stay together when batches are shuffled"),
    shuffle_size=Arg(int, 1, "so many batches are mixed before"),
    doc="""
    indices = the numbers of the records, sorted by a field of int32 with one element a record; then
    shuffled within each run of batch_size * shuffle_size (except for one that ends with the last
    record, or is cut short by it); then all whole batches are shuffled. The order is the same in
    every run, and the one that Caffe2 gives.
    """,
    example="""
    cursor of the field "a"; dataset_fields = [7, 5, 6], sort_by_field_idx = 0, batch_size = 3
    indices = [1, 2, 0]
    """,
)


@sort.cpu_dynamic()
def sort_and_shuffle(call: Call) -> None:
    """Sort and shuffle."""
    cursor, args = held(call, 0, TreeCursor, MAKER), call.args
    arrays = arrays_from(call, 1)
    count = max(cursor.tree.sizes(arrays)[0], 0)
    order = np.arange(count, dtype=np.int64)
    if args.sort_by_field_idx >= 0:
        order = np.argsort(
            _keys(cursor.tree, arrays, args.sort_by_field_idx)[:count], kind="stable"
        )
    batch = args.batch_size
    whole = count // batch
    run = batch * max(min(args.shuffle_size, whole), 1)
    places = np.array(shuffled(run), np.int64) if run < count else order
    for begin in range(0, count - run, run):
        order[begin : begin + run] = order[begin : begin + run][places]
    batches = order[: whole * batch].reshape(whole, batch)[np.array(shuffled(whole), np.int64)]
    order[: whole * batch] = batches.reshape(-1)
    call.output(0, (count,), _INT64)[...] = order


def _keys(tree: Tree, arrays: Sequence[Array], index: int) -> Array:
    if index >= len(arrays):
        raise ArgumentError(
            f"argument 'sort_by_field_idx' must be below {len(arrays)}, found {index}"
        )
    keys = arrays[index]
    if keys.dtype != np.int32:
        raise DTypeError(f"field '{tree.fields[index]}' must be int32, found {keys.dtype}")
    if tree.domain[index] != 0 or keys.ndim != 1:
        raise ShapeError(f"field '{tree.fields[index]}' must have one element for each record")
    return keys


check = operator(
    "CheckDatasetConsistency",
    "fields+ -> ",
    gradient=NONE,
    arguments={"fields": FIELDS},
    doc="""
    Checks that the tensors are a dataset: in each domain fields of one size, and lengths that sum
    up to it. Raises ShapeError, DTypeError or ValueRangeError where they are not.
    """,
    example="""
    fields = ["a:lengths", "a:values"] with [2, 0, 1]; [5, 6, 7]
    no error
    """,
)


@check.cpu_dynamic()
def check_consistency(call: Call) -> None:
    """Look."""
    tree = Tree(require_fields(call.args.fields))
    tree.marks(arrays_from(call, 0), strict=True)
