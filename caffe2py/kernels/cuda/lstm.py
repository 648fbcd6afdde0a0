"""A step of an LSTM on devices, an element of the state by each thread."""

from __future__ import annotations

from typing import Any

from caffe2py.kernels.cuda.maps import blocks_for
from caffe2py.kernels.cuda.threads import cuda
from caffe2py.kernels.vectormath import sigmoid, tanh


def _advance(gates: Any, bias: Any, cell: Any, hidden: Any, out: Any, column: int) -> None:
    size = cell.shape[1]
    for k in range(cuda.grid(1), cell.size, cuda.gridsize(1)):
        n, d = k // size, k % size
        i, f, g, o = gates[n, d], gates[n, size + d], gates[n, 2 * size + d], gates[n, 3 * size + d]
        if bias.size:
            i += bias[d]
            f += bias[size + d]
            g += bias[2 * size + d]
            o += bias[3 * size + d]
        c = sigmoid(f) * cell[n, d] + sigmoid(i) * tanh(g)
        h = sigmoid(o) * tanh(c)
        cell[n, d] = c
        hidden[n, d] = h
        out[n, column + d] = h


advance = _advance, lambda gates, bias, cell, *_: blocks_for(cell)
