"""One step of a recurrent cell, for devices: a thread for each element of a state."""

from __future__ import annotations

from typing import Any

from caffe2py.kernels.cuda.teams import blocks_for_items
from caffe2py.kernels.cuda.threads import cuda
from caffe2py.kernels.vectormath import sigmoid, tanh


def _ended(lengths: Any, step: Any, n: Any) -> Any:
    return lengths.size > 0 and step[0] >= lengths[n]


def _lstm(
    h: Any,
    c: Any,
    gates: Any,
    lengths: Any,
    step: Any,
    bias: Any,
    drop: Any,
    hidden: Any,
    cell: Any,
) -> None:
    size = c.shape[1]
    for k in range(cuda.grid(1), c.size, cuda.gridsize(1)):
        n = k // size
        d = k - n * size
        if _ended(lengths, step, n):
            hidden[n, d] = c.dtype.type(0) if drop else h[n, d]
            cell[n, d] = c.dtype.type(0) if drop else c[n, d]
        else:
            i = sigmoid(gates[n, d])
            f = sigmoid(gates[n, size + d] + bias)
            o = sigmoid(gates[n, 2 * size + d])
            state = f * c[n, d] + i * tanh(gates[n, 3 * size + d])
            cell[n, d] = state
            hidden[n, d] = o * tanh(state)


def _lstm_gradient(
    c: Any,
    gates: Any,
    lengths: Any,
    step: Any,
    bias: Any,
    drop: Any,
    cell: Any,
    dhidden: Any,
    dcell: Any,
    dh: Any,
    dc: Any,
    dgates: Any,
) -> None:
    size = c.shape[1]
    zero, one = c.dtype.type(0), c.dtype.type(1)
    for k in range(cuda.grid(1), c.size, cuda.gridsize(1)):
        n = k // size
        d = k - n * size
        up, down = dhidden[n, d], dcell[n, d]
        if _ended(lengths, step, n):
            dh[n, d] = zero if drop else up
            dc[n, d] = zero if drop else down
            for gate in range(4):
                dgates[n, gate * size + d] = zero
        else:
            before, i = c[n, d], sigmoid(gates[n, d])
            f = sigmoid(gates[n, size + d] + bias)
            o = sigmoid(gates[n, 2 * size + d])
            g = tanh(gates[n, 3 * size + d])
            squashed = tanh(cell[n, d])
            whole = down + up * o * (one - squashed * squashed)
            dc[n, d] = whole * f
            dgates[n, d] = whole * g * i * (one - i)
            dgates[n, size + d] = whole * before * f * (one - f)
            dgates[n, 2 * size + d] = up * squashed * o * (one - o)
            dgates[n, 3 * size + d] = whole * i * (one - g * g)
            dh[n, d] = zero


def _gru(h: Any, gates: Any, lengths: Any, step: Any, drop: Any, hidden: Any) -> None:
    size, one = h.shape[1], h.dtype.type(1)
    for k in range(cuda.grid(1), h.size, cuda.gridsize(1)):
        n = k // size
        d = k - n * size
        if _ended(lengths, step, n):
            hidden[n, d] = h.dtype.type(0) if drop else h[n, d]
        else:
            u = sigmoid(gates[n, size + d])
            hidden[n, d] = h[n, d] * u + tanh(gates[n, 2 * size + d]) * (one - u)


def _gru_gradient(
    h: Any, gates: Any, lengths: Any, step: Any, drop: Any, dhidden: Any, dh: Any, dgates: Any
) -> None:
    size = h.shape[1]
    zero, one = h.dtype.type(0), h.dtype.type(1)
    for k in range(cuda.grid(1), h.size, cuda.gridsize(1)):
        n = k // size
        d = k - n * size
        g = dhidden[n, d]
        dgates[n, d] = zero
        if _ended(lengths, step, n):
            dh[n, d] = zero if drop else g
            dgates[n, size + d] = zero
            dgates[n, 2 * size + d] = zero
        else:
            u = sigmoid(gates[n, size + d])
            o = tanh(gates[n, 2 * size + d])
            state = h[n, d]
            dh[n, d] = g * u
            dgates[n, size + d] = g * (state - o) * u * (one - u)
            dgates[n, 2 * size + d] = g * (one - u) * (one - o * o)


def _add_step(given: Any, step: Any, offset: Any, total: Any) -> Any:
    t = step[0]
    if not (0 <= t < given.shape[0] and 0 <= t + offset < total.shape[0]):
        return 1
    for i in range(cuda.grid(1), total.shape[1], cuda.gridsize(1)):
        total[t + offset, i] += given[t, i]
    return 0


def _clear_ends(x: Any, lengths: Any) -> None:
    batch, width = x.shape[1], x.shape[2]
    for k in range(cuda.grid(1), x.size, cuda.gridsize(1)):
        row = k // width
        t = row // batch
        if t >= lengths[row - t * batch]:
            x[t, row - t * batch, k - row * width] = 0


def _of_first(*args: Any) -> int:
    return blocks_for_items(args[0].size)


LSTM, LSTM_GRADIENT = (_lstm, _of_first), (_lstm_gradient, _of_first)
GRU, GRU_GRADIENT = (_gru, _of_first), (_gru_gradient, _of_first)
ADD_STEP = _add_step, lambda given, step, offset, total: blocks_for_items(total.shape[1])
CLEAR_ENDS = _clear_ends, _of_first
