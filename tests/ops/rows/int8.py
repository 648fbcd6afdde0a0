"""Rows: quantized tensors."""

import itertools
import math

import numpy as np

from caffe2py.errors import (
    ArgumentError,
    ArityError,
    BlobTypeError,
    DTypeError,
    InplaceError,
    ShapeError,
    ValueRangeError,
)
from caffe2py.testing import Bad, Case, Int8Tensor, Sample

F = np.float32


def _quantized(rng, shape, low=0.01, high=0.1):
    values = rng.integers(0, 256, shape).astype("uint8")
    return Int8Tensor(values, float(F(rng.uniform(low, high))), int(rng.integers(0, 256)))


def _out(rng, low=0.02, high=0.4):
    scale = float(F(rng.uniform(low, high)))
    return {"Y_scale": scale, "Y_zero_point": int(rng.integers(0, 256))}


def _same(x):
    return {"Y_scale": x.scale, "Y_zero_point": x.zero_point}


def _centred(x):
    return x.data.astype(np.int64) - x.zero_point


def _away(above, below):
    """A fraction rounded to the nearest integer, halves away from zero."""
    whole = (2 * abs(above) + below) // (2 * below)
    return whole if above >= 0 else -whole


def _place(values, zero, low=0):
    return np.clip(np.asarray(values) + zero, low, 255).astype("uint8")


# ---------------------------------------------------------------- numbers


def _quantize(x, *, Y_scale=1.0, Y_zero_point=0):
    with np.errstate(invalid="ignore"):
        y = np.nan_to_num(np.rint(x / F(Y_scale)), nan=-1e9, posinf=1e9, neginf=-1e9)
    return _place(y, Y_zero_point)


def _dequantize(x):
    return (_centred(x).astype("float32") * F(x.scale)).astype("float32")


def _quantize_samples(rng):
    for shape in ((), (0,), (5,), (2, 3, 4), (3, 100)):
        yield Sample([np.asarray(rng.normal(size=shape) * 20, "float32")], _out(rng))
    yield Sample([np.array([np.nan, np.inf, -np.inf, 1e30, 0.5, 1.5, -0.5], "float32")])
    yield Sample([x := np.ones(3, "float32"), x], {"Y_scale": 0.5})


def _one(low=0.01, high=0.1, args=lambda rng, x: {}):
    def samples(rng):
        for shape in ((), (0,), (7,), (2, 3, 4), (2, 0), (1, 2, 3, 4)):
            x = _quantized(rng, shape, low, high)
            yield Sample([x], args(rng, x))
        every = Int8Tensor(np.arange(256, dtype="uint8"), float(F(0.05)), 100)
        yield Sample([every], args(rng, every))

    return samples


def _fit(value):
    return 0 <= value < 256


X = Int8Tensor(np.arange(24, dtype="uint8").reshape(1, 2, 3, 4), 0.5, 10)
KEPT = {"Y_scale": 0.5, "Y_zero_point": 10}
PLAIN = np.ones((1, 2, 3, 4), "float32")
WIDE = Int8Tensor(np.ones((1, 2, 3, 4), "int32"), 0.5, 10)


def _bad(*more, args=None, inplace=True):
    """What every operator on quantized tensors refuses."""
    good = {**KEPT, **(args or {})}
    cases = [
        Bad([PLAIN, *more], BlobTypeError, "expected a quantized tensor", good),
        Bad([WIDE, *more], DTypeError, "is int32; supported: uint8", good),
        Bad([X._replace(scale=0.0), *more], ValueRangeError, "has the scale", good),
        Bad([X._replace(zero_point=256), *more], ValueRangeError, "has the zero point", good),
        Bad([X, *more], ArgumentError, "Y_scale must be above 0", {**good, "Y_scale": 0.0}),
        Bad([X, *more], ArgumentError, "Y_zero_point must be", {**good, "Y_zero_point": 256}),
    ]
    if inplace:
        cases.append(Bad([X, *more], InplaceError, "in place", good, same=((0, 0),)))
    return cases


def _kept(*more, args=None):
    wrong = {**KEPT, "Y_scale": 0.25, **(args or {})}
    return [*_bad(*more, args=args), Bad([X, *more], ArgumentError, "must be those of", wrong)]


