"""Rows: images of other sizes, blocks of pixels in the batch, sums of corners, packed bytes."""

import numpy as np

from caffe2py.errors import ArgumentError, ArityError, DTypeError, InplaceError, ShapeError
from caffe2py.testing import Bad, Case, Sample

FLOATS = ("float32", "float64")


def _draw(rng, dtype, *shape):
    return rng.uniform(-2, 2, shape).astype(dtype)


X = np.ones((2, 3, 4, 4), np.float32)
X5 = np.ones((2, 3, 2, 4, 4), np.float32)

# ---------------------------------------------------------------- as products with matrices


def _scaled(size, scale):
    return int(np.float32(size) * np.float32(scale))


def _linear(size, count):
    """(count, size): the shares of the elements in each place between the first and the last."""
    places = np.linspace(0, size - 1, count) if count > 1 else np.zeros(count)
    return np.maximum(0, 1 - np.abs(places[:, None] - np.arange(size)))


def _shown(size, scale, count):
    """(count, size): 1 where a place shows an element."""
    places = np.arange(count, dtype=np.float32) / np.float32(scale)
    return np.minimum(places.astype(int), size - 1)[:, None] == np.arange(size)


def _along(x, matrix, axis):
    return np.moveaxis(np.tensordot(matrix.astype(np.float64), x, (1, axis)), 0, axis)


def _bilinear(x, *given, height_scale=1.0, width_scale=1.0):
    scales = tuple(given[0]) if given else (height_scale, width_scale)
    for axis, scale in zip((2, 3), scales, strict=True):
        x = _along(x, _linear(x.shape[axis], _scaled(x.shape[axis], scale)), axis)
    return x


def _bilinear_gradient(dy, x, *given, **args):
    for axis in (2, 3):
        dy = _along(dy, _linear(x.shape[axis], dy.shape[axis]).T, axis)
    return dy


def _typed(reference):
    """The reference's result with the type of the first input."""

    def ref(x, *more, **args):
        return reference(x, *more, **args).astype(x.dtype)

    return ref


SCALES = [(1.0, 1.0), (2.0, 3.0), (1.5, 0.5), (0.75, 2.25), (0.3, 0.3)]


def _bilinear_samples(rng):
    for dtype in FLOATS:
        for height, width in SCALES:
            x = _draw(rng, dtype, 2, 3, 4, 5)
            yield Sample([x], {"height_scale": height, "width_scale": width})
            yield Sample([x, np.array([height, width], np.float32)], {"width_scale": 7.0})
    yield Sample([_draw(rng, "float32", 0, 1, 2, 2)], {"width_scale": 2.0})
    yield Sample([_draw(rng, "float32", 1, 1, 2, 2)], {"width_scale": 0.1})
    yield Sample([_draw(rng, "float32", 1, 1, 1, 3)], {"height_scale": 3.0})


def _bilinear_gradient_samples(rng):
    for sample in _bilinear_samples(rng):
        x, *given = sample.inputs
        y = _bilinear(*sample.inputs, **sample.args)
        yield Sample([_draw(rng, x.dtype, *y.shape), x, *given], sample.args)


TWO = np.array([2, 2], np.float32)


def _scale_bad(*more):
    """Scales that do not fit; `more` are the inputs after the first."""
    return [
        Bad([X[0], *more], ShapeError, "must have 4 dimension"),
        Bad([X > 0, *more], DTypeError, "is bool; supported: float"),
        Bad([X, *more], ArgumentError, "width scale must be above 0", {"width_scale": -1.0}),
        Bad([X, *more], ArgumentError, "height scale must be above 0", {"height_scale": 0.0}),
        Bad([X, *more, np.ones(3, np.float32)], ShapeError, "must hold the scales"),
        Bad([X, *more, TWO[None]], ShapeError, "must have 1 dimension"),
        Bad([X, *more, TWO.astype("float64")], DTypeError, "supported: float32"),
        Bad([X, *more, TWO, TWO], ArityError, "input"),
        Bad([X, *more], InplaceError, "in place", same=((0, 0),)),
    ]


