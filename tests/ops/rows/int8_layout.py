"""Rows: quantized tensors in other shapes and orders, regions, and values from the net."""

import itertools
import math

import numpy as np

from caffe2py.errors import ArgumentError, ArityError, DTypeError, ShapeError, ValueRangeError
from caffe2py.testing import Bad, Case, Sample
from tests.ops.rows.int8 import (
    KEPT,
    LAST,
    PLAIN,
    F,
    X,
    _away,
    _bad,
    _kept,
    _out,
    _place,
    _quantized,
    _same,
)

# ---------------------------------------------------------------- layout


def _flatten(x, *, axis=1, **_):
    return x.data.reshape(math.prod(x.data.shape[:axis]), -1)


def _flatten_samples(rng):
    for shape, axis in (((2, 3), 1), ((2, 3, 4), 2), ((5,), 0), ((2, 3), 2)):
        x = _quantized(rng, shape)
        yield Sample([x], {"axis": axis, **_same(x)})


def _reshape(x, new=None, *, shape=None, **_):
    wanted = list(shape if new is None else new)
    wanted = [x.data.shape[k] if n == 0 else n for k, n in enumerate(wanted)]
    dtype = np.int64 if new is None else new.dtype
    return x.data.reshape(wanted), np.array(x.data.shape, dtype)


def _reshape_samples(rng):
    for wanted in ([0, 3, -1], [-1], [0, -1], [4, 3, 2], [1, 24]):
        x = _quantized(rng, (2, 3, 4))
        yield Sample([x], {"shape": wanted, **_same(x)}, 2)
        yield Sample([x, np.array(wanted, "int32")], _same(x), 2)


def _transpose(x, *, axes=None, **_):
    return np.ascontiguousarray(x.data.transpose(axes))


def _transpose_samples(rng):
    for shape, axes in (((2, 3), None), ((2, 3, 4), [0, 2, 1]), ((2, 3, 4, 5), [3, 1, 0, 2])):
        x = _quantized(rng, shape)
        yield Sample([x], {**({} if axes is None else {"axes": axes}), **_same(x)})


def _slice(x, begin=None, end=None, *, starts=None, ends=None, dim=0, start_idx=0, end_idx=-1, **_):
    if starts is None and begin is None:
        box = [slice(None)] * x.data.ndim
        size = x.data.shape[dim]
        box[dim] = slice(start_idx, end_idx + size + 1 if end_idx < 0 else end_idx)
        return x.data[tuple(box)]
    pairs = zip(
        starts if begin is None else begin, ends if end is None else end, x.data.shape, strict=False
    )
    return x.data[tuple(slice(a, b + n + 1 if b < 0 else b) for a, b, n in pairs)]


def _slice_samples(rng):
    x = _quantized(rng, (3, 4, 5))
    yield Sample([x], {"starts": [0, 1], "ends": [-1, 3], **_same(x)})
    yield Sample([x], {"starts": [1, 0, 2], "ends": [2, -2, -1], **_same(x)})
    yield Sample([x, np.array([0, 1], "int32"), np.array([2, -1], "int32")], _same(x))
    yield Sample([x], {"dim": 2, "start_idx": 1, "end_idx": 4, **_same(x)})


def _concat(*inputs, axis=0, order="", **_):
    along = {"NCHW": 1, "NHWC": 3}.get(order, axis)
    sizes = np.array([x.data.shape[along] for x in inputs], "int32")
    return np.concatenate([x.data for x in inputs], along), sizes


def _concat_samples(rng):
    for place in ({"axis": 1}, {"axis": -1}, {"order": "NHWC"}, {"order": "NCHW"}, {}):
        along = {"NCHW": 1, "NHWC": 3}.get(place.get("order"), place.get("axis", 0))
        shape = [2, 3, 4, 5]
        first = _quantized(rng, shape)
        shape[along] = 1
        second = first._replace(data=_quantized(rng, shape).data)
        yield Sample([first, second], {**place, **_same(first)}, 2)
        yield Sample([first], {**place, **_same(first)}, 1)


