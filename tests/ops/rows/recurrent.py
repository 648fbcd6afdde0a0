"""Rows: LSTMUnit and GRUUnit."""

import numpy as np

from caffe2py.errors import ArityError, DTypeError, InplaceError, ShapeError
from caffe2py.testing import Bad, Case, Sample


def _sigmoid(x):
    return 1 / (1 + np.exp(-x))


def _ended(rest, sequence_lengths):
    """(rows that have ended, the inputs behind the timestep)"""
    if sequence_lengths:
        lengths, step, *rest = rest
        return (step.reshape(-1)[0] >= lengths.reshape(-1))[None, :, None], rest
    return False, rest[1:]


def _split(gates, count):
    return np.split(gates.astype(np.float64), count, axis=2)


def _lstm(h, c, gates, *rest, forget_bias=0.0, sequence_lengths=True, drop_states=False):
    ended, _ = _ended(rest, sequence_lengths)
    i, f, o, g = _split(gates, 4)
    cell = _sigmoid(f + forget_bias) * c + _sigmoid(i) * np.tanh(g)
    hidden = _sigmoid(o) * np.tanh(cell)
    keep = 0 if drop_states else 1
    return tuple(
        np.where(ended, keep * old, new).astype(c.dtype) for old, new in ((h, hidden), (c, cell))
    )


def _lstm_gradient(h, c, gates, *rest, forget_bias=0.0, sequence_lengths=True, drop_states=False):
    ended, (_, cell, dhidden, dcell) = _ended(rest, sequence_lengths)
    i, f, o, g = _split(gates, 4)
    i, f, o, g = _sigmoid(i), _sigmoid(f + forget_bias), _sigmoid(o), np.tanh(g)
    squashed = np.tanh(cell.astype(np.float64))
    dc = dcell + dhidden * o * (1 - squashed**2)
    dgates = [
        dc * g * i * (1 - i),
        dc * c * f * (1 - f),
        dhidden * squashed * o * (1 - o),
        dc * i * (1 - g**2),
    ]
    keep = 0 if drop_states else 1
    found = (
        np.where(ended, keep * dhidden, 0 * dhidden),
        np.where(ended, keep * dcell, dc * f),
        np.where(ended, 0, np.concatenate(dgates, 2)),
    )
    return tuple(x.astype(c.dtype) for x in found)


def _gru(h, gates, *rest, sequence_lengths=True, drop_states=False):
    ended, _ = _ended(rest, sequence_lengths)
    _, u, o = _split(gates, 3)
    u = _sigmoid(u)
    return np.where(ended, (1 - drop_states) * h, u * h + (1 - u) * np.tanh(o)).astype(h.dtype)


def _gru_gradient(h, gates, *rest, sequence_lengths=True, drop_states=False):
    ended, (_, dhidden) = _ended(rest, sequence_lengths)
    _, u, o = _split(gates, 3)
    u, o = _sigmoid(u), np.tanh(o)
    dgates = [0 * u, dhidden * (h - o) * u * (1 - u), dhidden * (1 - u) * (1 - o**2)]
    dh = np.where(ended, (1 - drop_states) * dhidden, dhidden * u)
    return dh.astype(h.dtype), np.where(ended, 0, np.concatenate(dgates, 2)).astype(h.dtype)


def _draw(rng, dtype, *shape):
    return rng.uniform(-2, 2, shape).astype(dtype)


def _steps(rng):
    """dtype, batch, size, lengths (or none) with the timestep, arguments"""
    for dtype in ("float32", "float64"):
        for batch, size in ((3, 4), (1, 1), (0, 2), (2, 0), (2, 17)):
            lengths = rng.integers(0, 4, batch).astype(np.int32)
            step = np.array([1], np.int32)
            yield dtype, batch, size, [lengths, step], {}
            yield dtype, batch, size, [lengths.reshape(1, -1), step], {"drop_states": True}
            yield dtype, batch, size, [np.array(5, np.int32)], {"sequence_lengths": False}
    yield "float32", 2, 3, [np.array([4, 4], np.int32), np.array([3, 9], np.int32)], {}
    yield "float32", 2, 3, [np.array([4, 4], np.int32), np.array([4], np.int32)], {}


