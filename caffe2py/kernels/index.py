"""Loops that go by indices: gather, scatter, boxes of arrays, the largest elements.

Indices are checked here, before anything is overwritten: a status s means the one at place s - 1.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from caffe2py.errors import Error, ShapeError, ValueRangeError
from caffe2py.kernels.callback import launch_assign, launch_python
from caffe2py.kernels.copy import bits, launch_copy, launch_fill
from caffe2py.kernels.jit import Kernel, kernel
from caffe2py.kernels.parallel import by_rows, divisible, moving
from caffe2py.registry.context import Call, Launch
from caffe2py.tensor.late import late
from caffe2py.tensor.place import on_host
from caffe2py.tensor.tensor import Array
from caffe2py.tensor.types import STRING, shape_text

_LAST_STATUS = 2**31 - 1

#: Nanoseconds for a row, besides those for its bytes.
_ROW_NS = 2.0


def _status(place):
    """The status for what is wrong at a place."""
    return min(place + 1, _LAST_STATUS)


def index_error(index: int, position: int, size: int, *, wrap: bool = False) -> ValueRangeError:
    """The error for an index outside of [0, size), or [-size, size) if negative ones wrap."""
    low = -size if wrap else 0
    return ValueRangeError(
        f"index {index} at position {position} is out of range for an axis of size {size}; "
        f"expected {low} to {size - 1}"
    )


def _explainer(indices: Array, size: int, *, wrap: bool = False) -> Callable[[int], Error]:
    def explain(status: int) -> Error:
        index = int(on_host(indices).reshape(-1)[status - 1])
        return index_error(index, status - 1, size, wrap=wrap)

    return explain


def _form(kernel_: Kernel, name: str) -> None:
    """Devices run the form of this name."""
    kernel_.form_later(lambda: late("kernels.cuda.chosen", name))


def _flat(x: Array, shape: tuple[int, ...]) -> Array:
    return bits(x).reshape(shape)


# ---------------------------------------------------------------- gather


@kernel()
def _gather(x: Any, indices: Any, step: Any, wrap: Any, y: Any, first: Any, end: Any) -> Any:
    """y[o, k] = x[o, indices[o * step + k]], the rows `first` to `end` of y."""
    _, size, inner = x.shape
    count = y.shape[1]
    for o in range(first // max(count, 1), -(-end // max(count, 1))):
        for k in range(max(first - o * count, 0), min(end - o * count, count)):
            index = indices[o * step + k]
            if wrap and index < 0:
                index += size
            if not 0 <= index < size:
                return _status(o * step + k)
            source = x[o, index]
            target = y[o, k]
            for i in range(inner):
                target[i] = source[i]
    return 0


_form(_gather, "GATHER")


@kernel()
def _gather_gradient(dy: Any, indices: Any, step: Any, wrap: Any, dx: Any) -> Any:
    """dx[o, indices[o * step + k]] += dy[o, k], starting from 0."""
    outer, size, inner = dx.shape
    for o in range(outer):
        for s in range(size):
            for i in range(inner):
                dx[o, s, i] = 0
        for k in range(dy.shape[1]):
            index = indices[o * step + k]
            if wrap and index < 0:
                index += size
            if not 0 <= index < size:
                return _status(o * step + k)
            for i in range(inner):
                dx[o, index, i] += dy[o, k, i]
    return 0


def launch_gather(
    x: Array, indices: Array, y: Array, *, step: int = 0, wrap: bool = False
) -> Launch:
    """y[o, k] = x[o, indices[o * step + k]] for x and y with three axes; any type.

    ValueRangeError (at run time) for an index outside of x's middle axis; negative ones count from
    its end if `wrap`.
    """
    flat = indices.reshape(-1)
    if flat.size < (y.shape[1] if step == 0 else y.shape[0] * step):
        raise ShapeError(f"{flat.size} indices are too few for {shape_text(y.shape)}")
    explain = _explainer(indices, x.shape[1], wrap=wrap)
    if x.dtype == STRING:
        return launch_python(lambda: _gather_objects(x, on_host(flat), step, wrap, y))
    arrays = (_flat(x, x.shape), flat, step, wrap, _flat(y, y.shape))

    def part(first: int, end: int) -> Launch:
        return _gather(*arrays, first, end, explain=explain)

    rows = y.shape[0] * y.shape[1]
    return divisible(rows, _ROW_NS * rows + 3 * moving(y), part)


def _gather_objects(x: Array, indices: Array, step: int, wrap: bool, y: Array) -> None:
    size = x.shape[1]
    for o in range(x.shape[0]):
        chosen = indices[o * step : o * step + y.shape[1]]
        for k, index in enumerate(chosen.tolist()):
            if not (-size if wrap else 0) <= index < size:
                raise index_error(index, o * step + k, size, wrap=wrap)
        y[o] = x[o, chosen]


def launch_gather_gradient(
    dy: Array, indices: Array, dx: Array, *, step: int = 0, wrap: bool = False
) -> list[Launch]:
    """dx[o, indices[o * step + k]] += dy[o, k], starting from 0; the arrays have three axes."""
    flat = indices.reshape(-1)
    if flat.size < (dy.shape[1] if step == 0 else dy.shape[0] * step):
        raise ShapeError(f"{flat.size} indices are too few for {shape_text(dy.shape)}")
    explain = _explainer(indices, dx.shape[1], wrap=wrap)
    if not isinstance(dx, np.ndarray):
        return _runs("launch_add_gathered", dy, flat, step, wrap, dx, explain)
    return [_gather_gradient(dy, flat, step, wrap, dx, explain=explain)]


def _runs(name: str, *args: Any) -> list[Launch]:
    """What devices do with indices that may come several times: they sort them first."""
    launches: list[Launch] = late("kernels.cuda.runs", name)(*args)
    return launches


# ---------------------------------------------------------------- scatter


@kernel()
def _check(indices: Any, size: Any) -> Any:
    for k in range(indices.size):
        if not 0 <= indices[k] < size:
            return _status(k)
    return 0


_form(_check, "CHECK")


@kernel()
def _assign(indices, values, x):
    for k in range(indices.size):
        for i in range(x.shape[1]):
            x[indices[k], i] = values[k, i]


@kernel()
def _scale(weight, indices, x):
    factor = weight[0]
    if factor == 1:
        return
    for k in range(indices.size):
        for i in range(x.shape[1]):
            x[indices[k], i] *= factor


@kernel()
def _add(weight, indices, values, x):
    factor = weight[0]
    for k in range(indices.size):
        for i in range(x.shape[1]):
            x[indices[k], i] += factor * values[k, i]


@kernel()
def _zero(x):
    for i in range(x.size):
        x[i] = 0


def launch_check(indices: Array, size: int) -> Launch:
    """ValueRangeError (at run time) unless all indices are in [0, size)."""
    return _check(indices.reshape(-1), size, explain=_explainer(indices, size))


def launch_scatter(indices: Array, values: Array, x: Array) -> list[Launch]:
    """x[indices[k]] = values[k] for matrices x and values, in order; any type."""
    flat = indices.reshape(-1)
    if values.shape != (flat.size, x.shape[1]) or values.dtype != x.dtype:
        raise ShapeError(f"{shape_text(values.shape)} for {flat.size} of {shape_text(x.shape)}")
    check = launch_check(indices, x.shape[0])
    if x.dtype == STRING:

        def assign() -> None:
            for index, row in zip(on_host(flat).tolist(), values, strict=True):
                x[index] = row

        return [check, launch_python(assign)]
    if not isinstance(x, np.ndarray):
        return [
            check,
            *_runs("launch_assign", flat, _flat(values, values.shape), _flat(x, x.shape)),
        ]
    return [check, _assign(flat, _flat(values, values.shape), _flat(x, x.shape))]


def launch_scatter_sum(
    indices: Array, parts: Sequence[tuple[Array, Array]], x: Array, weight: Array | None = None
) -> list[Launch]:
    """x[indices[k]] = weight * itself + sum of w * values[k] over the (values, w) in `parts`.

    x and values are matrices. Without a weight x starts from 0. A row that is named several times
    is first scaled as often, then gets all that is added.
    """
    flat = indices.reshape(-1)
    for values, _ in parts:
        if values.shape != (flat.size, x.shape[1]):
            raise ShapeError(f"{shape_text(values.shape)} for {flat.size} of {shape_text(x.shape)}")
    launches = [launch_check(indices, x.shape[0])]
    if not isinstance(x, np.ndarray):
        return [*launches, *_runs("launch_sum", flat, parts, x, weight)]
    if weight is None:
        launches.append(_zero(x.reshape(-1)))
    else:
        launches.append(_scale(weight.reshape(-1), flat, x))
    for values, factor in parts:
        launches.append(_add(factor.reshape(-1), flat, values, x))
    return launches


@kernel()
def _one_hot(indices: Any, y: Any) -> Any:
    for k in range(indices.size):
        if not 0 <= indices[k] < y.shape[1]:
            return _status(k)
        for c in range(y.shape[1]):
            y[k, c] = 0
        y[k, indices[k]] = 1
    return 0


_form(_one_hot, "ONE_HOT")


def launch_one_hot(indices: Array, y: Array) -> Launch:
    """y[k, indices[k]] = 1, 0 elsewhere; ValueRangeError (at run time) for what is no column."""
    return by_rows(_one_hot, indices.reshape(-1), y, explain=_explainer(indices, y.shape[1]))


# ---------------------------------------------------------------- boxes


@kernel()
def _from_box(big, sizes, steps, width, small):
    for row in range(small.size // width):
        rest = row
        at = 0
        for axis in range(sizes.size - 1, -1, -1):
            at += rest % sizes[axis] * steps[axis]
            rest = rest // sizes[axis]
        source = big[at : at + width]
        target = small[row * width : (row + 1) * width]
        for i in range(width):
            target[i] = source[i]


_from_box.form_later(lambda: late("kernels.cuda.moved", "FROM_BOX"))


@kernel()
def _into_box(big, first, sizes, steps, width, small):
    for row in range(small.size // width):
        rest = row
        at = first
        for axis in range(sizes.size - 1, -1, -1):
            at += rest % sizes[axis] * steps[axis]
            rest = rest // sizes[axis]
        target = big[at : at + width]
        source = small[row * width : (row + 1) * width]
        for i in range(width):
            target[i] = source[i]


_into_box.form_later(lambda: late("kernels.cuda.moved", "INTO_BOX"))


def _walk(shape: Sequence[int], box: Sequence[int]) -> tuple[Array, Array, int]:
    """Sizes and steps of a box's outer axes, and how many elements lie side by side."""
    axis, width = len(shape), 1
    while axis > 0:
        axis -= 1
        width *= box[axis]
        if box[axis] != shape[axis]:
            break
    steps = [int(np.prod(shape[k + 1 :], dtype=np.int64)) for k in range(axis)]
    return np.array(box[:axis], np.int64), np.array(steps, np.int64), width


