"""Loops over one step of a recurrent cell: LSTM and GRU units, and sums of one step's gradient.

States are (batch, size), gates (batch, gates * size). A row whose sequence has ended before the
step keeps its state, or loses it where states are dropped.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from caffe2py.kernels.jit import kernel
from caffe2py.kernels.vectormath import sigmoid, tanh
from caffe2py.registry.context import Launch
from caffe2py.tensor.late import late
from caffe2py.tensor.tensor import Array


def _copy_row(source: Any, target: Any, drop: Any) -> None:
    """The row of an ended sequence: the one before, or zeros."""
    for d in range(target.size):
        target[d] = 0 if drop else source[d]


def _clear_row(row: Any) -> None:
    for d in range(row.size):
        row[d] = 0


# ---------------------------------------------------------------- LSTM


def _lstm_row(before: Any, gates: Any, bias: Any, hidden: Any, cell: Any) -> None:
    size = before.size
    for d in range(size):
        i = sigmoid(gates[d])
        f = sigmoid(gates[size + d] + bias)
        o = sigmoid(gates[2 * size + d])
        g = tanh(gates[3 * size + d])
        c = f * before[d] + i * g
        cell[d] = c
        hidden[d] = o * tanh(c)


@kernel()
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
    for n in range(c.shape[0]):
        if lengths.size and step[0] >= lengths[n]:
            _copy_row(h[n], hidden[n], drop)
            _copy_row(c[n], cell[n], drop)
        else:
            _lstm_row(c[n], gates[n], bias, hidden[n], cell[n])


_lstm.form_later(lambda: late("kernels.cuda.cells", "LSTM"))


def _lstm_row_gradient(
    before: Any,
    gates: Any,
    bias: Any,
    cell: Any,
    dhidden: Any,
    dcell: Any,
    dbefore: Any,
    dgates: Any,
) -> None:
    size = before.size
    one = cell.dtype.type(1)
    for d in range(size):
        i = sigmoid(gates[d])
        f = sigmoid(gates[size + d] + bias)
        o = sigmoid(gates[2 * size + d])
        g = tanh(gates[3 * size + d])
        squashed = tanh(cell[d])
        dh = dhidden[d]
        dc = dcell[d] + dh * o * (one - squashed * squashed)
        dbefore[d] = dc * f
        dgates[d] = dc * g * i * (one - i)
        dgates[size + d] = dc * before[d] * f * (one - f)
        dgates[2 * size + d] = dh * squashed * o * (one - o)
        dgates[3 * size + d] = dc * i * (one - g * g)


@kernel()
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
    for n in range(c.shape[0]):
        if lengths.size and step[0] >= lengths[n]:
            _copy_row(dhidden[n], dh[n], drop)
            _copy_row(dcell[n], dc[n], drop)
            _clear_row(dgates[n])
        else:
            _lstm_row_gradient(
                c[n], gates[n], bias, cell[n], dhidden[n], dcell[n], dc[n], dgates[n]
            )
            _clear_row(dh[n])


_lstm_gradient.form_later(lambda: late("kernels.cuda.cells", "LSTM_GRADIENT"))


def _rows(array: Array) -> Array:
    """(1, batch, size) as (batch, size)."""
    return array.reshape(array.shape[1:])


def _lengths(lengths: Array | None) -> Array:
    return np.zeros(0, np.int32) if lengths is None else lengths.reshape(-1)


def launch_lstm(
    states: tuple[Array, Array],
    gates: Array,
    lengths: Array | None,
    step: Array,
    forget_bias: float,
    drop: bool,
    out: tuple[Array, Array],
) -> Launch:
    """One step of an LSTM; arrays are (1, batch, size), gates (1, batch, 4 * size) as i, f, o, g.

    c' = sigmoid(f + forget_bias) * c + sigmoid(i) * tanh(g), h' = sigmoid(o) * tanh(c').
    `states` and `out` are (h, c); `step` holds the number of the step.
    """
    h, c = map(_rows, states)
    bias = c.dtype.type(forget_bias)
    scalars = (_lengths(lengths), step.reshape(-1), bias, drop)
    return _lstm(h, c, _rows(gates), *scalars, *map(_rows, out))


def launch_lstm_gradient(
    before: Array,
    gates: Array,
    lengths: Array | None,
    step: Array,
    forget_bias: float,
    drop: bool,
    cell: Array,
    given: tuple[Array, Array],
    out: tuple[Array, Array, Array],
) -> Launch:
    """The way back: `before` is c, `cell` c', `given` (dh', dc'), `out` (dh, dc, dgates)."""
    bias = before.dtype.type(forget_bias)
    scalars = (_lengths(lengths), step.reshape(-1), bias, drop)
    arrays = map(_rows, (cell, *given, *out))
    return _lstm_gradient(_rows(before), _rows(gates), *scalars, *arrays)


# ---------------------------------------------------------------- GRU


@kernel()
def _gru(h: Any, gates: Any, lengths: Any, step: Any, drop: Any, hidden: Any) -> None:
    size = h.shape[1]
    one = h.dtype.type(1)
    for n in range(h.shape[0]):
        if lengths.size and step[0] >= lengths[n]:
            _copy_row(h[n], hidden[n], drop)
            continue
        for d in range(size):
            u = sigmoid(gates[n, size + d])
            hidden[n, d] = h[n, d] * u + tanh(gates[n, 2 * size + d]) * (one - u)


_gru.form_later(lambda: late("kernels.cuda.cells", "GRU"))


@kernel()
def _gru_gradient(
    h: Any, gates: Any, lengths: Any, step: Any, drop: Any, dhidden: Any, dh: Any, dgates: Any
) -> None:
    size = h.shape[1]
    one = h.dtype.type(1)
    for n in range(h.shape[0]):
        _clear_row(dgates[n])
        if lengths.size and step[0] >= lengths[n]:
            _copy_row(dhidden[n], dh[n], drop)
            continue
        for d in range(size):
            u = sigmoid(gates[n, size + d])
            o = tanh(gates[n, 2 * size + d])
            g = dhidden[n, d]
            dh[n, d] = g * u
            dgates[n, size + d] = g * (h[n, d] - o) * u * (one - u)
            dgates[n, 2 * size + d] = g * (one - u) * (one - o * o)


_gru_gradient.form_later(lambda: late("kernels.cuda.cells", "GRU_GRADIENT"))


def launch_gru(
    h: Array, gates: Array, lengths: Array | None, step: Array, drop: bool, out: Array
) -> Launch:
    """h' = sigmoid(u) * h + (1 - sigmoid(u)) * tanh(o); gates (1, batch, 3 * size) are r, u, o.

    The reset gate r has done its work before: it only has its place here.
    """
    scalars = (_lengths(lengths), step.reshape(-1), drop)
    return _gru(_rows(h), _rows(gates), *scalars, _rows(out))


def launch_gru_gradient(
    h: Array,
    gates: Array,
    lengths: Array | None,
    step: Array,
    drop: bool,
    given: Array,
    out: tuple[Array, Array],
) -> Launch:
    """The way back: `given` is dh', `out` (dh, dgates); the reset gate's gradient is 0."""
    scalars = (_lengths(lengths), step.reshape(-1), drop)
    return _gru_gradient(_rows(h), _rows(gates), *scalars, *map(_rows, (given, *out)))


# ---------------------------------------------------------------- one step of a sequence


@kernel()
def _add_step(given: Any, step: Any, offset: Any, total: Any) -> Any:
    t = step[0]
    if not (0 <= t < given.shape[0] and 0 <= t + offset < total.shape[0]):
        return 1
    for i in range(total.shape[1]):
        total[t + offset, i] += given[t, i]
    return 0


_add_step.form_later(lambda: late("kernels.cuda.cells", "ADD_STEP"))


def launch_add_step(given: Array, step: Array, offset: int, total: Array, explain: Any) -> Launch:
    """total[step + offset] += given[step]; both are (steps, elements). Status 1: no such step."""
    return _add_step(given, step.reshape(-1), offset, total, explain=explain)


@kernel()
def _clear_ends(x: Any, lengths: Any) -> None:
    for t in range(x.shape[0]):
        for n in range(x.shape[1]):
            if t >= lengths[n]:
                _clear_row(x[t, n])


_clear_ends.form_later(lambda: late("kernels.cuda.cells", "CLEAR_ENDS"))


def launch_clear_ends(x: Array, lengths: Array) -> Launch:
    """x[t, n] = 0 where t >= lengths[n]; x is (steps, batch, ...)."""
    width = math.prod(x.shape[2:])
    return _clear_ends(x.reshape(*x.shape[:2], width), lengths)
