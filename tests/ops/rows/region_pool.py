"""Rows: rotated regions, and regions pooled by maximum or by a channel for each bin."""

import math

import numpy as np

from caffe2py.errors import ArgumentError, ArityError, DTypeError, ShapeError, ValueRangeError
from caffe2py.testing import Bad, Case, Sample
from tests.ops.rows.region import COORDINATES, ROIS, _back, _first

# ---------------------------------------------------------------- rotated


def _near(at, size):
    """(element, weight) pairs around a place."""
    if not -1 <= at <= size:
        return []
    at = min(max(at, 0), size - 1)
    low = min(int(at), max(size - 2, 0))
    return [(low, 1 - (at - low)), (min(low + 1, size - 1), at - low)]


def _weights(roi, shape, args):
    """(row of bins, column of bins, row, column, weight) of every pixel that takes part."""
    scale, aligned = args.get("spatial_scale", 1.0), args.get("aligned", False)
    bins = args.get("pooled_h", 1), args.get("pooled_w", 1)
    x, y = (v * scale - 0.5 * aligned for v in roi[1:3])
    width, height = (v * scale if aligned else max(v * scale, 1) for v in roi[3:5])
    ratio = args.get("sampling_ratio", -1)
    counts = [
        ratio if ratio > 0 else math.ceil(s / b) for s, b in zip((height, width), bins, strict=True)
    ]
    cosine, sine = math.cos(math.radians(roi[5])), math.sin(math.radians(roi[5]))
    for i, j in np.ndindex(*bins):
        for p, q in np.ndindex(*counts):
            v = (i + (p + 0.5) / counts[0]) * height / bins[0] - height / 2
            u = (j + (q + 0.5) / counts[1]) * width / bins[1] - width / 2
            rows = _near(v * cosine - u * sine + y, shape[0])
            columns = _near(u * cosine + v * sine + x, shape[1])
            for a, s in rows:
                for b, t in columns:
                    yield i, j, a, b, s * t / math.prod(counts)


def _rotated(x, rois, *, order="NCHW", **args):
    images = _first(x, order).astype(np.float64)
    y = np.zeros((len(rois), images.shape[1], args.get("pooled_h", 1), args.get("pooled_w", 1)))
    for r, roi in enumerate(rois.astype(np.float64)):
        for i, j, a, b, weight in _weights(roi, images.shape[2:], args):
            y[r, :, i, j] += weight * images[int(roi[0]), :, a, b]
    return _back(y.astype(x.dtype), order)


def _rotated_gradient(x, rois, dy, *, order="NCHW", **args):
    images, given = (_first(a, order).astype(np.float64) for a in (x, dy))
    dx = np.zeros(images.shape)
    for r, roi in enumerate(rois.astype(np.float64)):
        for i, j, a, b, weight in _weights(roi, images.shape[2:], args):
            dx[int(roi[0]), :, a, b] += weight * given[r, :, i, j]
    return _back(dx.astype(x.dtype), order)


def _turned(rng, dtype, count):
    centres, sizes = rng.uniform(-1, 7, (count, 2)), rng.uniform(0.2, 6, (count, 2))
    angles, numbers = rng.uniform(-180, 180, (count, 1)), rng.integers(0, 2, (count, 1))
    return np.hstack([numbers, centres, sizes, angles]).astype(dtype)


def _rotated_samples(rng):
    for dtype in ("float32", "float64"):
        for args in (
            {"pooled_h": 2, "pooled_w": 3},
            {"pooled_h": 2, "sampling_ratio": 2, "spatial_scale": 0.5},
            {"pooled_w": 2, "aligned": True, "sampling_ratio": 3},
            {},
        ):
            for order, shape in (("NCHW", (2, 3, 5, 6)), ("NHWC", (2, 5, 6, 3))):
                x = rng.uniform(-1, 1, shape).astype(dtype)
                yield Sample([x, _turned(rng, dtype, 4)], {**args, "order": order})
    yield Sample([x, np.zeros((0, 6), dtype)])


def _with_gradient(forward, samples):
    def made(rng):
        for sample in samples(rng):
            y = forward(*sample.inputs, **sample.args)
            dy = rng.uniform(-1, 1, y.shape).astype(y.dtype)
            yield Sample([*sample.inputs, dy], sample.args)

    return made


X = np.ones((2, 3, 4, 4), np.float32)
TURNED = np.array([[1, 2, 2, 2, 2, 30]], np.float32)
DY = np.ones((1, 3, 1, 1), np.float32)


def _rotated_bad(*more):
    return [
        Bad([X, TURNED[:, 1:], *more], ShapeError, "must have 6 columns"),
        Bad([X[0], TURNED, *more], ShapeError, "must have 4 dimension"),
        Bad([X, TURNED.astype("float64"), *more], DTypeError, "must have one type"),
        Bad([X, TURNED * 2, *more], ValueRangeError, "names no image"),
        Bad([X, TURNED * np.float32(1e12) - 1e12, *more], ValueRangeError, "", {"order": "NCHW"}),
        Bad([X, TURNED, *more], ArgumentError, "pooled_h", {"pooled_h": 0}),
    ]


