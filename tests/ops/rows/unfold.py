"""Rows: windows laid out one after another, and layers with a filter for each place."""

import itertools
import math

import numpy as np

from caffe2py.errors import ArgumentError, ArityError, DTypeError, InplaceError, ShapeError
from caffe2py.testing import Bad, Case, Sample


def _spans(places, kernel, stride, dilation):
    """For every place of a window and every element of it a pair (place, element, slices)."""
    for tap in itertools.product(*map(range, kernel)):
        first = [t * d for t, d in zip(tap, dilation, strict=True)]
        yield (
            tap,
            tuple(
                slice(f, f + (p - 1) * s + 1, s)
                for f, p, s in zip(first, places, stride, strict=True)
            ),
        )


def _pair(args, name, default):
    both = args.get(name, default)
    return args.get(f"{name}_h", both), args.get(f"{name}_w", both)


def _geometry(size, args):
    kernel, stride = _pair(args, "kernel", 0), _pair(args, "stride", 1)
    dilation, pad = _pair(args, "dilation", 1), args.get("pad", 0)
    places = [
        (n + 2 * pad - d * (k - 1) - 1) // s + 1
        for n, k, s, d in zip(size, kernel, stride, dilation, strict=True)
    ]
    return places, kernel, stride, dilation, pad


def _unfold(x, *, order="NCHW", **args):
    images = np.moveaxis(x, -1, 1) if order == "NHWC" else x
    places, kernel, stride, dilation, pad = _geometry(images.shape[2:], args)
    padded = np.pad(images, ((0, 0), (0, 0), (pad, pad), (pad, pad)))
    y = np.zeros((*images.shape[:2], *kernel, *places), x.dtype)
    for tap, rows in _spans(places, kernel, stride, dilation):
        y[(slice(None), slice(None), *tap)] = padded[(slice(None), slice(None), *rows)]
    if order == "NHWC":
        y = y.transpose(0, 4, 5, 2, 3, 1)
        return np.ascontiguousarray(y).reshape(*y.shape[:3], math.prod(y.shape[3:]))
    return y.reshape(len(x), math.prod(y.shape[1:4]), *places)


def _fold(columns, image, *, order="NCHW", **args):
    shape = np.moveaxis(image, -1, 1).shape if order == "NHWC" else image.shape
    places, kernel, stride, dilation, pad = _geometry(shape[2:], args)
    if order == "NHWC":
        parts = columns.reshape(len(columns), *places, *kernel, shape[1]).transpose(
            0, 5, 3, 4, 1, 2
        )
    else:
        parts = columns.reshape(*shape[:2], *kernel, *places)
    padded = np.zeros((*shape[:2], *(n + 2 * pad for n in shape[2:])), columns.dtype)
    for tap, rows in _spans(places, kernel, stride, dilation):
        padded[(slice(None), slice(None), *rows)] += parts[(slice(None), slice(None), *tap)]
    y = padded[:, :, pad : pad + shape[2], pad : pad + shape[3]]
    return np.ascontiguousarray(np.moveaxis(y, 1, -1) if order == "NHWC" else y)


WINDOWS = [
    {"kernel": 2},
    {"kernel": 3, "pad": 1, "stride": 2},
    {"kernel_h": 1, "kernel_w": 3, "dilation": 2, "pad": 2},
    {"kernel": 2, "stride_h": 2, "dilation_w": 2},
]


def _samples(rng):
    for dtype in ("float32", "float64"):
        for args in WINDOWS:
            yield Sample([rng.uniform(-1, 1, (2, 3, 5, 6)).astype(dtype)], args)
            x = rng.uniform(-1, 1, (2, 5, 6, 3)).astype(dtype)
            yield Sample([x], {**args, "order": "NHWC"})
    yield Sample([x[:0]], {"kernel": 1})


def _fold_samples(rng):
    for sample in _samples(rng):
        y = _unfold(*sample.inputs, **sample.args) if len(sample.inputs[0]) else sample.inputs[0]
        yield Sample([rng.uniform(-1, 1, y.shape).astype(y.dtype), *sample.inputs], sample.args)


X = np.ones((1, 2, 3, 4), "float32")
COLUMNS = np.ones((1, 8, 2, 3), "float32")
TWO = {"kernel": 2}


