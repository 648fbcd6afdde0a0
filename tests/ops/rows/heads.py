"""Rows: chosen rows and corners, softmax in groups of channels, key points, covering regions."""

import numpy as np

from caffe2py.errors import (
    ArgumentError,
    ArityError,
    DTypeError,
    InplaceError,
    MemoryBudgetError,
    ShapeError,
    ValueRangeError,
)
from caffe2py.testing import Bad, Case, Sample

FLOATS = ("float32", "float64")


def _draw(rng, dtype, *shape):
    return rng.uniform(-9, 9, shape).astype(dtype)


X = np.ones((2, 4, 3, 3), np.float32)
STRINGS = np.full((2, 4, 3, 3), b"a", object)

# ---------------------------------------------------------------- SampleAs


def _sample(x, labels):
    return x[labels > 0]


def _sample_gradient(x, labels, dy):
    dx = np.zeros(x.shape, dy.dtype)
    dx[labels > 0] = dy
    return dx


def _sample_samples(rng):
    for dtype in (*FLOATS, "int32", "uint8", "float16"):
        for shape in ((5, 2, 3), (4,), (6, 1), (0, 2), (3, 0)):
            labels = rng.integers(-2, 3, shape[0]).astype("int32")
            yield Sample([_draw(rng, dtype, *shape), labels])
    yield Sample([_draw(rng, "float32", 3, 2), np.array([0, -1, 0], "int32")])


def _sample_gradient_samples(rng):
    for sample in _sample_samples(rng):
        y = _sample(*sample.inputs)
        yield Sample([*sample.inputs, _draw(rng, y.dtype, *y.shape)])


BOTH = np.ones(2, np.int32)


def _sample_bad(*more):
    return [
        Bad([X, BOTH[:1], *more], ShapeError, r"X has 2 row\(s\), and there are 1 label"),
        Bad([X, BOTH[None], *more], ShapeError, "must have 1 dimension"),
        Bad([X, BOTH.astype("int64"), *more], DTypeError, "supported: int32"),
        Bad([STRINGS, BOTH, *more], DTypeError, "is string"),
        Bad([X[0, 0, 0, 0], BOTH, *more], ShapeError, "must have rows"),
        Bad([X, *more], ArityError, "expected"),
        Bad([X, BOTH, *more], InplaceError, "in place", same=((0, 0),)),
    ]


# ---------------------------------------------------------------- SpatialNarrowAs


def _narrow(a, b):
    return a[:, :, : b.shape[-2], : b.shape[-1]]


def _narrow_gradient(a, b, dc):
    da = np.zeros(a.shape, dc.dtype)
    da[:, :, : b.shape[-2], : b.shape[-1]] = dc
    return da


def _narrow_samples(rng):
    for dtype in (*FLOATS, "int32", "uint8", "float16", "int64"):
        a = _draw(rng, dtype, 2, 3, 4, 5)
        yield Sample([a, np.zeros((2, 3, 2, 4), dtype)])
        yield Sample([a, np.zeros((2, 4, 1), "float32")])
        yield Sample([a, a])
        yield Sample([a, np.zeros((2, 3, 0, 4), dtype)])
        yield Sample([a[:0], a[:0]])


def _narrow_gradient_samples(rng):
    for sample in _narrow_samples(rng):
        c = _narrow(*sample.inputs)
        yield Sample([*sample.inputs, _draw(rng, c.dtype, *c.shape)])


def _narrow_bad(*more):
    return [
        Bad([X, X[:1], *more], ShapeError, "differ in batch or channels"),
        Bad([X, X[:, :1], *more], ShapeError, "differ in batch or channels"),
        Bad([X[:, :, :2], X, *more], ShapeError, "is not as high as B"),
        Bad([X[..., :2], X, *more], ShapeError, "is not as wide as B"),
        Bad([X[0], X, *more], ShapeError, "must have 4 dimension"),
        Bad([X, X[0, 0], *more], ShapeError, "must have 3 or 4 dimension"),
        Bad([STRINGS, X, *more], DTypeError, "is string"),
        Bad([X, *more], ArityError, "expected"),
        Bad([X, X, *more], InplaceError, "in place", same=((0, 0),)),
    ]


# ---------------------------------------------------------------- GroupSpatialSoftmax