# ---------------------------------------------------------------- sums


def _add(low):
    def reference(a, b, *, Y_scale=1.0, Y_zero_point=0):
        factors = [F(x.scale) / F(Y_scale) for x in (a, b)]
        shift = 21 - math.frexp(max(factors))[1] + 1
        whole = [round(float(f) * 2.0**shift) for f in factors]
        total = _centred(a) * whole[0] + _centred(b) * whole[1]
        rounded = [_away(int(t), 2**shift) for t in total.reshape(-1)]
        values = np.array(rounded, np.int64).reshape(total.shape)
        return _place(values, Y_zero_point, Y_zero_point if low else 0)

    return reference


def _add_samples(rng):
    for shape in ((), (0,), (7,), (2, 3, 4)):
        for high in (0.1, 0.9):
            a, b = _quantized(rng, shape), _quantized(rng, shape, 0.001, high)
            yield Sample([a, b], _out(rng))


_ADD_BAD = [
    *_bad(X, inplace=False),
    Bad([X, X._replace(data=X.data[:, :1])], ShapeError, "must have one shape", KEPT),
    Bad([X], ArityError, "expected 2 input", KEPT),
    Bad([X, X, X], ArityError, "expected 2 input", KEPT),
    Bad([X, X], ValueRangeError, "scale / Y_scale", {"Y_scale": 1e-5}),
    Bad([X, X], ValueRangeError, "scale / Y_scale", {"Y_scale": 1e5}),
]


# ---------------------------------------------------------------- functions of one element


def _relu(x, **_):
    return np.maximum(x.data, x.zero_point).astype("uint8")


def _leaky(x, *, alpha=0.01, Y_scale=1.0, Y_zero_point=0):
    ratio = F(x.scale) / F(Y_scale)
    values = ratio * _centred(x).astype("float32")
    values = np.where(values < 0, values * F(alpha), values)
    return _place(np.rint(values), Y_zero_point)


UNIT = {"Y_scale": 1 / 256}


def _sigmoid(x, **_):
    return _place(np.rint(256 / (1 + np.exp(-_centred(x) * np.float64(F(x.scale))))), 0)


