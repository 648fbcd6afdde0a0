"""Rows: fully connected layers, products of matrices and of batches of them."""

import math

import numpy as np

from caffe2py.errors import ArgumentError, ArityError, DTypeError, InplaceError, ShapeError
from caffe2py.testing import Bad, Case, Sample

#: shapes of X and of W as [out, in], arguments
LAYERS = [
    ((2, 3), (4, 3), {}),
    ((1, 1), (1, 1), {}),
    ((3, 17), (5, 17), {"float16_compute": 1}),
    ((7, 300), (9, 300), {}),
    ((5, 1100), (6, 1100), {}),
    ((1, 40), (600, 40), {}),
    ((2, 3, 4), (5, 12), {}),
    ((2, 3, 4), (5, 4), {"axis": 2}),
    ((2, 3, 4), (2, 24), {"axis": 0}),
    ((2, 3, 4), (5, 4), {"axis": -1}),
    ((2, 1, 3, 2), (4, 6), {"axis": -2}),
    ((4,), (3, 4), {"axis": 0}),
    ((0, 3), (4, 3), {}),
    ((2, 0), (4, 0), {}),
    ((2, 6), (4, 2, 3), {}),
    ((2, 3), (2, 2, 3), {"axis_w": 2}),
    ((2, 3), (2, 2, 3), {"axis_w": -1}),
    ((2, 2, 3), (1, 5, 3), {"axis": 2, "axis_w": 2}),
]
TOLERANCE = {"tolerance": 1e-5, "tolerance_reason": "sums of up to 1100 float32 products"}


def _matrices(x, w, axis=1, axis_w=1, **_):
    axis, axis_w = axis % x.ndim, axis_w % w.ndim
    x2 = x.reshape(math.prod(x.shape[:axis]), math.prod(x.shape[axis:]))
    return x2, w.reshape(math.prod(w.shape[:axis_w]), math.prod(w.shape[axis_w:])), x.shape[:axis]


def _fc(x, w, b, **args):
    x2, w2, kept = _matrices(x, w, **args)
    return (x2 @ w2.T + b).reshape(*kept, len(b))


def _fc_transposed(x, w, b, **args):
    x2, w2, kept = _matrices(x, w, **args)
    return (x2 @ w2 + b).reshape(*kept, len(b))


def _fused_fc(x, w, b, transposed=0, relu=1, **args):
    y = (_fc_transposed if transposed else _fc)(x, w, b, **args)
    return np.maximum(y, 0) if relu else y


def _fused_layers(rng):
    for index, (x, w, outs, args) in enumerate([*_layers(False), *_layers(True)]):
        said = {"transposed": 1} if index >= len(LAYERS) else {}
        said |= {"relu": 0} if index % 4 == 3 else {}
        dtype = "float64" if index % 5 == 4 else "float32"
        yield Sample(_draw(rng, x, w, (outs,), dtype=dtype), {**args, **said})


def _fc_gradient(x, w, dy, **args):
    x2, w2, _ = _matrices(x, w, **args)
    dy2 = dy.reshape(len(x2), len(w2))
    return (dy2.T @ x2).reshape(w.shape), dy2.sum(0), (dy2 @ w2).reshape(x.shape)


def _fc_transposed_gradient(x, w, dy, **args):
    x2, w2, _ = _matrices(x, w, **args)
    dy2 = dy.reshape(len(x2), w2.shape[1])
    return (x2.T @ dy2).reshape(w.shape), dy2.sum(0), (dy2 @ w2.T).reshape(x.shape)


def _layers(transposed):
    """(shape of X, of W, number of outputs, arguments), W turned around if `transposed`."""
    for x, w, args in LAYERS:
        axis = args.get("axis_w", 1) % len(w)
        outs = math.prod(w[:axis])
        if transposed:
            w = (*w[axis:], *w[:axis])
            if len(w) > 2:
                args = {**args, "axis_w": len(w) - axis}
        yield x, w, outs, args


def _draw(rng, *shapes, dtype="float32"):
    return [rng.uniform(-1, 1, shape).astype(dtype) for shape in shapes]


def _forward(transposed):
    def samples(rng):
        for x, w, outs, args in _layers(transposed):
            for dtype in ("float32", "float64"):
                yield Sample(_draw(rng, x, w, (outs,), dtype=dtype), args)

    return samples


