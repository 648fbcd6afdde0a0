"""Loops of membership and choice."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

import numpy as np

from caffe2py.kernels.callback import launch_python
from caffe2py.kernels.copy import bits
from caffe2py.kernels.jit import kernel
from caffe2py.kernels.parallel import CHUNK, by_rows
from caffe2py.registry.context import Launch
from caffe2py.tensor.late import late
from caffe2py.tensor.place import copy_into, on_host
from caffe2py.tensor.tensor import Array
from caffe2py.tensor.types import STRING


@kernel()
def _members(x: Any, values: Any, y: Any) -> None:
    """Halves the ascending values until one is left."""
    for i in range(x.size):
        low = 0
        high = values.size
        while low < high:
            middle = (low + high) // 2
            if values[middle] < x[i]:
                low = middle + 1
            else:
                high = middle
        y[i] = low < values.size and values[low] == x[i]


def launch_members(x: Array, values: Collection[Any], y: Array) -> Launch:
    """y = whether each element of the vector x is among the values; x of integers or strings."""
    if x.dtype == STRING:
        known = frozenset(values)

        def look_up() -> None:
            copy_into(y, np.array([text in known for text in x], bool))

        return launch_python(look_up)
    if x.dtype == np.bool_:
        x, values = x.view(np.uint8), [int(v != 0) for v in values]
    table = np.array(sorted(set(values)), np.int64)
    return by_rows(lambda part, out: _members(part, table, out), x, y, effort=5, multiple=CHUNK)


@kernel()
def _choice(c: Any, x: Any, y: Any, z: Any) -> None:
    rows, columns = z.shape
    for r in range(rows):
        for i in range(columns):
            z[r, i] = x[r, i] if c[r] else y[r, i]


_choice.form_later(lambda: late("kernels.cuda.moved", "SELECT_ROWS"))


def launch_choice(c: Array, x: Array, y: Array, z: Array) -> Launch:
    """z[r] = x[r] where c[r] is true, y[r] elsewhere: elements, or rows if c is shorter."""
    rows = c.size
    x, y, z = (a.reshape(rows, a.size // rows if rows else 0) for a in (x, y, z))
    if x.dtype == STRING:

        def choose() -> None:
            z[...] = np.where(on_host(c)[:, None], x, y)

        return launch_python(choose)
    return by_rows(_choice, c, bits(x), bits(y), bits(z))