def _softmax(x, *, axis=1, **_):
    if x.data.size == 0:
        return x.data
    shape = x.data.shape
    rows = x.data.astype(np.int64).reshape(math.prod(shape[:axis]), -1)
    most = min((2**32 - 1) / rows.shape[1], 2**23 - 1)
    # weights are rounded before they are added
    powers = np.rint(most * np.exp((rows - rows.max(1, keepdims=True)) * float(F(x.scale))))
    powers = powers.astype(np.int64)
    total = powers.sum(1, keepdims=True)
    return np.minimum((powers * 256 + total // 2) // total, 255).astype("uint8").reshape(shape)


def _softmax_samples(rng):
    for shape in ((3,), (2, 5), (2, 1), (0, 3), (2, 3, 4), (2, 300)):
        yield Sample([_quantized(rng, shape, 0.01, 0.5)], UNIT)
    x = _quantized(rng, (2, 3, 4))
    for axis in (0, 2, 3):
        yield Sample([x], {**UNIT, "axis": axis})


_UNIT_BAD = [
    *_bad(args=UNIT)[:4],
    Bad([X], ArgumentError, "Y_scale must be 1/256"),
    Bad([X], ArgumentError, "and Y_zero_point 0", {**UNIT, "Y_zero_point": 1}),
    Bad([X], InplaceError, "in place", UNIT, same=((0, 0),)),
]


# ---------------------------------------------------------------- sums of products


def _rescale(total, factor, zero, low):
    """In two steps: a product with a 31-bit factor, then a shift."""
    part, power = math.frexp(float(factor))
    whole = int(part * 2**24) << 7
    values = []
    for number in np.asarray(total).reshape(-1):
        high = (int(number) * whole + 2**30) // 2**31
        values.append(_away(high, 2**-power))
    return _place(np.array(values, np.int64).reshape(np.shape(total)), zero, low)


def _factor(x, w, scale):
    return F(x.scale) * F(w.scale) / F(scale)


def _sizes(args):
    kernel = [
        args.get("kernel_h", args.get("kernel", 1)),
        args.get("kernel_w", args.get("kernel", 1)),
    ]
    return kernel, args.get("stride", 1), args.get("dilation", 1), args.get("pads", [0] * 4)


def _windows(values, args):
    """For every position the elements of the window, 0 outside: (N, OH, OW, KH, KW, C)."""
    kernel, stride, dilation, pads = _sizes(args)
    padded = np.pad(values, ((0, 0), (pads[0], pads[2]), (pads[1], pads[3]), (0, 0)))
    reach = [dilation * (k - 1) + 1 for k in kernel]
    seen = np.lib.stride_tricks.sliding_window_view(padded, reach, (1, 2))
    seen = seen[:, ::stride, ::stride, :, ::dilation, ::dilation]
    return np.moveaxis(seen, 3, -1)


def _conv(low):
    def reference(x, w, b=None, *, Y_scale=1.0, Y_zero_point=0, group=1, order="", **args):
        windows, filters = _windows(_centred(x), args), _centred(w)
        deep, count = filters.shape[3], filters.shape[0] // group
        parts = [
            np.einsum(
                "nijuvc,muvc->nijm",
                windows[..., g * deep : (g + 1) * deep],
                filters[g * count : (g + 1) * count],
            )
            for g in range(group)
        ]
        total = np.concatenate(parts, axis=3) + (0 if b is None else b.data)
        return _rescale(total, _factor(x, w, Y_scale), Y_zero_point, Y_zero_point if low else 0)

    return reference


def _bias(rng, count):
    return Int8Tensor(rng.integers(-3000, 3000, count).astype("int32"), 0.01, 0)


LAST = {"order": "NHWC"}


def _conv_samples(rng):
    for args, deep, filters in (
        ({"kernel": 1}, 3, 2),
        ({"kernel": 3, "pads": [1, 1, 1, 1]}, 5, 4),
        ({"kernel": 2, "stride": 2, "pads": [0, 1, 1, 0]}, 8, 3),
        ({"kernel": 3, "dilation": 2, "pads": [2, 2, 2, 2]}, 2, 3),
        ({"kernel": 3, "group": 4, "pads": [1, 1, 1, 1]}, 1, 4),
        ({"kernel": 2, "group": 2}, 3, 4),
    ):
        x = _quantized(rng, (2, 5, 4, deep * args.get("group", 1)))
        w = _quantized(rng, (filters, args["kernel"], args["kernel"], deep))
        yield Sample([x, w, _bias(rng, filters)], {**args, **LAST, **_out(rng)})
    yield Sample([x, w], {**args, **LAST, **_out(rng)})
    yield Sample([x._replace(data=x.data[:0]), w], {**args, **LAST, **_out(rng)})


W = Int8Tensor(np.ones((2, 1, 1, 4), "uint8"), 0.5, 10)
B = Int8Tensor(np.ones(2, "int32"), 0.25, 0)
ONE = {"kernel": 1, **LAST}
_CONV_BAD = [
    *_bad(W, B, args=ONE),
    Bad([X, PLAIN, B], BlobTypeError, "input 1 'filter'", {**KEPT, **ONE}),
    Bad([X, W, X], DTypeError, "is uint8; supported: int32", {**KEPT, **ONE}),
    Bad([X, W, B], ArgumentError, "order must be NHWC", {**KEPT, "kernel": 1}),
    Bad([X, W, B], ShapeError, "makes a kernel", {**KEPT, **LAST, "kernel": 2}),
    Bad([X, W, B._replace(data=B.data[:1])], ShapeError, "bias is", {**KEPT, **ONE}),
    Bad([X, W, B], ValueRangeError, "must be from", {**ONE, "Y_scale": 0.25}),
    Bad([X], ArityError, "expected 2 to 3", {**KEPT, **ONE}),
]


def _transposed(x, w, b=None, *, Y_scale=1.0, Y_zero_point=0, group=1, order="", adj=0, **args):
    (kh, kw), stride, _, pads = _sizes(args)
    n, height, width, _ = x.data.shape
    m, c = w.data.shape[0] // group, w.data.shape[3]
    size = [(s - 1) * stride + k + adj for s, k in zip((height, width), (kh, kw), strict=True)]
    total = np.zeros((n, *size, group * c), np.int64)
    for g, u, v in itertools.product(range(group), range(kh), range(kw)):
        spread = _centred(x)[..., g * m : (g + 1) * m] @ _centred(w)[g * m : (g + 1) * m, u, v]
        rows = slice(u, u + (height - 1) * stride + 1, stride)
        columns = slice(v, v + (width - 1) * stride + 1, stride)
        total[:, rows, columns, g * c : (g + 1) * c] += spread
    total = total[:, pads[0] : size[0] - pads[2], pads[1] : size[1] - pads[3]]
    total = total + (0 if b is None else b.data)
    return _rescale(total, _factor(x, w, Y_scale), Y_zero_point, 0)


def _transposed_samples(rng):
    for args, deep, filters in (
        ({"kernel": 1}, 3, 2),
        ({"kernel": 3, "stride": 2, "pads": [1, 0, 1, 1], "adj": 1}, 5, 4),
        ({"kernel_h": 2, "kernel_w": 3}, 2, 3),
        ({"kernel": 2, "stride": 3, "group": 2}, 2, 3),
    ):
        groups = args.get("group", 1)
        x = _quantized(rng, (2, 3, 4, deep * groups))
        w = _quantized(rng, (deep * groups, *_sizes(args)[0], filters))
        inputs = [x, w, _bias(rng, filters * groups)]
        yield Sample(inputs, {**args, **LAST, **_out(rng)})
    yield Sample([x, w], {**args, **LAST, **_out(rng)})


W_BACK = Int8Tensor(np.ones((4, 1, 1, 2), "uint8"), 0.5, 10)


def _fc(x, w, b, *, Y_scale=1.0, Y_zero_point=0):
    rows = _centred(x).reshape(len(x.data), math.prod(x.data.shape[1:]))
    total = rows @ _centred(w).T + b.data
    return _rescale(total, _factor(x, w, Y_scale), Y_zero_point, 0)


def _fc_samples(rng):
    for shape, columns in (((3, 5), 4), ((2, 3, 4), 2), ((0, 3), 2), ((1, 2, 2, 2), 33), ((4,), 3)):
        w = _quantized(rng, (columns, math.prod(shape[1:])))
        yield Sample([_quantized(rng, shape), w, _bias(rng, columns)], _out(rng))


V = Int8Tensor(np.ones((2, 24), "uint8"), 0.5, 10)


# ---------------------------------------------------------------- pooling


def _average(low):
    def reference(x, *, Y_scale=1.0, Y_zero_point=0, order="", **args):
        if args.pop("global_pooling", 0):
            args = {"kernel_h": x.data.shape[1], "kernel_w": x.data.shape[2]}
        windows = _windows(_centred(x), args)
        count = math.prod(_sizes(args)[0])
        part, power = math.frexp(F(x.scale) / (F(Y_scale) * F(count)))
        total = windows.sum((3, 4))
        # halves go away from zero
        values = [_away(int(t) * int(part * 2**24), 2 ** (24 - power)) for t in total.flat]
        found = np.array(values, np.int64).reshape(total.shape)
        return _place(found, Y_zero_point, Y_zero_point if low else 0)

    return reference


def _largest(low):
    def reference(x, *, Y_zero_point=0, Y_scale=1.0, order="", **args):
        if args.pop("global_pooling", 0):
            args = {"kernel_h": x.data.shape[1], "kernel_w": x.data.shape[2]}
        windows = _windows(x.data.astype(np.int64) + 1, args)  # padding is below every element
        return np.maximum(windows.max((3, 4)) - 1, Y_zero_point if low else 0).astype("uint8")

    return reference


POOLS = [
    {"kernel": 2},
    {"kernel": 3, "stride": 2, "pads": [1, 0, 1, 2]},
    {"kernel_h": 1, "kernel_w": 3},
    {"global_pooling": 1},
]


def _pool_samples(keeps):
    def samples(rng):
        for args in POOLS:
            for shape in ((2, 5, 4, 3), (1, 4, 3, 20), (0, 4, 4, 1)):
                x = _quantized(rng, shape)
                of = _same(x) if keeps else _out(rng)
                yield Sample([x], {**args, **LAST, **of})

    return samples


_POOL = {"kernel": 2, **LAST}
_POOL_BAD = [
    Bad([X], ArgumentError, "order must be NHWC", {**KEPT, "kernel": 2}),
    Bad([X], ArgumentError, "no dilation", {**KEPT, **_POOL, "dilation": 2}),
    Bad([X._replace(data=X.data[0])], ShapeError, "must have 4 dim", {**KEPT, **_POOL}),
]


CASES = [
    Case(
        "Int8Quantize",
        lambda x, q=None, **args: _quantize(x, **args),
        _quantize_samples,
        [
            Bad([PLAIN > 0], DTypeError, "is bool; supported: float32"),
            Bad([X], BlobTypeError, "found a quantized one"),
            Bad([PLAIN], ArgumentError, "Y_scale must be above 0", {"Y_scale": -1.0}),
            Bad([PLAIN], ArgumentError, "Y_zero_point must be", {"Y_zero_point": -1}),
            Bad([], ArityError, "expected 1 to 2"),
            Bad([PLAIN], InplaceError, "in place", same=((0, 0),)),
        ],
    ),
    Case(
        "Int8Dequantize",
        _dequantize,
        _one(1e-4, 10),
        [*_bad()[:4], Bad([X], InplaceError, "in place", same=((0, 0),))],
    ),
    *(
        Case(f"Int8{name}{relu}", _add(bool(relu)), _add_samples, _ADD_BAD)
        for name in ("Add", "Sum")
        for relu in ("", "Relu")
    ),
    Case("Int8Relu", _relu, _one(args=lambda rng, x: _same(x)), _kept()[:6]),
    Case(
        "Int8LeakyRelu",
        _leaky,
        _one(args=lambda rng, x: {**_out(rng), "alpha": float(rng.uniform(0.01, 0.99))}),
        [
            *_bad(inplace=False),
            Bad([X], ArgumentError, "alpha must be", {**KEPT, "alpha": 1.0}),
            Bad([X], ArgumentError, "alpha must be", {**KEPT, "alpha": 0.0}),
        ],
    ),
    Case("Int8Sigmoid", _sigmoid, _one(0.01, 0.5, lambda rng, x: UNIT), _UNIT_BAD),
    Case(
        "Int8Softmax",
        _softmax,
        _softmax_samples,
        [
            *_UNIT_BAD,
            Bad([X], ShapeError, "axis 5 is out of range", {**UNIT, "axis": 5}),
            Bad([X._replace(data=np.uint8(1).reshape(()))], ShapeError, "must have a row", UNIT),
        ],
    ),
    Case("Int8Conv", _conv(False), _conv_samples, _CONV_BAD),
    Case("Int8ConvRelu", _conv(True), _conv_samples, _CONV_BAD),
    Case(
        "Int8ConvTranspose",
        _transposed,
        _transposed_samples,
        [
            *_bad(W_BACK, B, args=ONE),
            Bad([X, W, B], ShapeError, "has 4 channel", {**KEPT, **ONE}),
            Bad([X, W_BACK, B], ArgumentError, "order must be NHWC", {**KEPT, "kernel": 1}),
            Bad([X, W_BACK, B], ArgumentError, "adj", {**KEPT, **ONE, "adj": 2}),
        ],
    ),
    Case(
        "Int8FC",
        _fc,
        _fc_samples,
        [
            *_bad(V, B),
            Bad([X, V._replace(data=V.data[:, 1:]), B], ShapeError, "K=23", KEPT),
            Bad([X, V, B._replace(data=B.data[1:])], ShapeError, "one element a row", KEPT),
            Bad([X, V, X], DTypeError, "supported: int32", KEPT),
            Bad([X, V], ArityError, "expected 3 to 4", KEPT),
            Bad([X, W, B], ShapeError, "must have 2 dim", KEPT),
        ],
    ),
    *(
        Case(
            f"Int8AveragePool{relu}",
            _average(bool(relu)),
            _pool_samples(False),
            [
                *_bad(args=_POOL),
                *_POOL_BAD,
                Bad([X], ValueRangeError, "scale of X", {**_POOL, "Y_scale": 1e5}),
            ],
        )
        for relu in ("", "Relu")
    ),
    *(
        Case(
            f"Int8MaxPool{relu}",
            _largest(bool(relu)),
            _pool_samples(True),
            [*_kept(args=_POOL), *_POOL_BAD],
        )
        for relu in ("", "Relu")
    ),
]
