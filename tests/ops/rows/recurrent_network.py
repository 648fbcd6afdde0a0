"""Rows: RecurrentNetwork with its gradient, and the two operators that link steps."""

import numpy as np

from caffe2py.errors import (
    ArgumentError,
    ArityError,
    BlobTypeError,
    DTypeError,
    InplaceError,
    MissingBlobError,
    ShapeError,
    ValueRangeError,
)
from caffe2py.testing import Bad, Case, Sample


def _op(type_, inputs, outputs, **ints):
    names = [f'input: "{name}"' for name in inputs.split()]
    names += [f'output: "{name}"' for name in outputs.split()]
    names += [f'arg {{ name: "{name}" i: {value} }}' for name, value in ints.items()]
    return f'op {{ type: "{type_}" {" ".join(names)} }}'


def _net(name, *ops):
    return f'name: "{name}" {" ".join(ops)}'


#: h = tanh(h_prev W' + b + x_t) with inputs x, h0, W, b
TANH = _net(
    "tanh",
    _op("FC", "h_prev in2 in3", "z", axis=2),
    _op("Sum", "z x_t", "s"),
    _op("Tanh", "s", "h"),
)
TANH_BACK = _net(
    "tanh_back",
    _op("TanhGradient", "h h_grad", "s_grad"),
    _op("Copy", "s_grad", "x_t_grad"),
    _op("FCGradient", "h_prev in2 s_grad", "in2_grad in3_grad h_prev_grad", axis=2),
)
#: s is made once more on the way back
TANH_AGAIN = _net("again", _op("Sum", "z x_t", "s"), TANH_BACK.partition(" ")[2].partition(" ")[2])
#: an LSTM with inputs x, h0, c0, W, b, lengths; x holds what the gates get from outside
LSTM = _net(
    "lstm",
    _op("FC", "h_prev in3 in4", "z", axis=2),
    _op("Sum", "z x_t", "s"),
    _op("LSTMUnit", "h_prev c_prev s in5 t", "h c"),
)
LSTM_BACK = _net(
    "lstm_back",
    _op(
        "LSTMUnitGradient",
        "h_prev c_prev s in5 t h c h_grad c_grad",
        "h_unit_grad c_prev_grad s_grad",
    ),
    _op("Copy", "s_grad", "x_t_grad"),
    _op("FCGradient", "h_prev in3 s_grad", "in3_grad in4_grad h_fc_grad", axis=2),
    _op("Sum", "h_unit_grad h_fc_grad", "h_prev_grad"),
)


def _links(states, suffix=""):
    prefix = "backward_link" if suffix else "link"
    rows = [("x_t", "in0", 0)]
    for state in states:
        rows += [(f"{state}_prev", f"{state}_all", 0), (state, f"{state}_all", 1)]
    internal, external, offset = zip(*rows, strict=True)
    return {
        f"{prefix}_internal": [name + suffix for name in internal],
        f"{prefix}_external": [name + suffix for name in external],
        f"{prefix}_offset": list(offset),
    }


def _args(net, back, states, params, **more):
    aliases = [(f"{state}_all", at) for state in states for at in (1, -1)]
    return {
        "step_net": net,
        "backward_step_net": back,
        "recurrent_states": [f"{state}_all" for state in states],
        "initial_recurrent_state_ids": list(range(1, 1 + len(states))),
        "alias_src": [name for name, _ in aliases],
        "alias_offset": [at for _, at in aliases],
        "alias_dst": [f"out{k}" for k in range(len(aliases))],
        "param": params,
        "param_grads": [f"in{k}_grad" for k in params],
        **_links(states),
        **_links(states, "_grad"),
        **more,
    }


TANH_ARGS = _args(TANH, TANH_BACK, ["h"], [2, 3], outputs_with_grads=[0, 1])
LSTM_ARGS = _args(
    LSTM, LSTM_BACK, ["h", "c"], [3, 4], outputs_with_grads=[0, 1, 2, 3], timestep="t"
)


def _first(value, batch):
    return np.broadcast_to(value, (1, batch, value.shape[-1]))


def _tanh(x, h0, w, b, **_):
    states = [_first(h0, x.shape[1])]
    for step in x:
        states.append(np.tanh(states[-1] @ w.T + b + step).astype(x.dtype))
    return np.concatenate(states[1:] or [np.zeros((0, *states[0].shape[1:]), x.dtype)]), states[-1]


def _sigmoid(x):
    return 1 / (1 + np.exp(-x))


