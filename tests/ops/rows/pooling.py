"""Rows: maximum and mean over sliding windows."""

import numpy as np

from caffe2py.errors import ArgumentError, ArityError, DTypeError, InplaceError, ShapeError
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


CASES = [
    *_rows("MaxPool", _largest, _to_largest, ({},)),
    *_rows("AveragePool", _mean, _to_all, ({}, {"count_include_pad": True})),
]
