"""Elementwise launches in a row as one loop: every array passes through the processor once.

A chain of n operators on arrays of b bytes moves (reads + writes) * n * b bytes through memory if
its arrays do not fit the caches. As one loop it moves what comes in and what somebody will read.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from caffe2py.kernels.jit import Kernel
from caffe2py.kernels.parallel import split
from caffe2py.kernels.params import Scalar
from caffe2py.registry.context import Launch, Map
from caffe2py.registry.operator import provide
from caffe2py.tensor.late import late
from caffe2py.tensor.tensor import Array

#: A share begins at a multiple of this: a page, so that no two threads write one line.
_SHARE = 4096

#: Nanoseconds per element and array, from memory.
_NS = 0.15


@dataclass(frozen=True)
class _Step:
    """t = function(sources, scalars): "x3" is an array's element, "t2" the result of a step."""

    function: Any
    sources: tuple[str, ...]
    scalars: int
    dtype: str


#: The name of a step's result.
_RESULT = re.compile(r"\b(t\d+)\b")


def launch_maps(maps: Sequence[Map], unread: Collection[int]) -> list[Launch]:
    """One pass for several maps, in parts if it is long.

    All arrays are of one size, and two of them are the same or do not overlap. Results of the maps
    whose numbers are in `unread` need not be written.
    """
    arrays: dict[tuple[int, str], Array] = {}
    now: dict[tuple[int, str], str] = {}
    written: dict[tuple[int, str], int] = {}
    steps: list[_Step] = []
    for k, each in enumerate(maps):
        sources = []
        for x in each.inputs:
            if _name(x) not in now:
                now[_name(x)] = f"x{len(arrays)}"
                arrays[_name(x)] = x
            sources.append(now[_name(x)])
        steps.append(
            _Step(each.function, tuple(sources), len(each.scalars), each.output.dtype.str[1:])
        )
        now[_name(each.output)] = f"t{k}"
        written[_name(each.output)] = k
    stores = []
    for name, k in written.items():
        if k in unread:
            continue
        arrays.setdefault(name, maps[k].output)
        stores.append((list(arrays).index(name), k))
    flat = [array.reshape(-1) for array in arrays.values()]
    loop = _loop(tuple(steps), len(flat), tuple(stores))
    numbers = [s for each in maps for s in each.scalars]

    def part(first: int, end: int) -> Launch:
        return loop(*(array[first:end] for array in flat), *numbers)

    size = flat[0].size
    return split(size, size * _NS * (len(flat) + len(maps)), part, _SHARE)


def _name(array: Array) -> tuple[int, str]:
    return array.ctypes.data, array.dtype.str


@functools.cache
def _loop(steps: tuple[_Step, ...], arrays: int, stores: tuple[tuple[int, int], ...]) -> Kernel:
    """The loop over one element after another: all steps, then what is kept of them."""
    names: dict[str, Any] = {}
    scalars: list[str] = []
    body: list[str] = []
    for k, step in enumerate(steps):
        names[f"f{k}"] = Scalar(step.function)
        names[f"c{k}"] = np.dtype(step.dtype).type
        own = [f"s{len(scalars) + j}" for j in range(step.scalars)]
        scalars += own
        sources = [s if s.startswith("t") else f"{s}[i]" for s in step.sources]
        body.append(f"t{k} = c{k}(f{k}({', '.join([*sources, *own])}))")
    body += [f"x{array}[i] = t{k}" for array, k in stores]
    lines = [
        f"def loop({', '.join([*(f'x{k}' for k in range(arrays)), *scalars])}):",
        "    for i in range(x0.size):",
        *(f"        {line}" for line in body),
    ]
    exec("\n".join(lines), names)
    loop = names["loop"]
    loop.__name__ = loop.__qualname__ = "fused_" + "_".join(s.function.__name__ for s in steps[:4])
    loop.__module__ = __name__
    made = Kernel(loop)
    made.form_later(lambda: _flat_form(made, [*(f"x{k}" for k in range(arrays)), *scalars], body))
    return made


def _flat_form(loop: Kernel, parameters: Sequence[str], body: Sequence[str]) -> Any:
    steps = [line for line in body if not line.startswith("x")]
    stores = [line for line in body if line.startswith("x")]

    def at(lines: Sequence[str], place: str, which: str) -> list[str]:
        renamed = (_RESULT.sub(rf"\1{which}", line) for line in lines)
        return [line.replace("[i]", f"[{place}]") for line in renamed]

    form = late("kernels.cuda.maps", "flat_form")(
        parameters,
        "x0.size",
        lambda place, which: at(steps, place, which),
        lambda place, which: at(stores, place, which),
        loop.function.__globals__,
    )
    form.__name__ = loop.__name__
    return form, late("kernels.cuda.maps", "blocks_for")


provide("launch_maps", lambda: launch_maps)
