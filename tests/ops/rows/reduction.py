"""Rows: reductions over axes, over the first or last ones, and over all elements."""

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
from caffe2py.testing import Bad, Case, Sample, uniform

NUMERIC = ("int32", "int64", "float32", "float64")
FLOATS = ("float32", "float64")
F4 = np.ones((2, 3), np.float32)
F8 = np.ones((2, 3), np.float64)
I4 = np.ones((2, 3), np.int32)
SUMS = {"tolerance": 2e-5, "tolerance_reason": "sums of up to 4290 float32 numbers"}

#: shapes and arguments of reductions over chosen axes
REDUCED = [
    ((), {}),
    ((7,), {}),
    ((2, 3), {"keepdims": 0}),
    ((2, 3, 4), {"axes": [1]}),
    ((2, 3, 4), {"axes": [2], "keepdims": 0}),
    ((2, 3, 4), {"axes": [0, 2]}),
    ((2, 3, 4), {"axes": [2, 0], "keepdims": 0}),
    ((2, 3, 4), {"axes": [-1, -2]}),
    ((2, 3, 4), {"axes": []}),
    ((2, 1, 3, 2, 2), {"axes": [1, 3], "keepdims": 0}),
    ((130, 33), {"axes": [0]}),
    ((130, 33), {"axes": [1]}),
    ((130, 33), {}),
    ((0, 3), {"axes": [0]}),
    ((0, 3), {"axes": [1]}),
]


def _draw(rng, shape, dtype):
    return uniform(-9, 9)(rng, shape, np.dtype(dtype))


def _apart(rng, shape, dtype):
    """Elements that differ by more than a little."""
    order = rng.permutation(math.prod(shape)).reshape(shape) - 20
    noise = rng.uniform(0, 0.4, shape) if np.dtype(dtype).kind == "f" else 0
    return np.asarray(order + noise).astype(dtype)


def _axes(x, axes, keepdims):
    return {"axis": tuple(axes) if axes else None, "keepdims": bool(keepdims)}


def _sum(x, axes=(), keepdims=1):
    return np.sum(x, dtype=x.dtype, **_axes(x, axes, keepdims))


def _count(x, axes):
    return math.prod(x.shape[k] for k in axes) if axes else x.size


def _mean(x, axes=(), keepdims=1):
    return _sum(x, axes, keepdims) / x.dtype.type(max(_count(x, axes), 1))


def _extremum(function, nothing):
    def ref(x, axes=(), keepdims=1):
        limits = np.finfo(x.dtype) if x.dtype.kind == "f" else np.iinfo(x.dtype)
        start = {} if x.size else {"initial": getattr(limits, nothing)}
        return function(x, **start, **_axes(x, axes, keepdims)).astype(x.dtype)

    return ref


def _reduced(dtypes, draw=_draw):
    def samples(rng):
        for dtype in dtypes:
            for shape, args in REDUCED:
                smooth = draw is _draw or 0 not in shape  # an extremum of nothing is too large
                yield Sample([draw(rng, shape, dtype)], args, gradient=smooth)

    return samples


def _reduced_gradients(dtypes, forward, draw=_draw):
    def samples(rng):
        for dtype in dtypes:
            for shape, args in REDUCED:
                x = draw(rng, shape, dtype)
                y = np.asarray(forward(x, **args))
                yield Sample([_draw(rng, y.shape, dtype), x, y], args)

    return samples


def _spread(reduced, x, axes):
    kept = [1 if not axes or k in [a % x.ndim for a in axes] else n for k, n in enumerate(x.shape)]
    return np.broadcast_to(reduced.reshape(kept), x.shape)


def _sum_gradient(dy, x, y, axes=(), keepdims=1):
    return _spread(dy, x, axes)


def _mean_gradient(dy, x, y, axes=(), keepdims=1):
    return _spread(dy, x, axes) / x.dtype.type(max(_count(x, axes), 1))


def _extremum_gradient(dy, x, y, axes=(), keepdims=1):
    return np.where(x == _spread(y, x, axes), _spread(dy, x, axes), np.zeros_like(x))


