"""Rows: updates of some rows of parameters; the reference goes index by index."""

import math

import numpy as np

from caffe2py.errors import (
    ArgumentError,
    ArityError,
    DTypeError,
    InplaceError,
    ShapeError,
    ValueRangeError,
)
from caffe2py.testing import Bad, Case, Sample
from tests.ops.rows.optimizer import (
    ADAM_ARGS,
    ADAM_REASON,
    ENFORCED,
    FLOATS,
    FTRL_REASON,
    MOMENTUM,
    RATE,
    T3,
    adadelta_reference,
    adam_reference,
    draw,
    ftrl_reference,
)

#: shape of the parameters, shape of the indices
TABLES = [
    ((4, 3), (2,)),
    ((6,), (3,)),
    ((3, 1), (5,)),
    ((3, 2, 4), (2, 3)),
    ((4, 20), ()),
    ((4, 3), (0,)),
    ((2, 0), (3,)),
]


def _sparse(kinds, same, counts, args):
    """Kinds as in `draw`, and w: one moment a row, i: indices, g: rows of gradients."""

    def inputs(rng, rows, places, dtype, index):
        made = []
        for kind in kinds:
            if kind == "i":
                made.append(rng.integers(0, rows[0], places).astype(index))
            elif kind in "gw":
                shape = (*places, *rows[1:]) if kind == "g" else rows[:1]
                made += draw(rng, "p" if kind == "g" else "m", shape, dtype)
            else:
                made += draw(rng, kind, rows, dtype)
        return made

    def samples(rng):
        for dtype, index in zip(FLOATS, ("int32", "int64"), strict=True):
            for rows, places in TABLES:
                for arg in args:
                    for count in counts:
                        yield Sample(inputs(rng, rows, places, dtype, index), arg, count, same)
        yield Sample(inputs(rng, (4, 3), (2,), "float32", "int64"), {}, counts[-1], same)

    return samples


def _momentum(g, m, lr, w, indices, momentum=0.0, nesterov=False):
    g, m, w = g.copy(), m.copy(), w.copy()
    rows = g.reshape(indices.size, *w.shape[1:])
    for r, index in enumerate(indices.reshape(-1)):
        after = momentum * m[index] + lr[0] * rows[r]
        rows[r] = after + momentum * (after - m[index]) if nesterov else after
        m[index] = after
        w[index] -= rows[r]
    return g, m, w


def _by_row(update, moments, steps=False):
    """Apply a dense reference to one row after the other."""

    def ref(*inputs, **args):
        state = [x.copy() for x in inputs[: 1 + moments]]
        indices, g, *rest = inputs[1 + moments :]
        rows = g.reshape(indices.size, *state[0].shape[1:])
        taken = np.zeros_like(rows)
        for r, index in enumerate(indices.reshape(-1)):
            old = [x[index : index + 1] for x in state]
            new = update(*old, rows[r : r + 1], *rest, **args)
            for x, value in zip(state, new[: 1 + moments], strict=True):
                x[index] = value[0]
            if steps:
                taken[r] = new[-1][0]
        return (*state, taken.reshape(g.shape)) if steps else tuple(state)

    return ref


def _adagrad(w, h, g, lr, epsilon=1e-5, weight_decay=0.0, decay=1.0):
    g = g + weight_decay * w
    h = h + g * g
    return w + lr[0] * g / (np.sqrt(h) + epsilon), h


def _mean(x):
    return x.reshape(1, -1).mean(1) if x.size else np.zeros(1, x.dtype)


def _row_adagrad(w, h, g, lr, epsilon=1e-5, weight_decay=0.0):
    g = g + weight_decay * w
    h = h + _mean(g * g)
    return w + lr[0] * g / (np.sqrt(h[0]) + epsilon), h


