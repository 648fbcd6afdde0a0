"""Copies: of whole arrays, of columns, repeated along axes, and with the axes in another order."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from caffe2py.errors import ShapeError
from caffe2py.kernels.callback import launch_assign
from caffe2py.kernels.jit import Kernel, kernel
from caffe2py.kernels.parallel import CHUNK, by_rows, divisible, moving
from caffe2py.kernels.params import Intrinsic
from caffe2py.kernels.vector import lanes, vector_lanes
from caffe2py.registry.context import Call, Launch
from caffe2py.tensor.late import late
from caffe2py.tensor.tensor import Array
from caffe2py.tensor.types import STRING, shape_text

#: An unsigned type of each width: copies move bits, whatever they mean.
_BITS = {1: np.uint8, 2: np.uint16, 4: np.uint32, 8: np.uint64}

#: A transposition goes by tiles: this many neighbours of the source (a cache line of float32), and
#: so many of the result, or few where rows of the source fall on the same places of the cache.
_TALL, _WIDE, _NARROW = 16, 64, 16
_PAGE = 4096
_SQUARES_TALL = 64

#: Fewer transpositions than these are not shared out one by one.
_MANY = 8

_MOVES = ("emit.py", "emit_moves.py")

#: flip(x, x_at, x_step, y, y_at, y_step): y[c, r] = x[r, c] for a square of lanes(x) x lanes(x)
#: elements of 4 or 8 bytes, through registers.
flip = Intrinsic("flip", _MOVES)


def bits(array: Array) -> Array:
    """The same memory as unsigned integers, so that one kernel copies every type of a width."""
    return array.view(_BITS[array.dtype.itemsize])


def _flat_bits(array: Array) -> Array:
    return bits(array).reshape(-1)


def _require_copy(x: Array, y: Array) -> None:
    if x.size != y.size or x.dtype != y.dtype:
        raise ShapeError(f"cannot copy {shape_text(x.shape)} to {shape_text(y.shape)}")


def _form(kernel_: Kernel, name: str) -> None:
    """Devices run the form of this name."""
    kernel_.form_later(lambda: late("kernels.cuda.moved", name))


@kernel()
def _copy(x: Any, y: Any) -> None:
    for i in range(x.size):
        y[i] = x[i]


_form(_copy, "COPY")


def launch_copy(x: Array, y: Array) -> Launch:
    """y = x element by element; shapes may differ, sizes may not. The same memory is left alone."""
    _require_copy(x, y)
    if x.dtype == STRING:
        return launch_assign(y.reshape(-1), x.reshape(-1))
    if not (isinstance(x, np.ndarray) and isinstance(y, np.ndarray)):
        moved: Launch = late("kernels.cuda.moves", "launch_move")(x, y)
        return moved
    return by_rows(_copy, _flat_bits(x), _flat_bits(y), multiple=CHUNK)


def launch_constant(values: Array, y: Array) -> Launch:
    """y = what is known before the run: values of the host that do not change."""
    _require_copy(values, y)
    if isinstance(y, np.ndarray):
        return launch_copy(values, y)
    return _copy(_flat_bits(np.ascontiguousarray(values)), _flat_bits(y))


# ---------------------------------------------------------------- one value everywhere


@kernel()
def _fill(value: Any, y: Any) -> None:
    word = value[0]
    for i in range(y.size):
        y[i] = word


def launch_fill(value: Array, y: Array) -> Launch:
    """All of y = the one element of `value`, as it is when the net runs."""
    if value.size != 1 or value.dtype != y.dtype:
        raise ShapeError(f"cannot fill {y.dtype} with {value.dtype}{shape_text(value.shape)}")
    if y.dtype == STRING:
        return launch_assign(y, value.reshape(()))
    word = _flat_bits(value)
    return by_rows(lambda part: _fill(word, part), _flat_bits(y), multiple=CHUNK)


# ---------------------------------------------------------------- columns


@kernel()
def _copy_columns(
    x: Any, x_first: int, x_width: int, y: Any, y_first: int, y_width: int, rows: int, width: int
) -> None:
    for row in range(rows):
        source = x[row * x_width + x_first : row * x_width + x_first + width]
        target = y[row * y_width + y_first : row * y_width + y_first + width]
        for i in range(width):
            target[i] = source[i]


_form(_copy_columns, "COPY_COLUMNS")


def _wide(arrays: Sequence[Array], *places: int) -> tuple[int, Any]:
    """How many elements make a word of a device, and its type: places are at whole words."""
    size = arrays[0].itemsize
    found = math.gcd(8 // size, *places)
    if isinstance(arrays[0], np.ndarray) or any(a.ctypes.data % (found * size) for a in arrays):
        found = 1
    return found, _BITS[found * size]


def launch_copy_columns(x: Array, x_first: int, y: Array, y_first: int, width: int) -> Launch:
    """y[:, y_first : y_first + width] = x[:, x_first : x_first + width], for matrices."""
    inside = 0 <= x_first <= x.shape[1] - width and 0 <= y_first <= y.shape[1] - width
    if not inside or width < 0 or x.shape[0] != y.shape[0] or x.dtype != y.dtype:
        raise ShapeError(
            f"cannot copy columns {x_first} to {x_first + width} of {shape_text(x.shape)} "
            f"to columns from {y_first} of {shape_text(y.shape)}"
        )
    if x.dtype == STRING:
        target, source = y[:, y_first : y_first + width], x[:, x_first : x_first + width]
        return launch_assign(target, source)

    if len(y) == 1 and not isinstance(y, np.ndarray):
        return launch_copy(x[0, x_first : x_first + width], y[0, y_first : y_first + width])
    n, word = _wide([x, y], x_first, x.shape[1], y_first, y.shape[1], width)

    def part(first: int, end: int) -> Launch:
        source, target = (bits(a[first:end]).reshape(-1).view(word) for a in (x, y))
        sides = (source, x_first // n, x.shape[1] // n, target, y_first // n, y.shape[1] // n)
        return _copy_columns(*sides, end - first, width // n)

    work = 2 * moving(y) * width / max(y.shape[1], 1)
    return divisible(len(y), work, part)


# ---------------------------------------------------------------- other orders of the axes


@kernel()
def _copy_rows(
    x: Any, y: Any, sizes: Any, steps: Any, count: int, step: int, width: int, first: int, end: int
) -> None:
    """Rows of `width` neighbours; `count` of them `step` apart, within the outer axes.

    The rows `first` to `end` of y are copied.
    """
    for block in range(first // count, -(-end // count)):
        rest = block
        start = 0
        for axis in range(sizes.size - 1, -1, -1):
            start += rest % sizes[axis] * steps[axis]
            rest = rest // sizes[axis]
        for row in range(max(first - block * count, 0), min(end - block * count, count)):
            at = (block * count + row) * width
            source = x[start + row * step : start + row * step + width]
            target = y[at : at + width]
            for i in range(width):
                target[i] = source[i]


_form(_copy_rows, "COPY_ROWS")


@kernel()
def _copy_tiles(
    x: Any, y: Any, sizes: Any, x_steps: Any, y_steps: Any, square: Any, tile: int
) -> None:
    """Transpositions of [wide, tall] to [tall, wide], one for each place of the outer axes.

    `square` holds tall, y_step, wide, x_step: x[j, i] is at j * x_step + i, y[i, j] at
    i * y_step + j; then which of the outer places are done, and which rows of their results.
    """
    y_step, wide, x_step = square[1], square[2], square[3]
    for block in range(square[4], square[5]):
        rest = block
        from_x = 0
        from_y = 0
        for axis in range(sizes.size - 1, -1, -1):
            from_x += rest % sizes[axis] * x_steps[axis]
            from_y += rest % sizes[axis] * y_steps[axis]
            rest = rest // sizes[axis]
        for top in range(square[6], square[7], _TALL):
            for left in range(0, wide, tile):
                right = min(left + tile, wide)
                for i in range(top, min(top + _TALL, square[7])):
                    target = y[from_y + i * y_step + left : from_y + i * y_step + right]
                    source = from_x + i + left * x_step
                    for j in range(right - left):
                        target[j] = x[source + j * x_step]


@kernel()
def _copy_squares(
    x: Any, y: Any, sizes: Any, x_steps: Any, y_steps: Any, square: Any, tile: int
) -> None:
    """As `_copy_tiles`, by squares in registers: a vector of either side at a time."""
    tall, y_step, wide, x_step = square[0], square[1], square[2], square[3]
    side = lanes(x)
    for block in range(square[4], square[5]):
        rest = block
        from_x = 0
        from_y = 0
        for axis in range(sizes.size - 1, -1, -1):
            from_x += rest % sizes[axis] * x_steps[axis]
            from_y += rest % sizes[axis] * y_steps[axis]
            rest = rest // sizes[axis]
        for top in range(square[6], square[7], _SQUARES_TALL):
            for left in range(0, wide, tile):
                for row in range(top, min(top + _SQUARES_TALL, square[7]), side):
                    i = min(row, tall - side)  # the last squares overlap the ones before them
                    for column in range(left, min(left + tile, wide), side):
                        j = min(column, wide - side)
                        x_at, y_at = from_x + j * x_step + i, from_y + i * y_step + j
                        flip(x, x_at, x_step, y, y_at, y_step)


_form(_copy_tiles, "COPY_TILES")
_form(_copy_squares, "COPY_TILES")


@kernel()
def _part_threes(x: Any, y: Any, start: int, end: int) -> None:
    """x (blocks, n, 3) to y (blocks, 3, n): pixels to planes; literal steps become shuffles.

    Those from `start` to `end` of each block.
    """
    for b in range(y.shape[0]):
        source = x[b, 3 * start : 3 * end]
        first, second, third = y[b, 0, start:end], y[b, 1, start:end], y[b, 2, start:end]
        for i in range(first.size):
            first[i] = source[3 * i]
            second[i] = source[3 * i + 1]
            third[i] = source[3 * i + 2]


@kernel()
def _join_threes(x: Any, y: Any, start: int, end: int) -> None:
    """x (blocks, 3, n) to y (blocks, n, 3): planes to pixels, those from `start` to `end`."""
    for b in range(x.shape[0]):
        first, second, third = x[b, 0, start:end], x[b, 1, start:end], x[b, 2, start:end]
        target = y[b, 3 * start : 3 * end]
        for i in range(first.size):
            target[3 * i] = first[i]
            target[3 * i + 1] = second[i]
            target[3 * i + 2] = third[i]


def _launch_threes(x: Array, y: Array, sizes: Sequence[int], near: int) -> Launch | None:
    """Images of three colours, in whole blocks: from or to pixels, if it is that."""
    *_, first, second = sizes
    if near != len(sizes) - 2 or 3 not in (first, second):
        return None
    blocks = x.size // (first * second)
    count = second if first == 3 else first
    pixels, planes = (blocks, 3 * count), (blocks, 3, count)

    def part(start: int, end: int) -> Launch:
        if first == 3:
            return _part_threes(x.reshape(pixels), y.reshape(planes), start, end)
        return _join_threes(x.reshape(planes), y.reshape(pixels), start, end)

    return divisible(count, moving(x, y), part, _WIDE)


def launch_transpose(x: Array, axes: Sequence[int], y: Array) -> Launch:
    """y = x with its axes in the order `axes`, a permutation; y has the size of x."""
    _require_copy(x, y)
    if sorted(axes) != list(range(x.ndim)):
        raise ShapeError(f"axes {list(axes)} do not order {x.ndim} axes")
    if x.dtype == STRING:
        return launch_assign(y, x.transpose(axes))
    walk = _walk(x.shape, axes)
    if x.size == 0 or len(walk) < 2:
        return launch_copy(x, y)
    sizes = [size for size, _ in walk]
    steps = [step for _, step in walk]
    flat_x, flat_y = _flat_bits(x), _flat_bits(y)
    if steps[-1] == 1:
        rows = (_ints(sizes[:-2]), _ints(steps[:-2]), sizes[-2], steps[-2], sizes[-1])

        def part(first: int, end: int) -> Launch:
            return _copy_rows(flat_x, flat_y, *rows, first, end)

        return divisible(y.size // sizes[-1], moving(x, y), part)
    near = steps.index(1)  # the axis along which x is read without gaps
    y_steps = [math.prod(sizes[k + 1 :]) for k in range(len(sizes))]
    threes = _launch_threes(flat_x, flat_y, sizes, near) if _in_blocks(walk) else None
    if threes is not None:
        return threes
    outer_axes = [k for k in range(len(sizes) - 1) if k != near]
    lists = [[values[k] for k in outer_axes] for values in (sizes, steps, y_steps)]
    square = [sizes[near], y_steps[near], sizes[-1], steps[-1]]
    if x.itemsize in (4, 8) and min(sizes[near], sizes[-1]) >= vector_lanes(x.dtype):
        return _in_squares(_copy_squares, (flat_x, flat_y, *map(_ints, lists)), square, _WIDE)
    tile = _NARROW if steps[-1] * x.itemsize % _PAGE == 0 else _WIDE
    return _in_squares(_copy_tiles, (flat_x, flat_y, *map(_ints, lists)), square, tile)


def _in_squares(
    copy: Callable[..., Launch], arrays: Sequence[Array], square: Sequence[int], tile: int
) -> Launch:
    """Transpositions of squares, in parts: some of them, or some rows of each if they are few."""
    tall, _, wide, _ = square
    blocks = arrays[0].size // (tall * wide)

    def some(first: int, end: int) -> Launch:
        return copy(*arrays, _ints([*square, first, end, 0, tall]), tile)

    def some_rows(first: int, end: int) -> Launch:
        return copy(*arrays, _ints([*square, 0, blocks, first, end]), tile)

    work = 2 * moving(*arrays[:2])
    if blocks < _MANY:
        return divisible(tall, work, some_rows, _SQUARES_TALL)
    return divisible(blocks, work, some)


def _in_blocks(walk: Sequence[tuple[int, int]]) -> bool:
    """Whether only the last two axes of a walk are exchanged, the others in order before them."""
    *outer, (high, low_step), (wide, wide_step) = walk
    if (low_step, wide_step) != (1, high):
        return False
    return not outer or (len(outer) == 1 and outer[0][1] == high * wide)


def _ints(values: Sequence[int]) -> Array:
    return np.array(values, np.int64)


def _walk(shape: Sequence[int], axes: Sequence[int]) -> list[tuple[int, int]]:
    """The axes of the result as (size, step in the source); those walked as one are joined."""
    steps = [math.prod(shape[k + 1 :]) for k in range(len(shape))]
    walk: list[tuple[int, int]] = []
    for axis in axes:
        size, step = shape[axis], steps[axis]
        if size == 1:
            continue
        if walk and walk[-1][1] == size * step:
            walk[-1] = (walk[-1][0] * size, step)
        else:
            walk.append((size, step))
    return walk


# ---------------------------------------------------------------- repeated


@kernel()
def _copy_repeated(
    x: Any, y: Any, sizes: Any, steps: Any, width: int, step: int, first: int
) -> None:
    """Rows of `width` elements of y; along them x stands still (`step` 0) or goes on (1).

    y begins with the row `first`.
    """
    for row in range(y.size // width):
        rest = first + row
        start = 0
        for axis in range(sizes.size - 1, -1, -1):
            start += rest % sizes[axis] * steps[axis]
            rest = rest // sizes[axis]
        target = y[row * width : (row + 1) * width]
        if step == 0:
            value = x[start]
            for i in range(width):
                target[i] = value
        else:
            source = x[start : start + width]
            for i in range(width):
                target[i] = source[i]


_form(_copy_repeated, "COPY_REPEATED")


_copy_repeated.form_from("copies", "copy_repeated")


def launch_expand(x: Array, y: Array) -> Launch:
    """y = x repeated along the axes where it has one element or none, as numpy broadcasts."""
    if x.dtype != y.dtype:
        raise ShapeError(f"cannot repeat {x.dtype} as {y.dtype}")
    if x.dtype == STRING:
        return launch_assign(y, np.broadcast_to(x, y.shape))
    walk = _walk_repeated(x.shape, y.shape)
    if x.size == y.size:
        return launch_copy(x, y)
    *outer, (width, step) = walk
    if not outer and step == 0 and x.size:
        return launch_fill(x.reshape(-1)[:1], y)
    width = max(width, 1)
    walked = (_ints([n for n, _ in outer]), _ints([s for _, s in outer]), width, step)
    source, rows = _flat_bits(x), bits(y).reshape(y.size // width, width)

    def part(first: int, end: int) -> Launch:
        return _copy_repeated(source, rows[first:end].reshape(-1), *walked, first)

    return divisible(len(rows), moving(y), part)


def _walk_repeated(small: Sequence[int], shape: Sequence[int]) -> list[tuple[int, int]]:
    """The axes of a shape as (size, step in an array of shape `small`), joined where they can be.

    The step is 0 along axes that repeat the array.
    """
    padded = [1] * (len(shape) - len(small)) + list(small)
    walk: list[tuple[int, int]] = []
    for axis, size in enumerate(shape):
        step = math.prod(padded[axis + 1 :]) if padded[axis] == size else 0
        if size == 1:
            continue
        if walk and walk[-1][1] == size * step:
            walk[-1] = (walk[-1][0] * size, step)
        else:
            walk.append((size, step))
    return walk or [(1, 1)]


def launch_reshaped(call: Call) -> list[Launch]:
    """Output 0 has the elements of input 0 in another shape; in place, they stay where they are."""
    x, y = call.inputs[0], call.outputs[0]
    if call.value(0).array is not y:
        return [launch_copy(x, y)]
    if x.ctypes.data != y.ctypes.data:  # sizing the output has moved it: back to where the input is
        call.share(0, x.reshape(y.shape))
    return []
