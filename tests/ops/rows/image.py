"""Rows: the order of axes, ChannelShuffle, PadImage, ResizeNearest."""

import numpy as np

from caffe2py.errors import ArgumentError, ArityError, DTypeError, InplaceError, ShapeError
from caffe2py.testing import Bad, Case, Sample

FLOATS = ("float32", "float64")


def _draw(rng, dtype, *shape):
    if np.dtype(dtype).kind == "f":
        return rng.uniform(-2, 2, shape).astype(dtype)
    return rng.integers(0, 9, shape).astype(dtype)


# ---------------------------------------------------------------- the order of the axes


def _to_last(x):
    return np.moveaxis(x, 1, -1)


def _to_first(x):
    return np.moveaxis(x, -1, 1)


def _axes_samples(rng):
    for dtype in ("float32", "float64", "int64", "uint8", "float16"):
        for shape in ((2, 3, 4), (2, 3, 4, 5), (1, 2, 1, 3, 2), (0, 3, 2), (2, 40, 33)):
            yield Sample([_draw(rng, dtype, *shape)])


X = np.ones((2, 3, 4, 4), np.float32)
AXES_BAD = [
    Bad([X[0, 0]], ShapeError, "at least 3 dimensions, found"),
    Bad([X, X], ArityError, "expected 1 input"),
    Bad([X], InplaceError, "in place", same=((0, 0),)),
]


# ---------------------------------------------------------------- ChannelShuffle


def _shuffled(x, parts, order):
    axis = x.ndim - 1 if order == "NHWC" else 1
    y = x.reshape(*x.shape[:axis], *parts, *x.shape[axis + 1 :])
    return np.ascontiguousarray(np.swapaxes(y, axis, axis + 1)).reshape(x.shape)


