"""Rows: maxima over the first or last axes, norms, moments, weighted sums of rows."""

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
from tests.ops.rows.reduction import NUMERIC, end_samples, matrix

FLOATS = ("float32", "float64")
F4 = np.ones((2, 3), np.float32)
F8 = np.ones((2, 3), np.float64)
CUBE = np.ones((2, 3, 4), np.float32)
SUMS = {"tolerance": 2e-5, "tolerance_reason": "sums of up to 4290 float32 numbers"}


def _apart(rng, shape, dtype):
    """Elements that differ by more than a little."""
    order = rng.permutation(math.prod(shape)).reshape(shape) - 20
    noise = rng.uniform(0, 0.4, shape) if np.dtype(dtype).kind == "f" else 0
    return np.asarray(order + noise).astype(dtype)


def _draw(rng, shape, dtype="float32"):
    return np.asarray(rng.uniform(-9, 9, shape)).astype(dtype)


# ---------------------------------------------------------------- the first or the last axes

ENDS = [
    ((7,), {}),
    ((2, 3), {}),
    ((2, 3, 4), {"num_reduce_dim": 2}),
    ((2, 3, 4), {"num_reduce_dim": 0}),
    ((2, 3, 4), {"num_reduce_dims": 2}),
    ((130, 33), {}),
    ((0, 3), {}),
    ((3, 0), {}),
]


def _counts(rows, lengths):
    return [rows.shape[1]] * len(rows) if lengths is None else lengths.reshape(-1)


def _end(front):
    def ref(x, lengths=None, num_reduce_dim=1, num_reduce_dims=1):
        rows, rest = matrix(x, front, num_reduce_dim)
        counts = _counts(rows, lengths)
        found = [row[:n].max() if n else 0 for row, n in zip(rows, counts, strict=True)]
        return np.array(found, x.dtype).reshape(rest)

    return ref


def _end_gradient(front):
    def ref(dy, x, y, lengths=None, num_reduce_dim=1):
        rows, _ = matrix(x, front, num_reduce_dim)
        inside = np.arange(rows.shape[1]) < np.array(_counts(rows, lengths))[:, None]
        same = inside & (rows == y.reshape(-1, 1))
        dx = np.where(same, dy.reshape(-1, 1), np.zeros_like(rows))
        return (dx.T if front else dx).reshape(x.shape)

    return ref


def _end_gradients(front):
    def samples(rng):
        for sample in end_samples(front, _apart, ENDS)(rng):
            x, *lengths = sample.inputs
            y = _end(front)(*sample.inputs, **sample.args)
            args = {k: v for k, v in sample.args.items() if k == "num_reduce_dim"}
            yield Sample([_draw(rng, y.shape, x.dtype), x, y, *lengths], args)

    return samples


def _end_cases(end):
    front = end == "Front"
    few, long = np.ones(1, np.int32), np.array([1, 9, 1][: 3 if front else 2], np.int32)
    y = F4[0] if front else F4[:, 0]
    yield Case(
        f"Reduce{end}Max",
        _end(front),
        end_samples(front, _apart, ENDS),
        bad=[
            Bad([F4], ShapeError, "num_reduce_dim 3 is out of", args={"num_reduce_dim": 3}),
            Bad([F4, few], ShapeError, f"must hold {3 if front else 2} length"),
            Bad([F4, few], ArgumentError, "with lengths one axis", args={"num_reduce_dim": 2}),
            Bad([F4, long.astype("i8")], DTypeError, "is int64; supported: int32"),
            Bad(
                [F4, long],
                ValueRangeError,
                rf"lengths\[1\] is 9, expected 0 to {2 if front else 3}",
            ),
            Bad([F4, -long], ValueRangeError, r"lengths\[0\] is -1"),
            Bad([F4 > 0], DTypeError, "is bool"),
            Bad([F4], InplaceError, "does not allow", same=[(0, 0)]),
            Bad([F4, few, few], ArityError, "expected 1 to 2"),
        ],
    )
    yield Case(
        f"Reduce{end}MaxGradient",
        _end_gradient(front),
        _end_gradients(front),
        bad=[
            Bad([np.ones(5, np.float32), F4, y], ShapeError, "'dY' must have the shape"),
            Bad([y, F4, np.ones(5, np.float32)], ShapeError, "'Y' must have the shape"),
            Bad([y, F4, y, long], ValueRangeError, r"lengths\[1\] is 9"),
            Bad([y, F8, y], DTypeError, "one type"),
            Bad([y, F4], ArityError, "expected 3 to 4"),
        ],
    )


# ---------------------------------------------------------------- rows and columns of matrices


def _matrices(rng):
    for dtype in NUMERIC:
        for shape in ((2, 3, 4), (1, 1, 1), (0, 2, 3), (3, 33, 20)):
            yield Sample([_apart(rng, shape, dtype)])


def _matrix_gradients(axis):
    def samples(rng):
        for sample in _matrices(rng):
            x = sample.inputs[0]
            y = x.max(axis)
            yield Sample([x, y, _draw(rng, y.shape, x.dtype)])

    return samples