def _first(shape: Sequence[int], starts: Sequence[int]) -> int:
    """Where in a flat array of this shape a box begins."""
    at = 0
    for size, start in zip(shape, starts, strict=True):
        at = at * size + start
    return at


def launch_slice(x: Array, starts: Sequence[int], y: Array) -> list[Launch]:
    """y = the box of x that begins at `starts` and has y's shape; any type."""
    _require_box(x, starts, y)
    if x.dtype == STRING:
        box = tuple(slice(s, s + n) for s, n in zip(starts, y.shape, strict=True))
        return [launch_assign(y, x[box])]
    if y.size == 0:
        return []
    big, small = bits(x).reshape(-1)[_first(x.shape, starts) :], bits(y).reshape(-1)
    sizes, steps, width = _walk(x.shape, y.shape)
    if not sizes.size:
        return [launch_copy(big[:width], small)]
    return [_from_box(big, sizes, steps, width, small)]


def launch_slice_gradient(dy: Array, starts: Sequence[int], dx: Array) -> list[Launch]:
    """dx = 0 but for the box that begins at `starts`, which is dy; any type but strings."""
    _require_box(dx, starts, dy)
    first = _first(dx.shape, starts) if dy.size else 0
    sizes, steps, width = _walk(dx.shape, dy.shape)
    big, small = bits(dx).reshape(-1), bits(dy).reshape(-1)
    nothing = np.zeros(1, big.dtype)
    return [launch_fill(nothing, big), _into_box(big, first, sizes, steps, max(width, 1), small)]


