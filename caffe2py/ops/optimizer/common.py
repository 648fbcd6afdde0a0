"""What update operators have in common: the check of their inputs, and outputs that start as them.

Kernels work in place; an output that is a blob of its own gets a copy of its input first.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from caffe2py.errors import ShapeError
from caffe2py.kernels.copy import launch_copy
from caffe2py.kernels.elementwise import FLOATS
from caffe2py.kernels.update import launch_check_rows
from caffe2py.registry.context import Call, Launch
from caffe2py.registry.gradient import NotDifferentiable
from caffe2py.registry.infer import Query, product, require_dtype, require_same_dtype
from caffe2py.tensor.tensor import Array
from caffe2py.tensor.types import DType, TensorType, shape_text

NO_GRADIENT = NotDifferentiable("it updates parameters")

SPARSE_DOC = """
Row r of `grad` belongs to row indices[r] of the parameters; other rows stay as they are, and an
index that comes twice is applied twice. Raises ValueRangeError for an index out of range, before
anything is changed.
"""
RATE_DOC = """
`lr` is one number, read in every run; it is negative for descent.
"""

#: What an operator demands of its inputs; raises ShapeError, DTypeError.
Check = Callable[[Query], None]


def outputs_like(*sources: int, check: Check) -> Callable[[Query], Sequence[TensorType]]:
    """The k-th output is like input sources[k]."""

    def rule(query: Query) -> Sequence[TensorType]:
        check(query)
        return [query.inputs[source] for source in sources[: query.outputs]]

    return rule


def numel(query: Query, index: int) -> int | None:
    """The number of elements of an input, if known."""
    shape = query.inputs[index].shape
    return None if shape is None else product(shape)


def require_floats(query: Query, *indices: int) -> None:
    """DTypeError unless the inputs have one floating type."""
    for index in indices:
        require_dtype(query, index, *FLOATS)
    require_same_dtype(query, *indices)


def require_size(query: Query, index: int, size: int | None, what: str) -> None:
    """ShapeError unless the input has this many elements, where both are known."""
    found = numel(query, index)
    if found is not None and size is not None and found != size:
        raise ShapeError(
            f"input {index} '{query.name(index)}' must have {size} element(s), {what}; "
            f"found {shape_text(query.inputs[index].shape)}"
        )


def require_same_size(query: Query, first: int, *others: int) -> None:
    """ShapeError unless the inputs have as many elements as the first; shapes may differ."""
    what = f"as input {first} '{query.name(first)}' has {shape_text(query.inputs[first].shape)}"
    for index in others:
        require_size(query, index, numel(query, first), what)


def require_some(query: Query, index: int) -> None:
    """ShapeError for an input without any element."""
    if numel(query, index) == 0:
        raise ShapeError(
            f"input {index} '{query.name(index)}' must not be empty, "
            f"found {shape_text(query.inputs[index].shape)}"
        )


def require_one(query: Query, *indices: int) -> None:
    """One floating number in each of the inputs, in any shape."""
    for index in indices:
        require_dtype(query, index, *FLOATS)
        require_size(query, index, 1, "a single number")


def require_counter(query: Query, index: int) -> None:
    """An int64 number, the first of the input."""
    require_dtype(query, index, np.int64)
    require_some(query, index)


def require_rows(query: Query, param: int, indices: int, grad: int) -> None:
    """Indices of rows of `param`, and a row of `grad` for each of them."""
    require_dtype(query, indices, np.int32, np.int64)
    rows = query.inputs[param].shape
    if rows is None:
        return
    if not rows:
        raise ShapeError(f"input {param} '{query.name(param)}' must have rows, found a scalar")
    places, width = numel(query, indices), product(rows[1:])
    found = query.inputs[grad].shape
    expected = None if places is None or width is None else places * width
    inner = None if found is None else product(found[query.inputs[indices].rank or 0 :])
    if expected is None or found is None or inner is None:
        return
    if product(found) not in (expected, None) or (expected > 0 and inner != width):
        raise ShapeError(
            f"input {grad} '{query.name(grad)}' must have a row of {width} element(s), like "
            f"input {param} '{query.name(param)}', for each of the {places} indices; "
            f"found {shape_text(found)} for {shape_text(rows)}"
        )


def flat(array: Array) -> Array:
    """All elements in a row."""
    return array.reshape(-1)


def begin(call: Call, *pairs: tuple[int, int]) -> list[Launch]:
    """Copies of inputs to those outputs that are not the same blob: pairs (input, output)."""
    launches = []
    for index, target in pairs:
        source, result = call.inputs[index], call.outputs[target]
        if source.ctypes.data != result.ctypes.data and source.size:
            launches.append(launch_copy(source, result))
    return launches


def check_rows(call: Call, indices: int, param: int) -> Launch:
    """The launch that refuses indices out of range; it goes before what writes."""
    rows = call.inputs[param].shape[0]
    return launch_check_rows(call.inputs[indices], rows, f"'{call.input_blob(indices)}'")


def row_width(call: Call, param: int) -> int:
    """The number of elements of a row of an input."""
    return int(np.prod(call.inputs[param].shape[1:], dtype=np.int64))


def optional_output(call: Call, index: int, dtype: DType) -> Array:
    """An output in a row, or nothing where the operator has none."""
    outputs = call.outputs
    return flat(outputs[index]) if index < len(outputs) else np.empty(0, dtype)


def optional_input(call: Call, index: int, dtype: DType) -> Array:
    """An input in a row, or nothing where the operator has none."""
    inputs = call.inputs
    return flat(inputs[index]) if index < len(inputs) else np.empty(0, dtype)


def host_numbers(
    call: Call, count: int, dtype: DType, compute: Callable[[Array], Launch]
) -> tuple[list[Launch], Array]:
    """Some numbers that the host computes in every run, from its own inputs: where kernels read.

    The launches come before what reads them.
    """
    there = call.scratch((count,), dtype)
    if isinstance(there, np.ndarray):
        return [compute(there)], there
    here = np.empty(count, dtype)
    return [compute(here), launch_copy(here, there)], there
