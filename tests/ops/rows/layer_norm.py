"""Rows: LayerNorm, InstanceNorm, AffineChannel."""

import math

import numpy as np

from caffe2py.errors import ArgumentError, ArityError, DTypeError, InplaceError, ShapeError
from caffe2py.testing import Bad, Case, Sample

#: exact in single precision, which is how arguments travel
EPSILON = 2.0**-8


def _draw(rng, dtype, *shape):
    return (1 + rng.uniform(-2, 2, shape)).astype(dtype)


def _rounded(like, *arrays):
    return tuple(np.asarray(a).astype(like.dtype) for a in arrays)


# ---------------------------------------------------------------- LayerNorm


def _layer_norm(x, *affine, axis=1, epsilon=1e-5, elementwise_affine=False):
    axis %= x.ndim
    rows = x.astype(np.float64).reshape(*x.shape[:axis], math.prod(x.shape[axis:]))
    if rows.shape[-1]:
        mean, variance = rows.mean(-1, keepdims=True), rows.var(-1, keepdims=True)
    else:
        mean = variance = np.zeros((*x.shape[:axis], 1))
    std = np.sqrt(variance + epsilon)
    y = (rows - mean) / std
    if elementwise_affine:
        y = y * affine[0].reshape(-1) + affine[1].reshape(-1)
    return _rounded(x, y.reshape(x.shape), mean, std)


def _layer_norm_gradient(dy, y, mean, std, x, gamma=None, *, axis=1, elementwise_affine=False):
    axis %= x.ndim
    shape = (*x.shape[:axis], math.prod(x.shape[axis:]))
    rows, given = x.astype(np.float64).reshape(shape), dy.astype(np.float64).reshape(shape)
    mean, std = (v.astype(np.float64).reshape(*shape[:-1], 1) for v in (mean, std))
    z = (rows - mean) / std
    g = given * gamma.reshape(-1) if elementwise_affine else given
    count = max(shape[-1], 1)
    a, b = (v.sum(-1, keepdims=True) / count for v in (g, g * z))
    dx = ((g - a - z * b) / std).reshape(x.shape)
    if not elementwise_affine:
        return _rounded(x, dx)
    over = tuple(range(axis))
    sums = [(v.sum(over)).reshape(gamma.shape) for v in (given * z, given)]
    return _rounded(x, dx, *sums)


SHAPES = [((2, 3), 1), ((3, 4, 5), 1), ((3, 4, 5), -1), ((2, 3, 2), 0), ((2, 1, 3, 2), 2)]
EMPTY = [((0, 3), 1), ((2, 0), 1), ((1, 1), -2)]


def _layer_samples(rng):
    for dtype in ("float32", "float64"):
        for shape, axis in [*SHAPES, *EMPTY, ((5, 67), 1)]:
            x = _draw(rng, dtype, *shape)
            args = {"axis": axis} if axis != 1 else {}
            gamma, beta = (_draw(rng, dtype, *shape[axis:]) for _ in range(2))
            yield Sample([x], {**args, "epsilon": EPSILON}, 3)
            yield Sample([x, gamma, beta], args, 3)
            affine = {**args, "epsilon": EPSILON, "elementwise_affine": True}
            yield Sample([x, gamma.reshape(-1), beta.reshape(-1)], affine, 3)


def _layer_gradient_samples(rng):
    for sample in _layer_samples(rng):
        args = dict(sample.args)
        x, *affine = sample.inputs
        outputs = _layer_norm(x, *affine, **args)
        args.pop("epsilon", None)
        affine = affine[:1] if args.get("elementwise_affine") else []
        inputs = [_draw(rng, x.dtype, *x.shape), *outputs, x, *affine]
        yield Sample(inputs, args, 3 if affine else 1)


X = np.ones((2, 3, 4), np.float32)
G = np.ones(12, np.float32)
M = np.ones((2, 1), np.float32)
AFFINE = {"elementwise_affine": True}

