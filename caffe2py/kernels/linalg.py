"""Whole matrix products, C = A B, on the register tile.

A block of A is repacked into panels of as many rows as a tile has; B is read where it lies if its
rows are contiguous, and repacked into strips of columns if not. Repacking moves each element once
for `columns` multiply-adds of it, or `rows`; where that is too much, with few rows and a transposed
B, both operands are contiguous along the sum, and a small square tile reads them as they are.

The order of every sum depends on the shapes and on the width of the CPU's vectors alone.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from caffe2py.errors import ShapeError
from caffe2py.kernels.block import (
    DEEP,
    KEEP,
    PER_COLUMN,
    PER_ROW,
    SQUARE,
    TALL,
    WIDE,
    ZERO,
    begin,
    inner_block,
    outer_block,
    pack,
    strip_width,
    up,
)
from caffe2py.kernels.copy import launch_transpose as launch_permuted
from caffe2py.kernels.jit import kernel
from caffe2py.kernels.parallel import MULTIPLY_ADD, parts_of, split
from caffe2py.kernels.vector import VECTORS, lanes, lines, tile_lines, vector_lanes
from caffe2py.kernels.workers import MOST_PARTS
from caffe2py.registry.context import Call, Launch
from caffe2py.tensor.late import late
from caffe2py.tensor.tensor import Array
from caffe2py.tensor.types import DType, shape_text

#: Who computes products on devices if an operator names one of these as its engine.
ENGINES = ("CUBLAS", "NUMBA")

#: Products with a transposed B and fewer rows are not worth repacking B for.
_FEW = 32

#: Nor, if it has been repacked once for all runs, with fewer than these.
_VERY_FEW = 4

#: B's rows this many bytes apart share the lines of a first-level cache.
_ALIAS = 2048

#: Entries of `size`; the last six say which matrices, rows and columns of c are computed.
(
    _BATCH, _ROWS, _COLUMNS, _TERMS, _A_READY, _B_READY, _B_PACKED, _ADDED,
    _FIRST, _END, _FIRST_ROW, _END_ROW, _FIRST_COLUMN, _END_COLUMN,
) = range(14)  # fmt: skip

#: Entries of `steps`: from one to the next matrix, row, column or term of a sum.
_A_BATCH, _B_BATCH, _C_BATCH, _A_ROW, _A_TERM, _B_COLUMN, _B_TERM = range(7)

#: A block of the square tile's operands: terms and rows.
_LONG = 512
_BROAD = 256


@kernel("contract")
def _outer_product(a, b, c, base, nothing, bias, panels, strips, size, steps, start, low):
    """c[n] = max(low, a[n] b[n] + what `start` says); `base` is zeros, or added."""
    rows, columns, terms = size[_ROWS], size[_COLUMNS], size[_TERMS]
    strip = strip_width(columns, lanes(c))
    a_across, b_across = -(-rows // lines()) * lines(), -(-columns // strip) * strip
    for n in range(size[_FIRST], size[_END]):
        fresh = n == 0 or steps[_C_BATCH] > 0
        c_start = n * steps[_C_BATCH]
        if terms == 0 and fresh:
            begin(c, c_start, columns, rows, columns, start, bias, 0, 0)
        for block in range(size[_FIRST_COLUMN] // WIDE, up(size[_END_COLUMN], WIDE)):
            j = max(block * WIDE, size[_FIRST_COLUMN])
            width = min(block * WIDE + WIDE, size[_END_COLUMN]) - j
            for k in range(0, terms, DEEP):
                deep = min(DEEP, terms - k)
                right, right_at, walk, step = b, 0, deep, strip
                if size[_B_READY]:
                    right_at = k * b_across + j * deep
                else:
                    right_at = n * steps[_B_BATCH] + j * steps[_B_COLUMN] + k * steps[_B_TERM]
                    if size[_B_PACKED]:
                        pack(
                            b, right_at, steps[_B_COLUMN], steps[_B_TERM], width, deep, strip,
                            strips, 0,
                        )  # fmt: skip
                        right, right_at = strips, 0
                    else:
                        walk, step = 1, steps[_B_TERM]
                # only the first terms start from the bias, only the last are limited
                kept = start == KEEP or k > 0 or not fresh
                added, added_walk, added_step, beside = base, 0, 0, kept
                if kept:
                    added, added_walk, added_step = c, 1, columns
                elif size[_ADDED]:
                    added_walk, added_step, beside = 1, columns, True
                elif start == PER_COLUMN:
                    added, added_walk = bias, 1
                by_row = not kept and start == PER_ROW
                limit = low if k + deep == terms else c.dtype.type(-np.inf)
                for r in range(size[_FIRST_ROW], size[_END_ROW], TALL):
                    height = min(TALL, size[_END_ROW] - r)
                    left, left_at = a, k * a_across + r * deep
                    if not size[_A_READY]:
                        left_at = n * steps[_A_BATCH] + r * steps[_A_ROW] + k * steps[_A_TERM]
                        pack(
                            a, left_at, steps[_A_ROW], steps[_A_TERM], height, deep, lines(),
                            panels, 0,
                        )  # fmt: skip
                        left, left_at = panels, 0
                    at = c_start + r * columns + j
                    outer_block(
                        left, left_at, right, right_at, walk, step, strip, c, at, columns,
                        added, at if beside else j * added_walk, added_walk, added_step,
                        bias if by_row else nothing, r if by_row else 0, 1 if by_row else 0,
                        limit, height, deep, width,
                    )  # fmt: skip


@kernel("contract", "reassoc")
def _inner_product(a, b, c, base, nothing, bias, tile, strips, size, steps, start, low):
    """The same where rows of a, and of b as columns, are contiguous along the sum."""
    batch, columns, terms = size[_BATCH], size[_COLUMNS], size[_TERMS]
    first, height = size[_FIRST_ROW], size[_END_ROW] - size[_FIRST_ROW]
    left, across = size[_FIRST_COLUMN], size[_END_COLUMN] - size[_FIRST_COLUMN]
    # few rows read b once, which is fastest from begin to end
    most = _LONG if size[_ROWS] > SQUARE else max(terms, 1)
    for n in range(size[_FIRST], size[_END]):
        c_start = n * steps[_C_BATCH] + first * columns + left
        if n == 0 or steps[_C_BATCH] > 0:
            begin(c, c_start, columns, height, across, start, bias, first, left)
        for j in range(0, across, _BROAD):
            width = min(_BROAD, across - j)
            for k in range(0, terms, most):
                inner_block(
                    a, n * steps[_A_BATCH] + first * terms + k, terms,
                    b, n * steps[_B_BATCH] + (left + j) * terms + k, terms,
                    c, c_start + j, columns, height, width, min(most, terms - k), tile,
                )  # fmt: skip
        if n == batch - 1 or steps[_C_BATCH] > 0:
            for r in range(height):
                line = c[c_start + r * columns : c_start + r * columns + across]
                for i in range(line.size):
                    line[i] = low if line[i] < low else line[i]


@kernel()
def _pack(x, panels, across, along, count, terms, width, matrices):
    """The panels of matrices, one after the other: DEEP terms of every panel, then the next."""
    whole = -(-count // width) * width
    for m in range(matrices):
        for k in range(0, terms, DEEP):
            pack(
                x, m * count * terms + k * along, across, along, count, min(DEEP, terms - k),
                width, panels, (m * terms + k) * whole,
            )  # fmt: skip


@kernel()
def _transpose(x, y):
    """y[n, j, i] = x[n, i, j], a square of a cache line's width at a time."""
    batch, rows, columns = x.shape
    for n in range(batch):
        for i in range(0, rows, 16):
            for j in range(0, columns, 16):
                for q in range(j, min(j + 16, columns)):
                    for p in range(i, min(i + 16, rows)):
                        y[n, q, p] = x[n, p, q]


