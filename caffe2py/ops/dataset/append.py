"""Tensors that grow and shrink along axis 0: Append, AtomicAppend, TrimDataset."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from caffe2py.errors import ArgumentError, ArityError, DTypeError, ShapeError
from caffe2py.ops.dataset.cursor import FIELDS, NONE
from caffe2py.ops.dataset.read import arrays_from
from caffe2py.ops.dataset.tree import Tree, require_fields
from caffe2py.registry.context import Call
from caffe2py.registry.held import held, tensor_of
from caffe2py.registry.infer import Query
from caffe2py.registry.operator import operator
from caffe2py.registry.schema import Arg
from caffe2py.tensor.objects import Mutex
from caffe2py.tensor.tensor import Array, Tensor, empty
from caffe2py.tensor.types import STRING, UNKNOWN, TensorType

#: A tensor that has to move gets this many times the room it needs.
_GROWTH = 1.4


def _require_alike(a: Array, b: Array) -> None:
    if a.dtype != b.dtype:
        raise DTypeError(f"{TensorType.of(b)} cannot be appended to {TensorType.of(a)}")
    if a.ndim != b.ndim or a.ndim == 0 or a.shape[1:] != b.shape[1:]:
        raise ShapeError(f"{TensorType.of(b)} cannot be appended to {TensorType.of(a)}")


def _require_fits(a: Array, b: Array) -> None:
    if a.size or a.ndim == 0:
        _require_alike(a, b)
    elif b.ndim == 0:
        raise ShapeError(f"a scalar cannot be appended: {TensorType.of(b)}")


def _append(call: Call, index: int, output: int, b: Array) -> None:
    a = tensor_of(call, index)
    if a.size == 0 and a.ndim:
        call.output(output, b.shape, b.dtype)[...] = b
        return
    shape = (len(a) + len(b), *a.shape[1:])
    same = call.input_blob(index) == call.output_blob(output)
    blob = call.scope.find(call.input_blob(index))
    if same and blob is not None and isinstance(blob.value, Tensor) and a.dtype != STRING:
        out = call.output(output, shape, a.dtype)
        if out.ctypes.data != a.ctypes.data:
            # it had to move: make room for more, or else many small appends copy it each time
            roomy = empty((int(shape[0] * _GROWTH) + 1, *shape[1:]), a.dtype)
            roomy[: len(a)] = a
            blob.lend(roomy)
            out = call.output(output, shape, a.dtype)
        out[len(a) :] = b
        return
    joined = np.concatenate([a, b])
    call.output(output, joined.shape, joined.dtype)[...] = joined


append = operator(
    "Append",
    "A, B -> A",
    enforced={0: 0},
    gradient=NONE,
    doc="""
    A = A with B below it, in place: both have one type and the same dimensions but the first. An
    empty A becomes B. Raises DTypeError or ShapeError for tensors that do not fit.
    """,
    example="""
    A = [[1, 2]]; B = [[3, 4], [5, 6]]
    A = [[1, 2], [3, 4], [5, 6]]
    """,
)


@append.cpu_dynamic()
def append_one(call: Call) -> None:
    """Append."""
    b = tensor_of(call, 1)
    _require_fits(tensor_of(call, 0), b)
    _append(call, 0, 0, b)


atomic = operator(
    "AtomicAppend",
    "mutex, A, B, more* -> A, others*",
    inplace=lambda i, o: i == o + 1,
    gradient=NONE,
    doc="""
    mutex, then the tensors A[0], A[1], ..., then as many B[0], B[1], ...: appends each B[k] to
    A[k], as Append does, while it holds the lock. Nothing is appended if anything does not fit.
    """,
    example="""
    mutex = what CreateMutex makes; A = [1]; B = [2, 3]
    A = [1, 2, 3]
    """,
)


@atomic.cpu_dynamic()
def append_all(call: Call) -> None:
    """Append, under the lock."""
    count = call.output_count
    if call.input_count != 2 * count + 1:
        raise ArityError(
            f"expected {2 * count + 1} input(s), the mutex and two for each of {count} output(s), "
            f"found {call.input_count}"
        )
    with held(call, 0, Mutex, "CreateMutex"):
        parts = [tensor_of(call, count + 1 + k) for k in range(count)]
        for k, part in enumerate(parts):
            _require_fits(tensor_of(call, k + 1), part)
        for k, part in enumerate(parts):
            _append(call, k + 1, k, part)


def _infer_trim(query: Query) -> Sequence[TensorType]:
    if query.args.multiple_of < 1:
        raise ArgumentError(
            f"argument 'multiple_of' must be at least 1, found {query.args.multiple_of}"
        )
    return [UNKNOWN] * query.outputs


trim = operator(
    "TrimDataset",
    "dataset_fields+ -> trimmed+",
    infer=_infer_trim,
    inplace=lambda i, o: i == o,
    gradient=NONE,
    fields=FIELDS,
    multiple_of=Arg(int, 1, "what the number of records is to be a multiple of"),
    doc="""
    Takes the last records away, in place, so that their number is a multiple of multiple_of.
    """,
    example="""
    dataset_fields = [5, 6, 7] with fields = ["a"], multiple_of = 2
    trimmed = [5, 6]
    """,
)


@trim.cpu_dynamic()
def trim_dataset(call: Call) -> None:
    """Cut the end off."""
    tree = Tree(require_fields(call.args.fields))
    arrays = arrays_from(call, 0)
    if call.output_count != len(arrays):
        raise ArityError(f"expected {len(arrays)} output(s), found {call.output_count}")
    for k in range(len(arrays)):
        if call.input_blob(k) != call.output_blob(k):
            raise ArityError(
                f"output {k} must be the same blob as input {k} '{call.input_blob(k)}', found "
                f"'{call.output_blob(k)}'"
            )
    count = max(tree.sizes(arrays)[0], 0)
    _, sizes = tree.advance(arrays, [], count - count % call.args.multiple_of)
    for k, array in enumerate(arrays):
        kept = np.array(array[: sizes[tree.domain[k]]])
        call.output(k, kept.shape, kept.dtype)[...] = kept