LAYER_BAD = [
    Bad([X, G], ArityError, "expected 1 or 3 input", outputs=3),
    Bad([X], ArityError, "needs the inputs gamma and beta", AFFINE, 3),
    Bad([X], ArityError, "expected 3 output", outputs=1),
    Bad([X[0, 0]], ShapeError, "at least 2 dimensions", outputs=3),
    Bad([X], ShapeError, "axis 3 is out of range", {"axis": 3}, 3),
    Bad([X, G, G[:4]], ShapeError, r"'beta' must have 12 element", AFFINE, 3),
    Bad([X > 0], DTypeError, "'input' is bool", outputs=3),
    Bad([X, G, G.astype("float64")], DTypeError, "must have one type", AFFINE, 3),
    Bad([X], InplaceError, "in place", outputs=3, same=((0, 0),)),
]
LAYER_GRADIENT_BAD = [
    Bad([X, X, M, M, X], ArityError, "expected 1 output", outputs=3),
    Bad([X, X, M, M, X], ArityError, "needs the input gamma", AFFINE, 3),
    Bad([X, X, M, M, X, G], ArityError, "expected 3 output", AFFINE),
    Bad([X, X, M, M], ArityError, "expected 5 or 6 input"),
    Bad([X, X, G, M, X], ShapeError, "'mean' must have 2 element"),
    Bad([X, X, M, M, X[:1]], ShapeError, "inputs must have one shape"),
    Bad([X, X, M, M, X, M], ShapeError, "'gamma' must have 12 element", AFFINE, 3),
    Bad([X, X, M, M, X.astype("float64")], DTypeError, "must have one type"),
    Bad([X, X, M, M, X], InplaceError, "in place", same=((0, 0),)),
]


# ---------------------------------------------------------------- InstanceNorm


def _first(x, order):
    """The image with the channels as the second axis."""
    return np.moveaxis(x, -1, 1) if order == "NHWC" else x


def _back(x, order):
    return np.moveaxis(x, 1, -1) if order == "NHWC" else x


def _wide(v, x):
    return v.reshape((-1, x.shape[1]) + (1,) * (x.ndim - 2))


def _instance_norm(x, scale, bias, *, epsilon=1e-5, order="NCHW"):
    image = _first(x, order).astype(np.float64)
    over = tuple(range(2, x.ndim))
    if image.size:
        mean, variance = image.mean(over), image.var(over)
    else:
        mean = variance = np.zeros(image.shape[:2])
    inverse = 1 / np.sqrt(variance + epsilon)
    y = (image - _wide(mean, image)) * _wide(inverse, image)
    y = y * _wide(scale, image) + _wide(bias, image)
    return _rounded(x, _back(y, order), mean, inverse)


def _instance_norm_gradient(x, scale, bias, dy, *saved, epsilon=1e-5, order="NCHW"):
    _, mean, inverse = _instance_norm(x, scale, bias, epsilon=epsilon, order=order)
    if len(saved) == 2:
        mean, inverse = saved
    image, given = (_first(a, order).astype(np.float64) for a in (x, dy))
    over = tuple(range(2, x.ndim))
    count = max(math.prod(image.shape[2:]), 1)
    inverse = _wide(inverse.astype(np.float64), image)
    z = (image - _wide(mean, image)) * inverse
    a, b = (v.sum(over, keepdims=True) / count for v in (given, given * z))
    dx = (given - a - z * b) * inverse * _wide(scale, image)
    shapes = scale.shape, bias.shape
    sums = [v.sum((0, *over)) for v in (given * z, given)]
    sums = [v.reshape(shape) for v, shape in zip(sums, shapes, strict=True)]
    return _rounded(x, _back(dx, order), *sums)


IMAGES = [
    ("NCHW", (2, 3, 4, 5)),
    ("NCHW", (1, 3, 7)),
    ("NCHW", (2, 3, 2, 2, 2)),
    ("NHWC", (2, 4, 5, 3)),
    ("NHWC", (2, 3, 3)),
    ("NCHW", (0, 3, 2)),
    ("NHWC", (2, 0, 3)),
]


def _instance_samples(rng):
    for dtype in ("float32", "float64"):
        for number, (order, shape) in enumerate(IMAGES):
            vectors = [_draw(rng, dtype, 3), _draw(rng, dtype, 1, 3)]
            args = {"order": order} if order == "NHWC" else {}
            x = _draw(rng, dtype, *shape)
            yield Sample([x, *vectors], {**args, "epsilon": EPSILON}, 1 + number % 3)
            yield Sample([x, *vectors], {**args, "epsilon": 0.5}, 3)


def _instance_gradient_samples(rng):
    for sample in _instance_samples(rng):
        outputs = _instance_norm(*sample.inputs, **sample.args)[: sample.outputs]
        dy = _draw(rng, outputs[0].dtype, *outputs[0].shape)
        yield Sample([*sample.inputs, dy, *outputs[1:]], sample.args, 3)


C = np.ones(3, np.float32)


