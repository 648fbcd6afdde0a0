"""Rows: vectors of norm 1, groups of channels, root mean squares, sums of channels."""

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

FLOATS = ("float32", "float64")
F4 = np.ones((2, 3), np.float32)
F8 = F4.astype("f8")
NEAR = {"tolerance": 2e-5, "tolerance_reason": "sums of float32 numbers"}


def _draw(rng, shape, dtype="float32"):
    return np.asarray(rng.uniform(-4, 4, shape)).astype(dtype)


# ---------------------------------------------------------------- along an axis


def _normalize(x, axis=-1):
    return x / np.maximum(np.sqrt(np.sum(x * x, axis, keepdims=True)), 1e-12).astype(x.dtype)


def _normalize_gradient(x, dy, axis=-1):
    norm = np.sqrt(np.sum(x * x, axis, keepdims=True))
    slope = np.sum(x * dy, axis, keepdims=True) / np.maximum(norm, 1e-12) ** 3
    return (dy / np.maximum(norm, 1e-12) - np.where(norm > 1e-12, slope, 0) * x).astype(x.dtype)


def _normalize_l1(x, axis=-1):
    total = np.sum(np.abs(x), axis, keepdims=True)
    return x / np.where(total > 0, total, 1).astype(x.dtype)


VECTORS = [((4,), {}), ((2, 3), {}), ((2, 3, 4), {"axis": 1}), ((3, 40), {"axis": 0}), ((0, 2), {})]


def _vectors(zero):
    def samples(rng):
        for dtype in FLOATS:
            for shape, args in VECTORS:
                yield Sample([_draw(rng, shape, dtype)], args)
        if zero:
            yield Sample([np.array([[0, 0], [3, 4]], np.float32)], gradient=False)

    return samples


def _vector_gradients(rng):
    for dtype in FLOATS:
        for shape, args in VECTORS:
            yield Sample([_draw(rng, shape, dtype), _draw(rng, shape, dtype)], args)


VECTOR_ERRORS = [
    Bad([F4], ShapeError, "axis 2 is out of range", {"axis": 2}),
    Bad([F4.astype("i4")], DTypeError, "is int32"),
    Bad([F4, F4], ArityError, "expected 1"),
    Bad([F4], InplaceError, "does not allow", same=[(0, 0)]),
]

# ---------------------------------------------------------------- rows of parameters


def _sparse_normalize(param, indices, grad=None, use_max_norm=1, norm=1.0):
    y = param.astype(np.float32 if param.dtype == np.float16 else param.dtype)
    for index in indices.reshape(-1):
        length = np.sqrt(np.sum(y[index].astype(np.float64) ** 2))
        if not use_max_norm or length > norm:
            y[index] = y[index] * (norm / (length + 1e-12))
    return y.astype(param.dtype)


def _shrink(param, indices, grad=None, p=2.0, reg_lambda=1e-5):
    y, amount = param.copy(), param.dtype.type(reg_lambda)
    for index in indices.reshape(-1):
        row = y[index]
        small = np.sign(row) * np.maximum(np.abs(row) - amount, 0)
        y[index] = row * (1 - amount) if p == 2 else small
    return y


def _sparse(dtypes, *options):
    def samples(rng):
        for number, dtype in enumerate(dtypes):
            for shape, count in (((3, 4), 2), ((5,), 3), ((4, 2, 3), 0), ((9, 20), 9)):
                at = rng.permutation(shape[0])[:count].astype("int64" if number else "int32")
                param = _draw(rng, shape, dtype)
                for args in options:
                    yield Sample([param, at], args, same=[(0, 0)])
                grad = _draw(rng, (count, *shape[1:]), dtype)
                yield Sample([param, at, grad], options[0], same=[(0, 0)])

    return samples


I4 = np.zeros(1, np.int32)
SAME = {"same": [(0, 0)]}
ALWAYS = {"inplace": "it is always in place"}


