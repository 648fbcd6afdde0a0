"""Products of tiles: what a block of threads multiplies, in shared memory and registers.

A block computes a tile of TILE x TILE sums, DEEP terms at a time. Each of its SIDE x SIDE threads
fetches QUAD neighbours of either factor into registers while the terms before are multiplied, and
keeps QUAD x QUAD sums there. Terms are added in their order.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from caffe2py.kernels.cuda.form import device_kernel
from caffe2py.kernels.cuda.maps import blocks_for
from caffe2py.kernels.cuda.threads import Size, cuda
from caffe2py.registry.context import Call, Launch
from caffe2py.tensor.tensor import Array

#: Threads along each side of a tile, and neighbours that a thread takes of each: 16 bytes or more.
SIDE: Any = Size(16, 2)
QUAD: Any = Size(4, 2)

#: Sums of a thread, sums along each side of a tile, terms at a time.
SUMS: Any = Size(16, 4)
TILE: Any = Size(64, 4)
DEEP: Any = Size(16, 2)

#: Threads that share the terms of a line, and a mask for the places where QUAD elements begin.
SHARING: Any = Size(4, 1)
WHOLE: Any = Size(-4, -2)

#: Elements from term to term in shared memory, of all terms, and where such memory begins.
PITCH: Any = Size(68, 6)
AREA: Any = Size(68 * 16, 6 * 2)
ALIGNED: Any = Size(16, None)

#: So many tiles keep a device busy; sums are cut into shares of so many steps at least, and into so
#: many shares at most.
_ENOUGH, _STEPS, _MOST = 128, 8, 64

#: A tile and its terms on real devices, for those who count them.
REAL_TILE: int = TILE.real
REAL_DEEP: int = DEEP.real

#: A place, from where nobody counts from the end.
u8 = np.uint64


def my_line(me: Any, along: Any) -> Any:
    """The first line of a factor that a thread fetches; `along`: its terms are neighbours."""
    return me // SHARING if along else me % SIDE * QUAD


def my_term(me: Any, along: Any) -> Any:
    """The first term that it fetches."""
    return me % SHARING * QUAD if along else me // SIDE


def fetch(x, held, at, step, line, lines, term, terms, along, wide):
    """held = QUAD elements of a factor from x[at] on, 0 for lines and terms beyond its end.

    They are `step` apart, terms if they lie `along`, or lines. `wide`: they are neighbours and
    begin at a multiple of QUAD.
    """
    left = terms - term if along else lines - line
    if line >= lines or term >= terms:
        left = 0
    if wide and left >= QUAD:
        first = u8(at & WHOLE)
        for i in range(QUAD):
            held[i] = x[first + u8(i)]
    else:
        for i in range(QUAD):
            held[i] = x[u8(at + i * step)] if i < left else x.dtype.type(0)


def keep(tile, held, line, term, along):
    """Put what was fetched into shared memory, by terms."""
    at = term * PITCH + line
    if along:
        for i in range(QUAD):
            tile[u8(at + i * PITCH)] = held[i]
    else:
        for i in range(QUAD):
            tile[u8(at + i)] = held[i]


def multiply(left, right, sums, row, column):
    """Add the products of a tile's terms to the sums of a thread, from this row and column on."""
    p = cuda.local.array(QUAD, left.dtype)
    q = cuda.local.array(QUAD, left.dtype)
    for k in range(DEEP):
        for i in range(QUAD):
            p[i] = left[u8(k * PITCH + row + i)]
        for j in range(QUAD):
            q[j] = right[u8(k * PITCH + column + j)]
        for i in range(QUAD):
            for j in range(QUAD):
                sums[i * QUAD + j] += p[i] * q[j]


def finished(value, at, feature, bias, base, biased, added, low):
    """A sum with a bias, with `base[at]` if something is `added`, and at least `low`."""
    if biased:
        value += bias[u8(feature)]
    if added:
        value += base[u8(at)]
    return low if value < low else value


@device_kernel(lambda shares, c, *_: blocks_for(c))
def add_shares(shares, c, base, bias, low, splits, inner, features, biased, added):
    """c = the sum of all shares, in their order, finished; the bias is that of i // inner."""
    for i in range(cuda.grid(1), c.size, cuda.gridsize(1)):
        total = c.dtype.type(0)
        for s in range(splits):
            total += shares[u8(s * c.size + i)]
        feature = i // inner % features
        c[u8(i)] = finished(total, i, feature, bias, base, biased, added, low)


def splits_of(tiles: int, steps: int) -> int:
    """In how many shares to take sums of so many steps, so that few tiles keep a device busy.

    The sizes alone decide, so results do not depend on the device.
    """
    if tiles >= _ENOUGH:
        return 1
    return max(1, min(2 * _ENOUGH // max(tiles, 1), steps // _STEPS, _MOST))


@dataclass(frozen=True)
class End:
    """What results end with: a bias of one in every `inner`, something to add, a least value."""

    c: Array
    bias: Array | None = None
    inner: int = 1
    added: Array | None = None
    low: float = -math.inf

    def args(self, target: Array) -> tuple[Any, ...]:
        """What a kernel that writes to `target` needs: it, what is added, the bias, and `low`."""
        base = target if self.added is None else self.added.reshape(-1)
        bias = target if self.bias is None else self.bias.reshape(-1)
        return target, base, bias, self.c.dtype.type(self.low)

    def launches(
        self, call: Call, splits: int, launch: Callable[[End, Array], Launch]
    ) -> list[Launch]:
        """`launch`, given the end and the array for its results; with what adds up its shares."""
        flat = self.c.reshape(-1)
        if splits == 1:
            return [launch(self, flat)]
        shares = call.scratch((splits * flat.size,), flat.dtype, brief=True)
        features = 1 if self.bias is None else self.bias.size
        last = add_shares(
            shares, *self.args(flat), splits, self.inner, features,
            self.bias is not None, self.added is not None,
        )  # fmt: skip
        return [launch(End(self.c), shares), last]