# ---------------------------------------------------------------- the largest element


def _round(value):
    return math.floor(abs(value) + 0.5) * (1 if value >= 0 else -1)


def _bins(roi, shape, args, scale):
    """(row of bins, column of bins, rows, columns) of the pixels of each bin."""
    left, top, right, bottom = (_round(np.float32(v) * np.float32(scale)) for v in roi[1:5])
    counts = args.get("pooled_h", 1), args.get("pooled_w", 1)
    sizes = max(bottom - top + 1, 1), max(right - left + 1, 1)
    for place in np.ndindex(*counts):
        spans = []
        for at, first, size, count, most in zip(
            place, (top, left), sizes, counts, shape, strict=True
        ):
            step = np.float32(size) / np.float32(count)
            begin, end = math.floor(at * step) + first, math.ceil((at + 1) * step) + first
            spans.append(slice(min(max(begin, 0), most), min(max(end, 0), most)))
        yield *place, *spans


def _largest(x, rois, *, spatial_scale=1.0, is_test=0, order="NCHW", **args):
    shape = (len(rois), x.shape[1], args.get("pooled_h", 1), args.get("pooled_w", 1))
    y, places = np.zeros(shape, x.dtype), np.full(shape, -1, "int32")
    grid = np.arange(x.shape[2] * x.shape[3]).reshape(x.shape[2:])
    for r, roi in enumerate(rois):
        for i, j, rows, columns in _bins(roi, x.shape[2:], args, spatial_scale):
            part = x[int(roi[0]), :, rows, columns].reshape(x.shape[1], -1)
            if part.size:
                best = part.argmax(1)
                y[r, :, i, j] = part.max(1)
                places[r, :, i, j] = grid[rows, columns].reshape(-1)[best]
    return y, places


def _largest_gradient(x, rois, places, dy, **_):
    dx = np.zeros(x.shape, x.dtype)
    planes = dx.reshape(*x.shape[:2], -1)
    for r, c, i, j in np.ndindex(*places.shape):
        if places[r, c, i, j] >= 0:
            planes[int(rois[r, 0]), c, places[r, c, i, j]] += dy[r, c, i, j]
    return dx


def _regions(rng, dtype, count):
    corners = rng.integers(-4, 20, (count, 2)) / 4
    boxes = np.hstack([corners, corners + rng.integers(0, 24, (count, 2)) / 4])
    return np.hstack([rng.integers(0, 2, (count, 1)), boxes]).astype(dtype)


def _largest_samples(tests):
    def samples(rng):
        for dtype in ("float32", "float64"):
            for args in ({"pooled_h": 2, "pooled_w": 3}, {"spatial_scale": 0.5, "pooled_w": 2}, {}):
                x = rng.permutation(180).reshape(2, 3, 5, 6).astype(dtype)
                yield Sample([x, _regions(rng, dtype, 5)], args, 2)
        yield Sample([x, np.zeros((0, 5), dtype)], {}, 2)
        if tests:
            yield Sample([x, _regions(rng, dtype, 3)], {"is_test": 1}, gradient=False)

    return samples


def _largest_gradient_samples(rng):
    for sample in _largest_samples(False)(rng):
        y, places = _largest(*sample.inputs, **sample.args)
        dy = rng.uniform(-1, 1, y.shape).astype(y.dtype)
        yield Sample([*sample.inputs, places, dy], sample.args)


def _pool_bad(*more, outputs=2):
    return [
        Bad([X[0], ROIS, *more], ShapeError, "must have 4 dim", outputs=outputs),
        Bad([X, ROIS[:, 1:], *more], ShapeError, "must have 5 columns", outputs=outputs),
        Bad([X, ROIS.astype("float64"), *more], DTypeError, "one type", outputs=outputs),
        Bad([X > 0, ROIS > 0, *more], DTypeError, "is bool", outputs=outputs),
        Bad([X, ROIS * 2, *more], ValueRangeError, "names no image", outputs=outputs),
        Bad([X, ROIS, *more], ArgumentError, "spatial_scale", {"spatial_scale": 0.0}, outputs),
        Bad([X], ArityError, "input", outputs=outputs),
    ]


PLACES = np.zeros((1, 3, 1, 1), np.int32)
_PLACES_BAD = [
    Bad([X, ROIS, PLACES, DY[:, :2]], ShapeError, "'dY' must be"),
    Bad([X, ROIS, PLACES[:, :2], DY], ShapeError, "'argmaxes' must be"),
    Bad([X, ROIS, DY, DY], DTypeError, "is float32; supported: int32"),
]

# ---------------------------------------------------------------- a channel for each bin


