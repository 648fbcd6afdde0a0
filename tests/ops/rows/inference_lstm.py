"""Row: whole LSTMs."""

import numpy as np

from caffe2py.errors import ArgumentError, ArityError, DTypeError, InplaceError, ShapeError
from caffe2py.testing import Bad, Case, Sample

ARGS = [
    {},
    {"has_biases": False},
    {"batch_first": True},
    {"bidirectional": True},
    {"num_layers": 2, "has_biases": False, "batch_first": True},
    {"num_layers": 3, "bidirectional": True},
    {"num_layers": 2, "bidirectional": True, "batch_first": True},
]


def _sigmoid(x):
    return 1 / (1 + np.exp(-x))


def _lstm(
    x, h0, c0, *weights, num_layers=1, has_biases=True, batch_first=False, bidirectional=False
):
    x = x.swapaxes(0, 1) if batch_first else x
    left, hs, cs = list(weights), [], []
    for layer in range(num_layers):
        outs = []
        for back in range(1 + bidirectional):
            w, u = left.pop(0), left.pop(0)
            bias = left.pop(0) + left.pop(0) if has_biases else 0
            at = layer * (1 + bidirectional) + back
            h, c, out = h0[at], c0[at], np.zeros((*x.shape[:2], h0.shape[2]), x.dtype)
            for t in range(len(x))[:: -1 if back else 1]:
                i, f, g, o = np.split(x[t] @ w.T + h @ u.T + bias, 4, axis=1)
                c = _sigmoid(f) * c + _sigmoid(i) * np.tanh(g)
                h = out[t] = _sigmoid(o) * np.tanh(c)
            outs.append(out)
            hs.append(h)
            cs.append(c)
        x = np.concatenate(outs, axis=2)
    return x.swapaxes(0, 1) if batch_first else x, np.stack(hs), np.stack(cs)


def _inputs(rng, dtype, steps, batch, width, size, args):
    ways = 1 + args.get("bidirectional", False)
    layers = args.get("num_layers", 1)
    first = (batch, steps) if args.get("batch_first") else (steps, batch)
    shapes = [(*first, width), *[(layers * ways, batch, size)] * 2]
    for layer in range(layers):
        below = width if layer == 0 else ways * size
        each = [(4 * size, below), (4 * size, size)]
        each += [(4 * size,)] * 2 if args.get("has_biases", True) else []
        shapes += each * ways
    return [rng.normal(size=shape).astype(dtype) for shape in shapes]


def _samples(rng):
    for args in ARGS:
        for sizes in ((1, 1, 1, 1), (3, 2, 4, 3), (0, 2, 3, 2), (2, 0, 3, 2)):
            yield Sample(_inputs(rng, "float32", *sizes, args), args, 3)
        yield Sample(_inputs(rng, "float64", 4, 3, 2, 5, args), args, 3)


def _bad():
    x, h, c, w, u, b, d = _inputs(np.random.default_rng(0), "float32", 3, 2, 4, 3, {})

    def bad(inputs, error, match, **args):
        return Bad(inputs, error, match, args, 3)

    return [
        bad([x, h, c, w, u, b], ArityError, "expected 7 inputs with 1 layer"),
        bad([x, h, c, w, u, b, d], ArityError, "expected 11 inputs", num_layers=2),
        bad([x, h, c, w, u, b, d], ArityError, "expected 11 inputs", bidirectional=True),
        bad([x, h, c, w, u, b, d], ArityError, "expected 5 inputs", has_biases=False),
        bad([x, h, c, w, u, b, d], ArgumentError, "num_layers must be positive", num_layers=0),
        bad([], ArityError, "expected"),
        bad([x[0], h, c, w, u, b, d], ShapeError, "must have 3 dimension"),
        bad([x, h[:, :1], c[:, :1], w, u, b, d], ShapeError, r"the states must be \(1,2,\?\)"),
        bad([x, h, c[..., :2], w, u, b, d], ShapeError, "must have one shape"),
        bad([x, h, c, w[:, :3], u, b, d], ShapeError, r"input 3 must be \(12,4\)"),
        bad([x, h, c, w, u[:8], b, d], ShapeError, r"input 4 must be \(12,3\)"),
        bad([x, h, c, w, u, b[:4], d], ShapeError, r"input 5 must be \(12\)"),
        bad([x, h, c, w, u, b, d[:, None]], ShapeError, "must have 1 dimension"),
        bad([x, h, c, w, u, b, d.astype("float64")], DTypeError, "must have one type"),
        bad([x.astype("int32"), h, c, w, u, b, d], DTypeError, "supported: float"),
        Bad([x, h, c, w, u, b, d], InplaceError, "does not allow", {}, 3, [(1, 1)]),
    ]


CASES = [Case("InferenceLSTM", _lstm, _samples, bad=_bad())]