BILINEAR_BAD = [
    *_scale_bad(),
    Bad([X, -TWO], ArgumentError, "must be above 0"),
    Bad([X], ShapeError, "the image would be", {"height_scale": 1e10}),
]
BILINEAR_GRADIENT_BAD = [
    *_scale_bad(X),
    Bad([X, X[:1]], ShapeError, "differ in batch or channels"),
    Bad([X, X[:, :, :0]], ShapeError, "no gradient with pixels"),
    Bad([X, X.astype("float64")], DTypeError, "must have one type"),
    Bad([X], ArityError, "expected 2 to 3 input"),
]


# ---------------------------------------------------------------- pixels repeated


def _nearest(x, *, scale=2):
    return np.repeat(np.repeat(x, scale, axis=-1), scale, axis=-2)


def _nearest_gradient(x, dy, *, scale=2):
    sizes = x.shape[-2], scale, x.shape[-1], scale
    return dy.astype(np.float64).reshape(*x.shape[:-2], *sizes).sum(axis=(-3, -1))


def _nearest_samples(rng):
    for dtype in FLOATS:
        for shape in ((2, 3, 4, 5), (3, 2, 4), (0, 1, 2, 2), (1, 0, 2)):
            for args in ({}, {"scale": 1}, {"scale": 3}):
                yield Sample([_draw(rng, dtype, *shape)], args)


def _nearest_gradient_samples(rng):
    for sample in _nearest_samples(rng):
        y = _nearest(*sample.inputs, **sample.args)
        yield Sample([*sample.inputs, _draw(rng, y.dtype, *y.shape)], sample.args)


def _volume(x, *, temporal_scale=1.0, height_scale=1.0, width_scale=1.0, order="NCHW"):
    for axis, scale in zip((2, 3, 4), (temporal_scale, height_scale, width_scale), strict=True):
        count = _scaled(x.shape[axis], scale)
        x = _along(x, _shown(x.shape[axis], scale, count), axis)
    return x


def _volume_gradient(dy, x, *, temporal_scale=1.0, height_scale=1.0, width_scale=1.0, order=""):
    for axis, scale in zip((2, 3, 4), (temporal_scale, height_scale, width_scale), strict=True):
        dy = _along(dy, _shown(x.shape[axis], scale, dy.shape[axis]).T, axis)
    return dy


VOLUMES = [
    {},
    {"height_scale": 2.0, "width_scale": 2.0},
    {"height_scale": 2.0, "width_scale": 2.0, "temporal_scale": 2.0, "order": "NCHW"},
    {"height_scale": 0.5, "width_scale": 1.5, "temporal_scale": 1.7},
]


def _volume_samples(rng):
    for dtype in FLOATS:
        for args in VOLUMES:
            yield Sample([_draw(rng, dtype, 2, 3, 2, 4, 3)], args)
    yield Sample([_draw(rng, "float32", 0, 1, 2, 2, 2)], VOLUMES[1])


def _volume_gradient_samples(rng):
    for sample in _volume_samples(rng):
        y = _volume(*sample.inputs, **sample.args)
        x = sample.inputs[0]
        yield Sample([_draw(rng, x.dtype, *y.shape), x], sample.args)


def _volume_bad(*more):
    return [
        Bad([X, *more], ShapeError, "must have 5 dimension"),
        Bad([X5 > 0, *more], DTypeError, "is bool; supported: float"),
        Bad([X5, *more], ArgumentError, "order must be NCHW", {"order": "NHWC"}),
        Bad([X5, *more], ArgumentError, "temporal scale must be", {"temporal_scale": -1.0}),
        Bad([X5, *more, X5], ArityError, "expected"),
        Bad([X5, *more], InplaceError, "in place", same=((0, 0),)),
    ]


# ---------------------------------------------------------------- blocks of pixels


def _frame(args):
    pad = args.get("pad", 0)
    return [args.get(f"pad_{side}", pad) for side in "tlbr"]


