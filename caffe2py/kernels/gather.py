"""Sums of rows that are looked up in a table: what kernels of embeddings are made of.

All of add_rows(x, width, indices, first, last, count, y, y_at) compute, for the `width` elements i
of a row and p in range(first, last),

    y[y_at + i] = the sum of x[indices[p], i], one row after the other

and ask early for the rows of later ones of the `count` indices. The weighted ones take weights and
w_at as well, and multiply each row by weights[w_at + p - first]. A row of bytes stands for
byte * scale + bias; its scale and bias, float32, follow its `width` bytes.

A row of 64 floats is read in four loads and added in four additions, about 4 ns; from memory it
takes some 80 ns if nobody asked for it before.
"""

from __future__ import annotations

from caffe2py.kernels.params import Intrinsic

_FILES = ("emit.py", "emit_winograd.py", "emit_rows.py", "emit_moves.py", "emit_gather.py")

add_rows = Intrinsic("add_rows", _FILES)
add_weighted_rows = Intrinsic("add_weighted_rows", _FILES)
add_byte_rows = Intrinsic("add_byte_rows", _FILES)
add_weighted_byte_rows = Intrinsic("add_weighted_byte_rows", _FILES)
