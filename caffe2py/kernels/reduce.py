"""Reductions: sums and extrema along axes, in an order that depends on the shape alone."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import numpy as np

from caffe2py.errors import Error, ShapeError, ValueRangeError
from caffe2py.kernels.copy import launch_copy
from caffe2py.kernels.device import launch_by_channel, launch_total, on_cuda
from caffe2py.kernels.jit import kernel
from caffe2py.kernels.parallel import by_rows, divisible, is_on_device, moving
from caffe2py.kernels.params import Intrinsic
from caffe2py.registry.context import Call, Launch
from caffe2py.tensor.place import on_host
from caffe2py.tensor.tensor import Array

#: Elements that no two threads should write parts of.
_LINE = 16

#: Rather this many arrays for parts than columns of each.
_MANY = 8

#: From the array and the result the launch that reduces the last axis, or the middle one.
Step = Callable[[Array, Array], Launch]

#: The same on a device: launches that reduce the middle axis of three.
DeviceStep = Callable[[Array, Array], list[Launch]]


_ROWS = ("emit.py", "emit_winograd.py", "emit_rows.py")

#: row_sum(x, at, count) -> the sum of x[at + k] for k in range(count), floats only; lanes of four
#: vectors sum side by side, in an order that depends on `count` alone.
row_sum = Intrinsic("row_sum", _ROWS)

#: The largest and the smallest of count >= 1 floats; a NaN is passed over, except as the first one.
row_greatest, row_smallest = Intrinsic("row_greatest", _ROWS), Intrinsic("row_smallest", _ROWS)

#: The largest of any number of floats: NaN if one is, minus infinity of none.
row_top = Intrinsic("row_top", _ROWS)


@kernel()
def _sum_float_rows(x: Any, y: Any) -> None:
    for o in range(x.shape[0]):
        y[o] = row_sum(x[o], 0, x.shape[1])


@kernel("reassoc")
def _sum_rows(x: Any, y: Any) -> None:
    """y[o] = sum of x[o, :]; the lanes of a vector register sum side by side."""
    for o in range(x.shape[0]):
        total = x.dtype.type(0)
        for r in range(x.shape[1]):
            total += x[o, r]
        y[o] = total


@kernel()
def _sum_columns(x: Any, y: Any, first: int, end: int) -> None:
    """y[o, i] = sum over r of x[o, r, i], row after row, for first <= i < end."""
    for o in range(x.shape[0]):
        target = y[o, first:end]
        for i in range(target.size):
            target[i] = 0
        for r in range(x.shape[1]):
            source = x[o, r, first:end]
            for i in range(target.size):
                target[i] += source[i]


def launch_sum(call: Call, x: Array, axes: Sequence[int], y: Array) -> list[Launch]:
    """y = x summed over `axes`; `y` has the remaining elements, in any shape of that size.

    Neighbouring summed axes are taken as one; separate groups are summed from the last to the first
    through scratch arrays.
    """
    loop = _sum_float_rows if x.dtype.kind == "f" else _sum_rows
    rows, columns = partial(by_rows, loop), partial(_by_columns, _sum_columns)
    return _by_groups(call, x, axes, y, rows, columns, _on_device("launch_sum"))


def _on_device(name: str, *args: Any, **options: Any) -> DeviceStep:
    """A function of `kernels.cuda.sums`, with these arguments behind the arrays."""

    def launches(x: Array, y: Array) -> list[Launch]:
        made: list[Launch] = on_cuda(f"sums.{name}")(x, y, *args, **options)
        return made

    return launches


def _by_columns(reduce: Callable[..., Launch], x: Array, y: Array) -> Launch:
    """reduce(x, y, first, end) for ranges of the last axis; or of the first, if it is large."""
    columns = x.shape[2]
    if len(x) >= _MANY:
        return by_rows(lambda a, b: reduce(a, b, 0, columns), x, y)
    return divisible(columns, moving(x), lambda first, end: reduce(x, y, first, end), _LINE)


def _by_groups(
    call: Call,
    x: Array,
    axes: Sequence[int],
    y: Array,
    rows: Step,
    columns: Step,
    device: DeviceStep,
) -> list[Launch]:
    """Reduce one group of neighbouring axes after the other, the last one first."""
    groups = _groups(x.shape, set(axes))
    launches: list[Launch] = []
    current = x
    while True:
        last = max((k for k, (_, summed) in enumerate(groups) if summed), default=-1)
        if last < 0:
            return launches or [launch_copy(current, y)]
        outer = int(np.prod([n for n, _ in groups[:last]], dtype=np.int64))
        inner = int(np.prod([n for n, _ in groups[last + 1 :]], dtype=np.int64))
        size = groups.pop(last)[0]
        more = any(summed for _, summed in groups)
        target = call.scratch((outer, inner), x.dtype) if more else y.reshape(outer, inner)
        if is_on_device(x):
            launches += device(current.reshape(outer, size, inner), target)
        elif inner == 1:
            launches.append(rows(current.reshape(outer, size), target.reshape(-1)))
        else:
            launches.append(columns(current.reshape(outer, size, inner), target))
        current = target


def _groups(shape: tuple[int, ...], axes: set[int]) -> list[tuple[int, bool]]:
    """Runs of axes that are all summed or all kept: (number of elements, summed)."""
    groups: list[tuple[int, bool]] = []
    for axis, size in enumerate(shape):
        summed = axis in axes
        if groups and groups[-1][1] == summed:
            groups[-1] = (groups[-1][0] * size, summed)
        else:
            groups.append((size, summed))
    return groups


# ---------------------------------------------------------------- extrema


@kernel()
def _max_float_rows(x: Any, y: Any) -> None:
    """There are elements in every row."""
    for o in range(x.shape[0]):
        y[o] = row_greatest(x[o], 0, x.shape[1])


@kernel()
def _max_rows(x: Any, lowest: Any, y: Any) -> None:
    for o in range(x.shape[0]):
        best = x[o, 0] if x.shape[1] > 0 else lowest
        for r in range(1, x.shape[1]):
            best = x[o, r] if x[o, r] > best else best
        y[o] = best


@kernel()
def _max_columns(x: Any, y: Any, first: int, end: int, lowest: Any) -> None:
    for o in range(x.shape[0]):
        for i in range(first, end):
            y[o, i] = x[o, 0, i] if x.shape[1] > 0 else lowest
        for r in range(1, x.shape[1]):
            for i in range(first, end):
                y[o, i] = x[o, r, i] if x[o, r, i] > y[o, i] else y[o, i]


@kernel()
def _min_float_rows(x: Any, y: Any) -> None:
    """There are elements in every row."""
    for o in range(x.shape[0]):
        y[o] = row_smallest(x[o], 0, x.shape[1])


@kernel()
def _min_rows(x: Any, highest: Any, y: Any) -> None:
    for o in range(x.shape[0]):
        best = x[o, 0] if x.shape[1] > 0 else highest
        for r in range(1, x.shape[1]):
            best = x[o, r] if x[o, r] < best else best
        y[o] = best


@kernel()
def _min_columns(x: Any, y: Any, first: int, end: int, highest: Any) -> None:
    for o in range(x.shape[0]):
        for i in range(first, end):
            y[o, i] = x[o, 0, i] if x.shape[1] > 0 else highest
        for r in range(1, x.shape[1]):
            for i in range(first, end):
                y[o, i] = x[o, r, i] if x[o, r, i] < y[o, i] else y[o, i]


def launch_max(call: Call, x: Array, axes: Sequence[int], y: Array) -> list[Launch]:
    """y = the largest of x over `axes`; of no elements, the least finite number of the type.

    A NaN is passed over, except as the first element.
    """
    least = x.dtype.type(_limits(x.dtype).min)

    def rows(a: Array, b: Array) -> Launch:
        if a.dtype.kind == "f" and a.shape[1] > 0:
            return by_rows(_max_float_rows, a, b)
        return by_rows(lambda c, d: _max_rows(c, least, d), a, b)

    def columns(a: Array, b: Array) -> Launch:
        return _by_columns(lambda *args: _max_columns(*args, least), a, b)

    device = _on_device("launch_extreme", least, largest=True)
    return _by_groups(call, x, axes, y, rows, columns, device)


def launch_min(call: Call, x: Array, axes: Sequence[int], y: Array) -> list[Launch]:
    """y = the smallest of x over `axes`; of no elements, the largest finite number of the type.

    A NaN is passed over, except as the first element.
    """
    most = x.dtype.type(_limits(x.dtype).max)

    def rows(a: Array, b: Array) -> Launch:
        if a.dtype.kind == "f" and a.shape[1] > 0:
            return by_rows(_min_float_rows, a, b)
        return by_rows(lambda c, d: _min_rows(c, most, d), a, b)

    def columns(a: Array, b: Array) -> Launch:
        return _by_columns(lambda *args: _min_columns(*args, most), a, b)

    device = _on_device("launch_extreme", most, largest=False)
    return _by_groups(call, x, axes, y, rows, columns, device)


def _limits(dtype: np.dtype[Any]) -> Any:
    return np.finfo(dtype) if dtype.kind == "f" else np.iinfo(dtype)


@kernel()
def _arg_max(x: Any, y: Any) -> None:
    for o in range(x.shape[0]):
        for i in range(x.shape[2]):
            y[o, i] = 0
        for r in range(1, x.shape[1]):
            for i in range(x.shape[2]):
                y[o, i] = r if x[o, r, i] > x[o, y[o, i], i] else y[o, i]


@kernel()
def _arg_min(x: Any, y: Any) -> None:
    for o in range(x.shape[0]):
        for i in range(x.shape[2]):
            y[o, i] = 0
        for r in range(1, x.shape[1]):
            for i in range(x.shape[2]):
                y[o, i] = r if x[o, r, i] < x[o, y[o, i], i] else y[o, i]


_arg_max.form_from("sums", "arg_max")
_arg_min.form_from("sums", "arg_min")


def launch_arg(x: Array, axis: int, y: Array, *, largest: bool) -> Launch:
    """y = where along `axis` x is largest (or smallest) first, int64; 0 where x is empty."""
    outer = int(np.prod(x.shape[:axis], dtype=np.int64))
    inner = int(np.prod(x.shape[axis + 1 :], dtype=np.int64))
    search = _arg_max if largest else _arg_min
    whole = x.reshape(outer, x.shape[axis], inner), y.reshape(outer, inner)
    return by_rows(search, *whole, effort=3)


# ---------------------------------------------------------------- sums of products


@kernel("reassoc")
def _dot(a: Any, b: Any, y: Any) -> None:
    total = a.dtype.type(0)
    for i in range(a.size):
        total += a[i] * b[i]
    y[0] = total


@kernel("reassoc")
def _sum_magnitudes(x: Any, y: Any) -> None:
    total = x.dtype.type(0)
    for i in range(x.size):
        total += abs(x[i])
    y[0] = total


def launch_dot(a: Array, b: Array, y: Array) -> list[Launch]:
    """The one element of y = the sum of a * b; all of one type."""
    if a.size != b.size or y.size != 1:
        raise ShapeError(f"no dot product of {a.shape} and {b.shape} as {y.shape}")
    both = a.reshape(-1), b.reshape(-1)
    if is_on_device(a):
        return launch_total("totals.DOT", a.size, both, y)
    return [_dot(*both, y.reshape(-1))]


def launch_sum_magnitudes(x: Array, y: Array) -> list[Launch]:
    """The one element of y = the sum of |x|."""
    if y.size != 1:
        raise ShapeError(f"a sum is one element, not {y.shape}")
    if is_on_device(x):
        return launch_total("totals.MAGNITUDES", x.size, (x.reshape(-1),), y)
    return [_sum_magnitudes(x.reshape(-1), y.reshape(-1))]


# ---------------------------------------------------------------- sums of the first elements


@kernel("reassoc")
def _sum_starts_of_rows(x: Any, lengths: Any, y: Any) -> Any:
    for r in range(x.shape[0]):
        if lengths[r] < 0 or lengths[r] > x.shape[1]:
            return r + 1
        total = x.dtype.type(0)
        for k in range(lengths[r]):
            total += x[r, k]
        y[r] = total
    return 0


@kernel()
def _sum_starts_of_columns(x: Any, lengths: Any, y: Any) -> Any:
    for c in range(x.shape[1]):
        if lengths[c] < 0 or lengths[c] > x.shape[0]:
            return c + 1
        y[c] = 0
    for k in range(x.shape[0]):
        for c in range(x.shape[1]):
            y[c] += x[k, c] if k < lengths[c] else 0
    return 0


@kernel()
def _spread_over_rows(dy: Any, lengths: Any, dx: Any) -> Any:
    for r in range(dx.shape[0]):
        if lengths[r] < 0 or lengths[r] > dx.shape[1]:
            return r + 1
        for k in range(dx.shape[1]):
            dx[r, k] = dy[r] if k < lengths[r] else 0
    return 0


@kernel()
def _spread_over_columns(dy: Any, lengths: Any, dx: Any) -> Any:
    for c in range(dx.shape[1]):
        if lengths[c] < 0 or lengths[c] > dx.shape[0]:
            return c + 1
    for k in range(dx.shape[0]):
        for c in range(dx.shape[1]):
            dx[k, c] = dy[c] if k < lengths[c] else 0
    return 0


def _wrong_length(lengths: Array, most: int) -> Callable[[int], Error]:
    def explain(status: int) -> Error:
        found = int(on_host(lengths[status - 1 : status])[0])
        return ValueRangeError(f"lengths[{status - 1}] is {found}, expected 0 to {most}")

    return explain


_spread_over_rows.form_from("starts", "spread_over_rows")
_spread_over_columns.form_from("starts", "spread_over_columns")


def launch_sum_starts(x: Array, lengths: Array, y: Array, *, front: bool) -> list[Launch]:
    """y[r] = the sum of the first lengths[r] elements of row r of the matrix x.

    With `front` the same of its columns. ValueRangeError for a length that is negative or too long.
    """
    explain = _wrong_length(lengths, x.shape[0 if front else 1])
    if is_on_device(x):
        rows, columns = x.shape
        check = on_cuda("starts.CHECK")(lengths, rows if front else columns, explain=explain)
        place, shape = "starts.ROWS", (1, 1, rows, columns)
        if front:
            place, shape = "starts.COLUMNS", (1, rows, columns, 1)
        return [check, *launch_by_channel(place, shape, (x, lengths), (y,))]
    sums = _sum_starts_of_columns if front else _sum_starts_of_rows
    return [sums(x, lengths, y, explain=explain)]


def launch_spread_starts(dy: Array, lengths: Array, dx: Array, *, front: bool) -> Launch:
    """The gradient of launch_sum_starts: dy[r] at the first lengths[r] places, 0 elsewhere."""
    spread = _spread_over_columns if front else _spread_over_rows
    return spread(dy, lengths, dx, explain=_wrong_length(lengths, dx.shape[0 if front else 1]))
