"""Copies and functions of repeated arrays on devices."""

from __future__ import annotations

from typing import Any

from caffe2py.kernels.cuda.form import Form, made
from caffe2py.kernels.cuda.rows import elements
from caffe2py.kernels.cuda.teams import blocks_for_rows, piece, pieces_of, team
from caffe2py.kernels.vectormath import sigmoid
from caffe2py.tensor.tensor import Array

#: What templates call, until they are made.
f: Any = None


def _rows_of_width(
    x: Any, y: Any, sizes: Any, steps: Any, width: Any, step: Any, first: Any
) -> Any:
    return y.size // width, width


def _repeat(
    r: Any, c: Any, x: Any, y: Any, sizes: Any, steps: Any, width: Any, step: Any, first: Any
) -> None:
    rest = first + r
    start = 0
    for axis in range(sizes.size - 1, -1, -1):
        start += rest % sizes[axis] * steps[axis]
        rest = rest // sizes[axis]
    y[r * width + c] = x[start + c * step]


#: For `_copy_repeated`.
copy_repeated = elements("_copy_repeated", _rows_of_width, _repeat)


# ---------------------------------------------------------------- broadcasting


def _broadcast(a: Any, b: Any, c: Any, shape: Any, steps: Any, first: Any) -> None:
    """c = f(a, b), both repeated: `steps` are 0 along axes that repeat them."""
    axes = shape.size
    inner = shape[axes - 1]
    rows = c.size // max(inner, 1)
    k, step, lane, threads = team(inner)
    while k < pieces_of(rows, inner):
        row, begin, end = piece(k, inner)
        rest = first + row
        at_a = 0
        at_b = 0
        for axis in range(axes - 2, -1, -1):
            index = rest % shape[axis]
            rest = rest // shape[axis]
            at_a += index * steps[0, axis]
            at_b += index * steps[1, axis]
        i = begin + lane
        while i < end:
            left, right = a[at_a + i * steps[0, axes - 1]], b[at_b + i * steps[1, axes - 1]]
            c[row * inner + i] = f(left, right)
            i += threads
        k += step


def _broadcast_blocks(a: Any, b: Any, c: Array, shape: Array, steps: Any, first: Any) -> int:
    inner = int(shape[-1])
    return blocks_for_rows(c.size // max(inner, 1), inner)


def broadcast_form(name: str, names: dict[str, Any]) -> Form:
    """For `elementwise._broadcast_loop` of the function that `names` has as f."""
    return made(_broadcast, name, f=names["f"]), _broadcast_blocks


# ---------------------------------------------------------------- gated halves


def _glu_shape(x: Any, y: Any) -> Any:
    return y.shape


def _glu_at(r: Any, c: Any, x: Any, y: Any) -> None:
    y[r, c] = x[r, c] * sigmoid(x[r, y.shape[1] + c])


#: For `_glu`.
glu = elements("_glu", _glu_shape, _glu_at)
