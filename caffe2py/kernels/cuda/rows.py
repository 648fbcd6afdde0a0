"""Rows of matrices on devices: so many neighbouring threads for each as its length is worth.

Two templates make forms of the CPU's loops from what they do with one element; Softmax and its
gradient are written out.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

from caffe2py.kernels.cuda.form import Form, form, made
from caffe2py.kernels.cuda.teams import blocks_for_rows, piece, pieces_of, team
from caffe2py.kernels.cuda.threads import (
    BLOCK,
    MOST_BLOCKS,
    cuda,
    group_max,
    group_sum,
    group_sum_double,
    threads_for,
)
from caffe2py.tensor.tensor import Array

#: What templates call, until they are made.
shape: Any = None
at: Any = None
check: Any = None
term: Any = None
put: Any = None


def row_blocks(rows: int, columns: int) -> int:
    """How many blocks run a loop over the rows of a matrix."""
    return int(max(1, min(-(-rows * threads_for(columns, BLOCK) // BLOCK), 4 * MOST_BLOCKS)))


def blocks_of_first(x: Array, *_: Any) -> int:
    """The same where the first argument is the matrix."""
    return row_blocks(x.shape[0], x.shape[1])


def my_row(columns: Any) -> Any:
    """(the first row of a thread, the distance of its rows, its place in them, threads in a row).

    Where the first of a block's rows is one, all its threads come to the same barriers.
    """
    group = threads_for(columns, cuda.blockDim.x)
    each = cuda.blockDim.x // group
    me = cuda.threadIdx.x
    first = cuda.blockIdx.x * each
    return first, me // group, cuda.gridDim.x * each, me & (group - 1), group


# ---------------------------------------------------------------- templates


def _elements(*args: Any) -> None:
    """at(r, c, *args) for each element of shape(*args)."""
    rows, columns = shape(*args)
    k, step, lane, threads = team(columns)
    while k < pieces_of(rows, columns):
        r, begin, end = piece(k, columns)
        c = begin + lane
        while c < end:
            at(r, c, *args)
            c += threads
        k += step


def _checked_elements(*args: Any) -> Any:
    """The same for rows of which check(r, *args) is 0; the least status of another one."""
    rows, columns = shape(*args)
    k, step, lane, threads = team(columns)
    while k < pieces_of(rows, columns):
        r, begin, end = piece(k, columns)
        status = check(r, *args)
        if status != 0:
            return status
        c = begin + lane
        while c < end:
            at(r, c, *args)
            c += threads
        k += step
    return 0


def elements(
    name: str,
    shape: Callable[..., Any],
    at: Callable[..., None],
    check: Callable[..., int] | None = None,
) -> Form:
    """A form that does at(r, c, *arguments) for each element of shape(*arguments).

    With `check` the status check(r, *arguments), if it is not 0, is that of row r, which is left.
    """
    template = _elements if check is None else _checked_elements
    function = made(template, name, shape=shape, at=at, check=check)
    return function, lambda *args: blocks_for_rows(*shape(*args))


def _row_sums(*args: Any) -> None:
    """put(r, the sums over c of term(r, c, *args), *args); a term is a pair of numbers."""
    rows, columns = shape(*args)
    first, own, step, lane, group = my_row(columns)
    while first < rows:
        r = first + own
        a = 0.0
        b = 0.0
        if r < rows:
            c = lane
            while c < columns:
                one, two = term(r, c, *args)
                a += one
                b += two
                c += group
        a = group_sum_double(a, group, 1)
        b = group_sum_double(b, group, 1)
        if r < rows and lane == 0:
            put(r, a, b, *args)
        first += step


def _checked_row_sums(*args: Any) -> Any:
    """The same; what `put` returns is the row's status."""
    rows, columns = shape(*args)
    first, own, step, lane, group = my_row(columns)
    status = 0
    while first < rows:
        r = first + own
        a = 0.0
        b = 0.0
        if r < rows:
            c = lane
            while c < columns:
                one, two = term(r, c, *args)
                a += one
                b += two
                c += group
        a = group_sum_double(a, group, 1)
        b = group_sum_double(b, group, 1)
        if r < rows and lane == 0:
            found = put(r, a, b, *args)
            status = found if status == 0 else status
        first += step
    return status


def row_sums(
    name: str,
    shape: Callable[..., Any],
    term: Callable[..., Any],
    put: Callable[..., Any],
    *,
    checked: bool = False,
) -> Form:
    """A form that sums pairs term(r, c, *arguments) over c, in float64, and puts them somewhere.

    put(r, a, b, *arguments) is called by one thread of a row; if `checked` it returns a status.
    """
    template = _checked_row_sums if checked else _row_sums
    function = made(template, name, shape=shape, term=term, put=put)
    return function, lambda *args: row_blocks(*shape(*args))


# ---------------------------------------------------------------- softmax


@form(blocks=blocks_of_first)
def softmax(x: Any, y: Any) -> None:
    """Exponentials relative to the row's largest element; y may be x."""
    rows, columns = x.shape
    first, own, step, lane, group = my_row(columns)
    number = x.dtype.type
    while first < rows:
        r = first + own
        width = columns if r < rows else 0
        top = number(-math.inf)
        c = lane
        while c < width:
            value = x[r, c]
            top = value if value > top or value != value else top
            c += group
        top = group_max(x, top, group)
        total = number(0)
        c = lane
        while c < width:
            total += math.exp(x[r, c] - top)
            c += group
        share = number(1) / group_sum(x, total, group, 1)
        c = lane
        while c < width:
            y[r, c] = math.exp(x[r, c] - top) * share
            c += group
        first += step


@form(blocks=blocks_of_first)
def softmax_gradient(y: Any, dy: Any, dx: Any) -> None:
    """dx = y * (dy - the sum of y * dy)."""
    rows, columns = y.shape
    first, own, step, lane, group = my_row(columns)
    while first < rows:
        r = first + own
        width = columns if r < rows else 0
        product = y.dtype.type(0)
        c = lane
        while c < width:
            product += y[r, c] * dy[r, c]
            c += group
        product = group_sum(y, product, group, 1)
        c = lane
        while c < width:
            dx[r, c] = y[r, c] * (dy[r, c] - product)
            c += group
        first += step