def _axis_errors(*others):
    return [
        Bad([F4], ShapeError, "axis 2 is out of range", args={"axes": [2]}),
        Bad([F4], ShapeError, "axis -3 is out of range", args={"axes": [-3]}),
        Bad([F4], ShapeError, "twice", args={"axes": [1, -1]}),
        Bad([F4 > 0], DTypeError, "is bool"),
        Bad([F4], InplaceError, "does not allow", same=[(0, 0)]),
        Bad([F4, F4], ArityError, "expected 1"),
        *others,
    ]


def _axis_gradient_errors():
    return [
        Bad([F4[:, 0], F4, F4[0]], ShapeError, "'dY' must be X", args={"axes": [0]}),
        Bad([F4[0], F4, F4[:, 0]], ShapeError, "'Y' must be X", args={"axes": [0]}),
        Bad([F4, F4, F8], DTypeError, "one type"),
        Bad([F4, F4], ArityError, "expected 3"),
    ]


# ---------------------------------------------------------------- the first or the last axes

ENDS = [
    ((7,), {}),
    ((2, 3), {}),
    ((2, 3, 4), {}),
    ((2, 3, 4), {"num_reduce_dim": 2}),
    ((2, 3, 4), {"num_reduce_dim": 3}),
    ((2, 3, 4), {"num_reduce_dim": 0}),
    ((2, 3, 4), {"num_reduce_dims": 2}),
    ((130, 33), {}),
    ((0, 3), {}),
    ((3, 0), {}),
    ((), {"num_reduce_dim": 0}),
]


def matrix(x, front, num_reduce_dim):
    """X with what is reduced as rows, and the shape of the result."""
    cut = num_reduce_dim if front else x.ndim - num_reduce_dim
    rest = x.shape[cut:] if front else x.shape[:cut]
    flat = x.reshape(math.prod(x.shape[:cut]), math.prod(x.shape[cut:]))
    return (flat.T if front else flat), rest


def _quotient(a, b):
    return a / b if a.dtype.kind == "f" else np.trunc(a / b).astype(a.dtype)


def _parts(rows, lengths):
    """How many elements of each row count, and which."""
    count = np.full(len(rows), rows.shape[1]) if lengths is None else lengths.reshape(-1)
    return count, np.arange(rows.shape[1]) < count[:, None]


def _end(front, mean):
    def ref(x, lengths=None, num_reduce_dim=1, num_reduce_dims=1):
        rows, rest = matrix(x, front, num_reduce_dim)
        count, counted = _parts(rows, lengths)
        total = np.where(counted, rows, np.zeros_like(rows)).sum(axis=1, dtype=x.dtype)
        if mean:
            total = _quotient(total, np.maximum(count, 1).astype(x.dtype))
        return total.reshape(rest)

    return ref


def _end_gradient(front, mean):
    def ref(dy, x, lengths=None, num_reduce_dim=1, num_reduce_dims=1):
        if x.dtype == np.int64 and dy.dtype != np.int64:
            x = np.zeros(x, dy.dtype)
        rows, _ = matrix(x, front, num_reduce_dim)
        count, counted = _parts(rows, lengths)
        flat = dy.reshape(-1)
        if mean:
            flat = _quotient(flat, np.maximum(count, 1).astype(x.dtype))
        dx = np.where(counted, flat[:, None], np.zeros_like(rows))
        return (dx.T if front else dx).reshape(x.shape)

    return ref


def end_samples(front, draw, shapes):
    def samples(rng):
        for dtype in NUMERIC:
            for shape, args in shapes:
                x = draw(rng, shape, dtype)
                yield Sample([x], args)
                if args.get("num_reduce_dim", 1) == 1:
                    rows, _ = matrix(x, front, 1)
                    lengths = rng.integers(0, rows.shape[1] + 1, len(rows)).astype(np.int32)
                    yield Sample([x, lengths], args)

    return samples


def _end_gradients(front):
    def samples(rng):
        for sample in end_samples(front, _draw, ENDS)(rng):
            x = sample.inputs[0]
            y = _end(front, False)(*sample.inputs, **sample.args)
            yield Sample([_draw(rng, y.shape, x.dtype), *sample.inputs], sample.args)
            if x.dtype != np.int64:
                sizes = np.array(x.shape, np.int64)
                yield Sample([_draw(rng, y.shape, x.dtype), sizes, *sample.inputs[1:]], sample.args)

    return samples