def _parts(roi, shape, group, scale):
    left, top = (np.float32(_round(v)) * np.float32(scale) for v in roi[1:3])
    right, bottom = (np.float32(_round(v) + 1) * np.float32(scale) for v in roi[3:5])
    steps = [max(s, np.float32(0.1)) / np.float32(group) for s in (bottom - top, right - left)]
    for place in np.ndindex(group, group):
        spans = []
        for at, first, step, most in zip(place, (top, left), steps, shape, strict=True):
            begin, end = math.floor(at * step + first), math.ceil((at + 1) * step + first)
            spans.append(slice(min(max(begin, 0), most), min(max(end, 0), most)))
        yield *place, *spans


def _sensitive(x, rois, *, group_size=1, output_dim=1, spatial_scale=1.0):
    y = np.zeros((len(rois), output_dim, group_size, group_size), x.dtype)
    channels = np.arange(output_dim * group_size**2, dtype="int32").reshape(y.shape[1:])
    for r, roi in enumerate(rois):
        for i, j, rows, columns in _parts(roi, x.shape[2:], group_size, spatial_scale):
            part = x[int(roi[0]), channels[:, i, j], rows, columns].reshape(output_dim, -1)
            y[r, :, i, j] = part.mean(1) if part.size else 0
    return y, np.broadcast_to(channels, y.shape).copy()


def _sensitive_gradient(x, rois, channels, dy, *, group_size=1, output_dim=1, spatial_scale=1.0):
    dx = np.zeros(x.shape, x.dtype)
    for r, roi in enumerate(rois):
        for i, j, rows, columns in _parts(roi, x.shape[2:], group_size, spatial_scale):
            for c, channel in enumerate(channels[r, :, i, j]):
                part = dx[int(roi[0]), channel, rows, columns]
                part += dy[r, c, i, j] / max(part.size, 1)
    return dx


def _sensitive_samples(rng):
    for dtype in ("float32", "float64"):
        for group, outputs, scale in ((1, 2, 1.0), (2, 3, 0.5), (3, 1, 1.0)):
            x = rng.uniform(-1, 1, (2, group * group * outputs, 5, 6)).astype(dtype)
            args = {"group_size": group, "output_dim": outputs, "spatial_scale": scale}
            yield Sample([x, _regions(rng, dtype, 4)], args, 2)


def _sensitive_gradient_samples(rng):
    for sample in _sensitive_samples(rng):
        y, channels = _sensitive(*sample.inputs, **sample.args)
        dy = rng.uniform(-1, 1, y.shape).astype(y.dtype)
        yield Sample([*sample.inputs, channels, dy], sample.args)


THREE = {"output_dim": 3}


def _sensitive_bad(*more, outputs=2):
    cases = [
        Bad(bad.inputs, bad.error, bad.match, {**THREE, **bad.args}, outputs)
        for bad in _pool_bad(*more, outputs=outputs)
    ]
    return [
        *cases,
        Bad([X, ROIS, *more], ShapeError, "must have 4 channels", {"group_size": 2}, outputs),
        Bad([X, ROIS, *more], ArgumentError, "group_size", {"group_size": 0}, outputs),
    ]


CASES = [
    Case(
        "RoIAlignRotated",
        _rotated,
        _rotated_samples,
        [*_rotated_bad(), Bad([X], ArityError, "expected 2 input")],
        tolerance=1e-4,
        tolerance_reason=COORDINATES,
        gradient=(0,),
    ),
    Case(
        "RoIAlignRotatedGradient",
        _rotated_gradient,
        _with_gradient(_rotated, _rotated_samples),
        [*_rotated_bad(DY), Bad([X, TURNED, DY[:, :2]], ShapeError, "'dY' must be")],
        tolerance=1e-4,
        tolerance_reason=COORDINATES,
    ),
    Case(
        "RoIPool",
        _largest,
        _largest_samples(True),
        [
            *_pool_bad(),
            Bad([X, ROIS], ArgumentError, "order must be NCHW", {"order": "NHWC"}, 2),
            Bad([X, ROIS], ShapeError, "there are 1 output", {"is_test": 1}, 2),
            Bad([X, ROIS], ShapeError, "there are 2 output"),
        ],
        gradient=(0,),
    ),
    Case("RoIPoolF", _largest, _largest_samples(False), _pool_bad(), gradient=(0,)),
    *(
        Case(
            f"{name}Gradient",
            _largest_gradient,
            _largest_gradient_samples,
            [*_pool_bad(PLACES, DY, outputs=1), *_PLACES_BAD],
        )
        for name in ("RoIPool", "RoIPoolF")
    ),
    Case("PSRoIPool", _sensitive, _sensitive_samples, _sensitive_bad(), gradient=(0,)),
    Case(
        "PSRoIPoolGradient",
        _sensitive_gradient,
        _sensitive_gradient_samples,
        _sensitive_bad(PLACES, DY, outputs=1),
    ),
]
