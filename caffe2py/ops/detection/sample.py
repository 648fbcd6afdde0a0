"""Parts of tensors that another tensor chooses: rows by labels, corners of images by size."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from caffe2py.errors import DTypeError, ShapeError
from caffe2py.kernels.copy import bits
from caffe2py.kernels.heads import launch_put_back
from caffe2py.kernels.image import launch_gather_pixels
from caffe2py.registry.context import Call, Launch
from caffe2py.registry.infer import Query, require_dtype, require_rank, require_same_dtype
from caffe2py.registry.operator import operator
from caffe2py.tensor.place import on_host
from caffe2py.tensor.tensor import Array
from caffe2py.tensor.types import STRING, TensorType, shape_text

Dims = tuple[int | None, ...]


def _require_numbers(query: Query, *indices: int) -> None:
    for index in indices:
        if query.inputs[index].dtype == STRING:
            raise DTypeError(f"input {index} '{query.name(index)}' is string, not numbers")


def _differ(a: int | None, b: int | None) -> bool:
    return None not in (a, b) and a != b


# ---------------------------------------------------------------- SampleAs


def _sampled(query: Query) -> Dims | None:
    """The shape of X, which has a label for each row."""
    _require_numbers(query, 0)
    require_dtype(query, 1, "int32")
    require_rank(query, 1, 1)
    x, labels = query.inputs[0].shape, query.inputs[1].shape
    if x is not None and not x:
        raise ShapeError(f"input 0 '{query.name(0)}' must have rows, found a scalar")
    if x is not None and labels is not None and _differ(x[0], labels[0]):
        raise ShapeError(f"X has {x[0]} row(s), and there are {labels[0]} label(s)")
    return x


def _infer_sample(query: Query) -> Sequence[TensorType]:
    shape = _sampled(query)
    return [TensorType(query.inputs[0].dtype, None if shape is None else (None, *shape[1:]))]


def _infer_sample_gradient(query: Query) -> Sequence[TensorType]:
    shape = _sampled(query)
    _require_numbers(query, 2)
    dtype = require_same_dtype(query, 0, 2)
    found = query.inputs[2].shape
    if (
        shape is not None
        and found is not None
        and (len(found) != len(shape) or any(map(_differ, found[1:], shape[1:])))
    ):
        raise ShapeError(
            f"the rows of dY {shape_text(found)} are not like those of X {shape_text(shape)}"
        )
    return [TensorType(dtype, shape)]


sample = operator(
    "SampleAs",
    "X, labels -> Y",
    infer=_infer_sample,
    gradient="SampleAsGradient(X.shape, labels, dY) -> dX",
    doc="""
    Y = the rows X[i] with labels[i] > 0, in order. X is any tensor of numbers, labels int32, one
    for each row. There may be none, where Caffe2 stops. (Caffe2 has no such operator on the CPU.)
    """,
    example="""
    X = [[1, 2], [3, 4], [5, 6]]; labels = [2, -1, 1]
    Y = [[1, 2], [5, 6]]
    """,
)


@sample.cpu_dynamic()
def _run_sample(call: Call) -> None:
    x, labels = call.inputs
    chosen = x[labels > 0]
    call.output(0, chosen.shape, x.dtype)[...] = chosen


def _launch_sample(call: Call) -> Launch:
    """On a device: which rows it is, is found out on the host."""
    x, labels = call.inputs
    chosen = np.flatnonzero(on_host(labels) > 0)
    y = call.output(0, (chosen.size, *x.shape[1:]), x.dtype)
    source, target = (bits(a).reshape(1, len(a), 1, math.prod(x.shape[1:])) for a in (x, y))
    return launch_gather_pixels(source, chosen, np.zeros(1, np.int64), 0, target)


sample.cuda_dynamic(_launch_sample, reads=lambda op: [1])


sample_gradient = operator(
    "SampleAsGradient",
    "X, labels, dY -> dX",
    infer=_infer_sample_gradient,
    doc="""
    DX[i] = the next row of dY where labels[i] > 0, 0 elsewhere. Only the shape of X is read. Raises
    ValueRangeError unless there is a row for each positive label.
    """,
)


def _matrix(x: Array) -> Array:
    return x.reshape(x.shape[0], math.prod(x.shape[1:]))


@sample_gradient.everywhere
def _launch_sample_gradient(call: Call) -> list[Launch]:
    _, labels, dy = call.inputs
    return launch_put_back(labels, _matrix(dy), _matrix(call.outputs[0]))


# ---------------------------------------------------------------- SpatialNarrowAs


def _narrowed(query: Query) -> Dims | None:
    """The shape of C: that of A with the height and width of B."""
    _require_numbers(query, 0, 1)
    require_rank(query, 0, 4)
    require_rank(query, 1, 3, 4)
    a, b = query.inputs[0].shape, query.inputs[1].shape
    if a is None:
        return None
    if b is None:
        return (*a[:2], None, None)
    if _differ(a[0], b[0]) or (len(b) == 4 and _differ(a[1], b[1])):
        raise ShapeError(f"A {shape_text(a)} and B {shape_text(b)} differ in batch or channels")
    for name, large, small in zip(("high", "wide"), a[2:], b[-2:], strict=True):
        if large is not None and small is not None and large < small:
            raise ShapeError(f"A {shape_text(a)} is not as {name} as B {shape_text(b)}")
    return (*a[:2], *b[-2:])


def _infer_narrow(query: Query) -> Sequence[TensorType]:
    return [TensorType(query.inputs[0].dtype, _narrowed(query))]


def _infer_narrow_gradient(query: Query) -> Sequence[TensorType]:
    expected = _narrowed(query)
    _require_numbers(query, 2)
    dtype = require_same_dtype(query, 0, 2)
    require_rank(query, 2, 4)
    found = query.inputs[2].shape
    if expected is not None and found is not None and any(map(_differ, found, expected)):
        raise ShapeError(
            f"input 2 '{query.name(2)}' must be {shape_text(expected)}, found {shape_text(found)}"
        )
    return [TensorType(dtype, query.inputs[0].shape)]


narrow = operator(
    "SpatialNarrowAs",
    "A, B -> C",
    infer=_infer_narrow,
    gradient="SpatialNarrowAsGradient(A.shape, B.shape, dC) -> dA",
    doc="""
    C[n, c, i, j] = A[n, c, i, j] for the rows and columns that B has: A without those below and on
    the right that are too many.

    A is (N, C, H, W), B (N, C, h, w) or (N, h, w) with h <= H and w <= W; only its shape is read.
    (Caffe2 has no such operator on the CPU.)
    """,
    example="""
    A = [[[[1, 2], [3, 4]]]]; B of shape (1, 1, 1, 2)
    C = [[[[1, 2]]]]
    """,
)


def _planes(x: Array) -> Array:
    return bits(x).reshape(math.prod(x.shape[:2]), *x.shape[2:], 1)


def _places(size: int, count: int) -> Array:
    """The first `size` of `count` places are themselves, the others are nothing."""
    at = np.arange(count)
    return np.where(at < size, at, -1)


def _launch_corner(x: Array, y: Array) -> Launch:
    """y = x where it reaches, 0 elsewhere."""
    rows, columns = _places(x.shape[2], y.shape[2]), _places(x.shape[3], y.shape[3])
    return launch_gather_pixels(_planes(x), rows, columns, 0, _planes(y))


@narrow.everywhere
def _launch_narrow(call: Call) -> Launch:
    return _launch_corner(call.inputs[0], call.outputs[0])


narrow_gradient = operator(
    "SpatialNarrowAsGradient",
    "A, B, dC -> dA",
    infer=_infer_narrow_gradient,
    doc="DA = dC in the upper left corner, 0 elsewhere. Of A and B only the shapes are read.",
)


@narrow_gradient.everywhere
def _launch_narrow_gradient(call: Call) -> Launch:
    return _launch_corner(call.inputs[2], call.outputs[0])