def _end_errors(front):
    few = np.ones(1, np.int32)
    long = np.array([1, 9, 1][: 3 if front else 2], np.int32)
    return [
        Bad([F4], ShapeError, "num_reduce_dim 3 is out of", args={"num_reduce_dim": 3}),
        Bad([F4], ShapeError, "num_reduce_dim -1 is out of", args={"num_reduce_dim": -1}),
        Bad([F4, few], ShapeError, f"must hold {3 if front else 2} length"),
        Bad([F4, few], ArgumentError, "with lengths one axis", args={"num_reduce_dim": 2}),
        Bad([F4, long.astype(np.int64)], DTypeError, "is int64; supported: int32"),
        Bad([F4, long], ValueRangeError, rf"lengths\[1\] is 9, expected 0 to {2 if front else 3}"),
        Bad([F4, -long], ValueRangeError, r"lengths\[0\] is -1"),
        Bad([F4 > 0], DTypeError, "is bool"),
        Bad([F4], InplaceError, "does not allow", same=[(0, 0)]),
        Bad([F4, few, few], ArityError, "expected 1 to 2"),
    ]


def _end_gradient_errors(front):
    dy = F4[0] if front else F4[:, 0]
    long = np.array([1, 9, 1][: dy.size], np.int32)
    return [
        Bad([np.ones(5, np.float32), F4], ShapeError, "'dY' must have the shape"),
        Bad([dy, F4], ShapeError, "num_reduce_dim 3", args={"num_reduce_dim": 3}),
        Bad([dy, F4, long], ValueRangeError, r"lengths\[1\] is 9"),
        Bad([dy, F4, long[:1]], ShapeError, "must hold"),
        Bad([dy, F8], DTypeError, "one type"),
        Bad([dy, np.array([-1, 3])], ShapeError, "which is no shape"),
        Bad([dy], ArityError, "expected 2 to 3"),
    ]


def _ends():
    for end in ("Front", "Back"):
        for kind in ("Sum", "Mean"):
            front, mean = end == "Front", kind == "Mean"
            name = f"Reduce{end}{kind}"
            ref, samples = _end(front, mean), end_samples(front, _draw, ENDS)
            yield Case(name, ref, samples, bad=_end_errors(front), **SUMS)
            ref, samples = _end_gradient(front, mean), _end_gradients(front)
            yield Case(f"{name}Gradient", ref, samples, bad=_end_gradient_errors(front))


# ---------------------------------------------------------------- all elements

SHAPES = ((), (1,), (7,), (3, 0, 2), (2, 3, 4), (130, 33))
AVERAGE = ({}, {"average": 1})
NORMS = ({}, {"p": 1}, {"average": 1}, {"p": 1, "average": 1})


def _whole(dtypes, args, shapes=SHAPES):
    def samples(rng):
        for dtype in dtypes:
            for shape in shapes:
                for one in args:
                    x = uniform(-2, 2, away_from=0)(rng, shape, np.dtype(dtype))
                    if not (one.get("p", 0) or "average" in one) or x.size:
                        yield Sample([x], one)

    return samples


def _whole_gradients(args):
    def samples(rng):
        for sample in _whole(FLOATS, args)(rng):
            (x,) = sample.inputs
            for shape in ((), (1,)):
                yield Sample([x, _draw(rng, shape, x.dtype)], sample.args)

    return samples


def _total(x, average=0):
    return np.asarray(x.sum(dtype=x.dtype)) / x.dtype.type(max(x.size, 1) if average else 1)


def _norm(x, p=2, average=0):
    return _total(np.abs(x) ** p, average).reshape(1).astype(x.dtype)


def _norm_gradient(x, dout, p=2, average=0):
    slope = np.sign(x) if p == 1 else 2 * x
    return slope * dout.reshape(()) / x.dtype.type(x.size if average else 1)


def _whole_errors(wrong):
    return [
        Bad([wrong], DTypeError, "supported: "),
        Bad([F4.reshape(-1)[:1]], InplaceError, "does not allow", same=[(0, 0)]),
        Bad([F4, F4], ArityError, "expected 1"),
    ]


def _whole_gradient_errors():
    return [
        Bad([F4, F4[0]], ShapeError, r"must have one element, found \(3\)"),
        Bad([F4, F8[:1, 0]], DTypeError, "one type"),
        Bad([F4], ArityError, "expected 2"),
    ]


def _norm_errors(*more):
    empty = np.ones((0, 2), np.float32)
    return [
        Bad([F4, *more], ArgumentError, "'p' is 1 or 2, found 3", args={"p": 3}),
        Bad([empty, *more], ShapeError, "no average", args={"average": 1}),
    ]