def _to_batch(x, *, block_size=2, order="NCHW", **args):
    top, left, bottom, right = _frame(args)
    x = np.pad(x, ((0, 0), (0, 0), (top, bottom), (left, right)))
    parts = [x[:, :, k::block_size, m::block_size] for k, m in np.ndindex(block_size, block_size)]
    return np.concatenate(parts)


def _to_space(x, *, block_size=2, order="NCHW", **args):
    top, left, bottom, right = _frame(args)
    batch = len(x) // block_size**2
    height, width = (n * block_size for n in x.shape[2:])
    y = np.zeros((batch, x.shape[1], height, width), x.dtype)
    for part, (k, m) in enumerate(np.ndindex(block_size, block_size)):
        y[:, :, k::block_size, m::block_size] = x[part * batch : (part + 1) * batch]
    return y[:, :, top : height - bottom, left : width - right]


#: Arguments, and an image of whole blocks.
BLOCKS = [
    ({}, (2, 3, 4, 6)),
    ({"block_size": 3, "order": "NCHW"}, (1, 2, 3, 6)),
    ({"block_size": 1}, (2, 1, 3, 2)),
    ({"pad": 1}, (2, 1, 2, 4)),
    ({"pad": 1, "pad_t": 0}, (1, 2, 3, 2)),
    ({"pad_l": 1, "pad_b": 1, "pad_r": 2}, (1, 2, 3, 3)),
    ({"block_size": 2, "pad_t": 3}, (1, 2, 1, 2)),
    ({}, (0, 3, 4, 6)),
]


def _to_batch_samples(rng):
    for dtype in (*FLOATS, "int32", "uint8", "float16", "int64"):
        for args, shape in BLOCKS:
            yield Sample([_draw(rng, "float64", *shape).astype(dtype)], args)


def _to_space_samples(rng):
    for sample in _to_batch_samples(rng):
        yield Sample([_to_batch(*sample.inputs, **sample.args)], sample.args)


STRINGS = np.full((4, 1, 2, 2), b"a", object)
X4 = np.ones((4, 3, 4, 4), np.float32)
BLOCKS_BAD = [
    Bad([X4[0]], ShapeError, "must have 4 dimension"),
    Bad([STRINGS], DTypeError, "is string"),
    Bad([X4], ArgumentError, "order must be NCHW", {"order": "NHWC"}),
    Bad([X4], ArgumentError, "block_size must be at least 1", {"block_size": 0}),
    Bad([X4], ArgumentError, "pads must be 0 or more", {"pad": -1}),
    Bad([X4, X4], ArityError, "expected 1 input"),
    Bad([X4], InplaceError, "in place", {"block_size": 1}, same=((0, 0),)),
]


# ---------------------------------------------------------------- sums of corners


def _integral(x):
    return np.pad(x.astype(np.float64), ((0, 0), (0, 0), (1, 0), (1, 0))).cumsum(2).cumsum(3)


def _integral_gradient(x, dy, *, exact=False):
    if not exact:
        return dy[:, :, :-1, :-1].astype(np.float64).cumsum(2).cumsum(3)
    turned = dy[:, :, :0:-1, :0:-1].astype(np.float64)
    return turned.cumsum(2).cumsum(3)[:, :, ::-1, ::-1]


def _integral_samples(rng):
    for dtype in FLOATS:
        for shape in ((2, 3, 4, 5), (1, 1, 1, 1), (0, 1, 2, 2), (1, 2, 0, 3)):
            yield Sample([_draw(rng, dtype, *shape)])


def _integral_gradient_samples(rng):
    for sample in _integral_samples(rng):
        (x,) = sample.inputs
        dy = _draw(rng, x.dtype, *x.shape[:2], x.shape[2] + 1, x.shape[3] + 1)
        for args in ({}, {"exact": True}, {"exact": False}):
            yield Sample([x, dy], args)


# ---------------------------------------------------------------- packed bytes


def _normalize(x, mean, deviation):
    return (x - mean[0, :, None, None]) / deviation[0, :, None, None]


