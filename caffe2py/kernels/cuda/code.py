"""Which machine code a launch on a device needs."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from caffe2py.kernels.params import Param


@dataclass(frozen=True)
class Code:
    """Which machine code a launch needs: the same for all that are equal.

    `moving` are the slots that change from part to part, `ones` the sizes that are 1 in each;
    `cooperative` forms are run by whole blocks, others by each thread for the parts it takes.
    `aligned`: every array begins at a multiple of 16 bytes.
    """

    function: Callable[..., Any]
    params: tuple[Param, ...]
    fastmath: tuple[str, ...]
    moving: tuple[int, ...] = ()
    ones: tuple[int, ...] = ()
    cooperative: bool = False
    aligned: bool = False

    @property
    def fails(self) -> bool:
        """Whether it returns a status."""
        return self.function.__annotations__.get("return") not in (None, "None")
