"""Convolutions and their gradients as products whose one factor is gathered from an array.

Each is, for every group,

    c[row, column] = sum over terms of a[row, term] * x[place(column) + place(term)]

where a is a matrix, and places have up to three spatial axes besides whatever else x has. What lies
outside of x counts as 0. `Gathered` says what rows, columns and terms are.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import astuple, dataclass
from typing import Any

from caffe2py.kernels.cuda.form import device_kernel, made
from caffe2py.kernels.cuda.maps import blocks_for
from caffe2py.kernels.cuda.threads import block_sum, cuda
from caffe2py.kernels.cuda.tiles import (
    ALIGNED,
    AREA,
    DEEP,
    QUAD,
    REAL_DEEP,
    REAL_TILE,
    SHARING,
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
from caffe2py.kernels.jit import Kernel
from caffe2py.registry.context import Call, Launch
from caffe2py.tensor.tensor import Array

#: More blocks than these go on to what is left.
_MOST_BLOCKS = 1 << 20

#: With so few rows a tile would be empty for the most part.
_FEW = 4

#: Nor are tiles worth their while for sums of so few columns.
_NARROW = 64

Triple = tuple[int, int, int]


@dataclass(frozen=True)
class Gathered:
    """What a product is of; steps count elements. The order of fields is that of the kernels.

    A column q is `q % per` of the spatial positions of a `grid` and `q // per` of the rest, or the
    other way round if they are `turned`; a position p is at p * `scale` + `shift` along each axis,
    to which the term's place is added. Such a place is in x where it is a multiple of `apart`, and
    the quotient is in 0 to `bounds`. `summed` such products are added up, `*_walk` apart.
    """

    groups: int
    rows: int
    columns: int
    terms: int
    summed: int
    a_group: int
    a_walk: int
    a_row: int
    a_term: int
    x_group: int
    x_walk: int
    x_rest: int
    x_steps: Triple
    per: int
    turned: bool
    grid: Triple
    scale: Triple
    shift: Triple
    apart: Triple
    bounds: Triple
    c_group: int
    c_row: int
    c_rest: int
    c_place: int
    along: bool

    @property
    def size(self) -> int:
        """The number of results."""
        return self.groups * self.rows * self.columns

    def numbers(self) -> tuple[int, ...]:
        """All of it, one after the other."""
        found: list[int] = []
        for value in astuple(self):
            found += value if isinstance(value, tuple) else [value]
        return tuple(found)

    @property
    def wide(self) -> bool:
        """Whether four neighbours in `a` begin at multiples of four."""
        pair = self.a_row, self.a_term
        steps = (self.a_group, self.a_walk, *(s for s in pair if s != 1))
        return 1 in pair and not any(n % 4 for n in steps)


def _place(
    q, per, turned, grid_y, grid_x, scale_z, scale_y, scale_x, shift_z, shift_y, shift_x
):  # fmt: skip
    """Column q: where it is along three axes, its number among positions, and the rest."""
    p, rest = (q // per, q % per) if turned else (q % per, q // per)
    z = p // (grid_x * grid_y) * scale_z + shift_z
    y = p // grid_x % grid_y * scale_y + shift_y
    return z, y, p % grid_x * scale_x + shift_x, p, rest


def _linear(z, y, xx, step_z, step_y, step_x):
    """What a column's place adds to where its elements are."""
    return z * step_z + y * step_y + xx * step_x


def _look(
    x, at, z, y, xx, table, k, step_z, step_y, step_x,
    apart_z, apart_y, apart_x, bound_z, bound_y, bound_x,
):  # fmt: skip
    """The element of x at a column's place and that of term k; 0 outside."""
    e = u8(k * 4)
    z += table[e + u8(1)]
    y += table[e + u8(2)]
    xx += table[e + u8(3)]
    if z < 0 or y < 0 or xx < 0 or z >= bound_z or y >= bound_y or xx >= bound_x:
        return x.dtype.type(0)
    return x[u8(at + table[e])]


def _nowhere(z, y, xx, step_z, step_y, step_x):
    """The same where elements are `apart`: what both places add is known for both together."""
    return 0


def _look_apart(
    x, at, z, y, xx, table, k, step_z, step_y, step_x,
    apart_z, apart_y, apart_x, bound_z, bound_y, bound_x,
):  # fmt: skip
    """`_look` for places of which only multiples are in x."""
    e = u8(k * 4)
    z += table[e + u8(1)]
    y += table[e + u8(2)]
    xx += table[e + u8(3)]
    if z < 0 or y < 0 or xx < 0 or z % apart_z + y % apart_y + xx % apart_x > 0:
        return x.dtype.type(0)
    z, y, xx = z // apart_z, y // apart_y, xx // apart_x
    if z >= bound_z or y >= bound_y or xx >= bound_x:
        return x.dtype.type(0)
    return x[u8(at + table[e] + z * step_z + y * step_y + xx * step_x)]