def _lstm(x, h0, c0, w, b, lengths, **_):
    hidden, cells = [_first(h0, x.shape[1])], [_first(c0, x.shape[1])]
    for t, step in enumerate(x):
        h, c = hidden[-1], cells[-1]
        i, f, o, g = np.split(h @ w.T + b + step, 4, axis=2)
        new = _sigmoid(f) * c + _sigmoid(i) * np.tanh(g)
        live = (t < lengths)[:, None]
        hidden.append(np.where(live, _sigmoid(o) * np.tanh(new), h).astype(x.dtype))
        cells.append(np.where(live, new, c).astype(x.dtype))
    return tuple(y for s in (hidden, cells) for y in (np.concatenate(s[1:]), s[-1]))


def _network(*inputs, step_net, **args):
    text = step_net if isinstance(step_net, str) else step_net.name
    return (_lstm if "lstm" in text else _tanh)(*inputs, **args)


def _draw(rng, dtype, *shape):
    return rng.uniform(-1, 1, shape).astype(dtype)


def _tanh_inputs(rng, dtype, steps, batch, size, rank=3):
    first = _draw(rng, dtype, *(1, batch, size)[3 - rank :])
    weights = _draw(rng, dtype, size, size), _draw(rng, dtype, size)
    return [_draw(rng, dtype, steps, batch, size), first, *weights]


def _lstm_inputs(rng, dtype, steps, batch, size):
    firsts = [_draw(rng, dtype, 1, batch, size) for _ in range(2)]
    weights = _draw(rng, dtype, 4 * size, size), _draw(rng, dtype, 4 * size)
    lengths = rng.integers(1, steps + 1, batch).astype(np.int32)
    return [_draw(rng, dtype, steps, batch, 4 * size), *firsts, *weights, lengths]


def _samples(rng):
    for rank in (3, 2, 1):
        yield Sample(_tanh_inputs(rng, "float32", 3, 2, 4, rank), TANH_ARGS, 3)
    for dtype in ("float32", "float64"):
        yield Sample(_lstm_inputs(rng, dtype, 4, 3, 2), LSTM_ARGS, 5)
    for sizes in ((0, 2, 3), (1, 1, 1), (5, 3, 1)):
        yield Sample(_tanh_inputs(rng, "float32", *sizes), TANH_ARGS, 3, gradient=sizes[0] > 0)
    windows = {"link_window": [1, 1, 1], "backward_link_window": [1, 1, 1]}
    more = {"enable_rnn_executor": True, "rnn_executor.num_threads": 2, "param_grads": []}
    shared = {"backward_step_net": TANH_AGAIN, "recompute_blobs_on_backward": ["s"]}
    for extra in (windows, more, shared):
        yield Sample(_tanh_inputs(rng, "float32", 3, 2, 2), {**TANH_ARGS, **extra}, 3)


X, H0, W, B = (np.zeros(shape, np.float32) for shape in ((3, 2, 4), (1, 2, 4), (4, 4), (4,)))
GOOD = [X, H0, W, B]


def _bad(error, match, inputs=GOOD, outputs=3, **changed):
    args = {name: v for name, v in {**TANH_ARGS, **changed}.items() if v is not None}
    return Bad(inputs, error, match, args, outputs)


NETWORK_BAD = [
    _bad(ArgumentError, "'step_net' .* is required", step_net=None),
    _bad(ArgumentError, "must have a name", step_net='op { type: "Relu" }'),
    _bad(
        ArgumentError, "must have one length: link_internal 3, .*link_offset 2", link_offset=[0, 1]
    ),
    _bad(ArgumentError, "link_window must be at least 1", link_window=[1, 1, 0]),
    _bad(ArgumentError, "there is no input 9", initial_recurrent_state_ids=[9]),
    _bad(ArgumentError, "'z' is no recurrent state", alias_src=["z", "h_all"]),
    _bad(ArgumentError, "misspel|did you mean 'step_net'", stepnet="x"),
    _bad(MissingBlobError, "'z', which a link names", link_external=["z", "h_all", "h_all"]),
    _bad(ValueRangeError, r"of step 2 of 3 would be 'h_all'\[4:5\]", link_offset=[0, 0, 2]),
    _bad(ValueRangeError, "would begin at step -1", alias_offset=[1, -5]),
    _bad(ShapeError, "must have 1 to 3 dimensions", [X, H0[None], W, B]),
    _bad(ShapeError, "must have the batch size 2", [X, H0[:, :1], W, B]),
    _bad(ShapeError, r"must be \(T,N,...\)", [B, H0, W, B]),
    _bad(DTypeError, "supported: float", [X.astype("int32"), H0, W, B]),
    _bad(DTypeError, "must have one type|supported: float", [X, H0.astype("int32"), W, B]),
    _bad(
        ShapeError,
        "makes 'h' .*a step of 'h_all' is",
        step_net=_net("half", _op("Split", "x_t", "h other", axis=2)),
    ),
    Bad(GOOD, InplaceError, "in place", TANH_ARGS, 3, same=((1, 1),)),
]