def _normalize_samples(rng):
    for dtype in FLOATS:
        for shape, rows in (((2, 3, 4, 5), 1), ((1, 2, 1, 1), 3), ((0, 2, 2, 2), 1)):
            mean = _draw(rng, dtype, rows, shape[1])
            yield Sample([_draw(rng, dtype, *shape), mean, np.abs(mean) + mean.dtype.type(1)])


def _preprocess(x, mean, **args):
    return (x[..., :3].astype(np.float32) - mean.reshape(-1)).transpose(0, 3, 1, 2)


def _preprocess_samples(rng):
    for shape in ((2, 3, 5, 4), (1, 1, 1, 4), (0, 2, 2, 4), (1, 9, 17, 4)):
        for size in (491, 1, 2, 4):
            x = rng.integers(0, 256, shape).astype("uint8")
            yield Sample([x, _draw(rng, "float32", 3)], {"noise_std": 0.0, "noise_size": size})
    yield Sample([x, _draw(rng, "float32", 1, 3)], {"noise_std": 0.0})


def _deprocess(x, mean):
    bytes_ = np.clip(np.nan_to_num(x + mean.reshape(-1, 1, 1), nan=0), 0, 255).astype("uint8")
    return np.insert(bytes_.transpose(0, 2, 3, 1), 3, 255, axis=3)


def _deprocess_samples(rng):
    for shape in ((2, 3, 5, 4), (1, 3, 1, 1), (0, 3, 2, 2), (1, 3, 9, 17)):
        x = (rng.integers(-400, 2400, shape) / 8).astype("float32")
        yield Sample([x, (rng.integers(0, 99, 3) / 4).astype("float32")])
    odd = np.array([np.nan, np.inf, -np.inf, 1e20, -0.5, 255.99], "float32")
    yield Sample([np.stack([odd] * 3).reshape(1, 3, 2, 3), np.zeros((1, 3), "float32")])


MEAN = np.ones(3, np.float32)
BYTES = np.ones((1, 2, 2, 4), np.uint8)