def _shuffle(x, *, group=1, order="NCHW", kernel=1):
    channels = x.shape[-1 if order == "NHWC" else 1]
    return _shuffled(x, (group, channels // group), order)


def _unshuffle(x, *, group=1, order="NCHW", kernel=1):
    channels = x.shape[-1 if order == "NHWC" else 1]
    return _shuffled(x, (channels // group, group), order)


def _shuffle_samples(rng):
    for dtype in (*FLOATS, "int32"):
        yield Sample([_draw(rng, dtype, 2, 6, 2, 3)], {"group": 2})
        yield Sample([_draw(rng, dtype, 2, 2, 3, 6)], {"group": 3, "order": "NHWC"})
        yield Sample([_draw(rng, dtype, 3, 6)], {"group": 2, "kernel": 1})
        yield Sample([_draw(rng, dtype, 2, 4, 5)])
        yield Sample([_draw(rng, dtype, 0, 4, 5)], {"group": 4})


SHUFFLE_BAD = [
    Bad([X], ShapeError, r"3 channel\(s\) do not make 2 equal groups", {"group": 2}),
    Bad([X[0, 0, 0]], ShapeError, "a batch and a channel axis"),
    Bad([X], ArgumentError, "group must be at least 1", {"group": 0}),
    Bad([X], ArgumentError, "order must be", {"order": "bad"}),
    Bad([X, X], ArityError, "expected 1 input"),
    Bad([X], InplaceError, "in place", {"group": 3}, same=((0, 0),)),
]


# ---------------------------------------------------------------- PadImage

MODES = {"constant": "constant", "edge": "edge", "reflect": "reflect"}


def _frame(args):
    """top, left, bottom, right"""
    if "pads" in args:
        return tuple(args["pads"])
    if "pad" in args:
        return (args["pad"],) * 4
    return tuple(args.get(f"pad_{side}", 0) for side in "tlbr")


def _pad(x, *, mode="constant", value=0.0, order="NCHW", **args):
    top, left, bottom, right = _frame(args)
    outer = [(0, 0)] if order == "NHWC" else [(0, 0), (0, 0)]
    inner = [(0, 0)] if order == "NHWC" else []
    width = [*outer, *((max(a, 0), max(b, 0)) for a, b in ((top, bottom), (left, right))), *inner]
    more = {"constant_values": value} if mode == "constant" else {}
    y = np.pad(x, width, mode, **more)
    axis = len(outer)
    for k, (begin, end) in enumerate(((top, bottom), (left, right)), axis):
        part = slice(max(-begin, 0), y.shape[k] + min(end, 0))
        y = y[(slice(None),) * k + (part,)]
    return y


def _pad_gradient(dy, *, mode="constant", order="NCHW", **args):
    """Each pixel's gradient by way of its number: where has padding put it?"""
    top, left, bottom, right = _frame(args)
    axis = 1 if order == "NHWC" else 2
    size = (dy.shape[axis] - top - bottom, dy.shape[axis + 1] - left - right)
    numbers = 1.0 + np.arange(size[0] * size[1]).reshape(1, 1, *size)
    there = _pad(numbers, mode=mode, **args)[0, 0].astype(int).reshape(-1)
    images = np.moveaxis(dy, -1, 1) if order == "NHWC" else dy
    flat = images.reshape(*images.shape[:2], len(there))
    dx = np.zeros((*images.shape[:2], size[0] * size[1] + 1), np.float64)
    for place, number in enumerate(there):
        dx[..., number] += flat[..., place]
    dx = dx[..., 1:].reshape(*images.shape[:2], *size).astype(dy.dtype)
    return np.moveaxis(dx, 1, -1) if order == "NHWC" else dx


FRAMES = [
    {"pad": 1},
    {"pads": [0, 2, 1, 3]},
    {"pad_t": 1, "pad_r": 2},
    {"pads": [-1, 1, 0, -2]},
    {},
]


def _pad_samples(rng):
    for dtype in FLOATS:
        for mode in MODES:
            for frame in FRAMES:
                args = {**frame, "mode": mode}
                yield Sample([_draw(rng, dtype, 2, 3, 4, 5)], args)
                yield Sample([_draw(rng, dtype, 2, 4, 5, 3)], {**args, "order": "NHWC"})
    yield Sample([_draw(rng, "float32", 1, 1, 2, 2)], {"pad": 1, "value": 0.5})
    yield Sample([_draw(rng, "float32", 0, 1, 2, 2)], {"pad": 1})


def _pad_gradient_samples(rng):
    for sample in _pad_samples(rng):
        args = {name: value for name, value in sample.args.items() if name != "value"}
        y = _pad(*sample.inputs, **args)
        yield Sample([_draw(rng, y.dtype, *y.shape)], args)


PAD_BAD = [
    Bad([X[0]], ShapeError, "must have 4 dimension"),
    Bad([X > 0], DTypeError, "is bool; supported: float"),
    Bad([X], ArgumentError, "mode must be constant, edge or reflect", {"mode": "bad"}),
    Bad([X], ArgumentError, "order must be", {"order": "bad"}),
    Bad([X], ArgumentError, "no legacy_pad", {"legacy_pad": 1}),
    Bad([X], ArgumentError, "no global_pooling", {"global_pooling": 1}),
    Bad([X], ArgumentError, "padding has no stride", {"stride": 2}),
    Bad([X], ArgumentError, "padding has no dilation", {"dilations": [1, 2]}),
    Bad([X], ArgumentError, "pads must be top, left", {"pads": [1, 1]}),
    Bad([X], ArgumentError, "are too large", {"pad": 1 << 40}),
    Bad([X, X], ArityError, "expected 1 input"),
    Bad([X], InplaceError, "in place", {"pad": 1}, same=((0, 0),)),
]


# ---------------------------------------------------------------- ResizeNearest


def _numbers(args, given):
    if given:
        return tuple(np.float32(v) for v in given[0].reshape(-1))
    return tuple(np.float32(args.get(name, 1)) for name in ("height_scale", "width_scale"))


def _shown(size, scale):
    places = np.arange(int(np.float32(size) * scale), dtype=np.float32)
    return np.minimum((places / scale).astype(int), size - 1)


def _resize(x, *given, order="NCHW", **args):
    height, width = _numbers(args, given)
    axis = 1 if order == "NHWC" else 2
    y = np.take(x, _shown(x.shape[axis], height), axis)
    return np.take(y, _shown(x.shape[axis + 1], width), axis + 1)


def _resize_gradient(dy, x, *given, order="NCHW", **args):
    height, width = _numbers(args, given)
    axis = 1 if order == "NHWC" else 2
    half = np.zeros((*x.shape[: axis + 1], *dy.shape[axis + 1 :]))
    np.add.at(half, (slice(None),) * axis + (_shown(x.shape[axis], height),), dy)
    dx = np.zeros(x.shape)
    np.add.at(dx, (slice(None),) * (axis + 1) + (_shown(x.shape[axis + 1], width),), half)
    return dx.astype(dy.dtype)


FACTORS = [(1.0, 1.0), (2.0, 3.0), (1.5, 0.5), (0.75, 2.25)]


def _resize_samples(rng):
    for dtype in FLOATS:
        for height, width in FACTORS:
            args = {"height_scale": height, "width_scale": width}
            given = np.array([height, width], np.float32)
            x = _draw(rng, dtype, 2, 3, 4, 5)
            last = _draw(rng, dtype, 2, 4, 5, 3)
            yield Sample([x], args)
            yield Sample([x, given])
            yield Sample([last], {**args, "order": "NHWC"})
            yield Sample([last, given], {"width_scale": 7.0, "order": "NHWC"})
    yield Sample([_draw(rng, "float32", 0, 1, 2, 2)], {"width_scale": 2.0})


def _resize_gradient_samples(rng):
    for sample in _resize_samples(rng):
        x, *given = sample.inputs
        y = _resize(*sample.inputs, **sample.args)
        yield Sample([_draw(rng, y.dtype, *y.shape), x, *given], sample.args)


TWO = np.array([2, 2], np.float32)
RESIZE_BAD = [
    Bad([X[0]], ShapeError, "must have 4 dimension"),
    Bad([X > 0], DTypeError, "is bool; supported: float"),
    Bad([X], ArgumentError, "width scale must be above 0", {"width_scale": -1.0}),
    Bad([X], ArgumentError, "height scale must be above 0", {"height_scale": 0.0}),
    Bad([X], ArgumentError, "order must be", {"order": "bad"}),
    Bad([X], ShapeError, "the image would be", {"height_scale": 1e10}),
    Bad([X, np.ones(3, np.float32)], ShapeError, "must hold the scales"),
    Bad([X, TWO.astype("float64")], DTypeError, "supported: float32"),
    Bad([X, -TWO], ArgumentError, "must be above 0"),
    Bad([X, TWO, TWO], ArityError, "expected 1 to 2 input"),
    Bad([X], InplaceError, "in place", same=((0, 0),)),
]
RESIZE_GRADIENT_BAD = [
    Bad([X], ArityError, "expected 2 to 3 input"),
    Bad([X, X[:1]], ShapeError, "differ in batch or channels"),
    Bad([X, X[0]], ShapeError, "must have 4 dimension"),
    Bad([X, X.astype("float64")], DTypeError, "must have one type"),
    Bad([X, X, TWO[:1]], ShapeError, "must hold the scales"),
    Bad([X, X], ArgumentError, "width scale must be above 0", {"width_scale": -1.0}),
    Bad([X, X], InplaceError, "in place", same=((0, 0),)),
]
SUMS = "sums of many equal parts"

CASES = [
    Case("NCHW2NHWC", _to_last, _axes_samples, AXES_BAD),
    Case("NHWC2NCHW", _to_first, _axes_samples, AXES_BAD),
    Case("ChannelShuffle", _shuffle, _shuffle_samples, SHUFFLE_BAD),
    Case("ChannelShuffleGradient", _unshuffle, _shuffle_samples, SHUFFLE_BAD),
    Case(
        "PadImage",
        _pad,
        _pad_samples,
        [
            *PAD_BAD,
            Bad([X], ShapeError, "cannot have pads", {"pads": [-2, 0, -2, 0]}),
            Bad([X], ShapeError, "no mirror image 4", {"pad": 4, "mode": "reflect"}),
        ],
    ),
    Case(
        "PadImageGradient",
        _pad_gradient,
        _pad_gradient_samples,
        [
            *PAD_BAD,
            Bad([X], ShapeError, "cannot have pads 2 and 2", {"pad": 2}),
            Bad([X], ShapeError, "no mirror image", {"pads": [2, 0, 0, 0], "mode": "reflect"}),
        ],
    ),
    Case("ResizeNearest", _resize, _resize_samples, RESIZE_BAD),
    Case("ResizeNearestGradient", _resize_gradient, _resize_gradient_samples, RESIZE_GRADIENT_BAD),
]