def _row_adam(w, m, v, g, lr, t, beta1=0.9, beta2=0.999, epsilon=1e-5):
    b1, b2 = (float(np.float32(b)) if w.dtype == np.float32 else b for b in (beta1, beta2))
    t, wide = int(t[0]) + 1, g.astype(np.float64)
    m = b1 * m + (1 - b1) * wide
    if g.size:
        v = b2 * v + (1 - b2) * _mean(wide * wide)
    step = math.sqrt(1 - b2**t) / (1 - b1**t) * m / (np.sqrt(v[0]) + epsilon)
    return w + lr[0] * step, m, v, step


def _adam(w, m, v, g, lr, t, enableRAdam=False, **args):
    if not enableRAdam:
        return adam_reference(w, m, v, g, lr, t, **args)
    b1, b2 = (args.get(name, default) for name, default in (("beta1", 0.9), ("beta2", 0.999)))
    if w.dtype == np.float32:
        b1, b2 = float(np.float32(b1)), float(np.float32(b2))
    wide, m, v, g = (x.astype(np.float64) for x in (w, m, v, g))
    t = int(t[0]) + 1
    m, v = b1 * m + (1 - b1) * g, b2 * v + (1 - b2) * g * g
    longest = 2 / (1 - b2) - 1
    rho = longest - 2 * t * b2**t / (1 - b2**t)
    step = m / (1 - b1**t)
    if rho >= 5:
        above = (rho - 4) * (rho - 2) * longest
        step *= math.sqrt(above / ((longest - 4) * (longest - 2) * rho)) * math.sqrt(1 - b2**t)
        step /= np.sqrt(v) + args.get("epsilon", 1e-5)
    return tuple(x.astype(w.dtype) for x in (wide + float(lr[0]) * step, m, v, step))


RECTIFIED = [
    {"enableRAdam": True, "beta2": 0.875},
    {"enableRAdam": True, "beta2": 0.96875, "beta1": 0.5, "epsilon": 0.25},
]

# ---------------------------------------------------------------- errors

P = np.ones((4, 3), np.float32)
W = np.ones(4, np.float32)
I2 = np.array([0, 3])
G2 = np.ones((2, 3), np.float32)
NZ = np.ones((4, 3, 2), np.float32)


def _errors(inputs, same, outputs, args=None):
    """What all of them refuse; inputs are P (first one), I2, G2 and others."""
    param, place, grad = (
        next(k for k, x in enumerate(inputs) if x is wanted) for wanted in (P, I2, G2)
    )

    def bad(index, value, error, match, pairs=same):
        changed = [*inputs[:index], value, *inputs[index + 1 :]]
        return Bad(changed, error, match, args or {}, outputs, pairs)

    return [
        bad(place, np.array([0, 4]), ValueRangeError, rf"'in{place}'\[1\] is 4.*are 4 row"),
        bad(place, np.array([-1, 0]), ValueRangeError, rf"'in{place}'\[0\] is -1"),
        bad(place, np.array([2, 2**40]), ValueRangeError, r"\[1\] is 1099511627776"),
        bad(place, G2[:, 0], DTypeError, "'indices' is float32; supported: int32, int64"),
        bad(place, np.array([1]), ShapeError, "for each of the 1 indices"),
        bad(grad, G2[:, :2], ShapeError, r"a row of 3 element\(s\)"),
        bad(grad, G2.reshape(3, 2), ShapeError, r"found \(3,2\) for \(4,3\)"),
        bad(grad, G2.astype(np.float64), DTypeError, "must have one type"),
        bad(param, W[0], ShapeError, "must have"),
        Bad(inputs[:-1], ArityError, "expected ", args or {}, outputs, same),
        bad(param, P, InplaceError, "must be the same blob as input", ()),
    ]


def _with_rate(inputs, same, outputs):
    rate = next(k for k, x in enumerate(inputs) if x is RATE)
    changed = [*inputs[:rate], RATE.repeat(2), *inputs[rate + 1 :]]
    wrong = Bad(changed, ShapeError, "'lr' must have 1 element", {}, outputs, same)
    return [*_errors(inputs, same, outputs), wrong]


