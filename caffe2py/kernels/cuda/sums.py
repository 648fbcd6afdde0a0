"""Reductions on devices: over one axis of three, over all elements, over channels of images.

What one block would do too slowly is cut into pieces; their sums, in an array of the launch's own,
are added up by a second launch. How it is cut depends on shapes alone, so sums do not depend on the
device, nor on who is ready first.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from caffe2py.kernels.cuda.form import device_kernel, made
from caffe2py.kernels.cuda.threads import (
    BLOCK,
    MOST_BLOCKS,
    block_sum_double,
    cuda,
    group_sum,
    group_sum_double,
    threads_for,
)
from caffe2py.kernels.jit import Kernel
from caffe2py.registry.context import Launch
from caffe2py.tensor.place import device_of, empty_on
from caffe2py.tensor.tensor import Array

#: Neighbouring columns that a block reads at least: 128 bytes of float32.
_COLUMNS = 32

#: Blocks that keep a device busy, and elements that a thread takes at least where there are more.
_BUSY, _WORTH = 1024, 16

#: Elements that a thread takes at once where they lie in a row: 16 bytes of float32.
_AT_ONCE = 4

#: What templates call, until they are made.
before: Any = None
term: Any = None
result: Any = None
use: Any = None


# ---------------------------------------------------------------- over the middle of three axes


def shares(size: Any, inner: Any, threads: Any) -> Any:
    """How a block's threads share [size, inner] elements: columns side by side, then rows of them.

    Both are powers of two; threads that are left take the next ones of the outer axis.
    """
    across = 1
    while across < inner and across < _COLUMNS and across < threads:
        across *= 2
    down = threads_for(size, threads // across)
    while across < inner and across * down < threads:
        across *= 2
    return across, down


def _pieces_of(outer: int, size: int, inner: int) -> int:
    """In how many pieces the axis that is reduced is worth being cut."""
    across, down = shares(size, inner, BLOCK)
    items = -(-outer // (BLOCK // (across * down))) * -(-inner // across)
    return int(max(1, min(_BUSY // max(items, 1), size // (down * _WORTH))))


def _piece_blocks(x: Array, y: Array, *_: Any) -> int:
    outer, size, inner = x.shape
    across, down = shares(size, inner, BLOCK)
    items = -(-outer // (BLOCK // (across * down))) * -(-inner // across) * y.shape[1]
    return int(min(items, 4 * MOST_BLOCKS))


@device_kernel(blocks=_piece_blocks)
def _sum_pieces(x: Any, y: Any) -> None:
    """y[o, p, i] = the sum of x[o, r, i] over piece p of the r."""
    outer, size, inner = x.shape
    pieces = y.shape[1]
    across, down = shares(size, inner, cuda.blockDim.x)
    group = across * down
    high = cuda.blockDim.x // group
    wide = (inner + across - 1) // across
    me = cuda.threadIdx.x
    column, line, own = me & (across - 1), (me & (group - 1)) // across, me // group
    zero = x.dtype.type(0)
    item = cuda.blockIdx.x
    while item < (outer + high - 1) // high * pieces * wide:
        i = item % wide * across + column
        piece = item // wide % pieces
        o = item // wide // pieces * high + own
        inside = i < inner and o < outer
        r, end = size * piece // pieces + line, size * (piece + 1) // pieces
        total, second, third, fourth = zero, zero, zero, zero
        if inside:
            while r + 3 * down < end:
                total += x[o, r, i]
                second += x[o, r + down, i]
                third += x[o, r + 2 * down, i]
                fourth += x[o, r + 3 * down, i]
                r += 4 * down
            while r < end:
                total += x[o, r, i]
                r += down
        total = group_sum(x, (total + second) + (third + fourth), group, across)
        if inside and line == 0:
            y[o, piece, i] = total
        item += cuda.gridDim.x


def _extreme_pieces(x: Any, y: Any, none: Any) -> None:
    """y[o, p, i] = the first of x[o, r, i], by `before`, in piece p of the r; `none` of none.

    A NaN is passed over, except as the first element of all.
    """
    outer, size, inner = x.shape
    pieces = y.shape[1]
    across, down = shares(size, inner, cuda.blockDim.x)
    group = across * down
    high = cuda.blockDim.x // group
    wide = (inner + across - 1) // across
    me = cuda.threadIdx.x
    column, line, own = me & (across - 1), (me & (group - 1)) // across, me // group
    parts = cuda.shared.array(BLOCK, x.dtype)
    item = cuda.blockIdx.x
    while item < (outer + high - 1) // high * pieces * wide:
        i = item % wide * across + column
        piece = item // wide % pieces
        o = item // wide // pieces * high + own
        inside = i < inner and o < outer
        r, end = size * piece // pieces + line, size * (piece + 1) // pieces
        best = x[o, 0, i] if inside and size > 0 else none
        if inside:
            while r < end:
                value = x[o, r, i]
                best = value if before(value, best) else best
                r += down
        parts[me] = best
        cuda.syncthreads()
        half = group // 2
        while half >= across:
            if me & (group - 1) < half and before(parts[me + half], parts[me]):
                parts[me] = parts[me + half]
            cuda.syncthreads()
            half //= 2
        if inside and line == 0:
            y[o, piece, i] = parts[me]
        cuda.syncthreads()
        item += cuda.gridDim.x


def _larger(a: Any, b: Any) -> Any:
    return a > b


def _smaller(a: Any, b: Any) -> Any:
    return a < b


_max_pieces = device_kernel(_piece_blocks)(made(_extreme_pieces, "_max_pieces", before=_larger))
_min_pieces = device_kernel(_piece_blocks)(made(_extreme_pieces, "_min_pieces", before=_smaller))


def _in_pieces(reduce: Kernel, x: Array, y: Array, *numbers: Any) -> list[Launch]:
    """reduce(x, y) for x (outer, size, inner) and y (outer, inner), in two launches if worth it."""
    outer, size, inner = x.shape
    whole = y.reshape(outer, 1, inner)
    pieces = _pieces_of(outer, size, inner)
    if pieces == 1:
        return [reduce(x, whole, *numbers)]
    parts = empty_on(device_of(x), (outer, pieces, inner), x.dtype)
    return [reduce(x, parts, *numbers), reduce(parts, whole, *numbers)]


def launch_sum(x: Array, y: Array) -> list[Launch]:
    """y[o, i] = the sum of x[o, :, i]."""
    return _in_pieces(_sum_pieces, x, y)


def launch_extreme(x: Array, y: Array, none: Any, *, largest: bool) -> list[Launch]:
    """y[o, i] = the largest (or smallest) of x[o, :, i], or `none`; of NaN see _extreme_pieces."""
    return _in_pieces(_max_pieces if largest else _min_pieces, x, y, none)


# ---------------------------------------------------------------- where the extrema are


def _arg_blocks(x: Array, y: Array) -> int:
    return _piece_blocks(x, y.reshape(y.shape[0], 1, y.shape[1]))


def _arg_places(x: Any, y: Any) -> None:
    """y[o, i] = the least r at which x[o, r, i] is first, by `before`; NaN as in extrema."""
    outer, size, inner = x.shape
    across, down = shares(size, inner, cuda.blockDim.x)
    group = across * down
    high = cuda.blockDim.x // group
    wide = (inner + across - 1) // across
    me = cuda.threadIdx.x
    column, line, own = me & (across - 1), (me & (group - 1)) // across, me // group
    places = cuda.shared.array(BLOCK, "int64")
    item = cuda.blockIdx.x
    while item < (outer + high - 1) // high * wide:
        i = item % wide * across + column
        o = item // wide * high + own
        inside = i < inner and o < outer
        best = np.int64(0)
        if inside:
            r = line
            while r < size:
                best = r if before(x[o, r, i], x[o, best, i]) else best
                r += down
        places[me] = best
        cuda.syncthreads()
        half = group // 2
        while half >= across:
            if inside and size > 0 and me & (group - 1) < half:
                mine, other = places[me], places[me + half]
                a, b = x[o, mine, i], x[o, other, i]
                if before(b, a) or (a == b and other < mine):
                    places[me] = other
            cuda.syncthreads()
            half //= 2
        if inside and line == 0:
            y[o, i] = places[me]
        cuda.syncthreads()
        item += cuda.gridDim.x


#: For `_arg_max` and `_arg_min` of the CPU.
arg_max = made(_arg_places, "_arg_max", before=_larger), _arg_blocks
arg_min = made(_arg_places, "_arg_min", before=_smaller), _arg_blocks


# ---------------------------------------------------------------- over all elements


def _part_blocks(parts: Array, *_: Any) -> int:
    return int(parts.shape[0])


def _totals(parts: Any, count: Any, *args: Any) -> None:
    """parts[b] = the sums that block b has of term(i, *args), a pair, for i < count."""
    first, step = np.uint64(cuda.grid(1)), np.uint64(cuda.gridsize(1))
    many, one = np.uint64(_AT_ONCE), np.uint64(1)
    whole = np.uint64(count) // many
    total = 0.0
    weight = 0.0
    k = first
    while k < whole:
        i = k * many
        a, aw = term(i, *args)
        b, bw = term(i + one, *args)
        c, cw = term(i + one + one, *args)
        d, dw = term(i + one + one + one, *args)
        total += (a + b) + (c + d)
        weight += (aw + bw) + (cw + dw)
        k += step
    i = whole * many + first
    while i < np.uint64(count):
        a, aw = term(i, *args)
        total += a
        weight += aw
        i += step
    total = block_sum_double(total)
    weight = block_sum_double(weight)
    if cuda.threadIdx.x == 0:
        parts[cuda.blockIdx.x, 0] = total
        parts[cuda.blockIdx.x, 1] = weight


def _finish(parts: Any, y: Any, *args: Any) -> None:
    """y[0] = result(both sums, *args), by one block."""
    total = 0.0
    weight = 0.0
    for k in range(cuda.threadIdx.x, parts.shape[0], cuda.blockDim.x):
        total += parts[k, 0]
        weight += parts[k, 1]
    total = block_sum_double(total)
    weight = block_sum_double(weight)
    if cuda.threadIdx.x == 0:
        y[0] = result(total, weight, *args)


def _one_block(*_: Any) -> int:
    return 1


class Total:
    """A number that is made of two float64 sums over all elements.

    term(i, *arrays) -> (a, b) for the element i, an unsigned number; result(sum of a, sum of b,
    *arguments) -> the number.
    """

    def __init__(self, name: str, term: Callable[..., Any], result: Callable[..., Any]) -> None:
        self._sum = device_kernel(_part_blocks)(made(_totals, f"{name}_sums", term=term))
        self._end = device_kernel(_one_block)(made(_finish, f"{name}_end", result=result))

    def launch(
        self, count: int, over: Sequence[Any], y: Array, result: Sequence[Any] = ()
    ) -> list[Launch]:
        """y[0] = the number for `count` elements, from the arguments of both functions."""
        blocks = max(1, min(_BUSY, -(-count // (BLOCK * _AT_ONCE * 2))))
        parts = empty_on(device_of(y), (blocks, 2), np.dtype(np.float64))
        return [self._sum(parts, count, *over), self._end(parts, y, *result)]


# ---------------------------------------------------------------- over channels


def _channel_blocks(sums: Array, items: int, outer: int, channels: int, inner: int, *_: Any) -> int:
    wide = channels if inner > 1 else -(-channels // _COLUMNS)
    return int(min(items * wide * sums.shape[0], 4 * MOST_BLOCKS))


def _channel_pieces(items: int, outer: int, channels: int, inner: int) -> int:
    wide = channels if inner > 1 else -(-channels // _COLUMNS)
    each = BLOCK if inner > 1 else BLOCK // _COLUMNS
    wanted = min(_BUSY // max(items * wide, 1), outer * inner // (each * _WORTH))
    high = max(1, min(wanted, outer))
    return int(high * max(1, min(wanted // high, inner // (BLOCK * _WORTH))))


def _pair_sums(sums: Any, items: int, outer: int, channels: int, inner: int, *args: Any) -> None:
    """sums[p, :, n * channels + c] = the sums of term(n, o, c, i, *args) over piece p of o and i.

    The term is a pair of float64.
    """
    pieces = sums.shape[0]
    high = max(min(pieces, outer), 1)
    me = cuda.threadIdx.x
    if inner > 1:
        across = threads_for(inner, cuda.blockDim.x)
        apart = 1
    else:
        across, _ = shares(outer, channels, cuda.blockDim.x)
        across = min(across, _COLUMNS)
        apart = across
    down = cuda.blockDim.x // across
    wide = (channels + apart - 1) // apart
    item = cuda.blockIdx.x
    while item < items * pieces * wide:
        c = item % wide * apart + (me & (apart - 1))
        piece = item // wide % pieces
        n = item // wide // pieces
        above, left = piece % high, piece // high
        o, end = outer * above // high + me // across, outer * (above + 1) // high
        start, stop = inner * left // (pieces // high), inner * (left + 1) // (pieces // high)
        first = 0.0
        second = 0.0
        if c < channels:
            while o < end:
                i = start + (me & (across - 1)) if apart == 1 else start
                while i < stop:
                    a, b = term(n, o, c, i, *args)
                    first += a
                    second += b
                    i += across
                o += down
        first = group_sum_double(first, cuda.blockDim.x, apart)
        second = group_sum_double(second, cuda.blockDim.x, apart)
        if c < channels and me < apart:
            sums[piece, 0, n * channels + c] = first
            sums[piece, 1, n * channels + c] = second
        item += cuda.gridDim.x


def _fold_blocks(sums: Array, *_: Any) -> int:
    return int(max(1, min(-(-sums.shape[2] // BLOCK), MOST_BLOCKS)))


def _fold_pieces(sums: Any, *args: Any) -> None:
    """use(k, both sums of channel k, *args) for each."""
    for k in range(cuda.grid(1), sums.shape[2], cuda.gridsize(1)):
        first = 0.0
        second = 0.0
        for piece in range(sums.shape[0]):
            first += sums[piece, 0, k]
            second += sums[piece, 1, k]
        use(k, first, second, *args)


class ChannelSums:
    """What is made of two float64 sums for each channel.

    term(n, o, c, i, *arrays) -> (a, b) for an element; use(k, sum of a, sum of b, *arguments) for
    the channel k = n * channels + c.
    """

    def __init__(self, name: str, term: Callable[..., Any], use: Callable[..., Any]) -> None:
        self._sum = device_kernel(_channel_blocks)(made(_pair_sums, f"{name}_sums", term=term))
        self._end = device_kernel(_fold_blocks)(made(_fold_pieces, f"{name}_end", use=use))

    def launch(
        self, shape: tuple[int, int, int, int], over: Sequence[Any], use: Sequence[Any]
    ) -> list[Launch]:
        """For (items, outer, channels, inner) elements, with the arguments of both functions."""
        items, _, channels, _ = shape
        if items * channels == 0:
            return []
        where = device_of(next(a for a in over if hasattr(a, "dtype")))
        sums = empty_on(where, (_channel_pieces(*shape), 2, items * channels), np.dtype(np.float64))
        return [self._sum(sums, *shape, *over), self._end(sums, *use)]