def _lstm_samples(rng):
    for number, (dtype, batch, size, steps, args) in enumerate(_steps(rng)):
        states = [_draw(rng, dtype, 1, batch, size) for _ in range(2)]
        gates = _draw(rng, dtype, 1, batch, 4 * size)
        bias = {"forget_bias": 0.5 * number} if number % 2 else {}
        yield Sample([*states, gates, *steps], {**args, **bias}, 2)


def _lstm_gradient_samples(rng):
    for sample in _lstm_samples(rng):
        outputs = _lstm(*sample.inputs, **sample.args)
        grads = [_draw(rng, x.dtype, *x.shape) for x in outputs]
        yield Sample([*sample.inputs, *outputs, *grads], sample.args, 3)


def _gru_samples(rng):
    for dtype, batch, size, steps, args in _steps(rng):
        state = _draw(rng, dtype, 1, batch, size)
        yield Sample([state, _draw(rng, dtype, 1, batch, 3 * size), *steps], args)


def _gru_gradient_samples(rng):
    for sample in _gru_samples(rng):
        hidden = _gru(*sample.inputs, **sample.args)
        grad = _draw(rng, hidden.dtype, *hidden.shape)
        yield Sample([*sample.inputs, hidden, grad], sample.args, 2)


S = np.zeros((1, 2, 3), np.float32)
LENGTHS = np.array([1, 2], np.int32)
STEP = np.array([0], np.int32)


def _gates(count, rows=2):
    return np.zeros((1, rows, 3 * count), np.float32)


def _bad(states, gates, behind, outputs):
    """Wrong uses of a unit: `behind` are the inputs after the timestep."""
    first = [S] * states
    good = [*first, _gates(gates), LENGTHS, STEP, *behind]

    def bad(index, value, error, match, **args):
        inputs = [*good[:index], value, *good[index + 1 :]]
        return Bad(inputs, error, match, args, outputs)

    at = states
    yield Bad(good[:-1], ArityError, r"expected \d", outputs=outputs)
    yield Bad(good, ArityError, "sequence_lengths 0", {"sequence_lengths": False}, outputs)
    yield Bad([*good, S, S], ArityError, "input", outputs=outputs)
    yield bad(at, S[:, :, :2], ShapeError, r"\(1,N,\d\*D\)")
    yield bad(at, _gates(gates, 1), ShapeError, "as wide as the state")
    yield bad(0, S[0], ShapeError, "must have 3 dimension")
    yield bad(at, _gates(gates).astype("float64"), DTypeError, "must have one type")
    yield bad(0, S.astype("int32"), DTypeError, "supported: float")
    yield bad(at + 1, LENGTHS[:1], ShapeError, r"one length for each of the 2 row")
    yield bad(at + 1, LENGTHS.astype("int64"), DTypeError, "supported: int32")
    yield bad(at + 2, STEP[:0], ShapeError, "number of the step")
    yield bad(at + 2, STEP.astype("float32"), DTypeError, "supported: int32")
    yield Bad(good, InplaceError, "in place", outputs=outputs, same=((0, 0),))
    wide = [np.zeros((2, *x.shape[1:]), x.dtype) for x in good[: at + 1]]
    more = [np.zeros((2, 2, 3), np.float32)] * len(behind)
    yield Bad([*wide, LENGTHS, STEP, *more], ShapeError, r"\(1,N,D\)", outputs=outputs)


CASES = [
    Case("LSTMUnit", _lstm, _lstm_samples, list(_bad(2, 4, [], 2))),
    Case("LSTMUnitGradient", _lstm_gradient, _lstm_gradient_samples, list(_bad(2, 4, [S] * 4, 3))),
    Case("GRUUnit", _gru, _gru_samples, list(_bad(1, 3, [], 1))),
    Case("GRUUnitGradient", _gru_gradient, _gru_gradient_samples, list(_bad(1, 3, [S] * 2, 2))),
]
