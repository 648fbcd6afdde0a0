"""Rows: SpatialBN and LRN."""

import numpy as np

from caffe2py.errors import ArgumentError, ArityError, DTypeError, InplaceError, ShapeError
from caffe2py.testing import Bad, Case, Sample

# ---------------------------------------------------------------- SpatialBN

#: shapes with three channels: order, shape
IMAGES = [
    ("NCHW", (4, 3)),
    ("NCHW", (2, 3, 5)),
    ("NCHW", (2, 3, 4, 5)),
    ("NCHW", (2, 3, 1, 1)),
    ("NCHW", (2, 3, 2, 3, 2)),
    ("NHWC", (4, 3)),
    ("NHWC", (2, 5, 3)),
    ("NHWC", (2, 4, 5, 3)),
    ("nhwc", (2, 2, 3, 2, 3)),
]
EMPTY = [("NCHW", (0, 3, 2)), ("NCHW", (2, 3, 0)), ("NHWC", (0, 2, 3)), ("NHWC", (2, 0, 3))]
RUNNING = ((3, 1), (4, 2))
#: exact in single precision, which is how arguments travel
NUMBERS = {"epsilon": 2.0**-8, "momentum": 0.75}


def _channels_last(order):
    return order.upper() == "NHWC"


def _wide(v, x, order):
    """A vector against the channels of x."""
    return v.reshape(-1) if _channels_last(order) else v.reshape((-1,) + (1,) * (x.ndim - 2))


def _over(x, order):
    """The axes that are summed over."""
    channel = x.ndim - 1 if _channels_last(order) else 1
    return tuple(axis for axis in range(x.ndim) if axis != channel)


def _moments(x, sums, order, num_batches):
    over = _over(x, order)
    count = num_batches * x.size // 3
    if num_batches > 1:
        mean = sums[0] / count
        return mean, sums[1] / count - mean**2, count
    if count == 0:
        return np.zeros(3), np.zeros(3), count
    wide = x.astype(np.float64)
    return wide.mean(over), wide.var(over), count


def _batch_norm(
    x,
    scale,
    bias,
    mean,
    var,
    *sums,
    is_test,
    epsilon=1e-5,
    order="NCHW",
    momentum=0.9,
    num_batches=1,
):
    def normal(m, v):
        z = (x - _wide(m, x, order)) / np.sqrt(_wide(v, x, order) + epsilon)
        return z * _wide(scale, x, order) + _wide(bias, x, order)

    if is_test:
        return normal(mean.astype(np.float64), var.astype(np.float64)).astype(x.dtype)
    if len(x) == 0:
        zeros = np.zeros(3, x.dtype)
        return x, mean.reshape(-1), var.reshape(-1), zeros, zeros
    m, v, count = _moments(x, sums, order, num_batches)
    outputs = (
        normal(m, v),
        momentum * mean.reshape(-1) + (1 - momentum) * m,
        momentum * var.reshape(-1) + (1 - momentum) * v * count / (count - 1),
        m,
        1 / np.sqrt(v + epsilon),
    )
    return tuple(y.astype(x.dtype) for y in outputs)


def _vectors(rng, dtype):
    """scale, bias, mean, var"""
    return [rng.uniform(low, 2, 3).astype(dtype) for low in (-2, -2, -2, 0.25)]


def _with_sums(rng, x, order):
    """Sums and sums of squares over x and a second batch."""
    other = rng.uniform(-2, 2, x.shape)
    over = _over(x, order)
    sums = x.sum(over) + other.sum(over)
    squares = (x.astype(np.float64) ** 2).sum(over) + (other**2).sum(over)
    return [x, *_vectors(rng, x.dtype), sums.astype(x.dtype), squares.astype(x.dtype)]


def _batches(rng):
    for dtype in ("float32", "float64"):
        for order, shape in [*IMAGES, *EMPTY]:
            x = (3 + rng.uniform(-2, 2, shape)).astype(dtype)
            args = {"order": order} | (NUMBERS if len(shape) == 3 else {})
            inputs = [x, *_vectors(rng, dtype)]
            yield Sample(inputs, {**args, "is_test": True})
            yield Sample(inputs, {**args, "is_test": False}, 5, RUNNING)
            if x.size and dtype == "float32":
                args |= {"is_test": False, "num_batches": 2}
                yield Sample(_with_sums(rng, x, order), args, 5, RUNNING, gradient=False)
    flat = [rng.uniform(-1, 1, (2, 3, 2)), *(v.reshape(1, 3, 1) for v in _vectors(rng, "float64"))]
    yield Sample(flat, {"is_test": True})
    yield Sample(flat, {"is_test": False}, 5, RUNNING)
    inputs = [rng.uniform(-1, 1, (2, 3, 2)), *_vectors(rng, "float64")]
    yield Sample([*inputs, *_vectors(rng, "float64")[:2]], {"is_test": True})


