"""The largest elements of each segment of a vector, with their places in it; and the way back."""

from __future__ import annotations

from typing import Any

import numpy as np

from caffe2py.errors import ShapeError
from caffe2py.kernels.copy import launch_fill
from caffe2py.kernels.jit import kernel
from caffe2py.kernels.parallel import divisible, moving
from caffe2py.registry.context import Launch
from caffe2py.tensor.tensor import Array
from caffe2py.tensor.types import shape_text


@kernel()
def _top(x: Any, offsets: Any, y: Any, indices: Any) -> None:
    """Insertion into the ones found so far, which are few."""
    wanted = y.shape[1]
    for s in range(y.shape[0]):
        found = 0
        for p in range(offsets[s], offsets[s + 1]):
            value = x[p]
            at = found
            while at > 0 and (
                value > y[s, at - 1] or (value == value) > (y[s, at - 1] == y[s, at - 1])
            ):
                at -= 1
            if at == wanted:
                continue
            found = min(found + 1, wanted)
            for k in range(found - 1, at, -1):
                y[s, k] = y[s, k - 1]
                indices[s, k] = indices[s, k - 1]
            y[s, at] = value
            indices[s, at] = p - offsets[s]
        for k in range(found, wanted):
            y[s, k] = 0
            indices[s, k] = -1


def launch_segment_top(x: Array, offsets: Array, y: Array, indices: Array) -> Launch:
    """The largest elements of each segment in order, with their places in it; then 0 and -1.

    Of equal elements the first comes first; NaN come last.
    """
    if y.shape[0] != offsets.size - 1 or y.shape != indices.shape:
        raise ShapeError(f"no {shape_text(y.shape)} of {offsets.size - 1} segments")
    flat = x.reshape(-1)

    def part(first: int, end: int) -> Launch:
        return _top(flat, offsets[first : end + 1], y[first:end], indices[first:end])

    return divisible(len(y), 4 * moving(x), part)


@kernel()
def _top_gradient(dy: Any, indices: Any, offsets: Any, dx: Any) -> None:
    for s in range(dy.shape[0]):
        for k in range(dy.shape[1]):
            if 0 <= indices[s, k] < offsets[s + 1] - offsets[s]:
                dx[offsets[s] + indices[s, k]] = dy[s, k]


def launch_segment_top_gradient(
    dy: Array, indices: Array, offsets: Array, dx: Array
) -> list[Launch]:
    """dx = dy at the places of each segment that indices name, 0 elsewhere; others are left out."""
    if dy.shape[0] != offsets.size - 1 or dy.shape != indices.shape:
        raise ShapeError(f"no {shape_text(dy.shape)} of {offsets.size - 1} segments")

    def part(first: int, end: int) -> Launch:
        return _top_gradient(dy[first:end], indices[first:end], offsets[first : end + 1], dx)

    spread = divisible(len(dy), 4 * moving(dy), part)
    return [launch_fill(np.zeros(1, dx.dtype), dx.reshape(-1)), spread]
