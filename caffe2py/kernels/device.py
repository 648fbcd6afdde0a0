"""What launches for CUDA devices are made of: kernels, sums and arrays that they alone have.

A place is a module of `kernels.cuda` and a name in it: "losses.AVERAGE".
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from caffe2py.registry.context import Launch
from caffe2py.tensor.late import late
from caffe2py.tensor.place import device_of, empty_on
from caffe2py.tensor.tensor import Array


def on_cuda(place: str) -> Any:
    """What is at a place."""
    module, _, name = place.partition(".")
    return late(f"kernels.cuda.{module}", name)


def launch_total(
    place: str, count: int, over: Sequence[Any], y: Array, result: Sequence[Any] = ()
) -> list[Launch]:
    """The one element of y = a number that is made of `count` elements; see `Total.launch`."""
    launches: list[Launch] = on_cuda(place).launch(count, over, y.reshape(-1), result)
    return launches


def launch_by_channel(
    place: str, shape: tuple[int, ...], over: Sequence[Any], use: Sequence[Any]
) -> list[Launch]:
    """What is made of two sums for each channel; see `ChannelSums.launch`."""
    launches: list[Launch] = on_cuda(place).launch(shape, over, use)
    return launches


def doubles(like: Array, count: int) -> Array:
    """So many float64 numbers of a launch's own, on the device of another array."""
    return empty_on(device_of(like), (count,), np.dtype(np.float64))