def _require_box(big: Array, starts: Sequence[int], small: Array) -> None:
    inside = all(
        s >= 0 and s + n <= m for s, n, m in zip(starts, small.shape, big.shape, strict=True)
    )
    if not inside or big.dtype != small.dtype:
        raise ShapeError(
            f"a box of {small.dtype}{shape_text(small.shape)} at {list(starts)} does not fit into "
            f"{big.dtype}{shape_text(big.shape)}"
        )


# ---------------------------------------------------------------- the largest elements


def _before(a, i, b, j):
    """Whether element a at place i comes before b at j: larger, or equal and further left.

    A NaN comes after every number.
    """
    if a > b:
        return True
    if a < b:
        return False
    if (a != a) != (b != b):
        return b != b
    return i < j


def _sift(values, places, at, count):
    """Move down the heap, whose first is the one that all others come before."""
    value, place = values[at], places[at]
    while True:
        child = 2 * at + 1
        if child >= count:
            break
        right = child + 1
        if right < count and _before(values[child], places[child], values[right], places[right]):
            child = right
        if not _before(value, place, values[child], places[child]):
            break
        values[at], places[at] = values[child], places[child]
        at = child
    values[at], places[at] = value, place


def _sort_heap(values, places, count):
    for last in range(count - 1, 0, -1):
        value, place = values[last], places[last]
        values[last], places[last] = values[0], places[0]
        values[0], places[0] = value, place
        _sift(values, places, 0, last)