# ---------------------------------------------------------------- ArgMax, ArgMin

SEARCHED = [
    ((7,), {}),
    ((1,), {"keepdims": 0}),
    ((2, 3), {"axis": 0}),
    ((2, 3, 4), {"axis": 1}),
    ((2, 3, 4), {"axis": -2, "keepdims": 0}),
    ((2, 3, 4), {}),
    ((130, 33), {}),
    ((130, 33), {"axis": 0, "keepdims": 0}),
    ((0, 3), {"axis": 1}),
    ((0, 3), {"axis": 0}),
]


def _searched(rng):
    for dtype in NUMERIC:
        for shape, args in SEARCHED:
            yield Sample([np.asarray(rng.integers(-3, 4, shape)).astype(dtype)], args)


def _arg(function):
    def ref(x, axis=-1, keepdims=1):
        if x.size == 0:
            return np.zeros([1 if k == axis else n for k, n in enumerate(x.shape)], np.int64)
        return function(x, axis=axis, keepdims=bool(keepdims)).astype(np.int64)

    return ref


def _arg_errors():
    return [
        Bad([F4], ShapeError, "axis 2 is out of range", args={"axis": 2}),
        Bad([F4[0, 0]], ShapeError, "axis -1 is out of range"),
        Bad([F4 > 0], DTypeError, "is bool"),
        Bad([F4, F4], ArityError, "expected 1"),
    ]


CASES = [
    Case("ReduceSum", _sum, _reduced(NUMERIC), bad=_axis_errors(), **SUMS),
    Case(
        "ReduceMean",
        _mean,
        _reduced(FLOATS),
        bad=_axis_errors(Bad([I4], DTypeError, "is int32")),
        **SUMS,
    ),
    Case(
        "ReduceMax",
        _extremum(np.max, "min"),
        _reduced(NUMERIC, _apart),
        bad=_axis_errors(),
    ),
    Case(
        "ReduceMin",
        _extremum(np.min, "max"),
        _reduced(NUMERIC, _apart),
        bad=_axis_errors(),
    ),
    Case(
        "ReduceSumGradient",
        _sum_gradient,
        _reduced_gradients(NUMERIC, _sum),
        bad=_axis_gradient_errors(),
    ),
    Case(
        "ReduceMeanGradient",
        _mean_gradient,
        _reduced_gradients(FLOATS, _mean),
        bad=_axis_gradient_errors(),
    ),
    Case(
        "ReduceMaxGradient",
        _extremum_gradient,
        _reduced_gradients(NUMERIC, _extremum(np.max, "min"), _apart),
        bad=_axis_gradient_errors(),
    ),
    Case(
        "ReduceMinGradient",
        _extremum_gradient,
        _reduced_gradients(NUMERIC, _extremum(np.min, "max"), _apart),
        bad=_axis_gradient_errors(),
    ),
    *_ends(),
    Case("SumElements", _total, _whole(FLOATS, AVERAGE), bad=_whole_errors(I4), **SUMS),
    Case(
        "SumElementsGradient",
        lambda x, dy, average=0: np.full_like(
            x, dy.reshape(()) / x.dtype.type(max(x.size, 1) if average else 1)
        ),
        _whole_gradients(AVERAGE),
        bad=_whole_gradient_errors(),
    ),
    Case(
        "SumElementsInt",
        lambda x: np.asarray(x.sum(dtype=x.dtype)),
        _whole(("int32", "int64"), ({},)),
        bad=_whole_errors(F4),
    ),
    Case(
        "SumSqrElements",
        lambda x, average=0: _total(x * x, average),
        _whole(FLOATS, AVERAGE),
        bad=_whole_errors(I4),
        **SUMS,
    ),
    Case("LpNorm", _norm, _whole(FLOATS, NORMS), bad=[*_whole_errors(I4), *_norm_errors()], **SUMS),
    Case(
        "LpNormGradient",
        _norm_gradient,
        _whole_gradients(NORMS),
        bad=[*_whole_gradient_errors(), *_norm_errors(F4[0, :1])],
    ),
    Case("ArgMax", _arg(np.argmax), _searched, bad=_arg_errors()),
    Case("ArgMin", _arg(np.argmin), _searched, bad=_arg_errors()),
]
