"""Rows: convolution of pixels that have been moved."""

import numpy as np

from caffe2py.errors import ArgumentError, ArityError, DTypeError, InplaceError, ShapeError
from caffe2py.testing import Bad, Case, Sample


def _pair(args, name, default):
    if f"{name}s" in args:
        return args[f"{name}s"]
    return (args.get(name, default),) * 2


def _pads(args):
    return args["pads"][:2] if "pads" in args else (args.get("pad", 0),) * 2


def _near(at, size):
    """(element, weight, slope of the weight) of those around a place within an axis."""
    low = int(at)
    if low >= size - 1:
        return [(size - 1, 1.0, 0.0)]
    return [(low, 1 - (at - low), -1.0), (low + 1, at - low, 1.0)]


def _taken(x, offset, kernel, args):
    """(n, group of channels, tap, place, row, column, weight, its slopes) of all pixels taken."""
    groups = args.get("deformable_group", 1)
    stride, dilation, pads = _pair(args, "stride", 1), _pair(args, "dilation", 1), _pads(args)
    n, _, rows, columns = offset.shape
    moves = offset.reshape(n, groups, *kernel, 2, rows, columns)
    for at in np.ndindex(n, groups, *kernel, rows, columns):
        number, g, *tap, i, j = at
        axes = (i, j), stride, pads, tap, dilation
        base = [p * s - b + k * d for p, s, b, k, d in zip(*axes, strict=True)]
        v, u = (base[a] + float(moves[number, g, tap[0], tap[1], a, i, j]) for a in (0, 1))
        if not (0 <= v < x.shape[2] and 0 <= u < x.shape[3]):
            continue
        for row, s, s_slope in _near(v, x.shape[2]):
            for column, t, t_slope in _near(u, x.shape[3]):
                yield number, g, tuple(tap), (i, j), row, column, s * t, (s_slope * t, s * t_slope)


def _columns(x, offset, kernel, args):
    """(N, C, *kernel, OH, OW): the moved elements."""
    per_group = x.shape[1] // args.get("deformable_group", 1)
    found = np.zeros((*x.shape[:2], *kernel, *offset.shape[2:]))
    for n, g, tap, place, row, column, weight, _ in _taken(x, offset, kernel, args):
        channels = slice(g * per_group, (g + 1) * per_group)
        found[(n, channels, *tap, *place)] += weight * x[n, channels, row, column]
    return found


def _split(array, axis, groups):
    return np.split(array, groups, axis=axis)


def _deform(x, offset, w, b=None, *, group=1, **args):
    columns = _columns(x.astype(np.float64), offset, w.shape[2:], args)
    parts = zip(_split(columns, 1, group), _split(w, 0, group), strict=True)
    y = np.concatenate([np.einsum("nckloj,mckl->nmoj", c, f) for c, f in parts], axis=1)
    return (y if b is None else y + b[:, None, None]).astype(x.dtype)


def _gradient(x, offset, w, dy, *, group=1, no_bias=0, **args):
    kernel = w.shape[2:]
    columns = _columns(x.astype(np.float64), offset, kernel, args)
    groups = _split(columns, 1, group), _split(w, 0, group), _split(dy, 1, group)
    parts = list(zip(*groups, strict=True))
    dw = np.concatenate([np.einsum("nckloj,nmoj->mckl", c, g) for c, _, g in parts])
    slopes = np.concatenate([np.einsum("nmoj,mckl->nckloj", g, f) for _, f, g in parts], axis=1)
    groups = args.get("deformable_group", 1)
    per_group = x.shape[1] // groups
    dx = np.zeros(x.shape)
    moved = np.zeros((len(x), groups, *kernel, 2, *offset.shape[2:]))
    for n, g, tap, place, row, column, weight, bends in _taken(x, offset, kernel, args):
        channels = slice(g * per_group, (g + 1) * per_group)
        part = slopes[(n, channels, *tap, *place)]
        dx[n, channels, row, column] += weight * part
        for a in (0, 1):
            moved[(n, g, *tap, a, *place)] += bends[a] * np.sum(part * x[n, channels, row, column])
    outputs = [moved.reshape(offset.shape), dw, dy.sum(axis=(0, 2, 3), dtype=np.float64), dx]
    if no_bias:
        del outputs[2]
    return tuple(output.astype(x.dtype) for output in outputs)


#: shape of X, filters, kernel, places, arguments
USES = [
    ((2, 2, 5, 6), 3, (3, 3), (3, 4), {"kernel": 3}),
    (
        (1, 4, 5, 4),
        2,
        (2, 3),
        (2, 2),
        {"kernels": [2, 3], "strides": [2, 1], "deformable_group": 2},
    ),
    ((2, 4, 4, 4), 4, (2, 2), (4, 4), {"kernel": 2, "pad": 1, "dilation": 2, "group": 2}),
    ((1, 6, 3, 3), 2, (1, 1), (3, 3), {"kernel": 1, "deformable_group": 3, "group": 2}),
    ((0, 2, 4, 4), 2, (2, 2), (3, 3), {"kernel": 2}),
]


