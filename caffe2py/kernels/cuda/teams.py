"""How threads share what kernels go over: rows, each by a team of threads, and sums before a place.

A team is a power of two of neighbouring threads that take neighbouring elements of one row, so that
memory is read and written in whole lines, and nobody divides to find an element's row. Rows longer
than `PIECE` are cut, so that a few long rows are many threads' work as well.
"""

from __future__ import annotations

from typing import Any

from caffe2py.kernels.cuda.threads import BLOCK, cuda

#: Elements of a row that a team takes at once.
PIECE = 4096

#: Blocks that there are at most; their threads go on to what is left.
_MOST = 8192


def pieces_of(rows: Any, width: Any) -> Any:
    """How many pieces there are of rows of this width."""
    return rows * ((width + PIECE - 1) // PIECE)


def team(width: Any) -> Any:
    """(first piece, step to the next one, place in the team, threads of the team) of a thread."""
    threads = 1
    while threads < width and threads < cuda.blockDim.x:
        threads *= 2
    teams = cuda.blockDim.x // threads
    me = cuda.threadIdx.x
    first = cuda.blockIdx.x * teams + me // threads
    return first, cuda.gridDim.x * teams, me % threads, threads


def piece(k: Any, width: Any) -> Any:
    """(row, begin, end) of a piece: the elements of it."""
    count = (width + PIECE - 1) // PIECE
    row = k // count
    begin = (k - row * count) * PIECE
    return row, begin, min(begin + PIECE, width)


def blocks_for_rows(rows: int, width: int) -> int:
    """How many blocks go over rows of this width by teams."""
    threads = 1
    while threads < min(width, BLOCK):
        threads *= 2
    return blocks_for_items(pieces_of(rows, width) * threads)


def blocks_for_items(count: int) -> int:
    """How many blocks go over things of which each is one thread's."""
    return max(1, min(_MOST, -(-count // BLOCK)))


def block_before(value: Any) -> Any:
    """(the sum of the int64 values of all threads before this one, that of all) in its block."""
    sums = cuda.shared.array(BLOCK, "int64")
    me = cuda.threadIdx.x
    sums[me] = value
    cuda.syncthreads()
    step = 1
    while step < cuda.blockDim.x:
        below = sums[me - step] if me >= step else 0
        cuda.syncthreads()
        sums[me] += below
        cuda.syncthreads()
        step *= 2
    before = sums[me] - value
    total = sums[cuda.blockDim.x - 1]
    cuda.syncthreads()
    return before, total


def share_of_block(count: Any) -> Any:
    """(first, end) of the things that a thread takes where one block goes over all of them."""
    each = (count + cuda.blockDim.x - 1) // cuda.blockDim.x
    first = min(cuda.threadIdx.x * each, count)
    return first, min(first + each, count)


def segment_of(offsets: Any, place: Any) -> Any:
    """The segment that holds a place: the last one that begins at or before it."""
    low, high = 0, offsets.size - 1
    while high - low > 1:
        middle = (low + high) // 2
        if offsets[middle] <= place:
            low = middle
        else:
            high = middle
    return low
