"""Which machine code a launch on a device needs."""

from __future__ import annotations

import dis
import functools
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
        return _returns_something(self.function)


@functools.cache
def _returns_something(function: Callable[..., Any]) -> bool:
    """Whether a function ends anywhere with something other than None."""
    before = None
    for each in dis.get_instructions(function):
        if each.opname.startswith("RETURN_"):
            constant = each if each.opname == "RETURN_CONST" else before
            fixed = constant is not None and constant.opname in ("LOAD_CONST", "RETURN_CONST")
            if constant is not None and not (fixed and constant.argval is None):
                return True
        before = each
    return False
