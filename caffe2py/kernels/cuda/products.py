"""Matrix products on devices: tiles of results, each by a block of threads."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from caffe2py.kernels.block import KEEP, PER_ROW
from caffe2py.kernels.cuda.engines import launch_cublas
from caffe2py.kernels.cuda.form import device_kernel
from caffe2py.kernels.cuda.threads import cuda
from caffe2py.kernels.cuda.tiles import (
    ALIGNED,
    AREA,
    DEEP,
    QUAD,
    REAL_DEEP,
    REAL_TILE,
    SIDE,
    SUMS,
    TILE,
    End,
    fetch,
    finished,
    keep,
    multiply,
    my_line,
    my_term,
    splits_of,
    u8,
)
from caffe2py.registry.context import Call, Launch
from caffe2py.tensor.tensor import Array

#: More blocks than these go on to tiles that are left.
_MOST_BLOCKS = 1 << 20


def _product(
    a, b, c, base, bias, low,
    matrices, rows, columns, terms, summed, splits,
    a_walk, a_row, a_term, a_wide, b_walk, b_column, b_term, b_wide,
    biased, by_row, added,
):  # fmt: skip
    """c[share, n] = one share of the sums, which are over `summed` products of `terms` terms."""
    left = cuda.shared.array(AREA, a.dtype, ALIGNED)
    right = cuda.shared.array(AREA, a.dtype, ALIGNED)
    sums = cuda.local.array(SUMS, a.dtype)
    from_a = cuda.local.array(QUAD, a.dtype)
    from_b = cuda.local.array(QUAD, a.dtype)
    me = cuda.threadIdx.x
    row, column = me // SIDE * QUAD, me % SIDE * QUAD
    a_along, b_along = a_term == 1, b_term == 1
    a_line, a_first = my_line(me, a_along), my_term(me, a_along)
    b_line, b_first = my_line(me, b_along), my_term(me, b_along)
    a_step, b_step = a_term if a_along else a_row, b_term if b_along else b_column
    down, across, deep = -(-rows // TILE), -(-columns // TILE), -(-terms // DEEP)
    for tile in range(cuda.blockIdx.x, matrices * splits * down * across, cuda.gridDim.x):
        top, edge = tile // across % down * TILE, tile % across * TILE
        n, share = tile // (across * down) // splits, tile // (across * down) % splits
        for i in range(SUMS):
            sums[i] = 0
        begin, end = summed * deep * share // splits, summed * deep * (share + 1) // splits
        m, k = n, 0
        if begin > 0:
            m, k = n + begin // deep, begin % deep * DEEP
        a_at = (top + a_line) * a_row + a_first * a_term
        b_at = (edge + b_line) * b_column + b_first * b_term
        # each turn fetches the terms of the next one before it multiplies its own
        for step in range(begin, end + 1):
            reach = terms if step < end else 0
            fetch(
                a, from_a, m * a_walk + a_at + k * a_term, a_step,
                top + a_line, rows, k + a_first, reach, a_along, a_wide,
            )  # fmt: skip
            fetch(
                b, from_b, m * b_walk + b_at + k * b_term, b_step,
                edge + b_line, columns, k + b_first, reach, b_along, b_wide,
            )  # fmt: skip
            if step > begin:
                multiply(left, right, sums, row, column)
            cuda.syncthreads()
            keep(left, from_a, a_line, a_first, a_along)
            keep(right, from_b, b_line, b_first, b_along)
            cuda.syncthreads()
            k += DEEP
            if k >= terms:
                m, k = m + 1, 0
        for i in range(QUAD):
            for j in range(QUAD):
                r, q = top + row + i, edge + column + j
                if r < rows and q < columns:
                    at = ((share * matrices + n) * rows + r) * columns + q
                    feature = r if by_row else q
                    c[u8(at)] = finished(
                        sums[i * QUAD + j], at, feature, bias, base, biased, added, low
                    )


def _tiles(matrices: int, rows: int, columns: int) -> int:
    return matrices * -(-rows // REAL_TILE) * -(-columns // REAL_TILE)


def _blocks(*args: Any) -> int:
    matrices, rows, columns, _, _, splits = args[6:12]
    return int(min(_tiles(matrices, rows, columns) * splits, _MOST_BLOCKS))


_product_of_tiles = device_kernel(_blocks)(_product)


def launch_product(
    call: Call,
    a: Array,
    b: Array,
    c: Array,
    size: tuple[int, int, int, int],
    turned: tuple[bool, bool],
    bias: Array | None,
    start: int,
    added: Array | None,
    low: float,
) -> list[Launch]:
    """c = op(a) op(b), with what kernels.linalg.launch_product says; all have a batch axis.

    `size` is (batch, rows, columns, terms), `turned` says which factors are transposed, and `start`
    what sums start from. The operator's engine decides who computes; without one, cuBLAS if it can.
    """
    add = start == KEEP
    inner = size[2] if start == PER_ROW else 1
    end = End(c, None if add else bias, inner, added, low)
    by_library = launch_cublas(call, (a, b), size, turned, end, add=add)
    if by_library is not None:
        return by_library
    end = replace(end, added=c) if add else end
    return _launch_tiles(call, (a, b), size, turned, end, by_row=start == PER_ROW)


def _launch_tiles(
    call: Call,
    factors: tuple[Array, Array],
    size: tuple[int, int, int, int],
    turned: tuple[bool, bool],
    end: End,
    *,
    by_row: bool,
) -> list[Launch]:
    """A product by Numba's kernels; the bias is that of rows if `by_row`, or of columns."""
    batch, rows, columns, terms = size
    if not end.c.size:
        return []
    matrices, summed = (1, batch) if len(end.c) == 1 else (batch, 1)
    walks = [0 if len(x) == 1 else x.shape[1] * x.shape[2] for x in factors]
    steps = [(1, rows) if turned[0] else (terms, 1), (terms, 1) if turned[1] else (1, columns)]
    wide = [
        1 in pair and not any(n % 4 for n in (walk, *(s for s in pair if s != 1)))
        for walk, pair in zip(walks, steps, strict=True)
    ]
    splits = splits_of(_tiles(matrices, rows, columns), summed * -(-terms // REAL_DEEP))
    numbers = [matrices, rows, columns, terms, summed, splits]
    for each in zip(walks, steps, wide, strict=True):
        numbers += [each[0], *each[1], each[2]]
    a, b = (x.reshape(-1) for x in factors)

    def launch(last: End, target: Array) -> Launch:
        c, base, bias, low = last.args(target)
        flags = last.bias is not None, by_row, last.added is not None
        return _product_of_tiles(a, b, c, base, bias, low, *numbers, *flags)

    return end.launches(call, splits, launch)