def _tiled(
    a, x, table, c, base, bias, low,
    groups, rows, columns, terms, summed, a_group, a_walk, a_row, a_term,
    x_group, x_walk, x_rest, step_z, step_y, step_x, per, turned, grid_z, grid_y, grid_x,
    scale_z, scale_y, scale_x, shift_z, shift_y, shift_x, apart_z, apart_y, apart_x,
    bound_z, bound_y, bound_x, c_group, c_row, c_rest, c_place, along,
    wide, splits, biased, added,
):  # fmt: skip
    """A tile of results by a block: one share of the sums."""
    left = cuda.shared.array(AREA, a.dtype, ALIGNED)
    right = cuda.shared.array(AREA, a.dtype, ALIGNED)
    sums = cuda.local.array(SUMS, a.dtype)
    from_a = cuda.local.array(QUAD, a.dtype)
    from_x = cuda.local.array(QUAD, a.dtype)
    me = cuda.threadIdx.x
    row, column = me // SIDE * QUAD, me % SIDE * QUAD
    a_along = a_term == 1
    a_line, a_first = my_line(me, a_along), my_term(me, a_along)
    a_step = a_term if a_along else a_row
    line, first = (me // SHARING, my_term(me, True)) if along else (me % TILE, me // TILE * QUAD)
    down, across, deep = -(-rows // TILE), -(-columns // TILE), -(-terms // DEEP)
    for tile in range(cuda.blockIdx.x, groups * splits * down * across, cuda.gridDim.x):
        top, edge = tile // across % down * TILE, tile % across * TILE
        g, share = tile // (across * down) // splits, tile // (across * down) % splits
        for i in range(SUMS):
            sums[i] = 0
        begin, end = summed * deep * share // splits, summed * deep * (share + 1) // splits
        n, k = 0, 0
        if begin > 0:
            n, k = begin // deep, begin % deep * DEEP
        a_at = g * a_group + (top + a_line) * a_row + a_first * a_term
        z, y, xx, p, rest = _place(
            edge + line, per, turned, grid_y, grid_x,
            scale_z, scale_y, scale_x, shift_z, shift_y, shift_x,
        )  # fmt: skip
        at = g * x_group + rest * x_rest + _linear(z, y, xx, step_z, step_y, step_x)
        # each turn fetches the terms of the next one before it multiplies its own
        for step in range(begin, end + 1):
            reach = terms if step < end else 0
            fetch(
                a, from_a, n * a_walk + a_at + k * a_term, a_step,
                top + a_line, rows, k + a_first, reach, a_along, wide,
            )  # fmt: skip
            for i in range(QUAD):
                from_x[i] = 0
                if edge + line < columns and k + first + i < reach:
                    from_x[i] = _look(
                        x, at + n * x_walk, z, y, xx, table, k + first + i, step_z, step_y, step_x,
                        apart_z, apart_y, apart_x, bound_z, bound_y, bound_x,
                    )  # fmt: skip
            if step > begin:
                multiply(left, right, sums, row, column)
            cuda.syncthreads()
            keep(left, from_a, a_line, a_first, a_along)
            keep(right, from_x, line, first, True)
            cuda.syncthreads()
            k += DEEP
            if k >= terms:
                n, k = n + 1, 0
        for j in range(QUAD):
            q = edge + column + j
            z, y, xx, p, rest = _place(q, per, turned, grid_y, grid_x, 0, 0, 0, 0, 0, 0)
            for i in range(QUAD):
                r = top + row + i
                if r < rows and q < columns:
                    at = g * c_group + r * c_row + rest * c_rest + p * c_place
                    at += share * groups * rows * columns
                    c[u8(at)] = finished(
                        sums[i * QUAD + j], at, g * rows + r, bias, base, biased, added, low
                    )


def _each(
    a, x, table, c, base, bias, low,
    groups, rows, columns, terms, summed, a_group, a_walk, a_row, a_term,
    x_group, x_walk, x_rest, step_z, step_y, step_x, per, turned, grid_z, grid_y, grid_x,
    scale_z, scale_y, scale_x, shift_z, shift_y, shift_x, apart_z, apart_y, apart_x,
    bound_z, bound_y, bound_x, c_group, c_row, c_rest, c_place, along,
    biased, added,
):  # fmt: skip
    """A result by each thread, where rows are few; neighbours are columns, or with `along` rows."""
    for k in range(cuda.grid(1), groups * rows * columns, cuda.gridsize(1)):
        gr, q = (
            (k % (groups * rows), k // (groups * rows)) if along else (k // columns, k % columns)
        )
        g, r = gr // rows, gr % rows
        z, y, xx, p, rest = _place(
            q, per, turned, grid_y, grid_x,
            scale_z, scale_y, scale_x, shift_z, shift_y, shift_x,
        )  # fmt: skip
        at = g * x_group + rest * x_rest + _linear(z, y, xx, step_z, step_y, step_x)
        a_at = g * a_group + r * a_row
        total = x.dtype.type(0)
        for t in range(terms):
            total += a[u8(a_at + t * a_term)] * _look(
                x, at, z, y, xx, table, t, step_z, step_y, step_x,
                apart_z, apart_y, apart_x, bound_z, bound_y, bound_x,
            )  # fmt: skip
        at = g * c_group + r * c_row + rest * c_rest + p * c_place
        c[u8(at)] = finished(total, at, gr, bias, base, biased, added, low)


def _long(
    a, x, table, c, base, bias, low,
    groups, rows, columns, terms, summed, a_group, a_walk, a_row, a_term,
    x_group, x_walk, x_rest, step_z, step_y, step_x, per, turned, grid_z, grid_y, grid_x,
    scale_z, scale_y, scale_x, shift_z, shift_y, shift_x, apart_z, apart_y, apart_x,
    bound_z, bound_y, bound_x, c_group, c_row, c_rest, c_place, along,
):  # fmt: skip
    """A result by each block, where these are few and sums are long."""
    for k in range(cuda.blockIdx.x, groups * rows * columns, cuda.gridDim.x):
        gr, q = k // columns, k % columns
        g, r = gr // rows, gr % rows
        z, y, xx, p, rest = _place(
            q, per, turned, grid_y, grid_x,
            scale_z, scale_y, scale_x, shift_z, shift_y, shift_x,
        )  # fmt: skip
        at = g * x_group + rest * x_rest + _linear(z, y, xx, step_z, step_y, step_x)
        a_at = g * a_group + r * a_row
        total = x.dtype.type(0)
        for n in range(summed):
            for t in range(cuda.threadIdx.x, terms, cuda.blockDim.x):
                total += a[u8(a_at + n * a_walk + t * a_term)] * _look(
                    x, at + n * x_walk, z, y, xx, table, t, step_z, step_y, step_x,
                    apart_z, apart_y, apart_x, bound_z, bound_y, bound_x,
                )  # fmt: skip
        total = block_sum(x, total)
        if cuda.threadIdx.x == 0:
            c[u8(g * c_group + r * c_row + rest * c_rest + p * c_place)] = total


def _tiles(groups: int, rows: int, columns: int) -> int:
    return groups * -(-rows // REAL_TILE) * -(-columns // REAL_TILE)


#: Where the number of shares is among the arguments of a tiled product.
_SPLITS = -3


def _tiled_blocks(*args: Any) -> int:
    return int(min(_tiles(*args[7:10]) * args[_SPLITS], _MOST_BLOCKS))


def _long_blocks(*args: Any) -> int:
    groups, rows, columns = args[7:10]
    return min(int(groups * rows * columns), _MOST_BLOCKS)


def _kernels(function: Callable[..., Any], blocks: Callable[..., int]) -> tuple[Kernel, Kernel]:
    """A kernel for places as they are, and one for those that are apart."""
    apart = made(function, f"{function.__name__}_apart", _look=_look_apart, _linear=_nowhere)
    return device_kernel(blocks)(function), device_kernel(blocks)(apart)


_by_tiles = _kernels(_tiled, _tiled_blocks)
_by_threads = _kernels(_each, lambda a, x, table, c, *_: blocks_for(c))
_by_blocks = _kernels(_long, _long_blocks)


def launch_gathered(
    call: Call, what: Gathered, a: Array, x: Array, table: Array, end: End
) -> list[Launch]:
    """The product; `table` has four numbers a term: elements of x, and places along three axes.

    Elements that are for places are among the first where these are not `apart`.
    """
    is_apart = max(what.apart) > 1
    factors = a.reshape(-1), x.reshape(-1), table.reshape(-1)
    numbers = what.numbers()
    biased, added = end.bias is not None, end.added is not None
    if what.rows <= _FEW and what.summed == 1:
        target = end.args(end.c.reshape(-1))
        return [_by_threads[is_apart](*factors, *target, *numbers, biased, added)]
    if what.rows <= _FEW and what.columns <= _NARROW and not biased and not added:
        return [_by_blocks[is_apart](*factors, *end.args(end.c.reshape(-1)), *numbers)]
    tiles = _tiles(what.groups, what.rows, what.columns)
    splits = splits_of(tiles, what.summed * -(-what.terms // REAL_DEEP))

    def launch(last: End, target: Array) -> Launch:
        flags = last.bias is not None, last.added is not None
        return _by_tiles[is_apart](
            *factors, *last.args(target), *numbers, what.wide, splits, *flags
        )

    return end.launches(call, splits, launch)
