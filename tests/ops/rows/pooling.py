"""Rows: maximum, mean and norm over sliding windows."""

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

# ---------------------------------------------------------------- the reference, window by window


def _sizes(args, rank, one, many, pair, default):
    if args.get(many):
        return list(args[many])
    if pair[0] in args:
        return [args[p] for p in pair]
    return [args.get(one, default)] * rank


def _pads(args, rank):
    """Begins, then ends."""
    if args.get("pads"):
        return list(args["pads"])
    if any(f"pad_{side}" in args for side in "tlbr"):
        return [args.get(f"pad_{side}", 0) for side in "tlbr"]
    return [args.get("pad", 0)] * (2 * rank)


def _axis(size, kernel, stride, begin, end, legacy):
    """For each window the first element and the one past the last, perhaps outside."""
    if legacy == 2:
        count = -(-size // stride)
        begin = int(((count - 1) * stride + kernel - size) / 2)
    elif legacy == 3:
        count = int(np.ceil((size + 2 * begin - kernel) / stride)) + 1
        count -= begin > 0 and (count - 1) * stride >= size + begin
    else:
        count = (size + begin + end - kernel) // stride + 1
    return [(o * stride - begin, o * stride - begin + kernel) for o in range(count)]


def _windows(image, args):
    """(position, the part within the image as slices, elements of the whole window)."""
    rank = len(image)
    if args.get("global_pooling"):
        axes = [[(0, size)] for size in image]
    else:
        kernel = _sizes(args, rank, "kernel", "kernels", ("kernel_h", "kernel_w"), None)
        stride = _sizes(args, rank, "stride", "strides", ("stride_h", "stride_w"), 1)
        pads, legacy = _pads(args, rank), args.get("legacy_pad", 0)
        axes = [
            _axis(image[a], kernel[a], stride[a], pads[a], pads[rank + a], legacy)
            for a in range(rank)
        ]
    found = []
    for at in np.ndindex(*(len(spans) for spans in axes)):
        spans = [axes[a][o] for a, o in enumerate(at)]
        inside = tuple(
            slice(max(start, 0), max(min(stop, size), 0))
            for (start, stop), size in zip(spans, image, strict=True)
        )
        found.append((at, inside, int(np.prod([stop - start for start, stop in spans]))))
    return found, tuple(len(spans) for spans in axes)


def _first(x, args):
    """Channels first, whatever the order."""
    return np.moveaxis(x, -1, 1) if args.get("order", "NCHW").upper() == "NHWC" else x


def _back(x, args):
    return np.moveaxis(x, 1, -1) if args.get("order", "NCHW").upper() == "NHWC" else x


def _spatial(x):
    return tuple(range(2, x.ndim))


def _pooled(reduce):
    def ref(x, **args):
        x = _first(x, args)
        windows, out = _windows(x.shape[2:], args)
        y = np.zeros(x.shape[:2] + out, x.dtype)
        for at, inside, size in windows:
            part = x[(..., *inside)]
            if all(part.shape[2:]):
                y[(..., *at)] = reduce(part, size, args)
        return _back(y, args)

    return ref


def _largest(part, size, args):
    return part.max(axis=_spatial(part))


def _mean(part, size, args):
    count = size if args.get("count_include_pad") else np.prod(part.shape[2:])
    return part.sum(axis=_spatial(part), dtype=np.float64) / count


def _pooled_gradient(share):
    def ref(x, y, dy, **args):
        x, y, dy = (_first(a, args) for a in (x, y, dy))
        dx = np.zeros(x.shape, np.float64)
        for at, inside, size in _windows(x.shape[2:], args)[0]:
            index = (..., *at, *[None] * (x.ndim - 2))
            part = (..., *inside)
            dx[part] += share(x[part], y[index], dy[index], size, args)
        return _back(dx.astype(x.dtype), args)

    return ref


def _to_largest(x, y, dy, size, args):
    return np.where(x == y, dy, 0)


def _to_all(x, y, dy, size, args):
    count = size if args.get("count_include_pad") else np.prod(x.shape[2:])
    return np.broadcast_to(dy / max(count, 1), x.shape)


# ---------------------------------------------------------------- samples

#: spatial size and arguments
WINDOWS = {
    1: [
        ((7,), {"kernels": [3]}),
        ((7,), {"kernels": [3], "strides": [2], "pads": [1, 2]}),
        ((5,), {"kernels": [2], "strides": [4]}),
        ((5,), {"global_pooling": 1}),
        ((4,), {"kernels": [1], "strides": [5], "legacy_pad": 3}),  # the last window is outside
    ],
    2: [
        ((6, 7), {"kernel": 2, "stride": 2}),
        ((7, 36), {"kernel": 3, "stride": 2, "pad": 1}),
        ((5, 20), {"kernel": 3, "pad": 2}),
        ((9, 8), {"kernel": 4, "stride": 3}),
        ((5, 6), {"kernel_h": 2, "kernel_w": 3, "stride_h": 1, "stride_w": 2}),
        ((5, 6), {"kernel": 3, "pad_t": 1, "pad_b": 2, "pad_r": 1}),
        ((5, 6), {"kernels": [2, 3], "pads": [0, 1, 1, 2], "strides": [1, 2]}),
        ((5, 5), {"kernel": 2, "pad": -1}),
        ((6, 6), {"kernel": 2, "stride": 2, "pads": [-1, -1, 1, 1]}),
        ((5, 6), {"kernel": 3, "stride": 2, "legacy_pad": 1}),
        ((5, 6), {"kernel": 3, "stride": 2, "legacy_pad": 2}),
        ((5, 6), {"kernel": 2, "stride": 4, "legacy_pad": 2}),
        ((5, 5), {"kernel": 2, "stride": 2, "legacy_pad": 3}),
        ((6, 7), {"kernel": 3, "stride": 2, "pad": 1, "legacy_pad": 3}),
        ((4, 7), {"kernel": 1, "stride": 4, "legacy_pad": 3}),
        ((3, 4), {"global_pooling": 1}),
        ((3, 4), {"kernel": 2, "dilation": 1, "group": 2, "shared_buffer": 1}),
    ],
    3: [
        ((3, 4, 5), {"kernels": [2, 3, 2], "strides": [1, 1, 2]}),
        ((2, 4, 3), {"kernels": [2, 2, 3], "pads": [1, 0, 1, 0, 1, 2]}),
        ((4, 5, 4), {"kernels": [4, 4, 1], "strides": [2, 2, 2], "pads": [1, 1, 0, 1, 1, 0]}),
        ((2, 3, 2), {"global_pooling": 1}),
    ],
}


def _distinct(rng, shape, dtype):
    """No two equal and none near another: a maximum stays one when it is moved a little."""
    size = int(np.prod(shape))
    return (rng.permutation(size).reshape(shape) / 8 - size / 16).astype(dtype)


def _images(ranks, extra=({},)):
    def samples(rng):
        for rank in ranks:
            for size, args in WINDOWS[rank]:
                for order, dtype in (("NCHW", "float32"), ("NHWC", "float32"), ("nhwc", "float64")):
                    shape = (2, 3, *size) if order == "NCHW" else (2, *size, 3)
                    for more in extra:
                        x = _distinct(rng, shape, dtype)
                        yield Sample([x], {**args, **more, "order": order})
        yield Sample([_distinct(rng, (0, 3, 5, 5), "float32")], {"kernel": 3})
        yield Sample([_distinct(rng, (0, 4, 4, 2), "float32")], {"global_pooling": 1})
        yield Sample([_distinct(rng, (1, 4, 37, 1), "float32")], {"kernel": 3, "order": "NHWC"})

    return samples


def _gradients(images, forward):
    def samples(rng):
        for sample in images(rng):
            x = np.round(sample.inputs[0])  # with equal elements
            y = forward(x, **sample.args)
            dy = rng.uniform(-1, 1, y.shape).astype(x.dtype)
            yield Sample([x, y, dy], sample.args)

    return samples


# ---------------------------------------------------------------- rows

X = np.ones((1, 2, 5, 5), np.float32)


def _bad_windows(inputs):
    def bad(error, match, **args):
        return Bad(inputs, error, match, args)

    return [
        bad(ArgumentError, "kernel .* must be given"),
        bad(ArgumentError, r"kernel must be at least 1, found \(0,0\)", kernel=0),
        bad(ArgumentError, "stride must be at least 1", kernel=2, stride=0),
        bad(ArgumentError, r"pooling has no dilation, found \(2,2\)", kernel=2, dilation=2),
        bad(ArgumentError, r"pads \(2,2,2,2\) must be smaller than the kernel", kernel=2, pad=2),
        bad(ArgumentError, "must be smaller", kernels=[2, 2], pads=[0, 0, 0, 2]),
        bad(ArgumentError, r"kernels has 1 value\(s\) where the image needs 2", kernels=[2]),
        bad(ArgumentError, "no pad, stride or dilation", global_pooling=1, stride=2),
        bad(ArgumentError, "sets the pads itself", kernel=2, pad=1, legacy_pad=2),
        bad(ArgumentError, "legacy_pad must be", kernel=2, legacy_pad=9),
        bad(ArgumentError, "order must be NCHW or NHWC", kernel=2, order="bad"),
        bad(ShapeError, "a window of 9 does not fit into 5", kernel=9),
    ]


def _bad_images():
    kernel = {"kernel": 2}
    return [
        *_bad_windows([X]),
        Bad([X[0, 0]], ShapeError, r"3 to 5 dimensions .*found \(5,5\)", kernel),
        Bad([X[:, :0]], ShapeError, r"must not be empty, found \(1,0,5,5\)", kernel),
        Bad([X.astype(np.int32)], DTypeError, "'X' is int32; supported: float32", kernel),
        Bad([X.astype(np.float16)], DTypeError, "is float16", kernel),
        Bad([X], InplaceError, "allowed: none", kernel, same=[(0, 0)]),
        Bad([X, X], ArityError, "expected 1 input", kernel),
    ]


def _bad_gradients():
    kernel = {"kernel": 2}
    y = X[:, :, :4, :4]
    return [
        *_bad_windows([X, y, y]),
        Bad([X, X, X], ShapeError, r"pooling X gives, \(1,2,4,4\), found \(1,2,5,5\)", kernel),
        Bad([X, y, y[..., :3]], ShapeError, "'Y' is .* 'dY' is", kernel),
        Bad([X, y, y.astype(np.float64)], DTypeError, "must have one type", kernel),
        Bad([X > 0, y, y], DTypeError, "'X' is bool", kernel),
        Bad([X, y, y], InplaceError, "allowed: none", kernel, same=[(0, 0)]),
        Bad([X, y], ArityError, "expected 3", kernel),
    ]


def _rows(name, reduce, share, extra):
    forward = _pooled(reduce)
    for suffix, ranks in (("", (1, 2, 3)), ("1D", (1,)), ("2D", (2,)), ("3D", (3,))):
        images = _images(ranks, extra if suffix == "" else ({},))
        yield Case(f"{name}{suffix}", forward, images, bad=_bad_images())
        gradients = _gradients(images, forward)
        reference = _pooled_gradient(share)
        yield Case(f"{name}{suffix}Gradient", reference, gradients, bad=_bad_gradients())


# ---------------------------------------------------------------- norms


def _norm(part, size, args):
    p = args.get("p", 2.0)
    return (np.abs(part.astype(np.float64)) ** p).sum(axis=_spatial(part)) ** (1 / p)


def _to_norm(x, y, dy, size, args):
    with np.errstate(divide="ignore", invalid="ignore"):
        share = np.sign(x) * np.abs(x.astype(np.float64) / y) ** (args.get("p", 2.0) - 1)
    return np.where(x == 0, 0, dy * share)


POWERS = ({}, {"p": 1.0}, {"p": 3.5}, {"p": -1.0})


def _nonzero(rng):
    """Elements of 0 have no slope for small powers."""
    for sample in _images((1, 2, 3), POWERS)(rng):
        x = sample.inputs[0]
        yield Sample([np.where(abs(x) < 0.5, x.dtype.type(0.5), x)], sample.args)


def _norm_gradients(rng):
    forward = _pooled(_norm)
    for number, sample in enumerate(_nonzero(rng)):
        x = sample.inputs[0]
        if number % 2 and sample.args.get("p", 2.0) >= 1:
            x = np.where(abs(x) < 8, x.dtype.type(0), x)
        dy = rng.uniform(-1, 1, forward(x, **sample.args).shape).astype(x.dtype)
        yield Sample([x, forward(x, **sample.args), dy], sample.args)


POWER_BAD = {0.0: "p must be finite and not 0", float("inf"): "p must be finite"}


def _bad_powers(inputs):
    return [Bad(inputs, ArgumentError, m, {"kernel": 2, "p": p}) for p, m in POWER_BAD.items()]


# ---------------------------------------------------------------- places of the maximum


def _places(x, **args):
    first = _first(x, args)
    numbers = np.arange(np.prod(first.shape[2:])).reshape(first.shape[2:])
    windows, out = _windows(first.shape[2:], args)
    found = np.full(first.shape[:2] + out, -1, np.int32)
    for at, inside, _ in windows:
        part, there = first[(..., *inside)], numbers[inside].reshape(-1)
        if there.size:
            flat = part.reshape(*first.shape[:2], there.size)
            found[(..., *at)] = there[flat.argmax(axis=2)]
    return _pooled(_largest)(x, **args), _back(found, args)


def _at_places(x, dy, index, **args):
    dy, index = _first(dy, args), _first(index, args)
    shape = _first(x, args).shape
    dx = np.zeros((*shape[:2], int(np.prod(shape[2:])) + 1))  # the last one is for -1
    for n, c in np.ndindex(*shape[:2]):
        np.add.at(dx[n, c], index[n, c].reshape(-1), dy[n, c].reshape(-1))
    return _back(dx[..., :-1].reshape(shape).astype(x.dtype), args)


def _with_places(rng):
    for sample in _images((1, 2, 3))(rng):
        yield Sample(sample.inputs, sample.args, 2)
    twice = np.array([1, 2, 2, np.nan, 5, np.nan], np.float32).reshape(1, 1, 6)
    yield Sample([twice], {"kernels": [3]}, 2, gradient=False)


def _place_gradients(rng):
    for sample in _with_places(rng):
        y, index = _places(*sample.inputs, **sample.args)
        dy = rng.uniform(-1, 1, y.shape).astype(y.dtype)
        yield Sample([*sample.inputs, dy, index], sample.args)


Y = X[:, :, :4, :4]
INDEX = Y.astype(np.int32)
K = {"kernel": 2}
INDEXED_BAD = [
    *(Bad(b.inputs, b.error, b.match, b.args, 2, b.same) for b in _bad_images()),
    Bad([X], ArityError, "expected 2 output", K),
]
INDEX_GRADIENT_BAD = [
    *_bad_windows([X, Y, INDEX]),
    Bad([X, Y, 25 * INDEX], ValueRangeError, "a place is 25, expected below 25", K),
    Bad([X, X, X.astype(np.int32)], ShapeError, "pooling X gives", K),
    Bad([X, Y, INDEX[..., :3]], ShapeError, "'dY' is .* 'Index' is", K),
    Bad([X, Y, Y], DTypeError, "supported: int32", K),
    Bad([X, Y.astype(np.float64), INDEX], DTypeError, "must have one type", K),
    Bad([X, Y], ArityError, "expected 3", K),
]

CASES = [
    *_rows("MaxPool", _largest, _to_largest, ({},)),
    *_rows("AveragePool", _mean, _to_all, ({}, {"count_include_pad": True})),
    Case(
        "LpPool",
        _pooled(_norm),
        _nonzero,
        [*_bad_images(), *_bad_powers([X])],
        tolerance=1e-5,
        tolerance_reason="powers and roots of sums",
    ),
    Case(
        "LpPoolGradient",
        _pooled_gradient(_to_norm),
        _norm_gradients,
        [*_bad_gradients(), *_bad_powers([X, Y, Y])],
        tolerance=1e-5,
        tolerance_reason="sums of powers",
    ),
    Case("MaxPoolWithIndex", _places, _with_places, INDEXED_BAD),
    Case("MaxPoolWithIndexGradient", _at_places, _place_gradients, INDEX_GRADIENT_BAD),
]
