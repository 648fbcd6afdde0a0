"""Loops over vectors along an axis, rows and groups that are divided by their norm or deviation."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from caffe2py.errors import Error
from caffe2py.kernels.channels import Pair
from caffe2py.kernels.device import launch_by_channel
from caffe2py.kernels.index import index_error
from caffe2py.kernels.jit import kernel
from caffe2py.kernels.parallel import blocks_of, by_rows, divisible, is_on_device, moving
from caffe2py.kernels.rownorm import launch_add_blocks
from caffe2py.registry.context import Call, Launch
from caffe2py.tensor.place import on_host
from caffe2py.tensor.tensor import Array

#: The least norm that elements are divided by.
LEAST_NORM = 1e-12


def _norm(x, o, i):
    total = 0.0
    for k in range(x.shape[1]):
        value = np.float64(x[o, k, i])
        total += value * value
    return math.sqrt(total)


@kernel("reassoc")
def _unit(x: Any, first: bool, y: Any) -> None:
    """By the sum of magnitudes (first) or the root of the sum of squares; 0 stays 0."""
    number = x.dtype.type
    for o in range(x.shape[0]):
        for i in range(x.shape[2]):
            if first:
                norm = 0.0
                for k in range(x.shape[1]):
                    norm += abs(np.float64(x[o, k, i]))
                norm = norm if norm > 0 else 1.0
            else:
                norm = max(_norm(x, o, i), LEAST_NORM)
            for k in range(x.shape[1]):
                y[o, k, i] = number(x[o, k, i] / norm)


_unit.form_from("unit", "unit")


def launch_unit(x: Array, y: Array, *, first: bool = False) -> Launch:
    """y = x divided by its norm along the middle of three axes: Euclidean, or (first) the sum."""
    return by_rows(lambda a, b: _unit(a, first, b), x, y, effort=3)


@kernel("reassoc")
def _unit_gradient(x: Any, dy: Any, dx: Any) -> None:
    number = x.dtype.type
    for o in range(x.shape[0]):
        for i in range(x.shape[2]):
            norm = _norm(x, o, i)
            product = 0.0
            for k in range(x.shape[1]):
                product += np.float64(x[o, k, i]) * np.float64(dy[o, k, i])
            slope = product / (norm * norm * norm) if norm > LEAST_NORM else 0.0
            inverse = 1 / max(norm, LEAST_NORM)
            for k in range(x.shape[1]):
                value = np.float64(dy[o, k, i]) * inverse - np.float64(x[o, k, i]) * slope
                dx[o, k, i] = number(value)


_unit_gradient.form_from("unit", "unit_gradient")


def launch_unit_gradient(x: Array, dy: Array, dx: Array) -> Launch:
    """The gradient of launch_unit for the Euclidean norm; the arrays have three axes."""
    return by_rows(_unit_gradient, x, dy, dx, effort=3)


# ---------------------------------------------------------------- root mean squares of rows


@kernel("reassoc", "contract")
def _mean_square(x: Any, epsilon: Any, scale: Any, bias: Any, y: Any, inverse: Any) -> None:
    number = x.dtype.type
    for r in range(x.shape[0]):
        total = 0.0
        for i in range(x.shape[1]):
            total += np.float64(x[r, i]) * np.float64(x[r, i])
        inverse[r] = 1 / math.sqrt(total / x.shape[1] + epsilon)
        factor = number(inverse[r])
        for i in range(x.shape[1]):
            y[r, i] = x[r, i] * factor * scale[i] + bias[i]


_mean_square.form_from("rownorm", "mean_square")


def launch_mean_square(x: Array, epsilon: float, affine: Pair, y: Array, inverse: Array) -> Launch:
    """y = x * inverse * scale + bias, inverse = 1 / sqrt(the mean of x * x + epsilon) of a row."""
    return by_rows(
        lambda a, b, inverses: _mean_square(a, epsilon, *affine, b, inverses), x, y, inverse
    )


@kernel("reassoc", "contract")
def _mean_square_gradient(
    dy: Any, x: Any, scale: Any, inverse: Any, dx: Any, sums: Any, first: int, end: int
) -> None:
    """Of the blocks `first` to `end` of the rows, each with sums of its own."""
    for b in range(first, end):
        from_, to = x.shape[0] * b // sums.shape[0], x.shape[0] * (b + 1) // sums.shape[0]
        _block_gradient(dy, x, scale, inverse, dx, sums[b], from_, to)


def _block_gradient(
    dy: Any, x: Any, scale: Any, inverse: Any, dx: Any, sums: Any, first: Any, end: Any
) -> None:
    number = x.dtype.type
    for k in range(2):
        for i in range(x.shape[1]):
            sums[k, i] = 0
    for r in range(first, end):
        factor = np.float64(inverse[r])
        slope = 0.0
        for i in range(x.shape[1]):
            slope += np.float64(dy[r, i]) * scale[i] * x[r, i]
        slope = slope * factor * factor * factor / x.shape[1]
        for i in range(x.shape[1]):
            dx[r, i] = number(np.float64(dy[r, i]) * scale[i] * factor - x[r, i] * slope)
            sums[0, i] += np.float64(dy[r, i]) * x[r, i] * factor
            sums[1, i] += dy[r, i]


_mean_square_gradient.form_from("rownorm", "mean_square_gradient")


def launch_mean_square_gradient(
    call: Call, dy: Array, x: Array, scale: Array, inverse: Array, dx: Array, out: Pair
) -> list[Launch]:
    """dx of launch_mean_square and, in `out`, dscale and dbias, sums over the rows."""
    blocks = blocks_of(len(x))
    sums = call.scratch((blocks, 2, x.shape[1]), np.float64)
    arrays = (dy, x, scale, inverse, dx, sums)
    gradient = divisible(
        blocks, 3 * moving(x, dy, dx), lambda first, end: _mean_square_gradient(*arrays, first, end)
    )
    if is_on_device(x):
        shape = (1, *x.shape, 1)
        return [gradient, *launch_by_channel("rownorm.MEAN_SQUARES", shape, (dy, x, inverse), out)]
    return [gradient, launch_add_blocks(sums, out)]


# ---------------------------------------------------------------- groups of channels


@kernel("reassoc")
def _group_moments(
    x: Any, width: int, epsilon: Any, mean: Any, inverse: Any, start: int, end: int
) -> None:
    """Of the groups `start` to `end` of `width` channels, of all items.

    Differences from the first element keep large means exact.
    """
    items, outer, _, inner = x.shape
    count = outer * width * inner
    for n in range(items):
        for g in range(start, end):
            first = np.float64(x[n, 0, g * width, 0]) if count > 0 else 0.0
            total = 0.0
            squares = 0.0
            for o in range(outer):
                for c in range(g * width, (g + 1) * width):
                    for i in range(inner):
                        difference = np.float64(x[n, o, c, i]) - first
                        total += difference
                        squares += difference * difference
            average = total / count if count > 0 else 0.0
            variance = squares / count - average * average if count > 0 else 0.0
            mean[n, g] = first + average
            inverse[n, g] = 1 / math.sqrt(max(variance, 0.0) + epsilon)


@kernel("reassoc", "contract")
def _group_normalize(
    x: Any, width: int, scale: Any, bias: Any, mean: Any, inverse: Any, y: Any, start: int, end: int
) -> None:
    items, outer, _, inner = x.shape
    for n in range(items):
        for o in range(outer):
            for c in range(start * width, end * width):
                middle = mean[n, c // width]
                factor = inverse[n, c // width] * scale[c]
                for i in range(inner):
                    y[n, o, c, i] = (x[n, o, c, i] - middle) * factor + bias[c]


_group_normalize.form_from("rownorm", "group_normalize")


def _moments_on_device(x: Array, width: int, epsilon: float, moments: Pair) -> list[Launch]:
    items, outer, channels, inner = x.shape
    shape = (items, outer, channels // width, width * inner)
    whole, count = x.reshape(shape), outer * width * inner
    flat = (a.reshape(-1) for a in moments)
    return launch_by_channel(
        "rownorm.GROUPS", shape, (whole,), (whole, count, float(epsilon), *flat)
    )


def launch_group_norm(
    x: Array, width: int, epsilon: float, affine: Pair, moments: Pair, y: Array
) -> list[Launch]:
    """y = (x - mean) * inverse * scale + bias for x (items, outer, channels, inner).

    Mean and inverse = 1 / sqrt(variance + epsilon) go to `moments`, (items, groups of `width`
    channels); scale and bias have one element a channel.
    """

    def groups(effort: float, make: Callable[[int, int], Launch]) -> Launch:
        return divisible(moments[0].shape[1], effort * moving(x), make)

    if is_on_device(x):
        first = _moments_on_device(x, width, epsilon, moments)
    else:
        first = [groups(3, lambda a, b: _group_moments(x, width, epsilon, *moments, a, b))]
    return [
        *first,
        groups(2, lambda a, b: _group_normalize(x, width, *affine, *moments, y, a, b)),
    ]


@kernel("reassoc")
def _group_sums(
    dy: Any, x: Any, width: int, mean: Any, inverse: Any, sums: Any, start: int, end: int
) -> None:
    """sums[0, n, c] = the sum of dy * (x - mean) * inverse, sums[1, n, c] = that of dy."""
    items, outer, _, inner = x.shape
    for n in range(items):
        for c in range(start * width, end * width):
            middle = np.float64(mean[n, c // width])
            product = 0.0
            total = 0.0
            for o in range(outer):
                for i in range(inner):
                    product += np.float64(dy[n, o, c, i]) * (np.float64(x[n, o, c, i]) - middle)
                    total += dy[n, o, c, i]
            sums[0, n, c] = product * inverse[n, c // width]
            sums[1, n, c] = total


@kernel()
def _group_gradient(
    dy: Any, x: Any, width: int, scale: Any, mean: Any, inverse: Any, sums: Any, dx: Any,
    start: int, end: int,
) -> None:  # fmt: skip
    number = x.dtype.type
    items, outer, _, inner = x.shape
    count = outer * width * inner
    for n in range(items):
        for g in range(start, end):
            slope = 0.0
            level = 0.0
            for c in range(g * width, (g + 1) * width):
                slope += sums[0, n, c] * scale[c]
                level += sums[1, n, c] * scale[c]
            factor = np.float64(inverse[n, g])
            slope = slope / count * factor if count > 0 else 0.0
            level = level / count if count > 0 else 0.0
            middle = np.float64(mean[n, g])
            for o in range(outer):
                for c in range(g * width, (g + 1) * width):
                    for i in range(inner):
                        d = np.float64(x[n, o, c, i]) - middle
                        value = np.float64(dy[n, o, c, i]) * scale[c] - level - d * slope
                        dx[n, o, c, i] = number(value * factor)


@kernel()
def _sum_items(sums: Any, dscale: Any, dbias: Any) -> None:
    for c in range(dscale.size):
        product = 0.0
        total = 0.0
        for n in range(sums.shape[1]):
            product += sums[0, n, c]
            total += sums[1, n, c]
        dscale[c] = product
        dbias[c] = total


def launch_group_norm_gradient(
    call: Call, dy: Array, x: Array, scale: Array, moments: Pair, dx: Array, out: Pair
) -> list[Launch]:
    """dx of launch_group_norm and, in `out`, dscale and dbias."""
    width = x.shape[2] // moments[0].shape[1]
    sums = call.scratch((2, x.shape[0], x.shape[2]), np.float64)

    def groups(make: Callable[[int, int], Launch]) -> Launch:
        return divisible(moments[0].shape[1], 3 * moving(x, dy), make)

    if is_on_device(x):
        return _gradient_on_device(call, dy, x, scale, moments, sums, dx, out)
    return [
        groups(lambda a, b: _group_sums(dy, x, width, *moments, sums, a, b)),
        groups(lambda a, b: _group_gradient(dy, x, width, scale, *moments, sums, dx, a, b)),
        _sum_items(sums, *out),
    ]


_group_gradient.form_from("rownorm", "group_gradient")


def _gradient_on_device(
    call: Call, dy: Array, x: Array, scale: Array, moments: Pair, sums: Array, dx: Array, out: Pair
) -> list[Launch]:
    """The same from sums for each item and channel, and levels for each item and group."""
    items, outer, channels, inner = x.shape
    groups = moments[0].shape[1]
    width = channels // max(groups, 1)
    levels = call.scratch((2, items, groups), np.float64)
    count = outer * width * inner
    inverse = moments[1]
    return [
        *launch_by_channel(
            "rownorm.GROUP_SUMS", x.shape, (dy, x, width, *moments), (width, inverse, sums)
        ),
        *launch_by_channel(
            "rownorm.GROUP_LEVELS",
            (items, 1, groups, width),
            (sums, scale, width),
            (count, inverse, levels),
        ),
        _group_gradient(dy, x, width, scale, *moments, levels, dx, 0, groups),
        *launch_by_channel("rownorm.ITEMS", (1, items, channels, 1), (sums,), out),
    ]


# ---------------------------------------------------------------- sums of channels


@kernel("reassoc")
def _channel_sums(x: Any, factor: Any, sums: Any, squares: Any, start: int, end: int) -> None:
    outer, _, inner = x.shape
    for c in range(start, end):
        total = 0.0
        square = 0.0
        for o in range(outer):
            for i in range(inner):
                value = np.float64(x[o, c, i])
                total += value
                square += value * value
        sums[c] = total * factor
        squares[c] = square * factor


def launch_channel_sums(x: Array, factor: float, out: Pair) -> list[Launch]:
    """The sums of x and of x * x over all but the middle of three axes, times a factor."""
    if is_on_device(x):
        return launch_by_channel("channels.SUMS", (1, *x.shape), (x,), (float(factor), *out))
    sums = divisible(
        x.shape[1],
        2 * moving(x),
        lambda start, end: _channel_sums(x, factor, *out, start, end),
    )
    return [sums]


@kernel()
def _channel_slopes(x: Any, dmean: Any, dsquares: Any, factor: Any, dx: Any) -> None:
    number = x.dtype.type
    for o in range(x.shape[0]):
        for c in range(x.shape[1]):
            for i in range(x.shape[2]):
                slope = np.float64(dmean[c]) + 2 * np.float64(x[o, c, i]) * dsquares[c]
                dx[o, c, i] = number(slope * factor)


_channel_slopes.form_from("channels", "channel_slopes")


def launch_channel_slopes(x: Array, grads: Pair, factor: float, dx: Array) -> Launch:
    """The gradient of launch_channel_sums."""
    return by_rows(lambda a, da: _channel_slopes(a, *grads, factor, da), x, dx)


# ---------------------------------------------------------------- chosen rows


@kernel()
def _normalize_rows(x: Any, indices: Any, norm: Any, only_longer: bool) -> Any:
    number = x.dtype.type
    for k in range(indices.size):
        if not 0 <= indices[k] < x.shape[0]:
            return min(k + 1, 2**31 - 1)
    for k in range(indices.size):
        row = x[indices[k]]
        total = 0.0
        for i in range(row.size):
            total += np.float64(row[i]) * np.float64(row[i])
        length = math.sqrt(total)
        if only_longer and length <= norm:
            continue
        factor = norm / (length + LEAST_NORM)
        for i in range(row.size):
            row[i] = number(row[i] * factor)
    return 0


_normalize_rows.form_from("unit", "normalize_rows")


def launch_normalize_rows_at(x: Array, indices: Array, norm: float, *, only_longer: bool) -> Launch:
    """Scale the rows of x that the indices name to a norm, or only those that are longer.

    ValueRangeError (at run time) for an index that is no row, before anything changes.
    """

    def explain(status: int) -> Error:
        return index_error(
            int(on_host(indices.reshape(-1)[status - 1 : status])[0]), status - 1, x.shape[0]
        )

    flat = indices.reshape(-1)
    return _normalize_rows(x, flat, float(norm), only_longer, explain=explain)


@kernel()
def _shrink_rows(x: Any, indices: Any, amount: Any, first: bool) -> Any:
    """Toward 0: by an amount (first), or by a share."""
    zero = x.dtype.type(0)
    for k in range(indices.size):
        if not 0 <= indices[k] < x.shape[0]:
            return min(k + 1, 2**31 - 1)
    for k in range(indices.size):
        row = x[indices[k]]
        for i in range(row.size):
            value = row[i]
            if not first:
                row[i] = value * (x.dtype.type(1) - amount[0])
            elif value < -amount[0]:
                row[i] = value + amount[0]
            elif value > amount[0]:
                row[i] = value - amount[0]
            elif value == value:
                row[i] = zero
    return 0


_shrink_rows.form_from("unit", "shrink_rows")


def launch_shrink_rows_at(x: Array, indices: Array, amount: float, *, first: bool) -> Launch:
    """Move the rows of x that the indices name toward 0, by an amount (first) or by a share.

    ValueRangeError (at run time) for an index that is no row, before anything changes.
    """

    def explain(status: int) -> Error:
        return index_error(
            int(on_host(indices.reshape(-1)[status - 1 : status])[0]), status - 1, x.shape[0]
        )

    by = np.array([amount], x.dtype)
    return _shrink_rows(x, indices.reshape(-1), by, first, explain=explain)
