"""Rows: counters, learning rates, dense updates of parameters, norms."""

import math

import numpy as np

from caffe2py.errors import (
    ArgumentError,
    ArityError,
    BlobTypeError,
    DTypeError,
    InplaceError,
    ShapeError,
    ValueRangeError,
)
from caffe2py.testing import Bad, Case, Sample

FLOATS = ("float32", "float64")
SHAPES = [(5,), (2, 3), (), (0,), (70,)]
ENFORCED = {"inplace": "the only pairs are enforced, so every sample runs in place"}
F4 = np.ones((2, 3), np.float32)
RATE = np.array([0.5], np.float32)
T3 = np.array([3])
INT32 = T3.astype(np.int32)

# ---------------------------------------------------------------- counters


def _counters(rng):
    yield Sample([])
    for value in (0, 41, 2**40, 2**63 - 2):
        for shape in ((1,), (), (1, 1, 1)):
            yield Sample([np.full(shape, value)], same=[(0, 0)])


def _counter_errors(*before, at):
    def bad(value, error, match, same=((at, 0),)):
        return Bad([*before, value], error, match, same=same)

    return [
        bad(np.array([-1]), ValueRangeError, "iterations is negative"),
        bad(np.array([2**63 - 1]), ValueRangeError, "cannot grow"),
        bad(np.array([1, 2]), ShapeError, r"must have 1 element.*found \(2\)"),
        bad(INT32, DTypeError, "'iter' is int32; supported: int64"),
        bad(RATE, DTypeError, "'iter' is float32"),
        bad(T3, InplaceError, f"must be the same blob as input {at}", ()),
    ]


# ---------------------------------------------------------------- learning rates


def _ramp(t, n, start):
    return min(1, start + (1 - start) * t / n)


def _triangle(t, half, ratio, decay=1.0):
    rounds, at = divmod(t, 2 * half)
    return 1 + (ratio - 1) * (1 - abs(at / half - 1)) * decay**rounds


def _cosines(t, period, low, high, longer, shrink):
    """Walks from period to period."""
    length, at = period, t
    while at >= length:
        at -= length
        length, low, high = length * longer, low * shrink, high * shrink
    return low + (high - low) * (1 + math.cos(math.pi * at / length)) / 2


def _warm(t, after):
    """0.25 for 3 iterations, a line up to 1 for 6, then what is given."""
    return 0.25 if t < 3 else 0.25 + 0.75 * (t - 3) / 6 if t < 9 else after(t - 9)