def _grouped(x, classes):
    return x.reshape(x.shape[0], x.shape[1] // classes, classes, *x.shape[2:])


def _softmax(x, *, num_classes=81, order="NCHW"):
    groups = _grouped(x.astype(np.float64), num_classes)
    e = np.exp(groups - groups.max(axis=2, keepdims=True))
    return (e / e.sum(axis=2, keepdims=True)).reshape(x.shape).astype(x.dtype)


def _softmax_gradient(p, dp, *, num_classes=81, order="NCHW"):
    a, b = _grouped(p.astype(np.float64), num_classes), _grouped(dp, num_classes)
    return (a * (b - (a * b).sum(axis=2, keepdims=True))).reshape(p.shape).astype(p.dtype)


def _softmax_samples(rng):
    for dtype in FLOATS:
        yield Sample([_draw(rng, dtype, 2, 6, 3, 2)], {"num_classes": 3})
        yield Sample([_draw(rng, dtype, 2, 4, 1, 9)], {"num_classes": 4, "order": "NCHW"})
        yield Sample([_draw(rng, dtype, 1, 162, 2, 2)])
        yield Sample([_draw(rng, dtype, 1, 2, 2, 2)], {"num_classes": 1})
        yield Sample([_draw(rng, dtype, 0, 2, 2, 2)], {"num_classes": 2})
        yield Sample([_draw(rng, dtype, 1, 2, 0, 2)], {"num_classes": 2})
    yield Sample([100 * _draw(rng, "float32", 1, 4, 2, 2)], {"num_classes": 2}, gradient=False)


def _softmax_gradient_samples(rng):
    for sample in _softmax_samples(rng):
        p = _softmax(*sample.inputs, **sample.args)
        yield Sample([p, _draw(rng, p.dtype, *p.shape)], sample.args)


def _softmax_bad(*more):
    two = {"num_classes": 2}
    return [
        Bad([X, *more], ShapeError, r"4 channel\(s\) do not make groups of 3", {"num_classes": 3}),
        Bad([X, *more], ArgumentError, "num_classes must be at least 1", {"num_classes": 0}),
        Bad([X, *more], ArgumentError, "order must be NCHW", {**two, "order": "NHWC"}),
        Bad([X[0], *more], ShapeError, "must have 4 dimension", two),
        Bad([X > 0, *more], DTypeError, "supported: float32", two),
        Bad([X, *more, X], ArityError, "expected", two),
        Bad([X, *more], InplaceError, "in place", two, same=((0, 0),)),
    ]


# ---------------------------------------------------------------- HeatmapMaxKeypoint


def _keypoint(maps, boxes, *, should_output_softmax=False):
    """The extremum of the parabola through nine elements, by a linear solver."""
    rows, count, size, _ = maps.shape
    y = np.zeros((rows, 4, count))
    for r, k in np.ndindex(rows, count):
        plane = maps[r, k].astype(np.float64)
        at = np.unravel_index(np.argmax(plane), plane.shape)
        f = np.pad(plane, 1, "reflect")[at[0] : at[0] + 3, at[1] : at[1] + 3]
        slope = np.array([f[2, 1] - f[0, 1], f[1, 2] - f[1, 0]]) / 2
        twist = (f[2, 2] - f[2, 0] - f[0, 2] + f[0, 0]) / 4
        bends = f[0, 1] - 2 * f[1, 1] + f[2, 1], f[1, 0] - 2 * f[1, 1] + f[1, 2]
        hesse = np.array([[bends[0], twist], [twist, bends[1]]])
        step = np.zeros(2)
        if abs(np.linalg.det(hesse)) >= 1e-4:
            step = -np.linalg.solve(hesse, slope)
            step *= min(1, 1.5 / max(np.abs(step).max(), 1e-9))
        box = boxes[r].astype(np.float64)
        for axis in (0, 1):  # down, right
            extent = max(box[3 - axis] - box[1 - axis], 1)
            y[r, 1 - axis, k] = box[1 - axis] + (at[axis] + step[axis] + 0.5) * extent / size
        y[r, 2, k] = f[1, 1] + slope @ step + step @ hesse @ step / 2
        y[r, 3, k] = should_output_softmax / np.exp(plane - plane.max()).sum()
    return y.astype(maps.dtype)


def _keypoint_samples(rng):
    for dtype in FLOATS:
        for rows, count, size in ((2, 3, 5), (1, 2, 2), (3, 1, 7), (0, 2, 3), (2, 0, 3)):
            elements = rng.permutation(rows * count * size**2)
            maps = (elements.reshape(rows, count, size, size) / 8).astype(dtype)
            boxes = (rng.integers(-8, 9, (rows, 4)) / 2).astype(dtype)
            yield Sample([maps, boxes], {"should_output_softmax": True})
            yield Sample([maps - maps.dtype.type(900), np.hstack([boxes, boxes])])
    yield Sample([np.zeros((1, 1, 3, 3), "float32"), np.ones((1, 4), "float32")])


MAPS, BOXES = np.ones((2, 1, 3, 3), np.float32), np.ones((2, 4), np.float32)
KEYPOINT_BAD = [
    Bad([MAPS, BOXES[:1]], ShapeError, r"has 2 row\(s\), input 1 'boxes' has 1"),
    Bad([MAPS[:, :, :2], BOXES], ShapeError, "must be square"),
    Bad([MAPS[:, :, :1, :1], BOXES], ShapeError, "must be square, 2 x 2 or larger"),
    Bad([MAPS, BOXES[:, :3]], ShapeError, "boxes must have 4 columns"),
    Bad([MAPS[0], BOXES], ShapeError, "must have 4 dimension"),
    Bad([MAPS, BOXES[0]], ShapeError, "must have 2 dimension"),
    Bad([MAPS, BOXES.astype("float64")], DTypeError, "must have one type"),
    Bad([MAPS > 0, BOXES], DTypeError, "supported: float32"),
    Bad([MAPS], ArityError, "expected 2 input"),
    Bad([MAPS, BOXES], InplaceError, "in place", same=((1, 0),)),
]


# ---------------------------------------------------------------- RMACRegions


def _cover(x, *, scales=3, overlap=0.4):
    height, width = x.shape[2:]
    short, long = sorted((height, width))
    squares = []
    if short:
        shared = [1 - (long - short) / (n - 1) / short for n in range(2, 8)]
        more = 1 + int(np.argmin([abs(s - overlap) for s in shared]))
        for scale in range(1, scales + 1):
            side = 2 * short // (scale + 1)
            if not side:
                break
            starts = []
            for size in (width, height):
                count = scale + (more if size == long > short else 0)
                starts.append([(size - side) * k // max(count - 1, 1) for k in range(count)])
            squares += [(u, v, u + side - 1, v + side - 1) for u in starts[0] for v in starts[1]]
    rows = [(n, *square) for n in range(len(x)) for square in squares]
    return np.array(rows, np.float32).reshape(-1, 5)


def _cover_samples(rng):
    for shape in (
        (2, 1, 5, 8),
        (1, 3, 4, 4),
        (3, 1, 9, 2),
        (0, 1, 4, 4),
        (1, 1, 1, 1),
        (1, 1, 0, 4),
    ):
        for args in ({}, {"scales": 1}, {"scales": 5, "overlap": 0.7}, {"scales": 0}):
            yield Sample([np.zeros(shape, rng.choice(["float32", "float64", "uint8"]))], args)


COVER_BAD = [
    Bad([X[0]], ShapeError, "must have 4 dimension"),
    Bad([X], ArgumentError, "scales must be at most", {"scales": 1 << 30}),
    Bad([X], ArgumentError, "overlap finite", {"overlap": float("inf")}),
    Bad([np.zeros((1, 1, 500, 500), "uint8")], MemoryBudgetError, "too many", {"scales": 900}),
    Bad([X, X], ArityError, "expected 1 input"),
    Bad([X], InplaceError, "in place", same=((0, 0),)),
]

PATH = "the place is a quotient of differences of close numbers"

CASES = [
    Case(
        "SampleAs",
        _sample,
        _sample_samples,
        _sample_bad(),
        skip={"infer_full": "the labels say how many rows there are"},
    ),
    Case(
        "SampleAsGradient",
        _sample_gradient,
        _sample_gradient_samples,
        [
            *_sample_bad(X),
            Bad([X, BOTH, X[:1]], ValueRangeError, r"2 positive label\(s\), for 1 row"),
            Bad([X, BOTH * 0, X[:1]], ValueRangeError, r"0 positive label\(s\), for 1 row"),
            Bad([X, BOTH, X[:, :1]], ShapeError, "are not like those of X"),
            Bad([X, BOTH, X.astype("float64")], DTypeError, "must have one type"),
        ],
    ),
    Case("SpatialNarrowAs", _narrow, _narrow_samples, _narrow_bad()),
    Case(
        "SpatialNarrowAsGradient",
        _narrow_gradient,
        _narrow_gradient_samples,
        [
            *_narrow_bad(X),
            Bad([X, X[:, :, :2], X], ShapeError, r"'dC' must be \(2,4,2,3\)"),
            Bad([X, X, X.astype("float64")], DTypeError, "must have one type"),
        ],
    ),
    Case("GroupSpatialSoftmax", _softmax, _softmax_samples, _softmax_bad()),
    Case(
        "GroupSpatialSoftmaxGradient",
        _softmax_gradient,
        _softmax_gradient_samples,
        [
            *_softmax_bad(X),
            Bad([X, X[:1]], ShapeError, "must have one shape", {"num_classes": 2}),
            Bad([X, X.astype("float64")], DTypeError, "must have one type", {"num_classes": 2}),
        ],
    ),
    Case(
        "HeatmapMaxKeypoint",
        _keypoint,
        _keypoint_samples,
        KEYPOINT_BAD,
        tolerance=1e-5,
        tolerance_reason=PATH,
    ),
    Case("RMACRegions", _cover, _cover_samples, COVER_BAD),
]
