"""A whole LSTM, layer by layer and step by step: products, and a loop over each step's gates."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from caffe2py.kernels.copy import launch_copy
from caffe2py.kernels.jit import kernel
from caffe2py.kernels.linalg import launch_product
from caffe2py.kernels.vectormath import sigmoid, tanh
from caffe2py.registry.context import Call, Launch
from caffe2py.tensor.tensor import Array

__all__ = ["Direction", "launch_direction"]


@dataclass(frozen=True)
class Direction:
    """The weights of one way through one layer, and the states that they start from.

    `inner` (4 * H, D) and `outer` (4 * H, H) multiply a step's input and the state; their rows, and
    those of the biases, are the gates i, f, g and o. `hidden` and `cell` are (N, H).
    """

    inner: Array
    outer: Array
    biases: tuple[Array, Array] | None
    hidden: Array
    cell: Array


@kernel()
def _advance(gates: Any, bias: Any, cell: Any, hidden: Any, out: Any, column: int) -> None:
    """One step: states change where they lie, and out[:, column:] gets the hidden one."""
    rows, size = cell.shape
    for n in range(rows):
        if bias.size:
            for j in range(4 * size):
                gates[n, j] += bias[j]
        for d in range(size):
            i = sigmoid(gates[n, d])
            f = sigmoid(gates[n, size + d])
            g = tanh(gates[n, 2 * size + d])
            o = sigmoid(gates[n, 3 * size + d])
            c = f * cell[n, d] + i * g
            h = o * tanh(c)
            cell[n, d] = c
            hidden[n, d] = h
            out[n, column + d] = h


_advance.form_from("lstm", "advance")


def launch_direction(
    call: Call,
    x: Array,
    way: Direction,
    gates: Array,
    last: tuple[Array, Array],
    y: Array,
    column: int,
    backward: bool,
) -> list[Launch]:
    """y[t, :, column : column + H] = the hidden states over the steps x[t], in either direction.

    x (T, N, D), y (T, N, W), `gates` scratch (T, N, 4 * H); `last` gets the final states (N, H).
    """
    steps, batch, width = x.shape
    wide = gates.shape[2]
    first, second = way.biases or (None, np.zeros(0, x.dtype))
    hidden, cell = last
    launches = [launch_copy(way.hidden, hidden), launch_copy(way.cell, cell)]
    flat = gates.reshape(steps * batch, wide)
    rows = x.reshape(steps * batch, width)
    launches += launch_product(call, rows, way.inner, flat, transpose_b=True, bias=first)
    for t in range(steps - 1, -1, -1) if backward else range(steps):
        launches += launch_product(call, hidden, way.outer, gates[t], transpose_b=True, add=True)
        launches.append(_advance(gates[t], second, cell, hidden, y[t], column))
    return launches