WARM = {
    "start_warmup_multiplier": 0.25,
    "constant_warmup_num_iter": 3,
    "linear_warmup_num_iter": 6,
}
#: arguments (exact in single precision, with base_lr 0.5) and the factor
POLICIES = [
    ({"policy": "fixed"}, lambda t: 1),
    ({"policy": "step", "stepsize": 5, "gamma": 0.5}, lambda t: 0.5 ** (t // 5)),
    ({"policy": "exp", "gamma": 0.75}, lambda t: 0.75**t),
    (
        {"policy": "gate", "num_iter": 4, "multiplier_1": 0.25, "multiplier_2": 3.0},
        lambda t: 0.25 if t < 4 else 3,
    ),
    ({"policy": "gate", "num_iter": 4, "multiplier_2": 0.25}, lambda t: 1 if t < 4 else 0.25),
    ({"policy": "inv", "gamma": 0.5, "power": 0.75}, lambda t: (1 + 0.5 * t) ** -0.75),
    ({"policy": "poly", "power": 0.5, "max_iter": 100}, lambda t: (1 - t / 100) ** 0.5),
    ({"policy": "poly", "power": 2.0}, lambda t: 1),
    (
        {"policy": "alter", "active_period": 2, "inactive_period": 3},
        lambda t: float(t % 5 < 2),
    ),
    (
        {"policy": "alter", "active_period": 2, "inactive_period": 3, "active_first": False},
        lambda t: float(t % 5 >= 3),
    ),
    (
        {"policy": "hill", "num_iter": 4, "start_multiplier": 0.25, "gamma": 0.5, "power": 1.5,
         "end_multiplier": 0.125},
        lambda t: _ramp(t, 4, 0.25) if t < 4 else max(0.125, (1 + 0.5 * (t - 4)) ** -1.5),
    ),
    (
        {"policy": "slope", "num_iter_1": 3, "multiplier_1": 1.5, "num_iter_2": 11,
         "multiplier_2": 0.125},
        lambda t: 1.5 if t < 3 else max(0.125, 1.5 - 1.375 * (t - 3) / 8),
    ),
    (
        {"policy": "linearWarmup", "start_multiplier": 0.125, "num_iter": 9},
        lambda t: _ramp(t, 9, 0.125),
    ),
    (
        {"policy": "constantWarmup", "multiplier": 0.25, "num_iter": 9},
        lambda t: 0.25 if t < 9 else 1,
    ),
    (
        {"policy": "pieceWarmup", "m1": 0.25, "n1": 4, "m2": 0.75, "n2": 9, "m3": 2.0},
        lambda t: 0.25 if t < 4 else 0.75 if t < 9 else 2,
    ),
    ({"policy": "constantThenLinearWarmup", **WARM}, lambda t: _warm(t, lambda s: 1)),
    (
        {"policy": "cyclical", "stepsize": 4, "max_lr": 2.0, "decay": 0.5},
        lambda t: _triangle(t, 4, 4, 0.5),
    ),
    (
        {"policy": "cosine", "period": 8, "min_lr": 0.25, "max_lr": 1.0, "lr_shrink": 0.5},
        lambda t: _cosines(t, 8, 0.25, 1, 1, 0.5),
    ),
    (
        {"policy": "cosine", "period": 4, "min_lr": 0.25, "max_lr": 1.0, "t_mult": 2.0,
         "lr_shrink": 0.5},
        lambda t: _cosines(t, 4, 0.25, 1, 2, 0.5),
    ),
    (
        {"policy": "compositeCyclical", **WARM, "cyclical_step_size": 3, "cyclical_max_lr": 2.0,
         "cyclical_decay": 0.5},
        lambda t: _warm(t, lambda s: _triangle(s, 3, 4, 0.5)),
    ),
    (
        {"policy": "compositeCosine", **WARM, "cosine_period": 4, "cosine_t_mult": 2.0,
         "cosine_min_lr": 0.25, "cosine_max_lr": 1.0, "cosine_lr_shrink": 0.75},
        lambda t: _warm(t, lambda s: _cosines(s, 4, 0.25, 1, 2, 0.75)),
    ),
    (
        {"policy": "composite", "sub_policy_num_iters": [3, 8, 5],
         "sub_policy_0_policy": "linearWarmup", "sub_policy_0_num_iter": 8,
         "sub_policy_1_policy": "fixed", "sub_policy_1_lr_scale": 0.25,
         "sub_policy_2_policy": "step", "sub_policy_2_stepsize": 6, "sub_policy_2_gamma": 0.5},
        lambda t: t / 8 if t < 4 else 0.25 if t < 12 else 0.5 ** (t // 6),
    ),
]  # fmt: skip
FACTORS = {repr(sorted({**args, "base_lr": 0.5}.items())): factor for args, factor in POLICIES}


def _rates(rng):
    for args, _ in POLICIES:
        for t in (0, 1, 2, 3, 4, 7, 8, 9, 11, 12, 13, 17, 29, 60):
            shape = ((1,), (), (1, 1))[t % 3]
            yield Sample([np.full(shape, t)], {"base_lr": 0.5, **args})


def _rate(t, **args):
    factor = FACTORS[repr(sorted(args.items()))]
    return np.float32(0.5 * factor(int(t.reshape(()))))


def _rate_errors():
    base = {"base_lr": 0.5}
    fixed = {**base, "policy": "fixed"}
    composite = {**base, "policy": "composite"}
    one = {**composite, "sub_policy_num_iters": [1]}
    return [
        Bad([T3], ArgumentError, "'base_lr' must be set", {"policy": "fixed"}),
        Bad([T3], ArgumentError, "'policy' must be set", base),
        Bad([T3], ArgumentError, "did you mean 'fixed'", {**base, "policy": "fixd"}),
        Bad([T3], ArgumentError, "'stepsize' must not be 0", {**base, "policy": "step"}),
        Bad([T3], ArgumentError, "'stepsize' must not be 0", {**base, "policy": "cyclical"}),
        Bad([T3], ArgumentError, "must not be 0",
            {**base, "policy": "alter", "active_period": 1}),
        Bad([T3], ArgumentError, "'gamma'", {**base, "policy": "exp", "gamma": "x"}),
        Bad([T3], ArgumentError, "no argument 'step_size'", {**fixed, "step_size": 1}),
        Bad([T3], ArgumentError, "must name a part", composite),
        Bad([T3], ArgumentError, r"sub_policy_num_iters\[1\] must be above 0, found -2",
            {**composite, "sub_policy_num_iters": [1, -2], "sub_policy_0_policy": "fixed"}),
        Bad([T3], ArgumentError, "'sub_policy_0_policy' must be set", one),
        Bad([T3], ArgumentError, "must not be a composite",
            {**one, "sub_policy_0_policy": "composite"}),
        Bad([T3], ArgumentError, "'sub_policy_0_stepsize' must not be 0",
            {**one, "sub_policy_0_policy": "step"}),
        Bad([INT32], DTypeError, "'input' is int32; supported: int64", fixed),
        Bad([T3[:0]], ShapeError, "must not be empty", fixed),
        Bad([T3], InplaceError, "allowed: none", fixed, same=[(0, 0)]),
        Bad([], ArityError, "expected 1 input", fixed),
    ]  # fmt: skip


# ---------------------------------------------------------------- dense updates


def draw(rng, kinds, shape, dtype):
    """p: like a parameter, m: a moment (above 0), r: a rate, t: a counter, z: n and z."""
    made = []
    for kind in kinds:
        if kind == "t":
            made.append(np.array([int(rng.integers(0, 30))]))
        elif kind == "r":
            made.append(np.array([rng.uniform(-1, 1)], dtype))
        elif kind == "z":
            n, z = rng.uniform(0.1, 2, shape), rng.uniform(-2, 2, shape)
            made.append(np.stack([n, z], -1).astype(dtype))
        else:
            values = rng.uniform(0.1 if kind == "m" else -2, 2, shape)
            made.append(np.asarray(values).astype(dtype))
    return made


def _dense(kinds, outputs, args):
    def samples(rng):
        for dtype in FLOATS:
            for shape in SHAPES:
                for arg in args:
                    for count in outputs:
                        yield Sample(draw(rng, kinds, shape, dtype), arg, count)

    return samples


def _momentum(g, m, lr, w=None, momentum=0.0, nesterov=False):
    after = momentum * m + lr.reshape(()) * g
    step = after + momentum * (after - m) if nesterov else after
    return (step, after) if w is None else (step, after, w - step)


def _adagrad(w, h, g, lr, epsilon=1e-5, decay=1.0, weight_decay=0.0):
    g = g + weight_decay * w
    h = decay * h + g * g
    rate = lr.reshape(()) / (np.sqrt(h) + epsilon)
    return w + rate * g, h, rate, rate * g


def adam_reference(w, m, v, g, lr, t, beta1=0.9, beta2=0.999, epsilon=1e-5):
    """In double precision, with arguments as they travel."""
    b1, b2 = (float(np.float32(b)) if w.dtype == np.float32 else b for b in (beta1, beta2))
    wide, m, v, g = (x.astype(np.float64) for x in (w, m, v, g))
    t = int(t.reshape(())) + 1
    m = b1 * m + (1 - b1) * g
    v = b2 * v + (1 - b2) * g * g
    step = math.sqrt(1 - b2**t) / (1 - b1**t) * m / (np.sqrt(v) + epsilon)
    return tuple(x.astype(w.dtype) for x in (wide + float(lr.reshape(())) * step, m, v, step))


def _rms_prop(g, v, m, lr, decay=0.9, momentum=0.0, epsilon=1e-5):
    v = decay * v + (1 - decay) * g * g
    m = momentum * m + lr.reshape(()) * g / np.sqrt(v + epsilon)
    return m, v, m


def adadelta_reference(w, h, d, g, lr, epsilon=1e-5, decay=0.95):
    h = decay * h + (1 - decay) * g * g
    step = np.sqrt((d + epsilon) / (h + epsilon)) * g
    return w + lr.reshape(()) * step, h, decay * d + (1 - decay) * step * step


def ftrl_reference(w, nz, g, alpha_input=None, alpha=0.005, beta=1.0, lambda1=0.001, lambda2=0.001):
    dtype = w.dtype
    w, nz, g = (x.astype(np.float64) for x in (w, nz, g))
    rate = alpha if alpha_input is None else float(alpha_input.reshape(()))
    n = nz[..., 0] + g * g
    z = nz[..., 1] + g - (np.sqrt(n) - np.sqrt(nz[..., 0])) / rate * w
    below = (beta + np.sqrt(n)) / rate + lambda2
    w = np.where(np.abs(z) <= lambda1, 0, (np.sign(z) * lambda1 - z) / below)
    return w.astype(dtype), np.stack([n, z], -1).astype(dtype)


def _ftrl_samples(rng):
    arguments = [
        {},
        {"alpha": 0.5},
        {"alpha": 0.5, "beta": 0.5, "lambda1": 1.0, "lambda2": 2.0},
    ]
    yield from _dense("pzp", [2], arguments)(rng)
    for dtype in FLOATS:
        yield Sample([*draw(rng, "pzp", (2, 3), dtype), np.full((1,), 0.25, dtype)], outputs=2)


def _dense_errors(inputs, outputs, param, *, one=True):
    """Wrong types, sizes, rates, counts, and a pair that must not be one blob."""
    rate = next(k for k, x in enumerate(inputs) if x is RATE)
    last = len(inputs) - 1

    def swapped(index, value, error, match, **more):
        changed = [*inputs[:index], value, *inputs[index + 1 :]]
        return Bad(changed, error, match, outputs=outputs, **more)

    two = (ShapeError, "a single number") if one else (ShapeError, "must not be empty")
    return [
        swapped(param, F4[:1], ShapeError, "must have"),
        swapped(param, F4.astype(np.float64), DTypeError, "must have one type"),
        swapped(param, F4 > 0, DTypeError, "is bool; supported: float32, float64"),
        swapped(rate, RATE.repeat(2) if one else RATE[:0], *two),
        swapped(rate, T3, DTypeError, "is int64; supported: float32"),
        Bad(inputs[:last], ArityError, f"expected {last + 1} input", outputs=outputs),
        Bad(inputs, InplaceError, "does not allow", outputs=outputs, same=[(rate, 0)]),
    ]


MOMENTUM = [
    {},
    {"momentum": 0.5},
    {"momentum": 0.75, "nesterov": True},
]
ADAM_REASON = {"tolerance": 5e-6, "tolerance_reason": "1 - beta2 keeps few digits in float32"}
FTRL_REASON = {
    "tolerance": 5e-5,
    "tolerance_reason": "a difference of roots, times 200 = 1 / alpha",
}
ADAM_ARGS = [{}, {"beta1": 0.5}, {"beta2": 0.75, "epsilon": 0.25}]

# ---------------------------------------------------------------- norms


def _lars(x, dx, wd, trust, highest, offset=0.5, lr_min=0.02):
    size, slope = (np.linalg.norm(a.astype(np.float64)) for a in (x, dx))
    rate = trust[0] / (slope / size + wd[0] + offset) if size > 0 else 1.0
    return np.array([max(min(rate, highest[0]), lr_min)], x.dtype)


def _lars_samples(rng):
    for dtype in FLOATS:
        for shape in SHAPES:
            for args in ({}, {"offset": 0.25}, {"lr_min": 0.75}, {"offset": 0.0, "lr_min": 0.0}):
                x, dx = draw(rng, "pp", shape, dtype)
                numbers = [np.array([v], dtype) for v in (0.125, rng.uniform(0.1, 2), 1.25)]
                yield Sample([x, dx, *numbers], args)
        yield Sample([np.zeros(3, dtype), np.ones(3, dtype), *numbers])


def _clip(x, norm, factor=None, threshold=0.0):
    limit = threshold * (1 if factor is None else factor.reshape(()))
    norm = norm.reshape(())
    return (x * (limit / norm) if norm > limit else x).astype(x.dtype)


def _clip_samples(rng):
    for dtype in FLOATS:
        for shape in ((5,), (2, 3), (), (70,)):
            for threshold in (0.5, 2.0):
                x, norm = draw(rng, "pm", shape, dtype)[0], np.array([1.25], dtype)
                yield Sample([x, norm], {"threshold": threshold})
                yield Sample([x, norm, np.array(0.5, dtype)], {"threshold": threshold})


LARS = [F4, F4, RATE, RATE, RATE]
CLIP = {"threshold": 2.0}

# ---------------------------------------------------------------- YellowFin


def _yellow_fin(
    w, m, lr, mu, window, g_avg, g2_avg, memory, g, t,
    beta=0.999, curv_win_width=20, epsilon=1e-6, nesterov=0, zero_debias=True,
):  # fmt: skip
    dtype, t = w.dtype, int(t[0])
    b = float(np.float32(beta)) if dtype == np.float32 else beta
    w, m, window, g_avg, g2_avg, memory, g = (
        x.astype(np.float64) for x in (w, m, window, g_avg, g2_avg, memory, g)
    )
    rate, mass = float(lr[0]), float(mu[0])
    after = mass * m + rate * g
    w = w - (after + mass * (after - m) if nesterov else after)
    debias = 1 / (1 - b**t) if zero_debias else 1
    g_avg, g2_avg = b * g_avg + (1 - b) * g, b * g2_avg + (1 - b) * g * g
    square = max(np.sum(g * g), epsilon)
    window = window.copy()
    window[(t - 1) % curv_win_width] = np.log(square)
    seen = window[: min(t, curv_win_width)]
    memory = b * memory
    memory[:4] += (1 - b) * np.array([np.sqrt(square), square, seen.min(), seen.max()])
    memory[4] += (1 - b) * memory[0] / memory[1]
    low, high = (max(np.exp(debias * v), epsilon) for v in memory[2:4])
    variance = max(debias * memory[1] - np.sum((debias * g_avg) ** 2), epsilon)
    if t > 1:
        p = (debias * memory[4] * low) ** 2 / (2 * variance)
        x = min(np.roots([1, -3, 3 + p, -1]), key=lambda z: abs(z.imag)).real
        spread = np.sqrt(high / low)
        new = max(x * x, ((spread - 1) / (spread + 1)) ** 2)
        rate = b * rate + (1 - b) * (1 - np.sqrt(new)) ** 2 / low
        mass = b * mass + (1 - b) * new
    results = (w, after, [rate], [mass], window, g_avg, g2_avg, memory)
    return tuple(np.asarray(x, dtype) for x in results)


def _yellow_fin_inputs(rng, shape, dtype, t, args):
    grown = 1 - args.get("beta", 0.999) ** t if args.get("zero_debias", True) else 1
    w, m, grad = draw(rng, "ppp", shape, dtype)
    g_avg = (draw(rng, "p", shape, dtype)[0] * grown / 8).astype(dtype)
    g2_avg = (draw(rng, "m", shape, dtype)[0] * grown).astype(dtype)
    low = rng.uniform(-1, 0.5)
    memory = [1, 2, low, low + 1, 0.75]
    rates = [np.array([v], dtype) for v in (0.125, 0.5)]
    window = rng.uniform(-1, 1, args.get("curv_win_width", 20)).astype(dtype)
    memory = (np.array(memory) * grown).astype(dtype)
    return [w, m, *rates, window, g_avg, g2_avg, memory, grad, np.array([t])]


def _yellow_fin_samples(rng):
    for dtype in FLOATS:
        for shape in ((5,), (2, 3), (70,)):
            for args in (
                {"beta": 0.75},
                {"beta": 0.5, "curv_win_width": 3, "nesterov": 1},
                {"beta": 0.875, "zero_debias": False, "epsilon": 0.25},
            ):
                for t in (1, 2, 9):
                    yield Sample(_yellow_fin_inputs(rng, shape, dtype, t, args), args, 8)


def _yellow_fin_errors():
    good = _yellow_fin_inputs(np.random.default_rng(0), (2, 3), "float32", 3, {})

    def bad(index, value, error, match, args=None):
        inputs = [*good[:index], value, *good[index + 1 :]]
        return Bad(inputs, error, match, args or {}, 8)

    return [
        bad(9, np.array([0]), ValueRangeError, "'iter' must be at least 1"),
        bad(9, INT32, DTypeError, "'iter' is int32"),
        bad(8, F4[:1], ShapeError, "must have one shape"),
        bad(2, RATE.repeat(2), ShapeError, "a single number"),
        bad(7, RATE, ShapeError, "must have 5 element"),
        bad(4, RATE, ShapeError, "curv_win_width = 20"),
        bad(1, F4.astype(np.float64), DTypeError, "one type"),
        bad(1, F4, ArgumentError, "at least 1, found 0", {"curv_win_width": 0}),
    ]


CASES = [
    Case(
        "CreateMutex",
        None,
        lambda rng: [Sample([])],
        bad=[Bad([F4], ArityError, "expected 0 input")],
        skip={"forward": "a lock is no array: see test_optimizer.py"},
    ),
    Case(
        "Iter",
        lambda t=None: np.array([1]) if t is None else t + 1,
        _counters,
        bad=[*_counter_errors(at=0), Bad([T3, T3], ArityError, "expected 0 to 1", same=[(0, 0)])],
        skip={**ENFORCED, "infer_full": "without an input the blob may be of any shape already"},
    ),
    Case(
        "AtomicIter",
        None,
        lambda rng: [Sample([T3, T3], same=[(1, 0)])],
        bad=[
            *_counter_errors(T3, at=1)[2:],
            Bad([T3, T3], BlobTypeError, "expected what CreateMutex made", same=[(1, 0)]),
            Bad([T3], ArityError, "expected 2 input"),
        ],
        skip={
            "forward": "a lock cannot be fed: see test_optimizer.py",
            "inplace": "a lock cannot be fed: see test_optimizer.py",
            "infer": "a lock cannot be fed: see test_optimizer.py",
        },
    ),
    Case("LearningRate", _rate, _rates, bad=_rate_errors()),
    Case(
        "MomentumSGD",
        _momentum,
        _dense("ppr", [2], MOMENTUM),
        bad=_dense_errors([F4, F4, RATE], 2, 1),
    ),
    Case(
        "MomentumSGDUpdate",
        _momentum,
        _dense("pprp", [3], MOMENTUM),
        bad=_dense_errors([F4, F4, RATE, F4], 3, 3),
    ),
    Case(
        "Adagrad",
        _adagrad,
        _dense(
            "pmpr",
            [2, 3, 4],
            [{}, {"epsilon": 0.5}, {"decay": 0.5}, {"weight_decay": 0.25, "decay": 0.75}],
        ),
        bad=_dense_errors([F4, F4, F4, RATE], 2, 2, one=False),
    ),
    Case(
        "Adam",
        adam_reference,
        _dense("ppmprt", [3, 4], ADAM_ARGS),
        bad=[
            *_dense_errors([F4, F4, F4, F4, RATE, T3], 3, 3),
            Bad([F4, F4, F4, F4, RATE, INT32], DTypeError, "'iter' is int32", outputs=3),
            Bad([F4, F4, F4, F4, RATE, T3[:0]], ShapeError, "must not be empty", outputs=3),
        ],
        **ADAM_REASON,
    ),
    Case(
        "RmsProp",
        _rms_prop,
        _dense("pmpr", [3], [{}, {"decay": 0.5}, {"momentum": 0.5, "decay": 0.75, "epsilon": 0.5}]),
        bad=_dense_errors([F4, F4, F4, RATE], 3, 1),
    ),
    Case(
        "Adadelta",
        adadelta_reference,
        _dense("pmmpr", [3], [{}, {"decay": 0.5}, {"epsilon": 0.5, "decay": 0.75}]),
        bad=[
            *_dense_errors([F4, F4, F4, F4, RATE], 3, 3, one=False),
            Bad([F4, F4, F4, F4, RATE], ArgumentError, "epsilon", {"epsilon": -1.0}, 3),
            Bad([F4, F4, F4, F4, RATE], ArgumentError, "between 0 and 1", {"decay": 1.0}, 3),
        ],
    ),
    Case(
        "Ftrl",
        ftrl_reference,
        _ftrl_samples,
        bad=[
            Bad([F4, F4, F4], ShapeError, r"must have 12 element", outputs=2),
            Bad([F4, F4.repeat(2, 0), F4[:1]], ShapeError, "must have 6 element", outputs=2),
            Bad([F4, F4.repeat(2, 0), F4, F4], ShapeError, "a single number", outputs=2),
            Bad([F4, F4.repeat(2, 0), F4, RATE], ArgumentError, "exclude", {"alpha": 0.5}, 2),
            Bad([F4, F4.repeat(2, 0), F4 > 0], DTypeError, "is bool", outputs=2),
            Bad([F4, F4], ArityError, "expected 3 to 4", outputs=2),
        ],
        **FTRL_REASON,
    ),
    Case(
        "Lars",
        _lars,
        _lars_samples,
        bad=[
            Bad([F4, F4[:1], *LARS[2:]], ShapeError, "'dX' must have 6 element"),
            Bad([*LARS[:4], RATE[:0]], ShapeError, "'lr_max' must not be empty"),
            Bad([F4.astype(np.float64), *LARS[1:]], DTypeError, "one type"),
            Bad(LARS, ArgumentError, "offset must be at least 0, found -1", {"offset": -1.0}),
            Bad(LARS, ArgumentError, "lr_min must be at least 0", {"lr_min": -1.0}),
            Bad(LARS[:4], ArityError, "expected 5"),
            Bad(LARS, InplaceError, "allowed: none", same=[(4, 0)]),
        ],
    ),
    Case(
        "ClipTensorByScaling",
        _clip,
        _clip_samples,
        bad=[
            Bad([F4, RATE], ArgumentError, "threshold must be above 0, found 0"),
            Bad([F4, F4], ShapeError, "'val' must have 1 element", CLIP),
            Bad([F4, RATE, F4], ShapeError, "'additional_threshold' must have 1", CLIP),
            Bad([F4[:0], RATE], ShapeError, "must not be empty", CLIP),
            Bad([F4 > 0, RATE], DTypeError, "is bool", CLIP),
            Bad([F4], ArityError, "expected 2 to 3", CLIP),
            Bad([F4, RATE], InplaceError, "allowed: input 0 as output 0", CLIP, same=[(1, 0)]),
        ],
    ),
    Case(
        "YellowFin",
        _yellow_fin,
        _yellow_fin_samples,
        bad=_yellow_fin_errors(),
        tolerance=2e-5,
        tolerance_reason="exp of a mean, and a variance as a difference, in float32",
    ),
]
