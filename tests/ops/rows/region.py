"""Rows: RoIAlign."""

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


def _axis(begin, end, scale, aligned, bins, ratio):
    """The places of all samples, (bins, samples)."""
    shift = 0.5 if aligned else 0
    first = begin * scale - shift
    extent = end * scale - shift - first
    if not aligned:
        extent = max(extent, 1)
    size = extent / bins
    count = ratio if ratio > 0 else int(np.ceil(size))
    return first + (np.arange(bins)[:, None] + (np.arange(count) + 0.5) / count) * size


def _weights(places, size):
    """(bins, size): the mean over a bin's samples of the weights of all elements."""
    weights = np.zeros((len(places), size))
    for b, row in enumerate(places):
        for place in row:
            if -1 <= place <= size:
                at = min(max(place, 0), size - 1)
                low = min(int(at), max(size - 2, 0))
                weights[b, low] += 1 - (at - low)
                if size > 1:
                    weights[b, low + 1] += at - low
    return weights / max(places.shape[1], 1)


def _each(rois, shape, args):
    """For each region its image, and the weights of rows and columns."""
    scale, aligned = args.get("spatial_scale", 1.0), args.get("aligned", False)
    ratio = args.get("sampling_ratio", -1)
    for roi in rois.astype(np.float64):
        left, top, right, bottom = roi[-4:]
        rows = _axis(top, bottom, scale, aligned, args.get("pooled_h", 1), ratio)
        columns = _axis(left, right, scale, aligned, args.get("pooled_w", 1), ratio)
        image = int(roi[0]) if len(roi) == 5 else 0
        yield image, _weights(rows, shape[0]), _weights(columns, shape[1])


def _first(x, order):
    return np.moveaxis(x, -1, 1) if order == "NHWC" else x


def _back(x, order):
    return np.moveaxis(x, 1, -1) if order == "NHWC" else x


def _align(x, rois, *, order="NCHW", **args):
    images = _first(x, order).astype(np.float64)
    bins = args.get("pooled_h", 1), args.get("pooled_w", 1)
    y = np.zeros((len(rois), images.shape[1], *bins))
    for r, (n, rows, columns) in enumerate(_each(rois, images.shape[2:], args)):
        y[r] = rows @ images[n] @ columns.T
    return _back(y.astype(x.dtype), order)


def _align_gradient(x, rois, dy, *, order="NCHW", **args):
    images, given = (_first(a, order).astype(np.float64) for a in (x, dy))
    dx = np.zeros(images.shape)
    for r, (n, rows, columns) in enumerate(_each(rois, images.shape[2:], args)):
        dx[n] += rows.T @ given[r] @ columns
    return _back(dx.astype(x.dtype), order)


ARGS = [
    {"pooled_h": 2, "pooled_w": 3},
    {"pooled_h": 2, "sampling_ratio": 2, "spatial_scale": 0.5},
    {"pooled_w": 2, "aligned": True, "sampling_ratio": 3},
    {},
]


def _regions(rng, dtype, count, images):
    corners = rng.uniform(-2, 6, (count, 2))
    boxes = np.hstack([corners, corners + rng.uniform(0.1, 6, (count, 2))])
    numbers = rng.integers(0, images, (count, 1))
    return np.hstack([numbers, boxes]).astype(dtype)


def _samples(rng):
    for dtype in ("float32", "float64"):
        for args in ARGS:
            for order, shape in (("NCHW", (2, 3, 5, 6)), ("NHWC", (2, 5, 6, 3))):
                x = rng.uniform(-1, 1, shape).astype(dtype)
                yield Sample([x, _regions(rng, dtype, 4, 2)], {**args, "order": order})
            x = rng.uniform(-1, 1, (1, 2, 4, 4)).astype(dtype)
            yield Sample([x, _regions(rng, dtype, 3, 1)[:, 1:]], args)
    yield Sample([x, np.zeros((0, 5), dtype)])
    yield Sample([np.zeros((0, 2, 3, 3), dtype), np.zeros((0, 4), dtype)])
    yield Sample([x[:, :, :1, :1], _regions(rng, dtype, 3, 1)], {"pooled_h": 2})


def _gradient_samples(rng):
    for sample in _samples(rng):
        y = _align(*sample.inputs, **sample.args)
        dy = rng.uniform(-1, 1, y.shape).astype(y.dtype)
        yield Sample([*sample.inputs, dy], sample.args)


X = np.ones((2, 3, 4, 4), np.float32)
ROIS = np.array([[1, 0, 0, 2, 2]], np.float32)


def _bad(*more):
    def changed(column, value):
        rois = ROIS.copy()
        rois[0, column] = value
        return [X, rois, *more]

    return [
        Bad([X[0], ROIS, *more], ShapeError, "must have 4 dimension"),
        Bad([X, ROIS[:, 2:], *more], ShapeError, "4 or 5 columns"),
        Bad([X, ROIS[0], *more], ShapeError, "must have 2 dimension"),
        Bad([X > 0, ROIS > 0, *more], DTypeError, "is bool; supported: float"),
        Bad([X, ROIS.astype("float64"), *more], DTypeError, "must have one type"),
        Bad([X, ROIS, *more], ArgumentError, "pooled_h and pooled_w", {"pooled_h": 0}),
        Bad([X, ROIS, *more], ArgumentError, "order must be", {"order": "bad"}),
        Bad([X, ROIS, *more], ArgumentError, "spatial_scale", {"spatial_scale": 0.0}),
        Bad([X, ROIS, *more], ArgumentError, "sampling_ratio", {"sampling_ratio": 1 << 20}),
        Bad(changed(0, 2), ValueRangeError, "names no image"),
        Bad(changed(0, -1), ValueRangeError, "names no image"),
        Bad(changed(0, np.inf), ValueRangeError, "names no image"),
        Bad(changed(1, np.inf), ValueRangeError, "not finite"),
        Bad(changed(4, 1e9), ValueRangeError, "far too large"),
        Bad(changed(3, -1), ValueRangeError, "negative size", {"aligned": True}),
        Bad([X[:, :, :0], ROIS, *more], ShapeError, "must have pixels"),
        Bad([X, ROIS, *more], InplaceError, "in place", same=((0, 0),)),
    ]


DY = np.ones((1, 3, 1, 1), np.float32)
COORDINATES = "places are computed in single precision, and their weights from differences"

CASES = [
    Case(
        "RoIAlign",
        _align,
        _samples,
        [*_bad(), Bad([X], ArityError, "expected 2 input")],
        tolerance=2e-5,
        tolerance_reason=COORDINATES,
        gradient=(0,),
    ),
    Case(
        "RoIAlignGradient",
        _align_gradient,
        _gradient_samples,
        [*_bad(DY), Bad([X, ROIS, DY[:, :2]], ShapeError, "'dY' must be")],
        tolerance=2e-5,
        tolerance_reason=COORDINATES,
    ),
]