def _instance_bad(behind, outputs):
    return [
        Bad([X, C, *behind], ArityError, "input", outputs=outputs),
        Bad([X, C, C[:2], *behind], ShapeError, "'bias' must have 3 element", outputs=outputs),
        Bad([X, C, C, *behind], ArgumentError, "epsilon must not", {"epsilon": -1.0}, outputs),
        Bad([X, C, C, *behind], ArgumentError, "order must be", {"order": "bad"}, outputs),
        Bad([X > 0, C, C, *behind], DTypeError, "'input' is bool", outputs=outputs),
        Bad([X, C, C.astype("float64"), *behind], DTypeError, "one type", outputs=outputs),
        Bad([C, C, C, *[C for _ in behind]], ShapeError, "a batch and a channel", outputs=outputs),
        Bad([X, C, C, *behind], InplaceError, "in place", outputs=outputs, same=((1, 0),)),
    ]


# ---------------------------------------------------------------- AffineChannel


def _affine(x, scale, bias, *, order="NCHW", is_learnable=False):
    image = _first(x, order)
    return _back(image * _wide(scale, image) + _wide(bias, image), order)


def _affine_gradient(dy, *rest, order="NCHW", is_learnable=False):
    given, scale = _first(dy, order), rest[-1]
    dx = _back(given * _wide(scale, given), order)
    if not is_learnable:
        return dx
    over = (0, *range(2, dy.ndim))
    products = given.astype(np.float64) * _first(rest[0], order)
    sums = [v.astype(np.float64).sum(over).reshape(scale.shape) for v in (products, given)]
    return (dx, *_rounded(dy, *sums))


def _affine_samples(rng):
    for dtype in ("float32", "float64"):
        for order, shape in [*IMAGES, ("NCHW", (2, 3))]:
            vectors = [_draw(rng, dtype, 3) for _ in range(2)]
            args = {"order": order} if order == "NHWC" else {}
            for learnable in ({}, {"is_learnable": True}):
                yield Sample([_draw(rng, dtype, *shape), *vectors], {**args, **learnable})


def _affine_gradient_samples(rng):
    for sample in _affine_samples(rng):
        x, scale, _ = sample.inputs
        dy = _draw(rng, x.dtype, *x.shape)
        learnable = sample.args.get("is_learnable")
        inputs = [dy, x, scale] if learnable else [dy, scale]
        yield Sample(inputs, sample.args, 3 if learnable else 1)


LEARN = {"is_learnable": True}
AFFINE_BAD = [
    Bad([X, C], ArityError, "expected 3 input"),
    Bad([X, C[:2], C], ShapeError, "one element for each of the 3 channel"),
    Bad([C, C, C], ShapeError, "a batch and a channel axis"),
    Bad([X, C, C], ArgumentError, "order must be", {"order": "bad"}),
    Bad([X > 0, C, C], DTypeError, "'X' is bool"),
    Bad([X, C, C], InplaceError, "in place", same=((1, 0),)),
]
AFFINE_GRADIENT_BAD = [
    Bad([X], ArityError, "expected 2 or 3 input"),
    Bad([X, C], ArityError, "expected 3 inputs and 3 output", LEARN),
    Bad([X, X, C], ArityError, "expected 2 inputs and 1 output", {}, 3),
    Bad([X, X[:1], C], ShapeError, "must have one shape", LEARN, 3),
    Bad([X, C[:2]], ShapeError, "one element for each of the 3 channel"),
    Bad([X, C.astype("float64")], DTypeError, "must have one type"),
    Bad([X, X, C], InplaceError, "in place", LEARN, 3, ((1, 0),)),
]
SUMS = "sums of products that cancel"

CASES = [
    Case(
        "LayerNorm",
        _layer_norm,
        _layer_samples,
        LAYER_BAD,
        tolerance=1e-5,
        tolerance_reason="a small deviation divides differences of rounded numbers",
        gradient_outputs=(0,),
    ),
    Case(
        "LayerNormGradient",
        _layer_norm_gradient,
        _layer_gradient_samples,
        LAYER_GRADIENT_BAD,
        tolerance=2e-5,
        tolerance_reason=SUMS,
    ),
    Case(
        "InstanceNorm",
        _instance_norm,
        _instance_samples,
        _instance_bad([], 3),
        tolerance=1e-5,
        tolerance_reason="a small deviation divides differences of rounded numbers",
        gradient_outputs=(0,),
    ),
    Case(
        "InstanceNormGradient",
        _instance_norm_gradient,
        _instance_gradient_samples,
        [
            *_instance_bad([X], 3)[1:],
            Bad([X, C, C, X[:1]], ShapeError, "must have one shape", outputs=3),
            Bad([X, C, C, X, M, M], ShapeError, "'saved_mean' must have 6 element", outputs=3),
        ],
        tolerance=2e-5,
        tolerance_reason=SUMS,
    ),
    Case("AffineChannel", _affine, _affine_samples, AFFINE_BAD),
    Case("AffineChannelGradient", _affine_gradient, _affine_gradient_samples, AFFINE_GRADIENT_BAD),
]