def _bad(*first):
    return [
        Bad([*first, X[0]], ShapeError, "must have 4 dim", TWO),
        Bad([*(f > 0 for f in first), X > 0], DTypeError, "is bool", TWO),
        Bad([*first, X], ArgumentError, "kernel must be at least 1"),
        Bad([*first, X], ArgumentError, "stride must be", {**TWO, "stride": 0}),
        Bad([*first, X], ArgumentError, "order must be", {**TWO, "order": "CHW"}),
        Bad([*first, X], ShapeError, "does not fit", {"kernel": 5}),
        Bad([*first, X], InplaceError, "in place", TWO, same=((0, 0),)),
        Bad([], ArityError, "expected", TWO),
    ]


# ---------------------------------------------------------------- a filter for each place


def _layer_parts(x, w, args):
    """Images and filters with the channels first, and where windows lie: pads and spans."""
    rank = x.ndim - 2
    if args.get("order") == "NHWC":
        x, w = np.moveaxis(x, -1, 1), np.moveaxis(w, -1, rank + 1)
    places, kernel = w.shape[:rank], w.shape[rank + 2 :]
    stride = args.get("strides", [args.get("stride", 1)] * rank)
    dilation = args.get("dilations", [1] * rank)
    pads = args.get("pads", [args.get("pad", 0)] * 2 * rank)
    around = ((0, 0), (0, 0), *zip(pads[:rank], pads[rank:], strict=True))
    return x, w, around, list(_spans(places, kernel, stride, dilation))


