"""Which elements dropout keeps: a random mask, and what it makes of values."""

from __future__ import annotations

from typing import Any

import numpy as np

from caffe2py.kernels.elementwise import launch_map
from caffe2py.kernels.jit import callable_at, kernel
from caffe2py.kernels.parallel import CHUNK, split
from caffe2py.kernels.random import bits32, launch_advance, stream
from caffe2py.registry.context import Launch
from caffe2py.tensor.tensor import Array

_WORDS = 2**32

#: Nanoseconds for a random number, within a factor of three.
_NS = 0.5


@kernel()
def _draw_mask(state: Any, threshold: Any, mask: Any, first: int) -> None:
    """A part of the mask, from its element `first` on."""
    key = stream(state)
    for i in range(mask.size):
        mask[i] = bits32(key, first + i) >= threshold


def launch_draw_mask(state: Array, ratio: float, mask: Array) -> list[Launch]:
    """Each element is False with probability `ratio`, in [0, 1); every run draws other ones."""
    threshold = np.uint64(min(round(ratio * _WORDS), _WORDS - 1))
    flat = mask.reshape(-1)

    def part(first: int, end: int) -> Launch:
        return _draw_mask(state, threshold, flat[first:end], first)

    return [*split(mask.size, _NS * mask.size, part, CHUNK), launch_advance(state)]


def draw_mask(state: Array, ratio: float, size: int) -> Array:
    """The same at once, for steps that run in Python; a ratio of 1 leaves nothing."""
    mask = np.zeros(size, np.bool_)
    for launch in launch_draw_mask(state, ratio, mask):
        callable_at(launch.address)(launch.block.ctypes.data)
    return mask if ratio < 1 else np.zeros(size, np.bool_)


def _kept(x, keep, scale):
    return x * scale if keep else 0


def launch_keep(x: Array, mask: Array, ratio: float, y: Array) -> Launch:
    """Y = x / (1 - ratio) where the mask is True, 0 elsewhere; x may be y."""
    return launch_map(_kept, (x, mask), y, 1 / (1 - ratio))