def _operands(rng, dtype, use):
    shape, filters, kernel, places, args = use
    moves = args.get("deformable_group", 1) * kernel[0] * kernel[1] * 2
    # away from whole numbers, where the slope changes and the image ends
    offset = rng.integers(-2, 3, (shape[0], moves, *places)) + rng.uniform(0.2, 0.8)
    w = (filters, shape[1] // args.get("group", 1), *kernel)
    arrays = rng.uniform(-1, 1, shape), offset, rng.uniform(-1, 1, w), rng.uniform(-1, 1, filters)
    return [a.astype(dtype) for a in arrays]


def _samples(rng):
    for dtype in ("float32", "float64"):
        for use in USES:
            operands = _operands(rng, dtype, use)
            yield Sample(operands, use[-1])
            yield Sample(operands[:3], use[-1])
    yield Sample(operands, {**use[-1], "no_gradient_to_input": True})
    x, offset, w, _ = _operands(rng, "float32", USES[0])
    for whole in (np.round(offset), offset * 0, offset + np.float32(np.nan), offset * 1e20):
        yield Sample([x, whole.astype("float32"), w], USES[0][-1], gradient=False)


def _gradient_samples(rng):
    for sample in _samples(rng):
        args = {k: v for k, v in sample.args.items() if k != "no_gradient_to_input"}
        dy = rng.uniform(-1, 1, _deform(*sample.inputs, **args).shape)
        inputs = [*sample.inputs[:3], dy.astype(sample.inputs[0].dtype)]
        bias = len(sample.inputs) > 3
        without = args if bias else {**args, "no_bias": 1}
        yield Sample(inputs, without, 4 if bias else 3)
        yield Sample(inputs, without, 3 if bias else 2)


X = np.ones((1, 2, 4, 4), np.float32)
MOVES, W = np.ones((1, 8, 3, 3), np.float32), np.ones((4, 2, 2, 2), np.float32)
DY = np.ones((1, 4, 3, 3), np.float32)
K = {"kernel": 2}


def _bad(more, outputs):
    def bad(inputs, error, match, **args):
        return Bad([*inputs, *more], error, match, {**K, **args}, outputs)

    return [
        bad([X[0], MOVES, W], ShapeError, "must have 4 dimension"),
        bad([X, MOVES[:, :4], W], ShapeError, r"'offset' must be \(1,8,3,3\)"),
        bad([X, MOVES[..., :2], W], ShapeError, r"'offset' must be \(1,8,3,3\)"),
        bad([X, MOVES, W[..., :1]], ShapeError, r"the arguments say \(2,2\)"),
        bad([X, MOVES, W[:, :1]], ShapeError, "X has 2 channel"),
        bad([X, MOVES, W[:3, :1]], ShapeError, r"3 filter\(s\) cannot be divided", group=2),
        bad(
            [X, MOVES, W], ShapeError, "cannot be divided into 3 .* moved alike", deformable_group=3
        ),
        bad([X, MOVES, W], ArgumentError, "group and deformable_group must be", group=0),
        bad([X, MOVES, W], ArgumentError, "order must be NCHW", order="NHWC"),
        bad([X, MOVES, W], ArgumentError, "no global_pooling", global_pooling=1),
        bad([X > 0, MOVES, W], DTypeError, "is bool"),
        bad([X, MOVES.astype("float64"), W], DTypeError, "must have one type"),
    ]


BAD = [
    *_bad([], 1),
    Bad([X, MOVES, W], ArgumentError, "kernel .* must be given"),
    Bad([X, MOVES, W, DY[0, :2, 0, 0]], ShapeError, "needs one element for each filter", K),
    Bad([X, MOVES], ArityError, "expected 3 to 4 input", K),
    Bad([X, MOVES, W], InplaceError, "in place", K, same=((0, 0),)),
]
GRADIENT_BAD = [
    *_bad([DY], 4),
    Bad([X, MOVES, W, X], ShapeError, r"'dY' must be \(1,4,3,3\)", K, 4),
    Bad([X, MOVES, W, DY], ArityError, "expected 3 or 4 outputs with no_bias=0, found 2", K, 2),
    Bad(
        [X, MOVES, W, DY],
        ArityError,
        "expected 2 or 3 outputs with no_bias=1",
        {**K, "no_bias": 1},
        4,
    ),
    Bad([X, MOVES, W], ArityError, "expected 4 input", K, 4),
    Bad([X, MOVES, W, DY], InplaceError, "in place", K, 4, same=((1, 0),)),
]
SUMS = "sums of many products, of places that are rounded"

CASES = [
    Case("DeformConv", _deform, _samples, BAD, tolerance=1e-5, tolerance_reason=SUMS),
    Case(
        "DeformConvGradient",
        _gradient,
        _gradient_samples,
        GRADIENT_BAD,
        tolerance=2e-5,
        tolerance_reason=SUMS,
    ),
]