def _shuffle(x, *, group=1, **_):
    shape = x.data.shape
    seen = x.data.reshape(*shape[:-1], group, shape[-1] // group)
    return np.ascontiguousarray(np.swapaxes(seen, -1, -2)).reshape(shape)


def _shuffle_samples(rng):
    for group in (1, 2, 3):
        x = _quantized(rng, (2, 2, 3, 6))
        yield Sample([x], {"group": group, **LAST, **_same(x)})


def _resize(x, *, width_scale=1.0, height_scale=1.0, **_):
    rows, columns = (
        np.minimum(np.arange(int(F(n) * F(s))) / F(s), n - 1).astype(int)
        for n, s in zip(x.data.shape[1:3], (height_scale, width_scale), strict=True)
    )
    return np.ascontiguousarray(x.data[:, rows][:, :, columns])


def _resize_samples(rng):
    for args in ({}, {"width_scale": 2.0}, {"width_scale": 0.5, "height_scale": 1.5}):
        x = _quantized(rng, (2, 4, 6, 3))
        yield Sample([x], {**args, **_same(x)})


# ---------------------------------------------------------------- regions


def _axis(begin, end, scale, aligned, bins, ratio):
    shift = F(0.5) if aligned else F(0)
    first = F(begin) * F(scale) - shift
    extent = F(end) * F(scale) - shift - first
    extent = extent if aligned else max(extent, F(1))
    size = extent / F(bins)
    count = ratio if ratio > 0 else math.ceil(size)
    return [
        [first + F(b) * size + (F(k) + F(0.5)) * size / F(count) for k in range(count)]
        for b in range(bins)
    ]


def _near(place, size):
    """The elements around a place, with their weights; none outside."""
    if not -1 <= place <= size:
        return []
    place = min(max(place, F(0)), F(size - 1))
    low = int(place)
    if low >= size - 1:
        return [(size - 1, F(1)), (size - 1, F(0))]
    return [(low, F(1) - (place - F(low))), (low + 1, place - F(low))]


def _align(x, rois, *, Y_scale=1.0, Y_zero_point=0, **args):
    bins = args.get("pooled_h", 1), args.get("pooled_w", 1)
    y = np.zeros((len(rois), *bins, x.data.shape[3]), "uint8")
    part, power = math.frexp(x.scale / (float(F(Y_scale)) * 255))
    more = (args.get("spatial_scale", 1.0), args.get("aligned", False))
    for r, roi in enumerate(rois):
        image = x.data[int(roi[0]) if len(roi) == 5 else 0].astype(np.int64)
        left, top, right, bottom = roi[-4:]
        rows = _axis(top, bottom, *more, bins[0], args.get("sampling_ratio", -1))
        columns = _axis(left, right, *more, bins[1], args.get("sampling_ratio", -1))
        for i, j in itertools.product(range(bins[0]), range(bins[1])):
            total = np.zeros(x.data.shape[3], np.int64)
            for v, u in itertools.product(rows[i], columns[j]):
                for (a, p), (b, q) in itertools.product(
                    _near(v, image.shape[0]), _near(u, image.shape[1])
                ):
                    total += int(np.rint(p * q * F(255))) * image[a, b]
            mean = total // (len(rows[i]) * len(columns[j])) - 255 * x.zero_point
            for c, m in enumerate(mean):
                high = _away(int(m) * round(part * 2**31), 2**31)
                y[r, i, j, c] = _place(_away(high, 2**-power), Y_zero_point)
    return y


def _align_samples(rng):
    for args in (
        {"pooled_h": 2, "pooled_w": 3},
        {"sampling_ratio": 2, "spatial_scale": 0.5},
        {"aligned": True, "sampling_ratio": 3, "pooled_w": 2},
    ):
        corners = rng.integers(-4, 12, (3, 2)) / 4
        boxes = np.hstack([corners, corners + rng.integers(1, 20, (3, 2)) / 4])
        numbered = np.hstack([rng.integers(0, 2, (3, 1)), boxes]).astype("float32")
        x = _quantized(rng, (2, 5, 6, 3))
        yield Sample([x, numbered], {**args, **_out(rng)})
        yield Sample([x, boxes.astype("float32")], {**args, **_out(rng)})


ROI = np.array([[0, 0, 0, 1, 1]], "float32")
FAR = np.array([[0, 1e12, 0, 1, 1]], "float32")


# ---------------------------------------------------------------- fills


def _fill(dtype):
    def reference(*, values=b"", shape=(), Y_scale=1.0, Y_zero_point=0):
        found = np.frombuffer(values, "uint8") if dtype == "uint8" else np.array(values, dtype)
        return found.reshape(shape)

    return reference


def _fill_samples(rng):
    for shape in ((), (3,), (2, 0), (2, 3)):
        data = _quantized(rng, shape).data.tobytes()
        yield Sample([], {"values": data, "shape": list(shape), **_out(rng)})


def _int_fill_samples(rng):
    for shape in ((), (3,), (2, 3)):
        values = [int(v) for v in rng.integers(-(2**31), 2**31, math.prod(shape))]
        yield Sample([], {"values": values, "shape": list(shape), **_out(rng)})


def _fill_bad(good, bad):
    return [
        Bad([], ShapeError, "has 2 element", {"values": good, "shape": [3]}),
        Bad([], ArgumentError, "values must be", {"values": bad, "shape": [2]}),
        Bad([], ArgumentError, "Y_scale must", {"values": good, "shape": [2], "Y_scale": -1.0}),
        Bad([PLAIN], ArityError, "expected 0 input", {"values": good, "shape": [2]}),
    ]


CASES = [
    Case(
        "Int8Flatten",
        _flatten,
        _flatten_samples,
        [*_kept(), Bad([X], ShapeError, "axis 5 is out of range", {**KEPT, "axis": 5})],
    ),
    Case(
        "Int8Reshape",
        _reshape,
        _reshape_samples,
        [
            *(
                Bad(bad.inputs, bad.error, bad.match, bad.args, outputs=2)
                for bad in _kept(args={"shape": [-1]})
                if not bad.same
            ),
            Bad([X], ShapeError, "", {**KEPT, "shape": [5, -1]}, outputs=2),
            Bad([X], ArityError, "expected 2 output", {**KEPT, "shape": [-1]}),
        ],
    ),
    Case(
        "Int8Transpose",
        _transpose,
        _transpose_samples,
        [
            *_kept(),
            Bad([X], ShapeError, "axes", {**KEPT, "axes": [1, 0]}),
            Bad([X], ArgumentError, "no permutation", {**KEPT, "axes": [0, 0, 1, 2]}),
        ],
    ),
    Case(
        "Int8Slice",
        _slice,
        _slice_samples,
        [
            *_kept(args={"starts": [0], "ends": [-1]}),
            Bad([X], ArgumentError, "'starts' is required", KEPT),
            Bad([X], ValueRangeError, "no part", {**KEPT, "starts": [0, 2], "ends": [-1, 1]}),
            Bad([X], ShapeError, "dim 7", {**KEPT, "dim": 7, "start_idx": 0, "end_idx": 1}),
            Bad([X, ROI], ArityError, "expected 1 or 3", KEPT),
        ],
    ),
    Case(
        "Int8Concat",
        _concat,
        _concat_samples,
        [
            *_kept(args={"axis": 1}),
            Bad([X, X._replace(scale=1.0)], ArgumentError, "input 1", {**KEPT, "axis": 1}),
            Bad([X, X._replace(data=X.data[0])], ShapeError, "must agree", {**KEPT, "axis": 1}),
            Bad([X], ShapeError, "axis 4 is out of range", {**KEPT, "axis": 4}),
        ],
    ),
    Case(
        "Int8ChannelShuffle",
        _shuffle,
        _shuffle_samples,
        [
            *_kept(args={"group": 2, **LAST}),
            Bad([X], ArgumentError, "order must be NHWC", {**KEPT, "group": 2}),
            Bad([X], ShapeError, "do not make 3 equal", {**KEPT, **LAST, "group": 3}),
        ],
    ),
    Case(
        "Int8ResizeNearest",
        _resize,
        _resize_samples,
        [
            *_kept(),
            Bad([X._replace(data=X.data[0])], ShapeError, "must have 4 dim", KEPT),
            Bad([X], ArgumentError, "scale must be above 0", {**KEPT, "width_scale": 0.0}),
        ],
    ),
    Case(
        "Int8RoIAlign",
        _align,
        _align_samples,
        [
            *_bad(ROI),
            Bad([X, ROI > 0], DTypeError, "is bool; supported: float32", KEPT),
            Bad([X, ROI[:, 2:]], ShapeError, "4 or 5 columns", KEPT),
            Bad([X, ROI + 1], ValueRangeError, "names no image", KEPT),
            Bad([X, FAR], ValueRangeError, "far too large", KEPT),
            Bad([X, ROI], ArgumentError, "order must be NHWC", {**KEPT, "order": "NCHW"}),
            Bad([X, ROI], ValueRangeError, "scale of X", {**KEPT, "Y_scale": 1e-4}),
        ],
    ),
    Case("Int8GivenTensorFill", _fill("uint8"), _fill_samples, _fill_bad(b"AB", [1, 2])),
    Case(
        "Int8GivenIntTensorFill",
        _fill("int32"),
        _int_fill_samples,
        [
            *_fill_bad([1, 2], "AB"),
            Bad([], DTypeError, "32 bits", {"values": [2**31], "shape": [1]}),
        ],
    ),
]