def _apply_link(step, external, *, offset, window):
    at = int(step.reshape(-1)[0]) + offset
    return external[at : at + window], external


def _link_samples(rng):
    for shape in ((4,), (4, 3), (5, 1, 2), (3, 0)):
        for dtype in ("float32", "int64"):
            x = rng.integers(0, 9, shape).astype(dtype)
            for step, offset, window in ((0, 0, 1), (1, 1, 1), (0, 1, 2), (2, 0, 1)):
                steps = [np.array([step], np.int32), x]
                args = {"offset": offset, "window": window}
                yield Sample(steps, args, 2, same=((1, 1),))


def _add_step(step, given, total, *, offset):
    t = int(step.reshape(-1)[0])
    total = total.copy()
    total[t + offset] += given[t]
    return total


def _add_samples(rng):
    for dtype in ("float32", "float64"):
        for shape in ((3,), (3, 4), (3, 2, 2), (3, 0)):
            for step, offset in ((0, 0), (1, 1), (2, 2)):
                given = _draw(rng, dtype, *shape)
                total = _draw(rng, dtype, 5, *shape[1:])
                steps = np.array([step, 7], np.int32)
                yield Sample([steps, given, total], {"offset": offset}, same=((2, 0),))


T = np.array([1], np.int32)
LINK = {"offset": 0, "window": 1}
SAME = ((1, 1),)
ADD = ((2, 0),)
ENFORCED = "the one pair is demanded: every sample runs in place"

CASES = [
    Case(
        "RecurrentNetwork",
        _network,
        _samples,
        NETWORK_BAD,
        skip={"infer_full": "the steps' workspaces are no tensor, and a first value may be a row"},
    ),
    Case(
        "RecurrentNetworkGradient",
        None,
        lambda rng: [],
        [
            Bad(
                [X, X, H0],
                BlobTypeError,
                "must hold the steps",
                {**TANH_ARGS, "param": [], "param_grads": [], "outputs_with_grads": [0]},
                2,
            ),
            Bad([X], ArgumentError, "expected 4 outputs", TANH_ARGS, 1),
        ],
        skip=dict.fromkeys(
            ("forward", "inplace", "infer"),
            "reads the workspaces that RecurrentNetwork leaves; checked by the gradient of that",
        ),
    ),
    Case(
        "RecurrentNetworkBlobFetcher",
        None,
        lambda rng: [],
        [
            Bad([X], BlobTypeError, "must hold the steps"),
            Bad([], ArityError, "expected 1"),
            Bad([X], InplaceError, "does not allow", same=[(0, 0)]),
        ],
        skip=dict.fromkeys(
            ("forward", "inplace", "infer"),
            "reads the workspaces that RecurrentNetwork leaves; see tests/modeling/test_recurrent",
        ),
    ),
    Case(
        "rnn_internal_apply_link",
        _apply_link,
        _link_samples,
        [
            Bad([T, X], ArgumentError, "window at least 1", {"offset": 0}, 2, SAME),
            Bad([T, X], ArgumentError, "offset must be at least 0", {"window": 1}, 2, SAME),
            Bad([T + 5, X], ValueRangeError, "not within 3 steps", LINK, 2, SAME),
            Bad([-T, X], ValueRangeError, "not within 3 steps", LINK, 2, SAME),
            Bad([T, X[0, 0, 0]], ShapeError, "found a scalar", LINK, 2, SAME),
            Bad([T[:0], X], ShapeError, "number of the step", LINK, 2, SAME),
            Bad([T.astype("int64"), X], DTypeError, "supported: int32", LINK, 2, SAME),
            Bad([T, X], InplaceError, "must be the same blob", LINK, 2),
        ],
        skip={"inplace": ENFORCED},
    ),
    Case(
        "rnn_internal_accumulate_gradient_input",
        _add_step,
        _add_samples,
        [
            Bad([T, X, X], ArgumentError, "offset must be at least 0", same=ADD),
            Bad([T, X, X], ValueRangeError, "not among the 3", {"offset": 2}, same=ADD),
            Bad([T + 2, X, X], ValueRangeError, "not among the 3", {"offset": 0}, same=ADD),
            Bad([-T, X, X], ValueRangeError, "not among the 3", {"offset": 1}, same=ADD),
            Bad([T, X, X[:, :1]], ShapeError, "must have one size", {"offset": 0}, same=ADD),
            Bad([T, X, X.astype("float64")], DTypeError, "one type", {"offset": 0}, same=ADD),
            Bad([T, X, X], InplaceError, "must be the same blob", {"offset": 0}),
        ],
        skip={"inplace": ENFORCED},
    ),
]
