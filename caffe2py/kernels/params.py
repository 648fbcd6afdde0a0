"""What the two halves of the kernel machinery agree on: launching and compiling."""

from __future__ import annotations

import ctypes
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

#: The C type of a compiled kernel.
PROTOTYPE = ctypes.CFUNCTYPE(ctypes.c_int32, ctypes.c_int64)

#: Status of a kernel in which an exception was raised (bounds checks, when they are switched on).
RAISED = -1


@dataclass(frozen=True)
class Param:
    """The type of one kernel argument: a scalar (`ndim` None) or an array of `ndim` axes.

    `device`: the array is one of a CUDA device.
    """

    dtype: str
    ndim: int | None
    device: bool = False

    def __str__(self) -> str:
        return self.dtype if self.ndim is None else f"{self.dtype}[{self.ndim}]"


@dataclass(frozen=True)
class Scalar:
    """A function of single elements, to be called by a loop.

    Its numeric literals take the element type of the loop's first array, so that `0.5 * x` stays
    float32 for float32 elements.
    """

    function: Callable[..., Any]


@dataclass(frozen=True)
class ByType:
    """A function of single numbers that is written for each floating type of its own.

    Loops call it by name; the type of the first argument chooses. Its operations are kept as they
    are written, whatever the loop allows the compiler, so every loop gets the same results. Float
    literals take its type; integers stay integers. Whole numbers count as float64.
    """

    float32: Callable[..., Any]
    float64: Callable[..., Any]

    def __call__(self, *args: Any) -> Any:
        """Only compiled code can call it."""
        raise TypeError(f"{self.float32.__name__} exists in compiled kernels only")


@dataclass(frozen=True)
class Intrinsic:
    """Something that kernels call by name and the compiler emits as machine instructions.

    `files` of this folder hold the code that emits them, the last of them its name: kernels depend
    on what is in there.
    """

    name: str
    files: tuple[str, ...] = ("emit.py",)

    def __call__(self, *args: Any) -> Any:
        """Only compiled code can call an intrinsic."""
        raise TypeError(f"{self.name} exists in compiled kernels only")


#: call_kernel(address, block) -> int32: run another kernel.
call_kernel = Intrinsic("call_kernel")