def _backward(transposed):
    def samples(rng):
        for index, (x, w, outs, args) in enumerate(_layers(transposed)):
            y = (*x[: args.get("axis", 1) % len(x)], outs)
            for dtype in ("float32", "float64"):
                yield Sample(_draw(rng, x, w, y, dtype=dtype), args, 2 if index % 5 == 4 else 3)

    return samples


def _either_gradient(x, w, dy, transposed=0, **args):
    return (_fc_transposed_gradient if transposed else _fc_gradient)(x, w, dy, **args)


def _input_samples(rng):
    for turned in (0, 1):
        for x, w, outs, args in _layers(turned):
            y = (*x[: args.get("axis", 1) % len(x)], outs)
            for dtype in ("float32", "float64"):
                sample = _draw(rng, x, w, y, dtype=dtype)
                yield Sample(sample, {**args, "transposed": turned}, 1)


#: shapes of X, of W as [out, in] and of dY
ROWS = [
    ((2, 3), (4, 3), (2, 4)),
    ((5, 2, 3), (4, 3), (10, 4)),
    ((3, 1, 2, 3), (5, 6), (3, 1, 5)),
    ((7, 1, 40), (30, 40), (7, 1, 30)),
    ((0, 1, 3), (4, 3), (0, 1, 4)),
    ((50, 1, 16), (64, 16), (50, 1, 64)),
]


def _rows_gradient(x, w, dy, axis_w=1, transposed=0):
    dw, db, _ = _either_gradient(
        x.reshape(-1, w.shape[1 - transposed]),
        w,
        dy.reshape(-1, w.shape[transposed]),
        transposed,
    )
    return dw, db


def _rows_samples(rng):
    for x, w, dy in ROWS:
        for turned in (0, 1):
            for dtype in ("float32", "float64"):
                sample = _draw(rng, x, w[::-1] if turned else w, dy, dtype=dtype)
                yield Sample(sample, {"transposed": turned, "axis_w": 1}, 2)


X = np.ones((2, 3), np.float32)
W = np.ones((4, 3), np.float32)
B = np.ones(4, np.float32)
DY = np.ones((2, 4), np.float32)


def _forward_errors(w, needed):
    return [
        Bad([X[:, :2], w, B], ShapeError, rf"flattened at axis 1 to K=2; W is .*, needs {needed}"),
        Bad([X, w, B[:3]], ShapeError, r"b is \(3\), needs \(4\)"),
        Bad([X, w, B[None]], ShapeError, "b must have one dimension"),
        Bad([X[0], w, B], ShapeError, r"axis of X \(3\), 1 is out of range"),
        Bad([X, w, B], ShapeError, "axis of X .*, 2 is out of range", {"axis": 2}),
        Bad([X, w, B], ShapeError, "axis of X .*, -3 is out of range", {"axis": -3}),
        Bad([X, w, B], ShapeError, "axis_w of W .*, 3 is out of range", {"axis_w": 3}),
        Bad([X, w.ravel(), B], ShapeError, "axis_w of W .*, 1 is out of range"),
        Bad([X, w, B], ArgumentError, "axis", {"axis": "1"}),
        Bad([X, w.astype("float64"), B], DTypeError, "one type: input 0 'X' is float32"),
        Bad([X.astype("float16"), w, B], DTypeError, "'X' is float16"),
        Bad([x.astype("int32") for x in (X, w, B)], DTypeError, "is int32; supported: float32"),
        Bad([X, w], ArityError, "expected 3"),
        Bad([X, w, B], InplaceError, "in place", same=[(0, 0)]),
    ]


def _backward_errors(w):
    return [
        Bad(
            [X, w, DY[:, :3]],
            ShapeError,
            r"dY is \(2,3\), needs the shape of Y, \(2,4\)",
            outputs=3,
        ),
        Bad([X, w, DY.ravel()], ShapeError, r"dY is \(8\)", outputs=3),
        Bad([X[:, :2], w, DY], ShapeError, "to K=2", outputs=3),
        Bad([X, w, DY], ShapeError, "out of range", {"axis": 3}, outputs=3),
        Bad([X, w, DY.astype("float64")], DTypeError, "must have one type", outputs=3),
        Bad([X, w, DY], ArityError, "expected 2 to 3 output", outputs=1),
        Bad([X, w], ArityError, "expected 3 input", outputs=3),
        Bad([X, w, DY], InplaceError, "in place", outputs=3, same=[(1, 0)]),
    ]


# ---------------------------------------------------------------- products

