"""Dot products between chosen pairs of vectors."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from caffe2py.errors import Error
from caffe2py.kernels.copy import launch_copy
from caffe2py.kernels.jit import kernel
from caffe2py.registry.context import Call, Launch
from caffe2py.tensor.tensor import Array


@kernel("reassoc", "contract")
def _pairs(x: Any, indices: Any, y: Any) -> Any:
    """x is (inputs, rows, columns); an index is a pair of inputs."""
    count = x.shape[0]
    for k in range(indices.size):
        if not 0 <= indices[k] < count * count:
            return min(k + 1, 2**31 - 1)
        first, second = indices[k] // count, indices[k] % count
        for r in range(x.shape[1]):
            total = x.dtype.type(0)
            for i in range(x.shape[2]):
                total += x[first, r, i] * x[second, r, i]
            y[r, k] = total
    return 0


_pairs.form_from("similarity", "pairs")


def launch_pairs(
    call: Call,
    indices: Array,
    vectors: Sequence[Array],
    y: Array,
    explain: Callable[[int], Error],
) -> list[Launch]:
    """y[r, k] = the dot product of row r of two inputs, i and j for indices[k] = i * inputs + j."""
    x = call.scratch((len(vectors), *vectors[0].shape), y.dtype)
    copies = [launch_copy(source, x[k]) for k, source in enumerate(vectors)]
    return [*copies, _pairs(x, indices, y, explain=explain)]