TWO = ((0, 0), (1, 1))
THREE = ((0, 0), (1, 1), (2, 2))
MOVED = ((1, 1), (3, 2))

CASES = [
    Case(
        "SparseMomentumSGDUpdate",
        _momentum,
        _sparse("gprpi", MOVED, [3], MOMENTUM),
        bad=_with_rate([G2, P + 0, RATE, P, I2], MOVED, 3),
    ),
    Case(
        "SparseAdagrad",
        _by_row(_adagrad, 1),
        _sparse("pmigr", TWO, [2], [{}, {"epsilon": 0.5}, {"weight_decay": 0.25, "decay": 1.0}]),
        bad=[
            *_with_rate([P, P + 0, I2, G2, RATE], TWO, 2),
            Bad([P, W, I2, G2, RATE], ShapeError, "must have 12 element", {}, 2, TWO),
            Bad([P, P, I2, G2, RATE], ArgumentError, "decay must be 1", {"decay": 0.5}, 2, TWO),
        ],
        skip=ENFORCED,
    ),
    Case(
        "RowWiseSparseAdagrad",
        _by_row(_row_adagrad, 1),
        _sparse("pwigr", TWO, [2], [{}, {"epsilon": 0.5}, {"weight_decay": 0.25}]),
        bad=[
            *_with_rate([P, W, I2, G2, RATE], TWO, 2),
            Bad([P, P, I2, G2, RATE], ShapeError, "'moment' must have 4 element", {}, 2, TWO),
        ],
        skip=ENFORCED,
    ),
    Case(
        "SparseAdam",
        _by_row(_adam, 2, steps=True),
        _sparse("ppmigrt", THREE, [3, 4], [*ADAM_ARGS, *RECTIFIED]),
        bad=[
            *_with_rate([P, P + 0, P + 0, I2, G2, RATE, T3], THREE, 3),
            Bad([P, P, W, I2, G2, RATE, T3], ShapeError, "must have 12 element", {}, 3, THREE),
            Bad([P, P, P, I2, G2, RATE, RATE], DTypeError, "'iter' is float32", {}, 3, THREE),
        ],
        skip=ENFORCED,
        **ADAM_REASON,
    ),
    Case(
        "RowWiseSparseAdam",
        _by_row(_row_adam, 2, steps=True),
        _sparse("ppwigrt", THREE, [3, 4], ADAM_ARGS),
        bad=[
            *_with_rate([P, P + 0, W, I2, G2, RATE, T3], THREE, 3),
            Bad([P, P, P, I2, G2, RATE, T3], ShapeError, "'moment_2' must have 4", {}, 3, THREE),
        ],
        skip=ENFORCED,
        **ADAM_REASON,
    ),
    Case(
        "SparseAdadelta",
        _by_row(adadelta_reference, 2),
        _sparse("pmmigr", THREE, [3], [{}, {"decay": 0.5}, {"epsilon": 0.5, "decay": 0.75}]),
        bad=[
            *_with_rate([P, P + 0, P + 0, I2, G2, RATE], THREE, 3),
            Bad([P, P, P, I2, G2, RATE], ArgumentError, "decay", {"decay": 0.0}, 3, THREE),
        ],
        skip=ENFORCED,
    ),
    Case(
        "SparseFtrl",
        _by_row(ftrl_reference, 1),
        _sparse("pzig", TWO, [2], [{}, {"alpha": 0.5}, {"alpha": 0.5, "lambda1": 1.0}]),
        bad=[
            *_errors([P, NZ, I2, G2], TWO, 2),
            Bad([P, P, I2, G2], ShapeError, "'n_z' must have 24 element", {}, 2, TWO),
            Bad([P, NZ, I2, G2, G2], ShapeError, "a single number", {}, 2, TWO),
            Bad([P, NZ, I2, G2, RATE], ArgumentError, "exclude", {"alpha": 0.5}, 2, TWO),
        ],
        skip=ENFORCED,
        **FTRL_REASON,
    ),
]