def _matrix_cases(name, axis):
    y = CUBE[:, 0] if axis == 1 else CUBE[..., 0]

    def gradient(x, y, dy):
        return np.where(x == np.expand_dims(y, axis), np.expand_dims(dy, axis), np.zeros_like(x))

    yield Case(
        name,
        lambda x: x.max(axis),
        _matrices,
        bad=[
            Bad([F4], ShapeError, "must have 3 dimension"),
            Bad([CUBE > 0], DTypeError, "is bool"),
            Bad([CUBE, CUBE], ArityError, "expected 1"),
            Bad([CUBE], InplaceError, "does not allow", same=[(0, 0)]),
        ],
    )
    yield Case(
        f"{name}Gradient",
        gradient,
        _matrix_gradients(axis),
        bad=[
            Bad([CUBE, CUBE[0].T, y], ShapeError, "must have the shape"),
            Bad([F4, F4, F4], ShapeError, "must have 3 dimension"),
            Bad([CUBE, y, y.astype("f8")], DTypeError, "one type"),
            Bad([CUBE, y], ArityError, "expected 3"),
        ],
    )


# ---------------------------------------------------------------- chosen axes

REDUCED = [
    ((), {}),
    ((7,), {}),
    ((2, 3), {"keepdims": 0}),
    ((2, 3, 4), {"axes": [1]}),
    ((2, 3, 4), {"axes": [2], "keepdims": 0}),
    ((2, 3, 4), {"axes": [0, 2]}),
    ((2, 3, 4), {"axes": [-1, -2]}),
    ((2, 1, 3, 2, 2), {"axes": [1, 3], "keepdims": 0}),
    ((130, 33), {"axes": [0]}),
    ((130, 33), {}),
    ((0, 3), {"axes": [1]}),
    ((3, 0), {"axes": [1]}),
]


def _how(axes, keepdims):
    return {"axis": tuple(axes) if axes else None, "keepdims": bool(keepdims)}


def _l1(x, axes=(), keepdims=1):
    return np.abs(x).sum(**_how(axes, keepdims)).astype(x.dtype)


def _l2(x, axes=(), keepdims=1):
    return np.sqrt((x * x).sum(**_how(axes, keepdims))).astype(x.dtype)


def _mean(x, axes, keepdims=1):
    if x.size == 0:
        return x.sum(**_how(axes, keepdims))
    return np.mean(x, **_how(axes, keepdims), dtype=np.float64).astype(x.dtype)


def _moments(x, axes=(), keepdims=1):
    spread = x - _mean(x, axes)
    return _mean(x, axes, keepdims), _mean(spread * spread, axes, keepdims)


def _away(rng, shape, dtype):
    x = _draw(rng, shape, dtype)
    return np.where(np.abs(x) < 0.1, x.dtype.type(1), x)


def _reduced(outputs=1):
    def samples(rng):
        for dtype in FLOATS:
            for shape, args in REDUCED:
                yield Sample([_away(rng, shape, dtype)], args, outputs=outputs)

    return samples


def _kept(small, x, axes):
    kept = [1 if not axes or k in [a % x.ndim for a in axes] else n for k, n in enumerate(x.shape)]
    return np.broadcast_to(small.reshape(kept), x.shape)


def _l1_gradient(dy, x, y, axes=(), keepdims=1):
    return np.sign(x) * _kept(dy, x, axes)


def _l2_gradient(dy, x, y, axes=(), keepdims=1):
    whole = _kept(y, x, axes)
    return np.where(whole > 0, _kept(dy, x, axes) * x / np.where(whole > 0, whole, 1), 0).astype(
        x.dtype
    )


def _norm_gradients(forward):
    def samples(rng):
        for sample in _reduced()(rng):
            x = sample.inputs[0]
            y = np.asarray(forward(x, **sample.args))
            yield Sample([_draw(rng, y.shape, x.dtype), x, y], sample.args)
        zero = np.zeros((2, 2), np.float32)
        yield Sample([zero[0] + 1, zero, zero[0]], {"axes": [1]})

    return samples


def _moments_gradient(dmean, dvariance, x, mean, axes=(), keepdims=1):
    dmean, dvariance, mean = (_kept(a, x, axes) for a in (dmean, dvariance, mean))
    count = math.prod(x.shape[k] for k in axes) if axes else x.size
    return ((dmean + 2 * (x - mean) * dvariance) / max(count, 1)).astype(x.dtype)


def _moments_gradients(rng):
    for sample in _reduced()(rng):
        x = sample.inputs[0]
        mean = np.asarray(_mean(x, sample.args.get("axes", ()), sample.args.get("keepdims", 1)))
        grads = [_draw(rng, mean.shape, x.dtype) for _ in range(2)]
        yield Sample([*grads, x, mean], sample.args)