def _layer(x, w, b=None, **args):
    images, filters, around, spans = _layer_parts(x, w, args)
    rank, group = x.ndim - 2, args.get("group", 1)
    padded = np.pad(images, around)
    m, deep = filters.shape[rank : rank + 2]
    y = np.zeros((len(x), m, *filters.shape[:rank]), x.dtype)
    letters = "pqr"[:rank]
    for tap, rows in spans:
        part = padded[(slice(None), slice(None), *rows)]
        taken = filters[(..., *tap)]
        for g in range(group):
            own = slice(g * m // group, (g + 1) * m // group)
            y[:, own] += np.einsum(
                f"nc{letters},{letters}mc->nm{letters}",
                part[:, g * deep : (g + 1) * deep],
                taken[(..., own, slice(None))],
            )
    if b is not None:
        y += np.moveaxis(b, -1, 0)
    return np.ascontiguousarray(np.moveaxis(y, 1, -1)) if args.get("order") == "NHWC" else y


def _layer_gradient(x, w, dy, *, no_bias=0, **args):
    images, filters, around, spans = _layer_parts(x, w, args)
    given = np.moveaxis(dy, -1, 1) if args.get("order") == "NHWC" else dy
    rank, group = x.ndim - 2, args.get("group", 1)
    padded = np.pad(images, around)
    m, deep = filters.shape[rank : rank + 2]
    dx, dw = np.zeros_like(padded), np.zeros_like(filters)
    letters = "pqr"[:rank]
    for tap, rows in spans:
        for g in range(group):
            own, seen = slice(g * m // group, (g + 1) * m // group), slice(g * deep, (g + 1) * deep)
            box, place = (slice(None), seen, *rows), (..., own, slice(None), *tap)
            dx[box] += np.einsum(
                f"nm{letters},{letters}mc->nc{letters}", given[:, own], filters[place]
            )
            dw[place] += np.einsum(
                f"nm{letters},nc{letters}->{letters}mc", given[:, own], padded[box]
            )
    inner = tuple(slice(a, a + n) for (a, _), n in zip(around, images.shape, strict=True))
    dx = dx[inner]
    if args.get("order") == "NHWC":
        dx, dw = np.moveaxis(dx, 1, -1), np.moveaxis(dw, rank + 1, -1)
    dx, dw = np.ascontiguousarray(dx), np.ascontiguousarray(dw)
    db = np.ascontiguousarray(np.moveaxis(given.sum(0), 0, -1))
    return (dw, dx) if no_bias else (dw, db, dx)


LAYERS = [
    ([4], [2], [3], {"kernels": [2]}),
    ([5], [2], [3], {"kernels": [2], "stride": 2, "pads": [1, 0]}),
    ([3, 4], [2, 3], [2, 2], {"kernels": [2, 3]}),
    ([3, 4], [2, 2], [3, 4], {"kernel": 2, "pads": [1, 0, 0, 1]}),
    ([3, 4], [1, 1], [3, 4], {"kernel": 1, "group": 2}),
    ([5, 4], [2, 2], [3, 2], {"kernel": 2, "dilations": [2, 1], "strides": [1, 2]}),
    ([3, 2, 3], [2, 1, 2], [2, 2, 2], {"kernels": [2, 1, 2]}),
]


def _layer_inputs(rng, dtype, size, kernel, places, args, last):
    group = args.get("group", 1)
    c, m = 2 * group, 3 * group
    parts = [(2, c, *size), (*places, m, 2, *kernel)]
    if last:
        parts = [(2, *size, c), (*places, m, *kernel, 2)]
    return [rng.uniform(-1, 1, s).astype(dtype) for s in (*parts, (*places, m))]


def _layer_samples(rank):
    def samples(rng):
        for dtype in ("float32", "float64"):
            for size, kernel, places, args in LAYERS:
                if len(size) not in rank:
                    continue
                for last in (False, True):
                    inputs = _layer_inputs(rng, dtype, size, kernel, places, args, last)
                    more = {**args, "order": "NHWC"} if last else args
                    yield Sample(inputs, more)
                    yield Sample(inputs[:2], more)

    return samples


def _layer_gradient_samples(rank):
    def samples(rng):
        for sample in _layer_samples(rank)(rng):
            y = _layer(*sample.inputs, **sample.args)
            inputs = [*sample.inputs[:2], rng.uniform(-1, 1, y.shape).astype(y.dtype)]
            if len(sample.inputs) > 2:
                yield Sample(inputs, sample.args, 3)
                yield Sample(inputs, sample.args, 2)
            else:
                yield Sample(inputs, {**sample.args, "no_bias": 1}, 2)

    return samples


IMAGE = np.ones((1, 2, 3, 3), "float32")
FILTER = np.ones((2, 2, 4, 2, 2, 2), "float32")
BIAS = np.ones((2, 2, 4), "float32")
DY = np.ones((1, 4, 2, 2), "float32")


def _layer_bad(third, outputs):
    return [
        Bad([IMAGE, FILTER[1:], third], ShapeError, "filter must be", TWO, outputs),
        Bad([IMAGE, FILTER[:, :, :, 1:], third], ShapeError, "filter must be", TWO, outputs),
        Bad([IMAGE, FILTER, third[..., 1:]], ShapeError, "must be", TWO, outputs),
        Bad([IMAGE, FILTER.astype("float64"), third], DTypeError, "one type", TWO, outputs),
        Bad([IMAGE > 0, FILTER, third], DTypeError, "is bool", TWO, outputs),
        Bad([IMAGE, FILTER, third], ArgumentError, "kernel", {}, outputs),
        Bad([IMAGE, FILTER, third], ArgumentError, "group must", {**TWO, "group": 0}, outputs),
        Bad([IMAGE, FILTER, third], ShapeError, "does not fit", {"kernel": 4}, outputs),
        Bad([IMAGE], ArityError, "input", TWO, outputs),
    ]


RANKS = {"": (1, 2, 3), "1D": (1,), "2D": (2,), "3D": (3,)}
SUMS = "sums of products in another order"

CASES = [
    Case("Im2Col", _unfold, _samples, _bad()),
    Case(
        "Col2Im",
        _fold,
        _fold_samples,
        [*_bad(COLUMNS), Bad([COLUMNS[:, 1:], X], ShapeError, "the windows of", TWO)],
        gradient=(0,),
    ),
    *(
        Case(
            f"LC{d}",
            _layer,
            _layer_samples(rank),
            _layer_bad(BIAS, 1),
            tolerance=1e-5,
            tolerance_reason=SUMS,
        )
        for d, rank in RANKS.items()
    ),
    *(
        Case(
            f"LC{d}Gradient",
            _layer_gradient,
            _layer_gradient_samples(rank),
            [*_layer_bad(DY, 3), Bad([IMAGE, FILTER], ArityError, "3 inputs", TWO, 3)],
            tolerance=1e-5,
            tolerance_reason=SUMS,
        )
        for d, rank in RANKS.items()
    ),
]
