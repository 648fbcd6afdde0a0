"""The largest elements of the windows that networks use, of 2 x 2 and 3 x 3, in registers."""

from __future__ import annotations

import numpy as np

from caffe2py.kernels.jit import kernel
from caffe2py.kernels.parallel import moving, split
from caffe2py.kernels.params import Intrinsic
from caffe2py.kernels.window import BEGIN, IMAGE, KERNEL, OUT, STRIDE
from caffe2py.registry.context import Launch
from caffe2py.tensor.tensor import Array

_FILES = ("emit.py", "emit_winograd.py", "emit_strip.py", "emit_pool.py")

#: topn_step(x, at, high, wide, above, left, y, y_at, rows, columns): y[y_at + r * columns + j] is
#: the largest element, NaN if there is one, of plane[r * step - above + i, j * step - left + k] for
#: i and k below n, where plane is x from `at` on, high x wide, and -inf around it.
top2_2, top3_1, top3_2 = (Intrinsic(name, _FILES) for name in ("top2_2", "top3_1", "top3_2"))

#: Sizes and steps of windows that there is code for.
_WINDOWS = ((2, 2), (3, 1), (3, 2))


@kernel()
def _largest(x, y, table, first, end):
    """Planes `first` to `end`."""
    high, wide, above, left = table[IMAGE, 1], table[IMAGE, 2], table[BEGIN, 1], table[BEGIN, 2]
    rows, columns = table[OUT, 1], table[OUT, 2]
    for p in range(first, end):
        at, to = p * high * wide, p * rows * columns
        if table[KERNEL, 2] == 2:
            top2_2(x, at, high, wide, above, left, y, to, rows, columns)
        elif table[STRIDE, 2] == 1:
            top3_1(x, at, high, wide, above, left, y, to, rows, columns)
        else:
            top3_2(x, at, high, wide, above, left, y, to, rows, columns)


def is_square(table: Array, dtype: np.dtype) -> bool:
    """Whether there is code for a window, each of which has an element of the image."""
    size, step = int(table[KERNEL, 2]), int(table[STRIDE, 2])
    flat = table[IMAGE, 0] == table[OUT, 0] == table[KERNEL, 0] == 1
    square = size == table[KERNEL, 1] and step == table[STRIDE, 1]
    known = square and (size, step) in _WINDOWS and dtype.str[1:] in ("f4", "f8")
    return bool(known and flat and table[BEGIN:].min() >= 0 and _filled(table))


def _filled(table: Array) -> bool:
    """Whether the first and the last window of each axis reach into the image."""
    last = (table[OUT] - 1) * table[STRIDE] - table[BEGIN]
    return bool((table[BEGIN] < table[KERNEL]).all() and (last < table[IMAGE]).all())


def launch_square_max(x: Array, y: Array, table: Array, planes: int) -> list[Launch]:
    """y[o] = the largest element of window o of each plane; NaN if it holds one."""
    work = (moving(x) + moving(y)) * 2
    flat = x.reshape(-1), y.reshape(-1)
    return split(planes, work, lambda first, end: _largest(*flat, table, first, end))