def _sparse_errors(x, other):
    return [
        Bad([x, I4 + 2], ValueRangeError, "index 2 at position 0", **SAME),
        Bad([x, I4 - 1], ValueRangeError, "index -1 at position 0", **SAME),
        Bad([x, F4], DTypeError, "'indices' is float32", **SAME),
        Bad([other, I4], DTypeError, "'param' is", **SAME),
        Bad([x[0, 0], I4], ShapeError, "at least 1 dimension", **SAME),
        Bad([x, I4], InplaceError, "must be the same blob"),
        Bad([x], ArityError, "expected 2 to 3", **SAME),
    ]


# ---------------------------------------------------------------- GroupNorm, RMSNorm

GROUPS = [
    ((2, 4, 3), {"group": 2}),
    ((2, 4), {"group": 4}),
    ((1, 6, 2, 3), {"group": 1}),
    ((3, 2, 5, 4), {"group": 2, "order": "NHWC"}),
    ((3, 4), {"group": 2, "order": "NHWC"}),
    ((0, 4, 3), {"group": 2}),
]


def _by_group(x, group, order):
    """As (items, groups, width, rest), and back."""
    first = x if order == "NCHW" else np.moveaxis(x, -1, 1)
    sizes = (first.shape[1] // group, math.prod(first.shape[2:]))
    grouped = first.reshape(len(x), group, *sizes)

    def back(y):
        y = y.reshape(first.shape)
        return y if order == "NCHW" else np.moveaxis(y, 1, -1)

    return grouped, back


def _group_norm(x, gamma, beta, group=32, epsilon=1e-5, order="NCHW", **others):
    grouped, back = _by_group(x, group, order)
    mean = grouped.mean((2, 3), dtype=np.float64)
    std = 1 / np.sqrt(grouped.var((2, 3), dtype=np.float64) + epsilon)
    scale, bias = (a.reshape(1, group, -1, 1) for a in (gamma, beta))
    y = (grouped - mean[..., None, None]) * std[..., None, None] * scale + bias
    return back(y.astype(x.dtype)), mean.astype(x.dtype), std.astype(x.dtype)


def _group_inputs(rng, shape, args, dtype):
    channels = shape[-1] if args.get("order") == "NHWC" else shape[1]
    return [_draw(rng, s, dtype) for s in (shape, (channels,), (channels,))]


def _group_samples(rng):
    for dtype in FLOATS:
        for shape, args in GROUPS:
            inputs = _group_inputs(rng, shape, args, dtype)
            yield Sample(inputs, args, outputs=1, gradient=False)
            yield Sample(inputs, {**args, "epsilon": 0.5, "is_test": 0}, outputs=3)


def _group_gradient(dy, x, gamma, beta, mean, std, group=32, order="NCHW"):
    (grouped, back), (g, _) = _by_group(x, group, order), _by_group(dy, group, order)
    mean, std = (a.reshape(len(x), group, 1, 1).astype(np.float64) for a in (mean, std))
    hat = (grouped - mean) * std
    own = g * gamma.reshape(1, group, -1, 1)
    count = max(grouped[:1, 0].size, 1)
    level, slope = (np.sum(a, (2, 3), keepdims=True) / count for a in (own, own * hat))
    dx = std * (own - level - hat * slope)
    sums = [np.sum(a, (0, 3)).reshape(gamma.shape).astype(x.dtype) for a in (g * hat, g)]
    return back(dx.astype(x.dtype)), *sums


def _group_gradients(rng):
    for dtype in FLOATS:
        for shape, args in GROUPS:
            x, gamma, beta = _group_inputs(rng, shape, args, dtype)
            y, mean, std = _group_norm(x, gamma, beta, **args)
            yield Sample([_draw(rng, y.shape, dtype), x, gamma, beta, mean, std], args, outputs=3)


RMS = [
    ((2, 3), {}),
    ((4, 2, 3), {}),
    ((4, 2, 3), {"axis": -1}),
    ((0, 3), {}),
    ((3, 40), {"axis": 0}),
]


def _rows(x, axis):
    axis %= x.ndim
    return x.reshape(math.prod(x.shape[:axis]), math.prod(x.shape[axis:])), x.shape[:axis]


def _rms(x, gamma, beta, axis=1, eps=0.0, **others):
    rows, outer = _rows(x, axis)
    inverse = (1 / np.sqrt(np.mean(rows.astype(np.float64) ** 2, 1) + eps)).astype(x.dtype)
    y = rows * inverse[:, None] * gamma.reshape(-1) + beta.reshape(-1)
    return y.reshape(x.shape), inverse.reshape(outer)


def _rms_inputs(rng, shape, args, dtype):
    axis = args.get("axis", 1) % len(shape)
    return [_draw(rng, s, dtype) for s in (shape, shape[axis:], shape[axis:])]


def _rms_samples(rng):
    for dtype in FLOATS:
        for shape, args in RMS:
            inputs = _rms_inputs(rng, shape, args, dtype)
            yield Sample(inputs, {**args, "eps": 0.01}, outputs=2)
            yield Sample(inputs, args, outputs=2)


def _rms_gradient(dy, x, gamma, rrms, axis=1):
    (rows, _), (g, _) = _rows(x, axis), _rows(dy, axis)
    inverse = rrms.reshape(-1, 1)
    own = g * gamma.reshape(-1)
    slope = np.mean(own * rows, 1, keepdims=True) * inverse**3
    sums = [np.sum(a, 0).reshape(gamma.shape).astype(x.dtype) for a in (g * rows * inverse, g)]
    return (own * inverse - rows * slope).reshape(x.shape).astype(x.dtype), *sums


def _rms_gradients(rng):
    for dtype in FLOATS:
        for shape, args in RMS:
            x, gamma, beta = _rms_inputs(rng, shape, args, dtype)
            _, rrms = _rms(x, gamma, beta, **args)
            yield Sample([_draw(rng, shape, dtype), x, gamma, rrms], args, outputs=3)


# ---------------------------------------------------------------- sums of channels

IMAGES = [
    ((2, 3), {}),
    ((2, 3, 4), {}),
    ((2, 3, 4), {"order": "NHWC"}),
    ((5, 2, 3, 4), {"order": "NCHW"}),
    ((0, 3), {}),
]


def _by_channel(x, order):
    first = x if order == "NCHW" else np.moveaxis(x, -1, 1)
    return np.moveaxis(first, 1, 0).reshape(first.shape[1], -1 if x.size else 0).astype(np.float64)


def _stats(x, order="NCHW"):
    rows = _by_channel(x, order)
    return rows.sum(1).astype(x.dtype), (rows * rows).sum(1).astype(x.dtype)


def _batch_moments(x, order="NCHW"):
    count = max(_by_channel(x, order).shape[1], 1)
    return tuple(a / x.dtype.type(count) for a in _stats(x, order))


def _images(rng):
    for dtype in FLOATS:
        for shape, args in IMAGES:
            yield Sample([_draw(rng, shape, dtype)], args, outputs=2)


def _moments_gradient(dmu, dvar, x, order="NCHW"):
    shape = [1] * x.ndim
    shape[1 if order == "NCHW" else -1] = -1
    count = max(x.size // dmu.size, 1)
    return ((dmu.reshape(shape) + 2 * x * dvar.reshape(shape)) / count).astype(x.dtype)


def _moments_gradients(rng):
    for dtype in FLOATS:
        for shape, args in IMAGES:
            channels = shape[-1] if args.get("order") == "NHWC" else shape[1]
            yield Sample([_draw(rng, s, dtype) for s in (channels, channels, shape)], args)


def _backward(x, mean, inverse, dy):
    shape = (1, -1, *[1] * (x.ndim - 2))
    axes = tuple(k for k in range(x.ndim) if k != 1)
    hat = (x.astype(np.float64) - mean.reshape(shape)) * inverse.reshape(shape)
    return tuple(np.sum(a, axes).astype(x.dtype) for a in (dy * hat, dy.astype(np.float64)))


def _backward_samples(rng):
    for dtype in FLOATS:
        for shape in ((2, 3), (2, 3, 4), (5, 2, 3, 4), (0, 3)):
            inputs = [_draw(rng, s, dtype) for s in (shape, shape[1:2], shape[1:2], shape)]
            yield Sample(inputs, outputs=2)


def _channel_errors(outputs):
    return [
        Bad([F4[0]], ShapeError, "at least 2 dimensions", outputs=outputs),
        Bad([F4], ArgumentError, "order must be", {"order": "CHWN"}, outputs=outputs),
        Bad([F4.astype("i4")], DTypeError, "is int32", outputs=outputs),
        Bad([F4], ArityError, "expected 2 output"),
    ]


TWO, THREE = np.ones(2, np.float32), np.ones(3, np.float32)
MEANS = np.ones((2, 3), np.float32)
BY3 = {"group": 3}
CASES = [
    Case("Normalize", _normalize, _vectors(True), bad=VECTOR_ERRORS),
    Case("NormalizeL1", _normalize_l1, _vectors(True), bad=VECTOR_ERRORS),
    Case(
        "NormalizeGradient",
        _normalize_gradient,
        _vector_gradients,
        bad=[
            Bad([F4, F4[0]], ShapeError, "must have one shape"),
            Bad([F4, F8], DTypeError, "one type"),
            Bad([F4, F4], ShapeError, "axis 2 is out of range", {"axis": 2}),
            Bad([F4], ArityError, "expected 2"),
        ],
        **NEAR,
    ),
    Case(
        "SparseNormalize",
        _sparse_normalize,
        _sparse(FLOATS, {}, {"use_max_norm": 0, "norm": 2.0}, {"norm": 0.0}),
        bad=[
            *_sparse_errors(F4, F4.astype("i4")),
            Bad([F4, I4], ArgumentError, "must not be negative", {"norm": -1.0}, **SAME),
        ],
        skip=ALWAYS,
    ),
    Case(
        "Float16SparseNormalize",
        _sparse_normalize,
        _sparse(["float16"], {}, {"use_max_norm": 0, "norm": 2.0}),
        bad=_sparse_errors(F4.astype("f2"), F4),
        skip=ALWAYS,
    ),
    Case(
        "SparseLpRegularizer",
        _shrink,
        _sparse(
            FLOATS,
            {"reg_lambda": 0.25},
            {"p": 1.0, "reg_lambda": 0.5},
            {"p": 2.0, "reg_lambda": 0.125},
        ),
        bad=[
            *_sparse_errors(F4, F4.astype("i4")),
            Bad([F4, I4], ArgumentError, "p must be 1 or 2", {"p": 3.0}, **SAME),
            Bad([F4, I4], ArgumentError, "reg_lambda must lie", {"reg_lambda": 0.0}, **SAME),
            Bad([F4, I4], ArgumentError, "reg_lambda must lie", {"reg_lambda": 1.0}, **SAME),
        ],
        skip=ALWAYS,
    ),
    Case(
        "GroupNorm",
        _group_norm,
        _group_samples,
        gradient_outputs=[0],
        bad=[
            Bad([F4, THREE, THREE], ShapeError, "3 channels do not make 2 groups", {"group": 2}),
            Bad([F4, THREE, THREE], ShapeError, "do not make 0 groups", {"group": 0}),
            Bad([F4, TWO, THREE], ShapeError, "'gamma' must have 3 element", BY3),
            Bad([F4, THREE, TWO], ShapeError, "'beta' must have 3 element", BY3),
            Bad([THREE, THREE, THREE], ShapeError, "at least 2 dimensions", BY3),
            Bad([F4, THREE, THREE], ArgumentError, "order must be", {**BY3, "order": "x"}),
            Bad([F4, THREE, THREE], ArityError, "3 outputs, found 1", {**BY3, "is_test": 0}),
            Bad([F4, THREE, THREE], ArityError, "expected 1 or 3", BY3, outputs=2),
            Bad([F4, THREE.astype("f8"), THREE], DTypeError, "one type", BY3),
        ],
        **NEAR,
    ),
    Case(
        "GroupNormGradient",
        _group_gradient,
        _group_gradients,
        bad=[
            Bad([F4.T, F4, *[THREE] * 2, *[MEANS] * 2], ShapeError, "one shape", BY3, outputs=3),
            Bad([F4, F4, *[TWO] * 2, *[MEANS] * 2], ShapeError, "'gamma' must", BY3, outputs=3),
            Bad([F4, F4, *[THREE] * 2, *[TWO] * 2], ShapeError, "'mean' must", BY3, outputs=3),
            Bad([F8, F4, *[THREE] * 2, *[MEANS] * 2], DTypeError, "one type", BY3, outputs=3),
            Bad([F4], ArityError, "expected 6", BY3, outputs=3),
        ],
        **NEAR,
    ),
    Case(
        "RMSNorm",
        _rms,
        _rms_samples,
        gradient_outputs=[0],
        bad=[
            Bad([F4, TWO, THREE], ShapeError, "'gamma' must have 3 element", outputs=2),
            Bad([F4, THREE, TWO], ShapeError, "'beta' must have 3 element", outputs=2),
            Bad([F4, THREE, THREE], ShapeError, "out of range", {"axis": 3}, outputs=2),
            Bad([F4, THREE.astype("f8"), THREE], DTypeError, "one type", outputs=2),
            Bad([F4, THREE, THREE], ArityError, "expected 2 output"),
        ],
        **NEAR,
    ),
    Case(
        "RMSNormGradient",
        _rms_gradient,
        _rms_gradients,
        bad=[
            Bad([F4.T, F4, THREE, TWO], ShapeError, "one shape", outputs=3),
            Bad([F4, F4, TWO, TWO], ShapeError, "'gamma' must", outputs=3),
            Bad([F4, F4, THREE, THREE], ShapeError, "'rrms' must", outputs=3),
            Bad([F4, F8, THREE, TWO], DTypeError, "one type", outputs=3),
            Bad([F4], ArityError, "expected 4", outputs=3),
        ],
        **NEAR,
    ),
    Case("BatchMoments", _batch_moments, _images, bad=_channel_errors(2), **NEAR),
    Case("ChannelStats", _stats, _images, bad=_channel_errors(2), **NEAR),
    Case(
        "BatchMomentsGradient",
        _moments_gradient,
        _moments_gradients,
        bad=[
            Bad([TWO, THREE, F4], ShapeError, "'dmu' must have one element"),
            Bad([THREE, TWO, F4], ShapeError, "'dvar' must have one element"),
            Bad([THREE, THREE, F8], DTypeError, "one type"),
            Bad([THREE, THREE], ArityError, "expected 3"),
        ],
    ),
    Case(
        "ChannelBackpropStats",
        _backward,
        _backward_samples,
        bad=[
            Bad([F4, TWO, THREE, F4], ShapeError, "'mean' must have one element", outputs=2),
            Bad([F4, THREE, THREE, F4.T], ShapeError, "one shape", outputs=2),
            Bad([F4, THREE, THREE, F8], DTypeError, "one type", outputs=2),
            Bad([THREE, THREE, THREE, THREE], ShapeError, "at least 2 dim", outputs=2),
            Bad([F4, THREE, THREE], ArityError, "expected 4", outputs=2),
        ],
        **NEAR,
    ),
]