def _axis_errors(outputs=1):
    rest = {"outputs": outputs}
    return [
        Bad([F4], ShapeError, "axis 2 is out of range", args={"axes": [2]}, **rest),
        Bad([F4], ShapeError, "twice", args={"axes": [1, -1]}, **rest),
        Bad([F4.astype("i4")], DTypeError, "is int32", **rest),
        Bad([F4, F4], ArityError, "expected 1", **rest),
        Bad([F4], InplaceError, "does not allow", same=[(0, 0)], **rest),
    ]


NORM_GRADIENT_ERRORS = [
    Bad([F4[:, 0], F4, F4[0]], ShapeError, "'dY' must be X", args={"axes": [0]}),
    Bad([F4[0], F4, F4[:, 0]], ShapeError, "'Y' must be X", args={"axes": [0]}),
    Bad([F4, F4, F8], DTypeError, "one type"),
    Bad([F4, F4], ArityError, "expected 3"),
]


# ---------------------------------------------------------------- sums of rows


def _weighted(data, scalars, **args):
    return np.tensordot(scalars, data, 1).astype(data.dtype)


def _weighted_samples(rng):
    for dtype in FLOATS:
        for shape in ((3,), (2, 3), (4, 2, 3), (0, 3), (3, 0)):
            inputs = [_draw(rng, shape, dtype), _draw(rng, shape[:1], dtype)]
            yield Sample(inputs, {"num_reduce_dim": 1, "grad_on_weights": 1})
            yield Sample(inputs)


def _weighted_gradients(rng):
    for dtype in FLOATS:
        for shape in ((3,), (2, 3), (4, 2, 3), (0, 3), (3, 0)):
            dims = np.array(shape, np.int64)
            yield Sample([_draw(rng, shape[:1], dtype), _draw(rng, shape[1:], dtype), dims])


def _tail_samples(rng):
    for dtype in NUMERIC:
        for shape in ((3,), (2, 3), (4, 2, 3), (0, 3), (3, 0), (33, 130)):
            yield Sample([_draw(rng, shape, dtype)])


DIMS = np.array([3, 2], np.int64)
CASES = [
    *_end_cases("Back"),
    *_end_cases("Front"),
    *_matrix_cases("RowwiseMax", 2),
    *_matrix_cases("ColwiseMax", 1),
    Case("ReduceL1", _l1, _reduced(), bad=_axis_errors(), **SUMS),
    Case("ReduceL2", _l2, _reduced(), bad=_axis_errors(), **SUMS),
    Case("ReduceL1Gradient", _l1_gradient, _norm_gradients(_l1), bad=NORM_GRADIENT_ERRORS),
    Case("ReduceL2Gradient", _l2_gradient, _norm_gradients(_l2), bad=NORM_GRADIENT_ERRORS),
    Case(
        "Moments",
        _moments,
        _reduced(2),
        bad=[*_axis_errors(2), Bad([F4], ArityError, "expected 2 output")],
        **SUMS,
    ),
    Case(
        "MomentsGradient",
        _moments_gradient,
        _moments_gradients,
        bad=[
            Bad([F4[0], F4[:, 0], F4, F4[0]], ShapeError, "'dvariance' must", {"axes": [0]}),
            Bad([F4[0], F4[0], F4, F4[:, 0]], ShapeError, "'mean' must", {"axes": [0]}),
            Bad([F4, F4, F8, F4], DTypeError, "one type"),
            Bad([F4, F4, F4], ArityError, "expected 4"),
        ],
    ),
    Case(
        "ReduceFrontWeightedSum",
        _weighted,
        _weighted_samples,
        tolerance=1e-5,
        tolerance_reason="sums of products",
        bad=[
            Bad([F4, F4[0]], ShapeError, "needs one a row"),
            Bad([F4, F4], ShapeError, "must have 1 dimension"),
            Bad([F4, F8[:, 0]], DTypeError, "one type"),
            Bad([F4, F4[:, 0]], ArgumentError, "must be 1, found 2", {"num_reduce_dim": 2}),
            Bad([F4], ArityError, "expected 2"),
        ],
    ),
    Case(
        "ReduceFrontWeightedSumGradient",
        lambda scalars, dy, dims, **args: np.multiply.outer(scalars, dy),
        _weighted_gradients,
        bad=[
            Bad([F4, F4[0], DIMS], ShapeError, "must have 1 dimension"),
            Bad([F4[0], F8[0], DIMS], DTypeError, "one type"),
            Bad([F4[0], F4[0], F4[0]], DTypeError, "is float32; supported: int64"),
            Bad([F4[0], F4[0]], ArityError, "expected 3"),
        ],
    ),
    Case(
        "ReduceTailSum",
        lambda x: x.reshape(len(x), math.prod(x.shape[1:])).sum(1, dtype=x.dtype),
        _tail_samples,
        bad=[
            Bad([F4[0, 0]], ShapeError, "at least 1 dimension"),
            Bad([F4 > 0], DTypeError, "is bool"),
            Bad([F4, F4], ArityError, "expected 1"),
        ],
        **SUMS,
    ),
]
