"""The register tile: the one loop that a compiler does not find by itself.

A tile is `lines()` rows by one to three vectors of C, kept in registers while a sum runs:

    C[i, j] = max(low, sum over k of A[k, i] * B[k, j] + base[i, j] + bias[i])

For each k it loads the vectors of B once and every element of A once, and does `lines() * vectors`
multiply-adds. With 64-byte vectors that is 24 for 3 + 8 loads: two multiply-adds a cycle need 0.92
loads a cycle, which the first-level cache gives, so the tile runs at the machine's peak. With 16
registers (AVX2) it is 4 x 3, with 12 for 7.

A is read as panels: `lines()` elements side by side for each k. B's rows are read where they lie.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from caffe2py.kernels.params import Intrinsic
from caffe2py.tensor.types import DType

#: A strip is at most this many vectors wide.
VECTORS = 3

#: lines() -> int: rows of a tile.
lines = Intrinsic("lines")

#: lanes(x) -> int: elements of a vector of x's type.
lanes = Intrinsic("lanes")

#: The tiles of one, two and three vectors. Arguments: deep, a, a_at, b, b_at, b_step, c, c_at,
#: c_step, base, base_at, base_step, bias, bias_at, bias_step, low, rows, width. Positions and steps
#: count elements; `rows` <= lines() and `width` elements are written, and no more of B is read;
#: deep >= 1. tile0 does one column, with the rows as lanes, and takes no notice of `width`.
tile0, tile1, tile2, tile3 = (Intrinsic(f"tile{vectors}") for vectors in range(VECTORS + 1))

_DEPTHWISE = ("emit.py", "emit_winograd.py", "emit_strip.py", "emit_depthwise.py")
_DIRECT = ("emit.py", "emit_winograd.py", "emit_strip.py", "emit_direct.py")
_UNFOLD = ("emit.py", "emit_winograd.py", "emit_strip.py", "emit_unfold.py")

#: three(x, at, high, wide, top, left, w, w_at, y, y_at, rows, columns, bias, low): a plane of
#: 3 x 3 windows, step = 1 or 2 apart. y[y_at + r * columns + j] = max(low, bias + sum of
#: w[w_at + 3 i + k] * plane[r * step - top + i, j * step - left + k]), where plane is x from `at`
#: on, high x wide, and 0 around it. five: of 5 x 5 windows.
three1, three2 = Intrinsic("three1", _DEPTHWISE), Intrinsic("three2", _DEPTHWISE)
five1, five2 = Intrinsic("five1", _DEPTHWISE), Intrinsic("five2", _DEPTHWISE)

#: directn_step(x, at, across, channels, high, wide, top, left, w, w_at, w_step, bias, bias_at, y,
#: y_at, y_step, rows, columns, low): as three, summed over channels, whose planes lie `across`
#: apart, for n filters, which lie `w_step` apart and whose results lie `y_step` apart.
direct4_1, direct4_2 = Intrinsic("direct4_1", _DIRECT), Intrinsic("direct4_2", _DIRECT)
direct8_1, direct8_2 = Intrinsic("direct8_1", _DIRECT), Intrinsic("direct8_2", _DIRECT)

#: unfold(x, at, row, high, wide, top, down, left, y, to, pitch, rows, columns): elements 1 or 2
#: apart. y[to + i * pitch + j] = plane[top + i * down, left + j * step], i < rows, j < columns,
#: where plane is x from `at` on, high x wide with its rows `row` apart, and 0 around it.
unfold1, unfold2 = Intrinsic("unfold1", _UNFOLD), Intrinsic("unfold2", _UNFOLD)

#: fold1(...): the same way back, plane[top + i * down, left + j] += y[to + i * pitch + j].
fold1 = Intrinsic("fold1", _UNFOLD)

#: turn(x, at, across, y, to, width, blocks): a matrix on its side, n rows and n * blocks columns of
#: it, where n is lanes(x) or lines(). y[to + k * width + i] = x[at + i * across + k].
turn_lanes, turn_lines = Intrinsic("turn_lanes", _UNFOLD), Intrinsic("turn_lines", _UNFOLD)


def tile_lines() -> int:
    """Rows of a tile on this CPU, as the kernels see them."""
    from caffe2py.kernels import objects  # building nets needs no LLVM

    return objects.tile_lines()


def vector_lanes(dtype: DType | Any) -> int:
    """Elements of a vector on this CPU, as the kernels see them."""
    from caffe2py.kernels import objects

    return objects.vector_bytes() // np.dtype(dtype).itemsize