#: shapes of A and B, arguments
PRODUCTS = [
    ((2, 3), (3, 4), {}),
    ((3, 2), (3, 4), {"trans_a": 1}),
    ((2, 3), (4, 3), {"trans_b": 1}),
    ((3, 2), (4, 3), {"trans_a": 1, "trans_b": 1}),
    ((2, 3, 2), (6, 1), {}),
    ((2, 3, 2), (2, 2), {"axis_a": 2}),
    ((2, 3, 2), (2, 5), {"axis_a": -1, "axis_b": -1}),
    ((2, 2, 3), (2, 2, 5), {"axis_a": 2, "axis_b": 1, "trans_a": 1, "trans_b": 1}),
    ((3,), (3, 2), {"axis_a": 0}),
    ((2, 1), (3,), {"axis_b": 0}),
    ((0, 3), (3, 2), {}),
    ((2, 0), (0, 2), {}),
    ((17, 130), (130, 9), {}),
]


def _turn(x, axis, trans):
    two = x.reshape(math.prod(x.shape[: axis % x.ndim]), math.prod(x.shape[axis % x.ndim :]))
    return two.T if trans else two


def _matmul(a, b, like=None, axis_a=1, axis_b=1, trans_a=0, trans_b=0):
    y = _turn(a, axis_a, trans_a) @ _turn(b, axis_b, trans_b)
    return y if like is None else y.reshape(like.shape)


def _products(rng):
    for a, b, args in PRODUCTS:
        rank2 = len(a) == len(b) == 2
        if args.get("trans_a") and args.get("trans_b") and not rank2:
            b = (5, 4)
            args = {"axis_a": 2, "trans_a": 1, "trans_b": 1}
        for dtype in ("float32", "float64"):
            x, y = _draw(rng, a, b, dtype=dtype)
            yield Sample([x, y], args)
            size = _matmul(x, y, **args).size
            yield Sample([x, y, np.zeros((size, 1), np.int32)], args, gradient=False)


A = np.ones((2, 3), np.float32)
PRODUCT_ERRORS = [
    Bad([A, A], ShapeError, r"A \(2,3\) has 3 column\(s\) as a matrix, B \(2,3\) has 2 row"),
    Bad([A, A.T], ShapeError, "trans_a=1", {"trans_a": 1, "trans_b": 0, "axis_b": 0}),
    Bad([A, A.T, np.ones(5, "f")], ShapeError, r"'shape_of' is \(5\); the product is \(2,2\)"),
    Bad([A, A.T], ShapeError, "axis_a of A .*, 2 is out of range", {"axis_a": 2}),
    Bad([A, A.T], ShapeError, "axis_b of B .*, -3 is out of range", {"axis_b": -3}),
    Bad([A[0], A.T], ShapeError, "axis_a of A .*, 1 is out of range"),
    Bad([A, A.T.astype("f8")], DTypeError, "one type"),
    Bad([A.astype("i4"), A.T.astype("i4")], DTypeError, "is int32"),
    Bad([A, A.T], ArgumentError, "trans_a", {"trans_a": "yes"}),
    Bad([A], ArityError, "expected 2 to 3"),
    Bad([A, A.T], InplaceError, "in place", same=[(0, 0)]),
]

#: shapes of A and B, arguments
BATCHES = [
    ((2, 2, 3), (2, 3, 1), {}),
    ((2, 3, 2), (2, 3, 4), {"trans_a": 1}),
    ((2, 2, 3), (2, 4, 3), {"trans_b": 1}),
    ((2, 3, 2), (2, 4, 3), {"trans_a": 1, "trans_b": 1}),
    ((2, 3), (3, 1), {}),
    ((2, 3, 2, 3), (2, 3, 3, 4), {}),
    ((0, 2, 3), (0, 3, 1), {}),
    ((2, 2, 0), (2, 0, 1), {}),
    ((2, 0, 3), (2, 3, 1), {}),
]
REPEATED = [
    ((2, 3), (3,), {}),
    ((3,), (3, 2), {"trans_a": 1}),
    ((3,), (3,), {}),
    ((3,), (2, 3, 2), {}),
    ((2, 3), (3,), {"trans_b": 1}),
    ((4, 2, 3), (3, 1), {}),
    ((3, 2), (2, 3, 2), {"trans_a": 1}),
    ((4, 1, 2, 3), (5, 3, 1), {}),
    ((2, 1, 2, 3), (1, 5, 4, 3), {"trans_b": 1}),
    ((1, 2, 3), (4, 3, 2), {"use_scratch": 1}),
    ((2, 3, 1, 2, 3), (3, 4, 3, 2), {}),
]


