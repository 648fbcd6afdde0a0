"""Blocks of matrix products that fit the caches: panels for the register tile, strips, small tiles.

Every function here is for kernels to call.
"""

from __future__ import annotations

from caffe2py.kernels.vector import (
    VECTORS,
    lanes,
    lines,
    tile0,
    tile1,
    tile2,
    tile3,
    turn_lanes,
    turn_lines,
)

#: A sum is taken DEEP terms at a time, for TALL rows and WIDE columns: the DEEP rows of a strip of
#: B, at most 36 KiB, stay in or near the first-level cache while the panels of a block of A (TALL
#: x DEEP, 288 KiB of float32) pass by from the second, and a block of B comes from the third.
DEEP = 192
TALL = 384
WIDE = 3072

#: Rows and columns of the tile for sums along contiguous rows of both operands.
SQUARE = 4

#: A column by itself costs about a fifth of a strip; images of 7 x 7 are three vectors and one.
MOST_SINGLE = 2

#: What a product starts from: zero, what C holds, a bias of each row or of each column.
ZERO, KEEP, PER_ROW, PER_COLUMN = range(4)


def up(p, q):
    """p / q rounded up."""
    return -(-p // q)


def pack(x, at, across, along, count, deep, width, panels, to):
    """panels[p, k, i] = x[(p * width + i) * across + k * along]; 0 from `count` on."""
    for first in range(0, count, width):
        here = min(width, count - first)
        base = at + first * across
        if here < width:
            for q in range(deep * width):
                panels[to + q] = 0
        if across == 1:
            for k in range(deep):
                source = x[base + k * along : base + k * along + here]
                target = panels[to + k * width : to + k * width + here]
                for i in range(here):
                    target[i] = source[i]
        elif along == 1:
            _pack_turned(x, base, across, here, deep, width, panels, to)
        else:
            for i in range(here):
                start = base + i * across
                for k in range(deep):
                    panels[to + k * width + i] = x[start + k * along]
        to += deep * width


def _pack_turned(x, at, across, count, deep, width, panels, to):
    """panels[to + k * width + i] = x[at + i * across + k], squares of vectors first."""
    by_lines = width == lines()
    side = lines() if by_lines else lanes(x)
    blocks, whole = deep // side, count // side * side
    for i in range(0, whole, side):
        if by_lines:
            turn_lines(x, at + i * across, across, panels, to + i, width, blocks)
        else:
            turn_lanes(x, at + i * across, across, panels, to + i, width, blocks)
    for i in range(count):
        row = x[at + i * across : at + i * across + deep]
        for k in range(blocks * side if i < whole else 0, deep):
            panels[to + k * width + i] = row[k]


def single_columns(columns, lane_count):
    """How many columns at the end are cheaper one by one than as a vector of their own."""
    left = columns % lane_count
    return left if left <= MOST_SINGLE and columns > lane_count else 0


def strip_width(columns, lane_count):
    """Columns of a strip: up to three vectors, as equal as can be."""
    vectors = max(1, up(columns - single_columns(columns, lane_count), lane_count))
    return up(vectors, up(vectors, VECTORS)) * lane_count


def outer_block(
    a, a_at, b, b_at, b_walk, b_step, strip, c, c_at, c_step,
    base, base_at, base_walk, base_step, bias, bias_at, bias_step, low, rows, deep, width,
):  # fmt: skip
    """c[r, j] = max(low, sum of a[k, r] * b[k, j] + base[r, j] + bias[r]), deep >= 1.

    `a` are packed panels. b steps by `b_step` from term to term, and column j of a strip's begin
    lies at `j * b_walk`: 1 where b is read in place, `deep` where it is packed in strips.
    """
    single = single_columns(width, lanes(c))
    for j in range(0, width - single, strip):
        span = min(strip, width - single - j)
        vectors = up(span, lanes(c))
        b_here, c_here, base_here = b_at + j * b_walk, c_at + j, base_at + j * base_walk
        for r in range(0, rows, lines()):
            here = min(lines(), rows - r)
            if vectors == 3:
                tile3(
                    deep, a, a_at + r * deep, b, b_here, b_step, c, c_here + r * c_step, c_step,
                    base, base_here + r * base_step, base_step,
                    bias, bias_at + r * bias_step, bias_step, low, here, span,
                )  # fmt: skip
            elif vectors == 2:
                tile2(
                    deep, a, a_at + r * deep, b, b_here, b_step, c, c_here + r * c_step, c_step,
                    base, base_here + r * base_step, base_step,
                    bias, bias_at + r * bias_step, bias_step, low, here, span,
                )  # fmt: skip
            else:
                tile1(
                    deep, a, a_at + r * deep, b, b_here, b_step, c, c_here + r * c_step, c_step,
                    base, base_here + r * base_step, base_step,
                    bias, bias_at + r * bias_step, bias_step, low, here, span,
                )  # fmt: skip
    for j in range(width - single, width):
        b_here = b_at + j // strip * strip * b_walk + j % strip
        for r in range(0, rows, lines()):
            tile0(
                deep, a, a_at + r * deep, b, b_here, b_step,
                c, c_at + j + r * c_step, c_step,
                base, base_at + j * base_walk + r * base_step, base_step,
                bias, bias_at + r * bias_step, bias_step, low, min(lines(), rows - r), 1,
            )  # fmt: skip


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


def _inner_row(a, at, b, b_at, first, second, third, deep, tile):
    """As `_inner_tile`, for a single row of a."""
    line = a[at : at + deep]
    b0 = b[b_at : b_at + deep]
    b1 = b[b_at + first : b_at + first + deep]
    b2 = b[b_at + second : b_at + second + deep]
    b3 = b[b_at + third : b_at + third + deep]
    s0 = s1 = s2 = s3 = a.dtype.type(0)
    for k in range(deep):
        x = line[k]
        s0, s1, s2, s3 = s0 + x * b0[k], s1 + x * b1[k], s2 + x * b2[k], s3 + x * b3[k]
    tile[0], tile[1], tile[2], tile[3] = s0, s1, s2, s3


def inner_block(a, a_at, a_row, b, b_at, b_row, c, c_at, c_row, rows, columns, deep, tile):
    """c[r, s] += sum of a[r, k] * b[s, k]; a and b step by rows."""
    for r in range(0, rows, SQUARE):
        high = min(SQUARE, rows - r)
        one, two, three = min(1, high - 1), min(2, high - 1), high - 1
        for s in range(0, columns, SQUARE):
            wide = min(SQUARE, columns - s)
            first, second, third = min(1, wide - 1), min(2, wide - 1), wide - 1
            if high == 1:
                _inner_row(
                    a, a_at + r * a_row, b, b_at + s * b_row, first * b_row, second * b_row,
                    third * b_row, deep, tile,
                )  # fmt: skip
            else:
                _inner_tile(
                    a, a_at + r * a_row, one * a_row, two * a_row, three * a_row,
                    b, b_at + s * b_row, first * b_row, second * b_row, third * b_row, deep, tile,
                )  # fmt: skip
            for i in range(high):
                at = c_at + (r + i) * c_row + s
                for j in range(wide):
                    c[at + j] += tile[SQUARE * i + j]