def _batch_norm_gradient(
    x,
    scale,
    dy,
    mean,
    spread,
    *totals,
    is_test=False,
    epsilon=1e-5,
    order="NCHW",
    num_batches=1,
):
    over, dtype = _over(x, order), x.dtype
    x, dy = x.astype(np.float64), dy.astype(np.float64)
    inverse = 1 / np.sqrt(spread + epsilon) if is_test else spread
    z = (x - _wide(mean, x, order)) * _wide(inverse, x, order)
    dscale, dbias = (dy * z).sum(over), dy.sum(over)
    if num_batches > 1:
        dscale, dbias = (total / num_batches for total in totals)
    dx = dy
    if not is_test and x.size:
        dx = dy - (_wide(dbias, x, order) + z * _wide(dscale, x, order)) / (x.size // 3)
    dx = dx * _wide(scale * inverse, x, order)
    return dx.astype(dtype), dscale.astype(dtype), dbias.astype(dtype)


def _batch_gradients(rng):
    for dtype in ("float32", "float64"):
        for order, shape in [*IMAGES, *EMPTY]:
            x, dy = (rng.uniform(-2, 2, shape).astype(dtype) for _ in range(2))
            scale, _, mean, spread = _vectors(rng, dtype)
            inputs, args = [x, scale, dy, mean, spread], {"order": order}
            yield Sample(inputs, args, 3)
            yield Sample(inputs, {**args, "is_test": True, "epsilon": 2.0**-8}, 3)
            yield Sample([*inputs, scale, mean], {**args, "num_batches": 2}, 3)
            yield Sample([*inputs, scale, mean], args, 3)


X = np.ones((2, 3, 4), np.float32)
V = np.ones(3, np.float32)
FIVE = [X, V, V, V, V]
TEST = {"is_test": 1}
TRAIN = {"is_test": 0}
FOUR = np.ones(4, np.float32)


def _batch_norm_errors():
    eight = [a.astype(np.float64) for a in FIVE]
    return [
        Bad(FIVE, ArgumentError, "'is_test' .bool. is required"),
        Bad(FIVE, ArityError, "1 output with is_test and 5 without, found 1", TRAIN),
        Bad(FIVE, ArityError, "found 5 and is_test 1", TEST, 5, RUNNING),
        Bad(FIVE, ArityError, "expected 1 or 5 output", TEST, 2),
        Bad(FIVE, InplaceError, "output 1 must be the same blob as input 3", TRAIN, 5),
        Bad([*FIVE, V], ArityError, "expected 5 or 7 input", TEST),
        Bad(FIVE, ArityError, "needs the inputs sums", {**TRAIN, "num_batches": 2}, 5, RUNNING),
        Bad(FIVE, ArgumentError, "epsilon must be above 0", {**TEST, "epsilon": -1.0}),
        Bad(FIVE, ArgumentError, r"momentum must lie in \[0, 1\]", {**TEST, "momentum": 1.5}),
        Bad(FIVE, ArgumentError, "num_batches must be at least 1", {**TEST, "num_batches": 0}),
        Bad(FIVE, ArgumentError, "order must be NCHW or NHWC", {**TEST, "order": "CHWN"}),
        Bad([X, FOUR, V, V, V], ShapeError, r"'scale' must have one element.* 3 channel", TEST),
        Bad([X, V, V, V, FOUR], ShapeError, r"input 4 'var'.* found \(4\)", TEST),
        Bad(FIVE, ShapeError, "of the 4 channel", {**TEST, "order": "NHWC"}),
        Bad([V, V, V, V, V], ShapeError, r"a batch and a channel axis, found \(3\)", TEST),
        Bad([X, *eight[1:]], DTypeError, "must have one type", TEST),
        Bad([X > 0, *FIVE[1:]], DTypeError, "'X' is bool; supported: float32", TEST),
    ]


def _batch_gradient_errors():
    five = [X, V, X, V, V]
    return [
        Bad(five[:4], ArityError, "expected 5 or 7", outputs=3),
        Bad(five, ArityError, "sums of dscale and dbias", {"num_batches": 2}, 3),
        Bad([X, V, X[:1], V, V], ShapeError, r"'X' is \(2,3,4\), input 2 'dY' is", outputs=3),
        Bad([X, FOUR, X, V, V], ShapeError, r"'scale' must have one element", outputs=3),
        Bad([X, V, X.astype(np.float64), V, V], DTypeError, "one type", outputs=3),
        Bad(five, ArgumentError, "order must be", {"order": "HW"}, 3),
        Bad(five, InplaceError, "allowed: input 5 as output 1", outputs=3, same=[(2, 0)]),
    ]


# ---------------------------------------------------------------- LRN

RESPONSES = [
    {"size": 1, "alpha": 0.5, "beta": 0.75},
    {"size": 3, "alpha": 0.5, "beta": 0.5, "bias": 2.0},
    {"size": 5, "alpha": 2.0, "beta": 0.75},
    {"size": 5, "alpha": 0.5, "beta": 1.0, "bias": 0.5},
    {"size": 3, "alpha": 0.5, "beta": 1.5},
    {"size": 2, "alpha": 0.5, "beta": 0.75},
    {"size": 9, "alpha": 0.5, "beta": 0.0},
    {"size": 3},
]


def _scale(x, size, alpha, bias):
    """bias + alpha / size * the sum of squares over the window; channels last."""
    before = (size - 1) // 2
    pad = [(0, 0)] * (x.ndim - 1) + [(before, size - 1 - before)]
    squares = np.pad(x.astype(np.float64) ** 2, pad)
    channels = x.shape[-1]
    return bias + alpha / size * sum(squares[..., k : k + channels] for k in range(size))


def _last(x, order):
    return x if _channels_last(order) else np.moveaxis(x, 1, -1)


def _back(x, order, dtype):
    return (x if _channels_last(order) else np.moveaxis(x, -1, 1)).astype(dtype)


def _response(x, size, alpha=0.0, beta=0.0, bias=1.0, order="NCHW"):
    image = _last(x, order)
    scale = _scale(image, size, alpha, bias)
    return _back(image * scale**-beta, order, x.dtype), _back(scale, order, x.dtype)


def _response_gradient(x, y, dy, size, alpha=0.0, beta=0.0, bias=1.0, order="NCHW"):
    image, top, share = (_last(a, order).astype(np.float64) for a in (x, y, dy))
    scale = _scale(image, size, alpha, bias)
    after = size // 2  # windows that hold a channel lie the other way round
    pad = [(0, 0)] * (x.ndim - 1) + [(after, size - 1 - after)]
    ratio = np.pad(share * top / scale, pad)
    sums = sum(ratio[..., k : k + image.shape[-1]] for k in range(size))
    dx = share * scale**-beta - 2 * alpha / size * beta * image * sums
    return _back(dx, order, x.dtype)


def _response_uses(count):
    def samples(rng):
        for dtype in ("float32", "float64"):
            for order, shape in [
                ("NCHW", (2, 7, 3, 2)),
                ("NHWC", (2, 3, 2, 7)),
                ("NCHW", (1, 1, 2, 2)),
                ("NCHW", (0, 4, 2, 2)),
                ("NHWC", (2, 0, 3, 4)),
            ]:
                for args in RESPONSES:
                    inputs = [rng.uniform(0.5, 2, shape).astype(dtype) for _ in range(count)]
                    yield Sample(inputs, {**args, "order": order})
                    if count == 1:
                        yield Sample(inputs, {**args, "order": order}, 2)

    return samples


IMAGE = np.ones((1, 4, 2, 2), np.float32)
SIZE = {"size": 3}


def _response_errors(count):
    more = [IMAGE] * (count - 1)
    wide = [a.astype(np.float64) for a in more]
    return [
        Bad([IMAGE, *more], ArgumentError, "size must be at least 1, found 0"),
        Bad([IMAGE, *more], ArgumentError, "size must be at least 1, found -1", {"size": -1}),
        Bad([IMAGE, *more], ArgumentError, "order must be", {**SIZE, "order": "bad"}),
        Bad([IMAGE[0], *more], ShapeError, r"must have 4 dimension\(s\), found \(4,2,2\)", SIZE),
        Bad([IMAGE > 0, *wide], DTypeError, "'X' is bool", SIZE),
        Bad([IMAGE, *more], InplaceError, "allowed: none", SIZE, same=[(0, 0)]),
        Bad([IMAGE] * (count + 1), ArityError, f"expected {count} input", SIZE),
    ]


CASES = [
    Case(
        "SpatialBN",
        _batch_norm,
        _batches,
        bad=_batch_norm_errors(),
        tolerance=1e-5,
        tolerance_reason="X / std and mean / std are up to 10 and cancel",
        gradient=(0, 1, 2),
        gradient_outputs=(0,),
    ),
    Case(
        "SpatialBNGradient",
        _batch_norm_gradient,
        _batch_gradients,
        bad=_batch_gradient_errors(),
        tolerance=1e-5,
        tolerance_reason="sums of up to 60 products that cancel",
    ),
    Case(
        "LRN",
        _response,
        _response_uses(1),
        bad=_response_errors(1),
        gradient_outputs=(0,),
    ),
    Case(
        "LRNGradient",
        _response_gradient,
        _response_uses(3),
        bad=[
            *_response_errors(3),
            Bad([IMAGE, IMAGE, IMAGE[:, :2]], ShapeError, "'dY' is", SIZE),
        ],
    ),
]