def launch_transpose(x: Array, y: Array) -> Launch:
    """y[n, j, i] = x[n, i, j]; ShapeError if the shapes do not say so."""
    if x.ndim != 3 or y.shape != (x.shape[0], x.shape[2], x.shape[1]):
        raise ShapeError(f"{shape_text(x.shape)} transposed is not {shape_text(y.shape)}")
    if not isinstance(y, np.ndarray):
        return launch_permuted(x, (0, 2, 1), y)
    return _transpose(x, y)


def new_tile(call: Call, dtype: Any) -> Array:
    """The scratch that inner blocks need; launches that run one after the other can share it."""
    return call.scratch((SQUARE * SQUARE,), dtype, brief=True)


def nothing(call: Call, dtype: Any) -> Array:
    """A strip of zeros, for tiles that start from nothing."""
    zeros = call.scratch((VECTORS * vector_lanes(dtype),), dtype)
    zeros.fill(0)
    return zeros


def new_panels(call: Call, rows: int, terms: int, dtype: Any) -> Array:
    """Scratch for the panels of a block of A."""
    height = -(-min(rows, TALL) // tile_lines()) * tile_lines()
    return call.scratch((height * min(terms, DEEP),), dtype, brief=True)


def pack_left(
    call: Call, a: Array, *, transpose: bool = False, steady: bool = False
) -> tuple[Array, list[Launch]]:
    """Left operands (matrices, rows, terms) as panels, and the launches that fill these.

    `transpose`: they are (matrices, terms, rows). `steady`: they keep their contents until there is
    another plan, so they are packed here and now.
    """
    count, terms = (a.shape[2], a.shape[1]) if transpose else a.shape[1:]
    return _packed(call, a, count, terms, tile_lines(), transpose, steady)


def pack_right(
    call: Call, b: Array, *, transpose: bool = False, steady: bool = False
) -> tuple[Array, list[Launch]]:
    """Right operands (matrices, terms, columns) as strips; as `pack_left` otherwise."""
    count, terms = (b.shape[1], b.shape[2]) if transpose else b.shape[:0:-1]
    return _packed(
        call, b, count, terms, strip_width(count, vector_lanes(b.dtype)), not transpose, steady
    )


def _packed(
    call: Call, x: Array, count: int, terms: int, width: int, turned: bool, steady: bool
) -> tuple[Array, list[Launch]]:
    size = len(x) * packed_size(count, terms, width)
    across, along = (1, count) if turned else (terms, 1)

    def fill(panels: Array) -> Launch:
        return _pack(x.reshape(-1), panels, across, along, count, terms, width, len(x))

    if not steady:
        panels = call.scratch((size,), x.dtype, brief=True)
        return panels, [fill(panels)]
    key = "panels", x.ctypes.data, x.shape, x.dtype.str, across, along, width
    return call.prepare(key, size, x.dtype, fill), []


def packed_size(count: int, terms: int, width: int) -> int:
    """Elements of all panels of `width` for that many rows (or columns)."""
    return -(-count // width) * width * terms


def launch_product(
    call: Call,
    a: Array,
    b: Array,
    c: Array,
    *,
    transpose_a: bool = False,
    transpose_b: bool = False,
    bias: Array | None = None,
    bias_of: int = PER_COLUMN,
    add: bool = False,
    low: float = -np.inf,
    steady: str = "",
    added: Array | None = None,
) -> list[Launch]:
    """c = op(a) op(b), + bias of its columns (or rows: `bias_of=PER_ROW`), or + c if `add`.

    a, b and c have two axes, or three of which the first is a batch; an operand without a batch, or
    with one of 1, is used for all, and a c without a batch is the sum over it. All have one
    floating type. Results are at least `low`. `steady` is "a" or "b" where that operand keeps its
    contents until there is another plan. `added` has c's size and is added too; that needs a B that
    is not transposed, more than one column, and no bias of columns. c must not overlap a or b.
    ShapeError if the sizes do not fit.
    """
    a, b, c = (x.reshape((1,) * (3 - x.ndim) + x.shape) for x in (a, b, c))
    batch, rows, columns, terms = _product_size(a, b, c, transpose_a, transpose_b)
    if bias is not None and bias.size != c.shape[1 if bias_of == PER_ROW else 2]:
        raise ShapeError(f"a bias of {bias.size} for a product of {shape_text(c.shape[1:])}")
    start = KEEP if add else ZERO if bias is None else bias_of
    if not isinstance(c, np.ndarray):
        launch = late("kernels.cuda.products", "launch_product")
        size = batch, rows, columns, terms
        turned = transpose_a, transpose_b
        on_device: list[Launch] = launch(call, a, b, c, size, turned, bias, start, added, low)
        return on_device
    walks = [0 if x.shape[0] == 1 else x.shape[1] * x.shape[2] for x in (a, b, c)]
    transpose_b = transpose_b or columns == 1  # then both lie alike
    steps = [*walks, *((1, rows) if transpose_a else (terms, 1))]
    steps += (terms, 1) if transpose_b else (1, columns)
    zeros, limit = nothing(call, c.dtype), c.dtype.type(low)
    base = zeros if added is None else added.reshape(-1)
    extra = zeros if bias is None else bias.reshape(-1)
    few = _FEW if steady != "b" else _VERY_FEW
    inner = transpose_b and not transpose_a and min(rows, columns) < few
    size = [batch, rows, columns, terms, False, False, False, added is not None]
    before: list[Launch] = []
    if not inner and steady == "a" and len(a) == 1:
        a, before = pack_left(call, a, transpose=transpose_a, steady=True)
        size[_A_READY] = True
    if not inner and steady == "b" and len(b) == 1:
        b, before = pack_right(call, b, transpose=transpose_b, steady=True)
        size[_B_READY] = True
    elif not inner:
        size[_B_PACKED] = transpose_b or (columns * c.itemsize % _ALIAS == 0 and rows > _FEW)
    function = _inner_product if inner else _outer_product
    flat = [x.reshape(-1) for x in (a, b, c)]
    walk = np.array(steps, np.int64)

    def part(ranges: list[int]) -> Launch:
        panels = strips = zeros
        if inner:
            panels = new_tile(call, c.dtype)
        elif not size[_A_READY]:
            panels = new_panels(call, rows, terms, c.dtype)
        if size[_B_PACKED]:
            width = strip_width(columns, vector_lanes(c.dtype))
            elements = packed_size(min(columns, WIDE), min(terms, DEEP), width)
            strips = call.scratch((elements,), c.dtype, brief=True)
        numbers = np.array([*size, *ranges], np.int64)
        return function(*flat, base, zeros, extra, panels, strips, numbers, walk, start, limit)

    return before + _shares(part, size, steps, SQUARE if inner else tile_lines(), c.dtype)


def _shares(
    part: Callable[[list[int]], Launch],
    size: Sequence[int],
    steps: Sequence[int],
    lines: int,
    dtype: DType,
) -> list[Launch]:
    """The launches of a product, for whole matrices, blocks of columns or blocks of rows."""
    batch, rows, columns, terms = size[:4]
    work = batch * rows * columns * terms * MULTIPLY_ADD * dtype.itemsize / 4
    full = [0, batch, 0, rows, 0, columns]
    parts = parts_of(work, MOST_PARTS)

    def over(axis: int, multiple: int) -> list[Launch]:
        def make(first: int, end: int) -> Launch:
            ranges = list(full)
            ranges[2 * axis : 2 * axis + 2] = first, end
            return part(ranges)

        return split(full[2 * axis + 1], work, make, multiple)

    if batch >= parts and steps[_C_BATCH] > 0:
        return over(0, 1)
    strip = strip_width(columns, vector_lanes(dtype))
    across, down = columns // strip, rows // lines
    # blocks of columns share A, whose panels are read more often; rows are cut more evenly
    return over(2, strip) if across >= min(4 * parts, down) else over(1, lines)


def _product_size(
    a: Array, b: Array, c: Array, transpose_a: bool, transpose_b: bool
) -> tuple[int, int, int, int]:
    rows, deep = a.shape[:0:-1] if transpose_a else a.shape[1:]
    inner, columns = b.shape[:0:-1] if transpose_b else b.shape[1:]
    batch = max(a.shape[0], b.shape[0], c.shape[0]) if 0 not in (a.shape[0], b.shape[0]) else 0
    fits = inner == deep and c.shape[1:] == (rows, columns)
    if not fits or any(x.shape[0] not in (1, batch) for x in (a, b, c)):
        flags = f"(transposed: {transpose_a}, {transpose_b})"
        shapes = ", ".join(shape_text(x.shape) for x in (a, b, c))
        raise ShapeError(f"a product of shapes that do not fit: a, b, c = {shapes} {flags}")
    if batch == 0 and c.shape[0] == 1:  # a sum over nothing
        return 1, rows, columns, 0
    return batch, rows, columns, deep
