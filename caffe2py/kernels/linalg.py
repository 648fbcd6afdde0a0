"""Matrix products: two register tiles, blocks of them that fit the caches, and whole products.

Both tiles read their operands where they lie, so nothing is packed or transposed:

- the outer tile adds rows of B, scaled by elements of A, to four rows of C; B's rows are contiguous
- the inner tile multiplies four rows of A with four rows of B; both are contiguous along the sum

The order of every sum depends on the shapes alone.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from caffe2py.errors import ShapeError
from caffe2py.kernels.jit import kernel
from caffe2py.registry.context import Call, Launch
from caffe2py.tensor.tensor import Array
from caffe2py.tensor.types import shape_text

#: A block has WIDE columns and a sum is taken DEEP terms at a time: four rows of C and B stay in
#: the first-level cache, a block of B in the second.
WIDE = 512
DEEP = 256

#: Rows of a tile.
LINES = 4

#: What a product starts from: zero, what C holds, a bias of each row or of each column.
ZERO, KEEP, PER_ROW, PER_COLUMN = range(4)


# ---------------------------------------------------------------- the tiles


def _outer_tile(a, at, one, two, three, a_deep, b, b_at, b_row, deep, width, tile):
    """tile[r, j] += sum of a[r, k] * b[k, j]; the rows of a begin at `at` and 1, 2, 3 offsets."""
    whole = deep - deep % 4
    for k in range(0, whole, 4):
        p = at + k * a_deep
        a00, a01, a02, a03 = a[p], a[p + a_deep], a[p + 2 * a_deep], a[p + 3 * a_deep]
        p = at + one + k * a_deep
        a10, a11, a12, a13 = a[p], a[p + a_deep], a[p + 2 * a_deep], a[p + 3 * a_deep]
        p = at + two + k * a_deep
        a20, a21, a22, a23 = a[p], a[p + a_deep], a[p + 2 * a_deep], a[p + 3 * a_deep]
        p = at + three + k * a_deep
        a30, a31, a32, a33 = a[p], a[p + a_deep], a[p + 2 * a_deep], a[p + 3 * a_deep]
        q = b_at + k * b_row
        b0 = b[q : q + width]
        b1 = b[q + b_row : q + b_row + width]
        b2 = b[q + 2 * b_row : q + 2 * b_row + width]
        b3 = b[q + 3 * b_row : q + 3 * b_row + width]
        for j in range(width):
            x, y, z, w = b0[j], b1[j], b2[j], b3[j]
            tile[j] = tile[j] + a00 * x + a01 * y + a02 * z + a03 * w
            tile[WIDE + j] = tile[WIDE + j] + a10 * x + a11 * y + a12 * z + a13 * w
            tile[2 * WIDE + j] = tile[2 * WIDE + j] + a20 * x + a21 * y + a22 * z + a23 * w
            tile[3 * WIDE + j] = tile[3 * WIDE + j] + a30 * x + a31 * y + a32 * z + a33 * w
    for k in range(whole, deep):
        p = at + k * a_deep
        a00, a10, a20, a30 = a[p], a[p + one], a[p + two], a[p + three]
        b0 = b[b_at + k * b_row : b_at + k * b_row + width]
        for j in range(width):
            x = b0[j]
            tile[j] = tile[j] + a00 * x
            tile[WIDE + j] = tile[WIDE + j] + a10 * x
            tile[2 * WIDE + j] = tile[2 * WIDE + j] + a20 * x
            tile[3 * WIDE + j] = tile[3 * WIDE + j] + a30 * x


def _inner_tile(a, at, one, two, three, b, b_at, first, second, third, deep, tile):
    """tile[r, s] = sum of a[r, k] * b[s, k]; rows begin at `at` and offsets, in both."""
    a0 = a[at : at + deep]
    a1 = a[at + one : at + one + deep]
    a2 = a[at + two : at + two + deep]
    a3 = a[at + three : at + three + deep]
    b0 = b[b_at : b_at + deep]
    b1 = b[b_at + first : b_at + first + deep]
    b2 = b[b_at + second : b_at + second + deep]
    b3 = b[b_at + third : b_at + third + deep]
    s00 = s01 = s02 = s03 = s10 = s11 = s12 = s13 = a.dtype.type(0)
    s20 = s21 = s22 = s23 = s30 = s31 = s32 = s33 = a.dtype.type(0)
    for k in range(deep):
        x0, x1, x2, x3 = a0[k], a1[k], a2[k], a3[k]
        y0, y1, y2, y3 = b0[k], b1[k], b2[k], b3[k]
        s00, s01, s02, s03 = s00 + x0 * y0, s01 + x0 * y1, s02 + x0 * y2, s03 + x0 * y3
        s10, s11, s12, s13 = s10 + x1 * y0, s11 + x1 * y1, s12 + x1 * y2, s13 + x1 * y3
        s20, s21, s22, s23 = s20 + x2 * y0, s21 + x2 * y1, s22 + x2 * y2, s23 + x2 * y3
        s30, s31, s32, s33 = s30 + x3 * y0, s31 + x3 * y1, s32 + x3 * y2, s33 + x3 * y3
    tile[0], tile[1], tile[2], tile[3] = s00, s01, s02, s03
    tile[4], tile[5], tile[6], tile[7] = s10, s11, s12, s13
    tile[8], tile[9], tile[10], tile[11] = s20, s21, s22, s23
    tile[12], tile[13], tile[14], tile[15] = s30, s31, s32, s33


# ---------------------------------------------------------------- blocks, for kernels to call


def begin(c, at, row, rows, width, start, bias, row_at, column_at):
    """c[r, j] = 0, itself, bias[row_at + r] or bias[column_at + j], as `start` says."""
    for r in range(rows if start != KEEP else 0):
        line = c[at + r * row : at + r * row + width]
        if start == PER_COLUMN:
            for j in range(width):
                line[j] = bias[column_at + j]
        else:
            value = bias[row_at + r] if start == PER_ROW else c.dtype.type(0)
            for j in range(width):
                line[j] = value


def outer_block(
    a, a_at, a_row, a_deep, b, b_at, b_row, c, c_at, c_row, rows, deep, width, span, tile
):
    """c[r, j] += sum of a[r, k] * b[k, j] for a block of at most WIDE columns.

    a steps by `a_row` and `a_deep`, b and c by rows only. `span` >= `width` columns are computed,
    and may be a multiple of the vector width where b has that many.
    """
    for r in range(0, rows, LINES):
        here = min(LINES, rows - r)
        # a block is summed by itself: terms added to a large total would lose digits
        for s in range(LINES):
            for j in range(span):
                tile[s * WIDE + j] = 0
        # a row beyond the last is the last again, and its results are not kept
        one, two, three = min(1, here - 1), min(2, here - 1), here - 1
        _outer_tile(
            a, a_at + r * a_row, one * a_row, two * a_row, three * a_row, a_deep,
            b, b_at, b_row, deep, span, tile,
        )  # fmt: skip
        for s in range(here):
            line = c[c_at + (r + s) * c_row : c_at + (r + s) * c_row + width]
            for j in range(width):
                line[j] += tile[s * WIDE + j]


def inner_block(a, a_at, a_row, b, b_at, b_row, c, c_at, c_row, rows, columns, deep, tile):
    """c[r, s] += sum of a[r, k] * b[s, k]; a and b step by rows."""
    for r in range(0, rows, LINES):
        high = min(LINES, rows - r)
        one, two, three = min(1, high - 1), min(2, high - 1), high - 1
        for s in range(0, columns, LINES):
            wide = min(LINES, columns - s)
            first, second, third = min(1, wide - 1), min(2, wide - 1), wide - 1
            _inner_tile(
                a, a_at + r * a_row, one * a_row, two * a_row, three * a_row,
                b, b_at + s * b_row, first * b_row, second * b_row, third * b_row, deep, tile,
            )  # fmt: skip
            for i in range(high):
                at = c_at + (r + i) * c_row + s
                for j in range(wide):
                    c[at + j] += tile[LINES * i + j]


# ---------------------------------------------------------------- whole products


@kernel("contract")
def _outer_product(a, b, c, bias, tile, size, steps, start):
    """c[n] = a[n] b[n] for n < size[0]; b's rows are contiguous, a's elements step freely."""
    batch, rows, columns, deep = size[0], size[1], size[2], size[3]
    a_batch, b_batch, c_batch, a_row, a_deep = steps[0], steps[1], steps[2], steps[3], steps[4]
    for n in range(batch):
        for j in range(0, columns, WIDE):
            width = min(WIDE, columns - j)
            at = n * c_batch + j
            if n == 0 or c_batch > 0:
                begin(c, at, columns, rows, width, start, bias, 0, j)
            for k in range(0, deep, DEEP):
                outer_block(
                    a, n * a_batch + k * a_deep, a_row, a_deep,
                    b, n * b_batch + k * columns + j, columns,
                    c, at, columns, rows, min(DEEP, deep - k), width, width, tile,
                )  # fmt: skip


@kernel("contract", "reassoc")
def _inner_product(a, b, c, bias, tile, size, steps, start):
    """c[n] = a[n] b[n]^T for n < size[0]; rows of a and b are contiguous."""
    batch, rows, columns, deep = size[0], size[1], size[2], size[3]
    a_batch, b_batch, c_batch = steps[0], steps[1], steps[2]
    # few rows read b once, which is fastest from begin to end
    most = WIDE if rows > LINES else max(deep, 1)
    for n in range(batch):
        if n == 0 or c_batch > 0:
            begin(c, n * c_batch, columns, rows, columns, start, bias, 0, 0)
        for j in range(0, columns, DEEP):
            width = min(DEEP, columns - j)
            for k in range(0, deep, most):
                inner_block(
                    a, n * a_batch + k, deep, b, n * b_batch + j * deep + k, deep,
                    c, n * c_batch + j, columns, rows, width, min(most, deep - k), tile,
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
    return _transpose(x, y)


def new_tile(call: Call, dtype: Any) -> Array:
    """The scratch that blocks need; launches that run one after the other can share it."""
    return call.scratch((LINES * WIDE,), dtype)


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
) -> list[Launch]:
    """c = op(a) op(b), + bias of its columns (or rows: `bias_of=PER_ROW`), or + c if `add`.

    a, b and c have two axes, or three of which the first is a batch; an operand without a batch, or
    with one of 1, is used for all, and a c without a batch is the sum over it. All have one
    floating type. c must not overlap a or b. ShapeError if the sizes do not fit.
    """
    a, b, c = (x.reshape((1,) * (3 - x.ndim) + x.shape) for x in (a, b, c))
    size = _product_size(a, b, c, transpose_a, transpose_b)
    if bias is not None and bias.size != c.shape[1 if bias_of == PER_ROW else 2]:
        raise ShapeError(f"a bias of {bias.size} for a product of {shape_text(c.shape[1:])}")
    launches = []
    if transpose_a and transpose_b:
        turned = call.scratch((a.shape[0], a.shape[2], a.shape[1]), a.dtype)
        launches.append(launch_transpose(a, turned))
        a, transpose_a = turned, False
    start = KEEP if add else ZERO if bias is None else bias_of
    product = _inner_product if transpose_b else _outer_product
    walks = [0 if x.shape[0] == 1 else x.shape[1] * x.shape[2] for x in (a, b, c)]
    steps = np.array([*walks, *((1, a.shape[2]) if transpose_a else (a.shape[2], 1))], np.int64)
    tile = new_tile(call, c.dtype)
    flat = [x.reshape(-1) for x in (a, b, c)]
    extra = tile if bias is None else bias.reshape(-1)
    launches.append(product(*flat, extra, tile, np.array(size, np.int64), steps, start))
    return launches


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