@kernel()
def _top(x, values, places, y, indices, flat, with_flat):
    """The first `count` in order along the middle axis; 0 and -1 where there are no more."""
    outer, size, inner = x.shape
    wanted = y.shape[1]
    count = min(wanted, size)
    for o in range(outer):
        for i in range(inner):
            for k in range(count):
                values[k], places[k] = x[o, k, i], k
            for k in range(count // 2 - 1, -1, -1):
                _sift(values, places, k, count)
            for k in range(count, size):
                if _before(x[o, k, i], k, values[0], places[0]):
                    values[0], places[0] = x[o, k, i], k
                    _sift(values, places, 0, count)
            _sort_heap(values, places, count)
            for k in range(wanted):
                inside = k < count
                y[o, k, i] = values[k] if inside else x.dtype.type(0)
                indices[o, k, i] = places[k] if inside else -1
                if with_flat:
                    place = (o * size + places[k]) * inner + i if inside else -1
                    flat[(o * wanted + k) * inner + i] = place


_form(_top, "TOP")


@kernel()
def _top_gradient(dy: Any, indices: Any, dx: Any) -> Any:
    outer, size, inner = dx.shape
    for o in range(outer):
        for s in range(size):
            for i in range(inner):
                dx[o, s, i] = 0
        for k in range(dy.shape[1]):
            for i in range(inner):
                index = indices[o, k, i]
                if index == -1:
                    continue
                if not 0 <= index < size:
                    return _status((o * dy.shape[1] + k) * inner + i)
                dx[o, index, i] = dy[o, k, i]
    return 0


_form(_top_gradient, "TOP_GRADIENT")


def launch_top(call: Call, x: Array, y: Array, indices: Array, flat: Array | None) -> Launch:
    """The largest elements along the middle of three axes, in order, with their places.

    y and indices have as many along that axis as are wanted; what x lacks is 0 with index -1. Of
    equal elements the first comes first; NaN come last. `flat` gets places in the flat x.
    """
    count = max(min(y.shape[1], x.shape[1]), 1)
    values, places = call.scratch((count,), x.dtype), call.scratch((count,), np.int64)
    extra: Any = places if flat is None else flat.reshape(-1)
    return _top(x, values, places, y, indices, extra, flat is not None)


def launch_top_gradient(dy: Array, indices: Array, dx: Array) -> Launch:
    """dx = dy at its indices along the middle of three axes, 0 elsewhere; -1 is left out.

    ValueRangeError (at run time) for other indices that are not in dx.
    """
    return _top_gradient(dy, indices, dx, explain=_explainer(indices, dx.shape[1]))


@kernel()
def _flexible_top(x, counts, values, places, y, indices):
    """The first counts[r] elements of each row of x[:, :, 0] in order, one row after another."""
    at = 0
    for r in range(x.shape[0]):
        count = counts[r]
        for k in range(count):
            values[k], places[k] = x[r, k, 0], k
        for k in range(count // 2 - 1, -1, -1):
            _sift(values, places, k, count)
        for k in range(count, x.shape[1]):
            if _before(x[r, k, 0], k, values[0], places[0]):
                values[0], places[0] = x[r, k, 0], k
                _sift(values, places, 0, count)
        _sort_heap(values, places, count)
        for k in range(count):
            y[at], indices[at] = values[k], places[k]
            at += 1


_form(_flexible_top, "FLEXIBLE_TOP")


def launch_flexible_top(call: Call, x: Array, counts: Array, y: Array, indices: Array) -> Launch:
    """The counts[r] largest of each row of x in order, one row after another, and their columns.

    `counts` must lie in [1, columns], and their sum be the size of y.
    """
    size = max(x.shape[1], 1)
    values, places = call.scratch((size,), x.dtype), call.scratch((size,), np.int64)
    rows = x.reshape(x.shape[0], x.shape[1], 1)
    return _flexible_top(rows, counts.reshape(-1), values, places, y, indices)


@kernel()
def _flexible_top_gradient(dy: Any, counts: Any, indices: Any, dx: Any) -> Any:
    at = 0
    for r in range(dx.shape[0]):
        for c in range(dx.shape[1]):
            dx[r, c] = 0
        for _ in range(counts[r]):
            if not 0 <= indices[at] < dx.shape[1]:
                return _status(at)
            dx[r, indices[at]] = dy[at]
            at += 1
    return 0


_form(_flexible_top_gradient, "FLEXIBLE_TOP_GRADIENT")


def launch_flexible_top_gradient(dy: Array, counts: Array, indices: Array, dx: Array) -> Launch:
    """dx = dy in the columns that the next counts[r] indices name, 0 elsewhere.

    ValueRangeError (at run time) for an index that is no column.
    """
    explain = _explainer(indices, dx.shape[1])
    return _flexible_top_gradient(dy, counts.reshape(-1), indices, dx, explain=explain)
