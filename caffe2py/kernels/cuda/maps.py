"""The text of loops over flat arrays for devices: 16 bytes at a time where arrays begin so."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from caffe2py.kernels.cuda.threads import BLOCK, cuda

#: Elements that a thread takes at once: 16 bytes of float32.
_AT_ONCE = 4

#: Elements for which a block is worth its while.
_EACH = BLOCK * _AT_ONCE

#: Blocks that there are at most; threads of these go on to what is left.
_MOST = 4096

# Places are unsigned: a signed one might count from the end, which Numba would look after
_NAMES = {"cuda": cuda, "u8": np.uint64, "_4": np.uint64(_AT_ONCE)} | {
    f"_{k}": np.uint64(k) for k in range(_AT_ONCE)
}


def blocks_for(*args: Any) -> int:
    """How many blocks run a flat loop over arrays of one size."""
    size: int = max(a.size for a in args if hasattr(a, "size"))
    return max(1, min(_MOST, -(-size // _EACH)))


def flat_form(
    parameters: Sequence[str],
    size: str,
    compute: Callable[[str, str], Sequence[str]],
    store: Callable[[str, str], Sequence[str]],
    names: dict[str, Any],
) -> Callable[..., Any]:
    """A function of arrays for devices: `compute`, then `store`, for each place i < size.

    Both are given the text of a place and a suffix for the names of what is computed there; all is
    computed for several neighbours before any of it is stored, so that memory is read and written
    in pieces of 16 bytes.
    """
    steps = [f"i + _{k}" for k in range(_AT_ONCE)]
    several = [line for k, at in enumerate(steps) for line in compute(at, f"_{k}")]
    several += [line for k, at in enumerate(steps) for line in store(at, f"_{k}")]
    lines = [
        f"def form({', '.join(parameters)}):",
        "    first, step = u8(cuda.grid(1)), u8(cuda.gridsize(1))",
        f"    whole = u8({size}) // _4",
        "    k = first",
        "    while k < whole:",
        "        i = k * _4",
        *(f"        {line}" for line in several),
        "        k += step",
        "    i = whole * _4 + first",
        f"    while i < u8({size}):",
        *(f"        {line}" for line in [*compute("i", ""), *store("i", "")]),
        "        i += step",
    ]
    namespace = {**_NAMES, **names}
    exec("\n".join(lines), namespace)
    form: Callable[..., Any] = namespace["form"]
    return form