def _batch(a, b, trans_a=0, trans_b=0, broadcast=0, use_scratch=0):
    if trans_a and a.ndim > 1:
        a = np.swapaxes(a, -1, -2)
    if trans_b and b.ndim > 1:
        b = np.swapaxes(b, -1, -2)
    y = a @ b
    return y.reshape(1) if a.ndim == b.ndim == 1 else y


def _batches(rng):
    for dtype in ("float32", "float64"):
        for a, b, args in BATCHES:
            yield Sample(_draw(rng, a, b, dtype=dtype), args)
        for a, b, args in [*BATCHES, *REPEATED]:
            pair = _draw(rng, a, b, dtype=dtype)
            yield Sample(pair, {**args, "broadcast": 1}, gradient=False)
        yield Sample(_draw(rng, (3,), (3,), dtype=dtype), gradient=False)


S = np.ones((2, 2, 3), np.float32)
BATCH_ERRORS = [
    Bad([S, S], ShapeError, r"A \(2,2,3\) has 3 column\(s\), B \(2,2,3\) has 2 row"),
    Bad([S, np.ones((3, 1), "f")], ShapeError, "broadcast=1 would repeat"),
    Bad([S, np.ones((1, 3, 1), "f")], ShapeError, "broadcast=1 would repeat"),
    Bad([A, np.ones(3, "f")], ShapeError, "broadcast=1 would repeat"),
    Bad([S, np.ones((3, 3, 1), "f")], ShapeError, "cannot be broadcast", {"broadcast": 1}),
    Bad([S[0, 0, 0], S], ShapeError, "'A' must have at least 1 dimension", {"broadcast": 1}),
    Bad([S, S.astype("f8")], DTypeError, "one type"),
    Bad([S.astype("i4"), S.astype("i4")], DTypeError, "is int32"),
    Bad([S, S], ArgumentError, "trans_b", {"trans_b": 0.5}),
    Bad([S], ArityError, "expected 2"),
    Bad([S, S], InplaceError, "in place", {"trans_b": 1}, same=[(1, 0)]),
]


CASES = [
    Case("FC", _fc, _forward(False), _forward_errors(W, r"\(N,2\)"), **TOLERANCE),
    Case(
        "FCTransposed",
        _fc_transposed,
        _forward(True),
        _forward_errors(W.T, r"\(2,N\)"),
        **TOLERANCE,
    ),
    Case("FusedFC", _fused_fc, _fused_layers, _forward_errors(W, r"\(N,2\)"), **TOLERANCE),
    Case("FCGradient", _fc_gradient, _backward(False), _backward_errors(W), **TOLERANCE),
    Case(
        "FCTransposedGradient",
        _fc_transposed_gradient,
        _backward(True),
        _backward_errors(W.T),
        **TOLERANCE,
    ),
    Case(
        "FCGradientOfInput",
        lambda *inputs, **args: _either_gradient(*inputs, **args)[2],
        _input_samples,
        [
            Bad([X, W, DY[:, :3]], ShapeError, r"dY is \(2,3\), needs the shape of Y, \(2,4\)"),
            Bad([X[:, :2], W, DY], ShapeError, "to K=2"),
            Bad([X, W, DY], ShapeError, "out of range", {"axis": 3}),
            Bad([X, W, DY.astype("float64")], DTypeError, "must have one type"),
            Bad([X, W], ArityError, "expected 3"),
            Bad([X, W, DY], InplaceError, "in place", same=[(0, 0)]),
        ],
        **TOLERANCE,
    ),
    Case(
        "FCGradientOfWeights",
        _rows_gradient,
        _rows_samples,
        [
            Bad([X, W, DY[:1]], ShapeError, "rows of K=3 and N=4 elements", outputs=2),
            Bad([X[:, :2], W, DY], ShapeError, "rows of K=3", outputs=2),
            Bad([X, W, DY], ShapeError, "out of range", {"axis_w": 3}, outputs=2),
            Bad([X, W, DY.astype("float64")], DTypeError, "must have one type", outputs=2),
            Bad([X, W, DY], ArgumentError, "transposed", {"transposed": 0.5}, outputs=2),
            Bad([X, W], ArityError, "expected 3", outputs=2),
            Bad([X, W, DY], InplaceError, "in place", outputs=2, same=[(1, 0)]),
        ],
        **TOLERANCE,
    ),
    Case("MatMul", _matmul, _products, PRODUCT_ERRORS, **TOLERANCE),
    Case("BatchMatMul", _batch, _batches, BATCH_ERRORS, **TOLERANCE),
]