CASES = [
    Case("UpsampleBilinear", _typed(_bilinear), _bilinear_samples, BILINEAR_BAD),
    Case(
        "UpsampleBilinearGradient",
        _typed(_bilinear_gradient),
        _bilinear_gradient_samples,
        BILINEAR_GRADIENT_BAD,
    ),
    Case(
        "UpsampleNearest",
        _nearest,
        _nearest_samples,
        [
            Bad([X[0, 0]], ShapeError, "must have 3 or 4 dimension"),
            Bad([X > 0], DTypeError, "is bool; supported: float"),
            Bad([X], ArgumentError, "scale must be at least 1", {"scale": 0}),
            Bad([X], ShapeError, "the image would be", {"scale": 1 << 31}),
            Bad([X, X], ArityError, "expected 1 input"),
            Bad([X], InplaceError, "in place", same=((0, 0),)),
        ],
    ),
    Case(
        "UpsampleNearestGradient",
        _typed(_nearest_gradient),
        _nearest_gradient_samples,
        [
            Bad([X, X], ShapeError, r"'dY' must be \(2,3,8,8\), found \(2,3,4,4\)"),
            Bad([X, X.astype("float64")], DTypeError, "must have one type", {"scale": 1}),
            Bad([X, X], ArgumentError, "scale must be at least 1", {"scale": -1}),
            Bad([X], ArityError, "expected 2 input"),
            Bad([X, X], InplaceError, "in place", {"scale": 1}, same=((1, 0),)),
        ],
    ),
    Case("ResizeNearest3D", _typed(_volume), _volume_samples, _volume_bad()),
    Case(
        "ResizeNearest3DGradient",
        _typed(_volume_gradient),
        _volume_gradient_samples,
        [
            *_volume_bad(X5),
            Bad([X5, X5[:1]], ShapeError, "differ in batch or channels"),
            Bad([X5, X5.astype("float64")], DTypeError, "must have one type"),
        ],
    ),
    Case(
        "SpaceToBatch",
        _to_batch,
        _to_batch_samples,
        [
            *BLOCKS_BAD,
            Bad([X4], ShapeError, r"the height 4 \+ 1 is no multiple of .* 2", {"pad_t": 1}),
            Bad([X4], ShapeError, r"the width 4 \+ 1 is no multiple of .* 2", {"pad_l": 1}),
        ],
    ),
    Case(
        "BatchToSpace",
        _to_space,
        _to_space_samples,
        [
            *BLOCKS_BAD,
            Bad([X4[:3]], ShapeError, r"3 image\(s\) do not make blocks of 2 x 2"),
            Bad([X4], ShapeError, "the height 4 x 2 is smaller than its pads, 10", {"pad": 5}),
        ],
    ),
    Case(
        "IntegralImage",
        _typed(_integral),
        _integral_samples,
        [
            Bad([X[0]], ShapeError, "must have 4 dimension"),
            Bad([X > 0], DTypeError, "is bool; supported: float"),
            Bad([X, X], ArityError, "expected 1 input"),
            Bad([X], InplaceError, "in place", same=((0, 0),)),
        ],
    ),
    Case(
        "IntegralImageGradient",
        _typed(_integral_gradient),
        _integral_gradient_samples,
        [
            Bad([X, X], ShapeError, r"'dY' must be \(2,3,5,5\), found \(2,3,4,4\)"),
            Bad([X[:, :, :3, :3], X.astype("float64")], DTypeError, "must have one type"),
            Bad([X], ArityError, "expected 2 input"),
            Bad([X[:, :, :3, :3], X], InplaceError, "in place", same=((0, 0),)),
        ],
    ),
    Case(
        "NormalizePlanarYUV",
        _normalize,
        _normalize_samples,
        [
            Bad([X[0], X[0, :1, :3], X[0, :1, :3]], ShapeError, "must have 4 dimension"),
            Bad([X, MEAN, MEAN], ShapeError, "must have 2 dimension"),
            Bad([X, MEAN[None, :2], MEAN[None]], ShapeError, "a row with one number for each of 3"),
            Bad([X, MEAN[None][:0], MEAN[None]], ShapeError, "a row with one number"),
            Bad([X, MEAN[None], MEAN[None] > 0], DTypeError, "is bool"),
            Bad([X, MEAN[None], MEAN[None].astype("float64")], DTypeError, "must have one type"),
            Bad([X, MEAN[None]], ArityError, "expected 3 input"),
            Bad([MEAN[None], MEAN[None], MEAN[None]], InplaceError, "in place", same=((1, 0),)),
        ],
    ),
    Case(
        "PackedInt8BGRANHWCToNCHWCStylizerPreprocess",
        _preprocess,
        _preprocess_samples,
        [
            Bad([BYTES[..., :3], MEAN], ShapeError, "must have 4 channels along axis 3"),
            Bad([BYTES[0], MEAN], ShapeError, "must have 4 dimension"),
            Bad([BYTES.astype("int32"), MEAN], DTypeError, "supported: uint8"),
            Bad([BYTES, MEAN[:2]], ShapeError, "must hold 3 numbers"),
            Bad([BYTES, MEAN.astype("float64")], DTypeError, "supported: float32"),
            Bad([BYTES, MEAN], ArgumentError, "noise_size must be 1", {"noise_size": 0}),
            Bad([BYTES, MEAN], ArgumentError, "noise_std must be 0", {"noise_std": -1.0}),
            Bad([BYTES], ArityError, "expected 2 input"),
        ],
    ),
    Case(
        "BRGNCHWCToPackedInt8BGRAStylizerDeprocess",
        _deprocess,
        _deprocess_samples,
        [
            Bad([X[:, :2], MEAN], ShapeError, "must have 3 channels along axis 1"),
            Bad([X[0], MEAN], ShapeError, "must have 4 dimension"),
            Bad([X.astype("float64"), MEAN], DTypeError, "supported: float32"),
            Bad([X, MEAN[:2]], ShapeError, "must hold 3 numbers"),
            Bad([X], ArityError, "expected 2 input"),
        ],
    ),
]
